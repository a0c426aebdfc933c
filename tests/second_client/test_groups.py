"""The second client joins groups in both modes, next to libweir's own command line.

usage: test_groups.py BIN_DIR
"""
import time
import unittest

import test_client as base
import weir_client as wc
import weir_groups as wg


class Groups(base.SecondClient):
    def fill(self, name, n, **settings):
        client = self.client()
        topic = self.topic(client, name, **settings)
        producer = client.producer()
        for i in range(n):
            producer.send(topic, b'%d' % (i % 17), b'%d' % i)
        producer.flush()
        return client, topic

    def test_log_members_share_and_commit(self):
        _, topic = self.fill('log-shared', 2000, partitions=6)
        one = wg.Member(self.client(), 'readers', ['log-shared'])
        self.assertEqual(len(one.positions), 6)
        two = wg.Member(self.client(), 'readers', ['log-shared'])
        until, seen = time.monotonic() + base.DEADLINE_S, {}
        while len(seen) < 2000:
            self.assertLess(time.monotonic(), until, f'{len(seen)} of 2000')
            for member in (one, two):
                for tid, p, record in member.poll(50):
                    self.assertEqual(tid, topic.tid)
                    seen[p, record[0]] = record[3]
                member.commit()
        while len(two.positions) < 3 or len(one.positions) > 3:
            self.assertLess(time.monotonic(), until, (one.positions, two.positions))
            for member in (one, two):
                member.poll(50)
                member.commit()
        self.assertEqual(set(one.positions) & set(two.positions), set())
        self.assertEqual(len(set(seen.values())), 2000)
        one.leave()
        two.leave()
        ends = self.client().list_offsets(topic.tid, topic.partitions, -2)
        at = self.client().request(wg.COMMITTED, ['readers', None])
        self.assertEqual({p: offset for _, p, offset, *_ in at}, ends)

    def test_log_stale_member_is_fenced(self):
        client, topic = self.fill('log-fenced', 100, partitions=1)
        del client
        old = wg.Member(self.client(), 'fenced', ['log-fenced'])
        stale = old.who()
        old.leave()
        new = wg.Member(self.client(), 'fenced', ['log-fenced'])
        self.assertEqual(list(new.positions), [(topic.tid, 0)])
        for op, args in ((wg.COMMIT, [*stale, [[topic.tid, 0, 50]]]),
                         (wg.GROUP_HEARTBEAT, [*stale, None]),
                         (wc.FETCH, [0, 1, 1 << 20, [[topic.tid, 0, 0, 1 << 20]], stale])):
            with self.assertRaises(wc.WeirError) as refused:
                for item in self.client().request(op, args):
                    wc.check(item[2] if op == wc.FETCH else item)
            self.assertEqual(refused.exception.cls, wc.FENCED, str(refused.exception))
        at = self.client().request(wg.COMMITTED, ['fenced', None])
        self.assertEqual([offset for _, _, offset, *_ in at], [0])
        new.leave()

    def test_queue_workers(self):
        self.fill('queue-shared', 1000, partitions=2)
        workers = [wg.Worker(self.client(), 'workers', ['queue-shared']) for _ in range(5)]
        until, done = time.monotonic() + base.DEADLINE_S, set()
        while len(done) < 1000:
            self.assertLess(time.monotonic(), until, f'{len(done)} of 1000')
            for worker in workers:
                got = worker.acquire(50, 20)
                self.assertTrue(all(g[1] == 1 for g in got))
                self.assertEqual(worker.ack([g[0] for g in got]), [None] * len(got))
                for _, _, record, _ in got:
                    self.assertNotIn(record[3], done)
                    done.add(record[3])
        for worker in workers:
            worker.leave()

    def test_queue_verdicts(self):
        self.fill('queue-verdicts', 4, partitions=1)
        worker = wg.Worker(self.client(), 'judges', ['queue-verdicts'])
        first = worker.acquire(4)
        self.assertEqual([g[2][3] for g in first], [b'0', b'1', b'2', b'3'])
        self.assertEqual([g[0] for g in worker.acquire(4, again=True)], [g[0] for g in first])
        self.assertEqual(worker.settle([
            (first[0][0], wg.ACK, None, None), (first[1][0], wg.NACK, 0, 'not today'),
            (first[2][0], wg.RELEASE, None, None), (first[3][0], wg.DEAD, None, 'never')]),
            [None] * 4)
        again = sorted(worker.acquire(1) + worker.acquire(1), key=lambda g: g[2][0])
        self.assertEqual([(g[1], g[2][3], g[3]) for g in again],
                         [(2, b'1', 'not today'), (1, b'2', None)])
        self.assertEqual(worker.ack([g[0] for g in again]), [None] * 2)
        self.assertEqual(worker.ack([again[0][0]]), [None])  # settled: an ack may come again
        lost = worker.settle([(again[0][0], wg.NACK, 0, None)])
        self.assertEqual(lost[0].code, 45)
        client = self.client()
        until = time.monotonic() + base.DEADLINE_S
        while True:
            try:
                dlq = client.metadata('queue-verdicts~judges~dlq')
                records = client.fetch(dlq.tid, {0: 0}, 1000)
                break
            except wc.WeirError:
                self.assertLess(time.monotonic(), until)
        self.assertEqual([r[3] for _, r in records], [b'3'])
        headers = records[0][1][4]
        self.assertEqual(headers['weir-reason'], b'never')
        self.assertEqual(headers['weir-origin-topic'], b'queue-verdicts')
        self.assertEqual(headers['weir-origin-offset'], b'3')
        self.assertEqual(headers['weir-attempts'], b'1')
        worker.leave()

    def test_delay(self):
        client, topic = self.fill('later', 0, partitions=1)
        producer = client.producer()
        due_ms = int(time.time() * 1000) + 700
        batches = []
        for seq, when in ((0, due_ms), (1, due_ms + 100), (2, due_ms + 50)):
            encoded = wc.encode_records([(due_ms, None, b'%d' % seq, None)], False)
            data = wc.encode_batch(encoded, 1, producer.id, seq)
            args = [topic.tid, 0, data, {'deliver_at': when}]
            answer = client.request(wc.PRODUCE, args)
            self.assertIsNone(answer[0])
            self.assertEqual(client.request(wc.PRODUCE, args)[4], answer[4])  # stored once
            batches.append(answer[4])
        self.assertEqual(client.request(wg.CANCEL_DELAYED,
                                        [topic.tid, [batches[2] + '.0', 'no such id']]), [0, 2])
        positions = {0: 0}
        self.assertEqual(client.fetch(topic.tid, positions, 200), [])
        found = []
        while len(found) < 2:
            found += client.fetch(topic.tid, positions, 1000)
            self.assertLess(time.time() * 1000, due_ms + 20000)
        self.assertGreaterEqual(time.time() * 1000, due_ms)
        self.assertEqual([r[3] for _, r in found], [b'0', b'1'])
        self.assertEqual(client.request(wg.CANCEL_DELAYED, [topic.tid, [batches[0] + '.0']]), [1])



for inherited in [name for name in dir(base.SecondClient) if name.startswith('test_')]:
    setattr(Groups, inherited, None)  # they run in test_client.py

if __name__ == '__main__':
    unittest.main()
