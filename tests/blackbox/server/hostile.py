"""A crowd of 1,000 connections that are slow or hostile, and one pair of clients that only wants to work.

The crowd: some say HELLO a byte at a time, some subscribe to a backlog and never read, some begin large
frames and never end them, some talk garbage, some only sit there. Who is thrown out comes back.
"""
import contextlib
import multiprocessing
import selectors
import socket
import struct
import time

import msgpack

from wire import HELLO, SUBSCRIBE, Wire, record

SLOW_S = 2  # between two bytes of the slow ones
AWAY_S = 0.5  # until those that were thrown out come back


def frame(corr, op, args):
    body = msgpack.packb([0, corr, op, args], use_bin_type=True)
    return struct.pack(">I", len(body)) + body


GREETING = frame(1, HELLO, [1, "crowd", "1", {}])


class Crowd(multiprocessing.Process):
    """Keeps n connections busy, in a process of its own, until stop() is called."""

    KINDS = ("slow", "deaf", "half", "garbage", "idle")

    def __init__(self, url, n, tid):
        super().__init__(daemon=True)
        host, port = url.removeprefix("weir://").split(":")
        self.address, self.n, self.tid = (host, int(port)), n, tid
        self.over = multiprocessing.Event()
        self.full = multiprocessing.Event()
        self.slow, self.deaf, self.back = [], [], []

    def come(self, kind):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(self.address)
        s.setblocking(False)
        with contextlib.suppress(OSError):
            if kind == "slow":
                self.slow.append([s, 0])
            elif kind == "deaf":
                s.send(GREETING + frame(2, SUBSCRIBE, [1, [[self.tid, 0, 0]], 1 << 40, {"max_push": 1 << 20}]))
            elif kind == "half":
                s.send(GREETING + struct.pack(">I", 1 << 20) + b"\x94\x00\x02\x0a" + b"x" * 2000)
            elif kind == "garbage":
                s.send(b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n" * 10)
            else:
                s.send(GREETING)
        if kind == "deaf":  # those that never read do not hear their end either
            self.deaf.append(s)
        else:
            self.sel.register(s, selectors.EVENT_READ, kind)

    def leave(self, s, kind):
        self.sel.unregister(s)
        self.slow = [x for x in self.slow if x[0] is not s]
        s.close()
        self.back.append((time.monotonic() + AWAY_S, kind))

    def run(self):
        self.sel = selectors.DefaultSelector()
        for i in range(self.n):
            self.come(self.KINDS[i % len(self.KINDS)])
        self.full.set()
        tick = time.monotonic()
        while not self.over.is_set():
            for key, _ in self.sel.select(0.05):
                try:
                    gone = not key.fileobj.recv(4096)
                except OSError:
                    gone = True
                if gone:
                    self.leave(key.fileobj, key.data)
            while self.back and self.back[0][0] < time.monotonic():
                self.come(self.back.pop(0)[1])
            if time.monotonic() - tick > SLOW_S:
                tick = time.monotonic()
                for x in self.slow:
                    with contextlib.suppress(OSError):
                        x[0].send(GREETING[x[1] % len(GREETING):][:1])
                    x[1] += 1

    def stop(self):
        self.over.set()
        self.join(30)


def fill(url, megabytes):
    """A topic with a backlog; returns its id."""
    w = Wire(url, timeout=60)
    tid = w.create("backlog", partitions=1)
    chunk = [record(None, b"x" * 10000)] * 5
    for _ in range(megabytes * 20):
        w.produce(tid, 0, chunk)
    w.close()
    return tid


class Worker:
    """Produces one message, waits for its answer, fetches it; over and over."""

    def __init__(self, url, name):
        self.w = Wire(url, timeout=60)
        self.tid = self.w.create(name, partitions=1)
        self.next = 0

    def measure(self, seconds):
        """Milliseconds from offering a message to holding it, sorted."""
        took = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            self.w.produce(self.tid, 0, [record(None, b"y" * 100)])
            while not self.w.fetch(self.tid, 0, self.next, wait=1000):
                pass
            self.next += 1
            took.append((time.perf_counter() - began) * 1000)
        return sorted(took)


def percentile(took, p):
    return took[min(len(took) - 1, int(len(took) * p))]
