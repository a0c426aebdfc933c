/*
 * Restart after kill -9 at full ingest: a child fills a store and is killed in the middle of it,
 * with at least one bucket in the log only; the page cache is dropped; then the time from the first
 * line of store_open_rocks to the first durable acknowledgement. Every acknowledged batch that the
 * child reported must be there.
 *
 *   bench-storage-restart [GB] [DIR] [ROUNDS]
 *
 * Exits 1 when a restart takes 2 s or more, or anything is missing. Dropping the page cache needs
 * root; without it the figure is for a warm cache, and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load.h"

enum { PARTITIONS = 256, BATCH_BYTES = 16384, OUTSTANDING = 64 };
#define LIMIT_S 2.0

/* Shared with the child: what it knows to be durable. */
struct report {
    volatile uint64_t next[PARTITIONS];
    volatile uint64_t bytes;
    volatile bool filled;
};

/* Never returns: the parent kills it at full speed. */
static _Noreturn void ingest(const char *dir, uint64_t total, struct report *rep)
{
    const struct store_conf conf = {.min_free_bytes = 1 << 30};
    struct bench b = {0};
    uint64_t done = 0;

    bench_open(&b, dir, conf);
    for (;;) {
        const struct load l = {.partitions = PARTITIONS,
                               .outstanding = OUTSTANDING,
                               .batch_bytes = BATCH_BYTES,
                               .total_bytes = 32 << 20,
                               .table = TABLE_LOG_7D};
        struct load_result r;

        bench_run(&b, &l, &r);
        done += r.bytes;
        for (uint32_t p = 0; p < PARTITIONS; p++) { /* all of it was acknowledged */
            rep->next[p] = store_next_offset(b.st, p);
        }
        rep->bytes = done;
        rep->filled = done >= total;
    }
}

static bool drop_caches(void)
{
    int fd;
    bool ok;

    sync();
    fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    ok = fd >= 0 && write(fd, "3", 1) == 1;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Kills the child once there is more than a bucket in the log. */
static void fill_and_kill(const char *dir, uint64_t total, struct report *rep)
{
    pid_t pid = fork();
    int status;

    if (pid < 0) {
        bench_die("fork: %s", strerror(errno));
    }
    if (pid == 0) {
        ingest(dir, total, rep);
    }
    do {
        usleep(2000);
        if (waitpid(pid, &status, WNOHANG) == pid) {
            bench_die("the child ended by itself");
        }
    } while (!rep->filled || bench_log_bytes(dir) < (64 << 20));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static bool restart_once(const char *dir, const struct report *rep)
{
    const struct store_conf conf = {.min_free_bytes = 1 << 30};
    bool cold = drop_caches(), ok = true;
    uint64_t disk = bench_dir_bytes(dir), log = bench_log_bytes(dir);
    struct bench b = {0};
    int64_t start_ns, open_ns, ack_ns;

    cold = drop_caches() && cold;
    bench_prepare(&b);
    start_ns = bench_now_ns();
    bench_open(&b, dir, conf);
    open_ns = bench_now_ns();
    bench_append(&b, TABLE_LOG_7D, 0, BATCH_BYTES);
    bench_drain(&b);
    ack_ns = bench_now_ns();
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (store_next_offset(b.st, p) < rep->next[p]) {
            printf("partition %u: %llu acknowledged, %llu there\n", p,
                   (unsigned long long)rep->next[p],
                   (unsigned long long)store_next_offset(b.st, p));
            ok = false;
        }
    }
    printf("store %.2f GB, log %.0f MB, cache %s: open %.3f s, first durable ack %.3f s\n",
           (double)disk / 1e9, (double)log / 1e6, cold ? "cold" : "WARM",
           (double)(open_ns - start_ns) / 1e9, (double)(ack_ns - start_ns) / 1e9);
    fflush(stdout);
    bench_close(&b);
    return ok && (double)(ack_ns - start_ns) / 1e9 < LIMIT_S;
}

int main(int argc, char **argv)
{
    double gb = argc > 1 ? strtod(argv[1], NULL) : 10;
    char *dir = bench_dir(argc > 2 ? argv[2] : "/tmp");
    unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 3;
    struct report *rep =
        mmap(NULL, sizeof *rep, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned good = 0;

    if (rep == MAP_FAILED) {
        bench_die("no memory");
    }
    for (unsigned i = 0; i < rounds; i++) {
        int status = 0;
        pid_t pid;

        rep->filled = false;
        fill_and_kill(dir, i == 0 ? (uint64_t)(gb * 1e9) : 0, rep);
        pid = fork(); /* a process of its own: nothing of an earlier round is warm */
        if (pid == 0) {
            _exit(restart_once(dir, rep) ? 0 : 1);
        }
        waitpid(pid, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    bench_remove(dir);
    free(dir);
    printf("%u of %u restarts under %.0f s with everything there\n", good, rounds, LIMIT_S);
    return good == rounds ? 0 : 1;
}
