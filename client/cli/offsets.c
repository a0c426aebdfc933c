/*
 * weir offsets: what each partition holds, or where it was at a time.
 * Happy path: the topic is described; with --at one further question for each partition.
 * What can fail: the server's answers (one line).
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/clock.h"
#include "client/cli/json.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/table.h"

struct offsets {
    struct session s;
    const char *topic;
    bool has_at;
    int64_t at_ms;
    struct table table;
    struct json json;
};

struct found {
    int64_t offset, append_ms; /* append_ms 0: nothing that late */
};

static void row_json(struct offsets *o, const weir_partition_info *p, const struct found *at)
{
    struct json *j = &o->json;
    char text[TIME_TEXT_MAX];
    json_open(j, NULL, '{');
    json_text(j, "topic", o->topic);
    json_int(j, "partition", p->partition);
    json_int(j, "start", p->log_start);
    json_int(j, "end", p->high_watermark);
    json_uint(j, "bytes", p->bytes);
    if (p->last_append_ms) {
        json_text(j, "last_append", time_text(text, p->last_append_ms));
    } else {
        json_null(j, "last_append");
    }
    if (o->has_at) {
        json_int(j, "offset", at->offset);
        if (at->append_ms) {
            json_text(j, "appended", time_text(text, at->append_ms));
        } else {
            json_null(j, "appended");
        }
    }
    json_close(j, '}');
    if (o->s.output == OUTPUT_JSONL) {
        json_end(j);
    }
}

static void row_table(struct offsets *o, const weir_partition_info *p, const struct found *at)
{
    char text[TIME_TEXT_MAX];
    table_cellf(&o->table, "%" PRId32, p->partition);
    if (o->has_at) {
        table_cellf(&o->table, "%" PRId64, at->offset);
        table_cell(&o->table, at->append_ms ? time_text(text, at->append_ms) : "- (the end)");
        return;
    }
    table_cellf(&o->table, "%" PRId64, p->log_start);
    table_cellf(&o->table, "%" PRId64, p->high_watermark);
    table_cellf(&o->table, "%" PRIu64, p->bytes);
    table_cell(&o->table, p->last_append_ms ? time_text(text, p->last_append_ms) : "-");
}

static int rows(struct offsets *o, const weir_topic *t, int32_t only)
{
    weir_partition_info p;
    for (int32_t i = 0; i < weir_topic_partitions(t); i++) {
        struct found at = {0, 0};
        if ((only >= 0 && i != only) || weir_topic_partition(t, i, &p) != 0) {
            continue;
        }
        if (o->has_at) {
            weir_error e = weir_offset(o->s.w, o->topic, i, o->at_ms, &at.offset, &at.append_ms,
                                       o->s.timeout_ms);
            if (e.outcome != WEIR_DONE) {
                return session_fail_topic(&o->s, o->topic, &e);
            }
        }
        if (o->s.output == OUTPUT_TABLE) {
            row_table(o, &p, &at);
        } else if (o->s.output == OUTPUT_NAME) {
            printf("%s/%" PRId32 "\n", o->topic, p.partition);
        } else {
            row_json(o, &p, &at);
        }
    }
    return EXIT_DONE;
}

static int show(struct offsets *o, int32_t only)
{
    static const char *const plain[] = {">PARTITION", ">START", ">END", ">BYTES", "LAST APPEND"};
    static const char *const timed[] = {">PARTITION", ">OFFSET", "APPENDED"};
    weir_topic *t = NULL;
    weir_error e = weir_topic_describe(o->s.w, o->topic, &t, o->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_topic(&o->s, o->topic, &e);
    }
    int r;
    if (only >= weir_topic_partitions(t)) {
        r = cli_fail(EXIT_NOT_FOUND, "topic '%s' has no partition %" PRId32, o->topic, only);
        weir_topic_free(t);
        return r;
    }
    if (o->has_at) {
        table_init(&o->table, timed, sizeof timed / sizeof timed[0]);
    } else {
        table_init(&o->table, plain, sizeof plain / sizeof plain[0]);
    }
    json_init(&o->json, stdout, o->s.output == OUTPUT_JSON);
    if (o->s.output == OUTPUT_JSON) {
        json_open(&o->json, NULL, '[');
    }
    r = rows(o, t, only);
    if (o->s.output == OUTPUT_JSON) {
        json_close(&o->json, ']');
        json_end(&o->json);
    } else if (o->s.output == OUTPUT_TABLE && !r) {
        table_print(&o->table, stdout);
    }
    weir_topic_free(t);
    return r;
}

int run_offsets(const struct args *a)
{
    struct offsets o = {.topic = a->words[0], .has_at = args_has(a, OPT_AT)};
    const char *at = args_text(a, OPT_AT, "now");
    int r = EXIT_DONE;
    if (!time_parse(*at == '@' ? at + 1 : at, cli_wall_ms(), &o.at_ms)) {
        r = cli_fail(EXIT_USAGE,
                     "--at: '%.80s' is not a time (2026-01-31T12:00:00Z, milliseconds, -1h)", at);
    }
    if (!r) {
        r = session_open(&o.s, a, NULL);
    }
    if (!r) {
        r = show(&o, reader_partition(a));
    }
    table_fini(&o.table);
    session_close(&o.s);
    return r;
}
