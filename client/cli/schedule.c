/*
 * weir schedule list, cancel.
 * Happy path: one call lists. Messages are cancelled by their ids, each with its own result. The id
 * of a batch stands for all its messages: they are asked for one after the other, until one is
 * unknown.
 * What can fail: the server's answers (one line); an id that is delivered already or unknown, which
 * is said and makes the exit code 1.
 * Who owns what: the cancel owns its targets; ids are texts of the command line.
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

enum { COUNT_DEFAULT = 100, ID_SIZE = 96, IDS_AT_ONCE = 64 };

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

/* A word of the command line: a message ("BATCH.3"), or a batch: all its messages. */
struct target {
    const char *id;
    bool batch;
    bool found; /* dry run: in the list of what waits */
    int status; /* as weir_schedule_cancel */
};

struct cancel {
    struct session s;
    struct target *targets;
    size_t n;
    size_t not_found;
    bool dry;
};

static bool names(const struct target *t, const weir_scheduled *w)
{
    size_t n = strlen(w->id);
    int64_t i;
    if (strncmp(t->id, w->id, n) != 0) {
        return false;
    }
    return t->batch ? !t->id[n] : t->id[n] == '.' && value_count(t->id + n + 1, &i);
}

static int look(void *user, const weir_scheduled *w)
{
    struct cancel *c = user;
    for (size_t i = 0; i < c->n; i++) {
        struct target *t = &c->targets[i];
        if (!t->found && names(t, w)) {
            t->found = true;
            c->not_found--;
        }
    }
    return c->not_found > 0;
}

/* A batch of n messages has the ids ID.0 to ID.(n-1); the next one is unknown. */
static weir_error cancel_batch(struct cancel *c, const char *topic, struct target *t)
{
    char text[IDS_AT_ONCE][ID_SIZE];
    const char *ids[IDS_AT_ONCE];
    int status[IDS_AT_ONCE];
    weir_error e = {.outcome = WEIR_DONE};
    bool more = true;
    t->status = WEIR_NOT_SCHEDULED;
    for (uint32_t i = 0; more && e.outcome == WEIR_DONE; i += IDS_AT_ONCE) {
        for (uint32_t k = 0; k < IDS_AT_ONCE; k++) {
            snprintf(text[k], sizeof text[k], "%.80s.%" PRIu32, t->id, i + k);
            ids[k] = text[k];
        }
        e = weir_schedule_cancel(c->s.w, topic, ids, IDS_AT_ONCE, status, c->s.timeout_ms);
        for (uint32_t k = 0; more && e.outcome == WEIR_DONE && k < IDS_AT_ONCE; k++) {
            more = status[k] == WEIR_CANCELLED;
            if (status[k] != WEIR_NOT_SCHEDULED) {
                t->status = status[k];
            }
        }
    }
    return e;
}

/* Cancels the single messages, in as few requests as the library makes of them. */
static weir_error cancel_messages(struct cancel *c, const char *topic, const char **ids,
                                  int *status)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (!c->targets[i].batch) {
            ids[n++] = c->targets[i].id;
        }
    }
    weir_error e = {.outcome = WEIR_DONE};
    if (n > 0) {
        e = weir_schedule_cancel(c->s.w, topic, ids, n, status, c->s.timeout_ms);
    }
    for (size_t i = 0, k = 0; e.outcome == WEIR_DONE && i < c->n; i++) {
        if (!c->targets[i].batch) {
            c->targets[i].status = status[k++];
        }
    }
    return e;
}

/* A dry run only looks whether they wait. */
static weir_error look_all(struct cancel *c, const char *topic)
{
    c->not_found = c->n;
    weir_error e = weir_schedule_list(c->s.w, topic, look, c, c->s.timeout_ms);
    for (size_t i = 0; i < c->n; i++) {
        c->targets[i].status = c->targets[i].found ? WEIR_CANCELLED : WEIR_NOT_SCHEDULED;
    }
    return e;
}

static int cancel_all(struct cancel *c, const char *topic, const char **ids, int *status)
{
    weir_error e = c->dry ? look_all(c, topic) : cancel_messages(c, topic, ids, status);
    for (size_t i = 0; !c->dry && e.outcome == WEIR_DONE && i < c->n; i++) {
        if (c->targets[i].batch) {
            e = cancel_batch(c, topic, &c->targets[i]);
        }
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
            table_cell(&tab, c->targets[i].id);
            table_cell(&tab, status_text(c, c->targets[i].status));
        } else if (c->s.output == OUTPUT_NAME) {
            if (c->targets[i].status == WEIR_CANCELLED) {
                puts(c->targets[i].id);
            }
        } else {
            json_open(&j, NULL, '{');
            json_text(&j, "id", c->targets[i].id);
            json_text(&j, "result", status_text(c, c->targets[i].status));
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
    struct cancel c = {.n = a->n_words - 1, .dry = args_has(a, OPT_DRY_RUN)};
    const char **ids = calloc(c.n, sizeof *ids);
    int *status = calloc(c.n, sizeof *status);
    size_t missed = 0;
    int r = EXIT_DONE;
    c.targets = calloc(c.n, sizeof *c.targets);
    if (!ids || !status || !c.targets) {
        r = cli_fail(EXIT_REFUSED, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < c.n; i++) {
        const char *id = a->words[i + 1];
        c.targets[i] = (struct target){.id = id, .batch = !strchr(id, '.')};
    }
    r = session_open(&c.s, a, NULL);
    if (!r) {
        r = cancel_all(&c, a->words[0], ids, status);
    }
    if (r) {
        goto out;
    }
    show_cancelled(&c);
    for (size_t i = 0; i < c.n; i++) {
        missed += c.targets[i].status != WEIR_CANCELLED;
    }
    if (missed) {
        r = cli_fail(EXIT_REFUSED, "%zu of %zu %s", missed, c.n,
                     c.dry ? "are not scheduled" : "were not cancelled");
    }
out:
    free(ids);
    free(status);
    free(c.targets);
    session_close(&c.s);
    return r;
}
