/*
 * Happy path: encode a request, turn the transport until its answer is here, copy the answer,
 * decode. What can fail: no connection in time (UNREACHABLE, nothing was sent), no answer in time
 * or lost connection (UNKNOWN for requests that change something; reading ones are asked again).
 */
#include "client/admin.h"

#include <stdlib.h>

#include "client/handle.h"

enum { DEFAULT_MS = 30000 };

static void on_answer(struct req *r, const struct answer *a)
{
    struct call *c = r->arg;

    c->done = true;
    c->code = a->err.code;
    if (a->err.code == WERR_OK) {
        buf_clear(&c->result);
        buf_put(&c->result, a->result.p, (size_t)(a->result.end - a->result.p));
        c->error = c->result.failed ? err_make(WERR_NOMEM, "out of memory") : err_done();
        return;
    }
    c->error = err_from(&a->err, a->cls);
    if (r->repeat && c->error.outcome == WEIR_UNKNOWN) {
        c->error.outcome = WEIR_RETRY; /* nothing was to be changed */
    }
    if (a->err.code == WERR_UNREACHABLE) {
        c->error = handle_unreachable(c->w);
    }
}

static bool reserve(struct call *c)
{
    enum werr rc;

    c->done = false;
    buf_clear(&c->req.frame);
    rc = conn_prepare(&c->w->conn, &c->req);
    if (rc != WERR_OK) {
        c->error = err_make(rc, "too many requests are open");
    }
    return rc == WERR_OK;
}

bool call_begin(struct call *c, weir *w, bool repeat, int timeout_ms)
{
    *c = (struct call){.error = err_done()};
    if (!handle_enter(w, true, &c->error)) {
        return false;
    }
    c->w = w;
    c->req.done = on_answer;
    c->req.arg = c;
    c->req.repeat = repeat;
    c->req.deadline_mono_ns = clock_after_ms(w->now_ns, timeout_ms < 0 ? DEFAULT_MS : timeout_ms);
    return reserve(c);
}

bool call_again(struct call *c)
{
    return reserve(c);
}

bool call_run(struct call *c)
{
    struct weir *w = c->w;

    if (conn_submit(&w->conn, &c->req) != WERR_OK) {
        c->error = err_make(WERR_NOMEM, "out of memory");
        return false;
    }
    while (!c->done && handle_wait(w, c->req.deadline_mono_ns)) {
    }
    if (!c->done) {
        c->error = err_make_as(WERR_CLOSED, WEIR_UNKNOWN, "the handle was closed");
        return false;
    }
    mpread_init(&c->cur, c->result.p, c->result.len);
    return c->error.code == WEIR_OK;
}

bool call_broken(struct call *c, const struct werror *e)
{
    c->error = err_make_as(WERR_CORRUPT, c->req.repeat ? WEIR_RETRY : WEIR_UNKNOWN,
                           "the server broke the protocol: %s", e->text);
    return false;
}

weir_error call_end(struct call *c)
{
    weir_error e = c->error;

    if (c->w) {
        conn_cancel(&c->w->conn, &c->req);
        buf_fini(&c->req.frame);
        buf_fini(&c->result);
        e = handle_result(c->w, e);
        handle_leave(c->w);
    }
    return e;
}

/* ---------------------------------------------------------------- small requests */

weir_error weir_ping(weir *w, int64_t *rtt_us, int timeout_ms)
{
    struct call c;
    int64_t before;

    if (call_begin(&c, w, true, timeout_ms)) {
        while (w->conn.state != CONN_READY && handle_now(w) < c.req.deadline_mono_ns &&
               handle_wait(w, c.req.deadline_mono_ns)) {
        }
        before = handle_now(w);
        msg_put_ping(&c.req.frame, c.req.corr);
        if (call_run(&c) && rtt_us) {
            *rtt_us = (handle_now(w) - before) / 1000;
        }
    }
    return call_end(&c);
}

const char *weir_server_version(const weir *w)
{
    return w ? w->conn.server : "";
}

const char *weir_server_cluster(const weir *w)
{
    return w ? w->conn.cluster : "";
}

/* One question of LIST_OFFSETS. */
static bool ask_offset(struct call *c, const struct msg_offset_spec *spec, struct msg_offset *o)
{
    struct werror e = {0};
    uint32_t n = 0;

    msg_put_list_offsets(&c->req.frame, c->req.corr, spec, 1);
    if (!call_run(c)) {
        return false;
    }
    if (msg_get_list_offsets_ok(&c->cur, &n, &e) != WERR_OK ||
        (n >= 1 && msg_get_offset(&c->cur, o, &e) != WERR_OK)) {
        return call_broken(c, &e);
    }
    if (n != 1 || o->tid != spec->tid || o->p != spec->p) {
        werror_set(&e, WERR_MALFORMED, "list_offsets: another answer than was asked for");
        return call_broken(c, &e);
    }
    c->code = o->err.code;
    if (o->err.code != WERR_OK) {
        c->error = err_from_local(&o->err);
    }
    return o->err.code == WERR_OK;
}

weir_error weir_offset(weir *w, const char *topic, int32_t partition, int64_t spec, int64_t *offset,
                       int64_t *append_ms, int timeout_ms)
{
    struct call c;
    struct topic *t;
    struct msg_offset o = {0};
    bool found = false;

    if (!call_begin(&c, w, true, timeout_ms) || !(t = handle_topic(w, topic, &c.error))) {
        return call_end(&c);
    }
    if (spec < OFFSET_SPEC_END || partition < 0) {
        c.error =
            err_make(WERR_MISUSE, "partition %d, offset spec %lld", partition, (long long)spec);
        return call_end(&c);
    }
    for (int attempt = 0; attempt < 2 && !found; attempt++) {
        struct msg_offset_spec s;

        if (!handle_wait_topic(w, t, c.req.deadline_mono_ns, &c.error)) {
            break;
        }
        if ((uint32_t)partition >= t->n_parts) {
            c.error = err_make(WERR_UNKNOWN_TOPIC, "topic %s has no partition %d, only 0 to %u",
                               t->name, partition, t->n_parts - 1);
            break;
        }
        s = (struct msg_offset_spec){t->tid, (uint32_t)partition, spec};
        if (attempt > 0 && !call_again(&c)) {
            break;
        }
        found = ask_offset(&c, &s, &o);
        if (!found && c.code != WERR_UNKNOWN_TOPIC) {
            break;
        }
        if (!found) { /* what we knew is old: look again */
            t->valid = false;
            meta_want(w, t);
        }
    }
    if (found) {
        c.error = err_done();
        if (offset) {
            *offset = (int64_t)o.offset;
        }
        if (append_ms) {
            *append_ms = o.ts_ms;
        }
    }
    return call_end(&c);
}

weir_error weir_producer_position(weir *w, const char *topic, int32_t partition, int64_t *offset,
                                  int timeout_ms)
{
    const struct msg_producer_pos *pos;
    struct topic *t;
    int64_t until;
    weir_error e;

    if (!handle_enter(w, true, &e)) {
        return e;
    }
    until = clock_after_ms(w->now_ns, timeout_ms < 0 ? DEFAULT_MS : timeout_ms);
    if (!w->opt.producer[0] || partition < 0) {
        e = err_make(WERR_MISUSE, "the handle has no option producer=NAME, or partition %d",
                     partition);
    } else if ((t = handle_topic(w, topic, &e)) && handle_wait_topic(w, t, until, &e)) {
        if (w->prod.pid_state == PID_NONE) {
            pid_want(w);
        }
        while (w->prod.pid_state != PID_READY && w->prod.fatal.outcome == WEIR_DONE &&
               handle_now(w) < until && handle_wait(w, until)) {
        }
        if (w->prod.fatal.outcome != WEIR_DONE) {
            e = w->prod.fatal;
        } else if (w->prod.pid_state != PID_READY) {
            e = w->conn.state == CONN_READY
                    ? err_make_as(WERR_TIMEOUT, WEIR_RETRY, "the producer is not registered yet")
                    : handle_unreachable(w);
        } else {
            pos = pid_position(&w->prod, t->tid, (uint32_t)partition);
            e = err_done();
            if (offset) {
                *offset = pos ? (int64_t)pos->last_offset : -1;
            }
        }
    }
    e = handle_result(w, e);
    handle_leave(w);
    return e;
}

struct metric_reader {
    void (*fn)(void *user, const char *name, const char *label, const char *label_value,
               uint64_t value);
    void *user;
};

static void copy_text(char *to, size_t size, struct slice s)
{
    size_t n = s.n < size ? s.n : size - 1;

    if (s.p) {
        memcpy(to, s.p, n);
    }
    to[s.p ? n : 0] = 0;
}

static bool read_metrics(struct call *c, const struct metric_reader *reader)
{
    struct slice name, label, label_value;
    char texts[3][128];
    struct werror e = {0};
    uint64_t value;
    uint32_t n = 0;
    enum werr rc = msg_get_metrics_ok(&c->cur, &n, &e);

    for (uint32_t i = 0; i < n && rc == WERR_OK && !c->w->closing; i++) {
        rc = msg_get_metric(&c->cur, &name, &label, &label_value, &value, &e);
        if (rc == WERR_OK) {
            copy_text(texts[0], sizeof texts[0], name);
            copy_text(texts[1], sizeof texts[1], label);
            copy_text(texts[2], sizeof texts[2], label_value);
            c->w->in_callback = true;
            reader->fn(reader->user, texts[0], texts[1], texts[2], value);
            c->w->in_callback = false;
        }
    }
    return rc == WERR_OK || call_broken(c, &e);
}

weir_error weir_metrics(weir *w, const char *prefix,
                        void (*fn)(void *user, const char *name, const char *label,
                                   const char *label_value, uint64_t value),
                        void *user, int timeout_ms)
{
    const struct metric_reader reader = {fn, user};
    struct call c;

    if (call_begin(&c, w, true, timeout_ms)) {
        msg_put_metrics(&c.req.frame, c.req.corr, slice_str(prefix ? prefix : ""));
        if (!fn) {
            c.error = err_make(WERR_MISUSE, "fn is NULL");
        } else if (call_run(&c)) {
            (void)read_metrics(&c, &reader);
        }
    }
    return call_end(&c);
}
