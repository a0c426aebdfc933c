"""Members that were members (F6, F15): a commit with an epoch that is over, on a connection that lives."""
import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Cell  # noqa: E402
import churn  # noqa: E402,F401 (the way to wire)
import wire as w  # noqa: E402


class Stale(Cell):
    """A raw member of the group of the load joins, is given partitions, leaves or joins anew, and then commits
    as if nothing had been: refused, and the group's positions stay where its members put them."""
    name, fault, guards = "stale", "F6 F15", "G7 G8 A7 A8"
    quick, full, per_run = 20, 1000, 100
    needs_faults = ("stale_commit",)
    load = {"rate": 1000, "members": 2, "workers": 1}

    def run(self, rig, cycles):
        rig.pause(0.5, 1)
        with w.Wire(f"weir://127.0.0.1:{rig.port}") as c:
            for _ in range(cycles):
                self.one(rig, c)
        rig.pause(0.5, 0.5)

    def one(self, rig, c):
        m = w.Member(c, "log", ["t"])
        for _ in range(200):
            m.heartbeat()
            if m.parts:
                break
            rig.sleep(0.01)
        old, parts = m.epoch, dict(m.parts)
        rig.expect(parts, "a new member is given nothing for 2 s")
        m.leave()
        again = rig.rnd.random() < .3
        if again:  # the same name, a new life: what the old one holds is not its own
            m.join()
        rig.pause(0.05, 0.3)
        for (tid, p), at in parts.items():
            code = self.commit(m, old, [[tid, p, at + rig.rnd.randrange(0, 3), None]])
            rig.expect(code != 0, f"partition {p}: a commit with epoch {old} was taken after that was over")
            rig.fault("stale_commit")
        if again:
            m.leave()

    @staticmethod
    def commit(m, epoch, items):
        """The code that refused it, 0 = taken."""
        try:
            answer = m.commit(items, epoch=epoch)
            return 0 if answer[0] is None else answer[0][0]
        except w.Refused as e:
            return e.code


CELLS = [Stale]
