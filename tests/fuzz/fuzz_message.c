/*
 * Every message there and back: what a decoder accepts is encoded again, and that must be accepted
 * too and give the same bytes. Byte 0 is the operation of a response; requests have their own.
 */
#include <stdlib.h>

#include "tests/fuzz/echo.h"
#include "tests/fuzz/target.h"

static enum werr echo(uint32_t op, struct slice body, struct buf *b)
{
    struct frame f;

    if (frame_parse(body, &f, NULL) != WERR_OK) {
        return WERR_UNKNOWN_OP;
    }
    return f.kind == FRAME_RESPONSE ? echo_response(op, &f, b) : echo_request(&f, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf once = {0}, twice = {0};

    if (n > 0 && echo(data[0], slice_of(data + 1, n - 1), &once) == WERR_OK) {
        if (echo(data[0], slice_of(once.p + FRAME_HEAD, once.len - FRAME_HEAD), &twice) !=
                WERR_OK ||
            once.len != twice.len || memcmp(once.p, twice.p, once.len) != 0) {
            abort();
        }
    }
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
