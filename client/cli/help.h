#ifndef WEIR_CLI_HELP_H
#define WEIR_CLI_HELP_H
/* Help texts for a terminal, from the table of commands. */
#include <stdio.h>

#include "client/cli/commands.h"

/** All commands, one line each. */
void help_overview(FILE *f);
/** The commands of a group ("topic"). */
void help_group(FILE *f, const char *group);
/** One command. @param config_keys names for its --config (of topics or of groups),
 * NULL-terminated; NULL = not shown. */
void help_command(FILE *f, const struct command *c, const char *const *config_keys);
/** "weir topic create NAME [options]". */
void help_usage(FILE *f, const struct command *c);

/** "-o, --output FORMAT": how an option is written. @return out */
const char *help_option_term(const struct option *o, char *out, size_t size);

#endif
