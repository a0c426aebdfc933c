#ifndef WEIR_CLI_BENCH_H
#define WEIR_CLI_BENCH_H
/* What the measurements share: values to send, a time grid, results. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

#include "client/cli/args.h"
#include "client/cli/histogram.h"
#include "client/cli/json.h"

/** Values to send: pieces of a random block, or the lines of a file in turn. */
struct payload {
    char *block;
    size_t n_block;
    size_t size;      /**< of each random value */
    size_t *line_end; /**< where each line ends in block; NULL for random bytes */
    size_t n_lines;
};

/** Reads --payload, --size. Prints what is wrong. @return exit code; payload_fini in any case */
int payload_init(struct payload *p, const struct args *a);
/** The i-th value, a view. */
weir_bytes payload_value(const struct payload *p, uint64_t i);
void payload_fini(struct payload *p);

/** --topic; NULL after printing that it is missing. */
const char *bench_topic(const struct args *a);

/**
 * Planned time of the i-th event of a grid; not a multiple of a rounded interval, so it never
 * drifts.
 */
int64_t grid_ns(int64_t start_ns, double per_s, int64_t i);

/** weir bench consume with --group. @return exit code */
int bench_members(const struct args *a);

/** "p50 1.20 ms  p90 ...  max ...". @return out */
const char *latency_text(const struct histogram *h, char *out, size_t size);
/** {count, mean_us, p50_us, p90_us, p99_us, p999_us, max_us} */
void latency_json(struct json *j, const char *name, const struct histogram *h);
/** {messages_per_s, bytes_per_s} of a count in a time. */
void rate_json(struct json *j, int64_t messages, double bytes, double seconds);

#endif
