#ifndef WEIR_PROTO_SETTINGS_H
#define WEIR_PROTO_SETTINGS_H
/*
 * Settings as a table of rows: one table drives text, wire and help. The struct behind a table
 * begins with `uint32_t set`, the bits of what was given. Only proto/{topic,group}_config.c include
 * this.
 */
#include <stddef.h>

#include "proto/msg.h"

enum setting_kind {
    SETTING_NUMBER,
    SETTING_MS,    /* 1500, "30s", "7d" */
    SETTING_BYTES, /* 1024, "10GiB" */
    SETTING_RATE,  /* 500, "500/s" */
    SETTING_UNTIL, /* ms since 1970, "forever" = LIMIT_UINT */
    SETTING_WORD,  /* one of `words`; the value is its index */
};

struct setting_row {
    uint32_t bit;
    const char *name;
    enum setting_kind kind;
    bool wide; /* the field is u64, else u32 */
    size_t at;
    uint64_t min, max, def;
    const char *const *words;
    bool or_zero; /* 0 is legal too, below min */
};

struct settings {
    const char *what; /* "topic": for texts */
    const struct setting_row *rows;
    size_t n;
};

uint64_t setting_value(const void *conf, const struct setting_row *r);
void setting_put_value(void *conf, const struct setting_row *r, uint64_t v); /* leaves `set` */
/* NULL when there is no such row. */
const struct setting_row *settings_find(const struct settings *t, struct slice name);
/* What topic_config_* promise, for any table. */
void settings_defaults(const struct settings *t, void *conf);
enum werr setting_set_text(const struct setting_row *r, void *conf, const char *value,
                           struct werror *e) WEIR_NODISCARD;
void settings_merge(const struct settings *t, void *conf, const void *from);
void settings_put(const struct settings *t, struct buf *b, const void *conf, bool all);
/* `find` may know more names than the table says; NULL = settings_find. */
enum werr settings_get(const struct settings *t, struct mpread *r, bool strict, void *conf,
                       const struct setting_row *(*find)(struct slice name),
                       struct werror *e) WEIR_NODISCARD;

#endif
