#include "bench/peers/payload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

enum { RANDOM_BYTES = 4 << 20, FILE_MAX = 64 << 20, STEP = 4099 };

static int make_random(struct payload *p)
{
    uint64_t x = UINT64_C(0x9E3779B97F4A7C15);

    p->n_block = RANDOM_BYTES + p->size;
    p->block = malloc(p->n_block + sizeof x);
    if (p->block == NULL) {
        return -1;
    }
    for (size_t i = 0; i < p->n_block; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p->block + i, &x, sizeof x);
    }
    return 0;
}

static int unpack(struct payload *p, FILE *f, char *err, size_t err_size)
{
    char *packed = malloc(FILE_MAX);
    const size_t n = packed != NULL ? fread(packed, 1, FILE_MAX, f) : 0;
    const unsigned long long size = ZSTD_getFrameContentSize(packed, n);

    if (n > 0 && size > 0 && size < FILE_MAX) {
        p->block = malloc((size_t)size);
        p->n_block = p->block != NULL ? ZSTD_decompress(p->block, (size_t)size, packed, n) : 0;
    }
    free(packed);
    if (p->block == NULL || ZSTD_isError(p->n_block)) {
        snprintf(err, err_size, "the payload is no zstd file, or too large");
        return -1;
    }
    return 0;
}

static int cut(struct payload *p)
{
    size_t cap = 0;

    for (size_t at = 0; at < p->n_block;) {
        const char *end = memchr(p->block + at, '\n', p->n_block - at);
        const size_t size = end != NULL ? (size_t)(end - p->block) - at : p->n_block - at;
        if (p->n_lines == cap) {
            cap = cap > 0 ? cap * 2 : 1024;
            struct piece *lines = realloc(p->lines, cap * sizeof *lines);
            if (lines == NULL) {
                return -1;
            }
            p->lines = lines;
        }
        if (size > 0) {
            p->lines[p->n_lines++] = (struct piece){at, size};
        }
        at += size + 1;
    }
    return p->n_lines > 0 ? 0 : -1;
}

int payload_init(struct payload *p, const char *path, size_t size, char *err, size_t err_size)
{
    *p = (struct payload){.size = size};
    snprintf(err, err_size, "no memory for the payload");
    if (path == NULL) {
        return make_random(p);
    }
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        snprintf(err, err_size, "%s: %s", path, strerror(errno));
        return -1;
    }
    int rc = unpack(p, f, err, err_size);
    (void)fclose(f);
    return rc == 0 ? cut(p) : rc;
}

const void *payload_value(const struct payload *p, uint64_t i, size_t *n)
{
    if (p->lines != NULL) {
        const struct piece *l = &p->lines[i % p->n_lines];
        *n = l->size;
        return p->block + l->at;
    }
    *n = p->size;
    return p->block + i * STEP % RANDOM_BYTES;
}

void payload_fini(struct payload *p)
{
    free(p->block);
    free(p->lines);
    *p = (struct payload){0};
}
