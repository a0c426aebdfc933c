/*
 * Readers: follow partitions, and hand out whole batches below the high watermark.
 *
 * A followed partition (rpart) is in exactly one place: waiting at its high watermark, in the
 * reader's ready queue, in its cold queue (wants the store, which reads for one rpart of a reader
 * at a time), being read, or holding what was read and ready. An append touches only the readers
 * that wait on that partition, so idle partitions cost nothing.
 *
 * pull() goes round the ready queue: each partition gives up to a turn and goes to the end. Data
 * comes from the tail cache; what is older is read by the store, and only while a pull has room for
 * it, so that nothing is held for a consumer that does not want it.
 *
 * All readers together have so many store reads at once; who finds none left waits in the core's
 * queue. A read that nobody waits for any more counts until it is over.
 *
 * Who owns what: the caller owns the reader, the reader its rparts; partitions link to rparts. A
 * store read in flight outlives its reader (cold_read).
 */
#include <assert.h>

#include "broker/core/core_impl.h"
#include "broker/core/mem.h"

enum {
    TURN_BYTES = 64 << 10, /* one partition's share before the next comes */
    SMALL_BYTES = 8 << 10, /* smaller batches are joined into one piece */
    READ_MIN_BYTES = 16 << 10,
    READ_MAX_BYTES = 1 << 20,
};

/* ---------------------------------------------------------------- places */

static void wake_later(struct core_reader *rd)
{
    if (!rd->notified && !rd->wakes) {
        rd->wakes = true;
        TAILQ_INSERT_TAIL(&rd->co->wake, rd, in_wake);
    }
}

/* Takes rp out of whichever queue it is in. */
static void unplace(struct rpart *rp)
{
    if (rp->ready) {
        TAILQ_REMOVE(&rp->rd->ready, rp, in_queue);
    } else if (rp->cold) {
        TAILQ_REMOVE(&rp->rd->cold, rp, in_queue);
    }
    rp->ready = rp->cold = false;
}

/* On its partition's list of waiting or of other readers. */
static void list_move(struct rpart *rp, bool waiting)
{
    if (rp->part == NULL || rp->waiting == waiting) {
        return;
    }
    LIST_REMOVE(rp, of_part);
    LIST_INSERT_HEAD(waiting ? &rp->part->waiting : &rp->part->busy, rp, of_part);
    rp->waiting = waiting;
}

static void place_ready(struct rpart *rp)
{
    list_move(rp, false);
    if (!rp->ready) {
        unplace(rp);
        rp->ready = true;
        TAILQ_INSERT_TAIL(&rp->rd->ready, rp, in_queue);
    }
}

static void place_cold(struct rpart *rp)
{
    unplace(rp);
    rp->cold = true;
    TAILQ_INSERT_TAIL(&rp->rd->cold, rp, in_queue);
}

void rpart_ready(struct rpart *rp)
{
    place_ready(rp);
    wake_later(rp->rd);
}

void rpart_orphan(struct rpart *rp)
{
    LIST_REMOVE(rp, of_part);
    rp->part = NULL;
    rp->waiting = false;
    rpart_ready(rp);
}

void reader_holds(struct core_reader *rd, size_t n)
{
    rd->co->held_bytes += n;
    rd->held += n;
    if (rd->meter != NULL) {
        *rd->meter += n;
    }
}

static void meter_down(struct core_reader *rd, size_t n)
{
    rd->co->held_bytes -= n;
    rd->held -= n;
    if (rd->meter != NULL) {
        *rd->meter -= n;
    }
}

/* ---------------------------------------------------------------- the store's reads, of all */

static bool store_is_free(const struct core *co)
{
    return co->n_reads < co->max_reads;
}

static bool wants_store(const struct core_reader *rd)
{
    return rd->reading == NULL && rd->holds == NULL && !TAILQ_EMPTY(&rd->cold);
}

static void queue_for_store(struct core_reader *rd)
{
    if (!rd->queued) {
        rd->queued = true;
        TAILQ_INSERT_TAIL(&rd->co->store_queue, rd, in_store_queue);
    }
}

static void leave_store_queue(struct core_reader *rd)
{
    if (rd->queued) {
        rd->queued = false;
        TAILQ_REMOVE(&rd->co->store_queue, rd, in_store_queue);
    }
}

void readers_read_on(struct core *co)
{
    const unsigned room = store_is_free(co) ? co->max_reads - co->n_reads : 0;
    struct core_reader *rd;

    for (unsigned i = 0; i < room && (rd = TAILQ_FIRST(&co->store_queue)) != NULL; i++) {
        leave_store_queue(rd);
        wake_later(rd);
    }
}

void core_allow_reads(struct core *co, unsigned n)
{
    co->max_reads = n;
}

bool core_has_reads(const struct core *co)
{
    return store_is_free(co) && !TAILQ_EMPTY(&co->store_queue);
}

/* ---------------------------------------------------------------- what is held */

static void drop_data(struct rpart *rp)
{
    meter_down(rp->rd, rp->held);
    rp->held = 0;
    if (rp->rd->holds == rp) {
        rp->rd->holds = NULL;
    }
    blob_unref(rp->data.owner);
    rp->data = (struct bytes){0};
}

static void rpart_free(struct rpart *rp)
{
    struct core_reader *rd = rp->rd;

    unplace(rp);
    drop_data(rp);
    if (rp->part != NULL) {
        LIST_REMOVE(rp, of_part);
    }
    if (rd->reading != NULL && rd->reading->rp == rp) {
        rd->reading->rp = NULL;
    }
    HASH_DEL(rd->parts, rp);
    rd->co->n_rparts--;
    free(rp->failure);
    free(rp);
}

/* ---------------------------------------------------------------- life */

struct core_reader *core_reader_new(struct core *co, void (*ready)(void *arg), void *arg)
{
    struct core_reader *rd = core_calloc(1, sizeof *rd);

    rd->co = co;
    rd->on_ready = ready;
    rd->arg = arg;
    TAILQ_INIT(&rd->ready);
    TAILQ_INIT(&rd->cold);
    LIST_INSERT_HEAD(&co->readers, rd, of_core);
    co->stats.readers++;
    return rd;
}

void core_reader_meter(struct core_reader *rd, size_t *meter)
{
    rd->meter = meter;
    *meter += rd->held;
}

size_t core_reader_held(const struct core_reader *rd)
{
    return rd->held;
}

void core_reader_let_go(struct core_reader *rd)
{
    if (rd->holds != NULL) {
        drop_data(rd->holds); /* it is in the ready queue, and reads again when it is asked */
    }
}

void core_reader_free(struct core_reader *rd)
{
    if (rd == NULL) {
        return;
    }
    while (rd->parts != NULL) {
        rpart_free(rd->parts);
    }
    if (rd->reading != NULL) {
        rd->reading->rd = NULL;                      /* frees itself when it comes back */
        rd->co->held_bytes += rd->reading->reserved; /* until then */
    }
    meter_down(rd, rd->held);
    leave_store_queue(rd);
    if (rd->wakes) {
        TAILQ_REMOVE(&rd->co->wake, rd, in_wake);
    }
    LIST_REMOVE(rd, of_core);
    rd->co->stats.readers--;
    free(rd);
}

static struct rpart *rpart_find(struct core_reader *rd, uint64_t tid, uint32_t p)
{
    struct rpart key = {.key = {.tid = tid, .p = p}}, *rp = NULL;

    HASH_FIND(hh, rd->parts, &key.key, sizeof key.key, rp);
    return rp;
}

enum werr core_reader_add(struct core_reader *rd, uint64_t tid, uint32_t p, uint64_t offset,
                          bool has_epoch, uint32_t epoch, struct werror *e)
{
    struct part *pt = topic_part(rd->co, tid, p, false, e);
    struct rpart *rp;

    if (pt == NULL) {
        return WERR_UNKNOWN_TOPIC;
    }
    if (rpart_find(rd, tid, p) != NULL) {
        return werror_set(e, WERR_EXISTS, "partition %u of topic %.*s is followed already", p,
                          (int)pt->topic->name_n, pt->topic->name);
    }
    if (core_reader_parts(rd) >= LIMIT_SUB_PARTITIONS) {
        return werror_set(e, WERR_TOO_LARGE, "a reader follows at most %d partitions",
                          LIMIT_SUB_PARTITIONS);
    }
    rp = core_calloc(1, sizeof *rp);
    rp->key.tid = tid;
    rp->key.p = p;
    rp->rd = rd;
    rp->part = pt;
    rp->offset = offset;
    rp->has_epoch = has_epoch;
    rp->epoch = epoch;
    rp->left = UINT64_MAX;
    HASH_ADD(hh, rd->parts, key, sizeof rp->key, rp);
    rd->co->n_rparts++;
    LIST_INSERT_HEAD(&pt->busy, rp, of_part);
    rpart_ready(rp); /* the first pull finds out what there is */
    return WERR_OK;
}

bool core_reader_drop(struct core_reader *rd, uint64_t tid, uint32_t p)
{
    struct rpart *rp = rpart_find(rd, tid, p);

    if (rp != NULL) {
        rpart_free(rp);
    }
    return rp != NULL;
}

size_t core_reader_parts(const struct core_reader *rd)
{
    return HASH_COUNT(rd->parts);
}

void reader_limit(struct core_reader *rd, uint64_t tid, uint32_t p, uint64_t bytes)
{
    struct rpart *rp = rpart_find(rd, tid, p);

    if (rp != NULL) {
        rp->left = bytes;
    }
}

bool reader_reading(const struct core_reader *rd)
{
    return rd->reading != NULL || !TAILQ_EMPTY(&rd->ready) || !TAILQ_EMPTY(&rd->cold);
}

void readers_wake(struct core *co)
{
    struct core_reader *rd;

    while ((rd = TAILQ_FIRST(&co->wake)) != NULL) {
        TAILQ_REMOVE(&co->wake, rd, in_wake);
        rd->wakes = false;
        if (!TAILQ_EMPTY(&rd->ready) || (rd->reading == NULL && !TAILQ_EMPTY(&rd->cold))) {
            rd->notified = true;
            rd->on_ready(rd->arg); /* may free rd */
        }
    }
}

/* ---------------------------------------------------------------- the store's part */

static void on_cold(struct store_read *r)
{
    struct cold_read *cr = r->arg;
    struct core *co = cr->co;
    struct core_reader *rd = cr->rd;
    struct rpart *rp = cr->rp;

    LIST_REMOVE(cr, of_core);
    co->n_reads--;
    if (rd != NULL) {
        rd->reading = NULL;
        meter_down(rd, cr->reserved);
    } else {
        co->held_bytes -= cr->reserved;
    }
    if (rp == NULL) {
        blob_unref(r->data);
        if (rd != NULL && !TAILQ_EMPTY(&rd->cold)) {
            wake_later(rd);
        }
    } else {
        assert(rd != NULL); /* a reader that goes takes its rparts along */
        if (r->rc == WERR_OK && r->data != NULL && r->data->n > 0) {
            rp->data = (struct bytes){.owner = r->data, .p = r->data->p, .n = r->data->n};
            rd->holds = rp;
            rp->held = r->data->n;
            reader_holds(rd, rp->held);
        } else {
            blob_unref(r->data);
            rp->failure = core_calloc(1, sizeof *rp->failure);
            *rp->failure = r->err;
            if (r->rc == WERR_OK) {
                werror_set(rp->failure, WERR_CORRUPT, "the log has no batch with offset %llu",
                           (unsigned long long)r->offset);
            }
            rp->failure->code = r->rc != WERR_OK ? r->rc : WERR_CORRUPT;
        }
        rpart_ready(rp);
    }
    free(cr);
    readers_read_on(co);
    readers_wake(co);
}

void cold_read_start(struct rpart *rp, uint32_t max_bytes)
{
    struct core_reader *rd = rp->rd;
    struct cold_read *cr = core_calloc(1, sizeof *cr);

    unplace(rp);
    cr->co = rd->co;
    cr->rd = rd;
    cr->rp = rp;
    cr->reserved = max_bytes;
    reader_holds(rd, cr->reserved);
    cr->r = (struct store_read){.partition = rp->part->id,
                                .offset = rp->offset,
                                .end = rp->part->hw,
                                .max_bytes = max_bytes,
                                .fn = on_cold,
                                .arg = cr};
    rd->reading = cr;
    rd->co->n_reads++;
    LIST_INSERT_HEAD(&rd->co->colds, cr, of_core);
    rd->co->stats.read_store_reads++;
    store_read(rd->co->st, &cr->r);
}

/* ---------------------------------------------------------------- giving */

/* Whole batches from the front of what the store gave, about `want` bytes. */
static struct bytes take_data(struct rpart *rp, uint64_t want)
{
    struct bytes out = {.owner = blob_ref(rp->data.owner), .p = rp->data.p};
    struct batch_head h = {0};

    do {
        if (rp->data.n - out.n < BATCH_HEAD) {
            out.n = rp->data.n; /* the store gives whole batches: cannot be */
            break;
        }
        batch_head_read(rp->data.p + out.n, &h);
        if (out.n > 0 && out.n + h.length > want) {
            break;
        }
        out.n += h.length;
        rp->offset = h.base_offset + h.count;
    } while (out.n < rp->data.n);
    rp->data.p += out.n;
    rp->data.n -= out.n;
    if (rp->data.n == 0) {
        drop_data(rp);
    }
    return out;
}

/* How many batches of the tail, from i on, make one piece of about `want` bytes. */
static uint32_t tail_count(const struct tail *t, uint32_t i, uint64_t want, uint64_t *bytes)
{
    uint32_t n = 1;

    *bytes = tail_at(t, i)->batch.n;
    while (*bytes < SMALL_BYTES && i + n < t->n && *bytes + tail_at(t, i + n)->batch.n <= want) {
        *bytes += tail_at(t, i + n)->batch.n;
        n++;
    }
    return n;
}

static struct bytes take_tail(struct rpart *rp, uint32_t i, uint64_t want)
{
    const struct tail *t = &rp->part->tail;
    uint64_t bytes = 0;
    uint32_t n = tail_count(t, i, want, &bytes);
    struct bytes out = tail_at(t, i)->batch;
    struct blob *joined = n > 1 ? blob_new(bytes) : NULL;

    if (joined == NULL) {
        n = 1;
        blob_ref(out.owner);
    } else {
        out = (struct bytes){.owner = joined, .p = joined->p, .n = bytes};
        size_t at = 0;
        for (uint32_t k = 0; k < n; k++) {
            const struct bytes *b = &tail_at(t, i + k)->batch;
            memcpy(joined->p + at, b->p, b->n);
            at += b->n;
        }
    }
    rp->offset = tail_at(t, i + n - 1)->base_offset + tail_at(t, i + n - 1)->count;
    rp->rd->co->stats.read_tail_hits += n;
    return out;
}

enum served { SERVED_DATA, SERVED_END, SERVED_COLD, SERVED_ERROR };

static enum served fail(struct core_piece *out, enum werr rc, const struct rpart *rp)
{
    werror_set(&out->err, rc, "offset %llu, the log has %llu to %llu",
               (unsigned long long)rp->offset, (unsigned long long)out->log_start,
               (unsigned long long)out->hw);
    return SERVED_ERROR;
}

/* Fills *out with what rp gives next. */
static enum served serve(struct rpart *rp, uint64_t want, struct core_piece *out)
{
    const struct core *co = rp->rd->co;
    struct part *pt = rp->part;

    *out = (struct core_piece){.tid = rp->key.tid, .p = (uint32_t)rp->key.p};
    if (pt == NULL) {
        werror_set(&out->err, WERR_UNKNOWN_TOPIC, "the topic was deleted");
        return SERVED_ERROR;
    }
    out->hw = pt->hw;
    out->log_start = part_start(co, pt);
    if (pt->topic->deleting) {
        return SERVED_END; /* the outcome wakes it */
    }
    if (rp->data.owner != NULL) {
        out->data = take_data(rp, want);
        return SERVED_DATA;
    }
#ifdef WEIR_BUG_SILENT_RESET
    rp->offset = rp->offset < out->log_start ? out->log_start : rp->offset;
#endif
    if (rp->offset < out->log_start || rp->offset > pt->next) {
        const bool diverged =
            rp->has_epoch && rp->epoch != co->epoch && rp->offset >= out->log_start;
        return fail(out, diverged ? WERR_DIVERGED : WERR_OFFSET_OUT_OF_RANGE, rp);
    }
    if (rp->failure != NULL) {
        out->err = *rp->failure;
        return SERVED_ERROR;
    }
    if (rp->offset >= pt->hw) {
        return SERVED_END;
    }
    const int64_t i = tail_find(&pt->tail, rp->offset);
    if (i < 0) {
        return SERVED_COLD;
    }
    out->data = take_tail(rp, (uint32_t)i, want);
    return SERVED_DATA;
}

struct pull {
    struct core_piece *out;
    size_t n, cap;
    uint64_t bytes, max_bytes;
    bool caught_up;
};

static uint64_t pull_room(const struct pull *pl)
{
    return pl->max_bytes > pl->bytes ? pl->max_bytes - pl->bytes : 0;
}

static void pull_cold(struct rpart *rp, const struct pull *pl)
{
    struct core_reader *rd = rp->rd;
    uint64_t want = pull_room(pl);

    if (rd->reading != NULL || rd->holds != NULL || !store_is_free(rd->co)) {
        place_cold(rp);
        return;
    }
    want = want < rp->left ? want : rp->left;
    want = want < READ_MIN_BYTES ? READ_MIN_BYTES : want;
    cold_read_start(rp, (uint32_t)(want < READ_MAX_BYTES ? want : READ_MAX_BYTES));
}

/* The next rp to serve: ready ones, then a cold one if the store is free for this reader. */
static struct rpart *pull_next(struct core_reader *rd)
{
    if (!TAILQ_EMPTY(&rd->ready)) {
        return TAILQ_FIRST(&rd->ready);
    }
    return wants_store(rd) && store_is_free(rd->co) ? TAILQ_FIRST(&rd->cold) : NULL;
}

static void pull_one(struct rpart *rp, struct pull *pl)
{
    struct core_piece *out = &pl->out[pl->n];
    uint64_t want = pull_room(pl);

    unplace(rp);
    if (rp->left == 0) {
        list_move(rp, true); /* FETCH: this partition gave its share */
        return;
    }
    want = want < TURN_BYTES || rp->data.owner != NULL ? want : TURN_BYTES;
    want = want < rp->left ? want : rp->left;
    switch (serve(rp, want, out)) {
    case SERVED_DATA:
        pl->n++;
        pl->bytes += out->data.n;
        rp->rd->co->stats.read_bytes += out->data.n;
        rp->told = false;
        rp->left -= out->data.n < rp->left ? out->data.n : rp->left;
        if (rp->left > 0) {
            place_ready(rp);
        } else {
            drop_data(rp);
            list_move(rp, true);
        }
        break;
    case SERVED_END:
        list_move(rp, true);
        if (pl->caught_up && !rp->told && rp->part->hw == rp->offset &&
            !rp->part->topic->deleting) {
            rp->told = true;
            pl->n++;
        }
        break;
    case SERVED_COLD:
        pull_cold(rp, pl);
        break;
    case SERVED_ERROR:
        pl->n++;
        rpart_free(rp);
        break;
    }
}

size_t core_reader_pull(struct core_reader *rd, uint32_t max_bytes, bool caught_up,
                        struct core_piece *out, size_t n)
{
    struct pull pl = {.out = out, .cap = n, .max_bytes = max_bytes, .caught_up = caught_up};
    struct rpart *rp;

    while (pl.n < pl.cap && (pl.n == 0 || pull_room(&pl) > 0) && (rp = pull_next(rd)) != NULL) {
        pull_one(rp, &pl);
    }
    if (pl.n == 0) {
        rd->notified = false;
        if (wants_store(rd)) {
            queue_for_store(rd);
        }
    }
    return pl.n;
}
