#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/weir.h>

#include "bench/demo/board.h"
#include "bench/demo/history.h"
#include "bench/demo/records.h"
#include "bench/demo/worker.h"

/*
 * Happy path: for each message write SENT to the history, queue it, and when its receipt comes
 * write RESULT. A ticket stands for one unanswered message; when none is free, or the library says
 * BUFFER_FULL, the producer does I/O instead: that is the back-pressure.
 * What can fail: the history's disk, and answers that end a client. The latter no correct broker
 * gives here; a broken one does, after it lost what it had acknowledged, and must still come before
 * the judge. So the producer then goes on with a new client. The producer owns all; tickets go to
 * the library with the message and come back with the receipt.
 */

#define TICKETS 8192
#define IO_EVERY 128
#define FINISH_MS 120000
#define MAX_CLIENTS 20

struct producer;

struct ticket {
    struct producer *owner;
    struct ticket *next_free;
    uint64_t id, sent_ns;
};

struct producer {
    struct board *board;
    struct board_worker *mine;
    struct hist_writer history;
    struct records records;
    struct ticket *tickets, *free_tickets;
    weir *client;
    uint32_t number, clients;
    bool ended; /* the client gave a fatal answer */
};

void worker_io(weir *w, uint64_t max_ns)
{
    const int library_ms = weir_timeout_ms(w);
    struct pollfd p = {.fd = weir_fd(w), .events = POLLIN};
    struct timespec t;

    if (library_ms >= 0 && (uint64_t)library_ms * 1000000 < max_ns) {
        max_ns = (uint64_t)library_ms * 1000000;
    }
    t = (struct timespec){.tv_sec = (time_t)(max_ns / 1000000000),
                          .tv_nsec = (long)(max_ns % 1000000000)};
    (void)ppoll(&p, 1, &t, NULL);
    weir_on_io(w);
}

static void on_receipt(void *user, const weir_receipt *r)
{
    struct ticket *t = user;
    struct producer *p = t->owner;
    const uint64_t now = mono_ns(), us = (now - t->sent_ns) / 1000;
    struct hist_rec rec = {.kind = HIST_RESULT,
                           .latency_us = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us,
                           .id = t->id,
                           .offset = -1};

    if (r->error.outcome == WEIR_DONE) {
        rec.outcome = HIST_ACKED;
        rec.partition = (uint16_t)r->partition;
        rec.offset = r->offset;
        board_add(&p->mine->acked, 1);
        board_note_ack(p->board, now);
        if (r->partition >= 0 && r->partition < DEMO_PARTITIONS && r->offset >= 0) {
            board_raise(&p->board->acked_end[r->partition], (uint64_t)r->offset + 1);
        }
    } else if (r->error.outcome == WEIR_UNKNOWN) {
        rec.outcome = HIST_UNKNOWN;
        board_add(&p->mine->unknown, 1);
    } else {
        rec.outcome = HIST_FAILED;
        board_add(&p->mine->failed, 1);
    }
    if (r->error.outcome != WEIR_DONE && !p->ended) {
        (void)fprintf(stderr, "producer %u: %s: %s\n", p->number, weir_code_name(r->error.code),
                      r->error.text);
        p->ended = r->error.outcome == WEIR_NOT_DONE || r->error.fenced;
    }
    hist_add(&p->history, &rec);
    t->next_free = p->free_tickets;
    p->free_tickets = t;
}

/* Queues one message, doing I/O while there is no room. @return 0, or -1: the client ended before.
 */
static int send_one(struct producer *p, uint64_t counter)
{
    const struct board_orders *o = &p->board->orders;
    const struct record *rec =
        &p->records.items[(counter * o->producers + p->number - 1) % p->records.n];
    const uint64_t id = hist_id(p->number, counter);
    char id_text[24];
    weir_header header = {weir_str("id"), {id_text, 16}};
    weir_send_options options = WEIR_SEND_OPTIONS;
    struct ticket *t;
    weir_error e;

    while (p->free_tickets == NULL && !p->ended) {
        worker_io(p->client, 100000000);
    }
    if (p->ended) {
        return -1;
    }
    t = p->free_tickets;
    p->free_tickets = t->next_free;
    *t = (struct ticket){.owner = p, .id = id, .sent_ns = mono_ns()};
    (void)snprintf(id_text, sizeof id_text, "%016" PRIx64, id);
    options.headers = &header;
    options.n_headers = 1;
    hist_add(&p->history, &(struct hist_rec){.kind = HIST_SENT,
                                             .id = id,
                                             .hash = hist_hash(rec->key, rec->key_bytes, rec->value,
                                                               rec->value_bytes),
                                             .offset = -1});
    for (;;) {
        e = weir_send_async(p->client, DEMO_TOPIC, weir_bytes_of(rec->key, rec->key_bytes),
                            weir_bytes_of(rec->value, rec->value_bytes), &options, on_receipt, t);
        if (e.code != WEIR_E_BUFFER_FULL || p->ended) {
            break;
        }
        worker_io(p->client, 100000000);
    }
    if (e.outcome != WEIR_DONE) {
        weir_receipt refused = {.error = e, .partition = -1, .offset = -1};

        on_receipt(t, &refused);
    }
    board_add(&p->mine->sent, 1);
    board_add(&p->mine->bytes, rec->key_bytes + rec->value_bytes);
    return 0;
}

/* A client for the first time, or in place of one that ended. */
static int open_client(struct producer *p)
{
    char options[64];

    if (p->clients++ == MAX_CLIENTS) {
        return -1;
    }
    (void)weir_close(p->client, 0); /* what is unanswered gets its result now */
    p->ended = false;
    (void)snprintf(options, sizeof options, "client_id=demo-producer-%u", p->number);
    p->client = weir_open(p->board->orders.url, options);
    return p->client == NULL ? -1 : 0;
}

static int send_all(struct producer *p)
{
    const struct board_orders *o = &p->board->orders;
    const uint64_t per_burst = (o->messages_per_producer + o->bursts - 1) / o->bursts;

    for (uint64_t i = 0; i < o->messages_per_producer;) {
        const uint64_t begin = o->start_mono_ns + i / per_burst * o->burst_period_ns;

        for (uint64_t now = mono_ns(); i % per_burst == 0 && now < begin; now = mono_ns()) {
            worker_io(p->client, begin - now);
        }
        if (p->ended && open_client(p) != 0) {
            return -1;
        }
        if (send_one(p, i) == 0) {
            i++;
        }
        if (i % IO_EVERY == 0) {
            weir_on_io(p->client);
        }
    }
    return 0;
}

int producer_run(struct board *b, const char *work_dir, uint32_t number)
{
    struct producer p = {.board = b, .mine = &b->producers[number - 1], .number = number};
    char path[DEMO_PATH_BYTES + 32], err[DEMO_PATH_BYTES + 64];
    int rc = WORKER_FAILED;
    weir_error e;

    (void)snprintf(path, sizeof path, "%s/hist/producer-%u.hist", work_dir, number);
    p.tickets = calloc(TICKETS, sizeof *p.tickets);
    if (hist_create(&p.history, path, HIST_PRODUCER, number) != 0 || p.tickets == NULL ||
        open_client(&p) != 0) {
        perror(path);
        goto out;
    }
    if (records_load(&p.records, b->orders.data_path, err, sizeof err) != 0) {
        (void)fprintf(stderr, "producer %u: %s\n", number, err);
        goto out;
    }
    for (size_t i = 0; i < TICKETS; i++) {
        p.tickets[i].next_free = p.free_tickets;
        p.free_tickets = &p.tickets[i];
    }
    rc = send_all(&p) == 0 ? WORKER_OK : WORKER_FAILED;
    e = weir_flush(p.client, FINISH_MS);
    if (e.outcome != WEIR_DONE) {
        (void)fprintf(stderr, "producer %u: flush: %s\n", number, e.text);
    }
out:
    (void)weir_close(p.client, 0); /* what is still open gets its result now */
    if (p.history.file != NULL && hist_finish(&p.history) != 0) {
        (void)fprintf(stderr, "producer %u: its history could not be written\n", number);
        rc = WORKER_FAILED;
    }
    records_free(&p.records);
    free(p.tickets);
    return rc;
}
