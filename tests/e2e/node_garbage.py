"""Clients that speak something else than the port they come to: the node lives, its memory is bounded, and it goes on
serving clients, commands and a mirror. Everything is sent while clients write and the mirror follows."""

import errno
import os
import random
import socket
import time
import unittest

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from node_support import DEADLINE_S, Load, MirroredTest, client

CLOSED_BY_THEM = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)  # with bytes of ours unread
SEED = int(os.environ.get("NODE_SEED", random.randrange(2**32)))
MIB = 2**20
GROWTH_BYTES_MAX = (1024 if os.environ["CROSSLINK_SANITIZE"] else 200) * MIB
TLS_HELLO = (bytes.fromhex("16030100900100008c0303") + bytes(range(32)) + b"\x20" + bytes(range(32)) +
             bytes.fromhex("000613011302130301000000") + bytes(60))
HTTP = b"GET /v1/mirrors HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
REDIS = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nevil\r\n"
CONNECTION_IDS = b"\x08" + b"d" * 8 + b"\x08" + b"s" * 8
# An initial packet that decrypts to nothing, an unknown version, a version negotiation, a short header, a retry.
QUIC = (bytes.fromhex("c000000001") + CONNECTION_IDS + b"\x00\x44\x00" + b"x" * 1100,
        bytes.fromhex("c0babababa") + CONNECTION_IDS + b"x" * 1200,
        bytes.fromhex("8000000000") + CONNECTION_IDS + bytes.fromhex("00000001"),
        b"\x40" + b"x" * 60, bytes.fromhex("f000000001") + CONNECTION_IDS + b"t" * 64)


def place(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def say(address, data):
    """What a port says to these bytes until it closes the connection."""
    answer = b""
    with socket.create_connection(place(address), timeout=DEADLINE_S) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError as error:
            if error.errno not in CLOSED_BY_THEM:
                raise
    return answer


class Garbage(MirroredTest):
    source_options = {"per_database": 'allow_mirrors = ["eu-1"]'}

    def setUp(self):
        super().setUp()
        print(f"NODE_SEED={SEED}", flush=True)
        self.chance = random.Random(SEED)
        self.fill(self.source)
        self.follow()
        self.load = Load(self.source, keys=2000)
        self.addCleanup(self.load.end)
        self.before = self.source.rss_bytes()

    def noise(self, bytes_max=20_000):
        return self.chance.randbytes(self.chance.randrange(1, bytes_max))

    def datagrams(self, packets):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for packet in packets:
                sender.sendto(packet, place(self.source.mirrors))

    def open(self, address, data, count):
        """As many connections that have said this and then nothing; closed at the test's end."""
        for _ in range(count):
            connection = socket.create_connection(place(address), timeout=DEADLINE_S)
            self.addCleanup(connection.close)
            connection.sendall(data)

    def assert_client_port_refuses(self, data):
        answer = say(self.source.clients, data)
        self.assertTrue(answer == b"" or answer.startswith(b"-ERR"), (data[:40], answer[:100]))

    def assert_admin_port_refuses(self, data):
        answer = say(self.source.admin, data)
        self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 4"), (data[:40], answer[:100]))

    def assert_serves_on(self):
        """It is the same process, not much larger, it answers commands and clients, and its mirror has everything."""
        self.assertIsNone(self.source.process.poll(), self.source.log_text())
        grown = self.source.rss_bytes() - self.before
        print(f"{self.id().rsplit('.', 1)[1]}: {grown / MIB:.0f} MiB more than before", flush=True)
        self.assertLess(grown, GROWTH_BYTES_MAX)
        self.assertIn("packages", self.source.verb("db", "list"))
        with client(self.source) as one:
            self.assertIsNone(one.get("k"), "no client could write")
            self.assertTrue(one.set("served", "1"))
        self.load.end()
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["reconnects"], 0, "the mirror's session stood all the while")
        self.mirror.kill()
        self.mirror.start()
        self.assert_equal()
        self.source.stop()

    def test_random_bytes_on_every_port_disturb_no_client(self):
        begin_of_quic = bytes.fromhex("c300000001")
        self.datagrams(self.chance.choice((b"", begin_of_quic)) + self.noise(1400) for _ in range(20_000))
        for _ in range(100):
            self.assert_admin_port_refuses(self.noise())
            self.assert_client_port_refuses(b"\x00" + self.noise())
        self.assert_serves_on()

    def test_the_language_of_another_port_is_refused_at_each(self):
        for data in (TLS_HELLO, HTTP, QUIC[0]):
            self.assert_client_port_refuses(data)
        for data in (TLS_HELLO, REDIS, QUIC[0]):
            self.assert_admin_port_refuses(data)
        self.assert_admin_port_refuses(HTTP)  # without the token
        self.datagrams(packet for _ in range(500) for packet in (*QUIC, TLS_HELLO, HTTP, REDIS))
        self.assert_serves_on()

    def test_half_requests_hold_little_and_are_forgotten(self):
        for data in (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nev", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n" + b"x" * 1000,
                     b"*1048576\r\n$3\r\nDEL\r\n", b"SET k evil", b"*"):
            self.open(self.source.clients, data, 100)
            say(self.source.clients, data)
        token = f"Authorization: Bearer {self.source.token()}\r\n".encode()
        for data in (b"G", b"GET /v1/mirrors HTTP/1.1\r\nHost: loc", HTTP[:-2],
                     b"POST /v1/databases HTTP/1.1\r\nHost: localhost\r\nContent-Length: 262144\r\n" + token + b"\r\n{"):
            say(self.source.admin, data)
        self.assert_serves_on()

    def test_what_is_too_large_is_refused(self):
        for data in (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108865\r\n", b"*1048577\r\n", b"*2\r\n$-7\r\n", b"SET k " + b"x" * 100_000,
                     b"*1\r\n$" + b"9" * 100_000, b"*2\r\n$3\r\nGET\r\n$32769\r\n" + b"k" * 32_769 + b"\r\n"):
            self.assert_client_port_refuses(data)
        request = b"POST /v1/databases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request += f"Authorization: Bearer {self.source.token()}\r\n".encode()
        for data in (request + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n", request + b"X: x\r\n" * 10_000 + b"\r\n",
                     b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
                     request + b"Content-Length: 99999999999999999999\r\n\r\n{}", request + b"Content-Length: -1\r\n\r\n{}",
                     request + b"Content-Length: 300000\r\n\r\n" + b" " * 300_000,
                     request + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65_536 + b"\r\nfffffffffffffffff\r\n",
                     request + b"Content-Length: 200000\r\n\r\n" + b'{"a":' * 40_000,
                     request + b"Content-Length: 2\r\n\r\n\xff\xfe"):
            self.assert_admin_port_refuses(data)
        self.assertEqual([one["name"] for one in self.source.call("GET", "/v1/databases")["databases"]], ["packages"])
        self.assert_serves_on()

    def test_silent_connections_keep_no_operator_out_of_the_admin_port(self):
        """As many as it serves at once, and more; each of them could stay for half a minute."""
        for data in (b"", b"G", b"GET /v1/mirrors HTTP/1.1\r\nHost: localhost\r\n"):
            self.open(self.source.admin, data, 100)
        begin = time.monotonic()
        for _ in range(5):
            self.source.verb("db", "list")
        self.assertLess(time.monotonic() - begin, 25)
        self.assert_serves_on()

    def test_slow_clients_keep_no_other_out_of_the_client_port(self):
        slow = [socket.create_connection(place(self.source.clients), timeout=DEADLINE_S) for _ in range(300)]
        for connection in slow:
            self.addCleanup(connection.close)
        for position in range(len(REDIS) - 1):
            for connection in slow:
                connection.sendall(REDIS[position:position + 1])
            with client(self.source) as one:
                self.assertTrue(one.ping())
        self.assert_serves_on()

    def test_quic_handshakes_that_are_not_finished_keep_no_mirror_out(self):
        def first_packets():
            for _ in range(3000):
                dialled = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=["crosslink/1"],
                                                                         server_name="prod-us"))
                dialled.connect(place(self.source.mirrors), time.time())
                yield from (packet for packet, _ in dialled.datagrams_to_send(time.time()))

        self.datagrams(first_packets())
        self.assert_serves_on()


if __name__ == "__main__":
    unittest.main(verbosity=2)
