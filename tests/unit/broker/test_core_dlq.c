/* Dead letters: the copy, its whole life over crashes and full disks, redrive, purge. */
#include "broker/core/dlq_impl.h"
#include "core_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

/* ---------------------------------------------------------------- reading copies */

/* Value of a header as text; NULL: it has none of that name. */
static const char *header(const struct record *rec, const char *name, char out[2048])
{
    struct slice raw = rec->headers, n, v;

    while (raw.n > 0 && record_header_next(&raw, &n, &v)) {
        if (slice_eq(n, slice_str(name))) {
            snprintf(out, 2048, "%.*s", (int)v.n, (const char *)v.p);
            return out;
        }
    }
    return NULL;
}

static void assert_header(const struct record *rec, const char *name, const char *want)
{
    char text[2048];
    const char *got = header(rec, name, text);

    if (got == NULL || strcmp(got, want) != 0) {
        fail_msg("%s: got %s, want %s", name, got != NULL ? got : "nothing", want);
    }
}

static unsigned count_headers(const struct record *rec)
{
    struct slice raw = rec->headers, n, v;
    unsigned count = 0;

    while (raw.n > 0 && record_header_next(&raw, &n, &v)) {
        count++;
    }
    return count;
}

/* Opens the only record of a copy; views into b. */
static struct record only_record(struct blob *b, struct batch_head *h)
{
    struct batch_rules rules = {.max_bytes = LIMIT_BATCH,
                                .max_message_bytes = LIMIT_BATCH,
                                .max_records = 1,
                                .walk_records = true};
    struct record_iter it;
    struct record rec;
    struct werror e = {0};

    assert_non_null(b);
    if (batch_check(b->p, b->n, &rules, h, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(h->count, 1);
    assert_int_equal(h->producer_id, 0);
    assert_int_equal(h->flags, 0x0100);
    assert_int_equal(record_open(&it, slice_of(b->p, b->n), h, NULL, &e), WERR_OK);
    assert_true(record_next(&it, &rec));
    return rec;
}

/* A record with n headers of value_n bytes each, in a batch; the iterator's views stay valid. */
struct original {
    struct batch_builder bb;
    struct slice batch;
    struct batch_head h;
    struct record rec;
};

static void original_init(struct original *o, const struct record_header *hs, size_t n)
{
    struct record_iter it;

    batch_builder_init(&o->bb, 0);
    assert_int_equal(batch_add(&o->bb, 77, slice_str("k"), slice_str("v"), hs, n), WERR_OK);
    assert_int_equal(batch_finish(&o->bb, NULL, BATCH_CODEC_NONE, NULL, &o->batch), WERR_OK);
    batch_head_read(o->batch.p, &o->h);
    assert_int_equal(record_open(&it, o->batch, &o->h, NULL, NULL), WERR_OK);
    assert_true(record_next(&it, &o->rec));
}

static void original_fini(struct original *o)
{
    batch_builder_fini(&o->bb);
}

static struct dead_letter letter = {
    .offset = 42, .attempts = 3, .first_ms = 1000, .last_ms = 2000, .reason = "bad"};

static struct dlq_copy copy_of(const struct original *o, const char *topic)
{
    return (struct dlq_copy){.rec = &o->rec,
                             .ts_ms = 77,
                             .topic = slice_str(topic),
                             .group = slice_str("g"),
                             .p = 5,
                             .letter = &letter};
}

static void test_copy_is_full(void **state)
{
    const struct record_header hs[] = {{slice_str("a"), slice_str("1")},
                                       {slice_str("weir-reason"), slice_str("forged")}};
    struct original o;
    struct batch_head h;

    (void)state;
    original_init(&o, hs, 2);
    const struct dlq_copy c = copy_of(&o, "orders");
    struct blob *b = dlq_copy(&c);
    const struct record rec = only_record(b, &h);
    assert_int_equal(h.base_ts_ms, 77);
    assert_true(slice_eq(rec.key, slice_str("k")));
    assert_true(slice_eq(rec.value, slice_str("v")));
    assert_header(&rec, "a", "1");
    assert_header(&rec, "weir-origin-topic", "orders");
    assert_header(&rec, "weir-origin-partition", "5");
    assert_header(&rec, "weir-origin-offset", "42");
    assert_header(&rec, "weir-group", "g");
    assert_header(&rec, "weir-attempts", "3");
    assert_header(&rec, "weir-reason", "bad");
    assert_header(&rec, "weir-first-at", "1000");
    assert_header(&rec, "weir-last-at", "2000");
    assert_int_equal(count_headers(&rec), 9);
    blob_unref(b);
    original_fini(&o);
}

static void test_dead_again_keeps_its_origin(void **state)
{
    const struct record_header hs[] = {{slice_str("weir-origin-topic"), slice_str("orders")},
                                       {slice_str("weir-origin-partition"), slice_str("9")},
                                       {slice_str("weir-origin-offset"), slice_str("8")},
                                       {slice_str("weir-group"), slice_str("g")},
                                       {slice_str("weir-attempts"), slice_str("16")},
                                       {slice_str("weir-reason"), slice_str("old")},
                                       {slice_str("weir-first-at"), slice_str("500")},
                                       {slice_str("weir-last-at"), slice_str("600")},
                                       {slice_str("weir-cut-headers"), slice_str("2")},
                                       {slice_str("mine"), slice_str("x")}};
    struct original o;
    struct batch_head h;

    (void)state;
    original_init(&o, hs, 10);
    struct dlq_copy c = copy_of(&o, "orders~g~dlq");
    struct blob *b = dlq_copy(&c);
    struct record rec = only_record(b, &h);
    assert_header(&rec, "weir-origin-topic", "orders");
    assert_header(&rec, "weir-origin-partition", "9");
    assert_header(&rec, "weir-origin-offset", "8");
    assert_header(&rec, "weir-attempts", "19");
    assert_header(&rec, "weir-reason", "bad");
    assert_header(&rec, "weir-first-at", "500");
    assert_header(&rec, "weir-last-at", "2000");
    assert_header(&rec, "weir-cut-headers", "2");
    assert_header(&rec, "mine", "x");
    blob_unref(b);
    /* The same headers on a message of any other topic are just somebody's words. */
    c.topic = slice_str("orders");
    b = dlq_copy(&c);
    rec = only_record(b, &h);
    assert_header(&rec, "weir-origin-offset", "42");
    assert_header(&rec, "weir-attempts", "3");
    assert_header(&rec, "weir-first-at", "1000");
    char text[2048];
    assert_null(header(&rec, "weir-cut-headers", text));
    blob_unref(b);
    original_fini(&o);
}

static void test_headers_over_the_limits(void **state)
{
    struct record_header hs[LIMIT_HEADERS];
    static char names[LIMIT_HEADERS][8], big[LIMIT_HEADER_BYTES];
    struct original o;
    struct batch_head h;

    (void)state;
    for (int i = 0; i < LIMIT_HEADERS; i++) {
        snprintf(names[i], sizeof names[i], "h%d", i);
        hs[i] = (struct record_header){slice_str(names[i]), slice_str("v")};
    }
    original_init(&o, hs, LIMIT_HEADERS);
    struct dlq_copy c = copy_of(&o, "orders");
    struct blob *b = dlq_copy(&c);
    struct record rec = only_record(b, &h);
    assert_int_equal(count_headers(&rec), LIMIT_HEADERS);
    assert_header(&rec, "weir-cut-headers", "9"); /* 8 of ours and this one */
    assert_header(&rec, "weir-last-at", "2000");
    assert_header(&rec, "h0", "v");
    blob_unref(b);
    original_fini(&o);

    memset(big, 'b', sizeof big);
    hs[0].value = slice_of(big, sizeof big - 16);
    original_init(&o, hs, 2);
    c = copy_of(&o, "orders");
    b = dlq_copy(&c);
    rec = only_record(b, &h);
    assert_header(&rec, "weir-cut-headers", "1");
    assert_header(&rec, "h1", "v");
    blob_unref(b);
    original_fini(&o);
}

static void test_lost_original(void **state)
{
    struct original o = {0};
    struct batch_head h;

    (void)state;
    struct dlq_copy c = copy_of(&o, "orders");
    c.rec = NULL;
    c.lost = "checksum";
    struct blob *b = dlq_copy(&c);
    const struct record rec = only_record(b, &h);
    assert_null(rec.key.p);
    assert_null(rec.value.p);
    assert_header(&rec, "weir-lost", "checksum");
    assert_header(&rec, "weir-origin-offset", "42");
    blob_unref(b);
}

static void test_names(void **state)
{
    char out[LIMIT_TOPIC_NAME + 1], longest[LIMIT_NAME];
    struct slice t, g;

    (void)state;
    size_t n = dlq_name(out, slice_str("orders"), slice_str("billing"));
    assert_string_equal(out, "orders~billing~dlq");
    assert_true(dlq_name_split(slice_of(out, n), &t, &g));
    assert_true(slice_eq(t, slice_str("orders")));
    assert_true(slice_eq(g, slice_str("billing")));
    dlq_name(out, slice_str("orders~billing~dlq"), slice_str("other"));
    assert_string_equal(out, "orders~other~dlq");
    memset(longest, 'n', sizeof longest);
    n = dlq_name(out, slice_of(longest, sizeof longest), slice_of(longest, sizeof longest));
    assert_int_equal(n, LIMIT_TOPIC_NAME);
    assert_true(dlq_name_split(slice_of(out, n), &t, &g));
    assert_int_equal(g.n, LIMIT_NAME);
    static const char *const wrong[] = {"orders", "~dlq",  "~~dlq",     "a~~dlq",
                                        "~a~dlq", "a~dlq", "a~b~c~dlq", "a~b~dl"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(dlq_name_split(slice_str(wrong[i]), &t, &g));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_full),
        cmocka_unit_test(test_dead_again_keeps_its_origin),
        cmocka_unit_test(test_headers_over_the_limits),
        cmocka_unit_test(test_lost_original),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
