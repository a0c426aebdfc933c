#include "broker/metrics.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/clock.h"
#include "proto/msg.h"

struct row {
    const char *name;
    size_t at;
    bool wide; /* u64, else u32 */
};
#define ROW(name, f)                                                             \
    {                                                                            \
        name, offsetof(struct metrics, f), sizeof(((struct metrics *)0)->f) == 8 \
    }
static const struct row rows[] = {
    ROW("weir_connections", connections),
    ROW("weir_connections_accepted_total", server.accepted),
    ROW("weir_connections_refused_total", server.refused_accepts),
    ROW("weir_resident_memory_bytes", resident_bytes),
    ROW("weir_uptime_seconds", uptime_s),
    ROW("weir_received_bytes_total", server.bytes_in),
    ROW("weir_sent_bytes_total", server.bytes_out),
    ROW("weir_frames_total", server.frames_in),
    ROW("weir_errors_sent_total", server.errors_sent),
    ROW("weir_large_input_bytes", large_input_bytes),
    ROW("weir_output_bytes", output_bytes),
    ROW("weir_connection_memory_bytes", connection_memory_bytes),
    ROW("weir_loop_turns_total", server.loop_turns),
    ROW("weir_loop_busy_nanoseconds_total", server.loop_busy_ns),
    ROW("weir_loop_turn_nanoseconds_max", server.loop_turn_max_ns),
    ROW("weir_produce_requests_total", core.produce_requests),
    ROW("weir_produce_records_total", core.produce_records),
    ROW("weir_produce_bytes_total", core.produce_bytes),
    ROW("weir_produce_duplicates_total", core.produce_duplicates),
    ROW("weir_produce_inflight_bytes", core.inflight_bytes),
    ROW("weir_consume_bytes_total", core.read_bytes),
    ROW("weir_consume_tail_hits_total", core.read_tail_hits),
    ROW("weir_consume_store_reads_total", core.read_store_reads),
    ROW("weir_tail_cache_bytes", core.tail_cache_bytes),
    ROW("weir_topics", core.topics),
    ROW("weir_partitions", core.partitions),
    ROW("weir_producers", core.producers),
    ROW("weir_readers", core.readers),
    ROW("weir_waiting_fetches", core.waiting_fetches),
    ROW("weir_retention_trims_total", core.retention_trims),
    ROW("weir_retention_bytes_total", core.retention_bytes),
    ROW("weir_groups", group.groups),
    ROW("weir_group_members", group.members),
    ROW("weir_group_rebalances_total", group.rebalances),
    ROW("weir_group_commits_total", group.commits),
    ROW("weir_group_fenced_total", group.fenced),
    ROW("weir_group_acquired_total", group.acquired),
    ROW("weir_group_acked_total", group.acked),
    ROW("weir_group_nacked_total", group.nacked),
    ROW("weir_group_released_total", group.released),
    ROW("weir_group_extended_total", group.extended),
    ROW("weir_group_expired_total", group.expired),
    ROW("weir_group_redelivered_total", group.redelivered),
    ROW("weir_group_lease_lost_total", group.lease_lost),
    ROW("weir_group_leased", group.leased),
    ROW("weir_group_holds", group.holds),
    ROW("weir_dlq_dead_total", group.dead),
    ROW("weir_dlq_moved_total", group.dlq_moved),
    ROW("weir_dlq_redriven_total", group.dlq_redriven),
    ROW("weir_dlq_purged_total", group.dlq_purged),
    ROW("weir_scheduled_messages", group.delayed_pending),
    ROW("weir_scheduled_delivered_total", group.delayed_delivered),
    ROW("weir_scheduled_cancelled_total", group.delayed_cancelled),
    ROW("weir_timer_late_milliseconds_total", group.late_ms_total),
    ROW("weir_store_state", store_state),
    ROW("weir_store_disk_bytes", store.disk_bytes),
    ROW("weir_store_free_bytes", store.free_bytes),
    ROW("weir_store_log_bytes", store.log_bytes),
    ROW("weir_store_live_bytes", store.live_bytes),
    ROW("weir_store_groups_total", store.groups),
    ROW("weir_store_record_bytes_total", store.records_bytes),
    ROW("weir_store_txns_total", store.txns),
    ROW("weir_store_syncs_total", store.syncs),
    ROW("weir_store_sync_nanoseconds_total", store.sync_ns_total),
    ROW("weir_store_sync_nanoseconds_max", store.sync_ns_max),
    ROW("weir_store_reads_total", store.reads),
    ROW("weir_store_read_bytes_total", store.read_bytes),
    ROW("weir_store_moved_bytes_total", store.moved_bytes),
    ROW("weir_store_reclaimed_bytes_total", store.reclaimed_bytes),
    ROW("weir_store_buckets", store.buckets),
    ROW("weir_store_epoch", store.epoch),
    ROW("weir_store_lsn", store.lsn),
    ROW("weir_store_queued_bytes", store.queued_bytes),
};

static uint64_t resident(void)
{
    char text[128];
    char *second = NULL;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;

    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    second = strchr(text, ' ');
    return second != NULL ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void take_lags(struct metrics *m, struct core *co)
{
    struct slice after = {NULL, 0};
    struct msg_group_row row;
    struct core_group *g;

    m->n_lags = 0;
    while (m->n_lags < METRICS_GROUPS && (g = core_group_after(co, after)) != NULL) {
        core_group_row(co, g, &row);
        const size_t i = m->n_lags++;
        memcpy(m->lags[i].name, row.name.p, row.name.n);
        m->lags[i].name[row.name.n] = '\0';
        m->lags[i].lag = row.lag_msgs;
        m->lags[i].lag_ms = row.lag_ms;
        m->lags[i].in_flight = row.in_flight;
        m->lags[i].members = row.members;
        after = slice_of(m->lags[i].name, row.name.n);
    }
}

void metrics_take(struct metrics *m, struct server *srv)
{
    core_stats(srv->core, &m->core);
    core_group_stats(srv->core, &m->group);
    take_lags(m, srv->core);
    store_stats(srv->st, &m->store);
    m->server = srv->stats;
    m->connections = srv->n_conns;
    m->large_input_bytes = srv->big_bytes;
    m->output_bytes = memory_used(srv, MEMORY_OUTPUT);
    for (int i = 0; i < MEMORY_CLASSES; i++) {
        m->memory_bytes[i] = memory_used(srv, (enum memory_class)i);
    }
    m->connection_memory_bytes = memory_in_use(srv);
    m->memory = srv->memory;
    m->conf = srv->conf;
    m->max_conns = srv->listeners.max_conns;
    m->resident_bytes = resident();
    m->uptime_s = (uint64_t)((clock_mono_ns() - srv->started_mono_ns) / 1000000000);
    m->store_state = (uint64_t)store_state(srv->st);
}

static void walk_limits(const struct metrics *m,
                        void (*fn)(void *arg, const char *name, const char *label,
                                   const char *label_value, uint64_t value),
                        void *arg)
{
    const struct config *c = m->conf;
    const struct {
        const char *name;
        uint64_t value;
    } limits[] = {
        {"connections", m->max_conns},
        {"connections_per_address", c->max_per_address},
        {"accepts_per_second", c->accept_rate},
        {"accept_burst", c->accept_burst},
        {"connection_memory_bytes", m->memory.budget},
        {"input_bytes", m->memory.input},
        {"output_bytes", m->memory.output},
        {"request_memory_bytes", m->memory.requests},
        {"read_ahead_bytes", m->memory.read_ahead},
        {"inflight_bytes", config_inflight(c)},
        {"tail_cache_bytes", c->tail_cache},
        {"store_memory_bytes", c->memory},
        {"topics", c->max_topics},
        {"frame_bytes", c->max_frame},
        {"batch_bytes", LIMIT_BATCH},
        {"batch_records", LIMIT_BATCH_RECORDS},
        {"message_bytes", LIMIT_MESSAGE_CAP},
        {"name_characters", LIMIT_NAME},
        {"frame_before_hello_bytes", LIMIT_FRAME_PREAUTH},
        {"input_before_hello_bytes", LIMIT_INPUT_PREAUTH},
        {"output_before_hello_bytes", LIMIT_OUTPUT_PREAUTH},
        {"hello_milliseconds", c->hello_ms},
        {"stuck_milliseconds", c->stuck_ms},
        {"output_per_connection_bytes", c->max_output},
        {"inflight_requests_per_connection", c->max_requests},
        {"inflight_bytes_per_connection", c->max_request_bytes},
        {"subscriptions_per_connection", LIMIT_SUBS},
    };

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        fn(arg, "weir_limit", "name", limits[i].name, limits[i].value);
    }
    for (unsigned i = 0; i < CONN_CLOSED_REASONS; i++) {
        fn(arg, "weir_connections_closed_total", "reason", conn_closed_reason(i),
           m->server.closed_by[i]);
    }
    for (unsigned i = 0; i < ACCEPT_REFUSED_REASONS; i++) {
        fn(arg, "weir_accepts_refused_total", "reason", accept_refused_reason(i),
           m->server.refused_by[i]);
    }
    for (int i = HIT_NONE + 1; i < LIMIT_HITS; i++) {
        fn(arg, "weir_limit_reached_total", "limit", limit_hit_name((enum limit_hit)i),
           m->server.hits[i]);
    }
    for (int i = 0; i < MEMORY_CLASSES; i++) {
        fn(arg, "weir_memory_bytes", "class", memory_class_name((enum memory_class)i),
           m->memory_bytes[i]);
    }
}

/* Upper ends of the buckets of core_group_stats.late. */
static const char *const late_ms[CORE_LATE_BUCKETS] = {
    "1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "10000", "more"};

void metrics_walk(const struct metrics *m,
                  void (*fn)(void *arg, const char *name, const char *label,
                             const char *label_value, uint64_t value),
                  void *arg)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *p = (const char *)m + rows[i].at;
        uint64_t v64 = 0;
        uint32_t v32 = 0;

        if (rows[i].wide) {
            memcpy(&v64, p, sizeof v64);
        } else {
            memcpy(&v32, p, sizeof v32);
            v64 = v32;
        }
        fn(arg, rows[i].name, NULL, NULL, v64);
    }
    for (uint32_t op = 1; op < 128; op++) {
        if (m->server.requests[op] > 0) {
            fn(arg, "weir_requests_total", "op", msg_op_name(op), m->server.requests[op]);
        }
    }
    walk_limits(m, fn, arg);
    for (size_t i = 0; i < CORE_LATE_BUCKETS; i++) {
        fn(arg, "weir_timer_late", "up_to_ms", late_ms[i], m->group.late[i]);
    }
    for (size_t i = 0; i < m->n_lags; i++) {
        fn(arg, "weir_group_lag_messages", "group", m->lags[i].name, m->lags[i].lag);
        fn(arg, "weir_group_lag_milliseconds", "group", m->lags[i].name, m->lags[i].lag_ms);
        fn(arg, "weir_group_in_flight", "group", m->lags[i].name, m->lags[i].in_flight);
        fn(arg, "weir_group_live_members", "group", m->lags[i].name, m->lags[i].members);
    }
    for (unsigned code = 1;
         code < sizeof m->core.produce_refused / sizeof m->core.produce_refused[0]; code++) {
        if (m->core.produce_refused[code] > 0) {
            fn(arg, "weir_produce_refused_total", "reason", werr_name((enum werr)code),
               m->core.produce_refused[code]);
        }
    }
}
