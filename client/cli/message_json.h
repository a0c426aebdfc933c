#ifndef WEIR_CLI_MESSAGE_JSON_H
#define WEIR_CLI_MESSAGE_JSON_H
/* A message as a JSON object. */
#include <weir/weir.h>

#include "client/cli/json.h"

/**
 * {topic, partition, offset, time, time_ms, append_ms, key, headers: [{name, value}], value}. Times
 * are the producer's; append_ms is the server's. key and value are null when absent, and
 * key_base64 / value_base64 when they are not UTF-8.
 */
void message_json(struct json *j, const weir_message *m);

#endif
