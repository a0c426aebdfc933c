#include "client/cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/cli/text.h"

void json_init(struct json *j, FILE *f, bool pretty)
{
    *j = (struct json){.f = f, .pretty = pretty};
}

/* Escaped, without quotes. Runs of plain bytes go out in one piece. */
static void escaped(FILE *f, const void *data, size_t n)
{
    const uint8_t *s = data;
    size_t plain = 0;
    size_t i = 0;
    while (i < n) {
        size_t len = utf8_next(s + i, n - i);
        bool special =
            len == 0 || (len == 1 && (s[i] < 0x20 || s[i] == '"' || s[i] == '\\' || s[i] == 0x7F));
        if (!special) {
            i += len;
            continue;
        }
        fwrite(s + plain, 1, i - plain, f);
        if (len == 0) {
            fputs("\\ufffd", f);
        } else if (s[i] == '"' || s[i] == '\\') {
            fprintf(f, "\\%c", s[i]);
        } else if (s[i] == '\n') {
            fputs("\\n", f);
        } else if (s[i] == '\t') {
            fputs("\\t", f);
        } else if (s[i] == '\r') {
            fputs("\\r", f);
        } else {
            fprintf(f, "\\u%04x", s[i]);
        }
        plain = ++i;
    }
    fwrite(s + plain, 1, n - plain, f);
}

static void base64(FILE *f, const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *s = data;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)s[i] << 16;
        v |= left > 1 ? (uint32_t)s[i + 1] << 8 : 0;
        v |= left > 2 ? (uint32_t)s[i + 2] : 0;
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                       left > 2 ? digits[v & 63] : '='};
        fwrite(out, 1, sizeof out, f);
    }
}

static void new_line(struct json *j)
{
    if (j->pretty) {
        fprintf(j->f, "\n%*s", (int)j->depth * 2, "");
    }
}

/* Everything that stands before a value: comma, line, name (with an ending of ours). */
static void lead_in(struct json *j, const char *name, const char *ending)
{
    if (j->filled[j->depth]) {
        fputc(',', j->f);
    }
    if (j->depth > 0) {
        new_line(j);
    }
    j->filled[j->depth] = true;
    if (name) {
        fputc('"', j->f);
        escaped(j->f, name, strlen(name));
        fprintf(j->f, "%s\":%s", ending, j->pretty ? " " : "");
    }
}

void json_open(struct json *j, const char *name, char bracket)
{
    lead_in(j, name, "");
    fputc(bracket, j->f);
    if (j->depth < JSON_DEPTH_MAX) {
        j->depth++;
    }
    j->filled[j->depth] = false;
}

void json_close(struct json *j, char bracket)
{
    bool filled = j->filled[j->depth];
    if (j->depth > 0) {
        j->depth--;
    }
    if (filled) {
        new_line(j);
    }
    fputc(bracket, j->f);
}

void json_int(struct json *j, const char *name, int64_t v)
{
    lead_in(j, name, "");
    fprintf(j->f, "%" PRId64, v);
}

void json_uint(struct json *j, const char *name, uint64_t v)
{
    lead_in(j, name, "");
    fprintf(j->f, "%" PRIu64, v);
}

void json_double(struct json *j, const char *name, double v)
{
    lead_in(j, name, "");
    if (isfinite(v)) {
        fprintf(j->f, "%.6g", v);
    } else {
        fputs("null", j->f);
    }
}

void json_bool(struct json *j, const char *name, bool v)
{
    lead_in(j, name, "");
    fputs(v ? "true" : "false", j->f);
}

void json_null(struct json *j, const char *name)
{
    lead_in(j, name, "");
    fputs("null", j->f);
}

void json_text(struct json *j, const char *name, const char *s)
{
    if (!s) {
        json_null(j, name);
        return;
    }
    lead_in(j, name, "");
    fputc('"', j->f);
    escaped(j->f, s, strlen(s));
    fputc('"', j->f);
}

void json_bytes(struct json *j, const char *name, const void *data, size_t n)
{
    if (!data) {
        json_null(j, name);
        return;
    }
    bool text = utf8_valid(data, n);
    lead_in(j, name, text ? "" : "_base64");
    fputc('"', j->f);
    if (text) {
        escaped(j->f, data, n);
    } else {
        base64(j->f, data, n);
    }
    fputc('"', j->f);
}

void json_number_or_text(struct json *j, const char *name, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    bool number = n > 0 && n < 16 && strspn(s, "0123456789") == n && (s[0] != '0' || n == 1);
    if (!number) {
        json_text(j, name, s);
        return;
    }
    lead_in(j, name, "");
    fputs(s, j->f);
}

void json_end(struct json *j)
{
    fputc('\n', j->f);
    j->filled[0] = false;
}
