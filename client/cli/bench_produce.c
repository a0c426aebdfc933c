/*
 * weir bench produce.
 * Happy path: each producer is a thread with a handle of its own. It sends as fast as the library's
 * buffer allows, or on its share of a fixed time grid; then it waits for the last answers. The main
 * thread shows progress and adds up.
 * What can fail: single messages, which are counted; the first failure is reported at the end.
 * Who owns what: a producer owns handle, histogram and pool; only `n_answered` is read by another
 * thread before the join.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/bench.h"
#include "client/cli/clock.h"
#include "client/cli/interrupt.h"
#include "client/cli/pending.h"
#include "client/cli/progress.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/values.h"
#include "client/cli/wait.h"

enum { PRODUCERS_MAX = 256, TURN_MESSAGES = 64, DURATION_DEFAULT_MS = 10000, JOIN_SLICE_MS = 100 };

struct plan {
    struct session s;
    const char *topic;
    struct payload payload;
    double rate_per_s; /* of all producers; 0 = as fast as possible */
    int64_t count;     /* of all; -1 = only the duration counts */
    int64_t duration_ns;
    int64_t n_producers;
    int64_t start_ns;
};

struct producer {
    const struct plan *plan;
    int64_t index;
    pthread_t thread;
    bool started;
    weir *w;
    struct histogram *latency;
    struct pending_pool pool;
    int64_t n_sent, n_stored, n_refused, n_unknown;
    double bytes;
    int64_t end_ns; /* of the last answer */
    weir_error first_failure;
    atomic_llong n_answered;
};

static void on_sent(void *user, const weir_receipt *r)
{
    struct pending *slot = user;
    struct producer *p = slot->owner;
    int64_t now_ns = cli_mono_ns();
    if (r->error.outcome == WEIR_DONE) {
        p->n_stored++;
        histogram_add(p->latency, now_ns - slot->number);
    } else {
        p->n_unknown += r->error.outcome == WEIR_UNKNOWN;
        p->n_refused += r->error.outcome != WEIR_UNKNOWN;
        if (p->first_failure.code == WEIR_OK) {
            p->first_failure = r->error;
        }
    }
    p->end_ns = now_ns;
    atomic_fetch_add_explicit(&p->n_answered, 1, memory_order_relaxed);
    pending_give(&p->pool, slot);
}

static bool over(const struct producer *p)
{
    return interrupt_seen() || p->first_failure.code != WEIR_OK ||
           cli_mono_ns() - p->plan->start_ns >= p->plan->duration_ns;
}

/* Waits for a planned time. @return false: the run is over before it */
static bool wait_until(struct producer *p, int64_t due_ns)
{
    for (int64_t now_ns = cli_mono_ns(); now_ns < due_ns; now_ns = cli_mono_ns()) {
        int64_t slice_ns = WAIT_SLICE_MS * INT64_C(1000000);
        if (over(p)) {
            return false;
        }
        wait_io(p->w, -1, 0, due_ns - now_ns < slice_ns ? due_ns - now_ns : slice_ns);
    }
    return !over(p);
}

static bool send_one(struct producer *p, weir_bytes value, int64_t planned_ns)
{
    struct pending *slot = pending_take(&p->pool, p, planned_ns);
    while (slot) {
        weir_error e = weir_send_async(p->w, p->plan->topic, weir_bytes_of(NULL, 0), value, NULL,
                                       on_sent, slot);
        if (e.outcome == WEIR_DONE) {
            p->n_sent++;
            p->bytes += (double)value.size;
            return true;
        }
        if (e.code != WEIR_E_BUFFER_FULL || over(p)) {
            if (e.code != WEIR_E_BUFFER_FULL) {
                p->first_failure = e;
                p->n_refused++;
            }
            pending_give(&p->pool, slot);
            return false;
        }
        wait_io(p->w, -1, 0, WAIT_SLICE_MS * INT64_C(1000000));
    }
    return false;
}

static void *producer_main(void *arg)
{
    struct producer *p = arg;
    const struct plan *plan = p->plan;
    /* message i of the whole run belongs to producer i mod n */
    for (int64_t i = p->index; plan->count < 0 || i < plan->count; i += plan->n_producers) {
        int64_t planned_ns;
        if (plan->rate_per_s > 0) {
            planned_ns = grid_ns(plan->start_ns, plan->rate_per_s, i);
            if (planned_ns - plan->start_ns >= plan->duration_ns || !wait_until(p, planned_ns)) {
                break;
            }
        } else {
            planned_ns = cli_mono_ns();
        }
        if (over(p) || !send_one(p, payload_value(&plan->payload, (uint64_t)i), planned_ns)) {
            break;
        }
        if (p->n_sent % TURN_MESSAGES == 0) {
            weir_on_io(p->w);
        }
    }
    while (weir_pending_messages(p->w) > 0) {
        weir_flush(p->w, WAIT_SLICE_MS);
    }
    return NULL;
}

static void watch(struct producer *producers, const struct plan *plan, struct progress *progress)
{
    for (int64_t i = 0; i < plan->n_producers; i++) {
        while (producers[i].started) {
            struct timespec until;
            int64_t wall_ms = cli_wall_ms() + JOIN_SLICE_MS;
            until =
                (struct timespec){.tv_sec = wall_ms / 1000, .tv_nsec = wall_ms % 1000 * 1000000};
            if (pthread_timedjoin_np(producers[i].thread, NULL, &until) == 0) {
                producers[i].started = false;
            }
            int64_t n = 0;
            for (int64_t k = 0; k < plan->n_producers; k++) {
                n += atomic_load_explicit(&producers[k].n_answered, memory_order_relaxed);
            }
            progress_update(progress, "answered", n,
                            (double)n * (double)payload_value(&plan->payload, 0).size);
        }
    }
    progress_clear(progress);
}

/* Adds all producers to the first one. */
static void add_up(struct producer *producers, int64_t n)
{
    struct producer *sum = &producers[0];
    for (int64_t i = 1; i < n; i++) {
        const struct producer *p = &producers[i];
        histogram_merge(sum->latency, p->latency);
        sum->n_sent += p->n_sent;
        sum->n_stored += p->n_stored;
        sum->n_refused += p->n_refused;
        sum->n_unknown += p->n_unknown;
        sum->bytes += p->bytes;
        sum->end_ns = p->end_ns > sum->end_ns ? p->end_ns : sum->end_ns;
        if (sum->first_failure.code == WEIR_OK) {
            sum->first_failure = p->first_failure;
        }
    }
}

/* Messages of the grid that should have been sent but were not, because the library was full. */
static int64_t missed(const struct plan *plan, const struct producer *sum)
{
    if (plan->rate_per_s <= 0 || interrupt_seen()) {
        return 0;
    }
    int64_t planned = (int64_t)(plan->rate_per_s * (double)plan->duration_ns / 1e9);
    if (plan->count >= 0 && plan->count < planned) {
        planned = plan->count;
    }
    return planned > sum->n_sent ? planned - sum->n_sent : 0;
}

static void show(const struct plan *plan, const struct producer *sum)
{
    char t[4][32];
    char latency[160];
    double seconds =
        sum->end_ns > plan->start_ns ? (double)(sum->end_ns - plan->start_ns) / 1e9 : 0;
    double stored_bytes =
        sum->n_sent ? sum->bytes * (double)sum->n_stored / (double)sum->n_sent : 0;
    if (plan->s.output != OUTPUT_TABLE) {
        struct json j;
        json_init(&j, stdout, plan->s.output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_text(&j, "bench", "produce");
        json_text(&j, "topic", plan->topic);
        json_int(&j, "producers", plan->n_producers);
        json_int(&j, "stored", sum->n_stored);
        json_int(&j, "not_stored", sum->n_refused);
        json_int(&j, "unknown", sum->n_unknown);
        json_int(&j, "missed", missed(plan, sum));
        json_double(&j, "bytes", stored_bytes);
        json_double(&j, "seconds", seconds);
        rate_json(&j, sum->n_stored, stored_bytes, seconds);
        json_text(&j, "latency_from", plan->rate_per_s > 0 ? "plan" : "send");
        latency_json(&j, "ack_latency", sum->latency);
        json_close(&j, '}');
        json_end(&j);
        return;
    }
    double rate = seconds > 0 ? (double)sum->n_stored / seconds : 0;
    printf("messages     %s stored, %s not stored, %s unknown\n",
           text_count(t[0], sizeof t[0], sum->n_stored),
           text_count(t[1], sizeof t[1], sum->n_refused),
           text_count(t[2], sizeof t[2], sum->n_unknown));
    if (missed(plan, sum)) {
        printf("missed       %s: the rate was not reached\n",
               text_count(t[0], sizeof t[0], missed(plan, sum)));
    }
    printf("time         %.2f s\nrate         %s/s, %s/s\nack latency  %s\n", seconds,
           text_count(t[0], sizeof t[0], (int64_t)rate),
           text_bytes(t[1], sizeof t[1], seconds > 0 ? stored_bytes / seconds : 0),
           latency_text(sum->latency, latency, sizeof latency));
}

static int run_producers(struct plan *plan, struct producer *producers, const char *options)
{
    struct progress progress;
    int r = EXIT_DONE;
    for (int64_t i = 0; i < plan->n_producers && !r; i++) {
        producers[i].plan = plan;
        producers[i].index = i;
        producers[i].latency = histogram_new();
        r = producers[i].latency ? session_handle(&plan->s, options, &producers[i].w)
                                 : cli_fail(EXIT_REFUSED, "out of memory");
    }
    if (r) {
        return r;
    }
    interrupt_catch();
    progress_init(&progress);
    plan->start_ns = cli_mono_ns();
    for (int64_t i = 0; i < plan->n_producers; i++) {
        producers[i].started =
            pthread_create(&producers[i].thread, NULL, producer_main, &producers[i]) == 0;
        if (!producers[i].started) {
            r = cli_fail(EXIT_REFUSED, "cannot start a thread");
        }
    }
    watch(producers, plan, &progress);
    add_up(producers, plan->n_producers);
    if (r) {
        return r;
    }
    show(plan, &producers[0]);
    return producers[0].first_failure.code == WEIR_OK
               ? EXIT_DONE
               : session_fail_topic(&plan->s, plan->topic, &producers[0].first_failure);
}

static int dry_run(const struct plan *plan)
{
    char t[2][32];
    weir_topic *topic = NULL;
    weir_error e = weir_topic_describe(plan->s.w, plan->topic, &topic, plan->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_topic(&plan->s, plan->topic, &e);
    }
    weir_topic_free(topic);
    printf("would send %s messages of %s to topic %s from %" PRId64 " producers, for at most "
           "%.1f s; nothing was sent\n",
           plan->count < 0 ? "unlimited" : text_count(t[0], sizeof t[0], plan->count),
           plan->payload.line_end ? "a file"
                                  : text_bytes(t[1], sizeof t[1], (double)plan->payload.size),
           plan->topic, plan->n_producers, (double)plan->duration_ns / 1e9);
    return EXIT_DONE;
}

int run_bench_produce(const struct args *a)
{
    char options[96] = "";
    int n = 0;
    struct producer *producers = NULL;
    struct plan plan = {.topic = bench_topic(a),
                        .rate_per_s = args_rate(a, OPT_RATE_LOAD),
                        .count = args_number(a, OPT_COUNT, -1),
                        .n_producers = args_number(a, OPT_PRODUCERS, 1)};
    /* with a count alone, time does not end the run */
    int64_t fallback_ms = plan.count >= 0 ? VALUE_COUNT_MAX / 1000000 : DURATION_DEFAULT_MS;
    plan.duration_ns = args_number(a, OPT_DURATION, fallback_ms) * 1000000;
    if (!plan.topic) {
        return EXIT_USAGE;
    }
    if (plan.n_producers < 1 || plan.n_producers > PRODUCERS_MAX) {
        return cli_fail(EXIT_USAGE, "--producers: 1 to %d", PRODUCERS_MAX);
    }
    if (args_has(a, OPT_BATCH)) {
        n = snprintf(options, sizeof options, "batch_records=%s", args_text(a, OPT_BATCH, ""));
    }
    if (args_has(a, OPT_COMPRESSION)) {
        snprintf(options + n, sizeof options - (size_t)n, " compression=%s",
                 args_text(a, OPT_COMPRESSION, ""));
    }
    int r = payload_init(&plan.payload, a);
    if (!r) {
        r = session_open(&plan.s, a, NULL);
    }
    if (!r && args_has(a, OPT_DRY_RUN)) {
        r = dry_run(&plan);
    } else if (!r) {
        producers = calloc((size_t)plan.n_producers, sizeof *producers);
        r = producers ? run_producers(&plan, producers, options)
                      : cli_fail(EXIT_REFUSED, "out of memory");
    }
    for (int64_t i = 0; producers && i < plan.n_producers; i++) {
        weir_close(producers[i].w, 0);
        histogram_free(producers[i].latency);
        pending_fini(&producers[i].pool);
    }
    free(producers);
    payload_fini(&plan.payload);
    session_close(&plan.s);
    return r;
}
