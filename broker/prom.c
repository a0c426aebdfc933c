/*
 * Happy path: every figure of metrics_walk becomes a sample; samples are sorted by family and
 * printed, each family after its HELP and TYPE. Topics and groups in detail come from the core.
 * What can fail: memory; the buffer then says so and the answer is an error.
 */
#include "broker/prom.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/metrics_help.h"

enum { NAME_MAX_BYTES = 96, TOPICS_SHOWN = 500 };

struct sample {
    char name[NAME_MAX_BYTES];
    const char *label, *label_value; /* borrowed from the metrics */
    double scale;
    uint64_t value;
    unsigned order; /* samples of a family stay in their order */
};

struct samples {
    struct sample *at;
    size_t n, room;
};

static const struct {
    const char *suffix, *becomes;
    double scale;
} units[] = {
    {"_nanoseconds_total", "_seconds_total", 1e-9},
    {"_nanoseconds_max", "_seconds_max", 1e-9},
    {"_milliseconds_total", "_seconds_total", 1e-3},
    {"_milliseconds", "_seconds", 1e-3},
};

/* The name in base units. */
static double base_name(char out[NAME_MAX_BYTES], const char *name)
{
    const size_t n = strlen(name);

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const size_t s = strlen(units[i].suffix);
        if (n > s && strcmp(name + n - s, units[i].suffix) == 0) {
            snprintf(out, NAME_MAX_BYTES, "%.*s%s", (int)(n - s), name, units[i].becomes);
            return units[i].scale;
        }
    }
    snprintf(out, NAME_MAX_BYTES, "%s", name);
    return 1;
}

static void add_sample(void *arg, const char *name, const char *label, const char *label_value,
                       uint64_t value)
{
    struct samples *s = arg;

    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 512;
        s->at = realloc(s->at, s->room * sizeof *s->at);
        if (s->at == NULL) {
            abort();
        }
    }
    struct sample *x = &s->at[s->n];
    *x = (struct sample){
        .label = label, .label_value = label_value, .value = value, .order = (unsigned)s->n};
    x->scale = base_name(x->name, name);
    s->n++;
}

static int by_family(const void *pa, const void *pb)
{
    const struct sample *a = pa, *b = pb;
    const int c = strcmp(a->name, b->name);

    return c != 0 ? c : (a->order > b->order) - (a->order < b->order);
}

/* ---------------------------------------------------------------- text */

static void put_text(struct buf *out, const char *s)
{
    buf_put(out, s, strlen(s));
}

/* Label values: backslash, quote and line feed are escaped. */
static void put_value(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' || s[i] == '"') {
            buf_put_u8(out, '\\');
        }
        if (s[i] == '\n') {
            put_text(out, "\\n");
        } else {
            buf_put_u8(out, (uint8_t)s[i]);
        }
    }
}

static bool ends_with(const char *name, const char *suffix)
{
    const size_t n = strlen(name), s = strlen(suffix);

    return n > s && strcmp(name + n - s, suffix) == 0;
}

static void put_head(struct buf *out, const char *name, const char *type)
{
    put_text(out, "# HELP ");
    put_text(out, name);
    put_text(out, " ");
    put_text(out, metrics_help(name));
    put_text(out, "\n# TYPE ");
    put_text(out, name);
    put_text(out, " ");
    put_text(out, type);
    put_text(out, "\n");
}

static void put_number(struct buf *out, uint64_t value, double scale)
{
    char text[40];

    if (scale < 1) {
        snprintf(text, sizeof text, " %.9g\n", (double)value * scale);
    } else {
        snprintf(text, sizeof text, " %" PRIu64 "\n", value);
    }
    put_text(out, text);
}

static void put_sample(struct buf *out, const struct sample *s)
{
    put_text(out, s->name);
    if (s->label != NULL) {
        put_text(out, "{");
        put_text(out, s->label);
        put_text(out, "=\"");
        put_value(out, s->label_value, strlen(s->label_value));
        put_text(out, "\"}");
    }
    put_number(out, s->value, s->scale);
}

/* How late delayed messages were, as a histogram: buckets count what is at most so late. */
static void put_lateness(struct buf *out, const struct sample *s, size_t n, uint64_t late_ms)
{
    static const char name[] = "weir_timer_late_seconds";
    uint64_t below = 0;
    char line[128];

    put_head(out, name, "histogram");
    for (size_t i = 0; i < n; i++) {
        const double up_to = strtod(s[i].label_value, NULL) / 1000;
        below += s[i].value;
        if (i + 1 < n) {
            snprintf(line, sizeof line, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, up_to, below);
            put_text(out, line);
        }
    }
    snprintf(line, sizeof line,
             "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, below,
             name, (double)late_ms / 1000, name, below);
    put_text(out, line);
}

/* ---------------------------------------------------------------- topics */

struct topic_sum {
    uint64_t messages, bytes, partitions;
};

static struct topic_sum sum_of(struct core *co, const struct core_topic *t)
{
    const size_t n = core_topic_config(t)->partitions;
    struct msg_part_stat *parts = calloc(n, sizeof *parts);
    struct topic_sum sum = {.partitions = n};

    if (parts == NULL) {
        abort();
    }
    core_topic_stats(co, t, parts);
    for (size_t i = 0; i < n; i++) {
        sum.messages += parts[i].hw - parts[i].log_start;
        sum.bytes += parts[i].bytes;
    }
    free(parts);
    return sum;
}

static void put_labelled(struct buf *out, const char *name, const char *label, struct slice value,
                         uint64_t number)
{
    put_text(out, name);
    put_text(out, "{");
    put_text(out, label);
    put_text(out, "=\"");
    put_value(out, (const char *)value.p, value.n);
    put_text(out, "\"}");
    put_number(out, number, 1);
}

static void put_topics(struct buf *out, struct core *co)
{
    static const char *const names[] = {"weir_topic_messages", "weir_topic_bytes",
                                        "weir_topic_partitions"};

    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        struct slice after = {0};
        struct core_topic *t;

        put_head(out, names[f], "gauge");
        for (size_t i = 0; i < TOPICS_SHOWN && (t = core_topic_after(co, after)) != NULL; i++) {
            const struct topic_sum s = sum_of(co, t);
            after = core_topic_name(t);
            put_labelled(out, names[f], "topic", after,
                         f == 0   ? s.messages
                         : f == 1 ? s.bytes
                                  : s.partitions);
        }
    }
    const size_t topics = core_topic_count(co);
    char line[80];
    put_head(out, "weir_metrics_topics_left_out", "gauge");
    snprintf(line, sizeof line, "weir_metrics_topics_left_out %zu\n",
             topics > TOPICS_SHOWN ? topics - TOPICS_SHOWN : 0);
    put_text(out, line);
}

void prom_all(struct buf *out, struct server *srv)
{
    struct metrics *m = calloc(1, sizeof *m);
    struct samples s = {0};

    if (m == NULL) {
        abort();
    }
    metrics_take(m, srv);
    metrics_walk(m, add_sample, &s);
    qsort(s.at, s.n, sizeof *s.at, by_family);
    for (size_t i = 0; i < s.n;) {
        size_t end = i + 1;
        while (end < s.n && strcmp(s.at[end].name, s.at[i].name) == 0) {
            end++;
        }
        if (strcmp(s.at[i].name, "weir_timer_late") == 0) {
            put_lateness(out, &s.at[i], end - i, m->group.late_ms_total);
        } else if (strcmp(s.at[i].name, "weir_timer_late_seconds_total") != 0) {
            put_head(out, s.at[i].name, ends_with(s.at[i].name, "_total") ? "counter" : "gauge");
            for (size_t k = i; k < end; k++) {
                put_sample(out, &s.at[k]);
            }
        }
        i = end;
    }
    put_topics(out, srv->core);
    free(s.at);
    free(m);
}

/* ---------------------------------------------------------------- one topic */

static void put_part(struct buf *out, const char *name, struct slice topic, uint32_t p,
                     uint64_t value)
{
    char text[64];

    put_text(out, name);
    put_text(out, "{topic=\"");
    put_value(out, (const char *)topic.p, topic.n);
    snprintf(text, sizeof text, "\",partition=\"%u\"} %" PRIu64 "\n", p, value);
    put_text(out, text);
}

static void put_group_part(struct buf *out, const char *name, struct slice group, uint32_t p,
                           uint64_t value, double scale)
{
    char text[64];

    put_text(out, name);
    put_text(out, "{group=\"");
    put_value(out, (const char *)group.p, group.n);
    snprintf(text, sizeof text, "\",partition=\"%u\"}", p);
    put_text(out, text);
    put_number(out, value, scale);
}

enum group_figure { LAG_MESSAGES, LAG_SECONDS, IN_FLIGHT, GROUP_FIGURES };

static void put_groups(struct buf *out, struct core *co, uint64_t tid, enum group_figure f)
{
    static const char *const names[GROUP_FIGURES] = {"weir_group_partition_lag_messages",
                                                     "weir_group_partition_lag_seconds",
                                                     "weir_group_partition_in_flight"};
    char after[LIMIT_NAME + 1];
    struct slice last = {0};
    struct core_group *g;
    size_t series = 0;

    put_head(out, names[f], "gauge");
    while ((g = core_group_after(co, last)) != NULL && series < PROM_MAX_SERIES / GROUP_FIGURES) {
        struct msg_group_describe d;
        struct msg_group_member *members;
        struct msg_group_part *parts;
        size_t n_members, n_parts;

        core_group_describe(co, g, &d, &members, &n_members, &parts, &n_parts);
        for (size_t i = 0; i < n_parts; i++) {
            if (parts[i].tid == tid) {
                put_group_part(out, names[f], d.row.name, parts[i].p,
                               f == LAG_MESSAGES  ? parts[i].lag_msgs
                               : f == LAG_SECONDS ? parts[i].lag_ms
                                                  : parts[i].in_flight,
                               f == LAG_SECONDS ? 1e-3 : 1);
                series++;
            }
        }
        memcpy(after, d.row.name.p, d.row.name.n);
        last = slice_of(after, d.row.name.n);
        free(members);
        free(parts);
    }
}

bool prom_topic(struct buf *out, struct server *srv, struct slice name)
{
    static const char *const names[] = {"weir_partition_log_start", "weir_partition_high_watermark",
                                        "weir_partition_bytes",
                                        "weir_partition_last_append_timestamp_seconds"};
    const struct core_topic *t = core_topic_by_name(srv->core, name);

    if (t == NULL) {
        return false;
    }
    const uint32_t n = core_topic_config(t)->partitions;
    struct msg_part_stat *parts = calloc(n, sizeof *parts);
    if (parts == NULL) {
        abort();
    }
    core_topic_stats(srv->core, t, parts);
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        put_head(out, names[f], "gauge");
        for (uint32_t p = 0; p < n; p++) {
            put_part(out, names[f], name, p,
                     f == 0   ? parts[p].log_start
                     : f == 1 ? parts[p].hw
                     : f == 2 ? parts[p].bytes
                              : (uint64_t)(parts[p].last_append_ms / 1000));
        }
    }
    free(parts);
    for (int f = 0; f < GROUP_FIGURES; f++) {
        put_groups(out, srv->core, core_topic_id(t), (enum group_figure)f);
    }
    return true;
}
