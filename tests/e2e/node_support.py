"""What the tests with real nodes share: a node process, clients of it."""

import os
import pathlib
import signal
import subprocess

from cli_support import PROGRAM, CommandLineTest, run

DEADLINE_S = 60


class Node:
    """One `crosslink serve`, with a config of its own."""

    def __init__(self, folder, certificates, cluster="prod-us", databases=("packages",), extra="", per_database=""):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "node.toml"
        tables = "".join(f'[[database]]\nname = "{name}"\n{per_database}\n' for name in databases)
        self.config.write_text(
            f'cluster_id = "{cluster}"\ndata_dir = "data"\n'
            '[listen]\nmirrors = "127.0.0.1:0"\nclients = "127.0.0.1:0"\n'
            f'[tls]\nca = "{certificates}/ca.pem"\ncert = "{certificates}/{cluster}.pem"\nkey = "{certificates}/{cluster}.key"\n'
            f"{extra}\n{tables}")
        self.process = None
        self.start()

    def start(self):
        self.log = open(self.folder / "log", "a", encoding="utf-8")
        self.process = subprocess.Popen([PROGRAM, "serve", "--config", str(self.config)], stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("serving "):
            raise AssertionError(f"{line!r}, exit {self.process.wait(DEADLINE_S)}: {self.log_text()}")
        self.mirrors, self.clients = (word.split(" ")[0].strip() for word in line.split(" at ")[1:])
        self.mirrors = self.mirrors.rstrip(",")
        self.port = int(self.clients.rsplit(":", 1)[1])

    def log_text(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        self.close()
        if code != 0:
            raise AssertionError(f"the node ended with {code}: {self.log_text()}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        self.log.close()

    def redis_cli(self, *words, code=0):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False)
        if done.returncode != code:
            raise AssertionError(f"{words}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout.rstrip("\n")


class NodeTest(CommandLineTest):
    def node(self, name="prod-us", **options):
        node = Node(os.path.join(self.path, self.id().rsplit(".", 1)[1], name), self.certificates, **options)
        self.addCleanup(node.close)
        return node
