"""Many clients of one server at once: raw frames over asyncio, one coroutine per client.

Nothing waits by sleeping: every wait is for a frame, and every test has a deadline.
"""
import asyncio
import os
import struct
import sys

import msgpack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
from wire import Refused, batch, record, values  # noqa: E402,F401

(HELLO, METADATA, PRODUCE, FETCH, LIST_OFFSETS, JOIN, HEARTBEAT, LEAVE, COMMIT, COMMITTED, ACQUIRE, SETTLE,
 CREATE, GROUP_DESCRIBE, CHANGED) = (1, 5, 10, 11, 15, 20, 21, 22, 23, 24, 30, 31, 40, 51, 102)
FENCED_CLASS = 4


class Lost(Exception):
    """The connection ended."""


class Client:
    """One connection. call() may be used by several coroutines at once."""

    def __init__(self):
        self.corr, self.waiting, self.news, self.reader = 0, {}, asyncio.Event(), None

    async def open(self, url):
        host, port = url.removeprefix("weir://").split(":")
        self.input, self.output = await asyncio.open_connection(host, int(port), limit=1 << 24)
        self.reader = asyncio.create_task(self.read())
        await self.call(HELLO, [1, "swarm", "1", {}])
        return self

    async def read(self):
        try:
            while True:
                n = struct.unpack(">I", await self.input.readexactly(4))[0]
                frame = msgpack.unpackb(await self.input.readexactly(n), raw=False, strict_map_key=False,
                                        max_bin_len=n)
                if frame[0] == 1 and frame[1] in self.waiting:
                    answer = self.waiting.pop(frame[1])
                    if not answer.done():
                        answer.set_result(frame)
                elif frame[0] == 2 and frame[2] == CHANGED:
                    self.news.set()
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            pass
        finally:
            for answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(Lost())
            self.waiting = {}
            self.news.set()

    async def call(self, op, args):
        if self.reader.done():
            raise Lost()
        self.corr += 1
        answer = self.waiting[self.corr] = asyncio.get_running_loop().create_future()
        body = msgpack.packb([0, self.corr, op, args], use_bin_type=True)
        self.output.write(struct.pack(">I", len(body)) + body)
        frame = await answer
        if frame[2] is not None:
            raise Refused(frame[2])
        return frame[3]

    def cut(self):
        """The connection is gone, without a word."""
        self.output.transport.abort()
        self.reader.cancel()


class Member:
    """A member of a log group. `owned`: {(tid, p): next offset}."""

    def __init__(self, group, topics, member=None):
        self.group, self.topics, self.member = group, topics, member or os.urandom(16)
        self.epoch, self.owned, self.client = 0, {}, None

    def who(self):
        return [self.group, self.member, self.epoch]

    async def join(self, url):
        self.client = await Client().open(url)
        answer = await self.client.call(JOIN, [self.group, self.member, None, self.topics, {"mode": "log"}])
        self.epoch = answer[0]
        self.take(answer[4])
        return self

    def take(self, assignment):
        self.owned = {(tid, p): self.owned.get((tid, p), offset) for tid, p, _, offset, *_ in assignment}

    async def heartbeat(self):
        """Gives up what it shall give up; ends when what it owns is what it was told."""
        while True:
            before = set(self.owned)
            answer = await self.client.call(HEARTBEAT, [*self.who(), [list(tp) for tp in before]])
            self.epoch = answer[0]
            if answer[1] is None:
                return
            self.take(answer[1])
            if before <= set(self.owned):
                return

    async def follow(self, moved=None):
        """Heartbeats at every hint, until cancelled or the connection is lost."""
        while not self.client.reader.done():
            await self.client.news.wait()
            self.client.news.clear()
            if self.client.reader.done():
                return
            await self.heartbeat()
            if moved:
                moved.set()

    async def fetch(self, wait_ms=200):
        """[(tid, p, (offset, key, value))...]; moves the positions."""
        found, parts = [], list(self.owned.items())
        for i in range(0, len(parts), 64):
            wanted = [[tid, p, offset, 1 << 20] for (tid, p), offset in parts[i:i + 64]]
            for tid, p, err, _, _, data, *_ in await self.client.call(
                    FETCH, [wait_ms, 1, 1 << 20, wanted, self.who()]):
                if err is not None:
                    raise Refused(err)
                got = [r for r in values(data) if r[0] >= self.owned[tid, p]]
                if got:
                    self.owned[tid, p] = got[-1][0] + 1
                found += [(tid, p, r) for r in got]
        return found

    async def commit(self):
        items = [[tid, p, offset] for (tid, p), offset in self.owned.items()]
        for err in await self.client.call(COMMIT, [*self.who(), items]):
            if err is not None:
                raise Refused(err)
        return items
