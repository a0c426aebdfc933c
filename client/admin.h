#ifndef WEIR_CLIENT_ADMIN_H
#define WEIR_CLIENT_ADMIN_H
/* Blocking requests: one call, one answer, whose bytes are copied for the caller. */
#include <weir/weir.h>

#include "client/conn.h"

struct call {
    struct req req;
    struct weir *w;
    bool done;
    weir_error error;
    enum werr code;
    struct buf result;
    struct mpread cur; /* at the result */
};

/*
 * Begins the public call: handle entered, id reserved. The caller encodes into c->req.frame, runs,
 * reads c->cur, and always calls call_end, which gives the error to return. `repeat`: reading only,
 * may be asked again after a lost connection. False: c->error tells; call_end is still needed.
 */
bool call_begin(struct call *c, weir *w, bool repeat, int timeout_ms);
/* Another request within the same call. */
bool call_again(struct call *c);
bool call_run(struct call *c);
weir_error call_end(struct call *c);
/* The answer breaks the rules: the call fails with it. Returns false. */
bool call_broken(struct call *c, const struct werror *e);

#endif
