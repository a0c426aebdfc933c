#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/weir.h>

#include "bench/demo/director.h"

/*
 * Happy path: directory, board, server, topic, orders, workers. What can fail: each of them, told
 * in d->err. What was begun is ended by the director, which owns it.
 */

/* Share of the time in which the bursts go out; the rest is draining. */
#define PRODUCE_SHARE 0.65

int setup_directory(struct director *d)
{
    char path[DEMO_PATH_BYTES], real[4096];

    if (realpath(d->options.dir, real) == NULL || strlen(real) > 300) {
        return director_fail(d, "the directory for temporary files is not there");
    }
    (void)snprintf(d->work, sizeof d->work, "%.300s/weir-demo-XXXXXX", real);
    if (mkdtemp(d->work) == NULL) {
        d->work[0] = '\0';
        return director_fail(d, "cannot make a temporary directory");
    }
    (void)snprintf(d->data, sizeof d->data, "%s/data", d->work);
    (void)snprintf(d->log, sizeof d->log, "%s/log", d->work);
    (void)snprintf(path, sizeof path, "%s/hist", d->work);
    if (mkdir(d->data, 0700) != 0 || mkdir(path, 0700) != 0) {
        return director_fail(d, "cannot make a temporary directory");
    }
    d->board = board_map(d->work, true);
    (void)snprintf(path, sizeof path, "%s/hist/director.hist", d->work);
    if (d->board == NULL || hist_create(&d->history, path, HIST_DIRECTOR, 0) != 0) {
        return director_fail(d, "cannot write to the temporary directory");
    }
    return 0;
}

int setup_server(struct director *d)
{
    char preload[2 * DEMO_PATH_BYTES], dir[2 * DEMO_PATH_BYTES], state[2 * DEMO_PATH_BYTES];
    const char *envs[] = {preload, dir, state, "ASAN_OPTIONS=verify_asan_link_order=0", NULL};

    if (!d->options.power_loss) {
        return server_start(&d->server, NULL, d->err, sizeof d->err);
    }
    (void)snprintf(d->state, sizeof d->state, "%s/powerloss.%u", d->work, d->facts.kills);
    if (mkdir(d->state, 0700) != 0) {
        return director_fail(d, "cannot make the injector's directory");
    }
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s/libweir-powerloss.so",
                   d->options.bin_dir);
    (void)snprintf(dir, sizeof dir, "WEIR_POWERLOSS_DIR=%s", d->data);
    (void)snprintf(state, sizeof state, "WEIR_POWERLOSS_STATE=%s", d->state);
    return server_start(&d->server, envs, d->err, sizeof d->err);
}

static int create_topic(struct director *d)
{
    char config[64];
    weir *w = weir_open(d->board->orders.url, "client_id=demo-director");
    weir_error e;

    (void)snprintf(config, sizeof config, "partitions=%d", DEMO_PARTITIONS);
    e = weir_topic_create(w, DEMO_TOPIC, config, 0, NULL, 10000);
    (void)weir_close(w, 0);
    if (e.outcome != WEIR_DONE) {
        (void)snprintf(d->err, sizeof d->err, "cannot create the topic: %s", e.text);
        return -1;
    }
    return 0;
}

static void give_orders(struct director *d)
{
    const struct options *o = &d->options;
    struct board_orders *orders = &d->board->orders;

    (void)snprintf(orders->url, sizeof orders->url, "weir://%s", d->server.listen);
    (void)snprintf(orders->data_path, sizeof orders->data_path, "%s", o->data_path);
    orders->producers = o->producers;
    orders->consumers = o->consumers;
    orders->messages_per_producer = (o->messages + o->producers - 1) / o->producers;
    orders->bursts = o->bursts;
    orders->burst_period_ns = (uint64_t)(o->seconds * PRODUCE_SHARE / o->bursts * 1e9);
    orders->out_rate = (double)o->messages / o->seconds;
    orders->start_mono_ns = mono_ns() + 500000000; /* when all are there */
}

static int start_worker(struct director *d, bool producer, uint32_t number)
{
    char self[DEMO_PATH_BYTES + 32], text[16];
    struct worker *w = &d->workers[d->n_workers];

    (void)snprintf(self, sizeof self, "/proc/%d/exe", (int)getpid());
    (void)snprintf(text, sizeof text, "%u", number);
    *w = (struct worker){.producer = producer, .number = number};
    w->pid = proc_start((const char *const[]){self, "--worker", producer ? "producer" : "consumer",
                                              text, d->work, NULL},
                        &(struct proc_setup){.log_path = d->log, .out_fd = -1, .keep_fd = -1});
    if (w->pid < 0) {
        return director_fail(d, "cannot start a worker");
    }
    d->n_workers++;
    return 0;
}

int setup_processes(struct director *d)
{
    int ready;

    d->server = (struct server){.binary = d->options.server_bin,
                                .data_dir = d->data,
                                .log_path = d->log,
                                .listen = "127.0.0.1:0"};
    if (setup_server(d) != 0) {
        return -1;
    }
    while ((ready = server_ready(&d->server, 1000, d->err, sizeof d->err)) == 0) {
    }
    if (ready < 0) {
        return -1;
    }
    give_orders(d);
    if (create_topic(d) != 0) {
        return -1;
    }
    give_orders(d); /* again: the clock starts now */
    for (uint32_t i = 0; i < d->options.consumers; i++) {
        if (start_worker(d, false, i) != 0) {
            return -1;
        }
    }
    for (uint32_t i = 1; i <= d->options.producers; i++) {
        if (start_worker(d, true, i) != 0) {
            return -1;
        }
    }
    return 0;
}
