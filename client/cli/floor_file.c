/* Is a floor file valid? Its layout is in docs/STORAGE_FORMAT.md. */
#include <string.h>

#include "client/cli/doctor.h"

enum { FORMAT_KNOWN = 1, OFF_FORMAT = 8, OFF_BYTES = 12, OFF_BODY = 16, BODY_LEAST = 125 };

/* CRC32C, bit by bit: it is done twice in the life of the program. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
        }
    }
    return ~crc;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

enum floor_state floor_judge(const uint8_t *p, size_t n, uint64_t *seq)
{
    if (n < OFF_BODY || memcmp(p, "weirflor", 8) != 0) {
        return FLOOR_BROKEN;
    }
    if (be32(p + OFF_FORMAT) > FORMAT_KNOWN) {
        return FLOOR_NEWER;
    }
    const uint32_t body = be32(p + OFF_BYTES);
    if (body < BODY_LEAST || n < OFF_BODY + 4 || n - OFF_BODY - 4 < body ||
        crc32c(p, (size_t)OFF_BODY + body) != be32(p + OFF_BODY + body)) {
        return FLOOR_BROKEN;
    }
    *seq = (uint64_t)be32(p + OFF_BODY) << 32 | be32(p + OFF_BODY + 4);
    return FLOOR_VALID;
}
