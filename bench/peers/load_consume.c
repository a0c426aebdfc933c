/*
 * bench-load consume: members that read what is there. Time runs from the first message to the
 * moment when everything handed out is acknowledged and its acknowledgements are stored; how long
 * the first message took is told apart.
 *
 * Queue mode: each message is given back by a call of its own, and not in the order of delivery:
 * runs of 64 are turned round.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers/load.h"

enum { TURN_ROUND = 64, IDLE_S = 20 };

struct reader {
    struct consume *all;
    struct peer_options o; /* fan-out: a group of its own */
    char group[64];
    unsigned index;
    pthread_t thread;
    struct peer_conn *c;
    struct peer_handle held[TURN_ROUND];
    unsigned n_held;
    int64_t n, first_ns, last_ns, end_ns;
    double bytes;
    bool failed;
    char error[PEER_ERROR_BYTES];
};

struct consume {
    struct load *l;
    struct reader *readers;
    pthread_barrier_t ready;
    int64_t start_ns, until_ns;
    atomic_llong n_taken;
    atomic_llong last_ns; /* of any reader */
};

static void give_back(struct reader *r)
{
    while (r->n_held > 0) {
        (void)r->all->l->driver->settle(r->c, &r->held[--r->n_held]);
    }
}

static void on_message(void *user, const void *data, size_t size, const struct peer_handle *h)
{
    struct reader *r = user;

    (void)data;
    if (r->n++ == 0) {
        r->first_ns = peer_now_ns();
    }
    r->bytes += (double)size;
    if (r->all->l->mode == PEER_QUEUE) {
        r->held[r->n_held++] = *h;
        if (r->n_held == TURN_ROUND) {
            give_back(r);
        }
    }
}

static void on_acked(void *user, int64_t stamp, bool ok)
{
    (void)user;
    (void)stamp;
    (void)ok;
}

/* Whether there is nothing more to do for this one. */
static bool over(struct reader *r, int64_t now_ns)
{
    struct consume *a = r->all;
    const int64_t taken =
        a->l->fan_out ? r->n : atomic_load_explicit(&a->n_taken, memory_order_relaxed);
    const int64_t last_ns = atomic_load_explicit(&a->last_ns, memory_order_relaxed);

    return taken >= a->l->count || now_ns >= a->until_ns ||
           now_ns - last_ns > IDLE_S * LOAD_NS_PER_S;
}

static void read_all(struct reader *r)
{
    struct consume *a = r->all;
    const struct load *l = a->l;
    int64_t counted = 0; /* some may have come while subscribing */

    for (int64_t now_ns = peer_now_ns(); !over(r, now_ns); now_ns = peer_now_ns()) {
        if (l->max_take_rate > 0 &&
            (double)r->n / (double)l->max_take_rate > (double)(now_ns - a->start_ns) / 1e9) {
            l->driver->wait(r->c, now_ns + LOAD_NS_PER_S / 1000);
            continue;
        }
        if (l->driver->poll(r->c) != 0) {
            r->failed = true;
            break;
        }
        give_back(r);
        if (l->driver->push != NULL) {
            l->driver->push(r->c);
        }
        if (r->n > counted) {
            r->last_ns = peer_now_ns();
            atomic_store_explicit(&a->last_ns, r->last_ns, memory_order_relaxed);
            (void)atomic_fetch_add_explicit(&a->n_taken, r->n - counted, memory_order_relaxed);
            counted = r->n;
        } else {
            l->driver->wait(r->c, now_ns + LOAD_WAIT_MS * (LOAD_NS_PER_S / 1000) / 10);
        }
    }
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    const struct load *l = r->all->l;
    const struct peer_events on = {.user = r, .message = on_message, .acked = on_acked};

    load_exact_timers();
    r->c = load_open(l, &r->o, &on);
    r->failed = r->c == NULL;
    (void)pthread_barrier_wait(&r->all->ready);
    if (!r->failed) {
        r->failed = l->driver->subscribe(r->c, l->mode, l->fan_out ? 0 : r->index, false) != 0;
    }
    if (!r->failed) {
        read_all(r);
        r->failed = r->failed || (l->driver->commit != NULL && l->driver->commit(r->c) != 0);
        /* A member that found nothing to do does not lengthen the run. */
        r->end_ns = r->n > 0 ? peer_now_ns() : 0;
    }
    if (r->c != NULL) {
        memcpy(r->error, r->c->error, sizeof r->error);
        l->driver->close(r->c);
    }
    return NULL;
}

static int show(const struct consume *a, double cpu_s)
{
    const struct load *l = a->l;
    int64_t n = 0, first_ns = INT64_MAX, end_ns = 0, last_ns = 0;
    double bytes = 0;
    struct json j;

    for (unsigned i = 0; i < l->clients; i++) {
        const struct reader *r = &a->readers[i];
        if (r->failed) {
            return load_fail("%s: %s", l->driver->name, r->error);
        }
        n += r->n;
        bytes += r->bytes;
        first_ns = r->n > 0 && r->first_ns < first_ns ? r->first_ns : first_ns;
        last_ns = r->last_ns > last_ns ? r->last_ns : last_ns;
        end_ns = r->end_ns > end_ns ? r->end_ns : end_ns;
    }
    /* Where nothing has to be stored, closing and waiting for others is not reading. */
    end_ns = l->mode == PEER_READ ? last_ns : end_ns;
    const double seconds = n > 0 ? (double)(end_ns - first_ns) / 1e9 : 0;
    load_json_start(&j, l, "consume");
    json_uint(&j, "members", l->clients);
    json_bool(&j, "fan_out", l->fan_out);
    json_int(&j, "messages", n);
    json_bool(&j, "complete", n >= (l->fan_out ? l->count * l->clients : l->count));
    json_double(&j, "bytes", bytes);
    json_double(&j, "first_s", n > 0 ? (double)(first_ns - a->start_ns) / 1e9 : 0);
    json_double(&j, "seconds", seconds);
    json_double(&j, "rate", seconds > 0 ? (double)n / seconds : 0);
    json_double(&j, "bytes_per_s", seconds > 0 ? bytes / seconds : 0);
    load_json_end(&j, cpu_s);
    return n > 0 ? 0 : load_fail("%s: nothing came", l->driver->name);
}

int load_consume(struct load *l)
{
    struct consume a = {.l = l, .readers = calloc(l->clients, sizeof *a.readers)};

    if (a.readers == NULL) {
        return load_fail("no memory");
    }
    if ((l->driver->modes & l->mode) == 0) {
        free(a.readers);
        return load_fail("%s cannot read in this mode", l->driver->name);
    }
    (void)pthread_barrier_init(&a.ready, NULL, l->clients + 1);
    l->o.members = l->fan_out ? 1 : l->clients;
    for (unsigned i = 0; i < l->clients; i++) {
        struct reader *r = &a.readers[i];
        r->all = &a;
        r->index = i;
        r->o = l->o;
        if (l->fan_out) {
            snprintf(r->group, sizeof r->group, "%s-%u", l->o.group, i);
            r->o.group = r->group;
        }
        if (pthread_create(&r->thread, NULL, reader_main, r) != 0) {
            abort();
        }
    }
    const double cpu_s = load_cpu_s();
    a.start_ns = peer_now_ns();
    a.until_ns = a.start_ns + l->seconds * LOAD_NS_PER_S;
    atomic_store(&a.last_ns, a.start_ns);
    (void)pthread_barrier_wait(&a.ready);
    for (unsigned i = 0; i < l->clients; i++) {
        (void)pthread_join(a.readers[i].thread, NULL);
    }
    const int rc = show(&a, load_cpu_s() - cpu_s);
    (void)pthread_barrier_destroy(&a.ready);
    free(a.readers);
    return rc;
}
