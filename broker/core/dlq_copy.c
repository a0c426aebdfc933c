/*
 * The copy of a dead message.
 *
 * Happy path: the headers of the original that have other names than ours, then ours; one record,
 * one batch, marked as made by the broker. What can fail: memory, and a record that only fitted
 * because it was compressed with others. Headers over the limits: the original's are left out, and
 * weir-cut-headers says how many. Who owns what: everything is borrowed until the blob is made.
 */
#include "broker/core/dlq_impl.h"

#include <stdio.h>

#include "broker/core/mem.h"
#include "broker/core/moved.h"
#include "proto/mpread.h"

static const char SUFFIX[] = "~dlq";
enum { SUFFIX_BYTES = sizeof SUFFIX - 1 };

/* Our headers, in this order. */
enum mine {
    ORIGIN_TOPIC,
    ORIGIN_PARTITION,
    ORIGIN_OFFSET,
    GROUP,
    ATTEMPTS,
    REASON,
    FIRST_AT,
    LAST_AT,
    LOST,
    CUT,
    MINE_COUNT
};
static const char *const NAMES[MINE_COUNT] = {
    "weir-origin-topic", "weir-origin-partition", "weir-origin-offset", "weir-group",
    "weir-attempts",     "weir-reason",           "weir-first-at",      "weir-last-at",
    "weir-lost",         "weir-cut-headers"};

/* ---------------------------------------------------------------- names */

size_t dlq_name(char out[LIMIT_TOPIC_NAME + 1], struct slice topic, struct slice group)
{
    const uint8_t *first = topic.n > 0 ? memchr(topic.p, '~', topic.n) : NULL;
    const size_t n = first != NULL ? (size_t)(first - topic.p) : topic.n;

    return (size_t)snprintf(out, LIMIT_TOPIC_NAME + 1, "%.*s~%.*s%s", (int)n, (const char *)topic.p,
                            (int)group.n, (const char *)group.p, SUFFIX);
}

bool dlq_name_split(struct slice name, struct slice *topic, struct slice *group)
{
    if (name.n <= SUFFIX_BYTES ||
        memcmp(name.p + name.n - SUFFIX_BYTES, SUFFIX, SUFFIX_BYTES) != 0) {
        return false;
    }
    name.n -= SUFFIX_BYTES;
    const uint8_t *middle = memchr(name.p, '~', name.n);
    if (middle == NULL) {
        return false;
    }
    *topic = slice_of(name.p, (size_t)(middle - name.p));
    *group = slice_of(middle + 1, name.n - topic->n - 1);
    return topic->n > 0 && group->n > 0 && memchr(group->p, '~', group->n) == NULL;
}

/* ---------------------------------------------------------------- headers */

enum { NUMBER_TEXT = 24, MAX_CUT = 90000 };

struct headers {
    struct record_header list[LIMIT_HEADERS]; /* as they will be */
    size_t n, bytes;
    struct record_header theirs[LIMIT_HEADERS]; /* the original's, without ours */
    size_t n_theirs, unreadable;
    struct slice kept[MINE_COUNT]; /* ours, on a record that was dead before */
    char numbers[MINE_COUNT][NUMBER_TEXT];
};

/* What one header takes in the map, at most. */
static size_t cost(struct slice name, struct slice value)
{
    return name.n +
           (name.n < 32            ? 1
            : name.n <= UINT8_MAX  ? 2
            : name.n <= UINT16_MAX ? 3
                                   : 5) +
           value.n +
           (value.n <= UINT8_MAX    ? 2
            : value.n <= UINT16_MAX ? 3
                                    : 5);
}

static void put(struct headers *h, struct slice name, struct slice value)
{
    h->list[h->n++] = (struct record_header){.name = name, .value = value};
    h->bytes += cost(name, value);
}

static void put_mine(struct headers *h, enum mine i, struct slice value)
{
    put(h, slice_str(NAMES[i]), value);
}

static struct slice number(struct headers *h, enum mine i, uint64_t v)
{
    const int n = snprintf(h->numbers[i], NUMBER_TEXT, "%llu", (unsigned long long)v);

    return slice_of(h->numbers[i], (size_t)n);
}

/* Decimal text; 0 for anything else. */
static uint64_t parse(struct slice s)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && v < LIMIT_UINT / 10; i++) {
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    return v;
}

/* Sorts the original's headers into ours and theirs. */
static void take_headers(struct headers *h, struct slice raw)
{
    struct slice name, value;

    while (h->n_theirs < LIMIT_HEADERS && record_header_next(&raw, &name, &value)) {
        int i = 0;
        while (i < MINE_COUNT && !slice_eq(name, slice_str(NAMES[i]))) {
            i++;
        }
        if (i < MINE_COUNT) {
            /* What a producer wrote there itself must not crowd out what is true. */
            h->kept[i] = value.n <= LIMIT_TOPIC_NAME ? value : (struct slice){0};
        } else if (utf8_prefix(name) != name.n) {
            h->unreadable++;
        } else {
            h->theirs[h->n_theirs++] = (struct record_header){.name = name, .value = value};
        }
    }
}

/* Theirs, as many as leave room for `mine` headers of `mine_bytes`. Returns how many were cut. */
static size_t put_theirs(struct headers *h, size_t mine, size_t mine_bytes)
{
    enum { MAP_HEAD = 3 };
    size_t cut = h->unreadable;

    h->n = 0;
    h->bytes = MAP_HEAD;
    for (size_t i = 0; i < h->n_theirs; i++) {
        const struct record_header *x = &h->theirs[i];
        if (h->n + 1 + mine > LIMIT_HEADERS ||
            h->bytes + cost(x->name, x->value) + mine_bytes > LIMIT_HEADER_BYTES) {
            cut++;
        } else {
            put(h, x->name, x->value);
        }
    }
    return cut;
}

static void fill_headers(struct headers *h, const struct dlq_copy *c)
{
    const struct dead_letter *d = c->letter;
    struct slice v[MINE_COUNT] = {0};
    size_t n = 0, bytes = 0;

    /* Only a record of a dead-letter topic brings headers of ours that mean something. */
    const bool again = c->topic.n > 0 && memchr(c->topic.p, '~', c->topic.n) != NULL &&
                       h->kept[ORIGIN_TOPIC].n > 0;
    if (!again) {
        memset(h->kept, 0, sizeof h->kept);
    }
    v[ORIGIN_TOPIC] = c->topic;
    v[ORIGIN_PARTITION] = number(h, ORIGIN_PARTITION, c->p);
    v[ORIGIN_OFFSET] = number(h, ORIGIN_OFFSET, d->offset);
    v[GROUP] = c->group;
    v[FIRST_AT] = number(h, FIRST_AT, d->first_ms > 0 ? (uint64_t)d->first_ms : 0);
    for (int i = ORIGIN_TOPIC; again && i <= FIRST_AT; i++) {
        v[i] = h->kept[i].n > 0 ? h->kept[i] : v[i];
    }
    v[ATTEMPTS] = number(h, ATTEMPTS, parse(h->kept[ATTEMPTS]) + d->attempts);
    v[REASON] = slice_str(d->reason);
    v[LAST_AT] = number(h, LAST_AT, d->last_ms > 0 ? (uint64_t)d->last_ms : 0);
    v[LOST] = c->lost != NULL ? slice_str(c->lost) : h->kept[LOST];
    const uint64_t told = parse(h->kept[CUT]);
    const size_t cut_before = told < MAX_CUT ? (size_t)told : MAX_CUT;
    for (int i = 0; i < CUT; i++) {
        if (i != LOST || v[i].n > 0) {
            n++;
            bytes += cost(slice_str(NAMES[i]), v[i]);
        }
    }
    size_t cut = put_theirs(h, n, bytes);
    if (cut + cut_before > 0) { /* one more of ours may push one more of theirs out */
        cut = put_theirs(h, n + 1, bytes + cost(slice_str(NAMES[CUT]), slice_of("12345", 5)));
    }
    for (int i = 0; i < CUT; i++) {
        if (i != LOST || v[i].n > 0) {
            put_mine(h, (enum mine)i, v[i]);
        }
    }
    if (cut + cut_before > 0) {
        put_mine(h, CUT, number(h, CUT, cut + cut_before));
    }
}

/* ---------------------------------------------------------------- the batch */

struct blob *dlq_copy(const struct dlq_copy *c)
{
    struct headers *h = core_calloc(1, sizeof *h);
    struct slice key = {0}, value = {0}, out;
    struct batch_builder bb;
    struct blob *b = NULL;
    struct buf zip = {0};

    if (c->rec != NULL) {
        key = c->rec->key;
        value = c->rec->value;
        take_headers(h, c->rec->headers);
    }
    fill_headers(h, c);
    batch_builder_init(&bb, 0);
    if (batch_add(&bb, c->ts_ms, key, value, h->list, h->n) == WERR_OK &&
        batch_finish(&bb, NULL, c->zip ? BATCH_CODEC_ZSTD : BATCH_CODEC_NONE, &zip, &out) ==
            WERR_OK) {
        b = moved_batch(out);
    }
    batch_builder_fini(&bb);
    buf_fini(&zip);
    free(h);
    return b;
}
