/*
 * Start: store (recovery, may refuse) -> core (loads state) -> listeners -> ready. One turn of the
 * loop: sockets and completions feed the core; before it sleeps, everything produced is submitted
 * as one txn, subscriptions are served, outputs are flushed, and what died is freed.
 *
 * Stop: SIGTERM closes the listeners, tells clients, lets the core drain, then leaves the loop; a
 * second one leaves at once. Storage failure: answer what is in flight, log, leave with
 * EXIT_CODE_STORAGE.
 */
#include "broker/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/http.h"
#include "broker/members.h"
#include "broker/notify.h"
#include "broker/reload.h"
#include "broker/session.h"
#include "proto/killpoint.h"
#include "proto/limits.h"
#include "proto/msg.h"
#include "storage/store_mem.h"
#include "storage/store_rocks.h"

/* ---------------------------------------------------------------- environment of core and store */

static int64_t env_mono(void *arg)
{
    (void)arg;
    return clock_mono_ns();
}

static int64_t env_wall(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static uint64_t env_random(void *arg)
{
    (void)arg;
    return clock_random();
}

static void env_log(void *arg, int level, const char *event, const char *kv)
{
    struct server *srv = arg;

    log_line(&srv->log, (enum log_level)level, "core", event, "%s", kv);
}

static void store_log(void *arg, const char *event, const char *text)
{
    struct server *srv = arg;
    char quoted[LOG_TEXT];

    log_line(&srv->log, LOG_WARN, "store", event, "text=\"%s\"",
             log_text(quoted, text, strlen(text)));
}

/* Any thread. */
static void store_wakeup(void *arg)
{
    struct server *srv = arg;

    ev_async_send(srv->loop, &srv->store_ready);
}

/* ---------------------------------------------------------------- one turn of the loop */

void server_again(struct server *srv)
{
    if (!ev_is_active(&srv->again)) {
        ev_idle_start(srv->loop, &srv->again);
    }
}

static void on_again(struct ev_loop *loop, ev_idle *w, int events)
{
    (void)events;
    ev_idle_stop(loop, w); /* before_sleep does the work */
}

static void feed_starved(struct server *srv)
{
    while (!TAILQ_EMPTY(&srv->starved) && core_accepts_produce(srv->core) &&
           memory_takes_produce(srv)) {
        struct conn *c = TAILQ_FIRST(&srv->starved);

        TAILQ_REMOVE(&srv->starved, c, starved_link);
        c->starved = false;
        conn_resume(c);
    }
}

static void leave(struct server *srv, int code)
{
    srv->exit_code = code;
    ev_break(srv->loop, EVBREAK_ALL);
}

static void check_store(struct server *srv)
{
    enum store_state now = store_state(srv->st);
    char quoted[LOG_TEXT];

    if (now != srv->seen_state && now == STORE_FULL) {
        log_line(&srv->log, LOG_ERROR, "store", "store_full", "why=\"%s\"",
                 log_text(quoted, store_state_reason(srv->st)->text,
                          strlen(store_state_reason(srv->st)->text)));
    } else if (now != srv->seen_state && now == STORE_READY) {
        log_line(&srv->log, LOG_INFO, "store", "store_has_room", "%s", "");
    }
    srv->seen_state = now;
    if (now == STORE_FAILED && srv->exit_code != EXIT_CODE_STORAGE) {
        log_line(&srv->log, LOG_ERROR, "store", "store_failed", "why=\"%s\"",
                 log_text(quoted, store_state_reason(srv->st)->text,
                          strlen(store_state_reason(srv->st)->text)));
        listeners_close(&srv->listeners);
        leave(srv, EXIT_CODE_STORAGE);
    }
}

static void on_store_ready(struct ev_loop *loop, ev_async *w, int events)
{
    struct server *srv = w->data;

    (void)loop;
    (void)events;
    store_poll(srv->st);
    feed_starved(srv);
    check_store(srv);
}

enum {
    TURN_BYTES = 8 << 20,   /* sent in one turn of the loop, over all connections */
    LITTLE_BYTES = 64 << 10 /* an answer, not a stream */
};

/*
 * Sends what is queued: what is little at once, the rest in turn, about `bytes` in all. Copying to
 * a thousand sockets that take a megabyte each would hold up everybody for seconds.
 */
static void flush_some(struct server *srv, uint64_t bytes)
{
    const uint64_t until = srv->stats.bytes_out + bytes;
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&srv->dirty); c != NULL; c = next) {
        next = TAILQ_NEXT(c, dirty_link); /* flushing one touches no other */
        if (conn_queued(c) <= LITTLE_BYTES) {
            TAILQ_REMOVE(&srv->dirty, c, dirty_link);
            c->dirty = false;
            conn_flush(c);
        }
    }
    while (srv->stats.bytes_out < until && (c = TAILQ_FIRST(&srv->dirty)) != NULL) {
        TAILQ_REMOVE(&srv->dirty, c, dirty_link);
        c->dirty = false;
        conn_flush(c);
    }
}

/* Input that the last turn left lying, a turn's worth each. */
static void go_on(struct server *srv)
{
    struct conn *c;

    for (unsigned n = srv->n_again; n > 0 && (c = TAILQ_FIRST(&srv->again_conns)) != NULL; n--) {
        TAILQ_REMOVE(&srv->again_conns, c, again_link);
        srv->n_again--;
        c->again = false;
        conn_turn(c);
    }
}

static void reap(struct server *srv)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&srv->dead)) != NULL) {
        TAILQ_REMOVE(&srv->dead, c, dead_link);
        conn_reap(c);
    }
}

static void arm_core_timer(struct server *srv)
{
    int64_t deadline = core_deadline_mono_ns(srv->core);
    double after;

    ev_timer_stop(srv->loop, &srv->core_timer);
    if (deadline == INT64_MAX) {
        return;
    }
    after = (double)(deadline - clock_mono_ns()) / 1e9;
    ev_timer_set(&srv->core_timer, after > 0 ? after : 0, 0.);
    ev_timer_start(srv->loop, &srv->core_timer);
}

/* Figures of the loop: how long its turns take, without the waiting. */
static void on_after_sleep(struct ev_loop *loop, ev_check *w, int events)
{
    struct server *srv = w->data;

    (void)loop;
    (void)events;
    srv->woke_mono_ns = clock_mono_ns();
}

static void count_turn(struct server *srv)
{
    uint64_t took = (uint64_t)(clock_mono_ns() - srv->woke_mono_ns);

    srv->stats.loop_turns++;
    srv->stats.loop_busy_ns += took;
    if (took > srv->stats.loop_turn_max_ns) {
        srv->stats.loop_turn_max_ns = took;
    }
}

static void on_before_sleep(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct server *srv = w->data;

    (void)events;
    core_allow_reads(srv->core, memory_reads(srv));
    feed_starved(srv);
    go_on(srv);
    core_flush(srv->core);
    seats_pump(srv);
    subs_pump(srv);
    core_flush(srv->core); /* what members gave up or were given */
    flush_some(srv, TURN_BYTES);
    core_allow_reads(srv->core, memory_reads(srv));
    if (!TAILQ_EMPTY(&srv->dirty) || core_has_reads(srv->core)) {
        server_again(srv);
    }
    reap(srv);
    arm_core_timer(srv);
    if (srv->draining && core_idle(srv->core) && TAILQ_EMPTY(&srv->dirty)) {
        ev_timer_stop(loop, &srv->drain_timer);
        ev_timer_set(&srv->drain_timer, 0., 0.);
        ev_timer_start(loop, &srv->drain_timer);
    }
    count_turn(srv);
}

static void on_core_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *srv = w->data;

    (void)loop;
    (void)events;
    core_tick(srv->core);
    feed_starved(srv);
    check_store(srv);
}

/* A line when it changes; looked at once a second, so that it does not flicker. */
static void check_memory(struct server *srv)
{
    enum memory_state now = memory_state(srv);

    if (now != srv->seen_memory) {
        log_line(&srv->log, now > srv->seen_memory ? LOG_WARN : LOG_INFO, "server", "memory_state",
                 "state=%s used=%llu budget=%llu output=%llu", memory_state_name(now),
                 (unsigned long long)memory_in_use(srv), (unsigned long long)srv->memory.budget,
                 (unsigned long long)memory_used(srv, MEMORY_OUTPUT));
        srv->seen_memory = now;
    }
}

static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *srv = w->data;
    struct conn *c, *next;
    int64_t now = clock_mono_ns();

    (void)loop;
    (void)events;
    for (c = TAILQ_FIRST(&srv->conns); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        conn_sweep(c, now);
    }
    conn_unjam(srv, now);
    check_memory(srv);
    memory_give_back(srv, now);
    check_store(srv);
}

/* ---------------------------------------------------------------- stopping */

static void on_drained(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *srv = w->data;

    (void)loop;
    (void)events;
    log_line(&srv->log, LOG_INFO, "server", core_idle(srv->core) ? "drained" : "drain_timeout",
             "connections=%u", srv->n_conns);
    WEIR_KILLPOINT(stop_drained);
    leave(srv, EXIT_CODE_OK);
}

static void on_stop_signal(struct ev_loop *loop, ev_signal *w, int events)
{
    struct server *srv = w->data;
    struct conn *c;

    (void)events;
    if (srv->draining) {
        log_line(&srv->log, LOG_WARN, "server", "stopped_at_once", "signal=%d", w->signum);
        _exit(EXIT_CODE_OK); /* like kill -9: recovery does the rest */
    }
    srv->draining = true;
    log_line(&srv->log, LOG_INFO, "server", "draining", "signal=%d connections=%u", w->signum,
             srv->n_conns);
    notify_systemd("STOPPING=1");
    listeners_close(&srv->listeners);
    core_drain(srv->core);
    TAILQ_FOREACH (c, &srv->conns, all) {
        if (c->state == CONN_READY) {
            msg_put_going_away(conn_ctl(c), "shutdown", (uint32_t)srv->conf->drain_ms);
            conn_sent(c);
        }
    }
    ev_timer_stop(loop, &srv->drain_timer);
    ev_timer_set(&srv->drain_timer, (double)srv->conf->drain_ms / 1000., 0.);
    ev_timer_start(loop, &srv->drain_timer);
}

static void on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop;
    (void)events;
    reload_settings(w->data);
}

/* ---------------------------------------------------------------- opening */

static void start_signal(struct server *srv, ev_signal *w,
                         void (*fn)(struct ev_loop *, ev_signal *, int), int signum)
{
    ev_signal_init(w, fn, signum);
    w->data = srv;
    ev_signal_start(srv->loop, w);
}

static void start_watchers(struct server *srv)
{
    ev_async_init(&srv->store_ready, on_store_ready);
    srv->store_ready.data = srv;
    ev_async_start(srv->loop, &srv->store_ready);
    ev_prepare_init(&srv->before_sleep, on_before_sleep);
    srv->before_sleep.data = srv;
    ev_check_init(&srv->after_sleep, on_after_sleep);
    srv->after_sleep.data = srv;
    ev_set_priority(&srv->after_sleep, EV_MAXPRI);
    ev_idle_init(&srv->again, on_again);
    srv->again.data = srv;
    ev_timer_init(&srv->core_timer, on_core_timer, 0., 0.);
    srv->core_timer.data = srv;
    ev_timer_init(&srv->second, on_second, 1., 1.);
    srv->second.data = srv;
    ev_timer_init(&srv->drain_timer, on_drained, 0., 0.);
    srv->drain_timer.data = srv;
}

static enum werr open_store(struct server *srv, struct werror *e)
{
    const struct config *conf = srv->conf;
    struct store_conf sc = {
        .memory_bytes = conf->memory,
        .min_free_bytes = conf->min_free,
        .wakeup = store_wakeup,
        .wakeup_arg = srv,
        .accept_data_loss = conf->accept_data_loss,
        .log = store_log,
        .log_arg = srv,
    };
    enum werr rc;

    if (config_in_memory(conf)) {
        srv->disk = memdisk_new();
        return store_open_mem(&srv->st, srv->disk, STORE_MEM_THREADED, &sc, e);
    }
    rc = store_open_rocks(&srv->st, conf->data, &sc, e);
    srv->exit_code = rc == WERR_DATA_LOSS || rc == WERR_CORRUPT ? EXIT_CODE_DATA_LOSS
                     : rc == WERR_LOCKED                        ? EXIT_CODE_LOCKED
                                                                : EXIT_CODE_IO;
    return rc;
}

static enum werr open_core(struct server *srv, struct werror *e)
{
    const struct core_env env = {
        .arg = srv, .mono_ns = env_mono, .wall_ms = env_wall, .random = env_random, .log = env_log};
    struct core_conf cc = {
        .broker_id = 1,
        .tail_cache_bytes = srv->conf->tail_cache,
        .inflight_bytes = config_inflight(srv->conf),
        .auto_create = srv->conf->dev,
        .max_topics = (uint32_t)srv->conf->max_topics,
    };
    enum werr rc;

    topic_config_defaults(&cc.topic_defaults);
    rc = core_open(&srv->core, &cc, srv->st, &env, e);
    srv->exit_code =
        rc == WERR_NOMEM || rc == WERR_IO || rc == WERR_STORAGE_FULL || rc == WERR_INDETERMINATE
            ? EXIT_CODE_IO /* that says nothing about the data */
            : EXIT_CODE_DATA_LOSS;
    if (rc == WERR_OK) {
        core_set_ahead(srv->core, srv->memory.read_ahead);
    }
    return rc;
}

void server_advertise(struct server *srv)
{
    const char *text = srv->conf->advertise;
    const char *colon = strrchr(text, ':');

    srv->advertise_host[0] = '\0';
    srv->advertise_port = 0;
    if (colon != NULL) {
        snprintf(srv->advertise_host, sizeof srv->advertise_host, "%.*s", (int)(colon - text),
                 text);
        srv->advertise_port = (uint32_t)strtoul(colon + 1, NULL, 10) & 0xffff;
    }
}

enum werr server_open(struct server *srv, struct config *conf, struct werror *e)
{
    uint64_t id = clock_random();
    enum werr rc;

    *srv = (struct server){.conf = conf, .exit_code = EXIT_CODE_IO};
    srv->log = (struct log){log_level_of(conf->log_level), strcmp(conf->log_format, "json") == 0,
                            STDERR_FILENO, 0};
    TAILQ_INIT(&srv->conns);
    TAILQ_INIT(&srv->dirty);
    TAILQ_INIT(&srv->dead);
    TAILQ_INIT(&srv->starved);
    TAILQ_INIT(&srv->again_conns);
    TAILQ_INIT(&srv->bigs);
    TAILQ_INIT(&srv->hungry);
    TAILQ_INIT(&srv->ready_subs);
    TAILQ_INIT(&srv->seat_news);
    srv->started_mono_ns = clock_mono_ns();
    memcpy(srv->conn_id_base, &id, sizeof id);
    server_advertise(srv);
    memory_init(&srv->memory, conf);
    srv->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (srv->loop == NULL) {
        return werror_set(e, WERR_IO, "cannot make an epoll loop");
    }
    start_watchers(srv);
    rc = open_store(srv, e);
    if (rc == WERR_OK) {
        rc = open_core(srv, e);
    }
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(start_core);
        srv->exit_code = EXIT_CODE_UNAVAILABLE;
        rc = listeners_open(&srv->listeners, srv, e);
    }
    if (rc == WERR_OK) {
        rc = http_open(&srv->http, srv, e);
    }
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(start_listening);
        srv->exit_code = EXIT_CODE_OK;
    }
    return rc;
}

int server_run(struct server *srv)
{
    start_signal(srv, &srv->term, on_stop_signal, SIGTERM);
    start_signal(srv, &srv->intr, on_stop_signal, SIGINT);
    start_signal(srv, &srv->hup, on_hup, SIGHUP);
    srv->woke_mono_ns = clock_mono_ns();
    ev_prepare_start(srv->loop, &srv->before_sleep);
    ev_check_start(srv->loop, &srv->after_sleep);
    ev_timer_start(srv->loop, &srv->second);
    listeners_start(&srv->listeners);
    for (unsigned i = 0; i < srv->listeners.n; i++) {
        log_line(&srv->log, LOG_INFO, "server", "listening", "address=%s",
                 srv->listeners.l[i].text);
    }
    if (srv->http != NULL) {
        log_line(&srv->log, LOG_INFO, "http", "listening", "address=%s", http_address(srv->http));
    }
    log_line(&srv->log, LOG_INFO, "server", "ready",
             "version=%s data=\"%s\" topics=%zu start_ms=%lld", WEIR_SERVER_VERSION,
             srv->conf->data, core_topic_count(srv->core),
             (long long)((clock_mono_ns() - srv->started_mono_ns) / 1000000));
    notify_ready_fd((int)srv->conf->ready_fd, &srv->listeners);
    notify_systemd("READY=1");
    ev_run(srv->loop, 0);
    return srv->exit_code;
}

/*
 * The store goes first: it delivers what is still due, to a core that must be there, and the core
 * answers to connections that must be there. What was answered still goes out, as far as sockets
 * take it now.
 */
static void close_core(struct server *srv)
{
    struct conn *c;

    reap(srv); /* closed ones let go of their readers while there is a core */
    TAILQ_FOREACH (c, &srv->conns, all) {
        subs_close(c);
        acquires_end(c, NULL, WERR_SHUTTING_DOWN);
        seats_close(c);
    }
    store_close(srv->st);
    WEIR_KILLPOINT(stop_closed);
    core_close(srv->core);
    flush_some(srv, UINT64_MAX / 2);
    while ((c = TAILQ_FIRST(&srv->conns)) != NULL) {
        conn_close(c, "shutdown");
    }
    reap(srv);
}

/*
 * Nobody knows what the log holds now: closing the store could still change its files (RocksDB cuts
 * off what a failed write left), and its threads may hang on the disk. Like kill -9: recovery
 * decides what is true.
 */
static void leave_failed_store(struct server *srv)
{
    log_line(&srv->log, LOG_INFO, "server", "stopped", "code=%d", EXIT_CODE_STORAGE);
    _exit(EXIT_CODE_STORAGE);
}

void server_close(struct server *srv)
{
    if (srv->loop == NULL) {
        return;
    }
    listeners_close(&srv->listeners);
    http_close(srv->http);
    if (srv->core != NULL) {
        core_flush(srv->core);
        store_poll(srv->st);
        flush_some(srv, UINT64_MAX / 2);
        if (store_state(srv->st) == STORE_FAILED) {
            leave_failed_store(srv);
        }
        close_core(srv);
    } else if (srv->st != NULL) {
        store_close(srv->st);
    }
    if (srv->disk != NULL) {
        memdisk_free(srv->disk);
    }
    log_line(&srv->log, LOG_INFO, "server", "stopped", "code=%d", srv->exit_code);
    ev_loop_destroy(srv->loop);
}
