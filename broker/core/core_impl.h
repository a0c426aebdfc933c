#ifndef WEIR_BROKER_CORE_CORE_IMPL_H
#define WEIR_BROKER_CORE_CORE_IMPL_H
/*
 * What the files of broker/core share. Nothing outside broker/core (and its unit tests) includes
 * this.
 *
 * Ownership, as a tree: core owns topics, topics own partitions, partitions own dedupe states;
 * readers belong to their callers, partitions only link to them; a job (anything submitted to the
 * store) belongs to core->jobs until its completion ran.
 */
#include <sys/queue.h>

/* An allocation that fails aborts, as everywhere in the core; keys are short (ids and names). */
#define uthash_fatal(msg) abort()
#define HASH_FUNCTION(key, n, hash) ((hash) = core_hash((key), (n)))
#include <uthash.h>

#include "broker/core/core_group.h"
#include "broker/core/tailcache.h"
#include "broker/core/timers.h"
#include "broker/core/walltime.h"
#include "broker/core/window.h"

static inline unsigned core_hash(const void *key, size_t n)
{
    const uint8_t *p = key;
    uint64_t h = n * UINT64_C(0x9e3779b97f4a7c15), word;

    for (; n > 0; p += sizeof word) {
        const size_t k = n < sizeof word ? n : sizeof word;
        word = 0;
        memcpy(&word, p, k);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
        n -= k;
    }
    return (unsigned)(h ^ (h >> 29));
}

struct part;
struct rpart;
struct named;
struct change;
struct flight;
struct pid_wait;
struct delayed;

/* ---------------------------------------------------------------- jobs */

/*
 * Something submitted to the store. run() is called for every stage, and after STORE_DONE the job
 * is run()'s to free. At core_close, jobs that were never completed run with WERR_INDETERMINATE.
 */
struct job {
    TAILQ_ENTRY(job) link;
    struct core *co;
    void (*run)(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e);
};
TAILQ_HEAD(jobs, job);

/* Submits what was gathered, then t. Takes t and j. */
void job_submit(struct core *co, struct job *j, struct store_txn *t, enum store_sync sync,
                bool want_written);

/* ---------------------------------------------------------------- dedupe */

/* One producer in one partition. */
struct dedupe {
    UT_hash_handle hh;
    struct {
        uint64_t pid;
        uint64_t part_id;
    } key;
    struct part *part;
    struct named *named; /* NULL: unnamed producer */
    LIST_ENTRY(dedupe) of_part;
    LIST_ENTRY(dedupe) of_named;
    TAILQ_ENTRY(dedupe) by_change; /* core->changed or core->rolling */
    struct window w;
    uint32_t refs;       /* appends in flight: not to be evicted */
    uint16_t unanswered; /* those of them whose producer waits */
    uint64_t held_end;   /* end of the highest refused sequence */
    uint8_t held;        /* enum werr of the refusal that later sequences share; 0 = none */
    bool recovered;      /* rebuilt at start, nothing appended since */
    bool delayed;        /* counts delayed batches: its offsets are their delay sequences */
    bool in_changed, in_rolling;
};
LIST_HEAD(dedupe_list, dedupe);
TAILQ_HEAD(dedupe_queue, dedupe);

/* A producer has two states in a partition: what it appends, and what it sends delayed, which
 * counts in a sequence of its own. */
struct dedupe *dedupe_find(struct core *co, const struct part *pt, uint64_t pid, bool delayed);
struct dedupe *dedupe_new(struct core *co, struct part *pt, uint64_t pid, bool delayed);
/* Its snapshot row, into t. Delayed batches leave no trace in the log, so theirs is written with
 * each of them. */
void dedupe_put(const struct dedupe *d, struct store_txn *t);
/* The rows of a partition that is being dropped, out of t. */
void dedupe_rows_delete(uint32_t part_id, struct store_txn *t);
void dedupe_free(struct core *co, struct dedupe *d);
/* A retryable refusal of everything up to `end`: later sequences share it until those came again.
 */
void dedupe_hold(struct dedupe *d, enum werr code, uint64_t end);
void dedupe_changed(struct core *co, struct dedupe *d); /* the next roll snapshots it */
/* A txn with the snapshots of everything that changed since the last roll, for the caller to add
 * the roll to; dedupe_rolled says how that ended. If they are many, some are submitted ahead. */
struct store_txn *dedupe_snapshot(struct core *co);
void dedupe_rolled(struct core *co, bool ok);
enum werr dedupe_load(struct core *co, struct werror *e) WEIR_NODISCARD;
/* Looks at up to n states for one that nobody used for 7 days; forgets it. */
void dedupe_evict(struct core *co, unsigned n);

/* ---------------------------------------------------------------- topics */

LIST_HEAD(rpart_list, rpart);
struct gpart;
LIST_HEAD(gpart_list, gpart);
TAILQ_HEAD(gpart_queue, gpart);
struct core_group;
TAILQ_HEAD(group_queue, core_group);
struct core_session;
LIST_HEAD(session_list, core_session);
TAILQ_HEAD(session_queue, core_session);
struct join;
struct lag;
LIST_HEAD(lag_list, lag);
struct wrote;
LIST_HEAD(join_list, join);
struct part {
    struct core_topic *topic;
    uint32_t p;  /* number inside the topic */
    uint32_t id; /* the store's partition number, never reused */
    uint64_t next, hw;
    int64_t last_append_ms;
    struct core_produce *first, *last; /* not answered yet, in append order (rq->next) */
    struct tail tail;
    struct rpart_list waiting; /* readers at the high watermark */
    struct rpart_list busy;    /* the other readers */
    struct dedupe_list dedupes;
    struct gpart_list groups;     /* that read it */
    uint64_t held_age, held_size; /* bytes that retention by age, by size would have deleted */
    bool held;                    /* counted in core_group_stats.holds */
};

struct core_topic {
    UT_hash_handle hh;
    struct core *core;
    uint64_t tid;
    int64_t created_ms;
    struct topic_config conf;
    struct part **parts;
    uint16_t *slots;       /* NULL: never grown */
    struct change *change; /* runs now; others queue behind it */
    uint32_t n_parts;
    bool hidden; /* being created or deleted */
    bool deleting;
    bool held_over;                 /* more unread data than the hold budget: produce is refused */
    int64_t held_mono_ns;           /* when that was last looked at */
    uint32_t plan_mark, plan_index; /* scratch of assignments */
    uint8_t name_n;
    char name[];
};

struct part *part_new(struct core *co, struct core_topic *t, uint32_t p, uint32_t id);
/* Tells readers that the topic is gone, frees dedupe states and tail. Nothing is in flight. */
void part_free(struct core *co, struct part *pt);
/* Durable up to end: readers that waited become ready. */
void part_raise(struct core *co, struct part *pt, uint64_t end);
void part_wake_all(struct part *pt); /* readers that waited look again */
uint64_t part_start(const struct core *co, const struct part *pt);
enum store_table part_table(const struct core_topic *t); /* by retention */

struct core_topic *topic_new(struct core *co, struct slice name, uint64_t tid,
                             const struct topic_config *c, int64_t created_ms);
void topic_free(struct core *co, struct core_topic *t);
void topic_link(struct core *co, struct core_topic *t); /* by id and by name */
void topic_unlink(struct core *co, struct core_topic *t);
struct core_topic *topic_lookup(struct core *co, struct slice name); /* hidden ones too */
void topic_set_parts(struct core *co, struct core_topic *t, uint32_t n, const uint32_t *ids);
/* NULL and *e: unknown topic or partition. deleting: finds those of a topic that is going too. */
struct part *topic_part(struct core *co, uint64_t tid, uint32_t p, bool deleting, struct werror *e);
/* Row of META_TOPIC: what the topic is after a change to c with partitions ids and table slots. */
void topic_encode(const struct core_topic *t, const struct topic_config *c, const uint32_t *ids,
                  const uint16_t *slots, struct buf *out);
struct meta_key topic_key(uint64_t tid);
enum werr topic_load(struct core *co, struct werror *e) WEIR_NODISCARD;
/* All partitions by number. Numbers are not given twice, so the highest says nothing about how many
 * there are. The caller frees p. */
enum { PART_IDS = 1 << 28 }; /* so many are given; rows and the store's index rely on it */
struct part_list {
    struct part **p;
    size_t n;
};
void topic_parts(const struct core *co, struct part_list *l);
struct part *part_list_find(const struct part_list *l, uint32_t id); /* NULL: none has it */
void topic_change_abort(struct core *co); /* answers what still queues with SHUTTING_DOWN */

/* ---------------------------------------------------------------- producers */

struct named {
    UT_hash_handle by_name, by_pid;
    uint64_t pid;
    int64_t used_ms; /* wall time of the last INIT */
    struct dedupe_list dedupes;
    uint16_t epoch;
    uint8_t name_n;
    char name[];
};
struct named *named_by_pid(struct core *co, uint64_t pid);
enum werr producer_load(struct core *co, struct werror *e) WEIR_NODISCARD;
void producer_fini(struct core *co);
void producer_evict(struct core *co);
/* WERR_OK, UNKNOWN_PRODUCER or PRODUCER_FENCED. d may be NULL. */
enum werr producer_check(struct core *co, const struct dedupe *d, uint64_t pid, uint16_t epoch,
                         struct werror *e);
/* Given out before this start of the broker. */
bool producer_older(const struct core *co, uint64_t pid);
/* Counters row as of now, into t. */
void counters_put(struct core *co, struct store_txn *t);

/* ---------------------------------------------------------------- flights */

/*
 * A flight is what one turn of the loop submits together: appends of producers, batches that the
 * core made itself, rows, and everybody who waits for them. One txn: all of it or nothing.
 */
struct append {
    struct part *part;
    struct dedupe *dedupe;   /* NULL: not idempotent */
    struct core_produce *rq; /* NULL: answered */
    struct bytes batch;      /* a reference, for the tail cache */
    uint64_t base;
    uint32_t count;
    bool os;                 /* acknowledged when written */
    struct delayed *delayed; /* not an append but a delayed batch: base = its delay sequence */
};
/* Somebody who wants to hear how the open flight ends. run() is called once, with WERR_OK,
 * STORAGE_FULL (nothing happened) or INDETERMINATE; w is run()'s to free. */
struct waiter {
    TAILQ_ENTRY(waiter) link;
    void (*run)(struct waiter *w, enum werr rc, const struct werror *e);
};
TAILQ_HEAD(waiters, waiter);
struct flight {
    struct job job;
    struct store_txn *txn;
    struct append *items;
    uint32_t n, cap;
    uint64_t bytes;
    int64_t append_ms; /* one reading of the clock */
    bool disk, os;     /* has such items */
    struct waiters waiters;
};
/* The open flight, with room for `bytes` more: submits a full one first. */
struct flight *flight_open(struct core *co, uint64_t bytes);
/*
 * The txn of the open flight, to put rows into; never submits. STORE_SYNC: somebody waits for them.
 * Rows put after flight_append in the same call chain share its fate.
 */
struct store_txn *flight_rows(struct core *co, enum store_sync sync);
void flight_wait(struct core *co, struct waiter *w); /* takes w */
/*
 * Appends a batch that the core made: stamps it (it is a blob of its own; takes the reference).
 * May submit a full flight first, so put the rows that belong to it afterwards. Returns its base
 * offset; when the flight fails with STORAGE_FULL, the offset is taken back like any other.
 */
uint64_t flight_append(struct core *co, struct part *pt, struct blob *batch);
/* Adds a stamped append to an open flight; takes the reference of item->batch. */
void flight_add(struct core *co, struct flight *g, const struct append *item,
                const struct batch_head *h);
/* Submits the open flight, if any. */
void flight_submit(struct core *co);
/* Core_close: the open flight was never submitted. */
void flight_drop(struct core *co, enum werr rc, const char *why);

/* Runs rq->done and those of the duplicates that wait for it; rq leaves its partition's list. */
void produce_answer(struct core *co, struct part *pt, struct core_produce *rq, enum werr rc,
                    const struct werror *e);

/* ---------------------------------------------------------------- readers */

TAILQ_HEAD(rpart_queue, rpart);
struct rpart {
    UT_hash_handle hh;
    struct {
        uint64_t tid;
        uint64_t p;
    } key;
    struct core_reader *rd;
    struct part *part; /* NULL: its topic was deleted */
    LIST_ENTRY(rpart) of_part;
    TAILQ_ENTRY(rpart) in_queue; /* rd->ready or rd->cold */
    uint64_t offset;
    struct bytes data;      /* what the store gave, not yet pulled */
    struct werror *failure; /* what the store answered instead */
    uint64_t left;          /* bytes this partition may still give (FETCH) */
    size_t held;            /* bytes of data when it came */
    uint32_t epoch;
    bool has_epoch, waiting, ready, cold, told;
};
struct cold_read {
    struct store_read r;
    size_t reserved; /* counted until it is over */
    LIST_ENTRY(cold_read) of_core;
    struct core *co;
    struct core_reader *rd; /* NULL: nobody waits any more */
    struct rpart *rp;       /* NULL: dropped meanwhile */
};
LIST_HEAD(cold_list, cold_read);
struct core_reader {
    struct core *co;
    void (*on_ready)(void *arg);
    void *arg;
    LIST_ENTRY(core_reader) of_core;
    TAILQ_ENTRY(core_reader) in_wake, in_store_queue;
    struct rpart *parts;
    struct rpart_queue ready; /* something to give, or to find out */
    struct rpart_queue cold;  /* wait for the store to be free for this reader */
    struct cold_read *reading;
    struct rpart *holds; /* has data from the store */
    size_t held, *meter; /* bytes read or being read for it; meter: its owner's count, or NULL */
    bool notified, wakes;
    bool queued; /* waits for a store read of all to be over */
};
TAILQ_HEAD(reader_queue, core_reader);
LIST_HEAD(reader_list, core_reader);

void rpart_ready(struct rpart *rp);  /* puts it in the ready queue; wakes the reader later */
void rpart_orphan(struct rpart *rp); /* its topic is gone */
/* n more bytes are held for it, until it is freed. */
void reader_holds(struct core_reader *rd, size_t n);
void reader_limit(struct core_reader *rd, uint64_t tid, uint32_t p, uint64_t bytes);
bool reader_reading(const struct core_reader *rd);
void cold_read_start(struct rpart *rp, uint32_t max_bytes);
/* Wakes as many of those that wait for the store as may read now. */
void readers_read_on(struct core *co);
/* Calls ready() of the readers that got news. Never call it inside a core_reader_* function. */
void readers_wake(struct core *co);

/* ---------------------------------------------------------------- fetch */

void fetch_expire(struct core *co, int64_t now_mono_ns);
int64_t fetch_deadline(const struct core *co);
void fetch_fini(struct core *co); /* answers all with SHUTTING_DOWN */

/* ---------------------------------------------------------------- retention */

void retention_init(struct core *co);
void retention_run(struct core *co);
/* After appends: a full bucket ends at once, not within a second, or memory would not be bounded.
 */
void retention_roll_soon(struct core *co);
void retention_changed(struct core *co); /* work was done: look again within a second */
/* The lowest offset of a partition that retention must not pass because a group that was seen in
 * the last 7 days has not read it. UINT64_MAX = no hold. In hold.c. */
uint64_t retention_hold_offset(struct core *co, const struct part *pt);
/* What is held of one topic, now; deletes nothing. */
void retention_look(struct core *co, struct core_topic *t);

/* ---------------------------------------------------------------- the core */

struct core {
    struct core_conf conf;
    struct core_env env;
    struct store *st;
    uint32_t epoch; /* of every partition, raised at every open */
    uint64_t version, base_version;

    struct core_topic *topics; /* by tid */
    struct core_topic **names; /* sorted */
    size_t n_names, cap_names;
    size_t n_hidden;
    struct change *changes; /* waiting for another change of the same name */
    uint64_t next_tid;
    uint32_t next_part;
    uint64_t n_parts;

    struct dedupe *dedupes;
    struct dedupe *evict_at; /* where the next sweep goes on; NULL = from the start */
    struct dedupe_queue changed, rolling;
    struct named *names_by_name, *names_by_pid;
    uint64_t next_pid, pid_durable, pid_limit; /* next <= durable <= limit (being reserved) */
    uint64_t next_named;
    uint64_t pid_at_open, named_at_open; /* smaller ones were given out before this start */
    struct pid_wait *pid_waits;          /* unnamed producers that wait for a block of ids */
    bool pids_asked;

    struct jobs jobs;
    struct flight *flight; /* open */
    unsigned flights_out;
    bool settling; /* a flight met a full disk: refuse until all before it are back */
    uint64_t inflight_bytes;
    unsigned finds;
    bool draining, failed, closing;

    struct tailcache tail;
    struct reader_list readers;
    struct reader_queue wake;
    struct reader_queue store_queue; /* want the store, which reads enough already */
    unsigned n_reads, max_reads;     /* of readers, in flight */
    struct cold_list colds;
    struct core_fetch **fetches; /* heap by deadline */
    size_t n_fetches, cap_fetches;
    size_t n_rparts;                 /* partitions that are followed, of all readers */
    size_t held_bytes;               /* read, or being read, and not pulled */
    TAILQ_HEAD(, queue_part) aheads; /* what was read first is first */
    size_t ahead_bytes, ahead_most;

    struct timers timers;
    struct core_group *groups;       /* by name hash */
    struct core_group **group_names; /* sorted */
    size_t n_groups, cap_groups;
    uint64_t next_gid, next_lease;
    struct session_list sessions;
    struct session_queue news; /* sessions to be told something */
    struct lag_list lags;      /* see group_lag.c */
    struct join_list joins;    /* not answered yet */
    struct wrote *wrote;       /* of the open flight: what it carries of groups */
    struct timer groups_retry; /* rows that met a full disk */
    uint64_t next_serial;      /* of members */
    bool counters_dirty;       /* the next flight carries the counters row */
    uint32_t plan_mark;
    char group_state[64];            /* text of msg_group_row.state */
    struct group_queue groups_dirty; /* their row; see groups_write */
    struct gpart_queue gparts_dirty;
    struct core_group_stats gstats;
    struct queue_core *queue_core; /* queue.c */
    struct dlq_core *dlq;          /* dlq.c */
    struct delay_core *delay;      /* delay.c */

    struct walltime wall;
    int64_t upkeep_mono_ns; /* next */
    int64_t changed_mono_ns;
    int64_t roll_mono_ns; /* last one for retention's sake */
    int64_t sweep_mono_ns;
    size_t retention_at; /* index in names[] */
    bool roll_in_flight, roll_wanted;
    struct core_stats stats;
};

int64_t core_mono_ns(const struct core *co);
int64_t core_wall_ms(struct core *co); /* steady wall time, looks at the clocks */
void core_log(const struct core *co, int level, const char *event, const char *fmt, ...)
    WEIR_PRINTF(4, 5);

#endif
