/*
 * Output. Answers gather in `ctl`; large stored data is a segment that refers to it; both leave in
 * one sendmsg per turn of the loop, a bounded number of bytes each. What the socket does not take
 * waits for it. Who owns what: the queue owns a reference per segment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "broker/clock.h"
#include "broker/conn_impl.h"
#include "broker/members.h"
#include "broker/server.h"
#include "broker/session.h"
#include "proto/killpoint.h"

enum {
    MAX_IOV = 64,
    WRITE_TURN_BYTES = 1 << 20,
};

size_t conn_queued(const struct conn *c)
{
    return c->out_bytes + c->ctl.len;
}

static bool output_used_up(const struct server *srv)
{
    return memory_used(srv, MEMORY_OUTPUT) > srv->memory.output;
}

/* Over the budget of all, a connection may keep its share of it, and always CONN_OUTPUT_LEAST. */
bool conn_over_share(const struct conn *c)
{
    const uint64_t share = c->srv->memory.output / (c->srv->n_conns + 1U);

    return conn_queued(c) > (share > CONN_OUTPUT_LEAST ? share : CONN_OUTPUT_LEAST) &&
           output_used_up(c->srv);
}

bool conn_output_full(const struct conn *c)
{
    return conn_queued(c) >= c->srv->conf->max_output || conn_over_share(c);
}

/* One read at a time: it brings a whole batch, however large. */
bool conn_hoards(const struct conn *c)
{
    return conn_over_share(c) || (c->held_bytes > 0 && output_used_up(c->srv));
}

uint32_t conn_piece(const struct conn *c, uint32_t most)
{
    return most > CONN_OUTPUT_LEAST && output_used_up(c->srv) ? CONN_OUTPUT_LEAST : most;
}

void conn_account(struct conn *c)
{
    c->srv->in_bytes += c->in.cap - c->in_counted; /* may wrap, and back */
    c->in_counted = c->in.cap;
    c->srv->out_bytes += c->ctl.len - c->ctl_counted;
    c->ctl_counted = c->ctl.len;
}

struct buf *conn_ctl(struct conn *c)
{
    return &c->ctl;
}

void conn_sent(struct conn *c)
{
    if (c->ctl.failed) {
        conn_close(c, "no_memory");
    }
    if (conn_deaf(c)) {
        buf_clear(&c->ctl);
        conn_account(c);
        return;
    }
    conn_account(c);
    if (conn_queued(c) > 0) {
        conn_mark_dirty(c);
    }
    if (conn_output_full(c)) {
        conn_set_interest(c);
    }
}

static bool push_segment(struct conn *c, struct bytes data)
{
    if (c->out_head == c->out_tail) {
        c->out_head = c->out_tail = 0;
    }
    if (c->out_tail == c->out_cap && c->out_head > 0) {
        memmove(c->out, c->out + c->out_head, (c->out_tail - c->out_head) * sizeof *c->out);
        c->out_tail -= c->out_head;
        c->out_head = 0;
    }
    if (c->out_tail == c->out_cap) {
        size_t cap = c->out_cap > 0 ? 2 * c->out_cap : 16;
        struct out_segment *out = realloc(c->out, cap * sizeof *out);

        if (out == NULL) {
            return false;
        }
        c->out = out;
        c->out_cap = cap;
    }
    c->out[c->out_tail++].data = data;
    c->out_bytes += data.n;
    c->srv->out_bytes += data.n;
    return true;
}

/* Moves the control bytes into a segment, so that data can follow them. */
static bool seal_ctl(struct conn *c)
{
    struct blob *b;

    if (c->ctl.len == 0) {
        return true;
    }
    b = blob_copy(c->ctl.p, c->ctl.len);
    if (b == NULL || !push_segment(c, (struct bytes){b, b->p, b->n})) {
        blob_unref(b);
        return false;
    }
    buf_clear(&c->ctl);
    conn_account(c);
    return true;
}

void conn_put_bytes(struct conn *c, struct bytes data)
{
    if (conn_deaf(c)) {
        blob_unref(data.owner);
        return;
    }
    if (data.n <= CONN_COPY_BYTES) {
        buf_put(&c->ctl, data.p, data.n);
        blob_unref(data.owner);
    } else if (!seal_ctl(c) || !push_segment(c, data)) {
        blob_unref(data.owner);
        conn_close(c, "no_memory");
    }
}

void conn_put_error(struct conn *c, uint32_t corr, const struct werror *e,
                    const struct frame_detail *d, size_t n)
{
    if (!conn_deaf(c)) {
        c->srv->stats.errors_sent++;
        frame_put_error(&c->ctl, corr, e, d, n);
        conn_sent(c);
    }
}

/* ---------------------------------------------------------------- sending */

/* Fills iov with what is queued. */
static size_t gather(struct conn *c, struct iovec *iov)
{
    size_t n = 0, bytes = 0;

    for (size_t i = c->out_head; i < c->out_tail && n < MAX_IOV && bytes < WRITE_TURN_BYTES; i++) {
        iov[n].iov_base = (void *)(uintptr_t)c->out[i].data.p;
        iov[n++].iov_len = c->out[i].data.n;
        bytes += c->out[i].data.n;
    }
    if (n < MAX_IOV && bytes < WRITE_TURN_BYTES && c->ctl.len > 0) {
        iov[n].iov_base = c->ctl.p;
        iov[n++].iov_len = c->ctl.len;
    }
    return n;
}

static void consume(struct conn *c, size_t n)
{
    c->srv->stats.bytes_out += n;
    while (n > 0 && c->out_head < c->out_tail) {
        struct bytes *d = &c->out[c->out_head].data;
        size_t taken = n < d->n ? n : d->n;

        d->p += taken;
        d->n -= taken;
        c->out_bytes -= taken;
        c->srv->out_bytes -= taken;
        n -= taken;
        if (d->n == 0) {
            blob_unref(d->owner);
            c->out_head++;
        }
    }
    if (n > 0) {
        buf_consume(&c->ctl, n);
    }
}

/* Sends until nothing is left, the socket is full, or the turn is over. False: closed. */
static bool send_queue(struct conn *c)
{
    struct iovec iov[MAX_IOV];
    size_t turn = 0;

    while (conn_queued(c) > 0 && turn < WRITE_TURN_BYTES) {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = gather(c, iov)};

        WEIR_KILLPOINT(send_before);
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            conn_close(c, "write_error");
            return false;
        }
        if (n < 0) {
            break;
        }
        WEIR_KILLPOINT(send_after);
        consume(c, (size_t)n);
        turn += (size_t)n;
    }
    if (turn > 0) {
        c->active = true;
        c->stuck_taken += turn;
        if (c->stuck_taken >= CONN_STUCK_BYTES) {
            c->stuck_mono_ns = 0;
        }
        c->unheard_mono_ns = c->unheard_mono_ns != 0 ? c->unheard_mono_ns : clock_mono_ns();
    }
    return true;
}

/* The last words are out: shut our side, and read on only to see the peer's end. */
static void linger(struct conn *c)
{
    c->state = CONN_LINGERING;
    c->opened_mono_ns = clock_mono_ns();
    shutdown(c->fd, SHUT_WR);
    conn_drop_big(c);
    buf_fini(&c->in);
    buf_fini(&c->ctl);
    c->in_at = 0;
    conn_account(c);
}

void conn_flush(struct conn *c)
{
    bool was_full = conn_output_full(c);

    if (conn_deaf(c) || !send_queue(c)) {
        return;
    }
    conn_account(c);
    c->blocked = conn_queued(c) > 0;
    if (!c->blocked) {
        c->stuck_mono_ns = 0;
    } else if (c->stuck_mono_ns == 0) {
        c->stuck_mono_ns = clock_mono_ns();
        c->stuck_taken = 0;
    }
    if (!c->blocked && c->state == CONN_ENDING) {
        linger(c);
    }
    if (!c->blocked && c->ctl.cap > CONN_SMALL_FRAME) {
        buf_fini(&c->ctl);
    }
    conn_set_interest(c);
    if (was_full && !conn_output_full(c)) {
        conn_resume(c);
    }
    if (!conn_output_full(c)) {
        subs_resume(c);
        seats_resume(c);
    }
}
