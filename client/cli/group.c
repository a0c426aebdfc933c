/*
 * weir group list, describe, alter, pause, resume, delete.
 * Happy path: open a session, one administrative call, show the group.
 * What can fail: every call; the failure is one line. Who owns what: each function frees the groups
 * it was given.
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/clock.h"
#include "client/cli/group_show.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/settings.h"
#include "client/cli/table.h"
#include "client/cli/timeparse.h"
#include "client/cli/values.h"

struct listing {
    enum output output;
    struct table table;
    struct json json;
};

static void list_one(void *user, const weir_group_info *info)
{
    struct listing *l = user;
    char state[STATE_TEXT_MAX];
    char age[AGE_TEXT_MAX];
    switch (l->output) {
    case OUTPUT_NAME:
        puts(info->name);
        break;
    case OUTPUT_JSONL:
    case OUTPUT_JSON:
        json_open(&l->json, NULL, '{');
        group_info_json(&l->json, info);
        json_close(&l->json, '}');
        if (l->output == OUTPUT_JSONL) {
            json_end(&l->json);
        }
        break;
    case OUTPUT_TABLE:
        table_cell(&l->table, info->name);
        table_cell(&l->table, info->mode);
        table_cell(&l->table, group_state_text(info->state, state));
        table_cellf(&l->table, "%" PRIu32, info->members);
        table_cellf(&l->table, "%" PRIu32, info->partitions);
        table_cellf(&l->table, "%" PRIu64, info->lag_messages);
        table_cell(&l->table, group_age_text(info->lag_ms, age));
        table_cellf(&l->table, "%" PRIu64, info->in_flight);
        break;
    }
}

int run_group_list(const struct args *a)
{
    static const char *const titles[] = {"NAME",        "MODE", "STATE",     ">MEMBERS",
                                         ">PARTITIONS", ">LAG", ">LAG TIME", ">IN FLIGHT"};
    struct session s = {0};
    struct listing l = {0};
    int r = session_open(&s, a, NULL);
    if (!r) {
        l.output = s.output;
        json_init(&l.json, stdout, s.output == OUTPUT_JSON);
        table_init(&l.table, titles, sizeof titles / sizeof titles[0]);
        if (s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        weir_error e = weir_group_list(s.w, list_one, &l, s.timeout_ms);
        if (s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        }
        if (s.output == OUTPUT_TABLE && e.outcome == WEIR_DONE) {
            table_print(&l.table, stdout);
        }
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
    }
    table_fini(&l.table);
    session_close(&s);
    return r;
}

int run_group_describe(const struct args *a)
{
    struct session s = {0};
    struct json j;
    weir_group *g = NULL;
    weir_error e;
    int r = session_open(&s, a, NULL);
    if (r) {
        goto out;
    }
    e = weir_group_describe(s.w, a->words[0], &g, s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        r = session_fail_group(&s, a->words[0], &e);
    } else if (s.output == OUTPUT_TABLE) {
        group_print(g);
    } else if (s.output == OUTPUT_NAME) {
        puts(weir_group_get_info(g)->name);
    } else {
        json_init(&j, stdout, s.output == OUTPUT_JSON);
        group_json(&j, NULL, g);
        json_end(&j);
    }
out:
    weir_group_free(g);
    session_close(&s);
    return r;
}

/* What alter, pause and resume print. */
static void show_change(const struct session *s, const weir_group *before, const weir_group *g,
                        bool dry)
{
    struct json j;
    char state[STATE_TEXT_MAX];
    const weir_group_info *info = weir_group_get_info(g);
    switch (s->output) {
    case OUTPUT_NAME:
        puts(info->name);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_init(&j, stdout, s->output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_bool(&j, "dry_run", dry);
        group_json(&j, "before", before);
        group_json(&j, "group", g);
        json_close(&j, '}');
        json_end(&j);
        break;
    case OUTPUT_TABLE:
        printf("%s group %s: %s%s\n", dry ? "would change" : "changed", info->name,
               group_state_text(info->state, state), dry ? " (nothing was done)" : "");
        group_settings_print(before, g);
        break;
    }
}

static int alter(const struct args *a, const char *config)
{
    struct session s = {0};
    weir_group *before = NULL;
    weir_group *g = NULL;
    bool dry = args_has(a, OPT_DRY_RUN);
    int r = session_open(&s, a, NULL);
    if (!r) {
        weir_error e = weir_group_describe(s.w, a->words[0], &before, s.timeout_ms);
        if (e.outcome == WEIR_DONE) {
            e = weir_group_alter(s.w, a->words[0], config, dry ? WEIR_DRY_RUN : 0, &g,
                                 s.timeout_ms);
        }
        if (e.outcome == WEIR_DONE) {
            show_change(&s, before, g, dry);
        } else {
            r = session_fail_group(&s, a->words[0], &e);
        }
    }
    weir_group_free(before);
    weir_group_free(g);
    session_close(&s);
    return r;
}

int run_group_alter(const struct args *a)
{
    char config[SETTINGS_SIZE] = "";
    int r = settings_join(a, OPT_CONFIG_GROUP, weir_group_config_keys(), config);
    if (!r && !*config) {
        r = cli_fail(EXIT_USAGE, "group alter: nothing to change; give --config");
    }
    return r ? r : alter(a, config);
}

int run_group_pause(const struct args *a)
{
    char config[64] = "paused_until=forever";
    const char *until = args_text(a, OPT_UNTIL, NULL);
    int64_t now_ms = cli_wall_ms();
    int64_t ms = 0;
    if (until && !time_parse_ahead(until, now_ms, &ms)) {
        return cli_fail(EXIT_USAGE,
                        "--until: '%.80s' is not a time (2026-01-31T12:00:00Z, milliseconds, 30m)",
                        until);
    }
    if (until && ms <= now_ms) {
        return cli_fail(EXIT_USAGE, "--until: '%.80s' is over", until);
    }
    if (until) {
        snprintf(config, sizeof config, "paused_until=%" PRId64, ms);
    }
    return alter(a, config);
}

int run_group_resume(const struct args *a)
{
    return alter(a, "paused_until=0");
}

static void show_deleted(const struct session *s, const weir_group_info *info, bool dry)
{
    struct json j;
    switch (s->output) {
    case OUTPUT_NAME:
        puts(info->name);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_init(&j, stdout, s->output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_bool(&j, "dry_run", dry);
        json_text(&j, "deleted", info->name);
        json_uint(&j, "members", info->members);
        json_uint(&j, "partitions", info->partitions);
        json_close(&j, '}');
        json_end(&j);
        break;
    case OUTPUT_TABLE:
        printf("%s group %s: %" PRIu32 " members, positions of %" PRIu32 " partitions%s\n",
               dry ? "would delete" : "deleted", info->name, info->members, info->partitions,
               dry ? " (nothing was done)" : "");
        break;
    }
}

static int confirm_delete(const struct session *s, const weir_group_info *info)
{
    char question[320];
    char text[32];
    snprintf(question, sizeof question,
             "Delete group %s with %" PRIu32 " members and its positions (%s messages behind)?",
             info->name, info->members, text_count(text, sizeof text, (int64_t)info->lag_messages));
    return session_confirm(s, question);
}

int run_group_delete(const struct args *a)
{
    struct session s = {0};
    weir_group *g = NULL;
    weir_error e;
    bool dry = args_has(a, OPT_DRY_RUN);
    unsigned flags = (dry ? WEIR_DRY_RUN : 0U) | (args_has(a, OPT_FORCE) ? WEIR_FORCE : 0U);
    int r = session_open(&s, a, NULL);
    if (r) {
        goto out;
    }
    e = weir_group_describe(s.w, a->words[0], &g, s.timeout_ms);
    if (e.outcome == WEIR_DONE && !dry) {
        r = confirm_delete(&s, weir_group_get_info(g));
        if (r) {
            goto out;
        }
    }
    if (e.outcome == WEIR_DONE) {
        e = weir_group_delete(s.w, a->words[0], flags, s.timeout_ms);
    }
    if (e.outcome == WEIR_DONE) {
        show_deleted(&s, weir_group_get_info(g), dry);
    } else {
        r = session_fail_group(&s, a->words[0], &e);
    }
out:
    weir_group_free(g);
    session_close(&s);
    return r;
}
