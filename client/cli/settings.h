#ifndef WEIR_CLI_SETTINGS_H
#define WEIR_CLI_SETTINGS_H
/* --config KEY=VALUE of topics and groups. */
#include "client/cli/args.h"

enum { SETTINGS_SIZE = 2048 };

/**
 * Joins all KEY=VALUE of an option as the library wants them, behind what stands in `out` already.
 * Prints what is wrong; of an unknown key the nearest known one is named.
 * @param out NUL-terminated, SETTINGS_SIZE bytes; @param keys all known ones, NULL ends
 * @return exit code
 */
int settings_join(const struct args *a, enum option_id id, const char *const *keys, char *out);

#endif
