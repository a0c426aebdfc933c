/* The settings once more, while running: what differs, and which of it can be taken. */
#include <stdlib.h>
#include <string.h>

#include "broker/config_row.h"

static bool is_equal(const struct config *a, const struct config *b, size_t i)
{
    char x[CONFIG_VALUE], y[CONFIG_VALUE];

    return strcmp(config_value(a, i, x), config_value(b, i, y)) == 0;
}

static void copy_value(struct config *c, const struct config *from, const struct config_row *r)
{
    static const size_t bytes[] = {
        [TYPE_TEXT] = CONFIG_TEXT,        [TYPE_LIST] = sizeof(struct config_list),
        [TYPE_NUMBER] = sizeof(uint64_t), [TYPE_SIZE] = sizeof(uint64_t),
        [TYPE_TIME] = sizeof(uint64_t),   [TYPE_BOOL] = sizeof(bool)};

    memcpy((char *)c + r->at, (const char *)from + r->at, bytes[r->type]);
}

static void take(struct config *c, const struct config *fresh, size_t i,
                 void (*fn)(void *arg, const struct config_change *ch), void *arg)
{
    char from[CONFIG_VALUE], to[CONFIG_VALUE];
    const struct config_change ch = {.key = (enum config_key)i,
                                     .name = config_row(i)->key,
                                     .from = config_value(c, i, from),
                                     .to = config_value(fresh, i, to),
                                     .source = fresh->source[i],
                                     .taken = config_row(i)->when == WHEN_LIVE};

    if (ch.taken) {
        copy_value(c, fresh, config_row(i));
    }
    fn(arg, &ch);
}

enum werr config_reload(struct config *c, void (*fn)(void *arg, const struct config_change *ch),
                        void *arg, struct werror *e)
{
    struct config *fresh = malloc(sizeof *fresh);
    enum config_action action;
    enum werr rc;

    if (fresh == NULL) {
        return werror_set(e, WERR_NOMEM, "no memory to read the settings");
    }
    rc = config_load(fresh, c->argc, c->argv, &action, e);
    for (size_t i = 0; rc == WERR_OK && i < CONFIG_KEYS; i++) {
        const bool equal = is_equal(c, fresh, i);

        if (!equal) {
            take(c, fresh, i, fn, arg);
        }
        if (equal || config_row(i)->when == WHEN_LIVE) {
            memcpy(c->source[i], fresh->source[i], sizeof c->source[i]);
        }
    }
    free(fresh);
    return rc;
}
