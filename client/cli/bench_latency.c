/*
 * weir bench latency: an open-loop measurement.
 * Happy path: a consumer thread subscribes at the end of the topic. The main thread sends probes to
 * every partition until each has come back, so nothing of the start-up is measured. Then it sends
 * on a fixed time grid, each message carrying its planned time. Both latencies, to the
 * acknowledgement and to the delivery, count from that planned time, never from the actual send:
 * whatever delays one send shows in all that were due meanwhile (no coordinated omission). What can
 * fail: single messages, which are counted; the first failure is reported at the end. Who owns
 * what: the consumer thread owns its handle and histogram until it is joined. The two threads share
 * atomics only.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/bench.h"
#include "client/cli/clock.h"
#include "client/cli/interrupt.h"
#include "client/cli/pending.h"
#include "client/cli/progress.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/values.h"
#include "client/cli/wait.h"

enum {
    STAMP_BYTES = 24, /* run id, planned time, partition of a probe or -1 */
    DURATION_DEFAULT_MS = 10000,
    PROBE_EVERY_MS = 100,
    PROBE_MS = 10000, /* how long the start-up may take */
    DRAIN_MS = 10000, /* how long the last deliveries may take */
    PARTITIONS_MAX = 1024
};

struct stamp {
    int64_t run, planned_ns, probe;
};
_Static_assert(sizeof(struct stamp) == STAMP_BYTES, "no padding on its way through the broker");

struct latency {
    struct session s;
    const char *topic;
    struct payload payload;
    char *value; /* payload with a stamp at its start */
    double rate_per_s;
    int64_t duration_ns, run;
    int32_t n_partitions;
    struct pending_pool pool;
    struct histogram *ack, *delivery;
    int64_t n_sent, n_stored, n_refused, n_unknown;
    weir_error first_failure;
    /* the consumer thread's */
    weir *consumer;
    weir_sub *sub;
    pthread_t thread;
    weir_error consumer_error;
    bool seen[PARTITIONS_MAX];
    /* shared */
    atomic_int n_partitions_seen;
    atomic_llong n_delivered;
    atomic_bool stop;
};

static void *consumer_main(void *arg)
{
    struct latency *l = arg;
    while (!atomic_load(&l->stop)) {
        struct stamp stamp;
        const weir_message *m = weir_next(l->sub, 100);
        if (!m) {
            weir_error e = weir_sub_error(l->sub);
            if (e.code != WEIR_E_TIMEOUT) {
                l->consumer_error = e;
                break;
            }
            continue;
        }
        int64_t now_ns = cli_mono_ns();
        if (m->value.size >= STAMP_BYTES) {
            memcpy(&stamp, m->value.data, STAMP_BYTES);
            bool ours = stamp.run == l->run;
            if (ours && stamp.probe < 0) {
                histogram_add(l->delivery, now_ns - stamp.planned_ns);
                atomic_fetch_add(&l->n_delivered, 1);
            } else if (ours && m->partition < PARTITIONS_MAX && !l->seen[m->partition]) {
                l->seen[m->partition] = true;
                atomic_fetch_add(&l->n_partitions_seen, 1);
            }
        }
        weir_done(m, WEIR_ACK);
    }
    return NULL;
}

static void on_sent(void *user, const weir_receipt *r)
{
    struct pending *slot = user;
    struct latency *l = slot->owner;
    if (slot->number < 0) {
        /* a probe: only its failure counts */
    } else if (r->error.outcome == WEIR_DONE) {
        l->n_stored++;
        histogram_add(l->ack, cli_mono_ns() - slot->number);
    } else {
        l->n_unknown += r->error.outcome == WEIR_UNKNOWN;
        l->n_refused += r->error.outcome != WEIR_UNKNOWN;
    }
    if (r->error.outcome != WEIR_DONE && l->first_failure.code == WEIR_OK) {
        l->first_failure = r->error;
    }
    pending_give(&l->pool, slot);
}

/* @param probe partition to probe, or -1 for a message that is measured */
static void send_one(struct latency *l, int64_t planned_ns, int32_t probe)
{
    struct stamp stamp = {l->run, planned_ns, probe};
    weir_send_options o = WEIR_SEND_OPTIONS;
    o.partition = probe;
    memcpy(l->value, &stamp, STAMP_BYTES);
    struct pending *slot = pending_take(&l->pool, l, probe < 0 ? planned_ns : -1);
    weir_error e = {.code = WEIR_E_NOMEM, .outcome = WEIR_NOT_DONE, .text = "out of memory"};
    while (slot) {
        e = weir_send_async(l->s.w, l->topic, weir_bytes_of(NULL, 0),
                            weir_bytes_of(l->value, l->payload.size), &o, on_sent, slot);
        if (e.code != WEIR_E_BUFFER_FULL || interrupt_seen()) {
            break;
        }
        wait_io(l->s.w, -1, 0, WAIT_SLICE_MS * INT64_C(1000000));
    }
    if (e.outcome == WEIR_DONE) {
        l->n_sent += probe < 0;
        return;
    }
    if (slot) {
        pending_give(&l->pool, slot);
    }
    l->n_refused += probe < 0;
    if (l->first_failure.code == WEIR_OK) {
        l->first_failure = e;
    }
}

static void wait_until(struct latency *l, int64_t due_ns)
{
    for (int64_t now_ns = cli_mono_ns(); now_ns < due_ns && !interrupt_seen();
         now_ns = cli_mono_ns()) {
        int64_t slice_ns = WAIT_SLICE_MS * INT64_C(1000000);
        wait_io(l->s.w, -1, 0, due_ns - now_ns < slice_ns ? due_ns - now_ns : slice_ns);
    }
}

/* Sends probes until the consumer has seen one from each partition. */
static int warm_up(struct latency *l)
{
    int64_t end_ns = cli_mono_ns() + PROBE_MS * INT64_C(1000000);
    while (atomic_load(&l->n_partitions_seen) < l->n_partitions) {
        if (cli_mono_ns() > end_ns || l->first_failure.code != WEIR_OK) {
            return l->first_failure.code != WEIR_OK
                       ? session_fail_topic(&l->s, l->topic, &l->first_failure)
                       : cli_fail(EXIT_UNREACHABLE, "the first messages did not come back in %d s",
                                  PROBE_MS / 1000);
        }
        if (interrupt_seen()) {
            return cli_fail(EXIT_REFUSED, "interrupted before the measurement began");
        }
        for (int32_t i = 0; i < l->n_partitions; i++) {
            send_one(l, 0, i);
        }
        int64_t due_ns = cli_mono_ns() + PROBE_EVERY_MS * INT64_C(1000000);
        while (atomic_load(&l->n_partitions_seen) < l->n_partitions && cli_mono_ns() < due_ns) {
            wait_io(l->s.w, -1, 0, 1000000);
        }
    }
    return EXIT_DONE;
}

static void measure(struct latency *l)
{
    struct progress progress;
    progress_init(&progress);
    int64_t start_ns = cli_mono_ns();
    for (int64_t i = 0; !interrupt_seen() && l->first_failure.code == WEIR_OK; i++) {
        int64_t planned_ns = grid_ns(start_ns, l->rate_per_s, i);
        if (planned_ns - start_ns >= l->duration_ns) {
            break;
        }
        wait_until(l, planned_ns);
        send_one(l, planned_ns, -1);
        weir_on_io(l->s.w);
        progress_update(&progress, "stored", l->n_stored,
                        (double)l->n_stored * (double)l->payload.size);
    }
    while (weir_pending_messages(l->s.w) > 0) {
        weir_flush(l->s.w, WAIT_SLICE_MS);
    }
    int64_t end_ns = cli_mono_ns() + DRAIN_MS * INT64_C(1000000);
    while (atomic_load(&l->n_delivered) < l->n_stored && cli_mono_ns() < end_ns) {
        wait_io(l->s.w, -1, 0, INT64_C(10000000));
    }
    progress_clear(&progress);
}

static void show(const struct latency *l, int64_t n_delivered)
{
    char t[3][32];
    char text[2][160];
    if (l->s.output != OUTPUT_TABLE) {
        struct json j;
        json_init(&j, stdout, l->s.output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_text(&j, "bench", "latency");
        json_text(&j, "topic", l->topic);
        json_double(&j, "rate_per_s", l->rate_per_s);
        json_uint(&j, "size", l->payload.size);
        json_int(&j, "sent", l->n_sent);
        json_int(&j, "stored", l->n_stored);
        json_int(&j, "not_stored", l->n_refused);
        json_int(&j, "unknown", l->n_unknown);
        json_int(&j, "delivered", n_delivered);
        latency_json(&j, "ack_latency", l->ack);
        latency_json(&j, "delivery_latency", l->delivery);
        json_close(&j, '}');
        json_end(&j);
        return;
    }
    printf("messages  %s sent at %s/s, %s delivered\n", text_count(t[0], sizeof t[0], l->n_sent),
           text_count(t[1], sizeof t[1], (int64_t)l->rate_per_s),
           text_count(t[2], sizeof t[2], n_delivered));
    printf("ack       %s\ndelivery  %s\n", latency_text(l->ack, text[0], sizeof text[0]),
           latency_text(l->delivery, text[1], sizeof text[1]));
}

static int prepare(struct latency *l)
{
    struct start start = {START_LATEST, 0};
    weir_topic *t = NULL;
    weir_error e = weir_topic_describe(l->s.w, l->topic, &t, l->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_topic(&l->s, l->topic, &e);
    }
    l->n_partitions = weir_topic_partitions(t);
    weir_topic_free(t);
    l->n_partitions = l->n_partitions < PARTITIONS_MAX ? l->n_partitions : PARTITIONS_MAX;
    l->run = cli_mono_ns() ^ (int64_t)(cli_wall_ms() << 20);
    l->value = malloc(l->payload.size);
    l->ack = histogram_new();
    l->delivery = histogram_new();
    if (!l->value || !l->ack || !l->delivery) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    memcpy(l->value, l->payload.block, l->payload.size);
    int r = session_handle(&l->s, NULL, &l->consumer);
    return r ? r : reader_open(l->consumer, l->topic, &start, -1, NULL, &l->sub);
}

static int run_latency(struct latency *l)
{
    int r = prepare(l);
    if (r) {
        return r;
    }
    interrupt_catch();
    if (pthread_create(&l->thread, NULL, consumer_main, l) != 0) {
        return cli_fail(EXIT_REFUSED, "cannot start a thread");
    }
    r = warm_up(l);
    if (!r) {
        measure(l);
    }
    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
    if (r) {
        return r;
    }
    int64_t n_delivered = atomic_load(&l->n_delivered);
    show(l, n_delivered);
    if (l->first_failure.code != WEIR_OK) {
        return session_fail_topic(&l->s, l->topic, &l->first_failure);
    }
    if (l->consumer_error.code != WEIR_OK) {
        return session_fail_topic(&l->s, l->topic, &l->consumer_error);
    }
    return n_delivered >= l->n_stored
               ? EXIT_DONE
               : cli_fail(EXIT_REFUSED, "%" PRId64 " messages were not delivered in %d s",
                          l->n_stored - n_delivered, DRAIN_MS / 1000);
}

static int dry_run(const struct latency *l)
{
    weir_topic *t = NULL;
    weir_error e = weir_topic_describe(l->s.w, l->topic, &t, l->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_topic(&l->s, l->topic, &e);
    }
    weir_topic_free(t);
    printf("would send %.0f messages of %zu bytes to topic %s in %.1f s; nothing was sent\n",
           l->rate_per_s * (double)l->duration_ns / 1e9, l->payload.size, l->topic,
           (double)l->duration_ns / 1e9);
    return EXIT_DONE;
}

int run_bench_latency(const struct args *a)
{
    char options[64] = "";
    struct latency l = {.topic = bench_topic(a), .rate_per_s = args_rate(a, OPT_RATE_GRID)};
    l.rate_per_s = l.rate_per_s > 0 ? l.rate_per_s : 1000;
    l.duration_ns = args_number(a, OPT_DURATION, DURATION_DEFAULT_MS) * 1000000;
    if (!l.topic) {
        return EXIT_USAGE;
    }
    if (args_has(a, OPT_COMPRESSION)) {
        snprintf(options, sizeof options, "compression=%s", args_text(a, OPT_COMPRESSION, ""));
    }
    int r = payload_init(&l.payload, a);
    if (!r && l.payload.size < STAMP_BYTES) {
        r = cli_fail(EXIT_USAGE, "--size: at least %d bytes, for the time stamp", STAMP_BYTES);
    }
    if (!r) {
        r = session_open(&l.s, a, options);
    }
    if (!r && args_has(a, OPT_DRY_RUN)) {
        r = dry_run(&l);
    } else if (!r) {
        r = run_latency(&l);
    }
    weir_close(l.consumer, 0);
    session_close(&l.s);
    histogram_free(l.ack);
    histogram_free(l.delivery);
    pending_fini(&l.pool);
    free(l.value);
    payload_fini(&l.payload);
    return r;
}
