"""Damage to a copy of a store: which file, what is done to it, and why that spot.

A mutation is a function of a random.Random alone, so a seed and an index repeat it. Kinds of files:
wal, sst, manifest, current, options, floor, identity.
"""
import os
import re
import struct

KINDS = ("wal", "sst", "manifest", "current", "options", "floor", "identity")
WEIGHTS = (30, 25, 20, 6, 5, 10, 4)
DAMAGE = ("flip", "zero", "cut", "cut_record", "delete", "swap", "empty", "repeat")
DAMAGE_WEIGHTS = (30, 12, 16, 16, 10, 6, 5, 5)
BLOCK = 32768


def kind_of(name):
    for kind, pattern in (("wal", r"\d+\.log$"), ("sst", r"\d+\.sst$"),
                          ("manifest", r"MANIFEST-\d+$"), ("current", r"CURRENT$"),
                          ("options", r"OPTIONS-\d+$"), ("floor", r"floor\.[01]$"),
                          ("identity", r"IDENTITY$")):
        if re.match(pattern, name):
            return kind
    return None


def files(path):
    """{kind: [names]} of a store, in order of names."""
    out = {k: [] for k in KINDS}
    for name in sorted(os.listdir(path)):
        kind = kind_of(name)
        if kind:
            out[kind].append(name)
    return out


def record_ends(data):
    """Where records of RocksDB's log format end (write-ahead log and manifest)."""
    ends, at = [0], 0
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        head = 11 if kind > 4 else 7
        if kind == 0 or kind > 8 or at + head + length > len(data):
            break
        at += head + length
        if (kind - 1) % 4 in (0, 3):  # full or last
            ends.append(at)
    return ends


class Mutation:
    """One damage, chosen by rnd for the store at path. apply() does it, text says what it was."""

    def __init__(self, rnd, path):
        self.path = path
        have = files(path)
        kinds = [k for k in KINDS if have[k]]
        self.kind = rnd.choices(kinds, [WEIGHTS[KINDS.index(k)] for k in kinds])[0]
        self.name = rnd.choice(have[self.kind])
        self.damage = rnd.choices(DAMAGE, DAMAGE_WEIGHTS)[0]
        self.size = os.path.getsize(os.path.join(path, self.name))
        self.other = None
        if self.damage == "swap":
            pool = [n for n in have[self.kind] if n != self.name]
            pool = pool or [n for k in KINDS for n in have[k] if n != self.name]
            self.other = rnd.choice(pool)
        # near the end as often as anywhere: that is where what is newest lies
        self.spot = rnd.random() if rnd.random() < .6 else 1 - rnd.random() ** 3 * .2
        self.bit = rnd.randrange(8)

    def __str__(self):
        where = {"swap": f" with {self.other}", "delete": "", "empty": ""}.get(
            self.damage, f" at {self.at()}")
        return f"{self.damage} {self.name} ({self.kind}, {self.size} bytes){where}"

    def read(self, name=None):
        with open(os.path.join(self.path, name or self.name), "rb") as f:
            return f.read()

    def at(self):
        n = max(self.size, 1)
        if self.damage == "zero":
            return min(int(self.spot * n), n - 1) // 4096 * 4096
        if self.damage == "cut_record":
            return self.boundary()
        return min(int(self.spot * n), n - 1)

    def boundary(self):
        """A record's end below the file's; in other files a multiple of 4 KiB, or the middle."""
        if self.kind in ("wal", "manifest"):
            ends = [e for e in record_ends(self.read()) if e < self.size]
        else:
            ends = list(range(0, self.size, 4096))
        return ends[min(int(self.spot * len(ends)), len(ends) - 1)] if ends else 0

    def write(self, data, name=None):
        with open(os.path.join(self.path, name or self.name), "wb") as f:
            f.write(data)

    def apply(self):
        """Returns False when nothing changed (a zeroed block was zero already)."""
        data = self.read()
        at = self.at()
        new = data
        if self.damage == "delete":
            os.unlink(os.path.join(self.path, self.name))
            return True
        if self.damage == "swap":
            other = self.read(self.other)
            self.write(other)
            self.write(data, self.other)
            return data != other
        if self.damage == "flip" and data:
            new = data[:at] + bytes([data[at] ^ (1 << self.bit)]) + data[at + 1:]
        elif self.damage == "zero":
            new = data[:at] + bytes(len(data[at:at + 4096])) + data[at + 4096:]
        elif self.damage in ("cut", "cut_record"):
            new = data[:at]
        elif self.damage == "empty":
            new = b""
        elif self.damage == "repeat":  # a stretch written twice, as a confused disk does
            new = data[:at] + data[max(0, at - 4096):at] + data[at + 4096:]
        self.write(new)
        return new != data
