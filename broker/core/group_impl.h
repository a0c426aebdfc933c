#ifndef WEIR_BROKER_CORE_GROUP_IMPL_H
#define WEIR_BROKER_CORE_GROUP_IMPL_H
/*
 * What the files about groups share inside the core. Nothing outside broker/core (and its unit
 * tests) includes this.
 *
 * Ownership, as a tree: core owns groups; a group owns its members and its gparts (what it knows of
 * one partition); a gpart owns its queue state. Partitions link to the gparts that read them.
 * Members link to their session, which belongs to the shell.
 *
 * Rows. Everything durable about a group is META_GROUP (the group), META_GPART (one per group and
 * partition) and in queue mode META_ACKED, META_LEASE, META_RETRY. Memory is changed first and
 * marked dirty; the rows are encoded when the flight is submitted, so that a thousand acks in one
 * turn are one row. If the flight fails with STORAGE_FULL, whatever it wrote is marked for a full
 * rewrite (gpart.rewrite), which the next flight of that gpart carries: memory stays ahead of the
 * disk by work that is only ever repeated after a crash, never lost. Nothing was answered as done.
 */
#include "broker/core/core_group.h"
#include "broker/core/core_impl.h"

struct queue_part; /* queue.c */
struct queue;      /* queue.c */

/* ---------------------------------------------------------------- objects */

struct core_session {
    LIST_ENTRY(core_session) of_core;
    struct core *co;
    void (*news)(void *arg, enum core_session_news what);
    void *arg;
    struct member *member;             /* NULL: not joined, or fenced */
    bool changed_told;                 /* SESSION_CHANGED was sent and no heartbeat came since */
    TAILQ_ENTRY(core_session) in_news; /* core->news: to be told at the end of the turn */
    bool has_news, fenced;             /* in core->news; what for: fenced goes first */
};

struct member {
    UT_hash_handle hh; /* by id in group->members */
    uint8_t id[MSG_MEMBER_BYTES];
    struct core_group *group;
    struct core_session *session; /* NULL: away */
    struct timer grace;           /* set while away */
    struct timer processing;      /* log mode: max_processing_ms, set while it has undone work */
    uint64_t epoch;               /* the generation it was last told */
    uint64_t join_epoch;          /* of its last join: requests with an older one are fenced */
    uint64_t serial;              /* tells it from one of the same id that was there before */
    unsigned joining;             /* joins that wait for the disk: no news before their answer */
    int64_t since_ms;             /* wall time of the join */
    int64_t heard_mono_ns;        /* last request in its name */
    char (*topics)[LIMIT_TOPIC_NAME + 1];
    uint32_t n_topics;
    char client[64], address[64];
    struct gpart_queue owned; /* log mode: partitions it has (by_owner) */
    bool restored;            /* log mode: known from rows after a restart, not seen since.
                                 Queue mode: only its leases are known, until their deadline */
    uint32_t plan_index;      /* scratch of a plan */
    bool told_stale;          /* log mode: the assignment it was told is not what it should be */
    /* queue mode, the queue's: */
    uint64_t leased;                     /* messages it holds */
    LIST_HEAD(lease_list, lease) leases; /* of this member */
    uint64_t attempt;                    /* the last one answered or being answered */
    struct acquire *waiting;             /* its acquires that wait, oldest first */
};

/* What a group knows of one partition. */
struct gpart {
    UT_hash_handle hh; /* by partition id in group->parts */
    uint32_t part_id;
    struct part *part;
    struct core_group *group;
    LIST_ENTRY(gpart) of_part;
    TAILQ_ENTRY(gpart) by_owner;
    TAILQ_ENTRY(gpart) in_dirty; /* core->gparts_dirty */
    bool dirty, rewrite;
    uint32_t flights; /* flights under way that carry its rows: not to be freed before */
    bool gone;        /* its topic was deleted, or the group: free it when flights == 0 */

    /* log mode */
    uint64_t committed; /* durable; also the start while committed_ms == 0 */
    uint64_t pending;   /* the newest commit asked for, >= committed unless it was reset */
    int64_t committed_ms;
    char *note;            /* durable; NULL: none */
    int64_t pending_ms;    /* of `pending`, as committed_ms */
    char *pending_note;    /* of `pending` */
    uint32_t mark;         /* scratch of one heartbeat or plan */
    int64_t lag_append_ms; /* append time of the message at lag_offset; 0 = not known */
    uint64_t lag_offset;
    bool lag_reading;
    uint64_t assign_epoch;
    struct member *owner;  /* granted, durable once flights of it are over */
    struct member *target; /* who shall have it */
    bool granting;         /* the grant is on its way to the disk */
    uint64_t handed_out;   /* next offset that was not yet delivered to the owner */

    /* queue mode: floor = everything below is settled */
    uint64_t floor;
    struct queue_part *q;
};

struct core_group {
    UT_hash_handle hh; /* by name */
    struct core *co;
    uint64_t gid;
    enum msg_group_mode mode;
    struct group_config conf; /* all keys set */
    uint64_t generation;      /* counts joins and assignments; in the row before it is told */
    uint64_t durable_generation;
    int64_t created_ms;
    int64_t seen_ms; /* wall time of the last contact: the unread guard */
    int64_t start;   /* where it begins partitions that it meets for the first time */
    struct member *members;
    struct gpart *parts; /* hash by part_id, in order of meeting */
    struct queue *queue; /* queue mode */
    struct timer rebalance_soon;
    struct timer resume; /* paused_until */
    bool dirty;          /* its row */
    bool deleting;
    TAILQ_ENTRY(core_group) in_dirty;
    uint32_t flights; /* and others that refer to it: freed when it is gone and 0 */
    bool gone;        /* not in core->groups any more */
    bool bumped;      /* the open flight carries a generation of its own already */
    bool plan_wanted; /* log mode: members or partitions changed since the last plan */
    unsigned plans;   /* in the stretch that began at plan_mono_ns */
    int64_t plan_mono_ns;
    struct group_config conf_next; /* while altering > 0: what the row says */
    unsigned altering;
    int64_t row_seen_ms; /* seen_ms in the newest row */
    uint32_t mark;       /* the last one given out */
    bool was_paused;     /* what members and the queue know */
    bool hold_warned;    /* hold_ends_soon was logged since it was seen */
    uint8_t name_n;
    char name[LIMIT_NAME + 1];
};

/* ---------------------------------------------------------------- group.c: life and rows */

enum werr group_load(struct core *co, struct werror *e) WEIR_NODISCARD; /* after dedupe_load */
void group_fini(struct core *co); /* core_close: answers what waits (SHUTTING_DOWN), frees */
struct core_group *group_find(struct core *co, struct slice name); /* not one being deleted */
struct gpart *gpart_find(struct core_group *g, uint32_t part_id);
/* The group's gpart of a partition, made with its start position when it is new (dirty then). */
struct gpart *gpart_get(struct core_group *g, struct part *pt);
bool group_paused(const struct core_group *g); /* paused_until_ms, by the steady wall time */
/* Marks for the open flight (opens one). sync: somebody waits for the row. */
void group_dirty(struct core_group *g, enum store_sync sync);
void gpart_dirty(struct gpart *gp, enum store_sync sync);
/* Puts the rows of all that is dirty into the open flight; flight_submit calls it. */
void groups_write(struct core *co);
/* Topic created, altered (more partitions) or about to be deleted / deleted: topic_change.c calls
 * these. The rows of a topic's partitions go in the txn that deletes it. */
void groups_topic_changed(struct core *co, struct core_topic *t);
void groups_topic_rows_delete(struct core *co, struct core_topic *t, struct store_txn *txn);
void groups_part_gone(struct core *co, struct part *pt); /* part_free: forget its gparts */
void groups_part_raised(struct part *pt);                /* part_raise: new messages are visible */
struct core_group *group_lookup(struct core *co, struct slice name); /* those being deleted too */
struct core_group *group_make(struct core *co, struct slice name, uint64_t gid,
                              enum msg_group_mode mode); /* in every list, not dirty */
struct gpart *gpart_link(struct core_group *g, struct part *pt, uint64_t start); /* not dirty */
void gpart_unref(struct gpart *gp);       /* a flight that carried it is over */
void group_rewrite(struct core_group *g); /* a flight of it failed: all rows again, later */
void members_fence(struct core_group *g, const char *why); /* all of them, and the generation */
void group_pause_look(struct core_group *g); /* paused_until may have changed or come */
/* For each group: a member names t, or it has a gpart of t. */
bool group_names_topic(const struct core_group *g, const struct core_topic *t);
/* Makes a gpart that begins at `start`; dirty. */
struct gpart *gpart_make(struct core_group *g, struct part *pt, uint64_t start);
/* A group that is not known; in memory only, dirty. Takes its number from the counter. */
struct core_group *group_new(struct core *co, struct slice name, enum msg_group_mode mode,
                             enum msg_group_order order, int64_t start);
void group_discard(struct core_group *g); /* out of core->groups, freed with its last flight */
void group_ref(struct core_group *g);     /* a waiter refers to it */
void group_unref(struct core_group *g);
/* The next generation, once per flight; marks the group dirty. Returns it. */
uint64_t group_bump(struct core_group *g);
bool group_is_live(const struct core_group *g); /* has members, away ones too; GROUP_BUSY */
void group_seen(struct core_group *g);          /* somebody of it was heard */
/* SHUTTING_DOWN: closing or failed. The other one also while a full disk is being dealt with:
 * STORAGE_FULL; for requests that count on rows in order. */
enum werr group_refuse_dead(const struct core *co, struct werror *e);
enum werr group_refuse(const struct core *co, struct werror *e);
/* How the flight of a request ended, as its error. */
void group_fail(struct werror *to, enum werr rc, const struct werror *e);

/* The group wants all of t: makes the gparts that are missing. True: there were some. */
bool group_grow(struct core_group *g, struct core_topic *t);

/* ---------------------------------------------------------------- group_rows.c: rows */

enum { GROUP_ROW_VERSION = 1, GPART_ROW_VERSION = 1 };
enum { GPART_ROW_BYTES = 1 + 8 + 8 + 8 + 1 }; /* then the owner, then the note */
void group_undirty(struct core_group *g);     /* nothing of it will be written */
void gpart_undirty(struct gpart *gp);
void gpart_free(struct gpart *gp); /* out of every list; memory goes when flights == 0 */
/* Keys of rows. */
struct meta_key group_key(uint64_t gid);
struct meta_key gpart_key(uint32_t part_id, uint64_t gid);

/* ---------------------------------------------------------------- member.c: who is there */

/* The member that `who` names, if it may act: WERR_OK, UNKNOWN_GROUP, UNKNOWN_MEMBER,
 * FENCED_MEMBER (an epoch above the group's, or a member that was replaced). Notes the contact. */
enum werr member_check(struct core *co, const struct msg_who *who, struct member **out,
                       struct werror *e);
/* The same, without noting anything. */
enum werr member_look(struct core *co, const struct msg_who *who, struct member **out,
                      struct werror *e);
struct member *member_find(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES]);
struct member *member_new(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES]);
void member_away(struct member *m);    /* its session is gone: the grace time begins */
void member_fini(struct member *m);    /* frees it, tells nobody; the group goes too */
void member_heard(struct member *m);   /* a request in its name */
void member_working(struct member *m); /* handed out or committed: sets max_processing_ms's timer */
/* The news of a session are told at the end of the turn (groups_tell, from core_flush). */
void session_tell(struct core_session *s, enum core_session_news what);
void groups_tell(struct core *co);
void sessions_fini(struct core *co);            /* core_close: those left are their owners' only */
void joins_fini(struct core *co);               /* core_close: joins that wait for a read */
void join_session_gone(struct core_session *s); /* its joins end with an error */
/* Makes a member known from rows (restored = true). */
struct member *member_restore(struct core_group *g, const uint8_t id[MSG_MEMBER_BYTES]);
/* Ends a session for good: partitions and leases go back. fence: tell its connection. */
void member_remove(struct member *m, const char *why, bool fence);
void member_forget_if_idle(struct member *m); /* restored, without leases: free it */

/* ---------------------------------------------------------------- rebalance.c */
void rebalance(struct core_group *g);      /* log mode: computes targets, grants what is free */
void rebalance_want(struct core_group *g); /* with the open flight, or soon */
void rebalance_fire(struct timer *t);      /* of g->rebalance_soon */
void gpart_release(struct gpart *gp);      /* its owner has it no more; grants it to its target */
void gpart_granted(struct gpart *gp);      /* the grant is durable */
/* The partitions that m may be told now. *out: free() by the caller. */
size_t member_assignment(const struct member *m, struct msg_assigned **out);
uint64_t gpart_position(const struct gpart *gp); /* committed offset, or floor */

/* ---------------------------------------------------------------- group_lag.c */

/* Age of the message at offset (or the next behind it) in ms; 0 at the high watermark. refresh: an
 * estimate is made exact for the next time. */
uint64_t gpart_lag_ms(struct gpart *gp, uint64_t offset, bool refresh);
void lags_fini(struct core *co); /* core_close: look-ups that the store did not answer */

/* ---------------------------------------------------------------- hold.c: the unread guard */
void hold_run(struct core *co, int64_t now_ms); /* with retention: budgets, warnings */
/* WERR_OK, or RETENTION_HELD that names the group, the budget and what is held. */
enum werr hold_check_produce(struct core *co, const struct part *pt, struct werror *e);
/* Retention has set held_age and held_size of t's partitions: is that too much? */
void hold_topic_done(struct core *co, struct core_topic *t);

/* ---------------------------------------------------------------- queue.c and its parts */

void queue_new(struct core_group *g); /* g->queue */
void queue_free(struct core_group *g);
void queue_part_new(struct gpart *gp); /* gp->q; gp->floor is set */
void queue_part_free(struct gpart *gp);
/* Rows META_ACKED, META_LEASE, META_RETRY of all queue groups, then positions the cursors. After
 * groups and gparts were loaded. */
enum werr queue_load(struct core *co, struct werror *e) WEIR_NODISCARD;
/* Puts gp's changed rows into t (all of them when gp->rewrite). From groups_write. */
void queue_write(struct gpart *gp, struct store_txn *t);
/* How the flight that carried them ended. */
void queue_written(struct gpart *gp, enum werr rc);
/* The open flight, which was to carry its rows, will not leave: nothing of it happened. */
void queue_withdrawn(struct gpart *gp);
void queue_rows_delete(uint32_t part_id, uint64_t gid, struct store_txn *t);
/* The member's session ended: its leases end as failed deliveries (counted, available at once). */
void queue_member_gone(struct member *m, const char *why);
/* It leaves of its own will: what it holds goes back and does not count. */
void queue_member_leaves(struct member *m);
/* The group goes: every acquire of its members is answered. */
void queue_closing(struct core_group *g);
/* Acquires of a connection that is gone end without an answer (core_session_end). */
void queue_session_gone(struct member *m);
void queue_raised(struct gpart *gp);           /* new messages are visible */
void queue_conf_changed(struct core_group *g); /* limits, pause, rate */
void queue_reset(struct gpart *gp,
                 uint64_t to); /* seek: forgets leases and retries, bumps epochs */
void queue_paused(struct core_group *g, bool paused);
struct queue_figures {
    uint64_t next;                            /* first offset never handed out */
    uint64_t leased, retrying, settled_above; /* messages */
    uint64_t lag;                             /* not settled, below the high watermark */
    uint64_t oldest_lease_ms;
    const struct member *oldest_holder; /* NULL: no lease */
};
void queue_figures(struct gpart *gp, struct queue_figures *f);
uint64_t queue_leased(const struct core_group *g);
/* Why nothing is handed out now, as in msg_group_row.state; NULL: nothing is in the way. */
const char *queue_blocked(const struct core_group *g);

/* For dlq.c. A message whose deliveries are used up, or that was called dead. */
struct dead_letter {
    TAILQ_ENTRY(dead_letter) link;
    struct gpart *gp; /* NULL: its gpart went away meanwhile, forget it */
    uint64_t offset;
    uint32_t attempts;
    int64_t first_ms, last_ms; /* wall time of the first and the last delivery */
    char reason[LIMIT_REASON + 1];
};
/* queue -> dlq: moves it when it can; takes d. Until then the message is dead: leased by nobody,
 * with a durable row that says so (the caller wrote it). */
void dlq_add(struct core *co, struct dead_letter *d);
/* dlq -> queue: the copy is in the open flight; now settle the message in the same flight. */
void queue_dead_moved(struct gpart *gp, uint64_t offset);
/* dlq -> queue, for redrive: makes `offset` of a dead-letter gpart available at due (wall ms),
 * once. false: it is settled, or on its way already. The queue hands out only such offsets of a
 * dead-letter gpart, never on its own. */
bool queue_offer(struct gpart *gp, uint64_t offset, int64_t due_ms);
bool queue_settle_quietly(struct gpart *gp, uint64_t offset); /* purge; false: settled or leased */
/* State of a message there; false: settled. */
bool queue_state_of(struct gpart *gp, uint64_t offset, enum msg_dlq_state *state);
bool gpart_is_dlq(const struct gpart *gp); /* its topic is called TOPIC~GROUP~dlq of this group */

/* ---------------------------------------------------------------- dlq.c */
void dlq_fini(struct core *co);

/* ---------------------------------------------------------------- delay.c */
/* What core_produce needs of it is in delay_impl.h. */
/* From flight.c: what happened to a delayed batch that was added to a flight (take it), and the
 * rows that go with each flight. */
void delay_stored(struct core *co, struct delayed *d);
void delay_failed(struct core *co, struct delayed *d);
void delay_write(struct core *co);
enum werr delay_load(struct core *co, struct werror *e) WEIR_NODISCARD;
void delay_fini(struct core *co);

/* ---------------------------------------------------------------- part_read.c */

/*
 * Batches of a partition from the one that holds `offset` on: from the tail cache (fn runs before
 * part_read returns) or from the store. Whole batches, about max_bytes, at least one.
 */
struct part_read {
    struct part *part;
    uint64_t offset;
    uint32_t max_bytes;
    void (*fn)(struct part_read *r); /* once, unless cancelled; r is its own to free */
    void *arg;

    struct bytes data; /* a reference, given; n = 0 on error */
    struct werror err; /* OFFSET_OUT_OF_RANGE, CORRUPT, IO, UNKNOWN_TOPIC, ... */
    void *internal;
};
void part_read(struct core *co, struct part_read *r);
void part_read_cancel(struct part_read *r); /* fn will not run */

#endif
