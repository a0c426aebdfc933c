"""F19: all kinds of faults, one after the other, for long. Memory, descriptors and disk stay where they are."""
import os
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from crowd import rss  # noqa: E402
from cells.network import FAST, ProxyClient  # noqa: E402
from rig import Cell  # noqa: E402

MIB = 1 << 20


def descriptors(pid):
    """Files and the like; sockets come and go with the clients."""
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            n += not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except FileNotFoundError:
            pass
    return n


def disk(top):
    """Bytes that a directory really takes."""
    total = 0
    for where, _, names in os.walk(top):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Soak(Cell):
    """A cycle is a fault and the quiet behind it: half a minute in the full plan, seconds in the quick one. In
    the first third the server is killed or ended now and then; later it is the same process to the end, whose
    memory is compared: the last quarter of that time with the first."""
    name, fault, guards = "soak", "F19", "A1-A10 G9 G13"
    quick, full, per_run = 9, 1440, 120  # an hour in one run
    needs_faults = ("stop", "swizzle", "rule")
    trims = True
    load = None
    min_ok_percent = 30
    FAULT_S = {"quick": (0.2, 0.8), "full": (3, 8)}
    QUIET_S = {"quick": (0.3, 0.8), "full": (15, 30)}
    RULES = ("rule cut op=any dir=both p=0.005", "rule lost_ack op=PRODUCE p=0.01", "rule lost_ack op=COMMIT p=0.02",
             "rule duplicate op=PRODUCE p=0.01", "rule stall op=any p=0.001 for=300",
             "rule hold op=SETTLE dir=up p=0.02 for=300", "set both jitter=2")
    GROWTH = 12 * MIB  # memory of the last quarter over that of the first; below it is noise of the allocator
    LONG = 60          # samples: less is too short a time for it
    FILES = 24         # descriptors: tables come and go
    DISK = 256 * MIB

    def run(self, rig, cycles):
        rig.start(args=["--memory", "16M", "--tail-cache", "4M", "--min-free", "1M"])
        rig.topic(retention__bytes="4M", retention__ms="5s")
        self.proxy = ProxyClient(rig)
        rig.via(self.proxy.url + FAST)
        rig.usual_load(producers=3, rate=600, readers=0, members=3, workers=3)
        rig.pause(0.5, 1)
        steps = [self.stop, self.swizzle, self.rule]  # each of them at least every third cycle, in any order
        memory, files, most = [], [], 0
        for i in range(cycles):
            if i % 3 == 0:
                rig.rnd.shuffle(steps)
            if i < cycles / 3 and rig.rnd.random() < .3:
                self.end(rig)
            steps[i % 3](rig)
            rig.pause(*self.QUIET_S[rig.plan])
            rig.expect(rig.running(), f"the server ended: {rig.log_tail()}")
            if rig.violations:
                return
            most = max(most, disk(rig.dir))
            if i >= cycles / 3:
                memory.append(rss(rig.server.pid))
                files.append(descriptors(rig.server.pid))
        self.judge(rig, memory, files, most)
        # the final read wants to read the same twice
        rig.weir("topic", "alter", "t", "--config", "retention.ms=0", "--config", "retention.bytes=0")

    def judge(self, rig, memory, files, most):
        n = max(1, len(memory) // 4)
        first, last = statistics.median(memory[:n]), statistics.median(memory[-n:])
        # caches fill in the first minutes; the memory of another build (a sanitizer's) follows other rules
        known = len(memory) >= self.LONG and rig.server_dir == rig.bin_dir
        rig.expect(not known or last - first < self.GROWTH, f"memory grew from {first / MIB:.1f} to {last / MIB:.1f} MiB")
        rig.expect(statistics.median(files[-n:]) - statistics.median(files[:n]) < self.FILES,
                   f"descriptors: {files[0]} at first, {files[-1]} at the end")
        rig.expect(most < self.DISK, f"the data took {most / MIB:.0f} MiB")
        print(f"  soak: memory {first / MIB:.1f} MiB, at the end {last / MIB:.1f}; descriptors {files[0]}, {files[-1]}; "
              f"at most {most / MIB:.0f} MiB of disk", flush=True)

    def last(self, rig):
        rig.pause(*self.FAULT_S[rig.plan])

    def end(self, rig):
        if rig.rnd.random() < .5:
            rig.kill()
        else:
            code, took = rig.term()
            rig.expect(code == 0 and took < 10, f"SIGTERM: exit {code} after {took:.1f} s")
            rig.fault("term")
        rig.restart()

    def stop(self, rig):
        """The server stands still, or is bothered by signals."""
        if rig.rnd.random() < .5:
            rig.stop_for(rig.rnd.uniform(*self.FAULT_S[rig.plan]))
        else:
            until = time.monotonic() + rig.rnd.uniform(*self.FAULT_S[rig.plan])
            while time.monotonic() < until and rig.running():
                os.kill(rig.server.pid, rig.rnd.choice((signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)))
                rig.sleep(0.001)
        rig.fault("stop")

    def swizzle(self, rig):
        """Clients stand still one by one, and go on in another order; some leave, others come."""
        here = [c for c in rig.clients if c.alive() and c.role in ("produce", "member", "worker")]
        rig.rnd.shuffle(here)
        still = here[:rig.rnd.randint(2, len(here) - 2)]
        for c in still:
            c.pause()
            rig.sleep(0.05)
        self.last(rig)
        rig.rnd.shuffle(still)
        for c in still:
            c.resume()
            rig.sleep(0.05)
        role = rig.rnd.choice(("member", "worker"))
        gone = next(c for c in rig.of(role))
        gone.stop()
        gone.wait()
        rig.client(role, group="log" if role == "member" else "queue")
        rig.fault("swizzle")

    def rule(self, rig):
        """The network is bad in one way."""
        self.proxy.say(rig.rnd.choice(self.RULES))
        self.last(rig)
        self.proxy.say("heal")
        rig.fault("rule")


CELLS = [Soak]
