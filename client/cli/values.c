#include "client/cli/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits at *s; false when there are none or the number is over `max`. */
static bool whole(const char **s, const char *end, int64_t max, int64_t *out)
{
    const char *p = *s;
    int64_t v = 0;
    while (p < end && digit(*p)) {
        if (v > (max - (*p - '0')) / 10) {
            return false;
        }
        v = v * 10 + (*p++ - '0');
    }
    if (p == *s) {
        return false;
    }
    *s = p;
    *out = v;
    return true;
}

bool value_count(const char *s, int64_t *out)
{
    int64_t v;
    if (!whole(&s, s + strlen(s), VALUE_COUNT_MAX, &v) || *s) {
        return false;
    }
    *out = v;
    return true;
}

bool value_size(const char *s, int64_t *bytes)
{
    static const char units[] = "kmgt";
    int64_t v;
    if (!whole(&s, s + strlen(s), VALUE_COUNT_MAX, &v)) {
        return false;
    }
    const char *unit = *s ? strchr(units, *s | 0x20) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) {
            if (v > VALUE_COUNT_MAX / 1024) {
                return false;
            }
            v *= 1024;
        }
        s++;
    }
    if (*s && strcasecmp(s, "b") != 0 && !(unit && strcasecmp(s, "ib") == 0)) {
        return false;
    }
    *bytes = v;
    return true;
}

/* One "number unit" of a duration, for example "90s" or "0.5h". */
static bool duration_part(const char **s, const char *end, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    int64_t v;
    if (!whole(s, end, VALUE_COUNT_MAX, &v)) {
        return false;
    }
    double number = (double)v;
    if (*s < end && **s == '.') {
        double place = 1;
        for ((*s)++; *s < end && digit(**s); (*s)++) {
            place /= 10;
            number += place * (**s - '0');
        }
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t n = strlen(units[i].name);
        if ((size_t)(end - *s) >= n && memcmp(*s, units[i].name, n) == 0) {
            *s += n;
            *ms += number * units[i].ms;
            return true;
        }
    }
    return false;
}

bool value_duration_n(const char *s, size_t n, int64_t *ms)
{
    const char *end = s + n;
    double sum = 0;
    if (n == 0) {
        return false;
    }
    while (s < end) {
        if (!duration_part(&s, end, &sum)) {
            return false;
        }
    }
    if (sum > (double)VALUE_COUNT_MAX) {
        return false;
    }
    *ms = (int64_t)llround(sum);
    return true;
}

bool value_duration(const char *s, int64_t *ms)
{
    int64_t seconds;
    if (value_count(s, &seconds)) {
        if (seconds > VALUE_COUNT_MAX / 1000) {
            return false;
        }
        *ms = seconds * 1000;
        return true;
    }
    return value_duration_n(s, strlen(s), ms);
}

bool value_rate(const char *s, double *per_s)
{
    int64_t v;
    if (!whole(&s, s + strlen(s), 1000000000, &v) || v == 0 || (*s && strcmp(s, "/s") != 0)) {
        return false;
    }
    *per_s = (double)v;
    return true;
}

const char *text_count(char *out, size_t size, int64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    if (size > 0) {
        out[at] = 0;
    }
    return out;
}

/* Three significant digits: "1.23", "12.3", "123". */
static void three(char *out, size_t size, double v, const char *unit)
{
    int decimals = v < 9.995 ? 2 : v < 99.95 ? 1 : 0;
    snprintf(out, size, "%.*f %s", decimals, v, unit);
}

const char *text_bytes(char *out, size_t size, double bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    if (bytes < 999.5) {
        snprintf(out, size, "%.0f B", bytes);
        return out;
    }
    size_t i = 0;
    bytes /= 1000;
    for (; bytes >= 999.5 && i + 1 < sizeof units / sizeof units[0]; i++) {
        bytes /= 1000;
    }
    three(out, size, bytes, units[i]);
    return out;
}

const char *text_nanos(char *out, size_t size, int64_t ns)
{
    double v = (double)ns;
    if (v < 1e3) {
        snprintf(out, size, "%" PRId64 " ns", ns);
    } else if (v < 999.5e3) {
        three(out, size, v / 1e3, "us");
    } else if (v < 999.5e6) {
        three(out, size, v / 1e6, "ms");
    } else {
        three(out, size, v / 1e9, "s");
    }
    return out;
}
