#ifndef WEIR_BROKER_CONFIG_H
#define WEIR_BROKER_CONFIG_H
/* The server's settings: defaults, then file, then environment (WEIR_KEY), then --key. Last wins.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/error.h"

enum { CONFIG_LIST_MAX = 16, CONFIG_TEXT = 256 };

struct config_list {
    char item[CONFIG_LIST_MAX][CONFIG_TEXT];
    unsigned n;
};

#define CONFIG_FIELD_TEXT(f) char f[CONFIG_TEXT];
#define CONFIG_FIELD_LIST(f) struct config_list f;
#define CONFIG_FIELD_NUMBER(f) uint64_t f;
#define CONFIG_FIELD_SIZE(f) uint64_t f;
#define CONFIG_FIELD_TIME(f) uint64_t f;
#define CONFIG_FIELD_BOOL(f) bool f;

enum config_key {
#define X(field, key, type, def, min, max, unit, doc) CONFIG_KEY_##field,
#include "broker/config.def"
#undef X
    CONFIG_KEYS
};

struct config {
#define X(field, key, type, def, min, max, unit, doc) CONFIG_FIELD_##type(field)
#include "broker/config.def"
#undef X
    char source[CONFIG_KEYS][64]; /* "default", "FILE:LINE", "WEIR_KEY", "--key" */
};

/* What the command line asks for beside settings. */
enum config_action {
    CONFIG_RUN,
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_CHECK,
    CONFIG_PRINT,
    CONFIG_DOC
};

/*
 * Reads everything. argv: --key VALUE, --key=VALUE, --bool, --config FILE. Errors name file and
 * line (or the variable, or the option), key, value and range; an unknown key names the nearest.
 */
enum werr config_load(struct config *c, int argc, char **argv, enum config_action *action,
                      struct werror *e) WEIR_NODISCARD;
/* One setting from text; `where` goes into messages and c->source. */
enum werr config_set(struct config *c, const char *key, const char *value, const char *where,
                     struct werror *e) WEIR_NODISCARD;
/* A file of `key = value` lines (a subset of TOML: strings may be quoted, # begins a comment). */
enum werr config_file(struct config *c, const char *path, struct werror *e) WEIR_NODISCARD;
void config_defaults(struct config *c);
/* `key = value  # source` for every setting. */
void config_print(const struct config *c, FILE *out);
/* docs/CONFIG.md */
void config_doc(FILE *out);
void config_help(FILE *out);

#endif
