"""Processes that stand still and come back: the server, members, workers, producers (F6).

A member lives as long as its connection, and the grace time after it. So one that merely stands still
keeps what it has; a zombie is one whose connection broke meanwhile.
"""
import json
import threading
import time

from cells.network import ProxyClient
from rig import Cell

GRACE_S = 10  # how long the server waits for a member that is away


class Pauses(Cell):
    """SIGSTOP for 0.1 to 3 times the grace time, often two at once."""
    fault, guards = "F6", "G7 A7 A8"
    name = "pause_long"
    quick, full, per_run = 0, 400, 20
    least_s, longest_s = 0.1 * GRACE_S, 3 * GRACE_S
    needs_faults = ("pause",)
    acks = 2000  # the server stands still as well
    min_ok_percent = 10
    load = {"rate": 300, "members": 3, "workers": 3}

    def one(self, rig, what, seconds):
        if what == "server":
            rig.stop_for(seconds)
            return
        c = rig.rnd.choice(rig.of(what))
        c.pause()
        rig.sleep(seconds)
        c.resume()

    def run(self, rig, cycles):
        rig.pause(0.5, 1)
        for _ in range(cycles):
            threads = []
            whom = ["server", "member", "worker", "produce"]
            for what in sorted({rig.rnd.choice(whom) for _ in range(rig.rnd.choice([1, 1, 2]))}):
                seconds = self.least_s * (self.longest_s / self.least_s) ** rig.rnd.random()
                threads.append(threading.Thread(target=self.one, args=(rig, what, seconds)))
                rig.fault("pause_" + what)
                rig.fault("pause")
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            rig.pause(0.1, 1)


class Short(Pauses):
    """The same for 0.1 to 1 s."""
    name = "pause"
    quick, full, per_run = 6, 100, 50
    least_s, longest_s = 0.1, 0.1 * GRACE_S
    acks = 4000
    min_ok_percent = 30
    load = {"rate": 800, "members": 3, "workers": 3}


class Zombies(Cell):
    """A member and a worker stand still, their connections break, others take over after the grace time;
    then the two wake up and go on as if nothing had been."""
    name, fault, guards = "zombies", "F6", "G7 A7 A8"
    quick, full, per_run = 1, 100, 5
    needs_faults = ("zombie",)
    load = None
    acks = 4000  # seldom more than 20 s at a low rate

    @staticmethod
    def members(rig, group):
        return json.loads(rig.weir("group", "describe", group, "-o", "json").stdout)["member_details"]

    def waited_for(self, rig, group):
        return [m for m in self.members(rig, group) if m["away"]]

    def run(self, rig, cycles):
        rig.start()
        rig.topic()
        rig.usual_load(rate=400, members=1, workers=1)
        proxy = ProxyClient(rig)
        still = [rig.client("member", group="log", url=proxy.url), rig.client("member", group="log", url=proxy.url),
                 rig.client("worker", group="queue", url=proxy.url)]
        rig.pause(1, 1.5)
        for _ in range(cycles):
            for c in still:
                c.pause()
            rig.pause(0, 0.3)
            cut = proxy.now("cut how=" + rig.rnd.choice(["fin", "rst"]))
            rig.expect(cut == len(still), f"{cut} connections cut, not {len(still)}")
            rig.fault("zombie", cut)
            began = time.monotonic()
            while self.waited_for(rig, "log") + self.waited_for(rig, "queue"):
                rig.sleep(0.2)
                if time.monotonic() - began > 2 * GRACE_S:
                    break
            took = time.monotonic() - began
            rig.expect(GRACE_S - 1 < took < GRACE_S + 2, f"members were waited for for {took:.1f} s, not {GRACE_S}")
            rig.pause(0.5, 2)
            for c in still:
                c.resume()
            rig.pause(1, 2)
            for group, n in (("log", 3), ("queue", 2)):
                there = len(self.members(rig, group))
                rig.expect(there == n, f"{there} members of {group} after all woke up, not {n}")


CELLS = [Short, Pauses, Zombies]
