/*
 * The public calls of producing and of the handle's life. Happy path of weir_send: queue with a
 * listener on the stack, turn until it was called. What can fail: see the header; a send whose time
 * is up is taken back when it was never sent, so RETRY is true.
 */
#include <stdlib.h>

#include "client/group.h"
#include "client/handle.h"
#include "client/io.h"
#include "proto/mpwrite.h"
#include "proto/msg_group.h"

enum { TURN_EVERY_MS = 1, FINISH_MS = 2000 };

weir *weir_open(const char *url, const char *options)
{
    struct weir *w = handle_new(url, options, clock_system(), clock_seed());

    if (w && !io_attach(w)) {
        handle_free(w);
        w = NULL;
    }
    return w;
}

/* Everything that has a result has it. */
static weir_error take_first_failure(struct weir *w)
{
    weir_error e = w->prod.first_failure;

    w->prod.first_failure = err_done();
    return e;
}

static weir_error flush(struct weir *w, int timeout_ms)
{
    int64_t until = clock_after_ms(handle_now(w), timeout_ms);
    weir_error e;

    w->prod.flushing = true;
    handle_timer(w, w->now_ns); /* open batches that linger go out now */
    producer_run_callbacks(w);
    while (w->prod.pending_messages > 0 && handle_now(w) < until && handle_wait(w, until)) {
    }
    w->prod.flushing = false;
    if (w->prod.pending_messages > 0) {
        e = err_make(WERR_TIMEOUT, "%zu messages still wait for their result",
                     w->prod.pending_messages);
        if (w->conn.state != CONN_READY) {
            weir_error why = handle_unreachable(w);

            err_wrap(&why, "%zu messages still wait", w->prod.pending_messages);
            memcpy(e.text, why.text, sizeof e.text);
        }
        return e;
    }
    return take_first_failure(w);
}

weir_error weir_flush(weir *w, int timeout_ms)
{
    weir_error e;

    if (!handle_enter(w, true, &e)) {
        return e;
    }
    e = handle_result(w, flush(w, timeout_ms));
    handle_leave(w);
    return e;
}

/* Members give back what they hold and leave. The first failure of all of them. */
static weir_error leave_groups(struct weir *w, int64_t until)
{
    weir_error e = err_done();
    struct weir_sub *s;
    bool open;

    do {
        open = false;
        TAILQ_FOREACH (s, &w->subs, link) {
            group_close(s);
            open = open || !group_closed(s);
        }
    } while (open && handle_now(w) < until && handle_wait(w, until));
    TAILQ_FOREACH (s, &w->subs, link) {
        if (s->g && e.outcome == WEIR_DONE) {
            e = s->g->first_failure;
        }
        if (s->g && e.outcome == WEIR_DONE && (commit_pending(s->g) || settle_pending(s->g))) {
            e = err_make(WERR_TIMEOUT, "group %s: what was given back is not all stored",
                         s->g->name);
        }
    }
    return e;
}

weir_error weir_close(weir *w, int timeout_ms)
{
    weir_error e = err_done(), left;
    int64_t until;

    if (!w) {
        return e;
    }
    if (w->in_callback || w->depth > 0) {
        if (!w->closing) {
            w->closing = true; /* freed when the outermost call returns */
        }
        return e;
    }
    if ((w->prod.pending_messages > 0 || !TAILQ_EMPTY(&w->subs)) && timeout_ms != 0 &&
        handle_enter(w, true, &e)) {
        until = clock_after_ms(w->now_ns, timeout_ms);
        e = flush(w, timeout_ms);
        left = leave_groups(w, until);
        e = e.outcome == WEIR_DONE ? left : e;
        w->depth--;
    } else {
        e = take_first_failure(w);
    }
    if (w->prod.pending_messages > 0 && e.outcome == WEIR_DONE) {
        e = err_make_as(WERR_CLOSED, WEIR_UNKNOWN, "%zu messages had no result yet",
                        w->prod.pending_messages);
    }
    if (w->farewells && timeout_ms != 0 && conn_ready(&w->conn)) {
        w->tr->finish(w, clock_after_ms(handle_now(w), timeout_ms > 0 && timeout_ms < FINISH_MS
                                                           ? timeout_ms
                                                           : FINISH_MS));
    }
    handle_free(w);
    return e;
}

weir_error weir_last_error(const weir *w)
{
    return w ? w->last_error : err_make(WERR_MISUSE, "the handle is NULL");
}

size_t weir_pending_bytes(const weir *w)
{
    return w ? w->prod.pending_bytes : 0;
}

size_t weir_pending_messages(const weir *w)
{
    return w ? w->prod.pending_messages : 0;
}

/* ---------------------------------------------------------------- one message */

/* UTF-8, not empty, not twice: what a consumer in any language can read. */
static bool check_headers(const weir_header *h, size_t n, weir_error *e)
{
    struct buf b = {.p = NULL};
    struct mpread r;
    size_t total = 0;
    bool good = n <= LIMIT_HEADERS;

    for (size_t i = 0; i < n && good; i++) {
        total += h[i].name.size + h[i].value.size;
        good = h[i].name.data && h[i].name.size > 0 && total <= LIMIT_HEADER_BYTES;
        if (!good) {
            break;
        }
        buf_clear(&b);
        mpw_str(&b, slice_of(h[i].name.data, h[i].name.size));
        mpread_init(&r, b.p, b.len);
        (void)mpread_str(&r, LIMIT_HEADER_BYTES);
        good = !b.failed && r.err == WERR_OK;
        for (size_t j = 0; j < i && good; j++) {
            good = !slice_eq(slice_of(h[i].name.data, h[i].name.size),
                             slice_of(h[j].name.data, h[j].name.size));
        }
    }
    buf_fini(&b);
    if (!good) {
        *e =
            err_make(n > LIMIT_HEADERS || total > LIMIT_HEADER_BYTES ? WERR_TOO_LARGE : WERR_MISUSE,
                     "headers: up to %d, %d bytes in all, names in UTF-8, none twice",
                     LIMIT_HEADERS, LIMIT_HEADER_BYTES);
    }
    return good;
}

/* Options of a call, whatever size the caller's struct has. */
static bool read_options(const weir_send_options *given, weir_send_options *o, weir_error *e)
{
    const weir_send_options usual = WEIR_SEND_OPTIONS;

    *o = usual;
    if (!given) {
        return true;
    }
    if (given->size < offsetof(weir_send_options, timestamp_ms) || given->size > 4096) {
        *e = err_make(WERR_MISUSE, "weir_send_options.size is not set");
        return false;
    }
    memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    if (o->partition < -1 || o->timestamp_ms < 0 || (o->n_headers > 0 && !o->headers)) {
        *e = err_make(WERR_MISUSE, "weir_send_options: partition %d, timestamp_ms %lld",
                      o->partition, (long long)o->timestamp_ms);
        return false;
    }
    if (o->delay_ms < 0 || o->deliver_at_ms < 0 || (o->delay_ms > 0 && o->deliver_at_ms > 0) ||
        o->delay_ms > LIMIT_DELAY_MS) {
        *e = err_make(
            WERR_MISUSE,
            "weir_send_options: delay_ms %lld (up to 366 days), deliver_at_ms %lld (one of "
            "both)",
            (long long)o->delay_ms, (long long)o->deliver_at_ms);
        return false;
    }
    return o->n_headers == 0 || check_headers(o->headers, o->n_headers, e);
}

static void put(struct weir *w, const char *topic, weir_bytes key, weir_bytes value,
                const weir_send_options *given, weir_sent_fn fn, void *user, int64_t deadline_ns,
                weir_error *e)
{
    struct record_header headers[LIMIT_HEADERS];
    weir_send_options o;
    struct outgoing m;

    if ((key.size && !key.data) || (value.size && !value.data)) {
        *e = err_make(WERR_MISUSE, "bytes with a size but without data");
        return;
    }
    if (!read_options(given, &o, e)) {
        return;
    }
    m = (struct outgoing){.topic = handle_topic(w, topic, e),
                          .partition = o.partition,
                          .timestamp_ms = o.timestamp_ms ? o.timestamp_ms : handle_wall_ms(w),
                          .deadline_ns = deadline_ns,
                          .key = slice_of(key.data, key.size),
                          .value = slice_of(value.data, value.size),
                          .headers = headers,
                          .n_headers = o.n_headers,
                          .listener = {fn, user},
                          .deliver_at_ms = o.deliver_at_ms};
    if (!m.topic) {
        return;
    }
    if (o.delay_ms > 0) {
        /* Once: resending changes nothing. One more, for our clock rounds down: never too early. */
        m.deliver_at_ms = handle_wall_ms(w) + o.delay_ms + 1;
    }
    for (size_t i = 0; i < o.n_headers; i++) {
        headers[i].name = slice_of(o.headers[i].name.data, o.headers[i].name.size);
        headers[i].value = slice_of(o.headers[i].value.data ? o.headers[i].value.data : "",
                                    o.headers[i].value.size);
    }
    producer_put(w, &m, e);
}

weir_error weir_send_async(weir *w, const char *topic, weir_bytes key, weir_bytes value,
                           const weir_send_options *o, weir_sent_fn fn, void *user)
{
    weir_error e;
    int64_t now;

    if (!handle_usable(w, &e)) {
        return e;
    }
    now = handle_now(w);
    conn_want(&w->conn, now);
    put(w, topic, key, value, o, fn, user, clock_after_ms(now, w->opt.send_timeout_ms), &e);
    /*
     * A caller that does not come back to its loop must not stop the flow: move bytes now and then,
     * and when the buffer is full. Results wait for a call that may run callbacks.
     */
    if (!w->in_callback && w->depth == 0 &&
        ((w->prod.dirty && now - w->prod.dirty_since_ns > TURN_EVERY_MS * CLOCK_NS_PER_MS) ||
         e.code == WEIR_E_BUFFER_FULL)) {
        w->tr->turn(w, now);
        w->turned_ns = w->now_ns;
    }
    if (e.outcome != WEIR_DONE) {
        w->last_error = e;
    }
    return e; /* the only variable returned: no 256 bytes are copied */
}

/* ---------------------------------------------------------------- blocking */

struct waiter {
    bool done;
    weir_error error;
};

static void on_sent(void *user, const weir_receipt *r)
{
    struct waiter *x = user;

    x->done = true;
    x->error = r->error;
}

static void forget_in(struct report *r, uint32_t n, const void *user)
{
    for (uint32_t i = 0; r && r->listeners && i < n; i++) {
        if (r->listeners[i].user == user && r->listeners[i].fn == on_sent) {
            r->listeners[i].fn = NULL;
        }
    }
}

/* The waiter's stack goes: nobody listens any more. */
static void forget_listener(struct weir *w, struct topic *t, const void *user)
{
    struct part *part;
    struct outbatch *b;
    struct report *r;
    struct waiting *m;

    TAILQ_FOREACH (part, &w->prod.busy, busy) {
        TAILQ_FOREACH (b, &part->q, link) {
            forget_in(b->report, b->count, user);
        }
    }
    TAILQ_FOREACH (r, &w->prod.reports, link) {
        forget_in(r, r->count, user);
    }
    TAILQ_FOREACH (m, &t->waiting, link) {
        if (m->listener.user == user && m->listener.fn == on_sent) {
            m->listener.fn = NULL;
        }
    }
}

weir_error weir_send(weir *w, const char *topic, weir_bytes key, weir_bytes value, int timeout_ms)
{
    struct waiter x = {.done = false};
    int64_t until;
    weir_error e, ignored;

    if (!handle_enter(w, true, &e)) {
        return e;
    }
    until =
        clock_after_ms(w->now_ns, timeout_ms < 0 ? (int64_t)w->opt.send_timeout_ms : timeout_ms);
    put(w, topic, key, value, NULL, on_sent, &x, until, &e);
    while (e.outcome == WEIR_DONE && !x.done && handle_wait(w, until)) {
        /* The message's own deadline ends it at `until` or, in a shared batch, a little earlier. */
        if (!x.done && handle_now(w) >= until + 100 * CLOCK_NS_PER_MS) {
            e = err_make(WERR_TIMEOUT, "no answer in time: it may have been stored");
        }
    }
    if (!x.done && e.outcome == WEIR_DONE) {
        e = err_make_as(WERR_CLOSED, WEIR_UNKNOWN, "the handle was closed");
    }
    if (x.done) {
        e = x.error;
    } else if (handle_topic(w, topic, &ignored)) {
        forget_listener(w, handle_topic(w, topic, &ignored), &x);
    }
    /* This call tells its own failure; weir_flush is for the others. */
    if (x.done && e.outcome != WEIR_DONE && w->prod.first_failure.code == e.code &&
        strcmp(w->prod.first_failure.text, e.text) == 0) {
        w->prod.first_failure = err_done();
    }
    e = handle_result(w, e);
    handle_leave(w);
    return e;
}

/* ---------------------------------------------------------------- event loops */

int weir_fd(const weir *w)
{
    return w && w->tr ? w->tr->fd(w) : -1;
}

int weir_timeout_ms(const weir *w)
{
    if (!w || w->bad.code != WEIR_OK) {
        return -1;
    }
    return clock_ms_until(w->clock.mono_ns(w->clock.arg), handle_deadline(w));
}

void weir_on_io(weir *w)
{
    weir_error e;

    if (!w || w->in_callback || w->depth > 0 || !handle_usable(w, &e)) {
        return;
    }
    w->depth++;
    (void)handle_wait(w, handle_now(w));
    handle_leave(w);
}

void weir_set_wakeup(weir *w, void (*fn)(void *arg), void *arg)
{
    if (w) {
        w->wakeup = fn;
        w->wakeup_arg = arg;
    }
}

void weir_set_log(weir *w, void (*fn)(void *arg, int level, const char *line), void *arg)
{
    if (w) {
        w->log = fn;
        w->log_arg = arg;
    }
}
