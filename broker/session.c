/*
 * What a connection may do in which state, and who does it. Happy path: HELLO once, then any number
 * of requests, each dispatched through one table. A broken frame is answered and ends the
 * connection; a refused request is only answered.
 */
#include "broker/session.h"

#include <stdio.h>
#include <string.h>

#include "broker/clock.h"

static const struct {
    uint32_t op;
    enum frame_kind kind;
    cmd_fn fn;
} handlers[] = {
    {OP_PING, FRAME_REQUEST, cmd_ping},
    {OP_INIT_PRODUCER, FRAME_REQUEST, cmd_init_producer},
    {OP_METADATA, FRAME_REQUEST, cmd_metadata},
    {OP_PRODUCE, FRAME_REQUEST, cmd_produce},
    {OP_FETCH, FRAME_REQUEST, cmd_fetch},
    {OP_SUBSCRIBE, FRAME_REQUEST, cmd_subscribe},
    {OP_CREDIT, FRAME_NOTIFY, cmd_credit},
    {OP_SUB_UPDATE, FRAME_REQUEST, cmd_sub_update},
    {OP_LIST_OFFSETS, FRAME_REQUEST, cmd_list_offsets},
    {OP_TOPIC_CREATE, FRAME_REQUEST, cmd_topic_create},
    {OP_TOPIC_DELETE, FRAME_REQUEST, cmd_topic_delete},
    {OP_TOPIC_ALTER, FRAME_REQUEST, cmd_topic_alter},
    {OP_TOPIC_DESCRIBE, FRAME_REQUEST, cmd_topic_describe},
    {OP_METRICS, FRAME_REQUEST, cmd_metrics},
    {OP_SERVER_CONNECTIONS, FRAME_REQUEST, cmd_server_conns},
    {OP_SERVER_CONFIG, FRAME_REQUEST, cmd_server_config},
    {OP_BACKUP_CREATE, FRAME_REQUEST, cmd_backup_create},
    {OP_GROUP_JOIN, FRAME_REQUEST, cmd_group_join},
    {OP_GROUP_HEARTBEAT, FRAME_REQUEST, cmd_group_heartbeat},
    {OP_GROUP_LEAVE, FRAME_REQUEST, cmd_group_leave},
    {OP_COMMIT, FRAME_REQUEST, cmd_commit},
    {OP_COMMITTED, FRAME_REQUEST, cmd_committed},
    {OP_ACQUIRE, FRAME_REQUEST, cmd_acquire},
    {OP_SETTLE, FRAME_REQUEST, cmd_settle},
    {OP_GROUP_LIST, FRAME_REQUEST, cmd_group_list},
    {OP_GROUP_DESCRIBE, FRAME_REQUEST, cmd_group_describe},
    {OP_GROUP_RESET, FRAME_REQUEST, cmd_group_reset},
    {OP_GROUP_DELETE, FRAME_REQUEST, cmd_group_delete},
    {OP_GROUP_ALTER, FRAME_REQUEST, cmd_group_alter},
    {OP_DLQ_LIST, FRAME_REQUEST, cmd_dlq_list},
    {OP_DLQ_REDRIVE, FRAME_REQUEST, cmd_dlq_redrive},
    {OP_DLQ_PURGE, FRAME_REQUEST, cmd_dlq_purge},
    {OP_CANCEL_DELAYED, FRAME_REQUEST, cmd_cancel_delayed},
    {OP_DELAYED_LIST, FRAME_REQUEST, cmd_delayed_list},
};

static cmd_fn handler_of(uint32_t op, enum frame_kind kind)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].op == op && handlers[i].kind == kind) {
            return handlers[i].fn;
        }
    }
    return NULL;
}

size_t session_frame_limit(const struct conn *c)
{
    return c->state == CONN_FRESH ? LIMIT_FRAME_PREAUTH : c->srv->conf->max_frame;
}

bool session_greet(struct conn *c, uint8_t first)
{
    const char *advice = NULL;

    if (first == 0x00) { /* a frame below 16 MiB begins so */
        return true;
    }
    if (first == 0x16) {
        advice = "weir: this port speaks the weir protocol without TLS\n";
    } else if (first >= 'A' && first <= 'Z') {
        advice = "weir: this port speaks the weir protocol, not HTTP\n";
    }
    if (advice != NULL) {
        buf_put(conn_ctl(c), advice, strlen(advice));
        conn_sent(c);
        conn_end(c);
        return false;
    }
    return true; /* the length check refuses it */
}

enum {
    BESIDE_BATCH = 4 << 10, /* of a frame: what PRODUCE has beside its batch */
    OVERLOADED_MS = 1000,   /* until it is worth another try */
};

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void say_hello(struct conn *c, uint32_t corr)
{
    static const char *const features[] = {"stream", "idempotence", "slots", "groups",
                                           "queues", "delay",       NULL};
    struct server *srv = c->srv;
    const uint32_t frame = (uint32_t)srv->conf->max_frame;
    uint8_t conn_id[16];
    struct msg_hello_ok ok = {
        .proto = WEIR_PROTO_VERSION,
        .server = slice_str("weir"),
        .version = slice_str(WEIR_SERVER_VERSION),
        .limits = {.frame = frame,
                   .batch = least_of(LIMIT_BATCH, frame - BESIDE_BATCH),
                   .message = least_of(LIMIT_MESSAGE_CAP, frame - BESIDE_BATCH),
                   .inflight = (uint32_t)srv->conf->max_requests,
                   .inflight_bytes = (uint32_t)srv->conf->max_request_bytes,
                   .partitions_per_fetch = LIMIT_FETCH_PARTITIONS,
                   .subs = LIMIT_SUBS,
                   .name = LIMIT_NAME,
                   .producer_window = LIMIT_PRODUCER_WINDOW,
                   .unzipped = LIMIT_UNZIPPED},
        .conn_id = slice_of(conn_id, sizeof conn_id),
        .cluster_id = slice_of(store_uuid(srv->st), 16),
        .broker = 1,
    };

    memcpy(conn_id, srv->conn_id_base, 8);
    put_be64(conn_id + 8, c->id);
    msg_put_hello_ok(conn_ctl(c), corr, &ok, features);
    conn_sent(c);
}

static void name_client(struct conn *c, const struct msg_hello *m)
{
    char client[LOG_TEXT], version[LOG_TEXT];

    snprintf(c->client, sizeof c->client, "%.40s/%.24s", log_text(client, m->client.p, m->client.n),
             log_text(version, m->version.p, m->version.n));
}

/* The first request. Any error ends the connection, once it was said. */
static enum session_result hello(struct conn *c, struct frame *f)
{
    struct msg_hello m;
    struct werror e = {.code = WERR_OK};
    enum werr rc = msg_get_hello(&f->args, &m, &e);

    if (rc == WERR_UNSUPPORTED_PROTO) {
        const struct frame_detail d[] = {{"min", NULL, WEIR_PROTO_VERSION},
                                         {"max", NULL, WEIR_PROTO_VERSION}};

        conn_put_error(c, f->id, &e, d, 2);
        conn_end(c);
        return SESSION_END;
    }
    if (rc != WERR_OK) {
        conn_put_error(c, f->id, &e, NULL, 0);
        conn_end(c);
        return SESSION_END;
    }
    name_client(c, &m);
    c->state = CONN_READY;
    say_hello(c, f->id);
    return SESSION_OK;
}

/* Is the operation allowed in this state, and in this kind of frame? */
static enum werr check_state(const struct conn *c, const struct frame *f, struct werror *e)
{
    enum msg_op_state st = msg_op_state(f->op);

    if (f->kind == FRAME_RESPONSE) {
        return werror_set(e, WERR_MALFORMED, "a client sends no responses");
    }
    if (c->state == CONN_FRESH && st != OPSTATE_PRE) {
        return werror_set(e, WERR_AUTH_REQUIRED, "%s before HELLO", msg_op_name(f->op));
    }
    if (c->state == CONN_READY && f->op == OP_HELLO) {
        return werror_set(e, WERR_MALFORMED, "HELLO twice");
    }
    if (f->op != OP_HELLO && handler_of(f->op, f->kind) == NULL) {
        return werror_set(e, WERR_UNKNOWN_OP, "operation %u %s is not available", f->op,
                          msg_op_name(f->op));
    }
    return WERR_OK;
}

static void count_refusal(struct conn *c, uint32_t op, const struct werror *e)
{
    unsigned swallowed;
    char why[LOG_TEXT];

    if (log_allowed(&c->srv->limit_refused, clock_mono_ns(), &swallowed)) {
        log_line(&c->srv->log, LOG_INFO, "session", "request_refused",
                 "conn=%llu op=%s code=%s why=\"%s\" swallowed=%u", (unsigned long long)c->id,
                 msg_op_name(op), werr_name(e->code), log_text(why, e->text, strlen(e->text)),
                 swallowed);
    }
}

static enum session_result refuse(struct conn *c, const struct frame *f, const struct werror *e)
{
    struct frame_detail d = {"op", NULL, f->op};
    bool fatal =
        e->code == WERR_MALFORMED || e->code == WERR_AUTH_REQUIRED || f->kind != FRAME_REQUEST;

    count_refusal(c, f->op, e);
    conn_put_error(c, f->kind == FRAME_REQUEST ? f->id : 0, e, &d,
                   e->code == WERR_UNKNOWN_OP ? 1 : 0);
    if (fatal) {
        conn_end(c);
        return SESSION_END;
    }
    return SESSION_OK;
}

/* Why a PRODUCE is left lying; HIT_NONE = it is not. */
static enum limit_hit produce_waits(const struct server *srv)
{
    if (!core_accepts_produce(srv->core)) {
        return HIT_PRODUCE;
    }
    return memory_takes_produce(srv) ? HIT_NONE : HIT_MEMORY_PRODUCE;
}

static void starve(struct conn *c, enum limit_hit why)
{
    if (!c->starved) {
        c->starved = true;
        TAILQ_INSERT_TAIL(&c->srv->starved, c, starved_link);
        limit_hit(c->srv, why, c->id);
    }
}

/* What stays here for as long as its client likes: not more than there is memory for. */
static enum werr check_memory(const struct conn *c, const struct frame *f, size_t body,
                              struct werror *e)
{
    struct server *srv = c->srv;

    if ((f->op != OP_FETCH && f->op != OP_SUBSCRIBE && f->op != OP_SUB_UPDATE &&
         f->op != OP_ACQUIRE && f->op != OP_LIST_OFFSETS) ||
        !memory_refuses_request(c, body)) {
        return WERR_OK;
    }
    limit_hit(srv, HIT_MEMORY_REQUESTS, c->id);
    (void)werror_set(e, WERR_OVERLOADED, "readers and waiting requests have used up %llu bytes",
                     (unsigned long long)srv->memory.requests);
    e->retry_after_ms = OVERLOADED_MS;
    return e->code;
}

enum session_result session_frame(struct conn *c, struct slice body, struct blob *owner)
{
    struct server *srv = c->srv;
    struct frame f;
    struct werror e = {.code = WERR_OK};
    enum werr rc = frame_parse(body, &f, &e);
    struct cmd m;

    if (rc != WERR_OK) {
        f = (struct frame){.kind = FRAME_NOTIFY};
        return refuse(c, &f, &e);
    }
    rc = check_state(c, &f, &e);
    if (rc != WERR_OK) {
        return refuse(c, &f, &e);
    }
    if (f.op == OP_PRODUCE && produce_waits(srv) != HIT_NONE) {
        starve(c, produce_waits(srv));
        return SESSION_WAIT;
    }
    rc = check_memory(c, &f, body.n, &e);
    if (rc != WERR_OK) {
        return refuse(c, &f, &e);
    }
    srv->stats.frames_in++;
    srv->stats.requests[f.op & 127]++;
    if (f.op == OP_HELLO) {
        return hello(c, &f);
    }
    m = (struct cmd){
        .c = c, .srv = srv, .corr = f.id, .args = f.args, .body = body, .owner = owner};
    rc = handler_of(f.op, f.kind)(&m, &e);
    if (c->state == CONN_CLOSED) {
        return SESSION_END;
    }
    if (rc != WERR_OK) {
        e.code = rc;
        return refuse(c, &f, &e);
    }
    return SESSION_OK;
}
