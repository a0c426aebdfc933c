#include "tests/unit/proto/samples_group.h"

#include <stdlib.h>

#include "proto/msg_group.h"

enum { TID = 1001, PART = 3, EPOCH = 5 };
static const int64_t TIME_MS = 1798000000000; /* 2026-12-23 */
static const uint8_t member_a[MSG_MEMBER_BYTES] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                                   0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
static const uint8_t member_b[MSG_MEMBER_BYTES] = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
                                                   0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f};

static struct slice id_of(const uint8_t *member)
{
    return slice_of(member, MSG_MEMBER_BYTES);
}

static struct msg_who who(const char *group)
{
    return (struct msg_who){slice_str(group), id_of(member_a), EPOCH};
}

static const struct slice nothing = {NULL, 0};

/* ---- log mode ---- */

void sample_group_join(struct buf *b)
{
    const struct slice topics[] = {slice_str("orders")};
    const struct msg_join m = {.group = slice_str("billing"),
                               .member = id_of(member_a),
                               .mode = GROUP_MODE_LOG,
                               .start = OFFSET_SPEC_START};

    msg_put_join(b, 20, &m, topics, 1);
}

void sample_group_join_queue(struct buf *b)
{
    const struct slice topics[] = {slice_str("orders"), slice_str("refunds")};
    const struct msg_join m = {.group = slice_str("mail"),
                               .member = id_of(member_a),
                               .mode = GROUP_MODE_QUEUE,
                               .order = GROUP_ORDER_KEY,
                               .start = TIME_MS};

    msg_put_join(b, 20, &m, topics, 2);
}

void sample_group_join_ok(struct buf *b)
{
    const struct msg_join_ok m = {.epoch = EPOCH, .grace_ms = 10000, .mode = GROUP_MODE_LOG};
    const struct msg_assigned parts[] = {{TID, PART, EPOCH, 41}, {TID, 0, EPOCH, 0}};

    msg_put_join_ok(b, 20, &m, parts, 2);
}

void sample_group_join_queue_ok(struct buf *b)
{
    const struct msg_join_ok m = {
        .epoch = EPOCH, .grace_ms = 10000, .mode = GROUP_MODE_QUEUE, .resumed = true};

    msg_put_join_ok(b, 20, &m, NULL, 0);
}

void sample_changed_group(struct buf *b)
{
    msg_put_changed(b, "group", slice_str("billing"));
}

void sample_heartbeat(struct buf *b)
{
    const struct msg_who w = who("billing");

    msg_put_heartbeat(b, 21, &w, NULL, 0, false);
}

void sample_heartbeat_ok(struct buf *b)
{
    const struct msg_assigned parts[] = {{TID, PART, EPOCH, 41}};

    msg_put_heartbeat_ok(b, 21, EPOCH + 1, true, parts, 1);
}

void sample_heartbeat_owned(struct buf *b)
{
    const struct msg_who w = who("billing");
    const struct msg_tp owned[] = {{TID, PART}};

    msg_put_heartbeat(b, 22, &w, owned, 1, true);
}

void sample_heartbeat_unchanged(struct buf *b)
{
    msg_put_heartbeat_ok(b, 22, EPOCH + 1, false, NULL, 0);
}

void sample_heartbeat_fenced(struct buf *b)
{
    const struct werror e = {.code = WERR_FENCED_MEMBER};

    frame_put_error(b, 22, &e, NULL, 0);
}

void sample_group_leave(struct buf *b)
{
    const struct msg_who w = who("billing");

    msg_put_leave(b, 23, &w);
}

void sample_group_leave_ok(struct buf *b)
{
    msg_put_ok(b, 23);
}

void sample_fetch_for(struct buf *b)
{
    const struct msg_fetch m = {
        .who = who("billing"), .max_wait_ms = 500, .min_bytes = 1, .max_bytes = 1 << 20};
    const struct msg_fetch_part parts[] = {
        {.tid = TID, .p = PART, .offset = 41, .max_bytes = 1 << 20}};

    msg_put_fetch(b, 24, &m, parts, 1);
}

void sample_subscribe_for(struct buf *b)
{
    const struct msg_subscribe m = {.who = who("billing"), .sub = 8, .credit = 1 << 20};
    const struct msg_sub_part parts[] = {{.tid = TID, .p = PART, .offset = 41}};

    msg_put_subscribe(b, 25, &m, parts, 1);
}

void sample_commit(struct buf *b)
{
    const struct msg_who w = who("billing");
    const struct msg_commit_item items[] = {
        {.tid = TID, .p = PART, .offset = 42},
        {.tid = TID, .p = 0, .offset = 7, .note = slice_str("file 17")}};

    msg_put_commit(b, 26, &w, items, 2);
}

void sample_commit_ok(struct buf *b)
{
    const struct werror err[] = {{.code = WERR_OK}, {.code = WERR_NOT_ASSIGNED}};

    msg_put_results(b, 26, err, 2);
}

void sample_committed(struct buf *b)
{
    const struct msg_tp parts[] = {{TID, PART}, {TID, 0}};

    msg_put_committed(b, 27, slice_str("billing"), parts, 2);
}

void sample_committed_all(struct buf *b)
{
    msg_put_committed(b, 27, slice_str("billing"), NULL, 0);
}

void sample_committed_ok(struct buf *b)
{
    const struct msg_committed c[] = {{TID, PART, 42, TIME_MS, slice_str("file 17")},
                                      {TID, 0, 0, 0, nothing}};

    msg_put_committed_ok(b, 27, c, 2);
}

/* ---- queue mode ---- */

void sample_acquire(struct buf *b)
{
    const struct msg_acquire m = {.who = who("mail"),
                                  .max_msgs = 100,
                                  .max_bytes = 1 << 20,
                                  .max_wait_ms = 5000,
                                  .lease_ms = 0,
                                  .attempt = 17};

    msg_put_acquire(b, 30, &m);
}

void sample_acquire_ok(struct buf *b)
{
    const struct msg_range ranges[] = {{41, 41, 2, 9001, slice_str("mail server did not answer")}};
    struct buf batch = {0};
    size_t at = msg_begin_acquire_ok(b, 30, 1);

    sample_stored_batch(&batch);
    msg_put_acquired_head(b, TID, PART, ranges, 1, batch.len);
    buf_put(b, batch.p, batch.len);
    frame_end(b, at, 0);
    buf_fini(&batch);
}

void sample_settle(struct buf *b)
{
    const struct msg_who w = who("mail");
    const struct msg_settle_item items[] = {
        {.tid = TID, .p = PART, .lease = 9001, .first = 41, .last = 45, .verb = VERB_ACK},
        {.tid = TID,
         .p = PART,
         .lease = 9001,
         .first = 46,
         .last = 46,
         .verb = VERB_NACK,
         .has_arg = true,
         .arg = 30000,
         .reason = slice_str("mail server did not answer")},
        {.tid = TID, .p = PART, .lease = 9001, .first = 47, .last = 47, .verb = VERB_RELEASE},
        {.tid = TID,
         .p = 0,
         .lease = 9002,
         .first = 7,
         .last = 7,
         .verb = VERB_DEAD,
         .reason = slice_str("no such address")},
        {.tid = TID,
         .p = 0,
         .lease = 9002,
         .first = 8,
         .last = 9,
         .verb = VERB_EXTEND,
         .has_arg = true,
         .arg = 60000},
    };

    msg_put_settle(b, 31, &w, items, 5);
}

void sample_settle_ok(struct buf *b)
{
    const struct werror err[] = {{.code = WERR_OK},
                                 {.code = WERR_OK},
                                 {.code = WERR_OK},
                                 {.code = WERR_OK},
                                 {.code = WERR_LEASE_LOST}};

    msg_put_results(b, 31, err, 5);
}

/* ---- delay ---- */

void sample_produce_delayed(struct buf *b)
{
    struct buf batch = {0};
    struct msg_produce m = {.tid = TID, .p = PART, .deliver_at_ms = TIME_MS + 60000};

    sample_batch(&batch);
    m.batch = buf_slice(&batch);
    msg_put_produce_head(b, 15, &m);
    buf_put(b, batch.p, batch.len);
    msg_put_produce_tail(b, &m);
    buf_fini(&batch);
}

void sample_produce_delayed_ok(struct buf *b)
{
    const struct msg_produce_ok m = {
        .append_ms = TIME_MS + 5, .level = LEVEL_DISK, .delay_id = slice_str("1798000060000-3-7")};

    msg_put_produce_ok(b, 15, &m);
}

void sample_cancel_delayed(struct buf *b)
{
    const struct slice ids[] = {slice_str("1798000060000-3-7.0"), slice_str("nonsense")};

    msg_put_cancel(b, 16, TID, ids, 2);
}

void sample_cancel_delayed_ok(struct buf *b)
{
    const uint8_t status[] = {CANCEL_DONE, CANCEL_UNKNOWN};

    msg_put_cancel_ok(b, 16, status, 2);
}

void sample_delayed_list(struct buf *b)
{
    msg_put_delayed_list(b, 17, TID, nothing, 100);
}

void sample_delayed_list_ok(struct buf *b)
{
    const struct msg_delayed d[] = {{slice_str("1798000060000-3-7"), PART, TIME_MS + 60000, 1, 78}};

    msg_put_delayed_list_ok(b, 17, d, 1, d[0].id);
}

/* ---- administration ---- */

static struct msg_group_row row(void)
{
    return (struct msg_group_row){.name = slice_str("mail"),
                                  .mode = GROUP_MODE_QUEUE,
                                  .state = slice_str("active"),
                                  .members = 2,
                                  .partitions = 1,
                                  .lag_msgs = 4711,
                                  .lag_ms = 90000,
                                  .in_flight = 7};
}

void sample_group_list(struct buf *b)
{
    msg_put_group_list(b, 50, slice_str("billing"), 100);
}

void sample_group_list_ok(struct buf *b)
{
    const struct msg_group_row first = row();
    const struct msg_group_row second = {.name = slice_str("reports"),
                                         .mode = GROUP_MODE_LOG,
                                         .state = slice_str("empty"),
                                         .partitions = 4};
    size_t at = msg_begin_group_list_ok(b, 50, 2);

    msg_put_group_row(b, &first);
    msg_put_group_row(b, &second);
    msg_end_group_list_ok(b, at, second.name);
}

void sample_group_describe(struct buf *b)
{
    msg_put_group_describe(b, 51, slice_str("mail"));
}

void sample_group_describe_ok(struct buf *b)
{
    struct msg_group_describe d = {.row = row(), .created_ms = TIME_MS, .epoch = EPOCH};
    const struct msg_group_member members[] = {{.member = id_of(member_a),
                                                .client = slice_str("py-mini 0.1"),
                                                .address = slice_str("127.0.0.1:50001"),
                                                .epoch = EPOCH,
                                                .in_flight = 7,
                                                .since_ms = TIME_MS},
                                               {.member = id_of(member_b),
                                                .client = slice_str("py-mini 0.1"),
                                                .address = slice_str("127.0.0.1:50002"),
                                                .epoch = EPOCH - 1,
                                                .since_ms = TIME_MS,
                                                .away = true}};
    const struct msg_group_part parts[] = {{.topic = slice_str("orders"),
                                            .tid = TID,
                                            .p = PART,
                                            .position = 41,
                                            .next = 48,
                                            .hw = 4752,
                                            .log_start = 10,
                                            .lag_msgs = 4711,
                                            .lag_ms = 90000,
                                            .in_flight = 7,
                                            .retrying = 1,
                                            .oldest_lease_ms = 1500,
                                            .oldest_holder = id_of(member_a)},
                                           {.topic = slice_str("orders"),
                                            .tid = TID,
                                            .p = 0,
                                            .owner = id_of(member_b),
                                            .position = 9,
                                            .next = 9,
                                            .hw = 9}};

    group_config_defaults(&d.conf, GROUP_MODE_QUEUE);
    msg_put_group_describe_ok(b, 51, &d, members, 2, parts, 2);
}

void sample_group_reset(struct buf *b)
{
    const struct msg_reset_item items[] = {{TID, PART, 10}, {TID, 0, 0}};

    msg_put_reset(b, 52, slice_str("billing"), items, 2, true, true);
}

void sample_group_reset_ok(struct buf *b)
{
    const struct msg_reset_result res[] = {
        {.tid = TID, .p = PART, .old = 42, .new_offset = 10},
        {.tid = TID, .p = 0, .old = 7, .new_offset = 0, .err = {.code = WERR_OFFSET_OUT_OF_RANGE}}};

    msg_put_reset_ok(b, 52, res, 2);
}

void sample_group_delete(struct buf *b)
{
    const struct msg_group_delete m = {.group = slice_str("billing"), .force = true};

    msg_put_group_delete(b, 53, &m);
}

void sample_group_delete_ok(struct buf *b)
{
    msg_put_ok(b, 53);
}

static void must(enum werr rc)
{
    if (rc != WERR_OK) {
        abort();
    }
}

static struct msg_group_alter alter(void)
{
    struct msg_group_alter m = {.group = slice_str("mail")};

    group_config_defaults(&m.conf, GROUP_MODE_QUEUE);
    must(group_config_set(&m.conf, "max_rate", "500/s", NULL));
    must(group_config_set(&m.conf, "paused_until", "forever", NULL));
    return m;
}

void sample_group_alter(struct buf *b)
{
    const struct msg_group_alter m = alter();

    msg_put_group_alter(b, 54, &m);
}

void sample_group_alter_ok(struct buf *b)
{
    const struct msg_group_alter m = alter();

    msg_put_group_alter_ok(b, 54, &m.conf);
}

/* ---- dead letters ---- */

static const char dlq[] = "orders~mail~dlq";

void sample_dlq_list(struct buf *b)
{
    const struct msg_dlq_list m = {slice_str(dlq), 0, 12, 100};

    msg_put_dlq_list(b, 55, &m);
}

void sample_dlq_list_ok(struct buf *b)
{
    const struct msg_dlq_range ranges[] = {
        {12, 19, DLQ_DEAD}, {20, 20, DLQ_WAITING}, {22, 22, DLQ_LEASED}};

    msg_put_dlq_list_ok(b, 55, ranges, 3, true, 23);
}

void sample_dlq_redrive(struct buf *b)
{
    const struct msg_dlq_span spans[] = {{0, 12, 19}, {1, 0, 0}};

    msg_put_dlq_redrive(b, 56, slice_str(dlq), spans, 2, 50, true);
}

void sample_dlq_redrive_ok(struct buf *b)
{
    msg_put_dlq_moved(b, 56, 8, 1);
}

void sample_dlq_purge(struct buf *b)
{
    const struct msg_dlq_span spans[] = {{0, 12, 19}};

    msg_put_dlq_purge(b, 57, slice_str(dlq), spans, 1, false);
}

void sample_dlq_purge_ok(struct buf *b)
{
    msg_put_dlq_moved(b, 57, 8, 0);
}
