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

enum type { TYPE_TEXT, TYPE_LIST, TYPE_NUMBER, TYPE_SIZE, TYPE_TIME, TYPE_BOOL };

struct row {
    const char *key;
    enum type type;
    size_t at;
    const char *def;
    uint64_t min, max;
    const char *unit, *doc;
};

static const struct row rows[CONFIG_KEYS] = {
#define X(field, key, type, def, min, max, unit, doc) \
    {key, TYPE_##type, offsetof(struct config, field), def, min, max, unit, doc},
#include "broker/config.def"
#undef X
};

static void *field(struct config *c, const struct row *r)
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

static const struct row *find(const char *key)
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
    const struct row *near = &rows[0];

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

static bool parse_number(const struct row *r, const char *s, uint64_t *out)
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

static enum werr bad_value(const struct row *r, const char *value, const char *where,
                           struct werror *e)
{
    if (r->type == TYPE_BOOL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want true or false", where,
                          r->key, value);
    }
    if (r->type == TYPE_TEXT || r->type == TYPE_LIST) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s: too long or too many (limit %d)", where,
                          r->key, r->type == TYPE_TEXT ? CONFIG_TEXT - 1 : CONFIG_LIST_MAX);
    }
    return werror_set(e, WERR_INVALID_CONFIG, "%s: %s = %.60s: want a number from %llu to %llu%s%s",
                      where, r->key, value, (unsigned long long)r->min, (unsigned long long)r->max,
                      r->unit[0] ? " " : "", r->unit);
}

/* A list given in a stronger place replaces the weaker one; within one place items add up. */
static bool add_item(struct config *c, const struct row *r, const char *value, const char *where)
{
    struct config_list *l = field(c, r);
    size_t plain_len = strcspn(where, ":"); /* FILE of FILE:LINE */

    if (strncmp(c->source[r - rows], where, plain_len) != 0) {
        l->n = 0;
    }
    if (l->n == CONFIG_LIST_MAX || strlen(value) >= CONFIG_TEXT) {
        return false;
    }
    memcpy(l->item[l->n++], value, strlen(value) + 1);
    return true;
}

static bool set_value(struct config *c, const struct row *r, const char *value, const char *where)
{
    uint64_t v;

    switch (r->type) {
    case TYPE_TEXT:
        if (strlen(value) >= CONFIG_TEXT) {
            return false;
        }
        memcpy(field(c, r), value, strlen(value) + 1);
        return true;
    case TYPE_LIST:
        return add_item(c, r, value, where);
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
    const struct row *r = find(key);

    if (r == NULL) {
        return unknown_key(key, where, e);
    }
    if (!set_value(c, r, value, where)) {
        return bad_value(r, value, where, e);
    }
    snprintf(c->source[r - rows], sizeof c->source[0], "%.60s", where);
    if (strcmp(key, "log_level") == 0 && strcmp(value, "error") != 0 &&
        strcmp(value, "warn") != 0 && strcmp(value, "info") != 0 && strcmp(value, "debug") != 0) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "%s: log_level = %.60s: want error, warn, info or debug", where, value);
    }
    if (strcmp(key, "log_format") == 0 && strcmp(value, "text") != 0 &&
        strcmp(value, "json") != 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: log_format = %.60s: want text or json",
                          where, value);
    }
    return WERR_OK;
}

void config_defaults(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        (void)set_value(c, &rows[i], rows[i].def, "default");
        snprintf(c->source[i], sizeof c->source[0], "default");
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

/* The value part of a line: quoted, or up to a comment. NULL: unbalanced quotes. */
static char *unquote(char *v)
{
    char *end;

    if (v[0] == '"' || v[0] == '\'') {
        end = strchr(v + 1, v[0]);
        if (end == NULL) {
            return NULL;
        }
        *end = '\0';
        return v + 1;
    }
    end = strchr(v, '#');
    if (end != NULL) {
        *end = '\0';
    }
    return trim(v);
}

static enum werr file_line(struct config *c, char *line, const char *where, struct werror *e)
{
    char *s = trim(line);
    char *eq, *value;

    if (s[0] == '\0' || s[0] == '#') {
        return WERR_OK;
    }
    eq = strchr(s, '=');
    if (eq == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: want key = value, found %.60s", where, s);
    }
    *eq = '\0';
    value = unquote(trim(eq + 1));
    if (value == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: a quote is not closed", where);
    }
    return config_set(c, trim(s), value, where, e);
}

enum werr config_file(struct config *c, const char *path, struct werror *e)
{
    FILE *f = fopen(path, "re");
    char line[1024], where[64];
    unsigned no = 0;
    enum werr rc = WERR_OK;

    if (f == NULL) {
        return werror_set(e, WERR_INVALID_CONFIG, "%s: %s", path, strerror(errno));
    }
    while (rc == WERR_OK && fgets(line, sizeof line, f) != NULL) {
        snprintf(where, sizeof where, "%.50s:%u", path, ++no);
        if (strchr(line, '\n') == NULL && strlen(line) == sizeof line - 1) {
            rc = werror_set(e, WERR_INVALID_CONFIG, "%s: line over %zu bytes", where,
                            sizeof line - 2);
        } else {
            rc = file_line(c, line, where, e);
        }
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
    {"--print-config", CONFIG_PRINT}, {"--config-doc", CONFIG_DOC},
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
    const struct row *r;

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
        } else if (strncmp(argv[i], "--config=", 9) != 0 && !is_action(argv[i], action)) {
            rc = option(c, argc, argv, &i, e);
        }
    }
    if (rc == WERR_OK && c->data[0] == '\0' && !c->dev &&
        (*action == CONFIG_RUN || *action == CONFIG_CHECK)) {
        rc = werror_set(e, WERR_INVALID_CONFIG,
                        "data is not set: give --data DIR, or --dev to keep everything in memory");
    }
    return rc;
}

/* ---------------------------------------------------------------- output */

static void print_value(const struct config *c, const struct row *r, FILE *out)
{
    const char *p = (const char *)c + r->at;
    uint64_t v;

    switch (r->type) {
    case TYPE_TEXT:
        fprintf(out, "\"%s\"", p);
        break;
    case TYPE_LIST: {
        const struct config_list *l = (const struct config_list *)(const void *)p;

        for (unsigned i = 0; i < l->n; i++) {
            fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", l->item[i]);
        }
        break;
    }
    case TYPE_BOOL:
        fputs(*(const bool *)p ? "true" : "false", out);
        break;
    case TYPE_NUMBER:
    case TYPE_SIZE:
    case TYPE_TIME:
        memcpy(&v, p, sizeof v);
        fprintf(out, "%llu", (unsigned long long)v);
        break;
    }
}

void config_print(const struct config *c, FILE *out)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        fprintf(out, "%s = ", rows[i].key);
        print_value(c, &rows[i], out);
        fprintf(out, "  # %s\n", c->source[i]);
    }
}

static const char *type_name(enum type t)
{
    static const char *const names[] = {"text",         "list of text",   "number",
                                        "size (k M G)", "time (s m h d)", "true or false"};

    return names[t];
}

void config_doc(FILE *out)
{
    fputs(
        "# Configuration of weir-server\n\n"
        "Generated by `weir-server --config-doc`; a test compares. Nothing is required but "
        "`data`.\n\n"
        "Each key can stand in a file (`--config FILE`, lines `key = value`), in the environment\n"
        "(`WEIR_KEY`), or on the command line (`--key value`); the last of these wins. An unknown "
        "key\n"
        "refuses to start and names the nearest. `--check-config` checks, `--print-config` prints "
        "every\n"
        "value and where it came from.\n\n"
        "| key | type | default | range | meaning |\n|---|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct row *r = &rows[i];

        fprintf(out, "| `%s` | %s | %s%s%s | ", r->key, type_name(r->type), r->def[0] ? "`" : "",
                r->def, r->def[0] ? "`" : "");
        if (r->max != 0 && r->type != TYPE_BOOL) {
            fprintf(out, "%llu to %llu", (unsigned long long)r->min, (unsigned long long)r->max);
        }
        fprintf(out, " | %s |\n", r->doc);
    }
}

void config_help(FILE *out)
{
    fputs("weir-server: an asynchronous message-queue broker\n\n"
          "usage: weir-server --data DIR [--key value ...]\n"
          "       weir-server --dev\n\n"
          "  --config FILE     read settings from a file\n"
          "  --check-config    check settings and exit\n"
          "  --print-config    print settings and where each came from\n"
          "  --version, --help\n\nsettings:\n",
          out);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        fprintf(out, "  --%-17s %s%s%s%s\n", rows[i].key, rows[i].doc, rows[i].def[0] ? " [" : "",
                rows[i].def, rows[i].def[0] ? "]" : "");
    }
}
