/*
 * Happy path: apply walks a record and changes skip lists under the write lock; a cursor takes the
 * read lock for each step, finds the next key after its own, and copies the row.
 * What can fail: a record that does not decode (nothing of it is applied), memory for a row's copy.
 * Who owns what: the memkv owns all rows; a cursor owns copies, so a row may vanish under it.
 */
#include "storage/kv_mem.h"

#include <pthread.h>

#include "storage/alloc.h"
#include "storage/rep.h"

enum { LEVELS = 16 };

struct row {
    uint32_t key_n, value_n;
    uint8_t *value;
    unsigned n_levels;
    struct row *next[]; /* n_levels of them, then the key's bytes */
};

struct memtable {
    struct row *head[LEVELS];
};

struct memkv {
    pthread_rwlock_t lock;
    struct memtable tables[TABLE_COUNT];
    uint64_t bytes;
    uint64_t random;
};

struct kv_mem {
    struct kv base;
    struct memkv *m;
};

struct kv_iter {
    struct memkv *m;
    enum store_table table;
    struct buf lo, hi;
    struct buf key, value; /* copies of the row it stands on */
    bool begun;
    bool failed;
};

static const uint8_t *row_key(const struct row *r)
{
    return (const uint8_t *)(const void *)&r->next[r->n_levels];
}

static int key_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int row_cmp(const struct row *r, struct slice key)
{
    return key_cmp(slice_of(row_key(r), r->key_n), key);
}

/*
 * Fills links[level] with the pointer that leads past all rows < key (<= key when after), and
 * returns the row behind it. *before = the last of those rows, NULL = none.
 */
static struct row *seek(struct memtable *t, struct slice key, bool after,
                        struct row **links[LEVELS], struct row **before)
{
    struct row *at = NULL;
    for (int level = LEVELS - 1; level >= 0; level--) {
        struct row **link = at != NULL ? &at->next[level] : &t->head[level];
        while (*link != NULL) {
            int c = row_cmp(*link, key);
            if (c > 0 || (c == 0 && !after)) {
                break;
            }
            at = *link;
            link = &at->next[level];
        }
        if (links != NULL) {
            links[level] = link;
        }
        if (level == 0) {
            if (before != NULL) {
                *before = at;
            }
            return *link;
        }
    }
    return NULL;
}

static unsigned random_levels(struct memkv *m)
{
    /* xorshift64: the shape of the list is the same in every run. */
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    unsigned n = 1;
    for (uint64_t r = m->random; n < LEVELS && (r & 3) == 0; r >>= 2) {
        n++;
    }
    return n;
}

static uint8_t *copy_of(struct slice s)
{
    uint8_t *p = must_calloc(s.n, 1);
    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    return p;
}

static void put(struct memkv *m, struct memtable *t, struct slice key, struct slice value)
{
    struct row **links[LEVELS];
    struct row *r = seek(t, key, false, links, NULL);
    if (r != NULL && row_cmp(r, key) == 0) {
        m->bytes -= r->value_n;
        free(r->value);
    } else {
        unsigned n = random_levels(m);
        r = must_calloc(1, sizeof(*r) + n * sizeof(r->next[0]) + key.n);
        r->n_levels = n;
        r->key_n = (uint32_t)key.n;
        if (key.n > 0) {
            memcpy(&r->next[n], key.p, key.n);
        }
        for (unsigned i = 0; i < n; i++) {
            r->next[i] = *links[i];
            *links[i] = r;
        }
        m->bytes += key.n;
    }
    r->value = copy_of(value);
    r->value_n = (uint32_t)value.n;
    /* NOLINTNEXTLINE(clang-analyzer-*): r hangs in the list */
    m->bytes += value.n;
}

/* Deletes rows from lo on, up to hi (all when hi.n == 0), or the one row when one. */
static void erase(struct memkv *m, struct memtable *t, struct slice lo, struct slice hi, bool one)
{
    struct row **links[LEVELS];
    struct row *r = seek(t, lo, false, links, NULL);
    while (r != NULL) {
        bool hit = one ? row_cmp(r, lo) == 0 : hi.n == 0 || row_cmp(r, hi) < 0;
        if (!hit) {
            break;
        }
        struct row *next = r->next[0];
        for (unsigned i = 0; i < r->n_levels; i++) {
            *links[i] = r->next[i];
        }
        m->bytes -= r->key_n + (uint64_t)r->value_n;
        free(r->value);
        free(r);
        r = one ? NULL : next;
    }
}

enum werr memkv_apply(struct memkv *m, struct slice rep, struct werror *e)
{
    struct rep_iter it;
    struct rep_op op;
    /* All or nothing: first see that it decodes to the end. */
    enum werr rc = rep_open(&it, rep, e);
    while (rc == WERR_OK) {
        rc = rep_next(&it, &op, e);
    }
    if (rc != WERR_NOT_FOUND) {
        return rc;
    }
    pthread_rwlock_wrlock(&m->lock);
    rc = rep_open(&it, rep, e);
    while (rc == WERR_OK) {
        rc = rep_next(&it, &op, e);
        if (rc != WERR_OK) {
            break;
        }
        struct memtable *t = &m->tables[op.table];
        if (op.kind == REP_PUT) {
            put(m, t, op.key, op.value);
        } else if (op.kind == REP_DELETE) {
            erase(m, t, op.key, op.key, true);
        } else if (key_cmp(op.key, op.value) < 0) {
            erase(m, t, op.key, op.value, false);
        }
    }
    pthread_rwlock_unlock(&m->lock);
    return rc == WERR_NOT_FOUND ? WERR_OK : rc;
}

/* ---------------------------------------------------------------- kv_ops */

static struct memkv *memkv_of(struct kv *k)
{
    return ((struct kv_mem *)(void *)k)->m;
}

static enum werr mem_apply(struct kv *k, struct slice rep, struct werror *e)
{
    return memkv_apply(memkv_of(k), rep, e);
}

static enum werr mem_get(struct kv *k, enum store_table t, struct slice key, struct buf *out,
                         struct werror *e)
{
    struct memkv *m = memkv_of(k);
    pthread_rwlock_rdlock(&m->lock);
    struct row *r = seek(&m->tables[t], key, false, NULL, NULL);
    bool hit = r != NULL && row_cmp(r, key) == 0;
    if (hit) {
        buf_put(out, r->value, r->value_n);
    }
    pthread_rwlock_unlock(&m->lock);
    if (!hit) {
        return werror_set(e, WERR_NOT_FOUND, "no such row");
    }
    return out->failed ? werror_set(e, WERR_NOMEM, "no memory for a row") : WERR_OK;
}

static enum werr mem_iter_open(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                               bool bulk, struct kv_iter **out, struct werror *e)
{
    (void)bulk;
    (void)e;
    struct kv_iter *it = must_calloc(1, sizeof(*it));
    it->m = memkv_of(k);
    it->table = t;
    buf_put(&it->lo, lo.p, lo.n);
    buf_put(&it->hi, hi.p, hi.n);
    *out = it;
    return WERR_OK;
}

/* Stands on r when it lies inside [lo, hi). With the read lock. */
static bool stand_on(struct kv_iter *it, const struct row *r, struct slice *key,
                     struct slice *value)
{
    if (r == NULL || (it->hi.len > 0 && row_cmp(r, buf_slice(&it->hi)) >= 0) ||
        row_cmp(r, buf_slice(&it->lo)) < 0) {
        return false;
    }
    buf_clear(&it->key);
    buf_clear(&it->value);
    buf_put(&it->key, row_key(r), r->key_n);
    buf_put(&it->value, r->value, r->value_n);
    it->failed = it->key.failed || it->value.failed;
    it->begun = true;
    *key = buf_slice(&it->key);
    *value = buf_slice(&it->value);
    return !it->failed;
}

static bool mem_iter_next(struct kv_iter *it, struct slice *key, struct slice *value)
{
    if (it->failed) {
        return false;
    }
    pthread_rwlock_rdlock(&it->m->lock);
    struct memtable *t = &it->m->tables[it->table];
    struct slice from = buf_slice(it->begun ? &it->key : &it->lo);
    bool ok = stand_on(it, seek(t, from, it->begun, NULL, NULL), key, value);
    pthread_rwlock_unlock(&it->m->lock);
    return ok;
}

static bool mem_iter_seek_floor(struct kv_iter *it, struct slice target, struct slice *key,
                                struct slice *value)
{
    if (it->failed) {
        return false;
    }
    struct row *before = NULL;
    pthread_rwlock_rdlock(&it->m->lock);
    struct slice hi = buf_slice(&it->hi);
    bool past = hi.n > 0 && key_cmp(target, hi) >= 0;
    seek(&it->m->tables[it->table], past ? hi : target, !past, NULL, &before);
    bool ok = stand_on(it, before, key, value);
    pthread_rwlock_unlock(&it->m->lock);
    return ok;
}

static enum werr mem_iter_error(struct kv_iter *it, struct werror *e)
{
    return it->failed ? werror_set(e, WERR_NOMEM, "no memory for a row") : WERR_OK;
}

static void mem_iter_close(struct kv_iter *it)
{
    if (it == NULL) {
        return;
    }
    buf_fini(&it->lo);
    buf_fini(&it->hi);
    buf_fini(&it->key);
    buf_fini(&it->value);
    free(it);
}

static enum werr mem_reclaim(struct kv *k, enum store_table t, struct slice lo, struct slice hi,
                             struct werror *e)
{
    struct memkv *m = memkv_of(k);
    (void)e;
    pthread_rwlock_wrlock(&m->lock);
    erase(m, &m->tables[t], lo, hi, false);
    pthread_rwlock_unlock(&m->lock);
    return WERR_OK;
}

static enum werr mem_checkpoint(struct kv *k, const char *dir, int64_t wall_ms, struct werror *e)
{
    (void)k;
    (void)wall_ms;
    return werror_set(e, WERR_MISUSE, "a store in memory has no checkpoint (%s)", dir);
}

static void mem_stats(struct kv *k, struct kv_stats *s)
{
    struct memkv *m = memkv_of(k);
    pthread_rwlock_rdlock(&m->lock);
    *s = (struct kv_stats){.disk_bytes = m->bytes, .memory_bytes = m->bytes};
    pthread_rwlock_unlock(&m->lock);
}

static void mem_close(struct kv *k)
{
    free(k);
}

static const struct kv_ops mem_ops = {
    .name = "memory",
    .apply = mem_apply,
    .get = mem_get,
    .iter_open = mem_iter_open,
    .iter_next = mem_iter_next,
    .iter_seek_floor = mem_iter_seek_floor,
    .iter_error = mem_iter_error,
    .iter_close = mem_iter_close,
    .bucket_end = NULL,
    .reclaim = mem_reclaim,
    .checkpoint = mem_checkpoint,
    .stats = mem_stats,
    .floor_write = NULL,
    .close = mem_close,
};

struct kv *memkv_open(struct memkv *m)
{
    struct kv_mem *k = must_calloc(1, sizeof(*k));
    k->base.ops = &mem_ops;
    k->m = m;
    return &k->base;
}

struct memkv *memkv_new(void)
{
    struct memkv *m = must_calloc(1, sizeof(*m));
    m->random = UINT64_C(0x9e3779b97f4a7c15);
    pthread_rwlock_init(&m->lock, NULL);
    return m;
}

void memkv_clear(struct memkv *m)
{
    struct slice all = {0};
    for (int t = 0; t < TABLE_COUNT; t++) {
        erase(m, &m->tables[t], all, all, false);
    }
}

void memkv_free(struct memkv *m)
{
    if (m == NULL) {
        return;
    }
    memkv_clear(m);
    pthread_rwlock_destroy(&m->lock);
    free(m);
}
