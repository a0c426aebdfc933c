#ifndef WEIR_CLI_VALUES_H
#define WEIR_CLI_VALUES_H
/* Numbers, sizes, durations and rates as people write them, both ways. No locale, no I/O. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_COUNT_MAX (INT64_C(1) << 53)

/** A whole number of 0 to 2^53, only digits. @return false: not one; *out untouched. */
bool value_count(const char *s, int64_t *out);
/** Bytes: digits and optionally k, m, g, t (times 1024), then optionally b or ib; any case. */
bool value_size(const char *s, int64_t *bytes);
/** "500ms", "10s", "5m", "1h", "7d", "1h30m", "0.5s"; a bare number is seconds. */
bool value_duration(const char *s, int64_t *ms);
/** The same for a text that is not NUL-terminated and whose units are required. */
bool value_duration_n(const char *s, size_t n, int64_t *ms);
/** "1000" or "1000/s", above 0 and at most 10^9. */
bool value_rate(const char *s, double *per_s);

/** "1,234,567". @return out. 32 bytes are enough. */
const char *text_count(char *out, size_t size, int64_t n);
/** "12.3 MB" (powers of 1000; "512 B"). */
const char *text_bytes(char *out, size_t size, double bytes);
/** "845 ns", "12.3 us", "4.56 ms", "1.20 s": three digits. */
const char *text_nanos(char *out, size_t size, int64_t ns);

#endif
