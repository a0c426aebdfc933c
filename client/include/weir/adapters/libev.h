#ifndef WEIR_ADAPTERS_LIBEV_H
#define WEIR_ADAPTERS_LIBEV_H
/*
 * A client in a libev loop. The struct is yours and must live until weir_libev_detach(). Detach
 * before weir_close(); don't close the handle inside after_io.
 */
#include <ev.h>

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_libev {
    struct ev_loop *loop;
    weir *w;
    ev_io io;
    ev_timer timer;
    void (*after_io)(void *user); /**< called after every turn: take messages here. NULL = none */
    void *user;
};

/* Sets the timer to what the client wants now; inside a wakeup too. */
static inline void weir_libev_rearm(void *arg)
{
    struct weir_libev *a = (struct weir_libev *)arg;
    int ms = weir_timeout_ms(a->w);

    ev_timer_stop(a->loop, &a->timer);
    if (ms >= 0) {
        ev_timer_set(&a->timer, ms / 1000.0, 0.0);
        ev_timer_start(a->loop, &a->timer);
    }
}

static inline void weir_libev_run(struct weir_libev *a)
{
    weir_on_io(a->w);
    if (a->after_io) {
        a->after_io(a->user);
    }
    weir_libev_rearm(a);
}

static inline void weir_libev_on_io(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    weir_libev_run((struct weir_libev *)io->data);
}

static inline void weir_libev_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    weir_libev_run((struct weir_libev *)timer->data);
}

/** Begins: a is overwritten, loop and w are kept until detach. */
static inline void weir_libev_attach(struct weir_libev *a, struct ev_loop *loop, weir *w,
                                     void (*after_io)(void *user), void *user)
{
    a->loop = loop;
    a->w = w;
    a->after_io = after_io;
    a->user = user;
    ev_io_init(&a->io, weir_libev_on_io, weir_fd(w), EV_READ);
    ev_timer_init(&a->timer, weir_libev_on_timer, 0.0, 0.0);
    a->io.data = a->timer.data = a;
    ev_io_start(loop, &a->io);
    weir_set_wakeup(w, weir_libev_rearm, a);
    weir_libev_rearm(a);
}

static inline void weir_libev_detach(struct weir_libev *a)
{
    weir_set_wakeup(a->w, NULL, NULL);
    ev_io_stop(a->loop, &a->io);
    ev_timer_stop(a->loop, &a->timer);
}

#ifdef __cplusplus
}
#endif
#endif
