#!/usr/bin/env python3
"""The fault suite: breaks a real weir-server in every way of cells/ and has weir-check judge.

run.py --bin-dir DIR [--plan quick|full] [--cells a,b] [--seed N] [--minutes M]
run.py --bin-dir DIR --replay CELL:SEED:CYCLES     the same decisions again
run.py --list                                      what there is
run.py --totals                                    what the ledger adds up to

Exit code: 0 clean, 1 a promise was broken, 2 too little happened to say: a run was invalid, a cell of the plan
was not reached without --minutes, or not one cell could be run.
The full plan goes on where the ledger says it stopped; --minutes bounds one sitting.
"""
import argparse
import collections
import importlib
import os
import pkgutil
import re
import secrets
import subprocess
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import rig as rigs  # noqa: E402
from ledger import Ledger  # noqa: E402

CLEAN, VIOLATION, INVALID, UNFIT, NOT_REACHED = 0, 1, 2, 3, 4
WORDS = {CLEAN: "clean", VIOLATION: "VIOLATION", INVALID: "INVALID", UNFIT: "NOT RUN", NOT_REACHED: "not reached"}
LEAST = 3  # a fault that fired less often proves nothing


def load_cells():
    found = {}
    for m in sorted(pkgutil.iter_modules([os.path.join(HERE, "cells")]), key=lambda m: m.name):
        for cls in getattr(importlib.import_module(f"cells.{m.name}"), "CELLS", []):
            found[cls.name] = cls
    return found


class Result:
    def __init__(self, code, cycles, figures, text, kept=None):
        self.code, self.cycles, self.figures, self.text, self.kept = code, cycles, figures, text, kept


def one_run(cell, seed, cycles, options):
    """One broker's life under one seed, and the verdict. Whatever goes wrong around it makes it invalid."""
    try:
        return life(cell, seed, cycles, options)
    except rigs.Unfit as e:
        return unfit(options, e)
    except Exception:  # noqa: BLE001
        return Result(INVALID, 0, {"faults": {}}, f"invalid: {traceback.format_exc()}")


def unfit(options, why):
    return Result(INVALID if options.plan == "full" else UNFIT, 0, {"faults": {}}, f"not run: {why}\n")


def life(cell, seed, cycles, options):
    cell = cell()
    server_dir = options.builds[cell.needs_build] if cell.needs_build else options.server_dir or options.bin_dir
    rig = rigs.Rig(cell, seed, options.bin_dir, options.data_dir, options.plan, server_dir)
    rig.builds = options.builds
    trouble = None
    try:
        if cell.load is not None:
            rig.start()
            rig.topic(**cell.config)
            rig.usual_load(**cell.load)
        cell.run(rig, cycles)
        if rig.topics:
            rig.finish()
    except rigs.Unfit as e:
        rig.close()
        rig.discard()
        return unfit(options, e)
    except (rigs.Broken, OSError, subprocess.SubprocessError) as e:
        trouble = f"{type(e).__name__}: {e}"
    except Exception:  # noqa: BLE001 - a cell that fails makes its run invalid, not the plan
        trouble = traceback.format_exc()
    finally:
        if trouble:
            rig.look_at_end()  # the cell may have stumbled over a server that had ended
        rig.close()
    code, text, figures = rig.check(options.plan) if rig.topics else (CLEAN, "", {})
    reasons = [f"fault {n} fired {rig.faults.get(n, 0)} times, not {LEAST}" for n in cell.needs_faults
               if rig.faults.get(n, 0) < LEAST]
    if code not in (CLEAN, VIOLATION, INVALID):
        reasons.append(f"weir-check ended with {code}")
    if trouble:
        reasons.append(trouble)
    if reasons:
        code = VIOLATION if code == VIOLATION else INVALID
        text += "".join(f"invalid: {r}\n" for r in reasons)
    if rig.violations:
        code, text = VIOLATION, text + "".join(f"violation: {v}\n" for v in rig.violations)
    kept = None
    if code != CLEAN or options.keep:
        kept = rig.keep(options.keep_dir)
    else:
        rig.discard()
    if cell.counts:  # a cycle in which nothing fired is none
        cycles = min(cycles, rig.faults.get(cell.counts, 0))
    return Result(code, cycles, figures | {"faults": rig.faults}, text, kept)


def say(*words):
    print(*words, flush=True)


def reasons(text):
    """Why a run was not clean, broken promises first; what a server logged at its end is part of a reason."""
    parts = re.split(r"^(?=violation:|invalid:)", text, flags=re.MULTILINE)
    return [p.rstrip() for kind in ("violation:", "invalid:") for p in parts if p.startswith(kind)]


class Sitting:
    """The runs of one call: cells take turns, so that a sitting cut short has done some of each."""

    def __init__(self, cells, wanted, options, ledger):
        self.cells, self.options, self.ledger = cells, options, ledger
        self.left = {name: n for name, n in wanted.items() if n > 0}
        self.turn = collections.deque(self.left)
        self.runs = dict.fromkeys(self.left, 0)
        self.codes = dict.fromkeys(self.left, NOT_REACHED)
        self.again = set()  # cells of the quick plan that were invalid once
        self.why = {}       # cell -> the reasons of its last run that was not clean
        self.deadline = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
        self.lock = threading.Lock()

    def work(self):
        while True:
            with self.lock:
                if not self.turn or time.monotonic() > self.deadline:
                    return
                name = self.turn.popleft()
                seed = self.options.first_seed + self.runs[name]
                self.runs[name] += 1
            cell = self.cells[name]
            n = self.left[name]
            if self.options.plan == "full":  # a rest of one or two would be too little to say anything
                n = min(cell.per_run, n) if self.options.cycles else cell.per_run
            began = time.monotonic()
            r = one_run(cell, seed, n, self.options)
            with self.lock:
                self.tell(name, seed, n, r, time.monotonic() - began)
                if self.may_try_again(name, r):
                    say(f"{name:18} too little happened: once more, with another seed")
                    self.codes[name] = NOT_REACHED
                    self.turn.append(name)
                    continue
                self.left[name] -= r.cycles if r.code == CLEAN and self.options.plan == "full" else n
                if self.left[name] > 0 and (r.code == CLEAN or self.options.go_on):
                    self.turn.append(name)

    def may_try_again(self, name, r):
        """Invalid says nothing about the broker. In the quick plan, which has one run of each cell, such a one is
        repeated once; a cell that is invalid twice is broken."""
        if r.code != INVALID or self.options.plan != "quick" or name in self.again:
            return False
        self.again.add(name)
        return True

    def tell(self, name, seed, cycles, r, took):
        faults = " ".join(f"{k}={v}" for k, v in sorted(r.figures["faults"].items()))
        say(f"{name:18} seed {seed}  cycles {cycles:4}  acked {r.figures.get('ok', 0):8}  {faults}  {took:6.1f} s  "
            f"{WORDS[r.code]}")
        self.ledger.add(name, seed, r, took)
        if r.code == CLEAN:
            self.codes[name] = CLEAN if self.codes[name] == NOT_REACHED else self.codes[name]
        else:
            say(r.text)
            self.why[name] = reasons(r.text)
            if r.kept:
                say(f"kept: {r.kept}\nagain: {self.options.again} --replay {name}:{seed}:{cycles}")
            self.codes[name] = VIOLATION if VIOLATION in (self.codes[name], r.code) else r.code

    def run(self, jobs):
        workers = [threading.Thread(target=self.work) for _ in range(jobs)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        late = NOT_REACHED if self.options.minutes else INVALID
        return {name: late if code == NOT_REACHED else code for name, code in self.codes.items()}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin-dir")
    p.add_argument("--server-dir", help="where weir-server is, when it is another build")
    p.add_argument("--build", action="append", default=[], metavar="NAME=DIR", help="bin folder of a special build")
    p.add_argument("--plan", choices=["quick", "full"], default="quick")
    p.add_argument("--cells", help="names, separated by commas (default: all)")
    p.add_argument("--seed", type=int)
    p.add_argument("--minutes", type=float, default=0)
    p.add_argument("--cycles", type=int, help="in place of the plan's number")
    p.add_argument("--replay", metavar="CELL:SEED:CYCLES")
    p.add_argument("--data-dir", help="where the brokers keep their data (default: the temporary directory)")
    p.add_argument("--keep", action="store_true", help="keep also what is clean")
    p.add_argument("--keep-dir", default=os.path.join(os.getcwd(), "build", "faults"))
    p.add_argument("--go-on", action="store_true", help="go on after a violation")
    p.add_argument("--ledger", default=os.path.join(HERE, "ledger.tsv"), help="where the full plan adds up")
    p.add_argument("--no-ledger", action="store_true", help="do not add what was run")
    p.add_argument("--jobs", type=int, default=2, help="brokers at the same time (default 2)")
    p.add_argument("--list", action="store_true")
    p.add_argument("--totals", action="store_true")
    o = p.parse_args()
    o.builds = dict(b.split("=", 1) for b in o.build)
    again = [("--bin-dir", o.bin_dir), ("--server-dir", o.server_dir), *(("--build", b) for b in o.build), ("--plan", o.plan)]
    o.again = " ".join(["run.py", *(word for pair in again if pair[1] for word in pair)])
    first = o.seed if o.seed is not None else secrets.randbelow(1 << 31)
    o.first_seed = first
    return o


def stop(text):
    say(f"run.py: {text}")
    sys.exit(INVALID)


def build_trouble(bin_dir):
    """Why what this build shows cannot count for this source; None when it can."""
    build = os.path.dirname(os.path.abspath(bin_dir))
    try:
        with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as f:
            cache = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line and line[0] not in "#/")
    except OSError:
        return f"{bin_dir} is not of a build of this source"
    if os.path.realpath(cache.get("CMAKE_HOME_DIRECTORY:INTERNAL", "")) != os.path.realpath(ROOT):
        return f"{bin_dir} is a build of another source"
    if cache.get("WEIR_BUG:STRING"):
        return f"{bin_dir} is broken on purpose: {cache['WEIR_BUG:STRING']}"
    r = subprocess.run(["ninja", "-C", build, "-n", "weir-server"], capture_output=True, text=True, check=False)
    return None if "no work to do" in r.stdout else f"{bin_dir} is not built from the source as it is"


def counts_for_the_ledger(options):
    """Only what the present source does may be added up."""
    if options.server_dir:
        return False
    for bin_dir in [options.bin_dir, *(d for name, d in options.builds.items() if name != "old")]:
        why = build_trouble(bin_dir)
        if why:
            stop(f"{why}: build it, or say --no-ledger")
    return True


def exit_code(codes):
    if VIOLATION in codes.values():
        return VIOLATION
    return INVALID if INVALID in codes.values() or (codes and CLEAN not in codes.values()) else CLEAN


def main():
    options = parse()
    cells = load_cells()
    if options.list:
        for c in cells.values():
            say(f"{c.name:18} {c.fault:5} {c.guards:16} quick {c.quick:5}  full {c.full:7}")
        return CLEAN
    ledger = Ledger(options.ledger, options.plan)
    if options.totals:
        say(ledger.table(cells))
        say(ledger.guarantees(cells))
        return CLEAN
    if not options.bin_dir:
        stop("--bin-dir is needed")
    if options.replay:
        name, seed, cycles = (options.replay + "::").split(":")[:3]
        if name not in cells or not (seed + cycles).isdigit():
            stop(f"nothing to replay: {options.replay}")
        if cells[name].needs_build and cells[name].needs_build not in options.builds:
            stop(f"{name} needs --build {cells[name].needs_build}=DIR")
        r = one_run(cells[name], int(seed), int(cycles), options)
        say(r.text, WORDS[r.code], r.kept or "")
        return INVALID if r.code == UNFIT else r.code
    chosen = options.cells.split(",") if options.cells else list(cells)
    unknown = [c for c in chosen if c not in cells]
    if unknown:
        stop(f"no such cell: {', '.join(unknown)}")
    ledger.write = options.plan == "full" and not options.no_ledger and counts_for_the_ledger(options)
    say(f"plan {options.plan}, seed {options.first_seed}")
    wanted, codes = {}, {}
    for name in chosen:
        cell = cells[name]
        if cell.needs_build and cell.needs_build not in options.builds:
            say(f"{name:18} needs --build {cell.needs_build}=DIR: INVALID")
            codes[name] = INVALID
        else:
            wanted[name] = options.cycles or (cell.quick if options.plan == "quick"
                                              else cell.full - ledger.cycles(name))
    sitting = Sitting(cells, wanted, options, ledger)
    codes |= sitting.run(options.jobs)
    ledger.write_rows()
    for name, why in sitting.why.items():  # once more where they are seen
        for reason in why[:3]:
            say(f"{name}: {reason[:1200]}")
    bad = [f"{n}: {WORDS[c]}" for n, c in codes.items() if c != CLEAN]
    say(f"{len(codes) - len(bad)} of {len(codes)} cells clean" + ("; " + ", ".join(bad) if bad else ""))
    return exit_code(codes)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001 - Python would exit with 1, which says that a promise was broken
        traceback.print_exc()
        sys.exit(INVALID)
