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

static void nothing_is_required(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--log-level", "info"), WERR_OK);
    assert_string_equal(conf.data, "/var/lib/weir");
    assert_false(config_in_memory(&conf));
    assert_int_equal(LOAD("--dev"), WERR_OK);
    assert_true(config_in_memory(&conf));
    assert_string_equal(conf.data, "");
    assert_int_equal(LOAD("--dev", "--data", "/d"), WERR_OK);
    assert_false(config_in_memory(&conf));
    assert_int_equal(LOAD("--data="), WERR_INVALID_CONFIG);
    SAYS("data is empty", "--dev");
    assert_int_equal(LOAD("--print-config"), WERR_OK);
    assert_int_equal(LOAD("--version"), WERR_OK);
    assert_int_equal(action, CONFIG_VERSION);
}

static void connection_memory_is_derived_or_enough(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--dev", "--connection-memory", "0"), WERR_OK);
    assert_int_equal(LOAD("--dev", "--connection-memory", "16M"), WERR_OK);
    assert_int_equal(LOAD("--dev", "--connection-memory", "16777215"), WERR_INVALID_CONFIG);
    SAYS("connection_memory", "16777216");
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
    SAYS("--log_format", "xml", "text or json");
    assert_int_equal(LOAD("--dev", "--max-topics", "0"), WERR_INVALID_CONFIG);
    SAYS("max_topics", "from 1 to 10000000");
    assert_int_equal(LOAD("--dev", "--stuck-ms", "1"), WERR_INVALID_CONFIG);
    SAYS("1000 to 86400000 ms (1s to 1d)");
    assert_int_equal(LOAD("--dev", "--memory"), WERR_INVALID_CONFIG);
    SAYS("value missing");
    assert_int_equal(LOAD("--dev", "stray"), WERR_INVALID_CONFIG);
    SAYS("stray");
}

static void addresses_have_a_port(void **state)
{
    static const char *const bad[] = {"host",    "host:",       ":1",      "host:65536",
                                      "host:1x", "host:000001", "host:-1", "unix:"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(LOAD("--dev", "--listen", bad[i]), WERR_INVALID_CONFIG);
        SAYS("--listen", bad[i], "HOST:PORT", "65535");
        assert_int_equal(LOAD("--dev", "--http", bad[i]), WERR_INVALID_CONFIG);
        assert_int_equal(LOAD("--dev", "--advertise", bad[i]), WERR_INVALID_CONFIG);
    }
    assert_int_equal(LOAD("--dev", "--listen", "host:65535", "--http=", "--advertise", "[::1]:1"),
                     WERR_OK);
    assert_int_equal(LOAD("--dev", "--listen="), WERR_INVALID_CONFIG);
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
               {"data = \"x\" y\n", "follows the closing quote"},
               {"data = /a\ndata = /b\n", ":2: data was set before, at"},
               {"listen = [\"a:1\"\n", "want a list"},
               {"listen = [\"a:1\", b:2]\n", "want a list"},
               {"listen = []\n", "want a list"},
               {"listen = [\"a:1\", \"b\"]\n", "listen = b: want HOST:PORT"},
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
    assert_int_equal(LOAD("--config", "/"), WERR_INVALID_CONFIG); /* opens, cannot be read */
    SAYS("/", "Is a directory");
}

static void lists_are_arrays_or_lines(void **state)
{
    static const char *const same[] = {
        "listen = [\"a:1\", 'unix:/x#y']  # two\n", "listen = [ 'a:1' , \"unix:/x#y\", ]\n",
        "listen = a:1\nlisten = \"unix:/x#y\"\n", "listen = [\"a:1\"]\nlisten = ['unix:/x#y']\n"};

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        const char *path = file(same[i]);

        assert_int_equal(LOAD("--dev", "--config", path), WERR_OK);
        assert_int_equal(conf.listen.n, 2);
        assert_string_equal(conf.listen.item[0], "a:1");
        assert_string_equal(conf.listen.item[1], "unix:/x#y");
        unlink(path);
    }
    assert_int_equal(LOAD("--dev", "--listen", "[\"a:1\", \"b:2\"]"), WERR_OK);
    assert_int_equal(conf.listen.n, 2);
}

/* A long path keeps its end, where the line number is. */
static void places_survive_long_paths(void **state)
{
    char dir[] = "/tmp/weir-test-config-XXXXXX", path[300], tail[40];
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    memset(path, 0, sizeof path);
    snprintf(path, sizeof path, "%s/%0200d.toml", dir, 7);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("\n\nmemory = 1\n", f);
    fclose(f);
    snprintf(tail, sizeof tail, "%s:3: memory = 1", "0007.toml");
    assert_int_equal(LOAD("--dev", "--config", path), WERR_INVALID_CONFIG);
    SAYS(tail, "16777216");
    unlink(path);
    rmdir(dir);
}

/* ---------------------------------------------------------------- again, while running */

static char heard[1024];

static void hear(void *arg, const struct config_change *ch)
{
    size_t n = strlen(heard);

    assert_ptr_equal(arg, heard);
    snprintf(heard + n, sizeof heard - n, "%s %s>%s %s;", ch->name, ch->from, ch->to,
             ch->taken ? "taken" : "left");
}

static void rewrite(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void a_reload_takes_what_is_live(void **state)
{
    const char *path = file("log_level = info\nmemory = 64M\nlisten = a:1\ndrain_ms = 5s\n");
    char *argv[] = {strdup("weir-server"), strdup("--dev"), strdup("--config"), strdup(path),
                    strdup("--max-topics=7")};

    (void)state;
    assert_int_equal(config_load(&conf, 5, argv, &action, &err), WERR_OK);
    heard[0] = '\0';
    rewrite(path, "\nmemory = 65536k\nmax_topics = 9\nlisten = [\"a:1\"]\nlog_level=debug\n"
                  "max_output = 2M\n");
    assert_int_equal(config_reload(&conf, hear, heard, &err), WERR_OK);
    assert_string_equal(heard, "max_output 1048576>2097152 taken;drain_ms 5000>8000 taken;"
                               "log_level \"info\">\"debug\" taken;");
    assert_int_equal(conf.max_output, 2 << 20);
    assert_int_equal(conf.drain_ms, 8000);
    assert_int_equal(conf.max_topics, 7); /* the command line still wins */
    assert_string_equal(conf.log_level, "debug");
    assert_non_null(strstr(conf.source[CONFIG_KEY_memory], ":2")); /* the same value, elsewhere */
    assert_string_equal(conf.source[CONFIG_KEY_drain_ms], "default");

    heard[0] = '\0';
    rewrite(path, "memory = 32M\nlisten = b:1\nlog_level = debug\nmax_output = 2M\n");
    assert_int_equal(config_reload(&conf, hear, heard, &err), WERR_OK);
    assert_string_equal(heard, "listen [\"a:1\"]>[\"b:1\"] left;memory 67108864>33554432 left;");
    assert_int_equal(conf.memory, 64 << 20);
    assert_string_equal(conf.listen.item[0], "a:1");

    heard[0] = '\0';
    rewrite(path, "max_output = 4M\nlog_level = loud\n");
    assert_int_equal(config_reload(&conf, hear, heard, &err), WERR_INVALID_CONFIG);
    SAYS(":2", "log_level", "loud");
    assert_string_equal(heard, "");
    assert_int_equal(conf.max_output, 2 << 20);
    assert_string_equal(conf.log_level, "debug");

    unlink(path);
    assert_int_equal(config_reload(&conf, hear, heard, &err), WERR_INVALID_CONFIG);
    SAYS("No such file");
    for (size_t i = 0; i < sizeof argv / sizeof argv[0]; i++) {
        free(argv[i]);
    }
}

static void printed_settings_are_a_file(void **state)
{
    static struct config before;
    static const char *const none[] = {NULL};
    const char *path = file("");
    FILE *out;

    (void)state;
    assert_int_equal(LOAD("--data", "/d \"e\" # f", "--listen", "a:1", "--listen", "[::1]:2",
                          "--memory", "100M", "--allow-plaintext"),
                     WERR_OK);
    before = conf;
    out = fopen(path, "w");
    assert_non_null(out);
    config_print(&conf, out);
    fclose(out);
    assert_int_equal(load(none), WERR_OK);
    assert_int_equal(config_file(&conf, path, &err), WERR_OK);
    memcpy(before.source, conf.source, sizeof conf.source);
    before.argc = conf.argc;
    before.argv = conf.argv;
    assert_memory_equal(&conf, &before, sizeof conf);

    out = fopen(path, "w"); /* the sample changes nothing */
    assert_non_null(out);
    config_sample(out);
    fclose(out);
    assert_int_equal(LOAD("--config", path), WERR_OK);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        assert_string_equal(conf.source[i], "default");
    }
    unlink(path);
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
    assert_non_null(strstr(text, "listen = [\"127.0.0.1:9347\"]  # default\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_nothing),
        cmocka_unit_test(nothing_is_required),
        cmocka_unit_test(connection_memory_is_derived_or_enough),
        cmocka_unit_test(options_beat_environment_beat_file),
        cmocka_unit_test(a_list_in_a_stronger_place_replaces_the_weaker),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(bad_values_name_place_and_range),
        cmocka_unit_test(texts_and_lists_have_limits),
        cmocka_unit_test(files_are_lines_of_key_and_value),
        cmocka_unit_test(addresses_have_a_port),
        cmocka_unit_test(lists_are_arrays_or_lines),
        cmocka_unit_test(places_survive_long_paths),
        cmocka_unit_test(a_reload_takes_what_is_live),
        cmocka_unit_test(printed_settings_are_a_file),
        cmocka_unit_test(few_settings_and_all_documented),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
