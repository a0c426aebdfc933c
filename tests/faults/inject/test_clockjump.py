#!/usr/bin/env python3
"""The clock shim moves the wall clock of a running process and nothing else. Argument: bin folder."""
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import shims  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
NS, DAY = 1_000_000_000, 86400
SLACK = 2 * NS  # between two looks at a clock, on a busy machine


class Clocks:
    def __init__(self, line):
        self.wall, self.mono, self.boot, self.tv, self.time = (int(x) for x in line.split()[1:])


class Clockjump(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="weir-clockjump-")
        self.addCleanup(self.dir.cleanup)
        self.path = os.path.join(self.dir.name, "clock")
        self.clock = shims.Clock(self.path)
        self.addCleanup(self.clock.close)

    def start(self, *steps, file=None):
        env = {**os.environ, "LD_PRELOAD": f"{BIN}/libweir-clockjump.so", "WEIR_CLOCK_FILE": file or self.path}
        self.p = subprocess.Popen([f"{BIN}/inject_probe", self.dir.name, *steps], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def end():
            self.p.kill()
            self.p.communicate()
        self.addCleanup(end)

    def line(self):
        return self.p.stdout.readline()

    def go_on(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        self.line()

    def near(self, a, b):
        self.assertLess(abs(a - b), SLACK, f"{a} and {b}")

    def check(self, shift_s, boot_s=0):
        c = Clocks(self.line())
        wall = time.time_ns() + int(shift_s * NS)
        for name in ("wall", "tv", "time"):
            with self.subTest(clock=name, shift=shift_s):
                self.near(getattr(c, name), wall)
        self.near(c.mono, time.monotonic_ns())
        self.near(c.boot, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(boot_s * NS))

    def test_jumps_while_it_runs(self):
        jumps = [3600, -3600, DAY, -DAY, 3652 * DAY]
        self.start("clocks", *["line", "clocks"] * (len(jumps) + 2))
        self.check(0)
        for j in jumps:
            self.clock.change(0)
            self.clock.jump(j)
            self.go_on()
            self.check(j)
        self.clock.set_to(12)  # 1970
        self.go_on()
        self.check(12 - time.time())
        self.clock.back()
        self.go_on()
        self.check(0)
        self.assertGreaterEqual(self.clock.reads, 4 * (len(jumps) + 3))

    def test_jumps_add_up(self):
        self.clock.jump(100)
        self.clock.jump(-40)
        self.start("clocks")
        self.check(60)

    def test_never_before_1970(self):
        self.clock.set_to(12)
        self.clock.jump(-DAY)
        self.start("clocks")
        self.check(-time.time())

    def test_suspend(self):
        self.clock.suspend(7200)
        self.start("clocks")
        self.check(7200, boot_s=7200)

    def test_pace(self):
        for factor in (0.5, 2):
            self.clock.change(0, rate=0)
            self.clock.run_at(factor)
            self.start("clocks", "wait 1", "line", "clocks")
            a = Clocks(self.line())
            self.line()
            threading.Event().wait(0.6)
            self.go_on()
            b = Clocks(self.line())
            self.assertAlmostEqual((b.wall - a.wall) / (b.mono - a.mono), factor, delta=0.02)

    def test_waits_end_when_they_should(self):
        for shift in (0, DAY, -DAY, 3652 * DAY, -time.time()):
            self.clock.change(int(shift * NS))
            self.start("wait 100", "waitmono 100")
            for _ in range(2):
                ms = int(self.line().split()[-2])
                self.assertTrue(99 <= ms < 2000, f"{ms} ms of 100 at {shift}")

    def test_without_a_control_file_nothing_changes(self):
        env = {**os.environ, "LD_PRELOAD": f"{BIN}/libweir-clockjump.so"}
        self.p = subprocess.Popen([f"{BIN}/inject_probe", self.dir.name, "clocks"], env=env, stdout=subprocess.PIPE,
                                  text=True)
        self.check(0)
        self.p.communicate()

    def test_a_missing_control_file_ends_the_process(self):
        self.start("clocks", file=self.path + ".none")
        self.assertEqual(self.p.wait(10), 97)


if __name__ == "__main__":
    unittest.main()
