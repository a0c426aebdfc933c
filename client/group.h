#ifndef WEIR_CLIENT_GROUP_H
#define WEIR_CLIENT_GROUP_H
/*
 * Subscriptions with a group. Files: group.c (joining, leaving, what both modes share), assign.c
 * (log mode: which partitions, SUBSCRIBE), commit.c (log mode: positions), acquire.c (queue mode:
 * messages in), settle.c (queue mode: verdicts out), events.c (what the caller is to hear).
 *
 * Rules.
 * - The member id is made once; after a lost connection the same member joins again. `resumed` in
 *   the answer: its partitions and leases were kept, so everything goes on where it was.
 * - What the caller holds when the member was dropped by the broker is stale: giving it back does
 *   nothing (log mode), or gets the broker's answer (queue mode).
 * - Verdicts are kept until the broker answered them, over lost connections and joining again.
 */
#include "client/consumer.h"
#include "proto/msg_group.h"

enum { GROUP_TOPICS = 64, SETTLES_IN_FLIGHT = 4 };

/* A range of leased messages, as acquired. */
struct lease_range {
    uint64_t first, last, lease;
    uint32_t deliveries;
    bool on_dirty;
    const char *reason; /* in the lot; NULL: none */
    struct sub_part *part;
    struct lot *lot;
    uint64_t *done, *acks; /* bits by offset - first: given back; acked and not yet sent */
    TAILQ_ENTRY(lease_range) dirty;
};
TAILQ_HEAD(range_list, lease_range);

/* What one ACQUIRE brought of one partition. */
struct lot {
    LIST_ENTRY(lot) link;
    uint32_t refs; /* batches, and ranges on the dirty list */
    uint32_t n;
    struct lease_range ranges[]; /* then bits and reasons */
};

/* A verdict that is not a plain ack, or one that is tried message by message. */
struct verdict {
    uint64_t tid, lease, first, last, arg;
    uint32_t p;
    uint8_t verb;
    bool has_arg;
    bool alone;    /* not to be joined with others */
    size_t reason; /* in `text` of whoever has it */
    uint32_t n_reason;
};

/* A SETTLE, kept until it is answered. */
struct settle {
    TAILQ_ENTRY(settle) link;
    struct req req;
    struct weir_sub *sub;
    struct verdict *v;
    size_t n, cap;
    struct buf text;
    bool sent;
};
TAILQ_HEAD(settle_list, settle);

/* Messages whose verdict was not kept. */
struct unsettled {
    TAILQ_ENTRY(unsettled) link;
    const char *topic;
    uint32_t p;
    uint64_t first, last;
    weir_error error;
};
TAILQ_HEAD(unsettled_list, unsettled);

struct sub_group {
    char name[LIMIT_NAME + 1];
    struct topic *topics[GROUP_TOPICS];
    size_t n_topics;
    uint8_t member[MSG_MEMBER_BYTES];
    uint64_t epoch; /* 0 = never joined */
    bool joined;    /* on this connection */
    bool known;     /* joined before: what is held is ours until a JOIN says otherwise */
    bool closing;   /* weir_close: give everything back, then leave */
    bool left;
    struct req req;           /* JOIN, HEARTBEAT, LEAVE: one at a time */
    weir_error first_failure; /* since the last weir_commit */

    /* log mode: assign.c, commit.c */
    struct msg_assigned *target; /* what the broker wants us to have */
    size_t n_target;
    bool changed;       /* target is to be compared with what we hold */
    bool telling;       /* the caller is to hear of leaving and coming partitions */
    bool parts_changed; /* the subscription on the wire is to be compared with what we hold */
    bool beat;          /* ask whether something changed */
    bool give_up;       /* tell what we hold: partitions were given up */
    weir_assignment_fn on_assignment;
    void *on_assignment_user;
    struct sub_part_list dirty;
    struct req commit_req;
    struct sub_part **commit_parts; /* asked for by commit_req */
    size_t n_commit_parts, cap_commit_parts;
    bool commit_now;
    int64_t commit_due_ns;
    uint32_t commit_tries;

    /* queue mode: acquire.c, settle.c */
    struct req acquire_req;
    uint64_t attempt;
    bool attempt_open; /* asked, and not answered */
    uint32_t attempt_msgs, attempt_bytes;
    int64_t acquire_retry_ns;
    uint32_t acquire_tries;
    uint64_t unread;     /* messages received and not handed out */
    uint32_t prefetch;   /* how many there may be */
    uint64_t handed_out; /* since paced_ns, when that was looked at last */
    int64_t paced_ns;
    struct rx_batch_list limbo; /* of topics whose name is not known yet */
    bool learn;                 /* there are such: look for dead-letter topics */
    LIST_HEAD(, lot) lots;
    struct range_list dirty_ranges;
    struct verdict *v; /* gathered */
    size_t n_v, cap_v;
    struct buf text; /* their reasons */
    int64_t settle_due_ns;
    int64_t settle_retry_ns;
    uint32_t settle_tries;
    struct settle_list settles; /* in order of making */
    uint32_t n_settles_sent;
    struct unsettled_list unsettled;
    weir_unsettled_fn on_unsettled;
    void *on_unsettled_user;
};

/* ---- group.c ---- */
/* Makes s->g. False: *e tells. */
bool group_init(struct weir_sub *s, const char *topics, const char *group, weir_error *e);
void group_free(struct weir_sub *s);
void group_step(struct weir_sub *s);
void group_on_lost(struct weir_sub *s);
void group_on_topic(struct weir_sub *s, struct topic *t);
void group_on_changed(struct weir *w, struct slice name);
/* The broker knows this member no more: what is held is lost, it joins again. */
void group_fenced(struct weir_sub *s, const struct answer *a);
/* True: `a` says so (UNKNOWN_MEMBER, FENCED_MEMBER), and group_fenced was called. */
bool group_was_fenced(struct weir_sub *s, const struct answer *a);
/* Gives everything back and leaves, without waiting. */
void group_farewell(struct weir_sub *s);
/* weir_close: the same, to be waited for with group_closed. */
void group_close(struct weir_sub *s);
bool group_closed(const struct weir_sub *s);
struct msg_who group_who(const struct sub_group *g);
bool group_prepare(struct weir_sub *s, struct req *r,
                   void (*done)(struct req *, const struct answer *));
void group_note_failure(struct sub_group *g, const weir_error *e);
struct topic *group_topic_of(const struct weir_sub *s, uint64_t tid);

/* ---- assign.c ---- */
void assign_set(struct weir_sub *s, struct mpread *parts, uint32_t n);
void assign_step(struct weir_sub *s);
void assign_lose_all(struct weir_sub *s);
void assign_tell(struct weir_sub *s); /* runs the caller's function */
/* Asks whether we are still a member, and what we shall have. */
void assign_beat(struct weir_sub *s);
void assign_error(struct weir_sub *s, const struct msg_sub_error *m);

/* ---- commit.c ---- */
void log_done(struct weir_sub *s, const struct rx_batch *b, uint64_t offset, weir_verdict v);
void commit_step(struct weir_sub *s);
void commit_clean(struct sub_group *g, struct sub_part *part);
/* Something waits to be committed, or for its answer. */
bool commit_pending(const struct sub_group *g);
/* Part of the farewell: a COMMIT that nobody waits for. */
void commit_farewell(struct weir_sub *s);

/* ---- acquire.c ---- */
void acquire_step(struct weir_sub *s);
void acquire_on_topic(struct weir_sub *s);
void acquire_drop_unread(struct weir_sub *s);
void lot_unref(struct lot *lot);
/* The record at s->cur_offset is leased to us: moves cur_range there. */
static inline bool lease_covers(struct weir_sub *s, uint64_t offset)
{
    while (s->ranges_left > 0 && s->cur_range->last < offset) {
        s->cur_range++;
        s->ranges_left--;
    }
    return s->ranges_left > 0 && s->cur_range->first <= offset;
}
/* Shows a dead letter as what it was. */
void acquire_show_origin(struct weir_sub *s, struct rx_message *x);

/* ---- settle.c ---- */
void queue_done(struct weir_sub *s, struct rx_message *x, weir_verdict v, int64_t delay_ms,
                const char *reason);
void queue_extend(struct weir_sub *s, struct rx_message *x, int64_t ms);
void settle_step(struct weir_sub *s);
bool settle_pending(const struct sub_group *g);
/* Verdict `release` for offsets first to last of a range. */
void settle_release(struct weir_sub *s, struct lease_range *r, uint64_t first, uint64_t last);
/* The same for all that was not given back. */
void settle_release_all(struct weir_sub *s);
void settle_farewell(struct weir_sub *s);
void settle_on_lost(struct weir_sub *s);
void settle_free(struct sub_group *g);

#endif
