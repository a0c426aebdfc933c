#!/usr/bin/env python3
"""HTTP: health, readiness and metrics, read by a parser that is not ours."""
import http.client
import os
import re
import socket
import subprocess
import time
import unittest

from prometheus_client.parser import text_string_to_metric_families as parse

from harness import Server, bin_dir, main
from wire import Member, Wire, record


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--http", "127.0.0.1:0")
        cls.address = re.search(r"http listening address=(\S+)", cls.server.read_log()).group(1)
        w = Wire(cls.server.url)
        cls.tid = w.create("orders", partitions=3)
        for _ in range(10):
            w.produce(cls.tid, 1, [record(None, b"x" * 10)])
        m = Member(w, "billing", ["orders"])
        m.commit([[cls.tid, 1, 4]])
        cls.w = w

    @classmethod
    def tearDownClass(cls):
        cls.w.close()
        cls.server.stop()

    def get(self, path, method="GET", body=None):
        c = http.client.HTTPConnection(self.address, timeout=30)
        c.request(method, path, body=body)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, text, dict(r.getheaders())

    def families(self, path):
        code, text, headers = self.get(path)
        self.assertEqual(code, 200, text)
        self.assertIn("version=0.0.4", headers["Content-Type"])
        return {f.name: f for f in parse(text)}

    def test_health(self):
        self.assertEqual(self.get("/healthz")[:2], (200, "ok\n"))
        self.assertEqual(self.get("/readyz")[:2], (200, "ready\n"))
        self.assertEqual(self.get("/")[0], 404)
        self.assertEqual(self.get("/metrics", "POST", "x" * 100000)[0], 405)
        self.assertEqual(self.get("/healthz", "HEAD")[:2], (200, ""))
        self.assertEqual(self.get("/metrics/topic")[0], 400)
        self.assertEqual(self.get("/metrics/topic?name=nothing")[0], 404)

    def test_metrics(self):
        f = self.families("/metrics")
        for name, family in f.items():
            self.assertTrue(name.startswith("weir_"), name)
            self.assertTrue(family.documentation, f"{name} has no HELP")
            self.assertNotIn("milliseconds", name)
            self.assertNotIn("nanoseconds", name)
        one = {name: family.samples[0].value for name, family in f.items() if family.samples}
        self.assertEqual(one["weir_produce_records"], 10)
        self.assertEqual(f["weir_produce_records"].type, "counter")
        self.assertEqual(f["weir_connections"].type, "gauge")
        self.assertEqual([(s.labels, s.value) for s in f["weir_group_lag_messages"].samples], [({"group": "billing"}, 6)])
        self.assertLess(f["weir_group_lag_seconds"].samples[0].value, 600)
        self.assertEqual([(s.labels, s.value) for s in f["weir_topic_messages"].samples], [({"topic": "orders"}, 10)])
        late = f["weir_timer_late_seconds"]
        self.assertEqual(late.type, "histogram")
        self.assertEqual([s.labels["le"] for s in late.samples if s.name.endswith("_bucket")][-1], "+Inf")

    def test_one_topic(self):
        f = self.families("/metrics/topic?name=orders")
        hw = {s.labels["partition"]: s.value for s in f["weir_partition_high_watermark"].samples}
        self.assertEqual(hw, {"0": 0, "1": 10, "2": 0})
        lag = {(s.labels["group"], s.labels["partition"]): s.value
               for s in f["weir_group_partition_lag_messages"].samples}
        self.assertEqual(lag, {("billing", "0"): 0, ("billing", "1"): 6, ("billing", "2"): 0})

    def test_many_connections_do_not_disturb(self):
        socks = []
        host, port = self.address.split(":")
        for _ in range(100):
            s = socket.create_connection((host, int(port)), 10)
            s.sendall(b"GET /metrics HTTP/1.1\r\n")
            socks.append(s)
        self.w.call(3, [])
        for s in socks:
            s.close()
        until = time.monotonic() + 30  # it refuses more of one address until it has seen that those are gone
        while self.refused("/healthz"):
            self.assertLess(time.monotonic(), until)
        self.assertEqual(self.get("/healthz")[0], 200)

    def refused(self, path):
        try:
            self.get(path)
        except ConnectionError:
            return True
        return False


class Bounded(unittest.TestCase):
    def test_series_are_bounded(self):
        server = Server("--http", "127.0.0.1:0", "--dev")
        address = re.search(r"http listening address=(\S+)", server.read_log()).group(1)
        w = Wire(server.url)
        for i in range(3000):
            w.create(f"t{i:05}", partitions=1)
        c = http.client.HTTPConnection(address, timeout=30)
        c.request("GET", "/metrics")
        families = list(parse(c.getresponse().read().decode()))
        series = sum(len(f.samples) for f in families)
        self.assertLess(series, 5000)
        left = [f for f in families if f.name == "weir_metrics_topics_left_out"][0]
        self.assertEqual(left.samples[0].value, 2500)
        c.close()
        w.close()
        server.stop()


class Address(unittest.TestCase):
    def server(self, *options):
        return subprocess.run([os.path.join(bin_dir(), "weir-server"), "--dev", "--listen", "127.0.0.1:0", *options],
                              capture_output=True, timeout=60, check=False)

    def test_addresses_that_cannot_be(self):
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for value, words in ((f"127.0.0.1:{port}", "Address already in use"), ("nonsense", "want HOST:PORT"),
                             ("0.0.0.0:0", "allow_plaintext")):
            r = self.server("--http", value)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn(words, r.stderr.decode())
        taken.close()


if __name__ == "__main__":
    main()
