#include "broker/peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum {
    KEEPALIVE_IDLE_S = 5, /* a dead peer is found within 5 + 2 x 5 seconds */
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_PROBES = 2,
    UNANSWERED = 3,
};

bool peer_address(const struct sockaddr_storage *peer, uint8_t out[16])
{
    memset(out, 0, 16);
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)peer;

        memcpy(out, &a->sin_addr, 4);
        return out[0] != 127;
    }
    if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)peer;

        memcpy(out, &a->sin6_addr, 16);
        return !IN6_IS_ADDR_LOOPBACK(&a->sin6_addr);
    }
    return false;
}

void peer_socket_options(int fd, int family)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, probes = KEEPALIVE_PROBES;

    if (family != AF_INET && family != AF_INET6) {
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

bool peer_ask(int fd, struct peer_info *info)
{
    struct tcp_info t = {0};
    socklen_t n = sizeof t;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &n) != 0) {
        return false;
    }
    *info =
        (struct peer_info){t.tcpi_unacked, t.tcpi_retransmits, t.tcpi_probes, t.tcpi_last_ack_recv};
    return true;
}

bool peer_is_dead(const struct peer_info *info)
{
    return info->silent_ms >= PEER_SILENCE_MS &&
           (info->retransmits >= UNANSWERED || info->probes >= UNANSWERED);
}
