#ifndef WEIR_BROKER_CORE_QUEUE_IMPL_H
#define WEIR_BROKER_CORE_QUEUE_IMPL_H
/*
 * Queue mode inside: what queue.c (acquire), queue_part.c (state of a partition), lease.c, retry.c,
 * settle.c and queue_rows.c share.
 *
 * A message at or above the floor is in exactly one state: fresh (not taken), leased (in the `left`
 * bits of one lease), in retry (a struct retry that is waiting, ready, dead or moving; a leased one
 * keeps its retry in state LEASED), or settled (done).
 */
#include "broker/core/acked.h"
#include "broker/core/group_impl.h"
#include "broker/core/rate.h"

enum { LEASE_MESSAGES = 1024, AHEAD_BYTES = 256 << 10, QUEUE_RETRIES = 1000000 };

enum retry_state {
    RETRY_WAITING, /* due later */
    RETRY_READY,   /* in qp->ready */
    RETRY_LEASED,
    RETRY_DEAD,   /* the dead letters have it */
    RETRY_MOVING, /* settled by a flight that also carries its copy */
};
struct lane;
struct retry {
    UT_hash_handle hh; /* by offset in qp->retries */
    uint64_t offset;
    struct queue_part *qp;
    enum retry_state state;
    uint32_t deliveries;               /* those that ended and count */
    int64_t first_ms, last_ms, due_ms; /* wall */
    uint64_t last_lease;               /* the newest lease that ended */
    struct timer due;
    TAILQ_ENTRY(retry) link; /* qp->ready, or qp->moving */
    TAILQ_ENTRY(retry) in_dirty;
    bool dirty, stored;
    bool counted;                /* in queue->retrying */
    struct lane *lane;           /* order=key: the one it has */
    bool was_dead, leased_again; /* while loading */
    uint64_t flight; /* moving: number of the flight that settles it; 0 = the open one */
    char *reason;    /* NULL: none */
};
TAILQ_HEAD(retry_queue, retry);

struct lease {
    UT_hash_handle hh; /* by id in queue->leases */
    uint64_t id;
    struct queue_part *qp;
    struct member *member;
    LIST_ENTRY(lease) of_member;
    TAILQ_ENTRY(lease) by_age; /* qp->leases: oldest first */
    TAILQ_ENTRY(lease) in_dirty;
    struct timer expiry;
    uint64_t first, last;
    uint32_t n_left;
    uint64_t attempt;
    int64_t since_mono_ns, since_ms, deadline_ms, span_ms;
    struct retry *retry; /* not its first delivery: a single message */
    bool dirty, stored;
    bool hard;       /* the member asked for its time: it outlives the session */
    uint64_t left[]; /* bit i: first + i is held */
};
TAILQ_HEAD(lease_queue, lease);

struct gone_row {
    uint8_t tag;
    uint64_t id;
};

/* order=key, after a restart: offsets whose keys are to be looked up before anything is handed out.
 */
struct keys_wanted {
    uint64_t *offsets;
    size_t n, at;
    bool reading, stepping, waiting;
    struct timer again; /* set while waiting: the disk gave an error */
    struct part_read read;
};

struct queue_part {
    struct gpart *gp;
    struct queue *q;
    TAILQ_ENTRY(queue_part) link; /* q->ready or q->blocked */
    bool listed, blocked;
    struct acked set;
    uint64_t next; /* nothing free below it */
    struct retry *retries;
    struct retry_queue ready, moving, dirty_retries;
    struct lease_queue leases, dirty_leases;
    uint64_t leased;
    struct gone_row *gone; /* rows to delete with the next flight */
    size_t n_gone, cap_gone;
    uint64_t flights_out, flights_over; /* that carried rows of it */
    bool is_dlq;
    size_t lot_at; /* where it may be among the lots of the acquire that is being filled */
    /* data that was read ahead of the cursor; listed in core.aheads when there is some */
    struct bytes ahead;
    TAILQ_ENTRY(queue_part) of_ahead;
    struct part_read read;
    bool reading;
    struct timer read_again; /* set: the disk gave an error */
    struct keys_wanted keys;
};
TAILQ_HEAD(queue_part_list, queue_part);

struct acquire;
TAILQ_HEAD(acquire_list, acquire);
struct queue {
    struct core_group *g;
    struct queue_part_list ready;   /* may have something to give */
    struct queue_part_list blocked; /* only fresh messages, and a limit of the group forbids them */
    struct acquire_list waiting, paced;
    struct lease *leases;
    uint64_t leased, retrying;
    struct lane *lanes; /* order=key: by partition and key */
    uint64_t parked;    /* messages that wait in lanes */
    struct rate rate;
    uint64_t ahead;    /* messages granted whose answer has not gone */
    struct timer pace; /* release of what is paced, or room for more */
    struct timer pump_soon;
    bool paused;
};

/* ---------------------------------------------------------------- queue_part.c */
void qp_look(struct queue_part *qp);  /* lists it when it has something to give */
void qp_block(struct queue_part *qp); /* it is not listed: until queue_unblock */
bool qp_has_fresh(const struct queue_part *qp);
void qp_settle(struct queue_part *qp, uint64_t offset); /* done; moves the floor */
void qp_move_floor(struct queue_part *qp);
void qp_gone(struct queue_part *qp, enum meta_tag tag, uint64_t id);
void qp_dirty(struct queue_part *qp);
void qp_drop_ahead(struct queue_part *qp);
/* Keeps what was read, which it takes over; what was read first for others goes when all together
 * is too much. */
void qp_keep_ahead(struct queue_part *qp, struct bytes data);

/* ---------------------------------------------------------------- lease.c */
struct lease *lease_new(struct queue_part *qp, struct member *m, uint64_t id, uint64_t first,
                        uint64_t last);
void lease_free(struct lease *l); /* its row too, when it has one */
bool lease_has(const struct lease *l, uint64_t offset);
void lease_drop(struct lease *l, uint64_t offset); /* one message leaves it; frees an empty one */
void lease_deadline(struct lease *l, int64_t span_ms);
struct lease *lease_find(struct queue *q, uint64_t id);
void lease_move(struct lease *l, struct member *to); /* of the same id: its row stays */
/* Every message that is left failed: counted, available at once. Frees l. */
void lease_fail(struct lease *l, const char *why);
/* Nothing of it happened (the grant failed): messages are as they were before. Frees l. */
void lease_undo(struct lease *l);
/* The member gives it back: it does not count. Frees l. */
void lease_release(struct lease *l);
/* One of its messages, the same; l may be freed. */
void lease_release_one(struct lease *l, uint64_t offset);

/* ---------------------------------------------------------------- retry.c */
struct retry *retry_find(struct queue_part *qp, uint64_t offset);
struct retry *retry_get(struct queue_part *qp, uint64_t offset);
void retry_free(struct retry *r);
void retry_wait(struct retry *r, int64_t delay_ms); /* <= 0: ready at once */
void retry_wait_until(struct retry *r, int64_t due_ms);
void retry_place(struct retry *r, int64_t due_ms); /* the same, its row says so already */
void retry_dead(struct retry *r);
void retry_reason(struct retry *r, struct slice reason);
void retry_dirty(struct retry *r);
void retry_count(struct retry *r); /* it was delivered: counts in queue->retrying */
int64_t retry_backoff_ms(struct queue *q, uint32_t deliveries);
/* A delivery of an offset ended and counts; dead when deliveries are used up. */
void retry_failed(struct queue_part *qp, struct retry *r, uint64_t offset, const struct lease *l,
                  struct slice reason, int64_t delay_ms);

/* ---------------------------------------------------------------- lanes.c */
enum { PARKED_MAX = 100 * 1000 };
/* A fresh message: takes its key's lane, and gives its retry; NULL: parked behind another. */
struct retry *lane_enter(struct queue_part *qp, uint64_t offset, struct slice key);
void lane_leave(struct retry *r); /* settled or dead: the next of its key is available */
void lanes_forget(struct queue_part *qp);
void lanes_rebuild(struct queue_part *qp); /* after loading */

/* ---------------------------------------------------------------- queue.c */
void queue_pump_soon(struct queue *q);
bool queue_refuses_fresh(const struct queue *q); /* too many in retry, or parked */
void queue_unblock(struct queue *q);             /* there are fewer now */

/* ---------------------------------------------------------------- acquire_give.c */
void queue_read_again(struct timer *t); /* fires for queue_part.read_again */

#endif
