#include "storage/rocks_records.h"

#include "proto/crc32c.h"

enum {
    HEAD_BYTES = 7,
    RECYCLED_HEAD_BYTES = 11,
    TYPE_ZERO = 0,
    TYPE_LAST = 4, /* full 1, first 2, middle 3, last 4; recycled ones the same plus 4 */
    TYPE_RECYCLED_LAST = 8,
};

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* RocksDB stores checksums rotated and shifted (util/crc32c.h, Mask). */
static uint32_t masked_crc(const uint8_t *p, size_t n)
{
    uint32_t crc = crc32c(p, n);

    return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

enum record_step record_at(const uint8_t *p, size_t n, size_t at, struct wal_record *r)
{
    const size_t left = RECORD_BLOCK_BYTES - at % RECORD_BLOCK_BYTES;
    size_t head = HEAD_BYTES, len;
    uint8_t type;

    if (left < HEAD_BYTES) {
        return RECORD_PAD;
    }
    if (n - at < HEAD_BYTES) {
        return RECORD_BAD;
    }
    type = p[at + 6];
    len = (size_t)p[at + 4] | (size_t)p[at + 5] << 8;
    if (type > TYPE_LAST) {
        head = RECYCLED_HEAD_BYTES;
    }
    if (type == TYPE_ZERO || type > TYPE_RECYCLED_LAST || head + len > left ||
        head + len > n - at) {
        return RECORD_BAD;
    }
    *r = (struct wal_record){.p = p + at,
                             .bytes = head + len,
                             .data = slice_of(p + at + head, len),
                             .begins = (type - 1) % TYPE_LAST < 2,
                             .ends = (type - 1) % TYPE_LAST == 0 || (type - 1) % TYPE_LAST == 3};
    return RECORD_HERE;
}

bool record_is_sound(const struct wal_record *r)
{
    return masked_crc(r->p + 6, r->bytes - 6) == le32(r->p);
}
