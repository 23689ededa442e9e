#!/usr/bin/env python3
"""What a client's GET takes while others are slow: two etcds that hang, clients in KEYS, a verify.

  bench/neighbours.py                                          one program, idle and loaded in turn
  bench/neighbours.py --program before/crosslink after/crosslink --runs 3

One node serves a database of its own, mirrors two others into etcds of their own, and is mirrored by a second node.
Each run measures GET on the idle node, stops both etcds (SIGSTOP), lets clients say KEYS and the second node verify
without end, and measures GET again: the figure is the ratio of the two 99th percentiles, in pairs. With --leave the
clients of KEYS send 40 of them and leave, again and again. Needs etcd and Python's redis (build/deps, or Debian's).
"""
import argparse
import importlib.util
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = ROOT / "build/deps/venv/bin/python"
if importlib.util.find_spec("redis") is None:
    if not PYTHON.exists():
        sys.exit("neighbours.py: Python's redis is missing: ./test installs it into build/deps, and so does apt-get install python3-redis")
    os.execv(PYTHON, [PYTHON, "-B", *sys.argv])
sys.path.insert(0, str(ROOT / "tests" / "e2e"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", nargs="+", default=[str(ROOT / "build/release/crosslink")], help="in turn, for each run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", type=int, default=400_000)
    parser.add_argument("--seconds", type=float, default=10, help="of GETs, idle and loaded each")
    parser.add_argument("--scanners", type=int, default=3)
    parser.add_argument("--leave", action="store_true")
    return parser.parse_args()


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def line(self):
        while b"\r\n" not in self.rest:
            part = self.socket.recv(65536)
            if not part:
                raise OSError("the node closed the connection")
            self.rest += part
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def get(self, key):
        self.socket.sendall(command(b"GET", key))
        header = self.line()
        return None if header == b"$-1" else self.line()


def fill(port, keys):
    one = Connection(port)
    for begin in range(0, keys, 1000):
        words = [b"MSET"]
        for number in range(begin, min(begin + 1000, keys)):
            words += [b"key:%09d" % number, b"v" * 100]
        one.socket.sendall(command(*words))
        assert one.line() == b"+OK"
    one.socket.close()


def measure(port, keys, seconds):
    """What each GET took, in ms; one every millisecond, so that the client itself is no load."""
    # It stands for a client on another machine, which waits for no processor of this one.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
    took, one, end = [], Connection(port), time.monotonic() + seconds
    while time.monotonic() < end:
        key = b"key:%09d" % random.randrange(keys)
        begin = time.perf_counter()
        value = one.get(key)
        took.append((time.perf_counter() - begin) * 1000)
        assert value is not None and len(value) == 100
        time.sleep(0.001)
    one.socket.close()
    return took


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


class Scanners:
    """Clients that say KEYS with a pattern that matches nothing, so that what they take is the node's time, not theirs."""

    def __init__(self, port, count, leave):
        self.stopping, self.port, self.done = threading.Event(), port, 0
        self.threads = [threading.Thread(target=self.leave if leave else self.stay, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def stay(self):
        one = Connection(self.port)
        while not self.stopping.is_set():
            one.socket.sendall(command(b"KEYS", b"nothing-*-here"))
            one.line()
            self.done += 1
        one.socket.close()

    def leave(self):
        while not self.stopping.is_set():
            one = Connection(self.port)
            one.socket.sendall(40 * command(b"KEYS", b"nothing-*-here"))
            one.socket.close()
            self.done += 40
            self.stopping.wait(0.5)

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Verifies:
    def __init__(self, node):
        self.stopping, self.node, self.done = threading.Event(), node, 0
        self.thread = threading.Thread(target=self.go_on, daemon=True)
        self.thread.start()

    def go_on(self):
        while not self.stopping.is_set():
            done = self.node.run("verify", "packages")
            if done.returncode == 0:
                self.done += 1
            else:
                self.stopping.wait(1)  # at most six a minute are allowed

    def end(self):
        self.stopping.set()
        self.thread.join()


def etcd_mirror(node, name, etcd, source):
    node.create_mirror(name, source, "feed", into="etcd",
                       etcd={"endpoints": etcd.endpoints.split(","), "prefix": f"/{name}/"})
    node.await_following(name)


def run_once(options, program, folder):
    import cli_support
    import node_support
    from etcd_support import Etcd
    for module in (cli_support, node_support):
        module.PROGRAM = program
    cli_support.run.__kwdefaults__["program"] = program
    certificates = folder / "certificates"
    for words in (["init"], ["issue", "--name", "prod-us"], ["issue", "--name", "eu-1"]):
        made = cli_support.run("certs", *words, "--dir", certificates)
        assert made.returncode == 0, made.stderr
    etcds = [Etcd(folder / f"etcd-{number}") for number in range(2)]
    main = node_support.Node(folder / "main", certificates, per_database='allow_mirrors = ["eu-1"]')
    other = node_support.Node(folder / "other", certificates, cluster="eu-1", databases=("feed",),
                              per_database='allow_mirrors = ["prod-us"]')
    try:
        fill(main.port, options.keys)
        fill(other.port, 1000)
        other.create_mirror("packages", main)
        for number, etcd in enumerate(etcds):
            etcd_mirror(main, f"hung-{number}", etcd, other)
        other.await_following("packages", main)
        measure(main.port, options.keys, 1)
        idle = measure(main.port, options.keys, options.seconds)
        for etcd in etcds:
            etcd.freeze(0)
        fill(other.port, 1000)  # so that both have something to write to the etcds
        scanners, verifies = Scanners(main.port, options.scanners, options.leave), Verifies(other)
        time.sleep(1)
        loaded = measure(main.port, options.keys, options.seconds)
        scanners.end()
        verifies.end()
        return {"program": program, "idle_p50_ms": percentile(idle, 0.5), "idle_p99_ms": percentile(idle, 0.99),
                "loaded_p50_ms": percentile(loaded, 0.5), "loaded_p99_ms": percentile(loaded, 0.99),
                "loaded_max_ms": max(loaded), "ratio_p99": percentile(loaded, 0.99) / percentile(idle, 0.99),
                "scans": scanners.done, "verifies": verifies.done}
    finally:
        for etcd in etcds:
            etcd.close()
        for node in (main, other):
            node.close()


def main():
    options = arguments()
    os.environ["CROSSLINK_PROGRAM"] = options.program[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results = []
    for _ in range(options.runs):
        for program in options.program:
            with tempfile.TemporaryDirectory(prefix="crosslink-neighbours-") as folder:
                results.append(run_once(options, program, pathlib.Path(folder)))
                print(json.dumps(results[-1]), flush=True)
    for program in options.program:
        ratios = [one["ratio_p99"] for one in results if one["program"] == program]
        print(f"{program}: GET's 99th percentile is {statistics.median(ratios):.2f} times that on the idle node (median of {len(ratios)})")


if __name__ == "__main__":
    main()
