#include "client/cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/text.h"

void table_init(struct table *t, const char *const *titles, size_t n_columns)
{
    *t = (struct table){.n_columns = n_columns};
    for (size_t i = 0; i < n_columns; i++) {
        t->right[i] = titles[i][0] == '>';
        t->titles[i] = titles[i] + t->right[i];
    }
}

void table_cell(struct table *t, const char *text)
{
    if (t->n_cells == t->cap_cells) {
        size_t cap = t->cap_cells ? t->cap_cells * 2 : 64;
        char **cells = reallocarray(t->cells, cap, sizeof *cells);
        if (!cells) {
            t->failed = true;
            return;
        }
        t->cells = cells;
        t->cap_cells = cap;
    }
    char *copy = strdup(text);
    if (!copy) {
        t->failed = true;
        return;
    }
    t->cells[t->n_cells++] = copy;
}

void table_cellf(struct table *t, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    table_cell(t, text);
}

static void print_cell(const struct table *t, FILE *f, size_t column, const char *text,
                       size_t width)
{
    size_t pad = width - text_columns(text);
    if (column > 0) {
        fputs("  ", f);
    }
    if (t->right[column]) {
        fprintf(f, "%*s%s", (int)pad, "", text);
    } else {
        /* no blanks at the end of a line */
        fprintf(f, "%s%*s", text, column + 1 < t->n_columns ? (int)pad : 0, "");
    }
    if (column + 1 == t->n_columns) {
        fputc('\n', f);
    }
}

void table_print(const struct table *t, FILE *f)
{
    size_t width[TABLE_COLUMNS_MAX];
    for (size_t c = 0; c < t->n_columns; c++) {
        width[c] = text_columns(t->titles[c]);
    }
    for (size_t i = 0; i < t->n_cells && t->n_columns > 0; i++) {
        size_t n = text_columns(t->cells[i]);
        size_t c = i % t->n_columns;
        width[c] = n > width[c] ? n : width[c];
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        print_cell(t, f, c, t->titles[c], width[c]);
    }
    for (size_t i = 0; i < t->n_cells; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-*): a table without columns has no cells */
        size_t c = i % t->n_columns;
        print_cell(t, f, c, t->cells[i], width[c]);
    }
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->n_cells; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    t->cells = NULL;
    t->n_cells = t->cap_cells = 0;
}
