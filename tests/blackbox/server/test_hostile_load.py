#!/usr/bin/env python3
"""1,000 slow or hostile connections: others are served as before, and memory stays within its budget.

How much slower the others get is measured in bench/bench-hostile-load; here is only what must never be.
"""
import unittest

from harness import Server, main, sanitized
from hostile import Crowd, Worker, fill, percentile
from wire import METRICS, Wire

CROWD = 1000
BUDGET = 64 << 20  # of output


class HostileLoad(unittest.TestCase):
    def figures(self, w, prefix):
        return {(name, *sorted(labels.values())): value for name, labels, value in w.call(METRICS, [prefix])}

    def test_a_crowd(self):
        server = Server("--output", str(BUDGET))
        tid = fill(server.url, 40)
        w = Wire(server.url, timeout=60)
        worker = Worker(server.url, "work")
        quiet = worker.measure(2)
        before = self.figures(w, "weir_resident")[("weir_resident_memory_bytes",)]
        crowd = Crowd(server.url, CROWD, tid)
        crowd.start()
        self.assertTrue(crowd.full.wait(60))
        loud = worker.measure(12)  # longer than a HELLO may take
        f = self.figures(w, "weir_")
        crowd.stop()
        print(f"quiet p50 {percentile(quiet, .5):.2f} p99 {percentile(quiet, .99):.2f} ms, with {CROWD} hostile "
              f"connections p50 {percentile(loud, .5):.2f} p99 {percentile(loud, .99):.2f} ms; memory "
              f"{before >> 20} -> {f[('weir_resident_memory_bytes',)] >> 20} MiB", flush=True)
        self.assertLess(loud[-1], 5000, "nobody waits for seconds")
        self.assertGreater(len(loud), 100)
        self.assertGreater(f[("weir_connections_closed_total", "no_hello")], 0, "the slow ones are thrown out")
        self.assertGreater(f[("weir_connections_closed_total", "ended")], 0, "so are those that talk garbage")
        # Over the budget only what each connection may always hold, and what was queued in one turn.
        self.assertLess(f[("weir_output_bytes",)], BUDGET + CROWD * (64 << 10) + (8 << 20))
        if not sanitized():
            self.assertLess(f[("weir_resident_memory_bytes",)] - before, BUDGET + (192 << 20))
        w.close()
        worker.w.close()
        server.stop()


if __name__ == "__main__":
    main()
