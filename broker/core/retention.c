/*
 * Upkeep, about once a second while there is work and once a minute otherwise: deletes by age and
 * size, ends buckets, lets the store free space, forgets old producers.
 *
 * Deletion goes range by range (a partition's part of a bucket), oldest first, and never into the
 * active bucket: if that holds what has to go, the bucket is ended first, with the dedupe windows
 * in the same txn, so no producer's state is deleted together with messages. Age is judged by the
 * steady wall time; while that is frozen nothing is deleted by age.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

static const int64_t SECOND_NS = 1000000000;
static const int64_t IDLE_NS = INT64_C(60) * 1000000000;
static const int64_t BUSY_NS = INT64_C(10) * 1000000000; /* stay awake so long after work */
static const int64_t ROLL_APART_NS = INT64_C(5) * 1000000000;
static const int64_t SWEEP_NS = INT64_C(600) * 1000000000;
enum { PARTS_PER_RUN = 4096, DEDUPES_PER_RUN = 20000 };

/* ---------------------------------------------------------------- trimming */

static void trim_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    (void)rc; /* did not happen: the next run tries again */
    (void)e;
    if (stage == STORE_DONE) {
        free(j);
    }
}

/* What one run deletes. */
struct sweep {
    struct store_txn *txn; /* NULL: nothing yet */
    int64_t now_ms;
    bool by_age;
    bool look; /* only find out what is held */
    size_t trims;
    bool want_roll; /* the active bucket holds something that has to go */
};

/* Trims up to the end of r or to what a group has not read. Returns how many bytes of r stay. */
static uint64_t trim(struct core *co, struct sweep *s, struct part *pt, const struct store_range *r)
{
    const uint64_t hold = retention_hold_offset(co, pt);
    const uint64_t to = r->next < hold ? r->next : hold;
    const uint64_t held =
        to <= r->first ? r->bytes : r->bytes / (r->next - r->first) * (r->next - to);

    if (to <= part_start(co, pt) || s->look) {
        return held;
    }
    s->txn = s->txn != NULL ? s->txn : store_txn_new(co->st);
    txn_trim(s->txn, pt->id, to);
    tail_trim(&co->tail, &pt->tail, to);
    s->trims++;
    co->stats.retention_trims++;
    co->stats.retention_bytes += r->bytes - held;
    return held;
}

static void trim_by_age(struct core *co, struct sweep *s, struct part *pt)
{
    const int64_t keep_ms = (int64_t)pt->topic->conf.retention_ms;
    struct store_range r;

    pt->held_age = 0;
    if (keep_ms == 0 || !s->by_age) {
        return;
    }
    for (size_t i = 0; store_range_at(co->st, pt->id, i, &r); i++) {
        if (r.max_append_ms >= s->now_ms - keep_ms || r.next > pt->hw) {
            return;
        }
        if (!r.sealed) {
            s->want_roll = true;
            return;
        }
        pt->held_age += trim(co, s, pt, &r);
    }
}

/* The partition of t whose oldest range comes first, past what this run already trims. */
static struct part *oldest(struct core *co, const struct core_topic *t, const size_t *skip,
                           struct store_range *out)
{
    struct part *found = NULL;
    struct store_range r;

    for (uint32_t p = 0; p < t->n_parts; p++) {
        if (store_range_at(co->st, t->parts[p]->id, skip[p], &r) &&
            (found == NULL || r.bucket < out->bucket)) {
            found = t->parts[p];
            *out = r;
        }
    }
    return found;
}

/* Keeps at least retention.bytes of the topic, at most one range more. */
static void trim_by_size(struct core *co, struct sweep *s, struct core_topic *t)
{
    const uint64_t keep = t->conf.retention_bytes;
    uint64_t total = 0;
    size_t skip[LIMIT_PARTITIONS];
    struct store_range r;
    struct part *pt;

    for (uint32_t p = 0; keep > 0 && p < t->n_parts; p++) {
        total += store_partition_bytes(co->st, t->parts[p]->id);
        t->parts[p]->held_size = 0;
        skip[p] = 0;
    }
    while (keep > 0 && total > keep && (pt = oldest(co, t, skip, &r)) != NULL) {
        if (r.next > pt->hw) {
            return;
        }
        if (!r.sealed) {
            s->want_roll = s->want_roll || total >= 2 * keep;
            return;
        }
        if (total - r.bytes < keep) {
            return;
        }
        pt->held_size += trim(co, s, pt, &r);
        total -= r.bytes;
        skip[pt->p]++;
    }
}

/* A bounded number of partitions per run, so that 100,000 topics do not stall the loop. */
static void sweep_topics(struct core *co, struct sweep *s)
{
    size_t parts = 0;

    for (size_t n = 0; n < co->n_names && parts < PARTS_PER_RUN; n++) {
        if (co->retention_at >= co->n_names) {
            co->retention_at = 0;
        }
        struct core_topic *t = co->names[co->retention_at++];
        parts += t->n_parts;
        if (t->hidden) {
            continue;
        }
        const size_t before = s->trims;
        for (uint32_t p = 0; p < t->n_parts; p++) {
            trim_by_age(co, s, t->parts[p]);
        }
        if (s->trims == before) { /* else the sizes are about to change */
            trim_by_size(co, s, t);
        }
        hold_topic_done(co, t);
    }
}

void retention_look(struct core *co, struct core_topic *t)
{
    struct sweep s = {.now_ms = core_wall_ms(co), .by_age = !co->wall.frozen, .look = true};

    for (uint32_t p = 0; p < t->n_parts; p++) {
        trim_by_age(co, &s, t->parts[p]);
    }
    trim_by_size(co, &s, t);
    hold_topic_done(co, t);
}

/* ---------------------------------------------------------------- rolling */

static void roll_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct core *co = j->co;

    (void)e;
    if (stage == STORE_DONE) {
        co->roll_in_flight = false;
        dedupe_rolled(co, rc == WERR_OK);
        free(j);
        retention_changed(co); /* what waited for it can go now */
    }
}

static void roll(struct core *co)
{
    struct job *j = core_calloc(1, sizeof *j);

    flight_submit(co); /* the windows' batches lie in the bucket that ends */
    struct store_txn *t = dedupe_snapshot(co);
    txn_roll(t);
    j->run = roll_run;
    co->roll_in_flight = true;
    job_submit(co, j, t, STORE_LAZY, false);
}

/* ---------------------------------------------------------------- the run */

static void look_at_clock(struct core *co)
{
    const bool was = co->wall.frozen;

    (void)core_wall_ms(co);
    if (was != co->wall.frozen) {
        retention_changed(co);
    }
}

static void sweep_once(struct core *co, int64_t now_ns)
{
    struct sweep s = {.now_ms = core_wall_ms(co), .by_age = !co->wall.frozen};

    sweep_topics(co, &s);
    hold_run(co, s.now_ms);
    if (s.txn != NULL) {
        struct job *j = core_calloc(1, sizeof *j);
        j->run = trim_run;
        job_submit(co, j, s.txn, STORE_LAZY, false);
        retention_changed(co);
    }
    const bool due = store_roll_due(co->st, now_ns) ||
                     (s.want_roll && now_ns - co->roll_mono_ns >= ROLL_APART_NS);
    if (due && !co->roll_in_flight) {
        co->roll_mono_ns = now_ns;
        roll(co);
    } else if (s.want_roll) {
        retention_changed(co);
    }
}

void retention_init(struct core *co)
{
    const int64_t now_ns = core_mono_ns(co);

    co->upkeep_mono_ns = now_ns + SECOND_NS;
    co->changed_mono_ns = now_ns;
    co->sweep_mono_ns = now_ns + SWEEP_NS;
    co->roll_mono_ns = now_ns - ROLL_APART_NS;
}

void retention_changed(struct core *co)
{
    const int64_t now_ns = core_mono_ns(co);

    co->changed_mono_ns = now_ns;
    if (co->upkeep_mono_ns > now_ns + SECOND_NS) {
        co->upkeep_mono_ns = now_ns + SECOND_NS;
    }
}

void retention_roll_soon(struct core *co)
{
    const int64_t now_ns = core_mono_ns(co);

    if (!co->roll_in_flight && co->upkeep_mono_ns > now_ns && store_roll_due(co->st, now_ns)) {
        co->upkeep_mono_ns = now_ns;
    }
}

void retention_run(struct core *co)
{
    const int64_t now_ns = core_mono_ns(co);

    if (now_ns < co->upkeep_mono_ns) {
        return;
    }
    /* A full store finds out that there is room again only when store_gc asks. */
    const bool busy = now_ns - co->changed_mono_ns < BUSY_NS || store_state(co->st) == STORE_FULL;
    co->upkeep_mono_ns = now_ns + (busy ? SECOND_NS : IDLE_NS);
    if (co->failed || store_state(co->st) == STORE_FAILED) {
        return;
    }
    look_at_clock(co);
    sweep_once(co, now_ns);
    store_gc(co->st, now_ns);
    if (now_ns >= co->sweep_mono_ns) {
        co->sweep_mono_ns = now_ns + SWEEP_NS;
        dedupe_evict(co, DEDUPES_PER_RUN);
        producer_evict(co);
    }
}
