"""aioquic as the mirror, `crosslink listen` as the source: streams beyond the hello's, roles, credit, windows."""

import contextlib
import unittest

import msgpack
from peer import (FAILURE, HELLO_STREAM, SECOND_STREAM, THIRD_STREAM, InteropTest, ack_fields, frame, hello, mirror,
                  split_frames)

STREAM_WINDOW_BYTES = 64 * 1024
CONNECTION_WINDOW_BYTES = 512 * 1024
STREAMS_BEFORE, STREAMS_AFTER = 1, 5
REQUEST_BYTES_MAX = 64 * 1024


class StreamsTest(InteropTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.listen()

    @contextlib.asynccontextmanager
    async def accepted(self):
        async with mirror(self.source.port, self.eu_1, ca=self.prod_us.ca) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, hello(), end=True)
            self.assertEqual(await dialled.until_ack(), ack_fields())
            await dialled.until(lambda: dialled.streams_allowed() >= STREAMS_AFTER, "credit for more streams")
            yield dialled

    async def failure(self, dialled, stream_id):
        """The one Failure frame on a stream that then ends."""
        await dialled.until_frame(stream_id)
        stream = dialled.stream(stream_id)
        await dialled.until(lambda: stream.ended, f"the end of stream {stream_id}")
        [(kind, payload)] = split_frames(stream.data)
        self.assertEqual(kind, FAILURE)
        said = msgpack.unpackb(payload)
        self.assertTrue(said["detail"].isprintable() and len(said["detail"].encode()) <= 512, said)
        return said


class ObserverRole(StreamsTest):
    async def test_a_voters_frame_on_a_second_stream_gets_an_ack_with_2_and_closes_with_2(self):
        for kind in range(0x30, 0x40):
            with self.subTest(kind=kind):
                async with self.accepted() as dialled:
                    dialled.send(SECOND_STREAM, frame(kind, b"vote for me"))
                    said = await dialled.until_ack(SECOND_STREAM)
                    self.assertEqual((said["accepted"], said["error_code"]), (False, 0x02))
                    self.assertIn(f"{kind:#04x}", said["error_detail"])
                    self.assert_closed_with(await dialled.until_ended(), 0x02)

    async def test_its_header_alone_is_enough(self):
        async with self.accepted() as dialled:
            dialled.send(SECOND_STREAM, b"\x30\xff\xff\xff\xff")
            self.assertEqual((await dialled.until_ack(SECOND_STREAM))["error_code"], 0x02)
            self.assert_closed_with(await dialled.until_ended(), 0x02)

    async def test_it_is_found_behind_a_skippable_frame_and_beside_other_streams(self):
        async with self.accepted() as dialled:
            dialled.send(SECOND_STREAM, frame(0x85, b"later")[:7])
            dialled.send(THIRD_STREAM, b"\x50\x00")
            dialled.send(SECOND_STREAM, frame(0x85, b"later")[7:] + frame(0x3A, b""))
            self.assertEqual((await dialled.until_ack(SECOND_STREAM))["error_code"], 0x02)
            self.assert_closed_with(await dialled.until_ended(), 0x02)


class Requests(StreamsTest):
    async def test_an_unknown_kind_gets_a_failure_that_names_it_and_the_session_goes_on(self):
        async with self.accepted() as dialled:
            for number, kind in enumerate((0x01, 0x02, 0x08, 0x20, 0x50, 0x60, 0x7F, 0xC0, 0xFF)):
                stream_id = SECOND_STREAM + 4 * number
                dialled.send(stream_id, frame(kind, b"\x80"), end=True)
                said = await self.failure(dialled, stream_id)
                self.assertEqual(said["kind"], "ProtocolViolation")
                self.assertIn(f"{kind:#04x}", said["detail"])
            self.assertIsNone(dialled.end)

    async def test_skippable_kinds_are_passed_over(self):
        async with self.accepted() as dialled:
            skipped = b"".join(frame(kind, b"x" * kind) for kind in range(0x80, 0xC0))
            dialled.send(SECOND_STREAM, skipped + frame(0x51, b""))
            self.assertIn("0x51", (await self.failure(dialled, SECOND_STREAM))["detail"])

    async def test_a_request_of_single_bytes_is_read(self):
        async with self.accepted() as dialled:
            for byte in frame(0x52, b"abc"):
                dialled.send(SECOND_STREAM, bytes([byte]))
            self.assertIn("0x52", (await self.failure(dialled, SECOND_STREAM))["detail"])

    async def test_a_request_of_64_kib_is_read_and_a_longer_one_is_not(self):
        async with self.accepted() as dialled:
            dialled.send(SECOND_STREAM, frame(0x53, b"x" * REQUEST_BYTES_MAX))
            self.assertIn("0x53", (await self.failure(dialled, SECOND_STREAM))["detail"])
            dialled.send(THIRD_STREAM, b"\x53" + (REQUEST_BYTES_MAX + 1).to_bytes(4, "big"))
            said = await self.failure(dialled, THIRD_STREAM)
            self.assertEqual(said["kind"], "ProtocolViolation")
            self.assertIn(str(REQUEST_BYTES_MAX + 1), said["detail"])
            self.assertIsNone(dialled.end)

    async def test_a_request_cut_off_by_the_end_of_its_stream_costs_only_that_stream(self):
        async with self.accepted() as dialled:
            dialled.send(SECOND_STREAM, frame(0x54, b"abc")[:-1], end=True)
            await self.failure(dialled, SECOND_STREAM)
            dialled.send(THIRD_STREAM, frame(0x54, b"abc"), end=True)
            self.assertIn("0x54", (await self.failure(dialled, THIRD_STREAM))["detail"])

    async def test_a_reset_stream_costs_only_itself(self):
        async with self.accepted() as dialled:
            dialled.send(SECOND_STREAM, b"\x50\x00")
            dialled.quic.reset_stream(SECOND_STREAM, 0x77)
            dialled.transmit()
            dialled.send(THIRD_STREAM, frame(0x55, b""), end=True)
            self.assertIn("0x55", (await self.failure(dialled, THIRD_STREAM))["detail"])

    async def test_four_silent_streams_do_not_stop_a_fifth(self):
        async with self.accepted() as dialled:
            fifth = HELLO_STREAM + 4 * STREAMS_AFTER
            for stream_id in range(SECOND_STREAM, fifth, 4):
                dialled.send(stream_id, b"\x50\x00\x00")
            dialled.send(fifth, frame(0x56, b""), end=True)
            self.assertIn("0x56", (await self.failure(dialled, fifth))["detail"])
            self.assertEqual({dialled.stream(stream_id).data for stream_id in range(SECOND_STREAM, fifth, 4)}, {b""})


class CreditAndWindows(StreamsTest):
    async def test_one_stream_is_allowed_before_acceptance_and_five_after(self):
        async with mirror(self.source.port, self.eu_1, ca=self.prod_us.ca) as dialled:
            await dialled.until_connected()
            self.assertEqual(dialled.streams_allowed(), STREAMS_BEFORE)
            dialled.send(HELLO_STREAM, hello()[:10])
            dialled.send(SECOND_STREAM, frame(0x50, b""), end=True)
            self.assertEqual(dialled.bytes_sent(SECOND_STREAM), 0)
            dialled.send(HELLO_STREAM, hello()[10:])
            self.assertEqual(await dialled.until_ack(), ack_fields())
            await self.failure(dialled, SECOND_STREAM)  # what waited for credit went out by itself
            # The limit counts every stream ever opened: two of them may be over by now.
            self.assertIn(dialled.streams_allowed(), range(STREAMS_AFTER, STREAMS_AFTER + 3))

    async def test_a_refused_mirror_never_gets_more_than_one_stream_at_once(self):
        async with mirror(self.source.port, self.eu_1, ca=self.prod_us.ca) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, hello(version=7), end=True)
            self.assert_closed_with(await dialled.until_ended(), 0x03)
            # The limit counts every stream ever opened: the hello's is over by now.
            self.assertLessEqual(dialled.streams_allowed(), STREAMS_BEFORE + 1)

    async def test_credit_comes_back_when_streams_end(self):
        async with self.accepted() as dialled:
            for number in range(1, 4 * STREAMS_AFTER):
                stream_id = SECOND_STREAM + 4 * (number - 1)
                dialled.send(stream_id, frame(0x50, b""), end=True)
                await self.failure(dialled, stream_id)

    async def test_never_more_than_five_streams_are_open_at_once(self):
        async with self.accepted() as dialled:
            await dialled.until(lambda: dialled.stream(HELLO_STREAM).ended, "the end of the handshake's stream")
            allowed = dialled.streams_allowed()
            for number in range(1, allowed + 3):
                dialled.send(HELLO_STREAM + 4 * number, b"\x50")
            last = HELLO_STREAM + 4 * (allowed + 2)
            self.assertEqual(dialled.bytes_sent(last), 0)
            self.assertLessEqual(allowed, STREAMS_AFTER + 1)

    async def test_windows_are_64_kib_per_stream_and_512_kib_per_connection(self):
        async with mirror(self.source.port, self.eu_1, ca=self.prod_us.ca) as dialled:
            await dialled.until_connected()
            self.assertEqual(dialled.stream_window_bytes(), STREAM_WINDOW_BYTES)
            self.assertEqual(dialled.connection_window_bytes(), CONNECTION_WINDOW_BYTES)

    async def test_what_the_source_does_not_read_is_held_back_by_the_window(self):
        async with mirror(self.source.port, self.eu_1, ca=self.prod_us.ca) as dialled:
            await dialled.until_connected()
            dialled.send(HELLO_STREAM, hello() + b"x" * 16 * STREAM_WINDOW_BYTES)
            self.assertEqual(await dialled.until_ack(), ack_fields())
            stream = dialled.stream(HELLO_STREAM)
            await dialled.until(lambda: stream.stopped_code is not None, "to be told that this stream is not read")
            # At most the window, and what had been read before the source stopped reading: the hello.
            self.assertLessEqual(dialled.bytes_sent(HELLO_STREAM), STREAM_WINDOW_BYTES + len(hello()))
            dialled.send(SECOND_STREAM, frame(0x50, b""), end=True)
            await self.failure(dialled, SECOND_STREAM)


if __name__ == "__main__":
    unittest.main(verbosity=2)
