#ifndef WEIR_CLI_FORMAT_H
#define WEIR_CLI_FORMAT_H
/* Format strings of `weir consume`: "%p %o %k %v\n". The letters are listed in sections.c. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <weir/weir.h>

struct format_piece {
    char letter;    /**< 0 = the bytes below, as they are */
    size_t from, n; /**< into literals */
};
struct format {
    struct format_piece *pieces;
    size_t n_pieces;
    char *literals;
};

/**
 * Reads a format.
 * @param error[out] what is wrong, one line
 * @return false: wrong or out of memory. format_fini in both cases.
 */
bool format_init(struct format *f, const char *text, char *error, size_t error_size);
/** Writes a message. Errors show in ferror(out). */
void format_write(const struct format *f, FILE *out, const weir_message *m);
/** Frees. Safe on zeroed memory and twice. */
void format_fini(struct format *f);

#endif
