#!/usr/bin/env python3
"""weir produce, consume and peek against a real server."""
import base64
import json
import os
import signal
import subprocess
import tempfile
import time

from harness import Case, Server, ServerCase, main, weir, weir_start


class Produce(ServerCase):
    def values(self, topic, *args):
        return self.ok("consume", topic, "-e", *args).out

    def messages(self, topic, *args):
        return self.ok("consume", topic, "-e", "-o", "jsonl", *args).jsonl()

    def test_lines_become_messages(self):
        t = self.topic()
        r = self.ok("produce", t, stdin=b"one\n\ntwo three\r\nlast")
        self.assertEqual((r.out, r.err), (b"", ""))
        self.assertEqual(self.values(t), b"one\n\ntwo three\r\nlast\n")
        self.assertEqual([m["offset"] for m in self.messages(t)], [0, 1, 2, 3])
        self.assertEqual(self.messages(t)[1]["value"], "")

    def test_no_input_is_no_message(self):
        t = self.topic()
        self.assertEqual(self.ok("produce", t, stdin=b"").err, "")
        self.assertEqual(self.values(t), b"")

    def test_a_file_and_a_summary(self):
        t = self.topic()
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"a\nb\n")
            f.flush()
            r = self.ok("produce", t, "--file", f.name, "-v")
        self.assertRegex(r.err, r"(?m)^weir: 2 stored, 0 not stored, 0 unknown; 2 B in ")
        self.assertEqual(self.values(t), b"a\nb\n")

    def test_any_bytes_pass(self):
        t = self.topic()
        line = bytes(b for b in range(256) if b != 10) * 50
        self.ok("produce", t, stdin=line + b"\n")
        self.assertEqual(self.values(t), line + b"\n")
        self.assertEqual(base64.b64decode(self.messages(t)[0]["value_base64"]), line)

    def test_key_separator(self):
        t = self.topic()
        self.ok("produce", t, "--key-sep", "::", stdin=b"a::1\n::2\nnokey:3\nb::x::y\nc::\n")
        self.assertEqual([(m["key"], m["value"]) for m in self.messages(t)],
                         [("a", "1"), ("", "2"), (None, "nokey:3"), ("b", "x::y"), ("c", "")])

    def test_key_from_json(self):
        t = self.topic()
        lines = [b'{"id":1,"k":"ORD"}', b'{"k":7}', b'{"k":null}', b'{"x":{"k":1}}',
                 '{"k":"é\\u0041"}'.encode()]
        self.ok("produce", t, "--key-json", "k", stdin=b"\n".join(lines) + b"\n")
        got = self.messages(t)
        self.assertEqual([m["key"] for m in got], ["ORD", "7", None, None, "éA"])
        self.assertEqual([m["value"].encode() for m in got], lines)

    def test_same_key_same_partition(self):
        t = self.topic(8)
        self.ok("produce", t, "--key-sep", ":",
                stdin=b"".join(b"k%d:%d\n" % (i % 20, i) for i in range(2000)))
        partition = {}
        last = {}
        for m in self.messages(t):
            self.assertEqual(partition.setdefault(m["key"], m["partition"]), m["partition"])
            self.assertLess(last.get(m["key"], -1), int(m["value"]))
            last[m["key"]] = int(m["value"])
        self.assertEqual(len(partition), 20)
        self.assertGreater(len(set(partition.values())), 1)

    def test_headers_and_partition(self):
        t = self.topic(3)
        self.ok("produce", t, "-p", "2", "-H", "a=1", "-H", "b=x=y", "-H", "c=", stdin=b"v\n")
        m = self.messages(t)[0]
        self.assertEqual(m["partition"], 2)
        self.assertEqual(m["headers"], [{"name": "a", "value": "1"}, {"name": "b", "value": "x=y"},
                                        {"name": "c", "value": ""}])
        self.assertEqual(self.ok("consume", t, "-e", "-F", "%h").text, "a=1,b=x=y,c=")

    def test_a_partition_that_does_not_exist(self):
        t = self.topic(2)
        r = self.weir("produce", t, "-p", "2", stdin=b"v\n")
        self.assertEqual(r.code, 4, r.err)
        self.assertIn("0 stored, 1 not stored", r.err)

    def test_compression(self):
        t = self.topic()
        lines = b"".join(b'{"n":%d,"text":"the same again and again"}\n' % i for i in range(5000))
        self.ok("produce", t, "-z", "zstd", stdin=lines)
        self.assertEqual(self.values(t), lines)
        stored = self.ok("offsets", t, "-o", "json").json()[0]["bytes"]
        self.assertLess(stored, len(lines) / 2)

    def test_many_lines_are_fast_and_complete(self):
        t = self.topic(4)
        n = 200000
        lines = b"".join(b"%d\n" % i for i in range(n))
        self.ok("produce", t, stdin=lines)
        got = self.values(t).split()
        self.assertEqual(sorted(map(int, got)), list(range(n)))

    def test_more_than_fits_in_memory_buffers(self):
        """Back-pressure: the library may hold far less than the input."""
        t = self.topic(2)
        line = b"x" * 20000 + b"\n"
        self.ok("produce", t, "-X", "buffer_bytes=100000", stdin=line * 1000)
        self.assertEqual(self.values(t), line * 1000)

    def test_a_message_that_is_too_large(self):
        t = self.topic(1, "-c", "message.max_bytes=1000")
        r = self.weir("produce", t, stdin=b"ok\n" + b"x" * 1001 + b"\n")
        self.assertEqual(r.code, 1)
        lines = r.err.splitlines()
        self.assertEqual(len(lines), 2, r.err)
        self.assertRegex(lines[0], r"^weir: line 2: .*1000")
        self.assertRegex(lines[1], r"^weir: 1 stored, 1 not stored, 0 unknown")
        self.assertEqual(self.values(t), b"ok\n")

    def test_a_line_beyond_every_limit(self):
        t = self.topic()
        r = self.weir("produce", t, stdin=b"x" * (9 << 20) + b"\n")
        self.assertEqual(r.code, 1)
        self.assertRegex(r.err.splitlines()[0], r"^weir: line 1: 9437184 bytes; .* 8388608$")

    def test_the_first_bad_line_stops(self):
        t = self.topic()
        r = self.weir("produce", t, "--key-json", "k", stdin=b'{"k":1}\nnot json\n{"k":2}\n')
        self.assertEqual(r.code, 1)
        self.assertEqual(r.err.splitlines()[0], "weir: line 2: not a JSON object")
        self.assertEqual(len(self.messages(t)), 1)

    def test_keep_going(self):
        t = self.topic(1, "-c", "message.max_bytes=100")
        lines = [b"%d" % i if i % 3 else b"x" * 200 for i in range(60)]
        r = self.weir("produce", t, "--keep-going", stdin=b"\n".join(lines))
        self.assertEqual(r.code, 1)
        self.assertEqual(len(self.messages(t)), 40)
        told = r.err.splitlines()
        self.assertEqual(len([x for x in told if x.startswith("weir: line ")]), 10)
        self.assertRegex(told[-1], r"^weir: 40 stored, 20 not stored, 0 unknown")

    def test_dry_run(self):
        t = self.topic()
        r = self.ok("produce", t, "--dry-run", stdin=b"a\nbc\n")
        self.assertEqual(r.text, f"would send 2 messages (3 B) to topic {t}; nothing was sent\n")
        self.assertEqual(self.values(t), b"")
        self.one_line(self.weir("produce", "nowhere", "--dry-run", stdin=b"a\n"), 4, "'nowhere'")
        self.one_line(self.weir("produce", t, "--dry-run", "-p", "1", stdin=b"a\n"), 4, "partition 1")

    def test_rate(self):
        t = self.topic()
        before = time.monotonic()
        self.ok("produce", t, "--rate", "50/s", stdin=b"x\n" * 51)
        self.assertGreater(time.monotonic() - before, 0.99)

    def test_messages_go_out_while_the_input_stays_open(self):
        t = self.topic()
        p = weir_start("produce", t, url=self.server.url, stdin=subprocess.PIPE)
        p.stdin.write(b"early\n")
        p.stdin.flush()
        got = self.ok("consume", t, "--count", "1").out  # waits until it is there
        self.assertEqual(got, b"early\n")
        p.stdin.close()
        self.assertEqual(p.wait(60), 0)

    def test_interrupt_sends_what_was_read(self):
        t = self.topic()
        p = weir_start("produce", t, "-v", url=self.server.url, stdin=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        p.stdin.write(b"a\nb\nincomplete")
        p.stdin.flush()
        self.ok("consume", t, "--count", "2")
        p.send_signal(signal.SIGINT)
        err = p.stderr.read().decode()
        p.stdin.close()
        p.stderr.close()
        self.assertEqual(p.wait(60), 0, err)
        self.assertIn("2 stored, 0 not stored, 0 unknown", err)


class Consume(ServerCase):
    def filled(self, lines=b"a\nb\nc\nd\n", partitions=1):
        t = self.topic(partitions)
        self.ok("produce", t, "-p", "0", stdin=lines)
        return t

    def test_starts(self):
        t = self.filled()
        self.assertEqual(self.ok("consume", t, "-e").out, b"a\nb\nc\nd\n")
        self.assertEqual(self.ok("consume", t, "-e", "--from", "2").out, b"c\nd\n")
        self.assertEqual(self.ok("consume", t, "-e", "--from", "latest").out, b"")
        self.assertEqual(self.ok("consume", t, "-e", "--from", "@-1h").out, b"a\nb\nc\nd\n")
        self.assertEqual(self.ok("consume", t, "-e", "--from", "@2999-01-01T00:00:00Z").out, b"")
        self.assertEqual(self.ok("consume", t, "--count", "2").out, b"a\nb\n")
        self.assertEqual(self.ok("consume", t, "--count", "0").out, b"")

    def test_an_offset_beyond_the_end(self):
        t = self.filled()
        self.one_line(self.weir("consume", t, "--from", "99"), 1, "99", "above the end")

    def test_partitions(self):
        t = self.filled(partitions=2)
        self.ok("produce", t, "-p", "1", stdin=b"x\n")
        self.assertEqual(self.ok("consume", t, "-e", "-p", "1").out, b"x\n")
        self.assertEqual(sorted(self.ok("consume", t, "-e").out.split()),
                         [b"a", b"b", b"c", b"d", b"x"])
        r = self.weir("consume", t, "-e", "-p", "7")
        self.assertEqual(r.code, 4, r.err)

    def test_formats(self):
        t = self.topic()
        self.ok("produce", t, "-k", ":", stdin=b"k1:v1\nk2:v2\n")
        self.assertEqual(self.ok("consume", t, "-e", "-F", "%t/%p/%o %k=%v (%K,%S)%%\\n").text,
                         f"{t}/0/0 k1=v1 (2,2)%\n{t}/0/1 k2=v2 (2,2)%\n")
        now_ms = time.time() * 1000
        for ms in self.ok("consume", t, "-e", "-F", "%T %a ").text.split():
            self.assertLess(abs(int(ms) - now_ms), 600000)

    def test_json_forms(self):
        t = self.topic()
        self.ok("produce", t, "-k", ":", "-H", "h=1", stdin=b'k:"quoted"\n\xff\n')
        lines = self.ok("consume", t, "-e", "-o", "jsonl").jsonl()
        self.assertEqual(self.ok("consume", t, "-e", "-o", "json").json(), lines)
        self.assertEqual((lines[0]["key"], lines[0]["value"], lines[0]["offset"]),
                         ("k", '"quoted"', 0))
        self.assertEqual((lines[1]["key"], lines[1]["value_base64"]), (None, "/w=="))
        self.assertRegex(lines[0]["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(self.ok("consume", t, "-e", "--from", "latest", "-o", "json").json(), [])

    def test_waits_for_more(self):
        t = self.topic()
        p = weir_start("consume", t, url=self.server.url, stdout=subprocess.PIPE)
        for i in range(3):
            self.ok("produce", t, stdin=b"%d\n" % i)
            self.assertEqual(p.stdout.readline(), b"%d\n" % i)  # flushed at once
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)
        p.stdout.close()

    def test_a_json_array_is_closed_by_an_interrupt(self):
        t = self.filled()
        p = weir_start("consume", t, "-o", "json", url=self.server.url, stdout=subprocess.PIPE)
        out = b""
        while out.count(b'"topic"') < 4:
            out += p.stdout.read1(65536)
        p.send_signal(signal.SIGTERM)
        out += p.stdout.read()
        p.stdout.close()
        self.assertEqual(p.wait(60), 0)
        self.assertEqual(len(json.loads(out)), 4)

    def test_a_reader_that_leaves_ends_it_quietly(self):
        t = self.filled(b"x" * 1000 + b"\n", 1)
        self.ok("produce", t, stdin=(b"y" * 1000 + b"\n") * 2000)
        p = weir_start("consume", t, url=self.server.url, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"x" * 1000 + b"\n")
        p.stdout.close()
        self.assertEqual(p.stderr.read(), b"")
        p.stderr.close()
        self.assertEqual(p.wait(60), 0)

    def test_a_reader_that_leaves_while_nothing_comes(self):
        t = self.filled()
        p = weir_start("consume", t, url=self.server.url, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        for line in (b"a\n", b"b\n", b"c\n", b"d\n"):
            self.assertEqual(p.stdout.readline(), line)
        p.stdout.close()
        self.assertEqual(p.wait(60), 0)
        self.assertEqual(p.stderr.read(), b"")
        p.stderr.close()

    def test_a_reader_that_leaves_other_commands(self):
        """Any output that is larger than a pipe: here the JSON of a topic with many partitions."""
        t = self.topic(1024)
        p = weir_start("topic", "describe", t, "-o", "json", url=self.server.url,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdout.read1(10)
        p.stdout.close()
        self.assertEqual(p.stderr.read(), b"")
        p.stderr.close()
        self.assertEqual(p.wait(60), 0)

    def test_a_full_disk_is_told(self):
        t = self.filled()
        with open("/dev/full", "wb") as full:
            p = weir_start("consume", t, "-e", url=self.server.url, stdout=full,
                           stderr=subprocess.PIPE)
            err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 1)
        self.assertEqual(len(err.splitlines()), 1, err)


class Peek(ServerCase):
    def test_table(self):
        t = self.topic(2)
        self.ok("produce", t, "-p", "1", "-k", ":", stdin=b"key:value\n:\x1b[31mred\tx\n" + b"n" * 99)
        rows = self.ok("peek", t).text.splitlines()
        self.assertRegex(rows[0], r"^PARTITION +OFFSET +APPENDED +KEY +SIZE +VALUE$")
        self.assertRegex(rows[1], r"^ +1 +0 +20\S+Z +key +5 +value$")
        self.assertIn("\\x1b[31mred\\tx", rows[2])
        self.assertTrue(rows[3].endswith("n…"))
        self.assertEqual(len(rows), 4)

    def test_count_and_forms(self):
        t = self.topic()
        self.ok("produce", t, stdin=b"".join(b"%d\n" % i for i in range(30)))
        self.assertEqual([m["value"] for m in self.ok("peek", t, "-o", "jsonl").jsonl()],
                         [str(i) for i in range(10)])
        self.assertEqual([m["value"] for m in self.ok("peek", t, "-n", "2", "--from", "25", "-o",
                                                      "json").json()], ["25", "26"])
        self.assertEqual(self.ok("peek", t, "-n", "1", "-o", "name").text, f"{t}/0/0\n")
        self.assertEqual(self.ok("peek", t, "--from", "29", "-o", "name").text, f"{t}/0/29\n")

    def test_latest_shows_the_newest(self):
        t = self.topic(3)
        for i in range(12):
            self.ok("produce", t, "-p", str(i % 3), stdin=b"%d\n" % i)
        newest = self.ok("peek", t, "--from", "latest", "-n", "4", "-o", "jsonl").jsonl()
        self.assertEqual(sorted(int(m["value"]) for m in newest), [8, 9, 10, 11])
        one = self.ok("peek", t, "--from", "latest", "-n", "2", "-p", "1", "-o", "jsonl").jsonl()
        self.assertEqual([m["value"] for m in one], ["7", "10"])
        self.assertEqual(self.ok("peek", t, "--from", "latest", "-n", "0", "-o", "json").json(), [])

    def test_an_empty_topic(self):
        t = self.topic()
        self.assertEqual(self.ok("peek", t, "-o", "json").json(), [])
        self.assertEqual(self.ok("peek", t, "--from", "latest", "-o", "jsonl").jsonl(), [])
        self.assertEqual(len(self.ok("peek", t).text.splitlines()), 1)


class ServerGone(Case):
    def test_what_was_sent_is_accounted_for(self):
        """The server dies under a producer: it says how many are stored, and exits with 3."""
        server = Server()
        self.addCleanup(server.log.close)
        self.assertEqual(weir("topic", "create", "t", url=server.url).code, 0)
        p = weir_start("produce", "t", "--timeout", "1s", url=server.url, stdin=subprocess.PIPE,
                       stderr=subprocess.PIPE)
        p.stdin.write(b"a\nb\n")
        p.stdin.flush()
        self.assertEqual(weir("consume", "t", "--count", "2", url=server.url).out, b"a\nb\n")
        server.kill()
        p.stdin.write(b"c\n")
        p.stdin.flush()
        err = p.stderr.read().decode()
        p.stdin.close()
        p.stderr.close()
        self.assertEqual(p.wait(60), 3, err)
        self.assertRegex(err.splitlines()[-1], r"^weir: 2 stored, (1 not stored, 0|0 not stored, 1) unknown")

    def test_a_restart_is_survived(self):
        """Producer and consumer go on by themselves, and say once that they have to."""
        server = Server()
        self.addCleanup(server.stop)
        self.assertEqual(weir("topic", "create", "t", "-P", "1", url=server.url).code, 0)
        port = server.url.rsplit(":", 1)[1]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        consumer = weir_start("consume", "t", "--count", "2", url=server.url, **pipes)
        producer = weir_start("produce", "t", url=server.url, **pipes)
        producer.stdin.write(b"before\n")
        producer.stdin.flush()
        self.assertEqual(consumer.stdout.readline(), b"before\n")
        server.kill()
        producer.stdin.write(b"during\n")
        producer.stdin.flush()
        told = [producer.stderr.readline(), consumer.stderr.readline()]
        server.options = ("--listen", f"127.0.0.1:{port}")
        server.start()
        out, rest = consumer.communicate(timeout=60)
        self.assertEqual((consumer.returncode, out), (0, b"during\n"))
        _, rest_producer = producer.communicate(timeout=60)
        self.assertEqual(producer.returncode, 0)
        for first, then in zip(told, [rest_producer, rest]):
            self.assertRegex(first, rb"^weir: connection lost: .*; trying again\n$")
            self.assertRegex(then, rb"^weir: connected: .*\n$")


if __name__ == "__main__":
    main()
