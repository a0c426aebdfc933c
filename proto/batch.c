/*
 * Reading and checking record batches. Happy path: fixed offsets in a 64-byte header, one CRC over
 * the rest, a walk over the records. What can fail: every field, for the bytes come from a peer or
 * a disk. Who owns what: everything is a view; batch_check writes only the crc of a NO_CRC batch.
 */
#include "proto/batch.h"

#include "proto/compress.h"
#include "proto/crc32c.h"
#include "proto/mpread.h"

enum { OFF_HEAD_CRC = 24, OFF_CRC = 28, OFF_BODY = 32 };

void batch_head_read(const uint8_t *p, struct batch_head *h)
{
    h->base_offset = be64(p);
    h->append_ms = (int64_t)be64(p + 8);
    h->epoch = be32(p + 16);
    h->length = be32(p + 20);
    h->head_crc = be32(p + OFF_HEAD_CRC);
    h->crc = be32(p + OFF_CRC);
    h->magic = p[32];
    h->codec = p[33];
    h->flags = be16(p + 34);
    h->max_ts_delta_ms = be32(p + 36);
    h->producer_id = be64(p + 40);
    h->base_ts_ms = (int64_t)be64(p + 48);
    h->base_seq = be32(p + 56);
    h->producer_epoch = be16(p + 60);
    h->count = be16(p + 62);
}

void batch_head_write(uint8_t *p, const struct batch_head *h)
{
    put_be64(p, h->base_offset);
    put_be64(p + 8, (uint64_t)h->append_ms);
    put_be32(p + 16, h->epoch);
    put_be32(p + 20, h->length);
    put_be32(p + OFF_HEAD_CRC, h->head_crc);
    put_be32(p + OFF_CRC, h->crc);
    p[32] = h->magic;
    p[33] = h->codec;
    put_be16(p + 34, h->flags);
    put_be32(p + 36, h->max_ts_delta_ms);
    put_be64(p + 40, h->producer_id);
    put_be64(p + 48, (uint64_t)h->base_ts_ms);
    put_be32(p + 56, h->base_seq);
    put_be16(p + 60, h->producer_epoch);
    put_be16(p + 62, h->count);
}

void batch_stamp(uint8_t *p, uint64_t base_offset, int64_t append_ms, uint32_t epoch)
{
    put_be64(p, base_offset);
    put_be64(p + 8, (uint64_t)append_ms);
    put_be32(p + 16, epoch);
    put_be32(p + OFF_HEAD_CRC, crc32c(p, OFF_HEAD_CRC));
}

/* Sums of a time in range and a record's delta cannot overflow. */
static bool valid_ms(int64_t ms)
{
    return ms >= 0 && (uint64_t)ms <= LIMIT_UINT;
}

/* The fields of a produced header that can be judged without looking at the records. */
static enum werr check_fields(const struct batch_head *h, size_t n, const struct batch_rules *rules,
                              struct werror *e)
{
    if (h->length != n) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch length %u, but %zu bytes were sent",
                          h->length, n);
    }
    if (n > rules->max_bytes) {
        return werror_set(e, WERR_TOO_LARGE, "batch of %zu bytes, limit %u", n, rules->max_bytes);
    }
    if (h->magic != BATCH_MAGIC) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch magic %u, want %d", h->magic, BATCH_MAGIC);
    }
    if (h->codec != BATCH_CODEC_NONE && h->codec != BATCH_CODEC_ZSTD) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch codec %u unknown", h->codec);
    }
    if ((h->flags & BATCH_FLAGS_CRITICAL & ~BATCH_FLAGS_KNOWN) != 0) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch flags 0x%04x: a critical flag is unknown",
                          h->flags);
    }
    if (h->count == 0) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch count 0");
    }
    if (rules->max_records != 0 && h->count > rules->max_records) {
        return werror_set(e, WERR_TOO_LARGE, "batch of %u records, limit %u", h->count,
                          rules->max_records);
    }
    if (h->producer_id > LIMIT_UINT) {
        return werror_set(e, WERR_CORRUPT_BATCH, "producer id over 2^53 - 1");
    }
    if (!valid_ms(h->base_ts_ms)) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch timestamp %lld out of range",
                          (long long)h->base_ts_ms);
    }
    return WERR_OK;
}

/* Walks all records; they must be exactly `count`, each within the message limit. */
static enum werr walk(struct slice records, const struct batch_head *h, uint32_t max_message_bytes,
                      struct werror *e)
{
    struct record_iter it = {records.p, records.p + records.n, h->count, WERR_OK, NULL};
    struct record rec;
    unsigned i = 0;

    while (record_next(&it, &rec)) {
        size_t n = rec.key.n + rec.value.n + rec.headers.n;

        if (max_message_bytes != 0 && n > max_message_bytes) {
            return werror_set(e, WERR_TOO_LARGE, "message of %zu bytes, limit %u", n,
                              max_message_bytes);
        }
        if (rec.ts_delta_ms > (int64_t)h->max_ts_delta_ms) {
            return werror_set(e, WERR_CORRUPT_BATCH,
                              "record %u: ts_delta %lld over max_ts_delta %u", i,
                              (long long)rec.ts_delta_ms, h->max_ts_delta_ms);
        }
        i++;
    }
    if (it.err != WERR_OK) {
        return werror_set(e, WERR_CORRUPT_BATCH, "record %u of %u: %s", i, h->count, it.what);
    }
    if (it.p != it.end) {
        return werror_set(e, WERR_CORRUPT_BATCH, "%zu bytes after the last of %u records",
                          (size_t)(it.end - it.p), h->count);
    }
    return WERR_OK;
}

static enum werr unzip(struct zstd_ctx *z, struct slice body, struct buf *scratch, struct werror *e)
{
    buf_clear(scratch);
    return zstd_unpack(z, body, LIMIT_UNZIPPED, scratch, e);
}

static enum werr check_records(struct slice batch, const struct batch_head *h,
                               const struct batch_rules *rules, struct werror *e)
{
    struct buf scratch = {0};
    struct slice body = slice_of(batch.p + BATCH_HEAD, batch.n - BATCH_HEAD);
    enum werr rc = WERR_OK;

    if (h->codec == BATCH_CODEC_NONE && (rules->walk_records || rules->unzip)) {
        return walk(body, h, rules->max_message_bytes, e);
    }
    if (h->codec == BATCH_CODEC_ZSTD && rules->unzip) {
        rc = unzip(NULL, body, &scratch, e);
        if (rc == WERR_OK) {
            rc = walk(buf_slice(&scratch), h, rules->max_message_bytes, e);
        } else {
            /* the peer's fault, or a lack of memory that may pass */
            rc = rc == WERR_CORRUPT ? WERR_CORRUPT_BATCH : WERR_OVERLOADED;
            if (e != NULL) {
                e->code = rc;
            }
        }
        buf_fini(&scratch);
    }
    return rc;
}

enum werr batch_check(uint8_t *p, size_t n, const struct batch_rules *rules, struct batch_head *h,
                      struct werror *e)
{
    enum werr rc;
    uint32_t crc;

    if (n < BATCH_HEAD) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch of %zu bytes, the header alone has %d", n,
                          BATCH_HEAD);
    }
    batch_head_read(p, h);
    rc = check_fields(h, n, rules, e);
    if (rc != WERR_OK) {
        return rc;
    }
    crc = crc32c(p + OFF_BODY, n - OFF_BODY);
    if ((h->flags & BATCH_NO_CRC) != 0) {
        put_be32(p + OFF_CRC, crc);
        h->crc = crc;
    } else if (crc != h->crc) {
        return werror_set(e, WERR_CORRUPT_BATCH, "batch crc %08x, content has %08x", h->crc, crc);
    }
    return check_records(slice_of(p, n), h, rules, e);
}

enum werr batch_next(struct slice *run, bool verify, struct batch_head *h, struct slice *batch,
                     struct werror *e)
{
    const uint8_t *p = run->p;

    if (run->n == 0) {
        return WERR_NOT_FOUND;
    }
    if (run->n < BATCH_HEAD) {
        return werror_set(e, WERR_CORRUPT, "%zu bytes where a batch header should be", run->n);
    }
    batch_head_read(p, h);
    if (crc32c(p, OFF_HEAD_CRC) != h->head_crc) {
        return werror_set(e, WERR_CORRUPT, "batch header checksum wrong near offset %llu",
                          (unsigned long long)h->base_offset);
    }
    if (h->length < BATCH_HEAD || h->length > run->n || h->count == 0) {
        return werror_set(e, WERR_CORRUPT, "batch at offset %llu: length %u of %zu, %u records",
                          (unsigned long long)h->base_offset, h->length, run->n, h->count);
    }
    if (h->magic != BATCH_MAGIC || h->codec > BATCH_CODEC_ZSTD ||
        (h->flags & BATCH_FLAGS_CRITICAL & ~BATCH_FLAGS_KNOWN) != 0) {
        return werror_set(e, WERR_CORRUPT, "batch at offset %llu: magic %u codec %u flags 0x%04x",
                          (unsigned long long)h->base_offset, h->magic, h->codec, h->flags);
    }
    if (h->base_offset > LIMIT_UINT || !valid_ms(h->append_ms) || !valid_ms(h->base_ts_ms)) {
        return werror_set(e, WERR_CORRUPT, "batch at offset %llu: offset or time out of range",
                          (unsigned long long)h->base_offset);
    }
    if (verify && crc32c(p + OFF_BODY, h->length - OFF_BODY) != h->crc) {
        return werror_set(e, WERR_CORRUPT, "batch at offset %llu: content checksum wrong",
                          (unsigned long long)h->base_offset);
    }
    *batch = slice_of(p, h->length);
    run->p += h->length;
    run->n -= h->length;
    return WERR_OK;
}
