#ifndef WEIR_ADAPTERS_LIBEVENT_H
#define WEIR_ADAPTERS_LIBEVENT_H
/*
 * A client in a libevent loop (2.0 or later). The struct is yours and must live until
 * weir_libevent_detach(). Detach before weir_close().
 */
#include <event2/event.h>

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_libevent {
    weir *w;
    struct event *io, *timer;
    void (*after_io)(void *user); /**< called after every turn: take messages here. NULL = none */
    void *user;
};

/* Sets the timer to what the client wants now; inside a wakeup too. */
static inline void weir_libevent_rearm(void *arg)
{
    struct weir_libevent *a = (struct weir_libevent *)arg;
    int ms = weir_timeout_ms(a->w);
    struct timeval t;

    event_del(a->timer);
    if (ms >= 0) {
        t.tv_sec = ms / 1000;
        t.tv_usec = ms % 1000 * 1000;
        event_add(a->timer, &t);
    }
}

static inline void weir_libevent_on_event(evutil_socket_t fd, short events, void *arg)
{
    struct weir_libevent *a = (struct weir_libevent *)arg;

    (void)fd;
    (void)events;
    weir_on_io(a->w);
    if (a->after_io) {
        a->after_io(a->user);
    }
    if (a->timer) { /* after_io may have detached */
        weir_libevent_rearm(a);
    }
}

static inline void weir_libevent_detach(struct weir_libevent *a)
{
    weir_set_wakeup(a->w, NULL, NULL);
    if (a->io) {
        event_free(a->io);
    }
    if (a->timer) {
        event_free(a->timer);
    }
    a->io = a->timer = NULL;
}

/** Begins: a is overwritten, base and w are kept until detach. @return 0, or -1: out of memory. */
static inline int weir_libevent_attach(struct weir_libevent *a, struct event_base *base, weir *w,
                                       void (*after_io)(void *user), void *user)
{
    a->w = w;
    a->after_io = after_io;
    a->user = user;
    a->io = event_new(base, weir_fd(w), EV_READ | EV_PERSIST, weir_libevent_on_event, a);
    a->timer = event_new(base, -1, 0, weir_libevent_on_event, a);
    if (!a->io || !a->timer || event_add(a->io, NULL) != 0) {
        weir_libevent_detach(a);
        return -1;
    }
    weir_set_wakeup(w, weir_libevent_rearm, a);
    weir_libevent_rearm(a);
    return 0;
}

#ifdef __cplusplus
}
#endif
#endif
