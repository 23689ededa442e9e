"""Bad files, addresses and names: one sentence that names the thing, exit code 2 (1 for a name without address), before anything is sent."""

import os
import socket
import unittest

from cli_support import CommandLineTest, openssl, run

CLOSED_PORT = "127.0.0.1:9"


class BadFiles(CommandLineTest):
    """Each is tried with both verbs that take files."""

    def expect(self, files, *parts):
        self.assert_sentence(run(*self.ping_arguments(CLOSED_PORT, files=files)), 2, *parts)
        self.assert_sentence(run(*self.listen_arguments(files=files)), 2, *parts)

    def with_file(self, option, path):
        files = self.files("prod-us")
        files[files.index(option) + 1] = path
        return files

    def self_signed(self, name, *more):
        pair = self.path / f"{name}.pem", self.path / f"{name}.key"
        made = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                       "-subj", "/CN=prod-us", "-out", pair[0], "-keyout", pair[1], *more)
        self.assertEqual(made.returncode, 0, made.stderr)
        return ["--ca", self.certificates / "ca.pem", "--cert", pair[0], "--key", pair[1]]

    def test_missing(self):
        for option in ("--ca", "--cert", "--key"):
            self.expect(self.with_file(option, self.path / "nowhere"), self.path / "nowhere", "does not exist")

    def test_a_folder(self):
        for option in ("--ca", "--cert", "--key"):
            self.expect(self.with_file(option, self.path), self.path, "is not a regular file")

    def test_unreadable(self):
        loop = self.path / "loop"
        loop.symlink_to("loop")
        self.expect(self.with_file("--key", loop), loop, "cannot be read")

    def test_not_pem(self):
        text = self.path / "text"
        text.write_text("hello\n")
        self.expect(self.with_file("--ca", text), text, "no PEM certificate")
        self.expect(self.with_file("--cert", text), text, "no PEM certificate")
        self.expect(self.with_file("--key", text), text, "no PEM private key")

    def test_a_key_of_another_certificate(self):
        key = self.certificates / "eu-1.key"
        self.expect(self.with_file("--key", key), key, self.certificates / "prod-us.pem", "does not belong")

    def test_an_encrypted_key(self):
        locked = self.path / "locked.key"
        openssl("pkey", "-in", self.certificates / "prod-us.key", "-aes128", "-passout", "pass:secret", "-out", locked)
        self.expect(self.with_file("--key", locked), locked, "is encrypted")

    def test_a_wildcard_or_a_common_name_is_no_name(self):
        for name, more in (("common", []), ("wild", ["-addext", "subjectAltName=DNS:*.example"])):
            self.expect(self.self_signed(name, *more), self.path / f"{name}.pem", "has no DNS name")

    def test_left_out(self):
        result = run("ping", "--addr", CLOSED_PORT, "--cluster-id", "prod-us", "--database", "a", *self.files("eu-1")[:4])
        self.assert_sentence(result, 2, "--key")

    def test_json_says_the_same(self):
        result = run(*self.ping_arguments(CLOSED_PORT, "-o", "json", files=self.with_file("--ca", self.path / "nowhere")))
        self.assertEqual((result.returncode, result.stderr), (2, ""))
        said = self.one_object(result)
        self.assertEqual((said["error"], said["caused_by"], said["accepted"]), ("Configuration", "us", None))
        self.assertIn("nowhere", said["message"])


class BadAddresses(CommandLineTest):
    def test_that_do_not_parse(self):
        for address in ("127.0.0.1", "127.0.0.1:", ":4433:", "127.0.0.1:x", "127.0.0.1:65536", "[::1", "::1:4433", "",
                        "127.0.0.1:-1"):
            with self.subTest(address=address):
                self.assert_sentence(run(*self.ping_arguments(address)), 2, address)
                listen = ["listen", "--addr", address, "--cluster-id", "prod-us", *self.files("prod-us")]
                self.assert_sentence(run(*listen), 2, address)

    def test_that_do_not_resolve(self):
        result = run(*self.ping_arguments("no-such-host.invalid:4433"))
        self.assert_sentence(result, 1, "no-such-host.invalid")
        listen = ["listen", "--addr", "no-such-host.invalid:0", "--cluster-id", "prod-us", *self.files("prod-us")]
        self.assert_sentence(run(*listen), 1, "no-such-host.invalid")

    def test_port_0_to_dial(self):
        self.assert_sentence(run(*self.ping_arguments("127.0.0.1:0")), 2, "127.0.0.1:0", "names no port")

    def test_a_port_in_use(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            self.assert_sentence(run(*self.listen_arguments(port=port)), 2, f"127.0.0.1:{port}", "in use")

    def test_an_address_of_another_machine(self):
        listen = ["listen", "--addr", "192.0.2.1:0", "--cluster-id", "prod-us", *self.files("prod-us")]
        self.assert_sentence(run(*listen), 2, "192.0.2.1")


class BadNumbers(CommandLineTest):
    def test_say_what_would_do(self):
        for text in (str(2**64), "1e9", "-1"):
            with self.subTest(text=text):
                self.assert_sentence(run(*self.ping_arguments(CLOSED_PORT, "--last-applied-lsn", text)), 2, f"'{text}'",
                                     f"from 0 to {2**64 - 1}")

    def test_of_revisions_to_keep_are_decimal(self):
        create = ["mirror", "create", "a", "--from", "prod-us/a", "--addr", CLOSED_PORT, "--into", "etcd", "--endpoints",
                  "http://127.0.0.1:9", "--target-revisions-kept"]
        for text in ("0x10", "few", "-1", "1000000001", ""):
            with self.subTest(text=text):
                self.assert_sentence(run(*create, text), 2, f"'{text}'", "off", "from 0 to 1000000000")

    def test_what_belongs_to_an_etcd_is_not_dropped_where_rocksdb_keeps_the_mirror(self):
        create = ["mirror", "create", "a", "--from", "prod-us/a", "--addr", CLOSED_PORT]
        for into in ((), ("--into", "rocksdb")):
            for more in (("--prefix", "/a/"), ("--dry-run",)):
                with self.subTest(into=into, more=more):
                    self.assert_sentence(run(*create, *into, "--endpoints", "http://127.0.0.1:9", *more), 2, "--into etcd")
        self.assert_sentence(run(*create, "--prefix", "/a/"), 2, "--endpoints")

    def test_a_timeout_that_is_no_number(self):
        for text in ("nan", "inf", "-1", "0", "1e7", "ten", "1s"):
            with self.subTest(text=text):
                self.assert_sentence(run(*self.ping_arguments(CLOSED_PORT, "--timeout", text)), 2, f"'{text}'",
                                     "from 0.001 to 1000000")


class BadNames(CommandLineTest):
    def test_a_database_too_long_for_a_hello(self):
        result = run(*self.ping_arguments(CLOSED_PORT, "--retry", database="d" * 5000))
        self.assert_sentence(result, 2, "too long")

    def test_a_cluster_id_that_is_no_dns_name(self):
        for name in ("a b", "*.a", "a/b", "", "a."):
            with self.subTest(name=name):
                self.assert_sentence(run(*self.ping_arguments(CLOSED_PORT, cluster=name)), 2, f"'{name}' is not a DNS name")
                result = run(*self.listen_arguments(name=name, files=self.files("prod-us")))
                self.assert_sentence(result, 2, f"'{name}' is not a DNS name")

    def test_a_source_whose_certificate_is_for_another_cluster(self):
        result = run(*self.listen_arguments(name="prod-us", files=self.files("eu-1")))
        self.assert_sentence(result, 2, self.certificates / "eu-1.pem", "is for eu-1", "'prod-us'", "certs issue")

    def test_never_a_trace_of_the_stack(self):
        strange = "\x1b]0;x\x07" + "%s%n" * 50
        for arguments in (self.ping_arguments(strange), self.ping_arguments(CLOSED_PORT, cluster=strange),
                          self.ping_arguments(CLOSED_PORT, files=["--ca", strange, "--cert", strange, "--key", strange]),
                          ["certs", "init", "--dir", os.devnull]):
            result = run(*arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertNotIn("\x1b", result.stderr)
            self.assert_sentence(result, 2)


if __name__ == "__main__":
    unittest.main()
