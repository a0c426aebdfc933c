#include "tests/lib/store_contract_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/rep.h"
#include "tests/lib/test.h"

static struct fixture *fx(void **state)
{
    return *state;
}

void contract_reopen(struct fixture *f)
{
    world_close(&f->w);
    world_open(&f->w);
}

/* Commits a txn and waits for it. */
struct outcome {
    bool done;
    enum werr rc;
};

static void on_outcome(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct outcome *o = arg;
    (void)e;
    if (stage == STORE_DONE) {
        assert_false(o->done);
        o->done = true;
        o->rc = rc;
    }
}

enum werr contract_commit(struct fixture *f, struct store_txn *t)
{
    struct outcome o = {false, WERR_OK};
    store_submit(f->w.st, t, STORE_SYNC, false, on_outcome, &o);
    assert_false(o.done);
    world_wait(&f->w, &o.done);
    return o.rc;
}

static void append_n(struct fixture *f, enum store_table table, uint32_t partition, unsigned n,
                     uint32_t count, uint32_t bytes, int64_t ms)
{
    struct store_txn *t = store_txn_new(f->w.st);
    uint64_t base = store_next_offset(f->w.st, partition);
    for (unsigned i = 0; i < n; i++)
        world_txn_append(t, table, partition, base + (uint64_t)i * count, count, bytes, ms + i);
    assert_int_equal(contract_commit(f, t), WERR_OK);
}

static uint64_t first_offset(const struct blob *b)
{
    struct batch_head h;
    assert_non_null(b);
    batch_head_read(b->p, &h);
    return h.base_offset;
}

/* ---------------------------------------------------------------- cases */

static void test_empty_store(void **state)
{
    struct fixture *f = fx(state);
    struct store *st = f->w.st;
    struct blob *data = NULL;
    struct store_range r;
    struct werror e;
    assert_int_equal(store_log_start(st, 7), 0);
    assert_int_equal(store_next_offset(st, 7), 0);
    assert_int_equal(store_last_append_ms(st, 7), 0);
    assert_int_equal(store_partition_bytes(st, 7), 0);
    assert_false(store_range_at(st, 7, 0, &r));
    assert_int_equal(world_read(&f->w, 7, 0, 0, 100, &data, &e), WERR_OK);
    assert_null(data);
    assert_int_equal(world_read(&f->w, 7, 5, 10, 100, &data, &e), WERR_OFFSET_OUT_OF_RANGE);
    assert_null(data);
    assert_int_equal(store_state(st), STORE_READY);
}

static void test_append_and_read(void **state)
{
    struct fixture *f = fx(state);
    struct blob *data = NULL;
    struct werror e;
    append_n(f, TABLE_LOG_7D, 3, 10, 5, 200, 1000);
    append_n(f, TABLE_LOG_7D, 4, 1, 1, 300, 1000);
    assert_int_equal(store_next_offset(f->w.st, 3), 50);
    /* every offset gives the batch that contains it */
    for (uint64_t at = 0; at < 50; at++) {
        assert_int_equal(world_read(&f->w, 3, at, 50, 1, &data, &e), WERR_OK);
        assert_int_equal(first_offset(data), at - at % 5);
        assert_int_equal(data->n, 200); /* one whole batch, although larger than asked for */
        blob_unref(data);
    }
    /* whole batches up to max_bytes */
    assert_int_equal(world_read(&f->w, 3, 0, 50, 999, &data, &e), WERR_OK);
    assert_int_equal(data->n, 800);
    blob_unref(data);
    /* nothing at or above end */
    assert_int_equal(world_read(&f->w, 3, 10, 20, 100000, &data, &e), WERR_OK);
    assert_int_equal(data->n, 400);
    blob_unref(data);
    assert_int_equal(world_read(&f->w, 3, 50, 50, 100, &data, &e), WERR_OK);
    assert_null(data);
    assert_int_equal(world_read(&f->w, 3, 51, 60, 100, &data, &e), WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(store_last_append_ms(f->w.st, 3), 1009);
    assert_int_equal(store_partition_bytes(f->w.st, 3), 2000);
}

static void test_reopen_keeps_everything(void **state)
{
    struct fixture *f = fx(state);
    f->w.roll_percent = 10;
    for (int i = 0; i < 150; i++)
        world_act(&f->w);
    world_settle(&f->w);
    world_check(&f->w, f->w.seq);
    uint64_t before = 0, after = 0;
    struct werror e;
    assert_int_equal(store_hash(f->w.st, &before, &e), WERR_OK);
    contract_reopen(f);
    assert_int_equal(store_hash(f->w.st, &after, &e), WERR_OK);
    assert_true(before == after);
    world_check(&f->w, f->w.seq);
    for (int i = 0; i < 50; i++)
        world_act(&f->w);
    world_settle(&f->w);
    world_check(&f->w, f->w.seq);
    assert_int_equal(store_hash(f->w.st, &after, &e), WERR_OK);
    assert_true(before != after);
}

static void test_kill_keeps_what_was_done(void **state)
{
    struct fixture *f = fx(state);
    if (f->c->kill == NULL)
        return; /* stated in struct contract */
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 60; i++)
            world_act(&f->w);
        if (round % 2 == 0)
            world_settle(&f->w);
        uint64_t done = f->w.done_seq;
        f->c->kill(f->w.st);
        world_open(&f->w);
        uint64_t stored = world_stored_seq(&f->w);
        assert_true(stored >= done && stored <= f->w.seq);
        world_check(&f->w, stored);
        world_cut(&f->w, stored);
    }
}

static void test_epoch_and_uuid(void **state)
{
    struct fixture *f = fx(state);
    uint8_t uuid[16];
    memcpy(uuid, store_uuid(f->w.st), sizeof(uuid));
    uint64_t epoch = store_epoch(f->w.st);
    assert_true(epoch > 0);
    for (int i = 0; i < 3; i++) {
        contract_reopen(f);
        assert_true(store_epoch(f->w.st) > epoch);
        epoch = store_epoch(f->w.st);
        assert_memory_equal(uuid, store_uuid(f->w.st), sizeof(uuid));
    }
}

struct order {
    struct fixture *f;
    unsigned n, written, expect;
    bool last;
};
struct order_txn {
    struct order *o;
    unsigned number;
    bool written;
};

static void on_ordered(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct order_txn *t = arg;
    (void)e;
    assert_int_equal(rc, WERR_OK);
    if (stage == STORE_WRITTEN) {
        assert_false(t->written);
        t->written = true;
        t->o->written++;
        return;
    }
    assert_int_equal(t->number, t->o->expect);
    t->o->expect++;
    t->o->last = t->o->expect == t->o->n;
}

static void test_completions_in_order(void **state)
{
    struct fixture *f = fx(state);
    enum { N = 300 };
    struct order o = {.f = f, .n = N};
    struct order_txn txns[N];
    for (unsigned i = 0; i < N; i++) {
        struct store_txn *t = store_txn_new(f->w.st);
        txns[i] = (struct order_txn){&o, i, false};
        uint32_t p = i % 3;
        world_txn_append(t, TABLE_LOG_1D, p, store_next_offset(f->w.st, p), 1, 100, 5);
        store_submit(f->w.st, t, i % 2 ? STORE_LAZY : STORE_SYNC, i % 3 == 0, on_ordered, &txns[i]);
        assert_int_equal(o.expect, 0); /* never inside submit */
    }
    world_wait(&f->w, &o.last);
    assert_int_equal(o.expect, N);
    assert_int_equal(o.written, N / 3);
    struct store_stats s;
    store_stats(f->w.st, &s);
    assert_int_equal(s.queued_bytes, 0);
    assert_true(s.txns >= N);
}

static void test_metadata(void **state)
{
    struct fixture *f = fx(state);
    struct buf v = {0};
    struct werror e;
    struct store_txn *t = store_txn_new(f->w.st);
    txn_put(t, TABLE_META, slice_str("ta"), slice_str("1"));
    txn_put(t, TABLE_META, slice_str("tb"), slice_str("2"));
    txn_put(t, TABLE_META, slice_str("tc"), slice_str("3"));
    txn_put(t, TABLE_DELAY, slice_str("ta"), slice_str(""));
    txn_delete(t, TABLE_META, slice_str("tb"));
    txn_put(t, TABLE_META, slice_str("ta"), slice_str("one"));
    assert_int_equal(contract_commit(f, t), WERR_OK);
    contract_reopen(f);
    assert_int_equal(store_get(f->w.st, TABLE_META, slice_str("ta"), &v, &e), WERR_OK);
    assert_true(slice_eq(buf_slice(&v), slice_str("one")));
    assert_int_equal(store_get(f->w.st, TABLE_META, slice_str("tb"), &v, &e), WERR_NOT_FOUND);
    buf_clear(&v);
    assert_int_equal(store_get(f->w.st, TABLE_DELAY, slice_str("ta"), &v, &e), WERR_OK);
    assert_int_equal(v.len, 0);
    t = store_txn_new(f->w.st);
    txn_delete_range(t, TABLE_META, slice_str("ta"), slice_str("tc"));
    txn_put(t, TABLE_META, slice_str("tb"), slice_str("again")); /* after the range: stays */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    assert_int_equal(store_get(f->w.st, TABLE_META, slice_str("ta"), &v, &e), WERR_NOT_FOUND);
    assert_int_equal(store_get(f->w.st, TABLE_META, slice_str("tb"), &v, &e), WERR_OK);
    assert_int_equal(store_get(f->w.st, TABLE_META, slice_str("tc"), &v, &e), WERR_OK);
    buf_fini(&v);
    /* every row of every table is in the hash */
    uint64_t hash[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_hash(f->w.st, &hash[i], &e), WERR_OK);
        t = store_txn_new(f->w.st);
        txn_put(t, i ? TABLE_DELAY : TABLE_META, slice_str("tz"), slice_str("x"));
        assert_int_equal(contract_commit(f, t), WERR_OK);
    }
    assert_true(hash[0] != hash[1] && hash[1] != hash[2]);
}

static void test_trim(void **state)
{
    struct fixture *f = fx(state);
    struct blob *data = NULL;
    struct werror e;
    append_n(f, TABLE_LOG_7D, 1, 10, 10, 500, 1000);
    struct store_txn *t = store_txn_new(f->w.st);
    txn_trim(t, 1, 45);
    txn_trim(t, 1, 30); /* never down */
    txn_trim(t, 99, 5); /* unknown: nothing */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_log_start(f->w.st, 1), 45);
        assert_int_equal(store_next_offset(f->w.st, 99), 0);
        assert_int_equal(world_read(&f->w, 1, 44, 100, 10, &data, &e), WERR_OFFSET_OUT_OF_RANGE);
        assert_int_equal(world_read(&f->w, 1, 45, 100, 10, &data, &e), WERR_OK);
        assert_int_equal(first_offset(data), 40); /* the batch that contains it */
        blob_unref(data);
        contract_reopen(f);
    }
    t = store_txn_new(f->w.st);
    txn_trim(t, 1, 1000); /* at most to the end */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    contract_reopen(f);
    assert_int_equal(store_log_start(f->w.st, 1), 100);
    assert_int_equal(store_next_offset(f->w.st, 1), 100);
    append_n(f, TABLE_LOG_7D, 1, 1, 1, 100, 5);
    contract_reopen(f);
    assert_int_equal(store_next_offset(f->w.st, 1), 101);
}

static void test_drop_partition(void **state)
{
    struct fixture *f = fx(state);
    append_n(f, TABLE_LOG_7D, 1, 3, 2, 500, 1000);
    append_n(f, TABLE_LOG_7D, 2, 3, 2, 500, 1000);
    world_roll(&f->w);
    world_settle(&f->w);
    append_n(f, TABLE_LOG_7D, 1, 3, 2, 500, 1000);
    struct store_txn *t = store_txn_new(f->w.st);
    txn_drop_partition(t, 1);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_next_offset(f->w.st, 1), 0);
        assert_int_equal(store_next_offset(f->w.st, 2), 6);
        struct blob *data = NULL;
        struct werror e;
        assert_int_equal(world_read(&f->w, 1, 3, 6, 100, &data, &e), WERR_OFFSET_OUT_OF_RANGE);
        assert_int_equal(world_read(&f->w, 2, 0, 6, 100000, &data, &e), WERR_OK);
        assert_int_equal(data->n, 1500);
        blob_unref(data);
        contract_reopen(f);
    }
}

static enum werr count_tail(void *arg, uint32_t partition, const struct batch_head *h)
{
    uint64_t *next = arg;
    assert_true(partition < 16);
    assert_int_equal(h->base_offset, next[partition]);
    next[partition] += h->count;
    return WERR_OK;
}

static void test_roll_and_tail(void **state)
{
    struct fixture *f = fx(state);
    struct store_range r;
    struct blob *data = NULL;
    struct werror e;
    append_n(f, TABLE_LOG_7D, 1, 4, 5, 300, 1000);
    struct store_txn *t = store_txn_new(f->w.st);
    world_txn_append(t, TABLE_LOG_7D, 1, 20, 5, 300, 2000); /* before the roll */
    txn_roll(t);
    txn_put(t, TABLE_META, slice_str("tw"), slice_str("window"));
    world_txn_append(t, TABLE_LOG_7D, 1, 25, 5, 300, 2001); /* after it */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    append_n(f, TABLE_LOG_30D, 1, 2, 5, 300, 3000); /* the class changed */
    append_n(f, TABLE_LOG_7D, 5, 2, 5, 300, 3000);
    for (int i = 0; i < 2; i++) {
        uint64_t next[16] = {[1] = 25};
        assert_int_equal(store_tail(f->w.st, count_tail, next, &e), WERR_OK);
        assert_int_equal(next[1], 40);
        assert_int_equal(next[5], 10);
        assert_true(store_range_at(f->w.st, 1, 0, &r));
        assert_true(r.sealed && r.first == 0 && r.next == 25 && r.bytes == 1500);
        assert_true(r.min_append_ms == 1000 && r.max_append_ms == 2000);
        uint32_t bucket = r.bucket;
        assert_true(store_range_at(f->w.st, 1, 1, &r));
        assert_true(!r.sealed && r.first == 25 && r.next == 30 && r.bucket == bucket + 1);
        assert_true(store_range_at(f->w.st, 1, 2, &r));
        assert_true(r.table == TABLE_LOG_30D && r.first == 30 && r.next == 40);
        assert_false(store_range_at(f->w.st, 1, 3, &r));
        /* one read crosses buckets and tables */
        assert_int_equal(world_read(&f->w, 1, 12, 40, 100000, &data, &e), WERR_OK);
        assert_int_equal(first_offset(data), 10);
        assert_int_equal(data->n, 6 * 300);
        blob_unref(data);
        contract_reopen(f);
    }
}

static void on_found(struct store_find *q)
{
    *(bool *)q->arg = true;
}

static uint64_t find(struct fixture *f, uint32_t partition, int64_t ts_ms, uint64_t end,
                     int64_t *found_ms)
{
    bool done = false;
    struct store_find q = {
        .partition = partition, .ts_ms = ts_ms, .end = end, .fn = on_found, .arg = &done};
    store_find(f->w.st, &q);
    world_wait(&f->w, &done);
    assert_int_equal(q.rc, WERR_OK);
    *found_ms = q.found_ms;
    return q.offset;
}

static void test_find_by_time(void **state)
{
    struct fixture *f = fx(state);
    int64_t ms = 0;
    for (int i = 0; i < 5; i++) {
        append_n(f, TABLE_LOG_7D, 1, 4, 10, 300, 1000 * (i + 1));
        if (i % 2 == 0)
            world_roll(&f->w);
    }
    world_settle(&f->w);
    assert_int_equal(find(f, 1, 0, 200, &ms), 0);
    assert_int_equal(ms, 1000);
    assert_int_equal(find(f, 1, 1001, 200, &ms), 10);
    assert_int_equal(find(f, 1, 1004, 200, &ms), 40);
    assert_int_equal(ms, 2000);
    assert_int_equal(find(f, 1, 5003, 200, &ms), 190);
    assert_int_equal(find(f, 1, 5004, 200, &ms), 200);
    assert_int_equal(ms, 0);
    assert_int_equal(find(f, 1, 5003, 190, &ms), 190); /* not at or above end */
    struct store_txn *t = store_txn_new(f->w.st);
    txn_trim(t, 1, 15);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    assert_int_equal(find(f, 1, 0, 200, &ms), 15);
    assert_int_equal(ms, 1001);
    assert_int_equal(find(f, 9, 0, 0, &ms), 0);
}

static void test_large_batches(void **state)
{
    struct fixture *f = fx(state);
    struct blob *data = NULL;
    struct werror e;
    append_n(f, TABLE_LOG_7D, 1, 3, 7, 100 << 10, 1000);
    append_n(f, TABLE_LOG_7D, 1, 1, 7, 15 << 20, 1000);
    append_n(f, TABLE_LOG_7D, 1, 40, 1, 10 << 10, 1000);
    contract_reopen(f);
    uint64_t at = 0;
    size_t bytes = 0;
    while (at < 68) {
        assert_int_equal(world_read(&f->w, 1, at, 68, 64 << 10, &data, &e), WERR_OK);
        struct slice run = slice_of(data->p, data->n);
        while (run.n > 0) {
            struct batch_head h;
            struct slice batch;
            assert_int_equal(batch_next(&run, true, &h, &batch, &e), WERR_OK);
            assert_int_equal(h.base_offset, at);
            at += h.count;
            bytes += batch.n;
        }
        blob_unref(data);
    }
    assert_int_equal(bytes, (3 * (100 << 10)) + (15 << 20) + 40 * (10 << 10));
}

static void test_partition_at(void **state)
{
    struct fixture *f = fx(state);
    store_partition_at(f->w.st, 1, 1000);
    assert_int_equal(store_next_offset(f->w.st, 1), 1000);
    assert_int_equal(store_log_start(f->w.st, 1), 1000);
    append_n(f, TABLE_LOG_7D, 1, 2, 5, 200, 1);
    store_partition_at(f->w.st, 1, 5000); /* too late: nothing */
    contract_reopen(f);
    assert_int_equal(store_log_start(f->w.st, 1), 1000);
    assert_int_equal(store_next_offset(f->w.st, 1), 1010);
    struct blob *data = NULL;
    struct werror e;
    assert_int_equal(world_read(&f->w, 1, 999, 1010, 1, &data, &e), WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(world_read(&f->w, 1, 1006, 1010, 1, &data, &e), WERR_OK);
    assert_int_equal(first_offset(data), 1005);
    blob_unref(data);
}

static void test_gc_frees_dead_buckets(void **state)
{
    struct fixture *f = fx(state);
    struct store_stats s;
    for (int i = 0; i < 6; i++) {
        append_n(f, TABLE_LOG_7D, 1, 20, 5, 4000, 1000);
        world_roll(&f->w);
    }
    world_settle(&f->w);
    store_stats(f->w.st, &s);
    assert_int_equal(s.buckets, 7);
    struct store_txn *t = store_txn_new(f->w.st);
    txn_trim(t, 1, 400); /* four whole buckets */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    world_gc(&f->w);
    store_stats(f->w.st, &s);
    assert_int_equal(s.buckets, 3);
    assert_int_equal(s.reclaimed_bytes, 4 * 80000);
    assert_int_equal(s.moved_bytes, 0);
    assert_int_equal(s.live_bytes, 2 * 80000);
    contract_reopen(f);
    struct blob *data = NULL;
    struct werror e;
    assert_int_equal(world_read(&f->w, 1, 400, 600, 1 << 20, &data, &e), WERR_OK);
    assert_int_equal(data->n, 160000);
    blob_unref(data);
}

static void test_gc_moves_survivors(void **state)
{
    struct fixture *f = fx(state);
    struct store_stats s;
    uint64_t before = 0, after = 0;
    struct werror e;
    for (uint32_t p = 1; p <= 10; p++)
        append_n(f, TABLE_LOG_7D, p, 10, 5, 5000, 1000);
    world_roll(&f->w);
    world_settle(&f->w);
    for (uint32_t p = 1; p <= 8; p++) { /* 80 % dead */
        struct store_txn *t = store_txn_new(f->w.st);
        txn_trim(t, p, 50);
        assert_int_equal(contract_commit(f, t), WERR_OK);
    }
    world_gc(&f->w);
    store_stats(f->w.st, &s);
    assert_int_equal(s.buckets, 1);
    assert_int_equal(s.moved_bytes, 100000); /* nothing but the survivors */
    assert_int_equal(s.reclaimed_bytes, 500000);
    struct store_range r;
    assert_true(store_range_at(f->w.st, 9, 0, &r));
    assert_int_equal(r.table, TABLE_HOLD);
    append_n(f, TABLE_LOG_7D, 9, 1, 5, 5000, 2000);
    assert_int_equal(store_hash(f->w.st, &before, &e), WERR_OK);
    contract_reopen(f);
    assert_int_equal(store_hash(f->w.st, &after, &e), WERR_OK);
    assert_true(before == after);
    struct blob *data = NULL;
    assert_int_equal(world_read(&f->w, 9, 0, 55, 1 << 20, &data, &e), WERR_OK);
    assert_int_equal(data->n, 55000);
    blob_unref(data);
    /* what was moved is not the tail */
    uint64_t next[16] = {[9] = 50};
    assert_int_equal(store_tail(f->w.st, count_tail, next, &e), WERR_OK);
}

static void test_random_with_gc(void **state)
{
    struct fixture *f = fx(state);
    f->w.roll_percent = 6;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 60; i++) {
            world_act(&f->w);
            if (i % 9 == 0)
                store_gc(f->w.st, 0);
            if (i % 4 == 0)
                store_poll(f->w.st);
        }
        world_settle(&f->w);
        world_gc(&f->w);
        world_check(&f->w, f->w.seq);
        contract_reopen(f);
        world_check(&f->w, f->w.seq);
    }
}

static void test_many_partitions(void **state)
{
    struct fixture *f = fx(state);
    enum { N = 3000 };
    struct store_txn *t = store_txn_new(f->w.st);
    for (uint32_t p = 0; p < N; p++)
        world_txn_append(t, TABLE_LOG_7D, p, 0, 1, 100, 1000);
    txn_roll(t);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    t = store_txn_new(f->w.st);
    for (uint32_t p = 0; p < N; p += 2)
        txn_drop_partition(t, p);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    contract_reopen(f);
    for (uint32_t p = 0; p < N; p++)
        assert_int_equal(store_next_offset(f->w.st, p), p % 2);
}

static enum werr count_record(void *arg, uint64_t lsn, struct slice rec)
{
    uint64_t *last = arg;
    struct rep_iter it;
    struct rep_op op;
    struct werror e;
    assert_true(*last == 0 || lsn == *last + 1);
    *last = lsn;
    enum werr rc = rep_open(&it, rec, &e);
    while (rc == WERR_OK)
        rc = rep_next(&it, &op, &e);
    return rc == WERR_NOT_FOUND ? WERR_OK : rc;
}

static void test_replay(void **state)
{
    struct fixture *f = fx(state);
    struct store_stats s;
    struct werror e;
    if (!f->c->replays)
        return; /* stated in struct contract */
    for (int i = 0; i < 40; i++) {
        world_act(&f->w);
        if (i % 3 == 0)
            world_settle(&f->w);
    }
    world_settle(&f->w);
    uint64_t last = 0;
    assert_int_equal(store_replay(f->w.st, 1, count_record, &last, &e), WERR_OK);
    store_stats(f->w.st, &s);
    assert_int_equal(last, s.lsn);
    assert_true(s.lsn > 10);
    last = 0;
    assert_int_equal(store_replay(f->w.st, s.lsn - 2, count_record, &last, &e), WERR_OK);
    assert_int_equal(last, s.lsn);
}

static unsigned n_closed;

static void on_closed_read(struct store_read *r)
{
    assert_true(r->rc == WERR_OK || r->rc == WERR_CLOSED);
    blob_unref(r->data);
    n_closed++;
}

static void test_close_answers_everything(void **state)
{
    struct fixture *f = fx(state);
    enum { N = 50 };
    static struct store_read reads[N];
    static struct outcome outcomes[N];
    memset(outcomes, 0, sizeof(outcomes));
    append_n(f, TABLE_LOG_7D, 1, 10, 1, 1000, 1000);
    n_closed = 0;
    for (unsigned i = 0; i < N; i++) {
        reads[i] = (struct store_read){
            .partition = 1, .offset = i % 10, .end = 10, .max_bytes = 5000, .fn = on_closed_read};
        store_read(f->w.st, &reads[i]);
        struct store_txn *t = store_txn_new(f->w.st);
        world_txn_append(t, TABLE_LOG_7D, 2, i, 1, 100, 1);
        store_submit(f->w.st, t, STORE_LAZY, false, on_outcome, &outcomes[i]);
    }
    world_close(&f->w);
    assert_int_equal(n_closed, N);
    for (unsigned i = 0; i < N; i++)
        assert_true(outcomes[i].done && outcomes[i].rc == WERR_OK);
    world_open(&f->w);
    assert_int_equal(store_next_offset(f->w.st, 2), N);
}

/* ---------------------------------------------------------------- running */

static const struct contract *running;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->c = running;
    f->disk = running->disk_new();
    f->env = (struct world_env){f->disk, running->open, running->stepped, running->step};
    world_init(&f->w, &f->env, 1);
    world_open(&f->w);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    world_fini(&f->w);
    f->c->disk_free(f->disk);
    free(f);
    return 0;
}

int contract_run(const struct contract *c)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_empty_store),
        CASE(test_append_and_read),
        CASE(test_reopen_keeps_everything),
        CASE(test_kill_keeps_what_was_done),
        CASE(test_epoch_and_uuid),
        CASE(test_completions_in_order),
        CASE(test_metadata),
        CASE(test_trim),
        CASE(test_drop_partition),
        CASE(test_roll_and_tail),
        CASE(test_find_by_time),
        CASE(test_large_batches),
        CASE(test_partition_at),
        CASE(test_gc_frees_dead_buckets),
        CASE(test_gc_moves_survivors),
        CASE(test_random_with_gc),
        CASE(test_many_partitions),
        CASE(test_replay),
        CASE(test_close_answers_everything),
        CASE(contract_rows_limits),
        CASE(contract_rows_deleted),
        CASE(contract_rows_pages),
        CASE(contract_rows_while_closing),
    };
#undef CASE
    running = c;
    return cmocka_run_group_tests_name(c->name, tests, NULL, NULL);
}
