#ifndef WEIR_CLI_DLQ_NAME_H
#define WEIR_CLI_DLQ_NAME_H
/* Names of dead-letter topics: TOPIC~GROUP~dlq. Pure. */
#include <stdbool.h>
#include <stddef.h>

enum { DLQ_NAME_MAX = 256 };

/** True for "orders~mail~dlq": three parts, none empty, the last one "dlq". */
bool dlq_name_is(const char *name);
/** True when it is a dead-letter topic of `topic`. */
bool dlq_name_of(const char *name, const char *topic);
/** Joins topic and group. @return false: longer than size. */
bool dlq_name_join(const char *topic, const char *group, char *out, size_t size);

#endif
