#ifndef WEIR_TESTS_FAULTS_CHECK_H
#define WEIR_TESTS_FAULTS_CHECK_H
/*
 * The history checker: reads every *.hist of a directory (tests/faults/history/history.h) and says
 * whether a promise of docs/GUARANTEES.md was broken. It believes histories only.
 *
 * What counts as proof is what the clients wrote down in real time: B comes after A when B was
 * asked after A had been answered. What overlaps is taken in the order that excuses the broker.
 *
 * Not judged, because it cannot be told from outside:
 * - two live deliveries of one message in queue mode, but for two cases. A lease ends by its
 * deadline or with its session, and a client that slept hands out what it had received before. So a
 * second delivery counts only when it certainly left the broker later: to a member that joined
 * later, to the same member, with a higher count, or behind messages that had not been sent when
 * the first was handed out. Then it is a violation after an acknowledgement that was answered, and
 * also without one, when the first lease was younger than any lease and grace time may be. Other
 * deliveries after an acknowledgement are counted: late_deliveries.
 * - dead letters: a message that used up its deliveries unseen counts as undelivered.
 * - verdicts other than an acknowledgement: a dead letter may be redriven.
 * - messages below the start of the log in the final read, but for their order, values and offsets.
 * - delayed messages: their order among others, and that they came while their time, and 10 s, was
 *   not over at the final read.
 * - a partition that moves on by a seek: what it jumped over need not be delivered.
 * - messages that came in after a group was found drained.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What can be found. The names are part of the interface: run.py and the ledger use them. */
enum check_anomaly {
    CHECK_LOST,           /* A1 */
    CHECK_LOST_WRITTEN,   /* A1 */
    CHECK_LOST_HOLE,      /* A1 */
    CHECK_TRIMMED,        /* A1 */
    CHECK_DUPLICATE,      /* A2 */
    CHECK_DUP_ANSWER,     /* A2 */
    CHECK_REORDER,        /* A3 */
    CHECK_DAMAGED,        /* A4 */
    CHECK_NEVER_SENT,     /* A4 */
    CHECK_FAILED_SEEN,    /* A4 */
    CHECK_EARLY,          /* A4 */
    CHECK_TWO_VALUES,     /* A5 */
    CHECK_MISPLACED,      /* A5 */
    CHECK_HOLE,           /* A6 */
    CHECK_OFFSET_REUSED,  /* A6 */
    CHECK_DOUBLE_OWNER,   /* A7 */
    CHECK_STALE_COMMIT,   /* A7 */
    CHECK_UNOWNED,        /* A7 */
    CHECK_EPOCH_BACK,     /* A7 */
    CHECK_ACKED_AGAIN,    /* A7 */
    CHECK_LEASED_TWICE,   /* A7 */
    CHECK_POSITION_BACK,  /* A8 */
    CHECK_COMMIT_BACK,    /* A8 */
    CHECK_GAINED_BACK,    /* A8 */
    CHECK_POSITION_PAST,  /* A8 */
    CHECK_POSITION_AHEAD, /* A8 */
    CHECK_READ_SKIP,      /* A9 */
    CHECK_READ_BACK,      /* A9 */
    CHECK_SILENT_RESET,   /* A9 */
    CHECK_HW_BACK,        /* A9 */
    CHECK_SEEN_LOST,      /* A9 */
    CHECK_UNSEEN,         /* A10 */
    CHECK_UNDELIVERED,    /* A10 */
    CHECK_UNSETTLED,      /* A10 */
    CHECK_PROBE,          /* A10 */
    CHECK_ANOMALIES
};

struct check_rule {
    const char *family; /* "A1" */
    const char *name;   /* "lost" */
    const char *text;   /* what it means */
};
/** The rule of an anomaly. Never NULL below CHECK_ANOMALIES. */
const struct check_rule *check_rule(enum check_anomaly a);

/* Also the exit codes of weir-check. */
enum check_verdict { CHECK_CLEAN = 0, CHECK_VIOLATION = 1, CHECK_INVALID = 2 };

enum { CHECK_MAX_FAULTS = 64, CHECK_MAX_REASONS = 32, CHECK_TEXT = 240 };

struct check_fault {
    const char *name; /* borrowed */
    uint64_t need;    /* how often it must have fired */
};

struct check_options {
    uint64_t need_acks;
    unsigned min_ok_percent; /* of the sends that were answered */
    struct check_fault faults[CHECK_MAX_FAULTS];
    size_t n_faults;
    uint64_t min_lease_ms; /* no group of the run has shorter leases, or a shorter grace time */
    bool no_probes;        /* do not ask for probes after healing */
    bool keeps_all;        /* nothing of the run may be deleted: all logs begin at 0 */
    bool need_activity;    /* whoever was there did something, and groups were looked at */
    unsigned show;         /* violations that are explained event by event */
};
/** quick plan: 10,000 acks, 50 %, leases of 10 s, 3 violations explained. */
void check_options_default(struct check_options *o);

struct check_figures {
    uint64_t files, events, producers, partitions;
    uint64_t sent, ok, fail, unknown, unknown_seen, duplicate_answers, written, written_lost;
    uint64_t in_final, read, delivered, late_deliveries, commits, settles, positions, watermarks;
    uint64_t gained, joins, faults, starts, cuts, slowest_probe_ms, slowest_start_ms;
};

struct check;

/** @param o copied. @return NULL without memory. */
struct check *check_new(const struct check_options *o);
/** Safe on NULL. */
void check_free(struct check *c);
/** Loads all *.hist of dir. A history that cannot be read makes the run invalid.
 * @return 0, or -1: the directory cannot be read (an invalid reason too). */
int check_load(struct check *c, const char *dir);
/** Judges what was loaded. Call once. A violation outranks a reason for invalidity, but for a
 * damaged history, after which nothing is judged. */
enum check_verdict check_judge(struct check *c);

const struct check_figures *check_figures(const struct check *c);
/** How often a was found. */
uint64_t check_count(const struct check *c, enum check_anomaly a);
/** The i-th reason for invalidity, NULL past the last. */
const char *check_reason(const struct check *c, size_t i);

/** The table, and the smallest histories of the first violations. */
void check_print(const struct check *c, FILE *out);
/** The same figures for programs. */
void check_json(const struct check *c, FILE *out);
/** Every event of one message, and of the offsets it was seen at. After check_load. */
void check_explain(const struct check *c, FILE *out, uint32_t producer, uint64_t counter);

#endif
