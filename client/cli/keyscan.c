/*
 * Happy path: a cursor walks "{ name : value , name : value ...". Names and string values without
 * escapes are compared in place; others are unescaped into the scratch buffer first.
 * What can fail: anything that JSON does not allow, up to the field looked for. Values that are
 * skipped are checked for matching brackets and well-formed strings, not for their inner commas.
 * Nesting is followed with a bit per level, to NESTING_MAX levels; no recursion.
 */
#include "client/cli/keyscan.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NESTING_MAX = 1024 };

struct cursor {
    const char *p, *end;
};

void keyscan_init(struct keyscan *k, const char *field)
{
    *k = (struct keyscan){.field = field, .n_field = strlen(field)};
}

void keyscan_fini(struct keyscan *k)
{
    free(k->scratch);
    k->scratch = NULL;
    k->cap_scratch = 0;
}

static void blanks(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r')) {
        c->p++;
    }
}

static bool take(struct cursor *c, char want)
{
    blanks(c);
    if (c->p < c->end && *c->p == want) {
        c->p++;
        return true;
    }
    return false;
}

/* A string, the cursor on its quote. Gives the text between the quotes. */
static bool string_raw(struct cursor *c, const char **s, size_t *n, bool *escapes)
{
    if (!take(c, '"')) {
        return false;
    }
    const char *from = c->p;
    *escapes = false;
    for (; c->p < c->end && *c->p != '"'; c->p++) {
        if ((unsigned char)*c->p < 0x20) {
            return false;
        }
        if (*c->p == '\\') {
            *escapes = true;
            c->p++;
            if (c->p == c->end) {
                return false;
            }
        }
    }
    if (c->p == c->end) {
        return false;
    }
    *s = from;
    *n = (size_t)(c->p - from);
    c->p++;
    return true;
}

static bool hex4(const char *s, const char *end, uint32_t *out)
{
    uint32_t v = 0;
    if (end - s < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        char ch = s[i];
        uint32_t d;
        if (ch >= '0' && ch <= '9') {
            d = (uint32_t)(ch - '0');
        } else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f') {
            d = (uint32_t)((ch | 0x20) - 'a') + 10;
        } else {
            return false;
        }
        v = v << 4 | d;
    }
    *out = v;
    return true;
}

/* The code point of "uXXXX" or "uD8XXX\uDCXX" at *s (after the backslash). */
static bool unicode(const char **s, const char *end, uint32_t *out)
{
    uint32_t hi, lo;
    if (!hex4(*s + 1, end, &hi) || (hi >= 0xDC00 && hi <= 0xDFFF)) {
        return false;
    }
    *s += 5;
    if (hi < 0xD800 || hi > 0xDBFF) {
        *out = hi;
        return true;
    }
    if (end - *s < 6 || (*s)[0] != '\\' || (*s)[1] != 'u' || !hex4(*s + 2, end, &lo) ||
        lo < 0xDC00 || lo > 0xDFFF) {
        return false;
    }
    *s += 6;
    *out = 0x10000 + ((hi - 0xD800) << 10) + (lo - 0xDC00);
    return true;
}

static char *utf8_put(char *d, uint32_t v)
{
    if (v < 0x80) {
        *d++ = (char)v;
    } else if (v < 0x800) {
        *d++ = (char)(0xC0 | v >> 6);
        *d++ = (char)(0x80 | (v & 63));
    } else if (v < 0x10000) {
        *d++ = (char)(0xE0 | v >> 12);
        *d++ = (char)(0x80 | (v >> 6 & 63));
        *d++ = (char)(0x80 | (v & 63));
    } else {
        *d++ = (char)(0xF0 | v >> 18);
        *d++ = (char)(0x80 | (v >> 12 & 63));
        *d++ = (char)(0x80 | (v >> 6 & 63));
        *d++ = (char)(0x80 | (v & 63));
    }
    return d;
}

/* Replaces escapes; the result is never longer than the source. */
static enum keyscan_result unescape(struct keyscan *k, const char **s, size_t *n)
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    if (k->cap_scratch < *n) {
        char *more = realloc(k->scratch, *n);
        if (!more) {
            return KEYSCAN_NOMEM;
        }
        k->scratch = more;
        k->cap_scratch = *n;
    }
    char *d = k->scratch;
    for (const char *p = *s, *end = *s + *n; p < end;) {
        if (*p != '\\') {
            *d++ = *p++;
            continue;
        }
        p++;
        const char *known = memchr(plain, *p, sizeof plain - 1);
        uint32_t v;
        if (known) {
            *d++ = meant[known - plain];
            p++;
        } else if (*p == 'u' && unicode(&p, end, &v)) {
            d = utf8_put(d, v);
        } else {
            return KEYSCAN_BAD;
        }
    }
    *s = k->scratch;
    *n = (size_t)(d - k->scratch);
    return KEYSCAN_FOUND;
}

static bool digit_run(struct cursor *c)
{
    const char *from = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        c->p++;
    }
    return c->p > from;
}

static bool number(struct cursor *c)
{
    if (c->p < c->end && *c->p == '-') {
        c->p++;
    }
    bool zero = c->p < c->end && *c->p == '0';
    const char *from = c->p;
    if (!digit_run(c) || (zero && c->p - from > 1)) {
        return false;
    }
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!digit_run(c)) {
            return false;
        }
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-')) {
            c->p++;
        }
        return digit_run(c);
    }
    return true;
}

/* A number, true, false or null. */
static bool scalar(struct cursor *c, const char **s, size_t *n)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *from = c->p;
    bool known = false;
    for (size_t i = 0; i < 3 && !known; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(c->end - c->p) >= len && memcmp(c->p, words[i], len) == 0) {
            c->p += len;
            known = true;
        }
    }
    if (!known && !number(c)) {
        return false;
    }
    *s = from;
    *n = (size_t)(c->p - from);
    /* "truex" and "12abc" are neither */
    return c->p == c->end || strchr(" \t\r\n,}]", *c->p) != NULL;
}

/* An object or array, the cursor on its bracket. */
static bool skip_nested(struct cursor *c)
{
    uint8_t curly[NESTING_MAX / 8] = {0};
    size_t depth = 0;
    const char *s;
    size_t n;
    bool escapes;
    do {
        if (c->p == c->end) {
            return false;
        }
        if (*c->p == '"') {
            if (!string_raw(c, &s, &n, &escapes)) {
                return false;
            }
            continue;
        }
        uint8_t bit = (uint8_t)(1u << (depth % 8));
        if (*c->p == '{' || *c->p == '[') {
            if (depth == NESTING_MAX) {
                return false;
            }
            curly[depth / 8] =
                (uint8_t)(*c->p == '{' ? curly[depth / 8] | bit : curly[depth / 8] & ~bit);
            depth++;
        } else if (*c->p == '}' || *c->p == ']') {
            depth--;
            bool was_curly = curly[depth / 8] >> (depth % 8) & 1;
            if (was_curly != (*c->p == '}')) {
                return false;
            }
        }
        c->p++;
    } while (depth > 0);
    return true;
}

/* One value, wanted or only skipped. */
static enum keyscan_result value_at(struct keyscan *k, struct cursor *c, bool wanted,
                                    const char **value, size_t *n_value)
{
    const char *s;
    size_t n;
    bool escapes;
    blanks(c);
    if (c->p == c->end) {
        return KEYSCAN_BAD;
    }
    if (*c->p == '{' || *c->p == '[') {
        return wanted ? KEYSCAN_NESTED : skip_nested(c) ? KEYSCAN_ABSENT : KEYSCAN_BAD;
    }
    if (*c->p == '"') {
        if (!string_raw(c, &s, &n, &escapes)) {
            return KEYSCAN_BAD;
        }
        enum keyscan_result r = wanted && escapes ? unescape(k, &s, &n) : KEYSCAN_FOUND;
        if (r != KEYSCAN_FOUND) {
            return r;
        }
    } else if (!scalar(c, &s, &n)) {
        return KEYSCAN_BAD;
    } else if (*s == 'n') {
        return KEYSCAN_ABSENT;
    }
    if (wanted) {
        *value = s;
        *n_value = n;
        return KEYSCAN_FOUND;
    }
    return KEYSCAN_ABSENT;
}

enum keyscan_result keyscan_find(struct keyscan *k, const void *line, size_t n, const char **value,
                                 size_t *n_value)
{
    struct cursor c = {line, (const char *)line + n};
    if (!take(&c, '{')) {
        return KEYSCAN_BAD;
    }
    if (take(&c, '}')) {
        return KEYSCAN_ABSENT;
    }
    do {
        const char *name;
        size_t n_name;
        bool escapes;
        if (!string_raw(&c, &name, &n_name, &escapes)) {
            return KEYSCAN_BAD;
        }
        enum keyscan_result r = escapes ? unescape(k, &name, &n_name) : KEYSCAN_FOUND;
        if (r != KEYSCAN_FOUND) {
            return r;
        }
        bool wanted = n_name == k->n_field && memcmp(name, k->field, n_name) == 0;
        if (!take(&c, ':')) {
            return KEYSCAN_BAD;
        }
        r = value_at(k, &c, wanted, value, n_value);
        if (wanted || r != KEYSCAN_ABSENT) {
            return r;
        }
    } while (take(&c, ','));
    return take(&c, '}') ? KEYSCAN_ABSENT : KEYSCAN_BAD;
}
