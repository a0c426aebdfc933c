#include "tests/unit/storage/rocks_env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"

enum { DEADLINE_S = 60 };

/* ---------------------------------------------------------------- directories */

struct tmp_dir *tmp_dir_new(void)
{
    struct tmp_dir *d = calloc(1, sizeof *d);
    const char *base = getenv("TMPDIR");

    assert_non_null(d);
    snprintf(d->path, sizeof d->path, "%s/weir-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(d->path) == NULL) {
        fail_msg("%s: %s", d->path, strerror(errno));
    }
    return d;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void tmp_dir_free(struct tmp_dir *d)
{
    if (d != NULL) {
        remove_tree(d->path);
        free(d);
    }
}

const char *tmp_path(const struct tmp_dir *d, const char *name, char *out, size_t n)
{
    snprintf(out, n, "%s/%s", d->path, name);
    return out;
}

static void *slurp(const char *dir, const char *name, size_t *n)
{
    char path[1024];
    struct stat st;
    uint8_t *p;
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    *n = (size_t)st.st_size;
    p = malloc(*n + 1);
    assert_non_null(p);
    for (size_t at = 0; at < *n;) {
        ssize_t got = read(fd, p + at, *n - at);

        assert_true(got > 0);
        at += (size_t)got;
    }
    close(fd);
    return p;
}

static bool plain_file(const char *dir, const struct dirent *ent)
{
    char path[1024];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", dir, ent->d_name);
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

void copy_dir(const char *from, const char *to)
{
    DIR *d = opendir(from);
    const struct dirent *ent;

    assert_non_null(d);
    assert_int_equal(mkdir(to, 0700), 0);
    while ((ent = readdir(d)) != NULL) {
        if (plain_file(from, ent)) {
            size_t n;
            void *p = slurp(from, ent->d_name, &n);

            write_file(to, ent->d_name, p, n);
            free(p);
        }
    }
    closedir(d);
}

uint64_t hash_dir(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *ent;
    uint64_t sum = 0;

    assert_non_null(d);
    while ((ent = readdir(d)) != NULL) {
        size_t n;
        uint64_t h;
        void *p;

        if (strncmp(ent->d_name, "LOG", 3) == 0 || strcmp(ent->d_name, "weir.lock") == 0) {
            continue;
        }
        if (!plain_file(path, ent)) {
            sum += crc32c(ent->d_name, strlen(ent->d_name));
            continue;
        }
        p = slurp(path, ent->d_name, &n);
        h = (uint64_t)crc32c(p, n) << 32 | crc32c(ent->d_name, strlen(ent->d_name));
        sum += (h ^ n) * UINT64_C(0x9e3779b97f4a7c15); /* order of readdir does not count */
        free(p);
    }
    closedir(d);
    return sum;
}

/* ---------------------------------------------------------------- files */

bool nth_file(const char *dir, const char *suffix, unsigned i, char *name, size_t n)
{
    unsigned long long below = ~0ULL;
    bool found = true;

    for (unsigned round = 0; round <= i && found; round++) {
        DIR *d = opendir(dir);
        const struct dirent *ent;
        unsigned long long best = 0;

        assert_non_null(d);
        found = false;
        while ((ent = readdir(d)) != NULL) {
            char *end;
            unsigned long long number = strtoull(ent->d_name, &end, 10);

            if (end != ent->d_name && strcmp(end, suffix) == 0 && number < below &&
                (!found || number > best)) {
                best = number;
                found = true;
                snprintf(name, n, "%s", ent->d_name);
            }
        }
        closedir(d);
        below = best;
    }
    return found;
}

void manifest_name(const char *dir, char *name, size_t n)
{
    size_t len;
    char *p = slurp(dir, "CURRENT", &len);

    p[len] = '\0';
    snprintf(name, n, "%.*s", (int)strcspn(p, "\n"), p);
    free(p);
}

uint64_t size_of(const char *dir, const char *name)
{
    char path[1024];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) != 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    return (uint64_t)st.st_size;
}

void cut_file(const char *dir, const char *name, uint64_t size)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(truncate(path, (off_t)size), 0);
}

void flip_byte(const char *dir, const char *name, uint64_t at)
{
    char path[1024];
    uint8_t byte;
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

void delete_file(const char *dir, const char *name)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(unlink(path), 0);
}

void write_file(const char *dir, const char *name, const void *p, size_t n)
{
    char path[1024];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---------------------------------------------------------------- stores */

static int wake_fd(void)
{
    static int fd = -1; /* one owner thread, and a wake-up too many does no harm */

    if (fd < 0) {
        fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        assert_true(fd >= 0);
    }
    return fd;
}

static void on_wakeup(void *arg)
{
    (void)arg;
    assert_int_equal(eventfd_write(wake_fd(), 1), 0);
}

struct store_conf rocks_conf(void)
{
    (void)wake_fd();
    return (struct store_conf){.memory_bytes = 64 << 20, .min_free_bytes = 1, .wakeup = on_wakeup};
}

void in_killed_child(void (*fn)(void *arg), void *arg)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        fn(arg);
        kill(getpid(), SIGKILL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void poll_until(struct store *st, const bool *flag)
{
    struct pollfd p = {.fd = wake_fd(), .events = POLLIN};
    eventfd_t n;

    while (store_poll(st), !*flag) {
        if (poll(&p, 1, DEADLINE_S * 1000) != 1) {
            fail_msg("nothing happened in %d s", DEADLINE_S);
        }
        (void)eventfd_read(p.fd, &n);
    }
}

struct answer {
    bool done;
    enum werr rc;
};

static void on_answer(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct answer *a = arg;

    (void)e;
    if (stage == STORE_DONE) {
        a->rc = rc;
        a->done = true;
    }
}

static void on_flag(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    (void)e;
    if (stage == STORE_DONE && arg != NULL) {
        assert_int_equal(rc, WERR_OK);
        *(bool *)arg = true;
    }
}

static struct store_txn *append_txn(struct store *st, enum store_table t, uint32_t partition,
                                    uint32_t count, uint32_t bytes)
{
    struct store_txn *txn = store_txn_new(st);

    world_txn_append(txn, t, partition, store_next_offset(st, partition), count, bytes, 1000);
    return txn;
}

enum werr append_sync(struct store *st, enum store_table t, uint32_t partition, uint32_t count,
                      uint32_t bytes)
{
    struct answer a = {.done = false};

    store_submit(st, append_txn(st, t, partition, count, bytes), STORE_SYNC, false, on_answer, &a);
    poll_until(st, &a.done);
    return a.rc;
}

void append_async(struct store *st, enum store_table t, uint32_t partition, uint32_t count,
                  uint32_t bytes, bool *done)
{
    store_submit(st, append_txn(st, t, partition, count, bytes), STORE_SYNC, false, on_flag, done);
}

void roll_sync(struct store *st)
{
    struct store_txn *txn = store_txn_new(st);
    struct answer a = {.done = false};

    txn_roll(txn);
    store_submit(st, txn, STORE_SYNC, false, on_answer, &a);
    poll_until(st, &a.done);
    assert_int_equal(a.rc, WERR_OK);
}

static void on_read(struct store_read *r)
{
    *(bool *)r->arg = true;
}

uint64_t read_all(struct store *st, uint32_t partition, enum werr *rc)
{
    uint64_t at = store_log_start(st, partition);
    uint64_t end = store_next_offset(st, partition);

    *rc = WERR_OK;
    while (at < end && *rc == WERR_OK) {
        bool done = false;
        struct store_read r = {.partition = partition,
                               .offset = at,
                               .end = end,
                               .max_bytes = 1 << 20,
                               .fn = on_read,
                               .arg = &done};
        struct slice run;

        store_read(st, &r);
        poll_until(st, &done);
        *rc = r.rc;
        if (r.rc != WERR_OK || r.data == NULL) {
            break;
        }
        run = slice_of(r.data->p, r.data->n);
        while (run.n > 0) {
            struct batch_head h, want;
            struct slice batch;
            struct blob *b;

            assert_int_equal(batch_next(&run, true, &h, &batch, NULL), WERR_OK);
            b = world_batch(partition, h.base_offset, h.count, h.length, h.append_ms, &want);
            assert_int_equal(h.crc, want.crc);
            assert_memory_equal(batch.p + BATCH_HEAD, b->p + BATCH_HEAD, batch.n - BATCH_HEAD);
            blob_unref(b);
            at = h.base_offset + h.count;
        }
        blob_unref(r.data);
    }
    return at;
}
