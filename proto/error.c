#include "proto/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
    const char *name, *text;
    enum werr_class cls;
};

/* Indexed by code; gaps have no name. */
static const struct row rows[] = {[WERR_OK] = {"OK", "ok", WCLASS_NEVER},
#define X(name, num, cls, text) [num] = {#name, text, WCLASS_##cls},
                                  WERR_TABLE(X)
#undef X
};

static const struct row *find(enum werr code)
{
    static const struct row unknown = {"UNKNOWN_CODE", "unknown error code", WCLASS_UNKNOWN};
    size_t i = (size_t)code;

    return i < sizeof rows / sizeof rows[0] && rows[i].name != NULL ? &rows[i] : &unknown;
}

const char *werr_name(enum werr code)
{
    return find(code)->name;
}

const char *werr_text(enum werr code)
{
    return find(code)->text;
}

enum werr_class werr_class(enum werr code)
{
    return find(code)->cls;
}

enum werr werror_set(struct werror *e, enum werr code, const char *fmt, ...)
{
    if (e != NULL) {
        va_list ap;
        *e = (struct werror){.code = code};
        va_start(ap, fmt);
        vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

enum werr werror_wrap(struct werror *e, const char *fmt, ...)
{
    char text[sizeof e->text];
    va_list ap;
    int n;

    if (e == NULL) {
        return WERR_INTERNAL;
    }
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n + 2 < sizeof text) {
        snprintf(text + n, sizeof text - (size_t)n, ": %.*s", (int)(sizeof text - (size_t)n - 3),
                 e->text);
    }
    memcpy(e->text, text, sizeof text);
    return e->code;
}
