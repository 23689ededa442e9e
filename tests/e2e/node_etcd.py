"""Nodes that mirror etcd into etcd, etcd into RocksDB and RocksDB into etcd, by config and command."""

import json
import shutil
import signal
import socket
import threading
import time
import unittest

import redis

from certificate_support import issue_until
from cli_support import Background, run
from etcd_support import Etcd, text64
from node_etcd_support import PREFIX, EtcdNodeTest, place
from node_support import DEADLINE_S, eventually

VALID_S = 20  # of a certificate: long enough to connect with it on a slow machine


class NodeEtcd(EtcdNodeTest):
    def test_etcd_into_etcd_over_restarts_of_both_nodes(self):
        source, target = self.cluster(), self.cluster()
        for i in range(300):
            source.put(f"{PREFIX}k{i}", str(i))
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        first = self.follow(standby, prod, target)
        self.assertEqual(first["bootstraps"], 1)
        self.assertIn(target.endpoints, first["kept_at"])
        prod.config.write_text(prod.config.read_text().replace('mirrors = "127.0.0.1:0"', f'mirrors = "{prod.mirrors}"'))
        for node, end in ((standby, "stop"), (standby, "kill"), (prod, "stop"), (prod, "kill")):
            getattr(node, end)()
            last = source.put(f"{PREFIX}while-{node.cluster}-{end}", "away")
            source.delete(f"{PREFIX}k{last % 300}")
            node.start()
            self.await_applied(standby, source.now())
            self.assert_verified(standby)
        self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))
        self.assertEqual(standby.mirror("registry")["bootstraps"], 0)

    def test_deleted_and_made_again_it_begins_anew_and_the_keys_stay(self):
        source, target = self.cluster(), self.cluster()
        source.put(f"{PREFIX}a", "1")
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target)
        standby.call("DELETE", "/v1/mirrors/registry?keep_data=true")
        self.assertIsNotNone(target.get_bytes("/crosslink/registry"))
        standby.call("DELETE", "/v1/mirrors/registry?keep_data=false")
        self.assertIsNone(target.get_bytes("/crosslink/registry"))
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})
        source.delete(f"{PREFIX}a")
        last = source.put(f"{PREFIX}b", "2")
        self.follow(standby, prod, target, yes=True)
        self.await_applied(standby, last)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}b": "2"})
        self.assertEqual(standby.mirror("registry")["bootstraps"], 1)

    def test_etcd_into_rocksdb_is_read_by_clients_of_redis(self):
        source = self.cluster()
        prod = self.etcd_node(source, excludes=[f"{PREFIX}events/"])
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}events/1", "left out")
        source.put(f"{PREFIX}b", "2")
        self.follow(standby, prod)
        self.await_applied(standby, source.put(f"{PREFIX}a", "1"))
        self.assert_verified(standby)
        self.assertEqual(standby.contents("registry"), {f"{PREFIX}a".encode(): b"1", f"{PREFIX}b".encode(): b"2"})
        client = redis.Redis(port=prod.port)
        client.execute_command("SELECT", "registry")
        with self.assertRaisesRegex(redis.ResponseError, "not kept here"):
            client.get(f"{PREFIX}a")
        client.close()

    def test_rocksdb_into_etcd_below_a_prefix(self):
        target = self.cluster()
        prod = self.node("prod-us")
        standby = self.node("eu-1", cluster="eu-1", databases=())
        client = redis.Redis(port=prod.port)
        for i in range(100):
            client.set(f"k{i}", i)
        request = {"into": "etcd", "etcd": {"endpoints": target.endpoints.split(","), "prefix": "/from-rocksdb/"}}
        standby.create_mirror("packages", prod, **request)
        standby.await_following("packages", prod)
        client.delete("k7")
        client.close()
        standby.await_following("packages", prod)
        self.assert_verified(standby, "packages")
        expected = {f"/from-rocksdb/k{i}": str(i) for i in range(100) if i != 7}
        self.assertEqual(target.pairs("/from-rocksdb/"), expected)

    def test_a_target_restored_or_emptied_while_the_source_is_idle_is_brought_forward_and_not_promoted_unsaid(self):
        source, target = self.cluster(), self.own_cluster("to")
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        data, backup = target.folder / "m0", target.folder / "backup"

        def restart(take=None, put=None):
            target.kill(0)
            if take:
                shutil.copytree(data, take)
            if put:
                shutil.rmtree(data)
                shutil.copytree(put, data)
            target.start(0)
            target.wait_ready()

        restart(take=target.folder / "empty")
        source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod, target)
        restart(take=backup)
        for i in range(10):
            last = source.put(f"{PREFIX}b{i}", "1")
        self.await_applied(standby, last)
        for times, put in ((1, backup), (2, target.folder / "empty")):
            restart(put=put)
            standby.await_mirror("registry", lambda one: one["counts"]["target_gone_back"] == times, "it to be noticed")
            self.await_applied(standby, last)
            self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))
        self.assertEqual(standby.mirror("registry")["bootstraps"], 2)
        # Nothing of the source's comes now: what the backup had is all that there is.
        prod.stop()
        restart(put=backup)
        refused = run("promote", "registry", *self.admin(standby), "--require-lag", "5s", "--yes")
        self.assertNotEqual(refused.returncode, 0, refused)
        dry = eventually(lambda: run("promote", "registry", "--dry-run", *self.admin(standby), "-o", "json"),
                         lambda one: one.returncode == 0, "the dry run to have an answer")
        self.assertEqual(json.loads(dry.stdout)["lost"]["entries_lsn"], 10)

    def test_the_target_is_compacted_to_the_length_that_the_command_or_the_config_says(self):
        source = self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=(),
                            extra='[database_defaults]\ntarget_revisions_kept = 100')
        refused = self.create(standby, prod, source, "--target-revisions-kept", "few")
        self.assertEqual(refused.returncode, 2, refused)
        for name, said in {"said": "200", "defaulted": None, "never": "off"}.items():
            target = self.cluster()
            first = target.now()
            flags = ("--target-revisions-kept", said) if said else ()
            made = self.create(standby, prod, target, *flags, "--wait", name=name)
            self.assertEqual(made.returncode, 0, made)
            for i in range(300):
                target.put("/other", str(i))
            self.await_applied(standby, source.put(f"{PREFIX}{name}", "1"), name)
            newest = target.now()
            for kept, there in {"said": ((230, False), (150, True)), "defaulted": ((120, False), (80, True)),
                                "never": ((newest - first, True),)}[name]:
                eventually(lambda: self.holds(target, newest - kept), lambda held: held == there, f"{name} {kept}")

    @staticmethod
    def holds(etcd, revision):
        try:
            etcd.call("/v3/kv/range", {"key": "AA==", "revision": revision})
        except RuntimeError as refused:
            return "compacted" not in str(refused)
        return True

    def test_clusters_that_want_tls_and_certificates(self):
        self.made(run("certs", "issue", "--dir", self.certificates, "--name", "localhost", "--force"))
        source, target = (self.own_cluster(name, certificates=self.certificates) for name in ("from", "to"))
        last = source.put(f"{PREFIX}a", "1")
        files = {"cacert": f"{self.certificates}/ca.pem", "cert": f"{self.certificates}/eu-1.pem",
                 "key": f"{self.certificates}/eu-1.key"}
        prod = self.etcd_node(source, **files)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        made = self.create(standby, prod, target, "--cacert", files["cacert"], "--dry-run")
        self.assertIn("does it ask for a certificate", made.stdout)
        made = self.create(standby, prod, target, *(word for name in files for word in (f"--{name}", files[name])),
                           "--wait", "--timeout", "60")
        self.assertEqual(made.returncode, 0, made)
        self.await_applied(standby, last)
        self.assert_verified(standby)
        self.assertEqual(target.pairs(PREFIX), {f"{PREFIX}a": "1"})

    def test_a_renewed_client_certificate_is_shown_when_the_clusters_come_back(self):
        self.made(run("certs", "issue", "--dir", self.certificates, "--name", "localhost", "--force"))
        source, target = (self.own_cluster(name, certificates=self.certificates) for name in ("from", "to"))
        own = self.path / "certificates-for-etcd"
        shutil.copytree(self.certificates, own)
        issue_until(own, "eu-1", VALID_S)
        files = {"cacert": f"{own}/ca.pem", "cert": f"{own}/eu-1.pem", "key": f"{own}/eu-1.key"}
        prod = self.etcd_node(source, **files)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target, etcd=files)
        for node in (prod, standby):  # it has seen those that it began with
            node.await_log("a certificate ends soon: renew it role=etcd")
        (own / "eu-1.pem").write_text("garbage", encoding="utf-8")
        for node in (prod, standby):
            node.await_log("changed certificates cannot be used: the old ones stay in use database=registry")
            self.assertIn("holds no PEM certificate", node.verb("status"))
            self.assertIn('crosslink_certificate_not_after_seconds{role="etcd",database="registry"', node.call("GET", "/metrics"))
        for file in ("eu-1.pem", "eu-1.key"):
            shutil.copy(self.certificates / file, own)
        for node in (prod, standby):
            node.await_log("a changed file is used from now on role=etcd ")
        for etcd in (source, target):
            etcd.kill(0)
        for etcd in (source, target):
            etcd.start(0)
            etcd.wait_ready()
        self.await_applied(standby, source.put(f"{PREFIX}a", "1"))
        self.assert_verified(standby)
        self.assertNotIn("warning", prod.verb("status"))

    def test_a_password_that_is_changed_in_etcd_and_then_in_its_file_halts_nothing(self):
        source, target = self.cluster(), self.own_cluster("to")
        target.call("/v3/auth/user/add", {"name": "root", "password": "old"})
        target.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        target.call("/v3/auth/enable", {})
        target.log_in("root", "old")
        password = self.path / "etcd.password"
        password.write_text("old\n", encoding="utf-8")
        password.chmod(0o600)
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target, etcd={"user": "root", "password_file": str(password)})
        target.call("/v3/auth/user/changepw", {"name": "root", "password": "new"})
        target.kill(0)  # it forgets the tokens that it gave
        target.start(0)
        target.wait_ready(log_in=("root", "new"))
        last = source.put(f"{PREFIX}a", "1")
        seen = standby.await_mirror("registry", lambda one: "password of user root" in one["reason"], "the refusal")
        self.assertEqual(seen["status"], "Degraded", seen)
        password.write_text("new\n", encoding="utf-8")
        self.await_applied(standby, last)
        self.assert_verified(standby)

    def test_a_cluster_that_is_away_at_the_start_keeps_no_other_from_being_served(self):
        source = self.own_cluster("from")
        last = source.put(f"{PREFIX}a", "1")
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=("own",))
        self.follow(standby, prod)
        prod.stop()
        source.kill(0)
        prod.start()
        answer = prod.call("GET", "/v1/databases")
        self.assertEqual([one["name"] for one in answer["not_open"]], ["registry"])
        self.assertIn("etcd", answer["not_open"][0]["reason"])
        source.start(0)
        eventually(lambda: prod.call("GET", "/v1/databases"), lambda now: "not_open" not in now,
                   "the database to open")
        self.assertGreaterEqual(prod.head("registry"), last)

    def test_a_mirror_whose_cluster_is_away_at_the_start_goes_on_when_it_answers(self):
        source, target = self.cluster(), self.own_cluster("to")
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=("own",))
        source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod, target)
        standby.kill()
        target.kill(0)
        standby.start()
        status, answer = standby.request("GET", "/v1/mirrors/registry")
        self.assertIn("is not open", answer["message"])
        shown = run("status", *self.admin(standby))
        self.assertEqual(shown.returncode, 4, shown)
        self.assertIn("registry  is not open", shown.stdout)
        with Background("status", "registry", *self.admin(standby), "--wait", "following", "--timeout", "60") as waiting:
            target.start(0)
            last = source.put(f"{PREFIX}b", "2")
            self.assertEqual(waiting.wait(), 0, waiting.rest("stderr"))
        eventually(lambda: standby.request("GET", "/v1/mirrors/registry")[0], lambda code: code == 200, "it to open")
        self.await_applied(standby, last)
        self.assertEqual(standby.mirror("registry")["bootstraps"], 0)
        self.assert_verified(standby)

    def test_promoted_it_takes_writes_and_the_old_source_follows_back(self):
        source, target = self.cluster(), self.cluster()
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}leased", "1", lease=source.grant(600))
        self.follow(standby, prod, target)
        self.await_applied(standby, source.put(f"{PREFIX}a", "1"))
        promoted = standby.call("POST", "/v1/mirrors/registry/promote", {})
        self.assertTrue(promoted["promoted"])
        self.assertNotEqual(target.lease_of(f"{PREFIX}leased"), 0)
        standby.stop()
        standby.start()
        self.assertEqual(standby.mirror("registry")["status"], "Promoted")
        lost = source.put(f"{PREFIX}lost", "never mirrored")
        eventually(lambda: prod.head("registry"), lambda head: head >= lost, "the last write at the old source")
        last = target.put(f"{PREFIX}new", "2")
        eventually(lambda: standby.head("registry"), lambda head: head >= last, "the new write")
        request = {"name": "registry", "from": "eu-1/registry", "addr": standby.mirrors, "replace": True, "into": "etcd",
                "etcd": {"endpoints": source.endpoints.split(",")}}
        status, answer = prod.request("POST", "/v1/mirrors", request)
        self.assertEqual(answer["exit_code"], 6, answer)
        self.assertIn(source.endpoints, answer["message"])
        self.assertEqual(answer["replaced"]["keys"], [f"{PREFIX}lost"])
        prod.call("POST", "/v1/mirrors", {**request, "yes": True})
        self.await_applied(prod, last)
        self.assert_verified(prod)
        self.assertEqual(source.pairs(PREFIX), target.pairs(PREFIX))
        self.assertIsNone(source.get(f"{PREFIX}lost"))
        # The role that a command gave goes before the config.
        prod.stop()
        prod.start()
        self.await_applied(prod, target.put(f"{PREFIX}more", "3"))

    def test_learners_at_the_front_of_both_lists_are_passed_over_also_once_a_voter_is_gone(self):
        etcds, lists = [], []
        for name in ("source", "target"):
            etcd = Etcd(self.path / self.id().rsplit(".", 1)[-1] / f"etcd-{name}", members=3)
            self.addCleanup(etcd.close)
            voters = etcd.endpoints.split(",")
            learner = etcd.add_learner()
            etcds.append(etcd)
            lists.append([voters[0], learner, *voters[1:]] if name == "source" else [learner, *voters])
        source, target = etcds
        table = f'engine = "etcd"\nendpoints = {json.dumps(lists[0])}\nprefix = "{PREFIX}"\n'
        prod = self.node("prod-us", databases=("registry",), per_database=table)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}a", "1")
        standby.create_mirror("registry", prod, "registry", into="etcd", etcd={"endpoints": lists[1]})
        self.await_applied(standby, source.put(f"{PREFIX}b", "2"))
        source.kill(0)
        target.kill(0)
        self.await_applied(standby, source.put(f"{PREFIX}c", "3"))
        self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))

    def test_a_target_without_space_says_so_is_compacted_and_goes_on_once_it_is_disarmed(self):
        source = self.cluster()
        target = Etcd(self.path / self.id().rsplit(".", 1)[-1] / "etcd-target", flags=["--quota-backend-bytes", "16777216"])
        self.addCleanup(target.close)
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        source.put(f"{PREFIX}a", "1")
        self.follow(standby, prod, target)
        before = target.now()
        self.await_applied(standby, source.put(f"{PREFIX}b", "2"))
        with self.assertRaisesRegex(RuntimeError, "space"):
            for i in range(100):
                target.put(f"/others/{i}", "x" * 1_000_000)
        last = source.put(f"{PREFIX}c", "x" * 1000)
        standby.await_mirror("registry", lambda one: "the target etcd is out of space" in one["reason"], "the reason to name it")

        def is_compacted():
            try:
                target.call("/v3/kv/range", {"key": text64("a"), "revision": before})
                return False
            except RuntimeError as error:
                return "compacted" in str(error)
        eventually(is_compacted, bool, "crosslink to compact the target")
        target.delete_below("/others/")
        target.compact()
        target.call("/v3/maintenance/defragment", {})
        for alarm in target.call("/v3/maintenance/alarm", {"action": "GET"})["alarms"]:
            target.call("/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        self.await_applied(standby, last)
        self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))

    def test_an_owner_that_is_paused_or_loses_its_source_gives_the_mirror_to_a_node_that_can_follow(self):
        source, target = self.cluster(), self.cluster()
        source.put(f"{PREFIX}a", "1")
        tables = 'engine = "etcd"\n' + place(source)
        sources = [self.node(f"prod-{name}", databases=("registry",), per_database=tables) for name in ("a", "b")]
        first, second = (self.node(name, cluster="eu-1", databases=()) for name in ("first", "second"))
        self.follow(first, sources[0], target)
        second.create_mirror("registry", sources[1], "registry", into="etcd",
                             etcd={"endpoints": target.endpoints.split(",")})
        self.await_standing_by(second)
        first.call("POST", "/v1/mirrors/registry/pause")
        self.await_applied(second, source.put(f"{PREFIX}b", "2"))
        first.call("POST", "/v1/mirrors/registry/resume")
        self.await_standing_by(first)
        sources[1].kill()
        self.await_applied(first, source.put(f"{PREFIX}c", "3"))
        self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))
        self.assertEqual(first.mirror("registry")["bootstraps"], 1)

    def await_standing_by(self, node):
        node.await_mirror("registry", lambda one: "this node stands by" in one["reason"], "a standby that says so")

    def hanging(self):
        """A node with a mirror into an etcd of its own, and one of the same source into RocksDB."""
        source, target = self.cluster(), self.own_cluster("target")
        source.put(f"{PREFIX}a", "1")
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target)
        self.follow(standby, prod, name="other")
        return source, target, standby

    def test_a_target_that_hangs_holds_up_its_own_promotion_for_a_while_and_no_other_command(self):
        source, target, standby = self.hanging()
        target.freeze(0)
        self.addCleanup(target.thaw, 0)
        answers = []
        promoting = threading.Thread(target=lambda: answers.append(standby.request(
            "POST", "/v1/mirrors/registry/promote", {"timeout_ms": 2000, "require_lag_ms": 60_000})))
        promoting.start()
        standby.await_mirror("registry", lambda one: not one["connected"], "the promotion to have begun")
        begun = time.monotonic()
        standby.signal(signal.SIGHUP)
        standby.await_log("info reloaded")
        standby.call("POST", "/v1/mirrors/other/pause")
        standby.call("POST", "/v1/mirrors/other/resume")
        self.assertTrue(standby.call("POST", "/v1/mirrors/other/promote", {})["promoted"])
        self.assertLess(time.monotonic() - begun, 5)
        promoting.join(DEADLINE_S)
        status, answer = answers[0]
        self.assertEqual((status, answer["error"]), (503, "Timeout"), answer)
        self.assertIn("not promoted within 2 s: ", answer["message"])
        target.thaw(0)
        source.put(f"{PREFIX}b", "2")
        self.await_applied(standby, source.now())
        self.assertEqual(target.pairs(PREFIX), source.pairs(PREFIX))

    def test_promoting_again_and_again_is_judged_by_the_age_at_that_moment(self):
        source, target, standby = self.hanging()
        target.freeze(0)
        self.addCleanup(target.thaw, 0)
        status, answer = standby.request("POST", "/v1/mirrors/registry/promote", {"timeout_ms": 60_000, "require_lag_ms": 3000})
        self.assertEqual((status, answer["exit_code"]), (400, 3), answer)
        self.assertIn("over the 3000 ms asked for", answer["message"])
        target.thaw(0)
        self.await_applied(standby, source.now())
        promoted = standby.call("POST", "/v1/mirrors/registry/promote", {"require_lag_ms": 30_000})
        self.assertLess(promoted["lag_ms"], 30_000)

    def test_a_command_whose_caller_left_while_it_waited_is_not_carried_out(self):
        _, target, standby = self.hanging()
        target.freeze(0)
        self.addCleanup(target.thaw, 0)
        answers = []
        keeping = threading.Thread(target=lambda: answers.append(standby.request(
            "DELETE", "/v1/mirrors/registry?keep_data=true")))
        keeping.start()
        standby.await_log("mirror stopped")
        host, port = standby.admin.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as left:
            left.sendall(f"DELETE /v1/mirrors/registry?keep_data=false HTTP/1.1\r\nHost: {standby.admin}\r\n"
                         f"Authorization: Bearer {standby.token()}\r\nContent-Type: application/json\r\n\r\n".encode())
            standby.call("GET", "/v1/node")  # it has been read by now, and waits
        target.thaw(0)
        keeping.join(DEADLINE_S)
        standby.await_log("a command was dropped: its caller left before it began")
        self.assertIsNotNone(target.get_bytes("/crosslink/registry"), "no caller that stayed asked for a delete")

    def test_promoting_half_a_bootstrap_is_refused_unless_that_is_accepted(self):
        source, target = self.cluster(), self.own_cluster("to")
        for i in range(0, 2000, 100):
            source.txn([(f"{PREFIX}k{k:04}", "x" * 500) for k in range(i, i + 100)])
        prod = self.etcd_node(source)
        standby = self.node("eu-1", cluster="eu-1", databases=())
        self.follow(standby, prod, target)
        self.kill_in_a_bootstrap(standby, source, target)
        standby.start()
        status, answer = standby.request("POST", "/v1/mirrors/registry/promote", {})
        self.assertEqual(answer["exit_code"], 6, answer)
        promoted = standby.call("POST", "/v1/mirrors/registry/promote", {"accept_inconsistent": True})
        self.assertTrue(promoted["promoted"])
        self.assertFalse(promoted["consistent"])
        self.assertEqual(standby.mirror("registry")["status"], "Promoted")

    def kill_in_a_bootstrap(self, standby, source, target):
        """Leaves the target half written. The moment is short: the server is stopped for it, and it is tried again."""
        for attempt in range(20):
            for i in range(0, 2000, 100):
                source.txn([(f"{PREFIX}k{k:04}", f"{attempt}" * 500) for k in range(i, i + 100)])
            done = standby.mirror("registry")["bootstraps"]
            standby.call("POST", "/v1/mirrors/registry/resync", {})
            while not self.bootstraps(target) and standby.mirror("registry")["bootstraps"] == done:
                pass  # until it writes, or has written
            target.freeze(0)
            standby.call("POST", "/v1/mirrors/registry/pause", {})  # it is not to go on when it is started
            standby.kill()
            target.thaw(0)
            if self.bootstraps(target):
                return
            standby.start()
            standby.call("POST", "/v1/mirrors/registry/resume", {})
            self.await_applied(standby, source.now())
        self.fail("it was never in the middle of a bootstrap")

    @staticmethod
    def bootstraps(target):
        value = target.get_bytes("/crosslink/registry")
        return value[value.index(b"bootstrapping") + len(b"bootstrapping"):][:1] == b"\xc3"  # MessagePack's true

    def test_a_wrong_place_in_the_config_is_told_by_its_key(self):
        standby = self.node("eu-1", cluster="eu-1", databases=())
        for extra, expected in (('engine = "etcd"\nendpoints = []', "endpoints"),
                                ('engine = "etcd"\nendpoints = ["http://a:1", "https://b:1"]', "all of one kind"),
                                ('engine = "etcd"\nendpoints = ["http://a:1"]\nsync = "always"', "sync"),
                                ('engine = "etcd"\nendpoints = ["http://a:1"]\nuser = "u"', "password_file"),
                                ('engine = "lmdb"', "engine"), ('endpoints = ["http://a:1"]', "endpoints")):
            config = standby.folder / "wrong.toml"
            config.write_text(standby.config.read_text() + f'[[database]]\nname = "registry"\n{extra}\n')
            checked = run("config", "check", "--config", config)
            self.assertNotEqual(checked.returncode, 0, extra)
            self.assertIn(expected, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
