/*
 * weir doctor.
 * Happy path: every check adds its findings; they are printed; a bad one makes the exit code 1.
 * What can fail: nothing ends the command early; what cannot be looked at is a finding.
 */
#include "client/cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/text.h"

enum { CELL = 1100, WIDE = 250 };

static const char *level_text(enum finding_level level)
{
    return level == FINDING_OK ? "ok" : level == FINDING_WARN ? "warn" : "bad";
}

void report_add(struct report *r, enum finding_level level, const char *check, const char *change,
                const char *found_fmt, ...)
{
    va_list ap;
    if (r->n == REPORT_MAX) {
        return;
    }
    struct finding *f = &r->rows[r->n++];
    f->level = level;
    f->check = check;
    snprintf(f->change, sizeof f->change, "%s", level != FINDING_OK && change ? change : "");
    va_start(ap, found_fmt);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is one line above */
    vsnprintf(f->found, sizeof f->found, found_fmt, ap);
    va_end(ap);
}

static size_t count(const struct report *r, enum finding_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        n += r->rows[i].level == level;
    }
    return n;
}

static void print_text(const struct report *r)
{
    char cell[CELL];
    for (size_t i = 0; i < r->n; i++) {
        const struct finding *f = &r->rows[i];
        printf("%-5s %-14s %s\n", level_text(f->level), f->check,
               text_for_cell(cell, sizeof cell, f->found, strlen(f->found), WIDE));
        if (*f->change) {
            printf("%-20s -> %s\n", "", f->change);
        }
    }
    printf("\n%zu bad, %zu to think about, %zu ok\n", count(r, FINDING_BAD), count(r, FINDING_WARN),
           count(r, FINDING_OK));
}

static void finding_json(struct json *j, const struct finding *f)
{
    json_open(j, NULL, '{');
    json_text(j, "check", f->check);
    json_text(j, "level", level_text(f->level));
    json_text(j, "found", f->found);
    json_text(j, "change", *f->change ? f->change : NULL);
    json_close(j, '}');
}

static void print_json(const struct report *r, const char *dir, bool lines)
{
    struct json j;
    json_init(&j, stdout, !lines);
    if (!lines) {
        json_open(&j, NULL, '{');
        json_text(&j, "data", dir);
        json_bool(&j, "healthy", count(r, FINDING_BAD) == 0);
        json_open(&j, "findings", '[');
    }
    for (size_t i = 0; i < r->n; i++) {
        finding_json(&j, &r->rows[i]);
        if (lines) {
            json_end(&j);
        }
    }
    if (!lines) {
        json_close(&j, ']');
        json_close(&j, '}');
        json_end(&j);
    }
}

int run_doctor(const struct args *a)
{
    const char *dir = a->n_words > 0 ? a->words[0] : "/var/lib/weir";
    const enum output output = args_output(a);
    struct report *r = calloc(1, sizeof *r);
    int code;
    if (!r) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    doctor_disk(r, dir);
    doctor_host(r, doctor_store(r, dir));
    if (output == OUTPUT_TABLE) {
        print_text(r);
    } else {
        print_json(r, dir, output == OUTPUT_JSONL);
    }
    code = count(r, FINDING_BAD) == 0 ? EXIT_DONE : EXIT_REFUSED;
    free(r);
    return code;
}
