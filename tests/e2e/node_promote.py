"""What a promotion says of what is lost: never more than is known; and what it is not asked for."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import unittest

import redis

from cli_support import PROGRAM
from node_support import DEADLINE_S, MirroredTest, client, eventually


def unread_bytes(port):
    """What came to connections that were accepted at this port of loopback, or wait for that, and was not read."""
    unread = 0
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port and fields[3] == "01":
            unread += int(fields[4].split(":")[1], 16)
    return unread


class Promote(MirroredTest):
    def dry_run(self):
        return self.mirror.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True})

    def test_a_source_that_is_heard_now_loses_nothing_that_is_here(self):
        self.fill(self.source)
        self.follow()
        # A source is heard now unless its last word is a second old: as it can be on a machine that is busy.
        seen = eventually(self.dry_run, lambda dry: dry["lost"]["known"], "a word of the source")
        self.assertEqual(seen["lost"]["entries_lsn"], 0, seen)
        self.assertEqual(seen["source_lsn"], seen["lsn"])
        eventually(lambda: self.mirror.verb("promote", "packages", "--dry-run"), lambda said: "lost          nothing that the source had " in said,
                   "the command to say so")

    def test_a_command_whose_caller_left_while_the_node_hung_was_carried_out_later(self):
        self.follow()
        words = ["promote", "packages", "--yes", "--admin", self.mirror.admin, "--token-file",
                 self.mirror.folder / "data" / "admin.token"]
        self.mirror.signal(signal.SIGSTOP)
        try:
            with subprocess.Popen([PROGRAM, *map(str, words)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as caller:
                port = int(self.mirror.admin.rsplit(":", 1)[1])
                eventually(lambda: unread_bytes(port), lambda unread: unread > 0, "the request to be sent")
                caller.kill()
        finally:
            self.mirror.signal(signal.SIGCONT)
        self.mirror.await_log("a command was dropped: its caller left before it began command=promote")
        self.assertEqual(self.mirror.mirror("packages")["status"], "Following")

    def test_a_watch_at_a_mirror_did_not_see_what_was_applied_and_a_promotion_lost_an_update(self):
        with client(self.source) as one:
            one.set("stock", 100)
            one.set("other", 1)
        self.follow()
        with client(self.mirror) as seller, client(self.mirror) as reader:
            for watching in (seller, reader):
                watching.execute_command("WATCH", "stock")
                self.assertEqual(watching.execute_command("GET", "stock"), b"100")
            with client(self.source) as one:
                one.set("other", 2)
            self.mirror.await_following("packages", self.source)
            reader.execute_command("MULTI")
            reader.execute_command("GET", "other")
            self.assertEqual(reader.execute_command("EXEC"), [b"2"], "it watches another key")
            with client(self.source) as one:
                one.set("stock", 60)
            self.mirror.await_following("packages", self.source)
            self.mirror.verb("promote", "packages", "--yes")
            seller.execute_command("MULTI")
            seller.execute_command("SET", "stock", 99)
            self.assertIsNone(seller.execute_command("EXEC"))
            self.assertEqual(seller.execute_command("GET", "stock"), b"60")

    def test_what_a_source_wrote_before_it_died_unheard_is_not_called_nothing(self):
        self.fill(self.source)
        self.follow()
        self.mirror.process.send_signal(signal.SIGSTOP)
        with client(self.source) as one:
            for number in range(3000):
                one.set(f"late-{number}", "x" * 100)
        self.source.kill()
        self.mirror.process.send_signal(signal.SIGCONT)
        self.mirror.await_mirror("packages", lambda one: one["status"] == "Disconnected", "the loss of the source")
        seen = self.dry_run()
        self.assertFalse(seen["lost"]["known"], seen)
        self.assertGreaterEqual(seen["source_lsn"], seen["lsn"])
        self.assertGreater(seen["lost"]["heard_ms_ago"], 0)
        said = self.mirror.verb("promote", "packages", "--yes")
        self.assertNotIn("lost          nothing", said)
        self.assertIn("what was written since is not known", said)

    def test_the_lsn_of_another_history_was_compared_with_the_mirrors_own(self):
        self.fill(self.source, end=300)
        self.follow()
        self.source.stop()
        shutil.rmtree(self.source.folder / "data")
        self.source.start()
        self.fill(self.source, end=20)
        self.mirror.call("POST", "/v1/mirrors/packages/resume")
        halted = self.mirror.await_mirror("packages", lambda one: one["status"] == "Halted", "the other history")
        self.assertIsNone(halted["lag_lsn"])
        lost = self.dry_run()["lost"]
        self.assertEqual((lost["known"], lost["entries_lsn"]), (False, None), lost)
        self.assertIn("has another history", lost["detail"])
        self.assertNotIn("all up to there is here", lost["detail"])
        said = self.mirror.call("POST", "/v1/mirrors/packages/resume")
        self.assertNotIn("stands", said["reason"])

    def test_what_was_answered_ok_until_a_replace_ended_stood_in_no_list(self):
        self.fill(self.source)
        self.follow()
        self.mirror.verb("promote", "packages", "--yes")
        answered, refusals, stop = [], [], threading.Event()

        def write():
            with client(self.source, "packages") as one:
                number = 0
                while not stop.is_set():
                    try:
                        one.set(f"late-{number}", "1")
                        answered.append(f"late-{number}")
                    except redis.ResponseError as error:
                        refusals.append(str(error))
                    number += 1

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda: len(answered), lambda count: count > 20, "writes at the old source")
        request = {"name": "packages", "from": "eu-1/packages", "addr": self.mirror.mirrors, "replace": True}
        status, refused = self.source.request("POST", "/v1/mirrors", request)
        self.assertEqual((status, refused["exit_code"]), (400, 6))
        before = len(answered)
        eventually(lambda: len(answered), lambda count: count > before, "writes to go on: nothing was replaced")
        replaced = self.source.call("POST", "/v1/mirrors", {**request, "yes": True})["replaced"]
        eventually(lambda: refusals, bool, "the old source to refuse")
        stop.set()
        writer.join()
        self.assertEqual(replaced["keys_total"], len(answered), replaced["detail"])
        self.source.await_following("packages", self.mirror)

    def test_a_client_that_watched_a_database_that_was_replaced_ended_the_node(self):
        self.fill(self.source)
        self.follow()
        self.mirror.verb("promote", "packages", "--yes")
        with client(self.source, "packages", single_connection_client=True) as one:
            one.execute_command("WATCH", "key-1")
            request = {"name": "packages", "from": "eu-1/packages", "addr": self.mirror.mirrors, "replace": True, "yes": True}
            self.source.call("POST", "/v1/mirrors", request)
            self.source.await_following("packages", self.mirror)
            one.execute_command("MULTI")
            one.execute_command("GET", "key-1")
            self.assertIsNone(one.execute_command("EXEC"), "what was watched is not the same any more")
            one.execute_command("WATCH", "key-2")
            one.execute_command("UNWATCH")
            self.assertTrue(one.ping())

    def test_the_source_is_never_told_to_be_behind_its_mirror(self):
        self.follow()
        with client(self.source) as one:
            for number in range(2000):
                one.set(f"key-{number}", "x")
                if number % 20 == 0:
                    seen = self.mirror.mirror("packages")
                    self.assertGreaterEqual(seen["source_lsn"], seen["applied_lsn"])

    def test_what_is_not_understood_promotes_nothing_and_makes_nothing(self):
        self.fill(self.source)
        self.follow()
        for path, body in (("/v1/mirrors/packages/promote", {"dry_run": "true"}),
                           ("/v1/mirrors/packages/promote", {"dryrun": True}),
                           ("/v1/mirrors/packages/promote", {"accept_inconsistent": 1}),
                           ("/v1/mirrors/packages/limit", {"bytes_per_s": 1, "bytes": 2}),
                           ("/v1/mirrors/packages/pause", {"until": "tomorrow"}),
                           ("/v1/databases", {"name": "other", "allow": []}),
                           ("/v1/mirrors", {"name": "other", "from": "prod-us/packages", "addr": self.source.mirrors,
                                            "dryrun": True})):
            with self.subTest(path=path, body=body):
                status, answer = self.mirror.request("POST", path, body)
                self.assertEqual((status, answer["error"]), (400, "Configuration"), json.dumps(answer))
        self.assertEqual(self.mirror.mirror("packages")["status"], "Following")
        self.assertEqual([one["name"] for one in self.mirror.call("GET", "/v1/databases")["databases"]], ["packages"])

    def test_what_is_said_twice_or_where_nobody_reads_it_deletes_nothing_and_promotes_nothing(self):
        self.fill(self.source)
        self.follow()
        mirror = "/v1/mirrors/packages"
        for method, path, body in (("DELETE", f"{mirror}?keep_data=true&keep_data=false", None),
                                   ("DELETE", f"{mirror}?keep_data=false&keep_data=true", None),
                                   ("DELETE", "/v1/databases/packages?followed=true&followed=true", None),
                                   ("DELETE", mirror, {"keep_data": True}), ("DELETE", mirror, {}), ("GET", mirror, {}),
                                   ("POST", f"{mirror}/promote?dry_run=true", {}),
                                   ("GET", "/metrics?x", None), ("GET", "/readyz?x", None), ("GET", "/healthz?x=1", None),
                                   ("POST", "/v1/databases/packages/restamp", {"dry_run": True})):
            with self.subTest(method=method, path=path, body=body):
                status, answer = self.mirror.request(method, path, body)
                self.assertEqual((status, answer["error"]), (400, "Configuration"), answer)
        status, answer = self.raw(b"POST", mirror + "/promote", b'{"dry_run": true, "dry_run": false}')
        self.assertEqual((status, answer["message"]), (400, "dry_run: is there twice"))
        self.assertEqual(self.mirror.mirror("packages")["status"], "Following")

    def raw(self, method, path, body, more=b""):
        """What an answer says to bytes that no client would send, and that the connection is closed after it."""
        head = b"%b %b HTTP/1.1\r\nHost: localhost\r\n" % (method, path.encode())
        head += b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n" % self.mirror.token().encode()
        if not more:
            more = b"Connection: close\r\nContent-Length: %d\r\n" % len(body)
        host, port = self.mirror.admin.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as connection:
            connection.sendall(head + more + b"\r\n" + body)
            got = b""
            while part := connection.recv(65536):
                got += part
        answered, text = got.split(b"\r\n\r\n", 1)
        return int(answered.split()[1]), json.loads(text)

    def test_what_cannot_be_read_as_a_request_is_answered_with_why_before_the_connection_is_closed(self):
        path = "/v1/databases"
        for name, status, answer in (
                ("a body over the limit", 413, self.raw(b"POST", path, b"", b"Content-Length: 262145\r\n")),
                ("that came already", 413, self.raw(b"POST", path, b" " * 300_000)),
                ("two lengths", 400, self.raw(b"POST", path, b"{}x", b"Content-Length: 2\r\nContent-Length: 3\r\n")),
                ("a length that is none", 400, self.raw(b"POST", path, b"", b"Content-Length: -1\r\n")),
                ("a malformed chunk", 400, self.raw(b"POST", path, b"zz\r\n{}\r\n", b"Transfer-Encoding: chunked\r\n")),
                ("a long path", 414, self.raw(b"GET", "/" + "a" * 300_000, b"")),
                ("too many headers", 431, self.raw(b"GET", path, b"", b"X: y\r\n" * 20_000)),
                ("a line that is no request", 400, self.raw(b"\x16\x03\x01", path, b""))):
            with self.subTest(name):
                self.assertEqual(answer[0], status, answer)
                self.assertEqual(sorted(answer[1]), ["caused_by", "error", "exit_code", "message"])
        self.assertEqual(self.mirror.call("GET", path), {"databases": []})


if __name__ == "__main__":
    unittest.main(verbosity=2)
