#ifndef WEIR_BROKER_LOG_H
#define WEIR_BROKER_LOG_H
/*
 * Log lines on standard error: `ts level module event k=v ...`, or the same as JSON. Events are
 * fixed words, listed in docs/OPERATIONS.md. Never payloads or secrets. Loop thread, and the
 * store's progress lines at start.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"

enum { LOG_TEXT = 256 }; /* room for a value that log_text made */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level;
    bool json;
    int fd;
    unsigned dropped; /* lines that fd did not take; the next line that it takes says how many */
};

/*
 * One line. fmt gives the `k=v k=v` part ("" = none); values with blanks are put in quotes by the
 * caller, and what a peer chose goes through log_text. Never waits: a line that fd does not take at
 * once is dropped and counted.
 */
void log_line(struct log *l, enum log_level level, const char *module, const char *event,
              const char *fmt, ...) WEIR_PRINTF(5, 6);
/* n bytes of anything as text for a quoted value, cut to LOG_TEXT: no quotes, backslashes or
 * controls, only ASCII. Returns out. */
const char *log_text(char out[LOG_TEXT], const void *text, size_t n);
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
