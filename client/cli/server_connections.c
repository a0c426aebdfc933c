/*
 * weir server connections.
 * Happy path: the library asks for page after page; each connection is a row, up to --count.
 * What can fail: the server's answers (one line).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/values.h"

enum { DEFAULT_COUNT = 100, CELL = 256, CELL_COLUMNS = 40, NS_PER_MS = 1000000 };

struct listing {
    enum output output;
    struct table table;
    struct json json;
    int64_t left; /* so many may still be shown */
    bool more;    /* there was another one */
};

static void cell(struct listing *l, const char *text)
{
    char out[CELL];
    table_cell(&l->table, text_for_cell(out, sizeof out, *text ? text : "-",
                                        strlen(*text ? text : "-"), CELL_COLUMNS));
}

/* "12s", "5m", "3h", "2d": one unit is enough to see who is old. */
static void age_cell(struct listing *l, uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (ms < 1000) {
        table_cellf(&l->table, "%" PRIu64 "ms", ms);
    } else if (s < 120) {
        table_cellf(&l->table, "%" PRIu64 "s", s);
    } else if (s < 7200) {
        table_cellf(&l->table, "%" PRIu64 "m", s / 60);
    } else if (s < 172800) {
        table_cellf(&l->table, "%" PRIu64 "h", s / 3600);
    } else {
        table_cellf(&l->table, "%" PRIu64 "d", s / 86400);
    }
}

static void row(struct listing *l, const weir_connection_info *c)
{
    char bytes[32];
    table_cellf(&l->table, "%" PRIu64, c->id);
    cell(l, c->client);
    cell(l, c->address);
    age_cell(l, c->age_ms);
    age_cell(l, c->idle_ms);
    table_cellf(&l->table, "%" PRIu64, c->requests);
    table_cellf(&l->table, "%" PRIu64, c->subscriptions);
    table_cellf(&l->table, "%" PRIu64, c->members);
    table_cell(&l->table, text_bytes(bytes, sizeof bytes, (double)c->output_bytes));
    cell(l, strcmp(c->state, "ready") != 0 ? c->state : c->waits_for);
}

static void object(struct listing *l, const weir_connection_info *c)
{
    json_open(&l->json, NULL, '{');
    json_uint(&l->json, "id", c->id);
    json_text(&l->json, "client", c->client);
    json_text(&l->json, "address", c->address);
    json_text(&l->json, "state", c->state);
    json_text(&l->json, "waits_for", *c->waits_for ? c->waits_for : NULL);
    json_uint(&l->json, "age_ms", c->age_ms);
    json_uint(&l->json, "idle_ms", c->idle_ms);
    json_uint(&l->json, "requests", c->requests);
    json_uint(&l->json, "request_bytes", c->request_bytes);
    json_uint(&l->json, "subscriptions", c->subscriptions);
    json_uint(&l->json, "members", c->members);
    json_uint(&l->json, "bytes_in", c->bytes_in);
    json_uint(&l->json, "output_bytes", c->output_bytes);
    json_close(&l->json, '}');
    if (l->output == OUTPUT_JSONL) {
        json_end(&l->json);
    }
}

static int one(void *user, const weir_connection_info *c)
{
    struct listing *l = user;
    if (l->left == 0) {
        l->more = true;
        return 0;
    }
    l->left--;
    if (l->output == OUTPUT_NAME) {
        printf("%" PRIu64 "\n", c->id);
    } else if (l->output == OUTPUT_TABLE) {
        row(l, c);
    } else {
        object(l, c);
    }
    return 1;
}

int run_server_connections(const struct args *a)
{
    static const char *const titles[] = {"ID",    "CLIENT", "ADDRESS",  ">AGE",    ">IDLE",
                                         ">OPEN", ">SUBS",  ">MEMBERS", ">QUEUED", "WAITS"};
    struct session s = {0};
    struct listing l = {.left = args_number(a, OPT_COUNT_LIST, DEFAULT_COUNT)};
    const int64_t most = l.left;
    int r = session_open(&s, a, NULL);
    if (!r) {
        l.output = s.output;
        table_init(&l.table, titles, sizeof titles / sizeof titles[0]);
        json_init(&l.json, stdout, s.output == OUTPUT_JSON);
        if (s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        weir_error e = weir_server_connections(s.w, one, &l, s.timeout_ms);
        if (s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        } else if (s.output == OUTPUT_TABLE && e.outcome == WEIR_DONE) {
            table_print(&l.table, stdout);
        }
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
        if (!r && l.more) {
            fprintf(stderr, "weir: there are more than %" PRId64 " connections; see --count\n",
                    most);
        }
    }
    table_fini(&l.table);
    session_close(&s);
    return r;
}
