#ifndef WEIR_BENCH_DEMO_DIRECTOR_H
#define WEIR_BENCH_DEMO_DIRECTOR_H
/* The director's state, and the two parts of its work that have files of their own. */
#include "bench/demo/board.h"
#include "bench/demo/history.h"
#include "bench/demo/options.h"
#include "bench/demo/proc.h"
#include "bench/demo/report.h"
#include "bench/demo/view.h"

struct worker {
    pid_t pid; /* 0 = ended */
    bool producer;
    uint32_t number;
};

struct director {
    struct options options;
    char work[DEMO_PATH_BYTES - 64], data[DEMO_PATH_BYTES], log[DEMO_PATH_BYTES];
    char state[DEMO_PATH_BYTES]; /* of the power-loss injector, a new one for each server */
    struct board *board;
    struct server server;
    struct worker workers[2 * DEMO_MAX_WORKERS];
    size_t n_workers;
    struct hist_writer history;
    struct series *series;
    struct view view;
    struct director_facts facts;
    uint64_t restart_at_ns; /* the server is down until then; 0 = it is up */
    uint64_t last_change_ns, last_total;
    uint64_t disk;
    char err[512]; /* why it failed: a sentence, "" = it did not */
};

/** Seconds since the series began. */
double director_now_s(const struct director *d);
/** Notes why. @return -1 */
int director_fail(struct director *d, const char *what);

/** Makes the directory, starts the server, creates the topic, starts the workers.
 * @return 0, or -1 with d->err. */
int setup_directory(struct director *d);
int setup_processes(struct director *d);
/** Starts the server on its directory and address, under the injector when asked. */
int setup_server(struct director *d);

/** One look at the server: kills it when its time has come, starts it again, notices that it
 * answers, or that it died by itself (then -1 with d->err). @blocks no */
int outage_step(struct director *d, uint64_t now_ns);

#endif
