/*
 * BACKUP_CREATE. Happy path: a helper thread of the store makes the copy, then the request is
 * answered. One at a time.
 * What can fail: a name that is no name or is taken; the disk. A server that is closed meanwhile
 * leaves a directory without a list, which is no backup.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "broker/clock.h"
#include "broker/session.h"
#include "proto/msg_server.h"
#include "storage/backup.h"

enum {
    BACKUP_NAME = 64,
    PATH = 4096,
    MS_PER_S = 1000,
    NS_PER_MS = 1000000,
    SPARE_BYTES = 16 << 20
};

static bool name_ok(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        const uint8_t c = s.p[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!letter && (c < '0' || c > '9') && c != '_' && (c != '-' || i == 0)) {
            return false; /* no dots: NAME.tmp is where RocksDB makes NAME */
        }
    }
    return s.n > 0 && s.n <= BACKUP_NAME;
}

/* The name that was asked for, or the time. */
static enum werr choose_name(char *out, struct slice name, struct werror *e)
{
    const time_t now_s = (time_t)(clock_wall_ms() / MS_PER_S);
    struct tm tm;

    if (name.n == 0) {
        (void)gmtime_r(&now_s, &tm);
        (void)strftime(out, BACKUP_NAME + 1, "%Y%m%dT%H%M%SZ", &tm);
        return WERR_OK;
    }
    if (!name_ok(name)) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "backup %.*s: a name has 1 to %d of A-Z a-z 0-9 _ - and does not begin "
                          "with -",
                          (int)name.n, (const char *)name.p, BACKUP_NAME);
    }
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    return WERR_OK;
}

/* What a peer may be told of a failure: codes of storage are not part of the protocol. */
static void for_the_wire(struct werror *e)
{
    if (e->code == WERR_CLOSED) {
        e->code = WERR_SHUTTING_DOWN;
    } else if (e->code != WERR_EXISTS && e->code != WERR_STORAGE_FULL) {
        e->code = WERR_INTERNAL;
    }
}

/* Where it is made; false: too long. */
static bool path_of(const struct server *srv, const char *name, char out[PATH])
{
    return (size_t)snprintf(out, PATH, "%s/" BACKUP_FOLDER "/%s", srv->conf->data, name) < PATH;
}

static void made(void *arg, enum werr rc, const struct werror *why)
{
    struct server *srv = arg;
    struct backup_job *j = &srv->backup;
    struct conn *c = j->c;
    struct backup_info info = {.files = 0};
    struct werror e = *why;
    const uint64_t took_ms = (uint64_t)(clock_mono_ns() - j->began_mono_ns) / NS_PER_MS;
    char path[PATH], text[LOG_TEXT];

    (void)path_of(srv, j->name, path); /* fitted when it began */
    if (rc == WERR_OK) {
        rc = backup_read(path, &info, &e);
    }
    if (rc == WERR_OK) {
        const struct msg_backup m = {.path = slice_str(path),
                                     .files = info.files,
                                     .bytes = info.bytes,
                                     .created_ms = info.created_ms,
                                     .took_ms = took_ms};

        log_line(&srv->log, LOG_INFO, "server", "backup_made",
                 "path=\"%s\" files=%llu bytes=%llu took_ms=%llu",
                 log_text(text, path, strlen(path)), (unsigned long long)info.files,
                 (unsigned long long)info.bytes, (unsigned long long)took_ms);
        if (c->state != CONN_CLOSED) {
            msg_put_backup_create_ok(conn_ctl(c), j->corr, &m);
            conn_sent(c);
        }
    } else {
        log_line(&srv->log, LOG_WARN, "server", "backup_failed", "reason=\"%s\"",
                 log_text(text, e.text, strlen(e.text)));
        for_the_wire(&e);
        conn_put_error(c, j->corr, &e, NULL, 0);
    }
    j->c = NULL;
    conn_finish(c, 0);
}

/* The newest log is copied, and what is linked stays: not when the disk is nearly full. */
static enum werr has_room(struct server *srv, struct werror *e)
{
    struct store_stats s;

    store_stats(srv->st, &s);
    if (store_state(srv->st) != STORE_READY || s.free_bytes < 2 * s.log_bytes + SPARE_BYTES) {
        return werror_set(e, WERR_STORAGE_FULL, "too little space for a backup: %llu bytes free",
                          (unsigned long long)s.free_bytes);
    }
    return WERR_OK;
}

/* Makes the folder of backups. Links need it on the file system of the data. */
static enum werr make_folder(const char *data, const char *folder, struct werror *e)
{
    struct stat a, b;

    if ((mkdir(folder, 0700) != 0 && errno != EEXIST) || stat(data, &a) != 0 ||
        stat(folder, &b) != 0) {
        return werror_set(e, errno == ENOSPC ? WERR_STORAGE_FULL : WERR_INTERNAL, "make %.180s: %s",
                          folder, strerror(errno));
    }
    if (a.st_dev != b.st_dev) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "%.180s is on another file system than the data: backups are links",
                          folder);
    }
    return WERR_OK;
}

enum werr cmd_backup_create(struct cmd *m, struct werror *e)
{
    struct backup_job *j = &m->srv->backup;
    char path[PATH], folder[PATH];
    struct slice asked;
    enum werr rc = msg_get_backup_create(&m->args, &asked, e);

    if (rc == WERR_OK && m->srv->draining) {
        rc = werror_set(e, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    }
    if (rc == WERR_OK && config_in_memory(m->srv->conf)) {
        rc = werror_set(e, WERR_INVALID_CONFIG, "a server that keeps all in memory has no backup");
    }
    if (rc == WERR_OK && j->c != NULL) {
        rc = werror_set(e, WERR_OVERLOADED, "a backup is being made: %s", j->name);
    }
    if (rc == WERR_OK) {
        rc = has_room(m->srv, e);
    }
    if (rc == WERR_OK) {
        rc = choose_name(j->name, asked, e);
    }
    if (rc != WERR_OK) {
        return rc;
    }
    if (!path_of(m->srv, j->name, path) || !path_of(m->srv, "", folder)) {
        return werror_set(e, WERR_TOO_LARGE, "the path of backup %s is too long", j->name);
    }
    rc = make_folder(m->srv->conf->data, folder, e);
    if (rc != WERR_OK) {
        return rc;
    }
    j->c = m->c;
    j->corr = m->corr;
    j->began_mono_ns = clock_mono_ns();
    conn_begin(m->c, 0);
    store_checkpoint(m->srv->st, path, clock_wall_ms(), made, m->srv);
    return WERR_OK;
}
