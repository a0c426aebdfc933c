#ifndef WEIR_TESTS_UNIT_BROKER_CORE_WORLD_H
#define WEIR_TESTS_UNIT_BROKER_CORE_WORLD_H
/*
 * A core on a store in memory that moves only when a test steps it, with clocks that a test sets.
 */
#include "broker/core/core.h"
#include "storage/store_mem.h"

struct world {
    struct memdisk *disk;
    struct store *st;
    struct core *co;
    struct core_conf conf;
    struct store_conf store_conf;
    int64_t mono_ns, wall_ms;
    char log[4096]; /* events, one per line */
};

void world_init(struct world *w); /* fills conf with small budgets; change it, then open */
void world_open(struct world *w);
/* Closes core and store; crash: without the store's farewell, and with only `keep` unsynced records
 * left. */
void world_close(struct world *w);
void world_crash(struct world *w, unsigned keep);
void world_fini(struct world *w);
void world_step(struct world *w); /* flush, write, sync, completions, until nothing moves */
void world_pass(struct world *w, int64_t ms); /* both clocks go on, ticks run when due */
bool world_logged(const struct world *w, const char *event);

/* Creates a topic and waits; returns its id. key/value pairs end with NULL. */
uint64_t world_topic(struct world *w, const char *name, ...);
/* A change that is expected to end with `want`. */
void world_change(struct world *w, enum core_topic_verb verb, const char *name,
                  const struct topic_config *c, enum werr want, struct core_topic_rq *out);

/* A produce request with the batch that it sends. */
struct sent {
    struct core_produce rq;
    struct blob *blob;
    int done; /* how often done() ran */
};
/* A batch of `count` records, the first value is `text`; pid 0 = not idempotent. */
struct blob *world_batch(uint64_t pid, uint16_t epoch, uint32_t seq, unsigned count,
                         const char *text);
struct sent *world_send(struct world *w, uint64_t tid, uint32_t p, uint64_t pid, uint16_t epoch,
                        uint32_t seq, unsigned count, const char *text);
void sent_free(struct sent *s);
/* Sends, steps, expects `want`; returns the base offset (0 when refused). */
uint64_t world_produce(struct world *w, uint64_t tid, uint32_t p, uint64_t pid, uint32_t seq,
                       unsigned count, enum werr want);
/* INIT_PRODUCER; name NULL = unnamed. Steps. The caller frees out->pos. */
void world_init_producer(struct world *w, const char *name, struct core_producer_rq *out);

/* A reader that counts its ready() calls. */
struct watch {
    struct core_reader *rd;
    int ready;
};
void watch_init(struct watch *v, struct world *w);
/* Pulls one piece; returns false when there was none. Free with blob_unref(piece->data.owner). */
bool watch_pull(struct watch *v, uint32_t max_bytes, struct core_piece *piece);
/* Counts records in a piece and checks that offsets go on from *next. */
void piece_check(const struct core_piece *piece, uint64_t *next);

#endif
