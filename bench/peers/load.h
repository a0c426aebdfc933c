#ifndef WEIR_BENCH_PEERS_LOAD_H
#define WEIR_BENCH_PEERS_LOAD_H
/* What the commands of the load program share. Each command prints one JSON object. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/peers/payload.h"
#include "bench/peers/peer.h"
#include "client/cli/histogram.h"
#include "client/cli/json.h"

#define LOAD_NS_PER_S INT64_C(1000000000)

enum {
    LOAD_TURN = 256,  /* messages between two looks at the socket: the same for all peers */
    LOAD_WAIT_MS = 50 /* longest sleep without a look at the clock */
};

/** The command line. */
struct load {
    const struct peer_driver *driver;
    struct peer_options o;
    struct payload payload;
    const char *dir;     /* disk */
    unsigned clients;    /* connections (produce, hold) or members (consume) */
    unsigned threads;    /* 0 = one per connection, or one for all when each sends one at a time */
    int64_t count;       /* messages in all */
    int64_t seconds;     /* at most */
    double rate;         /* messages a second in all; 0 = as fast as they are answered */
    int64_t warm_s;      /* latency: not counted at the start */
    enum peer_mode mode; /* consume, latency */
    bool fan_out;        /* consume: a group for each member */
    int64_t max_take_rate; /* consume: messages a second at most; 0 = no limit */
};

int load_produce(struct load *l);
int load_consume(struct load *l);
int load_latency(struct load *l);
int load_hold(struct load *l);
int load_ready(struct load *l);
int load_disk(struct load *l);

/** Prints a failure. @return 1 */
__attribute__((format(printf, 1, 2))) int load_fail(const char *format, ...);
/** Opens a connection or prints why not (then NULL). */
struct peer_conn *load_open(const struct load *l, const struct peer_options *o,
                            const struct peer_events *on);
/** CPU seconds of this process. */
double load_cpu_s(void);
/** Timers of this thread are exact to the nanosecond, not to 50 us. */
void load_exact_timers(void);
/** {count, mean_us, p50_us, p90_us, p99_us, p999_us, max_us} */
void load_json_latency(struct json *j, const char *name, const struct histogram *h);
/** Members that every command has: peer, client library ... */
void load_json_start(struct json *j, const struct load *l, const char *command);
void load_json_end(struct json *j, double cpu_s);

#endif
