#ifndef WEIR_TESTS_SIM_GROUPS_GSIM_H
#define WEIR_TESTS_SIM_GROUPS_GSIM_H
/*
 * A seeded simulation of groups on the core and a store in memory: members of log and queue groups,
 * delayed messages, dead letters, with lost connections, crashes, power cuts, full disks and a
 * virtual clock, judged by a model of what docs/GUARANTEES.md promises. One thread; a seed is a
 * run.
 *
 * The model knows only what answers said. What was asked but not answered is "maybe".
 */
#include "broker/core/core_group.h"
#include "storage/store_mem.h"

enum {
    G_PARTS = 3,      /* at most, of each topic */
    G_MEMBERS = 4,    /* of each group */
    G_OFFSETS = 1500, /* of a partition that the model can hold */
    G_HELD = 64,      /* leases that a member remembers */
    G_KEYS = 4,
    G_DELAYED = 600,
};
enum { TOPIC_WORK, TOPIC_LATER, G_TOPICS };
enum { GROUP_QUEUE, GROUP_KEYED, GROUP_LOG, GROUP_LOG2, G_GROUPS };

/* What happened: a run in which one of these never did proves nothing. */
/* clang-format off */
#define G_EVENTS(X)                                                                                \
    X(produced)                                                                                    \
    X(produce_unknown)                                                                             \
    X(joined)                                                                                      \
    X(resumed)                                                                                     \
    X(took_over)                                                                                   \
    X(left) X(cut) X(grace_over) X(acquired) X(redelivered) X(acquire_empty) X(acquire_cut)        \
        X(repeated) X(acked) X(ack_unknown) X(nacked) X(released) X(extended) X(killed)            \
            X(lease_expired) X(lease_lost) X(stale_settle) X(keyed) X(assigned) X(revoked)         \
                X(committed) X(commit_unknown) X(commit_refused) X(stale_refused) X(read) X(grown) \
                    X(paused) X(sought) X(sought_forced) X(seek_refused) X(redriven)               \
                        X(redelivered_dead) X(purged) X(dead) X(delayed) X(delivered_late)         \
                            X(cancelled) X(cancel_late) X(cancel_unknown) X(crash) X(power_cut)    \
                                X(stop) X(disk_full) X(disk_broken) X(read_fault) X(clock_jump)    \
                                    X(refused_full) X(converged)
/* clang-format on */

struct g_events {
#define X(name) uint64_t name;
    G_EVENTS(X)
#undef X
};

/* ---------------------------------------------------------------- model */

struct g_hold { /* a message in the hands of a member, as its answer said */
    uint64_t lease;
    int64_t until_ns; /* nobody else may get it before, unless it comes back by itself */
    unsigned member;  /* index + 1; 0 = nobody */
    bool settling;    /* a verdict is under way, or its outcome is unknown */
};
struct g_message { /* of one queue group */
    struct g_hold hold;
    bool acked, maybe_acked; /* answered; asked for */
    bool acked_surely;       /* answered to one who held it */
    bool dead, maybe_dead;   /* it may be in the dead letters */
    bool seen;               /* delivered once at least */
    uint8_t deliveries;      /* the highest that was told */
    uint8_t key;             /* + 1, once it was seen */
};
struct g_queue_part {
    struct g_message m[G_OFFSETS];
    uint64_t last_first[G_KEYS]; /* order=key: highest offset seen for the first time, + 1 */
    bool wild;                   /* a seek: what was settled may come again */
};
struct g_log_part {
    uint64_t committed; /* highest that was acknowledged since the last seek */
    uint64_t asked;     /* highest that was asked for since */
    bool wild;          /* a seek whose outcome is not known */
};
struct g_delayed {
    int64_t due_ms, stored_ns; /* 0 = not acknowledged */
    char id[LIMIT_DELAY_ID];
    bool cancelled, maybe_cancelled, asked;
    uint32_t seen;
};

struct gsim;
struct g_member {
    struct gsim *s;
    unsigned group, index;
    uint8_t id[MSG_MEMBER_BYTES];
    struct core_session *session; /* NULL: not connected */
    bool joined, joining;
    uint64_t join_serial;
    uint64_t epoch;
    int64_t away_since_ns;
    bool news, slow;
    /* log */
    struct msg_assigned parts[2 * G_PARTS];
    uint64_t position[2 * G_PARTS];
    size_t n_parts;
    /* queue */
    uint64_t attempt;
    struct g_acquire *acquire; /* waiting */
    struct {
        uint64_t tid, offset, lease;
        uint32_t p;
    } held[G_HELD];
    size_t n_held;
    bool repeat; /* the last attempt was cut: ask again */
};

struct gsim {
    uint64_t seed, rng[2], hash;
    bool verbose, failed, healing, down;
    char why[400];
    struct memdisk *disk;
    struct store *st;
    struct core *co;
    struct core_conf conf;
    struct store_conf store_conf;
    int64_t mono_ns, skew_ms, jumped_ns;
    unsigned fault_kinds;
    uint64_t tid[G_TOPICS];
    uint32_t n_parts[G_TOPICS];
    uint64_t next_value, generation; /* generation: of the process */
    struct g_member members[G_GROUPS][G_MEMBERS];
    struct g_queue_part queue[2][G_PARTS];
    struct g_log_part log[2][G_PARTS];
    uint64_t max_deliver[2], member_max;
    struct g_delayed delayed[G_DELAYED];
    unsigned n_delayed;
    uint64_t later_next[G_PARTS]; /* read up to here */
    uint64_t log_read[2][G_PARTS];
    struct g_events n;
};

#define COUNT(s, what) ((s)->n.what++)

/* world.c */
uint64_t g_random(struct gsim *s);
uint32_t g_below(struct gsim *s, uint32_t n);
bool g_chance(struct gsim *s, uint32_t percent);
void g_trace(struct gsim *s, const char *what, uint64_t a, uint64_t b, uint64_t c);
void g_fail(struct gsim *s, const char *fmt, ...) WEIR_PRINTF(2, 3);
int64_t g_wall_ms(const struct gsim *s); /* without jumps */
extern const char *const g_group_names[G_GROUPS];
extern const char *const g_topic_names[G_TOPICS];
void g_run(struct gsim *s, uint64_t seed, unsigned events, bool verbose);
void g_fini(struct gsim *s);
/* Flushes and steps the store until nothing moves. */
void g_settle(struct gsim *s);
/* Records of [from, hw) of a partition, opened one by one. False: it cannot be read now. */
bool g_read(struct gsim *s, uint64_t tid, uint32_t p, uint64_t from,
            void (*fn)(struct gsim *s, void *arg, uint64_t offset, const struct record *r),
            void *arg);

/* members.c: joining, leaving, log mode */
void actor_step(struct gsim *s, struct g_member *m);
void members_crashed(struct gsim *s); /* the process is gone */
void log_check(struct gsim *s);       /* owners, commits */
void log_converged(struct gsim *s);
void groups_begin(struct gsim *s); /* all are made, with short leases */
void group_admin_step(struct gsim *s);

/* queue_actor.c */
void worker_step(struct gsim *s, struct g_member *m);
void worker_gone(struct gsim *s, struct g_member *m, bool left);    /* its session is over */
void queue_reset_model(struct gsim *s, unsigned group, uint32_t p); /* a seek */
void queue_fenced(struct gsim *s, unsigned group); /* nobody holds anything any more */
bool queue_drained(struct gsim *s);
void queue_show(struct gsim *s); /* verbose: where every queue stands */
void queue_final(struct gsim *s);
void dlq_step(struct gsim *s);

/* delay_actor.c */
void produce_step(struct gsim *s);
void delay_step(struct gsim *s);
void delay_look(struct gsim *s);
bool delay_drained(struct gsim *s);
void delay_final(struct gsim *s);

#endif
