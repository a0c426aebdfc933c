#ifndef WEIR_TESTS_FUZZ_ECHO_H
#define WEIR_TESTS_FUZZ_ECHO_H
/*
 * Decodes a message and encodes what came out. Messages with more than ECHO_MAX elements in a list,
 * and kinds that are written in pieces by the broker, are not echoed: WERR_UNKNOWN_OP.
 */
#include "proto/msg_group.h"

enum { ECHO_MAX = 64 };

/* Fills list with what next gives, and counts. */
#define ECHO_LIST(list, n, next, view)                                 \
    for ((n) = 0; (n) < ECHO_MAX && next((view), &(list)[n]); (n)++) { \
    }

/* The frame comes behind what is in b. */
enum werr echo_request(struct frame *f, struct buf *b);
enum werr echo_response(uint32_t op, struct frame *f, struct buf *b);
/* Groups, queues, dead letters, delay. */
enum werr echo_group_request(struct frame *f, struct buf *b);
enum werr echo_group_response(uint32_t op, struct frame *f, struct buf *b);

/* Next (topic, partition) of a list. */
static inline bool echo_next_tp(struct mpread *r, struct msg_tp *tp)
{
    return msg_next_drop(r, &tp->tid, &tp->p);
}

#endif
