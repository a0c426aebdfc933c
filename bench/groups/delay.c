/*
 * How late delayed messages are: N messages, due at moments spread evenly over some seconds that
 * begin once all are stored; a consumer at the end of the log times each.
 *
 *   bench-delay-late URL MESSAGES SPREAD_S
 *
 * Two figures for each message: when the broker made it visible (its append time, whole ms) and
 * when it reached this consumer, both minus its due time. Exit 1 when a message is missing, comes
 * early or twice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/groups/common.h"

struct run {
    size_t n, seen, doubles, early;
    int64_t *due, *appended, *arrived; /* ms; the last two are lateness */
    uint64_t failed;
};

static void sent(void *user, const weir_receipt *r)
{
    if (r->error.outcome != WEIR_DONE) {
        ((struct run *)user)->failed++;
    }
}

static void produce(weir *w, const char *topic, struct run *r, int64_t first_ms, int64_t spread_ms)
{
    char value[32];

    for (size_t i = 0; i < r->n; i++) {
        weir_send_options o = WEIR_SEND_OPTIONS;
        /* a step that visits every moment once, so that due times do not come in order */
        const uint64_t k = (uint64_t)i * 7919 % r->n;
        r->due[i] = o.deliver_at_ms = first_ms + (int64_t)(k * (uint64_t)spread_ms / r->n);
        snprintf(value, sizeof value, "%zu", i);
        for (;;) {
            weir_error e = weir_send_async(w, topic, weir_str(NULL), weir_str(value), &o, sent, r);
            if (e.code != WEIR_E_BUFFER_FULL) {
                must(e, "send");
                break;
            }
            must(weir_flush(w, 60000), "send");
        }
    }
    must(weir_flush(w, 120000), "send");
    if (r->failed > 0) {
        die("%llu messages were not stored", (unsigned long long)r->failed);
    }
}

static void take(struct run *r, const weir_message *m)
{
    const int64_t now_ms = now_wall_ms();
    char text[32] = {0};

    memcpy(text, m->value.data, m->value.size < sizeof text - 1 ? m->value.size : sizeof text - 1);
    const size_t i = (size_t)strtoull(text, NULL, 10);
    if (i >= r->n) {
        die("a message that was not sent: %s", text);
    }
    if (r->appended[i] != INT64_MIN) {
        r->doubles++;
        return;
    }
    r->appended[i] = m->append_ms - r->due[i];
    r->arrived[i] = now_ms - r->due[i];
    r->early += r->appended[i] < 0;
    r->seen++;
}

static void show(const char *what, int64_t *late, size_t n)
{
    sort_values(late, n);
    printf("%-28s p50 %lld  p90 %lld  p99 %lld  p99.9 %lld  max %lld ms\n", what,
           (long long)percentile(late, n, 50), (long long)percentile(late, n, 90),
           (long long)percentile(late, n, 99), (long long)percentile(late, n, 99.9),
           (long long)percentile(late, n, 100));
}

int main(int argc, char **argv)
{
    struct run r = {0};
    char topic[64];

    if (argc != 4) {
        die("usage: bench-delay-late URL MESSAGES SPREAD_S");
    }
    r.n = (size_t)number(argv[2], 1, 100000000);
    const int64_t spread_ms = (int64_t)number(argv[3], 1, 3600) * 1000;
    r.due = calloc(r.n, sizeof *r.due);
    r.appended = calloc(r.n, sizeof *r.appended);
    r.arrived = calloc(r.n, sizeof *r.arrived);
    if (r.due == NULL || r.appended == NULL || r.arrived == NULL) {
        die("no memory");
    }
    for (size_t i = 0; i < r.n; i++) {
        r.appended[i] = INT64_MIN;
    }
    snprintf(topic, sizeof topic, "late-%lld", (long long)now_wall_ms());
    weir *w = weir_open(argv[1], NULL);
    make_topic(w, topic, "partitions=4");
    /* storing takes a while: the first is due a little after that, by a generous guess */
    const int64_t ahead_ms = 5000 + (int64_t)(r.n / 20);
    const int64_t began_ms = now_wall_ms();
    produce(w, topic, &r, began_ms + ahead_ms, spread_ms);
    const int64_t stored_ms = now_wall_ms();
    if (stored_ms >= began_ms + ahead_ms) {
        die("storing took %lld ms, longer than was left before the first was due",
            (long long)(stored_ms - began_ms));
    }
    weir_sub *s = weir_subscribe(w, topic, NULL, NULL);
    const int64_t end_ms = began_ms + ahead_ms + spread_ms + 30000;
    while (r.seen < r.n && now_wall_ms() < end_ms) {
        const weir_message *m = weir_next(s, 1000);
        if (m != NULL) {
            take(&r, m);
            weir_done(m, WEIR_ACK);
        }
    }
    printf(
        "%zu delayed messages stored in %.2f s, due over %lld s; seen %zu, early %zu, twice %zu\n",
        r.n, (double)(stored_ms - began_ms) / 1000, (long long)(spread_ms / 1000), r.seen, r.early,
        r.doubles);
    if (r.seen == r.n) {
        show("visible, late by", r.appended, r.n);
        show("with the consumer, late by", r.arrived, r.n);
    }
    weir_close(w, 1000);
    free(r.due);
    free(r.appended);
    free(r.arrived);
    return r.seen == r.n && r.early == 0 && r.doubles == 0 ? 0 : 1;
}
