#!/usr/bin/env python3
"""bench/hostile_load.py BIN_DIR [ROUNDS]: what 1,000 slow or hostile connections cost the others.

Quiet and hostile stretches of 5 s take turns on one server; medians of the rounds. Bar: p99 of
produce + fetch within twice its quiet value.
"""
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "blackbox", "server"))
os.environ["WEIR_BIN"] = os.path.abspath(sys.argv[1])

from harness import Server  # noqa: E402
from hostile import Crowd, Worker, fill, percentile  # noqa: E402


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    server = Server()
    tid = fill(server.url, 40)
    worker = Worker(server.url, "work")
    quiet, loud = [], []
    for _ in range(rounds):
        quiet.append(worker.measure(5))
        crowd = Crowd(server.url, 1000, tid)
        crowd.start()
        crowd.full.wait()
        loud.append(worker.measure(5))
        crowd.stop()
    for name, runs in (("quiet", quiet), ("hostile", loud)):
        print(f"{name:8} p50 {statistics.median(percentile(r, .5) for r in runs):7.2f} ms   "
              f"p99 {statistics.median(percentile(r, .99) for r in runs):7.2f} ms   "
              f"{statistics.median(len(r) / 5 for r in runs):6.0f}/s")
    ratio = (statistics.median(percentile(r, .99) for r in loud)
             / statistics.median(percentile(r, .99) for r in quiet))
    print(f"p99 ratio {ratio:.2f} (bar 2.0)")
    server.stop()
    return 0 if ratio <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
