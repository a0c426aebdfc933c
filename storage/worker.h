#ifndef WEIR_STORAGE_WORKER_H
#define WEIR_STORAGE_WORKER_H
/*
 * Jobs that may block: run on a worker thread, then done on the owner's. A pool without threads
 * runs its jobs in workers_step, in order, on the caller's thread.
 */
#include <pthread.h>
#include <stdbool.h>

#include "proto/error.h"

struct job {
    struct job *next;
    void (*run)(struct job *j);
    void (*done)(struct job *j); /* on the owner thread; j may be freed in it */
    void (*drop)(struct job *j); /* instead of done, when the owner is gone: frees, tells nobody */
};

/* Finished jobs of any number of pools, in the order they finished. */
struct job_list {
    pthread_mutex_t mu;
    struct job *head, *last;
};
void job_list_init(struct job_list *l);
void job_list_fini(struct job_list *l);
void job_list_push(struct job_list *l, struct job *j); /* any thread */
struct job *job_list_take(struct job_list *l);         /* all of them, oldest first */

struct workers {
    struct job_list *finished;
    void (*wake)(void *arg);
    void *wake_arg;
    pthread_mutex_t mu;
    pthread_cond_t work;
    struct job *head, *last;
    pthread_t *threads;
    unsigned n_threads;
    bool stop, closed;
};
/* n_threads may be 0. */
enum werr workers_open(struct workers *w, unsigned n_threads, struct werror *e) WEIR_NODISCARD;
/* After workers_close: the job counts as finished without having run. */
void workers_push(struct workers *w, struct job *j);
/* Without threads: runs what is queued. */
void workers_step(struct workers *w);
/* Ends the threads after the jobs that run now; what is still queued is moved to `finished`,
 * without having run. */
void workers_close(struct workers *w);

#endif
