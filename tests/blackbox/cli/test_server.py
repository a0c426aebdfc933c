#!/usr/bin/env python3
"""weir server connections and config against a real server."""
import os
import re
import socket

from harness import ServerCase, Server, main, weir


class Config(ServerCase):
    def test_all_forms(self):
        rows = self.ok("-t", "60s", "server", "config", "-o", "json").json()
        by_key = {r["key"]: r for r in rows}
        for r in rows:
            self.assertEqual(set(r), {"key", "value", "source", "reloads"})
        self.assertEqual((by_key["data"]["source"], by_key["data"]["reloads"]), ("--data", False))
        self.assertIn(os.path.join(self.server.dir, "data"), by_key["data"]["value"])
        self.assertEqual((by_key["tail_cache"]["source"], by_key["tail_cache"]["reloads"]),
                         ("default", True))
        self.assertEqual(self.ok("-t", "60s", "server", "config", "-o", "jsonl").jsonl(), rows)
        self.assertEqual(self.ok("-t", "60s", "server", "config", "-o", "name").text.split(), list(by_key))
        text = self.ok("-t", "60s", "server", "config").text
        self.assertRegex(text, r"(?m)^SETTING +VALUE +SOURCE +RELOADS$")
        self.assertRegex(text, r"(?m)^drain_ms +\S+ +default +yes$")
        self.assertRegex(text, r"(?m)^listen +.*127\.0\.0\.1:0.* +--listen +no$")


class Connections(ServerCase):
    def connections(self, *more):
        return self.ok("-t", "60s", "server", "connections", "-o", "json", *more).json()

    def test_all_forms(self):
        me, = self.connections()
        self.assertRegex(me["client"], r"^\S+/\d")
        self.assertRegex(me["address"], r"^127\.0\.0\.1:\d+$")
        self.assertEqual((me["state"], me["waits_for"], me["output_bytes"]), ("ready", None, 0))
        self.assertGreater(me["bytes_in"], 0)
        line, = self.ok("-t", "60s", "server", "connections", "-o", "jsonl").jsonl()
        self.assertEqual(set(line), set(me))
        self.assertGreater(line["id"], me["id"])
        self.assertRegex(self.ok("-t", "60s", "server", "connections", "-o", "name").text, r"^\d+\n$")
        text = self.ok("-t", "60s", "server", "connections").text
        self.assertRegex(text, r"^ID +CLIENT +ADDRESS +AGE +IDLE +OPEN +SUBS +MEMBERS +QUEUED +WAITS\n")
        self.assertEqual(len(text.splitlines()), 2)

    def test_one_that_said_nothing_yet(self):
        host, port = self.server.url[len("weir://"):].split(":")
        with socket.create_connection((host, int(port))) as s:
            address = "127.0.0.1:%d" % s.getsockname()[1]
            row = next(c for c in self.connections() if c["address"] == address)
            self.assertEqual((row["state"], row["client"]), ("fresh", ""))
            self.assertRegex(self.ok("-t", "60s", "server", "connections").text, r"(?m) fresh$")

    def test_more_than_a_page(self):
        """The library asks for 500 at a time."""
        server = Server("--hello_ms", "600000")
        self.addCleanup(server.stop)
        host, port = server.url[len("weir://"):].split(":")
        held = [socket.create_connection((host, int(port))) for _ in range(620)]
        for s in held:
            self.addCleanup(s.close)
        r = weir("-t", "60s", "server", "connections", "-n", "2000", "-o", "jsonl", url=server.url)
        self.assertEqual(r.code, 0, r.err)
        ids = [c["id"] for c in r.jsonl()]
        self.assertEqual(len(ids), 621)
        self.assertEqual(ids, sorted(set(ids)))
        r = weir("-t", "60s", "server", "connections", "-n", "3", "-o", "name", url=server.url)
        self.assertEqual(([int(i) for i in r.text.split()], r.code), (ids[:3], 0))
        self.assertRegex(r.err, re.compile(r"^weir: there are more than 3 connections; see --count$", re.M))


if __name__ == "__main__":
    main()
