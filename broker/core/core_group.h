#ifndef WEIR_BROKER_CORE_CORE_GROUP_H
#define WEIR_BROKER_CORE_CORE_GROUP_H
/*
 * Consumer groups, queues, delayed messages and dead letters; the second half of core.h, whose
 * rules about requests, purity and threads hold here too: input half filled by the caller, done()
 * exactly once and possibly before the call returns, answers only after what they tell is durable.
 *
 * Words. A group reads topics under one name, in log mode (each partition belongs to one member,
 * positions are committed offsets) or in queue mode (every message is leased, then settled). A
 * member is a client of the group, known by 16 bytes that it made up; its session lives as long as
 * its connection, plus a grace time of 10 s after that was lost. The epoch of a member is its
 * fencing token.
 */
#include "broker/core/core.h"
#include "proto/msg_group.h"

enum { CORE_GRACE_MS = 10 * 1000 };

/*
 * A session: one member of one group on one connection. The caller makes it (core_session_new), the
 * core refers to it until core_session_end; it is the `arg` of the news. One connection may have
 * many sessions, a member is in one at a time: joining again over another connection takes it over
 * (the older one hears SESSION_FENCED).
 */
struct core_session;
enum core_session_news {
    SESSION_CHANGED, /* the assignment changed: tell the client to heartbeat */
    SESSION_FENCED,  /* the member is no more, or somewhere else: its subscriptions end */
};
struct core_session *
core_session_new(struct core *co, void (*news)(void *arg, enum core_session_news what), void *arg);
/* The connection is gone: starts the grace time. Frees s; news() will not be called again, its
 * waiting acquires end without done(). */
void core_session_end(struct core_session *s);

struct core_join_rq {
    struct core_session *session; /* takes part; must not be joined to another member yet */
    struct slice group, member;   /* borrowed for the call */
    const struct slice *topics;   /* names; borrowed for the call */
    size_t n_topics;
    enum msg_group_mode mode;
    enum msg_group_order order;
    int64_t start;                /* -1 earliest, -2 latest, >= 0 ms: only for a new group */
    struct slice client, address; /* for describe; cut to 64 bytes */
    void (*done)(struct core_join_rq *rq);
    void *arg;

    struct werror err; /* UNKNOWN_TOPIC, GROUP_MODE, TOO_LARGE (members), INVALID name: MALFORMED,
                          STORAGE_FULL, SHUTTING_DOWN */
    uint64_t epoch;
    bool resumed;
    struct msg_assigned *parts; /* log mode; free() by the caller */
    size_t n_parts;
};
/* Makes the group when there is none of that name. */
void core_group_join(struct core *co, struct core_join_rq *rq);

/* Whose request this is. UNKNOWN_MEMBER / FENCED_MEMBER / UNKNOWN_GROUP when it may not act. */
struct core_heartbeat_rq {
    struct msg_who who;         /* borrowed for the call */
    const struct msg_tp *owned; /* borrowed for the call */
    size_t n_owned;
    bool has_owned;
    void (*done)(struct core_heartbeat_rq *rq);
    void *arg;

    struct werror err;
    uint64_t epoch;
    bool has_parts;
    struct msg_assigned *parts; /* free() by the caller */
    size_t n_parts;
};
void core_group_heartbeat(struct core *co, struct core_heartbeat_rq *rq);

struct core_simple_rq { /* LEAVE, DELETE */
    struct msg_who who; /* DELETE: group only; borrowed for the call */
    bool force, dry_run;
    void (*done)(struct core_simple_rq *rq);
    void *arg;
    struct werror err;
};
void core_group_leave(struct core *co, struct core_simple_rq *rq);
void core_group_delete(struct core *co, struct core_simple_rq *rq);

/*
 * May this member read that partition now? For FETCH and SUBSCRIBE on behalf of a group, at the
 * request and before each delivery. WERR_OK, UNKNOWN_GROUP, UNKNOWN_MEMBER, FENCED_MEMBER,
 * NOT_ASSIGNED. WERR_AGAIN: the group is paused; SESSION_CHANGED comes when it goes on.
 */
enum werr core_group_may_read(struct core *co, const struct msg_who *who, uint64_t tid, uint32_t p,
                              struct werror *e);
/* Tells how far data was handed to the member (for max_processing_ms and describe). */
void core_group_handed_out(struct core *co, const struct msg_who *who, uint64_t tid, uint32_t p,
                           uint64_t next);

struct core_commit_rq {
    struct msg_who who;                  /* borrowed for the call */
    const struct msg_commit_item *items; /* borrowed for the call */
    size_t n;
    void (*done)(struct core_commit_rq *rq);
    void *arg;

    struct werror err;      /* of the whole: nothing was committed */
    struct werror *results; /* n of them; free() by the caller */
};
void core_group_commit(struct core *co, struct core_commit_rq *rq);

/* Durable positions; answers at once. *out: free() by the caller; notes point into the core until
 * the next call. */
enum werr core_group_committed(struct core *co, struct slice group, const struct msg_tp *parts,
                               size_t n, bool all, struct msg_committed **out, size_t *n_out,
                               struct werror *e);

/* ------------------------------------------------------------------ queue mode */

/* What was acquired in one partition: batches back to back and the ranges in them. */
struct core_lot {
    uint64_t tid;
    uint32_t p;
    struct bytes data;        /* a reference, given */
    struct msg_range *ranges; /* reasons point into the core until done() returns */
    size_t n_ranges;
};
struct core_acquire_rq {
    struct msg_who who; /* borrowed for the call */
    uint32_t max_msgs, max_bytes, max_wait_ms, lease_ms;
    uint64_t attempt;
    void (*done)(struct core_acquire_rq *rq);
    void *arg;

    struct werror err;
    struct core_lot *lots; /* valid until core_acquire_fini */
    size_t n_lots;
    void *internal; /* the core's */
};
/* Leases are durable when done() runs. [] after max_wait_ms. */
void core_acquire(struct core *co, struct core_acquire_rq *rq);
/* done() will not run. What was leased for it already is given again to the same attempt. */
void core_acquire_cancel(struct core_acquire_rq *rq);
void core_acquire_fini(struct core_acquire_rq *rq); /* after done(): frees lots */

struct core_settle_rq {
    struct msg_who who;                  /* borrowed for the call */
    const struct msg_settle_item *items; /* borrowed for the call */
    size_t n;
    void (*done)(struct core_settle_rq *rq);
    void *arg;

    struct werror err;
    struct werror *results; /* n of them; free() by the caller */
};
void core_settle(struct core *co, struct core_settle_rq *rq);

/* ------------------------------------------------------------------ administration */

struct core_group; /* borrowed; valid until the next call that may delete groups */
struct core_group *core_group_by_name(struct core *co, struct slice name);
/* Next in name order after `name` (n = 0: the first). NULL at the end. */
struct core_group *core_group_after(struct core *co, struct slice name);
size_t core_group_count(const struct core *co);
/* Slices in what these fill point into the core until the next call. */
void core_group_row(struct core *co, struct core_group *g, struct msg_group_row *row);
/* *members, *parts: free() by the caller. */
void core_group_describe(struct core *co, struct core_group *g, struct msg_group_describe *d,
                         struct msg_group_member **members, size_t *n_members,
                         struct msg_group_part **parts, size_t *n_parts);

struct core_reset_rq {
    struct slice group;                 /* borrowed for the call */
    const struct msg_reset_item *items; /* borrowed for the call */
    size_t n;
    bool force, dry_run;
    void (*done)(struct core_reset_rq *rq);
    void *arg;

    struct werror err;                /* UNKNOWN_GROUP, GROUP_BUSY, or the first item's */
    struct msg_reset_result *results; /* n of them; free() by the caller */
};
void core_group_reset(struct core *co, struct core_reset_rq *rq);

struct core_alter_rq {
    struct slice group; /* borrowed for the call */
    struct group_config conf;
    bool dry_run;
    void (*done)(struct core_alter_rq *rq);
    void *arg;

    struct werror err;
    struct group_config result;
};
void core_group_alter(struct core *co, struct core_alter_rq *rq);

/* ------------------------------------------------------------------ dead letters */

struct core_dlq_rq {                  /* REDRIVE and PURGE */
    struct slice topic;               /* of the dead letters; borrowed for the call */
    const struct msg_dlq_span *spans; /* borrowed for the call */
    size_t n;
    uint32_t rate;
    bool dry_run;
    void (*done)(struct core_dlq_rq *rq);
    void *arg;

    struct werror err;
    uint64_t moved, skipped;
};
void core_dlq_redrive(struct core *co, struct core_dlq_rq *rq);
void core_dlq_purge(struct core *co, struct core_dlq_rq *rq);
/* Answers at once. *out: free() by the caller. */
enum werr core_dlq_list(struct core *co, const struct msg_dlq_list *q, struct msg_dlq_range **out,
                        size_t *n, bool *has_next, uint64_t *next, struct werror *e);

/* ------------------------------------------------------------------ delay */

/* core_produce with rq->deliver_at_ms != 0 keeps the batch until then (core.h). */

struct core_cancel_rq {
    uint64_t tid;
    const struct slice *ids; /* borrowed for the call */
    size_t n;
    void (*done)(struct core_cancel_rq *rq);
    void *arg;

    struct werror err;
    uint8_t *status; /* enum msg_cancel, n of them; free() by the caller */
};
void core_delay_cancel(struct core *co, struct core_cancel_rq *rq);

struct core_delayed_rq {
    uint64_t tid;
    struct slice after; /* id to go on behind, n = 0: the first; borrowed for the call */
    uint32_t limit;     /* <= 1,000; 0 = 100 */
    void (*done)(struct core_delayed_rq *rq);
    void *arg;

    struct werror err;
    struct msg_delayed *items; /* free() by the caller; ids point into `text` */
    size_t n;
    char *text; /* free() by the caller */
    bool more;  /* go on behind the last id */
};
void core_delay_list(struct core *co, struct core_delayed_rq *rq);

/* ------------------------------------------------------------------ figures */

enum { CORE_LATE_BUCKETS = 12 }; /* 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1 s, 10 s, more */
struct core_group_stats {
    uint64_t groups, members, rebalances, commits, fenced;
    uint64_t acquired, acked, nacked, released, extended, expired, redelivered, lease_lost;
    uint64_t leased; /* now */
    uint64_t dead, dlq_moved, dlq_redriven, dlq_purged;
    uint64_t delayed_pending, delayed_delivered, delayed_cancelled;
    uint64_t late[CORE_LATE_BUCKETS]; /* how late delayed batches became visible */
    uint64_t late_ms_total;
    uint64_t holds; /* partitions kept past retention for a group */
};
void core_group_stats(struct core *co, struct core_group_stats *s);

#endif
