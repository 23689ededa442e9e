"""Small things about etcd clusters for ./run --engine etcd, over etcd's JSON gateway and independent of crosslink.

    etcd_client.py ports COUNT                       free ports of loopback
    etcd_client.py load ENDPOINTS PREFIX             this machine's package list, a key for each package
    etcd_client.py write ENDPOINTS PREFIX END_FILE   changes keys until the file is there; prints how many changes
    etcd_client.py leader ENDPOINTS                  the place of the leader in the list, once there is one
    etcd_client.py compare ENDPOINTS ENDPOINTS PREFIX
"""

import base64
import http.client
import json
import os
import socket
import sys
import time


def text64(text):
    return base64.b64encode(text.encode()).decode()


def call(endpoints, path, body):
    """Asks one member after another."""
    last = None
    for endpoint in endpoints:
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=3)
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status == 200:
                return answer
            last = RuntimeError(answer)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            last = error
        finally:
            connection.close()
    raise RuntimeError(f"no member of {endpoints} answers: {last}")


def put(key, value):
    return {"requestPut": {"key": text64(key), "value": text64(value)}}


def packages():
    with open("/var/lib/dpkg/status", encoding="utf-8") as status:
        records = status.read().split("\n\n")
    for record in filter(None, (record.strip() for record in records)):
        fields = dict(line.split(": ", 1) for line in record.split("\n") if ": " in line and not line.startswith(" "))
        yield f"{fields['Package']}:{fields.get('Architecture', '')}", record


def load(endpoints, prefix):
    operations = [put(prefix + name, record) for name, record in packages()]
    for begin in range(0, len(operations), 50):
        call(endpoints, "/v3/kv/txn", {"success": operations[begin:begin + 50]})
    print(f"{len(operations)} keys")


def write(endpoints, prefix, end_file):
    changes = failures = 0
    while not os.path.exists(end_file):
        try:
            if changes % 10 == 9:
                call(endpoints, "/v3/kv/deleterange", {"key": text64(f"{prefix}change-{(changes * 7) % 500}")})
            else:
                call(endpoints, "/v3/kv/txn", {"success": [put(f"{prefix}change-{changes % 500}", str(changes)),
                                                           put(f"{prefix}last", str(changes))]})
            changes += 1
        except RuntimeError:
            failures += 1
            time.sleep(0.05)  # between two attempts: a member is gone
    print(f"{changes} changes, {failures} refused while the cluster had no leader")


def leader(endpoints):
    while True:
        for place, endpoint in enumerate(endpoints):
            try:
                status = call([endpoint], "/v3/maintenance/status", {})
            except RuntimeError:
                continue
            if status.get("leader") == status["header"]["member_id"]:
                print(place)
                return
        time.sleep(0.05)  # between two looks


def pairs(endpoints, prefix):
    found, begin, revision = {}, prefix, 0
    end = text64(prefix[:-1] + chr(ord(prefix[-1]) + 1))
    while True:
        page = call(endpoints, "/v3/kv/range",
                    {"key": text64(begin), "range_end": end, "limit": 1000, "revision": revision})
        revision = revision or int(page["header"]["revision"])
        kvs = page.get("kvs", [])
        found.update((kv["key"], kv.get("value")) for kv in kvs)
        if not page.get("more"):
            return found
        begin = base64.b64decode(kvs[-1]["key"]).decode() + "\0"


def compare(first, second, prefix):
    one, other = pairs(first, prefix), pairs(second, prefix)
    differ = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    print(f"{len(one)} keys and {len(other)} keys, {len(differ)} differ")
    return 5 if differ or not one else 0


def ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(count))]
    print(" ".join(str(one.getsockname()[1]) for one in sockets))


def main(verb, *words):
    if verb == "ports":
        return ports(*words)
    endpoints = words[0].split(",")
    if verb == "compare":
        return compare(endpoints, words[1].split(","), words[2])
    return {"load": load, "write": write, "leader": leader}[verb](endpoints, *words[1:])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
