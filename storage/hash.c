#include "storage/hash.h"

#include "storage/rows.h"
#include "storage/scan.h"
#include "storage/store_priv.h"

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

uint64_t hash64(uint64_t seed, struct slice a)
{
    uint64_t h = mix(seed ^ (a.n * UINT64_C(0x9e3779b97f4a7c15)));
    const uint8_t *p = a.p;
    size_t n = a.n;
    for (; n >= 8; n -= 8, p += 8) {
        h = mix(h ^ be64(p));
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < n; i++) {
        tail = tail << 8 | p[i];
    }
    return mix(h ^ tail);
}

uint64_t row_hash_begin(enum store_table t, struct slice key, size_t value_bytes)
{
    return hash64((uint64_t)t << 56 ^ value_bytes, key);
}

uint64_t row_hash_batch(uint64_t hash, uint32_t crc)
{
    return mix(hash ^ crc);
}

/* ---------------------------------------------------------------- store_hash */

struct hashing {
    struct store *st;
    enum store_table table;
    uint64_t h;
    struct werror *e;
};

static void add(struct hashing *s, struct slice key, struct slice value)
{
    s->h = hash64(hash64(s->h ^ (uint64_t)s->table << 56, key), value);
}

/* The position's epoch and lsn differ between a leader and its followers by their opens. */
static enum werr hash_meta(void *arg, struct slice key, struct slice value)
{
    struct hashing *s = arg;
    struct applied a;
    if (s->table == TABLE_META && key.n == 1 && key.p[0] == META_APPLIED) {
        enum werr rc = applied_decode(value, &a, s->e);
        if (rc != WERR_OK) {
            return rc;
        }
        uint8_t v[APPLIED_BYTES];
        a.epoch = a.lsn = 0;
        applied_encode(v, &a);
        add(s, key, slice_of(v, sizeof(v)));
        return WERR_OK;
    }
    add(s, key, value);
    return WERR_OK;
}

/* First offset after a row. */
static uint64_t row_next(uint64_t base, struct slice value)
{
    struct batch_head h;
    while (value.n >= BATCH_HEAD) {
        batch_head_read(value.p, &h);
        if (h.length < BATCH_HEAD || h.length > value.n) {
            break;
        }
        base = h.base_offset + h.count;
        value = slice_of(value.p + h.length, value.n - h.length);
    }
    return base;
}

static enum werr hash_log(void *arg, struct slice key, struct slice value)
{
    struct hashing *s = arg;
    uint32_t bucket = 0, partition = 0;
    uint64_t base = 0;
    if (key.n != LOG_KEY_BYTES) {
        return werror_set(s->e, WERR_CORRUPT, "log row with a key of %zu bytes", key.n);
    }
    log_key_parse(key.p, &bucket, &partition, &base);
    const struct index_part *p = index_part(&s->st->ix, partition);
    if (p == NULL) {
        return WERR_OK;
    }
    /* Live = holds an offset from the log start on, and that offset's range points here. */
    uint64_t from = base > p->start ? base : p->start;
    size_t i = index_find(p, from);
    const struct index_range *r = i < p->n ? &p->ranges[i] : NULL;
    bool refers = r != NULL && r->bucket == bucket && r->table == (uint8_t)s->table &&
                  r->first < row_next(base, value) && from < row_next(base, value);
    if (refers) {
        add(s, key, value);
    }
    return WERR_OK;
}

enum werr store_hash(struct store *st, uint64_t *hash, struct werror *e)
{
    struct werror own;
    struct hashing s = {.st = st, .e = e != NULL ? e : &own};
    for (int t = 0; t < TABLE_COUNT; t++) {
        s.table = (enum store_table)t;
        struct slice all = {0};
        enum werr rc = kv_scan(st->kv, s.table, all, all,
                               table_is_log(s.table) ? hash_log : hash_meta, &s, s.e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    *hash = s.h;
    return WERR_OK;
}
