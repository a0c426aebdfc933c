/* libweir against the real server: what only both together can show. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#include "tests/blackbox/client/server.h"
#include "tests/lib/test.h"

static struct server srv;

static int setup(void **state)
{
    (void)state;
    return server_init(&srv) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    server_fini(&srv);
    return 0;
}

static void assert_done(weir_error e)
{
    if (e.outcome != WEIR_DONE) {
        fail_msg("%s (%s): %s", weir_code_name(e.code), weir_outcome_name(e.outcome), e.text);
    }
}

static void administration(void **state)
{
    weir *w = weir_open(srv.url, NULL);
    weir_topic *t = NULL;
    weir_partition_info p;
    int64_t rtt = 0, offset = -1;
    uint64_t bytes = 0;

    (void)state;
    assert_done(weir_ping(w, &rtt, 5000));
    assert_true(strlen(weir_server_version(w)) > 0);
    assert_int_equal(strlen(weir_server_cluster(w)), 32);
    assert_done(weir_topic_create(w, "adm", "partitions=3 retention=1d", 0, &t, 5000));
    assert_string_equal(weir_topic_config(t, "retention.ms"), "86400000");
    weir_topic_free(t);
    assert_int_equal(weir_topic_create(w, "adm", NULL, 0, NULL, 5000).code, WEIR_E_EXISTS);
    assert_done(weir_send(w, "adm", weir_str("k"), weir_str("v"), 5000));
    assert_done(weir_topic_describe(w, "adm", &t, 5000));
    assert_int_equal(weir_topic_partitions(t), 3);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(weir_topic_partition(t, i, &p), 0);
        offset += p.high_watermark;
    }
    assert_int_equal(offset, 0);
    weir_topic_free(t);
    assert_done(weir_topic_alter(w, "adm", "partitions=6", 0, NULL, 5000));
    assert_int_equal(weir_topic_alter(w, "adm", "partitions=2", 0, NULL, 5000).outcome,
                     WEIR_NOT_DONE);
    assert_done(weir_topic_delete(w, "adm", 0, &bytes, 5000));
    assert_int_equal(weir_topic_describe(w, "adm", &t, 5000).code, WEIR_E_UNKNOWN_TOPIC);
    assert_int_equal(weir_send(w, "adm", weir_str("k"), weir_str("v"), 5000).code,
                     WEIR_E_UNKNOWN_TOPIC);
    assert_done(weir_close(w, 1000));
}

struct tally {
    int done, unknown, other, duplicates;
};

static void count(void *user, const weir_receipt *r)
{
    struct tally *t = user;

    t->done += r->error.outcome == WEIR_DONE;
    t->duplicates += r->error.duplicate;
    t->unknown += r->error.outcome == WEIR_UNKNOWN;
    t->other += r->error.outcome != WEIR_DONE && r->error.outcome != WEIR_UNKNOWN;
}

/* Numbers 0..n-1 with one key each of `keys`; reads them back: all, once, in order per key. */
static void assert_sequence(weir *w, const char *topic, int n, int keys)
{
    int *next = calloc((size_t)keys, sizeof *next), got = 0;
    weir_sub *s = weir_subscribe(w, topic, NULL, "stop_at_end=1");
    const weir_message *m;

    for (int k = 0; k < keys; k++) {
        next[k] = k;
    }
    while ((m = weir_next(s, 20000))) {
        char text[16] = "";
        int v;

        memcpy(text, m->value.data, m->value.size < 15 ? m->value.size : 15);
        v = (int)strtol(text, NULL, 10);
        if (v != next[v % keys]) {
            fail_msg("partition %d offset %lld: %d came, %d was expected", (int)m->partition,
                     (long long)m->offset, v, next[v % keys]);
        }
        next[v % keys] += keys;
        got++;
        weir_done(m, WEIR_ACK);
    }
    assert_done(weir_sub_error(s));
    assert_int_equal(got, n);
    weir_unsubscribe(s);
    free(next);
}

/* Queues i as value under its key, waiting for room when the buffer is full. */
static void queue(weir *w, const char *topic, int i, int keys, struct tally *t)
{
    char key[16], value[16];
    weir_error e;

    snprintf(key, sizeof key, "key-%d", i % keys);
    snprintf(value, sizeof value, "%d", i);
    while ((e = weir_send_async(w, topic, weir_str(key), weir_str(value), NULL, count, t)).code ==
           WEIR_E_BUFFER_FULL) {
        struct pollfd p = {weir_fd(w), POLLIN, 0};

        poll(&p, 1, weir_timeout_ms(w));
        weir_on_io(w);
    }
    assert_done(e);
}

static void order_through_many_batches(void **state)
{
    enum { N = 200000, KEYS = 7 };
    weir *w = weir_open(srv.url, "batch_bytes=4k buffer_bytes=1M");
    struct tally t = {0};

    (void)state;
    assert_done(weir_topic_create(w, "order", "partitions=4", 0, NULL, 5000));
    for (int i = 0; i < N; i++) {
        queue(w, "order", i, KEYS, &t);
    }
    assert_done(weir_flush(w, 60000));
    assert_int_equal(t.done, N);
    assert_sequence(w, "order", N, KEYS);
    assert_done(weir_close(w, 1000));
}

static void compressed_and_headers(void **state)
{
    static char big[100000];
    weir *w = weir_open(srv.url, "compression=zstd");
    weir_send_options o = WEIR_SEND_OPTIONS;
    weir_header h = {weir_str("trace"), weir_str("abc")};
    const weir_message *m;
    weir_sub *s;

    (void)state;
    memset(big, 'z', sizeof big);
    assert_done(weir_topic_create(w, "zip", "partitions=1", 0, NULL, 5000));
    o.headers = &h;
    o.n_headers = 1;
    o.timestamp_ms = 1234567;
    assert_done(
        weir_send_async(w, "zip", weir_str("k"), weir_bytes_of(big, sizeof big), &o, NULL, NULL));
    assert_done(weir_flush(w, 5000));
    s = weir_subscribe(w, "zip", NULL, NULL);
    m = weir_next(s, 5000);
    assert_non_null(m);
    assert_int_equal(m->value.size, sizeof big);
    assert_memory_equal(m->value.data, big, sizeof big);
    assert_int_equal(m->timestamp_ms, 1234567);
    assert_int_equal(weir_message_header(m, "trace").size, 3);
    weir_done(m, WEIR_ACK);
    assert_done(weir_close(w, 1000));
}

static void survives_kill_nine(void **state)
{
    enum { N = 60000, KEYS = 5 };
    weir *w = weir_open(srv.url, "batch_bytes=2k send_timeout_ms=60000");
    weir_sub *s;
    struct tally t = {0};
    int seen = 0;
    const weir_message *m;

    (void)state;
    assert_done(weir_topic_create(w, "kill", "partitions=4", 0, NULL, 5000));
    s = weir_subscribe(w, "kill", NULL, NULL);
    for (int i = 0; i < N; i++) {
        queue(w, "kill", i, KEYS, &t);
        if (i % (N / 4) == N / 8) { /* in the middle of things, four times */
            server_kill(&srv);
            assert_true(server_start(&srv));
        }
        while ((m = weir_next(s, 0))) {
            seen++;
            weir_done(m, WEIR_ACK);
        }
    }
    assert_done(weir_flush(w, 60000));
    assert_int_equal(t.done, N);
    while (seen < N && (m = weir_next(s, 10000))) {
        seen++;
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(seen, N); /* one subscription, over four restarts */
    assert_null(weir_next(s, 100));
    assert_sequence(w, "kill", N, KEYS);
    assert_done(weir_close(w, 1000));
}

static void named_producer_over_restarts(void **state)
{
    weir *w = weir_open(srv.url, "producer=loader");
    weir_send_options o = WEIR_SEND_OPTIONS;
    weir *second;
    int64_t offset = -2;
    weir_error e;

    (void)state;
    assert_done(weir_topic_create(w, "named", "partitions=2", 0, NULL, 5000));
    o.partition = 1;
    for (int i = 0; i < 10; i++) {
        assert_done(weir_send_async(w, "named", weir_str(NULL), weir_str("x"), &o, NULL, NULL));
    }
    assert_done(weir_flush(w, 5000));
    server_kill(&srv);
    assert_true(server_start(&srv));
    second = weir_open(srv.url, "producer=loader");
    assert_done(weir_producer_position(second, "named", 1, &offset, 10000));
    assert_int_equal(offset, 9);
    assert_done(weir_producer_position(second, "named", 0, &offset, 10000));
    assert_int_equal(offset, -1);
    assert_done(weir_send_async(second, "named", weir_str(NULL), weir_str("y"), &o, NULL, NULL));
    assert_done(weir_flush(second, 5000));
    assert_done(weir_send_async(w, "named", weir_str(NULL), weir_str("z"), &o, NULL, NULL));
    e = weir_flush(w, 10000);
    assert_int_equal(e.code, WEIR_E_PRODUCER_FENCED);
    assert_int_equal(e.fenced, 1);
    weir_close(w, 0);
    assert_done(weir_close(second, 1000));
}

static void offsets_and_ranges(void **state)
{
    weir *w = weir_open(srv.url, NULL);
    weir_sub *s;
    int64_t offset = -1, ms = -1;

    (void)state;
    assert_done(weir_topic_create(w, "off", "partitions=1", 0, NULL, 5000));
    for (int i = 0; i < 5; i++) {
        assert_done(weir_send(w, "off", weir_str(NULL), weir_str("x"), 5000));
    }
    assert_done(weir_offset(w, "off", 0, WEIR_OFFSET_END, &offset, NULL, 5000));
    assert_int_equal(offset, 5);
    assert_done(weir_offset(w, "off", 0, 1, &offset, &ms, 5000));
    assert_int_equal(offset, 0);
    assert_true(ms > 0);
    s = weir_subscribe(w, "off", NULL, "start=99");
    assert_null(weir_next(s, 5000));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_OFFSET_OUT_OF_RANGE);
    weir_unsubscribe(s);
    s = weir_subscribe(w, "off", NULL, "start=latest stop_at_end=1");
    assert_null(weir_next(s, 5000));
    assert_done(weir_sub_error(s));
    assert_done(weir_close(w, 1000));
}

static void orderly_shutdown_is_survived(void **state)
{
    weir *w = weir_open(srv.url, "send_timeout_ms=30000");

    (void)state;
    assert_done(weir_topic_create(w, "term", "partitions=1", 0, NULL, 5000));
    assert_done(weir_send(w, "term", weir_str("k"), weir_str("1"), 5000));
    assert_int_equal(server_term(&srv), 0);
    assert_int_equal(weir_send(w, "term", weir_str("k"), weir_str("lost"), 300).outcome,
                     WEIR_RETRY);
    assert_true(server_start(&srv));
    assert_done(weir_send(w, "term", weir_str("k"), weir_str("2"), 10000));
    assert_done(weir_close(w, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(administration),
        cmocka_unit_test(order_through_many_batches),
        cmocka_unit_test(compressed_and_headers),
        cmocka_unit_test(survives_kill_nine),
        cmocka_unit_test(named_producer_over_restarts),
        cmocka_unit_test(offsets_and_ranges),
        cmocka_unit_test(orderly_shutdown_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
