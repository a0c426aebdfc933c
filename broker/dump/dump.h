#ifndef WEIR_BROKER_DUMP_DUMP_H
#define WEIR_BROKER_DUMP_DUMP_H
/*
 * weir-dump: what a stopped store holds, and whether it keeps its own rules
 * (docs/STORAGE_FORMAT.md). It reads a private copy made of hard links, never the store itself.
 */
#include <stdio.h>

#include "broker/core/core_impl.h"
#include "storage/store_rocks.h"

enum { DUMP_TAGS = 128, DUMP_SHOWN = 50 };

struct dump {
    struct store *st;
    struct core *co;
    struct part **parts; /* by the store's number; NULL = no such partition */
    uint32_t n_parts;
    FILE *out;

    uint64_t rows[TABLE_COUNT], bytes[TABLE_COUNT]; /* of rows, by table */
    uint64_t dead_rows;                             /* log rows that no range refers to */
    uint64_t batches, messages;                     /* live, in the logs */
    uint64_t delayed;                               /* messages that wait */
    uint64_t tags[DUMP_TAGS];                       /* rows of META by kind */
    uint64_t problems;
};

/** A rule is broken: says so (the first DUMP_SHOWN), and counts it. */
void dump_problem(struct dump *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The partition with this number in the store; NULL = none. */
struct part *dump_part(const struct dump *d, uint32_t id);

/** Fills parts from the core's topics; dump_fini frees it. */
void dump_map_parts(struct dump *d);
void dump_fini(struct dump *d);

/** Walks all tables: counts rows, and checks batches, keys and delayed batches. */
void dump_walk(struct dump *d, bool verify);
/** Checks the rows of META and how they fit together. After dump_walk. */
void dump_check_meta(struct dump *d);

/** Prints topics with their partitions, groups with their positions, and counts. */
void dump_show(struct dump *d);
/** Prints the batches of one partition from an offset on, `n` at most. @return false: no such
 * partition. */
bool dump_batches(struct dump *d, const char *topic, uint32_t p, uint64_t from, uint64_t n);

#endif
