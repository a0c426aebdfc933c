"""F4, F4b: a disk that is full, has no inodes left, or turns read-only, under a real load.

The broker's data lies on an ext4 image of its own (lib/smalldisk.py); clients' histories do not. Where
images cannot be mounted the runs are invalid.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Broken, Cell, Unfit  # noqa: E402
import smalldisk  # noqa: E402
import bare  # noqa: E402,F401  (finds wire.py)
import wire as w  # noqa: E402

STORAGE_FULL, INDETERMINATE = 13, 14
RESUME_S, ANSWER_S = 10, 8
MIB = 1 << 20
MEMORY = ("--memory", "16M")  # buckets of 4 MiB: files come and go often


def small_disk(rig, **kw):
    try:
        return smalldisk.under(rig, **kw)
    except smalldisk.NotPermitted as e:
        raise Unfit(f"needs root and loop devices: {e}") from e


class Probe:
    """A client of the test's own: it produces, reads and commits by hand and sees each answer."""

    def __init__(self, rig):
        self.rig = rig
        rig.weir("topic", "create", "probe", "--partitions", "1")
        self.id = os.urandom(16)
        self.connect()

    def connect(self):
        self.wire = w.Wire(f"weir://127.0.0.1:{self.rig.port}", timeout=ANSWER_S)
        found = self.wire.call(w.METADATA, [["probe", "t"]])[2]
        self.tid, self.main = found[0][1], found[1][1]
        self.member = w.Member(self.wire, "probe", ["probe"], member=self.id)
        return self

    def produce(self, size=100):
        """The offset, or the code of the refusal as a negative number."""
        try:
            return self.wire.produce(self.tid, 0, [w.record(None, bytes(size))])[0]
        except w.Refused as e:
            return -e.code

    def read(self):
        """The first batch of the main topic still comes; and where its log starts."""
        answer = self.wire.fetch(self.main, 0, 0, wait=1000)
        if not answer:
            return False, 0
        _, _, err, _, start, run = answer[0]
        return err is None and len(run) > 0, start

    def commit(self, offset):
        """0, or the code of the refusal."""
        try:
            err = self.member.commit([[self.tid, 0, offset]])[0]
        except w.Refused as e:
            return e.code
        return 0 if err is None else err[0]


class DiskFull(Cell):
    """Filled by a foreign file, by producing, without inodes, full at a start; then freed."""
    name, fault, guards = "disk_full", "F4", "G1-G5 G8 G9"
    quick, full, per_run = 3, 100, 10
    needs_faults = ("full",)
    load = None
    min_ok_percent = 10  # most of the time there is no room
    acks = 1000          # same reason

    KINDS = ("foreign", "produce", "inodes", "start")

    def run(self, rig, cycles):
        disk = small_disk(rig, mib=256, inodes=1024)
        soft = rig.rnd.choice([1, 8 * MIB])
        rig.start(args=[*MEMORY, "--min-free", str(soft)])
        rig.topic(partitions=4)
        rig.usual_load(producers=2, rate=400)
        probe = Probe(rig)
        kinds = list(self.KINDS)
        rig.rnd.shuffle(kinds)
        self.slowest = 0
        for i in range(cycles):
            kind = kinds[i % len(kinds)]
            rig.pause(0.3, 1.0)
            self.cycle(rig, disk, probe, kind, soft)
            if kind == "start":
                probe.connect()
            if rig.violations:
                break
        print(f"  disk_full: slowest return to producing {self.slowest:.1f} s", flush=True)

    def cycle(self, rig, disk, probe, kind, soft):
        last = probe.produce()
        rig.expect(last >= 0, f"{kind}: refused with {-last} while there is room")
        self.make_full(rig, disk, probe, kind, soft)
        if kind == "start":
            self.start_full(rig, disk, soft)
            return
        self.while_full(rig, probe, kind, last, disk)
        rig.pause(0.2, 2.0)
        rig.expect(rig.running(), f"{kind}: the server ended: {rig.log_tail()}")
        disk.empty()
        began = time.monotonic()
        while rig.running() and probe.produce() < 0 and time.monotonic() - began < 2 * RESUME_S:
            rig.sleep(0.05)
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        rig.expect(took <= RESUME_S, f"{kind}: producing took {took:.1f} s to come back")

    def make_full(self, rig, disk, probe, kind, soft):
        """Until producing is refused (inodes: until files cannot be made)."""
        if kind == "inodes":
            disk.take_inodes()
            rig.expect(disk.free_inodes() == 0, f"{disk.free_inodes()} inodes are left")
        else:
            leave = 0 if kind in ("foreign", "start") else soft + rig.rnd.randrange(1, 6) * MIB
            disk.fill(leave)
        rig.fault("full")
        rig.fault(f"full_{kind}")
        answer, n = 0, 0
        until = time.monotonic() + 20
        limit = 10 * MIB if kind == "inodes" else 64 * MIB
        while answer >= 0 and n < limit and time.monotonic() < until:
            answer = probe.produce(200000)
            n += 200000
        if kind != "inodes" or answer < 0:
            rig.expect(answer == -STORAGE_FULL, f"{kind}: a full disk is answered {answer} after {n} bytes")

    def while_full(self, rig, probe, kind, last, disk):
        good, start = probe.read()
        rig.expect(good, f"{kind}: reading stopped")
        rig.expect(start == 0, f"{kind}: unread data was deleted, the log starts at {start}")
        room = 0 if kind == "inodes" else disk.free()  # refused by min_free only: commits go on
        code = probe.commit(last)
        rig.expect(code == 0 or (code == STORAGE_FULL and room < 4 * MIB),
                   f"{kind}: with {room} bytes free a commit is answered {code}")

    def start_full(self, rig, disk, soft):
        """Dies while full; a start says why not, or serves; after space all is well."""
        rig.kill()
        disk.fill(0)
        took = rig.restart(expect=False)
        if took is None:
            rig.server.wait()
            rig.expect(rig.server.returncode == 74 and "STORAGE_FULL" in rig.log_tail(),
                       f"a start on a full disk: exit {rig.server.returncode}: {rig.log_tail()}")
        else:
            rig.kill("kill_full")
        disk.empty()
        rig.restart(expect=True)


class ReadOnly(Cell):
    """The journal is aborted, or the file system shut down, under load: nothing is acknowledged from then
    on; after fsck all is there."""
    name, fault, guards = "read_only", "F4b", "G1-G5 G8"
    quick, full, per_run = 3, 50, 10
    needs_faults = ("taken",)  # by an abort and by a shutdown, in turns
    acks = 3000        # most of the time it is down
    load = None
    may_exit = (70, 74, -signal.SIGABRT)

    def run(self, rig, cycles):
        disk = small_disk(rig, mib=256, inodes=4096)
        rig.start(args=[*MEMORY, "--min-free", "1M"])
        rig.topic(partitions=4)
        rig.usual_load(producers=2, rate=1500)
        probe = Probe(rig)
        for i in range(cycles):
            if i > 0:
                probe.connect()
            rig.pause(0.3, 2.0)
            if i % 2 == 0:
                disk.abort(rig.server)
                rig.fault("abort")
            else:
                disk.shutdown()
                rig.fault("shutdown")
            rig.fault("taken")
            self.until_stopped(rig, probe)
            if rig.running():
                rig.kill()
            disk.unmount()
            disk.fsck()
            disk.mount()
            rig.restart(expect=True)
            if rig.violations:
                break

    def until_stopped(self, rig, probe):
        """The server ends, or refuses; both are fail-stop. Acknowledging is neither."""
        began = time.monotonic()
        while rig.running() and time.monotonic() - began < 10:
            try:
                if probe.produce() < 0:
                    return
            except (w.Closed, OSError):
                pass
            rig.sleep(0.01)
        rig.expect(not rig.running(), "the server acknowledges 10 s after its disk was taken away")


CELLS = [DiskFull, ReadOnly]
