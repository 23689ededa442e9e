"""Goal: what one database lacks is that database's matter, nothing that was there is made anew without a word, and who may mirror
what survives the loss of the catalog. Method: folders and files of a stopped node go or are damaged, as by a volume that is not
mounted, a disk or an operator; then the node starts."""

import os
import shutil
import socket
import subprocess
import time
import unittest

import redis

from cli_support import PROGRAM, unused_port
from node_etcd_support import PREFIX, EtcdNodeTest, place
from node_support import DEADLINE_S, NodeTest, client, eventually

HOST = os.environ["NODE_HOST"]


class NotOpen(NodeTest):
    def three(self, **options):
        node = self.node(databases=("a", "b", "c"), **options)
        for name in "abc":
            with client(node, name) as one:
                one.set("who", name)
        return node

    def data(self, node, name):
        return node.folder / "data" / "databases" / name

    def not_open(self, node):
        return {one["name"]: one["reason"] for one in node.call("GET", "/v1/databases").get("not_open", [])}

    def value(self, node, name):
        with client(node, name) as one:
            return one.get("who")

    def test_a_database_whose_folder_is_gone_was_served_as_a_new_empty_one(self):
        node = self.three()
        node.stop()
        away = node.folder / "away"
        self.data(node, "b").rename(away)
        node.start()
        self.assertEqual([self.value(node, name) for name in "ac"], [b"a", b"c"])
        self.assertIn("is the volume mounted?", self.not_open(node)["b"])
        self.assertFalse(self.data(node, "b").exists(), "nothing was made in its place")
        with client(node) as one, self.assertRaisesRegex(redis.ResponseError, "'b' is not open"):
            one.execute_command("SELECT", 1)
        self.assertIn("b  is not open, tried again and again", node.verb("db", "list"))
        self.assertIn("b  is not open", node.verb("status", code=4))
        self.assertIn('crosslink_database_open{database="b"} 0', node.call("GET", "/metrics"))
        self.assertIn('crosslink_database_open{database="a"} 1', node.call("GET", "/metrics"))
        self.assertEqual(node.request("GET", "/readyz", headers={"Authorization": None}),
                         (200, "ok; databases that are not open: 1\n"))
        self.assertIn("is not open", node.verb("db", "create", "b", code=1))
        away.rename(self.data(node, "b"))  # mounted
        eventually(lambda: self.not_open(node), lambda left: not left, "b to be opened without a restart")
        self.assertEqual(self.value(node, "b"), b"b")
        self.assertEqual(node.call("GET", "/v1/databases/b")["index"], 1)

    def test_a_database_whose_data_is_lost_begins_empty_when_an_operator_says_so(self):
        node = self.three()
        self.assertIn("cannot begin anew", node.verb("db", "create", "b", "--anew", "--yes", code=2))
        node.stop()
        shutil.rmtree(self.data(node, "b"))
        node.start()
        self.assertIn("--yes", node.verb("db", "create", "b", "--anew", code=2))
        node.verb("db", "create", "b", "--anew", "--yes")
        self.assertEqual(self.not_open(node), {})
        with client(node, "1") as one:
            self.assertIsNone(one.get("who"))
            one.set("who", "b again")
        node.stop()
        node.start()
        self.assertEqual([self.value(node, name) for name in "abc"], [b"a", b"b again", b"c"])

    def test_one_damaged_database_kept_the_whole_node_down(self):
        node = self.three()
        node.stop()
        current, = self.data(node, "b").glob("**/CURRENT")
        kept = current.read_bytes()
        current.write_bytes(b"")
        shutil.rmtree(self.data(node, "c"))
        self.data(node, "c").write_text("a file")
        node.start()
        self.assertEqual(self.value(node, "a"), b"a")
        self.assertEqual(self.not_open(node).keys(), {"b", "c"})
        node.await_log("a database is not open", 2)
        current.write_bytes(kept)
        eventually(lambda: self.not_open(node).keys(), lambda left: left == {"c"}, "b to be opened without a restart")
        self.assertEqual(self.value(node, "b"), b"b")
        node.stop()

    def test_a_mirror_that_does_not_open_can_be_deleted_and_takes_no_command(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=("own",))
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        node.stop()
        live, = self.data(node, "packages").glob("**/CURRENT")
        live.write_bytes(b"")
        node.start()
        for verb in ("pause", "resume", "promote"):
            status, answer = node.request("POST", f"/v1/mirrors/packages/{verb}", {})
            self.assertGreaterEqual(status, 400, answer)
            self.assertIn("not open", answer["message"], verb)
        deleted = node.call("DELETE", "/v1/mirrors/packages")
        self.assertEqual(deleted["data"], "set_aside", "what cannot be looked at is not removed")
        self.assertEqual(self.not_open(node), {})
        self.assertEqual([one["name"] for one in node.call("GET", "/v1/databases")["databases"]], ["own"])
        node.create_mirror("packages", source)
        node.await_following("packages", source)

    def test_a_replace_of_a_database_that_is_not_open_went_through_without_a_question(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=("packages",))
        node.stop()
        current, = self.data(node, "packages").glob("**/CURRENT")
        current.write_bytes(b"")
        node.start()
        request = {"name": "packages", "from": "prod-us/packages", "addr": source.mirrors, "replace": True}
        status, refused = node.request("POST", "/v1/mirrors", request)
        self.assertEqual((status, refused["exit_code"]), (400, 6), refused)
        self.assertTrue(self.data(node, "packages").exists())
        node.call("POST", "/v1/mirrors", {**request, "yes": True})
        node.await_following("packages", source)

    def test_a_failed_create_removed_a_folder_that_it_had_not_made(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=())
        put_there = self.data(node, "packages")
        shutil.copytree(self.data(source, "packages"), put_there)
        self.assertIn("is in the way", node.verb("mirror", "create", "packages", "--from", "prod-us/packages", "--addr",
                                                 source.mirrors, code=2))
        self.assertTrue((put_there / "live").exists())

    def test_a_mirror_without_data_yet_is_opened_again(self):
        node = self.node("eu-1", cluster="eu-1", databases=())
        request = {"name": "packages", "from": "prod-us/packages", "addr": "127.0.0.1:1"}
        node.call("POST", "/v1/mirrors", request)
        node.stop()
        node.start()
        self.assertEqual(self.not_open(node), {})
        self.assertEqual(node.mirror("packages")["status"], "Disconnected")

    def test_a_renamed_table_of_the_config_stood_empty_beside_the_old_database_without_a_word(self):
        node = self.three()
        node.stop()
        config = node.config.read_text(encoding="utf-8")
        node.config.write_text(config.replace('name = "b"', 'name = "renamed"'), encoding="utf-8")
        node.start()
        self.assertEqual(self.value(node, "b"), b"b")
        line, = [line for line in node.log_text().splitlines() if "the config no longer names a database" in line]
        self.assertIn("database=b", line)
        self.assertIn("new_and_empty=renamed", line)
        node.stop()
        node.config.write_text(config, encoding="utf-8")
        node.start()
        line = [line for line in node.log_text().splitlines() if "the config no longer names a database" in line][-1]
        self.assertIn("database=renamed new_and_empty=none", line)

    def test_a_table_renamed_in_the_restart_of_an_upgrade_stood_empty_beside_the_old_database_without_a_word(self):
        node = self.three()
        node.stop()
        node.age_catalog("made", "configured", "promoted", "agreed_to_deletions", "moving_from", "open_without_list")
        config = node.config.read_text(encoding="utf-8")
        node.config.write_text(config.replace('name = "b"', 'name = "renamed"'), encoding="utf-8")
        node.start()
        self.assertEqual(self.value(node, "b"), b"b")
        line, = [line for line in node.log_text().splitlines() if "of an older version's making" in line]
        self.assertIn("database=b", line)
        self.assertIn("new_and_empty=renamed", line)
        node.stop()
        node.start()
        self.assertEqual(node.log_text().count("of an older version's making"), 1, "with no new table nothing was renamed")

    def test_a_lost_catalog_changed_numbers_and_let_everybody_in(self):
        node = self.node(databases=("a", "b"), extra="[database_defaults]\n", per_database="allow_mirrors = []")
        node.verb("db", "create", "d", "--allow-mirrors", "eu-1")
        node.verb("db", "create", "c")
        before = self.facts(node)
        node.stop()
        (node.folder / "data" / "catalog.json").unlink()
        node.start()
        self.assertEqual(self.facts(node), before)
        self.assertEqual(before["d"], (2, "root", ["eu-1"]))
        self.assertEqual(before["c"], (3, "root", []))

    def facts(self, node):
        databases = node.call("GET", "/v1/databases")["databases"]
        return {one["name"]: (one["index"], one["kind"], one["allow_mirrors"]) for one in databases}

    def test_a_mirror_goes_on_after_the_catalog_was_lost(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=())
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        node.stop()
        (node.folder / "data" / "catalog.json").unlink()
        node.start()
        with client(source) as one:
            one.set("after", "1")
        node.await_following("packages", source)
        self.assertEqual(node.mirror("packages")["bootstraps"], 0)

    def test_a_damaged_catalog_is_told_in_words_for_an_operator(self):
        node = self.three()
        node.stop()
        catalog = node.folder / "data" / "catalog.json"
        catalog.write_text(catalog.read_text(encoding="utf-8")[:100], encoding="utf-8")
        with self.assertRaisesRegex(AssertionError, "catalog.json is damaged.*move it away"):
            node.start()
        catalog.unlink()
        node.start()
        self.assertEqual([self.value(node, name) for name in "abc"], [b"a", b"b", b"c"])


class WhoMayMirror(NodeTest):
    def refused(self, mirror, source, database):
        mirror.create_mirror(database, source)
        seen = mirror.await_mirror(database, lambda one: one["last_error"] is not None, "a refusal")
        mirror.call("DELETE", f"/v1/mirrors/{database}")
        return seen["last_error"]

    def test_a_new_database_let_in_every_name_that_the_ca_signed(self):
        source = self.node(databases=(), extra="[database_defaults]\n", mirrors_port=unused_port())
        mirror = self.node("eu-1", cluster="eu-1", databases=())
        source.verb("db", "create", "orders")
        there, absent = (self.refused(mirror, source, name) for name in ("orders", "nothing"))
        self.assertEqual(there["error"], "NotAuthorized")
        self.assertEqual(there["message"].replace("orders", "X"), absent["message"].replace("nothing", "X"),
                         "whether a database exists is told only to names that may see it")
        self.assertIn("orders  may be mirrored by eu-1", source.verb("db", "allow-mirrors", "orders", "eu-1"))
        self.assertIn('crosslink_database_allow_mirrors{database="orders",mirror="eu-1"} 1', source.call("GET", "/metrics"))
        with client(source, "orders") as one:
            one.set("key", "value")
        mirror.create_mirror("orders", source)
        mirror.await_following("orders", source)
        source.stop()
        source.start()
        self.assertEqual(source.call("GET", "/v1/databases/orders")["allow_mirrors"], ["eu-1"])
        with client(source, "orders") as one:
            one.set("key", "after")
        mirror.await_following("orders", source)
        source.verb("db", "allow-mirrors", "orders", "")
        source.await_log("mirror cut: its name is no longer allowed")
        mirror.await_mirror("orders", lambda one: one["last_error"] is not None, "the refusal")

    def test_a_table_without_a_list_overrode_the_list_that_was_given_by_command(self):
        node = self.node(databases=(), extra="[database_defaults]\n")
        node.verb("db", "create", "orders", "--allow-mirrors", "eu-1")
        node.stop()
        config = node.config.read_text(encoding="utf-8")
        node.config.write_text(config + '[[database]]\nname = "orders"\n', encoding="utf-8")
        node.start()
        self.assertEqual(node.call("GET", "/v1/databases/orders")["allow_mirrors"], ["eu-1"])
        node.stop()
        node.config.write_text(config + '[[database]]\nname = "orders"\nallow_mirrors = ["asia-1"]\n', encoding="utf-8")
        node.start()
        self.assertEqual(node.call("GET", "/v1/databases/orders")["allow_mirrors"], ["asia-1"])
        self.assertIn("the config says who may mirror", node.verb("db", "allow-mirrors", "orders", "eu-1", code=2))


class DeletingWhatTakesWrites(NodeTest):
    def test_a_delete_of_a_promoted_database_removed_what_took_writes(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=())
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        node.verb("promote", "packages", "--yes")
        with client(node, "packages") as one:
            one.set("written", "here")
        self.assertIn("takes writes", node.verb("mirror", "delete", "packages", "--yes", code=2))
        with client(node, "packages") as one:
            self.assertEqual(one.get("written"), b"here")
        said = node.verb("mirror", "delete", "packages", "--promoted", "--yes")
        aside, = (node.folder / "data" / "set-aside").iterdir()
        self.assertIn(str(aside), said)
        self.assertTrue((aside / "live").exists())
        self.assertEqual(node.call("GET", "/v1/databases"), {"databases": []})


class NotOpenElsewhere(EtcdNodeTest):
    def test_an_etcd_that_hangs_held_up_the_start_of_all_other_databases_for_three_seconds(self):
        node = self.node(databases=("here",))
        with client(node, "here") as one:
            one.set("who", "here")
        node.stop()
        with socket.create_server(("127.0.0.1", 0)) as hung:  # takes connections and says nothing
            at = f"http://127.0.0.1:{hung.getsockname()[1]}"
            with open(node.config, "a", encoding="utf-8") as config:
                config.write(f'[[database]]\nname = "far"\nengine = "etcd"\nendpoints = ["{at}"]\nprefix = "/r/"\n')
            node.start(opening_s=0)
            self.assertEqual(node.serving_line.split("; ")[1], "1 database still to open\n")
            with client(node, "here") as one:
                self.assertEqual(one.get("who"), b"here")
            # Not by the library, which asks again until it is another error.
            with socket.create_connection(("127.0.0.1", node.port)) as raw, raw.makefile("rw", newline="") as said:
                said.write("SELECT far\r\n")
                said.flush()
                self.assertRegex(said.readline(), "^-LOADING database 'far' is not open: it is being opened since")
            self.assertIn("being opened since the node's start", node.verb("db", "list"))
            node.await_log("a database is not open database=far")
            begun = time.monotonic()
            node.stop()
            self.assertLess(time.monotonic() - begun, DEADLINE_S / 4, "a node that stops waits for no cluster")

    def test_a_delete_that_waited_for_an_etcd_that_hangs_held_up_the_end_of_the_node(self):
        source, target = self.cluster(), self.own_cluster("hung")
        source.put(f"{PREFIX}a", "1")
        prod = self.etcd_node(source)
        node = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(node, prod, target)
        node.stop()
        node.start([HOST, str(node.config), "delete.closed", "0"])
        target.freeze(0)
        with subprocess.Popen([PROGRAM, "mirror", "delete", "registry", "--yes", *self.admin(node)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as deleting:
            node.await_log("at the step delete.closed")  # next is the record in the cluster; before, all is withdrawn anyhow
            begun = time.monotonic()
            node.stop()
            self.assertLess(time.monotonic() - begun, 1.5, "it held the end for as long as a call to the cluster may take")
            self.assertNotEqual(deleting.wait(DEADLINE_S), 0)
        target.thaw(0)
        node.start()
        eventually(lambda: node.call("GET", "/v1/databases"), lambda answer: answer == {"databases": []},
                   "the delete to be finished")
        self.assertEqual(target.pairs("/crosslink/registry"), {})
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})

    def test_a_replace_on_a_slow_disk_met_a_try_to_open_what_it_had_just_put_there(self):
        gone, source, target = self.own_cluster("gone"), self.cluster(), self.cluster()
        source.put(f"{PREFIX}a", "1")
        prod = self.etcd_node(source)
        node = self.node("eu-1", cluster="eu-1", databases=("registry",), per_database='engine = "etcd"\n' + place(gone))
        node.stop()
        gone.kill(0)
        # Longer than between two tries.
        node.start([HOST, str(node.config), "replace.done", "5"])
        self.follow(node, prod, target, replace=True, yes=True)
        self.assertNotIn("in use by another process", node.log_text())
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
