/*
 * Batches out. Happy path: a part with work sends its batches in order, the open one when nothing
 * of it is in flight (it gathers while an answer is due), until `in_flight` are out. What stops a
 * part: recovery after a refusal, a wait that the broker asked for, no identity, limits of the
 * connection. All are lifted by events that put the part on the work list again.
 */
#include "client/handle.h"
#include "proto/crc32c.h"

enum { CONTROL_RESERVE = 64, NOMEM_RETRY_MS = 100, OFF_CRC = 28, OFF_BODY = 32 };

enum pumped { PUMP_NEXT, PUMP_STOP };

/* May the open batch go out? Sets a timer when it is only a matter of time. */
static bool may_seal(struct weir *w, const struct outbatch *b)
{
    int64_t due;

    if (w->opt.linger_ms == 0 || w->prod.flushing) {
        return b->part->n_inflight == 0;
    }
    due = clock_after_ms(b->created_ns, w->opt.linger_ms);
    if (w->now_ns >= due) {
        return true;
    }
    handle_timer(w, due);
    return false;
}

/* Writes identity and sequence into a finished batch again. */
static void restamp(struct outbatch *b, const struct batch_producer *prod)
{
    struct batch_head h;

    batch_head_read(b->image, &h);
    h.producer_id = prod->id;
    h.producer_epoch = prod->epoch;
    h.base_seq = prod->base_seq;
    batch_head_write(b->image, &h);
    put_be32(b->image + OFF_CRC, crc32c(b->image + OFF_BODY, b->image_bytes - OFF_BODY));
}

static enum werr make_image(struct weir *w, struct part *part, struct outbatch *b)
{
    const struct batch_producer prod = {part->pid, part->epoch, b->base_seq};
    uint32_t policy = part->topic->conf.compression;
    bool zstd =
        policy == TOPIC_COMPRESS_PRODUCER ? w->opt.compression : policy == TOPIC_COMPRESS_ZSTD;
    struct slice out;
    enum werr rc;

    if (b->image) {
        restamp(b, &prod);
        return WERR_OK;
    }
    b->bb.z = zstd ? handle_zstd(w) : NULL;
    rc = batch_finish(&b->bb, &prod, zstd ? BATCH_CODEC_ZSTD : BATCH_CODEC_NONE, &b->zip, &out);
    if (rc == WERR_OK) {
        b->image = out.p == b->zip.p ? b->zip.p : b->bb.b.p;
        b->image_bytes = out.n;
    }
    return rc;
}

static uint32_t limit_or(uint32_t limit, uint32_t usual)
{
    return limit ? limit : usual;
}

/* False: the connection takes no more for now. */
static bool connection_has_room(const struct weir *w, size_t bytes)
{
    const struct msg_limits *l = &w->conn.limits;
    uint32_t requests = limit_or(l->inflight, LIMIT_INFLIGHT_REQUESTS);
    uint32_t total = limit_or(l->inflight_bytes, LIMIT_INFLIGHT_BYTES);

    if (w->prod.n_inflight == 0) {
        return true; /* one is always possible */
    }
    requests = requests > 2 * CONTROL_RESERVE ? requests - CONTROL_RESERVE : (requests + 1) / 2;
    return w->prod.n_inflight < requests && w->prod.inflight_bytes + bytes + 1024 <= total;
}

/* Assigns the sequence and sends. */
static enum pumped send_batch(struct weir *w, struct part *part, struct outbatch *b)
{
    const struct msg_produce m = {.tid = part->topic->tid,
                                  .p = part->p,
                                  .batch = {NULL, b->bb.b.len},
                                  .deliver_at_ms = b->deliver_at_ms};
    struct msg_produce with = m;
    size_t head;
    enum werr rc;

    if (!connection_has_room(w, b->image ? b->image_bytes : b->bb.b.len)) {
        return PUMP_STOP;
    }
    if (!b->has_seq) {
        b->has_seq = true;
        b->base_seq = part->next_seq;
        part->next_seq += b->count;
        part->tid = part->topic->tid;
    }
    rc = make_image(w, part, b);
    if (rc == WERR_OK && b->image_bytes > limit_or(w->conn.limits.batch, LIMIT_BATCH)) {
        rc = WERR_TOO_LARGE;
    }
    if (rc == WERR_NOMEM) {
        handle_timer(w, clock_after_ms(w->now_ns, NOMEM_RETRY_MS));
        return PUMP_STOP;
    }
    if (rc != WERR_OK) {
        weir_error e = err_make(rc, "batch of %zu bytes: %s", b->image_bytes, werr_text(rc));

        if (b->maybe_stored) {
            part->reregister = true; /* its sequence may be taken: nobody else may use it */
            part->recover = true;
        } else {
            part_skip(part, b);
        }
        outbatch_give_up(w, b, &e);
        return PUMP_NEXT;
    }
    with.batch = slice_of(b->image, b->image_bytes);
    b->req = (struct req){.done = outbatch_answered, .arg = w, .deadline_mono_ns = CLOCK_NEVER};
    if (conn_prepare(&w->conn, &b->req) != WERR_OK) {
        return PUMP_STOP;
    }
    buf_clear(&w->prod.head);
    msg_put_produce_head(&w->prod.head, b->req.corr, &with);
    head = w->prod.head.len;
    msg_put_produce_tail(&w->prod.head, &with);
    if (conn_submit_body(&w->conn, &b->req, slice_of(w->prod.head.p, head), with.batch,
                         slice_of(w->prod.head.p + head, w->prod.head.len - head)) != WERR_OK) {
        handle_timer(w, clock_after_ms(w->now_ns, NOMEM_RETRY_MS));
        return PUMP_STOP;
    }
    b->state = BATCH_INFLIGHT;
    part->n_inflight++;
    w->prod.n_inflight++;
    w->prod.inflight_bytes += b->image_bytes;
    part->unsent = TAILQ_NEXT(b, link);
    return PUMP_NEXT;
}

/* Nothing is in flight after a refusal: begin again at the head of the queue. */
static void part_recover(struct part *part)
{
    struct outbatch *b;

    part->recover = false;
    part->unsent = TAILQ_FIRST(&part->q);
    if (!part->renumber) {
        return;
    }
    part->renumber = false;
    part->next_seq = part->renumber_from;
    TAILQ_FOREACH (b, &part->q, link) {
        if (b->has_seq && (int32_t)(b->base_seq - part->renumber_from) >= 0) {
            b->has_seq = false;
            part->reregister = part->reregister || b->maybe_stored; /* can't be; never guess */
        } else if (b->has_seq) {
            part->next_seq = b->base_seq + b->count;
        }
    }
}

/* The broker did not know the topic. True: it is settled and the part may go on. */
static bool topic_settled(struct weir *w, struct part *part)
{
    struct topic *t = part->topic;
    struct outbatch *b;
    weir_error e;

    if (t->state == TOPIC_WANTED || t->state == TOPIC_ASKED) {
        return false;
    }
    part->check_topic = false;
    if (t->valid && t->tid == part->tid && part->p < t->n_parts) {
        return true; /* a passing state of the broker: the hold spaces the attempts */
    }
    if (t->valid && part->p < t->n_parts) {
        /* Deleted and created anew: what may be in the old one is lost from sight. */
        part->registered = false;
        part->reregister = false;
        part->renumber = false;
        part->tid = t->tid;
        e = err_make_as(WERR_UNKNOWN_TOPIC, WEIR_UNKNOWN,
                        "topic %s was deleted before an answer came", t->name);
        for (b = TAILQ_FIRST(&part->q); b;) {
            struct outbatch *next = TAILQ_NEXT(b, link);

            if (b->maybe_stored) {
                outbatch_give_up(w, b, &e);
            } else {
                b->has_seq = false;
            }
            b = next;
        }
        part->unsent = TAILQ_FIRST(&part->q);
        return true;
    }
    e = t->valid ? err_make(WERR_UNKNOWN_TOPIC, "topic %s has no partition %u", t->name, part->p)
                 : err_from(&t->err, t->err_class);
    part->registered = false;
    part->renumber = part->reregister = false;
    while ((b = TAILQ_FIRST(&part->q))) {
        outbatch_give_up(w, b, &e);
    }
    return true;
}

/* True: the part may send now. */
static bool part_may_send(struct weir *w, struct part *part)
{
    if (part->recover) {
        if (part->n_inflight > 0) {
            return false;
        }
        part_recover(part);
    }
    if (part->registered && part->topic->valid && part->tid != part->topic->tid) {
        part->check_topic = true; /* created anew: its sequences begin again */
    }
    if (part->check_topic && (part->n_inflight > 0 || !topic_settled(w, part))) {
        return false;
    }
    if (w->now_ns < part->hold_until_ns) {
        handle_timer(w, part->hold_until_ns);
        return false;
    }
    if (w->opt.producer[0] && w->prod.pid_state != PID_READY && part->registered) {
        return false; /* a new identity of this name would fence what is sent now */
    }
    if (!part->registered || part->reregister) {
        return part->n_inflight == 0 && pid_adopt(w, part);
    }
    return true;
}

static enum pumped part_pump(struct weir *w, struct part *part)
{
    /* Delayed batches are many and small: one per due time. */
    uint32_t in_flight = part->delayed ? LIMIT_PRODUCER_WINDOW : w->opt.in_flight;
    struct outbatch *b;

    if (!part_may_send(w, part)) {
        return PUMP_NEXT;
    }
    while ((b = part->unsent) && part->n_inflight < in_flight && !part->recover) {
        if (b->state == BATCH_OPEN) {
            if (!may_seal(w, b)) {
                break;
            }
            b->state = BATCH_QUEUED;
            part->topic->sticky++;
        }
        if (send_batch(w, part, b) == PUMP_STOP) {
            return PUMP_STOP;
        }
    }
    return PUMP_NEXT;
}

void producer_step(struct weir *w)
{
    struct part *part;

    w->prod.dirty = false;
    pid_step(w);
    while (conn_ready(&w->conn) && (part = TAILQ_FIRST(&w->prod.work))) {
        if (part_pump(w, part) == PUMP_STOP) {
            /* The next turn begins with another part. */
            TAILQ_REMOVE(&w->prod.work, part, work);
            TAILQ_INSERT_TAIL(&w->prod.work, part, work);
            break;
        }
        TAILQ_REMOVE(&w->prod.work, part, work);
        part->on_work = false;
    }
}

bool producer_wants_step(const struct weir *w)
{
    return w->prod.dirty || !TAILQ_EMPTY(&w->prod.reports);
}
