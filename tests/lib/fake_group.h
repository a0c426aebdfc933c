#ifndef WEIR_TESTS_LIB_FAKE_GROUP_H
#define WEIR_TESTS_LIB_FAKE_GROUP_H
/*
 * Groups of the fake broker: members, assignments that a test moves by hand, commits, leases that
 * last until they are settled. Included by fake_broker.h.
 */
#include "proto/msg_group.h"

enum { FAKE_GROUPS = 4, FAKE_MEMBERS = 8, FAKE_GPARTS = 16, FAKE_MESSAGES = 20000 };

struct fake_broker;
struct fake_conn;

struct fake_member {
    bool used;
    uint8_t id[MSG_MEMBER_BYTES];
    uint64_t epoch;
    uint64_t told; /* generation of the assignment it was told last */
    uint64_t attempt;
    unsigned joins, leaves;
};

enum fake_state { FAKE_READY, FAKE_LEASED, FAKE_ACKED, FAKE_DEAD };
struct fake_message {
    uint8_t state;
    uint8_t member;
    uint32_t deliveries;
    uint64_t lease, attempt;
    char reason[32];
};

struct fake_gpart {
    uint64_t tid;
    uint32_t p;
    int owner, target; /* members; -1 = nobody */
    uint64_t epoch, committed;
    struct fake_message *messages; /* queue mode, by offset, as many as the group has room for */
};

struct fake_group {
    char name[LIMIT_NAME + 1];
    enum msg_group_mode mode;
    uint64_t generation, next_lease;
    struct fake_member members[FAKE_MEMBERS];
    struct fake_gpart parts[FAKE_GPARTS];
    size_t n_parts;
    size_t room;                                /* messages of a partition */
    unsigned commits, settles, acquires, items; /* requests; items of SETTLE */
    uint64_t acked, nacked, released, dead, extended, lost;
};

struct fake_group *fake_group(struct fake_broker *fb, const char *name);
void fake_groups_free(struct fake_broker *fb);
/* Partition p of the first topic shall belong to member m (index, -1 = nobody); a free one does at
 * once, else when its owner gave it up. */
void fake_group_move(struct fake_group *g, uint32_t p, int m);
/* The member is forgotten: FENCED_MEMBER from now on. Its leases are ready again. */
void fake_group_fence(struct fake_group *g, int m);
/* Leases of offset `first` to `last` of partition p end, as if their time were up. */
void fake_group_expire(struct fake_group *g, uint32_t p, uint64_t first, uint64_t last);
/* Queue mode: messages of a partition in that state. */
uint64_t fake_group_count(const struct fake_group *g, uint32_t p, enum fake_state st);
/* CHANGED("group", name) on that connection. */
void fake_changed(struct fake_conn *c, const char *group);
/* Makes a partition of another topic known to a queue group: dead letters that come back. */
struct fake_gpart *fake_group_add(struct fake_group *g, uint64_t tid, uint32_t p);

/* ---- the broker's ---- */
/* True: it was a request about groups; *e: refused. */
bool fake_group_request(struct fake_conn *c, struct frame *f, struct werror *e);
/* The same for administration: made-up answers. */
bool fake_group_admin(struct fake_conn *c, struct frame *f, struct werror *e);
/* The member of `who` has that partition; else *e. */
bool fake_group_may_read(struct fake_broker *fb, const struct msg_who *who, uint64_t tid,
                         uint32_t p, struct werror *e);
/* Waiting ACQUIREs that can be answered now are. */
void fake_group_push(struct fake_conn *c);

#endif
