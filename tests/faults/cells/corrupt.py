#!/usr/bin/env python3
"""F5: corruption at rest. A store with known contents is stopped, copied, and one file of the copy is
damaged; a server is started on it. It must refuse with a sentence that names what is missing and leave
every byte as it was, or open and show all that was acknowledged: the same bytes at the same offsets, or
an error that names the range. Only what is above the floor file's marks may be gone.

Alone: corrupt.py BIN_DIR [--seed S] [--count N] [--only INDEX] [--keep DIR] (prints what became of each)
"""
import argparse
import collections
import hashlib
import os
import random
import re
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "lib")]
from rig import Cell  # noqa: E402
from bare import Bare, Refusal  # noqa: E402
import image as images  # noqa: E402
import wire as w  # noqa: E402
from mutate import Mutation  # noqa: E402

ENDING_WEIGHTS = (3, 4, 2, 3)  # clean, killed, fresh, buckets
REFUSED = (65, 74)             # data loss, cannot open
STOPPED = 70                   # storage failed while running
NAMES = re.compile(r"partition \d+|bucket \d+|floor|CURRENT|MANIFEST|OPTIONS|IDENTITY|"
                   r"\d+\.(sst|log)|offset \d+|row|counters|topic|group")
RANGE = re.compile(r"offset|partition|bucket|\.sst")


def snapshot(path):
    """{name: hash}, without what every open writes: the lock and RocksDB's text log."""
    out = {}
    for at, _, names in os.walk(path):
        for name in names:
            if name.startswith("LOG") or name in ("LOCK", "weir.lock"):
                continue
            with open(os.path.join(at, name), "rb") as f:
                out[os.path.relpath(os.path.join(at, name), path)] = hashlib.sha1(f.read()).digest()
    return out


class Verdict:
    """What one start of a damaged store showed."""

    def __init__(self):
        self.outcome = "whole"
        self.wrong = []
        self.named = self.blind = 0
        self.text = ""


class Trial:
    """One damaged copy and what a server makes of it."""

    def __init__(self, bin_dir, image, path, rnd):
        self.bin, self.image, self.path, self.rnd = bin_dir, image, path, rnd
        image.copy(path)
        while True:
            self.mutation = Mutation(rnd, path)
            self.text = str(self.mutation)
            if self.mutation.apply():
                break
        self.v = Verdict()

    def run(self):
        before = snapshot(self.path)
        again, accept = self.rnd.random() < .3, self.rnd.random() < .3
        if self.start():
            if again and not self.v.wrong:  # what this start left behind opens again
                self.start()
        else:
            self.refused(before)
            if accept and not self.v.wrong:
                self.accepted()
        return self.v

    def start(self, *options):
        """Starts, reads, judges. False when it was refused."""
        try:
            server = Bare(self.bin, self.path, *images.OPTIONS, *options)
        except Refusal as r:
            self.refusal = r
            return False
        try:
            self.judge(images.take(server.url, self.image.want))
            self.produce(server)
        except (w.Refused, w.Closed, OSError) as e:
            if not self.stopping(server):
                self.bad(f"a request failed: {type(e).__name__} {e}")
        if self.rnd.random() < .5 and server.alive():
            server.kill()
        else:
            self.ended(*server.term())
        return True

    @staticmethod
    def stopping(server):
        return not server.alive() or " store_failed " in server.log()

    def ended(self, code, log):
        """After SIGTERM, or by itself: then a merge of tables met the damage, and it has to say so."""
        said = [x for x in log.splitlines() if " store_failed " in x]
        if code == STOPPED and said and NAMES.search(said[-1]):
            self.v.outcome = "stopped, named"
        elif code != 0:
            self.bad(f"the server ended with {code}: {log[-300:]}")

    def bad(self, text):
        self.v.wrong.append(text)

    def refused(self, before):
        r, self.v.outcome = self.refusal, "refused"
        self.v.text = r.sentence()
        if r.code not in REFUSED:
            self.bad(f"no refusal but exit {r.code}: {r.log[-400:]}")
        elif not NAMES.search(self.v.text):
            self.bad(f"the refusal names nothing: {self.v.text}")
        after = snapshot(self.path)
        if after != before:
            changed = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
            self.bad(f"the refused start changed {', '.join(changed)}")

    def accepted(self):
        """The only way past a refusal: nothing wrong is shown, no offset is given twice."""
        self.v.outcome = "refused, then accepted"
        self.lenient = True
        if not self.start("--accept-data-loss", "true") and self.refusal.code not in REFUSED:
            self.bad(f"with loss accepted: exit {self.refusal.code}: {self.refusal.log[-400:]}")

    lenient = False

    def judge(self, inv):
        """Holds what is shown against what was acknowledged."""
        want = self.image.want
        for name, topic in want["topics"].items():
            got = inv["topics"].get(name)
            if got is None:
                if not self.lenient:
                    self.bad(f"topic {name} is gone")
                continue
            for p, part in enumerate(topic["parts"]):
                self.partition((name, p), part, got["parts"][p])
        if not (self.v.blind or self.lenient):
            self.rest(want, inv)
        if self.v.outcome == "whole" and (self.v.named or self.v.blind):
            self.v.outcome = "named" if self.v.named else "blind window"

    def partition(self, key, want, got):
        name, floor = f"{key[0]}/{key[1]}", self.image.floor[key]
        if got["hw"] < floor:
            self.bad(f"{name}: the log ends at {got['hw']}, the floor says {floor}")
        if got["start"] > want["start"] and not self.lenient:
            self.bad(f"{name}: the log starts at {got['start']}, not {want['start']}")
        damaged = dict(got["bad"])
        for text in damaged.values():
            if not RANGE.search(text):
                self.bad(f"{name}: an error that names no range: {text}")
        for base, (count, data) in want["batches"].items():
            have = got["batches"].get(base)
            if have is not None:
                if have[1] != data and not self.again_at(base, got):
                    self.bad(f"{name}: offset {base} shows other bytes")
            elif base in damaged or self.lenient:
                self.v.named += count
            elif base >= max(got["hw"], floor):
                self.v.blind += count
            elif base >= got["hw"]:
                self.bad(f"{name}: offsets {base} to {base + count - 1} are silently lost")
            else:
                self.bad(f"{name}: offset {base} is silently skipped")
        for base in got["batches"].keys() - want["batches"].keys():
            if base < want["hw"]:
                self.bad(f"{name}: nobody wrote a batch at offset {base}")

    def again_at(self, base, got):
        """Above a floor that is older than the log an offset may be given again, in a later epoch."""
        data = got["batches"][base][1]
        return self.v.blind > 0 and w.values(data)[0][2] == b"after"

    def rest(self, want, inv):
        """Groups, dead letters, delayed messages, sequences: as they were."""
        for what in ("groups", "delayed", "dead", "producer", "available"):
            if self.v.named and what in ("dead", "available"):
                continue  # a message that cannot be read becomes a dead letter that says so
            for key, was in want[what].items() if isinstance(want[what], dict) else [("", want[what])]:
                now = inv[what].get(key) if key else inv[what]
                if isinstance(now, dict) and "error" in now:
                    self.error(f"{what} {key}", now["error"])
                elif self.before(what, now) != was:
                    self.bad(f"{what} {key}: {short(now)}, not {short(was)}")

    def error(self, what, text):
        """A request that is answered with an error: it has to say what is damaged."""
        if RANGE.search(text):
            self.v.named += 1
        else:
            self.bad(f"{what}: an error that names nothing: {text}")

    def before(self, what, now):
        """Without what an earlier start of this trial produced."""
        if what != "available" or now is None:
            return now
        hw = {(t["tid"], p): part["hw"] for t in self.image.want["topics"].values()
              for p, part in enumerate(t["parts"])}
        return {k: v for k, v in now.items() if k[2] < hw[(k[0], k[1])]}

    def produce(self, server):
        """Goes on where the log ends."""
        with server.wire() as conn:
            for name, topic in self.image.want["topics"].items():
                if "~" in name or (self.lenient and self.v.wrong):
                    continue
                for p in range(len(topic["parts"])):
                    base = conn.produce(topic["tid"], p, [w.record(None, b"after")])[0]
                    if base < self.image.floor[(name, p)]:
                        self.bad(f"{name}/{p}: offset {base} is given again, below the floor")


def short(x):
    text = str(x)
    return text if len(text) < 300 else text[:300] + "..."


class Campaign:
    """Images of one seed, and as many trials as asked for."""

    def __init__(self, bin_dir, seed, where):
        self.bin, self.seed, self.where = bin_dir, seed, where
        self.images = [images.Image(bin_dir, os.path.join(where, e), e, seed) for e in images.ENDINGS]
        self.tally = collections.Counter()

    def trial(self, index):
        """(trial, verdict). What is wrong is kept, with its damage."""
        rnd = random.Random(f"{self.seed}/{index}")
        image = rnd.choices(self.images, ENDING_WEIGHTS)[0]
        path = os.path.join(self.where, f"case-{index}")
        t = Trial(self.bin, image, path, rnd)
        damaged = path + ".damaged"
        shutil.copytree(path, damaged)
        v = t.run()
        self.tally[(t.mutation.kind, v.outcome)] += 1
        shutil.rmtree(path)
        os.unlink(path + ".log")
        if not v.wrong:
            shutil.rmtree(damaged)
        return t, v

    def table(self):
        outcomes = sorted({o for _, o in self.tally})
        lines = [f"{'':10}" + "".join(f"{o:>24}" for o in outcomes)]
        for kind in sorted({k for k, _ in self.tally}):
            lines.append(f"{kind:10}" + "".join(f"{self.tally[(kind, o)]:24}" for o in outcomes))
        return "\n".join(lines)


class Corrupt(Cell):
    name, fault, guards = "corrupt", "F5", "G2 G4 G8 G11"
    quick, full, per_run = 30, 2000, 250
    load = None  # a store and many damaged copies: no clients
    needs_faults = ("corrupt",)

    def run(self, rig, cycles):
        # in memory when there is one: what a disk does is not the question here
        c = Campaign(rig.server_dir, rig.seed, rig.hist_dir)
        for i in range(cycles):
            t, v = c.trial(i)
            for text in v.wrong:
                rig.violate(f"{t.text} of {t.image.ending}: {text}\n  again: tests/faults/cells/corrupt.py "
                            f"{rig.server_dir} --seed {rig.seed} --only {i}; damaged copy: hist/case-{i}.damaged")
            rig.fault("corrupt")
        print(c.table(), flush=True)


CELLS = [Corrupt]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bin_dir")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=50)
    p.add_argument("--only", type=int)
    p.add_argument("--keep")
    p.add_argument("-q", action="store_true", help="only what is wrong")
    o = p.parse_args()
    where = o.keep or tempfile.mkdtemp(prefix="weir-corrupt-", dir="/dev/shm")
    os.makedirs(where, exist_ok=True)
    c = Campaign(o.bin_dir, o.seed, where)
    failed = 0
    for i in [o.only] if o.only is not None else range(o.count):
        t, v = c.trial(i)
        failed += bool(v.wrong)
        if v.wrong or not o.q:
            print(f"{i:5} {t.image.ending:8} {t.text:60} {v.outcome}"
                  f"{f' named {v.named}' if v.named else ''}{f' blind {v.blind}' if v.blind else ''}"
                  f"{': ' + v.text if v.text else ''}", flush=True)
        for text in v.wrong:
            print(f"      WRONG {text}\n      damaged copy: {where}/case-{i}.damaged", flush=True)
    print(c.table())
    if not failed and not o.keep:
        shutil.rmtree(where)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
