/* Delayed messages: kept, invisible, delivered once and in order, cancelled, listed; over crashes,
 * a full disk, and any interleaving of flights and readings of the page. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/delay_impl.h"
#include "broker/core/moved.h"
#include "core_world.h"
#include "tests/lib/test.h"

/* ---------------------------------------------------------------- helpers */

static void produce_done(struct core_produce *rq)
{
    ((struct sent *)rq->arg)->done++;
}

static struct sent *send_at(struct world *w, uint64_t tid, uint32_t p, struct blob *batch,
                            int64_t at_ms)
{
    struct sent *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->blob = batch;
    s->rq = (struct core_produce){.tid = tid,
                                  .p = p,
                                  .batch = {.owner = batch, .p = batch->p, .n = batch->n},
                                  .deliver_at_ms = at_ms,
                                  .done = produce_done,
                                  .arg = s};
    core_produce(w->co, &s->rq);
    return s;
}

/* Sends one batch of `count` messages, steps, expects `want`. Copies the id. */
static void delay_one(struct world *w, uint64_t tid, uint64_t pid, uint32_t seq, unsigned count,
                      const char *text, int64_t at_ms, enum werr want, char id[LIMIT_DELAY_ID])
{
    struct sent *s = send_at(w, tid, 0, world_batch(pid, 0, seq, count, text), at_ms);

    world_step(w);
    if (s->rq.err.code != want) {
        fail_msg("%s %s", werr_name(s->rq.err.code), s->rq.err.text);
    }
    if (want == WERR_OK) {
        assert_false(s->rq.ok.has_offset);
        assert_true(s->rq.ok.delay_id.n > 0 && s->rq.ok.delay_id.n < LIMIT_DELAY_ID);
        if (id != NULL) {
            memcpy(id, s->rq.ok.delay_id.p, s->rq.ok.delay_id.n);
            id[s->rq.ok.delay_id.n] = '\0';
        }
    }
    sent_free(s);
}

/* Values of partition p below the high watermark, joined with spaces; flags of the last batch. */
struct seen {
    char text[1 << 16];
    unsigned messages;
    struct batch_head last;
};

static void on_read(struct store_read *r)
{
    *(bool *)r->arg = true;
}

static void look(struct world *w, uint64_t tid, uint32_t p, struct seen *seen)
{
    struct werror e;
    const struct part *pt = topic_part(w->co, tid, p, false, &e);
    bool done = false;
    struct store_read r = {
        .partition = pt->id, .end = pt->hw, .max_bytes = 64 << 20, .fn = on_read, .arg = &done};
    struct batch_head h;
    struct slice run, batch;
    size_t n = 0;

    memset(seen, 0, sizeof *seen);
    store_read(w->st, &r);
    store_step(w->st);
    assert_true(done);
    assert_int_equal(r.rc, WERR_OK);
    run = r.data != NULL ? slice_of(r.data->p, r.data->n) : (struct slice){0};
    while (batch_next(&run, true, &h, &batch, &e) == WERR_OK) {
        struct buf scratch = {0};
        struct record_iter it;
        struct record rec;
        assert_int_equal(record_open(&it, batch, &h, &scratch, &e), WERR_OK);
        while (record_next(&it, &rec)) {
            assert_true(n + rec.value.n + 2 < sizeof seen->text);
            n += (size_t)snprintf(seen->text + n, sizeof seen->text - n, "%s%.*s", n > 0 ? " " : "",
                                  (int)rec.value.n, (const char *)rec.value.p);
            seen->messages++;
        }
        seen->last = h;
        buf_fini(&scratch);
    }
    blob_unref(r.data);
}

static void expect_log(struct world *w, uint64_t tid, const char *want)
{
    struct seen *seen = malloc(sizeof *seen);

    look(w, tid, 0, seen);
    assert_string_equal(seen->text, want);
    free(seen);
}

static void cancel_done(struct core_cancel_rq *rq)
{
    ++*(int *)rq->arg;
}

/* Cancels message i of a batch; steps. Returns the status. */
static unsigned cancel_one(struct world *w, uint64_t tid, const char *id, int i)
{
    char text[LIMIT_DELAY_ID + 16];
    int done = 0;
    snprintf(text, sizeof text, i < 0 ? "%s" : "%s.%d", id, i);
    const struct slice ids = slice_str(text);
    struct core_cancel_rq rq = {.tid = tid, .ids = &ids, .n = 1, .done = cancel_done, .arg = &done};

    core_delay_cancel(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.err.code, WERR_OK);
    const unsigned status = rq.status[0];
    free(rq.status);
    return status;
}

static void list_done(struct core_delayed_rq *rq)
{
    ++*(int *)rq->arg;
}

static void list(struct world *w, uint64_t tid, const char *after, uint32_t limit,
                 struct core_delayed_rq *rq)
{
    int done = 0;

    *rq = (struct core_delayed_rq){
        .tid = tid, .after = slice_str(after), .limit = limit, .done = list_done, .arg = &done};
    core_delay_list(w->co, rq);
    world_step(w);
    assert_int_equal(done, 1);
}

static enum werr count_row(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)arg;
    return WERR_OK;
}

static unsigned rows_left(struct world *w)
{
    const struct slice all = {0};
    unsigned n = 0;
    struct werror e;

    assert_int_equal(store_scan(w->st, TABLE_DELAY, all, all, count_row, &n, &e), WERR_OK);
    return n;
}

static uint64_t pending(const struct world *w)
{
    return w->co->gstats.delayed_pending;
}

/* ---------------------------------------------------------------- cases */

static void test_limits(void **state)
{
    struct world w;
    char id[LIMIT_DELAY_ID];
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    delay_one(&w, tid, 0, 0, 1, "far", w.wall_ms + LIMIT_DELAY_MS, WERR_OK, id);
    struct sent *s =
        send_at(&w, tid, 0, world_batch(0, 0, 0, 1, "x"), w.wall_ms + LIMIT_DELAY_MS + 1);
    assert_int_equal(s->rq.err.code, WERR_TOO_LARGE);
    assert_non_null(strstr(s->rq.err.text, "31622400001"));
    assert_non_null(strstr(s->rq.err.text, "31622400000"));
    sent_free(s);
    delay_one(&w, tid, 0, 0, 1, "x", -5, WERR_MALFORMED, NULL);
    delay_one(&w, tid + 7, 0, 0, 1, "x", w.wall_ms + 5, WERR_UNKNOWN_TOPIC, NULL);
    s = send_at(&w, tid, 0, blob_copy("nonsense", 8), w.wall_ms + 5);
    assert_int_equal(s->rq.err.code, WERR_CORRUPT_BATCH);
    sent_free(s);
    assert_int_equal(pending(&w), 1);
    /* a time in the past is due at once */
    delay_one(&w, tid, 0, 0, 1, "past", 1, WERR_OK, id);
    world_pass(&w, 1);
    expect_log(&w, tid, "past");
    assert_int_equal(rows_left(&w), 1);
    world_fini(&w);
}

static void test_order(void **state)
{
    struct world w;
    struct seen *seen = malloc(sizeof *seen);
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    const int64_t t0 = w.wall_ms;
    delay_one(&w, tid, 0, 0, 1, "d", t0 + 400, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "b", t0 + 200, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 2, "c", t0 + 200, WERR_OK, NULL); /* a tie: in arrival order */
    delay_one(&w, tid, 0, 0, 1, "a", t0 + 100, WERR_OK, NULL);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_OK);
    assert_int_equal(pending(&w), 5);
    world_pass(&w, 99);
    expect_log(&w, tid, "x");
    world_pass(&w, 1);
    expect_log(&w, tid, "x a");
    world_pass(&w, 99);
    expect_log(&w, tid, "x a");
    world_pass(&w, 201);
    look(&w, tid, 0, seen);
    assert_string_equal(seen->text, "x a b c c d");
    assert_true((seen->last.flags & BATCH_MOVED) != 0);
    assert_int_equal(seen->last.producer_id, 0);
    assert_int_equal(seen->last.append_ms, t0 + 400);
    assert_int_equal(rows_left(&w), 0);
    assert_int_equal(pending(&w), 0);
    assert_int_equal(w.co->gstats.delayed_delivered, 5);
    assert_int_equal(w.co->gstats.late[0], 4);
    /* nothing left to wake up for */
    assert_false(timer_is_set(&w.co->delay->timer));
    free(seen);
    world_fini(&w);
}

static void test_own_sequence(void **state)
{
    struct world w;
    struct core_producer_rq pr;
    char a[LIMIT_DELAY_ID], b[LIMIT_DELAY_ID];
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    const int64_t at = w.wall_ms + 1000;
    world_init_producer(&w, NULL, &pr);
    world_produce(&w, tid, 0, pr.pid, 0, 3, WERR_OK);
    delay_one(&w, tid, pr.pid, 0, 2, "d0", at, WERR_OK, a); /* counts from 0 by itself */
    world_produce(&w, tid, 0, pr.pid, 3, 1, WERR_OK);
    delay_one(&w, tid, pr.pid, 3, 1, "gap", at, WERR_OUT_OF_ORDER_SEQ, NULL);
    delay_one(&w, tid, pr.pid, 2, 1, "d1", at, WERR_OK, NULL);
    for (int i = 0; i < 4; i++) {
        /* again: the same id, nothing new; also after restarts and when it was delivered */
        struct sent *s = send_at(&w, tid, 0, world_batch(pr.pid, 0, 0, 2, "d0"), at);
        world_step(&w);
        assert_int_equal(s->rq.err.code, WERR_OK);
        assert_int_equal(s->rq.ok.flags, PRODUCE_DUPLICATE);
        assert_int_equal(s->rq.ok.level, LEVEL_DISK);
        memcpy(b, s->rq.ok.delay_id.p, s->rq.ok.delay_id.n);
        b[s->rq.ok.delay_id.n] = '\0';
        assert_string_equal(a, b);
        sent_free(s);
        if (i == 0) {
            world_close(&w);
            world_open(&w);
        } else if (i == 1) {
            world_crash(&w, 0);
            world_open(&w);
        } else if (i == 2) {
            world_pass(&w, 1001);
        }
    }
    expect_log(&w, tid, "x x x x d0 d0 d1");
    delay_one(&w, tid, pr.pid, 3, 1, "d2", w.wall_ms, WERR_OK, NULL);
    world_pass(&w, 2);
    expect_log(&w, tid, "x x x x d0 d0 d1 d2");
    world_fini(&w);
}

/* Twins in flight: both are answered with the one that is stored, each with its own text. */
static void test_twin_in_flight(void **state)
{
    struct world w;
    struct core_producer_rq pr;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    world_init_producer(&w, NULL, &pr);
    struct sent *normal = world_send(&w, tid, 0, pr.pid, 0, 0, 1, "x");
    struct sent *s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = send_at(&w, tid, 0, world_batch(pr.pid, 0, 0, 1, "d"), w.wall_ms + 50);
        assert_int_equal(s[i]->done, 0);
    }
    world_step(&w);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s[i]->rq.err.code, WERR_OK);
        assert_int_equal(s[i]->rq.ok.flags, i > 0 ? PRODUCE_DUPLICATE : 0);
        assert_true(slice_eq(s[i]->rq.ok.delay_id, s[0]->rq.ok.delay_id));
        assert_ptr_equal(s[i]->rq.ok.delay_id.p, s[i]->rq.delay_text);
    }
    for (int i = 0; i < 3; i++) {
        sent_free(s[i]);
    }
    assert_true(normal->rq.ok.has_offset);
    sent_free(normal);
    world_pass(&w, 50);
    expect_log(&w, tid, "x d");
    world_fini(&w);
}

static void test_named_producer_begins_again(void **state)
{
    struct world w;
    struct core_producer_rq pr;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    for (unsigned i = 0; i < 3; i++) {
        world_init_producer(&w, "me", &pr);
        assert_int_equal(pr.n_pos, 0); /* delayed batches are no positions */
        struct sent *s =
            send_at(&w, tid, 0, world_batch(pr.pid, pr.epoch, 0, 1, "d"), w.wall_ms + 10);
        world_step(&w);
        assert_int_equal(s->rq.err.code, WERR_OK);
        assert_int_equal(s->rq.ok.flags, 0);
        sent_free(s);
        if (i == 1) {
            world_crash(&w, 0);
            world_open(&w);
        }
    }
    world_pass(&w, 20);
    expect_log(&w, tid, "d d d");
    world_fini(&w);
}

static void test_overdue_after_a_restart(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    delay_one(&w, tid, 0, 0, 1, "c", w.wall_ms + 300, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "a", w.wall_ms + 100, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "b", w.wall_ms + 200, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "later", w.wall_ms + 9000000, WERR_OK, NULL);
    world_crash(&w, 0);
    w.wall_ms += 3600 * 1000; /* nobody was there for an hour */
    world_open(&w);
    assert_int_equal(pending(&w), 4);
    world_pass(&w, 2);
    expect_log(&w, tid, "a b c");
    assert_int_equal(pending(&w), 1);
    assert_int_equal(w.co->gstats.late[CORE_LATE_BUCKETS - 1], 3);
    world_fini(&w);
}

/* A jump of the wall clock delivers nothing early; a small correction is followed. */
static void test_clock(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    delay_one(&w, tid, 0, 0, 1, "a", w.wall_ms + 10000, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "b", w.wall_ms + 40000, WERR_OK, NULL);
    w.wall_ms += 3600 * 1000;
    world_pass(&w, 9999);
    expect_log(&w, tid, "");
    world_pass(&w, 1); /* by the old pace */
    expect_log(&w, tid, "a");
    w.wall_ms -= 3600 * 1000; /* it is back */
    world_pass(&w, 1);
    w.wall_ms += 20000; /* the clock was a little late */
    world_pass(&w, 9998);
    expect_log(&w, tid, "a");
    world_pass(&w, 2);
    expect_log(&w, tid, "a b");
    w.wall_ms -= 7200 * 1000;
    delay_one(&w, tid, 0, 0, 1, "c", core_wall_ms(w.co) + 1000, WERR_OK, NULL);
    world_pass(&w, 1000); /* a jump back delays nothing either */
    expect_log(&w, tid, "a b c");
    world_fini(&w);
}

static void test_cancel(void **state)
{
    struct world w;
    char a[LIMIT_DELAY_ID], b[LIMIT_DELAY_ID], c[LIMIT_DELAY_ID];
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    const int64_t t0 = w.wall_ms;
    delay_one(&w, tid, 0, 0, 1, "a", t0 + 100, WERR_OK, a);
    delay_one(&w, tid, 0, 0, 3, "b", t0 + 200, WERR_OK, b);
    delay_one(&w, tid, 0, 0, 1, "c", t0 + 300, WERR_OK, c);
    assert_int_equal(cancel_one(&w, tid, b, 1), CANCEL_DONE);
    assert_int_equal(cancel_one(&w, tid, b, 1), CANCEL_DONE); /* again: the same */
    assert_int_equal(cancel_one(&w, tid, b, 3), CANCEL_UNKNOWN);
    assert_int_equal(cancel_one(&w, tid, c, 0), CANCEL_DONE);
    assert_int_equal(cancel_one(&w, tid, "nonsense", -1), CANCEL_UNKNOWN);
    assert_int_equal(cancel_one(&w, tid, a, -1), CANCEL_UNKNOWN); /* names no message */
    assert_int_equal(cancel_one(&w, tid, "18bcfe568aa-0-10000000003", 0), CANCEL_UNKNOWN);
    assert_int_equal(cancel_one(&w, tid, "1-0-10000ffffff", 0), CANCEL_UNKNOWN);
    assert_int_equal(cancel_one(&w, tid, "1-9-10000000001", 0), CANCEL_UNKNOWN);
    assert_int_equal(w.co->gstats.delayed_cancelled, 2);
    assert_int_equal(pending(&w), 3);
    world_crash(&w, 0);
    world_open(&w);
    assert_int_equal(pending(&w), 3);
    assert_int_equal(cancel_one(&w, tid, c, 0), CANCEL_DONE); /* also from disk */
    assert_int_equal(cancel_one(&w, tid, b, 1), CANCEL_DONE);
    world_pass(&w, 400);
    expect_log(&w, tid, "a b b");
    assert_int_equal(cancel_one(&w, tid, a, 0), CANCEL_DELIVERED);
    assert_int_equal(cancel_one(&w, tid, b, 0), CANCEL_DELIVERED);
    assert_int_equal(rows_left(&w), 0);
    assert_int_equal(pending(&w), 0);
    world_fini(&w);
}

/* Many ids of one request over rows in the page, behind it, and none. */
static void test_cancel_many(void **state)
{
    struct world w;
    enum { N = 60, MSGS = 4 };
    static char ids[N][LIMIT_DELAY_ID];
    static char text[N * MSGS][LIMIT_DELAY_ID + 8];
    struct slice slices[N * MSGS];
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        int done = 0;
        world_init(&w);
        world_open(&w);
        w.co->delay->max_rows = 8;
        const uint64_t tid = world_topic(&w, "t", NULL);
        for (unsigned i = 0; i < N; i++) {
            delay_one(&w, tid, 0, 0, MSGS, "m", w.wall_ms + 100 + (int64_t)((i * 37) % N), WERR_OK,
                      ids[i]);
        }
        for (unsigned i = 0; i < N * MSGS; i++) {
            snprintf(text[i], sizeof text[i], "%s.%u", ids[i / MSGS], i % MSGS);
            slices[i] = slice_str(text[i]);
        }
        assert_true(w.co->delay->n <= 8 && !w.co->delay->complete);
        /* all but the last of each batch, in two requests at once */
        struct core_cancel_rq rq[2] = {{.tid = tid, .done = cancel_done, .arg = &done},
                                       {.tid = tid, .done = cancel_done, .arg = &done}};
        rq[0].ids = slices;
        rq[0].n = N * MSGS / 2;
        rq[1].ids = slices + N * MSGS / 4;
        rq[1].n = N * MSGS / 2;
        core_delay_cancel(w.co, &rq[0]);
        core_delay_cancel(w.co, &rq[1]);
        for (int i = 0; i < 40; i++) {
            world_step(&w);
        }
        assert_int_equal(done, 2);
        for (size_t i = 0; i < rq[0].n; i++) {
            assert_int_equal(rq[0].status[i], CANCEL_DONE);
            assert_int_equal(rq[1].status[i], CANCEL_DONE);
        }
        free(rq[0].status);
        free(rq[1].status);
        assert_int_equal(w.co->gstats.delayed_cancelled, N * MSGS * 3 / 4);
        assert_int_equal(pending(&w), N * MSGS / 4);
        if (crash > 0) {
            world_crash(&w, 0);
            world_open(&w);
            w.co->delay->max_rows = 8;
        }
        world_pass(&w, 400);
        struct seen *seen = malloc(sizeof *seen);
        look(&w, tid, 0, seen);
        assert_int_equal(seen->messages, N * MSGS / 4);
        free(seen);
        assert_int_equal(rows_left(&w), 0);
        assert_int_equal(pending(&w), 0);
        world_fini(&w);
    }
}

/* A cancel that comes while the flight to the log is under way has lost, one before has won. */
static void test_cancel_races_delivery(void **state)
{
    struct world w;
    char a[LIMIT_DELAY_ID], text[LIMIT_DELAY_ID + 8];
    (void)state;
    for (int early = 0; early < 2; early++) {
        int done = 0;
        world_init(&w);
        world_open(&w);
        const uint64_t tid = world_topic(&w, "t", NULL);
        delay_one(&w, tid, 0, 0, 1, "a", w.wall_ms + 100, WERR_OK, a);
        world_pass(&w, 99);
        snprintf(text, sizeof text, "%s.0", a);
        const struct slice ids = slice_str(text);
        struct core_cancel_rq rq = {
            .tid = tid, .ids = &ids, .n = 1, .done = cancel_done, .arg = &done};
        if (early > 0) {
            core_delay_cancel(w.co, &rq); /* in the open flight, not durable */
        }
        w.mono_ns += 1000000;
        w.wall_ms++;
        core_tick(w.co); /* due: submitted, not durable */
        if (early == 0) {
            core_delay_cancel(w.co, &rq);
        }
        assert_int_equal(done, 0); /* the answer waits for what it tells */
        world_step(&w);
        assert_int_equal(done, 1);
        assert_int_equal(rq.err.code, WERR_OK);
        assert_int_equal(rq.status[0], early ? CANCEL_DONE : CANCEL_DELIVERED);
        free(rq.status);
        world_pass(&w, 10);
        expect_log(&w, tid, early ? "" : "a");
        assert_int_equal(rows_left(&w), 0);
        world_fini(&w);
    }
}

static void test_list(void **state)
{
    struct world w;
    struct core_delayed_rq rq;
    char id[LIMIT_DELAY_ID], after[LIMIT_DELAY_ID + 1] = "";
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "partitions", "3", NULL);
    const uint64_t other = world_topic(&w, "o", NULL);
    const int64_t t0 = w.wall_ms;
    for (unsigned i = 0; i < 25; i++) {
        struct sent *s =
            send_at(&w, tid, i % 3, world_batch(0, 0, 0, 1 + i % 2, "m"), t0 + 1000 - (int64_t)i);
        world_step(&w);
        assert_int_equal(s->rq.err.code, WERR_OK);
        sent_free(s);
        delay_one(&w, other, 0, 0, 1, "o", t0 + 1000 - (int64_t)i, WERR_OK, id);
    }
    unsigned n = 0;
    for (bool more = true; more; n += (unsigned)rq.n) {
        list(&w, tid, after, 10, &rq);
        assert_int_equal(rq.err.code, WERR_OK);
        for (size_t i = 0; i < rq.n; i++) {
            const unsigned k = 24 - n - (unsigned)i;
            assert_int_equal(rq.items[i].due_ms, t0 + 1000 - (int64_t)k);
            assert_int_equal(rq.items[i].p, k % 3);
            assert_int_equal(rq.items[i].count, 1 + k % 2);
            snprintf(after, sizeof after, "%.*s", (int)rq.items[i].id.n,
                     (const char *)rq.items[i].id.p);
        }
        more = rq.more;
        free(rq.items);
        free(rq.text);
    }
    assert_int_equal(n, 25);
    /* what was cancelled whole is not shown */
    assert_int_equal(cancel_one(&w, other, id, 0), CANCEL_DONE);
    list(&w, other, "", 0, &rq);
    assert_int_equal(rq.n, 24);
    assert_false(rq.more);
    free(rq.items);
    free(rq.text);
    list(&w, other, "what", 0, &rq);
    assert_int_equal(rq.err.code, WERR_MALFORMED);
    list(&w, 99, "", 0, &rq);
    assert_int_equal(rq.err.code, WERR_UNKNOWN_TOPIC);
    world_fini(&w);
}

static void test_topic_deleted(void **state)
{
    struct world w;
    struct core_producer_rq pr;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t a = world_topic(&w, "a", NULL), b = world_topic(&w, "b", NULL);
    world_init_producer(&w, NULL, &pr);
    delay_one(&w, a, pr.pid, 0, 1, "a", w.wall_ms + 100, WERR_OK, NULL);
    delay_one(&w, b, 0, 0, 1, "b", w.wall_ms + 100, WERR_OK, NULL);
    world_change(&w, CORE_TOPIC_DELETE, "a", NULL, WERR_OK, NULL);
    world_pass(&w, 200);
    expect_log(&w, b, "b");
    assert_int_equal(rows_left(&w), 0);
    assert_int_equal(pending(&w), 0);
    assert_int_equal(w.co->gstats.delayed_delivered, 1);
    /* nothing is left of the producer either */
    unsigned n = 0;
    struct werror e;
    const struct meta_key lo = meta_key(META_WINDOW), hi = meta_key_after(&lo);
    assert_int_equal(
        store_scan(w.st, TABLE_META, key_slice(&lo), key_slice(&hi), count_row, &n, &e), WERR_OK);
    assert_int_equal(n, 0);
    world_fini(&w);
}

/* A full disk: what was due comes again after a second, once; a new one is refused. */
static void test_full(void **state)
{
    struct world w;
    char a[LIMIT_DELAY_ID];
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    delay_one(&w, tid, 0, 0, 1, "a", w.wall_ms + 100, WERR_OK, a);
    delay_one(&w, tid, 0, 0, 1, "b", w.wall_ms + 101, WERR_OK, NULL);
    store_mem_fault(w.st,
                    &(struct store_fault){
                        .kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL, .sticky = true});
    world_pass(&w, 500);
    expect_log(&w, tid, "");
    assert_int_equal(pending(&w), 2);
    delay_one(&w, tid, 0, 0, 1, "c", w.wall_ms + 1, WERR_STORAGE_FULL, NULL);
    assert_int_equal(pending(&w), 2);
    store_mem_fault(w.st, &(struct store_fault){.kind = FAULT_APPEND});
    world_pass(&w, 5000);
    expect_log(&w, tid, "a b");
    assert_int_equal(rows_left(&w), 0);
    assert_int_equal(pending(&w), 0);
    world_fini(&w);
}

/* durability = os: answered when written; a cancel that comes before it is on disk waits. */
static void test_os(void **state)
{
    struct world w;
    char text[LIMIT_DELAY_ID + 8];
    int done = 0;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", "durability", "os", NULL);
    struct sent *s[2];
    for (int i = 0; i < 2; i++) {
        s[i] = send_at(&w, tid, 0, world_batch(0, 0, 0, 1, i ? "b" : "a"), w.wall_ms + 10);
    }
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(s[i]->done, 1);
        assert_int_equal(s[i]->rq.ok.level, LEVEL_WRITTEN);
    }
    snprintf(text, sizeof text, "%s.0", s[0]->rq.delay_text);
    const struct slice ids = slice_str(text);
    struct core_cancel_rq rq = {.tid = tid, .ids = &ids, .n = 1, .done = cancel_done, .arg = &done};
    core_delay_cancel(w.co, &rq);
    assert_int_equal(done, 0);
    world_step(&w);
    assert_int_equal(done, 1);
    assert_int_equal(rq.status[0], CANCEL_DONE);
    free(rq.status);
    for (int i = 0; i < 2; i++) {
        sent_free(s[i]);
    }
    world_pass(&w, 20);
    expect_log(&w, tid, "b");
    world_fini(&w);
}

/* A row that was damaged on disk is told, left alone, and does not stop the others. */
static void test_damaged_row(void **state)
{
    struct world w;
    struct buf value = {0};
    struct werror e;
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    const int64_t at = w.wall_ms + 100;
    delay_one(&w, tid, 0, 0, 1, "a", at, WERR_OK, NULL);
    delay_one(&w, tid, 0, 0, 1, "b", at, WERR_OK, NULL);
    const struct part *pt = topic_part(w.co, tid, 0, false, &e);
    const struct meta_key k = delay_key((uint64_t)at, pt->id, store_epoch(w.st) << 40);
    assert_int_equal(store_get(w.st, TABLE_DELAY, key_slice(&k), &value, &e), WERR_OK);
    value.p[value.len - 1] ^= 1;
    struct store_txn *t = store_txn_new(w.st);
    txn_put(t, TABLE_DELAY, key_slice(&k), buf_slice(&value));
    store_submit(w.st, t, STORE_SYNC, false, NULL, NULL);
    buf_fini(&value);
    world_close(&w);
    world_open(&w);
    world_pass(&w, 200);
    expect_log(&w, tid, "b");
    assert_true(world_logged(&w, "delayed_row_damaged"));
    assert_int_equal(rows_left(&w), 1);
    world_fini(&w);
}

/* More than a page: memory stays bounded, order stays right. */
static void test_many(void **state)
{
    struct world w;
    enum { N = 30000 };
    (void)state;
    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "t", NULL);
    const int64_t t0 = w.wall_ms + 10000;
    struct sent **s = calloc(N, sizeof(struct sent *));
    uint32_t x = 1;
    for (unsigned i = 0; i < N; i++) {
        x = x * 1664525 + 1013904223;
        s[i] = send_at(&w, tid, 0, world_batch(0, 0, 0, 1, "m"), t0 + (int64_t)(x >> 8) % 5000);
        if (i % 500 == 0) {
            world_step(&w);
        }
    }
    world_step(&w);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(s[i]->rq.err.code, WERR_OK);
        sent_free(s[i]);
    }
    free(s);
    assert_true(w.co->delay->n <= DELAY_PAGE_ROWS);
    assert_int_equal(HASH_COUNT(w.co->delay->rows), w.co->delay->n);
    assert_int_equal(pending(&w), N);
    world_close(&w);
    world_open(&w);
    size_t most = 0;
    for (int i = 0; i < 300; i++) {
        world_pass(&w, 51);
        const size_t n = HASH_COUNT(w.co->delay->rows);
        most = n > most ? n : most;
    }
    assert_true(most <= DELAY_PAGE_ROWS + DELAY_TICK_ROWS);
    assert_int_equal(pending(&w), 0);
    assert_int_equal(rows_left(&w), 0);
    assert_int_equal(w.co->gstats.delayed_delivered, N);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_own_sequence),
        cmocka_unit_test(test_twin_in_flight),
        cmocka_unit_test(test_named_producer_begins_again),
        cmocka_unit_test(test_overdue_after_a_restart),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_many),
        cmocka_unit_test(test_cancel_races_delivery),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_topic_deleted),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_os),
        cmocka_unit_test(test_damaged_row),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
