#!/usr/bin/env python3
"""weir-dump on the store of a server that was stopped, killed, or still runs."""
import hashlib
import os
import subprocess
import time
import unittest

from harness import Server, bin_dir, main
from wire import Member, Wire, batch, record


def dump(*args):
    r = subprocess.run([os.path.join(bin_dir(), "weir-dump"), *args], capture_output=True, timeout=120, check=False)
    return r.returncode, (r.stdout + r.stderr).decode()


def everything(path):
    """Names, sizes and contents, without the locks."""
    out = {}
    for name in sorted(os.listdir(path)):
        with open(os.path.join(path, name), "rb") as f:
            out[name] = hashlib.sha256(f.read()).hexdigest()
    return out


class Dump(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.data = os.path.join(self.server.dir, "data")
        w = Wire(self.server.url)
        self.tid = w.create("t", partitions=2)
        for p in range(2):
            w.produce(self.tid, p, [record(None, b"%d" % i) for i in range(50)])
        m = Member(w, "q", ["t"], mode="queue")
        got = m.acquire(40)
        m.settle([g[0] for g in got[::2]])
        w.call(10, [self.tid, 0, batch([record(None, b"later")]), {"deliver_at": int(time.time() * 1000) + 3600000}])
        w.close()

    def tearDown(self):
        self.server.start()  # as good as new
        w = Wire(self.server.url)
        self.assertEqual(len(w.fetch(self.tid, 0, 0)), 1)
        w.close()
        self.server.stop()

    def test_a_killed_store(self):
        code, said = dump(self.data)
        self.assertEqual(code, 3, said)
        self.assertIn("in use by a running server", said)
        self.server.kill()
        before = everything(self.data)
        code, said = dump(self.data, "--fsck")
        self.assertEqual(code, 0, said)
        for line in ("topic t ", "offsets 0 to 50", "group q  queue", "messages 100  delayed 1", "0 problems"):
            self.assertIn(line, said)
        code, said = dump(self.data, "--batches", "t/1@10")
        self.assertEqual((code, said.count("messages 50")), (0, 1), said)
        self.assertEqual(dump(self.data, "--batches", "t/2")[0], 2)
        self.assertEqual(everything(self.data), before, "nothing in the directory changed")
        self.assertEqual([n for n in os.listdir(self.server.dir) if "dump" in n], [], "the copy is gone")

    def test_wrong_use(self):
        self.server.kill()
        self.assertEqual(dump()[0], 2)
        self.assertEqual(dump(self.data + "/none")[0], 3)


if __name__ == "__main__":
    main()
