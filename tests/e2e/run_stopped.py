"""`./run` in a clone of its own, stopped at several moments of its set-up and build, then run to its end.

The packages that it installs are on this machine already; everything else is made anew. What an installation that was
stopped leaves behind was tried by hand (docs/hacking.md)."""

import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
STOPPED_AFTER_S = (3, 20, 45, 70)
WHOLE_S = 3000


class Stopped(unittest.TestCase):
    def test_goes_on_where_it_was_after_being_stopped_at_any_moment(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            clone = pathlib.Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(TREE), str(clone)], check=True)
            for number in (signal.SIGINT, signal.SIGKILL):
                for seconds in STOPPED_AFTER_S:
                    self.stop_after(clone, seconds, number)
            whole = self.start(clone)
            output, _ = whole.communicate(timeout=WHOLE_S)
            self.assertEqual(whole.returncode, 0, output[-4000:])
            self.assertTrue((clone / "build" / "release" / "crosslink").exists())

    @staticmethod
    def start(clone):
        return subprocess.Popen(["./run", "--exit"], cwd=clone, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def stop_after(self, clone, seconds, number):
        running = self.start(clone)
        try:
            output, _ = running.communicate(timeout=seconds)
            self.assertEqual(running.returncode, 0, output[-4000:])  # it was quicker than that
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, number)
            running.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
