#ifndef WEIR_CLI_INTERRUPT_H
#define WEIR_CLI_INTERRUPT_H
/*
 * SIGINT and SIGTERM for commands that end in an orderly way: the first one only sets a mark, the
 * second one ends the process as usual. The mark is the program's only variable with static storage
 * that changes; a signal handler can have nothing else.
 */
#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_seen(void);

#endif
