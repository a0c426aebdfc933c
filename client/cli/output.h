#ifndef WEIR_CLI_OUTPUT_H
#define WEIR_CLI_OUTPUT_H
/* Standard output: did everything arrive, and does anybody still read it? */

/**
 * Writes out what is buffered in stdout.
 * @return 0; EPIPE: the reader went away; another errno: the output is incomplete. After a failure
 * stdout counts as good again and what was buffered is lost, so a failure is reported once.
 */
int output_flush(void);

#endif
