"""A mirror's node is ended by SIGTERM and by SIGKILL in every status that a mirror can have; started again it has the status
that it must have, and the contents. Degraded is brought about by a link that is too slow for what is written."""

import json
import shutil
import unittest

from node_support import MirroredTest, client

ENDS = ("stop", "kill")
MIB = 2**20


class Restarts(MirroredTest):
    def setUp(self):
        super().setUp()
        self.fill(self.source)

    def restart(self, end):
        getattr(self.mirror, end)()
        self.mirror.start()

    def await_status(self, status, reason=""):
        return self.mirror.await_mirror(
            "packages", lambda one: one["status"] == status and reason in one["reason"], f"{status} {reason}")

    def assert_said(self, status, code=0):
        """By the command too, with the exit code that this status has."""
        said = json.loads(self.mirror.verb("status", "packages", "-o", "json", code=code))
        self.assertEqual(said["mirrors"][0]["status"], status)

    def count(self):
        return len(self.mirror.contents("packages"))

    def test_bootstrapping_goes_on_where_it_was(self):
        self.fill(self.source, 0, 4000, 2000)
        self.create_limited(MIB // 4)  # half a minute, in which all this fits on a slow machine
        done = 0
        for end in ENDS:
            seen = self.mirror.await_mirror(
                "packages", lambda one: one["status"] in ("Following", "Degraded") or (one["bytes_done"] or 0) > max(done, MIB // 2),
                "a part of the snapshot")
            self.assertEqual(seen["status"], "Bootstrapping", seen)
            done = seen["bytes_done"]
            self.restart(end)
            self.assertIn(self.mirror.mirror("packages")["status"], ("Bootstrapping", "Disconnected"), "the limit holds")
            seen = self.mirror.await_mirror("packages", lambda one: (one["resumed_at_bytes"] or 0) > 0, "it to be resumed")
            self.assertGreaterEqual(seen["bytes_done"], done)
            self.assert_said("Bootstrapping")
        self.limit(0)
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 1)

    def test_following_goes_on_without_another_bootstrap(self):
        self.follow()
        for number, end in enumerate(ENDS):
            getattr(self.mirror, end)()
            self.fill(self.source, 400 + 200 * number, 800 + 200 * number)
            self.mirror.start()
            self.assert_equal()
            self.assert_said("Following")
            self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 0)

    def test_degraded_is_degraded_again_and_catches_up(self):
        self.follow()
        self.mirror.verb("limit", "packages", "--bandwidth", "64KiB")
        self.fill(self.source, 500, 2500, 2000)
        self.await_status("Degraded", "is over the limit of 5.000 s")
        for end in ENDS:
            self.restart(end)
            self.await_status("Degraded")
            self.assert_said("Degraded")
            self.assertLess(self.count(), 2500)
        self.mirror.verb("limit", "packages", "--bandwidth", "none")
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 0)

    def test_disconnected_tries_again_by_itself(self):
        self.follow()
        self.source.stop()
        self.await_status("Disconnected")
        for end in ENDS:
            self.restart(end)
            self.await_status("Disconnected")
            self.assert_said("Disconnected", code=4)
            self.assertEqual(self.count(), 500, "what is here is readable")
        self.source.start()
        self.fill(self.source, 400, 700)
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 0)

    def test_paused_stays_paused_until_it_is_resumed(self):
        self.follow()
        self.mirror.verb("pause", "packages")
        self.await_status("Paused")
        self.fill(self.source, 400, 700)
        for end in ENDS:
            self.restart(end)
            self.assert_said("Paused")
            self.assertEqual(self.count(), 500)
        self.mirror.verb("resume", "packages")
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 0)

    def test_halted_halts_again_and_keeps_its_data_until_an_operator_decides(self):
        self.follow()
        self.source.stop()
        shutil.rmtree(self.source.folder / "data")
        self.source.start()
        self.fill(self.source, 0, 10)
        self.await_status("Halted")
        for end in ENDS:
            self.restart(end)
            seen = self.await_status("Halted")
            self.assertEqual(seen["last_error"]["error"], "OriginChanged", seen)
            self.assert_said("Halted")
            self.assertEqual(self.count(), 500, "an emptied source empties no mirror")
        self.mirror.verb("resync", "packages", "--yes")
        self.assert_equal()
        self.assertEqual(self.count(), 10)

    def test_halted_and_restarted_can_still_be_promoted(self):
        self.follow()
        self.source.stop()
        shutil.rmtree(self.source.folder / "data")
        self.source.start()
        self.await_status("Halted")
        for end in ENDS:
            self.restart(end)
        self.mirror.verb("promote", "packages", "--yes")
        self.assert_said("Promoted")
        self.assertEqual(self.count(), 500)

    def test_promoted_stays_promoted_and_takes_writes(self):
        self.follow()
        self.mirror.verb("promote", "packages", "--yes")
        lsn = self.mirror.mirror("packages")["promoted_from"]["lsn"]
        for end in ENDS:
            with client(self.mirror, "packages") as one:
                self.assertTrue(one.set(f"before-{end}", "1"))
            self.fill(self.source, 400, 700)
            self.restart(end)
            self.assert_said("Promoted")
            seen = self.mirror.mirror("packages")
            self.assertEqual((seen["promoted_from"]["lsn"], seen["connected"], seen["attempts"]), (lsn, False, 0), seen)
        self.assertEqual(self.mirror.contents("packages").keys() - {f"key-{number}".encode() for number in range(500)},
                         {b"before-stop", b"before-kill"})

    def test_a_source_that_restarts_is_followed_again_without_another_bootstrap(self):
        self.follow()
        for number, end in enumerate(ENDS):
            getattr(self.source, end)()
            self.await_status("Disconnected")
            self.source.start()
            self.fill(self.source, 400 + 200 * number, 800 + 200 * number)
            self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
