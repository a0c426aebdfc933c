#ifndef WEIR_CLI_CLOCK_H
#define WEIR_CLI_CLOCK_H
/* The clocks of the command-line program; nothing else in it reads one. Any thread. */
#include <stdint.h>

/** Monotonic, nanoseconds. */
int64_t cli_mono_ns(void);
/** Wall clock, milliseconds since 1970. */
int64_t cli_wall_ms(void);

#endif
