/*
 * Redis Streams through hiredis: its buffers and its reader on a socket that does not block.
 * Produce: pipelined XADD. Read: XREAD. Log group: XREADGROUP and one XACK for all of a reply.
 * Queue: XREADGROUP and an XACK for each message. Partitions are streams of their own.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum {
    READ_COUNT = 1000,
    SPREAD = 256, /* messages in a row to the same partition */
    PREFIX_BYTES = 256,
    ID_BYTES = 48
};
enum { REPLY_ACK = -1, REPLY_READ = -2, REPLY_OTHER = -3 };

struct conn {
    struct peer_conn base;
    redisContext *r;
    struct stamps expected; /* stamps of XADD, or REPLY_... */
    unsigned char *command; /* to format one */
    size_t command_cap;
    uint64_t n_sent;
    /* reading */
    enum peer_mode mode;
    unsigned first, n_mine; /* partitions of this member */
    char (*last)[ID_BYTES]; /* of each, for XREAD */
    char consumer[16];
    bool reading;
    unsigned n_acks; /* without a reply */
    unsigned n_here; /* given out and not settled */
    struct ids {
        char *text;
        size_t size, cap;
        unsigned n;
    } seen; /* ids of one reply, for one XACK */
};

static void stream_name(const struct peer_options *o, unsigned partition, char *out, size_t size)
{
    if (o->partitions > 1) {
        snprintf(out, size, "%s:%u", o->topic, partition);
    } else {
        snprintf(out, size, "%s", o->topic);
    }
}

static redisContext *connect_to(const struct peer_options *o, bool block, char *err)
{
    char host[128];
    unsigned port = 0;
    redisContext *r = NULL;

    if (peer_address(o->address, host, sizeof host, &port) == 0) {
        r = block ? redisConnect(host, (int)port) : redisConnectNonBlock(host, (int)port);
    }
    if (r == NULL || r->err != 0) {
        snprintf(err, PEER_ERROR_BYTES, "%s: %s", o->address, r != NULL ? r->errstr : "no address");
    }
    return r;
}

static int setup(const struct peer_options *o, char *err)
{
    redisContext *r = connect_to(o, true, err);
    int rc = -1;

    if (r != NULL && r->err == 0) {
        redisReply *reply = redisCommand(r, "PING");
        rc = reply != NULL && reply->type == REDIS_REPLY_STATUS ? 0 : -1;
        if (rc != 0) {
            snprintf(err, PEER_ERROR_BYTES, "PING: %s", reply != NULL ? reply->str : r->errstr);
        }
        freeReplyObject(reply);
    }
    redisFree(r);
    return rc;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns);
static int conn_poll(struct peer_conn *b);

/* Waits until n replies are outstanding at most. */
static int drain(struct conn *c, unsigned n)
{
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);

    while (c->expected.n > n && c->base.error[0] == '\0' && peer_now_ns() < until_ns) {
        conn_wait(&c->base, until_ns);
        (void)conn_poll(&c->base);
    }
    return c->expected.n <= n && c->base.error[0] == '\0' ? 0 : peer_fail(&c->base, "no answer");
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    if (stamps_init(&c->expected, o->window + 4 * o->prefetch + READ_COUNT) != 0) {
        (void)peer_fail(&c->base, "no memory");
        return &c->base;
    }
    c->r = connect_to(o, false, c->base.error);
    if (c->r != NULL && c->r->err == 0) {
        (void)redisEnableKeepAlive(c->r);
        (void)redisAppendCommand(c->r, "PING");
        stamps_add(&c->expected, REPLY_OTHER);
        (void)drain(c, 0);
    }
    return &c->base;
}

/* XADD KEY * d VALUE */
static size_t format_add(struct conn *c, const void *value, size_t size)
{
    char key[PREFIX_BYTES / 2];

    if (c->command_cap < size + PREFIX_BYTES) {
        c->command_cap = (size + PREFIX_BYTES) * 2;
        free(c->command);
        c->command = malloc(c->command_cap);
        if (c->command == NULL) {
            abort();
        }
    }
    stream_name(c->base.o, (unsigned)(c->n_sent / SPREAD % c->base.o->partitions), key, sizeof key);
    int n = snprintf((char *)c->command, PREFIX_BYTES,
                     "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\nd\r\n$%zu\r\n",
                     strlen(key), key, size);
    memcpy(c->command + n, value, size);
    memcpy(c->command + (size_t)n + size, "\r\n", 2);
    return (size_t)n + size + 2;
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;

    if (c->expected.n >= b->o->window) {
        return PEER_FULL;
    }
    const size_t n = format_add(c, value, size);
    if (redisAppendFormattedCommand(c->r, (const char *)c->command, n) != REDIS_OK) {
        (void)peer_fail(b, "%s", c->r->errstr);
        return PEER_FAILED;
    }
    c->n_sent++;
    stamps_add(&c->expected, stamp);
    return PEER_SENT;
}

static void flush(struct conn *c)
{
    int done = 0;

    if (c->r != NULL && c->r->err == 0) {
        (void)redisBufferWrite(c->r, &done);
    }
}

/* Asks for more messages. */
static void ask(struct conn *c)
{
    char command[192];
    const struct peer_options *o = c->base.o;
    const unsigned room = c->mode == PEER_QUEUE ? o->prefetch - c->n_here : READ_COUNT;
    const char **argv = calloc(10 + 2 * (size_t)c->n_mine, sizeof *argv);
    char(*names)[PREFIX_BYTES / 2] = calloc(c->n_mine, sizeof *names);
    int n = 0;

    if (argv == NULL || names == NULL) {
        abort();
    }
    snprintf(command, sizeof command, "%u", room);
    if (c->mode == PEER_READ) {
        argv[n++] = "XREAD";
    } else {
        argv[n++] = "XREADGROUP";
        argv[n++] = "GROUP";
        argv[n++] = o->group;
        argv[n++] = c->consumer;
    }
    argv[n++] = "COUNT";
    argv[n++] = command;
    argv[n++] = "BLOCK";
    argv[n++] = "100";
    argv[n++] = "STREAMS";
    for (unsigned i = 0; i < c->n_mine; i++) {
        stream_name(o, c->first + i, names[i], sizeof names[i]);
        argv[n++] = names[i];
    }
    for (unsigned i = 0; i < c->n_mine; i++) {
        argv[n++] = c->mode == PEER_READ ? c->last[i] : ">";
    }
    (void)redisAppendCommandArgv(c->r, n, argv, NULL);
    stamps_add(&c->expected, REPLY_READ);
    c->reading = true;
    free(names);
    free(argv);
}

static void conn_push(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->mode != 0 && !c->reading && c->n_here < b->o->prefetch) {
        ask(c);
    }
    flush(c);
}

static void ack_seen(struct conn *c, const char *key)
{
    /* XACK KEY GROUP ID ...: the ids are gathered in the form that goes out. */
    char head[PREFIX_BYTES];
    const char *group = c->base.o->group;
    const int n = snprintf(head, sizeof head, "*%u\r\n$4\r\nXACK\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                           c->seen.n + 3, strlen(key), key, strlen(group), group);
    char *all = malloc((size_t)n + c->seen.size);

    if (all == NULL) {
        abort();
    }
    memcpy(all, head, (size_t)n);
    memcpy(all + n, c->seen.text, c->seen.size);
    (void)redisAppendFormattedCommand(c->r, all, (size_t)n + c->seen.size);
    stamps_add(&c->expected, REPLY_ACK);
    c->n_acks++;
    c->seen.size = 0;
    c->seen.n = 0;
    free(all);
}

static void remember(struct conn *c, const redisReply *id)
{
    if (c->seen.cap < c->seen.size + ID_BYTES * 2) {
        c->seen.cap = (c->seen.cap + ID_BYTES) * 2;
        c->seen.text = realloc(c->seen.text, c->seen.cap);
        if (c->seen.text == NULL) {
            abort();
        }
    }
    c->seen.size += (size_t)snprintf(c->seen.text + c->seen.size, c->seen.cap - c->seen.size,
                                     "$%zu\r\n%s\r\n", (size_t)id->len, id->str);
    c->seen.n++;
}

static unsigned partition_of(const struct conn *c, const char *key)
{
    const char *colon = c->base.o->partitions > 1 ? strrchr(key, ':') : NULL;
    return colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

static void take_stream(struct conn *c, const redisReply *stream)
{
    const char *key = stream->element[0]->str;
    const redisReply *list = stream->element[1];
    const unsigned partition = partition_of(c, key);

    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *id = list->element[i]->element[0];
        const redisReply *value = list->element[i]->element[1]->element[1];
        struct peer_handle h = {0};
        char *dash;
        h.a = strtoull(id->str, &dash, 10);
        /* partition in the upper part: sequences within a millisecond are far smaller */
        h.b = strtoull(dash + 1, NULL, 10) | (uint64_t)partition << 40;
        if (c->mode == PEER_LOG) {
            remember(c, id);
        } else if (c->mode == PEER_QUEUE) {
            c->n_here++;
        }
        if (i + 1 == list->elements && c->mode == PEER_READ) {
            snprintf(c->last[partition - c->first], ID_BYTES, "%s", id->str);
        }
        c->base.on.message(c->base.on.user, value->str, (size_t)value->len, &h);
    }
    if (c->mode == PEER_LOG && c->seen.n > 0) {
        ack_seen(c, key);
    }
}

static void take_reply(struct conn *c, const redisReply *reply)
{
    const int64_t what = stamps_take(&c->expected);

    if (reply->type == REDIS_REPLY_ERROR) {
        (void)peer_fail(&c->base, "%.200s", reply->str);
    }
    if (what >= 0) {
        c->base.on.acked(c->base.on.user, what, reply->type != REDIS_REPLY_ERROR);
    } else if (what == REPLY_ACK) {
        c->n_acks--;
    } else if (what == REPLY_READ) {
        c->reading = false;
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
            take_stream(c, reply->element[i]);
        }
    }
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    void *reply = NULL;

    if (c->r == NULL || b->error[0] != '\0') {
        return -1;
    }
    flush(c);
    if (c->r->err != 0 || redisBufferRead(c->r) != REDIS_OK) {
        return peer_fail(b, "%s", c->r->errstr);
    }
    while (redisGetReplyFromReader(c->r, &reply) == REDIS_OK && reply != NULL) {
        take_reply(c, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    return b->error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    struct conn *c = (struct conn *)b;
    int done = 0;

    if (c->r != NULL && redisBufferWrite(c->r, &done) == REDIS_OK) {
        peer_wait_fd(c->r->fd, (short)(POLLIN | (done ? 0 : POLLOUT)), until_ns);
    }
}

static int conn_fd(struct peer_conn *b)
{
    return ((struct conn *)b)->r->fd;
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    const struct peer_options *o = b->o;
    char name[PREFIX_BYTES / 2];

    /* Without groups a member reads its share of the streams; in a group all members take from all.
     */
    c->first = mode == PEER_READ ? o->partitions * member / o->members : 0;
    c->n_mine =
        mode == PEER_READ ? o->partitions * (member + 1) / o->members - c->first : o->partitions;
    snprintf(c->consumer, sizeof c->consumer, "m%u", member);
    c->last = calloc(c->n_mine > 0 ? c->n_mine : 1, sizeof *c->last);
    if (c->last == NULL) {
        return peer_fail(b, "no memory");
    }
    for (unsigned i = 0; i < c->n_mine; i++) {
        snprintf(c->last[i], ID_BYTES, "%s", tail ? "$" : "0");
        stream_name(o, c->first + i, name, sizeof name);
        if (mode != PEER_READ) {
            (void)redisAppendCommand(c->r, "XGROUP CREATE %s %s %s MKSTREAM", name, o->group,
                                     tail ? "$" : "0");
            stamps_add(&c->expected, REPLY_OTHER);
            (void)drain(c, 0);
            if (strncmp(b->error, "BUSYGROUP", 9) == 0) {
                b->error[0] = '\0'; /* another member was first */
            }
        }
    }
    c->mode = mode;
    conn_push(b);
    return b->error[0] == '\0' ? 0 : -1;
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    struct conn *c = (struct conn *)b;
    char key[PREFIX_BYTES / 2], id[ID_BYTES], command[PREFIX_BYTES * 2];
    const char *group = b->o->group;

    stream_name(b->o, (unsigned)(h->b >> 40), key, sizeof key);
    const int n_id = snprintf(id, sizeof id, "%llu-%llu", (unsigned long long)h->a,
                              (unsigned long long)(h->b & ((UINT64_C(1) << 40) - 1)));
    const int n = snprintf(command, sizeof command,
                           "*4\r\n$4\r\nXACK\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%d\r\n%s\r\n",
                           strlen(key), key, strlen(group), group, n_id, id);
    if (redisAppendFormattedCommand(c->r, command, (size_t)n) != REDIS_OK) {
        return peer_fail(b, "%s", c->r->errstr);
    }
    stamps_add(&c->expected, REPLY_ACK);
    c->n_acks++;
    c->n_here--;
    return 0;
}

static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);

    while (c->n_acks > 0 && b->error[0] == '\0' && peer_now_ns() < until_ns) {
        conn_wait(b, until_ns);
        (void)conn_poll(b);
    }
    return c->n_acks == 0 && b->error[0] == '\0' ? 0 : peer_fail(b, "XACK without an answer");
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        redisFree(c->r);
        stamps_fini(&c->expected);
        free(c->command);
        free(c->last);
        free(c->seen.text);
        free(c);
    }
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}

const struct peer_driver peer_redis = {
    .name = "redis",
    .modes = PEER_READ | PEER_LOG | PEER_QUEUE,
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
