"""The other side of the interop tests: aioquic, an independent QUIC implementation, as a mirror or as a source.

What is covered by which side: aioquic as a server asks for a client certificate and checks that the client owns its
key, but it does not judge the chain or the names; the tests compare the certificate it received with the one that was
given out. Everything else about certificates is judged by crosslink, in both roles. As a client aioquic checks chain
and name itself.

Some private members of aioquic are used: asking for a client certificate, limits told by the peer and bytes sent have
no public form. The version is pinned in requirements.txt.
"""

import asyncio
import contextlib
import datetime
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

import msgpack
from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGRAM = os.environ.get("CROSSLINK_PROGRAM")
DEADLINE_S = 40
ALPN = "crosslink/1"
NO_SNAPSHOT = 2**64 - 1
PAYLOAD_BYTES_MAX = 4096

HELLO, ACK, FAILURE = 0x01, 0x02, 0x7F
HELLO_STREAM, SECOND_STREAM, THIRD_STREAM = 0, 4, 8
HELLO_FIELDS = ["source_cluster", "source_database_id", "last_applied_lsn", "protocol_version"]
ACK_FIELDS = ["accepted", "error_code", "error_detail", "source_cluster_id", "snapshot_lsn", "snapshot_bytes_total"]
# RFC 9001, section 4.8: QUIC error codes that carry a TLS alert. RFC 9000, section 19.6: the frame that carries TLS.
TLS_ALERTS = range(0x100, 0x200)
CRYPTO_FRAME = 0x06


# --- bytes of the handshake, made without crosslink ---

def frame(kind, payload):
    return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


def split_frames(data):
    """[(kind, payload)] of complete frames; raises ValueError if anything is left over."""
    frames = []
    while data:
        length = int.from_bytes(data[1:5], "big")
        if len(data) < 5 + length:
            raise ValueError(f"a frame is cut off: {data!r}")
        frames.append((data[0], data[5:5 + length]))
        data = data[5 + length:]
    return frames


def hello_fields(cluster="prod-us", database="orders", last_applied=0, version=1):
    return dict(zip(HELLO_FIELDS, [cluster, database, last_applied, version]))


def hello(**changes):
    return frame(HELLO, msgpack.packb(hello_fields(**changes)))


def hello_of_payload_bytes(size):
    """A good hello, its database's name so long that the payload has exactly this size."""
    padding = size - len(msgpack.packb(hello_fields(database="x" * 300))) + 300
    made = hello(database="x" * padding)
    assert len(made) == 5 + size
    return made


def ack_fields(accepted=True, error_code=0, detail="", cluster="prod-us", snapshot_lsn=NO_SNAPSHOT, snapshot_bytes=0):
    return dict(zip(ACK_FIELDS, [accepted, error_code, detail, cluster, snapshot_lsn, snapshot_bytes]))


def ack(**changes):
    return frame(ACK, msgpack.packb(ack_fields(**changes)))


def refusal(code, detail="no"):
    return ack(accepted=False, error_code=code, detail=detail, snapshot_lsn=0)


def wide_map(fields):
    """The same fields in the widest forms MessagePack has: map32, str32, uint64."""
    def text(value):
        encoded = value.encode()
        return b"\xdb" + len(encoded).to_bytes(4, "big") + encoded

    def value(of):
        if isinstance(of, bool):
            return b"\xc3" if of else b"\xc2"
        return text(of) if isinstance(of, str) else b"\xcf" + of.to_bytes(8, "big")

    return b"\xdf" + len(fields).to_bytes(4, "big") + b"".join(text(name) + value(of) for name, of in fields.items())


def decode_exactly(data, kind, names):
    """Fields of the one frame in `data`, which must be in contract order and in smallest forms: byte for byte."""
    frames = split_frames(data)
    if [found for found, _ in frames] != [kind]:
        raise AssertionError(f"not one frame of kind {kind:#04x}: {data!r}")
    fields = dict(msgpack.unpackb(frames[0][1], object_pairs_hook=list))
    if list(fields) != names:
        raise AssertionError(f"fields are {list(fields)}, not {names}")
    if msgpack.packb(fields) != frames[0][1]:
        raise AssertionError(f"not in smallest forms: {frames[0][1].hex()}")
    return fields


# --- certificates ---

@dataclass
class Credentials:
    ca: Path
    certificate: Path
    key: Path

    def arguments(self):
        return ["--ca", self.ca, "--cert", self.certificate, "--key", self.key]

    def der(self):
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)


class Authority:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {self.folder.name}")])
        built = self._builder(self.name, self.key, *self._validity(0, 10))
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        signs_certificates = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        built = built.add_extension(signs_certificates, critical=True)
        self._write("ca.pem", built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, label, dns=(), common_name=None, from_days=0, to_days=5):
        """A leaf for both roles; `dns` are its subjectAltNames, validity counts in days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
        built = self._builder(subject, key, *self._validity(from_days, to_days))
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        both_roles = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        built = built.add_extension(both_roles, critical=False)
        if dns:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns])
            built = built.add_extension(names, critical=False)
        pem = built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Credentials(self.folder / "ca.pem", self._write(f"{label}.pem", pem),
                           self._write(f"{label}.key", self._pem(key)))

    def own_credentials(self):
        """The CA's own certificate, used as a leaf."""
        return Credentials(self.folder / "ca.pem", self.folder / "ca.pem", self._write("ca.key", self._pem(self.key)))

    @staticmethod
    def _pem(key):
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                 serialization.NoEncryption())

    def _builder(self, subject, key, begin, end):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end))

    @staticmethod
    def _validity(from_days, to_days):
        now = datetime.datetime.now(datetime.timezone.utc)
        an_hour_ago = now - datetime.timedelta(hours=1)
        return an_hour_ago + datetime.timedelta(days=from_days), an_hour_ago + datetime.timedelta(days=to_days)

    def _write(self, name, data):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path


# --- aioquic, in either role ---

@dataclass
class Stream:
    data: bytes = b""
    ended: bool = False
    reset_code: int | None = None
    stopped_code: int | None = None


class Peer(QuicConnectionProtocol):
    """One connection: remembers what crosslink did, and lets a test wait for it with a deadline."""

    def __init__(self, quic):
        super().__init__(quic)
        self.quic = quic
        self.streams = {}
        self.connected = None
        self.end = None
        self.changed = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, events.HandshakeCompleted):
            self.connected = event
        elif isinstance(event, events.ConnectionTerminated):
            self.end = event
        elif isinstance(event, events.StreamDataReceived):
            self.stream(event.stream_id).data += event.data
            self.stream(event.stream_id).ended |= event.end_stream
        elif isinstance(event, events.StreamReset):
            self.stream(event.stream_id).reset_code = event.error_code
        elif isinstance(event, events.StopSendingReceived):
            self.stream(event.stream_id).stopped_code = event.error_code
        self.changed.set()

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.changed.set()

    def stream(self, stream_id):
        return self.streams.setdefault(stream_id, Stream())

    def send(self, stream_id, data, end=False):
        self.quic.send_stream_data(stream_id, data, end_stream=end)
        self.transmit()

    async def until(self, condition, what):
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    if self.end is not None:
                        raise AssertionError(f"the connection ended while waiting for {what}: {self.end}")
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}; so far: {self.streams}") from None

    async def until_connected(self):
        await self.until(lambda: self.connected is not None, "the end of the TLS handshake")

    async def until_ended(self):
        """How the connection ended, as aioquic saw it."""
        await self.until(lambda: self.end is not None, "the end of the connection")
        return self.end

    async def until_frame(self, stream_id=HELLO_STREAM):
        """The bytes of the stream once a whole frame is there."""
        stream = self.stream(stream_id)

        def whole():
            return len(stream.data) >= 5 and len(stream.data) >= 5 + int.from_bytes(stream.data[1:5], "big")

        await self.until(whole, f"a frame on stream {stream_id}")
        return stream.data

    async def until_ack(self, stream_id=HELLO_STREAM):
        return decode_exactly(await self.until_frame(stream_id), ACK, ACK_FIELDS)

    # What the other side allows us.
    def streams_allowed(self):
        return self.quic._remote_max_streams_bidi

    def stream_window_bytes(self):
        return self.quic._remote_max_stream_data_bidi_remote

    def connection_window_bytes(self):
        return self.quic._remote_max_data

    def bytes_sent(self, stream_id):
        return self.quic._streams[stream_id].sender.highest_offset

    def peer_certificate_der(self):
        certificate = self.quic.tls._peer_certificate
        return certificate and certificate.public_bytes(serialization.Encoding.DER)


def _configuration(is_client, credentials, alpn):
    configuration = QuicConfiguration(is_client=is_client, alpn_protocols=[alpn], idle_timeout=DEADLINE_S)
    if credentials is not None:
        configuration.load_cert_chain(credentials.certificate, credentials.key)
    return configuration


@contextlib.asynccontextmanager
async def mirror(port, credentials, *, ca, server_name="prod-us", alpn=ALPN):
    """Dials as a client. Connecting may still fail: wait for until_connected() or until_ended()."""
    configuration = _configuration(True, credentials, alpn)
    configuration.server_name = server_name
    configuration.load_verify_locations(cafile=str(ca))
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Peer(QuicConnection(configuration=configuration)), local_addr=("127.0.0.1", 0))
    try:
        peer.connect(("127.0.0.1", port))
        yield peer
    finally:
        peer.close()
        async with asyncio.timeout(DEADLINE_S):
            await peer.wait_closed()
        transport.close()


class ScriptedSource:
    """A server that plays `script(peer)` for each connection. `peers` are all it has seen, in order."""

    def __init__(self, script):
        self.script = script
        self.peers = []
        self.plays = []
        self.port = None

    def new_peer(self, quic, stream_handler=None):
        initialize = quic._initialize

        def initialize_and_ask_for_a_certificate(*arguments, **options):
            initialize(*arguments, **options)
            quic.tls._request_client_certificate = True

        quic._initialize = initialize_and_ask_for_a_certificate
        peer = Peer(quic)
        self.peers.append(peer)
        self.plays.append(asyncio.get_running_loop().create_task(self.script(peer)))
        return peer


@contextlib.asynccontextmanager
async def source(script, credentials, alpn=ALPN):
    scripted = ScriptedSource(script)
    server = await serve("127.0.0.1", 0, configuration=_configuration(False, credentials, alpn),
                         create_protocol=scripted.new_peer)
    scripted.port = server._transport.get_extra_info("sockname")[1]
    try:
        yield scripted
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*scripted.plays)
    finally:
        for play in scripted.plays:
            play.cancel()
        await asyncio.gather(*scripted.plays, return_exceptions=True)
        server.close()


# --- the program ---

@dataclass
class Said:
    """What `crosslink ping -o json` said, with which exit code; after how long it said so, and how long it lived."""
    code: int
    json: dict
    answer_seconds: float
    seconds: float


async def ping(port, credentials, *more, cluster="prod-us", database="orders"):
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "ping", "--addr", f"127.0.0.1:{port}", "--cluster-id", cluster, "--database", database,
        *map(str, credentials.arguments()), "-o", "json", *map(str, more),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(DEADLINE_S):
            first = await process.stdout.readline()
            answered = time.monotonic()
            rest, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    out = first + rest
    if process.returncode < 0 or not out or err:
        raise AssertionError(f"ping ended with {process.returncode}; stderr: {err.decode()}")
    return Said(process.returncode, json.loads(out), answered - began, time.monotonic() - began)


class Listening:
    """`crosslink listen` in the background on a port the kernel chose."""

    def __init__(self, credentials, *more, cluster="prod-us"):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PROGRAM, "listen", "--addr", "127.0.0.1:0", "--cluster-id", cluster, *map(str, credentials.arguments()),
             *map(str, more)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        first = self.line()
        if not first.startswith("listening 127.0.0.1:"):
            self.stop()
            raise AssertionError(f"listen began with {first!r}")
        self.port = int(first.rsplit(":", 1)[1])

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("")

    def line(self):
        try:
            return self.lines.get(timeout=DEADLINE_S)
        except queue.Empty:
            return ""

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def stop(self):
        """Ends it as an operator would; it must have lived until now and go cleanly."""
        died_with = self.process.poll()
        if died_with is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = f"{self.process.wait()} (killed: it did not end on SIGTERM)"
        self.reader.join()
        self.process.stdout.close()
        said = self.stderr()
        self.errors.close()
        if died_with is not None or code != 0:
            raise AssertionError(f"listen ended with {code} (before SIGTERM: {died_with}); stderr: {said}")


class InteropTest(unittest.IsolatedAsyncioTestCase):
    """A folder with a CA, the certificates of the source prod-us and the mirror eu-1, and an unknown CA."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="crosslink-interop-")
        cls.addClassCleanup(folder.cleanup)
        cls.authority = Authority(Path(folder.name) / "known")
        cls.other_authority = Authority(Path(folder.name) / "unknown")
        cls.prod_us = cls.authority.issue("prod-us", ["prod-us"])
        cls.eu_1 = cls.authority.issue("eu-1", ["eu-1"])

    async def asyncSetUp(self):
        # unittest turns on asyncio's warnings about slow steps; starting a process is one.
        asyncio.get_running_loop().slow_callback_duration = DEADLINE_S

    @classmethod
    def listen(cls, *more, credentials=None):
        """A source that lives as long as the tests of this class."""
        listening = Listening(credentials or cls.prod_us, *more)
        cls.addClassCleanup(listening.stop)
        return listening

    def assert_closed_with(self, end, code):
        """An application close by the peer, which aioquic tells from a transport close by the missing frame type."""
        self.assertEqual((end.error_code, end.frame_type), (code, None), end)

    def assert_tls_alert(self, end):
        self.assertIn(end.error_code, TLS_ALERTS, end)
        self.assertIsNotNone(end.frame_type, end)
