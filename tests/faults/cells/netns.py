"""Real networks that break: server and clients in network namespaces of their own (F7).

The run itself moves into a namespace with the server; clients live in another one, victims in a third.
Nothing of this touches the machine's own network. Without the right to make namespaces it is invalid.
"""
import contextlib
import ctypes
import os
import subprocess
import time

from rig import Broken, Cell, Unfit

CLONE_NEWNET = 0x40000000
HERE, CLIENTS, VICTIMS = "10.99.0.1", "10.99.0.2", "10.99.1.2"
HERE_TOO = "10.99.1.1"  # the server's address towards the victims


def ip(*args):
    r = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if r.returncode:
        raise Broken(f"ip {' '.join(args)}: {r.stderr.strip()}")


class Net:
    """The namespaces of one run. The rig ends it like a client."""
    role, number, killed = "net", 0, True

    def __init__(self, rig):
        self.log, self.process = self, self
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.clients, self.victims = (f"weir-{rig.port}-{x}" for x in "cv")
        self.made = []
        if self.libc.unshare(CLONE_NEWNET):
            os.close(self.home)
            raise Unfit(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")
        rig.clients.append(self)
        try:
            self.make()
        except (Broken, OSError) as e:  # no ip, no veth, no /run/netns
            raise Unfit(f"no network namespaces here: {e}") from e

    def make(self):
        ip("link", "set", "lo", "up")
        for name, link, mine, theirs in ((self.clients, "vc", HERE, CLIENTS), (self.victims, "vv", HERE_TOO, VICTIMS)):
            ip("netns", "add", name)
            self.made.append(name)
            ip("link", "add", link, "type", "veth", "peer", "name", "up0", "netns", name)
            ip("addr", "add", mine + "/24", "dev", link)
            ip("link", "set", link, "up")
            self.within(name, "addr", "add", theirs + "/24", "dev", "up0")
            self.within(name, "link", "set", "up0", "up")

    @staticmethod
    def within(name, *args):
        ip("-n", name, *args)

    @staticmethod
    def enter(name):
        return ["ip", "netns", "exec", name]

    def connections(self, address):
        """Connections that the server has with that address."""
        r = subprocess.run(["ss", "-Htn", "state", "established", "dst", address], capture_output=True, text=True, check=True)
        return [x for x in r.stdout.splitlines() if x.strip()]

    def kill_sockets(self, address):
        return len(subprocess.run(["ss", "-KHtn", "dst", address], capture_output=True, text=True,
                                  check=False).stdout.splitlines())

    # what the rig does with clients at the end

    def signal(self, sig):
        pass

    def alive(self):
        return False

    def kill(self):
        pass

    def wait(self, timeout=None):
        pass

    def close(self):
        if self.home is None:
            return
        for name in self.made:
            with contextlib.suppress(Broken):
                ip("netns", "del", name)
        self.libc.setns(self.home, CLONE_NEWNET)
        os.close(self.home)
        self.home = None


class NetCell(Cell):
    load = None

    def begin(self, rig, **usual):
        net = Net(rig)
        rig.start(args=["--listen", f"{HERE}:{rig.port}", "--listen", f"{HERE_TOO}:{rig.port}", "--allow-plaintext",
                        "true"])
        rig.topic()
        rig.via(f"weir://{HERE}:{rig.port}?reconnect_max_ms=200&connect_timeout_ms=1000")
        with self.clients_within(rig, net.enter(net.clients)):
            rig.usual_load(**usual)
        rig.pause(0.5, 1)
        return net

    @staticmethod
    @contextlib.contextmanager
    def clients_within(rig, prefix):
        make = rig.client
        rig.client = lambda role, **more: make(role, prefix=prefix, **more)
        try:
            yield
        finally:
            rig.client = make


class Cuts(NetCell):
    """Links that go down and come back, packets that vanish one way, sockets that the kernel ends."""
    name, fault, guards = "netns", "F7", "A1-A10"
    quick, full, per_run = 4, 500, 25
    needs_faults = ("net",)
    acks = 3000  # nothing passes most of the time
    min_ok_percent = 30

    def run(self, rig, cycles):
        net = self.begin(rig, rate=800)
        for i in range(cycles):
            what = ["link", "kill", "one_way_up", "one_way_down"][i % 4] if i < 4 else rig.rnd.choice(
                ["link", "kill", "one_way_up", "one_way_down"])
            getattr(self, what)(rig, net)
            rig.fault("net")
            rig.fault("net_" + what)
            rig.pause(0.5, 1.5)

    def hold(self, rig):
        rig.pause(0.1, 20 if rig.plan == "full" else 2)

    def link(self, rig, net):
        net.within(net.clients, "link", "set", "up0", "down")
        self.hold(rig)
        net.within(net.clients, "link", "set", "up0", "up")

    def one_way_up(self, rig, net):
        net.within(net.clients, "route", "add", "blackhole", HERE + "/32")
        self.hold(rig)
        net.within(net.clients, "route", "del", "blackhole", HERE + "/32")

    def one_way_down(self, rig, net):
        ip("route", "add", "blackhole", CLIENTS + "/32")
        self.hold(rig)
        ip("route", "del", "blackhole", CLIENTS + "/32")

    def kill(self, rig, net):
        n = net.kill_sockets(CLIENTS)
        if n == 0:
            raise Unfit("ss -K ended nothing: a kernel without INET_DIAG_DESTROY")


class DeadPeers(NetCell):
    """The machine of a member, a worker and a reader is gone without a word: their connections are found to be
    dead within 15 s, their work goes to others after the grace time, what was committed stays."""
    name, fault, guards = "dead_peers", "F7", "G7 G8 A10"
    quick, full, per_run = 1, 100, 5
    needs_faults = ("dead_peer",)
    acks = 4000  # half a minute at a low rate
    FOUND_S, GRACE_S, SLACK_S = 15, 10, 2

    def run(self, rig, cycles):
        net = self.begin(rig, rate=300)
        url = f"weir://{HERE_TOO}:{rig.port}"
        for _ in range(cycles):
            dead = [rig.client(role, prefix=net.enter(net.victims), url=url, **more) for role, more in (
                ("member", {"group": "log"}), ("worker", {"group": "queue"}), ("read", {}))]
            rig.pause(1, 2)
            there = net.connections(VICTIMS)
            rig.expect(len(there) == len(dead), f"{len(there)} connections of victims, not {len(dead)}")
            net.within(net.victims, "link", "set", "up0", "down")
            began = time.monotonic()
            for c in dead:
                c.kill()
            rig.fault("dead_peer", len(dead))
            while net.connections(VICTIMS) and time.monotonic() - began < 60:
                rig.sleep(0.1)
            found = time.monotonic() - began
            rig.expect(found <= self.FOUND_S + self.SLACK_S, f"dead peers were found after {found:.1f} s")
            print(f"  dead peers found after {found:.1f} s", flush=True)
            rig.pause(self.GRACE_S, self.GRACE_S + 1)
            net.within(net.victims, "link", "set", "up0", "up")


CELLS = [Cuts, DeadPeers]
