/* What several drivers need. */
#include "bench/peers/peer.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

int peer_fail(struct peer_conn *c, const char *format, ...)
{
    if (c->error[0] == '\0') {
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(c->error, sizeof c->error, format, ap);
        va_end(ap);
    }
    return -1;
}

const char *peer_option(const struct peer_options *o, const char *key, const char *fallback,
                        char *out, size_t size)
{
    const size_t n = strlen(key);

    snprintf(out, size, "%s", fallback);
    for (const char *p = o->more; p != NULL && *p != '\0';) {
        const size_t word = strcspn(p, " ");
        if (word > n && strncmp(p, key, n) == 0 && p[n] == '=') {
            snprintf(out, size, "%.*s", (int)(word - n - 1), p + n + 1);
        }
        p += word;
        p += strspn(p, " ");
    }
    return out;
}

int peer_address(const char *address, char *host, size_t size, unsigned *port)
{
    const char *colon = address != NULL ? strrchr(address, ':') : NULL;

    if (colon == NULL || (size_t)(colon - address) >= size) {
        return -1;
    }
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    *port = (unsigned)strtoul(colon + 1, NULL, 10);
    return *port > 0 && *port < 65536 ? 0 : -1;
}

int peer_connect(const char *address, char *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[128], service[8];
    unsigned port;
    int fd = -1;
    const int on = 1;

    if (peer_address(address, host, sizeof host, &port) != 0) {
        snprintf(err, PEER_ERROR_BYTES, "%s is no HOST:PORT", address);
        return -1;
    }
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &found) == 0) {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
        freeaddrinfo(found);
    }
    if (fd < 0) {
        snprintf(err, PEER_ERROR_BYTES, "%s: %s", address, strerror(errno));
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

void peer_wait_fd(int fd, short events, int64_t until_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    const int64_t left_ns = until_ns - peer_now_ns();

    if (left_ns > 0) {
        const struct timespec t = {.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S};
        (void)ppoll(&p, 1, &t, NULL);
    }
}

int64_t peer_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t peer_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
