"""Two nodes that hold one mirror in etcd: what one promotes, the other neither overwrites nor forgets."""

import unittest

from cli_support import run
from node_etcd_support import PREFIX, EtcdNodeTest
from node_support import eventually


class NodeEtcdStandby(EtcdNodeTest):
    def promoted_by_another(self):
        source, target = self.cluster(), self.cluster()
        prod = self.source = self.etcd_node(source)
        source.put(f"{PREFIX}a", "1")
        owner, standby = (self.node(name, cluster="eu-1", databases=()) for name in ("eu-1-a", "eu-1-b"))
        self.follow(owner, prod, target)
        self.follow(standby, prod, target)
        owner.verb("promote", "registry", "--yes")
        target.put(f"{PREFIX}a", "promoted")
        return owner, standby, target

    def status(self, node):
        return node.call("GET", "/v1/mirrors/registry")["status"]

    def test_an_idle_standby_says_that_another_node_promoted_and_follows_no_more(self):
        owner, standby, target = self.promoted_by_another()
        eventually(lambda: self.status(standby), lambda status: status == "Promoted", "the standby to hear of it", 10)
        resynced = run("resync", "registry", "--yes", *self.admin(standby))
        self.assertNotEqual(resynced.returncode, 0, resynced)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "promoted"})
        self.assertEqual(self.status(owner), "Promoted")
        # Clients wrote before the standby heard of it, and after.
        target.put(f"{PREFIX}b", "promoted")
        self.assertEqual(standby.call("GET", "/v1/mirrors/registry")["reason"], "it was promoted and takes writes")
        self.assertEqual(standby.call("GET", "/v1/mirrors/registry")["counts"]["foreign_writes"], 0)

    def test_a_create_at_another_node_of_what_was_promoted_made_it_a_promoted_database_there(self):
        owner, standby, target = self.promoted_by_another()
        third = self.node("eu-1-c", cluster="eu-1", databases=())
        prod = self.source
        for more in ((), ("--yes",), ("--replace", "--yes"), ("--dry-run",)):
            refused = self.create(third, prod, target, *more)
            self.assertNotEqual(refused.returncode, 0, refused)
            self.assertIn("promoted 'registry' in that etcd", refused.stdout + refused.stderr)
        again = self.create(standby, prod, target, "--replace", "--yes")
        self.assertIn("promoted 'registry' in that etcd", again.stderr)
        self.assertEqual(third.call("GET", "/v1/databases"), {"databases": []})
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "promoted"})
        # The owner is gone for good.
        owner.stop()
        standby.verb("mirror", "delete", "registry", "--promoted", "--yes")
        target.delete_below("/crosslink/registry")
        made = self.create(third, prod, target, "--yes", "--wait")
        self.assertEqual(made.returncode, 0, made)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})

    def test_a_promotion_said_nothing_of_keys_that_others_deleted_from_the_mirror(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        for key in "abc":
            source.put(f"{PREFIX}{key}", "1")
        node = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(node, prod, target)
        target.delete(f"{PREFIX}b")
        node.await_mirror("registry", lambda one: "not crosslink's" in one["reason"], "the deletion to be noticed")
        for words in (("--dry-run",), ("--yes",)):
            said = node.verb("promote", "registry", *words)
            self.assertIn("known of it   1 writes that were not crosslink's changed this mirror", said)
        self.assertEqual(node.mirror("registry")["reason"], "it was promoted and takes writes")

    def test_a_delete_at_a_standby_leaves_the_record_of_what_another_node_promoted(self):
        owner, standby, target = self.promoted_by_another()
        refused = run("mirror", "delete", "registry", "--yes", *self.admin(standby))
        self.assertIn("--promoted", refused.stderr)
        deleted = run("mirror", "delete", "registry", "--promoted", "--yes", *self.admin(standby))
        self.assertEqual(deleted.returncode, 0, deleted)
        self.assertIn("promoted this mirror", deleted.stdout)
        self.assertNotIn("etcdctl", deleted.stdout)
        self.assertIsNotNone(target.get_bytes("/crosslink/registry"))
        owner.stop()
        owner.start()
        eventually(lambda: self.status(owner), lambda status: status == "Promoted", "it to be what it was")
        owner.verb("mirror", "delete", "registry", "--promoted", "--yes")
        self.assertIsNone(target.get_bytes("/crosslink/registry"))
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "promoted"})

    def test_a_create_of_what_was_promoted_is_refused_and_a_replace_says_whose_keys_it_deletes(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        source.put(f"{PREFIX}a", "1")
        node = self.node("eu-1", cluster="eu-1", databases=())
        self.assertEqual(self.create(node, prod, target, "--wait").returncode, 0)
        node.verb("promote", "registry", "--yes")
        target.put(f"{PREFIX}after", "1")
        again = self.create(node, prod, target)
        self.assertNotEqual(again.returncode, 0, again)
        self.assertIn("was promoted", again.stderr)
        dry = self.create(node, prod, target, "--replace", "--dry-run")
        self.assertIn("2 keys", dry.stdout)
        self.assertIn("what clients wrote since", dry.stdout)
        self.assertNotIn("data is moved aside", dry.stdout)
        self.assertNotIn("this mirror's, by its record", dry.stdout)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1", f"{PREFIX}after": "1"})
        replaced = self.create(node, prod, target, "--replace", "--yes", "--wait")
        self.assertEqual(replaced.returncode, 0, replaced)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})


if __name__ == "__main__":
    unittest.main()
