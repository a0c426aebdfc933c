/*
 * What was found: counted, the first of each kind kept with a sentence, printed as a table for
 * people and as JSON for run.py.
 */
#include "tests/faults/check/impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static const struct check_rule rules[CHECK_ANOMALIES] = {
    [CHECK_LOST] = {"A1", "lost", "acknowledged as durable, not in the final read"},
    [CHECK_LOST_WRITTEN] = {"A1", "lost_written",
                            "acknowledged as written, lost without a power cut"},
    [CHECK_LOST_HOLE] = {"A1", "lost_hole",
                         "written, lost by a power cut that later ones survived"},
    [CHECK_TRIMMED] = {"A1", "trimmed", "the log does not begin at 0, and nothing may be deleted"},
    [CHECK_DUPLICATE] = {"A2", "duplicate", "one value at two offsets"},
    [CHECK_DUP_ANSWER] = {"A2", "dup_answer", "a duplicate answered with another offset"},
    [CHECK_REORDER] = {"A3", "reorder", "a producer's messages not in the order of sending"},
    [CHECK_DAMAGED] = {"A4", "damaged", "a value that is no message of this run"},
    [CHECK_NEVER_SENT] = {"A4", "never_sent", "a value that nobody had sent"},
    [CHECK_FAILED_SEEN] = {"A4", "failed_seen", "answered as not done, and seen"},
    [CHECK_EARLY] = {"A4", "early", "a delayed message before its time"},
    [CHECK_TWO_VALUES] = {"A5", "two_values", "one offset showed two values"},
    [CHECK_MISPLACED] = {"A5", "misplaced", "not where the answer said"},
    [CHECK_HOLE] = {"A6", "hole", "offsets missing inside the log"},
    [CHECK_OFFSET_REUSED] = {"A6", "offset_reused",
                             "an offset at or below one acknowledged before"},
    [CHECK_DOUBLE_OWNER] = {"A7", "double_owner", "two members got a partition in one generation"},
    [CHECK_STALE_COMMIT] = {"A7", "stale_commit", "a commit of an older generation was accepted"},
    [CHECK_UNOWNED] = {"A7", "unowned", "delivered to a member that had not got the partition"},
    [CHECK_EPOCH_BACK] = {"A7", "epoch_back", "who joined later did not get a greater generation"},
    [CHECK_ACKED_AGAIN] = {"A7", "acked_again", "acknowledged, and delivered to the group again"},
    [CHECK_LEASED_TWICE] = {"A7", "leased_twice", "delivered to another while leased"},
    [CHECK_POSITION_BACK] = {"A8", "position_back",
                             "a position below one committed or told before"},
    [CHECK_COMMIT_BACK] = {"A8", "commit_back", "a commit below an earlier one was accepted"},
    [CHECK_GAINED_BACK] = {"A8", "gained_back", "a new owner was sent back below a commit"},
    [CHECK_POSITION_PAST] = {"A8", "position_past", "a position beyond the high watermark"},
    [CHECK_POSITION_AHEAD] = {"A8", "position_ahead",
                              "a position beyond all commits that were asked for"},
    [CHECK_READ_SKIP] = {"A9", "read_skip", "a reader was led past messages that are there"},
    [CHECK_READ_BACK] = {"A9", "read_back", "a reader was led back"},
    [CHECK_SILENT_RESET] = {"A9", "silent_reset",
                            "a reader was led past what retention took, untold"},
    [CHECK_HW_BACK] = {"A9", "hw_back", "a high watermark below one told before"},
    [CHECK_SEEN_LOST] = {"A9", "seen_lost", "seen by a reader, and gone"},
    [CHECK_UNSEEN] = {"A10", "unseen", "a group that did not reach the end"},
    [CHECK_UNDELIVERED] = {"A10", "undelivered", "a group reached the end without this message"},
    [CHECK_UNSETTLED] = {"A10", "unsettled",
                         "a queue was drained, and nobody had acknowledged this message"},
    [CHECK_PROBE] = {"A10", "probe",
                     "produce, fetch or join failed or took over 10 s after healing"},
};

const struct check_rule *check_rule(enum check_anomaly a)
{
    return &rules[a];
}

/* ---------------------------------------------------------------- collecting */

void report(struct check *c, const struct found *f, const char *format, ...)
{
    va_list ap;
    if (c->count[f->what]++ >= KEEP) {
        return;
    }
    struct violation *v = &c->kept[c->n_kept++];
    v->what = f->what;
    v->msg = f->msg;
    v->part = f->part;
    memcpy(v->ev, f->ev, sizeof(v->ev));
    va_start(ap, format);
    vsnprintf(v->text, sizeof(v->text), format, ap);
    va_end(ap);
}

void invalid(struct check *c, const char *format, ...)
{
    va_list ap;
    if (c->n_reasons == CHECK_MAX_REASONS) {
        return;
    }
    va_start(ap, format);
    vsnprintf(c->reasons[c->n_reasons++], CHECK_TEXT, format, ap);
    va_end(ap);
}

/* ---------------------------------------------------------------- figures */

struct figure {
    const char *name;
    size_t at; /* in struct check_figures */
};

#define FIGURE(field)                                 \
    {                                                 \
#field, offsetof(struct check_figures, field) \
    }
static const struct figure figures[] = {FIGURE(files),
                                        FIGURE(events),
                                        FIGURE(producers),
                                        FIGURE(partitions),
                                        FIGURE(sent),
                                        FIGURE(ok),
                                        FIGURE(fail),
                                        FIGURE(unknown),
                                        FIGURE(unknown_seen),
                                        FIGURE(duplicate_answers),
                                        FIGURE(written),
                                        FIGURE(written_lost),
                                        FIGURE(in_final),
                                        FIGURE(read),
                                        FIGURE(delivered),
                                        FIGURE(late_deliveries),
                                        FIGURE(joins),
                                        FIGURE(gained),
                                        FIGURE(commits),
                                        FIGURE(settles),
                                        FIGURE(positions),
                                        FIGURE(watermarks),
                                        FIGURE(faults),
                                        FIGURE(starts),
                                        FIGURE(cuts),
                                        FIGURE(slowest_probe_ms),
                                        FIGURE(slowest_start_ms)};
enum { N_FIGURES = sizeof(figures) / sizeof(figures[0]) };

static uint64_t value_of(const struct check *c, const struct figure *f)
{
    uint64_t v;
    memcpy(&v, (const char *)&c->f + f->at, sizeof(v));
    return v;
}

static uint64_t found(const struct check *c)
{
    uint64_t n = 0;
    for (size_t a = 0; a < CHECK_ANOMALIES; a++) {
        n += c->count[a];
    }
    return n;
}

static const char *verdict_name(const struct check *c)
{
    return found(c) ? "violation" : c->n_reasons ? "invalid" : "clean";
}

void check_print(const struct check *c, FILE *out)
{
    unsigned shown = 0;
    for (size_t i = 0; i < N_FIGURES; i++) {
        fprintf(out, "%s%-18s %10" PRIu64,
                i % 3 ? "   "
                : i   ? "\n"
                      : "",
                figures[i].name, value_of(c, &figures[i]));
    }
    fputc('\n', out);
    for (size_t a = 0; a < CHECK_ANOMALIES; a++) {
        if (c->count[a]) {
            fprintf(out, "%-4s %-14s %10" PRIu64 "   %s\n", rules[a].family, rules[a].name,
                    c->count[a], rules[a].text);
        }
    }
    /* One of each kind is worth more than many of the first. */
    uint64_t told[CHECK_ANOMALIES] = {0};
    for (size_t i = 0; i < c->n_kept && shown < c->o.show; i++) {
        if (!told[c->kept[i].what]++) {
            explain_violation(c, out, &c->kept[i]);
            shown++;
        }
    }
    for (size_t i = 0; i < c->n_reasons; i++) {
        fprintf(out, "invalid: %s\n", c->reasons[i]);
    }
    fprintf(out, "weir-check: %s\n", verdict_name(c));
}

/* ---------------------------------------------------------------- JSON */

static void json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
    }
    fputc('"', out);
}

static void json_violations(const struct check *c, FILE *out)
{
    fprintf(out, "  \"violations\": [");
    for (size_t i = 0; i < c->n_kept; i++) {
        const struct violation *v = &c->kept[i];
        const struct hist_event *e = v->ev[0];
        fprintf(out, "%s\n    {\"family\": \"%s\", \"name\": \"%s\"", i ? "," : "",
                rules[v->what].family, rules[v->what].name);
        if (v->part != NONE) {
            fprintf(out, ", \"topic\": %u, \"partition\": %d", c->parts[v->part].topic,
                    c->parts[v->part].partition);
        }
        if (e) {
            fprintf(out,
                    ", \"offset\": %" PRId64 ", \"producer\": %" PRIu32 ", \"counter\": %" PRIu64
                    ", \"group\": %" PRIu32,
                    e->offset, e->producer, e->counter, e->group);
        }
        fprintf(out, ", \"text\": ");
        json_text(out, v->text);
        fputc('}', out);
    }
    fprintf(out, "\n  ]\n");
}

void check_json(const struct check *c, FILE *out)
{
    fprintf(out, "{\n  \"verdict\": \"%s\",\n  \"invalid\": [", verdict_name(c));
    for (size_t i = 0; i < c->n_reasons; i++) {
        fputs(i ? ", " : "", out);
        json_text(out, c->reasons[i]);
    }
    fprintf(out, "],\n  \"counts\": {");
    for (size_t i = 0; i < N_FIGURES; i++) {
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", figures[i].name,
                value_of(c, &figures[i]));
    }
    fprintf(out, "},\n  \"fired\": {");
    for (size_t i = 0; i < c->o.n_faults; i++) {
        fputs(i ? ", " : "", out);
        json_text(out, c->o.faults[i].name);
        fprintf(out, ": %" PRIu64, c->fired[i]);
    }
    fprintf(out, "},\n  \"anomalies\": {");
    for (size_t a = 0; a < CHECK_ANOMALIES; a++) {
        fprintf(out, "%s\"%s.%s\": %" PRIu64, a ? ", " : "", rules[a].family, rules[a].name,
                c->count[a]);
    }
    fprintf(out, "},\n");
    json_violations(c, out);
    fprintf(out, "}\n");
}
