#ifndef WEIR_PROTO_ERROR_H
#define WEIR_PROTO_ERROR_H
/*
 * The one error vocabulary. A code answers "what happened", its class answers "did it happen?".
 * Codes below 200 are wire contract: never renumbered, never reused (docs/PROTOCOL.md).
 * Codes from 200 are local to one process and never travel.
 */
#include <stdbool.h>
#include <stdint.h>

#define WEIR_NODISCARD __attribute__((warn_unused_result))
#define WEIR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Wire classes. Their numbers are wire contract. */
enum werr_class {
    WCLASS_NEVER = 0,   /* not executed, will fail again */
    WCLASS_RETRY = 1,   /* not executed, try again after retry_after_ms */
    WCLASS_UNKNOWN = 2, /* may have been executed */
    WCLASS_REFRESH = 3, /* not executed: learn the new owner or epoch, then retry */
    WCLASS_FENCED = 4,  /* not executed: this producer or member must stop and register anew */
};

/* clang-format off */
/*  X(NAME, number, class, text) */
#define WERR_TABLE(X)                                                                              \
    X(UNSUPPORTED_PROTO,   1, NEVER,   "protocol version not supported")                           \
    X(MALFORMED,           2, NEVER,   "malformed frame")                                          \
    X(UNKNOWN_OP,          3, NEVER,   "unknown operation")                                        \
    X(UNSUPPORTED_FIELD,   4, NEVER,   "argument or option not supported")                         \
    X(TOO_LARGE,           5, NEVER,   "over a limit")                                             \
    X(AUTH_REQUIRED,       6, NEVER,   "authentication required")                                  \
    X(AUTH_FAILED,         7, NEVER,   "authentication failed")                                    \
    X(DENIED,              8, NEVER,   "not allowed")                                              \
    X(THROTTLED,           9, RETRY,   "over a rate quota")                                        \
    X(OVERLOADED,         10, RETRY,   "broker is overloaded")                                     \
    X(SHUTTING_DOWN,      11, RETRY,   "broker is shutting down")                                  \
    X(TIMEOUT,            12, UNKNOWN, "no answer in time")                                        \
    X(STORAGE_FULL,       13, RETRY,   "disk is full")                                             \
    X(INDETERMINATE,      14, UNKNOWN, "storage failed while writing")                             \
    X(INTERNAL,           15, UNKNOWN, "internal error")                                           \
    X(NOT_OWNER,          16, REFRESH, "another broker owns this partition")                       \
    X(STALE_EPOCH,        17, REFRESH, "stale epoch")                                              \
    X(DEADLINE,           18, RETRY,   "deadline passed before the work began")                    \
    X(UNKNOWN_TOPIC,      20, REFRESH, "unknown topic or partition")                               \
    X(CORRUPT_BATCH,      21, NEVER,   "corrupt record batch")                                     \
    X(OUT_OF_ORDER_SEQ,   22, FENCED,  "sequence gap")                                             \
    X(UNKNOWN_PRODUCER,   23, FENCED,  "unknown producer")                                         \
    X(PRODUCER_FENCED,    24, FENCED,  "producer was fenced by a newer one")                       \
    X(DUP_UNKNOWN_OFFSET, 25, NEVER,   "stored before, offset forgotten")                          \
    X(OFFSET_OUT_OF_RANGE,26, NEVER,   "offset out of range")                                      \
    X(DIVERGED,           27, NEVER,   "the log diverged after this epoch")                        \
    X(EXISTS,             28, NEVER,   "exists already")                                           \
    X(INVALID_CONFIG,     29, NEVER,   "invalid configuration")                                    \
    X(CONDITION_FAILED,   30, NEVER,   "condition not met")                                        \
    X(REREGISTER,         31, FENCED,  "producer is ahead of the log after a crash: register anew")\
    X(RETENTION_HELD,     32, RETRY,   "unread data fills the topic's hold budget")                \
    X(UNKNOWN_MEMBER,     40, FENCED,  "unknown member")                                           \
    X(FENCED_MEMBER,      41, FENCED,  "member was fenced")                                        \
    X(NOT_ASSIGNED,       42, NEVER,   "partition not assigned to this member")                    \
    X(GROUP_MODE,         43, NEVER,   "group has another mode")                                   \
    X(GROUP_BUSY,         44, NEVER,   "group has live members")                                   \
    X(LEASE_LOST,         45, NEVER,   "lease lost")                                               \
    X(UNKNOWN_SUB,        46, NEVER,   "unknown subscription")                                     \
    X(UNKNOWN_GROUP,      47, NEVER,   "unknown group")                                            \
    X(IO,                200, UNKNOWN, "input/output error")                                       \
    X(NOMEM,             201, NEVER,   "out of memory")                                            \
    X(CORRUPT,           202, NEVER,   "corrupt data")                                             \
    X(FORMAT_NEWER,      203, NEVER,   "written by a newer version")                               \
    X(LOCKED,            204, NEVER,   "in use by another process")                                \
    X(DATA_LOSS,         205, NEVER,   "acknowledged data is missing")                             \
    X(AGAIN,             206, RETRY,   "not yet")                                                  \
    X(CLOSED,            207, NEVER,   "closed")                                                   \
    X(UNREACHABLE,       208, RETRY,   "server cannot be reached")                                 \
    X(MISUSE,            209, NEVER,   "called in a way its contract forbids")                     \
    X(BUFFER_FULL,       210, RETRY,   "local buffer is full")                                     \
    X(NOT_FOUND,         211, NEVER,   "not found")                                                \
    X(CONNECTION_LOST,   212, UNKNOWN, "connection lost before the answer")
/* clang-format on */

enum werr {
    WERR_OK = 0,
#define X(name, num, cls, text) WERR_##name = (num),
    WERR_TABLE(X)
#undef X
};

/* Room for a person's message. The owner is the caller; nothing here allocates. */
struct werror {
    enum werr code;
    int sys_errno;           /* 0, or the errno that caused it */
    uint32_t retry_after_ms; /* only for class RETRY, 0 = caller's choice */
    char text[256];          /* one line, names the thing, the limit and the value */
};

/* "UNKNOWN_TOPIC"; "UNKNOWN_CODE" for a number that this build does not know. Never NULL. */
const char *werr_name(enum werr code);
/* Default text of a code. Never NULL. */
const char *werr_text(enum werr code);
/* Class of a known code; WCLASS_UNKNOWN for an unknown one. */
enum werr_class werr_class(enum werr code);

/*
 * Fills *e (NULL allowed) and returns code, so that `return werror_set(e, ...)` reads well.
 * The text is cut to fit. Keeps errno out: pass it in the text (strerror) and in e->sys_errno.
 */
enum werr werror_set(struct werror *e, enum werr code, const char *fmt, ...) WEIR_PRINTF(3, 4);
/* Puts "prefix: " before the text that *e has. One call per layer. Returns e->code. */
enum werr werror_wrap(struct werror *e, const char *fmt, ...) WEIR_PRINTF(2, 3);

#endif
