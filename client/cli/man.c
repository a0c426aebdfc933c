#include "client/cli/man.h"

#include <ctype.h>
#include <string.h>

#include "client/cli/sections.h"

/* One page for weir and one for each first word that needs one. The page of "server" is named after
 * its command: weir-server is the broker's own page. */
static const struct {
    const char *page, *word;
} pages[] = {
    {"weir", NULL},
    {"weir-topic", "topic"},
    {"weir-produce", "produce"},
    {"weir-consume", "consume"},
    {"weir-peek", "peek"},
    {"weir-offsets", "offsets"},
    {"weir-group", "group"},
    {"weir-dlq", "dlq"},
    {"weir-schedule", "schedule"},
    {"weir-server-info", "server"},
    {"weir-bench", "bench"},
    {"weir-backup", "backup"},
    {"weir-doctor", "doctor"},
};

const char *man_page_name(size_t i)
{
    return i < sizeof pages / sizeof pages[0] ? pages[i].page : NULL;
}

/* Text for troff: backslashes and hyphens escaped, no line that begins with a control character. */
static void text_out(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((i == 0 || s[i - 1] == '\n') && (s[i] == '.' || s[i] == '\'')) {
            fputs("\\&", f);
        }
        if (s[i] == '\\') {
            fputs("\\e", f);
        } else if (s[i] == '-') {
            fputs("\\-", f);
        } else if (s[i] == '\'') {
            fputs("\\(aq", f);
        } else if (s[i] == '^') {
            fputs("\\(ha", f);
        } else if (s[i] == '~') {
            fputs("\\(ti", f);
        } else {
            fputc(s[i], f);
        }
    }
}

static void text(FILE *f, const char *s)
{
    text_out(f, s, strlen(s));
}

static void line(FILE *f, const char *macro, const char *s)
{
    fputs(macro, f);
    text(f, s);
    fputc('\n', f);
}

static void option_out(FILE *f, const struct option *o)
{
    fputs(".TP\n", f);
    if (o->letter) {
        fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
    }
    fputs("\\fB\\-\\-", f);
    text(f, o->name);
    fputs("\\fR", f);
    if (o->arg) {
        fputs(" \\fI", f);
        text(f, o->arg);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    if (o->kind == KIND_CHOICE) {
        text(f, o->choices);
        fputs(": ", f);
    }
    line(f, "", o->help);
}

static void options_out(FILE *f, const enum option_id *ids)
{
    for (; *ids != OPT_COUNT_ALL; ids++) {
        option_out(f, option_at(*ids));
    }
}

static void section_out(FILE *f, const struct section *s)
{
    fprintf(f, ".SH \"%s\"\n", s->title);
    if (*s->intro) {
        line(f, "", s->intro);
    }
    for (const struct section_row *r = s->rows; r->term; r++) {
        fputs(".TP\n\\fB", f);
        text(f, r->term);
        fputs("\\fR\n", f);
        line(f, "", r->text);
    }
}

static void synopsis_out(FILE *f, const struct command *c)
{
    fputs("\\fBweir ", f);
    text(f, c->name);
    fputs("\\fR", f);
    if (*c->words) {
        fputs(" \\fI", f);
        text(f, c->words);
        fputs("\\fR", f);
    }
    fputs(c->options[0] != OPT_COUNT_ALL ? " [\\fIoptions\\fR]\n" : "\n", f);
}

static void keys_out(FILE *f, const char *title, const char *const *keys)
{
    fprintf(f, ".PP\n%s options:", title);
    for (const char *sep = " "; *keys; keys++, sep = ", ") {
        fputs(sep, f);
        text(f, *keys);
    }
    fputs(".\n", f);
}

static void command_out(FILE *f, const struct command *c, const char *const *config_keys)
{
    synopsis_out(f, c);
    fputs(".PP\n", f);
    line(f, "", c->about);
    options_out(f, c->options);
    if (config_keys && command_takes(c, OPT_CONFIG)) {
        keys_out(f, "Topic", config_keys);
    } else if (config_keys && command_takes(c, OPT_CONFIG_GROUP)) {
        keys_out(f, "Group", config_keys);
    }
}

static bool in_page(const struct command *c, const char *word)
{
    char first[32];
    command_first_word(c, first, sizeof first);
    return strcmp(first, word) == 0;
}

static void head_out(FILE *f, const char *page, const char *version, const char *summary)
{
    char upper[64];
    size_t n = 0;
    for (; page[n] && n + 1 < sizeof upper; n++) {
        upper[n] = (char)toupper((unsigned char)page[n]);
    }
    upper[n] = 0;
    fprintf(f, ".TH \"%s\" 1 \"\" \"weir %s\" \"weir\"\n.SH NAME\n", upper, version);
    text(f, page);
    fputs(" \\- ", f);
    line(f, "", summary);
}

static void main_page(FILE *f, const char *version)
{
    head_out(f, "weir", version, "work with a weir server");
    fputs(".SH SYNOPSIS\n\\fBweir\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n"
          "weir makes and changes topics on a weir server, writes messages to them, reads messages "
          "from them, looks after consumer groups, dead letters and delayed messages, and "
          "measures.\n.SH COMMANDS\n",
          f);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        fputs(".TP\n", f);
        synopsis_out(f, c);
        line(f, "", c->summary);
    }
    fputs(".SH \"OPTIONS OF ALL COMMANDS\"\n", f);
    options_out(f, global_options());
    for (size_t i = 0; section_of(NULL, i); i++) {
        section_out(f, section_of(NULL, i));
    }
}

/* Sections of all commands on the page, each once. */
static void sections_out(FILE *f, const char *word)
{
    const struct section_row *done[16];
    size_t n_done = 0;
    for (int k = 0; k < CMD_COUNT_ALL; k++) {
        const struct command *c = command_at((enum command_id)k);
        for (size_t i = 0; in_page(c, word) && section_of(c, i); i++) {
            const struct section *s = section_of(c, i);
            size_t seen = 0;
            while (seen < n_done && done[seen] != s->rows) {
                seen++;
            }
            if (seen == n_done && n_done < sizeof done / sizeof done[0]) {
                done[n_done++] = s->rows;
                section_out(f, s);
            }
        }
    }
}

static void group_page(FILE *f, const char *page, const char *word, const char *version,
                       const char *const *config_keys)
{
    head_out(f, page, version, command_group_summary(word));
    fputs(".SH SYNOPSIS\n", f);
    bool first = true;
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        if (in_page(c, word)) {
            fputs(first ? "" : ".br\n", f);
            synopsis_out(f, c);
            first = false;
        }
    }
    fputs(".SH DESCRIPTION\n", f);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        if (in_page(c, word)) {
            line(f, ".SS weir ", c->name);
            command_out(f, c, config_keys);
        }
    }
    fputs(".SH \"OPTIONS OF ALL COMMANDS\"\n", f);
    options_out(f, global_options());
    sections_out(f, word);
    fputs(".SH EXAMPLES\n.nf\n", f);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        if (in_page(c, word)) {
            text(f, c->examples);
        }
    }
    fputs(".fi\n", f);
}

bool man_page_write(FILE *f, const char *page, const char *version, const char *const *config_keys)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(pages[i].page, page) != 0) {
            continue;
        }
        if (pages[i].word) {
            group_page(f, page, pages[i].word, version, config_keys);
        } else {
            main_page(f, version);
        }
        fputs(".SH \"SEE ALSO\"\n", f);
        for (size_t k = 0, n = 0; man_page_name(k); k++) {
            if (k != i) {
                fprintf(f, "%s\\fB", n++ ? ", " : "");
                text(f, pages[k].page);
                fputs("\\fR(1)", f);
            }
        }
        fputc('\n', f);
        return true;
    }
    return false;
}
