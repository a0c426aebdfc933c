#include "client/cli/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/session.h"
#include "client/cli/values.h"

enum { SIZE_DEFAULT = 100, SIZE_MAX_BYTES = 8 << 20, RANDOM_BLOCK = 1 << 20, STRIDE = 257 };

/* xorshift64*: fast, and zstd finds nothing in it. */
static void fill_random(char *out, size_t n)
{
    uint64_t x = UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < n; i++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        out[i] = (char)((x * UINT64_C(0x2545F4914F6CDD1D)) >> 56);
    }
}

static int random_values(struct payload *p, const struct args *a)
{
    int64_t size = args_number(a, OPT_SIZE, SIZE_DEFAULT);
    if (size > SIZE_MAX_BYTES) {
        return cli_fail(EXIT_USAGE, "--size: a message has at most %d bytes", SIZE_MAX_BYTES);
    }
    p->size = (size_t)size;
    p->n_block = RANDOM_BLOCK + p->size;
    p->block = malloc(p->n_block);
    if (!p->block) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    fill_random(p->block, p->n_block);
    return EXIT_DONE;
}

static bool find_lines(struct payload *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_block; i++) {
        n += p->block[i] == '\n';
    }
    p->line_end = calloc(n + 1, sizeof *p->line_end);
    if (!p->line_end) {
        return false;
    }
    for (size_t i = 0; i < p->n_block; i++) {
        if (p->block[i] == '\n') {
            p->line_end[p->n_lines++] = i;
        }
    }
    if (p->n_block && p->block[p->n_block - 1] != '\n') {
        p->line_end[p->n_lines++] = p->n_block;
    }
    return true;
}

static int file_values(struct payload *p, const char *path)
{
    size_t cap = 0;
    FILE *f = fopen(path, "rb");
    if (!f) {
        return cli_fail(EXIT_REFUSED, "cannot open %s: %s", path, strerror(errno));
    }
    size_t got = 1;
    while (got > 0) {
        if (p->n_block == cap) {
            cap = cap ? cap * 2 : RANDOM_BLOCK;
            char *more = realloc(p->block, cap);
            if (!more) {
                fclose(f);
                return cli_fail(EXIT_REFUSED, "out of memory");
            }
            p->block = more;
        }
        got = fread(p->block + p->n_block, 1, cap - p->n_block, f);
        p->n_block += got;
    }
    bool failed = ferror(f) != 0;
    fclose(f);
    if (failed) {
        return cli_fail(EXIT_REFUSED, "cannot read %s", path);
    }
    if (!find_lines(p)) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    return p->n_lines ? EXIT_DONE : cli_fail(EXIT_REFUSED, "%s holds no lines", path);
}

int payload_init(struct payload *p, const struct args *a)
{
    const char *path = args_text(a, OPT_PAYLOAD, NULL);
    *p = (struct payload){0};
    if (path && args_has(a, OPT_SIZE)) {
        return cli_fail(EXIT_USAGE, "--payload and --size exclude each other");
    }
    return path ? file_values(p, path) : random_values(p, a);
}

weir_bytes payload_value(const struct payload *p, uint64_t i)
{
    if (!p->line_end) {
        return weir_bytes_of(p->block + i * STRIDE % RANDOM_BLOCK, p->size);
    }
    size_t k = i % p->n_lines;
    size_t from = k ? p->line_end[k - 1] + 1 : 0;
    return weir_bytes_of(p->block + from, p->line_end[k] - from);
}

void payload_fini(struct payload *p)
{
    free(p->block);
    free(p->line_end);
    *p = (struct payload){0};
}

const char *bench_topic(const struct args *a)
{
    const char *topic = args_text(a, OPT_TOPIC, NULL);
    if (!topic) {
        cli_fail(EXIT_USAGE, "%s needs --topic TOPIC", a->command->name);
    }
    return topic;
}

int64_t grid_ns(int64_t start_ns, double per_s, int64_t i)
{
    return start_ns + (int64_t)((double)i * 1e9 / per_s);
}

const char *latency_text(const struct histogram *h, char *out, size_t size)
{
    char t[5][24];
    if (h->count == 0) {
        snprintf(out, size, "none");
        return out;
    }
    snprintf(out, size, "p50 %s  p90 %s  p99 %s  p99.9 %s  max %s",
             text_nanos(t[0], sizeof t[0], histogram_percentile(h, 50)),
             text_nanos(t[1], sizeof t[1], histogram_percentile(h, 90)),
             text_nanos(t[2], sizeof t[2], histogram_percentile(h, 99)),
             text_nanos(t[3], sizeof t[3], histogram_percentile(h, 99.9)),
             text_nanos(t[4], sizeof t[4], h->max));
    return out;
}

void latency_json(struct json *j, const char *name, const struct histogram *h)
{
    json_open(j, name, '{');
    json_uint(j, "count", h->count);
    json_double(j, "mean_us", histogram_mean(h) / 1e3);
    json_double(j, "p50_us", (double)histogram_percentile(h, 50) / 1e3);
    json_double(j, "p90_us", (double)histogram_percentile(h, 90) / 1e3);
    json_double(j, "p99_us", (double)histogram_percentile(h, 99) / 1e3);
    json_double(j, "p999_us", (double)histogram_percentile(h, 99.9) / 1e3);
    json_double(j, "max_us", (double)h->max / 1e3);
    json_close(j, '}');
}

void rate_json(struct json *j, int64_t messages, double bytes, double seconds)
{
    json_double(j, "messages_per_s", seconds > 0 ? (double)messages / seconds : 0);
    json_double(j, "bytes_per_s", seconds > 0 ? bytes / seconds : 0);
}
