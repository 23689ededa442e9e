"""Either node is stopped with SIGSTOP, for longer than a mirror may hear nothing, and goes on by SIGCONT: the side that runs
says what is the matter, and no operator has to help afterwards."""

import signal
import unittest

from node_support import MirroredTest, client, eventually

SILENCE_S = 2


class Stalls(MirroredTest):
    source_options = {"per_database": 'allow_mirrors = ["eu-1"]'}
    mirror_options = {"extra": f'[mirror]\ndisconnected_after = "{SILENCE_S}s"'}

    def setUp(self):
        super().setUp()
        self.fill(self.source)
        self.before = self.follow()

    def assert_nothing_lost(self):
        """It follows again by itself, from where it was."""
        self.assert_equal()
        after = self.mirror.mirror("packages")
        self.assertEqual((after["status"], after["bootstraps"]), ("Following", 1), after)
        return after

    def disconnected(self, reason):
        return self.mirror.await_mirror(
            "packages", lambda one: one["status"] == "Disconnected" and reason in one["reason"], f"'{reason}'")

    def served(self):
        return self.source.call("GET", "/v1/databases/packages")["mirrors"]

    def test_a_source_that_stops_is_silent_then_gone_and_followed_again(self):
        self.source.signal(signal.SIGSTOP)
        seen = self.disconnected("nothing was heard for")
        self.assertGreaterEqual(float(seen["reason"].split(" for ")[1].split(" s")[0]), SILENCE_S)
        self.assertTrue(seen["connected"], "the link itself is not given up yet")
        self.assertGreater(self.mirror.mirror("packages")["lag_ms"], 1000 * (SILENCE_S - 1))
        self.assertEqual(len(self.mirror.contents("packages")), 500, "what is here is readable all the while")
        self.source.signal(signal.SIGCONT)
        self.fill(self.source, 400, 700)
        after = self.assert_nothing_lost()
        self.assertEqual(after["reconnects"], self.before["reconnects"], "the session itself went on")

    def test_a_source_that_stops_for_longer_than_a_connection_lives_is_dialled_again(self):
        self.source.signal(signal.SIGSTOP)
        self.disconnected("nothing was heard for")
        self.assertIn("Disconnected: nothing was heard for", self.mirror.verb("status", "packages", code=4))
        seen = self.mirror.await_mirror(
            "packages", lambda one: one["status"] == "Disconnected" and not one["connected"] and one["attempts"] > 0,
            "the link to be given up")
        self.assertIn(seen["last_error"]["error"], ("Transport", "Timeout"), seen)
        self.assertIn(seen["last_error"]["error"], self.mirror.verb("status", "packages", code=4))
        self.mirror.verb("verify", "packages", code=1)
        self.source.signal(signal.SIGCONT)
        self.fill(self.source, 400, 700)
        after = self.assert_nothing_lost()
        self.assertGreater(after["reconnects"], self.before["reconnects"])

    def test_a_mirror_that_stops_leaves_its_source_and_comes_back_by_itself(self):
        self.mirror.signal(signal.SIGSTOP)
        self.fill(self.source, 400, 700)
        eventually(self.served, lambda mirrors: mirrors == [], "the source to notice that the mirror is gone")
        self.source.await_log("mirror left mirror=eu-1 database=packages")
        with client(self.source) as one:
            self.assertTrue(one.set("key-during", "1"))
            self.assertEqual(one.wait(1, 100), 0)
        self.mirror.signal(signal.SIGCONT)
        self.fill(self.source, 700, 800)
        self.assert_nothing_lost()
        self.assertEqual([one["name"] for one in self.served()], ["eu-1"])
        self.assertIn("status=Disconnected", self.mirror.log_text(), "it noticed, and said so")


if __name__ == "__main__":
    unittest.main(verbosity=2)
