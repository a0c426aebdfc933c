#ifndef WEIR_BENCH_PEERS_PEER_H
#define WEIR_BENCH_PEERS_PEER_H
/*
 * What the load program needs from a client of a broker. One driver per client library, one file
 * each; the measuring code is the same for all and knows this header only.
 *
 * A connection belongs to one thread. Events are called from inside poll() and wait() only, also by
 * drivers whose library has threads of its own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_ERROR_BYTES = 256 };

/** How messages are read. */
enum peer_mode {
    PEER_READ = 1,  /* everything in order, no state at the broker */
    PEER_LOG = 2,   /* a group that keeps positions; members share the partitions */
    PEER_QUEUE = 4, /* a group of competing members; each message is given back by its own call */
};

/** The same for all connections of one run. Texts live as long as the run. */
struct peer_options {
    const char *address; /* HOST:PORT */
    const char *topic;   /* name of the stream, topic or queue */
    const char *group;
    unsigned partitions;
    unsigned window;   /* at most this many messages of a connection without an answer */
    unsigned prefetch; /* queue mode: at most this many messages at a member */
    unsigned members;  /* of this group */
    bool unbatched;    /* one message at a time: window is 1 */
    bool prompt;       /* what counts is latency: nothing waits for company */
    const char *more;  /* "key=value key=value": for this driver alone */
};

/** A message to give back; what is in it is the driver's business. */
struct peer_handle {
    uint64_t a, b;
};

struct peer_events {
    void *user;
    /** The message sent with `stamp` was acknowledged, or (not ok) was refused or lost. */
    void (*acked)(void *user, int64_t stamp, bool ok);
    /** Borrowed for the call. In queue mode the receiver owes one settle() for the handle. */
    void (*message)(void *user, const void *data, size_t size, const struct peer_handle *h);
};

enum peer_sent { PEER_SENT, PEER_FULL, PEER_FAILED };

/** A connection; each driver has a struct of its own that begins with this one. */
struct peer_conn {
    const struct peer_options *o;
    struct peer_events on;
    char error[PEER_ERROR_BYTES]; /* the first failure; empty = none */
};

struct peer_driver {
    const char *name;
    unsigned modes; /* set of peer_mode */
    bool many;      /* fd() works: one thread can serve many connections */
    /** Makes the topic (or stream, queue ...), and the group when o->group is set. @return 0, or
     * -1 with a sentence in err */
    int (*setup)(const struct peer_options *o, char *err);
    /** A connection, used once where the protocol has something to ask. @return NULL: no memory; a
     * failure is in error. */
    struct peer_conn *(*open)(const struct peer_options *o, const struct peer_events *on);
    /** Makes the connection now, where open() does not. NULL allowed. @return 0 or -1 */
    int (*connect)(struct peer_conn *c);
    /** Queues one message. FULL: poll first. The value is copied or sent before it returns. */
    enum peer_sent (*send)(struct peer_conn *c, const void *value, size_t size, int64_t stamp);
    /** Nothing more comes for now: what is gathered may go. NULL allowed. */
    void (*push)(struct peer_conn *c);
    /** Does all I/O that is possible now and calls the events. @return 0, or -1: see error */
    int (*poll)(struct peer_conn *c);
    /** Sleeps until there may be something for poll(), or until a monotonic time. */
    void (*wait)(struct peer_conn *c, int64_t until_ns);
    int (*fd)(struct peer_conn *c);
    /** Starts reading from the oldest message; at the end of what is there now when `tail`.
     * `member` counts from 0. @return 0 or -1 */
    int (*subscribe)(struct peer_conn *c, enum peer_mode mode, unsigned member, bool tail);
    /** Gives a message back as finished: one call, one message. */
    int (*settle)(struct peer_conn *c, const struct peer_handle *h);
    /** Waits until everything given back (queue) or handed out (log) is stored. @return 0 or -1 */
    int (*commit)(struct peer_conn *c);
    /** NULL allowed. */
    void (*close)(struct peer_conn *c);
    /** Name and version of the client library. */
    void (*version)(char *out, size_t size);
};

/** Those that were compiled in, NULL at the end. */
const struct peer_driver *const *peer_drivers(void);

/** Keeps the first failure. @return -1 */
__attribute__((format(printf, 2, 3))) int peer_fail(struct peer_conn *c, const char *format, ...);
/** A key of o->more as text, or the fallback, into out. @return out */
const char *peer_option(const struct peer_options *o, const char *key, const char *fallback,
                        char *out, size_t size);
/** Splits HOST:PORT. @return 0, or -1 */
int peer_address(const char *address, char *host, size_t size, unsigned *port);
/** A connected TCP socket without delay, or -1 with a sentence in err. */
int peer_connect(const char *address, char *err);
/** Waits for a descriptor. @param events of poll(2) */
void peer_wait_fd(int fd, short events, int64_t until_ns);
/** Monotonic clock. */
int64_t peer_now_ns(void);
/** Wall clock, milliseconds since 1970. */
int64_t peer_wall_ms(void);

#endif
