#include "proto/crc32c.h"

#include <sys/mman.h>

#include "tests/lib/test.h"

/* Bit by bit, from the polynomial (RFC 3720, reflected 0x1edc6f41): shares nothing with isa-l. */
static uint32_t slow(const uint8_t *p, size_t n)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) {
            crc = (crc >> 1) ^ (0x82f63b78U & (0U - (crc & 1)));
        }
    }
    return ~crc;
}

static void test_check_value(void **state)
{
    static const uint8_t zeros[32];

    (void)state;
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(crc32c(NULL, 0), 0);
    assert_int_equal(crc32c(zeros, sizeof zeros), 0x8a9136aa); /* RFC 3720 B.4 */
}

static void test_every_length_and_alignment(void **state)
{
    static uint8_t data[2048 + 16];
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
    for (size_t n = 0; n <= 2048; n += n < 300 ? 1 : 61) {
        size_t at = n % 16;

        assert_int_equal(crc32c(data + at, n), slow(data + at, n));
    }
}

static void test_pieces_chain(void **state)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog";
    size_t n = sizeof text - 1;

    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        assert_int_equal(crc32c_more(crc32c(text, cut), text + cut, n - cut), crc32c(text, n));
    }
}

/* isa-l counts in int: more than its piece is chained inside. The zero page costs no memory. */
static void test_over_a_gibibyte(void **state)
{
    size_t n = ((size_t)1 << 30) + 4097, half = n / 2;
    uint8_t *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)state;
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(crc32c(p, n), crc32c_more(crc32c(p, half), p + half, n - half));
    munmap(p, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_every_length_and_alignment),
        cmocka_unit_test(test_pieces_chain),
        cmocka_unit_test(test_over_a_gibibyte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
