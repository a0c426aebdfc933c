#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/args.h"

/* Parses a command line given as words; the array ends with NULL. */
static int parse(struct args *a, const char *const *words)
{
    char *argv[32] = {(char[]){"weir"}};
    static char texts[32][64];
    int argc = 1;
    for (; words[argc - 1]; argc++) {
        size_t n = strlen(words[argc - 1]);
        assert_true(n < sizeof texts[0]);
        memcpy(texts[argc], words[argc - 1], n + 1);
        argv[argc] = texts[argc];
    }
    return args_parse(a, argc, argv);
}

#define PARSE(a, ...) parse(a, (const char *const[]){__VA_ARGS__, NULL})

static void refused(const char *const *words, const char *error)
{
    struct args a;
    assert_int_equal(parse(&a, words), -1);
    assert_string_equal(a.error, error);
    args_fini(&a);
}

#define REFUSED(error, ...) refused((const char *const[]){__VA_ARGS__, NULL}, error)

static void all_forms_of_an_option(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(PARSE(&a, "consume", "t", "--count", "7", "--from=@-1h", "-p3", "-ve"), 0);
    assert_int_equal(a.command->id, CMD_consume);
    assert_int_equal(a.n_words, 1);
    assert_string_equal(a.words[0], "t");
    assert_int_equal(args_number(&a, OPT_COUNT, -1), 7);
    assert_string_equal(args_text(&a, OPT_FROM, ""), "@-1h");
    assert_int_equal(args_number(&a, OPT_PARTITION, -1), 3);
    assert_true(args_has(&a, OPT_VERBOSE));
    assert_true(args_has(&a, OPT_EXIT_AT_END));
    assert_false(args_has(&a, OPT_FORMAT));
    assert_int_equal(args_number(&a, OPT_TIMEOUT, 99), 99);
    args_fini(&a);
    args_fini(&a);
}

static void global_options_before_the_command(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(PARSE(&a, "--server", "weir://x", "-t", "2s", "topic", "-v", "list"), 0);
    assert_int_equal(a.command->id, CMD_topic_list);
    assert_string_equal(args_text(&a, OPT_SERVER, ""), "weir://x");
    assert_int_equal(args_number(&a, OPT_TIMEOUT, 0), 2000);
    args_fini(&a);
    REFUSED("unknown option '--count'", "--count", "3", "consume", "t");
}

static void a_value_may_begin_with_a_dash(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(PARSE(&a, "offsets", "t", "--at", "-1h"), 0);
    assert_string_equal(args_text(&a, OPT_AT, ""), "-1h");
    args_fini(&a);
}

static void two_dashes_end_the_options(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(PARSE(&a, "produce", "--", "-topic"), 0);
    assert_string_equal(a.words[0], "-topic");
    args_fini(&a);
}

static void pairs_collect_and_others_count_the_last_time(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(
        PARSE(&a, "produce", "t", "-H", "a=1", "-H", "b=", "--rate", "5", "--rate", "9/s"), 0);
    assert_string_equal(args_nth(&a, OPT_HEADER, 0), "a=1");
    assert_string_equal(args_nth(&a, OPT_HEADER, 1), "b=");
    assert_null(args_nth(&a, OPT_HEADER, 2));
    assert_true(args_rate(&a, OPT_RATE) == 9);
    args_fini(&a);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    REFUSED("unknown command 'topc'; did you mean 'topic'?", "topc");
    REFUSED("unknown command 'topic lst'; did you mean 'topic list'?", "topic", "lst");
    REFUSED("unknown command 'xyzzy'", "xyzzy");
    REFUSED("unknown command 'topic create'", "topic create");
    REFUSED("unknown option '--formt' of consume; did you mean '--format'?", "consume", "t",
            "--formt", "x");
    REFUSED("unknown option '--formt=x' of consume; did you mean '--format'?", "consume", "t",
            "--formt=x");
    REFUSED("unknown option '-Q' of consume", "consume", "-eQ", "t");
    REFUSED("--count needs N", "consume", "t", "--count");
    REFUSED("-n needs N", "consume", "t", "-n");
    REFUSED("--verbose takes no argument", "consume", "t", "--verbose=1");
    REFUSED("produce needs TOPIC", "produce");
    REFUSED("produce: unexpected 'b'", "produce", "a", "b");
    REFUSED("topic list: unexpected 'b'", "topic", "list", "b");
}

static void arguments_are_checked(void **state)
{
    (void)state;
    REFUSED("--count: 'x' is not a whole number", "consume", "t", "--count", "x");
    REFUSED("--count: '-1' is not a whole number", "consume", "t", "--count", "-1");
    REFUSED("--output: 'xml' is not one of json|jsonl", "consume", "t", "-o", "xml");
    REFUSED("--output: 'jso' is not one of json|jsonl", "consume", "t", "-o", "jso");
    REFUSED("--output: '' is not one of json|jsonl", "consume", "t", "--output=");
    REFUSED("--timeout: 'soon' is not a duration like 500ms, 10s or 5m", "version", "-t", "soon");
    REFUSED("--rate: '0' is not a rate like 1000 or 1000/s", "produce", "t", "-r", "0");
    REFUSED("--header: '=x' is not of the form NAME=VALUE", "produce", "t", "-H", "=x");
    REFUSED("--size: '5x' is not a size like 100, 4k or 1MiB", "bench", "latency", "-b", "5x");
    REFUSED("--file: '' is empty", "produce", "t", "--file", "");
}

static void help_needs_no_words(void **state)
{
    struct args a;
    (void)state;
    assert_int_equal(PARSE(&a, "produce", "--help"), 0);
    assert_true(args_has(&a, OPT_HELP));
    args_fini(&a);
    assert_int_equal(PARSE(&a, "topic", "-h"), 0);
    assert_null(a.command);
    assert_string_equal(a.group, "topic");
    args_fini(&a);
    assert_int_equal(PARSE(&a, "--version"), 0);
    assert_true(args_has(&a, OPT_VERSION));
    args_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_forms_of_an_option),
        cmocka_unit_test(global_options_before_the_command),
        cmocka_unit_test(a_value_may_begin_with_a_dash),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(pairs_collect_and_others_count_the_last_time),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(help_needs_no_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
