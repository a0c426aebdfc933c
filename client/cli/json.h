#ifndef WEIR_CLI_JSON_H
#define WEIR_CLI_JSON_H
/*
 * Writes JSON to a FILE. Commas and indentation come by themselves; the caller opens and closes.
 * Any bytes can be written: see json_bytes. Errors of the FILE show in ferror().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_DEPTH_MAX = 8 };

struct json {
    FILE *f;     /**< kept */
    bool pretty; /**< one member a line */
    unsigned depth;
    bool filled[JSON_DEPTH_MAX + 1]; /**< this level has a member already */
};

void json_init(struct json *j, FILE *f, bool pretty);
/** name NULL inside an array or at the top. */
void json_open(struct json *j, const char *name, char bracket /* '{' or '[' */);
void json_close(struct json *j, char bracket /* '}' or ']' */);
void json_int(struct json *j, const char *name, int64_t v);
void json_uint(struct json *j, const char *name, uint64_t v);
/** A number with up to six significant digits; null when it is not finite. */
void json_double(struct json *j, const char *name, double v);
void json_bool(struct json *j, const char *name, bool v);
void json_null(struct json *j, const char *name);
/** A NUL-terminated text; what is not UTF-8 in it becomes U+FFFD. NULL gives null. */
void json_text(struct json *j, const char *name, const char *s);
/** Bytes: NULL gives null; valid UTF-8 gives a string under `name`; else base64 under
 * `name_base64`.
 */
void json_bytes(struct json *j, const char *name, const void *data, size_t n);
/** A text that is a decimal number becomes one, any other a string. */
void json_number_or_text(struct json *j, const char *name, const char *s);
/** Ends a document with a newline. */
void json_end(struct json *j);

#endif
