/*
 * One table (config.def) drives everything. Values are checked where they are set, so that the
 * message can name the file and line. The file is read by hand: flat `key = value` lines, which are
 * valid TOML (docs/decisions/0001-libraries.md).
 */
#include "broker/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config_row.h"

static const struct config_row rows[CONFIG_KEYS] = {
#define X(field, key, type, when, def, min, max, unit, doc) \
    {key, TYPE_##type, WHEN_##when, offsetof(struct config, field), def, min, max, unit, doc},
#include "broker/config.def"
#undef X
};

const struct config_row *config_row(size_t i)
{
    return &rows[i];
}

static void *field(struct config *c, const struct config_row *r)
{
    return (char *)c + r->at;
}

/* Edit distance, for "did you mean"; names are short. */
static unsigned distance(const char *a, const char *b)
{
    unsigned d[64];
    size_t nb = strlen(b);

    if (nb >= 63) {
        return 99;
    }
    for (size_t j = 0; j <= nb; j++) {
        d[j] = (unsigned)j;
    }
    for (size_t i = 0; a[i] != '\0'; i++) {
        unsigned corner = d[0];

        d[0] = (unsigned)i + 1;
        for (size_t j = 0; j < nb; j++) {
            unsigned best = corner + (a[i] != b[j]);

            corner = d[j + 1];
            best = corner + 1 < best ? corner + 1 : best;
            d[j + 1] = d[j] + 1 < best ? d[j] + 1 : best;
        }
    }
    return d[nb];
}

static const struct config_row *find(const char *key)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (strcmp(rows[i].key, key) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static enum werr unknown_key(const char *key, const char *where, struct werror *e)
{
    const struct config_row *near = &rows[0];

    for (size_t i = 1; i < CONFIG_KEYS; i++) {
        if (distance(key, rows[i].key) < distance(key, near->key)) {
            near = &rows[i];
        }
    }
    return werror_set(e, WERR_INVALID_CONFIG, "%s: unknown setting %.60s; the nearest is %s", where,
                      key, near->key);
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {{"", 1},          {"k", 1 << 10},   {"K", 1 << 10},
                                    {"KiB", 1 << 10}, {"M", 1 << 20},   {"MiB", 1 << 20},
                                    {"G", 1 << 30},   {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit times[] = {{"", 1},        {"ms", 1},       {"s", 1000}, {"m", 60000},
                                    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit plain[] = {{"", 1}, {NULL, 0}};

static bool parse_number(const struct config_row *r, const char *s, uint64_t *out)
{
    const struct unit *u = r->type == TYPE_SIZE ? sizes : r->type == TYPE_TIME ? times : plain;
    char *end = NULL;
    unsigned long long v;

    if (!isdigit((unsigned char)s[0])) {
        return false;
    }
    errno = 0;
    v = strtoull(s, &end, 10);
    for (; errno == 0 && u->name != NULL; u++) {
        if (strcmp(end, u->name) == 0) {
            return !__builtin_mul_overflow((uint64_t)v, u->factor, out) && *out >= r->min &&
                   *out <= r->max;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- texts with a form of their own
 */

static bool is_word_of(const char *value, const char *const *words)
{
    while (*words != NULL && strcmp(value, *words) != 0) {
        words++;
    }
    return *words != NULL;
}

static bool is_log_level(const char *value)
{
    return is_word_of(value, (const char *const[]){"error", "warn", "info", "debug", NULL});
}

static bool is_log_format(const char *value)
{
    return is_word_of(value, (const char *const[]){"text", "json", NULL});
}

/* HOST:PORT or [IPV6]:PORT; whether the host exists is found out when it is used. */
static bool is_address(const char *value)
{
    const char *colon = strrchr(value, ':');
    const size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;

    return colon != value && digits >= 1 && digits <= 5 && colon[1 + digits] == '\0' &&
           strtoul(colon + 1, NULL, 10) <= 65535;
}

static bool is_listen(const char *value)
{
    return strncmp(value, "unix:", 5) == 0 ? value[5] != '\0' : is_address(value);
}

static bool is_address_or_none(const char *value)
{
    return value[0] == '\0' || is_address(value);
}

static const struct form {
    enum config_key key;
    bool (*fits)(const char *value);
    const char *want;
} forms[] = {
    {CONFIG_KEY_log_level, is_log_level, "error, warn, info or debug"},
    {CONFIG_KEY_log_format, is_log_format, "text or json"},
    {CONFIG_KEY_listen, is_listen, "HOST:PORT, [IPV6]:PORT or unix:/path, PORT from 0 to 65535"},
    {CONFIG_KEY_http, is_address_or_none, "HOST:PORT, PORT from 0 to 65535, or nothing"},
    {CONFIG_KEY_advertise, is_address_or_none, "HOST:PORT, PORT from 0 to 65535, or nothing"},
};

/* What this setting wants and this value is not; NULL: it is fine. */
static const char *misfit(const struct config_row *r, const char *value)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (&rows[forms[i].key] == r && !forms[i].fits(value)) {
            return forms[i].want;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- one value */

static enum werr bad_value(const struct config_row *r, const char *value, const char *where,
                           struct werror *e)
{
    char least[32], most[32];

    if (r->type == TYPE_BOOL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want true or false", where,
                          r->key, value);
    }
    if (r->type == TYPE_TEXT || r->type == TYPE_LIST) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s: too long or too many (limit %d)", where,
                          r->key, r->type == TYPE_TEXT ? CONFIG_TEXT - 1 : CONFIG_LIST_MAX);
    }
    if (r->type == TYPE_NUMBER) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want a number from %llu to %llu",
                          where, r->key, value, (unsigned long long)r->min,
                          (unsigned long long)r->max);
    }
    return werror_set(e, WERR_INVALID_CONFIG,
                      "%s: %s = %.60s: want a number from %llu to %llu %s (%s to %s)", where,
                      r->key, value, (unsigned long long)r->min, (unsigned long long)r->max,
                      r->unit, config_short(r, r->min, least), config_short(r, r->max, most));
}

/* The place without the line: items from there add up. */
static size_t place_length(const char *where)
{
    const char *colon = strrchr(where, ':');

    return colon != NULL ? (size_t)(colon - where) : strlen(where);
}

/* A list given in a stronger place replaces the weaker one; within one place items add up. */
static enum werr add_item(struct config *c, const struct config_row *r, const char *value,
                          const char *where, struct werror *e)
{
    struct config_list *l = field(c, r);
    const char *source = c->source[r - rows];
    const char *want = misfit(r, value);

    if (want != NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want %s", where, r->key, value,
                          want);
    }
    if (place_length(source) != place_length(where) ||
        strncmp(source, where, place_length(where)) != 0) {
        l->n = 0;
    }
    if (l->n == CONFIG_LIST_MAX || strlen(value) >= CONFIG_TEXT) {
        return bad_value(r, value, where, e);
    }
    memcpy(l->item[l->n++], value, strlen(value) + 1);
    snprintf(c->source[r - rows], sizeof c->source[0], "%s", where);
    return WERR_OK;
}

/* ["a", "b"]; an address like [::1]:0 is not one. */
static bool is_array(const char *value)
{
    const char *p = value + (value[0] == '[');

    p += strspn(p, " \t");
    return value[0] == '[' && (*p == '"' || *p == '\'' || *p == ']');
}

static enum werr add_array(struct config *c, const struct config_row *r, const char *value,
                           const char *where, struct werror *e)
{
    const char *p = value + 1;
    enum werr rc = WERR_OK;
    unsigned n = 0;

    while (rc == WERR_OK) {
        char item[CONFIG_TEXT];
        const char *end;

        p += strspn(p, " \t");
        end = *p == '"' || *p == '\'' ? strchr(p + 1, *p) : NULL;
        if (end == NULL || (size_t)(end - p) > sizeof item) {
            break;
        }
        snprintf(item, sizeof item, "%.*s", (int)(end - p - 1), p + 1);
        rc = add_item(c, r, item, where, e);
        n++;
        p = end + 1 + strspn(end + 1, " \t");
        if (*p != ',') {
            break;
        }
        p++;
        if (p[strspn(p, " \t")] == ']') { /* a comma after the last one */
            p += strspn(p, " \t");
            break;
        }
    }
    if (rc == WERR_OK && (n == 0 || strcmp(p, "]") != 0)) {
        rc = werror_set(e, WERR_INVALID_CONFIG, "%s: %s: want a list [\"...\", \"...\"]", where,
                        r->key);
    }
    return rc;
}

static bool set_value(struct config *c, const struct config_row *r, const char *value)
{
    uint64_t v;

    switch (r->type) {
    case TYPE_LIST: /* item by item */
        return false;
    case TYPE_TEXT:
        if (strlen(value) >= CONFIG_TEXT) {
            return false;
        }
        memcpy(field(c, r), value, strlen(value) + 1);
        return true;
    case TYPE_BOOL:
        *(bool *)field(c, r) = strcmp(value, "true") == 0;
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
    case TYPE_NUMBER:
    case TYPE_SIZE:
    case TYPE_TIME:
        if (!parse_number(r, value, &v)) {
            return false;
        }
        memcpy(field(c, r), &v, sizeof v);
        return true;
    }
    return false;
}

enum werr config_set(struct config *c, const char *key, const char *value, const char *where,
                     struct werror *e)
{
    const struct config_row *r = find(key);
    const char *want;

    if (r == NULL) {
        return unknown_key(key, where, e);
    }
    if (r->type == TYPE_LIST) {
        return is_array(value) ? add_array(c, r, value, where, e) : add_item(c, r, value, where, e);
    }
    want = misfit(r, value);
    if (want != NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want %s", where, r->key, value,
                          want);
    }
    if (!set_value(c, r, value)) {
        return bad_value(r, value, where, e);
    }
    if (c->connection_memory > 0 && c->connection_memory < CONNECTION_MEMORY_LEAST) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "%s: connection_memory = %.60s: want 0 or at least %d bytes", where,
                          value, CONNECTION_MEMORY_LEAST);
    }
    snprintf(c->source[r - rows], sizeof c->source[0], "%s", where);
    return WERR_OK;
}

void config_defaults(struct config *c)
{
    struct werror e;

    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        if (config_set(c, rows[i].key, rows[i].def, "default", &e) != WERR_OK) {
            abort(); /* config.def contradicts itself */
        }
    }
}

/* ---------------------------------------------------------------- file */

static char *trim(char *s)
{
    char *end;

    while (isspace((unsigned char)*s)) {
        s++;
    }
    end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1])) {
        end--;
    }
    *end = '\0';
    return s;
}

/* Cuts a comment off: a # that is in no quotes. False: a quote is not closed. */
static bool cut_comment(char *v)
{
    char quote = '\0';

    for (; *v != '\0' && (quote != '\0' || *v != '#'); v++) {
        if (quote == '\0' && (*v == '"' || *v == '\'')) {
            quote = *v;
        } else if (*v == quote) {
            quote = '\0';
        }
    }
    *v = '\0';
    return quote == '\0';
}

/* The text in quotes, or the bare value. NULL: something follows the quotes. */
static char *unquote(char *v)
{
    char *end = v[0] == '"' || v[0] == '\'' ? strchr(v + 1, v[0]) : NULL;

    if (end == NULL) {
        return v;
    }
    if (end[1] != '\0') {
        return NULL;
    }
    *end = '\0';
    return v + 1;
}

/* One value may stand in a file once: two lines that differ are a mistake, and TOML forbids them.
 */
static bool stands_there_already(const struct config *c, const char *key, const char *where)
{
    const struct config_row *r = find(key);
    const size_t n = place_length(where);

    return r != NULL && r->type != TYPE_LIST && strncmp(c->source[r - rows], where, n) == 0 &&
           c->source[r - rows][n] == ':';
}

static enum werr file_line(struct config *c, char *line, const char *where, struct werror *e)
{
    char *s = trim(line);
    char *eq, *value, *key;

    if (s[0] == '\0' || s[0] == '#') {
        return WERR_OK;
    }
    eq = strchr(s, '=');
    if (eq == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: want key = value, found %.60s", where, s);
    }
    *eq = '\0';
    key = trim(s);
    if (!cut_comment(eq + 1)) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %.60s: a quote is not closed", where, key);
    }
    value = unquote(trim(eq + 1));
    if (value == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %.60s: something follows the closing quote",
                          where, key);
    }
    if (stands_there_already(c, key, where)) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s was set before, at %s", where, key,
                          c->source[find(key) - rows]);
    }
    return config_set(c, key, value, where, e);
}

enum werr config_file(struct config *c, const char *path, struct werror *e)
{
    FILE *f = fopen(path, "re");
    char line[1024], where[CONFIG_SOURCE];
    const size_t n = strlen(path),
                 shown = sizeof where - 16; /* the end of a long path tells more */
    unsigned no = 0;
    enum werr rc = WERR_OK;

    if (f == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s", path, strerror(errno));
    }
    while (rc == WERR_OK && fgets(line, sizeof line, f) != NULL) {
        snprintf(where, sizeof where, "%s:%u", n > shown ? path + n - shown : path, ++no);
        if (strchr(line, '\n') == NULL && strlen(line) == sizeof line - 1) {
            rc = werror_set(e, WERR_INVALID_CONFIG, "%s: line over %zu bytes", where,
                            sizeof line - 2);
        } else {
            rc = file_line(c, line, where, e);
        }
    }
    if (rc == WERR_OK && ferror(f)) { /* half a file is not what somebody wrote */
        rc = werror_set(e, WERR_INVALID_CONFIG, "%s: %s", path, strerror(errno));
    }
    fclose(f);
    return rc;
}

/* ---------------------------------------------------------------- environment, command line */

static enum werr from_environment(struct config *c, struct werror *e)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        char name[64];
        const char *value;
        size_t n = (size_t)snprintf(name, sizeof name, "WEIR_%s", rows[i].key);

        for (size_t k = 5; k < n; k++) {
            name[k] = (char)toupper((unsigned char)name[k]);
        }
        value = getenv(name);
        if (value != NULL) {
            enum werr rc = config_set(c, rows[i].key, value, name, e);

            if (rc != WERR_OK) {
                return rc;
            }
        }
    }
    return WERR_OK;
}

static const struct {
    const char *name;
    enum config_action action;
} actions[] = {
    {"--help", CONFIG_HELP},          {"-h", CONFIG_HELP},
    {"--version", CONFIG_VERSION},    {"--check-config", CONFIG_CHECK},
    {"--print-config", CONFIG_PRINT}, {"--sample-config", CONFIG_SAMPLE},
    {"--config-doc", CONFIG_DOC},
};

static bool is_action(const char *arg, enum config_action *action)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(arg, actions[i].name) == 0) {
            *action = actions[i].action;
            return true;
        }
    }
    return false;
}

/* --key VALUE, --key=VALUE or --flag; dashes in a key count as underscores. */
static enum werr option(struct config *c, int argc, char **argv, int *i, struct werror *e)
{
    char key[64], where[64];
    const char *arg = argv[*i];
    const char *eq = strchr(arg, '=');
    size_t n = eq != NULL ? (size_t)(eq - arg) : strlen(arg);
    const struct config_row *r;

    if (strncmp(arg, "--", 2) != 0 || n - 2 >= sizeof key) {
        return werror_set(e, WERR_INVALID_CONFIG, "unexpected argument %.60s", arg);
    }
    memcpy(key, arg + 2, n - 2);
    key[n - 2] = '\0';
    for (char *p = key; *p != '\0'; p++) {
        *p = *p == '-' ? '_' : *p;
    }
    snprintf(where, sizeof where, "--%.58s", key);
    r = find(key);
    if (r == NULL) {
        return unknown_key(key, where, e);
    }
    if (eq != NULL) {
        return config_set(c, key, eq + 1, where, e);
    }
    if (r->type == TYPE_BOOL && (*i + 1 >= argc || (strcmp(argv[*i + 1], "true") != 0 &&
                                                    strcmp(argv[*i + 1], "false") != 0))) {
        return config_set(c, key, "true", where, e);
    }
    if (*i + 1 >= argc) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: value missing", where);
    }
    return config_set(c, key, argv[++*i], where, e);
}

enum werr config_load(struct config *c, int argc, char **argv, enum config_action *action,
                      struct werror *e)
{
    const char *path = getenv("WEIR_CONFIG");
    enum werr rc = WERR_OK;

    *action = CONFIG_RUN;
    config_defaults(c);
    c->argc = argc;
    c->argv = argv;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            path = argv[i + 1];
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            path = argv[i] + 9;
        }
    }
    if (path != NULL) {
        rc = config_file(c, path, e);
    }
    if (rc == WERR_OK) {
        rc = from_environment(c, e);
    }
    for (int i = 1; i < argc && rc == WERR_OK; i++) {
        if (strcmp(argv[i], "--config") == 0) {
            i++;
        } else if (strcmp(argv[i], "--restore") == 0 && i + 1 < argc) {
            c->restore = argv[++i];
            *action = CONFIG_RESTORE;
        } else if (strncmp(argv[i], "--restore=", 10) == 0) {
            c->restore = argv[i] + 10;
            *action = CONFIG_RESTORE;
        } else if (strncmp(argv[i], "--config=", 9) != 0 && !is_action(argv[i], action)) {
            rc = option(c, argc, argv, &i, e);
        }
    }
    if (rc == WERR_OK && config_in_memory(c)) {
        c->data[0] = '\0';
    }
    if (rc == WERR_OK && *action == CONFIG_RESTORE && config_in_memory(c)) {
        rc = werror_set(e, WERR_INVALID_CONFIG, "--restore %.200s: --dev has no data directory",
                        c->restore);
    }
    if (rc == WERR_OK && c->data[0] == '\0' && !c->dev) {
        rc = werror_set(e, WERR_INVALID_CONFIG,
                        "%s: data is empty: give --data DIR, or --dev to keep everything in memory",
                        c->source[CONFIG_KEY_data]);
    }
    return rc;
}

uint64_t config_inflight(const struct config *c)
{
    const uint64_t bucket = c->memory / 4; /* as storage/open.c has it */

    return c->inflight < bucket ? c->inflight : bucket;
}

bool config_in_memory(const struct config *c)
{
    return c->dev && (c->data[0] == '\0' || strcmp(c->source[CONFIG_KEY_data], "default") == 0);
}
