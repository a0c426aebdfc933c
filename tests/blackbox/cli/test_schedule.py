#!/usr/bin/env python3
"""Delayed messages: weir produce --delay and --at, weir schedule, against a real server."""
import time

from harness import ServerCase, main


class Schedule(ServerCase):
    def scheduled(self, topic):
        return self.ok("schedule", "list", topic, "-o", "json").json()

    def test_nobody_sees_it_before(self):
        t = self.topic()
        before = time.time()
        self.ok("produce", t, "--delay", "700ms", stdin=b"later\n")
        self.assertEqual(self.ok("consume", t, "-e").text, "")
        self.ok("produce", t, stdin=b"now\n")
        self.assertEqual(self.ok("consume", t, "-e").text, "now\n")
        self.assertEqual(self.ok("consume", t, "-n", "2").text, "now\nlater\n")
        self.assertGreaterEqual(time.time() - before, 0.7)
        self.assertEqual(self.ok("consume", t, "-g", "schedule", "-e").text, "now\nlater\n")
        self.assertEqual(self.scheduled(t), [])

    def test_ids_list_and_cancel(self):
        t = self.topic()
        ids = self.ok("produce", t, "--delay", "1h", "--print-ids", stdin=b"a\nb\nc\n").text.split()
        self.assertEqual(len(set(ids)), 3)
        listed = self.scheduled(t)
        self.assertEqual(sum(s["messages"] for s in listed), 3)
        self.assertEqual({i.rsplit(".", 1)[0] for i in ids}, {s["id"] for s in listed})
        self.assertEqual(self.ok("schedule", "list", t, "-o", "name").text.split(), [s["id"] for s in listed])
        self.assertRegex(self.ok("schedule", "list", t).text, rf"(?m)^{listed[0]['id']} +20\d\d-.*Z +0 ")
        dry = self.ok("schedule", "cancel", t, ids[1], "--dry-run").text
        self.assertRegex(dry, rf"(?m)^{ids[1]} +would cancel$")
        self.assertRegex(self.ok("schedule", "cancel", t, ids[1]).text, rf"(?m)^{ids[1]} +cancelled$")
        r = self.weir("schedule", "cancel", t, ids[1], "nonsense.0")  # asking again is no error
        self.one_line(r, 1, "1 of 2 were not cancelled")
        self.assertRegex(r.text, r"(?m)^nonsense\.0 +unknown$")
        batches = [s["id"] for s in self.scheduled(t)]
        self.assertEqual([r["result"] for r in self.ok("schedule", "cancel", t, *batches, "-o", "jsonl").jsonl()],
                         ["cancelled"] * len(batches))
        self.assertEqual(self.scheduled(t), [])
        r = self.weir("schedule", "cancel", t, *batches, "--dry-run")
        self.assertEqual(r.code, 1)
        self.assertIn("not scheduled", r.text)

    def test_too_late(self):
        t = self.topic()
        ids = self.ok("produce", t, "--delay", "1ms", "--print-ids", stdin=b"a\n").text.split()
        self.assertEqual(self.ok("consume", t, "-n", "1").text, "a\n")
        r = self.weir("schedule", "cancel", t, *ids)
        self.one_line(r, 1, "1 of 1 were not cancelled")
        self.assertRegex(r.text, rf"(?m)^{ids[0]} +delivered$")

    def test_due_order(self):
        t = self.topic()
        for delay, value in (("900ms", b"third"), ("300ms", b"first"), ("600ms", b"second")):
            self.ok("produce", t, "--delay", delay, stdin=value + b"\n")
        self.assertEqual([s["messages"] for s in self.scheduled(t)], [1, 1, 1])
        self.assertEqual(self.ok("consume", t, "-n", "3").text.split(), ["first", "second", "third"])

    def test_at(self):
        t = self.topic()
        at_ms = int(time.time() * 1000) + 400
        self.ok("produce", t, "--at", str(at_ms), stdin=b"x\n")
        m = self.ok("consume", t, "-n", "1", "-o", "jsonl").jsonl()[0]
        self.assertGreaterEqual(m["append_ms"], at_ms)
        self.ok("produce", t, "--at", "1h", stdin=b"y\n")
        self.assertEqual(len(self.scheduled(t)), 1)
        r = self.weir("produce", t, "--at", "2999-01-01T00:00:00Z", stdin=b"z\n")
        self.assertEqual(r.code, 1)
        self.assertIn("366", r.err)

    def test_counts_and_unknown_topics(self):
        t = self.topic()
        for hours in ("1h", "2h", "3h"):
            self.ok("produce", t, "--delay", hours, stdin=b"x\n")
        all_ids = self.ok("schedule", "list", t, "-o", "name").text.split()
        self.assertEqual(len(all_ids), 3)
        self.assertEqual(self.ok("schedule", "list", t, "-o", "name", "-n", "2").text.split(), all_ids[:2])
        self.one_line(self.weir("schedule", "list", "no.such"), 4, "'no.such' does not exist")
        self.one_line(self.weir("schedule", "cancel", "no.such", "a.0"), 4, "'no.such' does not exist")


if __name__ == "__main__":
    main()
