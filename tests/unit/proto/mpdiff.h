#ifndef WEIR_TESTS_UNIT_PROTO_MPDIFF_H
#define WEIR_TESTS_UNIT_PROTO_MPDIFF_H
#include <stddef.h>
#include <stdint.h>

/*
 * Reads the first value of p[0..n) with our cursor and with msgpack-c. NULL when both agree on
 * whether there is one, how long it is and what it holds; else static text naming the difference.
 */
const char *mp_differs(const uint8_t *p, size_t n);

#endif
