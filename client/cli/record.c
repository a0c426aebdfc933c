#include "client/cli/record.h"

#include <string.h>

#include "client/cli/clock.h"
#include "client/cli/session.h"
#include "client/cli/timeparse.h"

#define DELAY_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)

/* --delay or --at, and --print-ids which needs one of them. */
static int read_delay(struct record_maker *r, const struct args *a)
{
    const char *at = args_text(a, OPT_AT_DUE, NULL);
    bool delayed = args_has(a, OPT_DELAY);
    r->send.delay_ms = args_number(a, OPT_DELAY, 0);
    if (at && delayed) {
        return cli_fail(EXIT_USAGE, "--delay and --at exclude each other");
    }
    if (at && (!time_parse_ahead(at, cli_wall_ms(), &r->send.deliver_at_ms) ||
               r->send.deliver_at_ms == 0)) {
        return cli_fail(EXIT_USAGE,
                        "--at: '%.80s' is not a time (2026-01-31T12:00:00Z, milliseconds, 30m)",
                        at);
    }
    if (r->send.delay_ms > DELAY_MAX_MS) {
        return cli_fail(EXIT_USAGE, "--delay: at most 366d");
    }
    if (args_has(a, OPT_PRINT_IDS) && !at && !delayed) {
        return cli_fail(EXIT_USAGE, "--print-ids needs --delay or --at");
    }
    return EXIT_DONE;
}

int record_maker_init(struct record_maker *r, const struct args *a)
{
    const char *pair;
    const char *field = args_text(a, OPT_KEY_JSON, NULL);
    *r = (struct record_maker){.send = WEIR_SEND_OPTIONS};
    r->key_sep = args_text(a, OPT_KEY_SEP, NULL);
    r->key_json = field != NULL;
    if (r->key_sep && r->key_json) {
        return cli_fail(EXIT_USAGE, "--key-sep and --key-json exclude each other");
    }
    if (r->key_sep && !*r->key_sep) {
        return cli_fail(EXIT_USAGE, "--key-sep is empty");
    }
    keyscan_init(&r->keyscan, field ? field : "");
    int64_t partition = args_number(a, OPT_PARTITION, -1);
    if (partition > INT32_MAX) {
        return cli_fail(EXIT_USAGE, "--partition: no topic has that many");
    }
    r->send.partition = (int32_t)partition;
    for (; (pair = args_nth(a, OPT_HEADER, r->send.n_headers)) != NULL; r->send.n_headers++) {
        if (r->send.n_headers == RECORD_HEADERS_MAX) {
            return cli_fail(EXIT_USAGE, "--header: more than %d", RECORD_HEADERS_MAX);
        }
        const char *eq = strchr(pair, '='); /* the parser has seen that there is one */
        r->headers[r->send.n_headers] =
            (weir_header){weir_bytes_of(pair, (size_t)(eq - pair)), weir_str(eq + 1)};
    }
    r->send.headers = r->headers;
    return read_delay(r, a);
}

static const char *key_of_json(struct record_maker *r, const char *line, size_t n, weir_bytes *key)
{
    const char *text;
    size_t len;
    switch (keyscan_find(&r->keyscan, line, n, &text, &len)) {
    case KEYSCAN_FOUND:
        *key = weir_bytes_of(text, len);
        return NULL;
    case KEYSCAN_ABSENT:
        return NULL;
    case KEYSCAN_NESTED:
        return "the key field holds an object or an array";
    case KEYSCAN_BAD:
        return "not a JSON object";
    case KEYSCAN_NOMEM:
        break;
    }
    return "out of memory";
}

const char *record_make(struct record_maker *r, const char *line, size_t n, weir_bytes *key,
                        weir_bytes *value)
{
    *key = weir_bytes_of(NULL, 0);
    *value = weir_bytes_of(line, n);
    if (r->key_json) {
        return key_of_json(r, line, n, key);
    }
    if (r->key_sep) {
        size_t len = strlen(r->key_sep);
        const char *at = memmem(line, n, r->key_sep, len);
        if (at) {
            *key = weir_bytes_of(line, (size_t)(at - line));
            *value = weir_bytes_of(at + len, n - (size_t)(at - line) - len);
        }
    }
    return NULL;
}

void record_maker_fini(struct record_maker *r)
{
    keyscan_fini(&r->keyscan);
}
