/*
 * The order of a start, and the only way around each refusal:
 *
 *   lock         one process per directory
 *   restore      one that was cut short is refused (backup.c)
 *   floor        what was known to be on disk; a newer format is refused before anything is written
 *   undo         hard links to all files (rocks_undo.c), so that a refusal changes nothing
 *   preflight    are the files there that the floor has seen synced? (sizes only, no replay)
 *   repeats      logs in which a record comes again are replaced (rocks_repeats.c)
 *   open         read-write, log mode "tolerate a torn tail": the normal case replays the log once
 *   verify       front_open: dense offsets, sums, every mark of the floor
 *
 * When preflight or open object, the store is examined (rocks_damage.c), which changes nothing, and
 * compared with the floor: at or above it only a torn tail is gone (normal after a
 * power cut) and the open is repeated in point-in-time mode; below it acknowledged data is missing,
 * and only accept_data_loss goes on.
 *
 * Who owns what: the lock's descriptor passes to the open database; front_open takes that.
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

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/backup.h"
#include "storage/file_io.h"
#include "storage/front.h"
#include "storage/rocks.h"
#include "storage/rows.h"

_Static_assert((int)FLOOR_FORMAT == (int)STORE_FORMAT, "one format number for the directory");

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
        ssize_t n = file_read_at(fd, pid, sizeof pid - 1, 0);

        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        rc = werror_set(e, WERR_LOCKED, "%s is in use by process %s", dir, pid[0] ? pid : "?");
        close(fd);
        return rc;
    }
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || !file_write_at(fd, pid, strlen(pid), 0)) {
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
    char wal[32], path[4096];
    uint64_t bytes;

    rocks_newest_wal(dir, wal, sizeof wal, &bytes);
    snprintf(path, sizeof path, "%s/CURRENT", dir);
    return wal[0] != '\0' || access(path, F_OK) == 0;
}

/* What an open works with. */
struct opening {
    const char *dir;
    const struct store_conf *conf;
    struct kv_floor floor;
    struct floor_mark *marks;
    bool have_floor;
    struct rocks_how how;
};

static void say(const struct opening *o, const char *event, const char *text)
{
    if (o->conf->log != NULL) {
        o->conf->log(o->conf->log_arg, event, text);
    }
}

/* The floor of a store, or of one that is being created: then an empty floor goes to disk first. */
static enum werr get_floor(struct opening *o, struct werror *e)
{
    enum werr rc = floor_load(o->dir, &o->floor, &o->marks, e);

    o->have_floor = rc == WERR_OK;
    if (rc == WERR_NOT_FOUND && !has_database(o->dir)) {
        o->floor = (struct kv_floor){.seq = 0};
        o->have_floor = true;
        rc = floor_save(o->dir, &o->floor, e);
    }
    if (rc == WERR_NOT_FOUND || rc == WERR_CORRUPT) {
        rc = werror_set(e, WERR_DATA_LOSS,
                        "%.100s: no valid floor file: it cannot be proved that nothing is missing",
                        o->dir);
    }
    return rc;
}

/* What an examination could not name: the floor at least knows what there should be. */
static void name_marks(const struct kv_floor *f, struct werror *why)
{
    if (strstr(why->text, "partition ") == NULL && f->n_marks > 0 && f->marks[0].next_offset > 0) {
        (void)werror_wrap(
            why, "partition %u: offsets below %llu (and %zu more partitions) not found",
            f->marks[0].partition, (unsigned long long)f->marks[0].next_offset, f->n_marks - 1);
    }
}

/* A file that is not there is lost. Any other error of the system (no descriptors, a disk that does
 * not answer) says nothing about the data; to call it lost would make people accept the loss. */
static bool is_trouble(enum werr rc, const struct werror *why)
{
    const bool from_system = rc == WERR_IO || strstr(why->text, "IO error: ") != NULL;

    return rc == WERR_FORMAT_NEWER || rc == WERR_STORAGE_FULL || rc == WERR_NOMEM ||
           rc == WERR_LOCKED || (from_system && strstr(why->text, "No such file") == NULL);
}

/*
 * After an objection (*e): WERR_OK = go on, o->how says how; else *e explains why not.
 * A file that is shorter than what was synced is refused even when every mark is reached: what
 * became durable after the last mark was acknowledged too. Nobody can go on with a store whose
 * metadata does not load: to open it would only make RocksDB delete what it no longer refers to.
 */
static enum werr judge(struct opening *o, struct werror *e)
{
    struct werror objection = *e, why = {0};
    enum werr rc = rocks_examine(o->dir, o->conf, &o->floor, &why);

    o->how.wal_mode = ROCKS_POINT;
    if (is_trouble(rc, &why)) { /* it could not be examined */
        *e = why;
        return rc;
    }
    if (o->conf->accept_data_loss && (rc == WERR_OK || rc == WERR_DATA_LOSS)) {
        say(o, "data_loss_accepted", objection.text);
        o->how.lenient = true;
        return rocks_restore_current(o->dir, &o->floor, e);
    }
    if (rc == WERR_OK && objection.code != WERR_DATA_LOSS) {
        return WERR_OK; /* only a tail that nobody was promised is gone */
    }
    if (rc == WERR_OK) {
        *e = objection;
        return WERR_DATA_LOSS;
    }
    name_marks(&o->floor, &why);
    return werror_set(e, WERR_DATA_LOSS, "%.150s; %.100s", why.text, objection.text);
}

/* Opens the database. *kept: what it was before can be had back. */
static enum werr open_guarded(struct opening *o, bool *kept, struct rocks **out, struct werror *e)
{
    enum werr rc = o->have_floor ? rocks_preflight(o->dir, &o->floor, e) : e->code;
    struct werror why;

    if (!o->how.lenient) { /* else it was judged before, and nothing more can object */
        o->how.wal_mode = ROCKS_TAIL;
        o->how.create = o->have_floor && o->floor.lsn == 0;
        if (rc == WERR_DATA_LOSS || rc == WERR_CORRUPT) {
            rc = judge(o, e);
        }
        if (rc != WERR_OK) {
            return rc;
        }
    }
    if (!o->how.create) {
        *kept = rocks_undo_keep(o->dir, o->floor.seq, &why) == WERR_OK;
    }
    if (!*kept && !o->how.create) {
        say(o, "undo_unavailable", why.text);
    }
    rc = rocks_hide_repeats(o->dir, e);
    if (rc == WERR_OK) {
        rc = rocks_open(out, o->dir, o->conf, &o->how, e);
    }
    if (rc != WERR_OK && !is_trouble(rc, e) && !o->how.lenient && !o->how.create) {
        why = *e;
        rc = judge(o, e);
        if (rc == WERR_OK) {
            rc = rocks_open(out, o->dir, o->conf, &o->how, e);
        }
        if (rc == WERR_CORRUPT) { /* a log is missing that RocksDB kept account of */
            rc = werror_set(e, WERR_DATA_LOSS, "every mark of the floor is reached, yet %.200s",
                            why.text);
        }
    }
    if (rc == WERR_OK && o->how.lenient) {
        rc = rocks_drop_damaged(*out, e);
        if (rc != WERR_OK) {
            rocks_close(*out);
        }
    }
    return rc;
}

static void announce(const struct opening *o)
{
    char wal[32], text[80];
    uint64_t bytes;

    rocks_newest_wal(o->dir, wal, sizeof wal, &bytes);
    snprintf(text, sizeof text, "%llu bytes of log to replay", (unsigned long long)bytes);
    if (bytes > 0) {
        say(o, "recovery", text);
    }
}

/* The first floor of this start was written, whatever became of its sync: the open was verified,
 * and to take it back would leave a store that is older than its floor. The next start sees which
 * of the two floors lasted. */
static bool floor_moved(const struct opening *o)
{
    struct floor_mark *marks = NULL;
    struct kv_floor now = {0};
    const enum werr rc = floor_load(o->dir, &now, &marks, NULL);

    free(marks);
    return rc != WERR_NOT_FOUND && (rc != WERR_OK || now.seq != o->floor.seq);
}

/*
 * From the lock on. An open that is refused is taken back: replaying has by then deleted the log.
 * With accept_data_loss, losses that show only in the rows lead to the same examination as those
 * that show in the files, so that all that can be read is kept.
 */
static enum werr open_store(struct opening *o, struct store **out, struct rocks **rk,
                            struct werror *e)
{
    const struct kv_floor *floor = o->have_floor && o->floor.lsn != 0 ? &o->floor : NULL;
    struct store_conf conf = *o->conf;
    bool kept = false;
    enum werr rc = open_guarded(o, &kept, rk, e);

    conf.accept_data_loss = o->how.lenient;
    if (rc == WERR_OK) {
        struct kv *kv = kv_rocks_new(*rk);

        WEIR_KILLPOINT(start_replayed);
        rc = front_open(out, kv, clog_rocks_new(*rk), FRONT_THREADED, &conf, floor, e);
    }
    if (rc != WERR_OK) {
        *rk = NULL;
    }
    if (kept && rc != WERR_OK && !floor_moved(o)) {
        struct werror undo;

        if (rocks_undo(o->dir, o->floor.seq, &undo) != WERR_OK) {
            say(o, "undo_failed", undo.text);
        }
    } else if (kept && rc == WERR_OK) {
        rocks_undo_drop(o->dir, o->floor.seq);
    }
    return rc;
}

enum werr store_open_rocks(struct store **out, const char *dir, const struct store_conf *conf,
                           struct werror *e)
{
    struct opening o = {.dir = dir, .conf = conf};
    struct werror own = {0};
    struct rocks *rk = NULL;
    int lock_fd = -1;
    enum werr rc;

    e = e != NULL ? e : &own;
    rc = take_lock(dir, &lock_fd, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = backup_is_finished(dir, e);
    if (rc != WERR_OK) {
        close(lock_fd); /* no loss that could be accepted: the backup is whole */
        return rc;
    }
    WEIR_KILLPOINT(start_locked);
    rc = get_floor(&o, e);
    if (rc == WERR_OK) {
        rc = rocks_undo_leftover(dir, o.floor.seq, e);
    }
    if (rc == WERR_OK || rc == WERR_DATA_LOSS) {
        WEIR_KILLPOINT(start_floor_read);
        announce(&o);
        rc = open_store(&o, out, &rk, e);
    }
    if ((rc == WERR_DATA_LOSS || rc == WERR_CORRUPT) && conf->accept_data_loss && !o.how.lenient) {
        rc = judge(&o, e);
        if (rc == WERR_OK) {
            rc = open_store(&o, out, &rk, e);
        }
    }
    if (rc == WERR_OK) {
        rk->lock_fd = lock_fd; /* released after the database is closed */
        lock_fd = -1;
    }
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    free(o.marks);
    return rc;
}
