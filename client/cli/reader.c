#include "client/cli/reader.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/cli/clock.h"

int reader_start(const struct args *a, const char *fallback, struct start *start)
{
    const char *from = args_text(a, OPT_FROM, fallback);
    if (!start_parse(from, cli_wall_ms(), start)) {
        return cli_fail(EXIT_USAGE,
                        "--from: '%.80s' is not earliest, latest, an offset or @TIME "
                        "(2026-01-31T12:00:00Z, milliseconds, -1h)",
                        from);
    }
    return EXIT_DONE;
}

int32_t reader_partition(const struct args *a)
{
    int64_t p = args_number(a, OPT_PARTITION, -1);
    return p > INT32_MAX ? INT32_MAX : (int32_t)p;
}

int reader_open(weir *w, const char *topic, const struct start *start, int32_t partition,
                const char *more, weir_sub **sub)
{
    char options[160];
    char text[32];
    char only[32] = "";
    if (partition >= 0) {
        snprintf(only, sizeof only, " partitions=%" PRId32, partition);
    }
    snprintf(options, sizeof options, "start=%s%s%s%s", start_text(start, text, sizeof text), only,
             more ? " " : "", more ? more : "");
    *sub = weir_subscribe(w, topic, NULL, options);
    return *sub ? EXIT_DONE : cli_fail(EXIT_REFUSED, "out of memory");
}
