/*
 * Happy path: every call goes through to the inner kv or clog.
 * What can fail: what the plan says. A failed append breaks the log for good (unless the fault is
 * STORAGE_FULL), as a real one would be.
 * Who owns what: the wrappers own the inner ones and borrow the plan. The fault state of the log
 * has its own lock: callbacks come from the inner log's threads.
 */
#include "storage/store_fault.h"

#include <pthread.h>

#include "storage/alloc.h"

struct fault_plan {
    pthread_mutex_t mu;
    struct {
        struct store_fault f;
        unsigned calls;
        bool armed;
    } kinds[FAULT_KINDS];
    unsigned fired;
};

struct fault_plan *fault_plan_new(void)
{
    struct fault_plan *p = must_calloc(1, sizeof(*p));
    pthread_mutex_init(&p->mu, NULL);
    return p;
}

void fault_plan_free(struct fault_plan *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_destroy(&p->mu);
    free(p);
}

void fault_plan_set(struct fault_plan *p, const struct store_fault *f)
{
    pthread_mutex_lock(&p->mu);
    p->kinds[f->kind].f = *f;
    p->kinds[f->kind].calls = 0;
    p->kinds[f->kind].armed = f->k > 0; /* k = 0 takes the fault away */
    pthread_mutex_unlock(&p->mu);
}

bool fault_fire(struct fault_plan *p, enum fault_kind kind, struct store_fault *f)
{
    pthread_mutex_lock(&p->mu);
    bool fire = false;
    if (p->kinds[kind].armed) {
        unsigned n = ++p->kinds[kind].calls;
        *f = p->kinds[kind].f;
        fire = n == f->k || (f->sticky && n > f->k);
        p->kinds[kind].armed = f->sticky || n < f->k;
        p->fired += fire;
    }
    pthread_mutex_unlock(&p->mu);
    return fire;
}

unsigned fault_fired(struct fault_plan *p)
{
    pthread_mutex_lock(&p->mu);
    unsigned n = p->fired;
    pthread_mutex_unlock(&p->mu);
    return n;
}

enum werr fault_sync(void *plan, bool *torn)
{
    struct store_fault f;
    if (!fault_fire(plan, FAULT_SYNC, &f)) {
        return WERR_OK;
    }
    *torn = f.torn;
    return f.rc;
}

/* ---------------------------------------------------------------- kv */

struct kv_fault {
    struct kv base;
    struct kv_ops ops;
    struct kv *inner;
    struct fault_plan *plan;
};

struct kv_iter {
    struct kv_iter *inner;
    struct kv_fault *kv;
    bool failed;
    enum werr rc;
};

static struct kv_fault *kv_of(struct kv *k)
{
    return (struct kv_fault *)(void *)k;
}

static enum werr injected(enum werr rc, struct werror *e)
{
    return werror_set(e, rc, "injected fault: %s", werr_text(rc));
}

static enum werr f_apply(struct kv *k, struct slice rep, struct werror *e)
{
    struct store_fault f;
    if (fault_fire(kv_of(k)->plan, FAULT_APPLY, &f)) {
        return injected(f.rc, e);
    }
    return kv_of(k)->inner->ops->apply(kv_of(k)->inner, rep, e);
}

static enum werr f_get(struct kv *k, enum store_table t, struct slice key, struct buf *out,
                       struct werror *e)
{
    struct store_fault f;
    if (fault_fire(kv_of(k)->plan, FAULT_READ, &f)) {
        return injected(f.rc, e);
    }
    return kv_of(k)->inner->ops->get(kv_of(k)->inner, t, key, out, e);
}

static enum werr f_iter_open(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                             bool bulk, struct kv_iter **out, struct werror *e)
{
    struct store_fault f;
    if (fault_fire(kv_of(k)->plan, FAULT_READ, &f)) {
        return injected(f.rc, e);
    }
    struct kv_iter *it = must_calloc(1, sizeof(*it));
    it->kv = kv_of(k);
    enum werr rc = it->kv->inner->ops->iter_open(it->kv->inner, t, lo, hi, bulk, &it->inner, e);
    if (rc != WERR_OK) {
        free(it);
    } else {
        *out = it;
    }
    return rc;
}

/* A cursor that fails looks like one at its end: only iter_error tells. */
static bool iter_fails(struct kv_iter *it)
{
    struct store_fault f;
    if (!it->failed && fault_fire(it->kv->plan, FAULT_READ, &f)) {
        it->failed = true;
        it->rc = f.rc;
    }
    return it->failed;
}

static bool f_iter_next(struct kv_iter *it, struct slice *key, struct slice *value)
{
    return !iter_fails(it) && it->kv->inner->ops->iter_next(it->inner, key, value);
}

static bool f_iter_seek_floor(struct kv_iter *it, struct slice target, struct slice *key,
                              struct slice *value)
{
    return !iter_fails(it) && it->kv->inner->ops->iter_seek_floor(it->inner, target, key, value);
}

static enum werr f_iter_error(struct kv_iter *it, struct werror *e)
{
    if (it->failed) {
        return injected(it->rc, e);
    }
    return it->kv->inner->ops->iter_error(it->inner, e);
}

static void f_iter_close(struct kv_iter *it)
{
    if (it == NULL) {
        return;
    }
    it->kv->inner->ops->iter_close(it->inner);
    free(it);
}

static enum werr f_bucket_end(struct kv *k, struct werror *e)
{
    return kv_of(k)->inner->ops->bucket_end(kv_of(k)->inner, e);
}

static enum werr f_reclaim(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                           struct werror *e)
{
    return kv_of(k)->inner->ops->reclaim(kv_of(k)->inner, t, lo, hi, e);
}

static enum werr f_checkpoint(struct kv *k, const char *dir, int64_t wall_ms, struct werror *e)
{
    return kv_of(k)->inner->ops->checkpoint(kv_of(k)->inner, dir, wall_ms, e);
}

static void f_stats(struct kv *k, struct kv_stats *s)
{
    kv_of(k)->inner->ops->stats(kv_of(k)->inner, s);
}

static enum werr f_floor_write(struct kv *k, const struct kv_floor *f, struct werror *e)
{
    return kv_of(k)->inner->ops->floor_write(kv_of(k)->inner, f, e);
}

static void f_kv_close(struct kv *k)
{
    kv_of(k)->inner->ops->close(kv_of(k)->inner);
    free(k);
}

struct kv *fault_kv(struct kv *inner, struct fault_plan *p)
{
    struct kv_fault *k = must_calloc(1, sizeof(*k));
    k->ops = (struct kv_ops){.name = inner->ops->name,
                             .apply = f_apply,
                             .get = f_get,
                             .iter_open = f_iter_open,
                             .iter_next = f_iter_next,
                             .iter_seek_floor = f_iter_seek_floor,
                             .iter_error = f_iter_error,
                             .iter_close = f_iter_close,
                             .bucket_end = inner->ops->bucket_end != NULL ? f_bucket_end : NULL,
                             .reclaim = f_reclaim,
                             .checkpoint = f_checkpoint,
                             .stats = f_stats,
                             .floor_write = inner->ops->floor_write != NULL ? f_floor_write : NULL,
                             .close = f_kv_close};
    k->base.ops = &k->ops;
    k->inner = inner;
    k->plan = p;
    return &k->base;
}

/* ---------------------------------------------------------------- clog */

struct clog_fault {
    struct clog base;
    struct clog_ops ops;
    struct clog *inner;
    struct fault_plan *plan;
    bool own_sync;
    void (*torn)(struct clog *inner, uint64_t tag, struct clog_pos pos, struct slice rec);
    pthread_mutex_t mu;
    bool broken;
    bool full; /* a record is missing: nothing goes through until the committer sends it again */
    uint64_t missing_lsn;
};

static const uint64_t HIDDEN_TAG = UINT64_MAX; /* a torn append's outcome is nobody's business */

static struct clog_fault *clog_of(struct clog *l)
{
    return (struct clog_fault *)(void *)l;
}

struct clog *fault_clog_inner(struct clog *wrapped)
{
    return clog_of(wrapped)->inner;
}

struct fault_plan *fault_clog_plan(struct clog *wrapped)
{
    return clog_of(wrapped)->plan;
}

static void f_written(void *arg, uint64_t tag)
{
    struct clog_fault *l = arg;
    if (tag != HIDDEN_TAG) {
        l->base.cb.written(l->base.cb_arg, tag);
    }
}

static void f_appended(void *arg, uint64_t tag, enum werr rc, struct clog_pos pos)
{
    struct clog_fault *l = arg;
    struct store_fault f;
    if (tag == HIDDEN_TAG) {
        return;
    }
    bool fire = rc == WERR_OK && !l->own_sync && fault_fire(l->plan, FAULT_SYNC, &f);
    pthread_mutex_lock(&l->mu);
    l->broken = l->broken || fire;
    if (l->broken && rc == WERR_OK && !l->own_sync) {
        rc = WERR_INDETERMINATE;
    }
    pthread_mutex_unlock(&l->mu);
    l->base.cb.appended(l->base.cb_arg, tag, rc, pos);
}

static enum werr f_append(struct clog *base, uint64_t tag, enum clog_kind kind, struct clog_pos pos,
                          struct slice rec, bool lazy, bool more)
{
    struct clog_fault *l = clog_of(base);
    struct store_fault f;
    pthread_mutex_lock(&l->mu);
    bool broken = l->broken, behind = l->full && pos.lsn != l->missing_lsn;
    pthread_mutex_unlock(&l->mu);
    if (broken) {
        return WERR_INDETERMINATE;
    }
    if (behind) {
        return WERR_STORAGE_FULL;
    }
    if (!fault_fire(l->plan, FAULT_APPEND, &f)) {
        l->full = false;
        return l->inner->ops->append(l->inner, tag, kind, pos, rec, lazy, more);
    }
    if (f.rc == WERR_STORAGE_FULL) {
        l->full = true;
        l->missing_lsn = pos.lsn;
        return WERR_STORAGE_FULL;
    }
    pthread_mutex_lock(&l->mu);
    l->broken = true;
    pthread_mutex_unlock(&l->mu);
    if (f.torn && l->torn != NULL) {
        l->torn(l->inner, HIDDEN_TAG, pos, rec);
    } else if (f.torn) {
        (void)l->inner->ops->append(l->inner, HIDDEN_TAG, kind, pos, rec, false, false);
    }
    return WERR_INDETERMINATE;
}

static bool f_busy(struct clog *base)
{
    return clog_of(base)->inner->ops->busy(clog_of(base)->inner);
}

static void f_wait_idle(struct clog *base)
{
    clog_of(base)->inner->ops->wait_idle(clog_of(base)->inner);
}

static enum werr f_replay(struct clog *base, struct clog_pos from, clog_record_fn fn, void *arg,
                          struct werror *e)
{
    return clog_of(base)->inner->ops->replay(clog_of(base)->inner, from, fn, arg, e);
}

static void f_clog_close(struct clog *base)
{
    struct clog_fault *l = clog_of(base);
    l->inner->ops->close(l->inner);
    pthread_mutex_destroy(&l->mu);
    free(l);
}

static void f_step_sync(struct clog *base)
{
    clog_of(base)->inner->ops->step_sync(clog_of(base)->inner);
}

struct clog *fault_clog(struct clog *inner, struct fault_plan *p, bool own_sync,
                        void (*torn)(struct clog *inner, uint64_t tag, struct clog_pos pos,
                                     struct slice rec))
{
    struct clog_fault *l = must_calloc(1, sizeof(*l));
    l->ops = (struct clog_ops){.name = inner->ops->name,
                               .caps = inner->ops->caps,
                               .best_group_bytes = inner->ops->best_group_bytes,
                               .max_record_bytes = inner->ops->max_record_bytes,
                               .append = f_append,
                               .busy = f_busy,
                               .wait_idle = f_wait_idle,
                               .replay = f_replay,
                               .close = f_clog_close,
                               .step_sync = inner->ops->step_sync != NULL ? f_step_sync : NULL};
    l->base.ops = &l->ops;
    l->inner = inner;
    inner->cb = (struct clog_cb){.written = f_written, .appended = f_appended};
    inner->cb_arg = l;
    l->plan = p;
    l->own_sync = own_sync;
    l->torn = torn;
    pthread_mutex_init(&l->mu, NULL);
    return &l->base;
}
