#include "proto/frame.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/limits.h"
#include "proto/mpwrite.h"
#include "tests/lib/test.h"

static enum werr parse(const char *p, size_t n, struct frame *f)
{
    struct werror e = {0};
    enum werr rc = frame_parse(slice_of(p, n), f, &e);

    assert_int_equal(rc, e.code);
    return rc;
}
#define PARSE(s, f) parse("" s, sizeof(s) - 1, f)

static void test_length_limits(void **state)
{
    static const size_t limits[] = {LIMIT_FRAME, LIMIT_FRAME_PREAUTH};
    uint8_t p[4];
    size_t total = 99;
    struct werror e;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        put_be32(p, (uint32_t)limits[i]);
        assert_int_equal(frame_length(p, 4, limits[i], &total, &e), WERR_OK);
        assert_int_equal(total, limits[i] + 4);
        put_be32(p, (uint32_t)limits[i] + 1);
        assert_int_equal(frame_length(p, 4, limits[i], &total, &e), WERR_TOO_LARGE);
    }
    put_be32(p, 0);
    assert_int_equal(frame_length(p, 4, LIMIT_FRAME, &total, &e), WERR_MALFORMED);
    put_be32(p, 1);
    for (size_t n = 0; n < 4; n++) {
        assert_int_equal(frame_length(p, n, LIMIT_FRAME, &total, &e), WERR_AGAIN);
    }
    assert_int_equal(frame_length(p, 4, LIMIT_FRAME, &total, NULL), WERR_OK);
    assert_int_equal(total, 5);
    assert_int_equal(frame_length((const uint8_t *)"GET ", 4, LIMIT_FRAME, &total, &e),
                     WERR_TOO_LARGE);
}

static void test_the_three_kinds(void **state)
{
    struct frame f;

    (void)state;
    assert_int_equal(PARSE("\x94\x00\xcd\x01\x00\x0a\x91\x05", &f), WERR_OK);
    assert_int_equal(f.kind, FRAME_REQUEST);
    assert_int_equal(f.id, 256);
    assert_int_equal(f.op, 10);
    assert_int_equal(mpread_array(&f.args), 1);
    assert_int_equal(mpread_uint(&f.args, 9), 5);
    assert_true(mpread_done(&f.args));
    assert_int_equal(PARSE("\x94\x01\xce\xff\xff\xff\xff\xc0\x90", &f), WERR_OK);
    assert_int_equal(f.kind, FRAME_RESPONSE);
    assert_int_equal(f.id, UINT32_MAX);
    assert_int_equal(f.err.n, 1);
    assert_int_equal(PARSE("\x94\x02\x07\x0d\x91\x01", &f), WERR_OK);
    assert_int_equal(f.kind, FRAME_NOTIFY);
    assert_int_equal(f.op, 13);
    assert_int_equal(f.traceparent.n, 0);
    assert_int_equal(f.deadline_ms, 0);
}

static void test_shapes_that_are_refused(void **state)
{
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        {"", 0},
        {"\x93\x00\x01\x0a", 4},                                      /* 3 elements */
        {"\x96\x00\x01\x0a\x90\xc0\xc0", 7},                          /* 6 elements */
        {"\x94\x00\x01\x0a\x90\x00", 6},                              /* trailing byte */
        {"\x84\x00\x01\x0a\x90", 5},                                  /* a map */
        {"\x94\x03\x01\x0a\x90", 5},                                  /* kind 3 */
        {"\x94\x00\x01\x0a\x80", 5},                                  /* args a map */
        {"\x94\x00\xff\x0a\x90", 5},                                  /* corr -1 */
        {"\x94\x00\xca\x3f\x80\x00\x00\x0a\x90", 9},                  /* corr a float */
        {"\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\x0a\x90", 13}, /* corr over u32 */
        {"\x94\x00\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\x90", 13}, /* op over u32 */
        {"\x94\x00\x01\x0a\x91\xc1", 6},                              /* reserved byte */
        {"\x94\x00\x01\x0a\x91\xd4\x01\x02", 8},                      /* ext */
        {"\x94\x00\x01\x0a\x91\xca\x00\x00\x00\x00", 10},             /* float in args */
        {"\x94\x01\x01\xc0\xc0", 5},                                  /* result nil */
        {"\x94\x02\x01\x0a\xc0", 5},                                  /* args nil */
    };
    struct frame f;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i].p, bad[i].n, &f), WERR_MALFORMED);
    }
    /* responses are lenient: a float may come some day */
    assert_int_equal(PARSE("\x94\x01\x01\xc0\x91\xca\x00\x00\x00\x00", &f), WERR_OK);
}

static void test_depth_at_n_and_one_more(void **state)
{
    /* args, then LIMIT_MP_DEPTH containers inside it */
    uint8_t p[32] = {0x94, 0x00, 0x01, 0x0a};
    struct frame f;

    (void)state;
    for (unsigned inner = 0; inner < 20; inner++) {
        memset(p + 4, 0x91, inner);
        p[4 + inner] = 0x90; /* the innermost is empty: 1 + inner containers in all */
        assert_int_equal(frame_parse(slice_of(p, 5 + inner), &f, NULL),
                         inner <= LIMIT_MP_DEPTH ? WERR_OK : WERR_MALFORMED);
    }
}

/* [0, 1, 10, [], meta] with `pairs` keys of `value_bytes` of string each. */
static enum werr with_meta(size_t pairs, size_t value_bytes, struct frame *f)
{
    static struct buf b; /* keeps the views of *f alive */
    char text[2000];

    assert_true(value_bytes < sizeof text);
    memset(text, 'x', sizeof text);
    buf_clear(&b);
    buf_put(&b, "\x95\x00\x01\x0a\x90", 5);
    mpw_map(&b, pairs);
    for (size_t i = 0; i < pairs; i++) {
        char key[24];

        snprintf(key, sizeof key, "k%02zu", i);
        mpw_cstr(&b, key);
        mpw_str(&b, slice_of(text, value_bytes));
    }
    return frame_parse(buf_slice(&b), f, NULL);
}

static void test_meta(void **state)
{
    struct frame f;

    (void)state;
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x82\xa2tp\xa4"
                           "abcd\xa2"
                           "dl\xcd\x03\xe8",
                           &f),
                     WERR_OK);
    assert_true(slice_eq(f.traceparent, slice_str("abcd")));
    assert_int_equal(f.deadline_ms, 1000);
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\xc0", &f), WERR_OK);
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x81\xa3new\x92\x01\x02", &f), WERR_OK);
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x82\xa1"
                           "a\x01\xa1"
                           "a\x01",
                           &f),
                     WERR_MALFORMED); /* key twice */
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x81\x01\x01", &f), WERR_MALFORMED);
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x90", &f), WERR_MALFORMED);
    assert_int_equal(PARSE("\x95\x00\x01\x0a\x90\x81\xa2"
                           "dl\xff",
                           &f),
                     WERR_MALFORMED);
    assert_int_equal(with_meta(LIMIT_META_PAIRS, 1, &f), WERR_OK);
    assert_int_equal(with_meta(LIMIT_META_PAIRS + 1, 1, &f), WERR_MALFORMED);
    /* map head 1, key 4, str16 head 3: exactly the limit, then one more */
    assert_int_equal(with_meta(1, LIMIT_META_BYTES - 8, &f), WERR_OK);
    assert_int_equal(with_meta(1, LIMIT_META_BYTES - 7, &f), WERR_MALFORMED);
}

static void test_error_text_names_the_position(void **state)
{
    struct werror e;
    struct frame f;

    (void)state;
    assert_int_equal(frame_parse(slice_of("\x94\x00\x01\x0a\x80", 5), &f, &e), WERR_MALFORMED);
    assert_string_equal(e.text, "frame malformed at byte 4: args must be an array");
}

static void test_begin_and_end(void **state)
{
    struct buf b = {0};
    size_t at;
    struct frame f;

    (void)state;
    buf_put(&b, "before", 6);
    at = frame_begin_request(&b, 7, 10);
    mpw_array(&b, 1);
    mpw_bin_head(&b, 3);
    frame_end(&b, at, 3);
    assert_int_equal(at, 6);
    assert_int_equal(be32(b.p + at), b.len - at - 4 + 3);
    buf_put(&b, "xyz", 3);
    assert_int_equal(frame_parse(slice_of(b.p + at + 4, b.len - at - 4), &f, NULL), WERR_OK);
    assert_int_equal(f.id, 7);
    at = frame_begin_notify(&b, 5, 100);
    mpw_array(&b, 0);
    frame_end(&b, at, 0);
    assert_int_equal(frame_parse(slice_of(b.p + at + 4, b.len - at - 4), &f, NULL), WERR_OK);
    assert_int_equal(f.kind, FRAME_NOTIFY);
    buf_fini(&b);
    buf_init(&b, 5);
    at = frame_begin_response(&b, 1);
    mpw_array(&b, 0);
    frame_end(&b, at, 0); /* a failed buffer is left alone */
    assert_true(b.failed);
    buf_fini(&b);
}

static struct frame put_and_parse(struct buf *b, const struct werror *e,
                                  const struct frame_detail *d, size_t n)
{
    struct frame f;

    buf_clear(b);
    frame_put_error(b, 9, e, d, n);
    assert_int_equal(frame_parse(slice_of(b->p + 4, b->len - 4), &f, NULL), WERR_OK);
    assert_int_equal(f.kind, FRAME_RESPONSE);
    assert_int_equal(f.id, 9);
    return f;
}

static void test_errors_round_trip(void **state)
{
    const struct frame_detail d[] = {{"limit", NULL, 42}, {"topic", "orders", 0}};
    struct werror e = {.code = WERR_THROTTLED, .retry_after_ms = 250, .text = "slow down"};
    struct werror got;
    enum werr_class cls;
    struct buf b = {0};
    struct frame f = put_and_parse(&b, &e, d, 2);

    (void)state;
    assert_int_equal(frame_get_error(f.err, &got, &cls), WERR_OK);
    assert_int_equal(got.code, WERR_THROTTLED);
    assert_int_equal(cls, WCLASS_RETRY);
    assert_int_equal(got.retry_after_ms, 250);
    assert_string_equal(got.text, "slow down");
    assert_int_equal(frame_error_detail(f.err, "limit", 0), 42);
    assert_int_equal(frame_error_detail(f.err, "topic", 7), 7); /* not a number */
    assert_int_equal(frame_error_detail(f.err, "absent", 8), 8);
    e = (struct werror){.code = WERR_DENIED};
    f = put_and_parse(&b, &e, NULL, 0);
    assert_int_equal(frame_get_error(f.err, &got, &cls), WERR_OK);
    assert_string_equal(got.text, "not allowed"); /* the default text */
    buf_fini(&b);
}

static void test_local_codes_do_not_travel(void **state)
{
    struct buf b = {0};
    struct werror got;
    enum werr_class cls;

    (void)state;
    for (int code = 199; code <= 213; code++) {
        const struct werror e = {.code = (enum werr)code};
        struct frame f = put_and_parse(&b, &e, NULL, 0);

        assert_int_equal(frame_get_error(f.err, &got, &cls), WERR_OK);
        assert_int_equal(got.code, code == 199 ? 199 : WERR_INTERNAL);
        assert_int_equal(cls, WCLASS_UNKNOWN);
    }
    buf_fini(&b);
}

static void test_texts_are_clean(void **state)
{
    struct werror e = {.code = WERR_DENIED}, got;
    enum werr_class cls;
    struct buf b = {0};
    struct frame f;

    (void)state;
    memcpy(e.text, "gr\xc3\xbc\xc3\x9f \x1b[31m cut \xe2\x82", 19);
    f = put_and_parse(&b, &e, NULL, 0);
    assert_int_equal(frame_get_error(f.err, &got, &cls), WERR_OK);
    assert_string_equal(got.text, "gr\xc3\xbc\xc3\x9f ?[31m cut ??");
    memset(e.text, 'x', sizeof e.text - 1);
    e.text[sizeof e.text - 1] = '\0';
    f = put_and_parse(&b, &e, NULL, 0);
    assert_int_equal(frame_get_error(f.err, &got, &cls), WERR_OK);
    assert_string_equal(got.text, e.text);
    buf_fini(&b);
}

static void test_error_elements_of_strangers(void **state)
{
    static const struct {
        const char *p;
        size_t n;
        enum werr rc;
        unsigned code, cls;
    } rows[] = {
        {"\xc0", 1, WERR_OK, 0, 0},
        {"\x94\x16\x04\xa1x\x80", 6, WERR_OK, 22, 4},
        {"\x95\x16\x04\xa1x\x80\x01", 7, WERR_OK, 22, 4},    /* longer: fine */
        {"\x94\x63\x01\xa1x\x80", 6, WERR_OK, 99, 1},        /* unknown code keeps its class */
        {"\x94\x16\x09\xa1x\x80", 6, WERR_OK, 22, 2},        /* unknown class: unknown outcome */
        {"\x94\x16\x04\xa2\xff\x01\x80", 7, WERR_OK, 22, 4}, /* a text that is not UTF-8 */
        {"\x93\x16\x04\xa1x", 5, WERR_MALFORMED, 2, 0},
        {"\x94\x00\x04\xa1x\x80", 6, WERR_MALFORMED, 2, 0},     /* code 0 */
        {"\x94\xcc\xc8\x04\xa1x\x80", 7, WERR_MALFORMED, 2, 0}, /* a local code */
        {"\x16", 1, WERR_MALFORMED, 2, 0},
        {"", 0, WERR_MALFORMED, 2, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct werror got;
        enum werr_class cls;

        assert_int_equal(frame_get_error(slice_of(rows[i].p, rows[i].n), &got, &cls), rows[i].rc);
        assert_int_equal(got.code, rows[i].code);
        if (rows[i].rc == WERR_OK) {
            assert_int_equal(cls, rows[i].cls);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length_limits),
        cmocka_unit_test(test_the_three_kinds),
        cmocka_unit_test(test_shapes_that_are_refused),
        cmocka_unit_test(test_depth_at_n_and_one_more),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_error_text_names_the_position),
        cmocka_unit_test(test_begin_and_end),
        cmocka_unit_test(test_errors_round_trip),
        cmocka_unit_test(test_local_codes_do_not_travel),
        cmocka_unit_test(test_texts_are_clean),
        cmocka_unit_test(test_error_elements_of_strangers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
