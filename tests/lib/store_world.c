#include "tests/lib/store_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "proto/crc32c.h"
#include "tests/lib/test.h"

enum { DEADLINE_S = 60, MAX_TURNS = 200000 };

/* ---------------------------------------------------------------- waking up */

struct pump {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool woken;
};

static void on_wakeup(void *arg)
{
    struct pump *p = arg;
    pthread_mutex_lock(&p->mu);
    p->woken = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mu);
}

/* Waits for a wakeup of the store; fails the test after the deadline. */
static void pump_wait(struct pump *p)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&p->mu);
    int rc = 0;
    while (!p->woken && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->cond, &p->mu, &ts);
    bool woken = p->woken;
    p->woken = false;
    pthread_mutex_unlock(&p->mu);
    if (!woken)
        fail_msg("the store did not wake its owner in %d s", DEADLINE_S);
}

static void turn(struct world *w)
{
    if (w->env->stepped)
        w->env->step(w->st);
    else
        pump_wait(w->pump);
    store_poll(w->st);
}

/* ---------------------------------------------------------------- life */

/* Kept until the end: a killed store never answers. */
struct pending {
    struct pending *next;
    struct world *w;
    uint64_t seq;
    bool want_written, written;
};

static void pendings_free(struct world *w)
{
    while (w->pendings != NULL) {
        struct pending *p = w->pendings;
        w->pendings = p->next;
        free(p);
    }
}

void world_init(struct world *w, const struct world_env *env, uint64_t seed)
{
    *w = (struct world){.env = env, .random = seed * 2654435761U + 88172645463325252U};
    w->pump = calloc(1, sizeof(*w->pump));
    assert_non_null(w->pump);
    pthread_mutex_init(&w->pump->mu, NULL);
    pthread_cond_init(&w->pump->cond, NULL);
    w->now_ms = 1000000;
    w->roll_percent = 3;
    w->max_batch_bytes = 3000;
    w->conf.bucket_bytes = 1 << 20;
    w->conf.memory_bytes = 64 << 20;
    w->conf.min_free_bytes = 1;
}

void world_fini(struct world *w)
{
    if (w->st != NULL)
        store_close(w->st);
    pthread_mutex_destroy(&w->pump->mu);
    pthread_cond_destroy(&w->pump->cond);
    free(w->pump);
    free(w->ops);
    pendings_free(w);
}

void world_open(struct world *w)
{
    w->conf.wakeup = on_wakeup;
    w->conf.wakeup_arg = w->pump;
    w->st = w->env->open(w->env->disk, &w->conf);
    assert_non_null(w->st);
}

void world_close(struct world *w)
{
    store_close(w->st);
    w->st = NULL;
}

uint64_t world_random(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

/* ---------------------------------------------------------------- batches and keys */

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        p[i] = (uint8_t)(x >> (i % 8 * 8));
    }
}

struct blob *world_batch(uint32_t partition, uint64_t base, uint32_t count, uint32_t bytes,
                         int64_t ms, struct batch_head *h)
{
    struct blob *b = blob_new(bytes);
    assert_non_null(b);
    assert_true(bytes >= BATCH_HEAD);
    *h = (struct batch_head){.base_offset = base,
                             .append_ms = ms,
                             .epoch = 1,
                             .length = bytes,
                             .magic = BATCH_MAGIC,
                             .count = (uint16_t)count,
                             .base_ts_ms = ms};
    batch_head_write(b->p, h);
    fill(b->p + BATCH_HEAD, bytes - BATCH_HEAD, (uint64_t)partition << 40 ^ base);
    h->crc = crc32c(b->p + 32, bytes - 32);
    batch_head_write(b->p, h);
    batch_stamp(b->p, base, ms, 1);
    batch_head_read(b->p, h);
    return b;
}

void world_txn_append(struct store_txn *t, enum store_table table, uint32_t partition,
                      uint64_t base, uint32_t count, uint32_t bytes, int64_t ms)
{
    struct batch_head h;
    struct blob *b = world_batch(partition, base, count, bytes, ms, &h);
    txn_append(t, table, partition, &h, (struct bytes){b, b->p, b->n});
    blob_unref(b);
}

struct wkey {
    uint8_t p[5];
};

static struct wkey wkey(enum store_table table, unsigned n)
{
    struct wkey k = {{table == TABLE_META ? META_TOPIC : 'd'}};
    put_be32(k.p + 1, n);
    return k;
}

static struct slice wslice(const struct wkey *k)
{
    return slice_of(k->p, sizeof(k->p));
}

static void seq_value(uint8_t v[16], uint64_t seq, unsigned key)
{
    put_be64(v, seq);
    put_be64(v + 8, key);
}

/* ---------------------------------------------------------------- acting */

static struct world_op *op_add(struct world *w, enum world_kind kind)
{
    if (w->n_ops == w->cap_ops) {
        w->cap_ops = w->cap_ops ? w->cap_ops * 2 : 256;
        w->ops = realloc(w->ops, w->cap_ops * sizeof(*w->ops));
        assert_non_null(w->ops);
    }
    struct world_op *op = &w->ops[w->n_ops++];
    *op = (struct world_op){.seq = w->seq, .kind = kind};
    return op;
}

static void act_append(struct world *w, struct store_txn *t, unsigned part, enum store_table table,
                       uint32_t bytes)
{
    struct world_part *p = &w->parts[part];
    struct world_op *op = op_add(w, W_APPEND);
    op->table = table;
    op->partition = w->base_partition + part;
    op->base = p->next;
    op->count = 1 + (uint32_t)world_random(w, 20);
    op->bytes = bytes;
    op->ms = w->now_ms;
    world_txn_append(t, op->table, op->partition, op->base, op->count, op->bytes, op->ms);
    p->next += op->count;
}

static void act_trim(struct world *w, struct store_txn *t, unsigned part, uint64_t start)
{
    struct world_op *op = op_add(w, W_TRIM);
    struct world_part *p = &w->parts[part];
    op->partition = w->base_partition + part;
    op->base = start;
    txn_trim(t, op->partition, start);
    start = start < p->next ? start : p->next;
    p->start = start > p->start ? start : p->start;
}

static void act_meta(struct world *w, struct store_txn *t)
{
    struct world_op *op = op_add(w, W_PUT);
    uint8_t v[16];
    unsigned kind = (unsigned)world_random(w, 10);
    op->table = world_random(w, 3) == 0 ? TABLE_DELAY : TABLE_META;
    op->key = 1 + (unsigned)world_random(w, WORLD_KEYS - 1);
    op->key_end = op->key + 1 + (unsigned)world_random(w, 5);
    struct wkey k = wkey(op->table, op->key), end = wkey(op->table, op->key_end);
    seq_value(v, op->seq, op->key);
    if (kind < 6) {
        txn_put(t, op->table, wslice(&k), slice_of(v, sizeof(v)));
    } else if (kind < 9) {
        op->kind = W_DELETE;
        txn_delete(t, op->table, wslice(&k));
    } else {
        op->kind = W_DELETE_RANGE;
        txn_delete_range(t, op->table, wslice(&k), wslice(&end));
    }
}

static void act_drop(struct world *w, struct store_txn *t, unsigned part)
{
    struct world_op *op = op_add(w, W_DROP);
    op->partition = w->base_partition + part;
    txn_drop_partition(t, op->partition);
    w->parts[part].dropped = true;
}

static void on_done(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct pending *p = arg;
    struct world *w = p->w;
    assert_int_equal(w->in_submit, 0);
    if (stage == STORE_WRITTEN) {
        assert_true(p->want_written && !p->written);
        p->written = true;
        w->written++;
        return;
    }
    w->completions++;
    if (rc == WERR_OK) {
        assert_int_equal(w->first_failed, 0);
        assert_int_equal(p->seq, w->done_seq + 1); /* in order, each once */
        w->done_seq = p->seq;
    } else {
        assert_true(rc == WERR_STORAGE_FULL || rc == WERR_INDETERMINATE);
        assert_true(e->text[0] != 0);
        if (w->first_failed == 0)
            w->first_failed = p->seq;
        w->fail_rc = rc;
    }
}

/* Ends the txn with its number and submits it. */
static void submit(struct world *w, struct store_txn *t)
{
    uint8_t v[16];
    struct wkey k = wkey(TABLE_META, 0);
    seq_value(v, w->seq, 0);
    txn_put(t, TABLE_META, wslice(&k), slice_of(v, sizeof(v)));
    struct pending *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->next = w->pendings;
    w->pendings = p;
    p->w = w;
    p->seq = w->seq;
    p->want_written = world_random(w, 4) == 0;
    w->in_submit++;
    store_submit(w->st, t, world_random(w, 3) == 0 ? STORE_LAZY : STORE_SYNC, p->want_written,
                 on_done, p);
    w->in_submit--;
}

static struct store_txn *begin(struct world *w)
{
    w->seq++;
    w->now_ms += 1 + (int64_t)world_random(w, 50);
    return store_txn_new(w->st);
}

void world_roll(struct world *w)
{
    struct store_txn *t = begin(w);
    op_add(w, W_ROLL);
    txn_roll(t);
    submit(w, t);
}

void world_trim(struct world *w, unsigned part, uint64_t start)
{
    struct store_txn *t = begin(w);
    act_trim(w, t, part, start);
    submit(w, t);
}

void world_append(struct world *w, unsigned part, enum store_table table, uint32_t bytes)
{
    struct store_txn *t = begin(w);
    act_append(w, t, part, table, bytes);
    submit(w, t);
}

static void act_one(struct world *w, struct store_txn *t)
{
    unsigned part = (unsigned)world_random(w, WORLD_PARTITIONS);
    struct world_part *p = &w->parts[part];
    uint64_t what = world_random(w, 100);
    if (p->dropped || (what >= 70 && what < 90)) {
        act_meta(w, t);
    } else if (what < 70) {
        /* A partition stays with a table, but for a change of its retention now and then. */
        unsigned table = TABLE_LOG_1D + (part + (world_random(w, 50) == 0)) % 4;
        uint32_t bytes = BATCH_HEAD + (uint32_t)world_random(w, w->max_batch_bytes);
        act_append(w, t, part, (enum store_table)table, bytes);
    } else if (what < 98) {
        uint64_t span = p->next - p->start;
        act_trim(w, t, part, p->start + (span ? world_random(w, span + 3) : 0));
    } else if (world_random(w, 4) == 0) {
        act_drop(w, t, part);
    }
}

void world_act(struct world *w)
{
    struct store_txn *t = begin(w);
    unsigned n = 1 + (unsigned)world_random(w, 4);
    for (unsigned i = 0; i < n; i++)
        act_one(w, t);
    if (world_random(w, 100) < w->roll_percent) {
        op_add(w, W_ROLL);
        txn_roll(t);
        if (world_random(w, 2) == 0)
            act_one(w, t); /* after the roll in the same txn */
    }
    submit(w, t);
}

static bool answered(const struct world *w)
{
    return w->completions == w->seq || w->done_seq == w->seq;
}

void world_settle(struct world *w)
{
    for (unsigned i = 0; !answered(w); i++) {
        if (i == MAX_TURNS)
            fail_msg("no answer after %u turns", i);
        turn(w);
    }
}

void world_wait(struct world *w, const bool *flag)
{
    store_poll(w->st);
    while (!*flag)
        turn(w);
}

static void on_nothing(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    (void)stage;
    (void)rc;
    (void)e;
    *(bool *)arg = true;
}

void world_gc(struct world *w)
{
    struct store_stats a, b;
    int64_t mono_ns = 0;
    unsigned quiet = 0;
    /* A pass takes several turns through helper jobs and records: until nothing moves any more. */
    while (quiet < 4) {
        bool done = false;
        store_stats(w->st, &a);
        store_gc(w->st, mono_ns += 2000000000);
        store_submit(w->st, store_txn_new(w->st), STORE_SYNC, false, on_nothing, &done);
        world_wait(w, &done);
        struct blob *data = NULL;
        (void)world_read(w, 0, 0, 0, 1, &data, NULL);
        store_stats(w->st, &b);
        bool same = a.buckets == b.buckets && a.moved_bytes == b.moved_bytes &&
                    a.reclaimed_bytes == b.reclaimed_bytes && !store_gc_busy(w->st);
        quiet = same ? quiet + 1 : 0;
    }
}

/* ---------------------------------------------------------------- the model */

static void rebuild_parts(struct world *w)
{
    memset(w->parts, 0, sizeof(w->parts));
    for (size_t i = 0; i < w->n_ops; i++) {
        const struct world_op *op = &w->ops[i];
        struct world_part *p = &w->parts[op->partition - w->base_partition];
        if (op->kind == W_APPEND) {
            p->next = op->base + op->count;
        } else if (op->kind == W_TRIM) {
            uint64_t start = op->base < p->next ? op->base : p->next;
            p->start = start > p->start ? start : p->start;
        } else if (op->kind == W_DROP) {
            p->dropped = true;
        }
    }
}

void world_cut(struct world *w, uint64_t seq)
{
    while (w->n_ops > 0 && w->ops[w->n_ops - 1].seq > seq)
        w->n_ops--;
    rebuild_parts(w);
    w->seq = w->done_seq = seq;
    w->completions = (unsigned)seq;
    w->first_failed = 0;
}

void world_forget_failed(struct world *w)
{
    if (w->first_failed != 0)
        world_cut(w, w->first_failed - 1);
}

uint64_t world_stored_seq(struct world *w)
{
    struct buf v = {0};
    struct wkey k = wkey(TABLE_META, 0);
    struct werror e;
    enum werr rc = store_get(w->st, TABLE_META, wslice(&k), &v, &e);
    uint64_t seq = rc == WERR_OK && v.len == 16 ? be64(v.p) : 0;
    buf_fini(&v);
    return seq;
}

struct read_wait {
    bool done;
};

static void on_read(struct store_read *r)
{
    struct read_wait *wait = r->arg;
    wait->done = true;
}

enum werr world_read(struct world *w, uint32_t partition, uint64_t offset, uint64_t end,
                     uint32_t max_bytes, struct blob **data, struct werror *e)
{
    struct read_wait wait = {false};
    struct store_read r = {.partition = partition,
                           .offset = offset,
                           .end = end,
                           .max_bytes = max_bytes,
                           .fn = on_read,
                           .arg = &wait};
    store_read(w->st, &r);
    world_wait(w, &wait.done);
    if (e != NULL)
        *e = r.err;
    *data = r.data;
    return r.rc;
}

/* Expects the batches of one partition, from its first live one on, and nothing else. */
static void check_part(struct world *w, const struct world_op *ops, size_t n, uint32_t partition,
                       const struct world_part *p)
{
    uint64_t at = p->start;
    struct slice run = {0};
    struct blob *data = NULL;
    struct werror e;
    for (size_t i = 0; i < n; i++) {
        const struct world_op *op = &ops[i];
        struct batch_head h;
        struct slice batch;
        if (op->kind != W_APPEND || op->partition != partition || op->base + op->count <= p->start)
            continue;
        if (run.n == 0) {
            blob_unref(data);
            uint32_t max_bytes = 1 + (uint32_t)world_random(w, 60000);
            enum werr rc = world_read(w, partition, at, p->next, max_bytes, &data, &e);
            if (rc != WERR_OK || data == NULL)
                fail_msg("partition %u at %llu: %d %s", partition, (unsigned long long)at, (int)rc,
                         e.text);
            run = slice_of(data->p, data->n);
        }
        assert_int_equal(batch_next(&run, true, &h, &batch, &e), WERR_OK);
        struct batch_head want;
        struct blob *b = world_batch(partition, op->base, op->count, op->bytes, op->ms, &want);
        assert_int_equal(h.base_offset, op->base);
        assert_int_equal(batch.n, b->n);
        assert_memory_equal(batch.p, b->p, b->n);
        blob_unref(b);
        at = op->base + op->count;
    }
    assert_int_equal(run.n, 0);
    assert_int_equal(at, p->next);
    blob_unref(data);
}

struct model_rows {
    uint64_t seq[2][WORLD_KEYS + 8]; /* 0 = absent */
    enum store_table table;
};

static enum werr check_row(void *arg, struct slice key, struct slice value)
{
    struct model_rows *m = arg;
    assert_int_equal(key.n, 5);
    assert_int_equal(value.n, 16);
    unsigned k = be32(key.p + 1);
    assert_true(k < WORLD_KEYS + 8);
    uint64_t *seq = &m->seq[m->table == TABLE_DELAY][k];
    assert_int_equal(be64(value.p), *seq);
    assert_int_equal(be64(value.p + 8), k);
    *seq = 0; /* seen */
    return WERR_OK;
}

static void check_rows(struct world *w, struct model_rows *m)
{
    struct werror e;
    for (int i = 0; i < 2; i++) {
        m->table = i ? TABLE_DELAY : TABLE_META;
        struct wkey lo = wkey(m->table, 0);
        struct slice from = slice_of(lo.p, 1);
        uint8_t end = (uint8_t)(lo.p[0] + 1);
        assert_int_equal(store_scan(w->st, m->table, from, slice_of(&end, 1), check_row, m, &e),
                         WERR_OK);
        for (unsigned k = 0; k < WORLD_KEYS + 8; k++)
            assert_int_equal(m->seq[i][k], 0); /* a row that is missing */
    }
}

void world_check(struct world *w, uint64_t seq)
{
    struct world_part parts[WORLD_PARTITIONS] = {0};
    struct model_rows rows = {0};
    size_t n = 0;
    for (; n < w->n_ops && w->ops[n].seq <= seq; n++) {
        const struct world_op *op = &w->ops[n];
        struct world_part *p = &parts[op->partition - w->base_partition];
        unsigned delay = op->table == TABLE_DELAY;
        if (op->kind == W_APPEND) {
            p->next = op->base + op->count;
        } else if (op->kind == W_TRIM && !p->dropped) {
            uint64_t start = op->base < p->next ? op->base : p->next;
            p->start = start > p->start ? start : p->start;
        } else if (op->kind == W_DROP) {
            *p = (struct world_part){.dropped = true};
        } else if (op->kind == W_PUT) {
            rows.seq[delay][op->key] = op->seq;
        } else if (op->kind == W_DELETE) {
            rows.seq[delay][op->key] = 0;
        } else if (op->kind == W_DELETE_RANGE) {
            for (unsigned k = op->key; k < op->key_end; k++)
                rows.seq[delay][k] = 0;
        }
    }
    rows.seq[0][0] = seq;
    for (unsigned i = 0; i < WORLD_PARTITIONS; i++) {
        uint32_t partition = w->base_partition + i;
        assert_int_equal(store_log_start(w->st, partition), parts[i].start);
        assert_int_equal(store_next_offset(w->st, partition), parts[i].next);
        if (!parts[i].dropped)
            check_part(w, w->ops, n, partition, &parts[i]);
    }
    check_rows(w, &rows);
}
