/* What was promised, and whether it was kept. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* The wall clock may be off by a minute before anybody calls it a jump. */
static const int64_t SLACK_NS = INT64_C(61) * 1000000000;

struct mtopic *model_topic(struct sim *s, uint64_t tid)
{
    for (unsigned i = 0; i < SIM_TOPICS; i++) {
        if (s->topics[i].exists && s->topics[i].tid == tid) {
            return &s->topics[i];
        }
    }
    return NULL;
}

bool model_topic_lives(struct sim *s, const struct mtopic *t)
{
    return t->exists && core_topic_by_id(s->co, t->tid) != NULL;
}

void model_forget(struct mtopic *t)
{
    for (unsigned p = 0; p < SIM_PARTS; p++) {
        free(t->parts[p].vals);
        t->parts[p] = (struct mpart){0};
    }
    t->exists = false;
}

static struct mval *val_at(struct mpart *mp, uint64_t offset)
{
    while (offset >= mp->cap) {
        const uint64_t cap = mp->cap > 0 ? mp->cap * 2 : 64;
        mp->vals = realloc(mp->vals, cap * sizeof *mp->vals);
        memset(mp->vals + mp->cap, 0, (cap - mp->cap) * sizeof *mp->vals);
        mp->cap = cap;
    }
    mp->n = offset >= mp->n ? offset + 1 : mp->n;
    return &mp->vals[offset];
}

/* append_ms 0: not known exactly. */
static void learn(struct sim *s, uint64_t tid, uint32_t p, uint64_t offset, uint64_t id,
                  int64_t append_ms, uint8_t flag)
{
    struct mtopic *t = model_topic(s, tid);

    if (t == NULL) {
        return; /* deleted meanwhile */
    }
    struct mval *v = val_at(&t->parts[p], offset);
    if (v->id != 0 && v->id != id) {
        sim_fail(s, "A5 two values at %s/%u offset %llu: %llu and %llu", t->name, p,
                 (unsigned long long)offset, (unsigned long long)v->id, (unsigned long long)id);
    }
    if (append_ms != 0) {
        v->at_mono_ns = (append_ms - SIM_WALL_MS) * 1000000;
    }
    v->id = id;
    v->flags |= flag;
}

void model_ack(struct sim *s, const struct mbatch *b, uint64_t offset, int64_t append_ms,
               bool on_disk)
{
    for (unsigned i = 0; i < b->count; i++) {
        learn(s, b->tid, b->p, offset + i, b->first_id + i, append_ms,
              on_disk ? VAL_ACK_DISK : VAL_ACK_OS);
    }
    s->n_acked += b->count;
}

/* ---------------------------------------------------------------- reading */

static const struct mbatch *batch_of(const struct sim *s, uint64_t id)
{
    return id > 0 && id < s->next_id ? s->of_id[id] : NULL;
}

static uint64_t value_id(const struct record *r)
{
    return r->value.n >= 8 ? be64(r->value.p) : 0;
}

/* The records of one stored batch, from offset `from` on. */
static void read_batch(struct sim *s, uint64_t tid, uint32_t p, struct slice batch,
                       const struct batch_head *h, uint64_t from)
{
    struct record_iter it;
    struct record rec;
    struct buf scratch = {0};
    struct werror e = {0};
    uint64_t offset = h->base_offset;

    if (record_open(&it, batch, h, &scratch, &e) != WERR_OK) {
        sim_fail(s, "A4 a stored batch does not open: %s", e.text);
        return;
    }
    while (record_next(&it, &rec)) {
        if (offset >= from) {
            learn(s, tid, p, offset, value_id(&rec), h->append_ms, VAL_READ);
            s->n_read++;
        }
        offset++;
    }
    if (it.err != WERR_OK || offset != h->base_offset + h->count) {
        sim_fail(s, "A4 a stored batch has other records than it says");
    }
    buf_fini(&scratch);
}

void model_read(struct sim *s, uint64_t tid, uint32_t p, const struct core_piece *piece,
                uint64_t *next)
{
    struct slice run = {.p = piece->data.p, .n = piece->data.n}, batch;
    struct batch_head h;
    struct werror e = {0};
    enum werr rc;

    while ((rc = batch_next(&run, true, &h, &batch, &e)) == WERR_OK && !s->failed) {
        if (h.base_offset > *next || h.base_offset + h.count <= *next) {
            sim_fail(s, "A9 reader of %llu/%u wants offset %llu, gets %llu to %llu",
                     (unsigned long long)tid, p, (unsigned long long)*next,
                     (unsigned long long)h.base_offset,
                     (unsigned long long)(h.base_offset + h.count));
            return;
        }
        if (h.base_offset + h.count > piece->hw) {
            sim_fail(s, "G2 batch up to %llu read, high watermark %llu",
                     (unsigned long long)(h.base_offset + h.count), (unsigned long long)piece->hw);
        }
        read_batch(s, tid, p, batch, &h, *next);
        *next = h.base_offset + h.count;
        sim_trace(s, "read", tid * 100 + p, h.base_offset, h.count);
    }
    if (rc != WERR_NOT_FOUND && !s->failed) {
        sim_fail(s, "A4 damaged batch read: %s", e.text);
    }
}

/* ---------------------------------------------------------------- marks and restarts */

static void check_trim(struct sim *s, const struct mtopic *t, uint32_t p, uint64_t start)
{
    const struct mpart *mp = &t->parts[p];

    if (start > mp->start && t->retention_ms == 0 && !t->sized) {
        sim_fail(s, "G9 %s/%u was trimmed to %llu without a rule", t->name, p,
                 (unsigned long long)start);
    }
    for (uint64_t o = mp->start; o < start && o < mp->n && !t->sized; o++) {
        const struct mval *v = &mp->vals[o];
        if (v->id != 0 && v->at_mono_ns + t->retention_ms * 1000000 >
                              s->mono_ns + SLACK_NS + INT64_C(60) * 1000000000) {
            sim_fail(s, "G9 %s/%u offset %llu was deleted %lld ms after it was stored", t->name, p,
                     (unsigned long long)o, (long long)((s->mono_ns - v->at_mono_ns) / 1000000));
        }
    }
}

void model_marks(struct sim *s, uint64_t tid, uint32_t p, uint64_t start, uint64_t hw)
{
    struct mtopic *t = model_topic(s, tid);

    if (t == NULL || s->failed) {
        return;
    }
    struct mpart *mp = &t->parts[p];
    if (hw < mp->hw) {
        sim_fail(s, "A9 high watermark of %s/%u was %llu, is %llu", t->name, p,
                 (unsigned long long)mp->hw, (unsigned long long)hw);
    }
    if (start < mp->start && s->fault_armed) {
        mp->start = start; /* a trim that met a full disk is taken back */
    }
    if (start < mp->start || start > hw) {
        sim_fail(s, "log start of %s/%u was %llu, is %llu, high watermark %llu", t->name, p,
                 (unsigned long long)mp->start, (unsigned long long)start, (unsigned long long)hw);
    }
    check_trim(s, t, p, start);
    s->n_trimmed += start - mp->start;
    mp->start = start;
    mp->hw = hw;
}

static void check_part(struct sim *s, struct mtopic *t, uint32_t p, uint64_t hw, bool power)
{
    struct mpart *mp = &t->parts[p];

    for (uint64_t o = hw; o < mp->n; o++) {
        const struct mval *v = &mp->vals[o];
        if (v->id == 0) {
            continue;
        }
        if ((v->flags & VAL_READ) != 0) {
            sim_fail(s, "A9 %s/%u offset %llu was read and is gone (high watermark %llu)", t->name,
                     p, (unsigned long long)o, (unsigned long long)hw);
        } else if ((v->flags & VAL_ACK_DISK) != 0) {
            sim_fail(s, "A1 %s/%u offset %llu was acknowledged and is gone (high watermark %llu)",
                     t->name, p, (unsigned long long)o, (unsigned long long)hw);
        } else if (!power) {
            sim_fail(s, "A1 %s/%u offset %llu was written and did not survive a kill", t->name, p,
                     (unsigned long long)o);
        }
        s->n_lost_os++;
        t->power_cut = true;
    }
    if (hw < mp->n) {
        memset(mp->vals + hw, 0, (mp->n - hw) * sizeof *mp->vals);
        mp->n = hw;
    }
}

void model_restarted(struct sim *s, bool power)
{
    struct msg_part_stat stats[SIM_PARTS];

    for (unsigned i = 0; i < SIM_TOPICS; i++) {
        struct mtopic *t = &s->topics[i];
        const struct core_topic *ct = t->exists ? core_topic_by_id(s->co, t->tid) : NULL;
        if (ct == NULL) {
            continue;
        }
        if (power && t->was_os) {
            t->power_cut = true;
        }
        core_topic_stats(s->co, ct, stats);
        for (uint32_t p = 0; p < t->n_parts; p++) {
            check_part(s, t, p, stats[p].hw, power);
            if (stats[p].log_start < t->parts[p].start) {
                t->parts[p].start = stats[p].log_start; /* a trim is not durable at once */
            }
            model_marks(s, t->tid, p, stats[p].log_start, stats[p].hw);
            sim_trace(s, "restarted", t->tid * 100 + p, stats[p].log_start, stats[p].hw);
        }
    }
}

/* ---------------------------------------------------------------- the whole log */

static int by_id(const void *a, const void *b)
{
    const struct mval *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* No value twice, and every producer's values in the order in which it sent them. */
static void check_whole(struct sim *s, struct mtopic *t, uint32_t p, uint64_t start, uint64_t hw)
{
    const struct mpart *mp = &t->parts[p];
    const uint64_t n = hw - start;
    uint64_t last[SIM_PRODUCERS] = {0};

    for (uint64_t o = start; o < hw && !s->failed; o++) {
        const uint64_t id = mp->vals[o].id;
        const struct mbatch *b = batch_of(s, id);
        if (b == NULL || b->tid != t->tid || b->p != p) {
            sim_fail(s, "A4 %s/%u offset %llu has value %llu, which nobody sent there", t->name, p,
                     (unsigned long long)o, (unsigned long long)id);
            return;
        }
        if (b->zombie) {
            sim_fail(s, "G5 %s/%u offset %llu: a fenced producer's batch was stored", t->name, p,
                     (unsigned long long)o);
        }
        if (b->pid != 0 && id <= last[b->producer]) {
            sim_fail(s, "A3 %s/%u offset %llu: value %llu of producer %u after %llu", t->name, p,
                     (unsigned long long)o, (unsigned long long)id, b->producer,
                     (unsigned long long)last[b->producer]);
        }
        last[b->producer] = b->pid != 0 ? id : last[b->producer];
    }
    struct mval *copy = calloc(n + 1, sizeof *copy);
    memcpy(copy, mp->vals + start, n * sizeof *copy);
    qsort(copy, n, sizeof *copy, by_id);
    for (uint64_t i = 1; i < n && !s->failed; i++) {
        if (copy[i].id == copy[i - 1].id) {
            sim_fail(s, "A2 value %llu is in %s/%u twice", (unsigned long long)copy[i].id, t->name,
                     p);
        }
    }
    free(copy);
}

static void on_ready(void *arg)
{
    (void)arg;
}

static void scan_part(struct sim *s, struct mtopic *t, uint32_t p)
{
    struct core_reader *rd = core_reader_new(s->co, on_ready, NULL);
    struct core_piece piece;
    struct werror e = {0};
    struct msg_part_stat stats[SIM_PARTS];

    core_topic_stats(s->co, core_topic_by_id(s->co, t->tid), stats);
    model_marks(s, t->tid, p, stats[p].log_start, stats[p].hw);
    uint64_t next = stats[p].log_start;
    if (core_reader_add(rd, t->tid, p, next, false, 0, &e) != WERR_OK) {
        sim_fail(s, "no reader for %s/%u: %s", t->name, p, e.text);
    }
    for (int i = 0; i < 100000 && next < stats[p].hw && !s->failed; i++) {
        if (core_reader_pull(rd, 4096, false, &piece, 1) == 0) {
            core_flush(s->co);
            store_step(s->st);
            continue;
        }
        if (piece.err.code != WERR_OK) {
            sim_fail(s, "A1 %s/%u offset %llu cannot be read: %s", t->name, p,
                     (unsigned long long)next, piece.err.text);
        }
        model_read(s, t->tid, p, &piece, &next);
        blob_unref(piece.data.owner);
    }
    if (next != stats[p].hw) {
        sim_fail(s, "A6 %s/%u reads up to %llu of %llu", t->name, p, (unsigned long long)next,
                 (unsigned long long)stats[p].hw);
    }
    core_reader_free(rd);
}

void model_scan(struct sim *s)
{
    for (unsigned i = 0; i < SIM_TOPICS && !s->failed; i++) {
        struct mtopic *t = &s->topics[i];
        for (uint32_t p = 0; model_topic_lives(s, t) && p < t->n_parts && !s->failed; p++) {
            scan_part(s, t, p);
            check_whole(s, t, p, t->parts[p].start, t->parts[p].hw);
        }
    }
}
