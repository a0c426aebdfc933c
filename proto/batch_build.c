/*
 * Writing record batches. Records are encoded by hand: this is the producer's hot path. Who owns
 * what: the builder owns its bytes; a finished batch is a view into it, or into the caller's `zip`.
 */
#include "proto/batch.h"
#include "proto/compress.h"
#include "proto/crc32c.h"
#include "proto/mpread.h"
#include "proto/mpwrite.h"

enum { BYTES_HEAD = 5, RECORD_HEAD = 1 + 5, MIN_ZIP_BYTES = 1024 };

void batch_builder_init(struct batch_builder *bb, size_t limit_bytes)
{
    *bb = (struct batch_builder){.b.limit = limit_bytes};
}

void batch_builder_fini(struct batch_builder *bb)
{
    buf_fini(&bb->b);
}

void batch_builder_reset(struct batch_builder *bb)
{
    buf_clear(&bb->b);
    bb->count = 0;
    bb->max_ts_delta_ms = 0;
}

/* Exactly what the map of headers takes on the wire. */
static size_t headers_bytes(const struct record_header *hs, size_t n)
{
    size_t sum = n < 16 ? 1 : 3; /* fixmap or map16; an absent map is one nil */

    for (size_t i = 0; i < n; i++) {
        size_t name = hs[i].name.n, value = hs[i].value.n;

        sum += name + (name < 32 ? 1 : name <= UINT8_MAX ? 2 : name <= UINT16_MAX ? 3 : BYTES_HEAD);
        sum += value + (value <= UINT8_MAX ? 2 : value <= UINT16_MAX ? 3 : BYTES_HEAD);
    }
    return sum;
}

static bool valid_headers(const struct record_header *hs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (utf8_prefix(hs[i].name) != hs[i].name.n) {
            return false;
        }
    }
    return true;
}

size_t batch_record_bound(struct slice key, struct slice value, const struct record_header *hs,
                          size_t n)
{
    return RECORD_HEAD + (size_t)2 * BYTES_HEAD + key.n + value.n + headers_bytes(hs, n);
}

static uint8_t *put_uint32(uint8_t *p, uint32_t v)
{
    if (v < 0x80) {
        *p++ = (uint8_t)v;
    } else if (v <= UINT8_MAX) {
        *p++ = 0xcc;
        *p++ = (uint8_t)v;
    } else if (v <= UINT16_MAX) {
        *p++ = 0xcd;
        put_be16(p, (uint16_t)v);
        p += 2;
    } else {
        *p++ = 0xce;
        put_be32(p, v);
        p += 4;
    }
    return p;
}

static uint8_t *put_bytes(uint8_t *p, struct slice s)
{
    if (s.p == NULL) {
        *p++ = 0xc0;
        return p;
    }
    if (s.n <= UINT8_MAX) {
        *p++ = 0xc4;
        *p++ = (uint8_t)s.n;
    } else if (s.n <= UINT16_MAX) {
        *p++ = 0xc5;
        put_be16(p, (uint16_t)s.n);
        p += 2;
    } else {
        *p++ = 0xc6;
        put_be32(p, (uint32_t)s.n);
        p += 4;
    }
    memcpy(p, s.p, s.n);
    return p + s.n;
}

static uint32_t ts_delta(struct batch_builder *bb, int64_t ts_ms)
{
    int64_t d;

    if (ts_ms < 0) {
        ts_ms = 0;
    } else if (ts_ms > (int64_t)LIMIT_UINT) {
        ts_ms = (int64_t)LIMIT_UINT;
    }
    if (bb->count == 0) {
        bb->base_ts_ms = ts_ms;
    }
    d = ts_ms - bb->base_ts_ms;
    if (d < 0) {
        return 0;
    }
    return d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

enum werr batch_add(struct batch_builder *bb, int64_t ts_ms, struct slice key, struct slice value,
                    const struct record_header *hs, size_t n)
{
    uint32_t delta;
    size_t need;
    uint8_t *p;

    if (bb->count >= LIMIT_BATCH_RECORDS) {
        return WERR_BUFFER_FULL;
    }
    if (key.n > LIMIT_BATCH || value.n > LIMIT_BATCH) {
        return WERR_TOO_LARGE;
    }
    if (n != 0 && (n > LIMIT_HEADERS || headers_bytes(hs, n) > LIMIT_HEADER_BYTES)) {
        return WERR_TOO_LARGE;
    }
    if (n != 0 && !valid_headers(hs, n)) {
        return WERR_MISUSE;
    }
    need = (bb->b.len == 0 ? BATCH_HEAD : 0) + batch_record_bound(key, value, hs, n);
    if (bb->b.limit != 0 && bb->b.len + need > bb->b.limit) {
        return bb->count != 0 ? WERR_BUFFER_FULL : WERR_TOO_LARGE;
    }
    if (!buf_reserve(&bb->b, need)) {
        bb->b.failed = false; /* what is there stays good */
        return WERR_NOMEM;
    }
    if (bb->b.len == 0) {
        bb->b.len = BATCH_HEAD;
    }
    delta = ts_delta(bb, ts_ms);
    p = bb->b.p + bb->b.len;
    *p++ = 0x94;
    p = put_uint32(p, delta);
    p = put_bytes(p, key);
    p = put_bytes(p, value);
    if (n == 0) {
        *p++ = 0xc0;
    }
    bb->b.len = (size_t)(p - bb->b.p);
    if (n != 0) {
        mpw_map(&bb->b, n);
        for (size_t i = 0; i < n; i++) {
            mpw_str(&bb->b, hs[i].name);
            mpw_bin(&bb->b, hs[i].value);
        }
    }
    if (delta > bb->max_ts_delta_ms) {
        bb->max_ts_delta_ms = delta;
    }
    bb->count++;
    return WERR_OK;
}

/* Compresses into zip when that saves a tenth. */
static enum werr try_zip(const struct batch_builder *bb, struct buf *zip, bool *zipped)
{
    struct slice body = slice_of(bb->b.p + BATCH_HEAD, bb->b.len - BATCH_HEAD);
    static const uint8_t room[BATCH_HEAD];
    enum werr rc;

    *zipped = false;
    if (body.n < MIN_ZIP_BYTES || body.n > LIMIT_UNZIPPED) {
        return WERR_OK;
    }
    buf_clear(zip);
    buf_put(zip, room, sizeof room);
    rc = zstd_pack(bb->z, body, zip);
    if (rc == WERR_OK) {
        size_t packed = zip->len - BATCH_HEAD;

        *zipped = packed <= body.n - body.n / 10 && body.n <= packed * LIMIT_ZSTD_RATIO;
    }
    return rc;
}

enum werr batch_finish(struct batch_builder *bb, const struct batch_producer *prod, int codec,
                       struct buf *zip, struct slice *out)
{
    struct batch_head h = {.magic = BATCH_MAGIC, .codec = BATCH_CODEC_NONE};
    struct buf *b = &bb->b;
    bool zipped = false;

    if (bb->count == 0) {
        return WERR_MISUSE;
    }
    if (codec == BATCH_CODEC_ZSTD) {
        enum werr rc = try_zip(bb, zip, &zipped);

        if (rc != WERR_OK) {
            return rc;
        }
    }
    if (zipped) {
        b = zip;
        h.codec = BATCH_CODEC_ZSTD;
    }
    if (b->len > LIMIT_BATCH) {
        return WERR_TOO_LARGE;
    }
    h.length = (uint32_t)b->len;
    h.max_ts_delta_ms = bb->max_ts_delta_ms;
    h.base_ts_ms = bb->base_ts_ms;
    h.count = (uint16_t)bb->count;
    if (prod != NULL) {
        h.producer_id = prod->id;
        h.producer_epoch = prod->epoch;
        h.base_seq = prod->base_seq;
    }
    batch_head_write(b->p, &h);
    h.crc = crc32c(b->p + 32, b->len - 32);
    put_be32(b->p + 28, h.crc);
    *out = buf_slice(b);
    return WERR_OK;
}
