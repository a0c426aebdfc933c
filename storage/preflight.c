/*
 * Before RocksDB touches anything: are the files there that the floor has seen synced? RocksDB
 * opens without a word when its newest log was cut on a record boundary or deleted, or its manifest
 * cut - and then deletes the tables that the manifest no longer names. So this comes first.
 *
 * Happy path: read CURRENT, walk the manifest's records (a few hundred KB), compare two sizes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/file_io.h"
#include "storage/rocks.h"
#include "storage/rocks_records.h"

/* False: errno says why not. */
static bool file_size(const char *dir, const char *name, uint64_t *size)
{
    char path[4096];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) != 0) {
        return false;
    }
    *size = (uint64_t)st.st_size;
    return true;
}

bool rocks_newest_wal(const char *dir, char *name, size_t n, uint64_t *all_bytes)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;
    unsigned long long best = 0;

    name[0] = '\0';
    *all_bytes = 0;
    if (d == NULL) {
        return false;
    }
    while ((ent = readdir(d)) != NULL) {
        char *end;
        unsigned long long number = strtoull(ent->d_name, &end, 10);
        uint64_t size = 0;

        if (end == ent->d_name || strcmp(end, ".log") != 0) {
            continue;
        }
        *all_bytes += file_size(dir, ent->d_name, &size) ? size : 0;
        if (number >= best) {
            best = number;
            snprintf(name, n, "%.30s", ent->d_name);
        }
    }
    closedir(d);
    return true;
}

bool rocks_current(const char *dir, char *name, size_t n)
{
    char path[4096];
    ssize_t got;
    int fd, saved_errno;

    snprintf(path, sizeof path, "%s/CURRENT", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    got = fd >= 0 ? file_read(fd, name, n - 1) : -1;
    saved_errno = errno;
    name[got < 0 ? 0 : got] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    errno = saved_errno;
    return got >= 0 || (fd < 0 && errno == ENOENT);
}

static enum werr unreadable(const char *dir, const char *name, struct werror *e)
{
    return werror_set(e, WERR_IO, "%s/%s: %s", dir, name, strerror(errno));
}

static enum werr check_wal(const char *dir, const struct kv_floor *f, struct werror *e)
{
    char newest[32];
    uint64_t size, all;

    if (f->wal_name[0] == '\0') {
        return WERR_OK;
    }
    if (!file_size(dir, f->wal_name, &size)) {
        /* retired when a newer one took its place; the manifest vouches for that */
        if (errno != ENOENT || !rocks_newest_wal(dir, newest, sizeof newest, &all)) {
            return unreadable(dir, f->wal_name, e);
        }
        if (strtoull(newest, NULL, 10) > strtoull(f->wal_name, NULL, 10)) {
            return WERR_OK;
        }
        if (f->wal_synced_bytes == 0) {
            return WERR_OK; /* it had just been made, and a power cut took its name away */
        }
        return werror_set(e, WERR_DATA_LOSS, "log file %s with %llu synced bytes is missing",
                          f->wal_name, (unsigned long long)f->wal_synced_bytes);
    }
    if (size < f->wal_synced_bytes) {
        return werror_set(e, WERR_DATA_LOSS, "log file %s has %llu bytes, %llu were synced",
                          f->wal_name, (unsigned long long)size,
                          (unsigned long long)f->wal_synced_bytes);
    }
    return WERR_OK;
}

enum { MANIFEST_MAX_BYTES = 1 << 30 };

/* Are these bytes whole, undamaged records up to their end? */
static bool whole_records(const uint8_t *p, size_t n)
{
    bool open_record = false;

    for (size_t at = 0; at < n;) {
        struct wal_record r;

        switch (record_at(p, n, at, &r)) {
        case RECORD_PAD:
            at += RECORD_BLOCK_BYTES - at % RECORD_BLOCK_BYTES;
            break;
        case RECORD_HERE:
            if (!record_is_sound(&r)) {
                return false;
            }
            open_record = !r.ends;
            at += r.bytes;
            break;
        case RECORD_BAD:
            return false;
        }
    }
    return !open_record;
}

static enum werr check_records(const char *dir, const char *name, uint64_t size, struct werror *e)
{
    char path[4096];
    uint8_t *p = NULL;
    ssize_t got = -1;
    int fd;
    enum werr rc = WERR_OK;

    if (size > MANIFEST_MAX_BYTES) {
        return WERR_OK; /* RocksDB will have to judge by itself */
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    p = malloc(size > 0 ? size : 1);
    if (fd >= 0 && p != NULL) {
        got = file_read(fd, p, size);
    }
    if (got < 0) {
        rc = werror_set(e, WERR_IO, "%s: %s", path, strerror(errno));
    } else if ((uint64_t)got < size) {
        rc = werror_set(e, WERR_IO, "%s: %zd bytes were read of %llu", path, got,
                        (unsigned long long)size);
    } else if (size == 0 || !whole_records(p, size)) {
        rc = werror_set(e, WERR_CORRUPT, "file %.60s ends in the middle of a record", name);
    }
    free(p);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static unsigned long long manifest_number(const char *name)
{
    const char *dash = strchr(name, '-');

    return dash != NULL ? strtoull(dash + 1, NULL, 10) : 0;
}

static enum werr check_manifest(const char *dir, const struct kv_floor *f, struct werror *e)
{
    char name[64];
    uint64_t size = 0;

    if (!rocks_current(dir, name, sizeof name)) {
        return unreadable(dir, "CURRENT", e);
    }
    if (name[0] == '\0') {
        return f->lsn == 0 ? WERR_OK
                           : werror_set(e, WERR_DATA_LOSS, "file CURRENT is missing or empty");
    }
    if (strchr(name, '/') != NULL || !file_size(dir, name, &size)) {
        if (strchr(name, '/') == NULL && errno != ENOENT) {
            return unreadable(dir, name, e);
        }
        return werror_set(e, WERR_DATA_LOSS, "file %.60s, which CURRENT names, is missing", name);
    }
    if (manifest_number(name) < manifest_number(f->manifest_name)) {
        return werror_set(e, WERR_DATA_LOSS, "CURRENT names %.60s, older than %.31s", name,
                          f->manifest_name);
    }
    if (strcmp(name, f->manifest_name) == 0 && size < f->manifest_bytes) {
        return werror_set(e, WERR_DATA_LOSS, "file %.60s has %llu bytes, %llu were synced", name,
                          (unsigned long long)size, (unsigned long long)f->manifest_bytes);
    }
    return check_records(dir, name, size, e);
}

enum werr rocks_preflight(const char *dir, const struct kv_floor *floor, struct werror *e)
{
    enum werr rc = check_wal(dir, floor, e);

    return rc == WERR_OK ? check_manifest(dir, floor, e) : rc;
}
