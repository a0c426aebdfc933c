#ifndef WEIR_PROTO_CRC32C_H
#define WEIR_PROTO_CRC32C_H
/* CRC32C (Castagnoli, RFC 3720 appendix B.4), check value 0xe3069283 for "123456789". */
#include <stddef.h>
#include <stdint.h>

/* CRC of n bytes. Chain pieces with crc32c_more(crc32c(a), b) == crc32c(a || b). Any thread. */
uint32_t crc32c(const void *p, size_t n);
uint32_t crc32c_more(uint32_t crc, const void *p, size_t n);

#endif
