"""A Kubernetes control plane whose etcd is mirrored and promoted: what a second kube-apiserver has, and what clients of the
first one are told by it. docs/kubernetes.md is written from this."""

import os
import unittest
import urllib.parse

from cli_support import run
from kube_support import DEADLINE_S, ControlPlane, Informer, KubeApiserver, built, raise_revision
from node_etcd_support import PREFIX, EtcdNodeTest
from node_support import eventually

KUBERNETES, ETCD = "1.37.2", "3.6.16"
AHEAD = 1_000_000_000
EVENT_TTL_S = 240  # longer than a busy machine takes from the promotion to the second server
SHOP = "/api/v1/namespaces/shop"
MAPS = f"{SHOP}/configmaps"
WIDGETS = "/apis/shop.example/v1/namespaces/shop/widgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
EVENTS = f"{SHOP}/events"
COMPARED = (MAPS, f"{SHOP}/secrets", WIDGETS, DEFINITIONS, LEASES, EVENTS, "/api/v1/namespaces", "/api/v1/services",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/apiregistration.k8s.io/v1/apiservices",
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")
PROGRAMS = {}


def setUpModule():
    PROGRAMS["kubernetes"] = built("kube_apiserver", KUBERNETES)
    os.environ["PATH"] = f"{built('etcd_release', ETCD)}:{os.environ['PATH']}"


def widget(name, size):
    return {"apiVersion": "shop.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}


WIDGET_DEFINITION = {
    "metadata": {"name": "widgets.shop.example"},
    "spec": {"group": "shop.example", "scope": "Namespaced",
             "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {
                     "type": "object", "properties": {"size": {"type": "integer", "minimum": 0}}}}}}}]}}


def without_version(objects):
    """As they are, but for the one field that is of an etcd and not of the object."""
    return {name: {**one, "metadata": {key: value for key, value in one["metadata"].items() if key != "resourceVersion"}}
            for name, one in objects.items()}


def version(one):
    return int(one["metadata"]["resourceVersion"])


class ControlPlaneTest(EtcdNodeTest):
    """A control plane that was filled, mirrored and used; then all of its side is killed and the mirror promoted."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "localhost"))

    def setUp(self):
        super().setUp()
        self.place = self.path / self.id().rsplit(".", 1)[-1]
        self.plane = ControlPlane(self.path / f"plane-{self.place.name}", PROGRAMS["kubernetes"], self.certificates)
        self.source, self.target = self.own_cluster("source"), self.own_cluster("target")

    def apiserver(self, name, etcd, address, **options):
        api = KubeApiserver(self.place / name, etcd, self.plane, address,
                            flags=[f"--event-ttl={EVENT_TTL_S}s", "--etcd-compaction-interval=5s"], **options)
        self.addCleanup(api.kill)
        return api.await_ready()

    def watch(self, api, path, **options):
        watch = api.watch(path, **options)
        self.addCleanup(watch.close)
        return watch

    def fill(self, api):
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        for i in range(600):
            api.call("POST", MAPS, {"metadata": {"name": f"map-{i:03}"}, "data": {"value": str(i)}})
        api.call("POST", MAPS, {"metadata": {"name": "large"}, "data": {"value": "x" * 1_000_000}})
        for i in range(20):
            api.call("POST", f"{SHOP}/secrets", {"metadata": {"name": f"secret-{i}"}, "stringData": {"value": str(i)}})
            api.call("POST", LEASES, {"metadata": {"name": f"lease-{i}"}, "spec": {"holderIdentity": "a-client"}})
        api.call("POST", DEFINITIONS, WIDGET_DEFINITION)
        eventually(lambda: api.request("GET", WIDGETS), lambda answer: answer[0] == 200, "the definition to be served")
        for i in range(30):
            api.call("POST", WIDGETS, widget(f"widget-{i}", i))

    def events(self, api, name):
        for i in range(50):
            api.call("POST", EVENTS, {"metadata": {"name": f"{name}-{i}"}, "reason": "Tested", "type": "Normal",
                                      "involvedObject": {"kind": "ConfigMap", "namespace": "shop", "name": "map-000"}})

    def change(self, api):
        for i in range(50):
            api.call("DELETE", f"{MAPS}/map-{i:03}")
        api.call("PATCH", f"{MAPS}/map-100?fieldManager=test", {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map-100"}, "data": {"applied": "yes"}},
            "application/apply-patch+yaml")
        for i in range(200, 300):
            one = api.call("GET", f"{MAPS}/map-{i}")
            api.call("PUT", f"{MAPS}/map-{i}", {**one, "data": {"value": "changed"}})

    def compacted_while_away(self, api):
        """The kube-apiserver compacts its etcd past what the mirror has, while the mirror's node is away."""
        self.standby.stop()
        for i in range(300, 400):
            api.merge(f"{MAPS}/map-{i}", {"data": {"value": "while away"}})
        now = self.source.now()
        eventually(lambda: int(self.source.get("compact_rev_key") or 0), lambda revision: revision >= now, "a compaction")
        self.standby.start()
        self.await_applied(self.standby, self.source.now())
        self.assertEqual(self.standby.mirror("registry")["bootstraps"], 0)

    def lose_a_side(self):
        self.first = self.apiserver("first", self.source, "192.0.2.1")
        self.fill(self.first)
        self.prod = self.etcd_node(self.source)
        self.standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(self.standby, self.prod, self.target)
        self.informer = Informer(self.first, "shop", self.place / "informer")
        self.addCleanup(self.informer.kill)
        self.informer.await_line("synced")
        self.events(self.first, "before")
        self.change(self.first)
        self.compacted_while_away(self.first)
        self.events(self.first, "after")
        self.token = self.first.list(MAPS, limit=500)[1]["metadata"]["continue"]
        self.held = self.watch(self.first, MAPS, resourceVersion=self.first.list(MAPS, limit=1)[1]["metadata"]["resourceVersion"])
        last = self.first.merge(f"{MAPS}/map-500", {"data": {"value": "last"}})
        self.assertEqual(version(self.held.next()["object"]), version(last))
        self.informer.await_line("update", "map-500", last["metadata"]["resourceVersion"])
        self.old = {path: self.first.objects(path) for path in COMPARED}
        self.old_version = version(last)
        self.await_applied(self.standby, self.source.now())
        self.assert_verified(self.standby)
        self.first.kill()
        self.source.close()
        self.prod.kill()
        self.assertIsNone(self.held.next())
        self.promote()

    def promote(self):
        dry = self.standby.verb("promote", "registry", "--dry-run")
        # Of the events, which share some, of the server's address and of its place among its peers.
        self.assertRegex(dry, r"leases +\d+, each would be granted anew for its whole TTL")
        promoted = self.standby.verb("promote", "registry", "--require-lag", "60s", "--yes")
        self.assertIn("is promoted", promoted)
        self.assertNotEqual(self.target.lease_of(f"{PREFIX}events/shop/after-0"), 0)
        self.assertIsNone(self.target.get("compact_rev_key"))


class KubeApiserverTest(ControlPlaneTest):
    def second_server(self):
        """At the address that clients know, as when a load balancer or a name leads them there."""
        return self.apiserver("second", self.target, "192.0.2.2", port=self.first.port)

    def assert_all_is_there(self, api):
        for path in COMPARED:
            found = api.objects(path)
            self.assertTrue(found, path)
            self.assertEqual(without_version(found), without_version(self.old[path]), path)
        self.assertEqual(api.request("POST", WIDGETS, widget("wrong", -1))[0], 422)
        api.call("POST", WIDGETS, widget("new", 1))
        status, _ = api.request("PUT", f"{MAPS}/map-350", self.old[MAPS]["shop", "map-350"])
        self.assertEqual(status, 409)
        kept = {"preconditions": {"resourceVersion": self.old[MAPS]["shop", "map-350"]["metadata"]["resourceVersion"]}}
        self.assertEqual(api.request("DELETE", f"{MAPS}/map-350", kept)[0], 409)

    def assert_what_was_of_the_old_server_ends(self, api):
        def addresses():
            subsets = api.call("GET", "/api/v1/namespaces/default/endpoints/kubernetes").get("subsets", [])
            return [address["ip"] for subset in subsets for address in subset["addresses"]]
        eventually(addresses, lambda found: found == ["192.0.2.2"], "the old server's address to go")

    def continued(self, api):
        return api.request("GET", f"{MAPS}?{urllib.parse.urlencode({'limit': 500, 'continue': self.token})}")

    def watched_with_a_list(self, api):
        """The first event of a watch that begins with what is there, not older than what was known."""
        return self.watch(api, MAPS, resourceVersion=self.old_version, sendInitialEvents="true",
                          resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true").next()

    def assert_clients_are_told(self, api):
        """410 and what goes with it, by which every client of Kubernetes reads anew."""
        told = self.watch(api, MAPS, resourceVersion=self.old_version).next()
        self.assertEqual((told["type"], told["object"]["code"], told["object"]["reason"]), ("ERROR", 410, "Expired"))
        self.assertEqual(self.watched_with_a_list(api)["type"], "ADDED")
        self.assertEqual(api.list(MAPS, resourceVersion=self.old_version, resourceVersionMatch="Exact")[0], 410)
        self.assertEqual(self.continued(api)[0], 410)
        for match in ({}, {"resourceVersionMatch": "NotOlderThan"}):
            self.assertEqual(api.list(MAPS, resourceVersion=self.old_version, **match)[0], 200)
        changed = api.merge(f"{MAPS}/map-501", {"data": {"value": "new"}})
        self.informer.await_line("update", "map-501", changed["metadata"]["resourceVersion"])
        self.assertGreater(version(changed), self.old_version)

    def test_a_target_that_is_ahead_of_the_source_makes_every_client_read_anew(self):
        self.target.put("some key", "of one's own")
        raise_revision(self.target, AHEAD)
        self.assertGreater(self.target.now(), AHEAD)
        self.lose_a_side()
        second = self.second_server()
        self.assert_all_is_there(second)
        self.assert_clients_are_told(second)
        self.assert_what_was_of_the_old_server_ends(second)
        eventually(lambda: second.objects(EVENTS), lambda found: not found, "the events to expire", 2 * EVENT_TTL_S)
        eventually(lambda: self.target.get("compact_rev_key"), lambda revision: revision, "the second server to compact")
        self.assert_it_goes_home(second)

    def assert_it_goes_home(self, api):
        """The old side's node follows the promoted etcd into a new one, which is promoted in turn."""
        home = self.own_cluster("home")
        home.put("some key", "of one's own")
        raise_revision(home, 2 * AHEAD)
        self.events(api, "on-the-way-home")
        old = api.objects(MAPS)
        self.prod.start()
        self.prod.verb("mirror", "create", "registry", "--from", "eu-1/registry", "--addr", self.standby.mirrors, "--into", "etcd",
                       "--endpoints", home.endpoints, "--replace", "--yes", "--wait")
        self.await_applied(self.prod, self.target.now())
        self.assert_verified(self.prod)
        api.kill()
        self.prod.verb("promote", "registry", "--require-lag", "60s", "--yes")
        third = self.apiserver("third", home, "192.0.2.1", port=self.first.port)
        self.assertEqual(without_version(third.objects(MAPS)), without_version(old))
        self.assertEqual(len(third.objects(EVENTS)), 50)
        changed = third.merge(f"{MAPS}/map-503", {"data": {"value": "at home"}})
        self.assertGreater(version(changed), 2 * AHEAD)
        self.informer.await_line("update", "map-503", changed["metadata"]["resourceVersion"])

    def test_a_target_that_is_behind_the_source_leaves_clients_with_what_they_had_until_it_is_raised(self):
        self.lose_a_side()
        second = self.second_server()
        self.assertLess(self.target.now(), self.old_version)
        self.assert_all_is_there(second)
        self.assert_clients_are_not_told(second)
        self.assert_a_stale_write_is_taken(second)
        second.kill()
        raise_revision(self.target, AHEAD)
        self.assert_the_node_wants_a_restart()
        third = self.apiserver("third", self.target, "192.0.2.2", port=self.first.port)
        self.assert_clients_are_told(third)
        self.assert_what_was_of_the_old_server_ends(third)
        third.kill()
        self.assert_without_the_key_secrets_are_lost_to_it()

    def test_a_server_on_the_mirror_before_its_promotion_is_noticed_and_mended(self):
        first = self.apiserver("first", self.source, "192.0.2.1")
        self.prod = self.etcd_node(self.source)
        self.standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(self.standby, self.prod, self.target)
        early = self.apiserver("early", self.target, "192.0.2.2")
        early.call("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "mistaken"}})
        self.standby.await_mirror("registry", lambda one: "writes that were not crosslink's" in one["reason"], "a word about it")
        self.assertIn("extra    /registry/configmaps/default/mistaken", self.standby.verb("verify", "registry", code=5))
        early.kill()
        self.standby.verb("resync", "registry", "--yes")
        self.standby.await_mirror("registry", lambda one: one["bootstraps"] == 2, "the second bootstrap")
        self.await_applied(self.standby, self.source.now())
        self.assert_verified(self.standby)
        self.assertEqual(first.look("/readyz")[0], 200)

    def assert_the_node_wants_a_restart(self):
        """To crosslink a restored etcd is another cluster."""
        eventually(lambda: self.standby.verb("db", "list"), lambda said: "another cluster answers" in said, "a word about it")
        self.standby.stop()
        self.standby.start()
        eventually(lambda: self.standby.head("registry"), lambda head: head > AHEAD, "its newest revision")

    def assert_clients_are_not_told(self, api):
        # The server itself has one such watch.
        eventually(lambda: api.watches_of_namespaces("configmaps"), lambda count: count == 2, "the informer's watch", DEADLINE_S)
        silent = self.watch(api, MAPS, resourceVersion=self.old_version)
        fresh = self.watch(api, MAPS, resourceVersion=api.list(MAPS, limit=1)[1]["metadata"]["resourceVersion"])
        changed = api.merge(f"{MAPS}/map-502", {"data": {"value": "new"}})
        self.assertEqual(version(fresh.next()["object"]), version(changed))
        self.assertTrue(silent.is_silent(10))
        self.assertEqual(self.informer.lines()[-1], ("update", "map-500", str(self.old_version)))
        self.assertEqual(api.watches_of_namespaces("configmaps"), 4)
        for more in ({}, {"resourceVersionMatch": "Exact"}, {"resourceVersionMatch": "NotOlderThan"}):
            status, answer = api.list(MAPS, resourceVersion=self.old_version, **more)
            self.assertEqual((status, answer["details"]["causes"][0]["reason"]), (504, "ResourceVersionTooLarge"), more)
        self.assertEqual(self.continued(api)[0], 504)
        refused = self.watched_with_a_list(api)
        self.assertEqual((refused["type"], refused["object"]["code"]), ("ERROR", 504))

    def assert_a_stale_write_is_taken(self, api):
        """What an old client read has a version that means something else here, sooner or later."""
        for i in range(300, 400):
            stale = self.old[MAPS]["shop", f"map-{i}"]
            while self.target.now() < version(stale) - 1:
                self.target.put("some key", "of one's own")
            newer = api.merge(f"{MAPS}/map-{i}", {"data": {"value": "written at the promoted side"}})
            if version(newer) == version(stale):
                taken = api.call("PUT", f"{MAPS}/map-{i}", stale)
                self.assertEqual(taken["data"]["value"], "while away")
                return
        self.fail("no revision was met")

    def assert_without_the_key_secrets_are_lost_to_it(self):
        keyless = KubeApiserver(self.place / "keyless", self.target, self.plane, "192.0.2.2", encrypted=False)
        self.addCleanup(keyless.kill)
        eventually(lambda: keyless.look("/readyz?verbose"), lambda answer: "informer-sync failed" in str(answer[1]), "its check to fail")
        status, answer = keyless.request("GET", f"{SHOP}/secrets/secret-0")
        self.assertEqual(status, 500)
        self.assertIn("tried to read encrypted data", answer["message"])


if __name__ == "__main__":
    unittest.main()
