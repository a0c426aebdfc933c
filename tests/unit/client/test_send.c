/* The calls around a send: bounds, arguments, partitions, compression, names, closing. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/client/rig.h"

/* Values v0, v1, ... are in the partition exactly once and in this order. */
static void assert_log(const struct fake_topic *t, uint32_t p, size_t n)
{
    assert_int_equal(t->parts[p].end, n);
    for (size_t i = 0; i < n; i++) {
        char value[24];

        snprintf(value, sizeof value, "v%zu", i);
        assert_int_equal(fake_find(t, p, value), i);
    }
}

static void send_n(struct rig *r, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char value[24];

        snprintf(value, sizeof value, "v%zu", i);
        rig_send(r, "t", 0, value);
    }
}

static void buffer_is_bounded(void **state)
{
    struct rig r;
    weir_error e = {0};
    static char big[1000];
    unsigned n = 0;

    (void)state;
    rig_init(&r, "buffer_bytes=10000");
    fake_topic_add(r.fb, "t", 1);
    r.unreachable = true;
    do {
        e = weir_send_async(r.w, "t", weir_str(NULL), weir_bytes_of(big, sizeof big), NULL,
                            rig_sent, &r);
        n += e.outcome == WEIR_DONE;
    } while (e.outcome == WEIR_DONE && n < 100);
    assert_int_equal(e.code, WEIR_E_BUFFER_FULL);
    assert_int_equal(e.outcome, WEIR_RETRY);
    assert_in_range(n, 6, 10);
    assert_true(weir_pending_bytes(r.w) <= 10000);
    r.unreachable = false;
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(r.n_done, n);
    assert_int_equal(weir_pending_bytes(r.w), 0);
    rig_fini(&r);
}

static void results_nobody_takes_hold_the_sender_back(void **state)
{
    struct rig r;
    static char big[1000];
    unsigned n = 0;

    (void)state;
    rig_init(&r, "buffer_bytes=20000");
    fake_topic_add(r.fb, "t", 1);
    assert_int_equal(weir_send(r.w, "t", weir_str(NULL), weir_str("x"), 1000).outcome, WEIR_DONE);
    while (n < 200 &&
           weir_send_async(r.w, "t", weir_str(NULL), weir_bytes_of(big, 1000), NULL, rig_sent, &r)
                   .outcome == WEIR_DONE) {
        r.now_ns += 2 * CLOCK_NS_PER_MS; /* so that each call moves bytes */
        n++;
    }
    assert_in_range(n, 15, 25);
    assert_int_equal(r.n_results, 0); /* never from inside weir_send_async */
    weir_on_io(r.w);
    assert_true(r.n_results > 0);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    n = 0;
    while (n < 200 &&
           weir_send_async(r.w, "t", weir_str(NULL), weir_bytes_of(big, 1000), NULL, NULL, NULL)
                   .outcome == WEIR_DONE) {
        r.now_ns += 2 * CLOCK_NS_PER_MS;
        n++;
    }
    assert_int_equal(n, 200); /* nobody listens: the flow never stops */
    rig_fini(&r);
}

static void sizes_and_arguments_are_checked(void **state)
{
    struct rig r;
    static char big[9 << 20];
    weir_send_options o = WEIR_SEND_OPTIONS;
    weir_header h[2] = {{weir_str("a"), weir_str("1")}, {weir_str("a"), weir_str("2")}};
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    e = weir_send(r.w, "t", weir_str(NULL), weir_bytes_of(big, sizeof big), 100);
    assert_int_equal(e.code, WEIR_E_TOO_LARGE);
    e = weir_send(r.w, "t", weir_str(NULL), weir_bytes_of(big, 2 << 20), 100);
    assert_int_equal(e.code, WEIR_E_TOO_LARGE); /* the topic's limit, 1 MiB */
    assert_non_null(strstr(e.text, "1048576"));
    e = weir_send(r.w, "bad name", weir_str(NULL), weir_str("x"), 100);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    e = weir_send(r.w, NULL, weir_str(NULL), weir_str("x"), 100);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    e = weir_send(r.w, "t", weir_bytes_of(NULL, 3), weir_str("x"), 100);
    assert_int_equal(e.code, WEIR_E_MISUSE);
    o.size = 0;
    e = weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), &o, NULL, NULL);
    assert_int_equal(e.code, WEIR_E_MISUSE);
    o.size = sizeof o;
    o.partition = 2;
    e = weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), &o, NULL, NULL);
    assert_int_equal(e.code, WEIR_E_UNKNOWN_TOPIC);
    o.partition = 0;
    o.headers = h;
    o.n_headers = 2;
    e = weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), &o, NULL, NULL);
    assert_int_equal(e.code, WEIR_E_MISUSE);
    h[1].name = weir_str("\xff\xfe");
    e = weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), &o, NULL, NULL);
    assert_int_equal(e.code, WEIR_E_MISUSE);
    h[1].name = weir_str("b");
    e = weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), &o, rig_sent, &r);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(weir_send(NULL, "t", weir_str(NULL), weir_str("x"), 1).code, WEIR_E_MISUSE);
    rig_fini(&r);
}

static void keys_go_to_their_slot(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 4);
    /* CRC32C("123456789") = 0xe3069283, mod 1024 = 643, the fake's table says 643 mod 4 = 3. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weir_send(r.w, "t", weir_str("123456789"), weir_str("x"), 1000).outcome,
                         WEIR_DONE);
    }
    assert_int_equal(fake_topic(r.fb, "t")->parts[3].end, 3);
    for (int i = 0; i < 8; i++) { /* no key: the next partition with every batch */
        assert_int_equal(weir_send(r.w, "t", weir_str(NULL), weir_str("x"), 1000).outcome,
                         WEIR_DONE);
    }
    for (int p = 0; p < 4; p++) {
        assert_int_equal(fake_topic(r.fb, "t")->parts[p].end, p == 3 ? 5 : 2);
    }
    rig_fini(&r);
}

static void compression_shrinks_batches(void **state)
{
    struct rig r;
    static char text[4000];

    (void)state;
    rig_init(&r, "compression=zstd");
    memset(text, 'a', sizeof text - 1);
    fake_topic_add(r.fb, "t", 1);
    assert_int_equal(weir_send(r.w, "t", weir_str(NULL), weir_str(text), 1000).outcome, WEIR_DONE);
    assert_true(fake_topic(r.fb, "t")->parts[0].batches[0].n < 500);
    assert_int_equal(fake_find(fake_topic(r.fb, "t"), 0, text), 0);
    rig_fini(&r);
}

static void named_producer_goes_on(void **state)
{
    struct rig r;
    int64_t offset = -5;

    (void)state;
    rig_init(&r, "producer=p1");
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_producer_position(r.w, "t", 0, &offset, 1000).outcome, WEIR_DONE);
    assert_int_equal(offset, -1);
    send_n(&r, 0, 5);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE);
    rig_open(&r, "producer=p1"); /* the program restarts */
    assert_int_equal(weir_producer_position(r.w, "t", 0, &offset, 1000).outcome, WEIR_DONE);
    assert_int_equal(offset, 4);
    send_n(&r, 5, 9);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 9);
    assert_int_equal(weir_producer_position(NULL, "t", 0, &offset, 1).code, WEIR_E_MISUSE);
    rig_fini(&r);
}

static void close_ends_everything_once(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    r.unreachable = true;
    send_n(&r, 0, 3);
    assert_int_equal(weir_close(r.w, 0).outcome, WEIR_UNKNOWN);
    assert_int_equal(r.n_results, 3);
    assert_int_equal(r.results[0].error.code, WEIR_E_CLOSED);
    assert_int_equal(r.results[0].error.outcome, WEIR_NOT_DONE);
    r.w = NULL;
    rig_fini(&r);
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 3);
    assert_int_equal(weir_close(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.n_done, 3);
    rig_fini(&r);
}

static weir *closed;

static void close_inside(void *user, const weir_receipt *receipt)
{
    struct rig *r = user;
    weir_error e;

    (void)receipt;
    r->n_results++;
    e = weir_send(closed, "t", weir_str(NULL), weir_str("x"), 10);
    assert_int_equal(e.code, r->n_results == 1 ? WEIR_E_MISUSE : WEIR_E_CLOSED);
    (void)weir_close(closed, 0);
}

static void close_inside_a_callback_is_deferred(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, "batch_records=1");
    fake_topic_add(r.fb, "t", 1);
    closed = r.w;
    for (int i = 0; i < 3; i++) {
        (void)weir_send_async(closed, "t", weir_str(NULL), weir_str("x"), NULL, close_inside, &r);
    }
    (void)weir_flush(closed, 1000);
    assert_null(r.w); /* freed when weir_flush returned */
    assert_int_equal(r.n_results, 3);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_is_bounded),
        cmocka_unit_test(results_nobody_takes_hold_the_sender_back),
        cmocka_unit_test(sizes_and_arguments_are_checked),
        cmocka_unit_test(keys_go_to_their_slot),
        cmocka_unit_test(compression_shrinks_batches),
        cmocka_unit_test(named_producer_goes_on),
        cmocka_unit_test(close_ends_everything_once),
        cmocka_unit_test(close_inside_a_callback_is_deferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
