#ifndef WEIR_BROKER_CORE_DLQ_IMPL_H
#define WEIR_BROKER_CORE_DLQ_IMPL_H
/*
 * Dead letters inside the core: what dlq.c (moving), dlq_copy.c (the copy) and dlq_admin.c (list,
 * redrive, purge) share.
 */
#include "broker/core/group_impl.h"

/* ---------------------------------------------------------------- dlq_copy.c */

/*
 * "TOPIC~GROUP~dlq" of a topic and a group. A dead letter of a dead-letter topic goes where its
 * first topic's go: only what is before the first '~' counts. Returns the length.
 */
size_t dlq_name(char out[LIMIT_TOPIC_NAME + 1], struct slice topic, struct slice group);
/* Views into name; false: not the name of a dead-letter topic. */
bool dlq_name_split(struct slice name, struct slice *topic, struct slice *group);

/* What a copy tells. All borrowed. */
struct dlq_copy {
    const struct record *rec; /* NULL: it could not be read, `lost` says why */
    const char *lost;
    int64_t ts_ms; /* of the record */
    bool zip;      /* it came compressed */
    struct slice topic, group;
    uint32_t p;
    const struct dead_letter *letter;
};
/*
 * The batch that goes into the dead-letter topic: key, value, time and headers of the record, and
 * where it came from. A record of a dead-letter topic keeps the origin that it had; attempts add
 * up. Gives a blob; NULL: no memory, or the record fits into no batch.
 */
struct blob *dlq_copy(const struct dlq_copy *c);

/* ---------------------------------------------------------------- dlq.c, dlq_admin.c */

struct lane;
struct source;
struct move;
TAILQ_HEAD(source_queue, source);
TAILQ_HEAD(moves, move);
struct dlq_pace;

struct dlq_core {
    struct core *co;
    struct lane *lanes;       /* by group and partition */
    struct source *sources;   /* by group */
    struct source_queue turn; /* those with a lane that is ready; the first is next */
    struct timer pump;
    uint64_t next_seq;
    unsigned reading;     /* lanes that wait for the store */
    unsigned run_letters; /* moved in this run of the pump */
    struct moves moves;
    struct dlq_pace *paces; /* by topic */
};

struct dlq_core *dlq_get(struct core *co); /* made on first use */
void dlq_moves_fini(struct dlq_core *dl);  /* answers with SHUTTING_DOWN, frees */

#endif
