/*
 * Batches. The first byte picks what is made right, so that the fuzzer gets past lengths and sums:
 * 1 = length, 2 = NO_CRC (produced), 4 = look at it as a stored run with right sums.
 */
#include <stdlib.h>

#include "proto/crc32c.h"
#include "tests/fuzz/target.h"
#include "tests/unit/proto/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *p;
    uint8_t mode;

    if (n == 0) {
        return 0;
    }
    mode = *data++;
    n--;
    p = malloc(n + 1);
    if (p == NULL) {
        return 0;
    }
    memcpy(p, data, n);
    if (n >= BATCH_HEAD) {
        if ((mode & 1) != 0) {
            put_be32(p + 20, (uint32_t)n);
        }
        if ((mode & 2) != 0) {
            p[35] |= BATCH_NO_CRC;
        }
        if ((mode & 4) != 0) {
            put_be32(p + 24, crc32c(p, 24));
            put_be32(p + 28, crc32c(p + 32, n - 32));
        }
    }
    if ((mode & 4) != 0) {
        (void)walk_batches(slice_of(p, n), NULL);
    } else {
        (void)walk_produced(slice_of(p, n), (mode & 8) != 0, NULL);
    }
    free(p);
    return 0;
}
