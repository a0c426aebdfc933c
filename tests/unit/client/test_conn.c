/* The connection's state machine: hello, correlation, silence, backoff, peers that break the rules.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/consumer.h"
#include "tests/unit/client/rig.h"

static void hello_fills_what_the_server_tells(void **state)
{
    struct rig r;
    int64_t rtt = -1;

    (void)state;
    rig_init(&r, NULL);
    assert_string_equal(weir_server_version(r.w), "");
    assert_int_equal(weir_ping(r.w, &rtt, 1000).outcome, WEIR_DONE);
    assert_true(rtt >= 0);
    assert_string_equal(weir_server_version(r.w), "fake 1");
    assert_string_equal(weir_server_cluster(r.w), "abcd0000000000000000000000000000");
    rig_fini(&r);
}

static enum fake_verdict refuse_hello(void *arg, uint32_t op, const struct msg_produce *m,
                                      const struct batch_head *h, struct werror *e)
{
    (void)m;
    (void)h;
    if (op == OP_HELLO) {
        werror_set(e, *(enum werr *)arg, "supported: 2 to 3");
        return FAKE_REFUSE;
    }
    return FAKE_GO;
}

static enum fake_verdict mute_all(void *arg, uint32_t op, const struct msg_produce *m,
                                  const struct batch_head *h, struct werror *e)
{
    (void)m;
    (void)h;
    (void)e;
    return op == *(uint32_t *)arg ? FAKE_MUTE : FAKE_GO;
}

static void refused_and_missing_hello(void **state)
{
    struct rig r;
    enum werr code = WERR_UNSUPPORTED_PROTO;
    uint32_t op = OP_HELLO;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    r.fb->hooks.request = refuse_hello;
    r.fb->hooks.arg = &code;
    e = weir_ping(r.w, NULL, 1000);
    assert_int_equal(e.code, WEIR_E_UNREACHABLE);
    assert_int_equal(e.outcome, WEIR_RETRY);
    assert_non_null(strstr(e.text, "supported: 2 to 3"));
    assert_int_equal(weir_last_error(r.w).outcome, WEIR_RETRY);
    rig_fini(&r);
    rig_init(&r, "connect_timeout_ms=100");
    r.fb->hooks.request = mute_all;
    r.fb->hooks.arg = &op;
    e = weir_ping(r.w, NULL, 1000);
    assert_int_equal(e.code, WEIR_E_UNREACHABLE);
    assert_non_null(strstr(e.text, "hello"));
    assert_in_range(r.connects, 3, 10);
    rig_fini(&r);
}

static void backoff_grows_with_jitter_and_is_capped(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, "reconnect_min_ms=100 reconnect_max_ms=1000");
    r.unreachable = true;
    (void)weir_ping(r.w, NULL, 100000);
    /* 100, 200, 400, 800, 1000, ... each between half and whole: 130 to 200 in 100 s. */
    assert_in_range(r.connects, 100, 210);
    rig_fini(&r);
}

static void reads_survive_a_lost_connection_changes_do_not(void **state)
{
    struct rig r;
    uint32_t op = OP_TOPIC_DESCRIBE;
    weir_topic *t = NULL;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_ping(r.w, NULL, 1000).outcome, WEIR_DONE);
    r.fb->hooks.request = mute_all;
    r.fb->hooks.arg = &op;
    e = weir_topic_describe(r.w, "t", &t, 100);
    assert_int_equal(e.code, WEIR_E_TIMEOUT);
    assert_int_equal(e.outcome, WEIR_RETRY); /* nothing was to be changed */
    assert_null(t);
    op = OP_TOPIC_DELETE;
    e = weir_topic_delete(r.w, "t", 0, NULL, 100);
    assert_int_equal(e.code, WEIR_E_TIMEOUT);
    assert_int_equal(e.outcome, WEIR_UNKNOWN); /* it was done, in fact */
    assert_null(fake_topic(r.fb, "t"));
    rig_fini(&r);
}

static void a_silent_server_is_pinged_then_dropped(void **state)
{
    struct rig r;
    uint32_t op = OP_TOPIC_DESCRIBE;
    weir_topic *t = NULL;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_ping(r.w, NULL, 1000).outcome, WEIR_DONE);
    rig_run(&r, 3600 * 1000); /* idle for an hour: nothing is due, nothing happens */
    assert_int_equal(r.connects, 1);
    r.fb->hooks.request = mute_all;
    r.fb->hooks.arg = &op;
    e = weir_topic_describe(r.w, "t", &t, 40000);
    assert_int_equal(e.code, WEIR_E_TIMEOUT);
    assert_int_equal(r.fb->requests[OP_PING], 1 + 2); /* alive: pings are answered */
    assert_int_equal(r.connects, 1);
    r.hold_answers = true; /* now it is dead */
    e = weir_topic_describe(r.w, "t", &t, 31000);
    assert_int_equal(r.connects, 2);
    rig_fini(&r);
}

/* It says something else instead of answering the ping, and then no more. */
static void a_ping_on_its_way_is_the_ping_of_the_next_silence(void **state)
{
    struct rig r;
    struct buf b = {0};

    (void)state;
    rig_init(&r, "batch_records=1 send_timeout_ms=600000");
    fake_topic_add(r.fb, "t", 1);
    rig_send(&r, "t", 0, "v0");
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    r.hold_answers = true;
    rig_send(&r, "t", 0, "v1");
    rig_run(&r, CONN_SILENCE_MS + 5000);
    assert_int_equal(r.fb->requests[OP_PING], 1);
    msg_put_changed(&b, "group", slice_str("g"));
    rig_feed(&r, b.p, b.len);
    rig_run(&r, 2 * CONN_SILENCE_MS - 1000);
    assert_int_equal(r.connects, 1);
    rig_run(&r, 2000);
    assert_int_equal(r.connects, 2);
    assert_int_equal(r.fb->requests[OP_PING], 1);
    buf_fini(&b);
    rig_fini(&r);
}

static void going_away_reconnects_and_loses_nothing(void **state)
{
    struct rig r;
    struct buf b = {0};

    (void)state;
    rig_init(&r, "batch_records=1");
    fake_topic_add(r.fb, "t", 1);
    rig_send(&r, "t", 0, "v0");
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    r.hold_answers = true;
    rig_send(&r, "t", 0, "v1");
    rig_run(&r, 1);
    r.hold_answers = false;
    msg_put_going_away(&b, "shutdown", 1000);
    rig_feed(&r, b.p, b.len);
    rig_send(&r, "t", 0, "v2"); /* nothing new goes to the old connection */
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(r.connects, 2);
    assert_int_equal(fake_find(fake_topic(r.fb, "t"), 0, "v1"), 1);
    assert_int_equal(fake_find(fake_topic(r.fb, "t"), 0, "v2"), 2);
    assert_int_equal(r.results[1].error.duplicate, 0);
    buf_fini(&b);
    rig_fini(&r);
}

/* ---- peers that break the rules ---- */

/* Feeds bytes on a ready connection; the client must drop it and work again afterwards. */
static void assert_dropped(const void *bytes, size_t n)
{
    struct rig r;

    rig_init(&r, NULL);
    assert_int_equal(weir_ping(r.w, NULL, 1000).outcome, WEIR_DONE);
    rig_feed(&r, bytes, n);
    assert_int_equal(r.w->conn.state, CONN_BACKOFF);
    assert_non_null(strstr(weir_last_error(r.w).text, "protocol"));
    assert_int_equal(weir_ping(r.w, NULL, 5000).outcome, WEIR_DONE);
    assert_int_equal(r.connects, 2);
    rig_fini(&r);
}

static void rule_breakers_are_dropped(void **state)
{
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t empty[] = {0, 0, 0, 0};
    static const uint8_t no_array[] = {0, 0, 0, 1, 0xc0};
    static const uint8_t trailing[] = {0, 0, 0, 6, 0x94, 1, 2, 0xc0, 0x90, 0x90};
    static const uint8_t not_asked[] = {0, 0, 0, 7, 0x94, 1, 0xcd, 0x12, 0x34, 0xc0, 0x90};
    static const uint8_t request[] = {0, 0, 0, 5, 0x94, 0, 1, 3, 0x90};
    static const uint8_t bad_deliver[] = {0, 0, 0, 6, 0x94, 2, 1, 0x65, 0x91, 0xc0};

    (void)state;
    assert_dropped(huge, sizeof huge);
    assert_dropped(empty, sizeof empty);
    assert_dropped(no_array, sizeof no_array);
    assert_dropped(trailing, sizeof trailing);
    assert_dropped(not_asked, sizeof not_asked);
    assert_dropped(request, sizeof request);
    assert_dropped(bad_deliver, sizeof bad_deliver); /* GOING_AWAY with wrong arguments */
}

static void unknown_notifies_are_ignored(void **state)
{
    static const uint8_t later[] = {0, 0, 0, 5, 0x94, 2, 0, 0x7f, 0x90};
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    assert_int_equal(weir_ping(r.w, NULL, 1000).outcome, WEIR_DONE);
    rig_feed(&r, later, sizeof later);
    assert_int_equal(weir_ping(r.w, NULL, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.connects, 1);
    rig_fini(&r);
}

static void more_than_granted_is_dropped(void **state)
{
    static char big[60000];
    const char *values[] = {big};
    struct rig r;
    weir_sub *s;

    (void)state;
    memset(big, 'x', sizeof big - 1);
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    for (int i = 0; i < 300; i++) {
        fake_append(r.fb, "t", 0, values, 1, BATCH_CODEC_NONE);
    }
    s = weir_subscribe(r.w, "t", NULL, "window_bytes=1000");
    weir_done(weir_next(s, 1000), WEIR_ACK);
    for (size_t i = 0; i < 8; i++) {
        r.conn.subs[i].limit = UINT64_MAX; /* the broker ignores credit */
    }
    rig_run(&r, 100);
    assert_non_null(strstr(weir_last_error(r.w).text, "granted"));
    assert_true(s->outstanding < (size_t)LIMIT_BATCH + (2 << 20));
    rig_fini(&r);
}

/* What a fuzzer finds first: every byte of a good conversation changed, one at a time. */
static void damaged_answers_never_crash(void **state)
{
    static const char *const values[] = {"one", "two"};
    uint64_t rng = 88172645463325252u;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct rig r;
        weir_sub *s;
        weir_topic *t = NULL;

        rig_init(&r, "send_timeout_ms=50 reconnect_min_ms=1 reconnect_max_ms=2");
        fake_topic_add(r.fb, "t", 2);
        fake_append(r.fb, "t", 0, values, 2, BATCH_CODEC_NONE);
        r.flip = rng;
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        s = weir_subscribe(r.w, "t", NULL, "stop_at_end=1");
        (void)weir_send(r.w, "t", weir_str("k"), weir_str("v"), 20);
        weir_done(weir_next(s, 20), WEIR_ACK);
        weir_done(weir_next(s, 20), WEIR_ACK);
        (void)weir_topic_describe(r.w, "t", &t, 20);
        (void)weir_topic_list(r.w, r.on_topic, NULL, 20);
        (void)weir_metrics(r.w, NULL, r.on_metric, NULL, 20);
        weir_topic_free(t);
        (void)weir_close(r.w, 20);
        rig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_fills_what_the_server_tells),
        cmocka_unit_test(refused_and_missing_hello),
        cmocka_unit_test(backoff_grows_with_jitter_and_is_capped),
        cmocka_unit_test(reads_survive_a_lost_connection_changes_do_not),
        cmocka_unit_test(a_silent_server_is_pinged_then_dropped),
        cmocka_unit_test(a_ping_on_its_way_is_the_ping_of_the_next_silence),
        cmocka_unit_test(going_away_reconnects_and_loses_nothing),
        cmocka_unit_test(rule_breakers_are_dropped),
        cmocka_unit_test(unknown_notifies_are_ignored),
        cmocka_unit_test(more_than_granted_is_dropped),
        cmocka_unit_test(damaged_answers_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
