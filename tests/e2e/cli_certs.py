"""`crosslink certs`: what it makes, what it never does."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from cli_support import PROGRAM, CommandLineTest, openssl, run


class Certs(CommandLineTest):
    def setUp(self):
        self.own = Path(tempfile.mkdtemp(dir=self.path)) / "own"

    def init(self, *more):
        return run("certs", "init", "--dir", self.own, *more)

    def issue(self, name, *more):
        return run("certs", "issue", "--dir", self.own, "--name", name, *more)

    def test_keys_and_the_new_folder_are_for_the_owner_only(self):
        self.made(self.init())
        self.made(self.issue("prod-us"))
        self.assertEqual(sorted(os.listdir(self.own)), ["ca.key", "ca.pem", "prod-us.key", "prod-us.pem"])
        self.assertEqual(stat.S_IMODE(os.stat(self.own).st_mode), 0o700)
        for key in ("ca.key", "prod-us.key"):
            self.assertEqual(stat.S_IMODE(os.stat(self.own / key).st_mode), 0o600)

    def test_a_generous_umask_does_not_open_keys(self):
        subprocess.run([PROGRAM, "certs", "init", "--dir", self.own], check=True, capture_output=True, umask=0)
        self.assertEqual(stat.S_IMODE(os.stat(self.own / "ca.key").st_mode), 0o600)

    def test_openssl_agrees_for_server_and_client(self):
        self.made(self.init())
        self.made(self.issue("prod-us", "--also", "prod-us.example.com", "--also", "alias"))
        for purpose in ("sslserver", "sslclient"):
            for name in ("prod-us", "prod-us.example.com", "alias"):
                result = openssl("verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", name,
                                 "-CAfile", self.own / "ca.pem", self.own / "prod-us.pem")
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        other = openssl("verify", "-verify_hostname", "other", "-CAfile", self.own / "ca.pem", self.own / "prod-us.pem")
        self.assertNotEqual(other.returncode, 0)

    def test_nothing_is_overwritten_without_force(self):
        self.made(self.init())
        self.made(self.issue("prod-us"))
        before = {file.name: file.read_bytes() for file in self.own.iterdir()}
        self.assert_sentence(self.init(), 2, self.own / "ca.key", "already exists", "--force")
        self.assert_sentence(self.issue("prod-us"), 2, self.own / "prod-us.key", "already exists", "--force")
        self.assertEqual({file.name: file.read_bytes() for file in self.own.iterdir()}, before)
        self.made(self.issue("prod-us", "--force"))
        self.assertNotEqual((self.own / "prod-us.key").read_bytes(), before["prod-us.key"])
        self.made(self.init("--force"))
        self.assertNotEqual((self.own / "ca.pem").read_bytes(), before["ca.pem"])

    def test_json_names_the_files(self):
        made = self.one_object(self.init("-o", "json"))
        self.assertEqual(made, {"certificate": str(self.own / "ca.pem"), "key": str(self.own / "ca.key"),
                                "error": None, "caused_by": None, "message": None})
        issued = self.one_object(self.issue("prod-us", "--also", "alias", "-o", "json"))
        self.assertEqual(list(issued), ["certificate", "key", "names", "error", "caused_by", "message"])
        self.assertEqual(issued["names"], ["prod-us", "alias"])

    def test_json_errors_name_kind_and_cause(self):
        result = self.issue("prod-us", "-o", "json")
        self.assertEqual(result.returncode, 2)
        failed = self.one_object(result)
        self.assertEqual((failed["error"], failed["caused_by"]), ("Configuration", "us"))
        self.assertIn("certs init", failed["message"])

    def test_unusable_names_are_refused(self):
        self.made(self.init())
        for name in ("Prod-US", "a/b", "../a", "*.a", "a b", "a.", "-a", "ca", "x" * 64):
            with self.subTest(name=name):
                self.assert_sentence(run("certs", "issue", "--dir", self.own, f"--name={name}"), 2, name)
        self.assertEqual(sorted(os.listdir(self.own)), ["ca.key", "ca.pem"])

    def test_a_folder_that_cannot_be_used_is_named(self):
        file = Path(tempfile.mkdtemp(dir=self.path)) / "file"
        file.touch()
        self.assert_sentence(run("certs", "init", "--dir", file), 2, file)
        self.assert_sentence(run("certs", "init", "--dir", file / "below"), 2, file)
        self.assert_sentence(run("certs", "init", "--dir", "/proc/self"), 2, "/proc/self")


if __name__ == "__main__":
    unittest.main()
