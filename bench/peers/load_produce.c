/*
 * bench-load produce: connections that send as fast as their messages are answered, or on a grid.
 * A thread serves one connection, or many by epoll when each has one message in flight. Time runs
 * from the start, common to all, to the last answer; before it each connection sends one message,
 * so that neither connecting nor routing is measured.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/peers/load.h"

enum { EVENTS = 256 };

struct sender {
    struct worker *worker;
    struct peer_conn *c;
    int64_t quota, n_sent, n_answered; /* of the measured ones */
    int64_t due_ns;                    /* with a rate: of the next */
    unsigned in_flight;
    uint64_t next_value;
};

struct worker {
    const struct load *l;
    struct run *run;
    pthread_t thread;
    struct sender *senders;
    unsigned n;
    struct histogram *latency;
    int64_t n_stored, n_refused, end_ns;
    double bytes;
    bool failed;
    char error[PEER_ERROR_BYTES];
};

struct run {
    struct load *l;
    struct worker *workers;
    unsigned n_workers;
    struct sender *senders;
    pthread_barrier_t ready, go;
    int64_t start_ns, until_ns; /* set between the two */
};

static void on_acked(void *user, int64_t stamp, bool ok)
{
    struct sender *s = user;
    struct worker *w = s->worker;
    const int64_t now_ns = peer_now_ns();

    s->in_flight--;
    if (stamp == 0) {
        return; /* the one before the start */
    }
    s->n_answered++;
    w->n_stored += ok;
    w->n_refused += !ok;
    w->end_ns = now_ns;
    histogram_add(w->latency, now_ns - stamp);
}

static bool finished(const struct sender *s, int64_t now_ns)
{
    return s->in_flight == 0 && (s->n_sent >= s->quota || now_ns >= s->worker->run->until_ns);
}

/* Sends what may go now. @return messages sent */
static unsigned pump(struct sender *s, int64_t now_ns)
{
    const struct load *l = s->worker->l;
    const double per_s = l->rate / l->clients;
    unsigned n = 0;

    while (n < LOAD_TURN && s->n_sent < s->quota && s->in_flight < l->o.window &&
           now_ns < s->worker->run->until_ns && (l->rate <= 0 || s->due_ns <= now_ns)) {
        size_t size;
        const void *value = payload_value(&l->payload, s->next_value, &size);
        if (l->driver->send(s->c, value, size, l->rate > 0 ? s->due_ns : now_ns) != PEER_SENT) {
            break;
        }
        s->next_value += l->clients;
        s->in_flight++;
        s->n_sent++;
        s->worker->bytes += (double)size;
        n++;
        s->due_ns = s->worker->run->start_ns + (int64_t)((double)s->n_sent * 1e9 / per_s);
    }
    if (n > 0 && l->driver->push != NULL) {
        l->driver->push(s->c);
    }
    return n;
}

static void failed(struct sender *s)
{
    s->worker->failed = true;
    memcpy(s->worker->error, s->c->error, sizeof s->worker->error);
}

static void serve_one(struct sender *s)
{
    const struct load *l = s->worker->l;

    for (int64_t now_ns = peer_now_ns(); !finished(s, now_ns); now_ns = peer_now_ns()) {
        const unsigned sent = pump(s, now_ns);
        const unsigned in_flight = s->in_flight;
        if (l->driver->poll(s->c) != 0) {
            failed(s);
            break;
        }
        if (sent == 0 && in_flight == s->in_flight) {
            int64_t until_ns = now_ns + LOAD_WAIT_MS * (LOAD_NS_PER_S / 1000);
            if (l->rate > 0 && s->due_ns > now_ns && s->due_ns < until_ns) {
                until_ns = s->due_ns;
            }
            l->driver->wait(s->c, until_ns);
        }
    }
}

static void serve_many(struct worker *w)
{
    const struct load *l = w->l;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];
    unsigned busy = w->n;

    for (unsigned i = 0; i < w->n; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data = {.ptr = &w->senders[i]}};
        w->failed =
            w->failed || epoll_ctl(epoll, EPOLL_CTL_ADD, l->driver->fd(w->senders[i].c), &e);
        (void)pump(&w->senders[i], peer_now_ns());
    }
    while (busy > 0 && !w->failed) {
        const int n = epoll_wait(epoll, events, EVENTS, LOAD_WAIT_MS);
        const int64_t now_ns = peer_now_ns();
        for (int i = 0; i < n && !w->failed; i++) {
            struct sender *s = events[i].data.ptr;
            if (l->driver->poll(s->c) != 0) {
                failed(s);
            }
            (void)pump(s, now_ns);
        }
        if (n == 0) { /* timers of the libraries, and what did not fit into a socket */
            for (unsigned i = 0; i < w->n; i++) {
                (void)l->driver->poll(w->senders[i].c);
                (void)pump(&w->senders[i], now_ns);
            }
        }
        busy = 0;
        for (unsigned i = 0; i < w->n; i++) {
            busy += !finished(&w->senders[i], now_ns);
        }
    }
    (void)close(epoll);
}

/* One message each, so that the connection is used before the time runs. */
static void first_message(struct sender *s)
{
    const struct load *l = s->worker->l;
    const int64_t until_ns = peer_now_ns() + 60 * LOAD_NS_PER_S;
    size_t size;
    const void *value = payload_value(&l->payload, s->next_value, &size);

    if (l->driver->send(s->c, value, size, 0) == PEER_SENT) {
        s->in_flight++;
        if (l->driver->push != NULL) {
            l->driver->push(s->c);
        }
    }
    while (s->in_flight > 0 && peer_now_ns() < until_ns && l->driver->poll(s->c) == 0) {
        l->driver->wait(s->c, peer_now_ns() + LOAD_WAIT_MS * (LOAD_NS_PER_S / 1000));
    }
    if (s->in_flight > 0 || s->c->error[0] != '\0') {
        (void)peer_fail(s->c, "the first message was not answered");
        failed(s);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    load_exact_timers();
    for (unsigned i = 0; i < w->n && !w->failed; i++) {
        struct sender *s = &w->senders[i];
        const struct peer_events on = {.user = s, .acked = on_acked};
        s->worker = w;
        s->c = load_open(w->l, &w->l->o, &on);
        if (s->c == NULL) {
            w->failed = true;
        } else {
            first_message(s);
        }
    }
    (void)pthread_barrier_wait(&w->run->ready);
    (void)pthread_barrier_wait(&w->run->go);
    for (unsigned i = 0; i < w->n; i++) {
        w->senders[i].due_ns = w->run->start_ns;
    }
    if (!w->failed && w->n == 1) {
        serve_one(&w->senders[0]);
    } else if (!w->failed) {
        serve_many(w);
    }
    for (unsigned i = 0; i < w->n; i++) {
        if (w->senders[i].c != NULL) {
            w->l->driver->close(w->senders[i].c);
        }
    }
    return NULL;
}

static int show(const struct run *r, double cpu_s)
{
    struct worker *sum = &r->workers[0];
    struct json j;

    for (unsigned i = 0; i < r->n_workers; i++) {
        const struct worker *w = &r->workers[i];
        if (w->failed) {
            return load_fail("%s: %s", r->l->driver->name, w->error);
        }
        if (i > 0) {
            histogram_merge(sum->latency, w->latency);
            sum->n_stored += w->n_stored;
            sum->n_refused += w->n_refused;
            sum->bytes += w->bytes;
            sum->end_ns = w->end_ns > sum->end_ns ? w->end_ns : sum->end_ns;
        }
    }
    const double seconds = (double)(sum->end_ns - r->start_ns) / 1e9;
    load_json_start(&j, r->l, "produce");
    json_uint(&j, "clients", r->l->clients);
    json_uint(&j, "threads", r->n_workers);
    json_int(&j, "messages", sum->n_stored);
    json_int(&j, "refused", sum->n_refused);
    json_double(&j, "bytes", sum->bytes);
    json_double(&j, "seconds", seconds);
    json_double(&j, "rate", seconds > 0 ? (double)sum->n_stored / seconds : 0);
    json_double(&j, "bytes_per_s", seconds > 0 ? sum->bytes / seconds : 0);
    load_json_latency(&j, "ack", sum->latency);
    load_json_end(&j, cpu_s);
    return 0;
}

/* Deals the connections out to the threads. */
static int prepare(struct run *r)
{
    struct load *l = r->l;
    const bool many = l->driver->many && l->clients > 1;

    r->n_workers = l->threads > 0 ? l->threads : l->o.unbatched && many ? 1 : l->clients;
    if (!many || r->n_workers > l->clients) {
        r->n_workers = l->clients;
    }
    r->workers = calloc(r->n_workers, sizeof *r->workers);
    r->senders = calloc(l->clients, sizeof *r->senders);
    if (r->workers == NULL || r->senders == NULL) {
        return -1;
    }
    for (unsigned i = 0; i < l->clients; i++) {
        r->senders[i].quota = (l->count + l->clients - 1) / l->clients;
        r->senders[i].next_value = i;
    }
    for (unsigned i = 0; i < r->n_workers; i++) {
        struct worker *w = &r->workers[i];
        const unsigned first = l->clients * i / r->n_workers;
        w->l = l;
        w->run = r;
        w->senders = &r->senders[first];
        w->n = l->clients * (i + 1) / r->n_workers - first;
        w->latency = histogram_new();
        if (w->latency == NULL) {
            return -1;
        }
    }
    return 0;
}

int load_produce(struct load *l)
{
    struct run r = {.l = l};
    int rc = prepare(&r) == 0 ? 0 : load_fail("no memory");

    if (rc == 0) {
        (void)pthread_barrier_init(&r.ready, NULL, r.n_workers + 1);
        (void)pthread_barrier_init(&r.go, NULL, r.n_workers + 1);
        for (unsigned i = 0; i < r.n_workers; i++) {
            if (pthread_create(&r.workers[i].thread, NULL, worker_main, &r.workers[i]) != 0) {
                abort(); /* the barriers cannot be met any more */
            }
        }
        (void)pthread_barrier_wait(&r.ready);
        const double cpu_s = load_cpu_s();
        r.start_ns = peer_now_ns();
        r.until_ns = r.start_ns + l->seconds * LOAD_NS_PER_S;
        (void)pthread_barrier_wait(&r.go);
        for (unsigned i = 0; i < r.n_workers; i++) {
            (void)pthread_join(r.workers[i].thread, NULL);
        }
        rc = show(&r, load_cpu_s() - cpu_s);
        (void)pthread_barrier_destroy(&r.ready);
        (void)pthread_barrier_destroy(&r.go);
    }
    for (unsigned i = 0; r.workers != NULL && i < r.n_workers; i++) {
        histogram_free(r.workers[i].latency);
    }
    free(r.workers);
    free(r.senders);
    return rc;
}
