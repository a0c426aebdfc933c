"""kill -9 at random moments, and power cuts (F1, F2)."""
from rig import Cell


class Kill9(Cell):
    """The server dies at a random moment and is started again, over and over."""
    name, fault, guards = "kill9", "F1", "G1-G5 G8"
    quick, full, per_run = 6, 1000, 25
    needs_faults = ("kill",)

    def run(self, rig, cycles):
        for _ in range(cycles):
            rig.pause(0.005, 1.5)
            rig.kill()
            rig.pause(0, 0.1)
            took = rig.restart()
            rig.expect(took < 10, f"restart took {took:.1f} s")
        rig.pause(0.5, 0.5)


class PowerCut(Cell):
    """What was not synced is gone: truncated, in part, garbled or zeroed; names undone as POSIX allows."""
    name, fault, guards = "power", "F2", "G1 G2 G4 G5"
    quick, full, per_run = 5, 4000, 25
    needs_faults = ("power",)
    power = True

    def run(self, rig, cycles):
        for _ in range(cycles):
            rig.pause(0.05, 1.2)
            rig.power_cut()
            rig.restart()
        rig.pause(0.5, 0.5)


class PowerWritten(PowerCut):
    """The same with a topic whose messages are acknowledged when written: only a tail may go."""
    name = "power_written"
    quick, full = 3, 200
    load = {"level": "written", "members": 0, "workers": 0}
    config = {"durability": "os"}


CELLS = [Kill9, PowerCut, PowerWritten]
