"""aioquic as the mirror, `crosslink listen` as the source: the hello, the ack, and how a refusal ends."""

import asyncio
import time
import unittest

import msgpack
from peer import (DEADLINE_S, HELLO, HELLO_STREAM, NO_SNAPSHOT, InteropTest, ack, ack_fields, frame, hello,
                  hello_fields, hello_of_payload_bytes, mirror, wide_map)

# The first of the golden vectors, digit by digit.
GOLDEN_HELLO = bytes.fromhex(
    "010000005a84ae736f757263655f636c7573746572a770726f642d7573b2736f757263655f64617461626173655f6964aa64625f30314a"
    "54455354b06c6173745f6170706c6965645f6c736e00b070726f746f636f6c5f76657273696f6e01")


class HandshakeTest(InteropTest):
    def dial(self, port=None):
        return mirror(port or self.source.port, self.eu_1, ca=self.prod_us.ca)

    async def accepted(self, data, end=True, expected=None):
        async with self.dial() as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, data, end=end)
            self.assertEqual(await dialled.until_ack(), expected or ack_fields())

    async def refused(self, data, code, end=True, port=None):
        """Expects the refusing ack, then the application close with the same code. Gives the ack."""
        async with self.dial(port) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, data, end=end)
            said = await dialled.until_ack()
            self.assert_closed_with(await dialled.until_ended(), code)
        self.assertEqual((said["accepted"], said["error_code"], said["source_cluster_id"]), (False, code, "prod-us"))
        self.assertTrue(0 < len(said["error_detail"].encode()) <= 512, said)
        self.assertTrue(said["error_detail"].isprintable(), said)
        return said


class Accepted(HandshakeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.listen()

    async def test_the_golden_hello_gets_the_ack_byte_for_byte_and_the_end_of_the_stream(self):
        async with self.dial() as dialled:
            await dialled.until_connected()
            self.assertEqual(dialled.connected.alpn_protocol, "crosslink/1")
            self.assertFalse(dialled.connected.session_resumed)
            dialled.send(HELLO_STREAM, GOLDEN_HELLO, end=True)
            stream = dialled.stream(HELLO_STREAM)
            await dialled.until(lambda: stream.ended, "the end of the handshake's stream")
            self.assertEqual(stream.data, ack(snapshot_lsn=NO_SNAPSHOT, snapshot_bytes=0))

    async def test_a_mirror_behind_the_snapshot_is_told_of_it_and_others_are_not(self):
        source = self.listen("--snapshot-lsn", 2**40, "--snapshot-bytes", 70_000)
        for applied, expected in ((0, (2**40, 70_000)), (2**40 - 1, (2**40, 70_000)), (2**40, (NO_SNAPSHOT, 0)),
                                  (2**64 - 1, (NO_SNAPSHOT, 0))):
            with self.subTest(applied=applied):
                async with self.dial(source.port) as dialled:
                    await dialled.until_connected()
                    dialled.send(HELLO_STREAM, hello(last_applied=applied), end=True)
                    said = await dialled.until_ack()
                    self.assertEqual((said["snapshot_lsn"], said["snapshot_bytes_total"]), expected)

    async def test_the_source_reports_the_name_of_the_certificate_and_the_database(self):
        source = self.listen()
        async with self.dial(source.port) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, hello(database="a\x1b[2Jb\n", last_applied=7), end=True)
            await dialled.until_ack()
            said = await asyncio.to_thread(source.line)
            self.assertRegex(said, r"^127\.0\.0\.1:\d+ names=eu-1 database=a\\x1b\[2Jb\\x0a last_applied=7 accepted ")

    async def test_a_cluster_id_in_another_case_is_accepted_and_answered_in_the_sources_own(self):
        await self.accepted(hello(cluster="PROD-Us"))

    async def test_a_hello_without_end_of_stream_is_answered_at_once(self):
        await self.accepted(hello(), end=False)

    async def test_a_hello_of_single_bytes_is_accepted(self):
        async with self.dial() as dialled:
            await dialled.until_connected()
            pieces = [bytes([byte]) for byte in hello()]
            for number, piece in enumerate(pieces):
                dialled.send(HELLO_STREAM, piece)
                if number < 8:  # header and first bytes: each has arrived before the next one leaves
                    await asyncio.wait_for(dialled.ping(), DEADLINE_S)
                    self.assertEqual(dialled.stream(HELLO_STREAM).data, b"")
            self.assertEqual(await dialled.until_ack(), ack_fields())

    async def test_a_hello_of_exactly_4096_bytes_is_accepted(self):
        await self.accepted(hello_of_payload_bytes(4096))

    async def test_leniencies_on_the_wire(self):
        fields = hello_fields()
        for name, payload in {
            "another order": msgpack.packb(dict(reversed(fields.items()))),
            "wide forms": wide_map(fields),
            "map16": b"\xde\x00\x04" + msgpack.packb(fields)[1:],
            "bytes after the map": msgpack.packb(fields) + b"\xc1 anything",
        }.items():
            with self.subTest(name):
                await self.accepted(frame(HELLO, payload))


class Refused(HandshakeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.listen("--database", "orders")

    async def test_another_cluster_id(self):
        for cluster in ("prod-eu", "prod-us.", "", "prod-us\0", "a" * 1000):
            with self.subTest(cluster=cluster):
                await self.refused(hello(cluster=cluster), 0x01)

    async def test_another_version(self):
        for version in (0, 2, 0xFFFF):
            with self.subTest(version=version):
                await self.refused(hello(version=version), 0x03)

    async def test_an_unknown_database(self):
        for database in ("users", "", "Orders", "../orders", "\x1b]0;x\x07" * 400):
            with self.subTest(database=database):
                await self.refused(hello(database=database), 0x04)

    async def test_the_version_is_judged_before_the_cluster_id_and_that_before_the_database(self):
        await self.refused(hello(version=9, cluster="other", database="none"), 0x03)
        await self.refused(hello(cluster="other", database="none"), 0x01)

    async def test_a_hello_of_4097_bytes(self):
        await self.refused(hello_of_payload_bytes(4097), 0x10)

    async def test_a_length_that_never_comes_is_refused_by_its_header(self):
        for length in (4097, 2**32 - 1):
            with self.subTest(length=length):
                await self.refused(bytes([HELLO]) + length.to_bytes(4, "big"), 0x10, end=False)

    async def test_a_hello_cut_off_by_the_end_of_the_stream(self):
        whole = hello()
        for size in (0, 1, 4, 5, 6, len(whole) - 1):
            with self.subTest(size=size):
                await self.refused(whole[:size], 0x10)

    async def test_fields_that_are_unknown_doubled_missing_or_of_a_wrong_type(self):
        fields = hello_fields()
        packed = msgpack.packb(fields)
        one_more = msgpack.packb("last_applied_lsn") + msgpack.packb(0)
        for name, payload in {
            "unknown": msgpack.packb({**fields, "extra": 1}),
            "doubled": b"\x85" + packed[1:] + one_more,
            "missing": msgpack.packb({name: fields[name] for name in list(fields)[:3]}),
            "array": msgpack.packb(list(fields.values())),
            "not a map": msgpack.packb(7),
            "empty": b"",
            "number as text": msgpack.packb({**fields, "protocol_version": "1"}),
            "text as number": msgpack.packb({**fields, "source_cluster": 1}),
            "negative": msgpack.packb({**fields, "last_applied_lsn": -1}),
            "version over 16 bits": msgpack.packb({**fields, "protocol_version": 0x10001}),
            "not UTF-8": packed.replace(b"prod-us", b"prod-\xff\xff"),
            "map cut off": packed[:-1],
            "a map of 2^32-1": b"\xdf\xff\xff\xff\xff",
        }.items():
            with self.subTest(name):
                await self.refused(frame(HELLO, payload), 0x10)

    async def test_a_first_frame_of_another_kind(self):
        for kind in (0x00, 0x02, 0x08, 0x2F, 0x40, 0x7F, 0x80, 0xFF):
            with self.subTest(kind=kind):
                await self.refused(frame(kind, msgpack.packb(hello_fields())), 0x10)

    async def test_a_first_frame_of_a_voter_is_an_observer_role_violation(self):
        for kind in range(0x30, 0x40):
            with self.subTest(kind=kind):
                said = await self.refused(frame(kind, b"vote"), 0x02)
                self.assertIn(f"{kind:#04x}", said["error_detail"])


class Silent(HandshakeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.listen()

    async def closed_after_five_seconds(self, data):
        began = time.monotonic()
        async with self.dial() as dialled:
            await dialled.until_connected()
            if data:
                dialled.send(HELLO_STREAM, data)
            self.assert_closed_with(await dialled.until_ended(), 0x11)
            self.assertTrue(4.5 < time.monotonic() - began < 30, time.monotonic() - began)
            self.assertEqual(dialled.stream(HELLO_STREAM).data, b"")

    async def test_no_hello_and_half_a_hello_are_closed_after_five_seconds(self):
        await asyncio.gather(*map(self.closed_after_five_seconds, (b"", hello()[:3], hello()[:-1])))

    async def test_silent_mirrors_hold_no_other_back(self):
        async with self.dial() as silent:
            await silent.until_connected()
            await self.accepted(hello())
            self.assertIsNone(silent.end)


if __name__ == "__main__":
    unittest.main(verbosity=2)
