/*
 * weir topic ...
 * Happy path: open a session, one administrative call, show the topic.
 * What can fail: every call; the failure is one line. Who owns what: each function frees the topics
 * it was given.
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/settings.h"
#include "client/cli/table.h"
#include "client/cli/topic_show.h"
#include "client/cli/values.h"

/* --partitions and --config as the library wants them. */
static int config_text(const struct args *a, char *out)
{
    out[0] = 0;
    if (args_has(a, OPT_PARTITIONS)) {
        snprintf(out, SETTINGS_SIZE, "partitions=%" PRId64, args_number(a, OPT_PARTITIONS, 0));
    }
    return settings_join(a, OPT_CONFIG, weir_topic_config_keys(), out);
}

/* What create and alter print. `before` NULL: created. */
static void show_change(const struct session *s, const weir_topic *before, const weir_topic *t,
                        bool dry)
{
    struct json j;
    const char *name = weir_topic_name(t);
    switch (s->output) {
    case OUTPUT_NAME:
        puts(name);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_init(&j, stdout, s->output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_bool(&j, "dry_run", dry);
        if (before) {
            topic_json(&j, "before", before);
        }
        topic_json(&j, "topic", t);
        json_close(&j, '}');
        json_end(&j);
        break;
    case OUTPUT_TABLE:
        printf("%s topic %s%s\n",
               before ? dry ? "would change" : "changed"
               : dry  ? "would create"
                      : "created",
               name, dry ? " (nothing was done)" : "");
        topic_settings_print(before, t);
        break;
    }
}

int run_topic_create(const struct args *a)
{
    struct session s = {0};
    weir_topic *t = NULL;
    char config[SETTINGS_SIZE];
    bool dry = args_has(a, OPT_DRY_RUN);
    int r = config_text(a, config);
    if (!r) {
        r = session_open(&s, a, NULL);
    }
    if (!r) {
        weir_error e = weir_topic_create(s.w, a->words[0], *config ? config : NULL,
                                         dry ? WEIR_DRY_RUN : 0, &t, s.timeout_ms);
        if (e.outcome == WEIR_DONE) {
            show_change(&s, NULL, t, dry);
        } else {
            r = session_fail(&e);
        }
    }
    weir_topic_free(t);
    session_close(&s);
    return r;
}

int run_topic_alter(const struct args *a)
{
    struct session s = {0};
    weir_topic *before = NULL;
    weir_topic *t = NULL;
    char config[SETTINGS_SIZE];
    bool dry = args_has(a, OPT_DRY_RUN);
    int r = config_text(a, config);
    if (!r && !*config) {
        r = cli_fail(EXIT_USAGE, "topic alter: nothing to change; give --partitions or --config");
    }
    if (!r) {
        r = session_open(&s, a, NULL);
    }
    if (!r) {
        weir_error e = weir_topic_describe(s.w, a->words[0], &before, s.timeout_ms);
        if (e.outcome == WEIR_DONE) {
            e = weir_topic_alter(s.w, a->words[0], config, dry ? WEIR_DRY_RUN : 0, &t,
                                 s.timeout_ms);
        }
        if (e.outcome == WEIR_DONE) {
            show_change(&s, before, t, dry);
        } else {
            r = session_fail_topic(&s, a->words[0], &e);
        }
    }
    weir_topic_free(before);
    weir_topic_free(t);
    session_close(&s);
    return r;
}

static void show_deleted(const struct session *s, const weir_topic *t, uint64_t bytes, bool dry)
{
    struct json j;
    char text[2][32];
    const char *name = weir_topic_name(t);
    switch (s->output) {
    case OUTPUT_NAME:
        puts(name);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_init(&j, stdout, s->output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_bool(&j, "dry_run", dry);
        json_text(&j, "deleted", name);
        json_int(&j, "messages", topic_messages(t));
        json_uint(&j, "bytes", bytes);
        json_close(&j, '}');
        json_end(&j);
        break;
    case OUTPUT_TABLE:
        printf("%s topic %s: %" PRId32 " partitions, %s messages, %s%s\n",
               dry ? "would delete" : "deleted", name, weir_topic_partitions(t),
               text_count(text[0], sizeof text[0], topic_messages(t)),
               text_bytes(text[1], sizeof text[1], (double)bytes),
               dry ? " (nothing was done)" : "");
        break;
    }
}

static int confirm_delete(const struct session *s, const weir_topic *t)
{
    char question[256];
    char text[2][32];
    snprintf(question, sizeof question, "Delete topic %s with %s messages (%s)?",
             weir_topic_name(t), text_count(text[0], sizeof text[0], topic_messages(t)),
             text_bytes(text[1], sizeof text[1], (double)topic_bytes(t)));
    return session_confirm(s, question);
}

int run_topic_delete(const struct args *a)
{
    struct session s = {0};
    weir_topic *t = NULL;
    weir_error e;
    uint64_t bytes = 0;
    bool dry = args_has(a, OPT_DRY_RUN);
    int r = session_open(&s, a, NULL);
    if (r) {
        goto out;
    }
    e = weir_topic_describe(s.w, a->words[0], &t, s.timeout_ms);
    if (e.outcome == WEIR_DONE && !dry) {
        r = confirm_delete(&s, t);
        if (r) {
            goto out;
        }
    }
    if (e.outcome == WEIR_DONE) {
        e = weir_topic_delete(s.w, a->words[0], dry ? WEIR_DRY_RUN : 0, &bytes, s.timeout_ms);
    }
    if (e.outcome == WEIR_DONE) {
        show_deleted(&s, t, bytes, dry);
    } else {
        r = session_fail_topic(&s, a->words[0], &e);
    }
out:
    weir_topic_free(t);
    session_close(&s);
    return r;
}

struct listing {
    enum output output;
    struct table table;
    struct json json;
};

static void list_one(void *user, const weir_topic *t)
{
    struct listing *l = user;
    char text[64];
    switch (l->output) {
    case OUTPUT_NAME:
        puts(weir_topic_name(t));
        break;
    case OUTPUT_JSONL:
        topic_json(&l->json, NULL, t);
        json_end(&l->json);
        break;
    case OUTPUT_JSON:
        topic_json(&l->json, NULL, t);
        break;
    case OUTPUT_TABLE:
        table_cell(&l->table, weir_topic_name(t));
        table_cellf(&l->table, "%" PRId32, weir_topic_partitions(t));
        table_cell(&l->table, topic_kind(weir_topic_name(t)));
        table_cell(&l->table, setting_text("retention.ms", weir_topic_config(t, "retention.ms"),
                                           text, sizeof text));
        break;
    }
}

int run_topic_list(const struct args *a)
{
    static const char *const titles[] = {"NAME", ">PARTITIONS", "KIND", "RETENTION.MS"};
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
        weir_error e = weir_topic_list(s.w, list_one, &l, s.timeout_ms);
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

static void show_topic(enum output output, const weir_topic *t)
{
    struct json j;
    char text[2][32];
    switch (output) {
    case OUTPUT_NAME:
        puts(weir_topic_name(t));
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_init(&j, stdout, output == OUTPUT_JSON);
        topic_json(&j, NULL, t);
        json_end(&j);
        break;
    case OUTPUT_TABLE:
        printf("topic %s: id %" PRIu64 ", %s messages, %s\n\n", weir_topic_name(t),
               weir_topic_id(t), text_count(text[0], sizeof text[0], topic_messages(t)),
               text_bytes(text[1], sizeof text[1], (double)topic_bytes(t)));
        topic_settings_print(NULL, t);
        putchar('\n');
        topic_partitions_print(t);
        break;
    }
}

int run_topic_describe(const struct args *a)
{
    struct session s = {0};
    weir_topic *t = NULL;
    int r = session_open(&s, a, NULL);
    if (!r) {
        weir_error e = weir_topic_describe(s.w, a->words[0], &t, s.timeout_ms);
        if (e.outcome == WEIR_DONE) {
            show_topic(s.output, t);
        } else {
            r = session_fail_topic(&s, a->words[0], &e);
        }
    }
    weir_topic_free(t);
    session_close(&s);
    return r;
}
