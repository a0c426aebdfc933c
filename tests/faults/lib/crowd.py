"""Thousands of raw connections in one process, and a producer that watches how others fare meanwhile."""
import contextlib
import errno
import os
import resource
import select
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blackbox", "server"))
import msgpack  # noqa: E402
from wire import HELLO, METADATA, Closed, Refused, Wire, record  # noqa: E402

RESET = struct.pack("ii", 1, 0)


def frame(corr, op, args):
    body = msgpack.packb([0, corr, op, args], use_bin_type=True)
    return struct.pack(">I", len(body)) + body


def room_for(n):
    """Raises the limit on open files; returns how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(n + 200, hard) if hard > 0 else n + 200, hard))
    return min(n, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


def rss(pid):
    """Bytes of memory that a process really has."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def starved_s(pid):
    """Seconds that the threads of a server, and this one, were ready to run and no processor was free for them. Those
    of RocksDB are not counted: nobody waits for what they do."""
    ns = 0
    with open("/proc/thread-self/schedstat", encoding="ascii") as f:
        ns += int(f.read().split()[1])
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
                if f.read().startswith("rocksdb"):
                    continue
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                ns += int(f.read().split()[1])
    return ns / 1e9


class Pulse:
    """Produces one message every 20 ms to a topic of its own, and keeps the longest time to an answer. A busy machine
    is not the server's fault: the time in which there was no processor for it is taken off."""
    EVERY_S = 0.02

    def __init__(self, rig, topic="pulse"):
        self.rig, self.url = rig, f"weir://127.0.0.1:{rig.port}"
        self.slowest, self.acks, self.lost = 0, 0, 0
        self.end = threading.Event()
        with Wire(self.url) as w:
            try:
                self.tid = w.create(topic, partitions=1)
            except Refused:
                self.tid = w.call(METADATA, [[topic]])[2][0][1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.end.is_set():
            try:
                with Wire(self.url) as w:
                    pid = self.rig.server.pid  # a connection ends with its server
                    while not self.end.wait(self.EVERY_S):
                        starved, began = starved_s(pid), time.monotonic()
                        w.produce(self.tid, 0, [record(None, b"x" * 100)])
                        took = time.monotonic() - began
                        self.slowest = max(self.slowest, took - (starved_s(pid) - starved))
                        self.acks += 1
            except (Closed, OSError, Refused):
                self.lost += 1
                self.end.wait(0.05)

    def stop(self):
        self.end.set()
        self.thread.join(30)


class Head:
    """One of a herd: connects, says hello, asks for the topic; is served when that was answered."""

    def __init__(self, herd):
        self.herd, self.sock, self.data, self.served = herd, None, b"", None

    def connect(self):
        self.data, self.served = b"", None
        s = self.sock = socket.socket()
        s.setblocking(False)
        rc = s.connect_ex(self.herd.address)
        if rc not in (0, errno.EINPROGRESS):
            self.drop()
            return
        self.herd.by_fd[s.fileno()] = self
        self.herd.poll.register(s, select.EPOLLIN | select.EPOLLOUT)

    def drop(self):
        if self.sock:
            self.herd.by_fd.pop(self.sock.fileno(), None)
            self.sock.close()
            self.sock = None
        self.served = None
        self.herd.down.append(self)

    def on(self, events):
        try:
            if events & select.EPOLLOUT:
                self.sock.send(self.herd.greeting)
                self.herd.poll.modify(self.sock, select.EPOLLIN)
            elif events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                piece = self.sock.recv(65536)
                if not piece:
                    self.drop()
                    return
                self.data += piece
                self.count()
        except OSError:
            self.drop()

    def count(self):
        """Both answers are here."""
        at, n = 0, 0
        while len(self.data) - at >= 4:
            size = 4 + struct.unpack_from(">I", self.data, at)[0]
            if len(self.data) - at < size:
                return
            at, n = at + size, n + 1
        if n >= 2 and self.served is None:
            self.served = time.monotonic()


class Herd:
    """n clients that connect, ask, and stay; when they are dropped they come back after 20 ms."""

    def __init__(self, host, port, n, topic):
        self.address, self.poll, self.by_fd, self.down = (host, port), select.epoll(), {}, []
        self.greeting = frame(1, HELLO, [1, "herd", "1", {}]) + frame(2, METADATA, [[topic]])
        self.heads = [Head(self) for _ in range(room_for(n))]
        self.down = list(self.heads)

    def all_served(self, within_s):
        """Seconds until every one is served; None when it took longer."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            again, self.down = self.down, []
            for h in again:
                h.connect()
            for fd, events in self.poll.poll(0.02, 4096):
                if fd in self.by_fd:
                    self.by_fd[fd].on(events)
            if all(h.served for h in self.heads):
                return max(h.served for h in self.heads) - began
        return None

    def notice(self, within_s):
        """Runs until all connections were seen to be gone."""
        began = time.monotonic()
        while self.by_fd and time.monotonic() - began < within_s:
            for fd, events in self.poll.poll(0.02, 4096):
                if fd in self.by_fd:
                    self.by_fd[fd].on(events)

    def close(self):
        for h in self.heads:
            if h.sock:
                h.sock.close()
        self.poll.close()
