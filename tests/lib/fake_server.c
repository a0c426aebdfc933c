/*
 * The fake broker behind a socket, for tests of the client that need one but not the real server.
 * fake_server [--unix PATH] [--ready-fd N] [--topic NAME:PARTITIONS]...
 * Prints "READY 127.0.0.1 PORT" like weir-server. Ends on SIGTERM, or when its parent is gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/fake_broker.h"

enum { MAX_CONNS = 16 };

struct client {
    int fd;
    struct fake_conn conn;
    size_t written;
};

static int listen_on(const char *unix_path, uint16_t *port)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    if (unix_path) {
        snprintf(un.sun_path, sizeof un.sun_path, "%s", unix_path);
        rc = bind(fd, (struct sockaddr *)(void *)&un, sizeof un);
    } else {
        rc = bind(fd, (struct sockaddr *)(void *)&in, sizeof in);
        getsockname(fd, (struct sockaddr *)(void *)&in, &len);
        *port = ntohs(in.sin_port);
    }
    if (rc != 0 || listen(fd, 16) != 0) {
        perror("fake_server: listen");
        exit(1);
    }
    return fd;
}

static void drop(struct client *c)
{
    close(c->fd);
    fake_conn_fini(&c->conn);
    c->fd = -1;
}

static void serve(struct client *c, short events)
{
    uint8_t in[1 << 16];
    ssize_t n;

    if (events & (POLLIN | POLLHUP | POLLERR)) {
        n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN) ||
            (n > 0 && !fake_conn_input(&c->conn, in, (size_t)n))) {
            drop(c);
            return;
        }
    }
    fake_conn_push(&c->conn);
    n = send(c->fd, c->conn.out.p, c->conn.out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        buf_consume(&c->conn.out, (size_t)n);
    }
}

static void run(struct fake_broker *fb, int listener)
{
    struct client clients[MAX_CONNS];

    for (size_t i = 0; i < MAX_CONNS; i++) {
        clients[i].fd = -1;
    }
    for (;;) {
        struct pollfd p[MAX_CONNS + 1] = {{.fd = listener, .events = POLLIN}};
        bool news = false;

        for (size_t i = 0; i < MAX_CONNS; i++) {
            p[i + 1] = (struct pollfd){clients[i].fd, POLLIN, 0};
            if (clients[i].fd >= 0 && clients[i].conn.out.len > 0) {
                p[i + 1].events |= POLLOUT;
            }
        }
        if (poll(p, MAX_CONNS + 1, -1) < 0) {
            continue;
        }
        for (size_t i = 0; i < MAX_CONNS; i++) {
            if (clients[i].fd >= 0 && p[i + 1].revents) {
                serve(&clients[i], p[i + 1].revents);
                news = true;
            }
        }
        for (size_t i = 0; i < MAX_CONNS && news; i++) {
            if (clients[i].fd >= 0) {
                serve(&clients[i], 0); /* what one produced another may have subscribed to */
            }
        }
        for (size_t i = 0; i < MAX_CONNS && p[0].revents; i++) {
            if (clients[i].fd < 0) {
                clients[i].fd = accept(listener, NULL, NULL);
                fake_conn_init(&clients[i].conn, fb);
                break;
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct fake_broker *fb = fake_new();
    const char *unix_path = NULL;
    int ready_fd = 1;
    uint16_t port = 0;
    int listener;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--unix") == 0) {
            unix_path = argv[i + 1];
        } else if (strcmp(argv[i], "--ready-fd") == 0) {
            ready_fd = (int)strtol(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--topic") == 0) {
            char *colon = strchr(argv[i + 1], ':');

            fake_topic_add(fb, strtok(argv[i + 1], ":"),
                           colon ? (uint32_t)strtoul(colon + 1, NULL, 10) : 1);
        }
    }
    listener = listen_on(unix_path, &port);
    dprintf(ready_fd, "READY 127.0.0.1 %u\n", port);
    run(fb, listener);
    return 0;
}
