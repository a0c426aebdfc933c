#!/usr/bin/env python3
"""Limits that settings set, at n and at n + 1, each with the figure that counts it; and the memory of all
connections together, which nobody gets around."""
import socket
import struct
import time

import msgpack

from harness import Server, ServerCase, main, sanitized
from wire import (CREDIT, DELIVER, FETCH, HELLO, LIST_OFFSETS, METRICS, PING, PRODUCE, SUBSCRIBE, TOO_LARGE, Closed,
                  Refused, Wire, batch, record)

OVERLOADED = 10
MIB = 1 << 20


def frame(corr, op, args):
    body = msgpack.packb([0, corr, op, args], use_bin_type=True)
    return struct.pack(">I", len(body)) + body


GREETING = frame(1, HELLO, [1, "test", "1", {}])


class Figures(ServerCase):
    def figures(self, w):
        return {(n, *labels.values()): v for n, labels, v in w.call(METRICS, ["weir_"])}

    def reached(self, w, limit):
        return self.figures(w)[("weir_limit_reached_total", limit)]

    def deaf(self, n, data):
        """n connections that say this and never read."""
        out = []
        for _ in range(n):
            w = self.wire(hello=False)
            w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            w.sock.setblocking(False)
            try:
                w.sock.send(data)
            except BlockingIOError:
                pass
            out.append(w)
        return out

    def eventually(self, what, seconds=20):
        until = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), until)


class Settings(Figures):
    options = ("--max-frame", "65536", "--max-requests", "8", "--max-output", "65536", "--hello-ms", "500",
               "--max-request-bytes", "131072")

    def test_hello_tells_them(self):
        limits = self.wire().hello[4]
        self.assertEqual((limits["frame"], limits["inflight"], limits["inflight_bytes"]), (65536, 8, 131072))
        self.assertLess(limits["batch"], 65536)
        w = self.wire()
        f = self.figures(w)
        self.assertEqual([f[("weir_limit", n)] for n in
                          ("frame_bytes", "inflight_requests_per_connection", "inflight_bytes_per_connection",
                           "output_per_connection_bytes", "hello_milliseconds")], [65536, 8, 131072, 65536, 500])

    def test_frame(self):
        w = self.wire()
        tid = w.create(self.name())
        body = lambda n: msgpack.packb([0, 7, PRODUCE, [tid, 0, batch([record(None, b"x" * n)])]], use_bin_type=True)
        n = 65000
        while len(body(n)) < 65536:
            n += 65536 - len(body(n))
        self.assertEqual(len(body(n)), 65536)
        w.body(body(n))
        self.assertTrue(w.answer(7))
        before = self.reached(w, "frame")
        other = self.wire()
        other.raw(struct.pack(">I", 65537))
        self.assertEqual(other.ends()[0][2][0], TOO_LARGE)
        self.assertEqual(self.reached(w, "frame"), before + 1)

    def test_requests_in_flight(self):
        w, other = self.wire(), self.wire()
        tid = w.create(self.name())
        before = self.reached(other, "requests")
        waiting = [w.send(FETCH, [30000, 1, 1000, [[tid, 0, 0, 1000]]]) for _ in range(7)]
        w.call(PING, [])
        self.assertEqual(self.reached(other, "requests"), before)
        waiting.append(w.send(FETCH, [30000, 1, 1000, [[tid, 0, 0, 1000]]]))
        ping = w.send(PING, [])
        self.eventually(lambda: self.reached(other, "requests") > before)
        w.sock.settimeout(0.3)
        with self.assertRaises(socket.timeout):
            w.answer(ping)
        w.sock.settimeout(20)
        other.produce(tid, 0, [record(None, b"x")])
        for corr in waiting + [ping]:
            w.answer(corr)

    def test_bytes_in_flight(self):
        """A fetch counts as what it may bring: one of 128 KiB fills it, one byte less does not."""
        w, other = self.wire(), self.wire()
        tid = w.create(self.name())
        before = self.reached(other, "request_bytes")
        first = w.send(FETCH, [30000, 1, 131071, [[tid, 0, 0, 1000]]])
        w.call(PING, [])
        self.assertEqual(self.reached(other, "request_bytes"), before)
        second = self.wire()
        full = second.send(FETCH, [30000, 1, 131072, [[tid, 0, 0, 1000]]])
        ping = second.send(PING, [])
        self.eventually(lambda: self.reached(other, "request_bytes") > before)
        other.produce(tid, 0, [record(None, b"x")])
        w.answer(first)
        second.answer(full)
        second.answer(ping)

    def test_time_to_say_hello(self):
        t0 = time.monotonic()
        w = self.wire(hello=False)
        w.raw(GREETING[:5])
        with self.assertRaises(Closed):
            w.frame()
        self.assertGreater(time.monotonic() - t0, 0.5)
        self.assertGreater(self.figures(self.wire())[("weir_connections_closed_total", "no_hello")], 0)

    def test_output_of_one(self):
        """Who asks and does not read is not read either."""
        w = self.wire()
        before = self.reached(w, "output_per_connection")
        deaf = self.deaf(1, GREETING + b"".join(frame(i, METRICS, [None]) for i in range(2, 2000)))
        self.eventually(lambda: self.reached(w, "output_per_connection") > before)
        self.assertLess(self.figures(w)[("weir_output_bytes",)], 65536 + 64 * 1024)
        deaf[0].sock.setblocking(True)
        deaf[0].sock.settimeout(20)
        for i in range(1, 500):  # once it reads, all is answered
            deaf[0].answer(i)


class BeforeHello(Figures):
    def test_bytes(self):
        """16 KiB, and one more. The peer pings all the time, which is allowed."""
        ping = frame(300, PING, [])
        w = self.wire(hello=False)
        n = 0
        while n + len(ping) <= 16384:
            w.raw(ping)
            self.assertEqual(w.frame()[1], 300)
            n += len(ping)
        w.raw(ping[:16384 - n])
        self.assertEqual(w.quiet(0.2), [])
        other = self.wire()
        self.assertEqual(self.reached(other, "input_before_hello"), 0)
        w.raw(b"\x00")
        f = w.ends()
        self.assertEqual(f[0][2][0], TOO_LARGE)
        self.assertIn("16384", f[0][2][2])
        self.assertEqual(self.reached(other, "input_before_hello"), 1)


class Accepting(Figures):
    options = ("--accept-rate", "20", "--accept-burst", "4", "--max-connections", "12")

    def test_rate(self):
        """Four at once, then 20 a second; none is lost. (Others of this test may have used some of the four.)"""
        t0 = time.monotonic()
        all_of_them = [self.wire() for _ in range(10)]
        took = time.monotonic() - t0
        self.assertGreater(took, 5 / 20)
        self.assertGreater(self.reached(all_of_them[0], "accept_rate"), 0)
        for w in all_of_them:
            w.close()

    def test_connections(self):
        w = self.wire()
        self.eventually(lambda: self.figures(w)[("weir_connections",)] == 1)
        rest = [self.wire() for _ in range(11)]
        rest[-1].call(PING, [])
        with self.assertRaises((Closed, OSError)):
            Wire(self.server.url)
        f = self.figures(w)
        self.assertEqual((f[("weir_connections",)], f[("weir_accepts_refused_total", "max_connections")]), (12, 1))
        self.assertIn("accept_refused why=max_connections", self.server.read_log())
        rest.pop().close()
        self.eventually(lambda: self.figures(w)[("weir_connections",)] == 11)
        self.wire().call(PING, [])


class Budget(Figures):
    """64 MiB for all connections, a quarter of it for a kind. One server each: what was freed need not leave the
    process."""
    options = ("--connection-memory", "64M", "--tail-cache", "0", "--memory", "16M")

    def setUp(self):
        self.server = Server(*self.options)
        self.w = self.wire(timeout=60)

    def tearDown(self):
        self.doCleanups()
        self.server.stop()

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def resident(self):
        return self.figures(self.w)[("weir_resident_memory_bytes",)]

    def backlog(self, n):
        tid = self.w.create("backlog", partitions=1)
        for _ in range(n):
            self.w.produce(tid, 0, [record(None, b"x" * 100000)] * 10)
        return tid

    def goes_on(self, tid, p=0):
        """Others are served; what was used is within bounds."""
        for i in range(50):
            self.w.produce(tid, p, [record(None, b"%d" % i)])
        f = self.figures(self.w)
        for kind in ("output", "large_input", "requests"):
            with self.subTest(kind=kind):
                self.assertLess(f[("weir_memory_bytes", kind)], 16 * MIB + 48 * MIB)
        return f

    def grew_less_than(self, before, mib):
        if not sanitized():
            self.assertLess(self.resident() - before, mib * MIB)


class Memory(Budget):
    def test_answers_that_nobody_reads(self):
        tid = self.w.create("t")
        before = self.resident()
        self.deaf(300, GREETING + b"".join(frame(i, METRICS, [None]) for i in range(2, 400)))
        self.goes_on(tid)
        self.eventually(lambda: self.reached(self.w, "output") > 0)
        self.grew_less_than(before, 100)

    def test_reads_that_nobody_takes(self):
        """64 subscriptions a connection, each of which may be pushed 4 MiB."""
        tid = self.backlog(40)
        before = self.resident()
        self.deaf(30, GREETING + b"".join(frame(2 + i, SUBSCRIBE, [i, [[tid, 0, 0]], 1 << 40, {"max_push": 4 * MIB}])
                                          for i in range(64)))
        self.goes_on(tid)
        self.eventually(lambda: self.reached(self.w, "output") > 0)
        self.grew_less_than(before, 150)

    def test_fetches_that_nobody_takes(self):
        tid = self.backlog(40)
        before = self.resident()
        self.deaf(60, GREETING + b"".join(frame(2 + i, FETCH, [0, 1, MIB, [[tid, 0, 0, MIB]]]) for i in range(64)))
        self.goes_on(tid)
        self.eventually(lambda: self.reached(self.w, "output") > 0)
        self.grew_less_than(before, 200)

    def test_subscriptions(self):
        """As many as fit are taken, the next is OVERLOADED, and there is room again when one goes."""
        tid = self.w.create("t", partitions=1024)
        before = self.resident()
        parts = [[tid, p, 0] for p in range(1024)]
        peers, taken = [], 0
        with self.assertRaises(Refused) as r:
            while taken < 200:
                if taken % 60 == 0:
                    peers.append(self.wire())
                peers[-1].call(SUBSCRIBE, [taken % 60, parts, 0, {}])
                taken += 1
        self.assertEqual(r.exception.code, OVERLOADED)
        self.assertEqual(taken, -(-16 * MIB // (1024 * 200)))  # the quarter, of 200 bytes each
        self.assertGreater(self.reached(self.w, "memory_requests"), 0)
        self.w.produce(tid, 0, [record(None, b"x")])
        self.refused(OVERLOADED, peers[-1].fetch, tid, 0, 0)
        peers.pop().close()
        self.eventually(lambda: self.figures(self.w)[("weir_memory_bytes", "requests")] < 16 * MIB)
        self.assertEqual(len(self.w.fetch(tid, 0, 0)), 1)
        self.grew_less_than(before, 64)

    def test_half_requests(self):
        """3,500 that begin a request of 16,000 bytes and leave it at that do not all fit: some do not get in, or are
        closed. All others go on meanwhile."""
        tid = self.w.create("t")
        before = self.resident()
        self.deaf(3500, GREETING + frame(2, PING, []) * 20 + struct.pack(">I", 16000) + b"x" * 15000)
        self.goes_on(tid)
        f = self.figures(self.w)
        self.eventually(lambda: f[("weir_accepts_refused_total", "memory")] > 0 or
                        self.figures(self.w)[("weir_connections_closed_total", "input_full")] > 0)
        self.eventually(lambda: self.figures(self.w)[("weir_connection_memory_bytes",)] < 52 * MIB)
        self.grew_less_than(before, 250)
        self.wire().call(PING, [])


class Fair(Budget):
    """Who holds memory and does not go on is not in the way of others."""

    def hoard(self, tid, n, conns, max_push=64 << 10):
        """Connections that hold a batch each and read nothing."""
        self.deaf(conns, GREETING + b"".join(
            frame(2 + i, SUBSCRIBE, [i, [[tid, 0, 0]], 1 << 40, {"max_push": max_push}]) for i in range(n)))

    def big(self, name, n, size):
        tid = self.w.create(name, partitions=1, message__max_bytes=8 * MIB)
        for _ in range(n):
            self.w.produce(tid, 0, [record(None, b"x" * size)])
        return tid

    def test_credit_is_heard_while_output_is_used_up(self):
        """A consumer whose credit ends in the middle of what was read for it says so, and is heard."""
        tid = self.w.create("small", partitions=1)
        for _ in range(200):
            self.w.produce(tid, 0, [record(None, b"y" * 2000)])
        backlog = self.big("big", 40, 900000)
        self.hoard(backlog, 1, 20)
        self.eventually(lambda: self.figures(self.w)[("weir_memory_bytes", "output")] > 16 * MIB)
        w = self.wire()
        w.call(SUBSCRIBE, [1, [[tid, 0, 0]], 5000, {}])  # two batches of the 16 KiB that are read at least
        w.note(DELIVER)
        w.notify(1, CREDIT, [1 << 40])
        w.call(PING, [])
        got, until = 0, time.monotonic() + 20
        while got < 190 * 2000:
            self.assertLess(time.monotonic(), until)
            got += sum(len(p[3]) for p in w.note(DELIVER)[3])
        self.assertGreater(self.figures(self.w)[("weir_memory_bytes", "output")], 16 * MIB)

    def test_what_nobody_takes_does_not_stop_producers(self):
        backlog = self.big("big", 8, 7000000)
        tid = self.w.create("t")
        self.hoard(backlog, 1, 60)
        self.eventually(lambda: self.figures(self.w)[("weir_memory_bytes", "output")] > 16 * MIB)
        time.sleep(1)
        t0 = time.monotonic()
        for i in range(20):
            self.w.produce(tid, 0, [record(None, b"x" * 1000)])
        print(f"20 messages beside 60 that hold 7 MB each: {time.monotonic() - t0:.2f} s", flush=True)
        self.assertLess(time.monotonic() - t0, 10)

    def test_large_batches_that_nobody_takes(self):
        """Each holds one at most, but all of them not as many as they are."""
        backlog = self.big("big", 4, 8000000)
        before = self.resident()
        most = 0
        self.hoard(backlog, 1, 150)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            most = max(most, self.resident() - before)
            time.sleep(0.05)
        print(f"150 connections that hold a batch of 8 MB: {most >> 20} MiB", flush=True)
        if not sanitized():
            self.assertLess(most, 200 * MIB)

    def test_one_connection_cannot_have_all_requests(self):
        """Others may have their share, whatever one has; that one gets no more."""
        tids = [self.w.create(f"t{i}", partitions=1024) for i in range(4)]
        parts = [[t, p, 0] for t in tids for p in range(1024)]
        greedy = self.wire()
        with self.assertRaises(Refused) as r:
            for i in range(64):
                greedy.call(SUBSCRIBE, [i, parts, 0, {}])
        self.assertEqual(r.exception.code, OVERLOADED)
        self.refused(OVERLOADED, greedy.call, FETCH, [0, 1, 1000, [[tids[0], 0, 0, 1000]]])
        self.w.produce(tids[0], 0, [record(None, b"x")])
        w = self.wire()
        self.assertEqual(len(w.fetch(tids[0], 0, 0)), 1)
        w.call(SUBSCRIBE, [1, [[tids[0], p, 0] for p in range(8)], 1 << 20, {}])
        with self.assertRaises(Refused) as r:
            for i in range(2, 64):
                w.call(SUBSCRIBE, [i, parts, 0, {}])
        self.assertEqual(r.exception.code, OVERLOADED)
        self.assertLess(self.figures(self.w)[("weir_memory_bytes", "requests")], 32 * MIB)

    def test_requests_cost_what_is_counted(self):
        """Fetches that wait, of one partition and of 64: as many as are let in take about what they may."""
        tid = self.w.create("t", partitions=64)
        for n in (1, 64):
            with self.subTest(partitions=n):
                before = self.resident()
                ask = frame(100, FETCH, [30000, 1, 1000, [[tid, p, 0, 1000] for p in range(n)]]) * 1000
                peers = self.deaf(20, GREETING + ask)
                self.eventually(lambda: self.reached(self.w, "memory_requests") > 0)
                counted = self.figures(self.w)[("weir_memory_bytes", "requests")]
                self.assertLess(counted, 24 * MIB + 64 * 1024)
                self.grew_less_than(before, 64)
                for w in peers:
                    w.close()
                self.eventually(lambda: self.figures(self.w)[("weir_memory_bytes", "requests")] < MIB)

    def test_offsets_count_as_what_they_take(self):
        """4,096 questions a request, a thousand requests at once: its socket is not read for long."""
        tid = self.w.create("t", partitions=64)
        self.w.produce(tid, 0, [record(None, b"x")])
        before = self.resident()
        self.deaf(20, GREETING + frame(2, LIST_OFFSETS, [[[tid, p % 64, 1] for p in range(4096)]]) * 100)
        most = 0
        for _ in range(50):
            self.w.produce(tid, 0, [record(None, b"x")])
            most = max(most, self.resident() - before)
        self.assertLess(self.figures(self.w)[("weir_memory_bytes", "requests")], 24 * MIB + 4 * MIB)
        if not sanitized():
            self.assertLess(most, 100 * MIB)


if __name__ == "__main__":
    main()
