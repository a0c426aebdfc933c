#include "client/cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

/* An earlier write failed and its errno is gone: a pipe still tells that nobody reads it. */
static int lost_error(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) ? EPIPE : EIO;
}

int output_flush(void)
{
    int e = 0;
    if (fflush(stdout) != 0) {
        e = errno;
    } else if (ferror(stdout)) {
        e = lost_error();
    }
    if (e) {
        __fpurge(stdout);
        clearerr(stdout);
    }
    return e;
}
