#ifndef WEIR_TESTS_UNIT_CLI_MEMORY_FILE_H
#define WEIR_TESTS_UNIT_CLI_MEMORY_FILE_H
/* A FILE whose text a test can look at. */
#include <stdio.h>
#include <stdlib.h>

struct memory_file {
    FILE *f;
    char *text;
    size_t n;
};

static inline void memory_file_open(struct memory_file *m)
{
    m->text = NULL;
    m->n = 0;
    m->f = open_memstream(&m->text, &m->n);
    assert_non_null(m->f);
}

/* Afterwards text and n are valid, until memory_file_free. */
static inline void memory_file_end(struct memory_file *m)
{
    assert_int_equal(fclose(m->f), 0);
}

static inline void memory_file_free(struct memory_file *m)
{
    free(m->text);
}

#endif
