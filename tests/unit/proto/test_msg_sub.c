#include "tests/unit/proto/args.h"

static void test_subscribe(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("subscribe", &b);
    struct msg_subscribe m;
    struct msg_sub_part p;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_subscribe(&f.args, &m, NULL), WERR_OK);
    assert_true(m.sub == 7 && m.n_parts == 2 && m.credit == 1 << 20);
    assert_true(m.max_wait_ms == 20 && m.max_push == 0 && m.min_bytes == 0);
    assert_true(msg_next_sub_part(&m.parts, &p));
    assert_true(p.tid == 1001 && p.p == 3 && p.offset == 41 && !p.has_epoch);
    assert_true(msg_next_sub_part(&m.parts, &p));
    assert_true(p.p == 0 && p.has_epoch && p.epoch == 1);
    assert_false(msg_next_sub_part(&m.parts, &p));
    assert_int_equal(m.parts.err, WERR_OK);
    r = ARGS("\x93\x07\x90\x00");
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_OK);
    r = ARGS("\x95\x07\x90\x00\x80\xc0");
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_OK);
    assert_true(m.who.group.n == 0);
    r = ARGS("\x95\x07\x90\x00\x80\x93\xa1g\xa1m\x01"); /* a member is a bin of 16 */
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x94\x07\x90\x00\x81\xa3new\x01");
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\x07\x90\x00\x81\xa8max_push\xff");
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x93\x07\x91\x95\x01\x02\x03\x04\x05\x00");
    assert_int_equal(msg_get_subscribe(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    buf_fini(&b);
}

static void test_partitions_at_n_and_one_more(void **state)
{
    static struct msg_sub_part parts[LIMIT_SUB_PARTITIONS + 1];
    struct msg_subscribe want = {.sub = 1};
    struct buf b = {0};

    (void)state;
    for (size_t n = LIMIT_SUB_PARTITIONS; n <= LIMIT_SUB_PARTITIONS + 1; n++) {
        enum werr expect = n == LIMIT_SUB_PARTITIONS ? WERR_OK : WERR_TOO_LARGE;
        struct msg_subscribe m;
        struct msg_sub_update u;
        struct frame f;

        buf_clear(&b);
        msg_put_subscribe(&b, 1, &want, parts, n);
        f = parse_frame(&b);
        assert_int_equal(msg_get_subscribe(&f.args, &m, NULL), expect);
        buf_clear(&b);
        msg_put_sub_update(&b, 1, 1, parts, n, NULL, 0);
        f = parse_frame(&b);
        assert_int_equal(msg_get_sub_update(&f.args, &u, NULL), expect);
        buf_clear(&b);
        msg_put_sub_update(&b, 1, 1, NULL, 0, parts, n);
        f = parse_frame(&b);
        assert_int_equal(msg_get_sub_update(&f.args, &u, NULL), expect);
    }
    buf_fini(&b);
}

static void test_credit(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("credit", &b);
    struct mpread r;
    uint64_t limit;

    (void)state;
    assert_true(f.kind == FRAME_NOTIFY && f.op == OP_CREDIT && f.id == 7);
    assert_int_equal(msg_get_credit(&f.args, &limit, NULL), WERR_OK);
    assert_true(limit == (1 << 20) + 78);
    r = ARGS("\x91\xcf\x00\x1f\xff\xff\xff\xff\xff\xff");
    assert_int_equal(msg_get_credit(&r, &limit, NULL), WERR_OK);
    r = ARGS("\x91\xcf\x00\x20\x00\x00\x00\x00\x00\x00");
    assert_int_equal(msg_get_credit(&r, &limit, NULL), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_sub_update(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("sub_update", &b);
    struct msg_sub_update m;
    struct msg_sub_part p;
    struct mpread r;
    uint64_t tid;
    uint32_t part;

    (void)state;
    assert_int_equal(msg_get_sub_update(&f.args, &m, NULL), WERR_OK);
    assert_true(m.sub == 7 && m.n_add == 1 && m.n_drop == 2);
    assert_true(msg_next_sub_part(&m.add, &p) && p.p == 2 && p.offset == 9);
    assert_false(msg_next_sub_part(&m.add, &p)); /* does not run into the dropped ones */
    assert_int_equal(m.add.err, WERR_OK);
    assert_true(msg_next_drop(&m.drop, &tid, &part) && tid == 1001 && part == 3);
    assert_true(msg_next_drop(&m.drop, &tid, &part) && part == 0);
    assert_false(msg_next_drop(&m.drop, &tid, &part));
    assert_int_equal(m.drop.err, WERR_OK);
    f = sample_frame("unsubscribe", &b);
    assert_int_equal(msg_get_sub_update(&f.args, &m, NULL), WERR_OK);
    assert_true(m.n_add == 0 && m.n_drop == 0);
    r = ARGS("\x93\x07\x90\x91\x93\x01\x02\x03");
    assert_int_equal(msg_get_sub_update(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    buf_fini(&b);
}

static void test_deliver(void **state)
{
    struct buf b = {0}, batch = {0};
    struct frame f = sample_frame("deliver", &b);
    struct msg_delivered d;
    uint32_t n;

    (void)state;
    sample_stored_batch(&batch);
    assert_true(f.kind == FRAME_NOTIFY && f.op == OP_DELIVER && f.id == 7);
    assert_int_equal(msg_get_deliver(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_delivered(&f.args, &d, NULL), WERR_OK);
    assert_true(d.tid == 1001 && d.p == 3 && d.hw == 42);
    assert_true(slice_eq(d.batches, buf_slice(&batch)));
    assert_int_equal(msg_get_delivered(&f.args, &d, NULL), WERR_OK);
    assert_true(d.p == 0 && d.hw == 20 && d.batches.n == 0);
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
    buf_fini(&batch);
}

static void test_notices(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("sub_error", &b);
    struct msg_sub_error m;
    struct slice reason, kind, name;
    uint32_t ms;

    (void)state;
    assert_int_equal(msg_get_sub_error(&f.args, &m, NULL), WERR_OK);
    assert_true(m.tid == 1001 && m.p == 0 && m.err.code == WERR_OFFSET_OUT_OF_RANGE);
    assert_true(m.err_class == WCLASS_NEVER && m.log_start == 10 && m.hw == 20);
    f = sample_frame("going_away", &b);
    assert_true(f.op == OP_GOING_AWAY && f.id == 0);
    assert_int_equal(msg_get_going_away(&f.args, &reason, &ms, NULL), WERR_OK);
    assert_true(slice_eq(reason, slice_str("shutting down")) && ms == 10000);
    f = sample_frame("changed", &b);
    assert_int_equal(msg_get_changed(&f.args, &kind, &name, NULL), WERR_OK);
    assert_true(slice_eq(kind, slice_str("topic")) && slice_eq(name, slice_str("orders")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscribe), cmocka_unit_test(test_partitions_at_n_and_one_more),
        cmocka_unit_test(test_credit),    cmocka_unit_test(test_sub_update),
        cmocka_unit_test(test_deliver),   cmocka_unit_test(test_notices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
