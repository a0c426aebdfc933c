#ifndef WEIR_CLI_TOPIC_SHOW_H
#define WEIR_CLI_TOPIC_SHOW_H
/* Topics and their partitions, in each output form. */
#include <weir/weir.h>

#include "client/cli/json.h"
#include "client/cli/session.h"

/** The members of a topic: name, id, partitions, created, config, partition details if known. */
void topic_json(struct json *j, const char *name, const weir_topic *t);
/** Settings as a table; @param before NULL, or the topic before a change: only what differs. */
void topic_settings_print(const weir_topic *before, const weir_topic *t);
/** A setting's value for people: "604800000 (7 days)". @return out */
const char *setting_text(const char *key, const char *value, char *out, size_t size);
/** "topic", or "dead letters" for a topic that the server made for them. */
const char *topic_kind(const char *name);
/** Partitions as a table. */
void topic_partitions_print(const weir_topic *t);
/** Sum over all partitions. */
uint64_t topic_bytes(const weir_topic *t);
int64_t topic_messages(const weir_topic *t);

#endif
