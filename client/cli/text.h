#ifndef WEIR_CLI_TEXT_H
#define WEIR_CLI_TEXT_H
/* UTF-8 and terminals: what may be shown as text. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Length of the UTF-8 sequence at s (1 to 4), 0 when it is not one: truncated, overlong, a
 * surrogate, above U+10FFFF. @param n bytes that may be read
 */
size_t utf8_next(const uint8_t *s, size_t n);
/** True when all n bytes are valid UTF-8 (also for n = 0). */
bool utf8_valid(const void *data, size_t n);

/**
 * Makes bytes fit for a table: control characters become \n, \t or \xHH, bytes that are not UTF-8
 * become \xHH, and after `max_columns` characters an ellipsis follows. So a message can't move the
 * cursor of a terminal.
 * @param out gets a NUL-terminated text, cut to size (which is at least 8). @return out
 */
const char *text_for_cell(char *out, size_t size, const void *data, size_t n, size_t max_columns);
/** Characters of a NUL-terminated UTF-8 text (each counted as one column). */
size_t text_columns(const char *s);

#endif
