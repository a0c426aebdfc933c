#ifndef WEIR_CLI_NEAREST_H
#define WEIR_CLI_NEAREST_H
/* "Did you mean": the offered word with the smallest edit distance to what was typed. */
#include <stddef.h>

enum { NEAREST_WORD_MAX = 128 /* longer words are never near */ };

struct nearest {
    const char *typed;
    size_t n_typed;
    const char *best; /**< NULL: nothing is near enough (distance over a third of the length) */
    size_t distance;
};

/** Starts a search. Borrows `typed` as long as `n` is used. */
void nearest_init(struct nearest *n, const char *typed, size_t n_typed);
/** Compares a candidate; keeps the pointer when it is the best so far. */
void nearest_offer(struct nearest *n, const char *candidate);
/** Edits (insert, delete, replace, swap of neighbours) that make b from a; SIZE_MAX: too long. */
size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b);

#endif
