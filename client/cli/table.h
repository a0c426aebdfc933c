#ifndef WEIR_CLI_TABLE_H
#define WEIR_CLI_TABLE_H
/* A table for a terminal: cells are collected, then written with the columns aligned. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMNS_MAX = 10 };

struct table {
    size_t n_columns;
    const char *titles[TABLE_COLUMNS_MAX]; /**< borrowed */
    bool right[TABLE_COLUMNS_MAX];         /**< aligned to the right */
    char **cells;                          /**< row after row */
    size_t n_cells, cap_cells;
    bool failed; /**< out of memory: printed as far as it came */
};

/** Starts a table. A title that begins with '>' is aligned to the right (and shown without it). */
void table_init(struct table *t, const char *const *titles, size_t n_columns);
/** Adds a cell; after n_columns of them a new row begins. Copies. Shown as it is. */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Writes title and rows. */
void table_print(const struct table *t, FILE *f);
/** Frees. Safe on zeroed memory and twice. */
void table_fini(struct table *t);

#endif
