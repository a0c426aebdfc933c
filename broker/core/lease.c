/*
 * Leases: contiguous messages that one member holds. A lease shrinks bit by bit and goes with its
 * last message. Who owns what: the group's hash; its member and partition only list it.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"

static const int64_t MS_NS = 1000000;

static void on_expiry(struct timer *t)
{
    struct lease *l = (struct lease *)(void *)((char *)t - offsetof(struct lease, expiry));
    struct core *co = l->qp->gp->group->co;

#ifdef WEIR_BUG_WALLCLOCK_LEASE
    if (co->env.wall_ms(co->env.arg) < l->deadline_ms) {
        timer_set(&co->timers, t, core_mono_ns(co) + 100 * MS_NS); /* is it over now? */
        return;
    }
#endif
    co->gstats.expired += l->n_left;
    lease_fail(l, "lease expired");
}

struct lease *lease_find(struct queue *q, uint64_t id)
{
    struct lease *l = NULL;

    HASH_FIND(hh, q->leases, &id, sizeof id, l);
    return l;
}

struct lease *lease_new(struct queue_part *qp, struct member *m, uint64_t id, uint64_t first,
                        uint64_t last)
{
    struct core *co = qp->gp->group->co;
    const uint32_t n = (uint32_t)(last - first + 1);
    struct lease *l = core_calloc(1, sizeof *l + (n + 63) / 64 * sizeof(uint64_t));

    l->id = id;
    l->qp = qp;
    l->member = m;
    l->first = first;
    l->last = last;
    l->n_left = n;
    memset(l->left, 0xff, n / 64 * sizeof(uint64_t));
    if (n % 64 != 0) {
        l->left[n / 64] = (UINT64_C(1) << (n % 64)) - 1;
    }
    l->expiry.fire = on_expiry;
    l->since_mono_ns = core_mono_ns(co);
    l->since_ms = core_wall_ms(co);
    HASH_ADD(hh, qp->q->leases, id, sizeof l->id, l);
    LIST_INSERT_HEAD(&m->leases, l, of_member);
    TAILQ_INSERT_TAIL(&qp->leases, l, by_age);
    m->leased += n;
    qp->leased += n;
    qp->q->leased += n;
    co->gstats.leased += n;
    l->dirty = true;
    TAILQ_INSERT_TAIL(&qp->dirty_leases, l, in_dirty);
    qp_dirty(qp);
    return l;
}

void lease_deadline(struct lease *l, int64_t span_ms)
{
    struct core *co = l->qp->gp->group->co;

    l->span_ms = span_ms;
    l->deadline_ms = core_wall_ms(co) + span_ms;
    timer_set(&co->timers, &l->expiry, core_mono_ns(co) + span_ms * MS_NS);
#ifdef WEIR_BUG_WALLCLOCK_LEASE
    l->deadline_ms = co->env.wall_ms(co->env.arg) + span_ms;
    timer_set(&co->timers, &l->expiry, core_mono_ns(co) + 100 * MS_NS);
#endif
    if (!l->dirty) {
        l->dirty = true;
        TAILQ_INSERT_TAIL(&l->qp->dirty_leases, l, in_dirty);
    }
    qp_dirty(l->qp);
}

static void count_out(struct lease *l, uint32_t n)
{
    l->n_left -= n;
    l->member->leased -= n;
    l->qp->leased -= n;
    l->qp->q->leased -= n;
    l->qp->gp->group->co->gstats.leased -= n;
    queue_pump_soon(l->qp->q); /* its member, or the group, has room again */
}

void lease_free(struct lease *l)
{
    struct queue_part *qp = l->qp;
    struct member *m = l->member;

    count_out(l, l->n_left);
    timer_unset(&qp->gp->group->co->timers, &l->expiry);
    if (l->dirty) {
        TAILQ_REMOVE(&qp->dirty_leases, l, in_dirty);
    }
    if (l->stored) {
        qp_gone(qp, META_LEASE, l->id);
    }
    HASH_DEL(qp->q->leases, l);
    LIST_REMOVE(l, of_member);
    TAILQ_REMOVE(&qp->leases, l, by_age);
    free(l);
    member_forget_if_idle(m);
}

void lease_move(struct lease *l, struct member *to)
{
    LIST_REMOVE(l, of_member);
    l->member->leased -= l->n_left;
    l->member = to;
    to->leased += l->n_left;
    LIST_INSERT_HEAD(&to->leases, l, of_member);
}

bool lease_has(const struct lease *l, uint64_t offset)
{
    const uint64_t i = offset - l->first;

    return offset >= l->first && offset <= l->last && (l->left[i / 64] >> (i % 64) & 1) != 0;
}

void lease_drop(struct lease *l, uint64_t offset)
{
    const uint64_t i = offset - l->first;

    l->left[i / 64] &= ~(UINT64_C(1) << (i % 64));
    count_out(l, 1);
    if (l->n_left == 0) {
        lease_free(l);
    }
}

void lease_fail(struct lease *l, const char *why)
{
    struct queue_part *qp = l->qp;

    for (uint64_t o = l->first; o <= l->last; o++) {
        if (lease_has(l, o)) {
            retry_failed(qp, l->retry, o, l, slice_str(why), 0);
        }
    }
    lease_free(l);
    qp_look(qp);
}

/* As if it had never been handed out. In order=key it keeps its lane, so it does not go back to the
 * cursor. */
static void put_back(struct lease *l, uint64_t o, uint64_t *lowest)
{
    if (l->retry != NULL) {
        retry_wait(l->retry, 0);
    } else {
        acked_untake(&l->qp->set, o);
        *lowest = o < *lowest ? o : *lowest;
    }
}

static void cursor_back(struct queue_part *qp, uint64_t to)
{
    if (to < qp->next) {
        qp->next = to;
        qp_drop_ahead(qp);
    }
    qp_look(qp);
}

void lease_undo(struct lease *l)
{
    struct queue_part *qp = l->qp;
    uint64_t lowest = UINT64_MAX;

    for (uint64_t o = l->first; o <= l->last; o++) {
        if (lease_has(l, o)) {
            put_back(l, o, &lowest);
        }
    }
    lease_free(l);
    cursor_back(qp, lowest);
}

void lease_release_one(struct lease *l, uint64_t offset)
{
    struct queue_part *qp = l->qp;
    uint64_t lowest = UINT64_MAX;

    qp->gp->group->co->gstats.released++;
    if (l->retry != NULL) {
        l->retry->last_lease = l->id;
        retry_dirty(l->retry);
    } else if (!l->dirty) { /* its row says what it still holds */
        l->dirty = true;
        TAILQ_INSERT_TAIL(&qp->dirty_leases, l, in_dirty);
        qp_dirty(qp);
    }
    put_back(l, offset, &lowest);
    lease_drop(l, offset);
    cursor_back(qp, lowest);
}

void lease_release(struct lease *l)
{
    uint32_t left = l->n_left;

    for (uint64_t o = l->first, last = l->last; o <= last && left > 0; o++) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        if (lease_has(l, o)) {
            left--;
            lease_release_one(l, o); /* frees l with its last message */
        }
    }
}
