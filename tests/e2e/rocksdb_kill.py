"""Source and mirror on RocksDB, real processes, killed with SIGKILL at random moments of bootstrap and following.

After each round both databases are read by RocksDB alone and compared key by key. A round without enough writes is void.
"""

import os
import random
import shutil
import time
import unittest

from rocksdb_support import RocksdbTest, dump

ROUNDS = int(os.environ.get("ROCKSDB_ROUNDS", "5"))
SEED = int(os.environ.get("ROCKSDB_SEED", random.randrange(2**32)))
COMMITS_MIN = 200


class KilledProcesses(RocksdbTest):
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
            source.ask("write")
            if number % 3 == 0:  # every third round begins with a bootstrap from nothing
                self.wait("source", lambda facts: facts["commits"] > COMMITS_MIN)
                if "mirror" in self.hosts:
                    self.hosts.pop("mirror").end()
                shutil.rmtree(self.data / "mirror", ignore_errors=True)
            if "mirror" not in self.hosts:
                self.start("mirror")
            commits = 0
            for victims in chance.sample([["mirror"], ["source"], ["mirror", "source"], ["mirror"]], k=3):
                self.pass_time(chance)
                for victim in victims:
                    if victim == "source":
                        commits += self.hosts["source"].ask("facts")["commits"]
                    self.hosts[victim].kill()
                    kills[victim] += 1
                for victim in victims:
                    self.start(victim)
                    if victim == "source":
                        self.hosts["source"].ask("write")
            self.pass_time(chance)
            facts = self.hosts["source"].ask("rest")
            commits += facts["commits"]
            self.assertGreater(commits, COMMITS_MIN, "a round without enough writes is void")
            reached = self.wait("mirror", lambda mirror: mirror["status"] == "Following"
                                and mirror["applied"] >= facts["head"])
            self.assertEqual(reached["applied"], facts["head"], "it has not more than the source")
            self.hosts.pop("mirror").end()
            self.hosts.pop("source").end()
            expected, found = dump(self.data / "source"), dump(self.data / "mirror")
            self.assertGreater(len(expected), 100)
            self.assertEqual(found, expected, f"round {number}")
            print(f"round {number}: {commits} commits, {len(expected)} keys, "
                  f"{reached['bootstraps']} bootstraps of the last process, kills so far {kills}", flush=True)
            self.start("source")
            self.start("mirror")


if __name__ == "__main__":
    unittest.main()
