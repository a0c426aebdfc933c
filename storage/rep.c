/*
 * Happy path: rep_begin, then one call per change; the count in the head is kept up to date, so the
 * bytes are a valid WriteBatch after every call.
 * What can fail: the buffer (buf.failed, checked once by the caller). A record that is read back is
 * untrusted: every length is checked against what is left.
 * Who owns what: the caller owns the buffer; a rep_iter and its slices borrow the record.
 */
#include "storage/rep.h"

/* RocksDB's ValueType (db/dbformat.h): part of the on-disk WAL format, so these never change. */
enum {
    TAG_DELETE = 0x0,
    TAG_PUT = 0x1,
    TAG_CF_DELETE = 0x4,
    TAG_CF_PUT = 0x5,
    TAG_CF_DELETE_RANGE = 0xe,
    TAG_DELETE_RANGE = 0xf,
};

static void put_varint(struct buf *b, uint32_t v)
{
    uint8_t tmp[5];
    size_t n = 0;
    while (v >= 0x80) {
        tmp[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    tmp[n++] = (uint8_t)v;
    buf_put(b, tmp, n);
}

static void put_slice(struct buf *b, struct slice s)
{
    put_varint(b, (uint32_t)s.n);
    buf_put(b, s.p, s.n);
}

static void put_tag(struct buf *b, uint8_t plain, uint8_t with_table, enum store_table t)
{
    if (t == TABLE_META) {
        buf_put_u8(b, plain);
    } else {
        buf_put_u8(b, with_table);
        put_varint(b, (uint32_t)t);
    }
    uint32_t n = rep_count(b) + 1;
    if (!b->failed && b->len >= REP_HEAD) {
        uint8_t *p = b->p + 8;
        p[0] = (uint8_t)n;
        p[1] = (uint8_t)(n >> 8);
        p[2] = (uint8_t)(n >> 16);
        p[3] = (uint8_t)(n >> 24);
    }
}

void rep_begin(struct buf *b)
{
    static const uint8_t head[REP_HEAD];
    buf_clear(b);
    buf_put(b, head, REP_HEAD);
}

void rep_put(struct buf *b, enum store_table t, struct slice key, struct slice value)
{
    put_tag(b, TAG_PUT, TAG_CF_PUT, t);
    put_slice(b, key);
    put_slice(b, value);
}

void rep_put_begin(struct buf *b, enum store_table t, struct slice key, size_t value_bytes)
{
    put_tag(b, TAG_PUT, TAG_CF_PUT, t);
    put_slice(b, key);
    put_varint(b, (uint32_t)value_bytes);
}

void rep_raw(struct buf *b, struct slice piece)
{
    buf_put(b, piece.p, piece.n);
}

void rep_delete(struct buf *b, enum store_table t, struct slice key)
{
    put_tag(b, TAG_DELETE, TAG_CF_DELETE, t);
    put_slice(b, key);
}

void rep_delete_range(struct buf *b, enum store_table t, struct slice lo, struct slice hi)
{
    put_tag(b, TAG_DELETE_RANGE, TAG_CF_DELETE_RANGE, t);
    put_slice(b, lo);
    put_slice(b, hi);
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t rep_count(const struct buf *b)
{
    return b->len >= REP_HEAD ? le32(b->p + 8) : 0;
}

enum werr rep_open(struct rep_iter *it, struct slice rep, struct werror *e)
{
    if (rep.n < REP_HEAD) {
        return werror_set(e, WERR_CORRUPT, "log record of %zu bytes, the head needs %d", rep.n,
                          REP_HEAD);
    }
    it->p = rep.p + REP_HEAD;
    it->end = rep.p + rep.n;
    it->left = le32(rep.p + 8);
    return WERR_OK;
}

static bool get_varint(struct rep_iter *it, uint32_t *v)
{
    uint64_t r = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (it->p == it->end) {
            return false;
        }
        uint8_t c = *it->p++;
        r |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *v = (uint32_t)r;
            return r <= UINT32_MAX;
        }
    }
    return false;
}

static bool get_slice(struct rep_iter *it, struct slice *s)
{
    uint32_t n = 0;
    if (!get_varint(it, &n) || n > (size_t)(it->end - it->p)) {
        return false;
    }
    *s = slice_of(it->p, n);
    it->p += n;
    return true;
}

/* Splits a tag into kind and "a table number follows". */
static bool tag_kind(uint8_t tag, enum rep_kind *kind, bool *with_table)
{
    *with_table = tag == TAG_CF_PUT || tag == TAG_CF_DELETE || tag == TAG_CF_DELETE_RANGE;
    switch (tag) {
    case TAG_PUT:
    case TAG_CF_PUT:
        *kind = REP_PUT;
        return true;
    case TAG_DELETE:
    case TAG_CF_DELETE:
        *kind = REP_DELETE;
        return true;
    case TAG_DELETE_RANGE:
    case TAG_CF_DELETE_RANGE:
        *kind = REP_DELETE_RANGE;
        return true;
    default:
        return false;
    }
}

enum werr rep_next(struct rep_iter *it, struct rep_op *op, struct werror *e)
{
    if (it->p == it->end) {
        if (it->left != 0) {
            return werror_set(e, WERR_CORRUPT, "log record ends %u operations early", it->left);
        }
        return WERR_NOT_FOUND;
    }
    if (it->left == 0) {
        return werror_set(e, WERR_CORRUPT, "log record has %zu bytes after its last operation",
                          (size_t)(it->end - it->p));
    }
    size_t bytes_left = (size_t)(it->end - it->p);
    uint8_t tag = *it->p++;
    bool with_table = false;
    uint32_t table = TABLE_META;
    struct rep_op r = {.table = TABLE_META};
    if (!tag_kind(tag, &r.kind, &with_table)) {
        return werror_set(e, WERR_CORRUPT, "log record: unknown operation %u, %zu bytes before end",
                          tag, bytes_left);
    }
    bool ok = (!with_table || get_varint(it, &table)) && table < TABLE_COUNT;
    ok = ok && get_slice(it, &r.key) && (r.kind == REP_DELETE || get_slice(it, &r.value));
    if (!ok) {
        return werror_set(e, WERR_CORRUPT, "log record: bad operation, %zu bytes before its end",
                          bytes_left);
    }
    r.table = (enum store_table)table;
    it->left--;
    *op = r;
    return WERR_OK;
}
