"""Source and mirrors on RocksDB in real processes: what happens to people. Contents are compared by RocksDB alone."""

import shutil
import subprocess
import unittest

from cli_support import unused_port
from rocksdb_support import HOST, RocksdbTest, dumped, is_bootstrapped

MIB = 2**20


class Scenarios(RocksdbTest):
    def bootstrap(self, keys=200, value_bytes=1000, *more):
        """A source with so many keys, and a mirror that has them."""
        lsn = self.start("source").must("fill", keys, value_bytes)["lsn"]
        self.start("mirror", *more)
        return self.wait_following("mirror", lsn)

    def stop_in_mid_bootstrap(self):
        """A mirror killed while a snapshot of 20 MB is under way; what it had stored."""
        source = self.start("source")
        source.must("fill", 2000, 10_300)
        self.start("mirror", f"bandwidth={4 * MIB}")
        facts = self.wait("mirror", lambda facts: facts["stored"] > 3 * MIB)
        self.assertEqual(facts["status"], "Bootstrapping")
        self.hosts.pop("mirror").kill()
        return facts["stored"]

    def restored_source(self, restamp):
        """The source goes on from an older copy of itself, past the mirror's LSN."""
        self.bootstrap()
        self.end("source")
        shutil.copytree(self.data / "source", self.data / "backup")
        lsn = self.start("source").must("fill", 50, 100)["lsn"]
        self.wait_following("mirror", lsn)
        before = self.hosts["mirror"].must("get", "fill0000001")
        self.end("source")
        shutil.rmtree(self.data / "source")
        (self.data / "backup").rename(self.data / "source")
        if restamp:
            subprocess.run([HOST, "restamp", self.data / "source"], check=True)
        # Where the mirror does not see it: it shall find the source past its own LSN, however slow this machine is.
        offered, self.port = self.port, unused_port()
        self.start("source").must("fill", 300, 77)
        self.end("source")
        self.port = offered
        self.start("source")
        return before

    # --- bootstrap

    def test_a_flipped_byte_in_a_stored_partial_snapshot_comes_again_and_nothing_else(self):
        stored = self.stop_in_mid_bootstrap()
        tables = sorted((self.data / "mirror" / "partial" / "files").glob("*.sst"))
        table = [table for table in tables if table.stat().st_size > 0][-1]  # the last that something came of
        with open(table, "r+b") as file:
            file.seek(table.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        mirror = self.start("mirror", f"bandwidth={8 * MIB}")
        kept = mirror.ask("facts")["stored"]
        self.assertGreaterEqual(kept, stored, "it is taken up where it was")
        seen = [kept]
        self.wait("mirror", lambda facts: facts["stored"] > 16 * MIB)
        mirror.must("bandwidth", MIB // 4)  # so slowly that nothing is missed between two looks
        self.wait("mirror", lambda facts: seen.append(facts["stored"]) or seen[-1] < seen[-2])
        self.assertGreater(seen[-2], 18 * MIB, "it is checked when it is whole")
        self.assertGreater(seen[-1], 0, "cut back to the chunk with the byte, not to the beginning")
        self.assertLess(seen[-1], stored)
        mirror.must("bandwidth", 0)
        head = self.hosts["source"].ask("facts")["head"]
        self.assertEqual(self.wait_following("mirror", head)["bootstraps"], 1)
        self.assertEqual(self.hosts["mirror"].must("verify")["outcome"], "equal")
        self.assert_equal_at_rest("source", "mirror")

    def test_a_mirror_that_was_away_for_longer_than_the_log_bootstraps_once_and_answers_meanwhile(self):
        self.bootstrap()
        self.end("mirror")
        source = self.hosts["source"]
        source.must("fill", 2000, 5000)
        for number in range(10):
            source.must("erase", f"fill{number:07}")
        source.must("purge")
        lsn = source.must("put", "after", 10)["lsn"]
        mirror = self.start("mirror", f"bandwidth={MIB}")
        seen = self.wait("mirror", lambda facts: facts["status"] == "Bootstrapping" and facts["stored"] > MIB)
        self.assertLess(seen["applied"], lsn)
        self.assertEqual(mirror.must("get", "fill0000001")["bytes"], 1000, "the old data is readable until the switch")
        mirror.must("bandwidth", 0)
        self.assertEqual(self.wait_following("mirror", lsn)["bootstraps"], 1)
        self.assertEqual(mirror.must("get", "fill0000001")["found"], 0, "what was deleted meanwhile is gone")
        self.assert_equal_at_rest("source", "mirror")

    def test_a_source_whose_log_is_purged_under_a_mirror_that_reads_it(self):
        self.bootstrap()
        source, mirror = self.hosts["source"], self.hosts["mirror"]
        mirror.must("bandwidth", MIB // 4)  # it has a minute to read
        source.must("fill", 20_000, 1000)
        self.assertLess(self.wait("mirror", lambda facts: facts["applied"] > 1000)["applied"], 20_000)
        source.must("purge")
        lsn = source.must("fill", 10, 10)["lsn"]
        mirror.must("bandwidth", 0)
        self.assertEqual(self.wait_following("mirror", lsn)["bootstraps"], 2)
        self.assert_equal_at_rest("source", "mirror")

    def test_a_source_whose_snapshot_names_files_that_none_has_writes_nowhere_and_halts_its_mirror(self):
        (self.data / "neighbour").write_text("as it was")
        names = ["../../../neighbour", "../../neighbour", str(self.data / "neighbour"), "../live", "../../live",
                 "files/000001.sst", "OPTIONS-000005", "IDENTITY", "LOCK", "000001.sst\t", "CURRENT/../000001.sst"]
        for name in names:
            with self.subTest(name=name):
                self.start("hostile", name)
                self.start("mirror")
                live = (self.data / "mirror" / "live").read_text()
                facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
                self.assertEqual(facts["error"], "UnsupportedOperation")
                self.assertEqual((self.data / "neighbour").read_text(), "as it was")
                self.assertEqual((self.data / "mirror" / "live").read_text(), live)
                left = [file.name for file in (self.data / "mirror" / "partial" / "files").rglob("*")]
                self.assertEqual(left, [])
                if name != names[-1]:
                    self.end("hostile")
                    self.end("mirror")
                    shutil.rmtree(self.data / "hostile")
                    shutil.rmtree(self.data / "mirror")
        # It is as good as new for a source that is in order.
        self.end("hostile")
        self.start("source").must("fill", 10, 100)
        self.hosts["mirror"].must("resync")
        self.wait_following("mirror", self.hosts["source"].ask("facts")["head"])
        self.assert_equal_at_rest("source", "mirror")

    def test_a_full_disk_at_the_mirror_halts_nothing_for_good(self):
        self.bootstrap(200, 1000, "faulty")
        source, mirror = self.hosts["source"], self.hosts["mirror"]
        mirror.must("full")
        lsn = source.must("fill", 300, 2000)["lsn"]
        facts = self.wait("mirror", lambda facts: facts["status"] in ("Degraded", "Disconnected") and "disk" in facts["reason"])
        self.assertLess(facts["applied"], lsn)
        self.assertEqual(mirror.must("get", "fill0000001")["found"], 1, "it answers reads meanwhile")
        self.assertGreater(mirror.must("space")["refused"], 0)
        self.assertEqual(self.wait_following("mirror", lsn)["bootstraps"], 1, "it goes on where it was")
        # The same in the middle of a snapshot.
        mirror.must("bandwidth", MIB // 2)
        source.must("fill", 2000, 5000)
        mirror.must("resync")
        self.wait("mirror", lambda facts: facts["status"] == "Bootstrapping" and facts["stored"] > MIB)
        mirror.must("full")
        mirror.must("bandwidth", 0)
        self.wait("mirror", lambda facts: "disk" in facts["reason"])
        mirror.must("space")
        lsn = source.ask("facts")["head"]
        self.assertEqual(self.wait_following("mirror", lsn)["bootstraps"], 2)
        self.assert_equal_at_rest("source", "mirror")

    # --- sources that are not what they were

    def test_an_emptied_source_halts_its_mirror_which_keeps_its_data(self):
        self.bootstrap()
        self.hosts.pop("source").kill()
        shutil.rmtree(self.data / "source")
        self.start("source").must("put", "other", 10)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertEqual(facts["error"], "OriginChanged")
        mirror = self.hosts["mirror"]
        self.assertEqual(mirror.must("get", "fill0000001")["bytes"], 1000)
        self.assertEqual(mirror.must("get", "other")["found"], 0)
        mirror.must("resync")
        self.wait_following("mirror", self.hosts["source"].ask("facts")["head"])
        self.assert_equal_at_rest("source", "mirror")

    def test_a_source_restored_and_restamped_halts_a_mirror_that_was_further(self):
        before = self.restored_source(restamp=True)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertEqual(facts["error"], "HistoriesParted")
        mirror = self.hosts["mirror"]
        self.assertEqual(mirror.must("get", "fill0000001"), before)
        mirror.must("resync")
        self.wait_following("mirror", self.hosts["source"].ask("facts")["head"])
        self.assert_equal_at_rest("source", "mirror")

    def test_a_source_restored_without_a_restamp_is_found_by_its_entries(self):
        before = self.restored_source(restamp=False)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertEqual(facts["error"], "HistoriesParted")
        mirror = self.hosts["mirror"]
        self.assertEqual(mirror.must("get", "fill0000001"), before)
        mirror.must("resync")
        self.wait_following("mirror", self.hosts["source"].ask("facts")["head"])
        self.assert_equal_at_rest("source", "mirror")

    # --- chains and promotion

    def test_a_mirror_of_a_mirror_follows_when_the_middle_bootstraps_anew(self):
        source = self.start("source")
        source.must("fill", 500, 1000)
        self.start("middle")
        self.start("last")
        source.must("write")
        # Three databases and a writer flat out share this machine. At rest they must be Following.
        self.wait("last", lambda facts: is_bootstrapped(facts) and facts["applied"] > 0)
        self.hosts["middle"].must("resync")
        for name in ("middle", "last"):
            self.wait(name, lambda facts: is_bootstrapped(facts) and facts["bootstraps"] == 2)
        head = source.must("rest")["head"]
        self.wait_following("middle", head)
        self.wait_following("last", self.hosts["middle"].ask("facts")["head"])
        self.assertEqual(self.hosts["last"].must("verify")["outcome"], "equal")
        self.assert_equal_at_rest("source", "middle", "last")

    def test_a_mirror_promoted_while_its_source_writes_is_the_source_at_one_lsn(self):
        source = self.start("source")
        ledger = self.data / "ledger"
        source.must("write", ledger)
        mirror = self.start("mirror")
        self.wait("mirror", lambda facts: is_bootstrapped(facts) and facts["applied"] > 2000)
        lsn = mirror.must("promote")["lsn"]
        own = mirror.must("put", "own", 10)
        commits = source.must("facts")["commits"]
        self.wait("source", lambda facts: facts["commits"] > commits + 100)
        self.assertGreater(source.must("rest")["head"], lsn)
        self.assertGreater(own["lsn"], 0)
        facts = mirror.ask("facts")
        self.assertEqual((facts["status"], facts["applied"]), ("Promoted", lsn), "nothing is applied after it")
        self.end("mirror")
        self.end("source")
        found = dumped(self.data / "mirror")
        self.assertIsNotNone(found.pop("own", None))
        self.assertEqual(found, replayed(ledger, lsn))

    def test_eight_threads_write_to_a_rocksdb_of_their_own_while_it_is_mirrored(self):
        own = self.start("own")
        own.must("write", 200)
        mirror = self.start("mirror")
        self.wait_following("mirror", 1)
        head = own.must("write", 2000)["head"]
        self.assertEqual(self.wait_following("mirror", head)["bootstraps"], 1)
        self.assertEqual(mirror.must("verify")["outcome"], "equal")
        # Its owner goes, killed, and comes back: nothing begins anew.
        own.kill()
        own = self.start("own")
        head = own.must("write", 100)["head"]
        self.assertEqual(self.wait_following("mirror", head)["bootstraps"], 1)
        self.assert_equal_at_rest("own", "mirror")

    # --- sizes

    def test_an_entry_of_a_hundred_thousand_operations(self):
        self.bootstrap()
        lsn = self.hosts["source"].must("operations", 100_000)["lsn"]
        self.wait_following("mirror", lsn)
        self.assert_equal_at_rest("source", "mirror")

    def test_values_around_the_size_of_what_may_be_in_flight(self):
        self.bootstrap()
        source, mirror = self.hosts["source"], self.hosts["mirror"]
        for size in (MIB, 64 * MIB - 1, 64 * MIB, 64 * MIB + 1):
            lsn = source.must("put", f"value{size}", size)["lsn"]
            self.wait_following("mirror", lsn)
            found = mirror.must("get", f"value{size}")
            self.assertEqual(found["bytes"], size)
            self.assertEqual(found, source.must("get", f"value{size}"))
        refused = source.ask("put", "too-large", 256 * MIB)
        self.assertEqual(refused["error"], "UnsupportedOperation")
        self.assertEqual(source.must("get", "too-large")["found"], 0)
        facts = mirror.ask("facts")
        self.assertEqual((facts["bootstraps"], facts["held"]), (1, 0))


def replayed(ledger, lsn):
    """What the source's own account of its commits leads to."""
    contents = {}
    for line in ledger.read_text().splitlines():
        number, *fields = line.split("\t")
        if int(number) > lsn:
            break
        for kind, key, value in zip(fields[0::3], fields[1::3], fields[2::3]):
            if kind == "put":
                contents[key] = value
            elif kind == "erase":
                contents.pop(key, None)
            else:
                contents = {name: held for name, held in contents.items() if not key <= name < value}
    return contents


if __name__ == "__main__":
    unittest.main()
