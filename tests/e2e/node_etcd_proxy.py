"""A source whose endpoint is `etcd grpc-proxy`: it follows, knows how old it is, opens after a restart, and a loop that the
proxy's --namespace hides is found."""

import subprocess
import time
import unittest

from cli_support import unused_port
from node_etcd_support import PREFIX, EtcdNodeTest
from node_support import DEADLINE_S, eventually


class NodeEtcdProxy(EtcdNodeTest):
    def proxy(self, etcd, *flags):
        """Its port, once it answers."""
        port = unused_port()
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "etcd", "grpc-proxy", "start", "--endpoints", etcd.endpoints.removeprefix("http://"),
             "--listen-addr", f"127.0.0.1:{port}", "--advertise-client-url", f"127.0.0.1:{port}", *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return port

    def node_behind(self, port, prefix=PREFIX, **options):
        table = f'engine = "etcd"\nendpoints = ["http://127.0.0.1:{port}"]\nprefix = "{prefix}"\n'
        node = self.node("prod-us", databases=("registry",), per_database=table, **options)
        eventually(lambda: node.request("GET", "/v1/databases/registry"), lambda answer: answer[0] == 200, "the source to open")
        return node

    def test_its_age_is_known_and_a_restart_opens_while_the_newest_revision_is_elsewhere(self):
        etcd = self.cluster()
        for i in range(10):
            etcd.put(f"{PREFIX}{i}", str(i))
        etcd.put("/other/x", "1")
        prod = self.node_behind(self.proxy(etcd), mirrors_port=unused_port())
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod)
        self.await_applied(standby, etcd.put("/other/x", "2"))
        self.await_applied(standby, etcd.put(f"{PREFIX}1", "3"))
        etcd.put("/other/x", "4")
        prod.stop()
        prod.start()
        begun = time.monotonic()
        last = etcd.put("/other/x", "5")
        self.await_applied(standby, last)
        self.assertLess(time.monotonic() - begun, DEADLINE_S)
        self.assert_verified(standby)

    def test_a_loop_that_its_namespace_hides_halts_the_mirror_after_a_few_writes(self):
        etcd = self.cluster()
        etcd.put("/a/x/1", "1")
        etcd.put("/a/x/2", "2")
        prod = self.node_behind(self.proxy(etcd, "--namespace=/a"), prefix="/x/")
        standby = self.node("eu-1", cluster="eu-1", databases=())
        standby.create_mirror("registry", prod, "registry", into="etcd", yes=True,
                              etcd={"endpoints": etcd.endpoints.split(","), "prefix": "/a/x/"})
        standby.await_mirror("registry", lambda one: one["bootstraps"] == 1, "the first bootstrap")
        etcd.put("/a/x/3", "3")
        halted = standby.await_mirror("registry", lambda one: one["status"] == "Halted", "the loop to be found")
        self.assertIn("comes back to it", halted["reason"])
        self.assertLess(etcd.now(), 300)
        self.assertEqual(etcd.pairs("/a/x/"), {f"/a/x/{i}": str(i) for i in (1, 2, 3)})


if __name__ == "__main__":
    unittest.main()
