#ifndef WEIR_CLI_READER_H
#define WEIR_CLI_READER_H
/* Subscribing as the options --from and --partition say; shared by consume, peek and bench. */
#include <weir/weir.h>

#include "client/cli/session.h"
#include "client/cli/timeparse.h"

/** Reads --from. Prints what is wrong. @param fallback when it was not given. @return exit code */
int reader_start(const struct args *a, const char *fallback, struct start *start);
/**
 * Subscribes. Prints what is wrong.
 * @param partition -1 = all
 * @param more NULL, or further options such as "stop_at_end=1"
 * @param sub[out] ended with weir_unsubscribe, or by the close of the handle
 */
int reader_open(weir *w, const char *topic, const struct start *start, int32_t partition,
                const char *more, weir_sub **sub);
/** --partition as a number; -1 when it was not given or is larger than any. */
int32_t reader_partition(const struct args *a);

#endif
