/* Our cursor against msgpack-c: the same values, the same lengths, the same refusals. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/target.h"
#include "tests/unit/proto/mpdiff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *what = mp_differs(data, n);

    if (what != NULL) {
        fprintf(stderr, "cursor and msgpack-c differ: %s\n", what);
        abort();
    }
    return 0;
}
