#include "bench/demo/judge.h"

#include <stdlib.h>
#include <string.h>

/*
 * Happy path: gather (every message sent with its result; every delivery with its place in the
 * consumer's order), sort by id and compare, sort by place and compare. What can fail: memory, and
 * input that contradicts itself (an id sent twice, a result without a send). Both tables are owned
 * by judge() and live only there.
 */

struct message {
    uint64_t id, hash;
    int64_t offset;
    uint32_t latency_us;
    uint16_t partition;
    uint8_t outcome;
    bool delivered;
};

struct delivery {
    uint64_t id, hash;
    int64_t offset;
    uint16_t partition;
    bool again;   /* the id was delivered before */
    uint32_t seq; /* place in the order of loading: rises in each consumer's own order */
};

struct case_file {
    struct message *messages;
    size_t n_messages;
    struct delivery *deliveries;
    size_t n_deliveries;
};

const char *judge_finding_name(enum judge_finding f)
{
    static const char *const names[JUDGE_FINDINGS] = {
        [JUDGE_LOST] = "lost",
        [JUDGE_DUPLICATED] = "duplicated",
        [JUDGE_OUT_OF_ORDER] = "out of order",
        [JUDGE_CORRUPTED] = "corrupted",
        [JUDGE_PHANTOM] = "phantom",
        [JUDGE_REWRITTEN] = "rewritten",
        [JUDGE_MISPLACED] = "misplaced",
    };

    return names[f];
}

static void found(struct judge_report *r, enum judge_finding f, uint64_t id)
{
    if (r->findings[f]++ == 0) {
        r->first_id[f] = id;
    }
}

static int by_id(const void *a, const void *b)
{
    const struct message *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static int by_delivered_id(const void *a, const void *b)
{
    const struct delivery *x = a, *y = b;

    if (x->id != y->id) {
        return x->id > y->id ? 1 : -1;
    }
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int by_place(const void *a, const void *b)
{
    const struct delivery *x = a, *y = b;

    if (x->partition != y->partition) {
        return x->partition > y->partition ? 1 : -1;
    }
    if (x->offset != y->offset) {
        return x->offset > y->offset ? 1 : -1;
    }
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static struct message *message_of(const struct case_file *c, uint64_t id)
{
    const struct message key = {.id = id};

    return bsearch(&key, c->messages, c->n_messages, sizeof key, by_id);
}

/* Sent messages and deliveries into the two tables. */
static const char *gather(struct case_file *c, const struct hist_file *files, size_t n_files,
                          struct judge_report *out)
{
    for (size_t i = 0; i < n_files; i++) {
        for (size_t j = 0; j < files[i].n; j++) {
            const struct hist_rec *r = &files[i].recs[j];

            if (r->kind == HIST_SENT) {
                c->messages[c->n_messages++] = (struct message){
                    .id = r->id, .hash = r->hash, .offset = -1, .outcome = HIST_UNKNOWN};
            } else if (r->kind == HIST_DELIVERED) {
                c->deliveries[c->n_deliveries] =
                    (struct delivery){.id = r->id,
                                      .hash = r->hash,
                                      .offset = r->offset,
                                      .partition = r->partition,
                                      .seq = (uint32_t)c->n_deliveries};
                c->n_deliveries++;
            }
            out->kills += r->kind == HIST_KILL;
            out->restarts += r->kind == HIST_RESTART;
            if (r->kind == HIST_SENT && hist_producer(r->id) != files[i].number) {
                return "a producer's history holds another producer's message";
            }
        }
    }
    qsort(c->messages, c->n_messages, sizeof *c->messages, by_id);
    for (size_t i = 1; i < c->n_messages; i++) {
        if (c->messages[i].id == c->messages[i - 1].id) {
            return "a producer sent one id twice";
        }
    }
    return NULL;
}

/* Results onto their messages. A message without a result stays unknown. */
static const char *add_results(struct case_file *c, const struct hist_file *files, size_t n_files)
{
    for (size_t i = 0; i < n_files; i++) {
        for (size_t j = 0; j < files[i].n; j++) {
            const struct hist_rec *r = &files[i].recs[j];
            struct message *m;

            if (r->kind != HIST_RESULT) {
                continue;
            }
            m = message_of(c, r->id);
            if (m == NULL || r->outcome > HIST_UNKNOWN) {
                return "a result for a message that was not sent";
            }
            if (m->latency_us != 0) {
                return "two results for one message";
            }
            m->outcome = r->outcome;
            m->partition = r->partition;
            m->offset = r->offset;
            m->latency_us = r->latency_us == 0 ? 1 : r->latency_us;
        }
    }
    return NULL;
}

/* Deliveries in the order of ids: phantoms, corruption, repeats, places. */
static void compare_ids(struct case_file *c, struct judge_report *r)
{
    qsort(c->deliveries, c->n_deliveries, sizeof *c->deliveries, by_delivered_id);
    for (size_t i = 0; i < c->n_deliveries; i++) {
        struct delivery *d = &c->deliveries[i];
        struct message *m = message_of(c, d->id);

        if (i > 0 && c->deliveries[i - 1].id == d->id) {
            d->again = true;
            found(r, JUDGE_DUPLICATED, d->id);
            continue;
        }
        r->delivered++;
        if (m == NULL || m->outcome == HIST_FAILED) {
            found(r, JUDGE_PHANTOM, d->id);
            continue;
        }
        m->delivered = true;
        r->unknown_delivered += m->outcome == HIST_UNKNOWN;
        if (m->hash != d->hash) {
            found(r, JUDGE_CORRUPTED, d->id);
        }
        if (m->outcome == HIST_ACKED && m->offset >= 0 &&
            (m->offset != d->offset || m->partition != d->partition)) {
            found(r, JUDGE_MISPLACED, d->id);
        }
    }
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];

        r->sent++;
        r->acked += m->outcome == HIST_ACKED;
        r->failed += m->outcome == HIST_FAILED;
        r->unknown += m->outcome == HIST_UNKNOWN;
        if (m->outcome == HIST_ACKED && !m->delivered) {
            found(r, JUDGE_LOST, m->id);
        }
    }
}

/* Counters of the producers seen in the partition at hand; few, so a small table will do. */
#define MAX_PRODUCERS 1024

/*
 * Deliveries in the order of places. Along the offsets of a partition the counters of each producer
 * must rise (for acknowledged messages, where they came first: one without an answer has no place
 * of its own, and a repeat is counted as such), and the consumer must have seen the offsets in this
 * same order.
 */
static const char *compare_places(struct case_file *c, struct judge_report *r)
{
    uint64_t *last = calloc(MAX_PRODUCERS, sizeof *last); /* counter + 1; 0 = none yet */
    const char *why = last == NULL ? "out of memory" : NULL;
    uint32_t max_seq = 0;

    if (why != NULL) {
        return why;
    }
    qsort(c->deliveries, c->n_deliveries, sizeof *c->deliveries, by_place);
    for (size_t i = 0; i < c->n_deliveries; i++) {
        const struct delivery *d = &c->deliveries[i];
        const struct delivery *prev = i > 0 ? d - 1 : NULL;
        const struct message *m = message_of(c, d->id);
        const uint32_t producer = hist_producer(d->id);
        bool disorder = false;

        if (prev == NULL || prev->partition != d->partition) {
            memset(last, 0, MAX_PRODUCERS * sizeof *last);
            max_seq = d->seq;
        } else if (prev->offset == d->offset) {
            if (prev->id != d->id) {
                found(r, JUDGE_REWRITTEN, d->id);
            }
            continue;
        }
        disorder = d->seq < max_seq;
        max_seq = d->seq > max_seq ? d->seq : max_seq;
        if (m != NULL && m->outcome == HIST_ACKED && !d->again && producer < MAX_PRODUCERS) {
            const uint64_t counter = hist_counter(d->id) + 1;

            disorder |= counter < last[producer];
            last[producer] = counter > last[producer] ? counter : last[producer];
        }
        if (disorder) {
            found(r, JUDGE_OUT_OF_ORDER, d->id);
        }
    }
    free(last);
    return NULL;
}

static const char *measure(const struct case_file *c, struct judge_report *r)
{
    uint32_t *us;
    size_t n = 0;

    if (r->acked == 0) {
        return NULL;
    }
    us = malloc(r->acked * sizeof *us);
    if (us == NULL) {
        return "out of memory";
    }
    for (size_t i = 0; i < c->n_messages; i++) {
        if (c->messages[i].outcome == HIST_ACKED) {
            us[n++] = c->messages[i].latency_us;
        }
    }
    qsort(us, n, sizeof *us, by_value);
    r->ack.p50_us = us[(n - 1) / 2];
    r->ack.p90_us = us[(n - 1) * 9 / 10];
    r->ack.p99_us = us[(n - 1) * 99 / 100];
    r->ack.p999_us = us[(n - 1) * 999 / 1000];
    r->ack.max_us = us[n - 1];
    free(us);
    return NULL;
}

int judge(const struct hist_file *files, size_t n_files, struct judge_report *out, char *err,
          size_t err_size)
{
    struct case_file c = {0};
    const char *why = NULL;
    size_t n_sent = 0, n_delivered = 0, producers = 0, consumers = 0;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n_files; i++) {
        producers += files[i].role == HIST_PRODUCER;
        consumers += files[i].role == HIST_CONSUMER;
        n_sent += files[i].role == HIST_PRODUCER ? files[i].n : 0;
        n_delivered += files[i].role == HIST_CONSUMER ? files[i].n : 0;
    }
    if (producers == 0 || consumers == 0) {
        why = "no history of a producer, or none of a consumer";
        goto out;
    }
    c.messages = malloc((n_sent + 1) * sizeof *c.messages);
    c.deliveries = malloc((n_delivered + 1) * sizeof *c.deliveries);
    if (c.messages == NULL || c.deliveries == NULL || n_delivered > UINT32_MAX) {
        why = "out of memory";
        goto out;
    }
    why = gather(&c, files, n_files, out);
    if (why == NULL) {
        why = add_results(&c, files, n_files);
    }
    if (why == NULL) {
        compare_ids(&c, out);
        why = compare_places(&c, out);
    }
    if (why == NULL) {
        why = measure(&c, out);
    }
out:
    free(c.messages);
    free(c.deliveries);
    if (why != NULL) {
        (void)snprintf(err, err_size, "%s", why);
        return -1;
    }
    return 0;
}

bool judge_clean(const struct judge_report *r)
{
    for (size_t i = 0; i < JUDGE_FINDINGS; i++) {
        if (r->findings[i] != 0) {
            return false;
        }
    }
    return true;
}

const char *judge_too_little(const struct judge_report *r, const struct judge_demand *d, char *buf,
                             size_t size)
{
    const struct {
        const char *what;
        uint64_t have, need;
    } rows[] = {
        {"acknowledged messages", r->acked, d->min_acked},
        {"delivered messages", r->delivered, d->min_delivered},
        {"kills of the server", r->kills, d->min_kills},
        {"restarts of the server", r->restarts, d->min_kills},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].have < rows[i].need) {
            (void)snprintf(buf, size, "only %llu %s, %llu are needed for a verdict",
                           (unsigned long long)rows[i].have, rows[i].what,
                           (unsigned long long)rows[i].need);
            return buf;
        }
    }
    return NULL;
}
