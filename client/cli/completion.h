#ifndef WEIR_CLI_COMPLETION_H
#define WEIR_CLI_COMPLETION_H
/* Completion scripts, from the table of commands. */
#include <stdbool.h>
#include <stdio.h>

/** Writes the script for "bash", "zsh" or "fish". @return false: another shell */
bool completion_write(FILE *f, const char *shell);

#endif
