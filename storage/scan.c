#include "storage/scan.h"

#include <string.h>

enum werr bucket_scan_open(struct bucket_scan *s, struct kv *kv, uint32_t bucket, bool with_hold,
                           struct werror *e)
{
    *s = (struct bucket_scan){.kv = kv};
    struct meta_key lo = log_meta_key(bucket, 0, 0), hi = log_bucket_end(bucket);
    for (int t = 0; t < TABLE_COUNT; t++) {
        if (!table_is_log((enum store_table)t) || (t == TABLE_HOLD && !with_hold)) {
            continue;
        }
        s->in[s->n].table = (enum store_table)t;
        enum werr rc = kv->ops->iter_open(kv, (enum store_table)t, key_slice(&lo), key_slice(&hi),
                                          true, &s->in[s->n].it, e);
        if (rc != WERR_OK) {
            return rc;
        }
        s->n++;
    }
    return WERR_OK;
}

static enum werr step(struct bucket_scan *s, unsigned i, struct werror *e)
{
    s->in[i].on_row = s->kv->ops->iter_next(s->in[i].it, &s->in[i].key, &s->in[i].value);
    if (!s->in[i].on_row) {
        return s->kv->ops->iter_error(s->in[i].it, e);
    }
    if (s->in[i].key.n != LOG_KEY_BYTES) {
        return werror_set(e, WERR_CORRUPT, "log row with a key of %zu bytes", s->in[i].key.n);
    }
    return WERR_OK;
}

enum werr bucket_scan_next(struct bucket_scan *s, struct scan_row *row, struct werror *e)
{
    for (unsigned i = 0; i < s->n; i++) {
        if (s->begun && i != s->last) {
            continue;
        }
        enum werr rc = step(s, i, e);
        if (rc != WERR_OK) {
            return rc;
        }
    }
    s->begun = true;
    int best = -1;
    for (unsigned i = 0; i < s->n; i++) {
        if (s->in[i].on_row &&
            (best < 0 || memcmp(s->in[i].key.p, s->in[best].key.p, LOG_KEY_BYTES) < 0)) {
            best = (int)i;
        }
    }
    if (best < 0) {
        s->last = s->n; /* nothing left to step */
        return WERR_NOT_FOUND;
    }
    s->last = (unsigned)best;
    uint32_t bucket = 0;
    log_key_parse(s->in[best].key.p, &bucket, &row->partition, &row->base);
    row->table = s->in[best].table;
    row->key = s->in[best].key;
    row->value = s->in[best].value;
    return WERR_OK;
}

void bucket_scan_close(struct bucket_scan *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        s->kv->ops->iter_close(s->in[i].it);
    }
    s->n = 0;
}

enum werr kv_scan(struct kv *kv, enum store_table t, struct slice lo, struct slice hi, scan_fn fn,
                  void *arg, struct werror *e)
{
    struct kv_iter *it = NULL;
    struct slice key, value;
    enum werr rc = kv->ops->iter_open(kv, t, lo, hi, true, &it, e);
    if (rc != WERR_OK) {
        return rc;
    }
    while (rc == WERR_OK && kv->ops->iter_next(it, &key, &value)) {
        rc = fn(arg, key, value);
    }
    if (rc == WERR_OK) {
        rc = kv->ops->iter_error(it, e);
    }
    kv->ops->iter_close(it);
    return rc;
}
