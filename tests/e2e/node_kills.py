"""Goal: whatever a command was doing when its node was killed, the next start finishes it. Method: a host kills itself
after each step of create, replace, delete and promote that survives a kill; then the real node starts on what is left."""

import http.client
import os
import unittest

from etcd_support import SharedEtcd
from node_support import NodeTest, client, eventually

HOST = os.environ["NODE_HOST"]
COMMAND_ENDS = (http.client.HTTPException, ConnectionError)


class NodeKills(NodeTest):
    def setUp(self):
        super().setUp()
        self.source = self.node("prod-us")
        with client(self.source) as one:
            one.mset({f"key-{number}": f"value-{number}" for number in range(300)})
        self.request = {"name": "packages", "from": "prod-us/packages", "addr": self.source.mirrors}

    def killed_at(self, node, step, method, path, body=None):
        """Starts the node anew as a host that is killed at the step of this command, and as itself after that."""
        node.stop()
        node.start([HOST, str(node.config), step])
        with self.assertRaises(COMMAND_ENDS):
            node.call(method, path, body)
        self.assertEqual(node.process.wait(60), -9)
        node.close()
        node.start()
        eventually(lambda: node.call("GET", "/v1/databases"), lambda now: "not_open" not in now, "what was begun to be finished")

    def mirror_node(self, **options):
        return self.node("eu-1", cluster="eu-1", **{"databases": (), **options})

    def assert_same(self, node):
        self.assertEqual(node.contents("packages"), self.source.contents("packages"))

    def follows(self, node):
        node.await_following("packages", self.source)
        self.assert_same(node)

    def kept_in(self, node):
        return node.folder / "data" / "databases" / "packages"

    def create(self, node):
        node.call("POST", "/v1/mirrors", self.request)
        self.follows(node)

    def test_a_create_goes_on_after_a_kill_at_every_step(self):
        for step in ("create.recorded", "create.opened"):
            with self.subTest(step):
                node = self.mirror_node()
                self.killed_at(node, step, "POST", "/v1/mirrors", self.request)
                self.follows(node)
                node.call("DELETE", "/v1/mirrors/packages")
                node.stop()

    def test_a_replace_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node(databases=("packages",))
        steps = ("create.recorded", "replace.closed", "replace.moved", "replace.forgotten", "replace.done", "create.opened")
        for number, step in enumerate(steps):
            with self.subTest(step):
                self.killed_at(node, step, "POST", "/v1/mirrors", {**self.request, "replace": True, "yes": True})
                self.follows(node)
                self.assertEqual(len(list((node.folder / "data" / "set-aside").iterdir())), number + 1)

    def test_a_replace_is_finished_once_the_catalog_can_be_written(self):
        node = self.mirror_node(databases=("packages",))
        # What is in the way of the catalog's next version, as a full disk would be.
        obstacle = node.folder / "data" / "catalog.json.new"
        node.stop()
        node.start([HOST, str(node.config), "replace.moved"])
        with self.assertRaises(COMMAND_ENDS):
            node.call("POST", "/v1/mirrors", {**self.request, "replace": True, "yes": True})
        self.assertEqual(node.process.wait(60), -9)
        node.close()
        obstacle.mkdir()
        node.start()
        eventually(lambda: node.call("GET", "/v1/databases")["not_open"][0]["reason"],
                   lambda reason: "catalog.json.new" in reason, "the reason")
        status, answer = node.request("POST", "/v1/mirrors/packages/pause", {})
        self.assertEqual((status, answer["error"]), (500, "Storage"))
        obstacle.rmdir()
        eventually(lambda: node.call("GET", "/v1/databases"), lambda now: "not_open" not in now, "the replace to be finished")
        self.follows(node)
        self.assertEqual(len(list((node.folder / "data" / "set-aside").iterdir())), 1)

    def test_a_change_that_is_not_durable_is_not_made(self):
        node = self.mirror_node()
        self.create(node)
        obstacle = node.folder / "data" / "catalog.json.new"

        def is_in_the_way():
            try:
                obstacle.mkdir()
            except FileExistsError:  # the node writes the catalog just then: what it found out of the mirror
                return False
            return True

        eventually(is_in_the_way, bool, "the catalog to be at rest")
        for method, path, body in (("POST", "/v1/mirrors/packages/pause", {}), ("DELETE", "/v1/mirrors/packages", None),
                                   ("POST", "/v1/databases", {"name": "fresh"})):
            status, answer = node.request(method, path, body)
            self.assertEqual((status, answer["error"]), (500, "Storage"), path)
        self.assertFalse(node.mirror("packages")["paused"])
        self.follows(node)
        obstacle.rmdir()
        node.call("POST", "/v1/databases", {"name": "fresh"})

    def test_a_delete_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node()
        for step in ("delete.recorded", "delete.closed", "delete.folder_removed", "delete.done"):
            with self.subTest(step):
                self.create(node)
                self.killed_at(node, step, "DELETE", "/v1/mirrors/packages")
                self.assertEqual(node.call("GET", "/v1/databases"), {"databases": []})
                self.assertFalse(self.kept_in(node).exists())

    def test_a_delete_that_keeps_the_data_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node()
        for step in ("delete.recorded", "delete.closed"):
            with self.subTest(step):
                self.create(node)
                self.killed_at(node, step, "DELETE", "/v1/mirrors/packages?keep_data=true")
                self.assertEqual(node.call("GET", "/v1/databases/packages")["kind"], "detached")
                self.assert_same(node)
                node.call("DELETE", "/v1/mirrors/packages")

    def test_a_promotion_is_whole_or_not_begun_after_a_kill(self):
        for step, status in (("promote.begun", "Following"), ("promote.recorded", "Promoted")):
            with self.subTest(step):
                node = self.mirror_node()
                self.create(node)
                self.killed_at(node, step, "POST", "/v1/mirrors/packages/promote", {})
                node.await_mirror("packages", lambda one, wanted=status: one["status"] == wanted, status)
                self.assert_same(node)
                node.call("DELETE", "/v1/mirrors/packages?promoted=true")
                node.stop()


class EtcdNodeKills(NodeKills):
    """The same of mirrors whose keys are in etcd: what a step did there is not done twice."""

    PREFIX = "/packages/"

    def setUp(self):
        super().setUp()
        self.target = SharedEtcd.take(self)
        self.request |= {"yes": True, "into": "etcd", "etcd": {"endpoints": self.target.endpoints.split(","), "prefix": self.PREFIX}}

    def assert_same(self, node):
        there = {key.removeprefix(self.PREFIX): value for key, value in self.target.pairs(self.PREFIX).items()}
        self.assertEqual(there, {key.decode(): value.decode() for key, value in self.source.contents("packages").items()})

    def kept_in(self, node):
        return node.folder / "data" / "beside" / "packages"


if __name__ == "__main__":
    unittest.main(verbosity=2)
