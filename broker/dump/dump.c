/* What the parts of weir-dump share: problems, and which partition has which number. */
#include "broker/dump/dump.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void dump_problem(struct dump *d, const char *format, ...)
{
    va_list args;

    if (d->problems++ < DUMP_SHOWN) {
        va_start(args, format);
        fprintf(d->out, "problem: ");
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is two lines above */
        vfprintf(d->out, format, args);
        fprintf(d->out, "\n");
        va_end(args);
    }
}

struct part *dump_part(const struct dump *d, uint32_t id)
{
    return id < d->n_parts ? d->parts[id] : NULL;
}

void dump_map_parts(struct dump *d)
{
    struct slice after = {0};

    for (struct core_topic *t; (t = core_topic_after(d->co, after)) != NULL;
         after = core_topic_name(t)) {
        for (uint32_t p = 0; p < t->n_parts; p++) {
            const uint32_t id = t->parts[p]->id;
            if (id >= d->n_parts) {
                d->parts = realloc(d->parts, (id + 1) * sizeof(struct part *));
                if (d->parts == NULL) {
                    abort();
                }
                memset(d->parts + d->n_parts, 0, (id + 1 - d->n_parts) * sizeof(struct part *));
                d->n_parts = id + 1;
            }
            d->parts[id] = t->parts[p];
        }
    }
}

void dump_fini(struct dump *d)
{
    free(d->parts);
    d->parts = NULL;
    d->n_parts = 0;
}
