/*
 * Copies of a stopped store made of hard links, to look at it without changing it.
 *
 * Happy path: a new directory gets links to all files but locks and floors; floors, which are
 * written in place, are copied. RocksDB never writes to a file of an earlier life.
 * What can fail: another file system (links), no space for a directory, a server that runs.
 * Who owns what: the copy belongs to who made it; the lock is held as long as the copy is open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/backup.h"
#include "storage/file_io.h"
#include "storage/rocks.h"
#include "storage/store_rocks.h"

void rocks_remove_copy(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;

    if (d == NULL) {
        return;
    }
    while ((ent = readdir(d)) != NULL) {
        (void)unlinkat(dirfd(d), ent->d_name, 0); /* flat: RocksDB makes no directories in it */
    }
    closedir(d);
    (void)rmdir(dir);
}

bool rocks_copy_has(const char *name)
{
    return name[0] != '.' && strcmp(name, "LOCK") != 0 && strcmp(name, "weir.lock") != 0 &&
           strncmp(name, "LOG", 3) != 0 && strncmp(name, "floor.", 6) != 0 &&
           strcmp(name, "examine.tmp") != 0 && strncmp(name, "undo.", 5) != 0 &&
           strcmp(name, BACKUP_FOLDER) != 0 && strcmp(name, BACKUP_LIST) != 0;
}

enum werr rocks_link_copy(const char *dir, const char *scratch, struct werror *e)
{
    DIR *d = opendir(dir);
    int to = -1;
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    rocks_remove_copy(scratch);
    if (d != NULL && mkdir(scratch, 0700) == 0) {
        to = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (to < 0) {
        rc = werror_set(e, WERR_IO, "%.100s: %s", scratch, strerror(errno));
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): d == NULL set rc */
    while (rc == WERR_OK && (ent = readdir(d)) != NULL) {
        if (rocks_copy_has(ent->d_name) && linkat(dirfd(d), ent->d_name, to, ent->d_name, 0) != 0) {
            rc = werror_set(e, WERR_IO, "link to %.100s: %s", ent->d_name, strerror(errno));
        }
    }
    if (to >= 0) {
        close(to);
    }
    if (d != NULL) {
        closedir(d);
    }
    return rc;
}

/* ---------------------------------------------------------------- a copy that is opened */

static enum werr copy_floor(const char *dir, const char *to, const char *name, struct werror *e)
{
    char path[4096];
    uint8_t bytes[4096];
    enum werr rc = WERR_OK;
    ssize_t n;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    const int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0 && errno == ENOENT) {
        return WERR_OK;
    }
    snprintf(path, sizeof path, "%s/%s", to, name);
    const int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    do {
        n = in < 0 || out < 0 ? -1 : file_read(in, bytes, sizeof bytes);
        if (n < 0 || !file_write(out, bytes, (size_t)n)) {
            rc = werror_set(e, WERR_IO, "copy of %.100s: %s", path, strerror(errno));
        }
    } while (rc == WERR_OK && n > 0);
    if (in >= 0) {
        close(in);
    }
    if (out >= 0) {
        close(out);
    }
    return rc;
}

static enum werr take_lock(struct store_copy *c, const char *dir, struct werror *e)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/weir.lock", dir);
    c->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->lock_fd < 0) {
        return werror_set(e, WERR_IO, "%.100s is not a store: weir.lock: %s", dir, strerror(errno));
    }
    if (flock(c->lock_fd, LOCK_SH | LOCK_NB) != 0) {
        return werror_set(e, WERR_LOCKED, "%.100s is in use by a running server", dir);
    }
    return WERR_OK;
}

enum werr store_copy_open(struct store_copy *c, const char *dir, const char *scratch,
                          const struct store_conf *conf, struct werror *e)
{
    enum werr rc;

    *c = (struct store_copy){.lock_fd = -1};
    rc = take_lock(c, dir, e);
    if (rc == WERR_OK) {
        snprintf(c->scratch, sizeof c->scratch, "%s", scratch);
        rc = rocks_link_copy(dir, scratch, e);
    }
    if (rc == WERR_OK) {
        rc = copy_floor(dir, scratch, "floor.0", e);
    }
    if (rc == WERR_OK) {
        rc = copy_floor(dir, scratch, "floor.1", e);
    }
    if (rc == WERR_OK) {
        rc = store_open_rocks(&c->st, scratch, conf, e);
    }
    return rc;
}

void store_copy_close(struct store_copy *c)
{
    if (c->st != NULL) {
        store_close(c->st);
    }
    if (c->scratch[0] != '\0') {
        rocks_remove_copy(c->scratch);
    }
    if (c->lock_fd >= 0) {
        close(c->lock_fd);
    }
    *c = (struct store_copy){.lock_fd = -1};
}
