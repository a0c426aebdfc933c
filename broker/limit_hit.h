#ifndef WEIR_BROKER_LIMIT_HIT_H
#define WEIR_BROKER_LIMIT_HIT_H
/* Limits that were met: counted by name for metrics, told in the log. Loop thread only. */
#include <stdint.h>

struct server;

enum limit_hit {
    HIT_NONE,
    HIT_FRAME,               /* a frame over the limit of its connection's state: closed */
    HIT_INPUT_BEFORE_HELLO,  /* too many bytes before HELLO: closed */
    HIT_OUTPUT_BEFORE_HELLO, /* the same for what waits for it: not read */
    HIT_REQUESTS,            /* requests in flight of a connection: not read */
    HIT_REQUEST_BYTES,       /* their bytes: not read */
    HIT_OUTPUT,              /* what a connection has not taken: not read, nothing delivered */
    HIT_OUTPUT_SHARE,    /* what all have not taken, and it holds more than its share: the same */
    HIT_INPUT,           /* large requests that are arriving: they wait */
    HIT_PRODUCE,         /* bytes that wait for the disk: producers are not read */
    HIT_MEMORY_PRODUCE,  /* connection_memory is tight: producers are not read */
    HIT_MEMORY_REQUESTS, /* its part for readers and waiting requests is used: OVERLOADED */
    HIT_ACCEPT_RATE,     /* connections come too fast: accepting pauses */
    LIMIT_HITS
};

const char *limit_hit_name(enum limit_hit which);
/* Counts it; a line `limit_reached`, at most ten a second. conn = 0: of no connection. */
void limit_hit(struct server *srv, enum limit_hit which, uint64_t conn);

#endif
