"""The ledger: what sittings of the full plan ran, one row per sitting and cell, so that they add up."""
import os
import re
import subprocess
import time

COLUMNS = ["date", "commit", "plan", "cell", "runs", "cycles", "acked", "unknown", "violations", "invalid",
           "first_seed", "last_seed", "seconds"]


def commit():
    r = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty"],
                       capture_output=True, text=True, check=False)
    return r.stdout.strip() or "unknown"


def guarded(text):
    """The numbers in "G1-G5 G8 A2": {1, 2, 3, 4, 5, 8}. A1-A10 alone stands for what anomalies break."""
    out = set()
    for a, b in re.findall(r"G(\d+)(?:-G(\d+))?", text):
        out |= set(range(int(a), int(b or a) + 1))
    return out or ({1, 2, 3, 4, 5, 7, 8} if "A1-A10" in text else set())


class Ledger:
    def __init__(self, path, plan):
        self.path, self.plan, self.write = path, plan, False
        self.old = self.read()
        self.new = {}

    def read(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as f:
            rows = [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]
        return [dict(zip(COLUMNS, r)) for r in rows if r[0] != "date"]

    def cycles(self, cell):
        """Cycles without a finding that the full plan has behind it."""
        return sum(int(r["cycles"]) for r in self.old if r["cell"] == cell and r["plan"] == "full")

    def add(self, cell, seed, result, seconds):
        """Cycles and messages count when the run was clean: nobody would trust the others."""
        if result.code == 3:
            return  # not run
        r = self.new.setdefault(cell, dict.fromkeys(COLUMNS, 0) | {"first_seed": seed})
        clean = result.code == 0
        r["runs"] += 1
        r["cycles"] += result.cycles if clean else 0
        r["acked"] += result.figures.get("ok", 0) if clean else 0
        r["unknown"] += result.figures.get("unknown", 0) if clean else 0
        r["violations"] += result.code == 1
        r["invalid"] += result.code == 2
        r["last_seed"] = seed
        r["seconds"] += seconds
        if self.write and r["runs"] % 20 == 0:
            self.write_rows()

    def write_rows(self):
        """Appends what is new. A sitting that is cut short has lost at most the last 20 runs."""
        if not self.write or not self.new:
            return
        fresh = not os.path.exists(self.path)
        with open(self.path, "a", encoding="utf-8") as f:
            if fresh:
                f.write("\t".join(COLUMNS) + "\n")
            for cell, r in self.new.items():
                r |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit(), "plan": self.plan,
                      "cell": cell, "seconds": round(r["seconds"])}
                f.write("\t".join(str(r[c]) for c in COLUMNS) + "\n")
                self.old.append({c: str(r[c]) for c in COLUMNS})
        self.new = {}

    def sums(self, cell):
        rows = [r for r in self.old if r["cell"] == cell and r["plan"] == "full"]
        return {c: sum(int(r[c]) for r in rows) for c in ("runs", "cycles", "acked", "violations", "invalid")}

    def guarantees(self, cells):
        """The table of docs/GUARANTEES.md: what attacks each promise, and what came of it."""
        lines = ["| promise | attacked by (cycles run) | runs | acknowledged | violations |", "|---|---|---|---|---|"]
        for g in range(1, 18):
            mine = [n for n, c in cells.items() if g in guarded(c.guards)]
            if not mine:
                continue
            sums = {n: self.sums(n) for n in mine}
            names = ", ".join(f"{n} ({sums[n]['cycles']:,})" for n in mine if sums[n]["cycles"]) or "quick plan only"
            runs, acked, bad = (sum(s[k] for s in sums.values()) for k in ("runs", "acked", "violations"))
            lines.append(f"| G{g} | {names} | {runs:,} | {acked:,} | {bad} |")
        return "\n".join(lines)

    def table(self, cells):
        lines = [f"{'cell':18} {'runs':>7} {'cycles':>8} {'of':>7} {'acked':>12} {'violations':>10} {'invalid':>8}"]
        for name in sorted({r["cell"] for r in self.old}):
            total = self.sums(name)
            full = cells[name].full if name in cells else "-"
            lines.append(f"{name:18} {total['runs']:7} {total['cycles']:8} {full:>7} {total['acked']:12} "
                         f"{total['violations']:10} {total['invalid']:8}")
        return "\n".join(lines)
