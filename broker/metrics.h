#ifndef WEIR_BROKER_METRICS_H
#define WEIR_BROKER_METRICS_H
/* Every figure the server gives, under Prometheus-style names. Loop thread. */
#include "broker/core/core_group.h"
#include "broker/server.h"

enum { METRICS_GROUPS = 100 }; /* groups with figures of their own: the first in name order */

struct metrics {
    struct core_stats core;
    struct store_stats store;
    struct server_stats server;
    struct core_group_stats group;
    uint64_t connections, large_input_bytes, output_bytes, resident_bytes, uptime_s, store_state,
        connection_memory_bytes, memory_bytes[MEMORY_CLASSES];
    struct memory memory; /* limits of those */
    struct {
        char name[LIMIT_NAME + 1];
        uint64_t lag, lag_ms, in_flight, members;
    } lags[METRICS_GROUPS];
    size_t n_lags;
    const struct config *conf; /* borrowed: its limits are figures too */
    uint64_t max_conns;        /* the configured number, or what descriptors allow */
};

void metrics_take(struct metrics *m, struct server *srv);
/* Calls fn once per series; label NULL = none. Strings live as long as m. */
void metrics_walk(const struct metrics *m,
                  void (*fn)(void *arg, const char *name, const char *label,
                             const char *label_value, uint64_t value),
                  void *arg);

#endif
