"""`crosslink ping` against `crosslink listen`: what both say, and with which exit code."""

import json
import signal
import socket
import unittest

from cli_support import (ACK_FIELDS, DEADLINE_S, ERROR_FIELDS, FACT_FIELDS, NO_SNAPSHOT, Background, CommandLineTest,
                         run, unused_port)


class Accepted(CommandLineTest):
    def test_json_has_the_acks_fields_and_the_facts(self):
        source = self.source()
        result = run(*self.ping_arguments(source.address, "--last-applied-lsn", 7, "-o", "json"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        said = self.one_object(result)
        self.assertEqual(list(said), ACK_FIELDS + FACT_FIELDS + ERROR_FIELDS)
        self.assertEqual([said[field] for field in ACK_FIELDS], [True, 0, "", "prod-us", NO_SNAPSHOT, 0])
        self.assertEqual([said[field] for field in ERROR_FIELDS], [None, None, None])
        self.assertEqual(said["tls_version"], "TLS 1.3")
        self.assertRegex(said["cipher_suite"], r"^TLS_\w+$")
        self.assertEqual(said["alpn"], "crosslink/1")
        self.assertEqual(said["peer_names"], ["prod-us", "prod-alias"])
        self.assertEqual(said["congestion"], "bbr")
        self.assertEqual(said["attempts"], 1)
        for field in ("congestion_window_bytes", "mtu", "handshake_ms", "round_trip_ms"):
            self.assertGreater(said[field], 0, field)

    def test_text_is_for_people(self):
        source = self.source()
        result = run(*self.ping_arguments(source.address, "--congestion", "cubic"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for part in ("accepted by prod-us", "orders", "none, the log follows", "TLS 1.3", "cubic", "round trip"):
            self.assertIn(part, result.stdout)
        self.assertNotIn(str(NO_SNAPSHOT), result.stdout)

    def test_a_snapshot_is_announced_only_to_who_is_behind_it(self):
        source = self.source("--snapshot-lsn", 100, "--snapshot-bytes", 5000)
        for applied, expected in ((0, (100, 5000)), (99, (100, 5000)), (100, (NO_SNAPSHOT, 0))):
            with self.subTest(applied=applied):
                said = self.one_object(
                    run(*self.ping_arguments(source.address, "--last-applied-lsn", applied, "-o", "json")))
                self.assertEqual((said["snapshot_lsn"], said["snapshot_bytes_total"]), expected)

    def test_the_largest_lsn_passes_unharmed(self):
        source = self.source()
        self.made(run(*self.ping_arguments(source.address, "--last-applied-lsn", 2**64 - 1)))
        self.assertIn(f"last_applied={2**64 - 1}", source.line())

    def test_a_custom_alpn_works_when_both_name_it(self):
        source = self.source("--alpn", "other/7")
        said = self.one_object(run(*self.ping_arguments(source.address, "--alpn", "other/7", "-o", "json")))
        self.assertEqual(said["alpn"], "other/7")

    def test_a_name_and_an_ipv6_address_are_dialled_too(self):
        source = self.source()
        port = source.address.split(":")[1]
        self.made(run(*self.ping_arguments(f"localhost:{port}")))
        with Background("listen", "--addr", "[::1]:0", "--cluster-id", "prod-us", *self.files("prod-us")) as six:
            first = six.line()
            self.assertRegex(first, r"^listening \[::1\]:\d+$")
            self.made(run(*self.ping_arguments(first.split()[1])))


class Source(CommandLineTest):
    def test_prints_a_line_per_handshake(self):
        source = self.source("--database", "orders", "--database", "users")
        self.made(run(*self.ping_arguments(source.address, "--last-applied-lsn", 5, database="users")))
        self.assertRegex(source.line(),
                         r"^127\.0\.0\.1:\d+ names=eu-1 database=users last_applied=5 accepted \d+\.\d\d ms$")
        run(*self.ping_arguments(source.address, database="none"))
        self.assertRegex(source.line(), r"names=eu-1 database=none last_applied=0 UnknownDatabase \d+\.\d\d ms: .*none")

    def test_json_is_one_object_per_line(self):
        with Background(*self.listen_arguments("-o", "json")) as source:
            first = json.loads(source.line())
            self.assertEqual(list(first), ["listening"])
            self.made(run(*self.ping_arguments(first["listening"], "--last-applied-lsn", 5)))
            said = json.loads(source.line())
            self.assertEqual(list(said), ["peer", "peer_names", "source_cluster", "database", "last_applied_lsn",
                                          "snapshot_lsn", "accepted", "took_ms"] + ERROR_FIELDS)
            self.assertEqual((said["peer_names"], said["source_cluster"], said["database"], said["last_applied_lsn"],
                              said["accepted"], said["error"]), (["eu-1"], "prod-us", "orders", 5, True, None))
            self.assertEqual(run(*self.ping_arguments(first["listening"], cluster="prod-alias")).returncode, 6)
            refused = json.loads(source.line())
            self.assertEqual((refused["accepted"], refused["error"]), (False, "ClusterIdMismatch"))

    def test_text_from_a_peer_is_escaped(self):
        source = self.source()
        self.made(run(*self.ping_arguments(source.address, database="a\x1b[31m\nb")))
        self.assertIn(r"database=a\x1b[31m\x0ab ", source.line())

    def test_warns_that_every_name_of_the_ca_is_accepted(self):
        source = self.source()
        self.assertIn("every mirror with a certificate of this CA is accepted", source.line("stderr"))

    def test_ends_cleanly_on_sigterm_and_sigint(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                source = self.source("--log-level", "error")
                self.made(run(*self.ping_arguments(source.address)))
                self.assertEqual(source.end(number), 0)
                self.assertEqual(source.rest("stderr"), [])

    def test_ends_after_as_many_handshakes_as_asked_for(self):
        source = self.source("--max-handshakes", 2)
        self.made(run(*self.ping_arguments(source.address)))
        self.assertEqual(run(*self.ping_arguments(source.address, cluster="prod-alias")).returncode, 6)
        self.assertEqual(source.wait(), 0)


class Refused(CommandLineTest):
    def expect(self, arguments, code, kind, caused_by, **fields):
        result = run(*arguments, "-o", "json")
        self.assertEqual((result.returncode, result.stderr), (code, ""), result.stdout)
        said = self.one_object(result)
        self.assertEqual(list(said), ACK_FIELDS + FACT_FIELDS + ERROR_FIELDS)
        self.assertEqual((said["error"], said["caused_by"]), (kind, caused_by), said["message"])
        self.assertTrue(said["message"])
        for name, value in fields.items():
            self.assertEqual(said[name], value, name)
        return said

    def test_a_wrong_cluster_id_that_the_certificate_covers(self):
        source = self.source()
        self.expect(self.ping_arguments(source.address, cluster="prod-alias"), 6, "ClusterIdMismatch", "peer",
                    accepted=False, error_code=1, source_cluster_id="prod-us")

    def test_a_cluster_id_that_the_certificate_lacks(self):
        source = self.source()
        said = self.expect(self.ping_arguments(source.address, cluster="elsewhere"), 6, "TlsRefused", "us", accepted=None)
        self.assertIn("elsewhere", said["message"])

    def test_an_unknown_database(self):
        source = self.source("--database", "orders")
        said = self.expect(self.ping_arguments(source.address, database="users"), 6, "UnknownDatabase", "peer",
                           accepted=False, error_code=4, source_cluster_id="prod-us", snapshot_lsn=0,
                           snapshot_bytes_total=0)
        self.assertIn("users", said["error_detail"])
        self.assertIn(said["error_detail"], said["message"])
        self.assertNotEqual(said["error_detail"], said["message"], "the detail is the source's own sentence, no more")

    def test_a_wrong_alpn(self):
        source = self.source()
        self.expect(self.ping_arguments(source.address, "--alpn", "other/1"), 6, "TlsRefused", "peer")

    def test_a_mirror_of_an_unknown_ca(self):
        other = self.path / "other"
        self.made(run("certs", "init", "--dir", other))
        self.made(run("certs", "issue", "--dir", other, "--name", "eu-1"))
        source = self.source()
        of_other_ca = ["--ca", self.certificates / "ca.pem", "--cert", other / "eu-1.pem", "--key", other / "eu-1.key"]
        self.expect(self.ping_arguments(source.address, files=of_other_ca), 6, "TlsRefused", "peer", accepted=None)

    def test_a_source_of_an_unknown_ca(self):
        other = self.path / "another"
        self.made(run("certs", "init", "--dir", other))
        source = self.source()
        trusting = ["--ca", other / "ca.pem", *self.files("eu-1")[2:]]
        self.expect(self.ping_arguments(source.address, files=trusting), 6, "TlsRefused", "us", accepted=None)

    def test_nothing_listens_at_the_address(self):
        self.expect(self.ping_arguments(f"127.0.0.1:{unused_port()}"), 4, "Transport", "transport", accepted=None)

    def test_people_are_told_what_to_do_next(self):
        source = self.source("--database", "orders")
        result = run(*self.ping_arguments(source.address, database="users"))
        self.assert_sentence(result, 6, "users")
        self.assertIn("next step: ", result.stderr)
        self.assertIn("--database", result.stderr)


class Retry(CommandLineTest):
    def test_waits_for_a_source_that_comes_up_later(self):
        port = unused_port()
        with Background(*self.ping_arguments(f"127.0.0.1:{port}", "--retry")) as ping:
            self.assertRegex(ping.line_with("attempt 1 failed", "stderr"), r"^crosslink: attempt 1 failed: .*\d")
            self.source(port=port)
            self.assertEqual(ping.wait(), 0, ping.rest("stderr"))
            self.assertIn("accepted by prod-us", ping.line())

    def test_json_counts_the_attempts_and_says_nothing_else(self):
        port = unused_port()
        with Background(*self.ping_arguments(f"127.0.0.1:{port}", "--retry", "-o", "json")) as ping:
            self.await_two_attempts(port)
            self.source(port=port)
            self.assertEqual((ping.wait(), ping.rest("stderr")), (0, []))
            said = json.loads(ping.line())
            self.assertEqual((said["accepted"], said["error"]), (True, None))
            self.assertGreater(said["attempts"], 1)

    @staticmethod
    def await_two_attempts(port):
        """Answers nothing; each attempt comes from a port of its own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", port))
            silent.settimeout(DEADLINE_S)
            seen = set()
            while len(seen) < 2:
                seen.add(silent.recvfrom(2048)[1])

    def test_a_hard_error_ends_it_at_once(self):
        source = self.source("--database", "orders")
        result = run(*self.ping_arguments(source.address, "--retry", database="users"))
        self.assert_sentence(result, 6, "users")

    def test_a_timeout_names_the_last_reason(self):
        address = f"127.0.0.1:{unused_port()}"
        result = run(*self.ping_arguments(address, "--retry", "--timeout", "2", "-o", "json"))
        self.assertEqual(result.returncode, 4)
        said = self.one_object(result)
        self.assertEqual(said["error"], "Timeout")
        self.assertIn(f"no link to '{address}' within 2 s; the last attempt failed: ", said["message"])


if __name__ == "__main__":
    unittest.main()
