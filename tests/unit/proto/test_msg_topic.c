#include "tests/unit/proto/args.h"

static void test_metadata_request(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("metadata", &b);
    struct msg_metadata m;
    struct werror e;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_metadata(&f.args, &m, &e), WERR_OK);
    assert_true(!m.all && m.n_names == 1 && m.limit == 0 && m.after.n == 0);
    assert_true(slice_eq(mpread_str(&m.names, 100), slice_str("orders")));
    assert_true(mpread_done(&m.names)); /* the cursor ends with the list */
    f = sample_frame("metadata_page", &b);
    assert_int_equal(msg_get_metadata(&f.args, &m, &e), WERR_OK);
    assert_true(m.all && m.limit == 100 && slice_eq(m.after, slice_str("orders")));
    r = ARGS("\x90");
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_OK);
    assert_true(m.all);
    r = ARGS("\x93\xc0\x11\xc0"); /* a known version is taken */
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_OK);
    r = ARGS("\x93\xc0\xc0\x81\xa5limit\xcd\x03\xe8");
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_OK);
    assert_int_equal(m.limit, LIMIT_METADATA_TOPICS);
    r = ARGS("\x93\xc0\xc0\x81\xa5limit\xcd\x03\xe9");
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x93\xc0\xc0\x81\xa5other\x01");
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    assert_string_equal(e.text, "option other is not known to this version");
    r = ARGS("\x94\xc0\xc0\xc0\x01");
    assert_int_equal(msg_get_metadata(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    buf_fini(&b);
}

static void test_options_may_come_once_and_be_nil(void **state)
{
    struct msg_metadata m;
    struct mpread r = ARGS("\x93\xc0\xc0\x82\xa5limit\x05\xa5limit\x06");
    struct buf b = {0};

    (void)state;
    assert_int_equal(msg_get_metadata(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x93\xc0\xc0\x82\xa5limit\xc0\xa5other\xc0"); /* nil is absent */
    assert_int_equal(msg_get_metadata(&r, &m, NULL), WERR_OK);
    for (uint32_t n = LIMIT_OPTIONS; n <= LIMIT_OPTIONS + 1; n++) {
        buf_clear(&b);
        mpw_array(&b, 3);
        mpw_nil(&b);
        mpw_nil(&b);
        mpw_map(&b, n);
        for (uint32_t i = 0; i < n; i++) {
            const char key[] = {(char)('a' + i), '\0'};

            mpw_cstr(&b, key);
            mpw_nil(&b);
        }
        mpread_init(&r, b.p, b.len);
        assert_int_equal(msg_get_metadata(&r, &m, NULL),
                         n == LIMIT_OPTIONS ? WERR_OK : WERR_MALFORMED);
    }
    buf_fini(&b);
}

static void test_metadata_names_at_n_and_one_more(void **state)
{
    static struct slice names[LIMIT_METADATA_TOPICS + 1];
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i <= LIMIT_METADATA_TOPICS; i++) {
        names[i] = slice_str("t");
    }
    for (size_t n = LIMIT_METADATA_TOPICS; n <= LIMIT_METADATA_TOPICS + 1; n++) {
        struct msg_metadata m;
        struct frame f;

        buf_clear(&b);
        msg_put_metadata(&b, 1, names, n, slice_of(NULL, 0), 0);
        f = parse_frame(&b);
        assert_int_equal(msg_get_metadata(&f.args, &m, NULL),
                         n == LIMIT_METADATA_TOPICS ? WERR_OK : WERR_TOO_LARGE);
    }
    buf_fini(&b);
}

static void test_metadata_answer(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("metadata_ok", &b);
    struct msg_metadata_ok m;
    struct msg_topic_meta t;
    struct msg_part_meta p;
    struct msg_slot_run s;
    struct slice host;
    uint32_t id, port;

    (void)state;
    assert_int_equal(msg_get_metadata_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(m.version == 17 && m.n_brokers == 1 && m.n_topics == 2 && m.next.n == 0);
    assert_true(msg_next_broker(&m.brokers, &id, &host, &port));
    assert_true(id == 1 && port == 9347 && slice_eq(host, slice_str("127.0.0.1")));
    assert_false(msg_next_broker(&m.brokers, &id, &host, &port));
    assert_int_equal(m.brokers.err, WERR_OK); /* the end is no error */
    assert_true(msg_next_topic(&m.topics, &t));
    assert_true(slice_eq(t.name, slice_str("orders")) && t.tid == 1001);
    assert_true(t.err.code == WERR_OK && t.n_parts == 2 && t.n_slots == 2);
    assert_int_equal(t.conf.partitions, 2);
    assert_true(msg_next_part(&t.parts, &p) && p.p == 0 && p.broker == 1 && p.epoch == 1);
    assert_true(msg_next_part(&t.parts, &p) && p.p == 1);
    assert_false(msg_next_part(&t.parts, &p));
    assert_int_equal(t.parts.err, WERR_OK);
    assert_true(msg_next_slot_run(&t.slots, &s) && s.count == 512 && s.p == 0);
    assert_true(msg_next_slot_run(&t.slots, &s) && s.count == 512 && s.p == 1);
    assert_false(msg_next_slot_run(&t.slots, &s));
    assert_int_equal(t.slots.err, WERR_OK);
    assert_true(msg_next_topic(&m.topics, &t));
    assert_true(t.err.code == WERR_UNKNOWN_TOPIC && t.n_parts == 0 && t.n_slots == 0);
    assert_false(msg_next_topic(&m.topics, &t));
    assert_int_equal(m.topics.err, WERR_OK);
    buf_fini(&b);
}

static void test_metadata_of_the_largest_topic(void **state)
{
    static struct msg_part_meta parts[LIMIT_PARTITIONS];
    static struct msg_slot_run runs[LIMIT_SLOTS];
    struct buf b = {0};
    struct topic_config c;
    struct msg_metadata_ok m;
    struct msg_topic_meta t;
    struct msg_part_meta p;
    struct frame f;
    size_t at, n = 0;

    (void)state;
    topic_config_defaults(&c);
    for (uint32_t i = 0; i < LIMIT_PARTITIONS; i++) {
        parts[i] = (struct msg_part_meta){i, 1, 1};
        runs[i] = (struct msg_slot_run){1, i};
    }
    at = msg_begin_metadata_ok(&b, 1, 1, 1, slice_str("h"), 65535, 1);
    msg_put_topic_meta(&b, slice_str("t"), LIMIT_UINT, NULL, parts, LIMIT_PARTITIONS, runs,
                       LIMIT_SLOTS, &c);
    msg_end_metadata_ok(&b, at, slice_str("t"));
    f = parse_frame(&b);
    assert_int_equal(msg_get_metadata_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.next, slice_str("t")));
    assert_true(msg_next_topic(&m.topics, &t));
    assert_true(t.tid == LIMIT_UINT);
    while (msg_next_part(&t.parts, &p)) {
        n++;
    }
    assert_int_equal(n, LIMIT_PARTITIONS);
    buf_fini(&b);
}

static void test_create_and_alter(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("topic_create", &b);
    struct msg_topic m;
    struct topic_config conf;
    struct werror e;
    struct mpread r;
    uint64_t tid;

    (void)state;
    assert_int_equal(f.op, OP_TOPIC_CREATE);
    assert_int_equal(msg_get_topic_create(&f.args, &m, &e), WERR_OK);
    assert_true(slice_eq(m.name, slice_str("orders")) && !m.dry_run);
    assert_int_equal(m.conf.set, TKEY_PARTITIONS | TKEY_RETENTION_MS | TKEY_DURABILITY);
    assert_true(m.conf.partitions == 2 && m.conf.retention_ms == 86400000);
    assert_int_equal(m.conf.durability, TOPIC_DURABILITY_OS);
    assert_int_equal(m.conf.message_max_bytes, LIMIT_MESSAGE_DEFAULT); /* the others: defaults */
    f = sample_frame("topic_alter", &b);
    assert_int_equal(f.op, OP_TOPIC_ALTER);
    assert_int_equal(msg_get_topic_create(&f.args, &m, &e), WERR_OK);
    assert_true(m.dry_run && m.conf.set == TKEY_RETENTION_MS);
    f = sample_frame("topic_ok", &b);
    assert_int_equal(msg_get_topic_ok(&f.args, &tid, &conf, &e), WERR_OK);
    assert_true(tid == 1001 && conf.partitions == 2 && conf.durability == TOPIC_DURABILITY_OS);
    r = ARGS("\x92\xa1t\x81\xaapartitions\x00");
    assert_int_equal(msg_get_topic_create(&r, &m, &e), WERR_INVALID_CONFIG);
    r = ARGS("\x92\xa1t\x81\xa5shape\x00");
    assert_int_equal(msg_get_topic_create(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x93\xa1t\x80\x81\xa7"
             "dry_run\x01");
    assert_int_equal(msg_get_topic_create(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x91\xa1t");
    assert_int_equal(msg_get_topic_create(&r, &m, &e), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_delete(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("topic_delete", &b);
    struct msg_topic m;
    uint64_t tid, bytes;

    (void)state;
    assert_int_equal(msg_get_topic_delete(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.name, slice_str("orders")) && !m.dry_run);
    buf_clear(&b);
    msg_put_topic_delete(&b, 1, slice_str("x"), true);
    f = parse_frame(&b);
    assert_int_equal(msg_get_topic_delete(&f.args, &m, NULL), WERR_OK);
    assert_true(m.dry_run);
    f = sample_frame("topic_delete_ok", &b);
    assert_int_equal(msg_get_topic_delete_ok(&f.args, &tid, &bytes, NULL), WERR_OK);
    assert_true(tid == 1001 && bytes == 123456789);
    buf_fini(&b);
}

static void test_describe(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("topic_describe", &b);
    struct msg_topic_describe_ok m;
    struct msg_part_stat p;
    struct slice name;

    (void)state;
    assert_int_equal(msg_get_topic_describe(&f.args, &name, NULL), WERR_OK);
    assert_true(slice_eq(name, slice_str("orders")));
    f = sample_frame("topic_describe_ok", &b);
    assert_int_equal(msg_get_topic_describe_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.name, slice_str("orders")) && m.tid == 1001 && m.n_parts == 2);
    assert_true(m.created_ms == 1798000000000 && m.conf.retention_ms == 86400000);
    assert_true(msg_next_part_stat(&m.parts, &p));
    assert_true(p.p == 0 && p.epoch == 1 && p.log_start == 10 && p.hw == 20 && p.bytes == 4096);
    assert_true(p.last_append_ms == 1798000000000);
    assert_true(msg_next_part_stat(&m.parts, &p) && p.p == 1 && p.last_append_ms == 0);
    assert_false(msg_next_part_stat(&m.parts, &p));
    assert_int_equal(m.parts.err, WERR_OK);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_request),
        cmocka_unit_test(test_options_may_come_once_and_be_nil),
        cmocka_unit_test(test_metadata_names_at_n_and_one_more),
        cmocka_unit_test(test_metadata_answer),
        cmocka_unit_test(test_metadata_of_the_largest_topic),
        cmocka_unit_test(test_create_and_alter),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_describe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
