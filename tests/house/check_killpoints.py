#!/usr/bin/env python3
"""Checks the kill points: each one of the list stands in the code once, none stands there that is not
in the list, and a usual build of the server has nothing of them in it.

check_killpoints.py ROOT SERVER [with]      "with": this build has them, and must show it
check_killpoints.py --self-test
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
import killpoints  # noqa: E402

TRACES = (b"WEIR_KILLPOINT", b"killpoint_hit", b"wal_sync_before")


def check(root, server, have):
    bad = []
    points, uses = killpoints.points(root), killpoints.uses(root)
    if not points:
        bad.append("no list of kill points found")
    for name in points:
        n = len(uses.get(name, []))
        if n != 1:
            bad.append(f"{name}: stands in the code {n} times, not once")
    for name in uses.keys() - points.keys():
        bad.append(f"{name}: in {uses[name][0]}, but not in the list")
    with open(server, "rb") as f:
        binary = f.read()
    for trace in TRACES:
        if (trace in binary) != have:
            bad.append(f"{server}: {trace.decode()} is {'not ' if have else ''}in it")
    return bad


def self_test():
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, "proto"))

        def write(name, text):
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                f.write(text)
        write("proto/killpoint.h", 'X(here, RUN, "a")\nX(there, START, "b")\n')
        write("proto/a.c", "WEIR_KILLPOINT(here);\nWEIR_KILLPOINT(there);\n")
        write("clean", "nothing")
        write("dirty", "WEIR_KILLPOINT killpoint_hit wal_sync_before")
        cases = [("clean", False, 0), ("dirty", False, 3), ("clean", True, 3), ("dirty", True, 0)]
        ok = all(len(check(d, os.path.join(d, s), have)) == n for s, have, n in cases)
        write("proto/a.c", "WEIR_KILLPOINT(here);\nWEIR_KILLPOINT(here);\nWEIR_KILLPOINT(other);\n")
        ok = ok and len(check(d, os.path.join(d, "clean"), False)) == 3
    print("self-test ok" if ok else "SELF-TEST FAILED")
    return 0 if ok else 1


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    bad = check(sys.argv[1], sys.argv[2], "with" in sys.argv[3:])
    for b in bad:
        print(b)
    print(f"{len(killpoints.points(sys.argv[1]))} kill points, {len(bad)} violations")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
