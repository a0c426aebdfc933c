#ifndef WEIR_CLIENT_CONSUMER_H
#define WEIR_CLIENT_CONSUMER_H
/*
 * Receiving. Files: consumer.c (subscribing: metadata, offsets, SUBSCRIBE, again after a loss),
 * deliver.c (batches in, credit), next.c (messages out).
 *
 *   META -> OFFSETS -> SUBSCRIBE -> ACTIVE      lost connection, retryable error: back to META
 *   any -> FAILED (fatal error)                 all partitions at their end: DONE
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

enum sub_state { SUB_META, SUB_OFFSETS, SUB_SUBSCRIBE, SUB_ACTIVE, SUB_FAILED };

struct sub_part {
    uint32_t p;
    bool known;          /* recv and next are set */
    bool has_end;        /* stop_at_end: `end` is set */
    uint64_t recv, next; /* see above */
    int64_t high;        /* high watermark last told; -1 unknown */
    uint64_t end;        /* high watermark when the subscription began */
};

/* A received batch; its bytes lie in the chunk they were received in, or in `scratch`. */
struct rx_batch {
    TAILQ_ENTRY(rx_batch) link;
    struct weir_sub *sub;
    struct sub_part *part;
    struct blob *owner;
    struct slice bytes;
    struct batch_head head;
    struct buf scratch; /* decompressed records */
    uint32_t out;       /* messages handed out and not given back */
    bool read;          /* every message was handed out */
    size_t held_bytes;  /* accounted in sub->held_bytes while opened */
};
TAILQ_HEAD(rx_batch_list, rx_batch);

/* A message as handed out. */
struct rx_message {
    weir_message m;
    struct rx_batch *batch;
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
    struct topic *topic; /* NULL: failed from the start */
    char name[LIMIT_TOPIC_NAME + 1];
    struct sub_options opt;
    enum sub_state state;
    weir_error error;      /* FAILED: why */
    weir_error next_error; /* what the last weir_next that gave NULL tells */
    atomic_int stop;

    uint64_t tid;
    struct sub_part *parts;
    uint32_t n_parts, n_ended;
    uint16_t index[LIMIT_PARTITIONS]; /* partition -> parts[index - 1]; 0 = not ours */
    struct req req;
    int64_t retry_ns;
    uint32_t tries;

    uint32_t id;              /* on the wire; a new one for each SUBSCRIBE */
    uint64_t received, limit; /* batch bytes of this id; the limit last told */
    size_t outstanding;       /* batch bytes queued or handed out */
    size_t held_bytes;        /* bytes of opened batches, decompressed */
    struct rx_batch_list queue;
    struct rx_batch_list opened; /* handed out in part or in full */

    struct rx_batch *cur; /* being read; on `opened` */
    struct record_iter it;
    uint64_t cur_offset;
    struct rx_message *free_messages;
    struct message_block *blocks;
};

void sub_free(struct weir_sub *s);
void sub_step(struct weir_sub *s);
void sub_on_lost(struct weir_sub *s);
void sub_on_topic(struct weir_sub *s);
void sub_on_deliver(struct weir *w, struct frame *f, struct slice body, struct blob *owner);
void sub_on_error(struct weir *w, struct frame *f);

/* ---- between the consumer's files ---- */
void sub_fail(struct weir_sub *s, weir_error e);
/* Subscribe anew, after retry_after_ms or a growing wait. */
void sub_again(struct weir_sub *s, uint32_t retry_after_ms);
/* Tells the broker that it may send more, when it is worth a message. */
void sub_grant(struct weir_sub *s);
void rx_batch_free(struct rx_batch *b);
struct sub_part *sub_part(struct weir_sub *s, uint32_t p); /* NULL: not ours */
/* stop_at_end, and every partition was handed out to its end. */
bool sub_ended(const struct weir_sub *s);
void sub_count_ended(struct weir_sub *s);

#endif
