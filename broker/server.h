#ifndef WEIR_BROKER_SERVER_H
#define WEIR_BROKER_SERVER_H
/* The process: loop, listeners, connections, core, store, and the order in which they start and
 * stop. */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/config.h"
#include "broker/conn.h"
#include "broker/core/core.h"
#include "broker/limit_hit.h"
#include "broker/listener.h"
#include "broker/log.h"
#include "broker/memory.h"
#include "storage/store.h"

struct memdisk;

struct server_stats {
    uint64_t accepted, refused_accepts, closed, frames_in, bytes_in, bytes_out, errors_sent,
        requests[128], /* by operation */
        closed_by[CONN_CLOSED_REASONS], refused_by[ACCEPT_REFUSED_REASONS], hits[LIMIT_HITS];
    uint64_t loop_turns, loop_busy_ns, loop_turn_max_ns; /* busy: all but waiting for events */
};

/* The backup that is being made: one at a time (cmd_backup.c). */
struct backup_job {
    struct conn *c; /* who asked; NULL: none is being made */
    uint32_t corr;
    int64_t began_mono_ns;
    char name[64 + 1];
};

struct server {
    struct ev_loop *loop;
    struct config *conf; /* borrowed; a reload changes it */
    struct log log;
    struct store *st;
    struct core *core;
    struct memdisk *disk; /* --dev */
    struct listeners listeners;
    struct http *http; /* NULL: off */

    ev_async store_ready;
    ev_prepare before_sleep;
    ev_check after_sleep;
    int64_t woke_mono_ns;
    ev_idle again; /* runs while work was left over, so that the loop does not sleep */
    ev_timer core_timer, second, drain_timer;
    ev_signal term, intr, hup;

    TAILQ_HEAD(conn_list, conn) conns, dirty, dead;
    struct conn_list starved;     /* until the core takes produce again */
    struct conn_list again_conns; /* more input than their turn covered */
    struct conn_list bigs;        /* large frames that are arriving, oldest first */
    struct conn_list hungry;      /* until the budget of large frames has room */
    struct memory memory;         /* the budget */
    size_t big_bytes;
    size_t in_bytes;        /* buffers of small frames, of all connections */
    size_t out_bytes;       /* in the output queues of all connections */
    uint64_t n_requests;    /* without an answer, of all connections */
    uint64_t offsets_bytes; /* of LIST_OFFSETS without an answer */
    int64_t big_freed_mono_ns;
    TAILQ_HEAD(sub_list, sub) ready_subs;
    TAILQ_HEAD(seat_list, seat) seat_news; /* members to be told something */
    unsigned n_conns, n_again;
    uint64_t next_conn_id;
    uint8_t conn_id_base[8];
    int64_t started_mono_ns;
    uint32_t advertise_port;
    char advertise_host[256];
    struct server_stats stats;
    struct backup_job backup;
    struct log_limit limit_accept, limit_bad, limit_refused, limit_hits;
    enum store_state seen_state;   /* last one that was logged */
    enum memory_state seen_memory; /* the same */
    bool draining;
    int exit_code;
};

/* Exit codes of the process (sysexits). */
enum {
    EXIT_CODE_OK = 0,
    EXIT_CODE_USAGE = 64,
    EXIT_CODE_DATA_LOSS = 65,
    EXIT_CODE_UNAVAILABLE = 69, /* cannot listen */
    EXIT_CODE_STORAGE = 70,     /* storage failed while running */
    EXIT_CODE_IO = 74,          /* cannot open the store */
    EXIT_CODE_LOCKED = 75,
};

/* Opens everything. On failure *e says why and *exit_code is set; server_close is still due. */
enum werr server_open(struct server *srv, struct config *conf, struct werror *e) WEIR_NODISCARD;
/* Serves until a signal or a storage failure. Returns the exit code. */
int server_run(struct server *srv);
void server_close(struct server *srv);

/* What clients are told to connect to, from the settings. */
void server_advertise(struct server *srv);
/* Something is left to do: do not sleep. */
void server_again(struct server *srv);

#endif
