/* Groups in log mode: A7, A8, and what a member gets (A9). */
#include "tests/faults/check/tests.h"
#include "tests/faults/check/world.h"

/* ---------------------------------------------------------------- what a member gets */

static void one_member(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 6);
    commit(w, M1, 0, 6, 1, HIST_OK);
    position(w, LOG_GROUP, 0, 6);
    lost(w, M1, 0, 1);
    left(w, M1);
    w->last_group = LOG_GROUP;
    world_clean(w);
    assert_int_equal(check_figures(w->c)->delivered, 6);
    assert_int_equal(check_figures(w->c)->commits, 1);
}

static void handed_over_with_redelivery(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 4);
    commit(w, M1, 0, 2, 1, HIST_OK);
    lost(w, M1, 0, 1);
    join(w, M2);
    gained(w, M2, 0, 2, 3); /* from the commit on: 2 and 3 come again */
    deliver_all(w, M2, 0, 2, 6);
    commit(w, M2, 0, 6, 3, HIST_OK);
    w->last_group = LOG_GROUP;
    world_clean(w);
}

static void member_skips(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 2);
    deliver_all(w, M1, 0, 3, 6);
    world_wants(w, CHECK_READ_SKIP);
}

static void member_begins_too_late(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 1, 1);
    deliver_all(w, M1, 0, 2, 6);
    world_wants_two(w, CHECK_READ_SKIP, CHECK_POSITION_AHEAD);
}

static void member_led_past_what_retention_took(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 1, 1);
    deliver_all(w, M1, 0, 3, 6);
    w->log[0].start = 3;
    world_wants(w, CHECK_SILENT_RESET);
}

static void member_begins_where_retention_left_it(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 3, 1);
    deliver_all(w, M1, 0, 3, 6);
    w->log[0].start = 3;
    world_clean(w);
}

static void member_goes_back(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 3, 6);
    world_wants(w, CHECK_READ_BACK);
}

static void gained_again_goes_back_rightly(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 4);
    lost(w, M1, 0, 1);
    gained(w, M1, 0, 0, 2);
    deliver_all(w, M1, 0, 0, 6);
    world_clean(w);
}

static void delivered_after_losing(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 2);
    lost(w, M1, 0, 1);
    deliver(w, M1, 0, 2, 1);
    world_wants(w, CHECK_UNOWNED);
}

static void delivered_after_leaving(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    left(w, M1);
    join(w, M1);
    deliver(w, M1, 0, 0, 1);
    world_wants(w, CHECK_UNOWNED);
}

/* ---------------------------------------------------------------- owners and generations */

static void double_owner(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    gained(w, M2, 0, 0, 4);
    world_wants(w, CHECK_DOUBLE_OWNER);
}

static void two_partitions_of_one_generation(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    fill(w, 4, 3, 1);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    gained(w, M2, 1, 0, 4);
    world_clean(w);
}

static void a_zombie_still_reads(void **state)
{
    struct world *w = *state;
    /* M1 sleeps, M2 gets the partition; M1 wakes and hands out what it had: it was told nothing yet
     */
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver(w, M1, 0, 0, 1);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    deliver_all(w, M2, 0, 0, 4);
    deliver(w, M1, 0, 1, 1);
    commit(w, M1, 0, 2, 4, HIST_FAIL);
    lost(w, M1, 0, 4);
    world_clean(w);
}

static void stale_commit(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 2);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    commit(w, M1, 0, 2, 4, HIST_OK);
    world_wants(w, CHECK_STALE_COMMIT);
}

static void stale_commit_unknown(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 2);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    commit(w, M1, 0, 2, 4, HIST_UNKNOWN);
    world_clean(w);
}

static void commit_asked_before_the_handover(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 2);
    const uint64_t op = commit_ask(w, M1, 0, 2, 4);
    join(w, M2);
    gained(w, M2, 0, 2, 6);
    commit_answer(w, M1, 0, 2, 4, op, HIST_OK);
    world_clean(w);
}

static void commit_of_one_who_got_it_back(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    lost(w, M1, 0, 4);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    lost(w, M2, 0, 6);
    gained(w, M1, 0, 0, 8);
    deliver_all(w, M1, 0, 0, 2);
    commit(w, M1, 0, 2, 8, HIST_OK);
    world_clean(w);
}

/* ---------------------------------------------------------------- positions */

/* M1 has read and committed four of six. */
static void four_of_six(struct world *w)
{
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 4);
    commit(w, M1, 0, 4, 4, HIST_OK);
}

static void position_back(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    position(w, LOG_GROUP, 0, 3);
    world_wants(w, CHECK_POSITION_BACK);
}

static void position_told_and_then_less(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 5);
    commit(w, M1, 0, 5, 4, HIST_UNKNOWN);
    position(w, LOG_GROUP, 0, 5);
    position(w, LOG_GROUP, 0, 0);
    world_wants(w, CHECK_POSITION_BACK);
}

static void position_of_an_unknown_commit(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 5);
    commit(w, M1, 0, 5, 4, HIST_UNKNOWN);
    position(w, LOG_GROUP, 0, 0);
    position(w, LOG_GROUP, 0, 5);
    world_clean(w);
}

static void position_asked_before_the_commit_was_answered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 4);
    const int64_t asked = world_tick(w);
    commit(w, M1, 0, 4, 4, HIST_OK);
    struct hist_event e = {.kind = HIST_POSITION,
                           .topic = TOPIC,
                           .partition = 0,
                           .offset = 0,
                           .group = LOG_GROUP,
                           .counter = (uint64_t)asked};
    world_add(w, OB, e);
    world_clean(w);
}

static void position_of_another_group(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    position(w, QUEUE_GROUP, 0, 0);
    world_clean(w);
}

static void position_after_a_seek(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    left(w, M1);
    seek(w, LOG_GROUP, 0, 1, HIST_OK);
    position(w, LOG_GROUP, 0, 1);
    join(w, M1);
    gained(w, M1, 0, 1, 6);
    deliver_all(w, M1, 0, 1, 6);
    commit(w, M1, 0, 3, 6, HIST_OK);
    world_clean(w);
}

static void position_after_a_seek_of_everything(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    left(w, M1);
    seek(w, LOG_GROUP, -1, 0, HIST_OK);
    position(w, LOG_GROUP, 0, 1);
    world_clean(w);
}

static void position_after_a_seek_of_unknown_outcome(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    left(w, M1);
    seek(w, LOG_GROUP, 0, 1, HIST_UNKNOWN);
    position(w, LOG_GROUP, 0, 4);
    position(w, LOG_GROUP, 0, 1);
    world_clean(w);
}

static void position_back_after_a_seek_that_failed(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    seek(w, LOG_GROUP, 0, 1, HIST_FAIL);
    position(w, LOG_GROUP, 0, 1);
    world_wants(w, CHECK_POSITION_BACK);
}

static void position_back_after_a_seek_and_a_commit(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    left(w, M1);
    seek(w, LOG_GROUP, 0, 1, HIST_OK);
    join(w, M1);
    gained(w, M1, 0, 1, 6);
    deliver_all(w, M1, 0, 1, 3);
    commit(w, M1, 0, 3, 6, HIST_OK);
    position(w, LOG_GROUP, 0, 1);
    world_wants(w, CHECK_POSITION_BACK);
}

static void position_past_the_end(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    position(w, LOG_GROUP, 0, 7);
    world_wants_two(w, CHECK_POSITION_PAST, CHECK_POSITION_AHEAD);
}

static void commit_past_the_end(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    deliver_all(w, M1, 0, 4, 6);
    commit(w, M1, 0, 7, 4, HIST_OK);
    world_wants(w, CHECK_POSITION_PAST);
}

static void commit_back(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    commit(w, M1, 0, 3, 4, HIST_OK);
    world_wants(w, CHECK_COMMIT_BACK);
}

static void commit_back_refused_and_the_same_again(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    commit(w, M1, 0, 3, 4, HIST_FAIL);
    commit(w, M1, 0, 4, 4, HIST_OK);
    world_clean(w);
}

static void gained_below_a_commit(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    lost(w, M1, 0, 4);
    join(w, M2);
    gained(w, M2, 0, 2, 6);
    deliver_all(w, M2, 0, 2, 6);
    world_wants(w, CHECK_GAINED_BACK);
}

static void gained_below_a_commit_of_two_generations_ago(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    lost(w, M1, 0, 4);
    join(w, M2);
    gained(w, M2, 0, 4, 6);
    deliver_all(w, M2, 0, 4, 6);
    commit(w, M2, 0, 5, 6, HIST_OK);
    lost(w, M2, 0, 6);
    gained(w, M1, 0, 4, 8);
    world_wants(w, CHECK_GAINED_BACK);
}

static void gained_below_a_commit_that_was_not_answered(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 4);
    commit_ask(w, M1, 0, 4, 4);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    deliver_all(w, M2, 0, 0, 6);
    world_clean(w);
}

static void told_of_gaining_late(void **state)
{
    struct world *w = *state;
    /* M1 was told of generation 4 and sleeps before it can write so; M2 has it by then and commits
     */
    fill(w, 1, 6, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    deliver_all(w, M2, 0, 0, 6);
    commit(w, M2, 0, 6, 6, HIST_OK);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 1);
    commit(w, M1, 0, 1, 4, HIST_FAIL);
    world_clean(w);
}

static void gained_below_a_commit_of_a_generation_before_the_last(void **state)
{
    struct world *w = *state;
    /* the last generation committed less than the one before it, which a broker that fences allows
     * only when nobody else is asked: what counts is the greatest of all older ones */
    fill(w, 1, 8, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 6);
    const uint64_t op = commit_ask(w, M1, 0, 6, 4);
    gained(w, M2, 0, 6, 6);
    deliver_all(w, M2, 0, 6, 8);
    const uint64_t op2 = commit_ask(w, M2, 0, 7, 6);
    commit_answer(w, M2, 0, 7, 6, op2, HIST_OK);
    commit_answer(w, M1, 0, 6, 4, op, HIST_OK);
    gained(w, M1, 0, 5, 8);
    world_wants(w, CHECK_GAINED_BACK);
}

static void gained_at_an_older_commit_while_the_last_is_of_its_own_time(void **state)
{
    struct world *w = *state;
    /* generation 5 is told late, after 6 has committed: only what generation 4 committed binds it
     */
    fill(w, 1, 8, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 3);
    commit(w, M1, 0, 3, 4, HIST_OK);
    lost(w, M1, 0, 4);
    gained(w, M2, 0, 3, 6);
    deliver_all(w, M2, 0, 3, 8);
    commit(w, M2, 0, 8, 6, HIST_OK);
    gained(w, M1, 0, 2, 5);
    world_wants(w, CHECK_GAINED_BACK);
}

static void an_answer_that_names_a_newer_generation(void **state)
{
    struct world *w = *state;
    /* asked in generation 4, answered in 8: it may have been sent with 8 */
    fill(w, 1, 4, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    join(w, M2);
    gained(w, M2, 0, 0, 6);
    lost(w, M2, 0, 6);
    deliver_all(w, M1, 0, 0, 2);
    const uint64_t op = commit_ask(w, M1, 0, 2, 4);
    commit_answer(w, M1, 0, 2, 8, op, HIST_OK);
    world_clean(w);
}

static void generations_of_two_groups_do_not_mix(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    struct hist_event e = {
        .kind = HIST_GAINED, .topic = TOPIC, .partition = 0, .group = 9, .generation = 4};
    world_add(w, M2, e);
    world_clean(w);
}

static void a_commit_below_what_was_told_does_not_bind_less(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 5);
    commit(w, M1, 0, 5, 4, HIST_UNKNOWN);
    position(w, LOG_GROUP, 0, 5);
    commit(w, M1, 0, 4, 4, HIST_OK);
    position(w, LOG_GROUP, 0, 4);
    world_wants(w, CHECK_POSITION_BACK);
}

static void position_of_a_queue_may_go_back(void **state)
{
    struct world *w = *state;
    /* below it is what is settled, and what is settled is on disk only when it is answered */
    fill(w, 1, 6, 0);
    join(w, W1);
    position(w, QUEUE_GROUP, 0, 5);
    position(w, QUEUE_GROUP, 0, 3);
    world_clean(w);
}

static void a_seek_of_another_partition_excuses_nothing(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 1);
    join(w, M1);
    gained(w, M1, 1, 0, 4);
    deliver_all(w, M1, 1, 0, 4);
    commit(w, M1, 1, 4, 4, HIST_OK);
    watermark(w, 0, 0);
    seek(w, LOG_GROUP, 0, 0, HIST_OK);
    position(w, LOG_GROUP, 1, 3);
    world_wants(w, CHECK_POSITION_BACK);
}

static void a_seek_of_another_group_excuses_nothing(void **state)
{
    struct world *w = *state;
    four_of_six(w);
    seek(w, QUEUE_GROUP, 0, 0, HIST_OK);
    position(w, LOG_GROUP, 0, 3);
    world_wants(w, CHECK_POSITION_BACK);
}

static void a_commit_asked_during_a_seek_binds_nobody(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 4);
    struct hist_event e = {.kind = HIST_SEEK,
                           .topic = TOPIC,
                           .partition = 0,
                           .offset = 1,
                           .group = LOG_GROUP,
                           .op = 1000};
    world_add(w, DI, e);
    const uint64_t op = commit_ask(w, M1, 0, 4, 4);
    e.kind = HIST_SEEK_DONE;
    world_add(w, DI, e);
    commit_answer(w, M1, 0, 4, 4, op, HIST_OK);
    position(w, LOG_GROUP, 0, 1);
    world_clean(w);
}

static void double_owner_among_many(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    fill(w, 4, 3, 1);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 4);
    gained(w, M1, 1, 0, 5);
    gained(w, M2, 1, 0, 6);
    gained(w, M1, 0, 0, 7);
    gained(w, M1, 1, 0, 8);
    gained(w, M2, 1, 0, 4);
    gained(w, M2, 0, 0, 4);
    gained(w, M2, 0, 0, 9);
    world_wants(w, CHECK_DOUBLE_OWNER);
}

static void gained_below_the_second_commit_of_a_generation(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 4);
    deliver_all(w, M1, 0, 0, 4);
    commit(w, M1, 0, 2, 4, HIST_OK);
    commit(w, M1, 0, 4, 4, HIST_OK);
    lost(w, M1, 0, 4);
    join(w, M2);
    gained(w, M2, 0, 3, 6);
    world_wants(w, CHECK_GAINED_BACK);
}

/* M1 dies over what it had; the group goes on behind it. */
static void gained_beyond_all_commits(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 4);
    commit(w, M1, 0, 2, 1, HIST_OK);
    gained(w, M2, 0, 4, 2);
    deliver_all(w, M2, 0, 4, 6);
    w->last_group = LOG_GROUP;
    world_wants(w, CHECK_POSITION_AHEAD);
}

static void gained_behind_a_commit_without_an_answer(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    join(w, M1);
    join(w, M2);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 4);
    commit_ask(w, M1, 0, 4, 1);
    gained(w, M2, 0, 4, 2);
    deliver_all(w, M2, 0, 4, 6);
    w->last_group = LOG_GROUP;
    world_clean(w);
}

/* A crash forgets a generation that was told: who joins afterwards is told it again. */
static void a_generation_comes_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    fill(w, 4, 3, 1);
    join(w, M1);
    gained(w, M1, 0, 0, 7);
    join(w, M2);
    gained(w, M2, 1, 0, 7);
    world_wants(w, CHECK_EPOCH_BACK);
}

static void a_smaller_generation_told_late(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    fill(w, 4, 3, 1);
    join(w, M1);
    join(w, M2);
    gained(w, M2, 1, 0, 7);
    gained(w, M1, 0, 0, 6); /* it joined before that */
    world_clean(w);
}

/* What the group had not read yet is deleted, and the start of the log excuses it. */
static void deleted_before_the_group_had_it(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 2);
    commit(w, M1, 0, 2, 1, HIST_OK);
    left(w, M1);
    fill(w, 3, 2, 0);
    join(w, M2);
    gained(w, M2, 0, 3, 2);
    deliver_all(w, M2, 0, 3, 4);
    w->log[0].start = 3;
    w->last_group = LOG_GROUP;
    world_wants(w, CHECK_UNDELIVERED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_log(void)
{
    const struct CMUnitTest tests[] = {
        T(one_member),
        T(gained_beyond_all_commits),
        T(gained_behind_a_commit_without_an_answer),
        T(a_generation_comes_again),
        T(a_smaller_generation_told_late),
        T(deleted_before_the_group_had_it),
        T(handed_over_with_redelivery),
        T(member_skips),
        T(member_begins_too_late),
        T(member_led_past_what_retention_took),
        T(member_begins_where_retention_left_it),
        T(member_goes_back),
        T(gained_again_goes_back_rightly),
        T(delivered_after_losing),
        T(delivered_after_leaving),
        T(double_owner),
        T(two_partitions_of_one_generation),
        T(a_zombie_still_reads),
        T(stale_commit),
        T(stale_commit_unknown),
        T(commit_asked_before_the_handover),
        T(commit_of_one_who_got_it_back),
        T(position_back),
        T(position_told_and_then_less),
        T(position_of_an_unknown_commit),
        T(position_asked_before_the_commit_was_answered),
        T(position_of_another_group),
        T(position_after_a_seek),
        T(position_after_a_seek_of_everything),
        T(position_after_a_seek_of_unknown_outcome),
        T(position_back_after_a_seek_that_failed),
        T(position_back_after_a_seek_and_a_commit),
        T(position_past_the_end),
        T(commit_past_the_end),
        T(commit_back),
        T(commit_back_refused_and_the_same_again),
        T(gained_below_a_commit),
        T(gained_below_a_commit_of_two_generations_ago),
        T(gained_below_a_commit_that_was_not_answered),
        T(told_of_gaining_late),
        T(gained_below_a_commit_of_a_generation_before_the_last),
        T(gained_at_an_older_commit_while_the_last_is_of_its_own_time),
        T(an_answer_that_names_a_newer_generation),
        T(generations_of_two_groups_do_not_mix),
        T(a_commit_below_what_was_told_does_not_bind_less),
        T(position_of_a_queue_may_go_back),
        T(a_seek_of_another_partition_excuses_nothing),
        T(a_seek_of_another_group_excuses_nothing),
        T(a_commit_asked_during_a_seek_binds_nobody),
        T(double_owner_among_many),
        T(gained_below_the_second_commit_of_a_generation),
    };
    return cmocka_run_group_tests_name("log groups", tests, 0, 0);
}
