#include "client/cli/filter.h"

#include <string.h>

const char *filter_parse(const char *pair, struct filter *out)
{
    static const char header[] = "header:";
    size_t n = strcspn(pair, "=");
    if (!pair[n]) {
        return "is not of the form WHAT=TEXT";
    }
    out->text = pair + n + 1;
    out->name[0] = 0;
    if (n == 6 && memcmp(pair, "reason", n) == 0) {
        out->kind = FILTER_REASON;
        return NULL;
    }
    if (n == 3 && memcmp(pair, "key", n) == 0) {
        out->kind = FILTER_KEY;
        return NULL;
    }
    if (n < sizeof header || memcmp(pair, header, sizeof header - 1) != 0) {
        return "is none of reason=TEXT, key=TEXT, header:NAME=TEXT";
    }
    n -= sizeof header - 1;
    if (n >= sizeof out->name) {
        return "has too long a header name";
    }
    out->kind = FILTER_HEADER;
    memcpy(out->name, pair + sizeof header - 1, n);
    out->name[n] = 0;
    return NULL;
}

static bool equal(weir_bytes b, const char *text)
{
    size_t n = strlen(text);
    return b.data && b.size == n && memcmp(b.data, text, n) == 0;
}

bool filter_fits(const struct filter *f, const weir_message *m)
{
    weir_bytes reason;
    switch (f->kind) {
    case FILTER_KEY:
        return equal(m->key, f->text);
    case FILTER_HEADER:
        return equal(weir_message_header(m, f->name), f->text);
    case FILTER_REASON:
        break;
    }
    reason = weir_message_header(m, HEADER_REASON);
    return reason.data && memmem(reason.data, reason.size, f->text, strlen(f->text));
}
