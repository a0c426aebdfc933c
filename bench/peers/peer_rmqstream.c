/*
 * RabbitMQ streams over their own protocol; there is no C library for it. As the vendor's clients:
 * messages of a turn share a Publish frame (100 at most), 10 chunks of credit. A partition is a
 * stream of its own. Messages are wrapped as an AMQP 1.0 data section, and unwrapped. linger_us:
 * how long the first message of a frame may wait for others.
 *
 * Read: any member reads its share of the streams. The broker keeps no state that readers share.
 */
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum {
    DECLARE_PUBLISHER = 1,
    PUBLISH = 2,
    PUBLISH_CONFIRM = 3,
    PUBLISH_ERROR = 4,
    SUBSCRIBE = 7,
    DELIVER = 8,
    CREDIT = 9,
    CREATE = 13,
    PEER_PROPERTIES = 17,
    SASL_HANDSHAKE = 18,
    SASL_AUTHENTICATE = 19,
    TUNE = 20,
    OPEN = 21,
    ANSWER = 0x8000
};
enum {
    OK = 1,
    DOES_NOT_EXIST = 2,
    STREAM_ALREADY_EXISTS = 5,
    NOT_AVAILABLE = 6,
    FROM_FIRST = 1,
    FROM_NEXT = 3,
    BATCH = 100,
    CREDITS = 10,
    FRAME_MAX = 1 << 20,
    CHUNK_HEAD = 48,
    NAME_BYTES = 128,
    SPREAD = 256,
    NUMBERS = 256, /* publishers and subscriptions are numbered in a byte */
    RETRY_MS = 20
};
#define NOT_YET_NS INT64_C(120000000000)

struct conn {
    struct peer_conn base;
    struct stream s;
    struct stamps stamps;
    uint32_t correlation;
    bool producing;
    uint64_t next_id; /* publishing ids count from 0 on this connection */
    size_t frame_at;  /* in the output: the Publish frame that is being filled */
    uint32_t n_frame;
    int64_t frame_since_ns, linger_ns;
};

static void put8(struct conn *c, unsigned v)
{
    const uint8_t b = (uint8_t)v;
    stream_put(&c->s, &b, sizeof b);
}

static void put16(struct conn *c, unsigned v)
{
    const uint16_t b = htobe16((uint16_t)v);
    stream_put(&c->s, &b, sizeof b);
}

static void put32(struct conn *c, uint32_t v)
{
    const uint32_t b = htobe32(v);
    stream_put(&c->s, &b, sizeof b);
}

static void put_text(struct conn *c, const char *text)
{
    put16(c, (unsigned)strlen(text));
    stream_put(&c->s, text, strlen(text));
}

static uint16_t get16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static uint32_t get32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

/* A frame whose size is filled in by end(). @return where it starts, counted from out_at */
static size_t begin(struct conn *c, unsigned key)
{
    (void)stream_room(&c->s, 1);
    const size_t at = c->s.out_size - c->s.out_at;
    put32(c, 0);
    put16(c, key);
    put16(c, 1);
    return at;
}

static size_t begin_request(struct conn *c, unsigned key)
{
    const size_t at = begin(c, key);
    put32(c, ++c->correlation);
    return at;
}

static void end(struct conn *c, size_t at)
{
    const uint32_t n = htobe32((uint32_t)(c->s.out_size - c->s.out_at - at - sizeof n));
    memcpy(c->s.out + c->s.out_at + at, &n, sizeof n);
}

/* The next frame, whole; NULL on failure. @param n[out] its size */
static const unsigned char *wait_frame(struct conn *c, uint32_t *n)
{
    if (stream_need(&c->s, sizeof *n) != 0) {
        return NULL;
    }
    *n = get32(c->s.in + c->s.in_at);
    if (stream_need(&c->s, sizeof *n + *n) != 0) {
        return NULL;
    }
    const unsigned char *frame = c->s.in + c->s.in_at + sizeof *n;
    c->s.in_at += sizeof *n + *n;
    return frame;
}

static void take_frame(struct conn *c, const unsigned char *f, uint32_t n);

/* Waits for the answer to the last request. @return its code, 0 = none came */
static unsigned answer(struct conn *c, unsigned key)
{
    uint32_t n;
    const unsigned char *f;

    while ((f = wait_frame(c, &n)) != NULL) {
        if (n >= 10 && get16(f) == (ANSWER | key)) {
            return get16(f + 8);
        }
        take_frame(c, f, n);
    }
    return 0;
}

static int must_be_ok(struct conn *c, unsigned key, const char *what)
{
    const unsigned code = answer(c, key);
    return code == OK ? 0 : peer_fail(&c->base, "%s: code %u", what, code);
}

static int greet(struct conn *c)
{
    static const char plain[] = "\0guest\0guest";
    size_t at = begin_request(c, PEER_PROPERTIES);
    uint32_t n;
    const unsigned char *f;

    put32(c, 0);
    end(c, at);
    int rc = must_be_ok(c, PEER_PROPERTIES, "peer properties");
    at = begin_request(c, SASL_HANDSHAKE);
    end(c, at);
    rc = rc == 0 ? must_be_ok(c, SASL_HANDSHAKE, "handshake") : rc;
    at = begin_request(c, SASL_AUTHENTICATE);
    put_text(c, "PLAIN");
    put32(c, sizeof plain - 1);
    stream_put(&c->s, plain, sizeof plain - 1);
    end(c, at);
    rc = rc == 0 ? must_be_ok(c, SASL_AUTHENTICATE, "authenticate") : rc;
    /* The server proposes limits; no heartbeats, please. */
    while (rc == 0 && ((f = wait_frame(c, &n)) == NULL || get16(f) != TUNE)) {
        rc = f == NULL ? peer_fail(&c->base, "no tune") : 0;
    }
    at = begin(c, TUNE);
    put32(c, FRAME_MAX);
    put32(c, 0);
    end(c, at);
    at = begin_request(c, OPEN);
    put_text(c, "/");
    end(c, at);
    return rc == 0 ? must_be_ok(c, OPEN, "open") : rc;
}

static void stream_name(const struct peer_options *o, unsigned partition, char *out)
{
    snprintf(out, NAME_BYTES, "%s-%u", o->topic, partition);
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);
    char linger[16];

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    if (on != NULL) {
        c->base.on = *on;
    }
    c->linger_ns =
        strtoll(peer_option(o, "linger_us", "0", linger, sizeof linger), NULL, 10) * 1000;
    if (stamps_init(&c->stamps, o->window) != 0) {
        (void)peer_fail(&c->base, "no memory");
    } else if (stream_open(&c->s, o->address, c->base.error) == 0) {
        (void)greet(c);
    }
    return &c->base;
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        stream_close(&c->s);
        stamps_fini(&c->stamps);
        free(c);
    }
}

static int setup(const struct peer_options *o, char *err)
{
    struct conn *c = (struct conn *)conn_open(o, NULL);
    char name[NAME_BYTES];

    for (unsigned p = 0; c != NULL && c->base.error[0] == '\0' && p < o->partitions; p++) {
        const size_t at = begin_request(c, CREATE);
        stream_name(o, p, name);
        put_text(c, name);
        put32(c, 0);
        end(c, at);
        const unsigned code = answer(c, CREATE);
        if (code != OK && code != STREAM_ALREADY_EXISTS) {
            (void)peer_fail(&c->base, "create: code %u", code);
        }
    }
    const int rc = c != NULL && c->base.error[0] == '\0' ? 0 : -1;
    snprintf(err, PEER_ERROR_BYTES, "%s", c != NULL ? c->base.error : "no memory");
    conn_close(c != NULL ? &c->base : NULL);
    return rc;
}

/* Of a stream, with a number of ours. After a start the port is open before the streams are there.
 */
static int request(struct conn *c, unsigned key, unsigned number, unsigned partition, bool tail)
{
    const int64_t until_ns = peer_now_ns() + NOT_YET_NS;
    char name[NAME_BYTES];
    unsigned code;

    stream_name(c->base.o, partition, name);
    do {
        const size_t at = begin_request(c, key);
        put8(c, number);
        if (key == DECLARE_PUBLISHER) {
            put_text(c, "");
        }
        put_text(c, name);
        if (key == SUBSCRIBE) {
            put16(c, tail ? FROM_NEXT : FROM_FIRST);
            put16(c, CREDITS);
            put32(c, 0);
        }
        end(c, at);
        code = answer(c, key);
        if (code == DOES_NOT_EXIST || code == NOT_AVAILABLE) {
            (void)poll(NULL, 0, RETRY_MS);
        }
    } while ((code == DOES_NOT_EXIST || code == NOT_AVAILABLE) && peer_now_ns() < until_ns);
    return code == OK ? 0 : peer_fail(&c->base, "request %u of %s: code %u", key, name, code);
}

/* A publisher per stream; its number is that of the partition. */
static int declare(struct conn *c)
{
    int rc = c->base.o->partitions <= NUMBERS ? 0 : peer_fail(&c->base, "at most 256 streams");

    for (unsigned p = 0; p < c->base.o->partitions && rc == 0; p++) {
        rc = request(c, DECLARE_PUBLISHER, p, p, false);
    }
    c->producing = true;
    return rc;
}

static void end_frame(struct conn *c)
{
    if (c->n_frame > 0) {
        /* size, key, version, publisher, then the count */
        const uint32_t n = htobe32(c->n_frame);
        memcpy(c->s.out + c->s.out_at + c->frame_at + 9, &n, sizeof n);
        end(c, c->frame_at);
        c->n_frame = 0;
    }
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    static const unsigned char section[] = {0x00, 0x53, 0x75, 0xb0};
    struct conn *c = (struct conn *)b;

    if (!c->producing && declare(c) != 0) {
        return PEER_FAILED;
    }
    if (stamps_full(&c->stamps)) {
        return PEER_FULL;
    }
    if (c->n_frame == BATCH || (c->n_frame > 0 && c->next_id % SPREAD == 0)) {
        end_frame(c);
    }
    if (c->n_frame == 0) {
        c->frame_at = begin(c, PUBLISH);
        put8(c, (unsigned)(c->next_id / SPREAD % b->o->partitions));
        put32(c, 0);
        c->frame_since_ns = c->linger_ns > 0 ? peer_now_ns() : 0;
    }
    const uint64_t id = htobe64(c->next_id++);
    stream_put(&c->s, &id, sizeof id);
    put32(c, (uint32_t)(size + sizeof section + sizeof(uint32_t)));
    stream_put(&c->s, section, sizeof section);
    put32(c, (uint32_t)size);
    stream_put(&c->s, value, size);
    c->n_frame++;
    stamps_add(&c->stamps, stamp);
    return PEER_SENT;
}

static void conn_push(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->linger_ns == 0 ||
        (c->n_frame > 0 && peer_now_ns() - c->frame_since_ns >= c->linger_ns)) {
        end_frame(c);
    }
    if (c->n_frame == 0) {
        (void)stream_flush(&c->s);
    }
}

/* The payload of an AMQP 1.0 message of one data section. */
static void give(struct conn *c, const unsigned char *p, size_t n)
{
    const struct peer_handle h = {0};

    if (n >= 8 && p[2] == 0x75 && p[3] == 0xb0) {
        c->base.on.message(c->base.on.user, p + 8, n - 8, &h);
    } else if (n >= 5 && p[2] == 0x75 && p[3] == 0xa0) {
        c->base.on.message(c->base.on.user, p + 5, n - 5, &h);
    }
}

static void take_chunk(struct conn *c, const unsigned char *f, uint32_t n)
{
    /* key, version, subscription, then the chunk: magic, type, entries (16), records (32) ... */
    const unsigned char *p = f + 5 + CHUNK_HEAD, *stop = f + n;
    const unsigned entries = n >= 5 + CHUNK_HEAD ? get16(f + 5 + 2) : 0;

    for (unsigned i = 0; i < entries && stop - p >= 4; i++) {
        const uint32_t size = get32(p) & 0x7fffffff;
        if ((p[0] & 0x80) != 0 || (size_t)(stop - p) < 4 + (size_t)size) {
            (void)peer_fail(&c->base, "a chunk that is not understood");
            break;
        }
        give(c, p + 4, size);
        p += 4 + size;
    }
    const size_t at = begin(c, CREDIT);
    put8(c, f[4]);
    put16(c, 1);
    end(c, at);
}

static void take_frame(struct conn *c, const unsigned char *f, uint32_t n)
{
    switch (get16(f)) {
    case PUBLISH_CONFIRM:
        for (uint32_t left = n >= 9 ? get32(f + 5) : 0; left > 0 && c->stamps.n > 0; left--) {
            c->base.on.acked(c->base.on.user, stamps_take(&c->stamps), true);
        }
        break;
    case PUBLISH_ERROR:
        (void)peer_fail(&c->base, "publish refused");
        break;
    case DELIVER:
        take_chunk(c, f, n);
        break;
    default:
        break;
    }
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    conn_push(b);
    (void)stream_read(&c->s);
    while (stream_left(&c->s) >= 4) {
        const uint32_t n = get32(c->s.in + c->s.in_at);
        if (stream_left(&c->s) < 4 + (size_t)n) {
            break;
        }
        const unsigned char *f = c->s.in + c->s.in_at + 4;
        c->s.in_at += 4 + (size_t)n;
        take_frame(c, f, n);
    }
    return c->s.over ? peer_fail(b, "the connection is over") : b->error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    struct conn *c = (struct conn *)b;

    if (c->n_frame > 0) { /* wake up when its time has come; nothing of it may go before */
        const int64_t due_ns = c->frame_since_ns + c->linger_ns;
        peer_wait_fd(c->s.fd, POLLIN, due_ns < until_ns ? due_ns : until_ns);
    } else {
        stream_wait(&c->s, until_ns);
    }
}

static int conn_fd(struct peer_conn *b)
{
    return ((struct conn *)b)->s.fd;
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    const struct peer_options *o = b->o;
    const unsigned first = o->partitions * member / o->members;
    const unsigned stop = o->partitions * (member + 1) / o->members;
    int rc = stop - first <= NUMBERS ? 0 : peer_fail(b, "at most 256 streams");

    (void)mode;
    for (unsigned p = first; p < stop && rc == 0; p++) {
        rc = request(c, SUBSCRIBE, p - first, p, tail);
    }
    return rc;
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "own (this file)");
}

const struct peer_driver peer_rmqstream = {
    .name = "rmqstream",
    .modes = PEER_READ,
    .many = true,
    .setup = setup,
    .open = conn_open,
    .send = conn_send,
    .push = conn_push,
    .poll = conn_poll,
    .wait = conn_wait,
    .fd = conn_fd,
    .subscribe = conn_subscribe,
    .close = conn_close,
    .version = version,
};
