#!/usr/bin/env python3
"""Makes fuzz/corpus from the golden vectors: what the fuzzers start from and what every build replays.

make_corpus.py           writes the files
make_corpus.py --check   fails if the committed files are not what would be written
"""
import json
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


def main():
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    made = {}
    for area, inputs in (("handshake", handshake_inputs), ("frame", frame_inputs)):
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
