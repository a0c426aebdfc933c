#include "proto/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *werr_name(enum werr code)
{
    switch (code) {
    case WERR_OK:
        return "OK";
#define X(name, num, cls, text) \
    case WERR_##name:           \
        return #name;
        WERR_TABLE(X)
#undef X
    default:
        return "UNKNOWN_CODE";
    }
}

const char *werr_text(enum werr code)
{
    switch (code) {
    case WERR_OK:
        return "ok";
#define X(name, num, cls, text) \
    case WERR_##name:           \
        return text;
        WERR_TABLE(X)
#undef X
    default:
        return "unknown error code";
    }
}

enum werr_class werr_class(enum werr code)
{
    switch (code) {
    case WERR_OK:
        return WCLASS_NEVER;
#define X(name, num, cls, text) \
    case WERR_##name:           \
        return WCLASS_##cls;
        WERR_TABLE(X)
#undef X
    default:
        return WCLASS_UNKNOWN;
    }
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
