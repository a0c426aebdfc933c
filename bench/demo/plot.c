#include "bench/demo/plot.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->buf + t->n, t->size - t->n, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < t->size - t->n) {
        t->n += (size_t)n;
    }
    t->buf[t->n] = '\0';
}

void plot_row(struct text *t, const double *values, size_t n, double max, unsigned row,
              unsigned rows, bool ascii)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const shades[] = {" ", ".", ".", ":", ":", "+", "+", "#", "#"};
    const int floor_level = (int)(8 * row);

    for (size_t i = 0; i < n; i++) {
        int level = max > 0 ? (int)lround(values[i] / max * 8 * rows) : 0;

        level = level == 0 && values[i] > 0 ? 1 : level;
        level -= floor_level;
        level = level < 0 ? 0 : level > 8 ? 8 : level;
        text_add(t, "%s", ascii ? shades[level] : blocks[level]);
    }
}

void plot_bar(struct text *t, double part, size_t width, bool ascii)
{
    const size_t full = (size_t)lround((part < 0 ? 0 : part > 1 ? 1 : part) * (double)width);

    for (size_t i = 0; i < width; i++) {
        text_add(t, "%s", i < full ? (ascii ? "#" : "█") : (ascii ? "." : "░"));
    }
}

/* Three digits that matter. */
static const char *scaled(char *buf, double v, double step, const char *const *units)
{
    size_t u = 0;

    while (v >= step * 0.9995 && units[u + 1] != NULL) {
        v /= step;
        u++;
    }
    (void)snprintf(buf, 16,
                   v >= 99.95 || (u == 0 && v == floor(v)) ? "%.0f%s%s"
                   : v >= 9.995                            ? "%.1f%s%s"
                                                           : "%.2f%s%s",
                   v, units[u][0] == '\0' ? "" : " ", units[u]);
    return buf;
}

const char *short_number(char *buf, double v)
{
    return scaled(buf, round(v), 1000, (const char *const[]){"", "k", "M", "G", NULL});
}

const char *short_bytes(char *buf, double v)
{
    return scaled(buf, round(v), 1000, (const char *const[]){"B", "KB", "MB", "GB", "TB", NULL});
}

const char *short_time(char *buf, double seconds)
{
    if (seconds >= 0.9995) {
        return scaled(buf, seconds, 1e9, (const char *const[]){"s", NULL});
    }
    return scaled(buf, seconds * 1e6, 1000, (const char *const[]){"us", "ms", NULL});
}

const char *long_number(char *buf, uint64_t v)
{
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    char *to = buf;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return buf;
}
