/*
 * Messages about topics: METADATA, TOPIC_CREATE, ALTER, DELETE, DESCRIBE. Lists are validated once
 * by the decoder and then walked by the caller through cursors, so nothing is allocated here.
 */
#include "proto/msg.h"
#include "proto/msg_impl.h"

enum { HOST_BYTES = 255 };

/* ---- METADATA, request ---- */

void msg_put_metadata(struct buf *b, uint32_t corr, const struct slice *names, size_t n,
                      struct slice after, uint32_t limit)
{
    size_t at = frame_begin_request(b, corr, OP_METADATA);
    bool page = after.n != 0 || limit != 0;

    mpw_array(b, page ? 3 : 1);
    if (n == 0) {
        mpw_nil(b);
    } else {
        mpw_array(b, n);
    }
    for (size_t i = 0; i < n; i++) {
        mpw_str(b, names[i]);
    }
    if (page) {
        mpw_nil(b); /* known_version */
        mpw_map(b, (size_t)(after.n != 0) + (size_t)(limit != 0));
        if (after.n != 0) {
            mpw_cstr(b, "after");
            mpw_str(b, after);
        }
        if (limit != 0) {
            mpw_cstr(b, "limit");
            mpw_uint(b, limit);
        }
    }
    frame_end(b, at, 0);
}

static bool metadata_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_metadata *m = arg;

    if (slice_eq(key, slice_str("after"))) {
        m->after = mpread_str(r, LIMIT_TOPIC_NAME);
        return true;
    }
    if (slice_eq(key, slice_str("limit"))) {
        m->limit = (uint32_t)mpread_uint(r, LIMIT_METADATA_TOPICS);
        return true;
    }
    return false;
}

enum werr msg_get_metadata(struct mpread *r, struct msg_metadata *m, struct werror *e)
{
    uint32_t left = args_begin(r, 0);

    *m = (struct msg_metadata){.all = true};
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            m->all = false;
            m->n_names = mpread_array(r);
            if (r->err == WERR_OK && m->n_names > LIMIT_METADATA_TOPICS) {
                return werror_set(e, WERR_TOO_LARGE, "%u topics asked for, limit %d", m->n_names,
                                  LIMIT_METADATA_TOPICS);
            }
            list_begin(&m->names, r);
            for (uint32_t i = 0; i < m->n_names; i++) {
                (void)mpread_str(r, LIMIT_FRAME);
            }
            list_end(&m->names, r);
        }
    }
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            (void)mpread_uint(r, LIMIT_UINT); /* known_version: a full answer is always right */
        }
    }
    if (left > 0) {
        enum werr rc = read_options(r, metadata_option, m, e);

        if (rc != WERR_OK) {
            return rc;
        }
        left--;
    }
    return args_end(r, left, e);
}

/* ---- METADATA, response ---- */

size_t msg_begin_metadata_ok(struct buf *b, uint32_t corr, uint64_t version, uint32_t broker,
                             struct slice host, uint32_t port, size_t n_topics)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 4);
    mpw_uint(b, version);
    mpw_array(b, 1);
    mpw_array(b, 3);
    mpw_uint(b, broker);
    mpw_str(b, host);
    mpw_uint(b, port);
    mpw_array(b, n_topics);
    return at;
}

void msg_put_topic_meta(struct buf *b, struct slice name, uint64_t tid, const struct werror *err,
                        const struct msg_part_meta *parts, size_t n_parts,
                        const struct msg_slot_run *runs, size_t n_runs,
                        const struct topic_config *conf)
{
    static const struct werror fine = {.code = WERR_OK};

    mpw_array(b, 6);
    mpw_str(b, name);
    mpw_uint(b, tid);
    frame_put_error_array(b, err != NULL ? err : &fine, NULL, 0);
    mpw_array(b, n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        mpw_array(b, 3);
        mpw_uint(b, parts[i].p);
        mpw_uint(b, parts[i].broker);
        mpw_uint(b, parts[i].epoch);
    }
    mpw_array(b, n_runs);
    for (size_t i = 0; i < n_runs; i++) {
        mpw_array(b, 2);
        mpw_uint(b, runs[i].count);
        mpw_uint(b, runs[i].p);
    }
    if (conf != NULL) {
        topic_config_put(b, conf, true);
    } else {
        mpw_map(b, 0);
    }
}

void msg_end_metadata_ok(struct buf *b, size_t begin, struct slice next)
{
    if (next.n != 0) {
        mpw_str(b, next);
    } else {
        mpw_nil(b);
    }
    frame_end(b, begin, 0);
}

enum werr msg_get_metadata_ok(struct mpread *r, struct msg_metadata_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 4);

    m->version = mpread_uint(r, LIMIT_UINT);
    m->n_brokers = list_skip(r, &m->brokers);
    m->n_topics = list_skip(r, &m->topics);
    m->next = str_or_nil(r, LIMIT_TOPIC_NAME);
    return result_end(r, left, e);
}

bool msg_next_broker(struct mpread *r, uint32_t *id, struct slice *host, uint32_t *port)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 3);
    *id = (uint32_t)mpread_uint(r, UINT32_MAX);
    *host = mpread_str(r, HOST_BYTES);
    *port = (uint32_t)mpread_uint(r, UINT16_MAX);
    return result_end(r, left, NULL) == WERR_OK;
}

bool msg_next_topic(struct mpread *r, struct msg_topic_meta *t)
{
    uint32_t left;
    enum werr_class cls;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 6);
    *t = (struct msg_topic_meta){0};
    topic_config_defaults(&t->conf);
    t->name = mpread_str(r, LIMIT_FRAME);
    t->tid = mpread_uint(r, LIMIT_UINT);
    (void)read_item_error(r, &t->err, &cls, NULL);
    t->n_parts = list_skip(r, &t->parts);
    t->n_slots = list_skip(r, &t->slots);
    if (topic_config_get(r, false, &t->conf, NULL) != WERR_OK) {
        mpread_fail(r, "bad topic settings");
    }
    return result_end(r, left, NULL) == WERR_OK;
}

bool msg_next_part(struct mpread *r, struct msg_part_meta *p)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 3);
    p->p = (uint32_t)mpread_uint(r, LIMIT_PARTITIONS - 1);
    p->broker = (uint32_t)mpread_uint(r, UINT32_MAX);
    p->epoch = (uint32_t)mpread_uint(r, UINT32_MAX);
    return result_end(r, left, NULL) == WERR_OK;
}

bool msg_next_slot_run(struct mpread *r, struct msg_slot_run *s)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 2);
    s->count = (uint32_t)mpread_uint(r, LIMIT_SLOTS);
    s->p = (uint32_t)mpread_uint(r, LIMIT_PARTITIONS - 1);
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- TOPIC_CREATE, ALTER, DELETE ---- */

static void put_dry_run(struct buf *b, bool dry_run)
{
    mpw_map(b, dry_run ? 1 : 0);
    if (dry_run) {
        mpw_cstr(b, "dry_run");
        mpw_bool(b, true);
    }
}

static void put_topic(struct buf *b, uint32_t corr, enum msg_op op, const struct msg_topic *m)
{
    size_t at = frame_begin_request(b, corr, (uint32_t)op);

    mpw_array(b, 3);
    mpw_str(b, m->name);
    topic_config_put(b, &m->conf, false);
    put_dry_run(b, m->dry_run);
    frame_end(b, at, 0);
}

void msg_put_topic_create(struct buf *b, uint32_t corr, const struct msg_topic *m)
{
    put_topic(b, corr, OP_TOPIC_CREATE, m);
}

void msg_put_topic_alter(struct buf *b, uint32_t corr, const struct msg_topic *m)
{
    put_topic(b, corr, OP_TOPIC_ALTER, m);
}

static bool topic_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_topic *m = arg;

    if (!slice_eq(key, slice_str("dry_run"))) {
        return false;
    }
    m->dry_run = mpread_bool(r);
    return true;
}

static enum werr topic_tail(struct mpread *r, uint32_t left, struct msg_topic *m, struct werror *e)
{
    if (left > 0) {
        enum werr rc = read_options(r, topic_option, m, e);

        if (rc != WERR_OK) {
            return rc;
        }
        left--;
    }
    return args_end(r, left, e);
}

enum werr msg_get_topic_create(struct mpread *r, struct msg_topic *m, struct werror *e)
{
    uint32_t left = args_begin(r, 2);
    enum werr rc;

    *m = (struct msg_topic){0};
    topic_config_defaults(&m->conf);
    m->name = mpread_str(r, LIMIT_FRAME);
    if (r->err != WERR_OK) {
        return read_error(r, e);
    }
    rc = topic_config_get(r, true, &m->conf, e);
    return rc != WERR_OK ? rc : topic_tail(r, left, m, e);
}

void msg_put_topic_ok(struct buf *b, uint32_t corr, uint64_t tid, const struct topic_config *c)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_uint(b, tid);
    topic_config_put(b, c, true);
    frame_end(b, at, 0);
}

enum werr msg_get_topic_ok(struct mpread *r, uint64_t *tid, struct topic_config *c,
                           struct werror *e)
{
    uint32_t left = result_begin(r, 2);
    enum werr rc;

    *tid = mpread_uint(r, LIMIT_UINT);
    topic_config_defaults(c);
    rc = topic_config_get(r, false, c, e);
    return rc != WERR_OK ? rc : result_end(r, left, e);
}

void msg_put_topic_delete(struct buf *b, uint32_t corr, struct slice name, bool dry_run)
{
    size_t at = frame_begin_request(b, corr, OP_TOPIC_DELETE);

    mpw_array(b, 2);
    mpw_str(b, name);
    put_dry_run(b, dry_run);
    frame_end(b, at, 0);
}

enum werr msg_get_topic_delete(struct mpread *r, struct msg_topic *m, struct werror *e)
{
    uint32_t left = args_begin(r, 1);

    *m = (struct msg_topic){0};
    m->name = mpread_str(r, LIMIT_FRAME);
    return r->err != WERR_OK ? read_error(r, e) : topic_tail(r, left, m, e);
}

void msg_put_topic_delete_ok(struct buf *b, uint32_t corr, uint64_t tid, uint64_t bytes)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_uint(b, tid);
    mpw_uint(b, bytes);
    frame_end(b, at, 0);
}

enum werr msg_get_topic_delete_ok(struct mpread *r, uint64_t *tid, uint64_t *bytes,
                                  struct werror *e)
{
    uint32_t left = result_begin(r, 2);

    *tid = mpread_uint(r, LIMIT_UINT);
    *bytes = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, e);
}

/* ---- TOPIC_DESCRIBE ---- */

void msg_put_topic_describe(struct buf *b, uint32_t corr, struct slice name)
{
    size_t at = frame_begin_request(b, corr, OP_TOPIC_DESCRIBE);

    mpw_array(b, 1);
    mpw_str(b, name);
    frame_end(b, at, 0);
}

enum werr msg_get_topic_describe(struct mpread *r, struct slice *name, struct werror *e)
{
    uint32_t left = args_begin(r, 1);

    *name = mpread_str(r, LIMIT_FRAME);
    return args_end(r, left, e);
}

void msg_put_topic_describe_ok(struct buf *b, uint32_t corr, struct slice name, uint64_t tid,
                               int64_t created_ms, const struct topic_config *c,
                               const struct msg_part_stat *parts, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 5);
    mpw_str(b, name);
    mpw_uint(b, tid);
    mpw_int(b, created_ms);
    topic_config_put(b, c, true);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 6);
        mpw_uint(b, parts[i].p);
        mpw_uint(b, parts[i].epoch);
        mpw_uint(b, parts[i].log_start);
        mpw_uint(b, parts[i].hw);
        mpw_uint(b, parts[i].bytes);
        mpw_int(b, parts[i].last_append_ms);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_topic_describe_ok(struct mpread *r, struct msg_topic_describe_ok *m,
                                    struct werror *e)
{
    uint32_t left = result_begin(r, 5);
    enum werr rc;

    m->name = mpread_str(r, LIMIT_TOPIC_NAME);
    m->tid = mpread_uint(r, LIMIT_UINT);
    m->created_ms = mpread_int(r, 0, INT64_MAX);
    topic_config_defaults(&m->conf);
    rc = topic_config_get(r, false, &m->conf, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->n_parts = list_skip(r, &m->parts);
    return result_end(r, left, e);
}

bool msg_next_part_stat(struct mpread *r, struct msg_part_stat *p)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 6);
    p->p = (uint32_t)mpread_uint(r, LIMIT_PARTITIONS - 1);
    p->epoch = (uint32_t)mpread_uint(r, UINT32_MAX);
    p->log_start = mpread_uint(r, LIMIT_UINT);
    p->hw = mpread_uint(r, LIMIT_UINT);
    p->bytes = mpread_uint(r, LIMIT_UINT);
    p->last_append_ms = mpread_int(r, 0, INT64_MAX);
    return result_end(r, left, NULL) == WERR_OK;
}
