"""The server is replaced under load (F17, and the upgrade of issue 4): SIGTERM to one build, start of the other on
the same port and data, with clients of the previous build.

The other build is named by `run.py --build old=DIR` or WEIR_OLD_BIN_DIR, for instance built from a tag in a
worktree of its own; when weir-load was built with it (tests/faults/load and history copied over), the clients
are its as well. Without it both are the same build, which shows the drain and the hand-over but no difference
of versions.
"""
import os
import subprocess

from rig import Cell, Unfit


class Upgrade(Cell):
    """Old, new, old, new ...: every second start is a step back, which must work as well, or be refused
    without harm."""
    name, fault, guards = "upgrade", "F17", "G12 G14 A1-A10"
    quick, full, per_run = 4, 400, 40
    needs_faults = ("replaced",)
    load = None
    DRAIN_S = 10

    def old_bin_dir(self, rig):
        return getattr(rig, "builds", {}).get("old") or os.environ.get("WEIR_OLD_BIN_DIR")

    @staticmethod
    def prefix(bin_dir):
        """A build that does not know the setting `http` yet is started without."""
        said = subprocess.run([os.path.join(bin_dir, "weir-server"), "--help"], capture_output=True, check=True).stdout
        if b"--http" in said:
            return []
        return ["sh", "-c", 'for a do shift; [ "$a" = --http= ] || set -- "$@" "$a"; done; exec "$@"', "sh"]

    def run(self, rig, cycles):
        old, new = self.old_bin_dir(rig), rig.server_dir
        if not old and rig.plan == "full":
            raise Unfit("needs --build old=DIR: one build both ways is no upgrade")
        old = old or new
        prefix = {d: self.prefix(d) for d in (old, new)}
        rig.start(bin_dir=old, prefix=prefix[old])
        rig.topic()
        make = rig.client
        # Clients of the previous build, as far as it has them: weir-load is as old as this suite.
        clients = old if os.path.exists(os.path.join(old, "weir-load")) else None
        rig.client = lambda role, **more: make(role, bin_dir=clients, **more)
        rig.usual_load(rate=1500)
        rig.client = make
        running, before = old, 0
        for i in range(cycles):
            rig.pause(0.3, 1.5)
            if rig.rnd.random() < 0.15:
                rig.kill()
            else:
                code, took = rig.term()
                rig.expect(code == 0, f"SIGTERM of {running}: exit {code}")
                rig.expect(took < self.DRAIN_S, f"the drain took {took:.1f} s")
            running = new if running == old and i % 2 == 0 else old
            took = rig.restart(bin_dir=running, prefix=prefix[running])
            rig.fault("replaced")
            before = max(before, took)
        if running != new:
            rig.pause(0.2, 0.4)
            rig.term()
            rig.restart(bin_dir=new, prefix=prefix[new])
        rig.pause(0.5, 0.5)
        print(f"  {'two builds' if old != new else 'one build both ways'}; slowest start {before:.2f} s", flush=True)


CELLS = [Upgrade]
