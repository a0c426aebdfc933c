/*
 * Power-loss shim: preload it (LD_PRELOAD) into a process that keeps data in WEIR_POWERLOSS_DIR,
 * and it notes in WEIR_POWERLOSS_STATE what would survive a power cut. Kill the process, run
 * powerloss-apply, and the directory looks as after one.
 *
 * What makes bytes durable: fsync and fdatasync that succeeded (only bytes there when the call
 * began), writes through O_SYNC or O_DSYNC. What makes names durable: fsync of the directory. What
 * does not: close, sync_file_range (it flushes neither metadata nor the disk's cache), msync,
 * O_DIRECT, sync(2), syncfs.
 * Not seen, so never counted as durable and never undone: writes through mmap, io_uring and
 * copy_file_range. librocksdb writes by pwrite and write.
 *
 * Happy path: each wrapper asks for the inode, notes what is about to go, calls the real function,
 * notes what was reached. What can fail: see powerloss_track.c. errno of the real call is kept.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/powerloss_track.h"

/* Finds the function that we stand in front of. dlsym is the documented way, and the union the
 * portable way from void * to a function. */
#define REAL(ret, name, ...)                  \
    static ret (*real_##name)(__VA_ARGS__);   \
    static void find_##name(void)             \
    {                                         \
        union {                               \
            void *p;                          \
            ret (*f)(__VA_ARGS__);            \
        } u = {.p = dlsym(RTLD_NEXT, #name)}; \
        real_##name = u.f;                    \
    }

REAL(int, open, const char *, int, ...)
REAL(int, openat, int, const char *, int, ...)
REAL(FILE *, fopen, const char *, const char *)
REAL(ssize_t, write, int, const void *, size_t)
REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
REAL(ssize_t, writev, int, const struct iovec *, int)
REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)
REAL(ssize_t, pread, int, void *, size_t, off_t)
REAL(int, fsync, int)
REAL(int, fdatasync, int)
REAL(int, ftruncate, int, off_t)
REAL(int, fallocate, int, int, off_t, off_t)
REAL(int, renameat, int, const char *, int, const char *)
REAL(int, unlink, const char *)
REAL(int, unlinkat, int, const char *, int)
REAL(int, mkdir, const char *, mode_t)

/* Other libraries may call us before our constructor has run, while there is one thread yet. */
static void find_all(void)
{
    if (real_mkdir != NULL) {
        return;
    }
    find_open();
    find_openat();
    find_fopen();
    find_write();
    find_pwrite();
    find_writev();
    find_pwritev();
    find_pread();
    find_fsync();
    find_fdatasync();
    find_ftruncate();
    find_fallocate();
    find_renameat();
    find_unlink();
    find_unlinkat();
    find_mkdir();
}

static long slow_us; /* WEIR_POWERLOSS_SYNC_US: what every sync takes longer, as on a slow disk */

__attribute__((constructor)) static void shim_start(void)
{
    const char *dir = getenv("WEIR_POWERLOSS_DIR"), *state = getenv("WEIR_POWERLOSS_STATE");
    const char *slow = getenv("WEIR_POWERLOSS_SYNC_US");

    slow_us = slow != NULL ? strtol(slow, NULL, 10) : 0;

    find_all();
    if (dir != NULL && state != NULL) {
        pl_begin(
            dir, state,
            &(struct pl_real){.write = real_write, .pread = real_pread, .unlink = real_unlink});
    }
}

/* ---- files come into being */

/* The state of a name before open: a new file is noted, one that will be cut is saved first. */
struct opening {
    bool inside, existed;
    char path[PATH_MAX];
};

static void before_open(struct opening *o, int dirfd, const char *path, int flags)
{
    struct stat st;
    int fd;

    find_all();
    o->inside =
        (flags & (O_CREAT | O_TRUNC)) != 0 && pl_inside(dirfd, path, o->path, sizeof o->path);
    if (!o->inside) {
        return;
    }
    o->existed = stat(o->path, &st) == 0;
    if (o->existed && (flags & O_TRUNC) != 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        fd = real_open(o->path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            pl_before_change(fd, st.st_ino, 0, SIZE_MAX);
            close(fd);
        }
    }
}

static void after_open(const struct opening *o, int fd)
{
    const int saved_errno = errno;
    struct stat st;

    if (fd >= 0 && o->inside && !o->existed && fstat(fd, &st) == 0) {
        pl_created(o->path, &st);
    }
    errno = saved_errno;
}

int open(const char *path, int flags, ...)
{
    struct opening o;
    mode_t mode = 0;
    va_list ap;
    int fd;

    va_start(ap, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        mode = va_arg(ap, mode_t);
    }
    va_end(ap);
    before_open(&o, AT_FDCWD, path, flags);
    fd = real_open(path, flags, mode);
    after_open(&o, fd);
    return fd;
}

int openat(int dirfd, const char *path, int flags, ...)
{
    struct opening o;
    mode_t mode = 0;
    va_list ap;
    int fd;

    va_start(ap, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        mode = va_arg(ap, mode_t);
    }
    va_end(ap);
    before_open(&o, dirfd, path, flags);
    fd = real_openat(dirfd, path, flags, mode);
    after_open(&o, fd);
    return fd;
}

/* stdio writes inside libc, out of our sight: its files count as never overwritten in place, and
 * as durable up to the size at their last fsync, like all others. */
FILE *fopen(const char *path, const char *mode)
{
    struct opening o;
    FILE *f;

    before_open(&o, AT_FDCWD, path, mode[0] == 'w' ? O_CREAT | O_TRUNC : O_CREAT);
    f = real_fopen(path, mode);
    if (f != NULL) {
        after_open(&o, fileno(f));
    }
    return f;
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    int rc, saved_errno;

    find_all();
    rc = real_mkdir(path, mode);
    saved_errno = errno;
    if (rc == 0 && pl_inside(AT_FDCWD, path, full, sizeof full) && stat(full, &st) == 0) {
        pl_created(full, &st);
    }
    errno = saved_errno;
    return rc;
}

/* ---- bytes change */

struct writing {
    bool tracked, through;
    ino_t ino;
    off_t offset;
};

/* offset -1: at the file position, or at the end with O_APPEND. */
static void before_write(struct writing *w, int fd, off_t offset, size_t len)
{
    const int saved_errno = errno;
    struct stat st;
    int flags;

    find_all();
    w->tracked = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pl_tracked(st.st_ino);
    if (w->tracked) {
        flags = fcntl(fd, F_GETFL);
        w->through = (flags & O_DSYNC) != 0;
        w->ino = st.st_ino;
        w->offset = (flags & O_APPEND) != 0 ? st.st_size
                    : offset >= 0           ? offset
                                            : lseek(fd, 0, SEEK_CUR);
        if (!w->through) {
            pl_before_change(fd, w->ino, w->offset, len);
        }
    }
    errno = saved_errno;
}

static void after_write(const struct writing *w, ssize_t n)
{
    if (n > 0 && w->tracked && w->through) {
        pl_written_through(w->ino, w->offset, (size_t)n);
    }
}

static size_t iov_bytes(const struct iovec *iov, int n)
{
    size_t sum = 0;

    for (int i = 0; i < n; i++) {
        sum += iov[i].iov_len;
    }
    return sum;
}

ssize_t write(int fd, const void *buf, size_t len)
{
    struct writing w;
    ssize_t n;

    before_write(&w, fd, -1, len);
    n = real_write(fd, buf, len);
    after_write(&w, n);
    return n;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    struct writing w;
    ssize_t n;

    before_write(&w, fd, offset, len);
    n = real_pwrite(fd, buf, len, offset);
    after_write(&w, n);
    return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    struct writing w;
    ssize_t n;

    before_write(&w, fd, -1, iov_bytes(iov, count));
    n = real_writev(fd, iov, count);
    after_write(&w, n);
    return n;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    struct writing w;
    ssize_t n;

    before_write(&w, fd, offset, iov_bytes(iov, count));
    n = real_pwritev(fd, iov, count, offset);
    after_write(&w, n);
    return n;
}

int ftruncate(int fd, off_t size)
{
    struct writing w;

    before_write(&w, fd, size, SIZE_MAX);
    if (w.tracked && w.through) {
        pl_before_change(fd, w.ino, size, SIZE_MAX); /* O_DSYNC does not cover a truncate */
    }
    return real_ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    struct writing w;

    find_all();
    if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) {
        before_write(&w, fd, offset, (size_t)len); /* punches or moves bytes */
    }
    return real_fallocate(fd, mode, offset, len);
}

/* ---- syncs */

static int sync_with(int (*real)(int), int fd)
{
    const uint64_t seq = pl_seq();
    struct stat st;
    /* The size now: what others append meanwhile may miss the sync. */
    const bool known = fstat(fd, &st) == 0 && pl_tracked(st.st_ino);
    const struct timespec wait = {slow_us / 1000000, slow_us % 1000000 * 1000};
    if (slow_us > 0) {
        (void)nanosleep(&wait, NULL);
    }
    const int rc = real(fd);
    const int saved_errno = errno;

    if (rc == 0 && known && S_ISDIR(st.st_mode)) {
        pl_dir_synced(seq, st.st_ino);
    } else if (rc == 0 && known) {
        pl_synced(seq, st.st_ino, st.st_size);
    }
    errno = saved_errno;
    return rc;
}

int fsync(int fd)
{
    return sync_with(real_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_with(real_fdatasync, fd);
}

/* ---- names change */

static int rename_between(int from_dir, const char *from, int to_dir, const char *to)
{
    char from_full[PATH_MAX], to_full[PATH_MAX];
    const bool inside = pl_inside(to_dir, to, to_full, sizeof to_full) &&
                        pl_inside(from_dir, from, from_full, sizeof from_full);
    bool saved = false;
    const uint64_t seq = inside ? pl_before_name_change(to_full, &saved) : 0;
    const int rc = real_renameat(from_dir, from, to_dir, to);
    const int saved_errno = errno;

    if (rc == 0 && inside) {
        pl_renamed(seq, saved, from_full, to_full);
    }
    errno = saved_errno;
    return rc;
}

int rename(const char *from, const char *to)
{
    return rename_between(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return rename_between(from_dir, from, to_dir, to);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    char full[PATH_MAX];
    struct stat st;
    const bool inside = (flags & AT_REMOVEDIR) == 0 && pl_inside(dirfd, path, full, sizeof full) &&
                        lstat(full, &st) == 0;
    bool saved = false;
    const uint64_t seq = inside ? pl_before_name_change(full, &saved) : 0;
    const int rc = real_unlinkat(dirfd, path, flags);
    const int saved_errno = errno;

    if (rc == 0 && inside) {
        pl_unlinked(seq, saved, full, st.st_ino);
    }
    errno = saved_errno;
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

/* Programs built for 64-bit offsets call these; off_t is 64 bits here anyhow. */
_Static_assert(sizeof(off_t) == 8, "off_t has 64 bits");
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
FILE *fopen64(const char *, const char *) __attribute__((alias("fopen")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
