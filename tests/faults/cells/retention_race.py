"""F16: deleting by size and age, with slow groups at the edge and reads inside what is being deleted.

What a group has not read stays; what was deleted is answered OUT_OF_RANGE, naming the range; a read
never begins behind what was asked for.
"""
import os
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")]
from rig import Cell  # noqa: E402
import inventory  # noqa: E402
import wire as w  # noqa: E402

PARTITIONS = 2
GROUPS = ("log", "queue")
UNREAD = 4200  # messages: more than a bucket of 4 MiB holds of one partition


class RetentionRace(Cell):
    """A cycle: a consumer of a group stands still for a while; all the time somebody reads at the edge."""
    name, fault, guards = "retention_race", "F16", "G9"
    quick, full, per_run = 4, 720, 40  # 5 s each: one hour
    needs_faults = ("trimmed", "held")
    trims = True
    load = None

    def run(self, rig, cycles):
        rig.start(args=["--memory", "16M", "--min-free", "1M"])
        rig.topic(partitions=PARTITIONS, retention__bytes="1M", retention__ms="1s")
        rig.usual_load(producers=2, rate=2000, readers=0, size="600-1400")
        slow = rig.of("member") + rig.of("worker")
        with w.Wire(f"weir://127.0.0.1:{rig.port}") as c:
            self.tid = c.call(w.METADATA, [["t"]])[2][0][1]
            self.start = [0] * PARTITIONS
            rig.pause(1, 1.5)
            for _ in range(cycles):
                client = rig.rnd.choice(slow)
                client.pause()
                self.watch(rig, c, rig.rnd.uniform(2, 4))
                client.resume()
                self.watch(rig, c, 2)
                if rig.violations:
                    break
        # the final read wants to read the same twice
        rig.weir("topic", "alter", "t", "--config", "retention.ms=0", "--config", "retention.bytes=0")

    def watch(self, rig, c, seconds):
        until = time.monotonic() + seconds
        trimmed = held = False
        while time.monotonic() < until:
            for p in range(PARTITIONS):
                start = inventory.span(c, self.tid, p)[0]
                trimmed = trimmed or start > self.start[p]
                rig.expect(start >= self.start[p], f"partition {p}: the log's start went back to {start}")
                self.start[p] = start
                held = self.kept(rig, c, p, start) or held
                self.read(rig, c, p, max(0, start + rig.rnd.randrange(-40, 40)))
            rig.sleep(0.01)
        if trimmed:
            rig.fault("trimmed")
        if held:
            rig.fault("held")

    def kept(self, rig, c, p, start):
        """No group is behind the start (asked first). True when one is so far behind that size and age
        alone would have deleted what it has to read."""
        held = False
        for group in GROUPS:
            for _, _, at, *_ in c.call(w.COMMITTED, [group, [[self.tid, p]]]):
                rig.expect(start <= at, f"partition {p}: deleted up to {start}, group {group} read to {at}")
                held = held or inventory.span(c, self.tid, p)[1] - at > UNREAD
        return held

    def read(self, rig, c, p, offset):
        answer = c.fetch(self.tid, p, offset, wait=0)
        if not answer:
            hw = inventory.span(c, self.tid, p)[1]
            rig.expect(offset >= hw - 200, f"partition {p}: nothing at {offset}, the log ends at {hw}")
            return
        _, _, err, _, _, run = answer[0]
        if err is not None:
            named = err[0] == w.OUT_OF_RANGE and (err[3]["log_start"] > offset or err[3]["hw"] < offset)
            rig.expect(named, f"partition {p}: offset {offset} is answered {err}")
            return
        at = None
        for base, count, _ in inventory.batches(run):
            good = base <= offset < base + count if at is None else base == at
            rig.expect(good, f"partition {p}: asked for {offset if at is None else at}, got {base}")
            at = base + count


CELLS = [RetentionRace]
