/*
 * Happy path: conn_want -> transport connects -> conn_opened writes HELLO -> its answer makes the
 * connection READY and flushes what was queued -> answers find their request by id.
 * What can fail: the transport, a peer that breaks the rules (conn_break), a request whose time is
 * up, a peer that is silent while something is due (PING, then lost). Requests marked `repeat` wait
 * for the next connection, all others end with CONNECTION_LOST.
 * Ownership: requests belong to whoever submits them; the conn owns ids, buffers and the output
 * list; bodies are borrowed. An answer before the last byte of its request was written is refused,
 * so a borrowed body can't be freed while it is in the output.
 */
#include "client/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

static void hello_done(struct req *r, const struct answer *a);

void conn_init(struct conn *c, const struct conn_config *conf, const struct conn_events *ev,
               void *arg, uint64_t seed)
{
    memset(c, 0, sizeof *c); /* too big for a compound literal */
    c->conf = *conf;
    c->ev = ev;
    c->arg = arg;
    c->rng = seed | 1;
    c->retry_mono_ns = c->hello_deadline_mono_ns = c->away_mono_ns = CLOCK_NEVER;
    TAILQ_INIT(&c->queued);
    TAILQ_INIT(&c->sent);
    TAILQ_INIT(&c->bodies);
}

uint64_t conn_random(struct conn *c)
{
    c->rng ^= c->rng << 13;
    c->rng ^= c->rng >> 7;
    c->rng ^= c->rng << 17;
    return c->rng;
}

static void say(struct conn *c, int level, const char *what, const char *why)
{
    char line[320];

    snprintf(line, sizeof line, "%s%s%s", what, why[0] ? ": " : "", why);
    c->ev->log(c->arg, level, line);
}

/* ---------------------------------------------------------------- requests */

static void slot_free(struct conn *c, struct req *r)
{
    if (c->slots[r->corr % CONN_SLOTS] == r) {
        c->slots[r->corr % CONN_SLOTS] = NULL;
        c->n_slots--;
    }
    r->state = REQ_FREE;
}

enum werr conn_prepare(struct conn *c, struct req *r)
{
    if (c->n_slots >= CONN_SLOTS - 1) {
        return WERR_OVERLOADED;
    }
    do {
        c->next_corr++;
    } while (c->slots[c->next_corr % CONN_SLOTS]);
    r->corr = c->next_corr;
    c->slots[r->corr % CONN_SLOTS] = r;
    c->n_slots++;
    return WERR_OK;
}

/* Takes r off its list and out of the table, then tells its owner. */
static void finish(struct conn *c, struct req *r, const struct answer *a)
{
    if (r->state == REQ_QUEUED) {
        TAILQ_REMOVE(&c->queued, r, link);
    } else if (r->state == REQ_SENT && r->body) {
        TAILQ_REMOVE(&c->bodies, r, link);
    } else if (r->state == REQ_SENT) {
        TAILQ_REMOVE(&c->sent, r, link);
    }
    slot_free(c, r);
    r->done(r, a);
}

static void finish_local(struct conn *c, struct req *r, enum werr code, const char *why)
{
    struct answer a = {.cls = werr_class(code)};

    werror_set(&a.err, code, "%s%s%s", werr_text(code), why[0] ? ": " : "", why);
    finish(c, r, &a);
}

/* Room for three more runs and n more small bytes, so that a frame is never half in the output. */
static bool out_reserve(struct conn *c, size_t n)
{
    if (c->n_runs + 3 > c->cap_runs) {
        size_t cap = c->cap_runs ? c->cap_runs * 2 : 64;
        struct outrun *runs = realloc(c->runs, cap * sizeof *runs);

        if (!runs) {
            return false;
        }
        c->runs = runs;
        c->cap_runs = cap;
    }
    if (!buf_reserve(&c->small, n)) {
        c->small.failed = false; /* what is there stays good */
        return false;
    }
    return true;
}

/* ext NULL: n bytes that the caller puts into `small`. Room was reserved. */
static void run_push(struct conn *c, const uint8_t *ext, size_t n)
{
    struct outrun *last = c->runs && c->n_runs > c->run_first ? &c->runs[c->n_runs - 1] : NULL;

    if (!ext && last && !last->ext) {
        last->n += n;
    } else if (c->runs) { /* always: it was reserved */
        c->runs[c->n_runs++] = (struct outrun){ext, n};
    }
    c->out_total += n;
}

/* Copies bytes into the output. */
static bool out_small(struct conn *c, struct slice s)
{
    if (!out_reserve(c, s.n)) {
        return false;
    }
    run_push(c, NULL, s.n);
    buf_put(&c->small, s.p, s.n);
    return true;
}

static bool answers_due(const struct conn *c)
{
    return !TAILQ_EMPTY(&c->sent) || !TAILQ_EMPTY(&c->bodies);
}

static void mark_sent(struct conn *c, struct req *r)
{
    c->due_begins = c->due_begins || !answers_due(c);
    r->state = REQ_SENT;
    r->out_end = c->out_total;
    if (r->body) {
        TAILQ_INSERT_TAIL(&c->bodies, r, link);
    } else {
        TAILQ_INSERT_TAIL(&c->sent, r, link);
    }
}

enum werr conn_submit(struct conn *c, struct req *r)
{
    if (r->frame.failed) {
        slot_free(c, r);
        return WERR_NOMEM;
    }
    if (conn_ready(c) && out_small(c, buf_slice(&r->frame))) {
        mark_sent(c, r);
    } else {
        r->state = REQ_QUEUED;
        TAILQ_INSERT_TAIL(&c->queued, r, link);
    }
    return WERR_OK;
}

enum werr conn_submit_body(struct conn *c, struct req *r, struct slice head, struct slice body,
                           struct slice tail)
{
    if (!out_reserve(c, head.n + tail.n)) {
        slot_free(c, r);
        return WERR_NOMEM;
    }
    run_push(c, NULL, head.n);
    buf_put(&c->small, head.p, head.n);
    run_push(c, body.p, body.n);
    if (tail.n > 0) {
        run_push(c, NULL, tail.n);
        buf_put(&c->small, tail.p, tail.n);
    }
    r->body = true;
    mark_sent(c, r);
    return WERR_OK;
}

void conn_notify(struct conn *c, struct slice frame)
{
    if (conn_ready(c)) {
        (void)out_small(c, frame);
    }
}

void conn_cancel(struct conn *c, struct req *r)
{
    if (r->state == REQ_QUEUED) {
        TAILQ_REMOVE(&c->queued, r, link);
        slot_free(c, r);
    } else if (r->state == REQ_SENT) {
        TAILQ_REMOVE(&c->sent, r, link);
        c->slots[r->corr % CONN_SLOTS] = &c->tombstone; /* its answer may still come */
        r->state = REQ_FREE;
    } else {
        slot_free(c, r); /* prepared, perhaps, but never submitted */
    }
}

static void flush_queued(struct conn *c)
{
    struct req *r;

    while (conn_ready(c) && (r = TAILQ_FIRST(&c->queued)) && out_small(c, buf_slice(&r->frame))) {
        TAILQ_REMOVE(&c->queued, r, link);
        mark_sent(c, r);
    }
}

/* ---------------------------------------------------------------- life of a connection */

void conn_want(struct conn *c, int64_t now_ns)
{
    (void)now_ns;
    if (c->state == CONN_IDLE) {
        c->state = CONN_CONNECT;
    }
}

void conn_opened(struct conn *c, int64_t now_ns)
{
    const struct msg_hello m = {.proto = WEIR_PROTO_VERSION,
                                .client = slice_str(c->conf.client_id),
                                .version = slice_str(weir_version())};

    c->state = CONN_HELLO;
    c->heard_mono_ns = now_ns;
    c->hello_deadline_mono_ns = clock_after_ms(now_ns, c->conf.connect_timeout_ms);
    c->hello.done = hello_done;
    c->hello.arg = c;
    c->hello.deadline_mono_ns = CLOCK_NEVER;
    buf_clear(&c->hello.frame);
    if (conn_prepare(c, &c->hello) != WERR_OK) {
        return; /* the deadline ends this attempt */
    }
    msg_put_hello(&c->hello.frame, c->hello.corr, &m);
    if (c->hello.frame.failed || !out_small(c, buf_slice(&c->hello.frame))) {
        slot_free(c, &c->hello);
        return;
    }
    mark_sent(c, &c->hello);
}

static void copy_text(char *to, size_t size, struct slice s, const char *between, struct slice t)
{
    snprintf(to, size, "%.*s%s%.*s", (int)s.n, (const char *)s.p, between, (int)t.n,
             (const char *)t.p);
}

static void hello_done(struct req *r, const struct answer *a)
{
    struct conn *c = r->arg;
    struct mpread cur = a->result;
    struct msg_hello_ok m = {0};
    struct werror e = a->err;

    if (e.code == WERR_CONNECTION_LOST || e.code == WERR_CLOSED) {
        return;
    }
    if (e.code == WERR_OK && msg_get_hello_ok(&cur, &m, &e) == WERR_OK && m.auth_state != 0) {
        werror_set(&e, WERR_AUTH_REQUIRED, "the server wants authentication");
    }
    if (e.code != WERR_OK) {
        werror_wrap(&e, "hello");
        conn_break(c, c->heard_mono_ns, &e);
        return;
    }
    c->limits = m.limits;
    c->broker = m.broker;
    copy_text(c->server, sizeof c->server, m.server, " ", m.version);
    for (size_t i = 0; i < m.cluster_id.n && i < 16; i++) {
        snprintf(c->cluster + 2 * i, 3, "%02x", m.cluster_id.p[i]);
    }
    c->state = CONN_READY;
    c->hello_deadline_mono_ns = CLOCK_NEVER;
    c->ready_mono_ns = c->heard_mono_ns;
    say(c, 2, "connected", c->server);
    flush_queued(c);
    c->ev->ready(c->arg);
}

/* Answers of the old connection will not come: end or requeue what was sent. */
static void abandon_sent(struct conn *c, const struct werror *e)
{
    struct req_list sent = TAILQ_HEAD_INITIALIZER(sent);
    struct req *r;

    for (size_t i = 0; i < CONN_SLOTS; i++) {
        if (c->slots[i] == &c->tombstone) {
            c->slots[i] = NULL;
            c->n_slots--;
        }
    }
    TAILQ_CONCAT(&sent, &c->sent, link);
    TAILQ_CONCAT(&sent, &c->bodies, link);
    while ((r = TAILQ_LAST(&sent, req_list))) {
        TAILQ_REMOVE(&sent, r, link);
        if (r->repeat) {
            r->state = REQ_QUEUED;
            TAILQ_INSERT_HEAD(&c->queued, r, link);
            continue;
        }
        r->state = REQ_FREE; /* on no list */
        finish_local(c, r, WERR_CONNECTION_LOST, e->text);
    }
}

void conn_lost(struct conn *c, int64_t now_ns, const struct werror *e)
{
    bool lasted = c->state == CONN_READY &&
                  now_ns - c->ready_mono_ns > (int64_t)c->conf.reconnect_max_ms * CLOCK_NS_PER_MS;
    uint32_t shift;
    uint64_t wait_ms;

    if (c->state == CONN_IDLE || c->state == CONN_BACKOFF) {
        return;
    }
    c->last = *e;
    c->generation++;
    c->attempts = lasted ? 0 : c->attempts;
    shift = c->attempts < 16 ? c->attempts : 16;
    c->attempts++;
    wait_ms = (uint64_t)c->conf.reconnect_min_ms << shift;
    wait_ms = wait_ms < c->conf.reconnect_max_ms ? wait_ms : c->conf.reconnect_max_ms;
    wait_ms = wait_ms / 2 + conn_random(c) % (wait_ms / 2 + 1);
    c->state = CONN_BACKOFF;
    c->retry_mono_ns = clock_after_ms(now_ns, (int64_t)wait_ms);
    c->hello_deadline_mono_ns = c->away_mono_ns = CLOCK_NEVER;
    c->pinged = false;
    rx_clear(&c->rx);
    buf_clear(&c->small);
    c->small_at = c->run_first = c->n_runs = 0;
    c->out_total = c->written_total = 0;
    say(c, 1, "connection lost", e->text);
    abandon_sent(c, e);
    c->ev->lost(c->arg, &c->last);
}

void conn_break(struct conn *c, int64_t now_ns, const struct werror *e)
{
    conn_lost(c, now_ns, e);
}

void conn_fini(struct conn *c)
{
    struct req *r;

    c->state = CONN_IDLE;
    while ((r = TAILQ_FIRST(&c->bodies)) || (r = TAILQ_FIRST(&c->sent)) ||
           (r = TAILQ_FIRST(&c->queued))) {
        finish_local(c, r, WERR_CLOSED, "");
    }
    buf_fini(&c->hello.frame);
    buf_fini(&c->ping.frame);
    buf_fini(&c->small);
    rx_fini(&c->rx);
    free(c->runs);
    c->runs = NULL;
    c->run_first = c->n_runs = c->cap_runs = 0;
}

/* ---------------------------------------------------------------- input */

uint8_t *conn_space(struct conn *c, size_t *n)
{
    return rx_space(&c->rx, n);
}

static enum werr on_response(struct conn *c, struct frame *f, struct werror *e)
{
    struct req *r = c->slots[f->id % CONN_SLOTS];
    struct answer a = {.result = f->args};
    enum werr rc;

    if (r == &c->tombstone) {
        c->slots[f->id % CONN_SLOTS] = NULL;
        c->n_slots--;
        return WERR_OK;
    }
    if (!r || r->corr != f->id || r->state != REQ_SENT || r->out_end > c->written_total) {
        return werror_set(e, WERR_MALFORMED, "answer to request %u that was not asked", f->id);
    }
    rc = frame_get_error(f->err, &a.err, &a.cls);
    if (rc != WERR_OK) {
        return werror_set(e, rc, "error element that cannot be read");
    }
    if (a.err.code == WERR_DUP_UNKNOWN_OFFSET && !r->body) {
        return werror_set(e, WERR_MALFORMED, "'stored before' in answer to no PRODUCE");
    }
    a.raw_err = a.err.code != WERR_OK ? f->err : (struct slice){0};
    finish(c, r, &a);
    return WERR_OK;
}

static enum werr on_frame(struct conn *c, struct slice body, struct werror *e)
{
    struct frame f;
    struct slice reason;
    uint32_t deadline_ms;
    enum werr rc = frame_parse(body, &f, e);

    if (rc != WERR_OK) {
        return rc;
    }
    if (f.kind == FRAME_REQUEST) {
        return werror_set(e, WERR_MALFORMED, "a request came from the server");
    }
    if (f.kind == FRAME_RESPONSE) {
        return on_response(c, &f, e);
    }
    if (f.op == OP_GOING_AWAY) {
        rc = msg_get_going_away(&f.args, &reason, &deadline_ms, e);
        if (rc == WERR_OK && c->away_mono_ns == CLOCK_NEVER) {
            c->away_mono_ns = clock_after_ms(c->heard_mono_ns, deadline_ms);
            say(c, 2, "server goes away", "");
        }
        return rc;
    }
    c->ev->notify(c->arg, &f, body, c->rx.chunk);
    return WERR_OK;
}

void conn_received(struct conn *c, size_t n, int64_t now_ns)
{
    uint32_t generation = c->generation;
    struct werror e = {0};
    enum werr rc = WERR_OK;
    struct slice body;

    c->heard_mono_ns = now_ns;
    rx_filled(&c->rx, n);
    while (c->generation == generation && rc == WERR_OK) {
        size_t limit = c->state == CONN_READY ? LIMIT_FRAME : LIMIT_FRAME_PREAUTH;

        rc = rx_next(&c->rx, limit, &body, &e);
        if (rc == WERR_OK) {
            rc = on_frame(c, body, &e);
        }
    }
    if (c->generation == generation && rc != WERR_AGAIN) {
        werror_wrap(&e, "the server broke the protocol");
        conn_break(c, now_ns, &e);
    }
}

/* ---------------------------------------------------------------- output */

size_t conn_output(const struct conn *c, struct iovec *v, size_t max)
{
    size_t at = c->small_at, n = 0;

    for (size_t i = c->run_first; i < c->n_runs && n < max; i++) {
        const struct outrun *run = &c->runs[i];

        v[n].iov_base = (void *)(uintptr_t)(run->ext ? run->ext : c->small.p + at);
        v[n].iov_len = run->n;
        at += run->ext ? 0 : run->n;
        n++;
    }
    return n;
}

bool conn_has_output(const struct conn *c)
{
    return c->run_first < c->n_runs;
}

void conn_written(struct conn *c, size_t n)
{
    c->written_total += n;
    while (n > 0) {
        struct outrun *run = &c->runs[c->run_first];
        size_t part = n < run->n ? n : run->n;

        c->small_at += run->ext ? 0 : part;
        run->ext = run->ext ? run->ext + part : NULL;
        run->n -= part;
        n -= part;
        c->run_first += run->n == 0;
    }
    if (c->run_first == c->n_runs) {
        c->run_first = c->n_runs = 0;
        buf_clear(&c->small);
        c->small_at = 0;
    } else if (c->run_first > 256) {
        memmove(c->runs, c->runs + c->run_first, (c->n_runs - c->run_first) * sizeof *c->runs);
        c->n_runs -= c->run_first;
        c->run_first = 0;
    }
    if (c->small_at > RX_CHUNK / 4 && c->small_at > c->small.len / 2) {
        buf_consume(&c->small, c->small_at);
        c->small_at = 0;
    }
}

/* ---------------------------------------------------------------- time */

int64_t conn_deadline(const struct conn *c)
{
    int64_t t = c->state == CONN_BACKOFF ? c->retry_mono_ns : CLOCK_NEVER;
    const struct req *r;

    t = c->hello_deadline_mono_ns < t ? c->hello_deadline_mono_ns : t;
    t = c->away_mono_ns < t ? c->away_mono_ns : t;
    if (c->state == CONN_READY && answers_due(c)) {
        int64_t silent =
            clock_after_ms(c->heard_mono_ns, (c->pinged ? 2 : 1) * (int64_t)CONN_SILENCE_MS);

        t = silent < t ? silent : t;
    }
    TAILQ_FOREACH (r, &c->queued, link) {
        t = r->deadline_mono_ns < t ? r->deadline_mono_ns : t;
    }
    TAILQ_FOREACH (r, &c->sent, link) {
        t = r->deadline_mono_ns < t ? r->deadline_mono_ns : t;
    }
    return t;
}

static void ping_done(struct req *r, const struct answer *a)
{
    (void)r;
    (void)a;
}

static void watch_silence(struct conn *c, int64_t now_ns)
{
    int64_t silent_ms = (now_ns - c->heard_mono_ns) / CLOCK_NS_PER_MS;
    struct werror e;

    if (silent_ms < CONN_SILENCE_MS) {
        c->pinged = false;
        return;
    }
    if (c->pinged && silent_ms / 2 >= CONN_SILENCE_MS) {
        werror_set(&e, WERR_CONNECTION_LOST, "no answer for %lld ms", (long long)silent_ms);
        conn_lost(c, now_ns, &e);
        return;
    }
    if (c->pinged) {
        return;
    }
    c->pinged = true;
    if (c->ping.state == REQ_FREE) { /* else the last one is still to be answered, and will do */
        c->ping.done = ping_done;
        c->ping.deadline_mono_ns = CLOCK_NEVER;
        buf_clear(&c->ping.frame);
        if (conn_prepare(c, &c->ping) == WERR_OK) {
            msg_put_ping(&c->ping.frame, c->ping.corr);
            (void)!conn_submit(c, &c->ping);
        }
    }
}

static void expire(struct conn *c, int64_t now_ns)
{
    struct req *r, *next;

    for (r = TAILQ_FIRST(&c->queued); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->deadline_mono_ns <= now_ns) {
            finish_local(c, r, WERR_UNREACHABLE, c->last.text);
            next = TAILQ_FIRST(&c->queued); /* done() may have changed the list */
        }
    }
    for (r = TAILQ_FIRST(&c->sent); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->deadline_mono_ns <= now_ns) {
            struct answer a = {.cls = WCLASS_UNKNOWN};

            werror_set(&a.err, WERR_TIMEOUT, "%s", werr_text(WERR_TIMEOUT));
            conn_cancel(c, r);
            r->done(r, &a);
            next = TAILQ_FIRST(&c->sent);
        }
    }
}

void conn_tick(struct conn *c, int64_t now_ns)
{
    struct werror e;

    if (c->state == CONN_BACKOFF && now_ns >= c->retry_mono_ns) {
        c->state = CONN_CONNECT;
    }
    if (now_ns >= c->hello_deadline_mono_ns) {
        werror_set(&e, WERR_UNREACHABLE, "no answer to hello within %u ms",
                   c->conf.connect_timeout_ms);
        conn_lost(c, now_ns, &e);
    }
    if (c->away_mono_ns != CLOCK_NEVER && (!answers_due(c) || now_ns >= c->away_mono_ns)) {
        werror_set(&e, WERR_SHUTTING_DOWN, "the server went away");
        conn_lost(c, now_ns, &e);
    }
    if (c->due_begins) {
        c->due_begins = false;
        c->heard_mono_ns = now_ns; /* silence counts from the first unanswered request */
    }
    if (c->state == CONN_READY && answers_due(c)) {
        watch_silence(c, now_ns);
    }
    expire(c, now_ns);
}
