/*
 * Messages that carry or name data: PRODUCE, FETCH, LIST_OFFSETS. Big bins are not copied here: the
 * encoders write up to the bin's head, and the caller sends the bytes itself.
 */
#include "proto/msg.h"
#include "proto/msg_impl.h"

/* ---- PRODUCE ---- */

void msg_put_produce_tail(struct buf *b, const struct msg_produce *m)
{
    if (m->deliver_at_ms == 0) {
        return;
    }
    mpw_map(b, 1);
    mpw_cstr(b, "deliver_at");
    mpw_int(b, m->deliver_at_ms);
}

void msg_put_produce_head(struct buf *b, uint32_t corr, const struct msg_produce *m)
{
    size_t at = frame_begin_request(b, corr, OP_PRODUCE);
    size_t mark = b->len, tail;

    /* Written once to be counted: the tail goes behind bytes that are not here. */
    msg_put_produce_tail(b, m);
    tail = b->len - mark;
    b->len = mark;

    mpw_array(b, tail != 0 ? 4 : 3);
    mpw_uint(b, m->tid);
    mpw_uint(b, m->p);
    mpw_bin_head(b, m->batch.n);
    frame_end(b, at, m->batch.n + tail);
}

/* if_last_offset and ttl are reserved names. */
static bool produce_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_produce *m = arg;

    if (!slice_eq(key, slice_str("deliver_at"))) {
        return false;
    }
    m->deliver_at_ms = (int64_t)mpread_uint(r, LIMIT_UINT);
    return true;
}

enum werr msg_get_produce(struct mpread *r, struct msg_produce *m, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    m->tid = mpread_uint(r, LIMIT_UINT);
    m->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->batch = mpread_bin(r, LIMIT_FRAME);
    m->deliver_at_ms = 0;
    if (r->err == WERR_OK && m->batch.n > LIMIT_BATCH) {
        return werror_set(e, WERR_TOO_LARGE, "batch of %zu bytes, limit %d", m->batch.n,
                          LIMIT_BATCH);
    }
    return options_end(r, left, produce_option, m, e);
}

void msg_put_produce_ok(struct buf *b, uint32_t corr, const struct msg_produce_ok *m)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, m->delay_id.n != 0 ? 5 : 4);
    if (m->has_offset) {
        mpw_uint(b, m->base_offset);
    } else {
        mpw_nil(b);
    }
    mpw_int(b, m->append_ms);
    mpw_uint(b, m->level);
    mpw_uint(b, m->flags);
    if (m->delay_id.n != 0) {
        mpw_str(b, m->delay_id);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_produce_ok(struct mpread *r, struct msg_produce_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 4);

    *m = (struct msg_produce_ok){0};
    if (!mpread_nil(r)) {
        m->has_offset = true;
        m->base_offset = mpread_uint(r, LIMIT_UINT);
    }
    m->append_ms = mpread_int(r, 0, INT64_MAX);
    m->level = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->flags = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (left > 0) {
        left--;
        m->delay_id = str_or_nil(r, LIMIT_FRAME);
    }
    return result_end(r, left, e);
}

/* ---- FETCH, request ---- */

void msg_put_fetch(struct buf *b, uint32_t corr, const struct msg_fetch *m,
                   const struct msg_fetch_part *parts, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_FETCH);

    mpw_array(b, m->who.group.n != 0 ? 5 : 4);
    mpw_uint(b, m->max_wait_ms);
    mpw_uint(b, m->min_bytes);
    mpw_uint(b, m->max_bytes);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, parts[i].has_epoch ? 5 : 4);
        mpw_uint(b, parts[i].tid);
        mpw_uint(b, parts[i].p);
        mpw_uint(b, parts[i].offset);
        mpw_uint(b, parts[i].max_bytes);
        if (parts[i].has_epoch) {
            mpw_uint(b, parts[i].epoch);
        }
    }
    if (m->who.group.n != 0) {
        put_for(b, &m->who);
    }
    frame_end(b, at, 0);
}

/* An epoch at the end of a partition entry: absent or nil means none. */
static void read_epoch(struct mpread *r, uint32_t *left, bool *has_epoch, uint32_t *epoch)
{
    *has_epoch = false;
    *epoch = 0;
    if (*left > 0) {
        (*left)--;
        if (!mpread_nil(r)) {
            *has_epoch = true;
            *epoch = (uint32_t)mpread_uint(r, UINT32_MAX);
        }
    }
}

static enum werr read_fetch_part(struct mpread *r, struct msg_fetch_part *p, struct werror *e)
{
    uint32_t left = args_begin(r, 4);

    p->tid = mpread_uint(r, LIMIT_UINT);
    p->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    p->offset = mpread_uint(r, LIMIT_UINT);
    p->max_bytes = (uint32_t)mpread_uint(r, UINT32_MAX);
    read_epoch(r, &left, &p->has_epoch, &p->epoch);
    return args_end(r, left, e);
}

enum werr msg_get_fetch(struct mpread *r, struct msg_fetch *m, struct werror *e)
{
    uint32_t left = args_begin(r, 4);
    enum werr rc;

    m->max_wait_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->min_bytes = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->max_bytes = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->n_parts = mpread_array(r);
    if (r->err == WERR_OK && m->n_parts > LIMIT_FETCH_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "fetch of %u partitions, limit %d", m->n_parts,
                          LIMIT_FETCH_PARTITIONS);
    }
    list_begin(&m->parts, r);
    for (uint32_t i = 0; i < m->n_parts && r->err == WERR_OK; i++) {
        struct msg_fetch_part p;

        rc = read_fetch_part(r, &p, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    list_end(&m->parts, r);
    rc = read_for(r, &left, &m->who, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

bool msg_next_fetch_part(struct mpread *r, struct msg_fetch_part *p)
{
    return list_next(r) && read_fetch_part(r, p, NULL) == WERR_OK;
}

/* ---- FETCH, response ---- */

size_t msg_begin_fetch_ok(struct buf *b, uint32_t corr, size_t n_parts)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n_parts);
    return at;
}

void msg_put_fetch_part_head(struct buf *b, uint64_t tid, uint32_t p, const struct werror *err,
                             const struct frame_detail *d, size_t nd, uint64_t hw,
                             uint64_t log_start, size_t bin_bytes)
{
    static const struct werror fine = {.code = WERR_OK};

    mpw_array(b, 6);
    mpw_uint(b, tid);
    mpw_uint(b, p);
    frame_put_error_array(b, err != NULL ? err : &fine, d, nd);
    mpw_uint(b, hw);
    mpw_uint(b, log_start);
    mpw_bin_head(b, bin_bytes);
}

enum werr msg_get_fetch_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_fetched(struct mpread *r, struct msg_fetched *f, struct werror *e)
{
    uint32_t left = result_begin(r, 6);

    f->tid = mpread_uint(r, LIMIT_UINT);
    f->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    (void)read_item_error(r, &f->err, &f->err_class, NULL);
    f->hw = mpread_uint(r, LIMIT_UINT);
    f->log_start = mpread_uint(r, LIMIT_UINT);
    f->batches = mpread_bin(r, LIMIT_FRAME);
    return result_end(r, left, e);
}

/* ---- LIST_OFFSETS ---- */

void msg_put_list_offsets(struct buf *b, uint32_t corr, const struct msg_offset_spec *s, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_LIST_OFFSETS);

    mpw_array(b, 1);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 3);
        mpw_uint(b, s[i].tid);
        mpw_uint(b, s[i].p);
        mpw_int(b, s[i].spec);
    }
    frame_end(b, at, 0);
}

static enum werr read_spec(struct mpread *r, struct msg_offset_spec *s, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    s->tid = mpread_uint(r, LIMIT_UINT);
    s->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    s->spec = mpread_int(r, OFFSET_SPEC_END, (int64_t)LIMIT_UINT);
    return args_end(r, left, e);
}

enum werr msg_get_list_offsets(struct mpread *r, uint32_t *n, struct werror *e)
{
    uint32_t left = args_begin(r, 1);
    struct mpread list;
    enum werr end;

    *n = mpread_array(r);
    if (r->err == WERR_OK && *n > LIMIT_OFFSET_SPECS) {
        return werror_set(e, WERR_TOO_LARGE, "%u offsets asked for, limit %d", *n,
                          LIMIT_OFFSET_SPECS);
    }
    list_begin(&list, r);
    for (uint32_t i = 0; i < *n && r->err == WERR_OK; i++) {
        struct msg_offset_spec s;
        enum werr rc = read_spec(r, &s, e);

        if (rc != WERR_OK) {
            return rc;
        }
    }
    list_end(&list, r);
    end = args_end(r, left, e);
    if (end == WERR_OK) {
        *r = list; /* ready for msg_next_offset_spec */
    }
    return end;
}

bool msg_next_offset_spec(struct mpread *r, struct msg_offset_spec *s)
{
    return list_next(r) && read_spec(r, s, NULL) == WERR_OK;
}

void msg_put_list_offsets_ok(struct buf *b, uint32_t corr, const struct msg_offset *o, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 5);
        mpw_uint(b, o[i].tid);
        mpw_uint(b, o[i].p);
        frame_put_error_array(b, &o[i].err, NULL, 0);
        mpw_uint(b, o[i].offset);
        mpw_int(b, o[i].ts_ms);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_list_offsets_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_offset(struct mpread *r, struct msg_offset *o, struct werror *e)
{
    uint32_t left = result_begin(r, 5);
    enum werr_class cls;

    o->tid = mpread_uint(r, LIMIT_UINT);
    o->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    (void)read_item_error(r, &o->err, &cls, NULL);
    o->offset = mpread_uint(r, LIMIT_UINT);
    o->ts_ms = mpread_int(r, 0, INT64_MAX);
    return result_end(r, left, e);
}
