#ifndef WEIR_PROTO_COMPRESS_H
#define WEIR_PROTO_COMPRESS_H
/* zstd with caps on what a peer can make us allocate (RFC 8878). */
#include "proto/buf.h"
#include "proto/error.h"

struct zstd_ctx; /* reusable contexts; one per thread or per handle, never shared */
struct zstd_ctx *zstd_ctx_new(void);
void zstd_ctx_free(struct zstd_ctx *z);

/* Appends one frame (level 1, content size present) to *out. z NULL = a context of its own. */
enum werr zstd_pack(struct zstd_ctx *z, struct slice in, struct buf *out) WEIR_NODISCARD;
/*
 * Appends the content of exactly one frame to *out. Refused (WERR_CORRUPT, *e says why): no content
 * size, content > max, ratio > LIMIT_ZSTD_RATIO, window > 2^LIMIT_ZSTD_WINDOW_LOG, dictionary,
 * skippable frame, bytes after the frame, damage.
 */
enum werr zstd_unpack(struct zstd_ctx *z, struct slice in, size_t max, struct buf *out,
                      struct werror *e) WEIR_NODISCARD;

#endif
