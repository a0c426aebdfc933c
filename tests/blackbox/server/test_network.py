#!/usr/bin/env python3
"""Peers from another address, and peers that vanish without a word. Needs a network of its own (root or user
namespaces): without one it is skipped."""
import os
import shutil
import subprocess
import sys
import time
import unittest

from harness import Server, main
from wire import DELIVER, METRICS, SUBSCRIBE, SUB_ERROR, Closed, Member, Wire, record, values

HERE, THERE = "10.77.0.1", "10.77.0.2"
SLOW_S = int(os.environ.get("WEIR_SLOW_S", "40"))  # how long a member does not read; 600 = as promised


def own_network():
    """Runs this file again inside a network namespace. Returns its exit code, None when there is none."""
    if os.environ.get("WEIR_OWN_NETWORK"):
        return None
    unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if not shutil.which("ip") or subprocess.run(unshare + ["true"], capture_output=True, check=False).returncode:
        print("no network namespaces here: skipped")
        return 0
    return subprocess.run(unshare + [sys.executable, "-W", "ignore::ResourceWarning", __file__, *sys.argv[1:]],
                          env={**os.environ, "WEIR_OWN_NETWORK": "1"}, check=False).returncode


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def connections(w):
    return [v for n, _, v in w.call(METRICS, ["weir_connections"]) if n == "weir_connections"][0]


class Network(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ip("link", "set", "lo", "up")
        ip("addr", "add", HERE + "/32", "dev", "lo")

    def setUp(self):
        ip("addr", "add", THERE + "/32", "dev", "lo")
        self.server = Server("--listen", HERE + ":0", "--allow-plaintext", "--max-per-address", "5")
        self.w = Wire(self.server.url)
        log = self.server.read_log()
        port = log.split("address=" + HERE + ":")[1].split()[0]
        self.url = f"weir://{HERE}:{port}"

    def tearDown(self):
        subprocess.run(["ip", "addr", "del", THERE + "/32", "dev", "lo"], check=False, capture_output=True)
        self.w.close()
        self.server.stop()

    def test_connections_of_one_address(self):
        """Five are in, the sixth is not; another address and loopback are not concerned."""
        five = [Wire(self.url, source=THERE) for _ in range(5)]
        with self.assertRaises((Closed, OSError)):
            Wire(self.url, source=THERE)
        Wire(self.url, source=HERE).close()
        many = [Wire(self.server.url) for _ in range(20)]
        five.pop().close()
        until = time.monotonic() + 10
        while True:
            try:
                five.append(Wire(self.url, source=THERE))
                break
            except (Closed, OSError):
                self.assertLess(time.monotonic(), until)
        self.assertIn("why=max_per_address", self.server.read_log())
        for w in five + many:
            w.close()

    def test_dead_peers(self):
        """An idle one, one that owes acknowledgements, one with a full window: all gone within 15 s, while a
        local peer that does not read for as long stays."""
        tid = self.w.create("t", partitions=1)
        big = [record(None, b"x" * 100000)] * 10
        for _ in range(10):
            self.w.produce(tid, 0, big)
        idle, owing, full = (Wire(self.url, source=THERE) for _ in range(3))
        slow = Wire(self.server.url)
        for w in (full, slow):
            w.call(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 40, {}])
        owing.call(SUBSCRIBE, [1, [[tid, 0, 10 * 10]], 1 << 40, {}])
        ip("addr", "del", THERE + "/32", "dev", "lo")  # from here on nothing reaches it
        t0 = time.monotonic()
        self.w.produce(tid, 0, [record(None, b"y")])  # for `owing`
        before = connections(self.w)
        self.assertEqual(before, 5)
        seen = before
        while seen > 2 and time.monotonic() - t0 < 60:
            self.w.fetch(tid, 0, 101, wait=200)
            now = connections(self.w)
            if now < seen:
                print(f"\n{now} connections after {time.monotonic() - t0:.1f} s", end="")
                self.assertGreater(time.monotonic() - t0, 9)
            seen = now
        self.assertEqual(seen, 2)
        self.assertLess(time.monotonic() - t0, 18)  # 15, and what a busy machine adds
        for w in (idle, owing, full):
            w.close()
        got = 0
        while got < 10:  # the slow one is whole
            got += sum(len(x[3]) > 0 for x in slow.note(100)[3])
        slow.close()

    def test_dead_and_slow_members(self):
        """The partition of a member whose kernel is gone moves on after 15 s and the grace time of 10 s; a member
        that only does not read, with its window full, keeps its own."""
        tid = self.w.create("t", partitions=2)
        for i in range(40):
            self.w.produce(tid, i % 2, [record(None, b"x" * 500000)])
        gone, slow = Member(Wire(self.url, source=THERE), "g", ["t"]), Member(Wire(self.server.url), "g", ["t"])
        until = time.monotonic() + 10
        while len(gone.parts) != 1 or len(slow.parts) != 1:
            self.assertLess(time.monotonic(), until)
            gone.heartbeat()
            slow.heartbeat()
        for m in (gone, slow):
            (t, p), = m.parts
            m.w.call(SUBSCRIBE, [1, [[t, p, 0]], 1 << 40, {}, m.who()])
        t0 = time.monotonic()
        ip("addr", "del", THERE + "/32", "dev", "lo")
        next_one = Member(self.w, "g", ["t"])
        while not next_one.parts:
            self.assertLess(time.monotonic() - t0, 60)
            next_one.w.quiet(0.5)
            next_one.heartbeat()
        took = time.monotonic() - t0
        print(f"\nits partition moved after {took:.1f} s", end="")
        self.assertEqual(list(next_one.parts), list(gone.parts))
        self.assertGreater(took, 19)
        self.assertLess(took, 42)
        while time.monotonic() - t0 < SLOW_S:
            next_one.w.quiet(1)
            next_one.heartbeat()
            self.assertEqual(list(next_one.parts), list(gone.parts), "the slow one has its own still")
        got = 0
        while got < 20:
            f = slow.w.frame()
            self.assertNotEqual(f[2], SUB_ERROR)
            if f[2] == DELIVER:
                got += sum(len(values(x[3])) for x in f[3])
        slow.heartbeat()
        self.assertEqual(slow.commit([[*k, 20] for k in slow.parts]), [None])
        for m in (gone, slow):
            m.w.close()


if __name__ == "__main__":
    code = own_network()
    if code is not None:
        sys.exit(code)
    main()
