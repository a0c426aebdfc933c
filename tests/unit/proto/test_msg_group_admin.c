#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

static void test_list(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_list", &b);
    struct msg_group_list_ok m;
    struct msg_group_row g;
    struct slice after;
    struct mpread r;
    uint32_t limit;

    (void)state;
    assert_int_equal(msg_get_group_list(&f.args, &after, &limit, NULL), WERR_OK);
    assert_true(slice_eq(after, slice_str("billing")) && limit == 100);
    r = ARGS("\x90");
    assert_int_equal(msg_get_group_list(&r, &after, &limit, NULL), WERR_OK);
    assert_true(after.n == 0 && limit == 0);
    r = ARGS("\x92\xc0\x01");
    assert_int_equal(msg_get_group_list(&r, &after, &limit, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("group_list_ok", &b);
    assert_int_equal(msg_get_group_list_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(m.n_groups == 2 && slice_eq(m.next, slice_str("reports")));
    assert_true(msg_next_group_row(&m.groups, &g));
    assert_true(slice_eq(g.name, slice_str("mail")) && g.mode == GROUP_MODE_QUEUE);
    assert_true(slice_eq(g.state, slice_str("active")) && g.members == 2 && g.partitions == 1);
    assert_true(g.lag_msgs == 4711 && g.lag_ms == 90000 && g.in_flight == 7);
    assert_true(msg_next_group_row(&m.groups, &g));
    assert_true(slice_eq(g.name, slice_str("reports")) && g.mode == GROUP_MODE_LOG);
    assert_true(g.lag_msgs == 0 && g.lag_ms == 0);
    assert_false(msg_next_group_row(&m.groups, &g));
    assert_int_equal(m.groups.err, WERR_OK);
    buf_fini(&b);
}

static void test_describe(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_describe", &b);
    struct msg_group_describe_ok m;
    struct msg_group_member mem;
    struct msg_group_part part;
    struct slice name;

    (void)state;
    assert_int_equal(msg_get_group_name(&f.args, &name, NULL), WERR_OK);
    assert_true(slice_eq(name, slice_str("mail")));
    f = sample_frame("group_describe_ok", &b);
    assert_int_equal(msg_get_group_describe_ok(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.d.row.name, slice_str("mail")));
    assert_true(m.d.created_ms == 1798000000000 && m.d.epoch == 5);
    assert_true(m.d.conf.max_deliver == 16 && m.d.conf.max_processing_ms == 900000);
    assert_true(m.n_members == 2 && m.n_parts == 2);
    assert_true(msg_next_group_member(&m.members, &mem));
    assert_true(mem.member.n == MSG_MEMBER_BYTES && mem.member.p[0] == 0x10);
    assert_true(slice_eq(mem.client, slice_str("py-mini 0.1")));
    assert_true(slice_eq(mem.address, slice_str("127.0.0.1:50001")));
    assert_true(mem.epoch == 5 && mem.partitions == 0 && mem.in_flight == 7 && !mem.away);
    assert_true(mem.since_ms == 1798000000000);
    assert_true(msg_next_group_member(&m.members, &mem) && mem.away && mem.epoch == 4);
    assert_false(msg_next_group_member(&m.members, &mem));
    assert_true(msg_next_group_part(&m.parts, &part));
    assert_true(slice_eq(part.topic, slice_str("orders")) && part.tid == 1001 && part.p == 3);
    assert_true(part.owner.n == 0 && part.position == 41 && part.next == 48 && part.hw == 4752);
    assert_true(part.log_start == 10 && part.lag_msgs == 4711 && part.lag_ms == 90000);
    assert_true(part.in_flight == 7 && part.retrying == 1 && part.oldest_lease_ms == 1500);
    assert_true(part.oldest_holder.n == MSG_MEMBER_BYTES);
    assert_true(msg_next_group_part(&m.parts, &part));
    assert_true(part.owner.n == MSG_MEMBER_BYTES && part.owner.p[0] == 0x20);
    assert_true(part.oldest_holder.n == 0 && part.oldest_lease_ms == 0);
    assert_false(msg_next_group_part(&m.parts, &part));
    assert_int_equal(m.parts.err, WERR_OK);
    buf_fini(&b);
}

static void test_reset(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_reset", &b);
    struct msg_reset m;
    struct msg_reset_item it;
    struct msg_reset_result res;
    struct mpread r;
    uint32_t n;

    (void)state;
    assert_int_equal(msg_get_reset(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.group, slice_str("billing")) && m.force && m.dry_run);
    assert_int_equal(m.n_items, 2);
    assert_true(msg_next_reset_item(&m.items, &it) && it.tid == 1001 && it.p == 3);
    assert_int_equal(it.offset, 10);
    assert_true(msg_next_reset_item(&m.items, &it) && it.offset == 0);
    assert_false(msg_next_reset_item(&m.items, &it));
    r = ARGS("\x92\xa1g\x90");
    assert_int_equal(msg_get_reset(&r, &m, NULL), WERR_OK);
    assert_true(!m.force && !m.dry_run);
    r = ARGS("\x93\xa1g\x90\x81\xa5"
             "force\x01"); /* a bool */
    assert_int_equal(msg_get_reset(&r, &m, NULL), WERR_MALFORMED);
    r = ARGS("\x92\xa1g\x91\x93\x01\x02\xff"); /* offsets only, no words for places */
    assert_int_equal(msg_get_reset(&r, &m, NULL), WERR_MALFORMED);
    f = sample_frame("group_reset_ok", &b);
    assert_int_equal(msg_get_reset_ok(&f.args, &n, NULL), WERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(msg_get_reset_result(&f.args, &res, NULL), WERR_OK);
    assert_true(res.tid == 1001 && res.p == 3 && res.old == 42 && res.new_offset == 10);
    assert_int_equal(res.err.code, WERR_OK);
    assert_int_equal(msg_get_reset_result(&f.args, &res, NULL), WERR_OK);
    assert_int_equal(res.err.code, WERR_OFFSET_OUT_OF_RANGE);
    assert_true(mpread_done(&f.args));
    buf_fini(&b);
}

static void test_delete_and_alter(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("group_delete", &b);
    struct msg_group_delete del;
    struct msg_group_alter alter;
    struct group_config c;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_group_delete(&f.args, &del, NULL), WERR_OK);
    assert_true(slice_eq(del.group, slice_str("billing")) && del.force && !del.dry_run);
    r = ARGS("\x91\xa1g");
    assert_int_equal(msg_get_group_delete(&r, &del, NULL), WERR_OK);
    assert_true(!del.force && !del.dry_run);
    f = sample_frame("group_alter", &b);
    assert_int_equal(msg_get_group_alter(&f.args, &alter, NULL), WERR_OK);
    assert_int_equal(alter.conf.set, GKEY_MAX_RATE | GKEY_PAUSED_UNTIL);
    assert_true(alter.conf.max_rate == 500 && alter.conf.paused_until_ms == LIMIT_UINT);
    assert_false(alter.dry_run);
    f = sample_frame("group_alter_ok", &b);
    assert_int_equal(msg_get_group_alter_ok(&f.args, &c, NULL), WERR_OK);
    assert_true(c.max_rate == 500 && c.max_processing_ms == 900000 && c.set == 0x3ff);
    r = ARGS("\x93\xa1g\x80\x81\xa7"
             "dry_run\xc3");
    assert_int_equal(msg_get_group_alter(&r, &alter, NULL), WERR_OK);
    assert_true(alter.dry_run && alter.conf.set == 0);
    r = ARGS("\x93\xa1g\x80\x81\xa5"
             "force\xc3"); /* ALTER has no such option */
    assert_int_equal(msg_get_group_alter(&r, &alter, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x92\xa1g\x81\xa3new\x01");
    assert_int_equal(msg_get_group_alter(&r, &alter, NULL), WERR_UNSUPPORTED_FIELD);
    r = ARGS("\x92\xa1g\x81\xaamember_max\x00");
    assert_int_equal(msg_get_group_alter(&r, &alter, NULL), WERR_INVALID_CONFIG);
    buf_fini(&b);
}

static void test_dlq_list(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("dlq_list", &b);
    struct msg_dlq_list m;
    struct msg_dlq_list_ok ok;
    struct msg_dlq_range g;
    struct mpread r;

    (void)state;
    assert_int_equal(msg_get_dlq_list(&f.args, &m, NULL), WERR_OK);
    assert_true(slice_eq(m.topic, slice_str("orders~mail~dlq")));
    assert_true(m.p == 0 && m.from == 12 && m.limit == 100);
    f = sample_frame("dlq_list_ok", &b);
    assert_int_equal(msg_get_dlq_list_ok(&f.args, &ok, NULL), WERR_OK);
    assert_true(ok.n_ranges == 3 && ok.has_next && ok.next == 23);
    assert_true(msg_next_dlq_range(&ok.ranges, &g));
    assert_true(g.first == 12 && g.last == 19 && g.state == DLQ_DEAD);
    assert_true(msg_next_dlq_range(&ok.ranges, &g) && g.state == DLQ_WAITING);
    assert_true(msg_next_dlq_range(&ok.ranges, &g) && g.state == DLQ_LEASED && g.last == 22);
    assert_false(msg_next_dlq_range(&ok.ranges, &g));
    r = ARGS("\x92\x90\xc0");
    assert_int_equal(msg_get_dlq_list_ok(&r, &ok, NULL), WERR_OK);
    assert_true(ok.n_ranges == 0 && !ok.has_next);
    buf_fini(&b);
}

static void test_dlq_move(void **state)
{
    struct buf b = {0};
    struct frame f = sample_frame("dlq_redrive", &b);
    struct msg_dlq_move m;
    struct msg_dlq_span s;
    struct mpread r;
    uint64_t moved, skipped;

    (void)state;
    assert_true(f.op == OP_DLQ_REDRIVE);
    assert_int_equal(msg_get_dlq_redrive(&f.args, &m, NULL), WERR_OK);
    assert_true(m.rate == 50 && m.dry_run && m.n_spans == 2);
    assert_true(msg_next_dlq_span(&m.spans, &s) && s.p == 0 && s.first == 12 && s.last == 19);
    assert_true(msg_next_dlq_span(&m.spans, &s) && s.p == 1 && s.last == 0);
    assert_false(msg_next_dlq_span(&m.spans, &s));
    f = sample_frame("dlq_redrive", &b); /* PURGE has no rate */
    assert_int_equal(msg_get_dlq_purge(&f.args, &m, NULL), WERR_UNSUPPORTED_FIELD);
    f = sample_frame("dlq_purge", &b);
    assert_true(f.op == OP_DLQ_PURGE);
    assert_int_equal(msg_get_dlq_purge(&f.args, &m, NULL), WERR_OK);
    assert_true(m.rate == 0 && !m.dry_run && m.n_spans == 1);
    r = ARGS("\x92\xa1t\x91\x93\x00\x05\x04");
    assert_int_equal(msg_get_dlq_purge(&r, &m, NULL), WERR_MALFORMED);
    f = sample_frame("dlq_redrive_ok", &b);
    assert_int_equal(msg_get_dlq_moved(&f.args, &moved, &skipped, NULL), WERR_OK);
    assert_true(moved == 8 && skipped == 1);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),     cmocka_unit_test(test_describe),
        cmocka_unit_test(test_reset),    cmocka_unit_test(test_delete_and_alter),
        cmocka_unit_test(test_dlq_list), cmocka_unit_test(test_dlq_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
