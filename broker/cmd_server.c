/*
 * SERVER_CONNECTIONS, SERVER_CONFIG: what the server knows of itself, answered at once.
 * A page of connections visits each connection once at most and encodes `limit` of them, so a
 * listing of all is bounded however many there are, and other requests run between its pages.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/clock.h"
#include "broker/config_row.h"
#include "broker/session.h"
#include "proto/mpread.h"
#include "proto/msg_server.h"

enum { PAGE_DEFAULT = LIMIT_PAGE, ADDRESS_TEXT = 64, NS_PER_MS = 1000000 };

/* ---------------------------------------------------------------- SERVER_CONNECTIONS */

static struct slice address_text(const struct sockaddr_storage *ss, char out[ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN];

    snprintf(out, ADDRESS_TEXT, "unix");
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;

        if (inet_ntop(AF_INET, &in->sin_addr, host, sizeof host) != NULL) {
            snprintf(out, ADDRESS_TEXT, "%s:%u", host, ntohs(in->sin_port));
        }
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)ss;

        if (inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host) != NULL) {
            snprintf(out, ADDRESS_TEXT, "[%s]:%u", host, ntohs(in6->sin6_port));
        }
    }
    return slice_str(out);
}

static const char *state_text(const struct conn *c)
{
    return c->state == CONN_FRESH ? "fresh" : c->state == CONN_READY ? "ready" : "ending";
}

/* The limit that holds it up, by the name of its setting. */
static const char *waits_for(const struct conn *c)
{
    if (c->starved) {
        return "inflight";
    }
    if (c->hungry) {
        return "input";
    }
    if (!c->stopped) {
        return "";
    }
    return conn_output_full(c) ? "max_output" : "max_requests";
}

static uint64_t ms_since(int64_t then_ns, int64_t now_ns)
{
    return now_ns > then_ns ? (uint64_t)(now_ns - then_ns) / NS_PER_MS : 0;
}

static void put_conn(struct buf *b, const struct conn *c, int64_t now_ns)
{
    char address[ADDRESS_TEXT];
    const int64_t heard = c->heard_mono_ns != 0 ? c->heard_mono_ns : c->opened_mono_ns;
    const struct msg_server_conn m = {
        .id = c->id,
        .client = slice_str(c->client),
        .address = address_text(&c->peer, address),
        .state = slice_str(state_text(c)),
        .waits_for = slice_str(waits_for(c)),
        .age_ms = ms_since(c->opened_mono_ns, now_ns),
        .idle_ms = ms_since(heard, now_ns),
        .requests = c->inflight,
        .request_bytes = c->inflight_bytes,
        .subs = c->n_subs,
        .members = c->n_seats,
        .bytes_in = c->in_total,
        .output_bytes = conn_queued(c),
    };

    msg_put_server_conn(b, &m);
}

/* Connections stand in the order of their ids. Rows first: their number stands in front. */
enum werr cmd_server_conns(struct cmd *m, struct werror *e)
{
    struct buf rows = {0};
    struct conn *c;
    uint64_t from;
    uint32_t limit, n = 0;
    size_t at;
    const int64_t now_ns = clock_mono_ns();
    enum werr rc = msg_get_server_conns(&m->args, &from, &limit, e);

    if (rc != WERR_OK) {
        return rc;
    }
    limit = limit == 0 ? PAGE_DEFAULT : limit;
    TAILQ_FOREACH (c, &m->srv->conns, all) {
        if (c->id >= from && c->state != CONN_CLOSED) {
            if (n == limit) {
                break;
            }
            put_conn(&rows, c, now_ns);
            n++;
        }
    }
    if (rows.failed) {
        rc = werror_set(e, WERR_OVERLOADED, "no memory for a page of %u connections", n);
        goto out;
    }
    at = msg_begin_server_conns_ok(conn_ctl(m->c), m->corr, n);
    buf_put(conn_ctl(m->c), rows.p, rows.len);
    msg_end_server_conns_ok(conn_ctl(m->c), at, c != NULL, c != NULL ? c->id : 0);
    conn_sent(m->c);
out:
    buf_fini(&rows);
    return rc;
}

/* ---------------------------------------------------------------- SERVER_CONFIG */

/* What may stand in a str: a path can hold any bytes. */
static struct slice clean(char *text)
{
    const size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        i += utf8_prefix(slice_of(text + i, n - i));
        if (i < n) {
            text[i] = '?';
        }
    }
    return slice_of(text, n);
}

enum werr cmd_server_config(struct cmd *m, struct werror *e)
{
    const struct config *conf = m->srv->conf;
    char *value = NULL;
    char source[CONFIG_SOURCE];
    size_t at;
    enum werr rc = msg_get_empty(&m->args, e);

    if (rc != WERR_OK) {
        return rc;
    }
    value = malloc(CONFIG_VALUE);
    if (value == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for the settings");
    }
    at = msg_begin_server_config_ok(conn_ctl(m->c), m->corr, CONFIG_KEYS);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct config_row *row = config_row(i);

        (void)config_value(conf, i, value);
        memcpy(source, conf->source[i], sizeof source);
        const struct msg_server_setting s = {.key = slice_str(row->key),
                                             .value = clean(value),
                                             .source = clean(source),
                                             .reloads = row->when == WHEN_LIVE};
        msg_put_server_setting(conn_ctl(m->c), &s);
    }
    frame_end(conn_ctl(m->c), at, 0);
    conn_sent(m->c);
    free(value);
    return rc;
}
