#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#include "bench/demo/board.h"
#include "bench/demo/history.h"
#include "bench/demo/worker.h"

/*
 * Happy path: one subscription for each of its partitions, messages in turn at the common pace,
 * each written to the history. Positions are the consumer's own: a subscription that breaks is made
 * anew from the next offset. When the producers are done it asks for the ends and reads up to them.
 * What can fail: the history's disk; a partition whose end is never reached (it gives up after
 * STALL_NS, and the judge will say what is missing).
 */

#define CLAIM 64
#define STALL_NS UINT64_C(60000000000)
#define ASK_MS 10000

struct lane {
    weir_sub *sub;
    const weir_message *head; /* borrowed from sub: the next to take, NULL = nothing is here */
    int32_t partition;
    int64_t next, end; /* end -1 = not known yet */
};

struct consumer {
    struct board *board;
    struct board_worker *mine;
    struct hist_writer history;
    weir *client;
    uint32_t number, tokens;
    struct lane lanes[DEMO_PARTITIONS];
    size_t n_lanes;
    uint64_t last_progress_ns;
};

static uint64_t id_of(const weir_message *m)
{
    const weir_bytes b = weir_message_header(m, "id");
    char text[17] = "";

    if (b.data == NULL || b.size != 16) {
        return UINT64_MAX; /* nobody's: the judge will call it a phantom */
    }
    memcpy(text, b.data, 16);
    return strtoull(text, NULL, 16);
}

static int lane_open(struct consumer *c, struct lane *l)
{
    char options[96];

    weir_unsubscribe(l->sub);
    (void)snprintf(options, sizeof options,
                   "start=%" PRId64 " partitions=%" PRId32 " window_bytes=262144", l->next,
                   l->partition);
    l->sub = weir_subscribe(c->client, DEMO_TOPIC, NULL, options);
    return l->sub == NULL ? -1 : 0;
}

/* A subscription ended. When the log is shorter than what was read already, which no correct broker
 * lets happen, it goes on at the end: what comes there is for the judge. */
static int lane_repair(struct consumer *c, struct lane *l, const weir_error *e)
{
    int64_t end = -1;

    (void)fprintf(stderr, "consumer %u: partition %d at %" PRId64 ": %s: %s\n", c->number,
                  l->partition, l->next, weir_code_name(e->code), e->text);
    if (e->code == WEIR_E_OFFSET_OUT_OF_RANGE &&
        weir_offset(c->client, DEMO_TOPIC, l->partition, WEIR_OFFSET_END, &end, NULL, ASK_MS)
                .outcome == WEIR_DONE &&
        end < l->next) {
        l->next = end;
    }
    return lane_open(c, l);
}

static void take(struct consumer *c, struct lane *l)
{
    const weir_message *m = l->head;

    hist_add(&c->history, &(struct hist_rec){.kind = HIST_DELIVERED,
                                             .partition = (uint16_t)m->partition,
                                             .id = id_of(m),
                                             .hash = hist_hash(m->key.data, m->key.size,
                                                               m->value.data, m->value.size),
                                             .offset = m->offset});
    l->next = m->offset + 1;
    board_add(&c->mine->delivered, 1);
    board_add(&c->mine->bytes, m->key.size + m->value.size);
    atomic_store_explicit(&c->board->read_end[l->partition], (uint64_t)l->next,
                          memory_order_relaxed);
    l->head = NULL;
    weir_done(m, WEIR_ACK);
}

/* The lane whose next message is the oldest, *oldest NULL: none has one. @return 0, or -1. */
static int pick(struct consumer *c, struct lane **oldest)
{
    *oldest = NULL;
    for (size_t i = 0; i < c->n_lanes; i++) {
        struct lane *l = &c->lanes[i];

        if (l->head == NULL) {
            l->head = weir_next(l->sub, 0);
        }
        if (l->head == NULL) {
            const weir_error e = weir_sub_error(l->sub);

            if (e.code != WEIR_OK && e.code != WEIR_E_TIMEOUT && lane_repair(c, l, &e) != 0) {
                return -1;
            }
        } else if (*oldest == NULL || l->head->append_ms < (*oldest)->head->append_ms) {
            *oldest = l;
        }
    }
    return 0;
}

/* Takes messages while there are any and the pace allows. @return how many, or -1.
 * *wait_ns: how long nothing will be due. */
static int take_turn(struct consumer *c, uint64_t *wait_ns)
{
    struct lane *l;
    int taken = 0;

    *wait_ns = 50000000;
    for (;;) {
        if (pick(c, &l) != 0) {
            return -1;
        }
        if (l != NULL && c->tokens == 0) {
            c->tokens = board_claim(c->board, CLAIM, mono_ns(), wait_ns);
        }
        if (l == NULL || c->tokens == 0) {
            return taken;
        }
        take(c, l);
        c->tokens--;
        taken++;
    }
}

/* True when the producers are done and every lane was read to its end. */
static bool finished(struct consumer *c)
{
    bool all = true;

    if (atomic_load(&c->board->producers_done) == 0) {
        return false;
    }
    for (size_t i = 0; i < c->n_lanes; i++) {
        struct lane *l = &c->lanes[i];

        if (l->end < 0) {
            (void)weir_offset(c->client, DEMO_TOPIC, l->partition, WEIR_OFFSET_END, &l->end, NULL,
                              ASK_MS);
        }
        all = all && l->end >= 0 && l->next >= l->end;
    }
    return all;
}

static int read_all(struct consumer *c)
{
    uint64_t wait_ns;
    int taken;

    c->last_progress_ns = mono_ns();
    for (;;) {
        taken = take_turn(c, &wait_ns);
        if (taken < 0) {
            return -1;
        }
        if (taken > 0) {
            c->last_progress_ns = mono_ns();
        } else if (finished(c)) {
            return 0;
        }
        if (atomic_load(&c->board->producers_done) != 0 &&
            mono_ns() - c->last_progress_ns > STALL_NS) {
            (void)fprintf(stderr, "consumer %u: nothing comes any more\n", c->number);
            return 0;
        }
        worker_io(c->client, wait_ns);
    }
}

int consumer_run(struct board *b, const char *work_dir, uint32_t number)
{
    struct consumer c = {.board = b, .mine = &b->consumers[number], .number = number};
    char path[DEMO_PATH_BYTES + 32], options[64];
    int rc = WORKER_FAILED;

    (void)snprintf(path, sizeof path, "%s/hist/consumer-%u.hist", work_dir, number);
    (void)snprintf(options, sizeof options, "client_id=demo-consumer-%u", number);
    c.client = weir_open(b->orders.url, options);
    if (hist_create(&c.history, path, HIST_CONSUMER, number) != 0 || c.client == NULL) {
        perror(path);
        goto out;
    }
    for (int32_t p = 0; p < DEMO_PARTITIONS; p++) {
        if ((uint32_t)p % b->orders.consumers == number) {
            c.lanes[c.n_lanes] = (struct lane){.partition = p, .end = -1};
            if (lane_open(&c, &c.lanes[c.n_lanes++]) != 0) {
                goto out;
            }
        }
    }
    rc = read_all(&c) == 0 ? WORKER_OK : WORKER_FAILED;
out:
    for (size_t i = 0; i < c.n_lanes; i++) {
        weir_unsubscribe(c.lanes[i].sub);
    }
    weir_close(c.client, 0);
    if (c.history.file != NULL && hist_finish(&c.history) != 0) {
        (void)fprintf(stderr, "consumer %u: its history could not be written\n", number);
        rc = WORKER_FAILED;
    }
    return rc;
}
