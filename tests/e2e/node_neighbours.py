"""Whoever is slow, large or gone holds up nobody else: clients that scan, clusters that hang, writes that grow."""

import socket
import threading
import time
import unittest

import redis
from etcd_support import Etcd
from node_support import MirroredTest, NodeTest, client, eventually

KEYS = 300_000


def fill(node, keys=KEYS):
    with client(node) as one:
        for begin in range(0, keys, 5000):
            one.mset({f"key-{number}": "v" * 20 for number in range(begin, min(begin + 5000, keys))})


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def connect(node):
    return socket.create_connection(("127.0.0.1", node.port), timeout=60)


class Scanners(NodeTest):
    def test_clients_that_asked_for_all_keys_and_left_hold_up_nobody(self):
        node = self.node()
        fill(node)
        with client(node) as other:
            begin = time.monotonic()
            other.keys("nothing-*")
            scan_s = time.monotonic() - begin
            for _ in range(3):
                with connect(node) as leaving:
                    leaving.sendall(40 * command("KEYS", "nothing-*"))
            eventually(lambda: other.info("clients")["connected_clients"], lambda count: count == 1,
                       "the scans of those who left to end")
            self.assertLess(time.monotonic() - begin, 30 * scan_s + 2, "120 scans were not carried through")

    def test_a_client_reads_while_others_scan(self):
        node = self.node()
        fill(node)
        stopping, scans = threading.Event(), []

        def scan():
            with client(node) as one:
                while not stopping.is_set():
                    one.keys("nothing-*")
                    scans.append(one.dbsize())

        scanners = [threading.Thread(target=scan) for _ in range(4)]
        for scanner in scanners:
            scanner.start()
        took = []
        with client(node) as one:
            while len(scans) < 4:
                begin = time.monotonic()
                self.assertEqual(one.get("key-7"), b"v" * 20)
                took.append(time.monotonic() - begin)
        stopping.set()
        for scanner in scanners:
            scanner.join()
        self.assertEqual(set(scans), {KEYS})
        # More threads scan than a pool has; each GET would wait for the end of a scan.
        self.assertGreater(len(took), 50 * 4, "reads went on beside the scans")

    def test_the_answer_of_a_scan_in_slices_is_whole_and_of_one_moment(self):
        node = self.node()
        fill(node)
        with client(node) as scanning, client(node) as other:
            found = {}
            thread = threading.Thread(target=lambda: found.update(keys=scanning.keys("*"), all=scanning.mget(
                [f"key-{number}" for number in range(0, KEYS, 3)]), count=scanning.exists(*[f"key-{number}" for number in range(5000)])))
            thread.start()
            other.mset({f"other-{number}": 1 for number in range(1000)})
            thread.join()
            self.assertEqual(len(found["keys"]), len(set(found["keys"])))
            self.assertIn(len(found["keys"]), (KEYS, KEYS + 1000), "of before or after another's commit, not of between")
            self.assertEqual((set(found["all"]), found["count"]), ({b"v" * 20}, 5000))


class Clusters(MirroredTest):
    source_options = {"per_database": 'allow_mirrors = ["eu-1"]'}
    mirror_options = {}

    def test_clusters_that_hang_hold_up_no_read_of_another_database(self):
        self.fill(self.source)
        standby = self.node("standby", cluster="eu-1", databases=("own",))
        etcds = []
        for number in range(3):
            etcd = Etcd(self.path / self.id().rsplit(".", 1)[-1] / f"etcd-{number}")
            self.addCleanup(etcd.close)
            etcds.append(etcd)
            standby.create_mirror(f"hung-{number}", self.source, "packages", into="etcd",
                                  etcd={"endpoints": etcd.endpoints.split(","), "prefix": f"/hung-{number}/"})
            standby.await_following(f"hung-{number}")
        standby.create_mirror("packages", self.source)
        standby.await_following("packages", self.source)
        for etcd in etcds:
            etcd.freeze(0)
            self.addCleanup(etcd.thaw, 0)
        self.fill(self.source, 500, 1000)  # each has something to write now
        with client(standby) as one:
            one.execute_command("SELECT", "own")
            worst, end = 0, time.monotonic() + 3
            while time.monotonic() < end:
                begin = time.monotonic()
                one.set("k", "v")
                self.assertEqual(one.get("k"), b"v")
                worst = max(worst, time.monotonic() - begin)
        self.assertLess(worst, 2, "calls to etcd take 5 s to fail")
        standby.await_following("packages", self.source)


if __name__ == "__main__":
    unittest.main(verbosity=2)
