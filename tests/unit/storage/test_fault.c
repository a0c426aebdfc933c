/*
 * The k-th operation of a kind fails, for k = 1, 2, ... until no fault fires any more: after each,
 * nothing acknowledged is missing, nothing half is there, and the store says what it is.
 */
#include <stdlib.h>

#include "storage/store_mem.h"
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

/* The same work for every k: several txns between two answers, rolls, gc. */
static void work(struct world *w)
{
    for (int i = 0; i < 60 && w->first_failed == 0; i++) {
        world_act(w);
        if (i % 3 == 0 && w->env->stepped)
            store_step_write(w->st);
        if (i % 5 == 0)
            world_settle(w);
        if (i % 7 == 0)
            store_gc(w->st, (int64_t)i << 30);
    }
    world_settle(w);
}

static const struct world_env *env_of(struct memdisk *d, bool threads)
{
    static struct world_env env;
    env = threads ? (struct world_env){d, open_threaded, false, NULL}
                  : (struct world_env){d, open_stepped, true, store_step};
    return &env;
}

/* ---------------------------------------------------------------- a log that fails */

/* After INDETERMINATE: latched; only a restart tells what is there. */
static void check_failed(struct world *w)
{
    assert_int_equal(w->fail_rc, WERR_INDETERMINATE);
    assert_int_equal(store_state(w->st), STORE_FAILED);
    assert_true(store_state_reason(w->st)->text[0] != 0);
    uint64_t done = w->done_seq;
    for (int i = 0; i < 3; i++)
        world_act(w); /* answered, never done */
    world_settle(w);
    assert_int_equal(w->done_seq, done);
    store_abandon(w->st);
    world_open(w);
    uint64_t stored = world_stored_seq(w);
    assert_true(stored >= done && stored < w->seq);
    world_check(w, stored);
    world_cut(w, stored);
}

/* After a full disk: nothing of it happened, the index is back, and a probe lets it go on. */
static void check_full(struct world *w, const struct store_fault *f)
{
    assert_int_equal(w->fail_rc, WERR_STORAGE_FULL);
    assert_int_equal(store_state(w->st), STORE_FULL);
    assert_int_equal(w->done_seq, w->first_failed - 1);
    world_forget_failed(w);
    world_check(w, w->done_seq); /* start and next of every partition, too */
    int64_t mono_ns = 0;
    if (f->sticky) {
        for (int i = 0; i < 3; i++) {
            store_gc(w->st, mono_ns += 2000000000);
            world_append(w, 0, TABLE_LOG_1D, 100);
            world_settle(w);
            assert_int_equal(store_state(w->st), STORE_FULL);
            world_forget_failed(w);
        }
        store_mem_fault(w->st, &(struct store_fault){.kind = f->kind});
    }
    for (int i = 0; i < 100 && store_state(w->st) != STORE_READY; i++) {
        struct blob *data = NULL;
        store_gc(w->st, mono_ns += 2000000000);
        (void)world_read(w, 0, 0, 0, 1, &data, NULL);
    }
    if (store_state(w->st) != STORE_READY)
        world_gc(w);
    assert_int_equal(store_state(w->st), STORE_READY);
}

/* One run with a fault at k. false: it never fired. */
static bool log_fault(const struct store_fault *f, bool threads)
{
    struct memdisk *d = memdisk_new();
    struct world w;
    world_init(&w, env_of(d, threads), 17);
    w.roll_percent = 6;
    world_open(&w);
    unsigned before = store_mem_faults_fired(w.st);
    store_mem_fault(w.st, f);
    work(&w);
    bool fired = store_mem_faults_fired(w.st) > before;
    assert_true(fired || w.first_failed == 0);
    if (fired && w.first_failed != 0) {
        if (f->rc == WERR_STORAGE_FULL && f->kind != FAULT_APPLY)
            check_full(&w, f);
        else
            check_failed(&w);
    } else if (fired && store_state(w.st) == STORE_FAILED) {
        /* it hit a record of the store's own */
        store_abandon(w.st);
        world_open(&w);
    }
    store_mem_fault(w.st, &(struct store_fault){.kind = f->kind});
    for (int i = 0; i < 20; i++)
        store_gc(w.st, (int64_t)i << 31);
    world_gc(&w);
    work(&w);
    world_check(&w, w.seq);
    world_close(&w);
    world_open(&w);
    world_check(&w, w.seq);
    world_fini(&w);
    memdisk_free(d);
    return fired;
}

static void loop(enum fault_kind kind, enum werr rc, bool sticky, bool torn, bool threads)
{
    unsigned k = 1;
    for (; k < 2000; k += threads ? 3 : 1) {
        struct store_fault f = {.kind = kind, .k = k, .rc = rc, .sticky = sticky, .torn = torn};
        if (!log_fault(&f, threads))
            break;
    }
    assert_true(k > 5);
    print_message("kind %d rc %s sticky %d torn %d: %u runs\n", (int)kind, werr_name(rc), sticky,
                  torn, k);
}

static void test_append_io(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        loop(FAULT_APPEND, WERR_IO, i & 1, i & 2, false);
}

static void test_append_full(void **state)
{
    (void)state;
    loop(FAULT_APPEND, WERR_STORAGE_FULL, false, false, false);
    loop(FAULT_APPEND, WERR_STORAGE_FULL, true, false, false);
}

static void test_sync_io(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        loop(FAULT_SYNC, WERR_IO, i & 1, i & 2, false);
}

static void test_sync_full(void **state)
{
    (void)state;
    loop(FAULT_SYNC, WERR_STORAGE_FULL, false, false, false);
    loop(FAULT_SYNC, WERR_STORAGE_FULL, true, false, false);
}

static void test_apply(void **state)
{
    (void)state;
    loop(FAULT_APPLY, WERR_IO, false, false, false);
    loop(FAULT_APPLY, WERR_IO, true, false, false);
}

static void test_with_threads(void **state)
{
    (void)state;
    loop(FAULT_APPEND, WERR_IO, true, true, true);
    loop(FAULT_APPEND, WERR_STORAGE_FULL, false, false, true);
    loop(FAULT_APPEND, WERR_STORAGE_FULL, true, false, true);
    loop(FAULT_SYNC, WERR_IO, true, false, true);
    loop(FAULT_SYNC, WERR_STORAGE_FULL, false, false, true);
    loop(FAULT_APPLY, WERR_IO, true, false, true);
}

/* A torn append really is there after the restart, an untorn one is not. */
static void test_torn_is_there(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++) {
        for (int kind = FAULT_APPEND; kind <= FAULT_SYNC; kind++) {
            struct memdisk *d = memdisk_new();
            struct world w;
            world_init(&w, env_of(d, false), 1);
            world_open(&w);
            world_append(&w, 1, TABLE_LOG_7D, 100);
            world_settle(&w);
            uint64_t next = store_next_offset(w.st, 1);
            store_mem_fault(
                w.st, &(struct store_fault){
                          .kind = (enum fault_kind)kind, .k = 1, .rc = WERR_IO, .torn = torn});
            world_append(&w, 1, TABLE_LOG_7D, 100);
            uint64_t after = store_next_offset(w.st, 1);
            world_settle(&w);
            assert_int_equal(w.fail_rc, WERR_INDETERMINATE);
            store_abandon(w.st);
            world_open(&w);
            assert_int_equal(store_next_offset(w.st, 1), torn ? after : next);
            world_fini(&w);
            memdisk_free(d);
        }
    }
}

/* ---------------------------------------------------------------- completions inside a failure */

struct resubmit {
    struct world *w;
    bool done;
    unsigned tries;
    uint64_t base;
};

static void on_resubmit(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct resubmit *r = arg;
    (void)stage;
    (void)e;
    if (rc == WERR_OK) {
        r->done = true;
        return;
    }
    assert_int_equal(rc, WERR_STORAGE_FULL);
    /* the index is back before the first refusal: the same offset fits again */
    struct store *st = r->w->st;
    assert_int_equal(store_next_offset(st, 1), r->base);
    struct store_txn *t = store_txn_new(st);
    world_txn_append(t, TABLE_LOG_7D, 1, r->base, 1, 100, 1);
    r->tries++;
    store_submit(st, t, STORE_SYNC, false, on_resubmit, r);
}

static void test_resubmit_from_the_refusal(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        struct memdisk *d = memdisk_new();
        struct world w;
        world_init(&w, env_of(d, threads), 1);
        world_open(&w);
        struct resubmit r = {.w = &w};
        store_mem_fault(
            w.st, &(struct store_fault){.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL});
        struct store_txn *t = store_txn_new(w.st);
        world_txn_append(t, TABLE_LOG_7D, 1, 0, 1, 100, 1);
        store_submit(w.st, t, STORE_SYNC, false, on_resubmit, &r);
        world_wait(&w, &r.done);
        assert_int_equal(r.tries, 1);
        assert_int_equal(store_next_offset(w.st, 1), 1);
        world_fini(&w);
        memdisk_free(d);
    }
}

/* ---------------------------------------------------------------- reads that fail */

/* A read gives everything it should or an error; a fault never looks like the end of the log. */
static void test_read_faults(void **state)
{
    (void)state;
    struct memdisk *d = memdisk_new();
    struct world w;
    struct werror e;
    world_init(&w, env_of(d, false), 5);
    world_open(&w);
    for (int i = 0; i < 30; i++) {
        world_append(&w, 2, TABLE_LOG_7D, 3000);
        if (i % 6 == 0)
            world_roll(&w);
        world_settle(&w);
    }
    uint64_t next = store_next_offset(w.st, 2);
    for (int sticky = 0; sticky < 2; sticky++) {
        unsigned k = 1;
        for (; k < 500; k++) {
            struct blob *data = NULL;
            unsigned before = store_mem_faults_fired(w.st);
            store_mem_fault(w.st, &(struct store_fault){
                                      .kind = FAULT_READ, .k = k, .rc = WERR_IO, .sticky = sticky});
            enum werr rc = world_read(&w, 2, 0, next, 1 << 20, &data, &e);
            bool fired = store_mem_faults_fired(w.st) > before;
            assert_int_equal(rc, fired ? WERR_IO : WERR_OK);
            assert_int_equal(data != NULL ? data->n : 0, fired ? 0 : 30 * 3000);
            blob_unref(data);
            if (!fired)
                break;
        }
        assert_true(k > 20);
        store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_READ});
    }
    assert_int_equal(store_state(w.st), STORE_READY);
    world_fini(&w);
    memdisk_free(d);
}

static void on_rows(struct store_rows *r)
{
    *(bool *)r->arg = true;
}

/* Rows that cannot be read are an error, never the end of the table. */
static void test_rows_read_faults(void **state)
{
    (void)state;
    struct memdisk *d = memdisk_new();
    struct world w;
    unsigned k = 1;
    bool fired = true;
    world_init(&w, env_of(d, false), 5);
    world_open(&w);
    struct store_txn *t = store_txn_new(w.st);
    for (uint64_t i = 0; i < 30; i++) {
        struct meta_key key = delay_key(i, 1, i);
        txn_put(t, TABLE_DELAY, key_slice(&key), slice_str("x"));
    }
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    world_settle(&w);
    store_step(w.st);
    for (; fired; k++) {
        unsigned before = store_mem_faults_fired(w.st);
        bool done = false;
        struct store_rows r = {.table = TABLE_DELAY, .fn = on_rows, .arg = &done};
        store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_READ, .k = k, .rc = WERR_IO});
        store_rows(w.st, &r);
        world_wait(&w, &done);
        fired = store_mem_faults_fired(w.st) > before;
        assert_int_equal(r.rc, fired ? WERR_IO : WERR_OK);
        assert_int_equal(r.n, fired ? 0 : 30);
        assert_true(fired == (r.data == NULL));
        blob_unref(r.data);
    }
    assert_true(k > 30);
    store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_READ});
    world_fini(&w);
    memdisk_free(d);
}

/* gc that cannot read gives up, harms nothing, and comes back. */
static void test_gc_read_faults(void **state)
{
    (void)state;
    for (unsigned k = 1; k < 40; k++) {
        struct memdisk *d = memdisk_new();
        struct world w;
        struct store_stats s;
        world_init(&w, env_of(d, false), k);
        world_open(&w);
        for (unsigned p = 0; p < 8; p++) {
            for (int i = 0; i < 3; i++)
                world_append(&w, p, TABLE_LOG_7D, 4000);
        }
        world_roll(&w);
        for (unsigned p = 0; p < 7; p++)
            world_trim(&w, p, w.parts[p].next);
        world_settle(&w);
        store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_READ, .k = k, .rc = WERR_IO});
        world_gc(&w);
        store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_READ});
        world_check(&w, w.seq);
        world_close(&w);
        world_open(&w); /* a new store tries at once */
        world_gc(&w);
        store_stats(w.st, &s);
        assert_int_equal(s.buckets, 1);
        world_check(&w, w.seq);
        world_fini(&w);
        memdisk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_io),
        cmocka_unit_test(test_append_full),
        cmocka_unit_test(test_sync_io),
        cmocka_unit_test(test_sync_full),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_with_threads),
        cmocka_unit_test(test_torn_is_there),
        cmocka_unit_test(test_resubmit_from_the_refusal),
        cmocka_unit_test(test_read_faults),
        cmocka_unit_test(test_gc_read_faults),
        cmocka_unit_test(test_rows_read_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
