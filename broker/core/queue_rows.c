/*
 * Rows of queue groups: settled out of order (a chunk each), leases, retries. Written from dirty
 * marks when the flight leaves; all of them when a flight failed before.
 */
#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"
#include "proto/killpoint.h"

enum {
    ROW_VERSION = 1,
    ACKED_ROW = 1 + CHUNK_MESSAGES / 8,
    LEASE_HEAD = 1 + 8 * 6 + 16,
    RETRY_HEAD = 1 + 1 + 4 + 8 * 4
};
static const int64_t MS_NS = 1000000;
static const uint64_t HARD = UINT64_C(1) << 63; /* in a lease's span */

static struct meta_key row_key(const struct queue_part *qp, enum meta_tag tag, uint64_t id)
{
    return meta_key_32_64_64(tag, qp->gp->part_id, qp->gp->group->gid, id);
}

/* ---------------------------------------------------------------- writing */

static void put_chunk(struct queue_part *qp, struct store_txn *t, struct chunk *c)
{
    const struct meta_key k = row_key(qp, META_ACKED, c->number);
    uint8_t row[ACKED_ROW] = {ROW_VERSION};

    for (size_t w = 0; w < CHUNK_WORDS; w++) {
        put_be64(row + 1 + 8 * w, c->done[w]);
    }
#ifndef WEIR_BUG_ACKED_NOT_WRITTEN
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, sizeof row));
#else
    (void)t, (void)k;
#endif
    c->stored = true;
    WEIR_KILLPOINT(acked_row);
}

static void put_lease(struct queue_part *qp, struct store_txn *t, struct lease *l)
{
    const struct meta_key k = row_key(qp, META_LEASE, l->id);
    const size_t words = (size_t)(l->last - l->first) / 64 + 1;
    uint8_t row[LEASE_HEAD + LEASE_MESSAGES / 8] = {ROW_VERSION};

    put_be64(row + 1, l->first);
    put_be64(row + 9, l->last);
    put_be64(row + 17, (uint64_t)l->deadline_ms);
    put_be64(row + 25, (uint64_t)l->since_ms);
    put_be64(row + 33, (uint64_t)l->span_ms | (l->hard ? HARD : 0));
    put_be64(row + 41, l->attempt);
    memcpy(row + 49, l->member->id, MSG_MEMBER_BYTES);
    for (size_t w = 0; w < words; w++) {
        put_be64(row + LEASE_HEAD + 8 * w, l->left[w]);
    }
#ifndef WEIR_BUG_LEASE_NOT_DURABLE
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, LEASE_HEAD + 8 * words));
#else
    (void)t, (void)k;
#endif
    l->stored = true;
    WEIR_KILLPOINT(lease_row);
}

static void put_retry(struct queue_part *qp, struct store_txn *t, struct retry *r)
{
    const struct meta_key k = row_key(qp, META_RETRY, r->offset);
    const size_t n = r->reason != NULL ? strlen(r->reason) : 0;
    uint8_t row[RETRY_HEAD + LIMIT_REASON] = {ROW_VERSION};

    row[1] = r->state == RETRY_DEAD;
    put_be32(row + 2, r->deliveries);
    put_be64(row + 6, (uint64_t)r->first_ms);
    put_be64(row + 14, (uint64_t)r->last_ms);
    put_be64(row + 22, (uint64_t)r->due_ms);
    put_be64(row + 30, r->last_lease);
    if (n > 0) {
        memcpy(row + RETRY_HEAD, r->reason, n);
    }
    txn_put(t, TABLE_META, key_slice(&k), slice_of(row, RETRY_HEAD + n));
    r->stored = true;
    WEIR_KILLPOINT(retry_row);
}

void queue_rows_delete(uint32_t part_id, uint64_t gid, struct store_txn *t)
{
    static const enum meta_tag tags[] = {META_ACKED, META_LEASE, META_RETRY};

    for (size_t i = 0; i < 3; i++) {
        struct meta_key lo = meta_key_32_64(tags[i], part_id, gid), hi = meta_key_after(&lo);
        txn_delete_range(t, TABLE_META, key_slice(&lo), key_slice(&hi));
    }
}

static void mark_all(struct queue_part *qp)
{
    struct lease *l;
    struct retry *r;

    qp->n_gone = 0;
    for (size_t i = 0; i < qp->set.n; i++) {
        struct chunk *c = qp->set.v[qp->set.head + i];
        if (c != NULL) {
            acked_mark(&qp->set, c);
        }
    }
    TAILQ_FOREACH (l, &qp->leases, by_age) {
        if (!l->dirty) {
            l->dirty = true;
            TAILQ_INSERT_TAIL(&qp->dirty_leases, l, in_dirty);
        }
    }
    for (r = qp->retries; r != NULL; r = r->hh.next) {
        if (!r->dirty && r->state != RETRY_MOVING) {
            r->dirty = true;
            TAILQ_INSERT_TAIL(&qp->dirty_retries, r, in_dirty);
        }
    }
}

void queue_write(struct gpart *gp, struct store_txn *t)
{
    struct queue_part *qp = gp->q;
    struct lease *l;
    struct retry *r;
    struct chunk *c;

    if (gp->rewrite) {
        queue_rows_delete(gp->part_id, gp->group->gid, t);
        mark_all(qp);
    }
    for (size_t i = 0; i < qp->n_gone; i++) {
        const struct meta_key k = row_key(qp, (enum meta_tag)qp->gone[i].tag, qp->gone[i].id);
        txn_delete(t, TABLE_META, key_slice(&k));
    }
    qp->n_gone = 0;
    while ((c = TAILQ_FIRST(&qp->set.dirty)) != NULL) {
        acked_clean(&qp->set, c);
        if (acked_has_done(c, gp->floor)) { /* else settled in order: the floor says it all */
            put_chunk(qp, t, c);
        }
    }
    while ((l = TAILQ_FIRST(&qp->dirty_leases)) != NULL) {
        TAILQ_REMOVE(&qp->dirty_leases, l, in_dirty);
        l->dirty = false;
        put_lease(qp, t, l);
    }
    while ((r = TAILQ_FIRST(&qp->dirty_retries)) != NULL) {
        TAILQ_REMOVE(&qp->dirty_retries, r, in_dirty);
        r->dirty = false;
        if (r->state != RETRY_MOVING) {
            put_retry(qp, t, r);
        }
    }
    qp->flights_out++;
    TAILQ_FOREACH (r, &qp->moving, link) {
        r->flight = r->flight != 0 ? r->flight : qp->flights_out;
    }
}

/* Not settled after all: its letter comes again. */
static void not_moved(struct queue_part *qp, struct retry *r)
{
    TAILQ_REMOVE(&qp->moving, r, link);
    r->state = RETRY_DEAD;
    r->flight = 0;
    acked_undone(&qp->set, r->offset);
}

void queue_withdrawn(struct gpart *gp)
{
    struct queue_part *qp = gp->q;
    struct retry *r, *next;

    for (r = TAILQ_FIRST(&qp->moving); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->flight == 0) {
            not_moved(qp, r);
        }
    }
}

void queue_written(struct gpart *gp, enum werr rc)
{
    struct queue_part *qp = gp->q;
    const uint64_t seq = ++qp->flights_over;
    struct retry *r, *next;
    bool moved = false;

    for (r = TAILQ_FIRST(&qp->moving); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->flight != seq) {
            continue;
        }
        if (rc == WERR_OK) {
            retry_free(r);
            moved = true;
        } else {
            not_moved(qp, r);
        }
    }
    const uint64_t floor = gp->floor;
    if (moved) {
        qp_move_floor(qp);
    }
    if (gp->floor != floor) {
        gpart_dirty(gp, STORE_LAZY);
    }
}

/* ---------------------------------------------------------------- loading */

struct loading {
    struct core *co;
    struct part_list parts;
    struct gpart *last;
    int64_t now_ms, now_ns;
};

static struct queue_part *find_part(struct loading *ld, struct slice key)
{
    struct gpart *gp = ld->last;
    uint32_t part_id;
    uint64_t gid;

    if (key.n != 21) {
        return NULL;
    }
    part_id = be32(key.p + 1);
    gid = be64(key.p + 5);
    if (gp == NULL || gp->part_id != part_id || gp->group->gid != gid) {
        gp = NULL;
        const struct part *pt = part_list_find(&ld->parts, part_id);
        if (pt != NULL) {
            LIST_FOREACH (gp, &pt->groups, of_part) {
                if (gp->group->gid == gid) {
                    break;
                }
            }
        }
        ld->last = gp;
    }
    return gp != NULL ? gp->q : NULL;
}

/*
 * The log ends before that message: the row is damaged, or the message was lost and the loss
 * accepted. It says nothing about the message that will be there.
 */
static bool beyond_log(const struct queue_part *qp, uint64_t offset)
{
    return offset >= qp->gp->part->next;
}

/* Nothing waits longer than this; what a damaged row says would overflow the timers. */
static int64_t row_ms(const struct loading *ld, const uint8_t *p)
{
    const uint64_t v = be64(p), max = (uint64_t)(ld->now_ms + LIMIT_DELAY_MS);

    return (int64_t)(v < max ? v : max);
}

static enum werr load_chunk(void *arg, struct slice key, struct slice value)
{
    struct queue_part *qp = find_part(arg, key);

    if (qp == NULL || value.n != ACKED_ROW || value.p[0] != ROW_VERSION) {
        return WERR_CORRUPT;
    }
    const uint64_t number = be64(key.p + 13);
    if (number < qp->gp->floor / CHUNK_MESSAGES || number > UINT64_MAX / CHUNK_MESSAGES ||
        beyond_log(qp, number * CHUNK_MESSAGES)) {
        qp_gone(qp, META_ACKED, number);
        return WERR_OK;
    }
    struct chunk *c = acked_chunk(&qp->set, number * CHUNK_MESSAGES, true);
    for (size_t w = 0; w < CHUNK_WORDS; w++) {
        c->done[w] |= be64(value.p + 1 + 8 * w);
        c->taken[w] |= c->done[w];
    }
    c->stored = true;
    return WERR_OK;
}

static enum werr load_retry(void *arg, struct slice key, struct slice value)
{
    const struct loading *ld = arg;
    struct queue_part *qp = find_part(arg, key);

    if (qp == NULL || value.n < RETRY_HEAD || value.n > RETRY_HEAD + LIMIT_REASON ||
        value.p[0] != ROW_VERSION) {
        return WERR_CORRUPT;
    }
    const uint64_t offset = be64(key.p + 13);
    if (offset < qp->gp->floor || beyond_log(qp, offset) || acked_is_done(&qp->set, offset)) {
        qp_gone(qp, META_RETRY, offset);
        return WERR_OK;
    }
    struct retry *r = retry_get(qp, offset);
    r->deliveries = be32(value.p + 2);
    r->first_ms = row_ms(ld, value.p + 6);
    r->last_ms = row_ms(ld, value.p + 14);
    r->due_ms = row_ms(ld, value.p + 22);
    r->last_lease = be64(value.p + 30);
    r->was_dead = value.p[1] != 0;
    retry_count(r);
    r->stored = true;
    retry_reason(r, slice_of(value.p + RETRY_HEAD, value.n - RETRY_HEAD));
    acked_take(&qp->set, offset, offset);
    return WERR_OK;
}

/* What of a lease still holds. */
static void lease_prune(struct lease *l)
{
    struct queue_part *qp = l->qp;

    /* The last drop frees it: n says so. */
    for (uint64_t o = l->first, n = l->n_left; n > 0 && o <= l->last; o++) {
        if (!lease_has(l, o)) {
            continue;
        }
        n--;
        struct retry *r = retry_find(qp, o);
        if (r != NULL && r->last_lease < l->id && !r->was_dead) {
            l->retry = r; /* given again since */
            r->leased_again = true;
        } else if (o < qp->gp->floor || acked_is_done(&qp->set, o) || r != NULL) {
            lease_drop(l, o);
        } else {
            acked_take(&qp->set, o, o);
        }
    }
}

static enum werr load_lease(void *arg, struct slice key, struct slice value)
{
    struct loading *ld = arg;
    struct queue_part *qp = find_part(ld, key);

    if (qp == NULL || value.n < LEASE_HEAD || value.p[0] != ROW_VERSION) {
        return WERR_CORRUPT;
    }
    const uint64_t first = be64(value.p + 1), last = be64(value.p + 9);
    if (last < first || last - first >= LEASE_MESSAGES ||
        value.n != LEASE_HEAD + 8 * ((size_t)(last - first) / 64 + 1)) {
        return WERR_CORRUPT;
    }
    if (beyond_log(qp, last)) {
        qp_gone(qp, META_LEASE, be64(key.p + 13));
        return WERR_OK;
    }
    struct member *m = member_find(qp->gp->group, value.p + 49);
    m = m != NULL ? m : member_restore(qp->gp->group, value.p + 49);
    struct lease *l = lease_new(qp, m, be64(key.p + 13), first, last);
    l->dirty = false;
    TAILQ_REMOVE(&qp->dirty_leases, l, in_dirty);
    l->stored = true;
    l->deadline_ms = row_ms(ld, value.p + 17);
    l->since_ms = row_ms(ld, value.p + 25);
    l->span_ms = (int64_t)(be64(value.p + 33) & ~HARD);
    l->span_ms = l->span_ms < LIMIT_DELAY_MS ? l->span_ms : LIMIT_DELAY_MS;
    l->hard = (be64(value.p + 33) & HARD) != 0;
    l->attempt = be64(value.p + 41);
    m->attempt = l->attempt > m->attempt ? l->attempt : m->attempt;
    const int64_t wait_ms = l->deadline_ms - ld->now_ms;
    /* The row has whole milliseconds: never earlier than it was granted for. */
    timer_set(&ld->co->timers, &l->expiry, ld->now_ns + (wait_ms > 0 ? wait_ms + 1 : 0) * MS_NS);
    for (uint64_t o = first; o <= last; o++) {
        const uint64_t i = o - first;
        if ((be64(value.p + LEASE_HEAD + 8 * (i / 64)) >> (i % 64) & 1) == 0) {
            l->left[i / 64] &= ~(UINT64_C(1) << (i % 64));
            l->n_left--;
            m->leased--;
            qp->leased--;
            qp->q->leased--;
            ld->co->gstats.leased--;
        }
    }
    if (l->n_left == 0) {
        lease_free(l);
    } else {
        lease_prune(l);
    }
    return WERR_OK;
}

static void place_retries(struct queue_part *qp)
{
    struct retry *r, *next;

    HASH_ITER (hh, qp->retries, r, next) {
        if (r->leased_again) {
            continue;
        }
        if (r->was_dead) {
            retry_dead(r);
        } else {
            retry_place(r, r->due_ms);
        }
    }
}

enum werr queue_load(struct core *co, struct werror *e)
{
    static const struct {
        enum meta_tag tag;
        store_row_fn fn;
        const char *what;
    } tables[] = {{META_ACKED, load_chunk, "settled messages"},
                  {META_RETRY, load_retry, "retries"},
                  {META_LEASE, load_lease, "leases"}};
    struct loading ld = {.co = co};
    enum werr rc = WERR_OK;

    ld.now_ms = core_wall_ms(co);
    ld.now_ns = core_mono_ns(co);
    topic_parts(co, &ld.parts);
    for (size_t i = 0; i < 3 && rc == WERR_OK; i++) {
        const struct meta_key lo = meta_key(tables[i].tag), hi = meta_key_after(&lo);
        ld.last = NULL;
        rc =
            store_scan(co->st, TABLE_META, key_slice(&lo), key_slice(&hi), tables[i].fn, &ld, NULL);
        if (rc != WERR_OK) {
            werror_set(e, rc, "a row of %s is damaged", tables[i].what);
        }
    }
    for (size_t i = 0; i < co->n_groups && rc == WERR_OK; i++) {
        struct gpart *gp;
        for (gp = co->group_names[i]->parts; gp != NULL; gp = gp->hh.next) {
            if (gp->q != NULL) {
                place_retries(gp->q);
                lanes_rebuild(gp->q);
                const uint64_t floor = gp->floor;
                qp_move_floor(gp->q);
                if (gp->floor != floor) {
                    gpart_dirty(gp, STORE_LAZY);
                }
                qp_look(gp->q);
            }
        }
    }
    free(ld.parts.p);
    return rc;
}
