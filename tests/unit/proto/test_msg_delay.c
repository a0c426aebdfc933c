#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

static void test_produce_delayed(void **state)
{
    struct buf b = {0}, batch = {0};
    struct frame f = sample_frame("produce_delayed", &b);
    struct msg_produce m;
    struct msg_produce_ok ok;
    struct mpread r;

    (void)state;
    sample_batch(&batch);
    assert_int_equal(msg_get_produce(&f.args, &m, NULL), WERR_OK);
    assert_true(m.tid == 1001 && m.p == 3 && slice_eq(m.batch, buf_slice(&batch)));
    assert_true(m.deliver_at_ms == 1798000060000);
    assert_true(mpread_done(&f.args));
    f = sample_frame("produce", &b);
    assert_int_equal(msg_get_produce(&f.args, &m, NULL), WERR_OK);
    assert_true(m.deliver_at_ms == 0); /* not what the last message had */
    f = sample_frame("produce_delayed_ok", &b);
    assert_int_equal(msg_get_produce_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(!ok.has_offset && ok.level == LEVEL_DISK && ok.append_ms == 1798000000005);
    assert_true(slice_eq(ok.delay_id, slice_str("1798000060000-3-7")));
    f = sample_frame("produce_ok", &b);
    assert_int_equal(msg_get_produce_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.has_offset && ok.delay_id.n == 0);
    r = ARGS("\x95\xc0\x00\x02\x00\xc0");
    assert_int_equal(msg_get_produce_ok(&r, &ok, NULL), WERR_OK);
    assert_int_equal(ok.delay_id.n, 0);
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xaa"
             "deliver_at\xff");
    assert_int_equal(msg_get_produce(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xaa"
             "deliver_at\xcf\x00\x20\x00\x00\x00\x00\x00\x00");
    assert_int_equal(msg_get_produce(&r, &m, NULL), WERR_MALFORMED);
    buf_fini(&b);
    buf_fini(&batch);
}

/* The batch is sent between head and tail; the length is right for every width of the time. */
static void test_head_counts_the_tail(void **state)
{
    static const int64_t times[] = {0,     1,          127,       128,
                                    65535, UINT32_MAX, 1LL << 32, (int64_t)LIMIT_UINT};
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct msg_produce m = {
            .tid = 1, .p = 2, .batch = slice_str("not looked at here"), .deliver_at_ms = times[i]};
        struct msg_produce got;
        struct frame f;
        size_t head;

        buf_clear(&b);
        msg_put_produce_head(&b, 3, &m);
        buf_put(&b, m.batch.p, m.batch.n);
        head = b.len;
        msg_put_produce_tail(&b, &m);
        assert_int_equal(b.len != head, times[i] != 0);
        f = parse_frame(&b);
        assert_int_equal(msg_get_produce(&f.args, &got, NULL), WERR_OK);
        assert_true(got.deliver_at_ms == times[i] && slice_eq(got.batch, m.batch));
        assert_true(mpread_done(&f.args));
    }
    buf_fini(&b);
}

static void test_cancel(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("cancel_delayed", &b);
    struct msg_cancel_rq m;
    struct slice id;
    struct mpread r;
    uint32_t n, status;

    (void)state;
    assert_int_equal(msg_get_cancel(&f.args, &m, NULL), WERR_OK);
    assert_true(m.tid == 1001 && m.n_ids == 2);
    assert_true(msg_next_name(&m.ids, &id) && slice_eq(id, slice_str("1798000060000-3-7.0")));
    assert_true(msg_next_name(&m.ids, &id) && slice_eq(id, slice_str("nonsense")));
    assert_false(msg_next_name(&m.ids, &id));
    r = ARGS("\x92\x01\x91\x07"); /* an id is a str */
    assert_int_equal(msg_get_cancel(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x93\x01\x90\x01");
    assert_int_equal(msg_get_cancel(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("cancel_delayed_ok", &b);
    assert_int_equal(msg_get_cancel_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_cancelled(&f.args, &status, NULL), WERR_OK);
    assert_int_equal(status, CANCEL_DONE);
    assert_int_equal(msg_get_cancelled(&f.args, &status, NULL), WERR_OK);
    assert_int_equal(status, CANCEL_UNKNOWN);
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
}

static void test_delayed_list(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("delayed_list", &b);
    struct msg_delayed_list_ok m;
    struct msg_delayed d;
    struct slice after;
    struct mpread r;
    uint64_t tid;
    uint32_t limit;

    (void)state;
    assert_int_equal(msg_get_delayed_list(&f.args, &tid, &after, &limit, NULL), WERR_OK);
    assert_true(tid == 1001 && after.n == 0 && limit == 100);
    r = ARGS("\x91\x07");
    assert_int_equal(msg_get_delayed_list(&r, &tid, &after, &limit, NULL), WERR_OK);
    assert_true(tid == 7 && after.n == 0 && limit == 0);
    r = ARGS("\x92\x07\x81\xa5"
             "after\xa1x");
    assert_int_equal(msg_get_delayed_list(&r, &tid, &after, &limit, NULL), WERR_OK);
    assert_true(slice_eq(after, slice_str("x")));
    r = ARGS("\x92\x07\x81\xa6"
             "before\xa1x");
    assert_int_equal(msg_get_delayed_list(&r, &tid, &after, &limit, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("delayed_list_ok", &b);
    assert_int_equal(msg_get_delayed_list_ok(&f.args, &m, NULL), WERR_OK);
    assert_int_equal(m.n_items, 1);
    assert_true(msg_next_delayed(&m.items, &d));
    assert_true(slice_eq(d.id, slice_str("1798000060000-3-7")) && slice_eq(m.next, d.id));
    assert_true(d.p == 3 && d.due_ms == 1798000060000 && d.count == 1 && d.bytes == 78);
    assert_false(msg_next_delayed(&m.items, &d));
    r = ARGS("\x91\x90");
    assert_int_equal(msg_get_delayed_list_ok(&r, &m, NULL), WERR_OK);
    assert_true(m.n_items == 0 && m.next.n == 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce_delayed),
        cmocka_unit_test(test_head_counts_the_tail),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_delayed_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
