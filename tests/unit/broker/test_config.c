#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config.h"
#include "tests/lib/test.h"

/* Large, and config_load wants to write. */
static struct config conf;
static struct werror err;
static enum config_action action;

static enum werr load(const char *const *args)
{
    char *argv[16] = {strdup("weir-server")};
    int argc = 1;
    enum werr rc;

    for (; args[argc - 1] != NULL; argc++) {
        argv[argc] = strdup(args[argc - 1]);
    }
    rc = config_load(&conf, argc, argv, &action, &err);
    while (argc > 0) {
        free(argv[--argc]);
    }
    return rc;
}
#define LOAD(...) load((const char *const[]){__VA_ARGS__, NULL})

/* A file with this content, by name. */
static const char *file(const char *text)
{
    static char path[64];
    int fd;

    snprintf(path, sizeof path, "/tmp/weir-test-config-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void assert_says(const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strstr(err.text, *words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.text, *words);
        }
    }
}
#define SAYS(...) assert_says((const char *const[]){__VA_ARGS__, NULL})

static void defaults_need_nothing(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--dev"), WERR_OK);
    assert_int_equal(action, CONFIG_RUN);
    assert_true(conf.dev);
    assert_string_equal(conf.listen.item[0], "127.0.0.1:9347");
    assert_int_equal(conf.listen.n, 1);
    assert_int_equal(conf.memory, 256 << 20);
    assert_int_equal(conf.drain_ms, 8000);
    assert_false(conf.allow_plaintext);
    assert_string_equal(conf.source[CONFIG_KEY_memory], "default");
}

static void data_is_the_one_thing_required(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--log-level", "info"), WERR_INVALID_CONFIG);
    SAYS("data", "--dev");
    assert_int_equal(LOAD("--print-config"), WERR_OK);
    assert_int_equal(LOAD("--version"), WERR_OK);
    assert_int_equal(action, CONFIG_VERSION);
}

static void options_beat_environment_beat_file(void **state)
{
    const char *path = file("data = '/d' # why\nmemory = 32M\ntail_cache=1M\nmin_free = \"3k\"\n");

    (void)state;
    setenv("WEIR_MEMORY", "64M", 1);
    setenv("WEIR_TAIL_CACHE", "2M", 1);
    assert_int_equal(LOAD("--config", path, "--memory=128M"), WERR_OK);
    assert_int_equal(conf.memory, 128 << 20);
    assert_int_equal(conf.tail_cache, 2 << 20);
    assert_int_equal(conf.min_free, 3 << 10);
    assert_string_equal(conf.data, "/d");
    assert_string_equal(conf.source[CONFIG_KEY_memory], "--memory");
    assert_string_equal(conf.source[CONFIG_KEY_tail_cache], "WEIR_TAIL_CACHE");
    assert_non_null(strstr(conf.source[CONFIG_KEY_min_free], ":4"));
    unsetenv("WEIR_MEMORY");
    unsetenv("WEIR_TAIL_CACHE");
    unlink(path);
}

static void a_list_in_a_stronger_place_replaces_the_weaker(void **state)
{
    const char *path = file("listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\n");

    (void)state;
    assert_int_equal(LOAD("--dev", "--config", path), WERR_OK);
    assert_int_equal(conf.listen.n, 2);
    assert_string_equal(conf.listen.item[1], "127.0.0.1:2");
    assert_int_equal(LOAD("--dev", "--config", path, "--listen", "unix:/s", "--listen", "[::1]:0"),
                     WERR_OK);
    assert_int_equal(conf.listen.n, 2);
    assert_string_equal(conf.listen.item[0], "unix:/s");
    assert_string_equal(conf.listen.item[1], "[::1]:0");
    unlink(path);
}

static void unknown_keys_name_the_nearest(void **state)
{
    const char *path = file("data = /d\n\nmemroy = 5\n");
    char where[80];

    (void)state;
    snprintf(where, sizeof where, "%s:3", path);
    assert_int_equal(LOAD("--config", path), WERR_INVALID_CONFIG);
    SAYS(where, "memroy", "memory");
    assert_int_equal(LOAD("--dev", "--max-conections", "5"), WERR_INVALID_CONFIG);
    SAYS("max_conections", "max_connections");
    assert_int_equal(
        LOAD("--dev", "--a-very-long-name-that-is-no-setting-of-ours-at-all-and-never", "5"),
        WERR_INVALID_CONFIG);
    unlink(path);
}

static void bad_values_name_place_and_range(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "5q",
                                      "16777215",
                                      "1099511627777",
                                      "99999999999999999999",
                                      "16384KB",
                                      "0x10000000",
                                      " 33554432"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(LOAD("--dev", "--memory", bad[i]), WERR_INVALID_CONFIG);
        SAYS("--memory", "memory", bad[i], "16777216", "1099511627776", "bytes");
    }
    assert_int_equal(LOAD("--dev", "--memory", "16777216"), WERR_OK);
    assert_int_equal(LOAD("--dev", "--memory", "1024G"), WERR_OK);
    assert_int_equal(LOAD("--dev", "--drain_ms", "1m"), WERR_OK);
    assert_int_equal(conf.drain_ms, 60000);
    assert_int_equal(LOAD("--dev", "--drain_ms", "601s"), WERR_INVALID_CONFIG);
    assert_int_equal(LOAD("--dev=maybe"), WERR_INVALID_CONFIG);
    SAYS("true or false");
    assert_int_equal(LOAD("--dev", "--log-level", "loud"), WERR_INVALID_CONFIG);
    SAYS("error, warn, info or debug");
    assert_int_equal(LOAD("--dev", "--log-format", "xml"), WERR_INVALID_CONFIG);
    assert_int_equal(LOAD("--dev", "--memory"), WERR_INVALID_CONFIG);
    SAYS("value missing");
    assert_int_equal(LOAD("--dev", "stray"), WERR_INVALID_CONFIG);
    SAYS("stray");
}

static void texts_and_lists_have_limits(void **state)
{
    char text[CONFIG_TEXT + 1];

    (void)state;
    memset(text, 'x', sizeof text);
    text[CONFIG_TEXT - 1] = '\0';
    assert_int_equal(LOAD("--data", text), WERR_OK);
    text[CONFIG_TEXT - 1] = 'x';
    text[CONFIG_TEXT] = '\0';
    assert_int_equal(LOAD("--data", text), WERR_INVALID_CONFIG);
    config_defaults(&conf);
    for (int i = 0; i < CONFIG_LIST_MAX; i++) {
        assert_int_equal(config_set(&conf, "listen", "127.0.0.1:0", "--listen", &err), WERR_OK);
    }
    assert_int_equal(config_set(&conf, "listen", "127.0.0.1:0", "--listen", &err),
                     WERR_INVALID_CONFIG);
}

static void files_are_lines_of_key_and_value(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {{"data\n", "key = value"},
               {"data = \"x\n", "quote"},
               {"= 5\n", "unknown"},
               {"[section]\n", "key = value"}};
    char line[1400];
    const char *path;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        path = file(bad[i].text);
        assert_int_equal(LOAD("--config", path), WERR_INVALID_CONFIG);
        SAYS(path, bad[i].says);
        unlink(path);
    }
    memset(line, '#', sizeof line);
    line[sizeof line - 1] = '\0';
    path = file(line);
    assert_int_equal(LOAD("--config", path), WERR_INVALID_CONFIG);
    SAYS("line over");
    unlink(path);
    path = file("\n  # nothing\n\tdata\t=\t\"/a b\"  \r\ndev = true"); /* no newline at the end */
    assert_int_equal(LOAD("--config", path), WERR_OK);
    assert_string_equal(conf.data, "/a b");
    assert_true(conf.dev);
    unlink(path);
    assert_int_equal(LOAD("--config", "/nonexistent/x"), WERR_INVALID_CONFIG);
    SAYS("/nonexistent/x", "No such file");
}

/* The documentation has a row for every setting, and there are not too many. */
static void few_settings_and_all_documented(void **state)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    (void)state;
    assert_true(CONFIG_KEYS <= 40);
    config_doc(out);
    fclose(out);
    assert_non_null(strstr(text, "| `data` |"));
    assert_non_null(strstr(text, "| `accept_data_loss` |"));
    free(text);
    config_defaults(&conf);
    out = open_memstream(&text, &n);
    config_print(&conf, out);
    fclose(out);
    assert_non_null(strstr(text, "listen = \"127.0.0.1:9347\"  # default\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_nothing),
        cmocka_unit_test(data_is_the_one_thing_required),
        cmocka_unit_test(options_beat_environment_beat_file),
        cmocka_unit_test(a_list_in_a_stronger_place_replaces_the_weaker),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(bad_values_name_place_and_range),
        cmocka_unit_test(texts_and_lists_have_limits),
        cmocka_unit_test(files_are_lines_of_key_and_value),
        cmocka_unit_test(few_settings_and_all_documented),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
