/*
 * Messages of members in queue mode: ACQUIRE hands out leases, SETTLE ends them. Batches are not
 * copied here: the encoder writes up to the bin's head, and the caller sends the bytes itself.
 */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

/* ---- ACQUIRE, request ---- */

void msg_put_acquire(struct buf *b, uint32_t corr, const struct msg_acquire *m)
{
    size_t at = frame_begin_request(b, corr, OP_ACQUIRE);

    mpw_array(b, 8);
    put_who(b, &m->who);
    mpw_uint(b, m->max_msgs);
    mpw_uint(b, m->max_bytes);
    mpw_uint(b, m->max_wait_ms);
    mpw_uint(b, m->lease_ms);
    mpw_uint(b, m->attempt);
    frame_end(b, at, 0);
}

/* The types are right; are the values? */
static enum werr acquire_check(const struct msg_acquire *m, struct werror *e)
{
    if (m->max_msgs == 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "max_msgs = 0: want 1 to %d", LIMIT_ACQUIRE_MSGS);
    }
    if (m->max_msgs > LIMIT_ACQUIRE_MSGS) {
        return werror_set(e, WERR_TOO_LARGE, "max_msgs = %u, limit %d", m->max_msgs,
                          LIMIT_ACQUIRE_MSGS);
    }
    if (m->max_wait_ms > LIMIT_ACQUIRE_WAIT_MS) {
        return werror_set(e, WERR_TOO_LARGE, "max_wait_ms = %u, limit %d", m->max_wait_ms,
                          LIMIT_ACQUIRE_WAIT_MS);
    }
    if (m->lease_ms > LIMIT_LEASE_MAX_MS) {
        return werror_set(e, WERR_TOO_LARGE, "lease_ms = %u, limit %d", m->lease_ms,
                          LIMIT_LEASE_MAX_MS);
    }
    if (m->lease_ms != 0 && m->lease_ms < LIMIT_LEASE_MIN_MS) {
        return werror_set(e, WERR_INVALID_CONFIG, "lease_ms = %u: want 0 or %d to %d", m->lease_ms,
                          LIMIT_LEASE_MIN_MS, LIMIT_LEASE_MAX_MS);
    }
    if (m->attempt == 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "attempt = 0: attempts begin with 1");
    }
    return WERR_OK;
}

enum werr msg_get_acquire(struct mpread *r, struct msg_acquire *m, struct werror *e)
{
    uint32_t left = args_begin(r, 8);
    enum werr rc;

    *m = (struct msg_acquire){0};
    rc = read_who(r, &m->who, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->max_msgs = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->max_bytes = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->max_wait_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->lease_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->attempt = mpread_uint(r, LIMIT_UINT);
    rc = args_end(r, left, e);
    return rc != WERR_OK ? rc : acquire_check(m, e);
}

/* ---- ACQUIRE, response ---- */

size_t msg_begin_acquire_ok(struct buf *b, uint32_t corr, size_t n_entries)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n_entries);
    return at;
}

void msg_put_acquired_head(struct buf *b, uint64_t tid, uint32_t p, const struct msg_range *ranges,
                           size_t n, size_t bin_bytes)
{
    mpw_array(b, 4);
    mpw_uint(b, tid);
    mpw_uint(b, p);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, ranges[i].reason.n != 0 ? 5 : 4);
        mpw_uint(b, ranges[i].first);
        mpw_uint(b, ranges[i].last);
        mpw_uint(b, ranges[i].deliveries);
        mpw_uint(b, ranges[i].lease);
        if (ranges[i].reason.n != 0) {
            mpw_str(b, ranges[i].reason);
        }
    }
    mpw_bin_head(b, bin_bytes);
}

enum werr msg_get_acquire_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_acquired(struct mpread *r, struct msg_acquired *a, struct werror *e)
{
    uint32_t left = result_begin(r, 4);

    a->tid = mpread_uint(r, LIMIT_UINT);
    a->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    a->n_ranges = list_skip(r, &a->ranges);
    a->batches = mpread_bin(r, LIMIT_FRAME);
    return result_end(r, left, e);
}

bool msg_next_range(struct mpread *r, struct msg_range *g)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 4);
    read_span(r, &g->first, &g->last);
    g->deliveries = (uint32_t)mpread_uint(r, UINT32_MAX);
    g->lease = mpread_uint(r, LIMIT_UINT);
    g->reason = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        g->reason = str_or_nil(r, LIMIT_FRAME);
    }
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- SETTLE ---- */

static void put_settle_item(struct buf *b, const struct msg_settle_item *it)
{
    mpw_array(b, it->reason.n != 0 ? 8 : it->has_arg ? 7 : 6);
    mpw_uint(b, it->tid);
    mpw_uint(b, it->p);
    mpw_uint(b, it->lease);
    mpw_uint(b, it->first);
    mpw_uint(b, it->last);
    mpw_uint(b, it->verb);
    if (it->has_arg) {
        mpw_uint(b, it->arg);
    } else if (it->reason.n != 0) {
        mpw_nil(b);
    }
    if (it->reason.n != 0) {
        mpw_str(b, it->reason);
    }
}

void msg_put_settle(struct buf *b, uint32_t corr, const struct msg_who *who,
                    const struct msg_settle_item *items, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_SETTLE);

    mpw_array(b, 4);
    put_who(b, who);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        put_settle_item(b, &items[i]);
    }
    frame_end(b, at, 0);
}

static enum werr read_settle_item(struct mpread *r, struct msg_settle_item *it, struct werror *e)
{
    uint32_t left = args_begin(r, 6), verb;
    enum werr rc;

    *it = (struct msg_settle_item){0};
    it->tid = mpread_uint(r, LIMIT_UINT);
    it->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    it->lease = mpread_uint(r, LIMIT_UINT);
    read_span(r, &it->first, &it->last);
    verb = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (r->err == WERR_OK && verb > VERB_EXTEND) {
        return werror_set(e, WERR_UNSUPPORTED_FIELD, "verb %u is not known to this version", verb);
    }
    it->verb = (enum msg_verb)verb;
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            it->has_arg = true;
            it->arg = mpread_uint(r, LIMIT_UINT);
        }
    }
    rc = read_text(r, &left, LIMIT_REASON, "reason", &it->reason, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

static enum werr check_settle_item(struct mpread *r, struct werror *e)
{
    struct msg_settle_item it;

    return read_settle_item(r, &it, e);
}

enum werr msg_get_settle(struct mpread *r, struct msg_settle *m, struct werror *e)
{
    uint32_t left = args_begin(r, 4);
    enum werr rc;

    *m = (struct msg_settle){0};
    rc = read_who(r, &m->who, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = read_list(r, &m->items, &m->n_items, LIMIT_SETTLE_ITEMS, "ranges to settle",
                   check_settle_item, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

bool msg_next_settle_item(struct mpread *r, struct msg_settle_item *it)
{
    return list_next(r) && read_settle_item(r, it, NULL) == WERR_OK;
}
