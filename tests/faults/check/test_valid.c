/* Runs that say nothing, histories that cannot be read, and a run of a million events. */
#include "tests/faults/check/tests.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/check/world.h"

/* ---------------------------------------------------------------- too little happened */

static void too_few_acks(void **state)
{
    struct world *w = *state;
    fill(w, 1, 9, 0);
    w->o.need_acks = 10;
    world_invalid(w, "9 acknowledgements, not 10");
}

static void just_enough_acks(void **state)
{
    struct world *w = *state;
    fill(w, 1, 10, 0);
    w->o.need_acks = 10;
    world_clean(w);
}

static void fault_fired_too_rarely(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->o.faults[w->o.n_faults++] = (struct check_fault){.name = "kill", .need = 3};
    fault(w, "kill");
    fault(w, "kill");
    fault(w, "killed");
    world_invalid(w, "kill fired 2 times, not 3");
}

static void fault_fired_enough(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->o.faults[w->o.n_faults++] = (struct check_fault){.name = "kill", .need = 3};
    for (int i = 0; i < 3; i++) {
        fault(w, "kill");
    }
    world_clean(w);
    assert_int_equal(check_figures(w->c)->faults, 3);
}

static void half_was_ok(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 1; i <= 6; i++) {
        send_(w, P1, i, 0);
        sent(w, P1, i, 0, i % 2 ? append(w, P1, i, 0) : -1, i % 2 ? HIST_OK : HIST_FAIL);
    }
    world_clean(w);
}

static void less_than_half_was_ok(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 1; i <= 5; i++) {
        send_(w, P1, i, 0);
        sent(w, P1, i, 0, i % 2 ? -1 : append(w, P1, i, 0), i % 2 ? HIST_UNKNOWN : HIST_OK);
    }
    world_invalid(w, "2 of 5 answers were ok");
}

static void less_is_allowed(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 1; i <= 5; i++) {
        send_(w, P1, i, 0);
        sent(w, P1, i, 0, i % 2 ? -1 : append(w, P1, i, 0), i % 2 ? HIST_UNKNOWN : HIST_OK);
    }
    w->o.min_ok_percent = 40;
    world_clean(w);
}

static void no_probes(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_probes = true;
    world_invalid(w, "no probe of produce");
}

static void no_probes_wanted(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_probes = true;
    w->o.no_probes = true;
    world_clean(w);
}

static void probed_before_healing(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    for (uint64_t p = HIST_PROBE_PRODUCE; p <= HIST_PROBE_JOIN; p++) {
        world_add(
            w, DI,
            (struct hist_event){.kind = HIST_PROBE, .partition = -1, .offset = -1, .counter = p});
    }
    w->no_probes = true;
    world_invalid(w, "no probe of produce after healing");
}

/* ---------------------------------------------------------------- who was there and did nothing */

static void a_busy_run(struct world *w)
{
    fill(w, 1, 3, 0);
    read_(w, 0, 0);
    watermark(w, 0, 3);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 3);
    commit(w, M1, 0, 3, 1, HIST_OK);
    join(w, W1);
    for (int64_t o = 0; o < 3; o++) {
        deliver(w, W1, 0, o, 1);
        settle(w, W1, 0, o, 0, HIST_OK);
    }
    w->last_group = QUEUE_GROUP;
    w->o.need_activity = true;
}

static void all_did_something(void **state)
{
    a_busy_run(*state);
    world_clean(*state);
}

static void nobody_looked_at_a_group(void **state)
{
    struct world *w = *state;
    a_busy_run(w);
    w->last_group = LOG_GROUP;
    world_invalid(w, "nobody looked whether group 2 had everything");
}

static void a_reader_that_read_nothing(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    world_add(w, R1, (struct hist_event){.kind = HIST_JOIN, .partition = -1, .extra = 1});
    w->o.need_activity = true;
    world_invalid(w, "no reader was handed anything");
}

static void a_member_that_never_committed(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 3);
    w->last_group = LOG_GROUP;
    w->o.need_activity = true;
    world_invalid(w, "no member got a partition and committed");
}

static void a_worker_and_an_observer_that_did_nothing(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, W1);
    position(w, LOG_GROUP, 0, 0);
    w->o.need_activity = true;
    world_invalid(w, "no worker settled anything");
}

/* ---------------------------------------------------------------- the final read */

static void no_final_read(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_final = true;
    world_invalid(w, "no final read of topic 1 partition 0");
}

static void one_pass_only(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->one_pass = true;
    world_invalid(w, "one pass only");
}

static void second_pass_too_short(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->short_pass = true;
    world_invalid(w, "does not reach the end");
}

/* The log ends before the watermark that both passes were told: nothing is a hole then. */
static void both_passes_too_short(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    sent(w, P1, 4, 0, 3, HIST_OK);
    w->end_told[0] = w->end_told[1] = 4;
    world_invalid(w, "does not reach the end");
}

static void read_twice_in_one_pass(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    struct hist_event range = {
        .kind = HIST_FINAL_RANGE, .topic = TOPIC, .partition = 0, .counter = 3, .extra = 1};
    world_add(w, LR, range);
    world_invalid(w, "twice in a pass");
}

static void a_third_pass(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    struct hist_event range = {
        .kind = HIST_FINAL_RANGE, .topic = TOPIC, .partition = 0, .counter = 3, .extra = 3};
    world_add(w, LR, range);
    world_invalid(w, "twice in a pass");
}

static void still_being_written(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->end_told[1] = 4;
    world_invalid(w, "changed during the final read");
}

static void last_reader_without_end(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_reader_end = true;
    world_invalid(w, "has no end");
}

static void director_without_end(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_director_end = true;
    world_invalid(w, "has no end");
}

static void no_director(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    w->no_director = true;
    w->o.no_probes = true;
    world_invalid(w, "no history of a director");
}

static void a_violation_outranks_a_reason(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    append(w, P1, 3, 0);
    w->o.need_acks = 100;
    world_judge(w, CHECK_VIOLATION);
    assert_int_equal(check_count(w->c, CHECK_DUPLICATE), 1);
    assert_non_null(check_reason(w->c, 0));
}

/* ---------------------------------------------------------------- histories that contradict */

static void sent_twice(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 3, 0);
    world_invalid(w, "1:3 was sent twice");
}

static void answered_twice(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    sent(w, P1, 3, 0, 2, HIST_OK);
    world_invalid(w, "answered twice");
}

static void answered_and_not_sent(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    sent(w, P1, 9, 0, 2, HIST_OK);
    world_invalid(w, "and not sent");
}

static void answer_without_a_question(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    join(w, M1);
    commit_answer(w, M1, 0, 2, 1, 99, HIST_OK);
    world_invalid(w, "not asked");
}

static void absurd_partition(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    struct hist_event e = {.kind = HIST_HW, .topic = TOPIC, .partition = 1 << 20, .offset = 1};
    world_add(w, OB, e);
    world_invalid(w, "partition 1048576");
}

/* ---------------------------------------------------------------- loading */

static void path_of(const struct world *w, enum who who, char *path, size_t size)
{
    snprintf(path, size, "%s/%02d.hist", w->dir, (int)who);
}

/* A client that was killed: its file goes on with zeros, or with half an event. */
static void tear(struct world *w, enum who who, size_t event, const void *bytes, size_t n)
{
    char path[128];
    path_of(w, who, path, sizeof(path));
    assert_int_equal(hist_finish(&w->w[who]), 0);
    w->on[who] = false;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)(event * sizeof(struct hist_event))), (ssize_t)n);
    close(fd);
}

static void killed_client(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0); /* events 1 to 6, its end is event 7 */
    const char zeros[64] = {0};
    tear(w, P1, 7, zeros, sizeof(zeros));
    world_clean(w);
}

static void torn_last_event(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    send_(w, P1, 4, 0);
    const char half[96] = {(char)HIST_SENT, 0, 0, TOPIC};
    tear(w, P1, 8, half, 32); /* its end, half overwritten */
    world_clean(w);
    assert_int_equal(check_figures(w->c)->unknown, 1);
}

static void damage_in_the_middle(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    tear(w, P1, 3, "damaged", 7);
    world_invalid(w, "damaged in the middle");
}

/* Zeros where events were, and events behind them. */
static void a_hole_in_a_history(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    const char zeros[2 * sizeof(struct hist_event)] = {0};
    tear(w, P1, 3, zeros, sizeof(zeros));
    world_invalid(w, "damaged in the middle");
}

static void an_end_that_counts_wrong(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    struct hist_event end = {.kind = HIST_END, .partition = -1, .offset = -1, .counter = 5};
    end.check = hist_check(&end);
    tear(w, P1, 7, &end, sizeof(end));
    world_invalid(w, "its end says");
}

static void an_empty_history(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    char path[128];
    snprintf(path, sizeof(path), "%s/empty.hist", w->dir);
    const int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    world_invalid(w, "no events");
}

static void of_another_run(void **state)
{
    struct world *w = *state;
    fill(w, 1, 3, 0);
    char path[128];
    struct hist_writer other;
    snprintf(path, sizeof(path), "%s/other.hist", w->dir);
    assert_int_equal(hist_create(&other, path, HIST_READER, 1, 12345), 0);
    assert_int_equal(hist_finish(&other), 0);
    world_invalid(w, "is of run");
}

static void no_such_directory(void **state)
{
    struct world *w = *state;
    struct check *c = check_new(&w->o);
    assert_int_equal(check_load(c, "/nonexistent"), -1);
    assert_int_equal(check_judge(c), CHECK_INVALID);
    check_free(c);
}

static void nothing_in_the_directory(void **state)
{
    struct world *w = *state;
    struct check *c = check_new(&w->o);
    assert_int_equal(check_load(c, w->dir), 0);
    assert_int_equal(check_judge(c), CHECK_INVALID);
    check_free(c);
}

/* ---------------------------------------------------------------- what is printed */

static void the_smallest_history(void **state)
{
    struct world *w = *state;
    fill(w, 1, 30, 0);
    join(w, M1);
    gained(w, M1, 0, 0, 1);
    deliver_all(w, M1, 0, 0, 30);
    send_(w, P2, 1, 0);
    sent(w, P2, 1, 0, 30, HIST_OK);
    read_value(w, 0, 30, P2, 1);
    world_end(w);
    w->c = check_new(&w->o);
    check_load(w->c, w->dir);
    assert_int_equal(check_judge(w->c), CHECK_VIOLATION);
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    check_print(w->c, f);
    fclose(f);
    assert_non_null(strstr(text, "A1 lost"));
    assert_non_null(strstr(text, "2:1 was acknowledged at partition 0 offset 30"));
    assert_non_null(strstr(text, "producer-2     sent      t1[0] offset 30 value 2:1 ok"));
    assert_non_null(strstr(text, "reader-3       read      t1[0] offset 30 value 2:1"));
    assert_non_null(strstr(text, "weir-check: violation"));
    free(text);
    f = open_memstream(&text, &size);
    check_explain(w->c, f, 1, 7);
    fclose(f);
    assert_non_null(strstr(text, "producer-1     send      t1[0] value 1:7 durable"));
    assert_non_null(strstr(text, "member-4       delivered t1[0] offset 6 value 1:7 group 1"));
    assert_null(strstr(text, "1:8"));
    free(text);
    f = open_memstream(&text, &size);
    check_json(w->c, f);
    fclose(f);
    assert_non_null(strstr(text, "\"verdict\": \"violation\""));
    assert_non_null(strstr(text, "\"A1.lost\": 1"));
    assert_non_null(strstr(text, "\"ok\": 31"));
    free(text);
}

/* ---------------------------------------------------------------- a million events */

enum { MANY = 125000, BATCH = 100, MANY_PARTS = 4 };

/* One producer of an orderly run; each message makes eight events. */
static void many(struct world *w, enum hist_kind kind, enum who who, uint64_t i, uint32_t extra)
{
    const bool known = kind != HIST_SEND;
    struct hist_event e = {.kind = (uint8_t)kind,
                           .topic = TOPIC,
                           .partition = (int32_t)(i % MANY_PARTS),
                           .offset = known ? (int64_t)(i / MANY_PARTS) : -1,
                           .producer = 1 + (uint32_t)(i / MANY_PARTS % 2),
                           .counter = 1 + i,
                           .extra = extra};
    if (kind == HIST_DELIVERED) {
        e.group = who == M1 ? LOG_GROUP : QUEUE_GROUP;
    }
    w->now += 1000;
    e.at_ns = w->now;
    world_add(w, who, e);
}

static enum who who_of(uint64_t i)
{
    return i / MANY_PARTS % 2 ? P2 : P1;
}

static void work_on(struct world *w, uint64_t i)
{
    many(w, HIST_DELIVERED, W1, i, 1);
    struct hist_event e = {.kind = HIST_SETTLE,
                           .topic = TOPIC,
                           .partition = (int32_t)(i % MANY_PARTS),
                           .offset = (int64_t)(i / MANY_PARTS),
                           .group = QUEUE_GROUP,
                           .op = i + 1};
    world_add(w, W1, e);
    e.kind = HIST_SETTLED;
    world_add(w, W1, e);
}

static void a_million_events(void **state)
{
    struct world *w = *state;
    join(w, M1);
    join(w, W1);
    for (int32_t p = 0; p < MANY_PARTS; p++) {
        gained(w, M1, p, 0, 1);
    }
    for (uint64_t from = 0; from < MANY; from += BATCH) {
        for (uint64_t i = from; i < from + BATCH; i++) {
            many(w, HIST_SEND, who_of(i), i, 0);
        }
        for (uint64_t i = from; i < from + BATCH; i++) {
            many(w, HIST_SENT, who_of(i), i, 0);
            many(w, HIST_DELIVERED, M1, i, 1);
            work_on(w, i);
        }
    }
    for (uint32_t pass = 1; pass <= 2; pass++) {
        for (int32_t p = 0; p < MANY_PARTS; p++) {
            struct hist_event range = {.kind = HIST_FINAL_RANGE,
                                       .topic = TOPIC,
                                       .partition = p,
                                       .counter = MANY / MANY_PARTS,
                                       .extra = pass};
            world_add(w, LR, range);
            for (uint64_t i = (uint64_t)p; i < MANY; i += MANY_PARTS) {
                many(w, HIST_FINAL, LR, i, pass);
            }
        }
    }
    w->no_final = true;
    w->last_group = QUEUE_GROUP;
    w->o.need_acks = 100000;
    const clock_t began = clock(); /* of the processor: the machine may be busy */
    world_clean(w);
    assert_int_equal(check_figures(w->c)->ok, MANY);
    assert_true(check_figures(w->c)->events >= 1000000);
    /* 10^7 events within a minute: a million in 6 s, ten times that with a sanitizer */
    const double took = (double)(clock() - began) / CLOCKS_PER_SEC;
    assert_true(took < 60);
    print_message("%llu events judged in %.2f s\n", (unsigned long long)check_figures(w->c)->events,
                  took);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int test_valid(void)
{
    const struct CMUnitTest tests[] = {
        T(too_few_acks),
        T(just_enough_acks),
        T(fault_fired_too_rarely),
        T(fault_fired_enough),
        T(half_was_ok),
        T(less_than_half_was_ok),
        T(less_is_allowed),
        T(no_probes),
        T(probed_before_healing),
        T(all_did_something),
        T(nobody_looked_at_a_group),
        T(a_reader_that_read_nothing),
        T(a_member_that_never_committed),
        T(a_worker_and_an_observer_that_did_nothing),
        T(no_probes_wanted),
        T(no_final_read),
        T(one_pass_only),
        T(second_pass_too_short),
        T(both_passes_too_short),
        T(read_twice_in_one_pass),
        T(a_third_pass),
        T(still_being_written),
        T(last_reader_without_end),
        T(director_without_end),
        T(no_director),
        T(a_violation_outranks_a_reason),
        T(sent_twice),
        T(answered_twice),
        T(answered_and_not_sent),
        T(answer_without_a_question),
        T(absurd_partition),
        T(killed_client),
        T(torn_last_event),
        T(damage_in_the_middle),
        T(a_hole_in_a_history),
        T(an_end_that_counts_wrong),
        T(an_empty_history),
        T(of_another_run),
        T(no_such_directory),
        T(nothing_in_the_directory),
        T(the_smallest_history),
        T(a_million_events),
    };
    return cmocka_run_group_tests_name("validity", tests, 0, 0);
}
