/*
 * docs/PROTOCOL.md against the code: its examples are generated here, its tables of operations,
 * errors and limits must hold what the code has.
 *
 *   test_proto_protocol_examples                run as a test
 *   test_proto_protocol_examples --write FILE   put the examples into FILE, between the markers
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

#define DOC WEIR_SOURCE_DIR "/docs/PROTOCOL.md"
#define BEGIN "<!-- examples:begin"
#define END "<!-- examples:end -->"
enum { HEX_PER_LINE = 32, LINE = 256 };

static void puts_to(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

static void put_hex(struct buf *b, struct slice s)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < s.n; i++) {
        buf_put_u8(b, (uint8_t)digits[s.p[i] >> 4]);
        buf_put_u8(b, (uint8_t)digits[s.p[i] & 15]);
    }
}

/* One scalar in diagnostic notation. */
static void show_scalar(struct mpread *r, struct buf *out)
{
    char text[32];

    switch (mpread_peek(r)) {
    case MP_NIL:
        (void)mpread_nil(r);
        puts_to(out, "nil");
        break;
    case MP_BOOL:
        puts_to(out, mpread_bool(r) ? "true" : "false");
        break;
    case MP_UINT:
    case MP_INT:
        snprintf(text, sizeof text, "%lld", (long long)mpread_int(r, INT64_MIN, INT64_MAX));
        puts_to(out, text);
        break;
    case MP_STR: {
        struct slice s = mpread_str(r, SIZE_MAX);

        puts_to(out, "\"");
        buf_put(out, s.p, s.n);
        puts_to(out, "\"");
        break;
    }
    case MP_BIN: {
        struct slice s = mpread_bin(r, SIZE_MAX);

        if (s.n > 200) {
            snprintf(text, sizeof text, "%zu bytes", s.n);
            puts_to(out, text);
        } else {
            puts_to(out, "h'");
            put_hex(out, s);
            puts_to(out, "'");
        }
        break;
    }
    case MP_FLOAT:
    case MP_ARRAY:
    case MP_MAP:
    case MP_EXT:
    case MP_BAD:
    default:
        fail_msg("no example has this type");
    }
}

/* A whole value; recursion is bounded by our own samples. */
static void show(struct mpread *r, struct buf *out)
{
    const enum mp_type t = mpread_peek(r);
    uint32_t n;

    if (t != MP_ARRAY && t != MP_MAP) {
        show_scalar(r, out);
        return;
    }
    n = t == MP_ARRAY ? mpread_array(r) : mpread_map(r);
    puts_to(out, t == MP_ARRAY ? "[" : "{");
    for (uint32_t i = 0; i < n; i++) {
        puts_to(out, i > 0 ? ", " : "");
        show(r, out);
        if (t == MP_MAP) {
            puts_to(out, ": ");
            show(r, out);
        }
    }
    puts_to(out, t == MP_ARRAY ? "]" : "}");
}

/* Breaks long lines after a comma or, where there is none, anywhere. */
static void put_wrapped(struct buf *out, struct slice s)
{
    enum { WIDTH = 100 };

    while (s.n > WIDTH) {
        size_t cut = WIDTH;

        while (cut > WIDTH / 2 && s.p[cut - 1] != ' ') {
            cut--;
        }
        cut = cut > WIDTH / 2 ? cut : WIDTH;
        buf_put(out, s.p, s.p[cut - 1] == ' ' ? cut - 1 : cut);
        puts_to(out, "\n  ");
        s = slice_of(s.p + cut, s.n - cut);
    }
    buf_put(out, s.p, s.n);
    puts_to(out, "\n");
}

static void put_dump(struct buf *out, struct slice s)
{
    for (size_t at = 0; at < s.n; at += HEX_PER_LINE) {
        size_t n = s.n - at < HEX_PER_LINE ? s.n - at : HEX_PER_LINE;

        put_hex(out, slice_of(s.p + at, n));
        puts_to(out, "\n");
    }
}

static void put_example(struct buf *out, const struct sample *s)
{
    struct buf frame = {0}, text = {0};
    struct mpread r;

    sample_put(s, &frame);
    mpread_init(&r, frame.p + FRAME_HEAD, frame.len - FRAME_HEAD);
    show(&r, &text);
    assert_true(mpread_done(&r));
    puts_to(out, "\n**");
    puts_to(out, s->name);
    puts_to(out, s->from == FROM_CLIENT ? "** (client)\n```\n" : "** (server)\n```\n");
    put_wrapped(out, buf_slice(&text));
    puts_to(out, "\n");
    put_dump(out, buf_slice(&frame));
    puts_to(out, "```\n");
    buf_fini(&frame);
    buf_fini(&text);
}

/* The batch of the examples, field by field. */
static void put_batch_example(struct buf *out)
{
    static const struct {
        const char *name;
        size_t at, n;
    } fields[] = {
        {"base_offset", 0, 8},   {"append_time", 8, 8},     {"epoch", 16, 4},
        {"length", 20, 4},       {"head_crc", 24, 4},       {"crc", 28, 4},
        {"magic", 32, 1},        {"codec", 33, 1},          {"flags", 34, 2},
        {"max_ts_delta", 36, 4}, {"producer_id", 40, 8},    {"base_timestamp", 48, 8},
        {"base_seq", 56, 4},     {"producer_epoch", 60, 2}, {"count", 62, 2},
        {"record", 64, 14},
    };
    struct buf sent = {0}, stored = {0};

    sample_batch(&sent);
    sample_stored_batch(&stored);
    assert_int_equal(sent.len, 78);
    puts_to(out,
            "\n**The batch in these messages**: one record, key `42`, value `hello`, of producer "
            "7, epoch 1, sequence 0\n```\n"
            "at field           as produced                  as stored at offset 41\n");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char line[LINE];
        size_t at = out->len;

        snprintf(line, sizeof line, "%2zu %-15s ", fields[i].at, fields[i].name);
        puts_to(out, line);
        put_hex(out, slice_of(sent.p + fields[i].at, fields[i].n));
        while (out->len - at < 48) {
            puts_to(out, " ");
        }
        if (memcmp(sent.p + fields[i].at, stored.p + fields[i].at, fields[i].n) == 0) {
            puts_to(out, "the same\n");
        } else {
            put_hex(out, slice_of(stored.p + fields[i].at, fields[i].n));
            puts_to(out, "\n");
        }
    }
    puts_to(out, "```\nThe record reads `[0, h'3432', h'68656c6c6f', nil]`.\n");
    buf_fini(&sent);
    buf_fini(&stored);
}

static void put_examples(struct buf *out)
{
    size_t n;
    const struct sample *s = samples(&n);

    put_batch_example(out);
    for (size_t i = 0; i < n; i++) {
        if (strstr(s[i].name, "zstd") == NULL) { /* its bytes depend on the library's version */
            put_example(out, &s[i]);
        }
    }
    puts_to(out, "\n");
}

/* The document, with a NUL behind it. */
static char *load(const char *path, size_t *n)
{
    struct buf b = {0};
    FILE *f = fopen(path, "rb");
    int c;

    if (f == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        exit(1);
    }
    while ((c = getc(f)) != EOF) {
        buf_put_u8(&b, (uint8_t)c);
    }
    fclose(f);
    *n = b.len;
    buf_put_u8(&b, 0);
    return (char *)b.p;
}

/* Start and end of what lies between the markers. */
static char *between(char *doc, char **end)
{
    char *from = strstr(doc, BEGIN);

    from = from != NULL ? strchr(from, '\n') : NULL;
    *end = from != NULL ? strstr(from, END) : NULL;
    return *end != NULL ? from + 1 : NULL;
}

static int write_examples(const char *path)
{
    struct buf out = {0};
    size_t n;
    char *doc = load(path, &n), *end = NULL, *from = between(doc, &end);
    FILE *f;
    int rc = 1;

    if (from == NULL) {
        fprintf(stderr, "%s has no markers\n", path);
    } else {
        buf_put(&out, doc, (size_t)(from - doc));
        put_examples(&out);
        puts_to(&out, end);
        f = fopen(path, "wb");
        rc = f == NULL || fwrite(out.p, 1, out.len, f) != out.len;
        rc = (f == NULL || fclose(f) != 0) || rc;
    }
    free(doc);
    buf_fini(&out);
    return rc;
}

static void test_examples_are_current(void **state)
{
    struct buf want = {0};
    size_t n;
    char *doc = load(DOC, &n), *end = NULL, *from = between(doc, &end);

    (void)state;
    assert_non_null(from);
    put_examples(&want);
    if ((size_t)(end - from) != want.len || memcmp(from, want.p, want.len) != 0) {
        size_t at = 0;

        while (at < want.len && from + at < end && (uint8_t)from[at] == want.p[at]) {
            at++;
        }
        print_error("examples differ near: %.80s\nrun test_proto_protocol_examples --write %s\n",
                    from + at, DOC);
        fail();
    }
    free(doc);
    buf_fini(&want);
}

static void must_contain(const char *doc, const char *row)
{
    if (strstr(doc, row) == NULL) {
        print_error("docs/PROTOCOL.md has no row that begins: %s\n", row);
    }
    assert_non_null(strstr(doc, row));
}

static void test_every_error_has_its_row(void **state)
{
    static const char *const classes[] = {"never", "retry", "unknown", "refresh", "fenced"};
    size_t n;
    char *doc = load(DOC, &n);

    (void)state;
    for (unsigned code = 1; code < WERR_IO; code++) {
        char row[LINE];

        if (strcmp(werr_name((enum werr)code), "UNKNOWN_CODE") != 0) {
            snprintf(row, sizeof row, "\n| %u | %s | %s |", code, werr_name((enum werr)code),
                     classes[werr_class((enum werr)code)]);
            must_contain(doc, row);
        }
    }
    free(doc);
}

static void test_every_operation_has_its_row(void **state)
{
    static const char *const states[] = {"?", "pre", "post", "reserved", "notify"};
    size_t n;
    char *doc = load(DOC, &n);

    (void)state;
    for (uint32_t op = 0; op < 200; op++) {
        char row[LINE];

        if (msg_op_state(op) != OPSTATE_NONE) {
            snprintf(row, sizeof row, "\n| %u | %s | %s |", op, msg_op_name(op),
                     states[msg_op_state(op)]);
            must_contain(doc, row);
        }
    }
    free(doc);
}

static void test_every_limit_and_setting_has_its_row(void **state)
{
    static const struct {
        const char *name;
        unsigned value;
    } limits[] = {
        {"frame", LIMIT_FRAME},
        {"frame before HELLO", LIMIT_FRAME_PREAUTH},
        {"all input before HELLO", LIMIT_INPUT_PREAUTH},
        {"batch", LIMIT_BATCH},
        {"records per batch", LIMIT_BATCH_RECORDS},
        {"record: key + value + headers", LIMIT_MESSAGE_CAP},
        {"decompressed records of a batch", LIMIT_UNZIPPED},
        {"requests in flight per connection", LIMIT_INFLIGHT_REQUESTS},
        {"bytes in flight per connection", LIMIT_INFLIGHT_BYTES},
        {"unanswered batches per producer and partition", LIMIT_PRODUCER_WINDOW},
        {"partitions per FETCH", LIMIT_FETCH_PARTITIONS},
        {"subscriptions per connection", LIMIT_SUBS},
        {"partitions per subscription", LIMIT_SUB_PARTITIONS},
        {"names per METADATA", LIMIT_METADATA_TOPICS},
        {"entries per LIST_OFFSETS", LIMIT_OFFSET_SPECS},
        {"topics per GROUP_JOIN", LIMIT_JOIN_TOPICS},
        {"partitions per GROUP_HEARTBEAT, COMMITTED, GROUP_RESET", LIMIT_GROUP_PARTITIONS},
        {"partitions per COMMIT", LIMIT_COMMIT_ITEMS},
        {"bytes of a commit's note", LIMIT_NOTE},
        {"messages per ACQUIRE", LIMIT_ACQUIRE_MSGS},
        {"ms that ACQUIRE waits", LIMIT_ACQUIRE_WAIT_MS},
        {"lease_ms of ACQUIRE", LIMIT_LEASE_MAX_MS},
        {"ranges per SETTLE", LIMIT_SETTLE_ITEMS},
        {"bytes of a reason", LIMIT_REASON},
        {"ids per CANCEL_DELAYED", LIMIT_CANCEL_IDS},
        {"bytes of a delay id", LIMIT_DELAY_ID},
        {"entries of a page of GROUP_LIST, DELAYED_LIST, SERVER_CONNECTIONS", LIMIT_PAGE},
        {"ranges per DLQ_LIST, DLQ_REDRIVE, DLQ_PURGE", LIMIT_DLQ_SPANS},
        {"characters of a name", LIMIT_NAME},
        {"partitions of a topic", LIMIT_PARTITIONS},
        {"slots of a topic", LIMIT_SLOTS},
        {"headers of a record", LIMIT_HEADERS},
        {"bytes of headers", LIMIT_HEADER_BYTES},
        {"options", LIMIT_OPTIONS},
        {"meta pairs", LIMIT_META_PAIRS},
        {"meta bytes", LIMIT_META_BYTES},
        {"containers inside args", LIMIT_MP_DEPTH},
    };
    const char *const *const tables[] = {topic_config_keys(), group_config_keys()};
    size_t n;
    char *doc = load(DOC, &n), row[LINE];

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        snprintf(row, sizeof row, "\n| %s | %u", limits[i].name, limits[i].value);
        must_contain(doc, row);
    }
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (size_t i = 0; tables[t][i] != NULL; i++) {
            snprintf(row, sizeof row, "\n| `%s` |", tables[t][i]);
            must_contain(doc, row);
        }
    }
    free(doc);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_are_current),
        cmocka_unit_test(test_every_error_has_its_row),
        cmocka_unit_test(test_every_operation_has_its_row),
        cmocka_unit_test(test_every_limit_and_setting_has_its_row),
    };

    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_examples(argv[2]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
