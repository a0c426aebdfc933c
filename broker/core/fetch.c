/*
 * FETCH: a reader, a heap of deadlines, and the rule when to answer. LIST_OFFSETS.
 *
 * A fetch is answered as soon as it has min_bytes, or an error, or as many bytes as it may take;
 * otherwise at its deadline, but not while a store read for it is under way: what is on disk is
 * there now, and max_wait_ms is only about what is not there yet.
 */
#include "broker/core/core_impl.h"
#include "broker/core/mem.h"

enum { PIECES_AT_ONCE = 16 };
static const size_t NOT_IN_HEAP = SIZE_MAX;

/* ---------------------------------------------------------------- heap */

static void heap_set(struct core *co, size_t i, struct core_fetch *f)
{
    co->fetches[i] = f;
    f->heap_index = i;
}

static void heap_up(struct core *co, size_t i)
{
    struct core_fetch *f = co->fetches[i];

    while (i > 0 && f->deadline_mono_ns < co->fetches[(i - 1) / 2]->deadline_mono_ns) {
        heap_set(co, i, co->fetches[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(co, i, f);
}

static void heap_down(struct core *co, size_t i)
{
    struct core_fetch *f = co->fetches[i];

    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= co->n_fetches) {
            break;
        }
        if (c + 1 < co->n_fetches &&
            co->fetches[c + 1]->deadline_mono_ns < co->fetches[c]->deadline_mono_ns) {
            c++;
        }
        if (f->deadline_mono_ns <= co->fetches[c]->deadline_mono_ns) {
            break;
        }
        heap_set(co, i, co->fetches[c]);
        i = c;
    }
    heap_set(co, i, f);
}

static void heap_add(struct core *co, struct core_fetch *f)
{
    if (co->n_fetches == co->cap_fetches) {
        co->cap_fetches = co->cap_fetches > 0 ? co->cap_fetches * 2 : 64;
        co->fetches = core_realloc(co->fetches, co->cap_fetches, sizeof(struct core_fetch *));
    }
    heap_set(co, co->n_fetches++, f);
    heap_up(co, f->heap_index);
}

static void heap_remove(struct core *co, struct core_fetch *f)
{
    const size_t i = f->heap_index;

    if (i == NOT_IN_HEAP) {
        return;
    }
    f->heap_index = NOT_IN_HEAP;
    struct core_fetch *last = co->fetches[--co->n_fetches];
    if (last != f) {
        heap_set(co, i, last);
        heap_up(co, i);
        heap_down(co, last->heap_index);
    }
}

/* ---------------------------------------------------------------- one fetch */

static void fetch_finish(struct core_fetch *rq)
{
    heap_remove(rq->co, rq);
    core_reader_free(rq->rd);
    rq->rd = NULL;
    rq->done(rq); /* may free rq */
}

static struct core_piece *piece_new(struct core_fetch *rq, size_t more)
{
    rq->pieces = core_realloc(rq->pieces, rq->n_pieces + more, sizeof *rq->pieces);
    return rq->pieces + rq->n_pieces;
}

/* Takes what the reader has. */
static void fetch_pull(struct core_fetch *rq)
{
    size_t got = 1;

    while (got > 0 && (rq->bytes < rq->max_bytes || rq->n_pieces == 0)) {
        const uint32_t room = rq->max_bytes > rq->bytes ? rq->max_bytes - (uint32_t)rq->bytes : 1;
        struct core_piece *at = piece_new(rq, PIECES_AT_ONCE);
        got = core_reader_pull(rq->rd, room, false, at, PIECES_AT_ONCE);
        for (size_t i = 0; i < got; i++) {
            rq->bytes += at[i].data.n;
            reader_holds(rq->rd, at[i].data.n);
        }
        rq->n_pieces += got;
    }
    if (rq->n_pieces == 0) { /* it may wait for long, and there may be many */
        free(rq->pieces);
        rq->pieces = NULL;
    }
}

static bool has_error(const struct core_fetch *rq)
{
    for (size_t i = 0; i < rq->n_pieces; i++) {
        if (rq->pieces[i].err.code != WERR_OK) {
            return true;
        }
    }
    return false;
}

/* Answers if it is time. */
static void fetch_look(struct core_fetch *rq)
{
    const uint32_t min = rq->min_bytes > 0 ? rq->min_bytes : 1;

    fetch_pull(rq);
    const bool full = rq->bytes >= min || (rq->bytes > 0 && rq->bytes >= rq->max_bytes);
    const bool late = core_mono_ns(rq->co) >= rq->deadline_mono_ns && !reader_reading(rq->rd);
    if (full || late || has_error(rq)) {
        fetch_finish(rq);
    }
}

static void on_ready(void *arg)
{
    fetch_look(arg);
}

void core_fetch(struct core *co, struct core_fetch *rq)
{
    const int64_t wait_ns = (int64_t)rq->max_wait_ms * 1000000;

    rq->co = co;
    rq->pieces = NULL;
    rq->n_pieces = rq->bytes = 0;
    rq->heap_index = NOT_IN_HEAP;
    rq->deadline_mono_ns = core_mono_ns(co) + wait_ns;
    rq->rd = core_reader_new(co, on_ready, rq);
    if (rq->meter != NULL) {
        core_reader_meter(rq->rd, rq->meter);
    }
    for (size_t i = 0; i < rq->n_parts; i++) {
        const struct msg_fetch_part *fp = &rq->parts[i];
        struct werror e;
        if (core_reader_add(rq->rd, fp->tid, fp->p, fp->offset, fp->has_epoch, fp->epoch, &e) ==
            WERR_OK) {
            reader_limit(rq->rd, fp->tid, fp->p, fp->max_bytes > 0 ? fp->max_bytes : UINT64_MAX);
        } else {
            *piece_new(rq, 1) = (struct core_piece){.tid = fp->tid, .p = fp->p, .err = e};
            rq->n_pieces++;
        }
    }
    heap_add(co, rq);
    fetch_look(rq);
}

void core_fetch_hurry(struct core_fetch *rq)
{
    if (rq->rd != NULL && rq->bytes > 0) {
        fetch_finish(rq);
    }
}

void core_fetch_cancel(struct core_fetch *rq)
{
    if (rq->rd != NULL) {
        heap_remove(rq->co, rq);
        core_reader_free(rq->rd);
        rq->rd = NULL;
    }
}

void core_fetch_fini(struct core_fetch *rq)
{
    core_fetch_cancel(rq);
    for (size_t i = 0; i < rq->n_pieces; i++) {
        blob_unref(rq->pieces[i].data.owner);
    }
    free(rq->pieces);
    rq->pieces = NULL;
    rq->n_pieces = 0;
}

/* ---------------------------------------------------------------- deadlines */

/* Those whose time has come leave the heap; the ones that still read are answered when that ends.
 */
void fetch_expire(struct core *co, int64_t now_mono_ns)
{
    while (co->n_fetches > 0 && co->fetches[0]->deadline_mono_ns <= now_mono_ns) {
        struct core_fetch *f = co->fetches[0];
        heap_remove(co, f);
        fetch_look(f);
    }
}

/* Also finds those past their deadline that wait for a read. */
static struct core_fetch *fetch_any(const struct core *co)
{
    const struct core_reader *rd;

    LIST_FOREACH (rd, &co->readers, of_core) {
        if (rd->on_ready == on_ready) {
            return rd->arg;
        }
    }
    return NULL;
}

void fetch_fini(struct core *co)
{
    struct core_fetch *f;

    while ((f = fetch_any(co)) != NULL) {
        struct core_piece *piece = piece_new(f, 1);
        *piece = (struct core_piece){.tid = 0};
        werror_set(&piece->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
        f->n_pieces++;
        fetch_finish(f);
    }
}

int64_t fetch_deadline(const struct core *co)
{
    return co->n_fetches > 0 ? co->fetches[0]->deadline_mono_ns : INT64_MAX;
}

/* ---------------------------------------------------------------- offsets */

static void on_found(struct store_find *f)
{
    struct core_offset_rq *rq = f->arg;

    if (f->rc == WERR_OK) {
        rq->result.offset = f->offset;
        rq->result.ts_ms = f->found_ms;
    } else {
        rq->result.err = f->err;
        rq->result.err.code = f->rc;
    }
    rq->done(rq);
}

void core_list_offset(struct core *co, struct core_offset_rq *rq)
{
    struct werror e = {.code = WERR_OK};
    const struct part *pt = topic_part(co, rq->spec.tid, rq->spec.p, false, &e);

    rq->result = (struct msg_offset){.tid = rq->spec.tid, .p = rq->spec.p, .err = e};
    if (pt != NULL && rq->spec.spec >= 0) {
        rq->find = (struct store_find){
            .partition = pt->id, .ts_ms = rq->spec.spec, .end = pt->hw, .fn = on_found, .arg = rq};
        store_find(co->st, &rq->find);
        return;
    }
    if (pt != NULL && rq->spec.spec == OFFSET_SPEC_START) {
        rq->result.offset = part_start(co, pt);
    } else if (pt != NULL && rq->spec.spec == OFFSET_SPEC_END) {
        rq->result.offset = pt->hw;
    } else if (pt != NULL) {
        werror_set(&rq->result.err, WERR_UNSUPPORTED_FIELD, "offset spec %lld",
                   (long long)rq->spec.spec);
    }
    rq->done(rq);
}
