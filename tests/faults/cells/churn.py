"""Members that come and go all the time (F15)."""
import signal

from rig import Cell


class Churn(Cell):
    """Every 50 to 500 ms a member or worker joins, leaves, stands still, wakes up, or is killed; now and then
    the server is killed in the middle. A cycle is one such step; members and workers alternate."""
    name, fault, guards = "churn", "F15", "G7 G8 A7 A8"
    quick, full, per_run = 30, 10000, 400
    needs_faults = ("join", "leave", "kill_member")
    load = {"rate": 500, "members": 2, "workers": 2}
    acks = 4000  # the machine is busy with starting processes
    MOST = 6

    def here(self, rig, role):
        return [c for c in rig.of(role) if c not in self.leaving]

    def join(self, rig, role):
        rig.client(role, group="log" if role == "member" else "queue", every=rig.rnd.choice([1, 8, 64]),
                   **({"nack": 1} if role == "worker" else {}))
        rig.fault("join")

    def go(self, rig, c, what):
        if what == "leave":
            if c in self.paused:
                self.paused.remove(c)
            c.stop()
            self.leaving.append(c)
        else:
            c.kill()
        rig.fault(what)

    def step(self, rig, role):
        here = self.here(rig, role)
        paused = [c for c in self.paused if c.alive() and c.role == role]
        what = rig.rnd.choice(["join", "join", "leave", "pause", "wake", "kill_member"])
        if len(here) <= 1 or what == "join":
            if len(here) < self.MOST:
                self.join(rig, role)
            return
        c = rig.rnd.choice(here)
        if what in ("leave", "kill_member"):
            self.go(rig, c, what)
        elif what == "pause" and len(paused) < 2 and c not in self.paused:
            c.pause()
            self.paused.append(c)
            rig.fault("pause_member")
        elif paused:
            paused[0].resume()
            self.paused.remove(paused[0])

    def run(self, rig, cycles):
        self.paused, self.leaving = [], []
        rig.pause(0.3, 0.6)
        # What a worker had that died together with the server is leased to the end of this time.
        rig.weir("group", "alter", "queue", "-c", "max_processing_ms=15000")
        for i in range(cycles):
            self.step(rig, ("member", "worker")[i % 2])
            rig.pause(0.05, 0.5)
            if rig.rnd.random() < 0.03:
                self.step(rig, "member")
                rig.pause(0, 0.02)
                rig.kill()
                rig.restart()
        for what in ("leave", "kill_member"):
            while rig.faults.get(what, 0) < 3:
                self.join(rig, "worker")
                rig.pause(0.1, 0.3)
                self.go(rig, rig.rnd.choice(self.here(rig, "worker")), what)
        for c in self.paused:
            c.resume()
        rig.pause(0.5, 0.5)


CELLS = [Churn]
