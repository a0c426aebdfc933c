/*
 * Topic settings: one table drives text, wire and help. Adding a setting is a row here, a bit in
 * enum topic_key and a field in struct topic_config.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/mpwrite.h"
#include "proto/msg.h"

enum kind { KIND_NUMBER, KIND_MS, KIND_BYTES, KIND_WORD };

#define DAY_MS ((uint64_t)24 * 3600 * 1000)
#define MAX_MS (3660 * DAY_MS)

static const char *const words_durability[] = {"disk", "os", NULL};
static const char *const words_compression[] = {"producer", "none", "zstd", NULL};
static const char *const words_validate[] = {"records", "header", "full", NULL};
static const char *const words_unread[] = {"keep", "drop", NULL};

struct row {
    enum topic_key bit;
    const char *name;
    enum kind kind;
    bool wide; /* the field is u64, else u32 */
    size_t at;
    uint64_t min, max, def;
    const char *const *words;
};

#define FIELD(f) offsetof(struct topic_config, f)
/* clang-format off */
static const struct row table[] = {
    {TKEY_PARTITIONS,      "partitions",        KIND_NUMBER, false, FIELD(partitions),        1, LIMIT_PARTITIONS, 4, NULL},
    {TKEY_RETENTION_MS,    "retention.ms",      KIND_MS,     true,  FIELD(retention_ms),      0, MAX_MS, 7 * DAY_MS, NULL},
    {TKEY_RETENTION_BYTES, "retention.bytes",   KIND_BYTES,  true,  FIELD(retention_bytes),   0, LIMIT_UINT, 0, NULL},
    {TKEY_DURABILITY,      "durability",        KIND_WORD,   false, FIELD(durability),        0, 1, TOPIC_DURABILITY_DISK, words_durability},
    {TKEY_MESSAGE_MAX,     "message.max_bytes", KIND_BYTES,  false, FIELD(message_max_bytes), 1, LIMIT_MESSAGE_CAP, LIMIT_MESSAGE_DEFAULT, NULL},
    {TKEY_BATCH_RECORDS,   "batch.max_records", KIND_NUMBER, false, FIELD(batch_max_records), 0, LIMIT_BATCH_RECORDS, 0, NULL},
    {TKEY_COMPRESSION,     "compression",       KIND_WORD,   false, FIELD(compression),       0, 2, TOPIC_COMPRESS_PRODUCER, words_compression},
    {TKEY_VALIDATE,        "validate",          KIND_WORD,   false, FIELD(validate),          0, 2, TOPIC_VALIDATE_RECORDS, words_validate},
    {TKEY_UNREAD,          "retention.unread",  KIND_WORD,   false, FIELD(unread),            0, 1, TOPIC_UNREAD_KEEP, words_unread},
    {TKEY_HOLD_BYTES,      "hold.bytes",        KIND_BYTES,  true,  FIELD(hold_bytes),        0, LIMIT_UINT, 0, NULL},
};
static const char *const key_names[] = {
    "partitions", "retention.ms", "retention.bytes", "durability", "message.max_bytes",
    "batch.max_records", "compression", "validate", "retention.unread", "hold.bytes", NULL,
};
/* clang-format on */
enum { ROWS = sizeof table / sizeof table[0] };
_Static_assert(sizeof key_names / sizeof key_names[0] == ROWS + 1, "one name per row");

static uint64_t get(const struct topic_config *c, const struct row *r)
{
    uint64_t v64;
    uint32_t v32;

    if (r->wide) {
        memcpy(&v64, (const char *)c + r->at, sizeof v64);
        return v64;
    }
    memcpy(&v32, (const char *)c + r->at, sizeof v32);
    return v32;
}

static void put(struct topic_config *c, const struct row *r, uint64_t v)
{
    uint32_t v32 = (uint32_t)v;

    if (r->wide) {
        memcpy((char *)c + r->at, &v, sizeof v);
    } else {
        memcpy((char *)c + r->at, &v32, sizeof v32);
    }
}

void topic_config_defaults(struct topic_config *c)
{
    *c = (struct topic_config){0};
    for (size_t i = 0; i < ROWS; i++) {
        put(c, &table[i], table[i].def);
    }
}

const char *const *topic_config_keys(void)
{
    return key_names;
}

/* "retention" is accepted for "retention.ms": it is what people type. */
static const struct row *find(struct slice name)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (slice_eq(name, slice_str(table[i].name))) {
            return &table[i];
        }
    }
    return slice_eq(name, slice_str("retention")) ? &table[1] : NULL;
}

/* "10", "10k", "7d" ... to a number; units depend on the kind. */
static bool parse_number(const char *s, enum kind kind, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } ms[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", DAY_MS}},
      bytes[] = {{"", 1},          {"B", 1},          {"k", 1 << 10},     {"K", 1 << 10},
                 {"KiB", 1 << 10}, {"M", 1 << 20},    {"MiB", 1 << 20},   {"G", 1 << 30},
                 {"GiB", 1 << 30}, {"T", 1ULL << 40}, {"TiB", 1ULL << 40}},
      none[] = {{"", 1}};
    char *end = NULL;
    unsigned long long v;

    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    errno = 0;
    v = strtoull(s, &end, 10);
    if (errno != 0) {
        return false;
    }
    const size_t n = kind == KIND_MS      ? sizeof ms / sizeof ms[0]
                     : kind == KIND_BYTES ? sizeof bytes / sizeof bytes[0]
                                          : 1;
    for (size_t i = 0; i < n; i++) {
        const char *unit = kind == KIND_MS      ? ms[i].unit
                           : kind == KIND_BYTES ? bytes[i].unit
                                                : none[i].unit;
        uint64_t factor = kind == KIND_MS ? ms[i].factor : kind == KIND_BYTES ? bytes[i].factor : 1;

        if (strcmp(end, unit) == 0) {
            return !__builtin_mul_overflow((uint64_t)v, factor, out);
        }
    }
    return false;
}

static enum werr range_error(const struct row *r, const char *value, struct werror *e)
{
    if (r->kind == KIND_WORD) {
        char list[64] = "";
        size_t n = 0;

        for (size_t i = 0; r->words[i] != NULL && n < sizeof list; i++) {
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? "|" : "", r->words[i]);
        }
        return werror_set(e, WERR_INVALID_CONFIG, "%s = %s: want %s", r->name, value, list);
    }
    return werror_set(e, WERR_INVALID_CONFIG, "%s = %s: want a number%s from %llu to %llu", r->name,
                      value,
                      r->kind == KIND_MS      ? " (ms, or with s, m, h, d)"
                      : r->kind == KIND_BYTES ? " (bytes, or with k, M, G, T)"
                                              : "",
                      (unsigned long long)r->min, (unsigned long long)r->max);
}

static enum werr set_text(struct topic_config *c, const struct row *r, const char *value,
                          struct werror *e)
{
    uint64_t v = 0;

    if (r->kind == KIND_WORD) {
        while (r->words[v] != NULL && strcmp(r->words[v], value) != 0) {
            v++;
        }
        if (r->words[v] == NULL) {
            return range_error(r, value, e);
        }
    } else if (!parse_number(value, r->kind, &v) || v < r->min || v > r->max) {
        return range_error(r, value, e);
    }
    put(c, r, v);
    c->set |= (uint32_t)r->bit;
    return WERR_OK;
}

enum werr topic_config_set(struct topic_config *c, const char *key, const char *value,
                           struct werror *e)
{
    const struct row *r = find(slice_str(key));

    if (r == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "unknown topic setting %.60s", key);
    }
    return set_text(c, r, value, e);
}

void topic_config_merge(struct topic_config *c, const struct topic_config *from)
{
    for (size_t i = 0; i < ROWS; i++) {
        if ((from->set & (uint32_t)table[i].bit) != 0) {
            put(c, &table[i], get(from, &table[i]));
        }
    }
    c->set |= from->set;
}

void topic_config_put(struct buf *b, const struct topic_config *c, bool all)
{
    size_t n = 0;

    for (size_t i = 0; i < ROWS; i++) {
        n += all || (c->set & (uint32_t)table[i].bit) != 0;
    }
    mpw_map(b, n);
    for (size_t i = 0; i < ROWS; i++) {
        if (!all && (c->set & (uint32_t)table[i].bit) == 0) {
            continue;
        }
        mpw_cstr(b, table[i].name);
        if (table[i].kind == KIND_WORD) {
            mpw_cstr(b, table[i].words[get(c, &table[i])]);
        } else {
            mpw_uint(b, get(c, &table[i]));
        }
    }
}

static enum werr get_one(struct mpread *r, const struct row *row, struct topic_config *c,
                         struct werror *e)
{
    char text[64];

    if (mpread_peek(r) == MP_STR) {
        struct slice s = mpread_str(r, sizeof text - 1);

        snprintf(text, sizeof text, "%.*s", (int)s.n, (const char *)s.p);
        return r->err == WERR_OK ? set_text(c, row, text, e)
                                 : werror_set(e, WERR_MALFORMED, "%s: %s", row->name, r->what);
    }
    if (mpread_peek(r) == MP_UINT && row->kind != KIND_WORD) {
        uint64_t v = mpread_uint(r, UINT64_MAX);

        snprintf(text, sizeof text, "%llu", (unsigned long long)v);
        if (v < row->min || v > row->max) {
            return range_error(row, text, e);
        }
        put(c, row, v);
        c->set |= (uint32_t)row->bit;
        return WERR_OK;
    }
    return range_error(row, "(another type)", e);
}

enum werr topic_config_get(struct mpread *r, bool strict, struct topic_config *c, struct werror *e)
{
    uint32_t pairs = mpread_map(r);

    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        struct slice key = mpread_str(r, SIZE_MAX);
        const struct row *row = r->err == WERR_OK ? find(key) : NULL;
        enum werr rc;

        if (r->err != WERR_OK) {
            break;
        }
        if (row == NULL && strict) {
            return werror_set(e, WERR_UNSUPPORTED_FIELD, "unknown topic setting %.*s",
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
            (void)get_one(&v, row, c, NULL);
            continue;
        }
        if ((c->set & (uint32_t)row->bit) != 0) {
            return werror_set(e, WERR_MALFORMED, "%s given twice", row->name);
        }
        rc = get_one(r, row, c, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    return r->err == WERR_OK ? WERR_OK
                             : werror_set(e, WERR_MALFORMED, "topic settings: %s", r->what);
}
