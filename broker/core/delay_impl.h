#ifndef WEIR_BROKER_CORE_DELAY_IMPL_H
#define WEIR_BROKER_CORE_DELAY_IMPL_H
/*
 * Delayed messages inside the core.
 *
 * A delayed batch is one row of TABLE_DELAY, in the order of delivery: due | partition | sequence.
 * In memory is only the page: the first rows up to `end`, complete below it. Everything else is on
 * disk alone, and is read when its time comes near.
 *
 * A row in memory (struct delayed) is in one state:
 *
 *   ARRIVING  in a flight, not durable yet
 *   PAGED     in the page: it will be delivered from there
 *   BESIDE    it became durable behind the page while the next stretch was being read: the reading
 *             may or may not have seen it, so it is added afterwards
 *   LEAVING   its flight to the log is under way
 *
 * One thing at a time touches rows behind the page: the reading of the next stretch, or a cancel
 * that has its turn. So neither sees what the other is about to change.
 */
#include "broker/core/group_impl.h"

enum {
    DELAY_PAGE_ROWS = 8192,
    DELAY_PAGE_BYTES = 8 << 20,
    DELAY_TICK_ROWS = 1000, /* delivered before the loop goes on with something else */
    DELAY_TICK_BYTES = 4 << 20,
};

enum delayed_state { DELAYED_ARRIVING, DELAYED_PAGED, DELAYED_BESIDE, DELAYED_LEAVING };

struct delayed {
    UT_hash_handle hh; /* by key in delay_core->rows */
    struct core *co;
    uint8_t key[DELAY_KEY_BYTES];
    uint32_t part_id;
    int64_t due_ms;
    int64_t visible_ms; /* when it should become visible: due, or its arrival when that is later */
    struct bytes batch; /* a reference; only its head when all of it was cancelled */
    uint8_t *cancelled; /* bit i = message i; NULL = none */
    uint16_t count, n_cancelled;
    uint16_t writes; /* rows with cancels of it that are not durable yet: not to be forgotten */
    enum delayed_state state;
    bool touched;  /* a cancel is about to put its row */
    bool delivers; /* leaving: into the log, not just away */
    uint16_t left; /* leaving: messages that were taken off the count */
    TAILQ_ENTRY(delayed) in_beside;
    struct waiter leaving;
};
TAILQ_HEAD(delayed_queue, delayed);

struct cancel;
TAILQ_HEAD(cancel_queue, cancel);
struct listing;
LIST_HEAD(listing_list, listing);

/* Partition by the store's number, as of the topics of `version`. */
struct delay_part {
    UT_hash_handle hh;
    uint32_t id, p;
    uint64_t tid;
};

struct delay_core {
    struct core *co;
    struct delayed *rows;  /* all in memory, by key */
    struct delayed **page; /* [head, head + n), sorted by key */
    size_t head, n, cap;
    size_t max_rows, max_bytes;   /* DELAY_PAGE_*, less in tests */
    uint64_t bytes;               /* of the batches in the page */
    uint8_t end[DELAY_KEY_BYTES]; /* every durable row below is in memory */
    bool complete;                /* so is every row at all */

    struct store_rows read; /* of the next stretch */
    bool reading;
    bool spoiled; /* what is being read is of no use any more */
    uint8_t read_from[DELAY_KEY_BYTES];
    struct delayed_queue beside;
    size_t n_beside;
    uint64_t beside_bytes;

    size_t leaving;
    bool cut_while_leaving; /* the page's end moved down: a row that leaves may lie behind it */

    struct cancel_queue cancels; /* all under way */
    struct cancel *turn;         /* the one that may touch rows behind the page */
    struct listing_list listings;

    struct timer timer;
    int64_t not_before_ns; /* nothing is delivered or read before */
    uint64_t counter;      /* of the next sequence */
    uint64_t pending;      /* messages, as of what was submitted */
    bool dirty;            /* the META_DELAYED row */
    struct delay_part *parts;
    uint64_t parts_version;
};

/* ---------------------------------------------------------------- for produce.c */

/* deliver_at within its limits: WERR_OK, or TOO_LARGE in rq->err. */
enum werr delay_check(struct core *co, struct core_produce *rq);
/* Puts the batch into the open flight as a row; takes the reference of batch. Sets h->append_ms.
 * Returns its sequence. */
uint64_t delay_keep(struct core *co, struct part *pt, struct dedupe *d, struct batch_head *h,
                    struct core_produce *rq, struct bytes batch);
/* Fills rq->ok.delay_id. */
void delay_name(const struct part *pt, uint64_t sequence, struct core_produce *rq);
/* It is in a flight that is not durable yet. */
bool delay_arriving(struct core *co, const struct part *pt, uint64_t sequence,
                    const struct core_produce *rq);

/* ---------------------------------------------------------------- delay_row.c */

int delay_key_cmp(const uint8_t *a, const uint8_t *b);
struct delayed *delayed_find(const struct delay_core *dc, const uint8_t *key);
void delayed_free(struct delay_core *dc, struct delayed *d);
/* Decodes a row. false: it is damaged (logged). *d is filled, nothing is allocated but d->cancelled
 * (free), d->batch borrows from value. */
bool delayed_decode(struct core *co, struct slice key, struct slice value, struct delayed *d);
/* Value of its row, as it is now. Appended to out. */
void delayed_encode(const struct delayed *d, struct buf *out);
static inline unsigned delayed_live(const struct delayed *d)
{
    return (unsigned)(d->count - d->n_cancelled);
}
bool delayed_is_cancelled(const struct delayed *d, unsigned i);
void delayed_cancel(struct delayed *d, unsigned i, bool cancelled); /* one that is not so yet */

/* ---------------------------------------------------------------- delay.c */

/* Adds to the number of waiting messages; its row goes with the open flight. */
void delay_count(struct delay_core *dc, int64_t messages);
struct part *delay_part_find(struct delay_core *dc, uint32_t id);
/* Looks again at what is to be done, and when. */
void delay_rearm(struct delay_core *dc);

/* ---------------------------------------------------------------- delay_page.c */

/* True when a row with that key belongs into the page once it is durable. */
bool page_covers(const struct delay_core *dc, const uint8_t *key);
void page_insert(struct delay_core *dc, struct delayed *d); /* state becomes PAGED */
struct delayed *page_first(const struct delay_core *dc);    /* NULL: empty */
struct delayed *page_pop(struct delay_core *dc);
/* Gives up the far end while the page is over its limits. */
void page_cut(struct delay_core *dc);
/* A durable row that is not in the page. */
void page_take(struct delay_core *dc, struct delayed *d);
/* Starts reading the next stretch when the page is low and nothing stands in the way. */
void page_read(struct delay_core *dc);

/* ---------------------------------------------------------------- delay_cancel.c, delay_list.c */

/* Gives the turn to the next cancel that waits for it. */
void cancel_next(struct delay_core *dc);
void cancel_fini(struct delay_core *dc);
void listing_fini(struct delay_core *dc);

/* Text of an id: room for LIMIT_DELAY_ID. Returns the length. */
size_t delay_id_text(char *out, int64_t due_ms, uint32_t p, uint64_t sequence);
/* "<due>-<p>-<sequence>" and with `message` also ".<i>". false: not such a text, as we write it. */
bool delay_id_parse(struct slice id, int64_t *due_ms, uint32_t *p, uint64_t *sequence,
                    uint32_t *message);

#endif
