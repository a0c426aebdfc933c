#ifndef WEIR_CLIENT_PRODUCER_H
#define WEIR_CLIENT_PRODUCER_H
/*
 * Sending: messages gather in the open batch of their partition, batches go out in order of
 * sequence, answers end them. Files: producer.c (messages in), pump.c (batches out), answer.c
 * (answers, deadlines, lost connections), result.c (results out), pid.c (the producer's identity).
 *
 * Rules that keep order and deduplication whole:
 * - A batch gets its sequence when it is first sent. The batches in flight of a partition are a
 *   prefix of its queue; after a refusal nothing is sent until all in flight are answered.
 * - `maybe_stored`: an attempt ended without an answer. Such a batch keeps its sequence and stays
 * in the queue until the broker tells (its messages may have been reported UNKNOWN long before).
 * - If a batch is known not to be stored, none behind it is (the broker refuses gaps). Only then
 * may batches be renumbered.
 */
#include <sys/queue.h>

#include <weir/weir.h>

#include "client/conn.h"
#include "proto/batch.h"

struct topic;
struct weir;
struct part;

/* Who wants to know about one message. */
struct listener {
    weir_sent_fn fn; /* NULL: nobody */
    void *user;
};

/* Results of the messages of one batch, delivered by producer_run_callbacks. */
struct report {
    TAILQ_ENTRY(report) link;
    struct topic *topic;
    int32_t partition;
    int64_t offset; /* of the first; -1 unknown */
    int64_t append_ms;
    uint32_t count;
    size_t bytes;               /* accounted until delivered */
    struct listener *listeners; /* NULL: nobody listens to any */
    uint32_t cap;
    char *delay_id; /* of a delayed batch; NULL: none */
    weir_error error;
};
TAILQ_HEAD(report_list, report);

enum batch_state {
    BATCH_OPEN,     /* still gathers */
    BATCH_QUEUED,   /* finished, not in flight */
    BATCH_INFLIGHT, /* sent on this connection, unanswered */
    BATCH_LOST,     /* was in flight when the connection went; becomes QUEUED at once */
};

struct outbatch {
    struct req req;
    TAILQ_ENTRY(outbatch) link;
    struct part *part;
    enum batch_state state;
    bool has_seq, maybe_stored;
    uint32_t base_seq, count;
    struct batch_builder bb;
    struct buf zip;
    uint8_t *image; /* finished batch: lies in bb or zip */
    size_t image_bytes;
    size_t bytes; /* accounted */
    int64_t created_ns, deadline_ns;
    int64_t deliver_at_ms; /* wall time; 0 = at once */
    struct report *report; /* NULL: already reported */
};
TAILQ_HEAD(batch_list, outbatch);

/*
 * One partition, as the producer sees it: one for messages that are to be seen at once, and one for
 * delayed ones, which the broker counts in a sequence of their own.
 */
struct part {
    struct topic *topic;
    uint32_t p;
    bool delayed;
    struct batch_list q;     /* in order; only the last may be OPEN */
    struct outbatch *unsent; /* first that is not in flight; NULL: none */
    uint32_t n_inflight;
    bool registered; /* pid and epoch are set */
    uint64_t pid;
    uint16_t epoch;
    uint32_t next_seq;
    bool recover;  /* refused: wait until nothing is in flight, then begin at the head */
    bool renumber; /* at recovery: sequences begin anew at renumber_from */
    uint32_t renumber_from;
    uint64_t pid_generation; /* of the identity */
    bool reregister;         /* needs a newer identity before the next batch */
    bool check_topic;        /* the broker did not know the topic: look before the next batch */
    uint64_t tid;            /* of the topic that the sequences belong to */
    int64_t hold_until_ns;
    uint32_t refusals;     /* in a row */
    struct werror refused; /* the last refusal, code WERR_OK = none since the last success */
    bool on_work, on_busy;
    TAILQ_ENTRY(part) work; /* may have something to send */
    TAILQ_ENTRY(part) busy; /* has batches */
    TAILQ_ENTRY(part) all;
};
TAILQ_HEAD(part_list, part);

/* A message that waits for its topic's metadata. Key, value and headers follow it in memory. */
struct waiting {
    TAILQ_ENTRY(waiting) link;
    int32_t partition;
    int64_t timestamp_ms, deadline_ns, deliver_at_ms;
    struct listener listener;
    struct slice key, value;
    struct record_header *headers;
    size_t n_headers;
    size_t bytes;
};

enum pid_state { PID_NONE, PID_WANTED, PID_ASKED, PID_READY };

struct producer {
    struct part_list work, busy, all;
    size_t pending_bytes, pending_messages;
    uint32_t n_waiting;
    size_t inflight_bytes;
    uint32_t n_inflight;
    struct report_list reports;
    weir_error first_failure; /* since the last flush */
    bool flushing;
    bool dirty; /* unsent output was made since dirty_since_ns */
    int64_t dirty_since_ns;
    uint32_t sticky_seed;

    enum pid_state pid_state;
    struct req pid_req;
    uint64_t pid;
    uint16_t epoch;
    uint64_t pid_generation;
    int64_t pid_retry_ns;
    int64_t pid_ready_ns; /* when the identity was given */
    uint32_t pid_tries;
    struct msg_producer_pos *positions; /* named: where this name stood */
    size_t n_positions;
    weir_error fatal; /* outcome DONE = none; else every send fails with it */

    struct buf head;        /* of a PRODUCE, while it is written */
    struct outbatch *spare; /* one finished batch kept for its memory */
};

void producer_init(struct producer *p);
void producer_close(struct weir *w); /* ends everything with CLOSED and runs callbacks */
void producer_fini(struct weir *w);  /* frees; the conn is gone */

/* One message in. Copies. The error's outcome is DONE when it was queued. */
struct outgoing {
    struct topic *topic;
    int32_t partition; /* -1 = by key, or sticky */
    int64_t timestamp_ms;
    int64_t deadline_ns;
    struct slice key, value;
    const struct record_header *headers;
    size_t n_headers;
    struct listener listener;
    int64_t deliver_at_ms; /* wall time; 0 = at once */
};
void producer_put(struct weir *w, const struct outgoing *m, weir_error *e);

/* ---- events and time ---- */
void producer_step(struct weir *w); /* sends what may be sent */
void producer_tick(struct weir *w); /* deadlines; sets all timers anew */
bool producer_wants_step(const struct weir *w);
void producer_on_ready(struct weir *w);
void producer_on_lost(struct weir *w);
void producer_on_topic(struct weir *w, struct topic *t);
void producer_run_callbacks(struct weir *w);

/* ---- between the producer's files ---- */
void part_work(struct weir *w, struct part *part); /* look at it in the next step */
void part_busy(struct weir *w, struct part *part); /* its queue got its first batch */
/* The message joins its partition's open batch. e as producer_put. */
void part_add(struct weir *w, struct part *part, const struct outgoing *m, weir_error *e);
struct part *producer_part(struct weir *w, struct topic *t, uint32_t p,
                           bool delayed); /* NULL: no memory */
/* Chooses the partition; UINT32_MAX and *e when m->partition does not exist. */
uint32_t producer_route(struct topic *t, const struct outgoing *m, weir_error *e);

struct outbatch *outbatch_new(struct weir *w, struct part *part);
/* Off its queue and freed; what it still reports must have been reported. */
void outbatch_drop(struct weir *w, struct outbatch *b);
/* Ends the messages of b with e. `stays`: b remains in the queue and accounted; else the caller
 * drops it. Does nothing the second time. */
void outbatch_report(struct weir *w, struct outbatch *b, bool stays, const weir_error *e,
                     int64_t offset, int64_t append_ms);
void outbatch_answered(struct req *r, const struct answer *a);
/* b ends unsuccessfully: NOT stored as far as anybody knows, or UNKNOWN. Off the queue and freed.
 */
void outbatch_give_up(struct weir *w, struct outbatch *b, const weir_error *e);
/* Takes b, known not to be stored, out of the sequence: those behind it are renumbered. */
void part_skip(struct part *part, const struct outbatch *b);
/* Puts report r on the list of results, or ends it at once when nobody listens. Takes r. */
void report_finish(struct weir *w, struct report *r);
void report_free(struct report *r);
/* A result for one message that never got into a batch. */
void report_waiting(struct weir *w, struct topic *t, struct waiting *m, const weir_error *e);
/* Nothing of this handle is sent any more. */
void producer_fail(struct weir *w, const weir_error *e);
static inline bool producer_failed(const struct producer *p)
{
    return p->fatal.outcome != WEIR_DONE;
}

void pid_step(struct weir *w);
void pid_want(struct weir *w);
/* Gives an idle part (nothing in flight) the current identity. False: not available yet. */
bool pid_adopt(struct weir *w, struct part *part);
/* Where a named producer stood in a partition; NULL: nowhere. */
const struct msg_producer_pos *pid_position(const struct producer *p, uint64_t tid, uint32_t part);

#endif
