"""What a program of an older tree left behind goes on: its certificates, the folders of its nodes, and its frames on the wire,
replayed in either direction. tests/fixtures/README.md says what there is of it and how it was made."""

import asyncio
import base64
import ctypes
import hashlib
import json
import shutil
import subprocess
import unittest
from pathlib import Path

import msgpack

from cli_support import openssl, run
from etcd_support import Etcd
from node_etcd_support import PREFIX
from node_support import DEADLINE_S, NodeTest, client, eventually
from older_support import (ENTRY_FRAGMENT, LIMIT, LOG_ACK, LOG_BATCH, LOG_BEGIN, LOG_REQUEST, PROBE, PROBE_REPLY, SESSION_BEGIN,
                           SNAPSHOT_ACK, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_REQUEST, VERIFY, VERIFY_AT, VERIFY_BEGIN,
                           FoundNode, Frames, data_of, fields, quic, reply_to, sessions, unpack)

OLDER = "0ae46f2"
SAME = ("name", "index", "kind", "role", "origin")
THIS_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
ANOTHER_BOOT = "00000000-0000-4000-8000-000000000000"
BUSY = 0x08
ZSTD = ctypes.CDLL("libzstd.so.1")


def hashed(contents):
    return {base64.b64encode(key).decode(): hashlib.sha256(value).hexdigest() for key, value in contents.items()}


class OlderTest(NodeTest):
    """What the older program left, with certificates of today in place of its own."""

    def setUp(self):
        super().setUp()
        self.root = self.path / self.id().rsplit(".", 1)[1]
        unpack(OLDER, self.root)
        self.facts = json.loads((self.root / "facts.json").read_text(encoding="utf-8"))
        self.older_certificates = (self.root / "certs").rename(self.root / "older-certs")
        shutil.copytree(self.certificates, self.root / "certs")

    def found(self, folder, cluster, *moved):
        """The node of this folder, with other addresses: pairs of the one that it had and the one in its place."""
        for then, now in moved:
            for file in (self.root / folder / "node.toml", self.root / folder / "data" / "catalog.json"):
                file.write_text(file.read_text(encoding="utf-8").replace(then, now), encoding="utf-8")
        node = FoundNode(self.root / folder, cluster)
        self.addCleanup(node.close)
        return node

    def killed_in(self, folder, boot):
        """The databases of this folder were open when the node was killed, in this boot of its machine."""
        marks = list((self.root / folder / "data" / "databases").glob("*/running"))
        self.assertTrue(marks)
        for mark in marks:
            mark.write_text(boot, encoding="utf-8")

    def assert_as_it_was(self, node, facts, databases):
        self.assertEqual(node.token(), facts["token"])
        now = {one["name"]: one for one in node.call("GET", "/v1/databases")["databases"]}
        self.assertEqual({name: one["index"] for name, one in now.items()},
                         {one["name"]: one["index"] for one in facts["databases"]})
        for then in facts["databases"]:
            if (name := then["name"]) in databases:
                self.assertEqual({field: now[name][field] for field in SAME}, {field: then[field] for field in SAME})
                self.assertGreaterEqual(now[name]["head_lsn"], then["head_lsn"], "what a node notes takes an LSN as well")
                self.assertEqual(hashed(node.contents(name)), facts["contents"][name])

    @staticmethod
    def write(node, database, key):
        with client(node, database) as one:
            assert one.set(key, "written by the program of today")


class Folders(OlderTest):
    def test_a_source_has_all_that_it_had_and_takes_writes(self):
        facts = self.facts["prod-us-stopped"]
        names = [one["name"] for one in facts["databases"]]
        self.killed_in("prod-us-killed", THIS_BOOT)
        for end in ("stopped", "killed"):
            with self.subTest(end):
                source = self.found(f"prod-us-{end}", "prod-us")
                self.assert_as_it_was(source, facts, names)
                for name in names:
                    self.write(source, name, "new")
                source.kill()
                source.start()
                for name in names:
                    self.assertEqual(len(source.contents(name)), len(facts["contents"][name]) + 1, name)
                source.stop()

    def follows_on(self, end):
        source = self.found(f"prod-us-{end}", "prod-us")
        mirror = self.found(f"eu-1-{end}", "eu-1", (self.facts["address"], source.mirrors))
        facts = self.facts[f"eu-1-{end}"]
        self.assert_as_it_was(mirror, facts, ("notes", "local", "spare"))
        then = {one["name"]: one for one in facts["mirrors"]}
        notes, spare = mirror.mirror("notes"), mirror.mirror("spare")
        self.assertEqual((notes["status"], notes["promoted_from"]), ("Promoted", then["notes"]["promoted_from"]))
        self.assertEqual((spare["status"], spare["bandwidth_bytes_per_s"]), ("Paused", then["spare"]["bandwidth_bytes_per_s"]))
        self.write(mirror, "notes", "new")
        mirror.verb("resume", "spare")
        for name in ("packages", "spare"):
            mirror.await_following(name, source)
            self.write(source, name, "new")
            following = mirror.await_following(name, source)
            self.assertEqual((following["bootstraps"], following["origin"]), (0, then[name]["origin"]), following)
            self.assertTrue(following["id"], "what it needs to count in sync mode, and had not")
            self.assertIn("EQUAL", mirror.verb("verify", name))
            self.assertTrue(mirror.contents(name) == source.contents(name), name)
        mirror.verb("promote", "packages", "--yes")
        self.write(mirror, "packages", "written at the mirror")
        self.assertEqual(len(mirror.contents("packages")), len(source.contents("packages")) + 1)

    def test_a_mirror_that_was_stopped_follows_on_without_a_bootstrap_and_promotes(self):
        self.follows_on("stopped")

    def test_a_mirror_that_was_killed_follows_on_without_a_bootstrap_and_promotes(self):
        for folder in ("prod-us-killed", "eu-1-killed"):
            self.killed_in(folder, THIS_BOOT)
        self.follows_on("killed")

    def test_a_mirror_whose_machine_went_down_follows_on_without_a_bootstrap_and_promotes(self):
        for folder in ("prod-us-killed", "eu-1-killed"):
            self.killed_in(folder, ANOTHER_BOOT)
        self.follows_on("killed")


class InEtcd(OlderTest):
    def found_etcd(self, name):
        etcd = Etcd(self.root / f"etcd-{name}")
        self.addCleanup(etcd.close)
        return etcd, (self.facts["etcd"][name], etcd.endpoints)

    def test_a_mirror_that_etcd_keeps_follows_a_source_in_etcd_on_without_a_bootstrap_and_promotes(self):
        if "etcd Version: 3.4." not in subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout:
            self.skipTest("the clusters' data is of etcd 3.4")
        facts = self.facts["etcd"]
        (registry, source_moved), (target, target_moved) = map(self.found_etcd, ("source", "target"))
        self.assertEqual(registry.pairs(PREFIX), facts["pairs"])
        source = self.found("prod-us-etcd", "prod-us", source_moved)
        mirror = self.found("eu-1-etcd", "eu-1", target_moved, (facts["address"], source.mirrors))
        last = registry.put(f"{PREFIX}new", "written today")
        seen = mirror.await_mirror("registry", lambda one: one["status"] == "Following" and one["applied_lsn"] >= last,
                                   "the newest key")
        self.assertEqual((seen["bootstraps"], seen["unverified"], seen["origin"]), (0, False, facts["mirror"]["origin"]), seen)
        self.assertEqual(target.pairs(PREFIX), registry.pairs(PREFIX))
        self.assertIn("EQUAL", mirror.verb("verify", "registry"))
        mirror.verb("promote", "registry", "--yes")
        self.assertEqual(mirror.mirror("registry")["status"], "Promoted")
        self.assertNotEqual(target.lease_of(f"{PREFIX}leased"), 0, "granted anew, from what the record says of it")


class Configs(OlderTest):
    def test_a_config_that_was_generated_is_good(self):
        checked = run("config", "check", "--config", self.root / "generated.toml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


class Certificates(OlderTest):
    def test_an_older_authority_issues_and_what_it_issued_serves_until_its_end(self):
        issued = run("certs", "issue", "--dir", self.older_certificates, "--name", "apac-1")
        self.assertEqual(issued.returncode, 0, issued.stderr)
        shutil.rmtree(self.root / "certs")
        self.older_certificates.rename(self.root / "certs")
        leaf = self.root / "certs" / "prod-us.pem"
        if openssl("x509", "-checkend", "60", "-noout", "-in", leaf).returncode != 0:  # two years after it was made
            ended = run("config", "check", "--config", self.root / "prod-us-stopped" / "node.toml")
            self.assertEqual(ended.returncode, 2, ended.stdout + ended.stderr)
            self.assertIn("expired", ended.stdout + ended.stderr)
            return
        source = self.found("prod-us-stopped", "prod-us")
        for name in ("eu-1", "apac-1"):
            asked = run(*self.ping_arguments(source.mirrors, database="packages", files=self.files(name, self.root / "certs")))
            self.assertEqual(asked.returncode, 0, asked.stdout + asked.stderr)


def entries(frames):
    """The entries of batches and fragments, as one after another they are encoded."""
    found = b""
    for frame in frames:
        data, said = data_of(frame), fields(frame)
        if said.get("codec") == "zstd":
            room = ctypes.create_string_buffer(said["raw_bytes"])
            taken = ZSTD.ZSTD_decompress(room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)))
            assert taken == said["raw_bytes"], taken
            data = room.raw
        found += data
    return found


def verify_answers(session):
    """{a mirror's verify frame: what the source said to it}."""
    answers, asked = {}, None
    for side, _, frame in session.said:
        if frame[0] in VERIFY and side == "mirror":
            answers[asked := frame] = []
        elif frame[0] in VERIFY:
            answers[asked].append(frame)
    return answers


ANSWERS = {quic.HELLO: (quic.ACK,), SESSION_BEGIN: (SESSION_BEGIN,), SNAPSHOT_REQUEST: (SNAPSHOT_BEGIN, SNAPSHOT_CHUNK),
           LOG_REQUEST: (LOG_BEGIN, LOG_BATCH, ENTRY_FRAGMENT)}


class OlderSource:
    """Says what the older source said, each frame when it is asked for; what the mirror says is in `heard`."""

    def __init__(self, session):
        self.session, self.heard, self.log_said = session, [], False
        self.database = fields(session.one("mirror", quic.HELLO))["source_database_id"]
        self.verified = verify_answers(session)

    async def play(self, peer):
        frames = Frames(peer)
        while peer.end is None:
            peer.changed.clear()
            for stream, frame in frames.take():
                if frame[0] == quic.HELLO and fields(frame)["source_database_id"] != self.database:
                    peer.close(BUSY)
                    return
                self.heard.append(frame)
                for said in self.answers(frame):
                    peer.send(stream, said, end=frame[0] == quic.HELLO)
            await peer.changed.wait()

    def answers(self, frame):
        if (kind := frame[0]) == PROBE:
            return [reply_to(frame, self.session.frames("source", PROBE_REPLY)[-1 if self.log_said else 0])]
        self.log_said |= kind == LOG_REQUEST
        if kind in ANSWERS:
            return self.session.frames("source", *ANSWERS[kind])
        return self.verified[frame] if kind in VERIFY else []

    def one(self, kind):
        [frame] = [frame for frame in self.heard if frame[0] == kind]
        return frame


class OlderMirror:
    """Says what the older mirror said, to a source of today."""

    def __init__(self, session, peer):
        self.session, self.peer, self.frames, self.heard = session, peer, Frames(peer), []

    def say(self, kind, frame=None):
        """The first frame of this kind, or this one in its place."""
        stream, said = next((stream, said) for side, stream, said in self.session.said if side == "mirror" and said[0] == kind)
        self.peer.send(stream, frame or said, end=kind == quic.HELLO)

    async def ask(self, kind, kinds, until=lambda frame: True, say=None):
        """What the source answers: frames of these kinds, up to the first that fulfils `until`."""
        self.say(kind, say)
        answer = []
        while True:
            self.peer.changed.clear()
            for _, frame in self.frames.take():
                assert frame[0] != quic.FAILURE, frame
                self.heard.append(frame)
                if frame[0] in kinds:
                    answer.append(frame)
                    if until(frame):
                        return answer
            await self.peer.until(self.peer.changed.is_set, f"frames of {kinds}, after {len(answer)}")

    def acknowledge(self, kind, counted, heard):
        """Says its acknowledgements, as far as they let go of what was sent now; the last of them."""
        sent = sum(fields(frame).get("raw_bytes", len(data_of(frame))) for frame in heard)
        said = [(stream, frame) for side, stream, frame in self.session.said
                if side == "mirror" and frame[0] == kind and fields(frame)[counted] <= sent]
        for stream, frame in said:
            self.peer.send(stream, frame)
        return said[-1][1] if said else None


class Wire(OlderTest, unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        super().setUp()
        self.sessions = sessions(self.root)
        self.assertEqual(len(self.sessions), 2, "a session that bootstraps, and one that goes on")

    async def asyncSetUp(self):
        asyncio.get_running_loop().slow_callback_duration = DEADLINE_S

    def credentials(self, name):
        return quic.Credentials(*self.files(name)[1::2])

    def assert_as_complete(self, heard, session, side):
        """What is said today has the fields that are in every such frame of the older side."""
        for frame in heard:
            if then := session.frames(side, frame[0]):
                always = set.intersection(*(set(fields(one)) for one in then))
                self.assertLessEqual(always, fields(frame).keys(), hex(frame[0]))

    # --- the older source's frames, for a mirror of today ---

    def moved_to(self, served):
        return self.facts["address"], f"127.0.0.1:{served.port}"

    async def followed(self, session, mirror_of, expected):
        """A mirror of today at the older source: its requests say what the older mirror's said, and it ends with the same."""
        older = OlderSource(session)
        async with quic.source(older.play, self.credentials("prod-us")) as served:
            mirror = await asyncio.to_thread(mirror_of, served)
            head = fields(session.frames("source", PROBE_REPLY)[-1])["head"]
            seen = await asyncio.to_thread(mirror.await_mirror, "packages", lambda one: one["status"] == "Following" and
                                           one["durable_lsn"] >= head, f"what is there up to {head}")
            self.assertEqual(hashed(await asyncio.to_thread(mirror.contents, "packages")), expected)
            for kind in (quic.HELLO, SNAPSHOT_REQUEST, LOG_REQUEST):
                for then in session.frames("mirror", kind):
                    self.assertEqual(fields(older.one(kind)), fields(then))
            if older.verified:
                verified = await asyncio.to_thread(mirror.call, "POST", "/v1/mirrors/packages/verify", {})
                self.assertEqual(verified["outcome"], "equal", verified)
            await asyncio.to_thread(mirror.stop)
        self.assert_as_complete(older.heard, session, "mirror")
        self.assertEqual(seen["bootstraps"], len(session.frames("mirror", SNAPSHOT_REQUEST)), seen)

    async def test_a_mirror_bootstraps_and_follows_by_the_frames_of_an_older_source(self):
        def mirror_of(served):
            mirror = self.node("eu-1", cluster="eu-1", databases=())
            mirror.call("POST", "/v1/mirrors", {"name": "packages", "from": "prod-us/packages", "addr": f"127.0.0.1:{served.port}"})
            return mirror

        await self.followed(self.sessions[0], mirror_of, self.facts["eu-1-stopped"]["contents"]["packages"])

    async def test_an_older_mirror_opened_today_follows_on_by_the_frames_of_an_older_source(self):
        await self.followed(self.sessions[1], lambda served: self.found("eu-1-stopped", "eu-1", self.moved_to(served)),
                            self.facts["eu-1-killed"]["contents"]["packages"])

    # --- the older mirror's frames, for a source of today ---

    async def served(self, session):
        source = await asyncio.to_thread(self.found, "prod-us-stopped", "prod-us")
        own = self.credentials("eu-1")
        async with quic.mirror(int(source.mirrors.rsplit(":", 1)[1]), own, ca=own.ca) as peer:
            older = OlderMirror(session, peer)
            await self.begin(older, head=source.head("packages"))
            if session.frames("mirror", SNAPSHOT_REQUEST):
                said = await older.ask(SNAPSHOT_REQUEST, [SNAPSHOT_BEGIN, SNAPSHOT_CHUNK],
                                       lambda frame: fields(frame).get("done", False))
                self.assertIn(fields(said[0])["format"], fields(session.one("mirror", SNAPSHOT_REQUEST))["formats"])
                older.acknowledge(SNAPSHOT_ACK, "offset", said[1:])
            last = fields(session.frames("source", LOG_BATCH)[-1])["last_lsn"]
            said = await older.ask(LOG_REQUEST, [LOG_BEGIN, LOG_BATCH, ENTRY_FRAGMENT],
                                   lambda frame: fields(frame).get("last_lsn", 0) >= last)
            begin, then = fields(said[0]), fields(session.one("source", LOG_BEGIN))
            self.assertEqual((begin["from"], begin.keys()), (then["from"], then.keys()))
            then = entries(session.frames("source", LOG_BATCH, ENTRY_FRAGMENT))
            self.assertTrue(entries(said[1:])[:len(then)] == then, "an entry is another one than it was")
            acknowledged = older.acknowledge(LOG_ACK, "released_bytes", said[1:])
            await self.verify(older)
            await self.probe(older, source.head("packages"))
            applied = fields(acknowledged)["applied"]
            await asyncio.to_thread(eventually, lambda: source.call("GET", "/v1/databases/packages")["mirrors"],
                                    lambda seen: [(one["name"], one["applied_lsn"]) for one in seen] == [("eu-1", applied)],
                                    f"the source to know that {applied} is applied")
            self.assert_as_complete(older.heard, session, "source")

    async def begin(self, older, head):
        [ack] = await older.ask(quic.HELLO, [quic.ACK])
        self.assertTrue(fields(ack)["accepted"], ack)
        [begin] = map(fields, await older.ask(SESSION_BEGIN, [SESSION_BEGIN]))
        then = fields(older.session.one("source", SESSION_BEGIN))
        begin["history"] = begin["history"][:len(then["history"])]
        self.assertEqual(begin["features"] & then["features"], then["features"])
        for name in then.keys() - {"features", "software"}:
            self.assertEqual(begin[name], then[name], name)
        for limit in older.session.frames("mirror", LIMIT):
            older.peer.send(quic.SECOND_STREAM, limit)
        await self.probe(older, head)

    async def probe(self, older, head):
        [reply] = await older.ask(PROBE, [PROBE_REPLY])
        t0_us = fields(older.session.frames("mirror", PROBE)[0])["t0_us"]
        self.assertEqual(fields(reply), {"t0_us": t0_us, "head": head, "upstream_lag_us": 0})

    async def verify(self, older):
        """The older mirror's questions, if it had any, are answered as they were; but for the LSN, which opening moves on."""
        for asked, answered in verify_answers(older.session).items():
            if asked[0] == VERIFY_AT:
                asked = quic.frame(VERIFY_AT, msgpack.packb({"lsn": at}))  # what the source said, as a mirror has it
            if not answered:
                older.say(asked[0], asked)
                continue
            again = await older.ask(asked[0], [frame[0] for frame in answered], say=asked)
            if asked[0] == VERIFY_BEGIN:
                at = fields(again[0])["lsn"]
                self.assertGreaterEqual(at, fields(asked)["applied_lsn"])
            else:
                self.assertEqual(again, answered)

    async def test_a_source_bootstraps_an_older_mirror_by_that_ones_frames(self):
        await self.served(self.sessions[0])

    async def test_a_source_is_followed_on_by_an_older_mirrors_frames_and_verified(self):
        await self.served(self.sessions[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
