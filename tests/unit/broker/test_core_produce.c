/* Appending, acknowledging, the high watermark, refusals for want of room. */
#include "core_world.h"

#include "tests/lib/test.h"

static void test_ack_only_when_durable(void **state)
{
    struct world w;
    struct watch v;
    struct core_piece piece;
    uint64_t next = 0;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 0, false, 0, NULL), WERR_OK);
    assert_true(watch_pull(&v, 1000, &piece)); /* caught up at 0 */
    assert_int_equal(piece.data.n, 0);
    assert_false(watch_pull(&v, 1000, &piece));

    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 3, "hello");
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    assert_int_equal(s->done, 0);
    assert_int_equal(v.ready, 0);
    assert_false(watch_pull(&v, 1000, &piece));

    store_step_sync(w.st);
    store_poll(w.st);
    assert_int_equal(s->done, 1);
    assert_int_equal(s->rq.err.code, WERR_OK);
    assert_int_equal(s->rq.ok.base_offset, 0);
    assert_int_equal(s->rq.ok.level, LEVEL_DISK);
    assert_int_equal(s->rq.ok.append_ms, w.wall_ms);
    sent_free(s);
    assert_int_equal(v.ready, 1);
    assert_true(watch_pull(&v, 1000, &piece));
    piece_check(&piece, &next);
    assert_int_equal(next, 3);
    blob_unref(piece.data.owner);
    assert_true(watch_pull(&v, 1000, &piece)); /* caught up again */
    assert_int_equal(piece.data.n, 0);
    assert_int_equal(piece.hw, 3);
    core_reader_free(v.rd);
    world_fini(&w);
}

/* What one sequence is answered, with the reason in the failure text. */
static void expect(struct world *w, uint64_t tid, uint64_t pid, uint16_t epoch, uint32_t seq,
                   unsigned count, enum werr want, uint64_t offset, bool duplicate)
{
    struct sent *s = world_send(w, tid, 0, pid, epoch, seq, count, "x");

    world_step(w);
    if (s->rq.err.code != want) {
        fail_msg("seq %u: %s %s", seq, werr_name(s->rq.err.code), s->rq.err.text);
    }
    if (want == WERR_OK) {
        assert_int_equal(s->rq.ok.base_offset, offset);
        assert_int_equal(s->rq.ok.flags, duplicate ? PRODUCE_DUPLICATE : 0);
    }
    sent_free(s);
}

static uint64_t new_pid(struct world *w)
{
    struct core_producer_rq rq;

    world_init_producer(w, NULL, &rq);
    assert_int_equal(rq.err.code, WERR_OK);
    return rq.pid;
}

static void test_every_case_of_g5(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    const uint64_t pid = new_pid(&w);
    expect(&w, tid, pid, 0, 5, 1, WERR_UNKNOWN_PRODUCER, 0, false);
    expect(&w, tid, pid + 1, 0, 0, 1, WERR_UNKNOWN_PRODUCER, 0, false); /* never given out */
    expect(&w, tid, pid, 1, 0, 1, WERR_UNKNOWN_PRODUCER, 0, false);     /* nor this epoch */
    expect(&w, tid, pid, 0, 0, 3, WERR_OK, 0, false);
    expect(&w, tid, pid, 0, 0, 3, WERR_OK, 0, true);
    expect(&w, tid, pid, 0, 4, 1, WERR_OUT_OF_ORDER_SEQ, 0, false);
    expect(&w, tid, pid, 0, 1, 2, WERR_OUT_OF_ORDER_SEQ, 0, false); /* part of a stored one */
    expect(&w, tid, pid, 0, 2, 2, WERR_OUT_OF_ORDER_SEQ, 0, false); /* across its end */
    expect(&w, tid, pid, 0, 3, 2, WERR_OK, 3, false);
    for (uint32_t i = 0; i < LIMIT_PRODUCER_WINDOW; i++) {
        expect(&w, tid, pid, 0, 5 + i, 1, WERR_OK, 5 + i, false);
    }
    expect(&w, tid, pid, 0, 0, 3, WERR_DUP_UNKNOWN_OFFSET, 0, false);
    expect(&w, tid, pid, 0, 5, 1, WERR_OK, 5, true);
    expect(&w, tid, 0, 0, 0, 1, WERR_OK, 69, false); /* not idempotent: no rule */
    expect(&w, tid, 0, 0, 0, 1, WERR_OK, 70, false);
    world_fini(&w);
}

static void test_gap_tells_both_numbers(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    const uint64_t pid = new_pid(&w);
    world_produce(&w, tid, 2, pid, 0, 7, WERR_OK);
    struct sent *s = world_send(&w, tid, 2, pid, 0, 9, 1, "x");
    assert_int_equal(s->rq.err.code, WERR_OUT_OF_ORDER_SEQ);
    assert_int_equal(s->rq.expected_seq, 7);
    assert_int_equal(s->rq.got_seq, 9);
    sent_free(s);
    world_fini(&w);
}

static void test_twin_in_flight_shares_the_answer(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    const uint64_t pid = new_pid(&w);
    struct sent *s[4];
    s[0] = world_send(&w, tid, 0, pid, 0, 0, 2, "x");
    s[1] = world_send(&w, tid, 0, pid, 0, 2, 1, "x");
    s[2] = world_send(&w, tid, 0, pid, 0, 0, 2, "x");
    core_flush(w.co);
    s[3] = world_send(&w, tid, 0, pid, 0, 0, 2, "x");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s[i]->done, 0);
    }
    world_step(&w);
    const uint64_t offsets[] = {0, 2, 0, 0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s[i]->rq.err.code, WERR_OK);
        assert_int_equal(s[i]->rq.ok.base_offset, offsets[i]);
        assert_int_equal(s[i]->rq.ok.flags, i >= 2 ? PRODUCE_DUPLICATE : 0);
        assert_int_equal(s[i]->rq.ok.level, LEVEL_DISK);
        sent_free(s[i]);
    }
    world_fini(&w);
}

static void test_window_survives_restarts(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    w.store_conf.bucket_bytes = 4096; /* several rolls: snapshots and headers */
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "partitions", "1", NULL);
    const uint64_t pid = new_pid(&w);
    uint32_t seq = 0;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 30; i++, seq++) {
            expect(&w, tid, pid, 0, seq, 1, WERR_OK, seq, false);
        }
        world_pass(&w, 1500);
        if (round % 2 == 0) {
            world_crash(&w, 0);
        } else {
            world_close(&w);
        }
        world_open(&w);
        expect(&w, tid, pid, 0, seq - 1, 1, WERR_OK, seq - 1, true);
        expect(&w, tid, pid, 0, seq - 30, 1, WERR_OK, seq - 30, true);
        expect(&w, tid, pid, 0, seq + 1, 1, WERR_OUT_OF_ORDER_SEQ, 0, false);
    }
    assert_true(new_pid(&w) > pid); /* ids are not given out again */
    world_fini(&w);
}

/* SETTLED 9: a refusal is shared by later sequences until all refused ones came again. */
static void test_refusal_holds_later_sequences(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    const uint64_t pid = new_pid(&w);
    expect(&w, tid, pid, 0, 0, 1, WERR_OK, 0, false);
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    store_mem_fault(w.st, &full);
    struct sent *s1 = world_send(&w, tid, 0, pid, 0, 1, 1, "x");
    core_flush(w.co);
    struct sent *s2 = world_send(&w, tid, 0, pid, 0, 2, 1, "x"); /* gathered meanwhile */
    world_step(&w);
    assert_int_equal(s1->rq.err.code, WERR_STORAGE_FULL);
    assert_true(s1->rq.err.retry_after_ms > 0);
    assert_int_equal(s2->rq.err.code, WERR_STORAGE_FULL);
    sent_free(s1);
    sent_free(s2);
    world_pass(&w, 1500); /* the store asks again once a second */
    expect(&w, tid, pid, 0, 3, 1, WERR_STORAGE_FULL, 0, false); /* the disk has room again */
    expect(&w, tid, pid, 0, 1, 1, WERR_OK, 1, false);
    expect(&w, tid, pid, 0, 4, 1, WERR_STORAGE_FULL, 0, false); /* 2 and 3 are still due */
    expect(&w, tid, pid, 0, 2, 1, WERR_OK, 2, false);
    expect(&w, tid, pid, 0, 3, 1, WERR_OK, 3, false);
    expect(&w, tid, pid, 0, 4, 1, WERR_OK, 4, false);
    expect(&w, tid, pid, 0, 6, 1, WERR_OUT_OF_ORDER_SEQ, 0, false); /* now a gap is a gap */
    world_fini(&w);
}

static void test_storage_failure_is_indeterminate(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    const struct store_fault io = {.kind = FAULT_SYNC, .k = 1, .rc = WERR_IO};
    store_mem_fault(w.st, &io);
    struct sent *s1 = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
    world_step(&w);
    assert_int_equal(s1->rq.err.code, WERR_INDETERMINATE);
    sent_free(s1);
    world_produce(&w, tid, 0, 0, 0, 1, WERR_SHUTTING_DOWN); /* not executed, for certain */
    assert_true(world_logged(&w, "store_failed"));
    world_crash(&w, 0);
    world_fini(&w);
}

static void test_os_is_acknowledged_when_written(void **state)
{
    struct world w;
    struct core_piece piece;
    struct watch v;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", "durability", "os", NULL);
    const uint64_t pid = new_pid(&w);
    struct sent *s = world_send(&w, tid, 0, pid, 0, 0, 2, "x");
    core_flush(w.co);
    store_step_write(w.st);
    store_poll(w.st);
    assert_int_equal(s->done, 1);
    assert_int_equal(s->rq.ok.level, LEVEL_WRITTEN);
    sent_free(s);
    s = world_send(&w, tid, 0, pid, 0, 0, 2, "x"); /* again, written but not synced */
    assert_int_equal(s->done, 1);
    assert_int_equal(s->rq.ok.level, LEVEL_WRITTEN);
    assert_int_equal(s->rq.ok.flags, PRODUCE_DUPLICATE);
    sent_free(s);
    watch_init(&v, &w);
    assert_int_equal(core_reader_add(v.rd, tid, 0, 2, false, 0, NULL), WERR_OK); /* waits */
    assert_false(watch_pull(&v, 1000, &piece));
    core_reader_free(v.rd);
    world_crash(&w, 0); /* power */
    world_open(&w);
    expect(&w, tid, pid, 0, 2, 1, WERR_REREGISTER, 0, false);
    world_fini(&w);
}

static void test_bounded(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    w.conf.inflight_bytes = 1000;
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    const uint64_t pid = new_pid(&w);
    assert_true(core_accepts_produce(w.co));
    struct sent *s[LIMIT_PRODUCER_WINDOW + 1];
    for (uint32_t i = 0; i <= LIMIT_PRODUCER_WINDOW; i++) {
        s[i] = world_send(&w, tid, 0, pid, 0, i, 1, "x");
    }
    assert_false(core_accepts_produce(w.co));
    assert_int_equal(s[LIMIT_PRODUCER_WINDOW]->done, 1);
    assert_int_equal(s[LIMIT_PRODUCER_WINDOW]->rq.err.code, WERR_THROTTLED);
    world_step(&w);
    assert_true(core_accepts_produce(w.co));
    for (uint32_t i = 0; i <= LIMIT_PRODUCER_WINDOW; i++) {
        sent_free(s[i]);
    }
    expect(&w, tid, pid, 0, LIMIT_PRODUCER_WINDOW, 1, WERR_OK, LIMIT_PRODUCER_WINDOW, false);
    world_fini(&w);
}

static void test_topic_limits(void **state)
{
    struct world w;
    char big[3000];
    (void)state;

    world_init(&w);
    world_open(&w);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const uint64_t tid =
        world_topic(&w, "a", "message.max_bytes", "2k", "batch.max_records", "3", NULL);
    world_produce(&w, tid, 0, 0, 0, 3, WERR_OK);
    world_produce(&w, tid, 0, 0, 0, 4, WERR_TOO_LARGE);
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, big);
    assert_int_equal(s->rq.err.code, WERR_TOO_LARGE);
    sent_free(s);
    world_produce(&w, tid, 4, 0, 0, 1, WERR_UNKNOWN_TOPIC);
    world_produce(&w, tid + 1, 0, 0, 0, 1, WERR_UNKNOWN_TOPIC);
    world_fini(&w);
}

static void test_drain(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
    core_drain(w.co);
    assert_false(core_idle(w.co));
    world_produce(&w, tid, 0, 0, 0, 1, WERR_SHUTTING_DOWN);
    assert_true(core_idle(w.co));
    assert_int_equal(s->rq.err.code, WERR_OK); /* what was accepted is finished */
    sent_free(s);
    world_fini(&w);
}

static void test_append_time_never_goes_back(void **state)
{
    struct world w;
    (void)state;

    world_init(&w);
    world_open(&w);
    const uint64_t tid = world_topic(&w, "a", NULL);
    int64_t last_ms = 0;
    for (int i = 0; i < 10; i++) {
        struct sent *s = world_send(&w, tid, 0, 0, 0, 0, 1, "x");
        world_step(&w);
        assert_true(s->rq.ok.append_ms >= last_ms);
        last_ms = s->rq.ok.append_ms;
        sent_free(s);
        w.wall_ms -= 7000;
        w.mono_ns += 1000000;
    }
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ack_only_when_durable),
        cmocka_unit_test(test_every_case_of_g5),
        cmocka_unit_test(test_gap_tells_both_numbers),
        cmocka_unit_test(test_twin_in_flight_shares_the_answer),
        cmocka_unit_test(test_window_survives_restarts),
        cmocka_unit_test(test_refusal_holds_later_sequences),
        cmocka_unit_test(test_storage_failure_is_indeterminate),
        cmocka_unit_test(test_os_is_acknowledged_when_written),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_topic_limits),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_append_time_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
