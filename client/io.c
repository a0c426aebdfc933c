/*
 * Happy path of a turn: step the handle, write, wait for the socket, read, step, write.
 * Connecting: names are resolved when a connection is needed (this may block, as getaddrinfo does),
 * then addresses are tried one after the other without blocking, each for connect_timeout_ms.
 * What can fail: everything, and all of it ends in conn_lost with the host and the reason.
 * Owns three descriptors: epoll (weir_fd), an eventfd that ends waits, the socket.
 */
#include "client/io.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/handle.h"

enum { IOVECS = 64, READS_PER_TURN = 8, STALE_MS = 2 };

struct io {
    int epfd, evfd, fd;  /* -1 = none */
    uint32_t armed;      /* epoll events of fd */
    uint32_t generation; /* of the conn that fd belongs to */
    bool connecting;
    struct addrinfo *list, *at; /* addresses of the current host */
    unsigned host;              /* the next one of the URL to resolve */
    int64_t give_up_ns;
    char target[URL_HOST_SIZE + 8]; /* for error texts */
};

static struct io *io_of(const struct weir *w)
{
    return w->tr_arg;
}

static void drop_socket(struct io *io)
{
    if (io->fd >= 0) {
        close(io->fd); /* leaves the epoll set by itself */
    }
    io->fd = -1;
    io->armed = 0;
    io->connecting = false;
}

static void drop_addresses(struct io *io)
{
    if (io->list) {
        freeaddrinfo(io->list);
    }
    io->list = io->at = NULL;
}

static void arm(struct io *io, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = io->fd};

    if (io->fd >= 0 && io->armed != events) {
        epoll_ctl(io->epfd, io->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &ev);
        io->armed = events;
    }
}

static void lost(struct weir *w, const char *what, int err)
{
    struct io *io = io_of(w);
    bool tried = w->conn.state == CONN_CONNECT;
    struct werror e = {0};

    werror_set(&e, tried ? WERR_UNREACHABLE : WERR_CONNECTION_LOST, "%s: %s%s%s", io->target, what,
               err ? ": " : "", err ? strerror(err) : "");
    e.sys_errno = err;
    drop_socket(io);
    conn_lost(&w->conn, w->now_ns, &e);
}

/* ---------------------------------------------------------------- connecting */

static void tune(int fd, int family)
{
    int on = 1, idle_s = 15, every_s = 5, probes = 3;

    if (family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
}

static void connected(struct weir *w)
{
    struct io *io = io_of(w);

    io->connecting = false;
    io->generation = w->conn.generation;
    io->host = 0;
    drop_addresses(io);
    conn_opened(&w->conn, w->now_ns);
}

/* 0 = connected or under way, else errno. */
static int begin_connect(struct weir *w, int family, const struct sockaddr *sa, socklen_t len)
{
    struct io *io = io_of(w);

    io->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (io->fd < 0) {
        return errno;
    }
    tune(io->fd, family);
    io->give_up_ns = clock_after_ms(w->now_ns, w->opt.connect_timeout_ms);
    if (connect(io->fd, sa, len) == 0) {
        connected(w);
        return 0;
    }
    if (errno != EINPROGRESS) {
        return errno;
    }
    io->connecting = true;
    arm(io, EPOLLOUT);
    return 0;
}

static void connect_unix(struct weir *w)
{
    struct io *io = io_of(w);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int err;

    memcpy(sa.sun_path, w->url.path, sizeof sa.sun_path);
    snprintf(io->target, sizeof io->target, "%s", w->url.path);
    err = begin_connect(w, AF_UNIX, (const struct sockaddr *)(const void *)&sa, sizeof sa);
    if (err) {
        lost(w, "connect", err);
    }
}

/* Resolves the next host of the URL. NULL, or why not. */
static const char *resolve(struct weir *w)
{
    struct io *io = io_of(w);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM,
                                     .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    const struct url_host *h = &w->url.hosts[io->host++];
    int rc;

    snprintf(io->target, sizeof io->target, strchr(h->name, ':') ? "[%s]:%s" : "%s:%s", h->name,
             h->port);
    drop_addresses(io);
    rc = getaddrinfo(h->name, h->port, &numeric, &io->list);
    if (rc == EAI_NONAME) {
        rc = getaddrinfo(h->name, h->port, &hints, &io->list);
    }
    if (rc != 0) {
        io->list = NULL;
        return gai_strerror(rc);
    }
    io->at = io->list;
    return NULL;
}

/* From io->at on, then host by host, until one is under way; when none is left, a pause. */
static void try_addresses(struct weir *w, const char *what, int err)
{
    struct io *io = io_of(w);

    for (;;) {
        for (; io->at; io->at = io->at->ai_next) {
            err = begin_connect(w, io->at->ai_family, io->at->ai_addr, io->at->ai_addrlen);
            if (err == 0) {
                return;
            }
            what = "connect";
            drop_socket(io);
        }
        drop_addresses(io);
        if (io->host >= w->url.n_hosts) {
            break;
        }
        what = resolve(w);
        err = 0;
    }
    io->host = 0;
    lost(w, what ? what : "no address", err);
}

/* The address that was tried failed. */
static void next_address(struct weir *w, const char *what, int err)
{
    struct io *io = io_of(w);

    drop_socket(io);
    io->at = io->at ? io->at->ai_next : NULL;
    try_addresses(w, what, err);
}

static void connect_next(struct weir *w)
{
    struct io *io = io_of(w);

    if (w->url.is_unix) {
        connect_unix(w);
    } else {
        io->host = 0;
        try_addresses(w, NULL, 0);
    }
}

static void finish_connect(struct weir *w)
{
    struct io *io = io_of(w);
    int err = 0;
    socklen_t len = sizeof err;

    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        err = errno;
    }
    if (err && w->url.is_unix) {
        lost(w, "connect", err);
    } else if (err) {
        next_address(w, "connect", err);
    } else {
        connected(w);
    }
}

/* ---------------------------------------------------------------- bytes */

static bool established(const struct weir *w)
{
    return w->conn.state == CONN_HELLO || w->conn.state == CONN_READY;
}

/* A connection that the machine gave up loses its socket. */
static void sync_socket(struct weir *w)
{
    struct io *io = io_of(w);

    if (io->fd >= 0 && !io->connecting &&
        (!established(w) || io->generation != w->conn.generation)) {
        drop_socket(io);
    }
}

static void write_out(struct weir *w, bool may_lose)
{
    struct io *io = io_of(w);
    struct iovec v[IOVECS];
    struct msghdr m = {.msg_iov = v};
    bool blocked = false;

    while (established(w) && io->fd >= 0 && !io->connecting && !blocked &&
           (m.msg_iovlen = conn_output(&w->conn, v, IOVECS)) > 0) {
        ssize_t n = sendmsg(io->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            conn_written(&w->conn, (size_t)n);
        } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
            if (may_lose) {
                lost(w, "write", errno);
            }
            return; /* else the next turn reads the same error */
        }
        blocked = n < 0 && errno == EAGAIN;
    }
    if (established(w) && !io->connecting) {
        arm(io, conn_has_output(&w->conn) ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void read_in(struct weir *w)
{
    struct io *io = io_of(w);

    for (int i = 0; i < READS_PER_TURN && established(w) && io->fd >= 0; i++) {
        uint32_t generation = w->conn.generation;
        size_t room;
        uint8_t *p = conn_space(&w->conn, &room);
        ssize_t n;

        if (!p) {
            lost(w, "out of memory", 0);
            return;
        }
        n = recv(io->fd, p, room, MSG_DONTWAIT);
        if (n > 0) {
            conn_received(&w->conn, (size_t)n, w->now_ns);
            if ((size_t)n < room || w->conn.generation != generation) {
                return; /* the socket is empty for now, or gone */
            }
        } else if (n == 0) {
            lost(w, "closed by the server", 0);
            return;
        } else if (errno != EINTR) {
            if (errno != EAGAIN) {
                lost(w, "read", errno);
            }
            return;
        }
    }
}

static void on_event(struct weir *w, const struct epoll_event *ev)
{
    struct io *io = io_of(w);
    uint64_t count;

    if (ev->data.fd == io->evfd) {
        while (read(io->evfd, &count, sizeof count) > 0) {
        }
    } else if (ev->data.fd == io->fd && io->connecting) {
        finish_connect(w);
    } else if (ev->data.fd == io->fd && (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        read_in(w);
    }
}

/* ---------------------------------------------------------------- transport */

static void step(struct weir *w)
{
    struct io *io = io_of(w);

    handle_step(w);
    sync_socket(w);
    if (w->conn.state == CONN_CONNECT && io->connecting && w->now_ns >= io->give_up_ns) {
        next_address(w, "connect", ETIMEDOUT); /* a unix socket never waits */
    } else if (w->conn.state == CONN_CONNECT && io->fd < 0) {
        connect_next(w);
    }
    write_out(w, true);
}

static int64_t io_deadline(const struct weir *w)
{
    const struct io *io = io_of(w);

    if (io->connecting) {
        return io->give_up_ns;
    }
    return w->conn.state == CONN_CONNECT ? w->now_ns : CLOCK_NEVER;
}

static void io_turn(struct weir *w, int64_t until_ns)
{
    struct io *io = io_of(w);
    struct epoll_event ev[4];
    int64_t t;
    int n;

    if (handle_now(w) - w->turned_ns > STALE_MS * CLOCK_NS_PER_MS && established(w)) {
        read_in(w); /* what the server said meanwhile, above all goodbye, before anything is sent */
        until_ns = w->now_ns; /* it may be what the caller waits for: look before sleeping */
    }
    step(w);
    t = handle_deadline(w);
    t = t < until_ns ? t : until_ns;
    n = epoll_wait(io->epfd, ev, 4, clock_ms_until(w->now_ns, t));
    w->turned_ns = handle_now(w);
    for (int i = 0; i < n; i++) {
        on_event(w, &ev[i]);
    }
    step(w);
}

static void io_push(struct weir *w)
{
    write_out(w, false);
}

/* Reads and throws away. @return false: the other side has closed, or is gone. */
static bool discard(int fd)
{
    uint8_t trash[8192];
    ssize_t n;

    do {
        n = recv(fd, trash, sizeof trash, MSG_DONTWAIT);
    } while (n > 0);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void io_finish(struct weir *w, int64_t until_ns)
{
    struct io *io = io_of(w);
    bool told = false, open = io->fd >= 0 && !io->connecting;

    while (open && established(w) && handle_now(w) < until_ns) {
        struct pollfd p = {.fd = io->fd, .events = POLLIN};

        write_out(w, false);
        if (!conn_has_output(&w->conn) && !told) {
            told = true;
            open = shutdown(io->fd, SHUT_WR) == 0;
        }
        p.events = told ? POLLIN : POLLIN | POLLOUT;
        if (open && poll(&p, 1, clock_ms_until(w->now_ns, until_ns)) > 0 &&
            (p.revents & (POLLIN | POLLHUP | POLLERR))) {
            open = discard(io->fd);
        }
    }
}

static int io_fd(const struct weir *w)
{
    return io_of(w)->epfd;
}

static void io_interrupt(struct weir *w)
{
    const uint64_t one = 1;
    int saved = errno; /* this runs in signal handlers */

    (void)!write(io_of(w)->evfd, &one, sizeof one);
    errno = saved;
}

static void io_close(struct weir *w)
{
    struct io *io = io_of(w);

    if (!io) {
        return;
    }
    drop_socket(io);
    drop_addresses(io);
    if (io->evfd >= 0) {
        close(io->evfd);
    }
    if (io->epfd >= 0) {
        close(io->epfd);
    }
    free(io);
    w->tr_arg = NULL;
    w->tr = NULL;
}

static const struct transport sockets = {io_turn, io_push,      io_finish, io_deadline,
                                         io_fd,   io_interrupt, io_close};

bool io_attach(struct weir *w)
{
    struct io *io = calloc(1, sizeof *io);
    struct epoll_event ev = {.events = EPOLLIN};

    if (!io) {
        return false;
    }
    io->fd = -1;
    io->epfd = epoll_create1(EPOLL_CLOEXEC);
    io->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ev.data.fd = io->evfd;
    w->tr_arg = io;
    w->tr = &sockets;
    return io->epfd >= 0 && io->evfd >= 0 && epoll_ctl(io->epfd, EPOLL_CTL_ADD, io->evfd, &ev) == 0;
}
