#!/usr/bin/env python3
"""weir topic, offsets and server info against a real server."""
import os
import pty
import select
import subprocess

from harness import ServerCase, main, weir_start


def talk(answer, *args, url):
    """Runs weir on a terminal, answers its question. Gives exit code and what was shown."""
    master, slave = pty.openpty()
    p = weir_start(*args, url=url, stdin=slave, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = b""
    answered = False
    while True:
        if not select.select([master], [], [], 60)[0]:
            raise AssertionError(f"no question: {shown!r}")
        try:
            piece = os.read(master, 4096)
        except OSError:  # the terminal's other side is closed
            break
        shown += piece
        if b"[y/N]" in shown and not answered:
            os.write(master, answer)
            answered = True
    os.close(master)
    return p.wait(60), shown.decode()


class Topics(ServerCase):
    def test_create_shows_all_settings(self):
        r = self.ok("topic", "create", "create.a", "--partitions", "3", "-c", "retention.ms=1d",
                    "-c", "durability=os")
        self.assertTrue(r.text.startswith("created topic create.a\n"))
        self.assertRegex(r.text, r"(?m)^partitions +3$")
        self.assertRegex(r.text, r"(?m)^retention\.ms +86400000 \(1 days\)$")
        self.assertRegex(r.text, r"(?m)^durability +os$")
        t = self.ok("topic", "describe", "create.a", "-o", "json").json()
        self.assertEqual((t["name"], t["partitions"], t["config"]["retention.ms"],
                          t["config"]["durability"]), ("create.a", 3, 86400000, "os"))
        self.assertEqual([p["partition"] for p in t["partition_details"]], [0, 1, 2])
        self.assertRegex(t["created"], r"^20\d\d-\d\d-\d\dT")

    def test_create_dry_run_changes_nothing(self):
        r = self.ok("topic", "create", "never", "--partitions", "5", "--dry-run")
        self.assertIn("would create topic never", r.text)
        self.assertRegex(r.text, r"(?m)^partitions +5$")
        self.one_line(self.weir("topic", "describe", "never"), 4, "'never' does not exist")

    def test_create_refusals(self):
        self.ok("topic", "create", "twice")
        self.one_line(self.weir("topic", "create", "twice"), 1, "exists")
        self.one_line(self.weir("topic", "create", "twice", "--dry-run"), 1, "exists")
        self.one_line(self.weir("topic", "create", "bad name"), 1)
        self.one_line(self.weir("topic", "create", "x" * 101), 1)
        self.one_line(self.weir("topic", "create", "p", "--partitions", "1025"), 1, "1025")
        self.one_line(self.weir("topic", "create", "p", "--partitions", "0"), 1)
        self.one_line(self.weir("topic", "create", "p", "-c", "durability=maybe"), 1, "maybe")

    def test_list_in_all_forms(self):
        for name in ("list.a", "list.b"):
            self.ok("topic", "create", name, "--partitions", "2")
        names = self.ok("topic", "list", "-o", "name").text.split()
        self.assertEqual(names, sorted(names))
        self.assertLessEqual({"list.a", "list.b"}, set(names))
        self.assertRegex(self.ok("topic", "list").text, r"(?m)^list\.a +2 +topic +604800000 \(7 days\)$")
        listed = self.ok("topic", "list", "-o", "json").json()
        self.assertEqual([t["name"] for t in listed], names)
        self.assertEqual(self.ok("topic", "list", "-o", "jsonl").jsonl(), listed)

    def test_describe_in_all_forms(self):
        name = self.topic(2)
        self.ok("produce", name, "-p", "1", stdin=b"a\nb\n")
        r = self.ok("topic", "describe", name)
        self.assertIn("2 messages", r.text)
        self.assertRegex(r.text, r"(?m)^ +0 +0 +0 +0 +0  -$")
        self.assertRegex(r.text, r"(?m)^ +1 +0 +2 +2 +\d+  20\d\d-.*Z$")
        self.assertEqual(self.ok("topic", "describe", name, "-o", "name").text, name + "\n")
        self.assertEqual(self.ok("topic", "describe", name, "-o", "jsonl").jsonl(),
                         [self.ok("topic", "describe", name, "-o", "json").json()])

    def test_a_wrong_name_suggests_the_right_one(self):
        self.ok("topic", "create", "invoices")
        for args in (["topic", "describe", "invocies"], ["topic", "alter", "invocies", "-P", "9"],
                     ["topic", "delete", "invocies", "--yes"], ["offsets", "invocies"],
                     ["peek", "invocies"], ["consume", "invocies", "-e"], ["produce", "invocies"],
                     ["peek", "invocies", "--from", "latest"],
                     ["bench", "consume", "--topic", "invocies"]):
            with self.subTest(args=args):
                self.one_line(self.weir(*args, stdin=b"x\n") if args[0] != "produce" else
                              self.first_line(*args), 4,
                              "topic 'invocies' does not exist; did you mean 'invoices'?")

    def first_line(self, *args):
        """produce adds a summary of what was stored and what was not."""
        r = self.weir(*args, stdin=b"x\n")
        lines = r.err.splitlines()
        self.assertEqual(lines[1:2], [lines[1]])
        self.assertIn("0 stored, 1 not stored", lines[1])
        r.err = lines[0] + "\n"
        return r

    def test_alter_shows_what_changes(self):
        name = self.topic(2)
        dry = self.ok("topic", "alter", name, "--partitions", "4", "-c", "retention.ms=1h",
                      "--dry-run")
        self.assertIn(f"would change topic {name}", dry.text)
        self.assertRegex(dry.text, r"(?m)^partitions +2 +4$")
        self.assertRegex(dry.text, r"(?m)^retention\.ms +604800000 \(7 days\) +3600000 \(1 hours\)$")
        self.assertNotIn("durability", dry.text)
        self.assertEqual(self.ok("topic", "describe", name, "-o", "json").json()["partitions"], 2)
        done = self.ok("topic", "alter", name, "--partitions", "4", "-o", "json").json()
        self.assertEqual((done["dry_run"], done["before"]["partitions"],
                          done["topic"]["partitions"]), (False, 2, 4))
        self.one_line(self.weir("topic", "alter", name, "--partitions", "3"), 1)
        self.assertEqual(self.ok("topic", "describe", name, "-o", "json").json()["partitions"], 4)

    def test_delete_needs_yes_without_a_terminal(self):
        name = self.topic()
        self.one_line(self.weir("topic", "delete", name), 2, "--yes")
        dry = self.ok("topic", "delete", name, "--dry-run")
        self.assertIn(f"would delete topic {name}", dry.text)
        self.ok("topic", "describe", name)
        self.assertIn(f"deleted topic {name}", self.ok("topic", "delete", name, "--yes").text)
        self.one_line(self.weir("topic", "describe", name), 4)

    def test_delete_asks_on_a_terminal(self):
        name = self.topic()
        code, shown = talk(b"n\n", "topic", "delete", name, url=self.server.url)
        self.assertEqual(code, 1)
        self.assertIn(f"Delete topic {name}", shown)
        self.ok("topic", "describe", name)
        code, shown = talk(b"y\n", "topic", "delete", name, url=self.server.url)
        self.assertEqual(code, 0, shown)
        self.one_line(self.weir("topic", "describe", name), 4)


class Offsets(ServerCase):
    def test_table_and_json(self):
        name = self.topic(2)
        self.ok("produce", name, "-p", "1", stdin=b"a\nb\nc\n")
        self.assertRegex(self.ok("offsets", name).text, r"(?m)^ +1 +0 +3 +\d+  20\d\d-.*Z$")
        rows = self.ok("offsets", name, "-o", "json").json()
        self.assertEqual([(r["partition"], r["start"], r["end"]) for r in rows],
                         [(0, 0, 0), (1, 0, 3)])
        self.assertIsNone(rows[0]["last_append"])
        self.assertEqual(self.ok("offsets", name, "-p", "1", "-o", "jsonl").jsonl(), [rows[1]])
        self.assertEqual(self.ok("offsets", name, "-o", "name").text, f"{name}/0\n{name}/1\n")
        self.one_line(self.weir("offsets", name, "-p", "2"), 4, "no partition 2")

    def test_at_a_time(self):
        name = self.topic()
        self.ok("produce", name, stdin=b"a\nb\n")
        self.assertEqual(self.ok("offsets", name, "--at", "-1h", "-o", "jsonl").jsonl()[0]["offset"], 0)
        late = self.ok("offsets", name, "--at", "2999-01-01T00:00:00Z", "-o", "jsonl").jsonl()[0]
        self.assertEqual((late["offset"], late["appended"]), (2, None))
        self.assertIn("(the end)", self.ok("offsets", name, "--at", "32472144000000").text)


class ServerInfo(ServerCase):
    def test_all_forms(self):
        r = self.ok("server", "info")
        self.assertRegex(r.text, r"(?m)^url +weir://127\.0\.0\.1:\d+$")
        self.assertRegex(r.text, r"(?m)^round trip +\d")
        self.assertRegex(r.text, r"(?m)^COUNTER +VALUE$")
        info = self.ok("server", "info", "-o", "json").json()
        self.assertEqual(info["url"], self.server.url)
        self.assertRegex(info["cluster"], r"^[0-9a-f]{32}$")
        self.assertGreater(info["round_trip_us"], 0)
        self.assertTrue(info["metrics"])
        for m in info["metrics"]:
            self.assertLessEqual(set(m), {"name", "labels", "value"})
        self.assertEqual(self.ok("server", "info", "-o", "name").text.strip(), info["version"])


if __name__ == "__main__":
    main()
