/*
 * Redis Streams through hiredis: its formatting and its reader. The socket is ours: the library's
 * own output buffer moves all that is left at every write, which costs more than the rest with many
 * commands in flight.
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
    ID_BYTES = 48,
    RETRY_MS = 5
};
#define LOADING_NS INT64_C(120000000000)
enum { REPLY_ACK = -1, REPLY_READ = -2, REPLY_OTHER = -3 };

struct conn {
    struct peer_conn base;
    struct stream s;
    redisReader *reader;
    struct stamps expected; /* stamps of XADD, or REPLY_... */
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

static void expect(struct conn *c, char *command, int n, int64_t reply)
{
    if (n < 0) {
        abort(); /* no memory */
    }
    stream_put(&c->s, command, (size_t)n);
    stamps_add(&c->expected, reply);
    redisFreeCommand(command);
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);
    char *command = NULL;

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    if (on != NULL) {
        c->base.on = *on;
    }
    c->reader = redisReaderCreate();
    if (c->reader == NULL ||
        stamps_init(&c->expected, o->window + 4 * o->prefetch + READ_COUNT) != 0) {
        (void)peer_fail(&c->base, "no memory");
    } else if (stream_open(&c->s, o->address, c->base.error) == 0) {
        const int64_t until_ns = peer_now_ns() + LOADING_NS;
        do { /* after a start it answers, but only to say that it is not ready */
            if (c->base.error[0] != '\0') {
                c->base.error[0] = '\0';
                (void)poll(NULL, 0, RETRY_MS);
            }
            const int n = redisFormatCommand(&command, "PING");
            expect(c, command, n, REPLY_OTHER);
            (void)drain(c, 0);
        } while (strncmp(c->base.error, "LOADING", 7) == 0 && peer_now_ns() < until_ns);
    }
    return &c->base;
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        stream_close(&c->s);
        if (c->reader != NULL) {
            redisReaderFree(c->reader);
        }
        stamps_fini(&c->expected);
        free(c->last);
        free(c->seen.text);
        free(c);
    }
}

static int setup(const struct peer_options *o, char *err)
{
    struct peer_conn *b = conn_open(o, NULL);
    const int rc = b != NULL && b->error[0] == '\0' ? 0 : -1;

    snprintf(err, PEER_ERROR_BYTES, "%s", b != NULL ? b->error : "no memory");
    conn_close(b);
    return rc;
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    char key[PREFIX_BYTES / 2];

    if (c->expected.n >= b->o->window) {
        return PEER_FULL;
    }
    /* XADD KEY * d VALUE */
    stream_name(b->o, (unsigned)(c->n_sent++ / SPREAD % b->o->partitions), key, sizeof key);
    char *out = (char *)stream_room(&c->s, size + PREFIX_BYTES);
    const int n = snprintf(out, PREFIX_BYTES,
                           "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\nd\r\n$%zu\r\n",
                           strlen(key), key, size);
    memcpy(out + n, value, size);
    memcpy(out + (size_t)n + size, "\r\n", 2);
    c->s.out_size += (size_t)n + size + 2;
    stamps_add(&c->expected, stamp);
    return PEER_SENT;
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
    char *formatted = NULL;
    const int size = redisFormatCommandArgv(&formatted, n, argv, NULL);
    expect(c, formatted, size, REPLY_READ);
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
    (void)stream_flush(&c->s);
}

static void ack_seen(struct conn *c, const char *key)
{
    /* XACK KEY GROUP ID ...: the ids are gathered in the form that goes out. */
    char head[PREFIX_BYTES];
    const char *group = c->base.o->group;
    const int n = snprintf(head, sizeof head, "*%u\r\n$4\r\nXACK\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                           c->seen.n + 3, strlen(key), key, strlen(group), group);

    stream_put(&c->s, head, (size_t)n);
    stream_put(&c->s, c->seen.text, c->seen.size);
    stamps_add(&c->expected, REPLY_ACK);
    c->n_acks++;
    c->seen.size = 0;
    c->seen.n = 0;
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

    if (stream_flush(&c->s) != 0 || stream_read(&c->s) != 0) {
        return peer_fail(b, "the connection is over");
    }
    (void)redisReaderFeed(c->reader, (const char *)c->s.in + c->s.in_at, stream_left(&c->s));
    c->s.in_at = c->s.in_size;
    while (redisReaderGetReply(c->reader, &reply) == REDIS_OK && reply != NULL) {
        take_reply(c, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    return b->error[0] == '\0' ? 0 : -1;
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
            char *command = NULL;
            const int n = redisFormatCommand(&command, "XGROUP CREATE %s %s %s MKSTREAM", name,
                                             o->group, tail ? "$" : "0");
            expect(c, command, n, REPLY_OTHER);
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
    stream_put(&c->s, command, (size_t)n);
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
