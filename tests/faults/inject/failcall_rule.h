#ifndef WEIR_TESTS_FAULTS_INJECT_FAILCALL_RULE_H
#define WEIR_TESTS_FAULTS_INJECT_FAILCALL_RULE_H
/*
 * What the failing-call shim is told to do: the rule of WEIR_FAIL, which calls count, which fail.
 *
 *   WEIR_FAIL=call=fdatasync,errno=EIO,at=7,mode=once,dir=/data,suffix=.log
 *
 * call    write pwrite writev pwritev read pread fsync fdatasync sync_file_range fallocate
 * ftruncate open openat close rename unlink mkdir, or alloc: malloc, calloc, realloc,
 * posix_memalign, aligned_alloc and memalign together. Some kinds may be joined:
 * write+pwrite+pwritev errno   EIO ENOSPC EINTR EROFS EMFILE ENFILE ENOMEM EDQUOT, or SHORT: half
 * of the bytes are done at      the number of the first call that fails, from 1 mode    once,
 * sticky (all later ones too) or every (the at-th, the 2 at-th, ...) dir     file calls count only
 * at or below it. Without it no file call counts: sockets stay whole suffix  ... and only files
 * whose name ends so; "/" = only directories from    program: only calls out of the program itself
 * count, none of its shared libraries
 *
 * WEIR_FAIL_LOG=FILE       a line is added for each failure: call, errno, number of the call, file
 * WEIR_FAIL_CONTROL=FILE   a struct fail_control, mapped; made by the rig. Only while it is armed
 * do calls count, so one process can be hit many times, each time at will
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fail_call {
    FAIL_WRITE,
    FAIL_PWRITE,
    FAIL_WRITEV,
    FAIL_PWRITEV,
    FAIL_READ,
    FAIL_PREAD,
    FAIL_FSYNC,
    FAIL_FDATASYNC,
    FAIL_SYNC_FILE_RANGE,
    FAIL_FALLOCATE,
    FAIL_FTRUNCATE,
    FAIL_OPEN,
    FAIL_OPENAT,
    FAIL_CLOSE,
    FAIL_RENAME,
    FAIL_UNLINK,
    FAIL_MKDIR,
    FAIL_ALLOC,
    FAIL_CALLS
};

enum { FAIL_MAGIC = 0x4c494146, FAIL_SHORT = -1 };

/* The control file, 40 bytes in the byte order of the machine. */
struct fail_control {
    uint32_t magic;
    uint32_t armed; /* 0: nothing counts, nothing fails */
    uint64_t at;    /* in place of the rule's */
    uint64_t hits;  /* calls that counted since the rig set it to 0 */
    uint64_t fired; /* failures in all */
    uint64_t seen;  /* calls that matched, armed or not */
};

/** Reads the environment. A rule that cannot be understood ends the process with exit code 96 and a
 * sentence: a fault that silently does not fire proves nothing. Call once, before threads. */
void fail_begin(void);

/** True when calls of this kind can fail at all: cheap, asked first. @thread any */
bool fail_watches(enum fail_call call);

/** Counts one call on an open file; asks the kernel for its path. errno is kept.
 * @return 0 = do the real call, FAIL_SHORT, or the errno to fail with. @thread any */
int fail_on_fd(enum fail_call call, int fd);
/** The same for a name relative to dirfd (or AT_FDCWD). */
int fail_on_path(enum fail_call call, int dirfd, const char *path);
/** The same for an allocation of some bytes, asked for by the code at caller. Allocates nothing. */
int fail_on_alloc(size_t bytes, const void *caller);

#endif
