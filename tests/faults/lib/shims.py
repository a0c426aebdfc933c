"""The control files of the preloaded shims: failcall (inject/failcall_rule.h) and clockjump (inject/clockjump.h).

Alone: shims.py clock FILE [show | jump SECONDS | set EPOCH_SECONDS | rate FACTOR | suspend SECONDS | back]
       shims.py fail FILE [show | arm K | disarm]
"""
import mmap
import os
import struct
import sys
import time

NS = 1_000_000_000


class Control:
    """A small mapped file of a fixed layout; made when missing."""

    def __init__(self, path, layout, magic):
        self.path, self.layout = path, layout
        size = layout["_size"]
        fresh = not os.path.exists(path) or os.path.getsize(path) < size
        if fresh:
            with open(path, "wb") as f:
                f.write(struct.pack("<I", magic) + bytes(size - 4))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), size)

    def get(self, name):
        fmt, at = self.layout[name]
        return struct.unpack_from(fmt, self.map, at)[0]

    def set(self, name, value):
        fmt, at = self.layout[name]
        struct.pack_into(fmt, self.map, at, value)

    def close(self):
        self.map.close()


class Fail(Control):
    """Which call fails next, and how often it did."""
    LAYOUT = {"_size": 40, "armed": ("<I", 4), "at": ("<Q", 8), "hits": ("<Q", 16), "fired": ("<Q", 24),
              "seen": ("<Q", 32)}

    def __init__(self, path):
        super().__init__(path, self.LAYOUT, 0x4c494146)

    def arm(self, k):
        """The k-th call from now on is the first that fails."""
        self.set("armed", 0)
        self.set("hits", 0)
        self.set("at", k)
        self.set("armed", 1)

    def disarm(self):
        self.set("armed", 0)

    @property
    def fired(self):
        return self.get("fired")

    @property
    def hits(self):
        return self.get("hits")

    @property
    def seen(self):
        return self.get("seen")


class Clock(Control):
    """The wall clock of the processes that map the file. All calls take seconds. It is never before 1970, as Linux
    refuses such a time, clock_settime(2); a jump that would lead there ends at 1970-01-01 00:00:00."""
    LAYOUT = {"_size": 48, "seq": ("<I", 4), "offset": ("<q", 8), "since": ("<q", 16), "rate": ("<q", 24),
              "boot": ("<q", 32), "reads": ("<Q", 40)}

    def __init__(self, path):
        super().__init__(path, self.LAYOUT, 0x4b434c43)

    def shift(self):
        """What is added to the wall clock now, in ns."""
        passed = (time.monotonic_ns() - self.get("since")) // 1000 if self.get("rate") else 0
        return self.get("offset") + passed * self.get("rate") // 1000

    def change(self, offset, rate=None, boot=None):
        offset = max(offset, -time.time_ns())
        rate = self.get("rate") if rate is None else rate
        boot = self.get("boot") if boot is None else boot
        self.set("seq", self.get("seq") + 1)
        self.set("offset", offset)
        self.set("since", time.monotonic_ns())
        self.set("rate", rate)
        self.set("boot", boot)
        self.set("seq", self.get("seq") + 1)

    def jump(self, seconds):
        """As by `date -s`: the wall clock alone."""
        self.change(self.shift() + int(seconds * NS))

    def set_to(self, epoch_seconds):
        self.change(int(epoch_seconds * NS) - time.time_ns())

    def run_at(self, factor):
        """From now on the wall clock runs at this pace: 0.5, 1, 2."""
        self.change(self.shift(), rate=round((factor - 1) * 1_000_000))

    def suspend(self, seconds):
        """The machine slept: the wall clock and BOOTTIME went on, MONOTONIC did not."""
        self.change(self.shift() + int(seconds * NS), boot=self.get("boot") + int(seconds * NS))

    def back(self):
        """The true time, at the true pace."""
        self.change(0, rate=0)

    @property
    def reads(self):
        return self.get("reads")


def main(argv):
    if len(argv) < 2 or argv[0] not in ("clock", "fail"):
        sys.exit(__doc__)
    kind, path, verb, value = argv[0], argv[1], (argv[2:] or ["show"])[0], (argv[3:] or ["0"])[0]
    c = Clock(path) if kind == "clock" else Fail(path)
    verbs = {"clock": {"jump": lambda: c.jump(float(value)), "set": lambda: c.set_to(float(value)),
                       "rate": lambda: c.run_at(float(value)), "suspend": lambda: c.suspend(float(value)),
                       "back": lambda: c.back(), "show": lambda: None},
             "fail": {"arm": lambda: c.arm(int(value)), "disarm": lambda: c.disarm(), "show": lambda: None}}[kind]
    if verb not in verbs:
        sys.exit(__doc__)
    verbs[verb]()
    print(" ".join(f"{name}={c.get(name)}" for name in c.layout if name != "_size"))


if __name__ == "__main__":
    main(sys.argv[1:])
