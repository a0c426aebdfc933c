#ifndef WEIR_BROKER_MEMBERS_H
#define WEIR_BROKER_MEMBERS_H
/*
 * Members of groups on a connection. A seat is one member's session here: opened by GROUP_JOIN,
 * closed with the connection (the core then counts down the grace time). What a connection reads
 * for a member asks here, every time, whether it still may.
 */
#include "broker/core/core_group.h"
#include "broker/server.h"

enum { LIMIT_SEATS = 256 }; /* per connection */

/* A group and a member, kept by value. */
struct as_member {
    struct msg_who who; /* views into the rest: never copy the struct */
    char group[LIMIT_NAME];
    uint8_t member[MSG_MEMBER_BYTES];
};
/* false: a name or an id of the wrong length. */
bool as_member_set(struct as_member *a, const struct msg_who *who);
bool as_member_is(const struct as_member *a, const struct as_member *b);

struct join;
struct seat {
    LIST_ENTRY(seat) of_conn;
    TAILQ_ENTRY(seat) news_link;
    struct conn *c;
    struct core_session *session;
    struct join *join;   /* not answered yet */
    struct as_member as; /* who.epoch: the newest that the client was told */
    bool changed, fenced, closing;
    bool listed; /* on the server's list of seats with news */
};

/* NULL: that member did not join over this connection. */
struct seat *seat_find(struct conn *c, const struct msg_who *who);
/* A new seat for a member that has none here; TOO_LARGE, OVERLOADED. */
struct seat *seat_open(struct conn *c, const struct msg_who *who, struct werror *e);
/* Ends its session (the grace time begins), answers its waiting acquires, frees it. */
void seat_close(struct seat *s);
/* To be closed, but not from where we are: inside the core. */
void seat_close_later(struct seat *s);
void seats_close(struct conn *c);    /* the connection ends */
void seats_resume(struct conn *c);   /* its output drained */
void seats_pump(struct server *srv); /* tells clients what is new */

/* core_group_may_read with the epoch that the member's seat here knows, if there is one. */
enum werr member_may_read(struct conn *c, struct as_member *a, uint64_t tid, uint32_t p,
                          struct werror *e);
/* Whole batches of a partition go out to the member: core_group_handed_out. */
void member_sends(struct conn *c, const struct as_member *a, uint64_t tid, uint32_t p,
                  struct slice batches);

#endif
