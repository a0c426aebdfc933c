"""F17: a store of an earlier format is opened, and the process dies in the middle of that, again and
again; in the end everything documented beside it is there. See golden/.
"""
import contextlib
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "golden")]
from rig import Cell  # noqa: E402
import golden as stores  # noqa: E402


OPTIONS = ("--memory", "16M", "--min-free", "1M")


class Golden(Cell):
    """A cycle is one death in a start on a golden store; then it is opened and read as a whole."""
    name, fault, guards = "golden", "F17", "G12"
    quick, full, per_run = 6, 200, 20
    load = None
    needs_faults = ("kill_start",)

    def run(self, rig, cycles):
        names = stores.names()
        for i in range(cycles):
            name = names[i % len(names)]
            doc = stores.unpack(name, rig.dir)
            for _ in range(rig.rnd.randrange(1, 4)):
                self.die_in_start(rig, rig.rnd.uniform(0, 0.15))
            rig.start(args=OPTIONS)
            for text in stores.Check(doc).run(f"weir://127.0.0.1:{rig.port}"):
                rig.violate(f"{name}: {text}")
            rig.kill("golden")

    @staticmethod
    def die_in_start(rig, seconds):
        server = subprocess.Popen([os.path.join(rig.server_dir, "weir-server"), "--data", rig.dir, "--listen", "127.0.0.1:0",
                                   "--http=", *OPTIONS], stdout=rig.log, stderr=rig.log)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
        server.kill()
        code = server.wait()
        rig.expect(code == -signal.SIGKILL, f"a start on a golden store ended with {code}: {rig.log_tail()}")
        if code == -signal.SIGKILL:
            rig.fault("kill_start")


CELLS = [Golden]
