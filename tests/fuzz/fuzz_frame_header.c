/* frame_length over a stream that arrives in pieces: never asks for more than the limit. */
#include <stdlib.h>

#include "proto/frame.h"
#include "proto/limits.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const size_t limits[] = {LIMIT_FRAME, LIMIT_FRAME_PREAUTH};
    size_t limit;

    if (n == 0) {
        return 0;
    }
    limit = limits[data[0] & 1];
    data++;
    n--;
    while (n > 0) {
        size_t total = 0;
        struct werror e = {0};
        enum werr rc = frame_length(data, n, limit, &total, &e);

        if ((rc == WERR_AGAIN) != (n < FRAME_HEAD)) {
            abort();
        }
        if (rc != WERR_OK) {
            return 0;
        }
        if (total <= FRAME_HEAD || total > limit + FRAME_HEAD) {
            abort();
        }
        if (total > n) {
            return 0;
        }
        data += total;
        n -= total;
    }
    return 0;
}
