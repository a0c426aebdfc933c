#ifndef WEIR_TESTS_UNIT_PROTO_SAMPLES_GROUP_H
#define WEIR_TESTS_UNIT_PROTO_SAMPLES_GROUP_H
/* The samples of groups, queues, delay and dead letters: rows of the table in samples.c, in the
 * order of the document. X(name, from, op of the request) */
#include "tests/unit/proto/samples.h"

/* clang-format off */
#define GROUP_SAMPLES(X)                                                                           \
    X(group_join,             FROM_CLIENT, OP_GROUP_JOIN)                                          \
    X(group_join_queue,       FROM_CLIENT, OP_GROUP_JOIN)                                          \
    X(group_join_ok,          FROM_SERVER, OP_GROUP_JOIN)                                          \
    X(group_join_queue_ok,    FROM_SERVER, OP_GROUP_JOIN)                                          \
    X(changed_group,          FROM_SERVER, 0)                                                      \
    X(heartbeat,              FROM_CLIENT, OP_GROUP_HEARTBEAT)                                     \
    X(heartbeat_ok,           FROM_SERVER, OP_GROUP_HEARTBEAT)                                     \
    X(heartbeat_owned,        FROM_CLIENT, OP_GROUP_HEARTBEAT)                                     \
    X(heartbeat_unchanged,    FROM_SERVER, OP_GROUP_HEARTBEAT)                                     \
    X(heartbeat_fenced,       FROM_SERVER, OP_GROUP_HEARTBEAT)                                     \
    X(group_leave,            FROM_CLIENT, OP_GROUP_LEAVE)                                         \
    X(group_leave_ok,         FROM_SERVER, OP_GROUP_LEAVE)                                         \
    X(fetch_for,              FROM_CLIENT, OP_FETCH)                                               \
    X(subscribe_for,          FROM_CLIENT, OP_SUBSCRIBE)                                           \
    X(commit,                 FROM_CLIENT, OP_COMMIT)                                              \
    X(commit_ok,              FROM_SERVER, OP_COMMIT)                                              \
    X(committed,              FROM_CLIENT, OP_COMMITTED)                                           \
    X(committed_all,          FROM_CLIENT, OP_COMMITTED)                                           \
    X(committed_ok,           FROM_SERVER, OP_COMMITTED)                                           \
    X(acquire,                FROM_CLIENT, OP_ACQUIRE)                                             \
    X(acquire_ok,             FROM_SERVER, OP_ACQUIRE)                                             \
    X(settle,                 FROM_CLIENT, OP_SETTLE)                                              \
    X(settle_ok,              FROM_SERVER, OP_SETTLE)                                              \
    X(produce_delayed,        FROM_CLIENT, OP_PRODUCE)                                             \
    X(produce_delayed_ok,     FROM_SERVER, OP_PRODUCE)                                             \
    X(cancel_delayed,         FROM_CLIENT, OP_CANCEL_DELAYED)                                      \
    X(cancel_delayed_ok,      FROM_SERVER, OP_CANCEL_DELAYED)                                      \
    X(delayed_list,           FROM_CLIENT, OP_DELAYED_LIST)                                        \
    X(delayed_list_ok,        FROM_SERVER, OP_DELAYED_LIST)                                        \
    X(group_list,             FROM_CLIENT, OP_GROUP_LIST)                                          \
    X(group_list_ok,          FROM_SERVER, OP_GROUP_LIST)                                          \
    X(group_describe,         FROM_CLIENT, OP_GROUP_DESCRIBE)                                      \
    X(group_describe_ok,      FROM_SERVER, OP_GROUP_DESCRIBE)                                      \
    X(group_reset,            FROM_CLIENT, OP_GROUP_RESET)                                         \
    X(group_reset_ok,         FROM_SERVER, OP_GROUP_RESET)                                         \
    X(group_delete,           FROM_CLIENT, OP_GROUP_DELETE)                                        \
    X(group_delete_ok,        FROM_SERVER, OP_GROUP_DELETE)                                        \
    X(group_alter,            FROM_CLIENT, OP_GROUP_ALTER)                                         \
    X(group_alter_ok,         FROM_SERVER, OP_GROUP_ALTER)                                         \
    X(dlq_list,               FROM_CLIENT, OP_DLQ_LIST)                                            \
    X(dlq_list_ok,            FROM_SERVER, OP_DLQ_LIST)                                            \
    X(dlq_redrive,            FROM_CLIENT, OP_DLQ_REDRIVE)                                         \
    X(dlq_redrive_ok,         FROM_SERVER, OP_DLQ_REDRIVE)                                         \
    X(dlq_purge,              FROM_CLIENT, OP_DLQ_PURGE)                                           \
    X(dlq_purge_ok,           FROM_SERVER, OP_DLQ_PURGE)
/* clang-format on */

#define X(name, from, op) void sample_##name(struct buf *b);
GROUP_SAMPLES(X)
#undef X

#endif
