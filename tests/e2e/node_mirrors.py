"""Nodes that mirror one another: what operators do to mirrors, and what must hold while they do."""

import subprocess
import threading
import unittest

import redis

from cli_support import PROGRAM, run
from node_support import MirroredTest, client, eventually


class NodeMirrors(MirroredTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "us-2"))

    def third(self):
        return self.node("us-2", cluster="us-2", databases=())

    def test_a_mirror_created_by_command_bootstraps_follows_and_is_equal(self):
        self.fill(self.source)
        seen = self.follow()
        self.assertEqual(seen["bootstraps"], 1)
        self.fill(self.source, 500, 900)
        self.source.redis_cli("del", "key-3")
        self.assert_equal()
        with client(self.mirror, "packages") as one, self.assertRaises(redis.ReadOnlyError):
            one.set("key", "value")

    def test_time_that_a_machine_slept_is_counted_and_timers_fire_all_the_same(self):
        """A machine that slept for 11 days: CLOCK_BOOTTIME, by which ages are counted, is ahead of CLOCK_MONOTONIC, by
        which timers fire."""
        slept = ["unshare", "--time", "--boottime", "1000000", "--fork", "--kill-child"]
        if subprocess.run([*slept, "true"], check=False).returncode != 0:
            self.skipTest("this kernel has no time namespaces")
        self.fill(self.source)
        self.follow()
        for node in (self.source, self.mirror):
            node.kill()
            node.start([*slept, PROGRAM, "serve", "--config", str(node.config)])
        self.mirror.await_following("packages", self.source)
        self.fill(self.source, 500, 600)
        self.assert_equal()
        self.assertLess(self.mirror.mirror("packages")["lag_ms"], 30_000)

    def test_a_restarted_node_goes_on_without_another_bootstrap(self):
        self.fill(self.source)
        self.follow()
        for end in ("stop", "kill"):
            getattr(self.mirror, end)()
            self.fill(self.source, 1000, 1100)
            self.mirror.start()
            self.assert_equal()
            self.assertEqual(self.mirror.mirror("packages")["bootstraps"], 0)

    def test_a_paused_mirror_stays_paused_over_a_restart_and_resumes(self):
        self.fill(self.source)
        self.follow()
        self.assertEqual(self.mirror.call("POST", "/v1/mirrors/packages/pause", {})["status"], "Paused")
        self.mirror.stop()
        self.mirror.start()
        self.fill(self.source, 500, 600)
        self.assertEqual(self.mirror.mirror("packages")["status"], "Paused")
        self.mirror.call("POST", "/v1/mirrors/packages/resume", {})
        self.assert_equal()

    def test_a_promoted_mirror_takes_writes_and_never_reconnects(self):
        self.fill(self.source)
        self.follow()
        dry = self.mirror.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True})
        self.assertEqual((dry["promoted"], self.mirror.mirror("packages")["status"]), (False, "Following"))
        first = self.mirror.call("POST", "/v1/mirrors/packages/promote", {})
        self.assertEqual(first["lsn"], self.source.head("packages"))
        again = self.mirror.call("POST", "/v1/mirrors/packages/promote", {})
        self.assertEqual((again["again"], again["lsn"]), (True, first["lsn"]))
        with client(self.mirror, "packages") as one:
            one.set("here", "written after the promotion")
        self.source.redis_cli("set", "there", "not for the promoted side")
        self.mirror.kill()
        self.mirror.start()
        self.assertEqual(self.mirror.mirror("packages")["status"], "Promoted")
        with client(self.mirror, "packages") as one:
            self.assertEqual(one.get("here"), b"written after the promotion")
            self.assertIsNone(one.get("there"))

    def test_the_old_source_follows_the_promoted_side_and_what_it_alone_had_is_listed(self):
        self.fill(self.source)
        self.follow()
        self.mirror.call("POST", "/v1/mirrors/packages/promote", {})
        self.source.redis_cli("set", "only-at-the-old-source", "1")
        request = {"name": "packages", "from": "eu-1/packages", "addr": self.mirror.mirrors, "replace": True}
        status, refused = self.source.request("POST", "/v1/mirrors", request)
        self.assertEqual((status, refused["exit_code"]), (400, 6), refused)
        self.assertEqual(refused["replaced"]["keys"], ["only-at-the-old-source"], refused)
        self.assertEqual(self.source.redis_cli("get", "only-at-the-old-source"), "1")
        made = self.source.call("POST", "/v1/mirrors", {**request, "yes": True})
        self.source.await_following("packages", self.mirror)
        self.assertEqual(self.source.contents("packages"), self.mirror.contents("packages"))
        aside, = (self.source.folder / "data" / "set-aside").iterdir()
        self.assertEqual(made["replaced"]["set_aside"], str(aside))
        self.source.stop()
        self.source.start()
        self.source.await_following("packages", self.mirror)
        self.assertIn("READONLY", self.source.redis_cli("set", "key", "value", code=0))
        self.go_home()

    def go_home(self):
        """docs/operating.md, "To go home": prod-us, which follows eu-1 now, is promoted, and eu-1 follows it as at first."""
        with client(self.mirror, "packages") as one:
            one.set("written-abroad", "1")
        self.assert_equal(self.source, self.mirror)
        self.assertIn("promoted", self.source.verb("promote", "packages", "--yes"))
        self.source.redis_cli("set", "written-at-home", "1")
        create = ("mirror", "create", "packages", "--from", "prod-us/packages", "--addr", self.source.mirrors, "--replace")
        self.assertIn("nothing here is missing", self.mirror.verb(*create, code=6))
        self.mirror.verb(*create, "--yes", "--wait")
        self.assert_equal()
        with client(self.mirror, "packages") as one:
            self.assertEqual((one.get("written-abroad"), one.get("written-at-home")), (b"1", b"1"))
            with self.assertRaises(redis.ReadOnlyError):
                one.set("key", "value")
        for node in (self.source, self.mirror):
            node.stop()
            node.start()
        self.source.redis_cli("set", "after-a-restart-of-both", "1")
        self.assert_equal()

    def test_a_deleted_mirror_is_gone_and_a_kept_one_stays_readable(self):
        self.fill(self.source)
        self.follow()
        self.mirror.call("DELETE", "/v1/mirrors/packages?keep_data=true")
        kept = self.mirror.call("GET", "/v1/databases/packages")
        self.assertEqual((kept["kind"], kept["role"]), ("detached", "mirror"))
        self.assertEqual(len(self.mirror.contents("packages")), 500)
        self.mirror.stop()
        self.mirror.start()
        self.assertEqual(len(self.mirror.contents("packages")), 500)
        self.mirror.call("DELETE", "/v1/mirrors/packages")
        self.assertFalse((self.mirror.folder / "data" / "databases" / "packages").exists())
        self.assertEqual(self.mirror.request("GET", "/v1/mirrors/packages")[0], 404)
        self.follow()
        self.assert_equal()

    def test_a_mirror_of_the_promoted_side_has_what_was_written_there_and_not_what_the_old_source_has(self):
        self.fill(self.source)
        self.follow()
        self.mirror.call("POST", "/v1/mirrors/packages/promote", {})
        with client(self.mirror, "packages") as one:
            one.set("key-1", "another")
            one.delete("key-2")
            one.set("key-extra", "1")
        third = self.third()
        third.create_mirror("packages", self.mirror)
        self.assert_equal(third, self.mirror)
        self.assertNotEqual(third.contents("packages"), self.source.contents("packages"))

    def test_two_mirrors_of_one_source_follow_each_by_itself(self):
        self.fill(self.source)
        self.follow()
        third = self.third()
        third.create_mirror("packages", self.source)
        third.await_following("packages", self.source)
        for away, other in ((self.mirror, third), (third, self.mirror)):
            away.kill()
            self.fill(self.source, 400, 700)
            self.assert_equal(other)
            away.start()
            self.assert_equal(away)
            self.assertEqual(away.mirror("packages")["bootstraps"], 0)
        head = self.source.head("packages")
        eventually(lambda: self.source.call("GET", "/v1/databases/packages")["mirrors"],
                   lambda seen: {one["name"] for one in seen if one["durable_lsn"] == head} == {"eu-1", "us-2"},
                   f"the source to know that both have {head}")
        third.verb("promote", "packages", "--yes")
        third.redis_cli("set", "only-here", "1")
        self.fill(self.source, 700, 800)
        self.assert_equal()
        self.assertNotIn(b"only-here", self.mirror.contents("packages"))

    def test_a_mirror_of_a_mirror_follows_and_a_loop_is_refused(self):
        self.fill(self.source)
        self.follow()
        third = self.third()
        third.create_mirror("packages", self.mirror)
        seen = third.await_following("packages", self.mirror)
        self.assertEqual(seen["chain"], ["eu-1/packages", "prod-us/packages"])
        self.assert_equal(third, self.mirror)
        self.assertEqual(third.contents("packages"), self.source.contents("packages"))
        request = {"name": "packages", "from": "us-2/packages", "addr": third.mirrors, "replace": True, "yes": True,
                   "dry_run": True}
        dry = self.source.call("POST", "/v1/mirrors", request)
        self.assertEqual([one["check"] for one in dry["checks"] if not one["ok"]], ["loop"], dry)
        # Nor is it made, whatever the caller agrees to: it would have put the only database that takes writes aside.
        status, refused = self.source.request("POST", "/v1/mirrors", {**request, "dry_run": False})
        self.assertEqual((status, refused["exit_code"]), (409, 6), refused)
        self.assertIn("promote it there first", refused["message"])
        self.assertEqual(self.source.redis_cli("set", "still", "writable"), "OK")

    def test_a_dry_run_says_what_is_wrong_and_changes_nothing(self):
        checks = {}
        request = {"name": "packages", "from": "prod-us/packages", "addr": self.source.mirrors, "dry_run": True}
        checks["good"] = self.mirror.call("POST", "/v1/mirrors", request)
        checks["database"] = self.mirror.call("POST", "/v1/mirrors", {**request, "from": "prod-us/other"})
        checks["identity"] = self.mirror.call("POST", "/v1/mirrors", {**request, "from": "prod-eu/packages"})
        checks["reachable"] = self.mirror.call("POST", "/v1/mirrors", {**request, "addr": "127.0.0.1:1"})
        self.assertTrue(checks["good"]["ok"], checks["good"])
        for name in ("database", "identity", "reachable"):
            bad = [one["check"] for one in checks[name]["checks"] if not one["ok"]]
            self.assertEqual(bad, [name], checks[name])
        self.assertEqual(self.mirror.call("GET", "/v1/mirrors"), {"mirrors": []})

    def test_a_create_says_what_the_first_dial_came_to_and_that_the_node_goes_on(self):
        create = ("mirror", "create", "packages", "--from")
        said = self.mirror.verb(*create, "prod-us/nope", "--addr", self.source.mirrors)
        self.assertIn("there is no database nope here", said)
        self.assertIn("dials again by itself", said)
        self.assertIn("crosslink mirror delete packages", said)
        self.mirror.verb("mirror", "delete", "packages", "--yes")
        said = self.mirror.verb(*create, "prod-us/packages", "--addr", self.source.admin)
        self.assertIn("nothing listens there for QUIC", said)
        self.mirror.verb("mirror", "delete", "packages", "--yes")
        said = self.mirror.verb(*create, "prod-us/packages", "--addr", self.source.mirrors)
        self.assertNotIn("not dialed", said)
        self.assertNotIn("dials again", said)
        self.mirror.await_following("packages", self.source)
        self.mirror.verb("mirror", "delete", "packages", "--yes")
        self.source.await_log('mirror left mirror=eu-1 database=packages reason="cancelled: the session, by the mirror"')
        self.assertNotIn("by the source", self.source.log_text())

    def test_a_source_that_refuses_is_not_said_to_know_that_it_was_not_promoted_from_here(self):
        request = {"name": "packages", "from": "eu-1/none", "addr": self.mirror.mirrors, "replace": True}
        status, refused = self.source.request("POST", "/v1/mirrors", request)
        self.assertNotEqual(status, 200)
        self.assertIn("is not known: ", refused["replaced"]["detail"])
        self.assertIn("there is no database none", refused["replaced"]["detail"])

    def test_a_dry_run_says_how_much_space_the_data_takes(self):
        self.fill(self.source)  # 500 values of about 110 bytes
        request = {"name": "packages", "from": "prod-us/packages", "addr": self.source.mirrors, "dry_run": True}

        def space():
            checks = self.mirror.call("POST", "/v1/mirrors", request)["checks"]
            return next(one for one in checks if one["check"] == "space")

        def bytes_said(check):
            said = [int(word) for word in check["detail"].replace(",", "").split() if word.isdigit()]
            return len(said) == 3 and said[0] > said[1] >= 55_000 and said[2] == 1024 ** 3

        self.assertTrue(eventually(space, bytes_said, "the size of the data")["ok"])

    def test_a_dry_run_said_that_there_is_room_although_the_bootstrap_leaves_min_free_bytes(self):
        self.fill(self.source)
        third = self.node("us-2", cluster="us-2", databases=(),
                          extra='[database_defaults]\nallow_mirrors = ["*"]\nmin_free_bytes = "1000000GiB"\n')
        request = {"name": "packages", "from": "prod-us/packages", "addr": self.source.mirrors}
        dry = third.call("POST", "/v1/mirrors", {**request, "dry_run": True})
        said, = (one["detail"] for one in dry["checks"] if not one["ok"])
        self.assertIn("min_free_bytes", said)
        third.call("POST", "/v1/mirrors", request)
        seen = third.await_mirror("packages", lambda one: one["last_error"], "the bootstrap to say so as well")
        self.assertIn("min_free_bytes", seen["last_error"]["message"])
        waited = third.run("status", "packages", "--wait", "following", "--timeout", "1")
        self.assertEqual(waited.returncode, 4)
        self.assertIn("min_free_bytes", waited.stderr, "what is waited for in vain is said with its reason")

    def test_a_dry_run_said_would_be_made_of_what_is_refused_without_yes(self):
        self.fill(self.source)
        self.follow()
        third = self.third()
        with client(self.source) as one:
            one.set("only-here", 1)
        third.verb("db", "create", "packages", "--allow-mirrors", "*")
        create = ("mirror", "create", "packages", "--from", "prod-us/packages", "--addr", self.source.mirrors)
        for words, code in ((("--replace",), 6), ((), 2)):
            said = third.verb(*create, *words, "--dry-run", code=code)
            self.assertIn("cannot be made like this", said)
            third.verb(*create, *words, code=code)
        self.assertIn("would be made", third.verb(*create, "--replace", "--yes", "--dry-run"))
        first = third.verb(*create, "--replace", "--yes")
        aside, = (third.folder / "data" / "set-aside").iterdir()
        self.assertIn(str(aside), first)
        self.assertIn("this very mirror", third.verb(*create, "--dry-run"))
        self.assertIn(f"put aside before: {aside}", third.verb(*create, "--replace", "--yes"), "as when the first answer was lost")
        third.await_log(f"set_aside_before={aside}")

    def test_an_admin_request_without_token_or_with_another_host_is_refused(self):
        cases = [({"Authorization": None}, 401), ({"Authorization": "Bearer " + "0" * 64}, 401),
                 ({"Host": "evil.example"}, 421), ({"Content-Type": "text/plain"}, 415)]
        for headers, expected in cases:
            status, answer = self.mirror.request("POST", "/v1/databases", {"name": "made"}, headers)
            self.assertEqual(status, expected, (headers, answer))
        self.assertEqual(self.mirror.call("GET", "/v1/databases"), {"databases": []})
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.mirror.request("GET", path, headers={"Authorization": None})[0], 200)
        self.assertEqual(self.mirror.request("GET", "/metrics", headers={"Authorization": None})[0], 401)
        self.assertIn("crosslink_database_head_lsn", self.source.call("GET", "/metrics"))

    def test_a_writer_kills_and_a_mirror_end_equal(self):
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                with client(self.source) as one:
                    while not stop.is_set():
                        one.set(f"key-{number % 5000}", number)
                        number += 1
            self.written = number

        writer = threading.Thread(target=write)
        writer.start()
        try:
            self.mirror.create_mirror("packages", self.source)
            for _ in range(3):
                self.mirror.await_following("packages")
                self.mirror.kill()
                self.mirror.start()
        finally:
            stop.set()
            writer.join()
        self.assertGreater(self.written, 200)
        self.assert_equal()


if __name__ == "__main__":
    unittest.main(verbosity=2)
