"""The power goes (F2) right behind an answer that was given for something of an earlier request: a batch that
came again, a partition that another member gave up.

Every sync takes long, so what is answered too early is answered long before it is on disk. The partitions are
idle but for the one thing that is asked for: what is lost is not hidden by what came behind it.
"""
import contextlib
import os
import select
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Cell  # noqa: E402
import churn  # noqa: E402,F401 (the way to wire)
import wire as w  # noqa: E402

PARTITIONS = 32
ON_DISK = 2  # the level of an answer to PRODUCE
RETRY = 1    # the class of an error
SETTLE_S = 20


class Resend(Cell):
    """A producer with one batch in flight in each partition loses its connection behind it and sends the batch
    again over another one, at once. What was answered as on disk is there after a power cut, once."""
    name, fault, guards = "power_resend", "F2 F13", "G1 G2 G5"
    quick, full, per_run = 3, 500, 20
    needs_faults = ("power", "resend")
    power = True
    load = {"producers": 2, "rate": 100, "members": 0, "workers": 0, "readers": 0}
    acks = 20  # a commit takes 30 to 100 ms, and most of the time nobody serves
    min_ok_percent = 0

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
            self.sync_s = rig.rnd.uniform(0.03, 0.1)
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


class Holder(w.Member):
    """A member over a connection of its own. Its cell hears what it is told."""

    def __init__(self, cell, member=None):
        self.cell, self.epoch, self.parts = cell, 0, {}  # (tid, p) -> since when, an epoch
        super().__init__(w.Wire(cell.url), "hand", ["hand"], member=member)

    def join(self):
        self.asked = self.w.send(w.JOIN, [self.group, self.id, None, self.topics, {"mode": self.mode}])

    def joined(self):
        epoch, _, _, _, parts = self.w.answer(self.asked)[:5]
        self.asked = None
        self.take(epoch, parts)

    def has_answer(self):
        """Something has come over its connection."""
        return bool(select.select([self.w.sock], [], [], 0)[0])

    def ask(self):
        """One heartbeat, which gives up what was taken away before. True: it has something new."""
        epoch, parts = self.w.call(w.HEARTBEAT, self.who() + [[list(k) for k in self.parts]])
        return self.take(epoch, parts)

    def take(self, epoch, parts):
        before, self.epoch = set(self.parts), epoch
        if parts is not None:
            self.parts = {(t, p): since for t, p, since, _ in parts}
        self.cell.told(self)
        return not before >= set(self.parts)


class Handover(Cell):
    """The power goes while partitions go from one member to another, mostly in the moment when the new one
    hears of it. An epoch that anybody was told is never given out again, and a commit with it is refused when
    the partition is somebody else's."""
    name, fault, guards = "power_handover", "F2 F15", "G7 A7"
    quick, full, per_run = 3, 500, 20
    needs_faults = ("power", "handover")
    power = True
    load = {"producers": 1, "rate": 100, "members": 0, "workers": 0, "readers": 0}
    acks = 20
    min_ok_percent = 0
    PARTITIONS = 6

    def run(self, rig, cycles):
        self.rig, self.url = rig, f"weir://127.0.0.1:{rig.port}"
        with w.Wire(self.url) as c:
            self.tid = c.create("hand", partitions=self.PARTITIONS)
        self.highest = 0  # epoch that anybody was told
        self.since = {}   # partition -> (epoch, member): the latest that anybody was told
        self.old = []     # members from before the cut
        rig.power_cut()
        for _ in range(cycles):
            self.sync_s = rig.rnd.uniform(0.02, 0.1)
            rig.restart(env={"WEIR_POWERLOSS_SYNC_US": str(int(self.sync_s * 1e6))})
            members = self.begin(rig)
            if rig.violations:
                return
            self.move(rig, members)
        rig.restart(env={})
        self.begin(rig)
        rig.pause(0.5, 0.5)

    def told(self, m):
        """No two members have a partition since the same epoch, and a later owner has a greater one."""
        self.highest = max([self.highest, m.epoch, *m.parts.values()])
        for (_, p), epoch in m.parts.items():
            last, owner = self.since.get(p, (0, m.id))
            self.rig.expect(owner == m.id or epoch > last, f"partition {p}: a member has it since epoch {epoch}, "
                            f"another one had it since epoch {last}")
            if epoch >= last:
                self.since[p] = (epoch, m.id)

    def begin(self, rig):
        """The members from before the cut leave or come back, others join. Returns those that are there."""
        back = [m.id for m in self.old if rig.rnd.random() < .25][:2]
        with w.Wire(self.url) as c:
            if self.old:
                _, _, epoch, _, there, *_ = c.call(w.GROUP_DESCRIBE, ["hand"])
                rig.expect(epoch >= self.highest, f"the group's epoch is {epoch}, a member was told {self.highest}")
                for member, *_ in there:
                    if member not in back:
                        with contextlib.suppress(w.Refused):  # its grace time may be over
                            c.call(w.LEAVE, ["hand", member, 0])
            members = [Holder(self, m) for m in back]
            members += [Holder(self) for _ in range(rig.rnd.randint(1, 2) if back else rig.rnd.randint(2, 3))]
            for m in members:
                m.joined()
            self.settle(rig, members)
            for m in self.old:
                self.late(rig, c, m, members)
        return members

    def settle(self, rig, members):
        """Until all partitions have an owner and each member its share."""
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            for m in members:
                m.ask()
            if (sum(len(m.parts) for m in members) == self.PARTITIONS
                    and min(len(m.parts) for m in members) >= self.PARTITIONS // len(members)):
                return
            rig.sleep(0.002)
        rig.violate(f"after {SETTLE_S} s the members have {[len(m.parts) for m in members]} partitions of "
                    f"{self.PARTITIONS}")

    def late(self, rig, c, m, members):
        """One from before the cut commits with its old epoch what others hold."""
        for tid, p in m.parts:
            if any((tid, p) in other.parts for other in members if other.id != m.id):
                with contextlib.suppress(w.Refused):
                    refused = c.call(w.COMMIT, m.who() + [[[tid, p, 0, None]]])[0]
                    rig.expect(refused is not None, f"partition {p}: a commit with epoch {m.epoch} of a member from "
                               "before the cut was taken, it is another one's")

    def move(self, rig, members):
        """A member leaves, or one joins and the others give up its share; the power goes."""
        joining = None
        everybody = list(members)
        if rig.rnd.random() < .6:
            gone = members.pop(rig.rnd.randrange(len(members)))
            gone.leave()
            gone.parts = {}
        else:
            joining = Holder(self)
            everybody.append(joining)
        rig.fault("handover")
        at_once = rig.rnd.random() < .7  # when somebody has something new; else at any moment
        until = time.monotonic() + rig.rnd.uniform(0, 5) * self.sync_s
        news = False
        while time.monotonic() < until and not (news and at_once):
            news = any([m.ask() for m in members])
            if joining is not None and joining.has_answer():
                joining.joined()
                members.append(joining)
                joining = None
        rig.power_cut()
        if joining is not None:
            with contextlib.suppress(w.Closed, OSError):
                joining.joined()
        for m in everybody:
            m.w.close()
        self.old = everybody


CELLS = [Resend, Handover]
