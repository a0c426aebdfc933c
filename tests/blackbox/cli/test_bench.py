#!/usr/bin/env python3
"""weir bench against a real server: the figures are about this machine, their sums are not."""
import json
import subprocess
import tempfile

from harness import ServerCase, main, weir_start


class Bench(ServerCase):
    def check_latency(self, h, count):
        self.assertEqual(h["count"], count)
        self.assertLessEqual(0 if count == 0 else 0.001, h["p50_us"])
        steps = [h[k] for k in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
        self.assertEqual(steps, sorted(steps))

    def test_produce_then_consume(self):
        t = self.topic(4)
        r = self.ok("bench", "produce", "--topic", t, "--count", "20000", "--size", "200",
                    "--producers", "3", "--batch", "100", "-o", "json").json()
        self.assertEqual((r["stored"], r["not_stored"], r["unknown"], r["producers"]),
                         (20000, 0, 0, 3))
        self.assertEqual(r["bytes"], 20000 * 200)
        self.assertEqual(r["latency_from"], "send")
        self.assertGreater(r["messages_per_s"], 0)
        self.check_latency(r["ack_latency"], 20000)
        c = self.ok("bench", "consume", "--topic", t, "-o", "json").json()
        self.assertEqual((c["messages"], c["bytes"]), (20000, 4000000))
        some = self.ok("bench", "consume", "--topic", t, "--count", "500", "-o", "json").json()
        self.assertEqual(some["messages"], 500)

    def test_produce_at_a_rate(self):
        t = self.topic()
        r = self.ok("bench", "produce", "--topic", t, "--rate", "1000/s", "--duration", "500ms",
                    "--producers", "2", "-o", "json").json()
        self.assertEqual(r["stored"] + r["missed"], 500)
        self.assertEqual(r["latency_from"], "plan")
        self.assertLess(r["messages_per_s"], 1100)

    def test_payload_from_a_file(self):
        t = self.topic()
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"one\ntwo\nthree")
            f.flush()
            self.ok("bench", "produce", "--topic", t, "--count", "7", "--payload", f.name)
        self.assertEqual(self.ok("consume", t, "-e").out, b"one\ntwo\nthree\none\ntwo\nthree\none\n")

    def test_latency(self):
        t = self.topic(3)
        r = self.ok("bench", "latency", "--topic", t, "--rate", "500", "--duration", "1s", "-o",
                    "json").json()
        self.assertEqual((r["sent"], r["stored"], r["delivered"], r["not_stored"]),
                         (500, 500, 500, 0))
        self.check_latency(r["ack_latency"], 500)
        self.check_latency(r["delivery_latency"], 500)

    def test_tables(self):
        t = self.topic()
        out = self.ok("bench", "produce", "--topic", t, "--count", "100").text
        self.assertRegex(out, r"messages +100 stored, 0 not stored, 0 unknown\n")
        self.assertRegex(out, r"ack latency  p50 .* p99\.9 .* max ")
        self.assertRegex(self.ok("bench", "consume", "--topic", t).text, r"messages +100\n")
        out = self.ok("bench", "latency", "--topic", t, "--rate", "100", "-d", "200ms").text
        self.assertRegex(out, r"messages +20 sent at 100/s, 20 delivered\n")

    def test_dry_runs_send_nothing(self):
        t = self.topic()
        self.assertIn("nothing was sent", self.ok("bench", "produce", "--topic", t, "--dry-run").text)
        self.assertIn("nothing was sent", self.ok("bench", "latency", "--topic", t, "--dry-run").text)
        self.assertEqual(self.ok("consume", t, "-e").out, b"")

    def test_a_topic_that_does_not_exist(self):
        for kind in ("produce", "latency", "consume"):
            r = self.weir("bench", kind, "--topic", "nowhere", "--duration", "1s")
            self.assertEqual(r.code, 4, (kind, r.err))
            self.assertEqual(r.err, "weir: topic 'nowhere' does not exist\n")

    def test_stalls_count_from_the_plan(self):
        """The server stands still for a while: in an open loop many messages feel it, not one."""
        import signal
        t = self.topic()
        p = weir_start("bench", "latency", "--topic", t, "--rate", "1000", "--duration", "2s", "-o",
                       "json", url=self.server.url, stdout=subprocess.PIPE)
        # the warm-up is over when messages of the run are there
        self.ok("consume", t, "--count", "300")
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            p.wait(0.4)
        except subprocess.TimeoutExpired:
            pass
        self.server.process.send_signal(signal.SIGCONT)
        out = p.communicate(timeout=60)[0]
        self.assertEqual(p.returncode, 0)
        r = json.loads(out)
        self.assertEqual(r["delivered"], 2000)
        # 400 of 2,000 were due during the stall; their delays spread evenly up to 400 ms
        self.assertGreater(r["ack_latency"]["max_us"], 350000)
        self.assertGreater(r["ack_latency"]["p90_us"], 100000)
        self.assertGreater(r["delivery_latency"]["p90_us"], 100000)


if __name__ == "__main__":
    main()
