#include "client/cli/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/dlq_name.h"
#include "client/cli/reader.h"

bool member_is_queue(const struct args *a)
{
    return strcmp(args_text(a, OPT_MODE, "log"), "queue") == 0;
}

int member_check(const struct args *a)
{
    static const enum option_id with_queue[] = {OPT_ORDER, OPT_VERDICT, OPT_REASON, OPT_PREFETCH};
    bool queue = member_is_queue(a);
    const char *verdict = args_text(a, OPT_VERDICT, "ack");
    struct start start;
    if (!args_has(a, OPT_GROUP)) {
        if (args_has(a, OPT_MODE) || args_has(a, OPT_MEMBERS)) {
            return cli_fail(EXIT_USAGE, "--%s needs --group",
                            args_has(a, OPT_MODE) ? "mode" : "members");
        }
    } else if (args_has(a, OPT_PARTITION)) {
        return cli_fail(EXIT_USAGE, "--group and --partition exclude each other: the server shares "
                                    "the partitions out");
    }
    int r = reader_start(a, "earliest", &start);
    if (!r && start.kind == START_OFFSET && args_has(a, OPT_GROUP)) {
        r = cli_fail(EXIT_USAGE, "--from: a group starts at earliest, latest or @TIME; 'weir group "
                                 "seek' moves it to an offset");
    }
    for (size_t i = 0; !r && i < sizeof with_queue / sizeof with_queue[0]; i++) {
        if (args_has(a, with_queue[i]) && !queue) {
            r = cli_fail(EXIT_USAGE, "--%s needs --mode queue", option_at(with_queue[i])->name);
        }
    }
    if (!r && args_has(a, OPT_REASON) && strcmp(verdict, "nack") != 0 &&
        strcmp(verdict, "dead") != 0) {
        r = cli_fail(EXIT_USAGE, "--reason needs --verdict nack or dead");
    }
    return r;
}

int member_open(weir *w, const struct args *a, const char *topic, weir_sub **sub)
{
    char options[256];
    char text[32];
    char prefetch[48] = "";
    struct start start;
    const char *order = args_text(a, OPT_ORDER, NULL);
    int r = reader_start(a, "earliest", &start);
    if (r) {
        return r;
    }
    if (args_has(a, OPT_PREFETCH)) {
        snprintf(prefetch, sizeof prefetch, " prefetch=%" PRId64, args_number(a, OPT_PREFETCH, 0));
    }
    snprintf(options, sizeof options, "mode=%s start=%s%s%s%s", args_text(a, OPT_MODE, "log"),
             start_text(&start, text, sizeof text), order ? " order=" : "", order ? order : "",
             prefetch);
    *sub = weir_subscribe(w, topic, args_text(a, OPT_GROUP, NULL), options);
    return *sub ? EXIT_DONE : cli_fail(EXIT_REFUSED, "out of memory");
}

int member_left(const struct session *s, const char *group, const char *topic, bool *left)
{
    weir_group *g = NULL;
    const weir_group_partition_info *p;
    bool known = false;
    bool any = false;
    *left = true;
    weir_error e = weir_group_describe(s->w, group, &g, s->timeout_ms);
    if (e.code == WEIR_E_UNKNOWN_GROUP) {
        return EXIT_DONE; /* the join is still on its way */
    }
    if (e.outcome != WEIR_DONE) {
        return session_fail(&e);
    }
    for (size_t i = 0; (p = weir_group_partition(g, i)) != NULL; i++) {
        if (strcmp(p->topic, topic) == 0) {
            known = true;
            any = any || p->lag_messages || p->in_flight || p->retrying;
        } else if (dlq_name_of(p->topic, topic)) {
            any = any || p->in_flight || p->retrying; /* redriven; the others stay dead */
        }
    }
    *left = any || !known;
    weir_group_free(g);
    return EXIT_DONE;
}
