#ifndef WEIR_PROTO_BATCH_H
#define WEIR_PROTO_BATCH_H
/*
 * Record batch: 64-byte header, then records (docs/PROTOCOL.md section "Record batch", byte by
 * byte). The broker writes bytes 0..27 (and 28..31 when the producer set BATCH_NO_CRC); the
 * producer's CRC covers bytes 32 to the end, so a stored batch keeps the producer's own checksum.
 */
#include "proto/buf.h"
#include "proto/error.h"
#include "proto/limits.h"

enum { BATCH_HEAD = 64, BATCH_MAGIC = 1 };
enum { BATCH_CODEC_NONE = 0, BATCH_CODEC_ZSTD = 1 };
enum {
    BATCH_NO_CRC = 1,  /* producer had no CRC32C: broker computes it */
    BATCH_CONTROL = 2, /* reserved, refused */
    BATCH_TXN = 4,     /* reserved, refused */
    BATCH_ZDICT = 8,   /* reserved, refused */
    BATCH_FLAGS_KNOWN = BATCH_NO_CRC,
    BATCH_FLAGS_CRITICAL = 0x00ff,
};

struct batch_head {
    uint64_t base_offset;
    int64_t append_ms;
    uint32_t epoch;
    uint32_t length; /* whole batch */
    uint32_t head_crc, crc;
    uint8_t magic, codec;
    uint16_t flags;
    uint32_t max_ts_delta_ms;
    uint64_t producer_id; /* 0 = not idempotent */
    int64_t base_ts_ms;
    uint32_t base_seq; /* of the first record; counts records, wraps */
    uint16_t producer_epoch;
    uint16_t count;
};

/* Reads the fields; the caller has >= BATCH_HEAD bytes. No check. */
void batch_head_read(const uint8_t *p, struct batch_head *h);
/* Writes all fields as given (crc fields too). */
void batch_head_write(uint8_t *p, const struct batch_head *h);

/* What a broker checks in a produced batch. */
struct batch_rules {
    uint32_t max_bytes; /* whole batch */
    uint32_t
        max_message_bytes; /* one record's key + value + headers; checked when records are walked */
    uint32_t max_records;
    bool walk_records; /* codec none: walk, compare the count */
    bool unzip;        /* validate=full: decompress and walk */
};
/*
 * Checks a produced batch and fills *h. NO_CRC: computes the crc and writes it into p (that is why
 * p is writable). WERR_CORRUPT_BATCH, WERR_TOO_LARGE; *e names field, value and limit.
 */
enum werr batch_check(uint8_t *p, size_t n, const struct batch_rules *rules, struct batch_head *h,
                      struct werror *e) WEIR_NODISCARD;
/* Stamps bytes 0..27 of a checked batch. */
void batch_stamp(uint8_t *p, uint64_t base_offset, int64_t append_ms, uint32_t epoch);

/*
 * Next batch of a run of stored batches back to back (fetch, disk). Checks length, magic and
 * head_crc, and with `verify` the body crc. WERR_NOT_FOUND at the end, WERR_CORRUPT with position.
 */
enum werr batch_next(struct slice *run, bool verify, struct batch_head *h, struct slice *batch,
                     struct werror *e) WEIR_NODISCARD;

/* One record. Views into the (decompressed) records. p == NULL means nil. */
struct record {
    int64_t ts_delta_ms; /* 0 <= */
    struct slice key, value;
    struct slice headers; /* raw msgpack map, n = 0 when nil */
};
struct record_iter {
    const uint8_t *p, *end;
    uint32_t left;
    enum werr err;
    const char *what;
};
/*
 * Opens the records of a batch that batch_check or batch_next accepted. zstd content is
 * decompressed into *scratch (cleared first; caps of limits.h). The iterator borrows batch and
 * scratch.
 */
enum werr record_open(struct record_iter *it, struct slice batch, const struct batch_head *h,
                      struct buf *scratch, struct werror *e) WEIR_NODISCARD;
/* The same with a reusable context: 2.3 instead of 15 us for a small batch. z NULL = its own. */
struct zstd_ctx;
enum werr record_open_with(struct zstd_ctx *z, struct record_iter *it, struct slice batch,
                           const struct batch_head *h, struct buf *scratch,
                           struct werror *e) WEIR_NODISCARD;
bool record_next(struct record_iter *it, struct record *rec); /* false at the end or on it->err */
bool record_header_next(struct slice *headers, struct slice *name, struct slice *value);

/*
 * Building a batch. Records are appended already encoded; finish writes the header in front and
 * compresses when that saves >= 10 %.
 */
struct batch_builder {
    struct buf b; /* BATCH_HEAD bytes reserved, then records */
    int64_t base_ts_ms;
    uint32_t max_ts_delta_ms;
    uint32_t count;
    struct zstd_ctx
        *z; /* borrowed, may be set after init: reused by batch_finish; NULL = its own */
};
struct record_header {
    struct slice name, value;
};
void batch_builder_init(struct batch_builder *bb, size_t limit_bytes);
void batch_builder_fini(struct batch_builder *bb);
void batch_builder_reset(struct batch_builder *bb);
/* Bytes that one more record would add at most; to decide when a batch is full. */
size_t batch_record_bound(struct slice key, struct slice value, const struct record_header *hs,
                          size_t n);
/*
 * key.p / value.p NULL = nil. Timestamps before the first record's are clamped to it.
 * WERR_BUFFER_FULL: finish this batch first. WERR_TOO_LARGE: the record fits into no batch, or its
 * headers are over LIMIT_HEADERS or LIMIT_HEADER_BYTES. WERR_MISUSE: a header's name is not UTF-8.
 */
enum werr batch_add(struct batch_builder *bb, int64_t ts_ms, struct slice key, struct slice value,
                    const struct record_header *hs, size_t n) WEIR_NODISCARD;
struct batch_producer {
    uint64_t id;
    uint16_t epoch;
    uint32_t base_seq;
};
/*
 * Writes header and crc; *out is the finished batch, a view into the builder (or into `zip`, used
 * when codec is zstd and it paid off). Valid until the next call on either.
 */
enum werr batch_finish(struct batch_builder *bb, const struct batch_producer *prod, int codec,
                       struct buf *zip, struct slice *out) WEIR_NODISCARD;

#endif
