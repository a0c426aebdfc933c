/*
 * Opening a store: recovery (load.c), then the first record, then the threads.
 *
 * The first record raises the epoch, so that nothing of this life can be taken for the last one's;
 * in a new store it also writes the identity, after accepted data loss the holes. It is
 * synchronous: when front_open returns the epoch is durable. What can fail: recovery, the first
 * record, threads. Then everything is closed again. Who owns what: kv and clog belong to the store
 * from the first line, also on error.
 */
#include <pthread.h>
#include <sys/random.h>

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/clock.h"
#include "storage/load.h"
#include "storage/rep.h"
#include "storage/store_priv.h"

enum { DEFAULT_MEMORY_MIB = 256, DEFAULT_READERS = 2 };

/* Waits for the first record's outcome. */
struct first {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool done;
    enum werr rc;
};

static void first_written(void *arg, uint64_t tag)
{
    (void)arg;
    (void)tag;
}

static void first_appended(void *arg, uint64_t tag, enum werr rc, struct clog_pos pos)
{
    struct first *f = arg;
    (void)tag;
    (void)pos;
    pthread_mutex_lock(&f->mu);
    f->done = true;
    f->rc = rc;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->mu);
}

static void first_record_build(struct buf *rep, const struct loaded *l, const struct identity *id)
{
    struct meta_key k;
    rep_begin(rep);
    if (l->fresh) {
        struct buf v = {0};
        identity_encode(&v, id);
        k = meta_key(META_IDENTITY);
        rep_put(rep, TABLE_META, key_slice(&k), buf_slice(&v));
        buf_fini(&v);
    }
    for (size_t i = 0; i < l->n_accepted; i++) {
        const struct load_gap *g = &l->accepted[i];
        uint8_t value[8];
        put_be64(value, g->next);
        k = meta_key_32_64(META_GAP, g->partition, g->first);
        rep_put(rep, TABLE_META, key_slice(&k), slice_of(value, sizeof(value)));
        const struct index_part *p = index_part(&l->ix, g->partition);
        k = meta_key_32(META_START, g->partition);
        put_be64(value, p->start);
        rep_put(rep, TABLE_META, key_slice(&k), slice_of(value, sizeof(value)));
    }
    uint8_t applied[APPLIED_BYTES];
    applied_encode(applied, &l->at);
    k = meta_key(META_APPLIED);
    rep_put(rep, TABLE_META, key_slice(&k), slice_of(applied, sizeof(applied)));
}

static enum werr first_record(struct store *st, struct loaded *l, const struct identity *id,
                              struct werror *e)
{
    struct first f = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct buf rep = {0};
    struct clog *log = st->log;
    l->at.epoch++;
    l->at.lsn++;
    first_record_build(&rep, l, id);
    log->cb = (struct clog_cb){.written = first_written, .appended = first_appended};
    log->cb_arg = &f;
    struct clog_pos pos = {l->at.epoch, l->at.lsn};
    enum werr rc = rep.failed
                       ? WERR_NOMEM
                       : log->ops->append(log, 0, CLOG_BATCH, pos, buf_slice(&rep), false, false);
    if (rc == WERR_OK) {
        if (log->ops->step_sync != NULL) {
            log->ops->step_sync(log);
        }
        pthread_mutex_lock(&f.mu);
        while (!f.done) {
            pthread_cond_wait(&f.cond, &f.mu);
        }
        rc = f.rc;
        pthread_mutex_unlock(&f.mu);
    }
    if (rc != WERR_OK) {
        struct werror why;
        werror_set(&why, rc, "cannot write the first record");
        if (log->ops->why != NULL) {
            log->ops->why(log, &why); /* damage that only a merge of tables has met, for example */
        }
        rc = werror_set(e, why.code, "%s", why.text);
    } else if ((log->ops->caps & CLOG_FUSED) == 0) {
        rc = st->kv->ops->apply(st->kv, buf_slice(&rep), e);
    }
    buf_fini(&rep);
    return rc;
}

static void new_identity(struct identity *id, enum front_mode mode)
{
    *id = (struct identity){.format = STORE_FORMAT, .tables = TABLE_COUNT};
    /* A stepped store has to do the same in every run. */
    memset(id->uuid, 's', sizeof(id->uuid));
    if (mode == FRONT_THREADED && getrandom(id->uuid, sizeof(id->uuid), 0) != sizeof(id->uuid)) {
        put_be64(id->uuid, (uint64_t)store_mono_ns());
    }
}

static void conf_defaults(struct store_conf *c)
{
    if (c->memory_bytes == 0) {
        c->memory_bytes = (uint64_t)DEFAULT_MEMORY_MIB << 20;
    }
    if (c->bucket_bytes == 0) {
        c->bucket_bytes = c->memory_bytes / 4;
    }
    if (c->readers == 0) {
        c->readers = DEFAULT_READERS;
    }
}

static void wake(void *arg)
{
    struct store *st = arg;
    if (st->conf.wakeup != NULL && !atomic_exchange(&st->awake, true)) {
        st->conf.wakeup(st->conf.wakeup_arg);
    }
}

static int64_t now_ns(void *arg)
{
    return store_now_ns(arg);
}

/* Moves what recovery found into the store. */
static void adopt(struct store *st, struct loaded *l)
{
    st->ix = l->ix;
    l->ix = (struct index){0};
    st->epoch = l->at.epoch;
    for (size_t i = 0; i < l->n_dropped; i++) {
        gc_add_dropped(&st->gc, l->dropped[i].partition, l->dropped[i].bucket, 0);
    }

    commit_init(&st->commit, st->kv, st->log, &l->at);
    st->commit.upkeep = &st->upkeep;
    st->commit.mono_ns = now_ns;
    st->commit.mono_arg = st;
    st->commit.wake = wake;
    st->commit.wake_arg = st;
    for (uint32_t p = 0; index_part_next(&st->ix, &p); p++) {
        marks_set(&st->commit.marks, p, index_part(&st->ix, p)->next);
    }

    upkeep_init(&st->upkeep);
    st->upkeep.kv = st->kv;
    st->upkeep.commit = &st->commit;
    st->upkeep.min_free_conf = st->conf.min_free_bytes;
    st->upkeep.wake = wake;
    st->upkeep.wake_arg = st;
    memcpy(st->upkeep.uuid, st->uuid, sizeof(st->uuid));

    job_list_init(&st->finished);
    st->readers.finished = st->helper.finished = &st->finished;
    st->readers.wake = st->helper.wake = wake;
    st->readers.wake_arg = st->helper.wake_arg = st;
}

static enum werr start(struct store *st, const struct kv_floor *floor, struct werror *e)
{
    bool threads = st->mode == FRONT_THREADED;
    st->upkeep.floor_seq = floor != NULL ? floor->seq : 0;
    upkeep_look(&st->upkeep);
    enum werr rc = upkeep_floor(&st->upkeep, false, e);
    WEIR_KILLPOINT(start_floored);
    if (rc == WERR_OK) {
        rc = workers_open(&st->readers, threads ? st->conf.readers : 0, e);
    }
    if (rc == WERR_OK) {
        rc = workers_open(&st->helper, threads ? 1 : 0, e);
    }
    if (rc == WERR_OK && threads) {
        rc = commit_start(&st->commit, e);
    }
    if (rc == WERR_OK && threads) {
        rc = upkeep_start(&st->upkeep, e);
    }
    return rc;
}

enum werr front_open(struct store **out, struct kv *k, struct clog *l, enum front_mode mode,
                     const struct store_conf *conf, const struct kv_floor *floor, struct werror *e)
{
    struct store *st = must_calloc(1, sizeof(*st));
    struct loaded loaded;
    struct identity id;
    st->kv = k;
    st->log = l;
    st->mode = mode;
    st->conf = *conf;
    conf_defaults(&st->conf);
    enum werr rc = load_store(&loaded, k, l, &st->conf, floor, e);
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(start_loaded);
        new_identity(&id, mode);
        if (!loaded.fresh) {
            id = loaded.id;
        }
        memcpy(st->uuid, id.uuid, sizeof(st->uuid));
        rc = first_record(st, &loaded, &id, e);
    }
    if (rc != WERR_OK) {
        l->ops->close(l);
        k->ops->close(k);
        free(st);
        goto out;
    }
    WEIR_KILLPOINT(start_epoch);
    adopt(st, &loaded);
    rc = start(st, floor, e);
    if (rc != WERR_OK) {
        front_abandon(st);
        goto out;
    }
    *out = st;
out:
    loaded_fini(&loaded);
    return rc;
}
