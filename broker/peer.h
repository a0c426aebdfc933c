#ifndef WEIR_BROKER_PEER_H
#define WEIR_BROKER_PEER_H
/* What we know about the other end of a socket: its address, and whether its kernel still answers.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* A peer that owes an answer for PEER_ASK_MS is asked about in every sweep. It is dead when its
 * kernel was silent for PEER_SILENCE_MS (an idle one answers keepalive every 5 s): found within 15
 * s with the time between two sweeps. */
enum { PEER_ASK_MS = 3 * 1000, PEER_SILENCE_MS = 13 * 1000 };

/* 16 bytes that stand for a peer; false for loopback and unix sockets, which are not counted. */
bool peer_address(const struct sockaddr_storage *peer, uint8_t out[16]);
/* TCP_NODELAY, and keepalive that finds a silent dead peer within 15 s. Nothing on unix sockets. */
void peer_socket_options(int fd, int family);

/* The part of TCP_INFO that tells a dead peer from one that does not read. */
struct peer_info {
    uint32_t unacked;     /* segments on their way */
    uint32_t retransmits; /* of the oldest one, unanswered */
    uint32_t probes;      /* of a closed window, unanswered */
    uint32_t silent_ms;   /* since its last acknowledgement */
};
/* false: not TCP. */
bool peer_ask(int fd, struct peer_info *info);
/*
 * A peer that is alive but does not read answers window probes, so it is never called dead, however
 * long that takes. One that answers neither data nor probes is.
 */
bool peer_is_dead(const struct peer_info *info);

#endif
