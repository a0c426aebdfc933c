#!/usr/bin/env python3
"""Each fault of chaosproxy fires, is counted, and does what its name says; without one nothing changes."""
import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from proxy import Proxy  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
PING, PRODUCE = 3, 10
WAIT_S = 10
DATA_SEGS_IN = 152  # of struct tcp_info


def frame(body):
    return struct.pack(">I", len(body)) + body


def u32(n):
    return b"\xce" + struct.pack(">I", n)


def request(corr, op, args=b"\x90"):
    return frame(b"\x94\x00" + u32(corr) + bytes([op]) + args)


def produce(corr, seq, pid=77, tid=5, p=3):
    batch = bytes(40) + struct.pack(">QQIHH", pid, 0, seq, 1, 1) + b"record"
    return request(corr, PRODUCE, b"\x93" + u32(tid) + bytes([p]) + b"\xc5" + struct.pack(">H", len(batch)) + batch)


def answer(corr, result=b"\x90"):
    return frame(b"\x94\x01" + u32(corr) + b"\xc0" + result)


def produced(corr, offset, flags=0):
    return answer(corr, b"\x94" + u32(offset) + u32(1) + b"\x02" + bytes([flags]))


class Upstream:
    """A server that answers as told and keeps all it got, per connection."""

    def __init__(self, reply=None):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.got, self.ends, self.reply = [], [], reply or (lambda n, f: answer_of(f))
        self.news = threading.Condition()
        self.n_frames = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.sock.accept()
                with self.news:
                    self.got.append(b"")
                    self.ends.append(None)
                    number = len(self.got) - 1
                threading.Thread(target=self.serve, args=(s, number), daemon=True).start()

    def serve(self, s, number):
        rest, end = b"", "fin"
        try:
            while data := s.recv(65536):
                rest += data
                with self.news:
                    self.got[number] += data
                    self.news.notify_all()
                while len(rest) >= 4 and len(rest) >= (n := 4 + struct.unpack(">I", rest[:4])[0]):
                    f, rest = rest[:n], rest[n:]
                    self.n_frames += 1
                    s.sendall(self.reply(self.n_frames, f))
        except OSError:
            end = "rst"
        s.close()
        with self.news:
            self.ends[number] = end
            self.news.notify_all()

    def wait(self, condition):
        with self.news:
            return self.news.wait_for(condition, WAIT_S)

    def close(self):
        self.sock.close()


def answer_of(f):
    return answer(struct.unpack(">I", f[7:11])[0])


def read_to_end(s):
    """(all that comes, how it ended)"""
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except ConnectionResetError:
        return data, "rst"
    return data, "fin"


class Case(unittest.TestCase):
    def start(self, *commands, reply=None, seed=1):
        self.up = Upstream(reply)
        self.addCleanup(self.up.close)
        self.proxy = Proxy(os.path.join(BIN, "chaosproxy"), self.up.address, seed, commands=commands)
        self.addCleanup(self.proxy.close)
        return self.proxy

    def connect(self):
        s = socket.create_connection((self.proxy.host, self.proxy.port), WAIT_S)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(s.close)
        return s

    def exactly(self, s, n):
        data = b""
        while len(data) < n:
            piece = s.recv(n - len(data))
            self.assertTrue(piece, f"ended after {data!r}")
            data += piece
        return data

    def call(self, s, data, n=None):
        s.sendall(data)
        return self.exactly(s, len(answer(0)) if n is None else n)


class Unchanged(Case):
    def both_ways(self, data):
        """Sends data in random pieces while the other side sends it back."""
        s, back = self.connect(), []
        reader = threading.Thread(target=lambda: back.append(read_to_end(s)))
        reader.start()
        rest, rnd = data, random.Random(5)
        while rest:
            n = rnd.randrange(1, 20000)
            s.sendall(rest[:n])
            rest = rest[n:]
        s.shutdown(socket.SHUT_WR)
        reader.join(WAIT_S)
        return back[0]

    def test_frames(self):
        """Frames up to over the largest that is looked into, and half a frame at the end."""
        frames = [request(i, PING, os.urandom(random.Random(i).choice([1, 100, 70000]))) for i in range(200)]
        frames.append(request(999, PING, bytes(5 << 20)))
        for i, rule in enumerate([(), ("rule cut op=99",)]):
            with self.subTest(rule=rule):
                self.start(*rule, reply=lambda n, f: f)
                data = b"".join(frames[:200]) + (frames[200] if i == 0 else b"") + request(1, PING)[:7]
                got, end = self.both_ways(data)
                self.assertEqual(self.up.got[0], data)
                self.assertEqual(got, data[:-7])
                self.assertEqual(end, "fin")
                counts = self.proxy.counts()
                faults = ["cut", "lost_ack", "duplicate", "stall", "half_open", "hold", "delay", "throttle", "segment"]
                self.assertEqual([counts[k] for k in faults], [0] * len(faults))
                self.assertEqual(counts["bytes_up"], len(data))

    def test_other_bytes(self):
        for data in (os.urandom(300000), b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0" + os.urandom(100), b"\0\0"):
            self.start(reply=lambda n, f: b"")
            s = self.connect()
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            self.assertTrue(self.up.wait(lambda d=data: self.up.got and len(self.up.got[0]) == len(d)))
            self.assertEqual(self.up.got[0], data)

    def test_nobody_there(self):
        self.start()
        self.up.close()
        with Proxy(os.path.join(BIN, "chaosproxy"), "127.0.0.1:1") as proxy:
            s = socket.create_connection((proxy.host, proxy.port), WAIT_S)
            with self.assertRaises(ConnectionResetError):
                s.recv(1)


class Cuts(Case):
    def test_every_byte_up(self):
        self.start("rule cut op=PING dir=up at=sweep how=rst")
        f = request(1, PING)
        for k in range(len(f) + 1):
            s = self.connect()
            s.sendall(f)
            self.assertEqual(read_to_end(s)[1], "rst")
            self.assertTrue(self.up.wait(lambda k=k: self.up.ends[k:] and self.up.ends[k]))
            self.assertEqual(self.up.got[k], f[:k])
            self.assertEqual(self.up.ends[k], "rst")
        self.assertEqual(self.proxy.sweeps(), {"up.3": [len(f) + 1, len(f), len(f)]})
        self.assertEqual(self.proxy.counts()["cut"], len(f) + 1)
        s = self.connect()
        self.assertEqual(self.call(s, f), answer(1))  # the sweep is over

    def test_every_byte_down(self):
        self.start("rule cut op=PING dir=down at=sweep how=fin")
        a = answer(1)
        for k in range(len(a) + 1):
            s = self.connect()
            s.sendall(request(1, PING))
            self.assertEqual(read_to_end(s), (a[:k], "fin"))
        self.assertEqual(self.proxy.sweeps(), {"down.3": [len(a) + 1, len(a), len(a)]})

    def test_counted_and_bounded(self):
        """after, times, at=N, another op, and other connections are spared."""
        self.start("rule cut op=PING dir=up at=4 after=2 times=1 how=fin")
        spared, s = self.connect(), self.connect()
        self.call(s, request(1, PRODUCE))
        self.call(s, request(2, PING))
        self.call(s, request(3, PING))
        s.sendall(request(4, PING))
        self.assertEqual(read_to_end(s), (b"", "fin"))
        self.call(spared, request(5, PING))
        self.assertEqual(self.proxy.counts()["cut"], 1)

    def test_by_chance_follows_the_seed(self):
        def places(seed):
            self.start("rule cut op=PING dir=up at=random p=0.3 how=rst", seed=seed)
            out = []
            for _ in range(20):
                s = self.connect()
                n = 0
                with contextlib.suppress(OSError, AssertionError):
                    while n < 50:
                        self.call(s, request(1, PING))
                        n += 1
                out.append(n)
            return out
        one = places(7)
        self.assertEqual(one, places(7))
        self.assertNotEqual(one, places(8))

    def test_now(self):
        proxy = self.start()
        a, b = self.connect(), self.connect()
        self.call(a, request(1, PING))
        self.call(b, request(1, PING))
        self.assertEqual(proxy.now("cut times=1 how=rst"), 1)
        self.assertEqual(proxy.now("cut how=fin"), 1)
        self.assertEqual(sorted([read_to_end(a)[1], read_to_end(b)[1]]), ["fin", "rst"])
        self.assertEqual(proxy.now("cut"), 0)


class Answers(Case):
    def test_lost_ack(self):
        """The request arrives, its answer does not; asked again, the offset is compared."""
        offsets = iter([40, 40, 41, 99])
        proxy = self.start(
                           reply=lambda n, f: produced(struct.unpack(">I", f[7:11])[0], next(offsets)))
        for seq in (1, 2):
            proxy.say("rule lost_ack op=PRODUCE times=1 how=rst")
            s = self.connect()
            s.sendall(produce(1, seq))
            self.assertEqual(read_to_end(s), (b"", "rst"))
            self.assertEqual(self.up.got[-1], produce(1, seq))
            s = self.connect()
            self.assertTrue(self.call(s, produce(9, seq)))
            counts = proxy.counts()
            self.assertEqual((counts["lost_ack"], counts["same_offset"], counts["other_offset"]), (seq, 1, seq - 1))

    def test_duplicate(self):
        offsets = iter([40, 40, 41, 42])
        proxy = self.start("rule duplicate op=PRODUCE times=2",
                           reply=lambda n, f: produced(struct.unpack(">I", f[7:11])[0], next(offsets))
                           if f[11] == PRODUCE else answer_of(f))
        s = self.connect()
        for corr, offset in ((1, 40), (2, 41)):
            want = produced(corr, offset)
            self.assertEqual(self.call(s, produce(corr, corr), len(want)), want)
        self.call(s, request(3, PING))  # the second answers came before this one, and were swallowed
        self.assertEqual(self.up.got[0], produce(1, 1) * 2 + produce(2, 2) * 2 + request(3, PING))
        counts = proxy.counts()
        self.assertEqual((counts["duplicate"], counts["same_offset"], counts["other_offset"]), (2, 1, 1))


class Pace(Case):
    def timed(self, s, data):
        began = time.monotonic()
        self.call(s, data)
        return time.monotonic() - began

    def test_delay(self):
        proxy = self.start("set up delay=150", "set down delay=50 jitter=50")
        self.assertGreaterEqual(self.timed(self.connect(), request(1, PING)), 0.199)
        proxy.say("set both delay=0 jitter=0")
        self.assertLess(self.timed(self.connect(), request(1, PING)), 0.15)
        self.assertEqual(proxy.counts()["delay"], 2)

    def test_delay_never_reorders(self):
        self.start("set both jitter=20")
        s = self.connect()
        data = b"".join(request(i, PING) for i in range(200))
        s.sendall(data)
        self.assertEqual(self.exactly(s, 200 * len(answer(0))), b"".join(answer(i) for i in range(200)))
        self.assertEqual(self.up.got[0], data)

    def test_throttle(self):
        proxy = self.start("set up rate=20000")
        f = request(1, PING, bytes(10000))
        self.assertGreater(self.timed(self.connect(), f), 0.4)
        self.assertEqual(self.up.got[0], f)
        self.assertEqual(proxy.counts()["throttle"], 1)

    def test_segments(self):
        proxy = self.start("set both segment=1")
        s = self.connect()
        f = request(1, PING, bytes(500))
        self.call(s, f)
        self.assertEqual(self.up.got[0], f)
        info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
        self.assertEqual(struct.unpack_from("I", info, DATA_SEGS_IN)[0], len(answer(1)))
        self.assertEqual(proxy.counts()["segment"], 2)

    def test_stall(self):
        proxy = self.start("rule stall op=PING for=300 times=1")
        self.assertGreaterEqual(self.timed(self.connect(), request(1, PING)), 0.299)
        self.assertEqual(proxy.counts()["stall"], 1)
        s = self.connect()
        self.call(s, request(1, PING))
        self.assertGreaterEqual(proxy.now("stall for=300"), 1)
        self.assertGreater(self.timed(s, request(2, PING)), 0.2)

    def test_freeze(self):
        proxy = self.start()
        s = self.connect()
        self.call(s, request(1, PING))
        proxy.say("freeze")
        s.sendall(request(2, PING))
        s.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            s.recv(1)
        proxy.say("thaw")
        s.settimeout(WAIT_S)
        self.assertEqual(self.exactly(s, len(answer(2))), answer(2))

    def test_half_open(self):
        proxy = self.start("rule half_open op=PING times=1")
        s = self.connect()
        s.sendall(request(1, PING))
        s.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            s.recv(1)
        other = self.connect()
        self.call(other, request(2, PING))
        self.assertEqual([e for e in self.up.ends if e], [])
        self.assertEqual(proxy.counts()["half_open"], 1)
        proxy.say("heal")
        s.settimeout(WAIT_S)
        self.assertEqual(read_to_end(s), (b"", "rst"))
        self.call(other, request(3, PING))

    def test_hold(self):
        """The first frame waits until another connection's has passed, and not longer than told."""
        proxy = self.start("rule hold op=PRODUCE for=5000 times=1")
        a, b = self.connect(), self.connect()
        self.call(a, request(1, PING))
        self.call(b, request(1, PING))
        began = time.monotonic()
        a.sendall(request(2, PRODUCE))
        a.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            a.recv(1)
        self.call(b, request(3, PRODUCE))
        a.settimeout(WAIT_S)
        self.exactly(a, len(answer(2)))
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(proxy.counts()["hold"], 1)
        proxy.say("clear")
        proxy.say("rule hold op=PRODUCE for=200 times=1")
        self.assertGreaterEqual(self.timed(a, request(4, PRODUCE)), 0.199)
        self.assertEqual(proxy.counts()["hold"], 1)

    def test_refuse(self):
        proxy = self.start()
        proxy.say("refuse")
        with self.assertRaises(OSError):
            self.call(self.connect(), request(1, PING))
        proxy.say("accept")
        self.call(self.connect(), request(1, PING))
        self.assertEqual(proxy.counts()["refuse"], 1)


class Control(Case):
    def test_words(self):
        proxy = self.start()
        for bad in ("nonsense", "rule", "rule burn", "rule cut at", "rule cut at=x", "rule cut op=200", "set up",
                    "set up speed=1", "set sideways delay=1", "now", "now delay", "rule cut p=often"):
            with self.subTest(bad=bad):
                if bad == "set up":
                    proxy.say(bad)  # nothing to set is no mistake
                    continue
                with self.assertRaises(OSError):
                    proxy.say(bad)
        proxy.say("counts")

    def test_socket(self):
        self.start()
        path = f"/tmp/chaos-{os.getpid()}"
        with Proxy(os.path.join(BIN, "chaosproxy"), self.up.address, commands=("--control", path)) as proxy, \
                socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"refuse\ncou")
            self.assertEqual(self.exactly(s, 3), b"ok\n")
            s.sendall(b"nts\nquit\n")
            self.assertTrue(read_to_end(s)[0].startswith(b'{"cut": 0'))
            self.assertEqual(proxy.process.wait(WAIT_S), 0)
        os.unlink(path)


if __name__ == "__main__":
    unittest.main(verbosity=1)
