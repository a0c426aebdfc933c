#ifndef WEIR_CLI_COMMANDS_H
#define WEIR_CLI_COMMANDS_H
/*
 * The table of commands and options that drives parsing, help, completion and the man pages. Rows
 * live in commands.def and options.def; everything here is constant and safe from any thread.
 */
#include <stdbool.h>
#include <stddef.h>

enum option_id {
#define OPTION(id, long_name, short_name, arg, kind, choices, help) OPT_##id,
#include "client/cli/options.def"
#undef OPTION
    OPT_COUNT_ALL /* number of options; ends a command's list */
};

enum command_id {
#define COMMAND(id, name, words, min, max, options, summary, about, examples) CMD_##id,
#include "client/cli/commands.def"
#undef COMMAND
    CMD_COUNT_ALL
};

/** What an option's argument must look like; the parser checks it. */
enum option_kind {
    KIND_FLAG,     /**< no argument */
    KIND_TEXT,     /**< anything */
    KIND_COUNT,    /**< a whole number, 0 to 2^53 */
    KIND_SIZE,     /**< bytes: 100, 4k, 1MiB */
    KIND_DURATION, /**< 500ms, 10s, 5m, 1h; a bare number is seconds */
    KIND_RATE,     /**< N or N/s, above 0 */
    KIND_CHOICE,   /**< one of `choices` */
    KIND_PAIR,     /**< NAME=VALUE; may be repeated */
    KIND_FILE,     /**< a file name */
    KIND_TOPIC,    /**< a topic's name */
    KIND_GROUP     /**< a consumer group's name */
};

struct option {
    enum option_id id;
    const char *name; /**< without dashes */
    char letter;      /**< 0 = none */
    const char *arg;  /**< NULL for a flag */
    enum option_kind kind;
    const char *choices; /**< "a|b|c" for KIND_CHOICE */
    const char *help;    /**< a sentence */
};

struct command {
    enum command_id id;
    const char *name;  /**< "topic create": one or two words */
    const char *words; /**< "TOPIC"; "" = nothing may follow */
    size_t min_words, max_words;
    const enum option_id *options; /**< its own, ends with OPT_COUNT_ALL; global ones not listed */
    const char *summary;           /**< a phrase without full stop */
    const char *about;             /**< sentences */
    const char *examples;          /**< lines */
};

/** A command, or an option, by number. */
const struct command *command_at(enum command_id id);
const struct option *option_at(enum option_id id);

/** Options that every command takes; ends with OPT_COUNT_ALL. */
const enum option_id *global_options(void);

/** The command whose name is exactly these one or two words (second may be NULL); NULL if none. */
const struct command *command_find(const char *first, const char *second);
/** True when `word` is the first word of a two-word command ("topic"). */
bool command_is_group(const char *word);
/** The command or group nearest to what was typed; `group` NULL = first word. NULL: none is near.
 */
const char *command_nearest(const char *group, const char *word);

/** True when the command takes the option (its own or a global one). */
bool command_takes(const struct command *c, enum option_id id);
/** The option of c by long name or letter; c NULL = global ones only. NULL if none. */
const struct option *option_by_name(const struct command *c, const char *name, size_t n);
const struct option *option_by_letter(const struct command *c, char letter);
/** The long name nearest to what was typed; NULL: none is near. */
const char *option_suggest(const struct command *c, const char *name, size_t n);

/** Copies the first word of a command's name ("topic"); size includes the NUL. */
void command_first_word(const struct command *c, char *out, size_t size);
/** One line on what a first word is about: a group's, or the command's own summary. */
const char *command_group_summary(const char *word);

#endif
