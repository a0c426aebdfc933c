/*
 * weir-sim-groups [--seeds N] [--seed S] [--events N] [--verbose] [--expect-violation]
 *
 * Runs N seeds from S on, each of at least --events events (default 2,000). Prints the first
 * violation with its seed; the same with that seed, --seeds 1 and --verbose replays it. Exit 0
 * clean, 1 violation, 2 invalid: something that should happen never did.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gsim.h"

static const struct {
    const char *name;
    size_t at;
} events[] = {
#define X(name) {#name, offsetof(struct g_events, name)},
    G_EVENTS(X)
#undef X
};
enum { N_EVENTS = sizeof events / sizeof events[0] };

static uint64_t *counter(struct g_events *n, size_t i)
{
    return (uint64_t *)(void *)((char *)n + events[i].at);
}

static bool run_seed(uint64_t seed, unsigned n_events, bool verbose, bool twice,
                     struct g_events *total)
{
    static struct gsim s;
    uint64_t hash;
    bool ok;

    g_run(&s, seed, n_events, verbose);
    hash = s.hash;
    ok = !s.failed;
    if (!ok) {
        printf("SEED %" PRIu64 ": %s\n", seed, s.why);
    }
    for (size_t i = 0; i < N_EVENTS; i++) {
        *counter(total, i) += *counter(&s.n, i);
    }
    g_fini(&s);
    if (ok && twice) {
        g_run(&s, seed, n_events, false);
        if (s.hash != hash) {
            printf("SEED %" PRIu64 ": not the same run twice\n", seed);
            ok = false;
        }
        g_fini(&s);
    }
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, n = 300, violations = 0, seed;
    bool verbose = false, expect = false;
    unsigned n_events = 2000;
    struct g_events total = {0};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            n = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--events") == 0 && i + 1 < argc) {
            n_events = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--expect-violation") == 0) {
            expect = true;
        } else {
            fprintf(stderr, "usage: weir-sim-groups [--seeds N] [--seed S] [--events N] "
                            "[--verbose] [--expect-violation]\n");
            return 2;
        }
    }
    for (seed = first; seed < first + n && violations == 0; seed++) {
        violations += !run_seed(seed, n_events, verbose, seed % 16 == 0, &total);
    }
    printf("sim groups: %" PRIu64 " seeds from %" PRIu64 ", violations %" PRIu64 ";", seed - first,
           first, violations);
    bool invalid = false;
    for (size_t i = 0; i < N_EVENTS; i++) {
        printf(" %s %" PRIu64, events[i].name, *counter(&total, i));
        invalid = invalid || *counter(&total, i) == 0;
    }
    printf("\n");
    if (violations == 0 && n >= 100 && invalid) {
        printf("sim groups: invalid, something never happened\n");
        return 2;
    }
    return (violations > 0) == expect ? 0 : 1;
}
