/* weir-check: judges the histories of a directory. Exit 0 clean, 1 violation, 2 invalid. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/check/check.h"

enum {
    OPT_JSON = 256,
    OPT_ACKS,
    OPT_FAULT,
    OPT_PLAN,
    OPT_OK,
    OPT_SHOW,
    OPT_EXPLAIN,
    OPT_PROBES,
    OPT_LEASE,
    OPT_KEEPS
};

static const struct option table[] = {
    {"json", 1, NULL, OPT_JSON},          {"report", 1, NULL, OPT_JSON},
    {"need-acks", 1, NULL, OPT_ACKS},     {"need-fault", 1, NULL, OPT_FAULT},
    {"plan", 1, NULL, OPT_PLAN},          {"min-ok-percent", 1, NULL, OPT_OK},
    {"show", 1, NULL, OPT_SHOW},          {"explain", 1, NULL, OPT_EXPLAIN},
    {"min-lease-ms", 1, NULL, OPT_LEASE}, {"no-probes", 0, NULL, OPT_PROBES},
    {"keeps-all", 0, NULL, OPT_KEEPS},    {NULL, 0, NULL, 0}};

static const char usage[] =
    "usage: weir-check [options] DIR      judges the histories DIR/*.hist\n"
    "  --plan quick|full         at least 10,000 or 100,000 acknowledgements (quick)\n"
    "  --need-acks N             or as many as this\n"
    "  --need-fault NAME[=N]     the fault fired N times at least (3); may be repeated\n"
    "  --min-ok-percent N        of the sends that were answered (50)\n"
    "  --min-lease-ms N          no lease or grace time of the run is shorter (10,000)\n"
    "  --no-probes               do not ask for probes after healing\n"
    "  --keeps-all               nothing may be deleted: every log begins at 0\n"
    "  --show N                  violations explained event by event (3)\n"
    "  --json FILE               the figures for programs (also --report)\n"
    "  --explain PRODUCER:COUNTER   prints the events of one message, judges nothing\n"
    "exit: 0 clean, 1 violation, 2 invalid (too little happened, or a damaged history)\n";

struct run {
    struct check_options o;
    const char *json;
    bool acks_given, explain;
    uint32_t producer;
    uint64_t counter;
};

static bool number(const char *text, uint64_t max, uint64_t *v)
{
    char *end = NULL;
    errno = 0;
    *v = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *v <= max && *text != '-';
}

/* NAME or NAME=N; cuts the text. */
static bool add_fault(struct check_options *o, char *text)
{
    struct check_fault *f = &o->faults[o->n_faults];
    char *eq = strchr(text, '=');
    if (o->n_faults == CHECK_MAX_FAULTS || *text == '\0' || eq == text) {
        return false;
    }
    f->name = text;
    f->need = 3;
    o->n_faults++;
    if (eq) {
        *eq = '\0';
        return number(eq + 1, UINT64_MAX, &f->need);
    }
    return true;
}

static bool take(struct run *r, int key, char *v)
{
    uint64_t n = 0;
    bool ok = true;
    switch (key) {
    case OPT_JSON:
        r->json = v;
        return true;
    case OPT_ACKS:
        r->acks_given = true;
        return number(v, UINT64_MAX, &r->o.need_acks);
    case OPT_FAULT:
        return add_fault(&r->o, v);
    case OPT_PLAN:
        if (!r->acks_given) {
            r->o.need_acks = strcmp(v, "full") == 0 ? 100000 : 10000;
        }
        return strcmp(v, "full") == 0 || strcmp(v, "quick") == 0;
    case OPT_OK:
        ok = number(v, 100, &n);
        r->o.min_ok_percent = (unsigned)n;
        return ok;
    case OPT_SHOW:
        ok = number(v, 1000, &n);
        r->o.show = (unsigned)n;
        return ok;
    case OPT_EXPLAIN:
        r->explain = true;
        return sscanf(v, "%" SCNu32 ":%" SCNu64, &r->producer, &r->counter) == 2;
    case OPT_LEASE:
        return number(v, UINT32_MAX, &r->o.min_lease_ms);
    case OPT_KEEPS:
        r->o.keeps_all = true;
        return true;
    case OPT_PROBES:
        r->o.no_probes = true;
        return true;
    default:
        return false;
    }
}

static bool write_json(const struct check *c, const char *path)
{
    FILE *f = fopen(path, "w");
    if (f) {
        check_json(c, f);
    }
    if (!f || fclose(f)) {
        perror(path);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct run r;
    enum check_verdict verdict = CHECK_INVALID;
    int key;
    check_options_default(&r.o);
    r.o.need_activity = true;
    while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (key == '?' || !take(&r, key, optarg)) {
            fputs(usage, stderr);
            return CHECK_INVALID;
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return CHECK_INVALID;
    }
    struct check *c = check_new(&r.o);
    if (!c) {
        return CHECK_INVALID;
    }
    check_load(c, argv[optind]);
    if (r.explain) {
        check_explain(c, stdout, r.producer, r.counter);
        verdict = check_reason(c, 0) ? CHECK_INVALID : CHECK_CLEAN;
    } else {
        verdict = check_judge(c);
        check_print(c, stdout);
    }
    if (r.json && !write_json(c, r.json)) {
        verdict = CHECK_INVALID;
    }
    check_free(c);
    return (int)verdict;
}
