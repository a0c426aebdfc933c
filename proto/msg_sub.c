/* Subscriptions and notifications: SUBSCRIBE, CREDIT, SUB_UPDATE, DELIVER, SUB_ERROR, GOING_AWAY,
 * CHANGED. */
#include "proto/msg.h"
#include "proto/msg_impl.h"

static void put_sub_parts(struct buf *b, const struct msg_sub_part *parts, size_t n)
{
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, parts[i].has_epoch ? 4 : 3);
        mpw_uint(b, parts[i].tid);
        mpw_uint(b, parts[i].p);
        mpw_uint(b, parts[i].offset);
        if (parts[i].has_epoch) {
            mpw_uint(b, parts[i].epoch);
        }
    }
}

static enum werr read_sub_part(struct mpread *r, struct msg_sub_part *p, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    *p = (struct msg_sub_part){0};
    p->tid = mpread_uint(r, LIMIT_UINT);
    p->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    p->offset = mpread_uint(r, LIMIT_UINT);
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            p->has_epoch = true;
            p->epoch = (uint32_t)mpread_uint(r, UINT32_MAX);
        }
    }
    return args_end(r, left, e);
}

/* Validates a list and leaves *view at its first element. */
static enum werr read_sub_parts(struct mpread *r, struct mpread *view, uint32_t *n,
                                struct werror *e)
{
    *n = mpread_array(r);
    if (r->err == WERR_OK && *n > LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "%u partitions in a subscription, limit %d", *n,
                          LIMIT_SUB_PARTITIONS);
    }
    list_begin(view, r);
    for (uint32_t i = 0; i < *n && r->err == WERR_OK; i++) {
        struct msg_sub_part p;
        enum werr rc = read_sub_part(r, &p, e);

        if (rc != WERR_OK) {
            return rc;
        }
    }
    list_end(view, r);
    return read_error(r, e);
}

bool msg_next_sub_part(struct mpread *r, struct msg_sub_part *p)
{
    return list_next(r) && read_sub_part(r, p, NULL) == WERR_OK;
}

/* ---- SUBSCRIBE ---- */

void msg_put_subscribe(struct buf *b, uint32_t corr, const struct msg_subscribe *m,
                       const struct msg_sub_part *parts, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_SUBSCRIBE);
    const struct {
        const char *name;
        uint32_t v;
    } options[] = {
        {"max_push", m->max_push}, {"min_bytes", m->min_bytes}, {"max_wait_ms", m->max_wait_ms}};
    size_t set = 0;

    mpw_array(b, m->who.group.n != 0 ? 5 : 4);
    mpw_uint(b, m->sub);
    put_sub_parts(b, parts, n);
    mpw_uint(b, m->credit);
    for (size_t i = 0; i < 3; i++) {
        set += options[i].v != 0;
    }
    mpw_map(b, set);
    for (size_t i = 0; i < 3; i++) {
        if (options[i].v != 0) {
            mpw_cstr(b, options[i].name);
            mpw_uint(b, options[i].v);
        }
    }
    if (m->who.group.n != 0) {
        put_for(b, &m->who);
    }
    frame_end(b, at, 0);
}

static bool subscribe_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_subscribe *m = arg;
    uint32_t *field = slice_eq(key, slice_str("max_push"))      ? &m->max_push
                      : slice_eq(key, slice_str("min_bytes"))   ? &m->min_bytes
                      : slice_eq(key, slice_str("max_wait_ms")) ? &m->max_wait_ms
                                                                : NULL;

    if (field == NULL) {
        return false;
    }
    *field = (uint32_t)mpread_uint(r, UINT32_MAX);
    return true;
}

enum werr msg_get_subscribe(struct mpread *r, struct msg_subscribe *m, struct werror *e)
{
    uint32_t left = args_begin(r, 3);
    enum werr rc;

    *m = (struct msg_subscribe){0};
    m->sub = (uint32_t)mpread_uint(r, UINT32_MAX);
    rc = read_sub_parts(r, &m->parts, &m->n_parts, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->credit = mpread_uint(r, LIMIT_UINT);
    if (left > 0) {
        rc = read_options(r, subscribe_option, m, e);
        if (rc != WERR_OK) {
            return rc;
        }
        left--;
    }
    rc = read_for(r, &left, &m->who, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

/* ---- CREDIT ---- */

void msg_put_credit(struct buf *b, uint32_t sub, uint64_t limit)
{
    size_t at = frame_begin_notify(b, sub, OP_CREDIT);

    mpw_array(b, 1);
    mpw_uint(b, limit);
    frame_end(b, at, 0);
}

enum werr msg_get_credit(struct mpread *r, uint64_t *limit, struct werror *e)
{
    uint32_t left = args_begin(r, 1);

    *limit = mpread_uint(r, LIMIT_UINT);
    return args_end(r, left, e);
}

/* ---- SUB_UPDATE ---- */

void msg_put_sub_update(struct buf *b, uint32_t corr, uint32_t sub, const struct msg_sub_part *add,
                        size_t n_add, const struct msg_sub_part *drop, size_t n_drop)
{
    size_t at = frame_begin_request(b, corr, OP_SUB_UPDATE);

    mpw_array(b, 3);
    mpw_uint(b, sub);
    put_sub_parts(b, add, n_add);
    mpw_array(b, n_drop);
    for (size_t i = 0; i < n_drop; i++) {
        mpw_array(b, 2);
        mpw_uint(b, drop[i].tid);
        mpw_uint(b, drop[i].p);
    }
    frame_end(b, at, 0);
}

static enum werr read_drop(struct mpread *r, uint64_t *tid, uint32_t *p, struct werror *e)
{
    uint32_t left = args_begin(r, 2);

    *tid = mpread_uint(r, LIMIT_UINT);
    *p = (uint32_t)mpread_uint(r, UINT32_MAX);
    return args_end(r, left, e);
}

enum werr msg_get_sub_update(struct mpread *r, struct msg_sub_update *m, struct werror *e)
{
    uint32_t left = args_begin(r, 3);
    enum werr rc;

    m->sub = (uint32_t)mpread_uint(r, UINT32_MAX);
    rc = read_sub_parts(r, &m->add, &m->n_add, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->n_drop = mpread_array(r);
    if (r->err == WERR_OK && m->n_drop > LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "%u partitions dropped, limit %d", m->n_drop,
                          LIMIT_SUB_PARTITIONS);
    }
    list_begin(&m->drop, r);
    for (uint32_t i = 0; i < m->n_drop && r->err == WERR_OK; i++) {
        uint64_t tid;
        uint32_t p;

        rc = read_drop(r, &tid, &p, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    list_end(&m->drop, r);
    return args_end(r, left, e);
}

bool msg_next_drop(struct mpread *r, uint64_t *tid, uint32_t *p)
{
    return list_next(r) && read_drop(r, tid, p, NULL) == WERR_OK;
}

/* ---- DELIVER ---- */

size_t msg_begin_deliver(struct buf *b, uint32_t sub, size_t n_parts)
{
    size_t at = frame_begin_notify(b, sub, OP_DELIVER);

    mpw_array(b, n_parts);
    return at;
}

void msg_put_deliver_part_head(struct buf *b, uint64_t tid, uint32_t p, uint64_t hw,
                               size_t bin_bytes)
{
    mpw_array(b, 4);
    mpw_uint(b, tid);
    mpw_uint(b, p);
    mpw_uint(b, hw);
    mpw_bin_head(b, bin_bytes);
}

enum werr msg_get_deliver(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_delivered(struct mpread *r, struct msg_delivered *d, struct werror *e)
{
    uint32_t left = result_begin(r, 4);

    d->tid = mpread_uint(r, LIMIT_UINT);
    d->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    d->hw = mpread_uint(r, LIMIT_UINT);
    d->batches = mpread_bin(r, LIMIT_FRAME);
    return result_end(r, left, e);
}

/* ---- SUB_ERROR, GOING_AWAY, CHANGED ---- */

void msg_put_sub_error(struct buf *b, uint32_t sub, uint64_t tid, uint32_t p,
                       const struct werror *err, const struct frame_detail *d, size_t nd)
{
    size_t at = frame_begin_notify(b, sub, OP_SUB_ERROR);

    mpw_array(b, 3);
    mpw_uint(b, tid);
    mpw_uint(b, p);
    frame_put_error_array(b, err, d, nd);
    frame_end(b, at, 0);
}

enum werr msg_get_sub_error(struct mpread *r, struct msg_sub_error *m, struct werror *e)
{
    uint32_t left = result_begin(r, 3);
    struct slice raw;

    m->tid = mpread_uint(r, LIMIT_UINT);
    m->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->log_start = m->hw = 0;
    if (read_item_error(r, &m->err, &m->err_class, &raw) == WERR_OK) {
        m->log_start = frame_error_detail(raw, "log_start", 0);
        m->hw = frame_error_detail(raw, "hw", 0);
    }
    return result_end(r, left, e);
}

void msg_put_going_away(struct buf *b, const char *reason, uint32_t deadline_ms)
{
    size_t at = frame_begin_notify(b, 0, OP_GOING_AWAY);

    mpw_array(b, 2);
    mpw_cstr(b, reason);
    mpw_uint(b, deadline_ms);
    frame_end(b, at, 0);
}

enum werr msg_get_going_away(struct mpread *r, struct slice *reason, uint32_t *deadline_ms,
                             struct werror *e)
{
    uint32_t left = result_begin(r, 2);

    *reason = mpread_str(r, LIMIT_DETAIL_TEXT);
    *deadline_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
    return result_end(r, left, e);
}

void msg_put_changed(struct buf *b, const char *kind, struct slice name)
{
    size_t at = frame_begin_notify(b, 0, OP_CHANGED);

    mpw_array(b, 2);
    mpw_cstr(b, kind);
    mpw_str(b, name);
    frame_end(b, at, 0);
}

enum werr msg_get_changed(struct mpread *r, struct slice *kind, struct slice *name,
                          struct werror *e)
{
    uint32_t left = result_begin(r, 2);

    *kind = mpread_str(r, LIMIT_DETAIL_TEXT);
    *name = mpread_str(r, LIMIT_DETAIL_TEXT);
    return result_end(r, left, e);
}
