"""What an older program left behind (tests/fixtures), for tests that go on from it: node folders, and recordings of its sessions."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import msgpack

from node_support import DEADLINE_S, Node

sys.path.append(str(Path(__file__).parents[1] / "interop"))
import peer as quic  # noqa: E402

FIXTURES = Path(__file__).parents[1] / "fixtures"

SESSION_BEGIN, PROBE, PROBE_REPLY, LIMIT = 0x08, 0x09, 0x0A, 0x0B
SNAPSHOT_REQUEST, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_ACK = 0x10, 0x11, 0x12, 0x13
LOG_REQUEST, LOG_BEGIN, LOG_BATCH, ENTRY_FRAGMENT, LOG_ACK = 0x20, 0x21, 0x22, 0x23, 0x24
VERIFY, VERIFY_BEGIN, VERIFY_AT = range(0x40, 0x45), 0x40, 0x41


class FoundNode(Node):
    """A node whose folder and config are there already."""

    def __init__(self, folder, cluster):  # pylint: disable=super-init-not-called
        self.folder, self.cluster = Path(folder), cluster
        self.config = self.folder / "node.toml"
        self.start()


def unpack(version, folder):
    """The folders that the program of this version left. Their files are as old as their unpacking: how old the log
    is that a source keeps goes by that."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xJp", "--touch", "--no-same-owner", "-f", FIXTURES / version / "nodes.tar.xz", "-C", folder],
                   check=True, timeout=DEADLINE_S)


def whole_frames(data):
    """(the whole frames at the beginning, bytes that they take); a frame is its kind, its length and its payload."""
    frames, begin = [], 0
    while len(data) - begin >= 5:
        end = begin + 5 + int.from_bytes(data[begin + 1:begin + 5], "big")
        if end > len(data):
            break
        frames.append(bytes(data[begin:end]))
        begin = end
    return frames, begin


class Frames:
    """What the other side of a connection said, frame by frame, each once."""

    def __init__(self, peer):
        self.peer, self.taken = peer, {}

    def take(self):
        """[(stream, frame)] that came since the last time."""
        found = []
        for number, stream in sorted(self.peer.streams.items()):
            begin = self.taken.get(number, 0)
            frames, length = whole_frames(stream.data[begin:])
            self.taken[number] = begin + length
            found += [(number, frame) for frame in frames]
        return found


def fields(frame):
    """The map in a frame; (map, data behind it) of a bulk frame."""
    reader = msgpack.Unpacker()
    reader.feed(frame[5:])
    return reader.unpack()


def data_of(frame):
    reader = msgpack.Unpacker()
    reader.feed(frame[5:])
    reader.skip()
    return frame[5 + reader.tell():]


def reply_to(probe, reply):
    """The reply that was recorded, to another probe: with this one's t0."""
    answer = fields(reply)
    assert quic.frame(PROBE_REPLY, msgpack.packb(answer)) == reply, "packed otherwise than here"
    return quic.frame(PROBE_REPLY, msgpack.packb({**answer, "t0_us": fields(probe)["t0_us"]}))


class Session:
    """A recorded session: [side, stream, frame in base64] in the order in which they came."""

    def __init__(self, recorded):
        self.said = [(side, stream, base64.b64decode(frame)) for side, stream, frame in recorded]

    def frames(self, side, *kinds):
        return [frame for who, _, frame in self.said if who == side and (not kinds or frame[0] in kinds)]

    def one(self, side, kind):
        [frame] = self.frames(side, kind)
        return frame


def sessions(folder):
    return [Session(one) for one in json.loads((folder / "wire.json").read_text(encoding="utf-8"))]
