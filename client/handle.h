#ifndef WEIR_CLIENT_HANDLE_H
#define WEIR_CLIENT_HANDLE_H
/*
 * The handle: everything of one client, and the rules of calls: results wait in a list until a call
 * that may run callbacks delivers them; a close inside a callback takes effect when the outermost
 * call returns; blocking is a loop of turns of the transport.
 */
#include <weir/weir.h>

#include "client/clock.h"
#include "client/conn.h"
#include "client/err.h"
#include "client/meta.h"
#include "client/opt.h"
#include "client/producer.h"
#include "client/url.h"
#include "proto/compress.h"

/* How bytes reach the broker: io.c, or a script in a test. */
struct transport {
    /* Runs handle_step, moves bytes, waits for news until `until_ns` (mono) at the latest. */
    void (*turn)(struct weir *w, int64_t until_ns);
    /* Writes what can be written now. Reads nothing, changes no state but the output. */
    void (*push)(struct weir *w);
    /* Writes all of the output, tells the broker that no more will come, and waits until it has
     * closed: closing with unread input would take back what was written (RFC 1122, 4.2.2.13).
     * @blocks until `until_ns` at most */
    void (*finish)(struct weir *w, int64_t until_ns);
    /* When turn wants to run though nothing is readable; CLOCK_NEVER = only for the handle. */
    int64_t (*deadline)(const struct weir *w);
    int (*fd)(const struct weir *w);
    void (*interrupt)(struct weir *w); /* ends a turn's wait; safe in signal handlers */
    void (*close)(struct weir *w);
};

TAILQ_HEAD(sub_list, weir_sub);

struct weir {
    struct options opt;
    struct url url;
    weir_error bad; /* code OK, or why the URL or the options were refused */

    struct clock_source clock;
    int64_t now_ns;        /* read by handle_now */
    int64_t wall_ahead_ms; /* wall = mono + this */
    int64_t timer_ns;      /* a module wants handle_step then */
    int64_t turned_ns;     /* when the last turn was */
    const struct transport *tr;
    void *tr_arg;

    struct zstd_ctx *zstd; /* made when first needed; NULL is fine, only slower */

    struct conn conn;
    struct meta meta;
    struct producer prod;
    struct sub_list subs;
    uint32_t next_sub_id;

    int depth;        /* public calls on the stack that may run callbacks */
    bool in_callback; /* a user's function is on the stack */
    bool closing;     /* close was called: nothing new */
    bool farewells;   /* members left whose last requests nobody waits for */
    weir_error last_error;

    void (*wakeup)(void *arg);
    void *wakeup_arg;
    void (*log)(void *arg, int level, const char *line);
    void *log_arg;
};

/* A handle without a transport; weir_open adds the real one. NULL: out of memory. */
struct weir *handle_new(const char *url, const char *options, struct clock_source clock,
                        uint64_t seed);
/* Ends everything with WEIR_E_CLOSED, delivers results, frees. */
void handle_free(struct weir *w);

/* Reads the clock into w->now_ns. */
int64_t handle_now(struct weir *w);
int64_t handle_wall_ms(const struct weir *w); /* as of the last handle_now */
/* A module wants handle_step at t. */
void handle_timer(struct weir *w, int64_t t_ns);
/* There is something to send: the user's loop should come to weir_on_io soon. */
void handle_dirty(struct weir *w);
/* Timers, requests, batches: everything that needs no I/O. After it, the transport writes. */
void handle_step(struct weir *w);
int64_t handle_deadline(const struct weir *w);
void handle_topic_changed(struct weir *w, struct topic *t);

/*
 * Begins a public call that may block or run callbacks. `blocking` is refused inside a callback
 * (WEIR_E_MISUSE), as is everything on a closing or badly configured handle. When it returns true
 * handle_leave must follow, after which w may be gone.
 */
bool handle_enter(struct weir *w, bool blocking, weir_error *e);
void handle_leave(struct weir *w);
/* Checks that w can be used; for calls that neither block nor run callbacks. */
bool handle_usable(const struct weir *w, weir_error *e);
/* One turn until `until_ns`, then callbacks. False: closing, stop waiting. */
bool handle_wait(struct weir *w, int64_t until_ns);
/* Remembers e as the last error when it is one; returns it. */
weir_error handle_result(struct weir *w, weir_error e);
/* Waits until t is known. *e: why not. */
bool handle_wait_topic(struct weir *w, struct topic *t, int64_t until_ns, weir_error *e);
/* Checks and finds a topic by name. NULL: *e tells. */
struct topic *handle_topic(struct weir *w, const char *name, weir_error *e);
/* The handle's zstd context. */
struct zstd_ctx *handle_zstd(struct weir *w);
/* Why there is no connection, for texts: "not connected: ...". */
weir_error handle_unreachable(const struct weir *w);

#endif
