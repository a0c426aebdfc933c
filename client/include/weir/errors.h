#ifndef WEIR_ERRORS_H
#define WEIR_ERRORS_H
/* Error codes. Numbers below 200 are those of the wire (docs/PROTOCOL.md); none is ever reused. */

typedef enum weir_code {
    WEIR_OK = 0,
    WEIR_E_UNSUPPORTED_PROTO = 1, /* broker speaks another protocol version */
    WEIR_E_MALFORMED = 2,         /* a frame broke the rules */
    WEIR_E_UNKNOWN_OP = 3,        /* broker does not know the operation */
    WEIR_E_UNSUPPORTED_FIELD = 4, /* broker does not know an argument or option */
    WEIR_E_TOO_LARGE = 5,         /* over a limit, named in the text */
    WEIR_E_AUTH_REQUIRED = 6,
    WEIR_E_AUTH_FAILED = 7,
    WEIR_E_DENIED = 8,
    WEIR_E_THROTTLED = 9,      /* over a quota: wait retry_after_ms */
    WEIR_E_OVERLOADED = 10,    /* wait retry_after_ms */
    WEIR_E_SHUTTING_DOWN = 11, /* reconnect */
    WEIR_E_TIMEOUT = 12,       /* no answer in time: may have happened */
    WEIR_E_STORAGE_FULL = 13,  /* disk full: wait retry_after_ms */
    WEIR_E_INDETERMINATE = 14, /* storage failed while writing: may have happened */
    WEIR_E_INTERNAL = 15,      /* may have happened */
    WEIR_E_NOT_OWNER = 16,
    WEIR_E_STALE_EPOCH = 17,
    WEIR_E_DEADLINE = 18,
    WEIR_E_UNKNOWN_TOPIC = 20,
    WEIR_E_CORRUPT_BATCH = 21,
    WEIR_E_OUT_OF_ORDER_SEQ = 22,    /* fenced */
    WEIR_E_UNKNOWN_PRODUCER = 23,    /* fenced */
    WEIR_E_PRODUCER_FENCED = 24,     /* another process took the producer's name */
    WEIR_E_DUP_UNKNOWN_OFFSET = 25,  /* done before; the offset is forgotten */
    WEIR_E_OFFSET_OUT_OF_RANGE = 26, /* below the log start, or above the end */
    WEIR_E_DIVERGED = 27,
    WEIR_E_EXISTS = 28,
    WEIR_E_INVALID_CONFIG = 29,
    WEIR_E_CONDITION_FAILED = 30,
    WEIR_E_REREGISTER = 31,
    WEIR_E_RETENTION_HELD = 32,
    WEIR_E_UNKNOWN_MEMBER = 40,
    WEIR_E_FENCED_MEMBER = 41,
    WEIR_E_NOT_ASSIGNED = 42,
    WEIR_E_GROUP_MODE = 43,
    WEIR_E_GROUP_BUSY = 44,
    WEIR_E_LEASE_LOST = 45,
    WEIR_E_UNKNOWN_SUB = 46,
    WEIR_E_UNKNOWN_GROUP = 47,
    /* local to the library */
    WEIR_E_IO = 200,
    WEIR_E_NOMEM = 201,
    WEIR_E_CORRUPT = 202,        /* received data that fails its checksum or breaks the rules */
    WEIR_E_CLOSED = 207,         /* the handle was closed before an answer */
    WEIR_E_UNREACHABLE = 208,    /* no connection: nothing was sent */
    WEIR_E_MISUSE = 209,         /* the call breaks this header's contract */
    WEIR_E_BUFFER_FULL = 210,    /* buffer_bytes are waiting */
    WEIR_E_CONNECTION_LOST = 212 /* connection lost before the answer: may have happened */
} weir_code;

#endif
