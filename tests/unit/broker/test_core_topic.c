/* Topics: creating, changing, deleting, listing, loading; and what 10,000 of them cost. */
#include "core_world.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

static void test_create_and_load(void **state)
{
    struct world w;
    struct core_topic_rq rq;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t version = core_metadata_version(w.co);
    const uint64_t tid = world_topic(&w, "orders", "partitions", "7", "retention.ms", "1d",
                                     "durability", "os", NULL);
    assert_true(core_metadata_version(w.co) > version);
    world_change(&w, CORE_TOPIC_CREATE, "orders", NULL, WERR_EXISTS, &rq);
    assert_int_equal(rq.tid, tid);
    world_change(&w, CORE_TOPIC_CREATE, "a/b", NULL, WERR_INVALID_CONFIG, NULL);
    world_crash(&w, 0); /* it was answered, so it is durable */
    world_open(&w);
    const struct core_topic *t = core_topic_by_name(w.co, slice_str("orders"));
    assert_non_null(t);
    assert_int_equal(core_topic_id(t), tid);
    assert_int_equal(core_topic_config(t)->partitions, 7);
    assert_int_equal(core_topic_config(t)->retention_ms, 86400000);
    assert_int_equal(core_topic_config(t)->durability, TOPIC_DURABILITY_OS);
    assert_true(core_topic_by_id(w.co, tid) == t);
    world_fini(&w);
}

static void on_done(struct core_topic_rq *rq)
{
    ++*(int *)rq->arg;
}

/* Changes of one name wait for each other; nobody sees a topic before it is durable. */
static void test_pending_creation(void **state)
{
    struct world w;
    int done = 0;
    struct core_topic_rq rq[3];
    (void)state;

    world_init(&w);
    world_open(&w);
    for (int i = 0; i < 3; i++) {
        rq[i] = (struct core_topic_rq){.verb = i == 2 ? CORE_TOPIC_DELETE : CORE_TOPIC_CREATE,
                                       .name = slice_str("a"),
                                       .done = on_done,
                                       .arg = &done};
        core_topic_change(w.co, &rq[i]);
    }
    assert_int_equal(done, 0);
    assert_null(core_topic_by_name(w.co, slice_str("a")));
    assert_int_equal(core_topic_count(w.co), 0);
    world_step(&w);
    assert_int_equal(done, 3);
    assert_int_equal(rq[0].err.code, WERR_OK);
    assert_int_equal(rq[1].err.code, WERR_EXISTS);
    assert_int_equal(rq[2].err.code, WERR_OK);
    assert_int_equal(core_topic_count(w.co), 0);
    world_fini(&w);
}

static void test_full_disk_leaves_no_trace(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct world w;
    struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = 9};
    (void)state;

    world_init(&w);
    world_open(&w);
    store_mem_fault(w.st, &full);
    world_change(&w, CORE_TOPIC_CREATE, "a", NULL, WERR_STORAGE_FULL, NULL);
    assert_null(core_topic_by_name(w.co, slice_str("a")));
    const uint64_t tid = world_topic(&w, "a", NULL);
    store_mem_fault(w.st, &full);
    world_change(&w, CORE_TOPIC_ALTER, "a", &c, WERR_STORAGE_FULL, NULL);
    assert_int_equal(core_topic_config(core_topic_by_id(w.co, tid))->partitions, 4);
    store_mem_fault(w.st, &full);
    world_change(&w, CORE_TOPIC_DELETE, "a", NULL, WERR_STORAGE_FULL, NULL);
    assert_non_null(core_topic_by_id(w.co, tid));
    world_pass(&w, 1500); /* the store finds out that there is room */
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    world_fini(&w);
}

static void test_alter_only_grows(void **state)
{
    struct world w;
    struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = 6};
    static struct msg_part_meta parts[LIMIT_PARTITIONS];
    static struct msg_slot_run runs[LIMIT_SLOTS];
    size_t n_runs = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "4", NULL);
    world_produce(&w, tid, 3, 0, 0, 2, WERR_OK);
    world_change(&w, CORE_TOPIC_ALTER, "a", &c, WERR_OK, NULL);
    world_produce(&w, tid, 5, 0, 0, 1, WERR_OK);
    for (int round = 0; round < 2; round++) { /* and after a restart */
        const struct core_topic *t = core_topic_by_id(w.co, tid);
        uint32_t per[6] = {0};
        core_topic_layout(t, parts, runs, &n_runs);
        assert_true(n_runs > 6);
        for (size_t i = 0; i < n_runs; i++) {
            per[runs[i].p] += runs[i].count;
        }
        for (uint32_t p = 0; p < 6; p++) {
            assert_int_equal(per[p], 1024 / 6 + (p < 1024 % 6));
            assert_int_equal(parts[p].p, p);
        }
        world_crash(&w, 0);
        world_open(&w);
    }
    c.partitions = 5;
    world_change(&w, CORE_TOPIC_ALTER, "a", &c, WERR_INVALID_CONFIG, NULL);
    c.partitions = 1025;
    world_change(&w, CORE_TOPIC_ALTER, "a", &c, WERR_INVALID_CONFIG, NULL);
    world_change(&w, CORE_TOPIC_ALTER, "b", &c, WERR_UNKNOWN_TOPIC, NULL);
    world_fini(&w);
}

static void test_deleted_means_gone(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    struct core_topic_rq rq;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 5, false, 0, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece));
    assert_false(watch_pull(&v, 1000, &piece));
    v.ready = 0;
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x"); /* accepted before: finished */
    world_change(&w, CORE_TOPIC_DELETE, "a", NULL, WERR_OK, &rq);
    assert_true(rq.bytes_freed > 0);
    assert_int_equal(s->rq.err.code, WERR_OK);
    sent_free(s);
    assert_int_equal(v.ready, 1);
    assert_true(watch_pull(&v, 1000, &piece));
    assert_int_equal(piece.err.code, WERR_UNKNOWN_TOPIC);
    assert_int_equal(core_reader_parts(v.rd), 0);
    core_reader_free(v.rd);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_UNKNOWN_TOPIC);

    const uint64_t again = world_topic(&w, "a", "partitions", "1", NULL);
    assert_true(again > tid);
    assert_int_equal(world_produce(&w, again, 0, 0, 0, 1, WERR_OK), 0);
    world_crash(&w, 0);
    world_open(&w);
    assert_null(core_topic_by_id(w.co, tid));
    assert_non_null(core_topic_by_id(w.co, again));
    world_fini(&w);
}

static void test_dry_run(void **state)
{
    struct world w;
    int done = 0;
    struct core_topic_rq rq = {.verb = CORE_TOPIC_CREATE,
                               .name = slice_str("a"),
                               .dry_run = true,
                               .done = on_done,
                               .arg = &done};
    (void)state;

    world_init(&w);
    world_open(&w);
    core_topic_change(w.co, &rq);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OK);
    assert_int_equal(rq.result.partitions, 4);
    world_step(&w);
    assert_int_equal(core_topic_count(w.co), 0);
    world_fini(&w);
}

static void test_names_in_order(void **state)
{
    static const char *const names[] = {"b", "a", "aa", "Z", "a-b", "a.b"};
    static const char *const sorted[] = {"Z", "a", "a-b", "a.b", "aa", "b"};
    struct world w;
    struct slice at = {0};
    (void)state;

    world_init(&w);
    world_open(&w);
    for (size_t i = 0; i < 6; i++) {
        (void)world_topic(&w, names[i], NULL);
    }
    world_crash(&w, 0);
    world_open(&w);
    for (size_t i = 0; i < 6; i++) {
        const struct core_topic *t = core_topic_after(w.co, at);
        assert_non_null(t);
        at = core_topic_name(t);
        assert_true(slice_eq(at, slice_str(sorted[i])));
    }
    assert_null(core_topic_after(w.co, at));
    world_fini(&w);
}

static void test_limits(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    w.conf.max_topics = 2;
    w.conf.max_partitions = 5;
    world_open(&w);
    (void)world_topic(&w, "a", "partitions", "3", NULL);
    world_change(&w, CORE_TOPIC_CREATE, "b", NULL, WERR_OVERLOADED, NULL); /* 4 more */
    (void)world_topic(&w, "b", "partitions", "1", NULL);
    const struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = 1};
    world_change(&w, CORE_TOPIC_CREATE, "c", &c, WERR_OVERLOADED, NULL);
    world_fini(&w);
}

enum { MANY = 10000 };

static void test_ten_thousand_topics_are_small(void **state)
{
    static struct core_topic_rq rq[MANY];
    static char names[MANY][16];
    struct world w;
    int done = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    const size_t before = mallinfo2().uordblks;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "topic-%05d", (i * 7919) % MANY);
        rq[i] = (struct core_topic_rq){.verb = CORE_TOPIC_CREATE,
                                       .name = slice_str(names[i]),
                                       .conf = {.set = TKEY_PARTITIONS, .partitions = 1},
                                       .done = on_done,
                                       .arg = &done};
        core_topic_change(w.co, &rq[i]);
        if (i % 64 == 0) {
            world_step(&w);
        }
    }
    world_step(&w);
    assert_int_equal(done, MANY);
    assert_int_equal(core_topic_count(w.co), MANY);
    world_close(&w);
    world_open(&w); /* what a server holds after a start, the memory store's rows included */
    const size_t each = (mallinfo2().uordblks - before) / MANY;
    print_message("10,000 topics with 1 partition: %zu bytes each (rows of the store included)\n",
                  each);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(each < 2048);
#endif
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_load),
        cmocka_unit_test(test_pending_creation),
        cmocka_unit_test(test_full_disk_leaves_no_trace),
        cmocka_unit_test(test_alter_only_grows),
        cmocka_unit_test(test_deleted_means_gone),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_names_in_order),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ten_thousand_topics_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
