"""Goal: `crosslink verify` finds what is different, and only that. Method: with the mirror's node stopped, RocksDB alone
writes into its database behind crosslink's back: one byte, one key less, one key more. The source goes on being written to."""

import json
import os
import subprocess
import unittest

from node_support import Load, MirroredTest, client

HOST = os.environ["ROCKSDB_HOST"]


class Verify(MirroredTest):
    def setUp(self):
        super().setUp()
        self.fill(self.source, 0, 3000)
        self.follow()

    def alter(self, key, *value):
        """Of the mirror's stored data; its node is stopped for that and started again."""
        self.mirror.stop()
        folder = self.mirror.folder / "data" / "databases" / "packages"
        subprocess.run([HOST, "alter", str(folder), key, *value], check=True)
        self.mirror.start()
        self.mirror.await_following("packages", self.source)

    def value(self, key):
        with client(self.source) as one:
            return one.get(key).decode()

    def verified_once(self, code):
        said = self.mirror.run("verify", "packages", "-o", "json")
        self.assertEqual(said.returncode, code, said.stdout + said.stderr + self.mirror.log_text())
        return json.loads(said.stdout)

    def verified(self, code):
        """What verify says in JSON; in words it must end with the same code. A source answers six in a minute."""
        said = self.verified_once(code)
        self.words = self.mirror.verb("verify", "packages", code=code)
        return said

    def assert_equal_said(self):
        said = self.verified(0)
        self.assertEqual((said["outcome"], said["difference_count"], said["differences"]), ("equal", 0, []))
        self.assertEqual(said["keys_compared"], 3000)
        self.assertIn("RESULT  EQUAL", self.words)

    def assert_difference(self, key, kind):
        said = self.verified(5)
        self.assertEqual((said["outcome"], said["difference_count"], said["all_counted"]), ("different", 1, True), said)
        self.assertEqual(said["differences"], [{"key": key, "kind": kind}])
        self.assertRegex(self.words, rf"(?s)1 differ.*{kind} +{key}.*RESULT  DIFFERENT")
        last = self.mirror.mirror("packages")["last_verify"]
        self.assertEqual((last["outcome"], last["difference_count"]), ("different", 1))
        self.assertIn("different, 1 keys", self.mirror.verb("status", "packages"))

    def test_unchanged_data_is_equal_and_what_was_changed_and_put_back_is_equal_again(self):
        self.assert_equal_said()
        value = self.value("key-77")
        self.alter("key-77", value + "x")
        self.assert_difference("key-77", "value")
        self.alter("key-77", value)
        self.assert_equal_said()

    def test_one_byte_is_found(self):
        value = self.value("key-1234")
        self.alter("key-1234", value[:-1] + ("0" if value[-1] != "0" else "1"))
        self.assert_difference("key-1234", "value")

    def test_one_missing_key_is_found(self):
        self.alter("key-2000")
        self.assert_difference("key-2000", "missing")

    def test_one_extra_key_is_found_at_either_end_of_the_data(self):
        for key in ("a-first-key", "key-2000a", "zz-last-key"):
            with self.subTest(key):
                self.alter(key, "1")
                self.assertEqual(self.verified_once(5)["differences"], [{"key": key, "kind": "extra"}])
                self.alter(key)
        self.assert_equal_said()

    def test_a_difference_is_found_while_the_source_is_written_to(self):
        self.alter("key-1", "other")
        load = Load(self.source)
        try:
            said = self.verified(5)
        finally:
            load.end()
        self.assertEqual(said["differences"], [{"key": "key-1", "kind": "value"}], said)
        self.fill(self.source, 1, 2)
        self.assert_equal()


if __name__ == "__main__":
    unittest.main(verbosity=2)
