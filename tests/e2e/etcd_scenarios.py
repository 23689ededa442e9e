"""What happens to people who mirror etcd, in real processes against real servers."""

import os
import random
import re
import socket
import ssl
import threading
import time
import unittest

from cli_support import unused_port
from etcd_support import DEADLINE_S, EtcdTest, Host, is_bootstrapped, text64

ROUNDS = int(os.environ.get("ETCD_ROUNDS", "3"))


class EtcdScenarios(EtcdTest):
    def pair(self, **names):
        source, target = self.cluster(), self.cluster()
        self.start_source(source)
        self.start_mirror(target, **names)
        return source, target

    def assert_equal_now(self, source, target, target_prefix=None):
        self.wait_following(source.now())
        self.assert_verified()
        self.assert_same(source, target, target_prefix)

    def test_killed_at_random_moments_it_ends_equal(self):
        source, target = self.pair()
        load = self.load(source)
        for _ in range(ROUNDS):
            time.sleep(random.uniform(0.2, 2))  # a random moment is what is tested
            name = random.choice(["source", "mirror"])
            self.hosts[name].kill()
            if name == "source":
                self.start_source(source)
            else:
                self.start_mirror(target)
        load.await_commits(50)
        load.rest()
        self.assert_equal_now(source, target)

    def test_renamed_and_without_what_is_excluded(self):
        source, target = self.cluster(), self.cluster()
        source.put("/registry/a", "1")
        source.put("/registry/events/1", "not this one")
        source.put("/other", "nor this")
        target.put("/other", "of another client")
        self.start_source(source, exclude="/registry/events/")
        self.start_mirror(target, prefix="/eu/copy/")
        self.wait_following(source.put("/registry/b", "2"))
        self.assertEqual(target.pairs("/eu/copy/"), {"/eu/copy/a": "1", "/eu/copy/b": "2"})
        self.assertEqual(target.get("/other"), "of another client")
        self.assertIsNone(target.get("/registry/a"))
        self.assert_verified()

    def test_a_mirror_away_through_a_compaction_goes_on_where_it_was(self):
        source, target = self.pair()
        self.wait_following(source.put("/registry/a", "1"))
        self.hosts["mirror"].kill()
        for i in range(200):
            source.put(f"/registry/k{i}", str(i))
        last = source.now()
        self.wait("source", lambda facts: facts["head"] >= last)
        source.compact()
        self.start_mirror(target)
        self.wait_following(last)
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 0)
        self.assert_equal_now(source, target)

    def test_when_the_log_is_gone_it_bootstraps_anew_and_deletes_what_was_deleted(self):
        source, target = self.pair()
        for i in range(200):
            source.put(f"/registry/k{i}", str(i))
        self.wait_following(source.now())
        self.hosts["mirror"].kill()
        self.hosts["source"].kill()
        for i in range(0, 200, 2):
            source.delete(f"/registry/k{i}")
        source.compact()
        self.start_source(source)
        self.start_mirror(target)
        self.wait("mirror", lambda facts: facts["bootstraps"] == 1)
        self.assert_equal_now(source, target)
        self.assertEqual(len(target.pairs("/registry/")), 100)

    def test_deletes_while_it_was_down_are_not_lost(self):
        source, target = self.pair()
        source.txn([(f"/registry/k{i}", str(i)) for i in range(100)])
        self.wait_following(source.now())
        self.hosts["mirror"].kill()
        for i in range(50):
            source.delete(f"/registry/k{i}")
        self.start_mirror(target)
        self.wait_following(source.now())
        self.assertEqual(len(target.pairs("/registry/")), 50)
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 0)

    def test_leaders_of_both_clusters_are_killed(self):
        source, target = self.own_cluster("from", members=3), self.own_cluster("to", members=3)
        self.start_source(source)
        self.start_mirror(target)
        load = self.load(source)
        self.wait("mirror", lambda facts: is_bootstrapped(facts) and facts["applied"] > 50)
        for etcd in (source, target):
            leader = etcd.leader()
            etcd.kill(leader)
            etcd.leader()
            before = self.hosts["mirror"].ask("facts")["applied"]
            self.wait("mirror", lambda facts, before=before: facts["applied"] > before + 20)
            etcd.start(leader)
        load.rest()
        self.assert_equal_now(source, target)
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 1)

    def test_a_transaction_of_128_stays_whole_for_a_reader(self):
        source, target = self.pair()
        keys = [f"/registry/whole{i:03}" for i in range(128)]
        self.wait_following(source.txn([(key, "0") for key in keys]))
        stop, torn, seen = threading.Event(), [], set()

        def read():
            while not stop.is_set():
                values = set(target.pairs("/registry/whole").values())
                seen.update(values)
                if len(values) != 1:
                    torn.append(values)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            round_, deadline = 0, time.monotonic() + DEADLINE_S
            while round_ < 200 or (len(seen) <= 3 and time.monotonic() < deadline):
                round_ += 1
                last = source.txn([(key, str(round_)) for key in keys])
            self.wait_following(last)
        finally:
            stop.set()
            reader.join()
        self.assertEqual(torn, [])
        self.assertGreater(len(seen), 3)
        self.assertEqual(self.hosts["mirror"].ask("facts")["split"], 0)

    def test_a_deletion_of_5000_keys_at_once_is_written_in_parts_and_counted(self):
        source, target = self.pair()
        for i in range(0, 5000, 100):
            source.txn([(f"/registry/many{k:04}", "1") for k in range(i, i + 100)])
        self.wait_following(source.put("/registry/other", "1"))
        self.assertEqual(len(target.pairs("/registry/")), 5001)
        self.wait_following(source.delete_below("/registry/many"))
        self.assertEqual(target.pairs("/registry/"), {"/registry/other": "1"})
        self.assertEqual(self.hosts["mirror"].ask("facts")["split"], 1)
        self.assert_verified()

    def test_a_lease_that_ends_during_a_cut_is_gone_and_one_that_lives_is_alive_after_promotion(self):
        source, target = self.pair()
        short, long = source.grant(600), source.grant(600)  # the short one will be revoked
        source.put("/registry/short", "1", lease=short)
        self.wait_following(source.put("/registry/long", "2", lease=long))
        self.assertEqual(target.lease_of("/registry/long"), 0)
        self.hosts["mirror"].kill()
        source.call("/v3/lease/revoke", {"ID": short})  # as etcd itself does when it has expired
        self.assertIsNone(source.get("/registry/short"))
        self.start_mirror(target)
        self.wait_following(source.now())
        self.assertIsNone(target.get("/registry/short"))
        self.hosts["mirror"].must("promote")
        lease = target.lease_of("/registry/long")
        self.assertNotEqual(lease, 0)
        ttl = target.call("/v3/lease/timetolive", {"ID": lease})
        self.assertEqual(int(ttl["grantedTTL"]), 600)
        self.assertEqual(target.get("/registry/long"), "2")

    def test_two_crosslinks_on_one_target_one_is_refused_and_takes_over_later(self):
        source, target = self.pair(owner_s=5)
        self.wait_following(source.put("/registry/a", "1"))
        other = self.start_mirror(target, name="other", node="eu-1-b")
        self.assertEqual(other.ask("own")["error"], "Busy")
        self.wait_following(source.put("/registry/b", "2"))
        self.wait("other", lambda facts: facts["status"] == "Degraded" and "eu-1-a" in facts["reason"])
        self.hosts["mirror"].kill()
        last = source.put("/registry/c", "3")
        self.wait_following(last, "other")
        self.assertEqual(target.get("/registry/c"), "3")
        self.assert_verified("other")

    def test_one_that_was_stopped_past_its_lease_writes_no_more(self):
        source, target = self.pair(owner_s=2)
        load = self.load(source)
        self.wait("mirror", lambda facts: facts["status"] == "Following" and facts["transactions"] > 10)
        stopped = self.hosts["mirror"]
        stopped.freeze()
        self.addCleanup(stopped.thaw)
        self.start_mirror(target, name="other", node="eu-1-b")
        self.wait("other", lambda facts: facts["transactions"] > 10)
        stopped.thaw()
        facts = self.wait("mirror", lambda facts: "eu-1-b" in facts["reason"])
        self.assertNotEqual(facts["status"], "Halted")
        load.rest()
        self.wait_following(source.now(), "other")
        self.assert_verified("other")
        self.assert_same(source, target)
        self.assertEqual(self.hosts["mirror"].ask("facts")["transactions"], facts["transactions"])

    def test_the_same_node_comes_back_at_once(self):
        owner_s = 10 * DEADLINE_S  # no test waits for its end
        source, target = self.pair(owner_s=owner_s)
        self.wait_following(source.put("/registry/a", "1"))
        self.hosts["mirror"].kill()
        self.start_mirror(target, owner_s=owner_s)
        self.wait_following(source.put("/registry/b", "2"))

    def test_over_its_sources_own_keys_it_halts_instead_of_writing_without_end(self):
        source = self.cluster()
        last = source.put("/registry/leased", "1", lease=source.grant(600))
        self.start_source(source)
        self.start_mirror(source)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertIn("source's own etcd cluster", facts["reason"])
        self.assertNotEqual(source.lease_of("/registry/leased"), 0)
        self.assertLess(source.now(), last + 20)
        self.hosts["mirror"].close()
        self.start_mirror(source, name="copy", prefix="/copy/")
        self.wait_following(source.put("/registry/a", "1"), "copy")
        self.assertEqual(source.get("/copy/a"), "1")
        self.assert_verified("copy")

    def compacted(self, etcd, revision):
        try:
            etcd.call("/v3/kv/range", {"key": text64("a"), "revision": revision})
        except RuntimeError as refused:
            self.assertIn("compacted", str(refused))
            return True
        return False

    def grow(self, source, target):
        """A long history at the target; its newest revision is the mirror's."""
        for i in range(300):
            target.put("/other", str(i))
        self.wait_following(source.put("/registry/a", "1"))
        return target.now()

    def test_the_targets_history_is_compacted_to_the_length_that_was_said(self):
        source, target = self.pair(kept=100)
        newest = self.grow(source, target)
        deadline = time.monotonic() + DEADLINE_S
        while not self.compacted(target, newest - 120):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)  # between two looks
        self.assertFalse(self.compacted(target, newest - 80))
        self.assert_equal_now(source, target)

    def test_the_targets_history_is_not_compacted_when_that_is_off(self):
        source, target = self.pair(kept=0)
        first = target.now()
        self.grow(source, target)
        for round_ in range(1, 3):  # the second one is looked at after everything else was done once
            target.put("/registry/external", str(round_))
            self.wait("mirror", lambda facts, round_=round_: facts["external"] == round_)
        self.assertFalse(self.compacted(target, first))

    def test_an_external_write_is_shown_and_mended_by_a_resync(self):
        source, target = self.pair()
        self.wait_following(source.put("/registry/a", "1"))
        target.put("/registry/a", "forged")
        facts = self.wait("mirror", lambda facts: facts["external"] == 1)
        self.assertIn("/registry/a", facts["reason"])
        self.assertEqual(self.hosts["mirror"].must("verify")["outcome"], "different")
        self.hosts["mirror"].must("resync")
        self.wait("mirror", lambda facts: facts["bootstraps"] == 2)
        self.assert_equal_now(source, target)
        self.wait("mirror", lambda facts: "not crosslink's" not in facts["reason"])

    def test_an_external_write_while_it_was_down_is_shown(self):
        source, target = self.pair()
        self.wait_following(source.put("/registry/a", "1"))
        self.hosts["mirror"].kill()
        target.put("/other", "is not of the mirror")
        target.put("/registry/a", "forged")
        self.start_mirror(target)
        facts = self.wait("mirror", lambda facts: facts["external"] == 1)
        self.assertIn("/registry/a", facts["reason"])
        self.assertEqual(self.hosts["mirror"].must("verify")["outcome"], "different")

    def test_writes_to_other_keys_of_the_target_are_not_external_writes(self):
        source, target = self.pair()
        self.wait_following(source.put("/registry/a", "1"))
        for i in range(50):
            target.put(f"/other{i}", "1")
        target.put("/registry/zz", "now it is one")
        self.wait("mirror", lambda facts: facts["external"] == 1)

    def test_an_idle_prefix_among_others_that_are_busy_is_following(self):
        source, target = self.cluster(), self.cluster()
        self.start_source(source, idle_s=60)  # a link that is cut by a stall of this machine is not what is tested
        self.start_mirror(target, idle_s=60)
        self.wait_following(source.put("/registry/a", "1"))
        load = self.load(source, prefix="/busy/")
        enough = time.monotonic() + 3
        while time.monotonic() < enough or load.commits <= 100:
            self.assertLess(time.monotonic(), enough + DEADLINE_S)
            self.assertEqual(self.hosts["mirror"].ask("facts")["status"], "Following")
            time.sleep(0.05)  # looked at for three seconds, and more if that was little
        self.assert_verified()

    def test_compactions_during_the_snapshot_do_not_stop_it(self):
        source, target = self.own_cluster("from"), self.own_cluster("to")
        for i in range(0, 20000, 100):
            source.txn([(f"/registry/big{k:05}", "x" * 2000) for k in range(i, i + 100)])
        load = self.load(source)
        stop = threading.Event()

        def compact():
            while not stop.is_set():
                try:  # what is in the log already: the pages are passed, the watch is not
                    source.compact(self.hosts["source"].ask("facts")["head"], physical=False)
                except RuntimeError:
                    pass  # compacted already
                time.sleep(0.01)  # often, not always

        snapshots = set()

        def has_arrived(facts):
            snapshots.add(facts.get("snapshot", 0))
            return is_bootstrapped(facts)

        self.start_source(source)
        compacting = threading.Thread(target=compact)
        compacting.start()
        try:
            self.start_mirror(target)
            facts = self.wait("mirror", has_arrived)
        finally:
            stop.set()
            compacting.join()
            load.rest()
        # Pages were passed, and the snapshot that was begun is the one that came.
        self.assertEqual(len(snapshots - {0}), 1)
        self.assertGreater(facts["consistent"], max(snapshots))
        self.assertEqual(facts["bootstraps"], 1)
        self.assert_equal_now(source, target)
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 1)

    # --- other engines

    def test_into_rocksdb_and_out_of_it(self):
        source, target = self.cluster(), self.cluster()
        self.start_source(source)
        self.start("mirror", "mirror", "rocksdb")
        source.put("/registry/leased", "1", lease=source.grant(600))
        self.wait_following(source.put("/registry/a", "value"))
        self.assertEqual(self.hosts["mirror"].must("get", "/registry/a")["value"], "value")
        self.assert_verified()
        self.hosts["mirror"].close()
        self.hosts["source"].close()
        self.port = unused_port()
        rocksdb = self.start("rocksdb", "source", "rocksdb")
        for i in range(50):
            rocksdb.must("put", f"k{i}", 300)
        self.start_mirror(target, name="out", prefix="/from-rocksdb/")
        self.wait_following(rocksdb.must("put", "last", 10)["lsn"], "out")
        self.assertEqual(len(target.pairs("/from-rocksdb/")), 51)
        self.assert_verified("out")

    # --- refusals

    def refused(self, side="source", **names):
        host = Host(side, "etcd", self.certificates, self.port, self.data / "refused",
                    *(f"{key}={value}" for key, value in names.items()))
        self.addCleanup(host.close)
        return Host.parse(host.first)

    def enable_users(self, etcd, **permissions):
        """Users by name, each with one permission or several, of the password "word"; and root, as whom we go on."""
        etcd.call("/v3/auth/user/add", {"name": "root", "password": "secret"})
        etcd.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        for name, given in permissions.items():
            etcd.call("/v3/auth/user/add", {"name": name, "password": "word"})
            etcd.call("/v3/auth/role/add", {"name": name})
            for kind, begin, end in given if isinstance(given, list) else [given]:
                etcd.call("/v3/auth/role/grant", {"name": name, "perm": {
                    "permType": kind, "key": text64(begin), "range_end": text64(end)}})
            etcd.call("/v3/auth/user/grant", {"user": name, "role": name})
        etcd.call("/v3/auth/enable", {})
        etcd.log_in("root", "secret")
        password = self.data / "password"
        password.write_text("word\n")
        return password

    def test_a_wrong_password_is_refused_by_name(self):
        etcd = self.own_cluster("from")
        self.enable_users(etcd, reader=("READ", "\0", "\0"))
        wrong = self.data / "wrong"
        wrong.write_text("guess\n")
        answer = self.refused(endpoints=etcd.endpoints, prefix=self.prefix, user="reader", password_file=wrong)
        self.assertEqual(answer["error"], "NotAuthorized")
        self.assertIn("password of user reader", answer["message"])

    def test_a_role_that_may_only_read_halts_the_mirror_with_the_reason(self):
        source, target = self.cluster(), self.own_cluster("to")
        source.put("/registry/a", "1")
        password = self.enable_users(target, reader=("READ", "\0", "\0"))
        self.start_source(source)
        self.start_mirror(target, user="reader", password_file=password)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertIn("NotAuthorized", facts["reason"])
        self.assertIn("user reader", facts["reason"])

    def test_users_with_rights_on_the_prefixes_only(self):
        source, target = self.own_cluster("from"), self.own_cluster("to")
        source.put("/registry/a", "1")
        password = self.enable_users(source, reader=("READ", "/registry/", "/registry0"))
        self.enable_users(target, writer=self.rights_of_docs)
        self.start_source(source, user="reader", password_file=password)
        self.start_mirror(target, user="writer", password_file=password)
        self.wait("mirror", lambda facts: target.get("/registry/a") == "1")
        facts = self.hosts["source"].ask("facts")
        major, minor, patch = map(int, re.match(r"(\d+)\.(\d+)\.(\d+)", facts["version"]).groups())
        # Older ones need the right to all keys, to say how far a watch has come.
        old = (major, minor) == (3, 4) and patch < 32 or (major, minor) == (3, 5) and patch < 13
        self.assertEqual("may read all keys" in facts["reason"], old, facts)
        last = source.put("/registry/b", "2")
        self.wait("mirror", lambda facts: facts["applied"] >= last)
        self.assert_verified()

    # What docs/etcd.md says that a target's role needs; without the right to read all keys.
    rights_of_docs = [("READWRITE", "/registry/", "/registry0"), ("READWRITE", "/crosslink/registry", ""),
                      ("READWRITE", "/crosslink/registry/", "/crosslink/registry0")]

    def test_the_rights_that_the_docs_name_are_enough_for_all_that_a_mirror_does(self):
        source, target = self.own_cluster("from"), self.own_cluster("to")
        lease = source.grant(600)
        source.put("/registry/leased", "1", lease=lease)
        password = self.enable_users(source, reader=[("READ", "/registry/", "/registry0"), ("READ", "\0", "\0")])
        self.enable_users(target, writer=[*self.rights_of_docs, ("READ", "\0", "\0")])
        self.start_source(source, user="reader", password_file=password)
        self.start_mirror(target, user="writer", password_file=password, kept=100)
        self.grow(source, target)
        self.assert_verified()
        target.put("/registry/external", "1")
        self.wait("mirror", lambda facts: facts["external"] == 1)
        self.hosts["mirror"].must("resync")
        self.wait("mirror", lambda facts: facts["bootstraps"] == 2)
        self.assert_equal_now(source, target)
        self.hosts["mirror"].kill()
        self.start_mirror(target, user="writer", password_file=password)
        self.wait_following(source.put("/registry/b", "2"))
        self.hosts["mirror"].must("promote")
        self.assertNotEqual(target.lease_of("/registry/leased"), 0)

    def test_tokens_that_the_servers_no_longer_know_are_asked_for_anew(self):
        source, target = self.own_cluster("from"), self.own_cluster("to")
        source.put("/registry/a", "1")
        password = self.enable_users(source, crosslink=("READ", "\0", "\0"))
        self.enable_users(target, crosslink=("READWRITE", "\0", "\0"))
        self.start_source(source, user="crosslink", password_file=password)
        self.start_mirror(target, user="crosslink", password_file=password)
        self.wait_following(source.now())
        for round_ in range(5):
            for etcd in (source, target):  # a password that is set, to whatever, ends the user's tokens
                etcd.call("/v3/auth/user/changepw", {"name": "crosslink", "password": "word"})
            self.wait_following(source.put("/registry/a", str(round_)))
        target.put("/registry/a", "forged")
        self.wait("mirror", lambda facts: facts["external"] == 1)
        source.put("/registry/a", "mended")
        self.assert_equal_now(source, target)
        self.assertEqual(self.hosts["mirror"].ask("facts")["bootstraps"], 1)

    def test_plain_text_against_tls_and_the_other_way_round_are_told(self):
        tls = self.cluster_with_tls()
        answer = self.refused(endpoints=tls.replace("https", "http"), prefix=self.prefix)
        self.assertEqual(answer["error"], "Storage")
        self.assertIn("https://", answer["message"])
        plain = self.cluster()
        answer = self.refused(endpoints=plain.endpoints.replace("http", "https"), prefix=self.prefix,
                              ca=f"{self.certificates}/ca.pem")
        self.assertEqual(answer["error"], "Storage")
        self.assertIn("TLS", answer["message"])

    def cluster_with_tls(self):
        etcd = self.own_cluster("plain-first")
        etcd.kill(0)
        etcd.flags = ["--cert-file", f"{self.certificates}/prod-us.pem", "--key-file", f"{self.certificates}/prod-us.key",
                      "--listen-client-urls", etcd.endpoints.replace("http", "https"),
                      "--advertise-client-urls", etcd.endpoints.replace("http", "https")]
        etcd.start(0)
        self.await_tls(etcd.ports[0][0])
        return etcd.endpoints.replace("http", "https")

    def await_tls(self, port):
        context = ssl.create_default_context(cafile=f"{self.certificates}/ca.pem")
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection, \
                        context.wrap_socket(connection, server_hostname="prod-us"):
                    return
            except OSError:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)  # between two attempts

    def test_a_prefix_that_nothing_begins_with_is_told(self):
        etcd = self.cluster()
        etcd.put("/registry/a", "1")
        self.start("source", "source", "etcd", endpoints=etcd.endpoints, prefix="/regsitry/")
        self.assertIn('no key begins with "/regsitry/"', self.hosts["source"].ask("facts")["reason"])

    def test_a_value_over_the_targets_limit_halts_with_its_key_and_goes_on_once_it_is_raised(self):
        source = self.own_cluster("from", flags=["--max-request-bytes", "8000000"])
        target = self.own_cluster("to")
        self.start_source(source)
        self.start_mirror(target)
        self.wait_following(source.put("/registry/a", "1"))
        last = source.put("/registry/large", "x" * 3_000_000)
        facts = self.wait("mirror", lambda facts: facts["status"] == "Halted")
        self.assertIn("/registry/large", facts["reason"])
        self.assertIn("max-request-bytes", facts["reason"])
        target.kill(0)
        target.flags = ["--max-request-bytes", "8000000"]
        target.start(0)
        target.wait_ready()
        self.hosts["mirror"].must("resume")
        self.wait_following(last)
        self.assertEqual(len(target.get("/registry/large")), 3_000_000)

    def test_a_target_without_space_says_so_and_goes_on_once_it_has_some(self):
        source, target = self.cluster(), self.own_cluster("to", flags=["--quota-backend-bytes", "8000000"])
        self.start_source(source)
        self.start_mirror(target)
        self.wait_following(source.put("/registry/a", "1"))
        with self.assertRaisesRegex(RuntimeError, "space exceeded"):
            for i in range(1000):
                target.put(f"/fill/{i}", "x" * 100_000)
        last = source.put("/registry/b", "2")
        facts = self.wait("mirror", lambda facts: "space exceeded" in facts["reason"])
        self.assertNotEqual(facts["status"], "Halted")
        target.call("/v3/kv/deleterange", {"key": text64("/fill/"), "range_end": text64("/fill0")})
        target.compact()
        target.call("/v3/maintenance/defragment", {}, timeout=60)
        for alarm in target.call("/v3/maintenance/alarm", {})["alarms"]:
            target.call("/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        self.wait_following(last)
        self.assert_equal_now(source, target)

    def test_no_endpoint_answers(self):
        answer = self.refused(endpoints=f"http://127.0.0.1:{unused_port()}", prefix=self.prefix, deadline_ms=500)
        self.assertEqual(answer["error"], "Storage")


if __name__ == "__main__":
    unittest.main(verbosity=2)
