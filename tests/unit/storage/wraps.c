#include "tests/unit/storage/wraps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

/* One test thread arms them; a store's threads may run into them, too: no matter which one does. */
static _Thread_local struct {
    unsigned left[WRAP_COUNT];
    int error[WRAP_COUNT];
    unsigned fired;
    size_t descriptors, free_bytes;
} plan;

/* The names are the linker's: -Wl,--wrap=NAME. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_ftruncate(int fd, off_t n);
int __wrap_ftruncate(int fd, off_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
int __real_getrlimit(__rlimit_resource_t what, struct rlimit *rl);
int __wrap_getrlimit(__rlimit_resource_t what, struct rlimit *rl);
int __real_statvfs(const char *path, struct statvfs *fs);
int __wrap_statvfs(const char *path, struct statvfs *fs);
void __real_rocksdb_get_options_from_string(const void *base, const char *text, void *o,
                                            char **msg);
void __wrap_rocksdb_get_options_from_string(const void *base, const char *text, void *o,
                                            char **msg);

void wrap_fail(enum wrapped call, unsigned k, int error)
{
    plan.left[call] = k;
    plan.error[call] = error;
}

unsigned wrap_reset(void)
{
    const unsigned fired = plan.fired;

    memset(&plan, 0, sizeof plan);
    return fired;
}

void wrap_limits(size_t descriptors, size_t free_bytes)
{
    plan.descriptors = descriptors;
    plan.free_bytes = free_bytes;
}

static bool fails(enum wrapped call)
{
    if (plan.left[call] == 0 || --plan.left[call] > 0) {
        return false;
    }
    plan.fired++;
    errno = plan.error[call];
    return true;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = va_arg(ap, int);
    va_end(ap);
    return fails(WRAP_OPEN) ? -1 : __real_open(path, flags, mode);
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails(WRAP_PWRITE) ? (errno == 0 ? 0 : -1) : __real_pwrite(fd, p, n, at);
}

ssize_t __wrap_read(int fd, void *p, size_t n)
{
    return fails(WRAP_READ) ? -1 : __real_read(fd, p, n);
}

int __wrap_fsync(int fd)
{
    return fails(WRAP_FSYNC) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    return fails(WRAP_FDATASYNC) ? -1 : __real_fdatasync(fd);
}

int __wrap_ftruncate(int fd, off_t n)
{
    return fails(WRAP_FTRUNCATE) ? -1 : __real_ftruncate(fd, n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails(WRAP_CALLOC) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails(WRAP_REALLOC) ? NULL : __real_realloc(p, size);
}

int __wrap_getrlimit(__rlimit_resource_t what, struct rlimit *rl)
{
    const int rc = fails(WRAP_GETRLIMIT) ? -1 : __real_getrlimit(what, rl);

    if (rc == 0 && plan.descriptors != 0) {
        rl->rlim_cur = plan.descriptors;
    }
    return rc;
}

int __wrap_statvfs(const char *path, struct statvfs *fs)
{
    const int rc = fails(WRAP_STATVFS) ? -1 : __real_statvfs(path, fs);

    if (rc == 0 && plan.free_bytes != 0) {
        fs->f_bavail = plan.free_bytes / fs->f_frsize;
    }
    return rc;
}

void __wrap_rocksdb_get_options_from_string(const void *base, const char *text, void *o, char **msg)
{
    if (fails(WRAP_OPTIONS)) {
        *msg = strdup("Invalid argument: no such option");
        return;
    }
    __real_rocksdb_get_options_from_string(base, text, o, msg);
}
