#include "bench/demo/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/demo/plot.h"

/*
 * Happy path: a frame is built as one text and written in one go over the last one. Everything is
 * fitted to the size the terminal has now. What can fail: nothing that matters; a terminal that
 * goes away is noticed by the director's signals.
 */

#define FRAME_BYTES 65536
#define LEFT_COLS 21  /* label and value */
#define RIGHT_COLS 13 /* largest value */
#define MAX_COLS 240

struct look {
    enum measure measure;
    const char *label, *color, *unit;
};

static const struct look looks[] = {
    {M_IN, "in", "36", "/s"}, {M_OUT, "out", "32", "/s"}, {M_BACKLOG, "backlog", "33", ""},
    {M_LAG, "lag", "35", ""}, {M_DISK, "disk", "34", ""}, {M_MEMORY, "memory", "37", ""},
};

static const char *value_text(char *buf, size_t size, const struct look *l, double v)
{
    char number[32];

    switch (l->measure) {
    case M_LAG:
        (void)snprintf(buf, size, "%.1f s", v);
        break;
    case M_DISK:
    case M_MEMORY:
        (void)snprintf(buf, size, "%s", short_bytes(number, v));
        break;
    case M_IN:
    case M_OUT:
    case M_BACKLOG:
    case MEASURES:
    default:
        (void)snprintf(buf, size, "%s%s", short_number(number, v), l->unit);
        break;
    }
    return buf;
}

void view_begin(struct view *v, bool plain, bool ascii)
{
    const char *no_color = getenv("NO_COLOR");

    memset(v, 0, sizeof *v);
    v->plain = plain;
    v->ascii = ascii;
    v->color = no_color == NULL || no_color[0] == '\0';
    if (!plain) {
        (void)fputs("\033[?25l\033[H\033[2J", stdout);
        (void)fflush(stdout);
    }
}

void view_event(struct view *v, double at_s, bool bad, const char *fmt, ...)
{
    struct view_event *e;
    va_list ap;

    if (v->n_events == VIEW_EVENTS) {
        memmove(v->events, v->events + 1, sizeof v->events - sizeof v->events[0]);
        v->n_events--;
    }
    e = &v->events[v->n_events++];
    e->at_s = at_s;
    e->bad = bad;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (v->plain) {
        printf("%5.1fs  ** %s\n", at_s, e->text);
        (void)fflush(stdout);
    }
    if (bad && v->n_downs < DEMO_MAX_EPOCHS) {
        v->down_s[v->n_downs++] = at_s;
    }
}

static void draw_plain(struct view *v, const struct view_frame *f)
{
    const struct series *s = f->series;
    char in[24], out[24], backlog[24], lag[24], disk[24], memory[24];

    if (s->last_ns - v->last_line_ns < UINT64_C(990000000)) {
        return;
    }
    v->last_line_ns = s->last_ns;
    printf("%5.1fs  in %9s  out %9s  backlog %7s  lag %6s  disk %7s  memory %7s  %s\n", f->now_s,
           value_text(in, sizeof in, &looks[0], series_now(s, M_IN, 4)),
           value_text(out, sizeof out, &looks[1], series_now(s, M_OUT, 4)),
           value_text(backlog, sizeof backlog, &looks[2], series_now(s, M_BACKLOG, 1)),
           value_text(lag, sizeof lag, &looks[3], series_now(s, M_LAG, 1)),
           value_text(disk, sizeof disk, &looks[4], series_now(s, M_DISK, 1)),
           value_text(memory, sizeof memory, &looks[5], series_now(s, M_MEMORY, 1)), f->phase);
    (void)fflush(stdout);
}

/* ---- the terminal */

struct frame {
    struct text t;
    const struct view *v;
    int lines;
};

static void color(struct frame *f, const char *code)
{
    if (f->v->color) {
        text_add(&f->t, "\033[%sm", code);
    }
}

static void end_line(struct frame *f)
{
    text_add(&f->t, "\033[K\n");
    f->lines++;
}

static void header(struct frame *f, const struct view_frame *vf)
{
    const char *arrow = f->v->ascii ? "->" : "→";

    color(f, "1");
    text_add(&f->t, " weir");
    color(f, "0");
    text_add(&f->t, "  %u producers %s topic " DEMO_TOPIC ", %d partitions %s %u consumers",
             vf->producers, arrow, DEMO_PARTITIONS, arrow, vf->consumers);
    end_line(f);
    color(f, "2");
    text_add(&f->t, " %02u:%02u", (unsigned)vf->now_s / 60, (unsigned)vf->now_s % 60);
    color(f, "0");
    text_add(&f->t, "  ");
    if (vf->server_pid == 0) {
        color(f, "1;31");
        text_add(&f->t, "server is down");
        color(f, "0");
    } else {
        text_add(&f->t, "server is up (pid %d)", (int)vf->server_pid);
    }
    text_add(&f->t, ", %s", vf->phase);
    end_line(f);
    end_line(f);
}

/* One measure: label and value at the left, the plot, the largest value at the right. */
static void plot(struct frame *f, const struct view_frame *vf, const struct look *l, unsigned rows,
                 size_t width)
{
    const struct series *s = vf->series;
    const size_t smooth = l->measure == M_IN || l->measure == M_OUT ? 4 : 1;
    double columns[MAX_COLS];
    const size_t n = series_columns(s, l->measure, vf->span_s, columns, width);
    char now[32], peak[32];

    value_text(now, sizeof now, l, series_now(s, l->measure, smooth));
    value_text(peak, sizeof peak, l, s->peak[l->measure]);
    for (unsigned row = rows; row-- > 0;) {
        const bool top = row + 1 == rows;

        text_add(&f->t, " %-8s", top ? l->label : "");
        color(f, "1");
        text_add(&f->t, "%11s ", top ? now : "");
        color(f, "0");
        color(f, l->color);
        plot_row(&f->t, columns, n, s->peak[l->measure], row, rows, f->v->ascii);
        color(f, "0");
        if (top) {
            text_add(&f->t, "%*s", (int)(width - n), "");
            color(f, "2");
            text_add(&f->t, " max %s", peak);
            color(f, "0");
        }
        end_line(f);
    }
}

/* Time from left to right, with a mark where the server was killed. */
static void axis(struct frame *f, const struct view_frame *vf, size_t width)
{
    const size_t at = (size_t)(vf->now_s / vf->span_s * (double)width);

    text_add(&f->t, "%*s", LEFT_COLS, "");
    for (size_t c = 0; c < width; c++) {
        bool killed = false;

        for (size_t k = 0; k < f->v->n_downs; k++) {
            killed |= (size_t)(f->v->down_s[k] / vf->span_s * (double)width) == c;
        }
        color(f, killed ? "1;31" : c <= at ? "0" : "2");
        text_add(&f->t, "%s", killed ? (f->v->ascii ? "X" : "✗") : f->v->ascii ? "-" : "─");
    }
    color(f, "0");
    color(f, "2");
    text_add(&f->t, " %.0f s", vf->span_s);
    color(f, "0");
    end_line(f);
}

static void progress(struct frame *f, const char *label, const char *code, uint64_t done,
                     uint64_t all, size_t width)
{
    const double part = all == 0 ? 0 : (double)done / (double)all;
    char number[32];

    text_add(&f->t, " %-8s", label);
    color(f, "1");
    text_add(&f->t, "%11s ", long_number(number, done));
    color(f, "0");
    color(f, code);
    plot_bar(&f->t, part, width, f->v->ascii);
    color(f, "0");
    text_add(&f->t, " %3.0f %%", 100 * (part > 1 ? 1 : part));
    end_line(f);
}

static void events(struct frame *f, size_t room)
{
    const struct view *v = f->v;

    for (size_t i = v->n_events > room ? v->n_events - room : 0; i < v->n_events; i++) {
        const struct view_event *e = &v->events[i];

        color(f, "2");
        text_add(&f->t, " %5.1f s  ", e->at_s);
        color(f, "0");
        color(f, e->bad ? "31" : "0");
        text_add(&f->t, "%.*s", (int)v->cols - 12, e->text);
        color(f, "0");
        end_line(f);
    }
}

/* The terminal's size now. After a change the old frame cannot be gone back over: start anew. */
static void measure_terminal(struct view *v, struct text *t)
{
    struct winsize w = {0};
    unsigned cols = 80, rows = 24;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0) {
        cols = w.ws_col;
        rows = w.ws_row;
    }
    if (cols != v->cols || rows != v->rows) {
        text_add(t, "\033[H\033[2J");
        v->drawn_lines = 0;
    }
    v->cols = cols;
    v->rows = rows;
}

static void draw_terminal(struct view *v, const struct view_frame *vf)
{
    static const unsigned fixed_lines = 3 + 1 + 2 + 1; /* header, axis, bars, the cursor's */
    const size_t n_looks = sizeof looks / sizeof looks[0];
    char *buf = malloc(FRAME_BYTES);
    struct frame f = {.t = {.buf = buf, .size = FRAME_BYTES}, .v = v};
    size_t width;
    unsigned spare, plot_rows;

    if (buf == NULL) {
        return;
    }
    buf[0] = '\0';
    measure_terminal(v, &f.t);
    width = v->cols > LEFT_COLS + RIGHT_COLS + 10 ? v->cols - LEFT_COLS - RIGHT_COLS : 10;
    width = width > MAX_COLS ? MAX_COLS : width;
    plot_rows = v->rows >= fixed_lines + 3 * n_looks + 4   ? 3
                : v->rows >= fixed_lines + 2 * n_looks + 2 ? 2
                                                           : 1;
    spare = v->rows > fixed_lines + plot_rows * (unsigned)n_looks
                ? v->rows - fixed_lines - plot_rows * (unsigned)n_looks
                : 0;
    if (v->drawn_lines > 0) {
        text_add(&f.t, "\033[%dA\r", v->drawn_lines);
    }
    header(&f, vf);
    for (size_t i = 0; i < n_looks; i++) {
        plot(&f, vf, &looks[i], plot_rows, width);
    }
    axis(&f, vf, width);
    progress(&f, "produced", "36", vf->series->acked, vf->messages, width);
    progress(&f, "consumed", "32", vf->series->delivered, vf->messages, width);
    if (spare > 3) {
        end_line(&f);
        spare--;
    }
    events(&f, spare);
    text_add(&f.t, "\033[J");
    v->drawn_lines = f.lines;
    (void)fwrite(buf, 1, f.t.n, stdout);
    (void)fflush(stdout);
    free(buf);
}

void view_draw(struct view *v, const struct view_frame *f)
{
    if (v->plain) {
        draw_plain(v, f);
    } else {
        draw_terminal(v, f);
    }
}

void view_end(struct view *v)
{
    if (!v->plain) {
        (void)fputs("\033[0m\033[?25h", stdout);
        (void)fflush(stdout);
        v->plain = true; /* what follows is plain text below the last frame */
    }
}
