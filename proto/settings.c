/*
 * The engine behind settings of topics and groups. Happy path: a row is found by name, its value is
 * parsed by kind, checked against the row's range and stored at the row's place in the struct. What
 * can fail: unknown names, values out of range; both are named in the error. Owns nothing.
 */
#include "proto/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/mpwrite.h"

uint64_t setting_value(const void *conf, const struct setting_row *r)
{
    uint64_t v64;
    uint32_t v32;

    if (r->wide) {
        memcpy(&v64, (const char *)conf + r->at, sizeof v64);
        return v64;
    }
    memcpy(&v32, (const char *)conf + r->at, sizeof v32);
    return v32;
}

void setting_put_value(void *conf, const struct setting_row *r, uint64_t v)
{
    uint32_t v32 = (uint32_t)v;

    if (r->wide) {
        memcpy((char *)conf + r->at, &v, sizeof v);
    } else {
        memcpy((char *)conf + r->at, &v32, sizeof v32);
    }
}

/* `set` comes first in every struct of settings. */
static uint32_t set_bits(const void *conf)
{
    uint32_t set;

    memcpy(&set, conf, sizeof set);
    return set;
}

static void add_bits(void *conf, uint32_t bits)
{
    uint32_t set = set_bits(conf) | bits;

    memcpy(conf, &set, sizeof set);
}

const struct setting_row *settings_find(const struct settings *t, struct slice name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (slice_eq(name, slice_str(t->rows[i].name))) {
            return &t->rows[i];
        }
    }
    return NULL;
}

void settings_defaults(const struct settings *t, void *conf)
{
    for (size_t i = 0; i < t->n; i++) {
        setting_put_value(conf, &t->rows[i], t->rows[i].def);
    }
}

/* ---- text ---- */

struct unit {
    const char *unit; /* NULL ends */
    uint64_t factor;
};

static const struct unit *units_of(enum setting_kind kind)
{
    static const struct unit ms[] = {{"", 1},        {"ms", 1},        {"s", 1000}, {"m", 60000},
                                     {"h", 3600000}, {"d", 86400000U}, {NULL, 0}};
    static const struct unit bytes[] = {
        {"", 1},          {"B", 1},          {"k", 1 << 10},      {"K", 1 << 10},
        {"KiB", 1 << 10}, {"M", 1 << 20},    {"MiB", 1 << 20},    {"G", 1 << 30},
        {"GiB", 1 << 30}, {"T", 1ULL << 40}, {"TiB", 1ULL << 40}, {NULL, 0}};
    static const struct unit rate[] = {{"", 1}, {"/s", 1}, {NULL, 0}};
    static const struct unit none[] = {{"", 1}, {NULL, 0}};

    return kind == SETTING_MS      ? ms
           : kind == SETTING_BYTES ? bytes
           : kind == SETTING_RATE  ? rate
                                   : none;
}

/* "10", "10k", "7d" ... to a number; units depend on the kind. */
static bool parse_number(const char *s, enum setting_kind kind, uint64_t *out)
{
    char *end = NULL;
    unsigned long long v;

    if (kind == SETTING_UNTIL && strcmp(s, "forever") == 0) {
        *out = LIMIT_UINT;
        return true;
    }
    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    errno = 0;
    v = strtoull(s, &end, 10);
    if (errno != 0) {
        return false;
    }
    for (const struct unit *u = units_of(kind); u->unit != NULL; u++) {
        if (strcmp(end, u->unit) == 0) {
            return !__builtin_mul_overflow((uint64_t)v, u->factor, out);
        }
    }
    return false;
}

static bool in_range(const struct setting_row *r, uint64_t v)
{
    return (v >= r->min && v <= r->max) || (v == 0 && r->or_zero);
}

static enum werr range_error(const struct setting_row *r, const char *value, struct werror *e)
{
    static const char *const hints[] = {
        [SETTING_NUMBER] = "",
        [SETTING_MS] = " (ms, or with s, m, h, d)",
        [SETTING_BYTES] = " (bytes, or with k, M, G, T)",
        [SETTING_RATE] = " (a second)",
        [SETTING_UNTIL] = " (ms since 1970, or forever)",
        [SETTING_WORD] = "",
    };

    if (r->kind == SETTING_WORD) {
        char list[64] = "";
        size_t n = 0;

        for (size_t i = 0; r->words[i] != NULL && n < sizeof list; i++) {
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? "|" : "", r->words[i]);
        }
        return werror_set(e, WERR_INVALID_CONFIG, "%s = %s: want %s", r->name, value, list);
    }
    return werror_set(e, WERR_INVALID_CONFIG, "%s = %s: want %sa number%s from %llu to %llu",
                      r->name, value, r->or_zero ? "0 or " : "", hints[r->kind],
                      (unsigned long long)r->min, (unsigned long long)r->max);
}

enum werr setting_set_text(const struct setting_row *r, void *conf, const char *value,
                           struct werror *e)
{
    uint64_t v = 0;

    if (r->kind == SETTING_WORD) {
        while (r->words[v] != NULL && strcmp(r->words[v], value) != 0) {
            v++;
        }
        if (r->words[v] == NULL) {
            return range_error(r, value, e);
        }
    } else if (!parse_number(value, r->kind, &v) || !in_range(r, v)) {
        return range_error(r, value, e);
    }
    setting_put_value(conf, r, v);
    add_bits(conf, r->bit);
    return WERR_OK;
}

void settings_merge(const struct settings *t, void *conf, const void *from)
{
    const uint32_t given = set_bits(from);

    for (size_t i = 0; i < t->n; i++) {
        if ((given & t->rows[i].bit) != 0) {
            setting_put_value(conf, &t->rows[i], setting_value(from, &t->rows[i]));
        }
    }
    add_bits(conf, given);
}

/* ---- wire ---- */

void settings_put(const struct settings *t, struct buf *b, const void *conf, bool all)
{
    const uint32_t given = set_bits(conf);
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++) {
        n += all || (given & t->rows[i].bit) != 0;
    }
    mpw_map(b, n);
    for (size_t i = 0; i < t->n; i++) {
        const struct setting_row *r = &t->rows[i];

        if (!all && (given & r->bit) == 0) {
            continue;
        }
        mpw_cstr(b, r->name);
        if (r->kind == SETTING_WORD) {
            mpw_cstr(b, r->words[setting_value(conf, r)]);
        } else {
            mpw_uint(b, setting_value(conf, r));
        }
    }
}

static enum werr get_one(struct mpread *r, const struct setting_row *row, void *conf,
                         struct werror *e)
{
    char text[64];

    if (mpread_peek(r) == MP_STR) {
        struct slice s = mpread_str(r, sizeof text - 1);

        snprintf(text, sizeof text, "%.*s", (int)s.n, (const char *)s.p);
        return r->err == WERR_OK ? setting_set_text(row, conf, text, e)
                                 : werror_set(e, WERR_MALFORMED, "%s: %s", row->name, r->what);
    }
    if (mpread_peek(r) == MP_UINT && row->kind != SETTING_WORD) {
        uint64_t v = mpread_uint(r, UINT64_MAX);

        snprintf(text, sizeof text, "%llu", (unsigned long long)v);
        if (!in_range(row, v)) {
            return range_error(row, text, e);
        }
        setting_put_value(conf, row, v);
        add_bits(conf, row->bit);
        return WERR_OK;
    }
    return range_error(row, "(another type)", e);
}

enum werr settings_get(const struct settings *t, struct mpread *r, bool strict, void *conf,
                       const struct setting_row *(*find)(struct slice name), struct werror *e)
{
    uint32_t pairs = mpread_map(r);

    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        struct slice key = mpread_str(r, SIZE_MAX);
        const struct setting_row *row;
        enum werr rc;

        if (r->err != WERR_OK) {
            break;
        }
        row = find != NULL ? find(key) : settings_find(t, key);
        if (row == NULL && strict) {
            return werror_set(e, WERR_UNSUPPORTED_FIELD, "unknown %s setting %.*s", t->what,
                              (int)(key.n < 60 ? key.n : 60), (const char *)key.p);
        }
        if (row == NULL) {
            (void)mpread_skip(r);
            continue;
        }
        if (!strict) {
            struct slice one = mpread_skip(r);
            struct mpread v;

            /* a value that only a later version knows leaves the default */
            mpread_init(&v, one.p, one.n);
            (void)get_one(&v, row, conf, NULL);
            continue;
        }
        if ((set_bits(conf) & row->bit) != 0) {
            return werror_set(e, WERR_MALFORMED, "%s given twice", row->name);
        }
        rc = get_one(r, row, conf, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    return r->err == WERR_OK ? WERR_OK
                             : werror_set(e, WERR_MALFORMED, "%s settings: %s", t->what, r->what);
}
