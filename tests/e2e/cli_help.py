"""Help, global options and usage errors: the frame every verb hangs in."""

import json
import unittest
from pathlib import Path

from cli_support import BENCH, PROGRAM, CommandLineTest, run

PROGRAMS = [PROGRAM, BENCH] if BENCH else [PROGRAM]


def verbs_below(program, *path):
    """Every verb the help knows, found by reading it."""
    found = []
    inside = False
    for line in run(*path, "--help", program=program).stdout.splitlines():
        if line.startswith("Subcommands:"):
            inside = True
        elif inside and line.startswith("  ") and line[2] != " ":
            verb = (*path, line.split()[0])
            found += [verb, *verbs_below(program, *verb)]
        elif inside and not line.startswith(" "):
            inside = False
    return found


class Help(CommandLineTest):
    def test_every_verb_has_help_with_an_example_of_itself(self):
        expected = {PROGRAM: [("certs",), ("certs", "init"), ("certs", "issue"), ("ping",), ("listen",)],
                    BENCH: [("link",), ("handshakes",), ("mirror",), ("node",), ("etcd",)]}
        for program in PROGRAMS:
            verbs = verbs_below(program)
            self.assertLessEqual(set(expected[program]), set(verbs))
            for verb in verbs:
                with self.subTest(program=program, verb=verb):
                    result = run(*verb, "--help", program=program)
                    self.assertEqual((result.returncode, result.stderr), (0, ""))
                    self.assertIn("Example", result.stdout)
                    self.assertIn(" ".join([Path(program).name, *verb]), result.stdout.split("Example")[1])

    def test_a_program_has_help_and_a_version(self):
        for program in PROGRAMS:
            with self.subTest(program=program):
                result = run("--help", program=program)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertIn("Example", result.stdout)
                version = run("--version", program=program)
                self.assertEqual(version.returncode, 0)
                self.assertRegex(version.stdout, rf"^{Path(program).name} \d+\.\d+\.\d+\n$")


class GlobalOptions(CommandLineTest):
    def test_are_the_same_before_and_after_the_verb(self):
        before = run("-o", "json", "--log-level", "error", "certs", "issue", "--dir", self.path / "none", "--name", "a")
        between = run("certs", "--output=json", "issue", "--dir", self.path / "none", "--name", "a")
        after = run("certs", "issue", "--dir", self.path / "none", "--name", "a", "-o", "json", "--log-level", "error")
        for result in (before, between, after):
            self.assertEqual((result.returncode, result.stderr), (2, ""))
            self.assertEqual(self.one_object(result)["error"], "Configuration")

    def test_refuse_undefined_values(self):
        self.assert_sentence(run("certs", "init", "--dir", self.path / "x", "-o", "xml"), 2, "--output", "xml")
        self.assert_sentence(run("--log-level", "loud", "certs", "init", "--dir", self.path / "x"), 2, "--log-level")
        self.assertFalse((self.path / "x").exists())


class UsageErrors(CommandLineTest):
    def test_exit_with_2_and_a_sentence(self):
        self.assert_sentence(run(), 2, "certs", "ping", "listen")
        self.assert_sentence(run("certs"), 2, "init", "issue")
        self.assert_sentence(run("nonsense"), 2, "nonsense")
        self.assert_sentence(run("certs", "init"), 2, "--dir")
        self.assert_sentence(run("certs", "init", "--dir"), 2, "--dir")
        self.assert_sentence(run("ping", "--addr", "127.0.0.1:1"), 2, "--cluster-id")

    def test_a_verb_that_moved_to_another_program_is_found(self):
        for verb in (["bench"], ["bench", "link", "--bytes", "1000"], ["bench", "mirror", "--engine", "memory"]):
            with self.subTest(verb=verb):
                self.assert_sentence(run(*verb), 2, "crosslink-bench")
        self.assertNotIn("bench", run("--help").stdout)

    def test_refuse_numbers_that_are_none(self):
        for text in ["-1", "x", "1x", "0x10", "", "18446744073709551616", "1.5"]:
            with self.subTest(text=text):
                result = run(*self.ping_arguments("127.0.0.1:1", f"--last-applied-lsn={text}"))
                self.assert_sentence(result, 2, "--last-applied-lsn")
        self.assert_sentence(run(*self.ping_arguments("127.0.0.1:1", "--timeout", "-1")), 2, "--timeout")
        self.assert_sentence(run(*self.ping_arguments("127.0.0.1:1", "--timeout", "soon")), 2, "--timeout")

    def test_refuse_unfit_choices(self):
        self.assert_sentence(run(*self.ping_arguments("127.0.0.1:1", "--congestion", "reno")), 2, "--congestion", "reno")
        self.assert_sentence(run(*self.ping_arguments("127.0.0.1:1", "--alpn", "a" * 256)), 2, "--alpn")
        self.assert_sentence(run(*self.listen_arguments("--snapshot-lsn", "5")), 2, "--snapshot-lsn", "--snapshot-bytes")

    def test_are_json_where_json_was_asked_for(self):
        for arguments in (["-o", "json", "nonsense"], ["certs", "init", "--output=json"], ["ping", "-ojson"]):
            with self.subTest(arguments=arguments):
                result = run(*arguments)
                self.assertEqual((result.returncode, result.stderr), (2, ""))
                self.assertEqual(list(json.loads(result.stdout)), ["error", "caused_by", "message"])


if __name__ == "__main__":
    unittest.main()
