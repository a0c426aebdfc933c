#ifndef WEIR_STORAGE_UPKEEP_H
#define WEIR_STORAGE_UPKEEP_H
/*
 * The helper thread that writes the floor and looks at the disk: a floor at most every second while
 * something changes, soon after the queue went idle, after a bucket ended, and at a clean close;
 * free space once a second.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "storage/front.h"

struct commit;

struct upkeep {
    struct kv *kv;
    struct commit *commit;
    uint8_t uuid[16];
    void (*wake)(void *arg);
    void *wake_arg;

    pthread_mutex_t mu;
    pthread_cond_t kick;
    bool stop, running;
    bool changed, urgent;    /* since the last floor; a bucket ended */
    int64_t changed_mono_ns; /* last change */
    struct kv_stats stats;
    bool have_stats;
    uint64_t floor_seq;
    struct werror floor_error; /* of the last attempt that failed, until asked for */
    pthread_t thread;

    _Atomic uint64_t min_free_conf; /* 0 = derive; the owner may change it */
    _Atomic bool low;               /* free space below the soft limit */
    _Atomic uint64_t floored_seq;   /* txns up to this one are covered by a floor */
};

void upkeep_init(struct upkeep *u);
void upkeep_fini(struct upkeep *u);
enum werr upkeep_start(struct upkeep *u, struct werror *e) WEIR_NODISCARD;
void upkeep_stop(struct upkeep *u);
/* Any thread, cheap: something became durable. */
void upkeep_changed(struct upkeep *u, bool bucket_ended);
/* Looks at the disk now. The helper thread, or a store without threads. */
void upkeep_look(struct upkeep *u);
/* Writes a floor now. clean = nothing will follow. The helper thread, or while none runs. */
enum werr upkeep_floor(struct upkeep *u, bool clean, struct werror *e) WEIR_NODISCARD;
/* Owner: whether a floor could not be written since the last call. */
bool upkeep_take_error(struct upkeep *u, struct werror *e);
void upkeep_stats(struct upkeep *u, struct kv_stats *s);

#endif
