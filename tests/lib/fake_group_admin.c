/* Administration of groups, dead letters and delayed messages: made-up answers in several pages. */
#include <stdio.h>

#include "tests/lib/fake_broker.h"

static void do_list(struct fake_conn *c, uint32_t corr, struct slice after)
{
    const bool first = after.n == 0;
    const size_t at = msg_begin_group_list_ok(&c->out, corr, 1);
    const struct msg_group_row row = {.name = slice_str(first ? "g1" : "g2"),
                                      .mode = first ? GROUP_MODE_LOG : GROUP_MODE_QUEUE,
                                      .state = slice_str("active"),
                                      .members = 2,
                                      .partitions = 3,
                                      .lag_msgs = 4,
                                      .lag_ms = 5,
                                      .in_flight = 6};

    msg_put_group_row(&c->out, &row);
    msg_end_group_list_ok(&c->out, at, first ? slice_str("g1") : (struct slice){NULL, 0});
}

static void do_describe(struct fake_conn *c, uint32_t corr, struct slice name, struct werror *e)
{
    static const uint8_t id[MSG_MEMBER_BYTES] = {0xab, 1};
    const struct msg_group_member m = {.member = slice_of(id, sizeof id),
                                       .client = slice_str("app"),
                                       .address = slice_str("127.0.0.1:5"),
                                       .epoch = 7,
                                       .partitions = 1,
                                       .in_flight = 8,
                                       .since_ms = 9,
                                       .away = true};
    const struct msg_group_part p[2] = {
        {.topic = slice_str("t"),
         .tid = 1,
         .owner = m.member,
         .position = 10,
         .next = 11,
         .hw = 12},
        {.topic = slice_str("t"), .tid = 1, .p = 1, .oldest_holder = m.member, .retrying = 3}};
    struct msg_group_describe d = {
        .row = {.name = name, .state = slice_str("paused")}, .created_ms = 123, .epoch = 7};

    if (slice_eq(name, slice_str("nope"))) {
        werror_set(e, WERR_UNKNOWN_GROUP, "no group nope");
        return;
    }
    group_config_defaults(&d.conf, GROUP_MODE_QUEUE);
    msg_put_group_describe_ok(&c->out, corr, &d, &m, 1, p, 2);
}

static void do_reset(struct fake_conn *c, uint32_t corr, struct msg_reset *m)
{
    struct msg_reset_result results[8] = {{.tid = 0}};
    struct msg_reset_item it;
    size_t n = 0;

    while (n < 8 && msg_next_reset_item(&m->items, &it)) {
        results[n] = (struct msg_reset_result){it.tid, it.p, 42, it.offset, {.code = WERR_OK}};
        if (it.offset > 1000) {
            werror_set(&results[n].err, WERR_OFFSET_OUT_OF_RANGE, "too far");
        }
        n++;
    }
    msg_put_reset_ok(&c->out, corr, results, n);
}

static void do_cancel(struct fake_conn *c, uint32_t corr, struct msg_cancel_rq *m)
{
    uint8_t status[1000] = {0};
    struct slice id;
    size_t n = 0;

    while (n < sizeof status && msg_next_name(&m->ids, &id)) {
        status[n++] = (uint8_t)(id.n % 3);
    }
    msg_put_cancel_ok(&c->out, corr, status, n);
}

static bool dead_letters(struct fake_conn *c, struct frame *f, struct werror *e)
{
    const struct msg_dlq_range range = {5, 9, DLQ_DEAD}, last = {20, 20, DLQ_LEASED};
    struct msg_dlq_list list;
    struct msg_dlq_move move;

    if (f->op == OP_DLQ_LIST && msg_get_dlq_list(&f->args, &list, e) == WERR_OK) {
        msg_put_dlq_list_ok(&c->out, f->id, list.from ? &last : &range, 1, list.from == 0, 10);
    } else if (f->op == OP_DLQ_REDRIVE && msg_get_dlq_redrive(&f->args, &move, e) == WERR_OK) {
        msg_put_dlq_moved(&c->out, f->id, move.n_spans, 1);
    } else if (f->op == OP_DLQ_PURGE && msg_get_dlq_purge(&f->args, &move, e) == WERR_OK) {
        msg_put_dlq_moved(&c->out, f->id, move.n_spans, 2);
    } else {
        return e->code != WERR_OK;
    }
    return true;
}

static bool delayed(struct fake_conn *c, struct frame *f, struct werror *e)
{
    const struct msg_delayed d = {slice_str("d-1"), 0, 2000000000000, 2, 300};
    struct msg_cancel_rq cancel;
    struct slice after;
    uint64_t tid;
    uint32_t limit;

    if (f->op == OP_CANCEL_DELAYED && msg_get_cancel(&f->args, &cancel, e) == WERR_OK) {
        do_cancel(c, f->id, &cancel);
    } else if (f->op == OP_DELAYED_LIST &&
               msg_get_delayed_list(&f->args, &tid, &after, &limit, e) == WERR_OK) {
        msg_put_delayed_list_ok(&c->out, f->id, &d, 1,
                                after.n ? (struct slice){NULL, 0} : slice_str("d-1"));
    } else {
        return e->code != WERR_OK;
    }
    return true;
}

bool fake_group_admin(struct fake_conn *c, struct frame *f, struct werror *e)
{
    struct msg_group_alter alter;
    struct msg_group_delete del;
    struct msg_reset reset;
    struct slice name;
    uint32_t limit;

    if (f->op == OP_GROUP_LIST && msg_get_group_list(&f->args, &name, &limit, e) == WERR_OK) {
        do_list(c, f->id, name);
    } else if (f->op == OP_GROUP_DESCRIBE && msg_get_group_name(&f->args, &name, e) == WERR_OK) {
        do_describe(c, f->id, name, e);
    } else if (f->op == OP_GROUP_ALTER && msg_get_group_alter(&f->args, &alter, e) == WERR_OK) {
        struct group_config conf;

        group_config_defaults(&conf, GROUP_MODE_QUEUE);
        group_config_merge(&conf, &alter.conf);
        msg_put_group_alter_ok(&c->out, f->id, &conf);
    } else if (f->op == OP_GROUP_DELETE && msg_get_group_delete(&f->args, &del, e) == WERR_OK) {
        if (!del.force) {
            werror_set(e, WERR_GROUP_BUSY, "members are live");
        } else {
            msg_put_ok(&c->out, f->id);
        }
    } else if (f->op == OP_GROUP_RESET && msg_get_reset(&f->args, &reset, e) == WERR_OK) {
        do_reset(c, f->id, &reset);
    } else {
        return e->code != WERR_OK || dead_letters(c, f, e) || delayed(c, f, e);
    }
    return true;
}
