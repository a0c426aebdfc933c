#!/usr/bin/env python3
"""weir backup create and verify, weir-server --restore: with a real store, under load, damaged, one time after the
other. What is restored is what had been acknowledged before the backup, no more than what was sent, without a gap."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import threading

from harness import Case, Server, bin_dir, main, weir, weir_start

LINES = "".join(f"{i}\n" for i in range(3000))


def restore(backup, data):
    return subprocess.run([os.path.join(bin_dir(), "weir-server"), "--restore", backup, "--data", data],
                          capture_output=True, text=True, timeout=120, check=False)


class Backups(Case):
    def setUp(self):
        self.server = Server("--memory", "16M")
        self.addCleanup(self.server.stop)
        self.ok("topic", "create", "t", "--partitions", "3")

    def ok(self, *args, server=None, **kw):
        r = weir(*args, url=(server or self.server).url, **kw)
        self.assertEqual(r.code, 0, r.err)
        return r

    def produce(self, text):
        self.ok("produce", "t", stdin=text.encode())

    def create(self, *args):
        return self.ok("backup", "create", *args, "-o", "json").json()

    def restored(self, backup):
        """A server on what was restored."""
        server = Server()
        self.addCleanup(server.stop)
        server.kill()
        data = os.path.join(server.dir, "data")
        shutil.rmtree(data)
        r = restore(backup, data)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertRegex(r.stdout, r"^restored \d+ files, \d+ bytes, of a backup made at \S+Z, to \S+ in \d+ ms\n$")
        server.start()
        return server

    def read(self, server, *args):
        return self.ok("consume", "t", "-e", *args, server=server).text.splitlines()

    def test_what_was_there(self):
        self.produce(LINES)
        self.ok("consume", "t", "--group", "g", "--count", "1000")
        b = self.create("one")
        self.assertTrue(b["path"].endswith("/data/backups/one"))
        self.assertGreater(b["bytes"], 3000)
        self.produce("too late\n")
        self.ok("topic", "delete", "t", "--yes")
        self.assertEqual(weir("backup", "verify", b["path"]).code, 0)
        again = self.restored(b["path"])
        self.assertEqual(sorted(self.read(again), key=int), LINES.split())
        left = self.read(again, "--group", "g")
        self.assertEqual(len(left), 2000)
        self.ok("produce", "t", stdin=b"goes on\n", server=again)
        self.assertEqual(self.read(again, "--group", "g"), ["goes on"])

    def test_under_load(self):
        """Each of several backups, made while a producer is at work, is a prefix that holds what was acknowledged."""
        stop, acked, lock = threading.Event(), [0], threading.Lock()

        def work():
            i = 0
            while not stop.is_set():
                self.ok("produce", "t", "--partition", "0", stdin="".join(f"{i + k}\n" for k in range(200)).encode())
                i += 200
                with lock:
                    acked[0] = i
        producer = threading.Thread(target=work)
        producer.start()
        taken = []
        try:
            for n in range(4):
                with lock:
                    before = acked[0]
                taken.append((self.create(f"n{n}")["path"], before))
        finally:
            stop.set()
            producer.join()
        for path, before in taken:
            r = weir("backup", "verify", path)
            self.assertEqual(r.code, 0, r.err)
        for path, before in (taken[0], taken[-1]):
            got = self.read(self.restored(path))
            self.assertEqual(got, [str(i) for i in range(len(got))])
            self.assertGreaterEqual(len(got), before)

    def test_a_server_starts_again_beside_its_backups(self):
        self.produce(LINES)
        path = self.create("x")["path"]
        self.server.kill()
        self.server.start()
        self.assertEqual(len(self.read(self.server)), 3000)
        self.assertEqual(weir("backup", "verify", path).code, 0)
        r = subprocess.run([os.path.join(bin_dir(), "weir-dump"), path], capture_output=True, text=True, check=False)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_names(self):
        self.assertRegex(self.create()["path"], r"/backups/\d{8}T\d{6}Z$")
        text = self.ok("backup", "create", "a_b-9").text
        self.assertRegex(text, r"^\S+/backups/a_b-9: \d+ files, \d+ bytes, made in \d+ ms\n$")
        self.one_line(weir("backup", "create", "a_b-9", url=self.server.url), 1, "a_b-9", "exists")
        for name in (".hidden", "a_b-9.tmp", "a/b", "..", "-x", "x" * 65, "sp ace"):
            self.one_line(weir("backup", "create", "--", name, url=self.server.url), 1, "a name has 1 to 64")
        self.assertRegex(self.server.read_log(), r"server backup_made path=\"\S+a_b-9\" files=\d+ bytes=\d+ took_ms=")
        self.assertIn("backup_failed", self.server.read_log())

    def test_damage_is_named(self):
        self.ok("bench", "produce", "--topic", "t", "--size", "20000", "--duration", "1s")  # so that there are tables
        whole = self.create("whole")["path"]
        top = tempfile.mkdtemp(prefix="weir-backup-test-")
        self.addCleanup(shutil.rmtree, top)

        def harmed(name, harm):
            copy = os.path.join(top, name)
            shutil.copytree(whole, copy)
            harm(copy)
            return copy

        def flip(path, at):
            with open(path, "r+b") as f:
                f.seek(at)
                byte = f.read(1)
                f.seek(at)
                f.write(bytes([byte[0] ^ 1]))

        def one(copy, pattern):
            return sorted(glob.glob(os.path.join(copy, pattern)))[-1]
        harms = {"table_gone": lambda c: os.unlink(one(c, "*.sst")),
                 "table_cut": lambda c: os.truncate(one(c, "*.sst"), os.path.getsize(one(c, "*.sst")) - 1),
                 "manifest": lambda c: flip(one(c, "MANIFEST-*"), 20),
                 "current": lambda c: flip(one(c, "CURRENT"), 12),
                 "list": lambda c: flip(one(c, "BACKUP"), 60),
                 "no_list": lambda c: os.unlink(one(c, "BACKUP"))}
        for name, harm in harms.items():
            copy = harmed(name, harm)
            r = weir("backup", "verify", copy)
            self.assertEqual(r.code, 1, name)
            self.assertIn(copy, r.err)
            to = os.path.join(top, "to")
            r = restore(copy, to)
            self.assertIn(r.returncode, (64, 65), name)
            self.assertIn(copy, r.stderr)
            self.assertFalse(os.path.exists(to))
        copy = harmed("inside_a_table", lambda c: flip(max(glob.glob(c + "/*.sst"), key=os.path.getsize), 100))
        r = weir("backup", "verify", copy)
        self.assertEqual(r.code, 1, r.text)

    def test_half_a_restore_does_not_start(self):
        """Killed before its last step: its mark is still there."""
        self.produce(LINES)
        server = self.restored(self.create("x")["path"])
        server.kill()
        with open(os.path.join(server.dir, "data", "RESTORING"), "w", encoding="utf-8"):
            pass
        r = subprocess.run([os.path.join(bin_dir(), "weir-server"), "--data", os.path.join(server.dir, "data"),
                            "--listen", "127.0.0.1:0", "--http="], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(r.returncode, 65, r.stderr)
        self.assertIn("a restore was cut short", r.stderr)
        self.assertNotIn("ready", r.stderr)

        def take_away():  # the usual end of a server needs one that runs
            shutil.rmtree(os.path.join(server.dir, "data"))
            server.start()
        self.addCleanup(take_away)

    def test_where_not(self):
        path = self.create("x")["path"]
        r = restore(path, os.path.join(self.server.dir, "data"))
        self.assertEqual(r.returncode, 64)
        self.assertRegex(r.stderr, r"is not empty .*a backup is restored to a new directory")
        r = restore(self.server.dir, os.path.join(self.server.dir, "new"))
        self.assertEqual(r.returncode, 64)
        self.assertIn("is no backup", r.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.server.dir, "new")))


class FullLoad(Case):
    def test_the_server_lives(self):
        """Buckets end all the time while one backup after the other is made."""
        server = Server("--memory", "16M")
        self.addCleanup(server.stop)
        self.assertEqual(weir("topic", "create", "load", "--partitions", "4", url=server.url).code, 0)
        bench = weir_start("bench", "produce", "--topic", "load", "--size", "20000", "--duration", "3s", url=server.url,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        paths = []
        while bench.poll() is None:
            r = weir("backup", "create", f"n{len(paths)}", "-o", "json", url=server.url)
            self.assertEqual(r.code, 0, r.err)
            paths.append(r.json()["path"])
            for old in paths[-2:-1]:
                shutil.rmtree(old)
        self.assertEqual(bench.returncode, 0, bench.stdout.read())
        bench.stdout.close()
        self.assertGreater(len(paths), 2)
        r = weir("backup", "verify", paths[-1])
        self.assertEqual(r.code, 0, r.err)


class InMemory(Case):
    def test_nothing_to_copy(self):
        process = subprocess.Popen([os.path.join(bin_dir(), "weir-server"), "--dev", "--listen", "127.0.0.1:0", "--http=",
                                    "--ready-fd", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = "weir://" + re.match(r"READY (\S+)", process.stdout.readline()).group(1)
            self.one_line(weir("backup", "create", url=url), 1, "keeps all in memory")
        finally:
            process.terminate()
            process.communicate()


if __name__ == "__main__":
    main()
