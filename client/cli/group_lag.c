/*
 * weir group lag: how far groups are behind, or one group in each partition.
 * Happy path: one call; for one group its description.
 * What can fail: the server's answers (one line).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/group_show.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/table.h"

struct lag {
    struct session s;
    const char *only; /* topic; NULL = all */
    bool positions;   /* -o positions */
    struct table table;
    struct json json;
};

static void one_group(void *user, const weir_group_info *info)
{
    struct lag *l = user;
    char age[AGE_TEXT_MAX];
    switch (l->s.output) {
    case OUTPUT_NAME:
        puts(info->name);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_open(&l->json, NULL, '{');
        json_text(&l->json, "group", info->name);
        json_uint(&l->json, "lag_messages", info->lag_messages);
        json_uint(&l->json, "lag_ms", info->lag_ms);
        json_uint(&l->json, "in_flight", info->in_flight);
        json_close(&l->json, '}');
        if (l->s.output == OUTPUT_JSONL) {
            json_end(&l->json);
        }
        break;
    case OUTPUT_TABLE:
        table_cell(&l->table, info->name);
        table_cellf(&l->table, "%" PRIu64, info->lag_messages);
        table_cell(&l->table, group_age_text(info->lag_ms, age));
        table_cellf(&l->table, "%" PRIu64, info->in_flight);
        break;
    }
}

static void one_partition(struct lag *l, const weir_group_partition_info *p)
{
    char age[AGE_TEXT_MAX];
    if (l->positions) {
        printf("%s %" PRId32 " %" PRId64 "\n", p->topic, p->partition, p->position);
        return;
    }
    switch (l->s.output) {
    case OUTPUT_NAME:
        printf("%s/%" PRId32 "\n", p->topic, p->partition);
        break;
    case OUTPUT_JSON:
        group_partition_json(&l->json, p);
        break;
    case OUTPUT_JSONL:
        group_partition_json(&l->json, p);
        json_end(&l->json);
        break;
    case OUTPUT_TABLE:
        table_cellf(&l->table, "%s/%" PRId32, p->topic, p->partition);
        table_cellf(&l->table, "%" PRId64, p->position);
        table_cellf(&l->table, "%" PRId64, p->high_watermark);
        table_cellf(&l->table, "%" PRIu64, p->lag_messages);
        table_cell(&l->table, group_age_text(p->lag_ms, age));
        table_cellf(&l->table, "%" PRIu64, p->in_flight);
        break;
    }
}

static int of_group(struct lag *l, const char *name)
{
    static const char *const titles[] = {"PARTITION", ">POSITION", ">END",
                                         ">LAG",      ">LAG TIME", ">IN FLIGHT"};
    weir_group *g = NULL;
    const weir_group_partition_info *p;
    bool any = false;
    int r = EXIT_DONE;
    weir_error e = weir_group_describe(l->s.w, name, &g, l->s.timeout_ms);
    table_init(&l->table, titles, sizeof titles / sizeof titles[0]);
    if (e.outcome != WEIR_DONE) {
        r = session_fail_group(&l->s, name, &e);
    }
    for (size_t i = 0; !r && (p = weir_group_partition(g, i)) != NULL; i++) {
        if (!l->only || strcmp(l->only, p->topic) == 0) {
            one_partition(l, p);
            any = true;
        }
    }
    if (!r && l->only && !any) {
        r = cli_fail(EXIT_NOT_FOUND, "group '%s' does not read topic '%s'", name, l->only);
    }
    weir_group_free(g);
    return r;
}

static int of_all(struct lag *l)
{
    static const char *const titles[] = {"GROUP", ">LAG", ">LAG TIME", ">IN FLIGHT"};
    table_init(&l->table, titles, sizeof titles / sizeof titles[0]);
    weir_error e = weir_group_list(l->s.w, one_group, l, l->s.timeout_ms);
    return e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
}

int run_group_lag(const struct args *a)
{
    struct lag l = {.only = args_text(a, OPT_TOPIC_ONLY, NULL)};
    const char *group = a->n_words ? a->words[0] : NULL;
    l.positions = strcmp(args_text(a, OPT_OUTPUT_LAG, ""), "positions") == 0;
    if (!group && (l.positions || l.only)) {
        return cli_fail(EXIT_USAGE, "group lag: %s needs the name of a group",
                        l.positions ? "-o positions" : "--topic");
    }
    int r = session_open(&l.s, a, NULL);
    if (!r) {
        json_init(&l.json, stdout, l.s.output == OUTPUT_JSON);
        if (l.s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        r = group ? of_group(&l, group) : of_all(&l);
        if (l.s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        } else if (l.s.output == OUTPUT_TABLE && !r && !l.positions) {
            table_print(&l.table, stdout);
        }
    }
    table_fini(&l.table);
    session_close(&l.s);
    return r;
}
