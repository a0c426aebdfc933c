/*
 * All three scripts work alike: they walk the words before the cursor, skip options and their
 * arguments (so a letter has an argument in every command or in none; a unit test checks that), and
 * what is left is the command. Then options, choices, or names are offered. Names of topics and
 * groups come from `weir topic list` and `weir group list`, with a short timeout.
 */
#include "client/cli/completion.h"

#include <string.h>

#include "client/cli/commands.h"

#define LIST_TOPICS "command weir topic list -o name --timeout 2s 2>/dev/null"
#define LIST_GROUPS "command weir group list -o name --timeout 2s 2>/dev/null"

/* What the first word after a command's name stands for. */
enum word_kind { WORD_OTHER, WORD_TOPIC, WORD_GROUP, WORD_CHOICE, WORD_COMMAND };

static bool first_word_is(const char *words, const char *name)
{
    words += *words == '[';
    size_t n = strcspn(words, " ]");
    return strlen(name) == n && memcmp(words, name, n) == 0;
}

static enum word_kind word_kind(const struct command *c)
{
    if (first_word_is(c->words, "TOPIC")) {
        return WORD_TOPIC;
    }
    if (first_word_is(c->words, "GROUP")) {
        return WORD_GROUP;
    }
    if (c->id == CMD_help) {
        return WORD_COMMAND;
    }
    return strchr(c->words, '|') ? WORD_CHOICE : WORD_OTHER;
}

/* Every spelling of every option that has an argument, between `sep`. */
static void spellings_with_argument(FILE *f, const char *sep)
{
    bool letters[256] = {false};
    const char *between = "";
    for (int i = 0; i < OPT_COUNT_ALL; i++) {
        const struct option *o = option_at((enum option_id)i);
        if (!o->arg) {
            continue;
        }
        bool again = i > 0 && strcmp(option_at((enum option_id)(i - 1))->name, o->name) == 0;
        if (!again) {
            fprintf(f, "%s--%s", between, o->name);
            between = sep;
        }
        if (o->letter && !letters[(unsigned char)o->letter]) {
            letters[(unsigned char)o->letter] = true;
            fprintf(f, "%s-%c", between, o->letter);
        }
    }
}

/* "a|b|c" with another separator. */
static void choices_out(FILE *f, const char *choices, char sep)
{
    for (const char *c = choices; *c; c++) {
        fputc(*c == '|' ? sep : *c, f);
    }
}

/* First words of all commands (group NULL), or second words of a group. */
static void words_out(FILE *f, const char *group)
{
    char word[32];
    char before[32] = "";
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        const struct command *c = command_at((enum command_id)i);
        command_first_word(c, word, sizeof word);
        if (group && strcmp(word, group) == 0) {
            fprintf(f, " %s", strchr(c->name, ' ') + 1);
        } else if (!group && strcmp(word, before) != 0) {
            fprintf(f, " %s", word);
            memcpy(before, word, sizeof before);
        }
    }
}

/* Calls fn for each first word that is a group. */
static void each_group(FILE *f, void (*fn)(FILE *f, const char *group))
{
    char word[32];
    char before[32] = "";
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        command_first_word(command_at((enum command_id)i), word, sizeof word);
        if (command_is_group(word) && strcmp(word, before) != 0) {
            fn(f, word);
            memcpy(before, word, sizeof before);
        }
    }
}

/* The case pattern of texts that a further command word belongs to: nothing yet, or a group. */
static void group_pattern(FILE *f, const char *group)
{
    fprintf(f, "|%s", group);
}

static void word_case(FILE *f)
{
    fputs(") value=1 ;;\n"
          "            -*) ;;\n"
          "            *)\n"
          "                case $command in\n"
          "                    ''",
          f);
    each_group(f, group_pattern);
    fputs(") command=${command:+$command }$word ;;\n"
          "                esac ;;\n"
          "        esac\n"
          "    done\n",
          f);
}

/* Calls fn for each option of a command: its own, then the global ones. */
static void each_option(FILE *f, const struct command *c,
                        void (*fn)(FILE *f, const struct command *c, const struct option *o))
{
    for (const enum option_id *o = c->options; *o != OPT_COUNT_ALL; o++) {
        fn(f, c, option_at(*o));
    }
    for (const enum option_id *o = global_options(); *o != OPT_COUNT_ALL; o++) {
        fn(f, c, option_at(*o));
    }
}

/* ---- bash ---- */

static void bash_option_name(FILE *f, const struct command *c, const struct option *o)
{
    (void)c;
    fprintf(f, " --%s", o->name);
}

static void bash_option_value(FILE *f, const struct command *c, const struct option *o)
{
    (void)c;
    if (!o->arg) {
        return;
    }
    fprintf(f, "                --%s", o->name);
    if (o->letter) {
        fprintf(f, "|-%c", o->letter);
    }
    fputs(") ", f);
    if (o->kind == KIND_CHOICE) {
        fputs("values='", f);
        choices_out(f, o->choices, ' ');
        fputs("' ;;\n", f);
    } else if (o->kind == KIND_TOPIC) {
        fputs("values=$(" LIST_TOPICS ") ;;\n", f);
    } else if (o->kind == KIND_GROUP) {
        fputs("values=$(" LIST_GROUPS ") ;;\n", f);
    } else if (o->kind == KIND_FILE) {
        fputs("compopt -o default; return ;;\n", f);
    } else {
        fputs("return ;;\n", f);
    }
}

static void bash_group(FILE *f, const char *group)
{
    fprintf(f, "        %s) values='", group);
    words_out(f, group);
    fputs("' ;;\n", f);
}

static void bash_command(FILE *f, const struct command *c)
{
    fprintf(f, "        '%s')\n            options='", c->name);
    each_option(f, c, bash_option_name);
    fputs("'\n            case $prev in\n", f);
    each_option(f, c, bash_option_value);
    fputs("            esac\n", f);
    switch (word_kind(c)) {
    case WORD_TOPIC:
        fputs("            [[ $cur != -* && ! $value ]] && values=$(" LIST_TOPICS ")\n", f);
        break;
    case WORD_GROUP:
        fputs("            [[ $cur != -* && ! $value ]] && values=$(" LIST_GROUPS ")\n", f);
        break;
    case WORD_CHOICE:
        fputs("            [[ $value ]] || values='", f);
        choices_out(f, c->words, ' ');
        fputs("'\n", f);
        break;
    case WORD_COMMAND:
        fputs("            [[ $value ]] || values='", f);
        words_out(f, NULL);
        fputs("'\n", f);
        break;
    case WORD_OTHER:
        break;
    }
    fputs("            ;;\n", f);
}

static void bash_write(FILE *f)
{
    fputs("# bash completion for weir\n"
          "_weir() {\n"
          "    local cur prev command='' word value='' values='' options='' i\n"
          "    local line=${COMP_LINE:0:COMP_POINT}\n"
          "    local -a words\n"
          "    read -ra words <<<\"$line\"\n"
          "    [[ $line == *[[:space:]] ]] && words+=('')\n"
          "    local last=$((${#words[@]} - 1))\n"
          "    cur=${words[last]}\n"
          "    prev=${words[last - 1]}\n"
          "    for ((i = 1; i < last; i++)); do\n"
          "        word=${words[i]}\n"
          "        if [[ $value ]]; then\n"
          "            value=''\n"
          "            continue\n"
          "        fi\n"
          "        case $word in\n            ",
          f);
    spellings_with_argument(f, "|");
    word_case(f);
    fputs("    if [[ ! $value && $cur == --*=* ]]; then\n"
          "        prev=${cur%%=*}\n"
          "        cur=${cur#*=}\n"
          "        value=1\n"
          "    fi\n"
          "    [[ $value ]] || prev=''\n"
          "    case $command in\n"
          "        '') values='",
          f);
    words_out(f, NULL);
    fputs("' options='--help --version --server' ;;\n", f);
    each_group(f, bash_group);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        bash_command(f, command_at((enum command_id)i));
    }
    fputs("    esac\n"
          "    [[ ! $value && $cur == -* ]] && values=$options\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
          "}\n"
          "complete -F _weir weir\n",
          f);
}

/* ---- zsh and fish ---- */

/* A help text inside single quotes and square brackets. */
static void quoted(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (*s == '\'') {
            fputs("'\\''", f);
        } else if (*s == '[' || *s == ']' || *s == ':') {
            fprintf(f, "\\%c", *s);
        } else {
            fputc(*s, f);
        }
    }
}

static void zsh_option(FILE *f, const struct command *c, const struct option *o)
{
    (void)c;
    fputs(" \\\n            ", f);
    if (o->kind == KIND_PAIR) {
        fputs("'*'", f);
    } else if (o->letter) {
        fprintf(f, "'(-%c --%s)'", o->letter, o->name);
    }
    if (o->letter) {
        fprintf(f, "{-%c%s,--%s%s}'[", o->letter, o->arg ? "+" : "", o->name, o->arg ? "=" : "");
    } else {
        fprintf(f, "'--%s%s[", o->name, o->arg ? "=" : "");
    }
    quoted(f, o->help);
    fputc(']', f);
    if (o->arg) {
        fputc(':', f);
        quoted(f, o->arg);
        fputc(':', f);
    }
    if (o->kind == KIND_CHOICE) {
        fputc('(', f);
        choices_out(f, o->choices, ' ');
        fputc(')', f);
    } else if (o->kind == KIND_TOPIC) {
        fputs("_weir_topics", f);
    } else if (o->kind == KIND_GROUP) {
        fputs("_weir_groups", f);
    } else if (o->kind == KIND_FILE) {
        fputs("_files", f);
    }
    fputc('\'', f);
}

static void zsh_command(FILE *f, const struct command *c)
{
    int at = strchr(c->name, ' ') ? 3 : 2;
    fprintf(f, "        '%s')\n            _arguments -s", c->name);
    each_option(f, c, zsh_option);
    fputs(" \\\n            '1: :'", f);
    if (at == 3) {
        fputs(" '2: :'", f);
    }
    switch (word_kind(c)) {
    case WORD_TOPIC:
        fprintf(f, " '%d:topic:_weir_topics'", at);
        break;
    case WORD_GROUP:
        fprintf(f, " '%d:group:_weir_groups'", at);
        break;
    case WORD_CHOICE:
        fprintf(f, " '%d:shell:(", at);
        choices_out(f, c->words, ' ');
        fputs(")'", f);
        break;
    case WORD_COMMAND:
        fprintf(f, " '%d:command:(", at);
        words_out(f, NULL);
        fputs(")'", f);
        break;
    case WORD_OTHER:
        break;
    }
    fputs(" ;;\n", f);
}

static void zsh_group(FILE *f, const char *group)
{
    fprintf(f, "        %s) compadd --", group);
    words_out(f, group);
    fputs(" ;;\n", f);
}

static void zsh_write(FILE *f)
{
    fputs("#compdef weir\n"
          "_weir_topics() {\n"
          "    local -a topics\n"
          "    topics=(${(f)\"$(" LIST_TOPICS ")\"})\n"
          "    compadd -a topics\n"
          "}\n"
          "_weir_groups() {\n"
          "    local -a groups\n"
          "    groups=(${(f)\"$(" LIST_GROUPS ")\"})\n"
          "    compadd -a groups\n"
          "}\n"
          "_weir() {\n"
          "    local command='' word value=''\n"
          "    for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
          "        if [[ -n $value ]]; then\n"
          "            value=''\n"
          "            continue\n"
          "        fi\n"
          "        case $word in\n            ",
          f);
    spellings_with_argument(f, "|");
    word_case(f);
    fputs("    case $command in\n"
          "        '') compadd --",
          f);
    words_out(f, NULL);
    fputs(" ;;\n", f);
    each_group(f, zsh_group);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        zsh_command(f, command_at((enum command_id)i));
    }
    fputs("    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _weir ]]; then\n"
          "    _weir \"$@\"\n"
          "else\n"
          "    compdef _weir weir\n"
          "fi\n",
          f);
}

static void fish_quoted(FILE *f, const char *s)
{
    for (; *s; s++) {
        fprintf(f, *s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
    }
}

static void fish_option(FILE *f, const struct command *c, const struct option *o)
{
    fprintf(f, "complete -c weir -n \"__weir_is '%s'\" -l %s", c->name, o->name);
    if (o->letter) {
        fprintf(f, " -s %c", o->letter);
    }
    if (o->kind == KIND_CHOICE) {
        fputs(" -x -a '", f);
        choices_out(f, o->choices, ' ');
        fputc('\'', f);
    } else if (o->kind == KIND_TOPIC) {
        fputs(" -x -a '(" LIST_TOPICS ")'", f);
    } else if (o->kind == KIND_GROUP) {
        fputs(" -x -a '(" LIST_GROUPS ")'", f);
    } else if (o->kind == KIND_FILE) {
        fputs(" -r -F", f);
    } else if (o->arg) {
        fputs(" -x", f);
    }
    fputs(" -d '", f);
    fish_quoted(f, o->help);
    fputs("'\n", f);
}

static void fish_command(FILE *f, const struct command *c)
{
    char word[32];
    command_first_word(c, word, sizeof word);
    bool pair = strchr(c->name, ' ') != NULL;
    fprintf(f, "complete -c weir -n \"__weir_at '%s'\" -a %s -d '", pair ? word : "",
            pair ? strchr(c->name, ' ') + 1 : c->name);
    fish_quoted(f, c->summary);
    fputs("'\n", f);
    each_option(f, c, fish_option);
    enum word_kind kind = word_kind(c);
    if (kind != WORD_OTHER) {
        fprintf(f, "complete -c weir -n \"__weir_at '%s'\" -a '", c->name);
    }
    switch (kind) {
    case WORD_TOPIC:
        fputs("(" LIST_TOPICS ")'\n", f);
        break;
    case WORD_GROUP:
        fputs("(" LIST_GROUPS ")'\n", f);
        break;
    case WORD_CHOICE:
        choices_out(f, c->words, ' ');
        fputs("'\n", f);
        break;
    case WORD_COMMAND:
        words_out(f, NULL);
        fputs("'\n", f);
        break;
    case WORD_OTHER:
        break;
    }
}

static void fish_group(FILE *f, const char *group)
{
    fprintf(f, "complete -c weir -n \"__weir_at ''\" -a %s -d '", group);
    fish_quoted(f, command_group_summary(group));
    fputs("'\n", f);
}

static void fish_write(FILE *f)
{
    fputs("# fish completion for weir\n"
          "function __weir_command\n"
          "    set -l found\n"
          "    set -l skip 0\n"
          "    for word in (commandline -opc)[2..-1]\n"
          "        if test $skip = 1\n"
          "            set skip 0\n"
          "            continue\n"
          "        end\n"
          "        switch $word\n"
          "            case ",
          f);
    spellings_with_argument(f, " ");
    fputs("\n"
          "                set skip 1\n"
          "            case '-*'\n"
          "            case '*'\n"
          "                set -a found $word\n"
          "        end\n"
          "    end\n"
          "    echo \"$found\"\n"
          "end\n"
          "function __weir_at\n"
          "    test (__weir_command) = \"$argv[1]\"\n"
          "end\n"
          "function __weir_is\n"
          "    string match -q -- \"$argv[1]*\" (__weir_command)\n"
          "end\n"
          "complete -c weir -f\n",
          f);
    each_group(f, fish_group);
    for (int i = 0; i < CMD_COUNT_ALL; i++) {
        fish_command(f, command_at((enum command_id)i));
    }
}

bool completion_write(FILE *f, const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        bash_write(f);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh_write(f);
    } else if (strcmp(shell, "fish") == 0) {
        fish_write(f);
    } else {
        return false;
    }
    return true;
}
