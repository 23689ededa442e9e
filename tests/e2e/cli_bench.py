"""`crosslink-bench` leaves nothing behind: no process, no key, however it ends."""

import json
import os
import shutil
import signal
import tempfile
import time
import unittest
from pathlib import Path

from cli_support import BENCH, Background, CommandLineTest, DEADLINE_S, run


def children_of(process):
    path = Path(f"/proc/{process}/task/{process}/children")
    return path.read_text().split() if path.exists() else []


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def bench(*arguments, **options):
    return run(*arguments, program=BENCH, **options)


class Bench(CommandLineTest):
    def eventually(self, condition, what):
        end = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            os.sched_yield()

    def test_figures_have_stable_names(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            result = bench("link", "--bytes", 1_000_000, "-o", "json", env={**os.environ, "TMPDIR": folder})
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["bytes"], 1_000_000)
            self.assertEqual(os.listdir(folder), [])

    def test_a_mirror_on_disk_is_measured_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            result = bench("mirror", "--engine", "rocksdb", "--bootstrap-bytes", 20_000_000, "--entries", 2000,
                           "--runs", 1, "--dir", folder, "-o", "json", timeout=4 * DEADLINE_S)
            self.assertEqual(result.returncode, 0, result.stderr)
            figures = json.loads(result.stdout)
            for name in ("bootstrap_seconds", "cp_sync_seconds", "bootstrap_ratio", "catch_up_per_s", "lag_p50_us",
                         "lag_p99_us", "write_ratio", "source_cpu_ratio", "drain_seconds"):
                self.assertGreater(figures[name], 0, name)
            self.assertLessEqual(figures["lag_p50_us"], figures["lag_p99_us"])
            self.assertEqual(os.listdir(folder), [])

    def test_nodes_are_measured_and_leave_nothing(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            result = bench("node", "--requests", 20_000, "--runs", 2, "--dir", folder, "-o", "json",
                           timeout=4 * DEADLINE_S)
            self.assertEqual(result.returncode, 0, result.stderr)
            figures = json.loads(result.stdout)
            self.assertEqual(len(figures["runs"]), 2)
            for name in ("set_alone_per_s", "set_mirrored_per_s", "set_ratio", "get_per_s", "drain_seconds",
                         "idle_source_node_bytes", "idle_mirror_node_bytes"):
                of_runs = [one[name] for one in figures["runs"]]
                self.assertGreater(min(of_runs), 0, name)
                self.assertIn(figures[name], of_runs)
            self.assertEqual(os.listdir(folder), [])

    def test_many_databases_are_measured_and_leave_nothing(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            result = bench("scale", "--databases", 3, "--idle-seconds", 1, "--dir", folder, "-o", "json",
                           timeout=4 * DEADLINE_S)
            self.assertEqual(result.returncode, 0, result.stderr)
            figures = json.loads(result.stdout)
            self.assertEqual((figures["databases"], figures["following"], figures["copied_anew_after_kills"]),
                             (3, 3, 0))
            for name in ("ports_open_seconds", "first_database_seconds", "all_databases_seconds", "source_threads",
                         "mirror_threads", "source_descriptors", "mirror_descriptors", "source_bytes", "mirror_bytes",
                         "disk_bytes_per_database", "mirrors_made_seconds", "all_following_seconds",
                         "following_after_mirror_kill_seconds", "following_after_source_kill_seconds"):
                self.assertGreater(figures[name], 0, name)
            self.assertEqual(os.listdir(folder), [])

    def test_etcd_is_measured_beside_make_mirror_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            result = bench("etcd", "--keys", 2000, "--large-bytes", 2_000_000, "--dir", folder, "-o", "json",
                           timeout=280)
            self.assertEqual(result.returncode, 0, result.stderr)
            figures = json.loads(result.stdout)
            self.assertEqual((figures["keys"], figures["large_bytes"]), (2000, 2_000_000))
            self.assertRegex(figures["etcd_version"], r"^3\.")
            for name in ("bare_loader_keys_per_s", "copy_keys_per_s", "copy_to_bare", "make_mirror_copy_keys_per_s",
                         "copy_to_make_mirror", "load_puts_per_s", "load_puts_per_s_without_mirror",
                         "large_copy_seconds", "source_node_peak_bytes", "mirror_node_peak_bytes"):
                self.assertGreater(figures[name], 0, name)
            for name in ("single_put", "make_mirror_single_put", "load_put"):
                self.assertLessEqual(figures[name]["p50_ms"], figures[name]["p99_ms"], name)
            self.assertEqual(os.listdir(folder), [])

    def test_nodes_are_the_program_that_is_beside_it(self):
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            alone = shutil.copy(BENCH, folder)
            result = run("node", "--requests", 20_000, program=alone)
            self.assert_sentence(result, 2, folder, "the program crosslink is not in")

    def test_nodes_without_redis_benchmark_say_what_to_install(self):
        result = bench("node", "--requests", 20_000, env={**os.environ, "PATH": "/nowhere"})
        self.assert_sentence(result, 2, "redis-benchmark", "redis-tools")

    def test_a_source_on_disk_says_that_it_needs_a_folder(self):
        result = bench("mirror", "--engine", "rocksdb", "--listen", "127.0.0.1:0", "--cluster-id", "prod-us",
                       *self.files("prod-us"))
        self.assert_sentence(result, 2, "--dir")

    def test_numbers_that_are_none_say_what_would_do(self):
        largest = 2**64 - 1
        for option, text, low, high in (("--bytes", "0", 1, largest), ("--bytes", "1e9", 1, largest),
                                        ("--streams", "61", 1, 60), ("--rate", "-1", 0, largest)):
            with self.subTest(option=option, text=text):
                self.assert_sentence(bench("link", option, text), 2, f"'{text}'", f"from {low} to {high}")

    def test_with_an_address_it_needs_certificates(self):
        for option in ("--listen", "--connect"):
            self.assert_sentence(bench("link", option, "127.0.0.1:9"), 2, "--ca, --cert and --key")

    def ended_by(self, number):
        """Ends a bench in the middle; what is left of its folder and its source."""
        with tempfile.TemporaryDirectory(prefix="crosslink-test-") as folder:
            environment = {**os.environ, "TMPDIR": folder}
            with Background("link", "--bytes", 10**15, program=BENCH, env=environment) as running:
                self.eventually(lambda: children_of(running.process.pid), "the source's process")
                source = children_of(running.process.pid)[0]
                self.assertEqual(running.end(number), -number)
                self.eventually(lambda: not is_running(source), "the source outlived the bench")
            return os.listdir(folder)

    def test_a_signal_ends_the_source_and_removes_the_keys(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                self.assertEqual(self.ended_by(number), [])

    def test_a_source_does_not_outlive_a_bench_that_is_killed(self):
        self.ended_by(signal.SIGKILL)  # no process can remove files after that

    def test_a_temporary_folder_that_does_not_exist(self):
        result = bench("link", env={**os.environ, "TMPDIR": "/nowhere/at/all"})
        self.assert_sentence(result, 2, "/nowhere/at/all", "TMPDIR")


if __name__ == "__main__":
    unittest.main()
