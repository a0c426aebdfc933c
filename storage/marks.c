#include <string.h>

#include "storage/alloc.h"
#include "storage/commit.h"

enum { MARKS_PAGE = 256 };

void marks_set(struct marks *m, uint32_t partition, uint64_t next)
{
    size_t page = partition / MARKS_PAGE;
    if (page >= m->n_pages) {
        if (next == 0) {
            return;
        }
        size_t n = m->n_pages * 2 > page + 1 ? m->n_pages * 2 : page + 1;
        m->pages = must_realloc(m->pages, n, sizeof(uint64_t *));
        m->used = must_realloc(m->used, n, sizeof(uint32_t));
        for (size_t i = m->n_pages; i < n; i++) {
            m->pages[i] = NULL;
            m->used[i] = 0;
        }
        m->n_pages = n;
    }
    if (m->pages[page] == NULL) {
        if (next == 0) {
            return;
        }
        m->pages[page] = must_calloc(MARKS_PAGE, sizeof(uint64_t));
    }
    uint64_t *slot = &m->pages[page][partition % MARKS_PAGE];
    if ((*slot == 0) != (next == 0)) {
        m->used[page] += next != 0 ? 1U : UINT32_MAX; /* wraps: minus one */
        m->n += next != 0 ? 1U : SIZE_MAX;
    }
    *slot = next;
    if (m->used[page] == 0) {
        free(m->pages[page]);
        m->pages[page] = NULL;
    }
}

struct floor_mark *marks_copy(const struct marks *m, size_t *n)
{
    struct floor_mark *out = must_calloc(m->n, sizeof(*out));
    *n = 0;
    for (size_t page = 0; page < m->n_pages; page++) {
        for (uint32_t i = 0; m->pages[page] != NULL && i < MARKS_PAGE; i++) {
            if (m->pages[page][i] != 0) {
                out[(*n)++] =
                    (struct floor_mark){(uint32_t)(page * MARKS_PAGE + i), m->pages[page][i]};
            }
        }
    }
    return out;
}

void marks_fini(struct marks *m)
{
    for (size_t i = 0; i < m->n_pages; i++) {
        free(m->pages[i]);
    }
    free(m->pages);
    free(m->used);
    *m = (struct marks){0};
}
