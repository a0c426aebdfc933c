#ifndef WEIR_BENCH_DEMO_OPTIONS_H
#define WEIR_BENCH_DEMO_OPTIONS_H
/* What weir-demo is asked to do. */
#include <stdbool.h>
#include <stdint.h>

#include "bench/demo/board.h"

struct options {
    uint64_t messages;
    double seconds; /* how long draining all messages takes at the consumers' pace */
    uint32_t producers, consumers, bursts, kills, down_ms;
    uint64_t seed;
    bool keep, plain, ascii, power_loss;
    const char *power_data, *power_names; /* variants of powerloss-apply */
    char bin_dir[DEMO_PATH_BYTES], server_bin[DEMO_PATH_BYTES + 32], data_path[DEMO_PATH_BYTES];
    const char *dir; /* where the temporary directory goes */
};

/** Reads the command line. @return -1 = go on, else the exit code to end with (text was printed).
 */
int options_read(struct options *o, int argc, char **argv);

#endif
