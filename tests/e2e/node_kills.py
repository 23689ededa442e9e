"""Goal: whatever a command was doing when its node was killed, the next start finishes it. Method: a host kills itself
after each step of create, replace, delete and promote that survives a kill; then the real node starts on what is left."""

import http.client
import os
import unittest

from node_support import NodeTest, client

HOST = os.environ["NODE_HOST"]
COMMAND_ENDS = (http.client.HTTPException, ConnectionError)


class NodeKills(NodeTest):
    def setUp(self):
        super().setUp()
        self.source = self.node("prod-us")
        with client(self.source) as one:
            one.mset({f"key-{number}": f"value-{number}" for number in range(300)})
        self.wish = {"name": "packages", "from": "prod-us/packages", "addr": self.source.mirrors}

    def killed_at(self, node, step, method, path, body=None):
        """Starts the node anew as a host that is killed at the step of this command, and as itself after that."""
        node.stop()
        node.start([HOST, str(node.config), step])
        with self.assertRaises(COMMAND_ENDS):
            node.call(method, path, body)
        self.assertEqual(node.process.wait(60), -9)
        node.close()
        node.start()

    def mirror_node(self, **options):
        return self.node("eu-1", cluster="eu-1", **{"databases": (), **options})

    def follows(self, node):
        node.await_following("packages", self.source)
        self.assertEqual(node.contents("packages"), self.source.contents("packages"))

    def test_a_create_goes_on_after_a_kill_at_every_step(self):
        for step in ("create.recorded", "create.opened"):
            with self.subTest(step):
                node = self.mirror_node()
                self.killed_at(node, step, "POST", "/v1/mirrors", self.wish)
                self.follows(node)
                node.call("DELETE", "/v1/mirrors/packages")
                node.stop()

    def test_a_replace_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node(databases=("packages",))
        steps = ("create.recorded", "replace.closed", "replace.moved", "replace.done", "create.opened")
        for number, step in enumerate(steps):
            with self.subTest(step):
                self.killed_at(node, step, "POST", "/v1/mirrors", {**self.wish, "replace": True, "yes": True})
                self.follows(node)
                self.assertEqual(len(list((node.folder / "data" / "set-aside").iterdir())), number + 1)

    def test_a_delete_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node()
        for step in ("delete.recorded", "delete.closed", "delete.folder_removed", "delete.done"):
            with self.subTest(step):
                node.create_mirror("packages", self.source)
                self.follows(node)
                self.killed_at(node, step, "DELETE", "/v1/mirrors/packages")
                self.assertEqual(node.call("GET", "/v1/databases"), {"databases": []})
                self.assertFalse((node.folder / "data" / "databases" / "packages").exists())

    def test_a_delete_that_keeps_the_data_goes_on_after_a_kill_at_every_step(self):
        node = self.mirror_node()
        for step in ("delete.recorded", "delete.closed"):
            with self.subTest(step):
                node.create_mirror("packages", self.source)
                self.follows(node)
                self.killed_at(node, step, "DELETE", "/v1/mirrors/packages?keep_data=true")
                self.assertEqual(node.call("GET", "/v1/databases/packages")["kind"], "detached")
                self.assertEqual(node.contents("packages"), self.source.contents("packages"))
                node.call("DELETE", "/v1/mirrors/packages")

    def test_a_promotion_is_whole_or_not_begun_after_a_kill(self):
        for step, status in (("promote.begun", "Following"), ("promote.recorded", "Promoted")):
            with self.subTest(step):
                node = self.mirror_node()
                node.create_mirror("packages", self.source)
                self.follows(node)
                self.killed_at(node, step, "POST", "/v1/mirrors/packages/promote", {})
                node.await_mirror("packages", lambda one, wanted=status: one["status"] == wanted, status)
                self.assertEqual(node.contents("packages"), self.source.contents("packages"))
                node.call("DELETE", "/v1/mirrors/packages")
                node.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
