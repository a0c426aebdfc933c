#!/usr/bin/env python3
"""docs/OPERATIONS.md names every log event, every exit code and every setting it speaks of."""
import glob
import os
import re
import unittest

from harness import main

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def sources(*patterns):
    return "\n".join(read(os.path.relpath(p, ROOT)) for g in patterns for p in sorted(glob.glob(os.path.join(ROOT, g))))


class Operations(unittest.TestCase):
    def test_events(self):
        code = sources("broker/*.c", "broker/core/*.c", "storage/*.c")
        events = set(re.findall(r'log_line\([^;"]*"[a-z]+",\s*"([a-z_]+)"', code))
        events |= {w for pair in re.findall(r'\? "([a-z_]+)" : "([a-z_]+)",\s*"connections=', code) for w in pair}
        events |= set(re.findall(r'(?:core_log|[>.]log)\((?:[^;"]*,\s*)"([a-z_]+)"', code))
        self.assertGreater(len(events), 15)
        text = read("docs/OPERATIONS.md")
        self.assertEqual([e for e in sorted(events) if f"`{e}`" not in text], [])

    def test_exit_codes(self):
        text = read("docs/OPERATIONS.md")
        for code in re.findall(r"EXIT_CODE_\w+ = (\d+)", read("broker/server.h")):
            self.assertIn(f"| {code} |", text)

    def test_settings(self):
        keys = set(re.findall(r'^X\(\w+,\s*"(\w+)"', read("broker/config.def"), re.M))
        self.assertGreater(len(keys), 15)
        config = read("docs/CONFIG.md")
        self.assertEqual([k for k in sorted(keys) if f"| `{k}` |" not in config], [])


if __name__ == "__main__":
    main()
