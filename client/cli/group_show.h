#ifndef WEIR_CLI_GROUP_SHOW_H
#define WEIR_CLI_GROUP_SHOW_H
/* Consumer groups, in each output form. */
#include <weir/weir.h>

#include "client/cli/json.h"
#include "client/cli/session.h"

enum { STATE_TEXT_MAX = 128, AGE_TEXT_MAX = 32 };

/** "paused until 2026-01-31T12:00:00.000Z" for "paused until 1769860800000"; others as they are.
 * @param out STATE_TEXT_MAX bytes. @return out */
const char *group_state_text(const char *state, char *out);
/** Milliseconds as "12.3 s", or "-" for 0. @param out AGE_TEXT_MAX bytes. @return out */
const char *group_age_text(uint64_t ms, char *out);
/** Mode, state, members, lag ... of a row; the caller opens and closes the object. */
void group_info_json(struct json *j, const weir_group_info *info);
/** Everything: row, config, members, partitions. */
void group_json(struct json *j, const char *name, const weir_group *g);
/** Settings as a table; @param before NULL, or the group before a change: only what differs. */
void group_settings_print(const weir_group *before, const weir_group *g);
/** What `group describe` prints. */
void group_print(const weir_group *g);
/** The object of a partition. */
void group_partition_json(struct json *j, const weir_group_partition_info *p);

#endif
