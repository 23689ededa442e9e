"""The admin port where it is not on loopback alone: HTTPS, with the node's certificate."""

import http.client
import signal
import socket
import ssl
import subprocess
import unittest

from cli_support import run
from node_support import NodeTest, eventually

ADDRESS = "10.64.0.1"


class AdminTls(NodeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # CTest gives this file a network of its own, so that an address beyond loopback stays on this machine.
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)

    def setUp(self):
        super().setUp()
        self.own = f"{self.path}/{self.id().rsplit('.', 1)[1]}-certificates"
        self.made(run("certs", "init", "--dir", self.own))
        self.made(run("certs", "issue", "--dir", self.own, "--name", "prod-us", "--also", "db.example"))
        self.served = self.node("prod-us", certificates=self.own, admin_host=ADDRESS)
        self.port = int(self.served.admin.rsplit(":", 1)[1])

    def get(self, host, name="prod-us"):
        """GET /v1/mirrors with this Host; the status and the serial number of the certificate."""
        context = ssl.create_default_context(cafile=f"{self.own}/ca.pem")
        connection = http.client.HTTPSConnection(ADDRESS, self.port, timeout=30, context=context)
        connection.sock = context.wrap_socket(socket.create_connection((ADDRESS, self.port)),
                                              server_hostname=name)
        serial = connection.sock.getpeercert()["serialNumber"]
        connection.request("GET", "/v1/mirrors", headers={"Authorization": f"Bearer {self.served.token()}", "Host": host})
        status = connection.getresponse().status
        connection.close()
        return status, serial

    def test_hosts_are_addresses_and_names_of_the_certificate(self):
        for host, expected in (("prod-us", 200), (f"db.example:{self.port}", 200), (f"127.0.0.1:{self.port}", 200),
                               (f"[::1]:{self.port}", 200), ("evil.example", 421), ("localhost.evil.example", 421)):
            with self.subTest(host=host):
                self.assertEqual(self.get(host)[0], expected)

    def test_verbs_find_it_by_cluster_id_and_plain_http_does_not(self):
        words = ("db", "list", "--admin", f"{ADDRESS}:{self.port}", "--token-file", f"{self.served.folder}/data/admin.token",
                 "--ca", f"{self.own}/ca.pem", "--cluster-id")
        done = run(*words, "prod-us")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("packages", done.stdout)
        self.assertEqual(run(*words, "eu-1").returncode, 6)
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=30)
        with self.assertRaises((http.client.HTTPException, OSError)):
            connection.request("GET", "/healthz")
            connection.getresponse()
        connection.close()

    def test_a_renewed_certificate_is_shown_after_sighup(self):
        before = self.get("prod-us")[1]
        self.made(run("certs", "issue", "--dir", self.own, "--name", "prod-us", "--force"))
        self.served.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.get("prod-us")[1], lambda serial: serial != before, "the new certificate")
        self.assertEqual(self.get("db.example")[0], 421, "it is no name of the certificate any more")


if __name__ == "__main__":
    unittest.main(verbosity=2)
