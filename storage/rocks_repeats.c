/*
 * Records that are in a log a second time, after a write that went to the wrong place. RocksDB
 * takes such a record for a new one, for its checksum is right, and where it is built with
 * assertions, as in Debian, it ends the process while it replays. So they are hidden from it: the
 * log is replaced by a copy in which their checksums are wrong, and RocksDB reports damage there as
 * anywhere else.
 *
 * Happy path: the sequence number and the count of each record are read, in order; nothing repeats
 * and nothing is written. Only when a number goes back are checksums looked at, so that a number
 * that is itself damaged accuses no other record. Numbers of different logs are not compared: a log
 * that is only waiting to be deleted may end with the number that the next one begins with.
 *
 * What can fail: reading a log, room for the copy. Then the log is as it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/alloc.h"
#include "storage/file_io.h"
#include "storage/keys.h"
#include "storage/rocks.h"
#include "storage/rocks_records.h"

enum {
    PIECE_BYTES = 8 * RECORD_BLOCK_BYTES,
    BATCH_HEAD_BYTES = 12, /* of a WriteBatch: sequence u64, count u32, little endian */
};

struct walk {
    int fd;
    const char *path;
    bool verify;
    uint8_t *piece;
    uint64_t next;     /* the sequence number that is due */
    uint64_t *repeats; /* where such records begin */
    size_t n_repeats, cap;
    struct werror *e;
};

static uint64_t le(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes > 0) {
        v = v << 8 | p[--bytes];
    }
    return v;
}

static enum werr trouble(const struct walk *w)
{
    return werror_set(w->e, errno == ENOSPC ? WERR_STORAGE_FULL : WERR_IO, "%.200s: %s", w->path,
                      strerror(errno));
}

/* Reads a piece of the file; *n bytes, 0 at its end. */
static enum werr read_piece(struct walk *w, uint64_t at, size_t *n)
{
    const ssize_t got = file_read_at(w->fd, w->piece, PIECE_BYTES, at);

    *n = got > 0 ? (size_t)got : 0;
    return got < 0 ? trouble(w) : WERR_OK;
}

static void note(struct walk *w, const struct wal_record *r, uint64_t where)
{
    const uint64_t seq = le(r->data.p, 8), count = le((const uint8_t *)r->data.p + 8, 4);

    if (count == 0) {
        return;
    }
    if (seq >= w->next) {
        w->next = seq + count;
        return;
    }
    if (w->n_repeats == w->cap) {
        w->cap = w->cap > 0 ? 2 * w->cap : 16;
        w->repeats = must_realloc(w->repeats, w->cap, sizeof *w->repeats);
    }
    w->repeats[w->n_repeats++] = where;
}

/* From what is no record, or a damaged one, RocksDB goes on in the next block; so do we. */
static void walk_piece(struct walk *w, uint64_t base, size_t n)
{
    struct wal_record r;

    for (size_t at = 0; at < n;) {
        const enum record_step step = record_at(w->piece, n, at, &r);

        if (step != RECORD_HERE || (w->verify && !record_is_sound(&r))) {
            at += RECORD_BLOCK_BYTES - at % RECORD_BLOCK_BYTES;
            continue;
        }
        if (r.begins && r.data.n >= BATCH_HEAD_BYTES) {
            note(w, &r, base + at);
        }
        at += r.bytes;
    }
}

static enum werr walk_log(struct walk *w, bool verify)
{
    enum werr rc;
    uint64_t at = 0;
    size_t n;

    w->verify = verify;
    w->next = w->n_repeats = 0;
    while ((rc = read_piece(w, at, &n)) == WERR_OK && n > 0) {
        walk_piece(w, at, n);
        at += n;
    }
    return rc;
}

/* Copies the log with the first byte of each such record's checksum turned over. */
static enum werr write_copy(struct walk *w, int to)
{
    enum werr rc;
    uint64_t at = 0;
    size_t n, next = 0;

    while ((rc = read_piece(w, at, &n)) == WERR_OK && n > 0) {
        for (; next < w->n_repeats && w->repeats[next] < at + n; next++) {
            w->piece[w->repeats[next] - at] ^= 0xff;
        }
        if (!file_write(to, w->piece, n)) {
            return trouble(w);
        }
        at += n;
    }
    return rc == WERR_OK && fdatasync(to) != 0 ? trouble(w) : rc;
}

static enum werr replace(struct walk *w)
{
    char temp[4200];
    int to;
    enum werr rc;

    snprintf(temp, sizeof temp, "%s.weir", w->path);
    to = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) {
        return trouble(w);
    }
    rc = write_copy(w, to);
    close(to);
    if (rc == WERR_OK && rename(temp, w->path) != 0) {
        rc = trouble(w);
    }
    if (rc != WERR_OK) {
        (void)unlink(temp);
    }
    return rc;
}

static enum werr look_at(struct walk *w)
{
    enum werr rc;

    w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
    if (w->fd < 0) {
        return trouble(w);
    }
    rc = walk_log(w, false);
    if (rc == WERR_OK && w->n_repeats > 0) {
        rc = walk_log(w, true);
    }
    if (rc == WERR_OK && w->n_repeats > 0) {
        rc = replace(w);
    }
    close(w->fd);
    return rc;
}

enum werr rocks_hide_repeats(const char *dir, struct werror *e)
{
    char path[4096];
    struct walk w = {.path = path, .piece = must_calloc(1, PIECE_BYTES), .e = e};
    DIR *d = opendir(dir);
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    if (d == NULL) {
        rc = werror_set(e, WERR_IO, "%.200s: %s", dir, strerror(errno));
        goto out;
    }
    while (rc == WERR_OK && (ent = readdir(d)) != NULL) {
        const char *dot = strrchr(ent->d_name, '.');

        if (dot != NULL && strcmp(dot, ".log") == 0) {
            snprintf(path, sizeof path, "%.3700s/%.255s", dir, ent->d_name);
            rc = look_at(&w);
        }
    }
    closedir(d);
out:
    free(w.repeats);
    free(w.piece);
    return rc;
}
