"""Everything that the usual load does not do, over one raw connection in a thread: topics come and
go, messages are delayed, fail and die, members join, commit and leave, buckets fill and are freed.

It works on topics of its own, which no history knows: what it does brings the broker to places where
it can be killed, nothing else. Every error ends the connection, and the next one begins anew.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blackbox", "server"))
import wire as w  # noqa: E402

BULK_BYTES, BULK_KEEP = 60000, 3 << 20


class Churn:
    """`space`: also fills buckets, which takes most of the disk's time."""

    def __init__(self, url, seed, space=False):
        self.url, self.rnd, self.space = url, random.Random(f"churn:{seed}"), space
        self.stopped = threading.Event()
        self.rounds = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopped.set()
        self.thread.join()

    def run(self):
        while not self.stopped.is_set():
            try:
                with w.Wire(self.url, timeout=5) as c:
                    self.prepare(c)
                    while not self.stopped.is_set():
                        self.round(c)
            except (OSError, w.Closed, w.Refused, AssertionError, KeyError):
                self.stopped.wait(0.02)

    def topic(self, c, name, **config):
        try:
            return c.create(name, **config)
        except w.Refused as e:
            if e.code != w.EXISTS:
                raise
            return c.call(w.METADATA, [[name]])[2][0][1]

    def prepare(self, c):
        self.jobs = self.topic(c, "churn-jobs", partitions=2)
        self.bulk = self.topic(c, "churn-bulk", partitions=2, retention__bytes=BULK_KEEP)
        c.call(w.INIT_PRODUCER, [None])

    def round(self, c):
        n = self.rounds = self.rounds + 1
        if self.space:
            self.fill(c)
            if n % 4:
                return
        self.delay(c)
        self.work(c)
        self.read(c)
        self.topics(c, n)
        if not self.space:
            self.stopped.wait(self.rnd.uniform(0, 0.05))

    def fill(self, c):
        values = [w.record(b"k", self.rnd.randbytes(BULK_BYTES)) for _ in range(4)]
        for corr in [c.send(w.PRODUCE, [self.bulk, p, w.batch(values)]) for p in (0, 1)]:
            c.answer(corr)

    def delay(self, c):
        due = int(time.time() * 1000) + self.rnd.randrange(5, 60)
        c.call(w.PRODUCE, [self.jobs, self.rnd.randrange(2), w.batch([w.record(b"k", b"later")] * 2),
                           {"deliver_at": due}])

    def work(self, c):
        """A worker whose verdicts go back and forth, so that some are settled out of order."""
        for p in (0, 1):
            c.produce(self.jobs, p, [w.record(b"k", b"v%d" % i) for i in range(8)])
        m = w.Member(c, "churn-workers", ["churn-jobs"], mode="queue")
        got = [g[0] for g in m.acquire(n=24, wait=20, lease=30000)]
        self.rnd.shuffle(got)
        m.settle(got[:2], w.DEAD, None, "no")
        m.settle(got[2:4], w.NACK, 10, "not now")
        m.settle(got[4:], w.ACK)
        m.leave()

    def read(self, c):
        m = w.Member(c, "churn-readers", ["churn-jobs"])
        m.heartbeat()
        m.commit([[tid, p, at, None] for (tid, p), at in sorted(m.parts.items())])
        m.leave()

    def topics(self, c, n):
        if n % 3 == 0:
            self.topic(c, f"churn-{n}", partitions=1)
            c.call(w.DELETE, [f"churn-{n}"])
