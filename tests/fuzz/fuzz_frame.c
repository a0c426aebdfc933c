/* The body of one frame, as a server takes it: envelope, arguments by operation, batches. */
#include <stdlib.h>

#include "tests/fuzz/target.h"
#include "tests/unit/proto/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct frame f;
    struct werror e = {0};
    enum werr rc = frame_parse(slice_of(data, n), &f, &e);

    if (rc != WERR_OK) {
        if (rc != WERR_MALFORMED || e.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (f.kind != FRAME_RESPONSE) {
        e = (struct werror){0};
        rc = walk_request(&f, &e);
        /* every refusal names its reason, and only codes that may travel */
        if (rc >= WERR_IO || (rc != WERR_OK && rc != WERR_UNKNOWN_OP && e.code != rc)) {
            abort();
        }
    }
    return 0;
}
