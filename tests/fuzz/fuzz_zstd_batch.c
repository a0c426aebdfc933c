/* zstd under its caps, then the records inside. Bytes 0 and 1: the record count. */
#include <stdlib.h>

#include "proto/compress.h"
#include "tests/fuzz/target.h"
#include "tests/unit/proto/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf out = {0};
    struct werror e = {0};
    struct record_iter it;
    struct record rec;

    if (n < 2) {
        return 0;
    }
    if (zstd_unpack(NULL, slice_of(data + 2, n - 2), LIMIT_UNZIPPED, &out, &e) == WERR_OK) {
        if (out.len > LIMIT_UNZIPPED || out.len > (n - 2) * LIMIT_ZSTD_RATIO) {
            abort();
        }
        it = (struct record_iter){out.p, out.p + out.len, be16(data), WERR_OK, NULL};
        while (record_next(&it, &rec)) {
            touch(rec.key);
            touch(rec.value);
            touch(rec.headers);
        }
    } else if (out.len != 0 || e.text[0] == '\0') {
        abort();
    }
    buf_fini(&out);
    return 0;
}
