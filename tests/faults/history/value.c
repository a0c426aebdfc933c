#include "tests/faults/history/value.h"

#include <string.h>

#include "proto/crc32c.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next(uint64_t *s)
{
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t seed_of(const struct value_name *n)
{
    uint64_t s = n->run;
    s = next(&s) ^ n->counter;
    s = next(&s) ^ ((uint64_t)n->producer << 32 | n->topic);
    return s;
}

static uint32_t crc_of(const uint8_t *b, size_t size)
{
    return crc32c_more(crc32c(b, 24), b + 28, size - 28);
}

void value_make(const struct value_name *n, void *buf, size_t size)
{
    uint8_t *b = buf;
    const uint32_t size32 = (uint32_t)size;
    memcpy(b, &n->run, 8);
    memcpy(b + 8, &n->producer, 4);
    memcpy(b + 12, &n->topic, 4);
    memcpy(b + 16, &n->counter, 8);
    memcpy(b + 28, &size32, 4);
    uint64_t s = seed_of(n);
    for (size_t at = VALUE_HEAD; at < size; at += 8) {
        const uint64_t w = next(&s);
        memcpy(b + at, &w, size - at < 8 ? size - at : 8);
    }
    const uint32_t crc = crc_of(b, size);
    memcpy(b + 24, &crc, 4);
}

bool value_read(const void *buf, size_t size, struct value_name *n)
{
    const uint8_t *b = buf;
    memset(n, 0, sizeof(*n));
    if (size < VALUE_HEAD || size > VALUE_MAX) {
        return false;
    }
    uint32_t size32, crc;
    memcpy(&size32, b + 28, 4);
    memcpy(&crc, b + 24, 4);
    if (size32 != size || crc != crc_of(b, size)) {
        return false;
    }
    memcpy(&n->run, b, 8);
    memcpy(&n->producer, b + 8, 4);
    memcpy(&n->topic, b + 12, 4);
    memcpy(&n->counter, b + 16, 8);
    return true;
}
