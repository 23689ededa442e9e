#!/usr/bin/env python3
"""How fast a node serves clients, alone and with a mirror on the same machine: redis-benchmark against `crosslink serve`.

    bench/node.py [--runs N] [--requests N]

Two nodes on loopback, TLS between them, databases on this machine's disk. Each run: SET without a mirror, SET with one, how
long the mirror takes to have it all, GET. Prints one JSON object of medians (least to most)."""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = TOP / "build/release/crosslink"


def crosslink(*words):
    return subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True, text=True).stdout


class Node:
    def __init__(self, folder, cluster, databases):
        self.config = folder / f"{cluster}.toml"
        self.config.write_text(
            f'cluster_id = "{cluster}"\ndata_dir = "{cluster}"\n[listen]\nmirrors = "127.0.0.1:0"\nclients = "127.0.0.1:0"\n'
            f'admin = "127.0.0.1:0"\n[tls]\nca = "certs/ca.pem"\ncert = "certs/{cluster}.pem"\nkey = "certs/{cluster}.key"\n'
            + "".join(f'[[database]]\nname = "{name}"\n' for name in databases))
        self.process = subprocess.Popen([PROGRAM, "serve", "--config", self.config, "-o", "json"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        at = json.loads(self.process.stdout.readline())
        self.mirrors, self.port = at["mirrors"], int(at["clients"].rsplit(":", 1)[1])
        self.admin = ["--admin", at["admin"], "--token-file", folder / cluster / "admin.token"]

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def redis_benchmark(node, test, requests):
    out = subprocess.run(["redis-benchmark", "-p", str(node.port), "-t", test, "-P", "64", "-c", "8", "-d", "128",
                          "-r", "2000000", "-n", str(requests), "--csv"], check=True, capture_output=True, text=True)
    rows = [line for line in out.stdout.splitlines() if line.upper().startswith(f'"{test.upper()}"')]
    return float(rows[0].split(",")[1].strip('"'))


def run(folder, requests):
    crosslink("certs", "init", "--dir", folder / "certs")
    for cluster in ("prod-us", "eu-standby"):
        crosslink("certs", "issue", "--dir", folder / "certs", "--name", cluster)
    source, mirror = Node(folder, "prod-us", ["packages"]), Node(folder, "eu-standby", [])
    try:
        figures = {"set_per_s_alone": redis_benchmark(source, "set", requests)}
        crosslink("mirror", "create", "packages", "--from", "prod-us/packages", "--addr", source.mirrors, *mirror.admin)
        crosslink("status", "packages", "--wait", "following", "--timeout", 300, *mirror.admin)
        figures["set_per_s_with_mirror"] = redis_benchmark(source, "set", requests)
        ended = time.monotonic()
        head = json.loads(crosslink("db", "list", "-o", "json", *source.admin))["databases"][0]["head_lsn"]
        while json.loads(crosslink("status", "-o", "json", *mirror.admin))["mirrors"][0]["applied_lsn"] < head:
            pass
        figures["drain_seconds"] = time.monotonic() - ended
        figures["set_ratio"] = figures["set_per_s_with_mirror"] / figures["set_per_s_alone"]
        figures["get_per_s"] = redis_benchmark(source, "get", requests)
        figures["mirror_node_resident_bytes"] = mirror.resident_bytes()
        return figures
    finally:
        source.end()
        mirror.end()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--requests", type=int, default=2_000_000)
    chosen = options.parse_args()
    all_figures = []
    for _ in range(chosen.runs):
        with tempfile.TemporaryDirectory(prefix="crosslink-bench-") as folder:
            all_figures.append(run(pathlib.Path(folder), chosen.requests))
            print(json.dumps(all_figures[-1]), file=sys.stderr)
    print(json.dumps({name: {"median": statistics.median(values), "least": min(values), "most": max(values)}
                      for name in all_figures[0] for values in [[one[name] for one in all_figures]]}))


if __name__ == "__main__":
    main()
