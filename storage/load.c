/*
 * Happy path: identity and position; dropped partitions, log starts, moved marks; the ranges of all
 * sealed buckets from their META_BUCKET rows; the active bucket from its own rows, each batch
 * verified; then the checks: offsets dense per partition, count, bytes and sum of the active bucket
 * equal to META_APPLIED, all of META readable, every floor mark reached.
 *
 * What can fail: a row that does not decode (CORRUPT, always refused), rows that are missing
 * (DATA_LOSS: refused unless accepted; accepted holes become META_GAP rows, so that offsets are
 * never given twice), the tables' own I/O.
 *
 * Who owns what: everything goes into *out, which the caller frees, also on error.
 */
#include "storage/load.h"

#include <stdio.h>

#include "storage/alloc.h"
#include "storage/hash.h"
#include "storage/scan.h"

struct load_moved {
    uint32_t bucket, partition;
    struct moved_row row;
};
struct load {
    struct loaded *out;
    struct kv *kv;
    const struct store_conf *conf;
    const struct kv_floor *floor;
    struct werror *e;
    struct load_moved *moved; /* by (bucket, partition) */
    size_t n_moved, cap_moved;
    struct load_gap *gaps; /* known ones, by (partition, first) */
    size_t n_gaps, cap_gaps, cap_dropped, cap_accepted;
    unsigned n_lost; /* losses found */
};

static void *grown(void *p, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return p;
    }
    *cap = *cap ? *cap * 2 : 16;
    return must_realloc(p, *cap, size);
}

static bool is_dropped(const struct load *l, uint32_t partition)
{
    size_t lo = 0, hi = l->out->n_dropped;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->out->dropped[mid].partition < partition) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < l->out->n_dropped && l->out->dropped[lo].partition == partition;
}

/* Notes a loss; the first one is the error's text. */
static void lost(struct load *l, uint32_t partition, uint64_t first, uint64_t next)
{
    char text[128];
    snprintf(text, sizeof(text), "partition %u: offsets %llu to %llu are missing", partition,
             (unsigned long long)first, (unsigned long long)(next - 1));
    if (l->n_lost++ == 0) {
        werror_set(l->e, WERR_DATA_LOSS, "%s", text);
    }
    if (l->conf->log != NULL) {
        l->conf->log(l->conf->log_arg, "data_loss", text);
    }
}

/* ---------------------------------------------------------------- small rows */

static enum werr row_dropped(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    if (key.n != 5 || value.n != 4) {
        return werror_set(l->e, WERR_CORRUPT, "bad row of a dropped partition");
    }
    l->out->dropped =
        grown(l->out->dropped, l->out->n_dropped, &l->cap_dropped, sizeof(*l->out->dropped));
    l->out->dropped[l->out->n_dropped++] = (struct load_dropped){be32(key.p + 1), be32(value.p)};
    return WERR_OK;
}

static enum werr row_start(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    if (key.n != 5 || value.n != 8) {
        return werror_set(l->e, WERR_CORRUPT, "bad row of a log start");
    }
    uint32_t partition = be32(key.p + 1);
    if (!is_dropped(l, partition)) {
        index_part_make(&l->out->ix, partition)->start = be64(value.p);
    }
    return WERR_OK;
}

static enum werr row_moved(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    if (key.n != 9) {
        return werror_set(l->e, WERR_CORRUPT, "bad row of a moved range");
    }
    l->moved = grown(l->moved, l->n_moved, &l->cap_moved, sizeof(*l->moved));
    struct load_moved *m = &l->moved[l->n_moved++];
    m->bucket = be32(key.p + 1);
    m->partition = be32(key.p + 5);
    return moved_row_decode(value, &m->row, l->e);
}

static enum werr row_gap(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    if (key.n != 13 || value.n != 8) {
        return werror_set(l->e, WERR_CORRUPT, "bad row of an accepted hole");
    }
    l->gaps = grown(l->gaps, l->n_gaps, &l->cap_gaps, sizeof(*l->gaps));
    l->gaps[l->n_gaps++] = (struct load_gap){be32(key.p + 1), be64(key.p + 5), be64(value.p)};
    return WERR_OK;
}

static const struct moved_row *find_moved(const struct load *l, uint32_t bucket, uint32_t partition)
{
    size_t lo = 0, hi = l->n_moved;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct load_moved *m = &l->moved[mid];
        if (m->bucket < bucket || (m->bucket == bucket && m->partition < partition)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    bool hit =
        lo < l->n_moved && l->moved[lo].bucket == bucket && l->moved[lo].partition == partition;
    return hit ? &l->moved[lo].row : NULL;
}

static enum werr scan_tag(struct load *l, enum meta_tag tag, scan_fn fn)
{
    struct meta_key lo = meta_key(tag), hi = meta_key_after(&lo);
    return kv_scan(l->kv, TABLE_META, key_slice(&lo), key_slice(&hi), fn, l, l->e);
}

/* ---------------------------------------------------------------- sealed buckets */

static void add_sealed_range(struct load *l, uint32_t partition, struct index_range *r)
{
    if (is_dropped(l, partition)) {
        return;
    }
    const struct index_part *p = index_part(&l->out->ix, partition);
    if (p != NULL && r->next <= p->start) {
        return;
    }
    const struct moved_row *m = find_moved(l, r->bucket, partition);
    if (m != NULL && r->next <= m->next) {
        return; /* its survivors are in TABLE_HOLD now */
    }
    if (m != NULL && r->first < m->next) {
        r->first = m->next;
        r->bytes = m->bytes_left;
    }
    index_add_range(&l->out->ix, partition, r);
}

static enum werr row_bucket(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    struct bucket_row row;
    enum werr rc = bucket_row_open(&row, key, value, l->e);
    if (rc != WERR_OK) {
        return rc;
    }
    if (row.bucket >= l->out->ix.active) {
        return werror_set(l->e, WERR_CORRUPT, "bucket %u is sealed, yet the active one is %u",
                          row.bucket, l->out->ix.active);
    }
    index_add_bucket(&l->out->ix, row.bucket, row.total_bytes);
    for (;;) {
        uint32_t partition = 0;
        struct index_range r;
        rc = bucket_row_next(&row, &partition, &r, l->e);
        if (rc != WERR_OK) {
            break;
        }
        add_sealed_range(l, partition, &r);
    }
    return rc == WERR_NOT_FOUND ? WERR_OK : rc;
}

/* ---------------------------------------------------------------- the active bucket */

static enum werr add_active_row(struct load *l, const struct scan_row *row, struct applied *seen)
{
    struct slice run = row->value, batch;
    struct batch_head h;
    struct index_range r = {.first = row->base,
                            .next = row->base,
                            .bytes = run.n,
                            .bucket = l->out->ix.active,
                            .table = (uint8_t)row->table};
    uint64_t hash = row_hash_begin(row->table, row->key, run.n);
    while (run.n > 0) {
        enum werr rc = batch_next(&run, true, &h, &batch, l->e);
        if (rc != WERR_OK) {
            return werror_wrap(l->e, "partition %u at offset %llu", row->partition,
                               (unsigned long long)r.next);
        }
        if (h.base_offset != r.next) {
            return werror_set(l->e, WERR_CORRUPT, "partition %u: offset %llu where %llu belongs",
                              row->partition, (unsigned long long)h.base_offset,
                              (unsigned long long)r.next);
        }
        bool first = r.next == r.first;
        r.min_ms = first || h.append_ms < r.min_ms ? h.append_ms : r.min_ms;
        r.max_ms = first || h.append_ms > r.max_ms ? h.append_ms : r.max_ms;
        r.next += h.count;
        hash = row_hash_batch(hash, h.crc);
    }
    seen->rows++;
    seen->bytes += row->value.n;
    seen->sum += hash;
    const struct index_part *p = index_part(&l->out->ix, row->partition);
    if (!is_dropped(l, row->partition) && (p == NULL || r.next > p->start) && r.next > r.first) {
        index_add_range(&l->out->ix, row->partition, &r);
    }
    return WERR_OK;
}

static enum werr load_active(struct load *l)
{
    struct applied *at = &l->out->at, seen = {.bucket = at->bucket};
    struct bucket_scan s;
    struct scan_row row;
    enum werr rc = bucket_scan_open(&s, l->kv, at->bucket, true, l->e);
    while (rc == WERR_OK) {
        rc = bucket_scan_next(&s, &row, l->e);
        if (rc == WERR_OK) {
            rc = add_active_row(l, &row, &seen);
        }
    }
    bucket_scan_close(&s);
    if (rc != WERR_NOT_FOUND) {
        return rc;
    }
    index_bucket(&l->out->ix, at->bucket)->total = seen.bytes;
    if (seen.rows != at->rows || seen.bytes != at->bytes || seen.sum != at->sum) {
        if (l->n_lost++ == 0) {
            werror_set(l->e, WERR_DATA_LOSS,
                       "bucket %u has %llu rows of %llu bytes, not %llu of %llu as committed",
                       at->bucket, (unsigned long long)seen.rows, (unsigned long long)seen.bytes,
                       (unsigned long long)at->rows, (unsigned long long)at->bytes);
        }
        at->rows = seen.rows;
        at->bytes = seen.bytes;
        at->sum = seen.sum;
    }
    return WERR_OK;
}

/* ---------------------------------------------------------------- checks */

static bool gap_known(const struct load *l, uint32_t partition, uint64_t first, uint64_t next)
{
    for (size_t i = 0; i < l->n_gaps; i++) {
        const struct load_gap *g = &l->gaps[i];
        if (g->partition == partition && g->first == first && g->next == next) {
            return true;
        }
    }
    return false;
}

static void accept_gap(struct load *l, uint32_t partition, uint64_t first, uint64_t next)
{
    struct loaded *o = l->out;
    lost(l, partition, first, next);
    o->accepted = grown(o->accepted, o->n_accepted, &l->cap_accepted, sizeof(*o->accepted));
    o->accepted[o->n_accepted++] = (struct load_gap){partition, first, next};
    index_part_make(&o->ix, partition)->gaps = true;
}

static enum werr check_dense(struct load *l, uint32_t partition)
{
    struct index_part *p = index_part(&l->out->ix, partition);
    uint64_t expect = p->start;
    size_t i = 0;
    while (!index_dense(p, &i, &expect)) {
        uint64_t first = p->ranges[i].first;
        if (first < expect) {
            return werror_set(l->e, WERR_CORRUPT,
                              "partition %u: offset %llu is there twice, in bucket %u", partition,
                              (unsigned long long)first, p->ranges[i].bucket);
        }
        if (gap_known(l, partition, expect, first)) {
            p->gaps = true;
        } else {
            accept_gap(l, partition, expect, first);
        }
        expect = first;
        if (i == 0) {
            p->start = first;
        }
    }
    index_settle(&l->out->ix, partition);
    return WERR_OK;
}

/* Ends of logs that were lost once leave a hole that no range follows yet. */
static void apply_tail_gaps(struct load *l)
{
    for (size_t i = 0; i < l->n_gaps; i++) {
        struct index_part *p = index_part(&l->out->ix, l->gaps[i].partition);
        if (p != NULL && p->next == l->gaps[i].first) {
            p->next = l->gaps[i].next;
            p->gaps = true;
            if (p->n == 0) {
                p->start = p->next;
            }
        }
    }
}

static void check_marks(struct load *l)
{
    const struct kv_floor *f = l->floor;
    for (size_t i = 0; i < f->n_marks; i++) {
        const struct floor_mark *m = &f->marks[i];
        if (is_dropped(l, m->partition)) {
            continue;
        }
        const struct index_part *p = index_part(&l->out->ix, m->partition);
        uint64_t next = p != NULL ? p->next : 0;
        if (next >= m->next_offset) {
            continue;
        }
        struct index_part *q = index_part_make(&l->out->ix, m->partition);
        accept_gap(l, m->partition, next, m->next_offset);
        q->next = m->next_offset;
        if (q->n == 0) {
            q->start = q->next;
        }
    }
}

static void check_floor(struct load *l)
{
    const struct kv_floor *f = l->floor;
    struct applied *at = &l->out->at;
    bool other = !l->out->fresh && memcmp(f->store_uuid, l->out->id.uuid, UUID_BYTES) != 0;
    if (other && l->n_lost++ == 0) {
        werror_set(l->e, WERR_DATA_LOSS, "the floor file belongs to another store");
    }
    if (other) {
        return;
    }
    check_marks(l);
    bool behind = at->lsn < f->lsn || at->epoch < f->epoch;
    bool ahead = f->clean && at->lsn > f->lsn;
    if ((behind || ahead) && l->n_lost++ == 0) {
        werror_set(l->e, WERR_DATA_LOSS,
                   "the store is at record %llu of epoch %llu, its floor says %llu of epoch %llu%s",
                   (unsigned long long)at->lsn, (unsigned long long)at->epoch,
                   (unsigned long long)f->lsn, (unsigned long long)f->epoch,
                   f->clean ? " (clean stop)" : "");
    }
    /* Accepted: positions are not given twice either. */
    at->lsn = at->lsn > f->lsn ? at->lsn : f->lsn;
    at->epoch = at->epoch > f->epoch ? at->epoch : f->epoch;
}

/* ---------------------------------------------------------------- all of it */

static enum werr apply_record(void *arg, struct clog_pos pos, enum clog_kind kind, struct slice rec)
{
    struct load *l = arg;
    (void)pos;
    return kind == CLOG_BATCH ? l->kv->ops->apply(l->kv, rec, l->e) : WERR_OK;
}

static enum werr get_position(struct load *l)
{
    struct buf v = {0};
    struct meta_key k = meta_key(META_APPLIED);
    enum werr rc = l->kv->ops->get(l->kv, TABLE_META, key_slice(&k), &v, l->e);
    if (rc == WERR_OK) {
        rc = applied_decode(buf_slice(&v), &l->out->at, l->e);
    }
    buf_fini(&v);
    return rc;
}

static enum werr load_position(struct load *l, struct clog *log)
{
    enum werr rc = get_position(l);
    if ((rc == WERR_OK || rc == WERR_NOT_FOUND) && (log->ops->caps & CLOG_FUSED) == 0) {
        struct clog_pos from = {l->out->at.epoch, l->out->at.lsn + 1};
        rc = log->ops->replay(log, from, apply_record, l, l->e);
        if (rc == WERR_OK) {
            rc = get_position(l);
        }
    }
    return rc;
}

static enum werr load_identity(struct load *l, enum werr position)
{
    struct buf v = {0};
    struct meta_key k = meta_key(META_IDENTITY);
    enum werr rc = l->kv->ops->get(l->kv, TABLE_META, key_slice(&k), &v, l->e);
    if (rc == WERR_OK) {
        rc = identity_decode(buf_slice(&v), &l->out->id, l->e);
    } else if (rc == WERR_NOT_FOUND && position == WERR_OK) {
        rc = werror_set(l->e, WERR_CORRUPT, "the store has a position but no identity");
    }
    if (rc == WERR_OK && position == WERR_NOT_FOUND) {
        rc = werror_set(l->e, WERR_CORRUPT, "the store has an identity but no position");
    }
    buf_fini(&v);
    return rc;
}

static enum werr row_readable(void *arg, struct slice key, struct slice value)
{
    (void)arg;
    (void)key;
    (void)value;
    return WERR_OK;
}

static enum werr load_rows(struct load *l)
{
    static const struct {
        enum meta_tag tag;
        scan_fn fn;
    } scans[] = {{META_DROPPED, row_dropped},
                 {META_START, row_start},
                 {META_RANGE, row_moved},
                 {META_GAP, row_gap},
                 {META_BUCKET, row_bucket}};
    enum werr rc = WERR_OK;
    for (size_t i = 0; rc == WERR_OK && i < sizeof(scans) / sizeof(scans[0]); i++) {
        rc = scan_tag(l, scans[i].tag, scans[i].fn);
    }
    if (rc == WERR_OK) {
        rc = load_active(l);
    }
    for (uint32_t p = 0; rc == WERR_OK && index_part_next(&l->out->ix, &p); p++) {
        rc = check_dense(l, p);
    }
    if (rc == WERR_OK) {
        apply_tail_gaps(l);
        /* Also what only the broker reads: damage is to be met while nothing has been changed. */
        rc = kv_scan(l->kv, TABLE_META, (struct slice){0}, (struct slice){0}, row_readable, NULL,
                     l->e);
    }
    return rc;
}

enum werr load_store(struct loaded *out, struct kv *kv, struct clog *log,
                     const struct store_conf *conf, const struct kv_floor *floor, struct werror *e)
{
    struct werror own;
    struct load l = {.out = out, .kv = kv, .conf = conf, .floor = floor, .e = e ? e : &own};
    *out = (struct loaded){0};
    enum werr rc = load_position(&l, log);
    if (rc == WERR_OK || rc == WERR_NOT_FOUND) {
        rc = load_identity(&l, rc);
    }
    out->fresh = rc == WERR_NOT_FOUND;
    if (rc != WERR_OK && !out->fresh) {
        goto out;
    }
    index_init(&out->ix, out->at.bucket);
    rc = load_rows(&l);
    if (rc == WERR_OK && floor != NULL) {
        check_floor(&l);
    }
    if (rc == WERR_OK && l.n_lost > 0 && !conf->accept_data_loss) {
        rc = WERR_DATA_LOSS;
        if (l.n_lost > 1) {
            werror_wrap(l.e, "%u losses, the first", l.n_lost);
        }
    }
out:
    free(l.moved);
    free(l.gaps);
    return rc;
}

void loaded_fini(struct loaded *l)
{
    index_fini(&l->ix);
    free(l->dropped);
    free(l->accepted);
    *l = (struct loaded){0};
}
