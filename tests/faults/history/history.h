#ifndef WEIR_TESTS_FAULTS_HISTORY_H
#define WEIR_TESTS_FAULTS_HISTORY_H
/*
 * Histories of the fault suite: what each client did and saw, written by that client alone, before
 * it acts and after it was answered. weir-check reads nothing else.
 *
 * A history is a file of 64-byte events in the byte order of the machine, mapped into memory: what
 * was added is kept when its writer is killed, and costs no system call. It lies on another file
 * system than the broker's data. The first event is HIST_BEGIN; a writer that ends well adds
 * HIST_END. A history without HIST_END belongs to a client that was killed: what it began and did
 * not finish is unknown.
 *
 * All times are CLOCK_MONOTONIC of the one machine; clock faults are injected into the broker only.
 * The idea (invoke, then ok, fail or info; nothing derived) is Jepsen's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hist_kind {
    HIST_NONE = 0, /* space not yet written: the end of a killed client's history */
    /* every file */
    HIST_BEGIN = 1, /* producer = number of the client, extra = enum hist_role, op = run id */
    HIST_END = 2,   /* counter = events before this one */

    /* producing; a message is (producer, counter), see value.h. Never the same one twice. */
    HIST_SEND = 10, /* before: topic, partition asked for, op; counter; extra = enum hist_level;
                       generation = at_ns before which nobody may see it (delayed), else 0 */
    HIST_SENT = 11, /* after: op, outcome; when ok: partition, offset (-1 = not told), flag
                       HIST_DUPLICATE when the broker said so. The same topic, producer, counter */

    /* reading. HIST_BAD_VALUE: the value is not a message of this run, or damaged */
    HIST_READ = 20,        /* a reader without group was handed a message: topic, partition, offset,
                              producer, counter; extra = number of the subscription within this client */
    HIST_FINAL = 21,       /* the same, in the final read; extra = pass, 1 or 2 */
    HIST_FINAL_RANGE = 22, /* a partition is about to be read in this pass: offset = log start,
                              counter = high watermark, extra = pass */
    HIST_HW = 23,        /* answer: offset = high watermark told, counter = at_ns of the question */
    HIST_SUB_ERROR = 24, /* a subscription ended by itself: extra = weir_code, offset, partition */

    /* groups; group = number of the group in this run, generation = weir_sub_epoch */
    HIST_JOIN = 30,      /* before joining; extra = number of the subscription in this client. Of a
                            reader: before a subscription from the start of the log, group 0 */
    HIST_GAINED = 31,    /* log mode: partition, offset where it goes on, generation */
    HIST_LOST = 32,      /* log mode: partition, generation; flag HIST_DROPPED: taken, not given */
    HIST_LEFT = 33,      /* the member ended; nothing of it comes later */
    HIST_DELIVERED = 34, /* topic, partition, offset, producer, counter; extra = deliveries */
    HIST_COMMIT = 35,    /* before: op; topic, partition, offset = position to be (last + 1) */
    HIST_COMMITTED = 36, /* after: op, outcome, the same position */
    HIST_POSITION = 37,  /* answer: offset = committed position told, counter = at_ns of question */
    HIST_SETTLE = 38,    /* queue mode, before: partition, offset, extra = enum weir_verdict, op */
    HIST_SETTLED = 39,   /* after: the same, outcome */
    HIST_SEEK = 40,      /* before an administrator moves a position: partition, offset */
    HIST_SEEK_DONE = 41, /* after: outcome */

    /* the director */
    HIST_FAULT = 50,  /* a fault has been injected: counter = hist_name() of what it is called */
    HIST_START = 51,  /* the broker serves (again); extra = ms it took */
    HIST_HEAL = 52,   /* faults have stopped for good */
    HIST_PROBE = 53,  /* after healing: extra = ms, counter = enum hist_probe, outcome */
    HIST_UNSEEN = 54, /* after draining: group, counter = messages its lag still showed. Of a
                         reader: group 0, messages it could not read to the end */
    HIST_CUT = 55 /* power loss: bytes that were not synced are gone (allowed loss of `written`) */
};

enum hist_role {
    HIST_PRODUCER = 1,
    HIST_READER = 2,   /* no group */
    HIST_MEMBER = 3,   /* log mode */
    HIST_WORKER = 4,   /* queue mode */
    HIST_OBSERVER = 5, /* asks for high watermarks and positions */
    HIST_LAST_READER = 6,
    HIST_DIRECTOR = 7
};

enum hist_outcome {
    HIST_OK = 0,
    HIST_FAIL = 1,   /* definitely did not happen */
    HIST_UNKNOWN = 2 /* may have happened */
};

enum hist_level { HIST_DURABLE = 0, HIST_WRITTEN = 1 };
enum hist_probe { HIST_PROBE_PRODUCE = 1, HIST_PROBE_FETCH = 2, HIST_PROBE_JOIN = 3 };

enum { /* flags of an event */
       HIST_DUPLICATE = 1,
       HIST_BAD_VALUE = 2,
       HIST_DROPPED = 4
};

struct hist_event {
    uint8_t kind;    /* enum hist_kind */
    uint8_t outcome; /* enum hist_outcome */
    uint8_t flags;
    uint8_t topic;     /* number of the topic in this run */
    int32_t partition; /* -1 = none */
    int64_t at_ns;
    int64_t offset; /* -1 = none */
    uint32_t producer;
    uint32_t group; /* 0 = none */
    uint64_t counter;
    uint64_t generation;
    uint64_t op; /* ties an answer to its question within one file; 0 = none */
    uint32_t extra;
    uint32_t check; /* hist_check() of the 60 bytes before */
};
_Static_assert(sizeof(struct hist_event) == 64, "event layout");

/** FNV-1a over the first 60 bytes. @thread any */
uint32_t hist_check(const struct hist_event *e);
/** FNV-1a 64 of a name. @thread any */
uint64_t hist_name(const char *name);
/** CLOCK_MONOTONIC in ns. @thread any */
int64_t hist_now_ns(void);

/* ---- writing ---- */

struct hist_writer {
    int fd;
    struct hist_event *map; /* the window that is mapped */
    size_t at, window;      /* next slot in it, slots of it */
    uint64_t n;             /* events written */
};

/** Creates path (must not exist) and adds HIST_BEGIN. @return 0, or -1 with errno. */
int hist_create(struct hist_writer *h, const char *path, enum hist_role role, uint32_t number,
                uint64_t run);
/** Adds a copy of e with check set, and at_ns when it is 0. Aborts when the file cannot grow: a
 * client that cannot record must not act. @return the event's time. */
int64_t hist_add(struct hist_writer *h, const struct hist_event *e);
/** Adds HIST_END, cuts the file to its events and closes. Idempotent. @return 0, or -1 with errno.
 */
int hist_finish(struct hist_writer *h);

/* ---- reading ---- */

/* A history in memory; events without BEGIN and END. */
struct hist_file {
    enum hist_role role;
    uint32_t number;
    uint64_t run;
    bool ended; /* HIST_END was there and counted right */
    const struct hist_event *events;
    size_t n;
    void *map;
    size_t map_bytes;
};

/** Maps path; checks every event. A last event that is damaged is dropped (its writer was killed in
 * the middle); one before that is an error. @return 0, or -1 with a sentence in err. */
int hist_load(struct hist_file *f, const char *path, char *err, size_t err_size);
/** Unmaps. Safe on a zeroed struct. */
void hist_unload(struct hist_file *f);

#endif
