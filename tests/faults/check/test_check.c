/* The checker is checked: each violation made by hand is found and named, near misses are clean. */
#include "tests/faults/check/tests.h"

int main(void)
{
    int failed = test_produce();
    failed += test_acks();
    failed += test_read();
    failed += test_log();
    failed += test_queue();
    failed += test_valid();
    return failed ? 1 : 0;
}
