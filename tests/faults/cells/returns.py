"""Members that come back: over a new connection to a server that lives (F7), and to one that was killed (F1)."""
import contextlib
import os
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Cell  # noqa: E402
import churn  # noqa: E402,F401 (the way to wire)
import wire as w  # noqa: E402


def come_back(url, m):
    """The same member over a new connection."""
    again = w.Member(w.Wire(url), m.group, m.topics, mode=m.mode, member=m.id, **m.options)
    again.attempt = m.attempt
    return again


class Rejoin(Cell):
    """A cycle is a member, of a log group or of a queue group, that loses its connection up to three times, is
    back within its grace time, and stays until long after the time that began when it went. It remains a member,
    keeps what it had, and nobody's epoch moves because of it."""
    name, fault, guards = "rejoin", "F7", "G7 G8 A7 A8"
    quick, full, per_run = 16, 800, 32
    needs_faults = ("away",)
    load = {"rate": 1000, "members": 1, "workers": 1}
    acks = 4000  # the members are what is looked at
    AWAY_S = 3  # of 10

    def run(self, rig, cycles):
        url = f"weir://127.0.0.1:{rig.port}"
        with w.Wire(url) as c:
            tid = c.create("away", partitions=2)
            for p in range(2):
                c.produce(tid, p, [w.record(b"k", b"v")] * 20)
        members = [self.first(rig, url, i) for i in range(cycles)]
        went, members = self.away(rig, url, members)
        self.stay(rig, members, went + members[0].grace_ms / 1000 + 1.5)
        for m in members:
            self.work(rig, m)
            with contextlib.suppress(w.Refused):
                m.leave()
            m.w.close()

    def first(self, rig, url, i):
        mode = ("log", "queue")[i % 2]
        m = w.Member(w.Wire(url), f"away-{i}", ["away"], mode=mode)
        for _ in range(100):
            m.heartbeat()
            if m.parts or mode == "queue":
                break
            rig.sleep(0.02)
        m.held = m.acquire(3, wait=5000) if mode == "queue" else []
        m.had = dict(m.parts)
        rig.expect(m.had or m.held, f"{m.group}: was given nothing")
        return m

    def away(self, rig, url, members):
        """Returns when the last of them went, and who came back."""
        for _ in range(rig.rnd.randint(1, 3)):
            for m in members:
                m.w.close()
            went = time.monotonic()
            rig.fault("away", len(members))
            rig.pause(0, self.AWAY_S / 3)
            back = []
            for m in members:
                again = come_back(url, m)
                again.held, again.had = m.held, m.had
                rig.expect(again.resumed, f"{m.group}: was back in time, but not as the member it was")
                back.append(again)
            members = back
        return went, members

    def stay(self, rig, members, until):
        for m in members:
            m.heartbeat()
            m.seen = m.epoch
        while time.monotonic() < until and not rig.violations:
            rig.sleep(0.5)
            for m in members:
                try:
                    m.heartbeat()
                except w.Refused as e:
                    rig.violate(f"{m.group}: came back in time, and is no member any more: {e}")
                    return
                rig.expect(m.epoch == m.seen, f"{m.group}: epoch {m.seen} became {m.epoch} without any change")
                rig.expect(set(m.parts) == set(m.had), f"{m.group}: had {set(m.had)}, has {set(m.parts)}")

    def work(self, rig, m):
        """What it had before is still its own."""
        try:
            errors = m.settle([h for h, *_ in m.held]) if m.held else m.commit([[t, p, 1, None] for t, p in m.had])
        except w.Refused as e:
            errors = [e]
        rig.expect(not any(errors), f"{m.group}: what it held was not its own any more: {errors}")


class Leases(Cell):
    """A worker holds messages over a kill of the server, another one takes more, the server is killed again. What
    one holds is given to nobody else, and each of them can settle its own, late and twice."""
    name, fault, guards = "leases", "F1", "G8"
    quick, full, per_run = 4, 1000, 20
    needs_faults = ("kill",)
    load = {"rate": 500, "members": 1, "workers": 0}
    acks = 300  # it is killed twice a second
    min_ok_percent = 5
    HARD_MS = 600000

    def run(self, rig, cycles):
        self.url = f"weir://127.0.0.1:{rig.port}"
        with w.Wire(self.url) as c:
            self.tid = c.create("held", partitions=1)
        for i in range(cycles):
            self.one(rig, f"held-{i}")
            if rig.violations:
                break

    def one(self, rig, group):
        with w.Wire(self.url) as c:
            c.produce(self.tid, 0, [w.record(None, b"v")] * 20)
        holders, held = [], []
        for _ in range(2):
            m = w.Member(w.Wire(self.url), group, ["held"], mode="queue", start=-1)
            held.append([h for h, *_ in m.acquire(rig.rnd.randint(1, 4), wait=5000, lease=self.HARD_MS)])
            holders.append(m)
            for m in holders:
                m.w.close()
            rig.kill()
            rig.restart()
            holders = [come_back(self.url, m) for m in holders]
        other = w.Member(w.Wire(self.url), group, ["held"], mode="queue", start=-1)
        free = {h[3] for h, *_ in other.acquire(1000, wait=5000)}
        for m, handles in zip(holders, held):
            taken = sorted(free & {h[3] for h in handles})
            rig.expect(handles, f"{group}: there was nothing to hold")
            rig.expect(not taken, f"{group}: offsets {taken} are held and were given to another worker")
        for _ in range(2):
            for m, handles in zip(holders, held):
                errors = m.settle(handles)
                rig.expect(not any(errors), f"{group}: its own lease cannot be settled: {errors}")
        for m in (*holders, other):
            m.leave()
            m.w.close()


CELLS = [Rejoin, Leases]
