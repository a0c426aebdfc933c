/*
 * weir: produce to and consume from a weir broker. This one header is the whole library.
 *
 * Shape. A `weir` handle is one client of one cluster. It owns no thread and there is no global
 * state, no init call and no atexit: everything happens inside the calls you make. Use it blocking
 * (weir_send, weir_next, ... poll inside), or from an event loop (weir_fd, weir_timeout_ms,
 * weir_on_io; ready-made adapters for libev, libuv, libevent and poll in weir/adapters/). Both may
 * be mixed on one handle. Reconnecting with jittered backoff, routing by metadata, resending with
 * deduplication and resubscribing happen inside.
 *
 * Threads. A handle and everything made from it belongs to one thread at a time; different handles
 * are independent. weir_version*, weir_code_name, weir_outcome_name: any thread.
 *
 * Memory. The library copies what you send before the call returns. What you receive is borrowed
 * until weir_done() or weir_close(). A handle is freed by weir_close() only, never behind your
 * back.
 *
 * Errors. Every failure is a weir_error: what happened (code), whether it happened (outcome), a
 * sentence for a person, and when to try again. NULL handles are allowed everywhere and give
 * WEIR_E_MISUSE, so error handling can wait until the end.
 *
 * Caveats. No fork() with an open handle in the child. Signals: the library never installs handlers
 * and never raises SIGPIPE.
 *
 * Builds as C99 and C++11.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/errors.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEIR_API __attribute__((visibility("default")))
#else
#define WEIR_API
#endif

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
#define WEIR_VERSION_NUMBER \
    ((WEIR_VERSION_MAJOR << 16) | (WEIR_VERSION_MINOR << 8) | WEIR_VERSION_PATCH)

/** Version of the library that is running: 0xMMmmpp, and as text. @thread any */
WEIR_API unsigned weir_version_number(void);
WEIR_API const char *weir_version(void);

/* ------------------------------------------------------------------ values */

/** Bytes: a view, never owned. data may be NULL when size is 0; NULL as a key means "no key". */
typedef struct weir_bytes {
    const void *data;
    size_t size;
} weir_bytes;

static inline weir_bytes weir_bytes_of(const void *data, size_t size)
{
    weir_bytes b;
    b.data = data;
    b.size = size;
    return b;
}
/** A NUL-terminated string as bytes. NULL gives "none". */
static inline weir_bytes weir_str(const char *s)
{
    return weir_bytes_of(s, s ? strlen(s) : 0);
}

/** Did it happen? */
typedef enum weir_outcome {
    WEIR_DONE = 0,     /**< it happened (durably, as the topic demands) */
    WEIR_NOT_DONE = 1, /**< it did not happen, and will fail again in the same way */
    WEIR_RETRY = 2,    /**< it did not happen; may work after retry_after_ms */
    WEIR_UNKNOWN = 3   /**< it may have happened: no answer came in time */
} weir_outcome;

/** A result. Returned by value; text always holds one line, also for WEIR_DONE. */
typedef struct weir_error {
    weir_code code;          /**< WEIR_OK, or what went wrong */
    weir_outcome outcome;    /**< did it happen? */
    uint32_t retry_after_ms; /**< for WEIR_RETRY: the broker's advice, 0 = none */
    uint8_t fenced;          /**< 1: this handle (or subscription) was replaced and must stop */
    uint8_t duplicate;       /**< 1: done, by an earlier attempt */
    uint8_t reserved[10];
    char text[232];
} weir_error;

/** "TIMEOUT", "done"; "UNKNOWN_CODE" for a number unknown to this version. Never NULL. @thread any
 */
WEIR_API const char *weir_code_name(weir_code code);
WEIR_API const char *weir_outcome_name(weir_outcome o);

/* ------------------------------------------------------------------ open and close */

/** A client. Opaque. */
typedef struct weir weir;

/**
 * Makes a client. Does no I/O yet: connecting begins with the first call that needs it.
 *
 * @param url      "weir://host[:9347]", several hosts separated by commas, or "weir+unix:///path".
 *                 NULL = $WEIR_URL is NOT read; the default "weir://localhost:9347" is used.
 *                 "?key=value&key=value" may follow.
 * @param options  NULL, or "key=value key=value ..."; the keys are in docs/CLIENT.md: client_id,
 *                 producer (a name that survives restarts: see weir_producer_position), linger_ms,
 *                 batch_bytes, batch_records, compression (none|zstd), buffer_bytes,
 * send_timeout_ms, connect_timeout_ms, reconnect_min_ms, reconnect_max_ms.
 * @return never a failure to check at once: NULL only when out of memory; a bad URL or option makes
 *         every later call fail with WEIR_E_INVALID_CONFIG that names it.
 * @blocks no
 */
WEIR_API weir *weir_open(const char *url, const char *options);

/**
 * Sends what is buffered, waits for its results (callbacks run), closes, frees. NULL allowed.
 * Returns within timeout_ms (0 = at once, buffered sends end with WEIR_E_CLOSED; negative = as long
 * as it takes). Allowed inside a callback: then the handle is freed when the callback has returned.
 * @return WEIR_DONE when nothing was left undone, else the first failure.
 */
WEIR_API weir_error weir_close(weir *w, int timeout_ms);

/** The last error that ended a call on this handle or broke its connection. */
WEIR_API weir_error weir_last_error(const weir *w);

/* ------------------------------------------------------------------ produce */

/** Extra fields of a message to send. Zero it, set size, then what you need. */
typedef struct weir_header {
    weir_bytes name, value;
} weir_header;
typedef struct weir_send_options {
    size_t size;          /**< sizeof(weir_send_options) */
    int32_t partition;    /**< -1 = by key (default of WEIR_SEND_OPTIONS) */
    int64_t timestamp_ms; /**< event time, 0 = now */
    const weir_header *headers;
    size_t n_headers; /**< up to 64, 16 KiB in all */
    int64_t
        delay_ms; /**< > 0: nobody sees the message before that time has passed (366 d at most) */
    int64_t deliver_at_ms; /**< the same as a wall time, ms since 1970; 0 = at once */
} weir_send_options;
#define WEIR_SEND_OPTIONS                               \
    {                                                   \
        sizeof(weir_send_options), -1, 0, NULL, 0, 0, 0 \
    }

/** Where a message went. */
typedef struct weir_receipt {
    weir_error error;
    const char *topic;    /**< borrowed for the callback */
    int32_t partition;    /**< -1 when it never got one */
    int64_t offset;       /**< -1 when unknown (not done, or duplicate whose offset is forgotten) */
    int64_t append_ms;    /**< broker's time, ms since 1970 */
    const char *delay_id; /**< of a delayed message (offset is -1): for weir_schedule_cancel; else
                             NULL; borrowed for the callback */
} weir_receipt;
typedef void (*weir_sent_fn)(void *user, const weir_receipt *r);

/**
 * Sends one message and waits until it is stored as the topic demands (on disk by default).
 *
 * Partition: key given = slot CRC32C(key) mod 1024 in the topic's slot table; no key = sticky, next
 * partition per batch. Resending inside the time is safe: every producer is idempotent.
 * @param key    NULL data = no key; @param value  NULL data = no value (a delete marker)
 * @param timeout_ms  how long to try; negative = send_timeout_ms (30 s)
 * @return outcome DONE: stored. NOT_DONE: unknown topic, too large, fenced ... RETRY: refused for
 *         now (full, overloaded, unreachable and never sent). UNKNOWN: sent, no answer in time.
 * @blocks up to timeout_ms. Inside a callback: WEIR_E_MISUSE.
 */
WEIR_API weir_error weir_send(weir *w, const char *topic, weir_bytes key, weir_bytes value,
                              int timeout_ms);

/**
 * Queues one message; fn(user, receipt) is called exactly once, from a later weir_* call on this
 * handle, never before this one returns. Copies everything.
 * @param o  NULL = WEIR_SEND_OPTIONS; @param fn  NULL = nobody asks (weir_flush still reports)
 * @return WEIR_DONE: queued, fn will come. WEIR_RETRY + WEIR_E_BUFFER_FULL: buffer_bytes are
 * waiting; run the loop (or weir_flush) and try again. Anything but DONE: fn will not be called.
 * @blocks no
 */
WEIR_API weir_error weir_send_async(weir *w, const char *topic, weir_bytes key, weir_bytes value,
                                    const weir_send_options *o, weir_sent_fn fn, void *user);

/** Waits until everything queued has its result. @return DONE, or the first failure since the last
 * flush (TIMEOUT: still waiting). */
WEIR_API weir_error weir_flush(weir *w, int timeout_ms);
/** Bytes queued or unanswered, and how many messages. */
WEIR_API size_t weir_pending_bytes(const weir *w);
WEIR_API size_t weir_pending_messages(const weir *w);

/**
 * For a named producer (option `producer`): the last message that it stored in a partition before
 * this process, so that a restarted program knows where to go on.
 * @param offset[out] -1 when it stored none there.  @blocks up to timeout_ms
 */
WEIR_API weir_error weir_producer_position(weir *w, const char *topic, int32_t partition,
                                           int64_t *offset, int timeout_ms);

/* ------------------------------------------------------------------ consume */

/** A subscription. Opaque; freed by weir_unsubscribe or weir_close. */
typedef struct weir_sub weir_sub;

/** A received message. Made by the library only; fields may be added at the end. */
typedef struct weir_message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /**< producer's */
    int64_t append_ms;    /**< broker's */
    weir_bytes key;       /**< data NULL = none */
    weir_bytes value;
    uint32_t deliveries;    /**< 1 = first time; counts in queue groups, else always 1 */
    weir_bytes raw_headers; /**< read with weir_message_header / weir_message_next_header */
    const char *reason;     /**< queue groups: why the delivery before failed; NULL = none */
} weir_message;

/** What became of a message. */
typedef enum weir_verdict {
    WEIR_ACK = 0,     /**< finished */
    WEIR_NACK = 1,    /**< failed: again later, after the group's backoff */
    WEIR_RELEASE = 2, /**< not tried: again at once, without counting */
    WEIR_DEAD = 3     /**< hopeless: to the dead-letter topic */
} weir_verdict;

/**
 * Starts reading. Without a group (NULL): every message of every partition, from `start`, in order
 * per partition; positions are the caller's business.
 *
 * With a group, joining by name is all there is to do: the broker makes the group, hands out the
 * partitions (log mode) or leases messages (queue mode), and takes them over when a member dies.
 * Log mode: each partition belongs to one member and comes in order; messages given back with
 * weir_done are committed, oldest first, in the background (commit=auto) or by weir_commit.
 * Queue mode: any number of members share all partitions; each message must be given back with a
 * verdict; WEIR_NACK comes again after the group's backoff, too many end in `TOPIC~GROUP~dlq`.
 * No call is needed to stay a member: work as long as you like between two calls.
 *
 * @param topic   one name, or several separated by commas (with a group)
 * @param options NULL, or "key=value ...": start=earliest|latest|OFFSET|@MS (default earliest; in a
 *                group for a new one, no OFFSET), window_bytes (default 4 MiB).
 *                Without a group: partitions=0,3,5 (default all), stop_at_end=1.
 *                With a group: mode=log|queue (default log), member=32 hex digits (default random).
 *                Log: commit=auto|manual, commit_ms (default 1000: pause between commits).
 *                Queue: order=key|none (default none, fixed by the first member), prefetch
 * (messages that may lie here unread; default 16, or what is worked in 50 ms), lease_ms (default:
 * as long as the session, up to the group's max_processing_ms), settle_ms (default 0: verdicts
 * leave at the next weir_* call; more gathers them longer).
 * @return NULL only when out of memory; failures show in weir_next / weir_sub_error.  @blocks no
 */
WEIR_API weir_sub *weir_subscribe(weir *w, const char *topic, const char *group,
                                  const char *options);

/**
 * The next message. Borrowed until weir_done(m); several may be held at once (up to window_bytes:
 * the broker stops sending when they are not given back).
 * @param timeout_ms 0 = only what is here already; negative = for ever
 * @return NULL: timeout, end reached (stop_at_end), weir_stop, or a fatal error: weir_sub_error
 * tells.
 */
WEIR_API const weir_message *weir_next(weir_sub *s, int timeout_ms);
/** Gives a message back. Without a group every verdict only frees it; in log mode WEIR_ACK lets the
 * position pass it and any other verdict stops the subscription at it (it comes again to the next
 * owner). NULL allowed. */
WEIR_API void weir_done(const weir_message *m, weir_verdict v);
/** The same with details. @param delay_ms WEIR_NACK: when it comes again; negative = the group's
 * backoff. @param reason NACK, DEAD: up to 1,024 bytes, shown at the next delivery and in the
 * dead-letter topic; NULL = none. */
WEIR_API void weir_done_with(const weir_message *m, weir_verdict v, int64_t delay_ms,
                             const char *reason);
/** Queue mode: keeps the message, and its lease for ms more (0 = as at the start). */
WEIR_API void weir_extend(const weir_message *m, int64_t ms);
/**
 * Queue mode: waits until every verdict is durable. Log mode: commits what was given back, and
 * waits for it. @return DONE, or the first failure since the last call: WEIR_E_LEASE_LOST (another
 * member may have got the message), WEIR_E_FENCED_MEMBER ...  @blocks up to timeout_ms
 */
WEIR_API weir_error weir_commit(weir_sub *s, int timeout_ms);

/** Callback style: fn gets each message from inside weir_on_io and blocking weir_* calls instead of
 * weir_next; it owes a weir_done, now or later. NULL = back to weir_next. */
typedef void (*weir_message_fn)(void *user, weir_sub *s, const weir_message *m);
WEIR_API void weir_on_message(weir_sub *s, weir_message_fn fn, void *user);
/** Log mode: fn hears which partitions came and which go. For those that go, messages not yet given
 * back may still be: what is done when fn returns is committed before the partition leaves (not
 * with commit=manual). When the broker dropped the member (weir_commit then tells FENCED_MEMBER),
 * all are lost already and giving back does nothing. */
typedef struct weir_partition_ref {
    const char *topic; /**< borrowed for the callback */
    int32_t partition;
    int64_t offset; /**< gained: where it goes on */
} weir_partition_ref;
typedef void (*weir_assignment_fn)(void *user, weir_sub *s, const weir_partition_ref *gained,
                                   size_t n_gained, const weir_partition_ref *lost, size_t n_lost);
WEIR_API void weir_on_assignment(weir_sub *s, weir_assignment_fn fn, void *user);
/** Queue mode: fn hears of every verdict that could not be kept (WEIR_E_LEASE_LOST ...). */
typedef void (*weir_unsettled_fn)(void *user, weir_sub *s, const char *topic, int32_t partition,
                                  int64_t offset, const weir_error *e);
WEIR_API void weir_on_unsettled(weir_sub *s, weir_unsettled_fn fn, void *user);
/** The fencing token: the member's epoch, for use in systems beyond the broker; 0 = not joined. */
WEIR_API uint64_t weir_sub_epoch(const weir_sub *s);
/** Why weir_next returned NULL: WEIR_OK (stopped, or end reached), WEIR_E_TIMEOUT (nothing came),
 * or the fatal error: WEIR_E_OFFSET_OUT_OF_RANGE (names what was lost), WEIR_E_UNKNOWN_TOPIC, ...
 */
WEIR_API weir_error weir_sub_error(const weir_sub *s);
/** True when every partition was read to the high watermark that the broker last told. */
WEIR_API int weir_sub_at_end(const weir_sub *s);
/** Offsets: next to be handed out, and the high watermark last seen (-1 unknown). */
WEIR_API weir_error weir_sub_position(const weir_sub *s, int32_t partition, int64_t *next,
                                      int64_t *high);
/** Makes weir_next return NULL from now on. Safe in callbacks and signal handlers. */
WEIR_API void weir_stop(weir_sub *s);
/** Ends the subscription and frees it and all its messages. NULL allowed. In a group: sends what
 * was given back, releases what was not (no penalty), leaves the group; nothing is waited for (call
 * weir_commit before to be sure; weir_close waits). */
WEIR_API void weir_unsubscribe(weir_sub *s);

/** A header of a message by name; data NULL when absent. */
WEIR_API weir_bytes weir_message_header(const weir_message *m, const char *name);
/** Walks all headers: start with *pos = 0; returns 0 at the end. */
WEIR_API int weir_message_next_header(const weir_message *m, size_t *pos, weir_bytes *name,
                                      weir_bytes *value);

/* ------------------------------------------------------------------ event loops */

/**
 * Pull API. One file descriptor stands for the client: it stays the same over reconnects, and is
 * readable when there is something to do. Loop: wait for weir_fd() to become readable or
 * weir_timeout_ms() to pass, call weir_on_io(), then take messages with weir_next(s, 0).
 */
WEIR_API int weir_fd(const weir *w);
/** Milliseconds until weir_on_io wants to be called though nothing is readable; -1 = never. */
WEIR_API int weir_timeout_ms(const weir *w);
/** Does all I/O that is possible now and runs callbacks. Never blocks. */
WEIR_API void weir_on_io(weir *w);
/** Called (from inside weir_* calls) when weir_timeout_ms() may have become earlier. For adapters.
 */
WEIR_API void weir_set_wakeup(weir *w, void (*fn)(void *arg), void *arg);

/** Log lines of the library: silent unless set. level 0 = error ... 3 = debug. */
WEIR_API void weir_set_log(weir *w, void (*fn)(void *arg, int level, const char *line), void *arg);

/* ------------------------------------------------------------------ administration */

/* All block up to timeout_ms (negative = 30 s). */

/** A topic as the broker describes it. Opaque; free with weir_topic_free. */
typedef struct weir_topic weir_topic;
typedef struct weir_partition_info {
    int32_t partition;
    uint32_t epoch;
    int64_t log_start, high_watermark; /**< offsets [log_start, high_watermark) can be read */
    uint64_t bytes;                    /**< stored */
    int64_t last_append_ms;            /**< 0 = nothing there */
} weir_partition_info;

enum { WEIR_DRY_RUN = 1 }; /**< flag: check and describe, change nothing */

/** @param config NULL, or "partitions=8 retention=7d ..."; keys: weir_topic_config_keys().
 *  @param out    NULL, or gets the topic as it is (or would be). */
WEIR_API weir_error weir_topic_create(weir *w, const char *name, const char *config, unsigned flags,
                                      weir_topic **out, int timeout_ms);
WEIR_API weir_error weir_topic_alter(weir *w, const char *name, const char *config, unsigned flags,
                                     weir_topic **out, int timeout_ms);
/** @param bytes NULL, or gets the bytes that become free. */
WEIR_API weir_error weir_topic_delete(weir *w, const char *name, unsigned flags, uint64_t *bytes,
                                      int timeout_ms);
WEIR_API weir_error weir_topic_describe(weir *w, const char *name, weir_topic **out,
                                        int timeout_ms);
/** Calls fn for every topic, by name; the topic is borrowed for the call (no partition details). */
WEIR_API weir_error weir_topic_list(weir *w, void (*fn)(void *user, const weir_topic *t),
                                    void *user, int timeout_ms);
WEIR_API const char *weir_topic_name(const weir_topic *t);
WEIR_API uint64_t weir_topic_id(const weir_topic *t);
WEIR_API int64_t weir_topic_created_ms(const weir_topic *t); /**< 0 in listings */
WEIR_API int32_t weir_topic_partitions(const weir_topic *t);
/** @return 0, or -1: no such partition, or not described. */
WEIR_API int weir_topic_partition(const weir_topic *t, int32_t partition, weir_partition_info *out);
/** A configuration value as text ("604800000", "disk"); NULL when the key is unknown. */
WEIR_API const char *weir_topic_config(const weir_topic *t, const char *key);
WEIR_API void weir_topic_free(weir_topic *t);
/** Names of all configuration keys, NULL at the end. @thread any */
WEIR_API const char *const *weir_topic_config_keys(void);

/* ---- groups ---- */

typedef struct weir_group_info {
    const char *name;
    const char *mode;  /**< "log" or "queue" */
    const char *state; /**< "active", "empty", "paused", "blocked: in-flight limit", ... */
    uint32_t members, partitions;
    uint64_t lag_messages, lag_ms; /**< not yet consumed, and the age of the oldest of them */
    uint64_t in_flight;
} weir_group_info;
typedef struct weir_group_member_info {
    const char *member, *client, *address; /**< member: 32 hex digits */
    uint64_t epoch, in_flight;
    uint32_t partitions;
    int64_t since_ms;
    int away; /**< its connection is lost; it is waited for */
} weir_group_member_info;
typedef struct weir_group_partition_info {
    const char *topic;
    int32_t partition;
    const char *owner;      /**< member; NULL = nobody (or queue mode) */
    int64_t position, next; /**< committed offset or floor; first never handed out */
    int64_t log_start, high_watermark;
    uint64_t lag_messages, lag_ms, in_flight, retrying;
    uint64_t oldest_lease_ms;  /**< age of the oldest lease */
    const char *oldest_holder; /**< its member; NULL = no lease */
} weir_group_partition_info;
/** A group as the broker describes it. Opaque; free with weir_group_free. */
typedef struct weir_group weir_group;

/** Calls fn for every group, by name; borrowed for the call. */
WEIR_API weir_error weir_group_list(weir *w, void (*fn)(void *user, const weir_group_info *info),
                                    void *user, int timeout_ms);
WEIR_API weir_error weir_group_describe(weir *w, const char *group, weir_group **out,
                                        int timeout_ms);
WEIR_API const weir_group_info *weir_group_get_info(const weir_group *g);
WEIR_API int64_t weir_group_created_ms(const weir_group *g);
/** i-th member or partition; NULL past the last. Borrowed from g. */
WEIR_API const weir_group_member_info *weir_group_member(const weir_group *g, size_t i);
WEIR_API const weir_group_partition_info *weir_group_partition(const weir_group *g, size_t i);
/** A setting as text; NULL when the key is unknown. */
WEIR_API const char *weir_group_config(const weir_group *g, const char *key);
WEIR_API void weir_group_free(weir_group *g);
/** Names of all settings, NULL at the end. @thread any */
WEIR_API const char *const *weir_group_config_keys(void);
/** @param config "max_rate=500 max_deliver=5 paused_until=0 ..."; WEIR_DRY_RUN allowed.
 *  @param out NULL, or gets the group as it is afterwards. */
WEIR_API weir_error weir_group_alter(weir *w, const char *group, const char *config, unsigned flags,
                                     weir_group **out, int timeout_ms);
enum { WEIR_FORCE = 2 }; /**< flag: even though members are live; they are fenced */
WEIR_API weir_error weir_group_delete(weir *w, const char *group, unsigned flags, int timeout_ms);
/** Moves positions. All or nothing. @param to offsets within [log start, high watermark]; `from` is
 * filled with the old positions. Flags: WEIR_DRY_RUN, WEIR_FORCE. */
typedef struct weir_seek {
    const char *topic;
    int32_t partition;
    int64_t to, from;
} weir_seek;
WEIR_API weir_error weir_group_seek(weir *w, const char *group, weir_seek *seeks, size_t n,
                                    unsigned flags, int timeout_ms);

/* ---- dead letters: topics called TOPIC~GROUP~dlq, read them like any other ---- */

/** What is still there of one partition: state 0 = dead, 1 = redriven and waiting, 2 = with a
 * worker.
 */
WEIR_API weir_error weir_dlq_list(weir *w, const char *dlq_topic, int32_t partition,
                                  void (*fn)(void *user, int64_t first, int64_t last, int state),
                                  void *user, int timeout_ms);
typedef struct weir_span {
    int32_t partition;
    int64_t first, last; /**< inclusive */
} weir_span;
/** Gives dead messages back to their group, `rate` a second (0 = 100). Safe to repeat. */
WEIR_API weir_error weir_dlq_redrive(weir *w, const char *dlq_topic, const weir_span *spans,
                                     size_t n, uint32_t rate, unsigned flags, uint64_t *moved,
                                     uint64_t *skipped, int timeout_ms);
WEIR_API weir_error weir_dlq_purge(weir *w, const char *dlq_topic, const weir_span *spans, size_t n,
                                   unsigned flags, uint64_t *moved, uint64_t *skipped,
                                   int timeout_ms);

/* ---- delayed messages ---- */

enum { WEIR_CANCELLED = 0, WEIR_DELIVERED = 1, WEIR_NOT_SCHEDULED = 2 };
/** @param ids from weir_receipt.delay_id or weir_schedule_list; status[i] as above. */
WEIR_API weir_error weir_schedule_cancel(weir *w, const char *topic, const char *const *ids,
                                         size_t n, int *status, int timeout_ms);
typedef struct weir_scheduled {
    const char *id; /**< of a batch; its messages are id.0, id.1 ... in the order sent; the numbers
                        of cancelled ones stay free */
    int32_t partition;
    int64_t due_ms;
    uint32_t messages, bytes;
} weir_scheduled;
/** Calls fn for what waits, in order of due time, until it returns 0. */
WEIR_API weir_error weir_schedule_list(weir *w, const char *topic,
                                       int (*fn)(void *user, const weir_scheduled *s), void *user,
                                       int timeout_ms);

#define WEIR_OFFSET_START (-1) /**< log start */
#define WEIR_OFFSET_END (-2)   /**< high watermark */
/** @param spec WEIR_OFFSET_START, WEIR_OFFSET_END, or >= 0: first offset appended at or after that
 *  time (ms). @param append_ms NULL, or its append time (0 at the end). */
WEIR_API weir_error weir_offset(weir *w, const char *topic, int32_t partition, int64_t spec,
                                int64_t *offset, int64_t *append_ms, int timeout_ms);

/** Round trip to the broker. @param rtt_us NULL, or how long it took. */
WEIR_API weir_error weir_ping(weir *w, int64_t *rtt_us, int timeout_ms);
/** Server's name and version, cluster id (hex), broker id; valid until the handle closes; "" before
 * a connection was made. */
WEIR_API const char *weir_server_version(const weir *w);
WEIR_API const char *weir_server_cluster(const weir *w);
/** Calls fn for every metric whose name starts with prefix (NULL = all). label may be "". */
WEIR_API weir_error weir_metrics(weir *w, const char *prefix,
                                 void (*fn)(void *user, const char *name, const char *label,
                                            const char *label_value, uint64_t value),
                                 void *user, int timeout_ms);

typedef struct weir_connection_info {
    uint64_t id;
    const char *client;    /**< "name/version"; "" = has not said HELLO yet */
    const char *address;   /**< "HOST:PORT" or "unix" */
    const char *state;     /**< "fresh", "ready", "ending" */
    const char *waits_for; /**< the limit it is held up by ("inflight", ...); "" = none */
    uint64_t age_ms, idle_ms;
    uint64_t requests, request_bytes; /**< without an answer yet */
    uint64_t subscriptions, members;
    uint64_t bytes_in;     /**< since it was opened */
    uint64_t output_bytes; /**< that it has not taken yet */
} weir_connection_info;
/** Calls fn for every connection of the server, in order of age, until it returns 0. They are asked
 * for page by page: one that opens or closes meanwhile may be missing. */
WEIR_API weir_error weir_server_connections(weir *w,
                                            int (*fn)(void *user, const weir_connection_info *info),
                                            void *user, int timeout_ms);
typedef struct weir_setting_info {
    const char *key, *value; /**< value: as a line of the settings file would have it */
    const char *source;      /**< "default", "FILE:LINE", "WEIR_KEY" or "--key" */
    int reloads;             /**< SIGHUP takes a new value while the server runs */
} weir_setting_info;
/** Calls fn for every setting of the server. */
WEIR_API weir_error weir_server_config(weir *w,
                                       void (*fn)(void *user, const weir_setting_info *info),
                                       void *user, int timeout_ms);

typedef struct weir_backup_info {
    char path[4096];       /**< on the server's host */
    uint64_t files, bytes; /**< of the backup; most are links to files of the store */
    int64_t created_ms;    /**< Unix time; everything acknowledged before is in it */
    uint64_t took_ms;
} weir_backup_info;
/** Has the server make a backup of its store, in the folder `backups` of its data directory. name:
 * 1 to 64 of A-Z a-z 0-9 _ -, not beginning with a dash; NULL: the server takes the UTC time.
 * info: filled in when the outcome is WEIR_DONE; may be NULL. EXISTS: there is one of that name. */
WEIR_API weir_error weir_backup_create(weir *w, const char *name, weir_backup_info *info,
                                       int timeout_ms);

#ifdef __cplusplus
}
#endif
#endif
