#!/usr/bin/env python3
"""Groups over the wire: both modes, members that vanish, a broker that dies, dead letters, delay, pacing."""
import multiprocessing
import os
import signal
import time
import unittest

from harness import Server, ServerCase, main, sanitized
from wire import (ACK, CANCEL_DELAYED, CHANGED, COMMITTED, DEAD, DELAYED_LIST, DELIVER, DLQ_LIST, DLQ_PURGE,
                  DLQ_REDRIVE, EXISTS, EXTEND, FENCED_MEMBER, GROUP_ALTER, GROUP_BUSY, GROUP_DELETE,
                  GROUP_DESCRIBE, GROUP_LIST, GROUP_MODE, GROUP_RESET, HEARTBEAT, INVALID_CONFIG, JOIN, LEASE_LOST,
                  METADATA, METRICS, NACK, NOT_ASSIGNED, PRODUCE, RELEASE, SUBSCRIBE, SUB_ERROR, TOO_LARGE,
                  UNKNOWN_GROUP, UNKNOWN_MEMBER, Closed, Member, Wire, batch, record, records, values)

GRACE_S = 10
FENCED_CODES = (FENCED_MEMBER, UNKNOWN_MEMBER)


def wait_for(fn, seconds=30, step=0.05):
    """fn() until it gives something true."""
    until = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError("nothing came of it")
        time.sleep(step)


def fill(w, name, n, partitions=1, start=0, **config):
    tid = w.create(name, partitions=partitions, **config)
    put(w, tid, n, partitions, start)
    return tid


def put(w, tid, n, partitions=1, start=0):
    for i in range(start, start + n):
        w.produce(tid, i % partitions, [record(b"k%d" % (i % 7), b"%d" % i)])


def metric(w, name, label=None):
    for n, labels, v in w.call(METRICS, [name]):
        if n == name and (label is None or label in labels.values()):
            return v
    return None


class LogMode(ServerCase):
    def test_two_members_share(self):
        a, b = self.wire(), self.wire()
        tid = fill(a, "share", 40, partitions=4)
        one = Member(a, "share", ["share"])
        self.assertEqual(sorted(one.parts), [(tid, p) for p in range(4)])
        self.assertEqual(one.grace_ms, GRACE_S * 1000)
        two = Member(b, "share", ["share"])
        self.assertEqual(one.w.note(CHANGED)[3][:2], ["group", "share"])

        def shared():
            one.heartbeat()
            two.heartbeat()
            return len(one.parts) == 2 and len(two.parts) == 2
        wait_for(shared)
        self.assertEqual(set(one.parts) & set(two.parts), set())
        mine, theirs = sorted(one.parts)[0], sorted(two.parts)[0]
        got = values(one.fetch(*mine, 0)[0][5])
        self.assertEqual(got[0][0], 0)
        entry = one.fetch(*theirs, 0)[0]
        self.assertEqual(entry[2][0], NOT_ASSIGNED)
        self.assertEqual(entry[5], b"")
        errs = one.commit([[*mine, 5, "half way"], [*theirs, 1]])
        self.assertIsNone(errs[0])
        self.assertIsNotNone(errs[1])
        at = {(t, p): (o, note) for t, p, o, _, note in b.call(COMMITTED, ["share", None])}
        self.assertEqual(at[mine], (5, "half way"))
        self.assertEqual(at[theirs][0], 0)
        one.leave()
        wait_for(lambda: two.heartbeat() or len(two.parts) == 4)
        self.assertEqual(two.parts[mine], 5)

    def test_commit_rules(self):
        w = self.wire()
        tid = fill(w, "rules", 10)
        m = Member(w, "rules", ["rules"])
        self.assertEqual(m.commit([[tid, 0, 7]]), [None])
        self.assertIsNotNone(m.commit([[tid, 0, 11]])[0], "beyond the high watermark")
        self.assertEqual(m.commit([[tid, 0, 10]]), [None])
        self.assertEqual(w.call(COMMITTED, ["rules", [[tid, 0]]])[0][2], 10)
        self.refused(UNKNOWN_GROUP, w.call, COMMITTED, ["nobody", None])

    def test_subscription_of_a_member(self):
        w = self.wire()
        tid = fill(w, "subs", 6, partitions=2)
        m = Member(w, "subs", ["subs"])
        w.call(SUBSCRIBE, [1, [[tid, 0, 0], [tid, 1, 0]], 1 << 20, {}, m.who()])
        got = []
        while len(got) < 6:
            for _, p, _, data in w.note(DELIVER)[3]:
                got += [(p, o) for o, _, _ in values(data)]
        other = Member(self.wire(), "subs", ["subs"])
        w.note(CHANGED)
        m.heartbeat()  # gives one of them up
        self.assertEqual(len(m.parts), 1)
        wait_for(lambda: other.heartbeat() or len(other.parts) == 1)
        put(self.wire(), tid, 2, 2, start=6)
        gone = next(iter(other.parts))
        while True:
            err = w.note(SUB_ERROR)
            if err[3][:2] == list(gone):
                break
        self.assertEqual(err[3][2][0], NOT_ASSIGNED)
        kept = next(iter(m.parts))
        while not any([t, p] == list(kept) and any(o == 3 for o, _, _ in values(d))
                      for t, p, _, d in w.note(DELIVER)[3]):
            pass

    def test_taken_over(self):
        """The same member over another connection: the older one is fenced, whatever it tries."""
        a, b = self.wire(), self.wire()
        tid = fill(a, "over", 10)
        old = Member(a, "over", ["over"])
        a.call(SUBSCRIBE, [1, [[tid, 0, 10]], 1 << 20, {}, old.who()])
        new = Member(b, "over", ["over"], member=old.id)
        self.assertTrue(new.resumed)
        self.assertEqual(list(new.parts), [(tid, 0)])
        err = a.note(SUB_ERROR)
        self.assertIn(err[3][2][0], FENCED_CODES)
        self.refused(FENCED_MEMBER, old.commit, [[tid, 0, 9]])
        self.assertIn(old.fetch(tid, 0, 0)[0][2][0], FENCED_CODES)
        self.assertEqual(new.commit([[tid, 0, 3]]), [None])
        a.close()  # the end of the older connection is nothing to the newer one
        time.sleep(0.2)
        self.assertEqual(new.commit([[tid, 0, 4]]), [None])

    def test_grace(self):
        """A lost connection keeps its partitions for the grace time; coming back within it keeps everything."""
        a, b = self.wire(), self.wire()
        tid = fill(b, "grace", 4, partitions=2)
        one = Member(a, "grace", ["grace"])
        two = Member(b, "grace", ["grace"])
        wait_for(lambda: one.heartbeat() or two.heartbeat() or len(two.parts) == 1)
        a.close()
        t0 = time.monotonic()
        one.w = self.wire()
        epoch = one.epoch
        one.join()
        self.assertTrue(one.resumed)
        self.assertGreaterEqual(one.epoch, epoch)
        self.assertEqual(len(one.parts), 1)
        one.w.close()
        t0 = time.monotonic()
        two.w.quiet(GRACE_S - 3)
        two.heartbeat()
        self.assertEqual(len(two.parts), 1, "before the grace time is over")
        wait_for(lambda: two.heartbeat() or len(two.parts) == 2, 10)
        self.assertLess(time.monotonic() - t0, GRACE_S + 3)
        self.refused(UNKNOWN_MEMBER, self.wire().call, HEARTBEAT, one.who() + [[]])
        self.assertIn((tid, 0), two.parts)

    def test_pause(self):
        w = self.wire()
        tid = fill(w, "pause", 3)
        m = Member(w, "pause", ["pause"])
        admin = self.wire()
        admin.call(GROUP_ALTER, ["pause", {"paused_until": (1 << 53) - 1}, {}])
        t0 = time.monotonic()
        waiting = w.send(11, [20000, 1, 1 << 20, [[tid, 0, 0, 1 << 20]], m.who()])
        w.call(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 20, {}, m.who()])
        notes = [n for n in w.quiet(1) if n[2] != CHANGED]
        self.assertEqual(notes, [])
        self.assertNotIn(waiting, w.answers)
        self.assertIn("paused", admin.call(GROUP_LIST, [])[0][-1][2] + str(admin.call(GROUP_LIST, [])))
        admin.call(GROUP_ALTER, ["pause", {"paused_until": 0}, {}])
        self.assertEqual(len(values(w.answer(waiting)[0][5])), 3)
        self.assertLess(time.monotonic() - t0, 10)
        got = []
        while len(got) < 3:
            for *_, data in w.note(DELIVER)[3]:
                got += values(data)

    def test_admin(self):
        w = self.wire()
        tid = fill(w, "admin", 10)
        m = Member(w, "admin", ["admin"])
        m.commit([[tid, 0, 8]])
        row = [g for g in w.call(GROUP_LIST, [])[0] if g[0] == "admin"][0]
        self.assertEqual(row[1], "log")
        self.assertEqual(row[3:6], [1, 1, 2])
        d = w.call(GROUP_DESCRIBE, ["admin"])
        self.assertEqual(d[0][:6] + d[0][7:], row[:6] + row[7:])
        self.assertGreaterEqual(d[0][6], row[6], "the oldest message only grows older")
        self.assertEqual(d[4][0][0], m.id)
        self.assertTrue(d[4][0][2].startswith("127.0.0.1:"), d[4][0])
        part = d[5][0]
        self.assertEqual(part[:3] + part[4:5] + part[6:7], ["admin", tid, 0, 8, 10])
        self.refused(GROUP_BUSY, w.call, GROUP_RESET, ["admin", [[tid, 0, 0]], {}])
        self.refused(GROUP_BUSY, w.call, GROUP_DELETE, ["admin", {}])
        self.refused(GROUP_MODE, Member, self.wire(), "admin", ["admin"], mode="queue")
        m.leave()
        self.assertEqual(w.call(GROUP_RESET, ["admin", [[tid, 0, 2]], {"dry_run": True}])[0][2:4], [8, 2])
        self.assertEqual(w.call(COMMITTED, ["admin", None])[0][2], 8)
        self.assertEqual(w.call(GROUP_RESET, ["admin", [[tid, 0, 2]], {}])[0][2:4], [8, 2])
        self.assertEqual(w.call(COMMITTED, ["admin", None])[0][2], 2)
        w.call(GROUP_DELETE, ["admin", {}])
        self.refused(UNKNOWN_GROUP, w.call, GROUP_DESCRIBE, ["admin"])

    def test_many_groups_are_listed_in_pages(self):
        w = self.wire()
        fill(w, "pages", 1)
        for i in range(30):
            Member(w, f"page-{i:02}", ["pages"])
        seen, after = [], None
        while True:
            rows, nxt = w.call(GROUP_LIST, [{"limit": 7, **({"after": after} if after else {})}])[:2]
            seen += [r[0] for r in rows]
            if nxt is None:
                break
            after = nxt
        self.assertEqual([s for s in seen if s.startswith("page-")], [f"page-{i:02}" for i in range(30)])

    def test_sessions_of_a_connection(self):
        w = self.wire()
        fill(w, "many", 1)
        for _ in range(256):
            Member(w, "many", ["many"], mode="log")
        self.refused(TOO_LARGE, Member, w, "many", ["many"])
        other = self.wire()
        self.assertEqual(metric(other, "weir_group_live_members", "many"), 256)


class QueueMode(ServerCase):
    def test_verdicts(self):
        w = self.wire()
        fill(w, "verdicts", 6)
        m = Member(w, "verdicts", ["verdicts"], mode="queue")
        got = m.acquire(6)
        self.assertEqual([g[3] for g in got], [b"%d" % i for i in range(6)])
        h = [g[0] for g in got]
        again = m.acquire(6, attempt=m.attempt)
        self.assertEqual([g[0] for g in again], h, "the same attempt, the same leases")
        self.assertEqual(m.settle(h[:1]), [None])
        self.assertEqual(m.settle(h[1:2], NACK, 0, "later"), [None])
        self.assertEqual(m.settle(h[2:3], RELEASE), [None])
        self.assertEqual(m.settle(h[3:4], EXTEND, 60000), [None])
        self.assertEqual(m.settle(h[:1]), [None], "an ack may come again")
        self.assertEqual(m.settle(h[1:2], NACK)[0][0], LEASE_LOST)
        back = wait_for(lambda: m.acquire(6, wait=100))
        while len(back) < 2:
            back += m.acquire(6, wait=100)
        self.assertEqual(sorted((g[1], g[3], g[4]) for g in back), [(1, b"2", None), (2, b"1", "later")])

    def test_many_workers(self):
        tid = fill(self.wire(), "workers", 300, partitions=3)
        ms = [Member(self.wire(), "workers", ["workers"], mode="queue") for _ in range(12)]
        seen = {}
        until = time.monotonic() + 60
        while len(seen) < 300:
            self.assertLess(time.monotonic(), until, len(seen))
            for m in ms:
                got = m.acquire(9, wait=10)
                for h, deliveries, _, value, _ in got:
                    self.assertEqual((h[0], deliveries), (tid, 1))
                    self.assertNotIn(value, seen)
                    seen[value] = 1
                self.assertEqual(m.settle([g[0] for g in got]), [None] * len(got))
        self.assertEqual(ms[0].acquire(10), [])

    def test_wait_is_ended_by_a_message(self):
        w, p = self.wire(), self.wire()
        tid = fill(p, "wake", 0)
        m = Member(w, "wake", ["wake"], mode="queue")
        t0 = time.monotonic()
        self.assertEqual(m.acquire(1, wait=300), [])
        self.assertGreater(time.monotonic() - t0, 0.25)
        corr = m.ask(1, wait=20000)
        p.produce(tid, 0, [record(None, b"now")])
        self.assertEqual(m.got(corr)[0][3], b"now")
        self.assertLess(time.monotonic() - t0, 10)

    def test_more_partitions_than_an_answer_has_places(self):
        """One lot per partition, more of them than pieces that a reply refers to."""
        w = self.wire()
        fill(w, "wide", 300, partitions=300)
        m = Member(w, "wide", ["wide"], mode="queue")
        got, until = [], time.monotonic() + 30
        while len(got) < 300:
            self.assertLess(time.monotonic(), until)
            more = m.acquire(1000, wait=100)
            got += more
            m.settle([g[0] for g in more])
        self.assertEqual(sorted(int(g[3]) for g in got), list(range(300)))

    def test_many_members_wait_on_one_connection(self):
        """All of them wait with as many bytes as they may ask for; the connection is still heard."""
        w, other = self.wire(), self.wire()
        tid = fill(w, "crowd", 1)
        ms = [Member(w, "crowd", ["crowd"], mode="queue")]
        first = ms[0].acquire(1)
        waiting = [ms[0].ask(1, wait=30000)]
        for _ in range(199):
            ms.append(Member(w, "crowd", ["crowd"], mode="queue"))
            waiting.append(ms[-1].ask(1, wait=30000))
        self.assertEqual(ms[0].settle([first[0][0]]), [None])
        for i in range(200):
            other.produce(tid, 0, [record(None, b"%d" % i)])
        got = [m.got(corr)[0] for m, corr in zip(ms, waiting)]
        self.assertEqual(sorted(int(g[3]) for g in got), list(range(200)))

    def test_takeover_and_disconnect(self):
        """The same member elsewhere keeps its leases; a lost one's come back after the grace time."""
        a = self.wire()
        fill(a, "leases", 4)
        m = Member(a, "leases", ["leases"], mode="queue")
        first = m.acquire(2)
        b = self.wire()
        over = Member(b, "leases", ["leases"], mode="queue", member=m.id)
        self.assertTrue(over.resumed)
        self.refused(FENCED_MEMBER, m.settle, [first[0][0]])
        self.assertEqual(over.settle([first[0][0]]), [None])
        over.attempt = m.attempt
        b.close()
        t0 = time.monotonic()
        other = Member(self.wire(), "leases", ["leases"], mode="queue")
        rest = other.acquire(4)
        self.assertEqual([g[3] for g in rest], [b"2", b"3"])
        back = other.got(other.ask(4, wait=20000))
        waited = time.monotonic() - t0
        self.assertEqual([(g[1], g[3]) for g in back], [(2, b"1")])
        self.assertGreater(waited, GRACE_S - 1)
        self.assertLess(waited, GRACE_S + 3)

    def test_waiting_acquire_of_a_fenced_member_is_answered(self):
        a, b = self.wire(), self.wire()
        fill(a, "fenced", 0)
        m = Member(a, "fenced", ["fenced"], mode="queue")
        corr = m.ask(1, wait=60000)
        Member(b, "fenced", ["fenced"], mode="queue", member=m.id)
        self.refused(FENCED_MEMBER, m.got, corr)
        self.assertEqual(a.note(CHANGED)[3], ["group", "fenced"])
        over = Member(b, "fenced2", ["fenced"], mode="queue")
        corr = over.ask(1, wait=60000)
        over.join()  # again, over the same connection
        self.refused(FENCED_MEMBER, over.got, corr)
        self.assertTrue(over.resumed)

    def test_hard_lease(self):
        w = self.wire()
        fill(w, "hard", 1)
        m = Member(w, "hard", ["hard"], mode="queue")
        first = m.acquire(1, lease=1000)
        t0 = time.monotonic()
        other = Member(self.wire(), "hard", ["hard"], mode="queue")
        back = other.acquire(1, wait=10000)
        self.assertEqual([(g[1], g[3]) for g in back], [(2, b"0")])
        self.assertGreater(time.monotonic() - t0, 0.8)
        self.assertEqual(m.settle([first[0][0]])[0][0], LEASE_LOST)

    def test_order_by_key(self):
        w = self.wire()
        tid = w.create("keys", partitions=1)
        for i in range(6):
            w.produce(tid, 0, [record(b"a" if i % 2 else b"b", b"%d" % i)])
        m = Member(w, "keys", ["keys"], mode="queue", order="key")
        got = m.acquire(10)
        self.assertEqual([g[3] for g in got], [b"0", b"1"], "one of each key")
        m.settle([got[1][0]])
        self.assertEqual([g[3] for g in m.acquire(10, wait=2000)], [b"3"])

    def test_max_rate(self):
        w = self.wire()
        tid = w.create("rate", partitions=1)
        w.produce(tid, 0, [record(None, b"x")] * 1000)
        m = Member(w, "rate", ["rate"], mode="queue")
        w.call(GROUP_ALTER, ["rate", {"max_rate": 100}, {}])
        n, t0 = 0, time.monotonic()
        while time.monotonic() - t0 < 5:
            got = m.acquire(100, wait=200)
            n += len(got)
            m.settle([g[0] for g in got])
        self.assertLess(n, 100 * 5 * 1.1 + 10)
        self.assertGreater(n, 100 * 5 * 0.8 if not sanitized() else 0)

    def test_dead_letters(self):
        w = self.wire()
        tid = fill(w, "dl", 3, message__max_bytes=2000)
        m = Member(w, "dl", ["dl"], mode="queue")
        got = m.acquire(3)
        self.assertEqual(m.settle([g[0] for g in got], DEAD, None, "broken"), [None] * 3)
        name = "dl~dl~dlq"
        dlq = wait_for(lambda: [t[1] for t in w.call(METADATA, [[name]])[2] if t[2] is None])[0]
        copies = []
        while len(copies) < 3:
            for part in w.fetch(dlq, 0, len(copies), wait=10000):
                copies += records(part[5])
        self.assertEqual([c[2] for c in copies], [b"0", b"1", b"2"])
        h = copies[1][3]
        self.assertEqual((h["weir-origin-topic"], h["weir-origin-partition"], h["weir-origin-offset"],
                          h["weir-group"], h["weir-attempts"], h["weir-reason"]),
                         (b"dl", b"0", b"1", b"dl", b"1", b"broken"))
        self.assertLess(abs(int(h["weir-first-at"]) / 1000 - time.time()), 60)
        self.assertEqual(m.acquire(5, wait=200), [], "not delivered any more")
        self.assertEqual(w.call(DLQ_LIST, [name, 0, 0, 0])[0], [[0, 2, 0]])
        self.assertEqual(w.call(DLQ_REDRIVE, [name, [[0, 0, 1]], {"dry_run": True}]), [2, 0])
        self.assertEqual(w.call(DLQ_REDRIVE, [name, [[0, 0, 1]], {"rate": 1000}]), [2, 0])
        self.assertEqual(w.call(DLQ_REDRIVE, [name, [[0, 0, 1]], {"rate": 1000}]), [0, 2], "again is nothing")
        back = []
        while len(back) < 2:
            back += m.acquire(5, wait=1000)
        self.assertEqual([(g[0][0], g[3]) for g in back], [(dlq, b"0"), (dlq, b"1")])
        self.assertEqual(m.settle([back[0][0]]), [None])
        self.assertEqual(m.settle([back[1][0]], DEAD, None, "still broken"), [None])
        again = records(w.fetch(dlq, 0, 3, wait=10000)[0][5])
        self.assertEqual(again[0][2], b"1")
        h = again[0][3]
        self.assertEqual((h["weir-origin-topic"], h["weir-origin-offset"], h["weir-attempts"], h["weir-reason"]),
                         (b"dl", b"1", b"2", b"still broken"))
        self.assertEqual(w.call(DLQ_LIST, [name, 0, 0, 0])[0], [[2, 3, 0]])
        self.assertEqual(w.call(DLQ_PURGE, [name, [[0, 0, 1 << 40]]]), [2, 2])
        self.assertEqual(w.call(DLQ_LIST, [name, 0, 0, 0])[0], [])
        self.assertEqual(metric(w, "weir_dlq_moved_total"), 4)
        self.refused(INVALID_CONFIG, w.create, "mine~g~dlq")
        self.refused(INVALID_CONFIG, w.call, DLQ_LIST, ["dl", 0, 0, 0])
        self.refused(EXISTS, w.create, "dl")
        w.produce(dlq, 0, [record(None, b"by hand")])
        self.assertEqual(w.call(43, ["dl"])[1], tid)

    def test_names_at_their_longest(self):
        w = self.wire()
        topic, group = "t" * 100, "g" * 100
        fill(w, topic, 1)
        m = Member(w, group, [topic], mode="queue")
        m.settle([g[0] for g in m.acquire(1)], DEAD)
        name = f"{topic}~{group}~dlq"
        wait_for(lambda: [t for t in w.call(METADATA, [[name]])[2] if t[2] is None])
        listed, after = [], ""
        while after is not None:
            answer = w.call(METADATA, [None, None, {"limit": 1, **({"after": after} if after else {})}])
            listed += [t[0] for t in answer[2]]
            after = answer[3] if len(answer) > 3 else None
        self.assertIn(name, listed)
        self.assertEqual(w.call(43, [name])[0], name)
        w.call(41, [name])


class Delay(ServerCase):
    def test_delay_and_cancel(self):
        w = self.wire()
        tid = w.create("later", partitions=1)
        due = int(time.time() * 1000) + 1500
        first = w.call(PRODUCE, [tid, 0, batch([record(None, b"a"), record(None, b"b")]), {"deliver_at": due}])
        far = w.call(PRODUCE, [tid, 0, batch([record(None, b"c")]), {"deliver_at": due + 3600000}])
        self.assertIsNone(first[0])
        ident, later = first[4], far[4]
        w.produce(tid, 0, [record(None, b"now")])
        rows = w.call(DELAYED_LIST, [tid, {}])[0]
        self.assertEqual([(r[0], r[1], r[2], r[3]) for r in rows], [(ident, 0, due, 2), (later, 0, due + 3600000, 1)])
        self.assertEqual(metric(w, "weir_scheduled_messages"), 3)
        self.assertEqual([v for _, _, v in values(w.fetch(tid, 0, 0)[0][5])], [b"now"])
        self.assertEqual(w.call(CANCEL_DELAYED, [tid, [f"{ident}.1", f"{later}.0", "nonsense"]]), [0, 0, 2])
        got = values(w.fetch(tid, 0, 1, wait=10000)[0][5])
        late = time.time() * 1000 - due
        self.assertEqual([v for _, _, v in got], [b"a"])
        self.assertGreater(late, -5)
        self.assertLess(late, 500 if not sanitized() else 5000)
        self.assertEqual(w.call(CANCEL_DELAYED, [tid, [f"{ident}.0", f"{later}.0"]]), [1, 0])


class Death(unittest.TestCase):
    """The broker is killed with -9; a new one goes on where it stood."""

    def setUp(self):
        self.server = Server()

    def tearDown(self):
        self.server.stop()

    def again(self):
        self.server.kill()
        self.server.start()
        return Wire(self.server.url)

    def test_commits_and_members_hold(self):
        w = Wire(self.server.url)
        tid = fill(w, "t", 20, partitions=2)
        m = Member(w, "g", ["t"])
        self.assertEqual(m.commit([[tid, 0, 7], [tid, 1, 3]]), [None, None])
        m.w = self.again()
        at = {p: o for _, p, o, *_ in m.w.call(COMMITTED, ["g", None])}
        self.assertEqual(at, {0: 7, 1: 3})
        m.join()
        self.assertTrue(m.resumed)
        self.assertEqual(m.parts, {(tid, 0): 7, (tid, 1): 3})
        self.assertEqual(m.commit([[tid, 0, 8]]), [None])
        m.w.close()

    def test_leases_hold(self):
        w = Wire(self.server.url)
        tid = fill(w, "t", 10)
        m = Member(w, "g", ["t"], mode="queue")
        got = m.acquire(6)
        m.settle([got[1][0], got[3][0]])
        m.settle([got[2][0]], NACK, 0, "once")
        m.w = self.again()
        other = Member(Wire(self.server.url), "g", ["t"], mode="queue")
        mine = other.acquire(10, wait=500)
        while len(mine) < 5:
            more = other.acquire(10, wait=1000)
            self.assertTrue(more, mine)
            mine += more
        self.assertEqual(sorted((g[3], g[1], g[4]) for g in mine),
                         [(b"2", 2, "once"), (b"6", 1, None), (b"7", 1, None), (b"8", 1, None), (b"9", 1, None)])
        m.join()
        self.assertTrue(m.resumed)
        again = m.acquire(6, attempt=m.attempt)
        self.assertEqual(sorted(g[3] for g in again), [b"0", b"4", b"5"])
        self.assertEqual(m.settle([got[0][0], got[4][0], got[5][0]]), [None] * 3)
        other.settle([g[0] for g in mine])
        self.assertEqual(other.acquire(10, wait=100), [])
        self.assertEqual(m.w.call(COMMITTED, ["g", None])[0][2], 10)
        self.assertEqual(tid, got[0][0][0])
        m.w.close()
        other.w.close()

    def test_dead_letters_neither_lost_nor_doubled(self):
        """kill -9 while dead letters are moved, again and again."""
        w = Wire(self.server.url)
        n = 600
        tid = w.create("t", partitions=3)
        for i in range(n):
            w.produce(tid, i % 3, [record(None, b"%d" % i)])
        m = Member(w, "g", ["t"], mode="queue")
        dead = 0
        for round_ in range(6):
            got = m.acquire(100, wait=1000)
            corr = m.w.send(31, m.who() + [[[*h[:3], h[3], h[3], DEAD, None, "x"] for h, *_ in got]])
            if round_ % 2:
                m.w.answer(corr)
            time.sleep(0.01 * round_)
            m.w = self.again()
            m.join()
            left = m.acquire(100, attempt=m.attempt)  # what it holds still: its verdict did not arrive
            self.assertLessEqual({g[0] for g in left}, {g[0] for g in got})
            m.settle([g[0] for g in left], DEAD, None, "x")
            dead += len(got)
        while True:
            got = m.acquire(200, wait=500)
            if not got:
                break
            m.settle([g[0] for g in got], DEAD, None, "x")
        dlq = wait_for(lambda: [t[1] for t in m.w.call(METADATA, [["t~g~dlq"]])[2] if t[2] is None])[0]

        def copies():
            out, at = [], 0
            while (e := m.w.fetch(dlq, 0, at)) and e[0][5]:
                out += [r for r in records(e[0][5]) if r[0] >= at]
                at = out[-1][0] + 1
            return out if len(out) >= n else None
        # what was leased when a broker died comes back with the same member, or at its deadline
        got = wait_for(lambda: (m.settle([g[0] for g in m.acquire(200, wait=100)], DEAD, None, "x"), copies())[1], 60)
        self.assertEqual(sorted(int(r[2]) for r in got), list(range(n)))
        m.w.close()

    def test_delayed_holds(self):
        w = Wire(self.server.url)
        tid = w.create("t", partitions=1)
        due = int(time.time() * 1000) + 1500
        w.call(PRODUCE, [tid, 0, batch([record(None, b"a")]), {"deliver_at": due}])
        w = self.again()
        self.assertEqual([v for _, _, v in values(w.fetch(tid, 0, 0, wait=10000)[0][5])], [b"a"])
        w.close()

    def test_sigterm_keeps_sessions(self):
        w = Wire(self.server.url)
        tid = fill(w, "t", 4)
        m = Member(w, "g", ["t"])
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(w.note(101)[3][0], "shutdown")
        self.assertEqual(self.server.process.wait(20), 0)
        self.server.start()
        m.w = Wire(self.server.url)
        m.join()
        self.assertTrue(m.resumed)
        self.assertEqual(m.parts, {(tid, 0): 0})
        m.w.close()


def stopped_member(url, member, told):
    """A process of its own: joins, says so, and would go on reading."""
    w = Wire(url)
    m = Member(w, "stop", ["stop"], member=member)
    told.send(list(m.parts))
    w.ends()


class Stopped(unittest.TestCase):
    def test_sigstop(self):
        """A member whose process stands still keeps its partitions: its kernel answers for it."""
        server = Server()
        w = Wire(server.url)
        tid = fill(w, "stop", 4, partitions=1)
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=stopped_member, args=(server.url, os.urandom(16), there))
        child.start()
        self.assertEqual(here.recv(), [(tid, 0)])
        os.kill(child.pid, signal.SIGSTOP)
        m = Member(w, "stop", ["stop"])
        m.w.quiet(GRACE_S + 6)
        m.heartbeat()
        self.assertEqual(m.parts, {}, "it is only slow")
        os.kill(child.pid, signal.SIGKILL)
        t0 = time.monotonic()
        child.join()
        wait_for(lambda: m.heartbeat() or m.parts, 20)
        self.assertGreater(time.monotonic() - t0, GRACE_S - 2)
        w.close()
        server.stop()


class Slow(ServerCase):
    def test_full_output_remembers_news(self):
        """A member that does not read while its output is full is told once it reads again."""
        w = self.wire()
        tid = w.create("full", partitions=2)
        for i in range(30):
            w.produce(tid, i % 2, [record(None, b"x" * 500000)])
        slow = self.wire()
        m = Member(slow, "full", ["full"])
        slow.call(SUBSCRIBE, [1, [[tid, 0, 0], [tid, 1, 0]], 1 << 40, {}, m.who()])
        two = Member(w, "full", ["full"])
        del two
        time.sleep(1)
        changed, got = 0, 0
        while got < 30 or not changed:
            f = slow.frame()
            if f[2] == DELIVER:
                got += sum(len(values(x[3])) for x in f[3])
            changed += f[2] == CHANGED
        self.assertEqual(got, 30)
        self.assertEqual(changed, 1)

    def test_connection_ends_with_everything_waiting(self):
        w = self.wire()
        tid = fill(w, "ends", 0)
        other = self.wire()
        for _ in range(20):
            c = Wire(self.server.url)
            m = Member(c, "ends", ["ends"], mode="queue")
            m.ask(1, wait=60000)
            n = Member(c, "ends-log", ["ends"])
            c.send(11, [60000, 1, 1 << 20, [[tid, 0, 0, 1 << 20]], n.who()])
            c.call(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 20, {}, n.who()])
            c.send(JOIN, ["ends-more", os.urandom(16), None, ["ends"], {"mode": "log"}])
            c.close()
        wait_for(lambda: metric(other, "weir_connections") == 2)
        late = Member(other, "ends", ["ends"], mode="queue")
        w.produce(tid, 0, [record(None, b"z")])
        self.assertEqual([g[3] for g in late.acquire(1, wait=5000)], [b"z"])


if __name__ == "__main__":
    main()
