#include "tests/unit/proto/samples.h"

#include <stdlib.h>

#include "proto/msg_server.h"
#include "tests/unit/proto/samples_group.h"

enum { CORR = 1, SUB = 7, TID = 1001, PART = 3, PID = 7 };
static const int64_t TIME_MS = 1798000000000; /* 2026-12-23 */

static void must(enum werr rc)
{
    if (rc != WERR_OK) {
        abort();
    }
}

static void finish(struct batch_builder *bb, int codec, struct buf *b)
{
    const struct batch_producer prod = {.id = PID, .epoch = 1, .base_seq = 0};
    struct buf zip = {0};
    struct slice out;

    must(batch_finish(bb, &prod, codec, &zip, &out));
    buf_put(b, out.p, out.n);
    buf_fini(&zip);
    batch_builder_fini(bb);
}

void sample_batch(struct buf *b)
{
    struct batch_builder bb;

    batch_builder_init(&bb, 0);
    must(batch_add(&bb, TIME_MS, slice_str("42"), slice_str("hello"), NULL, 0));
    finish(&bb, BATCH_CODEC_NONE, b);
}

void sample_stored_batch(struct buf *b)
{
    size_t at = b->len;

    sample_batch(b);
    batch_stamp(b->p + at, 41, TIME_MS + 5, 1);
}

void sample_zstd_batch(struct buf *b)
{
    const struct record_header hs[] = {
        {slice_str("traceparent"),
         slice_str("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
        {slice_str("empty"), slice_str("")},
    };
    struct batch_builder bb;

    batch_builder_init(&bb, 0);
    for (int i = 0; i < 40; i++) {
        must(batch_add(&bb, TIME_MS + (int64_t)i * 100, slice_of(NULL, 0),
                       slice_str("{\"sensor\": 17, \"value\": 20.5, \"unit\": \"celsius\"}"), hs,
                       (size_t)(i % 3)));
    }
    finish(&bb, BATCH_CODEC_ZSTD, b);
}

static void put_hello(struct buf *b)
{
    const struct msg_hello m = {WEIR_PROTO_VERSION, slice_str("py-mini"), slice_str("0.1")};

    msg_put_hello(b, CORR, &m);
}

static void put_hello_ok(struct buf *b)
{
    static const char *const features[] = {"stream", "idempotence", "slots", "groups",
                                           "queues", "delay",       NULL};
    static const uint8_t id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const struct msg_hello_ok m = {
        .proto = WEIR_PROTO_VERSION,
        .server = slice_str("weir"),
        .version = slice_str("0.1.0"),
        .limits = {.frame = LIMIT_FRAME,
                   .batch = LIMIT_BATCH,
                   .message = LIMIT_MESSAGE_CAP,
                   .inflight = LIMIT_INFLIGHT_REQUESTS,
                   .inflight_bytes = LIMIT_INFLIGHT_BYTES,
                   .partitions_per_fetch = LIMIT_FETCH_PARTITIONS,
                   .subs = LIMIT_SUBS,
                   .name = LIMIT_NAME,
                   .producer_window = LIMIT_PRODUCER_WINDOW,
                   .unzipped = LIMIT_UNZIPPED},
        .conn_id = slice_of(id, sizeof id),
        .cluster_id = slice_of(id, sizeof id),
        .broker = 1,
    };

    msg_put_hello_ok(b, CORR, &m, features);
}

static void put_hello_refused(struct buf *b)
{
    const struct frame_detail d[] = {{"min", NULL, 1}, {"max", NULL, 1}};
    struct werror e;

    (void)werror_set(&e, WERR_UNSUPPORTED_PROTO, "protocol version 2, this server speaks 1");
    frame_put_error(b, CORR, &e, d, 2);
}

static void put_ping(struct buf *b)
{
    msg_put_ping(b, 2);
}

static void put_ping_ok(struct buf *b)
{
    msg_put_ping_ok(b, 2, TIME_MS);
}

static void put_init_producer(struct buf *b)
{
    const struct msg_init_producer m = {slice_str("billing-7")};

    msg_put_init_producer(b, 3, &m);
}

static void put_init_unnamed(struct buf *b)
{
    const struct msg_init_producer m = {{NULL, 0}};

    msg_put_init_producer(b, 3, &m);
}

static void put_init_producer_ok(struct buf *b)
{
    const struct msg_producer_pos pos[] = {{TID, PART, 4711, 900}, {TID, 0, UINT32_MAX, 12}};

    msg_put_init_producer_ok(b, 3, PID, 2, pos, 2);
}

static void put_metadata(struct buf *b)
{
    const struct slice names[] = {slice_str("orders")};

    msg_put_metadata(b, 4, names, 1, slice_of(NULL, 0), 0);
}

static void put_metadata_all(struct buf *b)
{
    msg_put_metadata(b, 4, NULL, 0, slice_str("orders"), 100);
}

static void put_metadata_ok(struct buf *b)
{
    const struct msg_part_meta parts[] = {{0, 1, 1}, {1, 1, 1}};
    const struct msg_slot_run runs[] = {{512, 0}, {512, 1}};
    struct topic_config c;
    struct werror unknown;
    size_t at = msg_begin_metadata_ok(b, 4, 17, 1, slice_str("127.0.0.1"), 9347, 2);

    topic_config_defaults(&c);
    c.partitions = 2;
    msg_put_topic_meta(b, slice_str("orders"), TID, NULL, parts, 2, runs, 2, &c);
    (void)werror_set(&unknown, WERR_UNKNOWN_TOPIC, "unknown topic or partition");
    msg_put_topic_meta(b, slice_str("absent"), 0, &unknown, NULL, 0, NULL, 0, NULL);
    msg_end_metadata_ok(b, at, slice_of(NULL, 0));
}

static void put_produce(struct buf *b)
{
    struct buf batch = {0};
    struct msg_produce m = {.tid = TID, .p = PART};

    sample_batch(&batch);
    m.batch = buf_slice(&batch);
    msg_put_produce_head(b, 5, &m);
    buf_put(b, batch.p, batch.len);
    buf_fini(&batch);
}

static void put_produce_zstd(struct buf *b)
{
    struct buf batch = {0};
    struct msg_produce m = {.tid = TID, .p = PART};

    sample_zstd_batch(&batch);
    m.batch = buf_slice(&batch);
    msg_put_produce_head(b, 5, &m);
    buf_put(b, batch.p, batch.len);
    buf_fini(&batch);
}

static void put_produce_ok(struct buf *b)
{
    const struct msg_produce_ok m = {
        .has_offset = true, .base_offset = 41, .append_ms = TIME_MS + 5, .level = LEVEL_DISK};

    msg_put_produce_ok(b, 5, &m);
}

static void put_produce_dup(struct buf *b)
{
    const struct msg_produce_ok m = {.level = LEVEL_DISK, .flags = PRODUCE_DUPLICATE};

    msg_put_produce_ok(b, 5, &m);
}

static void put_produce_gap(struct buf *b)
{
    const struct frame_detail d[] = {{"expected", NULL, 5}, {"got", NULL, 9}};
    const struct werror e = {.code = WERR_OUT_OF_ORDER_SEQ};

    frame_put_error(b, 5, &e, d, 2);
}

static void put_produce_full(struct buf *b)
{
    const struct werror e = {.code = WERR_STORAGE_FULL, .retry_after_ms = 1000};

    frame_put_error(b, 5, &e, NULL, 0);
}

static void put_fetch(struct buf *b)
{
    const struct msg_fetch m = {.max_wait_ms = 500, .min_bytes = 1, .max_bytes = 1 << 20};
    const struct msg_fetch_part parts[] = {
        {.tid = TID, .p = PART, .offset = 41, .max_bytes = 1 << 20},
        {.tid = TID, .p = 0, .offset = 0, .max_bytes = 65536, .has_epoch = true, .epoch = 1}};

    msg_put_fetch(b, 6, &m, parts, 2);
}

static void put_fetch_ok(struct buf *b)
{
    const struct frame_detail d[] = {{"log_start", NULL, 10}, {"hw", NULL, 20}};
    struct buf batch = {0};
    struct werror gone;
    size_t at = msg_begin_fetch_ok(b, 6, 2);

    sample_stored_batch(&batch);
    msg_put_fetch_part_head(b, TID, PART, NULL, NULL, 0, 42, 0, batch.len);
    buf_put(b, batch.p, batch.len);
    (void)werror_set(&gone, WERR_OFFSET_OUT_OF_RANGE, "offset 0 is below the log's start 10");
    msg_put_fetch_part_head(b, TID, 0, &gone, d, 2, 20, 10, 0);
    frame_end(b, at, 0);
    buf_fini(&batch);
}

static void put_subscribe(struct buf *b)
{
    const struct msg_subscribe m = {.sub = SUB, .credit = 1 << 20, .max_wait_ms = 20};
    const struct msg_sub_part parts[] = {
        {.tid = TID, .p = PART, .offset = 41},
        {.tid = TID, .p = 0, .offset = 0, .has_epoch = true, .epoch = 1}};

    msg_put_subscribe(b, 8, &m, parts, 2);
}

static void put_ok(struct buf *b)
{
    msg_put_ok(b, 8);
}

static void put_credit(struct buf *b)
{
    msg_put_credit(b, SUB, (1 << 20) + 78);
}

static void put_sub_update(struct buf *b)
{
    const struct msg_sub_part add[] = {{.tid = TID, .p = 2, .offset = 9}};
    const struct msg_sub_part drop[] = {{.tid = TID, .p = PART}, {.tid = TID, .p = 0}};

    msg_put_sub_update(b, 9, SUB, add, 1, drop, 2);
}

static void put_unsubscribe(struct buf *b)
{
    msg_put_sub_update(b, 9, SUB, NULL, 0, NULL, 0);
}

static void put_deliver(struct buf *b)
{
    struct buf batch = {0};
    size_t at = msg_begin_deliver(b, SUB, 2);

    sample_stored_batch(&batch);
    msg_put_deliver_part_head(b, TID, PART, 42, batch.len);
    buf_put(b, batch.p, batch.len);
    msg_put_deliver_part_head(b, TID, 0, 20, 0);
    frame_end(b, at, 0);
    buf_fini(&batch);
}

static void put_sub_error(struct buf *b)
{
    const struct frame_detail d[] = {{"log_start", NULL, 10}, {"hw", NULL, 20}};
    const struct werror e = {.code = WERR_OFFSET_OUT_OF_RANGE};

    msg_put_sub_error(b, SUB, TID, 0, &e, d, 2);
}

static void put_going_away(struct buf *b)
{
    msg_put_going_away(b, "shutting down", 10000);
}

static void put_changed(struct buf *b)
{
    msg_put_changed(b, "topic", slice_str("orders"));
}

static void put_list_offsets(struct buf *b)
{
    const struct msg_offset_spec s[] = {
        {TID, PART, OFFSET_SPEC_START}, {TID, PART, OFFSET_SPEC_END}, {TID, PART, 1798000000000}};

    msg_put_list_offsets(b, 10, s, 3);
}

static void put_list_offsets_ok(struct buf *b)
{
    const struct msg_offset o[] = {{.tid = TID, .p = PART, .offset = 0, .ts_ms = TIME_MS},
                                   {.tid = TID, .p = PART, .offset = 42},
                                   {.tid = 9, .err = {.code = WERR_UNKNOWN_TOPIC}}};

    msg_put_list_offsets_ok(b, 10, o, 3);
}

static struct msg_topic topic(void)
{
    struct msg_topic m = {.name = slice_str("orders")};

    topic_config_defaults(&m.conf);
    must(topic_config_set(&m.conf, "partitions", "2", NULL));
    must(topic_config_set(&m.conf, "retention.ms", "1d", NULL));
    must(topic_config_set(&m.conf, "durability", "os", NULL));
    return m;
}

static void put_topic_create(struct buf *b)
{
    const struct msg_topic m = topic();

    msg_put_topic_create(b, 11, &m);
}

static void put_topic_alter(struct buf *b)
{
    struct msg_topic m = topic();

    m.dry_run = true;
    m.conf.set = TKEY_RETENTION_MS;
    msg_put_topic_alter(b, 11, &m);
}

static void put_topic_ok(struct buf *b)
{
    const struct msg_topic m = topic();

    msg_put_topic_ok(b, 11, TID, &m.conf);
}

static void put_topic_delete(struct buf *b)
{
    msg_put_topic_delete(b, 12, slice_str("orders"), false);
}

static void put_topic_delete_ok(struct buf *b)
{
    msg_put_topic_delete_ok(b, 12, TID, 123456789);
}

static void put_topic_describe(struct buf *b)
{
    msg_put_topic_describe(b, 13, slice_str("orders"));
}

static void put_topic_describe_ok(struct buf *b)
{
    const struct msg_topic m = topic();
    const struct msg_part_stat parts[] = {{0, 1, 10, 20, 4096, TIME_MS}, {1, 1, 0, 0, 0, 0}};

    msg_put_topic_describe_ok(b, 13, m.name, TID, TIME_MS, &m.conf, parts, 2);
}

static void put_metrics(struct buf *b)
{
    msg_put_metrics(b, 14, slice_str("weir_"));
}

static void put_metrics_ok(struct buf *b)
{
    size_t at = msg_begin_metrics_ok(b, 14, 2);

    msg_put_metric(b, "weir_connections", NULL, NULL, 3);
    msg_put_metric(b, "weir_requests_total", "op", "PRODUCE", 4711);
    frame_end(b, at, 0);
}

static void put_server_conns(struct buf *b)
{
    msg_put_server_conns(b, 15, 7, 500);
}

static void put_server_conns_ok(struct buf *b)
{
    const struct msg_server_conn conns[] = {{.id = 7,
                                             .client = slice_str("libweir/0.1"),
                                             .address = slice_str("127.0.0.1:41234"),
                                             .state = slice_str("ready"),
                                             .age_ms = 61000,
                                             .idle_ms = 12,
                                             .requests = 3,
                                             .request_bytes = 4096,
                                             .subs = 1,
                                             .members = 2,
                                             .bytes_in = 70000,
                                             .output_bytes = 100},
                                            {.id = 9,
                                             .address = slice_str("unix"),
                                             .state = slice_str("fresh"),
                                             .waits_for = slice_str("input")}};
    size_t at = msg_begin_server_conns_ok(b, 15, 2);

    msg_put_server_conn(b, &conns[0]);
    msg_put_server_conn(b, &conns[1]);
    msg_end_server_conns_ok(b, at, true, 12);
}

static void put_server_config(struct buf *b)
{
    msg_put_server_config(b, 16);
}

static void put_server_config_ok(struct buf *b)
{
    const struct msg_server_setting settings[] = {
        {slice_str("memory"), slice_str("256M"), slice_str("default"), false},
        {slice_str("log_level"), slice_str("\"debug\""), slice_str("/etc/weir/weir.toml:7"), true}};
    size_t at = msg_begin_server_config_ok(b, 16, 2);

    msg_put_server_setting(b, &settings[0]);
    msg_put_server_setting(b, &settings[1]);
    frame_end(b, at, 0);
}

static void put_backup_create(struct buf *b)
{
    msg_put_backup_create(b, 17, slice_str("before-upgrade"));
}

static void put_backup_create_ok(struct buf *b)
{
    const struct msg_backup m = {.path = slice_str("/var/lib/weir/backups/before-upgrade"),
                                 .files = 17,
                                 .bytes = 5000000000,
                                 .created_ms = 1795558212345,
                                 .took_ms = 210};

    msg_put_backup_create_ok(b, 17, &m);
}

static const struct sample table[] = {
    {"hello", FROM_CLIENT, OP_HELLO, put_hello},
    {"hello_ok", FROM_SERVER, OP_HELLO, put_hello_ok},
    {"hello_refused", FROM_SERVER, OP_HELLO, put_hello_refused},
    {"ping", FROM_CLIENT, OP_PING, put_ping},
    {"ping_ok", FROM_SERVER, OP_PING, put_ping_ok},
    {"init_producer", FROM_CLIENT, OP_INIT_PRODUCER, put_init_producer},
    {"init_producer_unnamed", FROM_CLIENT, OP_INIT_PRODUCER, put_init_unnamed},
    {"init_producer_ok", FROM_SERVER, OP_INIT_PRODUCER, put_init_producer_ok},
    {"metadata", FROM_CLIENT, OP_METADATA, put_metadata},
    {"metadata_page", FROM_CLIENT, OP_METADATA, put_metadata_all},
    {"metadata_ok", FROM_SERVER, OP_METADATA, put_metadata_ok},
    {"produce", FROM_CLIENT, OP_PRODUCE, put_produce},
    {"produce_zstd", FROM_CLIENT, OP_PRODUCE, put_produce_zstd},
    {"produce_ok", FROM_SERVER, OP_PRODUCE, put_produce_ok},
    {"produce_duplicate", FROM_SERVER, OP_PRODUCE, put_produce_dup},
    {"produce_gap", FROM_SERVER, OP_PRODUCE, put_produce_gap},
    {"produce_full", FROM_SERVER, OP_PRODUCE, put_produce_full},
    {"fetch", FROM_CLIENT, OP_FETCH, put_fetch},
    {"fetch_ok", FROM_SERVER, OP_FETCH, put_fetch_ok},
    {"subscribe", FROM_CLIENT, OP_SUBSCRIBE, put_subscribe},
    {"subscribe_ok", FROM_SERVER, OP_SUBSCRIBE, put_ok},
    {"credit", FROM_CLIENT, OP_CREDIT, put_credit},
    {"sub_update", FROM_CLIENT, OP_SUB_UPDATE, put_sub_update},
    {"unsubscribe", FROM_CLIENT, OP_SUB_UPDATE, put_unsubscribe},
    {"deliver", FROM_SERVER, 0, put_deliver},
    {"sub_error", FROM_SERVER, 0, put_sub_error},
    {"going_away", FROM_SERVER, 0, put_going_away},
    {"changed", FROM_SERVER, 0, put_changed},
    {"list_offsets", FROM_CLIENT, OP_LIST_OFFSETS, put_list_offsets},
    {"list_offsets_ok", FROM_SERVER, OP_LIST_OFFSETS, put_list_offsets_ok},
    {"topic_create", FROM_CLIENT, OP_TOPIC_CREATE, put_topic_create},
    {"topic_alter", FROM_CLIENT, OP_TOPIC_ALTER, put_topic_alter},
    {"topic_ok", FROM_SERVER, OP_TOPIC_CREATE, put_topic_ok},
    {"topic_delete", FROM_CLIENT, OP_TOPIC_DELETE, put_topic_delete},
    {"topic_delete_ok", FROM_SERVER, OP_TOPIC_DELETE, put_topic_delete_ok},
    {"topic_describe", FROM_CLIENT, OP_TOPIC_DESCRIBE, put_topic_describe},
    {"topic_describe_ok", FROM_SERVER, OP_TOPIC_DESCRIBE, put_topic_describe_ok},
    {"metrics", FROM_CLIENT, OP_METRICS, put_metrics},
    {"metrics_ok", FROM_SERVER, OP_METRICS, put_metrics_ok},
    {"server_connections", FROM_CLIENT, OP_SERVER_CONNECTIONS, put_server_conns},
    {"server_connections_ok", FROM_SERVER, OP_SERVER_CONNECTIONS, put_server_conns_ok},
    {"server_config", FROM_CLIENT, OP_SERVER_CONFIG, put_server_config},
    {"server_config_ok", FROM_SERVER, OP_SERVER_CONFIG, put_server_config_ok},
    {"backup_create", FROM_CLIENT, OP_BACKUP_CREATE, put_backup_create},
    {"backup_create_ok", FROM_SERVER, OP_BACKUP_CREATE, put_backup_create_ok},
#define X(name, from, op) {#name, from, op, sample_##name},
    GROUP_SAMPLES(X)
#undef X
};

const struct sample *samples(size_t *n)
{
    *n = sizeof table / sizeof table[0];
    return table;
}

const struct sample *sample_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

void sample_put(const struct sample *s, struct buf *b)
{
    s->put(b);
}
