#ifndef WEIR_CLI_PROGRESS_H
#define WEIR_CLI_PROGRESS_H
/* One line on standard error that is written again and again, only on a terminal, and only when the
 * work takes longer than a second. */
#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool terminal, shown;
    int64_t start_ns, next_ns; /**< monotonic */
    int64_t last_count, last_ns;
};

void progress_init(struct progress *p);
/** Shows "VERB N messages, SIZE, RATE/s" when it is time. @param verb "sent" */
void progress_update(struct progress *p, const char *verb, int64_t count, double bytes);
/** Wipes the line. To be called before anything else is written to the terminal. */
void progress_clear(struct progress *p);
double progress_seconds(const struct progress *p);

#endif
