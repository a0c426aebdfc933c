/*
 * Before RocksDB touches anything: are the files there that the floor has seen synced? RocksDB
 * opens without a word when its newest log was cut on a record boundary or deleted, or its manifest
 * cut.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/rocks.h"

static bool file_size(int dir, const char *name, uint64_t *size)
{
    struct stat st;

    if (fstatat(dir, name, &st, 0) != 0) {
        return false;
    }
    *size = (uint64_t)st.st_size;
    return true;
}

/* Is there a write-ahead log with a higher number? Then the named one may have been retired. */
static bool newer_wal(DIR *d, const char *name)
{
    unsigned long long number = strtoull(name, NULL, 10);
    const struct dirent *ent;

    while ((ent = readdir(d)) != NULL) {
        char *end;
        unsigned long long n = strtoull(ent->d_name, &end, 10);

        if (end != ent->d_name && strcmp(end, ".log") == 0 && n > number) {
            return true;
        }
    }
    return false;
}

static enum werr check_wal(DIR *d, const struct kv_floor *f, struct werror *e)
{
    uint64_t size;

    if (f->wal_name[0] == '\0') {
        return WERR_OK;
    }
    if (!file_size(dirfd(d), f->wal_name, &size)) {
        if (newer_wal(d, f->wal_name)) {
            return WERR_OK;
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

static enum werr check_manifest(DIR *d, const struct kv_floor *f, struct werror *e)
{
    char name[64] = "";
    int fd = openat(dirfd(d), "CURRENT", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, name, sizeof name - 1) : 0;
    uint64_t size = 0;

    if (fd >= 0) {
        close(fd);
    }
    name[n > 0 ? n : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (name[0] == '\0') {
        return f->lsn == 0 ? WERR_OK
                           : werror_set(e, WERR_DATA_LOSS, "file CURRENT is missing or empty");
    }
    if (!file_size(dirfd(d), name, &size)) {
        return werror_set(e, WERR_DATA_LOSS, "file %.60s, which CURRENT names, is missing", name);
    }
    if (strcmp(name, f->manifest_name) == 0 && size < f->manifest_bytes) {
        return werror_set(e, WERR_DATA_LOSS, "file %.60s has %llu bytes, %llu were synced", name,
                          (unsigned long long)size, (unsigned long long)f->manifest_bytes);
    }
    return WERR_OK;
}

enum werr rocks_preflight(const char *dir, const struct kv_floor *floor, struct werror *e)
{
    DIR *d = opendir(dir);
    enum werr rc;

    if (d == NULL) {
        return werror_set(e, WERR_IO, "%s: %s", dir, strerror(errno));
    }
    rc = check_wal(d, floor, e);
    if (rc == WERR_OK) {
        rc = check_manifest(d, floor, e);
    }
    closedir(d);
    return rc;
}
