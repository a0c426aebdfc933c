/*
 * Long inputs go to isa-l, which folds with carry-less multiplication (85 to 110 GB/s). Short ones,
 * such as keys, take the CPU's own CRC32C instruction, because isa-l's set-up costs more than they
 * do.
 *
 * isa-l's AVX-512 code returns without vzeroupper, which leaves every SSE instruction after it
 * slow: the upper halves are cleared here (a third of a producer's time, measured).
 */
#include "proto/crc32c.h"

#include <isa-l/crc.h>

/* isa-l counts in int and wants the register, not the finished sum: both are ~ of each other. */
enum { PIECE = 1 << 30 };

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

enum { SHORT_BYTES = 128 };

__attribute__((target("sse4.2"))) static uint32_t crc_short(uint32_t crc, const uint8_t *p,
                                                            size_t n)
{
    uint64_t c = crc;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;

        memcpy(&v, p, sizeof v);
        c = _mm_crc32_u64(c, v);
    }
    crc = (uint32_t)c;
    for (; n > 0; n--, p++) {
        crc = _mm_crc32_u8(crc, *p);
    }
    return crc;
}

static bool try_short(uint32_t *crc, const void *p, size_t n)
{
    if (n > SHORT_BYTES || !__builtin_cpu_supports("sse4.2")) {
        return false;
    }
    *crc = crc_short(*crc, p, n);
    return true;
}

__attribute__((target("avx"))) static void zero_upper(void)
{
    _mm256_zeroupper();
}

static void after_isal(void)
{
    if (__builtin_cpu_supports("avx")) {
        zero_upper();
    }
}
#else
static int try_short(uint32_t *crc, const void *p, size_t n)
{
    (void)crc;
    (void)p;
    (void)n;
    return 0;
}

static void after_isal(void)
{
}
#endif

uint32_t crc32c_more(uint32_t crc, const void *p, size_t n)
{
    /* The library's prototype lacks const; it only reads. */
    unsigned char *at = (unsigned char *)(uintptr_t)p;

    crc = ~crc;
    if (try_short(&crc, p, n)) {
        return ~crc;
    }
    while (n > PIECE) {
        crc = crc32_iscsi(at, PIECE, crc);
        at += PIECE;
        n -= PIECE;
    }
    crc = crc32_iscsi(at, (int)n, crc);
    after_isal();
    return ~crc;
}

uint32_t crc32c(const void *p, size_t n)
{
    return crc32c_more(0, p, n);
}
