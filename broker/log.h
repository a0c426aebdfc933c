#ifndef WEIR_BROKER_LOG_H
#define WEIR_BROKER_LOG_H
/*
 * Log lines on standard error: `ts level module event k=v ...`, or the same as JSON. Events are
 * fixed words, listed in docs/OPERATIONS.md. Never payloads or secrets. Loop thread, and the
 * store's progress lines at start.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level;
    bool json;
    int fd;
};

/* One line. fmt gives the `k=v k=v` part ("" = none); values with blanks are put in quotes by the
 * caller. */
void log_line(const struct log *l, enum log_level level, const char *module, const char *event,
              const char *fmt, ...) WEIR_PRINTF(5, 6);
/* "error", "warn", "info", "debug" (checked by the configuration). */
enum log_level log_level_of(const char *name);

/*
 * For what a peer can trigger: at most 10 lines a second per limiter; the first line of the next
 * second says how many were swallowed. Returns whether to log now.
 */
struct log_limit {
    int64_t second;
    unsigned n, swallowed;
};
bool log_allowed(struct log_limit *limit, int64_t mono_ns, unsigned *swallowed);

#endif
