/*
 * weir dlq redrive, purge.
 * Happy path: the messages that are meant are found first: without filters from the broker's
 * ranges, with filters by reading them. Then the broker moves them, some hundred spans at a time.
 * What can fail: the server's answers (one line). What was moved before the failure is said; asking
 * again skips it.
 * Who owns what: the move owns its list of spans.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/dlq_read.h"
#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/values.h"

enum { SPANS_AT_ONCE = 500 };

struct move {
    struct dlq d;
    bool purge, dry;
    uint32_t rate;
    struct span_list spans;
    uint64_t moved, skipped;
};

/* A redrive takes what is dead; a purge also what was given back and waits. */
static bool movable(const struct move *m, int state)
{
    return state == DLQ_DEAD || (m->purge && state == DLQ_WAITING);
}

static int collect_message(void *user, const weir_message *msg, int state)
{
    struct move *m = user;
    if (movable(m, state) && !spans_add(&m->spans, msg->partition, msg->offset, msg->offset)) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    return EXIT_DONE;
}

/* Adds what `wanted` and a range have in common. */
static bool add_common(struct move *m, const weir_span *wanted, int32_t partition,
                       const struct dlq_range *range)
{
    int64_t first = wanted->first > range->first ? wanted->first : range->first;
    int64_t last = wanted->last < range->last ? wanted->last : range->last;
    if (wanted->partition != partition || first > last || !movable(m, range->state)) {
        return true;
    }
    return spans_add(&m->spans, partition, first, last);
}

static int collect_ranges(struct move *m)
{
    int r = EXIT_DONE;
    bool room = true;
    for (int32_t p = 0; !r && p < m->d.n_partitions; p++) {
        weir_span all = {p, 0, INT64_MAX};
        struct dlq_range *v = NULL;
        size_t n = 0;
        const struct span_list *named = &m->d.named;
        r = dlq_ranges(&m->d.s, m->d.topic, p, &v, &n);
        for (size_t k = 0; !r && k < (named->n ? named->n : 1); k++) {
            for (size_t i = 0; i < n; i++) {
                room = room && add_common(m, named->n ? &named->v[k] : &all, p, &v[i]);
            }
        }
        free(v);
    }
    return r || room ? r : cli_fail(EXIT_REFUSED, "out of memory");
}

static int move_all(struct move *m)
{
    unsigned flags = m->dry ? WEIR_DRY_RUN : 0;
    for (size_t i = 0; i < m->spans.n; i += SPANS_AT_ONCE) {
        size_t n = m->spans.n - i < SPANS_AT_ONCE ? m->spans.n - i : SPANS_AT_ONCE;
        uint64_t moved = 0;
        uint64_t skipped = 0;
        weir_error e = m->purge ? weir_dlq_purge(m->d.s.w, m->d.topic, m->spans.v + i, n, flags,
                                                 &moved, &skipped, m->d.s.timeout_ms)
                                : weir_dlq_redrive(m->d.s.w, m->d.topic, m->spans.v + i, n, m->rate,
                                                   flags, &moved, &skipped, m->d.s.timeout_ms);
        if (e.outcome != WEIR_DONE) {
            if (m->moved) {
                fprintf(stderr, "weir: %" PRIu64 " were %s before the failure\n", m->moved,
                        m->purge ? "purged" : "redriven");
            }
            return session_fail_topic(&m->d.s, m->d.topic, &e);
        }
        m->moved += moved;
        m->skipped += skipped;
    }
    return EXIT_DONE;
}

static void show(const struct move *m)
{
    char text[32];
    char skipped[64] = "";
    struct json j;
    const char *verb = m->purge ? "purge" : "redrive";
    if (m->d.s.output != OUTPUT_TABLE) {
        json_init(&j, stdout, m->d.s.output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_text(&j, "topic", m->d.topic);
        json_bool(&j, "dry_run", m->dry);
        json_uint(&j, m->purge ? "purged" : "redriven", m->moved);
        json_uint(&j, "skipped", m->skipped);
        json_close(&j, '}');
        json_end(&j);
        return;
    }
    if (m->skipped) {
        snprintf(skipped, sizeof skipped, ", %" PRIu64 " skipped (done before)", m->skipped);
    }
    printf("%s%s%s %s messages of %s%s%s\n", m->dry ? "would " : "", verb,
           m->dry     ? ""
           : m->purge ? "d"
                      : "n",
           text_count(text, sizeof text, (int64_t)m->moved), m->d.topic, skipped,
           m->dry ? " (nothing was done)" : "");
}

static int confirm(const struct move *m)
{
    char question[320];
    char text[32];
    snprintf(question, sizeof question, "Purge %s messages of %s?",
             text_count(text, sizeof text, spans_messages(&m->spans)), m->d.topic);
    return session_confirm(&m->d.s, question);
}

static int move(const struct args *a, bool purge)
{
    double rate = args_rate(a, OPT_RATE_REDRIVE);
    struct move m = {.purge = purge, .dry = args_has(a, OPT_DRY_RUN), .rate = (uint32_t)rate};
    int r = dlq_init(&m.d, a, 1);
    if (!r) {
        r = dlq_open(&m.d);
    }
    if (!r) {
        r = m.d.n_filters ? dlq_walk(&m.d, collect_message, &m) : collect_ranges(&m);
    }
    if (!r && purge && !m.dry && m.spans.n) {
        r = confirm(&m);
    }
    if (!r) {
        r = move_all(&m);
    }
    if (!r) {
        show(&m);
    }
    spans_fini(&m.spans);
    dlq_fini(&m.d);
    return r;
}

int run_dlq_redrive(const struct args *a)
{
    return move(a, false);
}

int run_dlq_purge(const struct args *a)
{
    return move(a, true);
}
