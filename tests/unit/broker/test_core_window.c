/* The rules of idempotence for one producer in one partition, case by case. */
#include "broker/core/window.h"

#include "tests/lib/test.h"

static enum window_verdict judge(const struct window *w, uint32_t seq, uint16_t count)
{
    uint64_t offset = 0;

    return window_judge(w, seq, count, &offset);
}

static void test_begins_at_zero(void **state)
{
    struct window w = {0};
    (void)state;

    assert_int_equal(judge(&w, 0, 5), WINDOW_APPEND);
    assert_int_equal(judge(&w, 1, 5), WINDOW_AHEAD);
    assert_int_equal(judge(&w, UINT32_MAX, 1), WINDOW_MISFIT); /* before its first record */
    assert_int_equal(window_end_offset(&w), 0);
    window_fini(&w);
}

static void test_next_known_gap(void **state)
{
    struct window w = {0};
    uint64_t offset = 0;
    (void)state;

    window_push(&w, 100, 3); /* 0..2 */
    window_push(&w, 110, 2); /* 3..4, others in between */
    assert_int_equal(judge(&w, 5, 1), WINDOW_APPEND);
    assert_int_equal(judge(&w, 6, 1), WINDOW_AHEAD);
    assert_int_equal(window_judge(&w, 0, 3, &offset), WINDOW_KNOWN);
    assert_int_equal(offset, 100);
    assert_int_equal(window_judge(&w, 3, 2, &offset), WINDOW_KNOWN);
    assert_int_equal(offset, 110);
    assert_int_equal(window_end_offset(&w), 112);
    assert_int_equal(window_oldest_seq(&w), 0);
    window_fini(&w);
}

static void test_partial_overlaps_never_fit(void **state)
{
    struct window w = {0};
    (void)state;

    window_push(&w, 0, 3);
    window_push(&w, 3, 3);
    assert_int_equal(judge(&w, 0, 2), WINDOW_MISFIT); /* shorter */
    assert_int_equal(judge(&w, 0, 4), WINDOW_MISFIT); /* longer */
    assert_int_equal(judge(&w, 0, 6), WINDOW_MISFIT); /* two at once */
    assert_int_equal(judge(&w, 1, 2), WINDOW_MISFIT); /* inside */
    assert_int_equal(judge(&w, 2, 2), WINDOW_MISFIT); /* across */
    assert_int_equal(judge(&w, 5, 1), WINDOW_MISFIT);
    assert_int_equal(judge(&w, 5, 2), WINDOW_MISFIT); /* across the end */
    window_fini(&w);
}

static void test_window_is_64_batches(void **state)
{
    struct window w = {0};
    (void)state;

    for (uint32_t i = 0; i < LIMIT_PRODUCER_WINDOW; i++) {
        window_push(&w, (uint64_t)i * 2, 2);
    }
    assert_int_equal(judge(&w, 0, 2), WINDOW_KNOWN);
    window_push(&w, 1000, 2);
    assert_int_equal(w.n, LIMIT_PRODUCER_WINDOW);
    assert_int_equal(judge(&w, 0, 2), WINDOW_FORGOTTEN);
    assert_int_equal(judge(&w, 0, 1), WINDOW_FORGOTTEN); /* cannot be told apart any more */
    assert_int_equal(judge(&w, 0, 3), WINDOW_MISFIT);    /* reaches into the window */
    assert_int_equal(judge(&w, 1, 2), WINDOW_MISFIT);
    assert_int_equal(judge(&w, 2, 2), WINDOW_KNOWN);
    assert_int_equal(w.floor, 2);
    window_fini(&w);
}

static void test_sequence_wraps(void **state)
{
    struct window w = {.next_seq = UINT32_MAX - 2}; /* as after 2^32 - 3 records */
    uint64_t offset = 0;
    (void)state;

    window_push(&w, 10, 2); /* ends one before the wrap */
    assert_int_equal(judge(&w, UINT32_MAX, 4), WINDOW_APPEND);
    window_push(&w, 12, 4); /* 2^32-1, 0, 1, 2 */
    assert_int_equal(judge(&w, 3, 1), WINDOW_APPEND);
    assert_int_equal(judge(&w, 4, 1), WINDOW_AHEAD);
    assert_int_equal(window_judge(&w, UINT32_MAX, 4, &offset), WINDOW_KNOWN);
    assert_int_equal(offset, 12);
    assert_int_equal(window_judge(&w, UINT32_MAX - 2, 2, &offset), WINDOW_KNOWN);
    assert_int_equal(offset, 10);
    assert_int_equal(judge(&w, 0, 3), WINDOW_MISFIT); /* inside the one that wraps */
    assert_int_equal(judge(&w, UINT32_MAX - 3, 1), WINDOW_FORGOTTEN);
    /* Half the space away is ahead, more than half is behind. */
    assert_int_equal(judge(&w, 3 + (UINT32_C(1) << 31) - 1, 1), WINDOW_AHEAD);
    assert_int_equal(judge(&w, 3 + (UINT32_C(1) << 31), 1), WINDOW_FORGOTTEN);
    window_fini(&w);
}

static void test_rollback(void **state)
{
    struct window w = {0};
    (void)state;

    for (uint32_t i = 0; i < 70; i++) {
        window_push(&w, i, 1);
    }
    window_rollback(&w, 68);
    assert_int_equal(w.next_seq, 68);
    assert_int_equal(judge(&w, 68, 1), WINDOW_APPEND);
    assert_int_equal(judge(&w, 67, 1), WINDOW_KNOWN);
    window_rollback(&w, 0);
    assert_int_equal(w.n, 0);
    assert_int_equal(w.next_seq, 6);
    assert_int_equal(window_end_offset(&w),
                     6); /* what the ring forgot is still known to be there */
    assert_int_equal(judge(&w, 5, 1), WINDOW_FORGOTTEN);
    assert_int_equal(judge(&w, 6, 1), WINDOW_APPEND);
    window_fini(&w);
}

static void test_ring_grows_on_demand(void **state)
{
    struct window w = {0};
    (void)state;

    window_push(&w, 0, 1);
    assert_int_equal(w.cap, 2);
    for (uint32_t i = 1; i < 200; i++) {
        window_push(&w, i, 1);
        assert_true(w.cap <= LIMIT_PRODUCER_WINDOW);
        assert_int_equal(window_at(&w, w.n - 1U)->base_offset, i);
    }
    window_fini(&w);
    window_fini(&w); /* twice */
}

static void test_snapshot(void **state)
{
    struct window w = {.epoch = 7, .last_ms = 123456789}, back;
    struct buf row = {0};
    struct werror e = {0};
    (void)state;

    for (uint32_t i = 0; i < 100; i++) {
        window_push(&w, i * 10, (uint16_t)(1 + i % 5));
    }
    window_encode(&w, &row);
    assert_int_equal(window_decode(&back, buf_slice(&row), &e), WERR_OK);
    assert_int_equal(back.next_seq, w.next_seq);
    assert_int_equal(back.n, w.n);
    assert_int_equal(back.epoch, 7);
    assert_int_equal(back.last_ms, 123456789);
    assert_int_equal(back.floor, w.floor);
    for (unsigned i = 0; i < w.n; i++) {
        assert_int_equal(window_at(&back, i)->base_offset, window_at(&w, i)->base_offset);
        assert_int_equal(window_at(&back, i)->count, window_at(&w, i)->count);
    }
    window_fini(&back);
    for (size_t n = 0; n < row.len; n++) { /* every shorter row is refused */
        assert_int_equal(window_decode(&back, slice_of(row.p, n), &e), WERR_CORRUPT);
        window_fini(&back);
    }
    row.p[0] = 2;
    assert_int_equal(window_decode(&back, buf_slice(&row), &e), WERR_FORMAT_NEWER);
    row.p[0] = 1;
    memset(row.p + 3, 0, 8); /* fewer records than the batches hold */
    assert_int_equal(window_decode(&back, buf_slice(&row), &e), WERR_CORRUPT);
    window_fini(&w);
    buf_fini(&row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_at_zero),
        cmocka_unit_test(test_next_known_gap),
        cmocka_unit_test(test_partial_overlaps_never_fit),
        cmocka_unit_test(test_window_is_64_batches),
        cmocka_unit_test(test_sequence_wraps),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_ring_grows_on_demand),
        cmocka_unit_test(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
