"""What the tests with RocksDB in real processes share: a host process, its answers, waiting, the independent reader."""

import os
import shutil
import subprocess
import time

from cli_support import CommandLineTest, run, unused_port
from host_process import DEADLINE_S, HostProcess

HOST = os.environ["ROCKSDB_HOST"]


class Host(HostProcess):
    def __init__(self, *words):
        super().__init__(HOST, *words)
        if self.first != "ready":
            raise AssertionError(f"{self.process.args}: {self.first!r}, exit {self.process.poll()}")


def dump(folder):
    """Every key and value, by RocksDB alone."""
    return subprocess.run([HOST, "dump", str(folder)], check=True, capture_output=True, text=True).stdout.splitlines()


def dumped(folder):
    return dict(line.split(" ", 1) for line in dump(folder))


def is_bootstrapped(facts):
    """Degraded is following too, on a machine that is busy with other things."""
    return facts["status"] in ("Following", "Degraded")


class RocksdbTest(CommandLineTest):
    """Hosts by name, each with a folder of that name below `data`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "asia-1"))

    def setUp(self):
        self.data = self.path / self.id().rsplit(".", 1)[-1]
        self.data.mkdir()
        self.port, self.middle_port = unused_port(), unused_port()
        self.hosts = {}
        self.addCleanup(lambda: shutil.rmtree(self.data, ignore_errors=True))
        self.addCleanup(lambda: [host.close() for host in self.hosts.values()])

    def start(self, what, *more):
        port = self.middle_port if what == "last" else self.port
        more = [self.middle_port] if what == "middle" else more
        self.hosts[what] = Host(what, self.data / what, self.certificates, port, *more)
        return self.hosts[what]

    def end(self, what):
        self.hosts.pop(what).end()

    def wait(self, what, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition(facts := self.hosts[what].ask("facts")):
            self.assertLess(time.monotonic(), deadline, f"{what}: {facts}")
            time.sleep(0.005)  # between two looks
        return facts

    def wait_following(self, what, lsn):
        return self.wait(what, lambda facts: facts["status"] == "Following" and facts["applied"] >= lsn)

    def assert_equal_at_rest(self, *names):
        """Ends the hosts and compares what is on disk, key by key."""
        for name in names:
            self.end(name)
        expected = dump(self.data / names[0])
        self.assertTrue(expected)
        for name in names[1:]:
            found = dump(self.data / name)
            self.assertEqual(len(found), len(expected), name)
            self.assertTrue(found == expected, f"{name} has other contents than {names[0]}")
