"""A config with a mistake, and what it names that is not as it must be: the node does not start, and says which key or file it
is. What one reads out of the text alone, key by key, tests/unit/node_config.cpp has."""

import os
import shutil
import socket
import stat
import subprocess
import unittest

from cli_support import PROGRAM, run
from node_support import DEADLINE_S, NodeTest


class Configs(NodeTest):
    def setUp(self):
        """A node that could start, and its config's text."""
        super().setUp()
        self.files = self.path / self.id().rsplit(".", 1)[1] / "certs"
        shutil.copytree(self.certificates, self.files)
        self.stopped = self.node(certificates=self.files)
        self.stopped.stop()
        self.good = self.stopped.config.read_text(encoding="utf-8")

    def serve(self):
        return run("serve", "--config", self.stopped.config)

    def assert_does_not_start(self, *parts, checkable=True):
        """It may have said in its log how far it came; the last line is the reason. What can be known without starting,
        `config check` says as well."""
        said = self.serve()
        said.stderr = said.stderr.splitlines()[-1]
        self.assertIn(said.returncode, (1, 2))
        self.assert_sentence(said, said.returncode, *parts)
        if checkable:
            self.assert_sentence(run("config", "check", "--config", self.stopped.config), said.returncode, *parts)

    def write(self, *change):
        self.assertIn(change[0], self.good)
        self.stopped.config.write_text(self.good.replace(*change), encoding="utf-8")

    def assert_starts(self):
        self.stopped.config.write_text(self.good, encoding="utf-8")
        self.stopped.start()
        self.stopped.stop()

    def test_a_mistake_in_the_text_is_named_by_serve_and_by_check(self):
        for change, said in (
                (("[listen]", "[listen]\ncolour = 1"), "config: listen.colour: unknown key"),
                (('clients = "127.0.0.1:0"', 'clients = "0.0.0.0:0"'), "needs a password"),
                (('name = "packages"', 'name = "../x"'), "config: database 1.name"),
                (("[[database]]", "[[databases]]"), "config: databases: unknown key"),
                (("[[database]]", '[mirror]\ndisconnected_after = "soon"\n[[database]]'), "mirror.disconnected_after"),
                (('name = "packages"', 'name = "packages"\n[[database]]\nname = "packages"'), "'packages' is there twice"),
                (("[tls]", "[tls"), "config: line ")):
            self.write(*change)
            for verb in (("serve",), ("config", "check")):
                with self.subTest(said, verb=verb):
                    self.assert_sentence(run(*verb, "--config", self.stopped.config), 2, said)
        self.assert_starts()
        self.assertEqual(run("config", "check", "--config", self.stopped.config).returncode, 0)

    def test_a_config_that_is_not_there_or_too_large_is_named(self):
        missing = self.path / "none.toml"
        large = self.path / "large.toml"
        large.write_text("#" * (1024 * 1024 + 1), encoding="utf-8")
        for verb in (("serve",), ("config", "check"), ("status",)):
            self.assert_sentence(run(*verb, "--config", missing), 2, missing, "No such file")
            self.assert_sentence(run(*verb, "--config", large), 2, large, "1 MiB")

    def test_certificates_that_cannot_be_used_are_named(self):
        other = self.files / "eu-1.pem"
        for change, said in (
                (("ca.pem", "none.pem"), "none.pem"), (("prod-us.pem", "none.pem"), "none.pem"),
                (("prod-us.key", "none.key"), "none.key"), (("prod-us.pem", "eu-1.pem"), other),
                (("ca.pem", "ca.key"), "holds no PEM certificate"), (("prod-us.key", "prod-us.pem"), "holds no PEM private key"),
                (('cluster_id = "prod-us"', 'cluster_id = "prod-eu"'), "not for the cluster id 'prod-eu'")):
            with self.subTest(said):
                self.write(*change)
                self.assert_does_not_start(said)
        self.assert_starts()

    def test_secrets_that_others_may_read_are_refused_with_what_was_found(self):
        password = self.path / "password"
        password.write_text("secret\n", encoding="utf-8")
        password.chmod(0o600)
        self.good += f'[clients]\npassword_file = "{password}"\n'
        self.assert_starts()
        token, folder = self.stopped.folder / "data" / "admin.token", self.stopped.folder / "data"
        for file, modes in ((password, (0o660, 0o604)), (self.files / "prod-us.key", (0o660, 0o604)), (token, (0o604,))):
            for mode in modes:
                with self.subTest(file.name, mode=oct(mode)):
                    file.chmod(mode)
                    self.assert_does_not_start(f"others may read {file}: it has mode 0{mode:o} and belongs to", "chmod 600 it")
            file.chmod(0o600)
        folder.chmod(0o755)
        self.assert_does_not_start(f"others may read {folder}: it has mode 0755 and belongs to", "chmod 700 it")
        folder.chmod(0o700)
        self.assert_starts()

    def test_a_data_dir_that_a_remount_gave_to_its_group_is_closed_again(self):
        folder = self.stopped.folder / "data"
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o2770 if path.is_dir() else 0o660)
        self.assertEqual(run("config", "check", "--config", self.stopped.config).returncode, 0)
        self.assert_starts()
        for path in (folder, folder / "admin.token"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    @unittest.skipUnless(os.geteuid() == 0, "only root makes files of others")
    def test_a_node_of_another_user_takes_a_key_of_roots_that_its_group_may_read(self):
        """As a pod of Kubernetes with fsGroup: the Secret and the volume are root's, and of a group that the node is in."""
        user, group = 4141, 4242
        self.files.chmod(0o755)
        for folder in (self.path, *self.stopped.folder.parents, self.stopped.folder):
            if self.path in (folder, *folder.parents):
                folder.chmod(0o755)
        data = self.stopped.folder / "data"
        shutil.rmtree(data)
        data.mkdir()
        os.chown(data, 0, group)
        data.chmod(0o2770)
        key = self.files / "prod-us.key"
        os.chown(key, 0, group)
        key.chmod(0o440)
        as_user = ["setpriv", "--reuid", str(user), "--regid", str(user), "--groups", str(group)]
        check = subprocess.run([*as_user, PROGRAM, "config", "check", "--config", str(self.stopped.config)], check=False)
        self.assertEqual(check.returncode, 0)
        for _ in range(2):
            self.stopped.start([*as_user, PROGRAM, "serve", "--config", str(self.stopped.config)])
            self.stopped.stop()
            for path in data.rglob("*"):  # as kubelet does at each mount
                os.chown(path, path.stat().st_uid, group)
                path.chmod(0o2770 if path.is_dir() else 0o660)
        key.chmod(0o444)
        for verb in (("serve",), ("config", "check")):
            refused = subprocess.run([*as_user, PROGRAM, *verb, "--config", str(self.stopped.config)], check=False,
                                     capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn(f"others may read {key}: it has mode 0444 and belongs to root:{group}", refused.stderr)

    def test_a_password_file_that_is_missing_or_empty_is_named(self):
        empty = self.path / "empty"
        empty.touch(0o600)
        for file, why in ((empty, "no password in the first line"), (self.path / "none", "No such file")):
            self.write("[tls]", f'[clients]\npassword_file = "{file}"\n[tls]')
            self.assert_does_not_start("clients.password_file", file, why)

    def test_a_limit_of_open_files_that_lets_no_client_in_is_said(self):
        self.stopped.start(["prlimit", "--nofile=80:80", PROGRAM, "serve", "--config", str(self.stopped.config)])
        self.stopped.await_log("no client fits")
        self.stopped.stop()

    def test_a_port_that_is_taken_is_named(self):
        for key, kind in (("mirrors", socket.SOCK_DGRAM), ("clients", socket.SOCK_STREAM), ("admin", socket.SOCK_STREAM)):
            with self.subTest(key), socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    taken.listen()
                address = f"127.0.0.1:{taken.getsockname()[1]}"
                self.write(f'{key} = "127.0.0.1:0"', f'{key} = "{address}"')
                self.assert_does_not_start(address, "in use", checkable=False)
        self.assert_starts()

    def test_a_folder_that_another_node_has_or_that_is_none_is_named(self):
        self.stopped.start()
        self.assert_does_not_start("is open already", checkable=False)
        self.stopped.stop()
        file = self.path / "file"
        file.touch(0o600)
        for wrong in (file, file / "below"):
            self.write('data_dir = "data"', f'data_dir = "{wrong}"')
            self.assert_does_not_start(wrong)
        self.assert_starts()

    def test_a_catalog_that_is_broken_is_named_and_left_alone(self):
        catalog = self.stopped.folder / "data" / "catalog.json"
        whole = catalog.read_bytes()
        for broken in (whole[:-20], b"{}", whole.replace(b"packages", b"../../x")):
            with self.subTest(broken):
                catalog.write_bytes(broken)
                self.assert_does_not_start(catalog)
                self.assertEqual(catalog.read_bytes(), broken)
        catalog.write_bytes(whole)
        self.assert_starts()

    def test_the_generated_config_is_read_back(self):
        text = self.made(run("config", "generate")).stdout
        folder = self.path / "generated"
        folder.mkdir()
        file = folder / "node.toml"
        file.write_text(text, encoding="utf-8")
        self.assert_sentence(run("config", "check", "--config", file), 2, "certs/ca.pem", "does not exist")
        shutil.copytree(self.certificates, folder / "certs")
        self.assertIn("prod-us", self.made(run("config", "check", "--config", file)).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
