/*
 * Happy path: the loop sees libmicrohttpd's epoll descriptor readable, MHD_run calls answer() for a
 * request, answer() looks the path up in the table and builds the text in memory.
 * What can fail: a bad path or method (an answer that says so), memory (the connection is closed).
 * Who owns what: http its daemon, socket and watchers; a response the text it was given.
 */
#include "broker/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/prom.h"
#include "broker/server.h"

enum {
    CONNECTIONS = 64,
    PER_ADDRESS = 16,
    IDLE_S = 10,
    CONNECTION_MEMORY = 16384,
    ANSWER_BYTES = 8 << 20,
    BACKLOG = 64,
};

struct http {
    struct server *srv;
    struct MHD_Daemon *daemon;
    int fd;
    ev_io io;
    ev_timer timer;
    char address[300];
};

/* What one path answers: status, type and text. */
struct reply_text {
    unsigned status;
    const char *type;
    struct buf text;
};

static void say(struct reply_text *r, unsigned status, const char *text)
{
    r->status = status;
    buf_put(&r->text, text, strlen(text));
}

/* ---------------------------------------------------------------- paths */

/* Alive: the loop runs. */
static void healthz(struct http *h, struct MHD_Connection *c, struct reply_text *r)
{
    (void)c;
    if (store_state(h->srv->st) == STORE_FAILED) {
        say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "storage failed\n");
    } else {
        say(r, MHD_HTTP_OK, "ok\n");
    }
}

/* Ready: takes messages. */
static void readyz(struct http *h, struct MHD_Connection *c, struct reply_text *r)
{
    (void)c;
    if (h->srv->draining) {
        say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping\n");
    } else if (store_state(h->srv->st) != STORE_READY) {
        say(r, MHD_HTTP_SERVICE_UNAVAILABLE, store_state_reason(h->srv->st)->text);
        say(r, MHD_HTTP_SERVICE_UNAVAILABLE, "\n");
    } else {
        say(r, MHD_HTTP_OK, "ready\n");
    }
}

static void metrics(struct http *h, struct MHD_Connection *c, struct reply_text *r)
{
    (void)c;
    r->status = MHD_HTTP_OK;
    r->type = "text/plain; version=0.0.4; charset=utf-8";
    prom_all(&r->text, h->srv);
}

static void metrics_topic(struct http *h, struct MHD_Connection *c, struct reply_text *r)
{
    const char *name = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "name");

    if (name == NULL) {
        say(r, MHD_HTTP_BAD_REQUEST, "which topic? /metrics/topic?name=NAME\n");
    } else if (prom_topic(&r->text, h->srv, slice_str(name))) {
        r->status = MHD_HTTP_OK;
        r->type = "text/plain; version=0.0.4; charset=utf-8";
    } else {
        say(r, MHD_HTTP_NOT_FOUND, "no such topic\n");
    }
}

static const struct {
    const char *path;
    void (*fn)(struct http *h, struct MHD_Connection *c, struct reply_text *r);
} paths[] = {
    {"/healthz", healthz},
    {"/readyz", readyz},
    {"/metrics", metrics},
    {"/metrics/topic", metrics_topic},
};

static enum MHD_Result queue(struct MHD_Connection *c, struct reply_text *r)
{
    if (r->text.failed) {
        buf_fini(&r->text);
        return MHD_NO; /* closes the connection */
    }
    struct MHD_Response *resp = MHD_create_response_from_buffer(
        r->text.len, r->text.p, r->text.len ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (resp == NULL) {
        buf_fini(&r->text);
        return MHD_NO;
    }
    MHD_add_response_header(resp, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    MHD_add_response_header(resp, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
    const enum MHD_Result rc = MHD_queue_response(c, r->status, resp);
    MHD_destroy_response(resp);
    return rc;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    static const char begun; /* its address marks a request whose head was seen */
    struct http *h = arg;
    struct reply_text r = {.status = MHD_HTTP_NOT_FOUND, .type = "text/plain; charset=utf-8"};

    (void)version;
    (void)upload;
    if (*request == NULL) {
        *request = (void *)(uintptr_t)&begun;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0; /* a body is of no interest */
        return MHD_YES;
    }
    buf_init(&r.text, ANSWER_BYTES);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        say(&r, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
        return queue(c, &r);
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(url, paths[i].path) == 0) {
            paths[i].fn(h, c, &r);
            return queue(c, &r);
        }
    }
    say(&r, MHD_HTTP_NOT_FOUND, "there is /healthz /readyz /metrics /metrics/topic?name=NAME\n");
    return queue(c, &r);
}

/* ---------------------------------------------------------------- on the loop */

static void run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(h->daemon);
    ev_timer_stop(h->srv->loop, &h->timer);
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES) {
        ev_timer_set(&h->timer, (double)ms / 1000, 0.);
        ev_timer_start(h->srv->loop, &h->timer);
    }
}

static void on_io(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    run(w->data);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    run(w->data);
}

/* ---------------------------------------------------------------- opening */

static bool loopback(const struct sockaddr *a)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u = {.v6 = {0}};

    memcpy(&u, a, a->sa_family == AF_INET6 ? sizeof u.v6 : sizeof u.v4);
    return a->sa_family == AF_INET ? ntohl(u.v4.sin_addr.s_addr) >> 24 == 127
                                   : IN6_IS_ADDR_LOOPBACK(&u.v6.sin6_addr);
}

static enum werr listen_on(struct http *h, const struct addrinfo *ai, const char *text,
                           struct werror *e)
{
    const int on = 1;
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    char host[128], port[16];

    if (!loopback(ai->ai_addr) && !h->srv->conf->allow_plaintext) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "http = %s: not a loopback address; allow_plaintext = true permits it",
                          text);
    }
    h->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(h->fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(h->fd, BACKLOG) != 0 ||
        getsockname(h->fd, (struct sockaddr *)&a, &n) != 0) {
        return werror_set(e, WERR_UNREACHABLE, "http = %s: %s", text, strerror(errno));
    }
    if (getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(h->address, sizeof h->address, "%s", text);
    } else {
        snprintf(h->address, sizeof h->address, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                 port);
    }
    return WERR_OK;
}

static enum werr open_socket(struct http *h, const char *text, struct werror *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    const char *colon = strrchr(text, ':');
    const bool v6 = text[0] == '[' && colon != NULL && colon > text && colon[-1] == ']';
    struct addrinfo *ai = NULL;
    char host[CONFIG_TEXT];

    if (colon == NULL || (text[0] == '[' && !v6)) {
        return werror_set(e, WERR_INVALID_CONFIG, "http = %s: want HOST:PORT or [IPV6]:PORT", text);
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (v6 ? 2 : 0), text + (v6 ? 1 : 0));
    const int rc = getaddrinfo(host, colon + 1, &hints, &ai);
    if (rc != 0) {
        return werror_set(e, WERR_INVALID_CONFIG, "http = %s: %s", text, gai_strerror(rc));
    }
    const enum werr err = listen_on(h, ai, text, e);
    freeaddrinfo(ai);
    return err;
}

static enum werr start_daemon(struct http *h, struct werror *e)
{
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, answer, h, MHD_OPTION_LISTEN_SOCKET, h->fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon != NULL ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL || info->epoll_fd < 0) {
        return werror_set(e, WERR_UNREACHABLE, "http: the library did not start");
    }
    ev_io_init(&h->io, on_io, info->epoll_fd, EV_READ);
    ev_set_priority(&h->io, EV_MINPRI); /* after everything that clients wait for */
    h->io.data = h;
    ev_timer_init(&h->timer, on_timer, 0., 0.);
    h->timer.data = h;
    ev_io_start(h->srv->loop, &h->io);
    return WERR_OK;
}

enum werr http_open(struct http **out, struct server *srv, struct werror *e)
{
    const char *text = srv->conf->http;
    struct http *h;

    *out = NULL;
    if (text[0] == '\0') {
        return WERR_OK;
    }
    h = calloc(1, sizeof *h);
    if (h == NULL) {
        return werror_set(e, WERR_NOMEM, "http: no memory");
    }
    h->srv = srv;
    h->fd = -1;
    enum werr rc = open_socket(h, text, e);
    const bool chosen = strcmp(srv->conf->source[CONFIG_KEY_http], "default") != 0;
    if (rc == WERR_UNREACHABLE && !chosen) {
        log_line(&srv->log, LOG_WARN, "http", "http_off", "text=\"%s\"", e->text);
        http_close(h);
        return WERR_OK;
    }
    if (rc == WERR_OK) {
        rc = start_daemon(h, e);
    }
    if (rc != WERR_OK) {
        http_close(h);
        return rc;
    }
    *out = h;
    return WERR_OK;
}

void http_close(struct http *h)
{
    if (h == NULL) {
        return;
    }
    if (h->daemon != NULL) {
        ev_io_stop(h->srv->loop, &h->io);
        ev_timer_stop(h->srv->loop, &h->timer);
        MHD_stop_daemon(h->daemon); /* closes the socket too */
    } else if (h->fd >= 0) {
        close(h->fd);
    }
    free(h);
}

const char *http_address(const struct http *h)
{
    return h->address;
}
