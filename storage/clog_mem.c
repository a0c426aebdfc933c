/*
 * Happy path: append copies the record to the end of the list and calls written(); a sync marks
 * everything up to there as durable and calls appended() for each. With a thread the sync runs by
 * itself, one at a time: busy() while it has work, so that the committer gathers.
 * What can fail: the sync hook. Then everything not yet synced fails: STORAGE_FULL = it is removed
 * from the log, anything else = INDETERMINATE and the log is broken for good.
 * Who owns what: the memlog owns records and outlives the clog, which owns its thread.
 */
#include "storage/clog_mem.h"

#include <pthread.h>
#include <string.h>

#include "storage/alloc.h"

enum { BEST_GROUP = 1 << 20, MAX_RECORD = 4 << 20 };

struct record {
    struct clog_pos pos;
    uint64_t tag;
    size_t n;
    uint8_t *p;
};

struct memlog {
    pthread_mutex_t mu;
    struct record *records; /* by lsn */
    size_t n, cap;
    size_t n_synced; /* the first so many */
    size_t n_torn;   /* so many survive a crash, although nobody was told */
    uint64_t bytes, limit;
    bool cut;
};

struct clog_mem {
    struct clog base;
    struct memlog *m;
    struct memlog_hooks hooks;
    pthread_cond_t work, idle; /* with m->mu, which protects all that follows */
    bool threaded, stop, abandoned, broken, syncing;
    bool full;         /* a sync met a full disk ... */
    uint64_t next_lsn; /* ... and this is the record to go on with */
    pthread_t thread;
};

static struct clog_mem *mem_of(struct clog *l)
{
    return (struct clog_mem *)(void *)l;
}

/* ---------------------------------------------------------------- the list of records */

static void record_drop(struct memlog *m, size_t at)
{
    m->bytes -= m->records[at].n;
    free(m->records[at].p);
}

static void drop_from(struct memlog *m, size_t from)
{
    for (size_t i = from; i < m->n; i++) {
        record_drop(m, i);
    }
    m->n = m->n < from ? m->n : from;
}

static void add(struct memlog *m, struct clog_pos pos, uint64_t tag, struct slice rec)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->records = must_realloc(m->records, m->cap, sizeof(*m->records));
    }
    struct record *r = &m->records[m->n++];
    *r = (struct record){.pos = pos, .tag = tag, .n = rec.n, .p = must_calloc(rec.n, 1)};
    memcpy(r->p, rec.p, rec.n);
    m->bytes += rec.n;
}

static void forget_old(struct memlog *m)
{
    size_t n = 0;
    while (m->limit > 0 && m->bytes > m->limit && n < m->n_synced) {
        record_drop(m, n++);
    }
    if (n == 0) {
        return;
    }
    memmove(m->records, m->records + n, (m->n - n) * sizeof(*m->records));
    m->n -= n;
    m->n_synced -= n;
    m->n_torn = m->n_torn > n ? m->n_torn - n : 0;
    m->cut = true;
}

struct memlog *memlog_new(void)
{
    struct memlog *m = must_calloc(1, sizeof(*m));
    pthread_mutex_init(&m->mu, NULL);
    return m;
}

void memlog_free(struct memlog *m)
{
    if (m == NULL) {
        return;
    }
    drop_from(m, 0);
    free(m->records);
    pthread_mutex_destroy(&m->mu);
    free(m);
}

void memlog_crash(struct memlog *m, unsigned keep)
{
    size_t left = m->n - m->n_synced;
    size_t upto = m->n_synced + (keep < left ? keep : left);
    drop_from(m, upto > m->n_torn ? upto : m->n_torn);
    m->n_synced = m->n;
    m->n_torn = 0;
}

void memlog_limit(struct memlog *m, uint64_t bytes)
{
    m->limit = bytes;
}

bool memlog_cut(const struct memlog *m)
{
    return m->cut;
}

void memlog_adopt(struct memlog *m, struct clog_pos pos, struct slice rec)
{
    pthread_mutex_lock(&m->mu);
    if (m->n == 0 || m->records[m->n - 1].pos.lsn < pos.lsn) {
        add(m, pos, 0, rec);
        m->n_synced = m->n;
    }
    pthread_mutex_unlock(&m->mu);
}

/* ---------------------------------------------------------------- syncing */

/* What a failed sync leaves behind. With mu. */
static void sync_failed(struct clog_mem *l, size_t upto, enum werr rc, bool torn)
{
    struct memlog *m = l->m;
    if (rc == WERR_STORAGE_FULL) {
        l->full = true;
        l->next_lsn = m->records[m->n_synced].pos.lsn;
    } else {
        l->broken = true;
        if (torn) {
            m->n_synced = upto;
        }
    }
    drop_from(m, m->n_synced);
}

/* Syncs what is there now and reports it in order. With mu, which it lets go for the callbacks. */
static void sync_now(struct clog_mem *l)
{
    struct memlog *m = l->m;
    bool torn = false;
    size_t first = m->n_synced, upto = m->n, n = upto - first;
    if (n == 0) {
        return;
    }
    enum werr rc = l->hooks.sync != NULL ? l->hooks.sync(l->hooks.arg, &torn) : WERR_OK;
    if (rc != WERR_OK && rc != WERR_STORAGE_FULL) {
        rc = WERR_INDETERMINATE;
    }
    struct record *done = must_calloc(n, sizeof(*done));
    memcpy(done, m->records + first, n * sizeof(*done));
    if (rc == WERR_OK) {
        m->n_synced = upto;
        forget_old(m);
    } else {
        sync_failed(l, upto, rc, torn);
    }
    pthread_mutex_unlock(&m->mu);
    for (size_t i = 0; i < n; i++) {
        l->base.cb.appended(l->base.cb_arg, done[i].tag, rc, done[i].pos);
    }
    free(done);
    pthread_mutex_lock(&m->mu);
}

static void *sync_main(void *arg)
{
    struct clog_mem *l = arg;
    struct memlog *m = l->m;
    pthread_mutex_lock(&m->mu);
    for (;;) {
        while (!l->stop && m->n == m->n_synced) {
            l->syncing = false;
            pthread_cond_broadcast(&l->idle);
            pthread_cond_wait(&l->work, &m->mu);
        }
        if (l->abandoned || m->n == m->n_synced) {
            break;
        }
        sync_now(l);
    }
    l->syncing = false;
    pthread_cond_broadcast(&l->idle);
    pthread_mutex_unlock(&m->mu);
    return NULL;
}

/* ---------------------------------------------------------------- clog_ops */

static enum werr mem_append(struct clog *base, uint64_t tag, enum clog_kind kind,
                            struct clog_pos pos, struct slice rec, bool lazy, bool more)
{
    struct clog_mem *l = mem_of(base);
    enum werr rc = WERR_OK;
    (void)kind;
    (void)lazy;
    (void)more;
    pthread_mutex_lock(&l->m->mu);
    if (l->broken) {
        rc = WERR_INDETERMINATE;
    } else if (l->full && pos.lsn != l->next_lsn) {
        rc = WERR_STORAGE_FULL; /* sent before the committer knew: it must not leave a hole */
    } else {
        l->full = false;
        l->syncing = l->threaded;
        add(l->m, pos, tag, rec);
        /* Before the sync thread can see the record: written() comes first. */
        l->base.cb.written(l->base.cb_arg, tag);
        pthread_cond_signal(&l->work);
    }
    pthread_mutex_unlock(&l->m->mu);
    return rc;
}

static bool mem_busy(struct clog *base)
{
    struct clog_mem *l = mem_of(base);
    pthread_mutex_lock(&l->m->mu);
    bool busy = l->syncing;
    pthread_mutex_unlock(&l->m->mu);
    return busy;
}

static void mem_wait_idle(struct clog *base)
{
    struct clog_mem *l = mem_of(base);
    pthread_mutex_lock(&l->m->mu);
    while (l->syncing && !l->broken && !l->stop) {
        pthread_cond_wait(&l->idle, &l->m->mu);
    }
    pthread_mutex_unlock(&l->m->mu);
}

static enum werr mem_replay(struct clog *base, struct clog_pos from, clog_record_fn fn, void *arg,
                            struct werror *e)
{
    struct memlog *m = mem_of(base)->m;
    enum werr rc = WERR_OK;
    pthread_mutex_lock(&m->mu);
    if (m->cut && m->n > 0 && m->records[0].pos.lsn > from.lsn) {
        rc = werror_set(e, WERR_NOT_FOUND, "record %llu was forgotten, the log begins at %llu",
                        (unsigned long long)from.lsn, (unsigned long long)m->records[0].pos.lsn);
    }
    for (size_t i = 0; rc == WERR_OK && i < m->n_synced; i++) {
        const struct record *r = &m->records[i];
        if (r->pos.lsn >= from.lsn) {
            rc = fn(arg, r->pos, CLOG_BATCH, slice_of(r->p, r->n));
        }
    }
    pthread_mutex_unlock(&m->mu);
    return rc;
}

static void mem_step_sync(struct clog *base)
{
    struct clog_mem *l = mem_of(base);
    pthread_mutex_lock(&l->m->mu);
    if (!l->abandoned && !l->broken) {
        sync_now(l);
    }
    pthread_mutex_unlock(&l->m->mu);
}

static void mem_close(struct clog *base)
{
    struct clog_mem *l = mem_of(base);
    if (l->threaded) {
        pthread_mutex_lock(&l->m->mu);
        l->stop = true;
        pthread_cond_broadcast(&l->work);
        pthread_mutex_unlock(&l->m->mu);
        pthread_join(l->thread, NULL);
    } else {
        mem_step_sync(base);
    }
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->idle);
    free(l);
}

void memlog_abandon(struct clog *base)
{
    struct clog_mem *l = mem_of(base);
    pthread_mutex_lock(&l->m->mu);
    l->abandoned = true;
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->idle);
    pthread_mutex_unlock(&l->m->mu);
}

void memlog_torn(struct clog *base, uint64_t tag, struct clog_pos pos, struct slice rec)
{
    struct clog_mem *l = mem_of(base);
    pthread_mutex_lock(&l->m->mu);
    /* Records become durable in order: whatever was written before it is there, too. */
    add(l->m, pos, tag, rec);
    l->m->n_torn = l->m->n;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->m->mu);
}

static const struct clog_ops threaded_ops = {
    .name = "memory",
    .best_group_bytes = BEST_GROUP,
    .max_record_bytes = MAX_RECORD,
    .append = mem_append,
    .busy = mem_busy,
    .wait_idle = mem_wait_idle,
    .replay = mem_replay,
    .close = mem_close,
};

static const struct clog_ops stepped_ops = {
    .name = "memory",
    .best_group_bytes = UINT32_MAX,
    .max_record_bytes = UINT32_MAX,
    .append = mem_append,
    .busy = mem_busy,
    .wait_idle = mem_wait_idle,
    .replay = mem_replay,
    .close = mem_close,
    .step_sync = mem_step_sync,
};

enum werr memlog_open(struct memlog *m, bool threaded, const struct memlog_hooks *hooks,
                      struct clog **out, struct werror *e)
{
    struct clog_mem *l = must_calloc(1, sizeof(*l));
    l->base.ops = threaded ? &threaded_ops : &stepped_ops;
    l->m = m;
    l->threaded = threaded;
    if (hooks != NULL) {
        l->hooks = *hooks;
    }
    /* Left by a killed process: in the operating system, hence there. Synced before anything new.
     */
    m->n_synced = m->n;
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->idle, NULL);
    int err = threaded ? pthread_create(&l->thread, NULL, sync_main, l) : 0;
    if (err != 0) {
        l->threaded = false;
        mem_close(&l->base);
        return werror_set(e, WERR_NOMEM, "cannot start the log's thread: %s", strerror(err));
    }
    *out = &l->base;
    return WERR_OK;
}
