#include "bench/demo/records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

/* Happy path: read the file, unpack it in one go, cut it at the line ends. What can fail: the file,
 * memory, a line without an origin. The set owns the text; records point into it. */

#define MAX_TEXT_BYTES (64u << 20)

static char *read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "re");
    char *buf = NULL;
    long n = 0;

    if (f == NULL) {
        return NULL;
    }
    if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) > 0 && fseek(f, 0, SEEK_SET) == 0) {
        buf = malloc((size_t)n);
    }
    if (buf != NULL && fread(buf, 1, (size_t)n, f) != (size_t)n) {
        free(buf);
        buf = NULL;
    }
    *size = (size_t)n;
    (void)fclose(f);
    return buf;
}

static int unpack(struct records *r, const char *packed, size_t packed_bytes, size_t *text_bytes)
{
    const unsigned long long size = ZSTD_getFrameContentSize(packed, packed_bytes);
    size_t n;

    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
        size > MAX_TEXT_BYTES) {
        return -1;
    }
    r->text = malloc((size_t)size + 1);
    if (r->text == NULL) {
        return -1;
    }
    n = ZSTD_decompress(r->text, (size_t)size, packed, packed_bytes);
    if (ZSTD_isError(n)) {
        return -1;
    }
    r->text[n] = '\0';
    *text_bytes = n;
    return 0;
}

static int cut_line(struct record *rec, const char *line, size_t n)
{
    static const char tag[] = "\"origin\":\"";
    const char *key = memmem(line, n, tag, sizeof tag - 1), *end;

    if (key == NULL) {
        return -1;
    }
    key += sizeof tag - 1;
    end = memchr(key, '"', n - (size_t)(key - line));
    if (end == NULL) {
        return -1;
    }
    *rec = (struct record){
        .value = line, .key = key, .value_bytes = (uint32_t)n, .key_bytes = (uint32_t)(end - key)};
    return 0;
}

static const char *cut(struct records *r, size_t text_bytes)
{
    const char *at = r->text, *end = r->text + text_bytes;
    size_t lines = 1;

    for (const char *p = at; p < end; p++) {
        lines += *p == '\n';
    }
    r->items = calloc(lines, sizeof *r->items);
    if (r->items == NULL) {
        return "out of memory";
    }
    while (at < end) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));

        eol = eol == NULL ? end : eol;
        if (eol > at && cut_line(&r->items[r->n++], at, (size_t)(eol - at)) != 0) {
            return "a line has no origin";
        }
        at = eol + 1;
    }
    return r->n == 0 ? "no records" : NULL;
}

int records_load(struct records *r, const char *path, char *err, size_t err_size)
{
    const char *why = NULL;
    size_t packed_bytes = 0, text_bytes = 0;
    char *packed;

    memset(r, 0, sizeof *r);
    packed = read_all(path, &packed_bytes);
    if (packed == NULL) {
        why = strerror(errno);
    } else if (unpack(r, packed, packed_bytes, &text_bytes) != 0) {
        why = "not a zstd file";
    } else {
        why = cut(r, text_bytes);
    }
    free(packed);
    if (why != NULL) {
        (void)snprintf(err, err_size, "%s: %s", path, why);
        return -1;
    }
    return 0;
}

void records_free(struct records *r)
{
    free(r->items);
    free(r->text);
    memset(r, 0, sizeof *r);
}
