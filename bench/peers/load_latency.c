/*
 * bench-load latency: open loop. Messages are due on a grid that does not wait for anybody, at most
 * one point every 100 us; at higher rates several are due at each point. Every latency counts from
 * the moment a message was due, so whatever delays one shows in all that were due meanwhile. The
 * first seconds (--warm) are not counted. One thread sends and sees the acknowledgements, another
 * reads (and acknowledges, in queue mode).
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/load.h"

enum { TICK_NS = 100000, PROBE_MS = 100, PROBES = 200, DRAIN_S = 10 };

struct stamp {
    int64_t run, due_ns; /* due 0 = a probe */
};

struct latency {
    const struct load *l;
    struct peer_conn *producer;
    struct histogram *ack, *delivery;
    char *value;
    size_t value_cap;
    int64_t run, counted_from_ns;
    int64_t n_sent, n_stored, n_refused;
    unsigned in_flight;
    /* the reader's */
    pthread_t thread;
    struct peer_conn *consumer;
    struct peer_options reader_options;
    bool reader_failed;
    int64_t last_ns;
    /* shared */
    atomic_bool subscribed, seen, stop;
    atomic_llong n_delivered;
};

static void on_message(void *user, const void *data, size_t size, const struct peer_handle *h)
{
    struct latency *a = user;
    struct stamp s;
    const int64_t now_ns = peer_now_ns();

    if (size >= sizeof s) {
        memcpy(&s, data, sizeof s);
        if (s.run == a->run && s.due_ns == 0) {
            atomic_store(&a->seen, true);
        } else if (s.run == a->run) {
            if (s.due_ns >= a->counted_from_ns) {
                histogram_add(a->delivery, now_ns - s.due_ns);
            }
            (void)atomic_fetch_add_explicit(&a->n_delivered, 1, memory_order_relaxed);
        }
    }
    if (a->l->mode == PEER_QUEUE) {
        (void)a->l->driver->settle(a->consumer, h);
    }
}

static void on_acked(void *user, int64_t stamp, bool ok)
{
    struct latency *a = user;

    a->in_flight--;
    if (stamp != 0) {
        a->n_stored += ok;
        a->n_refused += !ok;
        if (stamp >= a->counted_from_ns) {
            histogram_add(a->ack, peer_now_ns() - stamp);
        }
    }
}

static void *reader_main(void *arg)
{
    struct latency *a = arg;
    const struct peer_driver *d = a->l->driver;
    const struct peer_events on = {.user = a, .message = on_message, .acked = on_acked};

    load_exact_timers();
    a->consumer = load_open(a->l, &a->reader_options, &on);
    a->reader_failed = a->consumer == NULL || d->subscribe(a->consumer, a->l->mode, 0, true) != 0;
    atomic_store(&a->subscribed, true);
    while (!a->reader_failed && !atomic_load_explicit(&a->stop, memory_order_relaxed)) {
        a->reader_failed = d->poll(a->consumer) != 0;
        if (d->push != NULL) {
            d->push(a->consumer);
        }
        d->wait(a->consumer, peer_now_ns() + LOAD_WAIT_MS * (LOAD_NS_PER_S / 1000));
    }
    if (a->reader_failed && a->consumer != NULL) {
        (void)load_fail("%s: %s", d->name, a->consumer->error);
    }
    if (a->consumer != NULL) {
        d->close(a->consumer);
    }
    return NULL;
}

static enum peer_sent send_one(struct latency *a, int64_t due_ns)
{
    size_t size;
    const void *value = payload_value(&a->l->payload, (uint64_t)a->n_sent, &size);
    const struct stamp s = {a->run, due_ns};

    if (size > a->value_cap) {
        free(a->value);
        a->value_cap = size > sizeof s ? size : sizeof s;
        a->value = malloc(a->value_cap);
        if (a->value == NULL) {
            abort();
        }
    }
    memcpy(a->value, value, size);
    memcpy(a->value, &s, size < sizeof s ? size : sizeof s);
    const enum peer_sent r = a->l->driver->send(a->producer, a->value, size, due_ns);
    a->in_flight += r == PEER_SENT;
    return r;
}

/* Serves the producer's connection until a moment; sleeps in between. @return 0 or -1 */
static int serve(struct latency *a, int64_t until_ns)
{
    const struct peer_driver *d = a->l->driver;
    int rc = 0;

    do {
        if (d->push != NULL) {
            d->push(a->producer);
        }
        rc = d->poll(a->producer);
        if (rc == 0 && peer_now_ns() < until_ns) {
            d->wait(a->producer, until_ns);
        }
    } while (rc == 0 && peer_now_ns() < until_ns);
    return rc;
}

/* Probes until the reader has seen one. */
static int warm_up(struct latency *a)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < PROBES && !(atomic_load(&a->seen) && a->in_flight == 0); i++) {
        if (atomic_load(&a->subscribed) && !atomic_load(&a->seen)) {
            rc = send_one(a, 0) == PEER_FAILED ? -1 : 0;
        }
        rc = rc == 0 ? serve(a, peer_now_ns() + PROBE_MS * (LOAD_NS_PER_S / 1000)) : rc;
    }
    return atomic_load(&a->seen) ? rc : -1;
}

static int measure(struct latency *a)
{
    const struct load *l = a->l;
    const double per_tick = l->rate * TICK_NS / 1e9;
    const double every_ns = per_tick >= 1 ? TICK_NS : 1e9 / l->rate;
    const int64_t burst = per_tick >= 1 ? (int64_t)per_tick : 1;
    const int64_t start_ns = peer_now_ns() + TICK_NS;
    const int64_t total = (int64_t)((double)l->seconds * 1e9 / every_ns) * burst;
    int rc = 0;

    a->counted_from_ns = start_ns + l->warm_s * LOAD_NS_PER_S;
    while (rc == 0 && a->n_sent < total) {
        int64_t due_ns = start_ns + (int64_t)((double)(a->n_sent / burst) * every_ns);
        const int64_t now_ns = peer_now_ns();
        enum peer_sent sent = PEER_SENT;
        for (int turn = 0; due_ns <= now_ns && a->n_sent < total && turn < LOAD_TURN; turn++) {
            sent = a->in_flight < l->o.window ? send_one(a, due_ns) : PEER_FULL;
            if (sent != PEER_SENT) {
                break;
            }
            a->n_sent++;
            due_ns = start_ns + (int64_t)((double)(a->n_sent / burst) * every_ns);
        }
        /* What cannot be sent stays due; given up when the end is long over. */
        if (now_ns > start_ns + (l->seconds + DRAIN_S) * LOAD_NS_PER_S) {
            break;
        }
        rc = sent == PEER_FAILED
                 ? -1
                 : serve(a, sent == PEER_FULL ? now_ns + LOAD_NS_PER_S / 1000 : due_ns);
    }
    const int64_t until_ns = peer_now_ns() + DRAIN_S * LOAD_NS_PER_S;
    while (rc == 0 && peer_now_ns() < until_ns &&
           (a->in_flight > 0 || atomic_load(&a->n_delivered) < a->n_stored)) {
        rc = serve(a, peer_now_ns() + LOAD_NS_PER_S / 1000);
    }
    a->last_ns = peer_now_ns() - start_ns;
    return rc;
}

static int show(struct latency *a, double cpu_s)
{
    const int64_t delivered = atomic_load(&a->n_delivered);
    const double seconds = (double)a->last_ns / 1e9;
    struct json j;

    load_json_start(&j, a->l, "latency");
    json_double(&j, "offered_rate", a->l->rate);
    json_int(&j, "planned", (int64_t)(a->l->rate * (double)a->l->seconds));
    json_int(&j, "sent", a->n_sent);
    json_int(&j, "messages", a->n_stored);
    json_int(&j, "refused", a->n_refused);
    json_int(&j, "delivered", delivered);
    json_double(&j, "seconds", seconds);
    json_double(&j, "rate", seconds > 0 ? (double)delivered / seconds : 0);
    load_json_latency(&j, "ack", a->ack);
    load_json_latency(&j, "delivery", a->delivery);
    load_json_end(&j, cpu_s);
    return 0;
}

int load_latency(struct load *l)
{
    l->o.prompt = true;
    struct latency a = {.l = l,
                        .reader_options = l->o,
                        .ack = histogram_new(),
                        .delivery = histogram_new(),
                        .run = peer_now_ns(),
                        .counted_from_ns = INT64_MAX};
    const struct peer_events on = {.user = &a, .acked = on_acked};
    int rc = 1;

    if (l->rate <= 0 || (l->driver->modes & l->mode) == 0 || a.ack == NULL || a.delivery == NULL) {
        rc = load_fail("latency needs --rate, and a --mode that the peer has");
    } else if (pthread_create(&a.thread, NULL, reader_main, &a) != 0) {
        rc = load_fail("no thread");
    } else {
        load_exact_timers();
        const double cpu_s = load_cpu_s();
        a.producer = load_open(l, &l->o, &on);
        if (a.producer != NULL) {
            if (warm_up(&a) != 0) {
                rc = load_fail("%s: the first messages did not come back: %s", l->driver->name,
                               a.producer->error);
            } else if (measure(&a) != 0) {
                rc = load_fail("%s: %s", l->driver->name, a.producer->error);
            } else {
                rc = 0;
            }
        }
        atomic_store(&a.stop, true);
        (void)pthread_join(a.thread, NULL);
        rc = rc == 0 && !a.reader_failed ? show(&a, load_cpu_s() - cpu_s) : 1;
        if (a.producer != NULL) {
            l->driver->close(a.producer);
        }
    }
    histogram_free(a.ack);
    histogram_free(a.delivery);
    free(a.value);
    return rc;
}
