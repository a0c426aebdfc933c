/*
 * What to do about a store that does not look right.
 *
 * Happy path of an examination: a scratch directory inside the store's gets hard links to its files
 * and is opened there, without RocksDB's own verification (which would only say "no"); the index is
 * loaded as a start does and compared with the floor, and every table file is looked at. RocksDB
 * never writes to a file of an earlier life, so the store's own files stay as they are. A read-only
 * open would do without links, but Debian's build aborts in it when logs are tracked in the
 * manifest and not verified (assertion on recovery_ctx).
 *
 * What can fail: the open itself; then nothing more can be said than RocksDB's message.
 * Who owns what: an examination closes and removes everything it made; what a crash leaves of it,
 * the next one removes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/load.h"
#include "storage/rocks.h"

static const char SCRATCH_NAME[] = "examine.tmp";

/* ---------------------------------------------------------------- table files */

struct table_file {
    const char *name; /* "/000012.sst" */
    enum store_table table;
    struct slice first, last; /* keys */
    uint64_t want_bytes;
    bool missing;
    uint64_t bytes;
};

static bool family_table(const char *name, enum store_table *t)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        if (strcmp(rocks_family_name((enum store_table)i), name) == 0) {
            *t = (enum store_table)i;
            return true;
        }
    }
    return false;
}

/* The i-th live table file; false when it is all right. */
static bool damaged(const struct rocks *rk, const rocksdb_livefiles_t *files, int i,
                    struct table_file *f)
{
    char path[4096];
    struct stat st;
    size_t n;
    const char *p;

    f->name = rocksdb_livefiles_name(files, i);
    f->want_bytes = rocksdb_livefiles_size(files, i);
    p = rocksdb_livefiles_smallestkey(files, i, &n);
    f->first = slice_of(p, n);
    p = rocksdb_livefiles_largestkey(files, i, &n);
    f->last = slice_of(p, n);
    snprintf(path, sizeof path, "%s%s", rk->dir, f->name);
    f->missing = stat(path, &st) != 0;
    f->bytes = f->missing ? 0 : (uint64_t)st.st_size;
    return f->bytes != f->want_bytes &&
           family_table(rocksdb_livefiles_column_family_name(files, i), &f->table);
}

/* The first live offsets that lie in the file, as text. */
static void name_offsets(const struct index *ix, const struct table_file *f, char *out, size_t n)
{
    uint32_t bucket, first_partition, last_partition;
    uint64_t base;

    snprintf(out, n, "no live offset lies there");
    if (!table_is_log(f->table) || f->first.n != LOG_KEY_BYTES || f->last.n != LOG_KEY_BYTES) {
        snprintf(out, n, "it holds metadata");
        return;
    }
    log_key_parse(f->last.p, &bucket, &last_partition, &base);
    log_key_parse(f->first.p, &bucket, &first_partition, &base);
    for (uint32_t p = 0; index_part_next(ix, &p); p++) {
        const struct index_part *part = index_part(ix, p);

        for (uint32_t i = 0; i < part->n; i++) {
            const struct index_range *r = &part->ranges[i];

            if (r->bucket == bucket && r->table == f->table && p >= first_partition &&
                p <= last_partition) {
                snprintf(out, n, "partition %u: offsets %llu to %llu lie there%s", p,
                         (unsigned long long)r->first, (unsigned long long)(r->next - 1),
                         first_partition != last_partition ? ", and others" : "");
                return;
            }
        }
    }
}

static enum werr check_tables(const struct rocks *rk, const struct store_conf *conf,
                              const struct index *ix, struct werror *e)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rk->db);
    int n = rocksdb_livefiles_count(files);
    enum werr rc = WERR_OK;

    for (int i = 0; i < n; i++) {
        struct table_file f;
        struct werror one;
        char size[48], where[128];

        if (!damaged(rk, files, i, &f)) {
            continue;
        }
        name_offsets(ix, &f, where, sizeof where);
        snprintf(size, sizeof size, "has %llu bytes, not", (unsigned long long)f.bytes);
        werror_set(&one, WERR_DATA_LOSS, "table file %.20s %s %llu bytes; %s", f.name + 1,
                   f.missing ? "is missing," : size, (unsigned long long)f.want_bytes, where);
        if (conf->log != NULL) {
            conf->log(conf->log_arg, "data_loss", one.text);
        }
        if (rc == WERR_OK && e != NULL) {
            *e = one;
        }
        rc = WERR_DATA_LOSS;
    }
    rocksdb_livefiles_destroy(files);
    return rc;
}

enum werr rocks_drop_damaged(struct rocks *rk, struct werror *e)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rk->db);
    int n = rocksdb_livefiles_count(files);
    enum werr rc = WERR_OK;

    for (int i = 0; i < n && rc == WERR_OK; i++) {
        struct table_file f;
        char *msg = NULL;

        if (damaged(rk, files, i, &f)) {
            rocksdb_delete_file_in_range_cf(rk->db, rk->cf[f.table], (const char *)f.first.p,
                                            f.first.n, (const char *)f.last.p, f.last.n, &msg);
            rc = rocks_error(msg, "drop damaged file", e);
        }
    }
    rocksdb_livefiles_destroy(files);
    return rc;
}

/* ---------------------------------------------------------------- CURRENT */

enum werr rocks_restore_current(const char *dir, const struct kv_floor *floor, struct werror *e)
{
    char name[64], path[4096], temp[4096], line[80];
    struct stat st;
    ssize_t n;
    int fd;
    enum werr rc = WERR_OK;

    if (!rocks_current(dir, name, sizeof name)) {
        return werror_set(e, WERR_IO, "%s/CURRENT: %s", dir, strerror(errno));
    }
    snprintf(path, sizeof path, "%s/%s", dir, floor->manifest_name);
    if (name[0] != '\0' || floor->manifest_name[0] == '\0' || stat(path, &st) != 0) {
        return WERR_OK;
    }
    snprintf(line, sizeof line, "%s\n", floor->manifest_name);
    snprintf(path, sizeof path, "%s/CURRENT", dir);
    snprintf(temp, sizeof temp, "%s/CURRENT.weir", dir);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    n = fd >= 0 ? write(fd, line, strlen(line)) : -1;
    if (n != (ssize_t)strlen(line) || fdatasync(fd) != 0 || rename(temp, path) != 0) {
        rc = werror_set(e, WERR_IO, "%s: %s", temp, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/* ---------------------------------------------------------------- examination */

/* Passes log lines on, and keeps the first that names a partition. */
struct listener {
    const struct store_conf *conf;
    char first[200];
};

static void listen_loss(void *arg, const char *event, const char *text)
{
    struct listener *l = arg;

    if (strcmp(event, "data_loss") == 0 && l->first[0] == '\0') {
        snprintf(l->first, sizeof l->first, "%s", text);
    }
    if (l->conf->log != NULL) {
        l->conf->log(l->conf->log_arg, event, text);
    }
}

static enum werr examine_copy(const char *dir, const struct store_conf *conf,
                              const struct kv_floor *floor, struct werror *e)
{
    const struct rocks_how how = {.wal_mode = ROCKS_POINT, .lenient = true};
    struct listener l = {.conf = conf};
    struct store_conf strict = *conf;
    struct loaded found = {0};
    struct rocks *rk = NULL;
    struct kv *kv = NULL;
    struct clog *log = NULL;
    enum werr rc;

    strict.accept_data_loss = false;
    strict.log = listen_loss;
    strict.log_arg = &l;
    rc = rocks_open(&rk, dir, &strict, &how, e);
    if (rc != WERR_OK) {
        return rc;
    }
    kv = kv_rocks_new(rk);
    log = clog_rocks_new(rk);
    rc = load_store(&found, kv, log, &strict, floor->lsn != 0 ? floor : NULL, e);
    if (rc == WERR_OK && found.fresh && floor->lsn != 0) {
        rc = werror_set(e, WERR_DATA_LOSS, "the store is empty");
    }
    if (rc == WERR_DATA_LOSS && l.first[0] != '\0') {
        werror_set(e, rc, "%s", l.first);
    }
    if (rc == WERR_OK) {
        rc = check_tables(rk, conf, &found.ix, e);
    } else if (rc == WERR_CORRUPT || rc == WERR_IO) { /* the file says more than the failed read */
        struct werror named;

        if (check_tables(rk, conf, &found.ix, &named) == WERR_DATA_LOSS && e != NULL) {
            *e = named;
        }
    }
    loaded_fini(&found);
    log->ops->close(log);
    kv->ops->close(kv);
    return rc;
}

enum werr rocks_examine(const char *dir, const struct store_conf *conf,
                        const struct kv_floor *floor, struct werror *e)
{
    char scratch[4096];
    enum werr rc;

    snprintf(scratch, sizeof scratch, "%s/%s", dir, SCRATCH_NAME);
    rc = rocks_link_copy(dir, scratch, e);
    if (rc == WERR_OK) {
        rc = rocks_restore_current(scratch, floor, e);
    }
    if (rc == WERR_OK) {
        rc = rocks_hide_repeats(scratch, e);
    }
    if (rc == WERR_OK) {
        rc = examine_copy(scratch, conf, floor, e);
    }
    rocks_remove_copy(scratch);
    return rc;
}
