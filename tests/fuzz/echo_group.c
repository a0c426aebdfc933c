/* Messages of groups, queues, dead letters and delay, there and back. */
#include "tests/fuzz/echo.h"

static enum werr echo_join(struct frame *f, struct buf *b)
{
    struct msg_join m;
    struct slice names[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_join(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(names, n, msg_next_name, &m.topics)
        rc = n == m.n_topics ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_join(b, f->id, &m, names, n);
    }
    return rc;
}

static enum werr echo_heartbeat(struct frame *f, struct buf *b)
{
    struct msg_heartbeat m;
    struct msg_tp tps[ECHO_MAX];
    size_t n = 0;
    enum werr rc = msg_get_heartbeat(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        if (m.has_owned) {
            ECHO_LIST(tps, n, echo_next_tp, &m.owned)
        }
        rc = !m.has_owned || n == m.n_owned ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_heartbeat(b, f->id, &m.who, tps, n, m.has_owned);
    }
    return rc;
}

static enum werr echo_commit(struct frame *f, struct buf *b)
{
    struct msg_commit m;
    struct msg_commit_item items[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_commit(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(items, n, msg_next_commit_item, &m.items)
        rc = n == m.n_items ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_commit(b, f->id, &m.who, items, n);
    }
    return rc;
}

static enum werr echo_committed(struct frame *f, struct buf *b)
{
    struct msg_committed_rq m;
    struct msg_tp tps[ECHO_MAX];
    size_t n = 0;
    enum werr rc = msg_get_committed(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        if (!m.all) {
            ECHO_LIST(tps, n, echo_next_tp, &m.parts)
        }
        rc = m.all || (n > 0 && n == m.n_parts) ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_committed(b, f->id, m.group, tps, n);
    }
    return rc;
}

static enum werr echo_settle(struct frame *f, struct buf *b)
{
    struct msg_settle m;
    struct msg_settle_item items[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_settle(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(items, n, msg_next_settle_item, &m.items)
        rc = n == m.n_items ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_settle(b, f->id, &m.who, items, n);
    }
    return rc;
}

static enum werr echo_reset(struct frame *f, struct buf *b)
{
    struct msg_reset m;
    struct msg_reset_item items[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_reset(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(items, n, msg_next_reset_item, &m.items)
        rc = n == m.n_items ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_reset(b, f->id, m.group, items, n, m.force, m.dry_run);
    }
    return rc;
}

static enum werr echo_move(struct frame *f, struct buf *b)
{
    struct msg_dlq_move m;
    struct msg_dlq_span spans[ECHO_MAX];
    size_t n;
    bool redrive = f->op == OP_DLQ_REDRIVE;
    enum werr rc =
        redrive ? msg_get_dlq_redrive(&f->args, &m, NULL) : msg_get_dlq_purge(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(spans, n, msg_next_dlq_span, &m.spans)
        rc = n == m.n_spans ? WERR_OK : WERR_UNKNOWN_OP;
        if (redrive) {
            msg_put_dlq_redrive(b, f->id, m.topic, spans, n, m.rate, m.dry_run);
        } else {
            msg_put_dlq_purge(b, f->id, m.topic, spans, n, m.dry_run);
        }
    }
    return rc;
}

static enum werr echo_cancel(struct frame *f, struct buf *b)
{
    struct msg_cancel_rq m;
    struct slice ids[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_cancel(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(ids, n, msg_next_name, &m.ids)
        rc = n == m.n_ids ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_cancel(b, f->id, m.tid, ids, n);
    }
    return rc;
}

/* Requests without a list. */
static enum werr echo_plain(struct frame *f, struct buf *b)
{
    struct msg_who who;
    struct msg_acquire acquire;
    struct msg_group_delete del;
    struct msg_group_alter alter;
    struct msg_dlq_list list;
    struct slice name;
    uint64_t tid;
    uint32_t limit;
    enum werr rc;

    switch (f->op) {
    case OP_GROUP_LEAVE:
        rc = msg_get_leave(&f->args, &who, NULL);
        return rc == WERR_OK ? (msg_put_leave(b, f->id, &who), rc) : rc;
    case OP_ACQUIRE:
        rc = msg_get_acquire(&f->args, &acquire, NULL);
        return rc == WERR_OK ? (msg_put_acquire(b, f->id, &acquire), rc) : rc;
    case OP_GROUP_LIST:
        rc = msg_get_group_list(&f->args, &name, &limit, NULL);
        return rc == WERR_OK ? (msg_put_group_list(b, f->id, name, limit), rc) : rc;
    case OP_GROUP_DESCRIBE:
        rc = msg_get_group_name(&f->args, &name, NULL);
        return rc == WERR_OK ? (msg_put_group_describe(b, f->id, name), rc) : rc;
    case OP_GROUP_DELETE:
        rc = msg_get_group_delete(&f->args, &del, NULL);
        return rc == WERR_OK ? (msg_put_group_delete(b, f->id, &del), rc) : rc;
    case OP_GROUP_ALTER:
        rc = msg_get_group_alter(&f->args, &alter, NULL);
        return rc == WERR_OK ? (msg_put_group_alter(b, f->id, &alter), rc) : rc;
    case OP_DLQ_LIST:
        rc = msg_get_dlq_list(&f->args, &list, NULL);
        return rc == WERR_OK ? (msg_put_dlq_list(b, f->id, &list), rc) : rc;
    case OP_DELAYED_LIST:
        rc = msg_get_delayed_list(&f->args, &tid, &name, &limit, NULL);
        return rc == WERR_OK ? (msg_put_delayed_list(b, f->id, tid, name, limit), rc) : rc;
    default:
        return WERR_UNKNOWN_OP;
    }
}

enum werr echo_group_request(struct frame *f, struct buf *b)
{
    switch (f->op) {
    case OP_GROUP_JOIN:
        return echo_join(f, b);
    case OP_GROUP_HEARTBEAT:
        return echo_heartbeat(f, b);
    case OP_COMMIT:
        return echo_commit(f, b);
    case OP_COMMITTED:
        return echo_committed(f, b);
    case OP_SETTLE:
        return echo_settle(f, b);
    case OP_GROUP_RESET:
        return echo_reset(f, b);
    case OP_DLQ_REDRIVE:
    case OP_DLQ_PURGE:
        return echo_move(f, b);
    case OP_CANCEL_DELAYED:
        return echo_cancel(f, b);
    default:
        return echo_plain(f, b);
    }
}

/* ---------------------------------------------------------------- responses */

static enum werr echo_assignment(uint32_t op, struct frame *f, struct buf *b)
{
    struct msg_join_ok join = {0};
    struct msg_heartbeat_ok beat = {0};
    struct msg_assigned parts[ECHO_MAX];
    size_t n = 0;
    bool is_join = op == OP_GROUP_JOIN;
    enum werr rc = is_join ? msg_get_join_ok(&f->args, &join, NULL)
                           : msg_get_heartbeat_ok(&f->args, &beat, NULL);
    struct mpread *view = is_join ? &join.parts : &beat.parts;

    if (rc != WERR_OK) {
        return rc;
    }
    if (is_join || beat.has_parts) {
        ECHO_LIST(parts, n, msg_next_assigned, view)
        rc = view->err != WERR_OK                           ? view->err
             : n == (is_join ? join.n_parts : beat.n_parts) ? WERR_OK
                                                            : WERR_UNKNOWN_OP;
    }
    if (is_join) {
        msg_put_join_ok(b, f->id, &join, parts, n);
    } else {
        msg_put_heartbeat_ok(b, f->id, beat.epoch, beat.has_parts, parts, n);
    }
    return rc;
}

static enum werr echo_committed_ok(struct frame *f, struct buf *b)
{
    struct msg_committed c[ECHO_MAX];
    uint32_t n;
    enum werr rc = msg_get_committed_ok(&f->args, &n, NULL);

    if (rc == WERR_OK && n > ECHO_MAX) {
        return WERR_UNKNOWN_OP;
    }
    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_committed_one(&f->args, &c[i], NULL);
    }
    if (rc == WERR_OK) {
        msg_put_committed_ok(b, f->id, c, n);
    }
    return rc;
}

static enum werr echo_group_list_ok(struct frame *f, struct buf *b)
{
    struct msg_group_list_ok m;
    struct msg_group_row rows[ECHO_MAX];
    size_t n, begin;
    enum werr rc = msg_get_group_list_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(rows, n, msg_next_group_row, &m.groups)
        rc = m.groups.err != WERR_OK ? m.groups.err : n == m.n_groups ? WERR_OK : WERR_UNKNOWN_OP;
        begin = msg_begin_group_list_ok(b, f->id, n);
        for (size_t i = 0; i < n; i++) {
            msg_put_group_row(b, &rows[i]);
        }
        msg_end_group_list_ok(b, begin, m.next);
    }
    return rc;
}

static enum werr echo_describe_ok(struct frame *f, struct buf *b)
{
    struct msg_group_describe_ok m;
    struct msg_group_member members[ECHO_MAX];
    static struct msg_group_part parts[ECHO_MAX];
    size_t n, k;
    enum werr rc = msg_get_group_describe_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(members, n, msg_next_group_member, &m.members)
        ECHO_LIST(parts, k, msg_next_group_part, &m.parts)
        rc = m.members.err != WERR_OK ? m.members.err : m.parts.err;
        if (rc == WERR_OK && (n != m.n_members || k != m.n_parts)) {
            rc = WERR_UNKNOWN_OP;
        }
        msg_put_group_describe_ok(b, f->id, &m.d, members, n, parts, k);
    }
    return rc;
}

static enum werr echo_dlq_ok(struct frame *f, struct buf *b)
{
    struct msg_dlq_list_ok m;
    struct msg_dlq_range ranges[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_dlq_list_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(ranges, n, msg_next_dlq_range, &m.ranges)
        rc = m.ranges.err != WERR_OK ? m.ranges.err : n == m.n_ranges ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_dlq_list_ok(b, f->id, ranges, n, m.has_next, m.next);
    }
    return rc;
}

static enum werr echo_delayed_ok(struct frame *f, struct buf *b)
{
    struct msg_delayed_list_ok m;
    struct msg_delayed items[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_delayed_list_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(items, n, msg_next_delayed, &m.items)
        rc = m.items.err != WERR_OK ? m.items.err : n == m.n_items ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_delayed_list_ok(b, f->id, items, n, m.next);
    }
    return rc;
}

enum werr echo_group_response(uint32_t op, struct frame *f, struct buf *b)
{
    struct group_config conf;
    uint64_t moved, skipped;
    enum werr rc;

    switch (op) {
    case OP_GROUP_JOIN:
    case OP_GROUP_HEARTBEAT:
        return echo_assignment(op, f, b);
    case OP_COMMITTED:
        return echo_committed_ok(f, b);
    case OP_GROUP_LIST:
        return echo_group_list_ok(f, b);
    case OP_GROUP_DESCRIBE:
        return echo_describe_ok(f, b);
    case OP_GROUP_ALTER:
        rc = msg_get_group_alter_ok(&f->args, &conf, NULL);
        return rc == WERR_OK ? (msg_put_group_alter_ok(b, f->id, &conf), rc) : rc;
    case OP_DLQ_LIST:
        return echo_dlq_ok(f, b);
    case OP_DLQ_REDRIVE:
    case OP_DLQ_PURGE:
        rc = msg_get_dlq_moved(&f->args, &moved, &skipped, NULL);
        return rc == WERR_OK ? (msg_put_dlq_moved(b, f->id, moved, skipped), rc) : rc;
    case OP_DELAYED_LIST:
        return echo_delayed_ok(f, b);
    default:
        return WERR_UNKNOWN_OP;
    }
}
