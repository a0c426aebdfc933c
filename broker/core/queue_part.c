/*
 * One partition of a queue group: floor, cursor, what is in between; dead letters and figures.
 * Memory only; rows are queue_rows.c's.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"

void qp_dirty(struct queue_part *qp)
{
    gpart_dirty(qp->gp, STORE_SYNC);
}

void qp_gone(struct queue_part *qp, enum meta_tag tag, uint64_t id)
{
    if (qp->n_gone == qp->cap_gone) {
        qp->cap_gone = qp->cap_gone > 0 ? 2 * qp->cap_gone : 8;
        qp->gone = core_realloc(qp->gone, qp->cap_gone, sizeof *qp->gone);
    }
    qp->gone[qp->n_gone++] = (struct gone_row){(uint8_t)tag, id};
    qp_dirty(qp);
}

bool gpart_is_dlq(const struct gpart *gp)
{
    const struct core_topic *t = gp->part->topic;
    const struct core_group *g = gp->group;
    const size_t tail = (size_t)g->name_n + 5; /* ~GROUP~dlq */

    return t->name_n > tail && t->name[t->name_n - tail] == '~' &&
           memcmp(t->name + t->name_n - tail + 1, g->name, g->name_n) == 0 &&
           memcmp(t->name + t->name_n - 4, "~dlq", 4) == 0;
}

bool qp_has_fresh(const struct queue_part *qp)
{
    return !qp->is_dlq && qp->next < qp->gp->part->hw;
}

static void unlist(struct queue_part *qp)
{
    if (qp->listed || qp->blocked) {
        TAILQ_REMOVE(qp->listed ? &qp->q->ready : &qp->q->blocked, qp, link);
        qp->listed = qp->blocked = false;
    }
}

void qp_look(struct queue_part *qp)
{
    qp->next = acked_next_free(&qp->set, qp->next);
    const bool has = qp->keys.n == 0 && !timer_is_set(&qp->read_again) &&
                     (!TAILQ_EMPTY(&qp->ready) || qp_has_fresh(qp));

    if (!has) {
        unlist(qp);
    } else if (!qp->listed && (!qp->blocked || !TAILQ_EMPTY(&qp->ready))) {
        unlist(qp);
        qp->listed = true;
        TAILQ_INSERT_TAIL(&qp->q->ready, qp, link);
        queue_pump_soon(qp->q);
    }
}

void qp_block(struct queue_part *qp)
{
    qp->blocked = true;
    TAILQ_INSERT_TAIL(&qp->q->blocked, qp, link);
}

void qp_drop_ahead(struct queue_part *qp)
{
    struct core *co = qp->gp->group->co;

    if (qp->ahead.owner != NULL) {
        TAILQ_REMOVE(&co->aheads, qp, of_ahead);
        co->ahead_bytes -= qp->ahead.n;
        blob_unref(qp->ahead.owner);
        qp->ahead = (struct bytes){0};
    }
}

void qp_keep_ahead(struct queue_part *qp, struct bytes data)
{
    struct core *co = qp->gp->group->co;
    struct queue_part *oldest;

    qp_drop_ahead(qp);
    if (data.owner == NULL) {
        return;
    }
    qp->ahead = data;
    TAILQ_INSERT_TAIL(&co->aheads, qp, of_ahead);
    co->ahead_bytes += data.n;
    while (co->ahead_bytes > co->ahead_most && (oldest = TAILQ_FIRST(&co->aheads)) != qp) {
        qp_drop_ahead(oldest);
    }
}

void qp_move_floor(struct queue_part *qp)
{
    struct gpart *gp = qp->gp;
    uint64_t floor = acked_next_undone(&qp->set, gp->floor);
    struct chunk *c;
    const struct retry *r;

    TAILQ_FOREACH (r, &qp->moving, link) { /* not before their copy is durable */
        floor = r->offset < floor ? r->offset : floor;
    }
    if (floor <= gp->floor) {
        return;
    }
    gp->floor = floor;
    qp->next = qp->next > floor ? qp->next : floor;
    while ((c = acked_pop_below(&qp->set, floor)) != NULL) {
        if (c->stored) {
            qp_gone(qp, META_ACKED, c->number);
        }
        free(c);
    }
}

void qp_settle(struct queue_part *qp, uint64_t offset)
{
    acked_done(&qp->set, offset);
    if (offset == qp->gp->floor) {
        qp_move_floor(qp);
    }
    qp_dirty(qp);
}

/* ---------------------------------------------------------------- life */

void queue_part_new(struct gpart *gp)
{
    struct queue_part *qp = core_calloc(1, sizeof *qp);

    qp->gp = gp;
    qp->q = gp->group->queue;
    TAILQ_INIT(&qp->ready);
    TAILQ_INIT(&qp->moving);
    TAILQ_INIT(&qp->dirty_retries);
    TAILQ_INIT(&qp->leases);
    TAILQ_INIT(&qp->dirty_leases);
    acked_reset(&qp->set, gp->floor);
    qp->next = gp->floor;
    qp->is_dlq = gpart_is_dlq(gp);
    qp->read_again.fire = queue_read_again;
    gp->q = qp;
    qp_look(qp);
}

static void forget_exceptions(struct queue_part *qp)
{
    struct lease *l;
    struct retry *r, *next;

    lanes_forget(qp);
    while ((l = TAILQ_FIRST(&qp->leases)) != NULL) {
        l->stored = false;
        lease_free(l);
    }
    HASH_ITER (hh, qp->retries, r, next) {
        r->stored = false;
        retry_free(r);
    }
}

void queue_part_free(struct gpart *gp)
{
    struct queue_part *qp = gp->q;

    forget_exceptions(qp);
    unlist(qp);
    if (qp->reading) {
        part_read_cancel(&qp->read);
    }
    timer_unset(&gp->group->co->timers, &qp->read_again);
    qp_drop_ahead(qp);
    acked_fini(&qp->set);
    free(qp->gone);
    free(qp);
    gp->q = NULL;
}

void queue_raised(struct gpart *gp)
{
    qp_look(gp->q);
}

void queue_reset(struct gpart *gp, uint64_t to)
{
    struct queue_part *qp = gp->q;

    forget_exceptions(qp);
    qp_drop_ahead(qp);
    qp->n_gone = 0;
    gp->floor = to;
    acked_reset(&qp->set, to);
    qp->next = to;
    gp->rewrite = true; /* every row of before goes */
    qp_dirty(qp);
    qp_look(qp);
}

/* ---------------------------------------------------------------- dead letters */

void queue_dead_moved(struct gpart *gp, uint64_t offset)
{
    struct queue_part *qp = gp->q;
    struct retry *r = retry_find(qp, offset);

    if (r == NULL || r->state != RETRY_DEAD) {
        return;
    }
    r->state = RETRY_MOVING;
    TAILQ_INSERT_TAIL(&qp->moving, r, link);
    if (r->stored) {
        qp_gone(qp, META_RETRY, offset);
    }
    qp_settle(qp, offset);
}

bool queue_state_of(struct gpart *gp, uint64_t offset, enum msg_dlq_state *state)
{
    const struct queue_part *qp = gp->q;
    const struct retry *r = retry_find(gp->q, offset);

    if (offset < gp->floor || acked_is_done(&qp->set, offset)) {
        return false;
    }
    *state = r == NULL ? DLQ_DEAD : r->state == RETRY_LEASED ? DLQ_LEASED : DLQ_WAITING;
    return true;
}

bool queue_offer(struct gpart *gp, uint64_t offset, int64_t due_ms)
{
    struct queue_part *qp = gp->q;

    if (offset < gp->floor || acked_is_taken(&qp->set, offset)) {
        return false;
    }
    struct retry *r = retry_get(qp, offset);
    acked_take(&qp->set, offset, offset);
    retry_wait_until(r, due_ms);
    qp_dirty(qp);
    return true;
}

bool queue_settle_quietly(struct gpart *gp, uint64_t offset)
{
    struct queue_part *qp = gp->q;
    struct retry *r = retry_find(qp, offset);

    if (offset < gp->floor || acked_is_done(&qp->set, offset) ||
        (r != NULL && r->state != RETRY_WAITING && r->state != RETRY_READY)) {
        return false;
    }
    if (r != NULL) {
        retry_free(r);
    }
    qp_settle(qp, offset);
    qp_look(qp);
    return true;
}

/* ---------------------------------------------------------------- figures */

void queue_figures(struct gpart *gp, struct queue_figures *f)
{
    const struct queue_part *qp = gp->q;
    const struct lease *l = TAILQ_FIRST(&qp->leases);
    const uint64_t hw = gp->part->hw;

    *f = (struct queue_figures){.next = qp->next, .leased = qp->leased};
    for (const struct retry *r = qp->retries; r != NULL; r = r->hh.next) {
        f->retrying += r->counted || qp->is_dlq;
    }
    f->settled_above = acked_count_done(&qp->set, gp->floor);
    f->lag = hw > gp->floor + f->settled_above ? hw - gp->floor - f->settled_above : 0;
    if (qp->is_dlq) {
        f->lag = f->retrying;
    }
    if (l != NULL) {
        f->oldest_lease_ms = (uint64_t)((core_mono_ns(gp->group->co) - l->since_mono_ns) / 1000000);
        f->oldest_holder = l->member;
    }
}
