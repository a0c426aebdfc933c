#include "client/cli/wait.h"

#include <poll.h>

short wait_io(weir *w, int fd, short events, int64_t max_ns)
{
    struct pollfd fds[2] = {{.fd = weir_fd(w), .events = POLLIN}, {.fd = fd, .events = events}};
    int64_t timeout_ms = weir_timeout_ms(w);
    if (timeout_ms >= 0 && timeout_ms * 1000000 < max_ns) {
        max_ns = timeout_ms * 1000000;
    }
    struct timespec t = {.tv_sec = max_ns / 1000000000, .tv_nsec = max_ns % 1000000000};
    int n = ppoll(fds, 2, &t, NULL);
    weir_on_io(w);
    return n > 0 ? fds[1].revents : 0;
}
