/* Groups in queue mode: leases, verdicts and their joining, attempts, lost leases, giving back. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/client/rig.h"

enum { MANY = 2000 };

static void append_n(struct rig *r, const char *topic, int from, int to)
{
    static char texts[MANY][16];
    const char *v[MANY];

    for (int i = from; i < to; i++) {
        snprintf(texts[i - from], sizeof texts[0], "v%d", i);
        v[i - from] = texts[i - from];
    }
    fake_append(r->fb, topic, 0, v, (size_t)(to - from), BATCH_CODEC_NONE);
}

static struct fake_group *begin(struct rig *r, int n, const char *options, weir_sub **s)
{
    rig_init(r, NULL);
    fake_topic_add(r->fb, "t", 1);
    if (n > 0) {
        append_n(r, "t", 0, n);
    }
    *s = weir_subscribe(r->w, "t", "g", options);
    rig_run(r, 10);
    return fake_group(r->fb, "g");
}

static void acks_become_one_item(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m[10];
    struct fake_group *g = begin(&r, 10, "mode=queue", &s);

    (void)state;
    for (int i = 0; i < 10; i++) {
        m[i] = weir_next(s, 1000);
        assert_non_null(m[i]);
        assert_int_equal(m[i]->offset, i);
        assert_int_equal(m[i]->deliveries, 1);
        assert_null(m[i]->reason);
    }
    for (int i = 9; i >= 0; i--) { /* backwards: still one range */
        weir_done(m[i], WEIR_ACK);
    }
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 10);
    assert_int_equal(g->items, 1);
    assert_int_equal(g->settles, 1);
    rig_fini(&r);
}

static void verdicts_have_their_details(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m[6];
    struct fake_group *g = begin(&r, 6, "mode=queue prefetch=6", &s);

    (void)state;
    for (int i = 0; i < 6; i++) {
        m[i] = weir_next(s, 1000);
    }
    weir_extend(m[0], 5000);
    weir_done_with(m[1], WEIR_NACK, 250, "no luck");
    weir_done_with(m[2], WEIR_DEAD, 0, "broken");
    weir_done_with(m[3], WEIR_DEAD, 0, "broken"); /* the same: one item */
    weir_done(m[4], WEIR_RELEASE);
    weir_done(m[5], WEIR_ACK);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->items, 5);
    assert_int_equal(g->nacked, 1);
    assert_int_equal(g->dead, 2);
    assert_int_equal(g->released, 1);
    assert_int_equal(g->extended, 1);
    assert_int_equal(g->acked, 1);
    m[1] = weir_next(s, 1000);
    assert_int_equal(m[1]->offset, 1);
    assert_int_equal(m[1]->deliveries, 2);
    assert_string_equal(m[1]->reason, "no luck");
    m[4] = weir_next(s, 1000);
    assert_int_equal(m[4]->offset, 4);
    assert_int_equal(m[4]->deliveries, 1); /* a release does not count */
    assert_null(m[4]->reason);
    rig_fini(&r);
}

static void at_most_prefetch_lies_around(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 100, "mode=queue prefetch=8", &s);

    (void)state;
    rig_run(&r, 1000);
    assert_int_equal(fake_group_count(g, 0, FAKE_LEASED), 8);
    for (int i = 0; i < 100; i++) {
        const weir_message *m = weir_next(s, 1000);

        assert_non_null(m);
        rig_run(&r, 20); /* works on it */
        assert_true(fake_group_count(g, 0, FAKE_LEASED) <= 9);
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 100);
    rig_fini(&r);
}

/* Without the option: a slow worker keeps little, a fast one does not ask for each few. */
static void prefetch_follows_the_pace(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 1900, "mode=queue", &s);

    (void)state;
    for (int i = 0; i < 60; i++) {
        const weir_message *m = weir_next(s, 1000);

        assert_non_null(m);
        rig_run(&r, 20);
        assert_true(fake_group_count(g, 0, FAKE_LEASED) <= 17);
        weir_done(m, WEIR_ACK);
    }
    g->acquires = 0;
    for (int i = 60; i < 1900; i++) {
        weir_done(weir_next(s, 1000), WEIR_ACK);
        r.now_ns += 2000; /* half a million a second */
    }
    assert_true(g->acquires < 30);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 1900);
    rig_fini(&r);
}

static void an_attempt_is_asked_again_with_its_id(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 0, "mode=queue prefetch=4", &s);
    uint64_t seen = 0;

    (void)state;
    r.hold_answers = true;
    append_n(&r, "t", 0, 4);
    fake_conn_push(&r.conn); /* leased, but the answer is lost */
    assert_int_equal(fake_group_count(g, 0, FAKE_LEASED), 4);
    rig_cut(&r);
    r.hold_answers = false;
    for (int i = 0; i < 4; i++) {
        const weir_message *m = weir_next(s, 5000);

        assert_non_null(m);
        assert_int_equal(m->deliveries, 1);
        seen |= UINT64_C(1) << m->offset;
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(seen, 15);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 4);
    rig_fini(&r);
}

static enum fake_verdict doubt_acquires(void *arg, uint32_t op, const struct msg_produce *m,
                                        const struct batch_head *h, struct werror *e)
{
    int *doubts = arg;

    (void)m;
    (void)h;
    if (op != OP_ACQUIRE || *doubts == 0) {
        return FAKE_GO;
    }
    --*doubts;
    werror_set(e, WERR_INDETERMINATE, "storage failed while writing");
    return FAKE_MUTE;
}

/* The log failed under the lease, and after a restart the lease turned out to be there. */
static void an_attempt_in_doubt_is_asked_again_with_its_id(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g;
    int doubts = 1;

    (void)state;
    g = begin(&r, 0, "mode=queue prefetch=4", &s);
    rig_cut(&r); /* the ACQUIRE that waits gives way to one that finds messages */
    append_n(&r, "t", 0, 4);
    r.fb->hooks.request = doubt_acquires;
    r.fb->hooks.arg = &doubts;
    for (int i = 0; i < 4; i++) {
        const weir_message *m = weir_next(s, 5000);

        assert_non_null(m);
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(doubts, 0);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 4);
    rig_fini(&r);
}

static enum fake_verdict mute_settles(void *arg, uint32_t op, const struct msg_produce *m,
                                      const struct batch_head *h, struct werror *e)
{
    const bool *mute = arg;

    (void)m;
    (void)h;
    (void)e;
    return op == OP_SETTLE && *mute ? FAKE_SILENT : FAKE_GO;
}

static void settles_outlive_the_connection(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 20, "mode=queue prefetch=20", &s);
    bool mute = true;

    (void)state;
    r.fb->hooks = (struct fake_hooks){mute_settles, &mute};
    for (int i = 0; i < 20; i++) {
        weir_done(weir_next(s, 1000), WEIR_ACK);
        rig_run(&r, 1);
    }
    assert_true(r.fb->requests[OP_SETTLE] <= 4); /* a few at a time, the rest gathers */
    assert_int_equal(g->acked, 0);
    mute = false;
    rig_cut(&r);
    assert_int_equal(weir_commit(s, 5000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 20);
    assert_int_equal(g->lost, 0);
    rig_fini(&r);
}

struct heard {
    unsigned n;
    int64_t offsets[8];
    weir_code code;
};

static void on_unsettled(void *user, weir_sub *s, const char *topic, int32_t partition,
                         int64_t offset, const weir_error *e)
{
    struct heard *h = user;

    (void)s;
    assert_string_equal(topic, "t");
    assert_int_equal(partition, 0);
    h->code = e->code;
    h->offsets[h->n++ % 8] = offset;
}

static void a_lost_lease_is_found_in_its_range(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m[10];
    struct heard h = {0};
    struct fake_group *g = begin(&r, 10, "mode=queue", &s);

    (void)state;
    weir_on_unsettled(s, on_unsettled, &h);
    for (int i = 0; i < 10; i++) {
        m[i] = weir_next(s, 1000);
    }
    g->parts[0].messages[4].lease = 999; /* somebody else got it */
    for (int i = 0; i < 10; i++) {
        weir_done(m[i], WEIR_ACK);
    }
    assert_int_equal(weir_commit(s, 1000).code, WEIR_E_LEASE_LOST);
    assert_int_equal(g->acked, 9);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.offsets[0], 4);
    assert_int_equal(h.code, WEIR_E_LEASE_LOST);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    rig_fini(&r);
}

static void a_fenced_worker_joins_again(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct heard h = {0};
    struct fake_group *g = begin(&r, 6, "mode=queue prefetch=3", &s);

    (void)state;
    weir_on_unsettled(s, on_unsettled, &h);
    m = weir_next(s, 1000);
    fake_group_fence(g, 0); /* its leases are free again */
    weir_done(m, WEIR_ACK); /* comes too late */
    rig_run(&r, 1000);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.offsets[0], 0);
    for (unsigned seen = 0; seen < 6; seen++) {
        m = weir_next(s, 1000);
        assert_non_null(m);
        weir_done(m, WEIR_ACK);
    }
    (void)weir_commit(s, 1000);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 6);
    rig_fini(&r);
}

static void closing_gives_back(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct fake_group *g = begin(&r, 10, "mode=queue prefetch=8", &s);

    (void)state;
    weir_done(weir_next(s, 1000), WEIR_ACK);
    m = weir_next(s, 1000); /* held */
    assert_non_null(m);
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, 1);
    assert_int_equal(g->released, 7);
    assert_int_equal(fake_group_count(g, 0, FAKE_LEASED), 0);
    assert_int_equal(g->parts[0].messages[1].deliveries, 0);
    assert_int_equal(g->members[0].leaves, 1);
    rig_fini(&r);
}

static void unsubscribing_gives_back_too(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 10, "mode=queue prefetch=8", &s);

    (void)state;
    weir_done(weir_next(s, 1000), WEIR_ACK);
    (void)weir_next(s, 1000);
    weir_unsubscribe(s);
    rig_run(&r, 10);
    assert_int_equal(g->acked, 1);
    assert_int_equal(g->released, 7);
    assert_int_equal(g->members[0].leaves, 1);
    rig_fini(&r);
}

/* Every message acked by itself in any order, in many rounds. */
static void out_of_order_in_bulk(void **state)
{
    static const weir_message *held[256];
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, MANY, "mode=queue prefetch=200", &s);
    uint64_t rng = 88172645463325252u;
    unsigned n = 0, done = 0;

    (void)state;
    while (done < MANY) {
        const weir_message *m = n < 256 ? weir_next(s, 0) : NULL;

        if (m) {
            held[n++] = m;
            continue;
        }
        if (n == 0) {
            rig_run(&r, 1);
            continue;
        }
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        for (unsigned k = (unsigned)(rng % n) + 1; k > 0; k--) {
            unsigned i = (unsigned)((rng >> 20) % n);

            weir_done(held[i], WEIR_ACK);
            held[i] = held[--n];
            done++;
        }
        if (rng % 11 == 0) {
            rig_cut(&r);
            rig_run(&r, 2000);
        }
    }
    assert_int_equal(weir_commit(s, 60000).outcome, WEIR_DONE);
    assert_int_equal(g->acked, MANY);
    assert_int_equal(g->lost, 0);
    rig_fini(&r);
}

static void dead_letters_show_where_they_came_from(void **state)
{
    weir_send_options o = WEIR_SEND_OPTIONS;
    const weir_header h[3] = {{weir_str("weir-origin-topic"), weir_str("t")},
                              {weir_str("weir-origin-partition"), weir_str("0")},
                              {weir_str("weir-origin-offset"), weir_str("77")}};
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct fake_group *g = begin(&r, 0, "mode=queue", &s);
    struct fake_topic *dlq = fake_topic_add(r.fb, "t~g~dlq", 1);

    (void)state;
    o.headers = h;
    o.n_headers = 3;
    assert_int_equal(
        weir_send_async(r.w, "t~g~dlq", weir_str(NULL), weir_str("x"), &o, NULL, NULL).outcome,
        WEIR_DONE);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    fake_group_add(g, dlq->tid, 0); /* redriven */
    m = weir_next(s, 1000);
    assert_non_null(m);
    assert_string_equal(m->topic, "t");
    assert_int_equal(m->partition, 0);
    assert_int_equal(m->offset, 77);
    weir_done(m, WEIR_ACK);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->parts[1].messages[0].state, FAKE_ACKED);
    rig_fini(&r);
}

static void settle_ms_gathers(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g = begin(&r, 50, "mode=queue prefetch=50 settle_ms=200", &s);

    (void)state;
    for (int i = 0; i < 50; i++) {
        weir_done(weir_next(s, 1000), WEIR_ACK);
        rig_run(&r, 10);
    }
    rig_run(&r, 300);
    assert_int_equal(g->acked, 50);
    assert_in_range(g->settles, 2, 5);
    rig_fini(&r);
}

/* Whatever a broken server sends: no crash, no leak. */
static void damaged_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct rig r;
        weir_sub *s;
        const weir_message *m;

        (void)begin(&r, 50, seed % 2 ? "mode=queue prefetch=50" : NULL, &s);
        r.flip = seed * 7919;
        for (int i = 0; i < 20; i++) {
            m = weir_next(s, 5);
            weir_done(m, i % 5 ? WEIR_ACK : WEIR_NACK);
            rig_run(&r, 100);
        }
        rig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_become_one_item),
        cmocka_unit_test(verdicts_have_their_details),
        cmocka_unit_test(at_most_prefetch_lies_around),
        cmocka_unit_test(prefetch_follows_the_pace),
        cmocka_unit_test(an_attempt_is_asked_again_with_its_id),
        cmocka_unit_test(an_attempt_in_doubt_is_asked_again_with_its_id),
        cmocka_unit_test(settles_outlive_the_connection),
        cmocka_unit_test(a_lost_lease_is_found_in_its_range),
        cmocka_unit_test(a_fenced_worker_joins_again),
        cmocka_unit_test(closing_gives_back),
        cmocka_unit_test(unsubscribing_gives_back_too),
        cmocka_unit_test(out_of_order_in_bulk),
        cmocka_unit_test(dead_letters_show_where_they_came_from),
        cmocka_unit_test(settle_ms_gathers),
        cmocka_unit_test(damaged_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
