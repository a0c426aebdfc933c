/*
 * Happy path: sleeps a second at a time; the first change after a floor wakes it; it then waits
 * until nothing changed for IDLE_NS, or a second passed since the last floor, and writes one.
 * What can fail: the floor (reported, tried again after the next second: the store is none the
 * worse, only an open after a crash would notice less) and the disk being nearly full (flag `low`).
 * Who owns what: it borrows kv and commit. It takes commit.mu, never while holding its own mu.
 */
#include "storage/upkeep.h"

#include <stdlib.h>

#include "storage/clock.h"
#include "storage/commit.h"

static const int64_t SECOND_NS = 1000000000;
static const int64_t IDLE_NS = INT64_C(50) * 1000000;
static const int64_t APART_NS =
    INT64_C(200) * 1000000; /* a trickle of records is not worth more syncs */
static const uint64_t MIN_FREE_BYTES = UINT64_C(2) << 30;

void upkeep_init(struct upkeep *u)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&u->mu, NULL);
    pthread_cond_init(&u->kick, &attr);
    pthread_condattr_destroy(&attr);
}

void upkeep_fini(struct upkeep *u)
{
    pthread_mutex_destroy(&u->mu);
    pthread_cond_destroy(&u->kick);
}

void upkeep_changed(struct upkeep *u, bool bucket_ended)
{
    int64_t now_ns = store_mono_ns();
    pthread_mutex_lock(&u->mu);
    bool first = !u->changed || (bucket_ended && !u->urgent);
    u->changed = true;
    u->urgent = u->urgent || bucket_ended;
    u->changed_mono_ns = now_ns;
    if (first) {
        pthread_cond_signal(&u->kick);
    }
    pthread_mutex_unlock(&u->mu);
}

static uint64_t min_free(const struct upkeep *u, const struct kv_stats *s)
{
    const uint64_t conf = u->min_free_conf;

    if (conf != 0) {
        return conf;
    }
    return s->total_bytes / 20 > MIN_FREE_BYTES ? s->total_bytes / 20 : MIN_FREE_BYTES;
}

void upkeep_look(struct upkeep *u)
{
    struct kv_stats s = {0};
    u->kv->ops->stats(u->kv, &s);
    bool was_low = u->low;
    if (s.total_bytes != 0) { /* 0: no file system to fill up */
        uint64_t limit = min_free(u, &s);
        /* Back to work only clearly above the limit, or the state would flap with every record. */
        uint64_t enough = limit + limit / 16;
        u->low = s.free_bytes < (was_low ? enough : limit);
    }
    pthread_mutex_lock(&u->mu);
    u->stats = s;
    u->have_stats = true;
    pthread_mutex_unlock(&u->mu);
    if (was_low != u->low) {
        u->wake(u->wake_arg);
    }
}

enum werr upkeep_floor(struct upkeep *u, bool clean, struct werror *e)
{
    if (u->kv->ops->floor_write == NULL) {
        return WERR_OK;
    }
    /* The number moves on only with success: a failed write must meet the same slot again, never
     * the one that is still valid. */
    struct kv_floor f = {.seq = u->floor_seq + 1, .clean = clean};
    struct commit *c = u->commit;
    memcpy(f.store_uuid, u->uuid, sizeof(f.store_uuid));
    pthread_mutex_lock(&c->mu);
    f.epoch = c->durable.epoch;
    f.lsn = c->durable.lsn;
    uint64_t txn_seq = c->durable_seq;
    bool failed = c->health == COMMIT_FAILED;
    struct floor_mark *marks = marks_copy(&c->marks, &f.n_marks);
    pthread_mutex_unlock(&c->mu);
    f.marks = marks;
    /* After a failed sync the size of the log says nothing about what is on disk. */
    enum werr rc = failed ? WERR_OK : u->kv->ops->floor_write(u->kv, &f, e);
    if (rc == WERR_OK && !failed) {
        u->floor_seq = f.seq;
        u->floored_seq = txn_seq;
    }
    if (rc == WERR_INDETERMINATE) {
        commit_distrust(c, e);
    }
    free(marks);
    return rc;
}

/* Waits until a floor is due (true) or the disk is to be looked at (false). With mu held. */
static bool wait_due(struct upkeep *u, int64_t floor_ns, int64_t look_ns)
{
    for (;;) {
        int64_t now_ns = store_mono_ns(), until_ns = look_ns + SECOND_NS;
        if (u->changed) {
            int64_t idle_ns = u->changed_mono_ns + IDLE_NS;
            idle_ns = idle_ns > floor_ns + APART_NS ? idle_ns : floor_ns + APART_NS;
            int64_t due_ns = floor_ns + SECOND_NS;
            due_ns = idle_ns < due_ns ? idle_ns : due_ns;
            if (u->stop || u->urgent || now_ns >= due_ns) {
                return true;
            }
            until_ns = due_ns < until_ns ? due_ns : until_ns;
        }
        if (u->stop || now_ns >= until_ns) {
            return false;
        }
        struct timespec ts = store_mono_abs(until_ns);
        pthread_cond_timedwait(&u->kick, &u->mu, &ts);
    }
}

static void floor_failed(struct upkeep *u, const struct werror *e)
{
    pthread_mutex_lock(&u->mu);
    u->floor_error = *e;
    pthread_mutex_unlock(&u->mu);
    upkeep_changed(u, false);
}

bool upkeep_take_error(struct upkeep *u, struct werror *e)
{
    pthread_mutex_lock(&u->mu);
    bool any = u->floor_error.code != WERR_OK;
    *e = u->floor_error;
    u->floor_error.code = WERR_OK;
    pthread_mutex_unlock(&u->mu);
    return any;
}

static void *upkeep_main(void *arg)
{
    struct upkeep *u = arg;
    int64_t floor_ns = 0, look_ns = store_mono_ns();
    pthread_mutex_lock(&u->mu);
    while (!u->stop) {
        bool due = wait_due(u, floor_ns, look_ns);
        if (due) {
            u->changed = u->urgent = false;
        }
        pthread_mutex_unlock(&u->mu);
        struct werror e;
        int64_t now_ns = store_mono_ns();
        if (due) {
            floor_ns = now_ns;
            if (upkeep_floor(u, false, &e) != WERR_OK) {
                floor_failed(u, &e);
            }
        } else {
            look_ns = now_ns;
            upkeep_look(u);
        }
        pthread_mutex_lock(&u->mu);
    }
    pthread_mutex_unlock(&u->mu);
    return NULL;
}

enum werr upkeep_start(struct upkeep *u, struct werror *e)
{
    int err = pthread_create(&u->thread, NULL, upkeep_main, u);
    if (err != 0) {
        return werror_set(e, WERR_NOMEM, "cannot start the upkeep thread: %s", strerror(err));
    }
    u->running = true;
    return WERR_OK;
}

void upkeep_stop(struct upkeep *u)
{
    if (!u->running) {
        return;
    }
    pthread_mutex_lock(&u->mu);
    u->stop = true;
    pthread_cond_signal(&u->kick);
    pthread_mutex_unlock(&u->mu);
    pthread_join(u->thread, NULL);
    u->running = false;
}

void upkeep_stats(struct upkeep *u, struct kv_stats *s)
{
    pthread_mutex_lock(&u->mu);
    *s = u->stats;
    pthread_mutex_unlock(&u->mu);
}
