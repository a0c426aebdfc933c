/* weir: works with a weir server. The commands are listed in commands.def. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

#include <weir/weir.h>

#include "client/cli/completion.h"
#include "client/cli/help.h"
#include "client/cli/output.h"
#include "client/cli/run.h"
#include "client/cli/session.h"

typedef int (*run_fn)(const struct args *a);

static const run_fn runs[] = {
#define COMMAND(id, name, words, min, max, options, summary, about, examples) run_##id,
#include "client/cli/commands.def"
#undef COMMAND
};

int run_version(const struct args *a)
{
    (void)a;
    printf("weir %d.%d.%d, libweir %s\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR,
           WEIR_VERSION_PATCH, weir_version());
    return EXIT_DONE;
}

int run_completion(const struct args *a)
{
    if (!completion_write(stdout, a->words[0])) {
        return cli_fail(EXIT_USAGE, "completion: '%.60s' is not one of %s", a->words[0],
                        a->command->words);
    }
    return EXIT_DONE;
}

/* What may follow --config. */
static const char *const *config_keys(const struct command *c)
{
    return command_takes(c, OPT_CONFIG_GROUP) ? weir_group_config_keys() : weir_topic_config_keys();
}

int run_help(const struct args *a)
{
    const char *first = a->n_words > 0 ? a->words[0] : NULL;
    const char *second = a->n_words > 1 ? a->words[1] : NULL;
    const struct command *c = first ? command_find(first, second) : NULL;
    if (!first) {
        help_overview(stdout);
    } else if (c) {
        help_command(stdout, c, config_keys(c));
    } else if (!second && command_is_group(first)) {
        help_group(stdout, first);
    } else {
        bool group = second && command_is_group(first);
        const char *near = command_nearest(group ? first : NULL, group ? second : first);
        return cli_fail(EXIT_USAGE, "no command '%.60s%s%.60s'%s%s%s", first, second ? " " : "",
                        second ? second : "", near ? "; did you mean '" : "", near ? near : "",
                        near ? "'?" : "");
    }
    return EXIT_DONE;
}

static int run(const struct args *a)
{
    if (args_has(a, OPT_VERSION)) {
        return run_version(a);
    }
    if (args_has(a, OPT_HELP)) {
        if (a->command) {
            help_command(stdout, a->command, config_keys(a->command));
        } else if (a->group[0]) {
            help_group(stdout, a->group);
        } else {
            help_overview(stdout);
        }
        return EXIT_DONE;
    }
    if (a->command) {
        return runs[a->command->id](a);
    }
    if (a->group[0]) {
        help_group(stderr, a->group);
    } else {
        help_overview(stderr);
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct args a;
    int code;
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away shows as EPIPE */
    /* only this thread writes the output, and it writes much of it in small pieces */
    __fsetlocking(stdout, FSETLOCKING_BYCALLER);
    if (args_parse(&a, argc, argv)) {
        code = cli_fail(EXIT_USAGE, "%s", a.error);
    } else {
        code = run(&a);
    }
    args_fini(&a);
    int e = output_flush();
    if (e && e != EPIPE && code == EXIT_DONE) {
        code = cli_fail(EXIT_REFUSED, "cannot write the output: %s", strerror(e));
    }
    return code;
}
