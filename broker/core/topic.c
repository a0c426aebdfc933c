/*
 * Topics in memory: found by id through a hash, by name through a sorted array (which also gives
 * the listing its order), and their row in the store.
 *
 * What can fail: loading a row that is damaged or newer. Who owns what: core owns topics, a topic
 * its partitions and slot table.
 */
#include <assert.h>

#include "broker/core/core_impl.h"
#include "broker/core/mem.h"
#include "broker/core/slots.h"
#include "proto/mpread.h"
#include "proto/mpwrite.h"

enum { TOPIC_ROW_VERSION = 1 };

static struct slice name_of(const struct core_topic *t)
{
    return slice_of(t->name, t->name_n);
}

static int name_compare(struct slice a, struct slice b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* First position whose name is >= name, or > name with `after`. */
static size_t name_position(const struct core *co, struct slice name, bool after)
{
    size_t lo = 0, hi = co->n_names;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = name_compare(name_of(co->names[mid]), name);
        if (c < 0 || (after && c == 0)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* ---------------------------------------------------------------- life */

struct core_topic *topic_new(struct core *co, struct slice name, uint64_t tid,
                             const struct topic_config *c, int64_t created_ms)
{
    struct core_topic *t = core_calloc(1, sizeof *t + name.n);

    t->core = co;
    t->tid = tid;
    t->conf = *c;
    t->created_ms = created_ms;
    t->name_n = (uint8_t)name.n;
    memcpy(t->name, name.p, name.n);
    return t;
}

void topic_free(struct core *co, struct core_topic *t)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        part_free(co, t->parts[p]);
    }
    free(t->parts);
    free(t->slots);
    free(t);
}

static void names_reserve(struct core *co)
{
    if (co->n_names == co->cap_names) {
        co->cap_names = co->cap_names > 0 ? co->cap_names * 2 : 64;
        co->names = core_realloc(co->names, co->cap_names, sizeof(struct core_topic *));
    }
}

void topic_link(struct core *co, struct core_topic *t)
{
    const size_t at = name_position(co, name_of(t), false);

    names_reserve(co);
    memmove(co->names + at + 1, co->names + at, (co->n_names - at) * sizeof *co->names);
    co->names[at] = t;
    co->n_names++;
    co->n_hidden += t->hidden;
    HASH_ADD(hh, co->topics, tid, sizeof t->tid, t);
}

void topic_unlink(struct core *co, struct core_topic *t)
{
    const size_t at = name_position(co, name_of(t), false);

    assert(co->names[at] == t);
    co->n_names--;
    co->n_hidden -= t->hidden;
    memmove(co->names + at, co->names + at + 1, (co->n_names - at) * sizeof *co->names);
    HASH_DEL(co->topics, t);
}

void topic_set_parts(struct core *co, struct core_topic *t, uint32_t n, const uint32_t *ids)
{
    t->parts = core_realloc(t->parts, n, sizeof(struct part *));
    for (uint32_t p = t->n_parts; p < n; p++) {
        t->parts[p] = part_new(co, t, p, ids[p]);
    }
    t->n_parts = n;
}

/* ---------------------------------------------------------------- finding */

struct core_topic *topic_lookup(struct core *co, struct slice name)
{
    const size_t at = name_position(co, name, false);

    return at < co->n_names && slice_eq(name_of(co->names[at]), name) ? co->names[at] : NULL;
}

struct core_topic *core_topic_by_name(struct core *co, struct slice name)
{
    struct core_topic *t = topic_lookup(co, name);

    return t != NULL && !t->hidden ? t : NULL;
}

struct core_topic *core_topic_by_id(struct core *co, uint64_t tid)
{
    struct core_topic *t = NULL;

    HASH_FIND(hh, co->topics, &tid, sizeof tid, t);
    return t != NULL && !t->hidden ? t : NULL;
}

struct core_topic *core_topic_after(struct core *co, struct slice name)
{
    for (size_t at = name.n > 0 ? name_position(co, name, true) : 0; at < co->n_names; at++) {
        if (!co->names[at]->hidden) {
            return co->names[at];
        }
    }
    return NULL;
}

struct part *topic_part(struct core *co, uint64_t tid, uint32_t p, bool deleting, struct werror *e)
{
    struct core_topic *t = NULL;

    HASH_FIND(hh, co->topics, &tid, sizeof tid, t);
    if (t == NULL || (t->hidden && !(t->deleting && deleting))) {
        werror_set(e, WERR_UNKNOWN_TOPIC, "no topic has id %llu", (unsigned long long)tid);
        return NULL;
    }
    if (p >= t->n_parts) {
        werror_set(e, WERR_UNKNOWN_TOPIC, "topic %.*s has partitions 0 to %u, not %u",
                   (int)t->name_n, t->name, t->n_parts - 1, p);
        return NULL;
    }
    return t->parts[p];
}

/* ---------------------------------------------------------------- what the shell asks */

size_t core_topic_count(const struct core *co)
{
    return co->n_names - co->n_hidden;
}

uint64_t core_metadata_version(const struct core *co)
{
    return co->version;
}

struct slice core_topic_name(const struct core_topic *t)
{
    return name_of(t);
}

uint64_t core_topic_id(const struct core_topic *t)
{
    return t->tid;
}

int64_t core_topic_created_ms(const struct core_topic *t)
{
    return t->created_ms;
}

const struct topic_config *core_topic_config(const struct core_topic *t)
{
    return &t->conf;
}

void core_topic_layout(const struct core_topic *t, struct msg_part_meta *parts,
                       struct msg_slot_run *runs, size_t *n_runs)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        parts[p] = (struct msg_part_meta){
            .p = p, .broker = t->core->conf.broker_id, .epoch = t->core->epoch};
    }
    *n_runs = slots_runs(t->slots, t->n_parts, runs);
}

void core_topic_stats(struct core *co, const struct core_topic *t, struct msg_part_stat *parts)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        const struct part *pt = t->parts[p];
        parts[p] = (struct msg_part_stat){.p = p,
                                          .epoch = co->epoch,
                                          .log_start = part_start(co, pt),
                                          .hw = pt->hw,
                                          .bytes = store_partition_bytes(co->st, pt->id),
                                          .last_append_ms = pt->last_append_ms};
    }
}

/* ---------------------------------------------------------------- the row */

struct meta_key topic_key(uint64_t tid)
{
    return meta_key_32_32(META_TOPIC, (uint32_t)(tid >> 32), (uint32_t)tid);
}

/* [version, tid, name, created_ms, {config}, [[first id, count]...], nil | [[count, p]...]] */
void topic_encode(const struct core_topic *t, const struct topic_config *c, const uint32_t *ids,
                  const uint16_t *slots, struct buf *out)
{
    struct msg_slot_run runs[LIMIT_SLOTS];
    uint32_t n_id_runs = 0;

    for (uint32_t p = 0; p < c->partitions; p++) {
        n_id_runs += p == 0 || ids[p] != ids[p - 1] + 1;
    }
    mpw_array(out, 7);
    mpw_uint(out, TOPIC_ROW_VERSION);
    mpw_uint(out, t->tid);
    mpw_str(out, name_of(t));
    mpw_int(out, t->created_ms);
    topic_config_put(out, c, true);
    mpw_array(out, n_id_runs);
    for (uint32_t p = 0; p < c->partitions;) {
        uint32_t n = 1;
        while (p + n < c->partitions && ids[p + n] == ids[p] + n) {
            n++;
        }
        mpw_array(out, 2);
        mpw_uint(out, ids[p]);
        mpw_uint(out, n);
        p += n;
    }
    if (slots == NULL) {
        mpw_nil(out);
        return;
    }
    const size_t n_runs = slots_runs(slots, c->partitions, runs);
    mpw_array(out, n_runs);
    for (size_t i = 0; i < n_runs; i++) {
        mpw_array(out, 2);
        mpw_uint(out, runs[i].count);
        mpw_uint(out, runs[i].p);
    }
}

/* Partition numbers of a row; false: damaged. */
static bool read_ids(struct mpread *r, uint32_t *ids, uint32_t n)
{
    const uint32_t runs = mpread_array(r);
    uint32_t got = 0;

    for (uint32_t i = 0; i < runs && r->err == WERR_OK; i++) {
        if (mpread_array(r) != 2) {
            return false;
        }
        const uint32_t first = (uint32_t)mpread_uint(r, UINT32_MAX);
        const uint32_t count = (uint32_t)mpread_uint(r, LIMIT_PARTITIONS);
        if (r->err != WERR_OK || count > n - got) {
            return false;
        }
        for (uint32_t k = 0; k < count; k++) {
            ids[got++] = first + k;
        }
    }
    return r->err == WERR_OK && got == n;
}

/* NULL in *slots: contiguous. The caller frees it, also after false. */
static bool read_slots(struct mpread *r, uint32_t n_parts, uint16_t **slots)
{
    uint32_t at = 0;

    *slots = NULL;
    if (mpread_nil(r)) {
        return true;
    }
    const uint32_t runs = mpread_array(r);
    *slots = core_calloc(LIMIT_SLOTS, sizeof **slots);
    for (uint32_t i = 0; i < runs && r->err == WERR_OK; i++) {
        if (mpread_array(r) != 2) {
            return false;
        }
        uint32_t count = (uint32_t)mpread_uint(r, LIMIT_SLOTS - at);
        const uint32_t p = (uint32_t)mpread_uint(r, n_parts - 1);
        for (; count > 0 && r->err == WERR_OK; count--) {
            (*slots)[at++] = (uint16_t)p;
        }
    }
    return r->err == WERR_OK && at == LIMIT_SLOTS;
}

static enum werr load_row(void *arg, struct slice key, struct slice value)
{
    struct core *co = arg;
    struct topic_config c;
    struct mpread r;
    uint32_t ids[LIMIT_PARTITIONS];
    uint16_t *slots = NULL;

    mpread_init(&r, value.p, value.n);
    const uint32_t n = mpread_array(&r);
    const uint64_t version = mpread_uint(&r, UINT32_MAX);
    if (r.err == WERR_OK && version > TOPIC_ROW_VERSION) {
        return WERR_FORMAT_NEWER;
    }
    const uint64_t tid = mpread_uint(&r, LIMIT_UINT);
    const struct slice name = mpread_str(&r, LIMIT_TOPIC_NAME);
    const int64_t created_ms = mpread_int(&r, INT64_MIN, INT64_MAX);
    const struct meta_key want = topic_key(tid);
    topic_config_defaults(&c);
    if (n != 7 || r.err != WERR_OK || topic_config_get(&r, false, &c, NULL) != WERR_OK ||
        !slice_eq(key, key_slice(&want)) || !read_ids(&r, ids, c.partitions) ||
        !read_slots(&r, c.partitions, &slots) || !mpread_done(&r)) {
        free(slots);
        return WERR_CORRUPT;
    }
    struct core_topic *t = topic_new(co, name, tid, &c, created_ms);
    t->slots = slots;
    topic_set_parts(co, t, c.partitions, ids);
    names_reserve(co); /* sorted once, at the end */
    co->names[co->n_names++] = t;
    HASH_ADD(hh, co->topics, tid, sizeof t->tid, t);
    return WERR_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct core_topic *const *x = a, *const *y = b;

    return name_compare(name_of(*x), name_of(*y));
}

static int by_id(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;

    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

void topic_parts(const struct core *co, struct part_list *l)
{
    size_t n = 0;

    for (size_t i = 0; i < co->n_names; i++) {
        n += co->names[i]->n_parts;
    }
    *l = (struct part_list){core_calloc(n, sizeof(struct part *)), 0};
    for (size_t i = 0; i < co->n_names; i++) {
        const struct core_topic *t = co->names[i];
        for (uint32_t p = 0; p < t->n_parts; p++) {
            l->p[l->n++] = t->parts[p];
        }
    }
    if (n > 0) {
        qsort(l->p, n, sizeof(struct part *), by_id);
    }
}

struct part *part_list_find(const struct part_list *l, uint32_t id)
{
    size_t lo = 0, hi = l->n;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (l->p[mid]->id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < l->n && l->p[lo]->id == id ? l->p[lo] : NULL;
}

enum werr topic_load(struct core *co, struct werror *e)
{
    const struct meta_key lo = meta_key(META_TOPIC), hi = meta_key_after(&lo);
    struct werror why = {0};
    const enum werr rc =
        store_scan(co->st, TABLE_META, key_slice(&lo), key_slice(&hi), load_row, co, &why);

    if (rc == WERR_OK) {
        if (co->n_names > 0) {
            qsort(co->names, co->n_names, sizeof(struct core_topic *), by_name);
        }
        for (size_t i = 1; i < co->n_names; i++) {
            if (by_name(&co->names[i - 1], &co->names[i]) == 0) {
                return werror_set(e, WERR_CORRUPT, "two topics are called %.*s",
                                  (int)co->names[i]->name_n, co->names[i]->name);
            }
        }
        return WERR_OK;
    }
    return why.code != WERR_OK
               ? werror_set(e, rc, "topics: %s", why.text)
               : werror_set(e, rc, "a topic row is damaged (%zu topics read before it)",
                            co->n_names);
}
