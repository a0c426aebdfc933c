/* Messages of topics, producing and reading, there and back. */
#include "tests/fuzz/echo.h"

#include "proto/msg_server.h"

static enum werr echo_fetch(struct frame *f, struct buf *b)
{
    struct msg_fetch m;
    struct msg_fetch_part parts[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_fetch(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(parts, n, msg_next_fetch_part, &m.parts)
        rc = n == m.n_parts ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_fetch(b, f->id, &m, parts, n);
    }
    return rc;
}

static enum werr echo_subscribe(struct frame *f, struct buf *b)
{
    struct msg_subscribe m;
    struct msg_sub_part parts[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_subscribe(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(parts, n, msg_next_sub_part, &m.parts)
        rc = n == m.n_parts ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_subscribe(b, f->id, &m, parts, n);
    }
    return rc;
}

static enum werr echo_sub_update(struct frame *f, struct buf *b)
{
    struct msg_sub_update m;
    struct msg_sub_part add[ECHO_MAX], drop[ECHO_MAX];
    size_t n, k = 0;
    enum werr rc = msg_get_sub_update(&f->args, &m, NULL);

    if (rc != WERR_OK) {
        return rc;
    }
    ECHO_LIST(add, n, msg_next_sub_part, &m.add)
    for (k = 0; k < ECHO_MAX && msg_next_drop(&m.drop, &drop[k].tid, &drop[k].p); k++) {
    }
    msg_put_sub_update(b, f->id, m.sub, add, n, drop, k);
    return n == m.n_add && k == m.n_drop ? WERR_OK : WERR_UNKNOWN_OP;
}

static enum werr echo_offsets(struct frame *f, struct buf *b)
{
    struct msg_offset_spec specs[ECHO_MAX];
    uint32_t n;
    size_t k;
    enum werr rc = msg_get_list_offsets(&f->args, &n, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(specs, k, msg_next_offset_spec, &f->args)
        rc = k == n ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_list_offsets(b, f->id, specs, k);
    }
    return rc;
}

static enum werr echo_metadata(struct frame *f, struct buf *b)
{
    struct msg_metadata m;
    struct slice names[ECHO_MAX];
    enum werr rc = msg_get_metadata(&f->args, &m, NULL);

    if (rc != WERR_OK) {
        return rc;
    }
    if (m.n_names > ECHO_MAX || (!m.all && m.n_names == 0)) {
        return WERR_UNKNOWN_OP;
    }
    for (uint32_t i = 0; i < m.n_names; i++) {
        names[i] = mpread_str(&m.names, SIZE_MAX);
    }
    msg_put_metadata(b, f->id, names, m.n_names, m.after, m.limit);
    return WERR_OK;
}

static enum werr echo_produce(struct frame *f, struct buf *b)
{
    struct msg_produce m;
    enum werr rc = msg_get_produce(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        msg_put_produce_head(b, f->id, &m);
        buf_put(b, m.batch.p, m.batch.n);
        msg_put_produce_tail(b, &m);
    }
    return rc;
}

static enum werr echo_topic(struct frame *f, struct buf *b)
{
    struct msg_topic m = {0};
    enum werr rc;

    switch (f->op) {
    case OP_TOPIC_CREATE:
        rc = msg_get_topic_create(&f->args, &m, NULL);
        return rc == WERR_OK ? (msg_put_topic_create(b, f->id, &m), rc) : rc;
    case OP_TOPIC_ALTER:
        rc = msg_get_topic_create(&f->args, &m, NULL);
        return rc == WERR_OK ? (msg_put_topic_alter(b, f->id, &m), rc) : rc;
    case OP_TOPIC_DELETE:
        rc = msg_get_topic_delete(&f->args, &m, NULL);
        return rc == WERR_OK ? (msg_put_topic_delete(b, f->id, m.name, m.dry_run), rc) : rc;
    default:
        rc = msg_get_topic_describe(&f->args, &m.name, NULL);
        return rc == WERR_OK ? (msg_put_topic_describe(b, f->id, m.name), rc) : rc;
    }
}

enum werr echo_request(struct frame *f, struct buf *b)
{
    struct msg_hello hello;
    struct msg_init_producer init;
    struct slice prefix;
    uint64_t limit;
    uint32_t n;
    enum werr rc;

    switch (f->op) {
    case OP_HELLO:
        rc = msg_get_hello(&f->args, &hello, NULL);
        return rc == WERR_OK ? (msg_put_hello(b, f->id, &hello), rc) : rc;
    case OP_PING:
        rc = msg_get_empty(&f->args, NULL);
        return rc == WERR_OK ? (msg_put_ping(b, f->id), rc) : rc;
    case OP_INIT_PRODUCER:
        rc = msg_get_init_producer(&f->args, &init, NULL);
        return rc == WERR_OK ? (msg_put_init_producer(b, f->id, &init), rc) : rc;
    case OP_METRICS:
        rc = msg_get_metrics(&f->args, &prefix, NULL);
        return rc == WERR_OK ? (msg_put_metrics(b, f->id, prefix), rc) : rc;
    case OP_SERVER_CONNECTIONS:
        rc = msg_get_server_conns(&f->args, &limit, &n, NULL);
        return rc == WERR_OK ? (msg_put_server_conns(b, f->id, limit, n), rc) : rc;
    case OP_SERVER_CONFIG:
        rc = msg_get_empty(&f->args, NULL);
        return rc == WERR_OK ? (msg_put_server_config(b, f->id), rc) : rc;
    case OP_BACKUP_CREATE:
        rc = msg_get_backup_create(&f->args, &prefix, NULL);
        return rc == WERR_OK ? (msg_put_backup_create(b, f->id, prefix), rc) : rc;
    case OP_CREDIT:
        rc = msg_get_credit(&f->args, &limit, NULL);
        return rc == WERR_OK ? (msg_put_credit(b, f->id, limit), rc) : rc;
    case OP_METADATA:
        return echo_metadata(f, b);
    case OP_PRODUCE:
        return echo_produce(f, b);
    case OP_FETCH:
        return echo_fetch(f, b);
    case OP_SUBSCRIBE:
        return echo_subscribe(f, b);
    case OP_SUB_UPDATE:
        return echo_sub_update(f, b);
    case OP_LIST_OFFSETS:
        return echo_offsets(f, b);
    case OP_TOPIC_CREATE:
    case OP_TOPIC_ALTER:
    case OP_TOPIC_DELETE:
    case OP_TOPIC_DESCRIBE:
        return echo_topic(f, b);
    default:
        return echo_group_request(f, b);
    }
}

/* ---------------------------------------------------------------- responses */

static enum werr echo_init_ok(struct frame *f, struct buf *b)
{
    struct msg_producer_pos pos[ECHO_MAX];
    uint64_t pid;
    uint32_t epoch;
    size_t n;
    enum werr rc = msg_get_init_producer_ok(&f->args, &pid, &epoch, &n, NULL);

    if (rc == WERR_OK && n > ECHO_MAX) {
        return WERR_UNKNOWN_OP;
    }
    for (size_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_producer_pos(&f->args, &pos[i], NULL);
    }
    if (rc == WERR_OK) {
        msg_put_init_producer_ok(b, f->id, pid, epoch, pos, n);
    }
    return rc;
}

static enum werr echo_describe_ok(struct frame *f, struct buf *b)
{
    struct msg_topic_describe_ok m;
    struct msg_part_stat parts[ECHO_MAX];
    size_t n;
    enum werr rc = msg_get_topic_describe_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(parts, n, msg_next_part_stat, &m.parts)
        rc = m.parts.err != WERR_OK ? m.parts.err : n == m.n_parts ? WERR_OK : WERR_UNKNOWN_OP;
        msg_put_topic_describe_ok(b, f->id, m.name, m.tid, m.created_ms, &m.conf, parts, n);
    }
    return rc;
}

static enum werr echo_conns_ok(struct frame *f, struct buf *b)
{
    struct msg_server_conns_ok m;
    struct msg_server_conn conns[ECHO_MAX];
    size_t n, at;
    enum werr rc = msg_get_server_conns_ok(&f->args, &m, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(conns, n, msg_next_server_conn, &m.conns)
        rc = m.conns.err != WERR_OK ? m.conns.err : n == m.n ? WERR_OK : WERR_UNKNOWN_OP;
        at = msg_begin_server_conns_ok(b, f->id, n);
        for (size_t i = 0; i < n; i++) {
            msg_put_server_conn(b, &conns[i]);
        }
        msg_end_server_conns_ok(b, at, m.has_next, m.next);
    }
    return rc;
}

static enum werr echo_config_ok(struct frame *f, struct buf *b)
{
    struct mpread list;
    struct msg_server_setting settings[ECHO_MAX];
    uint32_t asked;
    size_t n, at;
    enum werr rc = msg_get_server_config_ok(&f->args, &list, &asked, NULL);

    if (rc == WERR_OK) {
        ECHO_LIST(settings, n, msg_next_server_setting, &list)
        rc = list.err != WERR_OK ? list.err : n == asked ? WERR_OK : WERR_UNKNOWN_OP;
        at = msg_begin_server_config_ok(b, f->id, n);
        for (size_t i = 0; i < n; i++) {
            msg_put_server_setting(b, &settings[i]);
        }
        frame_end(b, at, 0);
    }
    return rc;
}

enum werr echo_response(uint32_t op, struct frame *f, struct buf *b)
{
    struct msg_produce_ok produced;
    struct msg_backup backup;
    struct topic_config conf;
    uint64_t tid, bytes;
    int64_t ms;
    enum werr rc;

    switch (op) {
    case OP_BACKUP_CREATE:
        rc = msg_get_backup_create_ok(&f->args, &backup, NULL);
        return rc == WERR_OK ? (msg_put_backup_create_ok(b, f->id, &backup), rc) : rc;
    case OP_PING:
        rc = msg_get_ping_ok(&f->args, &ms, NULL);
        return rc == WERR_OK ? (msg_put_ping_ok(b, f->id, ms), rc) : rc;
    case OP_INIT_PRODUCER:
        return echo_init_ok(f, b);
    case OP_PRODUCE:
        rc = msg_get_produce_ok(&f->args, &produced, NULL);
        return rc == WERR_OK ? (msg_put_produce_ok(b, f->id, &produced), rc) : rc;
    case OP_TOPIC_CREATE:
    case OP_TOPIC_ALTER:
        rc = msg_get_topic_ok(&f->args, &tid, &conf, NULL);
        return rc == WERR_OK ? (msg_put_topic_ok(b, f->id, tid, &conf), rc) : rc;
    case OP_TOPIC_DELETE:
        rc = msg_get_topic_delete_ok(&f->args, &tid, &bytes, NULL);
        return rc == WERR_OK ? (msg_put_topic_delete_ok(b, f->id, tid, bytes), rc) : rc;
    case OP_TOPIC_DESCRIBE:
        return echo_describe_ok(f, b);
    case OP_SERVER_CONNECTIONS:
        return echo_conns_ok(f, b);
    case OP_SERVER_CONFIG:
        return echo_config_ok(f, b);
    default:
        return echo_group_response(op, f, b);
    }
}
