"""Stores with known contents: made by real servers, everything acknowledged written down.

A store holds topics of several retention classes, a named producer, a log group with commits and
notes, a queue group with settled, failed, dead and leased messages, delayed batches. `ending` says
how the last server went:
    clean    SIGTERM
    killed   kill -9 after the floor file had covered everything
    fresh    kill -9 right behind the last acknowledgement: the floor is older than the data
    buckets  as killed, with several sealed buckets (10 MB)
"""
import os
import random
import select
import shutil
import struct

from bare import Bare
import inventory
import wire as w

ENDINGS = ("clean", "killed", "fresh", "buckets")
OPTIONS = ("--memory", "16M", "--min-free", "1M")
FAR_MS = 200 * 86400 * 1000
TOPICS = {
    "short": {"partitions": 3, "retention.ms": 86400000},
    "week": {"partitions": 2, "retention.ms": 7 * 86400000},
    "ever": {"partitions": 2, "retention.ms": 0},
    "jobs": {"partitions": 2, "retention.ms": 0},
}


class Book:
    """What the server acknowledged."""

    def __init__(self):
        self.values = {}     # (topic, p): {offset: value}
        self.commits = {}    # p of "short": (next offset, note)
        self.settled = set() # (p, offset) of "jobs" that must never come again
        self.leased = set()
        self.dead = set()
        self.last_seq = {}   # (topic, p): last sequence of the named producer


class Builder:
    def __init__(self, bin_dir, path, rnd):
        self.bin, self.path, self.rnd = bin_dir, path, rnd
        self.book = Book()
        self.tid = {}

    def start(self):
        self.server = Bare(self.bin, self.path, *OPTIONS)
        self.conn = self.server.wire()
        self.pid, self.epoch = self.conn.call(w.INIT_PRODUCER, ["plant-7"])[:2]

    def topics(self):
        for name, config in TOPICS.items():
            self.tid[name] = self.conn.call(w.CREATE, [name, config])[0]

    def produce(self, topic, p, n, size):
        """One batch of the named producer, acknowledged."""
        book = self.book.values.setdefault((topic, p), {})
        seq = self.book.last_seq.get((topic, p), -1) + 1
        values = [self.rnd.randbytes(size) for _ in range(n)]
        records = [w.record(b"%d" % i, v) for i, v in enumerate(values)]
        base = self.conn.produce(self.tid[topic], p, records, pid=self.pid, epoch=self.epoch,
                                 seq=seq)[0]
        for i, v in enumerate(values):
            assert base + i not in book, "an offset was given twice"
            book[base + i] = v
        self.book.last_seq[(topic, p)] = seq + n - 1

    def fill(self, rounds, size):
        for _ in range(rounds):
            for topic, config in TOPICS.items():
                for p in range(config["partitions"]):
                    self.produce(topic, p, self.rnd.randint(1, 4), self.rnd.randint(1, size))

    def read_in_group(self):
        """Members commit somewhere in the middle."""
        m = w.Member(self.conn, "readers", ["short"])
        items = []
        for (tid, p), at in sorted(m.parts.items()):
            hw = inventory.span(self.conn, tid, p)[1]
            to = self.rnd.randint(at, hw)
            items.append([tid, p, to, f"note {to}"])
        assert all(e is None for e in m.commit(items))
        for _, p, to, note in items:
            self.book.commits[p] = (to, note)
        m.leave()

    def work(self):
        """Some messages done, some failed for long, some dead, some still leased."""
        b = self.book
        m = w.Member(self.conn, "workers", ["jobs"], mode="queue")
        got = m.acquire(n=20, lease=12 * 3600 * 1000)
        verbs = {w.ACK: [], w.NACK: [], w.DEAD: [], w.EXTEND: []}
        for handle, *_ in got:
            if handle[0] != self.tid["jobs"]:
                continue
            verb = self.rnd.choices((w.ACK, w.NACK, w.DEAD, w.EXTEND), (5, 2, 2, 2))[0]
            verbs[verb].append(handle)
        assert not any(m.settle(verbs[w.ACK])) and not any(m.settle(verbs[w.DEAD], w.DEAD, None, "no"))
        assert not any(m.settle(verbs[w.NACK], w.NACK, 12 * 3600 * 1000, "later"))
        for _, p, _, o in verbs[w.ACK]:
            b.settled.add((p, o))
        for _, p, _, o in verbs[w.DEAD]:
            b.settled.add((p, o))
            b.dead.add((p, o))
        for _, p, _, o in verbs[w.NACK] + verbs[w.EXTEND]:
            b.leased.add((p, o))
        # no leave, which would give back what is leased

    def delay(self, n):
        for i in range(n):
            due = self.server_ms() + FAR_MS + i
            answer = self.conn.call(w.PRODUCE, [self.tid["jobs"], i % 2, w.batch(
                [w.record(b"k", b"delayed %d" % i)] * 2), {"deliver_at": due}])
            if i == 1:
                status = self.conn.call(w.CANCEL_DELAYED, [self.tid["jobs"], [answer[4] + ".0"]])
                assert status == [0]

    def server_ms(self):
        return self.conn.call(w.PING, [])[0]

    def generation(self, rounds, size):
        self.fill(rounds, size)
        self.read_in_group()
        self.work()
        self.delay(3)
        self.fill(1, size)

    def settle_floor(self):
        """Until the floor on disk reaches every high watermark (it is written 50 to 200 ms later)."""
        want = sorted(inventory.span(self.conn, t[1], p)[1]
                      for t in inventory.topics(self.conn) for p in range(t[2]))
        last = None
        for _ in range(200):
            if sorted(n for _, n in marks(self.path)) == want and lsn(self.path) == last:
                return
            last = lsn(self.path)
            select.select([], [], [], 0.25)
        raise AssertionError("the floor file does not catch up")


def floors(path):
    """[(seq, bytes)] of the slots, newest first."""
    out = []
    for slot in (0, 1):
        try:
            with open(os.path.join(path, f"floor.{slot}"), "rb") as f:
                data = f.read()
        except FileNotFoundError:
            continue
        if len(data) >= 145:
            out.append((struct.unpack_from(">Q", data, 16)[0], data))
    return sorted(out, reverse=True)


def lsn(path):
    return struct.unpack_from(">Q", floors(path)[0][1], 48)[0]


def marks(path):
    """[(partition number, next offset)] of the newest floor."""
    data = floors(path)[0][1]
    n = struct.unpack_from(">I", data, 137)[0]
    return [struct.unpack_from(">IQ", data, 141 + 12 * i) for i in range(n)]


class Image:
    """A finished store: its path, its book, the inventory of a pristine copy, its floor."""

    def __init__(self, bin_dir, path, ending, seed):
        rnd = random.Random(f"{seed}/{ending}")
        self.path, self.ending = path, ending
        b = Builder(bin_dir, path, rnd)
        self.tid = b.tid
        b.start()
        b.topics()
        b.generation(6, 300)
        b.server.kill()
        b.start()
        b.generation(4, 300)
        if ending == "buckets":
            b.fill(60, 8000)
            b.fill(60, 8000)
            b.generation(3, 300)
        assert b.server.term()[0] == 0
        b.start()
        b.generation(3, 200)
        if ending != "fresh":
            b.settle_floor()
        b.fill(3, 200)
        if ending == "clean":
            assert b.server.term()[0] == 0
        elif ending == "fresh":
            b.server.kill()
        else:
            b.settle_floor()
            b.server.kill()
        self.book = b.book
        self.reference(bin_dir)

    def copy(self, to):
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.path, to)
        return to

    def reference(self, bin_dir):
        """Reads an undamaged copy and holds it against the book."""
        server = Bare(bin_dir, self.copy(self.path + ".copy"), *OPTIONS)
        self.want = take(server.url)
        server.kill()
        shutil.rmtree(self.path + ".copy")
        wrong = self.check_book(self.want)
        if wrong:
            raise AssertionError("an undamaged store: " + "; ".join(wrong))
        parts = [(n, p) for n, t in sorted(self.want["topics"].items(), key=lambda x: x[1]["tid"])
                 for p in range(len(t["parts"]))]
        found = sorted(marks(self.path))
        if len(found) != len(parts):
            raise AssertionError(f"{len(found)} marks for {len(parts)} partitions")
        self.floor = {part: mark for part, (_, mark) in zip(parts, found)}
        for part, mark in self.floor.items():
            hw = self.want["topics"][part[0]]["parts"][part[1]]["hw"]
            if mark > hw or (self.ending != "fresh" and mark != hw):
                raise AssertionError(f"{part}: the floor says {mark}, the log ends at {hw}")

    def check_book(self, inv):
        """What is not as it was acknowledged, as sentences."""
        wrong = []
        for (topic, p), values in self.book.values.items():
            part = inv["topics"][topic]["parts"][p]
            got = {o: v for base, (_, data) in part["batches"].items()
                   for o, _, v in w.values(data)}
            wrong += [f"{topic}/{p} offset {o} is not what was acknowledged"
                      for o, v in values.items() if got.get(o) != v][:3]
        jobs = inv["topics"]["jobs"]["tid"]
        committed = {p: (o, note) for _, p, o, note in inv["groups"]["readers"]["committed"]}
        wrong += [f"commit of short/{p} is {committed.get(p)}, not {c}"
                  for p, c in self.book.commits.items() if committed.get(p) != c]
        again = {(p, o) for t, p, o in inv["available"]["workers"] if t == jobs}
        wrong += [f"jobs/{p} offset {o} comes again" for p, o in
                  again & (self.book.settled | self.book.leased)]
        every = {(p, o) for (t, p), vs in self.book.values.items() if t == "jobs" for o in vs}
        wrong += [f"jobs/{p} offset {o} does not come" for p, o in
                  every - again - self.book.settled - self.book.leased]
        dead = sum(r[2] - r[1] + 1 for r in inv["dead"].get("jobs~workers~dlq", []))
        if dead != len(self.book.dead):
            wrong.append(f"{dead} dead letters, not {len(self.book.dead)}")
        seqs = {(t, p): s for t, p, s, _ in inv["producer"]}
        ids = {n: t["tid"] for n, t in inv["topics"].items()}
        wrong += [f"{t}/{p}: last sequence {seqs.get((ids[t], p))}, not {s}"
                  for (t, p), s in self.book.last_seq.items() if seqs.get((ids[t], p)) != s]
        return wrong


def take(url, known=None):
    """The inventory, and what the named producer is told."""
    inv = inventory.take(url, known)
    with w.Wire(url) as conn:
        inv["producer"] = inventory.ask(
            lambda: sorted(conn.call(w.INIT_PRODUCER, ["plant-7"])[2]))
    return inv
