#include "client/cli/spans.h"

#include <stdlib.h>
#include <string.h>

#include "client/cli/values.h"

enum { NUMBER_SIZE = 24 };

/* Reads digits up to one of `stops` (NUL counts as one). *s stands on the stop afterwards. */
static bool part(const char **s, const char *stops, int64_t *out)
{
    char digits[NUMBER_SIZE];
    size_t n = strcspn(*s, stops);
    if (n == 0 || n >= sizeof digits) {
        return false;
    }
    memcpy(digits, *s, n);
    digits[n] = 0;
    *s += n;
    return value_count(digits, out);
}

bool span_parse(const char *s, weir_span *out)
{
    int64_t partition, first, last;
    if (!part(&s, ":", &partition) || partition > INT32_MAX || *s++ != ':' ||
        !part(&s, "-", &first)) {
        return false;
    }
    last = first;
    if (*s == '-') {
        s++;
        if (!part(&s, "", &last) || last < first) {
            return false;
        }
    }
    *out = (weir_span){(int32_t)partition, first, last};
    return true;
}

bool spans_add(struct span_list *l, int32_t partition, int64_t first, int64_t last)
{
    weir_span *end = l->n ? &l->v[l->n - 1] : NULL;
    if (end && end->partition == partition && end->last + 1 == first) {
        end->last = last;
        return true;
    }
    if (!l->v || l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        weir_span *more = reallocarray(l->v, cap, sizeof *more);
        if (!more) {
            return false;
        }
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n++] = (weir_span){partition, first, last};
    return true;
}

bool spans_have(const struct span_list *l, int32_t partition, int64_t offset)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].partition == partition && l->v[i].first <= offset && offset <= l->v[i].last) {
            return true;
        }
    }
    return false;
}

int64_t spans_messages(const struct span_list *l)
{
    int64_t sum = 0;
    for (size_t i = 0; i < l->n; i++) {
        sum += l->v[i].last - l->v[i].first + 1;
    }
    return sum;
}

void spans_fini(struct span_list *l)
{
    free(l->v);
    *l = (struct span_list){0};
}
