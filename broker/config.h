#ifndef WEIR_BROKER_CONFIG_H
#define WEIR_BROKER_CONFIG_H
/* The server's settings: defaults, then file, then environment (WEIR_KEY), then --key. Last wins.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/error.h"

enum { CONFIG_LIST_MAX = 16, CONFIG_TEXT = 256, CONFIG_SOURCE = 128 };
/* One large request more than fits would stop everybody. */
enum { CONNECTION_MEMORY_LEAST = 16 << 20 };

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
#define X(field, key, type, when, def, min, max, unit, doc) CONFIG_KEY_##field,
#include "broker/config.def"
#undef X
    CONFIG_KEYS
};

struct config {
#define X(field, key, type, when, def, min, max, unit, doc) CONFIG_FIELD_##type(field)
#include "broker/config.def"
#undef X
    char source[CONFIG_KEYS][CONFIG_SOURCE]; /* "default", "FILE:LINE", "WEIR_KEY", "--key" */
    const char *restore;                     /* the backup of --restore, borrowed */
    int argc;                                /* what config_load was given, borrowed */
    char **argv;
};

/* What the command line asks for beside settings. */
enum config_action {
    CONFIG_RUN,
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_CHECK,
    CONFIG_PRINT,
    CONFIG_SAMPLE,
    CONFIG_DOC,
    CONFIG_RESTORE /* config.restore */
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
/*
 * A file of `key = value` lines, a subset of TOML: strings may be quoted, # begins a comment, a
 * list is ["a", "b"] or a line for each item. A key that takes one value may stand there once.
 */
enum werr config_file(struct config *c, const char *path, struct werror *e) WEIR_NODISCARD;
void config_defaults(struct config *c);
/* Produced bytes that may wait for the disk: `inflight`, but no more than a bucket of the store. */
uint64_t config_inflight(const struct config *c);
/* Nothing is kept on disk: dev, and no data directory was named. */
bool config_in_memory(const struct config *c);

/* What a reload found different: the key, both values, where the new one stands, and whether it was
 * taken (false: it needs a restart). */
struct config_change {
    enum config_key key;
    const char *name, *from, *to, *source;
    bool taken;
};
/*
 * Reads everything again from where config_load read it. The settings that can change while running
 * take their new values; fn is told about every difference. When anything is wrong nothing changes
 * and *e says what.
 */
enum werr config_reload(struct config *c, void (*fn)(void *arg, const struct config_change *ch),
                        void *arg, struct werror *e) WEIR_NODISCARD;

/* `key = value  # source` for every setting; may be used as a file. */
void config_print(const struct config *c, FILE *out);
/* A configuration file with every key, explained and commented out. */
void config_sample(FILE *out);
/* docs/CONFIG.md */
void config_doc(FILE *out);
void config_help(FILE *out);

#endif
