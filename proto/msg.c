/*
 * What all messages share, and the session's own: hello, ping, producer ids, metrics. Who owns
 * what: encoders append to the caller's buffer, decoders hand out views into the frame.
 */
#include "proto/msg.h"

#include "proto/msg_impl.h"

enum { TEXT_BYTES = 64, ID_BYTES = 16 };

/* Indexed by number; gaps have OPSTATE_NONE. */
static const struct {
    const char *name;
    enum msg_op_state state;
} ops[] = {
#define X(name, num, state, since) [num] = {#name, OPSTATE_##state},
#include "proto/ops.def"
#undef X
};
enum { OPS = sizeof ops / sizeof ops[0] };

enum msg_op_state msg_op_state(uint32_t op)
{
    return op < OPS ? ops[op].state : OPSTATE_NONE;
}

const char *msg_op_name(uint32_t op)
{
    return op < OPS && ops[op].name != NULL ? ops[op].name : "?";
}

enum werr read_error(const struct mpread *r, struct werror *e)
{
    if (r->err == WERR_OK) {
        return WERR_OK;
    }
    return werror_set(e, WERR_MALFORMED, "%s at byte %zu", r->what, (size_t)(r->p - r->start));
}

uint32_t args_begin(struct mpread *r, uint32_t min)
{
    uint32_t n = mpread_array(r);

    if (r->err == WERR_OK && n < min) {
        mpread_fail(r, "too few arguments");
    }
    return r->err == WERR_OK ? n - min : 0;
}

enum werr args_end(struct mpread *r, uint32_t left, struct werror *e)
{
    for (uint32_t i = 0; i < left && r->err == WERR_OK; i++) {
        if (!mpread_nil(r)) {
            return werror_set(e, WERR_UNSUPPORTED_FIELD,
                              "argument at byte %zu is not known to this version",
                              (size_t)(r->p - r->start));
        }
    }
    return read_error(r, e);
}

uint32_t result_begin(struct mpread *r, uint32_t min)
{
    return args_begin(r, min);
}

enum werr result_end(struct mpread *r, uint32_t left, struct werror *e)
{
    for (uint32_t i = 0; i < left && r->err == WERR_OK; i++) {
        (void)mpread_skip(r);
    }
    return read_error(r, e);
}

struct slice str_or_nil(struct mpread *r, size_t max)
{
    return mpread_nil(r) ? (struct slice){NULL, 0} : mpread_str(r, max);
}

enum werr read_options(struct mpread *r, option_fn fn, void *arg, struct werror *e)
{
    struct slice seen[LIMIT_OPTIONS];
    uint32_t pairs;

    if (mpread_nil(r)) {
        return WERR_OK;
    }
    pairs = mpread_map(r);
    if (pairs > LIMIT_OPTIONS) {
        mpread_fail(r, "too many options");
    }
    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        struct slice key = mpread_str(r, TEXT_BYTES);

        for (uint32_t k = 0; k < i; k++) {
            if (slice_eq(seen[k], key)) {
                mpread_fail(r, "option twice");
            }
        }
        seen[i] = key;
        if (r->err == WERR_OK && !mpread_nil(r) && !fn(arg, key, r)) {
            return werror_set(e, WERR_UNSUPPORTED_FIELD, "option %.*s is not known to this version",
                              (int)key.n, (const char *)key.p);
        }
    }
    return read_error(r, e);
}

uint32_t list_skip(struct mpread *r, struct mpread *view)
{
    uint32_t n = mpread_array(r);

    list_begin(view, r);
    for (uint32_t i = 0; i < n && r->err == WERR_OK; i++) {
        (void)mpread_skip(r);
    }
    list_end(view, r);
    return n;
}

enum werr read_item_error(struct mpread *r, struct werror *err, enum werr_class *cls,
                          struct slice *raw)
{
    struct slice s = mpread_skip(r);

    if (r->err == WERR_OK && frame_get_error(s, err, cls) != WERR_OK) {
        mpread_fail(r, "bad error element");
    }
    if (raw != NULL) {
        *raw = s;
    }
    return r->err;
}

enum werr name_check(struct slice name, bool internal, struct werror *e)
{
    const size_t max = internal ? LIMIT_TOPIC_NAME : LIMIT_NAME;

    if (name.n == 0 || name.n > max) {
        return werror_set(e, WERR_INVALID_CONFIG, "name of %zu characters, want 1 to %zu", name.n,
                          max);
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-' || (c == '~' && internal);

        if (!ok) {
            return werror_set(e, WERR_INVALID_CONFIG,
                              "name %.*s: character 0x%02x, want A-Z a-z 0-9 . _ -", (int)name.n,
                              (const char *)name.p, c);
        }
    }
    return WERR_OK;
}

/* ---- HELLO ---- */

void msg_put_hello(struct buf *b, uint32_t corr, const struct msg_hello *m)
{
    size_t at = frame_begin_request(b, corr, OP_HELLO);

    mpw_array(b, 4);
    mpw_uint(b, m->proto);
    mpw_str(b, m->client);
    mpw_str(b, m->version);
    mpw_map(b, 0);
    frame_end(b, at, 0);
}

/* want = wishes a server may ignore. auth, data and ns ask for what does not exist yet. */
static bool hello_option(void *arg, struct slice key, struct mpread *r)
{
    (void)arg;
    if (slice_eq(key, slice_str("want"))) {
        (void)mpread_skip(r);
        return true;
    }
    return false;
}

enum werr msg_get_hello(struct mpread *r, struct msg_hello *m, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    m->proto = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (r->err == WERR_OK && m->proto != WEIR_PROTO_VERSION) {
        return werror_set(e, WERR_UNSUPPORTED_PROTO, "protocol version %u, this server speaks %d",
                          m->proto, WEIR_PROTO_VERSION);
    }
    m->client = mpread_str(r, TEXT_BYTES);
    m->version = mpread_str(r, TEXT_BYTES);
    if (left > 0) {
        enum werr rc = read_options(r, hello_option, NULL, e);

        if (rc != WERR_OK) {
            return rc;
        }
        left--;
    }
    return args_end(r, left, e);
}

struct limit_row {
    const char *name;
    size_t at;
};
#define LIMIT_ROW(f)                       \
    {                                      \
#f, offsetof(struct msg_limits, f) \
    }
static const struct limit_row limit_rows[] = {
    LIMIT_ROW(frame),    LIMIT_ROW(batch),          LIMIT_ROW(message),
    LIMIT_ROW(inflight), LIMIT_ROW(inflight_bytes), LIMIT_ROW(partitions_per_fetch),
    LIMIT_ROW(subs),     LIMIT_ROW(name),           LIMIT_ROW(producer_window),
    LIMIT_ROW(unzipped),
};
enum { LIMIT_ROWS = sizeof limit_rows / sizeof limit_rows[0] };

void msg_put_hello_ok(struct buf *b, uint32_t corr, const struct msg_hello_ok *m,
                      const char *const *features)
{
    size_t at = frame_begin_response(b, corr);
    size_t n = 0;

    while (features[n] != NULL) {
        n++;
    }
    mpw_array(b, 10);
    mpw_uint(b, m->proto);
    mpw_str(b, m->server);
    mpw_str(b, m->version);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_cstr(b, features[i]);
    }
    mpw_map(b, LIMIT_ROWS);
    for (size_t i = 0; i < LIMIT_ROWS; i++) {
        uint32_t v;

        memcpy(&v, (const char *)&m->limits + limit_rows[i].at, sizeof v);
        mpw_cstr(b, limit_rows[i].name);
        mpw_uint(b, v);
    }
    mpw_uint(b, m->auth_state);
    mpw_bin(b, m->conn_id);
    mpw_nil(b); /* auth_data */
    mpw_bin(b, m->cluster_id);
    mpw_uint(b, m->broker);
    frame_end(b, at, 0);
}

static void read_limits(struct mpread *r, struct msg_limits *l)
{
    uint32_t pairs = mpread_map(r);

    *l = (struct msg_limits){0};
    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        struct slice key = mpread_str(r, TEXT_BYTES);
        bool known = false;

        for (size_t k = 0; k < LIMIT_ROWS && !known; k++) {
            if (slice_eq(key, slice_str(limit_rows[k].name))) {
                uint32_t v = (uint32_t)mpread_uint(r, UINT32_MAX);

                memcpy((char *)l + limit_rows[k].at, &v, sizeof v);
                known = true;
            }
        }
        if (!known) {
            (void)mpread_skip(r);
        }
    }
}

enum werr msg_get_hello_ok(struct mpread *r, struct msg_hello_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 10);

    m->proto = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->server = mpread_str(r, TEXT_BYTES);
    m->version = mpread_str(r, TEXT_BYTES);
    m->features = mpread_skip(r);
    read_limits(r, &m->limits);
    m->auth_state = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->conn_id = mpread_bin(r, TEXT_BYTES);
    (void)mpread_skip(r);
    m->cluster_id = mpread_bin(r, TEXT_BYTES);
    m->broker = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (r->err == WERR_OK && m->cluster_id.n != ID_BYTES) {
        mpread_fail(r, "cluster id must have 16 bytes");
    }
    return result_end(r, left, e);
}

bool msg_has_feature(struct slice features, const char *name)
{
    struct mpread r;
    uint32_t n;

    mpread_init(&r, features.p, features.n);
    n = mpread_array(&r);
    for (uint32_t i = 0; i < n && r.err == WERR_OK; i++) {
        if (slice_eq(mpread_str(&r, SIZE_MAX), slice_str(name))) {
            return r.err == WERR_OK;
        }
    }
    return false;
}

/* ---- PING and empty results ---- */

void msg_put_ping(struct buf *b, uint32_t corr)
{
    size_t at = frame_begin_request(b, corr, OP_PING);

    mpw_array(b, 0);
    frame_end(b, at, 0);
}

enum werr msg_get_empty(struct mpread *r, struct werror *e)
{
    return args_end(r, args_begin(r, 0), e);
}

void msg_put_ping_ok(struct buf *b, uint32_t corr, int64_t server_time_ms)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 1);
    mpw_int(b, server_time_ms);
    frame_end(b, at, 0);
}

enum werr msg_get_ping_ok(struct mpread *r, int64_t *server_time_ms, struct werror *e)
{
    uint32_t left = result_begin(r, 1);

    *server_time_ms = mpread_int(r, 0, INT64_MAX);
    return result_end(r, left, e);
}

void msg_put_ok(struct buf *b, uint32_t corr)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 0);
    frame_end(b, at, 0);
}

enum werr msg_get_ok(struct mpread *r, struct werror *e)
{
    return result_end(r, result_begin(r, 0), e);
}

/* ---- INIT_PRODUCER ---- */

void msg_put_init_producer(struct buf *b, uint32_t corr, const struct msg_init_producer *m)
{
    size_t at = frame_begin_request(b, corr, OP_INIT_PRODUCER);

    mpw_array(b, m->name.n != 0 ? 1 : 0);
    if (m->name.n != 0) {
        mpw_str(b, m->name);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_init_producer(struct mpread *r, struct msg_init_producer *m, struct werror *e)
{
    uint32_t left = args_begin(r, 0);

    m->name = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        m->name = str_or_nil(r, SIZE_MAX);
        if (m->name.p != NULL && name_check(m->name, false, e) != WERR_OK) {
            return WERR_INVALID_CONFIG;
        }
    }
    return args_end(r, left, e);
}

void msg_put_init_producer_ok(struct buf *b, uint32_t corr, uint64_t pid, uint32_t epoch,
                              const struct msg_producer_pos *pos, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 3);
    mpw_uint(b, pid);
    mpw_uint(b, epoch);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 4);
        mpw_uint(b, pos[i].tid);
        mpw_uint(b, pos[i].p);
        mpw_uint(b, pos[i].last_seq);
        mpw_uint(b, pos[i].last_offset);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_init_producer_ok(struct mpread *r, uint64_t *pid, uint32_t *epoch, size_t *n,
                                   struct werror *e)
{
    (void)result_begin(r, 3); /* elements after the list are not reached */
    *pid = mpread_uint(r, LIMIT_UINT);
    *epoch = (uint32_t)mpread_uint(r, UINT16_MAX);
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_producer_pos(struct mpread *r, struct msg_producer_pos *pos, struct werror *e)
{
    uint32_t left = result_begin(r, 4);

    pos->tid = mpread_uint(r, LIMIT_UINT);
    pos->p = (uint32_t)mpread_uint(r, LIMIT_PARTITIONS - 1);
    pos->last_seq = (uint32_t)mpread_uint(r, UINT32_MAX);
    pos->last_offset = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, e);
}

/* ---- METRICS ---- */

void msg_put_metrics(struct buf *b, uint32_t corr, struct slice prefix)
{
    size_t at = frame_begin_request(b, corr, OP_METRICS);

    mpw_array(b, 1);
    if (prefix.n != 0) {
        mpw_str(b, prefix);
    } else {
        mpw_nil(b);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_metrics(struct mpread *r, struct slice *prefix, struct werror *e)
{
    uint32_t left = args_begin(r, 0);

    *prefix = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        *prefix = str_or_nil(r, LIMIT_NAME);
    }
    return args_end(r, left, e);
}

size_t msg_begin_metrics_ok(struct buf *b, uint32_t corr, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    return at;
}

void msg_put_metric(struct buf *b, const char *name, const char *label, const char *label_value,
                    uint64_t value)
{
    mpw_array(b, 3);
    mpw_cstr(b, name);
    mpw_map(b, label != NULL ? 1 : 0);
    if (label != NULL) {
        mpw_cstr(b, label);
        mpw_cstr(b, label_value);
    }
    mpw_uint(b, value);
}

enum werr msg_get_metrics_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_metric(struct mpread *r, struct slice *name, struct slice *label,
                         struct slice *label_value, uint64_t *value, struct werror *e)
{
    uint32_t left = result_begin(r, 3);
    uint32_t labels;

    *name = mpread_str(r, SIZE_MAX);
    *label = *label_value = (struct slice){NULL, 0};
    labels = mpread_map(r);
    for (uint32_t i = 0; i < labels && r->err == WERR_OK; i++) {
        *label = mpread_str(r, SIZE_MAX);
        *label_value = mpread_str(r, SIZE_MAX);
    }
    *value = mpread_uint(r, UINT64_MAX);
    return result_end(r, left, e);
}
