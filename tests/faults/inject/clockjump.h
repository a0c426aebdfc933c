#ifndef WEIR_TESTS_FAULTS_INJECT_CLOCKJUMP_H
#define WEIR_TESTS_FAULTS_INJECT_CLOCKJUMP_H
/*
 * The control file of the clock shim: 48 bytes in the byte order of the machine, mapped by the
 * process whose clocks jump and by whoever makes them jump. A change is made so: seq + 1 (odd), the
 * fields, seq + 1 (even).
 *
 *   REALTIME there = REALTIME + offset_ns + (MONOTONIC - since_ns) * rate_ppm / 1,000,000
 *   BOOTTIME there = BOOTTIME + boot_offset_ns
 *
 * MONOTONIC stays what it is. rate_ppm is what the clock runs too fast: 1,000,000 = twice as fast,
 * -500,000 = half as fast. After a suspend of n ns both offsets have grown by n.
 */
#include <stdint.h>

enum { CLOCK_JUMP_MAGIC = 0x4b434c43 };

struct clock_control {
    uint32_t magic;
    uint32_t seq;
    int64_t offset_ns;
    int64_t since_ns; /* MONOTONIC at which rate_ppm began to hold */
    int64_t rate_ppm;
    int64_t boot_offset_ns;
    uint64_t reads; /* times the shim answered with a shifted clock: shows that it is there */
};

#endif
