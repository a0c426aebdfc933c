/* Producer ids, names and epochs. */
#include "core_world.h"

#include <stdlib.h>

#include "tests/lib/test.h"

static void test_ids_are_never_given_out_twice(void **state)
{
    struct world w;
    struct core_producer_rq rq;
    uint64_t last = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    for (int i = 0; i < 5000; i++) { /* over the end of a block */
        world_init_producer(&w, NULL, &rq);
        assert_int_equal(rq.err.code, WERR_OK);
        assert_true(rq.pid > last);
        last = rq.pid;
        if (i % 1000 == 0) {
            world_crash(&w, 0);
            world_open(&w);
        }
    }
    world_fini(&w);
}

static void on_done(struct core_producer_rq *rq)
{
    ++*(int *)rq->arg;
}

static void test_a_crowd_waits_for_a_block(void **state)
{
    static struct core_producer_rq rq[9000];
    struct world w;
    int done = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    for (int i = 0; i < 9000; i++) {
        rq[i] = (struct core_producer_rq){.done = on_done, .arg = &done};
        core_init_producer(w.co, &rq[i]);
    }
    assert_int_equal(done, 0); /* nothing is given out before it is durable */
    for (int i = 0; i < 5; i++) {
        world_step(&w);
    }
    assert_int_equal(done, 9000);
    for (int i = 0; i < 9000; i++) {
        assert_int_equal(rq[i].err.code, WERR_OK);
        assert_true(rq[i].pid > 0);
    }
    world_fini(&w);
}

static void test_named_producer_goes_on(void **state)
{
    struct world w;
    struct core_producer_rq rq;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "4", NULL);
    world_init_producer(&w, "loader", &rq);
    assert_int_equal(rq.err.code, WERR_OK);
    assert_int_equal(rq.epoch, 0);
    assert_int_equal(rq.n_pos, 0);
    const uint64_t pid = rq.pid;
    world_produce(&w, tid, 1, pid, 0, 5, WERR_OK);
    world_produce(&w, tid, 1, 0, 0, 2, WERR_OK); /* somebody else */
    world_produce(&w, tid, 1, pid, 5, 3, WERR_OK);
    world_produce(&w, tid, 3, pid, 0, 1, WERR_OK);
    struct sent *s = world_send(&w, tid, 1, pid, 0, 8, 1, "x"); /* in flight when it comes back */
    world_init_producer(&w, "loader", &rq);
    assert_int_equal(s->rq.err.code, WERR_OK);
    sent_free(s);
    assert_int_equal(rq.pid, pid);
    assert_int_equal(rq.epoch, 1);
    assert_int_equal(rq.n_pos, 2);
    for (size_t i = 0; i < rq.n_pos; i++) {
        assert_int_equal(rq.pos[i].tid, tid);
        assert_int_equal(rq.pos[i].last_seq, rq.pos[i].p == 1 ? 8 : 0);
        assert_int_equal(rq.pos[i].last_offset, rq.pos[i].p == 1 ? 10 : 0);
    }
    free(rq.pos);
    world_produce(&w, tid, 1, pid, 9, 1, WERR_PRODUCER_FENCED); /* the old one */
    s = world_send(&w, tid, 1, pid, 1, 9, 1, "x");
    world_step(&w);
    assert_int_equal(s->rq.err.code, WERR_OK);
    sent_free(s);
    world_crash(&w, 0);
    world_open(&w);
    world_produce(&w, tid, 1, pid, 10, 1, WERR_PRODUCER_FENCED); /* also after a restart */
    world_init_producer(&w, "loader", &rq);
    assert_int_equal(rq.epoch, 2);
    assert_int_equal(rq.n_pos, 2);
    free(rq.pos);
    world_init_producer(&w, "not a name", &rq);
    assert_int_not_equal(rq.err.code, WERR_OK);
    world_fini(&w);
}

/* The counters must not fall behind a name whose first INIT met a full disk. */
static void test_full_disk_and_a_second_try(void **state)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    struct world w;
    struct core_producer_rq one, two;
    (void)state;

    world_init(&w);
    world_open(&w);
    store_mem_fault(w.st, &full);
    world_init_producer(&w, "one", &one);
    assert_int_equal(one.err.code, WERR_STORAGE_FULL);
    world_init_producer(&w, "one", &one);
    assert_int_equal(one.err.code, WERR_OK);
    world_crash(&w, 0);
    world_open(&w);
    world_init_producer(&w, "two", &two);
    assert_int_equal(two.err.code, WERR_OK);
    assert_int_not_equal(one.pid, two.pid);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_never_given_out_twice),
        cmocka_unit_test(test_a_crowd_waits_for_a_block),
        cmocka_unit_test(test_named_producer_goes_on),
        cmocka_unit_test(test_full_disk_and_a_second_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
