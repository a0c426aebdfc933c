/*
 * Fills a broker with messages that are due tomorrow.
 *
 *   bench-delay-pending URL TOPIC MESSAGES [VALUE_BYTES]
 *
 * Due times are spread over a day in a shuffled order, 500 messages share one. Prints how long that
 * took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/groups/common.h"

enum { SHARE = 500 };

int main(int argc, char **argv)
{
    if (argc < 4) {
        die("usage: bench-delay-pending URL TOPIC MESSAGES [VALUE_BYTES]");
    }
    const uint64_t n = number(argv[3], 1, 1000000000);
    const size_t bytes = argc > 4 ? (size_t)number(argv[4], 1, 100000) : 100;
    weir *w = weir_open(argv[1], "buffer_bytes=67108864");
    char *value = calloc(1, bytes);
    const int64_t tomorrow_ms = now_wall_ms() + INT64_C(86400000), began_ns = now_mono_ns();
    const uint64_t slots = (n + SHARE - 1) / SHARE;

    if (value == NULL) {
        die("no memory");
    }
    memset(value, 'v', bytes);
    make_topic(w, argv[2], "partitions=4");
    for (uint64_t i = 0; i < n; i++) {
        weir_send_options o = WEIR_SEND_OPTIONS;
        o.deliver_at_ms = tomorrow_ms + (int64_t)(i / SHARE * 7919 % slots * 86400000 / slots);
        for (;;) {
            weir_error e = weir_send_async(w, argv[2], weir_str(NULL), weir_bytes_of(value, bytes),
                                           &o, NULL, NULL);
            if (e.code != WEIR_E_BUFFER_FULL) {
                must(e, "send");
                break;
            }
            must(weir_flush(w, 120000), "send");
        }
    }
    must(weir_flush(w, 600000), "send");
    const double s = (double)(now_mono_ns() - began_ns) / 1e9;
    printf("%llu pending messages of %zu bytes stored in %.1f s (%.0f/s)\n", (unsigned long long)n,
           bytes, s, (double)n / s);
    free(value);
    weir_close(w, 10000);
    return 0;
}
