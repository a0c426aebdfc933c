#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

/* The member of the samples, and other bins of about that size. */
#define MEMBER "\xc4\x10\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
#define MEMBER_15 "\xc4\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e"
#define MEMBER_17 "\xc4\x11\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x20"

static void assert_who(const struct msg_who *w, const char *group)
{
    assert_true(slice_eq(w->group, slice_str(group)));
    assert_int_equal(w->member.n, MSG_MEMBER_BYTES);
    assert_int_equal(w->member.p[0], 0x10);
    assert_int_equal(w->member.p[15], 0x1f);
    assert_int_equal(w->epoch, 5);
}

static void test_join(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_join", &b);
    struct msg_join m;
    struct slice name;

    (void)state;
    assert_true(f.kind == FRAME_REQUEST && f.op == OP_GROUP_JOIN);
    assert_int_equal(msg_get_join(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.group, slice_str("billing")) && m.member.n == MSG_MEMBER_BYTES);
    assert_true(m.mode == GROUP_MODE_LOG && m.order == GROUP_ORDER_NONE);
    assert_true(m.start == OFFSET_SPEC_START && m.n_topics == 1);
    assert_true(msg_next_name(&m.topics, &name) && slice_eq(name, slice_str("orders")));
    assert_false(msg_next_name(&m.topics, &name));
    assert_int_equal(m.topics.err, WERR_OK);
    f = sample_frame("group_join_queue", &b);
    assert_int_equal(msg_get_join(&f.args, &m, NULL), WERR_OK);
    assert_true(m.mode == GROUP_MODE_QUEUE && m.order == GROUP_ORDER_KEY);
    assert_true(m.start == 1798000000000 && m.n_topics == 2);
    assert_true(msg_next_name(&m.topics, &name) && msg_next_name(&m.topics, &name));
    assert_true(slice_eq(name, slice_str("refunds")));
    assert_false(msg_next_name(&m.topics, &name)); /* does not run into the options */
    buf_fini(&b);
}

static void test_join_is_strict(void **state)
{
    struct msg_join m;
    struct werror e;
    struct mpread r;

    (void)state;
    r = ARGS("\x94\xa1g" MEMBER "\xc0\x91\xa1t"); /* no options: log, earliest */
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_OK);
    assert_true(m.mode == GROUP_MODE_LOG && m.start == OFFSET_SPEC_START && mpread_done(&r));
    r = ARGS("\x94\xa1g" MEMBER_15 "\xc0\x91\xa1t");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x94\xa1g" MEMBER_17 "\xc0\x91\xa1t");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x94\xa1g" MEMBER "\xa1i\x91\xa1t"); /* instance */
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\xa1~" MEMBER "\xc0\x91\xa1t");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_INVALID_CONFIG);
    r = ARGS("\x94\xa0" MEMBER "\xc0\x91\xa1t");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_INVALID_CONFIG);
    r = ARGS("\x95\xa1g" MEMBER "\xc0\x91\xa1t\x81\xa4mode\xa6stream");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_INVALID_CONFIG);
    assert_non_null(strstr(e.text, "mode = stream"));
    r = ARGS("\x95\xa1g" MEMBER "\xc0\x91\xa1t\x81\xa5order\xa3"
             "all");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_INVALID_CONFIG);
    assert_non_null(strstr(e.text, "order = all"));
    r = ARGS("\x95\xa1g" MEMBER "\xc0\x91\xa1t\x81\xa5start\xfe"); /* latest */
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_OK);
    assert_true(m.start == OFFSET_SPEC_END);
    r = ARGS("\x95\xa1g" MEMBER "\xc0\x91\xa1t\x81\xa5start\xfd");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_MALFORMED);
    r = ARGS("\x95\xa1g" MEMBER "\xc0\x91\xa1t\x81\xa3new\x01");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x96\xa1g" MEMBER "\xc0\x91\xa1t\x80\x01");
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\xa1g" MEMBER "\xc0\x91\x01"); /* a name is a str */
    assert_int_equal(msg_get_join(&r, &m, &e), WERR_MALFORMED);
}

static void test_join_answer(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_join_ok", &b);
    struct msg_join_ok m;
    struct msg_assigned a;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_join_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(m.epoch == 5 && m.grace_ms == 10000 && m.mode == GROUP_MODE_LOG && !m.resumed);
    assert_int_equal(m.n_parts, 2);
    assert_true(msg_next_assigned(&m.parts, &a));
    assert_true(a.tid == 1001 && a.p == 3 && a.epoch == 5 && a.offset == 41);
    assert_true(msg_next_assigned(&m.parts, &a) && a.p == 0 && a.offset == 0);
    assert_false(msg_next_assigned(&m.parts, &a));
    f = sample_frame("group_join_queue_ok", &b);
    assert_int_equal(msg_get_join_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(m.mode == GROUP_MODE_QUEUE && m.resumed && m.n_parts == 0);
    /* a later version may add to the answer and to its entries; a mode it may not invent */
    r = ARGS("\x96\x05\x0a\xa3log\xc2\x91\x95\x01\x02\x03\x04\xa1x\x81\x01\x02");
    assert_int_equal(msg_get_join_ok(&r, &m, NULL), WERR_OK);
    assert_true(msg_next_assigned(&m.parts, &a) && a.tid == 1 && a.offset == 4);
    assert_false(msg_next_assigned(&m.parts, &a));
    r = ARGS("\x95\x05\x0a\xa3new\xc2\x90");
    assert_int_equal(msg_get_join_ok(&r, &m, NULL), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_heartbeat(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("heartbeat", &b);
    struct msg_heartbeat m;
    struct msg_heartbeat_ok ok;
    struct msg_assigned a;
    struct mpread r;
    uint64_t tid;
    uint32_t p;

    (void)state;
    assert_int_equal(msg_get_heartbeat(&f.args, &m, NULL), WERR_OK);
    assert_who(&m.who, "billing");
    assert_false(m.has_owned);
    f = sample_frame("heartbeat_owned", &b);
    assert_int_equal(msg_get_heartbeat(&f.args, &m, NULL), WERR_OK);
    assert_true(m.has_owned && m.n_owned == 1);
    assert_true(msg_next_drop(&m.owned, &tid, &p) && tid == 1001 && p == 3);
    assert_false(msg_next_drop(&m.owned, &tid, &p));
    r = ARGS("\x94\xa1g" MEMBER "\x05\x90"); /* gives up all: not the same as saying nothing */
    assert_int_equal(msg_get_heartbeat(&r, &m, NULL), WERR_OK);
    assert_true(m.has_owned && m.n_owned == 0);
    r = ARGS("\x94\xa1g" MEMBER "\x05\xc0");
    assert_int_equal(msg_get_heartbeat(&r, &m, NULL), WERR_OK);
    assert_false(m.has_owned);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x93\x01\x02\x03");
    assert_int_equal(msg_get_heartbeat(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x93\xa1g" MEMBER "\xcf\x00\x20\x00\x00\x00\x00\x00\x00"); /* epoch 2^53 */
    assert_int_equal(msg_get_heartbeat(&r, &m, NULL), WERR_MALFORMED);
    f = sample_frame("heartbeat_ok", &b);
    assert_int_equal(msg_get_heartbeat_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.epoch == 6 && ok.has_parts && ok.n_parts == 1);
    assert_true(msg_next_assigned(&ok.parts, &a) && a.p == 3 && a.epoch == 5 && a.offset == 41);
    f = sample_frame("heartbeat_unchanged", &b);
    assert_int_equal(msg_get_heartbeat_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.epoch == 6 && !ok.has_parts);
    buf_clear(&b); /* nothing assigned is an assignment */
    msg_put_heartbeat_ok(&b, 1, 7, true, NULL, 0);
    f = parse_frame(&b);
    assert_int_equal(msg_get_heartbeat_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.has_parts && ok.n_parts == 0);
    buf_fini(&b);
}

static void test_leave(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_leave", &b);
    struct msg_who who;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_leave(&f.args, &who, NULL), WERR_OK);
    assert_who(&who, "billing");
    r = ARGS("\x94\xa1g" MEMBER "\x05\xc3");
    assert_int_equal(msg_get_leave(&r, &who, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x93\xa1g\xb0" /* a str of 16 is no member */
             "0123456789abcdef\x05");
    assert_int_equal(msg_get_leave(&r, &who, NULL), WERR_MALFORMED);
    buf_fini(&b);
}

static void test_on_behalf_of(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("fetch_for", &b);
    struct msg_fetch fetch;
    struct msg_fetch_part fp;
    struct msg_subscribe sub;
    struct msg_sub_part sp;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_fetch(&f.args, &fetch, NULL), WERR_OK);
    assert_who(&fetch.who, "billing");
    assert_true(msg_next_fetch_part(&fetch.parts, &fp) && fp.offset == 41);
    assert_false(msg_next_fetch_part(&fetch.parts, &fp));
    f = sample_frame("subscribe_for", &b);
    assert_int_equal(msg_get_subscribe(&f.args, &sub, NULL), WERR_OK);
    assert_who(&sub.who, "billing");
    assert_true(msg_next_sub_part(&sub.parts, &sp) && sp.offset == 41);
    r = ARGS("\x95\x00\x00\x00\x90\x94\xa1g" MEMBER "\x05\xc0");
    assert_int_equal(msg_get_fetch(&r, &fetch, NULL), WERR_OK);
    r = ARGS("\x95\x00\x00\x00\x90\x94\xa1g" MEMBER "\x05\x01");
    assert_int_equal(msg_get_fetch(&r, &fetch, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x95\x00\x00\x00\x90\x92\xa1g" MEMBER);
    assert_int_equal(msg_get_fetch(&r, &fetch, NULL), WERR_MALFORMED);
    r = ARGS("\x95\x00\x00\x00\x90\x93\xa0" MEMBER "\x05");
    assert_int_equal(msg_get_fetch(&r, &fetch, NULL), WERR_INVALID_CONFIG);
    r = ARGS("\x95\x07\x90\x00\xc0\x93\xa1g" MEMBER_17 "\x05");
    assert_int_equal(msg_get_subscribe(&r, &sub, NULL), WERR_MALFORMED);
    r = ARGS("\x96\x07\x90\x00\xc0\xc0\x01"); /* behind `for` there is nothing */
    assert_int_equal(msg_get_subscribe(&r, &sub, NULL), WERR_UNSUPPORTED_FIELD);
    buf_fini(&b);
}

static void test_commit(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("commit", &b);
    struct msg_commit m;
    struct msg_commit_item it;
    struct werror result;
    enum werr_class cls;
    struct mpread r;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_commit(&f.args, &m, NULL), WERR_OK);
    assert_who(&m.who, "billing");
    assert_int_equal(m.n_items, 2);
    assert_true(msg_next_commit_item(&m.items, &it));
    assert_true(it.tid == 1001 && it.p == 3 && it.offset == 42 && it.note.n == 0);
    assert_true(msg_next_commit_item(&m.items, &it));
    assert_true(it.p == 0 && it.offset == 7 && slice_eq(it.note, slice_str("file 17")));
    assert_false(msg_next_commit_item(&m.items, &it));
    assert_int_equal(m.items.err, WERR_OK);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x95\x01\x02\x03\xc0\x01");
    assert_int_equal(msg_get_commit(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x91\x93\x01\x02\xff");
    assert_int_equal(msg_get_commit(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x94\xa1g" MEMBER "\x05\x90");
    assert_int_equal(msg_get_commit(&r, &m, NULL), WERR_OK);
    f = sample_frame("commit_ok", &b);
    assert_int_equal(msg_get_results(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_result(&f.args, &result, &cls, NULL), WERR_OK);
    assert_int_equal(result.code, WERR_OK);
    assert_int_equal(msg_get_result(&f.args, &result, &cls, NULL), WERR_OK);
    assert_true(result.code == WERR_NOT_ASSIGNED && cls == WCLASS_NEVER);
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
}

static void test_committed(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("committed", &b);
    struct msg_committed_rq m;
    struct msg_committed c;
    struct mpread r;
    uint64_t tid;
    uint32_t p, n;

    (void)state;
    assert_int_equal(msg_get_committed(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.group, slice_str("billing")) && !m.all && m.n_parts == 2);
    assert_true(msg_next_drop(&m.parts, &tid, &p) && tid == 1001 && p == 3);
    assert_true(msg_next_drop(&m.parts, &tid, &p) && p == 0);
    assert_false(msg_next_drop(&m.parts, &tid, &p));
    f = sample_frame("committed_all", &b);
    assert_int_equal(msg_get_committed(&f.args, &m, NULL), WERR_OK);
    assert_true(m.all && m.n_parts == 0);
    r = ARGS("\x92\xa1g\xc0");
    assert_int_equal(msg_get_committed(&r, &m, NULL), WERR_OK);
    assert_true(m.all);
    r = ARGS("\x92\xa1g\x90"); /* none is not all */
    assert_int_equal(msg_get_committed(&r, &m, NULL), WERR_OK);
    assert_true(!m.all && m.n_parts == 0);
    r = ARGS("\x93\xa1g\xc0\x01");
    assert_int_equal(msg_get_committed(&r, &m, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("committed_ok", &b);
    assert_int_equal(msg_get_committed_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_committed_one(&f.args, &c, NULL), WERR_OK);
    assert_true(c.tid == 1001 && c.p == 3 && c.offset == 42 && c.ts_ms == 1798000000000);
    assert_true(slice_eq(c.note, slice_str("file 17")));
    assert_int_equal(msg_get_committed_one(&f.args, &c, NULL), WERR_OK);
    assert_true(c.offset == 0 && c.ts_ms == 0 && c.note.n == 0 && mpread_done(&f.args));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),        cmocka_unit_test(test_join_is_strict),
        cmocka_unit_test(test_join_answer), cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_leave),       cmocka_unit_test(test_on_behalf_of),
        cmocka_unit_test(test_commit),      cmocka_unit_test(test_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
