/*
 * The front: ties index, commit queue, readers, gc and upkeep to one kv and one clog.
 *
 * Happy path: store_submit enters a txn into the index and queues it; the commit thread and the log
 * make it durable; store_poll delivers completions and finished jobs on the owner thread.
 * What can fail: see commit.c. A full disk comes back here: everything that did not happen is taken
 * out of the index, newest first, before the first refusal is delivered; from then on
 * store_next_offset shows the durable end again.
 * Who owns what: the store owns kv, clog and all threads; txns from submit to completion.
 */
#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/clock.h"
#include "storage/scan.h"
#include "storage/store_priv.h"

enum { ROW_OVERHEAD = 64 };

int64_t store_now_ns(struct store *st)
{
    return st->conf.mono_ns != NULL ? st->conf.mono_ns(st->conf.wakeup_arg) : store_mono_ns();
}

/* ---------------------------------------------------------------- submit and poll */

void store_submit(struct store *st, struct store_txn *t, enum store_sync sync, bool want_written,
                  store_txn_fn fn, void *arg)
{
    t->lazy = sync == STORE_LAZY;
    t->want_written = want_written && fn != NULL;
    t->fn = fn;
    t->arg = arg;
    t->seq = ++st->next_seq;
    txn_enter(t, &st->ix);
    /* Rows lie in memory beside the bucket until it ends, with about this much around each. */
    st->row_bytes = t->has_roll ? 0 : st->row_bytes + t->arena.len + ROW_OVERHEAD * t->n_rows;
    st->pending++;
    st->queued_bytes += t->bytes;
    commit_submit(&st->commit, t);
}

static unsigned deliver_written(struct group *g)
{
    unsigned n = 0;
    for (struct store_txn *t = g->txns; t != NULL; t = t->next) {
        if (t->want_written) {
            t->fn(t->arg, STORE_WRITTEN, WERR_OK, &g->err);
            n++;
        }
    }
    return n;
}

static unsigned deliver_done(struct store *st, struct group *g)
{
    unsigned n = 0;
    if (g->rc == WERR_STORAGE_FULL) {
        st->hard_full = true;
    }
    for (struct store_txn *t = g->txns; t != NULL; t = t->next) {
        st->pending--;
        st->queued_bytes -= t->bytes;
        if (g->rc == WERR_OK) {
            gc_txn_durable(st, t);
        }
        if (t->fn != NULL) {
            t->fn(t->arg, STORE_DONE, g->rc, &g->err);
        }
        n++;
    }
    commit_group_free(g);
    return n;
}

/* Takes everything that met a full disk back out of the index, newest first. */
static void undo_full(struct store *st)
{
    struct group *groups = commit_full_groups(&st->commit);
    size_t n = 0, i = 0;
    for (const struct group *g = groups; g != NULL; g = g->next) {
        n += g->n_txns;
    }
    struct store_txn **txns = must_calloc(n, sizeof(*txns));
    for (struct group *g = groups; g != NULL; g = g->next) {
        for (struct store_txn *t = g->txns; t != NULL; t = t->next) {
            txns[i++] = t;
        }
    }
    while (i > 0) {
        txn_undo(txns[--i], &st->ix);
    }
    free(txns);
    commit_resume(&st->commit);
}

static unsigned poll_jobs(struct store *st)
{
    unsigned n = 0;
    struct job *next = NULL;
    for (struct job *j = job_list_take(&st->finished); j != NULL; j = next) {
        next = j->next;
        j->done(j);
        n++;
    }
    return n;
}

unsigned store_poll(struct store *st)
{
    unsigned n = 0;
    /* Cleared before anything is taken: what comes later wakes the owner again. */
    st->awake = false;
    if (st->mode == FRONT_STEPPED) {
        workers_step(&st->readers);
        workers_step(&st->helper);
    }
    for (;;) {
        bool full = false;
        struct commit_event *ev = commit_next_event(&st->commit, &full);
        if (full) {
            undo_full(st);
            continue;
        }
        if (ev == NULL) {
            break;
        }
        n += ev->stage == STORE_WRITTEN ? deliver_written(ev->group) : deliver_done(st, ev->group);
    }
    return n + poll_jobs(st);
}

/* ---------------------------------------------------------------- stepped mode */

void front_step_write(struct store *st)
{
    commit_step(&st->commit);
}

void front_step_sync(struct store *st)
{
    if (st->log->ops->step_sync != NULL) {
        st->log->ops->step_sync(st->log);
    }
    upkeep_look(&st->upkeep);
    workers_step(&st->readers);
    workers_step(&st->helper);
}

struct kv *front_kv(struct store *st)
{
    return st->kv;
}

struct clog *front_clog(struct store *st)
{
    return st->log;
}

/* ---------------------------------------------------------------- index */

uint64_t store_log_start(struct store *st, uint32_t partition)
{
    const struct index_part *p = index_part(&st->ix, partition);
    return p != NULL ? p->start : 0;
}

uint64_t store_next_offset(struct store *st, uint32_t partition)
{
    const struct index_part *p = index_part(&st->ix, partition);
    return p != NULL ? p->next : 0;
}

int64_t store_last_append_ms(struct store *st, uint32_t partition)
{
    const struct index_part *p = index_part(&st->ix, partition);
    return p != NULL && p->n > 0 ? p->last_ms : 0;
}

uint64_t store_partition_bytes(struct store *st, uint32_t partition)
{
    const struct index_part *p = index_part(&st->ix, partition);
    return p != NULL ? index_part_bytes(p) : 0;
}

bool store_range_at(struct store *st, uint32_t partition, size_t i, struct store_range *r)
{
    const struct index_part *p = index_part(&st->ix, partition);
    if (p == NULL || i >= p->n) {
        return false;
    }
    const struct index_range *x = &p->ranges[i];
    *r = (struct store_range){.bucket = x->bucket,
                              .table = (enum store_table)x->table,
                              .first = x->first > p->start ? x->first : p->start,
                              .next = x->next,
                              .bytes = index_live_bytes(x, p->start),
                              .min_append_ms = x->min_ms,
                              .max_append_ms = x->max_ms,
                              .sealed = x->bucket != st->ix.active};
    return true;
}

void store_partition_at(struct store *st, uint32_t partition, uint64_t next_offset)
{
    struct store_txn *t = store_txn_new(st);
    txn_at(t, partition, next_offset);
    store_submit(st, t, STORE_LAZY, false, NULL, NULL);
}

bool store_roll_due(struct store *st, int64_t now_mono_ns)
{
    const struct index_bucket *b = index_bucket(&st->ix, st->ix.active);
    (void)now_mono_ns;
    if (b->total + st->row_bytes >= st->conf.bucket_bytes) {
        return true; /* else RocksDB would end a file of the log by itself, or keep too much */
    }
    /* Below a 64th of a bucket there is too little to win for a file of its own. */
    uint64_t dead = b->total > b->live ? b->total - b->live : 0;
    return b->total >= st->conf.bucket_bytes / 64 && b->total > 0 &&
           dead > b->total / 100 * GC_DEAD_PERCENT;
}

/* ---------------------------------------------------------------- metadata */

enum werr store_get(struct store *st, enum store_table t, struct slice key, struct buf *out,
                    struct werror *e)
{
    return st->kv->ops->get(st->kv, t, key, out, e);
}

enum werr store_scan(struct store *st, enum store_table t, struct slice lo, struct slice hi,
                     store_row_fn fn, void *arg, struct werror *e)
{
    return kv_scan(st->kv, t, lo, hi, fn, arg, e);
}

enum werr store_tail(struct store *st, store_tail_fn fn, void *arg, struct werror *e)
{
    struct bucket_scan s;
    struct scan_row row;
    /* Without TABLE_HOLD: what was moved there is old, its windows were saved with its bucket. */
    enum werr rc = bucket_scan_open(&s, st->kv, st->ix.active, false, e);
    while (rc == WERR_OK) {
        rc = bucket_scan_next(&s, &row, e);
        while (rc == WERR_OK && row.value.n > 0) {
            struct batch_head h;
            struct slice batch;
            rc = batch_next(&row.value, false, &h, &batch, e);
            if (rc == WERR_OK) {
                rc = fn(arg, row.partition, &h);
            }
        }
    }
    bucket_scan_close(&s);
    return rc == WERR_NOT_FOUND ? WERR_OK : rc;
}

struct replay {
    enum werr (*fn)(void *arg, uint64_t lsn, struct slice rec);
    void *arg;
};

static enum werr replay_record(void *arg, struct clog_pos pos, enum clog_kind kind,
                               struct slice rec)
{
    struct replay *r = arg;
    return kind == CLOG_BATCH ? r->fn(r->arg, pos.lsn, rec) : WERR_OK;
}

enum werr store_replay(struct store *st, uint64_t from_lsn,
                       enum werr (*fn)(void *arg, uint64_t lsn, struct slice rec), void *arg,
                       struct werror *e)
{
    struct replay r = {fn, arg};
    struct clog_pos from = {0, from_lsn};
    return st->log->ops->replay(st->log, from, replay_record, &r, e);
}

/* ---------------------------------------------------------------- state */

enum store_state store_state(struct store *st)
{
    switch (commit_health(&st->commit, &st->reason)) {
    case COMMIT_FAILED:
        return STORE_FAILED;
    case COMMIT_FULL:
        return STORE_FULL;
    case COMMIT_RUN:
        break;
    }
    struct kv_stats s;
    if (st->hard_full) {
        werror_set(&st->reason, WERR_STORAGE_FULL, "a write met a full disk");
        return STORE_FULL;
    }
    if (!st->upkeep.low) {
        return STORE_READY;
    }
    upkeep_stats(&st->upkeep, &s);
    werror_set(&st->reason, WERR_STORAGE_FULL, "%llu MiB free of %llu",
               (unsigned long long)(s.free_bytes >> 20), (unsigned long long)(s.total_bytes >> 20));
    return STORE_FULL;
}

void store_set_min_free(struct store *st, uint64_t min_free_bytes)
{
    st->upkeep.min_free_conf = min_free_bytes;
}

const struct werror *store_state_reason(struct store *st)
{
    if (store_state(st) == STORE_READY) {
        st->reason = (struct werror){0};
    }
    return &st->reason;
}

void store_stats(struct store *st, struct store_stats *s)
{
    struct kv_stats k;
    upkeep_stats(&st->upkeep, &k);
    *s = (struct store_stats){.disk_bytes = k.disk_bytes,
                              .free_bytes = k.free_bytes,
                              .log_bytes = k.log_bytes,
                              .reads = st->reads.reads,
                              .read_bytes = st->reads.read_bytes,
                              .moved_bytes = st->gc.moved_bytes,
                              .reclaimed_bytes = st->gc.reclaimed_bytes,
                              .buckets = (uint32_t)st->ix.n_buckets,
                              .queued_bytes = st->queued_bytes};
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        s->live_bytes += st->ix.buckets[i].live;
    }
    pthread_mutex_lock(&st->commit.mu);
    const struct commit_stats *c = &st->commit.stats;
    s->groups = c->groups;
    s->records_bytes = c->record_bytes;
    s->txns = c->txns;
    s->syncs = c->syncs;
    s->sync_ns_total = c->sync_ns_total;
    s->sync_ns_max = c->sync_ns_max;
    s->epoch = st->commit.durable.epoch;
    s->lsn = st->commit.durable.lsn;
    pthread_mutex_unlock(&st->commit.mu);
}

uint64_t store_epoch(struct store *st)
{
    return st->epoch;
}

const uint8_t *store_uuid(struct store *st)
{
    return st->uuid;
}

/* ---------------------------------------------------------------- checkpoint */

struct checkpoint_job {
    struct job job;
    struct store *st;
    char *dir;
    int64_t wall_ms;
    void (*fn)(void *arg, enum werr rc, const struct werror *e);
    void *arg;
    enum werr rc;
    struct werror err;
};

static void run_checkpoint(struct job *job)
{
    struct checkpoint_job *j = (struct checkpoint_job *)(void *)job;
    j->err = (struct werror){0};
    j->rc = j->st->kv->ops->checkpoint(j->st->kv, j->dir, j->wall_ms, &j->err);
}

static void drop_checkpoint(struct job *job)
{
    struct checkpoint_job *j = (struct checkpoint_job *)(void *)job;
    free(j->dir);
    free(j);
}

static void done_checkpoint(struct job *job)
{
    struct checkpoint_job *j = (struct checkpoint_job *)(void *)job;
    j->st->gc.jobs--;
    j->fn(j->arg, j->rc, &j->err);
    drop_checkpoint(job);
}

void store_checkpoint(struct store *st, const char *dir, int64_t wall_ms,
                      void (*fn)(void *arg, enum werr rc, const struct werror *e), void *arg)
{
    struct checkpoint_job *j = must_calloc(1, sizeof(*j));
    size_t n = strlen(dir) + 1;
    j->job = (struct job){.run = run_checkpoint, .done = done_checkpoint, .drop = drop_checkpoint};
    j->st = st;
    j->dir = must_calloc(n, 1);
    memcpy(j->dir, dir, n);
    j->wall_ms = wall_ms;
    j->fn = fn;
    j->arg = arg;
    j->rc = werror_set(&j->err, WERR_CLOSED, "store closed");
    st->gc.jobs++;
    workers_push(&st->helper, &j->job);
}

/* ---------------------------------------------------------------- close */

static void stop_threads(struct store *st, bool abandon)
{
    workers_close(&st->readers);
    workers_close(&st->helper);
    commit_stop(&st->commit, abandon);
    upkeep_stop(&st->upkeep);
    st->log->ops->close(st->log);
}

static void free_all(struct store *st)
{
    st->kv->ops->close(st->kv);
    commit_fini(&st->commit);
    upkeep_fini(&st->upkeep);
    gc_fini(&st->gc);
    job_list_fini(&st->finished);
    index_fini(&st->ix);
    free(st);
}

/* Everything submitted gets its outcome, also what completions submit. */
static void drain(struct store *st)
{
    while (store_poll(st) > 0 || st->pending > 0) {
        if (st->pending == 0) {
            continue;
        }
        if (st->mode == FRONT_STEPPED) {
            front_step_write(st);
            front_step_sync(st);
        } else {
            commit_wait_event(&st->commit);
        }
    }
}

void store_close(struct store *st)
{
    struct werror e;
    if (st == NULL) {
        return;
    }
    st->closing = true;
    /* Reads that did not run yet, and those that completions start from now on, end as CLOSED. */
    workers_close(&st->readers);
    workers_close(&st->helper);
    drain(st);
    stop_threads(st, false);
    WEIR_KILLPOINT(stop_closing);
    if (commit_health(&st->commit, NULL) == COMMIT_RUN &&
        upkeep_floor(&st->upkeep, true, &e) != WERR_OK && st->conf.log != NULL) {
        st->conf.log(st->conf.log_arg, "floor_failed", e.text);
    }
    free_all(st);
}

void front_abandon(struct store *st)
{
    struct job *next = NULL;
    st->closing = true;
    stop_threads(st, true);
    for (struct job *j = job_list_take(&st->finished); j != NULL; j = next) {
        next = j->next;
        j->drop(j);
    }
    free_all(st);
}
