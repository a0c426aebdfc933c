/*
 * Failing-call shim: preload it (LD_PRELOAD) into a process, and the call that WEIR_FAIL names
 * fails as it says (failcall_rule.h). All other calls go through untouched.
 *
 * Seen are calls through the C library's names, also the checked ones of _FORTIFY_SOURCE. Not seen:
 * what the C library does inside (stdio's own reads and writes, remove()), raw system calls, mmap,
 * io_uring. A close that fails has closed the file all the same, as in Linux. An allocation that
 * fails sets ENOMEM whatever the rule's errno is.
 *
 * Happy path: each wrapper asks whether its kind is watched, then whether this call fails. What can
 * fail: nothing of our own. Who owns what: nothing is owned; the real functions are found once.
 */
#include "tests/faults/inject/failcall_rule.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

/* Finds the function that we stand in front of. */
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
REAL(int, close, int)
REAL(ssize_t, write, int, const void *, size_t)
REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
REAL(ssize_t, writev, int, const struct iovec *, int)
REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t)
REAL(ssize_t, read, int, void *, size_t)
REAL(ssize_t, pread, int, void *, size_t, off_t)
REAL(int, fsync, int)
REAL(int, fdatasync, int)
REAL(int, sync_file_range, int, off_t, off_t, unsigned)
REAL(int, fallocate, int, int, off_t, off_t)
REAL(int, posix_fallocate, int, off_t, off_t)
REAL(int, ftruncate, int, off_t)
REAL(int, renameat, int, const char *, int, const char *)
REAL(int, unlinkat, int, const char *, int)
REAL(int, mkdir, const char *, mode_t)
REAL(void *, malloc, size_t)
REAL(void *, calloc, size_t, size_t)
REAL(void *, realloc, void *, size_t)
REAL(int, posix_memalign, void **, size_t, size_t)
REAL(void *, aligned_alloc, size_t, size_t)
REAL(void *, memalign, size_t, size_t)

/* Other libraries may call us before our constructor has run, while there is one thread yet. */
static void find_all(void)
{
    static bool finding;

    if (real_memalign != NULL || finding) {
        return;
    }
    finding = true;
    find_malloc();
    find_calloc();
    find_realloc();
    find_posix_memalign();
    find_aligned_alloc();
    find_open();
    find_openat();
    find_fopen();
    find_close();
    find_write();
    find_pwrite();
    find_writev();
    find_pwritev();
    find_read();
    find_pread();
    find_fsync();
    find_fdatasync();
    find_sync_file_range();
    find_fallocate();
    find_posix_fallocate();
    find_ftruncate();
    find_renameat();
    find_unlinkat();
    find_mkdir();
    find_memalign();
    finding = false;
}

__attribute__((constructor)) static void shim_start(void)
{
    find_all();
    fail_begin();
}

/* True when the call is to fail; errno says how. SHORT is no failure for calls without bytes. */
static bool refuse(int fate)
{
    find_all();
    if (fate <= 0) {
        return false;
    }
    errno = fate;
    return true;
}

static int fd_fate(enum fail_call call, int fd)
{
    find_all();
    return fail_watches(call) ? fail_on_fd(call, fd) : 0;
}

static int path_fate(enum fail_call call, int dirfd, const char *path)
{
    find_all();
    return fail_watches(call) ? fail_on_path(call, dirfd, path) : 0;
}

/* Bytes that a short transfer does: half, but at least one, as zero would mean something else. With
 * O_DIRECT whole pages, as the kernel does. */
static size_t cut(int fate, int fd, size_t n)
{
    const size_t half = n / 2;

    if (fate != FAIL_SHORT || half == 0) {
        return n;
    }
    if ((fcntl(fd, F_GETFL) & O_DIRECT) != 0) {
        return half >= PAGE_BYTES ? half - half % PAGE_BYTES : n;
    }
    return half;
}

/* ---- bytes */

ssize_t write(int fd, const void *buf, size_t n)
{
    const int fate = fd_fate(FAIL_WRITE, fd);

    return refuse(fate) ? -1 : real_write(fd, buf, cut(fate, fd, n));
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    const int fate = fd_fate(FAIL_PWRITE, fd);

    return refuse(fate) ? -1 : real_pwrite(fd, buf, cut(fate, fd, n), at);
}

/* A short vector is half of its first piece. */
ssize_t writev(int fd, const struct iovec *iov, int count)
{
    const int fate = fd_fate(FAIL_WRITEV, fd);

    if (fate == FAIL_SHORT && count > 0) {
        return real_write(fd, iov[0].iov_base, cut(fate, fd, iov[0].iov_len));
    }
    return refuse(fate) ? -1 : real_writev(fd, iov, count);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    const int fate = fd_fate(FAIL_PWRITEV, fd);

    if (fate == FAIL_SHORT && count > 0) {
        return real_pwrite(fd, iov[0].iov_base, cut(fate, fd, iov[0].iov_len), at);
    }
    return refuse(fate) ? -1 : real_pwritev(fd, iov, count, at);
}

ssize_t read(int fd, void *buf, size_t n)
{
    const int fate = fd_fate(FAIL_READ, fd);

    return refuse(fate) ? -1 : real_read(fd, buf, cut(fate, fd, n));
}

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
    const int fate = fd_fate(FAIL_PREAD, fd);

    return refuse(fate) ? -1 : real_pread(fd, buf, cut(fate, fd, n), at);
}

/* ---- syncs and space */

int fsync(int fd)
{
    return refuse(fd_fate(FAIL_FSYNC, fd)) ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
    return refuse(fd_fate(FAIL_FDATASYNC, fd)) ? -1 : real_fdatasync(fd);
}

int sync_file_range(int fd, off_t from, off_t n, unsigned flags)
{
    const int fate = fd_fate(FAIL_SYNC_FILE_RANGE, fd);

    return refuse(fate) ? -1 : real_sync_file_range(fd, from, n, flags);
}

int fallocate(int fd, int mode, off_t from, off_t n)
{
    return refuse(fd_fate(FAIL_FALLOCATE, fd)) ? -1 : real_fallocate(fd, mode, from, n);
}

/* Tells its error by its result, not by errno. */
int posix_fallocate(int fd, off_t from, off_t n)
{
    const int fate = fd_fate(FAIL_FALLOCATE, fd);

    return fate > 0 ? fate : real_posix_fallocate(fd, from, n);
}

int ftruncate(int fd, off_t size)
{
    return refuse(fd_fate(FAIL_FTRUNCATE, fd)) ? -1 : real_ftruncate(fd, size);
}

/* ---- files and names */

int open(const char *path, int flags, ...)
{
    const int fate = path_fate(FAIL_OPEN, AT_FDCWD, path);
    mode_t mode = 0;
    va_list ap;

    va_start(ap, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        mode = va_arg(ap, mode_t);
    }
    va_end(ap);
    return refuse(fate) ? -1 : real_open(path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
    const int fate = path_fate(FAIL_OPENAT, dirfd, path);
    mode_t mode = 0;
    va_list ap;

    va_start(ap, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        mode = va_arg(ap, mode_t);
    }
    va_end(ap);
    return refuse(fate) ? -1 : real_openat(dirfd, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return refuse(path_fate(FAIL_OPEN, AT_FDCWD, path)) ? NULL : real_fopen(path, mode);
}

/* The file is closed whatever is said: a descriptor kept open would be another fault. */
int close(int fd)
{
    const int fate = fd_fate(FAIL_CLOSE, fd);
    const int rc = real_close(fd);

    return refuse(fate) ? -1 : rc;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return refuse(path_fate(FAIL_RENAME, to_dir, to)) ? -1
                                                      : real_renameat(from_dir, from, to_dir, to);
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    return refuse(path_fate(FAIL_UNLINK, dirfd, path)) ? -1 : real_unlinkat(dirfd, path, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    return refuse(path_fate(FAIL_MKDIR, AT_FDCWD, path)) ? -1 : real_mkdir(path, mode);
}

/* ---- memory. A NULL before the real function is known is what dlsym can live with. */

static bool no_memory(size_t bytes, const void *caller)
{
    find_all();
    if (fail_watches(FAIL_ALLOC) && fail_on_alloc(bytes, caller) > 0) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

void *malloc(size_t n)
{
    return no_memory(n, __builtin_return_address(0)) || real_malloc == NULL ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return no_memory(n * size, __builtin_return_address(0)) || real_calloc == NULL
               ? NULL
               : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return no_memory(n, __builtin_return_address(0)) || real_realloc == NULL ? NULL
                                                                             : real_realloc(p, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    return no_memory(n, __builtin_return_address(0)) ? ENOMEM : real_posix_memalign(out, align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return no_memory(n, __builtin_return_address(0)) ? NULL : real_aligned_alloc(align, n);
}

void *memalign(size_t align, size_t n);
void *memalign(size_t align, size_t n)
{
    return no_memory(n, __builtin_return_address(0)) ? NULL : real_memalign(align, n);
}

/* ---- the names of programs built for 64-bit offsets, and those of _FORTIFY_SOURCE */

_Static_assert(sizeof(off_t) == 8, "off_t has 64 bits");
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
FILE *fopen64(const char *, const char *) __attribute__((alias("fopen")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

int __openat_2(int dirfd, const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags)
{
    return openat(dirfd, path, flags);
}

ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
    if (n > size) {
        abort();
    }
    return read(fd, buf, n);
}

ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t size)
{
    if (n > size) {
        abort();
    }
    return pread(fd, buf, n, at);
}

int __open64_2(const char *, int) __attribute__((alias("__open_2")));
int __openat64_2(int, const char *, int) __attribute__((alias("__openat_2")));
ssize_t __pread64_chk(int, void *, size_t, off_t, size_t) __attribute__((alias("__pread_chk")));
