"""What a delete takes out of a node, what it asks before, and what it says is left."""

import json
import signal
import unittest

from node_etcd_support import EtcdNodeTest
from node_support import MirroredTest, client, eventually


class DeletingWhatIsNotOpen(EtcdNodeTest):
    def promoted_and_away(self, promote=True):
        """A mirror in an etcd of its own, promoted, at a node that was started anew while that etcd is away."""
        etcd = self.own_cluster("target")
        source = self.node("prod-us", databases=("registry",))
        with client(source, "registry") as one:
            one.set("/registry/a", 1)
        node = self.node("eu-1", cluster="eu-1", databases=())
        node.create_mirror("registry", source, into="etcd", etcd={"endpoints": etcd.endpoints.split(","), "prefix": "/registry/"})
        node.await_following("registry")
        if promote:
            node.verb("promote", "registry", "--yes")
        node.stop()
        etcd.kill(0)
        node.start()
        eventually(lambda: node.call("GET", "/v1/mirrors").get("not_open", []), lambda shut: len(shut) == 1, "it not to open")
        return node

    def test_a_promoted_database_whose_etcd_was_away_was_deleted_without_a_word(self):
        node = self.promoted_and_away()
        self.assertIn("--promoted", node.verb("mirror", "delete", "registry", "--yes", code=2))
        self.assertEqual(len(node.call("GET", "/v1/databases")["not_open"]), 1)
        node.verb("mirror", "delete", "registry", "--promoted", "--yes")
        self.assertEqual(node.call("GET", "/v1/databases"), {"databases": []})

    def test_a_delete_did_not_say_that_a_record_stays_in_an_etcd_that_is_away(self):
        node = self.promoted_and_away(promote=False)
        deleted = node.call("DELETE", "/v1/mirrors/registry")
        self.assertEqual((deleted["data"], deleted["left"]["keys"]), ("left", None), deleted)
        self.assertIn("not open", deleted["left"]["detail"])
        self.assertEqual(deleted["record_left"]["key"], "/crosslink/registry", deleted)
        self.assertTrue(deleted["record_left"]["detail"], deleted)

    def test_a_promotion_that_did_not_come_about_asks_for_no_word_later(self):
        source = self.node("prod-us")
        node = self.node("eu-1", cluster="eu-1", databases=())
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        source.stop()
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected" or not one["connected"], "the cut")
        node.verb("promote", "packages", "--require-lag", "1ms", "--yes", code=3)
        self.assertEqual(node.call("DELETE", "/v1/mirrors/packages")["data"], "removed")


class DeletingWhatTheConfigMakesAnew(MirroredTest):
    def test_a_mirror_deleted_while_the_config_has_a_table_for_it_was_an_empty_database_at_the_next_start(self):
        self.fill(self.source, end=5)
        self.follow()
        config = self.mirror.config.read_text(encoding="utf-8")
        self.mirror.config.write_text(config + '[[database]]\nname = "packages"\n', encoding="utf-8")
        self.mirror.signal(signal.SIGHUP)
        self.mirror.await_log("reloaded")
        self.assertIn("the config has a table", self.mirror.verb("mirror", "delete", "packages", "--yes", code=2))
        self.mirror.stop()
        self.mirror.start()
        self.assertEqual(len(self.mirror.contents("packages")), 5)
        self.mirror.config.write_text(config, encoding="utf-8")
        self.mirror.signal(signal.SIGHUP)
        self.mirror.await_log("reloaded", times=2)
        self.mirror.verb("mirror", "delete", "packages", "--yes")
        self.assertEqual(self.mirror.call("GET", "/v1/databases"), {"databases": []})


class DeletingRoots(EtcdNodeTest):
    def test_right_after_a_restart_a_database_that_mirrors_follow_was_deleted_without_a_word(self):
        node = self.node("prod-us", databases=())
        node.verb("db", "create", "orders", "--allow-mirrors", "eu-1")
        mirror = self.node("eu-1", cluster="eu-1", databases=())
        mirror.create_mirror("orders", node)
        mirror.await_following("orders", node)
        file = node.folder / "data" / "catalog.json"
        eventually(lambda: json.loads(file.read_text(encoding="utf-8"))["databases"][0], lambda one: one["followed"],
                   "the catalog to say that it is followed")
        mirror.stop()
        node.kill()
        node.start()
        self.assertIn("--followed", node.verb("db", "delete", "orders", "--yes", code=2))
        node.verb("db", "delete", "orders", "--followed", "--yes")

    def test_a_database_made_by_command_can_be_deleted_and_is_set_aside(self):
        node = self.node("prod-us")
        self.assertIn("the config has a table", node.verb("db", "delete", "packages", "--yes", code=2))
        node.verb("db", "create", "orders", "--allow-mirrors", "eu-1")
        with client(node, "orders") as one:
            one.set("k", "v")
        mirror = self.node("eu-1", cluster="eu-1", databases=())
        mirror.create_mirror("orders", node)
        mirror.await_following("orders", node)
        self.assertIn("mirror delete", mirror.verb("db", "delete", "orders", "--yes", code=2))
        self.assertIn("--yes", node.verb("db", "delete", "orders", code=2))
        self.assertIn("--followed", node.verb("db", "delete", "orders", "--yes", code=2))
        said = node.verb("db", "delete", "orders", "--followed", "--yes")
        aside, = (node.folder / "data" / "set-aside").iterdir()
        self.assertIn(str(aside), said)
        self.assertTrue((aside / "live").exists())
        self.assertEqual([one["name"] for one in node.call("GET", "/v1/databases")["databases"]], ["packages"])
        mirror.await_mirror("orders", lambda one: one["status"] == "Disconnected", "the mirror to be alone")
        with client(mirror, "orders") as one:
            self.assertEqual(one.get("k"), b"v", "a mirror keeps what it has")
        node.stop()
        node.start()
        self.assertEqual([one["name"] for one in node.call("GET", "/v1/databases")["databases"]], ["packages"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
