/*
 * beanstalkd over its own text protocol, pipelined: put; reserve-with-timeout and delete. A topic
 * is a tube. There is no other way of reading than the queue.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum { LINE_BYTES = 256, RESERVES = 256, DATA_MAX = 65535 };
enum { REPLY_DELETE = -1, REPLY_RESERVE = -2, REPLY_OTHER = -3 };

struct conn {
    struct peer_conn base;
    struct stream s;
    struct stamps expected; /* stamps of put, or REPLY_... */
    bool subscribed;
    unsigned n_here;     /* reserved and not deleted */
    unsigned n_reserves; /* asked for */
    unsigned n_deletes;  /* without a reply */
    bool empty;          /* the last reserve found nothing */
};

static void command(struct conn *c, const char *text, int64_t reply)
{
    stream_put(&c->s, text, strlen(text));
    stamps_add(&c->expected, reply);
}

static int setup(const struct peer_options *o, char *err)
{
    (void)o;
    (void)err;
    return 0;
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);
    char line[LINE_BYTES];

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    if (stamps_init(&c->expected, o->window + 2 * o->prefetch + 2 * RESERVES) != 0) {
        (void)peer_fail(&c->base, "no memory");
    } else if (stream_open(&c->s, o->address, c->base.error) == 0) {
        snprintf(line, sizeof line, "use %s\r\n", o->topic);
        command(c, line, REPLY_OTHER);
        if (stream_need(&c->s, strlen("USING ")) != 0) {
            (void)peer_fail(&c->base, "no answer");
        }
    }
    return &c->base;
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;

    if (c->expected.n >= b->o->window) {
        return PEER_FULL;
    }
    if (size > DATA_MAX) {
        (void)peer_fail(b, "message too large");
        return PEER_FAILED;
    }
    char *out = (char *)stream_room(&c->s, size + LINE_BYTES);
    const int n = snprintf(out, LINE_BYTES, "put 0 0 120 %zu\r\n", size);
    memcpy(out + n, value, size);
    memcpy(out + (size_t)n + size, "\r\n", 2);
    c->s.out_size += (size_t)n + size + 2;
    stamps_add(&c->expected, stamp);
    return PEER_SENT;
}

/* Reserves as many as may lie here; one that waits when there was nothing. */
static void conn_push(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->subscribed && c->empty && c->n_reserves == 0) {
        c->n_reserves++;
        command(c, "reserve-with-timeout 1\r\n", REPLY_RESERVE);
    }
    while (c->subscribed && !c->empty && c->n_reserves < RESERVES &&
           c->n_here + c->n_reserves < b->o->prefetch) {
        c->n_reserves++;
        command(c, "reserve-with-timeout 0\r\n", REPLY_RESERVE);
    }
    (void)stream_flush(&c->s);
}

/* A job: its data is behind the line. @return bytes taken, or 0: not all there */
static size_t take_job(struct conn *c, const char *line, size_t line_bytes)
{
    char *end;
    struct peer_handle h = {.a = strtoull(line + strlen("RESERVED "), &end, 10)};
    const size_t size = strtoul(end, NULL, 10);

    if (stream_left(&c->s) < line_bytes + size + 2) {
        return 0;
    }
    c->n_here++;
    c->empty = false;
    c->base.on.message(c->base.on.user, line + line_bytes, size, &h);
    return line_bytes + size + 2;
}

/* One reply. @return bytes taken, or 0: not all there */
static size_t take_reply(struct conn *c)
{
    const char *line = (const char *)c->s.in + c->s.in_at;
    const char *end = memmem(line, stream_left(&c->s), "\r\n", 2);
    size_t n = end != NULL ? (size_t)(end - line) + 2 : 0;

    if (n == 0 || c->expected.n == 0) {
        return 0;
    }
    const int64_t what = c->expected.ring[c->expected.first];
    const bool job = what == REPLY_RESERVE && strncmp(line, "RESERVED ", 9) == 0;
    if (job) {
        n = take_job(c, line, n);
        if (n == 0) {
            return 0;
        }
    }
    (void)stamps_take(&c->expected);
    if (what >= 0) {
        const bool ok = strncmp(line, "INSERTED ", 9) == 0;
        if (!ok) {
            (void)peer_fail(&c->base, "put: %.40s", line);
        }
        c->base.on.acked(c->base.on.user, what, ok);
    } else if (what == REPLY_DELETE) {
        c->n_deletes--;
        if (strncmp(line, "DELETED", 7) != 0) {
            (void)peer_fail(&c->base, "delete: %.40s", line);
        }
    } else if (what == REPLY_RESERVE) {
        c->n_reserves--;
        c->empty = c->empty || !job;
    }
    return n;
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    size_t n;

    (void)stream_flush(&c->s);
    (void)stream_read(&c->s);
    while ((n = take_reply(c)) > 0) {
        c->s.in_at += n;
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
    char line[LINE_BYTES];

    (void)mode;
    (void)member;
    (void)tail;
    snprintf(line, sizeof line, "watch %s\r\n", b->o->topic);
    command(c, line, REPLY_OTHER);
    c->subscribed = true;
    conn_push(b);
    return 0;
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    struct conn *c = (struct conn *)b;
    char line[LINE_BYTES];

    snprintf(line, sizeof line, "delete %llu\r\n", (unsigned long long)h->a);
    command(c, line, REPLY_DELETE);
    c->n_here--;
    c->n_deletes++;
    return 0;
}

static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const int64_t until_ns = peer_now_ns() + INT64_C(30000000000);

    while (c->n_deletes > 0 && peer_now_ns() < until_ns && conn_poll(b) == 0) {
        conn_wait(b, peer_now_ns() + 50000000);
    }
    return c->n_deletes == 0 ? 0 : peer_fail(b, "delete without an answer");
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        stream_close(&c->s);
        stamps_fini(&c->expected);
        free(c);
    }
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "own (this file)");
}

const struct peer_driver peer_beanstalkd = {
    .name = "beanstalkd",
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
