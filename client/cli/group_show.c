#include "client/cli/group_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/table.h"
#include "client/cli/timeparse.h"
#include "client/cli/topic_show.h"
#include "client/cli/values.h"

enum { MEMBER_SHOWN = 8 /* hex digits of a member's name in tables */ };

const char *group_state_text(const char *state, char *out)
{
    static const char until[] = "paused until ";
    char time[TIME_TEXT_MAX];
    int64_t ms;
    snprintf(out, STATE_TEXT_MAX, "%s", state);
    if (strncmp(state, until, sizeof until - 1) == 0 &&
        value_count(state + sizeof until - 1, &ms)) {
        snprintf(out, STATE_TEXT_MAX, "%s%s", until, time_text(time, ms));
    }
    return out;
}

const char *group_age_text(uint64_t ms, char *out)
{
    if (ms == 0) {
        snprintf(out, AGE_TEXT_MAX, "-");
    } else {
        snprintf(out, AGE_TEXT_MAX, "%" PRIu64 ".%01u s", ms / 1000, (unsigned)(ms % 1000 / 100));
    }
    return out;
}

void group_info_json(struct json *j, const weir_group_info *info)
{
    char state[STATE_TEXT_MAX];
    json_text(j, "name", info->name);
    json_text(j, "mode", info->mode);
    json_text(j, "state", group_state_text(info->state, state));
    json_uint(j, "members", info->members);
    json_uint(j, "partitions", info->partitions);
    json_uint(j, "lag_messages", info->lag_messages);
    json_uint(j, "lag_ms", info->lag_ms);
    json_uint(j, "in_flight", info->in_flight);
}

void group_partition_json(struct json *j, const weir_group_partition_info *p)
{
    json_open(j, NULL, '{');
    json_text(j, "topic", p->topic);
    json_int(j, "partition", p->partition);
    json_text(j, "owner", p->owner);
    json_int(j, "position", p->position);
    json_int(j, "next", p->next);
    json_int(j, "start", p->log_start);
    json_int(j, "end", p->high_watermark);
    json_uint(j, "lag_messages", p->lag_messages);
    json_uint(j, "lag_ms", p->lag_ms);
    json_uint(j, "in_flight", p->in_flight);
    json_uint(j, "retrying", p->retrying);
    if (p->oldest_holder) {
        json_uint(j, "oldest_lease_ms", p->oldest_lease_ms);
    } else {
        json_null(j, "oldest_lease_ms");
    }
    json_text(j, "oldest_holder", p->oldest_holder);
    json_close(j, '}');
}

static void member_json(struct json *j, const weir_group_member_info *m)
{
    char text[TIME_TEXT_MAX];
    json_open(j, NULL, '{');
    json_text(j, "member", m->member);
    json_text(j, "client", m->client);
    json_text(j, "address", m->address);
    json_uint(j, "epoch", m->epoch);
    json_uint(j, "partitions", m->partitions);
    json_uint(j, "in_flight", m->in_flight);
    json_text(j, "since", time_text(text, m->since_ms));
    json_bool(j, "away", m->away != 0);
    json_close(j, '}');
}

void group_json(struct json *j, const char *name, const weir_group *g)
{
    char text[TIME_TEXT_MAX];
    const weir_group_member_info *m;
    const weir_group_partition_info *p;
    json_open(j, name, '{');
    group_info_json(j, weir_group_get_info(g));
    if (weir_group_created_ms(g)) {
        json_text(j, "created", time_text(text, weir_group_created_ms(g)));
    }
    json_open(j, "config", '{');
    for (const char *const *key = weir_group_config_keys(); *key; key++) {
        const char *value = weir_group_config(g, *key);
        if (value) {
            json_number_or_text(j, *key, value);
        }
    }
    json_close(j, '}');
    json_open(j, "member_details", '[');
    for (size_t i = 0; (m = weir_group_member(g, i)) != NULL; i++) {
        member_json(j, m);
    }
    json_close(j, ']');
    json_open(j, "partition_details", '[');
    for (size_t i = 0; (p = weir_group_partition(g, i)) != NULL; i++) {
        group_partition_json(j, p);
    }
    json_close(j, ']');
    json_close(j, '}');
}

static const char *group_setting_text(const char *key, const char *value, char *out, size_t size)
{
    char time[TIME_TEXT_MAX];
    int64_t ms;
    if (strcmp(key, "paused_until") != 0 || !value || !value_count(value, &ms)) {
        return setting_text(key, value, out, size);
    }
    if (ms == 0) {
        snprintf(out, size, "0 (not paused)");
    } else {
        snprintf(out, size, "%s (%s)", value, time_text(time, ms));
    }
    return out;
}

void group_settings_print(const weir_group *before, const weir_group *g)
{
    static const char *const titles[] = {"SETTING", "VALUE", "NEW VALUE"};
    struct table tab;
    char text[96];
    table_init(&tab, titles, before ? 3 : 2);
    for (const char *const *key = weir_group_config_keys(); *key; key++) {
        const char *now = weir_group_config(g, *key);
        const char *old = before ? weir_group_config(before, *key) : NULL;
        if (before && strcmp(now ? now : "", old ? old : "") == 0) {
            continue;
        }
        table_cell(&tab, *key);
        if (before) {
            table_cell(&tab, group_setting_text(*key, old, text, sizeof text));
        }
        table_cell(&tab, group_setting_text(*key, now, text, sizeof text));
    }
    if (tab.n_cells) {
        table_print(&tab, stdout);
    }
    table_fini(&tab);
}

static void members_print(const weir_group *g)
{
    static const char *const titles[] = {"MEMBER",     "CLIENT", "ADDRESS", ">PARTITIONS",
                                         ">IN FLIGHT", "SINCE",  "STATE"};
    struct table tab;
    const weir_group_member_info *m;
    char text[TIME_TEXT_MAX];
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; (m = weir_group_member(g, i)) != NULL; i++) {
        table_cellf(&tab, "%.*s", MEMBER_SHOWN, m->member);
        table_cell(&tab, m->client);
        table_cell(&tab, m->address);
        table_cellf(&tab, "%" PRIu32, m->partitions);
        table_cellf(&tab, "%" PRIu64, m->in_flight);
        table_cell(&tab, time_text(text, m->since_ms));
        table_cell(&tab, m->away ? "away" : "here");
    }
    if (tab.n_cells) {
        table_print(&tab, stdout);
        putchar('\n');
    }
    table_fini(&tab);
}

static void partitions_print(const weir_group *g)
{
    static const char *const titles[] = {"PARTITION",     "OWNER",     ">POSITION",  ">END",
                                         ">LAG",          ">LAG TIME", ">IN FLIGHT", ">RETRYING",
                                         ">OLDEST LEASE", "HELD BY"};
    struct table tab;
    const weir_group_partition_info *p;
    char age[AGE_TEXT_MAX];
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; (p = weir_group_partition(g, i)) != NULL; i++) {
        table_cellf(&tab, "%s/%" PRId32, p->topic, p->partition);
        table_cellf(&tab, "%.*s", MEMBER_SHOWN, p->owner ? p->owner : "-");
        table_cellf(&tab, "%" PRId64, p->position);
        table_cellf(&tab, "%" PRId64, p->high_watermark);
        table_cellf(&tab, "%" PRIu64, p->lag_messages);
        table_cell(&tab, group_age_text(p->lag_ms, age));
        table_cellf(&tab, "%" PRIu64, p->in_flight);
        table_cellf(&tab, "%" PRIu64, p->retrying);
        table_cell(&tab, p->oldest_holder ? group_age_text(p->oldest_lease_ms, age) : "-");
        table_cellf(&tab, "%.*s", MEMBER_SHOWN, p->oldest_holder ? p->oldest_holder : "-");
    }
    table_print(&tab, stdout);
    table_fini(&tab);
}

void group_print(const weir_group *g)
{
    const weir_group_info *info = weir_group_get_info(g);
    char state[STATE_TEXT_MAX];
    char age[AGE_TEXT_MAX];
    char text[2][32];
    printf("group %s: %s mode, %s, %" PRIu32
           " members, lag %s messages (oldest %s), %s in flight\n\n",
           info->name, info->mode, group_state_text(info->state, state), info->members,
           text_count(text[0], sizeof text[0], (int64_t)info->lag_messages),
           group_age_text(info->lag_ms, age),
           text_count(text[1], sizeof text[1], (int64_t)info->in_flight));
    group_settings_print(NULL, g);
    putchar('\n');
    members_print(g);
    partitions_print(g);
}
