#ifndef WEIR_BROKER_METRICS_H
#define WEIR_BROKER_METRICS_H
/* Every figure the server gives, under Prometheus-style names. Loop thread. */
#include "broker/server.h"

struct metrics {
    struct core_stats core;
    struct store_stats store;
    struct server_stats server;
    uint64_t connections, large_input_bytes, resident_bytes, uptime_s, store_state;
};

void metrics_take(struct metrics *m, struct server *srv);
/* Calls fn once per series; label NULL = none. Strings are static. */
void metrics_walk(const struct metrics *m,
                  void (*fn)(void *arg, const char *name, const char *label,
                             const char *label_value, uint64_t value),
                  void *arg);

#endif
