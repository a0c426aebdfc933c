#ifndef WEIR_BROKER_CONN_IMPL_H
#define WEIR_BROKER_CONN_IMPL_H
/* What conn.c (life), conn_in.c (input) and conn_out.c (output) share. */
#include "broker/conn.h"

/* Limits allow reading on. */
bool conn_may_read(const struct conn *c);
/* Starts and stops the socket's watcher; the only place that does. */
void conn_set_interest(struct conn *c);
/* Has something for the flush at the end of this turn. */
void conn_mark_dirty(struct conn *c);
/* Will go on with its input in the next turn. */
void conn_later(struct conn *c);

/* The socket is readable. */
void conn_readable(struct conn *c);
/* Brings the server's counts of memory up to what the buffers are now. */
void conn_account(struct conn *c);
/* A connection that rests keeps no more input memory than it has input. */
void conn_trim_input(struct conn *c);
/* The output of all is used up, and more than its share of it waits for this one. */
bool conn_over_share(const struct conn *c);
/* Gives up a large frame and its share of the budget. */
void conn_drop_big(struct conn *c);

/* Nothing that is queued now would ever be sent. */
static inline bool conn_deaf(const struct conn *c)
{
    return c->state == CONN_CLOSED || c->state == CONN_LINGERING;
}

#endif
