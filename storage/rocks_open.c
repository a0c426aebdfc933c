/*
 * Opening RocksDB: every option in one place, with its reason
 * (docs/decisions/0100-rocksdb-options.md has the measurements). All memory derives from one
 * number, conf->memory_bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/alloc.h"
#include "storage/rocks.h"

#define MIB ((uint64_t)1 << 20)

/* One is written to, two are on their way to disk: three buckets of memory at most. */
enum {
    MEMTABLES = 3,
    INFO_LOG_HEADER = 5, /* RocksDB's enum InfoLogLevel */
    MIN_FREE_MIB = 16,   /* below that a start can neither replay the log nor write a manifest */
};

/* Order is the numbers of the column families, for ever (storage/keys.h). */
static const char *const cf_names[TABLE_COUNT] = {
    "default", "log_1d", "log_7d", "log_30d", "log_forever", "delay", "hold",
};

const char *rocks_family_name(enum store_table t)
{
    return cf_names[t];
}

/* O_DIRECT keeps flushes out of the page cache, where they would stand in the way of WAL syncs. */
static bool direct_io_works(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_WRONLY | O_DIRECT | O_CLOEXEC, 0600);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* Leaves room for sockets: a quarter of the descriptors, never all of them. */
static int max_open_files(void)
{
    struct rlimit rl;
    rlim_t n = getrlimit(RLIMIT_NOFILE, &rl) == 0 ? rl.rlim_cur / 4 : 256;

    return n < 64 ? 64 : n > 8192 ? 8192 : (int)n;
}

static void table_options(rocksdb_options_t *o, rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1); /* bounded with the rest */
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

/* Options of one column family. */
static void family_options(rocksdb_options_t *o, enum store_table t, uint64_t bucket_bytes,
                           rocksdb_cache_t *cache)
{
    bool log = table_is_log(t);

    rocksdb_options_set_compression(o, rocksdb_no_compression); /* batches come compressed or not */
    rocksdb_options_set_compaction_style(o, rocksdb_level_compaction);
    /* Two buckets and two batches always fit: RocksDB never switches memtables by itself, the roll
     * does. While one roll is on its way, as much again may be submitted (store.h). */
    rocksdb_options_set_write_buffer_size(o, 2 * bucket_bytes + bucket_bytes / 2 + 16 * MIB);
    rocksdb_options_set_max_write_buffer_number(o, MEMTABLES);
    /* A flushed bucket overlaps nothing, so it moves down without being rewritten, at once; only
     * below level 0 can its files be dropped. The small tables do get merged: in small pieces. */
    rocksdb_options_set_level0_file_num_compaction_trigger(o, log ? 1 : 4);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 40);
    rocksdb_options_set_level0_stop_writes_trigger(o, 80);
    rocksdb_options_set_target_file_size_base(o, (log ? 64 : 4) * MIB);
    rocksdb_options_set_max_bytes_for_level_base(o, (log ? 512 : 32) * MIB);
    table_options(o, cache);
}

static void database_options(rocksdb_options_t *o, const char *dir, const struct rocks_how *how)
{
    rocksdb_options_set_create_if_missing(o, how->create);
    rocksdb_options_set_create_missing_column_families(o, how->create);
    rocksdb_options_set_paranoid_checks(o, !how->lenient);
    rocksdb_options_set_atomic_flush(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, (int)how->wal_mode);
    rocksdb_options_set_max_background_jobs(o, 4);
    rocksdb_options_set_max_open_files(o, max_open_files());
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1); /* start reads no table twice */
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    /* Nothing but its options at the start goes to RocksDB's text log: Debian's build aborts when a
     * line of it meets a full disk. */
    rocksdb_options_set_info_log_level(o, INFO_LOG_HEADER);
    rocksdb_options_set_keep_log_file_num(o, 3);
    rocksdb_options_set_max_manifest_file_size(o, 16 * MIB);
    rocksdb_options_set_bytes_per_sync(o, 1 * MIB); /* no burst of dirty pages beside a WAL sync */
    if (direct_io_works(dir)) {
        rocksdb_options_set_use_direct_io_for_flush_and_compaction(o, 1);
    }
}

/* What has no setter in the C API. */
static rocksdb_options_t *with_string_options(rocksdb_options_t *base, const struct rocks_how *how,
                                              struct werror *e)
{
    rocksdb_options_t *o = rocksdb_options_create();
    const char *text = how->lenient ? "track_and_verify_wals_in_manifest=false"
                                    : "track_and_verify_wals_in_manifest=true";
    char *msg = NULL;

    rocksdb_get_options_from_string(base, text, o, &msg);
    if (rocks_error(msg, "options", e) != WERR_OK) {
        rocksdb_options_destroy(o);
        return NULL;
    }
    return o;
}

static enum werr verify_families(struct rocks *rk, struct werror *e)
{
    for (uint32_t t = 0; t < TABLE_COUNT; t++) {
        uint32_t id = rocksdb_column_family_handle_get_id(rk->cf[t]);

        if (id != t) {
            return werror_set(e, WERR_CORRUPT, "%s: column family %s has number %u, want %u",
                              rk->dir, cf_names[t], id, t);
        }
    }
    return WERR_OK;
}

static enum werr open_db(struct rocks *rk, struct werror *e)
{
    struct statvfs fs;
    char *msg = NULL;

    if (statvfs(rk->dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < MIN_FREE_MIB * MIB) {
        return werror_set(e, WERR_STORAGE_FULL, "%.150s: %llu KiB free, a start needs %d MiB",
                          rk->dir, (unsigned long long)fs.f_bavail * fs.f_frsize / 1024,
                          MIN_FREE_MIB);
    }

    rk->db = rocksdb_open_column_families(rk->options, rk->dir, TABLE_COUNT, cf_names,
                                          (const rocksdb_options_t *const *)rk->cf_options, rk->cf,
                                          &msg);
    return rocks_error(msg, "open", e);
}

enum werr rocks_open(struct rocks **out, const char *dir, const struct store_conf *conf,
                     const struct rocks_how *how, struct werror *e)
{
    uint64_t memory = conf->memory_bytes != 0 ? conf->memory_bytes : 256 * MIB;
    uint64_t bucket = conf->bucket_bytes != 0 ? conf->bucket_bytes : memory / 4;
    struct rocks *rk = must_calloc(1, sizeof *rk);
    rocksdb_options_t *base = rocksdb_options_create();
    enum werr rc;

    rk->lock_fd = -1;
    rk->bucket_bytes = bucket;
    snprintf(rk->dir, sizeof rk->dir, "%s", dir);
    rk->cache = rocksdb_cache_create_lru(memory / 16 > 4 * MIB ? memory / 16 : 4 * MIB);
    rk->point_reads = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(rk->point_reads, 1);
    rk->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rk->flush_options, 0);
    rk->flush_and_wait = rocksdb_flushoptions_create(); /* waits unless told otherwise */
    database_options(base, dir, how);
    rk->options = with_string_options(base, how, e);
    rocksdb_options_destroy(base);
    rc = rk->options != NULL ? WERR_OK : WERR_INTERNAL;
    for (int t = 0; t < TABLE_COUNT && rc == WERR_OK; t++) {
        rk->cf_options[t] = rocksdb_options_create_copy(rk->options);
        family_options(rk->cf_options[t], (enum store_table)t, bucket, rk->cache);
    }
    if (rc == WERR_OK) {
        rc = open_db(rk, e);
    }
    if (rc == WERR_OK) {
        rc = verify_families(rk, e);
    }
    if (rc != WERR_OK) {
        rocks_close(rk);
        return rc;
    }
    *out = rk;
    return WERR_OK;
}

void rocks_close(struct rocks *rk)
{
    if (rk == NULL) {
        return;
    }
    for (int t = 0; t < TABLE_COUNT && rk->db != NULL; t++) { /* all or none */
        rocksdb_column_family_handle_destroy(rk->cf[t]);
    }
    if (rk->db != NULL) {
        rocksdb_close(rk->db); /* after every handle, or it asserts */
    }
    for (int t = 0; t < TABLE_COUNT; t++) {
        if (rk->cf_options[t] != NULL) {
            rocksdb_options_destroy(rk->cf_options[t]);
        }
    }
    if (rk->options != NULL) {
        rocksdb_options_destroy(rk->options);
    }
    rocksdb_readoptions_destroy(rk->point_reads);
    rocksdb_flushoptions_destroy(rk->flush_options);
    rocksdb_flushoptions_destroy(rk->flush_and_wait);
    rocksdb_cache_destroy(rk->cache);
    if (rk->lock_fd >= 0) {
        close(rk->lock_fd);
    }
    free(rk);
}
