#include "tests/lib/test.h"

#include <string.h>

#include "client/cli/format.h"
#include "tests/unit/cli/memory_file.h"

/* Stands in for the library: two headers. */
int weir_message_next_header(const weir_message *m, size_t *pos, weir_bytes *name,
                             weir_bytes *value)
{
    (void)m;
    *name = weir_str(*pos == 0 ? "a" : "b");
    *value = *pos == 0 ? weir_str("1") : weir_bytes_of(NULL, 0);
    return (*pos)++ < 2;
}

static const weir_message message = {.topic = "orders",
                                     .partition = 3,
                                     .offset = 42,
                                     .timestamp_ms = 1000,
                                     .append_ms = 2000,
                                     .key = {"alice", 5},
                                     .value = {"v\0x", 3}};

static void written(const char *text, const weir_message *msg, const char *expected, size_t n)
{
    struct format f;
    struct memory_file m;
    char error[128] = "";
    memory_file_open(&m);
    if (!format_init(&f, text, error, sizeof error)) {
        fail_msg("%s: %s", text, error);
    }
    format_write(&f, m.f, msg);
    memory_file_end(&m);
    assert_int_equal(m.n, n);
    assert_memory_equal(m.text, expected, n);
    memory_file_free(&m);
    format_fini(&f);
    format_fini(&f);
}

#define WRITTEN(text, expected) written(text, &message, expected, sizeof expected - 1)

static void letters(void **state)
{
    (void)state;
    WRITTEN("", "");
    WRITTEN("%v\\n", "v\0x\n");
    WRITTEN("%s", "v\0x");
    WRITTEN("%t/%p@%o", "orders/3@42");
    WRITTEN("%k %T %a", "alice 1000 2000");
    WRITTEN("%K,%S", "5,3");
    WRITTEN("%h", "a=1,b=");
    WRITTEN("100%%", "100%");
    WRITTEN("%%%p%%", "%3%");
}

static void escapes(void **state)
{
    (void)state;
    WRITTEN("a\\tb\\r\\n", "a\tb\r\n");
    WRITTEN("\\x41\\x4a\\xfF", "AJ\xff");
    WRITTEN("\\0\\\\", "\0\\");
}

static void nothing_is_not_empty(void **state)
{
    weir_message none = message;
    weir_message empty = message;
    (void)state;
    none.key = none.value = weir_bytes_of(NULL, 0);
    empty.key = empty.value = weir_bytes_of("", 0);
    written("[%k%v] %K %S", &none, "[] -1 -1", 8);
    written("[%k%v] %K %S", &empty, "[] 0 0", 6);
}

static void what_a_queue_tells(void **state)
{
    weir_message again = message;
    (void)state;
    again.deliveries = 3;
    again.reason = "no answer";
    written("%d [%r]", &again, "3 [no answer]", 13);
    again.reason = NULL;
    written("%d [%r]", &again, "3 []", 4);
}

static void refused(const char *text, const char *expected)
{
    struct format f;
    char error[128] = "";
    assert_false(format_init(&f, text, error, sizeof error));
    assert_string_equal(error, expected);
    format_fini(&f);
}

static void what_is_unknown_is_named(void **state)
{
    (void)state;
    refused("%x", "unknown '%x' in the format");
    refused("ab%", "unknown '%' in the format");
    refused("\\q", "unknown escape '\\q' in the format");
    refused("\\", "unknown escape '\\' in the format");
    refused("\\x4", "unknown escape '\\x' in the format");
    refused("\\xg1", "unknown escape '\\x' in the format");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters),
        cmocka_unit_test(escapes),
        cmocka_unit_test(nothing_is_not_empty),
        cmocka_unit_test(what_a_queue_tells),
        cmocka_unit_test(what_is_unknown_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
