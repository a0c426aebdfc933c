/*
 * Moving dead letters: the copy is appended and the message settled in one txn.
 *
 * Happy path: the queue hands a letter over (dlq_add), it waits in the lane of its gpart; the pump
 * takes lanes of all groups in turn, reads the batch, appends the copy to the open flight and tells
 * the queue to settle the message in the same one. The flight's completion ends the letter.
 *
 * What can fail: the topic of dead letters is not there yet (it is made first) or cannot be made,
 * the disk is full: the lane tries again after a second. A flight that failed gives its letters
 * back to their place in the lane. An original that cannot be read goes as a record that says so.
 * Nothing is kept on disk here: the queue's row of a dead message brings it again after a restart,
 * until the row goes in the txn that brings the copy.
 *
 * Who owns what: dlq_core owns sources (groups) and lanes (gparts); a lane owns its waiting
 * letters; a letter in a flight belongs to the flight's waiter. Groups are looked up by name every
 * time, because they may go at any moment.
 */
#include "broker/core/dlq_impl.h"

#include "broker/core/mem.h"
#include "broker/core/queue_impl.h"
#include "proto/killpoint.h"

enum {
    MAX_READING = 16,   /* lanes that read at a time */
    STEP_LETTERS = 256, /* of one lane in its turn */
    RUN_LETTERS = 4096, /* of one run of the pump, and its steps */
    RUN_STEPS = 1024,
    READ_BYTES = 256 << 10, /* asked for; more than one letter is often in it */
    READ_TRIES = 5,
    AGAIN_MS = 1000,
    BUSY_MS = 10, /* too much is in flight */
};
static const uint64_t DLQ_RETENTION_MS = UINT64_C(14) * 24 * 3600 * 1000;
static const int64_t MS_NS = 1000000;

struct letter {
    struct waiter w; /* while its copy is in a flight */
    TAILQ_ENTRY(letter) link;
    struct lane *lane;
    struct dead_letter *d;
    uint64_t seq;   /* order in the lane */
    unsigned tries; /* reads that failed for a reason that may go away */
};
TAILQ_HEAD(letters, letter);
TAILQ_HEAD(lane_queue, lane);

struct lane {
    UT_hash_handle hh;
    struct {
        uint64_t gid;
        uint64_t part_id;
    } key;
    struct dlq_core *dl;
    struct source *src;
    TAILQ_ENTRY(lane) link; /* in src->ready */
    struct letters waiting;
    unsigned moving; /* letters in flights */
    bool ready;
    bool reading, making; /* waits for the store, for its topic */
    bool told;            /* that it cannot go on */
    struct timer again;
    struct part_read read;
    struct core_topic_rq topic_rq;
};

struct source {
    UT_hash_handle hh;
    uint64_t gid;
    TAILQ_ENTRY(source) link; /* in dl->turn while it has a ready lane */
    struct lane_queue ready;
    unsigned lanes;
    uint8_t name_n;
    char name[LIMIT_NAME];
};

static void pump(struct timer *t);
static void lane_again(struct timer *t);

/* ---------------------------------------------------------------- life */

struct dlq_core *dlq_get(struct core *co)
{
    if (co->dlq == NULL) {
        co->dlq = core_calloc(1, sizeof *co->dlq);
        co->dlq->co = co;
        co->dlq->pump.fire = pump;
        TAILQ_INIT(&co->dlq->turn);
        TAILQ_INIT(&co->dlq->moves);
    }
    return co->dlq;
}

static void pump_in(struct dlq_core *dl, int64_t ms)
{
    const int64_t due_ns = core_mono_ns(dl->co) + ms * MS_NS;

    if (!timer_is_set(&dl->pump) || dl->pump.due_mono_ns > due_ns) {
        timer_set(&dl->co->timers, &dl->pump, due_ns);
    }
}

static struct source *source_get(struct dlq_core *dl, const struct core_group *g)
{
    struct source *s = NULL;

    HASH_FIND(hh, dl->sources, &g->gid, sizeof g->gid, s);
    if (s == NULL) {
        s = core_calloc(1, sizeof *s);
        s->gid = g->gid;
        s->name_n = g->name_n;
        memcpy(s->name, g->name, g->name_n);
        TAILQ_INIT(&s->ready);
        HASH_ADD(hh, dl->sources, gid, sizeof s->gid, s);
    }
    return s;
}

static struct lane *lane_get(struct dlq_core *dl, const struct gpart *gp)
{
    struct lane *l = NULL, probe = {.key = {.gid = gp->group->gid, .part_id = gp->part_id}};

    HASH_FIND(hh, dl->lanes, &probe.key, sizeof probe.key, l);
    if (l == NULL) {
        l = core_calloc(1, sizeof *l);
        l->key = probe.key;
        l->dl = dl;
        l->src = source_get(dl, gp->group);
        l->src->lanes++;
        l->again.fire = lane_again;
        TAILQ_INIT(&l->waiting);
        HASH_ADD(hh, dl->lanes, key, sizeof l->key, l);
    }
    return l;
}

static void lane_unready(struct lane *l)
{
    if (l->ready) {
        l->ready = false;
        TAILQ_REMOVE(&l->src->ready, l, link);
        if (TAILQ_EMPTY(&l->src->ready)) {
            TAILQ_REMOVE(&l->dl->turn, l->src, link);
        }
    }
}

static void letter_free(struct letter *lt)
{
    free(lt->d);
    free(lt);
}

static void lane_free(struct lane *l)
{
    struct dlq_core *dl = l->dl;
    struct letter *lt;

    lane_unready(l);
    timer_unset(&dl->co->timers, &l->again);
    while ((lt = TAILQ_FIRST(&l->waiting)) != NULL) {
        TAILQ_REMOVE(&l->waiting, lt, link);
        letter_free(lt);
    }
    HASH_DEL(dl->lanes, l);
    if (--l->src->lanes == 0) {
        HASH_DEL(dl->sources, l->src);
        free(l->src);
    }
    free(l);
}

static void lane_free_if_idle(struct lane *l)
{
    if (TAILQ_EMPTY(&l->waiting) && l->moving == 0 && !l->reading && !l->making) {
        lane_free(l);
    }
}

/* Its turn comes when it has work and nothing that it waits for. */
static void lane_ready(struct lane *l)
{
    if (l->ready || l->reading || l->making || timer_is_set(&l->again) ||
        TAILQ_EMPTY(&l->waiting)) {
        return;
    }
    if (TAILQ_EMPTY(&l->src->ready)) {
        TAILQ_INSERT_TAIL(&l->dl->turn, l->src, link);
    }
    l->ready = true;
    TAILQ_INSERT_TAIL(&l->src->ready, l, link);
    pump_in(l->dl, 0);
}

static void lane_again(struct timer *t)
{
    struct lane *l = (struct lane *)(void *)((char *)t - offsetof(struct lane, again));

    lane_ready(l);
    lane_free_if_idle(l);
}

/* Not now: in a second. */
static void lane_park(struct lane *l, const struct werror *why)
{
    if (!l->told) {
        l->told = true;
        core_log(l->dl->co, 1, "dlq_waits", "group=%.*s partition_id=%llu code=%s text=\"%s\"",
                 (int)l->src->name_n, l->src->name, (unsigned long long)l->key.part_id,
                 werr_name(why->code), why->text);
    }
    lane_unready(l);
    timer_set(&l->dl->co->timers, &l->again, core_mono_ns(l->dl->co) + AGAIN_MS * MS_NS);
}

/* The gpart of a lane as it is now; NULL: it went, and its dead letters with it. */
static struct gpart *lane_gpart(const struct lane *l)
{
    struct core_group *g = group_find(l->dl->co, slice_of(l->src->name, l->src->name_n));
    struct gpart *gp =
        g != NULL && g->gid == l->key.gid ? gpart_find(g, (uint32_t)l->key.part_id) : NULL;

    return gp != NULL && !gp->gone && gp->part != NULL ? gp : NULL;
}

/* ---------------------------------------------------------------- one letter */

/* The next letter; those of messages that a seek gave back to the group are forgotten. */
static struct letter *lane_first(struct lane *l, struct gpart *gp)
{
    struct letter *lt;

    while ((lt = TAILQ_FIRST(&l->waiting)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): each one is unlinked below */
        const struct retry *r = retry_find(gp->q, lt->d->offset);
        if (r != NULL && r->state == RETRY_DEAD) {
            break;
        }
        TAILQ_REMOVE(&l->waiting, lt, link);
        letter_free(lt);
    }
    return lt;
}

static void on_moved(struct waiter *w, enum werr rc, const struct werror *e)
{
    struct letter *lt = (struct letter *)(void *)w, *after;
    struct lane *l = lt->lane;
    struct core *co = l->dl->co;

    l->moving--;
    if (rc == WERR_STORAGE_FULL && !co->closing) {
        after = TAILQ_FIRST(&l->waiting);
        while (after != NULL && after->seq < lt->seq) {
            after = TAILQ_NEXT(after, link);
        }
        if (after != NULL) {
            TAILQ_INSERT_BEFORE(after, lt, link);
        } else {
            TAILQ_INSERT_TAIL(&l->waiting, lt, link);
        }
        if (!timer_is_set(&l->again)) {
            const struct werror full = {.code = WERR_STORAGE_FULL};
            lane_park(l, e != NULL ? e : &full);
        }
        return;
    }
    if (rc == WERR_OK) {
        WEIR_KILLPOINT(dead_durable);
        co->gstats.dlq_moved++;
        l->told = false;
    }
    letter_free(lt);
    lane_free_if_idle(l);
}

/* Copy and settlement go into the open flight. rec NULL: it is lost, for the reason given. */
static void letter_move(struct letter *lt, struct gpart *gp, struct part *to,
                        const struct dlq_copy *c)
{
    struct lane *l = lt->lane;
    struct core *co = l->dl->co;
    struct blob *b = dlq_copy(c);

    if (b == NULL && c->rec != NULL) {
        struct dlq_copy lost = *c;
        lost.rec = NULL;
        lost.lost = "the record fits into no batch";
        b = dlq_copy(&lost);
    }
    if (b == NULL) {
        abort(); /* a small one: no memory at all */
    }
    TAILQ_REMOVE(&l->waiting, lt, link);
    l->moving++;
    l->dl->run_letters++;
    (void)flight_append(co, to, b);
    queue_dead_moved(gp, lt->d->offset);
    WEIR_KILLPOINT(dead_copied);
    lt->w.run = on_moved;
    flight_wait(co, &lt->w);
}

static struct dlq_copy copy_of(const struct letter *lt, const struct gpart *gp)
{
    const struct core_topic *t = gp->part->topic;

    return (struct dlq_copy){.topic = slice_of(t->name, t->name_n),
                             .group = slice_of(gp->group->name, gp->group->name_n),
                             .p = gp->part->p,
                             .letter = lt->d};
}

static void letter_lost(struct letter *lt, struct gpart *gp, struct part *to, const char *why)
{
    struct dlq_copy c = copy_of(lt, gp);

    core_log(lt->lane->dl->co, 0, "dlq_original_lost",
             "group=%.*s topic=%.*s partition=%u offset=%llu reason=\"%s\"", (int)c.group.n,
             (const char *)c.group.p, (int)c.topic.n, (const char *)c.topic.p, c.p,
             (unsigned long long)lt->d->offset, why);
    c.lost = why;
    c.ts_ms = lt->d->first_ms;
    letter_move(lt, gp, to, &c);
}

/* ---------------------------------------------------------------- a lane's turn */

/* Moves the letters whose messages are in this batch, in the lane's order. */
static unsigned lane_batch(struct lane *l, struct gpart *gp, struct part *to, struct slice batch,
                           const struct batch_head *h, unsigned limit)
{
    struct letter *lt = lane_first(l, gp);
    uint64_t offset = h->base_offset;
    struct buf scratch = {0};
    struct record_iter it;
    struct record rec;
    unsigned n = 0;

    if (record_open(&it, batch, h, &scratch, NULL) != WERR_OK) {
        goto out;
    }
    for (; lt != NULL && lt->d->offset >= offset && n < limit && record_next(&it, &rec); offset++) {
        if (lt->d->offset != offset) {
            continue;
        }
        struct dlq_copy c = copy_of(lt, gp);
        c.rec = &rec;
        c.ts_ms = h->base_ts_ms + rec.ts_delta_ms;
        c.zip = h->codec == BATCH_CODEC_ZSTD;
        letter_move(lt, gp, to, &c);
        n++;
        lt = lane_first(l, gp);
    }
out:
    buf_fini(&scratch);
    return n;
}

/* Moves what the data holds, at least the first letter: as lost, if it must be. */
static void lane_copy(struct lane *l, struct gpart *gp, struct part *to, struct slice run)
{
    struct batch_head h;
    struct slice batch;
    struct letter *lt;
    struct werror e = {0};
    unsigned n = 0;

    while (n < STEP_LETTERS && (lt = lane_first(l, gp)) != NULL) {
        if (n > 0 && !core_accepts_produce(l->dl->co)) {
            break;
        }
        e = (struct werror){0};
        if (batch_next(&run, true, &h, &batch, &e) != WERR_OK || lt->d->offset < h.base_offset) {
            break;
        }
        if (lt->d->offset - h.base_offset < h.count) {
            const unsigned got = lane_batch(l, gp, to, batch, &h, STEP_LETTERS - n);
            n += got;
            if (got == 0) {
                break;
            }
        }
    }
    if (n == 0 && (lt = lane_first(l, gp)) != NULL) {
        letter_lost(lt, gp, to, e.code == WERR_CORRUPT ? e.text : "not found in its batch");
    }
}

/* Why nothing can be appended now. */
static enum werr room(struct core *co, struct werror *e)
{
    if (co->settling || (co->flight == NULL && store_state(co->st) == STORE_FULL)) {
        const struct werror *why = store_state_reason(co->st);
        return werror_set(e, WERR_STORAGE_FULL, "%s",
                          why != NULL && why->text[0] != '\0' ? why->text
                                                              : werr_text(WERR_STORAGE_FULL));
    }
    return WERR_OK;
}

/* Where the lane's letters go; NULL: not there yet, *name says what to make. */
static struct part *lane_target(const struct lane *l, const struct gpart *gp,
                                char name[LIMIT_TOPIC_NAME + 1])
{
    const struct core_topic *t = gp->part->topic;
    const size_t n =
        dlq_name(name, slice_of(t->name, t->name_n), slice_of(gp->group->name, gp->group->name_n));
    struct core_topic *to = core_topic_by_name(l->dl->co, slice_of(name, n));

    return to != NULL && to->n_parts > 0 ? to->parts[0] : NULL;
}

static void on_read(struct part_read *r)
{
    struct lane *l = r->arg;
    char name[LIMIT_TOPIC_NAME + 1];
    struct gpart *gp = lane_gpart(l);
    struct letter *lt = gp != NULL ? lane_first(l, gp) : NULL;
    struct core *co = l->dl->co;
    struct werror e;

    l->reading = false;
    l->dl->reading--;
    struct part *to = gp != NULL ? lane_target(l, gp, name) : NULL;
    const bool same = lt != NULL && lt->d->offset == r->offset; /* else it reads again */
    if (same && to != NULL && !co->closing && !co->draining) {
        if (room(co, &e) != WERR_OK) {
            lane_park(l, &e);
        } else if (r->err.code == WERR_OK && r->data.n > 0) {
            lane_copy(l, gp, to, slice_of(r->data.p, r->data.n));
        } else if (r->err.code == WERR_IO && ++lt->tries < READ_TRIES) {
            lane_park(l, &r->err);
        } else if (r->err.code != WERR_CLOSED) {
            letter_lost(lt, gp, to,
                        r->err.code != WERR_OK ? r->err.text : "nothing is stored there");
        }
    }
    blob_unref(r->data.owner);
    r->data = (struct bytes){0};
    lane_ready(l); /* the pump clears up after groups that went */
    if (!TAILQ_EMPTY(&l->dl->turn)) {
        pump_in(l->dl, 0);
    }
    lane_free_if_idle(l);
}

static void on_made(struct core_topic_rq *rq)
{
    struct lane *l = rq->arg;

    l->making = false;
    if (l->dl->co->closing) {
        return; /* dlq_fini frees it */
    }
    if (rq->err.code == WERR_OK || rq->err.code == WERR_EXISTS) {
        lane_ready(l);
    } else {
        lane_park(l, &rq->err);
    }
}

static void lane_make(struct lane *l, const char *name)
{
    l->making = true;
    l->topic_rq = (struct core_topic_rq){
        .verb = CORE_TOPIC_CREATE,
        .name = slice_str(name),
        .internal = true,
        .conf = {.set = TKEY_PARTITIONS | TKEY_RETENTION_MS | TKEY_RETENTION_BYTES |
                        TKEY_DURABILITY | TKEY_MESSAGE_MAX | TKEY_UNREAD,
                 .partitions = 1,
                 .retention_ms = DLQ_RETENTION_MS,
                 .durability = TOPIC_DURABILITY_DISK,
                 .message_max_bytes = LIMIT_MESSAGE_CAP,
                 .unread = TOPIC_UNREAD_DROP}, /* it ends by age, whoever looked at it */
        .done = on_made,
        .arg = l};
    core_topic_change(l->dl->co, &l->topic_rq);
}

static void lane_drop(struct lane *l)
{
    struct letter *lt;

    while ((lt = TAILQ_FIRST(&l->waiting)) != NULL) {
        TAILQ_REMOVE(&l->waiting, lt, link);
        letter_free(lt);
    }
    lane_free_if_idle(l);
}

/* Its turn: a read is started or, from the tail cache, done at once. */
static void lane_step(struct lane *l)
{
    struct core *co = l->dl->co;
    char name[LIMIT_TOPIC_NAME + 1];
    struct gpart *gp = lane_gpart(l);
    struct letter *lt = gp != NULL ? lane_first(l, gp) : NULL;
    struct werror e;

    if (lt == NULL) {
        lane_drop(l);
        return;
    }
    if (lane_target(l, gp, name) == NULL) {
        lane_make(l, name);
        return;
    }
    if (room(co, &e) != WERR_OK) {
        lane_park(l, &e);
        return;
    }
    l->reading = true;
    l->dl->reading++;
    l->read = (struct part_read){.part = gp->part,
                                 .offset = lt->d->offset,
                                 .max_bytes = READ_BYTES,
                                 .fn = on_read,
                                 .arg = l};
    part_read(co, &l->read);
}

static void pump(struct timer *t)
{
    struct dlq_core *dl = (struct dlq_core *)(void *)((char *)t - offsetof(struct dlq_core, pump));
    struct core *co = dl->co;
    struct source *s;

    dl->run_letters = 0;
    for (unsigned steps = 0; (s = TAILQ_FIRST(&dl->turn)) != NULL; steps++) {
        const bool over = steps == RUN_STEPS || dl->run_letters >= RUN_LETTERS;
        if (co->closing || co->draining || co->failed || dl->reading >= MAX_READING) {
            return; /* what is under way, or the next start, goes on */
        }
        if (over || !core_accepts_produce(co)) {
            pump_in(dl, over ? 0 : BUSY_MS);
            return;
        }
        struct lane *l = TAILQ_FIRST(&s->ready);
        /* NOLINTNEXTLINE(clang-analyzer-*): a source that is freed left the turn before */
        lane_unready(l);
        if (!TAILQ_EMPTY(&s->ready)) { /* the next group's turn */
            TAILQ_REMOVE(&dl->turn, s, link);
            TAILQ_INSERT_TAIL(&dl->turn, s, link);
        }
        lane_step(l);
    }
}

/* ---------------------------------------------------------------- what others call */

void dlq_add(struct core *co, struct dead_letter *d)
{
    struct dlq_core *dl = dlq_get(co);
    struct letter *lt;

    if (d->gp == NULL) {
        free(d);
        return;
    }
    lt = core_calloc(1, sizeof *lt);
    lt->d = d;
    lt->seq = dl->next_seq++;
    lt->lane = lane_get(dl, d->gp);
    TAILQ_INSERT_TAIL(&lt->lane->waiting, lt, link);
    lane_ready(lt->lane);
}

/* After the jobs ran: nothing of it is in a flight any more. */
void dlq_fini(struct core *co)
{
    struct dlq_core *dl = co->dlq;

    if (dl == NULL) {
        return;
    }
    dlq_moves_fini(dl);
    while (dl->lanes != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): each one unlinks itself */
        if (dl->lanes->reading) {
            part_read_cancel(&dl->lanes->read);
        }
        lane_free(dl->lanes);
    }
    timer_unset(&co->timers, &dl->pump);
    free(dl);
    co->dlq = NULL;
}
