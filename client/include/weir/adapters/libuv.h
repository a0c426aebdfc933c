#ifndef WEIR_ADAPTERS_LIBUV_H
#define WEIR_ADAPTERS_LIBUV_H
/*
 * A client in a libuv loop. The struct is yours and must live until the loop has run once after
 * weir_libuv_detach() (libuv closes handles in the loop). Detach before weir_close().
 */
#include <uv.h>

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_libuv {
    weir *w;
    uv_poll_t poll;
    uv_timer_t timer;
    void (*after_io)(void *user); /**< called after every turn: take messages here. NULL = none */
    void *user;
};

static inline void weir_libuv_run(struct weir_libuv *a);

static inline void weir_libuv_on_timer(uv_timer_t *timer)
{
    weir_libuv_run((struct weir_libuv *)timer->data);
}

static inline void weir_libuv_on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    weir_libuv_run((struct weir_libuv *)poll->data);
}

/* Sets the timer to what the client wants now; inside a wakeup too. */
static inline void weir_libuv_rearm(void *arg)
{
    struct weir_libuv *a = (struct weir_libuv *)arg;
    int ms = weir_timeout_ms(a->w);

    uv_timer_stop(&a->timer);
    if (ms >= 0) {
        uv_timer_start(&a->timer, weir_libuv_on_timer, (uint64_t)ms, 0);
    }
}

static inline void weir_libuv_run(struct weir_libuv *a)
{
    weir_on_io(a->w);
    if (a->after_io) {
        a->after_io(a->user);
    }
    if (!uv_is_closing((uv_handle_t *)&a->timer)) { /* after_io may have detached */
        weir_libuv_rearm(a);
    }
}

/** Begins: a is overwritten, loop and w are kept until detach. @return 0, or libuv's error. */
static inline int weir_libuv_attach(struct weir_libuv *a, uv_loop_t *loop, weir *w,
                                    void (*after_io)(void *user), void *user)
{
    int rc = uv_poll_init(loop, &a->poll, weir_fd(w));

    a->w = w;
    a->after_io = after_io;
    a->user = user;
    a->poll.data = a->timer.data = a;
    if (rc == 0) {
        uv_timer_init(loop, &a->timer);
        a->timer.data = a;
        weir_set_wakeup(w, weir_libuv_rearm, a);
        weir_libuv_rearm(a);
        rc = uv_poll_start(&a->poll, UV_READABLE, weir_libuv_on_poll);
    }
    return rc;
}

static inline void weir_libuv_detach(struct weir_libuv *a)
{
    weir_set_wakeup(a->w, NULL, NULL);
    uv_close((uv_handle_t *)&a->poll, NULL);
    uv_close((uv_handle_t *)&a->timer, NULL);
}

#ifdef __cplusplus
}
#endif
#endif
