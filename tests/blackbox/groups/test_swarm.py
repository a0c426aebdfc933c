"""Groups in numbers: 200 members at once, 1,000 groups on one topic, one group over 1,000 partitions,
and a broker that is killed while partitions move.

usage: test_swarm.py BIN_DIR
"""
import asyncio
import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import swarm  # noqa: E402
from harness import Case, Server, main, sanitized  # noqa: E402

DEADLINE_S = 120


class Swarm(Case):
    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
        del soft
        self.server = Server()
        self.addCleanup(self.server.stop)
        self.scale = 4 if sanitized() else 1  # a sanitizer's server is many times slower

    def run_in(self, coroutine):
        asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))

    async def topic(self, name, partitions, per_partition=0):
        client = await swarm.Client().open(self.server.url)
        tid = (await client.call(swarm.CREATE, [name, {"partitions": partitions}]))[0]
        if per_partition:
            await asyncio.gather(*[client.call(swarm.PRODUCE, [tid, p, swarm.batch(
                [swarm.record(None, b"%d" % i) for i in range(per_partition)])]) for p in range(partitions)])
        client.cut()
        return tid

    async def settle_down(self, members, partitions, most):
        """Every member follows hints until each partition has exactly one owner and nobody has more
        than `most`. Returns the seconds it took."""
        began, moved = time.monotonic(), asyncio.Event()
        tasks = [asyncio.create_task(m.follow(moved)) for m in members]
        try:
            while True:
                owned = [tp for m in members for tp in m.owned]
                if len(owned) == partitions and max(len(m.owned) for m in members) <= most:
                    self.assertEqual(len(set(owned)), partitions)
                    return time.monotonic() - began
                moved.clear()
                for task in tasks:
                    if task.done():
                        task.result()
                await moved.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def test_200_members_join_at_once(self):
        async def go():
            n, parts = 200 // self.scale, 400 // self.scale
            await self.topic("wide", parts)
            began = time.monotonic()
            members = await asyncio.gather(*[swarm.Member("crowd", ["wide"]).join(self.server.url)
                                             for _ in range(n)])
            joined = time.monotonic() - began
            await self.settle_down(members, parts, parts // n)
            total = time.monotonic() - began
            before = {tp: m.member for m in members for tp in m.owned}
            staying, leaving = members[:n // 2], members[n // 2:]
            began = time.monotonic()
            await asyncio.gather(*[m.client.call(swarm.LEAVE, m.who()) for m in leaving])
            await self.settle_down(staying, parts, 2 * parts // n)
            half = time.monotonic() - began
            kept = sum(before[tp] == m.member for m in staying for tp in m.owned)
            self.assertEqual(kept, parts // 2, "nobody who stays gives anything up")
            print(f"{n} members, {parts} partitions: joined in {joined:.3f} s, each its share after "
                  f"{total:.3f} s; half of them left: settled after {half:.3f} s")
        self.run_in(go())

    def test_1000_groups_on_one_topic(self):
        async def one(name, ends, tid):
            member = await swarm.Member(name, ["shared"]).join(self.server.url)
            while len(member.owned) < len(ends):
                await member.client.news.wait()
                member.client.news.clear()
                await member.heartbeat()
            seen = 0
            while member.owned != ends:
                seen += len(await member.fetch(1000))
            await member.commit()
            at = await member.client.call(swarm.COMMITTED, [name, None])
            self.assertEqual({(t, p): offset for t, p, offset, *_ in at}, ends, name)
            member.client.cut()
            del tid
            return seen

        async def go():
            n, per = 1000 // self.scale, 100
            tid = await self.topic("shared", 4, per)
            ends = {(tid, p): per for p in range(4)}
            began = time.monotonic()
            seen = await asyncio.gather(*[one(f"group-{i}", ends, tid) for i in range(n)])
            self.assertEqual(seen, [4 * per] * n)
            took = time.monotonic() - began
            print(f"{n} groups consumed and committed {4 * per} messages each in {took:.2f} s")
        self.run_in(go())

    def test_one_group_over_1000_partitions(self):
        async def go():
            n, parts = 10, 1000 // self.scale
            await self.topic("thousand", parts, 3)
            members = await asyncio.gather(*[swarm.Member("tall", ["thousand"]).join(self.server.url)
                                             for _ in range(n)])
            await self.settle_down(members, parts, parts // n)
            seen = {}
            while len(seen) < 3 * parts:
                for member in members:
                    for tid, p, r in await member.fetch(0):
                        self.assertNotIn((p, r[0]), seen)
                        seen[p, r[0]] = r[2]
            await asyncio.gather(*[m.commit() for m in members])
            at = await members[0].client.call(swarm.COMMITTED, ["tall", None])
            self.assertEqual(sorted((p, offset) for _, p, offset, *_ in at), [(p, 3) for p in range(parts)])
        self.run_in(go())

    def test_broker_killed_in_rebalance(self):
        async def go():
            parts = 60
            tid = await self.topic("moving", parts, 1)
            first = await asyncio.gather(*[swarm.Member("m", ["moving"]).join(self.server.url)
                                           for _ in range(5)])
            await self.settle_down(first, parts, parts // 5)
            for member in first:
                await member.fetch()
            committed = [item for m in first for item in await m.commit()]
            self.assertEqual(len(committed), parts)
            epochs = [m.epoch for m in first]
            # five more arrive, and the broker dies while partitions are on their way to them
            more = [swarm.Member("m", ["moving"]) for _ in range(5)]
            joins = [asyncio.create_task(m.join(self.server.url)) for m in more]
            done, _ = await asyncio.wait(joins, return_when=asyncio.FIRST_COMPLETED)
            del done
            beats = [asyncio.create_task(m.heartbeat()) for m in first]
            await asyncio.wait(beats, return_when=asyncio.FIRST_COMPLETED)
            stale = first[0].who()
            self.server.kill()
            await asyncio.gather(*joins, *beats, return_exceptions=True)
            self.server.start()
            members = first + more
            await asyncio.gather(*[m.join(self.server.url) for m in members])
            self.assertTrue(all(m.epoch >= e for m, e in zip(first, epochs)), "epochs never go back")
            await self.settle_down(members, parts, parts // 10)
            at = await members[0].client.call(swarm.COMMITTED, ["m", None])
            self.assertEqual(sorted((p, offset) for _, p, offset, *_ in at),
                             [(p, 1) for p in range(parts)], "acknowledged commits are there")
            del tid, stale
        self.run_in(go())


if __name__ == "__main__":
    main()
