#!/usr/bin/env python3
"""Golden stores: a data directory of each released format, and beside it what is in it.

golden.py make BIN_DIR NAME    writes NAME.tar.xz and NAME.json here, with the server of BIN_DIR
golden.py check BIN_DIR [NAME] opens a copy with the server of BIN_DIR and compares

What time changes is allowed for: messages past their retention may be gone, delayed ones delivered,
leases and pauses over. Everything else has to be found as it was written, byte for byte.
"""
import base64
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from bare import Bare  # noqa: E402
import image as images  # noqa: E402
import wire as w  # noqa: E402

LEASE_MS, WINDOW_MS, DELAY_MS = 12 * 3600 * 1000, 7 * 86400 * 1000, images.FAR_MS


def names():
    return sorted(n.removesuffix(".json") for n in os.listdir(HERE) if n.endswith(".json"))


def unpack(name, to):
    """A fresh copy of the store in directory `to`; returns what is documented."""
    shutil.rmtree(to, ignore_errors=True)
    os.makedirs(to, mode=0o700)
    with tarfile.open(os.path.join(HERE, name + ".tar.xz")) as t:
        t.extractall(to, filter="data") if hasattr(tarfile, "data_filter") else t.extractall(to)
    with open(os.path.join(HERE, name + ".json"), encoding="utf-8") as f:
        return json.load(f)


def plain(x):
    """For JSON: str keys, lists; bytes as text."""
    if isinstance(x, dict):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, bytes):
        return base64.b64encode(x).decode()
    return x


def digest(batches):
    """{base: "count sha1"} of a partition's batches."""
    return {str(b): f"{n} {hashlib.sha1(data).hexdigest()}" for b, (n, data) in sorted(batches.items())}


def document(image, bin_dir):
    """What is in the store, and what must never come again."""
    want = image.want
    topics = {name: {"tid": t["tid"], "settings": t["settings"],
                     "parts": [{"start": p["start"], "hw": p["hw"], "batches": digest(p["batches"])}
                               for p in t["parts"]]} for name, t in want["topics"].items()}
    made = int(time.time() * 1000)
    server = Bare(bin_dir, image.copy(image.path + ".copy"), *images.OPTIONS)
    with server.wire() as conn:
        version = conn.hello[2]
    server.kill()
    return plain({
        "made_ms": made, "server": version, "format": 1, "topics": topics,
        "groups": want["groups"], "dead": want["dead"], "delayed": want["delayed"],
        "producer": want["producer"],
        "settled": sorted(image.book.settled), "leased": sorted(image.book.leased),
        "available": sorted(list(k) for k in want["available"]["workers"]),
    })


def make(bin_dir, name):
    top = tempfile.mkdtemp(prefix="weir-golden-")
    image = images.Image(bin_dir, os.path.join(top, "store"), "clean", 1)
    doc = document(image, bin_dir)
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(doc, f, indent=1, sort_keys=True)
        f.write("\n")

    def without_owner(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return None if os.path.basename(info.name).startswith(("LOG", "LOCK")) else info
    with tarfile.open(os.path.join(HERE, name + ".tar.xz"), "w:xz") as t:
        for entry in sorted(os.listdir(image.path)):
            t.add(os.path.join(image.path, entry), entry, filter=without_owner)
    shutil.rmtree(top)


class Check:
    """Compares what a server shows with what is documented. wrong: sentences."""

    def __init__(self, doc, now_ms=None):
        self.doc = doc
        self.age = (now_ms or time.time() * 1000) - doc["made_ms"]
        self.wrong = []

    def same(self, what, got, want):
        got = plain(got)
        if got != want:
            self.wrong.append(f"{what}: {str(got)[:300]}, not {str(want)[:300]}")

    def run(self, url):
        inv = images.take(url)
        self.same("topics", sorted(inv["topics"]), sorted(self.doc["topics"]))
        for name, want in self.doc["topics"].items():
            if name in inv["topics"]:
                self.topic(name, inv["topics"][name], want)
        self.groups(inv)
        self.same("dead letters", inv["dead"], self.doc["dead"])
        if self.age < DELAY_MS - LEASE_MS:
            self.same("delayed", inv["delayed"], self.doc["delayed"])
        if self.age < WINDOW_MS:
            self.same("sequences of the producer", inv["producer"], self.doc["producer"])
        return self.wrong

    def topic(self, name, got, want):
        keeps = want["settings"]["retention.ms"] or float("inf")
        self.same(f"{name}: id", got["tid"], want["tid"])
        for key, value in want["settings"].items():  # later versions may have more
            self.same(f"{name}: {key}", got["settings"].get(key), value)
        for p, part in enumerate(want["parts"]):
            have = got["parts"][p]
            at = f"{name}/{p}"
            if have["bad"]:
                self.wrong.append(f"{at}: {have['bad'][0]}")
            if have["hw"] < part["hw"]:
                self.wrong.append(f"{at}: ends at {have['hw']}, not {part['hw']}")
            if have["start"] != part["start"] and self.age < keeps:
                self.wrong.append(f"{at}: starts at {have['start']}, not {part['start']}")
            found = digest(have["batches"])
            for base, what in part["batches"].items():
                if found.get(base) != what and (int(base) >= have["start"] or self.age < keeps):
                    self.wrong.append(f"{at}: offset {base} is not what was written")

    def groups(self, inv):
        self.same("groups", sorted(inv["groups"]), sorted(self.doc["groups"]))
        for name, want in self.doc["groups"].items():
            got = inv["groups"].get(name, {})
            for key, value in want["settings"].items():
                self.same(f"group {name}: {key}", got.get("settings", {}).get(key), value)
            for key in ("mode", "committed", "position"):
                self.same(f"group {name}: {key}", got.get(key), want[key])
        jobs = self.doc["topics"]["jobs"]["tid"]
        come = {tuple(k) for k in inv["available"]["workers"]}
        settled = {(jobs, p, o) for p, o in self.doc["settled"]}
        leased = {(jobs, p, o) for p, o in self.doc["leased"]}
        free = {tuple(k) for k in self.doc["available"]}
        hw = {p: part["hw"] for p, part in enumerate(self.doc["topics"]["jobs"]["parts"])}
        come = {k for k in come if k[2] < hw[k[1]]}
        if come & settled:
            self.wrong.append(f"settled messages come again: {sorted(come & settled)[:5]}")
        if free - come:
            self.wrong.append(f"messages do not come: {sorted(free - come)[:5]}")
        if come - free - leased or (self.age < LEASE_MS - 3600000 and come & leased):
            self.wrong.append(f"messages come that are held: {sorted(come - free)[:5]}")


def check(bin_dir, name, where):
    """Opens a copy twice, goes on in between. Returns what is wrong."""
    path = os.path.join(where, "store")
    doc = unpack(name, path)
    wrong = []
    for life in ("first", "second"):
        server = Bare(bin_dir, path, *images.OPTIONS)
        wrong += [f"{life} start: {x}" for x in Check(doc).run(server.url)]
        with server.wire() as conn:
            for t, topic in doc["topics"].items():
                for p, part in enumerate(topic["parts"]):
                    if "~" not in t:
                        base = conn.produce(topic["tid"], p, [w.record(None, b"after")])[0]
                        if base < part["hw"]:
                            wrong.append(f"{t}/{p}: offset {base} is given again")
        code, log = server.term()
        if code != 0:
            wrong.append(f"{life} stop: exit {code}: {log[-300:]}")
    return wrong


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3])
        return 0
    if len(sys.argv) not in (3, 4) or sys.argv[1] != "check":
        sys.exit(__doc__)
    failed = 0
    for name in sys.argv[3:] or names():
        where = tempfile.mkdtemp(prefix="weir-golden-")
        wrong = check(sys.argv[2], name, where)
        print(f"{name}: {'as documented' if not wrong else 'WRONG'}")
        for text in wrong:
            print("  " + text)
        failed += bool(wrong)
        shutil.rmtree(where)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
