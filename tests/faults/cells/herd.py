"""Thousands of clients that all come back at the same moment."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from crowd import Herd, Pulse  # noqa: E402
from rig import Broken, Cell  # noqa: E402


class ReconnectHerd(Cell):
    """The server is killed and started while 5,000 clients hang on it (1,000 in the quick plan): all are
    served again soon, a producer among them waits at most seconds, nothing is lost."""
    name, fault, guards = "herd", "F10", "A1-A10"
    quick, full, per_run = 3, 100, 10
    needs_faults = ("herd",)
    load = {"rate": 500}
    acks = 2000  # one processor is busy with the herd
    QUICK, FULL = 1000, 5000
    WITHIN_S = 30

    def run(self, rig, cycles):
        n = self.FULL if rig.plan == "full" else self.QUICK
        herd = Herd("127.0.0.1", rig.port, n, rig.topics[0][0])
        pulse = Pulse(rig)
        try:
            if len(herd.heads) < n:
                raise Broken(f"room for {len(herd.heads)} connections, not {n}")
            if herd.all_served(self.WITHIN_S) is None:
                raise Broken("the herd was not served before anything happened")
            for i in range(cycles):
                pulse.slowest = 0
                rig.kill() if i % 2 == 0 else rig.term()
                herd.notice(10)
                rig.fault("herd")
                rig.restart()
                took = herd.all_served(self.WITHIN_S)
                rig.expect(took is not None, f"not all of {n} clients were served within {self.WITHIN_S} s")
                acks = pulse.acks
                rig.pause(0.5, 0.8)
                rig.expect(pulse.acks > acks, "a producer got no acknowledgement after the herd was back")
                rig.expect(pulse.slowest < 1, f"a producer waited {pulse.slowest:.2f} s for an acknowledgement")
                print(f"  {n} clients served again {took or 0:.2f} s after the start; "
                         f"slowest acknowledgement {pulse.slowest * 1000:.0f} ms", flush=True)
        finally:
            pulse.stop()
            herd.close()


CELLS = [ReconnectHerd]
