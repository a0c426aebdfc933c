/* A full disk met by jobs of different kinds one after the other. */
#include "storage/store_fault.h"
#include "tests/lib/test.h"
#include "tests/unit/broker/core_world.h"

static void changed(struct core_topic_rq *rq)
{
    ++*(int *)rq->arg;
}

/*
 * A topic change meets the full disk first, a second change waits behind it, one group is in flight
 * and another is being gathered: the waiting change must not submit what counts on offsets that are
 * gone.
 */
static void test_change_before_groups(void **state)
{
    struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    int first = 0, second = 0;
    struct world w;

    (void)state;
    world_init(&w);
    world_open(&w);
    uint64_t tid = world_topic(&w, "a", NULL);
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    store_mem_fault(w.st, &full);
    struct core_topic_rq alter1 = {
        .verb = CORE_TOPIC_ALTER, .name = slice_str("a"), .done = changed, .arg = &first};
    struct core_topic_rq alter2 = {
        .verb = CORE_TOPIC_ALTER, .name = slice_str("a"), .done = changed, .arg = &second};
    core_topic_change(w.co, &alter1);
    core_topic_change(w.co, &alter2);
    struct sent *flying = world_send(&w, tid, 0, 0, 0, 0, 5, "G");
    core_flush(w.co);
    struct sent *open = world_send(&w, tid, 0, 0, 0, 0, 2, "O");
    store_step(w.st);
    for (int i = 0; i < 10; i++) {
        world_step(&w);
    }
    assert_int_equal(first, 1);
    assert_int_equal(second, 1);
    assert_int_equal(alter1.err.code, WERR_STORAGE_FULL);
    assert_int_equal(flying->rq.err.code, WERR_STORAGE_FULL);
    assert_int_equal(open->rq.err.code, WERR_STORAGE_FULL);
    sent_free(flying);
    sent_free(open);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_change_before_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
