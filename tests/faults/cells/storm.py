"""Connections by the thousand that come to nothing, and peers that are slow on purpose (F10, F11).

Judged here: others are answered within a second, and memory is back where it was.
"""
import contextlib
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from crowd import RESET, Pulse, frame, room_for, rss  # noqa: E402
from rig import Cell  # noqa: E402
from wire import FETCH, HELLO, METADATA, PRODUCE, SUBSCRIBE, Wire, batch, record  # noqa: E402

MIB = 1 << 20


class Hostile(Cell):
    """Common: a load that is judged, a producer whose waits are measured, and the server's memory. It is
    attacked once before memory is measured: what that takes may be kept, but must not grow."""
    guards = "A1-A10"
    load = None
    acks = 2000  # the machine is busy with connections
    GROWTH = 16 * MIB
    GIVEN_BACK_S = 15  # the server gives memory back every 10 s at most
    SMALL = ("--memory", "32M", "--tail-cache", "4M")  # caches are full soon, so that growth is no cache's

    def run(self, rig, cycles):
        rig.start(args=self.SMALL)
        rig.topic()
        rig.usual_load(rate=500)
        self.prepare(rig)
        pulse = Pulse(rig)
        self.attack(rig, 1, warm=True)
        rig.pause(1, 1.2)
        before = rss(rig.server.pid)
        pulse.slowest = 0
        most = self.attack(rig, cycles)
        rig.pause(1, 1.2)
        deadline = time.monotonic() + self.GIVEN_BACK_S
        while rss(rig.server.pid) - before >= self.GROWTH and time.monotonic() < deadline:
            rig.sleep(0.2)
        after = rss(rig.server.pid)
        pulse.stop()
        rig.expect(pulse.lost == 0, f"a producer lost its connection {pulse.lost} times")
        rig.expect(pulse.slowest < 1, f"a producer waited {pulse.slowest:.2f} s for an acknowledgement")
        rig.expect(after - before < self.GROWTH, f"memory grew from {before / MIB:.0f} to {after / MIB:.0f} MiB")
        print(f"  memory {before / MIB:.1f} MiB, at most {most / MIB:.1f}, then {after / MIB:.1f}; "
              f"slowest acknowledgement {pulse.slowest * 1000:.0f} ms of {pulse.acks}", flush=True)

    BACKLOG = 48 * MIB

    def prepare(self, rig):
        """Before anything is measured: the store has what its settings let it keep in memory."""
        with Wire(f"weir://127.0.0.1:{rig.port}") as w:
            self.tid = w.create("backlog", partitions=1)
            for _ in range(self.BACKLOG // (8 * 125000)):
                w.produce(self.tid, 0, [record(None, os.urandom(125000))] * 8)

    def attack(self, rig, cycles, warm=False):
        """Returns the most memory the server had meanwhile."""
        raise NotImplementedError


class Storm(Hostile):
    """A cycle is 1,000 connections: half never send a byte, half are reset in the middle of HELLO."""
    name, fault = "storm", "F10"
    quick, full, per_run = 4, 300, 60
    needs_faults = ("silent", "aborted")
    A_CYCLE, CYCLE_S = 1000, 0.2  # 5,000 a second
    GONE_S = 20
    OTHERS = 32  # files and connections of the load that come and go

    def attack(self, rig, cycles, warm=False):
        most, silent = rss(rig.server.pid), []
        hello = frame(1, HELLO, [1, "storm", "1", {}])
        room = room_for(9000)
        began = time.monotonic()
        made, open_before = 0, descriptors(rig.server.pid)
        for _ in range(cycles):
            aborted, cycle_began = 0, time.monotonic()
            for i in range(self.A_CYCLE):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", rig.port))
                made += 1
                if i % 2:
                    silent.append(s)
                else:
                    with contextlib.suppress(OSError):
                        s.send(hello[:rig.rnd.randrange(1, len(hello))])
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        aborted += 1
                    s.close()
                if len(silent) > min(room, 4000):
                    silent.pop(0).close()
            most = max(most, rss(rig.server.pid))
            rig.sleep(max(0, self.CYCLE_S - (time.monotonic() - cycle_began)))
            rig.fault("silent", self.A_CYCLE // 2)
            rig.fault("aborted", aborted)
        if not warm:
            print(f"  {made / (time.monotonic() - began):.0f} connections a second", flush=True)
            self.await_close(rig, open_before)
        for s in silent:
            s.close()
        return most

    def await_close(self, rig, before):
        """The server ends those that never said hello, 10 s after they came in. It is asked for what it has open: to
        a client a connection that the kernel's full queue dropped looks open for ever."""
        deadline = time.monotonic() + self.GONE_S
        while descriptors(rig.server.pid) > before + self.OTHERS and time.monotonic() < deadline:
            rig.sleep(0.2)
        left = descriptors(rig.server.pid) - before
        rig.expect(left <= self.OTHERS, f"{left} connections without hello were still open after {self.GONE_S} s")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class SlowPeers(Hostile):
    """Readers that ask for everything and take nothing, writers that send a byte now and then. A cycle is
    ten of each."""
    name, fault = "slow_peers", "F11"
    quick, full, per_run = 3, 100, 20
    needs_faults = ("slow_reader", "slow_writer")
    EACH = 20 * MIB  # asked for and not taken: 16 MiB of answers in flight and the one over it, a stream, the allocator

    def attack(self, rig, cycles, warm=False):
        before = most = rss(rig.server.pid)
        peers = []
        for _ in range(cycles):
            peers += [self.reader(rig, self.tid) for _ in range(10)]
            rig.fault("slow_reader", 10)
            writers = [self.writer(rig, self.tid) for _ in range(10)]
            peers += [s for s, _ in writers]
            for _ in range(20):
                for s, data in writers:
                    with contextlib.suppress(OSError):
                        s.send(bytes([data.pop(0)]))
                rig.sleep(0.05)
            rig.fault("slow_writer", 10)
            most = max(most, rss(rig.server.pid))
        bound = before + len(peers) // 2 * self.EACH + self.GROWTH
        rig.expect(most < bound, f"memory went from {before / MIB:.0f} up to {most / MIB:.0f} MiB, over {bound / MIB:.0f}")
        for s in peers:
            s.close()
        return most

    def reader(self, rig, tid):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(5)
        s.connect(("127.0.0.1", rig.port))
        s.sendall(frame(1, HELLO, [1, "slow", "1", {}]) + frame(2, SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 40, {}]) +
                  b"".join(frame(3 + i, FETCH, [0, 1, 1 << 20, [[tid, 0, 0, 1 << 20]]]) for i in range(20)))
        return s

    def writer(self, rig, tid):
        s = socket.create_connection(("127.0.0.1", rig.port), 5)
        s.sendall(frame(1, HELLO, [1, "slow", "1", {}]) + frame(2, METADATA, [["backlog"]]))
        big = struct.pack(">I", 12 << 20)  # claims a large frame and brings little of it
        small = frame(3, PRODUCE, [tid, 0, batch([record(None, b"x" * 5000)])])
        return s, bytearray(rig.rnd.choice([big + b"\x94\x00" + bytes(100), small])[:200])


CELLS = [Storm, SlowPeers]
