/*
 * The order of a start, and the only way around each refusal:
 *
 *   lock         one process per directory
 *   floor        what was known to be on disk; a newer format is refused before anything is written
 *   preflight    are the files there that the floor has seen synced? (sizes only, no replay)
 *   open         read-write, log mode "tolerate a torn tail": the normal case replays the log once
 *   verify       front_open: dense offsets, sums, every mark of the floor
 *
 * When preflight or open object, the store is opened read-only, which changes nothing, and compared
 * with the floor: at or above it only a torn tail is gone (normal after a power cut) and the open
 * is repeated in point-in-time mode; below it acknowledged data is missing, and only
 * accept_data_loss goes on.
 */
#include "storage/store_rocks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/alloc.h"
#include "storage/front.h"
#include "storage/load.h"
#include "storage/rocks.h"

static enum werr take_lock(const char *dir, int *out, struct werror *e)
{
    char path[4096], pid[32] = "";
    int fd;
    enum werr rc = WERR_OK;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return werror_set(e, WERR_IO, "%s: %s", dir, strerror(errno));
    }
    snprintf(path, sizeof path, "%s/weir.lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return werror_set(e, WERR_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        rc = werror_set(e, WERR_LOCKED, "%s is in use by process %s", dir, pid[0] ? pid : "?");
        close(fd);
        return rc;
    }
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, strlen(pid), 0) < 0) {
        rc = werror_set(e, errno == ENOSPC ? WERR_STORAGE_FULL : WERR_IO, "%s: %s", path,
                        strerror(errno));
        close(fd);
        return rc;
    }
    *out = fd;
    return WERR_OK;
}

static bool has_database(const char *dir)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/CURRENT", dir);
    return access(path, F_OK) == 0;
}

/* The floor of a store, or of one that is being created: then an empty floor goes to disk first. */
static enum werr get_floor(const char *dir, const struct store_conf *conf, struct kv_floor *f,
                           struct floor_mark **marks, bool *have, struct werror *e)
{
    enum werr rc = floor_load(dir, f, marks, e);

    *have = rc == WERR_OK;
    if (rc == WERR_OK || rc == WERR_FORMAT_NEWER) {
        return rc;
    }
    if (rc == WERR_NOT_FOUND && !has_database(dir)) {
        *f = (struct kv_floor){.seq = 0};
        return floor_save(dir, f, e);
    }
    if (rc != WERR_NOT_FOUND && rc != WERR_CORRUPT) {
        return rc;
    }
    if (conf->accept_data_loss) {
        return WERR_OK;
    }
    return werror_set(e, WERR_DATA_LOSS,
                      "%s: no valid floor file: it cannot be proved that nothing is missing", dir);
}

/*
 * Opens read-only in point-in-time mode and compares with the floor. WERR_OK: nothing that was
 * acknowledged is missing. WERR_DATA_LOSS names partition and offsets.
 */
static enum werr examine(const char *dir, const struct store_conf *conf,
                         const struct kv_floor *floor, struct werror *e)
{
    struct store_conf strict = *conf;
    struct loaded found = {0};
    struct rocks *rk = NULL;
    struct kv *kv = NULL;
    struct clog *log = NULL;
    enum werr rc;

    strict.accept_data_loss = false;
    rc = rocks_open(&rk, dir, &strict, ROCKS_POINT, true, e);
    if (rc != WERR_OK) {
        return rc;
    }
    kv = kv_rocks_new(rk);
    log = clog_rocks_new(rk);
    rc = load_store(&found, kv, log, &strict, floor, e);
    if (rc == WERR_OK) {
        loaded_fini(&found);
    }
    log->ops->close(log);
    kv->ops->close(kv);
    return rc;
}

/* After an objection: goes on (WERR_OK, *mode set) or explains why not. */
static enum werr judge(const char *dir, const struct store_conf *conf, const struct kv_floor *floor,
                       enum rocks_wal_mode *mode, struct werror *e)
{
    struct werror objection = *e;
    struct werror why = {0};
    enum werr rc = examine(dir, conf, floor, &why);

    if (rc == WERR_OK && objection.code != WERR_DATA_LOSS) {
        *mode = ROCKS_POINT; /* only a tail that nobody was promised is gone */
        return WERR_OK;
    }
    if (conf->accept_data_loss) {
        *mode = ROCKS_POINT;
        return WERR_OK;
    }
    if (rc == WERR_OK || objection.code == WERR_DATA_LOSS) {
        /* the rows reach the floor, or could not be read: either way a file is damaged */
        werror_set(e, WERR_DATA_LOSS, "%.110s%s%.110s", objection.text, rc != WERR_OK ? "; " : "",
                   rc != WERR_OK ? why.text : "");
        return WERR_DATA_LOSS;
    }
    *e = rc == WERR_DATA_LOSS ? why : objection;
    return e->code;
}

static enum werr open_guarded(struct rocks **out, const char *dir, const struct store_conf *conf,
                              const struct kv_floor *floor, bool have_floor, struct werror *e)
{
    enum rocks_wal_mode mode = ROCKS_TAIL;
    enum werr rc = have_floor ? rocks_preflight(dir, floor, e) : WERR_OK;

    if (rc == WERR_DATA_LOSS) {
        rc = judge(dir, conf, floor, &mode, e);
    }
    if (rc != WERR_OK) {
        return rc;
    }
    rc = rocks_open(out, dir, conf, mode, false, e);
    if (rc == WERR_CORRUPT && mode == ROCKS_TAIL) {
        rc = judge(dir, conf, floor, &mode, e);
        if (rc == WERR_OK) {
            rc = rocks_open(out, dir, conf, mode, false, e);
        }
    }
    return rc;
}

enum werr store_open_rocks(struct store **out, const char *dir, const struct store_conf *conf,
                           struct werror *e)
{
    struct kv_floor floor = {0};
    struct floor_mark *marks = NULL;
    struct rocks *rk = NULL;
    bool have_floor = false;
    int lock_fd = -1;
    enum werr rc = take_lock(dir, &lock_fd, e);

    if (rc != WERR_OK) {
        return rc;
    }
    rc = get_floor(dir, conf, &floor, &marks, &have_floor, e);
    if (rc == WERR_OK) {
        rc = open_guarded(&rk, dir, conf, &floor, have_floor, e);
    }
    if (rc == WERR_OK) {
        struct kv *kv = kv_rocks_new(rk);

        rk->lock_fd = lock_fd; /* released after the database is closed */
        lock_fd = -1;
        rc = front_open(out, kv, clog_rocks_new(rk), FRONT_THREADED, conf,
                        have_floor && floor.lsn != 0 ? &floor : NULL, e);
    }
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    free(marks);
    return rc;
}
