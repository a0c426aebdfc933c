#ifndef WEIR_TESTS_FAULTS_CHAOS_H
#define WEIR_TESTS_FAULTS_CHAOS_H
/*
 * chaosproxy: a TCP proxy that knows where weir's frames begin and breaks connections at chosen
 * places. One thread, no sanitizer needed, nothing of weir linked in. See chaosproxy.c for the
 * commands.
 *
 * chaos_frame.c reads frames, chaos_rules.c decides what happens to one, chaos_act.c does it,
 * chaos_pipe.c moves bytes, chaos_words.c reads commands, chaosproxy.c is the loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chaos_dir {
    CHAOS_UP = 0, /* client to server */
    CHAOS_DOWN = 1,
};
enum {
    CHAOS_RULES = 32,
    CHAOS_OPS = 128,
    CHAOS_CORRS = 1024,          /* requests remembered per connection; a power of two */
    CHAOS_ACKS = 4096,           /* swallowed answers remembered; a power of two */
    CHAOS_FRAME_MAX = 4 << 20,   /* larger frames pass without faults */
    CHAOS_QUEUE_MAX = 256 << 10, /* bytes held per direction before reading stops */
    CHAOS_ANY = -1,
};

/* ------------------------------------------------------------------ frames (chaos_frame.c) */

enum chaos_kind { CHAOS_REQUEST = 0, CHAOS_RESPONSE = 1, CHAOS_NOTIFY = 2 };

/** The start of a frame. */
struct chaos_head {
    enum chaos_kind kind;
    uint32_t corr, op; /* op of a response: 0, found through corr */
};
/** Names one produced batch: the same on every attempt. */
struct chaos_batch {
    uint64_t tid, pid;
    uint32_t p, seq;
    uint16_t epoch;
    bool known;
};
/** Reads the head of a whole frame (n bytes with the length prefix). False: not weir's. */
bool chaos_read_head(const uint8_t *p, size_t n, struct chaos_head *h);
/** Reads which batch a PRODUCE request brings; b->known tells whether it could. */
void chaos_read_batch(const uint8_t *p, size_t n, struct chaos_batch *b);
/** Reads the offset out of a PRODUCE answer. False: an error, or no offset. */
bool chaos_read_offset(const uint8_t *p, size_t n, uint64_t *offset, bool *duplicate);

/* ------------------------------------------------------------------ rules (chaos_rules.c) */

enum chaos_fault {
    CHAOS_NONE,
    CHAOS_CUT,       /* end the connection at a byte of the frame */
    CHAOS_LOST_ACK,  /* deliver the request, swallow its answer, end the connection */
    CHAOS_DUP,       /* deliver the request twice, the answer once */
    CHAOS_STALL,     /* nothing moves for a while */
    CHAOS_HALF_OPEN, /* nothing moves any more */
    CHAOS_HOLD,      /* the frame waits until another connection's has passed */
    CHAOS_DELAY,     /* these are settings, not rules; here for their counts */
    CHAOS_THROTTLE,
    CHAOS_SEGMENT,
    CHAOS_REFUSE, /* a connection is ended as it comes */
    CHAOS_FAULTS,
};
enum chaos_at { CHAOS_AT_RANDOM = -1, CHAOS_AT_SWEEP = -2, CHAOS_AT_END = -3 };

/** What is to be done to frames of a kind. */
struct chaos_rule {
    enum chaos_fault fault;
    int op;            /* CHAOS_ANY, or an operation */
    int dir;           /* CHAOS_ANY, CHAOS_UP, CHAOS_DOWN */
    double chance;     /* per matching frame */
    long after, times; /* frames to let pass first; how often in all, negative = no end */
    long at;           /* CUT: byte of the frame, 0 = before the first; or enum chaos_at */
    int how;           /* CUT, LOST_ACK: CHAOS_FIN, CHAOS_RST, CHAOS_ANY = by chance */
    long for_ms;       /* STALL, HOLD */
};
enum { CHAOS_FIN = 0, CHAOS_RST = 1 };

/** Per direction, for all connections. */
struct chaos_settings {
    long delay_ms, jitter_ms, rate, segment; /* 0 = off; rate in bytes a second */
};
/** The byte at which the next sweeping cut of this kind of frame happens. */
struct chaos_sweep {
    uint32_t next, shortest, longest;
};
/** An answer that was swallowed: what the client must be told when it asks again. */
struct chaos_ack {
    struct chaos_batch batch;
    uint64_t offset;
};
struct chaos_conn;
struct chaos {
    uint64_t rng;
    struct chaos_rule rules[CHAOS_RULES];
    int n_rules;
    struct chaos_settings set[2];
    struct chaos_sweep sweep[2][CHAOS_OPS];
    uint64_t counts[CHAOS_FAULTS];
    uint64_t frames, connections, bytes[2];
    uint64_t same, other; /* offsets told again after a lost answer or a duplicate */
    struct chaos_ack *acks;
    bool frozen; /* no connection moves */
    bool refuse; /* new connections are reset */
    struct chaos_conn *all;
};
/** Uniform in [0, n). */
uint64_t chaos_random(struct chaos *c, uint64_t n);
/** What is to be done to this frame of n bytes. *rule holds the details, *at the byte of a cut. */
enum chaos_fault chaos_decide(struct chaos *c, enum chaos_dir dir, const struct chaos_head *h,
                              size_t n, const struct chaos_rule **rule, size_t *at);
/** Remembers the offset of an answer that the client does not see. */
void chaos_remember(struct chaos *c, const struct chaos_batch *b, uint64_t offset);
/** Compares an offset with the one remembered for this batch, and counts. */
void chaos_compare(struct chaos *c, const struct chaos_batch *b, uint64_t offset);
/** Name of a fault, as in counts. */
const char *chaos_fault_name(enum chaos_fault f);

/* ------------------------------------------------------------------ connections */

/** Bytes on their way, due at a time. */
struct chaos_chunk {
    struct chaos_chunk *next;
    int64_t due_ns;
    size_t n, at;
    uint8_t p[];
};
struct chaos_request {
    uint32_t corr, op;
    struct chaos_batch batch;
    uint8_t answers; /* still to come of a duplicate: 2, 1; 0 = an ordinary request */
    bool swallow;    /* its answer is to be lost */
    int how;
    bool has_offset;
    uint64_t offset; /* of the first answer of a duplicate */
};
/** One direction of a connection. */
struct chaos_pipe {
    struct chaos_chunk *first, *last;
    size_t queued;
    uint8_t *frame; /* the frame that is coming in */
    size_t have, cap, passed;
    bool raw;                     /* not weir's frames: passes as it comes */
    bool eof, shut;               /* the source ended; told to the sink */
    bool divided, throttled;      /* the first chunk; for the counts */
    int64_t last_due_ns, free_ns; /* order of delayed chunks; when throttled bytes may go on */
};
struct chaos_conn {
    struct chaos_conn *next;
    struct chaos *c;
    uint64_t number;
    int fd[2]; /* [CHAOS_UP]: the client's socket, source of what goes up; [CHAOS_DOWN]: the
                  server's */
    struct chaos_pipe pipe[2];
    struct chaos_request *requests;
    bool connecting, half_open, dead;
    int cut; /* CHAOS_ANY = lives; CHAOS_FIN, CHAOS_RST: ends when what is queued is out */
    int64_t cut_by_ns, stalled_until_ns;
    int hold_op; /* 0 = none: HOLD waits for another connection's frame of this op */
    enum chaos_dir hold_dir;
    int64_t hold_until_ns;
};

/** Takes bytes that came from the source of `dir` (chaos_act.c). */
void chaos_input(struct chaos_conn *k, enum chaos_dir dir, const uint8_t *p, size_t n);
/** The source of `dir` ended: what is held of a frame goes on as it is. */
void chaos_input_end(struct chaos_conn *k, enum chaos_dir dir);
/** Makes a connection for an accepted socket and puts it into the list; takes fd (chaos_pipe.c). */
void chaos_conn_add(struct chaos *c, int fd, const char *host, const char *port);
/** Frees the connections that have ended. */
void chaos_reap(struct chaos *c);
/** Ends a connection at once: CHAOS_FIN or CHAOS_RST. It is freed by chaos_reap. */
void chaos_end(struct chaos_conn *k, int how);
/** Queues bytes in `dir`, due as the settings say. */
void chaos_queue(struct chaos_conn *k, enum chaos_dir dir, const uint8_t *p, size_t n);
/** What poll should wait for at the client's (UP) or the server's (DOWN) socket; 0 = nothing. */
short chaos_wants(const struct chaos_conn *k, enum chaos_dir side, int64_t now_ns);
/** Reads and writes what can be. revents: of the client's and the server's socket. */
void chaos_move(struct chaos_conn *k, const short revents[2]);
/** When it wants to be moved without an event; INT64_MAX = never. */
int64_t chaos_due_ns(const struct chaos_conn *k, int64_t now_ns);
int64_t chaos_now_ns(void);

/* ------------------------------------------------------------------ commands (chaos_words.c) */

/**
 * Obeys one line. Writes the answer (one line with its newline) to out.
 * @return false: the proxy shall end.
 */
bool chaos_obey(struct chaos *c, char *line, char *out, size_t n_out);

#endif
