/*
 * Delayed messages against a model: random produces, cancels, clocks, crashes and full disks, with
 * the store stepped in pieces, a page of eight rows, and every outcome checked at the end: what was
 * acknowledged and not cancelled is there once and not early, what was cancelled is not there,
 * nothing at all is there twice, and no row is left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/delay_impl.h"
#include "core_world.h"
#include "tests/lib/test.h"

enum { MAX_BATCHES = 600, MAX_MSGS = 3, SEEDS = 400, EVENTS = 500 };

enum fate { NOT_ASKED, ASKED, CANCELLED, TOLD_DELIVERED };
struct entry {
    struct sent *sent; /* in flight */
    int64_t due_ms;
    unsigned count;
    bool acked, refused; /* neither: nobody knows */
    char id[LIMIT_DELAY_ID];
    enum fate fate[MAX_MSGS];
    unsigned unanswered[MAX_MSGS]; /* cancels that may have worked all the same */
    unsigned seen[MAX_MSGS];
};

struct asking {
    struct asking *next;
    struct model *m;
    struct core_cancel_rq rq;
    unsigned batch[8], msg[8];
    bool over; /* answered */
};

struct model {
    struct world w;
    uint64_t random, tid, pid[2];
    uint32_t seq[2];
    struct entry e[MAX_BATCHES];
    unsigned n;
    struct asking *askings;
    unsigned fired[8]; /* crashes, full, cancelled, delivered, pages cut, beside, lost unanswered */
};

static uint64_t dice(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

static void open_world(struct model *m)
{
    world_open(&m->w);
    m->w.co->delay->max_rows = 8;
    m->w.log[0] = '\0';
}

static void on_produced(struct core_produce *rq)
{
    struct entry *en = rq->arg;

    assert_false(en->acked || en->refused);
    en->acked = rq->err.code == WERR_OK;
    en->refused = rq->err.code == WERR_STORAGE_FULL;
    if (en->acked) {
        memcpy(en->id, rq->ok.delay_id.p, rq->ok.delay_id.n);
        en->id[rq->ok.delay_id.n] = '\0';
    } else if (!en->refused && rq->err.code != WERR_INDETERMINATE &&
               rq->err.code != WERR_SHUTTING_DOWN) {
        fail_msg("%s %s", werr_name(rq->err.code), rq->err.text);
    }
}

static void act_produce(struct model *m, int64_t ahead_ms)
{
    struct world *w = &m->w;
    char text[32];

    if (m->n == MAX_BATCHES) {
        return;
    }
    struct entry *en = &m->e[m->n];
    en->count = 1 + (unsigned)dice(m, MAX_MSGS);
    en->due_ms = w->wall_ms + (int64_t)dice(m, (uint64_t)ahead_ms) - 20;
    en->sent = calloc(1, sizeof *en->sent);
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;
    const struct batch_producer nobody = {0};
    batch_builder_init(&bb, 0);
    for (unsigned i = 0; i < en->count; i++) {
        snprintf(text, sizeof text, "%u.%u", m->n, i);
        assert_int_equal(batch_add(&bb, 1000, (struct slice){0}, slice_str(text), NULL, 0),
                         WERR_OK);
    }
    assert_int_equal(batch_finish(&bb, &nobody, BATCH_CODEC_NONE, &zip, &out), WERR_OK);
    en->sent->blob = blob_copy(out.p, out.n);
    batch_builder_fini(&bb);
    buf_fini(&zip);
    en->sent->rq = (struct core_produce){
        .tid = m->tid,
        .p = (uint32_t)dice(m, 2),
        .batch = {.owner = en->sent->blob, .p = en->sent->blob->p, .n = en->sent->blob->n},
        .deliver_at_ms = en->due_ms,
        .done = on_produced,
        .arg = en};
    m->n++;
    core_produce(w->co, &en->sent->rq);
}

static void on_cancelled(struct core_cancel_rq *rq)
{
    struct asking *a = rq->arg;
    struct model *m = a->m;

    for (size_t i = 0; rq->err.code == WERR_OK && i < rq->n; i++) {
        struct entry *en = &m->e[a->batch[i]];
        enum fate *fate = &en->fate[a->msg[i]];
        en->unanswered[a->msg[i]]--;
        if (rq->status[i] == CANCEL_DONE) {
            assert_true(*fate != TOLD_DELIVERED);
            *fate = CANCELLED;
            m->fired[2]++;
        } else if (rq->status[i] == CANCEL_DELIVERED) {
            assert_true(en->due_ms <= m->w.wall_ms);
            *fate = *fate == CANCELLED ? CANCELLED : TOLD_DELIVERED;
        } else {
            fail_msg("batch %u message %u is unknown", a->batch[i], a->msg[i]);
        }
    }
    free(rq->status);
    a->over = true;
}

static void act_cancel(struct model *m)
{
    struct asking *a = calloc(1, sizeof *a);
    char text[8][LIMIT_DELAY_ID + 8];
    struct slice ids[8];
    const unsigned want = 1 + (unsigned)dice(m, 8);
    unsigned n = 0;

    a->next = m->askings;
    m->askings = a;
    for (unsigned i = 0; m->n > 0 && i < want; i++) {
        /* often the same batch again */
        const unsigned b = n > 0 && dice(m, 2) == 0 ? a->batch[n - 1] : (unsigned)dice(m, m->n);
        if (!m->e[b].acked) {
            continue;
        }
        a->batch[n] = b;
        a->msg[n] = (unsigned)dice(m, m->e[b].count);
        m->e[b].unanswered[a->msg[n]]++;
        if (m->e[b].fate[a->msg[n]] == NOT_ASKED) {
            m->e[b].fate[a->msg[n]] = ASKED;
        }
        snprintf(text[n], sizeof text[n], "%s.%u", m->e[b].id, a->msg[n]);
        ids[n] = slice_str(text[n]);
        n++;
    }
    a->m = m;
    a->rq =
        (struct core_cancel_rq){.tid = m->tid, .ids = ids, .n = n, .done = on_cancelled, .arg = a};
    core_delay_cancel(m->w.co, &a->rq);
}

static void forget(struct model *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (m->e[i].sent != NULL) {
            blob_unref(m->e[i].sent->blob);
            free(m->e[i].sent);
            m->e[i].sent = NULL;
        }
    }
    while (m->askings != NULL) {
        struct asking *a = m->askings;
        m->askings = a->next;
        assert_true(a->over); /* the end of a core answers everybody */
        free(a);
    }
}

static void act_crash(struct model *m)
{
    world_crash(&m->w, (unsigned)dice(m, 3));
    forget(m);
    if (dice(m, 4) == 0) {
        memdisk_forget_tables(m->w.disk);
    }
    m->w.wall_ms += (int64_t)dice(m, 100);
    open_world(m);
    m->fired[0]++;
}

static void pass(struct model *m, int64_t ms)
{
    m->w.wall_ms += ms;
    m->w.mono_ns += ms * 1000000;
    core_tick(m->w.co);
}

static void look_inside(struct model *m)
{
    const struct delay_core *dc = m->w.co->delay;
    const uint8_t *last = NULL;

    assert_true(dc->n <= dc->max_rows + 40); /* rows that a cancel holds */
    for (size_t i = 0; i < dc->n; i++) {
        const struct delayed *d = dc->page[dc->head + i];
        assert_int_equal(d->state, DELAYED_PAGED);
        assert_true(page_covers(dc, d->key));
        assert_true(last == NULL || delay_key_cmp(last, d->key) < 0);
        last = d->key;
    }
    m->fired[4] += !dc->complete;
    m->fired[5] += dc->n_beside > 0;
}

static void act(struct model *m)
{
    struct world *w = &m->w;
    const uint64_t k = dice(m, 100);

    if (k < 3) {
        /* many at once below the page's end: it gets cut, also while it is being read */
        const int64_t ahead_ms = dice(m, 2) == 0 ? 20 : 60;
        for (unsigned i = 0; i < 6; i++) {
            act_produce(m, ahead_ms);
        }
    } else if (k < 28) {
        act_produce(m, 400);
    } else if (k < 40) {
        act_cancel(m);
    } else if (k < 55) {
        core_flush(w->co);
    } else if (k < 65) {
        store_step_write(w->st);
    } else if (k < 75) {
        store_step_sync(w->st);
    } else if (k < 88) {
        store_poll(w->st);
    } else if (k < 97) {
        pass(m, 1 + (int64_t)dice(m, 20));
    } else if (k < 98) {
        act_crash(m);
    } else if (k < 99) {
        store_mem_fault(w->st, &(struct store_fault){.kind = FAULT_APPEND,
                                                     .k = 1 + (unsigned)dice(m, 3),
                                                     .rc = WERR_STORAGE_FULL});
        m->fired[1]++;
    } else {
        store_mem_fault(w->st, &(struct store_fault){.kind = FAULT_READ, .k = 1, .rc = WERR_IO});
    }
    look_inside(m);
}

/* ---------------------------------------------------------------- the end */

static enum werr count_row(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)arg;
    return WERR_OK;
}

static void on_read(struct store_read *r)
{
    *(bool *)r->arg = true;
}

static void count_seen(struct model *m, uint32_t p)
{
    struct werror e;
    const struct part *pt = topic_part(m->w.co, m->tid, p, false, &e);
    bool done = false;
    struct store_read r = {
        .partition = pt->id, .end = pt->hw, .max_bytes = 64 << 20, .fn = on_read, .arg = &done};
    struct batch_head h;
    struct slice run, batch;

    store_read(m->w.st, &r);
    store_step(m->w.st);
    assert_true(done && r.rc == WERR_OK);
    run = r.data != NULL ? slice_of(r.data->p, r.data->n) : (struct slice){0};
    while (batch_next(&run, true, &h, &batch, &e) == WERR_OK) {
        struct buf scratch = {0};
        struct record_iter it;
        struct record rec;
        assert_int_equal(record_open(&it, batch, &h, &scratch, &e), WERR_OK);
        while (record_next(&it, &rec)) {
            unsigned b = 0, i = 0;
            char text[32];
            snprintf(text, sizeof text, "%.*s", (int)rec.value.n, (const char *)rec.value.p);
            assert_int_equal(sscanf(text, "%u.%u", &b, &i), 2);
            m->e[b].seen[i]++;
            assert_true(h.append_ms >= m->e[b].due_ms); /* not early */
            m->fired[3]++;
        }
        buf_fini(&scratch);
    }
    blob_unref(r.data);
}

static void check(struct model *m)
{
    const struct slice all = {0};
    struct werror e;
    unsigned rows = 0;

    store_mem_fault(m->w.st, &(struct store_fault){.kind = FAULT_APPEND});
    store_mem_fault(m->w.st, &(struct store_fault){.kind = FAULT_READ});
    for (int i = 0; i < 60; i++) {
        world_step(&m->w);
        pass(m, 100);
    }
    world_step(&m->w);
    count_seen(m, 0);
    count_seen(m, 1);
    for (unsigned b = 0; b < m->n; b++) {
        const struct entry *en = &m->e[b];
        for (unsigned i = 0; i < en->count; i++) {
            const unsigned n = en->seen[i];
            const bool must =
                en->acked && (en->fate[i] == NOT_ASKED ||
                              (en->fate[i] == TOLD_DELIVERED && en->unanswered[i] == 0));
            if (n > 1 || (must && n == 0) || (en->fate[i] == CANCELLED && n > 0) ||
                (en->refused && n > 0)) {
                fail_msg("batch %u message %u: seen %u times, acked %d refused %d fate %d", b, i, n,
                         en->acked, en->refused, (int)en->fate[i]);
            }
        }
    }
    assert_int_equal(store_scan(m->w.st, TABLE_DELAY, all, all, count_row, &rows, &e), WERR_OK);
    assert_int_equal(rows, 0);
    assert_int_equal(m->w.co->gstats.delayed_pending, 0);
    assert_int_equal(m->w.co->delay->leaving, 0);
}

static void run(uint64_t seed, unsigned fired[8])
{
    struct model *m = calloc(1, sizeof *m);

    m->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world_init(&m->w);
    open_world(m);
    m->tid = world_topic(&m->w, "t", "partitions", "2", NULL);
    for (int i = 0; i < EVENTS; i++) {
        act(m);
    }
    check(m);
    world_close(&m->w);
    forget(m);
    world_fini(&m->w);
    for (int i = 0; i < 8; i++) {
        fired[i] += m->fired[i];
    }
    free(m);
}

static void test_random(void **state)
{
    const char *one = getenv("SEED");
    unsigned fired[8] = {0};
    (void)state;
    for (uint64_t seed = 1; one == NULL && seed <= SEEDS; seed++) {
        run(seed, fired);
    }
    if (one != NULL) {
        run(strtoull(one, NULL, 10), fired);
        return;
    }
    print_message("crashes %u, full disks %u, cancelled %u, delivered %u, page cut %u, beside %u\n",
                  fired[0], fired[1], fired[2], fired[3], fired[4], fired[5]);
    for (int i = 0; i < 6; i++) {
        assert_true(fired[i] > 0); /* else nothing was tested */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
