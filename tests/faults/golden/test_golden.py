#!/usr/bin/env python3
"""test_golden.py BIN_DIR: stores of earlier formats open; stores of later ones are refused unchanged."""
import os
import shutil
import struct
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "cells")]
import golden  # noqa: E402
from bare import Bare, Refusal  # noqa: E402
from corrupt import snapshot  # noqa: E402
import image as images  # noqa: E402

BIN = sys.argv.pop(1)
FLOOR_FORMAT_AT = 8


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def raise_format(path, by):
    """Both slots of the floor file say a later format, with right checksums."""
    for slot in (0, 1):
        name = os.path.join(path, f"floor.{slot}")
        with open(name, "rb") as f:
            data = f.read()[:-4]
        number = struct.unpack_from(">I", data, FLOOR_FORMAT_AT)[0] + by
        data = data[:FLOOR_FORMAT_AT] + struct.pack(">I", number) + data[FLOOR_FORMAT_AT + 4:]
        with open(name, "wb") as f:
            f.write(data + struct.pack(">I", crc32c(data)))
    return number


class Golden(unittest.TestCase):
    def setUp(self):
        self.where = tempfile.mkdtemp(prefix="weir-golden-")
        self.addCleanup(shutil.rmtree, self.where)
        self.path = os.path.join(self.where, "store")

    def test_opens(self):
        self.assertTrue(golden.names())
        for name in golden.names():
            with self.subTest(name):
                self.assertEqual(golden.check(BIN, name, self.where), [])

    def test_check_can_fail(self):
        """One wrong word in the document is found."""
        doc = golden.unpack(golden.names()[0], self.path)
        doc["topics"]["ever"]["parts"][0]["batches"]["0"] = "1 0"
        doc["groups"]["readers"]["committed"][0][2] += 1
        server = Bare(BIN, self.path, *images.OPTIONS)
        wrong = golden.Check(doc).run(server.url)
        server.kill()
        self.assertEqual(len(wrong), 2, wrong)

    def test_newer_is_refused_unchanged(self):
        for options in ((), ("--accept-data-loss", "true")):
            golden.unpack(golden.names()[-1], self.path)
            number = raise_format(self.path, 1)
            before = snapshot(self.path)
            with self.assertRaises(Refusal) as r:
                Bare(BIN, self.path, *images.OPTIONS, *options).kill()
            self.assertEqual(snapshot(self.path), before)
            self.assertIn("FORMAT_NEWER", r.exception.sentence())
            self.assertIn(f"format {number}", r.exception.sentence())
            self.assertGreater(r.exception.code, 0)

    def test_same_format_rewritten_opens(self):
        """What the test above writes is refused for its number only."""
        golden.unpack(golden.names()[-1], self.path)
        raise_format(self.path, 0)
        Bare(BIN, self.path, *images.OPTIONS).kill()


if __name__ == "__main__":
    unittest.main()
