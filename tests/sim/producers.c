/*
 * Producers as a correct client behaves: a window of unanswered batches per partition, sent in
 * order, resent in order when refused or cut off, never sent again once acknowledged, except for no
 * reason at all (a retry that was not needed).
 *
 * `patient` ones wait after a refusal until everything outstanding is answered; the others go on at
 * once with what was refused.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static const uint64_t OFFSET_UNKNOWN = UINT64_MAX;

/* One request on its way, or in the core. */
struct attempt {
    struct core_produce rq;
    struct sim *s;
    struct mproducer *p;
    struct mbatch *b;
    struct blob *blob;
    uint16_t epoch; /* of the producer when it was sent */
    unsigned topic;
};

struct asking {
    struct core_producer_rq rq;
    struct sim *s;
    struct mproducer *p;
    unsigned cut;
};

void producers_init(struct sim *s)
{
    for (unsigned i = 0; i < SIM_PRODUCERS; i++) {
        struct mproducer *p = &s->producers[i];
        p->index = i;
        p->idempotent = i != 0;
        p->patient = sim_chance(s, 50);
        p->window = 1 + sim_below(s, sim_chance(s, 20) ? 64 : 8);
        if (i >= 3) {
            memcpy(p->name, i == 3 ? "p-three" : "p-four", i == 3 ? 8 : 7);
        }
        p->ready = !p->idempotent;
    }
}

void producers_fini(struct sim *s)
{
    producers_cut(s);
    for (uint64_t id = 1; id < s->next_id; id++) {
        if (id + 1 == s->next_id || s->of_id[id + 1] != s->of_id[id]) {
            free(s->of_id[id]);
        }
    }
    free(s->of_id);
}

static struct stream *stream_of(struct mproducer *p, unsigned topic, uint32_t part)
{
    return &p->streams[topic][part];
}

static void stream_reset(struct stream *st, uint64_t tid)
{
    for (struct mbatch *b = st->first; b != NULL; b = b->after) {
        b->abandoned = true;
    }
    *st = (struct stream){.tid = tid, .generation = st->generation + 1};
}

void producers_forget_topic(struct sim *s, unsigned topic)
{
    for (unsigned i = 0; i < SIM_PRODUCERS; i++) {
        for (unsigned p = 0; p < SIM_PARTS; p++) {
            stream_reset(&s->producers[i].streams[topic][p], 0);
        }
    }
}

/* ---------------------------------------------------------------- batches */

static struct mbatch *batch_new(struct sim *s, const struct mproducer *p, struct stream *st,
                                uint32_t part)
{
    struct mbatch *b = calloc(1, sizeof *b);

    b->tid = st->tid;
    b->p = part;
    b->producer = p->index;
    b->pid = p->pid;
    b->epoch = p->epoch;
    b->seq = st->next_seq;
    b->count = (uint16_t)(1 + sim_below(s, 3));
    b->size = 8 + (sim_chance(s, 10) ? sim_below(s, 3000) : sim_below(s, 40));
    b->first_id = s->next_id;
    st->next_seq += b->count;
    while (s->next_id + b->count > s->cap_ids) {
        s->cap_ids = s->cap_ids > 0 ? s->cap_ids * 2 : 1024;
        s->of_id = realloc(s->of_id, s->cap_ids * sizeof(struct mbatch *));
    }
    for (unsigned i = 0; i < b->count; i++) {
        s->of_id[s->next_id++] = b;
    }
    return b;
}

static struct blob *batch_bytes(const struct mbatch *b)
{
    const struct batch_producer prod = {.id = b->pid, .epoch = b->epoch, .base_seq = b->seq};
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;
    uint8_t value[4096] = {0};

    batch_builder_init(&bb, 0);
    for (unsigned i = 0; i < b->count; i++) {
        put_be64(value, b->first_id + i);
        if (batch_add(&bb, 1000, (struct slice){0}, slice_of(value, b->size), NULL, 0) != WERR_OK) {
            abort();
        }
    }
    if (batch_finish(&bb, &prod, BATCH_CODEC_NONE, &zip, &out) != WERR_OK) {
        abort();
    }
    struct blob *blob = blob_copy(out.p, out.n);
    batch_builder_fini(&bb);
    buf_fini(&zip);
    return blob;
}

/* ---------------------------------------------------------------- answers */

static void unlink_acked(struct stream *st)
{
    while (st->first != NULL && st->first->acked) {
        st->old = st->first;
        st->first = st->first->after;
    }
    if (st->first == NULL) {
        st->last = NULL;
    }
}

static void register_anew(struct mproducer *p)
{
    p->ready = false;
    p->fresh = true;
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        for (unsigned k = 0; k < SIM_PARTS; k++) {
            stream_reset(&p->streams[t][k], p->streams[t][k].tid);
        }
    }
}

static void on_ok(struct sim *s, const struct attempt *a)
{
    struct mbatch *b = a->b;
    const struct msg_produce_ok *ok = &a->rq.ok;

    if (b->zombie) {
        sim_fail(s, "G5 a fenced producer was told that its batch is stored");
        return;
    }
    const struct mtopic *t = model_topic(s, b->tid);
    if (b->acked && t != NULL && t->power_cut) {
        b->offset = ok->base_offset; /* written, lost, and now stored by a needless retry */
    }
    if (b->acked && b->offset != OFFSET_UNKNOWN && b->offset != ok->base_offset) {
        sim_fail(s, "A2 batch %llu acknowledged at %llu and at %llu",
                 (unsigned long long)b->first_id, (unsigned long long)b->offset,
                 (unsigned long long)ok->base_offset);
    }
    s->n_duplicates += (ok->flags & PRODUCE_DUPLICATE) != 0;
    if (!b->acked) {
        b->acked = true;
        b->offset = ok->base_offset;
    }
    /* The time of a duplicate's answer is that of its producer's newest batch. */
    model_ack(s, b, ok->base_offset, (ok->flags & PRODUCE_DUPLICATE) != 0 ? 0 : ok->append_ms,
              ok->level == LEVEL_DISK);
}

/* Errors that a correct producer may meet only for a reason that the model knows. */
static void on_fenced(struct sim *s, struct attempt *a, enum werr code)
{
    struct mproducer *p = a->p;
    const struct mtopic *t = model_topic(s, a->b->tid);

    if (code == WERR_REREGISTER && t != NULL && t->power_cut) {
        if (a->b->pid == p->pid && a->epoch == p->epoch && p->ready) {
            s->n_reregister++;
            register_anew(p);
        }
    } else if (code == WERR_PRODUCER_FENCED &&
               (a->b->zombie || !p->ready || a->epoch != p->epoch)) {
        s->n_fenced++;
    } else if (t != NULL && !a->b->abandoned) {
        sim_fail(s, "G5 producer %u, %s/%u, sequence %u: %s: %s", p->index, t->name, a->b->p,
                 a->b->seq, werr_name(code), a->rq.err.text);
    }
}

static void on_answer(struct core_produce *rq)
{
    struct attempt *a = rq->arg;
    struct sim *s = a->s;
    struct mbatch *b = a->b;
    const enum werr code = rq->err.code;

    b->outstanding--;
    sim_trace(s, "answer", b->first_id, (uint64_t)code, rq->ok.base_offset);
    if (code == WERR_OK) {
        on_ok(s, a);
    } else if (code == WERR_INDETERMINATE) {
        b->unknown = true;
        s->n_unknown++;
    } else if (code == WERR_DUP_UNKNOWN_OFFSET) {
        if (!b->acked) {
            sim_fail(s, "G5 batch %llu is said to be stored long ago, but was never acknowledged",
                     (unsigned long long)b->first_id);
        }
    } else if (werr_class(code) == WCLASS_RETRY) {
        s->n_refused++;
    } else if (code == WERR_UNKNOWN_TOPIC) {
        const struct mtopic *t = model_topic(s, b->tid);
        if (t != NULL && !t->unsure) {
            sim_fail(s, "topic %s is unknown", t->name);
        }
    } else {
        on_fenced(s, a, code);
    }
    unlink_acked(&a->p->streams[a->topic][b->p]);
    blob_unref(a->blob);
    free(a);
}

/* ---------------------------------------------------------------- sending */

static void send(struct sim *s, struct mproducer *p, unsigned topic, struct mbatch *b)
{
    if (p->n_outbox == SIM_OUTBOX) {
        return;
    }
    struct attempt *a = calloc(1, sizeof *a);
    a->s = s;
    a->p = p;
    a->b = b;
    a->topic = topic;
    a->epoch = b->epoch;
    a->blob = batch_bytes(b);
    a->rq = (struct core_produce){.tid = b->tid,
                                  .p = b->p,
                                  .batch = {.owner = a->blob, .p = a->blob->p, .n = a->blob->n},
                                  .done = on_answer,
                                  .arg = a};
    b->outstanding++;
    p->outbox[p->n_outbox++] = a;
    sim_trace(s, "send", p->index, b->first_id, b->seq);
}

/* The first batch that has to be sent again, when it may be. *n: batches not acknowledged. */
static struct mbatch *to_resend(const struct mproducer *p, const struct stream *st, unsigned *n,
                                bool *idle)
{
    struct mbatch *found = NULL;
    bool outstanding = false;

    *n = 0;
    for (struct mbatch *b = st->first; b != NULL; b = b->after) {
        if (b->acked) {
            continue;
        }
        ++*n;
        outstanding = outstanding || b->outstanding > 0;
        if (b->outstanding == 0 && found == NULL) {
            found = b;
        }
    }
    *idle = !outstanding;
    /* Not idempotent: what may have happened is not sent again. */
    return found != NULL && (!p->patient || !outstanding) ? found : NULL;
}

static bool needs_resend(const struct stream *st)
{
    for (const struct mbatch *b = st->first; b != NULL; b = b->after) {
        if (!b->acked && b->outstanding == 0) {
            return true;
        }
    }
    return false;
}

static void drop_unknown(struct stream *st)
{
    struct mbatch **at = &st->first;

    st->last = NULL;
    while (*at != NULL) {
        if ((*at)->unknown || (*at)->acked) {
            *at = (*at)->after;
        } else {
            st->last = *at;
            at = &(*at)->after;
        }
    }
}

/* Everything from the first refused on, in order: a client that pipelines. */
static void resend_all(struct sim *s, struct mproducer *p, unsigned topic, struct stream *st)
{
    for (struct mbatch *b = st->first; b != NULL; b = b->after) {
        if (!b->acked && b->outstanding == 0) {
            send(s, p, topic, b);
            if (!p->patient) {
                return; /* one at a time */
            }
        }
    }
}

static void stream_step(struct sim *s, struct mproducer *p, unsigned topic, uint32_t part)
{
    struct stream *st = stream_of(p, topic, part);
    unsigned n = 0;
    bool idle = true;

    if (st->tid != s->topics[topic].tid) {
        stream_reset(st, s->topics[topic].tid);
    }
    if (!p->idempotent) {
        drop_unknown(st);
    }
    if (needs_resend(st)) {
        if (to_resend(p, st, &n, &idle) != NULL) {
            resend_all(s, p, topic, st);
        }
        return;
    }
    (void)to_resend(p, st, &n, &idle);
    if (p->idempotent && st->old != NULL && sim_chance(s, 5) && !s->healing) {
        send(s, p, topic, st->old);
    } else if (p->idempotent && st->first != NULL && sim_chance(s, 5) && !s->healing) {
        send(s, p, topic, st->first);
    } else if (n < p->window && (!s->healing || st->next_seq == 0)) {
        struct mbatch *b = batch_new(s, p, st, part);
        if (st->last != NULL) {
            st->last->after = b;
        } else {
            st->first = b;
        }
        st->last = b;
        send(s, p, topic, b);
    }
}

/* ---------------------------------------------------------------- registering */

/* One stream of a named producer goes on after sequence `stored`. */
static void take_position(struct sim *s, struct mproducer *p, struct stream *st, uint32_t k,
                          const struct msg_producer_pos *pos)
{
    const struct mtopic *mt = model_topic(s, st->tid);
    const uint32_t stored = pos != NULL ? pos->last_seq + 1 : 0;

    for (struct mbatch *b = st->first; b != NULL; b = b->after) {
        if (!b->acked && (int32_t)(b->seq + b->count - stored) <= 0) {
            b->acked = true;
            b->offset = OFFSET_UNKNOWN;
            if (b->seq + b->count == stored) {
                b->offset = pos->last_offset + 1 - b->count;
                model_ack(s, b, b->offset, 0, true);
            }
        }
        b->pid = p->pid;
        b->epoch = p->epoch;
    }
    unlink_acked(st);
    st->old = NULL;
    const uint32_t mine = st->first != NULL ? st->first->seq : st->next_seq;
    if (mt == NULL || mine == stored) {
        return;
    }
    if (!mt->was_os && !p->fresh) {
        sim_fail(s, "G5 %s stands at sequence %u in %s/%u, the broker says %u", p->name, mine,
                 mt->name, k, stored);
    }
    st->next_seq = stored;
    for (struct mbatch *b = st->first; b != NULL; b = b->after) {
        b->seq = st->next_seq;
        st->next_seq += b->count;
    }
}

static void take_positions(struct sim *s, struct mproducer *p, const struct core_producer_rq *rq)
{
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        for (uint32_t k = 0; k < SIM_PARTS; k++) {
            struct stream *st = &p->streams[t][k];
            const struct msg_producer_pos *pos = NULL;
            for (size_t i = 0; i < rq->n_pos; i++) {
                if (rq->pos[i].tid == st->tid && rq->pos[i].p == k) {
                    pos = &rq->pos[i];
                }
            }
            take_position(s, p, st, k, pos);
        }
    }
    p->fresh = false;
}

static void on_registered(struct core_producer_rq *rq)
{
    struct asking *a = rq->arg;
    struct sim *s = a->s;
    struct mproducer *p = a->p;

    sim_trace(s, "registered", p->index, rq->pid, rq->epoch);
    p->asking = false;
    if (rq->err.code == WERR_OK && a->cut == p->cuts) {
        for (unsigned i = 0; i < SIM_PRODUCERS && p->name[0] == '\0'; i++) {
            if (s->producers[i].pid == rq->pid) {
                sim_fail(s, "producer id %llu was given out twice", (unsigned long long)rq->pid);
            }
        }
        p->pid = rq->pid;
        p->epoch = rq->epoch;
        p->ready = true;
        if (p->name[0] != '\0') {
            take_positions(s, p, rq);
        }
    }
    free(rq->pos);
    free(a);
}

static void ask(struct sim *s, struct mproducer *p)
{
    struct asking *a = calloc(1, sizeof *a);

    a->s = s;
    a->p = p;
    a->cut = p->cuts;
    p->asking = true;
    a->rq = (struct core_producer_rq){.name = slice_str(p->name), .done = on_registered, .arg = a};
    core_init_producer(s->co, &a->rq);
}

/* ---------------------------------------------------------------- steps */

void producer_step(struct sim *s, struct mproducer *p)
{
    if (!p->ready) {
        if (!p->asking) {
            ask(s, p);
        }
        return;
    }
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        for (uint32_t k = 0; s->topics[t].exists && k < s->topics[t].n_parts; k++) {
            if (s->healing || sim_chance(s, 40)) {
                stream_step(s, p, t, k);
            }
        }
    }
}

void producer_deliver(struct sim *s, struct mproducer *p)
{
    unsigned n = s->healing ? SIM_OUTBOX : 1 + sim_below(s, 8);

    for (; n > 0 && p->n_outbox > 0; n--) {
        struct attempt *a = p->outbox[0];
        p->n_outbox--;
        memmove(p->outbox, p->outbox + 1, p->n_outbox * sizeof p->outbox[0]);
        core_produce(s->co, &a->rq);
    }
}

static void connection_cut(struct mproducer *p)
{
    p->cuts++;
    while (p->n_outbox > 0) {
        struct attempt *a = p->outbox[--p->n_outbox];
        a->b->outstanding--;
        blob_unref(a->blob);
        free(a);
    }
}

void producers_cut(struct sim *s)
{
    for (unsigned i = 0; i < SIM_PRODUCERS; i++) {
        connection_cut(&s->producers[i]);
    }
}

/* Its program was started again. What the old one had on its way arrives late: it must not count.
 */
void producer_restart(struct sim *s, struct mproducer *p)
{
    if (p->name[0] == '\0' || !p->ready || p->asking) {
        return;
    }
    connection_cut(p);
    const uint64_t pid = p->pid;
    const uint16_t epoch = p->epoch;
    p->ready = false;
    ask(s, p);
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        struct mtopic *mt = &s->topics[t];
        if (!mt->exists || mt->unsure || !sim_chance(s, 50)) {
            continue;
        }
        struct stream late = {.tid = mt->tid, .next_seq = p->streams[t][0].next_seq};
        struct mbatch *b = batch_new(s, p, &late, 0);
        b->zombie = true;
        b->pid = pid;
        b->epoch = epoch;
        send(s, p, t, b);
    }
}

bool producers_settled(const struct sim *s)
{
    for (unsigned i = 0; i < SIM_PRODUCERS; i++) {
        const struct mproducer *p = &s->producers[i];
        if (!p->ready || p->n_outbox > 0) {
            return false;
        }
        for (unsigned t = 0; t < SIM_TOPICS; t++) {
            for (unsigned k = 0; k < SIM_PARTS; k++) {
                if (s->topics[t].exists && p->streams[t][k].first != NULL) {
                    return false;
                }
            }
        }
    }
    return true;
}
