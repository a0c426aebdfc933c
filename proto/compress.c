#include "proto/compress.h"

#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_getFrameHeader: window, dictionary and size before any \
                                    work */
#include <stdlib.h>
#include <zstd.h>

#include "proto/limits.h"

enum { ZSTD_LEVEL = 1 };

struct zstd_ctx {
    ZSTD_CCtx *c;
    ZSTD_DCtx *d;
};

struct zstd_ctx *zstd_ctx_new(void)
{
    struct zstd_ctx *z = calloc(1, sizeof *z);

    if (z == NULL) {
        return NULL;
    }
    z->c = ZSTD_createCCtx();
    z->d = ZSTD_createDCtx();
    if (z->c == NULL || z->d == NULL) {
        zstd_ctx_free(z);
        return NULL;
    }
    return z;
}

void zstd_ctx_free(struct zstd_ctx *z)
{
    if (z != NULL) {
        ZSTD_freeCCtx(z->c);
        ZSTD_freeDCtx(z->d);
        free(z);
    }
}

enum werr zstd_pack(struct zstd_ctx *z, struct slice in, struct buf *out)
{
    size_t bound = ZSTD_compressBound(in.n);
    size_t n;

    if (ZSTD_isError(bound) || !buf_reserve(out, bound)) {
        return WERR_NOMEM;
    }
    n = z != NULL ? ZSTD_compressCCtx(z->c, out->p + out->len, bound, in.p, in.n, ZSTD_LEVEL)
                  : ZSTD_compress(out->p + out->len, bound, in.p, in.n, ZSTD_LEVEL);
    if (ZSTD_isError(n)) {
        return WERR_NOMEM;
    }
    out->len += n;
    return WERR_OK;
}

/* Everything that the frame header claims, checked before a byte is decompressed. */
static enum werr check_header(struct slice in, size_t max, uint64_t *content, struct werror *e)
{
    ZSTD_frameHeader h;
    size_t rc = ZSTD_getFrameHeader(&h, in.p, in.n);
    size_t frame;

    if (rc != 0) {
        return werror_set(e, WERR_CORRUPT, "zstd: frame header damaged or cut");
    }
    if (h.frameType != ZSTD_frame) {
        return werror_set(e, WERR_CORRUPT, "zstd: skippable frame");
    }
    if (h.dictID != 0) {
        return werror_set(e, WERR_CORRUPT, "zstd: dictionary %u wanted", h.dictID);
    }
    if (h.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN) {
        return werror_set(e, WERR_CORRUPT, "zstd: no content size");
    }
    if (h.frameContentSize > max) {
        return werror_set(e, WERR_CORRUPT, "zstd: content of %llu bytes, limit %zu",
                          h.frameContentSize, max);
    }
    if (h.frameContentSize > (uint64_t)in.n * LIMIT_ZSTD_RATIO) {
        return werror_set(e, WERR_CORRUPT, "zstd: ratio over %d (%zu bytes claim %llu)",
                          LIMIT_ZSTD_RATIO, in.n, h.frameContentSize);
    }
    if (h.windowSize > (uint64_t)1 << LIMIT_ZSTD_WINDOW_LOG && h.windowSize > h.frameContentSize) {
        return werror_set(e, WERR_CORRUPT, "zstd: window of %llu bytes, limit %d", h.windowSize,
                          1 << LIMIT_ZSTD_WINDOW_LOG);
    }
    frame = ZSTD_findFrameCompressedSize(in.p, in.n);
    if (ZSTD_isError(frame) || frame != in.n) {
        return werror_set(e, WERR_CORRUPT, "zstd: frame cut or followed by other bytes");
    }
    *content = h.frameContentSize;
    return WERR_OK;
}

enum werr zstd_unpack(struct zstd_ctx *z, struct slice in, size_t max, struct buf *out,
                      struct werror *e)
{
    uint64_t content = 0;
    size_t n;

    if (check_header(in, max, &content, e) != WERR_OK) {
        return WERR_CORRUPT;
    }
    if (!buf_reserve(out, content + 1)) { /* + 1: memory to point at even for empty content */
        return werror_set(e, WERR_NOMEM, "zstd: no memory for %llu bytes",
                          (unsigned long long)content);
    }
    n = z != NULL ? ZSTD_decompressDCtx(z->d, out->p + out->len, content, in.p, in.n)
                  : ZSTD_decompress(out->p + out->len, content, in.p, in.n);
    if (ZSTD_isError(n)) {
        return werror_set(e, WERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(n));
    }
    if (n != content) {
        return werror_set(e, WERR_CORRUPT, "zstd: %zu bytes, header says %llu", n,
                          (unsigned long long)content);
    }
    out->len += n;
    return WERR_OK;
}
