#ifndef WEIR_BROKER_SESSION_H
#define WEIR_BROKER_SESSION_H
/* From complete frames to operations: limits before HELLO, the state table, dispatch to handlers.
 */
#include "broker/server.h"
#include "proto/msg.h"

/* What session_frame did with a frame. */
enum session_result {
    SESSION_OK,
    SESSION_WAIT, /* not now: the produce budget is used up; offer the same frame again later */
    SESSION_END,  /* the connection ends (an error was queued) */
};

/*
 * One frame body. `owner` holds the bytes when the frame has a blob of its own (large frames):
 * handlers may then refer to it; NULL: the bytes are gone after the call.
 */
enum session_result session_frame(struct conn *c, struct slice body, struct blob *owner);
/* Largest frame allowed in the connection's state. */
size_t session_frame_limit(const struct conn *c);
/* First byte of a connection: true = it speaks weir; false = one line of advice was queued, end. */
bool session_greet(struct conn *c, uint8_t first);

/* A handler: decodes args, acts, answers now or later. */
struct cmd {
    struct conn *c;
    struct server *srv;
    uint32_t corr; /* notify: id */
    struct mpread args;
    struct slice body;
    struct blob *owner; /* see session_frame */
};
/* A non-OK result is answered by the dispatcher (for a notify: the connection ends). */
typedef enum werr (*cmd_fn)(struct cmd *m, struct werror *e);

enum werr cmd_ping(struct cmd *m, struct werror *e);
enum werr cmd_init_producer(struct cmd *m, struct werror *e);
enum werr cmd_metadata(struct cmd *m, struct werror *e);
enum werr cmd_produce(struct cmd *m, struct werror *e);
enum werr cmd_fetch(struct cmd *m, struct werror *e);
enum werr cmd_subscribe(struct cmd *m, struct werror *e);
enum werr cmd_credit(struct cmd *m, struct werror *e);
enum werr cmd_sub_update(struct cmd *m, struct werror *e);
enum werr cmd_list_offsets(struct cmd *m, struct werror *e);
enum werr cmd_topic_create(struct cmd *m, struct werror *e);
enum werr cmd_topic_delete(struct cmd *m, struct werror *e);
enum werr cmd_topic_alter(struct cmd *m, struct werror *e);
enum werr cmd_topic_describe(struct cmd *m, struct werror *e);
enum werr cmd_metrics(struct cmd *m, struct werror *e);
enum werr cmd_server_conns(struct cmd *m, struct werror *e);
enum werr cmd_server_config(struct cmd *m, struct werror *e);
enum werr cmd_backup_create(struct cmd *m, struct werror *e);
enum werr cmd_group_join(struct cmd *m, struct werror *e);
enum werr cmd_group_heartbeat(struct cmd *m, struct werror *e);
enum werr cmd_group_leave(struct cmd *m, struct werror *e);
enum werr cmd_commit(struct cmd *m, struct werror *e);
enum werr cmd_committed(struct cmd *m, struct werror *e);
enum werr cmd_acquire(struct cmd *m, struct werror *e);
enum werr cmd_settle(struct cmd *m, struct werror *e);
enum werr cmd_group_list(struct cmd *m, struct werror *e);
enum werr cmd_group_describe(struct cmd *m, struct werror *e);
enum werr cmd_group_reset(struct cmd *m, struct werror *e);
enum werr cmd_group_delete(struct cmd *m, struct werror *e);
enum werr cmd_group_alter(struct cmd *m, struct werror *e);
enum werr cmd_dlq_list(struct cmd *m, struct werror *e);
enum werr cmd_dlq_redrive(struct cmd *m, struct werror *e);
enum werr cmd_dlq_purge(struct cmd *m, struct werror *e);
enum werr cmd_cancel_delayed(struct cmd *m, struct werror *e);
enum werr cmd_delayed_list(struct cmd *m, struct werror *e);

/* Subscriptions of a connection (cmd_sub.c). */
void fetches_cancel(struct conn *c);        /* the connection ends (cmd_fetch.c) */
void fetches_hurry(struct conn *c);         /* those that hold data are answered with it */
size_t fetches_parts(const struct conn *c); /* that those who wait are about */
void subs_close(struct conn *c);            /* the connection ends */
void subs_resume(struct conn *c);           /* its output drained */
void subs_let_go(struct conn *c);   /* what is held for those without credit is read again later */
void subs_pump(struct server *srv); /* delivers what is ready, a turn's worth */
/* Readers for a member of a group: something changed, they may or may not read now. as NULL: those
 * of any member that a pause keeps back. */
struct as_member;
void subs_look_again(struct conn *c, const struct as_member *as);
void fetches_look_again(struct conn *c, const struct as_member *as);
/* The member is no more: SUB_ERROR for everything that is read for it. */
void subs_fence(struct conn *c, const struct as_member *as);
/* Waiting acquires of one member, or of all (NULL), end: `why` is the answer (cmd_queue.c). */
void acquires_end(struct conn *c, const struct as_member *as, enum werr why);
/* The seat of a join is gone before its answer (cmd_group.c). NULL allowed. */
struct join;
void join_forget(struct join *j);

#endif
