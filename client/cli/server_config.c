/*
 * weir server config.
 * Happy path: one request; each setting is a row.
 * What can fail: the server's answers (one line).
 */
#include <stdio.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

enum { CELL = 256, CELL_COLUMNS = 60 };

struct listing {
    enum output output;
    struct table table;
    struct json json;
};

static void cell(struct listing *l, const char *text)
{
    char out[CELL];
    table_cell(&l->table, text_for_cell(out, sizeof out, *text ? text : "-",
                                        strlen(*text ? text : "-"), CELL_COLUMNS));
}

static void one(void *user, const weir_setting_info *info)
{
    struct listing *l = user;
    switch (l->output) {
    case OUTPUT_NAME:
        puts(info->key);
        break;
    case OUTPUT_TABLE:
        cell(l, info->key);
        cell(l, info->value);
        cell(l, info->source);
        cell(l, info->reloads ? "yes" : "no");
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_open(&l->json, NULL, '{');
        json_text(&l->json, "key", info->key);
        json_text(&l->json, "value", info->value);
        json_text(&l->json, "source", info->source);
        json_bool(&l->json, "reloads", info->reloads);
        json_close(&l->json, '}');
        if (l->output == OUTPUT_JSONL) {
            json_end(&l->json);
        }
        break;
    }
}

int run_server_config(const struct args *a)
{
    static const char *const titles[] = {"SETTING", "VALUE", "SOURCE", "RELOADS"};
    struct session s = {0};
    struct listing l = {0};
    int r = session_open(&s, a, NULL);
    if (!r) {
        l.output = s.output;
        table_init(&l.table, titles, sizeof titles / sizeof titles[0]);
        json_init(&l.json, stdout, s.output == OUTPUT_JSON);
        if (s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        weir_error e = weir_server_config(s.w, one, &l, s.timeout_ms);
        if (s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        } else if (s.output == OUTPUT_TABLE && e.outcome == WEIR_DONE) {
            table_print(&l.table, stdout);
        }
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
    }
    table_fini(&l.table);
    session_close(&s);
    return r;
}
