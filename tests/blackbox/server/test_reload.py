#!/usr/bin/env python3
"""SIGHUP: what can change while running does, what cannot is named, and a wrong file changes nothing."""
import os
import re
import shutil
import signal
import socket
import tempfile
import time
import unittest

from harness import Server, main
from wire import PING, Closed, Refused, Wire, record

DEADLINE_S = 20


class Reload(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="weir-reload-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.conf = os.path.join(self.dir, "weir.toml")
        self.write("")
        self.server = Server("--config", self.conf)
        self.addCleanup(self.server.stop)

    def write(self, *lines):
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in lines))

    def reload(self, *lines):
        """Writes the file, sends SIGHUP and returns what the log says until the reload is done."""
        self.write(*lines)
        at = len(self.server.read_log())
        self.server.process.send_signal(signal.SIGHUP)
        return self.wait(lambda: (m := re.search(r"(?s)^.* (reloaded|reload_refused) .*?\n",
                                                 self.server.read_log()[at:])) and m.group(0))

    def wait(self, fn):
        end = time.monotonic() + DEADLINE_S
        while not (got := fn()):
            self.assertLess(time.monotonic(), end, self.server.read_log())
        return got

    def wire(self, **kw):
        w = Wire(self.server.url, **kw)
        self.addCleanup(w.close)
        return w

    def test_says_what_changed_and_what_cannot(self):
        log = self.reload("drain_ms = 5s", "memory = 64M", "listen = [\"127.0.0.1:1\"]", "http = \"127.0.0.1:1\"")
        self.assertRegex(log, r'info server setting_changed key=drain_ms from="8000" to="5000" source="\S*weir.toml:1"\n')
        self.assertRegex(log, r'warn server setting_needs_restart key=memory from="268435456" to="67108864" source="\S*:2"\n')
        self.assertNotIn("key=listen", log)  # the command line says something else, and wins
        self.assertNotIn("key=http", log)
        self.assertIn(" reloaded changed=1 need_restart=1\n", log)
        log = self.reload("drain_ms = 5000", "memory = 64M")  # taken is taken; the other is still due
        self.assertNotIn("drain_ms", log)
        self.assertIn(" reloaded changed=0 need_restart=1\n", log)
        self.assertIn('key=drain_ms from="5000" to="8000" source="default"', self.reload())

    def test_a_wrong_file_changes_nothing(self):
        for bad, words in (("drain_ms = 5y", ["drain_ms = 5y", "0 to 600000 ms"]), ("drian_ms = 5", ["nearest is drain_ms"]),
                           ("drain_ms = '5", ["quote"])):
            log = self.reload("max_topics = 1", bad)
            self.assertRegex(log, r"error server reload_refused why='?\"?\S*weir\.toml:2: ")
            for w in words:
                self.assertIn(w, log)
            self.assertNotIn("setting_changed", log)
        w = self.wire()
        w.create("one")
        w.create("two")
        os.unlink(self.conf)
        self.server.process.send_signal(signal.SIGHUP)
        self.wait(lambda: "No such file" in self.server.read_log())
        w.call(PING, [])
        self.write("")

    def test_log_level_and_format(self):
        log = self.reload("log_level = error")
        self.assertIn("key=log_level", log)  # said at the louder of the two levels
        self.write("log_level = debug", "log_format = json")
        at = len(self.server.read_log())
        self.server.process.send_signal(signal.SIGHUP)
        self.wait(lambda: '"event":"reloaded"' in self.server.read_log()[at:])
        self.assertIn('"level":"info"', self.server.read_log()[at:])

    def test_limits(self):
        w = self.wire()
        tid = w.create("one")
        self.reload("max_topics = 1")
        with self.assertRaises(Refused):
            w.create("two")
        self.reload("max_connections = 1")
        with self.assertRaises((Closed, OSError)):
            self.wire()
        w.produce(tid, 0, [record(b"k", b"v")])  # those that are there stay
        self.reload("tail_cache = 0", "inflight = 1M", "max_output = 64k", "connection_memory = 64M", "max_requests = 1",
                    "max_request_bytes = 64k", "hello_ms = 100", "accept_rate = 1", "accept_burst = 2")
        for _ in range(20):
            w.produce(tid, 0, [record(None, b"x" * 10000)] * 5)
        self.assertTrue(w.fetch(tid, 0, 0))
        w.create("two")
        self.wire()

    def test_hello_in_time(self):
        self.reload("hello_ms = 100")
        w = self.wire(hello=False)
        w.ends()

    def test_min_free_within_a_second_or_two(self):
        w = self.wire()
        tid = w.create("one")

        def produces():
            try:
                w.produce(tid, 0, [record(b"k", b"v")])
                return True
            except Refused:
                return False

        self.assertTrue(produces())
        self.reload("min_free = 1024G")
        self.wait(lambda: not produces())
        self.assertIn(" store_full ", self.server.read_log())
        self.reload("min_free = 1M")
        self.wait(produces)

    def test_advertise(self):
        self.reload("advertise = \"broker.example:9\"")
        log = self.reload("advertise = nonsense")
        self.assertIn("HOST:PORT", log)


class Systemd(unittest.TestCase):
    def test_is_told(self):
        d = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, d)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(f"{d}/notify")
        sock.settimeout(DEADLINE_S)
        os.environ["NOTIFY_SOCKET"] = f"{d}/notify"
        try:
            s = Server()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        self.assertEqual(sock.recv(100), b"READY=1")
        s.process.send_signal(signal.SIGHUP)
        self.assertRegex(sock.recv(100), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertEqual(sock.recv(100), b"READY=1")
        s.stop()
        self.assertEqual(sock.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    main()
