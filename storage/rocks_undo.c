/*
 * Taking back an open that turned out to be wrong.
 *
 * RocksDB replays its log, writes the rows out and deletes the log; only then can the rows be
 * compared with the floor. When they do not agree the log would be gone, and with it what could
 * still be read from it.
 *
 * Happy path: before the open, `undo.tmp` gets hard links to all files and becomes undo.SEQ, SEQ
 * being the number of the floor then; when the store is verified it is removed. Refused: files that
 * are gone come back, CURRENT is put back, what is new goes.
 * What can fail: a crash in between. The floor is written right after the verification, so undo.SEQ
 * of the floor's own number belongs to an open that was never verified, and is taken back at the
 * next start; any other is removed. Taking back may be repeated.
 * Who owns what: nothing is kept open.
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

static const char PREFIX[] = "undo.";
enum { PREFIX_BYTES = sizeof PREFIX - 1 };

static enum werr failed(struct werror *e, const char *what, const char *name)
{
    return werror_set(e, errno == ENOSPC ? WERR_STORAGE_FULL : WERR_IO, "%s %.200s: %s", what, name,
                      strerror(errno));
}

static void undo_path(char *path, size_t n, const char *dir, uint64_t seq)
{
    snprintf(path, n, "%s/%s%llu", dir, PREFIX, (unsigned long long)seq);
}

static enum werr sync_dir(const char *dir, struct werror *e)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum werr rc = WERR_OK;

    if (fd < 0 || fsync(fd) != 0) {
        rc = failed(e, "sync", dir);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum werr rocks_undo_keep(const char *dir, uint64_t seq, struct werror *e)
{
    char temp[4096], path[4096];
    enum werr rc;

    snprintf(temp, sizeof temp, "%s/%stmp", dir, PREFIX);
    undo_path(path, sizeof path, dir, seq);
    rocks_remove_copy(path);
    rc = rocks_link_copy(dir, temp, e);
    if (rc == WERR_OK) {
        rc = sync_dir(temp, e); /* an undo.SEQ without all its files would take files away */
    }
    if (rc == WERR_OK && rename(temp, path) != 0) {
        rc = failed(e, "rename", path);
    }
    if (rc != WERR_OK) {
        rocks_remove_copy(temp);
    }
    return rc;
}

void rocks_undo_drop(const char *dir, uint64_t seq)
{
    char path[4096];

    undo_path(path, sizeof path, dir, seq);
    rocks_remove_copy(path);
}

/* One file as it was: the same file under the same name. */
static enum werr restore_file(int from, int to, const char *name, struct werror *e)
{
    static const char temp[] = "undo.file";
    struct stat was, is;

    if (fstatat(from, name, &was, 0) != 0) {
        return failed(e, "stat", name);
    }
    if (fstatat(to, name, &is, 0) == 0 && is.st_ino == was.st_ino) {
        return WERR_OK;
    }
    (void)unlinkat(to, temp, 0);
    if (linkat(from, name, to, temp, 0) != 0 || renameat(to, temp, to, name) != 0) {
        return failed(e, "put back", name);
    }
    return WERR_OK;
}

/* CURRENT comes last: it decides which of the files count. */
static enum werr restore_all(DIR *from, int to, struct werror *e)
{
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    while (rc == WERR_OK && (ent = readdir(from)) != NULL) {
        if (ent->d_name[0] != '.' && strcmp(ent->d_name, "CURRENT") != 0) {
            rc = restore_file(dirfd(from), to, ent->d_name, e);
        }
    }
    if (rc == WERR_OK && faccessat(dirfd(from), "CURRENT", F_OK, 0) == 0) {
        rc = restore_file(dirfd(from), to, "CURRENT", e);
    }
    return rc;
}

/* Removes what the undone open made. */
static enum werr remove_new(int from, DIR *to, struct werror *e)
{
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    while (rc == WERR_OK && (ent = readdir(to)) != NULL) {
        if (rocks_copy_has(ent->d_name) && faccessat(from, ent->d_name, F_OK, 0) != 0 &&
            unlinkat(dirfd(to), ent->d_name, 0) != 0) {
            rc = failed(e, "remove", ent->d_name);
        }
    }
    return rc;
}

enum werr rocks_undo(const char *dir, uint64_t seq, struct werror *e)
{
    char path[4096];
    DIR *from, *to;
    enum werr rc;

    undo_path(path, sizeof path, dir, seq);
    from = opendir(path);
    to = opendir(dir);
    if (from == NULL || to == NULL) {
        rc = failed(e, "open", path);
        goto out;
    }
    rc = restore_all(from, dirfd(to), e);
    if (rc == WERR_OK) {
        rc = remove_new(dirfd(from), to, e);
    }
    if (rc == WERR_OK) {
        rc = sync_dir(dir, e);
    }
out:
    if (from != NULL) {
        closedir(from);
    }
    if (to != NULL) {
        closedir(to);
    }
    if (rc == WERR_OK) {
        rocks_remove_copy(path);
    }
    return rc;
}

enum werr rocks_undo_leftover(const char *dir, uint64_t seq, struct werror *e)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;
    char path[4096];
    bool mine = false;

    while (d != NULL && (ent = readdir(d)) != NULL) {
        const char *number = ent->d_name + PREFIX_BYTES;
        char *end;

        if (strncmp(ent->d_name, PREFIX, PREFIX_BYTES) != 0) {
            continue;
        }
        if (strtoull(number, &end, 10) == seq && end != number && *end == '\0') {
            mine = true;
            continue;
        }
        snprintf(path, sizeof path, "%s/%.200s", dir, ent->d_name);
        rocks_remove_copy(path);
        (void)unlink(path); /* undo.file */
    }
    if (d != NULL) {
        closedir(d);
    }
    return mine ? rocks_undo(dir, seq, e) : WERR_OK;
}
