#!/usr/bin/env python3
"""weir doctor on real directories: fresh, in use, damaged, in memory."""
import glob
import os
import tempfile
import unittest

from harness import Case, Server, main, weir


def findings(*args):
    """Exit code, and the findings by check."""
    r = weir("doctor", *args, "-o", "json")
    doc = r.json()
    assert doc["healthy"] == (r.code == 0), (r.code, doc)
    for f in doc["findings"]:
        assert set(f) == {"check", "level", "found", "change"}, f
        assert (f["change"] is None) == (f["level"] == "ok"), f
    return r.code, {f["check"]: f for f in doc["findings"]}


class Doctor(Case):
    def folder(self, **kw):
        d = tempfile.TemporaryDirectory(**kw)
        self.addCleanup(d.cleanup)
        return d.name

    def test_a_folder_without_a_store(self):
        d = self.folder()
        _, f = findings(d)
        self.assertLessEqual({"data", "permissions", "file_system", "mount_options", "free_space",
                              "sync_speed", "server", "floor", "open_files", "clock_sync", "memory"},
                             set(f))
        self.assertEqual((f["floor"]["level"], f["floor"]["found"]), ("ok", "no store here yet"))
        self.assertRegex(f["sync_speed"]["found"], r"^4 KiB made durable in [\d.]+ [mun]?s \(p99 .*\d times\)$")
        self.assertEqual(os.listdir(d), [])  # the probe left nothing
        os.chmod(d, 0o755)
        _, f = findings(d)
        self.assertEqual((f["permissions"]["level"], f["permissions"]["change"]),
                         ("warn", "chmod o= on the directory"))

    def test_text_and_lines(self):
        d = self.folder()
        r = weir("doctor", d)
        self.assertRegex(r.text, r"(?m)^ok +floor +no store here yet$")
        self.assertRegex(r.text, r"\n\d+ bad, \d+ to think about, \d+ ok\n$")
        lines = weir("doctor", d, "-o", "jsonl").jsonl()
        self.assertIn("sync_speed", [f["check"] for f in lines])

    def test_one_that_is_not_there_yet(self):
        d = self.folder()
        _, f = findings(os.path.join(d, "a", "b"))
        self.assertEqual(f["data"]["level"], "warn")
        self.assertIn("is not there", f["data"]["found"])

    def test_no_directory(self):
        path = os.path.join(self.folder(), "file")
        with open(path, "w", encoding="utf-8"):
            pass
        code, f = findings(path)
        self.assertEqual((code, f["data"]["level"]), (1, "bad"))
        self.assertIn("not a directory", f["data"]["found"].lower())

    @unittest.skipUnless(os.path.ismount("/dev/shm"), "needs a tmpfs")
    def test_memory_is_no_disk(self):
        code, f = findings(self.folder(dir="/dev/shm"))
        self.assertEqual((code, f["file_system"]["level"]), (1, "bad"))
        self.assertIn("tmpfs", f["file_system"]["found"])

    def test_a_store_in_use_and_damaged(self):
        server = Server()
        self.addCleanup(server.stop)
        data = os.path.join(server.dir, "data")
        _, f = findings(data)
        self.assertRegex(f["server"]["found"], rf"pid {server.process.pid}$")
        self.assertIn("of the running server", f["open_files"]["found"])
        self.assertRegex(f["floor"]["found"], r"^[12] of 2 slots valid, seq \d+")
        copy = self.folder()  # a store of which nobody holds the lock
        for name in ["CURRENT", *(os.path.basename(p) for p in glob.glob(data + "/floor.*"))]:
            with open(os.path.join(data, name), "rb") as a, open(os.path.join(copy, name), "wb") as b:
                b.write(a.read())
        _, f = findings(copy)
        self.assertEqual(f["floor"]["level"], "ok")
        for path in glob.glob(copy + "/floor.*"):
            with open(path, "r+b") as x:
                x.seek(40)
                x.write(b"\xff\xff")
        code, f = findings(copy)
        self.assertEqual((code, f["floor"]["level"]), (1, "bad"))
        self.assertIn("no valid floor file", f["floor"]["found"])
        self.assertIn("restore a backup", f["floor"]["change"])


if __name__ == "__main__":
    main()
