"""The network between clients and server, broken by chaosproxy (F12, F13).

A cycle is one fault that really fired: a cut, a swallowed answer, a request that came twice. Clients
connect again within milliseconds, so that thousands fit into minutes.
"""
import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from proxy import Proxy  # noqa: E402
from rig import Broken, Cell  # noqa: E402

FAST = "?reconnect_min_ms=1&reconnect_max_ms=20"
STUCK_S = 60  # no fault fires for so long: the cell cannot go on


class ProxyClient(Proxy):
    """A proxy that the rig ends together with its clients."""
    role, number, killed = "proxy", 0, True

    def __init__(self, rig, **more):
        super().__init__(rig.bin("chaosproxy"), f"127.0.0.1:{rig.port}", rig.rnd.getrandbits(31), **more)
        self.rig, self.log = rig, contextlib.nullcontext()
        self.log.close = self.close
        rig.clients.append(self)

    def alive(self):
        return self.process.poll() is None

    def signal(self, sig):
        if self.alive() and not self.process.returncode:
            self.process.send_signal(sig)

    def note(self, names):
        """Records in the rig what fired since the last call; returns how often in all."""
        new = self.fired()
        for name in names:
            if new[name]:
                self.rig.fault(name, new[name])
        self.rig.expect(new["other_offset"] == 0,
                        f"{new['other_offset']} batches were told another offset when asked again")
        return sum(new[name] for name in names)

    def until(self, names, cycles, step_s=0.25, enough=lambda: True):
        """Lets the rules work until they fired `cycles` times."""
        done, last = 0, time.monotonic()
        while done < cycles or not enough():
            self.rig.sleep(step_s)
            fired = self.note(names)
            done += fired
            if fired:
                last = time.monotonic()
            if time.monotonic() - last > STUCK_S:
                raise Broken(f"{done} of {cycles} faults, then none for {STUCK_S} s: {self.counts()}")
        return done


class Network(Cell):
    """Common to these cells: a proxy between server and clients, and the rules of the cell in it."""
    fault, guards = "F12", "A1-A10"
    load = None
    usual = {"rate": 1500}
    commands = ()   # given to the proxy once the clients run
    names = ()      # the faults that count

    def proxied(self, rig, **usual):
        rig.start()
        rig.topic(**self.config)
        proxy = ProxyClient(rig)
        rig.via(proxy.url + FAST)
        rig.usual_load(**{**self.usual, **usual})
        for role in ("member", "worker", "read", "observe"):
            rig.expect(rig.of(role), f"no {role}")
        rig.pause(0.3, 0.6)
        for c in self.commands:
            proxy.say(c)
        return proxy

    def run(self, rig, cycles):
        proxy = self.proxied(rig)
        proxy.until(self.names, cycles)
        proxy.say("heal")
        rig.pause(0.3, 0.5)


class CutRandom(Network):
    """Connections end at random bytes of random frames, both ways, by FIN or by RST."""
    name, guards = "cut_random", "A1-A10 G3 G5"
    quick, full, per_run = 400, 10000, 2000
    commands = ("rule cut op=any dir=both at=random p=0.01",)
    names = needs_faults = ("cut",)


class CutSweep(Network):
    """Every kind of frame is cut once at every byte, in both directions; a run of full length goes on
    until at least the shortest of each kind was cut everywhere."""
    name = "cut_sweep"
    quick, full, per_run = 300, 10000, 2000
    acks = 50  # small frames and few, so that a sweep ends
    usual = {"rate": 30, "producers": 3, "size": "64-64"}
    commands = ("rule cut op=any dir=both at=sweep p=0.5",)
    names = needs_faults = ("cut",)
    min_ok_percent = 10

    def run(self, rig, cycles):
        proxy = self.proxied(rig)
        whole = cycles >= self.per_run

        def enough():
            return not whole or all(at > shortest for at, shortest, _ in proxy.sweeps().values())
        proxy.until(self.names, cycles, enough=enough)
        if whole:
            rig.fault("sweep", len(proxy.sweeps()))
        proxy.say("heal")
        rig.pause(1, 1)


class LostAck(Network):
    """The request is delivered, its answer is not, the connection ends: the client must be told the
    first offset when it asks again, and nothing may be stored twice."""
    name, fault, guards = "lost_ack", "F13", "G5 A2"
    quick, full, per_run = 300, 10000, 2000
    commands = ("rule lost_ack op=PRODUCE p=0.02", "rule lost_ack op=COMMIT p=0.02",
                "rule lost_ack op=SETTLE p=0.005", "rule lost_ack op=ACQUIRE p=0.005",
                "rule lost_ack op=JOIN p=0.05", "rule lost_ack op=INIT_PRODUCER p=0.05",
                "rule lost_ack op=HEARTBEAT p=0.05")
    names = ("lost_ack",)
    needs_faults = ("lost_ack", "same_offset")

    def run(self, rig, cycles):
        proxy = self.proxied(rig)
        proxy.until(self.names, cycles)
        proxy.say("heal")
        rig.pause(0.5, 0.5)  # the last ones ask again
        counts = proxy.counts()
        rig.fault("same_offset", counts["same_offset"])
        rig.expect(counts["other_offset"] == 0, f"another offset the second time: {counts}")


class Duplicate(Network):
    """Whole requests arrive twice: both answers must name one offset. (Not ACQUIRE: the second answer,
    which the proxy swallows, may be the one with the messages.)"""
    name, guards = "duplicate", "G5 A2"
    quick, full, per_run = 300, 10000, 5000
    commands = ("rule duplicate op=PRODUCE p=0.02", "rule duplicate op=COMMIT p=0.05",
                "rule duplicate op=SETTLE p=0.02", "rule duplicate op=HEARTBEAT p=0.1")
    names = ("duplicate",)
    needs_faults = ("duplicate", "same_offset")
    run = LostAck.run


class Stall(Network):
    """Connections stand still for longer than anybody likes, or for ever."""
    name, guards = "stall", "A1-A10"
    quick, full, per_run = 20, 2000, 200
    acks = 2000  # most of the time nothing moves
    min_ok_percent = 30
    commands = ("rule stall op=any dir=both p=0.002 for=700", "rule half_open op=any dir=both p=0.00005")
    names = ("stall", "half_open")
    needs_faults = ("stall",)


class Slow(Network):
    """Delay, jitter, few bytes a second, segments of one byte: changed at random once a second."""
    name, guards = "slow", "A1-A10 G3"
    quick, full, per_run = 3, 1000, 60
    usual = {"rate": 150}
    acks = 300  # bytes come one by one
    names = needs_faults = ("delay", "throttle", "segment")
    min_ok_percent = 30

    def run(self, rig, cycles):
        proxy = self.proxied(rig)
        for i in range(cycles):
            way = rig.rnd.choice(["up", "down", "both"])
            proxy.say("set both delay=0 jitter=0 rate=0 segment=0")
            proxy.say(f"set {way} " + [
                f"delay={rig.rnd.randrange(200)} jitter={rig.rnd.randrange(100)}",
                f"rate={rig.rnd.choice([5000, 20000, 100000])}",
                f"segment={rig.rnd.choice([1, 1, 2, 7])}"][i % 3])
            rig.pause(0.5, 1.5)
            proxy.note(self.names)
        proxy.say("heal")
        rig.pause(1, 1)
        proxy.note(self.names)


class Reorder(Network):
    """A request waits until another connection's has passed."""
    name, guards = "reorder", "G3 A3"
    quick, full, per_run = 100, 2000, 500
    acks = 5000  # requests wait for each other
    commands = ("rule hold op=PRODUCE dir=up p=0.05 for=500", "rule hold op=COMMIT dir=up p=0.05 for=500",
                "rule hold op=SETTLE dir=up p=0.02 for=500", "rule cut op=PRODUCE dir=both p=0.002")
    names = ("hold", "cut")
    needs_faults = ("hold",)


class Chaos(Network):
    """All of it, and the server is killed now and then."""
    name, guards = "chaos", "A1-A10"
    quick, full, per_run = 4, 500, 20
    names = ("cut", "lost_ack", "duplicate", "stall")
    needs_faults = ("cut", "lost_ack", "duplicate", "kill")
    min_ok_percent = 30
    commands = ("rule cut op=any dir=both p=0.002", "rule lost_ack op=PRODUCE p=0.01", "rule lost_ack op=COMMIT p=0.01",
                "rule duplicate op=PRODUCE p=0.01", "rule stall op=any p=0.0005 for=300",
                "rule hold op=any dir=up p=0.005 for=100", "set both jitter=2")

    def run(self, rig, cycles):
        proxy = self.proxied(rig)
        for _ in range(cycles):
            rig.pause(0.3, 1.5)
            proxy.note(self.names)
            rig.kill()
            rig.restart()
        rig.pause(0.5, 1)
        proxy.note(self.names)
        proxy.say("heal")
        rig.pause(0.3, 0.3)


CELLS = [CutRandom, CutSweep, LostAck, Duplicate, Stall, Slow, Reorder, Chaos]
