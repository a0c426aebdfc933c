/*
 * weir doctor: the data directory and what it lies on.
 * Who owns what: the probe's file has no name (or loses it at once), so nothing stays behind,
 * however the program ends. What can fail: every look; what cannot be seen is said, not guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "client/cli/clock.h"
#include "client/cli/doctor.h"
#include "client/cli/values.h"

enum {
    PATH = 4096,
    LINE = 2048,
    PROBE_BYTES = 4096,
    PROBE_SYNCS = 200,
    PROBE_MS = 2000,
    NS_PER_MS = 1000000,
    SLOW_MS = 10,
    STALL_MS = 100,
    TOO_FAST_NS = 10000, /* no disk makes 4 KiB durable in 10 us */
    INODES_LEAST = 1000,
    FREE_LEAST_GIB = 2,
    FREE_LEAST_PARTS = 20, /* 5 % */
};
#define GIB (UINT64_C(1) << 30)

/* ---------------------------------------------------------------- permissions */

static void check_rights(struct report *r, const char *dir, const struct stat *st)
{
    if (access(dir, R_OK | W_OK | X_OK) != 0) {
        report_add(r, FINDING_BAD, "permissions",
                   "run weir doctor as the server's user; chown the directory to that user",
                   "%s: user %lu may not read and write it: %s", dir, (unsigned long)geteuid(),
                   strerror(errno));
    } else if (st->st_mode & S_IRWXO) {
        report_add(r, FINDING_WARN, "permissions", "chmod o= on the directory",
                   "mode %03o: every user of the host can look into it",
                   (unsigned)(st->st_mode & 0777));
    } else {
        report_add(r, FINDING_OK, "permissions", NULL, "mode %03o, owner %lu",
                   (unsigned)(st->st_mode & 0777), (unsigned long)st->st_uid);
    }
}

/* ---------------------------------------------------------------- file system */

/* The mount that holds path: the longest mount point wins, of equal ones the last. */
static bool mount_of(const char *path, struct mount_info *found)
{
    struct mount_info m;
    char line[LINE];
    size_t best = 0;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (mount_parse(line, &m) && mount_holds(&m, path) && strlen(m.point) >= best) {
            best = strlen(m.point);
            *found = m;
        }
    }
    if (f) {
        fclose(f);
    }
    return best > 0;
}

static bool one_of(const char *s, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(s, *list) == 0) {
            return true;
        }
    }
    return false;
}

static void check_type(struct report *r, const struct mount_info *m)
{
    static const char *const memory[] = {"tmpfs", "ramfs", NULL};
    static const char *const good[] = {"ext4", "xfs", NULL};
    static const char *const remote[] = {"nfs", "nfs4", "cifs",      "smb3",
                                         "9p",  "ceph", "glusterfs", NULL};
    if (one_of(m->type, memory)) {
        report_add(r, FINDING_BAD, "file_system", "put the data directory on a disk",
                   "%s on %s lies in memory: a restart of the host loses everything", m->type,
                   m->point);
    } else if (one_of(m->type, remote) || strncmp(m->type, "fuse", 4) == 0) {
        report_add(
            r, FINDING_BAD, "file_system", "put the data directory on a local ext4 or xfs",
            "%s on %s: locks and syncs over a network or in user space are not to be relied on",
            m->type, m->point);
    } else if (one_of(m->type, good)) {
        report_add(r, FINDING_OK, "file_system", NULL, "%s on %s", m->type, m->point);
    } else {
        report_add(r, FINDING_WARN, "file_system",
                   strcmp(m->type, "overlay") == 0
                       ? "mount a volume there: this layer goes with its container"
                       : "ext4 and xfs are what weir is tested on",
                   "%s on %s", m->type, m->point);
    }
}

static void check_options(struct report *r, const struct mount_info *m)
{
    static const char *const unsafe[] = {"nobarrier", "barrier=0", NULL};
    static const char *const slow[] = {"sync", "dirsync", "strictatime", NULL};
    bool fine = true;
    if (mount_has(m, "ro")) {
        report_add(r, FINDING_BAD, "mount_options",
                   "look in the kernel's log why it went read-only, then remount it rw",
                   "mounted read-only");
        fine = false;
    }
    for (const char *const *o = unsafe; *o; o++) {
        if (mount_has(m, *o)) {
            report_add(r, FINDING_BAD, "mount_options", "mount it without this option",
                       "%s: a power cut can take acknowledged messages", *o);
            fine = false;
        }
    }
    for (const char *const *o = slow; *o; o++) {
        if (mount_has(m, *o)) {
            report_add(r, FINDING_WARN, "mount_options", "mount it without this option",
                       "%s: slows down every write or read, and gains nothing here", *o);
            fine = false;
        }
    }
    if (fine) {
        report_add(r, FINDING_OK, "mount_options", NULL, "%.200s", m->options);
    }
}

/* ---------------------------------------------------------------- room */

static void check_room(struct report *r, const char *dir)
{
    struct statvfs v;
    char have[32];
    char need[32];
    if (statvfs(dir, &v) != 0) {
        report_add(r, FINDING_WARN, "free_space", "look with df", "not known: %s", strerror(errno));
        return;
    }
    const uint64_t all = (uint64_t)v.f_blocks * v.f_frsize;
    const uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t least = all / FREE_LEAST_PARTS;
    least = least > FREE_LEAST_GIB * GIB ? least : FREE_LEAST_GIB * GIB;
    text_bytes(have, sizeof have, (double)left);
    text_bytes(need, sizeof need, (double)least);
    report_add(r,
               left < least       ? FINDING_BAD
               : left / 2 < least ? FINDING_WARN
                                  : FINDING_OK,
               "free_space", "free some, enlarge the disk, shorten retention, or set min_free",
               "%s free; with less than %s (default of min_free) nothing more is stored", have,
               need);
    if (v.f_files > 0) {
        report_add(r, v.f_favail < INODES_LEAST ? FINDING_BAD : FINDING_OK, "free_inodes",
                   "remove small files, or make the file system again with more inodes",
                   "%" PRIu64 " free", (uint64_t)v.f_favail);
    }
}

/* ---------------------------------------------------------------- speed of a sync */

/* A file in dir that nobody sees. @return -1: errno says why */
static int probe_file(const char *dir)
{
    char path[PATH];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        if ((size_t)snprintf(path, sizeof path, "%s/.weir-doctor-XXXXXX", dir) >= sizeof path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) {
            unlink(path);
        }
    }
    return fd;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Appends 4 KiB and syncs, as the commit log does. @return how many; errno on failure */
static size_t probe(int fd, int64_t took[PROBE_SYNCS])
{
    char block[PROBE_BYTES];
    size_t n = 0;
    int64_t last = cli_mono_ns();
    const int64_t until = last + (int64_t)PROBE_MS * NS_PER_MS;
    memset(block, 'w', sizeof block);
    errno = 0;
    while (n < PROBE_SYNCS && last < until) {
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) != 0) {
            errno = errno ? errno : ENOSPC;
            break;
        }
        int64_t now = cli_mono_ns();
        took[n++] = now - last;
        last = now;
    }
    return n;
}

static void judge_speed(struct report *r, int64_t *took, size_t n)
{
    char p50[32];
    char p99[32];
    qsort(took, n, sizeof *took, compare);
    const int64_t mid = took[n / 2];
    const int64_t late = took[n * 99 / 100];
    text_nanos(p50, sizeof p50, mid);
    text_nanos(p99, sizeof p99, late);
    const char *change = "";
    enum finding_level level = FINDING_WARN;
    if (mid > (int64_t)SLOW_MS * NS_PER_MS || late > (int64_t)STALL_MS * NS_PER_MS) {
        change = "every acknowledgement waits for a sync: use an SSD of its own, at best with "
                 "power-loss protection";
    } else if (mid < TOO_FAST_NS) {
        change = "a disk is not that fast: make sure that it (or the hypervisor) does not skip "
                 "flushes";
    } else {
        level = FINDING_OK;
    }
    report_add(r, level, "sync_speed", change, "4 KiB made durable in %s (p99 %s, %zu times)", p50,
               p99, n);
}

static void check_speed(struct report *r, const char *dir)
{
    int64_t took[PROBE_SYNCS];
    int fd = probe_file(dir);
    if (fd < 0) {
        report_add(r, FINDING_WARN, "sync_speed",
                   "run weir doctor as the server's user, on a disk with room",
                   "not measured, no file can be made: %s", strerror(errno));
        return;
    }
    size_t n = probe(fd, took);
    if (errno != 0) {
        report_add(r, FINDING_BAD, "sync_speed",
                   "look in the kernel's log; replace the disk or free "
                   "room on it",
                   "writing and syncing failed: %s", strerror(errno));
    } else {
        judge_speed(r, took, n);
    }
    close(fd);
}

/* ---------------------------------------------------------------- all of it */

/* The directory, or the nearest one above it that exists, without links. False: none. */
static bool nearest(const char *dir, char out[PATH], bool *exact)
{
    char path[PATH];
    *exact = true;
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    while (!realpath(path, out)) {
        char *slash = strrchr(path, '/');
        if (errno != ENOENT) {
            return false;
        }
        *exact = false;
        if (!slash) {
            snprintf(path, sizeof path, ".");
        } else if (slash == path) {
            path[1] = 0;
        } else {
            *slash = 0;
        }
    }
    return true;
}

void doctor_disk(struct report *r, const char *dir)
{
    char real[PATH];
    struct mount_info m;
    struct stat st;
    bool exact;
    const bool there = nearest(dir, real, &exact) && stat(real, &st) == 0;
    if (!there || !S_ISDIR(st.st_mode)) {
        report_add(r, FINDING_BAD, "data", "name the data directory: weir doctor DIR",
                   "%.150s cannot be looked at: %s", dir,
                   there ? "not a directory" : strerror(errno));
        return;
    }
    if (exact) {
        report_add(r, FINDING_OK, "data", NULL, "%.200s", real);
        check_rights(r, real, &st);
    } else {
        report_add(r, FINDING_WARN, "data",
                   "nothing, if the server is to make it; the rest is about the one above",
                   "%.100s is not there; looked at %.100s", dir, real);
    }
    if (mount_of(real, &m)) {
        check_type(r, &m);
        check_options(r, &m);
    } else {
        report_add(r, FINDING_WARN, "file_system", "look with findmnt",
                   "not known: /proc/self/mountinfo cannot be read");
    }
    check_room(r, real);
    if (exact || access(real, W_OK) == 0) {
        check_speed(r, real);
    }
}
