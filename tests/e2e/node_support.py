"""What the tests with real nodes share: a node process, clients of it, load on it, a source and its mirror."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import redis

from cli_support import PROGRAM, CommandLineTest, run, unused_port

DEADLINE_S = 60


def eventually(look, condition, what, seconds=DEADLINE_S):
    """Looks until the condition holds; what was seen last is in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if condition(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting for {what}; last seen: {seen}")
        threading.Event().wait(0.02)


def client(node, database=None, **options):
    """redis-py; for `with client(node) as one`."""
    one = redis.Redis(port=node.port, socket_timeout=DEADLINE_S, **options)
    if database:
        one.execute_command("SELECT", database)
    return one


def ask(connection, method, path, body, headers):
    """One request, JSON where there is a body: (status, what came back, from JSON where it is). Closes the connection."""
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    is_json = response.headers.get("Content-Type", "").startswith("application/json")
    return response.status, json.loads(text) if is_json else text


class Node:
    """One `crosslink serve`, with a config of its own. What is restarted while others know its address says `mirrors_port`."""

    def __init__(self, folder, certificates, cluster="prod-us", databases=("packages",), extra="", per_database="",
                 mirrors_port=0, admin_host="127.0.0.1"):
        self.folder = pathlib.Path(folder)
        self.cluster = cluster
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "node.toml"
        # A test of who may mirror what says so; for the others any name of the tests' CA may.
        if "allow_mirrors" not in per_database:
            per_database += '\nallow_mirrors = ["*"]'
        if "[database_defaults]" not in extra:
            extra += '\n[database_defaults]\nallow_mirrors = ["*"]\n'
        tables = "".join(f'[[database]]\nname = "{name}"\n{per_database}\n' for name in databases)
        self.config.write_text(
            f'cluster_id = "{cluster}"\ndata_dir = "data"\n'
            f'[listen]\nmirrors = "127.0.0.1:{mirrors_port}"\nclients = "127.0.0.1:0"\nadmin = "{admin_host}:0"\n'
            f'[tls]\nca = "{certificates}/ca.pem"\ncert = "{certificates}/{cluster}.pem"\nkey = "{certificates}/{cluster}.key"\n'
            f"{extra}\n{tables}")
        self.process = None
        self.start()

    def start(self, command=None, opening_s=DEADLINE_S):
        self.log = open(self.folder / "log", "a", encoding="utf-8")
        self.process = subprocess.Popen(command or [PROGRAM, "serve", "--config", str(self.config)], stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)
        line = self.serving_line = self.process.stdout.readline()
        if not line.startswith("serving "):
            code = self.process.wait(DEADLINE_S)
            self.close()
            raise AssertionError(f"{line!r}, exit {code}: {self.log_text()}")
        self.mirrors, self.clients, self.admin = (word.split(" ")[0].strip().rstrip(",;")
                                                  for word in line.split(" at ")[1:])
        self.port = int(self.clients.rsplit(":", 1)[1])
        if " still to open" in line and opening_s:
            self.await_opening(opening_s)

    def await_opening(self, seconds):
        """Until all are open that can be: a slow machine has some that are not when the ports open."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            listed = self.run("db", "list", "-o", "json")
            if "being opened since" not in listed.stdout:
                return

    def log_text(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def signal(self, number):
        self.process.send_signal(number)

    def await_log(self, text, times=1):
        eventually(self.log_text, lambda log: log.count(text) >= times, f"'{text}' in the log")

    def kill(self):
        self.signal(signal.SIGKILL)
        self.close()

    def stop(self):
        self.signal(signal.SIGTERM)
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

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def run(self, *words):
        """The program's command to this node, whose port is not in its config."""
        return run(*words, "--admin", self.admin, "--token-file", self.folder / "data" / "admin.token")

    def verb(self, *words, code=0):
        """As run(), and it must end with the code; what was printed."""
        done = self.run(*words)
        if done.returncode != code:
            raise AssertionError(f"{words}: {done.returncode} {done.stdout} {done.stderr}\n{self.log_text()}")
        return done.stdout + done.stderr

    def age_catalog(self, *fields):
        """Of a node that is stopped: its catalog as a version wrote it that had none of these fields."""
        file = self.folder / "data" / "catalog.json"
        catalog = json.loads(file.read_text(encoding="utf-8"))
        for entry in catalog["databases"]:
            for field in fields:
                del entry[field]
        file.write_text(json.dumps(catalog), encoding="utf-8")

    def token(self):
        return (self.folder / "data" / "admin.token").read_text(encoding="utf-8").strip()

    def request(self, method, path, body=None, headers=None, timeout=DEADLINE_S):
        """One request to the admin port: (status, what came back, from JSON where it is)."""
        connection = http.client.HTTPConnection(self.admin, timeout=timeout)
        sent = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        sent.update(headers or {})
        sent = {key: value for key, value in sent.items() if value is not None}
        return ask(connection, method, path, body, sent)

    def call(self, method, path, body=None):
        """As request(), but anything but 200 fails the test."""
        status, answer = self.request(method, path, body)
        if status != 200:
            raise AssertionError(f"{method} {path}: {status} {answer}\n{self.log_text()}")
        return answer

    def create_mirror(self, name, source, database=None, **more):
        request = {"name": name, "from": f"{source.cluster}/{database or name}", "addr": source.mirrors, **more}
        return self.call("POST", "/v1/mirrors", request)

    def mirror(self, name):
        return self.call("GET", f"/v1/mirrors/{name}")

    def await_mirror(self, name, condition, what):
        return eventually(lambda: self.mirror(name), condition, what)

    def await_following(self, name, source=None):
        """Following, and with `source`: has everything that is there now."""
        head = source.head(name) if source else 0
        return self.await_mirror(name, lambda one: one["status"] == "Following" and one["applied_lsn"] >= head,
                                 f"{name} to follow up to {head}")

    def head(self, database):
        return self.call("GET", f"/v1/databases/{database}")["head_lsn"]

    def contents(self, database=0):
        """Every pair, by SCAN and MGET."""
        pairs, cursor = {}, 0
        with client(self) as one:
            one.execute_command("SELECT", database)
            while True:
                cursor, keys = one.scan(cursor, count=1000)
                if keys:
                    pairs.update(zip(keys, one.mget(keys)))
                if cursor == 0:
                    return pairs

    def redis_cli(self, *words, code=0):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False)
        if done.returncode != code:
            raise AssertionError(f"{words}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout.rstrip("\n")


class Load:
    """redis-benchmark writing to a node without end: values that tell one write from another, deletes among them."""

    COMMANDS = (("set", "key:__rand_int__", "__rand_int__"), ("del", "key:__rand_int__"), ("incr", "counter:__rand_int__"))

    def __init__(self, node, keys=20_000):
        self.processes = [
            subprocess.Popen(["redis-benchmark", "-p", str(node.port), "-l", "-q", "-c", "2", "-P", "4", "-r", str(keys), *words],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in self.COMMANDS]

    def end(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(DEADLINE_S)


class NodeTest(CommandLineTest):
    def node(self, name="prod-us", certificates=None, **options):
        node = Node(os.path.join(self.path, self.id().rsplit(".", 1)[1], name), certificates or self.certificates, **options)
        self.addCleanup(node.close)
        return node


class MirroredTest(NodeTest):
    """`source` at prod-us with a database `packages`, and `mirror`, a node at eu-1 without one. Either can be restarted."""

    source_options, mirror_options = {}, {}

    def setUp(self):
        super().setUp()
        self.source = self.node("prod-us", mirrors_port=unused_port(), **self.source_options)
        self.mirror = self.node("eu-1", cluster="eu-1", databases=(), **self.mirror_options)

    def fill(self, node, begin=0, end=500, value_bytes=100):
        with client(node) as one:
            pipeline = one.pipeline(transaction=False)
            for number in range(begin, end):
                pipeline.set(f"key-{number}", f"value-{number}-" + os.urandom(value_bytes // 2).hex())
            pipeline.execute()

    def follow(self):
        self.mirror.create_mirror("packages", self.source)
        return self.mirror.await_following("packages", self.source)

    def create_limited(self, bytes_per_s):
        """A mirror that is limited from the first byte on: its source stands still until the limit is there."""
        self.source.signal(signal.SIGSTOP)
        self.mirror.create_mirror("packages", self.source)
        self.limit(bytes_per_s)
        self.source.signal(signal.SIGCONT)

    def limit(self, bytes_per_s):
        """0: none."""
        self.mirror.call("POST", "/v1/mirrors/packages/limit", {"bytes_per_s": bytes_per_s})

    def assert_equal(self, node=None, source=None):
        """By the program's own verify, and by a client at each side. The source is at rest."""
        node, source = node or self.mirror, source or self.source
        node.await_following("packages", source)
        self.assertIn("EQUAL", node.verb("verify", "packages"))
        expected = source.contents("packages")
        self.assertTrue(expected)
        self.assertTrue(node.contents("packages") == expected, "SCAN and MGET see other contents at the mirror")
