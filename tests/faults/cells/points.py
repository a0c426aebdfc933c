"""Deaths that are aimed (F1b, F1c): at every named kill point inside the code, while draining, in the first
milliseconds of a start, and while members are given partitions.

The points are those of proto/killpoint.h; a run visits each once before any comes twice. A point that is
never reached makes the run invalid: it would prove nothing.
"""
import os
import signal
import sys
import tempfile
import threading
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in ("..", os.path.join("..", "lib"))]
from rig import Broken, Cell, free_port  # noqa: E402
from churn import Churn  # noqa: E402
import killpoints  # noqa: E402

ARGS = ["--memory", "16M", "--min-free", "1M"]  # buckets of 4 MiB, so that they end and go
REACH_S = 60  # busy machines: a bucket takes its time to fill
RESTART_S = 10
# Places that load passes by less than about five times a second.
SELDOM = ("floor_", "bucket_", "wal_switch", "topic_", "dead_", "delay_", "generation_", "grant_")
ONCE = ("stop_", "producer_")  # in a process's life


class KillPoints(Cell):
    """Every kill point of the code, each at a visit that the seed chooses."""
    name, fault, guards = "kill_points", "F1c", "G1-G8"
    quick, full, per_run = len(killpoints.points()), 50 * len(killpoints.points()), len(killpoints.points())
    needs_faults = ("killpoint",)
    needs_build = "killpoints"
    min_ok_percent = 20  # a start for each point
    load = None

    def run(self, rig, cycles):
        points = killpoints.points()
        rig.start(args=ARGS)
        rig.topic()
        rig.usual_load()
        rig.client("produce", rate=50, delay_ms=400)
        todo = []
        while len(todo) < cycles:
            todo += rig.rnd.sample(sorted(points), len(points))
        churn = Churn(rig.url, rig.seed)
        try:
            rig.pause(0.3, 0.5)
            for name in sorted(todo[:cycles], key=lambda n: points[n] == "SPACE"):  # stable: those come last
                if points[name] == "SPACE":
                    churn.space = True
                self.one(rig, name, points[name])
            rig.kill("kill_end")
            self.good_start(rig)
        finally:
            churn.stop()
        rig.pause(0.3, 0.5)

    def one(self, rig, name, when):
        if when == "FRESH":
            return self.fresh(rig, name)
        if when == "START":
            self.end(rig)
            return self.at_start(rig, name)
        usual = 0.01 if name.startswith(ONCE) else 3 if name.startswith(SELDOM) else 40
        n = 1 + int(min(rig.rnd.expovariate(1 / usual), 5 * usual))
        if not self.die_at(rig, name, n, when) and not self.die_at(rig, name, 1, when):
            raise Broken(f"kill point {name} was not reached in {REACH_S} s")
        rig.fault("killpoint")
        rig.pause(0, 0.05)

    def die_at(self, rig, name, n, when):
        """False: so many visits take too long here."""
        self.end(rig)
        took = rig.restart(env={"WEIR_KILLPOINT": f"{name}:{n}"}, expect=False)
        if took is not None and when == "STOP":  # None: a start passes some of them, too
            rig.pause(0.1, 0.4)
            code, _ = rig.term(REACH_S)
            return code == -signal.SIGKILL
        return self.wait_death(rig)

    @staticmethod
    def end(rig):
        """What still runs from the cycle before goes like everything here."""
        if rig.running():
            rig.pause(0.02, 0.1)
            rig.kill("kill_between")

    @staticmethod
    def good_start(rig):
        took = rig.restart(env={})
        rig.expect(took < RESTART_S, f"restart took {took:.1f} s")

    @staticmethod
    def wait_death(rig):
        until = time.monotonic() + REACH_S
        while rig.running() and time.monotonic() < until:
            rig.sleep(0.005)
        rig.down_on_purpose = True
        if rig.running():
            return False
        code = rig.server.returncode
        rig.expect(code == -signal.SIGKILL, f"the server ended with {code}: {rig.log_tail()}")
        return True

    def at_start(self, rig, name):
        """Dies in the start; then the start after it has to do."""
        took = rig.restart(env={"WEIR_KILLPOINT": f"{name}:1"}, expect=False)
        rig.down_on_purpose = True
        if took is not None:
            raise Broken(f"kill point {name}: the start went past it")
        rig.server.wait()
        rig.expect(rig.server.returncode == -signal.SIGKILL,
                   f"{name}: the start ended with {rig.server.returncode}: {rig.log_tail()}")
        rig.fault("killpoint")

    def fresh(self, rig, name):
        """The first start of a store, which dies; the second one has to make do with what is there."""
        from bare import Bare, Refusal
        with tempfile.TemporaryDirectory(dir=rig.top) as d:
            for env in ({"WEIR_KILLPOINT": f"{name}:{rig.rnd.choice((1, 2))}"}, {}):
                data = os.path.join(d, "data")
                try:
                    server = Bare(rig.server_dir, data, *ARGS, env=env, log=os.path.join(d, "log"))
                except Refusal as r:
                    rig.expect(env and r.code == -signal.SIGKILL, f"{name}: a new store: {r}")
                    continue
                if env:  # the second slot comes with the second floor
                    died = server.process.wait(REACH_S)
                    rig.expect(died == -signal.SIGKILL, f"{name}: a new store: exit {died}")
                    server.close()
                else:
                    server.wire().create("t", partitions=1)
                    code, log = server.term()
                    rig.expect(code == 0, f"{name}: exit {code} after the start of a new store: {log[-300:]}")
        rig.fault("killpoint")


class Drain(Cell):
    """SIGTERM under load: everything in flight is answered and kept, exit 0 within 10 s."""
    name, fault, guards = "drain", "F1b", "G14 G1 G8"
    quick, full, per_run = 4, 300, 20
    needs_faults = ("term",)

    def run(self, rig, cycles):
        for _ in range(cycles):
            rig.pause(0.1, 1.5)
            code, took = rig.term(15)
            rig.expect(code == 0, f"SIGTERM: exit {code}: {rig.log_tail()}")
            rig.expect(took <= 10, f"SIGTERM: took {took:.1f} s")
            rig.fault("term")
            rig.pause(0, 0.1)
            rig.restart()
        rig.pause(0.5, 0.5)


class DrainKill(Cell):
    """kill -9 or a second SIGTERM while it drains; some drains are over before."""
    name, fault, guards = "drain_kill", "F1b", "G14 G1-G5 G8"
    quick, full, per_run = 6, 300, 20
    needs_faults = ("kill_in_drain",)
    counts = "kill_in_drain"

    def run(self, rig, cycles):
        done = 0
        while done < cycles or rig.faults.get("kill_in_drain", 0) < 3:
            rig.pause(0.05, 1.0)
            rig.down_on_purpose = True
            rig.server.send_signal(signal.SIGTERM)
            rig.sleep(rig.rnd.choice((0, 0, 0.0005, 0.001, 0.002, 0.004)))
            rig.server.send_signal(signal.SIGKILL if rig.rnd.random() < .8 else signal.SIGTERM)
            code = rig.server.wait(30)
            rig.expect(code in (0, -signal.SIGKILL), f"exit {code}: {rig.log_tail()}")
            rig.fault("kill_in_drain" if code else "term")
            done += 1
            rig.restart()
        rig.pause(0.5, 0.5)


class KillInStart(Cell):
    """kill -9 in the first 200 ms of a start, several times over: recovery is idempotent."""
    name, fault, guards = "kill_in_start", "F1b", "G1-G5 G8"
    quick, full, per_run = 5, 300, 20
    needs_faults = ("kill_in_start",)
    min_ok_percent = 5  # for most of the time nobody serves, and a busy machine starts slowly
    acks = 5000

    def run(self, rig, cycles):
        done = 0
        while done < cycles:
            rig.pause(0.05, 0.8)
            rig.kill()
            for _ in range(min(rig.rnd.randint(1, 4), cycles - done)):
                self.start_and_kill(rig, rig.rnd.uniform(0.001, 0.2))
                done += 1
            took = rig.restart()
            rig.expect(took < RESTART_S, f"restart took {took:.1f} s")
        rig.pause(0.5, 0.5)

    @staticmethod
    def start_and_kill(rig, after):
        before = rig.server

        def kill():
            while rig.server is before:
                rig.sleep(0.0005)
            rig.sleep(after)
            rig.server.kill()
        t = threading.Thread(target=kill, daemon=True)
        t.start()
        rig.restart(expect=False)
        t.join()
        rig.server.wait()
        rig.down_on_purpose = True
        rig.expect(rig.server.returncode == -signal.SIGKILL,
                   f"a start ended with {rig.server.returncode}: {rig.log_tail()}")
        rig.fault("kill_in_start")


class PowerMembers(Cell):
    """The power goes while members join and leave, on a disk whose syncs take 20 ms: what a member was told of
    its partitions is on disk."""
    name, fault, guards = "power_members", "F2", "G7 G8 A7 A8"
    quick, full, per_run = 6, 500, 25
    needs_faults = ("power",)
    power = True
    load = {"rate": 1000, "members": 2}
    acks = 4000  # half of the time nobody serves
    min_ok_percent = 5

    def run(self, rig, cycles):
        rig.power_cut()
        rig.restart(env={"WEIR_POWERLOSS_SYNC_US": "20000"})
        rig.pause(0.3, 0.5)
        for _ in range(cycles):
            come = [rig.client("member", group="log", every=8) for _ in range(2)]
            rig.pause(0.05, 0.4)
            come.pop().stop()  # what it had goes to others, who are told
            rig.pause(0, 0.15)
            rig.power_cut()
            rig.restart()
            rig.pause(0, 0.3)
            for c in come:
                if rig.rnd.random() < .5:
                    c.kill()
                else:
                    c.stop()
        rig.pause(0.5, 0.5)


CELLS = [KillPoints, Drain, DrainKill, KillInStart, PowerMembers]
