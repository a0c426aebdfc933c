#ifndef WEIR_BROKER_CORE_CORE_H
#define WEIR_BROKER_CORE_CORE_H
/*
 * The broker's state and rules: topics, partitions, producers, readers, retention. Pure: no I/O but
 * through the store contract, no clock and no randomness but through core_env, one thread. Runs the
 * same under libev and under a seeded simulation with a virtual clock.
 *
 * Requests. The caller fills the input half of a request struct, keeps it alive until its done()
 * ran, and finds the answer in the output half. done() runs exactly once, possibly before the call
 * returns. A caller that no longer cares lets it finish (done() then frees).
 *
 * Durability. A produce is answered only after its txn is durable (or written, for a topic with
 * durability = os); readers see only offsets below the partition's high watermark, which follows
 * durable completions. Everything produced between two core_flush() calls is one txn.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/batch.h"
#include "proto/buf.h"
#include "proto/error.h"
#include "proto/msg.h"
#include "proto/msg_group.h"
#include "storage/store.h"

struct core;

struct core_env {
    void *arg;
    int64_t (*mono_ns)(void *arg); /* never goes back; leases, waits, pacing */
    int64_t (*wall_ms)(void *arg); /* ms since 1970: append times, retention */
    uint64_t (*random)(void *arg);
    /* One structured line: level 0 error, 1 warn, 2 info, 3 debug; event = fixed word; kv = "k=v
     * k=v". */
    void (*log)(void *arg, int level, const char *event, const char *kv);
};

struct core_conf {
    uint32_t broker_id;        /* 1 on one machine */
    uint64_t tail_cache_bytes; /* budget for just-committed batches kept in memory */
    uint64_t inflight_bytes;   /* budget for produced bytes that are not yet durable: above it
                                  core_accepts_produce() is false */
    bool auto_create;          /* --dev: a METADATA request for an unknown topic creates it */
    struct topic_config topic_defaults;
    uint32_t max_topics, max_partitions;      /* 0 = 100,000 / 200,000 */
    void (*changed)(void *arg, uint64_t tid); /* a topic was created, altered or deleted; NULL ok */
    void *changed_arg;
};

/*
 * Loads all state from the store (topics, producers, windows) and is ready. Borrows the store until
 * core_close. WERR_CORRUPT names the row.
 */
enum werr core_open(struct core **out, const struct core_conf *conf, struct store *st,
                    const struct core_env *env, struct werror *e) WEIR_NODISCARD;
/*
 * Answers what still waits (SHUTTING_DOWN, or INDETERMINATE for what was submitted) and frees.
 * Makes no call to the store: close or abandon that first, because reads in flight are freed here.
 */
void core_close(struct core *co);

/* The budgets of struct core_conf while running; inflight_bytes and max_topics not 0. */
void core_set_budgets(struct core *co, uint64_t tail_cache_bytes, uint64_t inflight_bytes,
                      uint32_t max_topics);
/* Submits what was gathered since the last call. The loop calls it once per turn, before it sleeps.
 */
void core_flush(struct core *co);
/* When core_tick wants to run next (monotonic ns); INT64_MAX = never. */
int64_t core_deadline_mono_ns(const struct core *co);
/* Expires long-polls, retention, rolls, store_gc. */
void core_tick(struct core *co);
/* SIGTERM: refuse new produces with SHUTTING_DOWN; core_idle() turns true when nothing is in
 * flight. */
void core_drain(struct core *co);
bool core_idle(const struct core *co);
/* False: stop reading producers' sockets until it is true again (then core_env wakes nobody: ask
 * after every store_poll). */
bool core_accepts_produce(const struct core *co);

/* ------------------------------------------------------------------ topics */

struct core_topic; /* borrowed; valid until the next call that may delete topics */

struct core_topic *core_topic_by_name(struct core *co, struct slice name);
struct core_topic *core_topic_by_id(struct core *co, uint64_t tid);
/* Next topic in name order after `name` (n = 0: the first). NULL at the end. */
struct core_topic *core_topic_after(struct core *co, struct slice name);
size_t core_topic_count(const struct core *co);
uint64_t core_metadata_version(const struct core *co);
struct slice core_topic_name(const struct core_topic *t);
uint64_t core_topic_id(const struct core_topic *t);
int64_t core_topic_created_ms(const struct core_topic *t);
const struct topic_config *core_topic_config(const struct core_topic *t); /* all keys set */
/* Fills parts[0..partitions) and runs[0..*n_runs), n_runs <= LIMIT_SLOTS. Arrays given by the
 * caller. */
void core_topic_layout(const struct core_topic *t, struct msg_part_meta *parts,
                       struct msg_slot_run *runs, size_t *n_runs);
void core_topic_stats(struct core *co, const struct core_topic *t, struct msg_part_stat *parts);

enum core_topic_verb { CORE_TOPIC_CREATE, CORE_TOPIC_ALTER, CORE_TOPIC_DELETE };
struct core_topic_rq {
    enum core_topic_verb verb;
    struct slice name;        /* borrowed for the call */
    struct topic_config conf; /* `set` says which keys were given */
    bool internal; /* made by the broker: the name may have '~' and LIMIT_TOPIC_NAME bytes */
    bool dry_run;
    void (*done)(struct core_topic_rq *rq);
    void *arg;

    struct werror err; /* code WERR_OK: done and durable */
    uint64_t tid, bytes_freed;
    struct topic_config result;
};
void core_topic_change(struct core *co, struct core_topic_rq *rq);

/* ------------------------------------------------------------------ produce */

struct core_produce {
    uint64_t tid;
    uint32_t p;
    struct bytes batch;    /* writable until the call returns; the core takes its own reference */
    int64_t deliver_at_ms; /* wall time, at most 366 d ahead; 0 = at once. A delayed batch counts in
                              a sequence of its own (docs/PROTOCOL.md) and gets no offset yet */
    void (*done)(struct core_produce *rq);
    void *arg;

    struct werror err;        /* on error with details below */
    struct msg_produce_ok ok; /* on WERR_OK; a delay_id points into delay_text */
    char delay_text[LIMIT_DELAY_ID];
    uint32_t expected_seq, got_seq; /* OUT_OF_ORDER_SEQ */
    struct core_produce *next;      /* the core's */
    uint64_t internal[2];           /* the core's */
};
/*
 * Checks the batch (proto/batch.h, topic limits), the producer's sequence (idempotence: G5 as
 * settled), stamps, appends. Errors: UNKNOWN_TOPIC, CORRUPT_BATCH, TOO_LARGE, OUT_OF_ORDER_SEQ,
 * UNKNOWN_PRODUCER, PRODUCER_FENCED, DUP_UNKNOWN_OFFSET, REREGISTER, STORAGE_FULL, OVERLOADED,
 * RETENTION_HELD, SHUTTING_DOWN, INDETERMINATE.
 */
void core_produce(struct core *co, struct core_produce *rq);

struct core_producer_rq {
    struct slice name; /* n = 0: a fresh unnamed producer; borrowed for the call */
    void (*done)(struct core_producer_rq *rq);
    void *arg;

    struct werror err;
    uint64_t pid;
    uint16_t epoch;
    struct msg_producer_pos *pos; /* named: where it stands; free() by the caller */
    size_t n_pos;
};
void core_init_producer(struct core *co, struct core_producer_rq *rq);

/* ------------------------------------------------------------------ read */

/* Part of an answer: whole batches of one partition, in pieces, each holding a reference. */
struct core_piece {
    uint64_t tid;
    uint32_t p;
    struct werror err; /* OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC, DIVERGED, CORRUPT, ...: no data */
    uint64_t hw, log_start;
    struct bytes data; /* owner NULL: none */
};

/*
 * A reader follows a set of partitions. ready(arg) is called (never inside a core_reader_* call on
 * the same reader) when core_reader_pull would give something; then again only after a pull came
 * back empty. Data below the tail cache is read by the store meanwhile, one read at a time.
 */
struct core_reader;
struct core_reader *core_reader_new(struct core *co, void (*ready)(void *arg), void *arg);
void core_reader_free(struct core_reader *rd);
/* *meter counts, from now on, the bytes that are read or being read for it and were not pulled. It
 * is borrowed until the reader is freed, and may be shared by readers. */
void core_reader_meter(struct core_reader *rd, size_t *meter);
/* Those bytes of this reader. */
size_t core_reader_held(const struct core_reader *rd);
/* Forgets what was read for it and not pulled; it is read again when it is pulled. */
void core_reader_let_go(struct core_reader *rd);
/* So many store reads at once for all readers; 0 = none for now. At first CORE_READS. A read brings
 * a whole batch, however large: what is in flight bounds what may come. */
enum { CORE_READS = 16 };
void core_allow_reads(struct core *co, unsigned n);
/* Readers wait for the store and could be served: the next core_flush goes on with some. */
bool core_has_reads(const struct core *co);
/* WERR_OK, or UNKNOWN_TOPIC, EXISTS, TOO_LARGE (too many). Offsets out of range show in pull. */
enum werr core_reader_add(struct core_reader *rd, uint64_t tid, uint32_t p, uint64_t offset,
                          bool has_epoch, uint32_t epoch, struct werror *e);
bool core_reader_drop(struct core_reader *rd, uint64_t tid, uint32_t p);
size_t core_reader_parts(const struct core_reader *rd);
/*
 * Takes up to n pieces of about max_bytes in total (whole batches; the first may be larger). Gives
 * references to the caller (blob_unref each). An error piece ends its partition. With `caught_up`,
 * also one empty piece per partition each time it newly reaches its high watermark.
 * Returns the number of pieces; 0 = nothing now, ready() will tell.
 */
size_t core_reader_pull(struct core_reader *rd, uint32_t max_bytes, bool caught_up,
                        struct core_piece *out, size_t n);

/* FETCH on top of a reader: answers when min_bytes are there, an error is, or max_wait_ms passed.
 */
struct core_fetch {
    uint32_t max_wait_ms, min_bytes, max_bytes;
    struct msg_fetch_part parts[LIMIT_FETCH_PARTITIONS];
    size_t n_parts;
    size_t *meter; /* see core_reader_meter; NULL = none */
    void (*done)(struct core_fetch *rq);
    void *arg;

    struct core_piece *pieces; /* references given; core_fetch_fini frees */
    size_t n_pieces;
    struct core_reader *rd; /* the core's from here on */
    int64_t deadline_mono_ns;
    size_t heap_index, bytes;
    struct core *co;
};
void core_fetch(struct core *co, struct core_fetch *rq);
/* Answers it now if it holds data: there is no room to wait for more. */
void core_fetch_hurry(struct core_fetch *rq);
void core_fetch_cancel(struct core_fetch *rq); /* done() will not run */
void core_fetch_fini(struct core_fetch *rq);

struct core_offset_rq {
    struct msg_offset_spec spec;
    void (*done)(struct core_offset_rq *rq);
    void *arg;

    struct msg_offset result;
    struct store_find find; /* the core's */
};
void core_list_offset(struct core *co, struct core_offset_rq *rq);

/* ------------------------------------------------------------------ figures */

struct core_stats {
    uint64_t produce_requests, produce_records, produce_bytes, produce_duplicates;
    uint64_t produce_refused[48]; /* by error code */
    uint64_t read_bytes, read_tail_hits, read_store_reads;
    uint64_t inflight_bytes, tail_cache_bytes;
    uint64_t topics, partitions, producers, readers, waiting_fetches;
    uint64_t retention_trims, retention_bytes;
};
void core_stats(struct core *co, struct core_stats *s);
/* What memory budgets ask often: produced bytes that are not durable; partitions that readers and
 * fetches follow; bytes that were read for them, or are being, and were not pulled. */
uint64_t core_inflight_bytes(const struct core *co);
uint64_t core_read_parts(const struct core *co);
uint64_t core_held_bytes(const struct core *co);
/* Bytes that were read for queues and not handed out yet; and the most of them that are kept, in
 * all. What one partition reads at once is kept whatever its size: it is the next to be given. */
uint64_t core_ahead_bytes(const struct core *co);
void core_set_ahead(struct core *co, size_t most);

#endif
