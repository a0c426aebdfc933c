#include "client/cli/session.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/nearest.h"

enum { TIMEOUT_DEFAULT_MS = 30 * 1000, REACH_MS = 3 * 1000, OPTIONS_SIZE = 2048 };

int cli_fail(int code, const char *fmt, ...)
{
    va_list ap;
    fflush(stdout);
    fputs("weir: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return code;
}

int exit_code_of(const weir_error *e)
{
    if (e->outcome == WEIR_DONE) {
        return EXIT_DONE;
    }
    int code = (int)e->code; /* a newer library may return codes that this enum does not know */
    switch (code) {
    case WEIR_E_UNREACHABLE:
    case WEIR_E_CONNECTION_LOST:
    case WEIR_E_TIMEOUT:
    case WEIR_E_SHUTTING_DOWN:
    case WEIR_E_CLOSED:
        return EXIT_UNREACHABLE;
    case WEIR_E_UNKNOWN_TOPIC:
    case WEIR_E_UNKNOWN_GROUP:
        return EXIT_NOT_FOUND;
    case WEIR_E_DENIED:
    case WEIR_E_AUTH_REQUIRED:
    case WEIR_E_AUTH_FAILED:
        return EXIT_DENIED;
    default:
        return EXIT_REFUSED;
    }
}

int session_fail(const weir_error *e)
{
    char hint[64] = "";
    if (e->outcome == WEIR_UNKNOWN) {
        snprintf(hint, sizeof hint, " (it may have happened)");
    } else if (e->outcome == WEIR_RETRY && e->retry_after_ms) {
        snprintf(hint, sizeof hint, " (try again in %" PRIu32 " ms)", e->retry_after_ms);
    }
    return cli_fail(exit_code_of(e), "%s%s", e->text, hint);
}

struct name_search {
    struct nearest nearest;
    char best[256];
};

static void offer_name(struct name_search *search, const char *name)
{
    const char *before = search->nearest.best;
    nearest_offer(&search->nearest, name);
    if (search->nearest.best != before) {
        snprintf(search->best, sizeof search->best, "%s", name);
        search->nearest.best = search->best; /* the name is borrowed for this call only */
    }
}

static void offer_topic(void *user, const weir_topic *t)
{
    offer_name(user, weir_topic_name(t));
}

static void offer_group(void *user, const weir_group_info *info)
{
    offer_name(user, info->name);
}

static int fail_unknown(const char *what, const char *name, const struct name_search *search)
{
    return cli_fail(EXIT_NOT_FOUND, "%s '%s' does not exist%s%s%s", what, name,
                    search->best[0] ? "; did you mean '" : "", search->best,
                    search->best[0] ? "'?" : "");
}

int session_fail_topic(const struct session *s, const char *topic, const weir_error *e)
{
    struct name_search search = {.best = ""};
    if (e->code != WEIR_E_UNKNOWN_TOPIC) {
        return session_fail(e);
    }
    nearest_init(&search.nearest, topic, strlen(topic));
    /* a failure here only means that nothing can be suggested */
    weir_error listed = weir_topic_list(s->w, offer_topic, &search, REACH_MS);
    if (listed.outcome == WEIR_DONE && strcmp(search.best, topic) == 0) {
        return session_fail(e); /* it exists: another thing was unknown, for example a partition */
    }
    return fail_unknown("topic", topic, &search);
}

int session_fail_group(const struct session *s, const char *group, const weir_error *e)
{
    struct name_search search = {.best = ""};
    if (e->code != WEIR_E_UNKNOWN_GROUP) {
        return session_fail(e);
    }
    nearest_init(&search.nearest, group, strlen(group));
    weir_error listed = weir_group_list(s->w, offer_group, &search, REACH_MS);
    (void)listed; /* a failure here only means that nothing can be suggested */
    return fail_unknown("group", group, &search);
}

enum output args_output(const struct args *a)
{
    static const char *const names[] = {"table", "json", "jsonl", "name"};
    const char *text = args_text(
        a, OPT_OUTPUT, args_text(a, OPT_OUTPUT_RESULT, args_text(a, OPT_OUTPUT_LAG, "table")));
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], text) == 0) {
            return (enum output)i;
        }
    }
    return OUTPUT_TABLE;
}

static void log_line(void *arg, int level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)arg;
    fprintf(stderr, "weir: %s: %s\n", names[level < 0 ? 0 : level > 3 ? 3 : level], line);
}

/* The first warning, and the first good news after it. */
static void trouble_line(void *arg, int level, const char *line)
{
    struct session *s = arg;
    bool bad = level <= 1;
    if (level > 2 || bad == s->troubled) {
        return;
    }
    s->troubled = bad;
    /* a line of progress may stand there */
    fprintf(stderr, "%sweir: %s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", line,
            bad ? "; trying again" : "");
}

void session_tell_trouble(struct session *s)
{
    if (!s->verbose) {
        weir_set_log(s->w, trouble_line, s);
    }
}

/* Joins `more` and the values of -X into one text of options. */
static int join_options(const struct args *a, const char *more, char *out, size_t size)
{
    int n = snprintf(out, size, "%s", more ? more : "");
    const char *pair;
    for (size_t i = 0; (pair = args_nth(a, OPT_CLIENT, i)) != NULL; i++) {
        if (strpbrk(pair, " \t\n")) {
            return cli_fail(EXIT_USAGE, "-X '%.80s': blanks are not possible here", pair);
        }
        n += snprintf(out + n, size - (size_t)n, " %s", pair);
        if (n < 0 || (size_t)n >= size) {
            return cli_fail(EXIT_USAGE, "-X: too many options");
        }
    }
    return EXIT_DONE;
}

int session_handle(const struct session *s, const char *more, weir **w)
{
    char options[OPTIONS_SIZE];
    char timeout[64];
    snprintf(timeout, sizeof timeout, "send_timeout_ms=%d%s%s", s->timeout_ms, more ? " " : "",
             more ? more : "");
    int r = join_options(s->args, timeout, options, sizeof options);
    if (r) {
        return r;
    }
    *w = weir_open(*s->url ? s->url : NULL, options);
    if (!*w) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    weir_error e = weir_last_error(*w);
    if (e.code == WEIR_E_INVALID_CONFIG) {
        return cli_fail(EXIT_USAGE, "%s", e.text);
    }
    if (s->verbose) {
        weir_set_log(*w, log_line, NULL);
    }
    return EXIT_DONE;
}

int session_open(struct session *s, const struct args *a, const char *more)
{
    const char *env = getenv("WEIR_URL");
    *s = (struct session){.args = a, .output = args_output(a)};
    s->url = args_text(a, OPT_SERVER, env ? env : "");
    int64_t timeout_ms = args_number(a, OPT_TIMEOUT, TIMEOUT_DEFAULT_MS);
    s->timeout_ms = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
    s->verbose = args_has(a, OPT_VERBOSE);
    int r = session_handle(s, more, &s->w);
    if (r) {
        return r;
    }
    /* the library tries again until the time is over; a person who did not ask for that waits less
     */
    weir_error e = weir_ping(s->w, NULL, args_has(a, OPT_TIMEOUT) ? s->timeout_ms : REACH_MS);
    if (e.code == WEIR_E_INVALID_CONFIG) {
        return cli_fail(EXIT_USAGE, "%s", e.text);
    }
    if (e.outcome != WEIR_DONE) {
        int code = exit_code_of(&e);
        return code == EXIT_UNREACHABLE
                   ? cli_fail(code, "cannot reach %s: %s",
                              *s->url ? s->url : "weir://localhost:9347", e.text)
                   : session_fail(&e);
    }
    return EXIT_DONE;
}

void session_close(struct session *s)
{
    weir_close(s->w, 0);
    s->w = NULL;
}

void session_leave(struct session *s)
{
    weir_close(s->w, REACH_MS);
    s->w = NULL;
}

int session_confirm(const struct session *s, const char *question)
{
    char answer[16] = "";
    if (args_has(s->args, OPT_YES)) {
        return EXIT_DONE;
    }
    if (!isatty(STDIN_FILENO)) {
        return cli_fail(EXIT_USAGE, "%s needs --yes when standard input is not a terminal",
                        s->args->command->name);
    }
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    if (!fgets(answer, sizeof answer, stdin) ||
        (strcmp(answer, "y\n") != 0 && strcmp(answer, "yes\n") != 0)) {
        return cli_fail(EXIT_REFUSED, "nothing was done");
    }
    return EXIT_DONE;
}
