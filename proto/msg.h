#ifndef WEIR_PROTO_MSG_H
#define WEIR_PROTO_MSG_H
/*
 * Every message as a struct, one encoder and one decoder each. Encoders append a whole frame to a
 * buf (failure is sticky there). Decoders take the cursor of a parsed frame and return WERR_OK,
 * WERR_MALFORMED or WERR_UNSUPPORTED_FIELD / WERR_TOO_LARGE with the argument named in *e. Requests
 * are strict (unknown argument or option: refused), responses lenient (extra elements: skipped).
 * All slices are views into the frame.
 *
 * Lists of unknown length (topics, partitions) are walked, not materialised: `x_next` style
 * iterators over the cursor, so a decoder never allocates from a claimed size.
 */
#include "proto/frame.h"
#include "proto/limits.h"

enum msg_op {
#define X(name, num, state, since) OP_##name = (num),
#include "proto/ops.def"
#undef X
};

enum msg_op_state { OPSTATE_NONE, OPSTATE_PRE, OPSTATE_POST, OPSTATE_RESERVED, OPSTATE_NOTIFY };
enum msg_op_state msg_op_state(uint32_t op); /* OPSTATE_NONE for a number not in the table */
const char *msg_op_name(uint32_t op);        /* "?" for a number not in the table */

enum { WEIR_PROTO_VERSION = 1 };

/* Who asks on behalf of a group. In FETCH and SUBSCRIBE: the argument `for` = [group, member,
 * epoch]; group.n = 0: nobody, nil. */
struct msg_who {
    struct slice group;
    struct slice member; /* 16 bytes */
    uint64_t epoch;
};

/* ---- HELLO: [proto, client, version, {auth, data, ns, want[]}] ---- */
struct msg_hello {
    uint32_t proto;
    struct slice client, version; /* str <= 64 bytes */
};
struct msg_limits {
    uint32_t frame, batch, message, inflight, inflight_bytes, partitions_per_fetch, subs, name,
        producer_window, unzipped;
};
struct msg_hello_ok { /* [proto, server, version, features[], limits{}, auth_state, conn_id(bin 16),
                         ?auth_data, cluster_id(bin 16), broker] */
    uint32_t proto;
    struct slice server, version;
    struct slice features; /* raw msgpack array of str; msg_has_feature() looks one up */
    struct msg_limits limits;
    uint32_t auth_state;     /* 0 = done */
    struct slice conn_id;    /* 16 bytes */
    struct slice cluster_id; /* 16 bytes */
    uint32_t broker;
};
void msg_put_hello(struct buf *b, uint32_t corr, const struct msg_hello *m);
enum werr msg_get_hello(struct mpread *r, struct msg_hello *m, struct werror *e) WEIR_NODISCARD;
/* `features` there: NULL-terminated list of names */
void msg_put_hello_ok(struct buf *b, uint32_t corr, const struct msg_hello_ok *m,
                      const char *const *features);
enum werr msg_get_hello_ok(struct mpread *r, struct msg_hello_ok *m,
                           struct werror *e) WEIR_NODISCARD;
bool msg_has_feature(struct slice features, const char *name);

/* ---- PING: [] -> [server_time_ms] ---- */
void msg_put_ping(struct buf *b, uint32_t corr);
enum werr msg_get_empty(struct mpread *r, struct werror *e) WEIR_NODISCARD; /* args are [] */
void msg_put_ping_ok(struct buf *b, uint32_t corr, int64_t server_time_ms);
enum werr msg_get_ping_ok(struct mpread *r, int64_t *server_time_ms,
                          struct werror *e) WEIR_NODISCARD;
/* A response whose result is []; the reader skips what a later version put into it. */
void msg_put_ok(struct buf *b, uint32_t corr);
enum werr msg_get_ok(struct mpread *r, struct werror *e) WEIR_NODISCARD;

/* ---- INIT_PRODUCER: [?name] -> [pid, epoch, [[tid, p, last_seq, last_offset]...]] ----
 * last_seq is the sequence of the last record stored, last_offset its offset. Unnamed: list empty.
 */
struct msg_init_producer {
    struct slice name; /* n = 0: unnamed */
};
struct msg_producer_pos {
    uint64_t tid;
    uint32_t p;
    uint32_t last_seq;
    uint64_t last_offset;
};
void msg_put_init_producer(struct buf *b, uint32_t corr, const struct msg_init_producer *m);
enum werr msg_get_init_producer(struct mpread *r, struct msg_init_producer *m,
                                struct werror *e) WEIR_NODISCARD;
void msg_put_init_producer_ok(struct buf *b, uint32_t corr, uint64_t pid, uint32_t epoch,
                              const struct msg_producer_pos *pos, size_t n);
/* Then n times msg_get_producer_pos. */
enum werr msg_get_init_producer_ok(struct mpread *r, uint64_t *pid, uint32_t *epoch, size_t *n,
                                   struct werror *e) WEIR_NODISCARD;
enum werr msg_get_producer_pos(struct mpread *r, struct msg_producer_pos *pos,
                               struct werror *e) WEIR_NODISCARD;

/* ---- METADATA: [?names[], ?known_version, ?{after, limit}] ->
 *  [version, brokers[[id, host, port]], topics[[name, tid, ?err, parts[[p, broker, epoch]...],
 *   slots[[count, p]...], {config}]...], ?next]
 * names nil = all topics, paged by name (`after`, `limit` <= 1000): parts, slots and config of the
 * listing are complete too. `next` = name to pass as `after`, nil when done. ---- */
struct msg_metadata {
    bool all;
    struct mpread names; /* when !all: cursor over n_names str elements */
    uint32_t n_names;
    struct slice after;
    uint32_t limit; /* 0 = default 1000 */
};
void msg_put_metadata(struct buf *b, uint32_t corr, const struct slice *names,
                      size_t n /* 0 = all */, struct slice after, uint32_t limit);
enum werr msg_get_metadata(struct mpread *r, struct msg_metadata *m,
                           struct werror *e) WEIR_NODISCARD;

/* Topic configuration on the wire: map of str -> str | uint. One struct for server and client. */
enum { TOPIC_DURABILITY_DISK = 0, TOPIC_DURABILITY_OS = 1 };
enum { TOPIC_UNREAD_KEEP = 0, TOPIC_UNREAD_DROP = 1 };
enum { TOPIC_COMPRESS_PRODUCER = 0, TOPIC_COMPRESS_NONE = 1, TOPIC_COMPRESS_ZSTD = 2 };
enum { TOPIC_VALIDATE_RECORDS = 0, TOPIC_VALIDATE_HEADER = 1, TOPIC_VALIDATE_FULL = 2 };
enum topic_key {
    TKEY_PARTITIONS = 1 << 0,
    TKEY_RETENTION_MS = 1 << 1,    /* 0 = for ever */
    TKEY_RETENTION_BYTES = 1 << 2, /* whole topic; 0 = no limit */
    TKEY_DURABILITY = 1 << 3,
    TKEY_MESSAGE_MAX = 1 << 4,
    TKEY_BATCH_RECORDS = 1 << 5, /* 0 = no limit beyond the wire's */
    TKEY_COMPRESSION = 1 << 6,
    TKEY_VALIDATE = 1 << 7,
    TKEY_UNREAD = 1 << 8,
    TKEY_HOLD_BYTES = 1 << 9, /* budget for unread data past retention; 0 = 10 % of the disk */
};
struct topic_config {
    uint32_t set; /* topic_key bits that were given */
    uint32_t partitions;
    uint64_t retention_ms, retention_bytes;
    uint32_t durability, message_max_bytes, batch_max_records, compression, validate, unread;
    uint64_t hold_bytes;
};
void topic_config_defaults(
    struct topic_config *c); /* 4 partitions, 7 d, disk, 1 MiB ... ; set = 0 */
/* Sets one key from text ("retention.ms" = "7d" | number). Errors name key, value and range. */
enum werr topic_config_set(struct topic_config *c, const char *key, const char *value,
                           struct werror *e) WEIR_NODISCARD;
/* Takes every key that `from` has set. */
void topic_config_merge(struct topic_config *c, const struct topic_config *from);
void topic_config_put(struct buf *b, const struct topic_config *c, bool all); /* a map */
enum werr topic_config_get(struct mpread *r, bool strict, struct topic_config *c,
                           struct werror *e) WEIR_NODISCARD;
/* Names of keys as a person types them, in order; NULL ends. For help texts and completion. */
const char *const *topic_config_keys(void);

/* Response writer and reader for METADATA. */
struct msg_part_meta {
    uint32_t p, broker, epoch;
};
struct msg_slot_run {
    uint32_t count, p;
};
size_t msg_begin_metadata_ok(struct buf *b, uint32_t corr, uint64_t version, uint32_t broker,
                             struct slice host, uint32_t port, size_t n_topics);
void msg_put_topic_meta(struct buf *b, struct slice name, uint64_t tid, const struct werror *err,
                        const struct msg_part_meta *parts, size_t n_parts,
                        const struct msg_slot_run *runs, size_t n_runs,
                        const struct topic_config *conf);
void msg_end_metadata_ok(struct buf *b, size_t begin, struct slice next /* n = 0: nil */);

struct msg_metadata_ok {
    uint64_t version;
    struct mpread brokers; /* cursor over n_brokers elements: msg_next_broker */
    uint32_t n_brokers;
    struct mpread topics; /* cursor over n_topics elements: msg_next_topic */
    uint32_t n_topics;
    struct slice next;
};
struct msg_topic_meta {
    struct slice name;
    uint64_t tid;
    struct werror err;
    struct mpread parts; /* n_parts elements: msg_next_part */
    uint32_t n_parts;
    struct mpread slots; /* n_slots elements: msg_next_slot_run */
    uint32_t n_slots;
    struct topic_config conf;
};
enum werr msg_get_metadata_ok(struct mpread *r, struct msg_metadata_ok *m,
                              struct werror *e) WEIR_NODISCARD;
bool msg_next_broker(struct mpread *r, uint32_t *id, struct slice *host, uint32_t *port);
bool msg_next_topic(struct mpread *r, struct msg_topic_meta *t);
bool msg_next_part(struct mpread *r, struct msg_part_meta *p);
bool msg_next_slot_run(struct mpread *r, struct msg_slot_run *s);

/* ---- PRODUCE: [tid, p, batch(bin), ?{deliver_at, if_last_offset, ttl}] ->
 *      [?base_offset, append_ms, level, flags(1 = duplicate), ?delay_id]
 * Durability is the topic's; the answer names the level reached: 1 written, 2 on disk. ---- */
enum { LEVEL_WRITTEN = 1, LEVEL_DISK = 2 };
enum { PRODUCE_DUPLICATE = 1 };
struct msg_produce {
    uint64_t tid;
    uint32_t p;
    struct slice batch;
    int64_t deliver_at_ms; /* wall time; 0 = at once */
};
struct msg_produce_ok {
    bool has_offset;
    uint64_t base_offset;
    int64_t append_ms;
    uint32_t level, flags;
    struct slice delay_id; /* n = 0: none; of a delayed batch, which has no offset yet */
};
/* Writes the frame up to and including the bin header, whose length counts all of it; the caller
 * appends or sends m->batch.n bytes, and behind them what msg_put_produce_tail writes: the option
 * map, nothing when there are no options. */
void msg_put_produce_head(struct buf *b, uint32_t corr, const struct msg_produce *m);
void msg_put_produce_tail(struct buf *b, const struct msg_produce *m);
enum werr msg_get_produce(struct mpread *r, struct msg_produce *m, struct werror *e) WEIR_NODISCARD;
void msg_put_produce_ok(struct buf *b, uint32_t corr, const struct msg_produce_ok *m);
enum werr msg_get_produce_ok(struct mpread *r, struct msg_produce_ok *m,
                             struct werror *e) WEIR_NODISCARD;

/* ---- FETCH: [max_wait_ms, min_bytes, max_bytes, parts[[tid, p, offset, max, ?epoch]...], ?for] ->
 *      [[tid, p, ?err, hw, log_start, bin]...]
 * `for` = [group, member, member_epoch]: read as that member, which must have the partitions. ----
 */
struct msg_fetch {
    struct msg_who who; /* group.n = 0: nobody */
    uint32_t max_wait_ms, min_bytes, max_bytes;
    struct mpread parts; /* msg_next_fetch_part, n_parts times */
    uint32_t n_parts;
};
struct msg_fetch_part {
    uint64_t tid;
    uint32_t p;
    uint64_t offset;
    uint32_t max_bytes;
    bool has_epoch;
    uint32_t epoch;
};
void msg_put_fetch(struct buf *b, uint32_t corr, const struct msg_fetch *m /* parts ignored */,
                   const struct msg_fetch_part *parts, size_t n);
enum werr msg_get_fetch(struct mpread *r, struct msg_fetch *m, struct werror *e) WEIR_NODISCARD;
/* false at the end; the whole list was validated by msg_get_fetch, so it cannot fail. */
bool msg_next_fetch_part(struct mpread *r, struct msg_fetch_part *p);
/* Response: begin, per partition a head (then its bin bytes follow), end. Bytes that the caller
 * sends itself (writev) are counted in `tail` of frame_end. */
size_t msg_begin_fetch_ok(struct buf *b, uint32_t corr, size_t n_parts);
void msg_put_fetch_part_head(struct buf *b, uint64_t tid, uint32_t p, const struct werror *err,
                             const struct frame_detail *d, size_t nd, uint64_t hw,
                             uint64_t log_start, size_t bin_bytes);
struct msg_fetched {
    uint64_t tid;
    uint32_t p;
    struct werror err;
    enum werr_class err_class;
    uint64_t hw, log_start;
    struct slice batches;
};
enum werr msg_get_fetch_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_fetched(struct mpread *r, struct msg_fetched *f, struct werror *e) WEIR_NODISCARD;

/* ---- SUBSCRIBE: [sub, parts[[tid, p, offset, ?epoch]...], credit, ?{max_push, min_bytes,
 * max_wait_ms}, ?for] -> [] CREDIT (notify, id = sub): [limit] SUB_UPDATE: [sub, add[[tid, p,
 * offset]...], drop[[tid, p]...]] -> []; both empty = unsubscribe ---- */
struct msg_subscribe {
    struct msg_who who; /* group.n = 0: nobody */
    uint32_t sub;
    struct mpread parts; /* msg_next_sub_part */
    uint32_t n_parts;
    uint64_t credit;                           /* bin bytes the server may send in total */
    uint32_t max_push, min_bytes, max_wait_ms; /* 0 = default */
};
struct msg_sub_part {
    uint64_t tid;
    uint32_t p;
    uint64_t offset;
    bool has_epoch;
    uint32_t epoch;
};
void msg_put_subscribe(struct buf *b, uint32_t corr, const struct msg_subscribe *m,
                       const struct msg_sub_part *parts, size_t n);
enum werr msg_get_subscribe(struct mpread *r, struct msg_subscribe *m,
                            struct werror *e) WEIR_NODISCARD;
bool msg_next_sub_part(struct mpread *r, struct msg_sub_part *p);
void msg_put_credit(struct buf *b, uint32_t sub, uint64_t limit);
enum werr msg_get_credit(struct mpread *r, uint64_t *limit, struct werror *e) WEIR_NODISCARD;
struct msg_sub_update {
    uint32_t sub;
    struct mpread add; /* msg_next_sub_part */
    uint32_t n_add;
    struct mpread drop; /* msg_next_drop */
    uint32_t n_drop;
};
void msg_put_sub_update(struct buf *b, uint32_t corr, uint32_t sub, const struct msg_sub_part *add,
                        size_t n_add, const struct msg_sub_part *drop, size_t n_drop);
enum werr msg_get_sub_update(struct mpread *r, struct msg_sub_update *m,
                             struct werror *e) WEIR_NODISCARD;
bool msg_next_drop(struct mpread *r, uint64_t *tid, uint32_t *p);

/* DELIVER (notify, id = sub): [[tid, p, hw, bin]...]; an empty bin = caught up at hw. */
size_t msg_begin_deliver(struct buf *b, uint32_t sub, size_t n_parts);
void msg_put_deliver_part_head(struct buf *b, uint64_t tid, uint32_t p, uint64_t hw,
                               size_t bin_bytes);
struct msg_delivered {
    uint64_t tid;
    uint32_t p;
    uint64_t hw;
    struct slice batches;
};
enum werr msg_get_deliver(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_delivered(struct mpread *r, struct msg_delivered *d,
                            struct werror *e) WEIR_NODISCARD;
/* SUB_ERROR (notify, id = sub): [tid, p, err] */
void msg_put_sub_error(struct buf *b, uint32_t sub, uint64_t tid, uint32_t p,
                       const struct werror *err, const struct frame_detail *d, size_t nd);
struct msg_sub_error {
    uint64_t tid;
    uint32_t p;
    struct werror err;
    enum werr_class err_class;
    uint64_t log_start, hw; /* from the detail of OFFSET_OUT_OF_RANGE, else 0 */
};
enum werr msg_get_sub_error(struct mpread *r, struct msg_sub_error *m,
                            struct werror *e) WEIR_NODISCARD;
/* GOING_AWAY (notify, id 0): [reason, deadline_ms, ?endpoint]. CHANGED (notify, id 0): [kind, name]
 */
void msg_put_going_away(struct buf *b, const char *reason, uint32_t deadline_ms);
enum werr msg_get_going_away(struct mpread *r, struct slice *reason, uint32_t *deadline_ms,
                             struct werror *e) WEIR_NODISCARD;
void msg_put_changed(struct buf *b, const char *kind, struct slice name);
enum werr msg_get_changed(struct mpread *r, struct slice *kind, struct slice *name,
                          struct werror *e) WEIR_NODISCARD;

/* ---- LIST_OFFSETS: [[tid, p, spec]...] -> [[tid, p, ?err, offset, ts]...]
 * spec -1 = log start, -2 = end (high watermark), >= 0: first offset with append time >= spec ms
 * ---- */
enum { OFFSET_SPEC_START = -1, OFFSET_SPEC_END = -2 };
struct msg_offset_spec {
    uint64_t tid;
    uint32_t p;
    int64_t spec;
};
struct msg_offset {
    uint64_t tid;
    uint32_t p;
    struct werror err;
    uint64_t offset;
    int64_t ts_ms; /* append time there, 0 at the end of the log */
};
void msg_put_list_offsets(struct buf *b, uint32_t corr, const struct msg_offset_spec *s, size_t n);
enum werr msg_get_list_offsets(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
bool msg_next_offset_spec(struct mpread *r, struct msg_offset_spec *s);
void msg_put_list_offsets_ok(struct buf *b, uint32_t corr, const struct msg_offset *o, size_t n);
enum werr msg_get_list_offsets_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_offset(struct mpread *r, struct msg_offset *o, struct werror *e) WEIR_NODISCARD;

/* ---- TOPIC_CREATE / ALTER: [name, {config}, ?{dry_run}] -> [tid, {config}]
 *      TOPIC_DELETE: [name, ?{dry_run}] -> [tid, bytes freed]
 *      TOPIC_DESCRIBE: [name] -> [name, tid, created_ms, {config}, parts[[p, epoch, log_start, hw,
 * bytes, last_append_ms]...]] ---- */
struct msg_topic {
    struct slice name;
    struct topic_config conf;
    bool dry_run;
};
void msg_put_topic_create(struct buf *b, uint32_t corr, const struct msg_topic *m);
void msg_put_topic_alter(struct buf *b, uint32_t corr, const struct msg_topic *m);
enum werr msg_get_topic_create(struct mpread *r, struct msg_topic *m,
                               struct werror *e) WEIR_NODISCARD; /* and ALTER */
void msg_put_topic_ok(struct buf *b, uint32_t corr, uint64_t tid, const struct topic_config *c);
enum werr msg_get_topic_ok(struct mpread *r, uint64_t *tid, struct topic_config *c,
                           struct werror *e) WEIR_NODISCARD;
void msg_put_topic_delete(struct buf *b, uint32_t corr, struct slice name, bool dry_run);
enum werr msg_get_topic_delete(struct mpread *r, struct msg_topic *m,
                               struct werror *e) WEIR_NODISCARD;
void msg_put_topic_delete_ok(struct buf *b, uint32_t corr, uint64_t tid, uint64_t bytes);
enum werr msg_get_topic_delete_ok(struct mpread *r, uint64_t *tid, uint64_t *bytes,
                                  struct werror *e) WEIR_NODISCARD;
struct msg_part_stat {
    uint32_t p, epoch;
    uint64_t log_start, hw, bytes;
    int64_t last_append_ms;
};
void msg_put_topic_describe(struct buf *b, uint32_t corr, struct slice name);
enum werr msg_get_topic_describe(struct mpread *r, struct slice *name,
                                 struct werror *e) WEIR_NODISCARD;
void msg_put_topic_describe_ok(struct buf *b, uint32_t corr, struct slice name, uint64_t tid,
                               int64_t created_ms, const struct topic_config *c,
                               const struct msg_part_stat *parts, size_t n);
struct msg_topic_describe_ok {
    struct slice name;
    uint64_t tid;
    int64_t created_ms;
    struct topic_config conf;
    struct mpread parts; /* msg_next_part_stat */
    uint32_t n_parts;
};
enum werr msg_get_topic_describe_ok(struct mpread *r, struct msg_topic_describe_ok *m,
                                    struct werror *e) WEIR_NODISCARD;
bool msg_next_part_stat(struct mpread *r, struct msg_part_stat *p);

/* ---- METRICS: [?prefix] -> [[name, {label: value}, integer]...] ---- */
void msg_put_metrics(struct buf *b, uint32_t corr, struct slice prefix);
enum werr msg_get_metrics(struct mpread *r, struct slice *prefix, struct werror *e) WEIR_NODISCARD;
size_t msg_begin_metrics_ok(struct buf *b, uint32_t corr, size_t n);
void msg_put_metric(struct buf *b, const char *name, const char *label /* NULL = none */,
                    const char *label_value, uint64_t value);
enum werr msg_get_metrics_ok(struct mpread *r, uint32_t *n, struct werror *e) WEIR_NODISCARD;
enum werr msg_get_metric(struct mpread *r, struct slice *name, struct slice *label,
                         struct slice *label_value, uint64_t *value,
                         struct werror *e) WEIR_NODISCARD;

/* [A-Za-z0-9._-]{1,100}; `internal`: '~' too, and up to LIMIT_TOPIC_NAME. Error names the offending
 * character or length.
 */
enum werr name_check(struct slice name, bool internal, struct werror *e) WEIR_NODISCARD;

#endif
