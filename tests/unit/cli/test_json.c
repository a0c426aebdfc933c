#include "tests/lib/test.h"

#include <math.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/message_json.h"
#include "tests/unit/cli/memory_file.h"

/* Stands in for the library: two headers, one of them not UTF-8. */
int weir_message_next_header(const weir_message *m, size_t *pos, weir_bytes *name,
                             weir_bytes *value)
{
    (void)m;
    *name = weir_str(*pos == 0 ? "a" : "b");
    *value = *pos == 0 ? weir_str("1") : weir_bytes_of("\xFF", 1);
    return (*pos)++ < 2;
}

static void members_and_commas(void **state)
{
    struct memory_file m;
    struct json j;
    (void)state;
    memory_file_open(&m);
    json_init(&j, m.f, false);
    json_open(&j, NULL, '{');
    json_int(&j, "i", INT64_MIN);
    json_uint(&j, "u", UINT64_MAX);
    json_double(&j, "d", 0.5);
    json_double(&j, "nan", (double)NAN);
    json_bool(&j, "t", true);
    json_text(&j, "none", NULL);
    json_open(&j, "list", '[');
    json_int(&j, NULL, 1);
    json_open(&j, NULL, '{');
    json_close(&j, '}');
    json_int(&j, NULL, 2);
    json_close(&j, ']');
    json_number_or_text(&j, "n", "604800000");
    json_number_or_text(&j, "w", "disk");
    json_number_or_text(&j, "z", "007");
    json_number_or_text(&j, "e", "");
    json_close(&j, '}');
    json_end(&j);
    memory_file_end(&m);
    assert_string_equal(m.text, "{\"i\":-9223372036854775808,\"u\":18446744073709551615,\"d\":0.5,"
                                "\"nan\":null,\"t\":true,\"none\":null,\"list\":[1,{},2],"
                                "\"n\":604800000,\"w\":\"disk\",\"z\":\"007\",\"e\":\"\"}\n");
    memory_file_free(&m);
}

static void pretty_has_one_member_a_line(void **state)
{
    struct memory_file m;
    struct json j;
    (void)state;
    memory_file_open(&m);
    json_init(&j, m.f, true);
    json_open(&j, NULL, '[');
    json_open(&j, NULL, '{');
    json_int(&j, "a", 1);
    json_open(&j, "e", '[');
    json_close(&j, ']');
    json_close(&j, '}');
    json_close(&j, ']');
    json_end(&j);
    memory_file_end(&m);
    assert_string_equal(m.text, "[\n  {\n    \"a\": 1,\n    \"e\": []\n  }\n]\n");
    memory_file_free(&m);
}

static void lines_are_documents(void **state)
{
    struct memory_file m;
    struct json j;
    (void)state;
    memory_file_open(&m);
    json_init(&j, m.f, false);
    for (int i = 0; i < 2; i++) {
        json_open(&j, NULL, '{');
        json_int(&j, "a", i);
        json_close(&j, '}');
        json_end(&j);
    }
    memory_file_end(&m);
    assert_string_equal(m.text, "{\"a\":0}\n{\"a\":1}\n");
    memory_file_free(&m);
}

static void bytes_are(const void *data, size_t n, const char *expected)
{
    struct memory_file m;
    struct json j;
    memory_file_open(&m);
    json_init(&j, m.f, false);
    json_bytes(&j, "v", data, n);
    memory_file_end(&m);
    assert_string_equal(m.text, expected);
    memory_file_free(&m);
}

static void any_bytes(void **state)
{
    (void)state;
    bytes_are(NULL, 0, "\"v\":null");
    bytes_are("", 0, "\"v\":\"\"");
    bytes_are("a\"b\\c", 5, "\"v\":\"a\\\"b\\\\c\"");
    bytes_are("\0\x01\n\t\r\x7f", 6, "\"v\":\"\\u0000\\u0001\\n\\t\\r\\u007f\"");
    bytes_are("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"v\":\"\xC3\xA9\xF0\x9F\x98\x80\"");
    bytes_are("\xFF", 1, "\"v_base64\":\"/w==\"");
    bytes_are("\xFF\xFE", 2, "\"v_base64\":\"//4=\"");
    bytes_are("\xFFzz", 3, "\"v_base64\":\"/3p6\"");
    bytes_are("\xFFzz\"", 4, "\"v_base64\":\"/3p6Ig==\"");
}

static void texts_that_are_not_utf8_are_repaired(void **state)
{
    struct memory_file m;
    struct json j;
    (void)state;
    memory_file_open(&m);
    json_init(&j, m.f, false);
    json_text(&j, NULL,
              "a\xFF"
              "b");
    memory_file_end(&m);
    assert_string_equal(m.text, "\"a\\ufffdb\"");
    memory_file_free(&m);
}

static void a_message(void **state)
{
    struct memory_file m;
    struct json j;
    weir_message msg = {.topic = "t",
                        .partition = 3,
                        .offset = 42,
                        .timestamp_ms = 1769860800123,
                        .append_ms = 1769860800200,
                        .value = {"x", 1},
                        .deliveries = 2,
                        .reason = "busy"};
    (void)state;
    memory_file_open(&m);
    json_init(&j, m.f, false);
    message_json(&j, &msg);
    memory_file_end(&m);
    assert_string_equal(
        m.text,
        "{\"topic\":\"t\",\"partition\":3,\"offset\":42,\"time\":\"2026-01-31T12:00:00.123Z\","
        "\"time_ms\":1769860800123,\"append_ms\":1769860800200,\"deliveries\":2,"
        "\"reason\":\"busy\",\"key\":null,\"headers\":["
        "{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"b\",\"value_base64\":\"/w==\"}],"
        "\"value\":\"x\"}");
    memory_file_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_commas),
        cmocka_unit_test(pretty_has_one_member_a_line),
        cmocka_unit_test(lines_are_documents),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(texts_that_are_not_utf8_are_repaired),
        cmocka_unit_test(a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
