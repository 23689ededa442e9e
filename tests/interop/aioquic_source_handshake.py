"""aioquic as the source, `crosslink ping` as the mirror: what it sends, what it makes of answers, refusals, silence."""

import socket
import unittest

import msgpack
from peer import (ACK, ACK_FIELDS, HELLO_STREAM, NO_SNAPSHOT, InteropTest, ack, ack_fields, frame, hello, ping,
                  refusal, source, wide_map)

REFUSALS = {1: ("ClusterIdMismatch", 6), 2: ("ObserverRoleViolation", 6), 3: ("ProtocolVersionMismatch", 6),
            4: ("UnknownDatabase", 6), 6: ("NotAuthorized", 6), 8: ("Busy", 4)}
ROUNDS = 20


class SourceTest(InteropTest):
    async def asked(self, script, *more, **options):
        """What ping says to a source that plays `script`."""
        async with source(script, self.prod_us) as scripted:
            said = await ping(scripted.port, self.eu_1, *more, **options)
            self.assertEqual(len(scripted.peers), 1)
            return said

    async def answered(self, data, end=True, close_code=None):
        """What ping says to a source that answers its hello with `data`, and then waits for ping to leave."""
        async def answer(peer):
            await peer.until_frame()
            peer.send(HELLO_STREAM, data, end=end)
            ended = await peer.until_ended()
            if close_code is not None:
                self.assert_closed_with(ended, close_code)

        return await self.asked(answer)

    def assert_error(self, said, kind, code, caused_by="peer"):
        self.assertEqual((said.json["error"], said.json["caused_by"], said.code), (kind, caused_by, code), said)
        self.assertTrue(said.json["message"] and said.json["message"].isprintable(), said)


class Accepted(SourceTest):
    async def test_the_hello_is_the_contracts_byte_for_byte_and_the_ack_is_shown(self):
        async def answer(peer):
            stream = peer.stream(HELLO_STREAM)
            await peer.until(lambda: stream.ended, "the end of the hello's stream")
            self.assertEqual(stream.data, hello(database="db_01JTEST", last_applied=256))
            self.assertEqual(stream.data.hex(), (
                "010000005c84ae736f757263655f636c7573746572a770726f642d7573b2736f757263655f64617461626173655f6964aa"
                "64625f30314a54455354b06c6173745f6170706c6965645f6c736ecd0100b070726f746f636f6c5f76657273696f6e01"))
            self.assertEqual(peer.peer_certificate_der(), self.eu_1.der())
            self.assertEqual(peer.connected.alpn_protocol, "crosslink/1")
            peer.send(HELLO_STREAM, ack(snapshot_lsn=2**40, snapshot_bytes=2**64 - 1), end=True)
            self.assert_closed_with(await peer.until_ended(), 0x00)

        said = await self.asked(answer, "--last-applied-lsn", 256, database="db_01JTEST")
        self.assertEqual(said.code, 0, said)
        self.assertEqual([said.json[name] for name in ACK_FIELDS], [True, 0, "", "prod-us", 2**40, 2**64 - 1])
        self.assertEqual([said.json[name] for name in ("error", "caused_by", "message")], [None, None, None])
        self.assertEqual([said.json[name] for name in ("tls_version", "alpn", "peer_names", "attempts")],
                         ["TLS 1.3", "crosslink/1", ["prod-us"], 1])
        for name in ("handshake_ms", "round_trip_ms", "mtu", "congestion_window_bytes"):
            self.assertGreater(said.json[name], 0, name)

    async def test_large_lsns_and_long_names_are_sent_in_smallest_forms(self):
        for applied, database in ((0, "d"), (127, "d" * 31), (128, "d" * 32), (65535, "d" * 255), (65536, "d" * 256),
                                  (2**32, "データ"), (2**64 - 1, "d" * 3000)):
            with self.subTest(applied=applied):
                async def answer(peer, expected=hello(database=database, last_applied=applied)):
                    self.assertEqual(await peer.until_frame(), expected)
                    peer.send(HELLO_STREAM, ack(), end=True)
                    await peer.until_ended()

                said = await self.asked(answer, "--last-applied-lsn", applied, database=database)
                self.assertEqual((said.code, said.json["snapshot_lsn"]), (0, NO_SNAPSHOT))

    async def test_an_ack_in_tiny_pieces(self):
        async def answer(peer):
            await peer.until_frame()
            for number, byte in enumerate(ack()):
                peer.send(HELLO_STREAM, bytes([byte]))
                if number < 8:  # each has arrived before the next one leaves
                    await peer.ping()
            await peer.until_ended()

        self.assertEqual((await self.asked(answer)).code, 0)

    async def test_an_ack_without_end_of_stream(self):
        said = await self.answered(ack(), end=False, close_code=0x00)
        self.assertEqual(said.code, 0)  # at the deadline it would be a timeout

    async def test_leniencies_on_the_wire(self):
        fields = ack_fields()
        longest = msgpack.packb(fields)
        for name, payload in {
            "another order": msgpack.packb(dict(reversed(fields.items()))),
            "wide forms": wide_map(fields),
            "bytes after the map": longest + b"\xc1 anything",
            "4096 bytes": longest + bytes(4096 - len(longest)),
            "a cluster id in another case": msgpack.packb(ack_fields(cluster="PROD-US")),
        }.items():
            with self.subTest(name):
                self.assertEqual((await self.answered(frame(ACK, payload))).code, 0)

    async def test_a_source_that_stops_reading_the_hello_but_answers(self):
        async def answer(peer):
            await peer.until_frame()
            peer.quic.stop_stream(HELLO_STREAM, 0)
            peer.send(HELLO_STREAM, ack(), end=True)
            await peer.until_ended()

        self.assertEqual((await self.asked(answer)).code, 0)


class Refused(SourceTest):
    async def test_each_code_has_its_kind_and_exit_code(self):
        for code, (kind, exit_code) in REFUSALS.items():
            with self.subTest(code=code):
                said = await self.answered(refusal(code, detail="not \x1b[31mtoday\n"), close_code=0x00)
                self.assert_error(said, kind, exit_code)
                self.assertEqual((said.json["accepted"], said.json["error_code"]), (False, code))
                self.assertIn(r"not \x1b[31mtoday\x0a", said.json["message"])

    async def test_the_other_sides_cluster_id_is_shown(self):
        said = await self.answered(ack(accepted=False, error_code=1, detail="no", cluster="prod-eu"))
        self.assertEqual(said.json["source_cluster_id"], "prod-eu")

    async def test_an_accepting_ack_of_another_cluster(self):
        for cluster in ("prod-eu", "", "prod-us."):
            with self.subTest(cluster=cluster):
                self.assert_error(await self.answered(ack(cluster=cluster), close_code=0x01), "ClusterIdMismatch", 6)

    async def test_an_ack_and_a_close_right_behind_it(self):
        for number in range(ROUNDS):
            code, (kind, exit_code) = list(REFUSALS.items())[number % len(REFUSALS)]
            with self.subTest(number=number, code=code):
                async def answer(peer, code=code):
                    await peer.until_frame()
                    peer.send(HELLO_STREAM, refusal(code), end=True)
                    peer.close(code)

                self.assert_error(await self.asked(answer), kind, exit_code)

    async def test_a_close_alone_says_as_much_as_an_ack(self):
        for number in range(ROUNDS):
            code, (kind, exit_code) = list(REFUSALS.items())[number % len(REFUSALS)]
            with self.subTest(number=number, code=code):
                async def answer(peer, code=code):
                    await peer.until_frame()
                    peer.close(code)

                self.assert_error(await self.asked(answer), kind, exit_code)

    async def test_a_close_before_the_hello_was_read_says_so_too(self):
        for number in range(ROUNDS):
            code, (kind, exit_code) = list(REFUSALS.items())[number % len(REFUSALS)]
            with self.subTest(number=number, code=code):
                async def answer(peer, code=code):
                    await peer.until_connected()
                    peer.close(code)

                self.assert_error(await self.asked(answer), kind, exit_code)

    async def test_a_code_nobody_defined(self):
        said = await self.answered(refusal(0x77, detail="because"))
        self.assert_error(said, "ProtocolViolation", 1)
        self.assertIn("0x77", said.json["message"])

    async def test_a_close_with_a_code_nobody_defined(self):
        async def answer(peer):
            await peer.until_frame()
            peer.close(0x777)

        said = await self.asked(answer)
        self.assert_error(said, "Transport", 4)
        self.assertIn("0x777", said.json["message"])

    async def test_an_accepting_ack_with_an_error_code_does_not_pass_as_a_refusal(self):
        # `accepted` decides, as in the other implementation.
        self.assertEqual((await self.answered(ack(error_code=4))).code, 0)


class Broken(SourceTest):
    async def codec(self, data, end=True):
        self.assert_error(await self.answered(data, end=end, close_code=0x10), "HandshakeCodec", 1)

    async def test_an_ack_of_4097_bytes(self):
        fields = msgpack.packb(ack_fields())
        await self.codec(frame(ACK, fields + bytes(4097 - len(fields))))

    async def test_a_length_that_never_comes_is_refused_by_its_header(self):
        for length in (4097, 2**32 - 1):
            with self.subTest(length=length):
                await self.codec(bytes([ACK]) + length.to_bytes(4, "big"), end=False)

    async def test_a_truncated_ack(self):
        for size in (0, 1, 5, 6, len(ack()) - 1):
            with self.subTest(size=size):
                await self.codec(ack()[:size])

    async def test_garbage(self):
        fields = ack_fields()
        for name, data in {
            "another kind": frame(0x01, msgpack.packb(fields)),
            "a voter's kind": frame(0x30, b""),
            "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "no MessagePack": frame(ACK, b"\xc1" * 20),
            "empty": frame(ACK, b""),
            "array": frame(ACK, msgpack.packb(list(fields.values()))),
            "unknown field": frame(ACK, msgpack.packb({**fields, "extra": 1})),
            "doubled field": frame(ACK, b"\x87" + msgpack.packb(fields)[1:] + msgpack.packb("accepted") + b"\xc3"),
            "missing field": frame(ACK, msgpack.packb({name: fields[name] for name in ACK_FIELDS[1:]})),
            "a code over 8 bits": frame(ACK, msgpack.packb({**fields, "error_code": 256})),
        }.items():
            with self.subTest(name):
                await self.codec(data)

    async def test_a_source_that_resets_the_stream(self):
        async def answer(peer):
            await peer.until_frame()
            peer.quic.reset_stream(HELLO_STREAM, 0x99)
            peer.transmit()
            await peer.until_ended()

        self.assert_error(await self.asked(answer), "Transport", 4)


class Silent(SourceTest):
    def assert_five_seconds(self, said):
        self.assertTrue(4.5 < said.answer_seconds <= said.seconds < 30, said)
        self.assertEqual(said.json["attempts"], 1)

    async def test_a_source_that_reads_the_hello_and_never_answers(self):
        async def nothing(peer):
            await peer.until_frame()
            self.assert_closed_with(await peer.until_ended(), 0x11)

        said = await self.asked(nothing)
        self.assert_error(said, "Timeout", 4, "transport")
        self.assert_five_seconds(said)

    async def test_a_source_that_stops_in_the_middle_of_its_ack(self):
        said = await self.answered(ack()[:-1], end=False, close_code=0x11)
        self.assert_error(said, "Timeout", 4, "transport")
        self.assert_five_seconds(said)

    async def test_a_port_that_takes_packets_and_never_answers(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
            hole.bind(("127.0.0.1", 0))
            said = await ping(hole.getsockname()[1], self.eu_1)
        self.assert_error(said, "Timeout", 4, "transport")
        self.assert_five_seconds(said)

    async def test_retry_goes_on_after_a_busy_source_and_gets_through(self):
        seen = []

        async def at_the_second_time(peer):
            seen.append(peer)
            if len(seen) == 1:
                await peer.until_connected()
                peer.close(0x08)
                return
            await peer.until_frame()
            peer.send(HELLO_STREAM, ack(), end=True)
            await peer.until_ended()

        async with source(at_the_second_time, self.prod_us) as scripted:
            said = await ping(scripted.port, self.eu_1, "--retry", "--timeout", 30)
        self.assertEqual((said.code, said.json["attempts"]), (0, 2), said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
