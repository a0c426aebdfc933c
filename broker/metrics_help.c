#include "broker/metrics_help.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
static const struct {
    const char *name, *help;
} table[] = {
    {"weir_connections", "Open connections."},
    {"weir_connections_accepted_total", "Connections accepted since the start."},
    {"weir_connections_refused_total", "Connections refused: limits, or no descriptors."},
    {"weir_resident_memory_bytes", "Memory of the process."},
    {"weir_uptime_seconds", "Time since the start."},
    {"weir_received_bytes_total", "Bytes read from clients."},
    {"weir_sent_bytes_total", "Bytes written to clients."},
    {"weir_frames_total", "Frames read from clients."},
    {"weir_errors_sent_total", "Requests answered with an error."},
    {"weir_large_input_bytes", "Memory of large requests that are still arriving."},
    {"weir_loop_turns_total", "Turns of the event loop."},
    {"weir_loop_busy_seconds_total", "Time in which the loop did not wait."},
    {"weir_loop_turn_seconds_max", "The longest turn of the loop."},
    {"weir_requests_total", "Requests by operation."},
    {"weir_produce_requests_total", "Batches offered by producers."},
    {"weir_produce_records_total", "Messages stored."},
    {"weir_produce_bytes_total", "Bytes of batches stored."},
    {"weir_produce_duplicates_total", "Batches that were there already."},
    {"weir_produce_refused_total", "Batches refused, by reason."},
    {"weir_produce_inflight_bytes", "Produced bytes that wait for the disk."},
    {"weir_consume_bytes_total", "Bytes of batches given to consumers."},
    {"weir_consume_tail_hits_total", "Reads answered from the tail cache."},
    {"weir_consume_store_reads_total", "Reads answered from the store."},
    {"weir_tail_cache_bytes", "Memory of the tail cache."},
    {"weir_topics", "Topics."},
    {"weir_partitions", "Partitions of all topics."},
    {"weir_producers", "Producer states that are remembered."},
    {"weir_readers", "Readers and subscriptions."},
    {"weir_waiting_fetches", "Fetches that wait for data."},
    {"weir_retention_trims_total", "Trims by retention."},
    {"weir_retention_bytes_total", "Bytes deleted by retention."},
    {"weir_groups", "Consumer groups."},
    {"weir_group_members", "Members of all groups."},
    {"weir_group_rebalances_total", "Plans that moved partitions."},
    {"weir_group_commits_total", "Positions committed."},
    {"weir_group_fenced_total", "Requests of members that were replaced."},
    {"weir_group_acquired_total", "Messages leased to workers."},
    {"weir_group_acked_total", "Messages acknowledged by workers."},
    {"weir_group_nacked_total", "Messages that workers failed."},
    {"weir_group_released_total", "Messages given back untried."},
    {"weir_group_extended_total", "Leases extended."},
    {"weir_group_expired_total", "Leases that ran out."},
    {"weir_group_redelivered_total", "Messages leased again."},
    {"weir_group_lease_lost_total", "Verdicts under leases that were over."},
    {"weir_group_leased", "Messages leased now."},
    {"weir_group_holds", "Partitions kept past retention for a group that has not read them."},
    {"weir_group_lag_messages", "Messages that a group has not consumed yet."},
    {"weir_group_lag_seconds", "Age of the oldest message that a group has not consumed."},
    {"weir_group_in_flight", "Messages of a group that are handed out and not finished."},
    {"weir_group_live_members", "Members of a group."},
    {"weir_group_partition_lag_messages", "Messages of a partition that a group has not consumed yet."},
    {"weir_group_partition_lag_seconds", "Age of the oldest of them."},
    {"weir_group_partition_in_flight", "Messages of a partition handed out and not finished."},
    {"weir_dlq_dead_total", "Messages that became dead letters."},
    {"weir_dlq_moved_total", "Dead letters that were stored."},
    {"weir_dlq_redriven_total", "Dead letters given back to their group."},
    {"weir_dlq_purged_total", "Dead letters thrown away."},
    {"weir_scheduled_messages", "Delayed messages that wait."},
    {"weir_scheduled_delivered_total", "Delayed messages that became visible."},
    {"weir_scheduled_cancelled_total", "Delayed messages that were cancelled."},
    {"weir_timer_late_seconds", "How late delayed batches became visible."},
    {"weir_store_state", "0 ready, 1 full: produce is refused, 2 failed."},
    {"weir_store_disk_bytes", "Bytes of the store on disk."},
    {"weir_store_free_bytes", "Free bytes of its file system."},
    {"weir_store_log_bytes", "Bytes of the write-ahead log."},
    {"weir_store_live_bytes", "Bytes of batches that are not deleted."},
    {"weir_store_groups_total", "Commit groups: writes of the log."},
    {"weir_store_record_bytes_total", "Bytes of commit groups."},
    {"weir_store_txns_total", "Transactions committed."},
    {"weir_store_syncs_total", "Syncs of the log."},
    {"weir_store_sync_seconds_total", "Time spent in syncs of the log."},
    {"weir_store_sync_seconds_max", "The longest sync."},
    {"weir_store_reads_total", "Reads of stored batches."},
    {"weir_store_read_bytes_total", "Bytes of them."},
    {"weir_store_moved_bytes_total", "Bytes copied to give a bucket back."},
    {"weir_store_reclaimed_bytes_total", "Bytes given back to the file system."},
    {"weir_store_buckets", "Buckets of the log."},
    {"weir_store_epoch", "Raised at every start."},
    {"weir_store_lsn", "Number of the newest commit group."},
    {"weir_store_queued_bytes", "Bytes submitted and not yet durable."},
    {"weir_topic_messages", "Messages kept by a topic."},
    {"weir_topic_bytes", "Bytes kept by a topic."},
    {"weir_topic_partitions", "Partitions of a topic."},
    {"weir_partition_log_start", "First offset of a partition that is kept."},
    {"weir_partition_high_watermark", "Offset that the next message of a partition gets."},
    {"weir_partition_bytes", "Bytes kept by a partition."},
    {"weir_partition_last_append_timestamp_seconds", "When the newest message of a partition came."},
    {"weir_metrics_topics_left_out", "Topics without series of their own here: /metrics/topic?name=NAME has them."},
};
/* clang-format on */

const char *metrics_help(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return table[i].help;
        }
    }
    return "";
}
