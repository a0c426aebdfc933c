#ifndef WEIR_TESTS_SIM_SIM_H
#define WEIR_TESTS_SIM_SIM_H
/*
 * A seeded simulation of the broker core on a store in memory: producers, readers, topic changes,
 * faults, power cuts and restarts on a virtual clock, judged by a model of what was promised
 * (docs/GUARANTEES.md). One thread, no real clock, no pointer decides anything: a seed is a run.
 */
#include "broker/core/core.h"
#include "storage/store_mem.h"

enum {
    SIM_TOPICS = 3,
    SIM_PARTS = 4, /* per topic at most */
    SIM_PRODUCERS = 5,
    SIM_READERS = 3,
    SIM_OUTBOX = 64,
};

static const int64_t SIM_WALL_MS = INT64_C(1700000000000); /* wall time at monotonic 0 */

/* ---------------------------------------------------------------- model */

enum { VAL_READ = 1, VAL_ACK_DISK = 2, VAL_ACK_OS = 4 };
struct mval {
    uint64_t id; /* 0 = nobody told yet */
    int64_t at_mono_ns;
    uint8_t flags;
};
struct mpart {
    struct mval *vals; /* by offset */
    uint64_t n, cap;
    uint64_t start, hw; /* highest seen */
};
struct mtopic {
    char name[8];
    bool exists, os, power_cut; /* power_cut: os data may have been lost since */
    bool unsure;                /* a change is on its way, or its outcome is unknown */
    bool was_os;
    uint64_t tid;
    uint32_t n_parts;
    int64_t retention_ms; /* the shortest it ever had, 0 = for ever */
    bool sized;           /* has retention.bytes */
    struct mpart parts[SIM_PARTS];
};

/* What a batch has come to, as its producer knows it. */
struct mbatch {
    struct mbatch *after; /* next of its stream */
    uint64_t tid, first_id, pid;
    uint32_t p, seq;
    uint16_t epoch, count;
    unsigned producer;
    unsigned size;        /* bytes of each value */
    unsigned outstanding; /* attempts in the outbox or in the core */
    bool acked, unknown, abandoned, zombie;
    uint64_t offset;
};

/* One producer in one partition of one topic. */
struct stream {
    uint64_t tid;
    uint32_t next_seq;
    uint32_t generation;
    struct mbatch *first, *last; /* not acknowledged, in order */
    struct mbatch *old;          /* some acknowledged batch, to be sent again for no reason */
};
struct mproducer {
    bool idempotent, patient, ready, asking;
    bool fresh;   /* forgot what it had sent */
    char name[8]; /* "" = unnamed */
    uint64_t pid;
    uint16_t epoch;
    unsigned index, window, cuts; /* cuts: epochs of the connection */
    struct stream streams[SIM_TOPICS][SIM_PARTS];
    struct attempt *outbox[SIM_OUTBOX]; /* sent, not yet arrived: FIFO */
    unsigned n_outbox;
};

struct mfollow {
    bool on;
    uint64_t tid, next;
};
struct mreader {
    struct core_reader *rd;
    bool ready;
    struct mfollow parts[SIM_TOPICS][SIM_PARTS];
};

struct sim {
    uint64_t seed, rng[2], hash;
    bool verbose, failed, healing;
    char why[512];
    struct memdisk *disk;
    struct store *st;
    struct core *co;
    struct core_conf conf;
    struct store_conf store_conf;
    int64_t mono_ns, wall_skew_ms;
    uint64_t next_id;
    uint64_t max_tid;
    struct mbatch **of_id; /* every value's batch; a batch begins where it differs */
    uint64_t cap_ids;
    struct mtopic topics[SIM_TOPICS];
    struct mproducer producers[SIM_PRODUCERS];
    struct mreader readers[SIM_READERS];
    bool fault_armed;
    bool log_fault; /* what was written may be lost without a power cut */
    /* What happened, to show that the run was worth something. */
    uint64_t n_acked, n_read, n_crashes, n_power_cuts, n_refused, n_duplicates, n_unknown, n_faults,
        n_reregister, n_deletes, n_trimmed, n_fenced, n_lost_os;
};

void sim_run(struct sim *s, uint64_t seed, bool verbose);
void sim_fini(struct sim *s);

/* ---------------------------------------------------------------- sim.c */
uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n); /* 0..n-1 */
bool sim_chance(struct sim *s, uint32_t percent);
void sim_trace(struct sim *s, const char *what, uint64_t a, uint64_t b, uint64_t c);
void sim_fail(struct sim *s, const char *fmt, ...) WEIR_PRINTF(2, 3);

/* ---------------------------------------------------------------- model.c */
struct mtopic *model_topic(struct sim *s, uint64_t tid);
/* append_ms 0: not known exactly. */
void model_ack(struct sim *s, const struct mbatch *b, uint64_t offset, int64_t append_ms,
               bool on_disk);
/* A piece that a reader got; *next goes on. */
void model_read(struct sim *s, uint64_t tid, uint32_t p, const struct core_piece *piece,
                uint64_t *next);
void model_marks(struct sim *s, uint64_t tid, uint32_t p, uint64_t start, uint64_t hw);
/* After a restart: what was read or acknowledged is there. power: unsynced records were lost. */
void model_restarted(struct sim *s, bool power);
/* Reads every partition to its end and checks it as a whole. */
void model_scan(struct sim *s);
void model_forget(struct mtopic *t);
bool model_topic_lives(struct sim *s, const struct mtopic *t);

/* ---------------------------------------------------------------- producers.c */
void producers_init(struct sim *s);
void producer_step(struct sim *s, struct mproducer *p);    /* sends something new, or again */
void producer_deliver(struct sim *s, struct mproducer *p); /* the oldest request arrives */
void producers_cut(struct sim *s);                         /* connections are gone */
void producers_forget_topic(struct sim *s, unsigned topic);
void producer_restart(struct sim *s, struct mproducer *p); /* a named one: a new incarnation */
bool producers_settled(const struct sim *s);
void producers_fini(struct sim *s);

/* ---------------------------------------------------------------- readers.c */
void reader_step(struct sim *s, struct mreader *r);
void fetch_step(struct sim *s);
void readers_cut(struct sim *s);
bool readers_settled(struct sim *s);

/* ---------------------------------------------------------------- admin.c */
void admin_create_missing(struct sim *s);
void admin_step(struct sim *s);
void admin_restarted(struct sim *s); /* finds out how unfinished changes ended */

#endif
