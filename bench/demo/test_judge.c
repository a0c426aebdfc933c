/* Each broken promise, made by hand, must be caught; clean histories must pass. */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/demo/judge.h"

/* A case in memory: two producers (1, 2) and two consumers (0: partition 0, 1: partition 1). */
struct scene {
    struct hist_rec sent[2][64];
    struct hist_rec got[2][64];
    struct hist_rec director[4];
    struct hist_file files[5];
    struct judge_report report;
    char err[256];
};

static void add(struct scene *s, size_t file, struct hist_rec r)
{
    struct hist_rec *base = file < 2 ? s->sent[file] : file < 4 ? s->got[file - 2] : s->director;

    base[s->files[file].n++] = r;
}

static void send_only(struct scene *s, uint32_t producer, uint64_t counter)
{
    const uint64_t id = hist_id(producer, counter);

    add(s, producer - 1,
        (struct hist_rec){.kind = HIST_SENT, .id = id, .hash = id * 7, .offset = -1});
}

static void result(struct scene *s, uint32_t producer, uint64_t counter, enum hist_outcome outcome,
                   uint16_t partition, int64_t offset)
{
    add(s, producer - 1,
        (struct hist_rec){.kind = HIST_RESULT,
                          .outcome = (uint8_t)outcome,
                          .partition = partition,
                          .latency_us = 100 + (uint32_t)counter,
                          .id = hist_id(producer, counter),
                          .offset = offset});
}

static void sent(struct scene *s, uint32_t producer, uint64_t counter, uint16_t partition,
                 int64_t offset)
{
    send_only(s, producer, counter);
    result(s, producer, counter, HIST_ACKED, partition, offset);
}

static void got(struct scene *s, uint16_t partition, int64_t offset, uint32_t producer,
                uint64_t counter)
{
    const uint64_t id = hist_id(producer, counter);

    add(s, 2 + partition,
        (struct hist_rec){.kind = HIST_DELIVERED,
                          .partition = partition,
                          .id = id,
                          .hash = id * 7,
                          .offset = offset});
}

/* Producer 1 wrote offsets 0, 2, 4, 6 of partition 0 and producer 2 the odd ones; both wrote four
 * messages to partition 1. What was delivered is up to the test. */
static void setup_sent(struct scene *s)
{
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < 2; i++) {
        s->files[i] =
            (struct hist_file){.role = HIST_PRODUCER, .number = i + 1, .recs = s->sent[i]};
        s->files[2 + i] = (struct hist_file){.role = HIST_CONSUMER, .number = i, .recs = s->got[i]};
    }
    s->files[4] = (struct hist_file){.role = HIST_DIRECTOR, .recs = s->director};
    for (uint32_t p = 1; p <= 2; p++) {
        for (uint64_t i = 0; i < 4; i++) {
            sent(s, p, 2 * i, 0, (int64_t)(2 * i + p - 1));
            sent(s, p, 2 * i + 1, 1, (int64_t)(2 * i + p - 1));
        }
    }
    add(s, 4, (struct hist_rec){.kind = HIST_KILL});
    add(s, 4, (struct hist_rec){.kind = HIST_RESTART});
}

/* What belongs at an offset of setup_sent. */
static void got_right(struct scene *s, uint16_t partition, int64_t offset)
{
    got(s, partition, offset, 1 + (uint32_t)(offset % 2), (uint64_t)(offset / 2) * 2 + partition);
}

static void got_range(struct scene *s, uint16_t partition, int64_t from, int64_t end)
{
    for (int64_t o = from; o < end; o++) {
        got_right(s, partition, o);
    }
}

static void run(struct scene *s)
{
    assert_int_equal(judge(s->files, 5, &s->report, s->err, sizeof s->err), 0);
}

/* Exactly this finding, this often, and no other. */
static void assert_only(const struct scene *s, enum judge_finding f, uint64_t count)
{
    assert_false(judge_clean(&s->report));
    for (int i = 0; i < JUDGE_FINDINGS; i++) {
        assert_int_equal(s->report.findings[i], i == (int)f ? count : 0);
    }
}

static void test_clean(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_true(judge_clean(&s.report));
    assert_int_equal(s.report.sent, 16);
    assert_int_equal(s.report.acked, 16);
    assert_int_equal(s.report.delivered, 16);
    assert_int_equal(s.report.kills, 1);
    assert_int_equal(s.report.restarts, 1);
    assert_int_equal(s.report.ack.max_us, 107);
    assert_in_range(s.report.ack.p50_us, 103, 104);
}

static void test_lost(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 3);
    got_range(&s, 1, 5, 8);
    run(&s);
    assert_only(&s, JUDGE_LOST, 2);
    assert_int_equal(s.report.first_id[JUDGE_LOST], hist_id(1, 5));
    assert_string_equal(judge_finding_name(JUDGE_LOST), "lost");
}

static void test_duplicated_at_two_offsets(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got(&s, 0, 8, 1, 2);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_DUPLICATED, 1);
}

static void test_duplicated_same_offset_again(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 6);
    got_range(&s, 0, 4, 8); /* went back two after a reconnect */
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_DUPLICATED, 2);
}

static void test_order_in_the_log(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    /* Producer 1 sends two more; the broker stores them the wrong way round, and says so. */
    sent(&s, 1, 8, 0, 9);
    sent(&s, 1, 9, 0, 8);
    got_range(&s, 0, 0, 8);
    got(&s, 0, 8, 1, 9);
    got(&s, 0, 9, 1, 8);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_OUT_OF_ORDER, 1);
}

static void test_order_of_delivery(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 4);
    got_range(&s, 0, 6, 8);
    got_range(&s, 0, 4, 6); /* all there, handed out in the wrong order */
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_OUT_OF_ORDER, 2);
}

static void test_corrupted(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 8);
    s.got[1][3].hash ^= 1;
    run(&s);
    assert_only(&s, JUDGE_CORRUPTED, 1);
}

static void test_phantom_never_sent(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got(&s, 0, 8, 7, 1);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_PHANTOM, 1);
}

static void test_phantom_was_refused(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    send_only(&s, 1, 8);
    result(&s, 1, 8, HIST_FAILED, 0, -1);
    got_range(&s, 0, 0, 8);
    got(&s, 0, 8, 1, 8);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_PHANTOM, 1);
}

static void test_rewritten(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    send_only(&s, 2, 8); /* no answer: may appear, but not in a place that is taken */
    got(&s, 0, 7, 2, 8);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_only(&s, JUDGE_REWRITTEN, 1);
}

static void test_misplaced(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 7);
    got(&s, 1, 9, 2, 7); /* acknowledged at 7 */
    run(&s);
    assert_only(&s, JUDGE_MISPLACED, 1);

    setup_sent(&s);
    sent(&s, 1, 8, 0, 8);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 8);
    got(&s, 1, 8, 1, 8); /* the right offset in the wrong partition */
    run(&s);
    assert_only(&s, JUDGE_MISPLACED, 1);
}

static void test_unknown_may_appear_once_or_never(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    send_only(&s, 1, 8); /* never answered: its producer died with it */
    send_only(&s, 1, 9);
    result(&s, 1, 9, HIST_UNKNOWN, 0, -1);
    send_only(&s, 1, 10);
    result(&s, 1, 10, HIST_FAILED, 0, -1);
    got_range(&s, 0, 0, 8);
    got(&s, 0, 8, 1, 9);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_true(judge_clean(&s.report));
    assert_int_equal(s.report.unknown, 2);
    assert_int_equal(s.report.unknown_delivered, 1);
    assert_int_equal(s.report.failed, 1);
    assert_int_equal(s.report.delivered, 17);

    got(&s, 0, 9, 1, 9); /* ... but not twice */
    run(&s);
    assert_only(&s, JUDGE_DUPLICATED, 1);
}

static void test_all_lost_is_a_verdict(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    run(&s);
    assert_only(&s, JUDGE_LOST, 16);
}

static void test_contradictions_are_refused(void **state)
{
    struct scene s;

    (void)state;
    setup_sent(&s);
    send_only(&s, 1, 0); /* id used twice */
    assert_int_equal(judge(s.files, 5, &s.report, s.err, sizeof s.err), -1);
    assert_non_null(strstr(s.err, "one id twice"));

    setup_sent(&s);
    result(&s, 1, 99, HIST_ACKED, 0, 50); /* result without a send */
    assert_int_equal(judge(s.files, 5, &s.report, s.err, sizeof s.err), -1);

    setup_sent(&s);
    result(&s, 1, 2, HIST_FAILED, 0, -1); /* two results */
    assert_int_equal(judge(s.files, 5, &s.report, s.err, sizeof s.err), -1);

    setup_sent(&s);
    s.files[1].number = 3; /* somebody else's messages */
    assert_int_equal(judge(s.files, 5, &s.report, s.err, sizeof s.err), -1);

    setup_sent(&s);
    assert_int_equal(judge(s.files, 2, &s.report, s.err, sizeof s.err), -1); /* no consumer */
}

static void test_too_little(void **state)
{
    const struct judge_demand enough = {.min_acked = 16, .min_delivered = 16, .min_kills = 1};
    struct scene s;
    char buf[128];

    (void)state;
    setup_sent(&s);
    got_range(&s, 0, 0, 8);
    got_range(&s, 1, 0, 8);
    run(&s);
    assert_null(judge_too_little(&s.report, &enough, buf, sizeof buf));
    s.report.kills = 0;
    assert_non_null(judge_too_little(&s.report, &enough, buf, sizeof buf));
    s.report.kills = 1;
    s.report.restarts = 0;
    assert_non_null(judge_too_little(&s.report, &enough, buf, sizeof buf));
    s.report.restarts = 1;
    s.report.acked = 15;
    assert_string_equal(judge_too_little(&s.report, &enough, buf, sizeof buf),
                        "only 15 acknowledged messages, 16 are needed for a verdict");
}

/* ---- the file: what is written is what is read, and a cut file is refused */

static void write_file(const char *path, size_t n)
{
    struct hist_writer w;

    assert_int_equal(hist_create(&w, path, HIST_PRODUCER, 3), 0);
    for (size_t i = 0; i < n; i++) {
        hist_add(&w, &(struct hist_rec){.kind = HIST_SENT, .id = hist_id(3, i), .hash = i});
    }
    assert_int_equal(hist_finish(&w), 0);
    assert_int_equal(hist_finish(&w), 0);
}

static void test_file_roundtrip_and_damage(void **state)
{
    char dir[] = "/tmp/weir-judge-XXXXXX", path[64], err[256];
    struct hist_file f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/p.hist", dir);
    write_file(path, 100);
    assert_int_equal(hist_load(&f, path, err, sizeof err), 0);
    assert_int_equal(f.role, HIST_PRODUCER);
    assert_int_equal(f.number, 3);
    assert_int_equal(f.n, 100);
    assert_int_equal(f.recs[99].id, hist_id(3, 99));
    hist_unload(&f);
    hist_unload(&f);

    assert_int_equal(truncate(path, 3200), 0); /* whole records, but the end is gone */
    assert_int_equal(hist_load(&f, path, err, sizeof err), -1);
    assert_non_null(strstr(err, "end record"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(hist_load(&f, path, err, sizeof err), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hist_load(&f, path, err, sizeof err), -1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_duplicated_at_two_offsets),
        cmocka_unit_test(test_duplicated_same_offset_again),
        cmocka_unit_test(test_order_in_the_log),
        cmocka_unit_test(test_order_of_delivery),
        cmocka_unit_test(test_corrupted),
        cmocka_unit_test(test_phantom_never_sent),
        cmocka_unit_test(test_phantom_was_refused),
        cmocka_unit_test(test_rewritten),
        cmocka_unit_test(test_misplaced),
        cmocka_unit_test(test_unknown_may_appear_once_or_never),
        cmocka_unit_test(test_all_lost_is_a_verdict),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_too_little),
        cmocka_unit_test(test_file_roundtrip_and_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
