#include "client/cli/seekspec.h"

#include <string.h>

#include "client/cli/timeparse.h"
#include "client/cli/values.h"

bool seek_spec_parse(const char *s, int64_t now_ms, struct seek_spec *out)
{
    struct seek_spec spec = {SEEK_EARLIEST, 0};
    struct start start;
    if (*s == '-' && value_count(s + 1, &spec.value)) {
        spec.kind = SEEK_BACK;
    } else if (*s == '-') {
        spec.kind = SEEK_TIME;
        if (!time_parse(s, now_ms, &spec.value)) {
            return false;
        }
    } else if (start_parse(s, now_ms, &start)) {
        static const enum seek_kind kinds[] = {[START_EARLIEST] = SEEK_EARLIEST,
                                               [START_LATEST] = SEEK_LATEST,
                                               [START_OFFSET] = SEEK_OFFSET,
                                               [START_TIME] = SEEK_TIME};
        spec = (struct seek_spec){kinds[start.kind], start.value};
    } else {
        return false;
    }
    *out = spec;
    return true;
}

int64_t seek_spec_offset(const struct seek_spec *s, int64_t position, int64_t log_start,
                         int64_t high_watermark)
{
    switch (s->kind) {
    case SEEK_EARLIEST:
        return log_start;
    case SEEK_LATEST:
        return high_watermark;
    case SEEK_OFFSET:
        return s->value;
    case SEEK_BACK:
        return position - s->value > log_start ? position - s->value : log_start;
    case SEEK_TIME:
        break;
    }
    return position;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line; *n 0 at its end. */
static const char *word(const char **at, const char *end, size_t *n)
{
    while (*at < end && blank(**at)) {
        (*at)++;
    }
    const char *from = *at;
    while (*at < end && !blank(**at)) {
        (*at)++;
    }
    *n = (size_t)(*at - from);
    return from;
}

static bool number(const char *text, size_t n, int64_t max, int64_t *out)
{
    char digits[24];
    if (n == 0 || n >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, n);
    digits[n] = 0;
    /* a NUL in the line would end the number early */
    return strlen(digits) == n && value_count(digits, out) && *out <= max;
}

enum position_result position_parse(const char *line, size_t n, struct position *out)
{
    const char *end = line + n;
    size_t len[4];
    const char *words[4];
    int64_t partition;
    for (size_t i = 0; i < 4; i++) {
        words[i] = word(&line, end, &len[i]);
    }
    if (len[0] == 0 || words[0][0] == '#') {
        return POSITION_NONE;
    }
    if (len[3] || len[0] >= sizeof out->topic || memchr(words[0], 0, len[0]) ||
        !number(words[1], len[1], INT32_MAX, &partition) ||
        !number(words[2], len[2], INT64_MAX, &out->offset)) {
        return POSITION_BAD;
    }
    memcpy(out->topic, words[0], len[0]);
    out->topic[len[0]] = 0;
    out->partition = (int32_t)partition;
    return POSITION_OK;
}
