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
} weir_send_options;
#define WEIR_SEND_OPTIONS                         \
    {                                             \
        sizeof(weir_send_options), -1, 0, NULL, 0 \
    }

/** Where a message went. */
typedef struct weir_receipt {
    weir_error error;
    const char *topic; /**< borrowed for the callback */
    int32_t partition; /**< -1 when it never got one */
    int64_t offset;    /**< -1 when unknown (not done, or duplicate whose offset is forgotten) */
    int64_t append_ms; /**< broker's time, ms since 1970 */
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
} weir_message;

/** What became of a message. */
typedef enum weir_verdict {
    WEIR_ACK = 0,     /**< finished */
    WEIR_NACK = 1,    /**< failed: again later, after the group's backoff */
    WEIR_RELEASE = 2, /**< not tried: again at once, without counting */
    WEIR_DEAD = 3     /**< hopeless: to the dead-letter topic */
} weir_verdict;

/**
 * Starts reading a topic. Without a group (NULL): every message of every partition, from `start`,
 * in order per partition; positions are the caller's business. Groups are not available in this
 * version: a name gives WEIR_E_UNKNOWN_OP at the first weir_next.
 * @param options NULL, or "key=value ...": start=earliest|latest|OFFSET|@MS (default earliest),
 *                partitions=0,3,5 (default all), window_bytes (default 4 MiB), stop_at_end=1
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
/** Gives a message back. Without a group every verdict only frees it. NULL allowed. */
WEIR_API void weir_done(const weir_message *m, weir_verdict v);
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
/** Ends the subscription and frees it and all its messages. NULL allowed. */
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

#ifdef __cplusplus
}
#endif
#endif
