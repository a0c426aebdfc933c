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

void metrics_take(struct metrics *m, struct server *srv)
{
    core_stats(srv->core, &m->core);
    store_stats(srv->st, &m->store);
    m->server = srv->stats;
    m->connections = srv->n_conns;
    m->large_input_bytes = srv->big_bytes;
    m->resident_bytes = resident();
    m->uptime_s = (uint64_t)((clock_mono_ns() - srv->started_mono_ns) / 1000000000);
    m->store_state = (uint64_t)store_state(srv->st);
}

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
    for (unsigned code = 1;
         code < sizeof m->core.produce_refused / sizeof m->core.produce_refused[0]; code++) {
        if (m->core.produce_refused[code] > 0) {
            fn(arg, "weir_produce_refused_total", "reason", werr_name((enum werr)code),
               m->core.produce_refused[code]);
        }
    }
}
