#ifndef WEIR_BROKER_CONN_H
#define WEIR_BROKER_CONN_H
/*
 * A connection: socket, input, output, and what it has in flight. Loop thread only.
 *
 * Life: conn_open -> (frames) -> conn_close marks it and shuts the socket; memory goes once no
 * request refers to it any more and no callback of it is on the stack (the server's reap, from the
 * loop's prepare). conn_end goes there by way of ENDING (the queue is flushed) and LINGERING (our
 * side is shut; what the peer still sends is read and dropped, because closing on unread input
 * makes the kernel send a reset that can overtake the last words).
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "proto/buf.h"
#include "proto/frame.h"

struct server;
struct sub;
struct fetch;
struct seat;
struct acquire;

enum {
    CONN_PIECE_MAX = 1 << 20,     /* about so much is given at once */
    CONN_OUTPUT_LEAST = 64 << 10, /* so much may wait for it when the budget of all is used up */
    CONN_SMALL_FRAME = 16 << 10,  /* larger frames are read straight into a blob of their own */
    CONN_TURN_FRAMES = 64,        /* fairness: so much input per turn of the loop */
    CONN_TURN_BYTES = 256 << 10,
    CONN_COPY_BYTES = 4 << 10,    /* output pieces up to this are copied, larger ones referred to */
    CONN_STUCK_BYTES = 16 << 10,  /* who takes less than that while it is stuck takes nothing */
    CONN_STUCK_OUT_MS = 5 * 1000, /* stuck_ms, at most, while the memory of all is used up */
    CONN_ENDING_MS = 10 * 1000,   /* time to take the last words */
    CONN_LINGER_MS = 2 * 1000,    /* time to notice that we have shut our side */
};

/* Why connections end, as logs and metrics name it; conn_close takes one of them. */
enum { CONN_CLOSED_REASONS = 10 };
const char *conn_closed_reason(unsigned i);

enum conn_state {
    CONN_FRESH, /* nothing but HELLO (and PING) allowed */
    CONN_READY,
    CONN_ENDING,    /* flush what is queued, then linger */
    CONN_LINGERING, /* shut for sending; reads and drops until the peer closes, or a deadline */
    CONN_CLOSED,
};

/* Output that is not in `ctl` yet or any more. */
struct out_segment {
    struct bytes data;
};

struct conn {
    uint32_t magic;
    struct server *srv;
    int fd;
    enum conn_state state;
    ev_io io;
    uint64_t id;
    struct sockaddr_storage peer;
    bool counted;            /* in the per-address table */
    int64_t opened_mono_ns;  /* of ENDING and LINGERING: when that began */
    int64_t stuck_mono_ns;   /* its socket takes nothing since then, or next to nothing; 0 = it
                                does, or has to take nothing */
    size_t stuck_taken;      /* bytes, since then */
    int64_t heard_mono_ns;   /* its last bytes came then */
    int64_t half_mono_ns;    /* the request that lies in `in` began then; 0 = there is none */
    int64_t unheard_mono_ns; /* something was sent then, and nothing heard since; 0 = no */
    bool active;             /* since the last look of conn_sweep */
    char client[72];         /* name and version from HELLO, for logs */

    struct buf in;     /* small frames, back to back */
    size_t in_at;      /* parsed up to here */
    size_t in_counted; /* of in.cap, in the server's count */
    struct blob *big;  /* a large frame being read; counts in the server's budget */
    size_t big_have, big_total, big_seen;
    int64_t big_moved_mono_ns; /* it grew by a step then: big_seen */
    uint64_t in_total;         /* bytes read since open */

    struct out_segment *out; /* queue: out[out_head .. out_tail) */
    size_t out_head, out_tail, out_cap;
    size_t out_bytes;   /* in segments; conn_queued() adds ctl */
    struct buf ctl;     /* control bytes behind the segments */
    size_t ctl_counted; /* of ctl.len, in the server's count of output */
    size_t held_bytes;  /* read for it from the store, or being read */

    unsigned inflight; /* requests without an answer */
    size_t inflight_bytes;
    unsigned refs; /* requests that point here */
    bool dirty, blocked;
    bool dead_listed; /* on srv->dead: the next reap looks at it */
    bool shed;        /* closed, and all it held but requests in flight is gone */
    bool starved;     /* its next frame is a PRODUCE and the core takes none */
    bool hungry;      /* waits for the budget of large frames */
    bool stopped;     /* its socket is not read */
    bool again;       /* input lies here that its turn did not cover */

    LIST_HEAD(, sub) subs;
    LIST_HEAD(, fetch) fetches;    /* that wait */
    LIST_HEAD(, seat) seats;       /* members of groups */
    LIST_HEAD(, acquire) acquires; /* that wait */
    unsigned n_subs, n_seats;
    TAILQ_ENTRY(conn) all, dirty_link, dead_link, starved_link, hungry_link, again_link, big_link;
};

/* Takes fd. */
struct conn *conn_open(struct server *srv, int fd, const struct sockaddr_storage *peer);
/* At once; answers that come later are dropped. Safe from anywhere, twice too. */
void conn_close(struct conn *c, const char *why);
/* Once the output is flushed. */
void conn_end(struct conn *c);
/*
 * For the server's reap, when no callback is on the stack: a closed connection lets go of
 * everything, and is freed once no request in flight refers to it.
 */
void conn_reap(struct conn *c);
/*
 * Once a second for every connection: closes those that said no HELLO in time, that do not take
 * their last words, that take nothing for a minute while the budget of output is used up, or whose
 * peer is dead; releases the buffers of those that rest.
 */
void conn_sweep(struct conn *c, int64_t now_mono_ns);

/* Where control frames are encoded; call conn_sent() afterwards. */
struct buf *conn_ctl(struct conn *c);
void conn_sent(struct conn *c);
/* Queues a reference to data (or a copy of small data) behind what is there. Takes the reference.
 */
void conn_put_bytes(struct conn *c, struct bytes data);
/* An error response; also counts it. */
void conn_put_error(struct conn *c, uint32_t corr, const struct werror *e,
                    const struct frame_detail *d, size_t n);

/* A request of `bytes` begins (the conn gains a reference) or has got its answer. */
void conn_begin(struct conn *c, size_t bytes);
void conn_finish(struct conn *c, size_t bytes);

/* Writes what is queued, as far as the socket takes it. */
void conn_flush(struct conn *c);
/* Goes on with input that limits had stopped, in the next turn. */
void conn_resume(struct conn *c);
/* A turn's worth of the input that lies here already (conn.again). */
void conn_turn(struct conn *c);
/* Bytes that wait to be sent. */
size_t conn_queued(const struct conn *c);
bool conn_output_full(const struct conn *c);
/* The output of all is used up, and this one has its share of it, or something is read for it:
 * nothing more is read from the store. */
bool conn_hoards(const struct conn *c);
/* How many of `most` bytes may be asked of the store at once: little while that is so. */
uint32_t conn_piece(const struct conn *c, uint32_t most);
/* Large frames that arrive have used up their budget and nothing moves: ends the one that takes
 * longest. Called once a second. */
void conn_unjam(struct server *srv, int64_t now_mono_ns);

#endif
