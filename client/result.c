/*
 * Results. Happy path: a batch's report goes on a list; a call that may run callbacks takes it off
 * and calls each listener with its own offset. Reports nobody listens to end at once. Memory that a
 * report stands for counts against buffer_bytes until it is delivered, so that a program that never
 * comes back to its loop is held back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/handle.h"
#include "proto/msg_group.h"

void report_free(struct report *r)
{
    if (r) {
        free(r->listeners);
        free(r->delay_id);
        free(r);
    }
}

static void account_done(struct weir *w, const struct report *r)
{
    w->prod.pending_messages -= r->count;
    w->prod.pending_bytes -= r->bytes;
}

void report_finish(struct weir *w, struct report *r)
{
    if (r->error.outcome != WEIR_DONE && w->prod.first_failure.outcome == WEIR_DONE) {
        w->prod.first_failure = r->error;
    }
    if (!r->listeners) {
        account_done(w, r);
        report_free(r);
        return;
    }
    TAILQ_INSERT_TAIL(&w->prod.reports, r, link);
}

void report_waiting(struct weir *w, struct topic *t, struct waiting *m, const weir_error *e)
{
    weir_receipt receipt = {.error = *e, .topic = t->name, .partition = -1, .offset = -1};

    TAILQ_REMOVE(&t->waiting, m, link);
    w->prod.n_waiting--;
    if (e->outcome != WEIR_DONE) {
        struct report *r = calloc(1, sizeof *r);

        w->prod.first_failure =
            w->prod.first_failure.outcome == WEIR_DONE ? *e : w->prod.first_failure;
        if (r && m->listener.fn) {
            r->listeners = malloc(sizeof *r->listeners);
        }
        if (r && r->listeners) {
            r->listeners[0] = m->listener;
            r->topic = t;
            r->partition = -1;
            r->offset = -1;
            r->count = 1;
            r->bytes = m->bytes;
            r->error = *e;
            TAILQ_INSERT_TAIL(&w->prod.reports, r, link);
            free(m);
            return;
        }
        report_free(r);
        if (m->listener.fn && !w->in_callback) { /* no memory for a report: tell it now */
            w->in_callback = true;
            m->listener.fn(m->listener.user, &receipt);
            w->in_callback = false;
        }
        w->prod.pending_messages--;
    }
    w->prod.pending_bytes -= m->bytes;
    free(m);
}

static void deliver(struct weir *w, struct report *r)
{
    weir_receipt receipt = {.error = r->error,
                            .topic = r->topic->name,
                            .partition = r->partition,
                            .append_ms = r->append_ms};
    char id[LIMIT_DELAY_ID + 12];

    w->in_callback = true;
    for (uint32_t i = 0; i < r->count; i++) {
        receipt.offset = r->offset < 0 ? -1 : r->offset + i;
        if (r->delay_id) {
            snprintf(id, sizeof id, "%s.%u", r->delay_id, i);
            receipt.delay_id = id;
        }
        if (r->listeners[i].fn) {
            r->listeners[i].fn(r->listeners[i].user, &receipt);
        }
    }
    w->in_callback = false;
}

void producer_run_callbacks(struct weir *w)
{
    struct report *r;

    if (w->in_callback) {
        return;
    }
    while ((r = TAILQ_FIRST(&w->prod.reports)) && !w->closing) {
        TAILQ_REMOVE(&w->prod.reports, r, link);
        account_done(w, r);
        deliver(w, r);
        report_free(r);
    }
}

void producer_close(struct weir *w)
{
    weir_error unsent = err_make(WERR_CLOSED, "the handle was closed before it was sent");
    weir_error unknown =
        err_make_as(WERR_CLOSED, WEIR_UNKNOWN, "the handle was closed before an answer came");
    struct part *part;
    struct topic *t;
    struct outbatch *b;
    struct waiting *m;
    struct report *r;

    TAILQ_FOREACH (part, &w->prod.all, all) {
        TAILQ_FOREACH (b, &part->q, link) {
            bool maybe = b->maybe_stored || b->state == BATCH_INFLIGHT || b->state == BATCH_LOST;

            outbatch_report(w, b, false, maybe ? &unknown : &unsent, -1, 0);
        }
    }
    TAILQ_FOREACH (t, &w->meta.topics, link) {
        while ((m = TAILQ_FIRST(&t->waiting))) { /* report_waiting takes it off the list */
            report_waiting(w, t, m, &unsent);    /* NOLINT(clang-analyzer-unix.Malloc) */
        }
    }
    while ((r = TAILQ_FIRST(&w->prod.reports))) {
        TAILQ_REMOVE(&w->prod.reports, r, link);
        account_done(w, r);
        deliver(w, r);
        report_free(r);
    }
}
