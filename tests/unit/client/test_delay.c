/* Delayed messages: batches of their own, a sequence of their own, ids. */
#include <string.h>

#include "tests/unit/client/rig.h"

static char ids[8][80];

static void sent(void *user, const weir_receipt *receipt)
{
    struct rig *r = user;

    memcpy(ids[r->n_results], receipt->delay_id ? receipt->delay_id : "none",
           receipt->delay_id ? strlen(receipt->delay_id) + 1 : 5);
    rig_sent(user, receipt);
}

static weir_error send_delayed(struct rig *r, const char *value, int64_t delay_ms, int64_t at_ms)
{
    weir_send_options o = WEIR_SEND_OPTIONS;

    o.partition = 0;
    o.delay_ms = delay_ms;
    o.deliver_at_ms = at_ms;
    return weir_send_async(r->w, "t", weir_str(NULL), weir_str(value), &o, sent, r);
}

static void due_times_make_batches(void **state)
{
    struct rig r;
    struct fake_partition *later;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    later = &fake_topic(r.fb, "t")->delayed[0];
    assert_int_equal(send_delayed(&r, "a", 0, 2000000000000).outcome, WEIR_DONE);
    assert_int_equal(send_delayed(&r, "b", 0, 2000000000000).outcome, WEIR_DONE);
    assert_int_equal(send_delayed(&r, "c", 0, 2000000000001).outcome, WEIR_DONE);
    rig_send(&r, "t", 0, "now");
    e = weir_flush(r.w, 1000);
    if (e.outcome != WEIR_DONE) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(r.n_done, 4);
    assert_int_equal(later->n, 2);
    assert_int_equal(later->batches[0].count, 2);
    assert_int_equal(later->batches[0].due_ms, 2000000000000);
    assert_int_equal(later->batches[1].due_ms, 2000000000001);
    assert_int_equal(fake_count(fake_topic(r.fb, "t")), 1); /* "now": in the other sequence */
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(r.results[i].offset, r.results[i].delay_id ? -1 : 0);
    }
    rig_fini(&r);
}

static void ids_name_each_message(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    (void)send_delayed(&r, "a", 0, 2000000000000);
    (void)send_delayed(&r, "b", 0, 2000000000000);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_string_equal(ids[0], "d0-0.0");
    assert_string_equal(ids[1], "d0-0.1");
    assert_int_equal(r.results[0].offset, -1);
    rig_fini(&r);
}

static void delay_counts_from_the_call(void **state)
{
    struct rig r;
    int64_t wall = 0;

    (void)state;
    rig_init(&r, NULL);
    r.unreachable = true; /* it waits for metadata, and is sent much later */
    fake_topic_add(r.fb, "t", 1);
    wall = handle_wall_ms(r.w);
    assert_int_equal(send_delayed(&r, "a", 60000, 0).outcome, WEIR_DONE);
    rig_run(&r, 5000);
    r.unreachable = false;
    assert_int_equal(weir_flush(r.w, 10000).outcome, WEIR_DONE);
    assert_int_equal(fake_topic(r.fb, "t")->delayed[0].batches[0].due_ms, wall + 60001);
    rig_fini(&r);
}

static enum fake_verdict lose_first_answer(void *arg, uint32_t op, const struct msg_produce *m,
                                           const struct batch_head *h, struct werror *e)
{
    unsigned *left = arg;

    (void)m;
    (void)h;
    (void)e;
    return op == OP_PRODUCE && (*left)-- > 0 ? FAKE_MUTE : FAKE_GO;
}

static void resending_is_deduplicated(void **state)
{
    struct rig r;
    unsigned left = 1;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    r.fb->hooks = (struct fake_hooks){lose_first_answer, &left};
    (void)send_delayed(&r, "a", 0, 2000000000000);
    rig_run(&r, 100);
    assert_int_equal(r.n_results, 0);
    left = 0;
    rig_cut(&r);
    assert_int_equal(weir_flush(r.w, 10000).outcome, WEIR_DONE);
    assert_int_equal(r.results[0].error.duplicate, 1);
    assert_string_equal(ids[0], "d0-0.0");
    assert_int_equal(fake_topic(r.fb, "t")->delayed[0].n, 1);
    rig_fini(&r);
}

static void nonsense_is_refused(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    assert_int_equal(send_delayed(&r, "a", -1, 0).code, WEIR_E_MISUSE);
    assert_int_equal(send_delayed(&r, "a", 1, 1).code, WEIR_E_MISUSE);
    assert_int_equal(send_delayed(&r, "a", INT64_C(367) * 86400000, 0).code, WEIR_E_MISUSE);
    rig_fini(&r);
}

static void recreated_topic_begins_anew(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    rig_send(&r, "t", 0, "old");
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    fake_topic_drop(r.fb, "t");
    fake_topic_add(r.fb, "t", 1);
    rig_cut(&r); /* metadata is asked anew */
    rig_run(&r, 3000);
    rig_send(&r, "t", 0, "new");
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(fake_count(fake_topic(r.fb, "t")), 1);
    assert_int_equal(r.n_done, 2);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_times_make_batches),     cmocka_unit_test(ids_name_each_message),
        cmocka_unit_test(delay_counts_from_the_call), cmocka_unit_test(resending_is_deduplicated),
        cmocka_unit_test(nonsense_is_refused),        cmocka_unit_test(recreated_topic_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
