/* Positions: where a group begins, commits and their durability, seek. */
#include "group_world.h"

#include <stdlib.h>

#include "tests/lib/test.h"

static uint64_t open_with_topic(struct world *w, const char *partitions)
{
    world_init(w);
    world_open(w);
    return world_topic(w, "t", "partitions", partitions, NULL);
}

static void test_rules_of_a_commit(void **state)
{
    struct world w;
    struct peer a, b;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_init(&b, &w, "g", 'b');
    peer_join(&a, "t", WERR_OK);
    peer_join(&b, "t", WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 6), WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 6), WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 5), WERR_CONDITION_FAILED);
    assert_non_null(strstr(a.err.text, "5 is below 6"));
    assert_int_equal(peer_commit(&a, tid, 0, 11), WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(peer_commit(&a, tid, 0, 10), WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 1, 0), WERR_UNKNOWN_TOPIC);
    assert_int_equal(peer_commit(&b, tid, 0, 10), WERR_NOT_ASSIGNED);
    struct peer other = a;
    other.epoch = a.epoch + 1000;
    assert_int_equal(peer_commit(&other, tid, 0, 10), WERR_FENCED_MEMBER);
    other.id[0]++;
    other.epoch = a.epoch;
    assert_int_equal(peer_commit(&other, tid, 0, 10), WERR_UNKNOWN_MEMBER);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 10);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void count_done(struct core_commit_rq *rq)
{
    ++*(int *)rq->arg;
}

/* Answered when durable, all of one turn in one txn; each item has a result of its own. */
static void test_commits_of_a_turn_are_one_txn(void **state)
{
    enum { N = 20 };
    struct world w;
    static struct peer m[N];
    static struct core_commit_rq rq[N];
    static struct msg_commit_item items[N][3];
    struct store_stats before, after;
    int done = 0;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    for (int i = 0; i < N; i++) {
        const char name[] = {'g', (char)('a' + i), '\0'};
        peer_init(&m[i], &w, name, 'a');
        peer_join(&m[i], "t", WERR_OK);
    }
    store_stats(w.st, &before);
    for (int i = 0; i < N; i++) {
        for (uint32_t k = 0; k < 3; k++) {
            items[i][k] = (struct msg_commit_item){.tid = tid, .p = k, .offset = k == 0 ? 10 : 0};
        }
        rq[i] = (struct core_commit_rq){
            .who = peer_who(&m[i]), .items = items[i], .n = 3, .done = count_done, .arg = &done};
        core_group_commit(w.co, &rq[i]);
    }
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    assert_int_equal(done, 0); /* written is not durable */
    assert_int_equal(world_committed(&w, "ga", tid, 0).offset, 0);
    world_step(&w);
    store_stats(w.st, &after);
    assert_int_equal(after.txns - before.txns, 1);
    assert_int_equal(done, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(rq[i].err.code, WERR_OK);
        assert_int_equal(rq[i].results[0].code, WERR_OK);
        assert_int_equal(rq[i].results[1].code, WERR_OK);
        assert_int_equal(rq[i].results[2].code, WERR_UNKNOWN_TOPIC);
        free(rq[i].results);
        peer_fini(&m[i]);
    }
    world_fini(&w);
}

/* A commit that was answered is there after a power cut, one that was not is not or is whole. */
static void test_power_cut(void **state)
{
    struct world w;
    struct peer a;
    struct core_commit_rq rq;
    int done = 0;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    for (unsigned keep = 0; keep < 2; keep++) {
        const uint64_t at = 3 * keep;
        assert_int_equal(peer_commit(&a, tid, 0, at + 3), WERR_OK);
        const struct msg_commit_item item = {.tid = tid, .p = 0, .offset = at + 4};
        rq = (struct core_commit_rq){
            .who = peer_who(&a), .items = &item, .n = 1, .done = count_done, .arg = &done};
        core_group_commit(w.co, &rq);
        core_flush(w.co);
        store_step_write(w.st);
        peer_drop(&a);
        world_crash(&w, keep);
        assert_int_equal(done, keep + 1);
        assert_int_equal(rq.err.code, WERR_INDETERMINATE);
        assert_null(rq.results);
        world_open(&w);
        assert_int_equal(world_committed(&w, "g", tid, 0).offset, at + 3 + keep);
        assert_int_equal(world_committed(&w, "g", tid, 0).note.n, keep == 0 ? 4 : 0);
        peer_join(&a, "t", WERR_OK);
    }
    peer_fini(&a);
    world_fini(&w);
}

/* The disk is full for another txn, while a commit is still being gathered. */
static void test_a_commit_that_never_left(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    const struct store_fault none = {.k = 0};
    struct world w;
    struct peer a, b;
    int done = 0;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "1");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_init(&b, &w, "h", 'b');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 2), WERR_OK);
    store_mem_fault(w.st, &full);
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
    core_flush(w.co);
    const struct msg_commit_item item = {.tid = tid, .p = 0, .offset = 7};
    struct core_commit_rq rq = {
        .who = peer_who(&a), .items = &item, .n = 1, .done = count_done, .arg = &done};
    core_group_commit(w.co, &rq);
    peer_join_start(&b, "t");
    store_step(w.st);
    store_mem_fault(w.st, &none);
    assert_int_equal(s->rq.err.code, WERR_STORAGE_FULL);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_STORAGE_FULL);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.err.code, WERR_STORAGE_FULL);
    assert_null(core_group_by_name(w.co, slice_str("h")));
    world_pass(&w, 3000);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 2); /* it did not happen later */
    assert_int_equal(peer_commit(&a, tid, 0, 5), WERR_OK);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 5);
    sent_free(s);
    peer_fini(&a);
    peer_fini(&b);
    world_fini(&w);
}

static void test_where_a_group_begins(void **state)
{
    static const struct {
        const char *group;
        int64_t start;
        uint64_t want[2];
    } cases[] = {
        {"early", -1, {0, 0}}, {"late", -2, {9, 4}}, {"old", 1000, {0, 0}}, {"mid", 0, {6, 4}}};
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 6, WERR_OK);
    world_produce(&w, tid, 1, 0, 0, 4, WERR_OK);
    world_pass(&w, 10000);
    const int64_t mid_ms = w.wall_ms;
    world_pass(&w, 10000);
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        peer_init(&a, &w, cases[i].group, 'a');
        a.join.start = cases[i].start == 0 ? mid_ms : cases[i].start;
        peer_join(&a, "t", WERR_OK);
        assert_int_equal(a.n_parts, 2);
        for (uint32_t k = 0; k < 2; k++) {
            assert_int_equal(a.parts[k].offset, cases[i].want[a.parts[k].p]);
            const struct msg_committed c = world_committed(&w, cases[i].group, tid, a.parts[k].p);
            assert_int_equal(c.offset, cases[i].want[a.parts[k].p]);
            assert_int_equal(c.ts_ms, 0); /* never committed */
        }
        peer_fini(&a);
    }
    /* Fixed then: a crash later does not move it, nor does asking for another start. */
    world_produce(&w, tid, 0, 0, 0, 5, WERR_OK);
    world_crash(&w, 0);
    world_open(&w);
    peer_init(&a, &w, "late", 'b');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(world_committed(&w, "late", tid, 0).offset, 9);
    peer_fini(&a);
    world_fini(&w);
}

/* The connection ends, or the broker, while the store looks for the start. */
static void test_ended_while_looking(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 6, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    a.join.start = w.wall_ms;
    peer_join_start(&a, "t");
    assert_int_equal(a.done, 0);
    assert_false(core_idle(w.co));
    peer_drop(&a);
    world_step(&w);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err.code, WERR_UNKNOWN_MEMBER);
    assert_null(core_group_by_name(w.co, slice_str("g")));
    peer_join_start(&a, "t");
    assert_int_equal(a.done, 0);
    world_crash(&w, 0);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.err.code, WERR_SHUTTING_DOWN);
    peer_fini(&a);
    world_open(&w);
    peer_join_start(&a, "t"); /* its topic goes meanwhile */
    world_change(&w, CORE_TOPIC_DELETE, "t", NULL, WERR_OK, NULL);
    assert_int_equal(a.done, 1);
    assert_true(a.err.code == WERR_UNKNOWN_TOPIC || a.err.code == WERR_OK);
    peer_fini(&a);
    world_fini(&w);
}

static void test_seek(void **state)
{
    struct world w;
    struct peer a;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    assert_int_equal(peer_commit(&a, tid, 0, 8), WERR_OK);
    assert_int_equal(world_seek(&w, "x", tid, 0, 2, false), WERR_UNKNOWN_GROUP);
    assert_int_equal(world_seek(&w, "g", tid, 0, 2, false), WERR_GROUP_BUSY);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 8);
    assert_int_equal(world_seek(&w, "g", tid, 0, 11, true), WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(a.fenced, 0); /* all is checked before anything is changed */
    const uint64_t epoch = a.epoch;
    assert_int_equal(world_seek(&w, "g", tid, 0, 2, true), WERR_OK);
    assert_int_equal(a.fenced, 1);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 2);
    assert_int_equal(peer_commit(&a, tid, 0, 9), WERR_UNKNOWN_MEMBER);
    peer_drop(&a);
    peer_join(&a, "t", WERR_OK);
    assert_true(a.epoch > epoch);
    assert_false(a.resumed);
    const struct peer now = a;
    a.epoch = epoch;
    assert_int_equal(peer_commit(&a, tid, 0, 9), WERR_FENCED_MEMBER);
    a.epoch = now.epoch;
    assert_int_equal(peer_commit(&a, tid, 0, 3), WERR_OK); /* up from there */
    peer_leave(&a);
    assert_int_equal(world_seek(&w, "g", tid, 0, 1, false), WERR_OK);
    peer_drop(&a);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 1);
    assert_true(world_logged(&w, "group_seek"));
    peer_fini(&a);
    world_fini(&w);
}

static void reset_done(struct core_reset_rq *rq)
{
    ++*(int *)rq->arg;
}

static void test_seek_is_all_or_nothing(void **state)
{
    struct world w;
    struct peer a;
    int done = 0;
    (void)state;

    const uint64_t tid = open_with_topic(&w, "2");
    world_produce(&w, tid, 0, 0, 0, 10, WERR_OK);
    peer_init(&a, &w, "g", 'a');
    peer_join(&a, "t", WERR_OK);
    peer_leave(&a);
    const struct msg_reset_item items[] = {{tid, 0, 4}, {tid, 1, 4}};
    struct core_reset_rq rq = {
        .group = slice_str("g"), .items = items, .n = 2, .done = reset_done, .arg = &done};
    core_group_reset(w.co, &rq);
    world_step(&w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(rq.results[0].err.code, WERR_OK);
    assert_int_equal(rq.results[1].err.code, WERR_OFFSET_OUT_OF_RANGE);
    free(rq.results);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 0);
    rq.n = 1;
    rq.dry_run = true;
    core_group_reset(w.co, &rq);
    assert_int_equal(done, 2);
    assert_int_equal(rq.results[0].old, 0);
    assert_int_equal(rq.results[0].new_offset, 4);
    free(rq.results);
    assert_int_equal(world_committed(&w, "g", tid, 0).offset, 0);
    peer_fini(&a);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_of_a_commit),
        cmocka_unit_test(test_commits_of_a_turn_are_one_txn),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_a_commit_that_never_left),
        cmocka_unit_test(test_where_a_group_begins),
        cmocka_unit_test(test_ended_while_looking),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_seek_is_all_or_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
