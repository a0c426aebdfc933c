/*
 * Happy path: one pass over argv. Words are collected; the first one or two name the command, from
 * then on its options are known. Options before the command can only be global.
 * What can fail: unknown command or option (the nearest is named), missing or malformed argument,
 * too many or too few words. The first problem ends the parse.
 * Who owns what: args owns its two arrays; all texts are argv's.
 */
#include "client/cli/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/values.h"

static int wrong(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int wrong(struct args *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->error, sizeof a->error, fmt, ap);
    va_end(ap);
    return -1;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *c = choices; *c;) {
        size_t len = strcspn(c, "|");
        if (len == n && memcmp(c, text, n) == 0) {
            return true;
        }
        c += len + (c[len] == '|');
    }
    return false;
}

/* What is wrong with an option's argument; NULL = nothing. */
static const char *value_fault(const struct option *o, const char *text)
{
    int64_t n;
    double r;
    const char *eq;
    switch (o->kind) {
    case KIND_COUNT:
        return value_count(text, &n) ? NULL : "is not a whole number";
    case KIND_SIZE:
        return value_size(text, &n) ? NULL : "is not a size like 100, 4k or 1MiB";
    case KIND_DURATION:
        return value_duration(text, &n) ? NULL : "is not a duration like 500ms, 10s or 5m";
    case KIND_RATE:
        return value_rate(text, &r) ? NULL : "is not a rate like 1000 or 1000/s";
    case KIND_CHOICE:
        return is_choice(o->choices, text) ? NULL : "is not one of";
    case KIND_PAIR:
        eq = strchr(text, '=');
        return eq && eq != text ? NULL : "is not of the form NAME=VALUE";
    case KIND_FILE:
    case KIND_TOPIC:
    case KIND_GROUP:
        return *text ? NULL : "is empty";
    case KIND_FLAG:
    case KIND_TEXT:
        break;
    }
    return NULL;
}

static int add_value(struct args *a, const struct option *o, const char *text)
{
    const char *fault = value_fault(o, text);
    if (fault) {
        return wrong(a, "--%s: '%.80s' %s%s%s", o->name, text, fault,
                     o->kind == KIND_CHOICE ? " " : "", o->kind == KIND_CHOICE ? o->choices : "");
    }
    a->given[a->n_given++] = (struct arg_value){o->id, text};
    return 0;
}

static int unknown_option(struct args *a, const char *shown, const char *name, size_t n)
{
    const char *near = n > 1 ? option_suggest(a->command, name, n) : NULL;
    const char *of = a->command ? a->command->name : NULL;
    return wrong(a, "unknown option '%.60s'%s%s%s%s%s", shown, of ? " of " : "", of ? of : "",
                 near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "");
}

static int long_option(struct args *a, const char *arg, int argc, char *const *argv, int *i)
{
    const char *name = arg + 2;
    size_t n = strcspn(name, "=");
    const struct option *o = option_by_name(a->command, name, n);
    if (!o) {
        return unknown_option(a, arg, name, n);
    }
    if (!o->arg) {
        return name[n] ? wrong(a, "--%s takes no argument", o->name) : add_value(a, o, "");
    }
    if (name[n]) {
        return add_value(a, o, name + n + 1);
    }
    if (*i + 1 >= argc) {
        return wrong(a, "--%s needs %s", o->name, o->arg);
    }
    return add_value(a, o, argv[++*i]);
}

static int letters(struct args *a, const char *arg, int argc, char *const *argv, int *i)
{
    for (const char *p = arg + 1; *p; p++) {
        const struct option *o = option_by_letter(a->command, *p);
        if (!o) {
            char shown[3] = {'-', *p, 0};
            return unknown_option(a, shown, p, 1);
        }
        if (!o->arg) {
            if (add_value(a, o, "")) {
                return -1;
            }
            continue;
        }
        if (p[1]) {
            return add_value(a, o, p + 1);
        }
        if (*i + 1 >= argc) {
            return wrong(a, "-%c needs %s", *p, o->arg);
        }
        return add_value(a, o, argv[++*i]);
    }
    return 0;
}

static int unknown_command(struct args *a, const char *group, const char *word)
{
    const char *near = command_nearest(group, word);
    return wrong(a, "unknown command '%s%s%.60s'%s%s%s%s%s", group ? group : "", group ? " " : "",
                 word, near ? "; did you mean '" : "", near && group ? group : "",
                 near && group ? " " : "", near ? near : "", near ? "'?" : "");
}

static int add_word(struct args *a, const char *word)
{
    if (a->command) {
        a->words[a->n_words++] = word;
        return 0;
    }
    if (a->group[0]) {
        a->command = command_find(a->group, word);
        if (!a->command) {
            return unknown_command(a, a->group, word);
        }
        a->group[0] = 0;
        return 0;
    }
    if (command_is_group(word)) {
        snprintf(a->group, sizeof a->group, "%s", word);
        return 0;
    }
    a->command = strchr(word, ' ') ? NULL : command_find(word, NULL);
    return a->command ? 0 : unknown_command(a, NULL, word);
}

static int check_words(struct args *a)
{
    const struct command *c = a->command;
    if (!c || args_has(a, OPT_HELP)) {
        return 0;
    }
    if (a->n_words < c->min_words) {
        return wrong(a, "%s needs %s", c->name, c->words);
    }
    if (a->n_words > c->max_words) {
        return wrong(a, "%s: unexpected '%.80s'", c->name, a->words[c->max_words]);
    }
    return 0;
}

int args_parse(struct args *a, int argc, char *const *argv)
{
    *a = (struct args){0};
    /* joined flags: at most one value for each byte of argv */
    size_t bytes = 1;
    for (int i = 1; i < argc; i++) {
        bytes += strlen(argv[i]) + 1;
    }
    a->given = calloc(bytes, sizeof *a->given);
    a->words = calloc((size_t)argc + 1, sizeof *a->words);
    if (!a->given || !a->words) {
        return wrong(a, "out of memory");
    }
    bool options_ended = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        int r;
        if (options_ended || arg[0] != '-' || !arg[1]) {
            r = add_word(a, arg);
        } else if (strcmp(arg, "--") == 0) {
            options_ended = true;
            r = 0;
        } else if (arg[1] == '-') {
            r = long_option(a, arg, argc, argv, &i);
        } else {
            r = letters(a, arg, argc, argv, &i);
        }
        if (r) {
            return r;
        }
    }
    return check_words(a);
}

void args_fini(struct args *a)
{
    free(a->given);
    free(a->words);
    a->given = NULL;
    a->words = NULL;
    a->n_given = a->n_words = 0;
}

bool args_has(const struct args *a, enum option_id id)
{
    return args_text(a, id, NULL) != NULL;
}

const char *args_text(const struct args *a, enum option_id id, const char *fallback)
{
    for (size_t i = a->n_given; i-- > 0;) {
        if (a->given[i].id == id) {
            return a->given[i].text;
        }
    }
    return fallback;
}

const char *args_nth(const struct args *a, enum option_id id, size_t i)
{
    for (size_t k = 0; k < a->n_given; k++) {
        if (a->given[k].id == id && i-- == 0) {
            return a->given[k].text;
        }
    }
    return NULL;
}

int64_t args_number(const struct args *a, enum option_id id, int64_t fallback)
{
    const char *text = args_text(a, id, NULL);
    int64_t v = fallback;
    if (!text) {
        return fallback;
    }
    /* the parser has checked the form */
    bool ok = option_at(id)->kind == KIND_SIZE       ? value_size(text, &v)
              : option_at(id)->kind == KIND_DURATION ? value_duration(text, &v)
                                                     : value_count(text, &v);
    return ok ? v : fallback;
}

double args_rate(const struct args *a, enum option_id id)
{
    const char *text = args_text(a, id, NULL);
    double v = 0;
    return text && value_rate(text, &v) ? v : 0;
}
