#ifndef WEIR_CLIENT_URL_H
#define WEIR_CLIENT_URL_H
/* weir://host[:port][,host[:port]...][?options] and weir+unix:///path[?options]. */
#include <stdbool.h>

#include "client/opt.h"

enum { URL_HOSTS = 16, URL_HOST_SIZE = 254, URL_PORT_DEFAULT = 9347, URL_PATH_SIZE = 108 };

struct url_host {
    char name[URL_HOST_SIZE]; /* DNS name, IPv4, or IPv6 without brackets */
    char port[6];
};

struct url {
    bool is_unix;
    char path[URL_PATH_SIZE]; /* unix socket */
    struct url_host hosts[URL_HOSTS];
    unsigned n_hosts;
};

/* `text` NULL = weir://localhost:9347. Options of the query go into *o. WERR_INVALID_CONFIG. */
enum werr url_parse(struct url *u, const char *text, struct options *o,
                    struct werror *e) WEIR_NODISCARD;

#endif
