/*
 * Happy path, bucket by bucket: everything in it expired -> one record deletes its rows in
 * TABLE_META (TXN_CLEAR: from then on nothing refers to it) -> when no older read is under way, a
 * helper thread frees the files. More than 70 % dead -> its survivors are read in chunks on the
 * helper thread and submitted as TXN_MOVE: copies under the active bucket in TABLE_HOLD, together
 * with a META_RANGE row that says how far the move has come, so that a crash between two chunks
 * neither loses nor doubles a row; when the last one is durable the bucket is empty: see above.
 * A store opened after a crash also frees rows of buckets that nothing refers to (orphans).
 *
 * What can fail: reading survivors (the move is given up and tried again later), the record (undone
 * like any other), freeing (tried again at the next call).
 * Who owns what: the move owns its plan and chunk; while a chunk's record is not durable the index
 * points to the new place and gc_place sends readers to the old one.
 */
#include "storage/gc.h"

#include "proto/killpoint.h"
#include "storage/alloc.h"
#include "storage/store_priv.h"

static const int64_t RETRY_NS = INT64_C(10) * 1000000000;
static const int64_t PROBE_NS = 1000000000;

static void say(struct store *st, const char *event, const char *text)
{
    if (st->conf.log != NULL) {
        st->conf.log(st->conf.log_arg, event, text);
    }
}

/* ---------------------------------------------------------------- freeing */

struct free_job {
    struct job job;
    struct store *st;
    uint32_t bucket;
    enum werr rc;
    struct werror err;
};

static void run_free(struct job *job)
{
    struct free_job *j = (struct free_job *)(void *)job;
    struct kv *kv = j->st->kv;
    struct meta_key lo = log_meta_key(j->bucket, 0, 0), hi = log_bucket_end(j->bucket);
    WEIR_KILLPOINT(bucket_files_before);
    for (int t = 0; t < TABLE_COUNT && j->rc == WERR_OK; t++) {
        if (table_is_log((enum store_table)t)) {
            j->rc =
                kv->ops->reclaim(kv, (enum store_table)t, key_slice(&lo), key_slice(&hi), &j->err);
        }
    }
    WEIR_KILLPOINT(bucket_files_after);
}

static void done_free(struct job *job)
{
    struct free_job *j = (struct free_job *)(void *)job;
    struct store *st = j->st;
    struct index_bucket *b = index_bucket(&st->ix, j->bucket);
    st->gc.jobs--;
    if (j->rc != WERR_OK && b != NULL) {
        say(st, "reclaim_failed", j->err.text);
        b->state = BUCKET_DROPPED;
    } else if (b != NULL) {
        st->gc.reclaimed_bytes += b->total;
        index_bucket_remove(&st->ix, j->bucket);
    }
    free(j);
}

static void drop_free(struct job *job)
{
    free(job);
}

static void free_bucket(struct store *st, struct index_bucket *b)
{
    struct free_job *j = must_calloc(1, sizeof(*j));
    j->job = (struct job){.run = run_free, .done = done_free, .drop = drop_free};
    j->st = st;
    j->bucket = b->id;
    b->state = BUCKET_FREEING;
    st->gc.jobs++;
    workers_push(&st->helper, &j->job);
}

static void free_dropped(struct store *st)
{
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        struct index_bucket *b = &st->ix.buckets[i];
        if (b->state == BUCKET_DROPPED && reads_done_upto(&st->reads, b->read_seq)) {
            free_bucket(st, b);
        }
    }
}

/* ---------------------------------------------------------------- orphans */

struct orphan_job {
    struct job job;
    struct store *st;
    uint32_t active;
    uint32_t *known; /* buckets with a META_BUCKET row, ascending */
    size_t n_known;
    uint32_t n_freed;
    enum werr rc;
    struct werror err;
};

static bool orphan_known(const struct orphan_job *j, uint32_t bucket)
{
    for (size_t i = 0; i < j->n_known; i++) {
        if (j->known[i] == bucket) {
            return true;
        }
    }
    return false;
}

/* Skips from bucket to bucket through one table and frees the ones that nothing refers to. */
static enum werr orphans_of(struct orphan_job *j, enum store_table t)
{
    struct kv *kv = j->st->kv;
    struct meta_key hi = log_meta_key(j->active, 0, 0);
    enum werr rc = WERR_OK;
    for (uint32_t from = 0; rc == WERR_OK && from < j->active;) {
        struct meta_key lo = log_meta_key(from, 0, 0);
        struct kv_iter *it = NULL;
        struct slice key, value;
        rc = kv->ops->iter_open(kv, t, key_slice(&lo), key_slice(&hi), false, &it, &j->err);
        if (rc != WERR_OK) {
            break;
        }
        bool any = kv->ops->iter_next(it, &key, &value) && key.n == LOG_KEY_BYTES;
        uint32_t bucket = any ? be32(key.p) : j->active;
        rc = kv->ops->iter_error(it, &j->err);
        kv->ops->iter_close(it);
        if (rc == WERR_OK && any && !orphan_known(j, bucket)) {
            struct meta_key blo = log_meta_key(bucket, 0, 0), bhi = log_bucket_end(bucket);
            rc = kv->ops->reclaim(kv, t, key_slice(&blo), key_slice(&bhi), &j->err);
            j->n_freed++;
        }
        from = bucket + 1;
    }
    return rc;
}

static void run_orphans(struct job *job)
{
    struct orphan_job *j = (struct orphan_job *)(void *)job;
    for (int t = 0; t < TABLE_COUNT && j->rc == WERR_OK; t++) {
        if (table_is_log((enum store_table)t)) {
            j->rc = orphans_of(j, (enum store_table)t);
        }
    }
}

static void drop_orphans(struct job *job)
{
    struct orphan_job *j = (struct orphan_job *)(void *)job;
    free(j->known);
    free(j);
}

static void done_orphans(struct job *job)
{
    struct orphan_job *j = (struct orphan_job *)(void *)job;
    j->st->gc.jobs--;
    if (j->rc != WERR_OK) {
        say(j->st, "reclaim_failed", j->err.text);
    }
    drop_orphans(job);
}

static void start_orphans(struct store *st)
{
    struct orphan_job *j = must_calloc(1, sizeof(*j));
    j->job = (struct job){.run = run_orphans, .done = done_orphans, .drop = drop_orphans};
    j->st = st;
    /* Buckets that end from now on are not the scan's business. */
    j->known = must_calloc(st->ix.n_buckets, sizeof(uint32_t));
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        j->known[j->n_known++] = st->ix.buckets[i].id;
        j->active = st->ix.buckets[i].id;
    }
    st->gc.orphans_seen = true;
    st->gc.jobs++;
    workers_push(&st->helper, &j->job);
}

/* ---------------------------------------------------------------- moving survivors */

static void move_free(struct gc *g)
{
    struct gc_move *m = g->move;
    if (m == NULL) {
        return;
    }
    blob_unref(m->data);
    free(m->rows);
    free(m->spans);
    free(m);
    g->move = NULL;
}

void gc_place(const struct store *st, uint32_t partition, const struct span *s,
              void (*emit)(void *arg, const struct span *s), void *arg)
{
    const struct gc_move *m = st->gc.move;
    uint64_t at = s->first;
    bool maybe = m != NULL && m->in_flight && s->table == TABLE_HOLD && s->bucket == m->to_bucket;
    for (size_t i = 0; maybe && i < m->n_rows && at < s->next; i++) {
        const struct gc_row *row = &m->rows[i];
        uint64_t end = row->base + row->count;
        if (row->partition != partition || end <= at || row->base >= s->next) {
            continue;
        }
        if (row->base > at) {
            emit(arg, &(struct span){s->bucket, s->table, at, row->base});
        }
        emit(arg, &(struct span){m->bucket, row->table, row->base, end});
        at = end;
    }
    if (at < s->next) {
        emit(arg, &(struct span){s->bucket, s->table, at, s->next});
    }
}

static void add_row(struct gc_move *m, const struct gc_row *row)
{
    if (m->n_rows == m->cap_rows) {
        m->cap_rows = m->cap_rows ? m->cap_rows * 2 : 64;
        m->rows = must_realloc(m->rows, m->cap_rows, sizeof(*m->rows));
    }
    m->rows[m->n_rows++] = *row;
}

/* Reads a row's extent and checks every batch: what is copied must not be damaged. */
static enum werr measure(struct gc_row *row, struct slice value, struct werror *e)
{
    uint64_t next = row->base;
    struct batch_head h;
    struct slice batch;
    row->n = value.n;
    while (value.n > 0) {
        enum werr rc = batch_next(&value, true, &h, &batch, e);
        if (rc != WERR_OK) {
            return rc;
        }
        if (h.base_offset != next) {
            return werror_set(e, WERR_CORRUPT, "partition %u: offset %llu is missing",
                              row->partition, (unsigned long long)next);
        }
        bool first = row->count == 0;
        row->min_ms = first || h.append_ms < row->min_ms ? h.append_ms : row->min_ms;
        row->max_ms = first || h.append_ms > row->max_ms ? h.append_ms : row->max_ms;
        row->count += h.count;
        next += h.count;
    }
    return WERR_OK;
}

/* Reads the rows of one span into the chunk, until it is full. span.first moves along. */
static enum werr chunk_span(struct gc_move *m, struct gc_span *g, struct buf *data)
{
    struct kv *kv = m->st->kv;
    struct span *s = &g->span;
    struct meta_key lo = log_meta_key(s->bucket, g->partition, 0);
    struct meta_key hi = log_meta_key(s->bucket, g->partition, s->next);
    struct meta_key at = log_meta_key(s->bucket, g->partition, s->first);
    struct kv_iter *it = NULL;
    struct slice key, value;
    enum werr rc =
        kv->ops->iter_open(kv, s->table, key_slice(&lo), key_slice(&hi), true, &it, &m->err);
    if (rc != WERR_OK) {
        return rc;
    }
    bool on_row = kv->ops->iter_seek_floor(it, key_slice(&at), &key, &value);
    while (rc == WERR_OK && on_row && data->len < GC_CHUNK_BYTES) {
        struct gc_row row = {
            .partition = g->partition, .table = s->table, .base = be64(key.p + 8), .at = data->len};
        rc = measure(&row, value, &m->err);
        if (rc != WERR_OK) {
            break;
        }
        if (row.base + row.count > s->first) {
            add_row(m, &row);
            buf_put(data, value.p, value.n);
            s->first = row.base + row.count;
        }
        on_row = kv->ops->iter_next(it, &key, &value);
    }
    if (rc == WERR_OK && !on_row) {
        rc = kv->ops->iter_error(it, &m->err);
        if (rc == WERR_OK && s->first < s->next) {
            rc = werror_set(&m->err, WERR_CORRUPT, "partition %u: offset %llu is missing",
                            g->partition, (unsigned long long)s->first);
        }
    }
    kv->ops->iter_close(it);
    return rc;
}

static void run_chunk(struct job *job)
{
    struct gc_move *m = (struct gc_move *)(void *)job;
    struct buf data = {0};
    enum werr rc = WERR_OK;
    m->n_rows = 0;
    while (rc == WERR_OK && m->at < m->n_spans && data.len < GC_CHUNK_BYTES) {
        struct gc_span *g = &m->spans[m->at];
        rc = chunk_span(m, g, &data);
        if (g->span.first >= g->span.next) {
            m->at++;
        }
    }
    if (rc == WERR_OK && data.failed) {
        rc = werror_set(&m->err, WERR_NOMEM, "no memory for survivors of bucket %u", m->bucket);
    }
    if (rc == WERR_OK && m->n_rows > 0) {
        m->data = blob_copy(data.p, data.len);
        if (m->data == NULL) {
            rc = werror_set(&m->err, WERR_NOMEM, "no memory for survivors of bucket %u", m->bucket);
        }
    }
    buf_fini(&data);
    m->rc = rc;
}

static void on_moved(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct store *st = arg;
    struct gc_move *m = st->gc.move;
    (void)stage;
    m->in_flight = false;
    if (rc != WERR_OK) {
        say(st, "move_failed", e->text);
        st->gc.retry_mono_ns = store_now_ns(st) + RETRY_NS;
        move_free(&st->gc);
        return;
    }
    WEIR_KILLPOINT(bucket_moved);
    st->gc.moved_bytes += m->data->n;
    blob_unref(m->data);
    m->data = NULL;
    m->rc = WERR_CLOSED;
    workers_push(&st->helper, &m->job);
}

static void done_chunk(struct job *job)
{
    struct gc_move *m = (struct gc_move *)(void *)job;
    struct store *st = m->st;
    if (m->rc != WERR_OK || m->n_rows == 0 || st->closing) {
        if (m->rc != WERR_OK && m->rc != WERR_CLOSED) {
            say(st, "move_failed", m->err.text);
            st->gc.retry_mono_ns = store_now_ns(st) + RETRY_NS;
        }
        const struct index_bucket *b = index_bucket(&st->ix, m->bucket);
        if (b != NULL && b->live != 0) {
            st->gc.retry_mono_ns = store_now_ns(st) + RETRY_NS; /* not all of it would move */
        }
        move_free(&st->gc);
        return;
    }
    struct store_txn *t = store_txn_new(st);
    for (size_t i = 0; i < m->n_rows; i++) {
        const struct gc_row *row = &m->rows[i];
        struct txn_move tm = {m->bucket, (uint8_t)row->table, row->min_ms, row->max_ms};
        struct bytes b = {m->data, m->data->p + row->at, row->n};
        txn_move(t, row->partition, &tm, row->base, row->count, b);
    }
    m->in_flight = true;
    m->to_bucket = st->ix.active;
    WEIR_KILLPOINT(bucket_move);
    store_submit(st, t, STORE_LAZY, false, on_moved, st);
}

/* gc_fini frees the move itself: it may as well be waiting for a record. */
static void drop_chunk(struct job *job)
{
    (void)job;
}

static void start_move(struct store *st, uint32_t bucket)
{
    struct gc_move *m = must_calloc(1, sizeof(*m));
    size_t cap = 0;
    m->job = (struct job){.run = run_chunk, .done = done_chunk, .drop = drop_chunk};
    m->st = st;
    m->bucket = bucket;
    m->rc = WERR_CLOSED;
    for (uint32_t p = 0; index_part_next(&st->ix, &p); p++) {
        const struct index_part *part = index_part(&st->ix, p);
        for (uint32_t i = 0; i < part->n; i++) {
            const struct index_range *r = &part->ranges[i];
            if (r->bucket != bucket) {
                continue;
            }
            if (m->n_spans == cap) {
                cap = cap ? cap * 2 : 16;
                m->spans = must_realloc(m->spans, cap, sizeof(*m->spans));
            }
            uint64_t first = r->first > part->start ? r->first : part->start;
            m->spans[m->n_spans++] =
                (struct gc_span){p, {bucket, (enum store_table)r->table, first, r->next}};
        }
    }
    st->gc.move = m;
    workers_push(&st->helper, &m->job);
}

/* The sealed bucket with the largest dead share above the limit; NULL = none. */
static struct index_bucket *pick_move(struct store *st)
{
    struct index_bucket *best = NULL;
    double best_share = GC_DEAD_PERCENT / 100.0;
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        struct index_bucket *b = &st->ix.buckets[i];
        if (b->state != BUCKET_SEALED || !b->durable || b->live == 0 || b->live > b->total) {
            continue;
        }
        double share = (double)(b->total - b->live) / (double)b->total;
        if (share > best_share) {
            best = b;
            best_share = share;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- dropping dead buckets */

void gc_add_dropped(struct gc *g, uint32_t partition, uint32_t bucket, uint64_t seq)
{
    if (g->n_dropped == g->cap_dropped) {
        g->cap_dropped = g->cap_dropped ? g->cap_dropped * 2 : 16;
        g->dropped = must_realloc(g->dropped, g->cap_dropped, sizeof(*g->dropped));
    }
    g->dropped[g->n_dropped++] = (struct gc_dropped){partition, bucket, seq, false};
}

void gc_txn_durable(struct store *st, const struct store_txn *t)
{
    for (uint32_t i = 0; i < t->n_ops; i++) {
        const struct txn_op *op = &t->ops[i];
        if (op->kind == TXN_DROP) {
            gc_add_dropped(&st->gc, op->partition, op->bucket, t->seq);
        } else if (op->kind == TXN_ROLL) {
            struct index_bucket *b = index_bucket(&st->ix, op->bucket - 1);
            if (b != NULL) {
                b->durable = true;
            }
        } else if (op->kind == TXN_CLEAR) {
            struct index_bucket *b = index_bucket(&st->ix, op->bucket);
            b->state = BUCKET_DROPPED;
            b->read_seq = st->reads.next_seq;
        }
    }
}

static void on_cleared(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct store *st = arg;
    struct gc *g = &st->gc;
    (void)stage;
    (void)e;
    size_t kept = 0;
    for (size_t i = 0; i < g->n_dropped; i++) {
        if (g->dropped[i].clearing && rc == WERR_OK) {
            continue;
        }
        g->dropped[kept] = g->dropped[i];
        g->dropped[kept++].clearing = false;
    }
    g->n_dropped = kept;
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(bucket_cleared);
        free_dropped(st);
    }
}

/*
 * A dropped partition's row is needed while a bucket may still list its ranges, and while a floor
 * may still name its offsets.
 */
static void forget_dropped(struct store *st, struct store_txn *t)
{
    uint32_t oldest = st->ix.active;
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        const struct index_bucket *b = &st->ix.buckets[i];
        if (b->state == BUCKET_ACTIVE || b->state == BUCKET_SEALED) {
            oldest = b->id;
            break;
        }
    }
    bool floors = st->kv->ops->floor_write != NULL;
    for (size_t i = 0; i < st->gc.n_dropped; i++) {
        struct gc_dropped *d = &st->gc.dropped[i];
        if (d->clearing || d->bucket >= oldest || (floors && d->seq > st->upkeep.floored_seq)) {
            continue;
        }
        d->clearing = true;
        txn_forget(t, d->partition);
    }
}

static void clear_dead(struct store *st)
{
    struct store_txn *t = NULL;
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        struct index_bucket *b = &st->ix.buckets[i];
        if (b->state != BUCKET_SEALED || !b->durable || b->live != 0) {
            continue;
        }
        if (st->gc.move != NULL && st->gc.move->bucket == b->id) {
            continue;
        }
        if (t == NULL) {
            t = store_txn_new(st);
        }
        txn_clear(t, b->id);
        b->state = BUCKET_DROPPING;
    }
    if (t == NULL) {
        return;
    }
    forget_dropped(st, t);
    store_submit(st, t, STORE_LAZY, false, on_cleared, st);
}

/* ---------------------------------------------------------------- the pass */

static void on_probed(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct store *st = arg;
    (void)stage;
    (void)e;
    st->gc.probing = false;
    if (rc == WERR_OK) {
        st->hard_full = false;
    }
}

/* After a full disk: one empty record a second, until it goes through. */
static void probe(struct store *st, int64_t now_ns)
{
    if (!st->hard_full || st->gc.probing || now_ns - st->gc.probe_mono_ns < PROBE_NS) {
        return;
    }
    st->gc.probing = true;
    st->gc.probe_mono_ns = now_ns;
    store_submit(st, store_txn_new(st), STORE_SYNC, false, on_probed, st);
}

void store_gc(struct store *st, int64_t now_mono_ns)
{
    struct werror e;
    if (upkeep_take_error(&st->upkeep, &e)) {
        say(st, "floor_failed", e.text);
    }
    if (store_state(st) == STORE_FAILED) {
        return;
    }
    probe(st, now_mono_ns);
    if (!st->gc.orphans_seen) {
        start_orphans(st);
    }
    clear_dead(st);
    free_dropped(st);
    if (st->gc.move == NULL && store_now_ns(st) >= st->gc.retry_mono_ns) {
        struct index_bucket *b = pick_move(st);
        if (b != NULL) {
            start_move(st, b->id);
        }
    }
}

bool store_gc_busy(struct store *st)
{
    for (size_t i = 0; i < st->ix.n_buckets; i++) {
        if (st->ix.buckets[i].state > BUCKET_SEALED) {
            return true;
        }
    }
    return st->gc.move != NULL || st->gc.jobs > 0;
}

void gc_fini(struct gc *g)
{
    move_free(g);
    free(g->dropped);
    g->dropped = NULL;
}
