#ifndef WEIR_CLIENT_META_H
#define WEIR_CLIENT_META_H
/*
 * What the broker told about topics: id, partitions, the table from key slots to partitions,
 * configuration. A topic that was looked up once stays known; refreshing happens beside its use.
 */
#include <sys/queue.h>

#include "client/conn.h"
#include "proto/msg.h"

struct weir;
struct part; /* producer.h */

enum topic_state {
    TOPIC_IDLE,   /* nobody asked */
    TOPIC_WANTED, /* to be asked for */
    TOPIC_ASKED,
    TOPIC_FAILED, /* the last answer was an error; `err` has it */
};

struct topic {
    char name[LIMIT_TOPIC_NAME + 1];
    uint32_t name_len;
    uint32_t hash;
    struct topic *next_in_bucket;
    TAILQ_ENTRY(topic) link; /* all topics */

    enum topic_state state;
    bool valid; /* the fields below hold an answer, perhaps an old one */
    struct werror err;
    enum werr_class err_class;
    int64_t retry_mono_ns; /* WANTED, but not before */
    uint32_t tries;
    uint64_t tid;
    uint32_t n_parts;
    uint16_t slots[LIMIT_SLOTS];
    struct topic_config conf;

    /* the producer's */
    struct part **parts; /* by partition number, n_producer_parts of them; then as many for delayed
                            messages */
    uint32_t n_producer_parts;
    uint32_t sticky;
    TAILQ_HEAD(, waiting) waiting; /* messages that wait for `valid` */
};
TAILQ_HEAD(topic_list, topic);

struct meta {
    struct topic **buckets;
    uint32_t n_buckets, n_topics;
    struct topic_list topics;
    struct topic *last; /* found last */
    bool wanted;        /* some topic is WANTED */
    struct req req;
};

void meta_init(struct meta *m);
void meta_fini(struct meta *m); /* frees topics; the producer has freed its parts */
/* The topic of that name, made when new. NULL: out of memory. Names are checked by the caller. */
struct topic *meta_topic(struct meta *m, const char *name, size_t len);
/* Asks for it at the next step, unless that is under way. */
void meta_want(struct weir *w, struct topic *t);
/* The broker hinted that the topic changed, or a new connection may know more. */
void meta_refresh(struct weir *w, struct topic *t);
void meta_refresh_all(struct weir *w);
/* Sends what is wanted. */
void meta_step(struct weir *w);
/* Partition of a key: slot = CRC32C(key) mod 1024. */
uint32_t meta_partition_of_key(const struct topic *t, const void *key, size_t n);

#endif
