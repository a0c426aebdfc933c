#include "tests/unit/proto/walk.h"

#include <stdlib.h>

#include "proto/compress.h"
#include "proto/msg_server.h"
#include "tests/unit/proto/walk_group.h"

static volatile unsigned sink;
static unsigned long elements;

void touch(struct slice s)
{
    unsigned sum = 0;

    for (size_t i = 0; i < s.n; i++) {
        sum += s.p[i];
    }
    sink += sum;
    elements++;
}

unsigned long walk_elements(void)
{
    return elements;
}

static enum werr walk_records(struct slice batch, const struct batch_head *h, struct werror *e)
{
    struct buf scratch = {0};
    struct record_iter it;
    struct record rec;
    enum werr rc = record_open(&it, batch, h, &scratch, e);

    if (rc == WERR_OK) {
        while (record_next(&it, &rec)) {
            struct slice name, value;

            sink += (unsigned)(h->base_ts_ms + rec.ts_delta_ms);
            touch(rec.key);
            touch(rec.value);
            while (record_header_next(&rec.headers, &name, &value)) {
                touch(name);
                touch(value);
            }
        }
        rc = it.err;
    }
    buf_fini(&scratch);
    return rc;
}

enum werr walk_batches(struct slice run, struct werror *e)
{
    struct batch_head h;
    struct slice batch;
    enum werr rc;

    while ((rc = batch_next(&run, true, &h, &batch, e)) == WERR_OK) {
        rc = walk_records(batch, &h, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    return rc == WERR_NOT_FOUND ? WERR_OK : rc;
}

enum werr walk_produced(struct slice batch, bool full, struct werror *e)
{
    const struct batch_rules rules = {
        .max_bytes = LIMIT_BATCH,
        .max_message_bytes = LIMIT_MESSAGE_DEFAULT,
        .walk_records = true,
        .unzip = full,
    };
    struct batch_head h;
    uint8_t *copy = malloc(batch.n + 1);
    enum werr rc;

    if (copy == NULL) {
        return WERR_NOMEM;
    }
    if (batch.n != 0) {
        memcpy(copy, batch.p, batch.n);
    }
    rc = batch_check(copy, batch.n, &rules, &h, e);
    if (rc == WERR_OK) {
        enum werr walked;

        batch_stamp(copy, 7, 1700000000000, 1);
        walked = walk_batches(slice_of(copy, batch.n), NULL);
        if (walked != WERR_OK && (full || h.codec == BATCH_CODEC_NONE)) {
            abort(); /* what a broker accepted after a full look, every consumer can read */
        }
    }
    free(copy);
    return rc;
}

static enum werr walk_fetch(struct frame *f, struct werror *e)
{
    struct msg_fetch m;
    struct msg_fetch_part p;
    uint32_t n = 0;
    enum werr rc = msg_get_fetch(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.who.group);
        touch(m.who.member);
    }
    while (rc == WERR_OK && msg_next_fetch_part(&m.parts, &p)) {
        n++;
        elements++;
    }
    return rc == WERR_OK && n != m.n_parts ? (abort(), rc) : rc;
}

static enum werr walk_subscribe(struct frame *f, struct werror *e)
{
    struct msg_subscribe m;
    struct msg_sub_part p;
    uint32_t n = 0;
    enum werr rc = msg_get_subscribe(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.who.group);
        touch(m.who.member);
    }
    while (rc == WERR_OK && msg_next_sub_part(&m.parts, &p)) {
        n++;
        elements++;
    }
    return rc == WERR_OK && n != m.n_parts ? (abort(), rc) : rc;
}

static enum werr walk_sub_update(struct frame *f, struct werror *e)
{
    struct msg_sub_update m;
    struct msg_sub_part part;
    uint64_t tid;
    uint32_t p, n = 0;
    enum werr rc = msg_get_sub_update(&f->args, &m, e);

    while (rc == WERR_OK && msg_next_sub_part(&m.add, &part)) {
        n++;
    }
    while (rc == WERR_OK && msg_next_drop(&m.drop, &tid, &p)) {
        n++;
    }
    elements += n;
    return rc == WERR_OK && n != m.n_add + m.n_drop ? (abort(), rc) : rc;
}

static enum werr walk_list_offsets(struct frame *f, struct werror *e)
{
    struct msg_offset_spec s;
    uint32_t n, seen = 0;
    enum werr rc = msg_get_list_offsets(&f->args, &n, e);

    while (rc == WERR_OK && msg_next_offset_spec(&f->args, &s)) {
        seen++;
        elements++;
    }
    return rc == WERR_OK && n != seen ? (abort(), rc) : rc;
}

static enum werr walk_metadata(struct frame *f, struct werror *e)
{
    struct msg_metadata m;
    enum werr rc = msg_get_metadata(&f->args, &m, e);

    for (uint32_t i = 0; rc == WERR_OK && i < m.n_names; i++) {
        touch(mpread_str(&m.names, SIZE_MAX));
    }
    if (rc == WERR_OK) {
        touch(m.after);
    }
    return rc == WERR_OK && m.names.err != WERR_OK ? (abort(), rc) : rc;
}

static enum werr walk_topic(uint32_t op, struct frame *f, struct werror *e)
{
    struct msg_topic m = {0};
    enum werr rc = op == OP_TOPIC_DELETE     ? msg_get_topic_delete(&f->args, &m, e)
                   : op == OP_TOPIC_DESCRIBE ? msg_get_topic_describe(&f->args, &m.name, e)
                                             : msg_get_topic_create(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.name);
    }
    return rc;
}

static enum werr walk_session(uint32_t op, struct frame *f, struct werror *e)
{
    struct msg_hello hello = {0};
    struct msg_init_producer init = {0};
    struct slice prefix = {NULL, 0};
    uint64_t limit;
    uint32_t n;
    enum werr rc;

    switch (op) {
    case OP_HELLO:
        rc = msg_get_hello(&f->args, &hello, e);
        break;
    case OP_PING:
    case OP_SERVER_CONFIG:
        rc = msg_get_empty(&f->args, e);
        break;
    case OP_INIT_PRODUCER:
        rc = msg_get_init_producer(&f->args, &init, e);
        break;
    case OP_METRICS:
        rc = msg_get_metrics(&f->args, &prefix, e);
        break;
    case OP_BACKUP_CREATE:
        rc = msg_get_backup_create(&f->args, &prefix, e);
        break;
    case OP_SERVER_CONNECTIONS:
        rc = msg_get_server_conns(&f->args, &limit, &n, e);
        break;
    case OP_CREDIT:
        rc = msg_get_credit(&f->args, &limit, e);
        break;
    default:
        return WERR_UNKNOWN_OP;
    }
    if (rc == WERR_OK) {
        touch(hello.client);
        touch(hello.version);
        touch(init.name);
        touch(prefix);
    }
    return rc;
}

static enum werr walk_server_ok(uint32_t op, struct frame *f, struct werror *e)
{
    struct msg_server_conns_ok ok;
    struct msg_server_conn c;
    struct msg_server_setting s;
    struct msg_backup backup;
    struct mpread settings;
    uint32_t n;
    enum werr rc;

    if (op == OP_BACKUP_CREATE) {
        rc = msg_get_backup_create_ok(&f->args, &backup, e);
        if (rc == WERR_OK) {
            touch(backup.path);
        }
        return rc;
    }
    if (op == OP_SERVER_CONFIG) {
        rc = msg_get_server_config_ok(&f->args, &settings, &n, e);
        while (rc == WERR_OK && msg_next_server_setting(&settings, &s)) {
            touch(s.key);
            touch(s.value);
            touch(s.source);
        }
        return rc == WERR_OK ? settings.err : rc;
    }
    rc = msg_get_server_conns_ok(&f->args, &ok, e);
    while (rc == WERR_OK && msg_next_server_conn(&ok.conns, &c)) {
        touch(c.client);
        touch(c.address);
        touch(c.state);
        touch(c.waits_for);
    }
    return rc == WERR_OK ? ok.conns.err : rc;
}

enum werr walk_request(struct frame *f, struct werror *e)
{
    struct msg_produce produce;
    enum werr rc;

    switch (f->op) {
    case OP_PRODUCE:
        rc = msg_get_produce(&f->args, &produce, e);
        return rc == WERR_OK ? walk_produced(produce.batch, false, e) : rc;
    case OP_FETCH:
        return walk_fetch(f, e);
    case OP_SUBSCRIBE:
        return walk_subscribe(f, e);
    case OP_SUB_UPDATE:
        return walk_sub_update(f, e);
    case OP_LIST_OFFSETS:
        return walk_list_offsets(f, e);
    case OP_METADATA:
        return walk_metadata(f, e);
    case OP_TOPIC_CREATE:
    case OP_TOPIC_ALTER:
    case OP_TOPIC_DELETE:
    case OP_TOPIC_DESCRIBE:
        return walk_topic(f->op, f, e);
    case OP_HELLO:
    case OP_PING:
    case OP_INIT_PRODUCER:
    case OP_METRICS:
    case OP_SERVER_CONNECTIONS:
    case OP_SERVER_CONFIG:
    case OP_BACKUP_CREATE:
    case OP_CREDIT:
        return walk_session(f->op, f, e);
    default:
        return walk_group_request(f, e);
    }
}

static enum werr walk_metadata_ok(struct frame *f, struct werror *e)
{
    struct msg_metadata_ok m;
    struct msg_topic_meta t;
    enum werr rc = msg_get_metadata_ok(&f->args, &m, e);
    uint32_t id, port;
    struct slice host;

    if (rc != WERR_OK) {
        return rc;
    }
    while (msg_next_broker(&m.brokers, &id, &host, &port)) {
        touch(host);
    }
    while (msg_next_topic(&m.topics, &t)) {
        struct msg_part_meta p;
        struct msg_slot_run s;

        touch(t.name);
        while (msg_next_part(&t.parts, &p)) {
            elements++;
        }
        while (msg_next_slot_run(&t.slots, &s)) {
            elements++;
        }
        if (t.parts.err != WERR_OK || t.slots.err != WERR_OK) {
            return WERR_MALFORMED;
        }
    }
    touch(m.next);
    return m.brokers.err != WERR_OK || m.topics.err != WERR_OK ? WERR_MALFORMED : WERR_OK;
}

static enum werr walk_describe_ok(struct frame *f, struct werror *e)
{
    struct msg_topic_describe_ok m;
    struct msg_part_stat p;
    enum werr rc = msg_get_topic_describe_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.name);
        while (msg_next_part_stat(&m.parts, &p)) {
            elements++;
        }
        rc = m.parts.err;
    }
    return rc;
}

static enum werr walk_fetch_ok(struct frame *f, struct werror *e)
{
    uint32_t n;
    enum werr rc = msg_get_fetch_ok(&f->args, &n, e);

    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct msg_fetched p;

        rc = msg_get_fetched(&f->args, &p, e);
        if (rc == WERR_OK) {
            rc = walk_batches(p.batches, e);
        }
    }
    return rc;
}

static enum werr walk_deliver(struct frame *f, struct werror *e)
{
    uint32_t n;
    enum werr rc = msg_get_deliver(&f->args, &n, e);

    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct msg_delivered p;

        rc = msg_get_delivered(&f->args, &p, e);
        if (rc == WERR_OK) {
            rc = walk_batches(p.batches, e);
        }
    }
    return rc;
}

static enum werr walk_lists_ok(uint32_t op, struct frame *f, struct werror *e)
{
    uint32_t n = 0, epoch;
    uint64_t value;
    size_t count = 0;
    enum werr rc = op == OP_LIST_OFFSETS ? msg_get_list_offsets_ok(&f->args, &n, e)
                   : op == OP_METRICS
                       ? msg_get_metrics_ok(&f->args, &n, e)
                       : msg_get_init_producer_ok(&f->args, &value, &epoch, &count, e);

    n = op == OP_INIT_PRODUCER ? (uint32_t)count : n;
    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        struct slice name, label, label_value;
        struct msg_producer_pos pos;
        struct msg_offset o;

        if (op == OP_LIST_OFFSETS) {
            rc = msg_get_offset(&f->args, &o, e);
        } else if (op == OP_INIT_PRODUCER) {
            rc = msg_get_producer_pos(&f->args, &pos, e);
        } else {
            rc = msg_get_metric(&f->args, &name, &label, &label_value, &value, e);
            if (rc == WERR_OK) {
                touch(name);
                touch(label);
                touch(label_value);
            }
        }
        elements++;
    }
    return rc;
}

static enum werr walk_notify(struct frame *f, struct werror *e)
{
    struct msg_sub_error se;
    struct slice a = {NULL, 0}, b = {NULL, 0};
    uint32_t ms;
    enum werr rc;

    switch (f->op) {
    case OP_DELIVER:
        return walk_deliver(f, e);
    case OP_SUB_ERROR:
        return msg_get_sub_error(&f->args, &se, e);
    case OP_GOING_AWAY:
        rc = msg_get_going_away(&f->args, &a, &ms, e);
        break;
    case OP_CHANGED:
        rc = msg_get_changed(&f->args, &a, &b, e);
        break;
    default:
        return WERR_UNKNOWN_OP;
    }
    if (rc == WERR_OK) {
        touch(a);
        touch(b);
    }
    return rc;
}

static enum werr walk_hello_ok(struct frame *f, struct werror *e)
{
    struct msg_hello_ok m;
    enum werr rc = msg_get_hello_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.server);
        touch(m.version);
        touch(m.conn_id);
        touch(m.cluster_id);
        (void)msg_has_feature(m.features, "stream");
    }
    return rc;
}

static enum werr walk_produce_ok(struct frame *f, struct werror *e)
{
    struct msg_produce_ok m;
    enum werr rc = msg_get_produce_ok(&f->args, &m, e);

    if (rc == WERR_OK) {
        touch(m.delay_id);
    }
    return rc;
}

enum werr walk_response(uint32_t op, struct frame *f, struct werror *e)
{
    struct topic_config conf;
    uint64_t a, b;
    int64_t ms;

    switch (op) {
    case 0:
        return walk_notify(f, e);
    case OP_HELLO:
        return walk_hello_ok(f, e);
    case OP_PING:
        return msg_get_ping_ok(&f->args, &ms, e);
    case OP_SUBSCRIBE:
    case OP_SUB_UPDATE:
        return msg_get_ok(&f->args, e);
    case OP_METADATA:
        return walk_metadata_ok(f, e);
    case OP_PRODUCE:
        return walk_produce_ok(f, e);
    case OP_FETCH:
        return walk_fetch_ok(f, e);
    case OP_INIT_PRODUCER:
    case OP_LIST_OFFSETS:
    case OP_METRICS:
        return walk_lists_ok(op, f, e);
    case OP_SERVER_CONNECTIONS:
    case OP_SERVER_CONFIG:
    case OP_BACKUP_CREATE:
        return walk_server_ok(op, f, e);
    case OP_TOPIC_CREATE:
    case OP_TOPIC_ALTER:
        return msg_get_topic_ok(&f->args, &a, &conf, e);
    case OP_TOPIC_DELETE:
        return msg_get_topic_delete_ok(&f->args, &a, &b, e);
    case OP_TOPIC_DESCRIBE:
        return walk_describe_ok(f, e);
    default:
        return walk_group_response(op, f, e);
    }
}
