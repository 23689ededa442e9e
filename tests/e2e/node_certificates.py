"""Whose certificate is let in, node against node. Both sides say what is wrong, nothing crosses, a mirror that may follow is
served all the while, and what was mended is followed again."""

import json
import shutil
import signal
import unittest

from cryptography import x509

from certificate_support import issue_until
from cli_support import run
from node_support import MirroredTest, eventually


VALID_S = 20  # long enough to connect with it on a slow machine; the tests wait for its end


class Certificates(MirroredTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made(run("certs", "issue", "--dir", cls.certificates, "--name", "us-2"))
        cls.other_ca = cls.path / "other-ca"
        cls.made(run("certs", "init", "--dir", cls.other_ca))
        for name in ("prod-us", "us-2"):
            cls.made(run("certs", "issue", "--dir", cls.other_ca, "--name", name))

    def setUp(self):
        """The mirror at eu-1 follows; it is us-2 that things happen to."""
        super().setUp()
        self.fill(self.source)
        self.follow()

    def files_of(self, ca, own, name):
        """A folder with the CA of one, and the certificate of the other."""
        made = self.path / self.id().rsplit(".", 1)[1] / f"files-of-{name}"
        made.mkdir(parents=True)
        for file in ("ca.pem", "ca.key"):
            shutil.copy(ca / file, made)
        for file in (f"{name}.pem", f"{name}.key"):
            shutil.copy(own / file, made)
        return made

    def other(self, certificates):
        return self.node("us-2", cluster="us-2", databases=(), certificates=certificates)

    def assert_refused(self, node, kind, *words, source=None):
        """By every command that asks, with the exit codes that they have for it; and the mirror that may, goes on."""
        source = source or self.source
        request = ("mirror", "create", "packages", "--from", f"{source.cluster}/packages", "--addr", source.mirrors)
        dry = json.loads(node.verb(*request, "--dry-run", "-o", "json", code=6))
        failed = "database" if kind == "NotAuthorized" else "identity"
        self.assertEqual([one["check"] for one in dry["checks"] if not one["ok"]], [failed], dry)
        self.assertEqual(node.call("GET", "/v1/mirrors"), {"mirrors": []})
        said = node.verb(*request, "--wait", "--timeout", "60", code=6)
        self.assertIn("the mirror was made, it is not Following", said)
        seen = json.loads(node.verb("status", "packages", "-o", "json", code=4))["mirrors"][0]
        self.assertEqual((seen["status"], seen["last_error"]["error"]), ("Disconnected", kind), seen)
        self.assertEqual((seen["bootstraps"], seen["applied_lsn"], seen["bytes_done"]), (0, None, None), seen)
        for word in words:
            self.assertIn(word, seen["last_error"]["message"])
            self.assertIn(word, said)
        self.assertIn("Disconnected", node.verb("status", "packages", "--wait", "following", "--timeout", "1", code=4))
        self.assert_others_go_on()

    def assert_others_go_on(self):
        self.fill(self.source, 400, 600)
        self.assert_equal()
        self.assertEqual(self.mirror.mirror("packages")["reconnects"], 0)
        served = self.source.call("GET", "/v1/databases/packages")["mirrors"]
        self.assertEqual([one["name"] for one in served], ["eu-1"])

    def assert_mended(self, node, source=None):
        node.verb("resume", "packages")
        self.assert_equal(node, source)

    def test_a_mirror_with_another_cas_certificate_is_refused_by_the_source(self):
        files = self.files_of(self.certificates, self.other_ca, "us-2")
        node = self.other(files)
        self.assert_refused(node, "TlsRefused")
        self.assertNotIn("mirror=us-2", self.source.log_text(), "it never said who it is")
        self.source.await_log("mirror refused by TLS address=127.0.0.1:")
        self.assertIn("unknown CA", self.source.log_text())
        self.assertGreater(self.tls_refused(self.source), 1)
        for file in ("us-2.pem", "us-2.key"):
            shutil.copy(self.certificates / file, files)
        self.assert_mended(node)

    def test_a_source_with_another_cas_certificate_is_refused_by_the_mirror(self):
        impostor = self.node("impostor", certificates=self.files_of(self.certificates, self.other_ca, "prod-us"))
        self.fill(impostor, 0, 10)
        node = self.other(self.certificates)
        self.assert_refused(node, "TlsRefused", source=impostor)
        self.assertEqual(impostor.call("GET", "/v1/databases/packages")["mirrors"], [])

    def test_a_source_whose_certificate_lacks_the_cluster_id_is_refused_by_the_mirror(self):
        node = self.other(self.certificates)
        dry = node.verb("mirror", "create", "packages", "--from", "prod-eu/packages", "--addr", self.source.mirrors,
                        "--dry-run", code=6)
        self.assertIn("prod-eu", dry)

    def test_a_name_that_is_not_on_the_list_is_refused_by_the_source(self):
        self.allow("eu-1")
        node = self.other(self.certificates)
        self.assert_refused(node, "NotAuthorized", "packages")
        self.assertIn("mirror refused mirror=us-2 database=packages", self.source.log_text())
        self.allow("eu-1", "us-2")
        self.assert_mended(node)

    def allow(self, *names):
        """The source's list from now on; its node reads it again while it runs."""
        config = self.source.config.read_text(encoding="utf-8").split("allow_mirrors")[0]
        reloads = self.source.log_text().count("reloaded")
        self.source.config.write_text(config + f"allow_mirrors = {json.dumps(names)}\n", encoding="utf-8")
        self.source.signal(signal.SIGHUP)
        self.source.await_log("reloaded", reloads + 1)

    def test_a_session_ends_when_its_mirrors_certificate_does(self):
        files = self.files_of(self.certificates, self.certificates, "us-2")
        node = self.other(files)
        issue_until(files, "us-2", VALID_S)  # read at each dial
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        node.await_log("a certificate ends soon: renew it role=node")
        self.assertIn(f"warning: {files}/us-2.pem (node) ends on", node.verb("status"))
        self.assertIn(f"warning: {files}/us-2.pem (node) ends on", node.verb("status", "packages"))
        self.source.await_log("mirror cut: its certificate has expired database=packages mirror=us-2")
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected", "the cut at the mirror")
        self.assertIn("has expired on", node.verb("status", code=4))
        self.assert_others_go_on()
        for file in ("us-2.pem", "us-2.key"):
            shutil.copy(self.certificates / file, files)
        self.assert_mended(node)
        eventually(lambda: node.verb("status"), lambda said: "warning" not in said, "the end of the warning")

    def test_a_link_ends_when_its_sources_certificate_does(self):
        files = self.files_of(self.certificates, self.certificates, "prod-us")
        issue_until(files, "prod-us", VALID_S)
        source = self.node("expiring", certificates=files)
        self.fill(source, 0, 10)
        node = self.other(self.certificates)
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        node.await_log("link to a source cut: its certificate has expired mirror=packages source=prod-us")
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected"
                          and (one["last_error"] or {}).get("error") == "TlsRefused", "the end, and why")
        shutil.copy(self.certificates / "prod-us.pem", files)
        shutil.copy(self.certificates / "prod-us.key", files)
        source.await_log("a changed file is used from now on role=node ")
        self.assert_mended(node, source)

    def test_files_that_are_renewed_are_taken_up_without_a_signal(self):
        """As Kubernetes does it: the files are links to links, and the one that all go through is swapped."""
        files = self.files_of(self.certificates, self.certificates, "prod-us")
        linked = files / "linked"
        linked.mkdir()
        for folder, of in (("1", self.certificates), ("2", self.other_ca)):
            (linked / folder).mkdir()
            for file in ("ca.pem", "ca.key", "prod-us.pem", "prod-us.key"):
                shutil.copy(of / file, linked / folder)
        issue_until(linked / "2", "prod-us", 3600)
        (linked / "..data").symlink_to("1")
        for file in ("ca.pem", "prod-us.pem", "prod-us.key"):
            (linked / file).symlink_to(f"..data/{file}")
        source = self.node("renewing", certificates=linked)
        self.fill(source, 0, 10)
        strange = self.node("us-2", cluster="us-2", databases=(), certificates=self.other_ca)
        request = {"name": "packages", "from": "prod-us/packages", "addr": source.mirrors}
        self.assertFalse(strange.call("POST", "/v1/mirrors", {**request, "dry_run": True})["ok"])
        before = self.ends_of(source)
        (linked / "..fresh").symlink_to("2")
        (linked / "..fresh").rename(linked / "..data")
        source.await_log("a changed file is used from now on role=node_ca")
        eventually(lambda: strange.call("POST", "/v1/mirrors", {**request, "dry_run": True}), lambda dry: dry["ok"], "the new ones")
        self.assertNotEqual(self.ends_of(source), before)
        self.assertEqual(source.log_text().count("reloaded"), 0)

    def tls_refused(self, node):
        return next(float(line.split(" ")[1]) for line in node.call("GET", "/metrics").splitlines()
                    if line.startswith("crosslink_mirrors_tls_refused_total "))

    def ends_of(self, node):
        """What the metrics say of when certificates end, by role."""
        lines = [line for line in node.call("GET", "/metrics").splitlines()
                 if line.startswith("crosslink_certificate_not_after_seconds{")]
        ends = {line.split('role="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
        self.assertEqual(set(ends), {"node", "node_ca"})
        return ends

    def test_a_renewal_that_cannot_be_used_is_named_and_the_old_certificate_stays_in_use(self):
        files = self.files_of(self.certificates, self.certificates, "prod-us")
        source = self.node("broken", certificates=files)
        self.fill(source, 0, 10)
        before = self.ends_of(source)
        (files / "prod-us.pem").write_text("garbage", encoding="utf-8")
        source.await_log("changed certificates cannot be used: the old ones stay in use")
        self.assertIn("holds no PEM certificate", source.log_text())
        self.assertIn("prod-us.pem' holds no PEM certificate", source.verb("status"))
        self.assertIn('crosslink_certificate_file_refused{role="node",', source.call("GET", "/metrics"))
        self.assertEqual(self.ends_of(source), before)
        node = self.other(self.certificates)
        node.create_mirror("packages", source)
        self.assert_equal(node, source)
        shutil.copy(self.certificates / "prod-us.pem", files)
        eventually(lambda: source.verb("status"), lambda said: "garbage" not in said and "warning" not in said, "the mending")

    def test_a_mirror_dials_with_its_old_certificate_while_the_new_one_lacks_its_key(self):
        files = self.files_of(self.certificates, self.certificates, "us-2")
        node = self.other(files)
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        key = (files / "us-2.key").read_bytes()
        issue_until(files, "us-2", 3600)
        (files / "us-2.key").write_bytes(key)
        node.await_log("does not belong to the certificate")
        self.source.stop()
        self.source.start()
        self.fill(self.source, 500, 600)
        self.assert_equal(node)
        self.assertIn("does not belong to the certificate", node.verb("status"))

    def deny(self, node, *files):
        """The serials of these certificates, at a node, from now on."""
        serials = [f"{x509.load_pem_x509_certificate(file.read_bytes()).serial_number:x}" for file in files]
        text = node.config.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("denied_serials")]
        at = lines.index("[tls]") + 1
        reloads = node.log_text().count("reloaded")
        node.config.write_text("\n".join([*lines[:at], f"denied_serials = {json.dumps(serials)}", *lines[at:]]) + "\n",
                               encoding="utf-8")
        node.signal(signal.SIGHUP)
        node.await_log("reloaded", reloads + 1)

    def test_a_certificate_that_is_denied_is_cut_and_refused_until_a_new_one_has_its_place(self):
        files = self.files_of(self.certificates, self.certificates, "us-2")
        node = self.other(files)
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        self.deny(self.source, files / "us-2.pem")
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected"
                          and (one["last_error"] or {}).get("error") == "TlsRefused", "the cut, and why")
        self.assertIn("mirror cut: its certificate is denied database=packages mirror=us-2", self.source.log_text())
        self.assert_others_go_on()
        issue_until(files, "us-2", 3600)
        self.assert_mended(node)

    def test_a_source_whose_certificate_is_denied_is_not_followed(self):
        node = self.other(self.certificates)
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        self.deny(node, self.certificates / "prod-us.pem")
        seen = node.await_mirror("packages", lambda one: one["status"] == "Disconnected"
                                 and (one["last_error"] or {}).get("error") == "TlsRefused", "the cut, and why")
        self.assertIn("is denied here (tls.denied_serials)", seen["last_error"]["message"])
        self.assertIn("link to a source cut: its certificate is denied", node.log_text())
        self.deny(node)
        self.assert_mended(node)

    def test_a_name_that_is_taken_off_the_list_is_cut_during_its_session(self):
        node = self.other(self.certificates)
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        self.allow("eu-1")
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected" and one["last_error"]
                          and one["last_error"]["error"] == "NotAuthorized", "the cut, and why")
        self.assertIn("NotAuthorized", node.verb("status", "packages", code=4))
        self.assertIn("mirror cut: its name is no longer allowed database=packages mirror=us-2", self.source.log_text())
        self.assert_others_go_on()
        self.assertEqual(len(node.contents("packages")), 500, "what was written after the cut never came")
        self.allow("eu-1", "us-2")
        self.assert_mended(node)
        self.assertEqual(node.mirror("packages")["bootstraps"], 1)

    def test_an_authority_that_is_replaced_ends_the_sessions_it_vouched_for(self):
        files = self.files_of(self.certificates, self.certificates, "prod-us")
        source = self.node("replacing", certificates=files)
        self.fill(source)
        node = self.other(self.certificates)
        node.create_mirror("packages", source)
        node.await_following("packages", source)
        shutil.copy(self.other_ca / "ca.pem", files)
        source.signal(signal.SIGHUP)
        node.await_mirror("packages", lambda one: one["status"] == "Disconnected"
                          and (one["last_error"] or {}).get("error") == "TlsRefused", "the cut, and why")
        shutil.copy(self.certificates / "ca.pem", files)
        source.signal(signal.SIGHUP)
        self.fill(source, 400, 600)
        node.verb("resume", "packages")
        self.assert_equal(node, source)
        self.assertEqual(node.mirror("packages")["bootstraps"], 1)
        self.assert_others_go_on()

    def test_a_node_does_not_start_with_an_expired_certificate(self):
        files = self.files_of(self.certificates, self.certificates, "us-2")
        node = self.other(files)
        node.stop()
        issue_until(files, "us-2", -1)
        refused = run("serve", "--config", node.config)
        self.assert_sentence(refused, 2, "us-2.pem", "expired on")

    def test_a_source_whose_certificate_expires_while_it_runs_is_refused_from_then_on(self):
        files = self.files_of(self.certificates, self.certificates, "prod-us")
        source = self.node("expiring", certificates=files)
        self.fill(source, 0, 10)
        node = self.other(self.certificates)
        issue_until(files, "prod-us", VALID_S)
        source.signal(signal.SIGHUP)
        source.await_log("reloaded")
        request = {"name": "packages", "from": "prod-us/packages", "addr": source.mirrors}
        self.assertTrue(node.call("POST", "/v1/mirrors", {**request, "dry_run": True})["ok"])
        eventually(lambda: node.call("POST", "/v1/mirrors", {**request, "dry_run": True}), lambda dry: not dry["ok"], "the end")
        self.assert_refused(node, "TlsRefused", source=source)

    def test_a_renewal_that_has_expired_already_is_named_and_not_used(self):
        files = self.files_of(self.certificates, self.certificates, "us-2")
        node = self.other(files)
        node.create_mirror("packages", self.source)
        node.await_following("packages", self.source)
        issue_until(files, "us-2", -1)
        node.await_log("expired on")
        self.source.stop()  # a session that stands is not judged anew
        self.source.start()
        self.fill(self.source, 500, 600)
        self.assert_equal(node)
        self.assertIn("expired on", node.verb("status"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
