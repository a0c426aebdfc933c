/*
 * Happy path: store_rows queues a job; a reader thread walks the table from lo on and copies rows
 * until hi or a limit; store_poll hands the result over.
 * What can fail: a damaged block (CORRUPT, never taken for the end), I/O, memory for the copy.
 * Who owns what: the store_rows and its bounds are the caller's and lent until fn; the job is the
 * store's. It is no part of the list of reads that space reclamation waits for: that frees rows of
 * log tables only.
 */
#include <assert.h>

#include "storage/alloc.h"
#include "storage/store_priv.h"

enum { ROW_HEAD = 8, BULK_BYTES = 1 << 19 };

struct rows_job {
    struct job job;
    struct store *st;
    struct store_rows *rows;
};

/* True when one more row of n bytes would pass a limit. */
static bool is_full(const struct store_rows *r, size_t have, size_t n)
{
    return r->n > 0 && ((r->max_rows != 0 && r->n >= r->max_rows) ||
                        (r->max_bytes != 0 && have + n > r->max_bytes));
}

static enum werr copy_rows(struct kv *kv, struct store_rows *r, struct buf *out)
{
    struct kv_iter *it = NULL;
    struct slice key, value;
    enum werr rc =
        kv->ops->iter_open(kv, r->table, r->lo, r->hi, r->max_bytes >= BULK_BYTES, &it, &r->err);
    if (rc != WERR_OK) {
        goto out;
    }
    while (kv->ops->iter_next(it, &key, &value)) {
        if (is_full(r, out->len, ROW_HEAD + key.n + value.n)) {
            r->more = true;
            goto out;
        }
        buf_put_be32(out, (uint32_t)key.n);
        buf_put_be32(out, (uint32_t)value.n);
        buf_put(out, key.p, key.n);
        buf_put(out, value.p, value.n);
        if (out->failed) {
            rc = werror_set(&r->err, WERR_NOMEM, "no memory for rows of %zu bytes", out->len);
            goto out;
        }
        r->n++;
    }
    rc = kv->ops->iter_error(it, &r->err);
out:
    if (it != NULL) {
        kv->ops->iter_close(it);
    }
    return rc;
}

static void run_rows(struct job *job)
{
    struct rows_job *j = (struct rows_job *)(void *)job;
    struct store_rows *r = j->rows;
    struct buf out = {0};
    enum werr rc = copy_rows(j->st->kv, r, &out);
    if (rc == WERR_OK && out.len > 0) {
        r->data = blob_copy(out.p, out.len);
        if (r->data == NULL) {
            rc = werror_set(&r->err, WERR_NOMEM, "no memory for rows of %zu bytes", out.len);
        }
    }
    buf_fini(&out);
    r->rc = rc;
    if (rc == WERR_OK) {
        r->err = (struct werror){0};
    } else {
        r->n = 0;
        r->more = false;
    }
}

static void done_rows(struct job *job)
{
    struct rows_job *j = (struct rows_job *)(void *)job;
    struct store_rows *r = j->rows;
    j->st->reads.reads++;
    j->st->reads.read_bytes += r->data != NULL ? r->data->n : 0;
    free(j);
    r->fn(r);
}

static void drop_rows(struct job *job)
{
    struct rows_job *j = (struct rows_job *)(void *)job;
    blob_unref(j->rows->data);
    j->rows->data = NULL;
    free(j);
}

void store_rows(struct store *st, struct store_rows *r)
{
    struct rows_job *j = must_calloc(1, sizeof(*j));
    assert(!table_is_log(r->table));
    j->job = (struct job){.run = run_rows, .done = done_rows, .drop = drop_rows};
    j->st = st;
    j->rows = r;
    r->data = NULL;
    r->n = 0;
    r->more = false;
    r->rc = WERR_CLOSED; /* what it is when the store closes before it ran */
    r->err = (struct werror){.code = WERR_CLOSED, .text = "store closed"};
    r->next = NULL;
    workers_push(&st->readers, &j->job);
}

bool store_rows_next(const struct store_rows *r, size_t *at, struct slice *key, struct slice *value)
{
    if (r->data == NULL || *at >= r->data->n) {
        return false;
    }
    const uint8_t *p = r->data->p + *at;
    const size_t key_n = be32(p), value_n = be32(p + 4);
    *key = slice_of(p + ROW_HEAD, key_n);
    *value = slice_of(p + ROW_HEAD + key_n, value_n);
    *at += ROW_HEAD + key_n + value_n;
    return true;
}
