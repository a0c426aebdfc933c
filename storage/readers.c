/*
 * Happy path: store_read looks up the ranges that hold [offset, end), up to max_bytes, and queues a
 * job; a reader thread walks their rows and copies whole batches, each one verified; store_poll
 * hands the result over.
 * What can fail: an offset outside the log; a row or block that is damaged or missing (CORRUPT: the
 * offsets must follow each other without a hole up to the end of the plan, so that damage never
 * looks like the end of the log); I/O.
 * Who owns what: the store_read is the caller's and lent until fn; the job is the store's.
 */
#include "storage/readers.h"

#include "storage/alloc.h"
#include "storage/store_priv.h"

/* ---------------------------------------------------------------- plan (owner) */

bool reads_done_upto(const struct read_list *l, uint64_t seq)
{
    return l->oldest == NULL || l->oldest->seq > seq;
}

static struct read_job *job_new(struct store *st)
{
    struct read_list *l = &st->reads;
    struct read_job *j = must_calloc(1, sizeof(*j));
    j->st = st;
    j->seq = ++l->next_seq;
    j->older = l->newest;
    if (l->newest != NULL) {
        l->newest->newer = j;
    } else {
        l->oldest = j;
    }
    l->newest = j;
    l->reads++;
    return j;
}

static void job_free(struct read_job *j)
{
    struct read_list *l = &j->st->reads;
    if (j->older != NULL) {
        j->older->newer = j->newer;
    } else {
        l->oldest = j->newer;
    }
    if (j->newer != NULL) {
        j->newer->older = j->older;
    } else {
        l->newest = j->older;
    }
    free(j->spans);
    free(j);
}

static void span_add(void *arg, const struct span *s)
{
    struct read_job *j = arg;
    struct span *last = j->n_spans > 0 ? &j->spans[j->n_spans - 1] : NULL;
    if (last != NULL && last->bucket == s->bucket && last->table == s->table &&
        last->next == s->first) {
        last->next = s->next;
        return;
    }
    if (j->n_spans == j->cap_spans) {
        j->cap_spans = j->cap_spans ? j->cap_spans * 2 : 2;
        j->spans = must_realloc(j->spans, j->cap_spans, sizeof(*j->spans));
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): room was made above */
    j->spans[j->n_spans++] = *s;
}

static void plan_range(struct read_job *j, uint32_t partition, const struct index_range *r)
{
    struct span s = {r->bucket, (enum store_table)r->table, r->first, r->next};
    gc_place(j->st, partition, &s, span_add, j);
}

static enum werr plan_read(struct read_job *j, const struct index_part *p, struct werror *e)
{
    struct store_read *r = j->read;
    uint64_t start = p != NULL ? p->start : 0, next = p != NULL ? p->next : 0;
    if (r->offset < start || r->offset > next) {
        return werror_set(e, WERR_OFFSET_OUT_OF_RANGE,
                          "offset %llu of partition %u, the log has %llu to %llu",
                          (unsigned long long)r->offset, r->partition, (unsigned long long)start,
                          (unsigned long long)next);
    }
    if (p == NULL || r->offset >= r->end) {
        return WERR_OK;
    }
    j->start = start;
    uint64_t bytes = 0;
    for (size_t i = index_find(p, r->offset); i < p->n && p->ranges[i].first < r->end; i++) {
        plan_range(j, r->partition, &p->ranges[i]);
        bytes += index_live_bytes(&p->ranges[i], r->offset);
        /* The share of the first range is an estimate: go one range further than it says. */
        if (bytes >= r->max_bytes && j->n_spans > 1) {
            break;
        }
    }
    j->bytes = (size_t)(bytes < r->max_bytes ? bytes : r->max_bytes);
    return WERR_OK;
}

static void plan_find(struct read_job *j, const struct index_part *p)
{
    const struct store_find *f = j->find;
    if (p == NULL) {
        return;
    }
    j->start = p->start;
    for (size_t i = 0; i < p->n && p->ranges[i].first < f->end; i++) {
        if (p->ranges[i].max_ms >= f->ts_ms) {
            plan_range(j, f->partition, &p->ranges[i]);
        }
    }
}

/* ---------------------------------------------------------------- run (reader thread) */

static enum werr hole(uint32_t partition, uint64_t offset, const struct span *s, struct werror *e)
{
    return werror_set(e, WERR_CORRUPT,
                      "partition %u: offset %llu is missing in bucket %u (table %d)", partition,
                      (unsigned long long)offset, s->bucket, (int)s->table);
}

/* Opens a cursor on the row of `s` that holds offset. WERR_CORRUPT when there is none. */
static enum werr cursor_open(struct kv *kv, uint32_t partition, const struct span *s,
                             uint64_t offset, uint64_t end, bool bulk, struct kv_iter **it,
                             struct slice *row, struct werror *e)
{
    struct meta_key lo = log_meta_key(s->bucket, partition, 0);
    struct meta_key hi = log_meta_key(s->bucket, partition, s->next < end ? s->next : end);
    struct meta_key at = log_meta_key(s->bucket, partition, offset);
    struct slice key;
    enum werr rc = kv->ops->iter_open(kv, s->table, key_slice(&lo), key_slice(&hi), bulk, it, e);
    if (rc != WERR_OK) {
        return rc;
    }
    if (kv->ops->iter_seek_floor(*it, key_slice(&at), &key, row)) {
        return WERR_OK;
    }
    rc = kv->ops->iter_error(*it, e);
    return rc != WERR_OK ? rc : hole(partition, offset, s, e);
}

struct read_run {
    struct blob *out; /* what is read is in its first `len` bytes */
    size_t len;
    size_t planned;  /* about what will come; the first row makes room for it */
    uint64_t expect; /* the next offset that has to come */
    bool full;
};

/* Appends a batch. The blob is made once, of the size that is expected. */
static bool run_put(struct read_run *run, struct slice batch)
{
    const size_t want = run->len + batch.n;
    struct blob *b = run->out;

    if (b == NULL) {
        b = blob_new(want > run->planned ? want : run->planned);
    } else if (want > b->n) {
        b = blob_resize(b, want > 2 * b->n ? want : 2 * b->n);
    }
    if (b == NULL) {
        return false;
    }
    memcpy(b->p + run->len, batch.p, batch.n);
    run->out = b;
    run->len = want;
    return true;
}

/* Copies the batches of one row. */
static enum werr read_row(struct read_run *run, const struct store_read *r, const struct span *s,
                          struct slice row, struct werror *e)
{
    const size_t row_bytes = row.n;
    while (row.n > 0 && !run->full) {
        struct batch_head h = {0};
        struct slice batch;
        if (row.n >= BATCH_HEAD) {
            batch_head_read(row.p, &h);
        }
        /* Bodies of batches before the wanted one are not ours to check. */
        bool skip = h.base_offset + h.count <= run->expect;
        enum werr rc = batch_next(&row, !skip, &h, &batch, e);
        if (rc != WERR_OK) {
            return rc;
        }
        if (skip) {
            continue;
        }
        if (h.base_offset > run->expect) {
            return hole(r->partition, run->expect, s, e);
        }
        if (h.base_offset + h.count > r->end ||
            (run->len > 0 && run->len + batch.n > r->max_bytes)) {
            run->full = true;
            break;
        }
        if (!run_put(run, batch)) {
            return werror_set(e, WERR_NOMEM, "no memory for a read of %zu bytes", run->len);
        }
        run->expect = h.base_offset + h.count;
        run->full = run->len >= r->max_bytes;
    }
    /* No row is fetched to be left out: the next read begins with it. */
    run->full = run->full || (run->len > 0 && run->len + row_bytes > r->max_bytes);
    return WERR_OK;
}

static enum werr read_span(struct kv *kv, struct read_run *run, const struct store_read *r,
                           const struct span *s, struct werror *e)
{
    struct kv_iter *it = NULL;
    struct slice key, row;
    if (run->expect < s->first) {
        run->expect = s->first; /* a hole that was accepted after data loss */
    }
    uint64_t end = s->next < r->end ? s->next : r->end;
    enum werr rc =
        cursor_open(kv, r->partition, s, run->expect, end, r->max_bytes >= (1 << 19), &it, &row, e);
    if (rc != WERR_OK) {
        goto out;
    }
    do {
        rc = read_row(run, r, s, row, e);
    } while (rc == WERR_OK && !run->full && kv->ops->iter_next(it, &key, &row));
    if (rc == WERR_OK) {
        rc = kv->ops->iter_error(it, e);
    }
    if (rc == WERR_OK && !run->full && run->expect < end) {
        rc = hole(r->partition, run->expect, s, e);
    }
out:
    if (it != NULL) {
        kv->ops->iter_close(it);
    }
    return rc;
}

static void run_read(struct job *job)
{
    struct read_job *j = (struct read_job *)(void *)job;
    struct store_read *r = j->read;
    struct read_run run = {.expect = r->offset, .planned = j->bytes};
    enum werr rc = j->planned;
    for (size_t i = 0; rc == WERR_OK && i < j->n_spans && !run.full; i++) {
        if (j->spans[i].first >= r->end) {
            break;
        }
        rc = read_span(j->st->kv, &run, r, &j->spans[i], &r->err);
    }
    if (rc == WERR_OK && run.len > 0) {
        struct blob *fitting = run.len < run.out->n ? blob_resize(run.out, run.len) : run.out;
        r->data = fitting != NULL ? fitting : run.out;
        r->data->n = run.len;
    } else {
        blob_unref(run.out);
    }
    r->rc = rc;
    if (rc == WERR_OK) {
        r->err = (struct werror){0};
    }
}

/* Looks through the rows of one span; *found when a batch is young enough. */
static enum werr find_span(struct kv *kv, const struct read_job *j, const struct span *s,
                           bool *found, struct werror *e)
{
    struct store_find *f = j->find;
    struct kv_iter *it = NULL;
    struct slice key, row, batch;
    struct batch_head h;
    uint64_t from = j->start > s->first ? j->start : s->first;
    uint64_t end = s->next < f->end ? s->next : f->end, expect = from;
    enum werr rc = cursor_open(kv, f->partition, s, from, end, true, &it, &row, e);
    if (rc != WERR_OK) {
        goto out;
    }
    do {
        while (rc == WERR_OK && !*found && row.n > 0) {
            rc = batch_next(&row, false, &h, &batch, e);
            if (rc != WERR_OK || h.base_offset + h.count <= from) {
                continue;
            }
            expect = h.base_offset + h.count;
            if (h.append_ms >= f->ts_ms && h.base_offset < end) {
                *found = true;
                f->offset = h.base_offset > from ? h.base_offset : from;
                f->found_ms = h.append_ms;
            }
        }
    } while (rc == WERR_OK && !*found && kv->ops->iter_next(it, &key, &row));
    if (rc == WERR_OK) {
        rc = kv->ops->iter_error(it, e);
    }
    if (rc == WERR_OK && !*found && expect < end) {
        rc = hole(f->partition, expect, s, e);
    }
out:
    if (it != NULL) {
        kv->ops->iter_close(it);
    }
    return rc;
}

static void run_find(struct job *job)
{
    struct read_job *j = (struct read_job *)(void *)job;
    struct store_find *f = j->find;
    bool found = false;
    enum werr rc = WERR_OK;
    f->offset = f->end;
    f->found_ms = 0;
    for (size_t i = 0; rc == WERR_OK && i < j->n_spans && !found; i++) {
        if (j->spans[i].first < f->end && j->spans[i].next > j->start) {
            rc = find_span(j->st->kv, j, &j->spans[i], &found, &f->err);
        }
    }
    f->rc = rc;
    if (rc == WERR_OK) {
        f->err = (struct werror){0};
    }
}

/* ---------------------------------------------------------------- done (owner) */

static void done_read(struct job *job)
{
    struct read_job *j = (struct read_job *)(void *)job;
    struct store_read *r = j->read;
    if (r->data != NULL) {
        j->st->reads.read_bytes += r->data->n;
    }
    job_free(j);
    r->fn(r);
}

static void done_find(struct job *job)
{
    struct read_job *j = (struct read_job *)(void *)job;
    struct store_find *f = j->find;
    job_free(j);
    f->fn(f);
}

static void drop_read(struct job *job)
{
    struct read_job *j = (struct read_job *)(void *)job;
    if (j->read != NULL) {
        blob_unref(j->read->data);
        j->read->data = NULL;
    }
    job_free(j);
}

void store_read(struct store *st, struct store_read *r)
{
    struct read_job *j = job_new(st);
    j->job = (struct job){.run = run_read, .done = done_read, .drop = drop_read};
    j->read = r;
    r->data = NULL;
    r->rc = WERR_CLOSED; /* what it is when the store closes before it ran */
    r->err = (struct werror){.code = WERR_CLOSED, .text = "store closed"};
    r->next = NULL;
    j->planned = plan_read(j, index_part(&st->ix, r->partition), &r->err);
    workers_push(&st->readers, &j->job);
}

void store_find(struct store *st, struct store_find *f)
{
    struct read_job *j = job_new(st);
    j->job = (struct job){.run = run_find, .done = done_find, .drop = drop_read};
    j->find = f;
    f->offset = f->end;
    f->found_ms = 0;
    f->rc = WERR_CLOSED;
    f->err = (struct werror){.code = WERR_CLOSED, .text = "store closed"};
    f->next = NULL;
    plan_find(j, index_part(&st->ix, f->partition));
    workers_push(&st->readers, &j->job);
}
