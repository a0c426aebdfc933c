/*
 * Happy path: the thread sleeps on `work`; takes what is queued (waiting for the log to go idle
 * first, so that the group grows while the last sync runs), builds one record, appends it, goes on.
 * The log's callbacks mark groups as written and finished; finished groups leave `fly` in order and
 * become events for the owner.
 *
 * What can fail: an append. STORAGE_FULL = the record is not in the log: everything behind it fails
 * the same way, in order, until the owner has taken all of it out of its index (commit_resume).
 * Anything else latches COMMIT_FAILED: every txn from then on is answered INDETERMINATE.
 *
 * Who owns what: a txn belongs to the queue, then to a group; a group belongs to `fly`, then to its
 * event, and the owner frees it after the last completion. A group cannot leave `fly` while
 * append() still borrows its record.
 */
#include "storage/commit.h"

#include <stdlib.h>

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/upkeep.h"

static void event_push(struct commit *c, struct commit_event *ev)
{
    ev->next = NULL;
    if (c->events_last != NULL) {
        c->events_last->next = ev;
    } else {
        c->events = ev;
    }
    c->events_last = ev;
    pthread_cond_signal(&c->event);
}

/* ---------------------------------------------------------------- groups in flight */

static void latch(struct commit *c, const struct werror *why)
{
    if (c->health == COMMIT_FAILED) {
        return;
    }
    c->health = COMMIT_FAILED;
    c->why = *why;
    if (c->log->ops->why != NULL) {
        c->log->ops->why(c->log, &c->why);
        c->why.code = why->code;
    }
}

static void group_fail(struct group *g, enum werr rc, const struct werror *why)
{
    g->rc = rc;
    if (why != NULL) {
        g->err = *why;
    } else {
        werror_set(&g->err, rc, "%s", werr_text(rc));
    }
    g->err.code = rc;
}

static void group_durable(struct commit *c, struct group *g)
{
    c->durable = g->after;
    c->durable_seq = g->last->seq;
    for (const struct store_txn *t = g->txns; t != NULL; t = t->next) {
        for (uint32_t i = 0; i < t->n_ops; i++) {
            const struct txn_op *op = &t->ops[i];
            if (op->kind == TXN_APPEND) {
                marks_set(&c->marks, op->partition, op->base + op->count);
            } else if (op->kind == TXN_AT) {
                marks_set(&c->marks, op->partition, op->base);
            } else if (op->kind == TXN_DROP) {
                marks_set(&c->marks, op->partition, 0);
            }
        }
    }
    if (c->upkeep != NULL) {
        upkeep_changed(c->upkeep, g->has_roll);
    }
}

/* Moves finished groups from `fly` to events, oldest first. Returns whether there were any. */
static bool advance(struct commit *c)
{
    bool any = false;
    while (c->fly != NULL && c->fly->finished && !c->fly->in_append) {
        struct group *g = c->fly;
        c->fly = g->next;
        if (c->fly == NULL) {
            c->fly_last = NULL;
        }
        g->next = NULL;
        if (c->health == COMMIT_FAILED && g->rc != WERR_INDETERMINATE && g->rc != WERR_OK) {
            group_fail(g, WERR_INDETERMINATE, &c->why);
        }
        if (g->rc == WERR_OK && c->skipped) {
            struct werror e;
            werror_set(&e, WERR_INDETERMINATE, "log went on after it had reported a full disk");
            latch(c, &e);
            group_fail(g, WERR_INDETERMINATE, &e);
        }
        if (g->rc == WERR_OK) {
            group_durable(c, g);
            WEIR_KILLPOINT(txn_durable);
        } else {
            c->skipped = true;
        }
        g->done = (struct commit_event){.group = g, .stage = STORE_DONE};
        event_push(c, &g->done);
        any = true;
    }
    return any;
}

/* The outcome of a group. Called with mu held. */
static void finish(struct commit *c, struct group *g, enum werr rc, const struct werror *why)
{
    g->finished = true;
    if (rc == WERR_OK) {
        return;
    }
    if (rc != WERR_STORAGE_FULL) {
        rc = WERR_INDETERMINATE;
    }
    group_fail(g, rc, why);
    if (rc == WERR_INDETERMINATE) {
        latch(c, &g->err);
    } else if (c->health == COMMIT_RUN) {
        c->health = COMMIT_FULL;
        c->why = g->err;
    }
    pthread_cond_signal(&c->work);
}

static struct group *group_find(struct commit *c, uint64_t tag)
{
    struct group *g = c->fly;
    while (g != NULL && g->tag != tag) {
        g = g->next;
    }
    return g;
}

static void on_written(void *arg, uint64_t tag)
{
    struct commit *c = arg;
    pthread_mutex_lock(&c->mu);
    struct group *g = group_find(c, tag);
    bool tell = g != NULL && g->want_written && g->written.group == NULL;
    if (tell) {
        g->written = (struct commit_event){.group = g, .stage = STORE_WRITTEN};
        event_push(c, &g->written);
    }
    pthread_mutex_unlock(&c->mu);
    if (tell) {
        c->wake(c->wake_arg);
    }
}

/* Brings a durable record into the tables when the log did not do that itself. */
static enum werr apply(struct commit *c, struct group *g, struct werror *e)
{
    enum werr rc = c->kv->ops->apply(c->kv, buf_slice(&g->rep), e);
    if (rc == WERR_OK && g->has_roll && c->kv->ops->bucket_end != NULL) {
        rc = c->kv->ops->bucket_end(c->kv, e);
    }
    if (rc == WERR_OK) {
        return rc;
    }
    /* In the log, not in the tables: only a restart brings the two together again. */
    e->code = WERR_INDETERMINATE;
    return WERR_INDETERMINATE;
}

static void on_appended(void *arg, uint64_t tag, enum werr rc, struct clog_pos pos)
{
    struct commit *c = arg;
    struct werror e = {0};
    (void)pos;
    int64_t now_ns = c->mono_ns(c->mono_arg);
    pthread_mutex_lock(&c->mu);
    struct group *g = group_find(c, tag);
    bool failed = c->health == COMMIT_FAILED;
    pthread_mutex_unlock(&c->mu);
    if (g == NULL) {
        return;
    }
    if (rc == WERR_OK && !c->fused) {
        /* Tables must never skip a record: after one that failed, none is applied. */
        rc = failed ? WERR_INDETERMINATE : apply(c, g, &e);
    }
    pthread_mutex_lock(&c->mu);
    uint64_t ns = (uint64_t)(now_ns - g->append_mono_ns);
    c->stats.syncs++;
    c->stats.sync_ns_total += ns;
    c->stats.sync_ns_max = ns > c->stats.sync_ns_max ? ns : c->stats.sync_ns_max;
    finish(c, g, rc, e.code != WERR_OK ? &e : NULL);
    bool any = advance(c);
    pthread_mutex_unlock(&c->mu);
    if (any) {
        c->wake(c->wake_arg);
    }
}

/* ---------------------------------------------------------------- gathering */

static struct store_txn *queue_pop(struct commit *c)
{
    struct store_txn *t = c->queue;
    c->queue = t->next;
    if (c->queue == NULL) {
        c->queue_last = NULL;
    }
    c->queue_bytes -= t->bytes;
    t->next = NULL;
    return t;
}

/* Takes txns off the queue into a new group, which joins `fly`. everything = ignore all limits. */
static struct group *take(struct commit *c, bool everything)
{
    size_t limit = c->log->ops->best_group_bytes;
    if (limit == 0 || limit > c->log->ops->max_record_bytes) {
        limit = c->log->ops->max_record_bytes;
    }
    struct group *g = must_calloc(1, sizeof(*g));
    g->lazy = true;
    g->tag = c->next_tag++;
    while (c->queue != NULL) {
        bool fits = g->n_txns == 0 || g->bytes + c->queue->bytes <= limit;
        if (!everything && (!fits || g->has_roll)) {
            break; /* a roll ends its record: what follows goes to another bucket */
        }
        struct store_txn *t = queue_pop(c);
        if (g->last != NULL) {
            g->last->next = t;
        } else {
            g->txns = t;
        }
        g->last = t;
        g->n_txns++;
        g->bytes += t->bytes + 64;
        g->lazy = g->lazy && t->lazy;
        g->want_written = g->want_written || t->want_written;
        g->has_roll = g->has_roll || t->has_roll;
    }
    if (c->fly_last != NULL) {
        c->fly_last->next = g;
    } else {
        c->fly = g;
    }
    c->fly_last = g;
    return g;
}

/* Fails everything queued without trying: the log is full or broken. */
static bool refuse(struct commit *c)
{
    struct group *g = take(c, true);
    enum werr rc = c->health == COMMIT_FULL ? WERR_STORAGE_FULL : WERR_INDETERMINATE;
    group_fail(g, rc, &c->why);
    g->finished = true;
    return advance(c);
}

static enum werr write_group(struct commit *c, struct group *g, const struct applied *now,
                             bool more, struct werror *e)
{
    if (!commit_build(c, g, now)) {
        return werror_set(e, WERR_STORAGE_FULL, "no memory for a record of %zu bytes", g->bytes);
    }
    pthread_mutex_lock(&c->mu);
    c->now = g->after;
    c->stats.groups++;
    c->stats.record_bytes += g->rep.len;
    c->stats.txns += g->n_txns;
    pthread_mutex_unlock(&c->mu);
    g->append_mono_ns = c->mono_ns(c->mono_arg);
    struct clog_pos pos = {g->after.epoch, g->after.lsn};
    enum werr rc = c->log->ops->append(c->log, g->tag, CLOG_BATCH, pos, buf_slice(&g->rep),
                                       g->lazy && !g->has_roll, more);
    if (rc != WERR_OK) {
        return werror_set(e, rc, "commit log: %s", werr_text(rc));
    }
    if (c->fused && g->has_roll && c->kv->ops->bucket_end != NULL) {
        return WERR_AGAIN;
    }
    return WERR_OK;
}

/* One group from the queue to the log. Called and returns with mu held. */
static void commit_one(struct commit *c)
{
    struct werror e = {0}, end_e = {0};
    bool wake = false;
    if (c->health != COMMIT_RUN) {
        wake = refuse(c);
        pthread_mutex_unlock(&c->mu);
    } else {
        struct group *g = take(c, false);
        struct applied now = c->now;
        bool more = c->queue != NULL;
        g->in_append = true;
        pthread_mutex_unlock(&c->mu);
        enum werr rc = write_group(c, g, &now, more, &e);
        enum werr end_rc = WERR_OK;
        if (rc == WERR_AGAIN) { /* appended, and its bucket ended */
            rc = WERR_OK;
            end_rc = c->kv->ops->bucket_end(c->kv, &end_e);
        }
        pthread_mutex_lock(&c->mu);
        if (end_rc != WERR_OK && end_rc != WERR_STORAGE_FULL) {
            latch(c, &end_e); /* the rows stay in the log: nothing is lost, nothing goes on */
        }
        if (rc != WERR_OK) {
            finish(c, g, rc, &e);
        }
        g->in_append = false;
        wake = advance(c);
        pthread_mutex_unlock(&c->mu);
    }
    if (wake) {
        c->wake(c->wake_arg);
    }
    pthread_mutex_lock(&c->mu);
}

static void *commit_main(void *arg)
{
    struct commit *c = arg;
    const struct clog_ops *ops = c->log->ops;
    pthread_mutex_lock(&c->mu);
    for (;;) {
        while (c->queue == NULL && !c->stop) {
            pthread_cond_wait(&c->work, &c->mu);
        }
        if (c->abandon || c->queue == NULL) {
            break;
        }
        bool room = c->queue_bytes < ops->best_group_bytes && !c->stop;
        if (c->health == COMMIT_RUN && room) {
            pthread_mutex_unlock(&c->mu);
            if (ops->busy(c->log)) {
                ops->wait_idle(c->log);
            }
            pthread_mutex_lock(&c->mu);
            if (c->abandon) {
                break;
            }
        }
        commit_one(c);
    }
    pthread_mutex_unlock(&c->mu);
    return NULL;
}

void commit_step(struct commit *c)
{
    pthread_mutex_lock(&c->mu);
    while (c->queue != NULL) {
        commit_one(c);
    }
    pthread_mutex_unlock(&c->mu);
}

/* ---------------------------------------------------------------- the owner's side */

void commit_submit(struct commit *c, struct store_txn *t)
{
    bool was_empty;

    pthread_mutex_lock(&c->mu);
    t->next = NULL;
    was_empty = c->queue == NULL;
    if (was_empty) {
        c->queue = t;
    } else {
        c->queue_last->next = t;
    }
    c->queue_last = t;
    c->queue_bytes += t->bytes;
    pthread_mutex_unlock(&c->mu);
    if (was_empty) { /* else the committer looks at the queue anyway */
        pthread_cond_signal(&c->work);
    }
}

/* The first event has to wait until everything behind it failed too. With mu held. */
static bool head_held(const struct commit *c)
{
    const struct commit_event *ev = c->events;
    return ev != NULL && ev->stage == STORE_DONE && ev->group->rc == WERR_STORAGE_FULL &&
           !ev->group->undone && c->health == COMMIT_FULL;
}

void commit_wait_event(struct commit *c)
{
    pthread_mutex_lock(&c->mu);
    while (c->events == NULL || (head_held(c) && (c->queue != NULL || c->fly != NULL))) {
        pthread_cond_wait(&c->event, &c->mu);
    }
    pthread_mutex_unlock(&c->mu);
}

struct commit_event *commit_next_event(struct commit *c, bool *full)
{
    *full = false;
    pthread_mutex_lock(&c->mu);
    struct commit_event *ev = c->events;
    if (head_held(c)) {
        *full = c->queue == NULL && c->fly == NULL;
        ev = NULL;
    } else if (ev != NULL) {
        c->events = ev->next;
        if (c->events == NULL) {
            c->events_last = NULL;
        }
    }
    pthread_mutex_unlock(&c->mu);
    return ev;
}

struct group *commit_full_groups(struct commit *c)
{
    struct group *head = NULL, *last = NULL;
    pthread_mutex_lock(&c->mu);
    for (struct commit_event *ev = c->events; ev != NULL; ev = ev->next) {
        if (ev->stage != STORE_DONE || ev->group->undone) {
            continue;
        }
        ev->group->next = NULL;
        if (last != NULL) {
            last->next = ev->group;
        } else {
            head = ev->group;
        }
        last = ev->group;
    }
    pthread_mutex_unlock(&c->mu);
    return head;
}

void commit_resume(struct commit *c)
{
    pthread_mutex_lock(&c->mu);
    for (struct commit_event *ev = c->events; ev != NULL; ev = ev->next) {
        ev->group->undone = true;
    }
    c->now = c->durable;
    c->skipped = false;
    if (c->health == COMMIT_FULL) {
        c->health = COMMIT_RUN;
    }
    pthread_mutex_unlock(&c->mu);
}

void commit_group_free(struct group *g)
{
    if (g == NULL) {
        return;
    }
    while (g->txns != NULL) {
        struct store_txn *t = g->txns;
        g->txns = t->next;
        store_txn_free(t);
    }
    buf_fini(&g->rep);
    free(g);
}

void commit_distrust(struct commit *c, const struct werror *why)
{
    pthread_mutex_lock(&c->mu);
    latch(c, why);
    pthread_mutex_unlock(&c->mu);
    if (c->wake != NULL) {
        c->wake(c->wake_arg);
    }
}

enum commit_health commit_health(struct commit *c, struct werror *why)
{
    pthread_mutex_lock(&c->mu);
    enum commit_health h = c->health;
    if (h != COMMIT_RUN && why != NULL) {
        *why = c->why;
    }
    pthread_mutex_unlock(&c->mu);
    return h;
}

/* ---------------------------------------------------------------- life */

void commit_init(struct commit *c, struct kv *kv, struct clog *log, const struct applied *at)
{
    c->kv = kv;
    c->log = log;
    c->fused = (log->ops->caps & CLOG_FUSED) != 0;
    c->now = c->durable = *at;
    c->next_tag = 1;
    pthread_mutex_init(&c->mu, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->event, NULL);
    log->cb = (struct clog_cb){.written = on_written, .appended = on_appended};
    log->cb_arg = c;
}

enum werr commit_start(struct commit *c, struct werror *e)
{
    int err = pthread_create(&c->thread, NULL, commit_main, c);
    if (err != 0) {
        return werror_set(e, WERR_NOMEM, "cannot start the commit thread: %s", strerror(err));
    }
    c->running = true;
    return WERR_OK;
}

void commit_stop(struct commit *c, bool abandon)
{
    pthread_mutex_lock(&c->mu);
    c->stop = true;
    c->abandon = abandon;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->mu);
    if (c->running) {
        pthread_join(c->thread, NULL);
    } else if (!abandon) {
        commit_step(c);
    }
    c->running = false;
}

void commit_fini(struct commit *c)
{
    while (c->queue != NULL) {
        store_txn_free(queue_pop(c));
    }
    /* Events live in their groups: first those, some of which point into groups in flight. */
    while (c->events != NULL) {
        struct commit_event *ev = c->events;
        c->events = ev->next;
        if (ev->stage == STORE_DONE) {
            commit_group_free(ev->group);
        }
    }
    while (c->fly != NULL) {
        struct group *g = c->fly;
        c->fly = g->next;
        commit_group_free(g);
    }
    marks_fini(&c->marks);
    free(c->sorted);
    pthread_mutex_destroy(&c->mu);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->event);
}
