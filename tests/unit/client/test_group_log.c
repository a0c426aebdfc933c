/* Groups in log mode: joining, the prefix that is committed, revocation, coming back. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/client/rig.h"

static void append_n(struct rig *r, uint32_t p, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[16];
        const char *v = text;

        snprintf(text, sizeof text, "v%d", i);
        fake_append(r->fb, "t", p, &v, 1, BATCH_CODEC_NONE);
    }
}

static void expect_n(weir_sub *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[16];

        snprintf(text, sizeof text, "v%d", i);
        rig_expect(s, text);
    }
}

static void begin(struct rig *r, uint32_t partitions)
{
    rig_init(r, NULL);
    fake_topic_add(r->fb, "t", partitions);
}

static void reads_and_commits_what_was_given_back(void **state)
{
    const weir_message *m[5];
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 10);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=10");
    assert_int_equal(weir_sub_epoch(s), 0);
    for (int i = 0; i < 5; i++) {
        m[i] = weir_next(s, 1000);
        assert_non_null(m[i]);
        assert_int_equal(m[i]->offset, i);
    }
    assert_true(weir_sub_epoch(s) > 0);
    weir_done(m[1], WEIR_ACK); /* out of order: nothing to commit yet */
    weir_done(m[3], WEIR_ACK);
    rig_run(&r, 100);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 0);
    weir_done(m[0], WEIR_ACK);
    rig_run(&r, 100);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 2);
    weir_done(m[2], WEIR_ACK);
    weir_done(m[2], WEIR_ACK); /* twice does no harm */
    rig_run(&r, 100);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 4);
    weir_done(m[4], WEIR_ACK);
    weir_unsubscribe(s); /* commits and leaves */
    rig_run(&r, 10);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 5);
    assert_int_equal(fake_group(r.fb, "g")->members[0].leaves, 1);
    s = weir_subscribe(r.w, "t", "g", NULL);
    expect_n(s, 5, 10);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 10);
    assert_int_equal(weir_sub_at_end(s), 1);
    rig_fini(&r);
}

static void commits_at_most_every_so_often(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 100);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=1000");
    for (int i = 0; i < 100; i++) {
        char text[16];

        snprintf(text, sizeof text, "v%d", i);
        rig_expect(s, text);
        rig_run(&r, 50);
    }
    rig_run(&r, 1000);
    assert_in_range(fake_group(r.fb, "g")->commits, 4, 8);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 100);
    rig_fini(&r);
}

static void manual_commits_only_when_told(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 6);
    s = weir_subscribe(r.w, "t", "g", "commit=manual");
    expect_n(s, 0, 3);
    rig_run(&r, 5000);
    assert_int_equal(fake_group(r.fb, "g")->commits, 0);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 3);
    expect_n(s, 3, 5);
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE); /* does not commit */
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 3);
    assert_int_equal(fake_group(r.fb, "g")->members[0].leaves, 1);
    rig_fini(&r);
}

static void closing_commits_and_leaves(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 6);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    expect_n(s, 0, 4);
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 4);
    assert_int_equal(fake_group(r.fb, "g")->members[0].leaves, 1);
    rig_fini(&r);
}

struct heard {
    unsigned gained, lost, calls;
    int64_t offset;
    const weir_message *finish; /* given back inside the callback */
};

static void on_assignment(void *user, weir_sub *s, const weir_partition_ref *gained,
                          size_t n_gained, const weir_partition_ref *lost, size_t n_lost)
{
    struct heard *h = user;

    (void)s;
    h->calls++;
    h->gained += (unsigned)n_gained;
    h->lost += (unsigned)n_lost;
    h->offset = n_gained ? gained[0].offset : -1;
    if (n_lost) {
        assert_string_equal(lost[0].topic, "t");
        weir_done(h->finish, WEIR_ACK);
        h->finish = NULL;
    }
}

static void partitions_move_between_members(void **state)
{
    struct rig r;
    weir_sub *a, *b;
    const weir_message *m;
    struct heard ha = {0}, hb = {0};
    struct fake_group *g;

    (void)state;
    begin(&r, 2);
    append_n(&r, 0, 0, 4);
    append_n(&r, 1, 100, 104);
    a = weir_subscribe(r.w, "t", "g", NULL);
    weir_on_assignment(a, on_assignment, &ha);
    m = weir_next(a, 1000);
    assert_non_null(m);
    assert_int_equal(ha.gained, 2);
    g = fake_group(r.fb, "g");
    b = weir_subscribe(r.w, "t", "g", NULL);
    weir_on_assignment(b, on_assignment, &hb);
    assert_null(weir_next(b, 10)); /* nothing is free */
    assert_int_equal(hb.calls, 0);
    weir_done(m, WEIR_ACK);
    m = weir_next(a, 1000); /* held while its partition goes */
    assert_int_equal(m->partition, 0);
    ha.finish = m;
    fake_group_move(g, 0, 1);
    fake_changed(&r.conn, "g");
    rig_run(&r, 100);
    assert_int_equal(ha.lost, 1);
    assert_int_equal(g->parts[0].owner, 1);     /* given up, and granted */
    assert_int_equal(g->parts[0].committed, 2); /* with what was done in the callback */
    fake_changed(&r.conn, "g");
    rig_run(&r, 100);
    assert_int_equal(hb.gained, 1);
    assert_int_equal(hb.offset, 2);
    expect_n(b, 2, 4);
    expect_n(a, 100, 104); /* its other partition was never stopped */
    assert_null(weir_next(a, 10));
    append_n(&r, 0, 4, 5);
    append_n(&r, 1, 104, 105);
    rig_expect(a, "v104");
    rig_expect(b, "v4");
    weir_unsubscribe(a);
    weir_unsubscribe(b);
    rig_fini(&r);
}

static enum fake_verdict mute_commits(void *arg, uint32_t op, const struct msg_produce *m,
                                      const struct batch_head *h, struct werror *e)
{
    const bool *mute = arg;

    (void)m;
    (void)h;
    (void)e;
    return op == OP_COMMIT && *mute ? FAKE_SILENT : FAKE_GO;
}

static void nothing_is_given_up_before_it_is_committed(void **state)
{
    struct rig r;
    weir_sub *s;
    struct fake_group *g;
    bool mute = true;

    (void)state;
    begin(&r, 2);
    append_n(&r, 0, 0, 3);
    s = weir_subscribe(r.w, "t", "g", NULL);
    r.fb->hooks = (struct fake_hooks){mute_commits, &mute};
    expect_n(s, 0, 3);
    g = fake_group(r.fb, "g");
    fake_group_move(g, 0, -1);
    fake_changed(&r.conn, "g");
    rig_run(&r, 2000);
    assert_int_equal(g->parts[0].owner, 0); /* the answer to COMMIT is due */
    mute = false;
    rig_cut(&r);
    rig_run(&r, 5000);
    assert_int_equal(g->parts[0].committed, 3);
    assert_int_equal(g->parts[0].owner, -1);
    rig_fini(&r);
}

static void unread_messages_of_a_lost_partition_are_dropped(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct fake_group *g;

    (void)state;
    begin(&r, 2);
    append_n(&r, 0, 0, 50);
    s = weir_subscribe(r.w, "t", "g", NULL);
    m = weir_next(s, 1000);
    g = fake_group(r.fb, "g");
    fake_group_move(g, 0, -1);
    fake_changed(&r.conn, "g");
    rig_run(&r, 100);
    assert_null(weir_next(s, 10));
    assert_int_equal(g->parts[0].owner, -1);
    weir_done(m, WEIR_ACK); /* too late: stale */
    rig_run(&r, 3000);
    assert_int_equal(g->parts[0].committed, 0);
    fake_group_move(g, 0, 0); /* and back: from the committed position */
    fake_changed(&r.conn, "g");
    expect_n(s, 0, 50);
    rig_fini(&r);
}

static void a_resumed_session_repeats_nothing(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct heard h = {0};

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 10);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    weir_on_assignment(s, on_assignment, &h);
    expect_n(s, 0, 3);
    m = weir_next(s, 1000);
    rig_cut(&r);
    append_n(&r, 0, 10, 12);
    expect_n(s, 4, 12);
    weir_done(m, WEIR_ACK); /* still ours */
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 12);
    assert_int_equal(fake_group(r.fb, "g")->members[0].joins, 2);
    assert_int_equal(h.calls, 1);
    rig_fini(&r);
}

static void a_fenced_member_begins_anew(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    struct heard h = {0};
    struct fake_group *g;
    weir_error e;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 6);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    weir_on_assignment(s, on_assignment, &h);
    expect_n(s, 0, 2);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    m = weir_next(s, 1000);
    assert_int_equal(m->offset, 2);
    g = fake_group(r.fb, "g");
    fake_group_fence(g, 0);
    fake_changed(&r.conn, "g");
    rig_run(&r, 1000);
    assert_int_equal(h.lost, 1);
    assert_int_equal(h.gained, 2);
    weir_done(m, WEIR_ACK); /* stale */
    e = weir_commit(s, 1000);
    assert_int_equal(g->parts[0].committed, 2);
    expect_n(s, 2, 6);                              /* from what was committed */
    assert_int_equal(e.code, WEIR_E_FENCED_MEMBER); /* the first failure since */
    assert_int_equal(e.fenced, 1);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(g->parts[0].committed, 6);
    rig_fini(&r);
}

static void a_session_that_was_over_loses_everything(void **state)
{
    struct rig r;
    weir_sub *s;
    struct heard h = {0};

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 6);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    weir_on_assignment(s, on_assignment, &h);
    expect_n(s, 0, 3);
    fake_group_fence(fake_group(r.fb, "g"), 0); /* the grace time was over */
    rig_cut(&r);
    rig_run(&r, 3000);
    expect_n(s, 0, 6); /* nothing was committed */
    assert_int_equal(h.lost, 1);
    assert_int_equal(h.gained, 2);
    rig_fini(&r);
}

static void a_verdict_that_is_no_ack_stops_there(void **state)
{
    struct rig r;
    weir_sub *s;
    weir_error e;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 6);
    s = weir_subscribe(r.w, "t", "g", NULL);
    expect_n(s, 0, 2);
    weir_done(weir_next(s, 1000), WEIR_NACK);
    assert_null(weir_next(s, 1000));
    e = weir_sub_error(s);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    assert_non_null(strstr(e.text, "offset 2"));
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 2);
    assert_int_equal(fake_group(r.fb, "g")->members[0].leaves, 1);
    rig_fini(&r);
}

static void a_lost_position_is_named(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 10);
    fake_trim(fake_topic(r.fb, "t"), 0, 6);
    s = weir_subscribe(r.w, "t", "g", NULL);
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_OFFSET_OUT_OF_RANGE);
    assert_non_null(strstr(weir_sub_error(s).text, "offsets 0 to 5 are gone"));
    rig_fini(&r);
}

static void several_topics_and_bad_ones(void **state)
{
    struct rig r;
    weir_sub *s;
    const char *v = "u0";

    (void)state;
    begin(&r, 1);
    fake_topic_add(r.fb, "u", 1);
    fake_append(r.fb, "u", 0, &v, 1, BATCH_CODEC_NONE);
    append_n(&r, 0, 0, 1);
    s = weir_subscribe(r.w, "t,u", "g", NULL);
    for (int i = 0; i < 2; i++) {
        const weir_message *m = weir_next(s, 1000);

        assert_non_null(m);
        assert_int_equal(m->topic[0], ((const char *)m->value.data)[0] == 'v' ? 't' : 'u');
        weir_done(m, WEIR_ACK);
    }
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t,nope", "g", NULL);
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_UNKNOWN_TOPIC);
    assert_non_null(strstr(weir_sub_error(s).text, "nope"));
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t,t", "g", NULL);
    assert_int_equal(weir_sub_error(s).code, WEIR_E_INVALID_CONFIG);
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t,", "g", NULL);
    assert_int_equal(weir_sub_error(s).outcome, WEIR_NOT_DONE);
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", "g", "stop_at_end=1");
    assert_int_equal(weir_sub_error(s).code, WEIR_E_INVALID_CONFIG);
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", "g", "prefetch=3");
    assert_non_null(strstr(weir_sub_error(s).text, "mode=queue"));
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", "g", "mode=queue");
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_GROUP_MODE);
    rig_fini(&r);
}

static void take_message(void *user, weir_sub *s, const weir_message *m)
{
    unsigned *n = user;

    (*n)++;
    weir_done(m, WEIR_ACK);
    if (*n == 5) {
        weir_unsubscribe(s);
    }
}

static void callback_style(void **state)
{
    struct rig r;
    weir_sub *s;
    unsigned n = 0;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 10);
    s = weir_subscribe(r.w, "t", "g", NULL);
    weir_on_message(s, take_message, &n);
    rig_run(&r, 100);
    assert_int_equal(n, 5);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 5);
    rig_fini(&r);
}

static void leave_inside(void *user, weir_sub *s, const weir_partition_ref *gained, size_t n_gained,
                         const weir_partition_ref *lost, size_t n_lost)
{
    unsigned *n = user;

    (void)gained;
    (void)n_gained;
    (void)lost;
    (void)n_lost;
    (*n)++;
    weir_unsubscribe(s);
}

static void unsubscribing_and_closing_inside_callbacks(void **state)
{
    struct rig r;
    weir_sub *s;
    unsigned n = 0;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 10);
    s = weir_subscribe(r.w, "t", "g", NULL);
    weir_on_assignment(s, leave_inside, &n);
    rig_run(&r, 100);
    assert_int_equal(n, 1);
    assert_int_equal(fake_group(r.fb, "g")->members[0].leaves, 1);
    s = weir_subscribe(r.w, "t", "g", NULL);
    weir_on_assignment(s, leave_inside, &n);
    assert_null(weir_next(s, 1000)); /* it goes while it is waited for */
    assert_int_equal(n, 2);
    rig_fini(&r);
}

static void closing_comes_back_to_commit(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, 4);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    expect_n(s, 0, 4);
    rig_cut(&r);
    assert_int_equal(weir_close(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 4);
    rig_fini(&r);
    begin(&r, 1);
    append_n(&r, 0, 0, 4);
    s = weir_subscribe(r.w, "t", "g", "commit_ms=3600000");
    expect_n(s, 0, 4);
    r.unreachable = true;
    rig_cut(&r);
    assert_int_equal(weir_close(r.w, 500).outcome, WEIR_UNKNOWN); /* and says so */
    rig_fini(&r);
}

/* A million bits in any order: the prefix is what counts. */
static void out_of_order_in_bulk(void **state)
{
    enum { N = 3000 };
    static const weir_message *m[N];
    struct rig r;
    weir_sub *s;
    uint64_t rng = 88172645463325252u;

    (void)state;
    begin(&r, 1);
    append_n(&r, 0, 0, N);
    s = weir_subscribe(r.w, "t", "g", "commit=manual");
    for (int i = 0; i < N; i++) {
        assert_non_null(m[i] = weir_next(s, 1000));
    }
    for (int i = N - 1; i > 0; i--) {
        const weir_message *x = m[i];
        uint64_t k;

        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        k = rng % (uint64_t)(i + 1);
        m[i] = m[k];
        m[k] = x;
    }
    for (int i = 0; i < N; i++) {
        if (m[i]->offset != 2500) {
            weir_done(m[i], WEIR_ACK);
        } else {
            m[0] = m[i];
        }
    }
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, 2500);
    weir_done(m[0], WEIR_ACK);
    assert_int_equal(weir_commit(s, 1000).outcome, WEIR_DONE);
    assert_int_equal(fake_group(r.fb, "g")->parts[0].committed, N);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_commits_what_was_given_back),
        cmocka_unit_test(commits_at_most_every_so_often),
        cmocka_unit_test(manual_commits_only_when_told),
        cmocka_unit_test(closing_commits_and_leaves),
        cmocka_unit_test(partitions_move_between_members),
        cmocka_unit_test(nothing_is_given_up_before_it_is_committed),
        cmocka_unit_test(unread_messages_of_a_lost_partition_are_dropped),
        cmocka_unit_test(a_resumed_session_repeats_nothing),
        cmocka_unit_test(a_fenced_member_begins_anew),
        cmocka_unit_test(a_session_that_was_over_loses_everything),
        cmocka_unit_test(a_verdict_that_is_no_ack_stops_there),
        cmocka_unit_test(a_lost_position_is_named),
        cmocka_unit_test(several_topics_and_bad_ones),
        cmocka_unit_test(callback_style),
        cmocka_unit_test(unsubscribing_and_closing_inside_callbacks),
        cmocka_unit_test(closing_comes_back_to_commit),
        cmocka_unit_test(out_of_order_in_bulk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
