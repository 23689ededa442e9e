"""What the tests of the command line share: running the program, a source in the background, certificates."""

import json
import os
import queue
import random
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

PROGRAM = os.environ["CROSSLINK_PROGRAM"]
BENCH = os.environ.get("CROSSLINK_BENCH_PROGRAM")  # if it was built
DEADLINE_S = 60

ACK_FIELDS = ["accepted", "error_code", "error_detail", "source_cluster_id", "snapshot_lsn", "snapshot_bytes_total"]
FACT_FIELDS = ["tls_version", "cipher_suite", "alpn", "peer_names", "congestion", "congestion_window_bytes", "mtu",
               "handshake_ms", "round_trip_ms", "attempts"]
ERROR_FIELDS = ["error", "caused_by", "message"]
NO_SNAPSHOT = 2**64 - 1


def run(*arguments, program=PROGRAM, timeout=DEADLINE_S, **options):
    return subprocess.run([program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, **options)


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE_S)


def is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


RESERVATIONS = []  # open until this process ends


def unused_port():
    """For TCP and UDP, and no other test is given it while this process lives: the reservation is an abstract Unix socket,
    by the same names as reserved_port.hpp's. Below the range from which the kernel picks ports, so that it is not
    taken by chance."""
    while True:
        port = random.randint(10_000, 32_000)
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0crosslink-test-port-{port}")
        except OSError:
            reservation.close()
            continue
        RESERVATIONS.append(reservation)
        if is_free(port):
            return port


class Background:
    """The program running beside the test; its lines can be waited for. Ended, at the latest, by leaving the block."""

    def __init__(self, *arguments, program=PROGRAM, **options):
        self.process = subprocess.Popen([program, *map(str, arguments)], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.lines = {"stdout": queue.Queue(), "stderr": queue.Queue()}
        self.threads = [threading.Thread(target=self._read, args=(name,)) for name in self.lines]
        for thread in self.threads:
            thread.start()

    def _read(self, name):
        for line in getattr(self.process, name):
            self.lines[name].put(line.rstrip("\n"))
        self.lines[name].put(None)

    def line(self, name="stdout"):
        line = self.lines[name].get(timeout=DEADLINE_S)
        if line is None:
            raise AssertionError(f"{name} ended; stderr: {self.rest('stderr')}")
        return line

    def line_with(self, text, name="stdout"):
        while text not in (line := self.line(name)):
            pass
        return line

    def rest(self, name):
        """What is still unread, once the stream has ended."""
        found = []
        self.threads[list(self.lines).index(name)].join(DEADLINE_S)
        while not self.lines[name].empty():
            if (line := self.lines[name].get()) is not None:
                found.append(line)
        return found

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def wait(self):
        return self.process.wait(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self.threads:
            thread.join()
        self.process.stdout.close()
        self.process.stderr.close()


class CommandLineTest(unittest.TestCase):
    """A folder of its own with a CA and the certificates of prod-us (also known as prod-alias) and eu-1."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="crosslink-test-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = Path(cls.folder.name)
        cls.certificates = cls.path / "certs"
        cls.made(run("certs", "init", "--dir", cls.certificates))
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "prod-us", "--also", "prod-alias"))
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "eu-1"))

    @staticmethod
    def made(result):
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return result

    def files(self, name, folder=None):
        folder = folder or self.certificates
        return ["--ca", folder / "ca.pem", "--cert", folder / f"{name}.pem", "--key", folder / f"{name}.key"]

    def listen_arguments(self, *more, port=0, name="prod-us", files=None):
        return ["listen", "--addr", f"127.0.0.1:{port}", "--cluster-id", name, *(files or self.files(name)), *more]

    def ping_arguments(self, address, *more, cluster="prod-us", database="orders", files=None):
        return ["ping", "--addr", address, "--cluster-id", cluster, "--database", database,
                *(files or self.files("eu-1")), *more]

    def source(self, *more, **options):
        """A started `listen` whose `address` is known."""
        started = Background(*self.listen_arguments(*more, **options))
        self.addCleanup(started.__exit__)
        first = started.line()
        self.assertRegex(first, r"^listening 127\.0\.0\.1:\d+$")
        started.address = first.split()[1]
        return started

    def one_object(self, result):
        """The JSON on stdout, which is one object on one line and nothing else."""
        self.assertEqual(result.stdout.count("\n"), 1, result.stdout + result.stderr)
        value = json.loads(result.stdout)
        self.assertIsInstance(value, dict)
        return value

    def assert_sentence(self, result, code, *parts):
        """A failure for people: its exit code, one line `PROGRAM: ...` with all the parts, nothing on stdout."""
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.splitlines()
        self.assertTrue(lines[0].startswith(f"{Path(result.args[0]).name}: "), result.stderr)
        self.assertTrue(all(line.startswith("next step: ") for line in lines[1:]), result.stderr)
        for part in parts:
            self.assertIn(str(part), lines[0])
