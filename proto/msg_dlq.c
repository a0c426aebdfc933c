/* Messages about dead letters: DLQ_LIST, DLQ_REDRIVE, DLQ_PURGE. */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

/* ---- DLQ_LIST ---- */

void msg_put_dlq_list(struct buf *b, uint32_t corr, const struct msg_dlq_list *m)
{
    size_t at = frame_begin_request(b, corr, OP_DLQ_LIST);

    mpw_array(b, 4);
    mpw_str(b, m->topic);
    mpw_uint(b, m->p);
    mpw_uint(b, m->from);
    mpw_uint(b, m->limit);
    frame_end(b, at, 0);
}

enum werr msg_get_dlq_list(struct mpread *r, struct msg_dlq_list *m, struct werror *e)
{
    uint32_t left = args_begin(r, 4);

    m->topic = mpread_str(r, LIMIT_FRAME);
    m->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->from = mpread_uint(r, LIMIT_UINT);
    m->limit = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (r->err == WERR_OK && m->limit > LIMIT_DLQ_SPANS) {
        return werror_set(e, WERR_TOO_LARGE, "limit = %u, at most %d", m->limit, LIMIT_DLQ_SPANS);
    }
    return args_end(r, left, e);
}

void msg_put_dlq_list_ok(struct buf *b, uint32_t corr, const struct msg_dlq_range *ranges, size_t n,
                         bool has_next, uint64_t next)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 3);
        mpw_uint(b, ranges[i].first);
        mpw_uint(b, ranges[i].last);
        mpw_uint(b, ranges[i].state);
    }
    if (has_next) {
        mpw_uint(b, next);
    } else {
        mpw_nil(b);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_dlq_list_ok(struct mpread *r, struct msg_dlq_list_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 1);

    *m = (struct msg_dlq_list_ok){0};
    m->n_ranges = list_skip(r, &m->ranges);
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            m->has_next = true;
            m->next = mpread_uint(r, LIMIT_UINT);
        }
    }
    return result_end(r, left, e);
}

bool msg_next_dlq_range(struct mpread *r, struct msg_dlq_range *g)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 3);
    read_span(r, &g->first, &g->last);
    g->state = (uint32_t)mpread_uint(r, UINT32_MAX);
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- DLQ_REDRIVE, DLQ_PURGE ---- */

static void put_spans(struct buf *b, const struct msg_dlq_span *spans, size_t n)
{
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 3);
        mpw_uint(b, spans[i].p);
        mpw_uint(b, spans[i].first);
        mpw_uint(b, spans[i].last);
    }
}

void msg_put_dlq_redrive(struct buf *b, uint32_t corr, struct slice topic,
                         const struct msg_dlq_span *spans, size_t n, uint32_t rate, bool dry_run)
{
    size_t at = frame_begin_request(b, corr, OP_DLQ_REDRIVE);

    mpw_array(b, 3);
    mpw_str(b, topic);
    put_spans(b, spans, n);
    mpw_map(b, (size_t)(rate != 0) + (size_t)dry_run);
    if (rate != 0) {
        mpw_cstr(b, "rate");
        mpw_uint(b, rate);
    }
    if (dry_run) {
        mpw_cstr(b, "dry_run");
        mpw_bool(b, true);
    }
    frame_end(b, at, 0);
}

void msg_put_dlq_purge(struct buf *b, uint32_t corr, struct slice topic,
                       const struct msg_dlq_span *spans, size_t n, bool dry_run)
{
    size_t at = frame_begin_request(b, corr, OP_DLQ_PURGE);

    mpw_array(b, 3);
    mpw_str(b, topic);
    put_spans(b, spans, n);
    put_flags(b, false, dry_run);
    frame_end(b, at, 0);
}

static enum werr read_dlq_span(struct mpread *r, struct msg_dlq_span *s, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    s->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    read_span(r, &s->first, &s->last);
    return args_end(r, left, e);
}

static enum werr check_dlq_span(struct mpread *r, struct werror *e)
{
    struct msg_dlq_span s;

    return read_dlq_span(r, &s, e);
}

bool msg_next_dlq_span(struct mpread *r, struct msg_dlq_span *s)
{
    return list_next(r) && read_dlq_span(r, s, NULL) == WERR_OK;
}

static bool purge_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_dlq_move *m = arg;

    if (!slice_eq(key, slice_str("dry_run"))) {
        return false;
    }
    m->dry_run = mpread_bool(r);
    return true;
}

static bool redrive_option(void *arg, struct slice key, struct mpread *r)
{
    struct msg_dlq_move *m = arg;

    if (!slice_eq(key, slice_str("rate"))) {
        return purge_option(arg, key, r);
    }
    m->rate = (uint32_t)mpread_uint(r, UINT32_MAX);
    return true;
}

static enum werr get_move(struct mpread *r, struct msg_dlq_move *m, option_fn option,
                          struct werror *e)
{
    uint32_t left = args_begin(r, 2);
    enum werr rc;

    *m = (struct msg_dlq_move){0};
    m->topic = mpread_str(r, LIMIT_FRAME);
    rc = read_list(r, &m->spans, &m->n_spans, LIMIT_DLQ_SPANS, "ranges of dead letters",
                   check_dlq_span, e);
    return rc != WERR_OK ? rc : options_end(r, left, option, m, e);
}

enum werr msg_get_dlq_redrive(struct mpread *r, struct msg_dlq_move *m, struct werror *e)
{
    return get_move(r, m, redrive_option, e);
}

enum werr msg_get_dlq_purge(struct mpread *r, struct msg_dlq_move *m, struct werror *e)
{
    return get_move(r, m, purge_option, e);
}

void msg_put_dlq_moved(struct buf *b, uint32_t corr, uint64_t moved, uint64_t skipped)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_uint(b, moved);
    mpw_uint(b, skipped);
    frame_end(b, at, 0);
}

enum werr msg_get_dlq_moved(struct mpread *r, uint64_t *moved, uint64_t *skipped, struct werror *e)
{
    uint32_t left = result_begin(r, 2);

    *moved = mpread_uint(r, LIMIT_UINT);
    *skipped = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, e);
}
