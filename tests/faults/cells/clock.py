"""F8: the broker's wall clock jumps, runs at another pace, and the machine sleeps, under load with retention by age,
leases and delayed messages. Nothing is deleted early, no lease or session ends early, nothing comes early.

The clock is that of libweir-clockjump.so (inject/clockjump.c) in the broker alone; what clients record is true
time. Jumps come while the broker runs: a clock that was wrong while it did not run cannot be told from time that
passed (docs/GUARANTEES.md, G9).
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Cell  # noqa: E402
from asker import Asker  # noqa: E402
import shims  # noqa: E402
import wire as w  # noqa: E402

HOUR, DAY, YEAR = 3600, 86400, 31556952
LEASE_MS = 12 * HOUR * 1000
NEVER = ("weir_group_expired_total", "weir_group_fenced_total", "weir_group_lease_lost_total",
         "weir_retention_trims_total")


class Steady:
    """What no jump may touch: a lease, sessions, and the oldest message of every partition."""

    def __init__(self, rig):
        self.rig, self.asker = rig, Asker(rig)
        self.main = self.asker.wire.call(w.METADATA, [["t"]])[2][0][1]
        self.asker.produce()
        self.member = w.Member(self.asker.wire, "clock-leases", ["asker"], mode="queue")
        self.held = self.member.acquire(n=1, wait=2000, lease=LEASE_MS)
        rig.expect(len(self.held) == 1, "no message to lease")
        self.rebalances = self.metric("weir_group_rebalances_total")

    def metric(self, name):
        return sum(m[-1] for m in self.asker.wire.call(w.METRICS, [name]) if m[0] == name)

    def check(self, what):
        """Still as it was, and the broker acknowledges."""
        offset = self.asker.produce()
        self.rig.expect(isinstance(offset, int) and offset >= 0, f"{what}: producing is answered {offset}")
        for p in range(4):
            error = self.asker.wire.fetch(self.main, p, 0)
            error = error[0][2] if error else None
            self.rig.expect(error is None, f"{what}: offset 0 of partition {p}: {error}")
        for name in NEVER:
            n = self.metric(name)
            self.rig.expect(n == 0, f"{what}: {name} = {n}")

    def none_waits(self):
        """All delayed messages have come; none would come during the final read."""
        until = time.monotonic() + 10
        while self.metric("weir_scheduled_messages") > 0 and time.monotonic() < until:
            self.rig.sleep(0.05)
        left = self.metric("weir_scheduled_messages")
        self.rig.expect(left == 0, f"{left} delayed messages still wait 10 s after their time")

    def end(self):
        """The lease that was taken before all jumps still holds; nobody was taken for dead."""
        handles = [h[0] for h in self.held]
        answers = self.member.settle(handles)
        self.rig.expect(answers == [None], f"a lease of 12 h was answered {answers}")
        n = self.metric("weir_group_rebalances_total")
        self.rig.expect(n == self.rebalances, f"{n - self.rebalances} rebalances while nobody came or went")


class Clocked(Cell):
    """Starts a broker under the shim; what the clock does is told by tick()."""
    fault, guards = "F8", "G7 G9 G17"
    needs_faults = ("clock",)
    load = None
    delayed = True

    def run(self, rig, cycles):
        path = os.path.join(rig.top, "clock")
        clock = shims.Clock(path)
        rig.start(env={"WEIR_CLOCK_FILE": path}, preload=("clockjump",), args=("--memory", "16M", "--min-free", "1M"))
        rig.topic(partitions=4, retention__ms=HOUR * 1000)
        for _ in range(3):
            rig.client("produce", rate=1200, size="200-2000")
        late = rig.client("produce", rate=100, delay_ms=4000) if self.delayed else None
        for _ in range(2):
            rig.client("member", group="log")
            rig.client("worker", group="queue")
        rig.client("read")
        rig.client("observe", group="log")
        rig.pause(1.5, 2.0)  # members have come, buckets have been filled
        steady = Steady(rig)
        for _ in range(cycles):
            reads = clock.reads
            what = self.tick(rig, clock)
            rig.fault("clock")
            rig.pause(0.3, rig.rnd.choice([0.4, 1.5, 2.5]))
            rig.expect(clock.reads > reads, f"{what}: the broker did not look at the clock")
            rig.expect(rig.running(), f"{what}: the server ended: {rig.log_tail()}")
            if rig.running():
                steady.check(what)
            if rig.violations:
                return
        clock.back()
        if late is not None:
            late.stop()
        rig.pause(1.2, 1.2)
        steady.none_waits()
        steady.check("back at the true time")
        steady.end()

    def tick(self, rig, clock):
        raise NotImplementedError


class ClockJumps(Clocked):
    """+-1 h, +-1 d, +10 y, 1970, a sleep; from where it is or back at the true time first."""
    name = "clock_jumps"
    quick, full, per_run = 10, 1000, 40

    def tick(self, rig, clock):
        if rig.rnd.random() < 0.3:
            clock.back()
        what = rig.rnd.choice(["+1 h", "-1 h", "+1 d", "-1 d", "+10 y", "1970", "sleep"])
        rig.fault("clock_" + what.replace(" ", "_"))
        if what == "1970":
            clock.set_to(rig.rnd.uniform(0, DAY))
        elif what == "sleep":
            clock.suspend(rig.rnd.choice([120, HOUR, 8 * HOUR]))
        else:
            n, unit = what.split()
            clock.jump(int(n) * {"h": HOUR, "d": DAY, "y": YEAR}[unit])
        return what


class ClockPace(Clocked):
    """Half and twice as fast, steps of some seconds. They are followed, so no delayed messages here: what
    is due is due by the broker's clock."""
    name = "clock_pace"
    quick, full, per_run = 4, 200, 40
    delayed = False

    def tick(self, rig, clock):
        what = rig.rnd.choice(["half", "double", "step", "true"])
        if what == "step":
            clock.jump(rig.rnd.uniform(-50, 50))
        else:
            clock.run_at({"half": 0.5, "double": 2, "true": 1}[what])
        return what


CELLS = [ClockJumps, ClockPace]
