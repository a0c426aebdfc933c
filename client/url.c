#include "client/url.h"

#include <stdio.h>
#include <string.h>

static const char tcp_scheme[] = "weir://";
static const char unix_scheme[] = "weir+unix://";

/* One host of the list: name, name:port, [v6], [v6]:port. */
static enum werr parse_host(struct url_host *h, const char *p, size_t n, struct werror *e)
{
    const char *end = p + n, *name = p, *name_end, *port = NULL;
    size_t n_name, n_port;
    unsigned value = 0;

    if (n > 0 && *p == '[') {
        name++;
        name_end = memchr(p, ']', n);
        if (!name_end || (name_end + 1 < end && name_end[1] != ':')) {
            return werror_set(e, WERR_INVALID_CONFIG, "host '%.*s': ']' is missing", (int)n, p);
        }
        port = name_end + 1 < end ? name_end + 2 : NULL;
    } else {
        name_end = memchr(p, ':', n);
        port = name_end ? name_end + 1 : NULL;
        name_end = name_end ? name_end : end;
    }
    n_name = (size_t)(name_end - name);
    if (n_name == 0 || n_name >= sizeof h->name || memchr(name, 0, n_name)) {
        return werror_set(e, WERR_INVALID_CONFIG, "a host name of 1 to %d characters is needed",
                          URL_HOST_SIZE - 1);
    }
    memcpy(h->name, name, n_name);
    h->name[n_name] = 0;
    if (!port) {
        snprintf(h->port, sizeof h->port, "%d", URL_PORT_DEFAULT);
        return WERR_OK;
    }
    n_port = (size_t)(end - port);
    for (size_t i = 0; i < n_port && i < sizeof h->port; i++) {
        value = port[i] >= '0' && port[i] <= '9' ? value * 10 + (unsigned)(port[i] - '0') : 99999;
    }
    if (n_port == 0 || n_port >= sizeof h->port || value == 0 || value > 65535) {
        return werror_set(e, WERR_INVALID_CONFIG, "port '%.*s': a number from 1 to 65535 is needed",
                          (int)(n_port < 40 ? n_port : 40), port);
    }
    memcpy(h->port, port, n_port);
    h->port[n_port] = 0;
    return WERR_OK;
}

static enum werr parse_unix(struct url *u, const char *p, size_t n, struct werror *e)
{
    if (n == 0 || *p != '/' || n >= sizeof u->path) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "weir+unix:// needs an absolute path of at most %d bytes",
                          URL_PATH_SIZE - 1);
    }
    u->is_unix = true;
    memcpy(u->path, p, n);
    u->path[n] = 0;
    return WERR_OK;
}

static enum werr parse_hosts(struct url *u, const char *p, size_t n, struct werror *e)
{
    enum werr rc = WERR_OK;

    if (n > 0 && p[n - 1] == '/') {
        n--;
    }
    for (;;) {
        const char *comma = memchr(p, ',', n);
        size_t one = comma ? (size_t)(comma - p) : n;

        if (u->n_hosts == URL_HOSTS) {
            return werror_set(e, WERR_INVALID_CONFIG, "more than %d hosts", URL_HOSTS);
        }
        rc = parse_host(&u->hosts[u->n_hosts], p, one, e);
        if (rc != WERR_OK) {
            return rc;
        }
        u->n_hosts++;
        if (!comma) {
            return WERR_OK;
        }
        n -= one + 1;
        p = comma + 1;
    }
}

enum werr url_parse(struct url *u, const char *text, struct options *o, struct werror *e)
{
    const char *query;
    enum werr rc;
    size_t n;

    memset(u, 0, sizeof *u);
    text = text ? text : "weir://localhost:9347";
    query = strchr(text, '?');
    n = query ? (size_t)(query - text) : strlen(text);
    if (n > strlen(unix_scheme) && strncmp(text, unix_scheme, strlen(unix_scheme)) == 0) {
        rc = parse_unix(u, text + strlen(unix_scheme), n - strlen(unix_scheme), e);
    } else if (n > strlen(tcp_scheme) && strncmp(text, tcp_scheme, strlen(tcp_scheme)) == 0) {
        rc = parse_hosts(u, text + strlen(tcp_scheme), n - strlen(tcp_scheme), e);
    } else {
        rc = werror_set(e, WERR_INVALID_CONFIG,
                        "'%.60s': weir://host[:port] or weir+unix:///path is needed", text);
    }
    if (rc == WERR_OK && query) {
        rc = options_parse(o, query + 1, '&', e);
    }
    return rc == WERR_OK ? rc : werror_wrap(e, "url");
}
