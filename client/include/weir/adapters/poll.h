#ifndef WEIR_ADAPTERS_POLL_H
#define WEIR_ADAPTERS_POLL_H
/*
 * A client in a poll(2) loop of yours: put weir_poll_fd() into your array, wait no longer than
 * weir_poll_timeout(), then call weir_poll_done().
 */
#include <poll.h>

#include <weir/weir.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The entry for your array. Stays the same for the life of the handle. */
static inline struct pollfd weir_poll_fd(const weir *w)
{
    struct pollfd p;
    p.fd = weir_fd(w);
    p.events = POLLIN;
    p.revents = 0;
    return p;
}

/** The shorter of your own timeout (ms, -1 = none) and the client's. */
static inline int weir_poll_timeout(const weir *w, int yours_ms)
{
    int t = weir_timeout_ms(w);
    return t < 0 || (yours_ms >= 0 && yours_ms < t) ? yours_ms : t;
}

/** After poll(): does the client's I/O when its entry is ready or its time has come. */
static inline void weir_poll_done(weir *w, const struct pollfd *p)
{
    if (p->revents || weir_timeout_ms(w) == 0) {
        weir_on_io(w);
    }
}

#ifdef __cplusplus
}
#endif
#endif
