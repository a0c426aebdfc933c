#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/help.h"
#include "tests/unit/cli/memory_file.h"

static void every_option_is_explained(void **state)
{
    static const char *const keys[] = {"alpha", "beta", NULL};
    (void)state;
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        const struct command *cmd = command_at((enum command_id)c);
        struct memory_file m;
        memory_file_open(&m);
        help_command(m.f, cmd, keys);
        memory_file_end(&m);
        for (int i = 0; i < OPT_COUNT_ALL; i++) {
            char spelled[64];
            snprintf(spelled, sizeof spelled, "--%s", option_at((enum option_id)i)->name);
            if (command_takes(cmd, (enum option_id)i)) {
                assert_non_null(strstr(m.text, spelled));
            }
        }
        assert_int_equal(strstr(m.text, "TOPIC OPTIONS\n  alpha, beta") != NULL,
                         command_takes(cmd, OPT_CONFIG));
        assert_int_equal(strstr(m.text, "GROUP OPTIONS\n  alpha, beta") != NULL,
                         command_takes(cmd, OPT_CONFIG_GROUP));
        memory_file_free(&m);
    }
}

static void lines_fit_a_terminal(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        const struct command *cmd = command_at((enum command_id)c);
        struct memory_file m;
        memory_file_open(&m);
        help_command(m.f, cmd, NULL);
        help_overview(m.f);
        memory_file_end(&m);
        const char *examples = strstr(m.text, "\nEXAMPLES\n");
        for (const char *l = m.text; l < examples; l += strcspn(l, "\n") + 1) {
            if (strcspn(l, "\n") > 80) {
                fail_msg("%s: %.*s", cmd->name, (int)strcspn(l, "\n"), l);
            }
        }
        memory_file_free(&m);
    }
}

static void overview_and_group_list_their_commands(void **state)
{
    struct memory_file m;
    (void)state;
    memory_file_open(&m);
    help_overview(m.f);
    memory_file_end(&m);
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        assert_non_null(strstr(m.text, command_at((enum command_id)c)->name));
    }
    memory_file_free(&m);
    memory_file_open(&m);
    help_group(m.f, "topic");
    memory_file_end(&m);
    assert_non_null(strstr(m.text, "topic alter"));
    assert_null(strstr(m.text, "bench"));
    memory_file_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_is_explained),
        cmocka_unit_test(lines_fit_a_terminal),
        cmocka_unit_test(overview_and_group_list_their_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
