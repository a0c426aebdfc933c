#ifndef WEIR_CLIENT_CONSUMER_H
#define WEIR_CLIENT_CONSUMER_H
/*
 * Receiving. Files: consumer.c (subscribing without a group: metadata, offsets, SUBSCRIBE, again
 * after a loss), parts.c (the table of partitions), deliver.c (batches in, credit), next.c
 * (messages out). With a group: see group.h.
 *
 *   META -> OFFSETS -> SUBSCRIBE -> ACTIVE      without a group
 *   META -> JOIN -> SUBSCRIBE -> ACTIVE         log mode
 *   META -> JOIN -> ACTIVE                      queue mode
 *   lost connection, retryable error: back to META or JOIN      any -> FAILED (fatal error)
 *
 * Positions: `recv` is the next offset expected from the broker (resubscribing begins there),
 * `next` the next one to be handed out. Batches between the two lie in the queue, as received.
 */
#include <stdatomic.h>
#include <sys/queue.h>

#include <weir/weir.h>

#include "client/conn.h"
#include "client/opt.h"
#include "proto/batch.h"

enum sub_kind { SUB_PLAIN, SUB_LOG, SUB_QUEUE };
enum sub_state { SUB_META, SUB_OFFSETS, SUB_JOIN, SUB_SUBSCRIBE, SUB_ACTIVE, SUB_FAILED };

/* A topic under one id: created anew it is another one. */
struct sub_topic {
    TAILQ_ENTRY(sub_topic) link;
    struct topic *topic; /* NULL: queue mode, only the id is known so far */
    uint64_t tid;
    bool dead_letters;       /* messages show where they came from */
    struct sub_part **parts; /* by partition number; NULL = not ours */
    uint32_t n_parts;
};

struct sub_part {
    TAILQ_ENTRY(sub_part) link;
    struct sub_topic *topic;
    const char *name; /* of the topic; lives as long as the handle */
    uint64_t tid;
    uint32_t p;
    bool known;          /* recv and next are set */
    bool has_end;        /* stop_at_end: `end` is set */
    uint64_t recv, next; /* see above */
    int64_t high;        /* high watermark last told; -1 unknown */
    uint64_t end;        /* high watermark when the subscription began */

    /* log mode */
    bool held;       /* assigned to us, and told to the caller */
    bool subscribed; /* part of the subscription `id` */
    bool leaving;    /* not ours any more; the caller is to be told */
    bool coming;     /* the same for new ones: */
    uint64_t coming_epoch, coming_offset;
    uint64_t assign_epoch;
    uint32_t gen;              /* counts assignments: batches of an older one are stale */
    uint64_t acked, committed; /* everything below was given back; is durable as such */
    uint64_t committing;       /* what the COMMIT under way asks for */
    uint64_t *above;           /* ring of bits: given back at or above `acked` */
    uint64_t above_cap;        /* bits, a power of two */
    uint64_t n_above;          /* set bits */
    uint32_t committing_gen;
    bool on_dirty;
    TAILQ_ENTRY(sub_part) dirty; /* acked > committed */
};
TAILQ_HEAD(sub_part_list, sub_part);

/* A received batch; its bytes lie in the chunk they were received in, or in `scratch`. */
struct rx_batch {
    TAILQ_ENTRY(rx_batch) link;
    struct weir_sub *sub;
    struct sub_part *part;
    struct blob *owner;
    struct slice bytes;
    struct batch_head head;
    struct buf scratch;         /* decompressed records */
    uint32_t out;               /* messages handed out and not given back */
    bool read;                  /* every message was handed out */
    size_t held_bytes;          /* accounted in sub->held_bytes while opened */
    size_t charged;             /* accounted in sub->outstanding */
    size_t share;               /* queue mode: what of it goes back with each message */
    uint32_t gen;               /* of the partition when it came */
    struct lot *lot;            /* queue mode: a reference */
    struct lease_range *ranges; /* in lot: those that touch this batch */
    uint32_t n_ranges;
};
TAILQ_HEAD(rx_batch_list, rx_batch);

/* A message as handed out. */
struct rx_message {
    weir_message m;
    struct rx_batch *batch; /* NULL: given back */
    uint64_t offset;
    struct lease_range *range; /* queue mode */
    struct rx_message *next_free;
};

enum { MESSAGES_PER_BLOCK = 64 };
struct message_block {
    struct message_block *next;
    struct rx_message messages[MESSAGES_PER_BLOCK];
};

struct weir_sub {
    TAILQ_ENTRY(weir_sub) link;
    struct weir *w;
    enum sub_kind kind;
    struct topic *topic; /* without a group; NULL: failed from the start */
    struct sub_group *g; /* NULL: without a group */
    struct sub_options opt;
    enum sub_state state;
    weir_error error;      /* FAILED: why */
    weir_error next_error; /* what the last weir_next that gave NULL tells */
    atomic_int stop;
    unsigned busy; /* calls on the stack that go on using it */
    bool gone;     /* unsubscribed meanwhile: the last of them frees it */

    weir_message_fn on_message;
    void *on_message_user;

    TAILQ_HEAD(, sub_topic) topics;
    struct sub_part_list parts;
    uint32_t n_parts, n_ended;
    struct req req;
    int64_t retry_ns;
    uint32_t tries;

    uint32_t id;              /* on the wire; a new one for each SUBSCRIBE */
    uint64_t received, limit; /* batch bytes of this id; the limit last told */
    /* Batch bytes queued or handed out. Queue mode: their messages' bytes, so that one that is slow
     * does not hold back the others. */
    size_t outstanding;
    size_t held_bytes; /* bytes of opened batches, decompressed */
    struct rx_batch_list queue;
    struct rx_batch_list opened; /* handed out in part or in full */

    struct rx_batch *cur; /* being read; on `opened` */
    struct record_iter it;
    uint64_t cur_offset;
    struct lease_range *cur_range; /* queue mode: of the message at cur_offset, or the next one */
    uint32_t ranges_left;          /* cur_range and those behind it */
    bool unsent;                   /* with a group: something given back is not yet told */
    struct rx_message *free_messages;
    struct message_block *blocks;
};

void sub_free(struct weir_sub *s);
void sub_step(struct weir_sub *s);
void sub_on_lost(struct weir_sub *s);
void sub_on_topic(struct weir_sub *s, struct topic *t); /* of any topic; looks whether it is ours */
void sub_on_deliver(struct weir *w, struct frame *f, struct slice body, struct blob *owner);
void sub_on_error(struct weir *w, struct frame *f);
/* Messages of callback-style subscriptions, and the news of groups. */
void subs_run_callbacks(struct weir *w);
bool subs_want_step(const struct weir *w);

/* ---- between the consumer's files ---- */
void sub_fail(struct weir_sub *s, weir_error e);
/* Subscribe anew, after retry_after_ms or a growing wait. */
void sub_again(struct weir_sub *s, uint32_t retry_after_ms);
/* Waits longer each time it is called in a row; returns when to go on. */
int64_t sub_backoff(struct weir_sub *s, uint32_t retry_after_ms);
/* Reserves an id for s->req. False: not now. */
bool sub_prepare(struct weir_sub *s, void (*done)(struct req *, const struct answer *));
/* SUBSCRIBE to what is held, from where it was received to; then ACTIVE. Nothing held: no id. */
void sub_ask_subscribe(struct weir_sub *s, void (*done)(struct req *, const struct answer *));
/* Tells the broker to stop sending on the current id. */
void sub_forget_id(struct weir_sub *s);
void sub_broken(struct weir_sub *s, struct werror *e);
/* Tells the broker that it may send more, when it is worth a message. */
void sub_grant(struct weir_sub *s);
void rx_batch_free(struct rx_batch *b);
/* b is read to its end and nothing of it is out: its memory and its credit go back. */
void sub_retire(struct weir_sub *s, struct rx_batch *b);
/* Forgets what was received and not yet handed out: of one partition, or of all (part NULL). */
void sub_drop_unread(struct weir_sub *s, const struct sub_part *part);
/* The next message that is here already; NULL: none. */
const weir_message *sub_take(struct weir_sub *s);
/* stop_at_end, and every partition was handed out to its end. */
bool sub_ended(const struct weir_sub *s);
void sub_count_ended(struct weir_sub *s);
static inline bool sub_stopped(const struct weir_sub *s)
{
    return atomic_load_explicit(&s->stop, memory_order_relaxed) != 0;
}
/* Keeps s over calls of the user's functions. sub_unhold: false when it was freed. */
static inline void sub_hold(struct weir_sub *s)
{
    s->busy++;
}
bool sub_unhold(struct weir_sub *s);

/* ---- parts.c ---- */
struct sub_topic *sub_topic_find(struct weir_sub *s, uint64_t tid);
struct sub_topic *sub_topic_add(struct weir_sub *s, uint64_t tid,
                                struct topic *t);                             /* NULL: nomem */
struct sub_part *sub_part_find(struct weir_sub *s, uint64_t tid, uint32_t p); /* NULL: not ours */
struct sub_part *sub_part_add(struct weir_sub *s, struct sub_topic *st, uint32_t p);
void sub_parts_free(struct weir_sub *s);
/* Log mode: room to note that offsets up to `offset` are given back. False: no memory. */
bool part_room(struct sub_part *part, uint64_t offset);
/* `offset` was given back. True: `acked` moved. */
bool part_ack(struct sub_part *part, uint64_t offset);
/* Everything begins anew at offset. */
void part_reset(struct sub_part *part, uint64_t offset);

#endif
