"""A real kube-apiserver in front of an etcd, and clients of it that know nothing of crosslink."""

import base64
import http.client
import json
import os
import queue
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.parse
from pathlib import Path

from cli_support import openssl, unused_port
from node_support import ask, eventually

DEADLINE_S = 180  # a kube-apiserver is slow to start on a machine that is busy
TOKEN = "the-token-of-an-administrator"


def built(tool, version):
    """The folder with what tools/TOOL makes of a version: some ten minutes, the first time."""
    tools = Path(__file__).resolve().parents[2] / "tools"
    done = subprocess.run([tools / tool, version], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


class ControlPlane:
    """What a control plane needs beside its etcd, the same on both sides: the service accounts' key, who may log in, and the key
    that secrets are encrypted with."""

    def __init__(self, folder, programs, certificates):
        folder.mkdir()
        self.programs, self.certificates = programs, certificates
        self.account_key = folder / "account.key"
        made = openssl("genrsa", "-out", self.account_key, "2048")
        if made.returncode != 0:
            raise AssertionError(made.stderr)
        self.tokens = folder / "tokens.csv"
        self.tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
        self.encryption = folder / "encryption.json"
        key = base64.b64encode(os.urandom(32)).decode()
        self.encryption.write_text(json.dumps({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"],
                           "providers": [{"aescbc": {"keys": [{"name": "first", "secret": key}]}}, {"identity": {}}]}]}))


class Watch:
    """A watch that stays: its events are in a queue, then None."""

    def __init__(self, api, path):
        self.connection = api.connection()
        self.connection.request("GET", path, headers=api.headers)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.events = queue.Queue()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            for line in self.response:
                self.events.put(json.loads(line))
        except (OSError, http.client.HTTPException, ValueError):
            pass  # cut
        self.events.put(None)

    def next(self, seconds=DEADLINE_S):
        return self.events.get(timeout=seconds)

    def is_silent(self, seconds):
        try:
            raise AssertionError(f"it says {self.next(seconds)}")
        except queue.Empty:
            return True

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # cut already
        self.thread.join()
        self.response.close()
        self.connection.close()


class KubeApiserver:
    def __init__(self, folder, etcd, plane, address, port=None, encrypted=True, flags=()):
        """`address`: of it in the service `kubernetes`; nothing listens there."""
        folder.mkdir(parents=True)
        self.plane, self.log_file = plane, folder / "log"
        self.port = port or unused_port()
        self.headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
        words = {
            "etcd-servers": etcd.endpoints, "etcd-prefix": "/registry", "secure-port": self.port, "bind-address": "127.0.0.1",
            "advertise-address": address, "service-cluster-ip-range": "10.0.0.0/24", "authorization-mode": "RBAC",
            "tls-cert-file": plane.certificates / "localhost.pem", "tls-private-key-file": plane.certificates / "localhost.key",
            "service-account-issuer": "https://kubernetes.default.svc", "service-account-key-file": plane.account_key,
            "service-account-signing-key-file": plane.account_key, "token-auth-file": plane.tokens,
            "cert-dir": folder, "disable-admission-plugins": "ServiceAccount"}
        if encrypted:
            words["encryption-provider-config"] = plane.encryption
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL",  # it ends with us, however we end
                 plane.programs / "kube-apiserver", *(f"--{name}={value}" for name, value in words.items()), *flags],
                stdout=log, stderr=log, cwd=folder)

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def connection(self):
        context = ssl.create_default_context(cafile=f"{self.plane.certificates}/ca.pem")
        return http.client.HTTPSConnection("localhost", self.port, timeout=DEADLINE_S, context=context)

    def request(self, method, path, body=None, content="application/json"):
        """(status, object or text)."""
        return ask(self.connection(), method, path, body, {**self.headers, "Content-Type": content})

    def call(self, method, path, body=None, content="application/json"):
        """As request(), but a refusal fails the test."""
        status, answer = self.request(method, path, body, content)
        if status not in (200, 201):
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def look(self, path):
        """As request() for a GET of a server that may not answer yet, with status 0 then."""
        if self.process.poll() is not None:
            raise AssertionError(f"the kube-apiserver ended: {self.log_file.read_text()[-3000:]}")
        try:
            return self.request("GET", path)
        except OSError as error:
            return 0, error

    def await_ready(self):
        eventually(lambda: self.look("/readyz"), lambda answer: answer[0] == 200, "the kube-apiserver to be ready", DEADLINE_S)
        return self

    def merge(self, path, change):
        return self.call("PATCH", path, change, "application/merge-patch+json")

    def list(self, path, **options):
        """(status, list)."""
        return self.request("GET", f"{path}?{urllib.parse.urlencode(options)}")

    def watch(self, path, **options):
        return Watch(self, f"{path}?{urllib.parse.urlencode({'watch': 1, **options})}")

    def objects(self, path):
        """By namespace and name, read in pages as kubectl does."""
        found, token = {}, ""
        while True:
            status, page = self.list(path, limit=500, **{"continue": token})
            if status != 200:
                raise AssertionError(page)
            found.update(((one["metadata"].get("namespace"), one["metadata"]["name"]), one) for one in page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    def watches_of_namespaces(self, resource):
        """How many watches of this resource in one namespace it serves now, by its own metrics."""
        lines = [line for line in self.request("GET", "/metrics")[1].splitlines()
                 if line.startswith("apiserver_longrunning_requests{") and 'verb="WATCH"' in line
                 and f'resource="{resource}"' in line and 'scope="namespace"' in line]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Informer:
    """client-go's informer on the config maps of a namespace, in a process of its own: (what, name, resource version)."""

    def __init__(self, api, namespace, log):
        self.output = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", api.plane.programs / "kube_informer", api.url, TOKEN,
                 api.plane.certificates / "ca.pem", namespace], stdout=output, stderr=subprocess.DEVNULL)

    def lines(self):
        return [tuple(line.split()) for line in self.output.read_text().splitlines()]

    def await_line(self, *line):
        eventually(self.lines, lambda lines: line in lines, f"the informer to be told {line}", DEADLINE_S)

    def kill(self):
        self.process.kill()
        self.process.wait()


def raise_revision(etcd, by):
    """As an operator does with each member: a snapshot is restored with a revision that is higher, and all before it compacted."""
    folder, peer = etcd.folder, f"http://127.0.0.1:{etcd.ports[0][1]}"
    snapshot, data = folder / "snapshot.db", folder / "m0"
    etcd_command("etcdctl", "--endpoints", etcd.endpoints, "snapshot", "save", snapshot)
    etcd.close()
    shutil.rmtree(data)
    etcd.token += "-restored"
    etcd_command("etcdutl", "snapshot", "restore", snapshot, "--bump-revision", by, "--mark-compacted", "--data-dir", data,
                 "--name", "m0", "--initial-cluster", f"m0={peer}", "--initial-advertise-peer-urls", peer,
                 "--initial-cluster-token", etcd.token)
    snapshot.unlink()
    etcd.start(0)
    etcd.wait_ready()


def etcd_command(*words):
    done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stdout} {done.stderr}")
