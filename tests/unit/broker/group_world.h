#ifndef WEIR_TESTS_UNIT_BROKER_GROUP_WORLD_H
#define WEIR_TESTS_UNIT_BROKER_GROUP_WORLD_H
/*
 * Members of groups in a core_world: each with a session that counts its news, the epoch and the
 * partitions that it was last told.
 */
#include "broker/core/core_group.h"
#include "core_world.h"

struct peer {
    struct world *w;
    struct core_session *session; /* NULL: its connection is gone */
    char group[LIMIT_NAME + 1];
    uint8_t id[MSG_MEMBER_BYTES];
    uint64_t epoch;
    bool resumed;
    struct msg_assigned *parts;
    size_t n_parts;
    int changed, fenced, done;
    struct werror err; /* of the last request */
    struct core_join_rq join;
};

/* A member called by a letter, in log mode from the earliest, not joined yet. */
void peer_init(struct peer *m, struct world *w, const char *group, char letter);
/* Joins over a new session and steps; topics separated by commas. mode and start as in m->join. */
void peer_join(struct peer *m, const char *topics, enum werr want);
void peer_join_start(struct peer *m, const char *topics); /* does not step; see m->done */
/* Heartbeat without a list, or with what it was last told; takes over what is answered. */
void peer_beat(struct peer *m, enum werr want);
void peer_beat_owning(struct peer *m, enum werr want);
/* Does what a client does on CHANGED until nobody hears any more. */
void peers_settle(struct peer *m, size_t n);
enum werr peer_commit(struct peer *m, uint64_t tid, uint32_t p, uint64_t offset); /* steps */
enum werr peer_leave(struct peer *m);
void peer_drop(struct peer *m); /* the connection ends */
void peer_fini(struct peer *m);
struct msg_who peer_who(const struct peer *m);
bool peer_has(const struct peer *m, uint64_t tid, uint32_t p);
enum werr peer_may_read(const struct peer *m, uint64_t tid, uint32_t p);
/* What the group has committed; fails when it knows no such partition. */
struct msg_committed world_committed(struct world *w, const char *group, uint64_t tid, uint32_t p);
/* One of the simple administrative requests; steps. */
enum werr world_group_delete(struct world *w, const char *group, bool force);
enum werr world_group_set(struct world *w, const char *group, const char *key, const char *value);
enum werr world_seek(struct world *w, const char *group, uint64_t tid, uint32_t p, uint64_t offset,
                     bool force);
/* The state that a list shows. */
const char *world_group_state(struct world *w, const char *group);

#endif
