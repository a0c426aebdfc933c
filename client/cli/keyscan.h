#ifndef WEIR_CLI_KEYSCAN_H
#define WEIR_CLI_KEYSCAN_H
/*
 * Finds the value of one top-level field in a line that holds a JSON object. Reads only as far as
 * needed: what follows the field is not checked. When a name comes twice the first one counts.
 */
#include <stddef.h>

enum keyscan_result {
    KEYSCAN_FOUND,  /**< a string (unescaped, UTF-8), or a number, true or false as written */
    KEYSCAN_ABSENT, /**< no such field, or null */
    KEYSCAN_NESTED, /**< the value is an object or an array */
    KEYSCAN_BAD,    /**< not a JSON object, as far as it was read */
    KEYSCAN_NOMEM
};

struct keyscan {
    const char *field; /**< borrowed */
    size_t n_field;
    char *scratch; /**< for texts with escapes */
    size_t cap_scratch;
};

/** @param field NUL-terminated; kept by the caller as long as k is used */
void keyscan_init(struct keyscan *k, const char *field);
/** @param value[out] a view into the line or into k, valid until the next call; untouched unless
 * FOUND */
enum keyscan_result keyscan_find(struct keyscan *k, const void *line, size_t n, const char **value,
                                 size_t *n_value);
/** Frees. Safe on zeroed memory and twice. */
void keyscan_fini(struct keyscan *k);

#endif
