/*
 * Happy path: copy, open, close, one line.
 * What can fail: the backup or the disk (nothing is left behind); a store that does not open (it
 * stays, to be looked at).
 */
#include "broker/restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "broker/clock.h"
#include "broker/server.h"
#include "storage/backup.h"
#include "storage/store_rocks.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

static int exit_code(enum werr rc)
{
    return rc == WERR_OK ? EXIT_CODE_OK
           : rc == WERR_CORRUPT || rc == WERR_DATA_LOSS || rc == WERR_FORMAT_NEWER
               ? EXIT_CODE_DATA_LOSS
           : rc == WERR_EXISTS || rc == WERR_NOT_FOUND ? EXIT_CODE_USAGE
                                                       : EXIT_CODE_IO;
}

static void say(void *arg, const char *event, const char *text)
{
    fprintf(arg, "%s: %s\n", event, text);
}

/* Is what was copied a store? */
static enum werr try_open(const struct config *conf, struct werror *e)
{
    const struct store_conf sc = {.memory_bytes = conf->memory,
                                  .min_free_bytes = conf->min_free,
                                  .log = say,
                                  .log_arg = stderr};
    struct store *st = NULL;
    const enum werr rc = store_open_rocks(&st, conf->data, &sc, e);

    if (st != NULL) {
        store_close(st);
    }
    return rc;
}

static void told(const struct config *conf, const struct backup_info *b, int64_t took_ms)
{
    const time_t made_s = (time_t)(b->created_ms / MS_PER_S);
    char when[32];
    struct tm tm;

    (void)gmtime_r(&made_s, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("restored %" PRIu64 " files, %" PRIu64
           " bytes, of a backup made at %s, to %s in %" PRId64 " ms\n",
           b->files, b->bytes, when, conf->data, took_ms);
}

int restore_run(const struct config *conf)
{
    const int64_t began_ns = clock_mono_ns();
    struct backup_info about;
    struct werror e = {.code = WERR_OK};
    enum werr rc = backup_restore(conf->restore, conf->data, &about, &e);

    if (rc == WERR_OK) {
        rc = try_open(conf, &e);
        if (rc != WERR_OK) {
            werror_wrap(&e, "restored to %.200s, but it does not open", conf->data);
        }
    }
    if (rc == WERR_OK) {
        told(conf, &about, (clock_mono_ns() - began_ns) / NS_PER_MS);
    } else {
        fprintf(stderr, "weir-server: --restore: %s\n", e.text);
    }
    return exit_code(rc);
}
