/*
 * A small program for the shims of this folder to be preloaded into: does what its arguments name,
 * one after the other, in the directory that the first names, and prints a line for each: what was
 * asked, the result, and the errno when it failed.
 *
 *   open F | openat F | fopen F | close F | write F N | writev F N | pwrite F N | pwritev F N
 *   read F N | pread F N | fsync F | fdatasync F | rangesync F | alloc F N | truncate F N
 *   rename A B | unlink F | mkdir D | dirsync | socket N (bytes through a socket pair)
 *   mallocs N | callocs N | reallocs N | aligned N     how many of N allocations failed, and which
 *   threads N        eight threads write a byte N times each: failures in all
 *   clocks           REALTIME, MONOTONIC, BOOTTIME, gettimeofday, time, in ns
 *   wait MS | waitmono MS      until a wall (monotonic) time on a condition: ms that it took
 *   line             waits for a line on stdin
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FILES = 8, N_THREADS = 8 };

struct probe {
    char names[MAX_FILES][32];
    int fds[MAX_FILES];
    int n;
    char buf[4096];
};

static int fd_of(const struct probe *p, const char *name)
{
    for (int i = p->n; i-- > 0;) {
        if (strcmp(p->names[i], name) == 0) {
            return p->fds[i];
        }
    }
    return -1;
}

static long keep(struct probe *p, const char *name, int fd)
{
    if (fd >= 0 && p->n < MAX_FILES) {
        (void)snprintf(p->names[p->n], sizeof p->names[0], "%s", name);
        p->fds[p->n++] = fd;
    }
    return fd >= 0 ? 0 : -1;
}

static long dirsync(void)
{
    const int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fsync(fd);
    const int saved_errno = errno;

    close(fd);
    errno = saved_errno;
    return rc;
}

static long through_socket(struct probe *p, size_t n)
{
    int s[2];
    long got = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0) {
        got = write(s[0], p->buf, n) == (ssize_t)n ? (long)read(s[1], p->buf, n) : -1;
        close(s[0]);
        close(s[1]);
    }
    return got;
}

/* ---- files */

static long on_names(struct probe *p, const char *op, const char *a, const char *b)
{
    FILE *f;

    if (strcmp(op, "open") == 0) {
        return keep(p, a, open(a, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    }
    if (strcmp(op, "openat") == 0) {
        return keep(p, a, openat(AT_FDCWD, a, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    }
    if (strcmp(op, "fopen") == 0) {
        f = fopen(a, "r");
        return f != NULL ? fclose(f) : -1;
    }
    return strcmp(op, "rename") == 0   ? rename(a, b)
           : strcmp(op, "unlink") == 0 ? unlink(a)
           : strcmp(op, "mkdir") == 0  ? mkdir(a, 0700)
                                       : -2;
}

static long on_file(struct probe *p, const char *op, int fd, size_t n)
{
    const struct iovec iov[2] = {{p->buf, n / 2}, {p->buf + n / 2, n - n / 2}};

    return strcmp(op, "write") == 0       ? write(fd, p->buf, n)
           : strcmp(op, "writev") == 0    ? writev(fd, iov, 2)
           : strcmp(op, "pwrite") == 0    ? pwrite(fd, p->buf, n, 0)
           : strcmp(op, "pwritev") == 0   ? pwritev(fd, iov, 2, 0)
           : strcmp(op, "read") == 0      ? read(fd, p->buf, n)
           : strcmp(op, "pread") == 0     ? pread(fd, p->buf, n, 0)
           : strcmp(op, "fsync") == 0     ? fsync(fd)
           : strcmp(op, "fdatasync") == 0 ? fdatasync(fd)
           : strcmp(op, "rangesync") == 0 ? sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE)
           : strcmp(op, "alloc") == 0     ? fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n)
           : strcmp(op, "truncate") == 0  ? ftruncate(fd, (off_t)n)
           : strcmp(op, "close") == 0     ? close(fd)
                                          : -2;
}

/* ---- memory */

static void *allocate(char kind, void *old)
{
    void *p = NULL;

    switch (kind) {
    case 'm':
        return malloc(100);
    case 'c':
        return calloc(10, 10);
    case 'r':
        return realloc(old, 200);
    default:
        return posix_memalign(&p, 64, 100) == 0 ? p : NULL;
    }
}

/* Failed allocations as a number whose decimal digits are easy to compare: first * 1000 + count. */
static long allocations(char kind, int n)
{
    long failed = 0, first = 0;

    for (int i = 1; i <= n; i++) {
        void *old = kind == 'r' ? strdup("old") : NULL;
        void *volatile p = allocate(kind, old);

        if (p == NULL) {
            failed++;
            first = first == 0 ? i : first;
            free(old);
        } else {
            free(p);
        }
    }
    return first * 1000 + failed;
}

/* ---- threads */

struct writer {
    pthread_t thread;
    int fd, times;
    long failed;
};

static void *write_often(void *arg)
{
    struct writer *w = arg;

    for (int i = 0; i < w->times; i++) {
        w->failed += write(w->fd, "x", 1) != 1;
    }
    return NULL;
}

static long threads(int fd, int times)
{
    struct writer w[N_THREADS];
    long failed = 0;

    for (int i = 0; i < N_THREADS; i++) {
        w[i] = (struct writer){.fd = fd, .times = times};
        if (pthread_create(&w[i].thread, NULL, write_often, &w[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < N_THREADS; i++) {
        (void)pthread_join(w[i].thread, NULL);
        failed += w[i].failed;
    }
    return failed;
}

/* ---- clocks */

static long long now_ns(clockid_t id)
{
    struct timespec t = {0};

    (void)clock_gettime(id, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void print_clocks(void)
{
    struct timeval tv = {0};

    (void)gettimeofday(&tv, NULL);
    printf("clocks %lld %lld %lld %lld %lld\n", now_ns(CLOCK_REALTIME), now_ns(CLOCK_MONOTONIC),
           now_ns(CLOCK_BOOTTIME), (long long)tv.tv_sec * 1000000000 + (long long)tv.tv_usec * 1000,
           (long long)time(NULL) * 1000000000);
}

static long wait_ms(clockid_t id, long ms)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    const long long began = now_ns(CLOCK_MONOTONIC), until = now_ns(id) + ms * 1000000;
    const struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    pthread_condattr_t attr;
    pthread_cond_t cond;
    int rc = 0;

    if (pthread_condattr_init(&attr) != 0 || pthread_condattr_setclock(&attr, id) != 0 ||
        pthread_cond_init(&cond, &attr) != 0 || pthread_mutex_lock(&mutex) != 0) {
        abort();
    }
    while (rc == 0) {
        rc = pthread_cond_timedwait(&cond, &mutex, &t);
    }
    (void)pthread_mutex_unlock(&mutex);
    (void)pthread_cond_destroy(&cond);
    return (long)((now_ns(CLOCK_MONOTONIC) - began) / 1000000);
}

static long step(struct probe *p, const char *op, const char *a, const char *b)
{
    const int n = atoi(a);
    char line[8];
    long rc;

    if (strcmp(op, "line") == 0) {
        return fgets(line, sizeof line, stdin) != NULL ? 0 : -1;
    }
    if (strcmp(op, "dirsync") == 0 || strcmp(op, "socket") == 0) {
        return op[0] == 'd' ? dirsync() : through_socket(p, (size_t)n);
    }
    if (strncmp(op, "wait", 4) == 0) {
        return wait_ms(op[4] == 'm' ? CLOCK_MONOTONIC : CLOCK_REALTIME, n);
    }
    if (strcmp(op, "mallocs") == 0 || strcmp(op, "callocs") == 0 || strcmp(op, "reallocs") == 0 ||
        strcmp(op, "aligned") == 0) {
        return allocations(op[0], n);
    }
    if (strcmp(op, "threads") == 0) {
        return threads(p->fds[0], n);
    }
    rc = on_names(p, op, a, b);
    return rc != -2 ? rc : on_file(p, op, fd_of(p, a), (size_t)atol(b));
}

int main(int argc, char **argv)
{
    static struct probe p;

    if (argc < 2 || chdir(argv[1]) != 0) {
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 2; i < argc; i++) {
        char op[16] = "", a[32] = "", b[32] = "";
        long rc;

        (void)sscanf(argv[i], "%15s %31s %31s", op, a, b);
        if (strcmp(op, "clocks") == 0) {
            print_clocks();
            continue;
        }
        errno = 0;
        rc = step(&p, op, a, b);
        printf("%s %ld %s\n", argv[i], rc, rc < 0 ? strerrorname_np(errno) : "-");
    }
    return 0;
}
