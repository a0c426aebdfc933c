"""Groups for the second client, written from docs/PROTOCOL.md alone: a member of a log group and a
worker of a queue group. Blocking, one connection, as small as it can be.
"""
import os

import weir_client as wc

(GROUP_JOIN, GROUP_HEARTBEAT, GROUP_LEAVE, COMMIT, COMMITTED, ACQUIRE, SETTLE, CANCEL_DELAYED,
 CHANGED) = (20, 21, 22, 23, 24, 30, 31, 16, 102)
ACK, NACK, RELEASE, DEAD, EXTEND = range(5)


class Session:
    """What both modes share: who we are, and joining again after a lost connection."""
    mode = None

    def __init__(self, client, group, topics, **options):
        self.client, self.group, self.topics, self.options = client, group, topics, options
        self.member, self.epoch, self.changed = os.urandom(16), 0, False
        self.dispatch, client.dispatch = client.dispatch, self.hear
        self.join()

    def who(self):
        return [self.group, self.member, self.epoch]

    def hear(self, message):
        if message[0] == 2 and message[2] == CHANGED and message[3][:2] == ['group', self.group]:
            self.changed = True
        else:
            self.dispatch(message)

    def join(self):
        options = {'mode': self.mode, **self.options}
        answer = self.client.request(
            GROUP_JOIN, [self.group, self.member, None, self.topics, options])
        self.epoch, self.grace_ms, _, self.resumed, assignment = answer[:5]
        return assignment

    def leave(self):
        self.client.request(GROUP_LEAVE, self.who())
        self.client.dispatch = self.dispatch


class Member(Session):
    """Log mode: reads the partitions it was given, in order, and commits."""
    mode = 'log'

    def join(self):
        self.take(super().join())

    def take(self, assignment):
        old = getattr(self, 'positions', {})
        self.positions = {(tid, p): old.get((tid, p), offset)
                          for tid, p, _, offset, *_ in assignment}

    def heartbeat(self):
        """First without what was taken away, then the answer is what there is now."""
        while True:
            self.changed = False
            owned = [list(tp) for tp in self.positions]
            self.epoch, assignment = self.client.request(
                GROUP_HEARTBEAT, [*self.who(), owned])[:2]
            if assignment is None:
                return
            before = set(self.positions)
            self.take(assignment)
            if before <= set(self.positions):
                return

    def poll(self, max_wait_ms=200):
        """[(tid, p, record)...] of the partitions that are this member's."""
        if self.changed:
            self.heartbeat()
        if not self.positions:
            self.client.pump(max_wait_ms / 1000)
            return []
        wanted = [[tid, p, offset, 1 << 20] for (tid, p), offset in self.positions.items()]
        found = []
        for tid, p, err, _, _, data, *_ in self.client.request(
                wc.FETCH, [max_wait_ms, 1, 1 << 20, wanted[:64], self.who()]):
            wc.check(err)
            records, self.positions[tid, p] = wc.take(data, self.positions[tid, p])
            found += [(tid, p, record) for record in records]
        return found

    def commit(self):
        items = [[tid, p, offset] for (tid, p), offset in self.positions.items()]
        for err in self.client.request(COMMIT, [*self.who(), items]):
            wc.check(err)


class Worker(Session):
    """Queue mode: leases messages and settles each of them."""
    mode = 'queue'

    def __init__(self, *args, **options):
        self.attempt = 0
        super().__init__(*args, **options)

    def acquire(self, n=16, max_wait_ms=500, lease_ms=0, again=False):
        """[(handle, deliveries, record, reason)...]; again: the attempt before is repeated."""
        self.attempt += not again
        found = []
        for tid, p, ranges, data, *_ in self.client.request(
                ACQUIRE, [*self.who(), n, 1 << 20, max_wait_ms, lease_ms, self.attempt]):
            records = {r[0]: r for _, _, batch in wc.read_bin(data) for r in batch}
            for first, last, deliveries, lease, *reason in ranges:
                found += [((tid, p, lease, offset), deliveries, records[offset],
                           reason[0] if reason else None) for offset in range(first, last + 1)]
        return found

    def settle(self, verdicts):
        """[(handle, verb, arg, reason)...] -> [None or WeirError...]"""
        items = [[tid, p, lease, offset, offset, verb, arg, reason]
                 for (tid, p, lease, offset), verb, arg, reason in verdicts]
        return [None if err is None else wc.WeirError(err)
                for err in self.client.request(SETTLE, [*self.who(), items])]

    def ack(self, handles):
        return self.settle([(handle, ACK, None, None) for handle in handles])
