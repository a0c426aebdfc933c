#include "bench/load.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "storage/store_rocks.h"

enum { POOL_BYTES = 32 << 20 };

void bench_die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

int64_t bench_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* ---------------------------------------------------------------- files */

char *bench_dir(const char *base)
{
    char *dir = malloc(strlen(base) + 32);

    if (dir != NULL) {
        sprintf(dir, "%s/weir-bench-XXXXXX", base);
    }
    if (dir == NULL || mkdtemp(dir) == NULL) {
        bench_die("%s: %s", base, strerror(errno));
    }
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void bench_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t files_bytes(const char *dir, const char *suffix)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;
    uint64_t sum = 0;

    while (d != NULL && (ent = readdir(d)) != NULL) {
        struct stat st;
        size_t n = strlen(ent->d_name), m = strlen(suffix);

        if (n >= m && strcmp(ent->d_name + n - m, suffix) == 0 &&
            fstatat(dirfd(d), ent->d_name, &st, 0) == 0 && S_ISREG(st.st_mode)) {
            sum += (uint64_t)st.st_size;
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return sum;
}

uint64_t bench_dir_bytes(const char *dir)
{
    return files_bytes(dir, "");
}

uint64_t bench_log_bytes(const char *dir)
{
    return files_bytes(dir, ".log");
}

uint64_t bench_written(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long n = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "write_bytes: %llu", &n) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

/* ---------------------------------------------------------------- store */

static void on_wakeup(void *arg)
{
    const struct bench *b = arg;

    (void)eventfd_write(b->wake_fd, 1);
}

static void on_log(void *arg, const char *event, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s: %s\n", event, text);
}

static uint64_t next_random(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

void bench_prepare(struct bench *b)
{
    if (b->pool != NULL) {
        return;
    }
    b->random = 88172645463325252U;
    b->pool = malloc(POOL_BYTES);
    b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->pool == NULL || b->wake_fd < 0) {
        bench_die("no memory or descriptors");
    }
    for (size_t i = 0; i < POOL_BYTES; i += 8) {
        uint64_t x = next_random(b);

        memcpy(b->pool + i, &x, 8);
    }
}

void bench_open(struct bench *b, const char *dir, struct store_conf conf)
{
    struct werror e = {0};

    bench_prepare(b);
    b->dir = dir;
    b->in_flight = 0;
    b->rolling = false;
    conf.wakeup = on_wakeup;
    conf.wakeup_arg = b;
    conf.log = conf.log != NULL ? conf.log : on_log;
    if (store_open_rocks(&b->st, dir, &conf, &e) != WERR_OK) {
        bench_die("open %s: %s", dir, e.text);
    }
}

void bench_close(struct bench *b)
{
    store_close(b->st);
    b->st = NULL;
    free(b->lat_ns);
    free(b->pool);
    close(b->wake_fd);
    *b = (struct bench){0};
}

/* ---------------------------------------------------------------- one batch */

struct flight {
    struct bench *b;
    int64_t start_ns;
};

static void on_done(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct flight *f = arg;
    struct bench *b = f->b;

    (void)stage;
    if (rc != WERR_OK) {
        bench_die("append: %s", e->text);
    }
    if (b->n_lat == b->cap_lat) {
        b->cap_lat = b->cap_lat ? b->cap_lat * 2 : 65536;
        b->lat_ns = realloc(b->lat_ns, b->cap_lat * sizeof *b->lat_ns);
        if (b->lat_ns == NULL) {
            bench_die("no memory");
        }
    }
    b->lat_ns[b->n_lat++] = bench_now_ns() - f->start_ns;
    b->in_flight--;
    free(f);
}

static void on_rolled(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct bench *b = arg;

    (void)stage;
    if (rc != WERR_OK) {
        bench_die("roll: %s", e->text);
    }
    b->rolling = false;
}

void bench_append(struct bench *b, enum store_table t, uint32_t partition, uint32_t batch_bytes)
{
    struct store_txn *txn = store_txn_new(b->st);
    struct blob *blob = blob_new(batch_bytes);
    struct flight *f = malloc(sizeof *f);
    struct batch_head h = {.base_offset = store_next_offset(b->st, partition),
                           .append_ms = 1,
                           .epoch = 1,
                           .length = batch_bytes,
                           .magic = BATCH_MAGIC,
                           .count = 1};
    size_t at;

    if (blob == NULL || f == NULL || batch_bytes < BATCH_HEAD) {
        bench_die("no memory, or a batch below %d bytes", BATCH_HEAD);
    }
    at = next_random(b) % (POOL_BYTES - batch_bytes);
    memcpy(blob->p + BATCH_HEAD, b->pool + at, batch_bytes - BATCH_HEAD);
    batch_head_write(blob->p, &h);
    h.crc = crc32c(blob->p + 32, batch_bytes - 32);
    batch_head_write(blob->p, &h);
    batch_stamp(blob->p, h.base_offset, h.append_ms, 1);
    batch_head_read(blob->p, &h);
    txn_append(txn, t, partition, &h, (struct bytes){blob, blob->p, blob->n});
    blob_unref(blob);
    *f = (struct flight){b, bench_now_ns()};
    b->in_flight++;
    store_submit(b->st, txn, STORE_SYNC, false, on_done, f);
}

static void roll_if_due(struct bench *b)
{
    if (!b->rolling && store_roll_due(b->st, 0)) {
        struct store_txn *txn = store_txn_new(b->st);

        txn_roll(txn);
        b->rolling = true;
        store_submit(b->st, txn, STORE_SYNC, false, on_rolled, b);
    }
}

void bench_turn(struct bench *b, int wait_ms)
{
    struct pollfd p = {.fd = b->wake_fd, .events = POLLIN};
    int64_t now_ns = bench_now_ns();
    eventfd_t n;
    bool busy;

    if (store_poll(b->st) == 0 && poll(&p, 1, wait_ms) == 1) {
        (void)eventfd_read(b->wake_fd, &n);
        store_poll(b->st);
    }
    /* Once a second, and at once when the last pass has nothing more to do: a pass empties one
     * bucket. */
    busy = store_gc_busy(b->st);
    if (now_ns - b->gc_mono_ns > 1000000000 || (b->gc_busy && !busy)) {
        b->gc_mono_ns = now_ns;
        roll_if_due(b); /* a bucket that is mostly dead */
        store_gc(b->st, now_ns);
        busy = store_gc_busy(b->st);
    }
    b->gc_busy = busy;
    if (store_state(b->st) == STORE_FAILED) {
        bench_die("store failed: %s", store_state_reason(b->st)->text);
    }
}

void bench_drain(struct bench *b)
{
    while (b->in_flight > 0 || b->rolling) {
        bench_turn(b, 1000);
    }
}

void bench_settle(struct bench *b)
{
    struct store_txn *txn = store_txn_new(b->st);
    uint64_t before = 0, now = 1;
    unsigned quiet = 0;

    txn_roll(txn);
    b->rolling = true;
    store_submit(b->st, txn, STORE_SYNC, false, on_rolled, b);
    bench_drain(b);
    while (quiet < 3) { /* nothing written and nothing freed for a second and a half */
        int64_t end_ns = bench_now_ns() + 500000000;

        while (bench_now_ns() < end_ns) {
            bench_turn(b, 100);
        }
        now = bench_dir_bytes(b->dir);
        quiet = now > before ? (now - before < 65536 ? quiet + 1 : 0)
                             : (before - now < 65536 ? quiet + 1 : 0);
        before = now;
    }
}

/* ---------------------------------------------------------------- a load */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile_ms(const struct bench *b, double p)
{
    return b->n_lat == 0 ? 0 : (double)b->lat_ns[(size_t)(p * (double)(b->n_lat - 1))] / 1e6;
}

void bench_run(struct bench *b, const struct load *l, struct load_result *r)
{
    struct store_stats before, after;
    int64_t start_ns = bench_now_ns();
    int64_t end_ns = l->seconds > 0 ? start_ns + (int64_t)(l->seconds * 1e9) : INT64_MAX;
    double cpu0 = cpu_s();
    uint32_t partition = 0;

    *r = (struct load_result){0};
    b->n_lat = 0;
    store_stats(b->st, &before);
    while (r->bytes < l->total_bytes && bench_now_ns() < end_ns) {
        while (b->in_flight < l->outstanding && r->bytes < l->total_bytes) {
            bench_append(b, l->table, partition, l->batch_bytes);
            partition = (partition + 1) % l->partitions;
            r->batches++;
            r->bytes += l->batch_bytes;
            roll_if_due(b);
        }
        bench_turn(b, 1000);
    }
    bench_drain(b);
    r->seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    r->cpu_s = cpu_s() - cpu0;
    store_stats(b->st, &after);
    r->groups_per_s = (double)(after.groups - before.groups) / r->seconds;
    r->group_bytes = after.groups > before.groups
                         ? (double)r->bytes / (double)(after.groups - before.groups)
                         : 0;
    qsort(b->lat_ns, b->n_lat, sizeof *b->lat_ns, by_value);
    r->p50_ms = percentile_ms(b, 0.5);
    r->p99_ms = percentile_ms(b, 0.99);
    r->max_ms = percentile_ms(b, 1);
}
