/*
 * Happy path: index_append extends a partition's last range; index_trim eats ranges from the front;
 * index_roll starts a bucket. Every change keeps bucket.live and part.bytes exact by taking a range
 * out of the account before it changes and putting it back after.
 * What can fail: nothing (bookkeeping memory aborts).
 * Who owns what: the index owns pages and range arrays; pointers out of it live until the next
 * change of that partition.
 */
#include "storage/index.h"

#include <assert.h>
#include <string.h>

#include "storage/alloc.h"

struct index_saved {
    uint32_t partition;
    struct index_part part; /* ranges = NULL, they follow */
    struct index_range ranges[];
};

/* ---------------------------------------------------------------- buckets */

static size_t bucket_pos(const struct index *ix, uint32_t id)
{
    size_t lo = 0, hi = ix->n_buckets;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ix->buckets[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct index_bucket *index_bucket(const struct index *ix, uint32_t id)
{
    /* Nearly every call is about the active bucket, the last one. */
    if (ix->n_buckets > 0 && ix->buckets[ix->n_buckets - 1].id == id) {
        return &ix->buckets[ix->n_buckets - 1];
    }
    size_t i = bucket_pos(ix, id);
    return i < ix->n_buckets && ix->buckets[i].id == id ? &ix->buckets[i] : NULL;
}

static struct index_bucket *bucket_insert(struct index *ix, uint32_t id)
{
    size_t i = bucket_pos(ix, id);
    if (ix->n_buckets == ix->cap_buckets) {
        ix->cap_buckets = ix->cap_buckets ? ix->cap_buckets * 2 : 16;
        ix->buckets = must_realloc(ix->buckets, ix->cap_buckets, sizeof(*ix->buckets));
    }
    memmove(&ix->buckets[i + 1], &ix->buckets[i], (ix->n_buckets - i) * sizeof(*ix->buckets));
    ix->n_buckets++;
    ix->buckets[i] = (struct index_bucket){.id = id, .state = BUCKET_ACTIVE};
    return &ix->buckets[i];
}

void index_bucket_remove(struct index *ix, uint32_t id)
{
    size_t i = bucket_pos(ix, id);
    if (i == ix->n_buckets || ix->buckets[i].id != id) {
        return;
    }
    ix->n_buckets--;
    memmove(&ix->buckets[i], &ix->buckets[i + 1], (ix->n_buckets - i) * sizeof(*ix->buckets));
}

void index_add_bucket(struct index *ix, uint32_t id, uint64_t total)
{
    struct index_bucket *b = bucket_insert(ix, id);
    b->state = BUCKET_SEALED;
    b->durable = true;
    b->total = total;
}

void index_roll(struct index *ix)
{
    index_bucket(ix, ix->active)->state = BUCKET_SEALED;
    ix->active++;
    bucket_insert(ix, ix->active);
}

void index_undo_roll(struct index *ix)
{
    index_bucket_remove(ix, ix->active);
    ix->active--;
    struct index_bucket *b = index_bucket(ix, ix->active);
    assert(b != NULL && !b->durable);
    b->state = BUCKET_ACTIVE;
}

/* ---------------------------------------------------------------- partitions */

void index_init(struct index *ix, uint32_t active)
{
    *ix = (struct index){.active = active};
    bucket_insert(ix, active);
}

void index_fini(struct index *ix)
{
    for (size_t i = 0; i < ix->n_pages; i++) {
        for (size_t j = 0; ix->pages[i] != NULL && j < INDEX_PAGE; j++) {
            free(ix->pages[i]->parts[j].ranges);
        }
        free(ix->pages[i]);
    }
    free(ix->pages);
    free(ix->buckets);
    *ix = (struct index){0};
}

struct index_part *index_part(const struct index *ix, uint32_t partition)
{
    size_t page = partition / INDEX_PAGE;
    if (page >= ix->n_pages || ix->pages[page] == NULL) {
        return NULL;
    }
    struct index_part *p = &ix->pages[page]->parts[partition % INDEX_PAGE];
    return p->known ? p : NULL;
}

struct index_part *index_part_make(struct index *ix, uint32_t partition)
{
    size_t page = partition / INDEX_PAGE;
    if (page >= ix->n_pages) {
        size_t n = ix->n_pages * 2 > page + 1 ? ix->n_pages * 2 : page + 1;
        ix->pages = must_realloc(ix->pages, n, sizeof(struct index_page *));
        for (size_t i = ix->n_pages; i < n; i++) {
            ix->pages[i] = NULL;
        }
        ix->n_pages = n;
    }
    if (ix->pages[page] == NULL) {
        ix->pages[page] = must_calloc(1, sizeof(struct index_page));
    }
    struct index_part *p = &ix->pages[page]->parts[partition % INDEX_PAGE];
    if (!p->known) {
        p->known = true;
        ix->pages[page]->n_known++;
    }
    return p;
}

bool index_part_next(const struct index *ix, uint32_t *partition)
{
    uint64_t end = (uint64_t)ix->n_pages * INDEX_PAGE;
    for (uint64_t p = *partition; p < end; p++) {
        const struct index_page *page = ix->pages[p / INDEX_PAGE];
        if (page == NULL) {
            p |= INDEX_PAGE - 1;
        } else if (page->parts[p % INDEX_PAGE].known) {
            *partition = (uint32_t)p;
            return true;
        }
    }
    return false;
}

size_t index_find(const struct index_part *part, uint64_t offset)
{
    size_t lo = 0, hi = part->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (part->ranges[mid].next <= offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

uint64_t index_live_bytes(const struct index_range *r, uint64_t start)
{
    if (start >= r->next) {
        return 0;
    }
    uint64_t bytes = r->bytes;
    if (start > r->first) {
        bytes = (uint64_t)((double)r->bytes *
                           ((double)(r->next - start) / (double)(r->next - r->first)));
    }
    return bytes > 0 ? bytes : 1; /* a bucket with anything live never looks empty */
}

uint64_t index_part_bytes(const struct index_part *part)
{
    if (part->n == 0) {
        return 0;
    }
    return part->bytes - part->ranges[0].bytes + index_live_bytes(&part->ranges[0], part->start);
}

static void account_in(struct index *ix, struct index_part *p, const struct index_range *r)
{
    /* NOLINTNEXTLINE(clang-analyzer-*): r is always a filled range */
    p->bytes += r->bytes;
    struct index_bucket *b = index_bucket(ix, r->bucket);
    assert(b != NULL);
    b->live += index_live_bytes(r, p->start);
}

static void account_out(struct index *ix, struct index_part *p, const struct index_range *r)
{
    p->bytes -= r->bytes;
    struct index_bucket *b = index_bucket(ix, r->bucket);
    assert(b != NULL);
    b->live -= index_live_bytes(r, p->start);
}

static void ranges_reserve(struct index_part *p, uint32_t n)
{
    if (n <= p->cap) {
        return;
    }
    /* Most partitions of a store with many topics have one range: begin exact, then double. */
    p->cap = p->cap == 0 || n > p->cap * 2 ? n : p->cap * 2;
    p->ranges = must_realloc(p->ranges, p->cap, sizeof(*p->ranges));
}

static void ranges_remove(struct index_part *p, size_t at, size_t n)
{
    memmove(&p->ranges[at], &p->ranges[at + n], (p->n - at - n) * sizeof(*p->ranges));
    p->n -= (uint32_t)n;
    if (p->n == 0) {
        free(p->ranges);
        p->ranges = NULL;
        p->cap = 0;
    }
}

static void ranges_insert(struct index_part *p, size_t at, const struct index_range *r)
{
    ranges_reserve(p, p->n + 1);
    /* NOLINTNEXTLINE(clang-analyzer-*): reserved above */
    memmove(&p->ranges[at + 1], &p->ranges[at], (p->n - at) * sizeof(*p->ranges));
    p->ranges[at] = *r;
    p->n++;
}

/* ---------------------------------------------------------------- append */

void index_append(struct index *ix, uint32_t partition, enum store_table t, uint64_t base,
                  uint32_t count, uint32_t bytes, int64_t ms, struct index_append *undo)
{
    struct index_part *p = index_part_make(ix, partition);
    assert(base == p->next && count > 0);
    struct index_range *r = p->n > 0 ? &p->ranges[p->n - 1] : NULL;
    *undo = (struct index_append){.last_ms = p->last_ms};
    if (r != NULL && r->bucket == ix->active && r->table == t && r->next == base) {
        undo->min_ms = r->min_ms;
        undo->max_ms = r->max_ms;
        account_out(ix, p, r);
        r->next += count;
        r->bytes += bytes;
        r->min_ms = ms < r->min_ms ? ms : r->min_ms;
        r->max_ms = ms > r->max_ms ? ms : r->max_ms;
    } else {
        struct index_range n = {base, base + count, bytes, ms, ms, ix->active, (uint8_t)t};
        ranges_insert(p, p->n, &n);
        r = &p->ranges[p->n - 1];
    }
    account_in(ix, p, r);
    index_bucket(ix, ix->active)->total += bytes;
    p->next = base + count;
    p->last_ms = ms;
}

void index_undo_append(struct index *ix, uint32_t partition, uint64_t base, uint32_t bytes,
                       const struct index_append *undo)
{
    struct index_part *p = index_part(ix, partition);
    assert(p != NULL && p->n > 0 && p->ranges[p->n - 1].next == p->next);
    struct index_range *r = &p->ranges[p->n - 1];
    account_out(ix, p, r);
    index_bucket(ix, r->bucket)->total -= bytes;
    if (r->first == base) {
        ranges_remove(p, p->n - 1, 1);
    } else {
        r->next = base;
        r->bytes -= bytes;
        r->min_ms = undo->min_ms;
        r->max_ms = undo->max_ms;
        account_in(ix, p, r);
    }
    p->next = base;
    p->last_ms = undo->last_ms;
}

/* ---------------------------------------------------------------- trim, drop, move and undo */

struct index_saved *index_save(struct index *ix, uint32_t partition)
{
    struct index_part *p = index_part(ix, partition);
    uint32_t n = p != NULL ? p->n : 0;
    struct index_saved *s = must_calloc(1, sizeof(*s) + n * sizeof(s->ranges[0]));
    s->partition = partition;
    if (p != NULL) {
        s->part = *p;
        s->part.ranges = NULL;
        if (n > 0) {
            memcpy(s->ranges, p->ranges, n * sizeof(s->ranges[0]));
        }
    }
    return s;
}

void index_restore(struct index *ix, struct index_saved *s)
{
    if (s->part.known) {
        struct index_part *p = index_part_make(ix, s->partition);
        for (uint32_t i = 0; i < p->n; i++) {
            account_out(ix, p, &p->ranges[i]);
        }
        free(p->ranges);
        *p = s->part;
        p->ranges = NULL;
        p->n = p->cap = 0;
        p->bytes = 0;
        if (s->part.n > 0) {
            ranges_reserve(p, s->part.n);
            memcpy(p->ranges, s->ranges, s->part.n * sizeof(s->ranges[0]));
            p->n = s->part.n;
        }
        for (uint32_t i = 0; i < p->n; i++) {
            account_in(ix, p, &p->ranges[i]);
        }
    } else {
        index_drop(ix, s->partition);
    }
    free(s);
}

void index_trim(struct index *ix, uint32_t partition, uint64_t start)
{
    struct index_part *p = index_part(ix, partition);
    if (p == NULL || start <= p->start) {
        return;
    }
    assert(start <= p->next);
    size_t dead = 0;
    while (dead < p->n && p->ranges[dead].next <= start) {
        account_out(ix, p, &p->ranges[dead++]);
    }
    if (dead < p->n) {
        account_out(ix, p, &p->ranges[dead]);
    }
    p->start = start;
    if (dead < p->n) {
        account_in(ix, p, &p->ranges[dead]);
    }
    if (dead > 0) {
        ranges_remove(p, 0, dead);
    }
}

void index_drop(struct index *ix, uint32_t partition)
{
    struct index_part *p = index_part(ix, partition);
    if (p == NULL) {
        return;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        account_out(ix, p, &p->ranges[i]);
    }
    free(p->ranges);
    *p = (struct index_part){0};
    struct index_page **page = &ix->pages[partition / INDEX_PAGE];
    if (--(*page)->n_known == 0) {
        free(*page);
        *page = NULL;
    }
}

/*
 * A move's row on disk says that everything of the partition in that bucket below its end has gone.
 * So rows can only go while nothing live lies below them there. A plan that was made after a trim
 * breaks that when the trim meets a full disk and is undone.
 */
static bool any_below(const struct index_part *p, uint32_t i, uint32_t bucket)
{
    for (uint32_t below = 0; below < i; below++) {
        if (p->ranges[below].bucket == bucket) {
            return true;
        }
    }
    return false;
}

bool index_move(struct index *ix, uint32_t partition, uint32_t from_bucket,
                enum store_table from_table, const struct index_range *m, uint64_t *left)
{
    struct index_part *p = index_part(ix, partition);
    if (p == NULL || m->next <= p->start) {
        return false;
    }
    size_t i = index_find(p, m->next - 1);
    if (i == p->n) {
        return false;
    }
    struct index_range old = p->ranges[i];
    /* Rows go in order, so what lies before the moved stretch can only be dead; and so can what a
     * row holds before the range: a trim may end in the middle of a row. */
    uint64_t first = m->first > old.first ? m->first : old.first;
    bool fits = old.bucket == from_bucket && old.table == from_table && m->next <= old.next &&
                (m->first == old.first || p->start >= first);
    if (!fits || any_below(p, (uint32_t)i, from_bucket)) {
        return false;
    }
    account_out(ix, p, &p->ranges[i]);
    uint64_t below = index_live_bytes(&old, first);
    struct index_range rest = old;
    rest.first = m->next;
    rest.bytes = below > m->bytes ? below - m->bytes : 0;
    *left = rest.first < rest.next ? rest.bytes : 0;

    p->ranges[i] = *m;
    p->ranges[i].first = first;
    struct index_range *prev = i > 0 ? &p->ranges[i - 1] : NULL;
    if (prev != NULL && prev->bucket == m->bucket && prev->table == m->table &&
        prev->next == first) {
        account_out(ix, p, prev);
        prev->next = m->next;
        prev->bytes += m->bytes;
        prev->min_ms = m->min_ms < prev->min_ms ? m->min_ms : prev->min_ms;
        prev->max_ms = m->max_ms > prev->max_ms ? m->max_ms : prev->max_ms;
        account_in(ix, p, prev);
        ranges_remove(p, i, 1);
        i--;
    } else {
        account_in(ix, p, &p->ranges[i]);
    }
    if (rest.first < rest.next) {
        ranges_insert(p, i + 1, &rest);
        account_in(ix, p, &p->ranges[i + 1]);
    }
    index_bucket(ix, m->bucket)->total += m->bytes;
    return true;
}

/* ---------------------------------------------------------------- recovery */

void index_add_range(struct index *ix, uint32_t partition, const struct index_range *r)
{
    struct index_part *p = index_part_make(ix, partition);
    size_t i = p->n;
    while (i > 0 && p->ranges[i - 1].first > r->first) {
        i--;
    }
    struct index_range *prev = i > 0 ? &p->ranges[i - 1] : NULL;
    if (prev != NULL && prev->bucket == r->bucket && prev->table == r->table &&
        prev->next == r->first) {
        prev->next = r->next;
        prev->bytes += r->bytes;
        prev->min_ms = r->min_ms < prev->min_ms ? r->min_ms : prev->min_ms;
        prev->max_ms = r->max_ms > prev->max_ms ? r->max_ms : prev->max_ms;
    } else {
        ranges_insert(p, i, r);
    }
}

void index_settle(struct index *ix, uint32_t partition)
{
    struct index_part *p = index_part_make(ix, partition);
    p->bytes = 0;
    if (p->next < p->start) {
        p->next = p->start;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        account_in(ix, p, &p->ranges[i]);
        if (p->ranges[i].next > p->next) {
            p->next = p->ranges[i].next;
        }
        p->last_ms = p->ranges[i].max_ms;
    }
}

bool index_dense(const struct index_part *part, size_t *i, uint64_t *expect)
{
    for (; *i < part->n; (*i)++) {
        const struct index_range *r = &part->ranges[*i];
        bool ok = *i == 0 ? r->first <= *expect : r->first == *expect;
        if (!ok) {
            return false;
        }
        *expect = r->next;
    }
    return true;
}
