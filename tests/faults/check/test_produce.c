/* Sending and the final read: A1 to A6. */
#include "tests/faults/check/tests.h"
#include "tests/faults/check/world.h"

/* ---------------------------------------------------------------- A1 */

static void clean_run(void **state)
{
    struct world *w = *state;
    fill(w, 1, 10, 0);
    fill(w, 11, 5, 1);
    put(w, P2, 1, 0);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->ok, 16);
    assert_int_equal(check_figures(w->c)->in_final, 16);
}

static void lost_at_the_end(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    send_(w, P1, 6, 0);
    sent(w, P1, 6, 0, 5, HIST_OK);
    world_wants(w, CHECK_LOST);
}

static void lost_in_the_middle_and_overwritten(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    /* a power cut takes it, and its offset is given away again */
    put(w, P2, 1, 0);
    world_wants_two(w, CHECK_LOST, CHECK_OFFSET_REUSED);
}

static void lost_without_an_offset(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent_duplicate(w, P1, 4, 0, -1); /* "done, offset forgotten" */
    world_wants(w, CHECK_LOST);
}

static void below_the_start_of_the_log_is_not_lost(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    w->log[0].start = 4;
    world_clean(w);
}

static void at_the_start_of_the_log_is_lost(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    send_(w, P1, 7, 0);
    sent(w, P1, 7, 0, 6, HIST_OK);
    w->log[0].start = 6;
    world_wants(w, CHECK_LOST);
}

static void unknown_that_never_appears(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, -1, HIST_UNKNOWN);
    send_(w, P1, 5, 0); /* never answered */
    world_clean(w);
    assert_int_equal(check_figures(w->c)->unknown, 2);
    assert_int_equal(check_figures(w->c)->unknown_seen, 0);
}

static void unknown_that_appears_once(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    sent(w, P1, 4, 0, -1, HIST_UNKNOWN);
    send_(w, P2, 1, 1);
    append(w, P2, 1, 1); /* of a client that was killed: no answer */
    world_clean(w);
    assert_int_equal(check_figures(w->c)->unknown_seen, 2);
}

static void failed_that_never_appears(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, -1, HIST_FAIL);
    put(w, P1, 5, 0);
    world_clean(w);
}

static void written_tail_lost_by_a_cut(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    for (uint64_t i = 4; i <= 6; i++) {
        send_(w, P1, i, 0);
        sent(w, P1, i, 0, (int64_t)i - 1, HIST_OK);
    }
    cut(w);
    start(w);
    fill(w, 7, 3, 0); /* offsets 3 to 5 again */
    world_clean(w);
    assert_int_equal(check_figures(w->c)->written_lost, 3);
}

static void written_lost_without_a_cut(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    fault(w, "kill");
    start(w);
    world_wants(w, CHECK_LOST_WRITTEN);
}

static void written_lost_but_sent_after_the_cut(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    cut(w);
    start(w);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    world_wants(w, CHECK_LOST_WRITTEN);
}

static void written_answered_by_the_next_broker_is_not_excused(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    cut(w);
    start(w);
    sent(w, P1, 4, 0, 3, HIST_OK); /* the broker after the cut said so */
    world_wants(w, CHECK_LOST_WRITTEN);
}

static void written_lost_but_not_as_a_suffix(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    send_(w, P2, 1, 0);
    sent(w, P2, 1, 0, 3, HIST_OK);
    w->log[0].end = 4;
    put(w, P1, 4, 0); /* offset 4, before the cut, survives */
    cut(w);
    start(w);
    w->log[0].v[3] = (struct slot){.producer = 2, .counter = 2}; /* what took its place */
    send_(w, P2, 2, 0);
    world_wants(w, CHECK_LOST_HOLE);
}

static void durable_lost_by_a_cut(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    cut(w);
    start(w);
    world_wants(w, CHECK_LOST);
}

static void delayed_not_yet_due(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_delayed(w, P1, 4, 0, 60000);
    sent(w, P1, 4, 0, -1, HIST_OK);
    world_clean(w);
}

static void delayed_long_due_and_lost(void **state)
{
    struct world *w = *state;
    send_delayed(w, P1, 1, 0, 100);
    sent(w, P1, 1, 0, -1, HIST_OK);
    fill(w, 2, 3, 0);
    w->now += INT64_C(20000000000);
    world_wants(w, CHECK_LOST);
}

/* ---------------------------------------------------------------- A2 */

static void duplicate_in_one_partition(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P1, 3, 0);
    world_wants(w, CHECK_DUPLICATE);
}

static void duplicate_in_two_partitions(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P1, 2, 1);
    world_wants(w, CHECK_DUPLICATE);
}

static void duplicate_of_an_unknown(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    append(w, P1, 4, 0);
    world_wants(w, CHECK_DUPLICATE);
}

static void duplicate_seen_by_a_reader_below_the_start(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    read_(w, 0, 0);
    read_value(w, 0, 1, P1, 1);
    w->log[0].start = 2;
    world_wants(w, CHECK_DUPLICATE);
}

static void duplicate_answer_with_the_first_offset(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent_duplicate(w, P1, 3, 0, 2);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->duplicate_answers, 1);
}

static void duplicate_answer_without_offset_and_it_is_there(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent_duplicate(w, P1, 3, 0, -1);
    world_clean(w);
}

static void duplicate_answer_with_another_offset(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent_duplicate(w, P1, 3, 0, 7);
    world_wants(w, CHECK_DUP_ANSWER);
}

/* ---------------------------------------------------------------- A3 */

/* Three sent together; the log takes them in this order, and each is answered rightly. */
static void three_at_once(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t order[3] = {a, b, c};
    for (uint64_t i = 1; i <= 3; i++) {
        send_(w, P1, i, 0);
    }
    for (size_t i = 0; i < 3; i++) {
        sent(w, P1, order[i], 0, append(w, P1, order[i], 0), HIST_OK);
    }
}

static void pipelined_in_order(void **state)
{
    struct world *w = *state;
    three_at_once(w, 1, 2, 3);
    world_clean(w);
}

static void reordered(void **state)
{
    struct world *w = *state;
    three_at_once(w, 1, 3, 2);
    world_wants(w, CHECK_REORDER);
}

static void reordered_below_the_start(void **state)
{
    struct world *w = *state;
    three_at_once(w, 1, 3, 2);
    fill(w, 4, 2, 0);
    w->log[0].start = 3;
    world_wants(w, CHECK_REORDER);
}

static void gap_and_late_arrival(void **state)
{
    struct world *w = *state;
    send_(w, P1, 1, 0);
    send_(w, P1, 2, 0);
    sent(w, P1, 2, 0, append(w, P1, 2, 0), HIST_OK);
    append(w, P1, 1, 0); /* comes late, never answered */
    world_wants(w, CHECK_REORDER);
}

static void two_producers_and_two_partitions_have_no_order(void **state)
{
    struct world *w = *state;
    send_(w, P1, 1, 0);
    send_(w, P1, 2, 1);
    send_(w, P2, 1, 0);
    sent(w, P2, 1, 0, append(w, P2, 1, 0), HIST_OK);
    sent(w, P1, 2, 1, append(w, P1, 2, 1), HIST_OK);
    sent(w, P1, 1, 0, append(w, P1, 1, 0), HIST_OK);
    world_clean(w);
}

static void delayed_come_in_their_own_order(void **state)
{
    struct world *w = *state;
    send_delayed(w, P1, 1, 0, 3);
    sent(w, P1, 1, 0, -1, HIST_OK);
    fill(w, 2, 3, 0);
    append(w, P1, 1, 0);
    world_clean(w);
}

/* ---------------------------------------------------------------- A4 */

static void failed_and_seen(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent(w, P1, 3, 0, -1, HIST_FAIL);
    world_wants(w, CHECK_FAILED_SEEN);
}

static void damaged_value(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    w->log[0].v[3].flags = HIST_BAD_VALUE;
    world_wants(w, CHECK_DAMAGED);
}

static void never_sent(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P1, 9, 0);
    world_wants(w, CHECK_NEVER_SENT);
}

static void of_a_producer_that_does_not_exist(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P2, 1, 0);
    world_wants(w, CHECK_NEVER_SENT);
}

static void seen_before_it_was_sent(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P1, 4, 0);
    read_(w, 0, 3);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    world_wants(w, CHECK_NEVER_SENT);
}

static void seen_before_it_was_answered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    read_(w, 0, 3);
    sent(w, P1, 4, 0, 3, HIST_OK);
    world_clean(w);
}

static void delayed_seen_early(void **state)
{
    struct world *w = *state;
    send_delayed(w, P1, 1, 0, 1000);
    sent(w, P1, 1, 0, -1, HIST_OK);
    append(w, P1, 1, 0);
    read_(w, 0, 0);
    w->now += INT64_C(2000000000);
    world_wants(w, CHECK_EARLY);
}

static void delayed_seen_in_time(void **state)
{
    struct world *w = *state;
    send_delayed(w, P1, 1, 0, 1000);
    sent(w, P1, 1, 0, -1, HIST_OK);
    append(w, P1, 1, 0);
    w->now += INT64_C(1000000000);
    read_(w, 0, 0);
    world_clean(w);
}

/* ---------------------------------------------------------------- A5, A6 */

static void one_offset_two_values(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0); /* seen at offset 2, lost, and its offset used for another: none answered */
    send_(w, P2, 1, 0);
    append(w, P2, 1, 0);
    read_value(w, 0, 2, P1, 3);
    world_wants(w, CHECK_TWO_VALUES);
}

static void two_passes_two_values(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P2, 1, 0);
    append(w, P2, 1, 0);
    send_(w, P2, 2, 0);
    /* a second reader of the same moment */
    read_value(w, 0, 2, P2, 2);
    read_sub(w, 2, 0, 2);
    world_wants(w, CHECK_TWO_VALUES);
}

static void answered_with_the_wrong_offset(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent(w, P1, 3, 0, 5, HIST_OK);
    world_wants(w, CHECK_MISPLACED);
}

static void in_another_partition_than_asked(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 1);
    world_wants(w, CHECK_MISPLACED);
}

static void hole_in_the_log(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->log[0].end = 4;
    fill(w, 4, 2, 0);
    world_wants(w, CHECK_HOLE);
}

static void hole_at_the_start(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->log[0].v[0] = (struct slot){0};
    w->log[0].v[1] = (struct slot){.producer = 1, .counter = 1};
    w->log[0].v[2] = (struct slot){.producer = 1, .counter = 2};
    append(w, P1, 3, 0);
    world_wants_two(w, CHECK_HOLE, CHECK_MISPLACED);
}

static void offset_goes_back(void **state)
{
    struct world *w = *state;
    /* all are gone from the log by now: only the answers tell */
    fill(w, 1, 5, 0);
    send_(w, P2, 1, 0);
    sent(w, P2, 1, 0, 2, HIST_OK);
    w->log[0].start = 5;
    put(w, P1, 6, 0);
    world_wants(w, CHECK_OFFSET_REUSED);
}

static void one_offset_for_two_at_once(void **state)
{
    struct world *w = *state;
    send_(w, P1, 1, 0);
    send_(w, P2, 1, 0);
    append(w, P1, 1, 0);
    sent(w, P1, 1, 0, 0, HIST_OK);
    sent(w, P2, 1, 0, 0, HIST_OK);
    w->log[0].start = 1;
    put(w, P1, 2, 0);
    world_wants(w, CHECK_OFFSET_REUSED);
}

static void answers_that_cross(void **state)
{
    struct world *w = *state;
    /* sent together, answered in the other order: no offset went back */
    send_(w, P1, 1, 0);
    send_(w, P2, 1, 0);
    append(w, P1, 1, 0);
    append(w, P2, 1, 0);
    sent(w, P2, 1, 0, 1, HIST_OK);
    sent(w, P1, 1, 0, 0, HIST_OK);
    world_clean(w);
}

/* Nobody need find it below the start of the log, but its place was another's. */
static void below_the_start_another_was_shown(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    send_(w, P2, 1, 0);
    send_(w, P1, 2, 0);
    sent(w, P1, 2, 0, 1, HIST_OK);
    append(w, P2, 1, 0); /* never answered */
    read_(w, 0, 1);
    fill(w, 3, 3, 0);
    w->log[0].start = 3;
    world_wants(w, CHECK_TWO_VALUES);
}

static void nothing_may_be_deleted(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    w->log[0].start = 4;
    w->o.keeps_all = true;
    world_wants(w, CHECK_TRIMMED);
}

static void nothing_was_deleted(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    w->o.keeps_all = true;
    world_clean(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_produce(void)
{
    const struct CMUnitTest tests[] = {
        T(clean_run),
        T(below_the_start_another_was_shown),
        T(nothing_may_be_deleted),
        T(nothing_was_deleted),
        T(lost_at_the_end),
        T(lost_in_the_middle_and_overwritten),
        T(lost_without_an_offset),
        T(below_the_start_of_the_log_is_not_lost),
        T(at_the_start_of_the_log_is_lost),
        T(unknown_that_never_appears),
        T(unknown_that_appears_once),
        T(failed_that_never_appears),
        T(written_tail_lost_by_a_cut),
        T(written_lost_without_a_cut),
        T(written_lost_but_sent_after_the_cut),
        T(written_answered_by_the_next_broker_is_not_excused),
        T(written_lost_but_not_as_a_suffix),
        T(durable_lost_by_a_cut),
        T(delayed_not_yet_due),
        T(delayed_long_due_and_lost),
        T(duplicate_in_one_partition),
        T(duplicate_in_two_partitions),
        T(duplicate_of_an_unknown),
        T(duplicate_seen_by_a_reader_below_the_start),
        T(duplicate_answer_with_the_first_offset),
        T(duplicate_answer_without_offset_and_it_is_there),
        T(duplicate_answer_with_another_offset),
        T(pipelined_in_order),
        T(reordered),
        T(reordered_below_the_start),
        T(gap_and_late_arrival),
        T(two_producers_and_two_partitions_have_no_order),
        T(delayed_come_in_their_own_order),
        T(failed_and_seen),
        T(damaged_value),
        T(never_sent),
        T(of_a_producer_that_does_not_exist),
        T(seen_before_it_was_sent),
        T(seen_before_it_was_answered),
        T(delayed_seen_early),
        T(delayed_seen_in_time),
        T(one_offset_two_values),
        T(two_passes_two_values),
        T(answered_with_the_wrong_offset),
        T(in_another_partition_than_asked),
        T(hole_in_the_log),
        T(hole_at_the_start),
        T(offset_goes_back),
        T(one_offset_for_two_at_once),
        T(answers_that_cross),
    };
    return cmocka_run_group_tests_name("produce", tests, 0, 0);
}
