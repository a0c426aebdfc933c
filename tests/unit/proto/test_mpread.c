#include "proto/mpread.h"

#include <stdlib.h>

#include "tests/lib/test.h"
#include "tests/unit/proto/mpdiff.h"

static struct mpread over(const char *p, size_t n)
{
    struct mpread r;

    mpread_init(&r, p, n);
    return r;
}
#define OVER(s) over("" s, sizeof(s) - 1)

static void test_integers_of_every_width(void **state)
{
    static const struct {
        const char *p;
        size_t n;
        uint64_t v;
    } good[] = {
        {"\x00", 1, 0},
        {"\x7f", 1, 127},
        {"\xcc\xff", 2, 255},
        {"\xcc\x01", 2, 1}, /* wide encodings of small values are legal */
        {"\xcd\x01\x00", 3, 256},
        {"\xce\xff\xff\xff\xff", 5, UINT32_MAX},
        {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, UINT64_MAX},
        {"\xcf\x00\x00\x00\x00\x00\x00\x00\x01", 9, 1},
        {"\xd0\x05", 2, 5}, /* signed encodings of values >= 0 too */
        {"\xd1\x01\x00", 3, 256},
        {"\xd2\x7f\xff\xff\xff", 5, INT32_MAX},
        {"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9, INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct mpread r = over(good[i].p, good[i].n);

        assert_int_equal(mpread_peek(&r), MP_UINT);
        assert_true(mpread_uint(&r, UINT64_MAX) == good[i].v);
        assert_true(mpread_done(&r));
    }
}

static void test_negative_integers(void **state)
{
    static const struct {
        const char *p;
        size_t n;
        int64_t v;
    } good[] = {
        {"\xff", 1, -1},
        {"\xe0", 1, -32},
        {"\xd0\x80", 2, -128},
        {"\xd0\xff", 2, -1},
        {"\xd1\x80\x00", 3, INT16_MIN},
        {"\xd2\x80\x00\x00\x00", 5, INT32_MIN},
        {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, INT64_MIN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct mpread r = over(good[i].p, good[i].n);

        assert_int_equal(mpread_peek(&r), MP_INT);
        assert_true(mpread_int(&r, INT64_MIN, INT64_MAX) == good[i].v);
        assert_true(mpread_done(&r));
        r = over(good[i].p, good[i].n);
        (void)mpread_uint(&r, UINT64_MAX);
        assert_int_equal(r.err, WERR_MALFORMED);
    }
}

static void test_ranges_at_n_and_one_more(void **state)
{
    struct mpread r = OVER("\x0a");

    (void)state;
    assert_int_equal(mpread_uint(&r, 10), 10);
    r = OVER("\x0b");
    assert_int_equal(mpread_uint(&r, 10), 0);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\xfe");
    assert_int_equal(mpread_int(&r, -2, 5), -2);
    r = OVER("\xfd");
    assert_int_equal(mpread_int(&r, -2, 5), 0);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\x05");
    assert_int_equal(mpread_int(&r, -2, 5), 5);
    r = OVER("\x06");
    (void)mpread_int(&r, -2, 5);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"); /* over INT64_MAX */
    (void)mpread_int(&r, INT64_MIN, INT64_MAX);
    assert_int_equal(r.err, WERR_MALFORMED);
}

static void test_wrong_types_are_refused(void **state)
{
    static const char *const values[] = {"\xc0", "\xc3", "\x01", "\xff", "\xca",
                                         "\xa0", "\xc4", "\x90", "\x80", "\xd4"};
    static const enum mp_type types[] = {MP_NIL, MP_BOOL, MP_UINT,  MP_INT, MP_FLOAT,
                                         MP_STR, MP_BIN,  MP_ARRAY, MP_MAP, MP_EXT};
    char full[16] = {0}; /* each head followed by zeros: valid and empty */

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        struct mpread r;

        full[0] = values[i][0];
#define ONLY(type, read)                                    \
    r = over(full, sizeof full);                            \
    (void)(read);                                           \
    assert_int_equal(r.err == WERR_OK, types[i] == (type)); \
    assert_int_equal(r.p == r.start, types[i] != (type))
        assert_int_equal(mpread_peek(&(struct mpread){(const uint8_t *)full, (const uint8_t *)full,
                                                      (const uint8_t *)full + 16, WERR_OK, NULL}),
                         types[i]);
        ONLY(MP_BOOL, mpread_bool(&r));
        ONLY(MP_UINT, mpread_uint(&r, UINT64_MAX));
        ONLY(MP_STR, mpread_str(&r, 100));
        ONLY(MP_BIN, mpread_bin(&r, 100));
        ONLY(MP_ARRAY, mpread_array(&r));
        ONLY(MP_MAP, mpread_map(&r));
        r = over(full, sizeof full);
        assert_int_equal(mpread_nil(&r), types[i] == MP_NIL);
        assert_int_equal(r.err, WERR_OK); /* a question, not a demand */
    }
}

static void test_containers_cannot_announce_more_than_is_left(void **state)
{
    struct mpread r = OVER("\x92\x01\x02");

    (void)state;
    assert_int_equal(mpread_array(&r), 2);
    r = OVER("\x93\x01\x02");
    assert_int_equal(mpread_array(&r), 0);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\x81\x01\x02");
    assert_int_equal(mpread_map(&r), 1);
    r = OVER("\x81\x01");
    assert_int_equal(mpread_map(&r), 0);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\xdd\xff\xff\xff\xff");
    (void)mpread_array(&r);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\xdf\xff\xff\xff\xff\x00\x00");
    (void)mpread_map(&r);
    assert_int_equal(r.err, WERR_MALFORMED);
    r = OVER("\xdc\x00\x02\x01\x02");
    assert_int_equal(mpread_array(&r), 2);
}

static void test_strings_are_views_with_a_limit(void **state)
{
    struct mpread r = OVER("\xa3"
                           "abc");
    struct slice s = mpread_str(&r, 3);

    (void)state;
    assert_ptr_equal(s.p, r.start + 1);
    assert_int_equal(s.n, 3);
    r = OVER("\xa3"
             "abc");
    s = mpread_str(&r, 2);
    assert_int_equal(r.err, WERR_MALFORMED);
    assert_null(s.p);
    r = OVER("\xd9\x01x\xda\x00\x01y\xdb\x00\x00\x00\x01z");
    assert_true(slice_eq(mpread_str(&r, 1), slice_str("x")));
    assert_true(slice_eq(mpread_str(&r, 1), slice_str("y")));
    assert_true(slice_eq(mpread_str(&r, 1), slice_str("z")));
    assert_true(mpread_done(&r));
    r = OVER("\xc4\x01\xff\xc5\x00\x01\x00\xc6\x00\x00\x00\x00");
    assert_int_equal(mpread_bin(&r, 1).n, 1);
    assert_int_equal(mpread_bin(&r, 1).n, 1);
    s = mpread_bin(&r, 1);
    assert_non_null(s.p); /* empty is not nil */
    assert_int_equal(s.n, 0);
    assert_true(mpread_done(&r));
    r = OVER("\xdb\xff\xff\xff\xff"
             "abc");
    (void)mpread_str(&r, SIZE_MAX);
    assert_int_equal(r.err, WERR_MALFORMED);
}

static void test_utf8(void **state)
{
    static const struct {
        const char *s;
        size_t n, good;
    } rows[] = {
        {"plain", 5, 5},
        {"gr\xc3\xbc\xc3\x9f", 6, 6},
        {"\xe2\x82\xac", 3, 3},
        {"\xf0\x9f\x98\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", 4, 0}, /* above it */
        {"\xc0\x80", 2, 0},         /* overlong NUL */
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xed\x9f\xbf", 3, 3},     /* last before the surrogates */
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"a\x00z", 3, 1},           /* NUL */
        {"ab\x80", 3, 2},           /* lone continuation */
        {"ab\xc3", 3, 2},           /* cut */
        {"ab\xe2\x82", 4, 2},
        {"\xff", 1, 0},
        {"\xf5\x80\x80\x80", 4, 0},
        {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char mp[8] = {(char)(0xa0 + rows[i].n)};
        struct mpread r;

        assert_int_equal(utf8_prefix(slice_of(rows[i].s, rows[i].n)), rows[i].good);
        memcpy(mp + 1, rows[i].s, rows[i].n);
        r = over(mp, rows[i].n + 1);
        (void)mpread_str(&r, 10);
        assert_int_equal(r.err == WERR_OK, rows[i].good == rows[i].n);
        r = over(mp, rows[i].n + 1);
        assert_int_equal(mpread_bytes(&r, 10).n, rows[i].n); /* does not look */
    }
}

static void test_skip_passes_whole_values(void **state)
{
    struct mpread r = OVER("\x93\x01\x81\xa1k\x92\x02\x03\xc7\x02\x05xy\x2a");
    struct slice s = mpread_skip(&r);

    (void)state;
    assert_int_equal(s.n, 13);
    assert_ptr_equal(s.p, r.start);
    assert_int_equal(mpread_uint(&r, 100), 42);
    assert_true(mpread_done(&r));
    r = OVER("\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xca\x00\x00\x00\x00\xd8.................");
    assert_int_equal(mpread_skip(&r).n, 9);
    assert_int_equal(mpread_skip(&r).n, 5);
    assert_int_equal(mpread_skip(&r).n, 18);
    assert_true(mpread_done(&r));
}

static void test_skip_needs_no_memory_for_depth(void **state)
{
    enum { DEPTH = 1000000 };
    uint8_t *p = malloc(DEPTH + 1);
    struct mpread r;

    (void)state;
    assert_non_null(p);
    memset(p, 0x91, DEPTH);
    p[DEPTH] = 0xc0;
    mpread_init(&r, p, DEPTH + 1);
    assert_int_equal(mpread_skip(&r).n, DEPTH + 1);
    assert_true(mpread_done(&r));
    mpread_init(&r, p, DEPTH);
    (void)mpread_skip(&r);
    assert_int_equal(r.err, WERR_MALFORMED);
    free(p);
}

static void test_first_failure_is_kept(void **state)
{
    struct mpread r = OVER("\xc1\x01");

    (void)state;
    (void)mpread_uint(&r, 10);
    assert_int_equal(r.err, WERR_MALFORMED);
    assert_string_equal(r.what, "bad or truncated value");
    mpread_fail(&r, "later");
    assert_string_equal(r.what, "bad or truncated value");
    assert_int_equal(mpread_peek(&r), MP_BAD);
    assert_false(mpread_nil(&r));
    assert_null(mpread_str(&r, 1).p);
    assert_null(mpread_bin(&r, 1).p);
    assert_null(mpread_bytes(&r, 1).p);
    assert_null(mpread_skip(&r).p);
    assert_int_equal(mpread_array(&r) + mpread_map(&r), 0);
    assert_false(mpread_bool(&r));
    assert_true(mpread_int(&r, -5, 5) == 0);
    assert_false(mpread_done(&r));
    assert_ptr_equal(r.p, r.start);
}

static void test_trailing_bytes(void **state)
{
    struct mpread r = OVER("\x01\x02");

    (void)state;
    (void)mpread_uint(&r, 1);
    assert_false(mpread_done(&r));
    assert_string_equal(r.what, "trailing bytes");
    mpread_init(&r, NULL, 0);
    assert_int_equal(mpread_peek(&r), MP_BAD);
    assert_true(mpread_done(&r));
}

static void test_every_truncated_prefix_fails(void **state)
{
    static const char full[] =
        "\x9a\x01\xcd\x01\x00\xa3"
        "abc\xc4\x02xy\x82\xa1k\xc0\xa1l\xc3\xd3\x80\x00\x00\x00\x00\x00\x00"
        "\x00\xcb\x01\x02\x03\x04\x05\x06\x07\x08\xd6\x01zzzz\xde\x00\x01\x01"
        "\x02\xdc\x00\x02\xff\xe0";
    size_t n = sizeof full - 1;

    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        uint8_t *exact = malloc(cut + 1); /* cut may be 0 */
        struct mpread r;

        assert_non_null(exact);
        memcpy(exact + 1, full, cut);
        mpread_init(&r, exact + 1, cut);
        (void)mpread_skip(&r);
        assert_int_equal(r.err == WERR_OK, cut == n);
        assert_null(mp_differs(exact + 1, cut));
        free(exact);
    }
}

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Heads are likely, and containers small, so that most inputs go deep. */
static void test_random_bytes_read_as_msgpack_c_does(void **state)
{
    static const uint8_t heads[] = {0x92, 0x81, 0xa2, 0xc4, 0xc0, 0xc3, 0xcc, 0xcd, 0xce,
                                    0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0xca, 0xcb, 0xd4, 0xd8,
                                    0xc7, 0xd9, 0xdc, 0x93, 0x05, 0xff, 0xc1, 0x00};
    uint32_t x = 12345;
    unsigned accepted = 0;

    (void)state;
    for (unsigned run = 0; run < 60000; run++) {
        uint8_t p[40];
        size_t n = 1 + next_random(&x) % sizeof p;
        const char *what;
        struct mpread r;

        for (size_t i = 0; i < n; i++) {
            uint32_t v = next_random(&x);

            p[i] = (v & 1) != 0 ? heads[(v >> 1) % sizeof heads] : (uint8_t)((v >> 8) % 4);
        }
        what = mp_differs(p, n);
        if (what != NULL) {
            print_error("run %u: %s\n", run, what);
        }
        assert_null(what);
        mpread_init(&r, p, n);
        accepted += mpread_skip(&r).p != NULL;
    }
    assert_true(accepted > 6000); /* the test looks at something */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_of_every_width),
        cmocka_unit_test(test_negative_integers),
        cmocka_unit_test(test_ranges_at_n_and_one_more),
        cmocka_unit_test(test_wrong_types_are_refused),
        cmocka_unit_test(test_containers_cannot_announce_more_than_is_left),
        cmocka_unit_test(test_strings_are_views_with_a_limit),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_skip_passes_whole_values),
        cmocka_unit_test(test_skip_needs_no_memory_for_depth),
        cmocka_unit_test(test_first_failure_is_kept),
        cmocka_unit_test(test_trailing_bytes),
        cmocka_unit_test(test_every_truncated_prefix_fails),
        cmocka_unit_test(test_random_bytes_read_as_msgpack_c_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
