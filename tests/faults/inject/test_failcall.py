#!/usr/bin/env python3
"""The failing-call shim fires at the call it was told, is counted, and changes nothing else. Argument: bin folder."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import shims  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
# kind of call, what the probe does, what it prints when nothing is wrong
CALLS = [("write", "write a 100", "100"), ("pwrite", "pwrite a 100", "100"), ("writev", "writev a 100", "100"),
         ("pwritev", "pwritev a 100", "100"), ("read", "read a 0", "0"), ("pread", "pread a 100", "100"),
         ("fsync", "fsync a", "0"), ("fdatasync", "fdatasync a", "0"), ("sync_file_range", "rangesync a", "0"),
         ("fallocate", "alloc a 4096", "0"), ("ftruncate", "truncate a 100", "0"), ("open", "open a", "0"),
         ("open", "fopen a", "0"), ("openat", "openat a", "0"), ("rename", "rename a a", "0"),
         ("mkdir", "mkdir d", "0")]
ERRORS = ["EIO", "ENOSPC", "EINTR", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "EDQUOT"]


class Failcall(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="weir-failcall-")
        self.addCleanup(self.dir.cleanup)
        self.data = os.path.join(self.dir.name, "data")
        self.log = os.path.join(self.dir.name, "fail.log")
        self.control = os.path.join(self.dir.name, "control")
        os.mkdir(self.data)

    def probe(self, *steps, rule=None, controlled=False, stdin=None):
        """Lines of (step, result, errno)."""
        env = {**os.environ}
        if rule is not None:
            env |= {"LD_PRELOAD": f"{BIN}/libweir-failcall.so", "WEIR_FAIL": rule, "WEIR_FAIL_LOG": self.log}
        if controlled:
            env["WEIR_FAIL_CONTROL"] = self.control
        self.process = subprocess.Popen([f"{BIN}/inject_probe", self.data, *steps], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if stdin is not None:
            return None
        out, err = self.process.communicate(timeout=30)
        self.code, self.err = self.process.returncode, err
        return [tuple(x.rsplit(" ", 2)) for x in out.splitlines()]

    def logged(self):
        with open(self.log, encoding="utf-8") as f:
            return [x.split() for x in f]

    def rule(self, call, **kw):
        kw = {"dir": self.data, **kw}
        return ",".join([f"call={call}", *(f"{k}={v}" for k, v in kw.items())])

    def forget(self):
        if os.path.exists(self.log):
            os.unlink(self.log)
        for name in os.listdir(self.data):
            p = os.path.join(self.data, name)
            os.rmdir(p) if os.path.isdir(p) else os.unlink(p)

    def test_each_call_fails_at_its_number_and_only_there(self):
        for call, step, good in CALLS:
            for k in (1, 2, 4):
                with self.subTest(call=call, step=step, k=k):
                    self.forget()
                    first = [] if call in ("open", "openat") else ["open a", "write a 100"]
                    if call == "write":
                        first = ["open a"]
                    if step == "fopen a":
                        with open(os.path.join(self.data, "a"), "w", encoding="utf-8"):
                            pass
                    steps = [step] * 5
                    if call == "mkdir":
                        steps = [f"mkdir d{i}" for i in range(5)]
                    got = self.probe(*first, *steps, rule=self.rule(call, errno="EIO", at=k))[len(first):]
                    self.assertEqual([x[1:] for x in got],
                                     [("-1", "EIO") if i + 1 == k else (good, "-") for i in range(5)])
                    log = self.logged()
                    self.assertEqual([x[:3] for x in log], [[call, "EIO", str(k)]])
                    self.assertTrue(log[0][3].startswith(self.data))

    def test_every_errno(self):
        for e in ERRORS:
            self.forget()
            got = self.probe("open a", "write a 10", rule=self.rule("write", errno=e))
            self.assertEqual(got[1][1:], ("-1", e))

    def test_a_failed_write_writes_nothing(self):
        self.probe("open a", "write a 10", "write a 7", rule=self.rule("write", at=1))
        self.assertEqual(os.path.getsize(f"{self.data}/a"), 7)

    def test_failed_names_change_nothing(self):
        self.probe("open a", "rename a b", rule=self.rule("rename"))
        self.assertEqual(os.listdir(self.data), ["a"])
        self.assertEqual(self.probe("unlink a", rule=self.rule("unlink"))[0][1:], ("-1", "EIO"))
        self.assertEqual(os.listdir(self.data), ["a"])

    def test_close_fails_and_closes(self):
        got = self.probe("open a", "close a", "write a 1", rule=self.rule("close"))
        self.assertEqual([x[1:] for x in got], [("0", "-"), ("-1", "EIO"), ("-1", "EBADF")])

    def test_short(self):
        got = self.probe("open a", "write a 100", "writev a 100", "pwrite a 100", "pwritev a 100", "pread a 100",
                         "write a 1",
                         rule=self.rule("write+writev+pwrite+pwritev+pread", errno="SHORT", mode="every", at=1))
        self.assertEqual([x[1] for x in got], ["0", "50", "25", "50", "25", "50", "1"])

    def test_sticky_and_every(self):
        steps = ["open a"] + ["fdatasync a"] * 6
        got = self.probe(*steps, rule=self.rule("fdatasync", at=3, mode="sticky"))
        self.assertEqual([x[1] for x in got[1:]], ["0", "0", "-1", "-1", "-1", "-1"])
        got = self.probe(*steps, rule=self.rule("fdatasync", at=3, mode="every"))
        self.assertEqual([x[1] for x in got[1:]], ["0", "0", "-1", "0", "0", "-1"])

    def test_only_below_the_directory_and_with_the_suffix(self):
        steps = ["open a.log", "open b.sst", "write b.sst 5", "write a.log 5", "socket 100", "dirsync"]
        good = self.probe(*steps)
        self.assertEqual(self.probe(*steps, rule=self.rule("write+read", mode="sticky", dir="/nowhere")), good)
        self.assertEqual(self.probe(*steps, rule=self.rule("write+read", mode="sticky", dir=self.data[:-1])), good)
        self.assertEqual(self.probe(*steps, rule="call=write,mode=sticky"), good)
        self.assertEqual(self.probe(*steps, rule=""), good)
        got = self.probe(*steps, rule=self.rule("write+read", mode="sticky", suffix=".log"))
        self.assertEqual([x[1] for x in got], ["0", "0", "5", "-1", "100", "0"])
        got = self.probe("open a", "fsync a", "dirsync", rule=self.rule("fsync", suffix="/"))
        self.assertEqual([x[1] for x in got], ["0", "0", "-1"])

    def test_each_thread_counts_once(self):
        """8 threads x 500 writes: exactly those from the 3,001st on fail."""
        got = self.probe("open a", "threads 500", rule=self.rule("write", at=3001, mode="sticky"))
        self.assertEqual(got[1][1], "1000")
        self.assertEqual(sorted(int(x[2]) for x in self.logged()), list(range(3001, 4001)))
        self.assertEqual(os.path.getsize(f"{self.data}/a"), 3000)

    def test_allocations(self):
        """What the program itself asks for: the 5th, once and for all later."""
        for step in ("mallocs 20", "callocs 20", "aligned 20"):
            with self.subTest(step=step):
                once = "call=alloc,from=program,at=5,errno=ENOMEM"
                self.assertEqual(self.probe(step, rule=once)[0][1], "5001")
                self.assertEqual(self.probe(step, rule=once + ",mode=sticky")[0][1], "5016")
                self.assertEqual(self.probe(step)[0][1], "0")
        # strdup is asked for by the C library, realloc by the program
        self.assertEqual(self.probe("reallocs 20", rule="call=alloc,from=program,at=5")[0][1], "5001")
        self.assertEqual(self.logged()[-1][0], "alloc")

    def test_armed_while_it_runs(self):
        c = shims.Fail(self.control)
        self.addCleanup(c.close)
        self.probe("open a", "write a 1", "write a 1", "line", "write a 1", "write a 1", "line", "write a 1",
                   rule=self.rule("write"), controlled=True, stdin="")
        out = self.process.stdout

        def lines(n):
            return [out.readline().split()[-2] for _ in range(n)]
        self.assertEqual(lines(3), ["0", "1", "1"])
        self.assertEqual((c.seen, c.hits, c.fired), (2, 0, 0))
        c.arm(2)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.assertEqual(lines(3), ["0", "1", "-1"])
        self.assertEqual((c.seen, c.hits, c.fired), (4, 2, 1))
        c.disarm()
        self.process.communicate("\n", timeout=10)
        self.assertEqual((c.seen, c.hits, c.fired), (5, 2, 1))

    def test_a_wrong_rule_ends_the_process(self):
        for rule in ("call=wrote", "call=write,errno=EWHAT", "call=write,mode=never", "errno=EIO", "call=write,at=0",
                     "call=write,what=ever", "call"):
            self.probe("open a", rule=rule)
            self.assertEqual(self.code, 96, rule)
            self.assertIn("failcall: ", self.err)


if __name__ == "__main__":
    unittest.main()
