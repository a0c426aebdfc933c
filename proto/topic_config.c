/*
 * Topic settings: the table. Adding a setting is a row here, a bit in enum topic_key and a field in
 * struct topic_config.
 */
#include "proto/msg.h"
#include "proto/settings.h"

#define DAY_MS ((uint64_t)24 * 3600 * 1000)
#define MAX_MS (3660 * DAY_MS)

static const char *const words_durability[] = {"disk", "os", NULL};
static const char *const words_compression[] = {"producer", "none", "zstd", NULL};
static const char *const words_validate[] = {"records", "header", "full", NULL};
static const char *const words_unread[] = {"keep", "drop", NULL};

#define FIELD(f) offsetof(struct topic_config, f)
/* clang-format off */
static const struct setting_row rows[] = {
    {TKEY_PARTITIONS,      "partitions",        SETTING_NUMBER, false, FIELD(partitions),        1, LIMIT_PARTITIONS, 4, NULL, false},
    {TKEY_RETENTION_MS,    "retention.ms",      SETTING_MS,     true,  FIELD(retention_ms),      0, MAX_MS, 7 * DAY_MS, NULL, false},
    {TKEY_RETENTION_BYTES, "retention.bytes",   SETTING_BYTES,  true,  FIELD(retention_bytes),   0, LIMIT_UINT, 0, NULL, false},
    {TKEY_DURABILITY,      "durability",        SETTING_WORD,   false, FIELD(durability),        0, 1, TOPIC_DURABILITY_DISK, words_durability, false},
    {TKEY_MESSAGE_MAX,     "message.max_bytes", SETTING_BYTES,  false, FIELD(message_max_bytes), 1, LIMIT_MESSAGE_CAP, LIMIT_MESSAGE_DEFAULT, NULL, false},
    {TKEY_BATCH_RECORDS,   "batch.max_records", SETTING_NUMBER, false, FIELD(batch_max_records), 0, LIMIT_BATCH_RECORDS, 0, NULL, false},
    {TKEY_COMPRESSION,     "compression",       SETTING_WORD,   false, FIELD(compression),       0, 2, TOPIC_COMPRESS_PRODUCER, words_compression, false},
    {TKEY_VALIDATE,        "validate",          SETTING_WORD,   false, FIELD(validate),          0, 2, TOPIC_VALIDATE_RECORDS, words_validate, false},
    {TKEY_UNREAD,          "retention.unread",  SETTING_WORD,   false, FIELD(unread),            0, 1, TOPIC_UNREAD_KEEP, words_unread, false},
    {TKEY_HOLD_BYTES,      "hold.bytes",        SETTING_BYTES,  true,  FIELD(hold_bytes),        0, LIMIT_UINT, 0, NULL, false},
};
static const char *const key_names[] = {
    "partitions", "retention.ms", "retention.bytes", "durability", "message.max_bytes",
    "batch.max_records", "compression", "validate", "retention.unread", "hold.bytes", NULL,
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof rows[0] };
_Static_assert(sizeof key_names / sizeof key_names[0] == ROWS + 1, "one name per row");
_Static_assert(FIELD(set) == 0, "`set` comes first");
static const struct settings table = {.what = "topic", .rows = rows, .n = ROWS};

void topic_config_defaults(struct topic_config *c)
{
    *c = (struct topic_config){0};
    settings_defaults(&table, c);
}

const char *const *topic_config_keys(void)
{
    return key_names;
}

/* "retention" is accepted for "retention.ms": it is what people type. */
static const struct setting_row *find(struct slice name)
{
    return settings_find(&table,
                         slice_eq(name, slice_str("retention")) ? slice_str("retention.ms") : name);
}

enum werr topic_config_set(struct topic_config *c, const char *key, const char *value,
                           struct werror *e)
{
    const struct setting_row *r = find(slice_str(key));

    if (r == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "unknown topic setting %.60s", key);
    }
    return setting_set_text(r, c, value, e);
}

void topic_config_merge(struct topic_config *c, const struct topic_config *from)
{
    settings_merge(&table, c, from);
}

void topic_config_put(struct buf *b, const struct topic_config *c, bool all)
{
    settings_put(&table, b, c, all);
}

enum werr topic_config_get(struct mpread *r, bool strict, struct topic_config *c, struct werror *e)
{
    return settings_get(&table, r, strict, c, find, e);
}
