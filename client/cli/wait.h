#ifndef WEIR_CLI_WAIT_H
#define WEIR_CLI_WAIT_H
/* Waiting for a client handle, and for something else beside it. */
#include <stdint.h>

#include <weir/weir.h>

enum {
    WAIT_SLICE_MS = 250 /* so often a waiting command looks for interrupts and shows progress */
};

/**
 * Waits until the handle has work, `fd` shows one of `events`, or the time is over; then lets the
 * handle do its work (callbacks run).
 * @param fd a further descriptor, -1 = none; @param events for poll(2); errors always count
 * @param max_ns longest wait, nanoseconds; 0 = do what can be done now
 * @return revents of fd, 0 when nothing happened there
 */
short wait_io(weir *w, int fd, short events, int64_t max_ns);

#endif
