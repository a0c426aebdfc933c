/*
 * Input. Happy path: bytes arrive -> `in` (small frames) or `big` (one large frame, read straight
 * into a blob of its own) -> session_frame.
 *
 * What can fail: the peer, at any byte. Nothing is allocated from a length that a peer only claims:
 * buffers double as bytes arrive, and large frames that are still arriving share one budget over
 * all connections. Over a limit we stop reading; TCP does the rest. A connection gets so many
 * frames and bytes per turn of the loop; what is left waits for the next one.
 *
 * Who owns what: the conn owns `in` and `big`; a handler that keeps a large frame takes a reference
 * of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/clock.h"
#include "broker/conn_impl.h"
#include "broker/server.h"
#include "broker/session.h"
#include "proto/limits.h"

enum {
    READ_FIRST = 4 << 10,
    READ_BYTES = 64 << 10,
    BIG_FIRST = 64 << 10,
    BIG_STEP = 64 << 10, /* less of a large frame in JAM_MS is standing still */
    JAM_MS = 2 * 1000,
    TURN_NS = 1000 * 1000, /* some requests are a thousand times as much work as others */
};

/* What a connection has had of this turn. */
struct turn {
    unsigned frames;
    size_t bytes;
    int64_t until_mono_ns;
};

enum step {
    STEP_BYTES, /* more bytes are wanted */
    STEP_LATER, /* the turn is over, complete input is left */
    STEP_STOP,  /* a limit, or the end */
};

/* ---------------------------------------------------------------- the budget of large frames */

/* May `c` have `more` bytes? Otherwise it waits. The only large frame there is always may. */
static bool take_budget(struct conn *c, size_t more)
{
    struct server *srv = c->srv;

    if (srv->big_bytes + more > srv->memory.input && srv->big_bytes > (c->big ? c->big->n : 0)) {
        if (!c->hungry) {
            if (TAILQ_EMPTY(&srv->hungry)) {
                srv->big_freed_mono_ns = clock_mono_ns(); /* that long it may take from now on */
            }
            c->hungry = true;
            limit_hit(srv, HIT_INPUT, c->id);
            TAILQ_INSERT_TAIL(&srv->hungry, c, hungry_link);
        }
        return false;
    }
    srv->big_bytes += more;
    return true;
}

static void give_budget(struct server *srv, size_t n)
{
    struct conn *c;

    srv->big_bytes -= n;
    srv->big_freed_mono_ns = clock_mono_ns();
    while ((c = TAILQ_FIRST(&srv->hungry)) != NULL) { /* each asks again in its own turn */
        TAILQ_REMOVE(&srv->hungry, c, hungry_link);
        c->hungry = false;
        conn_resume(c);
    }
}

void conn_drop_big(struct conn *c)
{
    struct blob *b = c->big;

    if (b != NULL) {
        c->big = NULL;
        c->big_have = c->big_total = 0;
        TAILQ_REMOVE(&c->srv->bigs, c, big_link);
        give_budget(c->srv, b->n);
        blob_unref(b);
    }
}

/* Its large frame waits for its peer, not for the disk or for us. */
static bool waits_for_peer(const struct conn *c)
{
    return c->state != CONN_CLOSED && !c->starved && !c->again;
}

static void end_big(struct conn *c)
{
    log_line(&c->srv->log, LOG_WARN, "conn", "input_full", "conn=%llu have=%zu of=%zu",
             (unsigned long long)c->id, c->big_have, c->big_total);
    conn_close(c, "input_full");
}

void conn_unjam(struct server *srv, int64_t now_mono_ns)
{
    const int64_t since_ns = now_mono_ns - (int64_t)JAM_MS * 1000000;
    bool freed = srv->big_freed_mono_ns >= since_ns;
    struct conn *c;

    if (TAILQ_EMPTY(&srv->hungry)) {
        return;
    }
    TAILQ_FOREACH (c, &srv->bigs, big_link) { /* conn_close leaves the list as it is */
        if (waits_for_peer(c) && !c->hungry && c->big_moved_mono_ns < since_ns) {
            end_big(c);
            freed = true;
        }
    }
    c = TAILQ_FIRST(&srv->bigs);
    while (c != NULL && !waits_for_peer(c)) {
        c = TAILQ_NEXT(c, big_link);
    }
    if (c != NULL && !freed) {
        end_big(c);
    }
}

/* The rest of a frame that is too large for `in`. */
static enum step begin_big(struct conn *c, size_t total)
{
    size_t have = c->in.len - c->in_at;
    size_t first = total < BIG_FIRST ? total : BIG_FIRST;

    first = first > have ? first : have;
    if (!take_budget(c, first)) {
        return STEP_STOP;
    }
    c->big = blob_new(first);
    if (c->big == NULL) {
        c->srv->big_bytes -= first;
        conn_close(c, "no_memory");
        return STEP_STOP;
    }
    TAILQ_INSERT_TAIL(&c->srv->bigs, c, big_link);
    c->big_moved_mono_ns = clock_mono_ns();
    memcpy(c->big->p, c->in.p + c->in_at, have);
    c->big_have = c->big_seen = have;
    c->big_total = total;
    buf_clear(&c->in);
    c->in_at = 0;
    return STEP_BYTES;
}

/* Doubles the blob as bytes arrive, up to the frame's size. False: wait, or closed. */
static bool grow_big(struct conn *c)
{
    size_t n = c->big->n * 2 < c->big_total ? c->big->n * 2 : c->big_total;
    size_t more = n - c->big->n;
    struct blob *b;

    if (!take_budget(c, more)) {
        return false;
    }
    b = blob_resize(c->big, n);
    if (b == NULL) {
        c->srv->big_bytes -= more;
        conn_close(c, "no_memory");
        return false;
    }
    c->big = b;
    c->big_moved_mono_ns = clock_mono_ns(); /* it may have waited for us */
    return true;
}

/* ---------------------------------------------------------------- frames */

static void bad_frame(struct conn *c, const struct werror *e)
{
    unsigned swallowed;
    char why[LOG_TEXT];

    if (log_allowed(&c->srv->limit_bad, clock_mono_ns(), &swallowed)) {
        log_line(&c->srv->log, LOG_WARN, "conn", "frame_refused",
                 "conn=%llu client=\"%s\" why=\"%s\" swallowed=%u", (unsigned long long)c->id,
                 c->client, log_text(why, e->text, strlen(e->text)), swallowed);
    }
    conn_put_error(c, 0, e, NULL, 0);
    conn_end(c);
}

static bool turn_is_over(const struct turn *t)
{
    return t->frames >= CONN_TURN_FRAMES || (t->frames > 0 && clock_mono_ns() >= t->until_mono_ns);
}

/* Frames that lie complete in `in`. */
static enum step parse_small(struct conn *c, struct turn *t)
{
    while (conn_may_read(c)) {
        size_t left = c->in.len - c->in_at;
        size_t total;
        struct werror e;
        enum werr rc;

        if (left == 0) {
            return STEP_BYTES;
        }
        if (c->state == CONN_FRESH && c->in_total == left && !session_greet(c, c->in.p[c->in_at])) {
            return STEP_STOP;
        }
        rc = frame_length(c->in.p + c->in_at, left, session_frame_limit(c), &total, &e);
        if (rc == WERR_AGAIN) {
            return STEP_BYTES;
        }
        if (rc != WERR_OK) {
            if (rc == WERR_TOO_LARGE) {
                limit_hit(c->srv, HIT_FRAME, c->id);
            }
            bad_frame(c, &e);
            return STEP_STOP;
        }
        if (total > left) {
            return total <= CONN_SMALL_FRAME ? STEP_BYTES : begin_big(c, total);
        }
        if (turn_is_over(t)) {
            return STEP_LATER;
        }
        t->frames++;
        if (session_frame(c, slice_of(c->in.p + c->in_at + FRAME_HEAD, total - FRAME_HEAD), NULL) !=
            SESSION_OK) {
            return STEP_STOP;
        }
        c->in_at += total;
    }
    return STEP_STOP;
}

/* The large frame is complete: hand it over. */
static enum step finish_big(struct conn *c, struct turn *t)
{
    enum session_result rc;

    if (!conn_may_read(c)) {
        return STEP_STOP;
    }
    if (turn_is_over(t)) {
        return STEP_LATER;
    }
    t->frames++;
    rc = session_frame(c, slice_of(c->big->p + FRAME_HEAD, c->big_total - FRAME_HEAD), c->big);
    if (rc != SESSION_WAIT) {
        conn_drop_big(c); /* handlers took references of their own */
    }
    return rc == SESSION_OK ? STEP_BYTES : STEP_STOP;
}

/* Everything that lies here already. */
static enum step parse(struct conn *c, struct turn *t)
{
    enum step s = STEP_BYTES;

    if (c->big != NULL) {
        s = c->big_have == c->big_total ? finish_big(c, t) : STEP_BYTES;
    }
    if (s == STEP_BYTES && c->big == NULL) {
        s = parse_small(c, t);
    }
    if (c->in_at == c->in.len) {
        buf_clear(&c->in);
        c->in_at = 0;
    } else if (c->in_at > READ_BYTES) {
        buf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
    return s;
}

/* ---------------------------------------------------------------- bytes */

/* Where the next bytes go. False: wait, or closed. */
static bool room_for_more(struct conn *c, uint8_t **to, size_t *room)
{
    size_t want = READ_BYTES;

    if (c->big != NULL) {
        if (c->big_have == c->big->n && !grow_big(c)) {
            return false;
        }
        *to = c->big->p + c->big_have;
        *room = c->big->n - c->big_have;
        return true;
    }
    if (memory_is_tight(c->srv)) {
        want = READ_FIRST;
    } else if (c->in.len * 2 < READ_BYTES && c->in.cap < READ_BYTES) {
        want = c->in.len < READ_FIRST ? READ_FIRST : c->in.len;
    }
    if (!buf_reserve(&c->in, want)) {
        conn_close(c, "no_memory");
        return false;
    }
    *to = c->in.p + c->in.len;
    *room = c->in.cap - c->in.len;
    return true;
}

static void got_bytes(struct conn *c, size_t n)
{
    c->active = true;
    c->unheard_mono_ns = 0;
    c->heard_mono_ns = clock_mono_ns();
    c->in_total += n;
    c->srv->stats.bytes_in += n;
    if (c->big == NULL) {
        c->in.len += n;
        return;
    }
    c->big_have += n;
    if (c->big_have - c->big_seen >= BIG_STEP) {
        c->big_seen = c->big_have;
        c->big_moved_mono_ns = c->heard_mono_ns;
    }
}

/* One recv. False: nothing more is to be had now. */
static bool receive(struct conn *c, struct turn *t)
{
    uint8_t *to;
    size_t room;
    ssize_t n;

    if (!room_for_more(c, &to, &room)) {
        return false;
    }
    n = recv(c->fd, to, room, 0);
    if (n <= 0) {
        if (n == 0) {
            conn_close(c, "peer_closed");
        } else if (errno != EAGAIN && errno != EINTR) {
            conn_close(c, "read_error");
        }
        return false;
    }
    got_bytes(c, (size_t)n);
    t->bytes += (size_t)n;
    if (c->state == CONN_FRESH && c->in_total > LIMIT_INPUT_PREAUTH) {
        struct werror e;

        (void)werror_set(&e, WERR_TOO_LARGE, "over %d bytes before HELLO", LIMIT_INPUT_PREAUTH);
        limit_hit(c->srv, HIT_INPUT_BEFORE_HELLO, c->id);
        bad_frame(c, &e);
        return false;
    }
    return true;
}

static void take_turn(struct conn *c, bool from_socket)
{
    struct turn t = {.until_mono_ns = clock_mono_ns() + TURN_NS};
    enum step s = parse(c, &t); /* what a limit or a turn had left lying here */

    while (s == STEP_BYTES && from_socket && t.bytes < CONN_TURN_BYTES && conn_may_read(c)) {
        if (!receive(c, &t)) {
            break;
        }
        s = parse(c, &t);
    }
    if (s == STEP_LATER) {
        conn_later(c);
    }
    if (c->in.len == c->in_at || t.frames > 0) {
        c->half_mono_ns = 0;
    }
    if (c->in.len > c->in_at && c->half_mono_ns == 0) {
        c->half_mono_ns = clock_mono_ns();
    }
    if (c->state != CONN_CLOSED && c->in.len == 0 && c->in.cap > READ_FIRST) {
        buf_fini(&c->in);
    }
    conn_account(c);
    conn_set_interest(c);
}

void conn_trim_input(struct conn *c)
{
    uint8_t *p;

    if (c->in.len == 0) {
        buf_fini(&c->in);
        return;
    }
    if (c->in_at > 0) {
        buf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
    if (c->in.cap > 2 * c->in.len && c->in.cap > READ_FIRST) {
        const size_t n = c->in.len > READ_FIRST ? c->in.len : READ_FIRST;
        p = realloc(c->in.p, n);
        if (p != NULL) {
            c->in.p = p;
            c->in.cap = n;
        }
    }
}

void conn_readable(struct conn *c)
{
    take_turn(c, true);
}

void conn_turn(struct conn *c)
{
    if (conn_may_read(c)) {
        take_turn(c, false);
    }
}
