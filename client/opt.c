/*
 * Happy path: each pair is found in a table row that says where its value goes and what is allowed.
 * What can fail: text without '=', an unknown key, a value out of range; nothing is half applied
 * that matters, since the handle refuses to work then. Owns nothing.
 */
#include "client/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg_group.h"

enum opt_type { OPT_U32, OPT_U64, OPT_WORD, OPT_TEXT, OPT_NAME, OPT_START, OPT_PARTS, OPT_MEMBER };
enum opt_scope { FOR_ALL, FOR_PLAIN, FOR_GROUP, FOR_LOG, FOR_QUEUE };

struct opt_row {
    const char *name;
    enum opt_type type;
    size_t at;
    uint64_t min, max;
    const char *no, *yes; /* OPT_WORD */
    enum opt_scope scope;
};

#define AT(field) offsetof(struct options, field)
static const struct opt_row handle_rows[] = {
    {"client_id", OPT_TEXT, AT(client_id), 1, 64, NULL, NULL, FOR_ALL},
    {"producer", OPT_NAME, AT(producer), 1, LIMIT_NAME, NULL, NULL, FOR_ALL},
    {"linger_ms", OPT_U32, AT(linger_ms), 0, 60000, NULL, NULL, FOR_ALL},
    {"batch_bytes", OPT_U32, AT(batch_bytes), 1, 8 << 20, NULL, NULL, FOR_ALL},
    {"batch_records", OPT_U32, AT(batch_records), 1, LIMIT_BATCH_RECORDS, NULL, NULL, FOR_ALL},
    {"in_flight", OPT_U32, AT(in_flight), 1, LIMIT_PRODUCER_WINDOW, NULL, NULL, FOR_ALL},
    {"compression", OPT_WORD, AT(compression), 0, 0, "none", "zstd", FOR_ALL},
    {"buffer_bytes", OPT_U64, AT(buffer_bytes), 1024, UINT64_C(1) << 40, NULL, NULL, FOR_ALL},
    {"send_timeout_ms", OPT_U32, AT(send_timeout_ms), 1, 86400000, NULL, NULL, FOR_ALL},
    {"connect_timeout_ms", OPT_U32, AT(connect_timeout_ms), 1, 600000, NULL, NULL, FOR_ALL},
    {"reconnect_min_ms", OPT_U32, AT(reconnect_min_ms), 1, 600000, NULL, NULL, FOR_ALL},
    {"reconnect_max_ms", OPT_U32, AT(reconnect_max_ms), 1, 600000, NULL, NULL, FOR_ALL},
};
#undef AT
#define AT(field) offsetof(struct sub_options, field)
static const struct opt_row sub_rows[] = {
    {"start", OPT_START, 0, 0, 0, NULL, NULL, FOR_ALL},
    {"partitions", OPT_PARTS, 0, 0, 0, NULL, NULL, FOR_PLAIN},
    {"window_bytes", OPT_U32, AT(window_bytes), 1, 1 << 30, NULL, NULL, FOR_ALL},
    {"stop_at_end", OPT_WORD, AT(stop_at_end), 0, 0, "0", "1", FOR_PLAIN},
    {"mode", OPT_WORD, AT(queue), 0, 0, "log", "queue", FOR_GROUP},
    {"member", OPT_MEMBER, 0, 0, 0, NULL, NULL, FOR_GROUP},
    {"commit", OPT_WORD, AT(manual), 0, 0, "auto", "manual", FOR_LOG},
    {"commit_ms", OPT_U32, AT(commit_ms), 1, 3600000, NULL, NULL, FOR_LOG},
    {"order", OPT_WORD, AT(by_key), 0, 0, "none", "key", FOR_QUEUE},
    {"prefetch", OPT_U32, AT(prefetch), 1, LIMIT_ACQUIRE_MSGS, NULL, NULL, FOR_QUEUE},
    {"lease_ms", OPT_U32, AT(lease_ms), LIMIT_LEASE_MIN_MS, LIMIT_LEASE_MAX_MS, NULL, NULL,
     FOR_QUEUE},
    {"settle_ms", OPT_U32, AT(settle_ms), 0, 60000, NULL, NULL, FOR_QUEUE},
};
#undef AT

enum { MAX_ROWS = 16, KEY_SIZE = 64, VALUE_SIZE = 8192 };

void options_defaults(struct options *o)
{
    *o = (struct options){
        .batch_bytes = 256 << 10,
        .batch_records = LIMIT_BATCH_RECORDS,
        .in_flight = 8,
        .buffer_bytes = 64 << 20,
        .send_timeout_ms = 30000,
        .connect_timeout_ms = 5000,
        .reconnect_min_ms = 50,
        .reconnect_max_ms = 2000,
    };
    memcpy(o->client_id, "libweir", 8);
}

void sub_options_defaults(struct sub_options *o)
{
    *o = (struct sub_options){.start = START_EARLIEST, .window_bytes = 4 << 20, .commit_ms = 1000};
}

int option_next(const char **text, char separator, char *key, size_t key_size, char *value,
                size_t value_size, struct werror *e)
{
    const char *p = *text, *eq, *end;

    while (p && *p && (*p == ' ' || *p == '\t' || *p == '\n' || *p == separator)) {
        p++;
    }
    if (!p || !*p) {
        *text = p;
        return 0;
    }
    for (end = p; *end && *end != ' ' && *end != '\t' && *end != '\n' && *end != separator;) {
        end++;
    }
    eq = memchr(p, '=', (size_t)(end - p));
    if (!eq || eq == p || (size_t)(eq - p) >= key_size || (size_t)(end - eq) > value_size) {
        werror_set(e, WERR_INVALID_CONFIG, "'%.*s' is not key=value",
                   (int)(end - p < 60 ? end - p : 60), p);
        return -1;
    }
    memcpy(key, p, (size_t)(eq - p));
    key[eq - p] = 0;
    memcpy(value, eq + 1, (size_t)(end - eq - 1));
    value[end - eq - 1] = 0;
    *text = end;
    return 1;
}

/* Edit distance of two short words; longer ones are cut. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[KEY_SIZE + 1];
    size_t na = strnlen(a, KEY_SIZE), nb = strnlen(b, KEY_SIZE);

    for (unsigned j = 0; j <= nb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned grow = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = change < grow ? change : grow;
        }
    }
    return row[nb];
}

const char *option_nearest(const char *key, const char *const *names, size_t n)
{
    const char *best = NULL;
    unsigned best_d = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned d = distance(key, names[i]);

        if (!best || d < best_d) {
            best = names[i];
            best_d = d;
        }
    }
    return best;
}

/* A number, with k, M or G (powers of 1024) behind it when the row counts bytes. */
static bool number(const char *s, bool bytes, uint64_t *out)
{
    char *end;
    uint64_t v;
    unsigned shift = 0;

    if (*s < '0' || *s > '9') {
        return false;
    }
    errno = 0;
    v = strtoull(s, &end, 10);
    if (errno) {
        return false;
    }
    if (bytes && *end) {
        const char *unit = strchr("kmg", *end | 0x20);

        shift = unit ? (unsigned)(1 + (unit - "kmg")) * 10 : 0;
        end += unit ? 1 : 0;
        end += strcmp(end, "iB") == 0 ? 2 : 0;
    }
    *out = v << shift;
    return *end == 0 && *out >> shift == v;
}

static enum werr set_number(void *at, const struct opt_row *row, const char *value,
                            struct werror *e)
{
    uint64_t v;

    if (!number(value, strstr(row->name, "bytes") != NULL, &v) || v < row->min || v > row->max) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s=%.40s: a number from %llu to %llu is needed",
                          row->name, value, (unsigned long long)row->min,
                          (unsigned long long)row->max);
    }
    if (row->type == OPT_U32) {
        *(uint32_t *)at = (uint32_t)v;
    } else {
        *(uint64_t *)at = v;
    }
    return WERR_OK;
}

static enum werr set_text(char *at, const struct opt_row *row, const char *value, struct werror *e)
{
    size_t n = strlen(value);
    const char *allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    bool bad = n < row->min || n > row->max;

    for (size_t i = 0; i < n && !bad; i++) {
        bad =
            row->type == OPT_NAME ? !strchr(allowed, value[i]) : value[i] < 0x21 || value[i] > 0x7e;
    }
    if (bad) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s=%.40s: 1 to %llu characters %s", row->name,
                          value, (unsigned long long)row->max,
                          row->type == OPT_NAME ? "of A-Za-z0-9._- are needed"
                                                : "of printable ASCII are needed");
    }
    memcpy(at, value, n + 1);
    return WERR_OK;
}

static enum werr set_word(bool *at, const struct opt_row *row, const char *value, const char *no,
                          const char *yes, struct werror *e)
{
    if (strcmp(value, no) != 0 && strcmp(value, yes) != 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s=%.40s: %s or %s is needed", row->name, value,
                          no, yes);
    }
    *at = strcmp(value, yes) == 0;
    return WERR_OK;
}

static enum werr set_start(struct sub_options *o, const char *value, struct werror *e)
{
    bool at = value[0] == '@';
    uint64_t v;

    if (strcmp(value, "earliest") == 0) {
        o->start = START_EARLIEST;
    } else if (strcmp(value, "latest") == 0) {
        o->start = START_LATEST;
    } else if (number(value + at, false, &v) && v <= LIMIT_UINT) {
        o->start = at ? START_TIME : START_OFFSET;
        o->start_value = (int64_t)v;
    } else {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "start=%.40s: earliest, latest, an offset or @ms is needed", value);
    }
    return WERR_OK;
}

static enum werr set_partitions(struct sub_options *o, const char *value, struct werror *e)
{
    const char *p = value;

    memset(o->set, 0, sizeof o->set);
    do {
        char *end;
        unsigned long v = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : LIMIT_PARTITIONS;

        if (v >= LIMIT_PARTITIONS || (*end != ',' && *end != 0)) {
            return werror_set(e, WERR_INVALID_CONFIG,
                              "partitions=%.40s: numbers below %d with commas between are needed",
                              value, LIMIT_PARTITIONS);
        }
        o->set[v / 8] = (uint8_t)(o->set[v / 8] | 1u << v % 8);
        p = *end == ',' ? end + 1 : NULL;
    } while (p);
    o->some = true;
    return WERR_OK;
}

static enum werr set_member(struct sub_options *o, const char *value, struct werror *e)
{
    const char *digits = "0123456789abcdef", *high = NULL, *low = NULL;

    for (size_t i = 0; i < sizeof o->member; i++) {
        high = value[2 * i] ? strchr(digits, value[2 * i] | 0x20) : NULL;
        low = high && value[2 * i + 1] ? strchr(digits, value[2 * i + 1] | 0x20) : NULL;
        if (!low) {
            break;
        }
        o->member[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    if (!low || value[2 * sizeof o->member]) {
        return werror_set(e, WERR_INVALID_CONFIG, "member=%.40s: 32 hex digits are needed", value);
    }
    o->has_member = true;
    return WERR_OK;
}

static enum werr set_one(void *base, const struct opt_row *row, const char *value, struct werror *e)
{
    void *at = (char *)base + row->at;

    switch (row->type) {
    case OPT_U32:
    case OPT_U64:
        return set_number(at, row, value, e);
    case OPT_WORD:
        return set_word(at, row, value, row->no, row->yes, e);
    case OPT_TEXT:
    case OPT_NAME:
        return set_text(at, row, value, e);
    case OPT_START:
        return set_start(base, value, e);
    case OPT_PARTS:
        return set_partitions(base, value, e);
    case OPT_MEMBER:
        return set_member(base, value, e);
    }
    return werror_set(e, WERR_MISUSE, "%s", row->name);
}

/* `seen` gets a bit for every row that was given. */
static enum werr parse(void *base, const struct opt_row *rows, size_t n, const char *text,
                       char separator, uint32_t *seen, struct werror *e)
{
    char key[KEY_SIZE], value[VALUE_SIZE];
    const char *names[MAX_ROWS];
    enum werr rc = WERR_OK;
    int got;

    while (rc == WERR_OK &&
           (got = option_next(&text, separator, key, sizeof key, value, sizeof value, e)) != 0) {
        size_t i = 0;

        if (got < 0) {
            return WERR_INVALID_CONFIG;
        }
        while (i < n && strcmp(rows[i].name, key) != 0) {
            names[i] = rows[i].name;
            i++;
        }
        rc = i < n ? set_one(base, &rows[i], value, e)
                   : werror_set(e, WERR_INVALID_CONFIG, "unknown option '%s': is '%s' meant?", key,
                                option_nearest(key, names, n));
        *seen |= i < n ? UINT32_C(1) << i : 0;
    }
    return rc;
}

enum werr options_parse(struct options *o, const char *text, char separator, struct werror *e)
{
    uint32_t seen = 0;
    enum werr rc =
        parse(o, handle_rows, sizeof handle_rows / sizeof *handle_rows, text, separator, &seen, e);

    if (rc == WERR_OK && o->reconnect_min_ms > o->reconnect_max_ms) {
        rc = werror_set(e, WERR_INVALID_CONFIG, "reconnect_min_ms=%u is above reconnect_max_ms=%u",
                        o->reconnect_min_ms, o->reconnect_max_ms);
    }
    return rc;
}

/* NULL: the option fits; else for what it is. */
static const char *misfit(enum opt_scope scope, bool group, bool queue)
{
    switch (scope) {
    case FOR_PLAIN:
        return group ? "subscriptions without a group" : NULL;
    case FOR_GROUP:
        return group ? NULL : "subscriptions with a group";
    case FOR_LOG:
        return group && !queue ? NULL : "groups in mode=log";
    case FOR_QUEUE:
        return group && queue ? NULL : "groups in mode=queue";
    case FOR_ALL:
        break;
    }
    return NULL;
}

enum werr sub_options_parse(struct sub_options *o, const char *text, bool group, struct werror *e)
{
    const size_t n = sizeof sub_rows / sizeof *sub_rows;
    uint32_t seen = 0;
    enum werr rc = parse(o, sub_rows, n, text, ' ', &seen, e);

    for (size_t i = 0; rc == WERR_OK && i < n; i++) {
        const char *what = misfit(sub_rows[i].scope, group, o->queue);

        if (what && (seen >> i & 1)) {
            rc = werror_set(e, WERR_INVALID_CONFIG, "option %s is for %s", sub_rows[i].name, what);
        }
    }
    if (rc == WERR_OK && group && o->start == START_OFFSET) {
        rc = werror_set(e, WERR_INVALID_CONFIG,
                        "start=%lld: in a group earliest, latest or @ms is needed",
                        (long long)o->start_value);
    }
    return rc;
}
