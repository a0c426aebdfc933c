/* Readers and watermarks: A9. */
#include "tests/faults/check/tests.h"
#include "tests/faults/check/world.h"

static void reads_all_in_order(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    for (int64_t o = 0; o < 5; o++) {
        read_(w, 0, o);
    }
    world_clean(w);
    assert_int_equal(check_figures(w->c)->read, 5);
}

static void skips_one(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    read_(w, 0, 0);
    read_(w, 0, 2);
    world_wants(w, CHECK_READ_SKIP);
}

static void led_past_what_retention_took(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    read_(w, 0, 0);
    read_(w, 0, 4);
    w->log[0].start = 4;
    world_wants(w, CHECK_SILENT_RESET);
}

static void told_what_retention_took(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    read_sub(w, 1, 0, 0); /* the subscription ends with an error; the next begins at the start */
    read_sub(w, 2, 0, 4);
    w->log[0].start = 4;
    world_clean(w);
}

static void reads_one_again(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    read_(w, 0, 0);
    read_(w, 0, 1);
    read_(w, 0, 1);
    world_wants(w, CHECK_READ_BACK);
}

static void a_new_subscription_begins_anywhere(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    read_sub(w, 1, 0, 3);
    read_sub(w, 2, 0, 0);
    read_sub(w, 2, 0, 1);
    read_sub(w, 3, 0, 4);
    world_clean(w);
}

static void partitions_do_not_mix(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    fill(w, 4, 3, 1);
    read_(w, 0, 0);
    read_(w, 1, 0);
    read_(w, 1, 1);
    read_(w, 0, 1);
    world_clean(w);
}

static void seen_beyond_the_end(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    read_value(w, 0, 3, P1, 4);
    world_wants(w, CHECK_SEEN_LOST);
}

static void written_but_seen_may_not_be_lost(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    read_value(w, 0, 3, P1, 4);
    cut(w);
    start(w);
    world_wants(w, CHECK_SEEN_LOST);
}

static void seen_and_below_the_start_now(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    read_(w, 0, 0);
    w->log[0].start = 4;
    world_clean(w);
}

static void watermarks_rise(void **state)
{
    struct world *w = *state;
    fill(w, 1, 2, 0);
    watermark(w, 0, 2);
    fill(w, 3, 3, 0);
    watermark(w, 0, 5);
    watermark(w, 1, 0);
    world_clean(w);
    assert_int_equal(check_figures(w->c)->watermarks, 3);
}

static void watermark_goes_back(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    watermark(w, 0, 5);
    watermark(w, 0, 4);
    world_wants(w, CHECK_HW_BACK);
}

static void watermark_beyond_the_final_one(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    watermark(w, 0, 6);
    world_judge(w, CHECK_VIOLATION);
    assert_int_equal(check_count(w->c, CHECK_HW_BACK), 2); /* both passes are told less */
}

static void watermark_asked_before_the_other_was_told(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    const int64_t asked = world_tick(w);
    fill(w, 4, 2, 0);
    watermark(w, 0, 5);
    struct hist_event late = {
        .kind = HIST_HW, .topic = TOPIC, .partition = 0, .offset = 3, .counter = (uint64_t)asked};
    world_add(w, OB, late);
    world_clean(w);
}

static void a_pass_of_the_final_read_skips(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    /* pass 1 by hand, with a gap that pass 2 does not have */
    const struct world_log *l = &w->log[0];
    for (uint32_t pass = 1; pass <= 2; pass++) {
        for (int32_t p = 0; p < WORLD_PARTS; p++) {
            struct hist_event range = {.kind = HIST_FINAL_RANGE,
                                       .topic = TOPIC,
                                       .partition = p,
                                       .counter = (uint64_t)w->log[p].end,
                                       .extra = pass};
            world_add(w, LR, range);
            for (int64_t o = 0; o < w->log[p].end; o++) {
                struct hist_event e = {.kind = HIST_FINAL,
                                       .topic = TOPIC,
                                       .partition = p,
                                       .offset = o,
                                       .producer = l->v[o].producer,
                                       .counter = l->v[o].counter,
                                       .extra = pass};
                if (pass == 2 || o != 2) {
                    world_add(w, LR, e);
                }
            }
        }
    }
    w->no_final = true;
    world_wants(w, CHECK_READ_SKIP);
}

static void watermark_below_what_was_shown(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    append(w, P1, 4, 0);
    read_(w, 0, 3);
    watermark(w, 0, 3); /* shown before it was durable; a restart, and it comes again */
    sent(w, P1, 4, 0, 3, HIST_OK);
    world_wants(w, CHECK_HW_BACK);
}

static void watermark_below_what_was_acknowledged(void **state)
{
    struct world *w = *state;
    fill(w, 1, 4, 0);
    watermark(w, 0, 3);
    world_wants(w, CHECK_HW_BACK);
}

static void watermark_below_what_was_written(void **state)
{
    struct world *w = *state;
    w->level = HIST_WRITTEN;
    fill(w, 1, 4, 0);
    watermark(w, 0, 3);
    world_clean(w);
}

static void subscribe_from_earliest(struct world *w, uint32_t sub)
{
    world_add(w, R1,
              (struct hist_event){.kind = HIST_JOIN, .partition = -1, .offset = -1, .extra = sub});
}

static void a_subscription_from_the_start_begins_later(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    subscribe_from_earliest(w, 1);
    read_sub(w, 1, 0, 2);
    world_wants(w, CHECK_READ_SKIP);
}

static void a_subscription_from_a_start_that_has_moved(void **state)
{
    struct world *w = *state;
    fill(w, 1, 6, 0);
    subscribe_from_earliest(w, 1);
    read_sub(w, 1, 0, 0);
    subscribe_from_earliest(w, 2);
    read_sub(w, 2, 0, 2);
    read_sub(w, 2, 0, 3);
    w->log[0].start = 4;
    world_clean(w);
}

static void a_reader_that_does_not_come_to_the_end(void **state)
{
    struct world *w = *state;
    fill(w, 1, 5, 0);
    read_(w, 0, 0);
    world_add(
        w, R1,
        (struct hist_event){.kind = HIST_UNSEEN, .partition = -1, .offset = -1, .counter = 4});
    world_wants(w, CHECK_UNSEEN);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_read(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_all_in_order),
        T(watermark_below_what_was_shown),
        T(watermark_below_what_was_acknowledged),
        T(watermark_below_what_was_written),
        T(a_subscription_from_the_start_begins_later),
        T(a_subscription_from_a_start_that_has_moved),
        T(a_reader_that_does_not_come_to_the_end),
        T(skips_one),
        T(led_past_what_retention_took),
        T(told_what_retention_took),
        T(reads_one_again),
        T(a_new_subscription_begins_anywhere),
        T(partitions_do_not_mix),
        T(seen_beyond_the_end),
        T(written_but_seen_may_not_be_lost),
        T(seen_and_below_the_start_now),
        T(watermarks_rise),
        T(watermark_goes_back),
        T(watermark_beyond_the_final_one),
        T(watermark_asked_before_the_other_was_told),
        T(a_pass_of_the_final_read_skips),
    };
    return cmocka_run_group_tests_name("read", tests, 0, 0);
}
