#include "client/cli/timeparse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/values.h"

enum { DAY_S = 86400, YEAR_MAX = 9999 };

/* Days since 1970-01-01 of a day in the Gregorian calendar, year >= 1970. The year is counted from
 * March, so that the leap day is its last one. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
    int64_t year = m > 2 ? y : y - 1;
    int64_t month = m > 2 ? m - 3 : m + 9;
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + d - 719469;
}

static int64_t month_days(int64_t y, int64_t m)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && leap ? 1 : 0);
}

/* Exactly n digits. */
static bool digits(const char **s, int n, int64_t *out)
{
    int64_t v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9') {
            return false;
        }
        v = v * 10 + (**s - '0');
    }
    *out = v;
    return true;
}

static bool one_of(const char **s, const char *set)
{
    if (!**s || !strchr(set, **s)) {
        return false;
    }
    (*s)++;
    return true;
}

/* "Z", "+02:00" or "-0530" at the end; gives seconds east of UTC. */
static bool zone(const char **s, int64_t *east_s)
{
    if (one_of(s, "Zz")) {
        *east_s = 0;
        return true;
    }
    int64_t sign = **s == '-' ? -1 : 1;
    int64_t h, m;
    if (!one_of(s, "+-") || !digits(s, 2, &h)) {
        return false;
    }
    if (**s == ':') {
        (*s)++;
    }
    if (!digits(s, 2, &m) || h > 23 || m > 59) {
        return false;
    }
    *east_s = sign * (h * 3600 + m * 60);
    return true;
}

static bool rfc3339(const char *s, int64_t *ms)
{
    int64_t y, mo, d, h, mi, sec, frac_ms = 0, east_s;
    if (!digits(&s, 4, &y) || !one_of(&s, "-") || !digits(&s, 2, &mo) || !one_of(&s, "-") ||
        !digits(&s, 2, &d) || !one_of(&s, "Tt ") || !digits(&s, 2, &h) || !one_of(&s, ":") ||
        !digits(&s, 2, &mi) || !one_of(&s, ":") || !digits(&s, 2, &sec)) {
        return false;
    }
    if (*s == '.') {
        int64_t place = 100;
        s++;
        if (*s < '0' || *s > '9') {
            return false;
        }
        for (; *s >= '0' && *s <= '9'; s++, place /= 10) {
            frac_ms += place * (*s - '0');
        }
    }
    if (!zone(&s, &east_s) || *s) {
        return false;
    }
    /* second 60 is a leap second: the next one, as POSIX time counts it */
    if (y < 1970 || mo < 1 || mo > 12 || d < 1 || d > month_days(y, mo) || h > 23 || mi > 59 ||
        sec > 60) {
        return false;
    }
    int64_t t = (days_of(y, mo, d) * DAY_S + h * 3600 + mi * 60 + sec - east_s) * 1000 + frac_ms;
    if (t < 0) {
        return false;
    }
    *ms = t;
    return true;
}

bool time_parse(const char *s, int64_t now_ms, int64_t *ms)
{
    if (strcmp(s, "now") == 0) {
        *ms = now_ms;
        return true;
    }
    if (value_count(s, ms)) {
        return true;
    }
    if (*s == '-') {
        int64_t ago_ms;
        if (!value_duration_n(s + 1, strlen(s + 1), &ago_ms) || ago_ms > now_ms) {
            return false;
        }
        *ms = now_ms - ago_ms;
        return true;
    }
    return rfc3339(s, ms);
}

bool time_parse_ahead(const char *s, int64_t now_ms, int64_t *ms)
{
    int64_t ahead_ms;
    if (value_count(s, ms)) {
        return true;
    }
    if (value_duration_n(s, strlen(s), &ahead_ms)) {
        *ms = now_ms + ahead_ms;
        return true;
    }
    return rfc3339(s, ms);
}

const char *time_text(char *out, int64_t ms)
{
    int64_t days = ms / 1000 / DAY_S;
    int64_t in_day = ms / 1000 % DAY_S;
    if (ms < 0 || days > (int64_t)YEAR_MAX * 365) {
        snprintf(out, TIME_TEXT_MAX, "%" PRId64, ms);
        return out;
    }
    int64_t y = 1970 + days / 366; /* never too late; at most some years too early */
    while (days_of(y + 1, 1, 1) <= days) {
        y++;
    }
    int64_t m = 1;
    int64_t left = days - days_of(y, 1, 1);
    while (left >= month_days(y, m)) {
        left -= month_days(y, m++);
    }
    /* the remainders only tell the compiler how wide each field can be */
    snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)(y % 10000),
             (int)(m % 100), (int)((left + 1) % 100), (int)(in_day / 3600), (int)(in_day / 60 % 60),
             (int)(in_day % 60), (int)(ms % 1000));
    return out;
}

bool start_parse(const char *s, int64_t now_ms, struct start *out)
{
    struct start st = {START_EARLIEST, 0};
    if (strcmp(s, "earliest") == 0) {
        st.kind = START_EARLIEST;
    } else if (strcmp(s, "latest") == 0) {
        st.kind = START_LATEST;
    } else if (*s == '@') {
        st.kind = START_TIME;
        if (!time_parse(s + 1, now_ms, &st.value)) {
            return false;
        }
    } else {
        st.kind = START_OFFSET;
        if (!value_count(s, &st.value)) {
            return false;
        }
    }
    *out = st;
    return true;
}

const char *start_text(const struct start *s, char *out, size_t size)
{
    switch (s->kind) {
    case START_EARLIEST:
        snprintf(out, size, "earliest");
        break;
    case START_LATEST:
        snprintf(out, size, "latest");
        break;
    case START_OFFSET:
        snprintf(out, size, "%" PRId64, s->value);
        break;
    case START_TIME:
        snprintf(out, size, "@%" PRId64, s->value);
        break;
    }
    return out;
}
