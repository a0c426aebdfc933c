/* Messages about delayed records: CANCEL_DELAYED, DELAYED_LIST. PRODUCE's options are in
 * msg_data.c. */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

/* ---- CANCEL_DELAYED ---- */

void msg_put_cancel(struct buf *b, uint32_t corr, uint64_t tid, const struct slice *ids, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_CANCEL_DELAYED);

    mpw_array(b, 2);
    mpw_uint(b, tid);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_str(b, ids[i]);
    }
    frame_end(b, at, 0);
}

/* What is not an id at all is answered as unknown, so only the length is judged here. */
static enum werr check_id(struct mpread *r, struct werror *e)
{
    struct slice id = mpread_str(r, LIMIT_FRAME);

    if (r->err == WERR_OK && id.n > LIMIT_DELAY_ID) {
        return werror_set(e, WERR_TOO_LARGE, "id of %zu bytes, limit %d", id.n, LIMIT_DELAY_ID);
    }
    return read_error(r, e);
}

enum werr msg_get_cancel(struct mpread *r, struct msg_cancel_rq *m, struct werror *e)
{
    uint32_t left = args_begin(r, 2);
    enum werr rc;

    m->tid = mpread_uint(r, LIMIT_UINT);
    rc = read_list(r, &m->ids, &m->n_ids, LIMIT_CANCEL_IDS, "ids to cancel", check_id, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

void msg_put_cancel_ok(struct buf *b, uint32_t corr, const uint8_t *status, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_uint(b, status[i]);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_cancel_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_cancelled(struct mpread *r, uint32_t *status, struct werror *e)
{
    *status = (uint32_t)mpread_uint(r, UINT32_MAX);
    return read_error(r, e);
}

/* ---- DELAYED_LIST ---- */

void msg_put_delayed_list(struct buf *b, uint32_t corr, uint64_t tid, struct slice after,
                          uint32_t limit)
{
    size_t at = frame_begin_request(b, corr, OP_DELAYED_LIST);

    mpw_array(b, 2);
    mpw_uint(b, tid);
    put_page(b, after, limit);
    frame_end(b, at, 0);
}

enum werr msg_get_delayed_list(struct mpread *r, uint64_t *tid, struct slice *after,
                               uint32_t *limit, struct werror *e)
{
    uint32_t left = args_begin(r, 1);

    *tid = mpread_uint(r, LIMIT_UINT);
    return page_end(r, left, after, limit, e);
}

void msg_put_delayed_list_ok(struct buf *b, uint32_t corr, const struct msg_delayed *d, size_t n,
                             struct slice next)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 5);
        mpw_str(b, d[i].id);
        mpw_uint(b, d[i].p);
        mpw_int(b, d[i].due_ms);
        mpw_uint(b, d[i].count);
        mpw_uint(b, d[i].bytes);
    }
    put_str_or_nil(b, next);
    frame_end(b, at, 0);
}

enum werr msg_get_delayed_list_ok(struct mpread *r, struct msg_delayed_list_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 1);

    m->n_items = list_skip(r, &m->items);
    m->next = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        m->next = str_or_nil(r, LIMIT_FRAME);
    }
    return result_end(r, left, e);
}

bool msg_next_delayed(struct mpread *r, struct msg_delayed *d)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 5);
    d->id = mpread_str(r, LIMIT_FRAME);
    d->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    d->due_ms = mpread_int(r, 0, INT64_MAX);
    d->count = (uint32_t)mpread_uint(r, UINT32_MAX);
    d->bytes = (uint32_t)mpread_uint(r, UINT32_MAX);
    return result_end(r, left, NULL) == WERR_OK;
}
