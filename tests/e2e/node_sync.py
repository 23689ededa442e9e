"""Waiting for mirrors, as clients see it: sync mode, WAIT, CROSSLINK.MAXLAG.

Sync mode's promise is tested as it is meant: the source is killed under load and its disk is destroyed; every write that
was answered OK must be on the mirror.
"""

import shutil
import socket
import threading
import time
import unittest

import redis

from cli_support import unused_port
from node_support import DEADLINE_S, NodeTest, client, eventually

SYNC = 'sync_mirrors = ["eu-1"]\nallow_mirrors = ["eu-1"]\n'


def conversation(node, *commands):
    """A connection of its own that has said these commands, without waiting for an answer."""
    connection = socket.create_connection(("127.0.0.1", node.port), timeout=DEADLINE_S)
    connection.sendall("".join(command + "\r\n" for command in commands).encode())
    return connection


class WithMirror(NodeTest):
    def nodes(self, per_database="", **more):
        self.source = self.node("prod-us", per_database=per_database, mirrors_port=unused_port())
        self.mirror = self.node("eu-1", cluster="eu-1", databases=(), **more)

    def follow(self, **more):
        self.mirror.create_mirror("packages", self.source, **more)
        self.mirror.await_following("packages", self.source)

    def sync(self):
        """What INFO says of sync mode."""
        with client(self.source) as one:
            return {name: value for name, value in one.info().items() if name.startswith("sync_")}


class SyncMode(WithMirror):
    def test_every_write_that_was_answered_ok_is_on_the_mirror_after_the_sources_disk_is_destroyed(self):
        self.nodes(SYNC + 'sync_timeout = "20s"')
        self.follow(mode="sync")
        self.assertEqual(self.mirror.mirror("packages")["mode"], "sync")
        answered = [[] for _ in range(8)]

        def write(number):
            with client(self.source, retry=None) as one:
                try:
                    for i in range(1_000_000):
                        pipeline = one.pipeline(transaction=i % 2 == 0)
                        for j in range(3):
                            pipeline.set(f"{number}-{i}-{j}", f"value {number} {i} {j}")
                        for j, said in enumerate(pipeline.execute(raise_on_error=False)):
                            if said is True:
                                answered[number].append((f"{number}-{i}-{j}", f"value {number} {i} {j}"))
                except redis.ConnectionError:
                    return

        threads = [threading.Thread(target=write, args=(number,)) for number in range(len(answered))]
        for thread in threads:
            thread.start()
        eventually(lambda: [len(one) for one in answered], lambda counts: min(counts) >= 150, "writes that were answered")
        self.source.kill()
        shutil.rmtree(self.source.folder / "data")
        for thread in threads:
            thread.join(DEADLINE_S)
        promoted = self.mirror.call("POST", "/v1/mirrors/packages/promote", {})
        self.assertTrue(promoted["promoted"])
        with client(self.mirror, "packages") as one:
            for written in answered:
                self.assertEqual(one.mget([key for key, _ in written]), [value.encode() for _, value in written])

    def test_without_the_mirror_writes_are_stored_and_answered_nosync_from_the_start(self):
        self.nodes(SYNC + 'sync_timeout = "200ms"')
        with client(self.source) as one:
            with self.assertRaisesRegex(redis.ResponseError, "stored at LSN [0-9]+, not confirmed by eu-1"):
                one.set("k", "stored")
            self.assertEqual(one.get("k"), b"stored")
            self.assertEqual(one.setnx("k", "other"), False, "what wrote nothing is answered")
            pipeline = one.pipeline(transaction=False).get("k").set("l", 1).get("l").delete("none")
            said = pipeline.execute(raise_on_error=False)
            self.assertEqual((said[0], said[2], said[3]), (b"stored", b"1", 0))
            self.assertRegex(str(said[1]), "not confirmed by eu-1")
            one.execute_command("MULTI")
            one.execute_command("SET", "m", 1)
            one.execute_command("GET", "m")
            with self.assertRaisesRegex(redis.ResponseError, "^NOSYNC|stored at LSN"):
                one.execute_command("EXEC")
            self.assertEqual(one.get("m"), b"1")
        self.assertEqual((self.sync()["sync_unconfirmed"], self.sync()["sync_suspended"]), (3, 0))
        self.source.stop()
        self.source.config.write_text(self.source.config.read_text().replace("200ms", "20s"))  # time for a mirror to confirm
        self.source.start()
        self.follow()
        with client(self.source) as one:
            self.assertTrue(one.set("k", "confirmed"))

    def test_async_on_loss_is_suspended_shown_and_ends_when_the_mirror_is_back(self):
        self.nodes(SYNC + 'sync_timeout = "10s"\non_sync_loss = "async"')
        self.follow()
        with client(self.source) as one:
            self.assertTrue(one.set("k", 1))
            self.assertEqual(self.sync()["sync_async"], 0)
            self.mirror.stop()
            self.assertTrue(one.set("k", 2))
            begun = time.monotonic()
            for i in range(20):
                self.assertTrue(one.set("k", i))
            self.assertLess(time.monotonic() - begun, 20 * 10, "no write waits while it is suspended")
            self.assertEqual((self.sync()["sync_async"], self.sync()["sync_suspended"]), (21, 1))
            self.mirror.start()
            eventually(self.sync, lambda facts: facts["sync_suspended"] == 0, "sync mode to be back")
            self.assertTrue(one.set("k", "confirmed"))
            self.assertEqual(self.sync()["sync_async"], 21)
        self.assertIn("sync mode suspended", self.source.log_text())
        self.assertIn("sync mode is back", self.source.log_text())

    def test_a_mirror_that_demands_sync_of_a_source_that_does_not_name_it_is_refused(self):
        self.nodes()
        self.mirror.create_mirror("packages", self.source, mode="sync")
        seen = self.mirror.await_mirror("packages", lambda one: one["last_error"], "the refusal")
        self.assertEqual(seen["last_error"]["error"], "NotAuthorized")
        self.assertIn("sync_mirrors", seen["last_error"]["message"])
        self.assertEqual((seen["mode"], seen["bootstraps"], seen["applied_lsn"]), ("sync", 0, None))

    def test_a_stop_does_not_wait_for_mirrors(self):
        self.nodes(SYNC + 'sync_timeout = "1h"')
        connection = conversation(self.source, "SET k v")
        eventually(self.sync, lambda facts: facts["sync_waiting"] == 1, "a write that waits")
        begun = time.monotonic()
        self.source.stop()
        self.assertLess(time.monotonic() - begun, DEADLINE_S / 2)
        connection.close()


class WhichMirrorCounts(WithMirror):
    """A certificate's name says whose a mirror is, not which."""

    def facts(self):
        return self.source.call("GET", "/v1/databases/packages")

    def standing(self, mirror):
        return [one["sync_standing"] for one in self.facts()["mirrors"] if one["database"] == f"eu-1/{mirror}"]

    def test_a_trial_mirror_under_the_same_name_confirms_nothing_until_an_operator_says_so(self):
        self.nodes(SYNC + 'sync_timeout = "300ms"')
        self.follow()
        eventually(lambda: self.standing("packages"), lambda seen: seen == ["counted"], "the mirror to count")
        self.mirror.create_mirror("trial", self.source, database="packages")
        self.mirror.await_following("trial")
        self.mirror.call("POST", "/v1/mirrors/packages/pause")
        with client(self.source) as one:
            for number in range(10):
                with self.assertRaisesRegex(redis.ResponseError, "not confirmed by eu-1"):
                    one.set("k", number)
        eventually(lambda: self.standing("trial"), lambda seen: seen == ["not_counted"], "the second one to be shown")
        self.assertIn("is not the one that counts", self.source.log_text())
        named = self.facts()["sync"]["counted"][0]
        self.assertEqual((named["counted"]["database"], named["not_counted"]["database"]), ("eu-1/packages", "eu-1/trial"))
        trial = named["not_counted"]["id"]
        self.assertIn(f"eu-1: eu-1/trial (id {trial}), applied ", self.source.verb("db", "list"))
        seen = self.mirror.await_mirror("trial", lambda one: one["sync_standing"] == "not_counted", "the second one to hear so")
        self.assertEqual(seen["id"], trial)
        self.assertIn("does NOT count", self.mirror.verb("status", "trial"))

        self.source.stop()
        self.source.start()
        with client(self.source) as one, self.assertRaisesRegex(redis.ResponseError, "not confirmed by eu-1"):
            one.set("k", "after the restart")
        eventually(lambda: self.facts()["sync"]["counted"][0]["not_counted"], lambda seen: seen is not None, "the trial to come")
        self.assertIn("--yes", self.source.verb("db", "count-mirror", "packages", trial, code=2))
        self.source.verb("db", "count-mirror", "packages", trial, "--yes")
        with client(self.source) as one:
            self.assertTrue(one.set("k", "confirmed"))

    def test_wait_counts_two_mirrors_of_one_name_as_two(self):
        self.nodes()
        self.follow()
        self.mirror.create_mirror("second", self.source, database="packages")
        self.mirror.await_following("second")
        with client(self.source) as one:
            one.set("k", 1)
            self.assertEqual(one.wait(2, DEADLINE_S * 1000), 2)


class PromotedInSyncMode(WithMirror):
    def promotion(self, on_loss, while_let_go):
        self.nodes(SYNC + f'sync_timeout = "2s"\non_sync_loss = "{on_loss}"')
        self.follow()
        eventually(lambda: self.source.call("GET", "/v1/databases/packages")["mirrors"],
                   lambda seen: [one["sync_standing"] for one in seen] == ["counted"], "the mirror to count")
        self.mirror.await_mirror("packages", lambda _: self.dry_run()["sync"]["missing"] == "none", "the mirror to hear so")
        if while_let_go:
            self.mirror.process.send_signal(19)  # SIGSTOP
            with client(self.source) as one:
                self.assertTrue(one.set("k", "confirmed without the mirror"))
        self.source.kill()
        if while_let_go:
            self.mirror.process.send_signal(18)  # SIGCONT
        else:
            self.mirror.await_mirror("packages", lambda one: not one["connected"], "the link to be gone")
        return self.mirror.call("POST", "/v1/mirrors/packages/promote", {})["sync"]

    def dry_run(self):
        return self.mirror.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True})

    def test_a_mirror_that_had_been_let_go_says_that_confirmed_writes_may_be_missing(self):
        said = self.promotion("async", while_let_go=True)
        self.assertEqual(said["missing"], "possible", said)
        self.assertIn("on_sync_loss = async", said["detail"])

    def test_a_mirror_that_no_write_was_confirmed_without_says_that_none_is_missing(self):
        said = self.promotion("error", while_let_go=False)
        self.assertEqual(said["missing"], "none_when_last_heard", said)

    def test_after_a_restart_without_the_source_it_is_not_known(self):
        self.nodes(SYNC + 'sync_timeout = "2s"')
        self.follow(mode="sync")
        self.source.kill()
        self.mirror.stop()
        self.mirror.start()
        self.assertEqual(self.dry_run()["sync"]["missing"], "unknown")


class Wait(WithMirror):
    def test_counts_the_mirrors_that_applied_the_connections_last_write(self):
        self.nodes()
        with client(self.source) as one:
            one.set("k", 1)
            self.assertEqual(one.wait(0, 0), 0)
            begun = time.monotonic()
            self.assertEqual(one.wait(1, 200), 0)
            self.assertGreaterEqual(time.monotonic() - begun, 0.2)
            self.follow()
            for i in range(50):
                one.set("k", i)
                self.assertEqual(one.wait(1, DEADLINE_S * 1000), 1)
                with client(self.mirror, "packages") as there:
                    self.assertEqual(there.get("k"), str(i).encode())
            # A paused mirror may still apply what was on its way: one that is stopped does not.
            self.mirror.stop()
            one.set("k", "later")
            self.assertEqual(one.wait(1, 100), 0)
            for words in (("-1x", "0"), ("1", "-1"), ("1", "no")):
                with self.assertRaises(redis.ResponseError):
                    one.execute_command("WAIT", *words)

    def test_counts_mirrors_that_come_back_after_a_restamp(self):
        self.nodes()
        self.follow()
        with client(self.source) as one:
            one.set("k", 1)
            self.assertEqual(one.wait(1, DEADLINE_S * 1000), 1)
            self.source.verb("db", "restamp", "packages", "--yes")
            self.assertEqual(one.wait(1, DEADLINE_S * 1000), 1, "the new history goes on from that write")

    def test_a_waiting_client_is_answered_when_the_mirror_comes(self):
        self.nodes()
        connection = conversation(self.source, "SET k v", "WAIT 1 0", "ECHO after")
        self.assertEqual(connection.recv(5), b"+OK\r\n", "what was answered before does not wait")
        self.follow()
        answer = b""
        while not answer.endswith(b"after\r\n"):
            answer += connection.recv(100)
        self.assertEqual(answer, b":1\r\n$5\r\nafter\r\n")
        connection.close()

    def test_ends_when_the_client_leaves_and_when_the_node_stops(self):
        self.nodes()
        with client(self.source) as one:
            begin = one.info("clients")["connected_clients"]
            waiting = [conversation(self.source, "SET k v", "WAIT 1 0", *more) for more in ((), ("ECHO pipelined",))]
            for connection in waiting:
                self.assertEqual(connection.recv(5), b"+OK\r\n")
                connection.close()
            eventually(lambda: one.info("clients")["connected_clients"], lambda now: now == begin, "the clients to be gone")
        last = conversation(self.source, "WAIT 1 0")
        begun = time.monotonic()
        self.source.stop()
        self.assertLess(time.monotonic() - begun, DEADLINE_S / 2)
        last.close()

    def test_holds_up_no_replacement_of_the_database(self):
        self.nodes()
        self.mirror.stop()
        other = self.node("eu-1b", cluster="eu-1")
        connection = conversation(other, "SET k v", "WAIT 1 0")
        self.assertEqual(connection.recv(5), b"+OK\r\n")
        other.create_mirror("packages", self.source, replace=True, yes=True)
        self.assertEqual(connection.recv(100), b":0\r\n", "no mirror has what was set aside")
        connection.close()


class MaxLag(WithMirror):
    def test_reads_that_could_be_older_are_refused(self):
        self.nodes()
        with client(self.source) as there:
            there.set("k", 1)
            self.follow()
            with client(self.mirror, "packages") as one:
                self.assertTrue(one.execute_command("CROSSLINK.MAXLAG", 5000))
                self.assertEqual(one.get("k"), b"1")
                self.source.process.send_signal(19)  # SIGSTOP
                self.addCleanup(self.source.process.send_signal, 18)
                one.execute_command("CROSSLINK.MAXLAG", 50)

                def read(*words):
                    try:
                        return one.execute_command(*words)
                    except redis.ResponseError as error:
                        return str(error)

                refused = r"the data may be [0-9]+ ms old"
                eventually(lambda: read("GET", "k"), lambda said: "MAXLAG the data may be" in str(said), "a refusal")
                for words in (("MGET", "k"), ("DBSIZE",), ("SCAN", 0), ("KEYS", "*"), ("EXISTS", "k")):
                    self.assertRegex(str(read(*words)), refused, words)
                self.assertIn("head_lsn", one.info(), "INFO says what it knows")
                one.execute_command("MULTI")
                one.execute_command("GET", "k")
                one.execute_command("PING")
                said = one.execute_command("EXEC")
                self.assertRegex(str(said[0]), refused)
                with client(self.mirror, "packages") as careless:
                    self.assertEqual(careless.get("k"), b"1", "another connection did not ask for it")
                one.execute_command("CROSSLINK.MAXLAG", "OFF")
                self.assertEqual(one.get("k"), b"1")
                one.execute_command("CROSSLINK.MAXLAG", 50)
                self.source.process.send_signal(18)  # SIGCONT
                eventually(lambda: read("GET", "k"), lambda said: said == b"1", "the data to be young again")

    def test_of_a_database_that_follows_no_source_any_more_the_age_is_unknown_and_a_root_is_never_old(self):
        self.nodes()
        with client(self.source) as there:
            there.set("k", 1)
            there.execute_command("CROSSLINK.MAXLAG", 1)
            self.assertEqual(there.get("k"), b"1")
        self.follow()
        with client(self.mirror, "packages") as one:
            one.execute_command("CROSSLINK.MAXLAG", 60_000)
            self.assertEqual(one.get("k"), b"1")
            self.mirror.call("DELETE", "/v1/mirrors/packages?keep_data=true")
            with self.assertRaisesRegex(redis.ResponseError, "of unknown age"):
                one.get("k")
            one.execute_command("CROSSLINK.MAXLAG", 0)
            self.assertEqual(one.get("k"), b"1")
            for wrong in ("-1", "x", "99999999999"):
                with self.assertRaisesRegex(redis.ResponseError, "the lag must be"):
                    one.execute_command("CROSSLINK.MAXLAG", wrong)


if __name__ == "__main__":
    unittest.main()
