#include "client/cli/topic_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/dlq_name.h"
#include "client/cli/table.h"
#include "client/cli/timeparse.h"
#include "client/cli/values.h"

uint64_t topic_bytes(const weir_topic *t)
{
    uint64_t sum = 0;
    weir_partition_info p;
    for (int32_t i = 0; i < weir_topic_partitions(t); i++) {
        sum += weir_topic_partition(t, i, &p) == 0 ? p.bytes : 0;
    }
    return sum;
}

int64_t topic_messages(const weir_topic *t)
{
    int64_t sum = 0;
    weir_partition_info p;
    for (int32_t i = 0; i < weir_topic_partitions(t); i++) {
        sum += weir_topic_partition(t, i, &p) == 0 ? p.high_watermark - p.log_start : 0;
    }
    return sum;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

const char *setting_text(const char *key, const char *value, char *out, size_t size)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "days"}, {3600000, "hours"}, {60000, "minutes"}, {1000, "seconds"}};
    char text[32];
    int64_t v;
    snprintf(out, size, "%s", value ? value : "-");
    if (!value || !value_count(value, &v) || v < 1000) {
        return out;
    }
    if (ends_with(key, "bytes")) {
        snprintf(out, size, "%s (%s)", value, text_bytes(text, sizeof text, (double)v));
    }
    for (size_t i = 0; ends_with(key, "ms") && i < sizeof units / sizeof units[0]; i++) {
        if (v >= units[i].ms) {
            snprintf(out, size, "%s (%.4g %s)", value, (double)v / (double)units[i].ms,
                     units[i].name);
            break;
        }
    }
    return out;
}

const char *topic_kind(const char *name)
{
    return dlq_name_is(name) ? "dead letters" : "topic";
}

void topic_settings_print(const weir_topic *before, const weir_topic *t)
{
    static const char *const titles[] = {"SETTING", "VALUE", "NEW VALUE"};
    struct table tab;
    char text[96];
    table_init(&tab, titles, before ? 3 : 2);
    for (const char *const *key = weir_topic_config_keys(); *key; key++) {
        const char *now = weir_topic_config(t, *key);
        const char *old = before ? weir_topic_config(before, *key) : NULL;
        if (before && strcmp(now ? now : "", old ? old : "") == 0) {
            continue;
        }
        table_cell(&tab, *key);
        if (before) {
            table_cell(&tab, setting_text(*key, old, text, sizeof text));
        }
        table_cell(&tab, setting_text(*key, now, text, sizeof text));
    }
    if (tab.n_cells) {
        table_print(&tab, stdout);
    }
    table_fini(&tab);
}

void topic_partitions_print(const weir_topic *t)
{
    static const char *const titles[] = {">PARTITION", ">START", ">END",
                                         ">MESSAGES",  ">BYTES", "LAST APPEND"};
    struct table tab;
    weir_partition_info p;
    char text[TIME_TEXT_MAX];
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    for (int32_t i = 0; i < weir_topic_partitions(t); i++) {
        if (weir_topic_partition(t, i, &p) != 0) {
            continue;
        }
        table_cellf(&tab, "%" PRId32, p.partition);
        table_cellf(&tab, "%" PRId64, p.log_start);
        table_cellf(&tab, "%" PRId64, p.high_watermark);
        table_cellf(&tab, "%" PRId64, p.high_watermark - p.log_start);
        table_cellf(&tab, "%" PRIu64, p.bytes);
        table_cell(&tab, p.last_append_ms ? time_text(text, p.last_append_ms) : "-");
    }
    table_print(&tab, stdout);
    table_fini(&tab);
}

static void partitions_json(struct json *j, const weir_topic *t)
{
    weir_partition_info p;
    if (weir_topic_partition(t, 0, &p) != 0) {
        return; /* a listing: no details */
    }
    json_open(j, "partition_details", '[');
    for (int32_t i = 0; weir_topic_partition(t, i, &p) == 0; i++) {
        json_open(j, NULL, '{');
        json_int(j, "partition", p.partition);
        json_int(j, "start", p.log_start);
        json_int(j, "end", p.high_watermark);
        json_uint(j, "bytes", p.bytes);
        json_int(j, "last_append_ms", p.last_append_ms);
        json_uint(j, "epoch", p.epoch);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void topic_json(struct json *j, const char *name, const weir_topic *t)
{
    char text[TIME_TEXT_MAX];
    int64_t created_ms = weir_topic_created_ms(t);
    json_open(j, name, '{');
    json_text(j, "name", weir_topic_name(t));
    json_text(j, "kind", topic_kind(weir_topic_name(t)));
    json_uint(j, "id", weir_topic_id(t));
    json_int(j, "partitions", weir_topic_partitions(t));
    if (created_ms) {
        json_text(j, "created", time_text(text, created_ms));
    }
    json_open(j, "config", '{');
    for (const char *const *key = weir_topic_config_keys(); *key; key++) {
        const char *value = weir_topic_config(t, *key);
        if (value) {
            json_number_or_text(j, *key, value);
        }
    }
    json_close(j, '}');
    partitions_json(j, t);
    json_close(j, '}');
}
