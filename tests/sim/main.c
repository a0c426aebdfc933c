/*
 * weir-sim [--seeds N] [--seed S] [--verbose] [--expect-violation]
 *
 * Runs N seeds from S on. Prints the first violation with its seed; the same command with that seed
 * and --seeds 1 --verbose replays it, event by event.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct totals {
    uint64_t acked, read, crashes, power_cuts, refused, duplicates, unknown, faults, reregister,
        deletes, trimmed, fenced, lost_os;
};

static void add(struct totals *t, const struct sim *s)
{
    t->acked += s->n_acked;
    t->read += s->n_read;
    t->crashes += s->n_crashes;
    t->power_cuts += s->n_power_cuts;
    t->refused += s->n_refused;
    t->duplicates += s->n_duplicates;
    t->unknown += s->n_unknown;
    t->faults += s->n_faults;
    t->reregister += s->n_reregister;
    t->deletes += s->n_deletes;
    t->trimmed += s->n_trimmed;
    t->fenced += s->n_fenced;
    t->lost_os += s->n_lost_os;
}

/* Returns false on a violation, or when the run is not the same the second time. */
static bool run_seed(uint64_t seed, bool verbose, bool twice, struct totals *t)
{
    static struct sim s;
    uint64_t hash;
    bool ok;

    sim_run(&s, seed, verbose);
    hash = s.hash;
    ok = !s.failed;
    if (!ok) {
        printf("SEED %" PRIu64 ": %s\n", seed, s.why);
    }
    add(t, &s);
    sim_fini(&s);
    if (ok && twice) {
        sim_run(&s, seed, false);
        if (s.hash != hash) {
            printf("SEED %" PRIu64 ": not the same run twice\n", seed);
            ok = false;
        }
        sim_fini(&s);
    }
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, n = 300, violations = 0;
    bool verbose = false, expect = false;
    struct totals t = {0};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            n = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--expect-violation") == 0) {
            expect = true;
        } else {
            fprintf(stderr, "usage: weir-sim [--seeds N] [--seed S] [--verbose] "
                            "[--expect-violation]\n");
            return 2;
        }
    }
    uint64_t seed = first;
    for (; seed < first + n && violations == 0; seed++) {
        violations += !run_seed(seed, verbose, seed % 16 == 0, &t);
    }
    printf("sim: %" PRIu64 " seeds from %" PRIu64 ", acked %" PRIu64 ", read %" PRIu64
           ", crashes %" PRIu64 " (power cuts %" PRIu64 "), faults %" PRIu64 ", refused %" PRIu64
           ", unknown %" PRIu64 ", duplicates answered %" PRIu64 ", fenced %" PRIu64
           ", re-registered %" PRIu64 ", os records lost %" PRIu64 ", topics deleted %" PRIu64
           ", trimmed %" PRIu64 ", violations %" PRIu64 "\n",
           seed - first, first, t.acked, t.read, t.crashes, t.power_cuts, t.faults, t.refused,
           t.unknown, t.duplicates, t.fenced, t.reregister, t.lost_os, t.deletes, t.trimmed,
           violations);
    if (violations == 0 && n >= 100 &&
        (t.acked == 0 || t.power_cuts == 0 || t.faults == 0 || t.refused == 0 ||
         t.duplicates == 0 || t.fenced == 0 || t.trimmed == 0)) {
        printf("sim: invalid, something never happened\n");
        return 2;
    }
    return (violations > 0) == expect ? 0 : 1;
}
