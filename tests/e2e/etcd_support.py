"""What the tests with etcd in real processes share: clusters, an independent client of them, hosts, waiting.

The client speaks etcd's JSON gateway, so that nothing of crosslink is believed of what is in a cluster."""

import base64
import http.client
import json
import os
import random
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from cli_support import CommandLineTest, run, unused_port
from host_process import DEADLINE_S, HostProcess

HOST = os.environ.get("ETCD_HOST")  # only the scenarios have one


def text64(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def bytes_of(value):
    return base64.b64decode(value).decode()


def prefix_end(prefix):
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Etcd:
    """A cluster of real servers on free ports, with the calls that tests make.

    With `certificates`, a folder of them, it speaks TLS as localhost and wants certificates; we are eu-1."""

    # One alone leads at once; several shall not elect whenever this machine is slow.
    TIMES = [["--heartbeat-interval", "10", "--election-timeout", "100"],
             ["--heartbeat-interval", "100", "--election-timeout", "1000"]]
    READS = ("/v3/kv/range", "/v3/maintenance/status")

    def __init__(self, folder, members=1, flags=(), certificates=None):
        self.folder, self.flags, self.certificates = folder, list(flags), certificates
        self.scheme = "https" if certificates else "http"
        if certificates:
            self.flags += ["--cert-file", f"{certificates}/localhost.pem", "--key-file", f"{certificates}/localhost.key",
                           "--trusted-ca-file", f"{certificates}/ca.pem", "--client-cert-auth"]
        self.user_token = None  # of the user that log_in() named
        folder.mkdir(parents=True, exist_ok=True)  # with data in it they go on from it
        self.ports = [(unused_port(), unused_port()) for _ in range(members)]
        self.processes = [None] * members
        self.token = f"test-{os.getpid()}-{random.random()}"
        for member in range(members):
            self.start(member)
        self.wait_ready()

    def freeze(self, member):
        self.processes[member].send_signal(signal.SIGSTOP)

    def thaw(self, member):
        self.processes[member].send_signal(signal.SIGCONT)

    def add_learner(self):
        """Its endpoint, once it answers."""
        ports = (unused_port(), unused_port())
        # A cluster takes a member only once all have been connected for five seconds.
        self.until_answered("/v3/cluster/member/add", {"peerURLs": [f"http://127.0.0.1:{ports[1]}"], "isLearner": True})
        self.ports.append(ports)
        self.processes.append(None)
        learner = len(self.ports) - 1
        self.start(learner, ["--initial-cluster-state", "existing"])
        self.until_answered("/v3/kv/range", {"key": text64("a"), "serializable": True}, member=learner)
        return f"{self.scheme}://127.0.0.1:{ports[0]}"

    def until_answered(self, path, body, member=None):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.call(path, body, member=member)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # between two attempts

    def start(self, member, more=()):
        cluster = ",".join(f"m{i}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(self.ports))
        client, peer = (f"{scheme}://127.0.0.1:{port}" for scheme, port in zip((self.scheme, "http"), self.ports[member]))
        log = open(self.folder / f"m{member}.log", "ab")
        self.processes[member] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",  # it ends with us, however we end
             "etcd", "--name", f"m{member}", "--data-dir", str(self.folder / f"m{member}"), "--listen-peer-urls", peer,
             "--initial-advertise-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
             "--initial-cluster", cluster, "--initial-cluster-token", self.token, *self.TIMES[len(self.ports) > 1],
             "--logger", "zap", "--log-level", "error", *self.flags, *more],
            stdout=log, stderr=log)
        log.close()

    def wait_ready(self, log_in=None):
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                if log_in:
                    self.log_in(*log_in)
                for member in range(len(self.ports)):
                    self.call("/v3/kv/range", {"key": text64("a")}, member=member, timeout=5)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)  # between two attempts

    def kill(self, member):
        self.processes[member].kill()
        self.processes[member].wait()

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()

    @property
    def endpoints(self):
        host = "localhost" if self.certificates else "127.0.0.1"
        return ",".join(f"{self.scheme}://{host}:{client}" for client, _ in self.ports)

    def connection(self, port, timeout):
        if not self.certificates:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        context = ssl.create_default_context(cafile=f"{self.certificates}/ca.pem")
        context.load_cert_chain(f"{self.certificates}/eu-1.pem", f"{self.certificates}/eu-1.key")
        return http.client.HTTPSConnection("localhost", port, timeout=timeout, context=context)

    def call(self, path, body, member=None, token=None, timeout=30):
        """Asks one member after another, unless one is named, and for a read again and again; a refusal of etcd is a
        RuntimeError."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.call_once(path, body, member, token, timeout)
            except OSError:
                if path not in self.READS or member is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # between two rounds

    def call_once(self, path, body, member, token, timeout):
        token, last = token or self.user_token, None
        for port, _ in self.ports if member is None else [self.ports[member]]:
            connection = self.connection(port, timeout)
            try:
                connection.request("POST", path, json.dumps(body), {"Authorization": token} if token else {})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                last = OSError(str(error))
                continue
            finally:
                connection.close()
            if response.status == 200:
                return answer
            if answer.get("code") == 14:  # unavailable: no leader yet
                last = OSError(answer)
                continue
            raise RuntimeError(answer)
        raise last

    def log_in(self, name, password):
        self.user_token = None
        self.user_token = self.call("/v3/auth/authenticate", {"name": name, "password": password})["token"]

    def leader(self):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            for member, process in enumerate(self.processes):
                if process.poll() is not None:
                    continue
                try:
                    status = self.call("/v3/maintenance/status", {}, member=member, timeout=5)
                except OSError:
                    continue
                if status.get("leader") == status["header"]["member_id"]:
                    return member
            time.sleep(0.05)  # between two looks
        raise AssertionError("no leader")

    def revision(self, answer):
        return int(answer["header"]["revision"])

    def put(self, key, value, lease=0, token=None):
        return self.revision(self.call("/v3/kv/put", {"key": text64(key), "value": text64(value), "lease": lease},
                                       token=token))

    def delete(self, key):
        return self.revision(self.call("/v3/kv/deleterange", {"key": text64(key)}))

    def delete_below(self, prefix):
        return self.revision(self.call("/v3/kv/deleterange", {"key": text64(prefix),
                                                              "range_end": text64(prefix_end(prefix))}))

    def txn(self, puts, deletes=()):
        operations = [{"requestPut": {"key": text64(key), "value": text64(value)}} for key, value in puts]
        operations += [{"requestDeleteRange": {"key": text64(key)}} for key in deletes]
        return self.revision(self.call("/v3/kv/txn", {"success": operations}))

    def get_bytes(self, key):
        kvs = self.call("/v3/kv/range", {"key": text64(key)}).get("kvs")
        return base64.b64decode(kvs[0].get("value", "")) if kvs else None

    def get(self, key):
        value = self.get_bytes(key)
        return None if value is None else value.decode()

    def now(self):
        return self.revision(self.call("/v3/kv/range", {"key": text64("a")}))

    def pairs(self, prefix, revision=0):
        """Every key and value below the prefix, at one revision."""
        found, begin = {}, prefix
        while True:
            page = self.call("/v3/kv/range", {"key": text64(begin), "range_end": text64(prefix_end(prefix)),
                                              "limit": 10000, "revision": revision})
            revision = revision or self.revision(page)
            kvs = page.get("kvs", [])
            for kv in kvs:
                found[bytes_of(kv["key"])] = bytes_of(kv.get("value", ""))
            if not page.get("more"):
                return found
            begin = bytes_of(kvs[-1]["key"]) + "\0"

    def lease_of(self, key):
        return int(self.call("/v3/kv/range", {"key": text64(key)})["kvs"][0].get("lease", 0))

    def grant(self, ttl_s):
        return int(self.call("/v3/lease/grant", {"TTL": ttl_s})["ID"])

    def compact(self, revision=None, physical=True):
        """`physical`: waits until it is carried out, seconds with many keys; revisions are refused at once."""
        self.call("/v3/kv/compaction", {"revision": revision or self.now(), "physical": physical})


class SharedEtcd(Etcd):
    """A server that the cases of this process use one after another. It has no key and no lease at the beginning, and its
    history is compacted, but its revisions go on."""

    idle = []  # that no case has now

    def __init__(self):
        folder = tempfile.TemporaryDirectory(prefix="crosslink-test-")
        unittest.addModuleCleanup(folder.cleanup)
        super().__init__(Path(folder.name) / "etcd")
        unittest.addModuleCleanup(self.close)

    @classmethod
    def take(cls, case):
        etcd = cls.idle.pop() if cls.idle else cls()
        etcd.empty()
        case.addCleanup(cls.idle.append, etcd)
        return etcd

    def empty(self):
        for lease in self.leases():
            self.call("/v3/lease/revoke", {"ID": lease})
        everything = {"key": text64("\0"), "range_end": text64("\0")}
        self.put("last", "")  # so that there is a revision that is not compacted to yet
        newest = self.revision(self.call("/v3/kv/deleterange", everything))
        if "kvs" in self.call("/v3/kv/range", {**everything, "limit": 1}) or self.leases():
            raise AssertionError("another client writes to a shared etcd that no test should hold")
        # A source reads the history that it finds: none is to pay for the values of another case.
        self.compact(newest, physical=False)

    def leases(self):
        return [lease["ID"] for lease in self.call("/v3/lease/leases", {}).get("leases", [])]

    def kill(self, member):
        raise AssertionError("who ends or stops a server has one of its own")

    freeze = kill


class Load:
    """Transactions of one to twenty operations on few keys, one after another, until it rests."""

    def __init__(self, etcd, prefix, keys=2000):
        self.etcd, self.prefix, self.keys = etcd, prefix, keys
        self.random = random.Random()
        self.commits, self.stopping = 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def await_commits(self, count):
        deadline = time.monotonic() + DEADLINE_S
        while self.commits <= count:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {self.commits} commits")
            time.sleep(0.05)  # between two looks

    def run(self):
        while not self.stopping.is_set():
            names = self.random.sample(range(self.keys), self.random.randrange(1, 20))
            puts = [(f"{self.prefix}key{name}", f"{self.commits}-{self.random.random()}" + "x" * (name % 300))
                    for name in names[1:]]
            try:
                self.etcd.txn(puts, [f"{self.prefix}key{names[0]}"])
                self.commits += 1
            except (OSError, RuntimeError):
                time.sleep(0.05)  # a member is gone: another attempt

    def rest(self):
        self.stopping.set()
        self.thread.join()


class Host(HostProcess):
    def __init__(self, *words):
        super().__init__(HOST, *words)


def is_bootstrapped(facts):
    """Degraded is following too, on a machine that is busy with other things."""
    return facts["status"] in ("Following", "Degraded")


class EtcdTest(CommandLineTest):
    """A source cluster, a target cluster, and hosts by name, each with a folder of that name below `data`."""

    prefix = "/registry/"

    def setUp(self):
        self.data = self.path / self.id().rsplit(".", 1)[-1]
        self.data.mkdir()
        self.port = unused_port()
        self.hosts, self.loads = {}, []
        self.addCleanup(lambda: shutil.rmtree(self.data, ignore_errors=True))

    def cluster(self):
        return SharedEtcd.take(self)

    def own_cluster(self, name, members=1, flags=()):
        """For a case that ends or stops it, or changes what it allows."""
        etcd = Etcd(self.data / name, members, flags)
        self.addCleanup(etcd.close)
        return etcd

    def load(self, etcd, prefix=None):
        load = Load(etcd, prefix or self.prefix)
        self.addCleanup(load.rest)
        return load

    def start(self, name, side, engine, **names):
        host = Host(side, engine, self.certificates, self.port, self.data / name,
                    *(f"{key}={value}" for key, value in names.items()))
        self.addCleanup(host.close)
        self.assertEqual(host.first, "ready")
        self.hosts[name] = host
        return host

    def start_source(self, etcd, **names):
        return self.start("source", "source", "etcd", endpoints=etcd.endpoints, prefix=self.prefix, **names)

    def start_mirror(self, etcd, name="mirror", **names):
        return self.start(name, "mirror", "etcd", endpoints=etcd.endpoints, **names)

    def wait(self, name, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition(facts := self.hosts[name].ask("facts")):
            self.assertLess(time.monotonic(), deadline, f"{name}: {facts}")
            time.sleep(0.01)  # between two looks
        return facts

    def wait_following(self, revision, name="mirror"):
        return self.wait(name, lambda facts: facts["status"] == "Following" and facts["applied"] >= revision)

    def assert_verified(self, name="mirror"):
        verified = self.hosts[name].must("verify")
        self.assertEqual(verified["outcome"], "equal", verified)
        return verified

    def assert_same(self, source, target, target_prefix=None):
        expected = source.pairs(self.prefix)
        found = target.pairs(target_prefix or self.prefix)
        if target_prefix:
            found = {self.prefix + key[len(target_prefix):]: value for key, value in found.items()}
        self.assertTrue(expected)
        self.assertEqual(len(found), len(expected))
        self.assertTrue(found == expected, "the mirror has other contents than its source")
