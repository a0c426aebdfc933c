/*
 * Happy path: check_new, check_load maps every *.hist of a directory (sorted by name, so that a
 * report does not depend on the directory), check_judge calls one judge after the other.
 * What can fail: a history that cannot be read. Nothing is judged then: what it would have shown
 * may be the excuse of what others show.
 * Who owns what: struct check owns all arrays and the mapped files.
 */
#include "tests/faults/check/impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void check_options_default(struct check_options *o)
{
    memset(o, 0, sizeof(*o));
    o->need_acks = 10000;
    o->min_ok_percent = 50;
    o->min_lease_ms = 10000;
    o->show = 3;
}

void *check_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) {
        fprintf(stderr, "weir-check: out of memory\n");
        abort();
    }
    return p;
}

struct check *check_new(const struct check_options *o)
{
    struct check *c = calloc(1, sizeof(*c));
    if (c) {
        c->o = *o;
        c->kept = check_alloc((size_t)CHECK_ANOMALIES * KEEP, sizeof(*c->kept));
    }
    return c;
}

void check_free(struct check *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->n_files; i++) {
        hist_unload(&c->files[i].h);
    }
    for (size_t t = 0; t < sizeof(c->part_of) / sizeof(c->part_of[0]); t++) {
        free(c->part_of[t]);
    }
    for (int pass = 0; pass < PASSES; pass++) {
        free(c->finals[pass]);
    }
    free(c->files);
    free(c->parts);
    free(c->messages);
    free(c->producers);
    free(c->seen);
    free(c->asks);
    free(c->seeks);
    free(c->director);
    free(c->kept);
    free(c);
}

/* ---------------------------------------------------------------- loading */

static int is_history(const struct dirent *d)
{
    const size_t n = strlen(d->d_name);
    return n > 5 && strcmp(d->d_name + n - 5, ".hist") == 0;
}

static void load_one(struct check *c, const char *dir, const char *name)
{
    struct file *f = &c->files[c->n_files];
    char path[4096], err[CHECK_TEXT];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(f->name, sizeof(f->name), "%s", name);
    if (hist_load(&f->h, path, err, sizeof(err))) {
        invalid(c, "damaged history: %s", err);
        c->damaged = true;
        return;
    }
    c->n_files++;
    if (f->h.run != c->files[0].h.run) {
        invalid(c, "%s is of run %llx, %s of run %llx", name, (unsigned long long)f->h.run,
                c->files[0].name, (unsigned long long)c->files[0].h.run);
        c->damaged = true;
    }
}

int check_load(struct check *c, const char *dir)
{
    struct dirent **names = NULL;
    const int n = scandir(dir, &names, is_history, alphasort);
    if (n < 0) {
        invalid(c, "%s: %s", dir, strerror(errno));
        c->damaged = true;
        return -1;
    }
    c->files = check_alloc((size_t)n, sizeof(*c->files));
    for (int i = 0; i < n; i++) {
        load_one(c, dir, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    if (n == 0) {
        invalid(c, "%s: no histories", dir);
        c->damaged = true;
    }
    c->damaged = !index_build(c) || c->damaged;
    return 0;
}

enum check_verdict check_judge(struct check *c)
{
    uint64_t found = 0;
    if (c->damaged) {
        return CHECK_INVALID;
    }
    judge_final(c);
    judge_acks(c);
    judge_produce(c);
    judge_read(c);
    judge_log(c);
    judge_queue(c);
    judge_live(c);
    judge_valid(c);
    for (size_t a = 0; a < CHECK_ANOMALIES; a++) {
        found += c->count[a];
    }
    if (found) {
        return CHECK_VIOLATION;
    }
    return c->n_reasons ? CHECK_INVALID : CHECK_CLEAN;
}

const struct check_figures *check_figures(const struct check *c)
{
    return &c->f;
}

uint64_t check_count(const struct check *c, enum check_anomaly a)
{
    return c->count[a];
}

const char *check_reason(const struct check *c, size_t i)
{
    return i < c->n_reasons ? c->reasons[i] : NULL;
}
