#include <stdlib.h>

#include "tests/unit/proto/args.h"

static void test_produce(void **state)
{
    struct buf b = {0}, batch = {0};
    struct frame f = sample_frame("produce", &b);
    struct msg_produce m;
    struct werror e;
    struct mpread r;

    (void)state;
    sample_batch(&batch);
    assert_int_equal(msg_get_produce(&f.args, &m, &e), WERR_OK);
    assert_true(m.tid == 1001 && m.p == 3 && slice_eq(m.batch, buf_slice(&batch)));
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xaa"
             "deliver_at\xc0");
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_OK);
    assert_true(m.deliver_at_ms == 0);
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xaa"
             "deliver_at\x05");
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_OK);
    assert_true(m.deliver_at_ms == 5);
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xaeif_last_offset\x05"); /* reserved names */
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\x01\x02\xc4\x00\x81\xa3ttl\x05");
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\x01\x02\xc4\x00\xc0");
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_OK);
    r = ARGS("\x95\x01\x02\xc4\x00\x80\x01");
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x93\x01\x02\xa0"); /* a str is no bin */
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x93\xcf\x00\x20\x00\x00\x00\x00\x00\x00\x02\xc4\x00"); /* tid 2^53 */
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x93\xcf\x00\x1f\xff\xff\xff\xff\xff\xff\x02\xc4\x00"); /* 2^53 - 1 */
    assert_int_equal(msg_get_produce(&r, &m, &e), WERR_OK);
    assert_true(m.tid == LIMIT_UINT);
    buf_fini(&b);
    buf_fini(&batch);
}

static void test_produce_batch_at_n_and_one_more(void **state)
{
    uint8_t *zeros = calloc(1, (size_t)LIMIT_BATCH + 1);
    struct buf b = {0};

    (void)state;
    assert_non_null(zeros);
    for (size_t n = LIMIT_BATCH; n <= (size_t)LIMIT_BATCH + 1; n++) {
        struct msg_produce m = {.tid = 1, .p = 0, .batch = slice_of(zeros, n)};
        struct frame f;

        buf_clear(&b);
        msg_put_produce_head(&b, 1, &m);
        buf_put(&b, zeros, n);
        f = parse_frame(&b); /* the length prefix counted the bytes to come */
        assert_int_equal(msg_get_produce(&f.args, &m, NULL),
                         n == LIMIT_BATCH ? WERR_OK : WERR_TOO_LARGE);
    }
    free(zeros);
    buf_fini(&b);
}

static void test_produce_answers(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("produce_ok", &b);
    struct msg_produce_ok m;
    struct werror e;
    enum werr_class cls;

    (void)state;
    assert_int_equal(msg_get_produce_ok(&f.args, &m, &e), WERR_OK);
    assert_true(m.has_offset && m.base_offset == 41 && m.append_ms == 1798000000005);
    assert_true(m.level == LEVEL_DISK && m.flags == 0);
    f = sample_frame("produce_duplicate", &b);
    assert_int_equal(msg_get_produce_ok(&f.args, &m, &e), WERR_OK);
    assert_true(!m.has_offset && m.flags == PRODUCE_DUPLICATE);
    f = sample_frame("produce_gap", &b);
    assert_int_equal(frame_get_error(f.err, &e, &cls), WERR_OK);
    assert_true(e.code == WERR_OUT_OF_ORDER_SEQ && cls == WCLASS_FENCED);
    assert_true(frame_error_detail(f.err, "expected", 0) == 5);
    f = sample_frame("produce_full", &b);
    assert_int_equal(frame_get_error(f.err, &e, &cls), WERR_OK);
    assert_true(cls == WCLASS_RETRY && e.retry_after_ms == 1000);
    buf_fini(&b);
}

static void test_fetch(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("fetch", &b);
    struct msg_fetch m;
    struct msg_fetch_part p;
    struct werror e;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_fetch(&f.args, &m, &e), WERR_OK);
    assert_true(m.max_wait_ms == 500 && m.min_bytes == 1 && m.max_bytes == 1 << 20);
    assert_int_equal(m.n_parts, 2);
    assert_true(msg_next_fetch_part(&m.parts, &p));
    assert_true(p.tid == 1001 && p.p == 3 && p.offset == 41 && !p.has_epoch);
    assert_true(msg_next_fetch_part(&m.parts, &p));
    assert_true(p.has_epoch && p.epoch == 1 && p.max_bytes == 65536);
    assert_false(msg_next_fetch_part(&m.parts, &p));
    assert_int_equal(m.parts.err, WERR_OK);
    r = ARGS("\x95\x00\x00\x00\x91\x95\x01\x02\x03\x04\xc0\xc0"); /* nil epoch, nil `for` */
    assert_int_equal(msg_get_fetch(&r, &m, &e), WERR_OK);
    assert_true(msg_next_fetch_part(&m.parts, &p) && !p.has_epoch);
    assert_false(msg_next_fetch_part(&m.parts, &p));
    assert_true(m.who.group.n == 0 && m.who.member.n == 0);
    r = ARGS("\x95\x00\x00\x00\x90\x93\xa1g\xa1m\x01"); /* a member is a bin of 16 */
    assert_int_equal(msg_get_fetch(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x94\x00\x00\x00\x91\x96\x01\x02\x03\x04\x05\x06");
    assert_int_equal(msg_get_fetch(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\x00\x00\x00\x91\x93\x01\x02\x03");
    assert_int_equal(msg_get_fetch(&r, &m, &e), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_fetch_partitions_at_n_and_one_more(void **state)
{
    struct msg_fetch_part parts[LIMIT_FETCH_PARTITIONS + 1] = {{0}};
    const struct msg_fetch want = {0};
    struct buf b = {0};

    (void)state;
    for (size_t n = LIMIT_FETCH_PARTITIONS; n <= LIMIT_FETCH_PARTITIONS + 1; n++) {
        struct msg_fetch m;
        struct frame f;

        buf_clear(&b);
        msg_put_fetch(&b, 1, &want, parts, n);
        f = parse_frame(&b);
        assert_int_equal(msg_get_fetch(&f.args, &m, NULL),
                         n == LIMIT_FETCH_PARTITIONS ? WERR_OK : WERR_TOO_LARGE);
    }
    buf_fini(&b);
}

static void test_fetch_answer(void **state)
{
    struct buf b = {0}, batch = {0};
    struct frame f = sample_frame("fetch_ok", &b);
    struct msg_fetched p;
    uint32_t n;

    (void)state;
    sample_stored_batch(&batch);
    assert_int_equal(msg_get_fetch_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_fetched(&f.args, &p, NULL), WERR_OK);
    assert_true(p.tid == 1001 && p.p == 3 && p.hw == 42 && p.log_start == 0);
    assert_true(p.err.code == WERR_OK && slice_eq(p.batches, buf_slice(&batch)));
    assert_int_equal(msg_get_fetched(&f.args, &p, NULL), WERR_OK);
    assert_true(p.err.code == WERR_OFFSET_OUT_OF_RANGE && p.err_class == WCLASS_NEVER);
    assert_true(p.hw == 20 && p.log_start == 10 && p.batches.n == 0);
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
    buf_fini(&batch);
}

static void test_list_offsets(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("list_offsets", &b);
    struct msg_offset_spec s;
    struct msg_offset o;
    struct mpread r;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_list_offsets(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 3);
    assert_true(msg_next_offset_spec(&f.args, &s) && s.spec == OFFSET_SPEC_START);
    assert_true(msg_next_offset_spec(&f.args, &s) && s.spec == OFFSET_SPEC_END);
    assert_true(msg_next_offset_spec(&f.args, &s) && s.spec == 1798000000000 && s.p == 3);
    assert_false(msg_next_offset_spec(&f.args, &s));
    assert_int_equal(f.args.err, WERR_OK);
    r = ARGS("\x91\x91\x93\x01\x02\xfd"); /* spec -3 */
    assert_int_equal(msg_get_list_offsets(&r, &n, NULL), WERR_MALFORMED);
    r = ARGS("\x92\x91\x93\x01\x02\xff\x01");
    assert_int_equal(msg_get_list_offsets(&r, &n, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("list_offsets_ok", &b);
    assert_int_equal(msg_get_list_offsets_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 3);
    assert_int_equal(msg_get_offset(&f.args, &o, NULL), WERR_OK);
    assert_true(o.offset == 0 && o.ts_ms == 1798000000000 && o.err.code == WERR_OK);
    assert_int_equal(msg_get_offset(&f.args, &o, NULL), WERR_OK);
    assert_true(o.offset == 42 && o.ts_ms == 0);
    assert_int_equal(msg_get_offset(&f.args, &o, NULL), WERR_OK);
    assert_int_equal(o.err.code, WERR_UNKNOWN_TOPIC);
    buf_fini(&b);
}

static void test_offset_specs_at_n_and_one_more(void **state)
{
    static struct msg_offset_spec s[LIMIT_OFFSET_SPECS + 1];
    struct buf b = {0};

    (void)state;
    for (size_t n = LIMIT_OFFSET_SPECS; n <= LIMIT_OFFSET_SPECS + 1; n++) {
        struct frame f;
        uint32_t got;

        buf_clear(&b);
        msg_put_list_offsets(&b, 1, s, n);
        f = parse_frame(&b);
        assert_int_equal(msg_get_list_offsets(&f.args, &got, NULL),
                         n == LIMIT_OFFSET_SPECS ? WERR_OK : WERR_TOO_LARGE);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce),
        cmocka_unit_test(test_produce_batch_at_n_and_one_more),
        cmocka_unit_test(test_produce_answers),
        cmocka_unit_test(test_fetch),
        cmocka_unit_test(test_fetch_partitions_at_n_and_one_more),
        cmocka_unit_test(test_fetch_answer),
        cmocka_unit_test(test_list_offsets),
        cmocka_unit_test(test_offset_specs_at_n_and_one_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
