"""What the tests of nodes before etcd share."""

import json

from cli_support import run
from etcd_support import Etcd, SharedEtcd
from node_support import NodeTest

PREFIX = "/registry/"


def place(etcd, prefix=PREFIX, **more):
    keys = {"endpoints": etcd.endpoints.split(","), "prefix": prefix, **more}
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())


class EtcdNodeTest(NodeTest):
    def cluster(self):
        return SharedEtcd.take(self)

    def own_cluster(self, name, certificates=None):
        """For a case that ends or stops it, or wants certificates."""
        etcd = Etcd(self.path / self.id().rsplit(".", 1)[-1] / f"etcd-{name}", certificates=certificates)
        self.addCleanup(etcd.close)
        return etcd

    @staticmethod
    def admin(node):
        return ["--admin", node.admin, "--token-file", node.folder / "data" / "admin.token"]

    def etcd_node(self, etcd, **more):
        return self.node("prod-us", databases=("registry",), per_database='engine = "etcd"\n' + place(etcd, **more))

    def follow(self, mirror, source, target=None, name="registry", **more):
        if target is not None:
            more |= {"into": "etcd", "etcd": {"endpoints": target.endpoints.split(","), **more.pop("etcd", {})}}
        mirror.create_mirror(name, source, "registry", **more)
        return mirror.await_following(name)

    def create(self, node, source, target, *more, name="registry"):
        return run("mirror", "create", name, "--from", "prod-us/registry", "--addr", source.mirrors, *self.admin(node),
                   "--into", "etcd", "--endpoints", target.endpoints, *more)

    def await_applied(self, mirror, revision, name="registry"):
        return mirror.await_mirror(name, lambda one: one["status"] == "Following" and one["applied_lsn"] >= revision,
                                   f"{name} to follow up to {revision}")

    def assert_verified(self, mirror, name="registry"):
        verified = mirror.call("POST", f"/v1/mirrors/{name}/verify", {})
        self.assertEqual(verified["outcome"], "equal", verified)
