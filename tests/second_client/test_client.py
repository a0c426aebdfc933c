"""The client that was written from docs/PROTOCOL.md alone meets the real server and the CLI.

usage: test_client.py BIN_DIR
"""
import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import weir_client as wc

BIN = sys.argv.pop(1) if len(sys.argv) > 1 else 'build/bin'
DEADLINE_S = 30


class SecondClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        ready, write = os.pipe()
        cls.server = subprocess.Popen(
            [f'{BIN}/weir-server', '--data', cls.dir.name, '--listen', '127.0.0.1:0',
             '--ready-fd', str(write)], pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(ready) as lines:
            host, port = lines.readline().split()[1].rsplit(':', 1)
        cls.address = (host, int(port))

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait(DEADLINE_S)
        cls.dir.cleanup()

    def client(self):
        client = wc.Client(*self.address, timeout_s=DEADLINE_S)
        self.addCleanup(client.close)
        return client

    def topic(self, client, name, **settings):
        client.request(wc.TOPIC_CREATE, [name, {'partitions': 8, **settings}])
        return client.metadata(name)

    def cli(self, *args, stdin=b''):
        done = subprocess.run([f'{BIN}/weir', *args, '-s', 'weir://%s:%d' % self.address],
                              input=stdin, capture_output=True, timeout=DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def read_by_cli(self, name):
        def field(row, what):
            raw = row.get(what + '_base64')
            if raw is not None:
                return base64.b64decode(raw)
            return row[what].encode() if row.get(what) is not None else None
        found = []
        for line in self.cli('consume', name, '-o', 'jsonl', '--exit-at-end').splitlines():
            row = json.loads(line)
            headers = {h['name']: field(h, 'value') for h in row.get('headers') or []}
            found.append((row['partition'], row['offset'], field(row, 'key'),
                          field(row, 'value'), headers))
        return sorted(found, key=lambda r: r[:2])

    def fetch_all(self, client, topic):
        ends = client.list_offsets(topic.tid, topic.partitions, -2)
        positions, found = client.list_offsets(topic.tid, topic.partitions, -1), []
        while positions != ends:
            found += client.fetch(topic.tid, positions)
        return sorted([(p, r[0], r[2], r[3], r[4] or {}) for p, r in found], key=lambda r: r[:2])

    def subscribe_all(self, client, topic):
        ends = client.list_offsets(topic.tid, topic.partitions, -2)
        sub, found = client.subscribe(topic.tid, {p: 0 for p in topic.partitions}, 4096), []
        while sub.positions != ends:
            got = sub.poll(DEADLINE_S)
            self.assertIsNotNone(got)
            found += [(got[0], r[0], r[2], r[3], r[4] or {}) for r in got[1]]
        sub.end()
        return sorted(found, key=lambda r: r[:2])

    def refused(self, code, cls, call):
        with self.assertRaises(wc.WeirError) as caught:
            call()
        self.assertEqual((caught.exception.code, caught.exception.cls), (code, cls))
        return caught.exception.detail

    def test_crc(self):
        self.assertEqual(wc.crc32c(b'123456789'), 0xe3069283)

    def test_python_produces_cli_reads(self):
        client = self.client()
        for compress in (False, True):
            with self.subTest(compress=compress):
                topic = self.topic(client, f'py-{compress}')
                producer, sent = client.producer(compress), []
                for i in range(5000):
                    key = None if i % 3 == 0 else b'key-%d' % i if i % 3 == 1 else b'\xff%d' % i
                    value = None if i % 7 == 0 else b'value number %d' % i
                    headers = {'trace': b'%d' % i, 'kind': b''} if i % 5 == 0 else None
                    p = producer.send(topic, key, value, headers)
                    sent.append((p, key, value, headers or {}))
                producer.flush()
                self.assertEqual(producer.failed, [])
                got = self.read_by_cli(topic.name)
                self.assertEqual(len({r[0] for r in got}), 8)
                for p in topic.partitions:  # the order within a partition is kept
                    self.assertEqual([r[2:] for r in got if r[0] == p],
                                     [s[1:] for s in sent if s[0] == p])

    def test_cli_produces_python_reads(self):
        client = self.client()
        lines = [b'key-%d:value %d %s' % (i % 700, i, b'x' * (i % 90)) for i in range(5000)]
        for kind in ('none', 'zstd'):
            with self.subTest(kind=kind):
                topic = self.topic(client, f'c-{kind}')
                self.cli('produce', topic.name, '--key-sep', ':', '--compression', kind,
                         '--header', 'from=cli', stdin=b'\n'.join(lines) + b'\n')
                got = self.fetch_all(client, topic)
                self.assertEqual(got, self.subscribe_all(client, topic))
                self.assertEqual(got, self.read_by_cli(topic.name))
                self.assertEqual(sorted(r[2] + b':' + r[3] for r in got), sorted(lines))
                for p, _, key, _, headers in got:
                    self.assertEqual(p, topic.partition_for(key))
                    self.assertEqual(headers, {'from': b'cli'})

    def test_resend_after_cut(self):
        client, watch = self.client(), self.client()
        topic = self.topic(client, 'cut', partitions=1)
        producer = client.producer()
        for i in range(4000):  # eight batches of 500, none of their answers is read
            producer.send(topic, b'k', b'%d' % i)
        until = time.monotonic() + DEADLINE_S
        while watch.list_offsets(topic.tid, [0], -2)[0] == 0:
            self.assertLess(time.monotonic(), until)
        client.sock.shutdown(socket.SHUT_RDWR)
        producer.flush()
        got = self.fetch_all(watch, topic)
        self.assertEqual([r[3] for r in got], [b'%d' % i for i in range(4000)])

    def test_refused_batch_frees_its_sequence(self):
        client = self.client()
        for bad in (5, 35):  # in the first batch of the partition, and in a later one
            with self.subTest(bad=bad):
                topic = self.topic(client, f'never-{bad}', **{
                    'partitions': 1, 'message.max_bytes': 100, 'batch.max_records': 10})
                producer = client.producer()
                for i in range(100):
                    producer.send(topic, b'k', b'x' * 200 if i == bad else b'%d' % i)
                producer.flush()
                self.assertEqual([(p, e.code, e.cls) for p, e in producer.failed],
                                 [(0, 5, wc.NEVER)])
                self.assertEqual([int(r[3]) for r in self.fetch_all(client, topic)],
                                 [i for i in range(100) if i // 10 != bad // 10])

    def test_errors(self):
        client = self.client()
        topic = self.topic(client, 'errors', partitions=1)
        tid, pid = topic.tid, tuple(client.request(wc.INIT_PRODUCER, [])[:2])

        def produce(seq, value=b'v', tid=tid, producer=pid):
            batch = wc.encode_batch(wc.encode_records([(1, b'k', value, None)], False), 1,
                                    producer, seq)
            return client.request(wc.PRODUCE, [tid, 0, batch])
        self.assertEqual(produce(0)[0::3], [0, 0])
        self.assertEqual(produce(0)[0::3], [0, 1])  # flag: duplicate, the same offset
        self.assertEqual(self.refused(22, wc.FENCED, lambda: produce(5)),
                         {'expected': 1, 'got': 5})
        self.refused(5, wc.NEVER, lambda: produce(1, b'v' * 1048576))
        self.refused(20, wc.REFRESH, lambda: produce(0, tid=999))
        self.refused(23, wc.FENCED, lambda: produce(0, producer=(1 << 40, 0)))
        self.refused(20, wc.REFRESH, lambda: client.metadata('absent'))
        self.refused(20, wc.REFRESH, lambda: client.subscribe(tid, {9: 0}))
        client.subs.clear()
        self.assertEqual(self.refused(26, wc.NEVER, lambda: client.fetch(tid, {0: 2})),
                         {'log_start': 0, 'hw': 1})
        sub = client.subscribe(tid, {0: 77})
        self.refused(26, wc.NEVER, lambda: sub.poll(DEADLINE_S))
        self.assertEqual(sub.positions, {})
        client.send(2, sub.number, wc.CREDIT, [1 << 30])  # crossing an end: no error
        self.assertEqual(len(client.request(wc.PING, [])), 1)
        with self.assertRaises(wc.Disconnected):  # a frame over the limit closes
            client.sock.sendall(b'\x01\x00\x00\x01')
            client.pump()


if __name__ == '__main__':
    unittest.main()
