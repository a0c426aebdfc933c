/* The store in memory by itself: stepping, power cuts, damage that recovery has to notice. */
#include "storage/store_mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "storage/clog_mem.h"
#include "storage/front.h"
#include "storage/kv_mem.h"
#include "storage/rep.h"
#include "storage/rows.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"

static struct store *open_mode(void *disk, enum store_mem_mode mode, const struct store_conf *conf)
{
    struct store *st = NULL;
    struct werror e;
    if (store_open_mem(&st, disk, mode, conf, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

static struct store *open_stepped(void *disk, const struct store_conf *conf)
{
    return open_mode(disk, STORE_MEM_STEPPED, conf);
}

static struct store *open_threaded(void *disk, const struct store_conf *conf)
{
    return open_mode(disk, STORE_MEM_THREADED, conf);
}

/* ---------------------------------------------------------------- stepping */

struct seen {
    unsigned written, done;
};

static void on_stage(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct seen *s = arg;
    (void)e;
    assert_int_equal(rc, WERR_OK);
    if (stage == STORE_WRITTEN)
        s->written++;
    else
        s->done++;
}

static void test_written_then_done(void **state)
{
    (void)state;
    struct memdisk *d = memdisk_new();
    struct store_conf conf = {0};
    struct store *st = open_stepped(d, &conf);
    struct seen s = {0, 0};
    struct blob *data = NULL;
    for (int i = 0; i < 3; i++) {
        struct store_txn *t = store_txn_new(st);
        world_txn_append(t, TABLE_LOG_7D, 1, (uint64_t)i, 1, 100, 1);
        store_submit(st, t, STORE_SYNC, true, on_stage, &s);
    }
    store_poll(st);
    assert_int_equal(s.written, 0);
    store_step_write(st);
    assert_int_equal(s.written, 0); /* nothing outside of store_poll */
    store_poll(st);
    assert_true(s.written == 3 && s.done == 0);
    store_step_sync(st);
    assert_int_equal(s.done, 0);
    store_poll(st);
    assert_true(s.written == 3 && s.done == 3);
    struct store_stats stats;
    store_stats(st, &stats);
    assert_int_equal(stats.groups, 1); /* one group for all three */
    (void)data;
    store_close(st);
    memdisk_free(d);
}

static uint64_t run_fixed(uint64_t seed)
{
    struct memdisk *d = memdisk_new();
    struct world_env env = {d, open_stepped, true, store_step};
    struct world w;
    struct werror e;
    uint64_t hash = 0;
    world_init(&w, &env, seed);
    world_open(&w);
    for (int i = 0; i < 200; i++) {
        world_act(&w);
        if (i % 5 == 0)
            store_gc(w.st, (int64_t)i << 30);
        if (i % 3 == 0)
            store_step(w.st);
    }
    world_settle(&w);
    world_gc(&w);
    assert_int_equal(store_hash(w.st, &hash, &e), WERR_OK);
    world_fini(&w);
    memdisk_free(d);
    return hash;
}

static void test_stepped_is_deterministic(void **state)
{
    (void)state;
    assert_true(run_fixed(7) == run_fixed(7));
    assert_true(run_fixed(7) != run_fixed(8));
}

/* ---------------------------------------------------------------- power cuts */

static uint64_t n_seeds = 15;

static void crash_once(struct world *w, struct memdisk *d)
{
    unsigned n = (unsigned)world_random(w, 60);
    for (unsigned i = 0; i < n; i++) {
        world_act(w);
        switch (world_random(w, 6)) {
        case 0:
            store_step_write(w->st);
            break;
        case 1:
            store_step_sync(w->st);
            break;
        case 2:
            store_poll(w->st);
            break;
        case 3:
            store_gc(w->st, (int64_t)i << 30);
            break;
        default:
            break;
        }
    }
    uint64_t done = w->done_seq;
    store_abandon(w->st);
    if (world_random(w, 3) != 0)
        memdisk_crash(d, (unsigned)world_random(w, 4));
    if (world_random(w, 5) == 0)
        memdisk_forget_tables(d);
    world_open(w);
    uint64_t stored = world_stored_seq(w);
    assert_true(stored >= done);   /* everything done is there */
    assert_true(stored <= w->seq); /* nothing that was never submitted is */
    world_check(w, stored);        /* and what is there is a prefix, whole txns, dense */
    world_cut(w, stored);
}

static void test_power_cuts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        print_message("SEED=%llu\n", (unsigned long long)seed);
        struct memdisk *d = memdisk_new();
        struct world_env env = {d, open_stepped, true, store_step};
        struct world w;
        world_init(&w, &env, seed);
        w.roll_percent = 5;
        world_open(&w);
        for (int i = 0; i < 12; i++)
            crash_once(&w, d);
        world_fini(&w);
        memdisk_free(d);
    }
}

/* A crash forgets exactly what was not synced. */
static void test_crash_keeps_a_prefix(void **state)
{
    (void)state;
    for (unsigned keep = 0; keep < 5; keep++) {
        struct memdisk *d = memdisk_new();
        struct store_conf conf = {0};
        struct store *st = open_stepped(d, &conf);
        for (unsigned i = 0; i < 4; i++) {
            struct store_txn *t = store_txn_new(st);
            world_txn_append(t, TABLE_LOG_7D, 1, i, 1, 100, 1);
            store_submit(st, t, STORE_SYNC, false, NULL, NULL);
            store_step_write(st);
            if (i == 0)
                store_step_sync(st);
        }
        store_abandon(st);
        memdisk_crash(d, keep);
        st = open_stepped(d, &conf);
        assert_int_equal(store_next_offset(st, 1), 1 + (keep < 3 ? keep : 3));
        store_close(st);
        memdisk_free(d);
    }
}

static void test_log_limit(void **state)
{
    (void)state;
    struct memdisk *d = memdisk_new();
    struct world_env env = {d, open_threaded, false, NULL};
    struct world w;
    memdisk_log_limit(d, 20000);
    world_init(&w, &env, 3);
    for (int i = 0; i < 3; i++) {
        world_open(&w);
        for (int j = 0; j < 200; j++)
            world_act(&w);
        world_settle(&w);
        world_check(&w, w.seq);
        world_close(&w);
        memdisk_forget_tables(d); /* must do nothing: the log no longer holds everything */
    }
    world_open(&w);
    world_check(&w, w.seq);
    world_fini(&w);
    memdisk_free(d);
}

/* ---------------------------------------------------------------- damage */

/* A disk that the test can damage by records of its own. */
struct raw {
    struct memlog *log;
    struct memkv *kv;
};

static enum werr raw_open(struct raw *r, const struct store_conf *conf,
                          const struct kv_floor *floor, struct store **st, struct werror *e)
{
    struct clog *l = NULL;
    assert_int_equal(memlog_open(r->log, false, NULL, &l, e), WERR_OK);
    return front_open(st, memkv_open(r->kv), l, FRONT_STEPPED, conf, floor, e);
}

static void raw_fill(struct raw *r)
{
    struct store_conf conf = {0};
    struct store *st = NULL;
    struct werror e;
    r->log = memlog_new();
    r->kv = memkv_new();
    assert_int_equal(raw_open(r, &conf, NULL, &st, &e), WERR_OK);
    /* partition 4: bucket 0 = [0, 30), bucket 1 = [30, 60), active = [60, 90) in three records */
    for (unsigned i = 0; i < 9; i++) {
        struct store_txn *t = store_txn_new(st);
        world_txn_append(t, TABLE_LOG_7D, 4, i * 10, 10, 200, 1000 + i);
        world_txn_append(t, TABLE_LOG_1D, 5, i, 1, 100, 1000 + i);
        if (i % 3 == 2 && i < 8)
            txn_roll(t);
        store_submit(st, t, STORE_SYNC, false, NULL, NULL);
        store_step(st);
    }
    store_close(st);
}

static void raw_free(struct raw *r)
{
    memlog_free(r->log);
    memkv_free(r->kv);
}

static void raw_delete(struct raw *r, enum store_table t, struct meta_key k)
{
    struct buf rep = {0};
    struct werror e;
    rep_begin(&rep);
    rep_delete(&rep, t, key_slice(&k));
    assert_int_equal(memkv_apply(r->kv, buf_slice(&rep), &e), WERR_OK);
    buf_fini(&rep);
}

/* Refused with a text that holds `part`; with acceptance it opens, goes on, and opens again. */
static void expect_loss(struct raw *r, const struct kv_floor *floor, const char *part,
                        uint64_t next4)
{
    struct store_conf conf = {0};
    struct store *st = NULL;
    struct werror e = {0};
    assert_int_equal(raw_open(r, &conf, floor, &st, &e), WERR_DATA_LOSS);
    if (strstr(e.text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, e.text);
    /* refusing changed nothing */
    assert_int_equal(raw_open(r, &conf, floor, &st, &e), WERR_DATA_LOSS);
    conf.accept_data_loss = true;
    if (raw_open(r, &conf, floor, &st, &e) != WERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(store_next_offset(st, 4), next4); /* offsets are never given twice */
    struct store_txn *t = store_txn_new(st);
    world_txn_append(t, TABLE_LOG_7D, 4, next4, 1, 100, 5000);
    store_submit(st, t, STORE_SYNC, false, NULL, NULL);
    store_step(st);
    store_close(st);
    conf.accept_data_loss = false;
    if (raw_open(r, &conf, NULL, &st, &e) != WERR_OK)
        fail_msg("%s", e.text);
    assert_int_equal(store_next_offset(st, 4), next4 + 1);
    store_close(st);
}

static void test_lost_sealed_bucket(void **state)
{
    (void)state;
    struct raw r;
    raw_fill(&r);
    raw_delete(&r, TABLE_META, meta_key_32(META_BUCKET, 1));
    expect_loss(&r, NULL, "partition 4: offsets 30 to 59", 90);
    raw_free(&r);
}

static void test_lost_row_in_active_bucket(void **state)
{
    (void)state;
    struct raw r;
    raw_fill(&r);
    raw_delete(&r, TABLE_LOG_7D, log_meta_key(2, 4, 70));
    expect_loss(&r, NULL, "bucket 2 has 5 rows", 90);
    raw_free(&r);
    raw_fill(&r);
    raw_delete(&r, TABLE_LOG_7D, log_meta_key(2, 4, 80)); /* the last one: only the sum tells */
    expect_loss(&r, NULL, "bucket 2 has 5 rows of 700 bytes, not 6 of 900", 80);
    raw_free(&r);
}

static void test_below_the_floor(void **state)
{
    (void)state;
    struct raw r;
    struct store_conf conf = {0};
    struct store *st = NULL;
    struct werror e;
    uint8_t uuid[16];
    raw_fill(&r);
    assert_int_equal(raw_open(&r, &conf, NULL, &st, &e), WERR_OK);
    struct store_stats s;
    store_stats(st, &s);
    memcpy(uuid, store_uuid(st), sizeof(uuid));
    store_close(st);
    struct floor_mark marks[] = {{4, 90}, {5, 9}};
    struct kv_floor f = {.seq = 3, .epoch = s.epoch, .lsn = s.lsn, .marks = marks, .n_marks = 2};
    memcpy(f.store_uuid, uuid, sizeof(uuid));
    f.clean = true;
    assert_int_equal(raw_open(&r, &conf, &f, &st, &e), WERR_OK); /* reached exactly */
    store_close(st);
    assert_int_equal(raw_open(&r, &conf, &f, &st, &e), WERR_DATA_LOSS); /* not clean any more */
    f.clean = false;
    f.lsn = s.lsn + 10;
    assert_int_equal(raw_open(&r, &conf, &f, &st, &e), WERR_DATA_LOSS);
    assert_non_null(strstr(e.text, "record"));
    f.lsn = s.lsn;
    f.store_uuid[0] ^= 1;
    assert_int_equal(raw_open(&r, &conf, &f, &st, &e), WERR_DATA_LOSS);
    assert_non_null(strstr(e.text, "another store"));
    f.store_uuid[0] ^= 1;
    marks[0].next_offset = 120;
    expect_loss(&r, &f, "partition 4: offsets 90 to 119", 120);
    raw_free(&r);
}

/* A hole that was accepted is read across, and it stays accepted through rolls and gc. */
static void test_reading_over_a_hole(void **state)
{
    (void)state;
    struct raw r;
    struct store_conf conf = {.accept_data_loss = true};
    struct store *st = NULL;
    struct werror e;
    raw_fill(&r);
    raw_delete(&r, TABLE_META, meta_key_32(META_BUCKET, 1));
    assert_int_equal(raw_open(&r, &conf, NULL, &st, &e), WERR_OK);
    struct store_txn *t = store_txn_new(st);
    txn_roll(t);
    store_submit(st, t, STORE_SYNC, false, NULL, NULL);
    store_step(st);
    store_close(st);
    conf.accept_data_loss = false;
    struct world_env env = {NULL, NULL, true, store_step};
    struct world w;
    world_init(&w, &env, 1);
    assert_int_equal(raw_open(&r, &conf, NULL, &w.st, &e), WERR_OK);
    for (int i = 0; i < 3; i++) { /* orphans: the rows of the lost bucket go away */
        store_gc(w.st, (int64_t)i << 31);
        store_step(w.st);
    }
    struct blob *data = NULL;
    assert_int_equal(world_read(&w, 4, 20, 90, 100000, &data, &e), WERR_OK);
    assert_int_equal(data->n, 4 * 200);
    blob_unref(data);
    assert_int_equal(world_read(&w, 4, 45, 90, 100, &data, &e), WERR_OK);
    struct batch_head h;
    batch_head_read(data->p, &h);
    assert_int_equal(h.base_offset, 60);
    blob_unref(data);
    world_fini(&w);
    raw_free(&r);
}

static void test_damaged_row_is_an_error(void **state)
{
    (void)state;
    struct raw r;
    struct world_env env = {NULL, NULL, true, store_step};
    struct world w;
    struct werror e;
    struct blob *data = NULL;
    struct buf rep = {0};
    raw_fill(&r);
    world_init(&w, &env, 1);
    assert_int_equal(raw_open(&r, &w.conf, NULL, &w.st, &e), WERR_OK);
    /* a row of a sealed bucket loses a byte's worth of truth, another one vanishes */
    struct batch_head h;
    struct blob *b = world_batch(4, 10, 10, 200, 1001, &h);
    b->p[150] ^= 0x40;
    struct meta_key k = log_meta_key(0, 4, 10);
    rep_begin(&rep);
    rep_put(&rep, TABLE_LOG_7D, key_slice(&k), slice_of(b->p, b->n));
    assert_int_equal(memkv_apply(r.kv, buf_slice(&rep), &e), WERR_OK);
    raw_delete(&r, TABLE_LOG_7D, log_meta_key(1, 4, 50));
    assert_int_equal(world_read(&w, 4, 0, 90, 1, &data, &e), WERR_OK);
    blob_unref(data);
    assert_int_equal(world_read(&w, 4, 0, 90, 100000, &data, &e), WERR_CORRUPT);
    assert_int_equal(world_read(&w, 4, 30, 90, 100000, &data, &e), WERR_CORRUPT);
    assert_non_null(strstr(e.text, "partition 4: offset 50"));
    assert_int_equal(world_read(&w, 4, 60, 90, 100000, &data, &e), WERR_OK);
    blob_unref(data);
    blob_unref(b);
    buf_fini(&rep);
    world_fini(&w);
    raw_free(&r);
}

static void test_newer_format_is_refused(void **state)
{
    (void)state;
    struct raw r;
    struct store_conf conf = {0};
    struct store *st = NULL;
    struct werror e;
    struct buf rep = {0}, v = {0};
    raw_fill(&r);
    struct identity id = {.format = STORE_FORMAT + 1, .tables = TABLE_COUNT};
    identity_encode(&v, &id);
    struct meta_key k = meta_key(META_IDENTITY);
    rep_begin(&rep);
    rep_put(&rep, TABLE_META, key_slice(&k), buf_slice(&v));
    assert_int_equal(memkv_apply(r.kv, buf_slice(&rep), &e), WERR_OK);
    assert_int_equal(raw_open(&r, &conf, NULL, &st, &e), WERR_FORMAT_NEWER);
    conf.accept_data_loss = true;
    assert_int_equal(raw_open(&r, &conf, NULL, &st, &e), WERR_FORMAT_NEWER);
    buf_fini(&rep);
    buf_fini(&v);
    raw_free(&r);
}

/* ---------------------------------------------------------------- floor and free space */

/* A kv in memory that keeps the last floor, and a disk whose size the test decides. */
struct spy {
    pthread_mutex_t mu;
    unsigned n_floors, n_clean;
    uint64_t lsn, next4;
    bool saw4;
    uint64_t free_bytes;
    struct kv_ops ops;
};
static struct spy spy = {.mu = PTHREAD_MUTEX_INITIALIZER};

static enum werr spy_floor(struct kv *k, const struct kv_floor *f, struct werror *e)
{
    (void)k;
    (void)e;
    pthread_mutex_lock(&spy.mu);
    spy.n_floors++;
    spy.n_clean += f->clean;
    assert_true(f->lsn >= spy.lsn);
    spy.lsn = f->lsn;
    spy.saw4 = false;
    for (size_t i = 0; i < f->n_marks; i++) {
        if (f->marks[i].partition == 4) {
            assert_true(f->marks[i].next_offset >= spy.next4);
            spy.next4 = f->marks[i].next_offset;
            spy.saw4 = true;
        }
    }
    pthread_mutex_unlock(&spy.mu);
    return WERR_OK;
}

static void spy_stats(struct kv *k, struct kv_stats *s)
{
    (void)k;
    *s = (struct kv_stats){.total_bytes = 1000000, .free_bytes = spy.free_bytes};
}

static struct store *spy_open(struct raw *r, enum front_mode mode, const struct store_conf *conf)
{
    struct clog *l = NULL;
    struct store *st = NULL;
    struct werror e;
    struct kv *kv = memkv_open(r->kv);
    spy.n_floors = spy.n_clean = 0;
    spy.lsn = spy.next4 = 0;
    spy.ops = *kv->ops;
    spy.ops.floor_write = spy_floor;
    spy.ops.stats = spy_stats;
    spy.free_bytes = 900000;
    kv->ops = &spy.ops;
    assert_int_equal(memlog_open(r->log, mode == FRONT_THREADED, NULL, &l, &e), WERR_OK);
    if (front_open(&st, kv, l, mode, conf, NULL, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

/* By itself, soon after the queue went idle; never above what is durable; clean at the end. */
static void test_floor_follows(void **state)
{
    (void)state;
    struct raw r = {memlog_new(), memkv_new()};
    struct store_conf conf = {0};
    struct store *st = spy_open(&r, FRONT_THREADED, &conf);
    struct store_stats s;
    struct timespec from, now;
    for (unsigned i = 0; i < 20; i++) {
        struct store_txn *t = store_txn_new(st);
        world_txn_append(t, TABLE_LOG_7D, 4, i, 1, 100, 1);
        store_submit(st, t, STORE_SYNC, false, NULL, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    uint64_t next = 0;
    while (next != 20) { /* no record follows: only idleness can bring the floor up to date */
        store_poll(st);
        pthread_mutex_lock(&spy.mu);
        next = spy.next4;
        pthread_mutex_unlock(&spy.mu);
        clock_gettime(CLOCK_MONOTONIC, &now);
        assert_true(now.tv_sec - from.tv_sec < 20);
    }
    pthread_mutex_lock(&spy.mu);
    assert_true(spy.n_floors < 10); /* not one for each record */
    assert_int_equal(spy.n_clean, 0);
    pthread_mutex_unlock(&spy.mu);
    struct store_txn *t = store_txn_new(st);
    txn_drop_partition(t, 4);
    store_submit(st, t, STORE_SYNC, false, NULL, NULL);
    store_stats(st, &s);
    store_close(st);
    assert_int_equal(spy.n_clean, 1);
    assert_false(spy.saw4); /* dropped: it may not be missed */
    raw_free(&r);
}

static void test_low_space(void **state)
{
    (void)state;
    struct raw r = {memlog_new(), memkv_new()};
    struct store_conf conf = {.min_free_bytes = 160000};
    struct store *st = spy_open(&r, FRONT_STEPPED, &conf);
    static const struct {
        uint64_t free_bytes;
        enum store_state want;
    } steps[] = {{900000, STORE_READY}, {160000, STORE_READY}, {159999, STORE_FULL},
                 {165000, STORE_FULL},  {170000, STORE_READY}, {165000, STORE_READY},
                 {0, STORE_FULL},       {900000, STORE_READY}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        spy.free_bytes = steps[i].free_bytes;
        store_step(st);
        assert_int_equal(store_state(st), steps[i].want);
        assert_int_equal(store_state_reason(st)->text[0] != 0, steps[i].want == STORE_FULL);
        /* what frees space still goes through */
        struct seen s = {0, 0};
        struct store_txn *t = store_txn_new(st);
        txn_trim(t, 1, 5);
        store_submit(st, t, STORE_SYNC, false, on_stage, &s);
        store_step(st);
        assert_int_equal(s.done, 1);
    }
    store_close(st);
    raw_free(&r);
}

/* ---------------------------------------------------------------- space and slow readers */

static struct {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool closed, waiting;
    enum werr (*iter_open)(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                           bool bulk, struct kv_iter **out, struct werror *e);
} gate = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

/* Only large reads of a log table wait: not gc's own look at the tables. */
static enum werr gate_iter_open(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                                bool bulk, struct kv_iter **out, struct werror *e)
{
    pthread_mutex_lock(&gate.mu);
    while (gate.closed && bulk && t == TABLE_LOG_7D) {
        gate.waiting = true;
        pthread_cond_broadcast(&gate.cond);
        pthread_cond_wait(&gate.cond, &gate.mu);
    }
    pthread_mutex_unlock(&gate.mu);
    return gate.iter_open(k, t, lo, hi, bulk, out, e);
}

static void gate_set(bool closed)
{
    pthread_mutex_lock(&gate.mu);
    gate.closed = closed;
    gate.waiting = false;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.mu);
}

static void on_slow_read(struct store_read *r)
{
    *(bool *)r->arg = true;
}

/* A read that was planned before its rows died still finds all of them, however late it runs. */
static void test_nothing_is_freed_under_a_reader(void **state)
{
    (void)state;
    struct raw r = {memlog_new(), memkv_new()};
    struct store_conf conf = {0};
    struct store *st = spy_open(&r, FRONT_THREADED, &conf);
    struct store_stats s;
    bool done = false;
    gate.iter_open = spy.ops.iter_open;
    spy.ops.iter_open = gate_iter_open; /* no reader runs yet */
    struct store_txn *t = store_txn_new(st);
    for (unsigned i = 0; i < 10; i++)
        world_txn_append(t, TABLE_LOG_7D, 1, i, 1, 100, 1);
    txn_roll(t);
    struct seen seen = {0, 0};
    store_submit(st, t, STORE_SYNC, false, on_stage, &seen);
    while (seen.done < 1)
        store_poll(st);
    gate_set(true);
    struct store_read read = {
        .partition = 1, .end = 10, .max_bytes = 1 << 20, .fn = on_slow_read, .arg = &done};
    store_read(st, &read);
    pthread_mutex_lock(&gate.mu);
    while (!gate.waiting)
        pthread_cond_wait(&gate.cond, &gate.mu);
    pthread_mutex_unlock(&gate.mu);
    t = store_txn_new(st);
    txn_trim(t, 1, 10);
    store_submit(st, t, STORE_SYNC, false, on_stage, &seen);
    for (unsigned i = 1; i < 50; i++) { /* a record after each pass: what gc began is through */
        store_gc(st, (int64_t)i << 31);
        store_submit(st, store_txn_new(st), STORE_SYNC, false, on_stage, &seen);
        while (seen.done < 2 + i)
            store_poll(st);
    }
    store_stats(st, &s);
    assert_int_equal(s.reclaimed_bytes, 0);
    assert_false(done);
    gate_set(false);
    while (!done)
        store_poll(st);
    assert_int_equal(read.rc, WERR_OK);
    assert_int_equal(read.data->n, 1000);
    blob_unref(read.data);
    while (s.reclaimed_bytes == 0) {
        store_gc(st, 0);
        store_poll(st);
        store_stats(st, &s);
    }
    store_close(st);
    raw_free(&r);
}

/* ---------------------------------------------------------------- threads */

struct stress {
    struct world *w;
    struct store_read reads[16];
    unsigned open, n;
};

static void on_stress_read(struct store_read *r)
{
    struct stress *s = r->arg;
    assert_true(r->rc == WERR_OK || r->rc == WERR_OFFSET_OUT_OF_RANGE);
    struct slice run = {0}, batch;
    struct batch_head h;
    struct werror e;
    uint64_t expect = 0;
    if (r->data != NULL)
        run = slice_of(r->data->p, r->data->n);
    while (run.n > 0) {
        assert_int_equal(batch_next(&run, true, &h, &batch, &e), WERR_OK);
        assert_true(expect == 0 ? h.base_offset <= r->offset : h.base_offset == expect);
        expect = h.base_offset + h.count;
    }
    blob_unref(r->data);
    r->max_bytes = 0; /* free */
    s->open--;
    s->n++;
}

static void stress_read(struct stress *s, uint64_t *durable)
{
    struct world *w = s->w;
    for (unsigned i = 0; i < 16; i++) {
        uint32_t p = (uint32_t)world_random(w, WORLD_PARTITIONS);
        uint64_t start = store_log_start(w->st, p);
        if (s->reads[i].max_bytes != 0 || durable[p] <= start)
            continue;
        s->reads[i] = (struct store_read){.partition = p,
                                          .offset = start + world_random(w, durable[p] - start),
                                          .end = durable[p],
                                          .max_bytes = 1 + (uint32_t)world_random(w, 50000),
                                          .fn = on_stress_read,
                                          .arg = s};
        s->open++;
        store_read(w->st, &s->reads[i]);
    }
}

static void test_threads_under_load(void **state)
{
    (void)state;
    struct memdisk *d = memdisk_new();
    struct world_env env = {d, open_threaded, false, NULL};
    struct world w;
    world_init(&w, &env, 11);
    w.conf.readers = 3;
    w.roll_percent = 4;
    world_open(&w);
    struct stress s = {.w = &w};
    uint64_t durable[WORLD_PARTITIONS] = {0};
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 40; i++)
            world_act(&w);
        stress_read(&s, durable);
        store_gc(w.st, (int64_t)round << 30);
        struct store_stats st;
        store_stats(w.st, &st);
        (void)store_state(w.st);
        store_poll(w.st);
        if (round % 3 == 0) {
            world_settle(&w);
            for (uint32_t p = 0; p < WORLD_PARTITIONS; p++)
                durable[p] = store_next_offset(w.st, p);
        }
    }
    world_settle(&w);
    world_gc(&w);
    while (s.open > 0)
        store_poll(w.st);
    assert_true(s.n > 50);
    world_check(&w, w.seq);
    world_close(&w);
    world_open(&w);
    world_check(&w, w.seq);
    world_fini(&w);
    memdisk_free(d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_then_done),
        cmocka_unit_test(test_stepped_is_deterministic),
        cmocka_unit_test(test_crash_keeps_a_prefix),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_log_limit),
        cmocka_unit_test(test_lost_sealed_bucket),
        cmocka_unit_test(test_lost_row_in_active_bucket),
        cmocka_unit_test(test_below_the_floor),
        cmocka_unit_test(test_reading_over_a_hole),
        cmocka_unit_test(test_damaged_row_is_an_error),
        cmocka_unit_test(test_newer_format_is_refused),
        cmocka_unit_test(test_floor_follows),
        cmocka_unit_test(test_low_space),
        cmocka_unit_test(test_nothing_is_freed_under_a_reader),
        cmocka_unit_test(test_threads_under_load),
    };
    if (argc > 1)
        n_seeds = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
