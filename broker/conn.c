/*
 * The life of a connection, and when its socket is watched for what. Input is in conn_in.c, output
 * in conn_out.c.
 *
 * What can fail: the peer, at any time. Everything ends in conn_close, which may run anywhere:
 * memory stays until the server's reap, when no callback of this connection is on the stack and no
 * request in flight refers to it.
 */
#include "broker/conn.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/conn_impl.h"
#include "broker/members.h"
#include "broker/peer.h"
#include "broker/server.h"
#include "broker/session.h"
#include "proto/limits.h"

enum { CONN_MAGIC = 0x636f6e6e, DISCARD_BYTES = 4 << 10, DISCARDS_PER_TURN = 16 };

static const int64_t NS_PER_MS = 1000000;

/* ---------------------------------------------------------------- interest */

/* The limit that keeps its socket from being read. Of those that wait in a list, their own. */
static enum limit_hit stopped_by(const struct conn *c)
{
    const struct config *conf = c->srv->conf;

    if (c->state == CONN_FRESH) { /* before HELLO there is little to say */
        return conn_queued(c) < LIMIT_OUTPUT_PREAUTH ? HIT_NONE : HIT_OUTPUT_BEFORE_HELLO;
    }
    if (conn_queued(c) >= conf->max_output) {
        return HIT_OUTPUT;
    }
    /* What a subscription holds may wait for a CREDIT, which has to be heard. */
    if (conn_over_share(c) || (!LIST_EMPTY(&c->fetches) && conn_hoards(c))) {
        return HIT_OUTPUT_SHARE;
    }
    if (c->inflight >= conf->max_requests) {
        return HIT_REQUESTS;
    }
    return c->inflight_bytes < conf->max_request_bytes ? HIT_NONE : HIT_REQUEST_BYTES;
}

bool conn_may_read(const struct conn *c)
{
    return (c->state == CONN_FRESH || c->state == CONN_READY) && !c->starved && !c->hungry &&
           stopped_by(c) == HIT_NONE;
}

/* Counts the limit, once each time that it stops the reading. */
static void note_stop(struct conn *c, bool stopped)
{
    if (stopped && !c->stopped && !c->starved && !c->hungry &&
        (c->state == CONN_FRESH || c->state == CONN_READY)) {
        limit_hit(c->srv, stopped_by(c), c->id);
    }
    c->stopped = stopped;
}

void conn_set_interest(struct conn *c)
{
    int want = 0;

    if (c->state == CONN_CLOSED) {
        return;
    }
    want |= conn_may_read(c) || c->state == CONN_LINGERING ? EV_READ : 0;
    want |= conn_queued(c) > 0 && c->blocked ? EV_WRITE : 0;
    if (want == (c->io.events & (EV_READ | EV_WRITE)) && (want == 0) == !ev_is_active(&c->io)) {
        return;
    }
    note_stop(c, (want & EV_READ) == 0);
    ev_io_stop(c->srv->loop, &c->io);
    ev_io_set(&c->io, c->fd, want);
    if (want != 0) {
        ev_io_start(c->srv->loop, &c->io);
    }
}

void conn_mark_dirty(struct conn *c)
{
    if (!c->dirty && c->state != CONN_CLOSED) {
        c->dirty = true;
        TAILQ_INSERT_TAIL(&c->srv->dirty, c, dirty_link);
    }
}

void conn_later(struct conn *c)
{
    if (!c->again && c->state != CONN_CLOSED) {
        c->again = true;
        c->srv->n_again++;
        TAILQ_INSERT_TAIL(&c->srv->again_conns, c, again_link);
        server_again(c->srv);
    }
}

void conn_resume(struct conn *c)
{
    if (conn_may_read(c)) {
        if (c->in_at < c->in.len || (c->big != NULL && c->big_have == c->big_total)) {
            conn_later(c); /* never from here into the parser: a handler may be on the stack */
        }
        conn_set_interest(c);
    }
}

/* Reads and drops what a peer still sends. */
static void discard(struct conn *c)
{
    uint8_t unused[DISCARD_BYTES];
    ssize_t n = 1;

    for (int i = 0; i < DISCARDS_PER_TURN && n > 0; i++) {
        n = recv(c->fd, unused, sizeof unused, 0);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        conn_close(c, "ended");
    }
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = (struct conn *)(void *)((char *)w - offsetof(struct conn, io));

    (void)loop;
    if (c->magic != CONN_MAGIC || c->state == CONN_CLOSED) {
        return;
    }
    if ((events & EV_WRITE) != 0) {
        conn_mark_dirty(c);
    }
    if ((events & EV_READ) != 0 && c->state == CONN_LINGERING) {
        discard(c);
    } else if ((events & EV_READ) != 0 && !c->again && conn_may_read(c)) {
        conn_readable(c);
    }
    conn_set_interest(c);
}

/* ---------------------------------------------------------------- life */

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
    LIST_INIT(&c->fetches);
    LIST_INIT(&c->seats);
    LIST_INIT(&c->acquires);
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
    c->srv->n_requests++;
}

static void list_dead(struct conn *c)
{
    if (!c->dead_listed) {
        c->dead_listed = true;
        TAILQ_INSERT_TAIL(&c->srv->dead, c, dead_link);
        server_again(c->srv);
    }
}

void conn_finish(struct conn *c, size_t bytes)
{
    bool was_stopped = c->stopped || !conn_may_read(c);

    c->inflight--;
    c->inflight_bytes -= bytes;
    c->refs--;
    c->srv->n_requests--;
    if (c->state == CONN_CLOSED) {
        if (c->refs == 0) {
            list_dead(c);
        }
    } else if (was_stopped) {
        conn_resume(c);
    }
}

void conn_end(struct conn *c)
{
    if (c->state == CONN_FRESH || c->state == CONN_READY) {
        c->state = CONN_ENDING;
        c->opened_mono_ns = clock_mono_ns();
        conn_set_interest(c);
        conn_mark_dirty(c);
    }
}

/* Takes it off every list but the dead ones'. */
static void unlist(struct conn *c)
{
    struct server *srv = c->srv;

    TAILQ_REMOVE(&srv->conns, c, all);
    srv->n_conns--;
    if (c->dirty) {
        c->dirty = false;
        TAILQ_REMOVE(&srv->dirty, c, dirty_link);
    }
    if (c->starved) {
        c->starved = false;
        TAILQ_REMOVE(&srv->starved, c, starved_link);
    }
    if (c->hungry) {
        c->hungry = false;
        TAILQ_REMOVE(&srv->hungry, c, hungry_link);
    }
    if (c->again) {
        c->again = false;
        srv->n_again--;
        TAILQ_REMOVE(&srv->again_conns, c, again_link);
    }
}

static const char *const reasons[CONN_CLOSED_REASONS] = {
    "peer_closed", "ended",       "shutdown",  "no_hello",   "peer_lost",
    "input_full",  "output_full", "no_memory", "read_error", "write_error"};

const char *conn_closed_reason(unsigned i)
{
    return reasons[i];
}

static void count_reason(struct server *srv, const char *why)
{
    for (unsigned i = 0; i < CONN_CLOSED_REASONS; i++) {
        srv->stats.closed_by[i] += strcmp(reasons[i], why) == 0;
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
    listeners_release(&srv->listeners, c);
    close(c->fd);
    c->fd = -1;
    unlist(c);
    srv->stats.closed++;
    count_reason(srv, why);
    list_dead(c);
}

/* Not in conn_close: that may run while a subscription delivers or a handler borrows the big frame.
 */
static void shed(struct conn *c)
{
    c->shed = true;
    if (!LIST_EMPTY(&c->seats)) {
        server_again(c->srv); /* what the core makes of it wants a flush */
    }
    subs_close(c);
    fetches_cancel(c);
    acquires_end(c, NULL, WERR_SHUTTING_DOWN); /* nobody hears it */
    seats_close(c);
    conn_drop_big(c);
    while (c->out_head < c->out_tail) {
        blob_unref(c->out[c->out_head++].data.owner);
    }
    c->srv->out_bytes -= c->out_bytes;
    c->out_bytes = 0;
    free(c->out);
    c->out = NULL;
    c->out_cap = c->out_head = c->out_tail = 0;
    buf_fini(&c->in);
    buf_fini(&c->ctl);
    c->in_at = 0;
    conn_account(c);
}

void conn_reap(struct conn *c)
{
    if (!c->shed) {
        shed(c);
    }
    if (c->refs > 0) {
        c->dead_listed = false; /* its last request lists it again */
        return;
    }
    c->magic = 0;
    free(c);
}

/* ---------------------------------------------------------------- once a second */

/* How long it may stay in its state; INT64_MAX = as long as it likes. */
static int64_t patience_ns(const struct conn *c)
{
    switch (c->state) {
    case CONN_FRESH:
        return (int64_t)c->srv->conf->hello_ms * NS_PER_MS;
    case CONN_ENDING:
        return CONN_ENDING_MS * NS_PER_MS;
    case CONN_LINGERING:
        return CONN_LINGER_MS * NS_PER_MS;
    case CONN_READY:
    case CONN_CLOSED:
        break;
    }
    return INT64_MAX;
}

/* Keepalive does not run while data waits for its acknowledgement, so that we ask ourselves. */
static bool lost_peer(struct conn *c, int64_t now_mono_ns)
{
    struct peer_info info;

    if (c->unheard_mono_ns == 0 || now_mono_ns - c->unheard_mono_ns < PEER_ASK_MS * NS_PER_MS) {
        return false;
    }
    if (!peer_ask(c->fd, &info) || (info.unacked == 0 && !c->blocked)) {
        c->unheard_mono_ns = 0; /* it owes nothing */
        return false;
    }
    return peer_is_dead(&info);
}

/* It takes nothing, and others could use the room that it does not use. */
static bool in_the_way(const struct conn *c, int64_t now_mono_ns)
{
    const struct server *srv = c->srv;
    int64_t ms = (int64_t)srv->conf->stuck_ms;

    if (c->stuck_mono_ns == 0) {
        return false;
    }
    if (memory_is_out(srv)) {
        ms = ms < CONN_STUCK_OUT_MS ? ms : CONN_STUCK_OUT_MS;
    } else if (memory_used(srv, MEMORY_OUTPUT) <= srv->memory.output) {
        return false;
    }
    return now_mono_ns - c->stuck_mono_ns > ms * NS_PER_MS;
}

/* It began a small request and does not end it, while memory is scarce. */
static bool left_half(const struct conn *c, int64_t now_mono_ns)
{
    return c->state == CONN_READY && c->in.len > c->in_at && !c->stopped && !c->again &&
           now_mono_ns - c->half_mono_ns > CONN_STUCK_OUT_MS * NS_PER_MS && memory_is_tight(c->srv);
}

void conn_sweep(struct conn *c, int64_t now_mono_ns)
{
    if (now_mono_ns - c->opened_mono_ns > patience_ns(c)) {
        conn_close(c, c->state == CONN_FRESH ? "no_hello" : "ended");
        return;
    }
    if (lost_peer(c, now_mono_ns)) {
        conn_close(c, "peer_lost");
        return;
    }
    if (in_the_way(c, now_mono_ns)) {
        conn_close(c, "output_full");
        return;
    }
    if (left_half(c, now_mono_ns)) {
        conn_close(c, "input_full");
        return;
    }
    if (c->held_bytes > 0 && memory_used(c->srv, MEMORY_OUTPUT) > c->srv->memory.output) {
        subs_let_go(c);
        fetches_hurry(c);
    }
    if (c->stopped) {
        conn_resume(c); /* others may have made room */
    }
    if (!conn_output_full(c)) {
        subs_resume(c);
    }
    subs_look_again(c, NULL); /* a pause that ended while nobody could be told */
    fetches_look_again(c, NULL);
    if (!c->active) {
        conn_trim_input(c);
        if (conn_queued(c) == 0) {
            buf_fini(&c->ctl);
            free(c->out);
            c->out = NULL;
            c->out_cap = c->out_head = c->out_tail = 0;
        }
    }
    conn_account(c);
    c->active = false;
}
