/*
 * Queue mode: messages in. Happy path: one ACQUIRE waits at the broker; its answer has whole
 * batches and the ranges in them that are leased to us; batches queue as received, and the next
 * ACQUIRE leaves when half of `prefetch` was handed out. So a worker has at most `prefetch`
 * messages that it does not work on. What can fail: a lost connection (the same attempt is asked
 * again and brings the same leases), an id whose name is not known (dead letters that came back:
 * looked up), damage (fatal).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/group.h"
#include "client/handle.h"

enum {
    ACQUIRE_WAIT_MS = 30000,
    ACQUIRE_RETRY_MS = 50,
    ACQUIRE_MIN_BYTES = 64 << 10,
    PREFETCH_MIN = 16,
    PACE_MS = 50,
};

void lot_unref(struct lot *lot)
{
    if (lot && --lot->refs == 0) {
        LIST_REMOVE(lot, link);
        free(lot);
    }
}

/* ---------------------------------------------------------------- answers */

static size_t words(uint64_t first, uint64_t last)
{
    return (size_t)((last - first) / 64 + 1);
}

/* The ranges of one entry, in one piece of memory with their bits and reasons. */
static struct lot *lot_new(struct weir_sub *s, const struct msg_acquired *a, struct sub_part *part,
                           uint64_t *messages, struct werror *e)
{
    struct mpread cur = a->ranges;
    struct msg_range g;
    size_t bits = 0, text = 0;
    uint64_t n = 0, end = 0;
    struct lot *lot;
    uint64_t *at;
    char *to;

    for (uint32_t i = 0; i < a->n_ranges; i++) {
        if (!msg_next_range(&cur, &g)) {
            werror_set(e, WERR_MALFORMED, "acquire: a range that cannot be read");
            return NULL;
        }
        n += g.last - g.first + 1;
        if (g.last < g.first || (i > 0 && g.first <= end) || n > LIMIT_ACQUIRE_MSGS) {
            werror_set(e, WERR_MALFORMED, "acquire: ranges that make no sense");
            return NULL;
        }
        end = g.last;
        bits += 2 * words(g.first, g.last);
        text += g.reason.n ? g.reason.n + 1 : 0;
    }
    lot = calloc(1, sizeof *lot + a->n_ranges * sizeof *lot->ranges + bits * sizeof *at + text);
    if (!lot) {
        werror_set(e, WERR_NOMEM, "out of memory");
        return NULL;
    }
    lot->n = a->n_ranges;
    at = (uint64_t *)(void *)&lot->ranges[lot->n];
    to = (char *)(at + bits);
    cur = a->ranges;
    for (uint32_t i = 0; i < lot->n && msg_next_range(&cur, &g); i++) {
        lot->ranges[i] = (struct lease_range){.first = g.first,
                                              .last = g.last,
                                              .lease = g.lease,
                                              .deliveries = g.deliveries,
                                              .part = part,
                                              .lot = lot,
                                              .done = at,
                                              .acks = at + words(g.first, g.last)};
        at += 2 * words(g.first, g.last);
        if (g.reason.n) {
            memcpy(to, g.reason.p, g.reason.n);
            lot->ranges[i].reason = to;
            to += g.reason.n + 1;
        }
    }
    *messages = n;
    LIST_INSERT_HEAD(&s->g->lots, lot, link);
    return lot;
}

/* One batch joins the queue, with the ranges from *r on that touch it. Counts what is leased. */
static bool take_batch(struct weir_sub *s, struct lot *lot, uint32_t *r, const struct batch_head *h,
                       struct slice bytes, struct blob *owner)
{
    uint64_t end = h->base_offset + h->count; /* the first behind it */
    struct rx_batch *b;
    uint64_t leased = 0;
    uint32_t n = 0;

    while (*r < lot->n && lot->ranges[*r].last < h->base_offset) {
        (*r)++;
    }
    while (*r + n < lot->n && lot->ranges[*r + n].first < end) {
        n++;
    }
    if (n == 0) {
        return true; /* nothing of it is ours */
    }
    b = calloc(1, sizeof *b);
    if (!b) {
        return false;
    }
    b->sub = s;
    b->part = lot->ranges[0].part;
    b->owner = blob_ref(owner);
    b->bytes = bytes;
    b->head = *h;
    b->lot = lot;
    b->ranges = &lot->ranges[*r];
    b->n_ranges = n;
    lot->refs++;
    for (uint32_t i = 0; i < n; i++) {
        const struct lease_range *g = &b->ranges[i];
        uint64_t from = g->first > h->base_offset ? g->first : h->base_offset;

        leased += (g->last < end ? g->last + 1 : end) - from;
    }
    b->share = bytes.n / h->count + 1;
    b->charged = (size_t)leased * b->share;
    s->outstanding += b->charged;
    s->g->unread += leased;
    /* NOLINTNEXTLINE(clang-analyzer-*): never NULL here */
    if (b->part->topic->topic) {
        TAILQ_INSERT_TAIL(&s->queue, b, link);
    } else {
        TAILQ_INSERT_TAIL(&s->g->limbo, b, link);
    }
    return true;
}

/* Dead letters that were given back to the group come from a topic that nobody asked for. */
static void learn_names(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    char name[LIMIT_TOPIC_NAME + 1];

    g->learn = true;
    for (size_t i = 0; i < g->n_topics; i++) {
        int n = snprintf(name, sizeof name, "%.*s~%s~dlq", LIMIT_NAME, g->topics[i]->name, g->name);
        struct topic *t = meta_topic(&s->w->meta, name, (size_t)n);

        meta_refresh(s->w, g->topics[i]);
        if (t) {
            t->valid = false; /* what is known of it may be old */
            meta_want(s->w, t);
        }
    }
}

static struct sub_part *part_of(struct weir_sub *s, uint64_t tid, uint32_t p)
{
    struct sub_topic *st = sub_topic_find(s, tid);
    struct sub_part *part;

    if (!st) {
        st = sub_topic_add(s, tid, group_topic_of(s, tid));
        if (st && !st->topic) {
            learn_names(s);
        }
    }
    part = st ? sub_part_find(s, tid, p) : NULL;
    return st && !part ? sub_part_add(s, st, p) : part;
}

/* False: *e tells; NOMEM, CORRUPT, or a broken protocol. */
static bool take_entry(struct weir_sub *s, const struct msg_acquired *a, struct blob *owner,
                       uint64_t *messages, struct werror *e)
{
    struct sub_part *part = part_of(s, a->tid, a->p);
    struct slice run = a->batches, bytes;
    struct batch_head h;
    uint64_t n = 0;
    uint32_t r = 0;
    enum werr rc;
    struct lot *lot;

    if (!part) {
        werror_set(e, WERR_NOMEM, "out of memory");
        return false;
    }
    lot = lot_new(s, a, part, &n, e);
    if (!lot) {
        return false;
    }
    *messages += n;
    lot->refs++; /* ours, until the batches have theirs */
    while ((rc = batch_next(&run, true, &h, &bytes, e)) == WERR_OK) {
        if (!take_batch(s, lot, &r, &h, bytes, owner)) {
            rc = werror_set(e, WERR_NOMEM, "out of memory");
            break;
        }
    }
    lot_unref(lot);
    return rc == WERR_NOT_FOUND;
}

static void take_all(struct weir_sub *s, struct mpread *cur)
{
    struct blob *owner = s->w->conn.rx.chunk, *copy = NULL;
    struct mpread at = *cur;
    struct msg_acquired a;
    struct werror e = {0};
    uint64_t messages = 0;
    uint32_t n = 0;
    bool good = true;
    weir_error err;

    if ((size_t)(cur->end - cur->start) < owner->n / 8) { /* don't pin a big chunk */
        copy = blob_copy(cur->start, (size_t)(cur->end - cur->start));
        owner = copy;
        if (!copy) {
            sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
            return;
        }
        at = (struct mpread){.start = copy->p,
                             .p = copy->p + (cur->p - cur->start),
                             .end = copy->p + (cur->end - cur->start)};
    }
    if (msg_get_acquire_ok(&at, &n, &e) != WERR_OK) {
        good = false;
    }
    for (uint32_t i = 0; good && i < n; i++) {
        good = msg_get_acquired(&at, &a, &e) == WERR_OK && take_entry(s, &a, owner, &messages, &e);
    }
    if (good && messages > s->g->attempt_msgs) {
        good = werror_set(&e, WERR_MALFORMED, "acquire: more messages than were asked for") == 0;
    }
    if (!good && (e.code == WERR_CORRUPT || e.code == WERR_NOMEM)) {
        err = err_from_local(&e);
        err_wrap(&err, "group %s", s->g->name);
        sub_fail(s, err);
    } else if (!good) {
        sub_broken(s, &e);
    }
    blob_unref(copy);
}

static void on_acquired(struct req *r, const struct answer *a)
{
    struct weir_sub *s = r->arg;
    struct sub_group *g = s->g;
    struct mpread cur = a->result;
    weir_error e;
    uint32_t ms;

    if (a->err.code == WERR_CLOSED || a->err.code == WERR_CONNECTION_LOST) {
        return; /* the attempt stays open: asked again with the same id */
    }
    /* Only the same attempt learns of leases whose log failed, and that are there nevertheless. */
    g->attempt_open = a->err.code != WERR_OK;
    if (a->err.code == WERR_OK) {
        g->acquire_tries = 0;
        s->tries = 0;
        take_all(s, &cur);
        return;
    }
    if (group_was_fenced(s, a)) {
        return;
    }
    if (a->cls == WCLASS_NEVER && a->err.code != WERR_NOT_ASSIGNED) {
        e = err_from(&a->err, a->cls);
        err_wrap(&e, "group %s", g->name);
        sub_fail(s, e);
        return;
    }
    ms = (uint32_t)ACQUIRE_RETRY_MS << (g->acquire_tries < 5 ? g->acquire_tries : 5);
    ms = a->err.retry_after_ms > ms ? a->err.retry_after_ms : ms;
    g->acquire_tries++;
    g->acquire_retry_ns = clock_after_ms(s->w->now_ns, ms < 60000 ? ms : 60000);
    if (a->cls == WCLASS_REFRESH) {
        for (size_t i = 0; i < g->n_topics; i++) {
            meta_refresh(s->w, g->topics[i]);
        }
    }
}

/* ---------------------------------------------------------------- asking */

/*
 * How many messages may lie here: what is worked in PACE_MS, at least PREFETCH_MIN. So a slow
 * worker takes little from others, and a fast one does not ask for each few.
 */
static void set_pace(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    int64_t ns = s->w->now_ns - g->paced_ns;
    uint64_t due, most = (uint64_t)g->prefetch * 2, least = g->prefetch / 2;

    if (s->opt.prefetch > 0) {
        g->prefetch = s->opt.prefetch;
        return;
    }
    due = ns > 0 ? g->handed_out * (PACE_MS * CLOCK_NS_PER_MS) / (uint64_t)ns : most;
    due = due < most ? due : most;
    due = due > least ? due : least;
    due = due < LIMIT_ACQUIRE_MSGS ? due : LIMIT_ACQUIRE_MSGS;
    g->prefetch = due > PREFETCH_MIN ? (uint32_t)due : PREFETCH_MIN;
    g->paced_ns = s->w->now_ns;
    g->handed_out = 0;
}

/* Decides about a new attempt. False: enough is here. */
static bool new_attempt(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    uint32_t limit = s->w->conn.limits.frame ? s->w->conn.limits.frame : LIMIT_FRAME;
    size_t room = s->opt.window_bytes > s->outstanding ? s->opt.window_bytes - s->outstanding : 0;

    if (g->unread > g->prefetch / 2 || (room == 0 && s->outstanding > 0)) {
        return false;
    }
    set_pace(s);
    room = room > ACQUIRE_MIN_BYTES ? room : ACQUIRE_MIN_BYTES;
    g->attempt++;
    g->attempt_open = true;
    g->attempt_msgs = g->prefetch > g->unread ? (uint32_t)(g->prefetch - g->unread) : 1;
    g->attempt_bytes = (uint32_t)(room < limit / 2 ? room : limit / 2);
    return true;
}

void acquire_step(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct msg_acquire m = {.who = group_who(g), .max_wait_ms = ACQUIRE_WAIT_MS};

    if (s->state != SUB_ACTIVE || g->acquire_req.state != REQ_FREE || sub_stopped(s)) {
        return;
    }
    if (s->w->now_ns < g->acquire_retry_ns) {
        handle_timer(s->w, g->acquire_retry_ns);
        return;
    }
    if ((!g->attempt_open && !new_attempt(s)) || !group_prepare(s, &g->acquire_req, on_acquired)) {
        return;
    }
    m.max_msgs = g->attempt_msgs;
    m.max_bytes = g->attempt_bytes;
    m.lease_ms = s->opt.lease_ms;
    m.attempt = g->attempt;
    msg_put_acquire(&g->acquire_req.frame, g->acquire_req.corr, &m);
    if (conn_submit(&s->w->conn, &g->acquire_req) != WERR_OK) {
        g->acquire_retry_ns = clock_after_ms(s->w->now_ns, ACQUIRE_RETRY_MS);
        handle_timer(s->w, g->acquire_retry_ns);
    }
}

/* ---------------------------------------------------------------- dropping */

/* What of b was not handed out is given back to the broker. */
static void release_unread(struct weir_sub *s, struct rx_batch *b, uint64_t from)
{
    uint64_t end = b->head.base_offset + b->head.count;

    for (uint32_t i = 0; i < b->n_ranges; i++) {
        struct lease_range *r = &b->ranges[i];
        uint64_t first = r->first > from ? r->first : from;
        uint64_t last = r->last < end ? r->last : end - 1;

        if (first <= last) {
            settle_release(s, r, first, last);
            s->g->unread -= last - first + 1;
        }
    }
}

void acquire_drop_unread(struct weir_sub *s)
{
    struct rx_batch *b;

    while ((b = TAILQ_FIRST(&s->g->limbo))) {
        TAILQ_REMOVE(&s->g->limbo, b, link);
        TAILQ_INSERT_TAIL(&s->queue, b, link);
    }
    TAILQ_FOREACH (b, &s->queue, link) {
        release_unread(s, b, b->head.base_offset);
    }
    if (s->cur) {
        release_unread(s, s->cur, s->cur_offset);
    }
    sub_drop_unread(s, NULL);
    s->g->attempt_open = false; /* a new session knows nothing of it */
}

/* ---------------------------------------------------------------- dead letters */

/* False: it is still being looked up. */
static bool find_name(struct weir_sub *s, struct sub_topic *st)
{
    struct sub_group *g = s->g;
    char name[LIMIT_TOPIC_NAME + 1];
    bool due = false;

    st->topic = group_topic_of(s, st->tid);
    for (size_t i = 0; i < g->n_topics && !st->topic; i++) {
        int n = snprintf(name, sizeof name, "%.*s~%s~dlq", LIMIT_NAME, g->topics[i]->name, g->name);
        struct topic *t = meta_topic(&s->w->meta, name, (size_t)n);

        due = due || (t && (t->state == TOPIC_WANTED || t->state == TOPIC_ASKED));
        if (t && t->valid && t->tid == st->tid) {
            st->topic = t;
            st->dead_letters = true;
        }
    }
    return st->topic != NULL || !due;
}

void acquire_on_topic(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct sub_topic *st;
    struct sub_part *part;
    struct rx_batch *b, *next;
    bool open = false;

    TAILQ_FOREACH (st, &s->topics, link) {
        open = (!st->topic && !find_name(s, st)) || open;
    }
    TAILQ_FOREACH (part, &s->parts, link) {
        part->name = part->topic->topic ? part->topic->topic->name : "";
    }
    for (b = TAILQ_FIRST(&g->limbo); b; b = next) {
        next = TAILQ_NEXT(b, link);
        if (b->part->topic->topic) {
            TAILQ_REMOVE(&g->limbo, b, link);
            TAILQ_INSERT_TAIL(&s->queue, b, link);
        } else if (!open) { /* nobody knows it: somebody else may have better luck */
            TAILQ_REMOVE(&g->limbo, b, link);
            release_unread(s, b, b->head.base_offset);
            s->outstanding -= b->charged;
            rx_batch_free(b);
        }
    }
    g->learn = open;
}

/* A header that holds a number in decimal. */
static bool number_of(const weir_message *m, const char *name, int64_t max, int64_t *out)
{
    weir_bytes v = weir_message_header(m, name);
    const char *p = v.data;
    int64_t n = 0;

    for (size_t i = 0; i < v.size; i++) {
        if (p[i] < '0' || p[i] > '9' || n > (max - (p[i] - '0')) / 10) {
            return false;
        }
        n = n * 10 + (p[i] - '0');
    }
    *out = n;
    return v.size > 0;
}

void acquire_show_origin(struct weir_sub *s, struct rx_message *x)
{
    weir_bytes name = weir_message_header(&x->m, "weir-origin-topic");
    const struct topic *t = NULL;
    int64_t partition, offset;

    for (size_t i = 0; i < s->g->n_topics && !t; i++) { /* no others: anybody may write headers */
        const struct topic *one = s->g->topics[i];

        t = slice_eq(slice_of(name.data, name.size), slice_of(one->name, one->name_len)) ? one : t;
    }
    if (t && number_of(&x->m, "weir-origin-partition", INT32_MAX, &partition) &&
        number_of(&x->m, "weir-origin-offset", INT64_MAX, &offset)) {
        x->m.topic = t->name;
        x->m.partition = (int32_t)partition;
        x->m.offset = offset;
    }
}
