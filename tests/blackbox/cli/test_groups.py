#!/usr/bin/env python3
"""weir group and weir consume --group against a real server."""
import json
import os
import select
import signal
import subprocess
import tempfile
import time

from harness import ServerCase, bin_dir, main, weir_start

DEADLINE_S = 60


class Groups(ServerCase):
    def fill(self, n, partitions=1, *args):
        name = self.topic(partitions, *args)
        self.ok("produce", name, stdin=b"".join(b"%d\n" % i for i in range(n)))
        return name

    def consume(self, topic, group, *args, code=0):
        r = self.weir("consume", topic, "--group", group, *args)
        self.assertEqual(r.code, code, r.err)
        return r.text.split()

    def describe(self, group):
        return self.ok("group", "describe", group, "-o", "json").json()

    def positions(self, group):
        return [(p["partition"], p["position"]) for p in self.describe(group)["partition_details"]]


class Log(Groups):
    def test_a_group_goes_on_where_it_was(self):
        t = self.fill(10)
        self.assertEqual(self.consume(t, "goes.on", "-n", "4"), list("0123"))
        self.assertEqual(self.positions("goes.on"), [(0, 4)])
        self.assertEqual(self.consume(t, "goes.on", "-e"), list("456789"))
        self.assertEqual(self.consume(t, "goes.on", "-e"), [])
        self.assertEqual(self.consume(t, "another", "-e"), [str(i) for i in range(10)])

    def test_from_counts_for_a_new_group_only(self):
        t = self.fill(5)
        self.assertEqual(self.consume(t, "late", "-e", "--from", "latest"), [])
        self.ok("produce", t, stdin=b"new\n")
        self.assertEqual(self.consume(t, "late", "-e", "--from", "earliest"), ["new"])

    def test_control_c_commits_what_was_written(self):
        t = self.fill(3)
        p = weir_start("consume", t, "-g", "ctrl.c", url=self.server.url, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        for expected in (b"0\n", b"1\n", b"2\n"):
            self.assertEqual(p.stdout.readline(), expected)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=DEADLINE_S)
        self.assertEqual((p.returncode, out, err), (0, b"", b""))
        self.assertEqual(self.positions("ctrl.c"), [(0, 3)])
        self.assertEqual(self.describe("ctrl.c")["state"], "empty")

    def test_what_the_reader_did_not_take_is_not_committed(self):
        t = self.fill(20000)
        p = weir_start("consume", t, "-g", "pipe", url=self.server.url, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"0\n")
        p.stdout.close()  # as `head -1` does
        self.assertEqual(p.wait(DEADLINE_S), 0, p.stderr.read())
        p.stderr.close()
        position = self.positions("pipe")[0][1]
        self.assertLess(position, 20000)
        self.assertEqual(self.consume(t, "pipe", "-n", "1"), [str(position)])

    def test_two_members_share_the_partitions(self):
        t = self.topic(4)
        members = [weir_start("consume", t, "-g", "shared", "--format", "%p %v\\n", url=self.server.url,
                              stdout=subprocess.PIPE) for _ in range(2)]
        try:
            self.wait(lambda: [m["partitions"] for m in self.describe("shared")["member_details"]] == [2, 2])
            for p in range(4):
                self.ok("produce", t, "-p", str(p), stdin=b"x\n")
            seen = [{m.stdout.readline().split()[0] for _ in range(2)} for m in members]
            self.assertEqual(seen[0] | seen[1], {b"0", b"1", b"2", b"3"})
            owners = {p["owner"] for p in self.describe("shared")["partition_details"]}
            self.assertEqual(len(owners), 2)
        finally:
            for m in members:
                m.send_signal(signal.SIGINT)
                m.wait(DEADLINE_S)
                m.stdout.close()

    def wait(self, condition):
        end = time.monotonic() + DEADLINE_S
        while True:
            r = self.weir("group", "list")  # a group may not exist yet
            try:
                if condition():
                    return
            except AssertionError:
                pass
            self.assertLess(time.monotonic(), end, r.text)


class Queue(Groups):
    def test_acknowledged_after_writing(self):
        t = self.fill(10, 2)
        first = self.consume(t, "q.ack", "-m", "queue", "-n", "4")
        rest = self.consume(t, "q.ack", "-m", "queue", "-e")
        self.assertEqual(sorted(first + rest, key=int), [str(i) for i in range(10)])
        self.assertEqual(len(first), 4)
        g = self.describe("q.ack")
        self.assertEqual((g["mode"], g["lag_messages"], g["in_flight"]), ("queue", 0, 0))

    def test_members_share_one_partition(self):
        t = self.fill(3000)
        members = [weir_start("consume", t, "-g", "q.many", "-m", "queue", "-e", url=self.server.url,
                              stdout=subprocess.PIPE) for _ in range(4)]
        got = [m.communicate(timeout=DEADLINE_S)[0].split() for m in members]
        self.assertEqual([m.returncode for m in members], [0] * 4)
        self.assertEqual(sorted((int(v) for g in got for v in g)), list(range(3000)))

    def test_verdicts(self):
        t = self.topic()
        show = ["-m", "queue", "-n", "1", "--format", "%d,%r,%v\\n"]
        self.consume(t, "q.verdict", "-m", "queue", "-e")  # makes the group
        self.ok("group", "alter", "q.verdict", "-c", "backoff_ms=300")
        self.ok("produce", t, stdin=b"a\n")
        self.assertEqual(self.consume(t, "q.verdict", *show, "--verdict", "nack", "--reason", "busy"), ["1,,a"])
        again = self.weir("consume", t, "-g", "q.verdict", "-m", "queue", "-n", "1", "-o", "jsonl").jsonl()[0]
        self.assertEqual((again["deliveries"], again["reason"], again["value"]), (2, "busy", "a"))
        self.assertEqual(self.consume(t, "q.verdict", "-m", "queue", "-e"), [])
        self.ok("produce", t, stdin=b"b\n")
        self.assertEqual(self.consume(t, "q.verdict", *show, "--verdict", "release"), ["1,,b"])
        self.assertEqual(self.consume(t, "q.verdict", "-m", "queue", "-e"), ["b"])

    def test_the_mode_is_fixed(self):
        t = self.fill(1)
        self.consume(t, "q.fixed", "-m", "queue", "-e")
        self.one_line(self.weir("consume", t, "-g", "q.fixed", "-e"), 1, "queue")

    def test_a_slow_worker_is_shown_as_holder(self):
        t = self.fill(2)
        p = weir_start("consume", t, "-g", "q.held", "-m", "queue", "--prefetch", "1", url=self.server.url,
                       stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"0\n")
        self.assertEqual(p.stdout.readline(), b"1\n")
        members = self.describe("q.held")["member_details"]
        self.assertEqual([(m["away"], m["address"].split(":")[0]) for m in members], [(False, "127.0.0.1")])
        text = self.ok("group", "describe", "q.held").text
        self.assertIn(members[0]["member"][:8], text)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(DEADLINE_S), 0)
        p.stdout.close()

    def test_pause_and_resume(self):
        t = self.fill(1)
        self.consume(t, "q.pause", "-m", "queue", "-n", "1", "--verdict", "release")
        dry = self.ok("group", "pause", "q.pause", "--dry-run")
        self.assertIn("would change group q.pause", dry.text)
        self.assertEqual(self.describe("q.pause")["config"]["paused_until"], 0)
        self.assertRegex(self.ok("group", "pause", "q.pause", "--until", "1h").text, "paused until 20..-")
        self.assertRegex(self.describe("q.pause")["state"], r"^paused until 20..-.*Z$")
        self.ok("group", "pause", "q.pause")
        self.assertEqual(self.describe("q.pause")["state"], "paused")
        p = weir_start("consume", t, "-g", "q.pause", "-m", "queue", "-n", "1", url=self.server.url,
                       stdout=subprocess.PIPE)
        self.assertEqual(select.select([p.stdout], [], [], 1)[0], [])
        self.ok("group", "resume", "q.pause")
        self.assertEqual(p.communicate(timeout=DEADLINE_S)[0], b"0\n")
        self.assertEqual(p.returncode, 0)


class Administration(Groups):
    def test_list_in_all_forms(self):
        t = self.fill(3)
        for g in ("list.a", "list.b"):
            self.consume(t, g, "-n", "1")
        names = self.ok("group", "list", "-o", "name").text.split()
        self.assertEqual(names, sorted(names))
        self.assertLessEqual({"list.a", "list.b"}, set(names))
        self.assertRegex(self.ok("group", "list").text, r"(?m)^list\.a +log +empty +0 +1 +2 ")
        listed = self.ok("group", "list", "-o", "json").json()
        self.assertEqual([g["name"] for g in listed], names)
        row = [g for g in listed if g["name"] == "list.b"][0]
        self.assertEqual((row["mode"], row["lag_messages"], row["members"]), ("log", 2, 0))

    def test_describe_in_all_forms(self):
        t = self.fill(3)
        self.consume(t, "describe", "-n", "1")
        text = self.ok("group", "describe", "describe").text
        self.assertIn("group describe: log mode, empty, 0 members, lag 2 messages", text)
        self.assertRegex(text, r"(?m)^max_deliver +16$")
        self.assertRegex(text, rf"(?m)^{t}/0 +- +1 +3 +2 +\d+\.\d s ")
        self.assertEqual(self.ok("group", "describe", "describe", "-o", "name").text, "describe\n")
        self.assertEqual(self.ok("group", "describe", "describe", "-o", "jsonl").jsonl()[0]["name"], "describe")

    def test_unknown_groups(self):
        self.consume(self.fill(1), "invoices", "-e")
        for args in (["describe"], ["lag"], ["seek", "--to", "latest"], ["pause"], ["resume"],
                     ["alter", "-c", "ramp_ms=1s"], ["delete", "--yes"]):
            with self.subTest(args=args):
                self.one_line(self.weir("group", args[0], "invocies", *args[1:]), 4,
                              "group 'invocies' does not exist; did you mean 'invoices'?")

    def test_alter(self):
        t = self.fill(1)
        self.consume(t, "alter", "-m", "queue", "-e")
        dry = self.ok("group", "alter", "alter", "-c", "max_rate=500", "-c", "max_deliver=5", "--dry-run").text
        self.assertIn("would change group alter", dry)
        self.assertRegex(dry, r"(?m)^max_rate +0 +500$")
        self.assertEqual(self.describe("alter")["config"]["max_rate"], 0)
        self.ok("group", "alter", "alter", "-c", "max_rate=500/s", "-c", "backoff_ms=2s")
        config = self.describe("alter")["config"]
        self.assertEqual((config["max_rate"], config["backoff_ms"], config["max_deliver"]), (500, 2000, 16))
        self.one_line(self.weir("group", "alter", "alter", "-c", "max_deliver=-1"), 1, "max_deliver")

    def test_delete(self):
        t = self.fill(2)
        self.consume(t, "delete", "-n", "1")
        self.one_line(self.weir("group", "delete", "delete"), 2, "--yes")
        self.assertIn("would delete", self.ok("group", "delete", "delete", "--dry-run").text)
        self.assertIn("deleted group delete", self.ok("group", "delete", "delete", "--yes").text)
        self.one_line(self.weir("group", "describe", "delete"), 4, "does not exist")
        self.assertEqual(self.consume(t, "delete", "-e"), ["0", "1"])  # from the beginning

    def test_lag(self):
        t = self.fill(7)
        self.consume(t, "lag", "-n", "2")
        self.assertRegex(self.ok("group", "lag").text, r"(?m)^lag +5 +\d+\.\d s ")
        self.assertRegex(self.ok("group", "lag", "lag").text, rf"(?m)^{t}/0 +2 +7 +5 ")
        self.assertEqual(self.ok("group", "lag", "lag", "-o", "jsonl").jsonl()[0]["lag_messages"], 5)
        self.assertEqual(self.ok("group", "lag", "lag", "-o", "positions").text, f"{t} 0 2\n")
        self.one_line(self.weir("group", "lag", "lag", "--topic", "other"), 4, "does not read topic 'other'")


class Seek(Groups):
    def seek(self, group, *args):
        rows = self.ok("group", "seek", group, *args, "-o", "json").json()
        return [(r["partition"], r["from"], r["to"]) for r in rows]

    def test_all_kinds(self):
        t = self.fill(10)
        self.consume(t, "seek", "-e")
        self.assertEqual(self.seek("seek", "--to", "-3"), [(0, 10, 7)])
        self.assertEqual(self.consume(t, "seek", "-e"), ["7", "8", "9"])
        self.assertEqual(self.seek("seek", "--to", "-100"), [(0, 10, 0)])
        self.assertEqual(self.seek("seek", "--to", "4"), [(0, 0, 4)])
        self.assertEqual(self.seek("seek", "--to", "latest"), [(0, 4, 10)])
        self.assertEqual(self.seek("seek", "--to", "-1h"), [(0, 10, 0)])
        self.assertEqual(self.seek("seek", "--to", "@2999-01-01T00:00:00Z"), [(0, 0, 10)])
        self.assertEqual(self.seek("seek", "--to", "earliest"), [(0, 10, 0)])
        self.assertEqual(self.consume(t, "seek", "-n", "1"), ["0"])
        self.one_line(self.weir("group", "seek", "seek", "--to", "11"), 1)
        self.assertEqual(self.positions("seek"), [(0, 1)])

    def test_dry_run_and_one_partition(self):
        t = self.topic(2)
        for p in ("0", "1"):
            self.ok("produce", t, "-p", p, stdin=b"a\nb\n")
        self.consume(t, "seek.one", "-e")
        text = self.ok("group", "seek", "seek.one", "--to", "earliest", "--dry-run").text
        self.assertIn("would move group seek.one (nothing was done)", text)
        self.assertRegex(text, rf"(?m)^{t}/0 +2 +0 +-2$")
        self.assertEqual(self.seek("seek.one", "--to", "0", "-p", "1", "-T", t), [(1, 2, 0)])
        self.assertEqual(self.positions("seek.one"), [(0, 2), (1, 0)])
        self.one_line(self.weir("group", "seek", "seek.one", "--to", "0", "-p", "2"), 4, "no such partition")

    def test_files(self):
        t = self.topic(2)
        for p in ("0", "1"):
            self.ok("produce", t, "-p", p, stdin=b"a\nb\nc\n")
        self.consume(t, "seek.file", "-n", "4")
        saved = self.ok("group", "lag", "seek.file", "-o", "positions")
        before = self.positions("seek.file")
        self.ok("group", "seek", "seek.file", "--to", "latest")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "positions")
            with open(path, "wb") as f:
                f.write(b"# saved\n\n" + saved.out)
            self.ok("group", "seek", "seek.file", "--from-file", path)
            self.assertEqual(self.positions("seek.file"), before)
            r = self.weir("group", "seek", "seek.file", "--from-file", "-", stdin=f"{t} 0 1\n{t} zero 1\n".encode())
            self.one_line(r, 2, "line 2", "TOPIC PARTITION OFFSET")
            r = self.weir("group", "seek", "seek.file", "--from-file", "-", stdin=f"{t} 9 1\n".encode())
            self.one_line(r, 4, f"does not read {t}/9")
            r = self.weir("group", "seek", "seek.file", "--from-file", "-", stdin=f"{t} 0 1\n{t} 0 2\n".encode())
            self.one_line(r, 2, "named twice")
            # all or nothing
            r = self.weir("group", "seek", "seek.file", "--from-file", "-", stdin=f"{t} 0 1\n{t} 1 99\n".encode())
            self.one_line(r, 1)
        self.assertEqual(self.positions("seek.file"), before)

    def test_live_members(self):
        t = self.fill(2)
        p = weir_start("consume", t, "-g", "seek.live", url=self.server.url, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"0\n")
        self.one_line(self.weir("group", "seek", "seek.live", "--to", "earliest"), 1, "members")
        self.one_line(self.weir("group", "delete", "seek.live", "--yes"), 1, "members")
        self.ok("group", "seek", "seek.live", "--to", "earliest", "--force")
        self.assertEqual(self.positions("seek.live"), [(0, 0)])
        p.kill()
        p.communicate()

    def test_queue(self):
        t = self.fill(5)
        self.consume(t, "seek.queue", "-m", "queue", "-e")
        self.assertEqual(self.seek("seek.queue", "--to", "3"), [(0, 5, 3)])
        self.assertEqual(self.consume(t, "seek.queue", "-m", "queue", "-e"), ["3", "4"])


class Completion(Groups):
    def complete(self, line):
        script = ('source <(weir completion bash); COMP_LINE=$1; COMP_POINT=${#1}; _weir; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        env = dict(os.environ, PATH=bin_dir() + ":" + os.environ["PATH"], WEIR_URL=self.server.url)
        r = subprocess.run(["bash", "--norc", "-c", script, "bash", line], capture_output=True, text=True,
                           env=env, timeout=DEADLINE_S, check=False)
        self.assertEqual(r.stderr, "")
        return r.stdout.split()

    def test_names_of_groups(self):
        t = self.fill(1)
        for g in ("complete.a", "complete.b"):
            self.consume(t, g, "-e")
        for line in ("weir group describe comp", "weir group lag comp", "weir group seek comp",
                     f"weir consume {t} --group comp", f"weir consume {t} -g comp", "weir dlq list -g comp"):
            with self.subTest(line=line):
                self.assertEqual(self.complete(line), ["complete.a", "complete.b"])
        self.assertEqual(self.complete(f"weir schedule list {t[:-2]}"), [t])


class Order(Groups):
    def test_one_message_of_a_key_at_a_time(self):
        t = self.topic(1, "-c", "batch.max_records=1")
        self.consume(t, "ordered", "-m", "queue", "--order", "key", "-e")  # makes the group
        self.ok("produce", t, "--key-sep", ":", stdin=b"a:1\na:2\nb:1\na:3\nb:2\n")
        self.ok("group", "alter", "ordered", "-c", "backoff_ms=1h")
        show = ["-m", "queue", "--order", "key", "--format", "%k%v\\n"]
        # a failed message holds its key, and only that one
        self.assertEqual(self.consume(t, "ordered", *show, "-n", "1", "--verdict", "nack"), ["a1"])
        self.assertEqual(self.consume(t, "ordered", *show, "-n", "2"), ["b1", "b2"])
        g = self.describe("ordered")
        self.assertEqual((g["lag_messages"], g["partition_details"][0]["retrying"] >= 1), (3, True))


class Killed(Groups):
    """A server of its own: it is killed."""

    def test_positions_and_verdicts_survive(self):
        t = self.fill(10)
        self.assertEqual(self.consume(t, "kill.log", "-n", "4"), list("0123"))
        self.assertEqual(len(self.consume(t, "kill.queue", "-m", "queue", "-n", "6")), 6)
        self.ok("group", "alter", "kill.queue", "-c", "max_deliver=7")
        self.ok("group", "pause", "kill.log")
        self.server.kill()
        self.server.start()
        self.assertEqual(self.positions("kill.log"), [(0, 4)])
        self.assertEqual(self.describe("kill.log")["state"], "paused")
        self.ok("group", "resume", "kill.log")
        self.assertEqual(self.consume(t, "kill.log", "-e"), list("456789"))
        self.assertEqual(self.describe("kill.queue")["config"]["max_deliver"], 7)
        self.assertEqual(self.describe("kill.queue")["lag_messages"], 4)

    def test_a_killed_worker_loses_nothing(self):
        t = self.fill(3)
        p = weir_start("consume", t, "-g", "kill.worker", "-m", "queue", url=self.server.url,
                       stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"0\n")
        p.kill()
        written = [b"0\n"] + p.communicate()[0].splitlines(True)
        # what it held comes after the grace time; what it acknowledged does not
        rest = self.consume(t, "kill.worker", "-m", "queue", "-e")
        self.assertEqual({v.strip().decode() for v in written} | set(rest), {"0", "1", "2"})
        self.assertEqual(self.describe("kill.worker")["lag_messages"], 0)


class Bench(Groups):
    def test_members(self):
        t = self.fill(5000, 2)
        for mode in ("log", "queue"):
            r = self.ok("bench", "consume", "-T", t, "-g", f"bench.{mode}", "-m", mode, "--members", "3", "-o", "json")
            result = json.loads(r.out)
            self.assertEqual((result["messages"], result["members"], result["mode"]), (5000, 3, mode))
            self.assertEqual(self.describe(f"bench.{mode}")["lag_messages"], 0)
        r = self.ok("bench", "consume", "-T", t, "-g", "bench.n", "-m", "queue", "-n", "100", "-o", "json")
        self.assertEqual(json.loads(r.out)["messages"], 100)
        self.assertEqual(self.describe("bench.n")["lag_messages"], 4900)


if __name__ == "__main__":
    main()
