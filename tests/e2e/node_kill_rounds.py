"""Nodes killed with SIGKILL at random moments of bootstrap and following, while redis-benchmark writes.

Every second round begins with a mirror made from nothing, and its kills fall into the bootstrap, which is slowed down for
that; those of the others fall into following. In each round the mirror's node is killed, the source's, and both, in random
order. After each the program's verify must find them equal, and a client that reads everything by SCAN must, too. A round
without enough writes while kills fell is void.
"""

import collections
import os
import random
import time
import unittest

from node_support import Load, MirroredTest, eventually

ROUNDS = int(os.environ.get("NODE_ROUNDS", "3"))
SEED = int(os.environ.get("NODE_SEED", random.randrange(2**32)))
WRITES_MIN = 2000
MIB = 2**20
VICTIMS = (("mirror",), ("source",), ("mirror", "source"))
VALUES, VALUE_BYTES = 8000, 2000
STORED_MAX = 10 * MIB  # of a snapshot of more than that, when the last kill of a bootstrap falls
BYTES_PER_S = 2 * MIB


def is_bootstrapped(seen):
    """Degraded is following too, on a machine that is busy with other things."""
    return seen["status"] in ("Following", "Degraded")


class KilledNodes(MirroredTest):
    def setUp(self):
        super().setUp()
        self.kills = collections.Counter()
        self.load = None
        self.addCleanup(lambda: self.load and self.load.end())

    def pass_time(self, chance):
        """A random moment: it decides where the kill falls, nothing is waited for."""
        time.sleep(chance.uniform(0.0, 0.7))

    def kill(self, victims):
        """Kills these nodes and starts them again; how the mirror was before."""
        head, seen = self.source.head("packages"), self.mirror.mirror("packages")
        for victim in victims:
            getattr(self, victim).kill()
        self.kills[victims, "Following" if is_bootstrapped(seen) else seen["status"]] += 1
        if "source" in victims:
            self.load.end()
            self.source.start()
            self.assertGreaterEqual(self.source.head("packages"), head, "a kill loses nothing that was seen")
            self.load = Load(self.source)
        if "mirror" in victims:
            self.mirror.start()
        return seen

    def kill_in_bootstrap(self, chance, order):
        """A snapshot that was on its way goes on where it was, whichever process was killed."""
        self.create_limited(BYTES_PER_S)
        for victims, stored in zip(order, sorted(chance.uniform(0, STORED_MAX) for _ in order)):
            self.mirror.await_mirror("packages", lambda one: is_bootstrapped(one) or (one["bytes_done"] or 0) > stored,
                                     f"{stored} bytes of a snapshot")
            before = self.kill(victims)
            if before["status"] == "Bootstrapping":
                done = before["bytes_done"]
                after = self.mirror.await_mirror(
                    "packages", lambda one: is_bootstrapped(one) or (one["bytes_done"] or 0) > done
                    or 0 < (one["bytes_done"] or 0) < done, "the snapshot to go on")
                self.assertTrue(is_bootstrapped(after) or after["bytes_done"] > done,
                                f"{victims} killed, and it began anew: {before}, then {after}")
        self.limit(0)

    def kill_while_following(self, chance, order):
        for victims in order:
            self.mirror.await_mirror("packages", is_bootstrapped, "the mirror to follow")
            self.pass_time(chance)
            self.kill(victims)

    def check_round(self, number, chance, begin):
        self.mirror.await_mirror("packages", is_bootstrapped, "the mirror to follow")
        self.pass_time(chance)
        self.load.end()
        writes = self.source.head("packages") - begin
        self.assertGreater(writes, WRITES_MIN, "a round without enough writes is void")
        self.assert_equal()
        print(f"round {number}: {writes} writes, {len(self.source.contents())} keys, kills so far {dict(self.kills)}", flush=True)

    def test_contents_are_equal_after_every_round_of_kills(self):
        chance = random.Random(SEED)
        print(f"NODE_SEED={SEED} NODE_ROUNDS={ROUNDS}", flush=True)
        self.fill(self.source, 0, VALUES, VALUE_BYTES)
        for number in range(ROUNDS):
            begin = self.source.head("packages")
            self.load = Load(self.source)
            eventually(lambda: self.source.head("packages"), lambda head: head > begin + WRITES_MIN, "writes")
            begin = self.source.head("packages")
            order = chance.sample(VICTIMS, k=len(VICTIMS))
            if number % 2 == 0:
                if number > 0:
                    self.mirror.verb("mirror", "delete", "packages", "--yes")
                self.kill_in_bootstrap(chance, order)
            else:
                self.kill_while_following(chance, order)
            self.check_round(number, chance, begin)
        for victims in VICTIMS:
            self.assertGreater(self.kills[victims, "Bootstrapping"], 0, f"{victims} never killed in a bootstrap")
            if ROUNDS > 1:
                self.assertGreater(self.kills[victims, "Following"], 0, f"{victims} never killed while following")


if __name__ == "__main__":
    unittest.main(verbosity=2)
