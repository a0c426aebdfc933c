#ifndef WEIR_CLI_DLQ_READ_H
#define WEIR_CLI_DLQ_READ_H
/* Reading dead letters: which are still there, and the messages themselves. */
#include <weir/weir.h>

#include "client/cli/dlq_name.h"
#include "client/cli/filter.h"
#include "client/cli/session.h"
#include "client/cli/spans.h"

enum dlq_state { DLQ_DEAD = 0, DLQ_WAITING = 1, DLQ_LEASED = 2, DLQ_STATES = 3 };
enum { DLQ_FILTERS_MAX = 16 };

struct dlq_range {
    int64_t first, last;
    int state; /**< enum dlq_state */
};

/** What a command works on. */
struct dlq {
    struct session s;
    char topic[DLQ_NAME_MAX];
    int32_t n_partitions;
    struct filter filters[DLQ_FILTERS_MAX];
    size_t n_filters;
    struct span_list named; /**< PARTITION:OFFSET words; empty = all */
};

/** "dead", "waiting" or "leased". */
const char *dlq_state_text(int state);

/** Reads the topic's name (with --group or in full), --filter, and span words from `first_span` on.
 * Prints what is wrong. @return exit code; dlq_fini in any case */
int dlq_init(struct dlq *d, const struct args *a, size_t first_span);
/** Opens the session and looks the topic up. */
int dlq_open(struct dlq *d);
void dlq_fini(struct dlq *d);

/** What is still there of a partition. @param out[out] freed by the caller, also after a failure */
int dlq_ranges(const struct session *s, const char *topic, int32_t partition,
               struct dlq_range **out, size_t *n);

/** @return EXIT_DONE: go on; DLQ_ENOUGH: stop, all is well; another exit code: stop with it */
typedef int (*dlq_message_fn)(void *user, const weir_message *m, int state);
enum { DLQ_ENOUGH = -1 };
/**
 * Gives every message that is still there, fits all filters and is named (or nothing is) to fn, by
 * partition and offset. fn borrows it and makes no blocking call.
 */
int dlq_walk(struct dlq *d, dlq_message_fn fn, void *user);

#endif
