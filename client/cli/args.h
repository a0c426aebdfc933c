#ifndef WEIR_CLI_ARGS_H
#define WEIR_CLI_ARGS_H
/*
 * The command line, read with the table of commands.h. Everything that can be wrong with an option
 * is found here, so a command that runs has arguments of the right form.
 *
 * Options may stand anywhere after the command, global ones before it too. "--" ends them. Forms:
 * --name VALUE, --name=VALUE, -n VALUE, -nVALUE, -vy (flags joined). An option given twice counts
 * the last time, except KIND_PAIR, which collects.
 */
#include <stdint.h>

#include "client/cli/commands.h"

struct arg_value {
    enum option_id id;
    const char *text; /**< borrowed from argv; "" for a flag */
};

struct args {
    const struct command *command; /**< NULL: none was given */
    char group[32];                /**< first word of a group without its second, else "" */
    struct arg_value *given;
    size_t n_given;
    const char **words;
    size_t n_words;
    char error[256]; /**< one line; "" when all is well */
};

/**
 * Reads a command line. Keeps pointers into argv.
 * @return 0, or -1: a->error says what is wrong. args_fini in both cases.
 * A missing command is no error here (command NULL), nor are missing words when --help is given.
 */
int args_parse(struct args *a, int argc, char *const *argv);
/** Frees. Safe on zeroed memory and twice. */
void args_fini(struct args *a);

bool args_has(const struct args *a, enum option_id id);
/** The (last) text of an option; `fallback` when it was not given. */
const char *args_text(const struct args *a, enum option_id id, const char *fallback);
/** The i-th text of an option that collects; NULL at the end. */
const char *args_nth(const struct args *a, enum option_id id, size_t i);
/** KIND_COUNT and KIND_SIZE as number, KIND_DURATION as ms; `fallback` when not given. */
int64_t args_number(const struct args *a, enum option_id id, int64_t fallback);
/** KIND_RATE, per second; 0 when not given. */
double args_rate(const struct args *a, enum option_id id);

#endif
