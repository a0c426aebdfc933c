/*
 * Batches in. Happy path: a DELIVER frame's batches are checked (checksums, offsets without a gap)
 * and queued as views into the received chunk. Small frames are copied, so that a few held bytes
 * don't pin a big chunk. Credit: the broker may send `window_bytes` more than was given back.
 * What can fail: damage and gaps (fatal for the subscription), more than was granted (connection
 * dropped). Deliveries of an id that is not current are ignored.
 */
#include <stdlib.h>

#include "client/consumer.h"
#include "client/group.h"
#include "client/handle.h"

void rx_batch_free(struct rx_batch *b)
{
    blob_unref(b->owner);
    buf_fini(&b->scratch);
    lot_unref(b->lot);
    free(b);
}

bool sub_ended(const struct weir_sub *s)
{
    return s->opt.stop_at_end && s->n_parts > 0 && s->n_ended == s->n_parts;
}

void sub_count_ended(struct weir_sub *s)
{
    const struct sub_part *part;

    s->n_ended = 0;
    TAILQ_FOREACH (part, &s->parts, link) {
        s->n_ended += part->has_end && part->next >= part->end;
    }
}

/*
 * The limit is raised when less than half of the window is left, by a quarter of it at least: a few
 * messages per window. When nothing is left to hand out, what the caller holds is all there is:
 * then any rise counts, or a caller that holds much would wait for ever.
 */
void sub_grant(struct weir_sub *s)
{
    uint64_t left = s->limit > s->received ? s->limit - s->received : 0, limit;
    bool idle = !s->cur && TAILQ_EMPTY(&s->queue);
    struct buf b = {.p = NULL};

    if (s->id == 0 || s->outstanding >= s->opt.window_bytes || left > s->opt.window_bytes / 2) {
        return;
    }
    limit = s->received + (s->opt.window_bytes - s->outstanding);
    if (limit <= s->limit || (limit - s->limit < s->opt.window_bytes / 4 && !idle)) {
        return;
    }
    msg_put_credit(&b, s->id, limit);
    if (!b.failed) {
        conn_notify(&s->w->conn, buf_slice(&b));
        s->limit = limit;
    }
    buf_fini(&b);
}

static struct weir_sub *by_id(struct weir *w, uint32_t id)
{
    struct weir_sub *s;

    TAILQ_FOREACH (s, &w->subs, link) {
        if (s->id == id && id != 0) {
            return s;
        }
    }
    return NULL;
}

/* One batch joins the queue. False: the subscription failed. */
static bool take_batch(struct weir_sub *s, struct sub_part *part, const struct batch_head *h,
                       struct slice bytes, struct blob *owner)
{
    struct rx_batch *b;

    s->received += bytes.n;
    if (h->base_offset > LIMIT_UINT || h->base_offset + h->count <= part->recv) {
        return true; /* all of it was seen before */
    }
    if (h->base_offset > part->recv) {
        sub_fail(s,
                 err_make(WERR_CORRUPT, "topic %s partition %u: offsets %llu to %llu are missing",
                          part->name, part->p, (unsigned long long)part->recv,
                          (unsigned long long)h->base_offset - 1));
        return false;
    }
    part->recv = h->base_offset + h->count;
    if (part->has_end && h->base_offset >= part->end) {
        return true; /* beyond what is asked for */
    }
    b = calloc(1, sizeof *b);
    if (!b) {
        sub_fail(s, err_make(WERR_NOMEM, "out of memory"));
        return false;
    }
    b->sub = s;
    b->part = part;
    b->owner = blob_ref(owner);
    b->bytes = bytes;
    b->head = *h;
    b->gen = part->gen;
    b->charged = bytes.n;
    s->outstanding += bytes.n;
    TAILQ_INSERT_TAIL(&s->queue, b, link);
    return true;
}

/* A partition's share of a DELIVER. False: stop. */
static bool take_part(struct weir_sub *s, const struct msg_delivered *d, struct blob *owner)
{
    struct sub_part *part = sub_part_find(s, d->tid, d->p);
    struct slice run = d->batches, bytes;
    struct batch_head h;
    struct werror e = {0};
    enum werr rc;

    if (!part || (s->kind == SUB_LOG && (!part->held || part->leaving))) {
        s->received += d->batches.n; /* on its way when we gave the partition up */
        return true;
    }
    if ((int64_t)d->hw > part->high) {
        part->high = (int64_t)d->hw;
    }
    while ((rc = batch_next(&run, true, &h, &bytes, &e)) == WERR_OK) {
        if (!take_batch(s, part, &h, bytes, owner)) {
            return false;
        }
    }
    if (rc != WERR_NOT_FOUND) {
        weir_error err = err_from_local(&e);

        err_wrap(&err, "topic %s partition %u", part->name, d->p);
        sub_fail(s, err);
        return false;
    }
    return true;
}

void sub_on_deliver(struct weir *w, struct frame *f, struct slice body, struct blob *owner)
{
    struct weir_sub *s = by_id(w, f->id);
    struct blob *copy = NULL;
    struct mpread cur = f->args;
    struct msg_delivered d;
    struct werror e = {0};
    struct frame copied;
    uint32_t n;
    enum werr rc;

    if (!s || s->state != SUB_ACTIVE) {
        return;
    }
    if (s->received > s->limit + LIMIT_BATCH) {
        werror_set(&e, WERR_MALFORMED,
                   "the server broke the protocol: %llu bytes delivered, %llu granted",
                   (unsigned long long)s->received, (unsigned long long)s->limit);
        conn_break(&w->conn, w->now_ns, &e);
        return;
    }
    if (body.n < owner->n / 8) {
        copy = blob_copy(body.p, body.n);
        owner = copy;
        rc = copy ? frame_parse(slice_of(copy->p, copy->n), &copied, &e) : WERR_NOMEM;
        cur = rc == WERR_OK ? copied.args : cur;
        if (rc != WERR_OK) {
            sub_fail(s, err_make(rc, "out of memory"));
            goto out;
        }
    }
    rc = msg_get_deliver(&cur, &n, &e);
    for (uint32_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_delivered(&cur, &d, &e);
        if (rc == WERR_OK && !take_part(s, &d, owner)) {
            goto out;
        }
    }
    if (rc != WERR_OK) {
        werror_wrap(&e, "the server broke the protocol: deliver");
        conn_break(&w->conn, w->now_ns, &e);
    }
    sub_grant(s);
out:
    blob_unref(copy);
}

static void lost_range(struct weir_sub *s, const struct msg_sub_error *m)
{
    const struct sub_part *part = sub_part_find(s, m->tid, m->p);
    unsigned long long at = part ? part->recv : 0, start = m->log_start, hw = m->hw;
    const char *name = part ? part->name : "?";

    if (at < start) {
        sub_fail(s, err_make(WERR_OFFSET_OUT_OF_RANGE,
                             "topic %s partition %u: offsets %llu to %llu are gone, the log starts "
                             "at %llu",
                             name, m->p, at, start - 1, start));
    } else {
        sub_fail(s, err_make(WERR_OFFSET_OUT_OF_RANGE,
                             "topic %s partition %u: offset %llu is above the end, %llu", name,
                             m->p, at, hw));
    }
}

void sub_on_error(struct weir *w, struct frame *f)
{
    struct weir_sub *s = by_id(w, f->id);
    const struct sub_part *part;
    struct msg_sub_error m;
    struct werror e = {0};
    weir_error err;

    if (!s || s->state != SUB_ACTIVE) {
        return;
    }
    if (msg_get_sub_error(&f->args, &m, &e) != WERR_OK) {
        werror_wrap(&e, "the server broke the protocol: sub_error");
        conn_break(&w->conn, w->now_ns, &e);
        return;
    }
    part = sub_part_find(s, m.tid, m.p);
    if (s->kind == SUB_LOG && (!part || !part->held || part->leaving)) {
        return; /* given up meanwhile */
    }
    if (m.err.code == WERR_OFFSET_OUT_OF_RANGE) {
        lost_range(s, &m);
    } else if (s->kind == SUB_LOG) {
        assign_error(s, &m);
    } else if (m.err_class == WCLASS_RETRY || m.err_class == WCLASS_REFRESH) {
        sub_again(s, m.err.retry_after_ms);
    } else {
        err = err_from(&m.err, m.err_class);
        err_wrap(&err, "topic %s partition %u", part ? part->name : "?", m.p);
        sub_fail(s, err);
    }
}
