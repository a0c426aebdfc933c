#ifndef WEIR_BROKER_HTTP_H
#define WEIR_BROKER_HTTP_H
/*
 * HTTP for people and monitors: /healthz, /readyz, /metrics, /metrics/topic?name=. Reads only. It
 * runs on the server's loop (GNU libmicrohttpd, driven through its epoll descriptor), with at most
 * 64 connections, 16 from one address, 10 s each when idle.
 */
#include "proto/error.h"

struct server;
struct http;

/*
 * Listens on srv->conf->http ("" = not at all: *out is NULL). WERR_INVALID_CONFIG (the address),
 * WERR_UNREACHABLE (taken). An address that nobody chose (the default) and that is taken is no
 * error: the log says so, *out is NULL.
 */
enum werr http_open(struct http **out, struct server *srv, struct werror *e) WEIR_NODISCARD;
/* Closes all connections at once. NULL allowed. */
void http_close(struct http *h);
/* HOST:PORT with the port that was taken. */
const char *http_address(const struct http *h);

#endif
