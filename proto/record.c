/*
 * Reading the records of a batch. Happy path: [delta, bin, bin, nil] with short heads, decoded in
 * one pass without a general cursor; anything else starts over at the same record the slow way.
 * What can fail: every byte; the iterator remembers the first failure. Who owns what: records are
 * views into the batch or the caller's scratch.
 */
#include "proto/batch.h"
#include "proto/compress.h"
#include "proto/mpread.h"

enum werr record_open(struct record_iter *it, struct slice batch, const struct batch_head *h,
                      struct buf *scratch, struct werror *e)
{
    return record_open_with(NULL, it, batch, h, scratch, e);
}

enum werr record_open_with(struct zstd_ctx *z, struct record_iter *it, struct slice batch,
                           const struct batch_head *h, struct buf *scratch, struct werror *e)
{
    struct slice body = slice_of(batch.p + BATCH_HEAD, batch.n - BATCH_HEAD);

    if (h->codec == BATCH_CODEC_ZSTD) {
        enum werr rc;

        buf_clear(scratch);
        rc = zstd_unpack(z, body, LIMIT_UNZIPPED, scratch, e);
        if (rc != WERR_OK) {
            return rc;
        }
        body = buf_slice(scratch);
    }
    *it = (struct record_iter){body.p, body.p + body.n, h->count, WERR_OK, NULL};
    return WERR_OK;
}

/* nil, bin8 or bin16. Returns what follows, or NULL: another type, or not enough bytes. */
static inline const uint8_t *fast_bytes(const uint8_t *q, const uint8_t *end, struct slice *s)
{
    size_t n;

    if (end - q < 3) {
        return NULL;
    }
    if (q[0] == 0xc4) {
        n = q[1];
        q += 2;
    } else if (q[0] == 0xc5) {
        n = be16(q + 1);
        q += 3;
    } else if (q[0] == 0xc0) {
        *s = (struct slice){NULL, 0};
        return q + 1;
    } else {
        return NULL;
    }
    if ((size_t)(end - q) < n) {
        return NULL;
    }
    *s = (struct slice){q, n};
    return q + n;
}

/* One common record; false = nothing was consumed, decode it the slow way. */
static inline bool fast_record(struct record_iter *it, struct record *rec)
{
    const uint8_t *q = it->p, *end = it->end;

    if (end - q < 5 || q[0] != 0x94) { /* the shortest record has 5 bytes */
        return false;
    }
    if (q[1] < 0x80) {
        rec->ts_delta_ms = q[1];
        q += 2;
    } else if (q[1] == 0xcc) {
        rec->ts_delta_ms = q[2];
        q += 3;
    } else if (q[1] == 0xcd) {
        rec->ts_delta_ms = be16(q + 2);
        q += 4;
    } else {
        return false;
    }
    q = fast_bytes(q, end, &rec->key);
    if (q == NULL) {
        return false;
    }
    q = fast_bytes(q, end, &rec->value);
    if (q == NULL || q == end || *q != 0xc0) {
        return false;
    }
    rec->headers = (struct slice){NULL, 0};
    it->p = q + 1;
    return true;
}

static struct slice bytes_or_nil(struct mpread *r)
{
    return mpread_nil(r) ? (struct slice){NULL, 0} : mpread_bytes(r, LIMIT_UNZIPPED);
}

static struct slice read_headers(struct mpread *r)
{
    const uint8_t *from = r->p;
    uint32_t pairs;

    if (mpread_nil(r)) {
        return (struct slice){NULL, 0};
    }
    pairs = mpread_map(r);
    if (pairs > LIMIT_HEADERS) {
        mpread_fail(r, "too many headers");
    }
    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        (void)mpread_str(r, LIMIT_HEADER_BYTES);
        (void)mpread_bytes(r, LIMIT_HEADER_BYTES);
    }
    if ((size_t)(r->p - from) > LIMIT_HEADER_BYTES) {
        mpread_fail(r, "headers too long");
    }
    return slice_of(from, (size_t)(r->p - from));
}

static bool slow_record(struct record_iter *it, struct record *rec)
{
    struct mpread r;
    uint32_t elements;

    mpread_init(&r, it->p, (size_t)(it->end - it->p));
    elements = mpread_array(&r);
    if (elements < 4) {
        mpread_fail(&r, "record has fewer than 4 elements");
    }
    rec->ts_delta_ms = (int64_t)mpread_uint(&r, UINT32_MAX);
    rec->key = bytes_or_nil(&r);
    rec->value = bytes_or_nil(&r);
    rec->headers = read_headers(&r);
    for (uint32_t i = 4; i < elements && r.err == WERR_OK; i++) {
        (void)mpread_skip(&r); /* of a later version */
    }
    if (r.err != WERR_OK) {
        it->err = WERR_CORRUPT;
        it->what = r.what;
        return false;
    }
    it->p = r.p;
    return true;
}

bool record_next(struct record_iter *it, struct record *rec)
{
    if (it->left == 0 || it->err != WERR_OK || (!fast_record(it, rec) && !slow_record(it, rec))) {
        return false;
    }
    it->left--;
    return true;
}

bool record_header_next(struct slice *headers, struct slice *name, struct slice *value)
{
    struct mpread r;

    /* The first call sees the map head, later ones the pairs that are left. */
    mpread_init(&r, headers->p, headers->n);
    if (headers->n != 0 && mpread_peek(&r) == MP_MAP) {
        (void)mpread_map(&r);
    }
    if (r.p == r.end) {
        return false;
    }
    *name = mpread_str(&r, LIMIT_HEADER_BYTES);
    *value = mpread_bytes(&r, LIMIT_HEADER_BYTES);
    *headers = slice_of(r.p, (size_t)(r.end - r.p));
    return r.err == WERR_OK;
}
