/*
 * order=key: at most one message in flight for each key of a partition.
 *
 * Happy path: the cursor opens a batch and looks at each record's key. The first of a key takes its
 * lane and is leased; those behind it park in the lane, in order. When the one that has the lane is
 * settled or dead, the next becomes available; while it waits for another try, its lane waits with
 * it and all others flow. Messages without a key have no lane.
 *
 * Every message in flight has a struct retry here, from its first delivery on: it holds the lane.
 * After a restart lanes are rebuilt before anything is handed out, from the keys of what is leased
 * or in retry; what was parked is met again by the cursor.
 *
 * What can fail: a read, which is tried again; a batch that cannot be opened: its messages have
 * no keys then, each is handed out alone, in no order. Who owns what: the queue owns lanes; a
 * retry points to the one it has.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"

static const int64_t AGAIN_NS = 1000000000;

struct lane {
    UT_hash_handle hh;
    struct {
        uint64_t part_id;
        uint64_t hash;
    } key;
    struct queue_part *qp;
    uint64_t *parked; /* ring of offsets */
    uint32_t head, n, cap;
};

/* FNV-1a, 64 bits: two keys that collide wait for each other, no more. */
static uint64_t hash_of(struct slice key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.n; i++) {
        h = (h ^ key.p[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static struct lane *lane_find(struct queue_part *qp, struct slice key)
{
    struct lane probe = {.key = {.part_id = qp->gp->part_id, .hash = hash_of(key)}}, *l = NULL;

    HASH_FIND(hh, qp->q->lanes, &probe.key, sizeof probe.key, l);
    return l;
}

static struct lane *lane_take(struct queue_part *qp, struct slice key)
{
    struct lane *l = core_calloc(1, sizeof *l);

    l->key.part_id = qp->gp->part_id;
    l->key.hash = hash_of(key);
    l->qp = qp;
    HASH_ADD(hh, qp->q->lanes, key, sizeof l->key, l);
    return l;
}

static void lane_free(struct queue *q, struct lane *l)
{
    q->parked -= l->n;
    queue_unblock(q);
    HASH_DEL(q->lanes, l);
    free(l->parked);
    free(l);
}

static void park(struct lane *l, uint64_t offset)
{
    if (l->n == l->cap) {
        const uint32_t cap = l->cap > 0 ? 2 * l->cap : 4;
        uint64_t *ring = core_calloc(cap, sizeof *ring);
        for (uint32_t i = 0; i < l->n; i++) {
            ring[i] = l->parked[(l->head + i) % l->cap];
        }
        free(l->parked);
        l->parked = ring;
        l->head = 0;
        l->cap = cap;
    }
    l->parked[(l->head + l->n++) % l->cap] = offset;
    l->qp->q->parked++;
}

void lane_leave(struct retry *r)
{
    struct lane *l = r->lane;
    struct queue_part *qp = r->qp;

    r->lane = NULL;
    if (l == NULL) {
        return;
    }
    if (l->n == 0) {
        lane_free(qp->q, l);
        return;
    }
    struct retry *next = retry_get(qp, l->parked[l->head]);
    l->head = (l->head + 1) % l->cap;
    l->n--;
    qp->q->parked--;
    queue_unblock(qp->q);
    next->lane = l;
    retry_wait(next, 0);
}

void lanes_forget(struct queue_part *qp)
{
    struct lane *l, *next;
    struct retry *r;

    for (r = qp->retries; r != NULL; r = r->hh.next) {
        r->lane = NULL;
    }
    HASH_ITER (hh, qp->q->lanes, l, next) {
        if (l->qp == qp) {
            lane_free(qp->q, l);
        }
    }
    if (qp->keys.reading) {
        part_read_cancel(&qp->keys.read);
        qp->keys.reading = false;
    }
    timer_unset(&qp->gp->group->co->timers, &qp->keys.again);
    qp->keys.waiting = false;
    free(qp->keys.offsets);
    qp->keys.offsets = NULL;
    qp->keys.n = qp->keys.at = 0;
}

/* ---------------------------------------------------------------- handing out */

struct retry *lane_enter(struct queue_part *qp, uint64_t offset, struct slice key)
{
    struct lane *l = key.p != NULL ? lane_find(qp, key) : NULL;

    acked_take(&qp->set, offset, offset);
    if (l != NULL) {
        park(l, offset);
        return NULL;
    }
    struct retry *r = retry_get(qp, offset);
    r->lane = key.p != NULL ? lane_take(qp, key) : NULL;
    return r;
}

/* ---------------------------------------------------------------- after a restart */

static void keys_go_on(struct queue_part *qp);

/* The keys of all wanted offsets that these batches hold. */
static void keys_of_run(struct queue_part *qp, struct slice run)
{
    struct keys_wanted *k = &qp->keys;
    struct buf scratch = {0};
    struct batch_head h;
    struct slice batch;

    while (k->at < k->n && batch_next(&run, true, &h, &batch, NULL) == WERR_OK) {
        struct record_iter it;
        struct record rec;
        uint64_t o = h.base_offset;
        if (k->offsets[k->at] >= o + h.count ||
            record_open(&it, batch, &h, &scratch, NULL) != WERR_OK) {
            continue;
        }
        for (; k->at < k->n && record_next(&it, &rec); o++) {
            if (k->offsets[k->at] != o) {
                continue;
            }
            struct retry *r = retry_find(qp, o);
            if (r != NULL && rec.key.p != NULL && lane_find(qp, rec.key) == NULL) {
                r->lane = lane_take(qp, rec.key);
            }
            k->at++;
        }
    }
    buf_fini(&scratch);
}

static void on_keys(struct part_read *r)
{
    struct queue_part *qp = r->arg;
    const size_t before = qp->keys.at;

    qp->keys.reading = false;
    if (r->err.code == WERR_CLOSED) {
        return;
    }
    if (r->err.code == WERR_IO) { /* it may be read later; until then the keys are not known */
        struct core *co = qp->gp->group->co;
        timer_set(&co->timers, &qp->keys.again, core_mono_ns(co) + AGAIN_NS);
        qp->keys.waiting = true;
        return;
    }
    if (r->err.code == WERR_OK) {
        keys_of_run(qp, slice_of(r->data.p, r->data.n));
        blob_unref(r->data.owner);
    }
    qp->keys.at += qp->keys.at == before; /* it cannot be had: no lane */
    if (!qp->keys.stepping) {
        keys_go_on(qp);
    }
}

static void keys_go_on(struct queue_part *qp)
{
    struct keys_wanted *k = &qp->keys;

    k->stepping = true;
    while (k->at < k->n && !k->reading && !k->waiting) {
        k->reading = true;
        k->read = (struct part_read){.part = qp->gp->part,
                                     .offset = k->offsets[k->at],
                                     .max_bytes = AHEAD_BYTES,
                                     .fn = on_keys,
                                     .arg = qp};
        part_read(qp->gp->group->co, &k->read);
    }
    k->stepping = false;
    if (k->at == k->n) {
        free(k->offsets);
        k->offsets = NULL;
        k->at = k->n = 0;
        qp_look(qp);
    }
}

static void on_again(struct timer *t)
{
    struct queue_part *qp =
        (struct queue_part *)(void *)((char *)t - offsetof(struct queue_part, keys.again));

    qp->keys.waiting = false;
    keys_go_on(qp);
}

static int by_offset(const void *x, const void *y)
{
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return a < b ? -1 : a > b;
}

void lanes_rebuild(struct queue_part *qp)
{
    struct keys_wanted *k = &qp->keys;
    struct lease *l;
    struct retry *r;

    if (qp->q->g->conf.order != GROUP_ORDER_KEY || qp->is_dlq) {
        return;
    }
    TAILQ_FOREACH (l, &qp->leases, by_age) {
        for (uint64_t o = l->first; l->retry == NULL && o <= l->last; o++) {
            if (lease_has(l, o)) {
                l->retry = retry_get(qp, o); /* leases are single messages here */
                break;
            }
        }
    }
    k->offsets = core_calloc(HASH_COUNT(qp->retries), sizeof *k->offsets);
    for (r = qp->retries; r != NULL; r = r->hh.next) {
        if (r->state != RETRY_DEAD && r->state != RETRY_MOVING) {
            k->offsets[k->n++] = r->offset;
        }
    }
    if (k->n == 0) {
        free(k->offsets);
        k->offsets = NULL;
        return;
    }
    qsort(k->offsets, k->n, sizeof *k->offsets, by_offset);
    k->again.fire = on_again;
    keys_go_on(qp);
}
