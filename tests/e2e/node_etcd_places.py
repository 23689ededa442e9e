"""Where a mirror in etcd is kept, and what of others stands there: shown before it is made, and not deleted unasked later."""

import itertools
import json
import threading
import unittest

from cli_support import run, unused_port
from node_etcd_support import PREFIX, EtcdNodeTest, place
from node_support import eventually


class NodeEtcdPlaces(EtcdNodeTest):
    def test_the_command_line_creates_with_the_flags_of_etcdctl_and_says_what_a_dry_run_found(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        last = source.put(f"{PREFIX}a", "1")
        words = ["mirror", "create", "registry", "--from", "prod-us/registry", "--addr", prod.mirrors,
                 *self.admin(standby), "--into", "etcd", "--endpoints", target.endpoints, "--prefix", "/copy/"]
        dry = run(*words, "--dry-run", "-o", "json")
        self.assertEqual(dry.returncode, 0, dry)
        checks = {one["check"]: one for one in json.loads(dry.stdout)["checks"]}
        self.assertTrue(checks["target"]["ok"])
        self.assertIn("/copy/", checks["target"]["detail"])
        self.assertIsNone(target.get_bytes("/crosslink/registry"))
        closed = f"http://127.0.0.1:{unused_port()}"
        words[words.index(target.endpoints)] = closed
        dry = run(*words, "--dry-run", "-o", "json")
        self.assertNotEqual(dry.returncode, 0)
        self.assertFalse({one["check"]: one["ok"] for one in json.loads(dry.stdout)["checks"]}["target"])
        words[words.index(closed)] = target.endpoints
        made = run(*words, "--wait", "--timeout", "60")
        self.assertEqual(made.returncode, 0, made)
        self.await_applied(standby, last)
        self.assertEqual(target.pairs("/copy/"), {"/copy/a": "1"})
        self.assertIn("/copy/", run("status", "registry", *self.admin(standby)).stdout)
        refused = run(*words[:words.index("--prefix")], "--user", "alice")
        self.assertEqual(refused.returncode, 2, refused)

    def test_over_the_sources_own_keys_or_another_mirrors_none_is_made(self):
        source = self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}a", "1")
        for prefix in ((), ("--prefix", f"{PREFIX}copy/")):
            dry = self.create(standby, prod, source, *prefix, "--dry-run", "-o", "json")
            self.assertNotEqual(dry.returncode, 0, dry)
            checks = {one["check"]: one for one in json.loads(dry.stdout)["checks"]}
            self.assertFalse(checks["target"]["ok"], dry)
            self.assertIn("source's own etcd cluster", checks["target"]["detail"])
            made = self.create(standby, prod, source, *prefix)
            self.assertEqual(made.returncode, dry.returncode, made)
            self.assertIn("source's own etcd cluster", made.stderr)
        self.assertEqual(self.create(standby, prod, source, "--prefix", "/copy/", "--wait").returncode, 0)
        made = self.create(standby, prod, source, "--prefix", "/copy/x/", name="second")
        self.assertNotEqual(made.returncode, 0, made)
        self.assertIn("the mirror registry keeps", made.stderr)
        self.await_applied(standby, source.now())
        self.assertEqual(source.pairs("/copy/"), {"/copy/a": "1"})

    # --- loops through two etcds: what a mirror writes reaches its source by another mirror

    def mirror_node(self, cluster):
        self.made(run("certs", "issue", "--dir", self.certificates, "--name", cluster))
        self.addCleanup(lambda: [(self.certificates / f"{cluster}.{end}").unlink() for end in ("pem", "key")])
        return self.node(cluster, cluster=cluster, databases=())

    def set_apart(self, etcd, other):
        """A source that counts as its root does is taken for a promoted one, which is looked at once a client writes: clusters that
        tests share must not be at one revision by chance."""
        if abs(etcd.now() - other.now()) < 100:
            for _ in range(200):
                other.put("/elsewhere", "")

    def close_loop(self, node, source, database, etcd):
        """Makes the mirror that closes it, by a node to which no name in the chain is known."""
        made = run("mirror", "create", "closing", "--from", f"{source.cluster}/{database}", "--addr", source.mirrors,
                   *self.admin(node), "--into", "etcd", "--endpoints", etcd.endpoints, "--prefix", PREFIX, "--yes")
        self.assertEqual(made.returncode, 0, made)

    def await_halted(self, node):
        halted = node.await_mirror("closing", lambda one: one["status"] == "Halted", "the loop to be found")
        self.assertIn("comes back to it", halted["reason"])

    def await_pairs(self, etcds, pairs):
        """No copy of a marker stays anywhere."""
        for etcd in etcds:
            eventually(lambda etcd=etcd: etcd.pairs(PREFIX), lambda found: found == pairs, f"{pairs} in each etcd")

    def test_a_loop_through_two_etcds_halts_before_any_client_writes(self):
        source, target = self.cluster(), self.cluster()
        self.set_apart(source, target)
        prod = self.etcd_node(source)
        source.put(f"{PREFIX}a", "1")
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target)
        other = self.mirror_node("us-2")
        self.close_loop(other, standby, "registry", source)
        self.await_halted(other)
        self.await_applied(standby, source.put(f"{PREFIX}a", "2"))
        self.await_pairs((source, target), {f"{PREFIX}a": "2"})
        self.assert_verified(standby)

    def test_a_loop_through_two_etcds_halts_while_clients_write_so_that_the_middle_folds(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        keys, resting = [f"{PREFIX}{i}" for i in range(5)], threading.Event()
        source.txn([(key, "") for key in keys])
        self.follow(standby, prod, target)
        other = self.mirror_node("us-2")

        def write():
            for number in itertools.count():
                if resting.is_set():
                    return
                source.put(keys[number % len(keys)], str(number))

        writer = threading.Thread(target=write)
        self.addCleanup(writer.join)
        self.addCleanup(resting.set)
        writer.start()
        self.close_loop(other, standby, "registry", source)
        self.await_halted(other)
        resting.set()
        writer.join()
        self.await_applied(standby, source.put(f"{PREFIX}last", "1"))
        self.await_pairs((source, target), {key: value for key, value in source.pairs(PREFIX).items() if "crosslink" not in key})
        self.assert_verified(standby)

    def test_a_loop_that_ends_at_a_root_of_the_node_is_refused_before_anything_is_written(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        source.put(f"{PREFIX}a", "1")
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target)
        words = ["mirror", "create", "closing", "--from", "eu-1/registry", "--addr", standby.mirrors, *self.admin(prod),
                 "--into", "etcd", "--endpoints", source.endpoints, "--yes"]
        dry = run(*words, "--dry-run", "-o", "json")
        self.assertNotEqual(dry.returncode, 0, dry)
        target_check = {one["check"]: one for one in json.loads(dry.stdout)["checks"]}["target"]
        self.assertFalse(target_check["ok"], dry)
        self.assertIn("the source follows prod-us/registry", target_check["detail"])
        made = run(*words)
        self.assertNotEqual(made.returncode, 0, made)
        self.assertIn("the source follows prod-us/registry", made.stderr)
        self.assertEqual(source.pairs("/crosslink/"), {})
        self.assertEqual(run(*words, "--prefix", "/copy/", "--wait").returncode, 0)
        self.assertEqual(source.pairs("/copy/"), {"/copy/a": "1"})

    def test_a_loop_of_three_nodes_halts_where_it_is_closed(self):
        first, second, third = self.cluster(), self.cluster(), self.cluster()
        self.set_apart(first, third)
        prod = self.etcd_node(first)
        first.put(f"{PREFIX}a", "1")
        middle, last = self.node("eu-1", cluster="eu-1", databases=()), self.mirror_node("eu-2")
        self.follow(middle, prod, second)
        last.create_mirror("registry", middle, "registry", into="etcd", etcd={"endpoints": third.endpoints.split(",")})
        last.await_following("registry")
        other = self.mirror_node("us-2")
        self.close_loop(other, last, "registry", first)
        self.await_halted(other)
        first.put(f"{PREFIX}b", "2")
        self.await_pairs((first, second, third), {f"{PREFIX}a": "1", f"{PREFIX}b": "2"})

    def test_a_loop_through_rocksdb_in_which_keys_grow_with_each_round_halts(self):
        etcd = self.cluster()
        prod = self.etcd_node(etcd)
        etcd.put(f"{PREFIX}a", "1")
        middle = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(middle, prod)
        other = self.mirror_node("us-2")
        self.close_loop(other, middle, "registry", etcd)
        self.await_halted(other)
        etcd.put(f"{PREFIX}b", "2")
        self.assertLess(len(etcd.pairs(PREFIX)), 10)

    def test_a_loop_through_a_database_that_is_served_over_a_mirrors_keys_halts_after_some_writes(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=("back",), per_database='engine = "etcd"\n' + place(target))
        source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod, target)
        other = self.mirror_node("us-2")
        self.close_loop(other, standby, "back", source)
        other.await_following("closing")
        before = source.now()
        source.put(f"{PREFIX}a", "2")
        # Either of them breaks it, whichever looks first.
        both = (other, "closing"), (standby, "registry")
        halted = eventually(lambda: [one for one in (node.mirror(name) for node, name in both) if one["status"] == "Halted"],
                            lambda found: found, "the loop to be found")
        self.assertIn("comes back to it", halted[0]["reason"])
        self.assertLess(source.now() - before, 100)
        self.await_pairs((source, target), {f"{PREFIX}a": "2"})

    def test_a_place_with_keys_of_others_is_shown_and_not_taken_unasked(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        last = source.put(f"{PREFIX}a", "1")
        theirs = {f"/app-prod/{i:03}": "theirs" for i in range(100)}
        for begin in range(0, 100, 50):
            target.txn(list(theirs.items())[begin:begin + 50])
        request = "--prefix", "/app"
        dry = self.create(standby, prod, target, *request, "--dry-run", "-o", "json")
        self.assertEqual(dry.returncode, 6, dry)
        checks = {one["check"]: one for one in json.loads(dry.stdout)["checks"]}
        self.assertFalse(checks["keys"]["ok"], dry)
        there = json.loads(dry.stdout)["target"]
        self.assertEqual((there["prefix"], there["keys"], there["neighbours"]), ("/app", 100, ["/app-prod/"]))
        self.assertEqual(there["shown"][0], "/app-prod/000")
        refused = self.create(standby, prod, target, *request)
        self.assertEqual(refused.returncode, 6, refused)
        for said in ("100 keys", '"/app-prod/000"', 'so "/app-prod/" are below it as well', "--yes"):
            self.assertIn(said, refused.stderr)
        self.assertEqual(target.pairs("/app"), theirs)
        self.assertEqual(standby.call("GET", "/v1/mirrors")["mirrors"], [])
        made = self.create(standby, prod, target, *request, "--yes", "--wait")
        self.assertEqual(made.returncode, 0, made)
        self.await_applied(standby, last)
        self.assertEqual(target.pairs("/app"), {"/appa": "1"})
        self.assertEqual(standby.mirror("registry")["counts"]["deleted_keys"], 100)
        self.assertRegex(standby.log_text(), r"a bootstrap deletes keys.*keys=100")
        deleted = run("mirror", "delete", "registry", "--yes", *self.admin(standby))
        self.assertEqual(deleted.returncode, 0, deleted)
        self.assertIn('1 keys stay below "/app"', deleted.stdout)

    def test_a_record_that_cannot_be_read_is_named_with_what_removes_it(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        last = source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod, target)
        standby.stop()
        target.put("/crosslink/registry", "no record")
        standby.start()
        eventually(lambda: standby.request("GET", "/v1/mirrors/registry")[1], lambda said: "etcdctl del /crosslink/registry`" in
                   said.get("message", said.get("reason", "")), "the node to say what is to be done")
        deleted = run("mirror", "delete", "registry", "--yes", *self.admin(standby))
        self.assertEqual(deleted.returncode, 0, deleted)
        self.assertIn("its record /crosslink/registry stays", deleted.stdout)
        refused = self.create(standby, prod, target, "--yes")
        self.assertNotEqual(refused.returncode, 0, refused)
        self.assertIn("`etcdctl del /crosslink/registry`", refused.stderr)
        target.delete("/crosslink/registry")
        self.assertEqual(self.create(standby, prod, target, "--yes").returncode, 0)
        self.await_applied(standby, last)

    def test_a_source_that_names_another_prefix_later_takes_no_other_keys(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}a", "1")
        target.put("/other", "theirs")
        self.follow(standby, prod, target)
        self.assertIn(PREFIX, standby.mirror("registry")["kept_at"])
        config = prod.config.read_text().replace('mirrors = "127.0.0.1:0"', f'mirrors = "{prod.mirrors}"')
        for other in ("/", "/mistyped/"):
            prod.stop()
            prod.config.write_text(config.replace(f"prefix = {json.dumps(PREFIX)}", f"prefix = {json.dumps(other)}"))
            prod.start()
            standby.await_mirror("registry", lambda one: one["status"] == "Halted", "another source to be refused")
            standby.call("POST", "/v1/mirrors/registry/resync", {})
            said = f'says now that they begin with "{other}"'
            halted = standby.await_mirror("registry", lambda one: said in one["reason"], said)
            self.assertEqual(halted["status"], "Halted")
            self.assertEqual((target.pairs(PREFIX), target.get("/other")), ({f"{PREFIX}a": "1"}, "theirs"))
        prod.stop()
        prod.config.write_text(config)
        prod.start()
        standby.call("POST", "/v1/mirrors/registry/resync", {})
        self.await_applied(standby, source.put(f"{PREFIX}b", "1"))
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1", f"{PREFIX}b": "1"})

    def test_neighbours_that_came_later_are_deleted_by_no_resync_that_was_not_shown_them(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}a", "1")
        self.assertEqual(self.create(standby, prod, target, "--prefix", "/app", "--wait").returncode, 0)
        for number in (1, 2):
            theirs = f"/app-prod/{number}"
            target.put(theirs, "theirs")
            resync = run("resync", "registry", "--yes", *self.admin(standby))
            self.assertEqual(resync.returncode, 0, resync)
            # The key stands in what is said of external writes as well, whatever the status.
            halted = standby.await_mirror("registry", lambda one: one["status"] == "Halted" and
                                          "so they would be deleted" in one["reason"], "a mirror that refuses")
            self.assertIn(f'"{theirs}"', halted["reason"])
            self.assertEqual(len(target.pairs("/app-prod/")), number)
        resync = run("resync", "registry", "--yes", *self.admin(standby))
        self.assertEqual(resync.returncode, 0, resync)
        self.await_applied(standby, source.now())
        self.assertEqual(target.pairs("/app"), {"/appa": "1"})
        self.assertEqual(standby.mirror("registry")["counts"]["deleted_keys"], 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
