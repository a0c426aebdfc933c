/*
 * Happy path: for each partition the broker says which ranges are still there; the partition is
 * read from the first of them to the last, and what lies in a range and fits is given on. What can
 * fail: the server's answers (one line). Retention may have taken the first messages of a range
 * between the two questions; then reading starts behind them. Who owns what: ranges belong to the
 * walk, a subscription lives for one partition.
 */
#include "client/cli/dlq_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/reader.h"

const char *dlq_state_text(int state)
{
    static const char *const names[DLQ_STATES] = {"dead", "waiting", "leased"};
    return state >= 0 && state < DLQ_STATES ? names[state] : "unknown";
}

static int read_name(struct dlq *d, const struct args *a)
{
    const char *word = a->words[0];
    const char *group = args_text(a, OPT_GROUP_DLQ, NULL);
    bool full = dlq_name_is(word);
    if (full && group) {
        return cli_fail(EXIT_USAGE, "%s: --group and a full name exclude each other",
                        a->command->name);
    }
    if (!full && !group) {
        return cli_fail(EXIT_USAGE, "%s: '%.80s' is no dead-letter topic; give --group too",
                        a->command->name, word);
    }
    bool fits = full ? strlen(word) < sizeof d->topic
                     : dlq_name_join(word, group, d->topic, sizeof d->topic);
    if (!fits) {
        return cli_fail(EXIT_USAGE, "%s: the name is too long", a->command->name);
    }
    if (full) {
        memcpy(d->topic, word, strlen(word) + 1);
    }
    return EXIT_DONE;
}

int dlq_init(struct dlq *d, const struct args *a, size_t first_span)
{
    const char *pair;
    weir_span span;
    *d = (struct dlq){.s = {.args = a}};
    int r = read_name(d, a);
    for (; !r && (pair = args_nth(a, OPT_FILTER, d->n_filters)) != NULL; d->n_filters++) {
        if (d->n_filters == DLQ_FILTERS_MAX) {
            return cli_fail(EXIT_USAGE, "--filter: more than %d", DLQ_FILTERS_MAX);
        }
        const char *fault = filter_parse(pair, &d->filters[d->n_filters]);
        if (fault) {
            return cli_fail(EXIT_USAGE, "--filter: '%.80s' %s", pair, fault);
        }
    }
    for (size_t i = first_span; !r && i < a->n_words; i++) {
        if (!span_parse(a->words[i], &span)) {
            return cli_fail(EXIT_USAGE,
                            "'%.80s' is neither PARTITION:OFFSET nor PARTITION:FIRST-LAST",
                            a->words[i]);
        }
        if (!spans_add(&d->named, span.partition, span.first, span.last)) {
            return cli_fail(EXIT_REFUSED, "out of memory");
        }
    }
    return r;
}

int dlq_open(struct dlq *d)
{
    weir_topic *t = NULL;
    int r = session_open(&d->s, d->s.args, NULL);
    if (!r) {
        weir_error e = weir_topic_describe(d->s.w, d->topic, &t, d->s.timeout_ms);
        r = e.outcome == WEIR_DONE ? EXIT_DONE : session_fail_topic(&d->s, d->topic, &e);
    }
    d->n_partitions = r ? 0 : weir_topic_partitions(t);
    weir_topic_free(t);
    return r;
}

void dlq_fini(struct dlq *d)
{
    spans_fini(&d->named);
    session_close(&d->s);
}

struct gathering {
    struct dlq_range *v;
    size_t n, cap;
    bool failed;
};

static void gather(void *user, int64_t first, int64_t last, int state)
{
    struct gathering *g = user;
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct dlq_range *more = reallocarray(g->v, cap, sizeof *more);
        if (!more) {
            g->failed = true;
            return;
        }
        g->v = more;
        g->cap = cap;
    }
    g->v[g->n++] = (struct dlq_range){first, last, state};
}

int dlq_ranges(const struct session *s, const char *topic, int32_t partition,
               struct dlq_range **out, size_t *n)
{
    struct gathering g = {0};
    weir_error e = weir_dlq_list(s->w, topic, partition, gather, &g, s->timeout_ms);
    *out = g.v;
    *n = g.n;
    if (g.failed) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    return e.outcome == WEIR_DONE ? EXIT_DONE : session_fail_topic(s, topic, &e);
}

static bool wanted(const struct dlq *d, const weir_message *m)
{
    for (size_t i = 0; i < d->n_filters; i++) {
        if (!filter_fits(&d->filters[i], m)) {
            return false;
        }
    }
    return d->named.n == 0 || spans_have(&d->named, m->partition, m->offset);
}

/* Reads [first range, last range] of a partition. */
static int walk_ranges(struct dlq *d, int32_t partition, const struct dlq_range *v, size_t n,
                       dlq_message_fn fn, void *user)
{
    struct start start = {START_OFFSET, v[0].first};
    weir_sub *sub = NULL;
    size_t i = 0;
    int r = reader_open(d->s.w, d->topic, &start, partition, "stop_at_end=1", &sub);
    while (!r && i < n) {
        const weir_message *m = weir_next(sub, d->s.timeout_ms);
        if (!m) {
            weir_error e = weir_sub_error(sub);
            r = e.code == WEIR_OK ? EXIT_DONE : session_fail_topic(&d->s, d->topic, &e);
            break;
        }
        while (i < n && v[i].last < m->offset) {
            i++;
        }
        if (i < n && v[i].first <= m->offset && wanted(d, m)) {
            r = fn(user, m, v[i].state);
        }
        if (i < n && m->offset == v[i].last) {
            i++;
        }
        weir_done(m, WEIR_ACK);
    }
    weir_unsubscribe(sub);
    return r;
}

/* The offsets between which the named messages of a partition lie; false: none is there. */
static bool named_bounds(const struct dlq *d, int32_t partition, int64_t *low, int64_t *high)
{
    bool any = d->named.n == 0;
    *low = any ? 0 : INT64_MAX;
    *high = any ? INT64_MAX : -1;
    for (size_t i = 0; i < d->named.n; i++) {
        const weir_span *s = &d->named.v[i];
        if (s->partition == partition) {
            *low = s->first < *low ? s->first : *low;
            *high = s->last > *high ? s->last : *high;
            any = true;
        }
    }
    return any;
}

/* Leaves of *n ranges those from *from on that can hold something wanted. Ranges may begin before
 * what retention has left; reading can't. */
static int clip(const struct dlq *d, int32_t partition, struct dlq_range *v, size_t *from,
                size_t *n)
{
    int64_t start, low, high;
    if (!named_bounds(d, partition, &low, &high)) {
        *n = 0;
        return EXIT_DONE;
    }
    weir_error e =
        weir_offset(d->s.w, d->topic, partition, WEIR_OFFSET_START, &start, NULL, d->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_topic(&d->s, d->topic, &e);
    }
    low = start > low ? start : low;
    while (*from < *n && v[*from].last < low) {
        (*from)++;
    }
    while (*from < *n && v[*n - 1].first > high) {
        (*n)--;
    }
    if (*from < *n && v[*from].first < low) {
        v[*from].first = low;
    }
    if (*from < *n && v[*n - 1].last > high) {
        v[*n - 1].last = high;
    }
    return EXIT_DONE;
}

int dlq_walk(struct dlq *d, dlq_message_fn fn, void *user)
{
    int r = EXIT_DONE;
    for (int32_t p = 0; !r && p < d->n_partitions; p++) {
        struct dlq_range *v = NULL;
        size_t n = 0;
        size_t from = 0;
        r = dlq_ranges(&d->s, d->topic, p, &v, &n);
        if (!r && n > 0) {
            r = clip(d, p, v, &from, &n);
        }
        if (!r && from < n) {
            r = walk_ranges(d, p, v + from, n - from, fn, user);
        }
        free(v);
    }
    return r == DLQ_ENOUGH ? EXIT_DONE : r;
}
