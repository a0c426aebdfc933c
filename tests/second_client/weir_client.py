"""A second client of weir, written from docs/PROTOCOL.md alone.

It shares no code with libweir and exists to show that the document is enough. Section names in the
comments are those of the document. One thread, one connection, blocking.
"""
import random
import socket
import struct
import time

import msgpack
import zstandard

(HELLO, PING, INIT_PRODUCER, METADATA, PRODUCE, FETCH, SUBSCRIBE, CREDIT, SUB_UPDATE, LIST_OFFSETS,
 TOPIC_CREATE, TOPIC_DELETE, DELIVER, SUB_ERROR) = (1, 3, 4, 5, 10, 11, 12, 13, 14, 15,
                                                    40, 41, 100, 103)
OUT_OF_ORDER_SEQ, UNKNOWN_PRODUCER, DUP_UNKNOWN_OFFSET = 22, 23, 25
NEVER, RETRY, UNKNOWN, REFRESH, FENCED = range(5)
NO_CRC, CRITICAL = 1, 0xff
HEADER = struct.Struct('>QQIIIIBBHIQQIHH')  # 8 Record batch, 64 bytes


# 5 Errors: the class says whether it happened.
class WeirError(Exception):
    def __init__(self, err):
        self.code, self.cls, self.text, self.detail = err[:4]
        if self.cls > FENCED:
            self.cls = UNKNOWN
        super().__init__(f'{self.code} class {self.cls}: {self.text} {self.detail}')


class Disconnected(Exception):
    """The connection broke, or the other side broke section 3."""


class Damage(Exception):
    """A batch that failed its checks (11 Consuming)."""


def check(err):
    if err is not None:
        raise WeirError(err)


# 8 Record batch: CRC32C, reflected polynomial of Castagnoli.
def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc, table = 0xffffffff, CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


# 8 Record batch, 9 Compression
def encode_records(records, compress):
    """(ts_ms, key, value, headers) -> (base timestamp, largest delta, codec, body)"""
    base = min(r[0] for r in records)
    body = b''.join(msgpack.packb([ts - base, key, value, headers], use_bin_type=True)
                    for ts, key, value, headers in records)
    delta = max(r[0] for r in records) - base
    if compress and len(body) >= 1024:
        small = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(body)
        if len(small) <= len(body) * 9 // 10 and len(body) <= len(small) * 1024:
            return base, delta, 1, small
    return base, delta, 0, body


def encode_batch(encoded, count, producer, seq):
    base, delta, codec, body = encoded
    pid, epoch = producer
    tail = HEADER.pack(0, 0, 0, 0, 0, 0, 1, codec, 0, delta, pid, base, seq, epoch, count)[32:] + body
    return struct.pack('>QQIIII', 0, 0, 0, len(tail) + 32, 0, crc32c(tail)) + tail


def decompress(body, limit=16777216):
    """9 Compression: what a reader must refuse before it decompresses."""
    if body[:4] != b'\x28\xb5\x2f\xfd':  # also refuses skippable frames
        raise Damage('no zstd frame')
    params = zstandard.get_frame_parameters(body)
    size = params.content_size
    if size == zstandard.CONTENTSIZE_UNKNOWN or size > limit or size > 1024 * len(body):
        raise Damage('content size')
    if params.dict_id or params.window_size > max(8 << 20, size):
        raise Damage('window or dictionary')
    reader = zstandard.ZstdDecompressor(max_window_size=max(8 << 20, size)).decompressobj()
    data = reader.decompress(body)
    if len(data) != size or not reader.eof or reader.unused_data:
        raise Damage('frame does not end where it should')
    return data


def read_bin(data):
    """11 Consuming, reading a bin: yields (base_offset, count, records) of each batch.
    A record is (offset, ts_ms, key, value, headers)."""
    at = 0
    while at < len(data):
        if len(data) - at < 64:
            raise Damage('cut header')
        (base, append, _, length, head_crc, crc, magic, codec, flags, max_delta, _, ts, _, _,
         count) = HEADER.unpack_from(data, at)
        if crc32c(data[at:at + 24]) != head_crc or not 64 <= length <= len(data) - at:
            raise Damage('header')
        if magic != 1 or codec > 1 or flags & CRITICAL & ~NO_CRC or count == 0:
            raise Damage('a batch this client does not know')
        if crc32c(data[at + 32:at + length]) != crc:
            raise Damage('crc')
        body = data[at + 64:at + length]
        try:
            records = read_records(decompress(body) if codec else body, base, ts, count)
        except (ValueError, TypeError, msgpack.exceptions.UnpackException,
                zstandard.ZstdError) as bad:
            raise Damage(f'records: {bad!r}') from bad
        yield base, count, records
        at += length


def read_records(body, base, ts, count):
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=16777216)
    unpacker.feed(body)
    records = []
    for i in range(count):
        delta, key, value, headers = unpacker.unpack()[:4]  # readers skip further elements
        if headers is not None:
            headers = {name.decode(): val for name, val in headers.items()}
        records.append((base + i, ts + delta, key, value, headers))
    if unpacker.tell() != len(body):
        raise Damage('bytes after the last record')
    return records


class Topic:
    def __init__(self, name, tid, partitions, runs, settings):
        self.name, self.tid, self.settings = name, tid, settings
        self.partitions = [p[0] for p in partitions]
        self.slots = [p for count, p, *_ in runs for _ in range(count)]
        self.turn = 0

    def partition_for(self, key):
        """10 Producing, Partition. Without a key the caller moves `turn` on after a batch."""
        if key is None:
            return self.partitions[self.turn % len(self.partitions)]
        return self.slots[crc32c(key) % 1024]


class Client:
    def __init__(self, host, port, timeout_s=30):
        self.address, self.timeout_s = (host, port), timeout_s
        self.cluster_id, self.sock, self.corr, self.next_sub = None, None, 0, 1
        self.topics, self.producers, self.subs = {}, [], {}
        self.reconnect()

    # 4 Session
    def connect(self):
        self.close()
        self.sock = socket.create_connection(self.address, self.timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.input, self.answers, self.waiting = bytearray(), {}, {}
        self.limits = {'frame': 16777216, 'batch': 15728640, 'producer_window': 64}
        hello = self.request(HELLO, [1, 'second-client', '1', {}])
        self.limits.update(hello[4])
        if self.cluster_id not in (None, hello[8]):
            raise RuntimeError('another cluster: producer ids, topic ids and positions are void')
        self.cluster_id, self.features = hello[8], hello[3]

    def reconnect(self):
        pause_s, until = 0.05, time.monotonic() + self.timeout_s
        while True:
            try:
                self.connect()
                for name in list(self.topics):
                    self.metadata(name)
                for sub in self.subs.values():
                    sub.subscribe()
                for producer in self.producers:
                    producer.resend()
                return
            except (Disconnected, OSError):
                if time.monotonic() > until:
                    raise
                time.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(5, pause_s * 2)

    def close(self):
        if self.sock:
            self.sock.close()

    # 2 Frame and envelope
    def send(self, kind, number, op, args):
        body = msgpack.packb([kind, number, op, args], use_bin_type=True)
        if len(body) > self.limits['frame']:
            raise ValueError('larger than a frame')
        try:
            self.sock.sendall(struct.pack('>I', len(body)) + body)
        except OSError as broken:
            raise Disconnected(str(broken)) from broken

    def start(self, op, args, then=None):
        """Sends a request; `then(err, result)` is called by pump(), or the answer is kept."""
        self.corr = self.corr % 0xffffffff + 1
        if then:
            self.waiting[self.corr] = then
        self.send(0, self.corr, op, args)
        return self.corr

    def request(self, op, args):
        corr = self.start(op, args)
        while corr not in self.answers:
            self.pump()
        err, result = self.answers.pop(corr)
        check(err)
        return result

    def pump(self, timeout_s=None):
        """Takes one frame and gives it to whom it is for. False: none came in time."""
        self.sock.settimeout(self.timeout_s if timeout_s is None else timeout_s)
        while True:
            length = struct.unpack_from('>I', self.input)[0] if len(self.input) >= 4 else None
            if length is not None and not 0 < length <= self.limits['frame']:
                raise Disconnected('length of a frame')
            if length is not None and len(self.input) >= 4 + length:
                break
            try:
                got = self.sock.recv(1 << 18)
            except socket.timeout:
                if timeout_s is None:
                    raise Disconnected('no answer in time') from None
                return False
            except OSError as broken:
                raise Disconnected(str(broken)) from broken
            if not got:
                raise Disconnected('closed')
            self.input += got
        frame = bytes(self.input[4:4 + length])
        del self.input[:4 + length]
        self.dispatch(msgpack.unpackb(frame, raw=False, strict_map_key=True))
        return True

    def dispatch(self, message):
        kind, number, third, fourth = message[:4]
        if kind == 1 and number == 0:  # an error that belongs to no request: the server closes
            raise Disconnected(str(WeirError(third)))
        if kind == 1 and number in self.waiting:
            self.waiting.pop(number)(third, fourth)
        elif kind == 1:
            self.answers[number] = (third, fourth)
        elif kind == 2 and number in self.subs:
            self.subs[number].notify(third, fourth)

    # 7 Requests and answers
    def metadata(self, name):
        _, _, topics, *_ = self.request(METADATA, [[name]])
        name, tid, err, partitions, runs, settings = topics[0][:6]
        check(err)
        self.topics[name] = Topic(name, tid, partitions, runs, settings)
        return self.topics[name]

    def list_offsets(self, tid, partitions, spec):
        answer = self.request(LIST_OFFSETS, [[[tid, p, spec] for p in partitions]])
        for item in answer:
            check(item[2])
        return {item[1]: item[3] for item in answer}

    def fetch(self, tid, positions, max_wait_ms=500, max_bytes=1 << 20):
        """positions {p: next offset} is moved on; returns [(p, record)...]."""
        found = []
        wanted = [[tid, p, offset, max_bytes] for p, offset in positions.items()]
        for item in self.request(FETCH, [max_wait_ms, 1, max_bytes, wanted]):
            _, p, err, _, _, data = item[:6]
            check(err)
            records, positions[p] = take(data, positions[p])
            found += [(p, record) for record in records]
        return found

    def subscribe(self, tid, positions, window=1 << 20):
        sub = Subscription(self, self.next_sub, tid, positions, window)
        self.next_sub += 1
        self.subs[sub.number] = sub
        sub.subscribe()
        return sub

    def producer(self, compress=False):
        self.producers.append(Producer(self, compress))
        return self.producers[-1]


def take(data, offset):
    """11 Consuming: drops records below `offset`; returns the others and the next offset."""
    found = []
    for base, count, records in read_bin(data):
        found += [record for record in records if record[0] >= offset]
        offset = max(offset, base + count)
    return found, offset


class Subscription:
    """11 Consuming, Credit. `positions` moves when the application has taken a bin."""

    def __init__(self, client, number, tid, positions, window):
        self.client, self.number, self.tid = client, number, tid
        self.positions, self.window = dict(positions), window

    def subscribe(self):
        self.queue, self.processed, self.limit = [], 0, self.window
        wanted = [[self.tid, p, offset] for p, offset in self.positions.items()]
        self.client.request(SUBSCRIBE, [self.number, wanted, self.limit])

    def notify(self, op, args):
        if op == DELIVER:
            self.queue += [(p, None, data) for _, p, _, data, *_ in args]
        elif op == SUB_ERROR:
            self.queue.append((args[1], args[2], b''))

    def poll(self, timeout_s=5):
        """The next records as (p, [record...]), or None when nothing came in time."""
        while not self.queue:
            try:
                if not self.client.pump(timeout_s):
                    return None
            except Disconnected:
                self.client.reconnect()
        p, err, data = self.queue.pop(0)
        if err is not None:
            del self.positions[p]
        check(err)
        records, self.positions[p] = take(data, self.positions[p])
        self.processed += len(data)
        if self.processed + self.window - self.limit >= self.window // 2:
            self.limit = self.processed + self.window
            try:
                self.client.send(2, self.number, CREDIT, [self.limit])
            except Disconnected:
                self.client.reconnect()
        return p, records

    def end(self):
        self.client.request(SUB_UPDATE, [self.number, [], []])
        del self.client.subs[self.number]


class Batch:
    def __init__(self, encoded, count, seq, data):
        self.encoded, self.count, self.seq, self.data = encoded, count, seq, data
        self.state = 'ready'  # ready, sent, refused (a class that promises: not executed)
        self.doubt = False  # an attempt ended without an answer


class Lane:
    """One (producer, partition): its sequence, what is unanswered, what is collected."""

    def __init__(self, topic, p):
        self.topic, self.p, self.seq = topic, p, 0
        self.batches, self.records, self.not_before = [], [], 0
        self.free = None  # the sequence to renumber from, after a batch was dropped


class Producer:
    """10 Producing: idempotent and pipelined."""

    def __init__(self, client, compress):
        self.client, self.compress, self.lanes = client, compress, {}
        self.id = tuple(client.request(INIT_PRODUCER, [])[:2])
        self.failed, self.duplicates = [], 0

    def send(self, topic, key, value, headers=None, ts_ms=None):
        """Collects; flush() or a full batch sends. Returns the partition."""
        p = topic.partition_for(key)
        lane = self.lanes.setdefault((topic.tid, p), Lane(topic, p))
        lane.records.append((ts_ms if ts_ms is not None else int(time.time() * 1000),
                             key, value, headers))
        if len(lane.records) >= min(500, topic.settings.get('batch.max_records') or 500):
            self.seal(lane)
            self.guarded(lambda: self.push(lane))
        return p

    def seal(self, lane):
        if lane.records:
            encoded, count = encode_records(lane.records, self.compress), len(lane.records)
            data = encode_batch(encoded, count, self.id, lane.seq)
            if len(data) > self.client.limits['batch']:
                raise ValueError('larger than a batch')
            lane.batches.append(Batch(encoded, count, lane.seq, data))
            lane.seq = (lane.seq + count) & 0xffffffff
            lane.records = []
            lane.topic.turn += 1

    def push(self, lane):
        """Sends what is ready, in order, within the window."""
        if any(b.state == 'refused' for b in lane.batches):
            if any(b.state == 'sent' for b in lane.batches):
                return  # held back: all of them come again together, in order
            if lane.free is not None:
                self.renumber(lane)
            time.sleep(max(0, lane.not_before - time.monotonic()))
            for batch in lane.batches:
                batch.state = 'ready'
        for batch in lane.batches[:self.client.limits['producer_window']]:
            if batch.state == 'ready':
                batch.state = 'sent'
                self.client.start(PRODUCE, [lane.topic.tid, lane.p, batch.data, {}],
                                  lambda err, result, batch=batch:
                                  self.answered(lane, batch, err, result))

    def answered(self, lane, batch, err, result):
        """10 Producing, Answers."""
        error = WeirError(err) if err is not None else None
        code, cls = (error.code, error.cls) if error else (0, None)
        if error is None or code == DUP_UNKNOWN_OFFSET:
            self.duplicates += error is not None or bool(result[3] & 1)
            lane.batches.remove(batch)
        elif cls in (RETRY, UNKNOWN):
            batch.state, batch.doubt = 'refused', batch.doubt or cls == UNKNOWN
            lane.not_before = time.monotonic() + error.detail.get('retry_after_ms', 50) / 1000
        elif code in (OUT_OF_ORDER_SEQ, UNKNOWN_PRODUCER) and not batch.doubt and (
                lane.free is not None or batch is not lane.batches[0]):
            batch.state = 'refused'  # it is behind one that was dropped, or soon will be
        elif cls == NEVER and not batch.doubt:
            self.failed.append((lane.p, error))
            lane.batches.remove(batch)
            lane.free = batch.seq
            for later in lane.batches:
                if later.state == 'ready':
                    later.state = 'refused'  # to be renumbered with the others
            if not lane.batches:
                lane.seq, lane.free = lane.free, None
        else:  # fenced, refused while in doubt, or the topic is gone: the application decides
            raise error

    def renumber(self, lane):
        """The sequence of a batch refused with class never is free: those behind move up."""
        lane.seq, lane.free = lane.free, None
        for batch in lane.batches:
            if batch.doubt:
                raise RuntimeError('in doubt: may not be renumbered')
            batch.seq = lane.seq
            batch.data = encode_batch(batch.encoded, batch.count, self.id, batch.seq)
            lane.seq = (lane.seq + batch.count) & 0xffffffff

    def resend(self):
        """4 Session, Reconnect: the same bytes again, in order."""
        for lane in self.lanes.values():
            for batch in lane.batches:
                batch.doubt = batch.doubt or batch.state == 'sent'
                batch.state = 'ready'
            self.push(lane)

    def guarded(self, step):
        try:
            step()
        except Disconnected:
            self.client.reconnect()

    def push_all(self):
        for lane in self.lanes.values():
            self.push(lane)
        if any(lane.batches for lane in self.lanes.values()):
            self.client.pump()

    def flush(self):
        for lane in self.lanes.values():
            self.seal(lane)
        while any(lane.batches for lane in self.lanes.values()):
            self.guarded(self.push_all)
