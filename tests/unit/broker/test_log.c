#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/log.h"
#include "tests/lib/test.h"

struct sink {
    struct log log;
    int fds[2];
    char text[1 << 17];
};
static struct sink s;

static int set_up(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    if (pipe2(s.fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    s.log = (struct log){LOG_INFO, false, s.fds[1], 0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(s.fds[0]);
    close(s.fds[1]);
    return 0;
}

/* Everything logged so far. */
static const char *logged(void)
{
    ssize_t n = read(s.fds[0], s.text, sizeof s.text - 1);

    s.text[n > 0 ? n : 0] = '\0';
    return s.text;
}

static void a_line_has_time_level_module_event_and_pairs(void **state)
{
    const char *line;

    (void)state;
    log_line(&s.log, LOG_WARN, "conn", "frame_refused", "conn=%d why=\"%s\"", 7, "too\nlong");
    line = logged();
    assert_int_equal(strlen("2026-01-02T03:04:05.678Z "), 25);
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " warn conn frame_refused conn=7 why=\"too long\"\n");
    log_line(&s.log, LOG_INFO, "server", "stopped", "%s", "");
    assert_string_equal(logged() + 24, " info server stopped\n");
}

static void levels_above_the_chosen_one_are_silent(void **state)
{
    (void)state;
    log_line(&s.log, LOG_DEBUG, "m", "e", "a=1");
    assert_string_equal(logged(), "");
    s.log.level = log_level_of("debug");
    log_line(&s.log, LOG_DEBUG, "m", "e", "a=1");
    assert_non_null(strstr(logged(), " debug m e a=1\n"));
    s.log.level = log_level_of("error");
    log_line(&s.log, LOG_WARN, "m", "e", "a=1");
    assert_string_equal(logged(), "");
}

static void json_says_the_same(void **state)
{
    (void)state;
    s.log.json = true;
    log_line(&s.log, LOG_INFO, "m", "e", "a=1 text=\"b \\ c\" d=x=y");
    assert_string_equal(
        strstr(logged(), "\"level\""),
        "\"level\":\"info\",\"module\":\"m\",\"event\":\"e\",\"a\":\"1\",\"text\":\"b \\\\ c\","
        "\"d\":\"x=y\"}\n");
    log_line(&s.log, LOG_INFO, "m", "e", "%s", "");
    assert_non_null(strstr(logged(), "\"event\":\"e\"}\n"));
}

/* Whatever the length of a value, a line of JSON is closed, and shorter than PIPE_BUF. */
static void long_values_keep_their_shape(void **state)
{
    char value[4000];

    (void)state;
    s.log.json = true;
    for (size_t n = 900; n < 1100; n++) {
        const char *line;

        memset(value, '"', n);
        value[n] = '\0';
        log_line(&s.log, LOG_INFO, "m", "e", "k=%s", value);
        line = logged();
        assert_true(strlen(line) < 4096);
        assert_string_equal(line + strlen(line) - 3, "\"}\n");
    }
}

static void what_a_peer_chose_cannot_forge_a_line(void **state)
{
    static const char evil[] = "a\" level=\"b\\\n\x01\xff\0z";
    char text[LOG_TEXT], longest[2 * LOG_TEXT];

    (void)state;
    assert_string_equal(log_text(text, evil, sizeof evil - 1), "a' level='b'????z");
    memset(longest, 'x', sizeof longest);
    assert_int_equal(strlen(log_text(text, longest, sizeof longest)), LOG_TEXT - 1);
    assert_string_equal(log_text(text, NULL, 0), "");
}

static void a_full_log_never_waits(void **state)
{
    char last[64];

    (void)state;
    for (int i = 0; i < 5000; i++) {
        log_line(&s.log, LOG_INFO, "m", "e", "i=%d filler=%060d", i, 0);
    }
    assert_true(s.log.dropped > 1000);
    snprintf(last, sizeof last, "i=after dropped=%u\n", s.log.dropped);
    assert_null(strstr(logged(), "dropped="));
    log_line(&s.log, LOG_INFO, "m", "e", "i=after");
    assert_non_null(strstr(logged(), last));
    log_line(&s.log, LOG_INFO, "m", "e", "i=more");
    assert_null(strstr(logged(), "dropped="));
}

static void peers_get_ten_lines_a_second(void **state)
{
    struct log_limit limit = {0};
    unsigned swallowed, allowed = 0;
    int64_t now = 5000000000;

    (void)state;
    for (int i = 0; i < 25; i++) {
        allowed += log_allowed(&limit, now + i, &swallowed);
        assert_int_equal(swallowed, 0);
    }
    assert_int_equal(allowed, 10);
    assert_true(log_allowed(&limit, now + 1000000000, &swallowed));
    assert_int_equal(swallowed, 15);
    assert_true(log_allowed(&limit, now + 1000000001, &swallowed));
    assert_int_equal(swallowed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_module_event_and_pairs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(levels_above_the_chosen_one_are_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_says_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_values_keep_their_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_peer_chose_cannot_forge_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_log_never_waits, set_up, tear_down),
        cmocka_unit_test(peers_get_ten_lines_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
