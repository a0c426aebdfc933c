/*
 * Happy path: bytes arrive -> `in` (small frames) or `big` (one large frame, read straight into a
 * blob of its own) -> session_frame. Answers gather in `ctl` and in segments that refer to stored
 * data, and leave in one writev per turn of the loop.
 *
 * What can fail: the peer, at any byte. Nothing is allocated from a length that a peer only claims:
 * buffers double as bytes arrive. Over a limit we stop reading; TCP does the rest.
 *
 * Who owns what: a conn owns its buffers and references; requests in flight count in `refs`.
 */
#include "broker/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/server.h"
#include "broker/session.h"
#include "proto/limits.h"

enum {
    CONN_MAGIC = 0x636f6e6e,
    READ_BYTES = 64 << 10,
    BIG_FIRST = 64 << 10,
    MAX_IOV = 64,
    WRITE_TURN_BYTES = 1 << 20,
};

static struct conn *conn_of(ev_io *w)
{
    return (struct conn *)(void *)((char *)w - offsetof(struct conn, io));
}

/* ---------------------------------------------------------------- interest */

bool conn_output_full(const struct conn *c)
{
    return c->out_bytes >= CONN_OUTPUT_HIGH;
}

static bool may_read(const struct conn *c)
{
    return (c->state == CONN_FRESH || c->state == CONN_READY) && !conn_output_full(c) &&
           c->inflight < LIMIT_INFLIGHT_REQUESTS && c->inflight_bytes < LIMIT_INFLIGHT_BYTES &&
           !c->starved;
}

/* The one place that starts and stops the watcher. */
static void set_interest(struct conn *c)
{
    int want = 0;

    if (c->state == CONN_CLOSED) {
        return;
    }
    want |= may_read(c) ? EV_READ : 0;
    want |= c->out_bytes > 0 && c->blocked ? EV_WRITE : 0;
    if (want == (c->io.events & (EV_READ | EV_WRITE)) && (want == 0) == !ev_is_active(&c->io)) {
        return;
    }
    ev_io_stop(c->srv->loop, &c->io);
    ev_io_set(&c->io, c->fd, want);
    if (want != 0) {
        ev_io_start(c->srv->loop, &c->io);
    }
}

static void mark_dirty(struct conn *c)
{
    if (!c->dirty && c->state != CONN_CLOSED) {
        c->dirty = true;
        TAILQ_INSERT_TAIL(&c->srv->dirty, c, dirty_link);
    }
}

/* ---------------------------------------------------------------- input */

/* The rest of a frame that is too large for `in`. False: no memory, the connection is closed. */
static bool begin_big(struct conn *c, size_t total)
{
    size_t have = c->in.len - c->in_at;
    size_t first = total < BIG_FIRST ? total : BIG_FIRST;

    c->big = blob_new(first > have ? first : have);
    if (c->big == NULL) {
        conn_close(c, "no_memory");
        return false;
    }
    memcpy(c->big->p, c->in.p + c->in_at, have);
    c->big_have = have;
    c->big_total = total;
    buf_clear(&c->in);
    c->in_at = 0;
    return true;
}

/* Doubles the blob as bytes arrive, up to the frame's size. */
static bool grow_big(struct conn *c)
{
    size_t n = c->big->n * 2 < c->big_total ? c->big->n * 2 : c->big_total;
    struct blob *b = blob_resize(c->big, n);

    if (b == NULL) {
        conn_close(c, "no_memory");
        return false;
    }
    c->big = b;
    return true;
}

static void bad_frame(struct conn *c, const struct werror *e)
{
    unsigned swallowed;

    if (log_allowed(&c->srv->limit_bad, clock_mono_ns(), &swallowed)) {
        log_line(&c->srv->log, LOG_WARN, "conn", "frame_refused",
                 "conn=%llu client=\"%s\" why=\"%s\" swallowed=%u", (unsigned long long)c->id,
                 c->client, e->text, swallowed);
    }
    conn_put_error(c, 0, e, NULL, 0);
    conn_end(c);
}

/* Frames that lie complete in `in`. Returns false when it stopped for a limit or the end. */
static bool parse_small(struct conn *c, unsigned *frames)
{
    while (may_read(c) && *frames < CONN_TURN_FRAMES) {
        size_t left = c->in.len - c->in_at;
        size_t total;
        struct werror e;
        enum session_result rc;
        enum werr err;

        if (left == 0) {
            return true;
        }
        if (c->state == CONN_FRESH && c->in_total == left && !session_greet(c, c->in.p[c->in_at])) {
            return false;
        }
        err = frame_length(c->in.p + c->in_at, left, session_frame_limit(c), &total, &e);
        if (err == WERR_AGAIN) {
            return true;
        }
        if (err != WERR_OK) {
            bad_frame(c, &e);
            return false;
        }
        if (total > left) {
            return total <= CONN_SMALL_FRAME || begin_big(c, total);
        }
        rc = session_frame(c, slice_of(c->in.p + c->in_at + FRAME_HEAD, total - FRAME_HEAD), NULL);
        if (rc != SESSION_OK) {
            return false;
        }
        c->in_at += total;
        (*frames)++;
    }
    return false;
}

/* The large frame is complete: hand it over. */
static bool finish_big(struct conn *c)
{
    struct blob *b = c->big;
    enum session_result rc =
        session_frame(c, slice_of(b->p + FRAME_HEAD, c->big_total - FRAME_HEAD), b);

    if (rc == SESSION_WAIT) {
        return false;
    }
    if (c->state != CONN_CLOSED) {
        c->big = NULL; /* handlers took references of their own */
        c->big_have = c->big_total = 0;
        blob_unref(b);
    }
    return rc == SESSION_OK;
}

/* Everything that lies here already. True: more bytes are wanted. */
static bool parse(struct conn *c)
{
    unsigned frames = 0;
    bool more = true;

    if (c->big != NULL && c->big_have == c->big_total && may_read(c)) {
        more = finish_big(c);
    }
    if (more && c->big == NULL) {
        more = parse_small(c, &frames);
    }
    if (c->in_at == c->in.len) {
        buf_clear(&c->in);
        c->in_at = 0;
    } else if (c->in_at > READ_BYTES) {
        buf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
    if (frames == CONN_TURN_FRAMES && c->in_at < c->in.len) { /* its turn is over, work is left */
        ev_feed_event(c->srv->loop, &c->io, EV_READ);
    }
    return more && c->state != CONN_CLOSED;
}

static ssize_t read_some(struct conn *c)
{
    uint8_t *to;
    size_t room;
    ssize_t n;

    if (c->big != NULL) {
        if (c->big_have == c->big->n && !grow_big(c)) {
            return -1;
        }
        to = c->big->p + c->big_have;
        room = c->big->n - c->big_have;
    } else {
        size_t want = c->in.cap < READ_BYTES && c->in.len * 2 < READ_BYTES
                          ? (c->in.len < 4096 ? 4096 : c->in.len)
                          : READ_BYTES;

        if (c->in_at > 0 && c->in_at == c->in.len) {
            buf_clear(&c->in);
            c->in_at = 0;
        }
        if (!buf_reserve(&c->in, want)) {
            conn_close(c, "no_memory");
            return -1;
        }
        to = c->in.p + c->in.len;
        room = c->in.cap - c->in.len;
    }
    n = recv(c->fd, to, room, 0);
    if (n > 0) {
        c->in_total += (uint64_t)n;
        c->srv->stats.bytes_in += (uint64_t)n;
        if (c->big != NULL) {
            c->big_have += (size_t)n;
        } else {
            c->in.len += (size_t)n;
        }
    }
    return n;
}

static void on_readable(struct conn *c)
{
    size_t turn = 0;

    if (!parse(c)) { /* what a limit had left lying here */
        return;
    }
    while (turn < CONN_TURN_BYTES && may_read(c)) {
        ssize_t n = read_some(c);

        if (c->state == CONN_CLOSED) {
            return;
        }
        if (n == 0) {
            conn_close(c, "peer_closed");
            return;
        }
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                conn_close(c, "read_error");
            }
            return;
        }
        turn += (size_t)n;
        if (c->state == CONN_FRESH && c->in_total > LIMIT_INPUT_PREAUTH) {
            struct werror e;

            (void)werror_set(&e, WERR_TOO_LARGE, "over %d bytes before HELLO", LIMIT_INPUT_PREAUTH);
            bad_frame(c, &e);
            return;
        }
        if (c->big != NULL && c->big_have < c->big_total) {
            continue;
        }
        if (!parse(c) || (c->big == NULL && (size_t)n < 4096)) {
            return;
        }
    }
}

void conn_resume(struct conn *c)
{
    if (c->state == CONN_CLOSED || !may_read(c)) {
        return;
    }
    set_interest(c);
    if (c->in_at < c->in.len || (c->big != NULL && c->big_have == c->big_total)) {
        ev_feed_event(c->srv->loop, &c->io, EV_READ); /* never recurse into the parser */
    }
}

/* ---------------------------------------------------------------- output */

struct buf *conn_ctl(struct conn *c)
{
    return &c->ctl;
}

void conn_sent(struct conn *c)
{
    size_t before = c->out_bytes;
    size_t sum = c->ctl.len;

    for (size_t i = c->out_head; i < c->out_tail; i++) {
        sum += c->out[i].data.n;
    }
    if (c->ctl.failed) {
        conn_close(c, "no_memory");
        return;
    }
    if (c->state == CONN_CLOSED) {
        buf_clear(&c->ctl);
        return;
    }
    c->out_bytes = sum;
    if (sum != before || sum > 0) {
        mark_dirty(c);
    }
    if (conn_output_full(c)) {
        set_interest(c);
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
    return true;
}

void conn_put_bytes(struct conn *c, struct bytes data)
{
    if (c->state == CONN_CLOSED) {
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
    if (c->state != CONN_CLOSED) {
        c->srv->stats.errors_sent++;
        frame_put_error(&c->ctl, corr, e, d, n);
        conn_sent(c);
    }
}

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

static void consume_output(struct conn *c, size_t n)
{
    c->out_bytes -= n;
    c->srv->stats.bytes_out += n;
    while (n > 0 && c->out_head < c->out_tail) {
        struct bytes *d = &c->out[c->out_head].data;

        if (n < d->n) {
            d->p += n;
            d->n -= n;
            return;
        }
        n -= d->n;
        blob_unref(d->owner);
        c->out_head++;
    }
    if (n > 0) {
        buf_consume(&c->ctl, n);
    }
}

void conn_flush(struct conn *c)
{
    struct iovec iov[MAX_IOV];
    bool was_full = conn_output_full(c);
    size_t turn = 0;

    c->blocked = false;
    while (c->out_bytes > 0 && turn < WRITE_TURN_BYTES) {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = gather(c, iov)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            conn_close(c, "write_error");
            return;
        }
        if (n < 0) {
            break;
        }
        consume_output(c, (size_t)n);
        turn += (size_t)n;
    }
    c->blocked = c->out_bytes > 0;
    if (c->out_bytes == 0 && c->state == CONN_ENDING) {
        conn_close(c, "ended");
        return;
    }
    if (c->out_bytes == 0 && c->ctl.cap > CONN_SMALL_FRAME) {
        buf_fini(&c->ctl); /* an idle connection keeps no buffers */
    }
    set_interest(c);
    if (was_full && !conn_output_full(c)) {
        conn_resume(c);
    }
    if (!conn_output_full(c)) {
        subs_resume(c);
    }
}

/* ---------------------------------------------------------------- life */

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = conn_of(w);

    (void)loop;
    if (c->magic != CONN_MAGIC || c->state == CONN_CLOSED) {
        return;
    }
    if ((events & EV_WRITE) != 0) {
        mark_dirty(c);
    }
    if ((events & EV_READ) != 0 && may_read(c)) {
        on_readable(c);
        if (c->state != CONN_CLOSED && c->in.len == 0 && c->in.cap > 4096) {
            buf_fini(&c->in);
        }
    }
    set_interest(c);
}

struct conn *conn_open(struct server *srv, int fd, const struct sockaddr_storage *peer)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->magic = CONN_MAGIC;
    c->srv = srv;
    c->fd = fd;
    c->peer = *peer;
    c->id = ++srv->next_conn_id;
    c->opened_mono_ns = clock_mono_ns();
    LIST_INIT(&c->subs);
    ev_io_init(&c->io, on_io, fd, EV_READ);
    ev_io_start(srv->loop, &c->io);
    TAILQ_INSERT_TAIL(&srv->conns, c, all);
    srv->n_conns++;
    return c;
}

void conn_begin(struct conn *c, size_t bytes)
{
    c->inflight++;
    c->inflight_bytes += bytes;
    c->refs++;
}

static void list_dead(struct conn *c)
{
    if (c->refs == 0 && !c->dead_listed) {
        c->dead_listed = true;
        TAILQ_INSERT_TAIL(&c->srv->dead, c, dead_link);
        server_again(c->srv);
    }
}

void conn_finish(struct conn *c, size_t bytes)
{
    bool was_stopped = !may_read(c);

    c->inflight--;
    c->inflight_bytes -= bytes;
    c->refs--;
    if (c->state == CONN_CLOSED) {
        list_dead(c);
    } else if (was_stopped) {
        conn_resume(c);
    }
}

void conn_end(struct conn *c)
{
    if (c->state == CONN_FRESH || c->state == CONN_READY) {
        c->state = CONN_ENDING;
        set_interest(c);
        mark_dirty(c);
    }
}

void conn_close(struct conn *c, const char *why)
{
    struct server *srv = c->srv;

    if (c->state == CONN_CLOSED) {
        return;
    }
    c->state = CONN_CLOSED;
    log_line(&srv->log, LOG_DEBUG, "conn", "closed", "conn=%llu why=%s", (unsigned long long)c->id,
             why);
    ev_io_stop(srv->loop, &c->io);
    ev_clear_pending(srv->loop, &c->io);
    listeners_release(&srv->listeners, c);
    close(c->fd);
    c->fd = -1;
    TAILQ_REMOVE(&srv->conns, c, all);
    srv->n_conns--;
    srv->stats.closed++;
    if (c->dirty) {
        c->dirty = false;
        TAILQ_REMOVE(&srv->dirty, c, dirty_link);
    }
    if (c->starved) {
        c->starved = false;
        TAILQ_REMOVE(&srv->starved, c, starved_link);
    }
    list_dead(c);
}

void conn_free(struct conn *c)
{
    subs_close(c); /* not in conn_close: that may run while one of them delivers */
    while (c->out_head < c->out_tail) {
        blob_unref(c->out[c->out_head++].data.owner);
    }
    free(c->out);
    blob_unref(c->big);
    buf_fini(&c->in);
    buf_fini(&c->ctl);
    c->magic = 0;
    free(c);
}
