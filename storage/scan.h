#ifndef WEIR_STORAGE_SCAN_H
#define WEIR_STORAGE_SCAN_H
/* One pass over all rows of a bucket, over its tables, in (partition, offset) order. */
#include "storage/kv.h"

enum { SCAN_TABLES = 5 };
struct bucket_scan {
    struct kv *kv;
    struct {
        struct kv_iter *it;
        enum store_table table;
        struct slice key, value;
        bool on_row;
    } in[SCAN_TABLES];
    unsigned n, last; /* last: the one that gave the row before */
    bool begun;
};
struct scan_row {
    enum store_table table;
    uint32_t partition;
    uint64_t base;
    struct slice key, value; /* valid until the next call */
};
/* with_hold: TABLE_HOLD too. Close it on error as well. */
enum werr bucket_scan_open(struct bucket_scan *s, struct kv *kv, uint32_t bucket, bool with_hold,
                           struct werror *e) WEIR_NODISCARD;
/* WERR_NOT_FOUND at the end. */
enum werr bucket_scan_next(struct bucket_scan *s, struct scan_row *row,
                           struct werror *e) WEIR_NODISCARD;
void bucket_scan_close(struct bucket_scan *s);

/* Calls fn for every row of [lo, hi) of a table; fn returns non-OK to stop. */
typedef enum werr (*scan_fn)(void *arg, struct slice key, struct slice value);
enum werr kv_scan(struct kv *kv, enum store_table t, struct slice lo, struct slice hi, scan_fn fn,
                  void *arg, struct werror *e) WEIR_NODISCARD;

#endif
