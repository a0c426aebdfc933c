#ifndef WEIR_BENCH_DEMO_JUDGE_H
#define WEIR_BENCH_DEMO_JUDGE_H
/*
 * The judge: compares what producers were promised with what consumers received. It knows nothing
 * of the broker; its only input are the histories of the processes around it.
 */
#include "bench/demo/history.h"

/* Findings: each is a broken promise. The table drives names, explanations and the verdict. */
enum judge_finding {
    JUDGE_LOST,         /* acknowledged, never delivered */
    JUDGE_DUPLICATED,   /* delivered again: at another offset, or the same offset twice */
    JUDGE_OUT_OF_ORDER, /* a producer's messages changed order within a partition */
    JUDGE_CORRUPTED,    /* the content differs from what was sent */
    JUDGE_PHANTOM,      /* nobody sent it, or its producer was told that it did not happen */
    JUDGE_REWRITTEN,    /* one offset showed two different messages */
    JUDGE_MISPLACED,    /* delivered elsewhere than the acknowledgement said */
    JUDGE_FINDINGS
};

struct judge_latency {
    uint32_t p50_us, p90_us, p99_us, p999_us, max_us;
};

struct judge_report {
    uint64_t sent, acked, failed, unknown;
    uint64_t delivered;         /* distinct messages that consumers received */
    uint64_t unknown_delivered; /* of those: ones whose producer never got an answer */
    uint64_t kills, restarts;
    uint64_t findings[JUDGE_FINDINGS];
    uint64_t first_id[JUDGE_FINDINGS]; /* an example of each, valid when its count is not 0 */
    struct judge_latency ack;
};

struct judge_demand {
    uint64_t min_acked, min_delivered, min_kills;
};

/** "lost", "duplicated", ...: as printed. Never NULL. */
const char *judge_finding_name(enum judge_finding f);

/**
 * Judges histories.
 * @param files borrowed; at least one producer and one consumer.
 * @return 0: judged, see *out. -1: the input cannot be judged (a sentence in err).
 */
int judge(const struct hist_file *files, size_t n_files, struct judge_report *out, char *err,
          size_t err_size);
/** True when no promise was broken. */
bool judge_clean(const struct judge_report *r);
/** Whether enough happened for the verdict to mean something. @return NULL, or what is missing
 * (a sentence in buf). */
const char *judge_too_little(const struct judge_report *r, const struct judge_demand *d, char *buf,
                             size_t size);

#endif
