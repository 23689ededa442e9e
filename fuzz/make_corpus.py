#!/usr/bin/env python3
"""Makes fuzz/corpus, from the golden vectors and by hand: what the fuzzers start from and what every build replays.

make_corpus.py           writes the files
make_corpus.py --check   fails if the committed files are not what would be written
"""
import json
import random
import struct
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
VECTORS = FOLDER.parent / "tests" / "unit" / "handshake_vectors.json"
HEADER_BYTES = 5


def frame(kind, payload):
    return struct.pack(">BI", kind, len(payload)) + payload


def text(value):
    raw = value.encode()
    return struct.pack(">BH", 0xDA, len(raw)) + raw


def wide(value):
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    return text(value) if isinstance(value, str) else struct.pack(">BQ", 0xCF, value)


def wide_map(head, fields):
    """Every field in its widest form, behind `head`."""
    return head + b"".join(text(name) + wide(value) for name, value in fields)


def handshake_inputs(vectors):
    for message, entries in vectors.items():
        for number, entry in enumerate(entries):
            yield f"{message}_{number:02}", bytes.fromhex(entry["frame_hex"])[HEADER_BYTES:]
        fields = [(name, value) for name, value in entries[0].items() if name != "frame_hex"]
        count = len(fields)
        whole = wide_map(struct.pack(">BH", 0xDE, count), fields)
        yield f"{message}_map16_wide", whole
        yield f"{message}_map32_reversed", wide_map(struct.pack(">BI", 0xDF, count), fields[::-1])
        yield f"{message}_bytes_after", whole + b"\xc1\xff\x00"
        yield f"{message}_cut_short", whole[:-3]
        yield f"{message}_doubled", wide_map(bytes([0x81 + count]), fields + fields[:1])
        yield f"{message}_unknown", wide_map(bytes([0x81 + count]), fields + [("extra", 1)])
        yield f"{message}_hostile_count", wide_map(b"\xdf\xff\xff\xff\xff", fields)
        yield f"{message}_array", bytes([0x90 + count]) + b"".join(wide(value) for _, value in fields)
    yield "hostile_text", b"\x84\xdb\xff\xff\xff\xff"
    yield "nested", b"\x81\xa1x" + b"\x91" * 64
    failure = [("kind", "HistoriesParted"), ("detail", 'at "17"\n')]
    yield "failure", wide_map(b"\x82", failure)
    yield "failure_with_data", b"\x83" + wide_map(b"", failure) + text("data") + b"\x82\xa1a\x93\x01\xc0\xca\0\0\0\0\xa1b\xc4\x01x"


def frame_inputs(vectors):
    """[which bound][number of cuts][their sizes][the stream], see fuzz_frame.cpp."""
    frames = [bytes.fromhex(entries[0]["frame_hex"]) for entries in vectors.values()]
    stream = b"".join(frames)
    yield "in_one_piece", b"\x02\x00" + stream
    yield "byte_by_byte", b"\x02\x01\x01" + stream
    yield "with_empty_pieces", b"\x02\x03\x00\x05\x02" + stream
    yield "header_and_payload", b"\x02\x02\x05\x5a" + stream
    yield "cut_short", b"\x03\x01\x07" + stream[:-1]
    yield "no_payload", b"\x00\x01\x03" + frame(0x09, b"") * 4
    yield "at_the_bound", b"\x01\x01\x04" + frame(0x0C, b"1234567") * 2
    yield "over_the_bound", b"\x01\x01\x04" + frame(0x0C, b"12345678") * 2
    yield "four_gib", b"\x03\x01\x02\x22\xff\xff\xff\xff" + b"x" * 16
    yield "voter_class", b"\x02\x01\x02" + frame(0x30, b"vote") + frame(0x80, b"skipped")


def session_frame_inputs(vectors):
    """[kind][payload], see fuzz_session_frames.cpp."""
    del vectors
    yield "probe", b"\x09" + wide_map(b"\x81", [("t0_us", 1)])
    yield "probe_reply", b"\x0a" + wide_map(b"\x82", [("t0_us", 1), ("head", 7)])
    yield "limit", b"\x0b" + wide_map(b"\x82", [("bytes_per_s", 1000), ("paused", True)])
    yield "notice", b"\x0c" + wide_map(b"\x81", [("snapshot_queue", 1)])
    yield "log_begin", b"\x21" + wide_map(b"\x83", [("head", 9), ("oldest", 1), ("from", 4)])
    batch = [("prev_lsn", 4), ("last_lsn", 6), ("count", 1), ("raw_bytes", 3), ("codec", "none"), ("crc32c", 5)]
    yield "log_batch", b"\x22" + wide_map(b"\x86", batch) + b"abc"
    yield "log_ack", b"\x24" + wide_map(b"\x83", [("applied", 6), ("durable", 4), ("released_bytes", 3)])
    yield "snapshot_ack", b"\x13" + wide_map(b"\x81", [("offset", 64)])
    chunk = [("offset", 0), ("crc32c", 5), ("done", True), ("total_crc32c", 5), ("consistent_lsn", 9)]
    yield "snapshot_chunk", b"\x12" + wide_map(b"\x85", chunk) + b"xyz"
    yield "verify_at", b"\x41" + wide_map(b"\x81", [("lsn", 7)])
    yield "range_digest", b"\x42\x80"
    yield "verify_end", b"\x44" + wide_map(b"\x82", [("outcome", "equal"), ("detail", "")])
    yield "failure", b"\x7f" + wide_map(b"\x83", [("kind", "SourceBehind"), ("detail", "why"), ("lsn", 4)])
    yield "unknown", b"\x15\x80"


def entry_inputs(vectors):
    """[odd: pairs][encodings], see fuzz_entries.cpp."""
    del vectors
    body = struct.pack(">QQ", 0, 7) + b"\x02\x01\x01a\x011\x04\x01b\x01c"
    entry = bytes([len(body)]) + body
    yield "put_and_range", b"\x00" + entry * 2
    yield "cut_short", b"\x00" + entry[:-1]
    yield "long_varint", b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + body
    yield "pairs", b"\x01" + b"\x01a\x011\x00" + b"\x01b\x00\x01" + struct.pack(">Q", 9)


def scripts(area, count):
    """Random, the same ones every time: each byte chooses a step or fills one in."""
    for number in range(count):
        dice = random.Random(f"{area} {number}")
        yield f"script_{number:02}", dice.randbytes(dice.randrange(200, 1500))


def main():
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    made = {}
    areas = (("handshake", handshake_inputs), ("frame", frame_inputs), ("session_frames", session_frame_inputs),
             ("entries", entry_inputs), ("source_session", lambda _: scripts("source", 24)),
             ("mirror_machine", lambda _: scripts("mirror", 24)))
    for area, inputs in areas:
        for name, data in inputs(vectors):
            made[FOLDER / "corpus" / area / f"{name}.bin"] = data
    if sys.argv[1:] == ["--check"]:
        different = [str(path) for path, data in made.items() if not path.is_file() or path.read_bytes() != data]
        if different:
            sys.exit("not what make_corpus.py writes: " + ", ".join(different))
    else:
        for path, data in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    print(f"{len(made)} files")


if __name__ == "__main__":
    main()
