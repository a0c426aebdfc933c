#ifndef WEIR_BROKER_SUB_IMPL_H
#define WEIR_BROKER_SUB_IMPL_H
/* What cmd_sub.c (subscriptions) and sub_member.c (those for a member of a group) share. */
#include "broker/members.h"
#include "proto/msg.h"

/* A partition of a subscription for a member. */
struct sub_part {
    uint64_t tid;
    uint64_t offset; /* where it goes on, while it is held */
    uint32_t p;
    bool held; /* not in the reader: the group is paused */
};

struct sub {
    LIST_ENTRY(sub) of_conn;
    TAILQ_ENTRY(sub) ready_link;
    struct conn *c;
    struct core_reader *rd;
    uint32_t id, max_push;
    uint64_t limit, sent;   /* bin bytes */
    bool listed;            /* on the server's ready list */
    bool has_more;          /* the core has data that credit or output keeps back */
    struct as_member *as;   /* NULL: for nobody */
    struct sub_part *parts; /* only with `as` */
    size_t n_parts, cap_parts, n_held;
};

/* Something may be delivered: its turn comes. */
void sub_list(struct sub *s);
/* SUB_ERROR from a piece that has an error. */
void sub_put_error(struct sub *s, const struct core_piece *p);

/* ---------------------------------------------------------------- sub_member.c */

/* Puts a partition into the reader, or keeps it back while the group is paused. */
enum werr sub_add_part(struct sub *s, const struct msg_sub_part *part, struct werror *e);
void sub_drop_part(struct sub *s, uint64_t tid, uint32_t p);
/* Of pieces that were pulled: keeps what may go out to the member, in order, and tells the core
 * what does. Returns how many are left; the others' data is let go. */
size_t sub_sift(struct sub *s, struct core_piece *p, size_t n);

#endif
