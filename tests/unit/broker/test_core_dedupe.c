/* Dedupe states that are rebuilt, snapshotted and forgotten: rows that do not fit, many at once. */
#include <stdlib.h>

#include "broker/core/core_impl.h"
#include "core_world.h"
#include "storage/keys.h"
#include "tests/lib/test.h"

static const int64_t DAY_MS = INT64_C(24) * 3600 * 1000;

static void put_row(struct world *w, const struct meta_key *k, size_t key_cut, struct slice value)
{
    struct store_txn *t = store_txn_new(w->st);

    txn_put(t, TABLE_META, slice_of(key_slice(k).p, key_slice(k).n - key_cut), value);
    store_submit(w->st, t, STORE_SYNC, false, NULL, NULL);
    world_step(w);
}

static void put_window(struct world *w, uint32_t part, uint64_t pid, const struct window *win)
{
    const struct meta_key k = meta_key_32_64(META_WINDOW, part, pid);
    struct buf row = {0};

    window_encode(win, &row);
    put_row(w, &k, 0, buf_slice(&row));
    buf_fini(&row);
}

static uint64_t producers(struct world *w)
{
    struct core_stats s;

    core_stats(w->co, &s);
    return s.producers;
}

static struct part *part_of(struct world *w, uint64_t tid)
{
    return topic_part(w->co, tid, 0, false, NULL);
}

static int64_t no_ns(void *arg)
{
    return ((struct world *)arg)->mono_ns;
}

static int64_t no_ms(void *arg)
{
    return ((struct world *)arg)->wall_ms;
}

static uint64_t no_random(void *arg)
{
    (void)arg;
    return 4;
}

static void no_log(void *arg, int level, const char *event, const char *kv)
{
    (void)arg;
    (void)level;
    (void)event;
    (void)kv;
}

static void open_refused(struct world *w, const char *text)
{
    const struct core_env env = {
        .arg = w, .mono_ns = no_ns, .wall_ms = no_ms, .random = no_random, .log = no_log};
    struct werror e = {0};

    world_crash(w, 1000);
    assert_int_equal(store_open_mem(&w->st, w->disk, STORE_MEM_STEPPED, &w->store_conf, &e),
                     WERR_OK);
    assert_int_equal(core_open(&w->co, &w->conf, w->st, &env, &e), WERR_CORRUPT);
    if (strstr(e.text, text) == NULL) {
        fail_msg("%s", e.text);
    }
    store_abandon(w->st);
    w->st = NULL;
    w->co = NULL;
    memdisk_free(w->disk);
}

static uint64_t start(struct world *w)
{
    world_init(w);
    world_open(w);
    return world_topic(w, "a", "partitions", "1", NULL);
}

static void test_key_that_does_not_fit(void **state)
{
    const struct meta_key k = meta_key_32_64(META_WINDOW, 0, 7);
    struct world w;
    (void)state;

    (void)start(&w);
    put_row(&w, &k, 3, slice_str("x"));
    open_refused(&w, "window key of 10 bytes");
}

static void test_row_that_does_not_fit(void **state)
{
    const struct meta_key k = meta_key_32_64(META_WINDOW, 0, 7);
    uint8_t row[28 + 65 * 10] = {1};
    struct world w;
    (void)state;

    (void)start(&w);
    row[27] = 65; /* one batch more than a window has */
    put_row(&w, &k, 0, slice_of(row, sizeof row));
    open_refused(&w, "with 65 batches");
}

static void test_row_of_a_partition_that_is_gone(void **state)
{
    const struct window win = {.next_seq = 3};
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    put_window(&w, 999, 7, &win);
    world_crash(&w, 1000);
    world_open(&w);
    assert_int_equal(producers(&w), 0);
    assert_int_equal(world_produce(&w, tid, 0, 0, 0, 1, WERR_OK), 0);
    world_fini(&w);
}

static void test_partition_above_the_counter(void **state)
{
    struct world w;
    (void)state;

    (void)start(&w);
    struct store_txn *t = store_txn_new(w.st);
    w.co->next_part = 0;
    counters_put(w.co, t);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    world_step(&w);
    open_refused(&w, "has partition number 0, next is 0");
}

/* The counters as they are in memory, written as they are. */
static void put_counters(struct world *w)
{
    struct store_txn *t = store_txn_new(w->st);

    counters_put(w->co, t);
    store_submit(w->st, t, STORE_SYNC, false, NULL, NULL);
    world_step(w);
}

/* Ids that travel as no integer below 2^53 would make rows that no start reads back. */
static void test_counters_that_were_never_reached(void **state)
{
    (void)state;

    for (int i = 0; i < 5; i++) {
        struct world w;
        (void)start(&w);
        uint64_t *const ids[] = {&w.co->next_tid, &w.co->pid_limit, &w.co->next_named,
                                 &w.co->next_gid};
        if (i < 4) {
            *ids[i] = UINT64_C(1) << 52;
        } else {
            w.co->next_part = PART_IDS + 1;
        }
        put_counters(&w);
        open_refused(&w, "counters row: a number that was never reached");
    }
}

/* Numbers are not given twice, so few partitions may have high ones. */
static void test_partition_numbers_end(void **state)
{
    struct world w;
    (void)state;

    const uint64_t a = start(&w);
    w.co->next_part = PART_IDS - 1;
    put_counters(&w);
    world_crash(&w, 1000);
    world_open(&w);
    const uint64_t b = world_topic(&w, "b", "partitions", "1", NULL);
    assert_int_equal(part_of(&w, b)->id, PART_IDS - 1);
    world_produce(&w, b, 0, 0, 0, 3, WERR_OK);
    world_change(&w, CORE_TOPIC_CREATE, "c", NULL, WERR_OVERLOADED, NULL);
    world_crash(&w, 1000);
    world_open(&w);
    assert_int_equal(part_of(&w, a)->id, 0);
    assert_int_equal(world_produce(&w, b, 0, 0, 0, 1, WERR_OK), 3);
    world_change(&w, CORE_TOPIC_CREATE, "c", NULL, WERR_OVERLOADED, NULL);
    world_fini(&w);
}

/* The row is of the same bucket as the batches: what it counts already is not counted twice. */
static void test_snapshot_ahead_of_its_roll(void **state)
{
    struct core_producer_rq rq;
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    world_init_producer(&w, NULL, &rq);
    world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK);
    const struct dedupe *d = dedupe_find(w.co, part_of(&w, tid), rq.pid, false);
    struct store_txn *t = store_txn_new(w.st);
    dedupe_put(d, t);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    world_produce(&w, tid, 0, rq.pid, 5, 2, WERR_OK);
    world_crash(&w, 1000);
    world_open(&w);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK), 0);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 5, 2, WERR_OK), 5);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 7, 1, WERR_OK), 7);
    world_fini(&w);
}

/* Lost data was accepted: the batches of the log do not go on where the snapshot ends. */
static void test_window_begins_after_a_hole(void **state)
{
    const struct window old = {.next_seq = 777};
    struct core_producer_rq rq;
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    world_init_producer(&w, NULL, &rq);
    world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK);
    put_window(&w, part_of(&w, tid)->id, rq.pid, &old);
    world_crash(&w, 1000);
    world_open(&w);
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK), 0); /* known */
    assert_int_equal(world_produce(&w, tid, 0, rq.pid, 5, 1, WERR_OK), 5);
    world_fini(&w);
}

/* More than one txn's worth of rows. */
static void test_many_rows_at_once(void **state)
{
    enum { MANY = 3500, BATCHES = 64 };
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    for (uint64_t pid = 1; pid <= MANY; pid++) {
        struct dedupe *d = dedupe_new(w.co, part_of(&w, tid), pid, false);
        for (unsigned i = 0; i < BATCHES; i++) {
            window_push(&d->w, pid * 100 + i, 1);
        }
        dedupe_changed(w.co, d);
    }
    struct store_txn *t = dedupe_snapshot(w.co);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    dedupe_rolled(w.co, true);
    world_step(&w);
    world_crash(&w, 1000);
    world_open(&w);
    assert_int_equal(producers(&w), MANY);
    const struct dedupe *d = dedupe_find(w.co, part_of(&w, tid), MANY, false);
    assert_non_null(d);
    assert_int_equal(d->w.next_seq, BATCHES);
    assert_int_equal(window_end_offset(&d->w), MANY * 100 + BATCHES);
    world_fini(&w);
}

/* ---------------------------------------------------------------- forgetting */

static void test_seven_days(void **state)
{
    struct core_producer_rq quiet, silent, busy;
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    world_init_producer(&w, NULL, &quiet);
    world_init_producer(&w, NULL, &silent);
    world_init_producer(&w, NULL, &busy);
    world_produce(&w, tid, 0, quiet.pid, 0, 5, WERR_OK);
    world_produce(&w, tid, 0, silent.pid, 0, 5, WERR_OK); /* both go in one sweep */
    world_produce(&w, tid, 0, busy.pid, 0, 5, WERR_OK);
    world_pass(&w, 6 * DAY_MS);
    assert_int_equal(producers(&w), 3);
    assert_int_equal(world_produce(&w, tid, 0, quiet.pid, 0, 5, WERR_OK), 0); /* known */
    world_produce(&w, tid, 0, busy.pid, 5, 1, WERR_OK);
    world_pass(&w, 2 * DAY_MS);
    assert_int_equal(producers(&w), 1);
    assert_null(dedupe_find(w.co, part_of(&w, tid), quiet.pid, false));
    world_pass(&w, 8 * DAY_MS);
    assert_int_equal(producers(&w), 0);
    dedupe_evict(w.co, 5); /* of nothing */
    world_fini(&w);
}

static void test_what_is_in_use_stays(void **state)
{
    struct core_producer_rq rq;
    struct world w;
    (void)state;

    const uint64_t tid = start(&w);
    world_init_producer(&w, NULL, &rq);
    world_produce(&w, tid, 0, rq.pid, 0, 5, WERR_OK);
    struct dedupe *d = dedupe_find(w.co, part_of(&w, tid), rq.pid, false);
    d->w.last_ms -= 8 * DAY_MS;
    dedupe_changed(w.co, d); /* its row is on the way */
    struct store_txn *t = dedupe_snapshot(w.co);
    dedupe_evict(w.co, 5);
    assert_int_equal(producers(&w), 1);
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    dedupe_rolled(w.co, true);
    struct sent *s = world_send(&w, tid, 0, rq.pid, 0, 5, 1, "x"); /* a batch is */
    d->w.last_ms -= 8 * DAY_MS;
    dedupe_evict(w.co, 5);
    assert_int_equal(producers(&w), 1);
    world_step(&w);
    assert_int_equal(s->rq.err.code, WERR_OK);
    sent_free(s);
    world_fini(&w);
}

static void test_a_sweep_goes_on_where_it_was(void **state)
{
    struct core_producer_rq rq[3];
    uint64_t tid[3];
    struct world w;
    (void)state;

    tid[0] = start(&w);
    tid[1] = world_topic(&w, "b", "partitions", "1", NULL);
    tid[2] = world_topic(&w, "c", "partitions", "1", NULL);
    for (int i = 0; i < 3; i++) {
        world_init_producer(&w, NULL, &rq[i]);
        world_produce(&w, tid[i], 0, rq[i].pid, 0, 5, WERR_OK);
    }
    dedupe_find(w.co, part_of(&w, tid[2]), rq[2].pid, false)->w.last_ms -= 8 * DAY_MS;
    dedupe_evict(w.co, 1);
    world_change(&w, CORE_TOPIC_DELETE, "b", NULL, WERR_OK, NULL); /* the next one goes */
    assert_int_equal(producers(&w), 2);
    dedupe_evict(w.co, 1); /* looks at the third, not at the first again */
    assert_int_equal(producers(&w), 1);
    assert_non_null(dedupe_find(w.co, part_of(&w, tid[0]), rq[0].pid, false));
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_that_does_not_fit),
        cmocka_unit_test(test_row_that_does_not_fit),
        cmocka_unit_test(test_row_of_a_partition_that_is_gone),
        cmocka_unit_test(test_partition_above_the_counter),
        cmocka_unit_test(test_counters_that_were_never_reached),
        cmocka_unit_test(test_partition_numbers_end),
        cmocka_unit_test(test_snapshot_ahead_of_its_roll),
        cmocka_unit_test(test_window_begins_after_a_hole),
        cmocka_unit_test(test_many_rows_at_once),
        cmocka_unit_test(test_seven_days),
        cmocka_unit_test(test_what_is_in_use_stays),
        cmocka_unit_test(test_a_sweep_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
