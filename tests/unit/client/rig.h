#ifndef WEIR_TESTS_UNIT_CLIENT_RIG_H
#define WEIR_TESTS_UNIT_CLIENT_RIG_H
/*
 * A client without sockets: its transport hands bytes to a fake broker in the same thread, and time
 * is a number that advances when nothing else happens. So every wait of the library ends at once,
 * and a test decides when a connection breaks and which bytes arrive.
 */
#include <weir/weir.h>

#include "client/handle.h"
#include "tests/lib/fake_broker.h"
#include "tests/lib/test.h"

struct rig {
    struct fake_broker *fb;
    struct fake_conn conn;
    weir *w;
    int64_t now_ns;
    bool up;           /* conn belongs to an open connection */
    bool unreachable;  /* connecting fails */
    bool hold_answers; /* the broker's output stays in conn.out */
    size_t piece;      /* bytes given to the client at once; 0 = all */
    uint64_t flip;     /* not 0: about one byte of 64 from the broker gets another value */
    void (*on_topic)(void *user, const weir_topic *t); /* do nothing */
    void (*on_metric)(void *user, const char *name, const char *label, const char *label_value,
                      uint64_t value);
    unsigned connects, idle_turns;
    /* results of sends */
    unsigned n_results, n_done;
    weir_receipt results[256];
};

void rig_init(struct rig *r, const char *options);
/* Another handle on the same broker, after the first was closed. */
void rig_open(struct rig *r, const char *options);
void rig_fini(struct rig *r); /* closes the handle when it is still open */
/* Breaks the connection as a reset would. */
void rig_cut(struct rig *r);
/* Runs turns until `ms` have passed. */
void rig_run(struct rig *r, int64_t ms);
/* Hands raw bytes to the client as if the broker had sent them. */
void rig_feed(struct rig *r, const void *p, size_t n);
/* A listener that notes the receipt in r->results. `user` is the rig. */
void rig_sent(void *user, const weir_receipt *receipt);
/* Queues a value with rig_sent; asserts that it was queued. */
void rig_send(struct rig *r, const char *topic, int32_t partition, const char *value);
/* The next message's value equals, and it is given back. */
void rig_expect(weir_sub *s, const char *value);

#endif
