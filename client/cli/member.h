#ifndef WEIR_CLI_MEMBER_H
#define WEIR_CLI_MEMBER_H
/* Taking part in a consumer group as --group, --mode, --order, --prefetch and --from say. */
#include <weir/weir.h>

#include "client/cli/session.h"

/** Checks the options that go with a group, or need one. Prints what is wrong. @return exit code */
int member_check(const struct args *a);
/** True for --mode queue. */
bool member_is_queue(const struct args *a);
/** Subscribes as a member of --group. Prints what is wrong.
 * @param sub[out] ended with weir_unsubscribe, or by the close of the handle */
int member_open(weir *w, const struct args *a, const char *topic, weir_sub **sub);
/**
 * Asks whether the group has anything left of a topic: not yet consumed, or with a member.
 * @param left[out] true also while the group does not exist or does not know the topic yet
 */
int member_left(const struct session *s, const char *group, const char *topic, bool *left);

#endif
