/*
 * Happy path: encode, write into the older of two slot files, sync; at start take the newer valid
 * one. What can fail: a torn write leaves one slot invalid, and the other still holds the floor
 * before.
 */
#include "storage/floor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "proto/killpoint.h"
#include "storage/file_io.h"

/* Layout: docs/STORAGE_FORMAT.md, "floor". */
enum {
    OFF_FORMAT = 8,
    OFF_BODY_BYTES = 12,
    OFF_BODY = 16,
    BODY_UUID = 8,
    BODY_EPOCH = 24,
    BODY_LSN = 32,
    BODY_CLEAN = 40,
    BODY_WAL = 41,
    BODY_MANIFEST = 73,
    BODY_WAL_BYTES = 105,
    BODY_MANIFEST_BYTES = 113,
    BODY_MARKS = 121,
    BODY_FIXED = 125,
    MARK_BYTES = 12,
    FLOOR_MAX_BYTES = 64 << 20,
};
static const char floor_magic[8] = {'w', 'e', 'i', 'r', 'f', 'l', 'o', 'r'};

void floor_encode(struct buf *b, const struct kv_floor *f)
{
    size_t from = b->len;

    buf_put(b, floor_magic, sizeof floor_magic);
    buf_put_be32(b, FLOOR_FORMAT);
    buf_put_be32(b, (uint32_t)(BODY_FIXED + f->n_marks * MARK_BYTES));
    buf_put_be64(b, f->seq);
    buf_put(b, f->store_uuid, sizeof f->store_uuid);
    buf_put_be64(b, f->epoch);
    buf_put_be64(b, f->lsn);
    buf_put_u8(b, f->clean);
    buf_put(b, f->wal_name, sizeof f->wal_name);
    buf_put(b, f->manifest_name, sizeof f->manifest_name);
    buf_put_be64(b, f->wal_synced_bytes);
    buf_put_be64(b, f->manifest_bytes);
    buf_put_be32(b, (uint32_t)f->n_marks);
    for (size_t i = 0; i < f->n_marks; i++) {
        buf_put_be32(b, f->marks[i].partition);
        buf_put_be64(b, f->marks[i].next_offset);
    }
    if (!b->failed) {
        buf_put_be32(b, crc32c(b->p + from, b->len - from));
    }
}

/* Head and checksum. The format comes first: a newer one may look different from there on. */
static enum werr check_slot(struct slice bytes, struct werror *e)
{
    uint32_t body;

    if (bytes.n < OFF_BODY || memcmp(bytes.p, floor_magic, sizeof floor_magic) != 0) {
        return werror_set(e, WERR_CORRUPT, "floor: not a floor file");
    }
    if (be32(bytes.p + OFF_FORMAT) > FLOOR_FORMAT) {
        return werror_set(e, WERR_FORMAT_NEWER, "floor: format %u, this version knows %d",
                          be32(bytes.p + OFF_FORMAT), FLOOR_FORMAT);
    }
    body = be32(bytes.p + OFF_BODY_BYTES);
    if (body < BODY_FIXED || bytes.n < (size_t)OFF_BODY + body + 4) {
        return werror_set(e, WERR_CORRUPT, "floor: %zu bytes, a body of %u announced", bytes.n,
                          body);
    }
    if (crc32c(bytes.p, (size_t)OFF_BODY + body) != be32(bytes.p + OFF_BODY + body)) {
        return werror_set(e, WERR_CORRUPT, "floor: checksum wrong");
    }
    return WERR_OK;
}

enum werr floor_decode(struct slice bytes, struct kv_floor *f, struct floor_mark **marks_out,
                       struct werror *e)
{
    enum werr rc = check_slot(bytes, e);
    struct floor_mark *marks;
    const uint8_t *p;
    uint32_t n;

    if (rc != WERR_OK) {
        return rc;
    }
    assert(bytes.p != NULL); /* or its head would not have been right */
    p = bytes.p + OFF_BODY;
    n = be32(p + BODY_MARKS);
    if (be32(bytes.p + OFF_BODY_BYTES) != BODY_FIXED + (uint64_t)n * MARK_BYTES) {
        return werror_set(e, WERR_CORRUPT, "floor: %u marks do not fit its length", n);
    }
    marks = calloc(n > 0 ? n : 1, sizeof *marks);
    if (marks == NULL) {
        return werror_set(e, WERR_NOMEM, "floor: no memory for %u marks", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *m = p + BODY_FIXED + (size_t)i * MARK_BYTES;

        marks[i] = (struct floor_mark){.partition = be32(m), .next_offset = be64(m + 4)};
    }
    *f = (struct kv_floor){
        .seq = be64(p),
        .epoch = be64(p + BODY_EPOCH),
        .lsn = be64(p + BODY_LSN),
        .clean = p[BODY_CLEAN] != 0,
        .marks = marks,
        .n_marks = n,
        .wal_synced_bytes = be64(p + BODY_WAL_BYTES),
        .manifest_bytes = be64(p + BODY_MANIFEST_BYTES),
    };
    memcpy(f->store_uuid, p + BODY_UUID, sizeof f->store_uuid);
    memcpy(f->wal_name, p + BODY_WAL, sizeof f->wal_name - 1);
    memcpy(f->manifest_name, p + BODY_MANIFEST, sizeof f->manifest_name - 1);
    *marks_out = marks;
    return WERR_OK;
}

static enum werr slot_path(char *path, size_t n, const char *dir, unsigned slot, struct werror *e)
{
    int len = snprintf(path, n, "%s/floor.%u", dir, slot);

    return (size_t)len < n ? WERR_OK : werror_set(e, WERR_IO, "path too long: %.100s", dir);
}

static enum werr sys_error(struct werror *e, const char *what, const char *path)
{
    int err = errno;
    enum werr rc = werror_set(e, err == ENOSPC ? WERR_STORAGE_FULL : WERR_IO, "floor: %s %s: %s",
                              what, path, strerror(err));

    if (e != NULL) {
        e->sys_errno = err;
    }
    return rc;
}

static enum werr sync_dir(const char *dir, struct werror *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum werr rc = WERR_OK;

    if (fd < 0 || fsync(fd) != 0) {
        rc = sys_error(e, "sync", dir);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum werr write_all(int fd, struct slice s, const char *path, struct werror *e)
{
    if (!file_write_at(fd, s.p, s.n, 0)) {
        return sys_error(e, "write", path);
    }
    WEIR_KILLPOINT(floor_written);
    if (ftruncate(fd, (off_t)s.n) != 0 || fdatasync(fd) != 0) {
        return sys_error(e, "sync", path);
    }
    WEIR_KILLPOINT(floor_synced);
    return WERR_OK;
}

enum werr floor_save(const char *dir, const struct kv_floor *f, struct werror *e)
{
    struct buf b = {0};
    char path[4096];
    bool fresh;
    int fd = -1;
    enum werr rc = slot_path(path, sizeof path, dir, (unsigned)(f->seq & 1), e);

    if (rc != WERR_OK) {
        return rc;
    }
    floor_encode(&b, f);
    if (b.failed) {
        rc = werror_set(e, WERR_NOMEM, "floor: no memory for %zu marks", f->n_marks);
        goto out;
    }
    fresh = access(path, F_OK) != 0;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = sys_error(e, "open", path);
        goto out;
    }
    WEIR_KILLPOINT(floor_opened);
    rc = write_all(fd, buf_slice(&b), path, e);
    if (rc == WERR_OK && fresh) {
        WEIR_KILLPOINT(floor_dir_before);
        rc = sync_dir(dir, e);
        WEIR_KILLPOINT(floor_dir_after);
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    buf_fini(&b);
    return rc;
}

/* A whole slot file. WERR_NOT_FOUND when there is none. */
static enum werr read_slot(const char *path, struct buf *b, struct werror *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum werr rc = WERR_OK;
    ssize_t n = 1;

    if (fd < 0) {
        return errno == ENOENT ? WERR_NOT_FOUND : sys_error(e, "open", path);
    }
    b->limit = FLOOR_MAX_BYTES;
    while (n > 0) {
        if (!buf_reserve(b, 65536)) {
            rc = werror_set(e, WERR_CORRUPT, "floor: %s is over %d bytes", path, FLOOR_MAX_BYTES);
            break;
        }
        n = file_read(fd, b->p + b->len, 65536);
        if (n > 0) {
            b->len += (size_t)n;
        } else if (n < 0) {
            rc = sys_error(e, "read", path);
        }
    }
    close(fd);
    return rc;
}

enum werr floor_load(const char *dir, struct kv_floor *f, struct floor_mark **marks_out,
                     struct werror *e)
{
    enum werr best = WERR_NOT_FOUND;
    struct werror why = {0};

    *marks_out = NULL;
    for (unsigned slot = 0; slot < 2; slot++) {
        struct buf b = {0};
        struct kv_floor one;
        struct floor_mark *marks = NULL;
        char path[4096];
        enum werr rc = slot_path(path, sizeof path, dir, slot, &why);

        if (rc == WERR_OK) {
            rc = read_slot(path, &b, &why);
        }
        if (rc == WERR_OK) {
            rc = floor_decode(buf_slice(&b), &one, &marks, &why);
        }
        buf_fini(&b);
        if (rc == WERR_OK && (best != WERR_OK || one.seq > f->seq)) {
            free(*marks_out);
            *f = one;
            *marks_out = marks;
            best = WERR_OK;
        } else {
            free(marks);
        }
        if (rc == WERR_FORMAT_NEWER) { /* never open a store that a newer version has written to */
            best = rc;
            break;
        }
        if (rc != WERR_OK && rc != WERR_NOT_FOUND && best != WERR_OK) {
            best = rc;
        }
    }
    if (best != WERR_OK) {
        free(*marks_out);
        *marks_out = NULL;
        if (e != NULL && best != WERR_NOT_FOUND) {
            *e = why;
        }
    }
    return best;
}
