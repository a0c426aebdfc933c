#ifndef WEIR_CLI_SEEKSPEC_H
#define WEIR_CLI_SEEKSPEC_H
/* Positions of consumer groups as people write them, and as files hold them. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum seek_kind { SEEK_EARLIEST, SEEK_LATEST, SEEK_OFFSET, SEEK_TIME, SEEK_BACK };
struct seek_spec {
    enum seek_kind kind;
    int64_t value; /**< the offset; ms since 1970; messages back */
};

/**
 * Reads "earliest", "latest", "1500", "@TIME" (as time_parse), "-100" (messages back) or "-1h"
 * (time back). @return false: none of these; *out untouched.
 */
bool seek_spec_parse(const char *s, int64_t now_ms, struct seek_spec *out);

/** The offset that a spec means in a partition, for all kinds but SEEK_TIME, which the broker
 * knows. SEEK_BACK stops at the log start; SEEK_OFFSET is taken as it is. */
int64_t seek_spec_offset(const struct seek_spec *s, int64_t position, int64_t log_start,
                         int64_t high_watermark);

enum { POSITION_TOPIC_MAX = 512 };
struct position {
    char topic[POSITION_TOPIC_MAX]; /**< NUL-terminated */
    int32_t partition;
    int64_t offset;
};
enum position_result { POSITION_OK, POSITION_NONE /* blank or comment */, POSITION_BAD };
/** Reads a line "TOPIC PARTITION OFFSET" without newline; blanks and tabs between, also around. */
enum position_result position_parse(const char *line, size_t n, struct position *out);

#endif
