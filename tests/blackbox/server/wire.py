"""A raw connection: frames in, frames out, nothing checked, so that tests can say anything.

Batches carry the flag NO_CRC, which asks the broker to compute the checksum.
"""
import os
import socket
import struct
import time

import msgpack

HELLO, PING, INIT_PRODUCER, METADATA = 1, 3, 4, 5
PRODUCE, FETCH, SUBSCRIBE, CREDIT, SUB_UPDATE, LIST_OFFSETS = 10, 11, 12, 13, 14, 15
CANCEL_DELAYED, DELAYED_LIST = 16, 17
JOIN, HEARTBEAT, LEAVE, COMMIT, COMMITTED, ACQUIRE, SETTLE = 20, 21, 22, 23, 24, 30, 31
CREATE, DELETE, ALTER, DESCRIBE, METRICS = 40, 41, 42, 43, 60
GROUP_LIST, GROUP_DESCRIBE, GROUP_RESET, GROUP_DELETE, GROUP_ALTER = 50, 51, 52, 53, 54
DLQ_LIST, DLQ_REDRIVE, DLQ_PURGE = 55, 56, 57
DELIVER, GOING_AWAY, CHANGED, SUB_ERROR = 100, 101, 102, 103

MALFORMED, UNKNOWN_OP, UNSUPPORTED_FIELD, TOO_LARGE, AUTH_REQUIRED = 2, 3, 4, 5, 6
UNKNOWN_TOPIC, CORRUPT_BATCH, OUT_OF_ORDER, UNKNOWN_PRODUCER, PRODUCER_FENCED = 20, 21, 22, 23, 24
DUP_UNKNOWN_OFFSET, OUT_OF_RANGE, EXISTS, INVALID_CONFIG = 25, 26, 28, 29
UNKNOWN_MEMBER, FENCED_MEMBER, NOT_ASSIGNED, GROUP_MODE, GROUP_BUSY, LEASE_LOST = 40, 41, 42, 43, 44, 45
UNKNOWN_GROUP = 47
ACK, NACK, RELEASE, DEAD, EXTEND = range(5)

BATCH_HEAD = 64


def record(key, value, delta=0, headers=None):
    return msgpack.packb([delta, key, value, headers], use_bin_type=True)


def batch(records, pid=0, epoch=0, seq=0, ts=1700000000000, flags=1, magic=1, codec=0, count=None,
          length=None, max_delta=0):
    body = b"".join(records)
    n = BATCH_HEAD + len(body)
    head = struct.pack(">QqIIII", 0, 0, 0, n if length is None else length, 0, 0)
    head += struct.pack(">BBHIQqIHH", magic, codec, flags, max_delta, pid, ts, seq & 0xffffffff, epoch,
                        len(records) if count is None else count)
    return head + body


def values(run):
    """[(offset, key, value)] of uncompressed batches back to back."""
    out = []
    while run:
        base, _, _, length = struct.unpack(">QqII", run[:24])
        count = struct.unpack(">H", run[62:64])[0]
        u = msgpack.Unpacker(raw=False, use_list=True)
        u.feed(run[BATCH_HEAD:length])
        for i in range(count):
            r = u.unpack()
            out.append((base + i, r[1], r[2]))
        run = run[length:]
    return out


def records(run):
    """[(offset, key, value, headers)] of uncompressed batches back to back."""
    out = []
    while run:
        base, _, _, length = struct.unpack(">QqII", run[:24])
        count = struct.unpack(">H", run[62:64])[0]
        u = msgpack.Unpacker(raw=False, use_list=True)
        u.feed(run[BATCH_HEAD:length])
        for i in range(count):
            r = u.unpack()
            out.append((base + i, r[1], r[2], r[3] or {}))
        run = run[length:]
    return out


class Refused(Exception):
    def __init__(self, err):
        super().__init__(f"{err[0]} class {err[1]}: {err[2]} {err[3]}")
        self.code, self.cls, self.text, self.detail = err


class Closed(Exception):
    pass


class Wire:
    def __init__(self, url, hello=True, timeout=20, source=None):
        host, port = url.removeprefix("weir://").split(":")
        self.sock = socket.create_connection((host, int(port)), timeout,
                                             (source, 0) if source else None)
        self.corr = 0
        self.notes = []
        self.answers = {}
        if hello:
            self.hello = self.call(HELLO, [1, "test", "1", {}])

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def raw(self, data):
        self.sock.sendall(data)

    def body(self, body):
        self.raw(struct.pack(">I", len(body)) + body)

    def send(self, op, args):
        self.corr += 1
        self.body(msgpack.packb([0, self.corr, op, args], use_bin_type=True))
        return self.corr

    def notify(self, ident, op, args):
        self.body(msgpack.packb([2, ident, op, args], use_bin_type=True))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                piece = self.sock.recv(n - len(data))
            except ConnectionResetError as e:
                raise Closed from e
            if not piece:
                raise Closed
            data += piece
        return data

    def frame(self):
        n = struct.unpack(">I", self.exactly(4))[0]
        return msgpack.unpackb(self.exactly(n), raw=False, use_list=True, strict_map_key=False,
                               max_bin_len=n)

    def answer(self, corr):
        """The result of a request; raises Refused. Notifications on the way are kept."""
        while corr not in self.answers:
            f = self.frame()
            if f[0] == 2:
                self.notes.append(f)
            else:
                self.answers[f[1]] = f
        f = self.answers.pop(corr)
        if f[2] is not None:
            raise Refused(f[2])
        return f[3]

    def call(self, op, args):
        return self.answer(self.send(op, args))

    def note(self, op):
        """The next notification of an operation."""
        while True:
            for i, f in enumerate(self.notes):
                if f[2] == op:
                    return self.notes.pop(i)
            f = self.frame()
            if f[0] == 2:
                self.notes.append(f)
            else:
                self.answers[f[1]] = f

    def ends(self):
        """Reads until the peer closes; returns the frames that still came."""
        out = []
        try:
            while True:
                out.append(self.frame())
        except Closed:
            return out

    def create(self, name, **config):
        return self.call(CREATE, [name, {k.replace("__", "."): v for k, v in config.items()}])[0]

    def produce(self, tid, p, records, **kw):
        return self.call(PRODUCE, [tid, p, batch(records, **kw)])

    def fetch(self, tid, p, offset, wait=0, min_bytes=1, max_bytes=1 << 20):
        return self.call(FETCH, [wait, min_bytes, max_bytes, [[tid, p, offset, max_bytes]]])

    def quiet(self, seconds):
        """The notifications that come within this time; nothing else is expected."""
        until = time.monotonic() + seconds
        old = self.sock.gettimeout()
        try:
            while (left := until - time.monotonic()) > 0:
                self.sock.settimeout(left)
                try:
                    f = self.frame()
                except (TimeoutError, socket.timeout):
                    break
                (self.notes.append(f) if f[0] == 2 else self.answers.__setitem__(f[1], f))
        finally:
            self.sock.settimeout(old)
        out, self.notes = self.notes, []
        return out


class Member:
    """A member of a group over one connection."""

    def __init__(self, wire, group, topics, mode="log", member=None, **options):
        self.w, self.group = wire, group
        self.id = member or os.urandom(16)
        self.mode, self.topics, self.options = mode, topics, options
        self.attempt = 0
        self.join()

    def join(self):
        self.epoch, self.grace_ms, mode, self.resumed, parts = self.w.call(
            JOIN, [self.group, self.id, None, self.topics, {"mode": self.mode, **self.options}])[:5]
        assert mode == self.mode
        self.parts = {(t, p): offset for t, p, _, offset in parts}

    def who(self, epoch=None):
        return [self.group, self.id, self.epoch if epoch is None else epoch]

    def heartbeat(self, owned=True):
        """Until the assignment and what is held are the same; gives up what was taken away."""
        while True:
            answer = self.w.call(HEARTBEAT, self.who() + ([[list(k) for k in self.parts]] if owned else []))
            self.epoch, parts = answer[:2]
            if parts is None:
                return
            before = set(self.parts)
            self.parts = {(t, p): self.parts.get((t, p), offset) for t, p, _, offset in parts}
            if before <= set(self.parts):
                return

    def leave(self):
        self.w.call(LEAVE, self.who())

    def commit(self, items, epoch=None):
        return self.w.call(COMMIT, self.who(epoch) + [items])

    def fetch(self, tid, p, offset, wait=0, epoch=None):
        return self.w.call(FETCH, [wait, 1, 1 << 20, [[tid, p, offset, 1 << 20]], self.who(epoch)])

    def ask(self, n=10, wait=0, lease=0, attempt=None):
        if attempt is None:
            self.attempt += 1
            attempt = self.attempt
        return self.w.send(ACQUIRE, self.who() + [n, 1 << 20, wait, lease, attempt])

    def got(self, corr):
        """[(handle, deliveries, key, value, reason)], handle = (tid, p, lease, offset)."""
        out = []
        for tid, p, ranges, data in self.w.answer(corr):
            by = {r[0]: r for r in records(data)}
            for first, last, deliveries, lease, *reason in ranges:
                for o in range(first, last + 1):
                    out.append(((tid, p, lease, o), deliveries, by[o][1], by[o][2],
                                reason[0] if reason else None))
        return out

    def acquire(self, *args, **kw):
        return self.got(self.ask(*args, **kw))

    def settle(self, handles, verb=0, arg=None, reason=None):
        return self.w.call(SETTLE, self.who() + [[[t, p, lease, o, o, verb, arg, reason]
                                                  for t, p, lease, o in handles]])
