#ifndef WEIR_TESTS_LIB_FAKE_BROKER_H
#define WEIR_TESTS_LIB_FAKE_BROKER_H
/*
 * A broker for tests of the client: topics and logs in memory, the rules of idempotent produce,
 * subscriptions with credit. No I/O: bytes in, bytes out, so that a test decides what arrives when.
 * It misbehaves on demand through hooks. Not thread-safe; aborts when out of memory.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/batch.h"
#include "proto/buf.h"
#include "proto/msg.h"
#include "tests/lib/fake_group.h"

enum {
    FAKE_TOPICS = 8,
    FAKE_PARTITIONS = 16,
    FAKE_PRODUCERS = 16,
    FAKE_WINDOW = 64,
    FAKE_WAITING = 8,
};

struct fake_stored {
    uint8_t *p;
    size_t n;
    uint64_t base;
    uint32_t count;
    int64_t due_ms; /* of a delayed one */
};

struct fake_partition {
    struct fake_stored *batches;
    size_t n, cap;
    uint64_t log_start, end;
    struct fake_seen { /* newest last */
        uint64_t pid;
        uint32_t base_seq, count;
        uint64_t offset;
    } seen[FAKE_WINDOW];
    size_t n_seen;
};

struct fake_topic {
    char name[LIMIT_TOPIC_NAME + 1];
    uint64_t tid;
    struct topic_config conf;
    struct fake_partition parts[FAKE_PARTITIONS];
    struct fake_partition delayed[FAKE_PARTITIONS]; /* never become due; offsets are made up */
};

struct fake_producer {
    uint64_t pid;
    uint16_t epoch;
    char name[LIMIT_TOPIC_NAME + 1];
};

struct fake_broker;

/* What a hook does with a request. */
enum fake_verdict {
    FAKE_GO,     /* as usual */
    FAKE_REFUSE, /* answer *e */
    FAKE_SILENT, /* no answer, not done */
    FAKE_MUTE,   /* done, but no answer; or, not for PRODUCE, *e as the answer */
};

struct fake_hooks {
    /* Called for every request; PRODUCE requests come with the batch's header. */
    enum fake_verdict (*request)(void *arg, uint32_t op, const struct msg_produce *m,
                                 const struct batch_head *h, struct werror *e);
    void *arg;
};

struct fake_broker {
    struct fake_topic *topics[FAKE_TOPICS];
    struct fake_producer producers[FAKE_PRODUCERS];
    size_t n_producers; /* ever made */
    uint64_t next_tid, next_pid;
    struct fake_hooks hooks;
    struct msg_limits limits; /* told in HELLO */
    uint32_t max_push;        /* bytes per DELIVER, at least one batch */
    bool shuffle_answers;     /* reserved for tests that reorder output themselves */
    struct fake_group *groups[FAKE_GROUPS];
    unsigned requests[128]; /* by op */
    char delay_id[LIMIT_DELAY_ID];
    int64_t now_ms;
    uint32_t slot_run; /* slots in a row of one partition in METADATA */
    size_t group_room; /* messages of a partition that a queue group knows */
};

/* One connection. */
struct fake_sub {
    bool used, for_group;
    uint32_t id;
    uint64_t limit, sent;
    struct fake_pos {
        uint64_t tid;
        uint32_t p;
        uint64_t offset;
        bool caught_up, stopped;
    } parts[FAKE_PARTITIONS];
    size_t n_parts;
};
struct fake_waiting { /* an ACQUIRE */
    uint32_t corr;    /* 0 = free */
    uint32_t max_msgs;
    uint64_t attempt;
    uint8_t member[MSG_MEMBER_BYTES];
    char group[LIMIT_NAME + 1];
};
struct fake_conn {
    struct fake_broker *fb;
    struct buf in, out;
    bool ready, dead;
    struct fake_sub subs[8];
    struct fake_waiting waiting[FAKE_WAITING];
};

struct fake_broker *fake_new(void);
void fake_free(struct fake_broker *fb);
struct fake_topic *fake_topic_add(struct fake_broker *fb, const char *name, uint32_t partitions);
void fake_topic_drop(struct fake_broker *fb, const char *name);
struct fake_topic *fake_topic(struct fake_broker *fb, const char *name);
/* Appends a batch of the given values (keyless) as a foreign producer would. */
void fake_append(struct fake_broker *fb, const char *topic, uint32_t p, const char *const *values,
                 size_t n, int codec);
struct fake_partition *fake_partition(struct fake_broker *fb, uint64_t tid, uint32_t p);
/* Records stored in all. */
uint64_t fake_count(const struct fake_topic *t);
/* Forgets offsets below `start` of a partition. */
void fake_trim(struct fake_topic *t, uint32_t p, uint64_t start);

void fake_conn_init(struct fake_conn *c, struct fake_broker *fb);
void fake_conn_fini(struct fake_conn *c);
/* Bytes from the client; answers are appended to c->out. False: it broke the protocol (c->dead). */
bool fake_conn_input(struct fake_conn *c, const void *p, size_t n);
/* Fills c->out with what subscriptions may get now. */
void fake_conn_push(struct fake_conn *c);
/* Offset of the first record with that value in a partition, or -1; uncompressed batches only. */
int64_t fake_find(const struct fake_topic *t, uint32_t p, const char *value);

#endif
