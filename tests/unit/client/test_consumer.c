/* Receiving: starts, ends, credit, reconnects, lost ranges, damage, compression. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/client/rig.h"

static void append_n(struct rig *r, uint32_t p, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[16];
        const char *v = text;

        snprintf(text, sizeof text, "v%d", i);
        fake_append(r->fb, "t", p, &v, 1, BATCH_CODEC_NONE);
    }
}

static void expect_n(weir_sub *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        char text[16];

        snprintf(text, sizeof text, "v%d", i);
        rig_expect(s, text);
    }
}

static void reads_from_the_start_in_order(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;
    int64_t next, high;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 5);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    m = weir_next(s, 1000);
    assert_non_null(m);
    assert_string_equal(m->topic, "t");
    assert_int_equal(m->partition, 0);
    assert_int_equal(m->offset, 0);
    assert_int_equal(m->append_ms, r.fb->now_ms);
    assert_int_equal(m->deliveries, 1);
    assert_null(m->key.data);
    assert_int_equal(m->value.size, 2);
    assert_int_equal(weir_sub_at_end(s), 0);
    weir_done(m, WEIR_ACK);
    expect_n(s, 1, 5);
    assert_int_equal(weir_sub_at_end(s), 1);
    assert_int_equal(weir_sub_position(s, 0, &next, &high).outcome, WEIR_DONE);
    assert_int_equal(next, 5);
    assert_int_equal(high, 5);
    assert_int_not_equal(weir_sub_position(s, 1, &next, &high).outcome, WEIR_DONE);
    assert_null(weir_next(s, 50));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_TIMEOUT);
    append_n(&r, 0, 5, 6);
    expect_n(s, 5, 6);
    weir_unsubscribe(s);
    rig_run(&r, 10);
    assert_int_equal(r.fb->requests[OP_SUB_UPDATE], 1); /* the broker was told */
    rig_fini(&r);
}

static void starts_where_asked(void **state)
{
    struct rig r;
    weir_sub *s;
    char at_time[64];

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 5);
    s = weir_subscribe(r.w, "t", NULL, "start=3");
    expect_n(s, 3, 5);
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", NULL, "start=latest");
    assert_null(weir_next(s, 10));
    append_n(&r, 0, 5, 6);
    expect_n(s, 5, 6);
    weir_unsubscribe(s);
    snprintf(at_time, sizeof at_time, "start=@%lld", (long long)r.fb->now_ms + 1);
    s = weir_subscribe(r.w, "t", NULL, at_time);
    assert_null(weir_next(s, 10));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void start_inside_a_batch_drops_what_is_below(void **state)
{
    static const char *const values[] = {"v0", "v1", "v2", "v3"};
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    fake_append(r.fb, "t", 0, values, 4, BATCH_CODEC_NONE);
    s = weir_subscribe(r.w, "t", NULL, "start=2 stop_at_end=1");
    expect_n(s, 2, 4);
    assert_null(weir_next(s, -1));
    assert_int_equal(weir_sub_error(s).code, WEIR_OK);
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void stop_at_end_ends_at_the_end_of_then(void **state)
{
    struct rig r;
    weir_sub *s;
    int n = 0;
    const weir_message *m;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 3);
    append_n(&r, 0, 0, 3);
    append_n(&r, 2, 3, 5);
    s = weir_subscribe(r.w, "t", NULL, "stop_at_end=1");
    while ((m = weir_next(s, -1))) {
        if (n++ == 0) {
            append_n(&r, 0, 10, 12); /* after the subscription began: not part of it */
            append_n(&r, 1, 10, 12);
        }
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(n, 5);
    assert_int_equal(weir_sub_error(s).code, WEIR_OK);
    assert_null(weir_next(s, -1));
    weir_unsubscribe(s);
    fake_topic_add(r.fb, "empty", 2);
    s = weir_subscribe(r.w, "empty", NULL, "stop_at_end=1");
    assert_null(weir_next(s, -1));
    assert_int_equal(weir_sub_error(s).code, WEIR_OK);
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void only_some_partitions(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 4);
    append_n(&r, 1, 1, 2);
    append_n(&r, 3, 3, 4);
    append_n(&r, 0, 0, 1);
    s = weir_subscribe(r.w, "t", NULL, "partitions=1,3 stop_at_end=1");
    expect_n(s, 1, 2);
    expect_n(s, 3, 4);
    assert_null(weir_next(s, -1));
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", NULL, "partitions=7");
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_UNKNOWN_TOPIC);
    assert_non_null(strstr(weir_sub_error(s).text, "partition 7"));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void credit_bounds_what_is_sent(void **state)
{
    struct rig r;
    const weir_message *held[400];
    weir_sub *s;
    int n = 0;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 400);
    s = weir_subscribe(r.w, "t", NULL, "window_bytes=4000");
    while (n < 400 && (held[n] = weir_next(s, 20))) {
        n++;
    }
    assert_in_range(n, 4000 / 80, 4000 / 60); /* batches of about 72 bytes */
    assert_int_equal(weir_sub_error(s).code, WEIR_E_TIMEOUT);
    weir_done(held[0], WEIR_ACK); /* a little comes for a little given back */
    assert_non_null(held[0] = weir_next(s, 100));
    weir_done(held[0], WEIR_ACK);
    for (int i = 1; i < n; i++) {
        weir_done(held[i], WEIR_ACK);
    }
    for (int i = n + 1; i < 400; i++) {
        char text[16];

        snprintf(text, sizeof text, "v%d", i);
        rig_expect(s, text);
    }
    assert_in_range(r.fb->requests[OP_CREDIT], 3, 40); /* not one per message */
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void tiny_window_still_flows(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    append_n(&r, 0, 0, 20);
    s = weir_subscribe(r.w, "t", NULL, "window_bytes=1");
    expect_n(s, 0, 20);
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void reconnect_goes_on_without_gap_or_repeat(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 10);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    expect_n(s, 0, 3);
    rig_cut(&r);
    append_n(&r, 0, 10, 12);
    expect_n(s, 3, 12);
    r.unreachable = true;
    rig_cut(&r);
    assert_null(weir_next(s, 500));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_TIMEOUT);
    assert_non_null(strstr(weir_sub_error(s).text, "not connected"));
    r.unreachable = false;
    append_n(&r, 0, 12, 13);
    rig_expect(s, "v12");
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void lost_range_is_fatal_and_named(void **state)
{
    struct rig r;
    weir_sub *s;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 10);
    fake_trim(fake_topic(r.fb, "t"), 0, 6);
    s = weir_subscribe(r.w, "t", NULL, "start=2");
    assert_null(weir_next(s, 1000));
    e = weir_sub_error(s);
    assert_int_equal(e.code, WEIR_E_OFFSET_OUT_OF_RANGE);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    assert_non_null(strstr(e.text, "offsets 2 to 5 are gone"));
    assert_null(weir_next(s, -1)); /* stays so */
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", NULL, "start=99");
    assert_null(weir_next(s, 1000));
    assert_non_null(strstr(weir_sub_error(s).text, "above the end, 10"));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void unknown_and_recreated_topics(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    s = weir_subscribe(r.w, "nope", NULL, NULL);
    assert_null(weir_next(s, 5000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_UNKNOWN_TOPIC);
    weir_unsubscribe(s);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 2);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    expect_n(s, 0, 2);
    fake_topic_drop(r.fb, "t");
    fake_topic_add(r.fb, "t", 1);
    rig_cut(&r);
    assert_null(weir_next(s, 5000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_UNKNOWN_TOPIC);
    assert_non_null(strstr(weir_sub_error(s).text, "anew"));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void bad_arguments_show_in_the_error(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    s = weir_subscribe(r.w, "t", "no group", NULL);
    assert_null(weir_next(s, 10));
    assert_int_equal(weir_sub_error(s).outcome, WEIR_NOT_DONE);
    assert_non_null(strstr(weir_sub_error(s).text, "group"));
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "t", NULL, "strat=latest");
    assert_null(weir_next(s, 10));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_INVALID_CONFIG);
    assert_non_null(strstr(weir_sub_error(s).text, "'start'"));
    weir_unsubscribe(s);
    s = weir_subscribe(r.w, "a b", NULL, NULL);
    assert_int_equal(weir_sub_error(s).outcome, WEIR_NOT_DONE);
    weir_unsubscribe(s);
    s = weir_subscribe(NULL, "t", NULL, NULL);
    assert_null(weir_next(s, 10));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_MISUSE);
    weir_unsubscribe(s);
    assert_null(weir_next(NULL, 10));
    assert_int_equal(weir_sub_error(NULL).code, WEIR_E_MISUSE);
    weir_unsubscribe(NULL);
    weir_done(NULL, WEIR_ACK);
    weir_stop(NULL);
    rig_fini(&r);
}

static void compressed_batches_and_headers(void **state)
{
    static char a[3000], b[3000];
    const char *values[] = {a, b};
    struct rig r;
    weir_send_options o = WEIR_SEND_OPTIONS;
    weir_header h[2] = {{weir_str("x"), weir_str("1")}, {weir_str("y"), weir_str(NULL)}};
    const weir_message *m;
    weir_bytes name, value;
    size_t pos = 0;
    weir_sub *s;

    (void)state;
    memset(a, 'a', sizeof a - 1);
    memset(b, 'b', sizeof b - 1);
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    fake_append(r.fb, "t", 0, values, 2, BATCH_CODEC_ZSTD);
    o.headers = h;
    o.n_headers = 2;
    o.timestamp_ms = 12345;
    (void)weir_send_async(r.w, "t", weir_str("key"), weir_str(NULL), &o, NULL, NULL);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    rig_expect(s, a);
    rig_expect(s, b);
    m = weir_next(s, 1000);
    assert_non_null(m);
    assert_memory_equal(m->key.data, "key", 3);
    assert_null(m->value.data);
    assert_int_equal(m->timestamp_ms, 12345);
    assert_int_equal(weir_message_header(m, "x").size, 1);
    assert_int_equal(weir_message_header(m, "y").size, 0);
    assert_null(weir_message_header(m, "z").data);
    assert_int_equal(weir_message_next_header(m, &pos, &name, &value), 1);
    assert_memory_equal(name.data, "x", 1);
    assert_int_equal(weir_message_next_header(m, &pos, &name, &value), 1);
    assert_memory_equal(name.data, "y", 1);
    assert_int_equal(weir_message_next_header(m, &pos, &name, &value), 0);
    weir_done(m, WEIR_DEAD);
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void damage_is_fatal_after_the_good_part(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 4);
    fake_topic(r.fb, "t")->parts[0].batches[2].p[70] ^= 1;
    s = weir_subscribe(r.w, "t", NULL, NULL);
    expect_n(s, 0, 2);
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_CORRUPT);
    assert_non_null(strstr(weir_sub_error(s).text, "partition 0"));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void a_gap_is_an_error(void **state)
{
    struct rig r;
    struct fake_partition *part;
    struct fake_stored lost;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 4);
    part = &fake_topic(r.fb, "t")->parts[0];
    lost = part->batches[1];
    memmove(part->batches + 1, part->batches + 2, 2 * sizeof lost);
    part->n = 3;
    free(lost.p);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    expect_n(s, 0, 1);
    assert_null(weir_next(s, 1000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_CORRUPT);
    assert_non_null(strstr(weir_sub_error(s).text, "offsets 1 to 1 are missing"));
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void stop_and_close(void **state)
{
    struct rig r;
    weir_sub *s;
    const weir_message *m;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 4);
    s = weir_subscribe(r.w, "t", NULL, NULL);
    m = weir_next(s, 100);
    assert_non_null(m);
    weir_stop(s);
    assert_null(weir_next(s, -1));
    assert_int_equal(weir_sub_error(s).code, WEIR_OK);
    weir_done(m, WEIR_ACK);
    weir_done(m, WEIR_ACK); /* twice does no harm */
    (void)weir_next(s, 0);
    (void)weir_close(r.w, 0); /* frees the subscription and what it holds */
    rig_fini(&r);
}

static void many_pieces(void **state)
{
    struct rig r;
    weir_sub *s;

    (void)state;
    for (size_t piece = 1; piece < 80; piece += 13) {
        rig_init(&r, NULL);
        r.piece = piece;
        fake_topic_add(r.fb, "t", 2);
        append_n(&r, 0, 0, 50);
        s = weir_subscribe(r.w, "t", NULL, "stop_at_end=1");
        expect_n(s, 0, 50);
        assert_null(weir_next(s, -1));
        rig_fini(&r);
    }
}

static void big_batches_and_pinned_chunks(void **state)
{
    static char big[900 << 10];
    const char *values[] = {big};
    const weir_message *held[8];
    struct rig r;
    weir_sub *s;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    for (int i = 0; i < 8; i++) {
        memset(big, 'a' + i, sizeof big - 1);
        fake_append(r.fb, "t", 0, values, 1, BATCH_CODEC_NONE);
    }
    s = weir_subscribe(r.w, "t", NULL, "window_bytes=16M");
    for (int i = 0; i < 8; i++) {
        held[i] = weir_next(s, 1000);
        assert_non_null(held[i]);
    }
    for (int i = 0; i < 8; i++) {
        const char *p = held[i]->value.data;

        assert_int_equal(held[i]->value.size, sizeof big - 1);
        assert_int_equal(p[0], 'a' + i);
        assert_int_equal(p[sizeof big - 2], 'a' + i);
        weir_done(held[i], WEIR_ACK);
    }
    weir_unsubscribe(s);
    rig_fini(&r);
}

static void grown_topic_is_read_whole(void **state)
{
    struct rig r;
    weir_sub *s;
    struct buf b = {0};

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    append_n(&r, 0, 0, 1);
    s = weir_subscribe(r.w, "t", NULL, "start=latest");
    assert_null(weir_next(s, 10));
    fake_topic(r.fb, "t")->conf.partitions = 2;
    append_n(&r, 1, 7, 8);
    msg_put_changed(&b, "topic", slice_str("t"));
    rig_feed(&r, b.p, b.len);
    buf_fini(&b);
    rig_expect(s, "v7");
    weir_unsubscribe(s);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_from_the_start_in_order),
        cmocka_unit_test(starts_where_asked),
        cmocka_unit_test(start_inside_a_batch_drops_what_is_below),
        cmocka_unit_test(stop_at_end_ends_at_the_end_of_then),
        cmocka_unit_test(only_some_partitions),
        cmocka_unit_test(credit_bounds_what_is_sent),
        cmocka_unit_test(tiny_window_still_flows),
        cmocka_unit_test(reconnect_goes_on_without_gap_or_repeat),
        cmocka_unit_test(lost_range_is_fatal_and_named),
        cmocka_unit_test(unknown_and_recreated_topics),
        cmocka_unit_test(bad_arguments_show_in_the_error),
        cmocka_unit_test(compressed_batches_and_headers),
        cmocka_unit_test(damage_is_fatal_after_the_good_part),
        cmocka_unit_test(a_gap_is_an_error),
        cmocka_unit_test(stop_and_close),
        cmocka_unit_test(many_pieces),
        cmocka_unit_test(big_batches_and_pinned_chunks),
        cmocka_unit_test(grown_topic_is_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
