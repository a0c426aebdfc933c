/*
 * chaosproxy --to HOST:PORT [--listen HOST:PORT] [--control PATH] [--seed N] [--ready-fd N]
 *            [COMMAND]...
 *
 * Stands between clients and a weir server and breaks what passes. It takes commands as arguments,
 * on its standard input (answers on the standard output), and on the unix socket of --control; one
 * line each, one line of answer each. It ends with `quit`, SIGTERM, or its parent.
 *
 *   rule FAULT [op=NAME|N|any] [dir=up|down|both] [p=CHANCE] [after=N] [times=N] ...
 *       cut       at=BYTE|random|sweep|end how=fin|rst|any: the connection ends at a byte of the
 *                 frame; sweep: each kind of frame once at every byte
 *       lost_ack  how=...: the request is delivered, its answer is swallowed, the connection ends
 *       duplicate the request is delivered twice; the second answer is swallowed
 *       stall     for=MS: nothing moves on this connection meanwhile
 *       half_open nothing moves any more, and nothing is closed
 *       hold      for=MS: the frame waits until another connection's of the same op has passed
 *   clear                                  forgets the rules
 *   set up|down|both [delay=MS] [jitter=MS] [rate=BYTES_PER_S] [segment=BYTES]   0 = off
 *   now cut|stall|half_open [p=] [times=] [how=] [for=]   connections that exist; answers how many
 *   freeze, thaw      no connection moves        refuse, accept    new connections are reset
 *   heal              all of it off; connections that are half open are reset
 *   counts            JSON: what really happened. same_offset and other_offset: produced batches
 *                     whose offset was told again after a lost answer, or by both of a duplicate
 *   sweeps            JSON: "DIR.OP": [next byte, shortest frame, longest frame]
 *
 * Happy path: poll, move every connection. What can fail: a line that is too long ends its client.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/faults/inject/chaos.h"

enum { TALKERS = 8, LINE_BYTES = 1024, ANSWER_BYTES = 16384, LISTENERS = 2 };

/* Somebody who gives commands. */
struct talker {
    int in, out; /* -1 = free */
    size_t n;
    char line[LINE_BYTES];
};
struct proxy {
    struct chaos c;
    char to_host[128], to_port[16], listen_host[128], listen_port[16];
    const char *control;
    int ready_fd, listener, control_fd;
    struct talker talkers[TALKERS];
    struct pollfd *polls;
    size_t cap;
    bool end;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

static bool split(const char *text, char *host, size_t n_host, char *port, size_t n_port)
{
    const char *colon = strrchr(text, ':');

    if (!colon || (size_t)(colon - text) >= n_host || strlen(colon + 1) >= n_port) {
        return false;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

static int listen_tcp(const char *host, const char *port, unsigned *got)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    struct sockaddr_storage name;
    socklen_t n = sizeof name;
    const int on = 1;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 4096) ||
            getsockname(fd, (struct sockaddr *)(void *)&name, &n)) {
            close(fd);
            fd = -1;
        } else {
            *got =
                ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&name)->sin6_port
                                                 : ((struct sockaddr_in *)(void *)&name)->sin_port);
        }
    }
    freeaddrinfo(found);
    return fd;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof un.sun_path) {
        return -1;
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)(void *)&un, sizeof un) || listen(fd, TALKERS))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* ---------------------------------------------------------------- commands */

static void talker_add(struct proxy *x, int in, int out)
{
    for (int i = 0; i < TALKERS; i++) {
        if (x->talkers[i].in < 0) {
            x->talkers[i] = (struct talker){.in = in, .out = out};
            return;
        }
    }
    close(in);
}

static void talker_end(struct talker *t)
{
    if (t->in > STDERR_FILENO) {
        close(t->in);
    }
    t->in = -1;
}

static bool answer(struct proxy *x, struct talker *t, char *line)
{
    static char out[ANSWER_BYTES];
    size_t at = 0, n;

    if (!chaos_obey(&x->c, line, out, sizeof out)) {
        x->end = true;
        snprintf(out, sizeof out, "ok\n");
    }
    for (n = strlen(out); at < n;) {
        const ssize_t w = write(t->out, out + at, n - at); /* small; the socket blocks */

        if (w <= 0) {
            return false;
        }
        at += (size_t)w;
    }
    return true;
}

static void listen_to(struct proxy *x, struct talker *t)
{
    const ssize_t n = read(t->in, t->line + t->n, sizeof t->line - 1 - t->n);
    char *end;

    if (n <= 0) {
        talker_end(t);
        return;
    }
    t->n += (size_t)n;
    while ((end = memchr(t->line, '\n', t->n)) != NULL) {
        const size_t len = (size_t)(end - t->line) + 1;

        *end = '\0';
        if (!answer(x, t, t->line)) {
            talker_end(t);
            return;
        }
        memmove(t->line, t->line + len, t->n - len);
        t->n -= len;
    }
    if (t->n == sizeof t->line - 1) {
        talker_end(t);
    }
}

/* ---------------------------------------------------------------- the loop */

static void accept_all(struct proxy *x)
{
    for (;;) {
        const int fd = accept4(x->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            return;
        }
        chaos_conn_add(&x->c, fd, x->to_host, x->to_port);
    }
}

/* Fills x->polls: listeners, talkers, then two for each connection. Returns how many. */
static size_t prepare(struct proxy *x, int *timeout_ms)
{
    const int64_t now_ns = chaos_now_ns();
    int64_t due_ns = INT64_MAX;
    size_t n = LISTENERS + TALKERS;

    for (const struct chaos_conn *k = x->c.all; k; k = k->next) {
        n += 2;
    }
    if (n > x->cap) {
        x->cap = n * 2;
        x->polls = realloc(x->polls, x->cap * sizeof *x->polls);
        if (!x->polls) {
            abort();
        }
    }
    x->polls[0] = (struct pollfd){x->listener, POLLIN, 0};
    x->polls[1] = (struct pollfd){x->control_fd, POLLIN, 0};
    for (size_t i = 0; i < TALKERS; i++) {
        x->polls[LISTENERS + i] = (struct pollfd){x->talkers[i].in, POLLIN, 0};
    }
    n = LISTENERS + TALKERS;
    for (const struct chaos_conn *k = x->c.all; k; k = k->next) {
        const int64_t at = chaos_due_ns(k, now_ns);

        due_ns = at < due_ns ? at : due_ns;
        for (int d = 0; d < 2; d++) {
            const short events = chaos_wants(k, (enum chaos_dir)d, now_ns);

            x->polls[n++] = (struct pollfd){events ? k->fd[d] : -1, events, 0};
        }
    }
    *timeout_ms = due_ns == INT64_MAX ? -1 : 0;
    if (due_ns != INT64_MAX && due_ns > now_ns) {
        const int64_t ms = (due_ns - now_ns + 999999) / 1000000;

        *timeout_ms = ms > 1000 ? 1000 : (int)ms;
    }
    return n;
}

static void turn(struct proxy *x)
{
    int timeout_ms = 0;
    const size_t n = prepare(x, &timeout_ms);
    size_t i = LISTENERS + TALKERS;

    if (poll(x->polls, n, timeout_ms) < 0) {
        return;
    }
    for (struct chaos_conn *k = x->c.all; k; k = k->next, i += 2) {
        const short revents[2] = {x->polls[i].revents, x->polls[i + 1].revents};

        chaos_move(k, revents);
    }
    for (int t = 0; t < TALKERS; t++) {
        if (x->polls[LISTENERS + t].revents) {
            listen_to(x, &x->talkers[t]);
        }
    }
    if (x->polls[1].revents) {
        const int fd = accept4(x->control_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            talker_add(x, fd, fd);
        }
    }
    if (x->polls[0].revents) {
        accept_all(x);
    }
    chaos_reap(&x->c);
}

static bool options(struct proxy *x, int argc, char **argv)
{
    static const struct option table[] = {{"to", 1, NULL, 't'},       {"listen", 1, NULL, 'l'},
                                          {"control", 1, NULL, 'c'},  {"seed", 1, NULL, 's'},
                                          {"ready-fd", 1, NULL, 'r'}, {NULL, 0, NULL, 0}};
    int key;

    while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (key) {
        case 't':
            if (!split(optarg, x->to_host, sizeof x->to_host, x->to_port, sizeof x->to_port)) {
                return false;
            }
            break;
        case 'l':
            if (!split(optarg, x->listen_host, sizeof x->listen_host, x->listen_port,
                       sizeof x->listen_port)) {
                return false;
            }
            break;
        case 'c':
            x->control = optarg;
            break;
        case 's':
            x->c.rng = strtoull(optarg, NULL, 0) * 2 + 1;
            break;
        case 'r':
            x->ready_fd = (int)strtol(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    }
    return x->to_host[0] != '\0';
}

static bool obey_arguments(struct proxy *x, int argc, char **argv)
{
    static char out[ANSWER_BYTES];

    for (int i = optind; i < argc; i++) {
        chaos_obey(&x->c, argv[i], out, sizeof out);
        if (out[0] == 'e') {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct proxy x = {.c.rng = 1,
                             .listen_host = "127.0.0.1",
                             .listen_port = "0",
                             .ready_fd = STDOUT_FILENO,
                             .control_fd = -1};
    struct sigaction sa = {.sa_handler = on_signal};
    unsigned port = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    x.c.acks = calloc(CHAOS_ACKS, sizeof *x.c.acks);
    for (int i = 0; i < TALKERS; i++) {
        x.talkers[i].in = -1;
    }
    if (!x.c.acks || !options(&x, argc, argv) || !obey_arguments(&x, argc, argv)) {
        fprintf(stderr, "usage: chaosproxy --to HOST:PORT [--listen HOST:PORT] [--control PATH] "
                        "[--seed N] [--ready-fd N] [COMMAND]...\n");
        return 2;
    }
    x.listener = listen_tcp(x.listen_host, x.listen_port, &port);
    x.control_fd = x.control ? listen_unix(x.control) : -1;
    if (x.listener < 0 || (x.control && x.control_fd < 0)) {
        perror("chaosproxy: listen");
        return 1;
    }
    talker_add(&x, STDIN_FILENO, STDOUT_FILENO);
    dprintf(x.ready_fd, "READY %s %u\n", x.listen_host, port);
    while (!stopped && !x.end) {
        turn(&x);
    }
    for (struct chaos_conn *k = x.c.all; k; k = k->next) {
        chaos_end(k, CHAOS_RST);
    }
    chaos_reap(&x.c);
    free(x.c.acks);
    free(x.polls);
    return 0;
}
