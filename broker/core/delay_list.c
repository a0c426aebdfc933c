/*
 * Listing delayed batches of a topic, in the order in which they are due.
 *
 * Happy path: stretches of the table are read and filtered by the topic's partitions until enough
 * was found or the table ends. It shows what is on disk: a batch that is just being delivered may
 * still be in it. What can fail: reading. Who owns what: a listing belongs to delay_core->listings
 * until it is answered.
 */
#include "broker/core/delay_impl.h"
#include "broker/core/mem.h"

enum { STRETCH_ROWS = 1000, STRETCH_BYTES = 1 << 20, DEFAULT_LIMIT = 100, MAX_LIMIT = 1000 };

struct listing {
    LIST_ENTRY(listing) of_core;
    struct delay_core *dc;
    struct core_delayed_rq *rq;
    uint32_t limit;
    struct store_rows read;
    uint8_t from[DELAY_KEY_BYTES + 1]; /* with a zero at the end: behind the key */
    size_t from_n;
};

static void answer(struct listing *l)
{
    struct core_delayed_rq *rq = l->rq;

    if (rq->err.code != WERR_OK) {
        free(rq->items);
        free(rq->text);
        rq->items = NULL;
        rq->text = NULL;
        rq->n = 0;
        rq->more = false;
    }
    LIST_REMOVE(l, of_core);
    free(l);
    rq->done(rq);
}

static void add(struct listing *l, const struct delayed *d, const struct part *pt)
{
    struct core_delayed_rq *rq = l->rq;
    char *text = rq->text + rq->n * LIMIT_DELAY_ID;
    const size_t n = delay_id_text(text, d->due_ms, pt->p, be64(d->key + 12));

    rq->items[rq->n++] = (struct msg_delayed){.id = slice_of(text, n),
                                              .p = pt->p,
                                              .due_ms = d->due_ms,
                                              .count = delayed_live(d),
                                              .bytes = (uint32_t)d->batch.n};
}

static void read_next(struct listing *l);

static void on_rows(struct store_rows *r)
{
    struct listing *l = r->arg;
    struct core_delayed_rq *rq = l->rq;
    const bool more = r->more;
    struct slice key, value;
    size_t at = 0;

    if (r->rc != WERR_OK) {
        const bool closed = r->rc == WERR_CLOSED;
        werror_set(&rq->err, closed ? WERR_SHUTTING_DOWN : r->rc, "%s",
                   closed ? werr_text(WERR_SHUTTING_DOWN) : r->err.text);
        answer(l);
        return;
    }
    while (rq->n < l->limit && store_rows_next(r, &at, &key, &value)) {
        struct delayed d;
        memcpy(l->from, key.p, key.n < DELAY_KEY_BYTES ? key.n : (size_t)DELAY_KEY_BYTES);
        if (!delayed_decode(l->dc->co, key, value, &d)) {
            continue;
        }
        const struct part *pt = delay_part_find(l->dc, d.part_id);
        if (pt != NULL && pt->topic->tid == rq->tid && delayed_live(&d) > 0) {
            add(l, &d, pt);
        }
        free(d.cancelled);
    }
    rq->more = rq->n == l->limit && (more || (r->data != NULL && at < r->data->n));
    blob_unref(r->data);
    r->data = NULL;
    l->from_n = DELAY_KEY_BYTES + 1;
    if (more && rq->n < l->limit) {
        read_next(l);
    } else {
        answer(l);
    }
}

static void read_next(struct listing *l)
{
    l->read = (struct store_rows){.table = TABLE_DELAY,
                                  .lo = slice_of(l->from, l->from_n),
                                  .max_rows = STRETCH_ROWS,
                                  .max_bytes = STRETCH_BYTES,
                                  .fn = on_rows,
                                  .arg = l};
    store_rows(l->dc->co->st, &l->read);
}

/* Where to begin; false: `after` is no id of this topic. */
static bool begin_after(struct core *co, struct listing *l)
{
    const struct core_delayed_rq *rq = l->rq;
    struct werror e;
    int64_t due_ms;
    uint64_t sequence;
    uint32_t p;

    if (rq->after.n == 0) {
        return true;
    }
    if (!delay_id_parse(rq->after, &due_ms, &p, &sequence, NULL)) {
        return false;
    }
    const struct part *pt = topic_part(co, rq->tid, p, false, &e);
    if (pt == NULL) {
        return false;
    }
    const struct meta_key k = delay_key((uint64_t)due_ms, pt->id, sequence);
    memcpy(l->from, k.p, DELAY_KEY_BYTES);
    l->from_n = DELAY_KEY_BYTES + 1;
    return true;
}

void core_delay_list(struct core *co, struct core_delayed_rq *rq)
{
    struct listing *l = core_calloc(1, sizeof *l);

    rq->err = (struct werror){.code = WERR_OK};
    rq->items = NULL;
    rq->text = NULL;
    rq->n = 0;
    rq->more = false;
    l->dc = co->delay;
    l->rq = rq;
    l->limit = rq->limit == 0 ? DEFAULT_LIMIT : rq->limit < MAX_LIMIT ? rq->limit : MAX_LIMIT;
    LIST_INSERT_HEAD(&co->delay->listings, l, of_core);
    if (co->draining || co->failed || co->closing) {
        werror_set(&rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    } else if (core_topic_by_id(co, rq->tid) == NULL) {
        werror_set(&rq->err, WERR_UNKNOWN_TOPIC, "no topic has the id %llu",
                   (unsigned long long)rq->tid);
    } else if (!begin_after(co, l)) {
        werror_set(&rq->err, WERR_MALFORMED, "after: not an id of this topic's delayed batches");
    }
    if (rq->err.code != WERR_OK) {
        answer(l);
        return;
    }
    rq->items = core_calloc(l->limit, sizeof *rq->items);
    rq->text = core_calloc(l->limit, LIMIT_DELAY_ID);
    read_next(l);
}

void listing_fini(struct delay_core *dc)
{
    while (!LIST_EMPTY(&dc->listings)) {
        struct listing *l = LIST_FIRST(&dc->listings);
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        werror_set(&l->rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
        answer(l);
    }
}
