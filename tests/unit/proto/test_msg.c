#include "proto/msg_server.h"
#include "tests/unit/proto/args.h"

static void test_operation_table(void **state)
{
    (void)state;
    assert_int_equal(msg_op_state(OP_HELLO), OPSTATE_PRE);
    assert_int_equal(msg_op_state(OP_PING), OPSTATE_PRE);
    assert_int_equal(msg_op_state(OP_PRODUCE), OPSTATE_POST);
    assert_int_equal(msg_op_state(OP_AUTH), OPSTATE_RESERVED);
    assert_int_equal(msg_op_state(OP_TXN), OPSTATE_RESERVED);
    assert_int_equal(msg_op_state(OP_DELIVER), OPSTATE_NOTIFY);
    assert_int_equal(msg_op_state(0), OPSTATE_NONE);
    assert_int_equal(msg_op_state(UINT32_MAX), OPSTATE_NONE);
    assert_string_equal(msg_op_name(OP_INIT_PRODUCER), "INIT_PRODUCER");
    assert_string_equal(msg_op_name(9999), "?");
}

static void test_hello(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("hello", &b);
    struct msg_hello m;
    struct werror e;
    struct mpread r;

    (void)state;
    assert_true(f.kind == FRAME_REQUEST && f.op == OP_HELLO && f.id == 1);
    assert_int_equal(msg_get_hello(&f.args, &m, &e), WERR_OK);
    assert_int_equal(m.proto, 1);
    assert_true(slice_eq(m.client, slice_str("py-mini")));
    assert_true(slice_eq(m.version, slice_str("0.1")));
    assert_true(mpread_done(&f.args));
    r = ARGS("\x93\x01\xa1"
             "c\xa1v"); /* without the options */
    assert_int_equal(msg_get_hello(&r, &m, &e), WERR_OK);
    r = ARGS("\x94\x01\xa1"
             "c\xa1v\x82\xa4want\x91\xa1x\xa4"
             "auth\xc0");
    assert_int_equal(msg_get_hello(&r, &m, &e), WERR_OK);
    r = ARGS("\x94\x01\xa1"
             "c\xa1v\x81\xa4"
             "auth\xa5token"); /* asks for what does not exist: not ignored */
    assert_int_equal(msg_get_hello(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    /* another version is answered before the rest is looked at */
    r = ARGS("\x93\x02\x05\x05");
    assert_int_equal(msg_get_hello(&r, &m, &e), WERR_UNSUPPORTED_PROTO);
    r = ARGS("\x92\x01\xa1"
             "c");
    assert_int_equal(msg_get_hello(&r, &m, &e), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_hello_texts_at_n_and_one_more(void **state)
{
    struct msg_hello m = {1, {NULL, 0}, slice_str("1")};
    char text[65];
    struct buf b = {0};

    (void)state;
    memset(text, 'c', sizeof text);
    for (size_t n = 64; n <= 65; n++) {
        struct frame f;
        struct msg_hello got;

        buf_clear(&b);
        m.client = slice_of(text, n);
        msg_put_hello(&b, 1, &m);
        f = parse_frame(&b);
        assert_int_equal(msg_get_hello(&f.args, &got, NULL), n == 64 ? WERR_OK : WERR_MALFORMED);
    }
    buf_fini(&b);
}

static void test_hello_ok(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("hello_ok", &b);
    struct msg_hello_ok m;
    struct werror e;

    (void)state;
    assert_int_equal(msg_get_hello_ok(&f.args, &m, &e), WERR_OK);
    assert_true(m.proto == 1 && m.auth_state == 0 && m.broker == 1);
    assert_true(slice_eq(m.server, slice_str("weir")));
    assert_true(msg_has_feature(m.features, "stream"));
    assert_false(msg_has_feature(m.features, "strea"));
    assert_false(msg_has_feature(slice_of(NULL, 0), "stream"));
    assert_int_equal(m.limits.frame, LIMIT_FRAME);
    assert_int_equal(m.limits.batch, LIMIT_BATCH);
    assert_int_equal(m.limits.message, LIMIT_MESSAGE_CAP);
    assert_int_equal(m.limits.inflight, 1024);
    assert_int_equal(m.limits.inflight_bytes, LIMIT_INFLIGHT_BYTES);
    assert_int_equal(m.limits.partitions_per_fetch, 64);
    assert_int_equal(m.limits.subs, 64);
    assert_int_equal(m.limits.name, 100);
    assert_int_equal(m.limits.producer_window, 64);
    assert_int_equal(m.limits.unzipped, LIMIT_UNZIPPED);
    assert_int_equal(m.conn_id.n, 16);
    assert_int_equal(m.cluster_id.n, 16);
    buf_fini(&b);
}

static void test_responses_are_lenient(void **state)
{
    int64_t ms;
    struct mpread r = ARGS("\x93\x07\xa3new\x92\x01\x02");

    (void)state;
    assert_int_equal(msg_get_ping_ok(&r, &ms, NULL), WERR_OK);
    assert_true(ms == 7 && mpread_done(&r));
    r = ARGS("\x90");
    assert_int_equal(msg_get_ping_ok(&r, &ms, NULL), WERR_MALFORMED);
    r = ARGS("\x92\x01\x81\xa1k\xca\x00\x00\x00\x00");
    assert_int_equal(msg_get_ok(&r, NULL), WERR_OK);
    assert_true(mpread_done(&r));
}

static void test_requests_are_strict(void **state)
{
    struct werror e;
    struct mpread r = ARGS("\x92\xc0\xc0"); /* nil is absent */

    (void)state;
    assert_int_equal(msg_get_empty(&r, &e), WERR_OK);
    r = ARGS("\x91\x01");
    assert_int_equal(msg_get_empty(&r, &e), WERR_UNSUPPORTED_FIELD);
    assert_string_equal(e.text, "argument at byte 1 is not known to this version");
    r = ARGS("\x80");
    assert_int_equal(msg_get_empty(&r, &e), WERR_MALFORMED);
}

static void test_init_producer(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("init_producer", &b);
    struct msg_init_producer m;
    struct msg_producer_pos pos;
    struct werror e;
    struct mpread r;
    uint64_t pid;
    uint32_t epoch;
    size_t n;

    (void)state;
    assert_int_equal(msg_get_init_producer(&f.args, &m, &e), WERR_OK);
    assert_true(slice_eq(m.name, slice_str("billing-7")));
    f = sample_frame("init_producer_unnamed", &b);
    assert_int_equal(msg_get_init_producer(&f.args, &m, &e), WERR_OK);
    assert_int_equal(m.name.n, 0);
    r = ARGS("\x91\xc0");
    assert_int_equal(msg_get_init_producer(&r, &m, &e), WERR_OK);
    r = ARGS("\x91\xa0"); /* an empty name is not "no name" */
    assert_int_equal(msg_get_init_producer(&r, &m, &e), WERR_INVALID_CONFIG);
    r = ARGS("\x91\xa3"
             "a b");
    assert_int_equal(msg_get_init_producer(&r, &m, &e), WERR_INVALID_CONFIG);
    f = sample_frame("init_producer_ok", &b);
    assert_int_equal(msg_get_init_producer_ok(&f.args, &pid, &epoch, &n, &e), WERR_OK);
    assert_true(pid == 7 && epoch == 2 && n == 2);
    assert_int_equal(msg_get_producer_pos(&f.args, &pos, &e), WERR_OK);
    assert_true(pos.tid == 1001 && pos.p == 3 && pos.last_seq == 4711 && pos.last_offset == 900);
    assert_int_equal(msg_get_producer_pos(&f.args, &pos, &e), WERR_OK);
    assert_true(pos.last_seq == UINT32_MAX);
    assert_int_equal(msg_get_producer_pos(&f.args, &pos, &e), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_metrics(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("metrics", &b);
    struct slice prefix, name, label, label_value;
    uint64_t v;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_metrics(&f.args, &prefix, NULL), WERR_OK);
    assert_true(slice_eq(prefix, slice_str("weir_")));
    f = sample_frame("metrics_ok", &b);
    assert_int_equal(msg_get_metrics_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_metric(&f.args, &name, &label, &label_value, &v, NULL), WERR_OK);
    assert_true(slice_eq(name, slice_str("weir_connections")) && label.n == 0 && v == 3);
    assert_int_equal(msg_get_metric(&f.args, &name, &label, &label_value, &v, NULL), WERR_OK);
    assert_true(slice_eq(label, slice_str("op")) && slice_eq(label_value, slice_str("PRODUCE")));
    assert_true(v == 4711);
    buf_clear(&b);
    msg_put_metrics(&b, 1, slice_of(NULL, 0));
    f = parse_frame(&b);
    assert_int_equal(msg_get_metrics(&f.args, &prefix, NULL), WERR_OK);
    assert_int_equal(prefix.n, 0);
    buf_fini(&b);
}

static void test_names(void **state)
{
    char text[LIMIT_NAME + 1];
    struct werror e;

    (void)state;
    memset(text, 'n', sizeof text);
    assert_int_equal(name_check(slice_of(text, 1), false, &e), WERR_OK);
    assert_int_equal(name_check(slice_of(text, LIMIT_NAME), false, &e), WERR_OK);
    assert_int_equal(name_check(slice_of(text, LIMIT_NAME + 1), false, &e), WERR_INVALID_CONFIG);
    assert_string_equal(e.text, "name of 101 characters, want 1 to 100");
    assert_int_equal(name_check(slice_of(text, 0), false, &e), WERR_INVALID_CONFIG);
    for (int c = 0; c < 256; c++) {
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == '_' || c == '-';

        text[1] = (char)c;
        assert_int_equal(name_check(slice_of(text, 3), false, &e) == WERR_OK, good);
        assert_int_equal(name_check(slice_of(text, 3), true, &e) == WERR_OK, good || c == '~');
    }
}

static void test_server(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("server_connections", &b);
    struct msg_server_conns_ok ok;
    struct msg_server_conn c;
    struct msg_server_setting s;
    struct msg_backup backup;
    struct slice name;
    struct mpread list;
    struct werror e = {.code = WERR_OK};
    uint64_t from;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_server_conns(&f.args, &from, &n, NULL), WERR_OK);
    assert_true(from == 7 && n == 500);
    f = sample_frame("server_connections_ok", &b);
    assert_int_equal(msg_get_server_conns_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.n == 2 && ok.has_next && ok.next == 12);
    assert_true(msg_next_server_conn(&ok.conns, &c));
    assert_true(c.id == 7 && slice_eq(c.client, slice_str("libweir/0.1")) && c.waits_for.n == 0);
    assert_true(c.age_ms == 61000 && c.idle_ms == 12 && c.requests == 3 && c.subs == 1);
    assert_true(c.request_bytes == 4096 && c.members == 2 && c.bytes_in == 70000);
    assert_int_equal(c.output_bytes, 100);
    assert_true(msg_next_server_conn(&ok.conns, &c));
    assert_true(c.client.n == 0 && slice_eq(c.waits_for, slice_str("input")));
    assert_false(msg_next_server_conn(&ok.conns, &c));
    f = sample_frame("server_config_ok", &b);
    assert_int_equal(msg_get_server_config_ok(&f.args, &list, &n, NULL), WERR_OK);
    assert_true(n == 2 && msg_next_server_setting(&list, &s) && !s.reloads);
    assert_true(msg_next_server_setting(&list, &s) && s.reloads);
    assert_true(slice_eq(s.source, slice_str("/etc/weir/weir.toml:7")));
    assert_false(msg_next_server_setting(&list, &s));
    f = sample_frame("backup_create", &b);
    assert_int_equal(msg_get_backup_create(&f.args, &name, NULL), WERR_OK);
    assert_true(slice_eq(name, slice_str("before-upgrade")));
    f = sample_frame("backup_create_ok", &b);
    assert_int_equal(msg_get_backup_create_ok(&f.args, &backup, NULL), WERR_OK);
    assert_true(slice_eq(backup.path, slice_str("/var/lib/weir/backups/before-upgrade")));
    assert_true(backup.files == 17 && backup.bytes == 5000000000 && backup.took_ms == 210);
    assert_int_equal(backup.created_ms, 1795558212345);
    buf_clear(&b);
    msg_put_backup_create(&b, 1, (struct slice){NULL, 0});
    f = parse_frame(&b);
    assert_int_equal(msg_get_backup_create(&f.args, &name, NULL), WERR_OK);
    assert_int_equal(name.n, 0);
    buf_clear(&b);
    msg_put_server_conns(&b, 1, 0, LIMIT_PAGE + 1);
    f = parse_frame(&b);
    assert_int_equal(msg_get_server_conns(&f.args, &from, &n, &e), WERR_TOO_LARGE);
    assert_string_equal(e.text, "limit = 1001, at most 1000");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operation_table),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_texts_at_n_and_one_more),
        cmocka_unit_test(test_hello_ok),
        cmocka_unit_test(test_responses_are_lenient),
        cmocka_unit_test(test_requests_are_strict),
        cmocka_unit_test(test_init_producer),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_server),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
