#ifndef WEIR_BROKER_CONFIG_ROW_H
#define WEIR_BROKER_CONFIG_ROW_H
/* The rows of config.def, for the parts of the configuration itself and what prints it. */
#include "broker/config.h"

enum config_type { TYPE_TEXT, TYPE_LIST, TYPE_NUMBER, TYPE_SIZE, TYPE_TIME, TYPE_BOOL };
enum config_when { WHEN_LIVE, WHEN_START };

struct config_row {
    const char *key;
    enum config_type type;
    enum config_when when;
    size_t at; /* of the field in struct config */
    const char *def;
    uint64_t min, max; /* max 0: no range */
    const char *unit, *doc;
};

/* i < CONFIG_KEYS. */
const struct config_row *config_row(size_t i);
/* The value of a setting as a line of the file would have it. Returns out. */
enum { CONFIG_VALUE = 4608 }; /* a full list */
const char *config_value(const struct config *c, size_t i, char out[CONFIG_VALUE]);
/* The smallest text of a number of this row: 64M, 10s, 1000. Returns out. */
const char *config_short(const struct config_row *r, uint64_t v, char out[32]);

#endif
