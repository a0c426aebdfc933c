#include "client/cli/nearest.h"

#include <stdint.h>
#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][NEAREST_WORD_MAX + 1];
    if (n_a > NEAREST_WORD_MAX || n_b > NEAREST_WORD_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n_b; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *older = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(before[j] + 1, now[j - 1] + 1, before[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                older[j - 2] + 1 < now[j]) {
                now[j] = older[j - 2] + 1;
            }
        }
    }
    return rows[n_a % 3][n_b];
}

void nearest_init(struct nearest *n, const char *typed, size_t n_typed)
{
    *n = (struct nearest){.typed = typed, .n_typed = n_typed, .distance = SIZE_MAX};
}

void nearest_offer(struct nearest *n, const char *candidate)
{
    size_t len = strlen(candidate);
    size_t d = edit_distance(n->typed, n->n_typed, candidate, len);
    size_t longer = len > n->n_typed ? len : n->n_typed;
    size_t allowed = longer / 3 > 0 ? longer / 3 : 1;
    /* "part" for "partitions": a beginning is near, however much is missing */
    if (n->n_typed >= 2 && n->n_typed < len && memcmp(candidate, n->typed, n->n_typed) == 0) {
        d = 1;
        allowed = 1;
    }
    if (d <= allowed && d < n->distance) {
        n->distance = d;
        n->best = candidate;
    }
}
