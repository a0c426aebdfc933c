/*
 * What the disk itself does: one file, append and fdatasync, at several sizes. The ceiling for
 * every durable produce; run it beside the other programs, since a shared disk changes by the hour.
 *
 *   bench-disk-baseline [SECONDS per size] [DIR]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/load.h"

enum { SIZES = 6, MAX_SAMPLES = 1 << 20, FILE_BYTES = 1 << 30 };
static const size_t sizes[SIZES] = {1 << 10, 4 << 10, 16 << 10, 256 << 10, 1 << 20, 8 << 20};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void measure(const char *dir, size_t n, double seconds, const uint8_t *data,
                    int64_t *samples)
{
    char path[4096];
    size_t count = 0;
    uint64_t at = 0;
    int64_t start_ns, end_ns, now_ns;
    int fd;

    snprintf(path, sizeof path, "%s/append", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    start_ns = now_ns = bench_now_ns();
    end_ns = start_ns + (int64_t)(seconds * 1e9);
    while (now_ns < end_ns && count < MAX_SAMPLES) {
        int64_t before_ns = now_ns;

        if (write(fd, data, n) != (ssize_t)n || fdatasync(fd) != 0) {
            bench_die("%s: %s", path, strerror(errno));
        }
        now_ns = bench_now_ns();
        samples[count++] = now_ns - before_ns;
        at += n;
        if (at % FILE_BYTES < n && at >= FILE_BYTES && ftruncate(fd, 0) == 0) {
            (void)lseek(fd, 0, SEEK_SET); /* does not fill the disk */
        }
    }
    qsort(samples, count, sizeof *samples, by_value);
    printf("%6zu KB %9.0f %9.1f %9.3f %9.3f %9.3f\n", n >> 10,
           (double)count * 1e9 / (double)(now_ns - start_ns),
           (double)at * 1e3 / (double)(now_ns - start_ns), (double)samples[count / 2] / 1e6,
           (double)samples[count - 1 - count / 100] / 1e6, (double)samples[count - 1] / 1e6);
    fflush(stdout);
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    char *dir = bench_dir(argc > 2 ? argv[2] : "/tmp");
    int64_t *samples = malloc(sizeof *samples * MAX_SAMPLES);
    uint8_t *data = malloc(sizes[SIZES - 1]);

    if (samples == NULL || data == NULL) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < sizes[SIZES - 1]; i++) {
        data[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    printf("append + fdatasync, one thread, one file\n%9s %9s %9s %9s %9s %9s\n", "size", "syncs/s",
           "MB/s", "p50 ms", "p99 ms", "max ms");
    for (int i = 0; i < SIZES; i++) {
        measure(dir, sizes[i], seconds, data, samples);
    }
    free(data);
    free(samples);
    bench_remove(dir);
    free(dir);
    return 0;
}
