/*
 * Producer ids and their epochs. Unnamed ids come from blocks that are reserved durably before one
 * of them is given out, so none is used twice, also after a crash. A named producer keeps its id;
 * each INIT raises its epoch, which fences the holder before.
 *
 * What can fail: the store is full: the INIT is refused and may be repeated. Who owns what: core
 * owns the named producers; a waiting INIT is owned by its caller, its place in line by core.
 */
#include <assert.h>

#include "broker/core/core_impl.h"
#include "broker/core/mem.h"
#include "proto/killpoint.h"

enum { PID_BLOCK = 4096, PID_LOW = 512, COUNTERS_VERSION = 2, NAMED_VERSION = 1 };
enum { COUNTERS_V1_BYTES = 1 + 8 + 4 + 8 + 8, COUNTERS_BYTES = COUNTERS_V1_BYTES + 8 };
enum { NAMED_BYTES = 1 + 8 + 2 + 8 };
enum { MAX_NAMED = 100 * 1000 };
/* Ids of named producers have this bit, so the two kinds share no numbers. u53 on the wire. */
static const uint64_t NAMED_PID = UINT64_C(1) << 52;
static const int64_t NAME_LIFE_MS = INT64_C(30) * 24 * 3600 * 1000;

struct pid_wait {
    struct pid_wait *next;
    struct core_producer_rq *rq;
};

/* ---------------------------------------------------------------- counters */

void counters_put(struct core *co, struct store_txn *t)
{
    const struct meta_key k = meta_key(META_COUNTERS);
    uint8_t row[COUNTERS_BYTES];

    row[0] = COUNTERS_VERSION;
    put_be64(row + 1, co->next_tid);
    put_be32(row + 9, co->next_part);
    put_be64(row + 13, co->pid_limit);
    put_be64(row + 21, co->next_named);
    put_be64(row + 29, co->next_gid);
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, sizeof row));
}

/* Version 1 knew no groups. */
static bool counters_fit(const struct buf *row)
{
    return (row->len == COUNTERS_BYTES && row->p[0] == COUNTERS_VERSION) ||
           (row->len == COUNTERS_V1_BYTES && row->p[0] == 1);
}

/* Ids travel as integers below 2^53; one beyond would make rows that nobody reads back. */
static bool counters_sane(const struct core *co)
{
    return co->next_part <= PART_IDS && co->next_tid < NAMED_PID && co->pid_limit < NAMED_PID &&
           co->next_named < NAMED_PID && co->next_gid < NAMED_PID;
}

static enum werr counters_load(struct core *co, struct werror *e)
{
    const struct meta_key k = meta_key(META_COUNTERS);
    struct buf row;
    enum werr rc;

    buf_init(&row, 0);
    co->next_tid = 1;
    co->next_part = 0;
    co->pid_limit = 1;
    co->next_named = 1;
    co->next_gid = 1;
    rc = store_get(co->st, TABLE_META, key_slice(&k), &row, e);
    if (rc == WERR_NOT_FOUND) {
        rc = WERR_OK;
    } else if (rc == WERR_OK && !counters_fit(&row)) {
        rc = werror_set(e, WERR_CORRUPT, "counters row of %zu bytes", row.len);
    } else if (rc == WERR_OK) {
        co->next_tid = be64(row.p + 1);
        co->next_part = be32(row.p + 9);
        co->pid_limit = be64(row.p + 13);
        co->next_named = be64(row.p + 21);
        co->next_gid = row.len == COUNTERS_BYTES ? be64(row.p + 29) : 1;
        if (!counters_sane(co)) {
            rc = werror_set(e, WERR_CORRUPT, "counters row: a number that was never reached");
        }
    }
    co->next_pid = co->pid_durable = co->pid_at_open = co->pid_limit;
    co->named_at_open = co->next_named;
    buf_fini(&row);
    return rc;
}

bool producer_older(const struct core *co, uint64_t pid)
{
    return (pid & NAMED_PID) != 0 ? (pid & ~NAMED_PID) < co->named_at_open : pid < co->pid_at_open;
}

/* ---------------------------------------------------------------- unnamed producers */

struct pid_job {
    struct job job;
    uint64_t limit;
};

static void pids_reserve(struct core *co);

static bool pid_give(struct core *co, struct core_producer_rq *rq)
{
    if (co->next_pid >= co->pid_durable) {
        return false;
    }
    rq->pid = co->next_pid++;
    rq->epoch = 0;
    rq->err = (struct werror){.code = WERR_OK};
    rq->done(rq);
    return true;
}

/* Serves those in line, or tells all of them why not. */
static void pids_serve(struct core *co, enum werr rc, const struct werror *e)
{
    struct pid_wait *line = co->pid_waits;

    co->pid_waits = NULL;
    while (line != NULL) {
        struct pid_wait *w = line;
        line = w->next;
        if (rc != WERR_OK) {
            werror_set(&w->rq->err, rc, "%s", e != NULL ? e->text : werr_text(rc));
            w->rq->done(w->rq);
        } else if (!pid_give(co, w->rq)) {
            w->next = co->pid_waits; /* more in line than a block has: ask again */
            co->pid_waits = w;
            continue;
        }
        free(w);
    }
}

static void pid_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct pid_job *pj = (struct pid_job *)(void *)j;
    struct core *co = j->co;

    if (stage != STORE_DONE) {
        return;
    }
    WEIR_KILLPOINT(producer_durable);
    co->pids_asked = false;
    if (rc == WERR_OK && pj->limit > co->pid_durable) {
        co->pid_durable = pj->limit;
    }
    free(pj);
    pids_serve(co, rc, e);
    if (co->pid_waits != NULL) {
        pids_reserve(co);
    }
}

static void pids_reserve(struct core *co)
{
    if (co->pids_asked) {
        return;
    }
    struct pid_job *pj = core_calloc(1, sizeof *pj);
    struct store_txn *t = store_txn_new(co->st);

    co->pids_asked = true;
    co->pid_limit += PID_BLOCK;
    pj->job.run = pid_run;
    pj->limit = co->pid_limit;
    counters_put(co, t);
    job_submit(co, &pj->job, t, STORE_SYNC, false);
}

static void init_unnamed(struct core *co, struct core_producer_rq *rq)
{
    if (!pid_give(co, rq)) {
        struct pid_wait *w = core_calloc(1, sizeof *w);
        w->rq = rq;
        w->next = co->pid_waits;
        co->pid_waits = w;
    }
    if (co->pid_durable - co->next_pid < PID_LOW) {
        pids_reserve(co);
    }
}

/* ---------------------------------------------------------------- named producers */

struct named *named_by_pid(struct core *co, uint64_t pid)
{
    struct named *n = NULL;

    HASH_FIND(by_pid, co->names_by_pid, &pid, sizeof pid, n);
    return n;
}

static struct named *named_new(struct core *co, struct slice name, uint64_t pid)
{
    struct named *n = core_calloc(1, sizeof *n + name.n);

    n->pid = pid;
    n->name_n = (uint8_t)name.n;
    memcpy(n->name, name.p, name.n);
    LIST_INIT(&n->dedupes);
    HASH_ADD_KEYPTR(by_name, co->names_by_name, n->name, n->name_n, n);
    HASH_ADD(by_pid, co->names_by_pid, pid, sizeof n->pid, n);
    return n;
}

static void named_free(struct core *co, struct named *n)
{
    struct dedupe *d;

    while ((d = LIST_FIRST(&n->dedupes)) != NULL) {
        LIST_REMOVE(d, of_named);
        d->named = NULL;
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): uthash frees its table with the last entry */
    HASH_DELETE(by_name, co->names_by_name, n);
    HASH_DELETE(by_pid, co->names_by_pid, n);
    free(n);
}

static struct slice named_key(const struct named *n, uint8_t out[1 + LIMIT_NAME])
{
    out[0] = META_PRODUCER;
    memcpy(out + 1, n->name, n->name_n);
    return slice_of(out, 1 + (size_t)n->name_n);
}

static void named_put(const struct named *n, struct store_txn *t)
{
    uint8_t key[1 + LIMIT_NAME], row[NAMED_BYTES];

    row[0] = NAMED_VERSION;
    put_be64(row + 1, n->pid);
    put_be16(row + 9, n->epoch);
    put_be64(row + 11, (uint64_t)n->used_ms);
    txn_put(t, TABLE_META, named_key(n, key), slice_of(row, sizeof row));
}

struct named_job {
    struct job job;
    struct core_producer_rq *rq;
    uint64_t pid;
    uint16_t epoch;
};

/* Everything appended before this INIT is durable now: the positions are final. */
static void positions(struct core *co, struct core_producer_rq *rq)
{
    const struct named *n = named_by_pid(co, rq->pid);
    const struct dedupe *d;
    size_t n_pos = 0;

    if (n == NULL) {
        return;
    }
    LIST_FOREACH (d, &n->dedupes, of_named) {
        n_pos += d->w.next_seq > 0 && !d->delayed;
    }
    rq->pos = n_pos > 0 ? core_calloc(n_pos, sizeof *rq->pos) : NULL;
    LIST_FOREACH (d, &n->dedupes, of_named) {
        if (d->w.next_seq > 0 && !d->delayed) {
            rq->pos[rq->n_pos++] =
                (struct msg_producer_pos){.tid = d->part->topic->tid,
                                          .p = d->part->p,
                                          .last_seq = (uint32_t)(d->w.next_seq - 1),
                                          .last_offset = window_end_offset(&d->w) - 1};
        }
    }
}

static void named_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct named_job *nj = (struct named_job *)(void *)j;
    struct core_producer_rq *rq = nj->rq;

    if (stage != STORE_DONE) {
        return;
    }
    rq->pid = nj->pid;
    rq->epoch = nj->epoch;
    rq->err = (struct werror){.code = WERR_OK};
    if (rc == WERR_OK) {
        positions(j->co, rq);
    } else {
        werror_set(&rq->err, rc, "%s", e != NULL ? e->text : werr_text(rc));
    }
    free(nj);
    rq->done(rq);
}

static void init_named(struct core *co, struct core_producer_rq *rq)
{
    struct named *n = NULL;

    HASH_FIND(by_name, co->names_by_name, rq->name.p, rq->name.n, n);
    if (n != NULL && n->epoch == UINT16_MAX) {
        named_free(co, n); /* its epochs are used up: the name goes on with a new id */
        n = NULL;
    }
    if (n == NULL && HASH_CNT(by_name, co->names_by_name) >= MAX_NAMED) {
        werror_set(&rq->err, WERR_OVERLOADED, "%d named producers exist, no more are allowed",
                   MAX_NAMED);
        rq->done(rq);
        return;
    }
    struct store_txn *t = store_txn_new(co->st);
    if (n == NULL) {
        n = named_new(co, rq->name, NAMED_PID | co->next_named++);
    } else {
        n->epoch++; /* fences at once; durable before anybody is told */
    }
    n->used_ms = core_wall_ms(co);
    named_put(n, t);
    counters_put(co, t); /* always: the INIT that took the id may have met a full disk */
    struct named_job *nj = core_calloc(1, sizeof *nj);
    nj->job.run = named_run;
    nj->rq = rq;
    nj->pid = n->pid;
    nj->epoch = n->epoch;
    job_submit(co, &nj->job, t, STORE_SYNC, false);
}

void core_init_producer(struct core *co, struct core_producer_rq *rq)
{
    rq->pos = NULL;
    rq->n_pos = 0;
    rq->pid = 0;
    rq->epoch = 0;
    if (co->draining || co->failed) {
        werror_set(&rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
        rq->done(rq);
    } else if (rq->name.n == 0) {
        init_unnamed(co, rq);
    } else if (name_check(rq->name, false, &rq->err) != WERR_OK) {
        rq->done(rq);
    } else {
        init_named(co, rq);
    }
}

/* ---------------------------------------------------------------- checking a batch's producer */

enum werr producer_check(struct core *co, const struct dedupe *d, uint64_t pid, uint16_t epoch,
                         struct werror *e)
{
    const struct named *n = d != NULL ? d->named : named_by_pid(co, pid);
    const uint16_t now = n != NULL ? n->epoch : 0;

    if ((pid & NAMED_PID) != 0 ? n == NULL : pid >= co->next_pid) {
        return werror_set(e, WERR_UNKNOWN_PRODUCER, "producer id %llu was never given out",
                          (unsigned long long)pid);
    }
    if (epoch == now) {
        return WERR_OK;
    }
    if (epoch > now) {
        return werror_set(e, WERR_UNKNOWN_PRODUCER, "producer %llu has epoch %u, not yet %u",
                          (unsigned long long)pid, now, epoch);
    }
    assert(n != NULL); /* without a name there is no epoch above this one */
    return werror_set(e, WERR_PRODUCER_FENCED, "producer %.*s was taken over: epoch %u, yours %u",
                      (int)n->name_n, n->name, now, epoch);
}

/* ---------------------------------------------------------------- start, stop, upkeep */

static enum werr load_named(void *arg, struct slice key, struct slice value)
{
    struct core *co = arg;

    if (key.n < 2 || key.n > 1 + LIMIT_NAME || value.n != NAMED_BYTES ||
        value.p[0] != NAMED_VERSION) {
        return WERR_CORRUPT;
    }
    struct named *n = named_new(co, slice_of(key.p + 1, key.n - 1), be64(value.p + 1));
    n->epoch = be16(value.p + 9);
    n->used_ms = (int64_t)be64(value.p + 11);
    return WERR_OK;
}

enum werr producer_load(struct core *co, struct werror *e)
{
    const struct meta_key lo = meta_key(META_PRODUCER), hi = meta_key_after(&lo);
    enum werr rc = counters_load(co, e);

    if (rc == WERR_OK) {
        rc = store_scan(co->st, TABLE_META, key_slice(&lo), key_slice(&hi), load_named, co, e);
        if (rc == WERR_CORRUPT) {
            werror_set(e, rc, "the row of a named producer is damaged");
        }
    }
    return rc;
}

void producer_fini(struct core *co)
{
    struct werror e;

    werror_set(&e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    pids_serve(co, WERR_SHUTTING_DOWN, &e);
    while (co->names_by_name != NULL) {
        named_free(co, co->names_by_name);
    }
}

/* A name that nobody used for 30 days and that no partition remembers. */
void producer_evict(struct core *co)
{
    const int64_t now_ms = core_wall_ms(co);
    struct store_txn *t = NULL;
    struct named *n = co->names_by_name;

    while (n != NULL && !co->wall.frozen) {
        struct named *next = n->by_name.next;
        if (LIST_EMPTY(&n->dedupes) && now_ms - n->used_ms > NAME_LIFE_MS) {
            uint8_t key[1 + LIMIT_NAME];
            t = t != NULL ? t : store_txn_new(co->st);
            txn_delete(t, TABLE_META, named_key(n, key));
            named_free(co, n);
        }
        n = next;
    }
    if (t != NULL) {
        store_submit(co->st, t, STORE_LAZY, false, NULL, NULL);
    }
}
