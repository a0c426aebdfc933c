/*
 * weir dlq list, show.
 * Happy path: names of dead-letter topics come from the list of topics, what is in them from the
 * broker's ranges; messages are read like those of any topic.
 * What can fail: the server's answers (one line).
 * Who owns what: the overview owns its copies of names.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/dlq_read.h"
#include "client/cli/message_json.h"
#include "client/cli/run.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/timeparse.h"
#include "client/cli/values.h"

enum { COUNT_DEFAULT = 100, CELL_COLUMNS = 40, KEY_COLUMNS = 24, CELL_SIZE = 512 };

struct dlq_topic {
    char name[DLQ_NAME_MAX];
    int32_t n_partitions;
    int64_t n[DLQ_STATES];
};

struct overview {
    struct session s;
    const char *of; /* topic; NULL = all */
    struct dlq_topic *v;
    size_t n, cap;
    bool failed;
};

static void offer(void *user, const weir_topic *t)
{
    struct overview *o = user;
    const char *name = weir_topic_name(t);
    if (strlen(name) >= DLQ_NAME_MAX || !(o->of ? dlq_name_of(name, o->of) : dlq_name_is(name))) {
        return;
    }
    if (o->n == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 16;
        struct dlq_topic *more = reallocarray(o->v, cap, sizeof *more);
        if (!more) {
            o->failed = true;
            return;
        }
        o->v = more;
        o->cap = cap;
    }
    struct dlq_topic *d = &o->v[o->n++];
    *d = (struct dlq_topic){.n_partitions = weir_topic_partitions(t)};
    memcpy(d->name, name, strlen(name) + 1);
}

static int count(const struct session *s, struct dlq_topic *d)
{
    int r = EXIT_DONE;
    for (int32_t p = 0; !r && p < d->n_partitions; p++) {
        struct dlq_range *v = NULL;
        size_t n = 0;
        r = dlq_ranges(s, d->name, p, &v, &n);
        for (size_t i = 0; !r && i < n; i++) {
            if (v[i].state >= 0 && v[i].state < DLQ_STATES) {
                d->n[v[i].state] += v[i].last - v[i].first + 1;
            }
        }
        free(v);
    }
    return r;
}

static void overview_show(const struct overview *o)
{
    static const char *const titles[] = {"NAME", ">PARTITIONS", ">DEAD", ">WAITING", ">LEASED"};
    struct table tab;
    struct json j;
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    json_init(&j, stdout, o->s.output == OUTPUT_JSON);
    if (o->s.output == OUTPUT_JSON) {
        json_open(&j, NULL, '[');
    }
    for (size_t i = 0; i < o->n; i++) {
        const struct dlq_topic *d = &o->v[i];
        if (o->s.output == OUTPUT_NAME) {
            puts(d->name);
        } else if (o->s.output == OUTPUT_TABLE) {
            table_cell(&tab, d->name);
            table_cellf(&tab, "%" PRId32, d->n_partitions);
            for (int k = 0; k < DLQ_STATES; k++) {
                table_cellf(&tab, "%" PRId64, d->n[k]);
            }
        } else {
            json_open(&j, NULL, '{');
            json_text(&j, "name", d->name);
            json_int(&j, "partitions", d->n_partitions);
            for (int k = 0; k < DLQ_STATES; k++) {
                json_int(&j, dlq_state_text(k), d->n[k]);
            }
            json_close(&j, '}');
            if (o->s.output == OUTPUT_JSONL) {
                json_end(&j);
            }
        }
    }
    if (o->s.output == OUTPUT_JSON) {
        json_close(&j, ']');
        json_end(&j);
    } else if (o->s.output == OUTPUT_TABLE) {
        table_print(&tab, stdout);
    }
    table_fini(&tab);
}

static int list_topics(const struct args *a)
{
    struct overview o = {.of = a->n_words ? a->words[0] : NULL};
    int r = EXIT_DONE;
    if (args_has(a, OPT_GROUP_DLQ) || args_has(a, OPT_FILTER)) {
        return cli_fail(EXIT_USAGE, "dlq list: --group and --filter need a TOPIC");
    }
    r = session_open(&o.s, a, NULL);
    if (!r) {
        weir_error e = weir_topic_list(o.s.w, offer, &o, o.s.timeout_ms);
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
    }
    if (!r && o.failed) {
        r = cli_fail(EXIT_REFUSED, "out of memory");
    }
    for (size_t i = 0; !r && i < o.n; i++) {
        r = count(&o.s, &o.v[i]);
    }
    if (!r) {
        overview_show(&o);
    }
    free(o.v);
    session_close(&o.s);
    return r;
}

struct listing {
    struct dlq d;
    int64_t max, n;
    struct table table;
    struct json json;
};

/* A header as a NUL-terminated text that may be shown; "-" when it is absent. */
static const char *header_text(const weir_message *m, const char *name, char *out, size_t columns)
{
    weir_bytes h = weir_message_header(m, name);
    if (!h.data) {
        memcpy(out, "-", 2);
        return out;
    }
    return text_for_cell(out, CELL_SIZE, h.data, h.size, columns);
}

/* A header that holds milliseconds since 1970, as time. */
static const char *header_time(const weir_message *m, const char *name, char *out)
{
    char time[TIME_TEXT_MAX];
    int64_t ms;
    header_text(m, name, out, CELL_COLUMNS);
    if (value_count(out, &ms)) {
        snprintf(out, CELL_SIZE, "%s", time_text(time, ms));
    }
    return out;
}

static const char *origin_text(const weir_message *m, char *out)
{
    char part[3][CELL_SIZE];
    snprintf(out, CELL_SIZE, "%.120s/%.20s/%.20s",
             header_text(m, "weir-origin-topic", part[0], CELL_SIZE / 4),
             header_text(m, "weir-origin-partition", part[1], CELL_COLUMNS),
             header_text(m, "weir-origin-offset", part[2], CELL_COLUMNS));
    return out;
}

static void json_header(struct json *j, const char *key, const weir_message *m, const char *name)
{
    char text[CELL_SIZE];
    weir_bytes h = weir_message_header(m, name);
    int64_t v;
    if (h.data && h.size < sizeof text && value_count(header_text(m, name, text, h.size), &v)) {
        json_int(j, key, v);
    } else {
        json_bytes(j, key, h.data, h.size);
    }
}

static void letter_json(struct json *j, const weir_message *m, int state)
{
    json_open(j, NULL, '{');
    json_int(j, "partition", m->partition);
    json_int(j, "offset", m->offset);
    json_text(j, "state", dlq_state_text(state));
    json_header(j, "origin_topic", m, "weir-origin-topic");
    json_header(j, "origin_partition", m, "weir-origin-partition");
    json_header(j, "origin_offset", m, "weir-origin-offset");
    json_header(j, "group", m, "weir-group");
    json_header(j, "attempts", m, "weir-attempts");
    json_header(j, "reason", m, HEADER_REASON);
    json_header(j, "first_at_ms", m, "weir-first-at");
    json_header(j, "last_at_ms", m, "weir-last-at");
    json_bytes(j, "key", m->key.data, m->key.size);
    json_uint(j, "size", m->value.size);
    json_close(j, '}');
}

static int list_letter(void *user, const weir_message *m, int state)
{
    struct listing *l = user;
    char text[CELL_SIZE];
    switch (l->d.s.output) {
    case OUTPUT_NAME:
        printf("%" PRId32 ":%" PRId64 "\n", m->partition, m->offset);
        break;
    case OUTPUT_JSON:
        letter_json(&l->json, m, state);
        break;
    case OUTPUT_JSONL:
        letter_json(&l->json, m, state);
        json_end(&l->json);
        break;
    case OUTPUT_TABLE:
        table_cellf(&l->table, "%" PRId32 ":%" PRId64, m->partition, m->offset);
        table_cell(&l->table, dlq_state_text(state));
        table_cell(&l->table, origin_text(m, text));
        table_cell(&l->table, header_text(m, "weir-attempts", text, CELL_COLUMNS));
        table_cell(&l->table, header_time(m, "weir-last-at", text));
        table_cell(&l->table, m->key.data ? text_for_cell(text, sizeof text, m->key.data,
                                                          m->key.size, KEY_COLUMNS)
                                          : "-");
        table_cell(&l->table, header_text(m, HEADER_REASON, text, CELL_COLUMNS));
        break;
    }
    return ++l->n < l->max ? EXIT_DONE : DLQ_ENOUGH;
}

static int list_letters(const struct args *a)
{
    static const char *const titles[] = {"PLACE", "STATE", "ORIGIN", ">ATTEMPTS",
                                         "LAST",  "KEY",   "REASON"};
    struct listing l = {.max = args_number(a, OPT_COUNT_LIST, COUNT_DEFAULT)};
    int r = dlq_init(&l.d, a, 1);
    if (!r) {
        r = dlq_open(&l.d);
    }
    table_init(&l.table, titles, sizeof titles / sizeof titles[0]);
    if (!r) {
        json_init(&l.json, stdout, l.d.s.output == OUTPUT_JSON);
        if (l.d.s.output == OUTPUT_JSON) {
            json_open(&l.json, NULL, '[');
        }
        r = l.max > 0 ? dlq_walk(&l.d, list_letter, &l) : EXIT_DONE;
        if (l.d.s.output == OUTPUT_JSON) {
            json_close(&l.json, ']');
            json_end(&l.json);
        } else if (l.d.s.output == OUTPUT_TABLE && !r) {
            table_print(&l.table, stdout);
        }
    }
    table_fini(&l.table);
    dlq_fini(&l.d);
    return r;
}

int run_dlq_list(const struct args *a)
{
    bool letters = a->n_words && (dlq_name_is(a->words[0]) || args_has(a, OPT_GROUP_DLQ));
    return letters ? list_letters(a) : list_topics(a);
}

static void show_text(const weir_message *m, int state)
{
    char text[CELL_SIZE];
    char value[CELL_SIZE];
    size_t pos = 0;
    weir_bytes name, v;
    printf("place       %s %" PRId32 ":%" PRId64 "\nstate       %s\norigin      %s\n"
           "attempts    %s\n",
           m->topic, m->partition, m->offset, dlq_state_text(state), origin_text(m, text),
           header_text(m, "weir-attempts", value, CELL_COLUMNS));
    printf("first       %s\n", header_time(m, "weir-first-at", text));
    printf("last        %s\n", header_time(m, "weir-last-at", text));
    printf("reason      %s\n", header_text(m, HEADER_REASON, text, CELL_SIZE));
    printf("produced    %s\n", time_text(text, m->timestamp_ms));
    printf("key         %s\n",
           m->key.data ? text_for_cell(text, sizeof text, m->key.data, m->key.size, CELL_SIZE)
                       : "-");
    while (weir_message_next_header(m, &pos, &name, &v)) {
        printf("header      %s = %s\n",
               text_for_cell(text, sizeof text, name.data, name.size, CELL_SIZE),
               text_for_cell(value, sizeof value, v.data, v.size, CELL_SIZE));
    }
    printf("value       %zu bytes\n\n", m->value.size);
    fwrite(m->value.data ? m->value.data : "", 1, m->value.size, stdout);
    putchar('\n');
}

struct showing {
    struct dlq d;
    bool found;
};

static int show_letter(void *user, const weir_message *m, int state)
{
    struct showing *s = user;
    struct json j;
    s->found = true;
    if (s->d.s.output == OUTPUT_TABLE) {
        show_text(m, state);
    } else {
        json_init(&j, stdout, s->d.s.output == OUTPUT_JSON);
        message_json(&j, m);
        json_end(&j);
    }
    return DLQ_ENOUGH;
}

int run_dlq_show(const struct args *a)
{
    struct showing s = {0};
    int r = dlq_init(&s.d, a, 1);
    if (!r && s.d.named.v[0].first != s.d.named.v[0].last) {
        r = cli_fail(EXIT_USAGE, "dlq show: '%.80s' is more than one message", a->words[1]);
    }
    if (!r) {
        r = dlq_open(&s.d);
    }
    if (!r) {
        r = dlq_walk(&s.d, show_letter, &s);
    }
    if (!r && !s.found) {
        r = cli_fail(EXIT_NOT_FOUND, "%s holds no dead letter %s", s.d.topic, a->words[1]);
    }
    dlq_fini(&s.d);
    return r;
}
