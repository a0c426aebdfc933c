#!/usr/bin/env python3
"""The suite is tested: servers with one promise broken on purpose (-DWEIR_BUG=NAME) must be caught.

mutants.py --bin-dir DIR [--mutants A,B] [--limit 200] [--no-build] [--jobs N]

Each mutant is built into build/mutants/NAME (kill points included, so that every cell can attack it)
and goes through the cells of the plan with fresh seeds, those that attack its promise first, until one
run finds a violation or the limit of cycles is reached. The same clients and the same weir-check serve
all. The server as it is goes through the same cells and must stay clean.

Prints a table: mutant, the cell that caught it, what was found, cycles until then, the seed.
Exit code: 0 all caught and the sound server clean, 1 one survived or the sound server did not stay
clean, 2 something could not be run.
"""
import argparse
import os
import secrets
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import run as suite  # noqa: E402

# What each one breaks is in docs/TESTING.md. The cells named here come first; all others follow.
MUTANTS = {
    "ACK_BEFORE_SYNC": ["power", "kill_points"],
    "SKIP_SYNC": ["power", "kill_points"],
    "HW_EARLY": ["power", "kill_points"],
    "DEDUPE_RAM_ONLY": ["kill9", "lost_ack"],
    "OFFSET_REUSE": ["kill9"],
    "COMMIT_NO_FENCE": ["stale", "zombies", "churn"],
    "WALLCLOCK_LEASE": ["clock_jumps"],
    "SILENT_RESET": ["retention_race"],
    "COMMIT_BEFORE_DURABLE": ["kill9", "churn"],
    "LEASE_NOT_DURABLE": ["kill9", "drain"],
    "GRANT_EARLY": ["power_handover", "power_members"],
    "ACKED_NOT_WRITTEN": ["kill9", "churn"],
    "BLIND1": ["power_resend"],
    "BLIND2": [],  # written without a look at the suite: no cell of its own
    "BLIND3": ["rejoin"],
    "BLIND4": ["leases"],
}
# Cells that cannot tell one server from another: they start stores of their own, or hold for minutes.
NOT_USED = ("corrupt", "pause_long")
CYCLES = 20  # of one run, at most


def build(name, jobs):
    """Builds weir-server with that bug ("" = none). Returns its bin folder."""
    where = os.path.join(ROOT, "build", "mutants", name or "SOUND")
    os.makedirs(where, exist_ok=True)
    config = ["cmake", "-S", ROOT, "-B", where, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", f"-DWEIR_BUG={name}",
              "-DWEIR_KILLPOINTS=ON", "-DWEIR_BUILD_TESTS=OFF", "-DWEIR_BUILD_BENCH=OFF"]
    if any(os.access(os.path.join(d, "ccache"), os.X_OK) for d in os.environ["PATH"].split(":")):
        config.append("-DCMAKE_C_COMPILER_LAUNCHER=ccache")
    with open(os.path.join(where, "build.log"), "wb") as log:
        for command in (config, ["cmake", "--build", where, "--target", "weir-server", "-j", str(jobs)]):
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                sys.exit(f"mutants.py: {name or 'the sound server'} does not build, see {log.name}")
    return os.path.join(where, "bin")


def found(result):
    """What was found, in a few words."""
    names = sorted(k for k, v in result.figures.get("anomalies", {}).items() if v)
    if names:
        return " ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    lines = [t for t in result.text.splitlines() if t.startswith("violation: ")]
    return lines[0].removeprefix("violation: ")[:60] if lines else "?"


class Trial:
    """One server against the cells."""

    def __init__(self, name, server_dir, cells, options):
        self.name, self.cells, self.o = name, cells, options
        self.o.server_dir = server_dir
        self.o.builds = {"killpoints": server_dir}
        self.cycles = self.runs = self.invalid = 0
        self.row = None

    def step(self, cell):
        """One run. True: something was found."""
        whole = cell.needs_build or not self.name  # the sound server has no cycles to save
        n = cell.quick or 1 if whole else min(cell.quick or 1, cell.per_run, CYCLES)
        seed = secrets.randbelow(1 << 31)
        began = time.monotonic()
        r = suite.one_run(cell, seed, n, self.o)
        self.runs += 1
        self.cycles += n
        self.invalid += r.code == suite.INVALID
        suite.say(f"  {self.name or 'sound server':22} {cell.name:14} seed {seed:10}  cycles {n:4} "
                  f"{time.monotonic() - began:6.1f} s  {suite.WORDS[r.code]} {found(r) if r.code == 1 else ''}")
        if r.code == suite.VIOLATION and r.figures.get("counts", {}).get("ok", 0) == 0:
            sys.exit(f"mutants.py: {self.name or 'the sound server'} does not work at all: {r.text.strip()[-300:]}")
        if r.code == suite.INVALID:
            why = [t for t in r.text.splitlines() if t.startswith("invalid: ")] or r.text.strip().splitlines()[-1:]
            suite.say("    " + why[0])
        if r.code == suite.VIOLATION:
            self.row = (self.name or "(none)", cell.name, found(r), self.cycles, seed)
        return self.row is not None

    def hunt(self, first, limit):
        """Until it is caught. The cells that attack it first come twice before all others do."""
        mine = [self.cells[n] for n in first if n in self.cells]
        rest = [c for c in self.cells.values() if c.name not in first]
        while self.cycles < limit:
            for cell in (mine or rest) * 2 + rest:
                if self.cycles >= limit or self.step(cell):
                    return
        return


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin-dir", required=True, help="clients and weir-check")
    p.add_argument("--mutants", help="names, separated by commas (default: all); NONE = the sound server only")
    p.add_argument("--cells", help="only these cells")
    p.add_argument("--limit", type=int, default=200, help="cycles after which a mutant has survived")
    p.add_argument("--no-build", action="store_true", help="take build/mutants/* as they are")
    p.add_argument("--no-sound", action="store_true", help="leave out the server as it is")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--data-dir")
    o = p.parse_args()
    o.plan, o.keep = "quick", False
    o.keep_dir = os.path.join(ROOT, "build", "mutants", "kept")
    return o


def main():
    o = parse()
    cells = {n: c for n, c in suite.load_cells().items() if n not in NOT_USED}
    if o.cells:
        cells = {n: cells[n] for n in o.cells.split(",")}
    names = [n for n in (o.mutants.split(",") if o.mutants else MUTANTS) if n != "NONE"]
    table, survived = [], []
    for name in names:
        server = os.path.join(ROOT, "build", "mutants", name, "bin") if o.no_build else build(name, o.jobs)
        t = Trial(name, server, cells, o)
        t.hunt(MUTANTS.get(name, []), o.limit)
        table.append(t.row or (name, "-", "SURVIVED", t.cycles, "-"))
        if t.row is None:
            survived.append(name)
    if not o.no_sound:
        server = os.path.join(ROOT, "build", "mutants", "SOUND", "bin") if o.no_build else build("", o.jobs)
        t = Trial("", server, cells, o)
        for cell in cells.values():
            if cell.name in {n for first in MUTANTS.values() for n in first}:
                t.step(cell)
        table.append(t.row or ("(none)", "-", "clean" if t.invalid == 0 else f"{t.invalid} runs invalid", t.cycles, "-"))
        if t.row or t.invalid:
            survived.append("the sound server is not clean")
    suite.say(f"\n{'mutant':22} {'caught by':14} {'found':64} {'cycles':>6} {'seed':>11}")
    for row in table:
        suite.say(f"{row[0]:22} {row[1]:14} {row[2]:64} {row[3]:6} {row[4]:>11}")
    suite.say(f"{len(names) - sum(n in survived for n in names)} of {len(names)} mutants caught"
              + ("; " + ", ".join(survived) if survived else ""))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
