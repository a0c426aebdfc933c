#include "broker/limit_hit.h"

#include "broker/clock.h"
#include "broker/server.h"

static const struct {
    const char *name;
    enum log_level level; /* debug: happens whenever somebody is faster than somebody else */
} table[LIMIT_HITS] = {
    [HIT_NONE] = {"none", LOG_DEBUG},
    [HIT_FRAME] = {"frame", LOG_DEBUG}, /* other lines say more of it */
    [HIT_INPUT_BEFORE_HELLO] = {"input_before_hello", LOG_DEBUG},
    [HIT_OUTPUT_BEFORE_HELLO] = {"output_before_hello", LOG_DEBUG},
    [HIT_REQUESTS] = {"requests", LOG_DEBUG},
    [HIT_REQUEST_BYTES] = {"request_bytes", LOG_DEBUG},
    [HIT_OUTPUT] = {"output_per_connection", LOG_DEBUG},
    [HIT_OUTPUT_SHARE] = {"output", LOG_DEBUG},
    [HIT_INPUT] = {"input", LOG_DEBUG},
    [HIT_PRODUCE] = {"inflight", LOG_DEBUG},
    [HIT_MEMORY_PRODUCE] = {"memory_produce", LOG_DEBUG},
    [HIT_MEMORY_REQUESTS] = {"memory_requests", LOG_DEBUG},
    [HIT_ACCEPT_RATE] = {"accept_rate", LOG_WARN},
};

const char *limit_hit_name(enum limit_hit which)
{
    return table[which].name;
}

void limit_hit(struct server *srv, enum limit_hit which, uint64_t conn)
{
    unsigned swallowed;

    srv->stats.hits[which]++;
    if (table[which].level <= srv->log.level &&
        log_allowed(&srv->limit_hits, clock_mono_ns(), &swallowed)) {
        log_line(&srv->log, table[which].level, "limit", "limit_reached",
                 "limit=%s conn=%llu swallowed=%u", table[which].name, (unsigned long long)conn,
                 swallowed);
    }
}
