#ifndef WEIR_BENCH_DEMO_PLOT_H
#define WEIR_BENCH_DEMO_PLOT_H
/* Plots and numbers as text. Pure: values in, bytes out. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of text that grows up to its end; what does not fit is dropped, never half a character.
 */
struct text {
    char *buf;
    size_t size, n;
};
void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * One row of a plot that is `rows` rows high, row 0 at the bottom, scaled to max: one character a
 * value, block elements of eighths (or ASCII shades). A value over 0 always shows.
 */
void plot_row(struct text *t, const double *values, size_t n, double max, unsigned row,
              unsigned rows, bool ascii);
/** A bar of width columns, part (0..1) of it filled. */
void plot_bar(struct text *t, double part, size_t width, bool ascii);

/** "987", "12.3 k", "4.56 M": at most 6 characters. buf: at least 16 bytes. @return buf */
const char *short_number(char *buf, double v);
/** "512 KB", "1.25 GB" in decimal units. @return buf */
const char *short_bytes(char *buf, double v);
/** "1,234,567". buf: at least 32 bytes. @return buf */
const char *long_number(char *buf, uint64_t v);
/** "850 us", "12.3 ms", "1.25 s". @return buf */
const char *short_time(char *buf, double seconds);

#endif
