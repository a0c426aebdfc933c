/*
 * The smallest history that shows a violation: every event of that value and of its place, the
 * evidence, and what happened in that partition just before and after. One event a line, in the
 * order of time:
 *
 *   >   12.345678 producer-3   sent       t1[2] offset 17 value 3:1204 ok duplicate op 1204
 */
#include "tests/faults/check/impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { AROUND = 20, FAULTS_SHOWN = 20 };

/* What is looked for. */
struct subject {
    uint32_t producer, part;
    uint64_t counter;
    const struct hist_event *const *ev; /* EVIDENCE of them */
    int64_t offset;                     /* of its place; -1 = none */
    bool has_value;
};

struct line {
    const struct hist_event *e;
    char mark; /* '>' evidence, '*' of that value or place, '!' fault, ' ' around */
};

/* ---------------------------------------------------------------- one event */

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {
        [HIST_SEND] = "send",           [HIST_SENT] = "sent",
        [HIST_READ] = "read",           [HIST_FINAL] = "final",
        [HIST_FINAL_RANGE] = "range",   [HIST_HW] = "watermark",
        [HIST_SUB_ERROR] = "sub error", [HIST_JOIN] = "join",
        [HIST_GAINED] = "gained",       [HIST_LOST] = "lost",
        [HIST_LEFT] = "left",           [HIST_DELIVERED] = "delivered",
        [HIST_COMMIT] = "commit",       [HIST_COMMITTED] = "committed",
        [HIST_POSITION] = "position",   [HIST_SETTLE] = "settle",
        [HIST_SETTLED] = "settled",     [HIST_SEEK] = "seek",
        [HIST_SEEK_DONE] = "seek done", [HIST_FAULT] = "fault",
        [HIST_START] = "start",         [HIST_HEAL] = "heal",
        [HIST_PROBE] = "probe",         [HIST_UNSEEN] = "unseen",
        [HIST_CUT] = "power cut"};
    return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "?";
}

static const char *role_name(enum hist_role role)
{
    static const char *const names[] = {
        [HIST_PRODUCER] = "producer", [HIST_READER] = "reader",
        [HIST_MEMBER] = "member",     [HIST_WORKER] = "worker",
        [HIST_OBSERVER] = "observer", [HIST_LAST_READER] = "last-reader",
        [HIST_DIRECTOR] = "director"};
    const size_t i = (size_t)role;
    return i < sizeof(names) / sizeof(names[0]) && names[i] ? names[i] : "client";
}

static const char *outcome_name(uint8_t outcome)
{
    return outcome == HIST_OK ? "ok" : outcome == HIST_FAIL ? "fail" : "unknown";
}

static const char *verdict_word(uint32_t verdict)
{
    static const char *const names[] = {"ack", "nack", "release", "dead"};
    return verdict < 4 ? names[verdict] : "?";
}

static bool has_value(const struct hist_event *e)
{
    return e->kind == HIST_SEND || e->kind == HIST_SENT || e->kind == HIST_READ ||
           e->kind == HIST_FINAL || e->kind == HIST_DELIVERED;
}

static bool is_answer(const struct hist_event *e)
{
    return e->kind == HIST_SENT || e->kind == HIST_COMMITTED || e->kind == HIST_SETTLED ||
           e->kind == HIST_SEEK_DONE || e->kind == HIST_PROBE;
}

/* What its counter and extra mean, kind by kind. */
static void details(const struct check *c, FILE *out, const struct hist_event *e, int64_t zero)
{
    switch ((enum hist_kind)e->kind) {
    case HIST_SEND:
        fprintf(out, " %s", e->extra == HIST_WRITTEN ? "written" : "durable");
        if (e->generation) {
            fprintf(out, " not before %.6f", (double)((int64_t)e->generation - zero) / 1e9);
        }
        break;
    case HIST_FINAL:
    case HIST_FINAL_RANGE:
        fprintf(out, " pass %" PRIu32, e->extra);
        if (e->kind == HIST_FINAL_RANGE) {
            fprintf(out, " end %" PRIu64, e->counter);
        }
        break;
    case HIST_HW:
    case HIST_POSITION:
        fprintf(out, " asked at %.6f", (double)((int64_t)e->counter - zero) / 1e9);
        break;
    case HIST_DELIVERED:
        fprintf(out, " deliveries %" PRIu32, e->extra);
        break;
    case HIST_SETTLE:
    case HIST_SETTLED:
        fprintf(out, " %s", verdict_word(e->extra));
        break;
    case HIST_FAULT:
        for (size_t i = 0; i < c->o.n_faults; i++) {
            if (hist_name(c->o.faults[i].name) == e->counter) {
                fprintf(out, " %s", c->o.faults[i].name);
                return;
            }
        }
        fprintf(out, " %016" PRIx64, e->counter);
        break;
    case HIST_UNSEEN:
        fprintf(out, " %" PRIu64 " messages", e->counter);
        break;
    case HIST_SENT:
    case HIST_SUB_ERROR:
        if (e->extra) {
            fprintf(out, " code %" PRIu32, e->extra);
        }
        break;
    case HIST_JOIN:
        fprintf(out, " membership %" PRIu32, e->extra);
        break;
    case HIST_READ:
        fprintf(out, " subscription %" PRIu32, e->extra);
        break;
    case HIST_START:
    case HIST_PROBE:
        fprintf(out, " %" PRIu32 " ms", e->extra);
        break;
    case HIST_NONE:
    case HIST_BEGIN:
    case HIST_END:
    case HIST_GAINED:
    case HIST_LOST:
    case HIST_LEFT:
    case HIST_COMMIT:
    case HIST_COMMITTED:
    case HIST_SEEK:
    case HIST_SEEK_DONE:
    case HIST_HEAL:
    case HIST_CUT:
    default:
        break;
    }
}

/* The first event of the run: times are told from there. */
static int64_t zero_of(const struct check *c)
{
    int64_t zero = INT64_MAX;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        if (h->n && h->events[0].at_ns < zero) {
            zero = h->events[0].at_ns;
        }
    }
    return zero;
}

void explain_event(const struct check *c, FILE *out, const struct hist_event *e, char mark)
{
    const int64_t zero = zero_of(c);
    const uint32_t file = index_file(c, e);
    const struct hist_file *h = file == NONE ? NULL : &c->files[file].h;
    char who[64];
    snprintf(who, sizeof(who), "%s-%" PRIu32, role_name(h ? h->role : (enum hist_role)0),
             h ? h->number : 0);
    fprintf(out, "  %c %12.6f %-14s %-9s", mark, (double)(e->at_ns - zero) / 1e9, who,
            kind_name(e->kind));
    if (e->partition >= 0 && e->topic) {
        fprintf(out, " t%u[%d]", e->topic, e->partition);
    }
    if (e->offset >= 0) {
        fprintf(out, " offset %" PRId64, e->offset);
    }
    if (has_value(e)) {
        fprintf(out, " value %" PRIu32 ":%" PRIu64, e->producer, e->counter);
    }
    if (e->group) {
        fprintf(out, " group %" PRIu32, e->group);
    }
    if (e->generation && e->kind != HIST_SEND) {
        fprintf(out, " generation %" PRIu64, e->generation);
    }
    if (is_answer(e)) {
        fprintf(out, " %s", outcome_name(e->outcome));
    }
    details(c, out, e, zero);
    fprintf(out, "%s%s%s", e->flags & HIST_DUPLICATE ? " duplicate" : "",
            e->flags & HIST_BAD_VALUE ? " bad value" : "",
            e->flags & HIST_DROPPED ? " dropped" : "");
    if (e->op) {
        fprintf(out, " op %" PRIu64, e->op);
    }
    fputc('\n', out);
}

/* ---------------------------------------------------------------- which events */

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return (x->e->at_ns > y->e->at_ns) - (x->e->at_ns < y->e->at_ns);
}

static char mark_of(const struct check *c, const struct subject *s, const struct hist_event *e)
{
    for (size_t i = 0; i < EVIDENCE; i++) {
        if (s->ev && s->ev[i] == e) {
            return '>';
        }
    }
    if (s->has_value && has_value(e) && !(e->flags & HIST_BAD_VALUE) &&
        e->producer == s->producer && e->counter == s->counter) {
        return '*';
    }
    if (s->part == NONE || e->partition < 0 || index_part(c, e->topic, e->partition) != s->part) {
        return e->kind == HIST_FAULT || e->kind == HIST_START || e->kind == HIST_CUT ? '!' : 0;
    }
    return s->offset >= 0 && e->offset == s->offset ? '*' : ' ';
}

/* Everything that is about the subject or its partition. @gives */
static struct line *gather(const struct check *c, const struct subject *s, size_t *n)
{
    size_t room = 0;
    struct line *l = NULL;
    *n = 0;
    for (int fill = 0; fill < 2; fill++) {
        for (size_t i = 0; i < c->n_files; i++) {
            const struct hist_file *h = &c->files[i].h;
            for (size_t k = 0; k < h->n; k++) {
                const char mark = mark_of(c, s, &h->events[k]);
                room += mark && !fill;
                if (mark && fill) {
                    l[(*n)++] = (struct line){.e = &h->events[k], .mark = mark};
                }
            }
        }
        l = fill ? l : check_alloc(room, sizeof(*l));
    }
    qsort(l, *n, sizeof(*l), by_time);
    return l;
}

static bool is_marked(const struct line *l)
{
    return l->mark == '>' || l->mark == '*';
}

/* Prints what is marked, AROUND lines of the partition before and after `centre`, and the faults
 * between the first and the last of what is marked. */
static void print_lines(const struct check *c, FILE *out, const struct line *l, size_t n,
                        const struct hist_event *centre)
{
    size_t at = 0, skipped = 0, first = 0, last = n, faults = 0;
    while (at < n && l[at].e != centre) {
        at++;
    }
    while (first < n && !is_marked(&l[first])) {
        first++;
    }
    while (last > first && !is_marked(&l[last - 1])) {
        last--;
    }
    for (size_t i = 0; i < n; i++) {
        const bool fault = l[i].mark == '!' && i > first && i < last && faults++ < FAULTS_SHOWN;
        const bool near = centre && at < n && i + AROUND >= at && i <= at + AROUND;
        if (!is_marked(&l[i]) && !near && !fault) {
            skipped++;
            continue;
        }
        if (skipped) {
            fprintf(out, "    ... %zu events\n", skipped);
        }
        skipped = 0;
        explain_event(c, out, l[i].e, l[i].mark);
    }
    if (skipped) {
        fprintf(out, "    ... %zu events\n", skipped);
    }
}

void explain_violation(const struct check *c, FILE *out, const struct violation *v)
{
    const struct hist_event *e = v->ev[0];
    const struct check_rule *r = check_rule(v->what);
    const bool value = v->msg != NONE;
    const struct subject s = {
        .part = v->part,
        .has_value = value,
        .producer = value ? c->messages[v->msg].send->producer : 0,
        .counter = value ? c->messages[v->msg].send->counter : 0,
        .offset = e && has_value(e) ? e->offset : -1,
        .ev = v->ev,
    };
    size_t n = 0;
    struct line *l = gather(c, &s, &n);
    fprintf(out, "\n%s %s: %s\n  %s\n", r->family, r->name, r->text, v->text);
    print_lines(c, out, l, n, e);
    fputc('\n', out);
    free(l);
}

void check_explain(const struct check *c, FILE *out, uint32_t producer, uint64_t counter)
{
    struct subject s = {
        .producer = producer, .counter = counter, .has_value = true, .part = NONE, .offset = -1};
    size_t n = 0;
    for (size_t i = 0; i < c->n_seen; i++) {
        const struct hist_event *e = c->seen[i].e;
        if (e->producer == producer && e->counter == counter && !(e->flags & HIST_BAD_VALUE)) {
            s.part = c->seen[i].part;
            s.offset = e->offset;
            break;
        }
    }
    struct line *l = gather(c, &s, &n);
    print_lines(c, out, l, n, NULL);
    free(l);
}
