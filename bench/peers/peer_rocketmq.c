/*
 * Apache RocketMQ over its remoting protocol, straight to the broker; its C client wraps a C++
 * library that is in no package. Requests are a JSON head and a body. Messages go as batches: at
 * once when nothing is in flight, else when full; up to eight in flight. A partition is a queue of
 * the topic.
 *
 * Read: pull requests, one waiting at each queue of this member's share. Log group: the same, and
 * the pulls carry the position to keep. Queue: pop, and an ack request for each message.
 */
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum {
    PULL_MESSAGE = 11,
    UPDATE_OFFSET = 15,
    UPDATE_TOPIC = 17,
    GET_MAX_OFFSET = 30,
    SEND_BATCH = 320,
    POP_MESSAGE = 200050,
    ACK_MESSAGE = 200051
};
enum { SUCCESS = 0, PULL_NOT_FOUND = 19, PULL_RETRY = 20, PULL_MOVED = 21, POLLING_TIMEOUT = 210 };
enum {
    BATCH_BYTES = 256 << 10,
    IN_FLIGHT = 8,
    ITEM_HEAD = 20, /* of a message in a batch, before its body */
    STORED_HEAD = 88,
    HEAD_BYTES = 1024,
    PULL_COUNT = 1000,
    POP_COUNT = 32,
    POPS = 8, /* pop requests of a connection that may wait */
    SUSPEND_MS = 5000,
    INVISIBLE_MS = 60000,
    KEYS = 16 /* low bits of opaque: what the answer is for */
};
enum what { FOR_SEND, FOR_PULL, FOR_POP, FOR_ACK, FOR_OTHER };

struct conn {
    struct peer_conn base;
    struct stream s;
    /* producing: messages [first, next) have no answer, or one ahead of their turn */
    struct unanswered {
        int64_t stamp;
        bool done;
    } * ring;
    uint64_t first, next;
    unsigned char *batch;
    size_t batch_size;
    unsigned n_batch;
    struct sent {
        bool used;
        uint64_t first;
        unsigned n;
    } sent[IN_FLIGHT];
    unsigned n_in_flight;
    unsigned next_queue;
    /* reading */
    enum peer_mode mode;
    unsigned first_queue, n_queues;
    int64_t *offsets;
    unsigned n_pops, n_acks, n_here;
    /* the last answer to FOR_OTHER */
    bool answered;
    int code;
    int64_t offset;
};

/* Sends a request. fields is what is inside extFields. */
__attribute__((format(printf, 6, 7))) static void request(struct conn *c, int code, uint32_t opaque,
                                                          const void *body, size_t n_body,
                                                          const char *fields, ...)
{
    char head[HEAD_BYTES];
    int n = snprintf(head, sizeof head,
                     "{\"code\":%d,\"flag\":0,\"language\":\"CPP\",\"opaque\":%u,"
                     "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":477,\"extFields\":{",
                     code, opaque);
    va_list ap;

    va_start(ap, fields);
    n += vsnprintf(head + n, sizeof head - (size_t)n, fields, ap);
    va_end(ap);
    n += snprintf(head + n, sizeof head - (size_t)n, "}}");
    const uint32_t sizes[2] = {htobe32((uint32_t)(4 + (size_t)n + n_body)), htobe32((uint32_t)n)};
    stream_put(&c->s, sizes, sizeof sizes);
    stream_put(&c->s, head, (size_t)n);
    if (n_body > 0) {
        stream_put(&c->s, body, n_body);
    }
}

static uint32_t opaque_of(uint32_t number, enum what what)
{
    return number * KEYS + (uint32_t)what;
}

/* A number, or the text of a number, of the JSON head. */
static int64_t field(const char *head, size_t n, const char *key, int64_t fallback)
{
    char quoted[64];
    const int k = snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *p = memmem(head, n, quoted, (size_t)k);

    if (p == NULL) {
        return fallback;
    }
    p += k;
    p += *p == '"';
    return strtoll(p, NULL, 10);
}

static uint32_t get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static uint64_t get64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

static void sent_done(struct conn *c, unsigned at, bool ok)
{
    struct sent *s = &c->sent[at % IN_FLIGHT];

    if (!s->used) {
        return;
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct unanswered *u = &c->ring[(s->first + i) % c->base.o->window];
        u->done = true;
        c->base.on.acked(c->base.on.user, u->stamp, ok);
    }
    s->used = false;
    c->n_in_flight--;
    while (c->first < c->next && c->ring[c->first % c->base.o->window].done) {
        c->ring[c->first++ % c->base.o->window].done = false;
    }
}

/* What an ack needs to know is kept in the handle: queue and offset in a, pop time and revive queue
 * in b. */
static void give_all(struct conn *c, const unsigned char *p, size_t n, int64_t pop_ms, int revive)
{
    while (n >= STORED_HEAD) {
        const uint32_t total = get32(p), size = get32(p + STORED_HEAD - 4);
        if (total > n || size > total - STORED_HEAD) {
            (void)peer_fail(&c->base, "a stored message that is not understood");
            return;
        }
        const struct peer_handle h = {
            .a = (uint64_t)get32(p + 12) << 48 | get64(p + 20),
            .b = (uint64_t)pop_ms << 8 | (uint64_t)revive,
        };
        c->n_here += c->mode == PEER_QUEUE;
        c->base.on.message(c->base.on.user, p + STORED_HEAD, size, &h);
        p += total;
        n -= total;
    }
}

static void pull(struct conn *c, unsigned i)
{
    const struct peer_options *o = c->base.o;
    const bool commit = c->mode == PEER_LOG && c->offsets[i] > 0;

    request(c, PULL_MESSAGE, opaque_of(i, FOR_PULL), NULL, 0,
            "\"consumerGroup\":\"%s\",\"topic\":\"%s\",\"queueId\":\"%u\",\"queueOffset\":\"%lld\","
            "\"maxMsgNums\":\"%d\",\"sysFlag\":\"%d\",\"commitOffset\":\"%lld\","
            "\"suspendTimeoutMillis\":\"%d\",\"subscription\":\"*\",\"subVersion\":\"0\","
            "\"expressionType\":\"TAG\"",
            o->group, o->topic, c->first_queue + i, (long long)c->offsets[i], PULL_COUNT,
            commit ? 7 : 6, (long long)(commit ? c->offsets[i] : 0), SUSPEND_MS);
}

static void pulled(struct conn *c, unsigned i, const char *head, size_t n_head,
                   const unsigned char *body, size_t n_body)
{
    const int64_t code = field(head, n_head, "code", -1);

    if (i >= c->n_queues) {
        return;
    }
    if (code == SUCCESS || code == PULL_MOVED) {
        c->offsets[i] = field(head, n_head, "nextBeginOffset", c->offsets[i]);
    } else if (code != PULL_NOT_FOUND && code != PULL_RETRY) {
        (void)peer_fail(&c->base, "pull: %.*s", (int)(n_head < 200 ? n_head : 200), head);
        return;
    }
    pull(c, i); /* the next one is on its way while this one is looked at */
    if (code == SUCCESS) {
        give_all(c, body, n_body, 0, 0);
    }
}

static void popped(struct conn *c, const char *head, size_t n_head, const unsigned char *body,
                   size_t n_body)
{
    const int64_t code = field(head, n_head, "code", -1);

    c->n_pops--;
    if (code == SUCCESS) {
        give_all(c, body, n_body, field(head, n_head, "popTime", 0),
                 (int)field(head, n_head, "reviveQid", 0));
    } else if (code != PULL_NOT_FOUND && code != PULL_RETRY && code != POLLING_TIMEOUT &&
               code != POLLING_TIMEOUT - 1) {
        (void)peer_fail(&c->base, "pop: %.*s", (int)(n_head < 200 ? n_head : 200), head);
    }
}

static void take_answer(struct conn *c, const char *head, size_t n_head, const unsigned char *body,
                        size_t n_body)
{
    const uint32_t opaque = (uint32_t)field(head, n_head, "opaque", 0);
    const int64_t code = field(head, n_head, "code", -1);

    if (field(head, n_head, "flag", 1) % 2 == 0) {
        return; /* a request of the server */
    }
    switch ((enum what)(opaque % KEYS)) {
    case FOR_SEND:
        if (code != SUCCESS) {
            (void)peer_fail(&c->base, "send: %.*s", (int)(n_head < 200 ? n_head : 200), head);
        }
        sent_done(c, opaque / KEYS, code == SUCCESS);
        break;
    case FOR_PULL:
        pulled(c, opaque / KEYS, head, n_head, body, n_body);
        break;
    case FOR_POP:
        popped(c, head, n_head, body, n_body);
        break;
    case FOR_ACK:
        c->n_acks--;
        if (code != SUCCESS) {
            (void)peer_fail(&c->base, "ack: %.*s", (int)(n_head < 200 ? n_head : 200), head);
        }
        break;
    case FOR_OTHER:
        c->answered = true;
        c->code = (int)code;
        c->offset = field(head, n_head, "offset", 0);
        if (code != SUCCESS) {
            (void)peer_fail(&c->base, "%.*s", (int)(n_head < 200 ? n_head : 200), head);
        }
        break;
    }
}

static void take_all(struct conn *c)
{
    while (stream_left(&c->s) >= 8) {
        const unsigned char *p = c->s.in + c->s.in_at;
        const size_t total = get32(p), head = get32(p + 4) & 0xffffff;
        if (stream_left(&c->s) < 4 + total || head + 4 > total) {
            break;
        }
        c->s.in_at += 4 + total;
        take_answer(c, (const char *)p + 8, head, p + 8 + head, total - 4 - head);
    }
}

static int wait_answer(struct conn *c)
{
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);

    while (!c->answered && !c->s.over && peer_now_ns() < until_ns) {
        stream_wait(&c->s, until_ns);
        (void)stream_read(&c->s);
        take_all(c);
    }
    const bool ok = c->answered && c->code == SUCCESS;
    c->answered = false;
    return ok ? 0 : peer_fail(&c->base, "no answer");
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        stream_close(&c->s);
        free(c->ring);
        free(c->batch);
        free(c->offsets);
        free(c);
    }
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    if (on != NULL) {
        c->base.on = *on;
    }
    c->ring = calloc(o->window, sizeof *c->ring);
    c->batch = malloc(BATCH_BYTES);
    if (c->ring == NULL || c->batch == NULL) {
        (void)peer_fail(&c->base, "no memory");
    } else {
        (void)stream_open(&c->s, o->address, c->base.error);
    }
    return &c->base;
}

static int setup(const struct peer_options *o, char *err)
{
    struct conn *c = (struct conn *)conn_open(o, NULL);
    int rc = -1;

    if (c != NULL && c->base.error[0] == '\0') {
        request(c, UPDATE_TOPIC, opaque_of(0, FOR_OTHER), NULL, 0,
                "\"topic\":\"%s\",\"defaultTopic\":\"TBW102\",\"readQueueNums\":\"%u\","
                "\"writeQueueNums\":\"%u\",\"perm\":\"6\",\"topicFilterType\":\"SINGLE_TAG\","
                "\"topicSysFlag\":\"0\",\"order\":\"false\"",
                o->topic, o->partitions, o->partitions);
        rc = wait_answer(c);
    }
    snprintf(err, PEER_ERROR_BYTES, "%s", c != NULL ? c->base.error : "no memory");
    conn_close(c != NULL ? &c->base : NULL);
    return rc;
}

static void send_batch(struct conn *c)
{
    const struct peer_options *o = c->base.o;
    unsigned at = 0;

    while (c->sent[at].used) {
        at++;
    }
    c->sent[at] = (struct sent){true, c->next - c->n_batch, c->n_batch};
    c->n_in_flight++;
    request(c, SEND_BATCH, opaque_of(at, FOR_SEND), c->batch, c->batch_size,
            "\"a\":\"bench\",\"b\":\"%s\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"%u\",\"f\":\"0\","
            "\"g\":\"0\",\"h\":\"0\",\"i\":\"\",\"j\":\"0\",\"k\":\"false\",\"m\":\"true\"",
            o->topic, c->next_queue++ % o->partitions);
    c->batch_size = 0;
    c->n_batch = 0;
    (void)stream_flush(&c->s);
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    const size_t item = ITEM_HEAD + size + 2;

    if (item > BATCH_BYTES) {
        (void)peer_fail(b, "message too large");
        return PEER_FAILED;
    }
    if (c->next - c->first >= b->o->window) {
        return PEER_FULL;
    }
    if (c->batch_size + item > BATCH_BYTES) {
        if (c->n_in_flight == IN_FLIGHT) {
            return PEER_FULL;
        }
        send_batch(c);
    }
    /* total, magic, CRC, flag, size, body, size of the properties */
    const uint32_t head[5] = {htobe32((uint32_t)item), 0, 0, 0, htobe32((uint32_t)size)};
    memcpy(c->batch + c->batch_size, head, sizeof head);
    memcpy(c->batch + c->batch_size + ITEM_HEAD, value, size);
    memset(c->batch + c->batch_size + ITEM_HEAD + size, 0, 2);
    c->batch_size += item;
    c->n_batch++;
    c->ring[c->next++ % b->o->window] = (struct unanswered){stamp, false};
    return PEER_SENT;
}

static void pop(struct conn *c)
{
    c->n_pops++;
    request(c, POP_MESSAGE, opaque_of(0, FOR_POP), NULL, 0,
            "\"consumerGroup\":\"%s\",\"topic\":\"%s\",\"queueId\":\"-1\",\"maxMsgNums\":\"%d\","
            "\"invisibleTime\":\"%d\",\"pollTime\":\"%d\",\"bornTime\":\"%lld\",\"initMode\":\"0\","
            "\"expType\":\"TAG\",\"exp\":\"*\",\"order\":\"false\"",
            c->base.o->group, c->base.o->topic, POP_COUNT, INVISIBLE_MS, SUSPEND_MS,
            (long long)peer_wall_ms());
}

static void conn_push(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->n_batch > 0 && c->n_in_flight == 0) {
        send_batch(c);
    }
    while (c->mode == PEER_QUEUE && c->n_pops < POPS &&
           c->n_here + (c->n_pops + 1) * POP_COUNT <= b->o->prefetch) {
        pop(c);
    }
    (void)stream_flush(&c->s);
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    (void)stream_flush(&c->s);
    (void)stream_read(&c->s);
    take_all(c);
    conn_push(b);
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
    const struct peer_options *o = b->o;

    c->mode = mode;
    if (mode == PEER_QUEUE) {
        conn_push(b);
        return 0;
    }
    c->first_queue = o->partitions * member / o->members;
    c->n_queues = o->partitions * (member + 1) / o->members - c->first_queue;
    c->offsets = calloc(c->n_queues > 0 ? c->n_queues : 1, sizeof *c->offsets);
    if (c->offsets == NULL) {
        return peer_fail(b, "no memory");
    }
    for (unsigned i = 0; i < c->n_queues && tail; i++) {
        request(c, GET_MAX_OFFSET, opaque_of(i, FOR_OTHER), NULL, 0,
                "\"topic\":\"%s\",\"queueId\":\"%u\"", o->topic, c->first_queue + i);
        if (wait_answer(c) != 0) {
            return -1;
        }
        c->offsets[i] = c->offset;
    }
    for (unsigned i = 0; i < c->n_queues; i++) {
        pull(c, i);
    }
    return stream_flush(&c->s);
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    struct conn *c = (struct conn *)b;
    const unsigned queue = (unsigned)(h->a >> 48);
    const unsigned long long offset = h->a & ((UINT64_C(1) << 48) - 1);

    request(c, ACK_MESSAGE, opaque_of(0, FOR_ACK), NULL, 0,
            "\"consumerGroup\":\"%s\",\"topic\":\"%s\",\"queueId\":\"%u\",\"offset\":\"%llu\","
            "\"extraInfo\":\"%llu %llu %d %u 0 bench %u %llu\"",
            b->o->group, b->o->topic, queue, offset, offset, (unsigned long long)(h->b >> 8),
            INVISIBLE_MS, (unsigned)(h->b & 0xff), queue, offset);
    c->n_acks++;
    c->n_here--;
    return 0;
}

static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);
    int rc = 0;

    for (unsigned i = 0; c->mode == PEER_LOG && i < c->n_queues && rc == 0; i++) {
        request(c, UPDATE_OFFSET, opaque_of(i, FOR_OTHER), NULL, 0,
                "\"consumerGroup\":\"%s\",\"topic\":\"%s\",\"queueId\":\"%u\","
                "\"commitOffset\":\"%lld\"",
                b->o->group, b->o->topic, c->first_queue + i, (long long)c->offsets[i]);
        rc = wait_answer(c);
    }
    while (c->n_acks > 0 && !c->s.over && peer_now_ns() < until_ns) {
        stream_wait(&c->s, until_ns);
        (void)stream_read(&c->s);
        take_all(c);
    }
    return rc == 0 && c->n_acks == 0 ? 0 : peer_fail(b, "acks without an answer");
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "own (this file)");
}

const struct peer_driver peer_rocketmq = {
    .name = "rocketmq",
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
