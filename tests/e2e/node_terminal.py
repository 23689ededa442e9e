"""What a person at a terminal sees while a mirror bootstraps."""

import concurrent.futures
import os
import pty
import re
import subprocess
import unittest

from cli_support import DEADLINE_S, PROGRAM
from node_support import MirroredTest, eventually

BAR = re.compile(r"\[(#*) *\] packages +(\d+)%")


def on_a_terminal(*words):
    """Runs the program on a terminal of its own: (exit code, all that it wrote there)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([PROGRAM, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass  # no process holds the other end any more: the program has ended
    finally:
        os.close(ours)
    return process.wait(DEADLINE_S), seen.decode()


class Terminal(MirroredTest):
    def create(self, *more):
        return on_a_terminal("mirror", "create", "packages", "--from", "prod-us/packages", "--addr", self.source.mirrors,
                             "--admin", self.mirror.admin, "--token-file", self.mirror.folder / "data" / "admin.token", *more)

    def test_a_bootstrap_that_is_over_before_anybody_looks_shows_its_full_bar(self):
        self.fill(self.source)
        code, seen = self.create()
        self.assertEqual(code, 0, seen)
        last = seen.replace("\r", "\n").rstrip().split("\n")
        lines = [re.sub(r"\x1b\[K", "", line) for line in last if line]
        self.assertRegex(lines[-2], r"^\[#{30}\] packages  100% ([0-9.]+)/\1 [KM]iB$", seen)
        self.assertRegex(lines[-1], r"^packages  Following after ", seen)

    def test_a_long_bootstrap_shows_a_bar_that_grows(self):
        self.fill(self.source, value_bytes=8000)  # the bar moves by chunks of 1 MiB: each stands for three seconds
        self.source.stop()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            creating = pool.submit(self.create, "--wait", "--timeout", DEADLINE_S)
            eventually(lambda: self.mirror.request("GET", "/v1/mirrors/packages")[0], lambda status: status == 200, "the mirror")
            self.limit(300_000)
            self.source.start()
            code, seen = creating.result()
        self.assertEqual(code, 0, seen)
        percents = [int(percent) for _, percent in BAR.findall(seen)]
        self.assertEqual(percents, sorted(percents), seen)
        self.assertGreaterEqual(len({one for one in percents if 0 < one < 100}), 2, seen)
        self.assertEqual(percents[-1], 100, seen)

    def test_without_a_terminal_there_is_no_bar(self):
        self.fill(self.source)
        said = self.mirror.verb("mirror", "create", "packages", "--from", "prod-us/packages", "--addr", self.source.mirrors,
                                "--wait")
        self.assertRegex(said, r"^packages  Following after [^\n]*\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
