#ifndef WEIR_CLI_RUN_H
#define WEIR_CLI_RUN_H
/* The function behind each row of commands.def. Each prints its own failures; returns an exit code.
 */
#include "client/cli/args.h"

#define COMMAND(id, name, words, min, max, options, summary, about, examples) \
    int run_##id(const struct args *a);
#include "client/cli/commands.def"
#undef COMMAND

#endif
