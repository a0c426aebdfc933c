#!/usr/bin/env python3
"""One peer, whatever it does, leaves the others their share: of the loop, of memory, of sockets."""
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time

import msgpack

from harness import ServerCase, bin_dir, environment, main, sanitized
from wire import CREDIT, DESCRIBE, FETCH, HELLO, MALFORMED, METADATA, METRICS, PING, Refused, Wire, record

FLOOD = """
import os, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(bytes.fromhex(sys.argv[3]))
s.recv(4096)
block = bytes.fromhex(sys.argv[4]) * 4000
sys.stdout.write("flooding\\n")
sys.stdout.flush()
try:
    while True:
        s.sendall(block)
except OSError:
    pass
"""


def framed(body):
    body = msgpack.packb(body, use_bin_type=True)
    return struct.pack(">I", len(body)) + body


def figures(w):
    return {n: v for n, labels, v in w.call(METRICS, [None]) if not labels}


class Flood(ServerCase):
    def flooded(self, frame, peers=3):
        """Peers in processes of their own send one frame without end; returns the slowest of 100 pings."""
        host, port = self.server.url.removeprefix("weir://").split(":")
        hello = framed([0, 1, HELLO, [1, "flood", "1", {}]])
        w = self.wire()
        ps = [subprocess.Popen([sys.executable, "-c", FLOOD, host, port, hello.hex(), frame.hex()],
                               stdout=subprocess.PIPE, env=environment()) for _ in range(peers)]
        try:
            for p in ps:
                p.stdout.readline()
            slowest = 0.0
            for _ in range(100):
                t0 = time.monotonic()
                w.call(PING, [])
                slowest = max(slowest, time.monotonic() - t0)
            return slowest
        finally:
            for p in ps:
                p.kill()
                p.wait()
                p.stdout.close()

    def test_notifications_without_answers(self):
        self.assertLess(self.flooded(framed([2, 77, CREDIT, [5]])), 1.0)

    def test_requests_whose_answers_nobody_reads(self):
        self.assertLess(self.flooded(framed([0, 5, PING, []])), 1.0)
        self.assertLess(self.flooded(framed([0, 5, METADATA, [None]])), 1.0)


class Words(ServerCase):
    """What a peer is told before the connection ends arrives, whatever else it still sends."""

    def test_last_words_before_unread_input(self):
        for _ in range(20):
            w = self.wire()
            w.raw(framed([0, 1, PING, []]) + framed([1, 2, None, []]) + b"x" * 200000)
            self.assertEqual(w.frame()[:2], [1, 1])
            f = w.frame()
            self.assertEqual(f[2][0], MALFORMED)
            self.assertEqual(w.sock.recv(1), b"")  # an orderly end, not a reset

    def test_peer_that_goes_on_after_the_end_is_cut_off(self):
        w, other = self.wire(), self.wire()
        w.raw(framed([1, 2, None, []]))
        before = figures(other)["weir_connections"]
        until = time.monotonic() + 20
        while figures(other)["weir_connections"] == before and time.monotonic() < until:
            try:
                w.raw(b"more")
            except OSError:
                break
        while figures(other)["weir_connections"] == before:
            self.assertLess(time.monotonic(), until)


class BeforeHello(ServerCase):
    def test_bytes_in_total(self):
        ping = framed([0, 1, PING, []])
        n = 16384 // len(ping)
        rest = 16384 - n * len(ping)
        w = self.wire(hello=False)
        w.raw(ping * n + (struct.pack(">I", 4000) + bytes(rest))[:rest])  # 16,384 bytes in all
        for _ in range(n):
            self.assertIsNone(w.frame()[2])
        w.raw(b"\0")
        f = w.frame()
        self.assertEqual((f[2][0], "16384" in f[2][2]), (5, True))
        self.assertEqual(w.ends(), [])

    def test_silence_ends_after_ten_seconds(self):
        """Peers that say nothing, and one that says a byte at a time, while others are served."""
        other = self.wire()
        t0 = time.monotonic()
        peers = [self.wire(hello=False) for _ in range(100)]
        drip = self.wire(hello=False)
        hello = framed([0, 1, HELLO, [1, "x" * 100, "1", {}]])
        slowest, i = 0.0, 0
        left = {p.sock for p in peers} | {drip.sock}
        while left and time.monotonic() - t0 < 20:
            for s in select.select(list(left), [], [], 0.25)[0]:
                self.assertEqual(s.recv(100), b"")
                left.discard(s)
            t1 = time.monotonic()
            other.call(PING, [])
            slowest = max(slowest, time.monotonic() - t1)
            if drip.sock in left and i < len(hello) - 1:
                drip.raw(hello[i:i + 1])
                i += 1
        took = time.monotonic() - t0
        self.assertEqual(left, set())
        self.assertGreater(took, 9)
        self.assertLess(took, 13)
        self.assertLess(slowest, 1)
        self.assertEqual(figures(other)["weir_connections"], 1)


class Memory(ServerCase):
    options = ("--input", "8M", "--tail-cache", "0")

    def test_answers_that_nobody_reads(self):
        """1,000 fetches of a megabyte each, from peers that do not read."""
        w = self.wire()
        tid = w.create(self.name(), partitions=1)
        for _ in range(30):
            w.produce(tid, 0, [record(None, b"x" * 100000)] * 10)
        before = figures(w)["weir_resident_memory_bytes"]
        peers = []
        for _ in range(4):
            p = self.wire()
            p.sock.settimeout(0.5)
            peers.append(p)
            try:
                p.raw(b"".join(framed([0, i, FETCH, [0, 1, 4 << 20, [[tid, 0, 0, 4 << 20]]]])
                               for i in range(1, 1001)))
            except TimeoutError:
                pass
        for _ in range(300):
            w.call(PING, [])
        after = figures(w)["weir_resident_memory_bytes"]
        if not sanitized():
            self.assertLess(after - before, len(peers) * (24 << 20))
        p = peers[0]
        p.sock.settimeout(20)
        for i in range(1, 200):  # and none is lost
            self.assertEqual(len(p.answer(i)), 1)

    def test_large_frames_share_a_budget(self):
        """Four peers begin 15 MiB frames and stop; an honest one comes through, memory stays."""
        w = self.wire()
        tid = w.create(self.name(), partitions=1, message__max_bytes=8 << 20)
        before = figures(w)["weir_resident_memory_bytes"]
        peers = [self.wire() for _ in range(4)]
        for p in peers:
            p.sock.settimeout(0.5)
            try:
                p.raw(struct.pack(">I", 15 << 20) + b"\x94" + b"\0" * (14 << 20))
            except TimeoutError:
                pass
        w.sock.settimeout(60)
        self.assertEqual(w.produce(tid, 0, [record(None, b"y" * (4 << 20))])[0], 0)
        m = figures(w)
        if not sanitized():
            self.assertLess(m["weir_resident_memory_bytes"] - before, 48 << 20)
        self.assertLessEqual(m["weir_large_input_bytes"], 16 << 20)
        self.assertIn("input_full", self.server.read_log())


class Log(ServerCase):
    options = ("--log-level", "debug", "--log-format", "json")

    def test_every_line_is_json(self):
        name = 'a"b\\c=\n\u00e4'
        w = self.wire(hello=False)
        w.call(HELLO, [1, name, '1" evil="2', {}])
        w.raw(struct.pack(">I", 0))
        w.ends()
        other = self.wire()
        with self.assertRaises(Refused):
            other.call(DESCRIBE, ['x" y="z'])
        lines = [json.loads(x) for x in self.server.read_log().splitlines()]
        refused = [x for x in lines if x["event"] == "frame_refused"]
        self.assertEqual(len(refused), 1)
        self.assertEqual(refused[0]["client"], "a'b'c=???/1' evil='2")
        self.assertNotIn("evil", refused[0])
        self.assertIn("x' y='z", [x for x in lines if x["event"] == "request_refused"][0]["why"])

    def test_log_that_nobody_reads(self):
        p = subprocess.Popen([os.path.join(bin_dir(), "weir-server"), "--dev", "--http=", "--listen", "127.0.0.1:0",
                              "--log-level", "debug"], stderr=subprocess.PIPE, env=environment())
        head = b""
        while b" ready " not in head:
            head += os.read(p.stderr.fileno(), 4096)
        url = "weir://" + re.search(rb"address=(\S+)", head).group(1).decode()
        for _ in range(2000):
            Wire(url).close()
        Wire(url).close()
        p.send_signal(signal.SIGTERM)
        rest = p.stderr.read().decode()
        self.assertEqual(p.wait(20), 0)
        p.stderr.close()
        self.assertRegex(rest, r"dropped=\d+")


if __name__ == "__main__":
    main()
