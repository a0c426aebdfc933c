#include "broker/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The default function falls through switch labels, which clang does not like. */
#define HASH_FUNCTION(key, n, hash) ((hash) = crc32c((key), (n)))
#define uthash_fatal(msg) abort()
#include <uthash.h>

#include "broker/clock.h"
#include "broker/peer.h"
#include "broker/server.h"
#include "proto/crc32c.h"

enum {
    BACKLOG = 1024,
    ACCEPTS_PER_TURN = 64,
    RESERVED_FDS = 64,
};

struct address_count {
    uint8_t address[16];
    unsigned n;
    UT_hash_handle hh;
};

/* ---------------------------------------------------------------- opening */

static bool is_loopback(const struct sockaddr *a)
{
    struct sockaddr_storage s = {0};
    uint8_t unused[16];

    memcpy(&s, a,
           a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    return !peer_address(&s, unused);
}

static enum werr open_unix(struct listener *l, const char *path, struct werror *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;

    if (strlen(path) >= sizeof a.sun_path) {
        return werror_set(e, WERR_INVALID_CONFIG, "listen = unix:%s: path over %zu characters",
                          path, sizeof a.sun_path - 1);
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(path); /* left behind by a process that was killed */
    }
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(l->fd, BACKLOG) != 0) {
        return werror_set(e, WERR_UNREACHABLE, "listen = unix:%s: %s", path, strerror(errno));
    }
    snprintf(l->text, sizeof l->text, "unix:%s", path);
    snprintf(l->unlink_path, sizeof l->unlink_path, "%s", path);
    return WERR_OK;
}

static void take_text(struct listener *l, const char *host, bool v6)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.v6 = {0}};
    socklen_t n = sizeof a;
    unsigned port = 0;

    if (getsockname(l->fd, &a.any, &n) == 0) {
        port = ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
    }
    snprintf(l->text, sizeof l->text, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

static enum werr open_address(struct listener *l, const struct addrinfo *ai, const char *text,
                              bool allow_plaintext, struct werror *e)
{
    int on = 1;

    if (!is_loopback(ai->ai_addr) && !allow_plaintext) {
        return werror_set(
            e, WERR_INVALID_CONFIG,
            "listen = %s: not a loopback address, and TLS is not available in this version; "
            "allow_plaintext = true permits it",
            text);
    }
    l->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        return werror_set(e, WERR_UNREACHABLE, "listen = %s: %s", text, strerror(errno));
    }
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6) {
        setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (bind(l->fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(l->fd, BACKLOG) != 0) {
        return werror_set(e, WERR_UNREACHABLE, "listen = %s: %s", text, strerror(errno));
    }
    return WERR_OK;
}

static enum werr open_tcp(struct listener *l, const char *text, bool allow_plaintext,
                          struct werror *e)
{
    char host[CONFIG_TEXT];
    const char *colon = strrchr(text, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *ai = NULL;
    bool v6 = text[0] == '[';
    size_t n;
    int rc;
    enum werr err;

    if (colon == NULL || (v6 && (colon == text || colon[-1] != ']'))) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "listen = %s: want HOST:PORT, [IPV6]:PORT or unix:PATH", text);
    }
    n = (size_t)(colon - text) - (v6 ? 2 : 0);
    memcpy(host, text + (v6 ? 1 : 0), n);
    host[n] = '\0';
    rc = getaddrinfo(host[0] != '\0' ? host : NULL, colon + 1, &hints, &ai);
    if (rc != 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "listen = %s: %s", text, gai_strerror(rc));
    }
    err = open_address(l, ai, text, allow_plaintext, e);
    if (err == WERR_OK) {
        take_text(l, host, ai->ai_family == AF_INET6);
    }
    freeaddrinfo(ai);
    return err;
}

/* ---------------------------------------------------------------- accepting */

static const char *const reasons[ACCEPT_REFUSED_REASONS] = {"max_connections", "max_per_address",
                                                            "no_descriptors", "memory"};

const char *accept_refused_reason(unsigned i)
{
    return reasons[i];
}

static void refuse(struct server *srv, int fd, const char *why)
{
    unsigned swallowed;

    for (unsigned i = 0; i < ACCEPT_REFUSED_REASONS; i++) {
        srv->stats.refused_by[i] += strcmp(reasons[i], why) == 0;
    }

    srv->stats.refused_accepts++;
    if (log_allowed(&srv->limit_accept, clock_mono_ns(), &swallowed)) {
        log_line(&srv->log, LOG_WARN, "listener", "accept_refused",
                 "why=%s connections=%u swallowed=%u", why, srv->n_conns, swallowed);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void pause_accepts(struct listeners *ls, double seconds)
{
    struct server *srv = ls->l[0].srv;

    if (!ls->paused) {
        ls->paused = true;
        for (unsigned i = 0; i < ls->n; i++) {
            ev_io_stop(srv->loop, &ls->l[i].io);
        }
        ev_timer_set(&ls->pause, seconds, 0.);
        ev_timer_start(srv->loop, &ls->pause);
    }
}

static void on_pause_over(struct ev_loop *loop, ev_timer *w, int events)
{
    struct listeners *ls = w->data;

    (void)events;
    ls->paused = false;
    for (unsigned i = 0; i < ls->n; i++) {
        if (ls->l[i].fd >= 0) {
            ev_io_start(loop, &ls->l[i].io);
        }
    }
}

/* Out of descriptors: give up the spare one, accept and close one peer, take the spare back. */
static void shed_one(struct listeners *ls, struct listener *l)
{
    int fd;

    close(ls->spare_fd);
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    refuse(l->srv, fd, "no_descriptors");
    ls->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pause_accepts(ls, 0.1);
}

static bool count_address(struct listeners *ls, const uint8_t address[16], unsigned limit)
{
    struct address_count *a;

    HASH_FIND(hh, ls->addresses, address, 16, a);
    if (a == NULL) {
        a = calloc(1, sizeof *a);
        if (a == NULL) {
            return false;
        }
        memcpy(a->address, address, 16);
        HASH_ADD(hh, ls->addresses, address, 16, a);
    }
    if (a->n >= limit) {
        return false;
    }
    a->n++;
    return true;
}

static void uncount_address(struct listeners *ls, const struct sockaddr_storage *peer)
{
    uint8_t address[16];
    struct address_count *a = NULL;

    if (peer_address(peer, address)) {
        HASH_FIND(hh, ls->addresses, address, 16, a);
    }
    if (a != NULL && --a->n == 0) {
        HASH_DEL(ls->addresses, a);
        free(a);
    }
}

void listeners_release(struct listeners *ls, const struct conn *c)
{
    if (c->counted) {
        uncount_address(ls, &c->peer);
    }
}

static void welcome(struct listeners *ls, struct listener *l, int fd,
                    const struct sockaddr_storage *peer)
{
    struct server *srv = l->srv;
    uint8_t address[16];
    bool counted = peer_address(peer, address);
    struct conn *c;

    if (srv->n_conns >= ls->max_conns) {
        refuse(srv, fd, "max_connections");
        return;
    }
    if (memory_is_out(srv)) {
        refuse(srv, fd, "memory");
        return;
    }
    if (counted && !count_address(ls, address, (unsigned)srv->conf->max_per_address)) {
        refuse(srv, fd, "max_per_address");
        return;
    }
    peer_socket_options(fd, peer->ss_family);
    c = conn_open(srv, fd, peer);
    if (c != NULL) {
        c->counted = counted;
        srv->stats.accepted++;
    } else if (counted) {
        uncount_address(ls, peer);
    }
}

static void refill(struct listeners *ls, const struct config *conf)
{
    const double most = (double)conf->accept_burst;
    int64_t now = clock_mono_ns();

    ls->tokens += (double)(now - ls->refilled_mono_ns) * (double)conf->accept_rate / 1e9;
    if (ls->tokens > most) {
        ls->tokens = most;
    }
    ls->refilled_mono_ns = now;
}

static void on_acceptable(struct ev_loop *loop, ev_io *w, int events)
{
    struct listener *l = w->data;
    struct listeners *ls = &l->srv->listeners;

    (void)loop;
    (void)events;
    refill(ls, l->srv->conf);
    for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t n = sizeof peer;
        int fd;

        if (ls->tokens < 1) {
            limit_hit(l->srv, HIT_ACCEPT_RATE, 0);
            pause_accepts(ls, 0.01);
            return;
        }
        fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
            shed_one(ls, l);
            return;
        }
        if (fd < 0) {
            return; /* EAGAIN, or a peer that went away */
        }
        ls->tokens -= 1;
        welcome(ls, l, fd, &peer);
    }
}

unsigned listeners_most(const struct config *conf)
{
    rlim_t most = conf->max_connections;
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        /* a quarter is the store's, some are the process's own */
        rlim_t room = rl.rlim_cur - rl.rlim_cur / 4;

        room = room > RESERVED_FDS + 16 ? room - RESERVED_FDS : 16;
        most = room < most ? room : most;
    }
    return (unsigned)most;
}

enum werr listeners_open(struct listeners *ls, struct server *srv, struct werror *e)
{
    const struct config_list *list = &srv->conf->listen;
    enum werr rc = WERR_OK;

    ls->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ls->tokens = (double)srv->conf->accept_burst;
    ls->refilled_mono_ns = clock_mono_ns();
    ls->max_conns = listeners_most(srv->conf);
    ev_timer_init(&ls->pause, on_pause_over, 0., 0.);
    ls->pause.data = ls;
    for (unsigned i = 0; i < list->n && rc == WERR_OK; i++) {
        struct listener *l = &ls->l[ls->n++];

        l->srv = srv;
        l->fd = -1;
        rc = strncmp(list->item[i], "unix:", 5) == 0
                 ? open_unix(l, list->item[i] + 5, e)
                 : open_tcp(l, list->item[i], srv->conf->allow_plaintext, e);
        if (l->fd >= 0) {
            ev_io_init(&l->io, on_acceptable, l->fd, EV_READ);
            l->io.data = l;
        }
    }
    return rc;
}

void listeners_start(struct listeners *ls)
{
    for (unsigned i = 0; i < ls->n; i++) {
        ev_io_start(ls->l[i].srv->loop, &ls->l[i].io);
    }
}

void listeners_close(struct listeners *ls)
{
    for (unsigned i = 0; i < ls->n; i++) {
        struct listener *l = &ls->l[i];

        if (l->fd >= 0) {
            ev_io_stop(l->srv->loop, &l->io);
            close(l->fd);
            l->fd = -1;
        }
        if (l->unlink_path[0] != '\0') {
            unlink(l->unlink_path);
            l->unlink_path[0] = '\0';
        }
    }
    if (ls->n > 0) {
        ev_timer_stop(ls->l[0].srv->loop, &ls->pause);
    }
    if (ls->spare_fd > 0) {
        close(ls->spare_fd);
        ls->spare_fd = -1;
    }
}
