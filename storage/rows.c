#include "storage/rows.h"

void applied_encode(uint8_t out[APPLIED_BYTES], const struct applied *a)
{
    put_be64(out, a->epoch);
    put_be64(out + 8, a->lsn);
    put_be32(out + 16, a->bucket);
    put_be64(out + 20, a->rows);
    put_be64(out + 28, a->bytes);
    put_be64(out + 36, a->sum);
}

enum werr applied_decode(struct slice v, struct applied *a, struct werror *e)
{
    if (v.n != APPLIED_BYTES) {
        return werror_set(e, WERR_CORRUPT, "position row has %zu bytes, not %d", v.n,
                          APPLIED_BYTES);
    }
    a->epoch = be64(v.p);
    a->lsn = be64(v.p + 8);
    a->bucket = be32(v.p + 16);
    a->rows = be64(v.p + 20);
    a->bytes = be64(v.p + 28);
    a->sum = be64(v.p + 36);
    return WERR_OK;
}

enum { IDENTITY_BYTES = 28 };

void identity_encode(struct buf *b, const struct identity *id)
{
    buf_put_be32(b, id->format);
    buf_put(b, id->uuid, UUID_BYTES);
    buf_put_be32(b, id->shard);
    buf_put_be32(b, id->tables);
}

enum werr identity_decode(struct slice v, struct identity *id, struct werror *e)
{
    if (v.n < 4) {
        return werror_set(e, WERR_CORRUPT, "identity row has %zu bytes", v.n);
    }
    id->format = be32(v.p);
    if (id->format > STORE_FORMAT) {
        return werror_set(e, WERR_FORMAT_NEWER, "store has format %u, this program knows up to %d",
                          id->format, STORE_FORMAT);
    }
    if (v.n != IDENTITY_BYTES) {
        return werror_set(e, WERR_CORRUPT, "identity row has %zu bytes, not %d", v.n,
                          IDENTITY_BYTES);
    }
    memcpy(id->uuid, v.p + 4, UUID_BYTES);
    id->shard = be32(v.p + 20);
    id->tables = be32(v.p + 24);
    if (id->tables != TABLE_COUNT) {
        return werror_set(e, WERR_CORRUPT, "store has %u tables, not %d", id->tables, TABLE_COUNT);
    }
    return WERR_OK;
}

static void put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

static bool get_varint(struct slice *s, uint64_t *v)
{
    uint64_t r = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (s->n == 0) {
            return false;
        }
        uint8_t c = *s->p++;
        s->n--;
        r |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *v = r;
            return shift < 63 || c <= 1;
        }
    }
    return false;
}

enum { BUCKET_ROW_VERSION = 1 };

void bucket_row_begin(struct buf *b, uint64_t total_bytes)
{
    buf_put_u8(b, BUCKET_ROW_VERSION);
    put_varint(b, total_bytes);
}

void bucket_row_add(struct buf *b, uint32_t partition, const struct index_range *r)
{
    put_varint(b, partition);
    buf_put_u8(b, r->table);
    put_varint(b, r->first);
    put_varint(b, r->next - r->first);
    put_varint(b, r->bytes);
    /* Times are wall times of the owner and may be anything: two's complement, then the spread. */
    put_varint(b, (uint64_t)r->min_ms);
    put_varint(b, (uint64_t)r->max_ms - (uint64_t)r->min_ms);
}

enum werr bucket_row_open(struct bucket_row *row, struct slice key, struct slice value,
                          struct werror *e)
{
    if (key.n != 5 || value.n < 1) {
        return werror_set(e, WERR_CORRUPT, "bucket row with a key of %zu and %zu bytes", key.n,
                          value.n);
    }
    row->bucket = be32(key.p + 1);
    if (value.p[0] != BUCKET_ROW_VERSION) {
        return werror_set(e, WERR_CORRUPT, "row of bucket %u has version %u", row->bucket,
                          value.p[0]);
    }
    row->left = slice_of(value.p + 1, value.n - 1);
    if (!get_varint(&row->left, &row->total_bytes)) {
        return werror_set(e, WERR_CORRUPT, "row of bucket %u is cut", row->bucket);
    }
    return WERR_OK;
}

enum werr bucket_row_next(struct bucket_row *row, uint32_t *partition, struct index_range *r,
                          struct werror *e)
{
    struct slice *s = &row->left;
    if (s->n == 0) {
        return WERR_NOT_FOUND;
    }
    uint64_t p = 0, first = 0, count = 0, bytes = 0, min_ms = 0, spread = 0;
    bool ok = get_varint(s, &p) && p <= UINT32_MAX && s->n > 0;
    uint8_t table = 0;
    if (ok) {
        table = *s->p++;
        s->n--;
    }
    ok = ok && get_varint(s, &first) && get_varint(s, &count) && get_varint(s, &bytes) &&
         get_varint(s, &min_ms) && get_varint(s, &spread);
    ok = ok && count > 0 && first <= UINT64_MAX - count && table < TABLE_COUNT &&
         table_is_log((enum store_table)table);
    if (!ok) {
        return werror_set(e, WERR_CORRUPT, "row of bucket %u has a bad range", row->bucket);
    }
    *partition = (uint32_t)p;
    *r = (struct index_range){.first = first,
                              .next = first + count,
                              .bytes = bytes,
                              .min_ms = (int64_t)min_ms,
                              .max_ms = (int64_t)(min_ms + spread),
                              .bucket = row->bucket,
                              .table = table};
    return WERR_OK;
}

void moved_row_encode(uint8_t out[MOVED_BYTES], const struct moved_row *m)
{
    put_be64(out, m->next);
    put_be64(out + 8, m->bytes_left);
}

enum werr moved_row_decode(struct slice v, struct moved_row *m, struct werror *e)
{
    if (v.n != MOVED_BYTES) {
        return werror_set(e, WERR_CORRUPT, "moved row has %zu bytes, not %d", v.n, MOVED_BYTES);
    }
    m->next = be64(v.p);
    m->bytes_left = be64(v.p + 8);
    return WERR_OK;
}
