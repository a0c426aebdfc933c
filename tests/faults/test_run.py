#!/usr/bin/env python3
"""run.py and rig.py are tested: what must not pass for a clean run does not, on servers and checkers that are
a few lines of Python. Needs no build. Takes seconds."""
import argparse
import os
import signal
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import activity  # noqa: E402
import rig as rigs  # noqa: E402
import run  # noqa: E402
from ledger import Ledger  # noqa: E402

SERVER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.write(int(sys.argv[sys.argv.index("--ready-fd") + 1]), b"READY\\n")
time.sleep(60)
"""


def program(where, name, text):
    path = os.path.join(where, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"#!{sys.executable}\n{text}\n")
    os.chmod(path, stat.S_IRWXU)


class Quiet(rigs.Cell):
    """No clients: the cell alone says what happened."""
    name, full, per_run = "quiet", 10, 5
    load = None
    needs_faults = ("it",)

    def run(self, rig, cycles):
        rig.fault("it", cycles)


class Seldom(Quiet):
    needs_faults = ("it", "other")


class Half(Quiet):
    counts = "real"

    def run(self, rig, cycles):
        rig.fault("it", cycles)
        rig.fault("real", 3)


class Raises(Quiet):
    what = OSError("no such thing")

    def run(self, rig, cycles):
        raise self.what


class Cannot(Raises):
    what = rigs.Unfit("no root")


class Finds(Quiet):
    def run(self, rig, cycles):
        super().run(rig, cycles)
        rig.violate("a promise was broken")


class Serves(Quiet):
    """A server and a topic, so that weir-check is asked; what follows a run is left out."""

    def run(self, rig, cycles):
        super().run(rig, cycles)
        rig.start()
        rig.topic()
        rig.finish = lambda: None


class Dies(Serves):
    """The server ends by itself, is killed only then, and is started again."""

    def run(self, rig, cycles):
        super().run(rig, cycles)
        os.kill(rig.server.pid, signal.SIGABRT)
        rig.server.wait()
        rig.kill()
        rig.restart()


class DiesAsItMay(Dies):
    may_exit = (-signal.SIGABRT,)


class StumblesOverTheDead(Serves):
    """The server ends by itself, and the cell fails because of it."""

    def run(self, rig, cycles):
        super().run(rig, cycles)
        os.kill(rig.server.pid, signal.SIGABRT)
        rig.server.wait()
        raise OSError("connection refused")


class OnceTooLittle(Seldom):
    """Too little happens in the first run only."""

    def run(self, rig, cycles):
        super().run(rig, cycles)
        rig.fault("other", 3 if rig.seed > 1 else 0)


class ClientCrashes(Serves):
    """A client crashes, and the cell kills it later."""

    def run(self, rig, cycles):
        super().run(rig, cycles)
        c = rig.client("read")
        c.process.wait()
        c.kill()
        rig.end_clients(["read"])


class Suite(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.bin = self.dir.name
        program(self.bin, "weir-server", SERVER)
        program(self.bin, "weir", "")
        program(self.bin, "weir-load", "raise SystemExit(9)")
        self.checker(0)
        self.ledger = Ledger(os.path.join(self.bin, "ledger.tsv"), "full")
        self.said, run.say = [], lambda *words: self.said.append(" ".join(map(str, words)))

    def tearDown(self):
        self.dir.cleanup()

    def checker(self, code):
        program(self.bin, "weir-check", f"raise SystemExit({code})")

    def options(self, **more):
        return argparse.Namespace(**{
            "bin_dir": self.bin, "server_dir": None, "data_dir": self.bin, "plan": "quick", "builds": {}, "keep": False,
            "keep_dir": os.path.join(self.bin, "kept"), "go_on": False, "minutes": 0, "first_seed": 1, "cycles": None,
            "again": "run.py"} | more)

    def result(self, cell, cycles=5, **more):
        return run.one_run(cell, 1, cycles, self.options(**more))

    def sit(self, *cells, cycles=5, **more):
        cells = {c.__name__: c for c in cells}
        for name, c in cells.items():
            c.name = name  # what is kept of a run goes by it
        s = run.Sitting(cells, dict.fromkeys(cells, cycles), self.options(**more), self.ledger)
        codes = s.run(2)
        return codes, run.exit_code(codes)

    def test_clean(self):
        self.assertEqual(self.result(Quiet).code, run.CLEAN)
        self.assertEqual(self.result(Serves).code, run.CLEAN)
        self.assertEqual(self.sit(Quiet, Serves)[1], run.CLEAN)

    def test_a_fault_that_did_not_fire(self):
        r = self.result(Seldom)
        self.assertEqual(r.code, run.INVALID)
        self.assertIn("fault other fired 0 times, not 3", r.text)
        self.assertEqual(self.result(Quiet, cycles=2).code, run.INVALID)

    def test_a_cycle_in_which_nothing_fired_is_none(self):
        self.assertEqual(self.result(Half).cycles, 3)
        self.assertEqual(self.result(Half, cycles=2).cycles, 2)

    def test_what_the_checker_says(self):
        for code, verdict in ((1, run.VIOLATION), (2, run.INVALID), (3, run.INVALID), (139, run.INVALID)):
            self.checker(code)
            self.assertEqual(self.result(Serves).code, verdict)
            self.assertEqual(self.sit(Serves)[1], verdict)
        program(self.bin, "weir-check", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
        self.assertEqual(self.sit(Serves)[1], run.INVALID)

    def test_no_checker_and_no_server(self):
        os.unlink(os.path.join(self.bin, "weir-check"))
        self.assertEqual(self.sit(Serves, Quiet), ({"Serves": run.INVALID, "Quiet": run.CLEAN}, run.INVALID))
        os.unlink(os.path.join(self.bin, "weir-server"))
        self.assertEqual(self.sit(Serves)[1], run.INVALID)

    def test_a_cell_that_fails(self):
        self.assertEqual(self.sit(Raises, Quiet)[1], run.INVALID)
        self.assertEqual(self.result(Raises, data_dir="/nonexistent").code, run.INVALID)

    def test_a_machine_that_cannot(self):
        self.assertEqual(self.sit(Cannot, Quiet), ({"Cannot": run.UNFIT, "Quiet": run.CLEAN}, run.CLEAN))
        self.assertIn("NOT RUN", "\n".join(self.said))
        self.assertIn("no root", "\n".join(self.said))
        self.assertEqual(self.sit(Cannot)[1], run.INVALID)  # nothing at all was run
        self.assertEqual(self.sit(Cannot, Quiet, plan="full")[1], run.INVALID)

    def test_too_little_is_tried_again_once(self):
        self.assertEqual(self.sit(OnceTooLittle, Quiet)[1], run.CLEAN)
        self.assertIn("INVALID", "\n".join(self.said))
        del self.said[:]
        self.assertEqual(self.sit(Seldom)[1], run.INVALID)
        self.assertEqual(sum("seed" in line.split(":")[0] for line in self.said if "INVALID" in line), 2)
        del self.said[:]
        self.assertEqual(self.sit(Finds)[1], run.VIOLATION)
        self.assertNotIn("once more", "\n".join(self.said))
        self.assertEqual(self.sit(OnceTooLittle, plan="full")[1], run.INVALID)

    def test_broken_promises_are_told_first(self):
        text = "A1 lost\ninvalid: too little\nviolation: the server ended: a log\nits last line\ninvalid: no read\n"
        self.assertEqual(run.reasons(text), ["violation: the server ended: a log\nits last line",
                                             "invalid: too little", "invalid: no read"])

    def test_a_violation_outranks_all(self):
        self.assertEqual(self.sit(Finds, Quiet, Raises)[1], run.VIOLATION)

    def test_cells_that_were_not_reached(self):
        codes, code = self.sit(Quiet, Half, minutes=1e-9)
        self.assertEqual((set(codes.values()), code), ({run.NOT_REACHED}, run.INVALID))
        self.assertEqual(run.exit_code({"a": run.CLEAN, "b": run.NOT_REACHED}), run.CLEAN)

    def test_a_server_that_ends_by_itself(self):
        r = self.result(Dies)
        self.assertEqual(r.code, run.VIOLATION)
        self.assertIn("ended by itself: exit -6", r.text)
        self.assertNotIn("kill", r.figures["faults"])  # there was nothing to kill
        self.assertEqual(self.result(DiesAsItMay).code, run.CLEAN)
        self.assertEqual(self.result(StumblesOverTheDead).code, run.VIOLATION)

    def test_a_client_that_crashes(self):
        self.assertIn("ended with 9", self.result(ClientCrashes).text)

    def test_enough_to_judge(self):
        with tempfile.TemporaryDirectory() as d:
            def write(name, *events):
                with open(os.path.join(d, f"{name}.hist"), "wb") as f:
                    f.write(b"".join(bytes(e) + bytes(64 - len(e)) for e in events) + bytes(128))

            roles = {"produce", "observe", "member"}
            write("1", (activity.SENT, 0), (activity.SENT, 2), (activity.SENT, 2), (activity.SENT, 1))
            self.assertIn("1 acknowledgements, not 2", activity.missing(d, roles, 2, 50))
            self.assertIn("1 of 4 answers", activity.missing(d, roles, 1, 50))
            write("2", (activity.SENT, 0), (activity.SENT, 0))
            self.assertEqual("nothing from observe", activity.missing(d, {"observe"}, 3, 50))
            write("3", (activity.HW, 0), (activity.GAINED, 0))
            self.assertIsNone(activity.missing(d, {"produce", "observe"}, 3, 50))
            self.assertEqual("nothing from member", activity.missing(d, roles, 3, 50))
            write("4", (activity.COMMITTED, 0))
            self.assertIsNone(activity.missing(d, roles, 3, 50))

    def test_the_ledger(self):
        self.sit(Quiet, Half, Finds, Seldom, cycles=10, plan="full")
        rows = {n: (r["runs"], r["cycles"], r["violations"], r["invalid"]) for n, r in self.ledger.new.items()}
        self.assertEqual(rows, {"Quiet": (2, 10, 0, 0), "Half": (4, 12, 0, 0), "Finds": (1, 0, 1, 0),
                                "Seldom": (1, 0, 0, 1)})
        self.ledger.write_rows()
        self.assertFalse(os.path.exists(self.ledger.path))  # unless it was told to

    def test_what_counts_for_the_ledger(self):
        self.assertFalse(run.counts_for_the_ledger(self.options(server_dir="/else")))
        build = os.path.join(self.bin, "build")
        where = os.path.join(build, "bin")
        os.makedirs(where)
        self.assertIn("not of a build", run.build_trouble(where))
        for cache, said in ((f"CMAKE_HOME_DIRECTORY:INTERNAL={run.ROOT}\nWEIR_BUG:STRING=SKIP_SYNC\n", "SKIP_SYNC"),
                            ("CMAKE_HOME_DIRECTORY:INTERNAL=/else\n", "another source"),
                            (f"CMAKE_HOME_DIRECTORY:INTERNAL={run.ROOT}\n", "not built")):
            with open(os.path.join(build, "CMakeCache.txt"), "w", encoding="utf-8") as f:
                f.write(cache)
            self.assertIn(said, run.build_trouble(where))
            with self.assertRaises(SystemExit) as e:
                run.counts_for_the_ledger(self.options(bin_dir=where))
            self.assertEqual(e.exception.code, run.INVALID)


if __name__ == "__main__":
    unittest.main()
