/*
 * Settings of a group: the table. Adding a setting is a row here, a bit in enum group_key and a
 * field in struct group_config. Log mode has no limit on processing unless one is set.
 */
#include "proto/msg_group.h"
#include "proto/settings.h"

#define HOUR_MS ((uint64_t)3600 * 1000)

static const char *const words_order[] = {"none", "key", NULL};

#define FIELD(f) offsetof(struct group_config, f)
/* clang-format off */
static const struct setting_row rows[] = {
    {GKEY_MAX_RATE,        "max_rate",          SETTING_RATE,   true,  FIELD(max_rate),          0, 10000000, 0, NULL, false},
    {GKEY_MAX_CONCURRENCY, "max_concurrency",   SETTING_NUMBER, true,  FIELD(max_concurrency),   1, 1000000, 100000, NULL, false},
    {GKEY_MEMBER_MAX,      "member_max",        SETTING_NUMBER, true,  FIELD(member_max),        1, 1000000, 1000, NULL, false},
    {GKEY_MAX_DELIVER,     "max_deliver",       SETTING_NUMBER, true,  FIELD(max_deliver),       0, 1000, 16, NULL, false},
    {GKEY_BACKOFF,         "backoff_ms",        SETTING_MS,     true,  FIELD(backoff_ms),        0, HOUR_MS, 1000, NULL, false},
    {GKEY_BACKOFF_MAX,     "backoff_max_ms",    SETTING_MS,     true,  FIELD(backoff_max_ms),    1, 12 * HOUR_MS, 600000, NULL, false},
    {GKEY_PROCESSING,      "max_processing_ms", SETTING_MS,     true,  FIELD(max_processing_ms), 1000, 12 * HOUR_MS, 900000, NULL, true},
    {GKEY_PAUSED_UNTIL,    "paused_until",      SETTING_UNTIL,  true,  FIELD(paused_until_ms),   0, LIMIT_UINT, 0, NULL, false},
    {GKEY_RAMP,            "ramp_ms",           SETTING_MS,     true,  FIELD(ramp_ms),           0, HOUR_MS, 10000, NULL, false},
    {GKEY_ORDER,           "order",             SETTING_WORD,   false, FIELD(order),             0, 1, GROUP_ORDER_NONE, words_order, false},
};
static const char *const key_names[] = {
    "max_rate", "max_concurrency", "member_max", "max_deliver", "backoff_ms", "backoff_max_ms",
    "max_processing_ms", "paused_until", "ramp_ms", "order", NULL,
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof rows[0] };
_Static_assert(sizeof key_names / sizeof key_names[0] == ROWS + 1, "one name per row");
_Static_assert(FIELD(set) == 0, "`set` comes first");
static const struct settings table = {.what = "group", .rows = rows, .n = ROWS};

void group_config_defaults(struct group_config *c, enum msg_group_mode mode)
{
    *c = (struct group_config){0};
    settings_defaults(&table, c);
    if (mode == GROUP_MODE_LOG) {
        c->max_processing_ms = 0;
    }
}

const char *const *group_config_keys(void)
{
    return key_names;
}

enum werr group_config_set(struct group_config *c, const char *key, const char *value,
                           struct werror *e)
{
    const struct setting_row *r = settings_find(&table, slice_str(key));

    if (r == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "unknown group setting %.60s", key);
    }
    return setting_set_text(r, c, value, e);
}

void group_config_merge(struct group_config *c, const struct group_config *from)
{
    settings_merge(&table, c, from);
}

void group_config_put(struct buf *b, const struct group_config *c, bool all)
{
    settings_put(&table, b, c, all);
}

enum werr group_config_get(struct mpread *r, bool strict, struct group_config *c, struct werror *e)
{
    return settings_get(&table, r, strict, c, NULL, e);
}
