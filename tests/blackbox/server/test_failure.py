#!/usr/bin/env python3
"""Disks that fail or fill up, signals, and stopping while work is under way."""
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from harness import SANITIZER, Server, bin_dir, environment, main
from wire import (CREATE, DELETE, FETCH, GOING_AWAY, METRICS, PING, PRODUCE, SUBSCRIBE, Closed, Refused,
                  Wire, batch, record, values)

RETRY, UNKNOWN = 1, 2  # classes


def read_all(w, tid, p):
    out, at = [], 0
    while True:
        got = w.fetch(tid, p, at)
        if not got or not got[0][5]:
            return out
        rows = [r for r in values(got[0][5]) if r[0] >= at]
        out += rows
        at = out[-1][0] + 1


class Storage(unittest.TestCase):
    def test_write_that_fails_ends_the_server(self):
        """No acknowledgement after an error; exit 70; what was acknowledged is there at the next start."""
        s = Server()
        w = Wire(s.url)
        tid = w.create("t", partitions=1)
        for i in range(20):
            w.produce(tid, 0, [record(b"k", b"%d" % i)])
        size = max(os.path.getsize(os.path.join(s.dir, "data", f)) for f in os.listdir(os.path.join(s.dir, "data"))
                   if f.endswith(".log"))
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (size + 20000, size + 20000))
        acked, outcomes = 20, []
        ids = []
        try:
            for i in range(20, 120):
                ids.append(w.send(PRODUCE, [tid, 0, batch([record(b"k", b"%06d" % i + b"x" * 994)])]))
        except OSError:
            pass  # it is gone already
        for i in ids:
            try:
                w.answer(i)
                self.assertEqual(outcomes, [], "an acknowledgement behind an error")
                acked += 1
            except Refused as e:
                outcomes.append(e.cls)
            except Closed:
                break
        self.assertEqual(s.process.wait(20), 70)
        log = s.read_log()
        self.assertIn(" store_failed ", log)
        self.assertIsNone(SANITIZER.search(log), log)
        self.assertGreater(len(outcomes), 0, "nothing in flight was answered")
        # what was submitted is unknown; what came behind the failure was not even tried
        self.assertEqual(outcomes[0], UNKNOWN)
        self.assertEqual(outcomes, sorted(outcomes, key={UNKNOWN: 0, RETRY: 1}.get))
        w.close()
        s.start()
        w = Wire(s.url)
        got = read_all(w, tid, 0)
        self.assertGreaterEqual(len(got), acked)
        self.assertEqual([int(v[:6]) for _, _, v in got], list(range(len(got))))
        w.close()
        s.stop()

    def test_full_disk(self):
        """Below min_free produce is refused, everything else goes on; with room it goes on by itself."""
        s = Server("--min-free", "1000G")
        try:
            w = Wire(s.url)
            tid = w.create("t", partitions=1)
            with self.assertRaises(Refused) as r:
                w.produce(tid, 0, [record(b"k", b"v")])
            self.assertEqual(r.exception.cls, RETRY)
            self.assertIn("retry_after_ms", r.exception.detail)
            self.assertEqual(w.fetch(tid, 0, 0), [])
            self.assertEqual([v for n, _, v in w.call(METRICS, ["weir_store_state"])], [1])
            w.call(DELETE, ["t"])
            w.close()
            self.assertIn(" store_full ", s.read_log())
        finally:
            s.stop()


class Stopping(unittest.TestCase):
    def test_with_everything_under_way(self):
        """Producers, cold readers, subscriptions and long-polls at the moment of SIGTERM: clients are told,
        nothing acknowledged is lost, nothing in the process breaks."""
        s = Server("--tail-cache", "0")
        w = Wire(s.url)
        tid = w.create("t", partitions=2)
        for _ in range(20):
            w.produce(tid, 0, [record(None, b"x" * 50000)] * 10)
        readers = []
        for i in range(30):
            p = Wire(s.url)
            if i % 2:
                p.send(SUBSCRIBE, [1, [[tid, 0, 0], [tid, 1, 0]], 1 << 40, {}])
            else:
                for k in range(10):
                    p.send(FETCH, [60000, 1, 1 << 20, [[tid, k % 2, 0, 1 << 20]]])
            readers.append(p)
        acked, stop = [], []

        def load():
            try:
                with Wire(s.url) as q:
                    while True:
                        acked.append(q.produce(tid, 1, [record(b"k", b"%d" % len(acked))])[0])
            except Refused as e:
                stop.append(e.cls)
            except (Closed, OSError):
                stop.append(None)

        t = threading.Thread(target=load)
        t.start()
        while len(acked) < 30:
            self.assertEqual(stop, [])
        s.process.send_signal(signal.SIGTERM)
        self.assertEqual(w.note(GOING_AWAY)[3][0], "shutdown")
        t0 = time.monotonic()
        self.assertEqual(s.process.wait(20), 0)
        self.assertLess(time.monotonic() - t0, 10)
        t.join()
        self.assertIsNone(SANITIZER.search(s.read_log()), s.read_log())
        for p in readers:
            p.close()
        w.close()
        s.start()
        w = Wire(s.url)
        self.assertEqual([int(v) for _, _, v in read_all(w, tid, 1)][:len(acked)], list(range(len(acked))))
        w.close()
        s.stop()

    def test_reads_under_way(self):
        """SIGTERM without a drain, while reads of cold data are in the store's threads."""
        s = Server("--tail-cache", "0", "--drain-ms", "0")
        w = Wire(s.url)
        tid = w.create("t", partitions=1)
        for _ in range(20):
            w.produce(tid, 0, [record(None, b"x" * 50000)] * 10)
        w.close()
        for i in range(5):
            peers = [Wire(s.url) for _ in range(20)]
            for p in peers:
                for _ in range(10):
                    p.send(FETCH, [0, 1, 1 << 20, [[tid, 0, 0, 1 << 20]]])
            for p in peers[:i]:
                p.frame()
            s.process.send_signal(signal.SIGTERM)
            self.assertEqual(s.process.wait(20), 0)
            self.assertIsNone(SANITIZER.search(s.read_log()), s.read_log())
            for p in peers:
                p.close()
            s.start()
        s.stop()

    def test_produce_while_draining(self):
        """A request behind SIGTERM is refused as not done, with the drain still waiting for nothing."""
        s = Server()
        w = Wire(s.url)
        tid = w.create("t")
        s.process.send_signal(signal.SIGTERM)
        try:
            w.produce(tid, 0, [record(b"k", b"v")])
        except Refused as e:
            self.assertEqual(e.cls, RETRY)
        except (Closed, OSError):
            pass
        self.assertEqual(s.process.wait(20), 0)
        s.start()
        s.stop()
        w.close()


class Signals(unittest.TestCase):
    def test_hup_and_storms(self):
        s = Server()
        w = Wire(s.url)
        tid = w.create("t")
        for i in range(200):
            s.process.send_signal(signal.SIGHUP if i % 20 == 0 else signal.SIGWINCH)
            w.produce(tid, 0, [record(b"k", b"v")])
        self.assertIn(" reloaded changed=0 need_restart=0", s.read_log())
        w.close()
        s.stop()

    def test_peers_that_vanish_with_unread_data(self):
        s = Server()
        w = Wire(s.url)
        tid = w.create("t", partitions=1)
        for _ in range(10):
            w.produce(tid, 0, [record(None, b"x" * 100000)] * 10)
        for _ in range(50):
            p = Wire(s.url)
            p.send(SUBSCRIBE, [1, [[tid, 0, 0]], 1 << 40, {}])
            p.close()
        w.call(PING, [])
        w.close()
        s.stop()


class Ready(unittest.TestCase):
    def test_a_line_for_each_listener(self):
        d = tempfile.mkdtemp()
        ready, tell = os.pipe()
        p = subprocess.Popen([os.path.join(bin_dir(), "weir-server"), "--dev", "--http=", "--listen", "127.0.0.1:0",
                              "--listen", "127.0.0.1:0", "--listen", f"unix:{d}/s", "--ready-fd", str(tell)],
                             stderr=subprocess.DEVNULL, pass_fds=[tell], env=environment())
        os.close(tell)
        with os.fdopen(ready) as f:
            lines = f.read().splitlines()
        self.assertEqual(len(lines), 3)
        for line in lines[:2]:
            m = re.fullmatch(r"READY (127\.0\.0\.1:\d+)", line)
            with Wire(f"weir://{m.group(1)}") as w:
                w.call(CREATE, [f"t{m.group(1)[10:]}", {}])
        self.assertEqual(lines[2], f"READY unix:{d}/s")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(20), 0)
        shutil.rmtree(d)

    def test_dev_keeps_nothing_and_creates_topics(self):
        s = subprocess.Popen([os.path.join(bin_dir(), "weir-server"), "--dev", "--http=", "--listen", "127.0.0.1:0",
                              "--log-format", "json"], stderr=subprocess.PIPE, text=True, env=environment())
        address = json.loads(s.stderr.readline())["address"]
        self.assertEqual(json.loads(s.stderr.readline())["event"], "ready")
        with Wire(f"weir://{address}") as w:
            topic = w.call(5, [["made-by-asking"]])[2][0]
            self.assertIsNone(topic[2])
            self.assertEqual(w.produce(topic[1], 0, [record(b"k", b"v")])[0], 0)
            with self.assertRaises(Refused):
                w.produce(topic[1] + 1, 0, [record(b"k", b"v")])
        s.send_signal(signal.SIGTERM)
        s.stderr.read()
        self.assertEqual(s.wait(20), 0)
        s.stderr.close()


if __name__ == "__main__":
    main()
