/* Readers and long-polling fetches: follow partitions from where they are, check what they get. */
#include <stdlib.h>

#include "sim.h"

static void on_ready(void *arg)
{
    ((struct mreader *)arg)->ready = true;
}

static void follow(struct sim *s, struct mreader *r, unsigned t, uint32_t p)
{
    const struct mtopic *mt = &s->topics[t];
    struct mfollow *f = &r->parts[t][p];
    struct werror e;

    if (!f->on || f->tid != mt->tid) {
        const uint64_t span = mt->parts[p].hw - mt->parts[p].start;
        *f = (struct mfollow){.tid = mt->tid,
                              .next = mt->parts[p].start + sim_below(s, (uint32_t)span + 1)};
    }
    f->on = core_reader_add(r->rd, mt->tid, p, f->next, false, 0, &e) == WERR_OK;
    if (!f->on && !mt->unsure) {
        sim_fail(s, "reader: %s", e.text);
    }
}

/* Where a reader follows (tid, p); NULL: not any more. */
static struct mfollow *followed(struct mreader *r, uint64_t tid, uint32_t p)
{
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        if (r->parts[t][p].on && r->parts[t][p].tid == tid) {
            return &r->parts[t][p];
        }
    }
    return NULL;
}

static void take(struct sim *s, struct mreader *r, const struct core_piece *piece)
{
    struct mfollow *f = followed(r, piece->tid, piece->p);
    struct mtopic *t = model_topic(s, piece->tid);

    sim_trace(s, "piece", piece->tid * 100 + piece->p, piece->data.n, (uint64_t)piece->err.code);
    if (f == NULL && piece->err.code == WERR_UNKNOWN_TOPIC && t == NULL) {
        return; /* deleted, and a new one followed since */
    }
    if (f == NULL) {
        sim_fail(s, "a piece of a partition that is not followed");
        return;
    }
    if (piece->err.code == WERR_UNKNOWN_TOPIC) {
        if (t != NULL && !t->unsure) {
            sim_fail(s, "reader: topic %s is gone", t->name);
        }
        f->on = false;
        return;
    }
    model_marks(s, piece->tid, piece->p, piece->log_start, piece->hw);
    if (piece->err.code == WERR_OFFSET_OUT_OF_RANGE) {
        if (f->next >= piece->log_start && f->next <= piece->hw) {
            sim_fail(s, "offset %llu out of range %llu to %llu", (unsigned long long)f->next,
                     (unsigned long long)piece->log_start, (unsigned long long)piece->hw);
        }
        f->on = false; /* followed again from a valid place */
    } else if (piece->err.code != WERR_OK) {
        if (!s->fault_armed) {
            sim_fail(s, "reader: %s", piece->err.text);
        }
        f->on = false;
    } else if (piece->data.n > 0) {
        model_read(s, piece->tid, piece->p, piece, &f->next);
    } else if (f->next != piece->hw) {
        sim_fail(s, "A9 caught up at %llu, high watermark %llu", (unsigned long long)f->next,
                 (unsigned long long)piece->hw);
    }
}

void reader_step(struct sim *s, struct mreader *r)
{
    struct core_piece pieces[4];
    size_t n = 1;

    if (r->rd == NULL) {
        r->rd = core_reader_new(s->co, on_ready, r);
        r->ready = false;
    }
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        for (uint32_t p = 0; s->topics[t].exists && p < s->topics[t].n_parts; p++) {
            const struct mfollow *f = &r->parts[t][p];
            if ((!f->on || f->tid != s->topics[t].tid) && (s->healing || sim_chance(s, 30))) {
                follow(s, r, t, p);
            } else if (f->on && sim_chance(s, 1) && !s->healing) {
                if (!core_reader_drop(r->rd, f->tid, p)) {
                    sim_fail(s, "a followed partition cannot be dropped");
                }
                follow(s, r, t, p); /* goes on at the same place */
            }
        }
    }
    for (unsigned turns = 0; r->ready && n > 0 && turns < 8; turns++) {
        n = core_reader_pull(r->rd, 1 + sim_below(s, 5000), true, pieces, 4);
        for (size_t i = 0; i < n; i++) {
            take(s, r, &pieces[i]);
            blob_unref(pieces[i].data.owner);
        }
        r->ready = n > 0;
    }
}

void readers_cut(struct sim *s)
{
    for (unsigned i = 0; i < SIM_READERS; i++) {
        struct mreader *r = &s->readers[i];
        core_reader_free(r->rd);
        r->rd = NULL;
        for (unsigned t = 0; t < SIM_TOPICS; t++) {
            for (unsigned p = 0; p < SIM_PARTS; p++) {
                r->parts[t][p].on = false;
            }
        }
    }
}

bool readers_settled(struct sim *s)
{
    struct msg_part_stat stats[SIM_PARTS];

    for (unsigned i = 0; i < SIM_READERS; i++) {
        for (unsigned t = 0; t < SIM_TOPICS; t++) {
            const struct mtopic *mt = &s->topics[t];
            if (!model_topic_lives(s, mt)) {
                continue;
            }
            core_topic_stats(s->co, core_topic_by_id(s->co, mt->tid), stats);
            for (uint32_t p = 0; p < mt->n_parts; p++) {
                const struct mfollow *f = &s->readers[i].parts[t][p];
                if (!f->on || f->next < stats[p].hw) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* ---------------------------------------------------------------- fetch */

struct polling {
    struct core_fetch rq;
    struct sim *s;
    int64_t asked_mono_ns;
};

static void on_fetched(struct core_fetch *rq)
{
    struct polling *po = rq->arg;
    struct sim *s = po->s;

    sim_trace(s, "fetched", rq->n_pieces, rq->bytes, 0);
    for (size_t i = 0; i < rq->n_pieces; i++) {
        const struct core_piece *piece = &rq->pieces[i];
        uint64_t next = 0;
        for (size_t k = 0; k < rq->n_parts; k++) {
            if (rq->parts[k].tid == piece->tid && rq->parts[k].p == piece->p) {
                next = rq->parts[k].offset;
                if (piece->err.code == WERR_OK) {
                    model_read(s, piece->tid, piece->p, piece, &next);
                    rq->parts[k].offset = next;
                }
            }
        }
    }
    if (rq->n_pieces == 0 && s->mono_ns < po->asked_mono_ns + (int64_t)rq->max_wait_ms * 1000000) {
        sim_fail(s, "an empty fetch was answered before its time");
    }
    core_fetch_fini(rq);
    free(po);
}

void fetch_step(struct sim *s)
{
    struct polling *po = calloc(1, sizeof *po);

    po->s = s;
    po->asked_mono_ns = s->mono_ns;
    po->rq.max_wait_ms = sim_below(s, 2000);
    po->rq.min_bytes = sim_below(s, 2000);
    po->rq.max_bytes = 1 + sim_below(s, 8000);
    po->rq.done = on_fetched;
    po->rq.arg = po;
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        const struct mtopic *mt = &s->topics[t];
        for (uint32_t p = 0; mt->exists && p < mt->n_parts; p++) {
            if (sim_chance(s, 50)) {
                const uint64_t span = mt->parts[p].hw - mt->parts[p].start;
                po->rq.parts[po->rq.n_parts++] = (struct msg_fetch_part){
                    .tid = mt->tid,
                    .p = p,
                    .offset = mt->parts[p].start + sim_below(s, (uint32_t)span + 1),
                    .max_bytes = 1 + sim_below(s, 4000)};
            }
        }
    }
    core_fetch(s->co, &po->rq);
}
