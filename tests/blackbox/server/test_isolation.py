#!/usr/bin/env python3
"""One peer, whatever it does, leaves the others their share: of the loop, of memory, of sockets."""
import select
import socket
import struct
import subprocess
import sys
import time

import msgpack

from harness import ServerCase, environment, main
from wire import (CREDIT, DELETE, FETCH, HELLO, MALFORMED, METADATA, METRICS, PING, SUBSCRIBE, Closed, Wire,
                  record)

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


if __name__ == "__main__":
    main()
