#!/usr/bin/env python3
"""Compiles every header alone; the public ones as C99 and as C++11 too."""
import os
import subprocess
import sys

root, cc = sys.argv[1], sys.argv[2]
bad = n = 0


def compiles(header, args):
    r = subprocess.run([*args, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-"], cwd=root, text=True,
                       input=f'#include "{header}"\n', capture_output=True, check=False)
    if r.returncode:
        print(f"{header}: {r.stderr.splitlines()[0] if r.stderr else 'failed'}")
    return r.returncode == 0


for top in ("proto", "storage", "broker", "client"):
    for dirpath, _, names in os.walk(os.path.join(root, top)):
        for name in sorted(names):
            if not name.endswith(".h"):
                continue
            h = os.path.relpath(os.path.join(dirpath, name), root)
            inc = [f"-I{root}", f"-I{root}/client/include"]
            n += 1
            bad += not compiles(h, [cc, "-std=c17", "-D_GNU_SOURCE", *inc, "-x", "c"])
            if h.startswith("client/include/"):
                bad += not compiles(h, [cc, "-std=c99", "-D_GNU_SOURCE", *inc, "-Wpedantic", "-x", "c"])
                bad += not compiles(h, ["c++", "-std=c++11", *inc, "-Wpedantic", "-x", "c++"])
print(f"{n} headers, {bad} failures")
sys.exit(1 if bad or n == 0 else 0)
