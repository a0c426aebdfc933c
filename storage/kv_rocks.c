/*
 * RocksDB's tables behind kv.h. Iterators carry their bounds, verify checksums and leave the cache
 * alone.
 *
 * What can fail: up to RocksDB 8.6 an iterator that minds range deletions looks as if it had ended
 * when the next table of a level cannot be read (MergingIterator::SkipNextDeleted dropped the
 * status). Log tables do without them: their range deletions only cover what nobody refers to. In
 * the others an end is believed when it lies behind the last row.
 *
 * Who owns what: a kv owns the open database; an iterator owns its read options and bounds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/backup.h"
#include "storage/rocks.h"

enum { BULK_READAHEAD_BYTES = 256 << 10 };
/* As log_size_for_flush of a checkpoint. */
#define NEVER_FLUSH UINT64_MAX

struct kv_rocks {
    struct kv base;
    struct rocks *rk;
};

struct kv_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *options;
    struct buf lo, hi;
    struct buf at;      /* key of the last row that was given; not of log tables */
    bool minds_deletes; /* range deletions: so its end has to be checked */
    bool begun, given, ended, cut;
};

static struct rocks *db_of(struct kv *k)
{
    return ((struct kv_rocks *)(void *)k)->rk;
}

static enum werr get(struct kv *k, enum store_table t, struct slice key, struct buf *out,
                     struct werror *e)
{
    struct rocks *rk = db_of(k);
    char *msg = NULL;
    rocksdb_pinnableslice_t *v =
        rocksdb_get_pinned_cf(rk->db, rk->point_reads, rk->cf[t], (const char *)key.p, key.n, &msg);
    enum werr rc = rocks_error(msg, "get", e);

    if (rc == WERR_OK && v == NULL) {
        rc = WERR_NOT_FOUND;
    } else if (rc == WERR_OK) {
        size_t n;
        const char *p = rocksdb_pinnableslice_value(v, &n);

        buf_put(out, p, n);
        rc = out->failed ? werror_set(e, WERR_NOMEM, "get: no memory for %zu bytes", n) : WERR_OK;
    }
    if (v != NULL) {
        rocksdb_pinnableslice_destroy(v);
    }
    return rc;
}

static enum werr iter_open(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                           bool bulk, struct kv_iter **out, struct werror *e)
{
    struct rocks *rk = db_of(k);
    struct kv_iter *it = must_calloc(1, sizeof *it);

    buf_put(&it->lo, lo.p, lo.n);
    buf_put(&it->hi, hi.p, hi.n);
    if (it->lo.failed || it->hi.failed) { /* without its bounds it would read other rows */
        buf_fini(&it->lo);
        buf_fini(&it->hi);
        free(it);
        return werror_set(e, WERR_NOMEM, "no memory for the bounds of a read");
    }
    it->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(it->options, 1);
    rocksdb_readoptions_set_fill_cache(it->options, 0);
    if (bulk) {
        rocksdb_readoptions_set_readahead_size(it->options, BULK_READAHEAD_BYTES);
    }
    it->minds_deletes = !table_is_log(t);
    rocksdb_readoptions_set_ignore_range_deletions(it->options, !it->minds_deletes);
    if (it->lo.len != 0) {
        rocksdb_readoptions_set_iterate_lower_bound(it->options, (const char *)it->lo.p,
                                                    it->lo.len);
    }
    if (it->hi.len != 0) {
        rocksdb_readoptions_set_iterate_upper_bound(it->options, (const char *)it->hi.p,
                                                    it->hi.len);
    }
    it->it = rocksdb_create_iterator_cf(rk->db, it->options, rk->cf[t]);
    *out = it;
    return WERR_OK;
}

static bool give_row(struct kv_iter *it, struct slice *key, struct slice *value)
{
    const char *p;
    size_t n;

    if (!rocksdb_iter_valid(it->it)) {
        return false;
    }
    p = rocksdb_iter_key(it->it, &n);
    *key = slice_of(p, n);
    p = rocksdb_iter_value(it->it, &n);
    *value = slice_of(p, n);
    if (it->minds_deletes) {
        buf_clear(&it->at);
        buf_put(&it->at, key->p, key->n);
        it->given = true;
    }
    return true;
}

/* There is no next row. Is that so? A second way to the last one tells. */
static void check_end(struct kv_iter *it)
{
    char *msg = NULL;
    const char *p;
    size_t n;

    rocksdb_iter_get_error(it->it, &msg);
    if (msg != NULL) {
        rocksdb_free(msg); /* asked for again in iter_error */
        return;
    }
    rocksdb_iter_seek_to_last(it->it);
    if (rocksdb_iter_valid(it->it)) {
        p = rocksdb_iter_key(it->it, &n);
        it->cut = !it->given || n != it->at.len || memcmp(p, it->at.p, n) != 0;
    }
    it->ended = true;
}

static bool iter_next(struct kv_iter *it, struct slice *key, struct slice *value)
{
    if (it->ended) {
        return false;
    }
    if (!it->begun && it->lo.len != 0) {
        rocksdb_iter_seek(it->it, (const char *)it->lo.p, it->lo.len);
    } else if (!it->begun) {
        rocksdb_iter_seek_to_first(it->it);
    } else if (rocksdb_iter_valid(it->it)) {
        rocksdb_iter_next(it->it);
    }
    it->begun = true;
    if (give_row(it, key, value)) {
        return true;
    }
    if (it->minds_deletes) {
        check_end(it);
    }
    return false;
}

static bool stands_on(const struct kv_iter *it, struct slice want)
{
    const char *p;
    size_t n;

    if (!rocksdb_iter_valid(it->it)) {
        return false;
    }
    p = rocksdb_iter_key(it->it, &n);
    return slice_eq(slice_of(p, n), want);
}

static bool iter_seek_floor(struct kv_iter *it, struct slice target, struct slice *key,
                            struct slice *value)
{
    it->begun = true;
    /* Who reads in sequence asks for the row itself. Looking backwards would read the block in
     * front of it as well, and once more its own when the cursor turns round. */
    rocksdb_iter_seek(it->it, (const char *)target.p, target.n);
    if (!stands_on(it, target)) {
        rocksdb_iter_seek_for_prev(it->it, (const char *)target.p, target.n);
    }
    return give_row(it, key, value);
}

static enum werr iter_error(struct kv_iter *it, struct werror *e)
{
    char *msg = NULL;
    enum werr rc;

    rocksdb_iter_get_error(it->it, &msg);
    rc = rocks_error(msg, "scan", e);
    if (rc == WERR_OK && it->cut) {
        rc = werror_set(e, WERR_IO, "scan: a table file could not be read: rows are left out");
    }
    return rc;
}

static void iter_close(struct kv_iter *it)
{
    if (it != NULL) {
        rocksdb_iter_destroy(it->it);
        rocksdb_readoptions_destroy(it->options);
        buf_fini(&it->lo);
        buf_fini(&it->hi);
        buf_fini(&it->at);
        free(it);
    }
}

/*
 * Begins to write one table's rows out. While RocksDB has stopped writes, because too much waits to
 * be written or merged, a flush that does not wait is refused: then one that waits holds the load
 * back.
 */
static enum werr begin_flush(struct rocks *rk, int t, struct werror *e)
{
    char *msg = NULL;
    enum werr rc;

    rocksdb_flush_cf(rk->db, rk->flush_options, rk->cf[t], &msg);
    rc = rocks_error(msg, "flush", e);
    if (rc == WERR_AGAIN) {
        msg = NULL;
        rocksdb_flush_cf(rk->db, rk->flush_and_wait, rk->cf[t], &msg);
        rc = rocks_error(msg, "flush", e);
    }
    return rc;
}

/* Log tables first: whatever is cut short in between is in the write-ahead log all the same. */
static enum werr bucket_end(struct kv *k, struct werror *e)
{
    struct rocks *rk = db_of(k);
    enum werr rc = WERR_OK;

    rk->wal_switched = true;
    WEIR_KILLPOINT(bucket_end_before);
    for (int t = TABLE_COUNT - 1; t >= 0 && rc == WERR_OK; t--) {
        rc = begin_flush(rk, t, e);
        WEIR_KILLPOINT(bucket_end_between);
    }
    WEIR_KILLPOINT(bucket_end_after);
    return rc;
}

static bool has_rows(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                     enum werr *rc, struct werror *e)
{
    struct kv_iter *it = NULL;
    struct slice key, value;
    bool any = false;

    *rc = iter_open(k, t, lo, hi, false, &it, e);
    if (it != NULL) {
        any = iter_next(it, &key, &value);
        *rc = iter_error(it, e);
        iter_close(it);
    }
    return any;
}

/*
 * Compacts [lo, hi). Rows of it that lie in memory are written out before, and waited for: a
 * compaction that has to flush does so for a reason of its own, and beside the flush at the end of
 * a bucket Debian's RocksDB then aborts (AtomicFlushMemTablesToOutputFiles asserts that flushes
 * done together have one reason). Nothing is written to [lo, hi) meanwhile: its bucket has ended.
 */
static enum werr compact(struct rocks *rk, enum store_table t, struct slice lo, struct slice hi,
                         struct werror *e)
{
    char *msg = NULL;
    enum werr rc;

    rocksdb_flush_cf(rk->db, rk->flush_and_wait, rk->cf[t], &msg);
    rc = rocks_error(msg, "flush", e);
    if (rc == WERR_OK) {
        rocksdb_compact_range_cf(rk->db, rk->cf[t], (const char *)lo.p, lo.n, (const char *)hi.p,
                                 hi.n);
    }
    return rc;
}

/*
 * A bucket has files of its own (it was flushed when it ended), so dropping them is free. After a
 * crash a file may hold two buckets; only then are rows deleted and that stretch compacted.
 */
static enum werr reclaim(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                         struct werror *e)
{
    struct rocks *rk = db_of(k);
    rocksdb_writeoptions_t *wo;
    char *msg = NULL;
    enum werr rc;

    rocksdb_delete_file_in_range_cf(rk->db, rk->cf[t], (const char *)lo.p, lo.n, (const char *)hi.p,
                                    hi.n, &msg);
    rc = rocks_error(msg, "drop files", e);
    if (rc != WERR_OK || !has_rows(k, t, lo, hi, &rc, e) || rc != WERR_OK) {
        return rc;
    }
    /* still in level 0, or in a file with others: move it down, and try again */
    rc = compact(rk, t, lo, hi, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rocksdb_delete_file_in_range_cf(rk->db, rk->cf[t], (const char *)lo.p, lo.n, (const char *)hi.p,
                                    hi.n, &msg);
    rc = rocks_error(msg, "drop files", e);
    if (rc != WERR_OK || !has_rows(k, t, lo, hi, &rc, e) || rc != WERR_OK) {
        return rc;
    }
    wo = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(wo, 1); /* only the committer writes to the log */
    rocksdb_delete_range_cf(rk->db, wo, rk->cf[t], (const char *)lo.p, lo.n, (const char *)hi.p,
                            hi.n, &msg);
    rocksdb_writeoptions_destroy(wo);
    rc = rocks_error(msg, "delete rows", e);
    return rc == WERR_OK ? compact(rk, t, lo, hi, e) : rc;
}

/*
 * The floor of a copy: everything that the store's floor knew before the copy was made, but for
 * files, which have other names and sizes there.
 */
static enum werr copy_floor(const char *dir, struct kv_floor *f, struct werror *e)
{
    f->clean = false;
    memset(f->wal_name, 0, sizeof f->wal_name);
    memset(f->manifest_name, 0, sizeof f->manifest_name);
    f->wal_synced_bytes = f->manifest_bytes = 0;
    return floor_save(dir, f, e);
}

/*
 * Memtables are not written out for it: the logs are copied. A flush by the checkpoint beside one
 * at the end of a bucket makes Debian's RocksDB abort (AtomicFlushMemTablesToOutputFiles asserts
 * that flushes done together have one reason).
 */
static enum werr checkpoint(struct kv *k, const char *dir, int64_t wall_ms, struct werror *e)
{
    struct rocks *rk = db_of(k);
    struct kv_floor f = {0};
    struct floor_mark *marks = NULL;
    struct backup_info about = {.created_ms = wall_ms};
    rocksdb_checkpoint_t *c = NULL;
    char *msg = NULL;
    enum werr rc = floor_load(rk->dir, &f, &marks, e);

    if (rc == WERR_CORRUPT) { /* another thread writes them in turn: one of them was half written */
        rc = floor_load(rk->dir, &f, &marks, e);
    }
    if (rc == WERR_OK && access(dir, F_OK) == 0) {
        rc = werror_set(e, WERR_EXISTS, "%.200s exists", dir);
        goto out;
    }
    if (rc == WERR_OK) {
        c = rocksdb_checkpoint_object_create(rk->db, &msg);
        rc = rocks_error(msg, "checkpoint", e);
    }
    if (rc == WERR_OK) {
        rocksdb_checkpoint_create(c, dir, NEVER_FLUSH, &msg);
        rc = rocks_error(msg, "checkpoint", e);
    }
    if (rc == WERR_OK) {
        rc = copy_floor(dir, &f, e);
    }
    if (rc == WERR_OK) {
        memcpy(about.store_uuid, f.store_uuid, sizeof about.store_uuid);
        rc = backup_seal(dir, &about, e);
    }
    if (rc != WERR_OK && c != NULL) {
        rocks_remove_copy(dir); /* half of one is of no use */
    }
    if (c != NULL) {
        rocksdb_checkpoint_object_destroy(c);
    }
out:
    free(marks);
    return rc;
}

/* Sum of file sizes of the store, and of its *.log files. */
static void directory_bytes(const char *dir, uint64_t *all, uint64_t *logs)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;

    *all = *logs = 0;
    while (d != NULL && (ent = readdir(d)) != NULL) {
        struct stat st;
        size_t n = strlen(ent->d_name);

        if (fstatat(dirfd(d), ent->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        *all += (uint64_t)st.st_size;
        if (n > 4 && strcmp(ent->d_name + n - 4, ".log") == 0) {
            *logs += (uint64_t)st.st_size;
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}

static void stats(struct kv *k, struct kv_stats *s)
{
    static const char *const memory[] = {"rocksdb.cur-size-all-mem-tables",
                                         "rocksdb.estimate-table-readers-mem"};
    struct rocks *rk = db_of(k);
    struct statvfs fs;

    *s = (struct kv_stats){0};
    directory_bytes(rk->dir, &s->disk_bytes, &s->log_bytes);
    if (statvfs(rk->dir, &fs) == 0) {
        s->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        s->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    for (int t = 0; t < TABLE_COUNT; t++) {
        for (size_t i = 0; i < 2; i++) {
            uint64_t v = 0;

            if (rocksdb_property_int_cf(rk->db, rk->cf[t], memory[i], &v) == 0) {
                s->memory_bytes += v;
            }
        }
    }
    s->memory_bytes += rocksdb_cache_get_usage(rk->cache);
}

static int sync_data(int fd)
{
    int rc;

    do {
        rc = fdatasync(fd);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/*
 * Size of a file of the store, once all of it is on disk. When it was rolled away meanwhile *name
 * becomes "": the next floor names its successor. INDETERMINATE: its sync failed, and the kernel
 * may have dropped what the log's own next sync would then call durable.
 */
static enum werr synced_size(const char *dir, char *name, uint64_t *size, struct werror *e)
{
    char path[4096];
    struct stat st;
    enum werr rc = WERR_OK;
    int fd;

    if (name[0] == '\0') {
        return WERR_OK;
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        name[0] = '\0';
    } else if (fd < 0 || fstat(fd, &st) != 0) {
        rc = werror_set(e, WERR_IO, "floor: %s: %s", name, strerror(errno));
    } else if (sync_data(fd) != 0) {
        rc = werror_set(e, errno == ENOSPC ? WERR_STORAGE_FULL : WERR_INDETERMINATE,
                        "floor: sync %s: %s", name, strerror(errno));
    } else {
        *size = (uint64_t)st.st_size;
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/*
 * Sizes are taken before the sync that covers them, so they never claim more than is on disk. The
 * marks are durable already: they come from completed commits.
 */
static enum werr floor_write(struct kv *k, const struct kv_floor *f, struct werror *e)
{
    struct rocks *rk = db_of(k);
    struct kv_floor full = *f;
    uint64_t unused;
    enum werr rc;

    WEIR_KILLPOINT(floor_begin);
    if (!rocks_newest_wal(rk->dir, full.wal_name, sizeof full.wal_name, &unused) ||
        !rocks_current(rk->dir, full.manifest_name, sizeof full.manifest_name)) {
        return werror_set(e, WERR_IO, "floor: %s", strerror(errno));
    }
    rc = synced_size(rk->dir, full.wal_name, &full.wal_synced_bytes, e);
    WEIR_KILLPOINT(floor_wal_synced);
    if (rc == WERR_OK) {
        rc = synced_size(rk->dir, full.manifest_name, &full.manifest_bytes, e);
    }
    WEIR_KILLPOINT(floor_manifest_synced);
    return rc == WERR_OK ? floor_save(rk->dir, &full, e) : rc;
}

static void close_kv(struct kv *k)
{
    struct kv_rocks *kr = (struct kv_rocks *)(void *)k;

    if (kr->rk->stuck) {
        return; /* left to the end of the process, with its lock */
    }
    rocks_close(kr->rk);
    free(kr);
}

static const struct kv_ops ops = {
    .name = "rocksdb",
    .get = get,
    .iter_open = iter_open,
    .iter_next = iter_next,
    .iter_seek_floor = iter_seek_floor,
    .iter_error = iter_error,
    .iter_close = iter_close,
    .bucket_end = bucket_end,
    .reclaim = reclaim,
    .checkpoint = checkpoint,
    .stats = stats,
    .floor_write = floor_write,
    .close = close_kv,
};

struct kv *kv_rocks_new(struct rocks *rk)
{
    struct kv_rocks *kr = must_calloc(1, sizeof *kr);

    kr->base.ops = &ops;
    kr->rk = rk;
    return &kr->base;
}
