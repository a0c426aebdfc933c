/* Messages now and later; nothing is seen before its time, and what was not cancelled is seen once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gsim.h"

struct produce {
    struct core_produce rq;
    struct gsim *s;
    struct blob *blob;
    unsigned delayed; /* index + 1; 0 = at once */
};

static void on_produced(struct core_produce *rq)
{
    struct produce *pr = rq->arg;
    struct gsim *s = pr->s;

    if (rq->err.code == WERR_OK && pr->delayed > 0) {
        struct g_delayed *d = &s->delayed[pr->delayed - 1];
        d->stored_ns = s->mono_ns;
        memcpy(d->id, rq->ok.delay_id.p, rq->ok.delay_id.n);
        COUNT(s, delayed);
    } else if (rq->err.code == WERR_OK) {
        COUNT(s, produced);
    } else if (rq->err.code == WERR_STORAGE_FULL) {
        COUNT(s, refused_full);
    } else {
        s->n.produce_unknown += rq->err.code == WERR_INDETERMINATE;
    }
    blob_unref(pr->blob);
    free(pr);
}

static void produce(struct gsim *s, unsigned t, unsigned delayed, unsigned count)
{
    struct produce *pr = calloc(1, sizeof *pr);
    struct batch_builder bb;
    struct slice out;

    if (pr == NULL) {
        abort();
    }
    batch_builder_init(&bb, 0);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t key = (uint8_t)g_below(s, G_KEYS);
        uint8_t value[8];
        put_be64(value, delayed > 0 ? delayed : ++s->next_value);
        if (batch_add(&bb, g_wall_ms(s), slice_of(&key, 1), slice_of(value, 8), NULL, 0) !=
            WERR_OK) {
            abort();
        }
    }
    if (batch_finish(&bb, &(struct batch_producer){0}, BATCH_CODEC_NONE, NULL, &out) != WERR_OK) {
        abort();
    }
    pr->s = s;
    pr->blob = blob_copy(out.p, out.n);
    pr->delayed = delayed;
    batch_builder_fini(&bb);
    pr->rq =
        (struct core_produce){.tid = s->tid[t],
                              .p = g_below(s, s->n_parts[t]),
                              .batch = {.owner = pr->blob, .p = pr->blob->p, .n = pr->blob->n},
                              .deliver_at_ms = delayed > 0 ? s->delayed[delayed - 1].due_ms : 0,
                              .done = on_produced,
                              .arg = pr};
    core_produce(s->co, &pr->rq);
}

void produce_step(struct gsim *s)
{
    if (s->next_value < G_OFFSETS - 10) {
        produce(s, TOPIC_WORK, 0, 1 + g_below(s, 5));
    }
}

/* ---------------------------------------------------------------- cancelling */

struct cancel {
    struct core_cancel_rq rq;
    struct gsim *s;
    unsigned index;
    char text[LIMIT_DELAY_ID + 4];
    struct slice id;
};

static void on_cancelled(struct core_cancel_rq *rq)
{
    struct cancel *c = rq->arg;
    struct gsim *s = c->s;
    struct g_delayed *d = &s->delayed[c->index];

    if (rq->err.code == WERR_OK && !s->down) {
        switch (rq->status[0]) {
        case CANCEL_DONE:
            if (d->seen > 0) {
                g_fail(s, "message %u was seen, and is cancelled", c->index);
            }
            d->cancelled = true;
            COUNT(s, cancelled);
            break;
        case CANCEL_DELIVERED:
            COUNT(s, cancel_late);
            break;
        default:
            COUNT(s, cancel_unknown);
            break;
        }
    }
    free(rq->status);
    free(c);
}

static void cancel(struct gsim *s, unsigned index, bool nonsense)
{
    struct cancel *c = calloc(1, sizeof *c);

    if (c == NULL) {
        abort();
    }
    c->s = s;
    c->index = index;
    s->delayed[index].maybe_cancelled = s->delayed[index].maybe_cancelled || !nonsense;
    snprintf(c->text, sizeof c->text, "%s.0", nonsense ? "1234-0-99" : s->delayed[index].id);
    c->id = slice_str(c->text);
    c->rq = (struct core_cancel_rq){
        .tid = s->tid[TOPIC_LATER], .ids = &c->id, .n = 1, .done = on_cancelled, .arg = c};
    core_delay_cancel(s->co, &c->rq);
}

void delay_step(struct gsim *s)
{
    if (g_chance(s, 70) && s->n_delayed < G_DELAYED) {
        struct g_delayed *d = &s->delayed[s->n_delayed++];
        d->due_ms = g_wall_ms(s) + (int64_t)g_below(s, g_chance(s, 20) ? 100000 : 3000) - 100;
        d->asked = true;
        produce(s, TOPIC_LATER, s->n_delayed, 1);
    } else if (s->n_delayed > 0) {
        const unsigned i = g_below(s, s->n_delayed);
        if (s->delayed[i].stored_ns != 0) {
            cancel(s, i, g_chance(s, 10));
        }
    }
}

/* ---------------------------------------------------------------- looking */

static void saw(struct gsim *s, void *arg, uint64_t offset, const struct record *r)
{
    uint64_t *next = arg;
    const uint64_t n = be64(r->value.p);

    *next = offset + 1;
    if (n < 1 || n > s->n_delayed) {
        g_fail(s, "a delayed message that nobody sent: %llu", (unsigned long long)n);
        return;
    }
    struct g_delayed *d = &s->delayed[n - 1];
    if (g_wall_ms(s) < d->due_ms) {
        g_fail(s, "message %llu is seen %lld ms before its time", (unsigned long long)(n - 1),
               (long long)(d->due_ms - g_wall_ms(s)));
    }
    if (d->cancelled) {
        g_fail(s, "message %llu was cancelled, and is seen", (unsigned long long)(n - 1));
    }
    if (++d->seen > 1) {
        g_fail(s, "message %llu is seen twice", (unsigned long long)(n - 1));
    }
    COUNT(s, delivered_late);
}

void delay_look(struct gsim *s)
{
    for (uint32_t p = 0; p < s->n_parts[TOPIC_LATER] && !s->failed; p++) {
        (void)g_read(s, s->tid[TOPIC_LATER], p, s->later_next[p], saw, &s->later_next[p]);
    }
}

bool delay_drained(struct gsim *s)
{
    const int64_t now_ms = g_wall_ms(s);

    delay_look(s);
    for (unsigned i = 0; i < s->n_delayed; i++) {
        const struct g_delayed *d = &s->delayed[i];
        if (d->stored_ns != 0 && d->seen == 0 && !d->cancelled && !d->maybe_cancelled) {
            if (d->due_ms + 60000 < now_ms) {
                g_fail(s, "message %u is not seen a minute after its time", i);
            }
            return false;
        }
    }
    return true;
}

void delay_final(struct gsim *s)
{
    uint64_t next[G_PARTS] = {0};

    for (unsigned i = 0; i < s->n_delayed; i++) {
        s->delayed[i].seen = 0;
    }
    for (uint32_t p = 0; p < s->n_parts[TOPIC_LATER] && !s->failed; p++) {
        if (!g_read(s, s->tid[TOPIC_LATER], p, 0, saw, &next[p])) {
            g_fail(s, "the delayed messages cannot be read");
        }
        s->later_next[p] = next[p];
    }
    for (unsigned i = 0; i < s->n_delayed && !s->failed; i++) {
        const struct g_delayed *d = &s->delayed[i];
        if (d->stored_ns != 0 && d->seen == 0 && !d->cancelled && !d->maybe_cancelled) {
            g_fail(s, "message %u was acknowledged, is due, and is not there", i);
        }
    }
}
