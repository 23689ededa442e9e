#!/usr/bin/env python3
"""Runs `crosslink-bench link` and bare msquic in turn and prints medians and the ratio pair by pair.

  bench/compare_link.py --bytes 4000000000 --runs 5
  bench/compare_link.py --bytes 1000000000 --runs 3 --line 'rtt=100 loss=0.01 rate=500'   (root; two network namespaces)

With --line both programs run between two network namespaces joined by build/release/long_line, an emulated long line.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Loopback:
    """Each program brings its own second process."""

    source_prefix, mirror_prefix, source_address = [], [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class LongLine:
    """Two network namespaces with an emulated line between them; gone with the object."""

    def __init__(self, build, text):
        values = dict(part.split("=") for part in text.split())
        self.name = f"cl{os.getpid()}"
        options = {"rtt": "--rtt-ms", "loss": "--loss", "rate": "--rate-mbit", "queue": "--queue-ms", "jitter": "--jitter-ms"}
        self.command = [str(build / "long_line"), self.name]
        for key, value in values.items():
            self.command += [options[key], value]
        self.source_prefix = ["ip", "netns", "exec", f"{self.name}-a"]
        self.mirror_prefix = ["ip", "netns", "exec", f"{self.name}-b"]
        self.source_address = "10.77.0.1:7501"

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit("the emulated line did not start; it needs root and iproute2")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def certificates(program, folder):
    for arguments in (["init"], ["issue", "--name", "source"], ["issue", "--name", "mirror"]):
        subprocess.run([program, "certs", *arguments[:1], "--dir", folder, *arguments[1:]], check=True, stdout=subprocess.DEVNULL)


def tls(folder, name):
    return ["--ca", f"{folder}/ca.pem", "--cert", f"{folder}/{name}.pem", "--key", f"{folder}/{name}.key"]


def measure(line, source_command, mirror_command, both_command):
    """One run; the mirror's JSON."""
    if line.source_address is None:
        output = subprocess.run(both_command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(output.splitlines()[-1])
    source = subprocess.Popen(line.source_prefix + source_command, stdout=subprocess.PIPE, text=True)
    source.stdout.readline()  # it listens
    try:
        output = subprocess.run(line.mirror_prefix + mirror_command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(output.splitlines()[-1])
    finally:
        source.send_signal(signal.SIGTERM)
        source.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--bytes", type=int, default=4_000_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--congestion", choices=["bbr", "cubic"], default="bbr")
    parser.add_argument("--line", help="emulate a long line, for instance 'rtt=100 loss=0.01 rate=500'")
    parser.add_argument("--rate", type=int, default=0, help="known line rate in Mbit/s, given to crosslink's source")
    arguments = parser.parse_args()
    program, bench, bare = (str(arguments.build / name) for name in ("crosslink", "crosslink-bench", "bare_msquic"))
    amount = ["--bytes", str(arguments.bytes)]
    congestion = ["--congestion", arguments.congestion]
    rates = {"crosslink": [], "bare msquic": []}
    with tempfile.TemporaryDirectory() as folder, LongLine(arguments.build, arguments.line) if arguments.line else Loopback() as line:
        certificates(program, folder)
        address = line.source_address or ""
        rate = ["--rate", str(arguments.rate)]
        ours = [bench, "link", "-o", "json", *congestion]
        bare_common = [bare, *congestion]
        for run in range(arguments.runs):
            result = measure(
                line,
                [bench, "link", "--listen", address, "--cluster-id", "source", *tls(folder, "source"), *congestion, *rate],
                [*ours, *amount, "--connect", address, "--cluster-id", "source", *tls(folder, "mirror")],
                [*ours, *amount, *rate])
            rates["crosslink"].append(result["gbit_per_s"])
            yardstick = measure(line, [*bare_common, "--listen", address, *tls(folder, "source")],
                                [*bare_common, *amount, "--connect", address, *tls(folder, "mirror")],
                                [*bare_common, *amount, *tls(folder, "source")])
            rates["bare msquic"].append(yardstick["gbit_per_s"])
            print(f"run {run + 1}: crosslink {result['gbit_per_s']:.3f} Gbit/s (peak memory: mirror "
                  f"{result['mirror_peak_memory_bytes'] / 1e6:.0f} MB, source {(result['source_peak_memory_bytes'] or 0) / 1e6:.0f} MB; "
                  f"{result['packets_lost']} of {result['packets_sent']} packets lost), bare msquic {yardstick['gbit_per_s']:.3f}", flush=True)
    pairs = [a / b for a, b in zip(rates["crosslink"], rates["bare msquic"])]
    for name, values in rates.items():
        print(f"{name}: median {statistics.median(values):.3f} Gbit/s, {min(values):.3f} to {max(values):.3f}")
    print(f"ratio: median {statistics.median(pairs):.3f}, {min(pairs):.3f} to {max(pairs):.3f}")


if __name__ == "__main__":
    main()
