#include "tests/lib/test.h"

#include "client/cli/table.h"
#include "tests/unit/cli/memory_file.h"

static void columns_are_aligned(void **state)
{
    static const char *const titles[] = {"NAME", ">N", "LAST"};
    struct table t;
    struct memory_file m;
    (void)state;
    table_init(&t, titles, 3);
    table_cell(&t, "a");
    table_cellf(&t, "%d", 12345);
    table_cell(&t, "x");
    table_cell(&t, "\xC3\xA9t\xC3\xA9-long");
    table_cellf(&t, "%d", 7);
    table_cell(&t, "");
    memory_file_open(&m);
    table_print(&t, m.f);
    memory_file_end(&m);
    assert_string_equal(m.text, "NAME          N  LAST\n"
                                "a         12345  x\n"
                                "\xC3\xA9t\xC3\xA9-long      7  \n");
    memory_file_free(&m);
    table_fini(&t);
    table_fini(&t);
}

static void an_empty_table_has_its_titles(void **state)
{
    static const char *const titles[] = {"NAME", ">N"};
    struct table t;
    struct memory_file m;
    (void)state;
    table_init(&t, titles, 2);
    memory_file_open(&m);
    table_print(&t, m.f);
    memory_file_end(&m);
    assert_string_equal(m.text, "NAME  N\n");
    memory_file_free(&m);
    table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(an_empty_table_has_its_titles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
