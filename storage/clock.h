#ifndef WEIR_STORAGE_CLOCK_H
#define WEIR_STORAGE_CLOCK_H
/* The store's only clock: monotonic. It never decides what is stored, only when work is done. */
#include <stdint.h>
#include <time.h>

int64_t store_mono_ns(void); /* any thread */
/* A moment of that clock for pthread_cond_timedwait on a condition made by store_cond_init. */
struct timespec store_mono_abs(int64_t mono_ns);

#endif
