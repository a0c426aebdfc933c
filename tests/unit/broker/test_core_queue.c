/* Acquire: who gets what, when, and how an acquire ends. */
#include <stdlib.h>

#include "queue_world.h"
#include "tests/lib/test.h"

static uint64_t setup(struct world *w, const char *partitions)
{
    world_init(w);
    world_open(w);
    return world_topic(w, "t", "partitions", partitions, NULL);
}

static void check(const struct slip *s, uint64_t first, uint64_t last, uint32_t deliveries)
{
    assert_int_equal(s->first, first);
    assert_int_equal(s->last, last);
    assert_int_equal(s->deliveries, deliveries);
}

/* A range ends where its batch does when one fits; max_msgs is strict. */
static void test_ranges(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    for (int i = 0; i < 3; i++) {
        world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    }
    worker_join(&m, &w, "g", 'a', "t");
    assert_int_equal(take(&t, &m, 1, 25), 20);
    assert_int_equal(t.batches, 2);
    assert_int_equal(t.n, 1); /* one lease over both */
    check(&t.v[0], 0, 19, 1);
    assert_int_equal(take(&t, &m, 2, 4), 4);
    check(&t.v[0], 20, 23, 1);
    assert_int_equal(take(&t, &m, 3, 100), 6);
    check(&t.v[0], 24, 29, 1);
    assert_int_equal(take(&t, &m, 4, 100), 0);
    peer_fini(&m);
    world_fini(&w);
}

/* Each partition comes once, with ranges and batches by offset, whatever the order of the retries.
 */
static void test_sorted(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};
    const uint64_t backwards[] = {25, 7, 12, 3, 21, 8, 1};

    (void)state;
    const uint64_t tid = setup(&w, "2");
    for (int i = 0; i < 3; i++) {
        world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
        world_produce(&w, tid, 1, 0, 0, 10, WERR_OK);
    }
    worker_join(&m, &w, "g", 'a', "t");
    assert_int_equal(take(&t, &m, 1, 100), 60);
    assert_int_equal(t.lots, 2);
    const struct slip s[2] = {t.v[0], t.v[t.n - 1]};
    for (size_t i = 0; i < 7; i++) {
        for (int p = 0; p < 2; p++) {
            assert_int_equal(settle(&m, &s[p], backwards[i], backwards[i], VERB_NACK, 0), WERR_OK);
        }
    }
    assert_int_equal(take(&t, &m, 2, 100), 14);
    assert_int_equal(t.lots, 2);
    assert_int_equal(t.batches, 6);
    check(&t.v[0], 1, 1, 2);
    check(&t.v[6], 25, 25, 2);
    assert_int_equal(take(&t, &m, 2, 100), 14); /* when it is repeated, too */
    assert_int_equal(t.lots, 2);
    assert_int_equal(t.batches, 6);
    peer_fini(&m);
    world_fini(&w);
}

static void test_max_bytes(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    for (int i = 0; i < 4; i++) {
        world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    }
    worker_join(&m, &w, "g", 'a', "t");
    t.rq.max_bytes = 1; /* the first batch comes all the same */
    assert_int_equal(take(&t, &m, 1, 100), 10);
    t.rq.max_bytes = (uint32_t)(2 * t.bytes + 1);
    assert_int_equal(take(&t, &m, 2, 100), 20);
    assert_int_equal(t.batches, 2);
    peer_fini(&m);
    world_fini(&w);
}

static void test_round_robin(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};
    unsigned seen[3] = {0};

    (void)state;
    const uint64_t tid = setup(&w, "3");
    for (uint32_t p = 0; p < 3; p++) {
        for (int i = 0; i < 5; i++) {
            world_produce(&w, tid, p, 0, 0, 2, WERR_OK);
        }
    }
    worker_join(&m, &w, "g", 'a', "t");
    for (unsigned i = 1; i <= 6; i++) {
        assert_int_equal(take(&t, &m, i, 2), 2);
        seen[t.v[0].p]++;
    }
    for (int p = 0; p < 3; p++) {
        assert_int_equal(seen[p], 2);
    }
    peer_fini(&m);
    world_fini(&w);
}

static void test_waits(void **state)
{
    struct world w;
    struct peer a, b;
    struct take ta = {.rq.max_wait_ms = 1000}, tb = {.rq.max_wait_ms = 3000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    worker_join(&a, &w, "g", 'a', "t");
    worker_join(&b, &w, "g", 'b', "t");
    take_start(&ta, &a, 1, 10);
    take_start(&tb, &b, 1, 10);
    world_pass(&w, 500);
    assert_int_equal(ta.done + tb.done, 0);
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK); /* the one that waits longest gets it */
    world_pass(&w, 1);
    assert_int_equal(ta.done, 1);
    assert_int_equal(ta.msgs, 3);
    assert_int_equal(tb.done, 0);
    world_pass(&w, 2400);
    assert_int_equal(tb.done, 0);
    world_pass(&w, 200);
    assert_int_equal(tb.done, 1);
    assert_int_equal(tb.rq.err.code, WERR_OK);
    assert_int_equal(tb.n, 0);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void test_refusals(void **state)
{
    struct world w;
    struct peer m, log;
    struct take t = {0};

    (void)state;
    setup(&w, "1");
    worker_join(&m, &w, "g", 'a', "t");
    peer_init(&log, &w, "l", 'a');
    peer_join(&log, "t", WERR_OK);
    take_start(&t, &log, 1, 10);
    assert_int_equal(t.rq.err.code, WERR_GROUP_MODE);
    take_start(&t, &m, 1, 0);
    assert_int_equal(t.rq.err.code, WERR_INVALID_CONFIG);
    take_start(&t, &m, 0, 1);
    assert_int_equal(t.rq.err.code, WERR_INVALID_CONFIG);
    t.rq.lease_ms = 999;
    take_start(&t, &m, 1, 1);
    assert_int_equal(t.rq.err.code, WERR_INVALID_CONFIG);
    t.rq.lease_ms = 0;
    m.epoch += 100;
    take_start(&t, &m, 1, 1);
    assert_int_equal(t.rq.err.code, WERR_FENCED_MEMBER);
    m.epoch -= 100;
    assert_int_equal(peer_leave(&m), WERR_OK);
    take_start(&t, &m, 1, 1);
    assert_int_equal(t.rq.err.code, WERR_UNKNOWN_MEMBER);
    peer_fini(&m);
    peer_fini(&log);
    world_fini(&w);
}

/* ---------------------------------------------------------------- durable first */

static void test_durable_before_answer(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    worker_join(&m, &w, "g", 'a', "t");
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    take_start(&t, &m, 1, 10);
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    assert_int_equal(t.done, 0);
    store_step_sync(w.st);
    store_poll(w.st);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.msgs, 3);
    peer_fini(&m);
    world_fini(&w);
}

static void test_full_disk(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    worker_join(&m, &w, "g", 'a', "t");
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    store_mem_fault(w.st, &full);
    take_start(&t, &m, 1, 10);
    world_step(&w);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.rq.err.code, WERR_STORAGE_FULL);
    assert_true(t.rq.err.retry_after_ms > 0);
    assert_int_equal(queue_part_row(&w, "g", tid, 0).in_flight, 0);
    world_pass(&w, 2000);
    assert_int_equal(take(&t, &m, 1, 10), 3); /* as if it had never been */
    check(&t.v[0], 0, 2, 1);
    peer_fini(&m);
    world_fini(&w);
}

static void test_failed_disk(void **state)
{
    const struct store_fault broken = {.kind = FAULT_SYNC, .k = 1, .rc = WERR_IO, .sticky = true};
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    worker_join(&m, &w, "g", 'a', "t");
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    store_mem_fault(w.st, &broken);
    take_start(&t, &m, 1, 10);
    world_step(&w);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.rq.err.code, WERR_INDETERMINATE);
    peer_fini(&m);
    world_crash(&w, 0);
    world_fini(&w);
}

/* ---------------------------------------------------------------- limits */

static void test_member_max(void **state)
{
    struct world w;
    struct peer a, b;
    struct take ta = {0}, tb = {0}, more = {.rq.max_wait_ms = 10000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 100, WERR_OK);
    worker_join(&a, &w, "g", 'a', "t");
    worker_join(&b, &w, "g", 'b', "t");
    assert_int_equal(world_group_set(&w, "g", "member_max", "10"), WERR_OK);
    assert_int_equal(take(&ta, &a, 1, 50), 10);
    take_start(&more, &a, 2, 50); /* waits, and is in nobody's way */
    assert_int_equal(take(&tb, &b, 1, 50), 10);
    assert_int_equal(more.done, 0);
    assert_int_equal(settle(&a, &ta.v[0], 0, 3, VERB_ACK, -1), WERR_OK);
    world_pass(&w, 1);
    assert_int_equal(more.done, 1);
    assert_int_equal(more.msgs, 4);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

/* What somebody lets go, in whatever way, reaches the one who waits at once. */
static void test_concurrency(void **state)
{
    struct world w;
    struct peer a, b;
    struct take ta = {.rq.lease_ms = 2000}, tb = {.rq.max_wait_ms = 60000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 100, WERR_OK);
    worker_join(&a, &w, "g", 'a', "t");
    worker_join(&b, &w, "g", 'b', "t");
    assert_int_equal(world_group_set(&w, "g", "max_concurrency", "5"), WERR_OK);
    assert_int_equal(take(&ta, &a, 1, 50), 5);
    assert_string_equal(world_group_state(&w, "g"), "blocked: in-flight limit");
    take_start(&tb, &b, 1, 3);
    world_pass(&w, 1500);
    assert_int_equal(tb.done, 0);
    world_pass(&w, 600); /* a's lease runs out */
    assert_int_equal(tb.done, 1);
    assert_int_equal(tb.msgs, 3);
    assert_int_equal(tb.v[0].deliveries, 2);
    assert_string_equal(tb.v[0].reason, "lease expired");
    assert_int_equal(take(&ta, &a, 2, 50), 2);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void test_pause(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {.rq.max_wait_ms = 5000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    assert_int_equal(world_group_set(&w, "g", "paused_until", "forever"), WERR_OK);
    take_start(&t, &m, 1, 10);
    world_pass(&w, 1000);
    assert_int_equal(t.done, 0);
    assert_int_equal(world_group_set(&w, "g", "paused_until", "0"), WERR_OK);
    world_pass(&w, 1);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.msgs, 10);
    peer_fini(&m);
    world_fini(&w);
}

/* Ten members wait, ten messages a second: each second ten answers, and little is leased ahead of
 * its time, so that waiting ends when it should. */
static void test_max_rate(void **state)
{
    enum { MEMBERS = 10 };
    struct world w;
    static struct peer m[MEMBERS];
    static struct take t[MEMBERS];
    uint64_t attempt = 1, got = 0, empty = 0;

    (void)state;
    const uint64_t tid = setup(&w, "1");
    for (int i = 0; i < 10; i++) {
        world_produce(&w, tid, 0, 0, 0, 100, WERR_OK);
    }
    for (int i = 0; i < MEMBERS; i++) {
        worker_join(&m[i], &w, "g", (char)('a' + i), "t");
    }
    assert_int_equal(world_group_set(&w, "g", "max_rate", "10"), WERR_OK);
    for (int i = 0; i < MEMBERS; i++) {
        t[i].rq.max_wait_ms = 300;
        take_start(&t[i], &m[i], attempt, 100);
    }
    for (int ms = 0; ms < 10000; ms += 2) {
        world_pass(&w, 2);
        for (int i = 0; i < MEMBERS; i++) {
            if (t[i].done == 1) {
                assert_int_equal(t[i].rq.err.code, WERR_OK);
                got += t[i].msgs;
                empty += t[i].msgs == 0;
                take_start(&t[i], &m[i], ++attempt, 100);
            }
        }
        assert_true(queue_part_row(&w, "g", tid, 0).in_flight <= got + 1);
    }
    assert_in_range(got, 98, 103);
    assert_true(empty > 100);
    for (int i = 0; i < MEMBERS; i++) {
        peer_fini(&m[i]);
    }
    world_fini(&w);
}

/* One that the rate makes wait goes away: the others do not wait for it. */
static void test_rate_and_leaving(void **state)
{
    struct world w;
    struct peer a, b;
    struct take ta = {.rq.max_wait_ms = 60000}, tb = {.rq.max_wait_ms = 60000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 100, WERR_OK);
    worker_join(&a, &w, "g", 'a', "t");
    worker_join(&b, &w, "g", 'b', "t");
    assert_int_equal(world_group_set(&w, "g", "max_rate", "1"), WERR_OK);
    assert_int_equal(take(&ta, &a, 1, 1), 1);
    take_start(&ta, &a, 2, 1); /* granted, due in a second */
    world_pass(&w, 10);
    take_start(&tb, &b, 1, 1);
    world_pass(&w, 10);
    assert_int_equal(ta.done + tb.done, 0);
    assert_int_equal(peer_leave(&a), WERR_OK);
    assert_int_equal(ta.done, 1);
    world_pass(&w, 2000);
    assert_int_equal(tb.done, 1);
    assert_int_equal(tb.msgs, 1);
    assert_int_equal(tb.v[0].deliveries, 1); /* leaving does not count */
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

/* An answer that goes makes room for the one who waits, though nobody asks again. */
static void test_rate_makes_room(void **state)
{
    struct world w;
    struct peer a, b;
    struct take ta = {.rq.max_wait_ms = 60000}, tb = {.rq.max_wait_ms = 60000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 100, WERR_OK);
    worker_join(&a, &w, "g", 'a', "t");
    worker_join(&b, &w, "g", 'b', "t");
    assert_int_equal(world_group_set(&w, "g", "max_rate", "1"), WERR_OK);
    assert_int_equal(take(&ta, &a, 1, 1), 1);
    take_start(&ta, &a, 2, 1);
    take_start(&tb, &b, 1, 1);
    world_pass(&w, 1100);
    assert_int_equal(ta.done, 1);
    assert_int_equal(tb.done, 0);
    world_pass(&w, 1100);
    assert_int_equal(tb.done, 1);
    assert_int_equal(tb.msgs, 1);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

/* ---------------------------------------------------------------- attempts */

static void test_attempt_again(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0}, again = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    assert_int_equal(take(&t, &m, 7, 15), 10);
    assert_int_equal(take(&again, &m, 7, 15), 10);
    assert_int_equal(again.v[0].lease, t.v[0].lease);
    check(&again.v[0], 0, 9, 1);
    assert_int_equal(settle(&m, &t.v[0], 3, 5, VERB_ACK, -1), WERR_OK);
    assert_int_equal(take(&again, &m, 7, 15), 7); /* what is still held */
    assert_int_equal(again.n, 2);
    check(&again.v[0], 0, 2, 1);
    check(&again.v[1], 6, 9, 1);
    assert_int_equal(ack(&m, &again.v[0]), WERR_OK);
    assert_int_equal(ack(&m, &again.v[1]), WERR_OK);
    assert_int_equal(take(&again, &m, 7, 15), 10); /* nothing is: new ones */
    check(&again.v[0], 10, 19, 1);
    peer_fini(&m);
    world_fini(&w);
}

/* The connection of a waiting acquire is gone; the same attempt takes its place. */
static void test_attempt_waiting(void **state)
{
    struct world w;
    struct peer m;
    struct take old = {.rq.max_wait_ms = 5000}, again = {.rq.max_wait_ms = 5000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    worker_join(&m, &w, "g", 'a', "t");
    take_start(&old, &m, 1, 10);
    take_start(&again, &m, 1, 10);
    assert_int_equal(old.done, 1);
    assert_int_not_equal(old.rq.err.code, WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 2, WERR_OK);
    world_pass(&w, 1);
    assert_int_equal(again.done, 1);
    assert_int_equal(again.msgs, 2);
    assert_int_equal(old.done, 1);
    peer_fini(&m);
    world_fini(&w);
}

/* Cancelled on its way to the disk: what was leased for it is there for the same attempt. */
static void test_attempt_flying(void **state)
{
    struct world w;
    struct peer m;
    struct take old = {0}, again = {0}, third = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 2, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    take_start(&old, &m, 1, 10);
    core_acquire_cancel(&old.rq);
    take_start(&again, &m, 1, 10); /* takes over while it flies */
    assert_int_equal(again.done, 0);
    world_step(&w);
    assert_int_equal(old.done, 0);
    assert_int_equal(again.done, 1);
    assert_int_equal(again.msgs, 2);
    take_start(&old, &m, 1, 10); /* over another connection, after a while */
    core_acquire_cancel(&old.rq);
    world_step(&w);
    assert_int_equal(take(&third, &m, 1, 10), 2);
    assert_int_equal(third.v[0].lease, again.v[0].lease);
    peer_fini(&m);
    world_fini(&w);
}

static void test_reconnect(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0}, again = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    take_start(&t, &m, 1, 10);
    peer_drop(&m); /* the answer never came */
    world_pass(&w, 5000);
    assert_int_equal(t.done, 0);
    peer_join(&m, "t", WERR_OK);
    assert_true(m.resumed);
    assert_int_equal(take(&again, &m, 1, 10), 5);
    check(&again.v[0], 0, 4, 1);
    peer_fini(&m);
    world_fini(&w);
}

/* ---------------------------------------------------------------- old data */

static void fill_cold(struct world *w, uint64_t tid, unsigned batches)
{
    for (unsigned i = 0; i < batches; i++) {
        world_produce(w, tid, 0, 0, 0, 100, WERR_OK);
    }
}

static void test_cold(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {.rq.max_wait_ms = 100};
    uint64_t next = 0;

    (void)state;
    world_init(&w);
    w.conf.tail_cache_bytes = 1;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "1", NULL);
    fill_cold(&w, tid, 50);
    worker_join(&m, &w, "g", 'a', "t");
    for (uint64_t i = 1; next < 5000; i++) {
        assert_true(take(&t, &m, i, 100) > 0);
        for (size_t k = 0; k < t.n; k++) {
            assert_int_equal(t.v[k].first, next);
            next = t.v[k].last + 1;
            assert_int_equal(ack(&m, &t.v[k]), WERR_OK);
        }
    }
    /* One read for many answers. */
    struct core_stats st;
    core_stats(w.co, &st);
    assert_true(st.read_store_reads <= 3);
    peer_fini(&m);
    world_fini(&w);
}

/* A read that fails is tried again, in a while and not at once. */
static void test_read_error(void **state)
{
    const struct store_fault broken = {.kind = FAULT_READ, .k = 1, .rc = WERR_IO, .sticky = true};
    const struct store_fault none = {.kind = FAULT_READ};
    struct world w;
    struct peer m;
    struct take t = {.rq.max_wait_ms = 60000};
    struct core_stats st;

    (void)state;
    world_init(&w);
    w.conf.tail_cache_bytes = 1;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "1", NULL);
    fill_cold(&w, tid, 2);
    worker_join(&m, &w, "g", 'a', "t");
    store_mem_fault(w.st, &broken);
    take_start(&t, &m, 1, 100);
    for (int i = 0; i < 5000; i++) { /* 5 s, a tick every ms */
        w.mono_ns += 1000000;
        w.wall_ms += 1;
        core_tick(w.co);
        world_step(&w);
    }
    assert_int_equal(t.done, 0);
    core_stats(w.co, &st);
    assert_in_range(st.read_store_reads, 2, 10);
    store_mem_fault(w.st, &none);
    world_pass(&w, 2000);
    assert_int_equal(t.done, 1);
    assert_int_equal(t.msgs, 100);
    peer_fini(&m);
    world_fini(&w);
}

/* What retention deleted before it was read is passed over, and that is said once. */
static void test_deleted_by_retention(void **state)
{
    struct world w;
    struct peer m;
    struct take t = {0};

    (void)state;
    world_init(&w);
    w.store_conf.bucket_bytes = 64 << 10;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "1", "retention.ms", "60s",
                                     "retention.unread", "drop", NULL);
    worker_join(&m, &w, "g", 'a', "t");
    fill_cold(&w, tid, 3);
    assert_int_equal(take(&t, &m, 1, 10), 10);
    world_pass(&w, 200 * 1000);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    const struct msg_group_part row = queue_part_row(&w, "g", tid, 0);
    assert_int_equal(row.log_start, 300);
    assert_int_equal(take(&t, &m, 2, 100), 5);
    check(&t.v[0], 300, 304, 1);
    assert_true(world_logged(&w, "queue_lost"));
    peer_fini(&m);
    world_fini(&w);
}

/* ---------------------------------------------------------------- ends */

static void test_close(void **state)
{
    struct world w;
    struct peer m, r;
    static struct take waits = {.rq.max_wait_ms = 1000}, flies = {0}, first = {0}, paced = {0};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    worker_join(&r, &w, "rated", 'a', "t");
    assert_int_equal(world_group_set(&w, "rated", "max_rate", "1"), WERR_OK);
    assert_int_equal(take(&first, &r, 1, 1), 1);
    take_start(&paced, &r, 2, 1);
    world_step(&w);
    take_start(&flies, &m, 1, 10);
    take_start(&waits, &m, 2, 10);
    assert_int_equal(paced.done + flies.done + waits.done, 0);
    peer_drop(&r); /* its acquire stays for the one that comes back */
    world_crash(&w, 0);
    assert_int_equal(flies.done, 1);
    assert_int_equal(waits.done, 1);
    assert_int_equal(waits.rq.err.code, WERR_SHUTTING_DOWN);
    peer_fini(&m);
    peer_fini(&r);
    world_fini(&w);
}

static void test_group_deleted(void **state)
{
    struct world w;
    struct peer m;
    struct take flies = {0}, waits = {.rq.max_wait_ms = 10000};

    (void)state;
    const uint64_t tid = setup(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    take_start(&flies, &m, 1, 10);
    take_start(&waits, &m, 2, 10);
    assert_int_equal(world_group_delete(&w, "g", true), WERR_OK);
    assert_int_equal(flies.done, 1);
    assert_int_equal(waits.done, 1);
    assert_int_not_equal(waits.rq.err.code, WERR_OK);
    peer_fini(&m);
    world_fini(&w);
}

static void test_topic_deleted(void **state)
{
    struct world w;
    struct peer m;
    struct take held = {0}, flies = {0}, waits = {.rq.max_wait_ms = 1000};

    (void)state;
    const uint64_t tid = setup(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    world_produce(&w, tid, 1, 0, 0, 10, WERR_OK);
    worker_join(&m, &w, "g", 'a', "t");
    assert_int_equal(take(&held, &m, 1, 5), 5);
    take_start(&flies, &m, 2, 10);
    take_start(&waits, &m, 3, 100);
    world_change(&w, CORE_TOPIC_DELETE, "t", NULL, WERR_OK, NULL);
    world_pass(&w, 1100);
    assert_int_equal(flies.done + waits.done, 2);
    assert_int_not_equal(ack(&m, &held.v[0]), WERR_OK);
    assert_int_equal(take(&held, &m, 9, 5), 0);
    peer_fini(&m);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_max_bytes),
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_durable_before_answer),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_failed_disk),
        cmocka_unit_test(test_member_max),
        cmocka_unit_test(test_concurrency),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_max_rate),
        cmocka_unit_test(test_rate_and_leaving),
        cmocka_unit_test(test_rate_makes_room),
        cmocka_unit_test(test_attempt_again),
        cmocka_unit_test(test_attempt_waiting),
        cmocka_unit_test(test_attempt_flying),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_cold),
        cmocka_unit_test(test_read_error),
        cmocka_unit_test(test_deleted_by_retention),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_group_deleted),
        cmocka_unit_test(test_topic_deleted),
    };

    return cmocka_run_group_tests_name("core_queue", tests, NULL, NULL);
}
