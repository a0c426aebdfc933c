/* Acknowledgements among themselves, and power cuts: the finer points of A1 and A6. */
#include "tests/faults/check/tests.h"
#include "tests/faults/check/world.h"

/* Acknowledged at an offset, and not in the log. */
static void acked_only(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t offset)
{
    send_(w, who, counter, p);
    sent(w, who, counter, p, offset, HIST_OK);
}

static void offset_goes_back_to_one_that_nobody_was_told(void **state)
{
    struct world *w = *state;
    /* offset 2 belongs to a message that was never answered; all are gone from the log by now */
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    fill(w, 4, 2, 0);
    acked_only(w, P2, 1, 0, 2);
    w->log[0].start = 5;
    put(w, P1, 6, 0);
    world_wants(w, CHECK_OFFSET_REUSED);
}

static void each_partition_counts_for_itself(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    fill(w, 7, 3, 1);
    fill(w, 10, 1, 0);
    world_clean(w);
}

static void the_greatest_counts_not_the_last(void **state)
{
    struct world *w = *state;
    /* answers cross; what is sent then must be above the greatest */
    send_(w, P1, 1, 0);
    send_(w, P2, 1, 0);
    append(w, P1, 1, 0);
    append(w, P2, 1, 0);
    append(w, P1, 2, 0);
    sent(w, P2, 1, 0, 3, HIST_OK);
    sent(w, P1, 1, 0, 0, HIST_OK);
    send_(w, P1, 2, 0);
    sent(w, P1, 2, 0, 2, HIST_OK);
    append(w, P2, 2, 0);
    w->log[0].start = 4;
    append(w, P2, 3, 0);
    send_(w, P2, 3, 0);
    world_wants(w, CHECK_OFFSET_REUSED);
}

static void answered_with_offset_0_and_is_at_1(void **state)
{
    struct world *w = *state;
    send_(w, P2, 1, 0);
    append(w, P2, 1, 0);
    send_(w, P1, 1, 0);
    append(w, P1, 1, 0);
    sent(w, P1, 1, 0, 0, HIST_OK);
    world_wants(w, CHECK_MISPLACED);
}

/* ---------------------------------------------------------------- power cuts */

static void lost_by_the_second_cut(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 2, 0);
    cut(w);
    start(w);
    fill(w, 3, 1, 0);
    acked_only(w, P1, 4, 0, 3);
    cut(w);
    start(w);
    fill(w, 5, 1, 0);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->written_lost, 1);
    assert_int_equal(check_figures(w->c)->written, 5);
    assert_int_equal(check_figures(w->c)->cuts, 2);
}

static void lost_by_the_first_cut_and_much_was_sent_since(void **state)
{
    struct world *w = *state;
    /* what was acknowledged after the first cut says nothing about what that cut took */
    w->level = HIST_WRITTEN;
    fill(w, 1, 2, 0);
    acked_only(w, P2, 1, 0, 2);
    cut(w);
    start(w);
    fill(w, 3, 5, 0);
    cut(w);
    start(w);
    world_clean(w);
}

static void cut_while_it_was_on_its_way(void **state)
{
    struct world *w = *state;
    /* sent before the cut, answered after it by the broker that served before: its answer was late
     */
    w->level = HIST_WRITTEN;
    fill(w, 1, 2, 0);
    send_(w, P2, 1, 0);
    cut(w);
    sent(w, P2, 1, 0, 2, HIST_OK);
    start(w);
    world_clean(w);
}

static void survivors_of_another_partition_say_nothing(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 2, 0);
    fill(w, 3, 6, 1);
    acked_only(w, P2, 1, 0, 2);
    fill(w, 9, 6, 1);
    cut(w);
    start(w);
    world_clean(w);
}

static void a_survivor_whose_answer_came_before_that_of_one_below(void **state)
{
    struct world *w = *state;
    /* offset 4 is answered first, then offset 1; offset 2 is lost: not a suffix */
    w->level = HIST_WRITTEN;
    fill(w, 1, 1, 0);
    send_(w, P1, 2, 0);
    append(w, P1, 2, 0);
    acked_only(w, P2, 1, 0, 2);
    send_(w, P2, 2, 0);
    append(w, P2, 2, 0);
    send_(w, P2, 3, 0);
    append(w, P2, 3, 0);
    send_(w, P1, 3, 0);
    append(w, P1, 3, 0);
    sent(w, P1, 3, 0, 4, HIST_OK);
    sent(w, P1, 2, 0, 1, HIST_OK);
    cut(w);
    start(w);
    world_wants(w, CHECK_LOST_HOLE);
}

static void written_lost_at_the_start_of_the_log(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    acked_only(w, P2, 1, 0, 3);
    w->log[0].start = 3;
    world_wants(w, CHECK_LOST_WRITTEN);
}

static void written_below_the_start_of_the_log(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    w->log[0].start = 3;
    fill(w, 4, 1, 0);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->written_lost, 0);
}

/* ---------------------------------------------------------------- once is enough */

static void seen_early_by_two(void **state)
{
    struct world *w = *state;
    send_delayed(w, P1, 1, 0, 1000);
    sent(w, P1, 1, 0, -1, HIST_OK);
    append(w, P1, 1, 0);
    read_sub(w, 1, 0, 0);
    read_sub(w, 2, 0, 0);
    w->now += INT64_C(2000000000);
    world_wants(w, CHECK_EARLY);
}

static void damage_seen_by_three(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    w->log[0].v[3].flags = HIST_BAD_VALUE;
    read_sub(w, 1, 0, 3);
    read_sub(w, 2, 0, 3);
    world_wants(w, CHECK_DAMAGED);
}

static void two_values_in_turn(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    send_(w, P1, 3, 0);
    send_(w, P2, 1, 0);
    append(w, P2, 1, 0);
    read_value(w, 0, 2, P1, 3);
    read_sub(w, 2, 0, 2);
    struct hist_event again = {.kind = HIST_READ,
                               .topic = TOPIC,
                               .partition = 0,
                               .offset = 2,
                               .producer = 1,
                               .counter = 3,
                               .extra = 3};
    world_add(w, R1, again);
    world_wants(w, CHECK_TWO_VALUES);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_acks(void)
{
    const struct CMUnitTest tests[] = {
        T(offset_goes_back_to_one_that_nobody_was_told),
        T(each_partition_counts_for_itself),
        T(the_greatest_counts_not_the_last),
        T(answered_with_offset_0_and_is_at_1),
        T(lost_by_the_second_cut),
        T(lost_by_the_first_cut_and_much_was_sent_since),
        T(cut_while_it_was_on_its_way),
        T(survivors_of_another_partition_say_nothing),
        T(a_survivor_whose_answer_came_before_that_of_one_below),
        T(written_lost_at_the_start_of_the_log),
        T(written_below_the_start_of_the_log),
        T(seen_early_by_two),
        T(damage_seen_by_three),
        T(two_values_in_turn),
    };
    return cmocka_run_group_tests_name("acknowledgements", tests, 0, 0);
}
