"""The power goes (F2) right behind an answer that was given for something of an earlier request: a batch that
came again, a partition that another member gave up.

Every sync takes long, so what is answered too early is answered long before it is on disk. The partitions are
idle but for the one thing that is asked for: what is lost is not hidden by what came behind it.
"""
import contextlib
import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Cell  # noqa: E402
import churn  # noqa: E402,F401 (the way to wire)
import wire as w  # noqa: E402

PARTITIONS = 32
ON_DISK = 2  # the level of an answer to PRODUCE
RETRY = 1    # the class of an error


class Resend(Cell):
    """A producer with one batch in flight in each partition loses its connection behind it and sends the batch
    again over another one, at once. What was answered as on disk is there after a power cut, once."""
    name, fault, guards = "power_resend", "F2 F5", "G1 G2 G5"
    quick, full, per_run = 3, 500, 20
    needs_faults = ("power", "resend")
    power = True
    load = {"producers": 2, "rate": 500, "members": 0, "workers": 0, "readers": 0}
    acks = 100  # a commit takes 50 to 200 ms, and half of the time nobody serves
    min_ok_percent = 5

    def run(self, rig, cycles):
        self.url = f"weir://127.0.0.1:{rig.port}"
        with w.Wire(self.url) as c:
            self.tid = c.create("once", partitions=PARTITIONS)
            self.pid, self.epoch, _ = c.call(w.INIT_PRODUCER, [None])
        self.seq = [0] * PARTITIONS       # of the batch in flight, or of the next one
        self.value = [None] * PARTITIONS  # what it holds; None: there is none in flight
        self.stored = [{} for _ in range(PARTITIONS)]  # offset -> value, as it was answered
        rig.power_cut()
        for _ in range(cycles):
            self.sync_s = rig.rnd.uniform(0.05, 0.2)
            rig.restart(env={"WEIR_POWERLOSS_SYNC_US": str(int(self.sync_s * 1e6))})
            self.verify(rig)
            if rig.violations:
                return
            if rig.rnd.random() < .5:
                self.round(rig, cut=False)
            self.round(rig, cut=True)
        rig.restart(env={})
        self.verify(rig)
        rig.pause(0.5, 1)

    def round(self, rig, cut):
        """All partitions at once. A batch that has no answer since the last cut is sent again as it was."""
        for p in range(PARTITIONS):
            self.value[p] = self.value[p] or rig.rnd.randbytes(rig.rnd.randint(16, 400))
        with w.Wire(self.url) as first, w.Wire(self.url) as second:
            asked = [(second, None), (first, self.send(first))]
            if rig.rnd.random() < .5:
                rig.pause(0, self.sync_s)
            if rig.rnd.random() < .8:  # else it was only slow: its answers count as well
                first.close()
                asked.pop()
            asked[0] = (second, self.send(second))
            rig.fault("resend")
            if cut:
                rig.pause(0, 1.5 * self.sync_s)
                rig.power_cut()  # what had been answered is still to be read
            told = [{} for _ in range(PARTITIONS)]
            for c, requests in asked:
                with contextlib.suppress(w.Closed, OSError):
                    for corr, p in requests.items():
                        self.answer(rig, c, corr, p, told[p])
        for p, offsets in enumerate(told):
            if offsets:
                rig.expect(len(offsets) == 1, f"partition {p}: one batch was told the offsets {sorted(offsets)}")
                self.stored[p].update(offsets)
                self.value[p] = None
                self.seq[p] += 1

    def send(self, c):
        """The batch of each partition. Returns what was asked: correlation -> partition."""
        return {c.send(w.PRODUCE, [self.tid, p, w.batch([w.record(b"k", self.value[p])], pid=self.pid,
                                                        epoch=self.epoch, seq=self.seq[p])]): p
                for p in range(PARTITIONS)}

    def answer(self, rig, c, corr, p, told):
        try:
            offset, _, level, *_ = c.answer(corr)
        except w.Refused as e:
            rig.expect(e.cls == RETRY, f"partition {p}: sequence {self.seq[p]} is refused: {e}")
            return
        if offset is not None and level == ON_DISK:
            before = self.stored[p].get(offset)
            rig.expect(before is None, f"partition {p}: offset {offset} was given to two batches")
            told[offset] = self.value[p]

    def verify(self, rig):
        """What was answered is there, at its offset, and nowhere else."""
        gone = []
        with w.Wire(self.url) as c:
            for p in range(PARTITIONS):
                there = self.read(rig, c, p)
                gone += [(p, o) for o, value in self.stored[p].items() if there.get(o) != value]
                rig.expect(len(set(there.values())) == len(there), f"partition {p}: a batch is there twice")
        if gone:
            rig.violate(f"{len(gone)} batches answered as on disk are gone, the first at offset {gone[0][1]} of "
                        f"partition {gone[0][0]}")

    def read(self, rig, c, p):
        """offset -> value of all that is in the partition."""
        there, at, hw = {}, 0, None
        while at != hw:
            answer = c.fetch(self.tid, p, at)
            if not answer:
                return there
            _, _, err, hw, _, run = answer[0]
            if err is not None:
                rig.violate(f"partition {p}: offset {at} is answered {err}")
                return there
            for offset, _, value in w.values(run):
                there[offset] = value
                at = offset + 1
        return there


CELLS = [Resend]
