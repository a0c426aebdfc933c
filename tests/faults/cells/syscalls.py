"""F3: the k-th system call on the store's files fails (EIO, ENOSPC, EINTR, EROFS, EMFILE), once or from then
on, while the server runs and while it starts; short transfers and interrupted ones that nobody may notice.

What fails is said by libweir-failcall.so (inject/failcall_rule.h). A server may end: with the exit code of a
storage failure, or aborted by RocksDB. It may go on, when it goes on serving. It may never acknowledge after
its log could not be synced, and the next start, without faults, has to be clean.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Broken, Cell  # noqa: E402
from asker import GONE, Asker  # noqa: E402
import shims  # noqa: E402

STORAGE, IO = 70, 74
CODES = (STORAGE, IO, -signal.SIGABRT)
SERVE_S = 10  # a server that went on serves (again) within this time, once nothing fails any more
END_S = 8     # one whose log failed has ended within this time
MEMORY = ("--memory", "16M", "--min-free", "1M")  # buckets of 4 MiB: files come and go often

# call, suffix of the files, highest k while it runs; what happens often gets a high one
RUNNING = [("fdatasync", ".log", 500), ("write", ".log", 500), ("fsync", ".sst", 6), ("write", ".sst", 60),
           ("fdatasync", "", 500), ("write", "", 500), ("pwrite", "", 40), ("fsync", "", 12), ("fsync", "/", 6),
           ("sync_file_range", "", 10), ("fallocate", "", 10), ("ftruncate", "", 10), ("rename", "", 6),
           ("open", "", 20), ("openat", "", 4), ("read", "", 10), ("pread", "", 60), ("close", "", 20),
           ("unlink", "", 6), ("mkdir", "", 2)]
ERRORS = ["EIO", "EIO", "ENOSPC", "EINTR", "EROFS", "EMFILE"]
# at a start all calls of a kind are gone through, k = 1 until nothing fails
STARTING = [("fdatasync", "floor.0"), ("fdatasync", "floor.1"), ("read", ""), ("pread", ""), ("open", ""), ("openat", ""),
            ("write", ""), ("pwrite", ""), ("fsync", ""), ("fdatasync", ""), ("ftruncate", ""), ("fallocate", ""),
            ("rename", ""), ("unlink", ""), ("mkdir", ""), ("close", ""), ("sync_file_range", "")]


class Case:
    """One rule of the shim, and its control file."""

    def __init__(self, rig, call, error, mode="once", suffix=""):
        self.rig, self.call, self.error, self.mode, self.suffix = rig, call, error, mode, suffix
        self.path = os.path.join(rig.top, "fail.control")
        self.control = shims.Fail(self.path)
        self.k = 0

        if error == "EINTR":
            self.mode = "once"  # a call that is interrupted for ever is made for ever: nobody promises to give up

    def __str__(self):
        return f"{self.call} {self.error} {self.mode} k={self.k} {self.suffix or 'any file'}"

    def env(self):
        rule = f"call={self.call},errno={self.error},mode={self.mode},dir={self.rig.dir}"
        return {"WEIR_FAIL": rule + (f",suffix={self.suffix}" if self.suffix else ""),
                "WEIR_FAIL_CONTROL": self.path, "WEIR_FAIL_LOG": os.path.join(self.rig.top, "fail.log")}

    def start(self):
        return self.rig.start(env=self.env(), preload=("failcall",), args=MEMORY, expect=False)

    def log_fails(self):
        """The log itself cannot be written or synced: nothing may be acknowledged from then on. An interrupted
        call is made again."""
        return self.suffix == ".log" and self.error != "EINTR" and (self.call == "fdatasync" or self.error != "ENOSPC")


def judge_end(rig, case, what):
    """The exit code of a server that ended by itself."""
    code = rig.server.wait(END_S)
    rig.down_on_purpose = True
    rig.expect(code in CODES, f"{case}: {what} ended with {code}: {rig.log_tail()}")


def plain_start(rig):
    """The verdict of a start without faults is part of each case."""
    if rig.running():
        rig.kill()
    took = rig.start(args=MEMORY)
    rig.expect(took < 10, f"the start after a fault took {took:.1f} s")


def begin(rig, patient=False):
    """A server with data of some buckets, and clients that go on through all of it."""
    rig.start(args=MEMORY)
    rig.topic(partitions=4)
    for i in range(3):
        rig.client("produce", rate=800, size="200-3000", **({"handle": "send_timeout_ms=150"} if i == 0 and not patient else {}))
    rig.client("member", group="log")
    rig.client("worker", group="queue", nack=1)
    rig.client("read")
    rig.client("observe", group="log")
    return Asker(rig)


class Calls(Cell):
    """A call fails under load."""
    name, fault, guards = "calls", "F3", "G1-G5 G8 G10"
    quick, full, per_run = 12, 6000, 40
    needs_faults = ("call",)
    load = None
    acks = 4000  # most of the time the server is being started
    min_ok_percent = 20  # ... and one producer gives up soon
    counts = "call"
    may_exit = CODES

    def run(self, rig, cycles):
        asker = begin(rig)
        rig.pause(0.5, 1.0)
        cases = rig.rnd.sample(RUNNING, len(RUNNING))
        if rig.plan == "quick":  # the log itself always, the others as many as there is time for
            cases.sort(key=lambda c: c[1] != ".log")
        for i in range(cycles):
            call, suffix, most = cases[i % len(cases)]
            case = Case(rig, call, rig.rnd.choice(ERRORS), rig.rnd.choice(["once", "once", "sticky"]), suffix)
            self.cycle(rig, case, asker, rig.rnd.randint(1, rig.rnd.choice([most, min(most, 10)])))
            plain_start(rig)
            if rig.violations:
                break
            rig.pause(0.05, 0.3)

    def cycle(self, rig, case, asker, k):
        case.control.disarm()
        rig.kill()
        if case.start() is None:
            raise Broken(f"did not start with the shim at rest: {rig.log_tail()}")
        asker.connect()
        rig.pause(0.02, 0.3)
        fired = case.control.fired
        case.k = k
        case.control.arm(k)
        self.under_load(rig, case, asker, fired)
        if case.control.fired == fired:
            rig.expect(rig.running(), f"{case}: the server ended before anything failed: {rig.log_tail()}")
            return
        rig.fault("call")
        rig.fault(f"{case.call}_{case.error}")
        self.afterwards(rig, case, asker)

    def under_load(self, rig, case, asker, fired):
        """Until it fired and a moment longer. Nothing is acknowledged after the log failed."""
        until = time.monotonic() + 4
        after = None
        while rig.running() and time.monotonic() < (until if after is None else after):
            had_fired = case.control.fired > fired
            if had_fired and after is None:
                after = time.monotonic() + (END_S if case.log_fails() else 0.5)
            answer = asker.produce(2000)
            if had_fired and case.log_fails():
                rig.expect(answer == GONE or answer < 0, f"{case}: acknowledged offset {answer} after its log failed")
                if rig.violations:
                    return
            rig.sleep(0.002)

    def afterwards(self, rig, case, asker):
        if rig.running():
            case.control.disarm()
            rig.expect(not case.log_fails(), f"{case}: the server goes on after its log failed")
            took = asker.until_produced(SERVE_S)
            rig.expect(took is not None, f"{case}: neither serves nor ends: {rig.log_tail()}")
        if not rig.running():
            judge_end(rig, case, "the server")


class CallsAtStart(Cell):
    """k = 1, 2, 3 and so on, until a start has no failure."""
    name, fault, guards = "calls_at_start", "F3", "G1 G2 G4 G5"
    quick, full, per_run = 15, 3000, 250
    needs_faults = ("call",)
    load = None
    acks = 500  # the server is being started all the time
    counts = "call"
    may_exit = CODES
    min_ok_percent = 20  # ... and one producer gives up soon

    def run(self, rig, cycles):
        asker = begin(rig)
        rig.pause(1.5, 2.5)
        calls = rig.rnd.sample(STARTING, len(STARTING))
        step = 1
        if rig.plan == "quick":  # where it once went wrong, and others as many as there is time for
            calls.sort(key=lambda c: c not in STARTING[:4])
            step = 3
        n, at = 0, 0
        while n < cycles and not rig.violations:
            call, suffix = calls[at % len(calls)]
            case = Case(rig, call, rig.rnd.choice(ERRORS), rig.rnd.choice(["once", "sticky"]), suffix)
            at += 1
            case.k = 1 if suffix else rig.rnd.randint(1, step)
            fired = True
            while fired and n < cycles and not rig.violations:
                fired = self.cycle(rig, case, asker)
                case.k += rig.rnd.randint(1, 2 * step - 1)
                n += 1
                if rig.plan == "quick" and n % 2 == 0:
                    break  # of each kind a few
        plain_start(rig)
        rig.pause(1.0, 1.0)

    def cycle(self, rig, case, asker):
        fired = case.control.fired
        rig.kill()
        case.control.arm(case.k)
        took = case.start()
        hit = case.control.fired > fired
        case.control.disarm()
        if hit:
            rig.fault("call")
            rig.fault(f"{case.call}_{case.error}")
        if took is None:
            rig.expect(hit, f"{case}: did not start although nothing failed: {rig.log_tail()}")
            judge_end(rig, case, "the start")
        else:
            took = asker.until_produced(SERVE_S)
            rig.expect(took is not None, f"{case}: started, but neither serves nor ends: {rig.log_tail()}")
            if not rig.running():
                judge_end(rig, case, "the server")
        plain_start(rig)
        return hit


class Unnoticed(Cell):
    """Short and interrupted transfers: no client sees any of it."""
    name, fault, guards = "calls_unnoticed", "F3 F14", "G1-G5 G10 G13"
    quick, full, per_run = 3, 100, 10
    needs_faults = ("short",)
    load = None
    min_ok_percent = 95

    RULES = [("write+pwrite+writev+pwritev", "SHORT"), ("read+pread", "SHORT"), ("write+pwrite+writev+pwritev", "EINTR"),
             ("read+pread", "EINTR"), ("open+openat", "EINTR")]

    def run(self, rig, cycles):
        asker = begin(rig, patient=True)
        for i in range(cycles):
            call, error = self.RULES[i % 3 if rig.plan == "quick" else i % len(self.RULES)]
            case = Case(rig, call, error, "every")
            rig.kill()
            case.k = rig.rnd.choice([2, 3, 7])
            case.control.arm(case.k)
            fired = case.control.fired
            took = case.start()
            rig.expect(took is not None, f"{case}: did not start: {rig.log_tail()}")
            self.load_a_while(rig, case, asker)
            rig.fault("short", min(case.control.fired - fired, 1000))
            rig.expect(rig.running(), f"{case}: the server ended: {rig.server.poll()} {rig.log_tail()}")
            if rig.violations:
                break
        plain_start(rig)

    def load_a_while(self, rig, case, asker):
        asker.connect()
        until = time.monotonic() + rig.rnd.uniform(2, 4)
        while rig.running() and time.monotonic() < until and not rig.violations:
            answer = asker.produce(2000)
            rig.expect(answer != GONE and answer >= 0, f"{case}: producing was answered {answer}")
            rig.sleep(0.005)


CELLS = [Calls, CallsAtStart, Unnoticed]
