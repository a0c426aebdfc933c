#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "tests/unit/cli/memory_file.h"

/* Every command and every option of the table stands in every script. */
static void nothing_is_missing(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        struct memory_file m;
        memory_file_open(&m);
        assert_true(completion_write(m.f, shells[s]));
        memory_file_end(&m);
        for (int c = 0; c < CMD_COUNT_ALL; c++) {
            char quoted[64];
            snprintf(quoted, sizeof quoted, "'%s'", command_at((enum command_id)c)->name);
            assert_non_null(strstr(m.text, quoted));
        }
        for (int i = 0; i < OPT_COUNT_ALL; i++) {
            char spelled[64];
            snprintf(spelled, sizeof spelled, s == 2 ? "-l %s" : "--%s",
                     option_at((enum option_id)i)->name);
            if (i != OPT_VERSION) {
                assert_non_null(strstr(m.text, spelled));
            }
        }
        memory_file_free(&m);
    }
}

/* A command whose first word is a name offers names of that kind, also when it may be left out. */
static void names_are_offered(void **state)
{
    static const char *const lines[] = {
        "__weir_at 'group describe'\" -a '(command weir group list",
        "__weir_at 'group lag'\" -a '(command weir group list",
        "__weir_at 'dlq list'\" -a '(command weir topic list",
        "__weir_at 'schedule cancel'\" -a '(command weir topic list",
        "__weir_is 'consume'\" -l group -s g -x -a '(command weir group list",
        "__weir_is 'consume'\" -l mode -s m -x -a 'log queue'"};
    struct memory_file m;
    (void)state;
    memory_file_open(&m);
    assert_true(completion_write(m.f, "fish"));
    memory_file_end(&m);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!strstr(m.text, lines[i])) {
            fail_msg("missing: %s", lines[i]);
        }
    }
    memory_file_free(&m);
}

static void other_shells_are_refused(void **state)
{
    struct memory_file m;
    (void)state;
    memory_file_open(&m);
    assert_false(completion_write(m.f, "csh"));
    memory_file_end(&m);
    assert_int_equal(m.n, 0);
    memory_file_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missing),
        cmocka_unit_test(names_are_offered),
        cmocka_unit_test(other_shells_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
