"""Source and mirror on RocksDB, real processes, killed with SIGKILL at random moments of bootstrap and following.

Every second round begins with a bootstrap from nothing and its kills fall into it; those of the others fall into following.
In each round the mirror is killed, the source, and both, in random order, under write load. After each round both databases
are read by RocksDB alone and compared key by key. A round without enough writes while kills fell is void.
"""

import collections
import os
import random
import shutil
import time
import unittest

from rocksdb_support import RocksdbTest, dump, is_bootstrapped

ROUNDS = int(os.environ.get("ROCKSDB_ROUNDS", "5"))
SEED = int(os.environ.get("ROCKSDB_SEED", random.randrange(2**32)))
COMMITS_MIN = 200
MIB = 2**20
VICTIMS = (("mirror",), ("source",), ("mirror", "source"))
STORED_MAX = 6 * MIB  # of a snapshot of more than that, when the last kill of a bootstrap falls
BYTES_PER_S = 4 * MIB


class KilledProcesses(RocksdbTest):
    def setUp(self):
        super().setUp()
        self.kills = collections.Counter()
        self.commits = 0  # since the round's kills began
        self.slowly = False  # as a round has it that begins with a bootstrap

    def pass_time(self, chance):
        """A random moment: it decides where the kill falls, nothing is waited for."""
        time.sleep(chance.uniform(0.0, 0.7))

    def start_writing(self, what):
        """A source that was killed has everything that its mirrors may have seen."""
        self.start("source").must("write")
        self.assertGreaterEqual(self.hosts["source"].ask("facts")["head"], what["head"])

    def start_mirror(self):
        self.start("mirror", *([f"bandwidth={BYTES_PER_S}"] if self.slowly else []))

    def kill(self, victims):
        source, mirror = self.hosts["source"].ask("facts"), self.hosts["mirror"].ask("facts")
        for victim in victims:
            self.hosts[victim].kill()
        self.kills[victims, "Following" if is_bootstrapped(mirror) else mirror["status"]] += 1
        if "source" in victims:
            self.commits += source["commits"]
            self.start_writing(source)
        if "mirror" in victims:
            self.start_mirror()
        return mirror

    def kill_in_bootstrap(self, chance, order):
        """A snapshot that was on its way goes on where it was, whichever process was killed."""
        for victims, stored in zip(order, sorted(chance.uniform(0, STORED_MAX) for _ in order)):
            self.wait("mirror", lambda facts: is_bootstrapped(facts) or facts["stored"] > stored)
            before = self.kill(victims)
            if before["status"] == "Bootstrapping":
                after = self.wait("mirror", lambda facts: is_bootstrapped(facts) or
                                  facts["stored"] > before["stored"] or 0 < facts["stored"] < before["stored"])
                self.assertTrue(is_bootstrapped(after) or after["stored"] > before["stored"],
                                f"{victims} killed, and it began anew: {before}, then {after}")
        self.hosts["mirror"].must("bandwidth", 0)

    def kill_while_following(self, chance, order):
        for victims in order:
            self.wait("mirror", is_bootstrapped)
            self.pass_time(chance)
            self.kill(victims)

    def check_round(self, number, chance):
        self.pass_time(chance)
        facts = self.hosts["source"].ask("rest")
        self.commits += facts["commits"]
        self.assertGreater(self.commits, COMMITS_MIN, "a round without enough writes is void")
        reached = self.wait_following("mirror", facts["head"])
        self.assertEqual(reached["applied"], facts["head"], "it has not more than the source")
        self.end("mirror")
        self.end("source")
        expected, found = dump(self.data / "source"), dump(self.data / "mirror")
        self.assertGreater(len(expected), 100)
        self.assertTrue(found == expected, f"round {number}: the mirror has other contents than the source")
        print(f"round {number}: {self.commits} commits, {len(expected)} keys, kills so far {dict(self.kills)}", flush=True)

    def test_contents_are_equal_after_every_round_of_kills(self):
        chance = random.Random(SEED)
        print(f"ROCKSDB_SEED={SEED} ROCKSDB_ROUNDS={ROUNDS}", flush=True)
        self.start("source").must("fill", 4000, 2000)
        self.end("source")
        for number in range(ROUNDS):
            self.start("source").must("write")
            self.wait("source", lambda facts: facts["commits"] > COMMITS_MIN)
            self.slowly = number % 2 == 0
            if self.slowly:
                shutil.rmtree(self.data / "mirror", ignore_errors=True)
            self.start_mirror()
            self.commits = -self.hosts["source"].ask("facts")["commits"]
            order = chance.sample(VICTIMS, k=len(VICTIMS))
            (self.kill_in_bootstrap if self.slowly else self.kill_while_following)(chance, order)
            self.check_round(number, chance)
        for victims in VICTIMS:
            self.assertGreater(self.kills[victims, "Bootstrapping"], 0, f"{victims} never killed in a bootstrap")
            if ROUNDS > 1:
                self.assertGreater(self.kills[victims, "Following"], 0, f"{victims} never killed while following")


if __name__ == "__main__":
    unittest.main()
