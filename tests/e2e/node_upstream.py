"""A source that does not hear what it follows or reads itself: no mirror below it calls it heard, and each log, status
and refusal says where the trouble is."""

import unittest

from cli_support import run
from node_etcd_support import PREFIX, EtcdNodeTest
from node_support import MirroredTest, client, eventually

ABOVE = "the source itself last heard what it follows or reads"


class EtcdUpstream(EtcdNodeTest):
    def test_a_source_whose_etcd_is_gone_is_not_called_heard_and_says_so_itself(self):
        source = self.own_cluster("source")
        prod = self.etcd_node(source)
        prod.config.write_text(prod.config.read_text().replace('mirrors = "127.0.0.1:0"', f'mirrors = "{prod.mirrors}"'))
        standby = self.node("eu-1", cluster="eu-1", databases=())
        last = source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod)
        self.await_applied(standby, last)
        source.kill(0)
        standby.await_mirror("registry", lambda one: one["status"] == "Degraded" and ABOVE in one["reason"],
                             "the reason to name the source's etcd")
        seen = standby.call("POST", "/v1/mirrors/registry/promote", {"dry_run": True})
        self.assertFalse(seen["lost"]["known"], seen)
        self.assertGreater(seen["lost"]["heard_ms_ago"], 2000)
        self.assertIn("it had itself last heard what it follows or reads", seen["lost"]["detail"])
        self.assertNotIn("lost          nothing", standby.verb("promote", "registry", "--dry-run"))
        prod.await_log("database detail")
        self.assertIn("registry: the watch of etcd waits", prod.verb("status"))
        # A restart meanwhile: it is not told that it may not see the database, or that there is none.
        prod.stop()
        prod.start()
        eventually(lambda: standby.mirror("registry")["last_error"],
                   lambda error: error and error["error"] == "Busy" and "registry is not open at the source" in error["message"],
                   "the refusal to say that the database is not open")
        status, answer = standby.request("POST", "/v1/mirrors", {
            "name": "other", "from": "prod-us/registry", "addr": prod.mirrors, "dry_run": True})
        refused = [one for one in answer["checks"] if not one["ok"]]
        self.assertEqual([one["check"] for one in refused], ["reachable"], answer)
        self.assertIn("is not open at the source", refused[0]["detail"])
        source.start(0)
        source.wait_ready()
        self.await_applied(standby, source.put(f"{PREFIX}b", "2"))
        eventually(lambda: standby.call("POST", "/v1/mirrors/registry/promote", {"dry_run": True}),
                   lambda dry: dry["lost"]["known"], "the source to be heard again")


class ChainUpstream(MirroredTest):
    def test_the_end_of_a_chain_whose_middle_is_cut_does_not_call_the_root_heard(self):
        self.fill(self.source)
        self.follow()
        self.made(run("certs", "issue", "--dir", self.certificates, "--name", "eu-2"))
        end = self.node("eu-2", cluster="eu-2", databases=())
        end.create_mirror("packages", self.mirror)
        end.await_mirror("packages", lambda one: one["status"] == "Following" and
                         one["applied_lsn"] == self.mirror.head("packages"), "the end of the chain to follow")
        seen = eventually(lambda: end.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True}),
                          lambda dry: dry["lost"]["known"], "a word of the root")
        self.assertEqual(seen["lost"]["entries_lsn"], 0, seen)
        self.mirror.call("POST", "/v1/mirrors/packages/pause")
        with client(self.source) as one:
            for number in range(20):
                one.set(f"late-{number}", "x")
        end.await_mirror("packages", lambda one: ABOVE in one["reason"], "the reason to name the middle's source")
        seen = end.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True})
        self.assertFalse(seen["lost"]["known"], seen)
        self.assertNotIn("lost          nothing", end.verb("promote", "packages", "--dry-run"))
        self.assertEqual(end.mirror("packages")["connected"], True)
        self.mirror.call("POST", "/v1/mirrors/packages/resume")
        eventually(lambda: end.call("POST", "/v1/mirrors/packages/promote", {"dry_run": True}),
                   lambda dry: dry["lost"]["known"], "the root to be heard again")
        self.assertIn(b"late-19", end.contents("packages"))


if __name__ == "__main__":
    unittest.main()
