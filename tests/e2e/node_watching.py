"""What operators watch: fields of the status in each situation, and every metric that docs/admin.md lists."""

import pathlib
import re
import signal
import unittest

from node_support import MirroredTest, NodeTest, client, eventually

ADMIN = pathlib.Path(__file__).resolve().parents[2] / "docs" / "admin.md"
SAMPLE = re.compile(r"^(crosslink_\w+)(?:\{(.*)\})? (\S+)$")
NULL_WINDOW = (None, None)


def listed_metrics():
    return set(re.findall(r"^\| `(crosslink_\w+)` \|", ADMIN.read_text(encoding="utf-8"), re.MULTILINE))


def names_in(section):
    """What stands in backticks below this title of docs/admin.md."""
    text = re.search(rf"^### {section}$(.*?)^##", ADMIN.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL).group(1)
    return {name for quoted in re.findall(r"`([^`]*)`", text) for name in re.findall(r"\w+", quoted)}


def keys_of(answer):
    """All names of fields, those of nested objects too."""
    if isinstance(answer, list):
        return set().union(*map(keys_of, answer))
    return set(answer).union(*map(keys_of, answer.values())) if isinstance(answer, dict) else set()


def window(mirror):
    return mirror["window_left_bytes"], mirror["window_left_ms"]


class Metrics:
    def __init__(self, text):
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        self.samples = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.match(line).groups()
            self.samples.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))

    def one(self, name, **labels):
        """The only sample with these labels; absent: None."""
        found = [value for has, value in self.samples.get("crosslink_" + name, []) if labels.items() <= has.items()]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None


class Watching(MirroredTest):
    source_options = {"per_database": 'sync_mirrors = ["eu-1"]\nsync_timeout = "100ms"\non_sync_loss = "async"'}
    mirror_options = {"extra": '[mirror]\ndisconnected_after = "2s"'}

    def metrics(self, node):
        return Metrics(node.call("GET", "/metrics"))

    def limited(self):
        """The first bootstrap is on its way, slowly."""
        self.fill(self.source, value_bytes=48_000)  # a minute of it
        self.create_limited(400_000)
        self.mirror.await_mirror("packages", lambda one: one["bytes_total"], "the snapshot to come")
        self.fill(self.source, 500, 600)  # the window is of what is written after it

    def window_told(self):
        return self.mirror.await_mirror("packages", lambda one: None not in window(one), "the window")

    def test_every_field_of_an_answer_is_in_the_document(self):
        self.fill(self.source)
        self.follow()
        verified = self.mirror.call("POST", "/v1/mirrors/packages/verify", {})
        with client(self.source) as one:
            one.set("key", "a mirror is known to count from the first write on")
        promote = "/v1/mirrors/packages/promote"
        answers = [("NODE", self.source.call("GET", "/v1/node")), ("MIRROR", self.mirror.mirror("packages")),
                   ("Verifying", verified), ("DATABASE", self.source.call("GET", "/v1/databases/packages")),
                   ("Promoting", self.mirror.call("POST", promote, {"dry_run": True})),
                   ("Promoting", self.mirror.call("POST", promote, {})),
                   ("MIRROR", self.mirror.mirror("packages"))]
        for section, answer in answers:
            with self.subTest(section):
                self.assertTrue(keys_of(answer))
                self.assertEqual(keys_of(answer) - names_in(section), set())

    def test_while_following_the_link_is_measured_and_what_is_not_going_on_is_null(self):
        self.fill(self.source)
        self.follow()
        seen = self.mirror.await_mirror("packages", lambda one: one["round_trip_us"], "a round trip")
        self.assertLess(seen["round_trip_us"], 60_000_000, seen)
        self.assertEqual(seen["throttle_cap_bytes"], 64 << 20)
        self.assertIn(seen["throttle_bytes"], range(seen["throttle_cap_bytes"]))
        self.assertEqual((seen["eta_ms"], seen["next_retry_ms"], *window(seen)), (None, None, *NULL_WINDOW), seen)

    def test_while_disconnected_the_next_try_is_told_and_there_is_no_round_trip(self):
        self.fill(self.source)
        self.follow()
        self.source.kill()
        seen = self.mirror.await_mirror("packages", lambda one: one["attempts"] > 1 and one["next_retry_ms"], "a second try to come")
        self.assertIn(seen["next_retry_ms"], range(1, 37_501), seen)
        self.assertEqual((seen["status"], seen["connected"], seen["round_trip_us"], seen["eta_ms"], *window(seen)),
                         ("Disconnected", False, None, None, *NULL_WINDOW), seen)
        metrics = eventually(lambda: self.metrics(self.mirror), lambda one: one.one("mirror_next_retry_seconds"), "the next try")
        self.assertLess(metrics.one("mirror_next_retry_seconds"), 37.6)
        self.assertEqual((metrics.one("mirror_connected"), metrics.one("mirror_status", status="Disconnected")), (0, 1))
        self.assertIsNone(metrics.one("mirror_round_trip_seconds"))

    def test_while_paused_the_lag_grows_and_the_source_says_no_window(self):
        self.fill(self.source)
        self.follow()
        self.mirror.call("POST", "/v1/mirrors/packages/pause", {})
        self.fill(self.source, 500, 600)
        head = self.source.head("packages")
        seen = self.mirror.await_mirror("packages", lambda one: one["source_lsn"] == head, "the source's new head")
        self.assertEqual((seen["status"], seen["lag_lsn"], seen["next_retry_ms"]), ("Paused", head - seen["applied_lsn"], None))
        self.assertGreater(seen["lag_lsn"], 0)
        self.assertEqual((seen["connected"], *window(seen)), (True, *NULL_WINDOW), seen)
        self.mirror.await_mirror("packages", lambda one: one["lag_ms"] > seen["lag_ms"], "the lag to grow")
        self.assertGreater(seen["round_trip_us"], 0)

    def test_while_bootstrapping_under_a_limit_the_time_left_and_the_window_are_told(self):
        self.limited()
        seen = self.mirror.await_mirror("packages", lambda one: one["eta_ms"], "an estimate")
        self.assertEqual(seen["status"], "Bootstrapping")
        left = seen["bytes_total"] - seen["bytes_done"]
        self.assertAlmostEqual(seen["eta_ms"], left * 1000 / seen["rate_bytes_per_s"], delta=1)
        seen = self.window_told()
        self.assertEqual(seen["status"], "Bootstrapping")
        self.assertLessEqual(seen["window_left_bytes"], 4 << 30)
        self.assertIn(seen["window_left_ms"], range(1, 24 * 3600 * 1000 + 1))
        metrics = self.metrics(self.mirror)
        self.assertIn(metrics.one("mirror_bootstrap_done_bytes"), range(seen["bytes_total"]))
        self.assertEqual(metrics.one("mirror_bootstrap_size_bytes"), seen["bytes_total"])
        self.assertEqual(metrics.one("mirror_bandwidth_limit_bytes_per_second"), 400_000)
        self.assertGreater(metrics.one("mirror_window_left_bytes"), 0)
        self.assertGreater(metrics.one("mirror_window_left_seconds"), 0)
        self.limit(0)
        self.mirror.await_following("packages", self.source)
        after = self.mirror.await_mirror("packages", lambda one: window(one) == NULL_WINDOW, "no window when caught up")
        self.assertEqual((after["eta_ms"], after["last_bootstrap_bytes"]), (None, seen["bytes_total"]), after)

    def test_every_metric_of_a_following_mirror_makes_sense(self):
        self.fill(self.source)
        before = eventually(lambda: self.metrics(self.source), lambda one: one.one("database_sync_async_total") == 500, "500 writes")
        self.assertEqual(before.one("database_sync_suspended"), 1)
        self.follow()
        self.mirror.verb("verify", "packages")
        head = self.source.head("packages")
        one = eventually(lambda: self.metrics(self.source), lambda seen: seen.one("database_mirror_durable_lsn", mirror="eu-1") == head,
                         "the source to know that it is all on disk")
        expected = {"database_head_lsn": head, "database_mirrors": 1, "database_mirror_applied_lsn": head, "database_sync_suspended": 0,
                    "database_sync_waiting": 0, "database_sync_unconfirmed_total": 0, "database_sync_async_total": 500,
                    "database_log_budget_bytes": 4 << 30}
        self.assertEqual({name: one.one(name) for name in expected}, expected)
        self.assertIn(one.one("database_log_bytes"), range(500 * 100, 16 << 20))
        with client(self.source) as connected:
            connected.ping()
            eventually(lambda: self.metrics(self.source).one("clients_connected"), lambda count: count == 1, "the client to be counted")
        eventually(lambda: self.metrics(self.source).one("clients_connected"), lambda count: count == 0, "the client to be gone")
        one = self.metrics(self.mirror)
        expected = {"mirror_applied_lsn": head, "mirror_durable_lsn": head, "mirror_source_lsn": head, "mirror_bootstraps_total": 1,
                    "mirror_reconnects_total": 0, "mirror_connected": 1, "mirror_verify_different_keys": 0,
                    "mirror_bandwidth_limit_bytes_per_second": 0, "mirror_throttle_limit_bytes": 64 << 20, "mirror_throttle_bytes": 0,
                    "mirror_next_retry_seconds": None, "mirror_window_left_bytes": None, "mirror_bootstrap_done_bytes": None}
        self.assertEqual({name: one.one(name) for name in expected}, expected)
        outcomes = {outcome: one.one("mirror_verify_outcome", outcome=outcome) for outcome in ("equal", "different", "unknown")}
        self.assertEqual(outcomes, {"equal": 1, "different": 0, "unknown": 0})
        self.assertEqual(sum(value for _, value in one.samples["crosslink_mirror_status"]), 1)
        self.assertEqual(one.one("mirror_status", status="Following"), 1)
        self.assertLess(0, one.one("mirror_round_trip_seconds"))
        self.assertLess(one.one("mirror_round_trip_seconds"), 60)
        self.assertLess(one.one("mirror_lag_seconds"), 5)
        self.assertLess(one.one("mirror_verify_age_seconds"), 60)
        self.assertGreater(one.one("mirror_received_bytes_total"), 500 * 100)
        self.assertLess(one.one("mirror_connection_lost_packets"), one.one("mirror_connection_packets"))

    def test_what_is_served_is_listed_and_what_is_listed_is_served(self):
        served, types = set(), {}

        def look(node):
            metrics = self.metrics(node)
            served.update(metrics.samples)
            types.update(metrics.types)

        self.limited()
        self.window_told()
        look(self.mirror)
        self.limit(0)
        self.mirror.await_following("packages", self.source)
        self.mirror.verb("verify", "packages")
        look(self.mirror)
        look(self.source)
        self.source.signal(signal.SIGKILL)
        self.mirror.await_mirror("packages", lambda one: one["next_retry_ms"], "the next try")
        eventually(lambda: self.metrics(self.mirror), lambda one: one.one("mirror_next_retry_seconds") is not None, "the next try")
        served.add("crosslink_mirror_next_retry_seconds")
        served.add("crosslink_mirror_engine_total")  # of mirrors in etcd
        self.assertEqual(served, listed_metrics())
        self.assertEqual({name for name, kind in types.items() if kind == "counter"},
                         {name for name in types if name.endswith("_total")})


class Reloading(NodeTest):
    def test_a_reload_was_called_whole_although_part_of_it_takes_a_restart(self):
        node = self.node()
        config = node.config.read_text(encoding="utf-8")
        node.config.write_text(config + '[[database]]\nname = "fresh"\n[clients]\nconnections_max = 5\n', encoding="utf-8")
        node.signal(signal.SIGHUP)
        node.await_log("reloaded, but for what takes a restart")
        trouble = node.call("GET", "/v1/node")["config_trouble"]
        self.assertEqual(trouble, "it takes a restart: clients.connections_max, database 'fresh', which is new")
        self.assertIn("crosslink_config_last_reload_successful 0", node.call("GET", "/metrics"))
        node.config.write_text(config.replace("[listen]", "colour = 1\n'\n[listen]"), encoding="utf-8")
        node.signal(signal.SIGHUP)
        node.await_log("nothing was reloaded")
        self.assertNotIn("\\x27", node.call("GET", "/v1/node")["config_trouble"], "what TOML escaped is not escaped again")
        node.config.write_text(config, encoding="utf-8")
        node.signal(signal.SIGHUP)
        node.await_log("info reloaded")
        self.assertIsNone(node.call("GET", "/v1/node")["config_trouble"])
        self.assertIn("crosslink_config_last_reload_successful 1", node.call("GET", "/metrics"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
