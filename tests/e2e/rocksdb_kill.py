"""Source and mirror on RocksDB, real processes, killed with SIGKILL at random moments of bootstrap and following.

After each round both databases are read by RocksDB alone and compared key by key. A round without enough writes is void.
"""

import os
import random
import shutil
import signal
import subprocess
import time
import unittest

from cli_support import CommandLineTest, unused_port

HOST = os.environ["ROCKSDB_HOST"]
ROUNDS = int(os.environ.get("ROCKSDB_ROUNDS", "5"))
SEED = int(os.environ.get("ROCKSDB_SEED", random.randrange(2**32)))
DEADLINE_S = 60
COMMITS_MIN = 200


class Host:
    """One process; its answers are lines."""

    def __init__(self, *words):
        self.process = subprocess.Popen([HOST, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline()
        if not line.startswith(word):
            raise AssertionError(f"{self.process.args}: {line!r}, exit {self.process.poll()}")
        return line

    def facts(self, order="facts"):
        self.process.stdin.write(order + "\n")
        line = self.process.stdout.readline().split(maxsplit=4)
        if len(line) < 4:
            raise AssertionError(f"{self.process.args} ended: {line}, exit {self.process.poll()}")
        return {"status": line[0], "applied": int(line[1]), "bootstraps": int(line[2]), "commits": int(line[3]),
                "reason": line[4].strip() if len(line) > 4 else ""}

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def end(self):
        self.process.stdin.write("end\n")
        code = self.process.wait(DEADLINE_S)
        self.close()
        if code != 0:
            raise AssertionError(f"{self.process.args} ended with {code}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdin.close()
        self.process.stdout.close()


def dump(folder):
    return subprocess.run([HOST, "dump", str(folder)], check=True, capture_output=True, text=True).stdout.splitlines()


class KilledProcesses(CommandLineTest):
    def setUp(self):
        self.port = unused_port()
        self.hosts = {}
        self.addCleanup(lambda: [host.close() for host in self.hosts.values()])

    def start(self, what):
        self.hosts[what] = Host(what, self.path / what, self.certificates, self.port)
        return self.hosts[what]

    def wait(self, what, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition(facts := self.hosts[what].facts()):
            self.assertLess(time.monotonic(), deadline, f"{what}: {facts}")
            time.sleep(0.01)  # between two looks
        return facts

    def pass_time(self, chance):
        """A random moment: it decides where the kill falls, nothing is waited for."""
        time.sleep(chance.uniform(0.0, 0.7))

    def test_contents_are_equal_after_every_round_of_kills(self):
        chance = random.Random(SEED)
        print(f"ROCKSDB_SEED={SEED} ROCKSDB_ROUNDS={ROUNDS}", flush=True)
        self.start("source")
        kills = {"source": 0, "mirror": 0}
        for number in range(ROUNDS):
            source = self.hosts["source"]
            source.facts("write")
            if number % 3 == 0:  # every third round begins with a bootstrap from nothing
                self.wait("source", lambda facts: facts["commits"] > COMMITS_MIN)
                if "mirror" in self.hosts:
                    self.hosts.pop("mirror").end()
                shutil.rmtree(self.path / "mirror", ignore_errors=True)
            if "mirror" not in self.hosts:
                self.start("mirror")
            commits = 0
            for victims in chance.sample([["mirror"], ["source"], ["mirror", "source"], ["mirror"]], k=3):
                self.pass_time(chance)
                for victim in victims:
                    if victim == "source":
                        commits += self.hosts["source"].facts()["commits"]
                    self.hosts[victim].kill()
                    kills[victim] += 1
                for victim in victims:
                    self.start(victim)
                    if victim == "source":
                        self.hosts["source"].facts("write")
            self.pass_time(chance)
            facts = self.hosts["source"].facts("rest")
            commits += facts["commits"]
            self.assertGreater(commits, COMMITS_MIN, "a round without enough writes is void")
            reached = self.wait("mirror", lambda mirror: mirror["status"] == "Following"
                                and mirror["applied"] >= facts["applied"])
            self.assertEqual(reached["applied"], facts["applied"], "it has not more than the source")
            self.hosts.pop("mirror").end()
            self.hosts.pop("source").end()
            expected, found = dump(self.path / "source"), dump(self.path / "mirror")
            self.assertGreater(len(expected), 100)
            self.assertEqual(found, expected, f"round {number}")
            print(f"round {number}: {commits} commits, {len(expected)} keys, "
                  f"{reached['bootstraps']} bootstraps of the last process, kills so far {kills}", flush=True)
            self.start("source")
            self.start("mirror")


if __name__ == "__main__":
    unittest.main()
