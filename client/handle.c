/*
 * Happy path: a public call enters, works, waits in turns of the transport, runs callbacks, leaves.
 * What can fail: the handle was opened with a bad URL (every call says so), a blocking call inside
 * a callback (MISUSE), a close inside a callback (the handle is freed by the outermost
 * handle_leave). Owns all parts of the client; freed by handle_free only.
 */
#include "client/handle.h"

#include <stdlib.h>

#include "client/group.h"

static void on_ready(void *arg)
{
    struct weir *w = arg;

    meta_refresh_all(w);
    producer_on_ready(w);
}

static void on_lost(void *arg, const struct werror *e)
{
    struct weir *w = arg;
    weir_sub *s;

    w->last_error = err_from_local(e);
    producer_on_lost(w);
    TAILQ_FOREACH (s, &w->subs, link) {
        sub_on_lost(s);
    }
}

static void on_changed(struct weir *w, struct frame *f)
{
    struct slice kind, name;
    struct topic *t;
    struct werror e;

    if (msg_get_changed(&f->args, &kind, &name, &e) != WERR_OK) {
        return; /* a hint only */
    }
    if (slice_eq(kind, slice_str("group"))) {
        group_on_changed(w, name);
        return;
    }
    TAILQ_FOREACH (t, &w->meta.topics, link) {
        if (name.n == 0 || slice_eq(name, slice_of(t->name, t->name_len))) {
            meta_refresh(w, t);
        }
    }
}

static void on_notify(void *arg, struct frame *f, struct slice body, struct blob *owner)
{
    struct weir *w = arg;

    if (f->op == OP_CHANGED) {
        on_changed(w, f);
    } else if (f->op == OP_DELIVER) {
        sub_on_deliver(w, f, body, owner);
    } else if (f->op == OP_SUB_ERROR) {
        sub_on_error(w, f);
    } /* notifies of later versions are ignored */
}

static void on_log(void *arg, int level, const char *line)
{
    struct weir *w = arg;

    if (w->log) {
        w->log(w->log_arg, level, line);
    }
}

static const struct conn_events events = {on_ready, on_lost, on_notify, on_log};

struct weir *handle_new(const char *url, const char *options, struct clock_source clock,
                        uint64_t seed)
{
    struct weir *w = calloc(1, sizeof *w);
    struct conn_config conf;
    struct werror e = {0};

    if (!w) {
        return NULL;
    }
    options_defaults(&w->opt);
    w->bad = err_done();
    w->last_error = err_done();
    if (options_parse(&w->opt, options, ' ', &e) != WERR_OK ||
        url_parse(&w->url, url, &w->opt, &e) != WERR_OK) {
        w->bad = err_from_local(&e);
        w->last_error = w->bad;
    }
    w->clock = clock;
    w->timer_ns = CLOCK_NEVER;
    handle_now(w);
    TAILQ_INIT(&w->subs);
    meta_init(&w->meta);
    conf = (struct conn_config){w->opt.client_id, w->opt.connect_timeout_ms,
                                w->opt.reconnect_min_ms, w->opt.reconnect_max_ms};
    conn_init(&w->conn, &conf, &events, w, seed);
    producer_init(&w->prod);
    w->prod.sticky_seed = (uint32_t)conn_random(&w->conn);
    return w;
}

void handle_free(struct weir *w)
{
    weir_sub *s;

    w->closing = true;
    while ((s = TAILQ_FIRST(&w->subs))) {
        sub_free(s);
    }
    if (w->tr) {
        w->tr->push(w); /* what subscriptions said on leaving */
        w->tr->close(w);
    }
    producer_close(w);
    conn_fini(&w->conn);
    producer_fini(w);
    meta_fini(&w->meta);
    zstd_ctx_free(w->zstd);
    free(w);
}

int64_t handle_now(struct weir *w)
{
    int64_t now = w->clock.mono_ns(w->clock.arg);

    /* The wall clock is looked at every 10 ms at most. */
    if (w->wall_ahead_ms == 0 || now - w->now_ns > 10 * CLOCK_NS_PER_MS) {
        w->wall_ahead_ms = w->clock.wall_ms(w->clock.arg) - now / CLOCK_NS_PER_MS;
    }
    w->now_ns = now;
    return now;
}

int64_t handle_wall_ms(const struct weir *w)
{
    return w->now_ns / CLOCK_NS_PER_MS + w->wall_ahead_ms;
}

void handle_timer(struct weir *w, int64_t t_ns)
{
    w->timer_ns = t_ns < w->timer_ns ? t_ns : w->timer_ns;
}

void handle_dirty(struct weir *w)
{
    if (!w->prod.dirty) {
        w->prod.dirty = true;
        w->prod.dirty_since_ns = w->now_ns;
        if (w->wakeup) {
            w->wakeup(w->wakeup_arg);
        }
    }
}

void handle_step(struct weir *w)
{
    weir_sub *s;
    int64_t now = handle_now(w);

    conn_tick(&w->conn, now);
    if (now >= w->timer_ns) {
        w->timer_ns = CLOCK_NEVER;
        producer_tick(w);
    }
    meta_step(w);
    producer_step(w);
    TAILQ_FOREACH (s, &w->subs, link) {
        sub_step(s);
    }
}

int64_t handle_deadline(const struct weir *w)
{
    int64_t t = conn_deadline(&w->conn), tr = w->tr ? w->tr->deadline(w) : CLOCK_NEVER;

    t = tr < t ? tr : t;
    t = w->timer_ns < t ? w->timer_ns : t;
    return producer_wants_step(w) || subs_want_step(w) ? w->now_ns : t;
}

void handle_topic_changed(struct weir *w, struct topic *t)
{
    weir_sub *s;

    producer_on_topic(w, t);
    TAILQ_FOREACH (s, &w->subs, link) {
        sub_on_topic(s, t);
    }
}

/* ---------------------------------------------------------------- calls */

bool handle_usable(const struct weir *w, weir_error *e)
{
    if (!w) {
        *e = err_make(WERR_MISUSE, "the handle is NULL");
    } else if (w->bad.code != WEIR_OK) {
        *e = w->bad;
    } else if (w->closing) {
        *e = err_make(WERR_CLOSED, "the handle is being closed");
    } else {
        return true;
    }
    return false;
}

bool handle_enter(struct weir *w, bool blocking, weir_error *e)
{
    if (!handle_usable(w, e)) {
        return false;
    }
    if (blocking && w->in_callback) {
        *e = err_make(WERR_MISUSE, "a call that waits is not possible inside a callback");
        return false;
    }
    w->depth++;
    conn_want(&w->conn, handle_now(w));
    return true;
}

void handle_leave(struct weir *w)
{
    w->depth--;
    if (w->depth == 0 && w->closing) {
        handle_free(w);
    }
}

bool handle_wait(struct weir *w, int64_t until_ns)
{
    w->tr->turn(w, until_ns);
    w->turned_ns = w->now_ns;
    producer_run_callbacks(w);
    subs_run_callbacks(w);
    return !w->closing;
}

weir_error handle_result(struct weir *w, weir_error e)
{
    if (e.outcome != WEIR_DONE) {
        w->last_error = e;
    }
    return e;
}

struct zstd_ctx *handle_zstd(struct weir *w)
{
    w->zstd = w->zstd ? w->zstd : zstd_ctx_new();
    return w->zstd;
}

weir_error handle_unreachable(const struct weir *w)
{
    const struct werror *last = &w->conn.last;

    return err_make(WERR_UNREACHABLE, "not connected%s%s", last->code ? ": " : "", last->text);
}

struct topic *handle_topic(struct weir *w, const char *name, weir_error *e)
{
    struct slice s = slice_str(name ? name : "");
    struct topic *t = w->meta.last;
    struct werror we = {0};

    if (t && t->name_len == s.n && memcmp(t->name, s.p, s.n) == 0) {
        return t;
    }
    if (name_check(s, true, &we) != WERR_OK) {
        *e = err_from_local(&we);
        err_wrap(e, "topic");
        return NULL;
    }
    t = meta_topic(&w->meta, name, s.n);
    if (!t) {
        *e = err_make(WERR_NOMEM, "out of memory");
    }
    return t;
}

bool handle_wait_topic(struct weir *w, struct topic *t, int64_t until_ns, weir_error *e)
{
    meta_want(w, t);
    while (!t->valid && t->state != TOPIC_FAILED) {
        if (handle_now(w) >= until_ns) {
            *e = w->conn.state == CONN_READY
                     ? err_make_as(WERR_TIMEOUT, WEIR_RETRY, "no metadata of topic %s in time",
                                   t->name)
                     : handle_unreachable(w);
            return false;
        }
        if (!handle_wait(w, until_ns)) {
            *e = err_make(WERR_CLOSED, "the handle was closed");
            return false;
        }
    }
    if (!t->valid) {
        *e = err_from(&t->err, t->err_class);
        return false;
    }
    return true;
}
