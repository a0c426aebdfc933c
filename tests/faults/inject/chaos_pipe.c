/*
 * Connections: two sockets, and a queue of bytes with due times in each direction.
 *
 * Happy path: what one socket gives is taken apart by chaos_act.c and queued; what is due is sent
 * to the other. The end of one side is told to the other when the queue is empty. What can fail: a
 * side that resets; the other is reset too, after what it sent before. Owns: the sockets and
 * chunks. A connection is freed only by chaos_reap.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/inject/chaos.h"

enum { READ_BYTES = 64 << 10 };

int64_t chaos_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static enum chaos_dir other(enum chaos_dir d)
{
    return d == CHAOS_UP ? CHAOS_DOWN : CHAOS_UP;
}

static int connect_to(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &found) == 0) {
        fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    if (found) {
        freeaddrinfo(found);
    }
    return fd;
}

static void close_with(int fd, int how)
{
    const struct linger at_once = {1, 0};

    if (fd >= 0 && how == CHAOS_RST) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    if (fd >= 0) {
        close(fd);
    }
}

void chaos_conn_add(struct chaos *c, int fd, const char *host, const char *port)
{
    const int on = 1, up = c->refuse ? -1 : connect_to(host, port);
    struct chaos_conn *k = up < 0 ? NULL : calloc(1, sizeof *k);

    c->counts[CHAOS_REFUSE] += c->refuse;
    if (!k || !(k->requests = calloc(CHAOS_CORRS, sizeof *k->requests))) {
        close_with(fd, CHAOS_RST);
        close_with(up, CHAOS_RST);
        free(k);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    k->c = c;
    k->fd[CHAOS_UP] = fd;
    k->fd[CHAOS_DOWN] = up;
    k->connecting = true;
    k->cut = CHAOS_ANY;
    k->number = ++c->connections;
    k->next = c->all;
    c->all = k;
}

void chaos_end(struct chaos_conn *k, int how)
{
    for (int d = 0; d < 2; d++) {
        close_with(k->fd[d], how);
        k->fd[d] = -1;
    }
    k->dead = true;
}

static void conn_free(struct chaos_conn *k)
{
    for (int d = 0; d < 2; d++) {
        while (k->pipe[d].first) {
            struct chaos_chunk *next = k->pipe[d].first->next;

            free(k->pipe[d].first);
            k->pipe[d].first = next;
        }
        free(k->pipe[d].frame);
    }
    free(k->requests);
    free(k);
}

void chaos_reap(struct chaos *c)
{
    struct chaos_conn **at = &c->all;

    while (*at) {
        struct chaos_conn *k = *at;

        if (k->dead) {
            *at = k->next;
            conn_free(k);
        } else {
            at = &k->next;
        }
    }
}

void chaos_queue(struct chaos_conn *k, enum chaos_dir dir, const uint8_t *p, size_t n)
{
    const struct chaos_settings *s = &k->c->set[dir];
    struct chaos_pipe *t = &k->pipe[dir];
    struct chaos_chunk *b = n ? malloc(sizeof *b + n) : NULL;
    int64_t due_ns = chaos_now_ns();

    if (n == 0) {
        return;
    }
    if (!b) {
        abort();
    }
    if (s->delay_ms > 0 || s->jitter_ms > 0) {
        due_ns += s->delay_ms * 1000000;
        due_ns += (int64_t)chaos_random(k->c, (uint64_t)s->jitter_ms * 1000000 + 1);
        k->c->counts[CHAOS_DELAY]++;
    }
    if (due_ns < t->last_due_ns) {
        due_ns = t->last_due_ns; /* one connection never reorders */
    }
    t->last_due_ns = due_ns;
    b->next = NULL;
    b->due_ns = due_ns;
    b->n = n;
    b->at = 0;
    memcpy(b->p, p, n);
    *(t->first ? &t->last->next : &t->first) = b;
    t->last = b;
    t->queued += n;
}

/* ---------------------------------------------------------------- when */

static bool stands_still(const struct chaos_conn *k, int64_t now_ns)
{
    return k->dead || k->half_open || k->c->frozen || k->stalled_until_ns > now_ns;
}

static bool held(const struct chaos_conn *k, enum chaos_dir dir)
{
    return k->hold_op != 0 && k->hold_dir == dir;
}

static int64_t ready_ns(const struct chaos_pipe *t)
{
    return t->first->due_ns > t->free_ns ? t->first->due_ns : t->free_ns;
}

static bool can_send(const struct chaos_conn *k, enum chaos_dir dir, int64_t now_ns)
{
    const struct chaos_pipe *t = &k->pipe[dir];

    return t->first && ready_ns(t) <= now_ns && !held(k, dir) && !k->connecting;
}

short chaos_wants(const struct chaos_conn *k, enum chaos_dir side, int64_t now_ns)
{
    const struct chaos_pipe *in = &k->pipe[side];
    short events = 0;

    if (stands_still(k, now_ns)) {
        return 0;
    }
    if (k->connecting) {
        return side == CHAOS_DOWN ? POLLOUT : 0;
    }
    if (!in->eof && k->cut == CHAOS_ANY && in->queued < CHAOS_QUEUE_MAX) {
        events |= POLLIN;
    }
    if (can_send(k, other(side), now_ns)) {
        events |= POLLOUT;
    }
    return events;
}

int64_t chaos_due_ns(const struct chaos_conn *k, int64_t now_ns)
{
    int64_t due = INT64_MAX;

    if (k->dead || k->half_open || k->c->frozen) {
        return due;
    }
    if (k->stalled_until_ns > now_ns) {
        return k->stalled_until_ns;
    }
    for (int d = 0; d < 2; d++) {
        const struct chaos_pipe *t = &k->pipe[d];

        if (t->first && ready_ns(t) > now_ns && ready_ns(t) < due) {
            due = ready_ns(t);
        }
    }
    if (k->hold_op != 0 && k->hold_until_ns < due) {
        due = k->hold_until_ns;
    }
    if (k->cut != CHAOS_ANY && due > now_ns + 1000000) {
        due = now_ns + 1000000; /* the kernel's queue drains without telling */
    }
    return due;
}

/* ---------------------------------------------------------------- reading and writing */

/* A side is gone: the other one is told, after what came before. */
static void broken(struct chaos_conn *k)
{
    enum { OUT_WITHIN_NS = 100000000 };

    if (k->cut == CHAOS_ANY) {
        k->cut = CHAOS_RST;
        k->cut_by_ns = chaos_now_ns() + OUT_WITHIN_NS;
    }
}

static void receive(struct chaos_conn *k, enum chaos_dir dir)
{
    uint8_t in[READ_BYTES];
    const ssize_t n = recv(k->fd[dir], in, sizeof in, MSG_DONTWAIT);

    if (n > 0) {
        chaos_input(k, dir, in, (size_t)n);
    } else if (n == 0) {
        chaos_input_end(k, dir);
    } else if (errno != EAGAIN && errno != EINTR) {
        broken(k);
    }
}

static size_t allowed(const struct chaos_settings *s, const struct chaos_chunk *b)
{
    size_t n = b->n - b->at;

    if (s->segment > 0 && n > (size_t)s->segment) {
        n = (size_t)s->segment;
    }
    if (s->rate > 0 && n > (size_t)s->rate / 100 + 1) {
        n = (size_t)s->rate / 100 + 1;
    }
    return n;
}

static void sent(struct chaos_conn *k, struct chaos_pipe *t, size_t n,
                 const struct chaos_settings *s, int64_t now_ns)
{
    struct chaos_chunk *b = t->first;

    b->at += n;
    t->queued -= n;
    if (s->rate > 0) {
        t->free_ns = now_ns + (int64_t)((double)n * 1e9 / (double)s->rate);
        t->throttled = true;
    }
    if (b->at == b->n) {
        k->c->counts[CHAOS_SEGMENT] += t->divided;
        k->c->counts[CHAOS_THROTTLE] += t->throttled;
        t->divided = t->throttled = false;
        t->first = b->next;
        free(b);
    } else if (s->segment > 0) {
        t->divided = true;
    }
}

/* Sends what is due. One piece only where pieces are small on purpose, so that they stay apart. */
static void forward(struct chaos_conn *k, enum chaos_dir dir, int64_t now_ns)
{
    const struct chaos_settings *s = &k->c->set[dir];
    struct chaos_pipe *t = &k->pipe[dir];

    while (can_send(k, dir, now_ns)) {
        const size_t want = allowed(s, t->first);
        const ssize_t n =
            send(k->fd[other(dir)], t->first->p + t->first->at, want, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                chaos_end(k, CHAOS_RST); /* nobody is there to take it */
            }
            return;
        }
        sent(k, t, (size_t)n, s, now_ns);
        if (s->segment > 0 || s->rate > 0) {
            return;
        }
    }
}

static void pass_end(struct chaos_conn *k, enum chaos_dir dir)
{
    struct chaos_pipe *t = &k->pipe[dir];

    if (t->eof && !t->first && !t->shut && k->cut == CHAOS_ANY) {
        shutdown(k->fd[other(dir)], SHUT_WR);
        t->shut = true;
    }
}

static bool kernel_sent_all(const struct chaos_conn *k)
{
    for (int d = 0; d < 2; d++) {
        int left = 0;

        if (ioctl(k->fd[d], SIOCOUTQNSD, &left) == 0 && left > 0) {
            return false;
        }
    }
    return true;
}

static void finish(struct chaos_conn *k, int64_t now_ns)
{
    if (k->cut != CHAOS_ANY &&
        ((!k->pipe[CHAOS_UP].first && !k->pipe[CHAOS_DOWN].first && kernel_sent_all(k)) ||
         now_ns >= k->cut_by_ns)) {
        chaos_end(k, k->cut);
    } else if (k->pipe[CHAOS_UP].shut && k->pipe[CHAOS_DOWN].shut) {
        chaos_end(k, CHAOS_FIN);
    }
}

static void connected(struct chaos_conn *k)
{
    int error = 0;
    socklen_t n = sizeof error;

    getsockopt(k->fd[CHAOS_DOWN], SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        chaos_end(k, CHAOS_RST);
    }
    k->connecting = false;
}

void chaos_move(struct chaos_conn *k, const short revents[2])
{
    const int64_t now_ns = chaos_now_ns();

    if (stands_still(k, now_ns)) {
        return;
    }
    if (k->hold_op != 0 && k->hold_until_ns <= now_ns) {
        k->hold_op = 0; /* nobody came past */
    }
    if (k->connecting && revents[CHAOS_DOWN]) {
        connected(k);
    }
    for (int d = 0; d < 2 && !k->dead && !k->connecting; d++) {
        if (revents[d] & (POLLIN | POLLHUP | POLLERR) && !k->pipe[d].eof && k->cut == CHAOS_ANY) {
            receive(k, (enum chaos_dir)d);
        }
    }
    for (int d = 0; d < 2 && !k->dead && !stands_still(k, now_ns); d++) {
        forward(k, (enum chaos_dir)d, now_ns);
        if (!k->dead) {
            pass_end(k, (enum chaos_dir)d);
        }
    }
    if (!k->dead && !k->connecting) {
        finish(k, now_ns);
    }
}
