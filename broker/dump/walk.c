/*
 * The rows of the log tables and of DELAY.
 *
 * Happy path: store_scan hands out every row; a log row is looked up in the index (is it live?),
 * its batches are walked, each must begin where the one before ended, and every checksum must be
 * right. What can fail: a row that breaks a rule is a problem with its name; the walk goes on.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "broker/core/delay_impl.h"
#include "broker/dump/dump.h"

struct walk {
    struct dump *d;
    enum store_table table;
    bool verify;
};

/* The live range of a partition that an offset in this bucket lies in. */
static bool live(const struct dump *d, uint32_t partition, uint32_t bucket, uint64_t offset,
                 enum store_table table)
{
    struct store_range r;

    for (size_t i = 0; store_range_at(d->st, partition, i, &r); i++) {
        if (r.bucket == bucket && r.table == table && offset >= r.first && offset < r.next) {
            return true;
        }
    }
    return false;
}

static void walk_batches(struct walk *w, uint32_t bucket, uint32_t partition, uint64_t base,
                         struct slice run)
{
    struct werror e;
    struct batch_head h;
    struct slice batch;
    uint64_t at = base;
    enum werr rc;

    while ((rc = batch_next(&run, w->verify, &h, &batch, &e)) == WERR_OK) {
        if (h.base_offset != at) {
            dump_problem(w->d, "partition %u, bucket %u: batch at %" PRIu64 ", expected %" PRIu64,
                         partition, bucket, h.base_offset, at);
        }
        at = h.base_offset + h.count;
        w->d->batches++;
        w->d->messages += h.count;
    }
    if (rc != WERR_NOT_FOUND) {
        dump_problem(w->d, "partition %u, bucket %u, row of offset %" PRIu64 ": %s", partition,
                     bucket, base, e.text);
    }
    if (at > store_next_offset(w->d->st, partition)) {
        dump_problem(w->d, "partition %u: batches to %" PRIu64 ", the log ends at %" PRIu64,
                     partition, at, store_next_offset(w->d->st, partition));
    }
}

static enum werr log_row(void *arg, struct slice key, struct slice value)
{
    struct walk *w = arg;
    uint32_t bucket, partition;
    uint64_t base;

    w->d->rows[w->table]++;
    w->d->bytes[w->table] += value.n;
    if (key.n != LOG_KEY_BYTES) {
        dump_problem(w->d, "%zu bytes of key in a log table", key.n);
        return WERR_OK;
    }
    log_key_parse(key.p, &bucket, &partition, &base);
    if (live(w->d, partition, bucket, base, w->table)) {
        walk_batches(w, bucket, partition, base, value);
    } else {
        w->d->dead_rows++; /* trimmed, dropped or moved: its bucket is not given back yet */
    }
    return WERR_OK;
}

static enum werr delay_row(void *arg, struct slice key, struct slice value)
{
    struct walk *w = arg;
    uint64_t due, sequence;
    uint32_t partition;
    struct batch_head h;
    struct slice run, batch;
    struct werror e;

    w->d->rows[TABLE_DELAY]++;
    w->d->bytes[TABLE_DELAY] += value.n;
    if (!delay_key_parse(key, &due, &partition, &sequence) || value.n < 3 || value.p[0] != 1 ||
        value.n < 3U + be16(value.p + 1) + BATCH_HEAD) {
        dump_problem(w->d, "a delayed row with %zu and %zu bytes", key.n, value.n);
        return WERR_OK;
    }
    const uint16_t bits = be16(value.p + 1);
    run = slice_of(value.p + 3 + bits, value.n - 3 - bits);
    batch_head_read(run.p, &h);
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < h.count && i / 8 < bits; i++) {
        cancelled += (value.p[3 + i / 8] >> (i % 8)) & 1;
    }
    w->d->delayed += h.count - cancelled;
    if (cancelled < h.count && batch_next(&run, w->verify, &h, &batch, &e) != WERR_OK) {
        dump_problem(w->d, "delayed batch %" PRIu64 " of partition %u: %s", sequence, partition,
                     e.text);
    }
    return WERR_OK;
}

static enum werr meta_row(void *arg, struct slice key, struct slice value)
{
    struct walk *w = arg;

    w->d->rows[TABLE_META]++;
    w->d->bytes[TABLE_META] += value.n;
    if (key.n == 0 || key.p[0] >= DUMP_TAGS) {
        dump_problem(w->d, "a row of META of kind %u", key.n ? key.p[0] : 0U);
    } else {
        w->d->tags[key.p[0]]++;
    }
    return WERR_OK;
}

void dump_walk(struct dump *d, bool verify)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        struct walk w = {.d = d, .table = (enum store_table)t, .verify = verify};
        struct werror e;
        const store_row_fn fn = table_is_log(w.table)    ? log_row
                                : w.table == TABLE_DELAY ? delay_row
                                                         : meta_row;
        if (store_scan(d->st, w.table, slice_of(NULL, 0), slice_of(NULL, 0), fn, &w, &e) !=
            WERR_OK) {
            dump_problem(d, "table %d cannot be read to its end: %s", t, e.text);
        }
    }
}
