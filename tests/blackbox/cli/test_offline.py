#!/usr/bin/env python3
"""What weir does without a server: usage errors, help, completion, an unreachable server."""
import os
import socket
import subprocess
import time

from harness import Case, bin_dir, main, weir, weir_start

COMMANDS = ["topic create", "topic list", "topic describe", "topic alter", "topic delete", "produce",
            "consume", "peek", "offsets", "group list", "group describe", "group lag", "group seek",
            "group pause", "group resume", "group alter", "group delete", "dlq list", "dlq show",
            "dlq redrive", "dlq purge", "schedule list", "schedule cancel", "server config", "server connections", "server info", "bench produce", "bench consume",
            "bench latency", "backup create", "backup verify", "doctor", "completion", "version", "help"]


class Usage(Case):
    def test_wrong_command_lines(self):
        for args, words in [
                (["topc", "list"], ["unknown command 'topc'", "'topic'"]),
                (["topic", "lst"], ["unknown command 'topic lst'", "'topic list'"]),
                (["consume", "t", "--formt", "x"], ["unknown option '--formt'", "'--format'"]),
                (["consume", "t", "--from", "yesterday"], ["--from", "yesterday"]),
                (["consume", "t", "--format", "%q"], ["'%q'"]),
                (["consume", "t", "--format", "%v", "-o", "json"], ["exclude each other"]),
                (["consume", "t", "--count", "many"], ["--count", "'many'"]),
                (["offsets", "t", "--at", "later"], ["--at", "'later'"]),
                (["produce"], ["produce needs TOPIC"]),
                (["produce", "t", "--key-sep", ":", "--key-json", "k"], ["exclude each other"]),
                (["produce", "t", "--key-sep="], ["--key-sep"]),
                (["topic", "alter", "t"], ["nothing to change"]),
                (["topic", "create", "t", "-c", "x"], ["NAME=VALUE"]),
                (["topic", "create", "t", "-c", "retension.ms=1d"],
                 ["unknown setting 'retension.ms'", "'retention.ms'"]),
                (["topic", "alter", "t", "-c", "a=b c"], ["blanks"]),
                (["topic", "list", "-o", "xml"], ["table|json|jsonl|name"]),
                (["bench", "produce"], ["--topic"]),
                (["bench", "latency", "--topic", "t", "--size", "8"], ["--size"]),
                (["bench", "produce", "--topic", "t", "--producers", "0"], ["--producers"]),
                (["group", "describ", "g"], ["unknown command 'group describ'", "'group describe'"]),
                (["group", "describe"], ["group describe needs GROUP"]),
                (["group", "seek", "g"], ["--to", "--from-file"]),
                (["group", "seek", "g", "--to", "1", "--from-file", "f"], ["--to", "--from-file"]),
                (["group", "seek", "g", "--to", "yesterday"], ["--to", "yesterday"]),
                (["group", "seek", "g", "--to", "-1x"], ["--to", "-1x"]),
                (["group", "pause", "g", "--until", "later"], ["--until", "later"]),
                (["group", "pause", "g", "--until", "2001-01-01T00:00:00Z"], ["--until", "is over"]),
                (["group", "pause", "g", "--until", "5"], ["--until", "is over"]),
                (["group", "alter", "g"], ["nothing to change"]),
                (["group", "alter", "g", "-c", "maxrate=5"],
                 ["unknown setting 'maxrate'", "'max_rate'"]),
                (["group", "lag", "-o", "positions"], ["-o positions", "name of a group"]),
                (["consume", "t", "--mode", "queue"], ["--mode needs --group"]),
                (["consume", "t", "-g", "g", "-p", "1"], ["exclude each other"]),
                (["consume", "t", "-g", "g", "--from", "17"], ["--from", "group seek"]),
                (["consume", "t", "-g", "g", "--verdict", "dead"], ["--verdict needs --mode queue"]),
                (["consume", "t", "-g", "g", "--order", "key"], ["--order needs --mode queue"]),
                (["consume", "t", "-g", "g", "-m", "queue", "--reason", "x"], ["--reason needs"]),
                (["produce", "t", "--delay", "1s", "--at", "10m"], ["exclude each other"]),
                (["produce", "t", "--delay", "367d"], ["--delay", "366d"]),
                (["produce", "t", "--at", "-1h"], ["--at", "-1h"]),
                (["produce", "t", "--print-ids"], ["--print-ids needs"]),
                (["dlq", "show", "t~g~dlq"], ["dlq show needs TOPIC PARTITION:OFFSET"]),
                (["dlq", "show", "t~g~dlq", "17"], ["'17'", "PARTITION:OFFSET"]),
                (["dlq", "show", "t~g~dlq", "0:1-2"], ["more than one message"]),
                (["dlq", "redrive", "t"], ["'t' is no dead-letter topic", "--group"]),
                (["dlq", "redrive", "t~g~dlq", "-g", "g"], ["exclude each other"]),
                (["dlq", "redrive", "t~g~dlq", "--filter", "value=x"], ["--filter", "reason=TEXT"]),
                (["dlq", "purge", "t~g~dlq", "0-1"], ["'0-1'", "PARTITION:OFFSET"]),
                (["dlq", "list", "--filter", "key=x"], ["need a TOPIC"]),
                (["schedule", "cancel", "t"], ["schedule cancel needs TOPIC ID..."]),
                (["bench", "consume", "-T", "t", "-g", "g", "--members", "0"], ["--members", "256"]),
                (["bench", "consume", "-T", "t", "--members", "2"], ["--members needs --group"]),
                (["completion", "csh"], ["'csh'", "bash|zsh|fish"]),
                (["help", "topic", "creat"], ["'create'"]),
                (["version", "--server", "weir://x", "extra"], ["'extra'"])]:
            with self.subTest(args=args):
                self.one_line(weir(*args), 2, *words)

    def test_bad_urls_and_client_options_are_usage_errors(self):
        self.one_line(weir("topic", "list", "--server", "http://x"), 2, "http://x")
        self.one_line(weir("topic", "list", "-X", "no_such_option=1"), 2, "no_such_option")
        self.one_line(weir("topic", "list", "-X", "client_id=a b"), 2, "a b")

    def test_a_missing_file(self):
        self.one_line(weir("produce", "t", "--file", "/no/such/file"), 1, "/no/such/file")

    def test_nothing_and_groups_show_what_there_is(self):
        r = weir()
        self.assertEqual(r.code, 2)
        self.assertIn("topic create", r.err)
        r = weir("topic")
        self.assertEqual(r.code, 2)
        self.assertIn("topic alter", r.err)


class Help(Case):
    def test_every_command_is_explained(self):
        overview = weir("--help")
        self.assertEqual(overview.code, 0)
        for c in COMMANDS:
            with self.subTest(command=c):
                self.assertIn(c, overview.text)
                r = weir("help", *c.split())
                self.assertEqual((r.code, r.err), (0, ""))
                self.assertTrue(r.text.startswith(f"usage: weir {c}"))
                self.assertEqual(weir(*c.split(), "--help").text, r.text)

    def test_topic_options_are_listed(self):
        self.assertIn("retention.ms", weir("help", "topic", "create").text)

    def test_group_options_are_listed(self):
        text = weir("help", "group", "alter").text
        for key in ("max_rate", "max_deliver", "max_concurrency", "paused_until"):
            self.assertIn(key, text)

    def test_version(self):
        r = weir("version")
        self.assertRegex(r.text, r"^weir \d+\.\d+\.\d+, libweir \d+\.\d+\.\d+\n$")
        self.assertEqual(weir("--version").text, r.text)

    def test_a_full_disk_is_noticed(self):
        with open("/dev/full", "wb") as full:
            p = weir_start("help", stdout=full, stderr=subprocess.PIPE)
            err = p.communicate(timeout=60)[1]
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"No space left", err)


class Unreachable(Case):
    def url(self):
        """An address where nobody listens: bound, but not listening."""
        s = socket.socket()
        self.addCleanup(s.close)
        s.bind(("127.0.0.1", 0))
        return f"weir://127.0.0.1:{s.getsockname()[1]}"

    def test_every_command_says_so(self):
        url = self.url()
        for args in (["topic", "list"], ["topic", "create", "t"], ["topic", "delete", "t", "--yes"],
                     ["produce", "t"], ["consume", "t"], ["peek", "t"], ["offsets", "t"],
                     ["server", "info"], ["bench", "produce", "--topic", "t"],
                     ["bench", "latency", "--topic", "t"], ["bench", "consume", "--topic", "t"],
                     ["bench", "consume", "--topic", "t", "-g", "g"], ["consume", "t", "-g", "g"],
                     ["group", "list"], ["group", "describe", "g"], ["group", "lag"],
                     ["group", "seek", "g", "--to", "latest"], ["group", "pause", "g"],
                     ["group", "resume", "g"], ["group", "alter", "g", "-c", "max_rate=1"],
                     ["group", "delete", "g", "--yes"], ["dlq", "list"], ["dlq", "list", "t~g~dlq"],
                     ["dlq", "show", "t~g~dlq", "0:0"], ["dlq", "redrive", "t~g~dlq"],
                     ["dlq", "purge", "t~g~dlq", "--yes"], ["schedule", "list", "t"],
                     ["schedule", "cancel", "t", "a.0"]):
            with self.subTest(args=args):
                r = weir(*args, "--server", url, "--timeout", "200ms", stdin=b"line\n")
                self.one_line(r, 3, "cannot reach", url)
                self.assertEqual(r.out, b"")

    def test_it_does_not_take_long(self):
        before = time.monotonic()
        self.one_line(weir("topic", "list", url=self.url()), 3, "cannot reach")
        self.assertLess(time.monotonic() - before, 10)

    def test_a_server_that_never_answers(self):
        s = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(s.close)
        url = f"weir://127.0.0.1:{s.getsockname()[1]}"
        self.one_line(weir("topic", "list", "-t", "300ms", url=url), 3, "cannot reach", url)

    def test_something_else_answers(self):
        """A server of another kind: one line, and not exit code 0."""
        s = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(s.close)
        p = weir_start("topic", "list", "-t", "300ms",
                       url=f"weir://127.0.0.1:{s.getsockname()[1]}", stderr=subprocess.PIPE)
        c, _ = s.accept()
        with c:
            c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertEqual(p.returncode, 3)


class Completion(Case):
    def complete(self, line):
        script = ('source <(weir completion bash); COMP_LINE=$1; COMP_POINT=${#1}; _weir; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        env = dict(os.environ, PATH=bin_dir() + ":" + os.environ["PATH"],
                   WEIR_URL="weir://127.0.0.1:1")
        r = subprocess.run(["bash", "--norc", "-c", script, "bash", line], capture_output=True,
                           text=True, env=env, timeout=60, check=False)
        self.assertEqual(r.stderr, "")
        return r.stdout.split()

    def test_bash(self):
        for line, expected in [
                ("weir t", ["topic"]),
                ("weir topic ", ["create", "list", "describe", "alter", "delete"]),
                ("weir topic de", ["describe", "delete"]),
                ("weir -s weir://h:1 topic al", ["alter"]),
                ("weir bench ", ["produce", "consume", "latency"]),
                ("weir group ", ["list", "describe", "lag", "seek", "pause", "resume", "alter", "delete"]),
                ("weir dlq ", ["list", "show", "redrive", "purge"]),
                ("weir schedule ", ["list", "cancel"]),
                ("weir consume t -g g --mode ", ["log", "queue"]),
                ("weir group lag g -o ", ["table", "json", "jsonl", "name", "positions"]),
                ("weir topic list --output ", ["table", "json", "jsonl", "name"]),
                ("weir topic list --output=j", ["json", "jsonl"]),
                ("weir consume t -o ", ["json", "jsonl"]),
                ("weir consume t --exi", ["--exit-at-end"]),
                ("weir topic create x --par", ["--partitions"]),
                ("weir topic create x --partitions ", []),
                ("weir completion ", ["bash", "zsh", "fish"]),
                ("weir help ben", ["bench"])]:
            with self.subTest(line=line):
                self.assertEqual(self.complete(line), expected)

    def test_the_other_shells_parse_their_scripts(self):
        """Without the shell only the text is looked at: brackets of functions and ends match."""
        zsh = weir("completion", "zsh").text
        self.assertTrue(zsh.startswith("#compdef weir\n"))
        self.assertEqual(zsh.count("    case "), zsh.count("esac"))
        fish = weir("completion", "fish").text
        self.assertIn("complete -c weir -n \"__weir_is 'topic create'\" -l partitions -s P -x", fish)


if __name__ == "__main__":
    main()
