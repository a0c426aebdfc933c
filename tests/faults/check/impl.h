#ifndef WEIR_TESTS_FAULTS_CHECK_IMPL_H
#define WEIR_TESTS_FAULTS_CHECK_IMPL_H
/*
 * What the files of the checker share. Everything is a sorted array; events stay where they are
 * mapped and are pointed at. Owner of all of it: struct check.
 */
#include <stddef.h>

#include "tests/faults/check/check.h"
#include "tests/faults/history/history.h"

#define NONE UINT32_MAX
enum { KEEP = 16, EVIDENCE = 3, PASSES = 2, PARTITIONS_MAX = 1 << 16 };

struct file {
    struct hist_file h;
    char name[128];
};

/* One value that was sent. Sorted by producer and counter. */
struct message {
    const struct hist_event *send;
    const struct hist_event *sent; /* NULL: never answered */
    const struct hist_event *seen; /* where somebody saw it, the lowest place; NULL: nowhere */
    uint32_t part;                 /* where it was answered, else asked for; NONE = not told */
    uint32_t seen_part;
    bool in_final;
    bool twice;     /* reported: at two offsets */
    bool early;     /* reported: before its time */
    bool reused;    /* reported: an offset used before */
    bool no_cut;    /* written, lost, and no power cut excuses it */
    bool no_suffix; /* written, lost by a cut that later ones survived */
    bool excused;   /* written, and lost as it may be */
};

struct producer {
    uint32_t number;
    uint32_t first, n; /* its messages */
};

/* An observation: somebody was handed a message. Sorted by partition, offset, time. */
struct seen {
    const struct hist_event *e;
    int64_t offset, at;
    uint32_t part, msg; /* msg: NONE = not a message of this run */
};

/* One message of the final read. Sorted by partition, offset. */
struct final {
    int64_t offset;
    const struct hist_event *e;
    uint32_t part, msg;
};

struct range {
    const struct hist_event *e; /* NULL: not read in this pass */
    uint32_t from, to;          /* in finals[pass] */
};

/* A partition. */
struct part {
    uint8_t topic;
    int32_t partition;
    struct range pass[PASSES];
    bool complete;     /* both passes are there, agree on the end and reach it */
    int64_t start, hw; /* of the final read; hw < 0: not known */
    bool used;         /* something was acknowledged or seen in it */
};

/* A question whose answer came later: commit, settle, seek. By file and op. */
struct ask {
    const struct hist_event *ask, *answer; /* answer NULL: none */
    uint32_t file;
};

/* A point in time of one partition (and group). */
struct point {
    uint32_t group, part;
    int64_t at;
    uint32_t index; /* of the question it belongs to */
    uint8_t type;   /* smaller goes first at the same time */
    const struct hist_event *e;
};

struct violation {
    enum check_anomaly what;
    const struct hist_event *ev[EVIDENCE]; /* the first is the one it was noticed at */
    uint32_t msg, part;
    char text[CHECK_TEXT];
};

struct check {
    struct check_options o;
    struct check_figures f;
    struct file *files;
    size_t n_files;
    bool damaged;

    struct part *parts;
    uint32_t n_parts;
    uint32_t *part_of[256]; /* by topic and partition: index + 1 */
    uint32_t part_top[256]; /* size of it */

    struct message *messages;
    uint32_t n_messages;
    struct producer *producers;
    uint32_t n_producers;
    struct seen *seen;
    size_t n_seen;
    struct final *finals[PASSES];
    size_t n_finals[PASSES];
    struct ask *asks; /* by file, op */
    size_t n_asks;
    uint32_t *seeks; /* of the asks, those that are seeks and did not fail */
    size_t n_seeks;
    const struct hist_event **director; /* all events of directors, by time */
    size_t n_director;

    uint64_t count[CHECK_ANOMALIES];
    struct violation *kept;
    size_t n_kept;
    char reasons[CHECK_MAX_REASONS][CHECK_TEXT];
    size_t n_reasons;
    uint64_t fired[CHECK_MAX_FAULTS];
};

/* ---- index.c */
/** Builds the arrays. @return false: the histories contradict themselves (reason added). */
bool index_build(struct check *c);
/** NONE: no such partition. */
uint32_t index_part(const struct check *c, uint8_t topic, int32_t partition);
/** NONE: nobody sent it. */
uint32_t index_message(const struct check *c, uint32_t producer, uint64_t counter);
/** The file an event lies in. */
uint32_t index_file(const struct check *c, const struct hist_event *e);
/** True when a seek of the group may have moved the partition between `from` and `to`. */
bool index_sought(const struct check *c, uint32_t group, uint32_t part, int64_t from, int64_t to);
/** The question an answer belongs to; NULL = none. */
struct ask *index_ask(const struct check *c, uint32_t file, uint64_t op);
/** First message at or after offset in a pass of the final read; NULL = none. */
const struct final *index_final(const struct check *c, uint32_t part, int pass, int64_t offset);
/** Offsets are dense: who stands at `next` and gets `offset` was led past what lies between. Tells
 * what that is: CHECK_READ_SKIP, the final read shows some of it (*at); CHECK_SILENT_RESET, it is
 * below the start of the log by now, and the reader was not told; CHECK_ANOMALIES: neither. */
enum check_anomaly index_jump(const struct check *c, uint32_t part, int64_t next, int64_t offset,
                              int64_t *at);
/** An allocation that does not fail: a checker without memory must not say clean. @gives */
void *check_alloc(size_t n, size_t size);
/** Sorts by group, part, time, type. */
void point_sort(struct point *p, size_t n);

/* ---- the judges; each reports what it finds */
void judge_final(struct check *c);   /* final.c: is the final read there; A6 holes */
void judge_produce(struct check *c); /* produce.c: A1 A2 A3 A4 A5 */
void judge_acks(struct check *c);    /* acks.c: A6 reuse, excuses of written messages */
void judge_read(struct check *c);    /* read.c: A9 */
void judge_log(struct check *c);     /* log_group.c: A7 A8, spans of members */
void judge_queue(struct check *c);   /* delivery.c: A7 acked again, A10 undelivered */
void judge_live(struct check *c);    /* liveness.c: A10 */
void judge_valid(struct check *c);   /* liveness.c: did enough happen */

/* ---- report.c */
struct found {
    enum check_anomaly what;
    uint32_t msg, part;
    const struct hist_event *ev[EVIDENCE];
};
/** Counts a violation; keeps the first KEEP of each kind with a sentence. */
void report(struct check *c, const struct found *f, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Adds a reason for invalidity. */
void invalid(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- explain.c */
void explain_violation(const struct check *c, FILE *out, const struct violation *v);
void explain_event(const struct check *c, FILE *out, const struct hist_event *e, char mark);

#endif
