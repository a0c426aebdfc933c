/*
 * RocksDB's write-ahead log as the commit log. A write puts the record into log and memtable at
 * once (FUSED); what remains is the sync. Two ways, chosen per record:
 *
 *   inline   nothing is waiting behind this record: the committer syncs itself - one thread, no
 *            hand-over, best at low load;
 *   handed   more is queued, or a sync runs already: the sync thread takes over, and the next
 *            record is built and written meanwhile.
 *
 * The sync is our own fdatasync of the log's file. rocksdb_flush_wal would do for a healthy disk,
 * but after a write that met a full disk it fails for what was written before, too, and takes
 * RocksDB's own recovery with it; Debian's build even aborts (assertion sync_without_flush_called_)
 * unless every log file was synced through RocksDB once before its first write. arm() does that.
 *
 * What can fail: the write (ENOSPC there means that the record is not in the log), or the sync
 * (then nobody knows). Any failure but ENOSPC on write latches: a sync is never tried again,
 * because the kernel may have dropped the pages that failed.
 *
 * Locks: clog.mu protects the fields below it. Callbacks run without it, on the committer (inline)
 * or the sync thread; `syncing` keeps them in append order.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/clock.h"
#include "storage/rep.h"
#include "storage/rocks.h"
#include "storage/rows.h"

enum {
    BEST_GROUP_BYTES = 1 << 20,
    MAX_RECORD_BYTES = 4 << 20,
    INLINE_BYTES = 256 << 10,
    /* Of the disk: less than that counts as full. */
    SPARE_BYTES = 1 << 20,
    SPARE_FILES = 32,
    MEMTABLE_SPARE = 16 << 20, /* a memtable beside a bucket's rows */
};
/* Records that nobody waits for share a sync; 100 ms are allowed. Moving survivors goes by steps of
 * one such record, so the wait bounds how fast space comes back. */
#define LAZY_NS ((int64_t)20 * 1000 * 1000)
/* RocksDB looks every 5 s whether there is space again. */
#define GIVE_UP_NS ((int64_t)15 * 1000 * 1000 * 1000)

/* A record that was written and waits for its sync. */
struct waiting {
    struct waiting *next;
    uint64_t tag;
    struct clog_pos pos;
};

struct clog_rocks {
    struct clog base;
    struct rocks *rk;
    rocksdb_writeoptions_t *write_options; /* no sync: the sync is a step of its own */
    _Atomic uint64_t synced_lsn;
    bool full;          /* the last write met a full disk. Committer */
    int64_t refused_ns; /* since when RocksDB refuses although there is space; 0 = no. Committer */
    char wal_name[32];  /* of wal_fd. Committer */

    pthread_mutex_t mu;
    pthread_cond_t kick;         /* for the sync thread */
    pthread_cond_t idle;         /* for wait_idle */
    struct waiting *head, *last; /* written, oldest first */
    bool urgent;                 /* one of them is not lazy */
    bool syncing;                /* somebody is in a sync, or delivers its callbacks */
    bool stop, running;
    uint64_t wal_bytes; /* size of wal_fd after the last write; committer */
    uint64_t
        older_bytes; /* of logs before it, at most: they go when they are written out; committer */
    int wal_fd; /* what is in `head` lies in this file, or is synced; changes only while !syncing */
    enum werr failed;
    struct werror why; /* the first error; its code is WERR_OK until then */
    enum rocks_pipeline pipeline;
    pthread_t thread;
};

static struct clog_rocks *of(struct clog *l)
{
    return (struct clog_rocks *)(void *)l;
}

static enum werr sync_wal(const struct clog_rocks *cr)
{
    int rc;

    WEIR_KILLPOINT(wal_sync_before);
    do {
#ifdef WEIR_BUG_SKIP_SYNC
        rc = cr->wal_fd >= 0 ? 0 : -1;
#else
        rc = fdatasync(cr->wal_fd);
#endif
    } while (rc != 0 && errno == EINTR);
    WEIR_KILLPOINT(wal_sync_after);
    return rc == 0 ? WERR_OK : WERR_INDETERMINATE;
}

/* From now on nothing is written any more. With mu held. */
static void fail(struct clog_rocks *cr, const struct werror *why)
{
    if (cr->failed == WERR_OK) {
        cr->failed = WERR_INDETERMINATE;
        cr->why = *why;
    }
}

static void why(struct clog *l, struct werror *e)
{
    struct clog_rocks *cr = of(l);
    const struct werror was = *e;

    pthread_mutex_lock(&cr->mu);
    if (cr->why.code != WERR_OK) {
        werror_set(e, cr->why.code == WERR_CORRUPT ? WERR_CORRUPT : was.code, "%.60s: %.180s",
                   was.text, cr->why.text);
    }
    pthread_mutex_unlock(&cr->mu);
}

/* Tells the committer about every record of the list, and frees it. */
static void deliver(struct clog_rocks *cr, struct waiting *w, enum werr rc)
{
    while (w != NULL) {
        struct waiting *next = w->next;

        if (rc == WERR_OK) {
            atomic_store(&cr->synced_lsn, w->pos.lsn);
        }
        cr->base.cb.appended(cr->base.cb_arg, w->tag, rc, w->pos);
        free(w);
        w = next;
    }
}

/* With mu held and syncing set by the caller: takes all that is written, syncs, delivers. */
static void sync_round(struct clog_rocks *cr)
{
    struct waiting *list = cr->head;
    enum werr rc = cr->failed;
    struct werror e;

    cr->head = cr->last = NULL;
    cr->urgent = false;
    pthread_mutex_unlock(&cr->mu);
    if (rc == WERR_OK) {
        rc = sync_wal(cr);
        werror_set(&e, rc, "sync of the log: %s", strerror(errno));
        if (rc != WERR_OK) { /* before anybody hears of it */
            pthread_mutex_lock(&cr->mu);
            fail(cr, &e);
            pthread_mutex_unlock(&cr->mu);
        }
    }
    deliver(cr, list, rc);
    pthread_mutex_lock(&cr->mu);
    cr->syncing = false;
    pthread_cond_broadcast(&cr->idle);
}

/* Waits until there is something to sync that should not wait longer. False: nothing left, stop. */
static bool wait_for_work(struct clog_rocks *cr)
{
    struct timespec until;
    bool timed = false;

    for (;;) {
        if (cr->head != NULL && !cr->syncing && (cr->urgent || cr->stop)) {
            return true;
        }
        if (cr->head == NULL && !cr->syncing && cr->stop) {
            return false;
        }
        if (cr->head != NULL && !cr->syncing) { /* only lazy records: give them their time */
            if (!timed) {
                until = store_mono_abs(store_mono_ns() + LAZY_NS);
                timed = true;
            }
            if (pthread_cond_timedwait(&cr->kick, &cr->mu, &until) != 0 && cr->head != NULL &&
                !cr->syncing) {
                return true;
            }
        } else {
            timed = false;
            pthread_cond_wait(&cr->kick, &cr->mu);
        }
    }
}

static void *sync_main(void *arg)
{
    struct clog_rocks *cr = arg;

    pthread_mutex_lock(&cr->mu);
    while (wait_for_work(cr)) {
        cr->syncing = true;
        sync_round(cr);
    }
    pthread_mutex_unlock(&cr->mu);
    return NULL;
}

static enum werr write_record(struct clog_rocks *cr, struct slice rec, struct werror *e)
{
    rocksdb_writebatch_t *wb = rocksdb_writebatch_create_from((const char *)rec.p, rec.n);
    char *msg = NULL;

    WEIR_KILLPOINT(wal_write_before);
    rocksdb_write(cr->rk->db, cr->write_options, wb, &msg);
    WEIR_KILLPOINT(wal_write_after);
    rocksdb_writebatch_destroy(wb);
    return rocks_error(msg, "write", e);
}

/* With mu held, the record written and in the list: does the committer sync it itself? */
static bool inline_sync(const struct clog_rocks *cr, size_t n, bool lazy, bool more)
{
    if (lazy || cr->syncing || cr->pipeline == ROCKS_HANDED) {
        return false;
    }
    return cr->pipeline == ROCKS_INLINE || (!more && n <= INLINE_BYTES);
}

/* A file of the log, by name. */
static bool wal_exists(const struct clog_rocks *cr, const char *name)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", cr->rk->dir, name);
    return access(path, F_OK) == 0;
}

/* Syncs everything written so far through RocksDB, and from now on syncs the log's newest file. */
static enum werr arm(struct clog_rocks *cr, const char *newest, struct werror *e)
{
    char path[4096], *msg = NULL;
    struct stat st;
    int fd, old_fd;
    enum werr rc;

    WEIR_KILLPOINT(wal_switch_before);
    rocksdb_flush_wal(cr->rk->db, 1, &msg);
    rc = rocks_error(msg, "sync", e);
    if (rc != WERR_OK) {
        return rc;
    }
    snprintf(path, sizeof path, "%s/%s", cr->rk->dir, newest);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = werror_set(e, WERR_IO, "log file %.200s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    cr->older_bytes += cr->wal_bytes;
    cr->wal_bytes = (uint64_t)st.st_size;
    pthread_mutex_lock(&cr->mu);
    while (cr->syncing) {
        pthread_cond_wait(&cr->idle, &cr->mu);
    }
    old_fd = cr->wal_fd;
    cr->wal_fd = fd;
    pthread_mutex_unlock(&cr->mu);
    if (old_fd >= 0) {
        close(old_fd);
    }
    snprintf(cr->wal_name, sizeof cr->wal_name, "%s", newest);
    cr->rk->wal_switched = false;
    WEIR_KILLPOINT(wal_switch_after);
    return WERR_OK;
}

/*
 * Before a write: is wal_fd still the file it will go to? It changes when a bucket ends, and when
 * RocksDB recovers from a full disk: that is over when the file that met it is gone.
 */
static enum werr prepare(struct clog_rocks *cr, struct werror *e)
{
    char newest[32];
    uint64_t unused;

    if (!cr->rk->wal_switched && !cr->full) {
        return WERR_OK;
    }
    rocks_newest_wal(cr->rk->dir, newest, sizeof newest, &unused);
    if (strcmp(newest, cr->wal_name) == 0) {
        cr->rk->wal_switched = false;
        return WERR_OK; /* an empty bucket; or no recovery yet: the write will tell */
    }
    if (cr->full && wal_exists(cr, cr->wal_name)) {
        return werror_set(e, WERR_STORAGE_FULL, "recovering from a full disk");
    }
    return arm(cr, newest, e);
}

/*
 * After a write: did the record go to the file that we sync? RocksDB may have begun another log on
 * its own account (a table of metadata that outgrew its buffer, say). A file that did not grow by
 * the record is the wrong one, and then everything is synced through RocksDB once, by arm().
 */
static bool went_to_wal(struct clog_rocks *cr, size_t n)
{
    struct stat st;
    bool grew = fstat(cr->wal_fd, &st) == 0 && (uint64_t)st.st_size >= cr->wal_bytes + n;

    cr->wal_bytes = grew ? (uint64_t)st.st_size : 0;
    return grew;
}

/*
 * Is there space for a record of n bytes, and for files when a bucket ends? RocksDB must not meet
 * ENOSPC in its log while it writes a bucket out: such a flush is given up without being rolled
 * back, its recovery waits for it for ever, and so does its close (facebook/rocksdb#11872). Nor
 * when it begins a log: it never recovers from that.
 */
static bool has_room(const struct clog_rocks *cr, uint64_t n)
{
    struct statvfs fs;

    return statvfs(cr->rk->dir, &fs) != 0 ||
           ((uint64_t)fs.f_bavail * fs.f_frsize >= n + SPARE_BYTES &&
            (fs.f_files == 0 || fs.f_favail >= SPARE_FILES));
}

/*
 * The same, and for writing out all that lies only in logs: a flush that meets ENOSPC has others
 * behind it, which are given up in the same way.
 */
static bool may_append(struct clog_rocks *cr, size_t n)
{
    uint64_t logs = cr->wal_bytes + cr->older_bytes;
    char unused[32];

    if (has_room(cr, n + logs + logs / 16)) {
        return true;
    }
    rocks_newest_wal(cr->rk->dir, unused, sizeof unused, &logs); /* what was written out is gone */
    cr->older_bytes = logs > cr->wal_bytes ? logs - cr->wal_bytes : 0;
    return has_room(cr, n + logs + logs / 16);
}

/*
 * RocksDB refused a record as ENOSPC. True when it has done so for long, although there is space
 * for all that its recovery writes: then only a restart helps.
 */
static bool is_stuck(struct clog_rocks *cr)
{
    char unused[32];
    uint64_t logs;
    const int64_t now_ns = store_mono_ns();

    rocks_newest_wal(cr->rk->dir, unused, sizeof unused, &logs);
    if (!has_room(cr, 2 * (logs + cr->rk->bucket_bytes + MEMTABLE_SPARE))) {
        cr->refused_ns = 0;
    } else if (cr->refused_ns == 0) {
        cr->refused_ns = now_ns;
    }
    cr->rk->stuck = cr->refused_ns != 0 && now_ns - cr->refused_ns > GIVE_UP_NS;
    return cr->rk->stuck;
}

static enum werr append(struct clog *l, uint64_t tag, enum clog_kind kind, struct clog_pos pos,
                        struct slice rec, bool lazy, bool more)
{
    struct clog_rocks *cr = of(l);
    struct waiting *w;
    struct werror e = {0};
    char newest[32];
    uint64_t unused;
    enum werr rc;

    (void)kind;
    pthread_mutex_lock(&cr->mu);
    rc = cr->failed;
    pthread_mutex_unlock(&cr->mu);
    if (rc == WERR_OK && !may_append(cr, rec.n)) {
        return WERR_STORAGE_FULL;
    }
    if (rc == WERR_OK) {
        rc = prepare(cr, &e);
    }
    if (rc == WERR_OK) {
        rc = write_record(cr, rec, &e);
    }
    cr->full = rc == WERR_STORAGE_FULL;
    if (rc == WERR_OK && !went_to_wal(cr, rec.n)) {
        rocks_newest_wal(cr->rk->dir, newest, sizeof newest, &unused);
        rc = arm(cr, newest, &e) == WERR_OK ? WERR_OK : WERR_INDETERMINATE;
    }
    if (cr->full && !is_stuck(cr)) {
        return rc; /* RocksDB did not take it, and resumes by itself when there is space */
    }
    cr->refused_ns = 0;
    w = must_calloc(1, sizeof *w);
    *w = (struct waiting){.tag = tag, .pos = pos};
    pthread_mutex_lock(&cr->mu);
    if (rc != WERR_OK) {
        fail(cr, &e);
        pthread_mutex_unlock(&cr->mu);
        free(w);
        return WERR_INDETERMINATE;
    }
    pthread_mutex_unlock(&cr->mu);
    cr->base.cb.written(cr->base.cb_arg, tag);
    pthread_mutex_lock(&cr->mu);
    if (cr->last != NULL) {
        cr->last->next = w;
    } else {
        cr->head = w;
    }
    cr->last = w;
    cr->urgent = cr->urgent || !lazy;
    if (inline_sync(cr, rec.n, lazy, more)) {
        cr->syncing = true;
        sync_round(cr);
    }
    if (cr->head != NULL) { /* else there is nothing for the sync thread to wake up for */
        pthread_cond_signal(&cr->kick);
    }
    pthread_mutex_unlock(&cr->mu);
    return WERR_OK;
}

static bool busy(struct clog *l)
{
    struct clog_rocks *cr = of(l);
    bool yes;

    pthread_mutex_lock(&cr->mu);
    yes = (cr->syncing || cr->urgent) && cr->failed == WERR_OK && !cr->stop;
    pthread_mutex_unlock(&cr->mu);
    return yes;
}

static void wait_idle(struct clog *l)
{
    struct clog_rocks *cr = of(l);

    pthread_mutex_lock(&cr->mu);
    while ((cr->syncing || cr->urgent) && cr->failed == WERR_OK && !cr->stop) {
        pthread_cond_wait(&cr->idle, &cr->mu);
    }
    pthread_mutex_unlock(&cr->mu);
}

/* The position of a record: META_APPLIED is a row of every record. */
static bool record_pos(struct slice rec, struct clog_pos *pos)
{
    struct rep_iter it;
    struct rep_op op;
    struct applied at;
    bool found = false;

    if (rep_open(&it, rec, NULL) != WERR_OK) {
        return false;
    }
    while (rep_next(&it, &op, NULL) == WERR_OK) {
        if (op.kind == REP_PUT && op.table == TABLE_META && op.key.n == 1 &&
            op.key.p[0] == META_APPLIED && applied_decode(op.value, &at, NULL) == WERR_OK) {
            *pos = (struct clog_pos){at.epoch, at.lsn};
            found = true;
        }
    }
    return found;
}

/* What was there at open has been recovered from disk: it counts as synced. */
static uint64_t recovered_lsn(struct rocks *rk)
{
    static const char key = META_APPLIED;
    struct applied at = {0};
    char *msg = NULL;
    size_t n = 0;
    char *v = rocksdb_get_cf(rk->db, rk->point_reads, rk->cf[TABLE_META], &key, 1, &n, &msg);

    if (rocks_error(msg, "read position", NULL) != WERR_OK || v == NULL ||
        applied_decode(slice_of(v, n), &at, NULL) != WERR_OK) {
        at.lsn = 0;
    }
    rocksdb_free(v);
    return at.lsn;
}

static enum werr replay(struct clog *l, struct clog_pos from, clog_record_fn fn, void *arg,
                        struct werror *e)
{
    struct clog_rocks *cr = of(l);
    uint64_t durable = atomic_load(&cr->synced_lsn);
    rocksdb_wal_iterator_t *it;
    char *msg = NULL;
    enum werr rc;

    it = rocksdb_get_updates_since(cr->rk->db, 0, NULL, &msg);
    rc = rocks_error(msg, "replay", e);
    if (rc != WERR_OK) {
        return rc;
    }
    for (; rc == WERR_OK && rocksdb_wal_iter_valid(it); rocksdb_wal_iter_next(it)) {
        uint64_t seq;
        size_t n;
        rocksdb_writebatch_t *wb = rocksdb_wal_iter_get_batch(it, &seq);
        const char *data = rocksdb_writebatch_data(wb, &n);
        struct slice rec = slice_of(data, n);
        struct clog_pos pos;

        if (record_pos(rec, &pos) && pos.lsn >= from.lsn && pos.lsn <= durable) {
            rc = fn(arg, pos, CLOG_BATCH, rec);
        }
        rocksdb_writebatch_destroy(wb);
    }
    if (rc == WERR_OK) {
        rocksdb_wal_iter_status(it, &msg);
        rc = rocks_error(msg, "replay", e);
    }
    rocksdb_wal_iter_destroy(it);
    return rc;
}

static void close_log(struct clog *l)
{
    struct clog_rocks *cr = of(l);

    pthread_mutex_lock(&cr->mu);
    cr->stop = true;
    pthread_cond_broadcast(&cr->kick);
    pthread_cond_broadcast(&cr->idle);
    pthread_mutex_unlock(&cr->mu);
    if (cr->running) {
        pthread_join(cr->thread, NULL);
    }
    if (cr->wal_fd >= 0) {
        close(cr->wal_fd);
    }
    rocksdb_writeoptions_destroy(cr->write_options);
    pthread_cond_destroy(&cr->kick);
    pthread_cond_destroy(&cr->idle);
    pthread_mutex_destroy(&cr->mu);
    free(cr);
}

static const struct clog_ops ops = {
    .name = "rocksdb-wal",
    .caps = CLOG_FUSED,
    .best_group_bytes = BEST_GROUP_BYTES,
    .max_record_bytes = MAX_RECORD_BYTES,
    .append = append,
    .why = why,
    .busy = busy,
    .wait_idle = wait_idle,
    .replay = replay,
    .close = close_log,
};

void clog_rocks_pipeline(struct clog *l, enum rocks_pipeline p)
{
    struct clog_rocks *cr = of(l);

    pthread_mutex_lock(&cr->mu);
    cr->pipeline = p;
    pthread_mutex_unlock(&cr->mu);
}

struct clog *clog_rocks_new(struct rocks *rk)
{
    struct clog_rocks *cr = must_calloc(1, sizeof *cr);
    pthread_condattr_t attr;

    cr->base.ops = &ops;
    cr->rk = rk;
    cr->wal_fd = -1;
    rk->wal_switched = true;
    cr->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(cr->write_options, 0);
    atomic_store(&cr->synced_lsn, recovered_lsn(rk));
    pthread_mutex_init(&cr->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cr->kick, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&cr->idle, NULL);
    cr->running = pthread_create(&cr->thread, NULL, sync_main, cr) == 0;
    cr->failed = cr->running ? WERR_OK : WERR_NOMEM;
    return &cr->base;
}
