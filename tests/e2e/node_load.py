"""Two thousand clients at one node, and some that ask for more than they read, while it serves a mirror: everybody else is
served, its memory is bounded, who is too many is told or sent away, and afterwards it serves on."""

import os
import resource
import socket
import unittest

from node_support import DEADLINE_S, MirroredTest, client, eventually

CLIENTS = 2000
MIB = 2**20
# Above what the node has before anybody comes; sanitizers keep freed memory.
SANITIZED = bool(os.environ["CROSSLINK_SANITIZE"])
GROWTH_BYTES_MAX = (1024 if SANITIZED else 160) * MIB


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def received(connection, size):
    answer = b""
    while len(answer) < size and (part := connection.recv(size - len(answer))):
        answer += part
    return answer


class ManyClients(MirroredTest):
    source_options = {"extra": f"[clients]\nconnections_max = {CLIENTS}"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * CLIENTS)), hard))
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.source.port), timeout=DEADLINE_S)
        self.addCleanup(connection.close)
        return connection

    def assert_answered(self, connections, words, answer):
        """Everybody asks before anybody is waited for."""
        for number, connection in enumerate(connections):
            connection.sendall(command(*words(number)))
        for number, connection in enumerate(connections):
            self.assertEqual(received(connection, len(answer(number))), answer(number), number)

    def test_two_thousand_are_served_at_once_and_the_next_is_told_that_it_is_one_too_many(self):
        self.follow()
        before = self.source.rss_bytes()
        with client(self.source, retry=None) as one:
            one.ping()
            connections = [self.connect() for _ in range(CLIENTS - 1)]
            self.assert_answered(connections, lambda _: (b"PING",), lambda _: b"+PONG\r\n")
            self.assertEqual(one.info("clients")["connected_clients"], CLIENTS)
            value = b"v" * 1000
            self.assert_answered(connections, lambda number: (b"SET", b"key-%d" % number, value + b"%04d" % number),
                                 lambda _: b"+OK\r\n")
            self.assert_answered(connections, lambda number: (b"GET", b"key-%d" % number),
                                 lambda number: b"$1004\r\n%s%04d\r\n" % (value, number))
            during = self.source.rss_bytes()
            print(f"{CLIENTS} clients: {before // MIB} MiB before them, {during // MIB} MiB with them", flush=True)
            self.assertLess(during - before, GROWTH_BYTES_MAX)
            refusal = received(self.connect(), 1000)
            self.assertEqual(refusal, b"-ERR max number of clients reached\r\n")
            self.assert_answered(connections, lambda _: (b"PING",), lambda _: b"+PONG\r\n")
            for connection in connections:
                connection.close()
            eventually(lambda: one.info("clients")["connected_clients"], lambda count: count == 1, "the others to be gone")
            self.assertEqual(one.dbsize(), CLIENTS - 1)
        self.fill(self.source)
        self.assert_equal()


class LargeAnswers(MirroredTest):
    """Clients that ask for 40 MB each."""

    source_options = {"extra": '[clients]\nbuffers_bytes = "64MiB"'}
    VALUE_BYTES, VALUES = 1_000_000, 40
    GROWTH_BYTES_MAX = 1024 * MIB if SANITIZED else 300 * MIB

    def setUp(self):
        super().setUp()
        with client(self.source) as one:
            one.set("large", b"v" * self.VALUE_BYTES)
        self.follow()
        self.before = self.source.rss_bytes()

    def ask(self, node, *before):
        """A connection that has been answered or sent away by now, and has read nothing of it."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE_S)
        connection.connect(("127.0.0.1", node.port))
        connection.sendall(b"".join(before) + command(b"GET", b"large") * self.VALUES)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            pass  # sent away
        return connection

    def assert_bounded(self, what):
        grown = self.source.rss_bytes() - self.before
        print(f"{what}: {grown // MIB} MiB more", flush=True)
        self.assertLess(grown, self.GROWTH_BYTES_MAX)

    def test_that_are_not_read_hold_a_bounded_amount_of_memory_and_keep_no_other_from_being_served(self):
        for _ in range(20):
            self.ask(self.source)
        self.source.await_log("clients sent away")
        self.assert_bounded("20 clients that read nothing")
        with client(self.source) as one:
            self.assertEqual(len(one.get("large")), self.VALUE_BYTES)
        self.assert_equal()

    def test_that_were_read_are_held_no_more_although_the_client_stays(self):
        stay = [client(self.source) for _ in range(20)]
        for one in stay:
            self.addCleanup(one.close)
            pipeline = one.pipeline(transaction=False)
            for _ in range(self.VALUES):
                pipeline.get("large")
            self.assertEqual({len(value) for value in pipeline.execute()}, {self.VALUE_BYTES})
        self.assert_bounded("20 clients that read everything and stay")

    def test_that_are_not_read_keep_no_database_from_being_deleted_and_no_node_from_ending(self):
        self.ask(self.mirror, command(b"SELECT", b"packages"))
        self.mirror.verb("mirror", "delete", "packages", "--yes")
        self.follow()
        self.ask(self.mirror, command(b"SELECT", b"packages"))
        self.mirror.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
