#include "client/cli/text.h"

#include <stdio.h>
#include <string.h>

static bool follows(const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t utf8_next(const uint8_t *s, size_t n)
{
    if (n == 0) {
        return 0;
    }
    uint8_t c = s[0];
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF) {
        return n >= 2 && follows(s + 1, 1) ? 2 : 0;
    }
    if ((c & 0xF0) == 0xE0) {
        bool fits = n >= 3 && follows(s + 1, 2);
        bool overlong = fits && c == 0xE0 && s[1] < 0xA0;
        bool surrogate = fits && c == 0xED && s[1] > 0x9F;
        return fits && !overlong && !surrogate ? 3 : 0;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        bool fits = n >= 4 && follows(s + 1, 3);
        bool overlong = fits && c == 0xF0 && s[1] < 0x90;
        bool above = fits && c == 0xF4 && s[1] > 0x8F;
        return fits && !overlong && !above ? 4 : 0;
    }
    return 0;
}

bool utf8_valid(const void *data, size_t n)
{
    const uint8_t *s = data;
    while (n > 0) {
        size_t len = utf8_next(s, n);
        if (len == 0) {
            return false;
        }
        s += len;
        n -= len;
    }
    return true;
}

const char *text_for_cell(char *out, size_t size, const void *data, size_t n, size_t max_columns)
{
    const uint8_t *s = data;
    size_t at = 0;
    size_t columns = 0;
    while (n > 0) {
        char piece[8];
        size_t len = utf8_next(s, n);
        /* C1 controls (U+0080 to U+009F) are commands to some terminals too */
        bool control = (len == 1 && (s[0] < 0x20 || s[0] == 0x7F)) ||
                       (len == 2 && s[0] == 0xC2 && s[1] < 0xA0);
        size_t take = len == 0 || control ? 1 : len;
        if (len == 1 && (s[0] == '\n' || s[0] == '\t')) {
            snprintf(piece, sizeof piece, "%s", s[0] == '\n' ? "\\n" : "\\t");
        } else if (len == 0 || control) {
            snprintf(piece, sizeof piece, "\\x%02x", s[0]);
        } else {
            memcpy(piece, s, len);
            piece[len] = 0;
        }
        size_t piece_len = strlen(piece);
        columns += len == 0 || control ? piece_len : 1;
        if (columns > max_columns || at + piece_len + 4 >= size) {
            memcpy(out + at, "\xE2\x80\xA6", 3);
            at += 3;
            break;
        }
        memcpy(out + at, piece, piece_len);
        at += piece_len;
        s += take;
        n -= take;
    }
    out[at] = 0;
    return out;
}

size_t text_columns(const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        n += ((unsigned char)*s & 0xC0) != 0x80;
    }
    return n;
}
