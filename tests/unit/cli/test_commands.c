#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/commands.h"

/* Completion skips an option's argument without knowing the command, so a spelling has an argument
 * everywhere or nowhere. */
static void a_spelling_means_the_same_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < OPT_COUNT_ALL; i++) {
        for (int k = 0; k < OPT_COUNT_ALL; k++) {
            const struct option *a = option_at((enum option_id)i);
            const struct option *b = option_at((enum option_id)k);
            if (strcmp(a->name, b->name) == 0 || (a->letter && a->letter == b->letter)) {
                assert_int_equal(a->arg == NULL, b->arg == NULL);
            }
        }
    }
}

static void spellings_are_unique_in_a_command(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        const struct command *cmd = command_at((enum command_id)c);
        for (int i = 0; i < OPT_COUNT_ALL; i++) {
            const struct option *o = option_at((enum option_id)i);
            if (!command_takes(cmd, o->id)) {
                continue;
            }
            assert_ptr_equal(option_by_name(cmd, o->name, strlen(o->name)), o);
            if (o->letter) {
                assert_ptr_equal(option_by_letter(cmd, o->letter), o);
            }
        }
    }
}

static void every_row_is_complete(void **state)
{
    (void)state;
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        const struct command *cmd = command_at((enum command_id)c);
        char first[32];
        command_first_word(cmd, first, sizeof first);
        const char *second = strchr(cmd->name, ' ');
        assert_ptr_equal(command_find(first, second ? second + 1 : NULL), cmd);
        assert_int_equal(command_is_group(first), second != NULL);
        assert_true(cmd->min_words <= cmd->max_words);
        /* a phrase, sentences, and examples that use the command */
        assert_true(*cmd->summary && cmd->summary[strlen(cmd->summary) - 1] != '.');
        assert_true(cmd->about[strlen(cmd->about) - 1] == '.');
        assert_non_null(strstr(cmd->examples, cmd->name));
        assert_true(cmd->examples[strlen(cmd->examples) - 1] == '\n');
    }
    for (int i = 0; i < OPT_COUNT_ALL; i++) {
        const struct option *o = option_at((enum option_id)i);
        assert_int_equal(o->kind == KIND_FLAG, o->arg == NULL);
        assert_int_equal(o->kind == KIND_CHOICE, o->choices != NULL);
        assert_true(o->help[strlen(o->help) - 1] == '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spelling_means_the_same_everywhere),
        cmocka_unit_test(spellings_are_unique_in_a_command),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
