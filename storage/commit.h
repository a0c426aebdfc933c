#ifndef WEIR_STORAGE_COMMIT_H
#define WEIR_STORAGE_COMMIT_H
/*
 * The commit queue: txns go in on the owner thread, are gathered into groups while the log is busy,
 * become one record each, and come out as events in submit order.
 *
 * Locks: commit.mu protects everything in struct commit that is not marked otherwise; it is a leaf
 * but for upkeep.mu. No driver call and no callback to the owner happens under it.
 */
#include <pthread.h>

#include "storage/txn.h"

struct upkeep;

enum { COMMIT_ROW_BYTES = 128 << 10 }; /* batches are joined into rows of about so much */

struct group;
struct commit_event {
    struct commit_event *next;
    struct group *group;
    enum store_stage stage;
};
struct group {
    struct group *next;
    struct store_txn *txns, *last;
    uint32_t n_txns;
    size_t bytes;
    uint64_t tag;
    struct buf rep;
    struct applied after; /* position and sums once it is in the log */
    bool lazy, want_written, has_roll;
    bool in_append; /* append() has not returned: rep is still lent out */
    bool finished;
    bool undone; /* FULL: taken back out of the index */
    enum werr rc;
    struct werror err;
    int64_t append_mono_ns;
    struct commit_event written, done;
};

/* Next offset of every partition that has one, durable. Pages of plain numbers. */
struct marks {
    uint64_t **pages;
    uint32_t *used;
    size_t n_pages;
    size_t n;
};
void marks_set(struct marks *m, uint32_t partition, uint64_t next); /* 0 = forget */
struct floor_mark *marks_copy(const struct marks *m, size_t *n);    /* gives, free() */
void marks_fini(struct marks *m);

enum commit_health {
    COMMIT_RUN,
    COMMIT_FULL,   /* a record met a full disk: everything queued fails until the owner undid it */
    COMMIT_FAILED, /* for good */
};

struct commit_stats {
    uint64_t groups, record_bytes, txns, syncs, sync_ns_total, sync_ns_max;
};

struct commit {
    struct kv *kv;
    struct clog *log;
    struct upkeep *upkeep; /* told about progress; NULL = none */
    int64_t (*mono_ns)(void *arg);
    void *mono_arg;
    void (*wake)(void *arg);
    void *wake_arg;
    bool fused;

    pthread_mutex_t mu;
    pthread_cond_t work;  /* for the committer: queue, stop */
    pthread_cond_t event; /* for an owner that waits: events */
    struct store_txn *queue, *queue_last;
    size_t queue_bytes;
    struct group *fly, *fly_last; /* given to the log, oldest first */
    struct commit_event *events, *events_last;
    enum commit_health health;
    bool skipped; /* a FULL group was passed: nothing after it may succeed */
    struct werror why;
    bool stop, abandon, running;
    uint64_t next_tag;
    struct applied now;     /* as of the last record built */
    struct applied durable; /* as of the last durable record */
    uint64_t durable_seq;   /* last durable txn */
    struct marks marks;
    struct commit_stats stats;
    pthread_t thread;

    struct txn_op **sorted; /* scratch of the builder, committer only */
    size_t cap_sorted;
};

void commit_init(struct commit *c, struct kv *kv, struct clog *log, const struct applied *at);
void commit_fini(struct commit *c); /* frees what is still queued, without completions */
enum werr commit_start(struct commit *c, struct werror *e) WEIR_NODISCARD; /* its thread */
/* Ends the thread; everything queued is appended first unless abandoned. Any stopped state is fine.
 */
void commit_stop(struct commit *c, bool abandon);

/* Owner: takes t. */
void commit_submit(struct commit *c, struct store_txn *t);
/* Without a thread: appends everything queued. */
void commit_step(struct commit *c);
/*
 * The next event, or NULL. Events of a group that met a full disk are held back until nothing is in
 * flight and nothing is queued, so that the owner can undo all of them at once: then *full = true
 * and the owner calls commit_full_groups, undoes, and commit_resume.
 */
struct commit_event *commit_next_event(struct commit *c, bool *full);
/* Owner, threads only: waits until there is an event that commit_next_event can act on. */
void commit_wait_event(struct commit *c);
/* All groups of events still to come, oldest first. Only between *full and commit_resume. */
struct group *commit_full_groups(struct commit *c);
void commit_resume(struct commit *c);
void commit_group_free(struct group *g);
enum commit_health commit_health(struct commit *c, struct werror *why);
/* Somebody else learned that the log cannot be relied on: from now on every txn is INDETERMINATE.
 * Any thread. */
void commit_distrust(struct commit *c, const struct werror *why);

/* Builds g->rep from its txns, following `now`; sets g->after. false: no memory. Committer. */
bool commit_build(struct commit *c, struct group *g, const struct applied *now);

#endif
