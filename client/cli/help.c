#include "client/cli/help.h"

#include <string.h>

#include "client/cli/sections.h"

enum { WIDTH = 80, TERM_COLUMN = 26 };

/* Writes text wrapped at WIDTH. The cursor stands at `column`; later lines begin at `indent`. */
static void wrap(FILE *f, const char *text, int column, int indent)
{
    int at = column;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > indent && at + 1 + n > WIDTH) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', f);
            at++;
        }
        fprintf(f, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', f);
}

/* A term and what it means, in two columns. */
static void entry(FILE *f, const char *term, const char *text)
{
    int n = fprintf(f, "  %s", term);
    if (n + 2 > TERM_COLUMN) {
        fputc('\n', f);
        n = 0;
    }
    fprintf(f, "%*s", TERM_COLUMN - n, "");
    wrap(f, text, TERM_COLUMN, TERM_COLUMN);
}

const char *help_option_term(const struct option *o, char *out, size_t size)
{
    char letter[8] = "    ";
    if (o->letter) {
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    }
    snprintf(out, size, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    return out;
}

static void option_entry(FILE *f, const struct option *o)
{
    char term[80];
    char text[512];
    help_option_term(o, term, sizeof term);
    if (o->kind == KIND_CHOICE) {
        snprintf(text, sizeof text, "%s: %s", o->choices, o->help);
    } else {
        snprintf(text, sizeof text, "%s", o->help);
    }
    entry(f, term, text);
}

void help_usage(FILE *f, const struct command *c)
{
    fprintf(f, "weir %s%s%s%s\n", c->name, *c->words ? " " : "", c->words,
            c->options[0] != OPT_COUNT_ALL ? " [options]" : "");
}

static void section_print(FILE *f, const struct section *s)
{
    fprintf(f, "\n%s\n", s->title);
    if (*s->intro) {
        fprintf(f, "  %s\n", s->intro);
    }
    for (const struct section_row *r = s->rows; r->term; r++) {
        entry(f, r->term, r->text);
    }
}

static void keys_print(FILE *f, const char *title, const char *const *keys)
{
    char list[1024] = "";
    size_t n = 0;
    for (; *keys && n < sizeof list; keys++) {
        int r = snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", *keys);
        n += r > 0 ? (size_t)r : 0;
    }
    fprintf(f, "\n%s OPTIONS\n  ", title);
    wrap(f, list, 2, 2);
}

void help_command(FILE *f, const struct command *c, const char *const *config_keys)
{
    fputs("usage: ", f);
    help_usage(f, c);
    fputc('\n', f);
    wrap(f, c->about, 0, 0);
    if (c->options[0] != OPT_COUNT_ALL) {
        fputs("\nOPTIONS\n", f);
    }
    for (const enum option_id *o = c->options; *o != OPT_COUNT_ALL; o++) {
        option_entry(f, option_at(*o));
    }
    fputs("\nOPTIONS OF ALL COMMANDS\n", f);
    for (const enum option_id *o = global_options(); *o != OPT_COUNT_ALL; o++) {
        option_entry(f, option_at(*o));
    }
    if (config_keys && command_takes(c, OPT_CONFIG)) {
        keys_print(f, "TOPIC", config_keys);
    } else if (config_keys && command_takes(c, OPT_CONFIG_GROUP)) {
        keys_print(f, "GROUP", config_keys);
    }
    for (size_t i = 0; section_of(c, i); i++) {
        section_print(f, section_of(c, i));
    }
    fputs("\nEXAMPLES\n", f);
    for (const char *e = c->examples; *e; e += strcspn(e, "\n") + 1) {
        fprintf(f, "  %.*s\n", (int)strcspn(e, "\n"), e);
    }
}

void help_group(FILE *f, const char *group)
{
    char word[32];
    fprintf(f, "usage: weir %s COMMAND\n\n", group);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        command_first_word(c, word, sizeof word);
        if (strcmp(word, group) == 0) {
            entry(f, c->name, c->summary);
        }
    }
    fprintf(f, "\n'weir help %s COMMAND' explains one.\n", group);
}

void help_overview(FILE *f)
{
    fputs("usage: weir COMMAND [options]\n\n"
          "Works with a weir server: topics, messages, groups, measurements.\n\n",
          f);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        entry(f, c->name, c->summary);
    }
    fputs("\nOPTIONS OF ALL COMMANDS\n", f);
    for (const enum option_id *o = global_options(); *o != OPT_COUNT_ALL; o++) {
        option_entry(f, option_at(*o));
    }
    for (size_t i = 0; section_of(NULL, i); i++) {
        section_print(f, section_of(NULL, i));
    }
    fputs("\n'weir help COMMAND' explains one.\n", f);
}
