/*
 * CRC32C for RocksDB. Builds for any x86-64 machine, such as Debian's, sum every record of the
 * write-ahead log with a table, byte by byte: a fifth of what the broker works per produced
 * message. RocksDB calls its function through the dynamic linker, which takes the program's own
 * definition first: this one, of the same name and the same sums
 * (docs/decisions/0106-crc-for-rocksdb.md).
 */
#include "proto/crc32c.h"
#include "storage/rocks.h"

/* Weak: a RocksDB that is linked statically keeps its own. */
__attribute__((weak, visibility("default"))) uint32_t rocks_crc32c_extend(uint32_t crc,
                                                                          const char *p, size_t n)
{
    return crc32c_more(crc, p, n);
}
