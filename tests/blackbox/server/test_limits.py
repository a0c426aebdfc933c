#!/usr/bin/env python3
"""Limits at n and n + 1, hostile bytes, peers that are slow or say nothing."""
import os
import resource
import socket
import struct
import time

import msgpack

from harness import Server, ServerCase, environment, main
from wire import (CREATE, CREDIT, DESCRIBE, FETCH, HELLO, INVALID_CONFIG, LIST_OFFSETS, METRICS, PING,
                  PRODUCE, SUBSCRIBE, TOO_LARGE, BATCH_HEAD, Closed, Refused, Wire, batch, record, values)

HOSTILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "hostile")
CODES = {"MALFORMED": 2, "UNKNOWN_OP": 3, "UNSUPPORTED_FIELD": 4, "TOO_LARGE": 5, "CORRUPT_BATCH": 21}


def rows(name):
    with open(os.path.join(HOSTILE, name), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]


def server_figures(w):
    return {n: v for n, labels, v in w.call(METRICS, [None]) if not labels}


class Limits(ServerCase):
    def test_frame_before_hello(self):
        w = self.wire(hello=False)
        pad = 4096 - len(msgpack.packb([0, 1, HELLO, [1, "c", "1", {}], {"pad": b""}], use_bin_type=True)) - 1
        args = [0, 1, HELLO, [1, "c", "1", {}], {}]
        self.assertGreater(pad, 0)
        w.body(msgpack.packb(args))
        self.assertIsNone(w.frame()[2])
        w = self.wire(hello=False)
        w.raw(struct.pack(">I", 4097))
        f = w.ends()
        self.assertEqual(f[0][2][0], TOO_LARGE)
        self.assertIn("4097", f[0][2][2])
        self.assertIn("4096", f[0][2][2])

    def test_largest_frame(self):
        w = self.wire()
        w.raw(struct.pack(">I", (16 << 20) + 1))
        f = w.ends()
        self.assertEqual(f[0][2][0], TOO_LARGE)

    def test_message_size(self):
        w = self.wire()
        tid = w.create(self.name(), message__max_bytes=1000)
        w.produce(tid, 0, [record(b"k", b"x" * 999)])
        e = self.refused(TOO_LARGE, w.produce, tid, 0, [record(b"k", b"x" * 1000)])
        self.assertIn("1001", e.text)
        self.assertIn("1000", e.text)

    def test_largest_message(self):
        w = self.wire()
        tid = w.create(self.name(), message__max_bytes=8 << 20)
        w.produce(tid, 0, [record(None, b"x" * (8 << 20))])
        self.refused(TOO_LARGE, w.produce, tid, 0, [record(None, b"x" * ((8 << 20) + 1))])
        data = w.fetch(tid, 0, 0)[0][5]
        self.assertEqual(len(values(data)[0][2]), 8 << 20)

    def test_records_in_a_batch(self):
        w = self.wire()
        tid = w.create(self.name(), batch__max_records=16)
        w.produce(tid, 0, [record(None, b"x")] * 16)
        self.refused(TOO_LARGE, w.produce, tid, 0, [record(None, b"x")] * 17)

    def test_names(self):
        w = self.wire()
        w.create("n" * 100)
        for bad in ("n" * 101, "", "a b", "a~b", "ä", "a/b"):
            self.refused(INVALID_CONFIG, w.call, CREATE, [bad, {}])

    def test_partitions_of_a_fetch(self):
        w = self.wire()
        tid = w.create(self.name(), partitions=65)
        w.call(FETCH, [0, 1, 1000, [[tid, p, 0, 1000] for p in range(64)]])
        self.refused(TOO_LARGE, w.call, FETCH, [0, 1, 1000, [[tid, p, 0, 1000] for p in range(65)]])

    def test_subscriptions(self):
        w = self.wire()
        tid = w.create(self.name())
        for i in range(64):
            w.call(SUBSCRIBE, [i, [[tid, 0, 0]], 0, {}])
        self.refused(TOO_LARGE, w.call, SUBSCRIBE, [64, [[tid, 0, 0]], 0, {}])

    def test_requests_in_flight(self):
        """5,000 long-polls: the broker stops reading at 1,024 and loses none."""
        w, other = self.wire(timeout=60), self.wire()
        tid = w.create(self.name())
        body = msgpack.packb([0, 0, FETCH, [30000, 1, 1000, [[tid, 0, 0, 1000]]]])
        ids = []
        for _ in range(1500):
            w.corr += 1
            ids.append(w.corr)
        w.sock.setblocking(True)
        w.raw(b"".join(struct.pack(">I", len(b)) + b for b in
                       (msgpack.packb([0, i, FETCH, [30000, 1, 1000, [[tid, 0, 0, 1000]]]]) for i in ids)))
        self.assertTrue(body)
        other.produce(tid, 0, [record(b"a", b"b")])
        for i in ids:
            self.assertEqual(len(w.answer(i)), 1)


class Hostile(ServerCase):
    options = ("--dev",)

    def outcome(self, name, data):
        """What the server says to these bytes: an error's name, OK or AGAIN; it must stay alive."""
        w = Wire(self.server.url, timeout=10)
        names = {v: k for k, v in CODES.items()}
        try:
            if name.startswith("f_"):
                w.raw(data)
            else:
                w.raw(struct.pack(">I", len(data)) + data)
            w.raw(struct.pack(">I", 6) + msgpack.packb([0, 4242, PING, []]))
            while True:
                f = w.frame()
                if f[0] == 1 and f[1] == 4242:
                    return "OK"
                if f[0] == 1 and f[2] is not None:
                    return names.get(f[2][0], str(f[2][0]))
        except Closed:
            return "CLOSED"
        except (BrokenPipeError, ConnectionResetError):
            return "CLOSED"
        except socket.timeout:
            return "AGAIN"
        finally:
            w.close()

    def test_corpus(self):
        w = self.wire()
        before = server_figures(w)
        checked = 0
        for row in rows("verdicts.tsv"):
            name, want = row[0], row[1].split()[0]
            path = os.path.join(HOSTILE, "corpus", name + ".bin")
            if name == "name" or not os.path.exists(path) or want == "AGAIN":
                continue
            with open(path, "rb") as f:
                data = f.read()
            if not data and not name.startswith("f_"):
                continue
            got = self.outcome(name, data)
            with self.subTest(name=name):
                if want == "OK":
                    self.assertNotIn(got, ("MALFORMED", "CORRUPT_BATCH", "CLOSED"))
                elif want == "CORRUPT_BATCH":
                    # corpus batches name a topic of their own; the topic is looked up first
                    self.assertIn(got, (want, "20"))
                else:
                    self.assertEqual(got, want)
            checked += 1
        self.assertGreater(checked, 85)
        until = time.monotonic() + 20
        while server_figures(w)["weir_connections"] > before["weir_connections"]:
            self.assertLess(time.monotonic(), until, "connections are left behind")
        after = server_figures(w)
        self.assertLess(after["weir_resident_memory_bytes"] - before["weir_resident_memory_bytes"], 64 << 20)

    def test_every_cut_of_a_conversation(self):
        """A peer that goes away at any byte leaves nothing behind."""
        w = self.wire()
        tid = w.create(self.name())
        talk = b"".join(struct.pack(">I", len(b)) + b for b in (
            msgpack.packb([0, 1, HELLO, [1, "cut", "1", {}]]),
            msgpack.packb([0, 2, PRODUCE, [tid, 0, batch([record(b"k", b"v")])]], use_bin_type=True),
            msgpack.packb([0, 3, SUBSCRIBE, [1, [[tid, 0, 0]], 1000, {}]]),
            msgpack.packb([2, 1, CREDIT, [5000]])))
        for n in range(len(talk)):
            s = Wire(self.server.url, hello=False)
            s.raw(talk[:n])
            s.close()
        until = time.monotonic() + 20
        while server_figures(w)["weir_connections"] > 1 and time.monotonic() < until:
            w.call(PING, [])
        self.assertEqual(server_figures(w)["weir_connections"], 1)

    def test_claims_cost_nothing(self):
        """200 peers that announce 16 MiB each and send nothing."""
        w = self.wire()
        before = server_figures(w)["weir_resident_memory_bytes"]
        peers = [Wire(self.server.url) for _ in range(200)]
        for p in peers:
            p.raw(struct.pack(">I", 16 << 20) + b"\x94")
        after = server_figures(w)["weir_resident_memory_bytes"]
        for p in peers:
            p.close()
        self.assertLess(after - before, 32 << 20)

    def test_slow_reader_does_not_cost_memory(self):
        w = self.wire()
        tid = w.create(self.name(), partitions=1)
        chunk = [record(None, b"x" * 100000)] * 10
        for _ in range(40):
            w.produce(tid, 0, chunk)
        before = server_figures(w)["weir_resident_memory_bytes"]
        peers = [self.wire() for _ in range(20)]
        for p in peers:
            p.call(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 40, {"max_push": 1 << 20}])
        for _ in range(200):  # others are served meanwhile
            w.produce(tid, 0, [record(None, b"y")])
        after = server_figures(w)["weir_resident_memory_bytes"]
        self.assertLess(after - before, 20 * (6 << 20))


class Descriptors(ServerCase):
    def test_full_table(self):
        """More connects than descriptors: those that are in go on, and nothing spins."""
        server = Server()
        try:
            w = Wire(server.url)
            tid = w.create("t")
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE,
                             (len(os.listdir(f"/proc/{server.process.pid}/fd")) + 8, 1024))
            peers = []
            for _ in range(64):
                s = socket.socket()
                s.settimeout(5)
                try:
                    s.connect(tuple([server.url[7:].split(":")[0], int(server.url.rsplit(":", 1)[1])]))
                    peers.append(s)
                except OSError:
                    s.close()
            cpu = cpu_seconds(server.process.pid)
            t0 = time.monotonic()
            for i in range(300):
                w.produce(tid, 0, [record(None, b"%d" % i)])
            took = time.monotonic() - t0
            used = cpu_seconds(server.process.pid) - cpu
            self.assertLess(used, max(1.0, took))
            for s in peers:
                s.close()
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    Wire(server.url, timeout=2).close()
                    break
                except (Closed, OSError):
                    continue
            else:
                self.fail("no connection after descriptors came free")
            w.close()
        finally:
            server.stop()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
