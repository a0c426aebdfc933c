#ifndef WEIR_BROKER_LISTENER_H
#define WEIR_BROKER_LISTENER_H
/*
 * Listening sockets: pacing of accepts, limits per address, in all and of memory, and
 * a spare descriptor so that a full table does not spin (libev manual, "special problem of
 * accept()ing").
 */
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "broker/config.h"
#include "proto/error.h"

struct server;
struct conn;
struct address_count;

struct listener {
    struct server *srv;
    int fd;
    ev_io io;
    char text[300]; /* HOST:PORT or unix:/path, the port that was taken */
    char unlink_path[CONFIG_TEXT];
};

struct listeners {
    struct listener l[CONFIG_LIST_MAX];
    unsigned n;
    int spare_fd;   /* given up for a moment when the table is full */
    ev_timer pause; /* accepts go on when it fires */
    bool paused;
    double tokens; /* accepts allowed now */
    int64_t refilled_mono_ns;
    unsigned max_conns;
    struct address_count *addresses;
};

/* Why connections are refused, as logs and metrics name it. */
enum { ACCEPT_REFUSED_REASONS = 4 };
const char *accept_refused_reason(unsigned i);

/* Opens every listener of the configuration. *e names the address. */
enum werr listeners_open(struct listeners *ls, struct server *srv, struct werror *e) WEIR_NODISCARD;
/* The most connections that settings and open files allow. */
unsigned listeners_most(const struct config *conf);
void listeners_start(struct listeners *ls);
/* No more accepts; existing connections stay. Safe twice. */
void listeners_close(struct listeners *ls);
/* A connection ended: its address has one less. */
void listeners_release(struct listeners *ls, const struct conn *c);

#endif
