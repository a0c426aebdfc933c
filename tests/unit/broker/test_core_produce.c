/* Appending, acknowledging, the high watermark, refusals for want of room. */
#include "core_world.h"

#include "tests/lib/test.h"

static void test_ack_only_when_durable(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    uint64_t next = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 0, false, 0, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece)); /* caught up at 0 */
    assert_int_equal(piece.data.n, 0);
    assert_false(watch_pull(&v, 1000, &piece));

    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 3, "hello");
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    assert_int_equal(s->done, 0);
    assert_int_equal(v.ready, 0);
    assert_false(watch_pull(&v, 1000, &piece));

    store_step_sync(w.st);
    store_poll(w.st);
    assert_int_equal(s->done, 1);
    assert_int_equal(s->rq.err.code, WERR_OK);
    assert_int_equal(s->rq.ok.base_offset, 0);
    assert_int_equal(s->rq.ok.level, LEVEL_DISK);
    assert_int_equal(s->rq.ok.append_ms, w.wall_ms);
    sent_free(s);
    assert_int_equal(v.ready, 1);
    assert_true(watch_pull(&v, 1000, &piece));
    piece_check(&piece, &next);
    assert_int_equal(next, 3);
    blob_unref(piece.data.owner);
    assert_true(watch_pull(&v, 1000, &piece)); /* caught up again */
    assert_int_equal(piece.data.n, 0);
    assert_int_equal(piece.hw, 3);
    core_reader_free(v.rd);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ack_only_when_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
