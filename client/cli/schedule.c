/*
 * weir schedule list, cancel.
 * Happy path: one call lists; ids are cancelled a thousand at a time, each with its own result.
 * What can fail: the server's answers (one line); an id that is delivered already or unknown, which
 * is said and makes the exit code 1.
 * Who owns what: the array of results belongs to the cancel.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/timeparse.h"
#include "client/cli/values.h"

enum { COUNT_DEFAULT = 100, IDS_AT_ONCE = 1000 };

struct listing {
    struct session s;
    int64_t max, n;
    struct table table;
    struct json json;
};

static int list_one(void *user, const weir_scheduled *w)
{
    struct listing *l = user;
    char text[TIME_TEXT_MAX];
    if (l->n >= l->max) {
        return 0;
    }
    switch (l->s.output) {
    case OUTPUT_NAME:
        puts(w->id);
        break;
    case OUTPUT_JSON:
    case OUTPUT_JSONL:
        json_open(&l->json, NULL, '{');
        json_text(&l->json, "id", w->id);
        json_int(&l->json, "partition", w->partition);
        json_text(&l->json, "due", time_text(text, w->due_ms));
        json_int(&l->json, "due_ms", w->due_ms);
        json_uint(&l->json, "messages", w->messages);
        json_uint(&l->json, "bytes", w->bytes);
        json_close(&l->json, '}');
        if (l->s.output == OUTPUT_JSONL) {
            json_end(&l->json);
        }
        break;
    case OUTPUT_TABLE:
        table_cell(&l->table, w->id);
        table_cell(&l->table, time_text(text, w->due_ms));
        table_cellf(&l->table, "%" PRId32, w->partition);
        table_cellf(&l->table, "%" PRIu32, w->messages);
        table_cellf(&l->table, "%" PRIu32, w->bytes);
        break;
    }
    return ++l->n < l->max;
}

int run_schedule_list(const struct args *a)
{
    static const char *const titles[] = {"ID", "DUE", ">PARTITION", ">MESSAGES", ">BYTES"};
    struct listing l = {.max = args_number(a, OPT_COUNT_LIST, COUNT_DEFAULT)};
    int r = session_open(&l.s, a, NULL);
    if (!r) {
        json_init(&l.json, stdout, l.s.output == OUTPUT_JSON);
        table_init(&l.table, titles, sizeof titles / sizeof titles[0]);
        if (l.s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        weir_error e = weir_schedule_list(l.s.w, a->words[0], list_one, &l, l.s.timeout_ms);
        if (l.s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        }
        if (l.s.output == OUTPUT_TABLE && e.outcome == WEIR_DONE) {
            table_print(&l.table, stdout);
        }
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail_topic(&l.s, a->words[0], &e);
    }
    table_fini(&l.table);
    session_close(&l.s);
    return r;
}

struct cancel {
    struct session s;
    const char *const *ids;
    int *status; /* as weir_schedule_cancel; WEIR_NOT_SCHEDULED at first */
    size_t n;
    bool dry;
};

/* Is `id` the batch or one of its messages, "BATCH.3"? */
static bool names(const char *id, const weir_scheduled *w)
{
    size_t n = strlen(w->id);
    int64_t i;
    if (strncmp(id, w->id, n) != 0) {
        return false;
    }
    return !id[n] || (id[n] == '.' && value_count(id + n + 1, &i) && i < (int64_t)w->messages);
}

static int look(void *user, const weir_scheduled *w)
{
    struct cancel *c = user;
    for (size_t i = 0; i < c->n; i++) {
        if (names(c->ids[i], w)) {
            c->status[i] = WEIR_CANCELLED;
        }
    }
    return 1;
}

static int cancel_all(struct cancel *c, const char *topic)
{
    weir_error e = {.outcome = WEIR_DONE};
    if (c->dry) {
        e = weir_schedule_list(c->s.w, topic, look, c, c->s.timeout_ms);
    }
    for (size_t i = 0; !c->dry && e.outcome == WEIR_DONE && i < c->n; i += IDS_AT_ONCE) {
        size_t n = c->n - i < IDS_AT_ONCE ? c->n - i : IDS_AT_ONCE;
        e = weir_schedule_cancel(c->s.w, topic, c->ids + i, n, c->status + i, c->s.timeout_ms);
    }
    return e.outcome == WEIR_DONE ? EXIT_DONE : session_fail_topic(&c->s, topic, &e);
}

static const char *status_text(const struct cancel *c, int status)
{
    if (status == WEIR_CANCELLED) {
        return c->dry ? "would cancel" : "cancelled";
    }
    if (c->dry) {
        return "not scheduled";
    }
    return status == WEIR_DELIVERED ? "delivered" : "unknown";
}

static void show_cancelled(const struct cancel *c)
{
    static const char *const titles[] = {"ID", "RESULT"};
    struct table tab;
    struct json j;
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    json_init(&j, stdout, c->s.output == OUTPUT_JSON);
    if (c->s.output == OUTPUT_JSON) {
        json_open(&j, NULL, '[');
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->s.output == OUTPUT_TABLE) {
            table_cell(&tab, c->ids[i]);
            table_cell(&tab, status_text(c, c->status[i]));
        } else if (c->s.output == OUTPUT_NAME) {
            if (c->status[i] == WEIR_CANCELLED) {
                puts(c->ids[i]);
            }
        } else {
            json_open(&j, NULL, '{');
            json_text(&j, "id", c->ids[i]);
            json_text(&j, "result", status_text(c, c->status[i]));
            json_bool(&j, "dry_run", c->dry);
            json_close(&j, '}');
            if (c->s.output == OUTPUT_JSONL) {
                json_end(&j);
            }
        }
    }
    if (c->s.output == OUTPUT_JSON) {
        json_close(&j, ']');
        json_end(&j);
    } else if (c->s.output == OUTPUT_TABLE) {
        table_print(&tab, stdout);
    }
    table_fini(&tab);
}

int run_schedule_cancel(const struct args *a)
{
    struct cancel c = {.ids = a->words + 1, .n = a->n_words - 1, .dry = args_has(a, OPT_DRY_RUN)};
    int r = EXIT_DONE;
    c.status = calloc(c.n, sizeof *c.status);
    if (!c.status) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    for (size_t i = 0; i < c.n; i++) {
        c.status[i] = WEIR_NOT_SCHEDULED;
    }
    r = session_open(&c.s, a, NULL);
    if (!r) {
        r = cancel_all(&c, a->words[0]);
    }
    if (!r) {
        show_cancelled(&c);
    }
    size_t missed = 0;
    for (size_t i = 0; !r && i < c.n; i++) {
        missed += c.status[i] != WEIR_CANCELLED;
    }
    if (missed) {
        r = cli_fail(EXIT_REFUSED, "%zu of %zu messages %s", missed, c.n,
                     c.dry ? "are not scheduled" : "were not cancelled");
    }
    free(c.status);
    session_close(&c.s);
    return r;
}
