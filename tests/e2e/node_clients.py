"""The client port as clients of Redis see it: redis-py, redis-cli, redis-benchmark, and hostile ones."""

import random
import signal
import socket
import subprocess
import threading
import time
import unittest

import redis
from cli_support import run
from node_support import DEADLINE_S, NodeTest, client, eventually
from rocksdb_support import Host


def raw(node, data):
    """What the port says to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=DEADLINE_S) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass  # it was closed with bytes of ours unread
        return answer


class Clients(NodeTest):
    def test_redis_py_reads_what_it_wrote(self):
        node = self.node()
        for protocol in (2, 3):
            with client(node, protocol=protocol) as one:
                binary = bytes(range(256)) * 300
                one.flushdb()
                self.assertTrue(one.set(b"\x00\r\n key", binary))
                self.assertEqual(one.get(b"\x00\r\n key"), binary)
                self.assertIsNone(one.get("none"))
                self.assertEqual(one.mset({"a": 1, "b": 2}), True)
                self.assertEqual(one.mget("a", "none", "b"), [b"1", None, b"2"])
                self.assertEqual(one.incrby("a", 5), 6)
                self.assertEqual(one.append("b", "xyz"), 4)
                self.assertEqual(one.setrange("b", 2, "--"), 4)
                self.assertEqual(one.getrange("b", 0, -1), b"2x--")
                self.assertEqual(one.set("a", 7, get=True), b"6")
                self.assertIsNone(one.set("a", 8, nx=True))
                self.assertEqual(one.getdel("a"), b"7")
                self.assertEqual(one.exists("a", "b", "b"), 2)
                self.assertEqual(one.dbsize(), 2)
                self.assertEqual(one.delete("b", "b", "none"), 1)
                self.assertEqual(one.type("b"), b"none")
                self.assertEqual(one.info("replication")["role"], "master")
                with self.assertRaisesRegex(redis.ResponseError, "keys do not expire here"):
                    one.set("a", 1, ex=5)
                with self.assertRaisesRegex(redis.ResponseError, "keys do not expire here"):
                    one.expire("a", 5)

    def test_a_pipeline_is_answered_in_order_reads_and_writes_mixed(self):
        node = self.node()
        with client(node) as one:
            pipeline = one.pipeline(transaction=False)
            expected = []
            for i in range(5000):
                pipeline.set(f"k{i % 7}", i)
                pipeline.get(f"k{i % 7}")
                pipeline.incr("count")
                pipeline.echo(str(i))
                expected += [True, str(i).encode(), i + 1, str(i).encode()]
            self.assertEqual(pipeline.execute(), expected)

    def test_a_transaction_fails_when_a_watched_key_was_written(self):
        node = self.node()
        with client(node) as one, client(node) as other:
            one.set("balance", 100)
            with one.pipeline() as pipeline:
                pipeline.watch("balance")
                balance = int(pipeline.get("balance"))
                other.set("balance", 100)  # the same value: written all the same
                pipeline.multi()
                pipeline.set("balance", balance - 30)
                with self.assertRaises(redis.WatchError):
                    pipeline.execute()
            self.assertEqual(one.get("balance"), b"100")
            with one.pipeline() as pipeline:
                pipeline.watch("balance", "unused")
                pipeline.multi()
                pipeline.decrby("balance", 30)
                pipeline.get("balance")
                self.assertEqual(pipeline.execute(), [70, b"70"])

    def test_transactions_of_many_clients_lose_no_update(self):
        node = self.node()
        rounds, clients = 100, 8

        def transfer():
            with client(node) as one:
                for _ in range(rounds):
                    one.transaction(lambda pipeline: (
                        count := int(pipeline.get("count") or 0), pipeline.multi(), pipeline.set("count", count + 1)),
                        "count")

        threads = [threading.Thread(target=transfer) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with client(node) as one:
            self.assertEqual(int(one.get("count")), rounds * clients)

    def test_scan_gives_each_key_once_and_a_forgotten_cursor_is_an_error(self):
        node = self.node()
        with client(node) as one:
            keys = {f"key{i:05}".encode() for i in range(3000)}
            one.mset({key: 1 for key in keys})
            found = list(one.scan_iter(count=100))
            self.assertEqual(len(found), len(keys))
            self.assertEqual(set(found), keys)
            self.assertEqual(set(one.scan_iter(match="key0001?", count=7)), {f"key0001{i}".encode() for i in range(10)})
            self.assertEqual(sorted(one.keys("key0299[0-3]")), [b"key02990", b"key02991", b"key02992", b"key02993"])
            cursor, _ = one.scan(0, count=5)
            again, first = one.scan(cursor, count=5)
            self.assertEqual(one.scan(cursor, count=5)[1], first, "a cursor can be used again")
            for _ in range(5000):
                one.scan(0, count=1)
            for forgotten in (cursor, 2**63):
                with self.assertRaisesRegex(redis.ResponseError, "no longer known"):
                    one.scan(forgotten)

    def test_scan_ends_an_answer_early_when_its_keys_are_large(self):
        node = self.node()
        with client(node) as one:
            keys = {b"%03d" % i + b"k" * 30_000 for i in range(100)}
            for key in keys:
                one.set(key, 1)
            cursor, first = one.scan(0, count=100_000)
            self.assertNotEqual(cursor, 0)
            self.assertLess(sum(map(len, first)), 1024 * 1024 + 40_000)
            self.assertEqual(sorted(one.scan_iter(count=100_000)), sorted(keys))

    def test_what_cannot_stand_in_a_transaction_is_refused_when_it_is_said_and_nothing_is_stored(self):
        node = self.node()
        with client(node) as one:
            for words in (("WAIT", 0, 0), ("SELECT", 0), ("DBSIZE",), ("CROSSLINK.MAXLAG", 5), ("CLIENT", "ID")):
                one.execute_command("MULTI")
                one.execute_command("SET", "k", 1)
                with self.assertRaisesRegex(redis.ResponseError, "cannot stand in MULTI"):
                    one.execute_command(*words)
                with self.assertRaises(redis.exceptions.ExecAbortError):
                    one.execute_command("EXEC")
                self.assertIsNone(one.get("k"), words)
            one.execute_command("MULTI")
            for words in (("PING",), ("ECHO", "said"), ("UNWATCH",), ("SET", "k", 1)):
                self.assertIn(one.execute_command(*words), (b"QUEUED", False))
            self.assertEqual(len(one.execute_command("EXEC")), 4)
            self.assertEqual(one.get("k"), b"1")

    def test_databases_are_chosen_by_index_or_name(self):
        node = self.node(databases=("packages", "orders"))
        with client(node) as first, client(node, db=1) as second:
            first.set("k", "first")
            second.set("k", "second")
            self.assertTrue(first.execute_command("SELECT", "orders"))
            self.assertEqual(first.get("k"), b"second")
            self.assertEqual(second.flushdb(), True)
            self.assertTrue(first.execute_command("SELECT", "0"))
            self.assertEqual(first.get("k"), b"first")
            with self.assertRaisesRegex(redis.ResponseError, "out of range"):
                first.execute_command("SELECT", "2")

    def test_a_connection_that_never_says_select_writes_to_database_0_or_nowhere(self):
        node, other = self.node(databases=("packages", "orders")), self.node("eu-1", cluster="eu-1")
        stop, answered, refused = threading.Event(), [], []

        def write(number):
            while not stop.is_set():
                with client(node, retry=None) as one:
                    try:
                        one.set(f"{number}-{len(answered)}", 1)
                        answered.append(number)
                    except redis.ResponseError as error:
                        refused.append(str(error))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        eventually(lambda: len(answered), lambda count: count > 50, "writes")
        node.create_mirror("packages", other, replace=True, yes=True)
        eventually(lambda: refused[-1:], lambda seen: "read only replica" in "".join(seen), "the mirror to be there")
        stop.set()
        for writer in writers:
            writer.join(DEADLINE_S)
        self.assertEqual(node.contents("orders"), {}, "no client chose it")
        config = node.config.read_text(encoding="utf-8")  # what it names is not deleted
        node.config.write_text(config.replace('name = "packages"', 'name = "another"'), encoding="utf-8")
        node.signal(signal.SIGHUP)
        node.await_log("reloaded")
        node.call("DELETE", "/v1/mirrors/packages")
        with client(node) as one:
            with self.assertRaisesRegex(redis.ResponseError, "there is no database 0 here"):
                one.set("k", 1)
            with self.assertRaisesRegex(redis.ResponseError, "out of range"):
                one.execute_command("SELECT", 0)
            self.assertTrue(one.execute_command("SELECT", 1))
            self.assertTrue(one.set("k", 1))
        self.assertEqual(node.contents("orders"), {b"k": b"1"})

    def test_a_connection_at_an_index_wrote_to_the_next_database_of_its_name(self):
        node, source = self.node("eu-1", cluster="eu-1", databases=()), self.node()
        with client(source) as one:
            one.set("k", 1)
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        node.call("POST", "/v1/mirrors/packages/promote", {})
        never, at_0, queued, by_name = (client(node, single_connection_client=True) for _ in range(4))
        with never, at_0, queued, by_name:
            never.ping()
            at_0.execute_command("SELECT", 0)
            by_name.execute_command("SELECT", "packages")
            queued.execute_command("SELECT", "packages")
            queued.execute_command("MULTI")
            queued.execute_command("SET", "queued", 1)
            node.call("DELETE", "/v1/mirrors/packages?promoted=true")
            self.assertEqual(node.call("POST", "/v1/databases", {"name": "packages"})["index"], 1)
            for one in (never, at_0):
                with self.assertRaisesRegex(redis.ResponseError, "there is no database 0 here"):
                    one.set("k", 2)
            with self.assertRaisesRegex(redis.ResponseError, "EXECABORT|discarded"):
                queued.execute_command("EXEC")
            self.assertTrue(by_name.set("k", 3))
        self.assertEqual(node.contents("packages"), {b"k": b"3"})

    def test_a_number_is_no_name(self):
        node = self.node()
        for request in (("POST", "/v1/databases", {"name": "7"}),
                     ("POST", "/v1/mirrors", {"name": "7", "from": "eu-1/packages", "addr": node.mirrors})):
            status, answer = node.request(*request)
            self.assertEqual(status, 400, answer)
            self.assertIn("number", answer["message"])

    def test_a_password_is_asked_for_and_guessing_ends_the_connection(self):
        secret = self.path / "secret"
        secret.write_text("open sesame\n")
        secret.chmod(0o600)
        node = self.node(extra=f'[clients]\npassword_file = "{secret}"')
        for protocol in (2, 3):
            with client(node, password="open sesame", protocol=protocol) as good:
                self.assertTrue(good.set("k", 1))
        with client(node) as unauthenticated, self.assertRaises(redis.AuthenticationError):
            unauthenticated.get("k")
        with client(node, password="guess") as unauthenticated, self.assertRaises(redis.AuthenticationError):
            unauthenticated.ping()
        answer = raw(node, b"AUTH guess\r\n" * 50 + b"GET k\r\n")
        self.assertEqual(answer.count(b"-WRONGPASS"), 10)
        self.assertIn(b"invalid bulk length", raw(node, b"*2\r\n$4\r\nAUTH\r\n$1000000\r\n"))

    def test_redis_cli_and_redis_benchmark_run(self):
        node = self.node()
        self.assertEqual(node.redis_cli("ping"), "PONG")
        self.assertEqual(node.redis_cli("set", "k", "v"), "OK")
        self.assertEqual(node.redis_cli("--scan"), "k")
        self.assertIn("head_lsn:", node.redis_cli("info"))
        done = subprocess.run(["redis-benchmark", "-p", str(node.port), "-t", "ping,set,get,incr,mset", "-n", "5000", "-P", "16",
                               "-r", "1000", "--csv"], capture_output=True, text=True, timeout=DEADLINE_S, check=True)
        rates = [line.split(",") for line in done.stdout.splitlines()[1:]]
        self.assertEqual([name.strip('"') for name, *_ in rates],
                         ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"])
        for name, rate, *_ in rates:
            self.assertGreater(float(rate.strip('"')), 0, name)

    def test_what_is_no_client_is_sent_away(self):
        node = self.node()
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nSET k evil\r\n", b"POST / HTTP/1.1\r\n\r\nSET k evil\r\n",
                     b"*1\r\n$99999999999\r\n", b"*99999999\r\n", b"\x16\x03\x01\x02\x00" + b"\n" + b"a" * 100_000,
                     b"*2\r\n$3\r\nSET\r\nk evil\r\n"):
            answer = raw(node, data)
            self.assertTrue(answer == b"" or answer.startswith(b"-ERR"), (data[:40], answer))
        generator = random.Random(7)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", node.port), timeout=DEADLINE_S) as connection:
                connection.sendall(generator.randbytes(generator.randrange(1, 5000)))
        with client(node) as one:
            self.assertIsNone(one.get("k"))

    def test_more_connections_than_allowed_are_refused(self):
        node = self.node(extra="[clients]\nconnections_max = 3")
        with client(node) as one:
            one.ping()
            others = [socket.create_connection(("127.0.0.1", node.port), timeout=DEADLINE_S) for _ in range(2)]
            for other in others:
                other.sendall(b"PING\r\n")
                self.assertEqual(other.recv(100), b"+PONG\r\n")
            self.assertEqual(raw(node, b""), b"-ERR max number of clients reached\r\n")
            for other in others:
                other.close()

    def test_a_few_silent_connections_kept_out_who_has_the_password(self):
        secret = self.path / "few-password"
        secret.write_text("sesame\n", encoding="utf-8")
        secret.chmod(0o600)
        node = self.node(extra=f'[clients]\nconnections_max = 3\npassword_file = "{secret}"')
        silent = [socket.create_connection(("127.0.0.1", node.port), timeout=DEADLINE_S) for _ in range(3)]
        eventually(lambda: node.call("GET", "/metrics"), lambda said: "crosslink_clients_without_password 3" in said, "the silent ones")
        with client(node, password="sesame", retry=None) as one:
            self.assertTrue(one.set("k", "v"))
            self.assertEqual(silent[0].recv(100), b"", "the oldest gave way")
            with client(node, password="sesame", retry=None) as other, client(node, password="sesame", retry=None) as third:
                self.assertEqual((other.get("k"), third.get("k")), (b"v", b"v"))
                self.assertEqual(raw(node, b""), b"-ERR max number of clients reached\r\n", "of those with the password none does")
        for other in silent:
            other.close()

    def test_what_was_answered_is_there_after_a_kill(self):
        node = self.node(per_database='sync = "always"')
        written = []

        def write():
            with client(node, retry=None) as one:
                try:
                    for i in range(1_000_000):
                        one.set(f"key{i}", i)
                        written.append(i)
                except redis.ConnectionError:
                    return

        for _ in range(3):
            written.clear()
            thread = threading.Thread(target=write)
            thread.start()
            while len(written) < 200:
                thread.join(0.01)
            node.kill()
            thread.join()
            node.start()
            with client(node) as one:
                values = one.mget([f"key{i}" for i in written])
                self.assertEqual(values, [str(i).encode() for i in written])

    def test_a_stop_answers_what_was_asked_and_starts_again(self):
        node = self.node()
        with client(node) as one:
            one.set("k", 1)
        node.stop()
        self.assertIn("stopped", node.log_text())
        node.start()
        with client(node) as one:
            self.assertEqual(one.get("k"), b"1")


class Mirrors(NodeTest):
    def test_a_mirror_of_another_cluster_follows_a_nodes_database(self):
        node = self.node(databases=("orders",), per_database='allow_mirrors = ["eu-1"]')
        with client(node) as one:
            one.mset({f"before{i}": i for i in range(1000)})
            mirror = Host("mirror", self.path / "mirror", self.certificates, node.mirrors.rsplit(":", 1)[1])
            self.addCleanup(mirror.close)
            one.mset({f"after{i}": i for i in range(1000)})
            one.delete("before1")
            head = one.info("replication")["head_lsn"]
            deadline = time.monotonic() + DEADLINE_S
            while (facts := mirror.must("facts"))["applied"] < head or facts["status"] != "Following":
                self.assertLess(time.monotonic(), deadline, facts)
            self.assertEqual(mirror.must("verify")["outcome"], "equal", facts)
            eventually(lambda: one.info("replication")["connected_slaves"], lambda count: count == 1, "the mirror to be counted")
        mirror.end()
        self.assertIn("mirror accepted mirror=eu-1 database=orders", node.log_text())

    def test_a_mirror_that_is_not_allowed_is_refused_by_name(self):
        node = self.node(per_database='allow_mirrors = ["asia-1"]')
        refused = run(*self.ping_arguments(node.mirrors, database="packages"))
        self.assert_sentence(refused, 6, "there is no database packages here that a mirror with the certificate names eu-1 may see")
        unknown = run(*self.ping_arguments(node.mirrors, database="secrets"))
        self.assert_sentence(unknown, 6, "there is no database secrets here that a mirror with")
        self.assertIn("mirror refused mirror=eu-1 database=packages", node.log_text())


if __name__ == "__main__":
    unittest.main()
