/*
 * What the store reads back from disk, decoder by decoder; byte 0 picks one. What is accepted can
 * be written and read back as the same. Bit 7 of byte 0 makes the checksum right, where there is
 * one.
 */
#include <stdlib.h>

#include "proto/crc32c.h"
#include "storage/floor.h"
#include "storage/keys.h"
#include "storage/rep.h"
#include "storage/rows.h"
#include "tests/fuzz/target.h"

static volatile uint32_t sink;

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void keys(struct slice s)
{
    uint64_t due, seq, base;
    uint32_t part, bucket;
    struct meta_key k, end;

    if (delay_key_parse(s, &due, &part, &seq)) {
        k = delay_key(due, part, seq);
        must(k.n == s.n && memcmp(k.p, s.p, s.n) == 0);
    }
    if (s.n < LOG_KEY_BYTES) {
        return;
    }
    log_key_parse(s.p, &bucket, &part, &base);
    k = log_meta_key(bucket, part, base);
    must(k.n == LOG_KEY_BYTES && memcmp(k.p, s.p, LOG_KEY_BYTES) == 0);
    end = log_bucket_end(bucket);
    must(bucket == UINT32_MAX || memcmp(end.p, k.p, 4) > 0);
    end = meta_key_after(&k);
    must(end.n == 0 || memcmp(end.p, k.p, end.n < k.n ? end.n : k.n) > 0);
}

static void applied(struct slice s)
{
    struct applied a;
    struct werror e = {0};
    uint8_t out[APPLIED_BYTES];

    if (applied_decode(s, &a, &e) == WERR_OK) {
        applied_encode(out, &a);
        must(s.n == sizeof out && memcmp(out, s.p, sizeof out) == 0);
    } else {
        must(e.text[0] != '\0');
    }
}

static void identity(struct slice s)
{
    struct identity id;
    struct werror e = {0};
    struct buf b = {0};

    if (identity_decode(s, &id, &e) == WERR_OK) {
        identity_encode(&b, &id);
        must(b.len == s.n && memcmp(b.p, s.p, s.n) == 0);
        buf_fini(&b);
    } else {
        must(e.text[0] != '\0');
    }
}

static void moved(struct slice s)
{
    struct moved_row m;
    struct werror e = {0};
    uint8_t out[MOVED_BYTES];

    if (moved_row_decode(s, &m, &e) == WERR_OK) {
        moved_row_encode(out, &m);
        must(s.n == sizeof out && memcmp(out, s.p, sizeof out) == 0);
    } else {
        must(e.text[0] != '\0');
    }
}

/* The first five bytes are the key. */
static void bucket(struct slice s)
{
    struct bucket_row row;
    struct index_range r;
    struct werror e = {0};
    uint32_t p;
    size_t steps = 0;
    enum werr rc;

    if (s.n < 5) {
        return;
    }
    rc = bucket_row_open(&row, slice_of(s.p, 5), slice_of(s.p + 5, s.n - 5), &e);
    while (rc == WERR_OK) {
        rc = bucket_row_next(&row, &p, &r, &e);
        must(rc != WERR_OK || (r.next > r.first && r.bucket == row.bucket));
        must(++steps <= s.n); /* every range takes a byte at least */
    }
    must(rc == WERR_NOT_FOUND || e.text[0] != '\0');
}

static void floor_file(struct slice s, bool right)
{
    uint8_t *copy = malloc(s.n + 1);
    struct kv_floor f;
    struct floor_mark *marks = NULL;
    struct werror e = {0};
    struct buf b = {0};

    must(copy != NULL);
    memcpy(copy, s.p, s.n);
    if (right && s.n >= 20) {
        put_be32(copy + 12, (uint32_t)(s.n - 20)); /* of the body */
        put_be32(copy + s.n - 4, crc32c(copy, s.n - 4));
    }
    if (floor_decode(slice_of(copy, s.n), &f, &marks, &e) == WERR_OK) {
        struct kv_floor g;
        struct floor_mark *again = NULL;

        must(memchr(f.wal_name, 0, sizeof f.wal_name) != NULL);
        floor_encode(&b, &f);
        must(floor_decode(slice_of(b.p, b.len), &g, &again, &e) == WERR_OK);
        must(g.seq == f.seq && g.epoch == f.epoch && g.lsn == f.lsn && g.clean == f.clean &&
             g.n_marks == f.n_marks && strcmp(g.wal_name, f.wal_name) == 0 &&
             memcmp(marks, again, g.n_marks * sizeof *marks) == 0);
        free(again);
        free(marks);
        buf_fini(&b);
    } else {
        must(e.text[0] != '\0' && marks == NULL);
    }
    free(copy);
}

static void record(struct slice s)
{
    struct rep_iter it;
    struct rep_op op;
    struct werror e = {0};
    struct buf again = {0};
    uint32_t n = 0;
    enum werr rc = rep_open(&it, s, &e);

    rep_begin(&again);
    while (rc == WERR_OK) {
        rc = rep_next(&it, &op, &e);
        if (rc != WERR_OK) {
            break;
        }
        n++;
        sink += crc32c(op.key.p, op.key.n) + crc32c(op.value.p, op.value.n); /* reads all of it */
        must(op.table < TABLE_COUNT);
        if (op.kind == REP_PUT) {
            rep_put(&again, op.table, op.key, op.value);
        } else if (op.kind == REP_DELETE) {
            rep_delete(&again, op.table, op.key);
        } else {
            rep_delete_range(&again, op.table, op.key, op.value);
        }
    }
    if (rc == WERR_NOT_FOUND) {
        must(rep_count(&again) == n);
        must(again.len <= s.n); /* we write the shortest lengths */
    } else {
        must(e.text[0] != '\0');
    }
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice s = slice_of(data + 1, n - 1);

    if (n == 0) {
        return 0;
    }
    switch (data[0] & 7) {
    case 0:
        keys(s);
        break;
    case 1:
        applied(s);
        break;
    case 2:
        identity(s);
        break;
    case 3:
        moved(s);
        break;
    case 4:
        bucket(s);
        break;
    case 5:
        floor_file(s, (data[0] & 0x80) != 0);
        break;
    default:
        record(s);
        break;
    }
    return 0;
}
