#ifndef WEIR_TESTS_UNIT_STORAGE_WRAPS_H
#define WEIR_TESTS_UNIT_STORAGE_WRAPS_H
/*
 * Calls of opening a store that fail when a test says so. The linker sends the calls of our objects
 * here (--wrap in CMakeLists.txt); RocksDB's own go where they always went.
 */
#include <stddef.h>

enum wrapped {
    WRAP_OPEN,
    WRAP_PWRITE,
    WRAP_READ,
    WRAP_FSYNC,
    WRAP_FDATASYNC,
    WRAP_FTRUNCATE,
    WRAP_CALLOC,
    WRAP_REALLOC,
    WRAP_GETRLIMIT,
    WRAP_STATVFS,
    WRAP_OPTIONS,
    WRAP_COUNT,
};

/* The k-th call from now on (1 = the next) fails with this errno; 0 in k: none. For WRAP_PWRITE an
 * error of 0 means that it writes nothing. */
void wrap_fail(enum wrapped call, unsigned k, int error);
/* Nothing fails any more; gives how many calls were made to fail since the last time. */
unsigned wrap_reset(void);
/* What getrlimit says, and how many bytes statvfs says are free; 0 = the truth. */
void wrap_limits(size_t descriptors, size_t free_bytes);

#endif
