#ifndef WEIR_CLI_MAN_H
#define WEIR_CLI_MAN_H
/* Man pages (troff, macro package man), from the table of commands. */
#include <stdio.h>

#include "client/cli/commands.h"

/** Name of the i-th page without section: "weir", "weir-topic", ... NULL at the end. */
const char *man_page_name(size_t i);
/** Writes one page. @return false: no such page. @param config_keys as help_command */
bool man_page_write(FILE *f, const char *page, const char *version, const char *const *config_keys);

#endif
