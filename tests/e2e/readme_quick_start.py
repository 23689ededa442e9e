"""README's quick start by hand, word for word but for the ports: pasted at once, into an empty folder."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from cli_support import DEADLINE_S, PROGRAM, unused_port

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PRINTED_PORTS = ("7400", "7500", "6380", "6381", "7401", "7501")
# However it ends, its nodes end before it, by their process ids.
ENDS_ITS_NODES = 'trap \'kill $(jobs -p) 2> /dev/null; wait\' EXIT\n'


def blocks():
    section = README.read_text(encoding="utf-8").split("\n## Quick start\n")[1].split("\n## ")[0]
    by_hand = section.split("The same by hand.")[1]
    return re.findall(r"^```\n(.*?)^```$", by_hand, re.MULTILINE | re.DOTALL)


class QuickStart(unittest.TestCase):
    def test_all_lines_pasted_at_once_end_with_an_equal_mirror(self):
        written = blocks()
        self.assertEqual(len(written), 2)
        text = "".join(written)
        for line in ("crosslink certs init", "crosslink mirror create", "redis-cli -p 6381 get greeting", "crosslink verify"):
            self.assertIn(line, text)
        ports = {printed: unused_port() for printed in PRINTED_PORTS}
        for printed in ports:
            self.assertIn(printed, text + self.generated())
        text = re.sub(rf"\b({'|'.join(ports)})\b", lambda found: str(ports[found[0]]), text)
        # `config generate` prints the ports of prod-us; the file it makes gets the free ones, before the other is made of it.
        edits = "".join(f" -e 's/:{printed}\"/:{free}\"/'" for printed, free in ports.items())
        text = text.replace("> prod-us.toml\n", f"| sed{edits} > prod-us.toml\n", 1)
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            path = f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}"
            with open(f"{folder}/out", "w", encoding="utf-8") as out:
                done = subprocess.run(["bash", "-e", "-c", ENDS_ITS_NODES + text], cwd=folder, env={**os.environ, "PATH": path},
                                      stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=2 * DEADLINE_S, check=False)
            said = pathlib.Path(folder, "out").read_text(encoding="utf-8")
        self.assertEqual(done.returncode, 0, said)
        lines = said.splitlines()
        self.assertEqual(lines.count("hello"), 1, said)
        following = next(i for i, line in enumerate(lines) if line.startswith("packages  Following after "))
        self.assertGreater(lines.index("hello"), following, "it is what the mirror answered")
        self.assertRegex(said, r"\nRESULT +EQUAL ")

    def generated(self):
        return subprocess.run([PROGRAM, "config", "generate"], capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout


if __name__ == "__main__":
    unittest.main(verbosity=2)
