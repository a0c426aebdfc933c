#ifndef WEIR_TESTS_FUZZ_TARGET_H
#define WEIR_TESTS_FUZZ_TARGET_H
#include <stddef.h>
#include <stdint.h>

/* What libFuzzer, or replay_main.c, calls for every input. Always returns 0; a finding aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#endif
