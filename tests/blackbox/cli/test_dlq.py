#!/usr/bin/env python3
"""weir dlq against a real server."""
import time

from harness import ServerCase, main

DEADLINE_S = 60


class Dlq(ServerCase):
    def kill_all(self, n, reason="bad address", partitions=1, group="mail"):
        """Makes a topic with n messages that are all dead letters of a group. Gives the topic."""
        t = self.topic(partitions)
        self.ok("produce", t, "--key-sep", ":", stdin=b"".join(b"k%d:v%d\n" % (i % 3, i) for i in range(n)))
        self.give_up(t, n, reason, group)
        return t

    def give_up(self, t, n, reason, group="mail"):
        self.ok("consume", t, "-g", group, "-m", "queue", "-n", str(n), "--verdict", "dead", "--reason", reason)
        self.wait_letters(f"{t}~{group}~dlq", n)

    def wait_letters(self, name, n):
        """The copies are made just after the verdict."""
        end = time.monotonic() + DEADLINE_S
        while self.count(name)["dead"] < n:
            self.assertLess(time.monotonic(), end)

    def count(self, name):
        for row in self.ok("dlq", "list", "-o", "json").json():
            if row["name"] == name:
                return row
        return {"dead": 0, "waiting": 0, "leased": 0}

    def letters(self, t, *args):
        return self.ok("dlq", "list", t, "-g", "mail", "-o", "jsonl", *args).jsonl()

    def test_list_and_show(self):
        t = self.kill_all(5)
        name = f"{t}~mail~dlq"
        self.assertRegex(self.ok("dlq", "list").text, rf"(?m)^{name} +\d+ +5 +0 +0$")
        self.assertEqual(self.ok("dlq", "list", t, "-o", "name").text, name + "\n")
        self.assertEqual(self.ok("dlq", "list", t + "x", "-o", "name").text, "")
        letters = self.letters(t)
        self.assertEqual([m["origin_offset"] for m in letters], [0, 1, 2, 3, 4])
        first = letters[0]
        self.assertEqual((first["state"], first["origin_topic"], first["group"], first["attempts"],
                          first["reason"], first["key"], first["size"]),
                         ("dead", t, "mail", 1, "bad address", "k0", 2))
        self.assertEqual(len(self.letters(t, "-n", "2")), 2)
        text = self.ok("dlq", "list", name).text
        self.assertRegex(text, rf"(?m)^0:0 +dead +{t}/0/0 +1 +20\d\d-.*Z +k0 +bad address$")
        shown = self.ok("dlq", "show", name, "0:1").text
        self.assertIn(f"origin      {t}/0/1\n", shown)
        self.assertTrue(shown.endswith("value       2 bytes\n\nv1\n"), shown)
        self.assertEqual(self.ok("dlq", "show", t, "-g", "mail", "0:1", "-o", "json").json()["value"], "v1")
        self.one_line(self.weir("dlq", "show", name, "0:5"), 4, "no dead letter 0:5")
        self.assertRegex(self.ok("topic", "list").text, rf"(?m)^{name} +\d+ +dead letters ")
        self.one_line(self.weir("dlq", "list", t, "-g", "nobody"), 4, "does not exist")

    def test_filters(self):
        t = self.kill_all(3, "connect: timeout")
        self.ok("produce", t, "-H", "kind=late", stdin=b"v3\n")
        self.give_up(t, 1, "no such user")
        self.wait_letters(f"{t}~mail~dlq", 4)

        def offsets(*filters):
            return [m["origin_offset"] for m in self.letters(t, *[a for f in filters for a in ("--filter", f)])]
        self.assertEqual(offsets("reason=timeout"), [0, 1, 2])
        self.assertEqual(offsets("reason=user"), [3])
        self.assertEqual(offsets("key=k1"), [1])
        self.assertEqual(offsets("header:kind=late"), [3])
        self.assertEqual(offsets("reason=timeout", "key=k2"), [2])
        self.assertEqual(offsets("reason=timeout", "key=k9"), [])

    def test_redrive_goes_to_its_own_group_once(self):
        t = self.kill_all(4)
        name = f"{t}~mail~dlq"
        self.assertEqual(self.ok("consume", t, "-g", "other", "-m", "queue", "-e").text.split(),
                         ["v0", "v1", "v2", "v3"])
        dry = self.ok("dlq", "redrive", name, "--dry-run").text
        self.assertEqual(dry, f"would redrive 4 messages of {name} (nothing was done)\n")
        self.assertEqual(self.count(name)["dead"], 4)
        r = self.ok("dlq", "redrive", name, "0:1-2", "-r", "1000/s", "-o", "json").json()
        self.assertEqual((r["redriven"], r["skipped"], r["dry_run"]), (2, 0, False))
        self.assertEqual(self.ok("dlq", "redrive", name, "0:1-2", "-o", "json").json()["redriven"], 0)
        got = self.ok("consume", t, "-g", "mail", "-m", "queue", "-n", "2", "--format", "%t %o %v %d %h\\n").text
        lines = sorted(got.splitlines())  # shown as the originals, with the headers of dead letters
        self.assertEqual([x.rsplit(" ", 1)[0].split(" weir-")[0] for x in lines], [f"{t} 1 v1 1", f"{t} 2 v2 1"])
        self.assertIn(f"weir-origin-topic={t}", lines[0])
        self.assertEqual(self.ok("consume", t, "-g", "mail", "-m", "queue", "-e").text, "")
        self.assertEqual(self.ok("consume", t, "-g", "other", "-m", "queue", "-e").text, "")
        self.assertEqual([m["offset"] for m in self.letters(t)], [0, 3])

    def test_redriven_and_dead_again(self):
        t = self.kill_all(1)
        name = f"{t}~mail~dlq"
        self.ok("dlq", "redrive", t, "-g", "mail", "--filter", "reason=address")
        self.ok("consume", t, "-g", "mail", "-m", "queue", "-n", "1", "--verdict", "dead", "--reason", "still bad")
        self.wait_letters(name, 1)
        letters = self.letters(t)
        self.assertEqual(len(letters), 1)
        self.assertEqual((letters[0]["attempts"], letters[0]["reason"], letters[0]["origin_topic"],
                          letters[0]["origin_offset"]), (2, "still bad", t, 0))

    def test_max_deliver(self):
        t = self.topic()
        show = ["consume", t, "-g", "mail", "-m", "queue", "-n", "1", "--format", "%d\\n"]
        self.ok("consume", t, "-g", "mail", "-m", "queue", "-e")  # makes the group
        self.ok("group", "alter", "mail", "-c", "max_deliver=2", "-c", "backoff_ms=300")
        self.ok("produce", t, stdin=b"x\n")
        self.assertEqual(self.ok(*show, "--verdict", "nack", "--reason", "one").text, "1\n")
        self.assertEqual(self.ok(*show, "--verdict", "nack", "--reason", "two").text, "2\n")
        self.ok("group", "alter", "mail", "-c", "max_deliver=16", "-c", "backoff_ms=1s")
        self.wait_letters(f"{t}~mail~dlq", 1)
        letter = self.letters(t)[0]
        self.assertEqual((letter["attempts"], letter["reason"]), (2, "two"))

    def test_purge(self):
        t = self.kill_all(6)
        name = f"{t}~mail~dlq"
        self.one_line(self.weir("dlq", "purge", name), 2, "--yes")
        self.assertEqual(self.ok("dlq", "purge", name, "--filter", "key=k0", "--dry-run").text,
                         f"would purge 2 messages of {name} (nothing was done)\n")
        self.ok("dlq", "purge", name, "--filter", "key=k0", "--yes")
        self.assertEqual([m["offset"] for m in self.letters(t)], [1, 2, 4, 5])
        self.assertEqual(self.ok("dlq", "purge", name, "0:1", "0:4-99", "--yes", "-o", "json").json()["purged"], 3)
        self.assertEqual([m["offset"] for m in self.letters(t)], [2])
        self.assertEqual(self.ok("dlq", "redrive", name, "-o", "json").json()["redriven"], 1)
        self.assertEqual(self.ok("consume", t, "-g", "mail", "-m", "queue", "-n", "1").text, "v2\n")
        self.assertEqual(self.letters(t), [])

    def test_rate(self):
        t = self.kill_all(20)
        self.ok("dlq", "redrive", t, "-g", "mail", "--rate", "20/s")
        start = time.monotonic()
        self.ok("consume", t, "-g", "mail", "-m", "queue", "-n", "20")
        self.assertGreater(time.monotonic() - start, 0.7)

    def test_survives_a_kill(self):
        t = self.kill_all(3)
        name = f"{t}~mail~dlq"
        self.server.kill()
        self.server.start()
        self.assertEqual(self.count(name)["dead"], 3)
        self.assertEqual([m["origin_offset"] for m in self.letters(t)], [0, 1, 2])


if __name__ == "__main__":
    main()
