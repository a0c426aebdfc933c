#ifndef WEIR_TESTS_FAULTS_CHECK_WORLD_H
#define WEIR_TESTS_FAULTS_CHECK_WORLD_H
/*
 * Hand-made histories: a small log of two partitions, clients that write what they would have seen
 * of it, and a clock that moves by a millisecond with each event. A test tells what happened, one
 * line an event; world_end adds what follows every run: healing, probes, drained groups, the final
 * read of the log as it is then. Everything lies in a directory of its own.
 */
#include "tests/faults/check/check.h"
#include "tests/faults/history/history.h"
#include "tests/lib/test.h"

enum who { P1, P2, R1, M1, M2, W1, W2, OB, LR, DI, CLIENTS };
enum { WORLD_PARTS = 2, WORLD_LOG = 64, TOPIC = 1, LOG_GROUP = 1, QUEUE_GROUP = 2 };

struct slot {
    uint32_t producer; /* 0 = a hole */
    uint64_t counter;
    uint8_t flags;
};

struct world_log {
    struct slot v[WORLD_LOG];
    int64_t start, end;
};

struct world {
    char dir[64];
    struct hist_writer w[CLIENTS];
    bool on[CLIENTS];
    struct world_log log[WORLD_PARTS];
    int64_t now, op;
    enum hist_level level;
    uint32_t last_group; /* groups that were found drained at the end: 1 to this */
    bool no_probes, no_final, one_pass, short_pass, no_reader_end, no_director_end, no_director;
    int64_t end_told[2]; /* of each pass, in place of the log's; 0 = the log's */
    struct check_options o;
    struct check *c;
};

/** Begins a world. cmocka setup and teardown: *state is a struct world. */
int world_setup(void **state);
int world_teardown(void **state);

/** Adds an event of a client; op, time and checks are filled in where they are 0. */
void world_add(struct world *w, enum who who, struct hist_event e);
/** A moment passes. @return the time */
int64_t world_tick(struct world *w);

/* What happens. p is a partition; a message of producer P1 is number 1, of P2 number 2. */
void send_(struct world *w, enum who who, uint64_t counter, int32_t p);
void send_delayed(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t ms);
void sent(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t offset,
          enum hist_outcome outcome);
void sent_duplicate(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t offset);
/** The log gets it. @return its offset */
int64_t append(struct world *w, enum who who, uint64_t counter, int32_t p);
/** send, append, sent. @return its offset */
int64_t put(struct world *w, enum who who, uint64_t counter, int32_t p);
/** n messages of P1 into p, counters from `from`. */
void fill(struct world *w, uint64_t from, uint64_t n, int32_t p);
void read_(struct world *w, int32_t p, int64_t offset);
void read_value(struct world *w, int32_t p, int64_t offset, enum who who, uint64_t counter);
void read_sub(struct world *w, uint32_t sub, int32_t p, int64_t offset);
void watermark(struct world *w, int32_t p, int64_t hw);
void join(struct world *w, enum who who);
void left(struct world *w, enum who who);
void gained(struct world *w, enum who who, int32_t p, int64_t offset, uint64_t generation);
void lost(struct world *w, enum who who, int32_t p, uint64_t generation);
void deliver(struct world *w, enum who who, int32_t p, int64_t offset, uint32_t deliveries);
/** Offsets [from, to). */
void deliver_all(struct world *w, enum who who, int32_t p, int64_t from, int64_t to);
uint64_t commit_ask(struct world *w, enum who who, int32_t p, int64_t position,
                    uint64_t generation);
void commit_answer(struct world *w, enum who who, int32_t p, int64_t position, uint64_t generation,
                   uint64_t op, enum hist_outcome outcome);
void commit(struct world *w, enum who who, int32_t p, int64_t position, uint64_t generation,
            enum hist_outcome outcome);
void position(struct world *w, uint32_t group, int32_t p, int64_t position);
void settle(struct world *w, enum who who, int32_t p, int64_t offset, uint32_t verdict,
            enum hist_outcome outcome);
void seek(struct world *w, uint32_t group, int32_t p, int64_t offset, enum hist_outcome outcome);
void fault(struct world *w, const char *name);
void cut(struct world *w);
void start(struct world *w);

/** What follows every run; ends all histories. */
void world_end(struct world *w);
/** Ends the run when that was not done, judges, and wants this verdict. */
void world_judge(struct world *w, enum check_verdict verdict);
/** Wants exactly this anomaly, once at least. */
void world_wants(struct world *w, enum check_anomaly a);
/** Wants these two and no others. */
void world_wants_two(struct world *w, enum check_anomaly a, enum check_anomaly b);
void world_clean(struct world *w);
/** Wants it to be invalid, for a reason that contains text. */
void world_invalid(struct world *w, const char *text);

#endif
