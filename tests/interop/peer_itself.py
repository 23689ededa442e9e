"""The tests' own tools: the peer's bytes against the golden vectors, aioquic against aioquic, deadlines that fail."""

import json
import unittest
from pathlib import Path
from unittest import mock

import msgpack
import peer
from peer import (ACK, ACK_FIELDS, HELLO, HELLO_FIELDS, HELLO_STREAM, InteropTest, ack, ack_fields, decode_exactly,
                  frame, hello, hello_of_payload_bytes, mirror, source, split_frames, wide_map)

VECTORS = json.loads((Path(__file__).parent.parent / "unit" / "handshake_vectors.json").read_text(encoding="utf-8"))


class Bytes(unittest.TestCase):
    def test_hellos_and_acks_are_those_of_the_golden_vectors(self):
        for name, kind, fields in (("hello", HELLO, HELLO_FIELDS), ("ack", ACK, ACK_FIELDS)):
            for vector in VECTORS[name]:
                with self.subTest(vector=vector):
                    golden = bytes.fromhex(vector.pop("frame_hex"))
                    self.assertEqual(frame(kind, msgpack.packb({field: vector[field] for field in fields})), golden)
                    self.assertEqual(decode_exactly(golden, kind, fields), vector)

    def test_the_wide_form_means_the_same(self):
        self.assertEqual(msgpack.unpackb(wide_map(ack_fields())), ack_fields())

    def test_a_wide_form_or_another_order_is_told_from_the_exact_bytes(self):
        fields = ack_fields()
        for payload in (wide_map(fields), msgpack.packb(dict(reversed(fields.items())))):
            with self.assertRaises(AssertionError):
                decode_exactly(frame(ACK, payload), ACK, ACK_FIELDS)

    def test_a_hello_has_the_size_asked_for(self):
        for size in (4096, 4097):
            [(_, payload)] = split_frames(hello_of_payload_bytes(size))
            self.assertEqual(len(payload), size)

    def test_a_cut_frame_is_seen(self):
        with self.assertRaises(ValueError):
            split_frames(hello() + hello()[:-1])


class Connections(InteropTest):
    async def test_a_hello_and_an_ack_pass_with_both_certificates(self):
        async def answer(mirror_seen):
            data = await mirror_seen.until_frame()
            self.assertEqual(data, hello())
            self.assertEqual(mirror_seen.peer_certificate_der(), self.eu_1.der())
            mirror_seen.send(HELLO_STREAM, ack(), end=True)
            self.assertEqual((await mirror_seen.until_ended()).error_code, 0)

        async with source(answer, self.prod_us) as scripted:
            async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca) as dialled:
                await dialled.until_connected()
                dialled.send(HELLO_STREAM, hello(), end=True)
                self.assertEqual(await dialled.until_ack(), ack_fields())

    async def test_a_script_that_fails_fails_the_test(self):
        async def wrong(_):
            self.assertEqual(1, 2)

        with self.assertRaises(AssertionError):
            async with source(wrong, self.prod_us) as scripted:
                async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca) as dialled:
                    await dialled.until_connected()

    async def test_a_hang_is_a_failure(self):
        async def silent(mirror_seen):
            await mirror_seen.until_ended()

        async with source(silent, self.prod_us) as scripted:
            async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca) as dialled:
                await dialled.until_connected()
                with mock.patch.object(peer, "DEADLINE_S", 0.05):
                    with self.assertRaisesRegex(AssertionError, "in vain for a frame"):
                        await dialled.until_ack()

    async def test_a_closed_connection_ends_a_wait_at_once(self):
        async def close(mirror_seen):
            await mirror_seen.until_connected()
            mirror_seen.close(0x55)

        async with source(close, self.prod_us) as scripted:
            async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca) as dialled:
                with self.assertRaisesRegex(AssertionError, "ended while waiting for a frame"):
                    await dialled.until_ack()
                self.assert_closed_with(await dialled.until_ended(), 0x55)

    async def test_aioquic_refuses_a_source_of_an_unknown_ca(self):
        async def nothing(mirror_seen):
            await mirror_seen.until_ended()

        async with source(nothing, self.other_authority.issue("prod-us", ["prod-us"])) as scripted:
            async with mirror(scripted.port, self.eu_1, ca=self.prod_us.ca) as dialled:
                self.assert_tls_alert(await dialled.until_ended())


if __name__ == "__main__":
    unittest.main(verbosity=2)
