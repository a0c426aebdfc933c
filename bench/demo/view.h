#ifndef WEIR_BENCH_DEMO_VIEW_H
#define WEIR_BENCH_DEMO_VIEW_H
/* What a person sees while the demo runs: plots on a terminal, a line a second elsewhere. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/demo/series.h"

#define VIEW_EVENTS 6

struct view_event {
    double at_s;
    bool bad;
    char text[160];
};

struct view {
    bool plain, ascii, color;
    int drawn_lines; /* of the last frame, to go back over */
    unsigned cols, rows;
    uint64_t last_line_ns; /* plain */
    struct view_event events[VIEW_EVENTS];
    size_t n_events;
    double down_s[DEMO_MAX_EPOCHS]; /* when the server was killed, for the axis */
    size_t n_downs;
};

struct view_frame {
    const struct series *series;
    uint64_t messages; /* in all */
    double span_s;     /* how long it is expected to take */
    double now_s;
    const char *phase;
    pid_t server_pid; /* 0 = down */
    uint32_t producers, consumers;
};

void view_begin(struct view *v, bool plain, bool ascii);
/** Tells what happened, with the time in the demo. text is copied. */
void view_event(struct view *v, double at_s, bool bad, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void view_draw(struct view *v, const struct view_frame *f);
/** Leaves the last frame where it is and the terminal as it was. Idempotent, async-signal-unsafe.
 */
void view_end(struct view *v);

#endif
