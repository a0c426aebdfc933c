/*
 * After healing: does everything work again, and did every group reach the end (A10). And was there
 * enough to judge at all: acknowledgements, faults that fired, a last reader and a director that
 * ended well.
 */
#include "tests/faults/check/impl.h"

enum { PROBE_MS = 10000 };

static const char *probe_name(uint64_t probe)
{
    switch (probe) {
    case HIST_PROBE_PRODUCE:
        return "produce";
    case HIST_PROBE_FETCH:
        return "fetch";
    case HIST_PROBE_JOIN:
        return "join";
    default:
        return "unknown probe";
    }
}

static void judge_probe(struct check *c, const struct hist_event *e)
{
    const struct found v = {.what = CHECK_PROBE, .msg = NONE, .part = NONE, .ev = {e}};
    c->f.slowest_probe_ms = e->extra > c->f.slowest_probe_ms ? e->extra : c->f.slowest_probe_ms;
    if (e->outcome != HIST_OK || e->extra > PROBE_MS) {
        report(c, &v, "%s %s after %u ms", probe_name(e->counter),
               e->outcome == HIST_OK ? "worked only" : "did not work", e->extra);
    }
}

/* When faults stopped for good; INT64_MAX: never. */
static int64_t healed(const struct check *c)
{
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < c->n_director; i++) {
        at = c->director[i]->kind == HIST_HEAL ? c->director[i]->at_ns : at;
    }
    return at;
}

void judge_live(struct check *c)
{
    const int64_t since = healed(c);
    bool seen[HIST_PROBE_JOIN + 1] = {false};
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; k < h->n; k++) {
            const struct hist_event *e = &h->events[k];
            if (e->kind == HIST_PROBE) {
                judge_probe(c, e);
                if (e->counter <= HIST_PROBE_JOIN && e->at_ns > since) {
                    seen[e->counter] = true;
                }
            } else if (e->kind == HIST_UNSEEN && e->counter > 0) {
                const struct found v = {.what = CHECK_UNSEEN, .msg = NONE, .part = NONE, .ev = {e}};
                report(c, &v, "%s %u: %llu messages to go when it should have had all",
                       e->group ? "group" : "reader", e->group ? e->group : h->number,
                       (unsigned long long)e->counter);
            }
        }
    }
    for (uint64_t p = HIST_PROBE_PRODUCE; !c->o.no_probes && p <= HIST_PROBE_JOIN; p++) {
        if (!seen[p]) {
            invalid(c, "no probe of %s after healing", probe_name(p));
        }
    }
}

/* ---------------------------------------------------------------- validity */

static void look_at_files(struct check *c)
{
    bool director = false, reader = false;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct file *f = &c->files[i];
        const bool needed = f->h.role == HIST_DIRECTOR || f->h.role == HIST_LAST_READER;
        director = director || f->h.role == HIST_DIRECTOR;
        reader = reader || f->h.role == HIST_LAST_READER;
        if (needed && !f->h.ended) {
            invalid(c, "%s has no end", f->name);
        }
    }
    if (!director) {
        invalid(c, "no history of a director");
    }
    if (!reader) {
        invalid(c, "no final read");
    }
}

/* True when the director looked whether the group had everything. */
static bool was_looked_at(const struct check *c, uint32_t group)
{
    for (size_t i = 0; i < c->n_director; i++) {
        if (c->director[i]->kind == HIST_UNSEEN && c->director[i]->group == group) {
            return true;
        }
    }
    return false;
}

/* Clients that were there and did nothing prove nothing. */
static void look_at_roles(struct check *c)
{
    const struct check_figures *f = &c->f;
    bool there[HIST_DIRECTOR + 1] = {false};
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        const bool member = h->role == HIST_MEMBER || h->role == HIST_WORKER;
        there[h->role <= HIST_DIRECTOR ? h->role : 0] = true;
        if (member && h->n && !was_looked_at(c, h->events[0].group)) {
            invalid(c, "nobody looked whether group %u had everything", h->events[0].group);
        }
    }
    if (there[HIST_READER] && f->read == 0) {
        invalid(c, "no reader was handed anything");
    }
    if (there[HIST_OBSERVER] && f->watermarks == 0) {
        invalid(c, "no observer was told a watermark");
    }
    if (there[HIST_MEMBER] && (f->gained == 0 || f->commits == 0)) {
        invalid(c, "no member got a partition and committed");
    }
    if (there[HIST_WORKER] && f->settles == 0) {
        invalid(c, "no worker settled anything");
    }
}

static void look_at_faults(struct check *c)
{
    for (size_t i = 0; i < c->n_director; i++) {
        const struct hist_event *e = c->director[i];
        c->f.starts += e->kind == HIST_START;
        if (e->kind == HIST_START && e->extra > c->f.slowest_start_ms) {
            c->f.slowest_start_ms = e->extra;
        }
        c->f.faults += e->kind == HIST_FAULT;
        for (size_t k = 0; e->kind == HIST_FAULT && k < c->o.n_faults; k++) {
            c->fired[k] += e->counter == hist_name(c->o.faults[k].name);
        }
    }
    for (size_t k = 0; k < c->o.n_faults; k++) {
        if (c->fired[k] < c->o.faults[k].need) {
            invalid(c, "fault %s fired %llu times, not %llu", c->o.faults[k].name,
                    (unsigned long long)c->fired[k], (unsigned long long)c->o.faults[k].need);
        }
    }
}

void judge_valid(struct check *c)
{
    uint64_t answered = 0;
    look_at_files(c);
    look_at_faults(c);
    if (c->o.need_activity) {
        look_at_roles(c);
    }
    for (uint32_t i = 0; i < c->n_messages; i++) {
        answered += c->messages[i].sent != NULL;
    }
    if (c->f.ok < c->o.need_acks) {
        invalid(c, "%llu acknowledgements, not %llu", (unsigned long long)c->f.ok,
                (unsigned long long)c->o.need_acks);
    }
    if (c->f.ok * 100 < answered * c->o.min_ok_percent) {
        invalid(c, "%llu of %llu answers were ok, less than %u %%", (unsigned long long)c->f.ok,
                (unsigned long long)answered, c->o.min_ok_percent);
    }
}
