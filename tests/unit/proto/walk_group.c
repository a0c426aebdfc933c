#include "tests/unit/proto/walk_group.h"

#include <stdlib.h>

#include "proto/msg_group.h"

/* What a strict decoder accepted can be walked to the end: a list that breaks off is a bug. */
static void whole(uint32_t seen, uint32_t n, const struct mpread *r)
{
    if (seen != n || r->err != WERR_OK) {
        abort();
    }
}

static void touch_who(const struct msg_who *w)
{
    if (w->member.n != MSG_MEMBER_BYTES || w->group.n == 0) {
        abort();
    }
    touch(w->group);
    touch(w->member);
}

/* ---- requests ---- */

static enum werr walk_join(struct frame *f, struct werror *e)
{
    struct msg_join m;
    struct slice name;
    uint32_t n = 0;
    enum werr rc = msg_get_join(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.group);
        touch(m.member);
        while (msg_next_name(&m.topics, &name)) {
            touch(name);
            n++;
        }
        whole(n, m.n_topics, &m.topics);
    }
    return rc;
}

static enum werr walk_heartbeat(struct frame *f, struct werror *e)
{
    struct msg_heartbeat m;
    uint64_t tid;
    uint32_t p, n = 0;
    enum werr rc = msg_get_heartbeat(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch_who(&m.who);
        while (m.has_owned && msg_next_drop(&m.owned, &tid, &p)) {
            n++;
        }
        whole(n, m.n_owned, &m.owned);
    }
    return rc;
}

static enum werr walk_commit(struct frame *f, struct werror *e)
{
    struct msg_commit m;
    struct msg_commit_item it;
    uint32_t n = 0;
    enum werr rc = msg_get_commit(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch_who(&m.who);
        while (msg_next_commit_item(&m.items, &it)) {
            touch(it.note);
            n++;
        }
        whole(n, m.n_items, &m.items);
    }
    return rc;
}

static enum werr walk_committed(struct frame *f, struct werror *e)
{
    struct msg_committed_rq m;
    uint64_t tid;
    uint32_t p, n = 0;
    enum werr rc = msg_get_committed(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.group);
        while (!m.all && msg_next_drop(&m.parts, &tid, &p)) {
            n++;
        }
        whole(n, m.n_parts, &m.parts);
    }
    return rc;
}

static enum werr walk_acquire(struct frame *f, struct werror *e)
{
    struct msg_acquire m;
    enum werr rc = msg_get_acquire(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch_who(&m.who);
        if (m.max_msgs == 0 || m.max_msgs > LIMIT_ACQUIRE_MSGS || m.attempt == 0) {
            abort();
        }
    }
    return rc;
}

static enum werr walk_settle(struct frame *f, struct werror *e)
{
    struct msg_settle m;
    struct msg_settle_item it;
    uint32_t n = 0;
    enum werr rc = msg_get_settle(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch_who(&m.who);
        while (msg_next_settle_item(&m.items, &it)) {
            touch(it.reason);
            if (it.last < it.first || it.verb > VERB_EXTEND) {
                abort();
            }
            n++;
        }
        whole(n, m.n_items, &m.items);
    }
    return rc;
}

static enum werr walk_cancel(struct frame *f, struct werror *e)
{
    struct msg_cancel_rq m;
    struct slice id;
    uint32_t n = 0;
    enum werr rc = msg_get_cancel(&f->args, &m, e);

    if (rc == WERR_OK) {
        while (msg_next_name(&m.ids, &id)) {
            touch(id);
            n++;
        }
        whole(n, m.n_ids, &m.ids);
    }
    return rc;
}

static enum werr walk_reset(struct frame *f, struct werror *e)
{
    struct msg_reset m;
    struct msg_reset_item it;
    uint32_t n = 0;
    enum werr rc = msg_get_reset(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.group);
        while (msg_next_reset_item(&m.items, &it)) {
            n++;
        }
        whole(n, m.n_items, &m.items);
    }
    return rc;
}

static enum werr walk_dlq_move(struct frame *f, struct werror *e)
{
    struct msg_dlq_move m;
    struct msg_dlq_span s;
    uint32_t n = 0;
    enum werr rc = f->op == OP_DLQ_REDRIVE ? msg_get_dlq_redrive(&f->args, &m, e)
                                           : msg_get_dlq_purge(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.topic);
        while (msg_next_dlq_span(&m.spans, &s)) {
            n++;
        }
        whole(n, m.n_spans, &m.spans);
    }
    return rc;
}

/* Requests without a list. */
static enum werr walk_plain(struct frame *f, struct werror *e)
{
    struct msg_who leave = {0};
    struct msg_group_delete del = {0};
    struct msg_group_alter alter = {0};
    struct msg_dlq_list list = {0};
    struct slice name = {NULL, 0};
    uint64_t tid;
    uint32_t limit;
    enum werr rc;

    switch (f->op) {
    case OP_GROUP_LEAVE:
        rc = msg_get_leave(&f->args, &leave, e);
        break;
    case OP_DELAYED_LIST:
        rc = msg_get_delayed_list(&f->args, &tid, &name, &limit, e);
        break;
    case OP_GROUP_LIST:
        rc = msg_get_group_list(&f->args, &name, &limit, e);
        break;
    case OP_GROUP_DESCRIBE:
        rc = msg_get_group_name(&f->args, &name, e);
        break;
    case OP_GROUP_DELETE:
        rc = msg_get_group_delete(&f->args, &del, e);
        break;
    case OP_GROUP_ALTER:
        rc = msg_get_group_alter(&f->args, &alter, e);
        break;
    case OP_DLQ_LIST:
        rc = msg_get_dlq_list(&f->args, &list, e);
        break;
    default:
        return WERR_UNKNOWN_OP;
    }
    if (rc == WERR_OK) {
        touch(leave.group);
        touch(leave.member);
        touch(name);
        touch(del.group);
        touch(alter.group);
        touch(list.topic);
    }
    return rc;
}

enum werr walk_group_request(struct frame *f, struct werror *e)
{
    switch (f->op) {
    case OP_GROUP_JOIN:
        return walk_join(f, e);
    case OP_GROUP_HEARTBEAT:
        return walk_heartbeat(f, e);
    case OP_COMMIT:
        return walk_commit(f, e);
    case OP_COMMITTED:
        return walk_committed(f, e);
    case OP_ACQUIRE:
        return walk_acquire(f, e);
    case OP_SETTLE:
        return walk_settle(f, e);
    case OP_CANCEL_DELAYED:
        return walk_cancel(f, e);
    case OP_GROUP_RESET:
        return walk_reset(f, e);
    case OP_DLQ_REDRIVE:
    case OP_DLQ_PURGE:
        return walk_dlq_move(f, e);
    default:
        return walk_plain(f, e);
    }
}

/* ---- responses ---- */

static enum werr walk_assignment(struct mpread *parts)
{
    struct msg_assigned a;

    while (msg_next_assigned(parts, &a)) {
        touch(slice_of(&a, sizeof a));
    }
    return parts->err;
}

static enum werr walk_join_ok(struct frame *f, struct werror *e)
{
    struct msg_join_ok m;
    enum werr rc = msg_get_join_ok(&f->args, &m, e);

    return rc == WERR_OK ? walk_assignment(&m.parts) : rc;
}

static enum werr walk_heartbeat_ok(struct frame *f, struct werror *e)
{
    struct msg_heartbeat_ok m;
    enum werr rc = msg_get_heartbeat_ok(&f->args, &m, e);

    return rc == WERR_OK && m.has_parts ? walk_assignment(&m.parts) : rc;
}

static enum werr walk_acquire_ok(struct frame *f, struct werror *e)
{
    uint32_t n;
    enum werr rc = msg_get_acquire_ok(&f->args, &n, e);

    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct msg_acquired a;
        struct msg_range g;

        rc = msg_get_acquired(&f->args, &a, e);
        if (rc != WERR_OK) {
            break;
        }
        while (msg_next_range(&a.ranges, &g)) {
            touch(g.reason);
        }
        rc = a.ranges.err == WERR_OK ? walk_batches(a.batches, e) : a.ranges.err;
    }
    return rc;
}

/* Answers that are a list of like elements. */
static enum werr walk_list_ok(uint32_t op, struct frame *f, struct werror *e)
{
    uint32_t n = 0, status;
    enum werr rc = op == OP_COMMITTED        ? msg_get_committed_ok(&f->args, &n, e)
                   : op == OP_GROUP_RESET    ? msg_get_reset_ok(&f->args, &n, e)
                   : op == OP_CANCEL_DELAYED ? msg_get_cancel_ok(&f->args, &n, e)
                                             : msg_get_results(&f->args, &n, e);

    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct msg_committed c = {0};
        struct msg_reset_result reset;
        struct werror result;
        enum werr_class cls;

        switch (op) {
        case OP_COMMITTED:
            rc = msg_get_committed_one(&f->args, &c, e);
            break;
        case OP_GROUP_RESET:
            rc = msg_get_reset_result(&f->args, &reset, e);
            break;
        case OP_CANCEL_DELAYED:
            rc = msg_get_cancelled(&f->args, &status, e);
            break;
        default:
            rc = msg_get_result(&f->args, &result, &cls, e);
            break;
        }
        if (rc == WERR_OK) {
            touch(c.note);
        }
    }
    return rc;
}

static enum werr walk_delayed_ok(struct frame *f, struct werror *e)
{
    struct msg_delayed_list_ok m;
    struct msg_delayed d;
    enum werr rc = msg_get_delayed_list_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.next);
        while (msg_next_delayed(&m.items, &d)) {
            touch(d.id);
        }
        rc = m.items.err;
    }
    return rc;
}

static enum werr walk_group_list_ok(struct frame *f, struct werror *e)
{
    struct msg_group_list_ok m;
    struct msg_group_row g;
    enum werr rc = msg_get_group_list_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.next);
        while (msg_next_group_row(&m.groups, &g)) {
            touch(g.name);
            touch(g.state);
        }
        rc = m.groups.err;
    }
    return rc;
}

static enum werr walk_group_describe_ok(struct frame *f, struct werror *e)
{
    struct msg_group_describe_ok m;
    struct msg_group_member mem;
    struct msg_group_part part;
    enum werr rc = msg_get_group_describe_ok(&f->args, &m, e);

    if (rc != WERR_OK) {
        return rc;
    }
    touch(m.d.row.name);
    touch(m.d.row.state);
    while (msg_next_group_member(&m.members, &mem)) {
        touch(mem.member);
        touch(mem.client);
        touch(mem.address);
    }
    while (msg_next_group_part(&m.parts, &part)) {
        touch(part.topic);
        touch(part.owner);
        touch(part.oldest_holder);
    }
    return m.members.err != WERR_OK ? m.members.err : m.parts.err;
}

static enum werr walk_dlq_list_ok(struct frame *f, struct werror *e)
{
    struct msg_dlq_list_ok m;
    struct msg_dlq_range g;
    enum werr rc = msg_get_dlq_list_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        while (msg_next_dlq_range(&m.ranges, &g)) {
            touch(slice_of(&g.state, sizeof g.state));
        }
        rc = m.ranges.err;
    }
    return rc;
}

enum werr walk_group_response(uint32_t op, struct frame *f, struct werror *e)
{
    struct group_config conf;
    uint64_t a, b;

    switch (op) {
    case OP_GROUP_JOIN:
        return walk_join_ok(f, e);
    case OP_GROUP_HEARTBEAT:
        return walk_heartbeat_ok(f, e);
    case OP_GROUP_LEAVE:
    case OP_GROUP_DELETE:
        return msg_get_ok(&f->args, e);
    case OP_ACQUIRE:
        return walk_acquire_ok(f, e);
    case OP_COMMIT:
    case OP_SETTLE:
    case OP_COMMITTED:
    case OP_GROUP_RESET:
    case OP_CANCEL_DELAYED:
        return walk_list_ok(op, f, e);
    case OP_DELAYED_LIST:
        return walk_delayed_ok(f, e);
    case OP_GROUP_LIST:
        return walk_group_list_ok(f, e);
    case OP_GROUP_DESCRIBE:
        return walk_group_describe_ok(f, e);
    case OP_GROUP_ALTER:
        return msg_get_group_alter_ok(&f->args, &conf, e);
    case OP_DLQ_LIST:
        return walk_dlq_list_ok(f, e);
    case OP_DLQ_REDRIVE:
    case OP_DLQ_PURGE:
        return msg_get_dlq_moved(&f->args, &a, &b, e);
    default:
        return WERR_UNKNOWN_OP;
    }
}
