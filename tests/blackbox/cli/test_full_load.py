#!/usr/bin/env python3
"""As much as the machine gives on a server with the least memory: buckets end all the time, and what is in them is
deleted at once, by retention and with its topic. The server lives, and reads back what it acknowledged last."""
import subprocess

from harness import Case, Server, main, weir, weir_start


class FullLoad(Case):
    def ok(self, *args, **kw):
        r = weir(*args, url=self.server.url, **kw)
        self.assertEqual(r.code, 0, r.err)
        return r

    def last(self):
        return self.ok("peek", "kept", "--from", "latest", "--partition", "0", "-n", "1", "-o", "json").json()[0]["value"]

    def test_buckets_end_and_die(self):
        self.server = Server("--memory", "16M")
        self.addCleanup(self.server.stop)
        self.ok("topic", "create", "kept", "--partitions", "4", "--config", "retention.bytes=4000000")
        load = weir_start("bench", "produce", "--topic", "kept", "--size", "20000", "--duration", "4s",
                          url=self.server.url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        n = 0
        while load.poll() is None:
            self.ok("topic", "create", f"short{n}", "--partitions", "8")
            self.ok("bench", "produce", "--topic", f"short{n}", "--size", "20000", "--duration", "300ms")
            self.ok("topic", "delete", f"short{n}", "--yes")
            n += 1
        out, _ = load.communicate()
        self.assertEqual(load.returncode, 0, out)
        self.assertGreater(n, 1)
        self.ok("produce", "kept", "--partition", "0", stdin=b"the last\n")
        self.assertEqual(self.last(), "the last")
        self.server.kill()
        self.server.start()
        self.assertEqual(self.last(), "the last")


if __name__ == "__main__":
    main()
