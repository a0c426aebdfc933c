#ifndef WEIR_TESTS_FAULTS_VALUE_H
#define WEIR_TESTS_FAULTS_VALUE_H
/*
 * The values of the fault suite. What a value must be follows from its name alone, so that a reader
 * can tell a damaged, foreign or swapped one without a stored copy:
 *   run u64, producer u32, topic u32, counter u64, CRC32C u32, size u32 (little endian), then bytes
 * of a generator seeded by the first 24. The CRC covers everything but itself.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VALUE_HEAD = 32, VALUE_MAX = 1 << 20 };

struct value_name {
    uint64_t run;
    uint32_t producer, topic;
    uint64_t counter;
};

/** Writes the value called n into buf. @param size VALUE_HEAD to VALUE_MAX bytes of buf. */
void value_make(const struct value_name *n, void *buf, size_t size);
/** Checks a value and tells its name. @return false: not a value, or damaged; *n is zeroed. */
bool value_read(const void *buf, size_t size, struct value_name *n);

#endif
