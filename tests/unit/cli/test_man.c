#include "tests/lib/test.h"

#include <stdbool.h>
#include <string.h>

#include "client/cli/man.h"
#include "tests/unit/cli/memory_file.h"

/* Every command but the small ones has its options on some page, as troff spells them. */
static void pages_cover_the_commands(void **state)
{
    struct memory_file m;
    (void)state;
    memory_file_open(&m);
    for (size_t i = 0; man_page_name(i); i++) {
        assert_true(man_page_write(m.f, man_page_name(i), "0.0.0", NULL));
    }
    memory_file_end(&m);
    for (int c = 0; c < CMD_COUNT_ALL; c++) {
        char name[80];
        snprintf(name, sizeof name, "\\fBweir %s\\fR", command_at((enum command_id)c)->name);
        assert_non_null(strstr(m.text, name));
    }
    assert_non_null(strstr(m.text, "\\fB\\-\\-key\\-json\\fR \\fIFIELD\\fR"));
    assert_non_null(strstr(m.text, "\\fB\\-\\-exit\\-at\\-end\\fR"));
    memory_file_free(&m);
}

/* A line that begins with a dot or an apostrophe would be a command to troff. */
static void no_stray_control_lines(void **state)
{
    static const char *const known[] = {".TH", ".SH", ".SS", ".TP", ".PP", ".br", ".nf", ".fi"};
    (void)state;
    for (size_t i = 0; man_page_name(i); i++) {
        struct memory_file m;
        memory_file_open(&m);
        assert_true(man_page_write(m.f, man_page_name(i), "0.0.0", NULL));
        memory_file_end(&m);
        for (const char *l = m.text; *l; l += strcspn(l, "\n") + 1) {
            bool fine = *l != '.' && *l != '\'';
            for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
                fine = fine || strncmp(l, known[k], 3) == 0;
            }
            if (!fine) {
                fail_msg("%s: %.*s", man_page_name(i), (int)strcspn(l, "\n"), l);
            }
        }
        memory_file_free(&m);
    }
}

static void unknown_page(void **state)
{
    (void)state;
    assert_false(man_page_write(stderr, "weir-nothing", "0.0.0", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_cover_the_commands),
        cmocka_unit_test(no_stray_control_lines),
        cmocka_unit_test(unknown_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
