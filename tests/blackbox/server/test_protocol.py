#!/usr/bin/env python3
"""Every operation over a raw connection, as docs/PROTOCOL.md has it."""
import struct

import msgpack

from harness import ServerCase, main
from wire import (ALTER, AUTH_REQUIRED, CREDIT, DELETE, DELIVER, DESCRIBE, DUP_UNKNOWN_OFFSET, EXISTS, FETCH,
                  HELLO, INIT_PRODUCER, INVALID_CONFIG, LIST_OFFSETS, MALFORMED, METADATA, METRICS,
                  OUT_OF_ORDER, OUT_OF_RANGE, PING, PRODUCE, PRODUCER_FENCED, SUB_ERROR, SUB_UPDATE,
                  SUBSCRIBE, UNKNOWN_OP, UNKNOWN_PRODUCER, UNKNOWN_TOPIC, UNSUPPORTED_FIELD, CREATE,
                  CORRUPT_BATCH, batch, record, values)


class Session(ServerCase):
    def test_hello(self):
        w = self.wire()
        proto, server, version, features, limits, auth, conn, _, cluster, broker = w.hello[:10]
        self.assertEqual((proto, server, auth, broker), (1, "weir", 0, 1))
        self.assertTrue(version[0].isdigit())
        self.assertIn("stream", features)
        self.assertEqual((len(conn), len(cluster)), (16, 16))
        self.assertEqual((limits["frame"], limits["producer_window"]), (16 << 20, 64))
        self.assertNotEqual(conn, self.wire().hello[6])
        self.assertEqual(cluster, self.wire().hello[8])

    def test_ping_before_hello(self):
        w = self.wire(hello=False)
        self.assertGreater(w.call(PING, [])[0], 1700000000000)

    def test_other_version(self):
        w = self.wire(hello=False)
        e = self.refused(1, w.call, HELLO, [9, "test", "1", {}])
        self.assertEqual((e.detail["min"], e.detail["max"]), (1, 1))
        self.assertEqual(w.ends(), [])

    def test_request_before_hello(self):
        w = self.wire(hello=False)
        self.refused(AUTH_REQUIRED, w.call, METADATA, [None])
        self.assertEqual(w.ends(), [])

    def test_hello_twice(self):
        w = self.wire()
        self.refused(MALFORMED, w.call, HELLO, [1, "test", "1", {}])
        self.assertEqual(w.ends(), [])

    def test_unknown_op_leaves_the_connection(self):
        w = self.wire()
        for op in (2, 70, 99, 100):
            self.refused(UNKNOWN_OP, w.call, op, [])
        w.call(PING, [])

    def test_unknown_arguments_and_options(self):
        w = self.wire()
        tid = w.create(self.name())
        self.refused(UNSUPPORTED_FIELD, w.call, PING, [1])
        w.call(PING, [None])
        self.refused(UNSUPPORTED_FIELD, w.call, PRODUCE, [tid, 0, batch([record(b"k", b"v")]), {"x": 1}])
        self.refused(UNSUPPORTED_FIELD, w.call, PRODUCE,
                     [tid, 0, batch([record(b"k", b"v")]), {"if_last_offset": 5}])
        self.refused(UNSUPPORTED_FIELD, w.call, FETCH, [0, 0, 1, [[tid, 0, 0, 1]], None, 1])
        self.refused(UNSUPPORTED_FIELD, w.call, CREATE, ["new", {"no.such": 1}])

    def test_pipelined_behind_hello(self):
        w = self.wire(hello=False)
        ids = [w.send(HELLO, [1, "t", "1", {}]), w.send(PING, []), w.send(METADATA, [[]])]
        for i in ids:
            w.answer(i)

    def test_http_and_tls(self):
        for first in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            w = self.wire(hello=False)
            w.raw(first)
            text = b""
            while piece := w.sock.recv(100):
                text += piece
            self.assertTrue(text.startswith(b"weir: this port speaks the weir protocol"), text)
            self.assertEqual(text.count(b"\n"), 1)

    def test_ignorable_meta(self):
        w = self.wire()
        w.body(msgpack.packb([0, 7, PING, [], {"tp": "00-ab-cd-01", "dl": 500, "new": [1, {"a": 2}]}]))
        self.assertEqual(w.frame()[:3], [1, 7, None])

    def test_metrics(self):
        w = self.wire()
        figures = {name: v for name, labels, v in w.call(METRICS, ["weir_"]) if not labels}
        self.assertGreaterEqual(figures["weir_connections"], 1)
        self.assertGreater(figures["weir_resident_memory_bytes"], 1 << 20)
        self.assertEqual([n for n, _, _ in w.call(METRICS, ["weir_topics"])], ["weir_topics"])


class Topics(ServerCase):
    def test_life(self):
        w = self.wire()
        name = self.name()
        tid, conf = w.call(CREATE, [name, {"partitions": 3, "retention.ms": "2d"}])
        self.assertEqual((conf["partitions"], conf["retention.ms"], conf["durability"]),
                         (3, 2 * 86400000, "disk"))
        self.refused(EXISTS, w.call, CREATE, [name, {}])
        _, brokers, topics, _ = w.call(METADATA, [[name, "no-such-topic"]])
        self.assertEqual(brokers[0][0], 1)
        got, tid2, err, parts, slots, _ = topics[0]
        self.assertEqual((got, tid2, err, [p[0] for p in parts]), (name, tid, None, [0, 1, 2]))
        self.assertEqual(sum(n for n, _ in slots), 1024)
        self.assertEqual(topics[1][2][0], UNKNOWN_TOPIC)
        _, conf = w.call(ALTER, [name, {"partitions": 5, "durability": "os"}])
        self.assertEqual((conf["partitions"], conf["durability"]), (5, "os"))
        self.refused(INVALID_CONFIG, w.call, ALTER, [name, {"partitions": 4}])
        d = w.call(DESCRIBE, [name])
        self.assertEqual((d[0], d[1], len(d[4])), (name, tid, 5))
        self.assertEqual(w.call(DELETE, [name, {"dry_run": True}])[0], tid)
        self.assertEqual(w.call(DELETE, [name])[0], tid)
        self.refused(UNKNOWN_TOPIC, w.call, DESCRIBE, [name])
        self.refused(UNKNOWN_TOPIC, w.produce, tid, 0, [record(b"a", b"b")])
        self.assertNotEqual(w.create(name), tid)

    def test_dry_run_changes_nothing(self):
        w = self.wire()
        w.call(CREATE, [self.name(), {}, {"dry_run": True}])
        self.refused(UNKNOWN_TOPIC, w.call, DESCRIBE, [self.name()])

    def test_bad_settings(self):
        w = self.wire()
        for conf in ({"partitions": 0}, {"partitions": 1025}, {"durability": "maybe"},
                     {"message.max_bytes": (8 << 20) + 1}):
            self.refused(INVALID_CONFIG, w.call, CREATE, [self.name(), conf])
        w.create(self.name(), partitions=1024, message__max_bytes=8 << 20)

    def test_pages(self):
        w = self.wire()
        names = {f"page-{i:02}" for i in range(25)}
        for n in names:
            w.create(n, partitions=1)
        seen, after = [], None
        while True:
            option = {"limit": 10} if after is None else {"limit": 10, "after": after}
            _, _, topics, after = w.call(METADATA, [None, None, option])
            seen += [t[0] for t in topics]
            if after is None:
                break
        self.assertEqual(seen, sorted(seen))
        self.assertTrue(names <= set(seen))


class Data(ServerCase):
    def test_produce_and_fetch(self):
        w = self.wire()
        tid = w.create(self.name())
        base, at, level, flags = w.produce(tid, 1, [record(b"k", b"one"), record(None, b"two")])
        self.assertEqual((base, level, flags), (0, 2, 0))
        self.assertEqual(w.produce(tid, 1, [record(b"k", b"three")])[0], 2)
        (t, p, err, hw, start, data), = w.fetch(tid, 1, 0)
        self.assertEqual((t, p, err, hw, start), (tid, 1, None, 3, 0))
        self.assertEqual(values(data), [(0, b"k", b"one"), (1, None, b"two"), (2, b"k", b"three")])
        self.assertEqual(struct.unpack(">q", data[8:16])[0], at)
        inside = w.fetch(tid, 1, 1)[0][5]
        self.assertEqual(values(inside)[0][0], 0)  # whole batches; the client drops what is below

    def test_long_poll(self):
        w, other = self.wire(), self.wire()
        tid = w.create(self.name())
        self.assertEqual(w.fetch(tid, 0, 0, wait=50), [])
        c = w.send(FETCH, [20000, 1, 1 << 20, [[tid, 0, 0, 1 << 20], [tid, 1, 0, 1 << 20]]])
        other.produce(tid, 1, [record(b"a", b"b")])
        (_, p, err, _, _, data), = w.answer(c)
        self.assertEqual((p, err, len(values(data))), (1, None, 1))

    def test_out_of_range(self):
        w = self.wire()
        tid = w.create(self.name())
        w.produce(tid, 0, [record(b"a", b"b")])
        err = w.fetch(tid, 0, 5)[0][2]
        self.assertEqual(err[0], OUT_OF_RANGE)
        self.assertEqual((err[3]["log_start"], err[3]["hw"]), (0, 1))
        self.assertEqual(w.fetch(tid, 9, 0)[0][2][0], UNKNOWN_TOPIC)

    def test_offsets(self):
        w = self.wire()
        tid = w.create(self.name())
        at = [w.produce(tid, 0, [record(b"a", b"%d" % i)])[1] for i in range(3)]
        r = w.call(LIST_OFFSETS, [[[tid, 0, -1], [tid, 0, -2], [tid, 0, 0], [tid, 0, at[2] + 1],
                                   [tid, 1, -2], [tid, 7, -1]]])
        self.assertEqual([x[3] for x in r[:5]], [0, 3, 0, 3, 0])
        self.assertEqual(r[5][2][0], UNKNOWN_TOPIC)
        self.assertLessEqual(w.call(LIST_OFFSETS, [[[tid, 0, at[2]]]])[0][3], 2)

    def test_subscription(self):
        w, other = self.wire(), self.wire()
        tid = w.create(self.name())
        other.produce(tid, 0, [record(b"a", b"x" * 100)])
        w.call(SUBSCRIBE, [7, [[tid, 0, 0], [tid, 1, 0]], 1 << 20, {}])
        got = []
        while len(got) < 1:
            for _, p, _, data in w.note(DELIVER)[3]:
                got += [(p, o) for o, _, _ in values(data)]
        other.produce(tid, 1, [record(b"a", b"y")])
        while len(got) < 2:
            for _, p, _, data in w.note(DELIVER)[3]:
                got += [(p, o) for o, _, _ in values(data)]
        self.assertEqual(got, [(0, 0), (1, 0)])
        self.refused(EXISTS, w.call, SUBSCRIBE, [7, [], 0, {}])
        w.call(SUB_UPDATE, [7, [], [[tid, 1]]])
        other.produce(tid, 1, [record(b"a", b"not seen")])
        other.produce(tid, 0, [record(b"a", b"seen")])
        seen = []
        while not seen:
            seen = [(p, o) for _, p, _, data in w.note(DELIVER)[3] for o, _, _ in values(data)]
        self.assertEqual(seen, [(0, 1)])
        w.call(SUB_UPDATE, [7, [], []])
        self.refused(46, w.call, SUB_UPDATE, [7, [], []])

    def test_credit_is_a_limit(self):
        w, other = self.wire(), self.wire()
        tid = w.create(self.name(), partitions=1)
        size = len(batch([record(b"a", b"x" * 1000)]))
        for _ in range(10):
            other.produce(tid, 0, [record(b"a", b"x" * 1000)])
        w.call(SUBSCRIBE, [1, [[tid, 0, 0]], 3 * size, {}])
        sent = 0
        while sent < 3 * size:
            sent += sum(len(x[3]) for x in w.note(DELIVER)[3])
        self.assertEqual(sent, 3 * size)
        w.call(PING, [])  # nothing was sent behind the limit
        self.assertEqual([n for n in w.notes if n[2] == DELIVER and n[3][0][3]], [])
        w.notify(1, CREDIT, [10 * size])
        while sent < 10 * size:
            sent += sum(len(x[3]) for x in w.note(DELIVER)[3])
        self.assertEqual(sent, 10 * size)

    def test_subscription_errors(self):
        w = self.wire()
        tid = w.create(self.name())
        w.call(SUBSCRIBE, [1, [[tid, 0, 99]], 1 << 20, {}])
        _, sub, _, (t, p, err) = w.note(SUB_ERROR)
        self.assertEqual((sub, t, p, err[0]), (1, tid, 0, OUT_OF_RANGE))
        self.refused(UNKNOWN_TOPIC, w.call, SUBSCRIBE, [2, [[tid + 1000, 0, 0]], 1, {}])

    def test_deleted_topic_ends_its_subscription(self):
        w = self.wire()
        tid = w.create(self.name())
        w.call(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 20, {}])
        w.call(DELETE, [self.name()])
        self.assertEqual(w.note(SUB_ERROR)[3][2][0], UNKNOWN_TOPIC)

    def test_bad_batches(self):
        w = self.wire()
        tid = w.create(self.name())
        good = [record(b"a", b"b")]
        for kw in ({"magic": 2}, {"codec": 9}, {"count": 0}, {"count": 2}, {"length": 10}, {"flags": 2},
                   {"flags": 0}):
            self.refused(CORRUPT_BATCH, w.call, PRODUCE, [tid, 0, batch(good, **kw)])
        self.assertEqual(w.produce(tid, 0, good, flags=0x8001)[0], 0)


class Producers(ServerCase):
    def producer(self, w, name=None):
        return w.call(INIT_PRODUCER, [name] if name else [])

    def test_duplicate_gets_the_first_offset(self):
        w = self.wire()
        tid = w.create(self.name())
        pid, epoch, _ = self.producer(w)
        one = [record(b"a", b"1"), record(b"a", b"2")]
        first = w.produce(tid, 0, one, pid=pid, epoch=epoch, seq=0)
        again = w.produce(tid, 0, one, pid=pid, epoch=epoch, seq=0)
        self.assertEqual((first[0], first[3]), (0, 0))
        self.assertEqual((again[0], again[3]), (0, 1))
        self.assertEqual(w.produce(tid, 0, [record(b"a", b"3")], pid=pid, epoch=epoch, seq=2)[0], 2)
        self.assertEqual(len(values(w.fetch(tid, 0, 0)[0][5])), 3)

    def test_gap(self):
        w = self.wire()
        tid = w.create(self.name())
        pid, epoch, _ = self.producer(w)
        w.produce(tid, 0, [record(b"a", b"1")], pid=pid, epoch=epoch, seq=0)
        e = self.refused(OUT_OF_ORDER, w.produce, tid, 0, [record(b"a", b"1")], pid=pid, epoch=epoch, seq=5)
        self.assertEqual((e.detail["expected"], e.detail["got"], e.cls), (1, 5, 4))

    def test_unknown_producer(self):
        w = self.wire()
        tid = w.create(self.name())
        self.refused(UNKNOWN_PRODUCER, w.produce, tid, 0, [record(b"a", b"1")], pid=1 << 40, epoch=0, seq=7)

    def test_window(self):
        w = self.wire()
        tid = w.create(self.name())
        pid, epoch, _ = self.producer(w)
        for i in range(66):
            w.produce(tid, 0, [record(b"a", b"1")], pid=pid, epoch=epoch, seq=i)
        r = w.produce(tid, 0, [record(b"a", b"1")], pid=pid, epoch=epoch, seq=2)
        self.assertEqual((r[0], r[3]), (2, 1))
        self.refused(DUP_UNKNOWN_OFFSET, w.produce, tid, 0, [record(b"a", b"1")], pid=pid, epoch=epoch, seq=1)

    def test_named_producer_fences_and_goes_on(self):
        w, second = self.wire(), self.wire()
        tid = w.create(self.name())
        pid, epoch, pos = self.producer(w, "orders-1")
        self.assertEqual(pos, [])
        w.produce(tid, 2, [record(b"a", b"1"), record(b"a", b"2")], pid=pid, epoch=epoch, seq=0)
        pid2, epoch2, pos = self.producer(second, "orders-1")
        self.assertEqual((pid2, pos), (pid, [[tid, 2, 1, 1]]))
        self.assertGreater(epoch2, epoch)
        self.refused(PRODUCER_FENCED, w.produce, tid, 2, [record(b"a", b"3")], pid=pid, epoch=epoch, seq=2)
        r = second.produce(tid, 2, [record(b"a", b"3")], pid=pid, epoch=epoch2, seq=2)
        self.assertEqual(r[0], 2)

    def test_pipelined_order(self):
        w = self.wire()
        tid = w.create(self.name())
        pid, epoch, _ = self.producer(w)
        ids = [w.send(PRODUCE, [tid, 0, batch([record(b"a", b"%d" % i)], pid=pid, epoch=epoch, seq=i)])
               for i in range(64)]
        self.assertEqual([w.answer(i)[0] for i in ids], list(range(64)))
        ids = [w.send(PRODUCE, [tid, 1, batch([record(b"a", b"%d" % i)])]) for i in range(3000)]
        self.assertEqual([w.answer(i)[0] for i in ids], list(range(3000)))


if __name__ == "__main__":
    main()
