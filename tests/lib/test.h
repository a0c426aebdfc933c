#ifndef WEIR_TESTS_LIB_TEST_H
#define WEIR_TESTS_LIB_TEST_H
/* The only file that includes cmocka.h, which wants these four headers before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
