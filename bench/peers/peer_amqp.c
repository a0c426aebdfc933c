/*
 * RabbitMQ queues over AMQP 0-9-1: quorum queues, or what queue_type= says. librabbitmq logs in and
 * declares; publishing, confirms, deliveries and acknowledgements are framed here, as the library
 * sends every frame with a write of its own. Publisher confirms, persistent messages.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <amqp.h>
#include <amqp_tcp_socket.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum { CHANNEL = 1, FRAME_MAX = 131072, FRAME_EXTRA = 8, FRAME_END = 0xCE, SHORT_MAX = 255 };
enum { METHOD = 1, HEADER = 2, BODY = 3, BASIC = 60, CHANNEL_CLASS = 20, CONNECTION_CLASS = 10 };
enum { CONSUME = 20, PUBLISH = 40, DELIVER = 60, ACK = 80, NACK = 120 };

struct conn {
    struct peer_conn base;
    amqp_connection_state_t amqp;
    struct stream s; /* on the socket of amqp, from the login on */
    /* publishing: delivery tags [first, next) have no confirm, or one ahead of its turn */
    struct unconfirmed {
        int64_t stamp;
        bool done;
    } * ring;
    uint64_t first, next;
    /* reading */
    uint64_t tag, body_left;
    unsigned char *body; /* of a message in several frames */
    size_t body_size, body_cap;
};

static int said(struct conn *c, amqp_rpc_reply_t r, const char *what)
{
    if (r.reply_type == AMQP_RESPONSE_NORMAL) {
        return 0;
    }
    if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        return peer_fail(&c->base, "%s: %s", what, amqp_error_string2(r.library_error));
    }
    return peer_fail(&c->base, "%s: refused by the server", what);
}

static int log_in(struct conn *c)
{
    char host[SHORT_MAX];
    unsigned port = 0;

    c->amqp = amqp_new_connection();
    amqp_socket_t *socket = c->amqp != NULL ? amqp_tcp_socket_new(c->amqp) : NULL;
    if (socket == NULL || peer_address(c->base.o->address, host, sizeof host, &port) != 0 ||
        amqp_socket_open(socket, host, (int)port) != AMQP_STATUS_OK) {
        return peer_fail(&c->base, "%s: no connection", c->base.o->address);
    }
    int rc =
        said(c, amqp_login(c->amqp, "/", 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"),
             "login");
    if (rc == 0) {
        (void)amqp_channel_open(c->amqp, CHANNEL);
        rc = said(c, amqp_get_rpc_reply(c->amqp), "channel");
    }
    return rc;
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        c->s.fd = -1; /* belongs to the library */
        stream_close(&c->s);
        if (c->amqp != NULL) {
            (void)amqp_destroy_connection(c->amqp);
        }
        free(c->ring);
        free(c->body);
        free(c);
    }
}

static struct conn *make(const struct peer_options *o)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c != NULL) {
        c->base.o = o;
        c->first = c->next = 1;
        c->ring = calloc(o->window, sizeof *c->ring);
        if (c->ring == NULL) {
            (void)peer_fail(&c->base, "no memory");
        } else {
            (void)log_in(c);
        }
    }
    return c;
}

static int setup(const struct peer_options *o, char *err)
{
    struct conn *c = make(o);
    char type[SHORT_MAX];

    if (c != NULL && c->base.error[0] == '\0') {
        amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-queue-type")};
        amqp_table_t arguments = {.num_entries = 1, .entries = &entry};
        entry.value.kind = AMQP_FIELD_KIND_UTF8;
        entry.value.value.bytes =
            amqp_cstring_bytes(peer_option(o, "queue_type", "quorum", type, sizeof type));
        (void)amqp_queue_declare(c->amqp, CHANNEL, amqp_cstring_bytes(o->topic), 0, 1, 0, 0,
                                 arguments);
        (void)said(c, amqp_get_rpc_reply(c->amqp), "declare");
    }
    const int rc = c != NULL && c->base.error[0] == '\0' ? 0 : -1;
    snprintf(err, PEER_ERROR_BYTES, "%s", c != NULL ? c->base.error : "no memory");
    conn_close(c != NULL ? &c->base : NULL);
    return rc;
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = make(o);

    if (c != NULL && c->base.error[0] == '\0') {
        c->base.on = *on;
        (void)amqp_confirm_select(c->amqp, CHANNEL);
        (void)said(c, amqp_get_rpc_reply(c->amqp), "confirms");
        c->s.fd = amqp_get_sockfd(c->amqp);
    }
    return c != NULL ? &c->base : NULL;
}

static unsigned char *at8(unsigned char *p, unsigned v)
{
    *p = (unsigned char)v;
    return p + 1;
}

static unsigned char *at16(unsigned char *p, unsigned v)
{
    const uint16_t b = htobe16((uint16_t)v);
    memcpy(p, &b, sizeof b);
    return p + sizeof b;
}

static unsigned char *at32(unsigned char *p, uint32_t v)
{
    const uint32_t b = htobe32(v);
    memcpy(p, &b, sizeof b);
    return p + sizeof b;
}

static unsigned char *at64(unsigned char *p, uint64_t v)
{
    const uint64_t b = htobe64(v);
    memcpy(p, &b, sizeof b);
    return p + sizeof b;
}

static unsigned char *at_text(unsigned char *p, const char *text)
{
    const size_t n = strlen(text) < SHORT_MAX ? strlen(text) : SHORT_MAX;
    p = at8(p, (unsigned)n);
    memcpy(p, text, n);
    return p + n;
}

static unsigned char *at_frame(unsigned char *p, unsigned type, uint32_t size)
{
    return at32(at16(at8(p, type), CHANNEL), size);
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    const uint32_t method = 4 + 2 + 1 + 1 + (uint32_t)strlen(b->o->topic) + 1;

    if (c->next - c->first >= b->o->window) {
        return PEER_FULL;
    }
    if (size > FRAME_MAX - FRAME_EXTRA) {
        (void)peer_fail(b, "message too large");
        return PEER_FAILED;
    }
    unsigned char *start = stream_room(&c->s, size + method + 3 * FRAME_EXTRA + 32), *p = start;
    p = at_frame(p, METHOD, method);
    p = at16(at16(at16(p, BASIC), PUBLISH), 0);
    p = at8(at_text(at_text(p, ""), b->o->topic), 0);
    p = at_frame(at8(p, FRAME_END), HEADER, 15);
    p = at64(at16(at16(p, BASIC), 0), size);
    p = at8(at16(p, 0x1000), 2); /* persistent */
    p = at_frame(at8(p, FRAME_END), BODY, (uint32_t)size);
    memcpy(p, value, size);
    p = at8(p + size, FRAME_END);
    c->s.out_size += (size_t)(p - start);
    c->ring[c->next++ % b->o->window] = (struct unconfirmed){stamp, false};
    return PEER_SENT;
}

static void conn_push(struct peer_conn *b)
{
    (void)stream_flush(&((struct conn *)b)->s);
}

static void confirmed(struct conn *c, uint64_t tag, bool multiple, bool ok)
{
    const unsigned window = c->base.o->window;

    for (uint64_t t = multiple ? c->first : tag; t <= tag && t < c->next; t++) {
        struct unconfirmed *u = &c->ring[t % window];
        if (t >= c->first && !u->done) {
            u->done = true;
            c->base.on.acked(c->base.on.user, u->stamp, ok);
        }
    }
    while (c->first < c->next && c->ring[c->first % window].done) {
        c->first++;
    }
}

static uint64_t get_be(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static void take_method(struct conn *c, const unsigned char *p, uint32_t n)
{
    const uint64_t class = get_be(p, 2), method = get_be(p + 2, 2);

    if (class == BASIC && (method == ACK || method == NACK) && n >= 13) {
        confirmed(c, get_be(p + 4, 8), (p[12] & 1) != 0, method == ACK);
    } else if (class == BASIC && method == DELIVER && n >= 5 && n >= 13U + p[4]) {
        c->tag = get_be(p + 5 + p[4], 8);
    } else if (class == CHANNEL_CLASS || class == CONNECTION_CLASS) {
        (void)peer_fail(&c->base, "closed by the server: code %u, %.*s",
                        n >= 6 ? (unsigned)get_be(p + 4, 2) : 0, n >= 7 ? (int)p[6] : 0,
                        n >= 7 ? (const char *)p + 7 : "");
    }
}

static void take_body(struct conn *c, const unsigned char *p, uint32_t n)
{
    const struct peer_handle h = {.a = c->tag};

    c->body_left = c->body_left > n ? c->body_left - n : 0;
    if (c->body_left == 0 && c->body_size == 0) {
        c->base.on.message(c->base.on.user, p, n, &h);
        return;
    }
    if (c->body_cap < c->body_size + n) {
        c->body_cap = (c->body_size + n) * 2;
        c->body = realloc(c->body, c->body_cap);
        if (c->body == NULL) {
            abort();
        }
    }
    memcpy(c->body + c->body_size, p, n);
    c->body_size += n;
    if (c->body_left == 0) {
        c->base.on.message(c->base.on.user, c->body, c->body_size, &h);
        c->body_size = 0;
    }
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    (void)stream_flush(&c->s);
    (void)stream_read(&c->s);
    while (stream_left(&c->s) >= FRAME_EXTRA && b->error[0] == '\0') {
        const unsigned char *p = c->s.in + c->s.in_at;
        const uint32_t n = (uint32_t)get_be(p + 3, 4);
        if (stream_left(&c->s) < FRAME_EXTRA + (size_t)n) {
            break;
        }
        c->s.in_at += FRAME_EXTRA + (size_t)n;
        if (p[0] == METHOD && n >= 4) {
            take_method(c, p + 7, n);
        } else if (p[0] == HEADER && n >= 12) {
            c->body_left = get_be(p + 7 + 4, 8);
        } else if (p[0] == BODY) {
            take_body(c, p + 7, n);
        }
    }
    return c->s.over ? peer_fail(b, "the connection is over") : b->error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    stream_wait(&((struct conn *)b)->s, until_ns);
}

static int conn_fd(struct peer_conn *b)
{
    return ((struct conn *)b)->s.fd;
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    unsigned char *start, *p;

    (void)mode;
    (void)member;
    (void)tail;
    (void)amqp_basic_qos(c->amqp, CHANNEL, 0, (uint16_t)b->o->prefetch, 0);
    if (said(c, amqp_get_rpc_reply(c->amqp), "qos") != 0) {
        return -1;
    }
    /* Without an answer, or the library could read deliveries behind it. */
    const uint32_t n = 4 + 2 + 1 + (uint32_t)strlen(b->o->topic) + 1 + 1 + 4;
    start = stream_room(&c->s, n + FRAME_EXTRA);
    p = at16(at16(at16(at_frame(start, METHOD, n), BASIC), CONSUME), 0);
    p = at8(at_text(at_text(p, b->o->topic), ""), 8);
    p = at8(at32(p, 0), FRAME_END);
    c->s.out_size += (size_t)(p - start);
    return stream_flush(&c->s);
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    struct conn *c = (struct conn *)b;
    unsigned char *start = stream_room(&c->s, 13 + FRAME_EXTRA);
    unsigned char *p = at16(at16(at_frame(start, METHOD, 13), BASIC), ACK);

    p = at8(at8(at64(p, h->a), 0), FRAME_END);
    c->s.out_size += (size_t)(p - start);
    return 0;
}

/* Acknowledgements have no answer; the server has taken them when it answers the next request. What
 * it delivers meanwhile is not wanted any more. */
static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);

    while (c->s.out_at < c->s.out_size && stream_flush(&c->s) == 0 && peer_now_ns() < until_ns) {
        stream_wait(&c->s, peer_now_ns() + 1000000);
        (void)stream_read(&c->s);
    }
    return c->s.over ? peer_fail(b, "the connection is over") : 0;
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "librabbitmq %s and own frames", amqp_version());
}

const struct peer_driver peer_amqp = {
    .name = "amqp",
    .modes = PEER_QUEUE,
    .many = true,
    .setup = setup,
    .open = conn_open,
    .send = conn_send,
    .push = conn_push,
    .poll = conn_poll,
    .wait = conn_wait,
    .fd = conn_fd,
    .subscribe = conn_subscribe,
    .settle = conn_settle,
    .commit = conn_commit,
    .close = conn_close,
    .version = version,
};
