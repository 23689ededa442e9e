"""What becomes of a mirror when an etcd below it is not what it was: restored from a backup, emptied, asking for users."""

import shutil
import unittest

from etcd_support import EtcdTest, text64


class EtcdRestores(EtcdTest):
    def setUp(self):
        super().setUp()
        self.source, self.target = self.own_cluster("from"), self.own_cluster("to")

    def start_both(self):
        self.start_source(self.source)
        self.start_mirror(self.target)

    def assert_equal_now(self):
        self.wait_following(self.source.now())
        self.assert_verified()
        self.assert_same(self.source, self.target)

    def back_up(self, etcd):
        etcd.kill(0)
        shutil.copytree(etcd.folder / "m0", etcd.folder / "kept")
        etcd.start(0)
        etcd.wait_ready()

    def restore(self, etcd):
        etcd.kill(0)
        shutil.rmtree(etcd.folder / "m0")
        if (etcd.folder / "kept").exists():
            shutil.copytree(etcd.folder / "kept", etcd.folder / "m0")
        etcd.start(0)
        etcd.wait_ready()

    def follow_what_will_be_lost(self):
        for i in range(10):
            last = self.source.put("/registry/lost", str(i))
        self.wait_following(last)
        return last

    def write_on_beyond(self, revision):
        while self.source.put("/registry/written on", "1") <= revision:
            pass

    def halted_by_a_restore(self):
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertEqual(self.target.get("/registry/lost"), "9", "a halted mirror keeps its data")
        return facts["reason"]

    def test_a_source_restored_from_a_backup_halts_its_mirror_which_keeps_what_it_has_until_it_is_resynced(self):
        self.source.put("/registry/a", "1")
        self.back_up(self.source)
        self.start_both()
        lost = self.follow_what_will_be_lost()
        self.restore(self.source)
        self.assertIn("SourceBehind", self.halted_by_a_restore())
        self.write_on_beyond(lost)
        self.hosts["mirror"].must("resync")
        self.wait("mirror", lambda facts: facts["bootstraps"] == 2)
        self.assert_equal_now()
        self.assertIsNone(self.target.get("/registry/lost"))

    def test_a_source_restored_while_its_node_was_down_and_written_on_halts_its_mirror(self):
        self.source.put("/registry/a", "1")
        self.back_up(self.source)
        self.start_both()
        lost = self.follow_what_will_be_lost()
        self.hosts["source"].kill()
        self.restore(self.source)
        self.write_on_beyond(lost)
        self.start_source(self.source)
        self.assertIn("HistoriesParted", self.halted_by_a_restore())

    def test_an_emptied_source_halts_its_mirror(self):
        self.start_both()
        self.follow_what_will_be_lost()
        self.restore(self.source)
        self.assertIn("SourceBehind", self.halted_by_a_restore())

    def test_a_target_restored_from_a_backup_is_brought_forward_again(self):
        self.start_both()
        self.wait_following(self.source.put("/registry/a", "1"))
        self.back_up(self.target)
        for i in range(10):
            last = self.source.put(f"/registry/k{i}", str(i))
        self.wait_following(last)
        self.source.delete("/registry/k3")
        self.wait_following(self.source.now())
        self.restore(self.target)
        self.source.put("/registry/b", "1")
        self.assert_equal_now()
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 1)

    def test_authentication_that_is_switched_on_while_it_runs_is_used(self):
        password = self.data / "password"
        password.write_text("word\n")
        self.start_source(self.source, user="mirroring", password_file=password)
        self.start_mirror(self.target, user="mirroring", password_file=password)
        self.wait_following(self.source.put("/registry/a", "1"))
        tokens = {}
        for etcd in (self.source, self.target):
            for user, role in (("root", "root"), ("mirroring", "root")):
                etcd.call("/v3/auth/user/add", {"name": user, "password": "word"})
                etcd.call("/v3/auth/user/grant", {"user": user, "role": role})
            etcd.call("/v3/auth/enable", {})
            tokens[etcd] = etcd.call("/v3/auth/authenticate", {"name": "root", "password": "word"})["token"]
        self.wait_following(self.source.put("/registry/b", "2", token=tokens[self.source]))
        read = self.target.call("/v3/kv/range", {"key": text64("/registry/b")}, token=tokens[self.target])
        self.assertEqual(read["kvs"][0]["value"], text64("2"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
