#include "tests/faults/powerloss_track.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Happy path: calls of the process under test come in from any thread, each takes the lock, changes
 * the table and writes one line. What can fail: the log's own disk; then the process ends at once,
 * since a half-kept memory would judge wrongly. A preloaded library has no caller to hold its
 * state, so this one file-scope object is the exception from "no globals".
 */

#define BUCKETS 1024u
#define LINE_MAX_BYTES (2 * PATH_MAX + 128)

struct file_node {
    struct file_node *next;
    ino_t ino;
    off_t durable;
};

/* A name change whose directory was not synced yet. */
struct pending {
    struct pending *next;
    uint64_t seq;
    ino_t dir;
    bool saved;
};

struct track {
    pthread_mutex_t lock;
    struct pl_real real;
    bool active;
    char root[PATH_MAX], state_dir[PATH_MAX];
    int log_fd, undo_fd;
    uint64_t seq;
    off_t undo_end;
    struct file_node *files[BUCKETS];
    struct pending *pending;
};

static struct track tr = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void die(const char *what)
{
    char line[512];
    const int n = snprintf(line, sizeof line, "powerloss shim: %s: %s\n", what, strerror(errno));

    (void)!tr.real.write(2, line, (size_t)n);
    _exit(97);
}

static void log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void log_line(const char *fmt, ...)
{
    static char line[LINE_MAX_BYTES]; /* under the lock; too large for a foreign stack */
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line || tr.real.write(tr.log_fd, line, (size_t)n) != n) {
        die("cannot write the log");
    }
}

static struct file_node *node_of(ino_t ino)
{
    struct file_node *f = tr.files[ino % BUCKETS];

    while (f != NULL && f->ino != ino) {
        f = f->next;
    }
    return f;
}

static void node_set(ino_t ino, off_t durable)
{
    struct file_node *f = node_of(ino);

    if (f == NULL) {
        f = malloc(sizeof *f);
        if (f == NULL) {
            die("memory");
        }
        *f = (struct file_node){.next = tr.files[ino % BUCKETS], .ino = ino};
        tr.files[ino % BUCKETS] = f;
    }
    f->durable = durable;
}

static int scan_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F || type == FTW_D) {
        node_set(st->st_ino, st->st_size);
        log_line("B %ju %jd\n", (uintmax_t)st->st_ino, (intmax_t)st->st_size);
    }
    return 0;
}

static int open_in_state(const char *name, int flags)
{
    char path[PATH_MAX + 16];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", tr.state_dir, name);
    fd = open(path, flags | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(path);
    }
    return fd;
}

void pl_begin(const char *root, const char *state_dir, const struct pl_real *real)
{
    tr.real = *real;
    if (realpath(root, tr.root) == NULL || realpath(state_dir, tr.state_dir) == NULL) {
        die("WEIR_POWERLOSS_DIR or WEIR_POWERLOSS_STATE is not there");
    }
    tr.undo_fd = open_in_state("undo", O_RDWR);
    tr.log_fd = open_in_state("log", O_WRONLY);
    if (nftw(tr.root, scan_one, 16, FTW_PHYS) != 0) {
        die("scan");
    }
    tr.active = true;
}

bool pl_inside(int dirfd, const char *path, char *out, size_t out_size)
{
    char parent[PATH_MAX], link[64];
    const char *base;
    const size_t root_len = strlen(tr.root);
    ssize_t n;
    int fd;

    if (!tr.active || strlen(path) >= sizeof parent) {
        return false;
    }
    base = strrchr(path, '/');
    (void)snprintf(parent, sizeof parent, "%.*s", base == NULL ? 1 : (int)(base - path) + 1,
                   base == NULL ? "." : path);
    base = base == NULL ? path : base + 1;
    fd = openat(dirfd, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, parent, sizeof parent - 1);
    close(fd);
    if (n <= 0) {
        return false;
    }
    parent[n] = '\0';
    if (strncmp(parent, tr.root, root_len) != 0 ||
        (parent[root_len] != '\0' && parent[root_len] != '/')) {
        return false;
    }
    return (size_t)snprintf(out, out_size, "%s/%s", parent, base) < out_size;
}

uint64_t pl_seq(void)
{
    uint64_t seq;

    pthread_mutex_lock(&tr.lock);
    seq = ++tr.seq;
    pthread_mutex_unlock(&tr.lock);
    return seq;
}

/* Inode of the directory that holds path. */
static ino_t dir_of(const char *path)
{
    char dir[PATH_MAX];
    struct stat st;

    (void)snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    return stat(dir, &st) == 0 ? st.st_ino : 0;
}

static void pending_add(uint64_t seq, ino_t dir, bool saved)
{
    struct pending *p = malloc(sizeof *p);

    if (p == NULL) {
        die("memory");
    }
    *p = (struct pending){.next = tr.pending, .seq = seq, .dir = dir, .saved = saved};
    tr.pending = p;
}

void pl_created(const char *path, const struct stat *st)
{
    const ino_t dir = dir_of(path);

    pthread_mutex_lock(&tr.lock);
    node_set(st->st_ino, 0);
    log_line("C %ju %ju %ju %s\n", (uintmax_t)++tr.seq, (uintmax_t)dir, (uintmax_t)st->st_ino,
             path);
    pthread_mutex_unlock(&tr.lock);
}

bool pl_tracked(ino_t ino)
{
    bool yes;

    if (!tr.active) {
        return false;
    }
    pthread_mutex_lock(&tr.lock);
    yes = node_of(ino) != NULL;
    pthread_mutex_unlock(&tr.lock);
    return yes;
}

/* Copies [offset, end) of the file behind link into the undo file. The descriptor of the process
 * may be write-only, so the file is opened anew. Holds the lock. */
static void save_bytes(int fd, ino_t ino, off_t offset, off_t end)
{
    static char buf[65536];
    char link[64];
    int in;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    in = open(link, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        die("cannot read what is about to be overwritten");
    }
    while (offset < end) {
        const size_t want =
            (size_t)(end - offset) < sizeof buf ? (size_t)(end - offset) : sizeof buf;
        const ssize_t n = tr.real.pread(in, buf, want, offset);

        if (n <= 0) {
            break; /* cut off before: an older record holds it */
        }
        if (tr.real.write(tr.undo_fd, buf, (size_t)n) != n) {
            die("cannot write the undo file");
        }
        log_line("O %ju %ju %jd %jd %jd\n", (uintmax_t)++tr.seq, (uintmax_t)ino, (intmax_t)offset,
                 (intmax_t)n, (intmax_t)tr.undo_end);
        tr.undo_end += n;
        offset += n;
    }
    close(in);
}

void pl_before_change(int fd, ino_t ino, off_t offset, size_t len)
{
    const struct file_node *f;

    pthread_mutex_lock(&tr.lock);
    f = node_of(ino);
    if (f != NULL && offset < f->durable) {
        const off_t room = f->durable - offset;

        save_bytes(fd, ino, offset,
                   (uintmax_t)len < (uintmax_t)room ? offset + (off_t)len : f->durable);
    }
    pthread_mutex_unlock(&tr.lock);
}

void pl_synced(uint64_t seq, ino_t ino, off_t size)
{
    pthread_mutex_lock(&tr.lock);
    if (node_of(ino) != NULL) {
        node_set(ino, size);
        log_line("S %ju %ju %jd\n", (uintmax_t)seq, (uintmax_t)ino, (intmax_t)size);
    }
    pthread_mutex_unlock(&tr.lock);
}

void pl_written_through(ino_t ino, off_t offset, size_t len)
{
    const struct file_node *f;

    pthread_mutex_lock(&tr.lock);
    f = node_of(ino);
    if (f != NULL && offset <= f->durable && offset + (off_t)len > f->durable) {
        node_set(ino, offset + (off_t)len);
        log_line("P %ju %ju %jd\n", (uintmax_t)++tr.seq, (uintmax_t)ino,
                 (intmax_t)(offset + (off_t)len));
    }
    pthread_mutex_unlock(&tr.lock);
}

static void saved_path(uint64_t seq, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/saved.%ju", tr.state_dir, (uintmax_t)seq);
}

void pl_dir_synced(uint64_t seq, ino_t dir)
{
    char path[PATH_MAX + 32];

    pthread_mutex_lock(&tr.lock);
    if (node_of(dir) != NULL) {
        log_line("D %ju %ju\n", (uintmax_t)seq, (uintmax_t)dir);
        for (struct pending **at = &tr.pending; *at != NULL;) {
            struct pending *p = *at;

            if (p->dir != dir || p->seq > seq) {
                at = &p->next;
                continue;
            }
            if (p->saved) {
                saved_path(p->seq, path, sizeof path);
                (void)tr.real.unlink(path); /* gives the disk space back */
            }
            *at = p->next;
            free(p);
        }
    }
    pthread_mutex_unlock(&tr.lock);
}

uint64_t pl_before_name_change(const char *victim, bool *saved)
{
    const uint64_t seq = pl_seq();
    char path[PATH_MAX + 32];

    saved_path(seq, path, sizeof path);
    *saved = link(victim, path) == 0;
    if (!*saved && errno != ENOENT && errno != EPERM) {
        die("cannot keep a file that is about to go (is the state on the same file system?)");
    }
    return seq;
}

void pl_renamed(uint64_t seq, bool saved, const char *from, const char *to)
{
    struct stat st;
    const ino_t dir = dir_of(to);

    if (lstat(to, &st) != 0) {
        return;
    }
    pthread_mutex_lock(&tr.lock);
    log_line("R %ju %ju %ju %d %s|%s\n", (uintmax_t)seq, (uintmax_t)dir, (uintmax_t)st.st_ino,
             saved, from, to);
    pending_add(seq, dir, saved);
    pthread_mutex_unlock(&tr.lock);
}

void pl_unlinked(uint64_t seq, bool saved, const char *path, ino_t ino)
{
    const ino_t dir = dir_of(path);

    if (!saved) {
        return;
    }
    pthread_mutex_lock(&tr.lock);
    log_line("U %ju %ju %ju %s\n", (uintmax_t)seq, (uintmax_t)dir, (uintmax_t)ino, path);
    pending_add(seq, dir, saved);
    pthread_mutex_unlock(&tr.lock);
}
