/* bench-raw-server: frames of messages, answered by count. Batches like libweir: a frame goes at
 * once when nothing is in flight, else when it is full; up to eight in flight. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum { FRAME_BYTES = 256 << 10, IN_FLIGHT = 8, HEAD_BYTES = 8, ANSWER_BYTES = 8 };

struct conn {
    struct peer_conn base;
    struct stream s;
    struct stamps stamps;
    unsigned char *frame; /* head and body of the next one */
    size_t frame_size;
    uint32_t n_gathered;           /* messages in it */
    uint32_t in_flight[IN_FLIGHT]; /* messages of each */
    uint64_t n_sent, n_done;       /* frames */
};

static int setup(const struct peer_options *o, char *err)
{
    (void)o;
    (void)err;
    return 0;
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    c->frame = malloc(FRAME_BYTES + HEAD_BYTES);
    c->frame_size = HEAD_BYTES;
    if (stamps_init(&c->stamps, o->window) != 0 || c->frame == NULL) {
        (void)peer_fail(&c->base, "no memory");
    } else {
        (void)stream_open(&c->s, o->address, c->base.error);
    }
    return &c->base;
}

static void go(struct conn *c)
{
    const uint32_t head[2] = {(uint32_t)(c->frame_size - HEAD_BYTES), c->n_gathered};

    memcpy(c->frame, head, sizeof head);
    stream_put(&c->s, c->frame, c->frame_size);
    c->in_flight[c->n_sent++ % IN_FLIGHT] = c->n_gathered;
    c->n_gathered = 0;
    c->frame_size = HEAD_BYTES;
    (void)stream_flush(&c->s);
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    const uint32_t n = (uint32_t)size;
    const size_t cap = FRAME_BYTES + HEAD_BYTES;

    if (size > FRAME_BYTES - sizeof n) {
        (void)peer_fail(b, "message too large");
        return PEER_FAILED;
    }
    if (stamps_full(&c->stamps)) {
        return PEER_FULL;
    }
    if (c->frame_size + sizeof n + size > cap) {
        if (c->n_sent - c->n_done >= IN_FLIGHT) {
            return PEER_FULL;
        }
        go(c);
    }
    memcpy(c->frame + c->frame_size, &n, sizeof n);
    memcpy(c->frame + c->frame_size + sizeof n, value, size);
    c->frame_size += sizeof n + size;
    c->n_gathered++;
    stamps_add(&c->stamps, stamp);
    return PEER_SENT;
}

static void conn_push(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->n_gathered > 0 && c->n_sent == c->n_done) {
        go(c);
    }
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    uint64_t done = c->n_done;

    (void)stream_flush(&c->s);
    (void)stream_read(&c->s);
    while (stream_left(&c->s) >= ANSWER_BYTES) {
        memcpy(&done, c->s.in + c->s.in_at, sizeof done);
        c->s.in_at += ANSWER_BYTES;
    }
    while (c->n_done < done && c->n_done < c->n_sent) {
        for (uint32_t n = c->in_flight[c->n_done++ % IN_FLIGHT]; n > 0; n--) {
            b->on.acked(b->on.user, stamps_take(&c->stamps), true);
        }
    }
    conn_push(b);
    return c->s.over ? peer_fail(b, "the connection is over") : 0;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    stream_wait(&((struct conn *)b)->s, until_ns);
}

static int conn_fd(struct peer_conn *b)
{
    return ((struct conn *)b)->s.fd;
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        stream_close(&c->s);
        stamps_fini(&c->stamps);
        free(c->frame);
        free(c);
    }
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "own (this file)");
}

const struct peer_driver peer_raw = {
    .name = "raw",
    .many = true,
    .setup = setup,
    .open = conn_open,
    .send = conn_send,
    .push = conn_push,
    .poll = conn_poll,
    .wait = conn_wait,
    .fd = conn_fd,
    .close = conn_close,
    .version = version,
};
