/*
 * Kill points: named places in the broker where a test lets the process die as by kill -9.
 *
 * Only a build with -DWEIR_KILLPOINTS=ON has them; in any other WEIR_KILLPOINT() is nothing at all.
 * There the environment decides:
 *
 *   WEIR_KILLPOINT=wal_sync_before:3   die at the third time that this point is reached
 *   WEIR_KILLPOINT=list                say at exit how often each point was reached (stderr)
 *
 * The list below is the only one: the tests read it from here (tests/faults/killpoints.py).
 */
#ifndef WEIR_PROTO_KILLPOINT_H
#define WEIR_PROTO_KILLPOINT_H

/*
 * X(name, when, what has just happened or is about to)
 *
 * When it is reached: RUN = under load, START = at every start, FRESH = at the first start of a
 * store, STOP = when the broker is told to stop, SPACE = when buckets end and go.
 */
#define WEIR_KILLPOINT_LIST(X)                                                                     \
    X(wal_write_before, RUN, "a record is about to be written to the log")                         \
    X(wal_write_after, RUN, "it is written, not synced")                                           \
    X(wal_sync_before, RUN, "what was written is about to be synced")                              \
    X(wal_sync_after, RUN, "it is durable, and nobody knows")                                      \
    X(wal_switch_before, SPACE, "the log begins a new file, the old one is about to be synced")    \
    X(wal_switch_after, SPACE, "the old file is synced, the new one is ours")                      \
    X(txn_durable, RUN, "the committer counted a record as durable, the loop is not told")         \
    X(hw_raise_before, RUN, "the loop knows, the high watermark is as it was")                     \
    X(hw_raise_after, RUN, "readers may see it, its producer is not answered")                     \
    X(ack_before, RUN, "a produce request is about to be answered")                                \
    X(send_before, RUN, "answers are about to go to a socket")                                     \
    X(send_after, RUN, "the socket took them")                                                     \
    X(commit_row, RUN, "the row of a group's position is in the txn that leaves")                  \
    X(commit_durable, RUN, "a group's position is durable, its member is not answered")            \
    X(generation_row, RUN, "a group's row with its generation is in the txn that leaves")          \
    X(generation_durable, RUN, "a generation is durable, nobody was granted anything")             \
    X(grant_before, RUN, "a grant is durable, its member is not told")                             \
    X(lease_row, RUN, "the row of a lease is in the txn that leaves")                              \
    X(acked_row, RUN, "a row of settled messages is in the txn that leaves")                       \
    X(retry_row, RUN, "the row of a retry is in the txn that leaves")                              \
    X(settle_before, RUN, "verdicts are durable, their worker is not answered")                    \
    X(dead_copied, RUN, "the copy of a dead letter and its settlement are in the txn that leaves") \
    X(dead_durable, RUN, "a dead letter is durable in its new place")                              \
    X(delay_kept, RUN, "the row of a delayed batch is in the open txn")                            \
    X(delay_entered, RUN, "a delayed batch and the end of its row are in the open txn")            \
    X(delay_durable, RUN, "a delayed batch is durable in the log")                                 \
    X(producer_durable, RUN, "a new producer's number is durable, it is not answered")             \
    X(floor_begin, RUN, "a floor is due")                                                          \
    X(floor_wal_synced, RUN, "the log was synced for the floor")                                   \
    X(floor_manifest_synced, RUN, "so was the manifest")                                           \
    X(floor_opened, RUN, "the older slot is open, nothing is written")                             \
    X(floor_written, RUN, "the slot is written, not synced")                                       \
    X(floor_synced, RUN, "the slot is synced")                                                     \
    X(floor_dir_before, FRESH, "a new slot's name is about to be synced")                          \
    X(floor_dir_after, FRESH, "a new slot's name is synced")                                       \
    X(topic_create_before, RUN, "the creation of a topic is about to be submitted")                \
    X(topic_create_after, RUN, "it is durable, nobody is answered")                                \
    X(topic_delete_before, RUN, "the deletion of a topic is about to be submitted")                \
    X(topic_delete_after, RUN, "it is durable, nobody is answered")                                \
    X(bucket_end_before, SPACE, "a bucket ended, its tables are about to be flushed")              \
    X(bucket_end_between, SPACE, "some of its tables are being flushed")                           \
    X(bucket_end_after, SPACE, "all of them are")                                                  \
    X(bucket_move, SPACE, "survivors of a bucket are about to be copied on")                       \
    X(bucket_moved, SPACE, "a chunk of survivors is durable in its new bucket")                    \
    X(bucket_cleared, SPACE, "the rows of a dead bucket are gone, its files are not")              \
    X(bucket_files_before, SPACE, "files of a dead bucket are about to be dropped")                \
    X(bucket_files_after, SPACE, "files of a dead bucket are dropped")                             \
    X(start_locked, START, "the directory is locked, nothing is read")                             \
    X(start_floor_read, START, "the floor is read")                                                \
    X(start_replayed, START, "RocksDB has replayed its log and cut off what was torn")             \
    X(start_loaded, START, "all rows are loaded and compared with the floor")                      \
    X(start_epoch, START, "the new epoch is durable")                                              \
    X(start_floored, START, "the first floor of this life is written")                             \
    X(start_core, START, "topics, producers and groups are loaded")                                \
    X(start_listening, START, "sockets listen, nothing is accepted")                               \
    X(stop_drained, STOP, "everything in flight is answered")                                      \
    X(stop_closing, STOP, "threads are stopped, the clean floor is not written")                   \
    X(stop_closed, STOP, "the store is closed")

#ifdef WEIR_KILLPOINTS

#define WEIR_KILLPOINT_NAME(name, when, text) KILLPOINT_##name,
enum killpoint { WEIR_KILLPOINT_LIST(WEIR_KILLPOINT_NAME) KILLPOINT_COUNT };
#undef WEIR_KILLPOINT_NAME

/* Counts a visit; does not return when it is the one to die at. Any thread. */
void killpoint_hit(enum killpoint at);

#define WEIR_KILLPOINT(name) killpoint_hit(KILLPOINT_##name)

#else

#define WEIR_KILLPOINT(name) ((void)0)

#endif

#endif
