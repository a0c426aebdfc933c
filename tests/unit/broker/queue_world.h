#ifndef WEIR_TESTS_UNIT_BROKER_QUEUE_WORLD_H
#define WEIR_TESTS_UNIT_BROKER_QUEUE_WORLD_H
/*
 * Workers of queue groups in a core_world: what they acquire, and what becomes of it.
 */
#include "group_world.h"

/* A range that was acquired. */
struct slip {
    uint64_t tid, first, last, lease;
    uint32_t p, deliveries;
    char reason[32]; /* the beginning of it */
};

enum { SLIPS_MAX = 64 };
struct take {
    struct core_acquire_rq rq; /* fill limits before take_start; 0 = the default here */
    int done;
    struct slip v[SLIPS_MAX];
    size_t n;
    uint64_t msgs, batches, bytes;
    size_t lots;
};

/* Joins `group` in queue mode as the worker called by a letter, and steps. */
void worker_join(struct peer *m, struct world *w, const char *group, char letter,
                 const char *topics);
/* As above, by a group whose order is key. */
void worker_join_keyed(struct peer *m, struct world *w, const char *group, char letter,
                       const char *topics);
/* Does not step. Defaults: max_bytes 1 MiB, no wait. Each range lies within a batch that came. */
void take_start(struct take *t, struct peer *m, uint64_t attempt, uint32_t max_msgs);
/* The same with steps and time until it is answered OK. Returns how many messages. */
uint64_t take(struct take *t, struct peer *m, uint64_t attempt, uint32_t max_msgs);
/* A range of a lease, settled and stepped. arg < 0: nil. */
enum werr settle(struct peer *m, const struct slip *s, uint64_t first, uint64_t last,
                 enum msg_verb verb, int64_t arg);
enum werr ack(struct peer *m, const struct slip *s); /* all of it */
/* n requests' items at once; results[] gets each code. Does not step: see *done. */
struct settling {
    struct core_settle_rq rq;
    int done;
    enum werr whole;
    enum werr results[SLIPS_MAX];
};
void settle_start(struct settling *st, struct peer *m, const struct msg_settle_item *items,
                  size_t n);
struct msg_settle_item item_of(const struct slip *s, uint64_t first, uint64_t last,
                               enum msg_verb verb);
/* One batch, a record for each letter of keys ('-' = no key); returns its base offset. */
uint64_t produce_keys(struct world *w, uint64_t tid, uint32_t p, const char *keys, bool zip);

struct msg_group_part queue_part_row(struct world *w, const char *group, uint64_t tid, uint32_t p);

#endif
