#ifndef WEIR_CLI_TIMEPARSE_H
#define WEIR_CLI_TIMEPARSE_H
/* Points in time as people write them. Pure: the caller says what "now" is. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIME_TEXT_MAX = 32 };

/**
 * Reads a time: RFC 3339 ("2026-01-31T12:00:00Z", also with fraction, offset, lower case t and z,
 * or a space between date and time), milliseconds since 1970, "now", or relative "-1h", "-1h30m".
 * @param ms[out] since 1970, at least 0; untouched on failure.
 * @return false: none of these; a date that does not exist; before 1970.
 */
bool time_parse(const char *s, int64_t now_ms, int64_t *ms);

/**
 * Reads a time to come: RFC 3339, milliseconds since 1970, or a duration from now ("10m", "1h30m";
 * the unit is required). @return false as time_parse. The result may be before now.
 */
bool time_parse_ahead(const char *s, int64_t now_ms, int64_t *ms);

/** "2026-01-31T12:00:00.000Z". @param out TIME_TEXT_MAX bytes. @return out */
const char *time_text(char *out, int64_t ms);

/** Where a reader starts. */
enum start_kind { START_EARLIEST, START_LATEST, START_OFFSET, START_TIME };
struct start {
    enum start_kind kind;
    int64_t value; /**< the offset, or ms since 1970 */
};
/** Reads "earliest", "latest", an offset, or "@TIME". @return false: none of these. */
bool start_parse(const char *s, int64_t now_ms, struct start *out);
/** As the library wants it: "earliest", "latest", "17", "@1767225600000". @return out */
const char *start_text(const struct start *s, char *out, size_t size);

#endif
