"""F3b, F9: the k-th allocation fails, memory is limited, the machine runs out of it; no descriptors are left.

A server without memory may end, by abort() or by the kernel's hand; what it acknowledged is there at the next
start. A connection that cannot be had for lack of memory costs nobody else anything. Without descriptors those
who are connected go on, nobody spins, and new ones get in as soon as there is room.
"""
import contextlib
import os
import resource
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Broken, Cell, Unfit  # noqa: E402
from asker import GONE, Asker  # noqa: E402
import shims  # noqa: E402
import wire as w  # noqa: E402

MIB = 1 << 20
SERVE_S = 10
STORAGE, IO = 70, 74
SMALL = ("--memory", "16M", "--min-free", "1M")


class Failing:
    """The allocation rule of the shim; at rest until armed."""

    def __init__(self, rig, mode="once", program_only=False):
        self.rig = rig
        self.path = os.path.join(rig.top, "alloc.control")
        self.control = shims.Fail(self.path)
        self.rule = f"call=alloc,errno=ENOMEM,mode={mode}" + (",from=program" if program_only else "")
        self.what = f"allocation {mode}{' of the program' if program_only else ''}"

    def start(self, k=0):
        """With k: armed from the first instruction on."""
        self.control.disarm()
        if k > 0:
            self.control.arm(k)
        return self.rig.start(env={"WEIR_FAIL": self.rule, "WEIR_FAIL_CONTROL": self.path,
                                   "WEIR_FAIL_LOG": os.path.join(self.rig.top, "alloc.log")},
                              preload=("failcall",), args=SMALL, expect=False)


def load(rig):
    for i in range(3):
        rig.client("produce", rate=800, size="200-3000", **({"handle": "send_timeout_ms=150"} if i == 0 else {}))
    rig.client("member", group="log")
    rig.client("worker", group="queue", nack=1)
    rig.client("read")
    rig.client("observe", group="log")


def judge_end(rig, what, codes):
    code = rig.server.wait(8)
    rig.down_on_purpose = True
    rig.expect(code in codes, f"{what}: the server ended with {code}: {rig.log_tail()}")


def plain_start(rig):
    if rig.running():
        rig.kill()
    rig.start(args=SMALL)


class Allocations(Cell):
    """The k-th allocation fails, while it runs and while it starts. RocksDB 7.8 does not look at what malloc gives
    in some places (the handles of its cache): a crash there is fail-stop too, one in our code is not."""
    name, fault, guards = "alloc", "F3b", "G1-G5 G8"
    quick, full, per_run = 12, 4000, 40
    needs_faults = ("alloc",)
    load = None
    acks = 3000  # most of the time the server is being started
    min_ok_percent = 20  # ... and one producer gives up soon

    CODES = (STORAGE, IO, -signal.SIGABRT)
    may_exit = (*CODES, -signal.SIGSEGV)
    counts = "alloc"

    def run(self, rig, cycles):
        rig.start(args=SMALL)
        rig.topic(partitions=4)
        load(rig)
        asker = Asker(rig)
        rig.pause(0.5, 1.0)
        for _ in range(cycles):
            f = Failing(rig, rig.rnd.choice(["once", "once", "sticky"]), rig.rnd.random() < 0.6)
            k = rig.rnd.randint(1, rig.rnd.choice([20, 200, 2000]))
            fired = f.control.fired
            rig.kill()
            at_start = rig.rnd.random() < 0.3
            took = f.start(k if at_start else 0)
            if took is not None:
                asker.connect()
                if not at_start:
                    rig.pause(0, 0.3)
                    f.control.arm(k)
                self.wait(rig, asker, f, fired)
            if f.control.fired > fired:
                rig.fault("alloc")
                f.control.disarm()
            self.afterwards(rig, asker, f"{f.what} k={k}{' at the start' if at_start else ''}")
            plain_start(rig)
            if rig.violations:
                return
            rig.pause(0.05, 0.4)

    @staticmethod
    def wait(rig, asker, f, fired):
        until = time.monotonic() + 3
        while rig.running() and f.control.fired == fired and time.monotonic() < until:
            asker.produce(1000)
            rig.sleep(0.005)
        rig.pause(0.05, 0.2)

    def afterwards(self, rig, asker, what):
        """Ended in a way that is allowed, or goes on serving."""
        if rig.running():
            took = asker.until_produced(SERVE_S)
            rig.expect(took is not None, f"{what}: neither serves nor ends: {rig.log_tail()}")
        if not rig.running():
            with open(os.path.join(rig.top, "alloc.log"), encoding="utf-8") as f:
                theirs = "librocksdb" in f.read().splitlines()[-1]
            judge_end(rig, what, (*self.CODES, -signal.SIGSEGV) if theirs else self.CODES)


class AllocationsOfStrangers(Cell):
    """k = 1, 2, 3 ...: no allocation that a peer causes before its HELLO is answered ends more than its connection."""
    name, fault, guards = "alloc_hello", "F3b", "G13"
    quick, full, per_run = 1, 20, 1
    needs_faults = ("alloc",)
    load = None
    acks = 100  # nobody else is there: what fails has to be the stranger's

    def run(self, rig, cycles):
        f = Failing(rig, "once", program_only=True)
        f.start()
        rig.topic(partitions=4)
        asker = Asker(rig)
        for _ in range(cycles):
            k, fired = 0, -1
            while fired != f.control.fired and k < 200 and not rig.violations:
                k, fired = k + 1, f.control.fired
                f.control.arm(k)
                with contextlib.suppress(OSError, w.Closed, w.Refused):
                    w.Wire(f"weir://127.0.0.1:{rig.port}", timeout=3).close()
                f.control.disarm()
                if f.control.fired > fired:
                    rig.fault("alloc")
                answer = asker.produce() if rig.running() else GONE
                rig.expect(answer != GONE and answer >= 0,
                           f"allocation {k} of a stranger's connection: the server "
                           f"{'answers ' + str(answer) if rig.running() else 'ended: ' + rig.log_tail()}")
        if rig.running():
            rig.kill()
        rig.start(args=SMALL)
        rig.client("produce", rate=500)
        rig.client("worker", group="queue")
        rig.pause(1, 1)


class Cgroup:
    """A memory control group (v1) of our own."""

    def __init__(self, limit):
        self.path = f"/sys/fs/cgroup/memory/weir-faults-{os.getpid()}"
        try:
            os.makedirs(self.path, exist_ok=True)
            self.limit(limit)
        except OSError as e:
            raise Unfit(f"needs root and cgroup v1: {e}") from e

    def limit(self, n):
        with open(f"{self.path}/memory.limit_in_bytes", "w", encoding="ascii") as f:
            f.write(str(n))

    def read(self, name):
        with open(f"{self.path}/{name}", encoding="ascii") as f:
            return f.read()

    def anonymous(self):
        return int(dict(x.split() for x in self.read("memory.stat").splitlines())["rss"])

    def prefix(self):
        return ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def remove(self):
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


class MemoryLimit(Cell):
    """Address space that ends (prlimit), and the kernel that kills (cgroup), both under load."""
    name, fault, guards = "memory_limit", "F3b", "G1-G5 G8"
    may_exit = Allocations.CODES
    counts = "memory"  # with little address space it sometimes goes on
    quick, full, per_run = 6, 100, 20
    needs_faults = ("memory",)
    load = None
    acks = 3000  # the server is started most of the time
    min_ok_percent = 20  # ... and one producer gives up soon

    def run(self, rig, cycles):
        group = Cgroup(1 << 40)
        try:
            rig.start()
            rig.topic(partitions=4)
            load(rig)
            rig.pause(0.3, 0.6)
            for i in range(cycles):
                kind = "kernel" if i % 2 == 0 else "address_space"
                rig.kill()
                group.limit(1 << 40)
                rig.start(prefix=group.prefix())
                rig.pause(0.2, 0.5)
                self.squeeze(rig, group, kind)
                if rig.running():
                    rig.kill()
                rig.start()
                if rig.violations:
                    return
                rig.pause(0.2, 0.4)
            rig.kill()
            rig.start()
            rig.pause(0.5, 0.5)
        finally:
            if rig.running() and rig.violations:
                rig.kill()
            group.remove()

    @staticmethod
    def squeeze(rig, group, kind):
        """Leaves it some MiB more than it has; a heavy producer takes them."""
        room = rig.rnd.randint(1, 6) * MIB
        heavy = rig.client("produce", rate=3000, size="2000-8000")
        until, left, tighten = time.monotonic() + 8, room, 0
        while rig.running() and time.monotonic() < until:
            if time.monotonic() >= tighten:  # what it gave back meanwhile would be room again
                MemoryLimit.limit(rig, group, kind, left)
                left, tighten = left // 2, time.monotonic() + 1
            rig.sleep(0.02)
        heavy.stop()
        if not rig.running():
            judge_end(rig, f"{kind}, {room} bytes left", (-signal.SIGKILL,) if kind == "kernel" else Allocations.CODES)
            rig.fault("memory")
            rig.fault(f"memory_{kind}")

    @staticmethod
    def limit(rig, group, kind, room):
        if kind == "kernel":
            with contextlib.suppress(OSError):  # EBUSY: it has more by now
                group.limit(group.anonymous() + room)
            return
        with contextlib.suppress(OSError):  # it has just ended
            with open(f"/proc/{rig.server.pid}/statm", encoding="ascii") as f:
                have = int(f.read().split()[0]) * resource.getpagesize()
            resource.prlimit(rig.server.pid, resource.RLIMIT_AS, (have + room, have + room))


class Descriptors(Cell):
    """Sockets take all descriptors there are: a limit of its life, or one that is lowered while it runs."""
    name, fault, guards = "descriptors", "F9", "G1-G5 G13"
    quick, full, per_run = 3, 60, 10
    needs_faults = ("full",)
    load = None
    SPIN = 20000  # turns of the loop a second above what the same load takes when there is room; it can 200,000

    def run(self, rig, cycles):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096 if hard < 0 else min(hard, 4096), hard))
        at_start = rig.rnd.choice([128, 256, 512, 1024])
        rig.start(prefix=["prlimit", f"--nofile={at_start}:{hard}"])
        rig.topic(partitions=4)
        rig.usual_load(producers=3, rate=1200)
        rig.pause(1.0, 1.0)
        asker = Asker(rig)
        for i in range(cycles):
            lowered = i % 3 != 0
            limit = at_start
            if lowered:
                limit = len(os.listdir(f"/proc/{rig.server.pid}/fd")) + rig.rnd.randint(0, 40)
            self.cycle(rig, asker, limit, lowered, (at_start, hard))
            if rig.violations:
                return

    def cycle(self, rig, asker, limit, lowered, usual):
        what = f"limit {limit}{' while it runs' if lowered else ''}"
        turns, slowest = self.look(rig, asker)
        if lowered:
            resource.prlimit(rig.server.pid, resource.RLIMIT_NOFILE, (limit, usual[1]))
        strangers = self.flood(rig, limit + rig.rnd.randint(50, 300))
        rig.fault("full")
        rig.fault("connect", len(strangers))
        full_turns, full_slowest = self.look(rig, asker)
        rig.expect(full_turns - turns < self.SPIN, f"{what}: {full_turns:.0f} turns of the loop a second, {turns:.0f} before")
        rig.expect(full_slowest < max(2 * slowest, 1.0), f"{what}: the slowest answer took {full_slowest:.2f} s, "
                                                         f"{slowest:.2f} s before")
        for s in strangers:
            s.close()
        if lowered:
            resource.prlimit(rig.server.pid, resource.RLIMIT_NOFILE, usual)
        self.comes_in(rig, what)

    @staticmethod
    def flood(rig, n):
        """n connects that say nothing. Those that were shut on stay open on this side."""
        out = []
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", rig.port))
            out.append(s)
        return out

    def look(self, rig, asker):
        """(turns of the loop a second, slowest of the answers), over a second."""
        began, before, slowest = time.monotonic(), self.turns(asker), 0.0
        while time.monotonic() - began < 1:
            at = time.monotonic()
            answer = asker.produce()
            slowest = max(slowest, time.monotonic() - at)
            rig.expect(answer != GONE and answer >= 0, f"one who is connected is answered {answer}")
            if rig.violations:
                break
            rig.sleep(0.01)
        if rig.violations:
            return 0, 0
        return (self.turns(asker) - before) / (time.monotonic() - began), slowest

    @staticmethod
    def turns(asker):
        return asker.wire.call(w.METRICS, ["weir_loop_turns_total"])[0][-1] if asker.wire else 0

    @staticmethod
    def comes_in(rig, what):
        """A new client is served at once."""
        began = time.monotonic()
        done = False
        while not done and time.monotonic() - began < 5:
            with contextlib.suppress(OSError, w.Closed, w.Refused):
                w.Wire(f"weir://127.0.0.1:{rig.port}", timeout=2).close()
                done = True
        took = time.monotonic() - began
        rig.expect(done and took < 1.5, f"{what}: a new client got in {took:.1f} s after there was room")


CELLS = [Allocations, AllocationsOfStrangers, MemoryLimit, Descriptors]
