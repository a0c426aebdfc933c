/* The body of one frame, as a client takes it from a server it cannot trust. Byte 0: which op. */
#include <stdlib.h>

#include "tests/fuzz/target.h"
#include "tests/unit/proto/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct frame f;
    struct werror e = {0};
    enum werr_class cls;

    if (n == 0 || frame_parse(slice_of(data + 1, n - 1), &f, &e) != WERR_OK) {
        return 0;
    }
    if (f.kind == FRAME_RESPONSE) {
        struct mpread once = f.args;

        if (frame_get_error(f.err, &e, &cls) == WERR_OK && e.code >= WERR_IO) {
            abort();
        }
        (void)frame_error_detail(f.err, "limit", 0);
        (void)walk_response(data[0], &f, &e);
        f.args = once;
        if (msg_get_ok(&f.args, &e) != WERR_OK || !mpread_done(&f.args)) {
            abort(); /* an array of anything will do where nothing is expected */
        }
    } else {
        (void)walk_response(0, &f, &e);
    }
    return 0;
}
