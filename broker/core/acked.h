#ifndef WEIR_BROKER_CORE_ACKED_H
#define WEIR_BROKER_CORE_ACKED_H
/*
 * Which messages of a partition are settled (done) and which are not to be handed out as fresh
 * (taken), from a floor on: two bits a message in chunks of 1,024, made on demand. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { CHUNK_MESSAGES = 1024, CHUNK_WORDS = CHUNK_MESSAGES / 64 };

struct chunk {
    uint64_t number; /* offsets [number * 1024, + 1024) */
    uint64_t done[CHUNK_WORDS], taken[CHUNK_WORDS];
    bool dirty;  /* done differs from its row: in acked.dirty */
    bool stored; /* it may have a row */
    TAILQ_ENTRY(chunk) in_dirty;
};
TAILQ_HEAD(chunk_list, chunk);

struct acked {
    struct chunk **v; /* by number, from v[head] on; NULL = nothing set */
    size_t head, n, cap;
    uint64_t first; /* number of v[head] */
    struct chunk_list dirty;
};

/* Zeroed memory, then acked_reset. */
void acked_fini(struct acked *a);
/* Begins at floor, and forgets what was there. */
void acked_reset(struct acked *a, uint64_t floor);
/* The chunk of an offset at or above the floor; make = false: NULL when there is none. */
struct chunk *acked_chunk(struct acked *a, uint64_t offset, bool make);
bool acked_is_done(const struct acked *a, uint64_t offset);
bool acked_is_taken(const struct acked *a, uint64_t offset);
/* Taken or not, for [first, last]. */
void acked_take(struct acked *a, uint64_t first, uint64_t last);
void acked_untake(struct acked *a, uint64_t offset);
/* Done (and taken); marks the chunk dirty. */
void acked_done(struct acked *a, uint64_t offset);
void acked_undone(struct acked *a, uint64_t offset); /* stays taken; dirty */
/* The same for [first, last], all of it free. */
void acked_done_run(struct acked *a, uint64_t first, uint64_t last);
void acked_mark(struct acked *a, struct chunk *c); /* dirty */
void acked_clean(struct acked *a, struct chunk *c);
/* First offset >= from that is not taken / not done; may be past the end of what is known. */
uint64_t acked_next_free(const struct acked *a, uint64_t from);
uint64_t acked_next_undone(const struct acked *a, uint64_t from);
/* End of the run of free offsets that begins at `from`, at most `limit`. */
uint64_t acked_free_run(const struct acked *a, uint64_t from, uint64_t limit);
/*
 * The chunk before the floor's that is still kept: its owner deletes its row, then calls this
 * again; NULL: none. Gives it: free().
 */
struct chunk *acked_pop_below(struct acked *a, uint64_t floor);
/* A settled message at or above the floor is in it. */
bool acked_has_done(const struct chunk *c, uint64_t floor);
/* Settled messages at or above the floor. */
uint64_t acked_count_done(const struct acked *a, uint64_t floor);

#endif
