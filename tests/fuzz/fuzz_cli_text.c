/* Text that a person gives to the command-line program; byte 0 picks the parser. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/args.h"
#include "client/cli/dlq_name.h"
#include "client/cli/filter.h"
#include "client/cli/format.h"
#include "client/cli/keyscan.h"
#include "client/cli/seekspec.h"
#include "client/cli/spans.h"
#include "client/cli/text.h"
#include "client/cli/timeparse.h"
#include "client/cli/values.h"
#include "tests/fuzz/target.h"

enum { MAX_WORDS = 32 };
static const int64_t now_ms = INT64_C(1700000000000);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* Words separated by newlines, as a shell would hand them over. */
static void command_line(char *text)
{
    char *argv[MAX_WORDS + 2] = {text};
    int argc = 1;
    struct args a = {0};

    for (char *p = text; p != NULL && argc <= MAX_WORDS; argc++) {
        argv[argc] = p;
        p = strchr(p, '\n');
        if (p != NULL) {
            *p++ = '\0';
        }
    }
    if (args_parse(&a, argc, argv) != 0) {
        must(a.error[0] != '\0' && memchr(a.error, 0, sizeof a.error) != NULL);
    }
    args_fini(&a);
}

static void times(const char *s)
{
    int64_t ms = -1, again;
    struct start st;
    struct seek_spec seek;
    struct position pos;
    char out[64];

    if (time_parse(s, now_ms, &ms)) {
        must(ms >= 0);
        if (ms < INT64_C(253402300800000)) { /* year 10000 */
            must(time_parse(time_text(out, ms), now_ms, &again) && again == ms);
        }
    }
    (void)time_parse_ahead(s, now_ms, &ms);
    if (start_parse(s, now_ms, &st)) {
        (void)start_text(&st, out, sizeof out);
    }
    if (seek_spec_parse(s, now_ms, &seek) && seek.kind != SEEK_TIME) {
        must(seek.kind == SEEK_OFFSET || seek_spec_offset(&seek, 50, 10, 90) >= 10);
    }
    if (position_parse(s, strlen(s), &pos) == POSITION_OK) {
        must(pos.partition >= 0 && pos.offset >= 0 && pos.topic[0] != '\0');
    }
}

static void values(const char *s)
{
    int64_t v = 0;
    double rate;
    weir_span span;
    struct filter f;

    must(!value_count(s, &v) || (v >= 0 && v <= INT64_C(1) << 53));
    must(!value_size(s, &v) || v >= 0);
    must(!value_duration(s, &v) || v >= 0);
    must(!value_rate(s, &rate) || (rate > 0 && rate <= 1e9));
    must(!span_parse(s, &span) || (span.partition >= 0 && span.first <= span.last));
    if (filter_parse(s, &f) == NULL) {
        must(memchr(f.name, 0, sizeof f.name) != NULL);
    }
    (void)dlq_name_is(s);
}

static void formats(const char *s)
{
    static FILE *sink;
    struct format f = {0};
    char error[80] = "";
    const weir_message m = {.key = weir_str("k"), .value = weir_str("v\n\xff"), .topic = "t"};

    if (sink == NULL) {
        sink = fopen("/dev/null", "w");
    }
    if (format_init(&f, s, error, sizeof error)) {
        if (sink != NULL) {
            format_write(&f, sink, &m);
        }
    } else {
        must(error[0] != '\0');
    }
    format_fini(&f);
}

static void json_line(const uint8_t *p, size_t n)
{
    struct keyscan k;
    const char *v = NULL;
    size_t n_v = 0;
    char cell[64];

    keyscan_init(&k, "id");
    if (keyscan_find(&k, p, n, &v, &n_v) == KEYSCAN_FOUND) {
        must(!utf8_valid(p, n) || utf8_valid(v, n_v)); /* bytes go through as they are */
    }
    keyscan_fini(&k);
    (void)text_for_cell(cell, sizeof cell, p, n, 20);
    must(memchr(cell, 0, sizeof cell) != NULL && utf8_valid(cell, strlen(cell)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text;

    if (n == 0) {
        return 0;
    }
    text = malloc(n);
    must(text != NULL);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    switch (data[0] % 5) {
    case 0:
        command_line(text);
        break;
    case 1:
        times(text);
        break;
    case 2:
        values(text);
        break;
    case 3:
        formats(text);
        break;
    default:
        json_line((const uint8_t *)text, n - 1);
        break;
    }
    free(text);
    return 0;
}
