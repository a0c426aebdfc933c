/*
 * The broker's own rows as it finds them at a start: topics, counters, windows, producers, groups,
 * positions, settled bits, leases, retries, delayed messages. The input is a list of rows:
 *   table (1 byte: even META, odd DELAY), key length (1), value length (2), key, value
 * They lie in a store beside eight partitions with 30 messages each; then the core opens it.
 *
 * What must hold: the core refuses with a reason, or lives: it runs for ten minutes of its time,
 * takes an administrator's questions, stops, and what it wrote meanwhile opens again.
 */
#include <stdlib.h>

#include "broker/core/core.h"
#include "broker/core/core_group.h"
#include "storage/store_mem.h"
#include "tests/fuzz/target.h"

enum { PARTITIONS = 8, BATCHES = 2, RECORDS = 15, MAX_ROWS = 64, MAX_COMMITS = 4 };

static struct {
    struct memdisk *disk;
    struct store *st;
    struct core *co;
    int64_t mono_ns, wall_ms;
    uint64_t random;
} w;

/* What the store committed while it took the logs: applied anew for every input. */
static struct {
    struct commit {
        uint64_t lsn;
        struct buf rec;
    } commits[MAX_COMMITS];
    size_t n;
} made;

static int64_t mono_ns(void *arg)
{
    (void)arg;
    return w.mono_ns;
}

static int64_t wall_ms(void *arg)
{
    (void)arg;
    return w.wall_ms;
}

static uint64_t random_u64(void *arg)
{
    (void)arg;
    w.random = w.random * 6364136223846793005u + 1442695040888963407u;
    return w.random >> 1;
}

static void no_log(void *arg, int level, const char *event, const char *kv)
{
    (void)arg;
    (void)level;
    (void)event;
    (void)kv;
}

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void open_store(void)
{
    const struct store_conf conf = {.memory_bytes = 64 << 20, .mono_ns = mono_ns};
    struct werror e;

    must(store_open_mem(&w.st, w.disk, STORE_MEM_STEPPED, &conf, &e) == WERR_OK);
}

static struct blob *make_batch(uint64_t base, struct batch_head *h)
{
    const struct batch_producer prod = {.id = 1, .epoch = 0, .base_seq = 0};
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;
    struct blob *b;

    batch_builder_init(&bb, 0);
    for (int i = 0; i < RECORDS; i++) {
        must(batch_add(&bb, 1000, slice_str("key"), slice_str("value"), NULL, 0) == WERR_OK);
    }
    must(batch_finish(&bb, &prod, BATCH_CODEC_NONE, &zip, &out) == WERR_OK);
    b = blob_copy(out.p, out.n);
    must(b != NULL);
    batch_builder_fini(&bb);
    buf_fini(&zip);
    batch_stamp(b->p, base, 1700000000000 - 1000, 1);
    batch_head_read(b->p, h);
    return b;
}

static void put_logs(struct store_txn *t)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint64_t i = 0; i < BATCHES; i++) {
            struct batch_head h;
            struct blob *b = make_batch(i * RECORDS, &h);

            txn_append(t, TABLE_LOG_7D, p, &h, (struct bytes){b, b->p, b->n});
            blob_unref(b);
        }
    }
}

/* ---------------------------------------------------------------- the logs, made once */

static enum werr keep_commit(void *arg, uint64_t lsn, struct slice rec)
{
    (void)arg;
    must(made.n < MAX_COMMITS);
    made.commits[made.n].lsn = lsn;
    buf_put(&made.commits[made.n++].rec, rec.p, rec.n);
    return WERR_OK;
}

static void make_logs(void)
{
    struct store_txn *t;
    struct werror e;

    w.disk = memdisk_new();
    must(w.disk != NULL);
    open_store();
    t = store_txn_new(w.st);
    put_logs(t);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    store_step(w.st);
    must(store_replay(w.st, 0, keep_commit, NULL, &e) == WERR_OK && made.n > 0);
    store_close(w.st);
    memdisk_free(w.disk);
}

/* A disk with the logs on it. */
static void fill_disk(void)
{
    struct werror e;

    if (made.n == 0) {
        make_logs();
    }
    w.disk = memdisk_new();
    must(w.disk != NULL);
    for (size_t i = 0; i < made.n; i++) {
        must(memdisk_apply(w.disk, made.commits[i].lsn, buf_slice(&made.commits[i].rec), &e) ==
             WERR_OK);
    }
}

/* ---------------------------------------------------------------- one input */

static void put_rows(struct store_txn *t, const uint8_t *p, const uint8_t *end)
{
    for (int i = 0; i < MAX_ROWS && end - p >= 4; i++) {
        const enum store_table table = (p[0] & 1) != 0 ? TABLE_DELAY : TABLE_META;
        const size_t k = p[1], v = be16(p + 2);
        struct slice key;

        p += 4;
        if (k == 0 || k + v > (size_t)(end - p)) {
            return;
        }
        key = slice_of(p, k);
        if (table == TABLE_DELAY || !meta_tag_is_own(p[0])) {
            txn_put(t, table, key, slice_of(p + k, v));
        }
        p += k + v;
    }
}

static void step(void)
{
    for (int i = 0; i < 4; i++) {
        core_flush(w.co);
        store_step(w.st);
    }
}

/* Opens the core; false: it refused, with a reason. */
static bool open_core(void)
{
    const struct core_env env = {
        .mono_ns = mono_ns, .wall_ms = wall_ms, .random = random_u64, .log = no_log};
    struct core_conf conf = {
        .broker_id = 1, .tail_cache_bytes = 1 << 20, .inflight_bytes = 8 << 20};
    struct werror e = {0};

    topic_config_defaults(&conf.topic_defaults);
    w.co = NULL;
    if (core_open(&w.co, &conf, w.st, &env, &e) == WERR_OK) {
        return true;
    }
    must(e.text[0] != '\0');
    return false;
}

static void close_all(void)
{
    store_close(w.st);
    if (w.co != NULL) {
        core_close(w.co);
    }
}

static void live(void)
{
    static const int64_t steps_ms[] = {0, 100, 5000, 30000, 60000, 505000};

    for (size_t i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
        w.mono_ns += steps_ms[i] * 1000000;
        w.wall_ms += steps_ms[i];
        for (int k = 0; k < 8 && core_deadline_mono_ns(w.co) <= w.mono_ns; k++) {
            core_tick(w.co);
            step();
        }
        step();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_txn *t;

    w.mono_ns = INT64_C(5000000000);
    w.wall_ms = INT64_C(1700000000000);
    w.random = 7;
    fill_disk();
    open_store();
    t = store_txn_new(w.st);
    put_rows(t, data, data + n);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    store_step(w.st);
    if (open_core()) {
        live();
        core_drain(w.co);
        step();
        close_all();
        open_store();
        must(open_core());
        step();
    }
    close_all();
    memdisk_free(w.disk);
    return 0;
}
