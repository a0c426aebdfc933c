/*
 * The rows of groups, windows and delay, and how they fit to partitions and to each other. The
 * layouts are read as docs/STORAGE_FORMAT.md describes them, not through the broker's own decoders.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/group_impl.h"
#include "broker/core/window.h"
#include "broker/dump/dump.h"

enum { POSITION_BYTES = 26, SETTLED_BYTES = 1 + 16 * 8, LEASE_BYTES = 65, RETRY_BYTES = 38 };
enum { CHUNK = 1024 };

/* What is known of the group and partition whose rows are being walked. */
struct pair {
    struct dump *d;
    uint32_t partition;
    uint64_t group;
    uint64_t position, next;
    bool known;
};

static bool group_exists(const struct dump *d, uint64_t gid)
{
    const struct meta_key k = meta_key_64(META_GROUP, gid);
    struct buf b = {0};
    struct werror e;
    const bool there = store_get(d->st, TABLE_META, key_slice(&k), &b, &e) == WERR_OK;

    buf_fini(&b);
    return there;
}

static uint64_t position_of(const struct dump *d, uint32_t partition, uint64_t gid, bool *there)
{
    const struct meta_key k = meta_key_32_64(META_GPART, partition, gid);
    struct buf b = {0};
    struct werror e;
    uint64_t position = 0;

    *there = store_get(d->st, TABLE_META, key_slice(&k), &b, &e) == WERR_OK &&
             b.len >= POSITION_BYTES && b.p[0] == 1;
    if (*there) {
        position = be64(b.p + 1);
    }
    buf_fini(&b);
    return position;
}

/* Turns to the group and partition of a row's key. @return false: there are none. */
static bool turn_to(struct pair *q, struct slice key, const char *kind)
{
    const uint32_t partition = be32(key.p + 1);
    const uint64_t group = be64(key.p + 5);

    if (q->known && q->partition == partition && q->group == group) {
        return true;
    }
    bool there;
    q->partition = partition;
    q->group = group;
    q->position = position_of(q->d, partition, group, &there);
    q->next = store_next_offset(q->d->st, partition);
    q->known = group_exists(q->d, group) && dump_part(q->d, partition) != NULL;
    if (!q->known) {
        dump_problem(q->d, "a %s of group %" PRIu64 " in partition %u: one of them does not exist",
                     kind, group, partition);
    }
    return q->known;
}

static enum werr position_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;

    if (key.n != 13 || value.n < POSITION_BYTES || value.p[0] != 1) {
        dump_problem(q->d, "a position with %zu and %zu bytes", key.n, value.n);
    } else if (turn_to(q, key, "position") && be64(value.p + 1) > q->next) {
        dump_problem(
            q->d, "group %" PRIu64 ", partition %u: position %" PRIu64 ", the log ends at %" PRIu64,
            q->group, q->partition, be64(value.p + 1), q->next);
    }
    return WERR_OK;
}

static enum werr settled_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;

    if (key.n != 21 || value.n != SETTLED_BYTES || value.p[0] != 1) {
        dump_problem(q->d, "settled bits with %zu and %zu bytes", key.n, value.n);
        return WERR_OK;
    }
    if (!turn_to(q, key, "settled chunk")) {
        return WERR_OK;
    }
    const uint64_t first = be64(key.p + 13) * CHUNK;
    for (uint64_t i = 0; i < CHUNK; i++) {
        const bool set = (be64(value.p + 1 + i / 64 * 8) >> (i % 64)) & 1;
        if (set && first + i >= q->next) {
            dump_problem(q->d,
                         "group %" PRIu64 ", partition %u: %" PRIu64
                         " is settled, the log ends at %" PRIu64,
                         q->group, q->partition, first + i, q->next);
            break;
        }
    }
    return WERR_OK;
}

static enum werr lease_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;

    if (key.n != 21 || value.n < LEASE_BYTES || value.p[0] != 1) {
        dump_problem(q->d, "a lease with %zu and %zu bytes", key.n, value.n);
        return WERR_OK;
    }
    if (!turn_to(q, key, "lease")) {
        return WERR_OK;
    }
    const uint64_t first = be64(value.p + 1), last = be64(value.p + 9);
    if (last < first || last >= q->next || value.n != LEASE_BYTES + ((last - first) / 64 + 1) * 8) {
        dump_problem(q->d,
                     "group %" PRIu64 ", partition %u: a lease of %" PRIu64 " to %" PRIu64
                     " with %zu bytes, the log ends at %" PRIu64,
                     q->group, q->partition, first, last, value.n, q->next);
    }
    return WERR_OK;
}

static enum werr retry_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;

    if (key.n != 21 || value.n < RETRY_BYTES || value.p[0] != 1) {
        dump_problem(q->d, "a retry with %zu and %zu bytes", key.n, value.n);
    } else if (turn_to(q, key, "retry") && be64(key.p + 13) >= q->next) {
        dump_problem(q->d,
                     "group %" PRIu64 ", partition %u: a retry of %" PRIu64
                     ", the log ends at %" PRIu64,
                     q->group, q->partition, be64(key.p + 13), q->next);
    }
    return WERR_OK;
}

static enum werr window_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;
    struct window w = {0};
    struct werror e;

    if (key.n != 13) {
        dump_problem(q->d, "a window with %zu bytes of key", key.n);
    } else if (window_decode(&w, value, &e) != WERR_OK) {
        dump_problem(q->d, "the window of producer %" PRIu64 ": %s", be64(key.p + 5), e.text);
    } else if ((be32(key.p + 1) & 0x80000000U) == 0 && dump_part(q->d, be32(key.p + 1)) != NULL &&
               window_end_offset(&w) > store_next_offset(q->d->st, be32(key.p + 1))) {
        dump_problem(q->d,
                     "the window of producer %" PRIu64 " ends at %" PRIu64
                     ", partition %u at %" PRIu64,
                     be64(key.p + 5), window_end_offset(&w), be32(key.p + 1),
                     store_next_offset(q->d->st, be32(key.p + 1)));
    }
    window_fini(&w);
    return WERR_OK;
}

static enum werr delayed_row(void *arg, struct slice key, struct slice value)
{
    struct pair *q = arg;

    if (key.n != 1 || value.n != 17 || value.p[0] != 1) {
        dump_problem(q->d, "the count of delayed messages has %zu bytes", value.n);
    } else if (be64(value.p + 9) != q->d->delayed) {
        dump_problem(q->d, "%" PRIu64 " delayed messages are counted, %" PRIu64 " wait",
                     be64(value.p + 9), q->d->delayed);
    }
    return WERR_OK;
}

void dump_check_meta(struct dump *d)
{
    static const struct {
        enum meta_tag tag;
        store_row_fn fn;
    } rules[] = {{META_GPART, position_row}, {META_ACKED, settled_row},
                 {META_LEASE, lease_row},    {META_RETRY, retry_row},
                 {META_WINDOW, window_row},  {META_DELAYED, delayed_row}};

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const struct meta_key lo = meta_key(rules[i].tag), hi = meta_key_after(&lo);
        struct pair q = {.d = d};
        struct werror e;

        if (store_scan(d->st, TABLE_META, key_slice(&lo), key_slice(&hi), rules[i].fn, &q, &e) !=
            WERR_OK) {
            dump_problem(d, "rows of kind %c cannot be read: %s", rules[i].tag, e.text);
        }
    }
}
