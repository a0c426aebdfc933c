#ifndef WEIR_BROKER_CORE_MEM_H
#define WEIR_BROKER_CORE_MEM_H
/*
 * Memory for the core's small bookkeeping. Running out of it aborts: there is nothing sensible to
 * roll back to. Sizes that a peer decides (batches, coalesced pieces) do not come from here.
 */
#include <stdlib.h>
#include <string.h>

/* Zeroed memory for n things of size bytes; gives, caller frees with free(). Never NULL. */
static inline void *core_calloc(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);
    if (p == NULL) {
        abort();
    }
    return p;
}

/* realloc to n things of size bytes; takes p, gives the result. Never NULL. */
static inline void *core_realloc(void *p, size_t n, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        abort();
    }
    p = realloc(p, bytes > 0 ? bytes : 1);
    if (p == NULL) {
        abort();
    }
    return p;
}

/* A copy of a string; gives, caller frees with free(). Never NULL. */
static inline char *core_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    return (char *)memcpy(core_calloc(n, 1), s, n);
}

#endif
