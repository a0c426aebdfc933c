/* The power-loss injector itself: what was synced stays, what was not goes. Arguments: the shim,
 * the probe, powerloss-apply. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_STEPS 24

struct world {
    const char *shim, *probe, *apply;
    char top[32], data[64], state[64];
};

static struct world *setup(void **state)
{
    struct world *w = *state;

    (void)snprintf(w->top, sizeof w->top, "/tmp/weir-powerloss-XXXXXX");
    assert_non_null(mkdtemp(w->top));
    (void)snprintf(w->data, sizeof w->data, "%s/data", w->top);
    (void)snprintf(w->state, sizeof w->state, "%s/state", w->top);
    assert_int_equal(mkdir(w->data, 0700), 0);
    assert_int_equal(mkdir(w->state, 0700), 0);
    return w;
}

static int spawn_and_wait(char **argv)
{
    const pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(126);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void teardown(const struct world *w)
{
    char *argv[] = {(char[]){"/bin/rm"}, (char[]){"-rf"}, strdup(w->top), NULL};

    assert_int_equal(spawn_and_wait(argv), 0);
    free(argv[2]);
}

/* Runs the probe under the shim; steps end with NULL. */
static void run(const struct world *w, const char *const *steps)
{
    char *argv[MAX_STEPS + 3] = {strdup(w->probe), strdup(w->data)};
    int status;

    assert_int_equal(setenv("LD_PRELOAD", w->shim, 1), 0);
    assert_int_equal(setenv("WEIR_POWERLOSS_DIR", w->data, 1), 0);
    assert_int_equal(setenv("WEIR_POWERLOSS_STATE", w->state, 1), 0);
    for (size_t i = 0; steps[i] != NULL; i++) {
        argv[i + 2] = strdup(steps[i]);
    }
    status = spawn_and_wait(argv);
    assert_int_equal(unsetenv("LD_PRELOAD"), 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    for (size_t i = 0; argv[i] != NULL; i++) {
        free(argv[i]);
    }
}

static void cut(const struct world *w, const char *data, const char *names)
{
    char *argv[] = {strdup(w->apply), strdup("--dir"),  strdup(w->data), strdup("--state"),
                    strdup(w->state), strdup("--data"), strdup(data),    strdup("--names"),
                    strdup(names),    strdup("--seed"), strdup("7"),     NULL};

    assert_int_equal(spawn_and_wait(argv), 0);
    for (size_t i = 0; argv[i] != NULL; i++) {
        free(argv[i]);
    }
}

/* Content as runs: "A100 B20"; "absent" when there is no such file. */
static const char *content(const struct world *w, const char *name)
{
    static char out[256];
    char path[128], buf[65536];
    ssize_t n;
    size_t at = 0;
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", w->data, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return "absent";
    }
    n = read(fd, buf, sizeof buf);
    close(fd);
    out[0] = '\0';
    for (ssize_t i = 0, start = 0; i < n; i++) {
        if (i + 1 == n || buf[i + 1] != buf[i]) {
            at += (size_t)snprintf(out + at, sizeof out - at, "%s%c%zd", at == 0 ? "" : " ",
                                   buf[i] == '\0' ? '0' : buf[i], i + 1 - start);
            start = i + 1;
            if (at > sizeof out - 32) {
                break;
            }
        }
    }
    return out;
}

#define STEPS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_appended_bytes(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("open a", "write a 100 A", "fdatasync a", "write a 50 B", "open b",
                 "writev b 70 C", "fsync b", "close b", "open c", "write c 10 D", "close c"));
    assert_string_equal(content(w, "a"), "A100 B50");
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "a"), "A100");
    assert_string_equal(content(w, "b"), "C70");
    assert_string_equal(content(w, "c"), ""); /* close is no sync */
    teardown(w);
}

static void test_range_sync_and_allocation_are_not_durable(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("open a", "alloc a 65536", "write a 100 A", "rangesync a"));
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "a"), "");
    teardown(w);
}

static void test_write_through(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("opensync a", "write a 100 A", "write a 20 B", "open a", "pwrite a 120 30 C"));
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "a"), "A100 B20");
    teardown(w);
}

static void test_overwrite_in_place_is_undone(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("open a", "write a 100 A", "fsync a", "pwrite a 10 20 B", "fsync a",
                 "pwrite a 20 20 C", "pwrite a 90 30 D", "openappend a", "write a 5 E"));
    assert_string_equal(content(w, "a"), "A10 B10 C20 A50 D30 E5");
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "a"), "A10 B20 A70");
    teardown(w);
}

static void test_truncation_is_undone(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("open a", "write a 100 A", "fsync a", "truncate a 30", "pwrite a 30 5 B", "open b",
                 "write b 40 X", "fsync b", "opentrunc b", "write b 3 Y", "open c", "write c 50 C",
                 "fsync c", "truncate c 20", "fsync c"));
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "a"), "A100");
    assert_string_equal(content(w, "b"), "X40");
    assert_string_equal(content(w, "c"), "C20");
    teardown(w);
}

static void test_files_from_before_are_durable(void **state)
{
    struct world *w = setup(state);
    char path[128];
    int fd;

    (void)snprintf(path, sizeof path, "%s/old", w->data);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "OOOOO", 5), 5);
    close(fd);
    run(w, STEPS("openappend old", "write old 5 N"));
    cut(w, "truncate", "undo");
    assert_string_equal(content(w, "old"), "O5");
    teardown(w);
}

static void test_prefix_and_garbled_tails(void **state)
{
    struct world *w = setup(state);
    struct stat st;
    char path[128];

    run(w, STEPS("open a", "write a 1000 A", "fsync a", "write a 9000 B", "open b",
                 "write b 1000 A", "fsync b", "write b 9000 B"));
    cut(w, "prefix", "keep");
    (void)snprintf(path, sizeof path, "%s/a", w->data);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1001, 9999);
    teardown(w);

    w = setup(state);
    run(w, STEPS("open a", "write a 1000 A", "fsync a", "write a 9000 B"));
    cut(w, "zero", "keep");
    assert_string_equal(content(w, "a"), "A1000 09000");
    teardown(w);

    w = setup(state);
    run(w, STEPS("open a", "write a 1000 A", "fsync a", "write a 9000 B"));
    cut(w, "garble", "keep");
    (void)snprintf(path, sizeof path, "%s/a", w->data);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 10000);
    assert_int_equal(strncmp(content(w, "a"), "A1000 ", 6), 0);
    assert_string_not_equal(content(w, "a"), "A1000 B9000");
    teardown(w);
}

static void test_names_without_directory_sync(void **state)
{
    struct world *w = setup(state);
    const char *const *steps = STEPS(
        "open cur", "write cur 10 O", "fsync cur", "open gone", "write gone 10 G", "fsync gone",
        "dirsync", "open tmp", "write tmp 10 N", "fsync tmp", "rename tmp cur", "unlink gone",
        "open fresh", "write fresh 5 F", "open kept", "write kept 5 K", "fsync kept");

    run(w, steps);
    cut(w, "truncate", "keep");
    assert_string_equal(content(w, "cur"), "N10");
    assert_string_equal(content(w, "gone"), "absent");
    assert_string_equal(content(w, "kept"), "K5");
    teardown(w);

    w = setup(state);
    run(w, steps);
    cut(w, "truncate", "undo");
    assert_string_equal(content(w, "cur"), "O10");
    assert_string_equal(content(w, "tmp"), "N10");
    assert_string_equal(content(w, "gone"), "G10");
    assert_string_equal(content(w, "fresh"), "absent");
    assert_string_equal(content(w, "kept"), "K5"); /* its own fsync carried its name along */
    teardown(w);

    w = setup(state);
    run(w, steps);
    cut(w, "truncate", "strict");
    assert_string_equal(content(w, "cur"), "O10");
    assert_string_equal(content(w, "tmp"), "absent");
    assert_string_equal(content(w, "kept"), "absent");
    teardown(w);
}

static void test_names_after_directory_sync(void **state)
{
    struct world *w = setup(state);

    run(w, STEPS("open cur", "write cur 10 O", "fsync cur", "dirsync", "open tmp", "write tmp 10 N",
                 "fsync tmp", "rename tmp cur", "dirsync", "unlink cur", "dirsync", "open tmp2",
                 "fsync tmp2", "rename tmp2 cur", "dirsync"));
    cut(w, "truncate", "strict");
    assert_string_equal(content(w, "cur"), "");
    assert_string_equal(content(w, "tmp"), "absent");
    assert_string_equal(content(w, "tmp2"), "absent");
    teardown(w);
}

static void test_a_log_is_applied_once(void **state)
{
    struct world *w = setup(state);
    char *argv[] = {strdup(w->apply),  strdup("--dir"),  strdup(w->data),
                    strdup("--state"), strdup(w->state), NULL};
    int status;

    run(w, STEPS("open a", "write a 10 A"));
    cut(w, "truncate", "keep");
    status = spawn_and_wait(argv);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    for (size_t i = 0; argv[i] != NULL; i++) {
        free(argv[i]);
    }
    teardown(w);
}

int main(int argc, char **argv)
{
    struct world w = {.shim = argc > 1 ? argv[1] : NULL,
                      .probe = argc > 2 ? argv[2] : NULL,
                      .apply = argc > 3 ? argv[3] : NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_appended_bytes, &w),
        cmocka_unit_test_prestate(test_range_sync_and_allocation_are_not_durable, &w),
        cmocka_unit_test_prestate(test_write_through, &w),
        cmocka_unit_test_prestate(test_overwrite_in_place_is_undone, &w),
        cmocka_unit_test_prestate(test_truncation_is_undone, &w),
        cmocka_unit_test_prestate(test_files_from_before_are_durable, &w),
        cmocka_unit_test_prestate(test_prefix_and_garbled_tails, &w),
        cmocka_unit_test_prestate(test_names_without_directory_sync, &w),
        cmocka_unit_test_prestate(test_names_after_directory_sync, &w),
        cmocka_unit_test_prestate(test_a_log_is_applied_once, &w),
    };

    if (argc != 4) {
        (void)fprintf(stderr, "usage: test_powerloss SHIM PROBE APPLY\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
