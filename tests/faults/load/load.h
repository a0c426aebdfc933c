#ifndef WEIR_TESTS_FAULTS_LOAD_H
#define WEIR_TESTS_FAULTS_LOAD_H
/*
 * weir-load: one client of the fault suite. It does what its role says through libweir alone, and
 * writes everything that it asks and is told into its history. It never sends a value twice and
 * never retries above the library.
 */
#include <stdbool.h>
#include <stdint.h>
#include <weir/weir.h>

#include "tests/faults/history/history.h"

enum { LOAD_MAX_TOPICS = 16, LOAD_MAX_PARTITIONS = 1024 };

struct load_topic {
    char name[256];
    uint8_t number;
    int32_t partitions;
};

struct load_options {
    const char *role, *url, *history, *group, *extra; /* extra: options of the subscription */
    const char *handle;                               /* options of the handle */
    struct load_topic topics[LOAD_MAX_TOPICS];
    int n_topics;
    uint32_t number, group_number;
    uint64_t run, seed;
    uint32_t rate;               /* messages a second; 0 = as fast as it goes */
    uint32_t inflight;           /* messages sent and not answered, at most */
    uint32_t size_min, size_max; /* bytes of a value */
    uint64_t count;              /* messages to send; 0 = until told to stop */
    uint32_t every;              /* messages per commit */
    uint32_t nack_percent, work_us, delay_ms;
    enum hist_level level;
};

struct load {
    const struct load_options *o;
    struct hist_writer hist;
    uint64_t op; /* last number given to a question */
    uint64_t rng;
};

/** Uniform in [0, n). */
uint64_t load_random(struct load *l, uint64_t n);
/** True when SIGTERM or SIGINT came. */
bool load_stopped(void);
/** done, not done, may be: as the histories name them. */
enum hist_outcome load_outcome(const weir_error *e);
/** Adds an event that tells of a received message. */
void load_add_message(struct load *l, struct hist_event e, const weir_message *m,
                      uint8_t topic_number);
/** The number of the topic with this name; 0 = not ours. */
uint8_t load_topic_number(const struct load *l, const char *name);

/** The roles. Each runs until it is told to stop or done. @return exit code of the process. */
int load_produce(struct load *l);
int load_read(struct load *l);
int load_final(struct load *l);
int load_member(struct load *l);
int load_work(struct load *l);
int load_observe(struct load *l);
int load_probe(struct load *l);

#endif
