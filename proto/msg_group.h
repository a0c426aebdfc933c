#ifndef WEIR_PROTO_MSG_GROUP_H
#define WEIR_PROTO_MSG_GROUP_H
/*
 * Messages of consumer groups, queues, delayed messages and dead letters; the rules of proto/msg.h
 * hold (strict requests, lenient responses, views into the frame, lists walked by iterators whose
 * elements were validated by the decoder that found them).
 *
 * member = 16 bytes that the client made up at random once per subscription; epoch = the member's
 * epoch, from GROUP_JOIN and GROUP_HEARTBEAT: the fencing token.
 */
#include "proto/msg.h"

enum { MSG_MEMBER_BYTES = 16 };
enum msg_group_mode { GROUP_MODE_LOG = 0, GROUP_MODE_QUEUE = 1 };   /* wire: "log", "queue" */
enum msg_group_order { GROUP_ORDER_NONE = 0, GROUP_ORDER_KEY = 1 }; /* wire: "none", "key" */

/* ---- settings of a group: map of str -> uint | str ---- */
enum group_key {
    GKEY_MAX_RATE = 1 << 0,        /* max_rate: messages/s handed out, 0 = no limit */
    GKEY_MAX_CONCURRENCY = 1 << 1, /* max_concurrency: leased messages of the group, 100,000 */
    GKEY_MEMBER_MAX = 1 << 2,      /* member_max: leased messages of one member, 1,000 */
    GKEY_MAX_DELIVER = 1 << 3,     /* max_deliver: deliveries before dead letters, 16; 0 = no end */
    GKEY_BACKOFF = 1 << 4,         /* backoff_ms: first delay after a nack, 1,000; doubles */
    GKEY_BACKOFF_MAX = 1 << 5,     /* backoff_max_ms: 600,000 */
    GKEY_PROCESSING = 1 << 6,      /* max_processing_ms: queue 900,000; log 0 = no limit */
    GKEY_PAUSED_UNTIL = 1 << 7, /* paused_until: wall ms, 0 = not paused, LIMIT_UINT = for ever */
    GKEY_RAMP = 1 << 8,  /* ramp_ms: after a pause max_rate is reached in this time, 10,000 */
    GKEY_ORDER = 1 << 9, /* order: none | key; fixed when the group is made */
};
struct group_config {
    uint32_t set; /* group_key bits that were given */
    uint64_t max_rate, max_concurrency, member_max, max_deliver, backoff_ms, backoff_max_ms,
        max_processing_ms, paused_until_ms, ramp_ms;
    uint32_t order;
};
void group_config_defaults(struct group_config *c, enum msg_group_mode mode); /* set = 0 */
/* Sets one key from text ("max_rate" = "500", "500/s"; times "30s"; paused_until: ms since 1970 or
 * "forever"). Errors name key, value and range. */
enum werr group_config_set(struct group_config *c, const char *key, const char *value,
                           struct werror *e) WEIR_NODISCARD;
void group_config_merge(struct group_config *c, const struct group_config *from);
void group_config_put(struct buf *b, const struct group_config *c, bool all);
enum werr group_config_get(struct mpread *r, bool strict, struct group_config *c,
                           struct werror *e) WEIR_NODISCARD;
const char *const *group_config_keys(void); /* NULL ends */

/* A partition that a member has. */
struct msg_assigned {
    uint64_t tid;
    uint32_t p;
    uint64_t epoch;  /* of the assignment */
    uint64_t offset; /* where to go on: the committed offset, or the group's start */
};

/* ---- GROUP_JOIN: [group, member, ?instance(nil), topics[str...], ?{mode, start, order}] ->
 *      [epoch, grace_ms, mode, resumed(bool), assignment[[tid, p, epoch, offset]...]]
 * start (new groups only): -1 earliest (default), -2 latest, >= 0 ms since 1970. resumed: the
 * session of this member id was still alive, its leases and partitions are kept. ---- */
struct msg_join {
    struct slice group, member;
    struct mpread topics; /* n_topics str elements: msg_next_name */
    uint32_t n_topics;
    enum msg_group_mode mode;
    enum msg_group_order order;
    int64_t start;
};
struct msg_join_ok {
    uint64_t epoch;
    uint32_t grace_ms;
    enum msg_group_mode mode;
    bool resumed;
    struct mpread parts; /* msg_next_assigned */
    uint32_t n_parts;
};
void msg_put_join(struct buf *b, uint32_t corr, const struct msg_join *m /* topics ignored */,
                  const struct slice *topics, size_t n);
enum werr msg_get_join(struct mpread *r, struct msg_join *m, struct werror *e) WEIR_NODISCARD;
bool msg_next_name(struct mpread *r, struct slice *name);
void msg_put_join_ok(struct buf *b, uint32_t corr, const struct msg_join_ok *m,
                     const struct msg_assigned *parts, size_t n);
enum werr msg_get_join_ok(struct mpread *r, struct msg_join_ok *m, struct werror *e) WEIR_NODISCARD;
bool msg_next_assigned(struct mpread *r, struct msg_assigned *a);

/* ---- GROUP_HEARTBEAT: [group, member, epoch, ?owned[[tid, p]...]] -> [epoch, ?assignment]
 * owned = what the member holds now: what it leaves out of what it had is given up. Answer nil:
 * nothing changed since the member was last told. Log mode. Asked when CHANGED("group", name)
 * comes, and after giving partitions up. ---- */
struct msg_heartbeat {
    struct msg_who who;
    bool has_owned;
    struct mpread owned; /* msg_next_drop (tid, p) */
    uint32_t n_owned;
};
struct msg_heartbeat_ok {
    uint64_t epoch;
    bool has_parts;
    struct mpread parts; /* msg_next_assigned */
    uint32_t n_parts;
};
struct msg_tp {
    uint64_t tid;
    uint32_t p;
};
void msg_put_heartbeat(struct buf *b, uint32_t corr, const struct msg_who *who,
                       const struct msg_tp *owned, size_t n, bool has_owned);
enum werr msg_get_heartbeat(struct mpread *r, struct msg_heartbeat *m,
                            struct werror *e) WEIR_NODISCARD;
void msg_put_heartbeat_ok(struct buf *b, uint32_t corr, uint64_t epoch, bool has_parts,
                          const struct msg_assigned *parts, size_t n);
enum werr msg_get_heartbeat_ok(struct mpread *r, struct msg_heartbeat_ok *m,
                               struct werror *e) WEIR_NODISCARD;

/* ---- GROUP_LEAVE: [group, member, epoch] -> [] (msg_get_ok) ---- */
void msg_put_leave(struct buf *b, uint32_t corr, const struct msg_who *who);
enum werr msg_get_leave(struct mpread *r, struct msg_who *who, struct werror *e) WEIR_NODISCARD;

/* ---- COMMIT: [group, member, epoch, [[tid, p, next_offset, ?note(str <= 256)]...]] ->
 *      [?err...] one entry per item, in order, answered when durable. Log mode. ---- */
enum { LIMIT_COMMIT_ITEMS = 4096, LIMIT_NOTE = 256 };
struct msg_commit_item {
    uint64_t tid;
    uint32_t p;
    uint64_t offset; /* next to be read */
    struct slice note;
};
struct msg_commit {
    struct msg_who who;
    struct mpread items; /* msg_next_commit_item */
    uint32_t n_items;
};
void msg_put_commit(struct buf *b, uint32_t corr, const struct msg_who *who,
                    const struct msg_commit_item *items, size_t n);
enum werr msg_get_commit(struct mpread *r, struct msg_commit *m, struct werror *e) WEIR_NODISCARD;
bool msg_next_commit_item(struct mpread *r, struct msg_commit_item *it);
/* Results of COMMIT and of SETTLE: a list of nil | error. err[i].code WERR_OK = nil. */
void msg_put_results(struct buf *b, uint32_t corr, const struct werror *err, size_t n);
enum werr msg_get_results(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_result(struct mpread *r, struct werror *result, enum werr_class *cls,
                         struct werror *e) WEIR_NODISCARD;

/* ---- COMMITTED: [group, ?[[tid, p]...]] -> [[tid, p, next_offset, ts_ms, ?note]...]
 * nil = every partition that the group knows. Durable values. Queue mode: the floor. ---- */
struct msg_committed_rq {
    struct slice group;
    bool all;
    struct mpread parts; /* msg_next_drop */
    uint32_t n_parts;
};
struct msg_committed {
    uint64_t tid;
    uint32_t p;
    uint64_t offset;
    int64_t ts_ms; /* of the commit; 0 = never committed, offset is the start */
    struct slice note;
};
void msg_put_committed(struct buf *b, uint32_t corr, struct slice group, const struct msg_tp *parts,
                       size_t n /* 0 = all */);
enum werr msg_get_committed(struct mpread *r, struct msg_committed_rq *m,
                            struct werror *e) WEIR_NODISCARD;
void msg_put_committed_ok(struct buf *b, uint32_t corr, const struct msg_committed *c, size_t n);
enum werr msg_get_committed_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_committed_one(struct mpread *r, struct msg_committed *c,
                                struct werror *e) WEIR_NODISCARD;

/* ---- ACQUIRE: [group, member, epoch, max_msgs, max_bytes, max_wait_ms, lease_ms, attempt] ->
 *      [[tid, p, [[first, last, deliveries, lease, ?reason]...], bin]...]; [] = timeout
 * bin = whole batches; only the ranges are the member's. max_msgs is strict, max_bytes holds for
 * all but the first batch. lease_ms 0 = as long as the session, up to max_processing_ms; else a
 * hard limit of 1 s to 12 h. attempt: chosen by the client, > 0, grows; the same again (after a
 * reconnect) returns the same leases. reason: why the delivery before failed. ---- */
enum { LIMIT_ACQUIRE_MSGS = 10000, LIMIT_ACQUIRE_WAIT_MS = 60000 };
enum { LIMIT_LEASE_MIN_MS = 1000, LIMIT_LEASE_MAX_MS = 12 * 3600 * 1000 };
struct msg_acquire {
    struct msg_who who;
    uint32_t max_msgs, max_bytes, max_wait_ms, lease_ms;
    uint64_t attempt;
};
struct msg_range {
    uint64_t first, last; /* inclusive */
    uint32_t deliveries;  /* of this one: 1 = first time */
    uint64_t lease;
    struct slice reason;
};
void msg_put_acquire(struct buf *b, uint32_t corr, const struct msg_acquire *m);
enum werr msg_get_acquire(struct mpread *r, struct msg_acquire *m, struct werror *e) WEIR_NODISCARD;
/* Response: begin, per entry a head (then its bin bytes follow, counted in `tail` of frame_end). */
size_t msg_begin_acquire_ok(struct buf *b, uint32_t corr, size_t n_entries);
void msg_put_acquired_head(struct buf *b, uint64_t tid, uint32_t p, const struct msg_range *ranges,
                           size_t n, size_t bin_bytes);
struct msg_acquired {
    uint64_t tid;
    uint32_t p;
    struct mpread ranges; /* msg_next_range */
    uint32_t n_ranges;
    struct slice batches;
};
enum werr msg_get_acquire_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_acquired(struct mpread *r, struct msg_acquired *a,
                           struct werror *e) WEIR_NODISCARD;
bool msg_next_range(struct mpread *r, struct msg_range *g);

/* ---- SETTLE: [group, member, epoch, [[tid, p, lease, first, last, verb, ?arg, ?reason]...]] ->
 *      [?err...] (msg_put_results)
 * An item is settled as a whole or not at all: LEASE_LOST when a message in it is no longer held
 * under that lease (an ack of what is settled already is fine). Durable when answered.
 * verb 0 ack, 1 nack(arg = delay ms, nil = the group's backoff), 2 release (does not count), 3
 * dead, 4 extend(arg = ms from now, nil = as at the start). reason: str <= 1,024 bytes. ---- */
enum { LIMIT_SETTLE_ITEMS = 10000, LIMIT_REASON = 1024 };
enum msg_verb { VERB_ACK = 0, VERB_NACK = 1, VERB_RELEASE = 2, VERB_DEAD = 3, VERB_EXTEND = 4 };
struct msg_settle_item {
    uint64_t tid;
    uint32_t p;
    uint64_t lease, first, last;
    enum msg_verb verb;
    bool has_arg;
    uint64_t arg;
    struct slice reason;
};
struct msg_settle {
    struct msg_who who;
    struct mpread items; /* msg_next_settle_item */
    uint32_t n_items;
};
void msg_put_settle(struct buf *b, uint32_t corr, const struct msg_who *who,
                    const struct msg_settle_item *items, size_t n);
enum werr msg_get_settle(struct mpread *r, struct msg_settle *m, struct werror *e) WEIR_NODISCARD;
bool msg_next_settle_item(struct mpread *r, struct msg_settle_item *it);

/* ---- GROUP_LIST: [?{after, limit}] -> [groups[[name, mode, state, members, partitions, lag_msgs,
 *      ?lag_ms, in_flight]...], ?next] ---- */
struct msg_group_row {
    struct slice name;
    enum msg_group_mode mode;
    struct slice state; /* "active", "empty", "rebalancing", "paused until MS", "paused",
                           "blocked: in-flight limit", "blocked: too many retries", ... */
    uint32_t members, partitions;
    uint64_t lag_msgs, lag_ms, in_flight; /* lag_ms: age of the oldest message not yet consumed */
};
void msg_put_group_list(struct buf *b, uint32_t corr, struct slice after, uint32_t limit);
enum werr msg_get_group_list(struct mpread *r, struct slice *after, uint32_t *limit,
                             struct werror *e) WEIR_NODISCARD;
size_t msg_begin_group_list_ok(struct buf *b, uint32_t corr, size_t n);
void msg_put_group_row(struct buf *b, const struct msg_group_row *g);
void msg_end_group_list_ok(struct buf *b, size_t begin, struct slice next /* n = 0: nil */);
struct msg_group_list_ok {
    struct mpread groups; /* msg_next_group_row */
    uint32_t n_groups;
    struct slice next;
};
enum werr msg_get_group_list_ok(struct mpread *r, struct msg_group_list_ok *m,
                                struct werror *e) WEIR_NODISCARD;
bool msg_next_group_row(struct mpread *r, struct msg_group_row *g);

/* ---- GROUP_DESCRIBE: [group] -> [row as in LIST, created_ms, epoch, {config},
 *      members[[member, client, address, epoch, partitions, in_flight, since_ms, away(bool)]...],
 *      parts[[topic, tid, p, ?owner, position, next, hw, log_start, lag_msgs, lag_ms, in_flight,
 *             retrying, ?oldest_lease_ms, ?oldest_holder]...]]
 * position = committed offset or floor; next = first offset never handed out. ---- */
struct msg_group_member {
    struct slice member, client, address;
    uint64_t epoch;
    uint32_t partitions;
    uint64_t in_flight;
    int64_t since_ms; /* wall time of the join */
    bool away;        /* connection lost, in its grace time */
};
struct msg_group_part {
    struct slice topic;
    uint64_t tid;
    uint32_t p;
    struct slice owner; /* n = 0: nobody */
    uint64_t position, next, hw, log_start, lag_msgs, lag_ms, in_flight, retrying;
    uint64_t oldest_lease_ms;   /* age */
    struct slice oldest_holder; /* member; n = 0: no lease */
};
struct msg_group_describe {
    struct msg_group_row row;
    int64_t created_ms;
    uint64_t epoch;
    struct group_config conf;
};
void msg_put_group_describe(struct buf *b, uint32_t corr, struct slice group);
enum werr msg_get_group_name(struct mpread *r, struct slice *group,
                             struct werror *e) WEIR_NODISCARD;
void msg_put_group_describe_ok(struct buf *b, uint32_t corr, const struct msg_group_describe *d,
                               const struct msg_group_member *members, size_t n_members,
                               const struct msg_group_part *parts, size_t n_parts);
struct msg_group_describe_ok {
    struct msg_group_describe d;
    struct mpread members; /* msg_next_group_member */
    uint32_t n_members;
    struct mpread parts; /* msg_next_group_part */
    uint32_t n_parts;
};
enum werr msg_get_group_describe_ok(struct mpread *r, struct msg_group_describe_ok *m,
                                    struct werror *e) WEIR_NODISCARD;
bool msg_next_group_member(struct mpread *r, struct msg_group_member *m);
bool msg_next_group_part(struct mpread *r, struct msg_group_part *p);

/* ---- GROUP_RESET (seek): [group, [[tid, p, offset]...], ?{force, dry_run}] ->
 *      [[tid, p, old, new, ?err]...]. offset within [log_start, hw]. Nothing is changed unless
 * every item can be. GROUP_BUSY while members are live, unless forced (they are fenced). ---- */
struct msg_reset_item {
    uint64_t tid;
    uint32_t p;
    uint64_t offset;
};
struct msg_reset {
    struct slice group;
    struct mpread items; /* msg_next_reset_item */
    uint32_t n_items;
    bool force, dry_run;
};
struct msg_reset_result {
    uint64_t tid;
    uint32_t p;
    uint64_t old, new_offset;
    struct werror err;
};
void msg_put_reset(struct buf *b, uint32_t corr, struct slice group,
                   const struct msg_reset_item *items, size_t n, bool force, bool dry_run);
enum werr msg_get_reset(struct mpread *r, struct msg_reset *m, struct werror *e) WEIR_NODISCARD;
bool msg_next_reset_item(struct mpread *r, struct msg_reset_item *it);
void msg_put_reset_ok(struct buf *b, uint32_t corr, const struct msg_reset_result *res, size_t n);
enum werr msg_get_reset_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_reset_result(struct mpread *r, struct msg_reset_result *res,
                               struct werror *e) WEIR_NODISCARD;

/* ---- GROUP_DELETE: [group, ?{force, dry_run}] -> [] ---- */
struct msg_group_delete {
    struct slice group;
    bool force, dry_run;
};
void msg_put_group_delete(struct buf *b, uint32_t corr, const struct msg_group_delete *m);
enum werr msg_get_group_delete(struct mpread *r, struct msg_group_delete *m,
                               struct werror *e) WEIR_NODISCARD;

/* ---- GROUP_ALTER (54): [group, {config}, ?{dry_run}] -> [{config}]. Pause and resume too. ---- */
struct msg_group_alter {
    struct slice group;
    struct group_config conf;
    bool dry_run;
};
void msg_put_group_alter(struct buf *b, uint32_t corr, const struct msg_group_alter *m);
enum werr msg_get_group_alter(struct mpread *r, struct msg_group_alter *m,
                              struct werror *e) WEIR_NODISCARD;
void msg_put_group_alter_ok(struct buf *b, uint32_t corr, const struct group_config *c);
enum werr msg_get_group_alter_ok(struct mpread *r, struct group_config *c,
                                 struct werror *e) WEIR_NODISCARD;

/* ---- DLQ_LIST (55): [dlq topic, p, from, limit] -> [[first, last, state]...], ?next
 *      which messages of a dead-letter partition are still there: state 0 = dead, 1 = redriven and
 *      waiting, 2 = redriven and leased. Settled ones are left out. At most `limit` ranges; next =
 *      where to go on, nil at the end.
 * DLQ_REDRIVE (56): [dlq topic, [[p, first, last]...], ?{rate, dry_run}] -> [redriven, skipped]
 *      gives dead messages back to their group, and to no other; `rate` a second (default 100).
 *      What was redriven or purged before is skipped, so it can be asked again safely.
 * DLQ_PURGE (57): [dlq topic, [[p, first, last]...], ?{dry_run}] -> [purged, skipped] ---- */
enum msg_dlq_state { DLQ_DEAD = 0, DLQ_WAITING = 1, DLQ_LEASED = 2 };
struct msg_dlq_list {
    struct slice topic;
    uint32_t p;
    uint64_t from;
    uint32_t limit; /* <= 10,000; 0 = 1,000 */
};
struct msg_dlq_range {
    uint64_t first, last;
    uint32_t state;
};
void msg_put_dlq_list(struct buf *b, uint32_t corr, const struct msg_dlq_list *m);
enum werr msg_get_dlq_list(struct mpread *r, struct msg_dlq_list *m,
                           struct werror *e) WEIR_NODISCARD;
void msg_put_dlq_list_ok(struct buf *b, uint32_t corr, const struct msg_dlq_range *ranges, size_t n,
                         bool has_next, uint64_t next);
struct msg_dlq_list_ok {
    struct mpread ranges; /* msg_next_dlq_range */
    uint32_t n_ranges;
    bool has_next;
    uint64_t next;
};
enum werr msg_get_dlq_list_ok(struct mpread *r, struct msg_dlq_list_ok *m,
                              struct werror *e) WEIR_NODISCARD;
bool msg_next_dlq_range(struct mpread *r, struct msg_dlq_range *g);
struct msg_dlq_span {
    uint32_t p;
    uint64_t first, last;
};
struct msg_dlq_move { /* REDRIVE and PURGE */
    struct slice topic;
    struct mpread spans; /* msg_next_dlq_span */
    uint32_t n_spans;
    uint32_t rate; /* REDRIVE; 0 = default */
    bool dry_run;
};
void msg_put_dlq_redrive(struct buf *b, uint32_t corr, struct slice topic,
                         const struct msg_dlq_span *spans, size_t n, uint32_t rate, bool dry_run);
enum werr msg_get_dlq_redrive(struct mpread *r, struct msg_dlq_move *m,
                              struct werror *e) WEIR_NODISCARD;
void msg_put_dlq_purge(struct buf *b, uint32_t corr, struct slice topic,
                       const struct msg_dlq_span *spans, size_t n, bool dry_run);
enum werr msg_get_dlq_purge(struct mpread *r, struct msg_dlq_move *m,
                            struct werror *e) WEIR_NODISCARD;
bool msg_next_dlq_span(struct mpread *r, struct msg_dlq_span *s);
void msg_put_dlq_moved(struct buf *b, uint32_t corr, uint64_t moved, uint64_t skipped);
enum werr msg_get_dlq_moved(struct mpread *r, uint64_t *moved, uint64_t *skipped,
                            struct werror *e) WEIR_NODISCARD;

/* ---- delayed messages. PRODUCE's options gain deliver_at (wall ms, u53); such a batch counts in a
 * sequence of its own per producer and partition, and its answer has no base_offset but delay_id
 * (str): message i of the batch has the id "<delay_id>.<i>".
 * CANCEL_DELAYED: [tid, [id(str)...]] -> [status(uint)...]: 0 cancelled, 1 delivered
 *      already, 2 unknown. Durable when answered.
 * DELAYED_LIST (17): [tid, ?{after, limit}] -> [[id, p, due_ms, count, bytes]...], ?next ---- */
enum msg_cancel { CANCEL_DONE = 0, CANCEL_DELIVERED = 1, CANCEL_UNKNOWN = 2 };
enum { LIMIT_CANCEL_IDS = 1000, LIMIT_DELAY_ID = 64 };
#define LIMIT_DELAY_MS (INT64_C(366) * 24 * 3600 * 1000)
struct msg_cancel_rq {
    uint64_t tid;
    struct mpread ids; /* msg_next_name */
    uint32_t n_ids;
};
void msg_put_cancel(struct buf *b, uint32_t corr, uint64_t tid, const struct slice *ids, size_t n);
enum werr msg_get_cancel(struct mpread *r, struct msg_cancel_rq *m,
                         struct werror *e) WEIR_NODISCARD;
void msg_put_cancel_ok(struct buf *b, uint32_t corr, const uint8_t *status, size_t n);
enum werr msg_get_cancel_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_cancelled(struct mpread *r, uint32_t *status, struct werror *e) WEIR_NODISCARD;
struct msg_delayed {
    struct slice id; /* of the batch */
    uint32_t p;
    int64_t due_ms;
    uint32_t count, bytes;
};
void msg_put_delayed_list(struct buf *b, uint32_t corr, uint64_t tid, struct slice after,
                          uint32_t limit);
enum werr msg_get_delayed_list(struct mpread *r, uint64_t *tid, struct slice *after,
                               uint32_t *limit, struct werror *e) WEIR_NODISCARD;
void msg_put_delayed_list_ok(struct buf *b, uint32_t corr, const struct msg_delayed *d, size_t n,
                             struct slice next);
struct msg_delayed_list_ok {
    struct mpread items; /* msg_next_delayed */
    uint32_t n_items;
    struct slice next;
};
enum werr msg_get_delayed_list_ok(struct mpread *r, struct msg_delayed_list_ok *m,
                                  struct werror *e) WEIR_NODISCARD;
bool msg_next_delayed(struct mpread *r, struct msg_delayed *d);

#endif
