#include "proto/crc32c.h"

#include <isa-l/crc.h>

/* isa-l counts in int and wants the register, not the finished sum: both are ~ of each other. */
enum { PIECE = 1 << 30 };

uint32_t crc32c_more(uint32_t crc, const void *p, size_t n)
{
    /* The library's prototype lacks const; it only reads. */
    unsigned char *at = (unsigned char *)(uintptr_t)p;

    crc = ~crc;
    while (n > PIECE) {
        crc = crc32_iscsi(at, PIECE, crc);
        at += PIECE;
        n -= PIECE;
    }
    return ~crc32_iscsi(at, (int)n, crc);
}

uint32_t crc32c(const void *p, size_t n)
{
    return crc32c_more(0, p, n);
}
