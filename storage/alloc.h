#ifndef WEIR_STORAGE_ALLOC_H
#define WEIR_STORAGE_ALLOC_H
/*
 * Memory for the store's small bookkeeping. Running out of it aborts: there is nothing sensible to
 * roll back to. Sizes that a peer decides (record values, read results) do not come from here.
 */
#include <stdlib.h>

/* Zeroed memory for n things of size bytes; gives, caller frees with free(). Never NULL. */
__attribute__((returns_nonnull)) static inline void *must_calloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (p == NULL) {
        abort();
    }
    return p;
}

/* realloc to n things of size bytes; takes p, gives the result. Never NULL. */
__attribute__((returns_nonnull)) static inline void *must_realloc(void *p, size_t n, size_t size)
{
    if (size != 0 && n > (size_t)-1 / size) {
        abort();
    }
    size_t bytes = n * size;
    p = realloc(p, bytes > 0 ? bytes : 1);
    if (p == NULL) {
        abort();
    }
    return p;
}

#endif
