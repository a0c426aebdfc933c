#ifndef WEIR_CLIENT_CONN_H
#define WEIR_CLIENT_CONN_H
/*
 * One connection to a broker as a state machine without I/O: bytes in, bytes out, next deadline.
 * A transport (io.c, or a test) moves the bytes and reports opened and lost. The machine says
 * HELLO, matches answers to requests, watches deadlines, notices a silent peer and spaces
 * reconnects.
 *
 *   IDLE -> CONNECT -> HELLO -> READY        any -> (lost) -> BACKOFF -> CONNECT
 */
#include <sys/queue.h>
#include <sys/uio.h>

#include "client/clock.h"
#include "client/rx.h"
#include "proto/frame.h"
#include "proto/msg.h"

enum conn_state { CONN_IDLE, CONN_CONNECT, CONN_HELLO, CONN_READY, CONN_BACKOFF };

enum { CONN_SLOTS = 2048, CONN_SILENCE_MS = 15000 };

/* What came of a request. */
struct answer {
    struct werror err; /* code WERR_OK: `result` is there */
    enum werr_class cls;
    struct slice raw_err; /* error element of the wire, for details; n = 0 when local */
    struct mpread result;
};

enum req_state { REQ_FREE, REQ_QUEUED, REQ_SENT };

/* A request; embedded in whatever waits for it. Zeroed = free. The conn borrows it until done() ran
 * or conn_cancel(). done() may submit new requests; it runs inside conn_* calls. */
struct req {
    enum req_state state;
    uint32_t corr;
    bool body;                /* the conn's: sent with a body */
    bool repeat;              /* harmless to ask again: survives a lost connection */
    int64_t deadline_mono_ns; /* CLOCK_NEVER = none */
    uint64_t out_end;         /* conn->out_total when its last byte is written */
    struct buf frame;         /* the encoded request; unused for batches */
    void (*done)(struct req *r, const struct answer *a);
    void *arg;
    TAILQ_ENTRY(req) link;
};
TAILQ_HEAD(req_list, req);

struct conn_events {
    void (*ready)(void *arg);                        /* HELLO is done */
    void (*lost)(void *arg, const struct werror *e); /* was READY or tried to become so */
    /* A notify. `owner` is the chunk that the frame lies in: reference it to keep views. */
    void (*notify)(void *arg, struct frame *f, struct slice body, struct blob *owner);
    void (*log)(void *arg, int level, const char *line);
};

struct conn_config {
    const char *client_id;
    uint32_t connect_timeout_ms, reconnect_min_ms, reconnect_max_ms;
};

/* Output: runs of bytes that lie in `small`, or elsewhere (a batch, borrowed until written). */
struct outrun {
    const uint8_t *ext; /* NULL: the next n bytes of `small` */
    size_t n;
};

struct conn {
    enum conn_state state;
    struct conn_config conf;
    const struct conn_events *ev;
    void *arg;
    uint64_t rng;
    uint32_t generation; /* changes when a connection is lost: the transport closes its socket */

    struct rx rx;
    struct buf small;
    size_t small_at; /* bytes of `small` already written */
    struct outrun *runs;
    size_t run_first, n_runs, cap_runs;
    uint64_t out_total, written_total;

    struct req *slots[CONN_SLOTS]; /* by corr; the tombstone when nobody waits any more */
    struct req tombstone;
    uint32_t next_corr, n_slots;
    struct req_list queued; /* not yet written to the output */
    struct req_list sent;   /* control requests that wait for their answer */
    struct req_list bodies; /* the same for batches, which have no deadline here */
    bool due_begins;        /* the first of them was sent since the last tick */
    struct req hello;

    struct msg_limits limits;
    uint32_t attempts;
    int64_t retry_mono_ns; /* BACKOFF: when to connect again */
    int64_t ready_mono_ns;
    int64_t heard_mono_ns; /* last byte in */
    int64_t hello_deadline_mono_ns;
    int64_t away_mono_ns; /* GOING_AWAY: reconnect at the latest then; CLOCK_NEVER = no */
    bool pinged;
    struct req ping;
    struct werror last; /* why the last connection ended */
    char server[130];   /* name and version */
    char cluster[33];
    uint32_t broker;
};

void conn_init(struct conn *c, const struct conn_config *conf, const struct conn_events *ev,
               void *arg, uint64_t seed);
/* Ends every request with WERR_CLOSED and frees. */
void conn_fini(struct conn *c);

/* A connection is needed from now on. */
void conn_want(struct conn *c, int64_t now_ns);
/* ---- for the transport ---- */
void conn_opened(struct conn *c, int64_t now_ns);
/* Connecting failed, or the connection broke. Borrows e. */
void conn_lost(struct conn *c, int64_t now_ns, const struct werror *e);
uint8_t *conn_space(struct conn *c, size_t *n); /* NULL: out of memory; then conn_lost */
void conn_received(struct conn *c, size_t n, int64_t now_ns);
/* Bytes to write, as up to max pieces; 0 = nothing. */
size_t conn_output(const struct conn *c, struct iovec *v, size_t max);
void conn_written(struct conn *c, size_t n);
bool conn_has_output(const struct conn *c);
/* When conn_tick wants to run next. */
int64_t conn_deadline(const struct conn *c);
void conn_tick(struct conn *c, int64_t now_ns);

/* ---- for the modules ---- */
static inline bool conn_ready(const struct conn *c)
{
    return c->state == CONN_READY && c->away_mono_ns == CLOCK_NEVER;
}
/*
 * Reserves a correlation id in r->corr; the caller then encodes its frame into r->frame and
 * submits. WERR_OVERLOADED: too many are open.
 */
enum werr conn_prepare(struct conn *c, struct req *r) WEIR_NODISCARD;
/* Sends r->frame when READY, or queues it. r->frame.failed gives WERR_NOMEM and frees the id. */
enum werr conn_submit(struct conn *c, struct req *r) WEIR_NODISCARD;
/*
 * Sends a prepared r as `head` (copied), `body` (borrowed until r is done or the connection is
 * lost) and `tail` (copied; may be empty). Only when conn_ready(). WERR_NOMEM: nothing was sent,
 * the id is free again.
 */
enum werr conn_submit_body(struct conn *c, struct req *r, struct slice head, struct slice body,
                           struct slice tail) WEIR_NODISCARD;
/* Sends a notify frame that `f` holds; dropped unless READY. */
void conn_notify(struct conn *c, struct slice frame);
/* Nobody waits for r any more: done() will not run. Not for batches. */
void conn_cancel(struct conn *c, struct req *r);
/* The peer broke the rules: drop the connection. */
void conn_break(struct conn *c, int64_t now_ns, const struct werror *e);
uint64_t conn_random(struct conn *c);

#endif
