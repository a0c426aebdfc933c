#ifndef WEIR_BROKER_RESTORE_H
#define WEIR_BROKER_RESTORE_H
/* weir-server --restore. */
#include "broker/config.h"

/* Copies the backup conf->restore to conf->data, opens the store there once and closes it. Prints
 * what it did, or why not. Returns the exit code of the process. Blocks. */
int restore_run(const struct config *conf);

#endif
