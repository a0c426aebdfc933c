#!/usr/bin/env python3
"""The commands of docs/GROUPS.md and of the README, as a reader would type them.

A block marked ```sh is run by bash, in the order of the page, in one folder and against one server. A
block ```text right behind it is what it prints: `…` stands for anything in a line, alone for any lines.
"""
import os
import re
import subprocess
import tempfile

from harness import ServerCase, bin_dir, environment, main

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.M | re.S)
ELSEWHERE = re.compile(r"^(make|weir-server|cc|sudo)\b", re.M)  # blocks about installing


def blocks(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return [m for m in BLOCK.findall(f.read()) if not ELSEWHERE.search(m[0])]


def pattern(expected):
    out = ""
    for line in expected.splitlines():
        out += "(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + "\n"
    return re.compile(out)


class Guide(ServerCase):
    def walk(self, path, at_least):
        found = blocks(path)
        self.assertGreaterEqual(len(found), at_least)
        env = environment(self.server.url)
        env["PATH"] = bin_dir() + ":" + env["PATH"]
        with tempfile.TemporaryDirectory() as folder:
            for script, expected in found:
                r = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env,
                                   stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
                out = r.stdout.decode()
                self.assertEqual(r.returncode, 0, f"{script}\n{out}\n{r.stderr.decode()}")
                if expected and not pattern(expected).fullmatch(out):
                    self.fail(f"{script}\nprinted\n{out}\ninstead of\n{expected}")

    def test_groups(self):
        self.walk("docs/GROUPS.md", 6)

    def test_readme(self):
        self.walk("README.md", 1)


class Patterns(ServerCase):
    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def test_they_can_fail(self):
        p = pattern("…\none …\ntwo\n")
        self.assertTrue(p.fullmatch("x\ny\none 1\ntwo\n"))
        self.assertTrue(p.fullmatch("one \ntwo\n"))
        self.assertFalse(p.fullmatch("one 1\ntwo\nthree\n"))
        self.assertFalse(p.fullmatch("one 1\n"))


if __name__ == "__main__":
    main()
