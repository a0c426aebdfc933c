#include "client/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void err_set_done(weir_error *e)
{
    e->code = WEIR_OK;
    e->outcome = WEIR_DONE;
    e->retry_after_ms = 0;
    e->fenced = 0;
    e->duplicate = 0;
    memset(e->reserved, 0, sizeof e->reserved);
    memcpy(e->text, "done", 5);
}

weir_error err_done(void)
{
    weir_error e;

    memset(&e, 0, sizeof e);
    err_set_done(&e);
    return e;
}

weir_outcome err_outcome(enum werr code, enum werr_class cls)
{
    if (code == WERR_OK || code == WERR_DUP_UNKNOWN_OFFSET) {
        return WEIR_DONE;
    }
    if (code == WERR_UNKNOWN_TOPIC) {
        return WEIR_NOT_DONE; /* the library has looked again already */
    }
    switch (cls) {
    case WCLASS_NEVER:
    case WCLASS_FENCED:
        return WEIR_NOT_DONE;
    case WCLASS_RETRY:
    case WCLASS_REFRESH:
        return WEIR_RETRY;
    case WCLASS_UNKNOWN:
        break;
    }
    return WEIR_UNKNOWN;
}

static weir_error make(enum werr code, weir_outcome o, const char *fmt, va_list ap)
    WEIR_PRINTF(3, 0);

static weir_error make(enum werr code, weir_outcome o, const char *fmt, va_list ap)
{
    weir_error e;

    memset(&e, 0, sizeof e);
    e.code = (weir_code)code;
    e.outcome = o;
    vsnprintf(e.text, sizeof e.text, fmt, ap);
    for (char *c = e.text; *c; c++) { /* one line, whatever a server sends */
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = ' ';
        }
    }
    return e;
}

weir_error err_make(enum werr code, const char *fmt, ...)
{
    weir_error e;
    va_list ap;

    va_start(ap, fmt);
    e = make(code, err_outcome(code, werr_class(code)), fmt, ap);
    va_end(ap);
    return e;
}

weir_error err_make_as(enum werr code, weir_outcome o, const char *fmt, ...)
{
    weir_error e;
    va_list ap;

    va_start(ap, fmt);
    e = make(code, o, fmt, ap);
    va_end(ap);
    return e;
}

weir_error err_from(const struct werror *we, enum werr_class cls)
{
    weir_error e;

    if (we->code == WERR_OK) {
        return err_done();
    }
    e = err_make_as(we->code, err_outcome(we->code, cls), "%s",
                    we->text[0] ? we->text : werr_text(we->code));
    if (e.outcome == WEIR_RETRY) {
        e.retry_after_ms = we->retry_after_ms;
    }
    if (we->code == WERR_DUP_UNKNOWN_OFFSET) {
        err_set_done(&e); /* an earlier attempt did it (SETTLED: code 25 is done) */
        e.duplicate = 1;
    }
    e.fenced = e.outcome == WEIR_NOT_DONE && cls == WCLASS_FENCED;
    return e;
}

weir_error err_from_local(const struct werror *we)
{
    return err_from(we, werr_class(we->code));
}

void err_wrap(weir_error *e, const char *fmt, ...)
{
    char prefix[128];
    size_t n, old = strlen(e->text), room;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix - 2, fmt, ap);
    va_end(ap);
    n = strlen(prefix);
    prefix[n++] = ':';
    prefix[n++] = ' ';
    room = sizeof e->text - 1 - n; /* the text is cut to fit */
    old = old < room ? old : room;
    memmove(e->text + n, e->text, old);
    memcpy(e->text, prefix, n);
    e->text[n + old] = 0;
}
