#include "client/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "client/cli/clock.h"
#include "client/cli/values.h"

#define SECOND_NS INT64_C(1000000000)

void progress_init(struct progress *p)
{
    int64_t now_ns = cli_mono_ns();
    *p = (struct progress){.terminal = isatty(STDERR_FILENO) == 1,
                           .start_ns = now_ns,
                           .last_ns = now_ns,
                           .next_ns = now_ns + SECOND_NS};
}

void progress_update(struct progress *p, const char *verb, int64_t count, double bytes)
{
    char text[3][32];
    if (!p->terminal) {
        return;
    }
    int64_t now_ns = cli_mono_ns();
    if (now_ns < p->next_ns) {
        return;
    }
    double seconds = (double)(now_ns - p->last_ns) / 1e9;
    int64_t rate = (int64_t)((double)(count - p->last_count) / seconds);
    fprintf(stderr, "\r\033[K%s %s messages, %s, %s/s", verb,
            text_count(text[0], sizeof text[0], count), text_bytes(text[1], sizeof text[1], bytes),
            text_count(text[2], sizeof text[2], rate));
    p->shown = true;
    p->last_ns = now_ns;
    p->last_count = count;
    p->next_ns = now_ns + SECOND_NS / 4;
}

void progress_clear(struct progress *p)
{
    if (p->shown) {
        fputs("\r\033[K", stderr);
        p->shown = false;
    }
}

double progress_seconds(const struct progress *p)
{
    return (double)(cli_mono_ns() - p->start_ns) / 1e9;
}
