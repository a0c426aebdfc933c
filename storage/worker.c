#include "storage/worker.h"

#include <string.h>

#include "storage/alloc.h"

void job_list_init(struct job_list *l)
{
    *l = (struct job_list){0};
    pthread_mutex_init(&l->mu, NULL);
}

void job_list_fini(struct job_list *l)
{
    pthread_mutex_destroy(&l->mu);
}

void job_list_push(struct job_list *l, struct job *j)
{
    j->next = NULL;
    pthread_mutex_lock(&l->mu);
    if (l->last != NULL) {
        l->last->next = j;
    } else {
        l->head = j;
    }
    l->last = j;
    pthread_mutex_unlock(&l->mu);
}

struct job *job_list_take(struct job_list *l)
{
    pthread_mutex_lock(&l->mu);
    struct job *j = l->head;
    l->head = l->last = NULL;
    pthread_mutex_unlock(&l->mu);
    return j;
}

/* With mu held. */
static struct job *pop(struct workers *w)
{
    struct job *j = w->head;
    if (j != NULL) {
        w->head = j->next;
        if (w->head == NULL) {
            w->last = NULL;
        }
    }
    return j;
}

static void run(struct workers *w, struct job *j)
{
    j->run(j);
    job_list_push(w->finished, j);
    w->wake(w->wake_arg);
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    pthread_mutex_lock(&w->mu);
    while (!w->stop) {
        struct job *j = pop(w);
        if (j == NULL) {
            pthread_cond_wait(&w->work, &w->mu);
            continue;
        }
        pthread_mutex_unlock(&w->mu);
        run(w, j);
        pthread_mutex_lock(&w->mu);
    }
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

enum werr workers_open(struct workers *w, unsigned n_threads, struct werror *e)
{
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->work, NULL);
    w->threads = must_calloc(n_threads, sizeof(pthread_t));
    for (unsigned i = 0; i < n_threads; i++) {
        int err = pthread_create(&w->threads[i], NULL, worker_main, w);
        if (err != 0) {
            return werror_set(e, WERR_NOMEM, "cannot start a reader thread: %s", strerror(err));
        }
        w->n_threads++;
    }
    return WERR_OK;
}

void workers_push(struct workers *w, struct job *j)
{
    if (w->closed) {
        job_list_push(w->finished, j);
        return;
    }
    j->next = NULL;
    pthread_mutex_lock(&w->mu);
    if (w->last != NULL) {
        w->last->next = j;
    } else {
        w->head = j;
    }
    w->last = j;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mu);
}

void workers_step(struct workers *w)
{
    while (!w->closed) {
        pthread_mutex_lock(&w->mu);
        struct job *j = pop(w);
        pthread_mutex_unlock(&w->mu);
        if (j == NULL) {
            return;
        }
        run(w, j);
    }
}

void workers_close(struct workers *w)
{
    if (w->threads == NULL) {
        return;
    }
    pthread_mutex_lock(&w->mu);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->mu);
    for (unsigned i = 0; i < w->n_threads; i++) {
        pthread_join(w->threads[i], NULL);
    }
    for (struct job *j = pop(w); j != NULL; j = pop(w)) {
        job_list_push(w->finished, j);
    }
    free(w->threads);
    w->threads = NULL;
    w->n_threads = 0;
    w->closed = true;
    pthread_mutex_destroy(&w->mu);
    pthread_cond_destroy(&w->work);
}
