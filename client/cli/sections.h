#ifndef WEIR_CLI_SECTIONS_H
#define WEIR_CLI_SECTIONS_H
/* Texts that several commands share; help and man pages show them where they apply. */
#include "client/cli/commands.h"

struct section_row {
    const char *term, *text; /**< term NULL ends the rows */
};
struct section {
    const char *title; /**< "TIMES" */
    const char *intro; /**< sentences, or "" */
    const struct section_row *rows;
};

/** The i-th section that belongs to a command (NULL: to weir itself); NULL at the end. */
const struct section *section_of(const struct command *c, size_t i);

#endif
