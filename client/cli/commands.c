#include "client/cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "client/cli/nearest.h"

static const struct option options[] = {
#define OPTION(id_, long_name, short_name, arg_, kind_, choices_, help_) \
    {.id = OPT_##id_,                                                    \
     .name = (long_name),                                                \
     .letter = (short_name),                                             \
     .arg = (arg_),                                                      \
     .kind = KIND_##kind_,                                               \
     .choices = (choices_),                                              \
     .help = (help_)},
#include "client/cli/options.def"
#undef OPTION
};
_Static_assert(sizeof options / sizeof options[0] == OPT_COUNT_ALL, "one row for each option");

/* A list of option names becomes a list of ids. Up to 12 of them. */
#define IDS_1(a) OPT_##a
#define IDS_2(a, ...) OPT_##a, IDS_1(__VA_ARGS__)
#define IDS_3(a, ...) OPT_##a, IDS_2(__VA_ARGS__)
#define IDS_4(a, ...) OPT_##a, IDS_3(__VA_ARGS__)
#define IDS_5(a, ...) OPT_##a, IDS_4(__VA_ARGS__)
#define IDS_6(a, ...) OPT_##a, IDS_5(__VA_ARGS__)
#define IDS_7(a, ...) OPT_##a, IDS_6(__VA_ARGS__)
#define IDS_8(a, ...) OPT_##a, IDS_7(__VA_ARGS__)
#define IDS_9(a, ...) OPT_##a, IDS_8(__VA_ARGS__)
#define IDS_10(a, ...) OPT_##a, IDS_9(__VA_ARGS__)
#define IDS_11(a, ...) OPT_##a, IDS_10(__VA_ARGS__)
#define IDS_12(a, ...) OPT_##a, IDS_11(__VA_ARGS__)
#define IDS_PICK(a, b, c, d, e, f, g, h, i, j, k, l, name, ...) name
#define IDS(...)                                                                                   \
    IDS_PICK(__VA_ARGS__, IDS_12, IDS_11, IDS_10, IDS_9, IDS_8, IDS_7, IDS_6, IDS_5, IDS_4, IDS_3, \
             IDS_2, IDS_1, 0)                                                                      \
    (__VA_ARGS__)

#define OPTIONS(...) IDS(__VA_ARGS__),
#define OPTIONS_NONE
#define COMMAND(id, name, words, min, max, options, summary, about, examples) \
    static const enum option_id options_of_##id[] = {options OPT_COUNT_ALL};
#include "client/cli/commands.def"
#undef COMMAND

static const struct command commands[] = {
#define COMMAND(id_, name_, words_, min, max, options_, summary_, about_, examples_) \
    {.id = CMD_##id_,                                                                \
     .name = (name_),                                                                \
     .words = (words_),                                                              \
     .min_words = (min),                                                             \
     .max_words = (max),                                                             \
     .options = options_of_##id_,                                                    \
     .summary = (summary_),                                                          \
     .about = (about_),                                                              \
     .examples = (examples_)},
#include "client/cli/commands.def"
#undef COMMAND
};

static const struct {
    const char *word, *summary;
} groups[] = {
    {"topic", "make, show, change and delete topics"},
    {"group", "watch and steer consumer groups"},
    {"dlq", "look at dead letters, give them back or up"},
    {"schedule", "look at delayed messages, cancel them"},
    {"server", "ask the server about itself"},
    {"backup", "copy the store of a running server, check copies"},
    {"bench", "measure rates and latencies"},
};

const struct command *command_at(enum command_id id)
{
    return &commands[id];
}

const struct option *option_at(enum option_id id)
{
    return &options[id];
}

const enum option_id *global_options(void)
{
    static const enum option_id global[] = {OPT_SERVER,  OPT_CLIENT, OPT_TIMEOUT,
                                            OPT_VERBOSE, OPT_HELP,   OPT_COUNT_ALL};
    return global;
}

void command_first_word(const struct command *c, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)strcspn(c->name, " "), c->name);
}

bool command_is_group(const char *word)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (strcmp(groups[i].word, word) == 0) {
            return true;
        }
    }
    return false;
}

const char *command_group_summary(const char *word)
{
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (strcmp(groups[i].word, word) == 0) {
            return groups[i].summary;
        }
    }
    const struct command *c = command_find(word, NULL);
    return c ? c->summary : "";
}

const struct command *command_find(const char *first, const char *second)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", first, second ? " " : "", second ? second : "");
    for (size_t i = 0; i < CMD_COUNT_ALL; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

const char *command_nearest(const char *group, const char *word)
{
    struct nearest n;
    nearest_init(&n, word, strlen(word));
    for (size_t i = 0; i < CMD_COUNT_ALL; i++) {
        const char *space = strchr(commands[i].name, ' ');
        if (!group && !space) {
            nearest_offer(&n, commands[i].name);
        } else if (group && space && strncmp(commands[i].name, group, strlen(group)) == 0 &&
                   commands[i].name + strlen(group) == space) {
            nearest_offer(&n, space + 1);
        }
    }
    for (size_t i = 0; !group && i < sizeof groups / sizeof groups[0]; i++) {
        nearest_offer(&n, groups[i].word);
    }
    return n.best;
}

bool command_takes(const struct command *c, enum option_id id)
{
    for (const enum option_id *o = global_options(); *o != OPT_COUNT_ALL; o++) {
        if (*o == id) {
            return true;
        }
    }
    for (const enum option_id *o = c ? c->options : NULL; o && *o != OPT_COUNT_ALL; o++) {
        if (*o == id) {
            return true;
        }
    }
    return id == OPT_VERSION && !c;
}

const struct option *option_by_name(const struct command *c, const char *name, size_t n)
{
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (strlen(options[i].name) == n && memcmp(options[i].name, name, n) == 0 &&
            command_takes(c, options[i].id)) {
            return &options[i];
        }
    }
    return NULL;
}

const struct option *option_by_letter(const struct command *c, char letter)
{
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (letter && options[i].letter == letter && command_takes(c, options[i].id)) {
            return &options[i];
        }
    }
    return NULL;
}

const char *option_suggest(const struct command *c, const char *name, size_t n)
{
    struct nearest near;
    nearest_init(&near, name, n);
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (command_takes(c, options[i].id)) {
            nearest_offer(&near, options[i].name);
        }
    }
    return near.best;
}
