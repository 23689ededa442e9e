"""Goal: a database's name never stands over another database's data, and a number that may be new is never given without a word.
Method: folders of a stopped node are exchanged, copied and restored, and what says which is which is lost; then the node starts."""

import json
import re
import shutil
import unittest

import redis

from cli_support import unused_port
from node_support import NodeTest, client, eventually

ENTRY = "catalog_entry.json"


class FolderTest(NodeTest):
    def three(self, **options):
        node = self.node(databases=("a", "b", "c"), **options)
        self.write_names(node)
        return node

    def followed(self):
        """A node with "a" and "b", and one that follows both."""
        source = self.node("prod-us", databases=("a", "b"), mirrors_port=unused_port())
        node = self.node("eu-1", cluster="eu-1", databases=())
        self.write_names(source, "ab")
        for name in "ab":
            node.create_mirror(name, source)
            node.await_following(name, source)
        return source, node

    def write_names(self, node, names="abc"):
        for name in names:
            with client(node, name) as one:
                one.set("who", name)

    def data(self, node, name):
        return node.folder / "data" / "databases" / name

    def exchange(self, node, one, other):
        self.data(node, one).rename(node.folder / "between")
        self.data(node, other).rename(self.data(node, one))
        (node.folder / "between").rename(self.data(node, other))

    def not_open(self, node):
        return {one["name"]: one["reason"] for one in node.call("GET", "/v1/databases").get("not_open", [])}

    def await_open(self, node):
        eventually(lambda: self.not_open(node), lambda left: not left, "all to be opened without a restart")

    def values(self, node, names="abc"):
        def value(name):
            with client(node, name) as one:
                return one.get("who").decode()
        return "".join(map(value, names))

    def named(self, node, name):
        return json.loads((self.data(node, name) / ENTRY).read_text(encoding="utf-8"))["database"]["name"]

    def forget_catalog(self, node, *names):
        (node.folder / "data" / "catalog.json").unlink()
        for name in names:
            (self.data(node, name) / ENTRY).unlink()

    def numbers(self, node):
        return {one["name"]: one["index"] for one in node.call("GET", "/v1/databases")["databases"]}

    def log_lines(self, node, text):
        return [line for line in node.log_text().splitlines() if text in line]


class WhoseDataItIs(FolderTest):
    def test_exchanged_folders_were_served_each_under_the_others_name(self):
        node = self.three()
        node.stop()
        self.exchange(node, "a", "b")
        node.start()
        reasons = self.not_open(node)
        self.assertEqual(reasons.keys(), {"a", "b"})
        self.assertRegex(reasons["a"], r"databases/a holds the data of 'b': move the folders back.*`belongs_here`")
        self.assertIn("databases/b holds the data of 'a'", reasons["b"])
        self.assertEqual((self.named(node, "a"), self.named(node, "b")), ("b", "a"), "the evidence stays")
        self.assertEqual(self.values(node, "c"), "c")
        with client(node) as one, self.assertRaisesRegex(redis.ResponseError, "'a' is not open"):
            one.get("who")
        self.assertIn("holds the data of 'b'", node.verb("status", code=4))
        self.assertIn("a  is not open", node.verb("db", "list"))
        self.assertEqual(node.request("GET", "/readyz", headers={"Authorization": None}),
                         (200, "ok; databases that are not open: 2\n"))
        node.await_log("holds the data of")
        self.exchange(node, "a", "b")
        self.await_open(node)
        self.assertEqual(self.values(node), "abc")

    def test_exchanged_folders_of_mirrors_were_followed_each_under_the_others_name(self):
        source, node = self.followed()
        node.stop()
        self.exchange(node, "a", "b")
        node.start()
        self.assertEqual(self.not_open(node).keys(), {"a", "b"})
        self.assertEqual(node.call("GET", "/v1/mirrors")["mirrors"], [], "nothing is followed under a wrong name")
        self.exchange(node, "a", "b")
        self.await_open(node)
        for name in "ab":
            node.await_following(name, source)
            self.assertEqual(node.mirror(name)["bootstraps"], 0)
        self.assertEqual(self.values(node, "ab"), "ab")

    def test_mirrors_without_entries_are_told_by_their_data_also_after_another_bootstrap(self):
        source, node = self.followed()
        for name in "ab":
            before = node.mirror(name)["bootstraps"]
            node.verb("resync", name, "--yes")
            node.await_mirror(name, lambda one, before=before: one["bootstraps"] > before, "another bootstrap")
            node.await_following(name, source)

        def noted():
            known = json.loads((node.folder / "data" / "catalog.json").read_text(encoding="utf-8"))["databases"]
            return {one["name"]: one["data_id"] for one in known}
        live = {name: (self.data(node, name) / "live").read_text(encoding="utf-8") for name in "ab"}
        eventually(noted, lambda seen: seen == live, "the catalog to have the data of the last bootstrap")
        node.stop()
        node.start()
        self.assertEqual(self.not_open(node), {}, "another bootstrap is no other database")
        node.stop()
        for name in "ab":
            (self.data(node, name) / ENTRY).unlink()
        self.exchange(node, "a", "b")
        node.start()
        self.assertEqual(self.not_open(node).keys(), {"a", "b"})

    def test_a_copy_in_the_wrong_folder_under_its_own_entry_was_served(self):
        for entry in ("its own", "none"):
            with self.subTest(entry=entry):
                node = self.node(f"prod-us-{entry}", databases=("a", "b", "c"))
                self.write_names(node)
                node.stop()
                own = (self.data(node, "a") / ENTRY).read_bytes()
                shutil.rmtree(self.data(node, "a"))
                shutil.copytree(self.data(node, "b"), self.data(node, "a"))
                (self.data(node, "a") / ENTRY).unlink()
                if entry == "its own":
                    (self.data(node, "a") / ENTRY).write_bytes(own)
                node.start()
                self.assertEqual(self.not_open(node).keys(), {"a"})
                self.assertIn("holds the data of 'b'", self.not_open(node)["a"])
                self.assertEqual(self.values(node, "bc"), "bc")

    def test_another_nodes_database_is_served_once_an_operator_says_that_it_belongs_there(self):
        node, other = self.three(), self.node("other", databases=("a",))
        with client(other) as one:
            one.set("who", "x")
        node.stop()
        other.stop()
        shutil.rmtree(self.data(node, "a"))
        shutil.copytree(self.data(other, "a"), self.data(node, "a"))
        node.start()
        self.assertIn("another database than the one that 'a' was", self.not_open(node)["a"])
        agreed = self.data(node, "a") / "belongs_here"
        agreed.touch()
        self.await_open(node)
        self.assertEqual(self.values(node), "xbc")
        self.assertFalse(agreed.exists(), "it is agreed to once")
        node.stop()
        node.start()
        self.assertEqual(self.values(node), "xbc")

    def test_exchanged_databases_stay_exchanged_where_an_operator_wants_that(self):
        node = self.three()
        node.stop()
        self.exchange(node, "a", "b")
        for name in "ab":
            (self.data(node, name) / "belongs_here").touch()
        node.start()
        self.assertEqual((self.not_open(node), self.values(node)), ({}, "bac"))
        node.stop()
        node.start()
        self.assertEqual((self.not_open(node), self.values(node)), ({}, "bac"))
        self.assertEqual((self.named(node, "a"), self.named(node, "b")), ("a", "b"))

    def test_a_backup_of_the_same_database_is_served(self):
        node = self.three()
        node.stop()
        shutil.copytree(self.data(node, "a"), node.folder / "backup")
        node.start()
        with client(node) as one:
            one.set("who", "later")
        node.stop()
        shutil.rmtree(self.data(node, "a"))
        (node.folder / "backup").rename(self.data(node, "a"))
        node.start()
        self.assertEqual(self.values(node), "abc")

    def test_a_catalog_of_before_that_names_no_data_takes_what_is_there(self):
        node = self.three()
        node.stop()
        node.age_catalog("data_id")
        for name in "abc":
            (self.data(node, name) / ENTRY).unlink()
        node.start()
        self.assertEqual(self.values(node), "abc")

    def test_a_promoted_and_a_replaced_database_are_served_after_a_restart(self):
        source = self.node("prod-us", databases=("a",), mirrors_port=unused_port())
        node = self.node("eu-1", cluster="eu-1", databases=("own",))
        self.write_names(source, "a")
        node.create_mirror("a", source)
        node.create_mirror("own", source, database="a", replace=True, yes=True)
        for name in ("a", "own"):
            node.await_mirror(name, lambda one: one["status"] == "Following", "it to follow")
        node.verb("promote", "a", "--yes")
        node.stop()
        node.start()
        self.assertEqual(self.not_open(node), {})
        with client(node, "a") as one:
            one.set("who", "promoted")
        node.await_mirror("own", lambda one: one["status"] == "Following", "it to follow")


class WhatALostCatalogLeaves(FolderTest):
    NEW = "the catalog does not know a database that has a folder"

    def test_numbers_changed_without_a_word_when_the_catalog_and_all_entries_were_lost(self):
        node = self.three()
        node.verb("db", "create", "d")
        node.stop()
        self.forget_catalog(node, *"abcd")
        config = node.config.read_text(encoding="utf-8")
        node.config.write_text(config.replace('"a"', '"x"').replace('"b"', '"a"').replace('"x"', '"b"'), encoding="utf-8")
        node.start()
        self.assertEqual(self.numbers(node), {"b": 0, "a": 1, "c": 2, "d": 3}, "by the config's order")
        self.assertEqual(self.values(node), "abc")
        told = [re.search(r"database=(\S+) index=(\S+) beside_its_data=\"?nothing", line).groups() for line in self.log_lines(node, self.NEW)]
        self.assertEqual(told, [("b", "0"), ("a", "1"), ("c", "2")])
        line, = self.log_lines(node, "is kept as it is")
        self.assertIn("database=d index=3", line)

    def test_a_lost_catalog_and_anothers_entry_made_an_empty_database_over_the_data(self):
        node = self.three()
        node.stop()
        self.forget_catalog(node)
        shutil.copy(self.data(node, "b") / ENTRY, self.data(node, "a") / ENTRY)
        node.start()
        self.assertEqual(self.not_open(node).keys(), {"a"})
        self.assertIn("what belongs to 'b' by its catalog_entry.json", self.not_open(node)["a"])
        self.assertEqual(self.named(node, "a"), "b", "the evidence stays")
        line, = self.log_lines(node, self.NEW)
        self.assertIn("database=a index=3 beside_its_data=\"the entry of b\"", line)
        self.assertEqual(self.values(node, "bc"), "bc")
        (self.data(node, "a") / "belongs_here").touch()
        self.await_open(node)
        self.assertEqual(self.values(node), "abc")

    def test_a_damaged_entry_is_named_in_the_log(self):
        node = self.three()
        node.stop()
        self.forget_catalog(node, "b")
        (self.data(node, "a") / ENTRY).write_text("{", encoding="utf-8")
        node.start()
        self.assertEqual(self.values(node), "abc")
        damaged, missing = self.log_lines(node, self.NEW)
        self.assertIn('database=a index=3 beside_its_data="a catalog_entry.json that cannot be read"', damaged)
        self.assertIn("database=b index=4 beside_its_data=nothing", missing)
        self.assertIn("index=2", self.log_lines(node, "is taken as it is said beside its data")[0])

    def test_a_copy_under_a_name_that_nobody_knows_is_named_in_the_log(self):
        node = self.three()
        node.stop()
        shutil.copytree(self.data(node, "b"), self.data(node, "copy"))
        node.start()
        self.assertEqual(self.values(node, ("a", "b", "copy")), "abb")
        line, = self.log_lines(node, "is kept as it is")
        with client(node, "copy") as one:
            self.assertTrue(one.set("written", "here"), "its data is a root's")
        self.assertIn("database=copy index=3 beside_its_data=\"the entry of b\"", line)
        node.stop()
        node.start()
        self.assertEqual(self.values(node, ("a", "b", "copy")), "abb")


if __name__ == "__main__":
    unittest.main(verbosity=2)
