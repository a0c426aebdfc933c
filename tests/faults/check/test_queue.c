/* Groups in queue mode (A7), groups that were drained, and probes (A10). */
#include "tests/faults/check/tests.h"
#include "tests/faults/check/world.h"

enum { ACK = 0, NACK = 1, RELEASE = 2 };

static void later(struct world *w, int64_t s)
{
    w->now += s * 1000000000;
}

static void work_off(struct world *w, enum who who, int32_t p, int64_t from, int64_t to)
{
    for (int64_t o = from; o < to; o++) {
        deliver(w, who, p, o, 1);
        settle(w, who, p, o, ACK, HIST_OK);
    }
}

static void worked_off(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, W1);
    join(w, W2);
    for (int64_t o = 0; o < 4; o++) {
        deliver(w, o % 2 ? W1 : W2, 0, o, 1);
        settle(w, o % 2 ? W1 : W2, 0, o, ACK, HIST_OK);
    }
    w->last_group = QUEUE_GROUP;
    world_clean(w);
    assert_int_equal(check_figures(w->c)->settles, 4);
}

static void nacked_and_delivered_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, NACK, HIST_OK);
    deliver(w, W2, 0, 0, 2);
    settle(w, W2, 0, 0, RELEASE, HIST_OK);
    deliver(w, W1, 0, 0, 2);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    world_clean(w);
}

static void ack_unknown_and_delivered_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_UNKNOWN);
    later(w, 20);
    deliver(w, W2, 0, 0, 2);
    settle(w, W2, 0, 0, ACK, HIST_OK);
    world_clean(w);
}

static void ack_refused_and_delivered_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_FAIL);
    later(w, 20);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

static void acked_and_again_to_the_same(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    deliver(w, W1, 0, 0, 1);
    world_wants(w, CHECK_ACKED_AGAIN);
}

static void acked_and_again_with_a_higher_count(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_ACKED_AGAIN);
}

static void acked_and_again_to_one_who_joined_later(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    join(w, W2);
    deliver(w, W2, 0, 0, 1);
    world_wants(w, CHECK_ACKED_AGAIN);
}

static void a_zombie_hands_out_what_it_had(void **state)
{
    struct world *w = *state;
    /* W2 had it first and slept until its lease was over */
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 2);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    deliver(w, W2, 0, 0, 1);
    settle(w, W2, 0, 0, ACK, HIST_FAIL);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->late_deliveries, 1);
}

static void acked_and_again_behind_newer_ones(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    fill(w, 2, 1, 0);
    deliver(w, W2, 0, 1, 1);
    deliver(w, W2, 0, 0, 1);
    world_wants(w, CHECK_ACKED_AGAIN);
}

static void a_zombie_behind_what_was_there_already(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    join(w, W1);
    join(w, W2);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    deliver(w, W2, 0, 1, 1);
    deliver(w, W2, 0, 0, 1);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->late_deliveries, 1);
}

static void acked_by_one_group_delivered_to_another(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver(w, M1, 0, 0, 1);
    world_clean(w);
}

static void acked_sought_and_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    seek(w, QUEUE_GROUP, 0, 0, HIST_OK);
    deliver(w, W1, 0, 0, 1);
    world_clean(w);
}

static void sought_acked_and_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 1, 0);
    join(w, W1);
    seek(w, QUEUE_GROUP, 0, 0, HIST_OK);
    deliver(w, W1, 0, 0, 1);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    deliver(w, W1, 0, 0, 1);
    world_wants(w, CHECK_ACKED_AGAIN);
}

/* ---------------------------------------------------------------- leased twice */

/* W1 has one of P1 in its hands. */
static void in_work(struct world *w)
{
    join(w, W1);
    join(w, W2);
    fill(w, 1, 1, 0);
    deliver(w, W1, 0, 0, 1);
}

static void leased_twice_with_a_higher_count(void **state)
{
    struct world *w = *state;
    in_work(w);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_twice_though_the_ack_was_refused(void **state)
{
    struct world *w = *state;
    in_work(w);
    settle(w, W1, 0, 0, ACK, HIST_FAIL);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_twice_behind_newer_ones(void **state)
{
    struct world *w = *state;
    in_work(w);
    fill(w, 2, 1, 0);
    deliver(w, W2, 0, 1, 1);
    deliver(w, W2, 0, 0, 1);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_twice_to_the_same(void **state)
{
    struct world *w = *state;
    in_work(w);
    settle(w, W1, 0, 0, ACK, HIST_UNKNOWN);
    deliver(w, W1, 0, 0, 1);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_twice_long_after_but_the_first_was_good(void **state)
{
    struct world *w = *state;
    in_work(w);
    later(w, 60);
    deliver(w, W2, 0, 0, 2);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_again_and_the_first_was_not_good(void **state)
{
    struct world *w = *state;
    in_work(w);
    later(w, 60);
    deliver(w, W2, 0, 0, 2);
    settle(w, W1, 0, 0, ACK, HIST_FAIL);
    settle(w, W2, 0, 0, ACK, HIST_OK);
    world_clean(w);
}

static void leased_again_and_the_first_got_it_once_more(void **state)
{
    struct world *w = *state;
    in_work(w);
    later(w, 60);
    deliver(w, W2, 0, 0, 2);
    settle(w, W2, 0, 0, NACK, HIST_OK);
    deliver(w, W1, 0, 0, 3);
    settle(w, W1, 0, 0, ACK, HIST_OK);
    world_clean(w);
}

static void leased_again_just_before_any_lease_ends(void **state)
{
    struct world *w = *state;
    in_work(w);
    w->now += INT64_C(8900000000);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void leased_again_when_a_lease_may_have_ended(void **state)
{
    struct world *w = *state;
    in_work(w);
    w->now += INT64_C(9100000000);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

static void leased_again_where_leases_are_short(void **state)
{
    struct world *w = *state;
    w->o.min_lease_ms = 1000;
    in_work(w);
    later(w, 2);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

static void leased_again_after_leaving(void **state)
{
    struct world *w = *state;
    in_work(w);
    left(w, W1);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

static void leased_again_just_before_leaving_is_told(void **state)
{
    struct world *w = *state;
    in_work(w);
    deliver(w, W2, 0, 0, 2);
    left(w, W1);
    world_clean(w);
}

static void leased_long_before_it_was_handed_out(void **state)
{
    struct world *w = *state;
    /* it lay with W1 since it was sent: its lease is old */
    join(w, W1);
    join(w, W2);
    fill(w, 1, 1, 0);
    later(w, 30);
    deliver(w, W1, 0, 0, 1);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

static void handed_out_behind_a_new_one(void **state)
{
    struct world *w = *state;
    /* it is as old, but W1 cannot have had it for long: it came behind one that is new */
    join(w, W1);
    join(w, W2);
    fill(w, 1, 1, 0);
    later(w, 30);
    fill(w, 2, 1, 0);
    deliver(w, W1, 0, 1, 1);
    deliver(w, W1, 0, 0, 1);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void handed_out_by_one_who_joined_just_now(void **state)
{
    struct world *w = *state;
    join(w, W2);
    fill(w, 1, 1, 0);
    later(w, 30);
    join(w, W1);
    deliver(w, W1, 0, 0, 1);
    deliver(w, W2, 0, 0, 2);
    world_wants(w, CHECK_LEASED_TWICE);
}

static void no_telling_which_was_first(void **state)
{
    struct world *w = *state;
    in_work(w);
    deliver(w, W2, 0, 0, 1);
    world_clean(w);
}

static void sought_and_leased_again(void **state)
{
    struct world *w = *state;
    in_work(w);
    seek(w, QUEUE_GROUP, 0, 0, HIST_OK);
    deliver(w, W2, 0, 0, 2);
    world_clean(w);
}

/* ---------------------------------------------------------------- drained */

static void never_delivered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, W1);
    work_off(w, W1, 0, 0, 2);
    work_off(w, W1, 0, 3, 4);
    w->last_group = QUEUE_GROUP;
    world_wants(w, CHECK_UNDELIVERED);
}

static void a_whole_partition_never_delivered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    fill(w, 3, 1, 1);
    join(w, W1);
    work_off(w, W1, 0, 0, 2);
    w->last_group = QUEUE_GROUP;
    world_wants(w, CHECK_UNDELIVERED);
}

static void not_drained_and_not_delivered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, W1);
    deliver_all(w, W1, 0, 0, 2);
    w->last_group = LOG_GROUP; /* the other group is drained, and has no part in the topic */
    world_clean(w);
}

static void below_the_start_and_not_delivered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, W1);
    work_off(w, W1, 0, 2, 4);
    w->log[0].start = 2;
    w->last_group = QUEUE_GROUP;
    world_clean(w);
}

static void sought_past_and_not_delivered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    seek(w, QUEUE_GROUP, 0, 3, HIST_OK);
    join(w, W1);
    deliver_all(w, W1, 0, 3, 4);
    w->last_group = QUEUE_GROUP;
    world_clean(w);
}

static void came_in_after_the_group_was_drained(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    join(w, W1);
    work_off(w, W1, 0, 0, 2);
    struct hist_event e = {
        .kind = HIST_UNSEEN, .partition = -1, .offset = -1, .group = QUEUE_GROUP};
    world_add(w, DI, e);
    fill(w, 3, 2, 0);
    world_clean(w);
}

static void unseen(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    struct hist_event e = {
        .kind = HIST_UNSEEN, .partition = -1, .offset = -1, .group = QUEUE_GROUP, .counter = 2};
    world_add(w, DI, e);
    world_wants(w, CHECK_UNSEEN);
}

/* ---------------------------------------------------------------- probes */

static void probe(struct world *w, uint64_t what, uint32_t ms, enum hist_outcome outcome)
{
    struct hist_event e = {.kind = HIST_PROBE,
                           .outcome = (uint8_t)outcome,
                           .partition = -1,
                           .offset = -1,
                           .counter = what,
                           .extra = ms};
    world_add(w, DI, e);
}

static void probe_just_in_time(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    probe(w, HIST_PROBE_JOIN, 10000, HIST_OK);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->slowest_probe_ms, 10000);
}

static void probe_too_slow(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    probe(w, HIST_PROBE_FETCH, 10001, HIST_OK);
    world_wants(w, CHECK_PROBE);
}

static void probe_failed(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    probe(w, HIST_PROBE_PRODUCE, 5, HIST_FAIL);
    world_wants(w, CHECK_PROBE);
}

static void probe_unknown(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    probe(w, HIST_PROBE_JOIN, 5, HIST_UNKNOWN);
    world_wants(w, CHECK_PROBE);
}

/* The worker died over it, and the broker takes it for done. */
static void handed_out_and_forgotten(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, W1);
    work_off(w, W1, 0, 0, 2);
    deliver(w, W1, 0, 2, 1);
    w->last_group = QUEUE_GROUP;
    world_wants(w, CHECK_UNSETTLED);
}

static void handed_out_and_perhaps_acknowledged(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, W1);
    work_off(w, W1, 0, 0, 2);
    deliver(w, W1, 0, 2, 1);
    settle(w, W1, 0, 2, ACK, HIST_UNKNOWN);
    w->last_group = QUEUE_GROUP;
    world_clean(w);
}

static void handed_out_until_it_was_dead(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    join(w, W1);
    work_off(w, W1, 0, 0, 1);
    deliver(w, W1, 0, 1, 16);
    w->last_group = QUEUE_GROUP;
    world_clean(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_queue(void)
{
    const struct CMUnitTest tests[] = {
        T(worked_off),
        T(handed_out_and_forgotten),
        T(handed_out_and_perhaps_acknowledged),
        T(handed_out_until_it_was_dead),
        T(nacked_and_delivered_again),
        T(ack_unknown_and_delivered_again),
        T(ack_refused_and_delivered_again),
        T(acked_and_again_to_the_same),
        T(acked_and_again_with_a_higher_count),
        T(acked_and_again_to_one_who_joined_later),
        T(a_zombie_hands_out_what_it_had),
        T(acked_and_again_behind_newer_ones),
        T(a_zombie_behind_what_was_there_already),
        T(acked_by_one_group_delivered_to_another),
        T(acked_sought_and_again),
        T(sought_acked_and_again),
        T(leased_twice_with_a_higher_count),
        T(leased_twice_though_the_ack_was_refused),
        T(leased_twice_behind_newer_ones),
        T(leased_twice_to_the_same),
        T(leased_twice_long_after_but_the_first_was_good),
        T(leased_again_and_the_first_was_not_good),
        T(leased_again_and_the_first_got_it_once_more),
        T(leased_again_just_before_any_lease_ends),
        T(leased_again_when_a_lease_may_have_ended),
        T(leased_again_where_leases_are_short),
        T(leased_again_after_leaving),
        T(leased_again_just_before_leaving_is_told),
        T(leased_long_before_it_was_handed_out),
        T(handed_out_behind_a_new_one),
        T(handed_out_by_one_who_joined_just_now),
        T(no_telling_which_was_first),
        T(sought_and_leased_again),
        T(never_delivered),
        T(a_whole_partition_never_delivered),
        T(not_drained_and_not_delivered),
        T(below_the_start_and_not_delivered),
        T(sought_past_and_not_delivered),
        T(came_in_after_the_group_was_drained),
        T(unseen),
        T(probe_just_in_time),
        T(probe_too_slow),
        T(probe_failed),
        T(probe_unknown),
    };
    return cmocka_run_group_tests_name("queue groups", tests, 0, 0);
}
