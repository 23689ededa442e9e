"""A source's data_dir is put back from a copy, and another write is made where one was lost, then the same writes as before:
the mirror that has what was lost halts and keeps it. A restart alone costs a mirror nothing."""

import os
import shutil
import signal
import unittest

from node_support import MirroredTest, client


class Restored(MirroredTest):
    def setUp(self):
        super().setUp()
        self.fill(self.source, 0, 100)

    def write(self, order, beats):
        with client(self.source) as one:
            one.set("order", order)
            for _ in range(beats):
                one.set("heartbeat", "alive")

    def put_back(self):
        shutil.rmtree(self.source.folder / "data")
        os.rename(self.source.folder / "copy", self.source.folder / "data")

    def copy(self):
        shutil.copytree(self.source.folder / "data", self.source.folder / "copy")

    def restore_and_agree(self, beats, stopped_for_the_copy=True):
        self.follow()
        if stopped_for_the_copy:
            self.source.stop()
        self.copy()
        if stopped_for_the_copy:
            self.source.start()
        self.write("paid", beats)
        self.mirror.await_following("packages", self.source)
        self.source.kill()
        self.put_back()
        self.mirror.signal(signal.SIGSTOP)
        self.source.start()
        self.write("refused", beats + 5)
        self.mirror.signal(signal.SIGCONT)
        seen = self.mirror.await_mirror(
            "packages",
            lambda one: one["status"] == "Halted" or
            (one["status"] == "Following" and one["applied_lsn"] >= self.source.head("packages")),
            "the mirror's judgement")
        self.assertEqual(seen["status"], "Halted", seen)
        self.assertEqual(seen["bootstraps"], 1, seen)
        with client(self.mirror, "packages") as one:
            self.assertEqual(one.get("order"), b"paid", "what the source lost is still here")
        return seen["last_error"]["error"]

    def test_one_write_that_agrees_does_not_hide_the_restore(self):
        self.assertEqual(self.restore_and_agree(1), "HistoriesParted")
        self.mirror.verb("resync", "packages", "--yes")
        self.assert_equal()

    def test_sixty_writes_that_agree_do_not_hide_the_restore(self):
        self.assertEqual(self.restore_and_agree(60), "HistoriesParted")

    def test_a_copy_of_a_running_nodes_folder_is_noticed_too(self):
        self.assertEqual(self.restore_and_agree(60, stopped_for_the_copy=False), "SourceBehind")

    def test_a_mirror_that_has_no_more_than_the_copy_follows_on(self):
        self.follow()
        self.mirror.verb("pause", "packages")
        self.source.stop()
        self.copy()
        self.source.start()
        self.write("paid", 3)
        self.source.kill()
        self.put_back()
        self.source.start()
        self.write("refused", 8)
        self.mirror.verb("resume", "packages")
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
