/*
 * The producer's identity (INIT_PRODUCER). Asked for when the first batch wants out. Parts take the
 * current identity when they begin and when the broker wants them to register anew; parts of an
 * unnamed producer may live on with an older one, since it stays valid. A named producer has one
 * identity at a time: before it asks for a new one nothing may be in flight, and the answer says
 * for each partition what is stored, so that nothing needs guessing.
 */
#include <stdlib.h>

#include "client/handle.h"

enum { PID_RETRY_MS = 50, MAX_POSITIONS = 1 << 20 };

void pid_want(struct weir *w)
{
    if (w->prod.pid_state == PID_NONE || w->prod.pid_state == PID_READY) {
        /* A server that wants it anew each time is not asked without a pause. */
        w->prod.pid_retry_ns =
            w->prod.pid_state == PID_READY ? clock_after_ms(w->prod.pid_ready_ns, PID_RETRY_MS) : 0;
        w->prod.pid_state = PID_WANTED;
        w->prod.pid_tries = 0;
    }
}

const struct msg_producer_pos *pid_position(const struct producer *p, uint64_t tid, uint32_t part)
{
    for (size_t i = 0; i < p->n_positions; i++) {
        if (p->positions[i].tid == tid && p->positions[i].p == part) {
            return &p->positions[i];
        }
    }
    return NULL;
}

/* Reads the answer; nothing is taken over unless all of it is good. */
static enum werr take_answer(struct producer *p, const struct answer *a, struct werror *e)
{
    struct mpread cur = a->result;
    struct msg_producer_pos *pos = NULL, one;
    size_t n = 0, cap = 0, have = 0;
    uint64_t pid;
    uint32_t epoch;
    enum werr rc = msg_get_init_producer_ok(&cur, &pid, &epoch, &n, e);

    if (rc == WERR_OK && (epoch > UINT16_MAX || pid == 0 || n > MAX_POSITIONS)) {
        rc = werror_set(e, WERR_MALFORMED, "producer id out of range");
    }
    while (rc == WERR_OK && have < n) {
        rc = msg_get_producer_pos(&cur, &one, e);
        if (rc == WERR_OK && have == cap) { /* grows as elements come, not as claimed */
            struct msg_producer_pos *grown;

            cap = cap ? cap * 2 : 16;
            grown = realloc(pos, cap * sizeof *pos);
            if (!grown) {
                rc = werror_set(e, WERR_NOMEM, "out of memory");
                break;
            }
            pos = grown;
        }
        if (rc == WERR_OK) {
            pos[have++] = one;
        }
    }
    if (rc != WERR_OK) {
        free(pos);
        return rc;
    }
    free(p->positions);
    p->positions = pos;
    p->n_positions = have;
    p->pid = pid;
    p->epoch = (uint16_t)epoch;
    p->pid_generation++;
    p->pid_state = PID_READY;
    return WERR_OK;
}

static void on_answer(struct req *r, const struct answer *a)
{
    struct weir *w = r->arg;
    struct producer *p = &w->prod;
    struct werror e = a->err;
    enum werr_class cls = a->cls;
    struct part *part;
    weir_error fatal;

    if (e.code == WERR_CLOSED) {
        return;
    }
    p->pid_state = PID_WANTED;
    if (e.code == WERR_OK && take_answer(p, a, &e) != WERR_OK) {
        werror_wrap(&e, "the server broke the protocol: init_producer");
        conn_break(&w->conn, w->now_ns, &e);
        return;
    }
    if (e.code == WERR_OK) {
        p->pid_ready_ns = w->now_ns;
        TAILQ_FOREACH (part, &p->all, all) {
            part->registered = part->registered && !w->opt.producer[0];
            part_work(w, part);
        }
        return;
    }
    if (cls == WCLASS_NEVER || cls == WCLASS_FENCED) {
        p->pid_state = PID_NONE; /* asking again would get the same answer, at once, for ever */
        fatal = err_from(&e, cls);
        err_wrap(&fatal, "registering the producer");
        producer_fail(w, &fatal);
        return;
    }
    p->pid_retry_ns =
        clock_after_ms(w->now_ns, e.retry_after_ms ? e.retry_after_ms
                                                   : (uint32_t)PID_RETRY_MS
                                                         << (p->pid_tries < 5 ? p->pid_tries : 5));
    p->pid_tries++;
}

void pid_step(struct weir *w)
{
    struct producer *p = &w->prod;
    const struct msg_init_producer m = {slice_str(w->opt.producer)};

    if (p->pid_state != PID_WANTED || !conn_ready(&w->conn) || p->pid_req.state != REQ_FREE ||
        (w->opt.producer[0] && p->n_inflight > 0)) {
        return;
    }
    if (w->now_ns < p->pid_retry_ns) {
        handle_timer(w, p->pid_retry_ns);
        return;
    }
    p->pid_req.done = on_answer;
    p->pid_req.arg = w;
    p->pid_req.repeat = true;
    p->pid_req.deadline_mono_ns = CLOCK_NEVER;
    buf_clear(&p->pid_req.frame);
    if (conn_prepare(&w->conn, &p->pid_req) != WERR_OK) {
        return;
    }
    msg_put_init_producer(&p->pid_req.frame, p->pid_req.corr, &m);
    if (conn_submit(&w->conn, &p->pid_req) == WERR_OK) {
        p->pid_state = PID_ASKED;
    } else {
        p->pid_retry_ns = clock_after_ms(w->now_ns, PID_RETRY_MS);
        handle_timer(w, p->pid_retry_ns);
    }
}

bool pid_adopt(struct weir *w, struct part *part)
{
    struct producer *p = &w->prod;
    const struct msg_producer_pos *pos;
    struct outbatch *b, *next;
    weir_error unknown, dup = err_done();

    if (p->pid_state != PID_READY ||
        (part->reregister && part->pid_generation == p->pid_generation)) {
        pid_want(w);
        pid_step(w);
        return false;
    }
    unknown = err_make_as(WERR_REREGISTER, WEIR_UNKNOWN,
                          "the producer had to register anew before an answer came");
    dup.duplicate = 1;
    pos = w->opt.producer[0] && !part->delayed ? pid_position(p, part->topic->tid, part->p) : NULL;
    for (b = TAILQ_FIRST(&part->q); b; b = next) {
        uint32_t last = b->base_seq + b->count - 1;

        next = TAILQ_NEXT(b, link);
        if (b->has_seq && pos && (int32_t)(pos->last_seq - last) >= 0) {
            outbatch_report(w, b, false, &dup,
                            pos->last_seq == last ? (int64_t)pos->last_offset - b->count + 1 : -1,
                            0);
            outbatch_drop(w, b);
        } else if (b->maybe_stored && (!w->opt.producer[0] || part->delayed)) {
            outbatch_give_up(w, b, &unknown);
        } else {
            b->has_seq = b->maybe_stored = false;
        }
    }
    part->unsent = TAILQ_FIRST(&part->q);
    part->registered = true;
    part->tid = part->topic->tid;
    part->reregister = part->recover = part->renumber = false;
    part->pid = p->pid;
    part->epoch = p->epoch;
    part->pid_generation = p->pid_generation;
    part->next_seq = pos ? pos->last_seq + 1 : 0;
    return part->unsent != NULL;
}
