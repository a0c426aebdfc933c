#ifndef WEIR_BENCH_DEMO_REPORT_H
#define WEIR_BENCH_DEMO_REPORT_H
/* The end of the demo: the judge is called, and its verdict printed with what was measured. */
#include "bench/demo/options.h"
#include "bench/demo/series.h"

/* What the director measured beside the series. */
struct director_facts {
    uint32_t kills;
    double ready_s[DEMO_MAX_EPOCHS];     /* start of the new server until it was ready */
    double first_ack_s[DEMO_MAX_EPOCHS]; /* ... until a producer got an answer; 0 = none */
    double produce_s, total_s;           /* first message until the last answer / delivery */
};

/* What the judge said. */
struct verdict {
    int exit_code; /* 0 clean, 1 broken promises, 2 no verdict */
    uint64_t acked, failed, unknown, delivered, unknown_delivered, kills;
    uint64_t lost, duplicated, out_of_order, corrupted, phantom, rewritten, misplaced;
    uint64_t p50_us, p90_us, p99_us, p999_us, max_us;
    char remarks[1024]; /* its lines for a person */
};

/** Runs weir-judge over work_dir/hist. */
void report_judge(struct verdict *v, const struct options *o, const char *work_dir);
/** Prints the table and, as the last line, the sentence of the demo. */
void report_print(const struct verdict *v, const struct options *o, const struct series *s,
                  const struct director_facts *f);

#endif
