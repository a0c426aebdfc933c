#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

#define MEMBER "\xc4\x10\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"

static void test_acquire(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("acquire", &b);
    struct msg_acquire m;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_acquire(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.who.group, slice_str("mail")) && m.who.epoch == 5);
    assert_true(m.max_msgs == 100 && m.max_bytes == 1 << 20 && m.max_wait_ms == 5000);
    assert_true(m.lease_ms == 0 && m.attempt == 17);
    r = ARGS("\x99\xa1g" MEMBER "\x05\x01\x02\x03\x00\x04\x01");
    assert_int_equal(msg_get_acquire(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x98\xa1g" MEMBER "\x05\x01\x02\x03\x00\xff");
    assert_int_equal(msg_get_acquire(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x98\xa1g" MEMBER "\x05\x01\x02\x03\xc0\x04"); /* lease_ms must be said */
    assert_int_equal(msg_get_acquire(&r, &m, NULL), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_acquire_answer(void **state)
{
    struct buf b = {0}, batch = {0};
    struct frame f = sample_frame("acquire_ok", &b);
    struct msg_acquired a;
    struct msg_range g;
    struct mpread r;
    uint32_t n;

    (void)state;
    sample_stored_batch(&batch);
    assert_int_equal(msg_get_acquire_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(msg_get_acquired(&f.args, &a, NULL), WERR_OK);
    assert_true(a.tid == 1001 && a.p == 3 && a.n_ranges == 1);
    assert_true(slice_eq(a.batches, buf_slice(&batch)));
    assert_true(msg_next_range(&a.ranges, &g));
    assert_true(g.first == 41 && g.last == 41 && g.deliveries == 2 && g.lease == 9001);
    assert_true(slice_eq(g.reason, slice_str("mail server did not answer")));
    assert_false(msg_next_range(&a.ranges, &g));
    assert_int_equal(a.ranges.err, WERR_OK);
    assert_true(mpread_done(&f.args));
    /* without a reason, with a nil, with what a later version adds */
    r = ARGS("\x94\x01\x02\x93\x94\x05\x06\x01\x07\x95\x08\x08\x02\x07\xc0"
             "\x96\x09\x09\x03\x07\xa1r\x93\x01\x02\x03\xc4\x00");
    assert_int_equal(msg_get_acquired(&r, &a, NULL), WERR_OK);
    assert_true(a.n_ranges == 3 && a.batches.n == 0);
    assert_true(msg_next_range(&a.ranges, &g) && g.last == 6 && g.reason.n == 0);
    assert_true(msg_next_range(&a.ranges, &g) && g.deliveries == 2 && g.reason.n == 0);
    assert_true(msg_next_range(&a.ranges, &g) && slice_eq(g.reason, slice_str("r")));
    assert_false(msg_next_range(&a.ranges, &g));
    /* a range that ends before it begins ends the walk with an error */
    r = ARGS("\x94\x01\x02\x91\x94\x06\x05\x01\x07\xc4\x00");
    assert_int_equal(msg_get_acquired(&r, &a, NULL), WERR_OK);
    assert_false(msg_next_range(&a.ranges, &g));
    assert_int_equal(a.ranges.err, WERR_MALFORMED);
    buf_fini(&b);
    buf_fini(&batch);
}

/* The caller sends the batches itself: the frame's length counts them all. */
static void test_acquire_answer_in_parts(void **state)
{
    struct buf head = {0}, b = {0};
    const struct msg_range g[] = {{.first = 1, .last = 2, .deliveries = 1, .lease = 3}};
    struct frame f;
    struct msg_acquired a;
    uint32_t n;
    size_t at, cut;

    (void)state;
    at = msg_begin_acquire_ok(&head, 9, 2);
    msg_put_acquired_head(&head, 1, 0, g, 1, 5);
    cut = head.len;
    msg_put_acquired_head(&head, 1, 1, g, 1, 3);
    frame_end(&head, at, 5 + 3);
    buf_put(&b, head.p, cut);
    buf_put(&b, "first", 5);
    buf_put(&b, head.p + cut, head.len - cut);
    buf_put(&b, "two", 3);
    f = parse_frame(&b);
    assert_int_equal(msg_get_acquire_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_acquired(&f.args, &a, NULL), WERR_OK);
    assert_true(a.p == 0 && slice_eq(a.batches, slice_str("first")));
    assert_int_equal(msg_get_acquired(&f.args, &a, NULL), WERR_OK);
    assert_true(a.p == 1 && slice_eq(a.batches, slice_str("two")));
    assert_true(mpread_done(&f.args));
    buf_fini(&head);
    buf_fini(&b);
}

static void test_settle(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("settle", &b);
    struct msg_settle m;
    struct msg_settle_item it;
    struct werror e;
    enum werr_class cls;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_settle(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.who.group, slice_str("mail")) && m.n_items == 5);
    assert_true(msg_next_settle_item(&m.items, &it));
    assert_true(it.tid == 1001 && it.p == 3 && it.lease == 9001 && it.first == 41 && it.last == 45);
    assert_true(it.verb == VERB_ACK && !it.has_arg && it.reason.n == 0);
    assert_true(msg_next_settle_item(&m.items, &it));
    assert_true(it.verb == VERB_NACK && it.has_arg && it.arg == 30000);
    assert_true(slice_eq(it.reason, slice_str("mail server did not answer")));
    assert_true(msg_next_settle_item(&m.items, &it) && it.verb == VERB_RELEASE);
    assert_true(msg_next_settle_item(&m.items, &it));
    assert_true(it.verb == VERB_DEAD && !it.has_arg); /* a nil in the place of arg */
    assert_true(slice_eq(it.reason, slice_str("no such address")));
    assert_true(msg_next_settle_item(&m.items, &it));
    assert_true(it.verb == VERB_EXTEND && it.arg == 60000 && it.reason.n == 0);
    assert_false(msg_next_settle_item(&m.items, &it));
    assert_int_equal(m.items.err, WERR_OK);
    f = sample_frame("settle_ok", &b);
    assert_int_equal(msg_get_results(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 5);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(msg_get_result(&f.args, &e, &cls, NULL), WERR_OK);
        assert_int_equal(e.code, i == 4 ? WERR_LEASE_LOST : WERR_OK);
    }
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
}

static void test_settle_is_strict(void **state)
{
    struct msg_settle m;
    struct msg_settle_item it;
    struct werror e;
    struct mpread r;

    (void)state;
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x96\x01\x02\x03\x04\x04\x04");
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_OK);
    assert_true(msg_next_settle_item(&m.items, &it) && it.verb == VERB_EXTEND);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x96\x01\x02\x03\x04\x04\x05"); /* verb 5 */
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x96\x01\x02\x03\x05\x04\x00"); /* 5 to 4 */
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x98\x01\x02\x03\x04\x04\x00\xc0\xc0");
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_OK);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x99\x01\x02\x03\x04\x04\x00\xc0\xc0\x01");
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x97\x01\x02\x03\x04\x04\x01\xff");
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x98\x01\x02\x03\x04\x04\x01\xc0\xa1\xff"); /* UTF-8 */
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x95\xa1g" MEMBER "\x05\x90\x01");
    assert_int_equal(msg_get_settle(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acquire),
        cmocka_unit_test(test_acquire_answer),
        cmocka_unit_test(test_acquire_answer_in_parts),
        cmocka_unit_test(test_settle),
        cmocka_unit_test(test_settle_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
