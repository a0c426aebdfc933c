"""Deleting by size while it is read (F16): readers that stand still are overtaken by the log's start.

What they missed they must be told (OUT_OF_RANGE); a reader that goes on behind a gap without a word has
been lied to.
"""
import os
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Broken, Cell  # noqa: E402
import churn  # noqa: E402,F401 (the path to wire)
import wire as w  # noqa: E402

MORE_THAN_BUFFERED = 12000  # messages that neither sockets nor the library's window hold
START, END = -1, -2


class Retention(Cell):
    """A cycle: a reader stands still until the log begins far behind what it was given, then goes on."""
    name, fault, guards = "retention", "F16", "G9 A1 A9"
    quick, full, per_run = 3, 300, 20
    needs_faults = ("overtaken",)
    load = None

    def run(self, rig, cycles):
        rig.start(args=["--memory", "16M", "--min-free", "1M"])
        rig.topic(partitions=2, retention__bytes="2M")
        rig.usual_load(members=0, workers=0, readers=0, rate=1500, size="400-1000")
        readers = [rig.client("read") for _ in range(2)]
        with w.Wire(f"weir://127.0.0.1:{rig.port}") as c:
            tid = c.call(w.METADATA, [["t"]])[2][0][1]
            rig.pause(0.5, 1)
            for _ in range(cycles):
                reader = rig.rnd.choice(readers)
                reader.pause()
                self.until_overtaken(rig, c, tid)
                reader.resume()
                rig.pause(0.5, 1.5)

    @staticmethod
    def ends(c, tid, which):
        return [a[3] for a in c.call(w.LIST_OFFSETS, [[[tid, p, which] for p in (0, 1)]])]

    def until_overtaken(self, rig, c, tid):
        goal = [hw + MORE_THAN_BUFFERED for hw in self.ends(c, tid, END)]
        until = time.monotonic() + 60
        while any(at < to for at, to in zip(self.ends(c, tid, START), goal)):
            if time.monotonic() > until:
                raise Broken("retention does not move the start of the log")
            rig.sleep(0.05)
        rig.fault("overtaken")


CELLS = [Retention]
