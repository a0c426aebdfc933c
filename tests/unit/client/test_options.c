/* Options and URLs: every key, every error. */
#include <stdio.h>
#include <string.h>

#include "client/opt.h"
#include "client/url.h"
#include "tests/lib/test.h"

static struct werror err;

static enum werr parse(struct options *o, const char *text)
{
    memset(&err, 0, sizeof err);
    options_defaults(o);
    return options_parse(o, text, ' ', &err);
}

static void every_key_is_taken(void **state)
{
    struct options o;

    (void)state;
    assert_int_equal(
        parse(&o, " client_id=app producer=p.1 linger_ms=5 batch_bytes=64k batch_records=10 "
                  "in_flight=3 compression=zstd buffer_bytes=1M send_timeout_ms=100 "
                  "connect_timeout_ms=200 reconnect_min_ms=3 reconnect_max_ms=4 "),
        WERR_OK);
    assert_string_equal(o.client_id, "app");
    assert_string_equal(o.producer, "p.1");
    assert_int_equal(o.linger_ms, 5);
    assert_int_equal(o.batch_bytes, 65536);
    assert_int_equal(o.batch_records, 10);
    assert_int_equal(o.in_flight, 3);
    assert_true(o.compression);
    assert_int_equal(o.buffer_bytes, 1 << 20);
    assert_int_equal(o.send_timeout_ms, 100);
    assert_int_equal(o.connect_timeout_ms, 200);
    assert_int_equal(o.reconnect_min_ms, 3);
    assert_int_equal(o.reconnect_max_ms, 4);
    assert_int_equal(parse(&o, NULL), WERR_OK);
    assert_int_equal(parse(&o, ""), WERR_OK);
    assert_int_equal(o.batch_bytes, 256 << 10);
}

static void errors_name_key_and_reason(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"linger=5", "'linger_ms'"},
        {"compresion=zstd", "'compression'"},
        {"zzz=1", "unknown option 'zzz'"},
        {"linger_ms", "not key=value"},
        {"=5", "not key=value"},
        {"linger_ms=", "linger_ms"},
        {"linger_ms=-1", "0 to 60000"},
        {"linger_ms=60001", "0 to 60000"},
        {"linger_ms=5x", "linger_ms=5x"},
        {"linger_ms=5k", "linger_ms=5k"}, /* units only for bytes */
        {"linger_ms=99999999999999999999", "linger_ms"},
        {"batch_bytes=9M", "8388608"},
        {"batch_bytes=0", "from 1"},
        {"batch_bytes=18446744073709551615G", "batch_bytes"},
        {"batch_records=65536", "65535"},
        {"in_flight=65", "1 to 64"},
        {"in_flight=0", "1 to 64"},
        {"compression=gzip", "none or zstd"},
        {"producer=a/b", "A-Za-z0-9._-"},
        {"producer=", "producer"},
        {"buffer_bytes=5", "1024"},
        {"send_timeout_ms=0", "send_timeout_ms"},
        {"reconnect_min_ms=10 reconnect_max_ms=5", "above"},
    };
    struct options o;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (parse(&o, cases[i].text) != WERR_INVALID_CONFIG || !strstr(err.text, cases[i].says)) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
    }
    assert_int_equal(parse(&o, "linger_ms=60000 batch_bytes=8M in_flight=64"), WERR_OK);
}

static void subscription_options(void **state)
{
    static const char *const bad[] = {"start=",
                                      "start=-1",
                                      "start=@",
                                      "start=@x",
                                      "start=1x",
                                      "partitions=",
                                      "partitions=1,",
                                      "partitions=1024",
                                      "partitions=a",
                                      "stop_at_end=2",
                                      "window_bytes=0",
                                      "window=1",
                                      "start=9007199254740992"};
    struct sub_options o;

    (void)state;
    sub_options_defaults(&o);
    assert_int_equal(
        sub_options_parse(&o, "start=@123 partitions=0,7,1023 stop_at_end=1", false, &err),
        WERR_OK);
    assert_int_equal(o.start, START_TIME);
    assert_int_equal(o.start_value, 123);
    assert_true(o.some && o.stop_at_end);
    assert_int_equal(o.set[0], 0x81);
    assert_int_equal(o.set[127], 0x80);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sub_options_defaults(&o);
        if (sub_options_parse(&o, bad[i], false, &err) != WERR_INVALID_CONFIG) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void urls(void **state)
{
    static const char *const bad[] = {"",
                                      "weir",
                                      "weir://",
                                      "http://x",
                                      "weir://:1",
                                      "weir://a:0",
                                      "weir://a:65536",
                                      "weir://a:x",
                                      "weir://a:",
                                      "weir://a,",
                                      "weir://[::1",
                                      "weir://[::1]x",
                                      "weir+unix://",
                                      "weir+unix://rel",
                                      "weir://a?x",
                                      "weir://a?linger_ms=x",
                                      "weir://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    struct options o;
    struct url u;
    char text[400];

    (void)state;
    options_defaults(&o);
    assert_int_equal(url_parse(&u, NULL, &o, &err), WERR_OK);
    assert_string_equal(u.hosts[0].name, "localhost");
    assert_string_equal(u.hosts[0].port, "9347");
    assert_int_equal(
        url_parse(&u, "weir://a.b:1,[::1],[fe80::1]:99/?linger_ms=7&in_flight=2", &o, &err),
        WERR_OK);
    assert_int_equal(u.n_hosts, 3);
    assert_string_equal(u.hosts[0].port, "1");
    assert_string_equal(u.hosts[1].name, "::1");
    assert_string_equal(u.hosts[1].port, "9347");
    assert_string_equal(u.hosts[2].name, "fe80::1");
    assert_string_equal(u.hosts[2].port, "99");
    assert_int_equal(o.linger_ms, 7);
    assert_int_equal(o.in_flight, 2);
    assert_int_equal(url_parse(&u, "weir+unix:///run/weir.sock?linger_ms=1", &o, &err), WERR_OK);
    assert_true(u.is_unix);
    assert_string_equal(u.path, "/run/weir.sock");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (url_parse(&u, bad[i], &o, &err) != WERR_INVALID_CONFIG) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    snprintf(text, sizeof text, "weir+unix:///%0107d", 0); /* 108 bytes: one too many */
    assert_int_equal(url_parse(&u, text, &o, &err), WERR_INVALID_CONFIG);
    snprintf(text, sizeof text, "weir+unix:///%0106d", 0);
    assert_int_equal(url_parse(&u, text, &o, &err), WERR_OK);
    snprintf(text, sizeof text, "weir://%0254d", 0);
    assert_int_equal(url_parse(&u, text, &o, &err), WERR_INVALID_CONFIG);
}

static void options_of_groups(void **state)
{
    static const char *const bad[] = {"mode=both",
                                      "member=12",
                                      "member=zz",
                                      "commit=never",
                                      "prefetch=0",
                                      "mode=queue commit=auto",
                                      "mode=queue prefetch=10001",
                                      "order=key",
                                      "partitions=1",
                                      "stop_at_end=1",
                                      "start=17",
                                      "mode=queue lease_ms=10"};
    struct sub_options o;
    struct werror e = {0};

    (void)state;
    sub_options_defaults(&o);
    assert_int_equal(sub_options_parse(&o,
                                       "mode=queue order=key prefetch=7 lease_ms=1000 settle_ms=3 "
                                       "member=000102030405060708090a0b0c0d0eFF",
                                       true, &e),
                     WERR_OK);
    assert_true(o.queue && o.by_key && o.has_member);
    assert_int_equal(o.prefetch, 7);
    assert_int_equal(o.member[14], 14);
    assert_int_equal(o.member[15], 255);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sub_options_defaults(&o);
        if (sub_options_parse(&o, bad[i], true, &e) != WERR_INVALID_CONFIG) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    sub_options_defaults(&o);
    assert_int_equal(sub_options_parse(&o, "mode=queue", false, &e), WERR_INVALID_CONFIG);
    assert_non_null(strstr(e.text, "with a group"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_of_groups),
        cmocka_unit_test(every_key_is_taken),
        cmocka_unit_test(errors_name_key_and_reason),
        cmocka_unit_test(subscription_options),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
